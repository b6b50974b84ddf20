"""Entropy pruning (Stolcke 1998): drop the n-grams that the model hardly needs.

Without its n-gram h w a model backs off, alpha'(h) p(w | h'), where h' is h without its first word.
That moves its distribution by the relative entropy

    D = -p(h) { p(w|h) [log p(w|h') + log alpha'(h) - log p(w|h)]
                + [log alpha'(h) - log alpha(h)] (1 - sum_x p(x|h)) },   x: the h x in the model
    alpha(h) = (1 - sum_x p(x|h)) / (1 - sum_x p(x|h'))

and its perplexity by the factor exp(D). The n-gram goes when exp(D) - 1 is below the threshold and
no longer n-gram that stays begins or ends with it.
"""

from dataclasses import replace

import numpy as np

from auricle.lm.model import END_ID, START_ID
from auricle.lm.trie import Ids, Level, Reals, Tables, freeze, keep, suffixes

_LEAST = 1e-9  # of a probability left over, which rounding may take below zero


def prune_by_entropy(tables: Tables, threshold: float) -> Tables:
    """Drop n-grams above order 1 whose loss raises the perplexity relatively by < `threshold`."""
    if threshold <= 0.0:
        return tables
    size = tables.vocabulary
    history = _history(tables)
    shorter = suffixes([level.keys for level in tables.levels], size)
    needed = [np.zeros(len(level.keys), bool) for level in tables.levels]
    needed[0][:] = True
    for k in range(len(tables.levels) - 1, 0, -1):
        level = tables.levels[k]
        loss = _relative_entropy(level, lower_order(tables, k), history[k - 1], size)
        needed[k] |= np.expm1(loss) >= threshold
        needed[k - 1][(level.keys // size)[needed[k]]] = True
        ends = shorter[k][needed[k]]
        needed[k - 1][ends[ends >= 0]] = True
    return renormalise(keep(tables, needed))


def renormalise(tables: Tables) -> Tables:
    """The tables with the back-offs that make the probabilities after every context sum to 1."""
    levels = [tables.levels[0]]
    for k, level in enumerate(tables.levels[1:], start=1):
        lower = lower_order(Tables(tables.symbols, tables.unit, (*levels, level)), k)
        parents = level.keys // tables.vocabulary
        left, left_lower = _left(parents, level.log_prob, lower, len(levels[-1].keys))
        levels[-1] = replace(levels[-1], backoff=np.log(left / left_lower))
        levels.append(level)
    return Tables(tables.symbols, tables.unit, tuple(levels))


def lower_order(tables: Tables, k: int) -> Reals:
    """(n,) log p(w | h') of every n-gram h w of the level `k`, of order k + 1."""
    parents, words = np.divmod(tables.levels[k].keys, tables.vocabulary)
    model = freeze(Tables(tables.symbols, tables.unit, tables.levels[:k]))
    begin = 1 + sum(model.counts[:-1])
    log_prob, _ = model.advance(model.link[begin + parents].astype(np.int64), words)
    return log_prob.astype(np.float64)


def _relative_entropy(level: Level, lower: Reals, history: Reals, size: int) -> Reals:
    """(n,) D of every n-gram of a level."""
    parents = level.keys // size
    left, left_lower = _left(parents, level.log_prob, lower, len(history))
    log_alpha = np.log(left / left_lower)[parents]
    prob = np.exp(level.log_prob)
    log_alpha_without = np.log((left[parents] + prob) / (left_lower[parents] + np.exp(lower)))
    change = prob * (lower + log_alpha_without - level.log_prob)
    change += (log_alpha_without - log_alpha) * left[parents]
    return -np.exp(history[parents]) * change


def _left(parents: Ids, log_prob: Reals, lower: Reals, contexts: int) -> tuple[Reals, Reals]:
    """What the words after each context leave of 1, by their own and by the lower order."""
    own = 1.0 - np.bincount(parents, np.exp(log_prob), minlength=contexts)
    below = 1.0 - np.bincount(parents, np.exp(lower), minlength=contexts)
    return np.maximum(own, _LEAST), np.maximum(below, _LEAST)


def _history(tables: Tables) -> list[Reals]:
    """Log probability of every n-gram of every order: as it was seen, else by the chain rule.

    The unigrams of a Kneser-Ney model say after how many words a word is found, not how often
    (Chelba et al. 2010): with the chain rule the pruned model is twice as large for the same
    perplexity.
    """
    first = np.array(tables.levels[0].log_prob)
    first[START_ID] = first[END_ID]  # as many sentences begin as end
    history: list[Reals] = []
    for level in tables.levels:
        before = history[-1][level.keys // tables.vocabulary] + level.log_prob if history else first
        history.append(before if level.seen is None else level.seen)
    return history
