"""Text -> model: what the other modules do, in one call."""

import bz2
import gzip
import io
import lzma
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from auricle.errors import ConfigError, DataError
from auricle.files import why_not
from auricle.lm.counting import count
from auricle.lm.model import NgramModel, Unit
from auricle.lm.pruning import prune_by_entropy
from auricle.lm.smoothing import kneser_ney
from auricle.lm.trie import MOST_ORDERS, freeze

Progress = Callable[[int, int], None]
"""Told how much is done, and of how much."""

TOLD_LINES = 1_000  # between two words of progress


def build(
    sentences: Iterable[str],
    order: int = 3,
    *,
    unit: Unit = "word",
    prune: Sequence[int] = (),
    entropy: float = 0.0,
    vocabulary: int | None = None,
    memory_bytes: int = 1 << 30,
    progress: Progress | None = None,
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
        progress: told after each of the steps that follow when all sentences are read.

    Raises:
        ConfigError: for an order or a threshold out of range.
        DataError: when there is no text.
    """
    if not 1 <= order <= MOST_ORDERS:
        raise ConfigError(f"order = {order}: 1 to {MOST_ORDERS} are possible")
    if vocabulary is not None and vocabulary < 1:
        raise ConfigError(f"vocabulary = {vocabulary}: at least one word is needed")
    steps = order + 2  # the orders, smoothing, pruning

    def counted(orders: int) -> None:
        if progress:
            progress(orders, steps)

    counts = count(
        sentences,
        order,
        unit=unit,
        vocabulary=vocabulary,
        memory_bytes=memory_bytes,
        counted=counted,
    )
    smooth = kneser_ney(counts, prune)
    counted(order + 1)
    model = freeze(prune_by_entropy(smooth, entropy))
    counted(steps)
    return model


def read_lines(
    paths: Iterable[str | os.PathLike[str]], progress: Progress | None = None
) -> Iterator[str]:
    """The lines of text files; .gz, .xz and .bz2 are unpacked on the way.

    Args:
        progress: told now and then how many kB of all files are read.

    Raises:
        DataError: for a file that cannot be read, is damaged, or is not UTF-8 text.
    """
    listed = list(map(Path, paths))
    total = sum(path.stat().st_size for path in listed if path.is_file())
    done = 0
    for path in listed:
        try:
            with path.open("rb") as raw, _text(raw, path.suffix) as lines:
                for number, line in enumerate(lines):
                    yield line
                    if progress and not number % TOLD_LINES and raw.seekable():
                        progress((done + raw.tell()) // 1000, total // 1000)
                done += raw.tell() if raw.seekable() else 0
            if progress and total:
                progress(done // 1000, total // 1000)
        except UnicodeDecodeError:  # where in the file, only the block of it would be known
            raise DataError(f"{path}: cannot be read as text: it is not UTF-8") from None
        except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
            raise DataError(f"{path}: cannot be read as text: {why_not(error)}") from None


def _text(raw: IO[bytes], suffix: str) -> IO[str]:
    """The text of an open file, unpacked as its suffix says."""
    unpack: dict[str, Callable[..., Any]] = {
        ".gz": gzip.open,
        ".xz": lzma.open,
        ".bz2": bz2.open,
    }
    opened = unpack[suffix](raw) if suffix in unpack else raw
    return io.TextIOWrapper(opened, encoding="utf-8")
