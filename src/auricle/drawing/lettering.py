"""An alphabet of strokes for pictures of pixels, drawn for auricle: lines and quarter ellipses.

A glyph is its strokes, a stroke its points "x,y" in order. "l" before a point draws a line to it,
"h" and "v" a quarter of an ellipse that sets out horizontally or vertically. Heights are units of a
seventh of a capital: 0 is the line that letters stand on, 5 the top of an x, 7 that of a capital.
"""

import unicodedata
from functools import cache

import numpy as np
from numpy.typing import NDArray

CAPITAL = 7.0  # units
EM = 9.6  # units in the size of a letter, as type is measured
GAP = 1.5  # between letters
SPACE = 2.6
DIGIT = 4.3
ARC_STEPS = 6

_BOWL = "4,2.5 v2,5 h0,2.5 v2,0 h4,2.5"
_LEFT_BOWL = "0,2.5 v2,5 h4,2.5 v2,0 h0,2.5"
_O = "2.9,7 h5.8,3.5 v2.9,0 h0,3.5 v2.9,7"
_RING = "1.3,7 h2.6,5.6 v1.3,4.2 h0,5.6 v1.3,7"
_P = "0,0 l0,7 l2.5,7 h4.6,5 v2.5,3 l0,3"
_GLYPHS = {
    "a": f"4,5 l4,0; {_BOWL}",
    "b": f"0,7 l0,0; {_LEFT_BOWL}",
    "c": "4,3.8 v2.1,5 h0,2.5 v2.1,0 h4,1.2",
    "d": f"4,7 l4,0; {_BOWL}",
    "e": "0,2.6 l4,2.6 v2,5 h0,2.5 v2.1,0 h3.9,0.9",
    "f": "2.8,7 h1.1,5.5 l1.1,0; 0,5 l2.6,5",
    "g": f"4,5 l4,0 v2,-2 h0.3,-1.1; {_BOWL}",
    "h": "0,7 l0,0; 0,3 v2,5 h4,3 l4,0",
    "i": "0,5 l0,0; 0,6.7 l0,6.8",
    "j": "1,5 l1,-0.7 v-0.4,-2; 1,6.7 l1,6.8",
    "k": "0,7 l0,0; 3.6,5 l0,1.8; 1.4,2.9 l3.8,0",
    "l": "0,7 l0,0",
    "m": "0,5 l0,0; 0,3.2 v1.6,5 h3.2,3.2 l3.2,0; 3.2,3.2 v4.8,5 h6.4,3.2 l6.4,0",
    "n": "0,5 l0,0; 0,3 v2,5 h4,3 l4,0",
    "o": "2.1,5 h4.2,2.5 v2.1,0 h0,2.5 v2.1,5",
    "p": f"0,5 l0,-2; {_LEFT_BOWL}",
    "q": f"4,5 l4,-2; {_BOWL}",
    "r": "0,5 l0,0; 0,3 v2.3,5",
    "s": "3.5,4.1 v1.9,5 h0.2,3.7 v1.9,2.5 h3.6,1.3 v1.8,0 h0,1",
    "t": "1.1,6.6 l1.1,1.4 v2.7,0; 0,5 l2.7,5",
    "u": "0,5 l0,2 v2,0 h4,2; 4,5 l4,0",
    "v": "0,5 l2,0 l4,5",
    "w": "0,5 l1.4,0 l2.9,5 l4.4,0 l5.8,5",
    "x": "0,5 l3.8,0; 3.8,5 l0,0",
    "y": "0,5 l2,0; 4,5 l1.2,-2",
    "z": "0.1,5 l3.6,5 l0,0 l3.8,0",
    "A": "0,0 l2.5,7 l5,0; 0.85,2.4 l4.15,2.4",
    "B": "0,0 l0,7 l2.4,7 h4.2,5.3 v2.4,3.7 l0,3.7; 2.4,3.7 h4.7,1.9 v2.5,0 l0,0",
    "C": "5,5.4 v2.8,7 h0,3.5 v2.8,0 h5,1.6",
    "D": "0,0 l0,7 l2,7 h5.2,3.5 v2,0 l0,0",
    "E": "4.2,7 l0,7 l0,0 l4.4,0; 0,3.7 l3.6,3.7",
    "F": "4.2,7 l0,7 l0,0; 0,3.6 l3.5,3.6",
    "G": "5,5.4 v2.8,7 h0,3.5 v2.8,0 h5.2,1.8 l5.2,3.2 l3.2,3.2",
    "H": "0,0 l0,7; 5,0 l5,7; 0,3.7 l5,3.7",
    "I": "0,0 l0,7",
    "J": "3,7 l3,1.8 v1.4,0 h0,1.4",
    "K": "0,0 l0,7; 4.6,7 l0,2.6; 1.6,4.2 l4.8,0",
    "L": "0,7 l0,0 l4,0",
    "M": "0,0 l0,7 l2.9,1.6 l5.8,7 l5.8,0",
    "N": "0,0 l0,7 l5,0 l5,7",
    "O": _O,
    "P": _P,
    "Q": f"{_O}; 3.6,1.6 l5.6,-0.4",
    "R": f"{_P}; 2.4,3 l4.8,0",
    "S": "4.4,5.7 v2.4,7 h0.3,5.3 v2.4,3.7 h4.7,1.9 v2.4,0 h0,1.4",
    "T": "0,7 l5,7; 2.5,7 l2.5,0",
    "U": "0,7 l0,2.3 v2.5,0 h5,2.3 l5,7",
    "V": "0,7 l2.5,0 l5,7",
    "W": "0,7 l1.8,0 l3.6,7 l5.4,0 l7.2,7",
    "X": "0,7 l4.8,0; 4.8,7 l0,0",
    "Y": "0,7 l2.4,3.4 l4.8,7; 2.4,3.4 l2.4,0",
    "Z": "0.2,7 l4.6,7 l0,0 l4.8,0",
    "0": "2.1,7 h4.2,3.5 v2.1,0 h0,3.5 v2.1,7",
    "1": "0.5,5.5 l2.2,7 l2.2,0",
    "2": "0.2,5.2 v2.1,7 h4,5.1 l0,0 l4.2,0",
    "3": "0.3,7 l4,7 l1.9,4.2 h4.2,2.1 v2,0 h0,1.4",
    "4": "3.2,0 l3.2,7 l0,2 l4.4,2",
    "5": "3.8,7 l0.6,7 l0.3,3.7 v2,4.4 h4.2,2.2 v2,0 h0,1.3",
    "6": "3.7,6.2 v2.4,7 h0,2.2; 0,2.2 v2.1,4.3 h4.2,2.2 v2.1,0 h0,2.2",
    "7": "0,7 l4.2,7 l1.4,0",
    "8": "2.1,7 h3.9,5.4 v2.1,3.8 h0.3,5.4 v2.1,7; 2.1,3.8 h4.2,1.9 v2.1,0 h0,1.9 v2.1,3.8",
    "9": "0.5,0.8 v1.8,0 h4.2,4.8; 4.2,4.8 v2.1,2.7 h0,4.8 v2.1,7 h4.2,4.8",
    ".": "0,0 l0,0.1",
    ",": "0.4,0.2 l0,-1.3",
    ":": "0,0 l0,0.1; 0,4 l0,4.1",
    ";": "0.4,0.2 l0,-1.3; 0.4,4 l0.4,4.1",
    "!": "0,0 l0,0.1; 0,2 l0,7",
    "?": "0,5.5 v1.9,7 h3.8,5.3 v1.9,2; 1.9,0 l1.9,0.1",
    "'": "0,7 l0,5.2",
    '"': "0,7 l0,5.2; 1.5,7 l1.5,5.2",
    "-": "0,2.7 l2.4,2.7",
    "\u2013": "0,2.7 l3.6,2.7",
    "\u2212": "0.2,2.9 l3.8,2.9",
    "_": "0,-1 l4,-1",
    "+": "2,4.9 l2,0.9; 0,2.9 l4,2.9",
    "=": "0,3.8 l4,3.8; 0,1.8 l4,1.8",
    "\u00d7": "0.4,4.5 l3.6,1.3; 3.6,4.5 l0.4,1.3",
    "\u00b7": "0,2.8 l0,2.9",
    "*": "1.5,7 l1.5,4; 0.2,6.3 l2.8,4.7; 2.8,6.3 l0.2,4.7",
    "/": "0,-0.8 l2.8,7.6",
    "\\": "0,7.6 l2.8,-0.8",
    "|": "0,-1.6 l0,8",
    "(": "1.6,8 h0,3 v1.6,-2",
    ")": "0,8 h1.6,3 v0,-2",
    "[": "1.5,7.8 l0,7.8 l0,-1.6 l1.5,-1.6",
    "]": "0,7.8 l1.5,7.8 l1.5,-1.6 l0,-1.6",
    "{": "1.8,7.8 h0.8,6.4 l0.8,4 v0,3.1 h0.8,2.2 l0.8,-0.2 v1.8,-1.6",
    "}": "0,7.8 h1,6.4 l1,4 v1.8,3.1 h1,2.2 l1,-0.2 v0,-1.6",
    "<": "3.8,5 l0,2.9 l3.8,0.8",
    ">": "0,5 l3.8,2.9 l0,0.8",
    "%": f"5.4,7 l0.4,0; {_RING}; 4.5,2.8 h5.8,1.4 v4.5,0 h3.2,1.4 v4.5,2.8",
    "#": "1.6,7 l0.8,0; 4,7 l3.2,0; 0.2,4.8 l4.8,4.8; 0,2.2 l4.6,2.2",
    "&": "5,0 l1,5 v2.2,7 h3.4,5.5 v1.4,3.4 h0,1.8 v2,0 h4.8,2.8",
    "@": "4.6,3.2 v3.2,4.6 h1.9,3.2 v3.2,1.9 h4.6,3.2 h6.4,3.4 v3.2,7 h0,3 v3.2,-1 l5,-0.7",
    "$": "4.4,5.4 v2.4,6.4 h0.4,5 v2.4,3.6 h4.6,2 v2.4,0.6 h0,1.7; 2.4,7.4 l2.4,-0.4",
    "\u00b0": "1.2,7 h2.4,5.8 v1.2,4.6 h0,5.8 v1.2,7",
    "^": "0,4.6 l1.7,7 l3.4,4.6",
    "~": "0,2.4 v1.2,3.4 h2,2.9 v2.9,2.4 h4,3.4",
    "`": "0,7.4 l1.2,6",
    "\u00b5": "0,5 l0,-2; 0,2 v2,0 h4,2; 4,5 l4,0",
}
_UNKNOWN = "0,0 l0,7 l3.6,7 l3.6,0 l0,0"


