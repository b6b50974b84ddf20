"""What is wrong with labels: the part of an examination that only labelled clips need."""

import difflib
from collections import Counter
from collections.abc import Mapping, Sequence

from auricle.data import Example
from auricle.doctor.report import Problem, Report
from auricle.errors import DataError, listed
from auricle.labels import LabelSet

FEW = 2  # training clips of a label, below which nothing can be learned of it


def with_labels(report: Report, parts: Mapping[str, Sequence[Example]], labels: LabelSet) -> Report:
    """The report and what is wrong with the labels of the same data, errors first."""
    train = parts.get("train", ())
    found = (_unknown(parts, labels), _rare(train, labels), _misspelt(train))
    return report.plus((*found, _untested(parts, labels)))


def _counted(examples: Sequence[Example], labels: LabelSet) -> Counter[str]:
    return Counter(name for e in examples for name in labels.counted_as(e.labels))


def _unknown(parts: Mapping[str, Sequence[Example]], labels: LabelSet) -> Problem | None:
    """A label that train does not have: a typing error between splits, mostly."""
    ids, details = [], []
    for split, examples in parts.items():
        for example in examples:
            try:
                labels.counted_as(example.labels)
            except DataError as error:
                ids.append(example.id)
                details.append(f"{example.audio} ({split}): {error}")
    message = f"{len(ids)} recording{'s' * (len(ids) > 1)} with a label that is not trained on"
    return Problem("unknown_label", "error", message, tuple(ids), tuple(details)) if ids else None


def _rare(train: Sequence[Example], labels: LabelSet) -> Problem | None:
    try:
        counts = _counted(train, labels)
    except DataError:  # named by `_unknown`
        return None
    rare = [name for name in labels.names if 0 < counts[name] < FEW]
    found = {name: next(e for e in train if name in labels.counted_as(e.labels)) for name in rare}
    details = tuple(f"{example.audio}: the only one of {name}" for name, example in found.items())
    message = f"a single recording in train of {listed(rare)}: nothing can be learned of it"
    ids = tuple(example.id for example in found.values())
    return Problem("rare_label", "warning", message, ids, details) if rare else None


def _misspelt(train: Sequence[Example]) -> Problem | None:
    """Two labels that differ in case or white space only, or a rare one a letter from another."""
    raw = Counter(name for example in train for name in example.labels)
    details = []
    for name, count in raw.items():
        folded = [other for other in raw if other != name and _folded(other) == _folded(name)]
        alike = difflib.get_close_matches(name, [n for n in raw if n != name], 1, 0.85)
        if folded and raw[folded[0]] >= count:
            details.append(f"{name!r} ({count} times): {folded[0]!r} ({raw[folded[0]]} times)?")
        elif alike and 20 * count <= raw[alike[0]]:
            details.append(f"{name!r} ({count} times): {alike[0]!r} ({raw[alike[0]]} times)?")
    message = f"{len(details)} labels that may be another one misspelt"
    return Problem("misspelt_label", "warning", message, (), tuple(details)) if details else None


def _folded(name: str) -> str:
    return "".join(name.casefold().replace("_", " ").replace("-", " ").split())


def _untested(parts: Mapping[str, Sequence[Example]], labels: LabelSet) -> Problem | None:
    """Labels that a split for choosing has no clip of: its score says nothing of them."""
    try:
        counts = {s: _counted(e, labels) for s, e in parts.items() if s != "train"}
    except DataError:
        return None
    details = tuple(
        f"{split} has no {listed(missing)}"
        for split, found in counts.items()
        if (missing := [name for name in labels.names if not found[name]])
    )
    message = f"labels that a split has no recording of: {'; '.join(details)}"
    return Problem("untested_label", "warning", message, (), details) if details else None
