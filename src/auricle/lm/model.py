"""The n-gram model: a trie of arrays that answers many questions at once.

Node 0 is the empty history and every other node one n-gram, the shorter ones first and within an
order sorted by (context, last word). The children of a node, the n-grams it is the context of, are
therefore neighbours sorted by word. Backing off is Katz's recursion (1987):

    log p(w | h) = log_prob[h w]                       if the n-gram h w is in the model
                 = backoff[h] + log p(w | h minus its first word)           otherwise
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from auricle.files import replacing

if TYPE_CHECKING:
    from auricle.lm.scoring import Perplexity

Unit = Literal["word", "character"]
Ids = NDArray[np.int64]

UNKNOWN, START, END = "<unk>", "<s>", "</s>"
UNKNOWN_ID, START_ID, END_ID = range(3)
EMPTY = 0  # the state without history


@dataclass(frozen=True, eq=False)
class NgramModel:
    """An immutable back-off model; safe to share between threads.

    A state stands for the longest history that can still change a probability, so equal states
    have equal futures.
    """

    symbols: tuple[str, ...]  # of the ids: <unk>, <s>, </s>, then the vocabulary
    unit: Unit
    counts: tuple[int, ...]  # n-grams of every order
    words: NDArray[Any]  # (nodes,) last word of each n-gram
    log_prob: NDArray[Any]  # (nodes,) natural
    backoff: NDArray[Any]  # (contexts,) natural; contexts are the nodes below the highest order
    first: NDArray[Any]  # (contexts + 1,) first child; the next node's first child is its end
    link: NDArray[Any]  # (nodes,) state of the n-gram without its first word
    packed: bool = False
    """How it is written. Packed, a file has a third of the size, but is not mapped into memory: it
    takes a second to load for every five million n-grams."""

    empty = EMPTY

    @property
    def order(self) -> int:
        return len(self.counts)

    @property
    def start(self) -> int:
        """The state at the beginning of a sentence."""
        return int(self._state(np.array([1 + START_ID]))[0])

    @property
    def contexts(self) -> int:
        """How many states there may be: they are numbers below this."""
        return len(self.backoff)

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The words, or characters, that have ids of their own."""
        return self.symbols[END_ID + 1 :]

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {symbol: number for number, symbol in enumerate(self.symbols)}

    def split(self, sentence: str) -> list[str]:
        """The words, or the characters, of a sentence."""
        words = sentence.split()
        return words if self.unit == "word" else list(" ".join(words))

    def word_ids(self, words: Sequence[str]) -> Ids:
        """(N,) the id of each word; 0, <unk>, for those outside the vocabulary."""
        return np.array([self._ids.get(word, UNKNOWN_ID) for word in words], np.int64)

    def advance(self, states: Ids, words: Ids) -> tuple[NDArray[np.float32], Ids]:
        """Read one word in each of N states.

        Args:
            states: (N,) from `start`, `empty` or an earlier answer.
            words: (N,) ids.

        Returns:
            (N,) natural log probabilities and (N,) the states after the words.
        """
        log_prob = np.zeros(len(words), np.float32)
        found = np.array(words) + 1  # node 1 + w is the unigram w
        contexts = np.array(states)
        open_ = np.flatnonzero(contexts)
        while len(open_):
            at = contexts[open_]
            child = self._child(at, words[open_])
            hit = child > 0
            found[open_[hit]] = child[hit]
            missed = open_[~hit]
            log_prob[missed] += self.backoff[at[~hit]]
            contexts[missed] = self.link[at[~hit]]
            open_ = missed[contexts[missed] > 0]
        log_prob += self.log_prob[found]
        return log_prob, self._state(found)

    def _child(self, contexts: Ids, words: Ids) -> Ids:
        """(N,) the node of each context's n-gram with the word, or 0.

        One binary search for all of them. A hash table with its buckets in a row of memory was
        measured to be no faster in numpy: what takes time is to reach memory at all.
        """
        low = self.first[contexts].astype(np.int64)
        size = self.first[contexts + 1] - low
        childless = size == 0
        low[childless] = 0  # node 0 has no last word: what is found there does not count
        words = words.astype(self.words.dtype)
        longest = int(size.max(initial=0))
        while longest > 1:
            half = size >> 1
            low += half * (self.words[low + half] <= words)
            size -= half
            longest -= longest >> 1
        return np.where((self.words[low] == words) & ~childless, low, 0)

    def _state(self, nodes: Ids) -> Ids:
        """The longest context within each n-gram that matters: that has children or a back-off."""
        context = np.minimum(nodes, len(self.backoff) - 1)
        matters = (self.first[context] < self.first[context + 1]) | (self.backoff[context] != 0)
        return np.where(matters & (context == nodes), nodes, self.link[nodes]).astype(np.int64)

    def score(self, words: Sequence[str]) -> list[float]:
        """Natural log probability of each word of a sentence and, last, of its end."""
        state, scores = np.array([self.start]), []
        for word in [*self.word_ids(words), END_ID]:
            log_prob, state = self.advance(state, np.array([word]))
            scores.append(float(log_prob[0]))
        return scores

    def perplexity(self, sentences: Iterable[str]) -> "Perplexity":
        """How well the model foretells a text, one normalised sentence a string."""
        from auricle.lm.scoring import perplexity

        return perplexity(self, sentences)

    def halved(self) -> Self:
        """The model with half-precision probabilities: off by 2^-11, a 20th of a percent, of each
        logarithm at most, for a file a quarter smaller.
        """
        log_prob, backoff = (array.astype("<f2") for array in (self.log_prob, self.backoff))
        return replace(self, log_prob=log_prob, backoff=backoff)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "NgramModel":
        """Read a model: our binary form, mapped into memory, or an ARPA file, gzipped or not.

        Raises:
            ModelError: neither, damaged, or of a format this version cannot read.
        """
        from auricle.lm.storage import load

        return load(path)

    @classmethod
    def from_bytes(cls, content: bytes, name: str = "language model") -> "NgramModel":
        """The model whose binary form this is; `name` is for errors.

        Raises:
            ModelError: not a language model, or damaged.
        """
        from auricle.lm.storage import from_bytes

        return from_bytes(content, name)

    def to_bytes(self) -> bytes:
        """The binary form; equal models give equal bytes."""
        from auricle.lm.storage import to_bytes

        return to_bytes(self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the binary form, whole or not at all."""
        with replacing(path) as temporary:
            temporary.write_bytes(self.to_bytes())

    def write_arpa(self, path: str | os.PathLike[str]) -> None:
        """Write an ARPA file, gzipped where the name ends in .gz."""
        from auricle.lm.arpa import write_arpa

        write_arpa(self, path)
