"""A picture: shapes in order, written as SVG, or as PNG by `auricle.drawing.raster`.

Coordinates are pixels of the SVG from its upper left corner. Colours are roles, so that an SVG
follows the reader's light or dark setting.
"""

import base64
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from auricle.drawing.colours import ROLES, Role, Scale, ramp
from auricle.drawing.png import png_of_heat

Anchor = Literal["start", "middle", "end"]

FONT = "system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif"
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, eq=False)
class Line:
    """A line through points, (P, 2)."""

    points: NDArray[np.float64]
    colour: Role = "ink"
    width: float = 1.0
    dashed: bool = False
    arrow: bool = False  # at its end


@dataclass(frozen=True, eq=False)
class Band:
    """What lies between two curves over the same x; all (P,)."""

    x: NDArray[np.float64]
    top: NDArray[np.float64]
    bottom: NDArray[np.float64]
    colour: Role = "accent"
    opacity: float = 1.0


@dataclass(frozen=True)
class Box:
    x: float
    y: float
    width: float
    height: float
    colour: Role | None = "panel"
    edge: Role | None = None
    radius: float = 0.0
    opacity: float = 1.0


@dataclass(frozen=True)
class Disc:
    x: float
    y: float
    radius: float
    colour: Role = "panel"
    edge: Role | None = "ink"
    edge_width: float = 1.2


@dataclass(frozen=True)
class Text:
    x: float
    y: float  # of the line that the letters stand on
    text: str
    size: float = 12.0
    colour: Role = "ink"
    anchor: Anchor = "start"
    bold: bool = False
    upwards: bool = False  # read from below to above


@dataclass(frozen=True, eq=False)
class Heat:
    """A heat map of values 0 to 255, (H, W), the first row on top."""

    x: float
    y: float
    width: float
    height: float
    values: NDArray[np.uint8]
    scale: Scale = "magma"
    smooth: bool = False


Shape = Line | Band | Box | Disc | Text | Heat


@dataclass
class Picture:
    """Shapes on paper; later ones lie over earlier ones."""

    width: float
    height: float
    title: str
    """What it shows, in a sentence, for those who cannot see it."""
    paper: bool = True
    """Whether the paper is drawn, or what lies below shows."""
    shapes: list[Shape] = field(default_factory=list)

    def add(self, *shapes: Shape) -> None:
        self.shapes += shapes

    def svg(self, *, styled: bool = True) -> str:
        """The picture as an SVG document.

        Args:
            styled: with the colours; not within a page that has them from `stylesheet`.
        """
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_n(self.width)}'
            f' {_n(self.height)}" width="{_n(self.width)}" height="{_n(self.height)}" role="img"'
            f' aria-label="{clean(self.title)}" font-family="{FONT}">'
        )
        parts = [head, f"<title>{clean(self.title)}</title>"]
        if styled:
            parts.append(f"<style>{stylesheet(self._roles())}</style>")
        if self.paper:
            parts.append('<rect class="f-paper" width="100%" height="100%"/>')
        parts += [_SVG[type(shape)](shape) for shape in self.shapes]
        return "\n".join([*parts, "</svg>"]) + "\n"

    def _roles(self) -> list[Role]:
        used: set[str] = {"paper"} if self.paper else set()
        for shape in self.shapes:
            used |= {getattr(shape, name, None) or "" for name in ("colour", "edge")}
        return [role for role in ROLES if role in used]


def stylesheet(roles: Iterable[Role] = tuple(ROLES)) -> str:
    """Rules that give roles their colours: `.f-ROLE` to fill with and `.s-ROLE` to draw with."""
    light, dark = (
        "".join(
            f".f-{role}{{fill:{ROLES[role][theme]}}}.s-{role}{{stroke:{ROLES[role][theme]}}}"
            for role in roles
        )
        for theme in (0, 1)
    )
    return f"{light}@media(prefers-color-scheme:dark){{{dark}}}"


def clean(text: str) -> str:
    """Text made safe for SVG and HTML, in content and in attributes alike."""
    return escape(_NOT_XML.sub("\ufffd", text), quote=True)


