"""How surely a word was heard: a logistic regression on what the decoder knows of it.

The probability that a word is right, p = 1 / (1 + exp(-(w . x + b))), is fitted to words of
validation recordings, right and wrong ones (Platt 1999). What is known of a word, x:

    sound      mean log probability of its tokens
    weakest    the least of them
    utterance  log probability of all that was heard in the utterance, per token
    language   log probability that the language model gives it after the words before it
    unigram    the same without them
    unknown    1 if the language model does not know it
    length     logarithm of the number of its tokens
    pace       logarithm of frames per token

Tried and left out: the share that the hypotheses with this word have among the n best. With the
others known, it told right words of other speakers from wrong ones no better, at n = 5, 10 or 20.
"""

import math
from collections.abc import Sequence
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from auricle.config import Settings
from auricle.decode.fusion import UNKNOWN, LanguageModel
from auricle.decode.words import Spelt

FEATURES = ("sound", "weakest", "utterance", "language", "unigram", "unknown", "length", "pace")
RIDGE = (
    1.0  # strength of the penalty on weights, in words; keeps a short validation set from 0 and 1
)
LEAST = -100.0  # log probability that a language model may give: some say -inf
STEPS = 50  # Newton's; some ten are enough

Floats = NDArray[np.float64]


class Calibration(Settings):
    """The regression: weights of `FEATURES`."""

    weights: dict[str, Annotated[float, Field(ge=-1e6, le=1e6)]]
    bias: float = Field(ge=-1e6, le=1e6)

    @field_validator("weights")
    @classmethod
    def _known(cls, weights: dict[str, float]) -> dict[str, float]:
        if set(weights) != set(FEATURES):
            raise ValueError(f"the features of a word are {', '.join(FEATURES)}")
        return weights

    def __call__(self, features: Floats) -> Floats:
        """(W, F) -> (W,): the probability that each word is right."""
        weights = np.array([self.weights[name] for name in FEATURES])
        return _logistic(features @ weights + self.bias)


def fit_calibration(features: Floats, correct: NDArray[np.bool_]) -> Calibration:
    """The likeliest regression, by Newton's method, of words (W, F) that are `correct`, (W,)."""
    mean, spread = features.mean(axis=0), features.std(axis=0)
    spread[spread < 1e-9] = 1.0  # one that never varies says nothing and gets no weight
    known = np.column_stack([(features - mean) / spread, np.ones(len(features))])
    penalty = np.full(known.shape[1], RIDGE)
    penalty[-1] = 1e-6  # the bias is free
    solution = np.zeros(known.shape[1])
    for _ in range(STEPS):
        probability = _logistic(known @ solution)
        slope = known.T @ (correct - probability) - penalty * solution
        variance = probability * (1.0 - probability)
        curvature = (known * variance[:, None]).T @ known + np.diag(penalty)
        step = np.linalg.solve(curvature, slope)
        solution += step
        if np.abs(step).max() < 1e-9:
            break
    weights = solution[:-1] / spread
    return Calibration(
        weights=dict(zip(FEATURES, weights.tolist(), strict=True)),
        bias=float(solution[-1] - weights @ mean),
    )


def word_features(
    utterances: Sequence[Sequence[Spelt]], acoustic: Sequence[float], lm: LanguageModel | None
) -> Floats:
    """(W, F) of the words of all utterances, one after the other.

    Args:
        utterances: the words of each.
        acoustic: of each, the log probability of all that was heard.
        lm: over words; without one, what it would say is 0.
    """
    words = [word for utterance in utterances for word in utterance]
    known = np.zeros((len(words), len(FEATURES)))
    if not words:
        return known
    per_token = [
        log_prob / sum(len(word.tokens) for word in utterance)
        for utterance, log_prob in zip(utterances, acoustic, strict=True)
        if utterance
    ]
    known[:, 0] = [word.log_prob for word in words]
    known[:, 1] = [min(token.log_prob for token in word.tokens) for word in words]
    known[:, 2] = np.repeat(per_token, [len(each) for each in utterances if each])
    if lm is not None:
        known[:, 3:6] = _language(utterances, lm)
    lengths = [len(word.tokens) for word in words]
    frames = [word.tokens[-1].end_frame - word.tokens[0].start_frame for word in words]
    known[:, 6] = np.log(lengths)
    known[:, 7] = np.log(np.maximum(frames, 1)) - known[:, 6]
    return known


def _language(utterances: Sequence[Sequence[Spelt]], lm: LanguageModel) -> Floats:
    """(W, 3): log probability in context and without, whether unknown; all utterances at once."""
    lengths = np.array([len(each) for each in utterances])
    ids = lm.word_ids([word.text for each in utterances for word in each])
    starts = np.cumsum(lengths) - lengths
    order = np.argsort(-lengths, kind="stable")
    states = np.full(len(order), lm.start, np.int64)
    in_context = np.zeros(len(ids))
    for place in range(int(lengths.max(initial=0))):
        reading = int(np.searchsorted(-lengths[order], -place))  # so many are longer than `place`
        at = starts[order[:reading]] + place
        in_context[at], states = lm.advance(states[:reading], ids[at])
    alone, _ = lm.advance(np.full(len(ids), lm.empty, np.int64), ids)
    features: Floats = np.maximum(np.column_stack([in_context, alone, ids == UNKNOWN]), LEAST)
    return features


def _logistic(values: Floats) -> Floats:
    bounded: Floats = 1.0 / (1.0 + np.exp(-np.clip(values, -math.log(1e12), math.log(1e12))))
    return bounded
