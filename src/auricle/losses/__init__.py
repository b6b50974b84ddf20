"""Training criteria (torch): what a network's answers are held against."""

from auricle.losses.ctc import BLANK, ctc_nll, frames_needed
from auricle.losses.ctc_crf import Trigrams, all_paths, best_paths, ctc_crf_nll

__all__ = [
    "BLANK",
    "Trigrams",
    "all_paths",
    "best_paths",
    "ctc_crf_nll",
    "ctc_nll",
    "frames_needed",
]
