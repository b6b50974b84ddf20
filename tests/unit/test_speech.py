"""The detector that ships: small, and right about the clips that ship with it."""

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from auricle import audio
from auricle.bundle import find_model
from auricle.cli import app
from auricle.segmenter import Segmenter

CLIPS = Path(__file__).parents[2] / "examples" / "clips"
RATE_HZ = 16_000
LARGEST_BYTES = 1_000_000


@pytest.fixture(scope="module", name="detector")
def _detector() -> Segmenter:
    return Segmenter.load(threads=1)


def test_it_is_small() -> None:
    assert find_model("speech").stat().st_size < LARGEST_BYTES


def test_silence_and_a_tone_are_no_speech(detector: Segmenter) -> None:
    tone = 0.2 * np.sin(np.arange(5 * RATE_HZ) * 0.3).astype(np.float32)
    for wave in (np.zeros(5 * RATE_HZ, np.float32), tone):
        assert detector.segments((wave, RATE_HZ)).stretches == ()


@pytest.mark.parametrize("gain", [1.0, 0.1])
def test_a_clip_between_pauses_is_found(detector: Segmenter, gain: float) -> None:
    clip, _ = audio.load(CLIPS / "morning.flac", RATE_HZ)
    pause = np.random.default_rng(0).normal(0, 1e-3, 3 * RATE_HZ).astype(np.float32)
    found = detector.segments((gain * np.concatenate([pause, clip, pause]), RATE_HZ))
    begin_s, end_s = found.stretches[0].start_s, found.stretches[-1].end_s
    assert 2.7 < begin_s < 4.0
    assert len(clip) / RATE_HZ + 1.5 < end_s < len(clip) / RATE_HZ + 3.4


def test_it_is_what_the_command_uses_by_itself(detector: Segmenter) -> None:
    path = CLIPS / "window.flac"
    result = CliRunner().invoke(app, ["segment", str(path), "--format", "rttm"])
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.stdout.splitlines()]
    wanted = detector.segments(path).stretches
    assert [float(fields[3]) for fields in lines] == pytest.approx(
        [each.start_s for each in wanted], abs=1e-3
    )
    assert {fields[7] for fields in lines} == {"speech"}
