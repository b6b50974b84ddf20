"""Marks: what people say of when something sounds in a recording, wherever they keep it.

In a manifest under `segments`, `[{"start": 0.5, "end": 2.1, "label": "speech"}, ...]`, or in a file
beside the recording that is called like it: RTTM, TextGrid or CSV. All times count from the
beginning of the file, also where an example is a stretch of it.
"""

import csv
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from auricle.data.example import Example
from auricle.errors import DataError, brief
from auricle.files import read_text
from auricle.segments import SPEECH, Stretch

Marks = tuple[Stretch, ...]
_Row = tuple[Any, Any, Any]  # start, end, label, as they were found


def marks_of(example: Example) -> Marks | None:
    """What is marked in an example, counted from its start; None where nobody marked anything.

    Raises:
        DataError: marks that are none; names the file and what is wrong.
    """
    if "segments" in example.extra:
        rows: Iterable[_Row] = _listed(example)
        where = f"{example.id}: segments"
    else:
        beside = next((p for s in READERS if (p := example.audio.with_suffix(s)).is_file()), None)
        if beside is None:
            return None
        where, rows = str(beside), READERS[beside.suffix](read_text(beside))
    try:
        found = [_stretch(*row) for row in rows]
    except (DataError, csv.Error) as error:
        raise DataError(f"{where}: {error}") from None
    end_s = example.start_s + (example.duration_s or math.inf)
    inside = (
        Stretch(
            max(each.start_s, example.start_s) - example.start_s,
            min(each.end_s, end_s) - example.start_s,
            each.label,
        )
        for each in sorted(found, key=lambda each: each.start_s)
        if each.end_s > example.start_s and each.start_s < end_s
    )
    return tuple(inside)


def _listed(example: Example) -> Iterator[_Row]:
    listed = example.extra["segments"]
    if not isinstance(listed, list | tuple) or not all(isinstance(e, Mapping) for e in listed):
        raise DataError(
            f"{example.id}: segments are {brief(listed)}; needed is a list like"
            ' [{"start": 0.5, "end": 2.1, "label": "speech"}]'
        )
    return ((e.get("start"), e.get("end"), e.get("label", SPEECH)) for e in listed)


def _stretch(start: Any, end: Any, label: Any) -> Stretch:
    try:
        start_s, end_s = float(start), float(end)
    except (TypeError, ValueError, OverflowError):
        raise DataError(f"{brief(start)} to {brief(end)} are no times in seconds") from None
    if not 0 <= start_s < end_s < math.inf:
        raise DataError(f"from {start_s:g} to {end_s:g} s is no stretch of a recording")
    if not isinstance(label, str) or not label.strip():
        raise DataError(f"at {start_s:g} s: {brief(label)} is no label")
    return Stretch(start_s, end_s, label.strip())


def _rttm(text: str) -> Iterator[_Row]:
    """`SPEAKER file channel start duration <NA> <NA> name ...`; other lines say nothing of time."""
    for line in text.splitlines():
        fields = line.split()
        if fields[:1] != ["SPEAKER"]:
            continue
        if len(fields) < 8:
            raise DataError(f"{brief(line)}: not type, file, channel, start, duration, ..., name")
        label = SPEECH if fields[7] == "<NA>" else fields[7]
        try:
            yield fields[3], float(fields[3]) + float(fields[4]), label
        except ValueError:
            yield fields[3], fields[4], label


def _csv(text: str) -> Iterator[_Row]:
    """A header with start, end and label; tables of one label need no column for it."""
    table = csv.DictReader(text.splitlines())
    names = {name.strip().lower(): name for name in table.fieldnames or ()}
    if not {"start", "end"} <= names.keys():
        raise DataError(f"needs the columns start and end, has {', '.join(names) or 'none'}")
    for row in table:
        label = row[names["label"]] if "label" in names else SPEECH
        yield row[names["start"]], row[names["end"]], label


_INTERVAL = re.compile(
    r'intervals\s*\[\d+\]:?\s*xmin\s*=\s*(\S+)\s+xmax\s*=\s*(\S+)\s+text\s*=\s*"((?:[^"]|"")*)"'
)


def _textgrid(text: str) -> Iterator[_Row]:
    """The intervals with a text, of all tiers of a long TextGrid."""
    if "IntervalTier" not in text:
        raise DataError("no tier of intervals in it: save it as a long TextGrid")
    for begin, end, label in _INTERVAL.findall(text):
        if label.strip():
            yield begin, end, label.replace('""', '"')


READERS: Mapping[str, Callable[[str], Iterable[_Row]]] = {
    ".rttm": _rttm,
    ".TextGrid": _textgrid,
    ".textgrid": _textgrid,
    ".csv": _csv,
}
"""Files of marks beside a recording: their suffix, and their reader."""
