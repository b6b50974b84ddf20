from itertools import groupby

import numpy as np
import pytest

from auricle.decode import Token, assemble, ctc_greedy, spell
from auricle.results import Word
from auricle.text import BLANK, BpeTokenizer, CharTokenizer

CHARS = CharTokenizer((BLANK, " ", "a", "b"))


def along(path: list[int], symbols: int = 4, probability: float = 0.7) -> np.ndarray:
    """Log probabilities, (T, V), whose best path is `path`."""
    rest = (1 - probability) / (symbols - 1)
    log_probs = np.full((len(path), symbols), np.log(rest), np.float32)
    log_probs[np.arange(len(path)), path] = np.log(probability)
    return log_probs


@pytest.mark.parametrize("blank", [0, 3])
def test_greedy_is_repeats_collapsed_then_blanks_dropped(
    rng: np.random.Generator, blank: int
) -> None:
    for frames in range(40):
        log_probs = np.log(rng.dirichlet(np.full(4, 0.3), size=frames).reshape(frames, 4) + 1e-9)
        path = log_probs.argmax(axis=1).tolist() if frames else []
        tokens = ctc_greedy(log_probs, blank=blank)
        assert [token.id for token in tokens] == [id_ for id_, _ in groupby(path) if id_ != blank]
        for token in tokens:
            heard = slice(token.start_frame, token.end_frame)
            assert path[heard] == [token.id] * (token.end_frame - token.start_frame)
            assert token.log_prob == log_probs[heard, token.id].max()


def test_a_token_knows_its_frames_and_its_surest_one() -> None:
    log_probs = along([0, 2, 2, 0, 2, 3])
    log_probs[2, 2] = np.log(0.9)
    first, second, third = ctc_greedy(log_probs)
    assert first == Token(2, 1, 3, pytest.approx(np.log(0.9)))
    assert (second.start_frame, second.end_frame) == (4, 5)
    assert third == Token(3, 5, 6, pytest.approx(np.log(0.7)))


def test_words_have_times_and_confidence() -> None:
    #                       a  a  .  b  _  .  .  b  .
    tokens = ctc_greedy(along([2, 2, 0, 3, 1, 0, 0, 3, 0]))
    first, second = spell(tokens, CHARS, seconds_per_frame=0.04, start_s=10.0)
    assert first == Word("ab", 10.0, pytest.approx(10.16), pytest.approx(0.7))
    assert second == Word("b", pytest.approx(10.28), pytest.approx(10.32), pytest.approx(0.7))


def test_confidence_is_the_geometric_mean_of_the_letters() -> None:
    tokens = [Token(2, 0, 1, np.log(0.9)), Token(3, 1, 2, np.log(0.4))]
    (word,) = spell(tokens, CHARS, 0.01)
    assert word.confidence == pytest.approx(0.6)


def test_separators_make_no_words_of_their_own() -> None:
    tokens = ctc_greedy(along([1, 0, 1, 2, 1, 0, 1, 3, 1]))
    assert [word.text for word in spell(tokens, CHARS, 0.01)] == ["a", "b"]
    assert spell(ctc_greedy(along([1, 0, 1])), CHARS, 0.01) == []


def test_pieces_that_begin_words_cut_them() -> None:
    pieces = BpeTokenizer((BLANK, "\u2581a", "b", "\u2581"), model=b"")
    tokens = [Token(id_, frame, frame + 1, -0.1) for frame, id_ in enumerate([2, 1, 2, 3, 3, 2, 1])]
    words = spell(tokens, pieces, 1.0)
    assert [(word.text, word.start_s, word.end_s) for word in words] == [
        ("b", 0.0, 1.0),
        ("ab", 1.0, 3.0),
        ("b", 4.0, 6.0),  # a lone word mark without letters is no word
        ("a", 6.0, 7.0),
    ]


def test_segments_end_at_pauses_and_before_they_grow_too_long() -> None:
    starts = [0.0, 0.5, 1.0, 3.0, 3.5, 4.0, 4.5]
    words = [Word(f"w{number}", start, start + 0.4, 0.5) for number, start in enumerate(starts)]
    transcript = assemble(words, 6.0, "en", pause_s=1.0, longest_s=1.5)
    assert [segment.text for segment in transcript.segments] == ["w0 w1 w2", "w3 w4 w5", "w6"]
    assert transcript.text == "w0 w1 w2 w3 w4 w5 w6"
    assert transcript.words == tuple(words)
    assert (transcript.duration_s, transcript.language) == (6.0, "en")
    assert assemble([], 2.0).segments == ()
