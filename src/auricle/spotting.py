"""Keyword spotting: a classifier of clips over a sliding window, and how often it cries wolf.

The probabilities of neighbouring windows are averaged (Chen et al. 2014, "Small-footprint keyword
spotting using deep neural networks", section 2.3); a keyword is detected where its average passes
the threshold, and then not again for a while.

Axes: W windows, V labels.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from pydantic import Field

from auricle.config import Settings
from auricle.labels import SILENCE, UNKNOWN
from auricle.results import LabelWindow


class SpottingSettings(Settings):
    """When a keyword counts as heard."""

    threshold: float = Field(0.8, ge=0, le=1)  # of the averaged probability
    smoothing: int = Field(3, ge=1, le=1_000)  # windows that are averaged
    refractory_s: float = Field(1.0, ge=0, le=3_600)  # after a detection nothing is detected
    keywords: tuple[str, ...] = ()  # to listen for; empty: all but _unknown_ and _silence_


@dataclass(frozen=True, slots=True)
class Detection:
    """A keyword that was heard: when its window ended, so that live and offline agree."""

    keyword: str
    start_s: float
    end_s: float
    confidence: float

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return asdict(self) | {"confidence": round(self.confidence, 4)}


class Spotter:
    """Turns the answers of windows, one after the other, into detections; for live sound too.

    Detections depend on past windows only: pushed one at a time or all at once, they are the same.
    """

    def __init__(self, names: Sequence[str], settings: SpottingSettings | None = None) -> None:
        self.settings = settings or SpottingSettings()
        wanted = self.settings.keywords or [n for n in names if n not in (UNKNOWN, SILENCE)]
        self.keywords = tuple(wanted)
        self.averages: dict[str, float] = {}  # of the last windows, by label
        self._recent: deque[dict[str, float]] = deque(maxlen=self.settings.smoothing)
        self._deaf_until_s = 0.0

    def push(self, window: LabelWindow) -> Detection | None:
        """The detection that this window completes, if any."""
        self._recent.append({label.name: label.confidence for label in window.labels})
        means = self.averages = {
            name: float(np.mean([each.get(name, 0.0) for each in self._recent]))
            for name in dict.fromkeys([*self._recent[-1], *self.keywords])
        }
        best = max(self.keywords, key=lambda name: means[name], default="")
        # Until enough windows are heard, their average says little.
        full = len(self._recent) == self._recent.maxlen
        if not full or not best or means[best] < self.settings.threshold:
            return None
        if window.end_s < self._deaf_until_s:
            return None
        self._deaf_until_s = window.end_s + self.settings.refractory_s
        return Detection(best, window.start_s, window.end_s, means[best])


def detections(
    windows: Iterable[LabelWindow], names: Sequence[str], settings: SpottingSettings | None = None
) -> Iterator[Detection]:
    """The detections in the windows of one recording, in order of time."""
    spotter = Spotter(names, settings)
    for window in windows:
        if found := spotter.push(window):
            yield found


def false_alarms_per_hour(alarms: int, heard_s: float) -> tuple[float, float, float]:
    """Rate of alarms in sound that holds no keyword, and its 95 % interval.

    The interval is Poisson's, by the Wilson-Hilferty approximation of its chi-square bounds: with
    no alarm in `heard_s` the upper bound still says how little was heard.

    Returns:
        (rate, low, high) per hour.
    """
    hours = heard_s / 3600.0
    if hours <= 0:
        return 0.0, 0.0, float("inf")

    def bound(count: float, z: float) -> float:
        return count * max(0.0, 1 - 1 / (9 * count) + z / (3 * count**0.5)) ** 3 if count else 0.0

    return alarms / hours, bound(alarms, -1.96) / hours, bound(alarms + 1, 1.96) / hours
