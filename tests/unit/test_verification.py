"""Equal error rate and detection cost: by hand, against a slow peer, and over speakers."""

import numpy as np
import pytest
from sklearn.metrics import roc_curve

from auricle.verification import Trials


def trials(target: list[float], other: list[float]) -> Trials:
    scores = np.array([*target, *other])
    same = np.arange(len(scores)) < len(target)
    return Trials(scores, same, np.stack([~same, same], 1).astype(np.int64))


def test_parted_scores_make_no_error() -> None:
    found = trials([0.8, 0.9], [0.1, 0.2, 0.3])
    assert (found.equal_error_rate, found.min_dcf()) == (0.0, 0.0)
    assert 0.3 <= found.threshold <= 0.8


def test_by_hand() -> None:
    # Between 0.5 and 0.6 one of four targets is missed and one of four others passes.
    found = trials([0.9, 0.8, 0.7, 0.5], [0.6, 0.3, 0.2, 0.1])
    assert found.equal_error_rate == pytest.approx(0.25)
    # Without missing any: 0.25 others pass. 0.05 * 0.25 missed costs less than 0.95 * 0.25 passed.
    assert found.min_dcf(0.05) == pytest.approx(0.25)
    assert trials([0.1], [0.9]).equal_error_rate == pytest.approx(1.0)


def test_like_the_peer(rng: np.random.Generator) -> None:
    found = trials(list(np.round(rng.normal(0.5, 0.3, 400), 2)), list(rng.normal(0, 0.3, 900)))
    passed, hit, _ = roc_curve(found.same, found.scores, drop_intermediate=False)
    gap = np.abs(passed - (1 - hit)).argmin()
    assert found.equal_error_rate == pytest.approx((passed[gap] + 1 - hit[gap]) / 2, abs=3e-3)
    cost = (0.05 * (1 - hit) + 0.95 * passed).min() / 0.05
    assert found.min_dcf() == pytest.approx(cost)
    missed = (found.scores[found.same] < found.threshold).mean()
    assert missed == pytest.approx(found.equal_error_rate, abs=5e-3)


def test_all_pairs_once() -> None:
    vectors = np.eye(3)[[0, 0, 1]]
    found = Trials.of_all_pairs(vectors, ["a", "a", "b"])
    assert found.scores.tolist() == [1.0, 0.0, 0.0]
    assert found.same.tolist() == [True, False, False]


def test_one_kind_of_trial_has_nothing_to_confuse() -> None:
    alone = Trials.of_all_pairs(np.eye(2), ["a", "b"])
    assert alone.summary() == {"eer": 0.0, "min_dcf": 0.0}
    assert Trials.of_all_pairs(np.eye(2), ["a", "a"]).interval() is None


def test_the_interval_is_over_speakers(rng: np.random.Generator) -> None:
    centres = rng.normal(size=(12, 8))
    who = np.repeat(np.arange(12), 6)
    vectors = centres[who] + 0.9 * rng.normal(size=(72, 8))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found = Trials.of_all_pairs(vectors, [f"{n}" for n in who])
    interval = found.interval()
    assert interval is not None
    assert interval.low < found.equal_error_rate < interval.high
    assert interval.high - interval.low > 0.01
    # The same by writing every drawn pair out: as often as both of its speakers were drawn.
    draws, rates = np.random.default_rng(0), []
    for _ in range(200):
        times = draws.multinomial(12, np.full(12, 1 / 12))
        first, second = times[found.speakers[:, 0]], times[found.speakers[:, 1]]
        kept = np.repeat(np.arange(len(first)), np.where(found.same, first, first * second))
        drawn = Trials(found.scores[kept], found.same[kept], found.speakers[kept])
        rates.append(drawn.equal_error_rate)
    assert interval == pytest.approx(np.quantile(rates, [0.025, 0.975]), abs=1e-9)
