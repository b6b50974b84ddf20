"""auricle lexicon learn, write, score."""

import re
from collections import defaultdict
from pathlib import Path
from typing import Annotated

import typer

from auricle.bundle import SUFFIX, Bundle, find_model
from auricle.cli.display import counting, output, size, table
from auricle.decode import Lexicon
from auricle.errors import ConfigError, DataError
from auricle.files import write_text
from auricle.lm import NgramModel, read_lines
from auricle.metrics import score_words
from auricle.pronounce import Alike, Pair, Pronouncer
from auricle.text import normalise
from auricle.vocabulary import read_vocabulary

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
    - `auricle lexicon write --lm lm.bin --model pronounce.bin -o lexicon.txt`
    - `auricle lexicon write words.txt --known cmudict.dict --model pronounce.bin -o lexicon.txt`
    - `auricle lexicon write names.txt --model english -o names.lexicon` (as its words sound)

    Write a pronunciation lexicon of all words of a text or a language model: those of `--known`, or
    of a recogniser, as they stand there, the others as `--model` says them.
    """
    words = _words(text or [], lm, normaliser)
    said: dict[str, list[tuple[str, ...]]] = defaultdict(list)
    own = _own_words(model) if model is not None else ()
    for word, sounds in _pairs(known, plain) if known else own:
        said[word].append(sounds)
    missing = [word for word in words if word not in said]
    if missing and model is None:
        raise ConfigError(
            f"{len(missing):,} words have no pronunciation, {missing[0]!r} first: give --model, "
            "what `auricle lexicon learn` made of a lexicon"
        )
    silent = []
    if model is not None:
        pronouncer = Alike(own).pronouncer if own else Pronouncer.load(model)
        foreign = [word for word in missing if set(word) - pronouncer.letters]
        missing = [word for word in missing if not set(word) - pronouncer.letters]
        with counting("pronouncing") as progress:
            answers = pronouncer.speak(missing, variants, progress=progress)
            for word, found in zip(missing, answers, strict=True):
                likely = [p.phonemes for p in found if p.probability >= least]
                said[word] += likely or [p.phonemes for p in found[:1]]
        silent = [*foreign, *(word for word in missing if not said[word])]
    lines = [f"{word} {' '.join(sounds)}\n" for word in words for sounds in said[word]]
    write_text(out, "".join(lines))
    output.print(f"{out}: {len(words) - len(silent):,} words, {len(lines):,} lines", markup=False)
    if silent:
        output.print(f"{len(silent):,} words left out, like {silent[:5]}", markup=False)


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


def _own_words(model: str) -> list[Pair]:
    """The words of a recogniser and how they sound; none if it is a model of pronunciations.

    Raises:
        ConfigError: the recogniser spells its words as they are written.
    """
    if Path(model).exists() and Path(model).suffix != SUFFIX:
        return []
    lexicon = read_vocabulary(Bundle.read(find_model(model)))[1]
    if lexicon is None or not lexicon.pronounced:
        raise ConfigError(f"{model}: spells its words as they are written, without phonemes")
    return list(zip(lexicon.words, lexicon.sounds, strict=True))


def _pairs(path: Path, plain: bool) -> list[Pair]:
    """Words and pronunciations of a lexicon."""
    lexicon = Lexicon.read(path)
    pairs = zip(lexicon.words, lexicon.sounds, strict=True)
    if not plain:
        return list(pairs)
    stripped = ((word, tuple(re.sub(r"\d+$", "", p) for p in said)) for word, said in pairs)
    return list(dict.fromkeys(stripped))


def _nearest(known: list[tuple[str, ...]], heard: tuple[str, ...]) -> tuple[int, int]:
    """Errors against the known pronunciation that is nearest, and its phonemes."""
    counts = (score_words([" ".join(right)], [" ".join(heard)]) for right in known)
    return min((count.errors, count.reference) for count in counts)


def _words(text: list[Path], lm: Path | None, normaliser: str) -> list[str]:
    """The words wanted, each once, in the order of the first time."""
    lines = (normalise(line, normaliser) for line in read_lines(text))
    words = dict.fromkeys(word for line in lines for word in line.split())
    if lm is not None:
        words |= dict.fromkeys(NgramModel.load(lm).vocabulary)
    if not words:
        raise ConfigError("no words: name a text, or a language model with --lm")
    return list(words)
