"""Hotwords: names and terms that are likelier here than the language model knows."""

from collections.abc import Container, Iterable, Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from auricle.errors import ConfigError

Ints = NDArray[np.int64]

NOTHING = 0  # the place before the first word of every phrase
OTHER = 0  # the number of words that no phrase has


def split_hotwords(hotwords: Iterable[str]) -> tuple[str, ...]:
    """The words of all hotwords, each once.

    Raises:
        ConfigError: for a hotword without letters.
    """
    words: dict[str, None] = {}
    for hotword in hotwords:
        if not hotword.split():
            raise ConfigError(f"{hotword!r} is no hotword: give words as transcripts write them")
        words.update(dict.fromkeys(hotword.split()))
    return tuple(words)


class Phrases:
    """Hotwords of several words, whose bonus counts for the whole phrase alone.

    Each word that goes on with a phrase is worth the bonus; as soon as another comes, all that the
    open phrase was worth is taken back. So *the* gains nothing outside of *the old courtyard*.
    What is left open may be the beginning of another phrase (Aho and Corasick 1975).

    Attributes:
        places: how many there are; at each some words of phrases have been heard.
        most: what a single word may be worth.
    """

    def __init__(self, phrases: Sequence[Sequence[int]], worth: Sequence[float]) -> None:
        """`phrases` of numbers of words; `worth` of each number, that of `OTHER` included."""
        children, held, fails = _trie(phrases, worth)
        self.places = len(children)
        self.held, self._fails, self._worth = np.array(held), np.array(fails), np.array(worth)
        steps = {(place, n): child for place, of in enumerate(children) for n, child in of.items()}
        self._keys = np.array([place * len(worth) + n for place, n in steps], np.int64)
        order = np.argsort(self._keys)
        self._keys = self._keys[order]
        self._children = np.array(list(steps.values()), np.int64)[order]
        given = [0.0]  # by falling back, at most: every place comes after where it falls back to
        for place, back in list(enumerate(fails))[1:]:
            given.append(max(0.0, held[back] - held[place] + given[back]))
        self.most = max(worth) + max(given)

    @classmethod
    def of(
        cls, hotwords: Iterable[str], words: Sequence[str], bonus: float, paid: Container[str]
    ) -> tuple[Self, Ints]:
        """The phrases among `hotwords`, and the number of each of `words` in them, (words,).

        Words that are `paid` have a bonus of their own and get no further one in a phrase.
        """
        phrases = [hotword.split() for hotword in hotwords if len(hotword.split()) > 1]
        number_of = {word: at for at, word in enumerate(split_hotwords(map(" ".join, phrases)), 1)}
        numbered = [[number_of[word] for word in phrase] for phrase in phrases]
        numbers = np.array([number_of.get(word, OTHER) for word in words], np.int64)
        worth = [0.0, *(0.0 if word in paid else bonus for word in number_of)]
        return cls(numbered, worth), numbers

    def advance(self, places: Ints, numbers: Ints) -> tuple[NDArray[np.float64], Ints]:
        """What words are worth, (M,), that come at these places; and where one is after them."""
        places = places.copy()
        gains, after = np.zeros(len(places)), np.full(len(places), NOTHING)
        waiting = np.arange(len(places) if len(self._keys) else 0)
        while len(waiting):
            at = places[waiting]
            keys = at * len(self._worth) + numbers[waiting]
            found = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
            goes_on = self._keys[found] == keys
            there = waiting[goes_on]
            gains[there] += self._worth[numbers[there]]
            after[there] = self._children[found[goes_on]]
            falls = ~goes_on & (at != NOTHING)
            waiting, at = waiting[falls], at[falls]
            gains[waiting] += self.held[self._fails[at]] - self.held[at]
            places[waiting] = self._fails[at]
        return gains, after


def _trie(
    phrases: Sequence[Sequence[int]], worth: Sequence[float]
) -> tuple[list[dict[int, int]], list[float], list[int]]:
    """Of each place, breadth first: what may follow; what is only lent to it; where it falls back.

    A phrase that is whole keeps what it was worth, also where a longer one goes on with it.
    """
    children: list[dict[int, int]] = [{}]
    held, fails = [0.0], [NOTHING]
    prefixes: dict[tuple[int, ...], int] = {(): NOTHING}
    whole = set(map(tuple, phrases))
    beginnings = {
        tuple(phrase[:length]) for phrase in phrases for length in range(1, len(phrase) + 1)
    }
    for prefix in sorted(beginnings, key=len):
        parent = prefixes[prefix[:-1]]
        children[parent][prefix[-1]] = prefixes[prefix] = len(children)
        children.append({})
        held.append(0.0 if prefix in whole else held[parent] + worth[prefix[-1]])
        suffixes = (prefix[at:] for at in range(1, len(prefix) + 1))
        fails.append(next(prefixes[each] for each in suffixes if each in prefixes))
    return children, held, fails
