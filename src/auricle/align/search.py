"""The best path through the lattice of a text (Viterbi 1967), exact, in memory bounded for hours.

T frames and N symbols would make 2 T N scores, 9 GB for an hour of speech. Kept are those of every
2,048th frame. The way back recomputes one stretch of frames after the other, and of each only the
words that the path can have come through: few are tried first, and the path is known to be the best
when its score equals the one kept; else more words are taken. So an hour, 90,000 frames and 40,000
letters, needs some 50 MB beside its log probabilities.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from auricle.align.lattice import Float32, Lattice, Place, Prices
from auricle.config import Settings
from auricle.decode.frames import check_log_probs
from auricle.decode.greedy import Token, ctc_greedy
from auricle.errors import DataError

BLOCK_FRAMES = 2_048
SCORES_HELD = 1 << 24  # when there are no more, all are kept
FEWEST_TRIED = 32  # words, on the way back, of those before a known one
TOLERANCE = 1e-3  # nats, between two ways to add up the same path in float32


class AlignSettings(Settings):
    """How sound may differ from text; with both of the first two 0, it may not.

    The best path is the likeliest of all ways to leave words out and put others in, with these
    as priors. Whatever is put in is the best symbol of every frame: the posteriors know already
    which are common.
    """

    omitted: float = Field(1e-11, ge=0, le=1, description="that a word of the text was not said")
    extra: float = Field(
        1e-2, ge=0, le=1, description="that something else was said between two words"
    )
    longer: float = Field(0.5, gt=0, le=1, description="that it has one symbol more")

    @property
    def prices(self) -> Prices:
        """The probabilities in nats."""
        each = (self.omitted, self.extra, self.longer)
        return Prices(*(-math.log(prior) if prior else math.inf for prior in each))


STRICT = AlignSettings(omitted=0.0, extra=0.0)


@dataclass(frozen=True, slots=True)
class Span:
    """Where a word was said: from its first symbol's first frame to its last one's last."""

    start_frame: int
    end_frame: int  # exclusive
    confidence: float  # the mean probability of its symbols, each over its frames
    tokens: tuple[Token, ...]


@dataclass(frozen=True, slots=True)
class Insertion:
    """A stretch of sound that is not in the text, by the best symbol of each frame."""

    before: int  # the number of the word that follows; that of words when none does
    tokens: tuple[Token, ...]


@dataclass(frozen=True, slots=True)
class Alignment:
    """A text against its sound."""

    spans: tuple[Span | None, ...]  # one per word; None: it was not said
    insertions: tuple[Insertion, ...]
    log_prob: float  # of the best path, with the priors of what differs


def force_align(
    log_probs: NDArray[Any],
    words: Sequence[Sequence[Sequence[int]]],
    *,
    separator: int | None = None,
    settings: AlignSettings = STRICT,
) -> Alignment:
    """Find when each word was said.

    Args:
        log_probs: (T, V) natural logarithms of probabilities, symbol 0 the blank: anyone's.
        words: each word by the symbols of every way to say it; `Script` makes them of a text.
        separator: the symbol that stands between words, if one does.
        settings: what may be missing in the sound or in the text.

    Raises:
        DataError: for what are no log probabilities, ids that they do not have, or a text that is
            longer than its sound.
    """
    log_probs = _checked(log_probs, words, separator)
    prices = settings.prices
    lattice, frames = Lattice.of(words, separator, prices), _Frames(log_probs, prices.symbol)
    places, score = _best_path(lattice, frames)
    return Alignment(
        spans=_spans(lattice, places, log_probs),
        insertions=tuple(_insertions(places, log_probs)),
        log_prob=score + float(frames.top.sum(dtype=np.float64)),
    )


def _checked(
    log_probs: NDArray[Any], words: Sequence[Sequence[Sequence[int]]], separator: int | None
) -> NDArray[np.floating[Any]]:
    shape = np.shape(log_probs)
    array = check_log_probs(log_probs, shape[1] if len(shape) == 2 else 0)
    if len(array) and not np.isfinite(array.max(axis=1)).all():
        raise DataError("log_probs hold NaN, or frames in which no symbol is possible")
    used = {id_ for ways in words for way in ways for id_ in way} | {separator or 1}
    if used and not (min(used) > 0 and max(used) < array.shape[1]):
        raise DataError(
            f"symbols {min(used)} to {max(used)} of the text, but log_probs are of the blank, 0,"
            f" and 1 to {array.shape[1] - 1}"
        )
    if not all(ways and all(ways) for ways in words):
        raise DataError("every word needs a symbol at least, in every way to say it")
    return array


# --- the best path ----------------------------------------------------------------------------


class _Frames:
    """What each frame adds to a path, less what it adds to the best one without a text.

    So scores stay small, and float32 holds them exactly enough.
    """

    def __init__(self, log_probs: NDArray[np.floating[Any]], symbol_price: float) -> None:
        self._log_probs = log_probs
        best = log_probs.argmax(axis=1)
        self.top = np.take_along_axis(log_probs, best[:, None], axis=1)[:, 0]
        new = (best != 0) & np.append(True, best[1:] != best[:-1])[: len(best)]
        self.fillers = np.where(new, -symbol_price, 0.0)

    def __len__(self) -> int:
        return len(self.top)

    def row(self, frame: int) -> Float32:
        """(V,) at most 0."""
        row: Float32 = (self._log_probs[frame] - self.top[frame]).astype(np.float32, copy=False)
        return row


def _best_path(lattice: Lattice, frames: _Frames) -> tuple[list[Place], float]:
    """The state of every frame, and the score less that of the best path without a text.

    Raises:
        DataError: when there is no path.
    """
    if len(frames) * lattice.size <= SCORES_HELD:
        scores = _walk(lattice, frames, range(len(frames)), lattice.begin(), len(frames) + 1)
        score, place = _finish(lattice, scores[-1], frames)
        return _back(lattice, scores, place)[-2::-1], score
    blocks = [
        range(begin, min(begin + BLOCK_FRAMES, len(frames)))
        for begin in range(0, len(frames), BLOCK_FRAMES)
    ]
    kept, shifts = [lattice.begin()], [0.0]  # before each block and after the last one
    for block in blocks:
        ended = _walk(lattice, frames, block, kept[-1], 2)[len(block) % 2]
        shifts.append(float(ended.max()))
        kept.append(ended - np.float32(shifts[-1]) if shifts[-1] > -np.inf else ended)
    score, place = _finish(lattice, kept[-1], frames)
    places: list[Place] = []
    for number, block in reversed(list(enumerate(blocks))):
        reached = lattice.score(kept[number + 1], place) + shifts[number + 1]
        backwards = _recomputed(lattice, frames, block, kept[number], place, reached)
        place = backwards.pop()
        places += backwards
    return places[::-1], score + sum(shifts)


def _finish(lattice: Lattice, scores: Float32, frames: _Frames) -> tuple[float, Place]:
    score, place = lattice.finish(scores)
    if score == -np.inf:
        raise DataError(
            f"{len(lattice.ids)} symbols cannot be said in {len(frames)} frames: is it the text of"
            " this recording?"
        )
    return score, place


def _walk(lattice: Lattice, frames: _Frames, block: range, begun: Float32, rows: int) -> Float32:
    """The scores after each frame of a block, the last `rows` of them: those of frame n in row
    n modulo `rows`, where frame 0 is what was before the block.
    """
    scores = np.empty((rows, lattice.size), np.float32)
    scores[0] = begun
    for number, frame in enumerate(block):
        before, after = scores[number % rows], scores[(number + 1) % rows]
        lattice.step(before, after, frames.row(frame), frames.fillers[frame])
    return scores


def _back(lattice: Lattice, scores: Float32, place: Place) -> list[Place]:
    """The states that lead to `place`, from the last row of scores, (T + 1, S), to the first."""
    places = [place]
    for before in scores[-2::-1]:
        places.append(lattice.source(places[-1], before))
    return places


def _recomputed(
    lattice: Lattice,
    frames: _Frames,
    block: range,
    begun: Float32,
    place: Place,
    reached: float,
) -> list[Place]:
    """The states of a block's frames from the last to the first, and the one before them.

    Args:
        begun: the scores before the block.
        place: where the block ends: after its last frame.
        reached: the score there.
    """
    end = lattice.word_of(place) + (place.part in ("symbols", "blanks"))
    tried = max(FEWEST_TRIED, 2 * lattice.words * len(block) // len(frames))
    while True:
        first = max(0, end - tried)
        part = lattice.stretch(first, end)
        at = lattice.moved(place, first, -1)
        cut = lattice.cut(begun, first, end)
        scores = _walk(part, frames, block, cut, len(block) + 1)
        if first == 0 or part.score(scores[-1], at) >= reached - TOLERANCE * (1 + abs(reached)):
            return [lattice.moved(each, first, 1) for each in _back(part, scores, at)]
        tried *= 2


# --- what the path says -------------------------------------------------------------------------


def _spans(
    lattice: Lattice, places: Sequence[Place], log_probs: NDArray[np.floating[Any]]
) -> tuple[Span | None, ...]:
    """Where each word is on the path; the separators between words belong to none."""
    last = lattice.words - 1
    separators = set(lattice.lasts.tolist()) if lattice.separated else set()
    tokens: dict[int, list[tuple[Token, float]]] = {}
    for place, frames in _runs(places):
        if place.part == "symbols":
            word = int(lattice.word_of_symbol[place.number])
            if word == last or place.number not in separators:
                id_ = int(lattice.ids[place.number])
                said = log_probs[frames.start : frames.stop, id_].astype(np.float64)
                token = Token(id_, frames.start, frames.stop, float(said.max()))
                tokens.setdefault(word, []).append((token, float(np.exp(said).mean())))
    return tuple(_span(tokens[word]) if word in tokens else None for word in range(lattice.words))


def _span(tokens: Sequence[tuple[Token, float]]) -> Span:
    return Span(
        start_frame=tokens[0][0].start_frame,
        end_frame=tokens[-1][0].end_frame,
        confidence=min(1.0, sum(probability for _, probability in tokens) / len(tokens)),
        tokens=tuple(token for token, _ in tokens),
    )


def _insertions(
    places: Sequence[Place], log_probs: NDArray[np.floating[Any]]
) -> Iterator[Insertion]:
    for place, frames in _runs(places):
        if place.part == "fillers":
            heard = ctc_greedy(log_probs[frames.start : frames.stop])
            if heard:
                yield Insertion(place.number, tuple(_later(token, frames.start) for token in heard))


def _later(token: Token, frames: int) -> Token:
    return Token(token.id, token.start_frame + frames, token.end_frame + frames, token.log_prob)


def _runs(places: Sequence[Place]) -> Iterator[tuple[Place, range]]:
    """Each state with the frames that the path stays in it."""
    at = 0
    for place, group in groupby(places):
        length = sum(1 for _ in group)
        yield place, range(at, at + length)
        at += length