def width(text: str, size: float) -> float:
    """Of a line of text whose letters have this size, in the unit of the size."""
    units = sum(_advance(letter) for letter in _plain(text)) - GAP
    return max(0.0, units) * size / EM


def strokes(text: str, size: float) -> list[NDArray[np.float64]]:
    """The strokes of a line of text, (P, 2) each: x to the right from 0, y up from its base."""
    placed: list[NDArray[np.float64]] = []
    at = 0.0
    for letter in _plain(text):
        placed += [(stroke + np.array([at, 0.0])) * (size / EM) for stroke in _glyph(letter)]
        at += _advance(letter)
    return placed


def _plain(text: str) -> str:
    """Accents taken off letters that are not in the alphabet with them."""
    return "".join(
        letter if letter in _GLYPHS else unicodedata.normalize("NFKD", letter)[:1] or letter
        for letter in text
    )


def _advance(letter: str) -> float:
    if letter.isspace():
        return SPACE + GAP
    if letter.isdigit():  # numbers below each other stay in columns
        return DIGIT + GAP
    return max(float(stroke[:, 0].max()) for stroke in _glyph(letter)) + GAP


@cache
def _glyph(letter: str) -> tuple[NDArray[np.float64], ...]:
    if letter.isspace():
        return ()
    described = _GLYPHS.get(letter, _UNKNOWN)
    return tuple(_stroke(stroke) for stroke in described.split("; "))


def _stroke(described: str) -> NDArray[np.float64]:
    first, *steps = described.split()
    points = [_point(first)]
    for step in steps:
        begin, end = points[-1], _point(step[1:])
        if step[0] == "l":
            points.append(end)
            continue
        turn = np.linspace(0, np.pi / 2, ARC_STEPS + 1)[1:]
        there, back = np.sin(turn)[:, None], 1 - np.cos(turn)[:, None]
        along = np.array([1.0, 0.0]) if step[0] == "h" else np.array([0.0, 1.0])
        points += list(begin + (end - begin) * (along * there + (1 - along) * back))
    return np.array(points)


def _point(text: str) -> NDArray[np.float64]:
    x, y = text.split(",")
    return np.array([float(x), float(y)])
