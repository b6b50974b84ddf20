"""Rows: what the readers of manifests and folders yield, and the one way from a row to an Example.

A reader only says where things stand. Names of columns, types, ranges, ids and what is missing are
judged here, once, for every source; all bad rows of a source are reported together.
"""

import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from auricle.data.example import Example
from auricle.errors import DataError, brief

What = Literal["text", "label", "audio"]

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "audio": (
        *("audio_filepath", "audio_path", "audio_file", "audio", "filepath", "file_path", "path"),
        *("filename", "file_name", "file", "wav_filename", "wav_path", "wav", "clip", "recording"),
    ),
    "text": ("text", "sentence", "transcript", "transcription", "normalized_text"),
    "speaker": ("speaker", "speaker_id", "spk_id", "spk", "client_id", "speaker_name"),
    "duration": ("duration", "duration_s", "duration_seconds", "seconds"),
    "start": ("offset", "start", "start_s", "start_time"),
    "end": ("end", "end_s", "end_time"),
    "label": ("label", "labels", "class", "category", "command"),
    "id": ("id", "utt_id", "utterance_id", "uid"),
    "split": ("split", "subset", "partition"),
}
"""What we call a column, and the names that others give it, the likeliest first."""

SHOWN_PROBLEMS = 5
LONGEST_NAME = 4_096  # letters: no system opens a longer one
LONGEST_S = 3.6e6  # 1,000 hours: a time beyond is a mistake


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a manifest, or one recording of a folder, as it was found."""

    where: str
    """File and line, for messages."""
    folder: Path
    """Absolute; relative audio paths begin here."""
    values: Mapping[str, Any]
    split: str | None = None


class Problems(list[str]):
    """Collects what is wrong with a source, so that it is said once and not line by line."""

    def __init__(self) -> None:
        super().__init__()
        self.notes: list[str] = []
        """What is not wrong, but was guessed or left out."""

    def raise_if_any(self, source: Path) -> None:
        if self:
            shown = "".join(f"\n  {problem}" for problem in self[:SHOWN_PROBLEMS])
            more = f"\n  and {len(self) - SHOWN_PROBLEMS} more" * (len(self) > SHOWN_PROBLEMS)
            noun = "problem" if len(self) == 1 else "problems"
            raise DataError(f"{source}: {len(self)} {noun}; correct or remove these:{shown}{more}")


@functools.lru_cache(maxsize=64)
def columns_of(keys: tuple[str, ...]) -> tuple[Mapping[str, str], tuple[str, ...]]:
    """Which of the `keys` holds which of our COLUMNS, and the keys that are none of them."""
    by_name = {key.strip().lower(): key for key in reversed(keys)}
    known = {
        column: next(by_name[name] for name in names if name in by_name)
        for column, names in COLUMNS.items()
        if any(name in by_name for name in names)
    }
    return known, tuple(key for key in keys if key not in known.values())


def to_example(row: Row, what: What, root: Path) -> Example:
    """The checked Example of a row; its id is its path below `root`, unless it brings one.

    Raises:
        DataError: says what is missing or wrong, without the place: the caller knows it.
    """
    columns, further = columns_of(tuple(row.values))
    value = {column: row.values[key] for column, key in columns.items()}
    name = value.get("audio")
    if not isinstance(name, str) or not name.strip():
        raise DataError("no audio file is named (key audio_filepath)")
    if len(name) > LONGEST_NAME:
        raise DataError(f"{brief(name)} is no name of an audio file: {len(name)} letters")
    start_s = _seconds("offset", value.get("start"))
    duration_s = _seconds("duration", value.get("duration"))
    if not duration_s and value.get("end") not in (None, ""):
        duration_s = (end_s := _seconds("end", value.get("end"))) - start_s
        if duration_s <= 0:
            raise DataError(f"ends at {end_s} s, before or at its start, {start_s} s")
    text = value.get("text")
    if text is not None and not isinstance(text, str):
        raise DataError(f"text is {brief(text)}, not a string")
    labels = _labels(columns.get("label", ""), value.get("label"))
    if what == "text" and text is None:
        raise DataError("no text (key text, or a .txt file beside the recording)")
    if what == "label" and not labels and value.get("label") != []:  # [] says: no tag
        raise DataError("no label (key label, labels for tags, or one folder per label)")
    audio, speaker = row.folder / name.strip(), value.get("speaker")
    return Example(
        id=str(value.get("id") or _id(str(audio), root, start_s)),
        audio=audio,
        duration_s=duration_s,
        start_s=start_s,
        text=None if text is None else text.strip(),
        speaker=None if speaker in (None, "") else str(speaker),
        labels=labels,
        extra={key: row.values[key] for key in further},
    )


def _seconds(key: str, value: Any) -> float:
    if value is None or value == "":
        return 0.0
    try:
        seconds = float(value)
    except (TypeError, ValueError, OverflowError):
        raise DataError(f"{key} is {brief(value)}, not a number of seconds") from None
    if not 0 <= seconds <= LONGEST_S or isinstance(value, bool):
        raise DataError(f"{key} is {brief(value)}: needs a number of seconds, 0 to {LONGEST_S:g}")
    return seconds


def _labels(key: str, value: Any) -> tuple[str, ...]:
    """`label` is one label as it stands; `labels` is a list, or text parted by commas."""
    if isinstance(value, list):
        return tuple(str(label) for label in value)
    if value is None or value == "":
        return ()
    if key.strip().lower() == "labels" and isinstance(value, str):
        return tuple(part.strip() for part in value.replace(";", ",").split(",") if part.strip())
    return (str(value),)


def _id(path: str, root: Path, start_s: float) -> str:
    """The path below `root`, without its suffix: it survives a move and a conversion."""
    stem = os.path.splitext(path.removeprefix(f"{root}{os.sep}"))[0]  # noqa: PTH122 - 10x faster
    return stem.replace(os.sep, "/") + (f"@{start_s:.3f}" if start_s else "")
