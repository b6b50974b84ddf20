"""Labels: the names that a clip can be given, and how probabilities become an answer.

What a tokenizer is to text, a LabelSet is to clips: learned from the training data, kept in every
checkpoint and bundle, and the one way between names and the columns of a network's output.
"""

import difflib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from auricle.config import Settings
from auricle.errors import DataError, ModelError, brief
from auricle.results import Label, Labels, LabelWindow

UNKNOWN, SILENCE = "_unknown_", "_silence_"
"""What is none of the keywords, and what is no speech at all."""


class LabelSettings(Settings):
    """Which labels there are."""

    several: bool = False  # a clip may have several labels, or none: tags
    keywords: tuple[str, ...] = ()  # all other labels count as `_unknown_`; empty: each is its own


@dataclass(frozen=True)
class LabelSet:
    """The names of a model's outputs, in their order.

    Attributes:
        names: sorted; UNKNOWN and SILENCE among them where they are wanted.
        several: whether each label is decided by itself.
        grouped: whether a name that is not here counts as UNKNOWN.
        thresholds: with `several`, the probability from which each label is given.
    """

    names: tuple[str, ...]
    several: bool = False
    grouped: bool = False
    thresholds: tuple[float, ...] = ()

    @classmethod
    def learn(
        cls, settings: LabelSettings, labels: Iterable[Sequence[str]], further: Sequence[str] = ()
    ) -> Self:
        """The labels of a training set, of each of its examples, and `further` ones.

        Raises:
            DataError: a keyword that no example has, or fewer than two labels.
        """
        found = Counter(name for names in labels for name in names) + Counter(further)
        if missing := [word for word in settings.keywords if word not in found]:
            near = difflib.get_close_matches(missing[0], found, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise DataError(f"no example has the keyword {brief(missing[0])}{hint}")
        names = set(found)
        if settings.keywords:
            silence = {SILENCE} & names
            names = {*settings.keywords, *silence} | ({UNKNOWN} if names - silence else set())
        if len(names) < (1 if settings.several else 2):
            raise DataError(
                f"{len(names)} label ({', '.join(names) or 'none'}) in the training data: nothing"
                " to tell apart; give manifests a key label, or make one folder per label"
            )
        return cls(tuple(sorted(names)), settings.several, bool(settings.keywords))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote.

        Raises:
            ModelError: when it is not that.
        """
        names, thresholds = values.get("names"), values.get("thresholds", [])
        flags = [values.get(key) for key in ("several", "grouped")]
        right = (
            isinstance(names, list)
            and len(names) > 0
            and len(set(map(str, names))) == len(names)
            and all(isinstance(name, str) for name in names)
            and all(isinstance(flag, bool) for flag in flags)
            and isinstance(thresholds, list)
            and all(type(each) in (int, float) and 0 <= each <= 1 for each in thresholds)
            and len(thresholds) in (0, len(names))
        )
        if not right or not isinstance(names, list):
            raise ModelError(f"the labels of this model are damaged: {brief(dict(values))}")
        several, grouped = (bool(flag) for flag in flags)
        return cls(tuple(names), several, grouped, tuple(float(each) for each in thresholds))

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return {
            "names": list(self.names),
            "several": self.several,
            "grouped": self.grouped,
            "thresholds": list(self.thresholds),
        }

    def covers(self, labels: Iterable[str]) -> bool:
        """Whether every one of `labels` has a place here."""
        return (self.grouped and UNKNOWN in self.names) or set(labels) <= set(self.names)

    def counted_as(self, labels: Sequence[str]) -> tuple[str, ...]:
        """The labels of an example as this set has them: what is no keyword is UNKNOWN.

        Raises:
            DataError: an unknown label (names the nearest), none, or more than one may have.
        """
        if self.grouped and UNKNOWN in self.names:
            labels = tuple(dict.fromkeys(n if n in self.names else UNKNOWN for n in labels))
        for name in labels:
            if name not in self.names:
                near = difflib.get_close_matches(name, self.names, n=1)
                known = f"did you mean {near[0]}?" if near else brief(list(self.names))
                raise DataError(f"label {brief(name)} is not among the {len(self.names)}: {known}")
        if not self.several and len(labels) != 1:
            raise DataError(
                f"{len(labels)} labels, where each clip has one: set labels.several=true for tags"
            )
        return tuple(labels)

    def targets(self, labels: Sequence[str]) -> NDArray[np.float32]:
        """(V,) 1 for each label of an example, 0 for the others."""
        wanted = set(self.counted_as(labels))
        return np.array([name in wanted for name in self.names], np.float32)

    def chosen(self, probabilities: NDArray[Any]) -> tuple[str, ...]:
        """The answer that (V,) probabilities give: the likeliest, or all past their thresholds."""
        if not self.several:
            return (self.names[int(np.argmax(probabilities))],)
        limits = self.thresholds or (0.5,) * len(self.names)
        kept = [n for n in range(len(self.names)) if probabilities[n] >= limits[n]]
        return tuple(self.names[n] for n in sorted(kept, key=lambda n: -probabilities[n]))

    def ranked(self, probabilities: NDArray[Any]) -> tuple[Label, ...]:
        """Every label with its probability, the likeliest first."""
        order = np.argsort(-probabilities, kind="stable")
        return tuple(Label(self.names[n], float(probabilities[n])) for n in order.tolist())

    def answer(
        self,
        windows: Sequence[tuple[float, float, NDArray[Any]]],
        duration_s: float,
        top: int | None = None,
    ) -> Labels:
        """The labels of a recording from its windows: start, end, (V,) probabilities.

        The recording's probabilities are the mean of its windows'.

        Args:
            top: most labels kept of each window; None: all.
        """
        mean = np.asarray(np.mean([each for _, _, each in windows], axis=0, dtype=np.float64))
        spans = tuple(
            LabelWindow(start_s, end_s, self.ranked(each)[:top]) for start_s, end_s, each in windows
        )
        return Labels(self.ranked(mean), self.chosen(mean), duration_s, spans)
