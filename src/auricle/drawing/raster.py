"""A picture as pixels: every edge is as transparent as the share of the pixel that it covers."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auricle.drawing import lettering
from auricle.drawing.colours import ROLES, Role, Theme, ramp, rgb
from auricle.drawing.picture import Band, Box, Disc, Heat, Line, Picture, Text, arrow_head
from auricle.drawing.png import png_of_palette, png_of_rgb

DASH = (4.0, 3.0)  # drawn and left out, in pixels of the picture
PEN = 0.085  # width of a stroke against the size of its letter
BOLD_PEN = 0.125
AT_ONCE = 1 << 15  # distances of pixels from segments

Floats = NDArray[np.float64]


def png(
    picture: Picture, *, scale: float = 2.0, theme: Theme = "light", colours: int | None = None
) -> bytes:
    """The picture as a PNG file of `scale` pixels for each of its own.

    Args:
        colours: the most there are to be, 256 or fewer, for a small file; None: all there are.
    """
    canvas = _Canvas(picture.width, picture.height, scale, theme)
    for shape in picture.shapes:
        _DRAW[type(shape)](canvas, shape)
    pixels = canvas.pixels()
    return png_of_rgb(pixels) if colours is None else png_of_palette(pixels, colours)


class _Canvas:
    """(H, W, 3) colours of 0 to 1, on paper."""

    def __init__(self, width: float, height: float, scale: float, theme: Theme) -> None:
        self.scale = scale
        self._dark = theme == "dark"
        self._image = np.empty((round(height * scale), round(width * scale), 3), np.float32)
        self._image[:] = self._colour("paper")

    def pixels(self) -> NDArray[np.uint8]:
        return (self._image * 255).round().astype(np.uint8)

    def _colour(self, role: Role) -> NDArray[np.float32]:
        return np.array(rgb(ROLES[role][self._dark]), np.float32) / np.float32(255)

    def window(self, low: Floats, high: Floats) -> tuple[slice, slice]:
        """The rows and columns that a region touches, given its corners (x, y) in pixels."""
        height, width = self._image.shape[:2]
        left, top = np.floor(low).astype(int)
        right, bottom = np.ceil(high).astype(int) + 1
        rows = slice(min(max(0, top), height), min(max(0, bottom), height))
        return rows, slice(min(max(0, left), width), min(max(0, right), width))

    def blend(self, window: tuple[slice, slice], cover: Floats, role: Role) -> None:
        """Lay a colour over a window, as thick as `cover` says, (rows, columns) of 0 to 1."""
        part = self._image[window]
        part += cover.astype(np.float32)[..., None] * (self._colour(role) - part)

    def paste(self, window: tuple[slice, slice], colours: Floats, alpha: Floats) -> None:
        part = self._image[window]
        part += alpha.astype(np.float32)[..., None] * (colours.astype(np.float32) - part)


def _middles(window: tuple[slice, slice]) -> tuple[Floats, Floats]:
    """The middles of a window's pixels: y of the rows, (H, 1), and x of the columns, (W,)."""
    rows, columns = window
    return np.arange(rows.start, rows.stop)[:, None] + 0.5, np.arange(
        columns.start, columns.stop
    ) + 0.5


def _stroke(canvas: _Canvas, points: Floats, width: float, role: Role) -> None:
    """A line of round ends and corners; points and width in pixels."""
    reach = width / 2 + 1
    whole = canvas.window(points.min(axis=0) - reach, points.max(axis=0) + reach)
    rows, columns = whole
    cover = np.zeros((rows.stop - rows.start, columns.stop - columns.start))
    if not cover.size:
        return
    if cover.size * len(points) < AT_ONCE:  # a letter: less to compute than to call
        away = _distance(whole, points[:-1], points[1:]).min(axis=0)
        cover = np.clip(width / 2 + 0.5 - away, 0, min(1.0, width))
    else:
        for begin, end in pairwise(points):
            near = canvas.window(np.minimum(begin, end) - reach, np.maximum(begin, end) + reach)
            inside = (
                slice(near[0].start - rows.start, near[0].stop - rows.start),
                slice(near[1].start - columns.start, near[1].stop - columns.start),
            )
            away = _distance(near, begin[None], end[None])[0]
            part = cover[inside]
            np.maximum(part, np.clip(width / 2 + 0.5 - away, 0, min(1.0, width)), out=part)
    canvas.blend(whole, cover, role)


def _distance(window: tuple[slice, slice], begin: Floats, end: Floats) -> Floats:
    """Of the pixels of a window from segments, whose ends are (S, 2) each: (S, H, W)."""
    y, x = _middles(window)
    along = end - begin
    length = np.einsum("sd,sd->s", along, along)
    along_x, along_y = along.T[:, :, None, None]
    from_x, from_y = x - begin[:, :1, None], y - begin[:, 1:, None]
    at = (from_x * along_x + from_y * along_y) / np.where(length, length, 1.0)[:, None, None]
    at = np.clip(at, 0, 1)
    away: Floats = np.hypot(from_x - at * along_x, from_y - at * along_y)
    return away


