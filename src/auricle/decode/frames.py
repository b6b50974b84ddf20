"""Log probabilities made ready for the search: sure blanks left out, unlikely symbols pruned.

Most frames of a trained CTC model are blanks beyond doubt. In such a frame every prefix keeps its
mass, up to the factor p(blank) that all share, and only forgets that it ended in a symbol: a run of
them is one cheap operation before the next frame. What is neglected are the paths with a symbol in
a frame that is left out, so of every prefix too little is counted, Q(h) <= P(h), and in all

    sum_h |P(h) - Q(h)|  =  1 - prod_t p_t(blank)  <=  sum_t (1 - p_t(blank))     over t left out,

as every path counts for one prefix and what remains is the product (without pruning or a model).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auricle.errors import DataError

BLANK = 0
TOLERANCE = 1e-2  # by which a log probability may pass 0, through rounding to 16 bits, say


@dataclass(frozen=True)
class Frames:
    """The frames of U utterances that the search looks at: N of them, an utterance's in a row.

    The symbols that may follow in frame n are `symbol[first[n] : first[n + 1]]`.
    """

    log_probs: NDArray[np.floating[Any]]  # (N, V)
    starts: NDArray[np.int64]  # (U + 1,) where each utterance begins in N
    number: NDArray[np.int64]  # (N,) the frame's number in its utterance
    after_blank: NDArray[np.bool_]  # (N,) whether sure blanks were left out before it
    skipped: NDArray[np.float64]  # (U,) the log probability of the blanks left out
    first: NDArray[np.int64]  # (N + 1,)
    symbol: NDArray[np.int64]  # (S,)
    value: NDArray[np.float64]  # (S,) its log probability
    place: NDArray[np.int32]  # (N, V) of each symbol among those of its frame; -1 if pruned

    @classmethod
    def of(
        cls,
        utterances: Sequence[NDArray[Any]],
        *,
        skip_blank: float,
        token_prune: float,
        first_number: int = 0,
    ) -> "Frames":
        """Pack log probabilities, (T, V) each.

        Args:
            skip_blank: leave out frames in which the blank has at least this probability.
            token_prune: leave out symbols that are less likely than the likeliest one of their
                frame by more than this (natural logarithm).
            first_number: of the first frame, for the later parts of an utterance.
        """
        sure = [each[:, BLANK] >= math.log(skip_blank) for each in utterances]
        kept = [~each for each in sure]
        whole = np.concatenate([*utterances])
        everywhere = np.concatenate(kept)
        log_probs = whole[everywhere]
        numbers = np.concatenate([np.arange(len(each)) for each in kept])
        after = np.concatenate([np.append(False, each[:-1])[: len(each)] for each in sure])
        lengths = [0, *(int(each.sum()) for each in kept)]
        floor = log_probs.max(axis=1, keepdims=True) - token_prune
        allowed = (log_probs >= floor) & (log_probs > -np.inf)
        allowed[:, BLANK] = False
        counts = allowed.sum(axis=1)
        place = np.where(allowed, np.cumsum(allowed, axis=1, dtype=np.int32) - 1, -1)
        blanks = zip(utterances, sure, strict=True)
        return cls(
            log_probs=log_probs,
            starts=np.cumsum(lengths),
            number=numbers[everywhere] + first_number,
            after_blank=after[everywhere],
            skipped=np.array([each[gone, BLANK].sum(dtype=np.float64) for each, gone in blanks]),
            first=np.concatenate(([0], np.cumsum(counts))),
            symbol=np.nonzero(allowed)[1],
            value=log_probs[allowed].astype(np.float64),
            place=place,
        )


def check_log_probs(log_probs: NDArray[Any], symbols: int) -> NDArray[np.floating[Any]]:
    """(T, V) natural logarithms, as floats.

    Raises:
        DataError: for another shape, NaN, or values that are no logarithms of probabilities.
    """
    array = np.asarray(log_probs)
    if array.ndim != 2 or array.shape[1] != symbols:
        raise DataError(f"log_probs {array.shape}: needed is (frames, {symbols}), blank first")
    if array.size and not array.max() <= TOLERANCE:
        raise DataError(
            f"log_probs reach {array.max()}: log probabilities are at most 0; take log_softmax of"
            " logits, the logarithm of probabilities"
        )
    return array if np.issubdtype(array.dtype, np.floating) else array.astype(np.float64)
