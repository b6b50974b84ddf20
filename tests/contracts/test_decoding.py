"""What every beam search keeps: neighbours, chunks and sure blanks change no answer."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from auricle.decode import BeamDecoder, BeamSettings, Hypothesis, Lexicon
from auricle.text import BLANK, CharTokenizer

LETTERS = CharTokenizer((BLANK, " ", *"abcdef"))
WORDS = ("a", "abba", "bad", "cab", "dab", "fed", "face", "deaf", "cafe", "bead", "dead", "ebb")


class Trigrams:
    """A language model of `tests`: the probability of a word hangs on the two words before it."""

    symbols = ("<unk>", "<s>", "</s>", *WORDS)
    start, empty = 1, 0

    def word_ids(self, words: Sequence[str]) -> NDArray[np.int64]:
        ids = {word: id_ for id_, word in enumerate(self.symbols)}
        return np.array([ids.get(word, 0) for word in words], np.int64)

    def advance(
        self, states: NDArray[np.int64], words: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        log_probs = -1.0 - (states * 7919 + words * 104729) % 1009 / 200.0
        return log_probs.astype(np.float32), states % 16 * 16 + words


SETTINGS = BeamSettings(beam=12, alpha=0.6, nbest=3)
DECODERS = {
    "alone": BeamDecoder(LETTERS, SETTINGS),
    "model": BeamDecoder(LETTERS, SETTINGS, lm=Trigrams()),
    "closed": BeamDecoder(LETTERS, SETTINGS, lm=Trigrams(), lexicon=Lexicon.of(WORDS)),
    "hotwords": BeamDecoder(LETTERS, SETTINGS, lm=Trigrams(), hotwords=["fade", "bad"]),
}


def emissions(rng: np.random.Generator, frames: int) -> NDArray[np.float32]:
    """Nine frames of ten are blanks, most of them for sure; letters are in doubt."""
    logits = rng.normal(0.0, 2.0, (frames, len(LETTERS.symbols)))
    logits[:, 0] += np.where(rng.random(frames) < 0.4, 0.0, rng.uniform(5.0, 20.0, frames))
    logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return logits.astype(np.float32)


@pytest.fixture(params=DECODERS)
def decoder(request: pytest.FixtureRequest) -> BeamDecoder:
    return DECODERS[request.param]


def test_neighbours_change_nothing(decoder: BeamDecoder, rng: np.random.Generator) -> None:
    utterances = [emissions(rng, frames) for frames in (*rng.integers(1, 40, 34), 0, 1)]
    utterances.insert(3, np.full((9, 8), -math.log(8.0), np.float32))  # all equal: ties everywhere
    alone = [decoder.decode(each) for each in utterances]
    assert decoder.decode_many(utterances) == alone
    assert decoder.decode_many(utterances[::-1]) == alone[::-1]


@pytest.mark.parametrize("chunk", [1, 7, 40])
def test_chunks_change_nothing(decoder: BeamDecoder, rng: np.random.Generator, chunk: int) -> None:
    for _ in range(2):
        log_probs = emissions(rng, 60)
        state = decoder.start()
        for at in range(0, len(log_probs), chunk):
            before, state = state, decoder.step(state, log_probs[at : at + chunk])
        assert_alike(decoder.finish(state), decoder.decode(log_probs))
        decoder.step(before, log_probs[:5])  # another way on changes nothing on this one
        assert_alike(decoder.finish(state), decoder.decode(log_probs))


def assert_alike(found: Sequence[Hypothesis], wanted: Sequence[Hypothesis]) -> None:
    """Equal, but for the order in which sums were rounded."""
    assert [(h.tokens, h.words) for h in found] == [(h.tokens, h.words) for h in wanted]
    assert [h.score for h in found] == pytest.approx([h.score for h in wanted])


def test_every_prefix_of_the_sound_has_its_answer(
    decoder: BeamDecoder, rng: np.random.Generator
) -> None:
    log_probs = emissions(rng, 25)
    state = decoder.start()
    for at in range(25):
        state = decoder.step(state, log_probs[at : at + 1])
        assert_alike(decoder.finish(state), decoder.decode(log_probs[: at + 1]))


def test_sure_blanks_change_nothing_beyond_their_bound(rng: np.random.Generator) -> None:
    """The sum of |P(h) - Q(h)| over all h is 1 - prod p(blank), over the frames left out."""
    small = CharTokenizer((BLANK, " ", "a"))
    for threshold in (0.6, 0.8, 0.95):
        logits = rng.normal(0.0, 1.0, (9, 3)) + np.outer(rng.uniform(0.0, 5.0, 9), [1, 0, 0])
        log_probs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        limits = {"beam": 100_000, "token_prune": 1000, "score_prune": 1e6}
        whole, skipped = (
            _final(BeamDecoder(small, BeamSettings(skip_blank=skip, **limits)), log_probs)
            for skip in (1.0, threshold)
        )
        gone = log_probs[log_probs[:, 0] >= math.log(threshold), 0]
        bound = 1 - math.exp(gone.sum())
        assert len(gone)
        difference = sum(abs(mass - skipped.get(h, 0.0)) for h, mass in whole.items())
        assert skipped.keys() <= whole.keys()
        assert 0 < difference == pytest.approx(bound, abs=1e-6)


def _final(decoder: BeamDecoder, log_probs: NDArray[np.float64]) -> dict[tuple[int, ...], float]:
    """The mass of every prefix of the final beam."""
    search = decoder.step(decoder.start(), log_probs)
    rows = search.search.rows
    totals = np.logaddexp(rows["blank"], rows["spoken"]) + search.skipped
    ids = [tuple(t.id for t in search.search.history.tokens(row)[0]) for row in rows]
    assert len(set(ids)) == len(ids)
    return dict(zip(ids, np.exp(totals).tolist(), strict=True))


@pytest.mark.parametrize("lm", [None, Trigrams()])
def test_sure_blanks_change_no_words(lm: Trigrams | None, rng: np.random.Generator) -> None:
    utterances = [emissions(rng, 60) for _ in range(12)]
    exact = BeamDecoder(LETTERS, SETTINGS.model_copy(update={"skip_blank": 1.0}), lm=lm)
    wanted = exact.decode_many(utterances)
    found = BeamDecoder(LETTERS, SETTINGS, lm=lm).decode_many(utterances)
    assert [h[0].words for h in found] == [h[0].words for h in wanted]
    assert [h[0].score for h in found] == pytest.approx([h[0].score for h in wanted], abs=0.05)
