"""auricle lexicon learn, write, weigh, score."""

import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import Annotated

import typer

from auricle.bundle import SUFFIX, Bundle, find_model
from auricle.cli.answers import sources_of
from auricle.cli.display import counting, errors, output, size, table
from auricle.cli.lm import sentences
from auricle.data import read_data
from auricle.decode import Lexicon
from auricle.errors import AuricleError, ConfigError, DataError, listed
from auricle.files import check_folder_of, write_text
from auricle.lm import NgramModel
from auricle.metrics import score_words
from auricle.pronounce import Alike, Pair, Pronouncer
from auricle.runtime import Recognizer
from auricle.text import PhonemeTokenizer, read_lexicon
from auricle.text.lexicon import Pronunciation
from auricle.variants import Said, pronounced_many
from auricle.variants import weigh as weighed_by
from auricle.vocabulary import read_vocabulary

NO_PHONEMES = "{}: spells its words as they are written, without phonemes"

app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")

Plain = Annotated[
    bool, typer.Option("--plain", help="Drop the digits of phonemes: AH0 and AH1 become AH.")
]


@app.command(short_help="Learn to pronounce from a lexicon.")
def learn(
    lexicon: Annotated[Path, typer.Argument(help="Lines WORD P1 P2 ..., as CMUdict has them.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The model.")],
    order: Annotated[int, typer.Option(help="Longest sequence of letters and phonemes.")] = 7,
    entropy: Annotated[float, typer.Option(help="Pruning, like 1e-7, for a smaller file.")] = 0.0,
    plain: Plain = False,
) -> None:
    """
    Examples:
    - `auricle lexicon learn cmudict.dict -o pronounce.bin --plain`

    Learn how letters sound, so that any word has a pronunciation.
    """
    check_folder_of(out)
    pairs = _pairs(lexicon, plain)
    with counting("aligning") as progress:
        pronouncer = Pronouncer.learn(pairs, order=order, entropy=entropy, progress=progress)
    pronouncer.save(out)
    output.print(
        f"{out}: {len(pronouncer.phonemes)} phonemes, learned from {len(pairs):,} pronunciations,"
        f" {size(out.stat().st_size)}",
        markup=False,
    )


