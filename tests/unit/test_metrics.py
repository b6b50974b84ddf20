import json

import numpy as np
import pytest

from auricle.errors import DataError
from auricle.metrics import (
    Edit,
    ErrorCounts,
    align,
    calibration_error,
    cer,
    compare,
    confusions,
    reliability,
    right_words,
    score_transcripts,
    score_words,
    wer,
)

REFERENCES = ["the cat sat", "a dog", "", "the end"]
HYPOTHESES = ["the hat sat down", "a dog", "noise", ""]


def test_counts_are_kept_per_utterance_and_summed() -> None:
    counts = score_words(REFERENCES, HYPOTHESES)
    assert counts.rows.tolist() == [[2, 1, 0, 1], [2, 0, 0, 0], [0, 0, 0, 1], [0, 0, 2, 0]]
    assert (counts.hits, counts.substitutions, counts.deletions, counts.insertions) == (4, 1, 2, 2)
    assert (counts.errors, counts.reference, counts.rate) == (5, 7, 5 / 7)
    assert counts.rates.tolist() == [2 / 3, 0.0, 1.0, 1.0]


def test_nothing_to_score_is_no_error() -> None:
    assert wer([], []) == cer([""], [""]) == 0.0
    assert score_words([], []).rows.shape == (0, 4)
    assert wer([""], ["two words"]) == 2.0


def test_sides_of_different_length_are_refused() -> None:
    with pytest.raises(DataError, match="2 references, but 1 hypotheses"):
        wer(["a", "b"], ["a"])
    with pytest.raises(DataError, match="1 values to group 4"):
        score_words(REFERENCES, HYPOTHESES).by(["x"])


def test_an_alignment_holds_every_word_of_both_sides() -> None:
    edits = align("the cat sat".split(), "the hat sat down".split())
    assert edits == [
        Edit("hit", "the", "the"),
        Edit("substitution", "cat", "hat"),
        Edit("hit", "sat", "sat"),
        Edit("insertion", None, "down"),
    ]
    assert align("ab", "b")[0] == Edit("deletion", "a", None)


def test_confusions_are_counted_the_commonest_first() -> None:
    found = confusions(["a cat", "a cat", "a cat sat"], ["a hat", "a hat", "a cat"])
    assert found == [(Edit("substitution", "cat", "hat"), 2), (Edit("deletion", "sat", None), 1)]
    assert len(confusions(REFERENCES, HYPOTHESES, most=1)) == 1


def corpus(utterances: int, rng: np.random.Generator) -> ErrorCounts:
    """Utterances of 5 to 20 words with about 10 % substitutions."""
    words = rng.integers(5, 21, utterances)
    wrong = rng.binomial(words, 0.1)
    nothing = np.zeros_like(words)
    return ErrorCounts(np.stack([words - wrong, wrong, nothing, nothing], axis=1))


def test_the_interval_equals_a_plain_bootstrap(rng: np.random.Generator) -> None:
    counts = corpus(300, rng)
    plain = []
    for _ in range(4000):
        drawn = counts.rows[rng.integers(0, 300, 300)]
        plain.append(drawn[:, 1].sum() / drawn[:, :2].sum())
    expected = np.quantile(plain, [0.05, 0.95])
    assert counts.interval(0.9, draws=4000) == pytest.approx(expected, abs=6e-4)


def test_the_interval_covers_the_true_rate_about_as_often_as_it_says(
    rng: np.random.Generator,
) -> None:
    intervals = [corpus(100, rng).interval(0.8, draws=300) for _ in range(200)]
    covered = sum(low <= 0.1 <= high for low, high in filter(None, intervals))
    assert 0.7 < covered / 200 < 0.9


def test_the_interval_is_seeded_and_needs_two_utterances(rng: np.random.Generator) -> None:
    counts = corpus(50, rng)
    assert counts.interval() == counts.interval() != counts.interval(seed=1)
    assert corpus(1, rng).interval() is None


def another(first: ErrorCounts, rng: np.random.Generator, mended: float) -> ErrorCounts:
    """A second system: of the first one's errors some go, and as many hits as 1 % become errors."""
    gone, new = rng.binomial(first.rows[:, 1], mended), rng.binomial(first.rows[:, 0], 0.01)
    move = new - gone
    return ErrorCounts(first.rows + np.stack([-move, move, 0 * move, 0 * move], axis=1))


