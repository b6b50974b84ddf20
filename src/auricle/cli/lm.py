"""auricle lm build, info, score."""

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Annotated, Literal

import typer

from auricle.cli.display import counting, output, size, table
from auricle.data import Progress
from auricle.data.manifests import MANIFEST_SUFFIXES, read_texts
from auricle.errors import ConfigError, DataError, ModelError
from auricle.files import check_folder_of
from auricle.lm import NgramModel, Perplexity, build, read_lines
from auricle.text import normalise

app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")

Normaliser = Annotated[str, typer.Option(help="That of the recogniser; `none` changes nothing.")]
Format = Annotated[Literal["table", "json"], typer.Option("--format", help="Of the figures.")]


@app.command("build", short_help="Learn a language model from text.")
def build_model(
    text: Annotated[list[Path], typer.Argument(help="One sentence a line; .gz, .xz and .bz2 too.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The model; .arpa(.gz) gives ARPA.")],
    order: Annotated[int, typer.Option(help="Longest n-gram.")] = 3,
    unit: Annotated[Literal["word", "character"], typer.Option(help="N-grams of what.")] = "word",
    prune: Annotated[str, typer.Option(help="Counts up to which n-grams go, by order.")] = "0",
    entropy: Annotated[float, typer.Option(help="Drop n-grams that change less, like 3e-8.")] = 0.0,
    vocabulary: Annotated[int | None, typer.Option(help="Keep so many words.")] = None,
    half: Annotated[bool, typer.Option(help="Half-precision probabilities.")] = False,
    packed: Annotated[bool, typer.Option(help="A smaller file that is slower to load.")] = False,
    memory_mb: Annotated[int, typer.Option(min=1, help="For sorting; then disk.")] = 1024,
    normaliser: Normaliser = "english-1",
) -> None:
    """
    Examples:
    - `auricle lm build books.txt.xz more.txt -o lm.bin`
    - `auricle lm build books.txt -o small.bin --order 4 --prune "0 0 1" --entropy 3e-8 --half`
    - `auricle lm build books.txt -o small.bin --half --packed` (smaller still, loaded slower)
    - `auricle lm build train.jsonl -o small.bin` (the texts of a manifest)
    - `auricle lm build books.txt -o letters.arpa.gz --unit character --order 6`

    Learn an n-gram language model: modified Kneser-Ney smoothing, pruned by count and by entropy.
    """
    if not prune.replace(" ", "").isdecimal():
        raise ConfigError(f'--prune {prune!r}: write a count for every order, like "0 0 1"')
    check_folder_of(out)
    with counting("reading (kB), then the steps") as progress:
        model = build(
            sentences(text, normaliser, progress),
            order,
            unit=unit,
            prune=[int(count) for count in prune.split()],
            entropy=entropy,
            vocabulary=vocabulary,
            memory_bytes=memory_mb << 20,
            progress=progress,
        )
    model = replace(model.halved() if half else model, packed=packed)
    if out.name.endswith((".arpa", ".arpa.gz")):
        model.write_arpa(out)
    else:
        model.save(out)
    output.print(f"{out}: {_described(model)}, {size(out.stat().st_size)}", markup=False)


@app.command(short_help="Say what a language model is.")
def info(
    model: Annotated[Path, typer.Argument(help="A model, or an ARPA file.")],
    style: Format = "table",
) -> None:
    """
    Examples:
    - `auricle lm info lm.bin`
    - `auricle lm info other.arpa.gz --format json`

    Say what a language model is: its unit, vocabulary and the n-grams of every order.
    """
    loaded = NgramModel.load(model)
    if style == "json":
        facts = {"unit": loaded.unit, "order": loaded.order, "counts": list(loaded.counts)}
        output.print(json.dumps(facts, indent=2), markup=False)
        return
    output.print(f"{model}: {_described(loaded)}", markup=False)
    rows = [[str(order), f"{count:,}"] for order, count in enumerate(loaded.counts, start=1)]
    output.print(table(["order", "n-grams"], rows))


@app.command(short_help="Perplexity of text, and its words outside the vocabulary.")
def score(
    model: Annotated[Path, typer.Argument(help="A model, or an ARPA file.")],
    text: Annotated[list[Path], typer.Argument(help="One sentence a line; .gz, .xz and .bz2 too.")],
    style: Format = "table",
    normaliser: Normaliser = "english-1",
) -> None:
    """
    Examples:
    - `auricle lm score lm.bin valid.txt`
    - `auricle lm score lm.bin valid.txt --format json`

    Perplexity of text under a language model, sentence ends included, and how many of its words
    are outside the vocabulary. Lower is better; compare only models with equal vocabularies.
    """
    loaded = _loaded(model, text)
    with counting("reading (kB)") as progress:
        found = loaded.perplexity(sentences(text, normaliser, progress))
    if style == "json":
        output.print(json.dumps(_figures(found), indent=2), markup=False)
    else:
        rows = [[name, f"{value:,.6g}"] for name, value in _figures(found).items()]
        output.print(table(["", str(model)], rows))


def sentences(text: list[Path], normaliser: str, progress: Progress | None = None) -> Iterator[str]:
    """The normalised lines of files, and texts of manifests, which hold at least one word.

    Raises:
        DataError: they hold none.
    """
    some = False
    manifests = [path for path in text if path.suffix.lower() in MANIFEST_SUFFIXES]
    plain = read_lines([path for path in text if path not in manifests], progress)
    for line in chain(plain, *map(read_texts, manifests)):
        sentence = normalise(line, normaliser)
        some = some or bool(sentence.strip())
        yield sentence
    if not some:
        raise DataError(f"{', '.join(map(str, text))}: there is no text")


def _loaded(path: Path, text: list[Path]) -> NgramModel:
    """The model, and a word to those who give the text first."""
    try:
        return NgramModel.load(path)
    except ModelError as error:
        if not _is_model(text[0]):
            raise
        raise ModelError(f"{error}; {text[0]} is one: name it first, then the text") from None


def _is_model(path: Path) -> bool:
    with suppress(ModelError):
        NgramModel.load(path)
        return True
    return False


def _described(model: NgramModel) -> str:
    return f"{model.order}-gram model of {len(model.symbols):,} {model.unit}s"


def _figures(found: Perplexity) -> dict[str, float]:
    return {
        "perplexity": found.value,
        "perplexity without unknown words": found.value_known,
        "unknown words, share": found.unknown_rate,
        "unknown words": found.unknown,
        "words and sentence ends": found.words,
        "sentences": found.sentences,
    }
