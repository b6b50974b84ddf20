"""How surely a word was heard: what is known of it, what is learned from right and wrong ones."""

import math

import numpy as np
import pytest

from auricle.decode import Calibration, Spelt, Token, fit_calibration, word_features
from auricle.decode.confidence import FEATURES, LEAST
from auricle.errors import ConfigError
from tones import unigrams


def word(text: str, start: int, *log_probs: float, frames: int = 2) -> Spelt:
    tokens = (
        Token(1, start + n * frames, start + (n + 1) * frames, p) for n, p in enumerate(log_probs)
    )
    return Spelt(text, tuple(tokens))


UTTERANCES = [
    [word("ab", 0, -0.5, -1.5), word("c", 9, -2.0)],
    [],
    [word("zz", 3, -0.1, -0.3, frames=3)],
]
ACOUSTIC = [-9.0, -4.0, -1.0]


def test_what_is_known_of_words() -> None:
    lm = unigrams({"ab": -1.0, "c": -2.0})
    known = word_features(UTTERANCES, ACOUSTIC, lm)
    columns = dict(zip(FEATURES, known.T.tolist(), strict=True))
    assert columns["sound"] == pytest.approx([-1.0, -2.0, -0.2])
    assert columns["weakest"] == pytest.approx([-1.5, -2.0, -0.3])
    assert columns["utterance"] == pytest.approx([-3.0, -3.0, -0.5])
    assert columns["unigram"] == pytest.approx([x * math.log(10) for x in (-1.0, -2.0, -3.0)])
    assert columns["language"] == columns["unigram"]
    assert columns["unknown"] == [0.0, 0.0, 1.0]
    assert columns["length"] == pytest.approx([math.log(2), 0.0, math.log(2)])
    assert columns["pace"] == pytest.approx([math.log(2), math.log(2), math.log(3)])


def test_the_language_model_is_asked_word_by_word() -> None:
    """As `score` asks it, though of all utterances at once."""
    from auricle.lm import build

    sentences = ["ab c ab", "c ab", "c zz ab c", "ab"]
    lm = build(sentences, 3)
    utterances = [[word(text, 0, -1.0) for text in each.split()] for each in ["c ab c", "ab", "c"]]
    known = word_features(utterances, [-1.0] * 3, lm)
    wanted = [p for each in utterances for p in lm.score([w.text for w in each])[:-1]]
    assert known[:, FEATURES.index("language")] == pytest.approx(wanted)
    alone = word_features(utterances, [-1.0] * 3, None)
    assert not alone[:, 3:6].any()
    assert word_features([[], []], [0.0, 0.0], lm).shape == (0, len(FEATURES))


def test_an_impossible_word_is_very_unlikely() -> None:
    known = word_features([[word("ab", 0, -1.0)]], [-1.0], unigrams({"ab": -300.0}))
    assert known[0, FEATURES.index("language")] == LEAST


def test_fitting_finds_what_made_the_words_right(rng: np.random.Generator) -> None:
    known = rng.normal(0.0, 2.0, (20_000, len(FEATURES)))
    known[:, 5] = 3.0  # one that never varies
    truth = np.array([1.0, -0.5, 0.0, 0.8, 0.0, 0.0, 0.0, -0.3])
    odds = known @ truth + 0.7
    right = rng.random(len(odds)) < 1.0 / (1.0 + np.exp(-odds))
    found = fit_calibration(known, right)
    assert [found.weights[name] for name in FEATURES] == pytest.approx(truth, abs=0.06)
    assert found.bias == pytest.approx(0.7, abs=0.06)
    assert found(known).mean() == pytest.approx(right.mean(), abs=1e-6)
    assert Calibration.parse(found.to_dict()) == found


def test_few_words_do_not_make_certainty() -> None:
    known = np.zeros((6, len(FEATURES)))
    known[:, 0] = [0, 1, 2, 3, 4, 5]
    found = fit_calibration(known, known[:, 0] > 2)(known)
    assert np.all(np.diff(found) > 0)
    assert 0.01 < found.min() < 0.3
    assert 0.7 < found.max() < 0.99


@pytest.mark.parametrize(
    ("weights", "bias"),
    [
        ({"sound": 1.0}, 0.0),
        (dict.fromkeys(FEATURES, 0.0) | {"smell": 1.0}, 0.0),
        (dict.fromkeys(FEATURES, 1e300), 0.0),
        (dict.fromkeys(FEATURES, 0.0), math.inf),
    ],
)
def test_what_is_no_calibration_is_refused(weights: dict[str, float], bias: float) -> None:
    with pytest.raises(ConfigError):
        Calibration.parse({"weights": weights, "bias": bias})