def test_two_systems_compare_like_in_a_plain_paired_bootstrap(rng: np.random.Generator) -> None:
    first = corpus(200, rng)
    second = another(first, rng, 0.15)
    plain = []
    for _ in range(4000):
        drawn = rng.integers(0, 200, 200)
        words = first.rows[drawn, :2].sum()
        plain.append((second.rows[drawn, 1].sum() - first.rows[drawn, 1].sum()) / words)
    found = compare(first, second, 0.9, draws=4000)
    assert found
    assert found.change == second.rate - first.rate
    assert found.interval == pytest.approx(np.quantile(plain, [0.05, 0.95]), abs=6e-4)
    assert found.p_value == pytest.approx(2 * np.mean(np.array(plain) >= 0), abs=0.02)
    fewer = second.rows[:, 1] < first.rows[:, 1]
    more = second.rows[:, 1] > first.rows[:, 1]
    assert (found.better, found.worse) == (fewer.sum(), more.sum())
    assert found == compare(first, second, 0.9, draws=4000) != compare(first, second, 0.9, seed=1)


def test_a_comparison_turned_around_says_the_opposite(rng: np.random.Generator) -> None:
    first = corpus(100, rng)
    second = another(first, rng, 0.3)
    there, back = compare(first, second), compare(second, first)
    assert there
    assert back
    assert there.change == -back.change < 0
    assert there.p_value == pytest.approx(back.p_value, abs=0.02)
    assert (there.better, there.worse) == (back.worse, back.better)
    assert json.loads(json.dumps(there.to_dict()))["interval"] == list(there.interval)


def test_chance_alone_is_rarely_significant(rng: np.random.Generator) -> None:
    values = []
    first = corpus(150, rng)
    for _ in range(150):
        second = another(first, rng, 0.4)
        swap = rng.random(150)[:, None] < 0.5  # the names of the systems, utterance by utterance
        mixed = (np.where(swap, a.rows, b.rows) for a, b in ((first, second), (second, first)))
        found = compare(*map(ErrorCounts, mixed), draws=400)
        values.append(found.p_value if found else np.nan)
    assert 0.01 < np.mean(np.array(values) < 0.05) < 0.10
    assert 0.4 < np.mean(np.array(values) < 0.5) < 0.6
    same = compare(first, first)
    assert same
    assert (same.change, same.p_value) == (0.0, 1.0)


def test_a_comparison_needs_the_same_references(rng: np.random.Generator) -> None:
    assert compare(corpus(1, rng), corpus(1, np.random.default_rng(0))) is None
    for other in (corpus(30, np.random.default_rng(1)), corpus(29, rng)):
        with pytest.raises(DataError, match="same references"):
            compare(corpus(30, rng), other)


def test_a_score_groups_by_every_key() -> None:
    keys = {"speaker": ["z", "b", "z", "b"], "split": ["test"] * 4}
    score = score_transcripts(REFERENCES, HYPOTHESES, keys)
    assert list(score.by["speaker"]) == ["b", "z"]
    assert score.by["speaker"]["z"].rows.tolist() == [[2, 1, 0, 1], [0, 0, 0, 1]]
    assert score.by["split"]["test"].rate == score.words.rate == 5 / 7
    values = json.loads(json.dumps(score.to_dict()))
    low, high = values["wer"].pop("interval")
    assert low <= 5 / 7 <= high
    assert values["wer"] == {
        "rate": 5 / 7,
        "substitutions": 1,
        "deletions": 2,
        "insertions": 2,
        "hits": 4,
        "reference": 7,
        "utterances": 4,
    }
    assert values["cer"]["reference"] == len("".join(REFERENCES))
    assert values["by"]["speaker"]["b"]["rate"] == 0.5
    assert score_transcripts(["a"], ["a"]).to_dict()["wer"]["interval"] is None


def test_words_are_right_where_they_are_aligned_with_their_equals() -> None:
    right = right_words(["the cat sat", "", "a b"], ["the hat cat sat", "oh", ""])
    assert right.tolist() == [True, False, True, True, False]


def test_a_reliability_picture_and_its_error() -> None:
    confidence = [0.05, 0.15, 0.11, 0.99, 1.0, 0.93, 0.97]
    right = [False, True, False, True, True, False, True]
    low, next_, high = reliability(confidence, right)
    assert low == (0.0, 0.1, 1, pytest.approx(0.05), 0.0)
    assert next_ == (0.1, 0.2, 2, pytest.approx(0.13), 0.5)
    assert high == (0.9, 1.0, 4, pytest.approx(0.9725), 0.75)
    wanted = (1 * 0.05 + 2 * 0.37 + 4 * 0.2225) / 7
    assert calibration_error([low, next_, high]) == pytest.approx(wanted)
    assert reliability([], []) == []
    assert calibration_error([]) == 0.0
    with pytest.raises(DataError, match="2 confidences for 1 words"):
        reliability([0.1, 0.2], [True])
