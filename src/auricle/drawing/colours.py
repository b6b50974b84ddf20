"""Colours by their role, light and dark, and scales of colours for heat maps."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Role = Literal["ink", "soft", "faint", "paper", "panel", "accent", "second", "good", "bad", "warn"]
Scale = Literal["magma", "accent", "second"]
Theme = Literal["light", "dark"]

ROLES: Mapping[Role, tuple[str, str]] = {  # on light paper, on dark
    "ink": ("#1c2430", "#e9edf3"),
    "soft": ("#566274", "#a3afc0"),
    "faint": ("#d9dee6", "#39424f"),
    "paper": ("#ffffff", "#12161c"),
    "panel": ("#f5f7fa", "#1a2029"),
    "accent": ("#1f5fbf", "#7db1ff"),
    "second": ("#a8471b", "#ff9d6b"),
    "good": ("#1a7f4b", "#5fd394"),
    "bad": ("#b3261e", "#ff8a80"),
    "warn": ("#8a5a00", "#ffc65c"),
}

# Magma (Smith & van der Walt 2015, CC0) at ten places: equal steps look equal.
_MAGMA = "000004 180f3d 440f76 721f81 9e2f7f cd4071 f1605d fd9668 feca8d fcfdbf".split()


@dataclass(frozen=True, eq=False)
class Ramp:
    """256 colours from least to most."""

    rgb: NDArray[np.uint8]  # (256, 3)
    alpha: NDArray[np.uint8]  # (256,)


def rgb(colour: str) -> tuple[int, int, int]:
    """#rrggbb -> three numbers of 0 to 255."""
    red, green, blue = bytes.fromhex(colour.removeprefix("#"))
    return red, green, blue


@cache
def ramp(scale: Scale) -> Ramp:
    """The colours of a heat map.

    `magma` is opaque. The others go from nothing to the colour of a role, and so lie on light and
    dark paper alike.
    """
    if scale == "magma":
        stops = np.array([rgb(stop) for stop in _MAGMA], np.float64)
        at = np.linspace(0, len(stops) - 1, 256)
        columns = [np.interp(at, np.arange(len(stops)), column) for column in stops.T]
        return Ramp(np.stack(columns, axis=1).round().astype(np.uint8), np.full(256, 255, np.uint8))
    light, dark = (np.array(rgb(colour), np.float64) for colour in ROLES[scale])
    middle = ((light + dark) / 2).round().astype(np.uint8)
    return Ramp(np.tile(middle, (256, 1)), np.arange(256, dtype=np.uint8))
