"""The language model against the textbook over dictionaries, enumeration, and kenlm's lmplz."""

import math
import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from auricle.lm import NgramModel, build, smoothing
from auricle.lm.counting import count
from auricle.lm.pruning import prune_by_entropy, renormalise
from auricle.lm.smoothing import kneser_ney
from auricle.lm.trie import Tables, freeze, keep, thaw

Gram = tuple[str, ...]


def sentences(number: int, vocabulary: int, seed: int) -> list[str]:
    """Sentences of words that follow each other by habit, some words much commoner than others."""
    rng = random.Random(seed)
    words = [f"w{i}" for i in range(vocabulary)]
    habits = {word: [words[rng.randrange(vocabulary)] for _ in range(6)] for word in words}
    made = []
    for _ in range(number):
        sentence = [words[int(vocabulary * rng.random() ** 3)]]
        while len(sentence) < 12 and rng.random() < 0.85:
            common = words[int(vocabulary * rng.random() ** 3)]
            sentence.append([*habits[sentence[-1]], common][rng.randrange(7)])
        made.append(" ".join(sentence))
    return made


class Textbook:
    """Modified Kneser-Ney after Chen & Goodman 1998 and Heafield et al. 2013, one n-gram a time."""

    def __init__(self, text: Sequence[str], order: int, limits: Sequence[int]) -> None:
        self.raw: Counter[Gram] = Counter()
        for sentence in text:
            words = ("<s>", *sentence.split(), "</s>")
            for n in range(1, order + 1):
                self.raw.update(words[i : i + n] for i in range(len(words) - n + 1))
        before = defaultdict(set)
        for gram in self.raw:
            before[gram[1:]].add(gram[0])
        self.adjusted = {
            gram: seen if len(gram) == order or gram[0] == "<s>" else len(before[gram])
            for gram, seen in self.raw.items()
            if gram != ("<s>",)
        }
        self.kept = {gram for gram, seen in self.raw.items() if seen > limits[len(gram) - 1]}
        self.discounts = [self._discounts(n) for n in range(1, order + 1)]
        self.followers: defaultdict[Gram, list[Gram]] = defaultdict(list)
        for gram in self.adjusted:
            self.followers[gram[:-1]].append(gram)
        self.vocabulary = {gram[0] for gram in self.raw if len(gram) == 1} - {"<s>"} | {"<unk>"}

    def _discounts(self, n: int) -> list[float]:
        counts = Counter(a for gram, a in self.adjusted.items() if len(gram) == n)
        if not (counts[1] and counts[2] and counts[3]):
            return [0.0, 0.5, 1.0, 1.5]
        y = counts[1] / (counts[1] + 2 * counts[2])
        found = [0.0, *(i - (i + 1) * y * counts[i + 1] / counts[i] for i in (1, 2, 3))]
        return found if min(found) >= 0.0 else [0.0, 0.5, 1.0, 1.5]

    def discount(self, gram: Gram) -> float:
        return self.discounts[len(gram) - 1][min(self.adjusted[gram], 3)]

    def total(self, history: Gram) -> int:
        return sum(self.adjusted[gram] for gram in self.followers[history])

    def gamma(self, history: Gram) -> float:
        """What goes to the lower order: discounts, and all of what was pruned."""
        freed = sum(
            self.discount(gram) if gram in self.kept else self.adjusted[gram]
            for gram in self.followers[history]
        )
        return freed / self.total(history) if self.followers[history] else 1.0

    def prob(self, history: Gram, word: str) -> float:
        gram = (*history, word)
        own = 0.0
        if gram in self.adjusted and (gram in self.kept or len(gram) == 1):
            own = (self.adjusted[gram] - self.discount(gram)) / self.total(history)
        if not history:
            return own + self.gamma(()) / len(self.vocabulary)
        return own + self.gamma(history) * self.prob(history[1:], word)


@pytest.mark.parametrize("limits", [(0, 0, 0, 0), (0, 0, 1, 1), (0, 1, 2, 3)])
@pytest.mark.parametrize(("number", "vocabulary"), [(300, 60), (4, 3)])
def test_probabilities_are_the_textbook_s(
    number: int, vocabulary: int, limits: tuple[int, ...]
) -> None:
    text = sentences(number, vocabulary, seed=3)
    for order in (1, 2, 3, 4):
        book, model = Textbook(text, order, limits), build(text, order, prune=limits)
        grams = sorted(gram for gram in book.raw if len(gram) > 1 or gram != ("<s>",))
        rng = random.Random(0)
        words = sorted(book.vocabulary)
        asked = [*rng.sample(grams, min(150, len(grams)))]
        asked += [(*gram[:-1], words[rng.randrange(len(words))]) for gram in asked]
        for gram in asked:
            if gram[-1] != "<s>" and "</s>" not in gram[:-1]:
                assert answer(model, gram) == pytest.approx(
                    book.prob(gram[:-1], gram[-1]), rel=1e-5
                )


def answer(model: NgramModel, gram: Gram) -> float:
    state = np.array([model.empty])
    for word in gram:
        log_prob, state = model.advance(state, model.word_ids([word]))
    return math.exp(float(log_prob[0]))


def distribution(model: NgramModel, history: Sequence[str]) -> np.ndarray:
    """p(. | history), (V,)."""
    state = np.array([model.empty])
    for word in model.word_ids(history):
        _, state = model.advance(state, np.array([word]))
    size = len(model.symbols)
    probs = np.exp(model.advance(np.repeat(state, size), np.arange(size))[0].astype(float))
    probs[1] = 0.0  # <s>
    return probs


