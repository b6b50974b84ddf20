"""Measures of labels against scikit-learn, and intervals against the binomial law."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import metrics as peer

from auricle.label_metrics import LabelScore, average_precision, best_thresholds

NAMES = tuple("abcdef")


def one_label(rng: np.random.Generator, clips: int = 200, labels: int = 6) -> LabelScore:
    was, said = rng.integers(labels, size=(2, clips))
    said = np.where(rng.random(clips) < 0.6, was, said)
    sure = rng.random((clips, labels))
    return LabelScore(NAMES[:labels], np.eye(labels)[was] > 0, np.eye(labels)[said] > 0, sure)


def columns(score: LabelScore) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return score.truth.argmax(1), score.answers.argmax(1)


@pytest.mark.parametrize("clips", [7, 200])
def test_single_labels_are_measured_like_the_peer(rng: np.random.Generator, clips: int) -> None:
    score = one_label(rng, clips, 4)
    was, said = columns(score)
    occurring = sorted(set(was.tolist()))
    f1 = peer.f1_score(was, said, labels=occurring, average="macro", zero_division=0)
    assert score.accuracy == pytest.approx(peer.accuracy_score(was, said))
    assert score.balanced_accuracy == pytest.approx(
        peer.recall_score(was, said, labels=occurring, average="macro", zero_division=0)
    )
    assert score.macro_f1 == pytest.approx(f1)
    wanted = peer.confusion_matrix(was, said, labels=range(4))
    assert score.confusion.tolist() == wanted.tolist()


def test_tags_are_measured_like_the_peer(rng: np.random.Generator) -> None:
    truth, answers = rng.random((2, 80, 5)) < 0.3
    truth[:, 4] = False  # a tag that no clip has counts for nothing
    sure = np.round(rng.random((80, 5)), 1)  # with many equal probabilities
    score = LabelScore(NAMES[:5], truth, answers, sure, several=True)
    wanted = [peer.average_precision_score(truth[:, n], sure[:, n]) for n in range(4)]
    assert score.average_precisions[:4] == pytest.approx(wanted)
    assert score.mean_average_precision == pytest.approx(np.mean(wanted))
    assert score.accuracy == pytest.approx(peer.accuracy_score(truth, answers))
    assert score.macro_f1 == pytest.approx(
        peer.f1_score(truth[:, :4], answers[:, :4], average="macro", zero_division=0)
    )


def test_thresholds_are_the_best_of_all(rng: np.random.Generator) -> None:
    truth = rng.random((60, 3)) < 0.3
    sure = np.round(rng.random((60, 3)) * 0.6 + truth * 0.3, 2)
    for n, limit in enumerate(best_thresholds(truth, sure)):
        found = peer.f1_score(truth[:, n], sure[:, n] >= limit)
        every = [peer.f1_score(truth[:, n], sure[:, n] >= t) for t in np.unique(sure[:, n])]
        assert found == pytest.approx(max(every))


def test_nothing_true_has_no_average_precision() -> None:
    assert np.isnan(average_precision(np.zeros(3, bool), np.ones(3)))


def test_intervals_cover_what_chance_does(rng: np.random.Generator) -> None:
    score = one_label(rng, 400, 2)
    found = score.interval()
    assert found is not None
    deviation = np.sqrt(score.accuracy * (1 - score.accuracy) / 400)
    assert found.low == pytest.approx(score.accuracy - 1.96 * deviation, abs=0.01)
    assert found.high == pytest.approx(score.accuracy + 1.96 * deviation, abs=0.01)
    balanced = score.interval("balanced_accuracy")
    assert balanced is not None
    assert balanced.low < score.balanced_accuracy < balanced.high


def test_groups_that_agree_within_widen_the_interval() -> None:
    right = np.repeat([True, False], 50)[:, None] == np.array([True, False])
    clips = LabelScore(("a", "b"), np.ones((100, 2)) > [0, 1], right, right.astype(float))
    speakers = LabelScore(
        ("a", "b"), clips.truth, right, clips.probabilities, groups=["x"] * 50 + ["y"] * 50
    )
    narrow, wide = clips.interval(), speakers.interval()
    assert narrow is not None
    assert wide is not None
    assert (wide.low, wide.high) == (0.0, 1.0)
    assert wide.high - wide.low > 3 * (narrow.high - narrow.low)


def test_confusions_are_counted_by_pair() -> None:
    truth = np.eye(3)[[0, 0, 0, 1, 2]] > 0
    answers = np.eye(3)[[1, 1, 0, 1, 0]] > 0
    score = LabelScore(tuple("xyz"), truth, answers, answers.astype(float))
    assert score.top_confusions() == [("x", "y", 2), ("z", "x", 1)]
    rows = {row["label"]: row for row in score.per_label()}
    assert (rows["x"]["recall"], rows["y"]["precision"]) == (pytest.approx(1 / 3), 1 / 3)


def test_no_clips_score_nothing() -> None:
    empty = LabelScore.of(("a", "b"), [], [], [])
    assert empty.summary() == {"accuracy": 0.0, "balanced_accuracy": 0.0, "macro_f1": 0.0}
    assert empty.interval() is None
