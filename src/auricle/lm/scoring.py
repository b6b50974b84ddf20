"""How well a model foretells a text."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from auricle.lm.model import END_ID, UNKNOWN_ID, NgramModel
from auricle.lm.trie import Ids, Reals

_BATCH = 4096  # sentences read side by side


@dataclass(frozen=True)
class Perplexity:
    """Sums over a text; every sentence end counts as a word, a blank line as nothing."""

    sentences: int
    words: int  # sentence ends included
    unknown: int  # words outside the vocabulary
    log_prob: float  # natural, of everything
    unknown_log_prob: float

    @property
    def value(self) -> float:
        """exp(-log_prob / words), unknown words at the price of `<unk>`."""
        return math.exp(-self.log_prob / max(self.words, 1))

    @property
    def value_known(self) -> float:
        """The same over the known words only."""
        known = max(self.words - self.unknown, 1)
        return math.exp((self.unknown_log_prob - self.log_prob) / known)

    @property
    def unknown_rate(self) -> float:
        """Unknown words among all, sentence ends left out."""
        return self.unknown / max(self.words - self.sentences, 1)


def perplexity(model: NgramModel, sentences: Iterable[str]) -> Perplexity:
    """Score a text, one normalised sentence a string."""
    count = words = unknown = 0
    log_prob = unknown_log_prob = 0.0
    cut = filter(None, map(model.split, sentences))
    while batch := list(islice(cut, _BATCH)):
        for ids, scores in score_batch(model, batch):
            strange = ids == UNKNOWN_ID
            words += len(ids)
            unknown += int(strange.sum())
            log_prob += float(scores.sum())
            unknown_log_prob += float(scores[strange].sum())
        count += len(batch)
    return Perplexity(count, words, unknown, log_prob, unknown_log_prob)


def score_batch(
    model: NgramModel, sentences: Sequence[Sequence[str]]
) -> Iterator[tuple[Ids, Reals]]:
    """Ids and natural log probabilities of the words of each sentence, its end included.

    All sentences are read at once, one word of each at a time; the longest come first.
    """
    by_length = sorted((model.word_ids(sentence) for sentence in sentences), key=len, reverse=True)
    lengths = np.array([len(ids) + 1 for ids in by_length])
    grid = np.full((len(by_length), int(lengths[0])), END_ID)
    for row, ids in zip(grid, by_length, strict=True):
        row[: len(ids)] = ids
    scores = np.zeros(grid.shape)
    states = np.full(len(grid), model.start)
    for column in range(grid.shape[1]):
        reading = int(np.searchsorted(-lengths, -column))  # so many are longer than `column`
        scores[:reading, column], states = model.advance(states[:reading], grid[:reading, column])
    return ((grid[i, :n], scores[i, :n]) for i, n in enumerate(lengths))
