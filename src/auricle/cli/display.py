"""What the commands show: progress, tables, and the live account of a training."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from auricle.data import Progress as Counting

output = Console(soft_wrap=True, highlight=False)
errors = Console(stderr=True, highlight=False)

LONGEST_SHOWN = 100  # letters of an example transcript
QUIET_S = 30.0  # between lines of progress where there is no terminal to draw on
EXAMPLES_S = 60.0  # between evaluations that show examples
ESTIMATE_S = 10.0  # of training before its end is foretold
DEAF = 0.95  # an error rate from which on next to nothing was heard


@contextmanager
def counting(what: str) -> Iterator[Counting]:
    """A progress bar for anything that says how much is done and how much there is."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns,
        TimeRemainingColumn(),
        console=errors,
        transient=True,
        disable=not errors.is_terminal,
    ) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    title: str | None = None,
    *,
    numbers: bool = True,
) -> Table:
    """A plain table; every column but the first holds numbers, unless told otherwise."""
    drawn = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for number, name in enumerate(columns):
        drawn.add_column(name, justify="right" if number and numbers else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*row)
    return drawn


def size(count_bytes: int) -> str:
    """How large a file is, in bytes, kB or MB."""
    if count_bytes < 1_000:
        return f"{count_bytes} bytes"
    kilo = count_bytes / 1e3
    return f"{kilo:.{int(kilo < 10)}f} kB" if kilo < 1_000 else f"{kilo / 1e3:.1f} MB"


def deaf(scores: Mapping[str, float], goal: tuple[str, str]) -> bool:
    """Whether a score says that next to nothing was heard: an error rate of about 100 %."""
    metric, better = goal
    return better == "min" and scores.get(metric, 0.0) >= DEAF


class TrainingDisplay:
    """Tells of a training: a live bar on a terminal, a line now and then elsewhere.

    Args:
        budget: the limits of the training: epochs, steps, minutes; None where there is none.
    """

    def __init__(self, budget: Mapping[str, float | None]) -> None:
        self.resumed_at: int | None = None
        """The update that the training went on from, if it did."""
        self._budget = budget
        self._bar = Progress(
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            console=errors,
            disable=not errors.is_terminal,
        )
        self._task = self._bar.add_task("starting", total=1.0)
        self._said, self._shown = time.monotonic(), -math.inf
        self._progress = 0.0
        self._speed = 0.0  # seconds of sound per second, smoothed
        self._minutes: float | None = None  # of the last update
        self._first: tuple[float, float] | None = None  # time and progress of the first update
        self._foretold = False

    def __enter__(self) -> "TrainingDisplay":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def resumed(self, record: Mapping[str, Any]) -> None:
        """Told by `fit` that a checkpoint was found."""
        self.resumed_at = record["step"]
        if record["stopped"]:
            return  # it is finished: there is nothing to go on with
        done = {
            "minutes": f"{record['minutes']:.1f} of {{:g}} minutes",
            "epochs": f"{record['epoch']} of {{:g}} epochs",
            "steps": f"{record['step']} of {{:g}} updates",
        }
        told = [done[key].format(limit) for key, limit in self._budget.items() if limit]
        was = f" (it had ended: {record['ended']})" if record["ended"] else ""
        self._line(f"going on from update {record['step']}{was}: {', '.join(told)} are done")

    def step(self, record: Mapping[str, Any]) -> None:
        """Told by `fit` of every update."""
        minutes, progress, now = record["minutes"], record["progress"], time.monotonic()
        if self._minutes is not None:
            speed = record["audio_s"] / (60.0 * max(minutes - self._minutes, 1e-6))
            self._speed = speed if not self._speed else 0.95 * self._speed + 0.05 * speed
        self._minutes, self._progress = minutes, progress
        self._first = self._first or (now, progress)
        spent_s, gained = now - self._first[0], progress - self._first[1]
        left_s = spent_s * (1.0 - progress) / gained if gained > 0 else None
        line = (
            f"epoch {record['epoch']:.2f}  update {record['step']}  loss {record['loss']:.3f}  "
            f"{self._speed:.0f} h of sound per h  {_duration(left_s)} left"
        )
        self._bar.update(self._task, completed=progress, description=line)
        if not self._foretold and left_s is not None and spent_s > ESTIMATE_S:
            self._foretold = True
            end = time.strftime("%H:%M", time.localtime(time.time() + left_s))
            self._line(
                f"at this pace it takes about {_duration(left_s)} more, until {end}; "
                "Ctrl-C saves and stops, budget.minutes=... sets another limit"
            )
        if not errors.is_terminal and now - self._said > QUIET_S:
            self._line(line)

    def evaluated(self, record: Mapping[str, Any]) -> None:
        """Told by `fit` of every evaluation."""
        scores = "  ".join(f"{name} {value:.2%}" for name, value in record["scores"].items())
        best = "  (best so far)" if record["best"] else ""
        self._line(f"update {record['step']}, {record['minutes']:.1f} min: {scores}{best}")
        if time.monotonic() - self._shown < EXAMPLES_S and self._progress < 1.0:
            return
        self._shown = time.monotonic()
        for shown in record["examples"]:
            for name, text in (("said", shown["reference"]), ("heard", shown["hypothesis"])):
                self._line(f"    {name:6} {text[:LONGEST_SHOWN]}")

    def _line(self, text: str) -> None:
        self._said = time.monotonic()
        self._bar.console.print(text, markup=False, soft_wrap=True)


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "?"
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
