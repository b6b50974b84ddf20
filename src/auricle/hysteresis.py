"""From probabilities over time to stretches, and back: two thresholds and three durations.

A stretch begins where the probability passes `onset` and lasts until it falls below `offset`: what
wavers between the two does not flicker. Then, in this order, gaps that are too short are closed,
stretches that are too short are dropped, and the rest is padded.

Axes: T frames.
"""

from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from auricle.config import Settings

Spans = list[tuple[float, float]]
"""Start and end in seconds, in order of time, none touching the next."""


class HysteresisSettings(Settings):
    """When something counts as begun, and when as over."""

    onset: float = Field(0.5, gt=0, lt=1)  # probability from which a stretch begins
    offset: float = Field(0.5, gt=0, lt=1)  # and below which it ends; onset at most
    gap_s: float = Field(0.0, ge=0, le=60)  # shorter gaps are closed
    shortest_s: float = Field(0.0, ge=0, le=60)  # shorter stretches are dropped
    pad_s: float = Field(0.0, ge=0, le=10)  # added on either side

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.offset > self.onset:
            raise ValueError(f"offset = {self.offset} is above onset = {self.onset}")
        return self


def active(probabilities: NDArray[Any], onset: float, offset: float) -> NDArray[np.bool_]:
    """(T,) -> (T,): on from a frame of `onset` or more until one below `offset`."""
    known = (probabilities >= onset) | (probabilities < offset)
    last = np.maximum.accumulate(np.where(known, np.arange(len(probabilities)), -1))
    # Before the first frame that is known, nothing has begun.
    return (last >= 0) & (probabilities[last] >= onset) if len(last) else known


def stretches(
    probabilities: NDArray[Any],
    frame_s: float,
    duration_s: float,
    settings: HysteresisSettings,
    *,
    start_s: float = 0.0,
) -> Spans:
    """The stretches that (T,) probabilities make.

    Args:
        frame_s: from one frame to the next.
        duration_s: of the recording: no stretch leaves it, and one that lasts to the last frame
            ends with it.
        start_s: when the first frame begins; a stretch that begins with it begins at 0.
    """
    s = settings
    on = np.concatenate([[False], active(probabilities, s.onset, s.offset), [False]])
    edges = np.flatnonzero(on[1:] != on[:-1])
    times = [start_s + frame_s * float(edge) for edge in edges]
    if edges.size and edges[0] == 0:
        times[0] = 0.0
    if edges.size and edges[-1] == len(probabilities):
        times[-1] = duration_s
    closed = _joined(zip(times[::2], times[1::2], strict=True), s.gap_s)
    # An edge is a sum of hops: what lasts as long as is asked must not fail by a last bit.
    kept = [span for span in closed if span[1] - span[0] >= s.shortest_s - 1e-9]
    padded = ((max(0.0, a - s.pad_s), min(duration_s, b + s.pad_s)) for a, b in kept)
    return _joined(((a, b) for a, b in padded if a < b), 0.0)


def frames_of(
    spans: Sequence[tuple[float, float]], frames: int, frame_s: float, start_s: float = 0.0
) -> NDArray[np.bool_]:
    """(T,): whether the middle of each frame lies in one of the spans."""
    middles = start_s + frame_s * (np.arange(frames) + 0.5)
    on = np.zeros(frames, bool)
    for begin_s, end_s in spans:
        on[np.searchsorted(middles, begin_s) : np.searchsorted(middles, end_s)] = True
    return on


def _joined(spans: Any, gap_s: float) -> Spans:
    """Spans in order; those less than `gap_s` apart, or touching, are one."""
    joined: Spans = []
    for begin_s, end_s in spans:
        if joined and (begin_s - joined[-1][1] < gap_s - 1e-9 or begin_s <= joined[-1][1]):
            joined[-1] = (joined[-1][0], max(joined[-1][1], end_s))
        else:
            joined.append((begin_s, end_s))
    return joined


CANDIDATES: dict[str, tuple[float, ...]] = {
    "onset": (0.3, 0.4, 0.5, 0.6, 0.7, 0.8),
    "offset": (0.2, 0.3, 0.4, 0.5, 0.6, 0.7),
    "gap_s": (0.0, 0.05, 0.1, 0.2, 0.3),
    "shortest_s": (0.0, 0.05, 0.1, 0.2, 0.3),
    "pad_s": (0.0, 0.02, 0.04, 0.06),
}
ROUNDS = 2


def chosen_rule(score: Callable[[HysteresisSettings], float]) -> HysteresisSettings:
    """The rule that scores best: one setting after the other is varied, all of them twice.

    Of equals the one nearest to no rule at all, so that nothing is chosen without a reason.
    """
    rule = HysteresisSettings()
    best = score(rule)
    for _ in range(ROUNDS):
        for key, values in CANDIDATES.items():
            for value in values:
                trial = rule.model_copy(update={key: value})
                trial = trial.model_copy(update={"offset": min(trial.offset, trial.onset)})
                if trial != rule and (found := score(trial)) > best:
                    rule, best = trial, found
    return rule
