"""A vocabulary as a trie of letters: what words may still come of the letters heard so far.

The trie is arrays. Node 0 is the root, where no letter of a word was heard; node `sink`, the last
one, is where letters lead that begin no word, and nothing leads out of it. Nodes are numbered
breadth first, so that a child always has a higher number than its parent.
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from auricle.text import Tokenizer, parse_lexicon, read_lexicon
from auricle.text.lexicon import Pronunciation

ROOT = 0
NO_LETTER = 0  # leads from every node to itself
LEAST_SHARE = 1e-4  # of a pronunciation, as written: none is impossible
TABLE_LIMIT = 1 << 25  # entries of the table of children; above it, they are searched for

Ints = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Lexicon:
    """Words and how they sound; a word may have several pronunciations, and a sound several words.

    `closed` lexicons let no other word be heard; with an open one, others are words unknown.
    """

    words: tuple[str, ...]
    sounds: tuple[tuple[str, ...], ...]  # one per word; a word with two is listed twice
    closed: bool = True
    weights: tuple[float, ...] | None = None
    """Natural logarithms: how much rarer each is than the word's likeliest pronunciation, if
    anybody has counted (`auricle.variants`); without them all are alike."""

    @property
    def pronounced(self) -> bool:
        """Whether the sounds of words are anything but their letters."""
        return any(tuple(word) != s for word, s in zip(self.words, self.sounds, strict=True))

    @classmethod
    def of(cls, words: Iterable[str], *, closed: bool = True) -> Self:
        """Words that are spelt as they are written, for letters and pieces of words."""
        words = tuple(dict.fromkeys(words))
        return cls(words, tuple(tuple(word) for word in words), closed)

    @classmethod
    def read(cls, path: str | Path, *, closed: bool = True) -> Self:
        """Read lines `WORD P1 P2 ...`, all pronunciations, or a list of words, one a line.

        See `auricle.text.parse_lexicon`, also for probabilities.

        Raises:
            DataError: for an unreadable file, or one without a line of this form.
        """
        return cls.from_entries(read_lexicon(path), closed=closed)

    @classmethod
    def parse(cls, text: str, name: str, *, closed: bool = True) -> Self:
        """What `read` reads, from the content of a file; `name` is for errors.

        Raises:
            DataError: as `read`.
        """
        return cls.from_entries(parse_lexicon(text, name), closed=closed)

    @classmethod
    def from_entries(cls, entries: Iterable[Pronunciation], *, closed: bool = True) -> Self:
        """What the lines of a file say, one or more."""
        spelt = ((word, sounds or tuple(word), share) for word, sounds, share in entries)
        words, sounds, shares = zip(*spelt, strict=True)
        weighed = min(shares) < 1.0
        return cls(words, sounds, closed, tuple(map(math.log, shares)) if weighed else None)

    @property
    def entries(self) -> Iterator[Pronunciation]:
        """What its lines say."""
        shares = map(math.exp, self.weights) if self.weights else itertools.repeat(1.0)
        return map(Pronunciation, self.words, self.sounds, shares)

    @cached_property
    def ways(self) -> Mapping[str, Sequence[tuple[str, ...]]]:
        """Of each word the ways to say it."""
        ways: dict[str, list[tuple[str, ...]]] = {}
        for word, sounds in zip(self.words, self.sounds, strict=True):
            ways.setdefault(word, []).append(sounds)
        return ways

    def only(self, words: Iterable[str]) -> "Lexicon":
        """These words alone, as far as they are known; without weights."""
        pairs = [(word, sounds) for word in words for sounds in self.ways.get(word, ())]
        return Lexicon(tuple(w for w, _ in pairs), tuple(s for _, s in pairs), self.closed)

    def widened(self, spoken: Mapping[str, tuple[str, ...]]) -> Self:
        """The same with further words, or further pronunciations, as likely as the likeliest."""
        words, sounds = (*self.words, *spoken), (*self.sounds, *spoken.values())
        weights = (*self.weights, *[0.0] * len(spoken)) if self.weights else None
        return replace(self, words=words, sounds=sounds, weights=weights)

    def to_text(self) -> str:
        """The lines that `parse` reads."""
        if not self.pronounced:
            return "".join(f"{word}\n" for word in self.words)
        if not self.weights:
            return "".join(f"{word} {' '.join(sounds)}\n" for word, sounds, _ in self.entries)
        return "".join(
            f"{word} {max(share, LEAST_SHARE):.4f} {' '.join(sounds)}\n"
            for word, sounds, share in self.entries
        )


class Trie:
    """All prefixes of some spellings.

    Args:
        spellings: of letters 1..letters-1; none is empty.
        letters: how many letters there are, `NO_LETTER` included.

    Attributes:
        ends: (W,) the node where each spelling ends.
        parents: (N,) of all nodes but the sink; the root is its own.
        depths: (N + 1,) how many letters lead to each node; 0 for the sink.
        sink: N.
    """

    def __init__(self, spellings: Sequence[Sequence[int]], letters: int) -> None:
        lengths = np.array([len(spelling) for spelling in spellings], np.int64)
        padded = np.zeros((len(spellings), lengths.max(initial=0)), np.int64)
        padded[np.arange(padded.shape[1]) < lengths[:, None]] = [
            letter for spelling in spellings for letter in spelling
        ]
        nodes = np.zeros(len(spellings), np.int64)
        keys, self._levels = [np.zeros(0, np.int64)], [1]  # where each level begins
        for depth in range(padded.shape[1]):
            longer = np.flatnonzero(lengths > depth)
            level, inverse = np.unique(
                nodes[longer] * letters + padded[longer, depth], return_inverse=True
            )
            nodes[longer] = self._levels[-1] + inverse
            self._levels.append(self._levels[-1] + len(level))
            keys.append(level)
        self.ends = nodes
        self.sink = self._levels[-1]
        self.depths = np.append(
            np.repeat(np.arange(len(self._levels)), np.diff([0, *self._levels])), 0
        )
        self._letters = letters
        self._keys = np.concatenate(keys)  # of edge i, which leads to node i + 1; ascending
        self.parents = np.concatenate(([ROOT], self._keys // letters))
        self._table = self._children() if (self.sink + 1) * letters <= TABLE_LIMIT else None

    def child(self, nodes: Ints, letters: Ints) -> Ints:
        """Where each letter leads from each node; both (M,)."""
        if self._table is not None:
            found: Ints = self._table[nodes, letters]
            return found
        keys = nodes.astype(np.int64) * self._letters + letters
        edges = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        found = np.where(self._keys[edges] == keys, edges + 1, self.sink)
        return np.where(letters == NO_LETTER, nodes, found)

    def best_word_below(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The greatest of `values`, (W,) one per spelling, at or below each node; (N,)."""
        best = np.full(self.sink, -np.inf)
        np.maximum.at(best, self.ends, values)
        return self.best_below(best)

    def best_below(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The greatest of `values`, (N,) one per node, at or below each node; (N,)."""
        best = values.copy()
        for first, last in reversed(list(pairwise(self._levels))):
            np.maximum.at(best, self.parents[first:last], best[first:last])
        return best

    def _children(self) -> NDArray[np.int32]:
        table = np.full((self.sink + 1, self._letters), self.sink, np.int32)
        table[:, NO_LETTER] = np.arange(self.sink + 1)
        table.flat[self._keys] = np.arange(1, self.sink)
        return table


@dataclass(frozen=True)
class Spelling:
    """The letters of a tokenizer's symbols, as numbers from 1; the units that words are told by.

    A symbol of a letter tokenizer or a phoneme is one letter, a piece of a word has several, and
    a separator none.
    """

    numbers: Mapping[str, int]
    table: NDArray[np.int32]  # (V, most letters of a symbol), padded with NO_LETTER
    closes: NDArray[np.bool_]  # (V,) whether a symbol ends the word before it

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> Self:
        symbols, starts = tokenizer.symbols, tokenizer.word_starts
        spelt = [
            tuple(tokenizer.decode([id_])) if starts else (symbol,)
            for id_, symbol in enumerate(symbols)
        ]
        closers = starts if tokenizer.separator is None else starts | {tokenizer.separator}
        spelt[0] = ()
        if tokenizer.separator is not None:
            spelt[tokenizer.separator] = ()
        numbers: dict[str, int] = {}
        for letter in (letter for letters in spelt for letter in letters):
            numbers.setdefault(letter, len(numbers) + 1)
        table = np.zeros((len(symbols), max(1, *map(len, spelt))), np.int32)
        for id_, letters in enumerate(spelt):
            table[id_, : len(letters)] = [numbers[letter] for letter in letters]
        return cls(numbers, table, np.isin(np.arange(len(symbols)), list(closers)))

    def spell(self, sounds: Iterable[str]) -> tuple[int, ...] | None:
        """The numbers of letters, or None when a symbol is missing for one (or all)."""
        try:
            return tuple(map(self.numbers.__getitem__, sounds)) or None
        except KeyError:
            return None
