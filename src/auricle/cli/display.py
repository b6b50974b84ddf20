"""What the commands show: progress, tables, and the live account of a training."""

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


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str | None = None) -> Table:
    """A plain table; every column but the first holds numbers."""
    drawn = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for number, name in enumerate(columns):
        drawn.add_column(name, justify="right" if number else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*row)
    return drawn


class TrainingDisplay:
    """Tells of a training: a live bar on a terminal, a line now and then elsewhere."""

    def __init__(self) -> None:
        self._bar = Progress(
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            console=errors,
            disable=not errors.is_terminal,
        )
        self._task = self._bar.add_task("starting", total=1.0)
        self._said = time.monotonic()
        self._speed = 0.0  # seconds of sound per second, smoothed
        self._before: tuple[float, float] | None = None  # minutes and progress of the last update

    def __enter__(self) -> "TrainingDisplay":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def step(self, record: Mapping[str, Any]) -> None:
        """Told by `fit` of every update."""
        minutes = record["minutes"]
        if self._before:
            spent_s = 60.0 * max(minutes - self._before[0], 1e-6)
            speed = record["audio_s"] / spent_s
            self._speed = speed if not self._speed else 0.95 * self._speed + 0.05 * speed
        self._before = (minutes, record["progress"])
        left = minutes * (1.0 / max(record["progress"], 1e-6) - 1.0)
        line = (
            f"epoch {record['epoch']:.2f}  update {record['step']}  loss {record['loss']:.3f}  "
            f"{self._speed:.0f} h of sound per h  {_duration(left)} left"
        )
        self._bar.update(self._task, completed=record["progress"], description=line)
        if not errors.is_terminal and time.monotonic() - self._said > QUIET_S:
            self._said = time.monotonic()
            errors.print(line, markup=False)

    def evaluated(self, record: Mapping[str, Any]) -> None:
        """Told by `fit` of every evaluation."""
        scores = "  ".join(f"{name} {value:.2%}" for name, value in record["scores"].items())
        best = "  (best so far)" if record["best"] else ""
        self._bar.console.print(
            f"update {record['step']}, {record['minutes']:.1f} min: {scores}{best}",
            markup=False,
            soft_wrap=True,
        )
        for shown in record["examples"]:
            for name, text in (("said", shown["reference"]), ("heard", shown["hypothesis"])):
                line = f"    {name:6} {text[:LONGEST_SHOWN]}"
                self._bar.console.print(line, markup=False, soft_wrap=True)


def _duration(minutes: float) -> str:
    return f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.1f} h"
