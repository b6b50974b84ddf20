"""CTC prefix beam search (Graves 2012, chapter 7; Hannun et al. 2014), vectorised over beams.

Every prefix h of symbols has two masses: of the paths that end in a blank, and of those that end in
its last symbol. With y_t(c) = p(c | frame t) and h = g c,

    blank_t(h)  = y_t(blank) * (blank_{t-1}(h) + spoken_{t-1}(h))
    spoken_t(h) = y_t(c) * (spoken_{t-1}(h) + blank_{t-1}(g) + [g ends not in c] spoken_{t-1}(g))

so a symbol after itself is a new one only through a blank; `docs/ctc.md` shows it frame by frame.
All prefixes of all utterances are rows of one array, and a frame of each utterance is one round of
array operations: small arrays cost as much to call as to compute, so many utterances at once are
what makes it fast.

Prefixes that differ only in words that the language model has forgotten have the same future, and
the best of them will stay the best: with a model the others are left out (recombination, as in any
Viterbi search). Else a beam fills with readings that differ in what was said long ago.

A prefix is known by a 64-bit hash of its symbols; in beams of 100, two different ones share theirs
once in some 10^13 frames.
"""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auricle.decode.frames import BLANK, Frames
from auricle.decode.fusion import Fusion
from auricle.decode.history import NOTHING, History
from auricle.decode.lexicon import ROOT

ROW = np.dtype(
    [
        ("prefix", np.uint64),  # hash; of the utterance too
        ("parent", np.uint64),  # hash of the prefix without its last symbol
        ("blank", np.float64),  # log mass of the paths that end in a blank
        ("spoken", np.float64),  # log mass of those that end in the last symbol
        ("words", np.float64),  # what the complete words are worth
        ("peak", np.float64),  # greatest log probability of the last symbol in its frames
        ("state", np.int64),  # of the language model, after the complete words
        ("history", np.int64),  # the tokens before the last one
        ("start", np.int64),  # the last token's first frame
        ("end", np.int64),  # and the frame after its last one
        ("utterance", np.int32),
        ("node", np.int32),  # in the trie: the word that is being heard
        ("symbol", np.int32),  # the last one; BLANK if none
        ("variant", np.int32),  # which of the words that sound alike the last symbol ended
    ]
)
COMPACT_ABOVE = 1 << 14  # tokens of history that nothing may need any more
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Rows = NDArray[np.void]


@dataclass(frozen=True)
class Limits:
    """How much of the search is kept."""

    beam: int  # prefixes of an utterance
    score_prune: float  # below the best one of the utterance
    alike: int  # of prefixes with the same future; 0: all of them


@dataclass
class Offspring:
    """Prefixes one symbol longer than rows of the beam, (E,) each."""

    row: Ints
    symbol: Ints
    variant: Ints
    mass: Floats  # log mass of the paths that end in the symbol
    peak: Floats  # log probability of the symbol in the frame
    words: Floats  # this and what follows: the row's own, until `_spell` follows the word
    state: Ints
    node: NDArray[np.integer[Any]]

    def only(self, chosen: Ints) -> "Offspring":
        return Offspring(*(getattr(self, field.name)[chosen] for field in fields(self)))


