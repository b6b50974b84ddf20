"""Segments: what is written and read, marks of people, frames that are counted, mixtures."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from auricle import audio
from auricle.activity import spoken
from auricle.augment import AugmentSettings, generator
from auricle.data import Example
from auricle.data.marks import marks_of
from auricle.errors import DataError
from auricle.hysteresis import HysteresisSettings, frames_of
from auricle.mixtures import Mixer, MixSettings, rms, sampled
from auricle.segment_metrics import FrameScore, merged
from auricle.segments import FORMATS, Activity, Segments, Stretch, to_csv

FOUND = Segments((Stretch(0.5, 1.25, "speech", 0.75), Stretch(2.0, 2.5, 'a "b"', 1.0)), 4.0)
RATE_HZ = 16_000


def example(folder: Path, **values: object) -> Example:
    return replace(Example("one", folder / "one.wav", 4.0), **values)  # type: ignore[arg-type]


def test_every_format_that_is_read_is_read_back(tmp_path: Path) -> None:
    wanted = [(0.5, 1.25, "speech"), (2.0, 2.5, 'a "b"')]
    for style in ("csv", "textgrid"):
        suffix = {"textgrid": "TextGrid"}.get(style, style)
        path = tmp_path / style / f"one.{suffix}"
        path.parent.mkdir()
        path.write_text(FORMATS[style](FOUND, "one"))
        marks = marks_of(example(path.parent))
        assert marks is not None
        assert [(m.start_s, m.end_s, m.label) for m in marks] == wanted
    line = json.loads(FORMATS["json"](FOUND, "one.wav"))
    assert (line["file"], line["duration"]) == ("one.wav", 4.0)
    marks = marks_of(example(tmp_path, extra={"segments": line["segments"]}))
    assert marks is not None
    assert [(m.start_s, m.end_s, m.label) for m in marks] == wanted


def test_rttm_has_no_spaces_inside_its_fields(tmp_path: Path) -> None:
    text = FORMATS["rttm"](FOUND, "my day")
    assert text.splitlines() == [
        "SPEAKER my_day 1 0.500 0.750 <NA> <NA> speech 0.750 <NA>",
        'SPEAKER my_day 1 2.000 0.500 <NA> <NA> a_"b" 1.000 <NA>',
    ]
    (tmp_path / "one.rttm").write_text("SPKR-INFO my_day 1 <NA>\n" + text)
    marks = marks_of(example(tmp_path))
    assert marks == (Stretch(0.5, 1.25, "speech"), Stretch(2.0, 2.5, 'a_"b"'))


def test_text_and_tables() -> None:
    assert FORMATS["txt"](FOUND, "x.wav").splitlines()[0] == (
        "x.wav:      0.50 to      1.25 s  speech 75.0%"
    )
    assert FORMATS["txt"](Segments((), 1.0), "x.wav") == "x.wav: (none)\n"
    assert to_csv(FOUND, "x", header=False).splitlines()[0] == "x,0.500,1.250,speech,0.7500"
    assert 'text = ""' in FORMATS["textgrid"](Segments((), 1.0), "x")
    assert Segments.from_dict(json.loads(json.dumps(FOUND.to_dict()))) == FOUND
    with pytest.raises(DataError, match="these are not segments"):
        Segments.from_dict({"stretches": [{"start": 1}]})


def test_marks_count_from_the_start_of_the_example(tmp_path: Path) -> None:
    listed = [{"start": 0.5, "end": 1.5}, {"start": 3.0, "end": 9.0, "label": "dog"}]
    whole = example(tmp_path, duration_s=0.0, extra={"segments": listed})
    assert marks_of(whole) == (Stretch(0.5, 1.5, "speech"), Stretch(3.0, 9.0, "dog"))
    part = example(tmp_path, start_s=1.0, duration_s=4.0, extra={"segments": listed})
    assert marks_of(part) == (Stretch(0.0, 0.5, "speech"), Stretch(2.0, 4.0, "dog"))
    later = example(tmp_path, start_s=10.0, duration_s=1.0, extra={"segments": listed})
    assert marks_of(later) == ()
    assert marks_of(example(tmp_path)) is None


@pytest.mark.parametrize(
    ("segments", "told"),
    [
        ("0-1", "segments are '0-1'; needed is a list like"),
        ([{"start": 2, "end": 1}], "one: segments: from 2 to 1 s is no stretch"),
        ([{"start": "x", "end": 1}], "'x' to 1 are no times in seconds"),
        ([{"end": 1}], "None to 1 are no times"),
        ([{"start": 0, "end": float("nan")}], "is no stretch"),
        ([{"start": 0, "end": 1, "label": 7}], "at 0 s: 7 is no label"),
    ],
)
def test_marks_that_are_none_are_told(tmp_path: Path, segments: object, told: str) -> None:
    with pytest.raises(DataError, match=told):
        marks_of(example(tmp_path, extra={"segments": segments}))


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("one.rttm", "SPEAKER one 1 0.5 x <NA> <NA> a", "'0.5' to 'x' are no times"),
        ("one.rttm", "SPEAKER one 1 0.5", "not type, file, channel"),
        ("one.csv", "begin,end\n1,2", "needs the columns start and end, has begin, end"),
        ("one.csv", "start,end\n1", "'1' to None are no times"),
        ("one.TextGrid", "hello", "no tier of intervals"),
    ],
)
def test_files_of_marks_that_are_none_are_named(
    tmp_path: Path, name: str, text: str, told: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=told) as caught:
        marks_of(example(tmp_path))
    assert str(tmp_path / name) in str(caught.value)


def test_frames_are_counted_over_all_recordings() -> None:
    truth, found = (np.array(list(bits), int) > 0 for bits in ("11110000", "11100010"))
    score = FrameScore.of([(truth, found), (truth, truth)])
    assert score.summary() == pytest.approx({"f1": 14 / 16, "missed": 1 / 8, "false": 1 / 8})
    low, high = score.interval("f1") or (1.0, 0.0)
    assert low == pytest.approx(0.75)
    assert high == 1.0
    assert merged([score, score]).summary() == score.summary()
    nothing = FrameScore.of([(truth & False, truth & False)])
    assert nothing.summary() == {"f1": 1.0, "missed": 0.0, "false": 0.0}
    assert nothing.interval("f1") is None
    assert FrameScore().to_dict()["frames"] == 0


def test_an_activity_becomes_stretches_with_their_confidence() -> None:
    heard = Activity(
        ("dog", "speech"),
        np.array([[0.1, 0.9], [0.1, 0.7], [0.8, 0.1]], np.float32),
        frame_s=1.0,
        start_s=0.0,
        duration_s=3.0,
    )
    found = heard.segments(HysteresisSettings())
    assert [(s.start_s, s.end_s, s.label) for s in found.stretches] == [
        (0.0, 2.0, "speech"),
        (2.0, 3.0, "dog"),
    ]
    assert [s.confidence for s in found.stretches] == pytest.approx([0.8, 0.8])
    assert heard.frames(HysteresisSettings()).tolist() == [[0, 1], [0, 1], [1, 0]]


def clean(rng: np.random.Generator, loudness: float = 0.1) -> tuple[np.ndarray, list]:
    """Three bursts of a voice-like sound over a soft floor, and where they are."""
    wave = rng.normal(0, 1e-4, 4 * RATE_HZ)
    spans = [(0.5, 1.1), (1.7, 2.0), (3.0, 3.6)]
    for begin_s, end_s in spans:
        first, last = round(begin_s * RATE_HZ), round(end_s * RATE_HZ)
        wave[first:last] += loudness * rng.normal(0, 1, last - first)
    return wave.astype(np.float32), spans


@pytest.mark.parametrize("loudness", [0.3, 0.01])
def test_energy_finds_speech_in_a_clean_recording(loudness: float) -> None:
    wave, spans = clean(np.random.default_rng(0), loudness)
    found = spoken(wave, RATE_HZ)
    assert len(found) == len(spans)
    assert np.abs(np.array(found) - np.array(spans)).max() < 0.06  # of which 0.03 is padding


def test_energy_of_nothing_and_of_speech_throughout() -> None:
    assert spoken(np.zeros(RATE_HZ, np.float32), RATE_HZ) == []
    assert spoken(np.zeros(0, np.float32), RATE_HZ) == []
    noise = np.random.default_rng(0).normal(0, 0.1, RATE_HZ).astype(np.float32)
    assert spoken(noise, RATE_HZ) == [(0.0, 1.0)]


@pytest.fixture(name="noises")
def _noises(tmp_path: Path) -> Path:
    t = np.arange(2 * RATE_HZ) / RATE_HZ
    audio.save(tmp_path / "hum.wav", (0.2 * np.sin(2000 * t)).astype(np.float32), RATE_HZ)
    return tmp_path


def mixed(noises: Path, snr_db: float, seed: int = 0, **mix: float) -> tuple:
    wave, spans = clean(np.random.default_rng(1))
    marks = [Stretch(a, b, "speech") for a, b in spans]
    settings = AugmentSettings(
        speeds=(1.0,),
        noise_probability=1.0,
        noises=str(noises),
        noise_snr_db=(snr_db, snr_db),
        gain_db=(0.0, 0.0),
    )
    mixer = Mixer(MixSettings(**{"crop_s": 12.0, "nothing_share": 0.0} | mix), settings, RATE_HZ)
    return mixer(wave, marks, generator(seed, 0, "x"))


def test_a_mixture_has_its_speech_where_it_says(noises: Path) -> None:
    mixture = mixed(noises, snr_db=60.0)
    assert mixture.wave.shape == (12 * RATE_HZ,)
    assert len(mixture.marks) > 3  # stretches of the recording come again
    found = spoken(mixture.wave, RATE_HZ)
    truth = frames_of([(m.start_s, m.end_s) for m in mixture.marks], 1_200, 0.01)
    assert np.mean(frames_of(found, 1_200, 0.01) == truth) > 0.95


@pytest.mark.parametrize("snr_db", [-5.0, 10.0])
def test_the_ratio_is_taken_where_there_is_speech(noises: Path, snr_db: float) -> None:
    mixture = mixed(noises, snr_db)
    on = sampled(mixture.marks, len(mixture.wave), RATE_HZ)
    noise = rms(mixture.wave[~on])
    both = rms(mixture.wave[on])
    speech = np.sqrt(both**2 - noise**2)
    assert 20 * np.log10(speech / noise) == pytest.approx(snr_db, abs=0.3)


def test_mixtures_depend_on_their_generator_alone(noises: Path) -> None:
    first, again, other = (mixed(noises, 5.0, seed=seed) for seed in (3, 3, 4))
    assert np.array_equal(first.wave, again.wave)
    assert first.marks == again.marks
    assert first.marks != other.marks


def test_some_mixtures_are_noise_alone(noises: Path) -> None:
    mixture = mixed(noises, 5.0, nothing_share=1.0)
    assert mixture.marks == ()
    assert rms(mixture.wave) > 0.01


def test_speed_moves_marks_along() -> None:
    wave, spans = clean(np.random.default_rng(1))
    settings = AugmentSettings(speeds=(2.0,))
    mixer = Mixer(MixSettings(pauses=False), settings, RATE_HZ)
    mixture = mixer(wave, [Stretch(a, b, "speech") for a, b in spans], generator(0, 0, "x"))
    assert [(m.start_s, m.end_s) for m in mixture.marks] == [(a / 2, b / 2) for a, b in spans]
    assert len(mixture.wave) == len(wave) // 2
