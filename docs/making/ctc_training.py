"""A toy that learns by CTC in seconds: three letters as tones, and a network of two layers.

Everything is float64 and drawn by numpy, so that the curves are the same on every machine.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from auricle.decode import ctc_greedy
from auricle.losses import ctc_nll
from auricle.metrics import score_characters

LETTERS = "abc"
UTTERANCES, NOISE = 24, 0.3
TONE_FRAMES = 5, 8  # the shortest and the longest letter
REACH = 4  # frames that the network sees to either side
HIDDEN, RATE = 24, 0.02
UPDATES = 240
MOMENTS = (20, 100, UPDATES)  # updates after which the outputs are kept
SCORED_EVERY = 10  # updates

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Utterance:
    features: Floats  # (T, 3)
    letters: tuple[int, ...]  # 1 to 3
    spans: tuple[tuple[int, int], ...]  # of each letter: its first frame and the one after it


@dataclass(frozen=True)
class Course:
    """What was seen while it learned: the curves begin before the first update."""

    utterance: Utterance
    losses: Floats  # (UPDATES + 1,) nats per letter
    blanks: Floats  # (UPDATES + 1,) share of the frames whose likeliest symbol is the blank
    errors: Floats  # character error rate, every SCORED_EVERY updates
    outputs: dict[int, Floats]  # of the utterance, (T, V) probabilities after so many updates


def utterance(rng: np.random.Generator) -> Utterance:
    """Three to five letters, one to three quiet frames between."""
    letters = rng.integers(1, 4, rng.integers(3, 6))
    clean, spans = [np.zeros((3, 3))], []
    for letter in letters:
        begin = sum(map(len, clean))
        tone = np.zeros((rng.integers(TONE_FRAMES[0], TONE_FRAMES[1] + 1), 3))
        tone[:, letter - 1] = 1.0
        spans.append((begin, begin + len(tone)))
        clean += [tone, np.zeros((rng.integers(1, 4), 3))]
    features = np.concatenate([*clean, np.zeros((2, 3))])
    features += NOISE * rng.normal(size=features.shape)
    return Utterance(features, tuple(letters.tolist()), tuple(spans))


def _batch(utterances: list[Utterance]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Features with their neighbours, (B, T, F); lengths; targets, (B, U); target lengths."""
    lengths = [len(each.features) for each in utterances]
    wide = np.zeros((len(utterances), max(lengths) + 2 * REACH, 3))
    targets = np.zeros((len(utterances), max(len(each.letters) for each in utterances)), np.int64)
    for row, target, each in zip(wide, targets, utterances, strict=True):
        row[REACH : REACH + len(each.features)] = each.features
        target[: len(each.letters)] = each.letters
    windows = np.lib.stride_tricks.sliding_window_view(wide, 2 * REACH + 1, axis=1)
    features = torch.from_numpy(windows.reshape(len(utterances), max(lengths), -1).copy())
    target_lengths = torch.tensor([len(each.letters) for each in utterances])
    return features, torch.tensor(lengths), torch.from_numpy(targets), target_lengths


def _weights(rng: np.random.Generator, inputs: int) -> list[Tensor]:
    shapes = [(inputs, HIDDEN), (HIDDEN,), (HIDDEN, len(LETTERS) + 1), (len(LETTERS) + 1,)]
    spreads = [0.5 * inputs**-0.5, 0.0, 0.3 * HIDDEN**-0.5, 0.0]
    return [
        torch.from_numpy(spread * rng.normal(size=shape)).requires_grad_()
        for shape, spread in zip(shapes, spreads, strict=True)
    ]


def heard(log_probs: Floats) -> str:
    """What greedy decoding reads from an utterance, (T, V)."""
    return "".join(LETTERS[token.id - 1] for token in ctc_greedy(log_probs))


@cache
def learn() -> Course:
    """Train the toy; what `docs/ctc.md` shows of it."""
    rng = np.random.default_rng(1)
    utterances = [utterance(rng) for _ in range(UTTERANCES)]
    features, lengths, targets, target_lengths = _batch(utterances)
    weights = _weights(rng, features.shape[2])
    references = ["".join(LETTERS[letter - 1] for letter in u.letters) for u in utterances]
    losses, blanks, errors = [], [], []
    outputs: dict[int, Floats] = {}
    for update, (loss, log_probs) in enumerate(
        _updates(weights, features, lengths, targets, target_lengths)
    ):
        rows = [row[:length] for row, length in zip(log_probs, lengths.tolist(), strict=True)]
        losses.append(loss)
        blanks.append((np.concatenate(rows).argmax(axis=1) == 0).mean())
        if update % SCORED_EVERY == 0:
            errors.append(score_characters(references, list(map(heard, rows))).rate)
        if update in MOMENTS:
            outputs[update] = np.exp(rows[0])
    curves = (np.array(each) for each in (losses, blanks, errors))
    return Course(utterances[0], *curves, outputs)


def _updates(
    weights: list[Tensor],
    features: Tensor,
    lengths: Tensor,
    targets: Tensor,
    target_lengths: Tensor,
) -> Iterator[tuple[float, Floats]]:
    """The loss per letter and the log probabilities, (B, T, V), before each update and at last."""
    optimizer = torch.optim.Adam(weights, RATE)
    into, bias, out, out_bias = weights
    for _ in range(UPDATES + 1):
        hidden = torch.tanh(features @ into + bias)
        log_probs = (hidden @ out + out_bias).log_softmax(-1)
        loss = ctc_nll(log_probs, lengths, targets, target_lengths).sum() / target_lengths.sum()
        yield float(loss.detach()), log_probs.detach().numpy()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
