"""Measures of labels: accuracy, F1, average precision and confusions, with bootstrap intervals.

Empty input: no clips score 0 everywhere. A label that no clip has counts neither for balanced
accuracy nor for the means over labels, which are over the labels that occur in the references.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auricle.metrics import Interval

Bool = NDArray[np.bool_]
Float64 = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LabelScore:
    """The references and answers of a set of clips, and all that is counted about them.

    Axes: N clips, V labels.
    """

    names: tuple[str, ...]
    truth: Bool  # (N, V) what each clip is
    answers: Bool  # (N, V) what was answered
    probabilities: Float64  # (N, V)
    several: bool = False
    groups: Sequence[str] = field(default=())  # of the bootstrap, a speaker say; none: clips

    @classmethod
    def of(
        cls,
        names: Sequence[str],
        references: Sequence[Sequence[str]],
        answers: Sequence[Sequence[str]],
        probabilities: Sequence[Mapping[str, float]],
        several: bool = False,
        groups: Sequence[str] = (),
    ) -> "LabelScore":
        """From names: for each clip its labels, those answered, and every label's probability."""
        known = {name: number for number, name in enumerate(names)}
        truth, said = (np.zeros((len(references), len(names)), np.bool_) for _ in range(2))
        sure = np.zeros(truth.shape)
        for row, reference in enumerate(references):
            truth[row, [known[name] for name in reference]] = True
            said[row, [known[name] for name in answers[row]]] = True
            for name, value in probabilities[row].items():
                sure[row, known[name]] = value
        return cls(tuple(names), truth, said, sure, several, groups)

    @property
    def correct(self) -> Bool:
        """(N,) whether a clip's answer is exactly its labels."""
        right: Bool = (self.truth == self.answers).all(axis=1)
        return right

    @property
    def accuracy(self) -> float:
        """Share of the clips whose answer is exactly right."""
        return float(self.correct.mean()) if len(self.truth) else 0.0

    @property
    def balanced_accuracy(self) -> float:
        """Mean over labels of the share of their clips that have it in the answer."""
        return float(_balanced(*self._counts())[0])

    @property
    def macro_f1(self) -> float:
        """Mean over labels of the harmonic mean of precision and recall."""
        return float(_macro_f1(*self._counts())[0])

    @cached_property
    def average_precisions(self) -> Float64:
        """(V,) area under the precision-recall curve, step by step; NaN without a clip."""
        columns = zip(self.truth.T, self.probabilities.T, strict=True)
        return np.array([average_precision(truth, sure) for truth, sure in columns])

    @property
    def mean_average_precision(self) -> float:
        """Mean over the labels that occur."""
        known = self.average_precisions[~np.isnan(self.average_precisions)]
        return float(known.mean()) if len(known) else 0.0

    def summary(self) -> dict[str, float]:
        """The figures of the set: for tags the mean average precision leads."""
        tags = {"map": self.mean_average_precision} if self.several else {}
        return tags | {
            "accuracy": self.accuracy,
            "balanced_accuracy": self.balanced_accuracy,
            "macro_f1": self.macro_f1,
        }

    def interval(
        self, of: str = "accuracy", confidence: float = 0.95, draws: int = 1000, seed: int = 0
    ) -> Interval | None:
        """Percentile bootstrap over clips, or over `groups` where these are given.

        None with fewer than two to draw from, and for the mean average precision, whose draws
        would take minutes.
        """
        if of not in _COUNTED:
            return None
        units = list(self.groups) or [str(n) for n in range(len(self.truth))]
        _, member = np.unique(units, return_inverse=True)
        count = int(member.max(initial=-1)) + 1
        if count < 2:
            return None
        rng = np.random.default_rng(seed)
        drawn = rng.multinomial(count, np.full(count, 1 / count), size=draws)[:, member]
        times = drawn.astype(np.float64)  # (draws, N) how often each clip was drawn
        if of == "accuracy":
            values: Float64 = times @ self.correct / times.sum(axis=1)
        else:
            values = _COUNTED[of](*self._counts(times))
        tail = (1 - confidence) / 2
        low, high = np.quantile(values, [tail, 1 - tail])
        return Interval(float(low), float(high))

    @property
    def confusion(self) -> NDArray[np.int64]:
        """(V, V) clips of each label (row) that were answered with each label (column)."""
        counts: NDArray[np.int64] = self.truth.T.astype(np.int64) @ self.answers.astype(np.int64)
        return counts

    def top_confusions(self, most: int = 10) -> list[tuple[str, str, int]]:
        """(what it was, what was answered, clips), the commonest first."""
        if self.several:
            missed = self.truth[:, :, None] & self.answers[:, None, :] & ~self.truth[:, None, :]
            counts = missed.sum(axis=0)
        else:
            counts = self.confusion - np.diag(np.diag(self.confusion))
        order = np.argsort(-counts, axis=None, kind="stable")[:most]
        places = zip(*np.unravel_index(order, counts.shape), strict=True)
        return [
            (self.names[row], self.names[column], int(counts[row, column]))
            for row, column in places
            if counts[row, column]
        ]

    def per_label(self) -> list[dict[str, Any]]:
        """For each label: clips, precision, recall, F1 and average precision."""
        hits, truth, said = (each[0] for each in self._counts())
        rows = []
        for number, name in enumerate(self.names):
            average = self.average_precisions[number]
            rows.append(
                {
                    "label": name,
                    "clips": int(truth[number]),
                    "precision": hits[number] / max(said[number], 1.0),
                    "recall": hits[number] / max(truth[number], 1.0),
                    "f1": 2 * hits[number] / max(truth[number] + said[number], 1.0),
                    "average_precision": None if np.isnan(average) else float(average),
                }
            )
        return rows

    def by(self, values: Sequence[str]) -> dict[str, "LabelScore"]:
        """The score of the clips that share a value (one per clip), values sorted."""
        found = np.array(values, dtype=object)
        return {value: self._rows(found == value) for value in sorted(set(values))}

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON types."""
        intervals = {name: self.interval(name) for name in self.summary()}
        return {
            **self.summary(),
            "intervals": {name: list(each) for name, each in intervals.items() if each},
            "clips": len(self.truth),
            "labels": self.per_label(),
            "confusion": self.confusion.tolist(),
            "top_confusions": [list(each) for each in self.top_confusions()],
        }

    def _rows(self, chosen: Bool) -> "LabelScore":
        groups = [group for group, kept in zip(self.groups, chosen, strict=False) if kept]
        return LabelScore(
            self.names,
            self.truth[chosen],
            self.answers[chosen],
            self.probabilities[chosen],
            self.several,
            groups,
        )

    def _counts(self, times: Float64 | None = None) -> tuple[Float64, Float64, Float64]:
        """Hits, references and answers of each label, (draws, V), for how often clips count."""
        times = np.ones((1, len(self.truth))) if times is None else times
        parts = (self.truth & self.answers, self.truth, self.answers)
        hits, truth, said = (times @ part.astype(np.float64) for part in parts)
        return hits, truth, said


def _balanced(hits: Float64, truth: Float64, _said: Float64) -> Float64:
    occurs = (truth > 0).astype(np.float64)
    recall = hits / np.maximum(truth, 1.0)
    return np.asarray(recall.sum(axis=-1) / np.maximum(occurs.sum(axis=-1), 1.0))


def _macro_f1(hits: Float64, truth: Float64, said: Float64) -> Float64:
    occurs = (truth > 0).astype(np.float64)
    f1 = occurs * 2 * hits / np.maximum(truth + said, 1.0)
    return np.asarray(f1.sum(axis=-1) / np.maximum(occurs.sum(axis=-1), 1.0))


_COUNTED: dict[str, Callable[[Float64, Float64, Float64], Float64]] = {
    "accuracy": _balanced,  # drawn over clips, not over labels: see `interval`
    "balanced_accuracy": _balanced,
    "macro_f1": _macro_f1,
}


def average_precision(truth: Bool, probabilities: Float64) -> float:
    """Sum over the ranks of (recall gained x precision there), equal probabilities as one rank.

    (N,), (N,) -> 0 to 1; NaN when nothing is true. The definition of scikit-learn.
    """
    if not truth.any():
        return float("nan")
    order = np.argsort(-probabilities, kind="stable")
    sure, right = probabilities[order], np.cumsum(truth[order])
    last = np.append(np.flatnonzero(np.diff(sure)), len(sure) - 1)  # of each run of equals
    precision = right[last] / (last + 1)
    recall = right[last] / right[-1]
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def best_thresholds(truth: Bool, probabilities: Float64) -> list[float]:
    """For each label the probability from which answering it has the best F1: (N, V) twice -> V.

    Half-way between the last that is answered and the first that is not; 0.5 for a label that no
    clip has.
    """
    limits = []
    for right, sure in zip(truth.T, probabilities.T, strict=True):
        if not right.any():
            limits.append(0.5)
            continue
        order = np.argsort(-sure, kind="stable")
        ranked, hits = sure[order], np.cumsum(right[order])
        f1 = 2 * hits / (np.arange(1, len(ranked) + 1) + hits[-1])
        f1[:-1][np.diff(ranked) == 0] = -1.0  # equal probabilities cannot be parted
        best = int(np.argmax(f1))
        following = ranked[best + 1] if best + 1 < len(ranked) else 0.0
        limits.append(float((ranked[best] + following) / 2))
    return limits
