"""ARPA files, plain or gzipped: the text format that every n-gram tool reads and writes.

Log probabilities are to base 10 there and natural everywhere else. Words are parted by white
space, so a model of characters writes its space as `<space>`; that is how it is known again.
"""

import gzip
import math
import os
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from auricle.errors import ModelError
from auricle.files import replacing, why_not
from auricle.lm.model import END, END_ID, START, START_ID, UNKNOWN, UNKNOWN_ID, NgramModel
from auricle.lm.trie import MOST_ORDERS, Gram, Reals, Tables, freeze, table, thaw

SPACE = "<space>"
NEVER = -100.0  # log10 of a probability of nothing; kenlm's value where a model has no <unk>
_LN10 = math.log(10.0)
_SPECIAL = (UNKNOWN, START, END)
_COUNT = re.compile(r"ngram\s+(\d+)\s*=\s*(\d{1,18})")
_BATCH = 1 << 16  # lines turned into arrays, or back, at a time
_LONGEST_LINE = 1 << 16


def read_arpa(path: str | os.PathLike[str]) -> NgramModel:
    """Read a model.

    Raises:
        ModelError: not an ARPA file, damaged, or without sentence ends; names the line.
    """
    path = Path(path)
    lines = _Lines(path)
    try:
        return freeze(_parse(iter(lines)))
    except _NotAModelError as error:
        raise ModelError(f"{path}: {error}") from None
    except UnicodeDecodeError:
        raise ModelError(f"{path}: {_NotAModelError()}") from None
    except (OSError, EOFError, zlib.error) as error:
        raise ModelError(f"{path}: cannot be read as an ARPA file: {why_not(error)}") from None
    except (ValueError, ModelError) as error:
        raise ModelError(f"{path}:{lines.number}: not ARPA: {error}") from None


class _NotAModelError(Exception):
    """Raised for a file that is nothing like ARPA, as text is that was taken for a model."""

    def __str__(self) -> str:
        return "no language model: neither what `auricle lm build` writes nor an ARPA file"


def write_arpa(model: NgramModel, path: str | os.PathLike[str]) -> None:
    """Write a model, gzipped where the name ends in .gz."""
    tables = thaw(model)
    names = [SPACE if symbol == " " else symbol for symbol in model.symbols]
    with replacing(path) as temporary, _open_for_writing(temporary, Path(path)) as file:
        counts = "".join(f"ngram {k}={n}\n" for k, n in enumerate(model.counts, start=1))
        file.write(f"\\data\\\n{counts}")
        for order in range(1, model.order + 1):
            file.write(f"\n\\{order}-grams:\n")
            file.writelines(_written(tables, order, names))
        file.write("\n\\end\\\n")


def _written(tables: Tables, order: int, names: list[str]) -> Iterator[str]:
    """The lines of one order."""
    level, rows = tables.levels[order - 1], tables.rows(order)
    top = order == len(tables.levels)
    for begin in range(0, len(rows), _BATCH):
        part = slice(begin, begin + _BATCH)
        log_probs = (level.log_prob[part] / _LN10).tolist()
        backoffs = (level.backoff[part] / _LN10).tolist()
        for row, log_prob, backoff in zip(rows[part].tolist(), log_probs, backoffs, strict=True):
            gram = f"{log_prob:.7g}\t{' '.join([names[word] for word in row])}"
            yield f"{gram}\n" if top else f"{gram}\t{backoff:.7g}\n"


def _open_for_writing(temporary: Path, target: Path) -> IO[str]:
    if target.suffix == ".gz":
        return gzip.open(temporary, "wt", encoding="utf-8", compresslevel=6)
    return temporary.open("w", encoding="utf-8", newline="\n")


@dataclass
class _Lines:
    """The lines of a file that hold something, and the number of the last one for errors."""

    path: Path
    number: int = 0

    def __iter__(self) -> Iterator[str]:
        with self.path.open("rb") as file:
            gzipped = file.read(2) == b"\x1f\x8b"
        opener = gzip.open if gzipped else open
        with opener(self.path, "rt", encoding="utf-8") as text:
            while line := text.readline(_LONGEST_LINE):
                self.number += 1
                if len(line) == _LONGEST_LINE:
                    raise ValueError("a line without end")
                if stripped := line.strip():
                    yield stripped.replace("<UNK>", UNKNOWN)  # as some tools write it


