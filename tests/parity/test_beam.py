"""The beam search against sums over all paths, and against a prefix search with dictionaries.

Both references are written for clarity alone. A beam that keeps every prefix must give what the sum
over all paths gives; a narrow one what the dictionaries give.
"""

import itertools
import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from auricle.decode import BeamDecoder, BeamSettings, Hypothesis, Lexicon
from auricle.text import BLANK, CharTokenizer, PhonemeTokenizer, Tokenizer

CHARS = CharTokenizer((BLANK, " ", "a", "b"))
EXACT = BeamSettings(
    beam=1_000_000, token_prune=1000, score_prune=1e6, skip_blank=1.0, nbest=10_000
)


class BigramModel:
    """A model of `tests`: every pair of words has a probability drawn at random."""

    def __init__(self, words: Sequence[str], seed: int = 0) -> None:
        self.symbols = ("<unk>", "<s>", "</s>", *words)
        self.start, self.empty = 1, len(self.symbols)
        rng = np.random.default_rng(seed)
        table = rng.dirichlet(np.full(len(self.symbols), 0.5), len(self.symbols) + 1)
        self.table = np.log(table + 1e-3).astype(np.float32)

    def word_ids(self, words: Sequence[str]) -> NDArray[np.int64]:
        ids = {word: id_ for id_, word in enumerate(self.symbols)}
        return np.array([ids.get(word, 0) for word in words], np.int64)

    def advance(
        self, states: NDArray[np.int64], words: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        return self.table[states, words], np.asarray(words)

    def score(self, words: Sequence[str], settings: BeamSettings, *, spelt: bool = False) -> float:
        """What a sentence is worth, as the definition says; `spelt` if unknown words may be any."""
        ids = [1, *self.word_ids(words).tolist(), 2]
        worth = sum(float(self.table[pair]) for pair in itertools.pairwise(ids)) * settings.alpha
        unknown = [word for word, id_ in zip(words, ids[1:], strict=False) if id_ == 0]
        letters = sum(map(len, unknown)) if spelt else 0
        worth += settings.beta * len(words) + settings.unknown * len(unknown)
        return worth + settings.unknown_letter * letters


def emissions(rng: np.random.Generator, frames: int, symbols: int = 4) -> NDArray[np.float32]:
    return np.log(rng.dirichlet(np.full(symbols, 0.5), frames) + 1e-6).astype(np.float32)


def over_all_paths(log_probs: NDArray[Any]) -> dict[tuple[int, ...], float]:
    """The log probability of every prefix: the sum over V ** T paths."""
    frames, symbols = log_probs.shape
    masses: dict[tuple[int, ...], float] = defaultdict(float)
    for path in itertools.product(range(symbols), repeat=frames):
        collapsed = tuple(id_ for id_, _ in itertools.groupby(path) if id_)
        masses[collapsed] += math.exp(sum(float(log_probs[t, c]) for t, c in enumerate(path)))
    return {prefix: math.log(mass) for prefix, mass in masses.items()}


def with_dictionaries(log_probs: NDArray[Any], beam: int) -> dict[tuple[int, ...], float]:
    """Hannun et al. (2014), algorithm 1, without a language model."""
    masses = {(): (1.0, 0.0)}
    for frame in np.exp(log_probs.astype(np.float64)):
        following: dict[tuple[int, ...], list[float]] = defaultdict(lambda: [0.0, 0.0])
        for prefix, (blank, spoken) in masses.items():
            following[prefix][0] += frame[0] * (blank + spoken)
            for symbol in range(1, len(frame)):
                if prefix and symbol == prefix[-1]:
                    following[prefix][1] += frame[symbol] * spoken
                    following[(*prefix, symbol)][1] += frame[symbol] * blank
                else:
                    following[(*prefix, symbol)][1] += frame[symbol] * (blank + spoken)
        ranked = sorted(following.items(), key=lambda item: -sum(item[1]))[:beam]
        masses = {prefix: (blank, spoken) for prefix, (blank, spoken) in ranked}
    return {prefix: math.log(sum(mass)) for prefix, mass in masses.items()}


def by_words(
    scores: dict[tuple[int, ...], float], tokenizer: Tokenizer
) -> dict[tuple[str, ...], float]:
    """The best prefix of every sequence of words."""
    best: dict[tuple[str, ...], float] = {}
    for prefix, score in scores.items():
        words = tuple(tokenizer.decode(prefix).split())
        best[words] = max(score, best.get(words, -math.inf))
    return best


def agree(found: Sequence[Hypothesis], wanted: dict[tuple[str, ...], float]) -> None:
    assert {hypothesis.words for hypothesis in found} == wanted.keys()
    for hypothesis in found:
        assert hypothesis.score == pytest.approx(wanted[hypothesis.words], abs=1e-4)
        assert hypothesis.score == pytest.approx(hypothesis.acoustic + hypothesis.lm)
    assert [h.score for h in found] == sorted((h.score for h in found), reverse=True)


@pytest.mark.parametrize("frames", [1, 2, 6])
def test_an_endless_beam_sums_over_all_paths(rng: np.random.Generator, frames: int) -> None:
    for _ in range(3):
        log_probs = emissions(rng, frames)
        found = BeamDecoder(CHARS, EXACT).decode(log_probs)
        agree(found, by_words(over_all_paths(log_probs), CHARS))
        assert sum(hypothesis.confidence for hypothesis in found) <= 1 + 1e-9


@pytest.mark.parametrize("look_ahead", [True, False])
def test_an_endless_beam_with_a_language_model(rng: np.random.Generator, look_ahead: bool) -> None:
    settings = EXACT.model_copy(update={"alpha": 0.7, "beta": 0.4, "look_ahead": look_ahead})
    lm = BigramModel(["a", "ab", "bb", "aba"])
    for _ in range(3):
        log_probs = emissions(rng, 5)
        masses = over_all_paths(log_probs)
        scores = {
            p: m + lm.score(CHARS.decode(p).split(), settings, spelt=True)
            for p, m in masses.items()
        }
        agree(BeamDecoder(CHARS, settings, lm=lm).decode(log_probs), by_words(scores, CHARS))


def test_an_endless_beam_in_a_closed_vocabulary(rng: np.random.Generator) -> None:
    words = ["a", "ab", "bb", "ba"]
    lm = BigramModel(["a", "ab", "bb"])  # "ba" is unknown to it
    for _ in range(3):
        log_probs = emissions(rng, 5)
        scores = {
            prefix: mass + lm.score(spelt, EXACT)
            for prefix, mass in over_all_paths(log_probs).items()
            if set(spelt := CHARS.decode(prefix).split()) <= set(words)
        }
        decoder = BeamDecoder(CHARS, EXACT, lm=lm, lexicon=Lexicon.of(words))
        agree(decoder.decode(log_probs), by_words(scores, CHARS))


def test_pronunciations_and_words_that_sound_alike(rng: np.random.Generator) -> None:
    sounds = {"see": ["S I"], "sea": ["S I"], "is": ["I S", "I"], "miss": ["S"]}
    tokenizer = PhonemeTokenizer((BLANK, " ", "I", "S"), {})
    pairs = [(word, tuple(each.split())) for word, all_ in sounds.items() for each in all_]
    lexicon = Lexicon(*zip(*pairs, strict=True))  # type: ignore[arg-type]
    lm = BigramModel(list(sounds))
    drawn = [emissions(rng, 5) for _ in range(3)]
    slow = [[1, 1, 1, 9], [1, 1, 9, 1], [5, 6, 1, 1], [6, 5, 1, 1], [1, 1, 1, 9]]  # S I _ S
    for log_probs in (*drawn, np.log(np.array(slow) / 13)):
        best: dict[tuple[str, ...], float] = {}
        for prefix, mass in over_all_paths(log_probs).items():
            spelt = "".join("_ IS"[id_] for id_ in prefix).split()
            heard = [[w for w, s in pairs if "".join(s) == each] for each in spelt]
            for words in itertools.product(*heard):
                score = mass + lm.score(words, EXACT)
                best[words] = max(score, best.get(words, -math.inf))
        decoder = BeamDecoder(tokenizer, EXACT, lm=lm, lexicon=lexicon)
        agree(decoder.decode(log_probs), best)
        prefixes = decoder.step(decoder.start(), log_probs).search.rows["prefix"]
        assert len(np.unique(prefixes)) == len(prefixes)


@pytest.mark.parametrize("beam", [1, 2, 3, 7, 20])
def test_a_narrow_beam_keeps_what_dictionaries_keep(rng: np.random.Generator, beam: int) -> None:
    settings = EXACT.model_copy(update={"beam": beam})
    for _ in range(10):
        log_probs = emissions(rng, 25)
        wanted = by_words(with_dictionaries(log_probs, beam), CHARS)
        agree(BeamDecoder(CHARS, settings).decode(log_probs), wanted)
