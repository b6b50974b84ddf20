"""Detections from windows: smoothing, the refractory time, the past only, alarms per hour."""

import pytest

from auricle.results import Label, LabelWindow
from auricle.spotting import Spotter, SpottingSettings, detections, false_alarms_per_hour

NAMES = ("_silence_", "_unknown_", "go", "stop")


def windows(*go: float) -> list[LabelWindow]:
    """A window of a second every tenth of one, as likely "go" as given."""
    return [
        LabelWindow(
            n / 10, 1 + n / 10, (Label("go", sure), Label("_unknown_", 1 - sure), Label("stop", 0))
        )
        for n, sure in enumerate(go)
    ]


def found(settings: SpottingSettings, *go: float) -> list[tuple[str, float]]:
    return [(d.keyword, round(d.end_s, 1)) for d in detections(windows(*go), NAMES, settings)]


def test_one_sure_window_is_not_enough() -> None:
    settings = SpottingSettings(threshold=0.7, smoothing=3)
    assert found(settings, 0, 0, 1, 0, 0) == []
    assert found(settings, 0, 0, 1, 1, 1, 0) == [("go", 1.4)]
    assert found(SpottingSettings(threshold=0.7, smoothing=1), 0, 0, 1, 0) == [("go", 1.2)]


def test_a_keyword_is_heard_once_and_again_after_a_while() -> None:
    settings = SpottingSettings(threshold=0.5, smoothing=1, refractory_s=0.35)
    assert found(settings, *[1] * 9) == [("go", 1.0), ("go", 1.4), ("go", 1.8)]


def test_unknown_and_silence_are_no_keywords() -> None:
    assert Spotter(NAMES).keywords == ("go", "stop")
    settings = SpottingSettings(threshold=0.5, smoothing=1, keywords=("stop",))
    assert found(settings, 1, 1, 1) == []
    assert found(SpottingSettings(threshold=0.5, smoothing=1), 0, 0) == []
    assert SpottingSettings.parse({"keywords": "go,stop"}).keywords == ("go", "stop")


def test_what_was_detected_does_not_depend_on_what_follows() -> None:
    settings = SpottingSettings(threshold=0.6, smoothing=2, refractory_s=0.2)
    sure = [0, 1, 1, 0.2, 0.9, 0.9, 1, 0, 0.7, 0.7]
    whole = found(settings, *sure)
    assert len(whole) > 1
    for end in range(len(sure)):
        before = found(settings, *sure[:end])
        assert whole[: len(before)] == before
        assert all(time_s > 1 + (end - 1) / 10 for _, time_s in whole[len(before) :])


def test_alarms_have_an_interval() -> None:
    rate, low, high = false_alarms_per_hour(10, 7200)
    # The exact Poisson bounds of 10: 4.795 and 18.39.
    assert (rate, low, high) == (5.0, pytest.approx(2.40, abs=0.02), pytest.approx(9.20, abs=0.02))
    none, low, high = false_alarms_per_hour(0, 3600)
    assert (none, low, high) == (0.0, 0.0, pytest.approx(3.69, abs=0.12))
    assert false_alarms_per_hour(0, 0) == (0.0, 0.0, float("inf"))
