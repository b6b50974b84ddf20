"""LabelSet: from names to columns and back, and what an answer is."""

import json

import numpy as np
import pytest

from auricle.errors import DataError, ModelError
from auricle.labels import SILENCE, UNKNOWN, LabelSet, LabelSettings
from auricle.results import Labels


def test_labels_are_learned_sorted_and_survive_json() -> None:
    learned = LabelSet.learn(LabelSettings(), [("dog",), ("cat",), ("dog",)])
    assert learned.names == ("cat", "dog")
    assert LabelSet.from_dict(json.loads(json.dumps(learned.to_dict()))) == learned


def test_what_is_no_keyword_is_unknown() -> None:
    labels = [("yes",), ("no",), ("bird",), (SILENCE,)]
    learned = LabelSet.learn(LabelSettings(keywords=("yes", "no")), labels)
    assert learned.names == (SILENCE, UNKNOWN, "no", "yes")
    assert learned.counted_as(["house"]) == (UNKNOWN,)
    assert learned.counted_as([SILENCE]) == (SILENCE,)
    assert learned.targets(["bird"]).tolist() == [0, 1, 0, 0]


def test_a_misspelt_keyword_is_named() -> None:
    with pytest.raises(DataError, match="'yess'; did you mean yes"):
        LabelSet.learn(LabelSettings(keywords=("yess", "no")), [("yes",), ("no",)])


def test_a_label_that_was_not_learned_is_named_with_the_nearest() -> None:
    learned = LabelSet(("cat", "dog"))
    with pytest.raises(DataError, match="'dgo' is not among the 2: did you mean dog"):
        learned.counted_as(["dgo"])
    with pytest.raises(DataError, match=r"2 labels, where each clip has one: .*several=true"):
        learned.counted_as(["cat", "dog"])


def test_one_label_is_nothing_to_tell_apart() -> None:
    with pytest.raises(DataError, match=r"1 label \(dog\)"):
        LabelSet.learn(LabelSettings(), [("dog",), ("dog",)])


def test_one_answer_or_all_past_their_thresholds() -> None:
    sure = np.array([0.2, 0.35, 0.3])
    assert LabelSet(("a", "b", "c")).chosen(sure) == ("b",)
    tags = LabelSet(("a", "b", "c"), several=True, thresholds=(0.1, 0.4, 0.3))
    assert tags.chosen(sure) == ("c", "a")
    assert LabelSet(("a", "b", "c"), several=True).chosen(sure) == ()


def test_a_recording_is_the_mean_of_its_windows() -> None:
    windows = [(0.0, 1.0, np.array([0.9, 0.1])), (0.5, 1.5, np.array([0.2, 0.8]))]
    answer = LabelSet(("a", "b")).answer(windows, 1.5)
    assert (answer.text, answer.duration_s) == ("a", 1.5)
    assert [(each.name, each.confidence) for each in answer.labels] == [
        ("a", pytest.approx(0.55)),
        ("b", pytest.approx(0.45)),
    ]
    assert [(w.start_s, w.end_s, w.labels[0].name) for w in answer.windows] == [
        (0.0, 1.0, "a"),
        (0.5, 1.5, "b"),
    ]
    assert Labels.from_dict(json.loads(json.dumps(answer.to_dict()))) == answer


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"names": "ab", "several": False, "grouped": False},
        {"names": ["a", "a"], "several": False, "grouped": False},
        {"names": ["a", 5], "several": False, "grouped": False},
        {"names": ["a", "b"], "several": 1, "grouped": False},
        {"names": ["a", "b"], "several": True, "grouped": False, "thresholds": [0.5]},
        {"names": ["a", "b"], "several": True, "grouped": False, "thresholds": [0.5, 7]},
    ],
)
def test_damaged_labels_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ModelError, match="labels of this model are damaged"):
        LabelSet.from_dict(values)


def test_labels_that_are_none_are_refused() -> None:
    with pytest.raises(DataError, match="these are not labels"):
        Labels.from_dict({"labels": []})
