"""Hotwords: names and terms that are likelier here than the language model knows."""

from collections.abc import Container, Iterable, Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from auricle.errors import ConfigError

Ints = NDArray[np.int64]

NOTHING = 0  # the place before the first word of every phrase
OTHER = 0  # the number of words that no phrase has


def phrases_of(text: str) -> tuple[str, ...]:
    """Words and phrases parted by commas or lines."""
    parts = (phrase.strip() for line in text.splitlines() for phrase in line.split(","))
    return tuple(filter(None, parts))


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

    It is paid with the last word: so *the* gains nothing outside of *the old courtyard*, nor does a
    hypothesis that it begins push better ones out of the beam. Where a phrase breaks off, its last
    words may begin another one (Aho and Corasick 1975).

    Attributes:
        places: how many there are; at each some words of phrases have been heard.
        most: what a single word may be worth.
    """

    def __init__(self, phrases: Sequence[Sequence[int]], worth: Sequence[float]) -> None:
        """`phrases` of numbers of words; `worth` of each number, that of `OTHER` included."""
        steps, paid, fails = _trie(phrases, worth)
        self._paid, self._fails, self._numbers = np.array(paid), np.array(fails), len(worth)
        keys = np.array([place * len(worth) + number for place, number in steps], np.int64)
        order = np.argsort(keys)
        self._keys, self._reached = keys[order], np.array(list(steps.values()), np.int64)[order]
        self.places, self.most = len(paid), max(paid)

    @classmethod
    def of(
        cls, hotwords: Iterable[str], words: Sequence[str], bonus: float, boosted: Container[str]
    ) -> tuple[Self, Ints]:
        """The phrases among `hotwords`, and the number of each of `words` in them, (words,).

        Words that are `boosted` have a bonus of their own and get no further one in a phrase.
        """
        phrases = [hotword.split() for hotword in hotwords if len(hotword.split()) > 1]
        number_of = {word: at for at, word in enumerate(split_hotwords(map(" ".join, phrases)), 1)}
        numbered = [[number_of[word] for word in phrase] for phrase in phrases]
        numbers = np.array([number_of.get(word, OTHER) for word in words], np.int64)
        worth = [0.0, *(0.0 if word in boosted else bonus for word in number_of)]
        return cls(numbered, worth), numbers

    def advance(self, places: Ints, numbers: Ints) -> tuple[NDArray[np.float64], Ints]:
        """What words are worth, (M,), that come at these places; and where one is after them."""
        places, after = places.copy(), np.full(len(places), NOTHING)
        waiting = np.arange(len(places) if len(self._keys) else 0)
        while len(waiting):
            at = places[waiting]
            keys = at * self._numbers + numbers[waiting]
            found = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
            goes_on = self._keys[found] == keys
            after[waiting[goes_on]] = self._reached[found[goes_on]]
            falls = ~goes_on & (at != NOTHING)
            waiting = waiting[falls]
            places[waiting] = self._fails[at[falls]]
        return self._paid[after], after


def _trie(
    phrases: Sequence[Sequence[int]], worth: Sequence[float]
) -> tuple[dict[tuple[int, int], int], list[float], list[int]]:
    """Which place a word leads to from another; of each, what is paid there, where it falls back.

    A phrase that goes on with a shorter one is paid for its further words.
    """
    steps: dict[tuple[int, int], int] = {}
    paid, owed, fails = [0.0], [0.0], [NOTHING]
    places: dict[tuple[int, ...], int] = {(): NOTHING}
    whole = set(map(tuple, phrases))
    beginnings = {tuple(each[:length]) for each in phrases for length in range(1, len(each) + 1)}
    for beginning in sorted(beginnings, key=len):
        parent, last = places[beginning[:-1]], beginning[-1]
        steps[parent, last] = places[beginning] = len(paid)
        due = owed[parent] + worth[last]
        paid.append(due if beginning in whole else 0.0)
        owed.append(0.0 if beginning in whole else due)
        suffixes = (beginning[at:] for at in range(1, len(beginning) + 1))
        fails.append(next(places[each] for each in suffixes if each in places))
    return steps, paid, fails