def _parse(lines: Iterator[str]) -> Tables:
    counts = _header(lines)
    symbols = {word: number for number, word in enumerate(_SPECIAL)}
    grams = []
    for order, count in enumerate(counts, start=1):
        top = order == len(counts)
        gram = _section(lines, order, count, top, symbols)
        grams.append(_with_unknown(*gram) if order == 1 else gram)
        _expect(lines, "\\end\\" if top else f"\\{order + 1}-grams:")
    names = tuple(" " if symbol == SPACE else symbol for symbol in symbols)
    letters = " " in names and all(len(name) == 1 for name in names[len(_SPECIAL) :])
    return table(names, "character" if letters else "word", grams)


def _section(
    lines: Iterator[str], order: int, count: int, top: bool, symbols: dict[str, int]
) -> Gram:
    """Word ids, natural log probabilities and back-offs of all n-grams of one order."""
    ids, values = [np.zeros((0, order), np.int64)], [np.zeros((0, 2))]
    left = count
    while left:
        batch = [_gram(line, order, top) for line in islice(lines, min(left, _BATCH))]
        if not batch:
            raise ValueError(f"it ends within the {order}-grams")
        left -= len(batch)
        if order == 1:
            for _, words, _ in batch:
                symbols.setdefault(words[0], len(symbols))
        try:
            ids.append(np.array([[symbols[word] for word in words] for _, words, _ in batch]))
        except KeyError as error:
            raise ValueError(f"{error} is not among the unigrams") from None
        values.append(np.array([(p, b) for p, _, b in batch]) * _LN10)
    log_prob, backoff = np.concatenate(values).T
    if not (np.all(log_prob <= 0.0) and np.all(np.isfinite(backoff) & np.isfinite(log_prob))):
        raise ValueError(f"a log probability of the {order}-grams is above 0 or not finite")
    return np.concatenate(ids), log_prob, backoff


def _with_unknown(ids: NDArray[np.int64], log_prob: Reals, backoff: Reals) -> Gram:
    """The unigrams, with one for <unk> where the file has none."""
    if START_ID not in ids or END_ID not in ids:
        raise ValueError(f"its unigrams lack {START} or {END}")
    if UNKNOWN_ID not in ids:
        ids = np.append(ids, [[UNKNOWN_ID]], axis=0)
        log_prob, backoff = np.append(log_prob, NEVER * _LN10), np.append(backoff, 0.0)
    return ids, log_prob, backoff


def _header(lines: Iterator[str]) -> list[int]:
    """The number of n-grams of every order; leaves `lines` before the first unigram."""
    if not any(line == "\\data\\" for line in lines):
        raise _NotAModelError
    counts: list[int] = []
    for line in lines:
        if line == "\\1-grams:" and counts:
            return counts
        found = _COUNT.fullmatch(line)
        if not found or int(found[1]) != len(counts) + 1 or len(counts) == MOST_ORDERS:
            raise ValueError(f"{line[:80]!r} where `ngram {len(counts) + 1}=...` belongs")
        counts.append(int(found[2]))
    raise ValueError("it ends within its header")


def _gram(line: str, order: int, top: bool) -> tuple[float, list[str], float]:
    """log10 probability, words and log10 back-off of a line."""
    fields = line.split()
    if len(fields) not in ((order + 1,) if top else (order + 1, order + 2)):
        raise ValueError(f"{line[:80]!r} is not a {order}-gram")
    backoff = float(fields[-1]) if len(fields) == order + 2 else 0.0
    return float(fields[0]), fields[1 : order + 1], backoff


def _expect(lines: Iterator[str], expected: str) -> None:
    line = next(lines, "")
    if line != expected:
        raise ValueError(f"{line[:80]!r} where {expected!r} belongs")
