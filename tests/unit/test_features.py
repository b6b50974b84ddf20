"""The front end: frames, times, streams, derivatives, normalisation, settings."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auricle import features
from auricle.errors import ConfigError
from auricle.features import FeatureSettings, FrontEnd, RunningNormaliser, normalise

SMALL = {
    "sample_rate_hz": 2_000,
    "mels": 8,
    "coefficients": 5,
    "normalise": "none",
}  # 50, 20 samples
ROUNDING = 5e-6  # a logarithm near -10 has steps of 1e-6, and BLAS adds in an order of its own
SETTINGS = {
    "log_mel": {},
    "mfcc": {"kind": "mfcc", "deltas": 2},
    "centred": {"centred": True, "deltas": 1},
    "reflected": {"centred": True, "padding": "reflect", "normalise": "running"},
    "mirrored": {"centred": True, "padding": "mirror", "fft_samples": 128},
    "dithered": {"dither": 0.01, "normalise": "running", "running_s": 0.1, "deltas": 2},
    "wave": {"kind": "wave"},
}


def sound(samples, seed=3):
    return np.random.default_rng(seed).normal(0, 0.1, samples).astype(np.float32)


@pytest.mark.parametrize("changes", SETTINGS.values(), ids=SETTINGS)
@given(samples=st.integers(0, 400))
def test_frames_is_what_comes_out(changes, samples):
    front_end = FrontEnd(FeatureSettings(**{**SMALL, **changes}))
    out = front_end(sound(samples))
    assert out.shape == (front_end.frames(samples), front_end.dim)
    assert out.dtype == np.float32
    assert np.isfinite(out).all()


@pytest.mark.parametrize("changes", SETTINGS.values(), ids=SETTINGS)
@given(chunks=st.lists(st.integers(0, 130), max_size=12))
def test_streaming_equals_the_whole(changes, chunks):
    front_end = FrontEnd(FeatureSettings(**{**SMALL, **changes}))
    x = sound(sum(chunks))
    stream = front_end.stream()
    parts = [stream.push(part) for part in np.split(x, np.cumsum(chunks)[:-1])] if chunks else []
    streamed = np.concatenate([*parts, stream.finish()])
    np.testing.assert_allclose(streamed, front_end(x), rtol=0, atol=ROUNDING)


def test_a_stream_holds_nothing_back_but_what_it_must():
    stream = FrontEnd(FeatureSettings(normalise="none")).stream()
    assert [len(stream.push(sound(160))) for _ in range(5)] == [0, 0, 1, 1, 1]
    assert len(stream.finish()) == 0


def test_blocks_leave_no_seams(monkeypatch):
    front_end = FrontEnd(FeatureSettings(**SMALL))
    whole = front_end(sound(2_000))
    monkeypatch.setattr(features, "BLOCK_FRAMES", 7)
    np.testing.assert_allclose(front_end(sound(2_000)), whole, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("changes", [{}, {"centred": True}, {"centred": True, "padding": "mirror"}])
def test_a_click_is_where_it_sounds(changes):
    front_end = FrontEnd(FeatureSettings(normalise="none", **changes))
    x = np.zeros(16_000, np.float32)
    x[8_123] = 1
    loudest = int(front_end(x).sum(axis=1).argmax())
    click_s = 8_123 / 16_000
    assert abs(front_end.frame_time_s(loudest) - click_s) <= front_end.hop_s / 2
    assert front_end.frame_at(click_s) == loudest


def test_frames_and_seconds_are_inverse():
    front_end = FrontEnd()
    assert front_end.hop_s == 0.01
    assert front_end.frame_time_s(0) == 0.0125
    assert [front_end.frame_at(front_end.frame_time_s(t)) for t in range(200)] == list(range(200))
    assert front_end.frame_at(-1) == 0


def test_wave_is_the_samples():
    x = sound(100)
    front_end = FrontEnd(FeatureSettings(kind="wave"))
    np.testing.assert_array_equal(front_end(x), x[:, None])
    assert (front_end.dim, front_end.hop_s) == (1, 1 / 16_000)
    assert front_end.frame_time_s(8_000) == 0.5


def test_a_tone_lights_its_own_band():
    s = FeatureSettings(normalise="none")
    t = np.arange(16_000) / 16_000
    band = FrontEnd(s)(np.sin(2 * np.pi * 1_000 * t).astype(np.float32)).mean(axis=0).argmax()
    mels = np.linspace(1127 * np.log1p(20 / 700), 1127 * np.log1p(8_000 / 700), 82)
    assert abs(700 * np.expm1(mels[band + 1] / 1127) - 1_000) < 30


def test_dither_is_the_same_each_time_and_lifts_silence():
    silence = np.zeros(8_000, np.float32)
    still = FrontEnd(FeatureSettings(normalise="none"))(silence)
    front_end = FrontEnd(FeatureSettings(normalise="none", dither=1e-3))
    assert (front_end(silence) > still).mean() > 0.9
    np.testing.assert_array_equal(front_end(silence), front_end(silence))


def test_second_derivatives_are_slopes_of_slopes():
    base = {**SMALL, "kind": "mfcc", "delta_frames": 2}
    x = sound(2_000)
    still, slope, bend = np.split(FrontEnd(FeatureSettings(**base, deltas=2))(x), 3, axis=1)

    def slopes(frames):
        padded = np.pad(frames, [(2, 2), (0, 0)], "edge")
        return sum(n * padded[2 + n : len(padded) - 2 + n] for n in (-2, -1, 1, 2)) / 10

    np.testing.assert_allclose(slope, slopes(still), atol=1e-5)
    np.testing.assert_allclose(bend[4:-4], slopes(slopes(still))[4:-4], atol=1e-5)


def test_utterances_become_mean_0_and_variance_1():
    out = FrontEnd()(sound(16_000))
    np.testing.assert_allclose(out.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(out.var(axis=0), 1, atol=1e-3)


@pytest.mark.parametrize("how", ["utterance", "running"])
def test_silence_stays_finite(how):
    front_end = FrontEnd(FeatureSettings(normalise=how))
    np.testing.assert_allclose(front_end(np.zeros(16_000, np.float32)), 0, atol=1e-2)


def test_what_lies_under_the_peak_keeps_its_shape_and_not_its_loudness():
    settings = FeatureSettings(normalise="peak", dynamic_range_db=60)
    plain, front_end = FrontEnd(FeatureSettings(normalise="none")), FrontEnd(settings)
    loud = sound(8_000)
    out, log_mels = front_end(loud), plain(loud)
    np.testing.assert_allclose(front_end(0.1 * loud), out, atol=1e-3)
    decibels = log_mels * 10 / np.log(10)
    expected = np.maximum(decibels - decibels.max(), -60) / 15 + 2
    np.testing.assert_allclose(out, expected, atol=1e-4)
    assert out.max() == pytest.approx(2)


def test_what_is_far_under_the_peak_is_alike():
    click = np.zeros(8_000, np.float32)
    click[4_000] = 1
    hiss = 1e-4 * sound(8_000)
    front_end = FrontEnd(FeatureSettings(normalise="peak", dynamic_range_db=30))
    np.testing.assert_array_equal(front_end(click + hiss)[:10], -2)


def test_silence_is_not_taken_for_the_loudest():
    for log in ("natural", "decibel"):
        front_end = FrontEnd(FeatureSettings(normalise="peak", log=log))
        np.testing.assert_allclose(front_end(np.zeros(8_000, np.float32)), -2, atol=1e-5)
        assert front_end(np.zeros(10, np.float32)).shape == (0, 80)


@pytest.mark.parametrize("changes", [{"kind": "mfcc"}, {"deltas": 1}])
def test_only_log_mels_have_a_peak(changes):
    with pytest.raises(ConfigError, match="log-mels alone"):
        FeatureSettings.parse({"normalise": "peak", **changes})


def test_running_statistics_are_those_of_the_last_frames():
    x = sound(90).reshape(30, 3) + 5
    expected = [
        (x[t] - seen.mean(axis=0)) / np.sqrt(np.maximum(seen.var(axis=0), features.VARIANCE_FLOOR))
        for t in range(30)
        for seen in [x[max(0, t - 6) : t + 1]]
    ]
    np.testing.assert_allclose(normalise(x, "running", 7), expected, atol=1e-4)
    np.testing.assert_allclose(RunningNormaliser(7).push(x[:20]), expected[:20], atol=1e-4)


def test_normalise_none_changes_nothing():
    x = sound(12).reshape(4, 3)
    assert normalise(x, "none") is x


def test_only_whole_recordings_have_utterance_statistics():
    with pytest.raises(ConfigError, match="running"):
        FrontEnd().stream()


def test_stereo_is_refused():
    with pytest.raises(ValueError, match="one channel"):
        FrontEnd()(np.zeros((100, 2), np.float32))


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"hop_ms": 30.0}, "longer than window_ms"),
        ({"hop_ms": 0.01}, "less than a sample"),
        ({"fft_samples": 256}, "hold the window"),
        ({"fft_samples": 401}, "even"),
        ({"low_hz": 4_000, "high_hz": 3_000}, "low_hz"),
        ({"high_hz": 8_001}, "high_hz"),
        ({"kind": "mfcc", "mels": 10}, "coefficients"),
        ({"dither": -1}, "dither"),
        ({"mells": 40}, "did you mean mels"),
    ],
)
def test_settings_that_make_no_sense(values, says):
    with pytest.raises(ConfigError, match=says):
        FeatureSettings.parse(values)


def test_filters_that_would_hear_nothing():
    with pytest.raises(ConfigError, match="fewer mels"):
        FrontEnd(FeatureSettings(mels=256))


@pytest.mark.parametrize("changes", SETTINGS.values(), ids=SETTINGS)
def test_a_copy_of_a_stream_goes_its_own_way(changes):
    front_end = FrontEnd(FeatureSettings(**{**SMALL, **changes}))
    stream, wave, other = front_end.stream(), sound(300), sound(300, seed=4)
    begun = stream.push(wave[:131])
    copied = stream.copy()
    copied.push(other)
    copied.finish()
    found = np.concatenate([begun, stream.push(wave[131:]), stream.finish()])
    np.testing.assert_allclose(found, front_end(wave), atol=ROUNDING)


@pytest.mark.parametrize("changes", [{}, {"centred": True}, {"window_ms": 20, "hop_ms": 8}])
def test_trainings_listen_as_the_runtime_does(changes):
    pytest.importorskip("torch")
    from auricle.fourier import rfft

    settings = FeatureSettings(normalise="none", **changes)
    for samples in (0, 100, 8_000, 80_000):
        ours, torchs = FrontEnd(settings), FrontEnd(settings, rfft)
        np.testing.assert_allclose(torchs(sound(samples)), ours(sound(samples)), atol=1e-3)
