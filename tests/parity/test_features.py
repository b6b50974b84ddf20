"""The front end against two that nobody here wrote: kaldi-native-fbank and librosa.

Agreement is the largest difference over the largest value. Kaldi computes in float32, as we do: in
bands of next to no energy its own rounding, 1e-3 in the logarithm, is most of what differs.
"""

import kaldi_native_fbank as knf
import librosa
import numpy as np
import pytest

from auricle.features import FeatureSettings, FrontEnd

AGREE = 1e-4


def voice(rate_hz, seconds=2.0):
    """Something like speech: harmonics that glide, pauses, and a little noise."""
    rng = np.random.default_rng(7)
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    phase = 2 * np.pi * np.cumsum(120 + 40 * np.sin(2 * np.pi * 0.7 * t)) / rate_hz
    tone = sum(np.sin(k * phase) / k for k in range(1, int(rate_hz / 2 / 160)))
    return (
        0.2 * tone * (np.sin(2 * np.pi * 2 * t) > -0.5) + 0.003 * rng.standard_normal(len(t))
    ).astype(np.float32)


def difference(ours, theirs):
    assert ours.shape == theirs.shape
    return np.abs(ours - theirs).max() / np.abs(theirs).max()


def kaldi(options, computer, x):
    computer = computer(options)
    computer.accept_waveform(options.frame_opts.samp_freq, x.tolist())
    computer.input_finished()
    return np.stack([computer.get_frame(i) for i in range(computer.num_frames_ready)])


def kaldi_options(options, s):
    frames, mels = options.frame_opts, options.mel_opts
    frames.samp_freq, frames.dither = s.sample_rate_hz, 0
    frames.frame_length_ms, frames.frame_shift_ms = s.window_ms, s.hop_ms
    frames.window_type, frames.snip_edges = (
        "hanning" if s.window == "hann" else s.window,
        not s.centred,
    )
    frames.remove_dc_offset, frames.preemph_coeff = s.remove_dc, s.preemphasis
    mels.num_bins, mels.low_freq, mels.high_freq = s.mels, s.low_hz, s.high_hz or 0
    return options


KALDI = {
    "defaults": {},
    "the ends mirrored (snip_edges=false)": {"centred": True, "padding": "mirror"},
    "8 kHz, 40 mels": {"sample_rate_hz": 8_000, "mels": 40},
    "hamming, a high cut": {"window": "hamming", "high_hz": 7_600},
    "hann, as the sound is": {"window": "hann", "remove_dc": False, "preemphasis": 0},
    "32 ms every 16 ms": {"window_ms": 32, "hop_ms": 16, "centred": True, "padding": "mirror"},
}


@pytest.mark.parametrize("changes", KALDI.values(), ids=KALDI)
def test_log_mel_agrees_with_kaldi(changes):
    s = FeatureSettings(normalise="none", **changes)
    x = voice(s.sample_rate_hz) + np.float32(0.01)  # an offset, for remove_dc
    theirs = kaldi(kaldi_options(knf.FbankOptions(), s), knf.OnlineFbank, x)
    assert difference(FrontEnd(s)(x), theirs) < AGREE


@pytest.mark.parametrize("changes", KALDI.values(), ids=KALDI)
@pytest.mark.parametrize("lifter", [22, 0])
def test_mfcc_agrees_with_kaldi(changes, lifter):
    s = FeatureSettings(kind="mfcc", normalise="none", lifter=lifter, **{"mels": 23, **changes})
    options = kaldi_options(knf.MfccOptions(), s)
    options.use_energy, options.num_ceps, options.cepstral_lifter = False, s.coefficients, lifter
    x = voice(s.sample_rate_hz)
    assert difference(FrontEnd(s)(x), kaldi(options, knf.OnlineMfcc, x)) < AGREE


@pytest.mark.parametrize("samples", [0, 1, 79, 80, 81, 399, 400, 401, 559, 560, 1_000])
@pytest.mark.parametrize("centred", [False, True])
def test_short_recordings_have_as_many_frames_as_kaldi(samples, centred):
    s = FeatureSettings(normalise="none", centred=centred, padding="mirror")
    computer = knf.OnlineFbank(kaldi_options(knf.FbankOptions(), s))
    computer.accept_waveform(16_000, voice(16_000)[:samples].tolist())
    computer.input_finished()
    assert FrontEnd(s).frames(samples) == computer.num_frames_ready


def librosa_settings(**changes):
    """librosa's own defaults, at 16 kHz."""
    s = {
        "window": "hann", "periodic": True, "centred": True, "preemphasis": 0, "remove_dc": False,
        "low_hz": 0, "mel_scale": "slaney", "log": "decibel", "log_floor": 1e-10, "lifter": 0,
        "normalise": "none",
    }  # fmt: skip
    return FeatureSettings(**{**s, **changes})


def librosa_power(x, s):
    return librosa.feature.melspectrogram(
        y=x,
        sr=s.sample_rate_hz,
        n_fft=s.fft_length,
        win_length=s.window_samples,
        hop_length=s.hop_samples,
        n_mels=s.mels,
        fmin=s.low_hz,
        fmax=s.high_hz,
        htk=s.mel_scale == "htk",
        norm="slaney" if s.mel_scale == "slaney" else None,
        center=s.centred,
        pad_mode={"zeros": "constant", "reflect": "reflect", "mirror": "symmetric"}[s.padding],
    )


LIBROSA = {
    "defaults": {},
    "the ends reflected": {"padding": "reflect"},
    "no padding": {"centred": False, "window_ms": 32, "fft_samples": 512},
    "the window as long as the transform": {"fft_samples": 400},
    "a long transform, htk mels": {"fft_samples": 2_048, "mel_scale": "htk", "mels": 64},
    "22 kHz": {
        "sample_rate_hz": 22_050, "window_ms": 46.44, "hop_ms": 11.61, "high_hz": 8_000,
    },
}  # fmt: skip


@pytest.mark.parametrize("changes", LIBROSA.values(), ids=LIBROSA)
def test_log_mel_agrees_with_librosa(changes):
    s = librosa_settings(**changes)
    x = voice(s.sample_rate_hz)
    theirs = librosa.power_to_db(librosa_power(x, s), amin=1e-10, top_db=None).T
    assert difference(FrontEnd(s)(x), theirs) < AGREE


def test_mfcc_agrees_with_librosa():
    s = librosa_settings(kind="mfcc", coefficients=20, mels=128, fft_samples=2_048)
    x = voice(s.sample_rate_hz)
    power_db = librosa.power_to_db(librosa_power(x, s), amin=1e-10, top_db=None)
    assert difference(FrontEnd(s)(x), librosa.feature.mfcc(S=power_db, n_mfcc=20).T) < AGREE


@pytest.mark.parametrize("side_frames", [1, 2, 4])
def test_first_derivatives_agree_with_librosa(side_frames):
    x = voice(16_000)
    s = FeatureSettings(kind="mfcc", normalise="none", deltas=1, delta_frames=side_frames)
    base, slopes = np.split(FrontEnd(s)(x), 2, axis=1)
    theirs = librosa.feature.delta(base.T, width=2 * side_frames + 1, mode="nearest").T
    assert difference(slopes, theirs) < AGREE