def _line(canvas: _Canvas, line: Line) -> None:
    points = line.points * canvas.scale
    width = line.width * canvas.scale
    for part in _dashes(line.points) if line.dashed else [line.points]:
        _stroke(canvas, part * canvas.scale, width, line.colour)
    if line.arrow:
        head = arrow_head(replace(line, points=points / canvas.scale)) * canvas.scale
        for inset in np.linspace(0, 1, 8):  # lines from its tip to its base fill it
            base = head[1] + inset * (head[2] - head[1])
            _stroke(canvas, np.stack([head[0], base]), canvas.scale, line.colour)


def _dashes(points: Floats) -> list[Floats]:
    lengths = np.hypot(*np.diff(points, axis=0).T)
    at = np.concatenate([[0.0], np.cumsum(lengths)])
    cuts = np.arange(0.0, at[-1], sum(DASH))
    dashes = []
    for begin in cuts:
        end = min(begin + DASH[0], float(at[-1]))
        inner = at[(at > begin) & (at < end)]
        stops = np.concatenate([[begin], inner, [end]])
        dashes.append(np.stack([np.interp(stops, at, column) for column in points.T], axis=1))
    return dashes


def _band(canvas: _Canvas, band: Band) -> None:
    x, top, bottom = (each * canvas.scale for each in (band.x, band.top, band.bottom))
    low = np.array([x[0], min(top.min(), bottom.min())])
    window = canvas.window(low, np.array([x[-1], max(top.max(), bottom.max())]))
    y, columns = _middles(window)
    if not columns.size:
        return
    upper, lower = (np.interp(columns, x, each) for each in (top, bottom))
    upper, lower = np.minimum(upper, lower), np.maximum(upper, lower)
    thin = np.maximum(0.0, 0.5 - (lower - upper) / 2)  # a flat stretch is a line of one pixel
    cover = np.minimum(y + 0.5, lower + thin) - np.maximum(y - 0.5, upper - thin)
    inside = (columns > x[0] - 0.5) & (columns < x[-1] + 0.5)
    canvas.blend(window, np.clip(cover, 0, 1) * inside * band.opacity, band.colour)


def _box(canvas: _Canvas, box: Box) -> None:
    corner = np.array([box.x, box.y]) * canvas.scale
    size = np.array([box.width, box.height]) * canvas.scale
    radius = min(box.radius * canvas.scale, *(size / 2))
    window = canvas.window(corner - 1, corner + size + 1)
    y, x = _middles(window)
    middle = corner + size / 2
    # Distance from a rounded rectangle: below 0 inside.
    over_x = np.abs(x - middle[0]) - size[0] / 2 + radius
    over_y = np.abs(y - middle[1]) - size[1] / 2 + radius
    outside = np.hypot(np.maximum(over_x, 0), np.maximum(over_y, 0))
    away = outside + np.minimum(np.maximum(over_x, over_y), 0) - radius
    if box.colour:
        canvas.blend(window, np.clip(0.5 - away, 0, 1) * box.opacity, box.colour)
    if box.edge:
        pen = canvas.scale / 2
        canvas.blend(window, np.clip(pen + 0.5 - np.abs(away), 0, 1), box.edge)


def _disc(canvas: _Canvas, disc: Disc) -> None:
    middle = np.array([disc.x, disc.y]) * canvas.scale
    radius = disc.radius * canvas.scale
    pen = disc.edge_width * canvas.scale / 2
    window = canvas.window(middle - radius - pen - 1, middle + radius + pen + 1)
    y, x = _middles(window)
    away = np.hypot(x - middle[0], y - middle[1]) - radius
    canvas.blend(window, np.clip(0.5 - away, 0, 1), disc.colour)
    if disc.edge:
        canvas.blend(window, np.clip(pen + 0.5 - np.abs(away), 0, 1), disc.edge)


def _text(canvas: _Canvas, text: Text) -> None:
    shift = {"start": 0.0, "middle": 0.5, "end": 1.0}[text.anchor]
    shift *= lettering.width(text.text, text.size)
    pen = (BOLD_PEN if text.bold else PEN) * text.size * canvas.scale
    for stroke in lettering.strokes(text.text, text.size):
        along, up = stroke[:, 0] - shift, stroke[:, 1]
        offset = np.stack([-up, -along] if text.upwards else [along, -up], axis=1)
        _stroke(canvas, (offset + np.array([text.x, text.y])) * canvas.scale, pen, text.colour)


def _heat(canvas: _Canvas, heat: Heat) -> None:
    colours = ramp(heat.scale)
    corner = np.array([heat.x, heat.y]) * canvas.scale
    size = np.array([heat.width, heat.height]) * canvas.scale
    window = canvas.window(np.round(corner), np.round(corner + size) - 1)
    y, x = _middles(window)
    height, width = heat.values.shape
    rows = np.clip((y[:, 0] - corner[1]) / size[1] * height, 0, height - 1).astype(int)
    columns = np.clip((x - corner[0]) / size[0] * width, 0, width - 1).astype(int)
    values = heat.values[np.ix_(rows, columns)]
    canvas.paste(window, colours.rgb[values] / 255, colours.alpha[values] / 255)


_DRAW: dict[type, Callable[[_Canvas, Any], None]] = {
    Line: _line,
    Band: _band,
    Box: _box,
    Disc: _disc,
    Text: _text,
    Heat: _heat,
}