class Search:
    """The beams of U utterances."""

    def __init__(self, fusion: Fusion, limits: Limits, utterances: int) -> None:
        self.fusion, self.limits, self.utterances = fusion, limits, utterances
        self.history = History()
        self.rows = np.zeros(utterances, ROW)
        numbers = np.arange(utterances)
        self.rows["utterance"] = numbers
        self.rows["prefix"] = _mix(np.zeros(utterances, np.uint64), numbers)
        self.rows["spoken"] = -np.inf
        self.rows["state"] = fusion.start
        self.rows["history"] = NOTHING

    def copy(self) -> "Search":
        """A search that goes its own way from here, without the tokens that nothing needs."""
        other = Search(self.fusion, self.limits, 0)
        other.utterances = self.utterances
        other.rows, other.history = self.rows.copy(), self.history.copy()
        if len(other.history) > 2 * other.history.needed + COMPACT_ABOVE:
            other.rows["history"] = other.history.compact(other.rows["history"])
        return other

    def run(self, frames: Frames) -> None:
        """Advance every utterance through its frames; the longest come first."""
        lengths = np.diff(frames.starts)
        done: list[Rows] = []
        for step in range(int(lengths.max(initial=0))):
            active = int(np.searchsorted(-lengths, -step))  # lengths > step: a prefix of them
            ended = int(np.searchsorted(self.rows["utterance"], active))
            done.append(self.rows[ended:])
            self.rows = self.rows[:ended]
            self._step(frames, frames.starts[:active] + step)
        self.rows = np.concatenate([self.rows, *done[::-1]])

    def forget_spoken(self) -> None:
        """What a sure blank does to every prefix."""
        self.rows["blank"] = np.logaddexp(self.rows["blank"], self.rows["spoken"])
        self.rows["spoken"] = -np.inf

    def _step(self, frames: Frames, at: Ints) -> None:
        """One frame of each utterance; `at` says which, (U,)."""
        rows = self.rows
        frame = at[rows["utterance"]]
        total = np.logaddexp(rows["blank"], rows["spoken"])
        if frames.after_blank[at].any():
            after_blank = frames.after_blank[frame]
            rows["blank"] = np.where(after_blank, total, rows["blank"])
            rows["spoken"] = np.where(after_blank, -np.inf, rows["spoken"])
        young, first = self._offspring(frames, frame, total)
        stay, origin = self._stay(frames, frame, total, young, first)
        scores = np.logaddexp(stay["blank"], stay["spoken"])
        scores += stay["words"] + self.fusion.ahead[stay["node"]]
        utterance = rows["utterance"]
        young = self._promising(young, floor_of_each(scores, utterance, len(at), self.limits))
        self._spell(young)
        scores = np.concatenate([scores, young.mass + young.words + self.fusion.ahead[young.node]])
        utterance = np.concatenate([utterance, utterance[young.row]])
        near = near_the_best(scores, utterance, len(at), self.limits)
        if self.limits.alike:
            futures = _futures(stay, young, near)
            near = near[best_alike(scores[near], futures, self.limits.alike)]
        kept = near[best_of_each(scores[near], utterance[near], len(at), self.limits)]
        origin = np.concatenate([origin, young.row])[kept]
        histories = self._remember(origin)
        self.rows = _survivors(stay, young, kept, frames.number[frame])
        self.rows["history"] = np.where(origin == NOTHING, self.rows["history"], histories)

    def _offspring(self, frames: Frames, frame: Ints, total: Floats) -> tuple[Offspring, Ints]:
        """Every row with every symbol that may follow it; and where those of each row begin.

        A symbol that ends one of several words that sound alike makes an offspring for each: the
        first in its place, the others after all the rest.
        """
        rows = self.rows
        counts = frames.first[frame + 1] - frames.first[frame]
        row = np.repeat(np.arange(len(rows)), counts)
        first = np.cumsum(counts) - counts
        index = np.arange(len(row)) + (frames.first[frame] - first)[row]
        symbol = frames.symbol[index]
        again = symbol == rows["symbol"][row]
        peak = frames.value[index]
        mass = np.where(again, rows["blank"][row], total[row]) + peak
        variant = np.zeros(len(row), np.int64)
        if self.fusion.sounds_alike:
            closes = self.fusion.closes[symbol]
            more = np.where(closes, self.fusion.variants[rows["node"][row]] - 1, 0)
            extra = np.repeat(np.arange(len(row)), more)
            nth = np.arange(len(extra)) - (np.cumsum(more) - more - 1)[extra]
            source = np.concatenate([np.arange(len(row)), extra])
            variant = np.concatenate([variant, nth])
            row, symbol, mass, peak = (each[source] for each in (row, symbol, mass, peak))
        words, state, node = (rows[name][row] for name in ("words", "state", "node"))
        return Offspring(row, symbol, variant, mass, peak, words, state, node), first

    def _stay(
        self, frames: Frames, frame: Ints, total: Floats, young: Offspring, first: Ints
    ) -> tuple[Rows, Ints]:
        """The rows themselves after the frame, joined by the offspring that are the same prefix.

        Also the row whose offspring brought more mass than was there: the last token began now,
        and what was before it is that row's; else `NOTHING`.
        """
        rows, stay = self.rows, self.rows.copy()
        now = frames.number[frame]
        heard = frames.log_probs[frame, rows["symbol"]]
        stay["blank"] = total + frames.log_probs[frame, BLANK]
        spoken = rows["spoken"] + heard
        lasting = spoken > stay["blank"]
        stay["end"] = np.where(lasting, now + 1, rows["end"])
        stay["peak"] = np.where(lasting, np.maximum(rows["peak"], heard), rows["peak"])
        origin = np.full(len(rows), NOTHING)
        place = frames.place[frame, rows["symbol"]]
        child, parent = self._families(np.flatnonzero(place >= 0))
        if len(child):
            twin = self._twins(young, first[parent] + place[child], child)
            mass = young.mass[twin]
            young.mass[twin] = -np.inf
            anew = mass > np.logaddexp(stay["blank"][child], spoken[child])
            spoken[child] = np.logaddexp(spoken[child], mass)
            child, parent = child[anew], parent[anew]
            origin[child] = parent
            stay["start"][child], stay["end"][child] = now[child], now[child] + 1
            stay["peak"][child] = heard[child]
        stay["spoken"] = spoken
        return stay, origin

    def _families(self, rows: Ints) -> tuple[Ints, Ints]:
        """Those of `rows` whose parents are in the beam, and their parents."""
        if not len(rows):
            return rows, rows
        prefix = self.rows["prefix"]
        order = np.argsort(prefix)
        ordered, wanted = prefix[order], self.rows["parent"][rows]
        place = np.minimum(np.searchsorted(ordered, wanted), len(ordered) - 1)
        found = ordered[place] == wanted
        return rows[found], order[place[found]]

    def _twins(self, young: Offspring, first: Ints, child: Ints) -> Ints:
        """The offspring that equal the rows `child`, given the first of their variants."""
        variant = self.rows["variant"][child].astype(np.int64)
        if not variant.any():
            return first
        extras = np.flatnonzero(young.variant == 1)  # the others of a word follow it
        key = young.row * len(self.fusion.closes) + young.symbol
        place = np.searchsorted(key[extras], key[first])
        return np.where(variant, extras[np.minimum(place, len(extras) - 1)] + variant - 1, first)

    def _promising(self, young: Offspring, floor: Floats) -> Offspring:
        """The offspring that may yet survive; `floor`, (U,), is the least that does."""
        closes = self.fusion.closes[young.symbol]
        best = np.where(closes, self.fusion.most, self.fusion.hope[young.node])
        bound = young.mass + young.words + best
        return young.only(np.flatnonzero(bound >= floor[self.rows["utterance"][young.row]]))

    def _spell(self, young: Offspring) -> None:
        """Follow the words of offspring; those that end get their value."""
        before = young.node
        closes = self.fusion.closes[young.symbol]
        young.node = self.fusion.follow(np.where(closes, ROOT, before), young.symbol)
        closing = np.flatnonzero(closes & (before != ROOT))
        if len(closing):
            values, young.state[closing] = self.fusion.close(
                young.state[closing], before[closing], young.variant[closing]
            )
            young.words[closing] += values
        lost = np.flatnonzero(young.node == self.fusion.trie.sink)
        young.words[lost] += self.fusion.lose(before[lost], young.symbol[lost])

    def _remember(self, origin: Ints) -> Ints:
        """Where the last tokens of the rows `origin` stand in the history from now on."""
        wanted = np.zeros(len(self.rows) + 1, np.bool_)
        wanted[origin] = True
        places = np.full(len(self.rows) + 1, NOTHING)  # NOTHING indexes the last one
        wanted[NOTHING] = False
        places[wanted] = self.history.add(self.rows[wanted[:-1]])
        return places[origin]


