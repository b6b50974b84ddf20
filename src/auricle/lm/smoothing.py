"""Interpolated modified Kneser-Ney smoothing (Chen & Goodman 1998), as kenlm's lmplz computes it.

A lower order's n-gram counts not how often it was seen but after how many different words, unless
it begins a sentence (Heafield et al. 2013, "Scalable modified Kneser-Ney language model
estimation"). With these adjusted counts a, and n_i n-grams of the order that have a = i,

    D_i = i - (i + 1) Y n_{i+1} / n_i,  Y = n_1 / (n_1 + 2 n_2),        i = 1, 2, 3 and above
    p(w | h) = (a(h w) - D(a(h w))) / sum_x a(h x) + gamma(h) p(w | h minus its first word)
    gamma(h) = sum_x D(a(h x)) / sum_x a(h x)

where the recursion ends in the uniform distribution over the vocabulary, `<unk>` and `</s>`
included and `<s>` left out. An n-gram dropped for its low count gives all of its count to gamma.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from auricle.errors import ConfigError
from auricle.lm.counting import Counted, Counts
from auricle.lm.model import START_ID
from auricle.lm.trie import Ids, Level, Reals, Tables, keep, suffixes

FALLBACK = (0.0, 0.5, 1.0, 1.5)  # lmplz's, for texts too small or too odd to estimate from


def kneser_ney(counts: Counts, prune: Sequence[int] = ()) -> Tables:
    """Estimate a model.

    Args:
        prune: for every order, the count up to which its n-grams are dropped; the last one holds
            for the orders above too. For unigrams it is 0: limit the vocabulary instead.

    Raises:
        ConfigError: for thresholds that fall from one order to the next, or drop unigrams.
    """
    limits = _limits(prune, len(counts.levels))
    size = len(counts.symbols)
    shorter = suffixes([level.keys for level in counts.levels], size)
    words = counts.levels[0].counts.sum()
    lower = np.array([1.0 / (size - 1)])  # uniform, without <s>
    levels: list[Level] = []
    kept = []
    for number, level in enumerate(counts.levels):
        kept.append(level.counts > limits[number] if number else np.ones(size, bool))
        adjusted = _adjusted(counts.levels, shorter, number, size)
        parents = level.keys // size
        prob, gamma = _interpolate(parents, adjusted, kept[-1], lower[shorter[number]], len(lower))
        prob = np.minimum(prob, 1.0)  # which rounding may pass
        if levels:
            levels[-1] = replace(levels[-1], backoff=np.log(gamma))
        else:
            prob[START_ID] = 1.0  # never asked for
        seen = np.log(np.maximum(level.counts, 0.5) / words)
        levels.append(Level(level.keys, np.log(prob), np.zeros(len(prob)), seen))
        lower = prob
    return keep(Tables(counts.symbols, counts.unit, tuple(levels)), kept)


def discounts(adjusted: Ids) -> Reals:
    """(4,) what is taken from an adjusted count of 0, 1, 2 and 3 or more.

    The fallback where the estimate is undefined or not above 0, as with lmplz.
    """
    n = np.bincount(adjusted[adjusted < 5], minlength=5).astype(float)
    if not n[1:4].all():
        return np.array(FALLBACK)
    y = n[1] / (n[1] + 2.0 * n[2])
    i = np.arange(1, 4)
    estimated = np.append(0.0, i - (i + 1) * y * n[2:5] / n[1:4])
    return estimated if np.all(estimated[1:] > 0.0) else np.array(FALLBACK)


def _interpolate(
    parents: Ids, adjusted: Ids, kept: NDArray[np.bool_], lower: Reals, contexts: int
) -> tuple[Reals, Reals]:
    """The probabilities of an order's n-grams and gamma of their contexts."""
    discount = discounts(adjusted)[np.minimum(adjusted, 3)]
    total = np.bincount(parents, adjusted, minlength=contexts)
    freed = np.bincount(parents, np.where(kept, discount, adjusted), minlength=contexts)
    # What nothing was seen after says nothing: everything comes from the lower order.
    gamma = np.divide(freed, total, out=np.ones(contexts), where=total > 0)
    return (adjusted - discount) / total[parents] + gamma[parents] * lower, gamma


def _adjusted(levels: Sequence[Counted], shorter: Sequence[Ids], number: int, size: int) -> Ids:
    """How many different words each n-gram of an order follows; what begins a sentence: counts."""
    level = levels[number]
    if number == len(levels) - 1:
        adjusted = np.array(level.counts)
    else:
        adjusted = np.bincount(shorter[number + 1], minlength=len(level.keys))
        opening = np.arange(size) == START_ID
        for above in levels[1 : number + 1]:
            opening = opening[above.keys // size]
        adjusted[opening] = level.counts[opening]
    if number == 0:
        adjusted[START_ID] = 0  # it begins sentences and follows nothing
    return adjusted


def _limits(prune: Sequence[int], order: int) -> list[int]:
    given = list(prune) or [0]
    limits = (given + [given[-1]] * order)[:order]
    if limits[0] or limits != sorted(limits):
        raise ConfigError(
            f"prune = {given}: the thresholds start with 0 for unigrams and never fall, like 0 0 1"
        )
    return limits
