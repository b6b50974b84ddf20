"""Counting n-grams of any amount of text within a memory budget.

The text becomes one file of word ids. An order is counted from the order below: the n-gram at a
position is (number of the n-gram that is its context, last word), one integer. Stretches of
positions are sorted and counted in memory, written as sorted runs, and the runs are merged range
of keys by range of keys. The merged keys are the next level of the trie (see `trie.py`).
"""

import tempfile
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from auricle.errors import DataError
from auricle.lm.model import END, END_ID, START, START_ID, UNKNOWN, UNKNOWN_ID, Unit
from auricle.lm.trie import Ids, find

SPECIAL = (UNKNOWN, START, END)
_BYTES_PER_POSITION = 40  # a key, its copy while sorting, its count, and what they are made of


@dataclass(frozen=True, eq=False)
class Counted:
    """The n-grams of one order: keys as in `trie.Level`, and how often each was seen."""

    keys: Ids
    counts: Ids


@dataclass(frozen=True, eq=False)
class Counts:
    symbols: tuple[str, ...]
    unit: Unit
    levels: tuple[Counted, ...]


def count(
    sentences: Iterable[str],
    order: int,
    *,
    unit: Unit = "word",
    vocabulary: int | None = None,
    memory_bytes: int = 1 << 30,
    counted: Callable[[int], None] = lambda _: None,
) -> Counts:
    """Count all n-grams up to `order`, `<s>` and `</s>` around every sentence.

    Args:
        sentences: one a string, normalised; blank ones are passed over.
        unit: words are what white space parts; characters include the space between words.
        vocabulary: keep this many of the commonest words, the others become <unk>.
        memory_bytes: what sorting may take; more text spills to temporary files.
        counted: told after each order.

    Raises:
        DataError: when there is no text, or it holds `<s>` or `</s>`.
    """
    with tempfile.TemporaryDirectory(prefix="auricle-lm-") as name:
        folder = Path(name)
        numbers = _write_tokens(sentences, unit, folder / "tokens")
        tokens = np.memmap(folder / "tokens", np.int32, "r+")
        grams = np.memmap(folder / "grams", np.int32, "w+", shape=tokens.shape)
        stretch = max(memory_bytes // _BYTES_PER_POSITION, 64)
        corpus = _Corpus(tokens, grams, stretch, folder)
        symbols, seen = _rank(corpus, list(numbers), vocabulary)
        levels = [Counted(np.arange(len(symbols)), seen)]
        counted(1)
        for below in range(1, order):
            levels.append(corpus.count(below, len(symbols)))
            counted(below + 1)
            if below + 1 < order:
                corpus.renumber(below, len(symbols), levels[-1].keys)
        del corpus, tokens, grams  # a mapped file cannot be removed on Windows
    return Counts(symbols, unit, tuple(levels))


@dataclass(frozen=True, eq=False)
class _Corpus:
    """A text on disk, worked on a stretch of positions at a time."""

    tokens: NDArray[np.int32]  # (N,) word ids
    grams: NDArray[np.int32]  # (N,) number of the n-gram that begins there; -1 without one
    stretch: int  # positions
    folder: Path  # for sorted runs

    def parts(self) -> Iterator[slice]:
        begins = range(0, len(self.tokens), self.stretch)
        return (slice(begin, begin + self.stretch) for begin in begins)

    def longer(self, part: slice, below: int, size: int) -> tuple[Ids, Ids]:
        """Where in a part an n-gram one word longer than the `below` of `grams` begins; its key."""
        contexts = np.asarray(self.grams[part])
        words = np.asarray(self.tokens[part.start + below - 1 : part.stop + below])
        ends, last = words[:-1], words[1:]  # of the context, of the n-gram
        begins = np.flatnonzero((contexts[: len(last)] >= 0) & (ends != END_ID))
        return begins, contexts[begins].astype(np.int64) * size + last[begins]

    def count(self, below: int, size: int) -> Counted:
        """Count the n-grams one word longer than those of `grams`."""
        runs: list[Counted] = []
        for number, part in enumerate(self.parts()):
            _, keys = self.longer(part, below, size)
            run = Counted(*np.unique(keys, return_counts=True))
            if len(self.tokens) <= self.stretch:
                return run
            if len(run.keys):
                runs.append(_spill(run, self.folder / f"run-{number}"))
        return _merge(runs, self.stretch)

    def renumber(self, below: int, size: int, keys: Ids) -> None:
        """Put the n-grams one word longer, whose sorted keys these are, in place of `grams`."""
        for part in self.parts():
            begins, found = self.longer(part, below, size)
            numbers = np.full(len(self.grams[part]), -1, np.int32)
            numbers[begins] = find(keys, found)
            self.grams[part] = numbers


def _rank(corpus: _Corpus, words: list[str], vocabulary: int | None) -> tuple[tuple[str, ...], Ids]:
    """The vocabulary, commonest words first, and its counts; renumbers the corpus by it."""
    seen = np.zeros(len(words), np.int64)
    for part in corpus.parts():
        seen += np.bincount(corpus.tokens[part], minlength=len(words))
    special = len(SPECIAL)
    ranked = sorted(range(special, len(words)), key=lambda i: (-seen[i], words[i]))[:vocabulary]
    ids = np.full(len(words), UNKNOWN_ID, np.int32)
    ids[[*range(special), *ranked]] = np.arange(special + len(ranked))
    for part in corpus.parts():
        corpus.tokens[part] = corpus.grams[part] = ids[corpus.tokens[part]]
    symbols = (*SPECIAL, *(words[i] for i in ranked))
    counts = np.zeros(len(symbols), np.int64)
    np.add.at(counts, ids, seen)
    return symbols, counts


def _write_tokens(sentences: Iterable[str], unit: Unit, path: Path) -> dict[str, int]:
    """Write the text as numbers of words in the order of their first appearance."""
    numbers: defaultdict[str, int] = defaultdict()
    numbers.default_factory = numbers.__len__  # a new word gets the next number
    for word in SPECIAL:
        numbers[word] = len(numbers)
    number_of = numbers.__getitem__
    block = array("i")
    with path.open("wb") as file:
        for sentence in sentences:
            words = sentence.split()
            if not words:
                continue
            if START in words or END in words:
                raise DataError(f"a sentence holds {START} or {END}: {sentence.strip()[:80]!r}")
            block.append(START_ID)
            block.extend(map(number_of, words if unit == "word" else " ".join(words)))
            block.append(END_ID)
            if len(block) > 1 << 20:
                block.tofile(file)
                block = array("i")
        block.tofile(file)
        if not file.tell():
            raise DataError("there is no text to count: give at least one sentence")
    return numbers


def _spill(run: Counted, path: Path) -> Counted:
    """A run on disk, mapped into memory."""
    np.stack([run.keys, run.counts]).tofile(path)
    return Counted(*np.memmap(path, np.int64, "r", shape=(2, len(run.keys))))


def _merge(runs: list[Counted], stretch: int) -> Counted:
    """Add up sorted runs, at most about `stretch` of their entries at a time."""
    if not runs:
        return Counted(np.zeros(0, np.int64), np.zeros(0, np.int64))
    # Between two neighbours among every run's every `step`-th key lie at most runs * step entries.
    step = max(stretch // (2 * len(runs)), 1)
    bounds = np.unique(np.concatenate([run.keys[::step] for run in runs]))[:: len(runs)]
    cuts = [np.append(np.searchsorted(run.keys, bounds), len(run.keys)) for run in runs]
    merged: list[Counted] = []
    for number in range(len(bounds)):
        parts = [slice(cut[number], cut[number + 1]) for cut in cuts]
        keys = np.concatenate([run.keys[part] for run, part in zip(runs, parts, strict=True)])
        counts = np.concatenate([run.counts[part] for run, part in zip(runs, parts, strict=True)])
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        begins = np.flatnonzero(np.append(True, keys[1:] != keys[:-1]))
        merged.append(Counted(keys[begins], np.add.reduceat(counts[order], begins)))
    return Counted(
        np.concatenate([each.keys for each in merged]),
        np.concatenate([each.counts for each in merged]),
    )
