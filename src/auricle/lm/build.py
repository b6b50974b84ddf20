"""Text -> model: what the other modules do, in one call."""

import bz2
import gzip
import lzma
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from auricle.errors import ConfigError, DataError
from auricle.lm.counting import count
from auricle.lm.model import NgramModel, Unit
from auricle.lm.pruning import prune_by_entropy
from auricle.lm.smoothing import kneser_ney
from auricle.lm.trie import MOST_ORDERS, freeze


def build(
    sentences: Iterable[str],
    order: int = 3,
    *,
    unit: Unit = "word",
    prune: Sequence[int] = (),
    entropy: float = 0.0,
    vocabulary: int | None = None,
    memory_bytes: int = 1 << 30,
) -> NgramModel:
    """Estimate a model by interpolated modified Kneser-Ney smoothing.

    Args:
        sentences: normalised, one a string; `read_lines` gives those of files.
        order: longest n-gram, in words or characters.
        unit: words are what white space parts; characters include the space between words.
        prune: per order, the count up to which n-grams are dropped, such as (0, 0, 1).
        entropy: drop n-grams that change the perplexity relatively by less than this, about 1e-8.
        vocabulary: keep this many of the commonest words; the others are seen as `<unk>`, which
            then has the probability of any word outside the vocabulary. Without a limit it has
            that of a word never seen.
        memory_bytes: what counting may take at a time; beyond it temporary files help. What it
            finds, some hundred bytes per distinct n-gram, stays in memory.

    Raises:
        ConfigError: for an order or a threshold out of range.
        DataError: when there is no text.
    """
    if not 1 <= order <= MOST_ORDERS:
        raise ConfigError(f"order = {order}: 1 to {MOST_ORDERS} are possible")
    if vocabulary is not None and vocabulary < 1:
        raise ConfigError(f"vocabulary = {vocabulary}: at least one word is needed")
    counts = count(sentences, order, unit=unit, vocabulary=vocabulary, memory_bytes=memory_bytes)
    return freeze(prune_by_entropy(kneser_ney(counts, prune), entropy))


def read_lines(paths: Iterable[str | os.PathLike[str]]) -> Iterator[str]:
    """The lines of text files; .gz, .xz and .bz2 are unpacked on the way.

    Raises:
        DataError: for a file that cannot be read, is damaged, or is not UTF-8 text.
    """
    openers: dict[str, Callable[..., IO[Any]]] = {
        ".gz": gzip.open,
        ".xz": lzma.open,
        ".bz2": bz2.open,
    }
    for path in map(Path, paths):
        try:
            with openers.get(path.suffix, open)(path, "rt", encoding="utf-8") as lines:
                yield from lines
        except (OSError, EOFError, UnicodeDecodeError, lzma.LZMAError, zlib.error) as error:
            raise DataError(f"{path}: cannot be read as text: {error}") from None