def floor_of_each(scores: Floats, utterance: Ints, utterances: int, limits: Limits) -> Floats:
    """What a new prefix must reach to survive, (U,), given the scores of those there are, (R,).

    Where the beam is full already, that is the worst of them: it bounds the last place.
    """
    best, worst = np.full(utterances, -np.inf), np.full(utterances, np.inf)
    np.maximum.at(best, utterance, scores)
    np.minimum.at(worst, utterance, scores)
    full = np.bincount(utterance, minlength=utterances) >= limits.beam
    floor: Floats = np.maximum(best - limits.score_prune, np.where(full, worst, -np.inf))
    return floor


def near_the_best(scores: Floats, utterance: Ints, utterances: int, limits: Limits) -> Ints:
    """Those candidates, (C,), that are no more than `score_prune` below their utterance's best.

    In the order of utterances; -inf is never among them.
    """
    best = np.full(utterances, -np.inf)
    np.maximum.at(best, utterance, scores)
    near = np.flatnonzero((scores >= (best - limits.score_prune)[utterance]) & (scores > -np.inf))
    if utterances > 1:
        near = near[np.argsort(utterance[near].astype(np.int32), kind="stable")]
    return near


def best_alike(scores: Floats, futures: NDArray[np.uint64], most: int) -> Ints:
    """The candidates, (C,), but for those that `most` better ones with the same future surpass.

    Whatever follows is worth the same to all of them, so the worse ones cannot win any more, but
    for what they might yet gain on the others from paths that are still in shorter prefixes. Of
    equal ones the first win.
    """
    order = np.argsort(futures)
    first = np.flatnonzero(np.diff(futures[order], prepend=~futures[order[:1]]))
    sizes = np.diff(first, append=len(order))
    crowded = np.sort(order[np.repeat(sizes > most, sizes)])  # few: only these need their order
    crowded = crowded[np.lexsort((-scores[crowded], futures[crowded]))]
    lost = np.zeros(len(scores), np.bool_)
    lost[crowded[most:]] = futures[crowded[most:]] == futures[crowded[:-most]]
    kept: Ints = np.flatnonzero(~lost)
    return kept


