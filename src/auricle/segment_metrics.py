"""Measures of labels over time: frame by frame, and pooled over all recordings.

F1 = 2 hits / (2 hits + missed + false); missed speech is the share of its frames that was not
found, false speech the share of all other frames that was called speech.

Axes: N recordings, T frames.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auricle.metrics import Interval

Counts = NDArray[np.float64]
_HITS, _MISSED, _FALSE, _REST = range(4)


@dataclass(frozen=True)
class FrameScore:
    """Frames of each recording: (N, 4) found, missed, false, rightly left."""

    rows: Counts = field(default_factory=lambda: np.zeros((0, 4)))

    @classmethod
    def of(cls, pairs: Iterable[tuple[NDArray[np.bool_], NDArray[np.bool_]]]) -> "FrameScore":
        """From the truth and what was found of each recording, of one shape each."""
        rows = [
            [
                np.count_nonzero(truth & found),
                np.count_nonzero(truth & ~found),
                np.count_nonzero(~truth & found),
                np.count_nonzero(~truth & ~found),
            ]
            for truth, found in pairs
        ]
        return cls(np.array(rows, np.float64).reshape(-1, 4))

    def summary(self) -> dict[str, float]:
        """F1, missed and false, each a share of one."""
        total = self.rows.sum(axis=0)
        return {name: float(measure(total)) for name, measure in MEASURES.items()}

    def interval(
        self, of: str, confidence: float = 0.95, draws: int = 1_000, seed: int = 0
    ) -> Interval | None:
        """Percentile bootstrap over recordings; None with fewer than two."""
        if len(self.rows) < 2:
            return None
        rng = np.random.default_rng(seed)
        count = len(self.rows)
        times = rng.multinomial(count, np.full(count, 1 / count), size=draws)
        tail = (1 - confidence) / 2
        low, high = np.quantile(MEASURES[of](times @ self.rows), [tail, 1 - tail])
        return Interval(float(low), float(high))

    def to_dict(self) -> dict[str, Any]:
        """The figures with their intervals, as JSON types."""
        return {
            name: {"value": value, "interval": self.interval(name)}
            for name, value in self.summary().items()
        } | {"recordings": len(self.rows), "frames": int(self.rows.sum())}


def merged(scores: Sequence[FrameScore]) -> FrameScore:
    """The recordings of all of them."""
    return FrameScore(np.concatenate([np.zeros((0, 4)), *(each.rows for each in scores)]))


def _share(part: Counts, whole: Counts, of_nothing: float) -> Counts:
    filled: Counts = np.where(whole > 0, part / np.maximum(whole, 1), of_nothing)
    return filled


def _f1(c: Counts) -> Counts:
    """1 where there was nothing to find, and nothing was found."""
    twice = 2 * c[..., _HITS]
    return _share(twice, twice + c[..., _MISSED] + c[..., _FALSE], 1.0)


def _missed(c: Counts) -> Counts:
    return _share(c[..., _MISSED], c[..., _HITS] + c[..., _MISSED], 0.0)


def _false(c: Counts) -> Counts:
    return _share(c[..., _FALSE], c[..., _FALSE] + c[..., _REST], 0.0)


MEASURES: dict[str, Callable[[Counts], Counts]] = {"f1": _f1, "missed": _missed, "false": _false}
