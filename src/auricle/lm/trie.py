"""N-grams as a trie of arrays, while a model is made: counted, smoothed, pruned, read, written.

The n-grams of one order are numbered by rank in the order of (context's number, last word), so an
n-gram is one integer, context * vocabulary + word, and looking many up is one binary search.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from auricle.errors import ModelError
from auricle.lm.model import NgramModel, Unit

Ids = NDArray[np.int64]
Reals = NDArray[np.float64]
MOST_ORDERS = 16
Gram = tuple[Ids, Reals, Reals]  # of one order: (n, order) word ids, log probabilities, back-offs


@dataclass(frozen=True, eq=False)
class Level:
    """The n-grams of one order with what a model says of them."""

    keys: Ids  # (n,) ascending: number of the context in the level below * vocabulary + last word
    log_prob: Reals  # (n,) natural
    backoff: Reals  # (n,) natural; zero at the highest order
    seen: Reals | None = None  # (n,) log relative frequency in the text, where there is a text


@dataclass(frozen=True, eq=False)
class Tables:
    """A back-off model as plain tables, the unigrams first: what is computed with."""

    symbols: tuple[str, ...]
    unit: Unit
    levels: tuple[Level, ...]

    @property
    def vocabulary(self) -> int:
        return len(self.symbols)

    def rows(self, order: int) -> NDArray[np.int32]:
        """(n, order) the word ids of every n-gram of this order."""
        rows = np.empty((len(self.levels[order - 1].keys), order), np.int32)
        at = np.arange(len(rows))
        for column in range(order - 1, -1, -1):
            keys = self.levels[column].keys[at]
            rows[:, column] = keys % self.vocabulary
            at = keys // self.vocabulary
        return rows


def find(keys: Ids, wanted: Ids) -> Ids:
    """(N,) where each wanted key stands among the sorted keys; -1 where it does not."""
    if not len(keys):
        return np.full(len(wanted), -1)
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[at] == wanted, at, -1)


def suffixes(keys: Sequence[Ids], size: int) -> list[Ids]:
    """For every n-gram of every order the number of what is left without its first word, or -1.

    A unigram leaves the empty history, number 0.
    """
    found = [np.zeros(len(keys[0]), np.int64)]
    for below, level in itertools.pairwise(keys):
        parents, words = np.divmod(level, size)
        found.append(find(below, found[-1][parents] * size + words))
    return found


def keep(tables: Tables, kept: Sequence[NDArray[np.bool_]]) -> Tables:
    """The tables with only some n-grams of every order; a kept one's context must be kept."""
    size = tables.vocabulary
    numbers = np.zeros(1, np.int64)
    levels = []
    for level, mask in zip(tables.levels, kept, strict=True):
        keys = level.keys[mask]
        keys = numbers[keys // size] * size + keys % size
        seen = None if level.seen is None else level.seen[mask]
        levels.append(Level(keys, level.log_prob[mask], level.backoff[mask], seen))
        numbers = np.cumsum(mask) - 1
    return Tables(tables.symbols, tables.unit, tuple(levels))


def freeze(tables: Tables) -> NgramModel:
    """The tables as a model that answers questions."""
    levels, size = tables.levels, tables.vocabulary
    counts = tuple(len(level.keys) for level in levels)
    begins = _begins(counts)
    words = np.concatenate([[0], *(level.keys % size for level in levels)])
    contexts = int(begins[-2])
    parents = [begins[k - 1] * (k > 0) + level.keys // size for k, level in enumerate(levels)]
    # Children lie in the order of their parents: where a parent's begin is a running count.
    children = np.bincount(np.concatenate(parents), minlength=contexts)
    return linked(
        NgramModel(
            symbols=tables.symbols,
            unit=tables.unit,
            counts=counts,
            words=words.astype(np.uint16 if size <= 1 << 16 else np.uint32),
            log_prob=np.concatenate([[0.0], *(level.log_prob for level in levels)]).astype(
                np.float32
            ),
            backoff=np.concatenate([[0.0], *(level.backoff for level in levels[:-1])]).astype(
                np.float32
            ),
            first=np.concatenate(([1], 1 + np.cumsum(children))).astype(np.uint32),
            link=np.zeros(int(begins[-1]), np.uint32),
        )
    )


def linked(model: NgramModel) -> NgramModel:
    """A model whose links are zeros, with its links.

    They are found level by level: reading a word in a node's link is the child's link.
    """
    begins, parents = _begins(model.counts), _parents(model)
    links = model.link.copy()
    model = replace(model, link=links)
    for k in range(1, model.order):
        nodes = slice(begins[k], begins[k + 1])
        contexts = links[parents[nodes]].astype(np.int64)
        _, states = model.advance(contexts, model.words[nodes].astype(np.int64))
        links[nodes] = states
    return model


def _begins(counts: Sequence[int]) -> Ids:
    """(orders + 1,) the first node of every level, and the end."""
    return 1 + np.cumsum([0, *counts])


def _parents(model: NgramModel) -> Ids:
    """(nodes,) the context of every n-gram; the empty history, node 0, stands for its own."""
    begin = model.first.astype(np.int64)
    children: Ids = begin[1:] - begin[:-1]
    return np.concatenate(([0], np.repeat(np.arange(len(children)), children)))


def thaw(model: NgramModel) -> Tables:
    """The tables of a model, to prune it or to write it out."""
    size = len(model.symbols)
    begins, parents = _begins(model.counts), _parents(model)
    levels = []
    for k in range(model.order):
        nodes = np.arange(begins[k], begins[k + 1])
        above = begins[k - 1] if k else 0
        keys = (parents[nodes] - above) * size + model.words[nodes]
        inner = k < model.order - 1
        backoff = model.backoff[nodes] if inner else np.zeros(len(nodes))
        levels.append(Level(keys, model.log_prob[nodes].astype(float), backoff.astype(float)))
    return Tables(model.symbols, model.unit, tuple(levels))


def table(symbols: tuple[str, ...], unit: Unit, grams: list[Gram]) -> Tables:
    """Tables from n-grams in any order.

    Raises:
        ModelError: for an n-gram that comes twice, or whose context is missing.
    """
    size = len(symbols)
    levels: list[Level] = []
    for order, (rows, log_prob, backoff) in enumerate(grams, start=1):
        at = np.zeros(len(rows), np.int64)
        for column in range(order - 1):
            at = find(levels[column].keys, at * size + rows[:, column])
            if np.any(at < 0):
                row = " ".join(symbols[i] for i in rows[int(np.argmin(at))])
                raise ModelError(f"the {order}-gram {row!r} has a context that is not listed")
        keys = at * size + rows[:, -1]
        by_key = np.argsort(keys, kind="stable")
        keys = keys[by_key]
        if np.any(keys[1:] == keys[:-1]):
            row = " ".join(symbols[i] for i in rows[by_key[int(np.argmin(np.diff(keys)))]])
            raise ModelError(f"the {order}-gram {row!r} is listed twice")
        levels.append(Level(keys, log_prob[by_key], backoff[by_key]))
    return Tables(symbols, unit, tuple(levels))