@app.command(short_help="Write the pronunciations of words.")
def write(
    out: Annotated[Path, typer.Option("--out", "-o", help="The lexicon.")],
    text: Annotated[
        list[Path] | None, typer.Argument(help="Text with the words; .gz, .xz and .bz2 too.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="What `learn` made, or a recogniser of phonemes.")
    ] = None,
    lm: Annotated[Path | None, typer.Option(help="A language model: its vocabulary.")] = None,
    known: Annotated[Path | None, typer.Option(help="A lexicon whose words it keeps.")] = None,
    variants: Annotated[int, typer.Option(min=1, help="Pronunciations per word, at most.")] = 3,
    least: Annotated[float, typer.Option(min=0, max=1, help="Probability of variants.")] = 0.15,
    plain: Plain = False,
    normaliser: Annotated[str, typer.Option(help="Of the text.")] = "english-1",
) -> None:
    """
    Examples:
    - `auricle lexicon write --lm lm.bin --known cmudict.dict --plain --model pronounce.bin -o
      lexicon.txt`
    - `auricle lexicon write words.txt --model pronounce.bin -o lexicon.txt`
    - `auricle lexicon write names.txt --model english -o names.lexicon` (as its words sound)

    Write a pronunciation lexicon of all words of a text or a language model: those of `--known`, or
    of a recogniser, as they stand there, the others as `--model` says them, with probabilities
    where it says several.
    """
    check_folder_of(out)
    words = _words(text or [], lm, normaliser)
    said: dict[str, list[tuple[tuple[str, ...], float]]] = defaultdict(list)
    own = _own_words(model) if model is not None else ()
    for word, sounds, share in _entries(known, plain) if known else own:
        said[word].append((sounds, share))
    missing = [word for word in words if word not in said]
    if missing and model is None:
        raise ConfigError(
            f"{len(missing):,} words have no pronunciation, {missing[0]!r} first: give --model, "
            "what `auricle lexicon learn` made of a lexicon"
        )
    silent = []
    if model is not None:
        pairs = ((word, sounds) for word, sounds, _ in own)
        pronouncer = Alike(pairs).pronouncer if own else Pronouncer.load(model)
        foreign = [word for word in missing if set(word) - pronouncer.letters]
        missing = [word for word in missing if not set(word) - pronouncer.letters]
        with counting("pronouncing") as progress:
            answers = pronouncer.speak(missing, variants, progress=progress)
            for word, found in zip(missing, answers, strict=True):
                likely = [p for p in found if p.probability >= least] or found[:1]
                said[word] += [(p.phonemes, p.probability / found[0].probability) for p in likely]
        silent = [*foreign, *(word for word in missing if not said[word])]
    entries = [Pronunciation(word, *way) for word in words for way in said[word]]
    if not entries:
        raise DataError(f"none of {len(words):,} words can be pronounced: {listed(words, 5)}")
    write_text(out, Lexicon.from_entries(entries).to_text())
    told = f"{len(words) - len(silent):,} words, {len(entries):,} pronunciations"
    output.print(f"{out}: {told}", markup=False)
    if silent:
        output.print(f"{len(silent):,} words left out, like {silent[:5]}", markup=False)


@app.command(short_help="Count how words are said, so that rare ways cost more.")
def weigh(
    lexicon: Annotated[Path, typer.Argument(help="Words, each with all ways to say it.")],
    data: Annotated[Path, typer.Argument(help="Recordings with texts: a folder or a manifest.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The lexicon with probabilities.")],
    model: Annotated[
        str, typer.Option(help="A recogniser of phonemes, or a shipped model's name.")
    ] = "english",
    threads: Annotated[int | None, typer.Option(min=1, help="Processor threads.")] = None,
) -> None:
    """
    Examples:
    - `auricle lexicon weigh lexicon.txt train.jsonl -o weighed.txt`, then
      `auricle export run model.auricle --lexicon weighed.txt`

    Give the pronunciations of a lexicon their probabilities: texts are aligned with their
    recordings, each word by the best of all ways to say it, and the ways counted. What a word's
    own count does not tell comes from the probabilities that the lexicon has. Rare ways are left
    out. Count on recordings that were trained on, never on those to test with.
    """
    check_folder_of(out)
    words, recognizer = Lexicon.read(lexicon), Recognizer.load(model, threads=threads)
    if not words.pronounced:
        raise ConfigError(f"{lexicon}: a list of words: it has no pronunciations to weigh")
    if not isinstance(recognizer.tokenizer, PhonemeTokenizer):
        raise ConfigError(NO_PHONEMES.format(model))
    recognizer.tokenizer.check(words.sounds)
    with counting("reading") as progress:
        examples = read_data(data, progress=progress).examples
    pairs = zip(
        sources_of(examples, recognizer.engine.rate_hz),
        (e.text or "" for e in examples),
        strict=True,
    )
    counts: Counter[Said] = Counter()
    failed = 0
    with counting("aligning") as progress:
        found = pronounced_many(recognizer, pairs, words)
        for number, (example, (_, said)) in enumerate(zip(examples, found, strict=True), 1):
            progress(number, len(examples))
            if isinstance(said, AuricleError):
                failed += 1
                errors.print(f"left out: {example.id}: {said}", markup=False, soft_wrap=True)
            else:
                counts.update(said)
    known = set(zip(words.words, words.sounds, strict=True))
    counted = sum(count for way, count in counts.items() if way in known)
    if not counted:
        raise DataError(f"{data}: no word of {lexicon} is said in what could be aligned of it")
    weighed = weighed_by(words, counts)
    write_text(out, weighed.to_text())
    output.print(
        f"{out}: {len(weighed.words):,} of {len(words.words):,} pronunciations, by {counted:,}"
        f" words of {len(examples) - failed:,} recordings",
        markup=False,
    )


@app.command(short_help="Errors on words whose pronunciation is known.")
def score(
    model: Annotated[Path, typer.Argument(help="What `learn` made.")],
    lexicon: Annotated[Path, typer.Argument(help="Words that it did not learn from.")],
    plain: Plain = False,
) -> None:
    """
    Examples:
    - `auricle lexicon score pronounce.bin held_out.dict --plain`

    Error rate of words and phonemes; of several known pronunciations the nearest counts.
    """
    pronouncer = Pronouncer.load(model)
    known: dict[str, list[tuple[str, ...]]] = defaultdict(list)
    for word, sounds in _pairs(lexicon, plain):
        if not set(word) - pronouncer.letters:
            known[word].append(sounds)
    if not known:
        raise DataError(f"{lexicon}: no word has only letters that {model} knows")
    own = {phoneme for ways in known.values() for said in ways for phoneme in said}
    if len(foreign := own.difference(pronouncer.phonemes)) > len(own) / 2:
        raise DataError(
            f"{lexicon}: has phonemes that {model} does not have, like {listed(sorted(foreign), 5)}"
            " (--plain drops stress)"
        )
    with counting("pronouncing") as progress:
        answers = list(pronouncer.speak(list(known), progress=progress))
    heard = [found[0].phonemes if found else () for found in answers]
    nearest = [_nearest(known[word], said) for word, said in zip(known, heard, strict=True)]
    errors, phonemes = map(sum, zip(*nearest, strict=True))
    wrong = sum(count > 0 for count, _ in nearest)
    rows = [
        ["words", f"{len(known):,}"],
        ["words wrong", f"{100 * wrong / len(known):.2f} %"],
        ["phonemes wrong", f"{100 * errors / phonemes:.2f} %"],
    ]
    output.print(table(["", str(model)], rows))


def _own_words(model: str) -> list[Pronunciation]:
    """The words of a recogniser and how they sound; none if it is a model of pronunciations.

    Raises:
        ConfigError: the recogniser spells its words as they are written.
    """
    if Path(model).exists() and Path(model).suffix != SUFFIX:
        return []
    lexicon = read_vocabulary(Bundle.read(find_model(model)))[1]
    if lexicon is None or not lexicon.pronounced:
        raise ConfigError(NO_PHONEMES.format(model))
    return list(lexicon.entries)


def _pairs(path: Path, plain: bool) -> list[Pair]:
    """Words and pronunciations of a lexicon, each once."""
    return list(dict.fromkeys((word, sounds) for word, sounds, _ in _entries(path, plain)))


def _entries(path: Path, plain: bool) -> list[Pronunciation]:
    """The lines of a lexicon; of those that are alike without stress, the first."""
    entries: dict[Pair, Pronunciation] = {}
    for word, sounds, share in read_lexicon(path):
        if plain:
            sounds = tuple(re.sub(r"\d+$", "", sound) for sound in sounds)
        entries.setdefault((word, sounds), Pronunciation(word, sounds, share))
    return list(entries.values())


def _nearest(known: list[tuple[str, ...]], heard: tuple[str, ...]) -> tuple[int, int]:
    """Errors against the known pronunciation that is nearest, and its phonemes."""
    counts = (score_words([" ".join(right)], [" ".join(heard)]) for right in known)
    return min((count.errors, count.reference) for count in counts)


def _words(text: list[Path], lm: Path | None, normaliser: str) -> list[str]:
    """The words wanted, each once, in the order of the first time."""
    lines = sentences(text, normaliser) if text else ()
    words = dict.fromkeys(word for line in lines for word in line.split())
    if lm is not None:
        words |= dict.fromkeys(NgramModel.load(lm).vocabulary)
    if not words:
        raise ConfigError("no words: name a text, or a language model with --lm")
    return list(words)
