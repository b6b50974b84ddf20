"""Pictures without further packages: shapes and axes, written as SVG or PNG."""

from auricle.drawing.axes import Axis, Panel, envelope, pooled, round_ticks
from auricle.drawing.picture import (
    Band,
    Box,
    Disc,
    Heat,
    Line,
    Picture,
    Text,
    clean,
    data_uri,
    stylesheet,
)
from auricle.drawing.raster import png

__all__ = [
    "Axis",
    "Band",
    "Box",
    "Disc",
    "Heat",
    "Line",
    "Panel",
    "Picture",
    "Text",
    "clean",
    "data_uri",
    "envelope",
    "png",
    "pooled",
    "round_ticks",
    "stylesheet",
]
