"""Axes: numbers to places in a picture, round ticks, labels with units, curves and heat maps."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from auricle.drawing.colours import Role, Scale
from auricle.drawing.picture import Band, Box, Heat, Line, Picture, Text

TICK_SIZE = 11.0
MOST_COLUMNS = 1_200  # of a heat map; more cannot be told apart
LEVELS = 85  # of its values, but for 0


@dataclass(frozen=True)
class Axis:
    """The range of one direction."""

    low: float
    high: float
    label: str = ""
    log: bool = False
    ticks: tuple[float, ...] | None = None  # None: round ones
    names: tuple[str, ...] | None = None  # of the ticks, when they are not numbers
    size: float = TICK_SIZE  # of their letters

    def share(self, values: NDArray[np.floating] | float) -> NDArray[np.float64]:
        """Where values lie, 0 at `low` to 1 at `high`."""
        low, high = self.low, self.high
        at = np.asarray(values, np.float64)
        if self.log:
            at, low, high = np.log(at), math.log(low), math.log(high)
        shares: NDArray[np.float64] = (at - low) / ((high - low) or 1.0)
        return shares


def round_ticks(low: float, high: float, most: int) -> list[float]:
    """At most `most` + 1 round numbers within low..high, evenly apart."""
    span = high - low
    if not span > 0:
        return [low]
    rough = span / max(1, most)
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * next(each for each in (1, 2, 5, 10) if each * power >= rough * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def tick_name(value: float, step: float) -> str:
    """A number with as many places as its neighbours need."""
    places = max(0, -math.floor(math.log10(step) + 1e-9)) if step > 0 else 0
    text = f"{value:,.{places}f}"
    return text.replace("-", "\u2212") if float(text.replace(",", "")) else text.lstrip("-")


@dataclass(frozen=True)
class Panel:
    """A rectangle of a picture with an x axis below and a y axis to its left."""

    picture: Picture
    x: float
    y: float
    width: float
    height: float
    across: Axis
    up: Axis

    def at_x(self, values: NDArray[np.floating] | float) -> NDArray[np.float64]:
        """The places of values in the picture."""
        return self.x + self.width * self.across.share(values)

    def at_y(self, values: NDArray[np.floating] | float) -> NDArray[np.float64]:
        return self.y + self.height * (1 - self.up.share(values))

    def frame(self, title: str = "", *, grid: bool = True, numbers: bool = True) -> None:
        """Paper, grid, ticks and labels: before anything is drawn in the panel."""
        self.picture.add(Box(self.x, self.y, self.width, self.height, "panel"))
        if title:
            self.picture.add(Text(self.x, self.y - 8, title, 12.5, bold=True))
        self._ticks(self.across, "x", grid=grid, numbers=numbers)
        self._ticks(self.up, "y", grid=grid, numbers=True)
        if self.across.label and numbers:
            middle = self.x + self.width / 2
            place = self.y + self.height + 32
            self.picture.add(Text(middle, place, self.across.label, TICK_SIZE, "soft", "middle"))
        if self.up.label:
            middle = self.y + self.height / 2
            label = Text(self.x - 46, middle, self.up.label, TICK_SIZE, "soft", "middle")
            self.picture.add(_turned(label))

    def line(
        self,
        x: NDArray[np.floating],
        y: NDArray[np.floating],
        colour: Role = "accent",
        width: float = 1.4,
    ) -> None:
        """A curve; both (P,)."""
        points = np.stack([self.at_x(x), self.at_y(y)], axis=1)
        self.picture.add(Line(points, colour, width))

    def band(
        self,
        x: NDArray[np.floating],
        low: NDArray[np.floating],
        high: NDArray[np.floating],
        colour: Role = "accent",
        opacity: float = 1.0,
    ) -> None:
        """What lies between two curves; all (P,)."""
        self.picture.add(Band(self.at_x(x), self.at_y(high), self.at_y(low), colour, opacity))

    def heat(
        self,
        values: NDArray[np.floating],
        low: float,
        high: float,
        scale: Scale = "magma",
        *,
        x: tuple[float, float] | None = None,
        smooth: bool = True,
        columns: int = MOST_COLUMNS,
    ) -> None:
        """A heat map over the whole height of the panel.

        Args:
            values: (T, F) frames of features; feature 0 lies lowest.
            low: what the least colour stands for.
            high: what the greatest stands for.
            x: from where to where the frames reach; None: over the whole width.
            columns: the most there are to be; more frames are averaged.
        """
        begin, end = (float(self.at_x(each)) for each in x or (self.across.low, self.across.high))
        levels = np.clip((pooled(values, columns) - low) / ((high - low) or 1.0), 0, 1)
        # 85 levels look like 256 and pack better.
        bytes_ = ((LEVELS * levels).round() * (255 // LEVELS)).astype(np.uint8).T[::-1]
        self.picture.add(Heat(begin, self.y, end - begin, self.height, bytes_, scale, smooth))

    def _ticks(self, axis: Axis, side: Literal["x", "y"], *, grid: bool, numbers: bool) -> None:
        length = self.width if side == "x" else self.height
        ticks = list(axis.ticks) if axis.ticks is not None else _ticks_of(axis, length, side)
        step = min(np.diff(ticks)) if len(ticks) > 1 else 1.0
        names = axis.names or tuple(tick_name(tick, float(step)) for tick in ticks)
        for tick, name in zip(ticks, names, strict=True):
            if side == "x":
                x = float(self.at_x(tick))
                ends = [(x, self.y), (x, self.y + self.height)]
                label = Text(x, self.y + self.height + 16, name, axis.size, "soft", "middle")
            else:
                y = float(self.at_y(tick))
                ends = [(self.x, y), (self.x + self.width, y)]
                label = Text(self.x - 6, y + 0.35 * axis.size, name, axis.size, "soft", "end")
            if grid:
                self.picture.add(Line(np.array(ends), "faint", 0.7))
            if numbers:
                self.picture.add(label)


def pooled(values: NDArray[np.floating], most: int) -> NDArray[np.floating]:
    """(T, F) -> at most `most` frames, each the mean of as many neighbours."""
    if len(values) <= most:
        return values
    starts = np.linspace(0, len(values), most + 1).astype(int)[:-1]
    counts = np.diff([*starts, len(values)])
    means: NDArray[np.floating] = np.add.reduceat(values, starts, axis=0) / counts[:, None]
    return means


def envelope(
    samples: NDArray[np.floating], columns: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """The least and the greatest sample of each of `columns` stretches; and their middles, 0 to 1.

    (N,) -> three of (C,), where C is less when there are fewer samples.
    """
    columns = max(1, min(columns, len(samples)))
    starts = np.linspace(0, len(samples), columns + 1).astype(int)
    low = np.minimum.reduceat(samples, starts[:-1]).astype(np.float64)
    high = np.maximum.reduceat(samples, starts[:-1]).astype(np.float64)
    return (starts[:-1] + starts[1:]) / 2 / len(samples), low, high


def _ticks_of(axis: Axis, length: float, side: Literal["x", "y"]) -> list[float]:
    if axis.log:
        powers = range(math.ceil(math.log10(axis.low)), math.floor(math.log10(axis.high)) + 1)
        return [
            digit * 10.0**power
            for power in (powers.start - 1, *powers)
            for digit in (1, 2, 5)
            if axis.low <= digit * 10.0**power <= axis.high
        ]
    return round_ticks(axis.low, axis.high, round(length / (80 if side == "x" else 34)))


def _turned(text: Text) -> Text:
    return Text(text.x, text.y, text.text, text.size, text.colour, text.anchor, upwards=True)
