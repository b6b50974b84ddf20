"""Measures of verification: is this the voice that it is said to be?

A trial is a pair of recordings and a score; a target trial has one speaker, another has two. Empty
input: with no trial of one kind there is nothing to confuse, and every error is 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auricle.metrics import Interval

Float64 = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Trials:
    """Scores of pairs, and which of them are of one speaker."""

    scores: Float64  # (N,)
    same: NDArray[np.bool_]  # (N,)
    speakers: NDArray[np.int64]  # (N, 2) the two of each pair, as numbers

    @classmethod
    def of_all_pairs(cls, embeddings: NDArray[Any], speakers: Sequence[str]) -> "Trials":
        """Every pair of (N, E) embeddings of length 1, scored by their cosine."""
        _, number = np.unique(speakers, return_inverse=True)
        first, second = np.triu_indices(len(speakers), 1)
        cosines = np.asarray(embeddings, np.float64) @ np.asarray(embeddings, np.float64).T
        pairs = np.stack([number[first], number[second]], axis=1)
        return cls(cosines[first, second], pairs[:, 0] == pairs[:, 1], pairs)

    @property
    def equal_error_rate(self) -> float:
        """Where as many impostors are let in as true speakers are turned away, 0 to 1."""
        return self._crossing()[0]

    @property
    def threshold(self) -> float:
        """The score at that point."""
        return self._crossing()[1]

    def min_dcf(self, prior: float = 0.05) -> float:
        """Least detection cost over all thresholds, of NIST SRE with both costs 1; 1 is useless.

        Args:
            prior: how often the claimed speaker is the true one.
        """
        if not (self.same.any() and (~self.same).any()):
            return 0.0
        missed, passed, _ = self._rates()
        cost = prior * missed + (1 - prior) * passed
        return float(cost.min() / min(prior, 1 - prior))

    def interval(
        self, confidence: float = 0.95, draws: int = 200, seed: int = 0
    ) -> Interval | None:
        """Percentile bootstrap of the equal error rate over speakers; None with fewer than two."""
        count = int(self.speakers.max(initial=-1)) + 1
        if count < 2:
            return None
        rng = np.random.default_rng(seed)
        rates = []
        for _ in range(draws):
            times = rng.multinomial(count, np.full(count, 1 / count))
            # A pair counts as often as both of its speakers were drawn; a speaker's own, once each.
            first, second = times[self.speakers].T
            rates.append(self._crossing(np.where(self.same, first, first * second))[0])
        tail = (1 - confidence) / 2
        low, high = np.quantile(rates, [tail, 1 - tail])
        return Interval(float(low), float(high))

    def _rates(self, times: NDArray[Any] | None = None) -> tuple[Float64, Float64, Float64]:
        """Missed targets and passed others, for a threshold after each of the sorted scores."""
        weights = np.ones(len(self.scores)) if times is None else times.astype(np.float64)
        order = np.argsort(self.scores, kind="stable")
        right, weight, scores = self.same[order], weights[order], self.scores[order]
        below_same = np.concatenate([[0.0], np.cumsum(weight * right)])
        below_other = np.concatenate([[0.0], np.cumsum(weight * ~right)])
        # Equal scores are on one side of any threshold.
        ends = np.concatenate([[True], np.diff(scores) > 0, [True]])
        missed = below_same[ends] / max(below_same[-1], 1e-12)
        passed = 1.0 - below_other[ends] / max(below_other[-1], 1e-12)
        limits = np.concatenate([scores[:1], scores])[ends]
        return missed, passed, limits

    def _crossing(self, times: NDArray[Any] | None = None) -> tuple[float, float]:
        weights = np.ones(len(self.scores)) if times is None else times
        if not (weights[self.same].any() and weights[~self.same].any()):
            return 0.0, 0.0
        missed, passed, limits = self._rates(weights)
        above = int(np.argmax(missed >= passed))
        below = max(above - 1, 0)
        gap = passed[below] - missed[below]
        closing = gap + missed[above] - passed[above]
        share = gap / closing if closing else 0.0
        rate = missed[below] + share * (missed[above] - missed[below])
        return float(rate), float(limits[below] + share * (limits[above] - limits[below]))

    def summary(self) -> dict[str, float]:
        """The figures of the set."""
        return {"eer": self.equal_error_rate, "min_dcf": self.min_dcf()}
