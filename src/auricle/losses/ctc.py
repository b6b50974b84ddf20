"""The CTC criterion (torch). `docs/ctc.md` explains it by a worked example."""

import torch
from torch import Tensor

from auricle.errors import DataError

BLANK = 0  # every token vocabulary keeps its first place for the blank


def frames_needed(targets: Tensor, target_lengths: Tensor) -> Tensor:
    """Frames the shortest CTC path of each target takes: letters + repeated letters.

    (B, U) int, (B,) int -> (B,) int. Two equal letters in a row need a blank between them.
    """
    second = torch.arange(targets.shape[1], device=targets.device)[1:]
    inside = second < target_lengths[:, None]
    repeats = (targets[:, 1:] == targets[:, :-1]) & inside
    return target_lengths + repeats.sum(1)


def ctc_nll(log_probs: Tensor, lengths: Tensor, targets: Tensor, target_lengths: Tensor) -> Tensor:
    """-log p(target | input) of each utterance, summed over every alignment -> (B,).

    Graves et al. 2006, "Connectionist Temporal Classification", eq. 8.

    Args:
        log_probs: (B, T, V), the blank at index 0.
        lengths: (B,) frames of each utterance.
        targets: (B, U) symbol indices, padding beyond `target_lengths` ignored.

    Raises:
        DataError: when an utterance has fewer frames than its text needs. Its loss would be
            infinite, and zeroing it (as is customary) would hide that nothing is learned from it.
    """
    short = frames_needed(targets, target_lengths) > lengths
    if bool(short.any()):
        rows = short.nonzero().flatten().tolist()
        raise DataError(
            f"utterances {rows} of this batch have fewer frames than letters + repeated letters: "
            "shorten the text, or use an encoder with a smaller stride"
        )
    return torch.nn.functional.ctc_loss(
        log_probs.transpose(0, 1), targets, lengths, target_lengths, BLANK, reduction="none"
    )