def test_entropy_pruning_measures_what_it_costs() -> None:
    """Drop one trigram, renormalise, and compare the two distributions over all words."""
    counts = count(sentences(60, 12, seed=1), 3)
    tables = kneser_ney(counts)
    whole = freeze(tables)
    total = counts.levels[0].counts.sum()
    rows, seen = tables.rows(3), np.array(counts.levels[1].counts)
    for at in range(0, len(rows), 7):
        *history, _ = (whole.symbols[i] for i in rows[at])
        masks = [np.ones(len(level.keys), bool) for level in tables.levels]
        masks[2][at] = False
        without = freeze(renormalise(keep(tables, masks)))
        p, q = distribution(whole, history), distribution(without, history)
        nats = float(np.sum(p[p > 0] * np.log(p[p > 0] / q[p > 0])))
        cost = math.expm1(nats * seen[tables.levels[2].keys[at] // tables.vocabulary] / total)
        assert (rows[at].tolist() in kept(tables, cost * 0.99)) is True
        assert (rows[at].tolist() in kept(tables, cost * 1.01)) is False


def kept(tables: Tables, threshold: float) -> list[list[int]]:
    rows: list[list[int]] = prune_by_entropy(tables, threshold).rows(3).tolist()
    return rows


@dataclass(frozen=True)
class Golden:
    """What kenlm's `lmplz -o ORDER --prune ... --discount_fallback` (0.3.0) made of a text."""

    limits: tuple[int, ...]
    discounts: list[list[float]]  # that it printed
    counts: tuple[int, ...]
    sums: list[tuple[float, float]]  # of the log10 probabilities and back-offs of every order
    lines: list[str]  # some of the ARPA file


UNPRUNED = Golden(
    limits=(0,),
    discounts=[[0.5, 1.0, 1.5], [0.463511, 0.936652, 2.14429], [0.722376, 1.55795, 1.94286]],
    counts=(63, 604, 1315),
    sums=[(-115.6430, -18.1182), (-791.2469, -76.5186), (-1076.0319, 0.0)],
    lines=[
        "-2.6120076\t<unk>\t0",
        "-1.0685184\tw47 w43\t-0.14123687",
        "-1.4631677\t<s> w9\t-0.14734992",
        "-1.2952766\tw27 w18\t-0.14123687",
        "-0.54848784\t<s> w15 </s>",
        "-0.49333745\tw11 w52 w17",
        "-0.9884876\tw55 w40 w40",
        "-1.1680079\t<s> w8 w30",
    ],
)
PRUNED = Golden(
    limits=(0, 1, 2),
    discounts=[*UNPRUNED.discounts[:2], [0.752262, 1.48018, 2.41287], [0.932423, 1.52387, 2.53379]],
    counts=(63, 388, 68, 9),
    sums=[(-115.6430, -13.7386), (-466.3129, -2.6222), (-57.4801, -0.3556), (-6.5392, 0.0)],
    lines=[
        "-1.8279635\tw53\t-0.19864859",
        "-0.98854846\tw36 </s>\t0",
        "-1.2459706\tw57 w12\t0",
        "-0.9339783\tw2 w53\t-0.033103663",
        "-1.1573079\tw2 w16\t0",
        "-0.61590856\t<s> w4 w40\t0",
    ],
)


@pytest.mark.parametrize("golden", [UNPRUNED, PRUNED], ids=["unpruned", "pruned"])
def test_models_are_those_of_lmplz(golden: Golden, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its discounts, for lmplz takes one n-gram of each lower order, the last that it writes,
    at its full instead of its adjusted count when it counts counts. On a text this small that one
    shows: here a bigram, in D2 and D3.
    """
    text, order = sentences(300, 60, seed=3), len(golden.counts)
    given = iter(golden.discounts)
    ours: list[list[float]] = []

    def those_of_lmplz(adjusted: np.ndarray) -> np.ndarray:
        ours.append(discounts(adjusted)[1:].tolist())
        return np.array([0.0, *next(given)])

    discounts = smoothing.discounts
    monkeypatch.setattr(smoothing, "discounts", those_of_lmplz)
    tables = thaw(build(text, order, prune=golden.limits))
    for k, theirs in enumerate(golden.discounts):
        assert ours[k] == pytest.approx(theirs, rel=0.015 if k == 1 else 1e-5)
    assert tuple(len(level.keys) for level in tables.levels) == golden.counts
    for level, (log_prob, backoff) in zip(tables.levels, golden.sums, strict=True):
        assert level.log_prob.sum() / math.log(10) == pytest.approx(log_prob, rel=1e-6, abs=1e-3)
        assert level.backoff.sum() / math.log(10) == pytest.approx(backoff, rel=1e-6, abs=1e-3)
    found = listed(tables)
    for line in golden.lines:
        log_prob, words, *backoff = line.split("\t")
        expected = float(log_prob), float(*backoff)
        assert found[tuple(words.split())] == pytest.approx(expected, abs=1e-5)


def listed(tables: Tables) -> dict[Gram, tuple[float, float]]:
    """log10 probability and back-off of every n-gram."""
    found: dict[Gram, tuple[float, float]] = {}
    for order, level in enumerate(tables.levels, start=1):
        values = np.stack([level.log_prob, level.backoff], axis=1) / math.log(10)
        for row, pair in zip(tables.rows(order), values, strict=True):
            found[tuple(tables.symbols[i] for i in row)] = (float(pair[0]), float(pair[1]))
    return found
