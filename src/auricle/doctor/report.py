"""The report: problems, statistics and a histogram, for people, programs and for `train`."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, Literal, Self

from auricle.errors import DataError

Severity = Literal["error", "warning"]
SHOWN_DETAILS = 5
MOST_BINS = 14


@dataclass(frozen=True, slots=True)
class Problem:
    """All the examples with one kind of problem."""

    kind: str
    severity: Severity
    message: str
    examples: tuple[str, ...]
    """Ids."""
    details: tuple[str, ...]
    """One for each example, its file and what was found; or one for each character."""


@dataclass(frozen=True, slots=True)
class Report:
    """What `examine` found."""

    problems: tuple[Problem, ...]
    """Errors first, each kind once."""
    statistics: Mapping[str, Mapping[str, Any]]
    """For each split: examples, hours, speakers, medians."""
    histogram: tuple[tuple[float, int], ...]
    """Durations: the lower edge of each bin in seconds, and how many recordings are in it."""

    @property
    def errors(self) -> tuple[Problem, ...]:
        """What training would fail on."""
        return tuple(problem for problem in self.problems if problem.severity == "error")

    @property
    def failing(self) -> frozenset[str]:
        """The ids of the examples with errors, for `Dataset.without`."""
        return frozenset(id_ for problem in self.errors for id_ in problem.examples)

    def plus(self, found: Iterable[Problem | None]) -> Self:
        """The report with further problems, errors first."""
        problems = [*self.problems, *filter(None, found)]
        return replace(
            self, problems=tuple(sorted(problems, key=lambda each: each.severity != "error"))
        )

    def raise_if_errors(self) -> None:
        """Refuse data that training would fail on.

        Raises:
            DataError: names the problems and the first files of each.
        """
        if self.errors:
            lines = [line for problem in self.errors for line in _problem_lines(problem)]
            raise DataError("\n  ".join(("this data cannot be trained on:", *lines)))

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON types."""
        problems = [
            {"kind": p.kind, "severity": p.severity, "message": p.message}
            | {"examples": list(p.examples), "details": list(p.details)}
            for p in self.problems
        ]
        bins = [{"from_s": from_s, "examples": count} for from_s, count in self.histogram]
        splits = {split: dict(values) for split, values in self.statistics.items()}
        return {"problems": problems, "statistics": splits, "durations": bins}

    def render(self, width: int = 80) -> list[str]:
        """The report as lines for a terminal of `width` columns."""
        lines = [
            f"{split}: {values['examples']} recordings, {values['hours']:.2f} h,"
            f" {values['speakers'] or 'unknown'} speakers"
            for split, values in self.statistics.items()
        ]
        lines += ["", "durations:", *_histogram_lines(self.histogram, width), ""]
        for problem in self.problems:
            lines += _problem_lines(problem)
        return lines + ([] if self.problems else ["no problems found"])


def _problem_lines(problem: Problem) -> list[str]:
    lines = [f"{problem.severity}: {problem.message}"]
    lines += [f"    {detail}" for detail in problem.details[:SHOWN_DETAILS]]
    if more := len(problem.details) - SHOWN_DETAILS:
        lines += [f"    and {more} more"] if more > 0 else []
    return lines


def histogram(durations_s: Sequence[float]) -> tuple[tuple[float, int], ...]:
    """Bins from the shortest to the longest, 0.1, 0.2, 0.5, 1, 2, 5, 10, ... seconds wide."""
    longest_s = max(durations_s, default=0.0)
    widths = (step * 10.0**power for power in count(-1) for step in (1, 2, 5))
    width_s = next(width for width in widths if longest_s < MOST_BINS * width)
    counts = Counter(int(duration_s / width_s + 1e-9) for duration_s in durations_s)
    bins = range(min(counts, default=0), max(counts, default=-1) + 1)
    return tuple((round(at * width_s, 1), counts[at]) for at in bins)


def _histogram_lines(histogram: Sequence[tuple[float, int]], width: int) -> list[str]:
    most = max((count for _, count in histogram), default=1)
    room = max(10, width - 20)
    return [
        f"{from_s:6g} s {count:9} {'█' * math.ceil(room * count / most)}".rstrip()
        for from_s, count in histogram
    ]
