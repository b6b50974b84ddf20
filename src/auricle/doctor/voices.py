"""What is wrong with speakers: the part of an examination that only voices need."""

from collections import Counter
from collections.abc import Mapping, Sequence

from auricle.data import Example
from auricle.doctor.report import Problem, Report


def with_voices(report: Report, parts: Mapping[str, Sequence[Example]]) -> Report:
    """The report and what is wrong with the speakers of the same data, errors first."""
    return report.plus((_nameless(parts), _too_few(parts)))


def _nameless(parts: Mapping[str, Sequence[Example]]) -> Problem | None:
    nameless = [e for part in parts.values() for e in part if e.speaker is None]
    details = tuple(f"{e.audio}: no speaker" for e in nameless)
    message = f"{len(nameless)} recordings without a speaker"
    ids = tuple(e.id for e in nameless)
    return Problem("no_speaker", "error", message, ids, details) if nameless else None


def _too_few(parts: Mapping[str, Sequence[Example]]) -> Problem | None:
    """Whoever is to be told from others needs others, and several recordings."""
    if "valid" not in parts:
        return None
    counts = Counter(e.speaker for e in parts["valid"] if e.speaker)
    message = "valid needs two speakers or more, with several recordings, to be a test"
    few = len(counts) < 2 or max(counts.values()) < 2
    return Problem("no_trials", "error", message, (), ()) if few else None