def best_of_each(scores: Floats, utterance: Ints, utterances: int, limits: Limits) -> Ints:
    """The best `beam` candidates of each utterance.

    Args:
        scores: (C,).
        utterance: (C,) whose candidate each is, ascending.
        utterances: how many there are.
        limits: at most `beam` of each. Of equal ones the first win: the answer does not depend on
            who else is in the batch.
    """
    counts = np.bincount(utterance, minlength=utterances)
    most = int(counts.max())
    if most <= limits.beam:
        return np.arange(len(scores))
    place = np.arange(len(scores)) - (np.cumsum(counts) - counts)[utterance]
    table = np.full((utterances, most), -np.inf)
    table[utterance, place] = scores
    cut = most - limits.beam
    table.partition(cut, axis=1)
    last = table[:, cut][utterance]
    kept = scores >= last
    if kept.sum() > np.minimum(counts, limits.beam).sum():  # ties at the last place
        table[:] = 0
        table[utterance, place] = tied = scores == last
        rank = np.cumsum(table, axis=1)[utterance, place]
        above = np.bincount(utterance[scores > last], minlength=utterances)
        kept &= ~tied | (rank <= (limits.beam - above)[utterance])
    chosen: Ints = np.flatnonzero(kept)
    return chosen


def _futures(stay: Rows, young: Offspring, which: Ints) -> NDArray[np.uint64]:
    """A hash of all that decides what may follow rows and offspring, and what it is worth.

    Of those in `which`: numbers of rows, after which come those of the offspring.
    """
    hashed = np.zeros(len(which), np.uint64)
    utterance = stay["utterance"]
    for old, new in (
        (utterance, utterance[young.row]),
        (stay["symbol"], young.symbol),
        (stay["node"], young.node),
        (stay["state"], young.state),
    ):
        hashed = _mix(hashed, np.concatenate([old, new])[which])
    return hashed


def _survivors(stay: Rows, young: Offspring, kept: Ints, now: Ints) -> Rows:
    """The rows of the next beam; the history of new ones is not theirs yet."""
    fresh = np.flatnonzero(kept >= len(stay))
    chosen = kept[fresh] - len(stay)
    source = kept.copy()
    source[fresh] = young.row[chosen]
    rows: Rows = stay[source]
    new = rows[fresh]
    symbol, variant, now = young.symbol[chosen], young.variant[chosen], now[young.row[chosen]]
    new["parent"] = new["prefix"]
    new["prefix"] = _mix(new["prefix"], symbol + (variant << 32))
    new["blank"], new["spoken"] = -np.inf, young.mass[chosen]
    new["peak"], new["words"] = young.peak[chosen], young.words[chosen]
    new["state"], new["node"] = young.state[chosen], young.node[chosen]
    new["start"], new["end"] = now, now + 1
    new["symbol"], new["variant"] = symbol, variant
    rows[fresh] = new
    return rows


def _mix(prefix: NDArray[np.uint64], symbol: Ints) -> NDArray[np.uint64]:
    """The hash of a prefix and one more symbol (the finaliser of splitmix64)."""
    mixed = (prefix ^ (symbol.astype(np.uint64) + np.uint64(1))) * _MULTIPLIER
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    hashed: NDArray[np.uint64] = mixed ^ (mixed >> np.uint64(31))
    return hashed
