"""One picture of a recording: waveform, spectrum, spectrogram, mel bands and MFCC."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from auricle import audio
from auricle.drawing import Axis, Panel, Picture, Text, envelope
from auricle.errors import DataError
from auricle.features import FeatureSettings, FrontEnd

WIDTH = 980.0
LEFT, RIGHT = 74.0, 24.0
LONGEST_S = 600.0  # of sound that is drawn without being asked for
RANGE_DB = 70.0  # from the loudest place of a spectrogram to its black
SPECTRUM_SAMPLES = 2_048
FRAMES = 1_600  # of a spectrogram, at most

Float32 = NDArray[np.float32]


def plot(
    path: str | os.PathLike[str], *, start_s: float = 0.0, duration_s: float | None = None
) -> Picture:
    """Draw a recording.

    Waveform, spectrum and spectrogram are of the recording at its own rate; mel bands and MFCC as a
    model hears them, at 16 kHz, before their normalisation.

    Args:
        path: of the recording; its channels are mixed.
        start_s: where the stretch begins.
        duration_s: how long it is; None: to the end, 10 minutes at most.

    Raises:
        DataError: when the recording cannot be read, or the stretch is shorter than 25 ms.
    """
    info = audio.inspect(path)
    asked_s = LONGEST_S if duration_s is None else duration_s
    samples, rate_hz = audio.load(path, None, start_s=start_s, duration_s=asked_s)
    if len(samples) < 0.025 * rate_hz:
        raise DataError(f"{path}: {len(samples) / rate_hz:.3f} s are too short to draw: 0.025 s")
    shown_s = len(samples) / rate_hz
    name = Path(path).name
    facts = (
        f"{info.format}, {info.sample_rate_hz:,} Hz, {info.channels} channel"
        f"{'s' if info.channels > 1 else ''}, {info.duration_s:.2f} s"
    )
    if start_s or shown_s < info.duration_s - 0.01:
        facts += f"; drawn are {start_s:.2f} to {start_s + shown_s:.2f} s"
    rows: list[tuple[float, Callable[[Picture, float, float], None]]] = [
        (120.0, lambda picture, y, h: _waveform(picture, y, h, samples, start_s, shown_s)),
        (150.0, lambda picture, y, h: _spectrum(picture, y, h, samples, rate_hz)),
        (190.0, lambda picture, y, h: _spectrogram(picture, y, h, samples, rate_hz, start_s)),
    ]
    heard = audio.resample(samples, rate_hz, audio.SAMPLE_RATE_HZ)
    rows += [
        (150.0, lambda picture, y, h: _mels(picture, y, h, heard, start_s)),
        (130.0, lambda picture, y, h: _mfcc(picture, y, h, heard, start_s)),
    ]
    height = 76.0 + sum(each + 74.0 for each, _ in rows)
    picture = Picture(WIDTH, height, f"{name}: waveform, spectrum, spectrogram, mel bands, MFCC")
    picture.add(Text(24, 34, name, 19, bold=True), Text(24, 54, facts, 12.5, "soft"))
    y = 96.0
    for row, draw in rows:
        draw(picture, y, row)
        y += row + 74.0
    return picture


def _panel(picture: Picture, y: float, height: float, across: Axis, up: Axis) -> Panel:
    return Panel(picture, LEFT, y, WIDTH - LEFT - RIGHT, height, across, up)


def _time(start_s: float, seconds: float) -> Axis:
    return Axis(start_s, start_s + seconds, "time (s)")


def _waveform(
    picture: Picture, y: float, height: float, samples: Float32, start_s: float, shown_s: float
) -> None:
    loudest = max(1e-3, float(np.abs(samples).max()))
    panel = _panel(
        picture, y, height, _time(start_s, shown_s), Axis(-loudest, loudest, "amplitude")
    )
    panel.frame("Waveform (1 is full scale)")
    at, low, high = envelope(samples, int(2 * panel.width))
    panel.band(start_s + at * shown_s, low, high)


def _spectrum(picture: Picture, y: float, height: float, samples: Float32, rate_hz: int) -> None:
    power, _ = _powers(samples, SPECTRUM_SAMPLES, rate_hz)
    level_db = _decibel(power.mean(axis=0))[1:]
    hz = np.fft.rfftfreq(SPECTRUM_SAMPLES, 1 / rate_hz)[1:]
    top = float(np.ceil(level_db.max() / 10) * 10)
    bottom = max(float(np.floor(level_db.min() / 10) * 10), top - 100)
    across = Axis(max(20.0, float(hz[0])), rate_hz / 2, "frequency (Hz)", log=True)
    panel = _panel(picture, y, height, across, Axis(bottom, top, "power (dB)"))
    panel.frame("Spectrum, mean over the whole")
    inside = hz >= across.low
    curve = np.maximum(level_db[inside], bottom)
    panel.band(hz[inside], np.full(inside.sum(), bottom), curve, opacity=0.18)
    panel.line(hz[inside], curve)


def _spectrogram(
    picture: Picture, y: float, height: float, samples: Float32, rate_hz: int, start_s: float
) -> None:
    window = 1 << max(5, round(np.log2(0.025 * rate_hz)))
    power, reach_s = _powers(samples, window, rate_hz)
    level_db = _decibel(power)
    top = float(level_db.max())
    panel = _panel(
        picture,
        y,
        height,
        _time(start_s, len(samples) / rate_hz),
        Axis(0, rate_hz / 2_000, "frequency (kHz)"),
    )
    panel.frame(f"Spectrogram ({RANGE_DB:.0f} dB from light to dark)", grid=False)
    panel.heat(level_db, top - RANGE_DB, top, x=(start_s + reach_s[0], start_s + reach_s[1]))


def _mels(picture: Picture, y: float, height: float, samples: Float32, start_s: float) -> None:
    settings = FeatureSettings(normalise="none")
    features = FrontEnd(settings)(samples)
    panel = _panel(
        picture,
        y,
        height,
        _time(start_s, len(samples) / settings.sample_rate_hz),
        Axis(0, settings.mels, "mel band"),
    )
    high_hz = settings.high_hz or settings.sample_rate_hz / 2
    panel.frame(
        f"Log-mel: {settings.mels} bands of {settings.low_hz:.0f} to {high_hz:,.0f} Hz", grid=False
    )
    low, high = np.quantile(features, [0.02, 1.0])
    panel.heat(features, float(low), float(high), x=_reach(settings, len(features), start_s))


def _mfcc(picture: Picture, y: float, height: float, samples: Float32, start_s: float) -> None:
    settings = FeatureSettings(kind="mfcc", normalise="none")
    features = FrontEnd(settings)(samples)
    # The zeroth follows the loudness and would leave the others no colours: each has its own range.
    spread = features.std(axis=0) + 1e-6
    levels = (features - features.mean(axis=0)) / spread
    count = settings.coefficients
    middles = tuple(each + 0.5 for each in range(0, count, 3))
    names = tuple(str(each) for each in range(0, count, 3))
    panel = _panel(
        picture,
        y,
        height,
        _time(start_s, len(samples) / settings.sample_rate_hz),
        Axis(0, count, "coefficient", ticks=middles, names=names),
    )
    panel.frame("MFCC (each from two deviations below its mean to two above)", grid=False)
    panel.heat(levels, -2, 2, x=_reach(settings, len(features), start_s), smooth=False)


def _reach(settings: FeatureSettings, frames: int, start_s: float) -> tuple[float, float]:
    """From the start of the first frame to where the one after the last would start."""
    hop_s = settings.hop_samples / settings.sample_rate_hz
    first_s = (settings.window_samples - settings.hop_samples) / 2 / settings.sample_rate_hz
    return start_s + first_s, start_s + first_s + frames * hop_s


def _powers(
    samples: Float32, window: int, rate_hz: int
) -> tuple[NDArray[np.float64], tuple[float, float]]:
    """(T, window / 2 + 1) power of Hann windows, spread over all of (N,); and from when to when."""
    if len(samples) < window:
        samples = np.pad(samples, (0, window - len(samples)))
    hop = max(window // 4, -(-(len(samples) - window) // (FRAMES - 1)))
    starts = np.arange(0, len(samples) - window + 1, hop)
    hann = np.hanning(window).astype(np.float32)
    scale = 2 / hann.sum() ** 2  # a sine of full scale has power 1/2
    power = np.stack(
        [np.abs(np.fft.rfft(samples[at : at + window] * hann)) ** 2 * scale for at in starts]
    )
    first = (window - hop) / 2 / rate_hz
    return power, (first, first + len(starts) * hop / rate_hz)


def _decibel(power: NDArray[np.float64]) -> NDArray[np.float64]:
    level: NDArray[np.float64] = 10 * np.log10(np.maximum(power, 1e-14))
    return level
