"""CTC by its definition and by dynamic programming, small enough to be read in one sitting.

`docs/ctc.md` shows this code and its numbers; what trains is `auricle.losses`.
"""

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Path = tuple[int, ...]

BLANK = 0
SYMBOLS = ("-", "t", "o")
WORD = "too"
# What a network may say of five frames: (T, V). Tenths, so that every product is exact in print.
TABLE = np.array(
    [
        [0.1, 0.8, 0.1],
        [0.1, 0.2, 0.7],
        [0.7, 0.1, 0.2],
        [0.2, 0.1, 0.7],
        [0.6, 0.1, 0.3],
    ]
)


def target_of(word: str) -> list[int]:
    """The symbols of a word, (U,)."""
    return [SYMBOLS.index(letter) for letter in word]


def spelt(path: Sequence[int]) -> str:
    """A path as it is written: "to-oo"."""
    return "".join(SYMBOLS[symbol] for symbol in path)


def collapse(path: Sequence[int]) -> list[int]:
    """What a path says: of equal symbols in a row one, then no blanks."""
    return [symbol for symbol, _ in itertools.groupby(path) if symbol != BLANK]


def paths_of(y: Floats, target: Sequence[int]) -> Iterator[tuple[Path, float]]:
    """Every path that says `target`, and its probability: all V ** T paths are tried."""
    frames, symbols = y.shape
    for path in itertools.product(range(symbols), repeat=frames):
        if collapse(path) == list(target):
            yield path, math.prod(float(y[frame, symbol]) for frame, symbol in enumerate(path))


def states_of(target: Sequence[int]) -> NDArray[np.int64]:
    """The symbols of a target with blanks around each: (2 U + 1,)."""
    states = np.full(2 * len(target) + 1, BLANK)
    states[1::2] = target
    return states


def moves(states: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """From which state a path may come to which, within a frame: stay, next, or over a blank."""
    for state, symbol in enumerate(states):
        yield state, state
        if state > 0:
            yield state - 1, state
        if state > 1 and symbol not in (BLANK, states[state - 2]):
            yield state - 2, state


def forward(y: Floats, states: NDArray[np.int64]) -> Floats:
    """The sum of all beginnings of paths that are in a state at a frame: (T, 2 U + 1)."""
    alpha = np.zeros((len(y), len(states)))
    alpha[0, :2] = y[0, states[:2]]
    for frame in range(1, len(y)):
        for before, state in moves(states):
            alpha[frame, state] += alpha[frame - 1, before]
        alpha[frame] *= y[frame, states]
    return alpha


def backward(y: Floats, states: NDArray[np.int64]) -> Floats:
    """The sum of all endings of paths after a state at a frame: (T, 2 U + 1).

    From the end it is the same sum; the frame itself is divided out, `forward` has counted it.
    """
    return forward(y[::-1], states[::-1])[::-1, ::-1] / y[:, states]


def total(alpha: Floats) -> float:
    """Of all paths: they end in the last letter or in the blank after it."""
    return float(alpha[-1, -2:].sum())


def path_count(frames: int, letters: int, repeats: int = 0) -> int:
    """How many paths say a text; `repeats` of its letters equal the one before them.

    Between and around the letters are blanks or none, and every run is as long as it likes: the
    places where runs begin and end are 2 U of T + U - R.
    """
    return math.comb(frames + letters - repeats, 2 * letters)


def operations_of_paths(frames: int, letters: int) -> int:
    """Multiplications and additions that the sum over paths takes, path by path."""
    return path_count(frames, letters) * frames - 1


def operations_of_lattice(frames: int, letters: int) -> int:
    """The same for `forward`: two additions and a multiplication for each state and frame."""
    return 3 * frames * (2 * letters + 1)