def data_uri(content: bytes, kind: str) -> str:
    """Content for the `src` of an element, without a file of its own."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _n(value: float) -> str:
    """A number with two places at most: the same on every machine."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _pairs(points: Sequence[Sequence[float]] | NDArray[np.float64]) -> str:
    return " ".join(f"{_n(x)},{_n(y)}" for x, y in points)


def _line(line: Line) -> str:
    dashes = ' stroke-dasharray="4 3"' if line.dashed else ""
    drawn = (
        f'<polyline class="s-{line.colour}" points="{_pairs(line.points)}" fill="none"'
        f' stroke-width="{_n(line.width)}" stroke-linejoin="round" stroke-linecap="round"{dashes}/>'
    )
    if line.arrow:
        drawn += f'<polygon class="f-{line.colour}" points="{_pairs(arrow_head(line))}"/>'
    return drawn


def arrow_head(line: Line) -> NDArray[np.float64]:
    """The triangle at the end of a line, (3, 2)."""
    tip, before = line.points[-1], line.points[-2]
    along = (tip - before) / max(1e-9, float(np.hypot(*(tip - before))))
    across = np.array([-along[1], along[0]])
    length, half = 3.0 + 3.0 * line.width, 1.5 + 1.2 * line.width
    return np.array(
        [tip, tip - length * along + half * across, tip - length * along - half * across]
    )


def _band(band: Band) -> str:
    outline = np.concatenate(
        [np.stack([band.x, band.top], axis=1), np.stack([band.x, band.bottom], axis=1)[::-1]]
    )
    return f'<polygon class="f-{band.colour}" points="{_pairs(outline)}"{_opacity(band.opacity)}/>'


def _box(box: Box) -> str:
    fill = f"f-{box.colour}" if box.colour else ""
    edge = f" s-{box.edge}" if box.edge else ""
    rounded = f' rx="{_n(box.radius)}"' if box.radius else ""
    hollow = "" if box.colour else ' fill="none"'
    return (
        f'<rect class="{(fill + edge).strip()}" x="{_n(box.x)}" y="{_n(box.y)}"'
        f' width="{_n(box.width)}" height="{_n(box.height)}"{rounded}{hollow}'
        f"{_opacity(box.opacity)}/>"
    )


def _disc(disc: Disc) -> str:
    edge = f" s-{disc.edge}" if disc.edge else ""
    return (
        f'<circle class="f-{disc.colour}{edge}" cx="{_n(disc.x)}" cy="{_n(disc.y)}"'
        f' r="{_n(disc.radius)}" stroke-width="{_n(disc.edge_width)}"/>'
    )


def _text(text: Text) -> str:
    anchor = f' text-anchor="{text.anchor}"' if text.anchor != "start" else ""
    bold = ' font-weight="600"' if text.bold else ""
    turn = f' transform="rotate(-90 {_n(text.x)} {_n(text.y)})"' if text.upwards else ""
    return (
        f'<text class="f-{text.colour}" x="{_n(text.x)}" y="{_n(text.y)}"'
        f' font-size="{_n(text.size)}"{anchor}{bold}{turn}>{clean(text.text)}</text>'
    )


def _heat(heat: Heat) -> str:
    content = png_of_heat(heat.values, ramp(heat.scale))
    rendering = "" if heat.smooth else ' style="image-rendering:pixelated"'
    return (
        f'<image x="{_n(heat.x)}" y="{_n(heat.y)}" width="{_n(heat.width)}"'
        f' height="{_n(heat.height)}" preserveAspectRatio="none"{rendering}'
        f' href="{data_uri(content, "image/png")}"/>'
    )


def _opacity(opacity: float) -> str:
    return f' opacity="{_n(opacity)}"' if opacity < 1 else ""


_SVG: dict[type, Callable[[Any], str]] = {
    Line: _line,
    Band: _band,
    Box: _box,
    Disc: _disc,
    Text: _text,
    Heat: _heat,
}
