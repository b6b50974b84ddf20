"""Labels over time: how likely each is in every frame, and the stretches that are made of that.

`Activity` is what a model hears, frame by frame; `Segments` is the decision, and what is written.

Axes: T frames, V labels.
"""

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from auricle.errors import DataError
from auricle.hysteresis import HysteresisSettings, frames_of, stretches
from auricle.results import textgrid

SPEECH = "speech"
"""The label of a detector of speech, and of marks that name none."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of a recording with one label, and how sure the model was (0 to 1)."""

    start_s: float
    end_s: float
    label: str
    confidence: float = 1.0


@dataclass(frozen=True, slots=True)
class Segments:
    """The labelled stretches of a recording of `duration_s` seconds, in order of their starts."""

    stretches: tuple[Stretch, ...]
    duration_s: float

    def to_dict(self) -> dict[str, Any]:
        """As JSON types, nothing lost; `from_dict` reads it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote.

        Raises:
            DataError: when it is not segments.
        """
        try:
            found = tuple(Stretch(**each) for each in values["stretches"])
            return cls(found, float(values["duration_s"]))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"these are not segments: {error!r}") from None


@dataclass(frozen=True, slots=True, eq=False)
class Activity:
    """How likely each label is in every frame of a recording."""

    names: tuple[str, ...]
    probabilities: NDArray[np.float32]
    """(T, V)."""
    frame_s: float
    """From one frame to the next."""
    start_s: float
    """When the first frame begins: windows that fit whole have a margin."""
    duration_s: float

    def segments(self, rule: HysteresisSettings) -> Segments:
        """The stretches that a rule makes of it; as sure as their frames are on average."""
        found = [
            Stretch(begin_s, end_s, name, self._mean(column, begin_s, end_s))
            for column, name in zip(self.probabilities.T, self.names, strict=True)
            for begin_s, end_s in stretches(
                column, self.frame_s, self.duration_s, rule, start_s=self.start_s
            )
        ]
        found.sort(key=lambda each: (each.start_s, each.label))
        return Segments(tuple(found), self.duration_s)

    def frames(self, rule: HysteresisSettings) -> NDArray[np.bool_]:
        """(T, V): the frames whose middles lie in the stretches that a rule makes."""
        columns = [
            frames_of(
                stretches(column, self.frame_s, self.duration_s, rule, start_s=self.start_s),
                len(column),
                self.frame_s,
                self.start_s,
            )
            for column in self.probabilities.T
        ]
        return np.stack(columns, axis=1)

    def _mean(self, column: NDArray[np.float32], begin_s: float, end_s: float) -> float:
        first, last = (round((at - self.start_s) / self.frame_s) for at in (begin_s, end_s))
        first = min(max(0, first), len(column) - 1)
        return float(column[first : max(first + 1, last)].mean())

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        times = {key: getattr(self, key) for key in ("frame_s", "start_s", "duration_s")}
        return {"names": list(self.names), "probabilities": self.probabilities.tolist(), **times}


def to_txt(segments: Segments, name: str) -> str:
    """A line for each stretch, for people: from, to, label, confidence."""
    lines = (
        f"{name}: {each.start_s:9.2f} to {each.end_s:9.2f} s  {each.label} {each.confidence:.1%}\n"
        for each in segments.stretches
    )
    return "".join(lines) or f"{name}: (none)\n"


def to_rttm(segments: Segments, name: str) -> str:
    """NIST's RTTM: one line a stretch, its label in the place of the speaker's name.

    Fields have no spaces: those of names become `_`.
    """
    recording = "_".join(name.split()) or "recording"
    return "".join(
        f"SPEAKER {recording} 1 {each.start_s:.3f} {each.end_s - each.start_s:.3f} <NA> <NA> "
        f"{'_'.join(each.label.split()) or '<NA>'} {each.confidence:.3f} <NA>\n"
        for each in segments.stretches
    )


def to_csv(segments: Segments, name: str, *, header: bool = True) -> str:
    """A table: recording, start, end, label, confidence."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    if header:
        table.writerow(["recording", "start", "end", "label", "confidence"])
    for each in segments.stretches:
        times = (f"{each.start_s:.3f}", f"{each.end_s:.3f}")
        table.writerow([name, *times, each.label, f"{each.confidence:.4f}"])
    return text.getvalue()


def to_json(segments: Segments, name: str) -> str:
    """One JSON object on one line, with what a manifest's `segments` hold."""
    rows = [
        {
            "start": round(each.start_s, 3),
            "end": round(each.end_s, 3),
            "label": each.label,
            "confidence": round(each.confidence, 4),
        }
        for each in segments.stretches
    ]
    values = {"file": name, "duration": round(segments.duration_s, 3), "segments": rows}
    return json.dumps(values, ensure_ascii=False) + "\n"


def to_textgrid(segments: Segments, _name: str = "") -> str:
    """A TextGrid of Praat's: one tier for each label, as those of several may overlap."""
    labels = dict.fromkeys(each.label for each in segments.stretches) or {SPEECH: None}
    tiers: dict[str, Iterable[tuple[str, float, float]]] = {
        label: [(s.label, s.start_s, s.end_s) for s in segments.stretches if s.label == label]
        for label in sorted(labels)
    }
    return textgrid(tiers, segments.duration_s)


FORMATS: dict[str, Callable[[Segments, str], str]] = {
    "txt": to_txt,
    "rttm": to_rttm,
    "csv": to_csv,
    "json": to_json,
    "textgrid": to_textgrid,
}
