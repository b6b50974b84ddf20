"""Probabilities to stretches: what every rule owes, whatever comes."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auricle.errors import ConfigError
from auricle.hysteresis import (
    CANDIDATES,
    HysteresisSettings,
    active,
    chosen_rule,
    frames_of,
    stretches,
)

FRAME_S = 0.02
PLAIN = HysteresisSettings()
probabilities = st.lists(st.floats(0, 1), max_size=120).map(np.array)
durations = st.sampled_from([0.0, 0.02, 0.05, 0.1, 0.3])


@st.composite
def rules(draw: Any) -> HysteresisSettings:
    offset = draw(st.floats(0.05, 0.95))
    onset = draw(st.floats(offset, 0.95))
    gap_s, shortest_s, pad_s = (draw(durations) for _ in range(3))
    return HysteresisSettings(
        onset=onset, offset=offset, gap_s=gap_s, shortest_s=shortest_s, pad_s=pad_s
    )


def state_by_state(values: np.ndarray, onset: float, offset: float) -> list[bool]:
    on, states = False, []
    for value in values:
        on = value >= offset if on else value >= onset
        states.append(on)
    return states


@given(probabilities, rules())
def test_two_thresholds_are_a_machine_with_two_states(
    values: np.ndarray, rule: HysteresisSettings
) -> None:
    found = active(values, rule.onset, rule.offset)
    assert found.tolist() == state_by_state(values, rule.onset, rule.offset)


@given(probabilities, rules())
def test_stretches_are_ordered_apart_inside_and_long_enough(
    values: np.ndarray, rule: HysteresisSettings
) -> None:
    duration_s = len(values) * FRAME_S
    found = stretches(values, FRAME_S, duration_s, rule)
    edges = [edge for span in found for edge in span]
    assert edges == sorted(edges)
    assert len(set(edges)) == len(edges)  # none touches the next
    assert all(0 <= edge <= duration_s for edge in edges)
    assert all(b - a >= min(rule.shortest_s, duration_s) - 1e-6 for a, b in found)
    widened = rule.gap_s - 2 * rule.pad_s
    apart = [later[0] - sooner[1] for sooner, later in pairwise(found)]
    assert all(gap >= widened - 1e-6 for gap in apart)


@given(probabilities)
def test_frames_and_stretches_are_inverse(values: np.ndarray) -> None:
    on = values >= 0.5
    found = stretches(values, FRAME_S, len(values) * FRAME_S, PLAIN)
    assert frames_of(found, len(values), FRAME_S).tolist() == on.tolist()


def spans(text: str, **values: float) -> list[tuple[float, float]]:
    """Frames of a second, written as digits of tenths."""
    tenths = np.array([int(each) / 10 for each in text])
    rule = HysteresisSettings(onset=0.65, offset=0.35, **values)
    return stretches(tenths, 1.0, float(len(text)), rule)


def test_the_order_of_the_rules() -> None:
    assert spans("0090900") == [(2, 3), (4, 5)]
    assert spans("0095900") == [(2, 5)]  # wavers, but does not end
    assert spans("0050500") == []  # never begins
    assert spans("0090900", gap_s=1.5) == [(2, 5)]
    assert spans("0090900", gap_s=1.0) == [(2, 3), (4, 5)]  # a gap of 1 s is not shorter
    assert spans("0090900", shortest_s=2) == []
    assert spans("0090900", gap_s=1.5, shortest_s=2) == [(2, 5)]  # gaps are closed first
    assert spans("0090000", pad_s=0.25, shortest_s=1) == [(1.75, 3.25)]  # padded last
    assert spans("0090900", pad_s=0.5) == [(1.5, 5.5)]  # what then touches is one
    assert spans("9000009", pad_s=1) == [(0, 2), (5, 7)]  # nothing leaves the recording
    assert spans("") == []


def test_a_margin_of_the_first_frame_belongs_to_it() -> None:
    values = np.array([1.0, 0.0, 1.0])
    found = stretches(values, 1.0, 3.4, PLAIN, start_s=0.25)
    assert found == [(0.0, 1.25), (2.25, 3.4)]


def test_an_offset_above_the_onset_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"offset = 0\.9 is above onset = 0\.5"):
        HysteresisSettings.parse({"offset": 0.9}, "rule")


def test_the_best_rule_is_found_and_nothing_is_chosen_without_a_reason() -> None:
    assert chosen_rule(lambda _: 0.7) == PLAIN
    wanted = {"onset": 0.7, "offset": 0.3, "pad_s": 0.04}
    assert all(value in CANDIDATES[key] for key, value in wanted.items())

    def score(rule: HysteresisSettings) -> float:
        return -sum(abs(getattr(rule, key) - value) for key, value in wanted.items())

    assert chosen_rule(score).to_dict() == PLAIN.to_dict() | wanted
