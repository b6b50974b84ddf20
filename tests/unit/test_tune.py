"""Tuning finds the settings that err least, says how sure words are, and writes both down."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from auricle import BeamSettings, ConfigError, GreedySettings
from auricle.bundle import LEXICON, LM
from auricle.metrics import ErrorCounts, calibration_error
from auricle.runtime import Recognizer
from auricle.tune import OPENNESS, WEIGHTS, Trial, Tuned, knobs, listen, search, tune
from tones import RATE_HZ, sound, unigrams, write

B_OR_C = {"b": 0.75, "c": 0.25}
MODEL = unigrams({"cab": -0.5, "bab": -4.0, "fed": -1.0})


def counted(errors: float) -> ErrorCounts:
    wrong = round(errors)
    return ErrorCounts(np.array([[1_000_000 - wrong, wrong, 0, 0]]))


def bowl(settings: BeamSettings) -> ErrorCounts:
    """Fewest errors at alpha 1.15, beta -0.5."""
    return counted(1e5 * ((settings.alpha - 1.15) ** 2 + 0.1 * (settings.beta + 0.5) ** 2))


def test_the_search_finds_the_bottom_of_a_bowl() -> None:
    seen: list[tuple[int, int]] = []
    tried = search(bowl, BeamSettings(), WEIGHTS, 100, lambda *done: seen.append(done))
    best = min(tried, key=lambda trial: trial.errors.rate).settings
    assert best.alpha == pytest.approx(1.15, abs=0.03)
    assert best.beta == pytest.approx(-0.5, abs=0.13)
    assert tried[0].settings == BeamSettings()
    assert len({trial.settings for trial in tried}) == len(tried) < 40
    assert seen == [(number, 100) for number in range(1, len(tried) + 1)]
    again = search(bowl, BeamSettings(), WEIGHTS, 100)
    assert [trial.settings for trial in again] == [trial.settings for trial in tried]


@pytest.mark.parametrize("trials", [1, 7])
def test_the_search_ends_when_its_trials_do(trials: int) -> None:
    assert len(search(bowl, BeamSettings(), WEIGHTS, trials)) == trials


def test_the_search_stays_within_bounds() -> None:
    tried = search(lambda s: counted(1000 - 100 * s.unknown), BeamSettings(), OPENNESS, 60)
    values = [trial.settings.unknown for trial in tried]
    assert min(values) >= -30.0
    assert max(values) == 0.0


def test_a_plateau_is_left_as_it_is() -> None:
    tried = search(lambda _: counted(7), BeamSettings(alpha=0.3), WEIGHTS, 60)
    assert min(tried, key=lambda trial: trial.errors.rate).settings == BeamSettings(alpha=0.3)


def test_the_first_of_the_best_is_chosen() -> None:
    errors = (5, 3, 3, 4)
    trials = [Trial(BeamSettings(beam=n + 1), counted(e)) for n, e in enumerate(errors)]
    assert Tuned(tuple(trials), counted(8), counted(9), {}).best is trials[1]


def test_what_it_had_been_is_what_it_is_held_to(tmp_path: Path) -> None:
    recognizer = made(tmp_path / "m", decode=BeamSettings(alpha=0.0, beam=4).to_dict())
    strong = BeamSettings(alpha=1.0, beam=4).to_dict()
    sure = made(tmp_path / "n", decode=strong)
    pieces, said = heard(recognizer, 12)
    found = tune(recognizer, pieces, said, trials=1)
    assert (found.before.errors, found.greedy.errors) == (8, 8)
    assert tune(sure, pieces, said, trials=1).before.errors < 8
    assert tune(recognizer, pieces, said, before=sure, trials=1).before.errors < 8
    assert found.to_dict()["before"]["reference"] == 24


@pytest.mark.parametrize(
    ("recordings", "words", "few"), [(100, 10, False), (99, 11, True), (100, 9, True)]
)
def test_too_little_to_choose_by(recordings: int, words: int, few: bool) -> None:
    before = ErrorCounts(np.array([[words, 0, 0, 0]] * recordings))
    assert Tuned((Trial(BeamSettings(), before),), before, before, {}).few is few


def made(path: Path, **values: object) -> Recognizer:
    return Recognizer.load(write(path, more={LM: MODEL.to_bytes()}, **values).path, threads=1)


def test_there_is_something_to_tune(tmp_path: Path) -> None:
    with_lm = made(tmp_path / "a")
    assert knobs(with_lm, BeamSettings()) == (*WEIGHTS, *OPENNESS)
    assert knobs(with_lm, BeamSettings(closed=True)) == WEIGHTS
    plain = Recognizer.load(write(tmp_path / "b").path)
    with pytest.raises(ConfigError, match="nothing to tune without a language model"):
        knobs(plain, BeamSettings())
    words = Recognizer.load(write(tmp_path / "c", more={LEXICON: b"cab\nbed\n"}).path)
    assert knobs(words, BeamSettings(closed=False)) == OPENNESS
    with pytest.raises(ConfigError, match="nothing to tune"):
        knobs(words, BeamSettings())
    for lexicon, wanted in ((b"cab\nfed\n", WEIGHTS), (b"cab\nbed\n", (*WEIGHTS, OPENNESS[0]))):
        both = {LM: MODEL.to_bytes(), LEXICON: lexicon}
        recognizer = Recognizer.load(write(tmp_path / "d", more=both).path)
        assert knobs(recognizer, BeamSettings()) == wanted


def clips(count: int) -> tuple[list[tuple[np.ndarray, int]], list[str]]:
    """Recordings of "cab" and "fed" that sound like "bab fed"; every third says "bab" indeed."""
    rng = np.random.default_rng(0)
    said = ["bab fed" if n % 3 == 2 else "cab fed" for n in range(count)]
    sounds = [
        sound([{"b": p, "c": 1.0 - p}, *"ab fed"])
        for p in [rng.uniform(0.9, 0.99) if "b" in text[:1] else 0.75 for text in said]
    ]
    return [(each, RATE_HZ) for each in sounds], said


def heard(recognizer: Recognizer, count: int) -> tuple[Sequence[Sequence[np.ndarray]], list[str]]:
    sources, said = clips(count)
    return listen(recognizer, sources, count), said


def test_a_language_model_is_weighed_by_what_was_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("auricle.tune.FEWEST_WORDS", 24)
    recognizer = made(tmp_path / "m", decode=BeamSettings(alpha=0.0, beam=4).to_dict())
    pieces, said = heard(recognizer, 12)
    found = tune(recognizer, pieces, said, trials=8)
    assert found.trials[0].errors.errors == 8  # every "cab"
    assert found.greedy.errors == 8
    assert found.best.errors.errors == 0
    assert 0.0 < found.best.settings.alpha < 3.0
    again = tune(recognizer, pieces, said, trials=8)
    assert [trial.settings for trial in again.trials] == [t.settings for t in found.trials]
    assert again.to_dict() == found.to_dict()
    # All words of the beam are right: only greedy ones teach what is wrong.
    assert set(found.surety) == {"greedy"}
    surety = found.surety["greedy"]
    assert calibration_error(surety.after) < calibration_error(surety.before)
    facts = found.to_dict()["confidence"]["greedy"]
    assert facts["error_after"] == calibration_error(surety.after)
    assert sum(each["words"] for each in facts["after"]) == 24


def test_long_recordings_are_tuned_on_as_wholes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("auricle.engine.LONGEST_S", 2.5)
    recognizer = made(tmp_path / "m", decode=BeamSettings(beam=4).to_dict())
    long = np.concatenate([sound(word, silence_s=0.6) for word in ("cab", "fed", "cab")])
    pieces = listen(recognizer, [(long, RATE_HZ), (sound("fed"), RATE_HZ)], 2)
    assert [len(each) > 1 for each in pieces] == [True, False]
    found = tune(recognizer, pieces, ["cab fed cab", "fed"], trials=1)
    assert found.greedy.errors == found.best.errors.errors == 0
    assert found.greedy.reference == 4
    assert found.surety == {}  # too few words


def test_tuning_needs_transcripts_and_recordings(tmp_path: Path) -> None:
    recognizer = made(tmp_path / "m")
    with pytest.raises(ConfigError, match="no transcript"):
        tune(recognizer, [[]], [""])
    with pytest.raises(Exception, match=r"gone\.wav"):
        listen(recognizer, [tmp_path / "gone.wav"], 1)


def test_greedy_bundles_are_tuned_from_the_defaults(tmp_path: Path) -> None:
    recognizer = made(tmp_path / "m", decode=GreedySettings().to_dict())
    pieces, said = heard(recognizer, 3)
    assert tune(recognizer, pieces, said, trials=1).trials[0].settings == BeamSettings()
