"""Greedy CTC: the best symbol of every frame, repeats collapsed, blanks dropped."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Token:
    """One symbol and the frames it was heard in."""

    id: int
    start_frame: int
    end_frame: int  # exclusive
    log_prob: float  # of its surest frame


def ctc_greedy(log_probs: NDArray[Any], *, blank: int = 0) -> list[Token]:
    """The tokens of the single best path (Graves et al. 2006, "best path decoding").

    Args:
        log_probs: (T, V) log probabilities of one utterance, without padding.
        blank: the id that stands for no symbol.
    """
    if not len(log_probs):
        return []
    return ctc_collapse(log_probs.argmax(axis=1), log_probs, blank=blank)


def ctc_collapse(
    path: NDArray[np.integer[Any]], log_probs: NDArray[Any], *, blank: int = 0
) -> list[Token]:
    """The tokens of a path, (T,) ids, through log probabilities (T, V)."""
    if not len(path):
        return []
    surest = np.take_along_axis(log_probs, path[:, None], axis=1)[:, 0]
    starts = np.flatnonzero(np.concatenate(([True], path[1:] != path[:-1])))
    ends = np.append(starts[1:], len(path))
    runs = zip(path[starts], starts, ends, np.maximum.reduceat(surest, starts), strict=True)
    return [Token(int(i), int(a), int(b), float(p)) for i, a, b, p in runs if i != blank]
