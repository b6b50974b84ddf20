"""Forced alignment against every path there is, each tried by hand-written rules."""

import itertools
import math
from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from auricle.align import Alignment, AlignSettings, force_align, search
from auricle.align.lattice import Prices
from auricle.errors import DataError

SPACE = 1
Words = Sequence[Sequence[Sequence[int]]]


@pytest.fixture(params=["held", "recomputed"], autouse=True)
def _how(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small texts are held whole; made to, they are recomputed block by block like long ones."""
    if request.param == "recomputed":
        monkeypatch.setattr(search, "SCORES_HELD", 0)
        monkeypatch.setattr(search, "BLOCK_FRAMES", 3)
        monkeypatch.setattr(search, "FEWEST_TRIED", 1)


def emissions(rng: np.random.Generator, frames: int, symbols: int = 4) -> NDArray[np.float64]:
    logits = rng.normal(0.0, 2.0, (frames, symbols))
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def collapse(path: Sequence[int]) -> tuple[int, ...]:
    return tuple(symbol for symbol, _ in itertools.groupby(path) if symbol)


@cache
def paths_of(frames: int, symbols: int) -> dict[tuple[int, ...], list[tuple[int, ...]]]:
    """Every path, by the labels that it spells."""
    found: dict[tuple[int, ...], list[tuple[int, ...]]] = {}
    for path in itertools.product(range(symbols), repeat=frames):
        found.setdefault(collapse(path), []).append(path)
    return found


def best_path_score(log_probs: NDArray[np.float64], labels: Sequence[int]) -> float:
    frames, symbols = log_probs.shape
    paths = paths_of(frames, symbols).get(tuple(labels), [])
    return max((log_probs[np.arange(frames), path].sum() for path in paths), default=-math.inf)


def sequences(words: Words, separator: int | None) -> Iterator[list[int]]:
    """The labels of words, one after the other, for all ways to say them."""
    for ways in itertools.product(*words):
        labels: list[int] = []
        for way in ways:
            labels += [separator] * (separator is not None and bool(labels)) + list(way)
        yield labels


TEXTS: list[tuple[Words, int | None]] = [
    ([[[2, 3]]], SPACE),
    ([[[2]], [[2]]], SPACE),
    ([[[2, 2]], [[3]]], SPACE),
    ([[[2], [3, 2]], [[3], [2]]], SPACE),
    ([[[1]], [[1, 2]], [[3]]], None),
    ([[[1, 1]], [[2]]], None),
    ([[[3]], [[3]], [[3]]], None),
    ([], SPACE),
]


@pytest.mark.parametrize(("words", "separator"), TEXTS)
def test_the_best_path_is_the_best_of_all(
    words: Words, separator: int | None, rng: np.random.Generator
) -> None:
    possible = 0
    for frames in (1, 2, 4, 6, 7):
        log_probs = emissions(rng, frames)
        wanted = max(best_path_score(log_probs, s) for s in sequences(words, separator))
        if wanted == -math.inf:
            with pytest.raises(DataError, match="cannot be said"):
                force_align(log_probs, words, separator=separator)
            continue
        found = force_align(log_probs, words, separator=separator)
        assert found.log_prob == pytest.approx(wanted, abs=1e-4)
        assert None not in found.spans
        possible += 1
    assert possible >= 2


def rescored(log_probs: NDArray[np.float64], found: Alignment) -> float:
    """The probability of the path that the tokens describe: blanks wherever there is none."""
    path = np.zeros(len(log_probs), np.int64)
    for token in (token for span in found.spans if span for token in span.tokens):
        assert not path[token.start_frame : token.end_frame].any()
        path[token.start_frame : token.end_frame] = token.id
    return float(log_probs[np.arange(len(path)), path].sum())


def test_the_words_lie_where_the_best_path_goes(rng: np.random.Generator) -> None:
    for _ in range(20):
        words = [[rng.integers(1, 4, rng.integers(1, 4)).tolist()] for _ in range(4)]
        log_probs = emissions(rng, 30)
        found = force_align(log_probs, words)
        assert rescored(log_probs, found) == pytest.approx(found.log_prob, abs=1e-4)
        spans = [span for span in found.spans if span]
        assert [[token.id for token in span.tokens] for span in spans] == [w for (w,) in words]
        for span in spans:
            tokens = span.tokens
            assert (span.start_frame, span.end_frame) == (
                tokens[0].start_frame,
                tokens[-1].end_frame,
            )
            heard = [np.exp(log_probs[t.start_frame : t.end_frame, t.id]).mean() for t in tokens]
            assert span.confidence == pytest.approx(np.mean(heard))


# --- words missing in the sound or in the text --------------------------------------------------

FILLER = -1
AFRESH = 100  # added to a label that no other may directly precede


def best_reading(log_probs: NDArray[np.float64], elements: Sequence[int], prices: Prices) -> float:
    """The best way to share the frames out among labels and fillers, blanks between them."""
    frames = len(log_probs)
    greedy = log_probs.argmax(axis=1)

    def filler(frame: int) -> float:
        new = greedy[frame] and (frame == 0 or greedy[frame] != greedy[frame - 1])
        return float(log_probs[frame].max()) - (prices.symbol if new else 0.0)

    @cache
    def best(frame: int, at: int, now: int) -> float:
        """The best of the frames from `frame` on: `at` elements are begun, `now` is held."""
        if frame == frames:
            return 0.0 if at == len(elements) else -math.inf
        ways = [log_probs[frame, 0] + best(frame + 1, at, 0)]
        if now == FILLER:
            ways.append(filler(frame) + best(frame + 1, at, now))
        elif now:
            ways.append(log_probs[frame, now] + best(frame + 1, at, now))
        if at < len(elements):
            new = elements[at]
            if new == FILLER:
                ways.append(filler(frame) - prices.extra + best(frame + 1, at + 1, FILLER))
            elif new != now and not (new >= AFRESH and now > 0):
                label = new % AFRESH
                ways.append(log_probs[frame, label] + best(frame + 1, at + 1, label))
        return float(max(ways))

    return best(0, 0, 0)


def readings(words: Words, separator: int | None) -> Iterator[tuple[list[int], int]]:
    """Labels and fillers of every way to leave words out and put others in; how many are left out.

    A filler stands before a word, or after the last one of the text; when that is left out, the
    separator before it may be too, or be heard. Without separators, a frame of blank or filler
    parts the words that an omission brings together.
    """
    between = [] if separator is None else [separator]
    for kept in itertools.product((True, False), repeat=len(words)):
        said = [n for n, is_kept in enumerate(kept) if is_kept]
        for ways in itertools.product(*(words[n] for n in said)):
            for fills in itertools.product((True, False), repeat=len(said) + 1):
                elements: list[int] = []
                for n, way, fill in zip(said, ways, fills, strict=False):
                    afresh = separator is None and n > 0 and not kept[n - 1]
                    elements += [FILLER] * fill + [way[0] + AFRESH * afresh, *way[1:]]
                    elements += between if n < len(words) - 1 else []
                elements += [FILLER] * fills[-1]
                yield elements, len(words) - len(said)
                if said and said[-1] < len(words) - 1 and between and not fills[-1]:
                    yield elements[:-1], len(words) - len(said)


@pytest.mark.parametrize(
    "settings",
    [
        AlignSettings(omitted=0.05, extra=0.0),
        AlignSettings(omitted=0.0, extra=0.2, longer=0.7),
        AlignSettings(omitted=0.1, extra=0.3, longer=0.4),
    ],
    ids=["omitted", "extra", "both"],
)
@pytest.mark.parametrize(
    ("words", "separator"),
    [
        ([[[2, 3]], [[4]], [[2]]], SPACE),
        ([[[2]], [[3, 3], [2]]], SPACE),
        ([[[1, 2]], [[3]], [[4]]], None),
    ],
)
def test_what_differs_is_the_best_of_all_readings(
    words: Words, separator: int | None, settings: AlignSettings, rng: np.random.Generator
) -> None:
    prices = settings.prices
    omissions, insertions = 0, 0
    for frames in (3, 6, 9, 9, 12, 12):
        log_probs = emissions(rng, frames, 5)
        wanted = -math.inf
        for elements, left_out in readings(words, separator):
            if (left_out and not settings.omitted) or (FILLER in elements and not settings.extra):
                continue
            cost = left_out * prices.omitted if left_out else 0.0
            wanted = max(wanted, best_reading(log_probs, elements, prices) - cost)
        if wanted == -math.inf:
            continue
        found = force_align(log_probs, words, separator=separator, settings=settings)
        assert found.log_prob == pytest.approx(wanted, abs=1e-4)
        omissions += found.spans.count(None)
        insertions += len(found.insertions)
    assert bool(omissions) == bool(settings.omitted)
    assert bool(insertions) == bool(settings.extra)
