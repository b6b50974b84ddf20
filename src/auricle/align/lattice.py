"""The states that an aligned text runs through, and one frame's step from state to state.

A word is one chain of symbols for each way to say it, a blank allowed after every symbol (Graves et
al. 2006); where a separator stands between words, it is the last symbol of the chain. Between the
chains lie junctions, 0 before the first word to W after the last, each with two states of its own:

    blank    silence
    filler   anything: the best symbol of the frame, whichever it is

A junction is left into its word, or past it, at a price, when the word was not said; the filler is
entered at a price too. They are the bypass and the self-loop of Omni-temporal Classification (Gao
et al. 2023, "Learning from flawed data"), its star token as in Pratap et al. 2023, "Scaling speech
technology to 1,000+ languages".

Scores are a float32 vector of all states, -inf where a state cannot be. N symbols of all chains,
C chains, W words, V symbols of the model.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Ints = NDArray[np.intp]


class States(NamedTuple):
    """The parts of a vector of scores, as views."""

    symbols: Float32  # (N,) on the symbol
    blanks: Float32  # (N,) on the blank after it, within a chain
    silences: Float32  # (W + 1,)
    fillers: Float32  # (W + 1,)


class Place(NamedTuple):
    """A state by its part of `States` and its number there."""

    part: str
    number: int


START = Place("silences", 0)  # before the first frame


@dataclass(frozen=True)
class Prices:
    """What leaving the text costs, in nats; infinite where it is not allowed."""

    omitted: float  # for each word
    extra: float  # for each stretch of something else
    symbol: float  # for each symbol of it


@dataclass(frozen=True)
class Lattice:
    """The states of a text or of some words of it."""

    ids: Ints  # (N,) what each symbol is to the model
    apart: Float32  # (N,) 0, or -inf where it needs a blank before it, being the same again
    firsts: Ints  # (C,) the first symbol of each chain
    lasts: Ints  # (C,)
    chains: Ints  # (W + 1,) where each word's chains begin
    joined: Float32  # (W + 1,) 0, or -inf where a word needs a blank after the word before it
    separated: bool  # whether chains but those of the last word end in a separator
    prices: Prices
    first_word: int = 0

    @classmethod
    def of(
        cls, words: Sequence[Sequence[Sequence[int]]], separator: int | None, prices: Prices
    ) -> Self:
        """The lattice of words, each given by the symbols of every way to say it."""
        last = len(words) - 1
        tail = [] if separator is None else [separator]
        spelt = [
            [[*way, *(tail if number < last else [])] for way in ways]
            for number, ways in enumerate(words)
        ]
        lengths = np.array([len(way) for ways in spelt for way in ways], np.intp)
        ends = np.cumsum(lengths)
        ids = np.array([id_ for ways in spelt for way in ways for id_ in way], np.intp)
        apart = np.zeros(len(ids), np.float32)
        apart[1:][ids[1:] == ids[:-1]] = -np.inf
        apart[ends - lengths] = -np.inf  # what came before is of another chain
        joined = np.zeros(len(words) + 1, np.float32)
        for number in range(1, len(words)):
            before = {way[-1] for way in spelt[number - 1]}
            if separator is None and not before.isdisjoint(way[0] for way in spelt[number]):
                joined[number] = -np.inf
        return cls(
            ids=ids,
            apart=apart,
            firsts=ends - lengths,
            lasts=ends - 1,
            chains=np.concatenate(([0], np.cumsum([len(ways) for ways in spelt], dtype=np.intp))),
            joined=joined,
            separated=separator is not None,
            prices=prices,
        )

    @property
    def words(self) -> int:
        """W."""
        return len(self.chains) - 1

    @property
    def size(self) -> int:
        """Of a vector of scores."""
        return 2 * len(self.ids) + 2 * (self.words + 1)

    @cached_property
    def word_of_chain(self) -> Ints:
        return np.repeat(np.arange(self.words), np.diff(self.chains))

    @cached_property
    def word_of_symbol(self) -> Ints:
        return np.repeat(self.word_of_chain, self.lasts - self.firsts + 1)

    @cached_property
    def _ladder(self) -> NDArray[np.floating[Any]]:
        """(W + 1,) the price of leaving out all words of the text up to here."""
        return np.arange(self.first_word, self.first_word + self.words + 1) * self.prices.omitted

    def views(self, scores: Float32) -> States:
        """The parts of a vector."""
        n, w = len(self.ids), self.words + 1
        return States(scores[:n], scores[n : 2 * n], scores[2 * n : 2 * n + w], scores[2 * n + w :])

    def score(self, scores: Float32, place: Place) -> float:
        """That of one state."""
        return float(getattr(self.views(scores), place.part)[place.number])

    def begin(self) -> Float32:
        """The scores before the first frame."""
        scores = np.full(self.size, -np.inf, np.float32)
        self.views(scores).silences[0] = 0.0
        return scores

    def step(self, before: Float32, after: Float32, row: Float32, filler: float) -> None:
        """Write to `after` the scores that `before` leads to.

        Args:
            row: (V,) the frame's log probabilities.
            filler: what the frame adds to a filler.
        """
        old = self.views(before)
        symbols, blanks, silences, fillers = self.views(after)
        arrived, entry = self.junctions(old)
        np.maximum(old.symbols[:-1] + self.apart[1:], old.blanks[:-1], out=symbols[1:])
        symbols[self.firsts] = entry[self.word_of_chain]
        np.maximum(symbols, old.symbols, out=symbols)
        symbols += row[self.ids]
        np.maximum(old.blanks, old.symbols, out=blanks)
        blanks += row[0]
        np.add(arrived, row[0], out=silences)
        np.maximum(old.fillers, arrived - np.float32(self.prices.extra), out=fillers)
        fillers += np.float32(filler)

    def junctions(self, old: States) -> tuple[Float32, Float32]:
        """What reaches each junction, (W + 1,), and what of it may go on into a word at once."""
        ended = self._ended(old)
        passed = self._passed(self._free(old, ended))
        return np.maximum(passed, ended), np.maximum(passed, ended + self.joined)

    def _ended(self, old: States) -> Float32:
        """(W + 1,) the best end of the word before each junction."""
        ended = np.full(self.words + 1, -np.inf, np.float32)
        if self.words:
            lasts = old.symbols[self.lasts]
            several = len(lasts) > self.words
            ended[1:] = np.maximum.reduceat(lasts, self.chains[:-1]) if several else lasts
        return ended

    def _free(self, old: States, ended: Float32) -> Float32:
        """Where words may be left out from.

        Without separators that is after a frame of silence or filler only: there two words that
        an omission brings together could end and begin with the same symbol.
        """
        free: Float32 = np.maximum(old.silences, old.fillers)
        return np.maximum(free, ended) if self.separated else free

    def _passed(self, free: Float32) -> Float32:
        """(W + 1,) the best of each junction and of those before it, less the words left out."""
        if np.isinf(self.prices.omitted):
            return free
        best = np.maximum.accumulate(free + self._ladder)
        passed: Float32 = (best - self._ladder).astype(np.float32)
        return passed

    # --- the way back ---------------------------------------------------------------------------

    def source(self, place: Place, before: Float32) -> Place:
        """The state that `place` was best reached from, given the scores of the frame before."""
        old = self.views(before)
        part, number = place
        if part == "silences":
            return self._arrival(number, old)[1]
        if part == "blanks":
            return _best(
                (old.blanks[number], place), (old.symbols[number], Place("symbols", number))
            )
        if part == "fillers":
            score, origin = self._arrival(number, old)
            return _best((old.fillers[number], place), (score - self.prices.extra, origin))
        chain = int(np.searchsorted(self.firsts, number, side="right")) - 1
        if number == self.firsts[chain]:
            return _best(
                (old.symbols[number], place),
                self._arrival(int(self.word_of_chain[chain]), old, into_word=True),
            )
        return _best(
            (old.symbols[number], place),
            (old.blanks[number - 1], Place("blanks", number - 1)),
            (old.symbols[number - 1] + self.apart[number], Place("symbols", number - 1)),
        )

    def finish(self, scores: Float32) -> tuple[float, Place]:
        """The best score after the last frame, and where it stands.

        Words left out at the end take the separator before them along.
        """
        old = self.views(scores)
        ways = [self._arrival(self.words, old)]
        if self.words > 1 and not np.isinf(self.prices.omitted):
            chains = int(self.chains[-2])
            left_out = (self.words - 1 - self.word_of_chain[:chains]) * self.prices.omitted
            ends = self.lasts[:chains] - 1 if self.separated else self.lasts[:chains]
            for part in ("symbols", "blanks"):
                reached = getattr(old, part)[ends] - left_out
                best = int(reached.argmax())
                ways.append((float(reached[best]), Place(part, int(ends[best]))))
        return _scored(*ways)

    def _arrival(
        self, junction: int, old: States, *, into_word: bool = False
    ) -> tuple[float, Place]:
        """The best way to a junction: past words left out, or from the end of the word before."""
        ended = self._ended(old)
        free = self._free(old, ended)[: junction + 1]
        if np.isinf(self.prices.omitted):
            origin, score = junction, float(free[junction])
        else:
            ladder = self._ladder[: junction + 1]
            origin = int((free + ladder).argmax())
            score = float(free[origin] + ladder[origin] - ladder[-1])
        places = [
            (float(getattr(old, part)[origin]), Place(part, origin))
            for part in ("silences", "fillers")
        ]
        if self.separated:
            places.append((float(ended[origin]), self._end(origin, old)))
        barred = float(self.joined[junction]) if into_word else 0.0
        at_end = float(ended[junction]) + barred
        return _scored((score, _best(*places)), (at_end, self._end(junction, old)))

    def _end(self, junction: int, old: States) -> Place:
        """The best end of the word before a junction."""
        if junction == 0:
            return START
        lasts = self.lasts[self.chains[junction - 1] : self.chains[junction]]
        return Place("symbols", int(lasts[old.symbols[lasts].argmax()]))

    # --- some of the words ------------------------------------------------------------------------

    def word_of(self, place: Place) -> int:
        """The word that a state belongs to, or that its junction stands before."""
        if place.part in ("symbols", "blanks"):
            return int(self.word_of_symbol[place.number])
        return place.number

    def stretch(self, first: int, end: int) -> "Lattice":
        """The lattice of the words first..end-1, with the junctions first..end."""
        chains = slice(int(self.chains[first]), int(self.chains[end]))
        symbols = self._symbols(first, end)
        return Lattice(
            ids=self.ids[symbols],
            apart=self.apart[symbols],
            firsts=self.firsts[chains] - symbols.start,
            lasts=self.lasts[chains] - symbols.start,
            chains=self.chains[first : end + 1] - chains.start,
            joined=self.joined[first : end + 1],
            separated=self.separated,
            prices=self.prices,
            first_word=self.first_word + first,
        )

    def cut(self, scores: Float32, first: int, end: int) -> Float32:
        """The scores of the states that `stretch` has."""
        old = self.views(scores)
        symbols, junctions = self._symbols(first, end), slice(first, end + 1)
        cuts = (symbols, symbols, junctions, junctions)
        return np.concatenate([each[cut] for each, cut in zip(old, cuts, strict=True)])

    def moved(self, place: Place, first: int, direction: int) -> Place:
        """A place from this lattice to its stretch from word `first` on (-1), or back (1)."""
        by = first if place.part in ("silences", "fillers") else self._symbols(first, first).start
        return Place(place.part, place.number + direction * int(by))

    def _symbols(self, first: int, end: int) -> slice:
        bounds = np.append(self.firsts, len(self.ids))
        return slice(int(bounds[self.chains[first]]), int(bounds[self.chains[end]]))


def _scored(*ways: tuple[float, Place]) -> tuple[float, Place]:
    """The best way; of equal ones, the first."""
    return max(ways, key=lambda way: way[0])


def _best(*ways: tuple[Any, Place]) -> Place:
    return _scored(*ways)[1]
