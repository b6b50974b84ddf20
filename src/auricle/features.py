"""Sound -> log-mel or MFCC frames: the one front end of training, serving and streaming (numpy).

The defaults follow Kaldi's `fbank` on samples within -1..1; other settings give librosa's. A whole
recording runs through the same `FeatureStream` that live sound does, so chunked equals whole.

Axes: N samples, T frames, F features, W window samples, M mels.
Sources: Kaldi `feature-window.cc`, `mel-computations.cc` and `feature-functions.cc`; Slaney,
"Auditory Toolbox" (1998); O'Shaughnessy, "Speech Communication" (1987) for the HTK mel; Radford et
al., "Robust Speech Recognition via Large-Scale Weak Supervision" (2022) for features under a peak.
"""

import copy
from collections.abc import Callable
from typing import Any, Literal, Self

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from pydantic import Field, model_validator

from auricle.config import Settings
from auricle.errors import ConfigError

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Rfft = Callable[[Float32, int], NDArray[Any]]  # (T, W) windows, length -> (T, lines), complex
Normalisation = Literal["utterance", "peak", "running", "none"]

BLOCK_FRAMES = 256  # frames worked on at once: their spectra stay in the cache
VARIANCE_FLOOR = 1e-5  # squared feature units: digital silence stays finite


class FeatureSettings(Settings):
    """What the network hears: by default 80 log-mel features of 25 ms every 10 ms, as Kaldi's.

    `kind="wave"` hands the samples on untouched, one a frame; every setting but the rate is then
    without meaning. librosa's log-mel is `centred=True, window="hann", periodic=True,
    preemphasis=0, remove_dc=False, low_hz=0, mel_scale="slaney", log="decibel", log_floor=1e-10`.
    """

    kind: Literal["log_mel", "mfcc", "wave"] = "log_mel"
    sample_rate_hz: int = Field(default=16_000, ge=1_000, le=768_000)
    window_ms: float = Field(default=25.0, gt=0, le=1_000)
    hop_ms: float = Field(default=10.0, gt=0, le=1_000)
    fft_samples: int | None = Field(default=None, ge=2, le=2**20)  # None: next power of two
    window: Literal["povey", "hann", "hamming"] = "povey"  # povey: symmetric hann ** 0.85
    periodic: bool = False  # the window's period is W, as in librosa; else W - 1, as in Kaldi
    centred: bool = False  # frame t is centred on sample t * hop; else only windows that fit whole
    padding: Literal["zeros", "reflect", "mirror"] = "zeros"  # centred: what lies beyond the ends;
    # mirror: Kaldi's snip_edges=false, which also centres frame t on (t + 1/2) * hop
    dither: float = Field(default=0.0, ge=0, le=1)  # deviation of added noise; full scale is 1
    remove_dc: bool = True  # take the mean off each window
    preemphasis: float = Field(default=0.97, ge=0, le=1)  # within each window, as Kaldi does
    mels: int = Field(default=80, ge=1, le=1_024)
    low_hz: float = Field(default=20.0, ge=0)
    high_hz: float | None = Field(default=None, gt=0)  # None: half the sampling rate
    mel_scale: Literal["kaldi", "htk", "slaney"] = "kaldi"  # htk: Kaldi's, but linear in Hz within
    # a triangle; slaney: linear below 1 kHz, and each triangle divided by its width in Hz
    log: Literal["natural", "decibel"] = "natural"
    log_floor: float = Field(default=1.1920929e-07, gt=0, le=1)  # least mel power
    coefficients: int = Field(default=13, ge=1, le=1_024)  # mfcc only
    lifter: float = Field(default=22.0, ge=0, le=1_000)  # mfcc only; 0: none
    deltas: Literal[0, 1, 2] = 0  # append the first and second time derivatives
    delta_frames: int = Field(default=2, ge=1, le=100)  # on either side, that a delta looks at
    normalise: Normalisation = "utterance"  # mean 0 and variance 1 of each feature; peak: -2..2,
    # by what is loudest in the recording, so that the spectrum keeps its shape
    running_s: float = Field(default=3.0, gt=0, le=3_600)  # past that running statistics look at
    dynamic_range_db: float = Field(default=60.0, gt=0, le=200)  # peak: what is quieter is alike

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.hop_samples < 1 or self.window_samples < 2:
            raise ValueError("window_ms or hop_ms is less than a sample")
        if self.hop_samples > self.window_samples:
            raise ValueError(f"hop_ms = {self.hop_ms} is longer than window_ms = {self.window_ms}")
        if self.fft_length < self.window_samples or self.fft_length % 2:
            raise ValueError(
                f"fft_samples = {self.fft_length} must be even and hold the window,"
                f" {self.window_samples} samples"
            )
        nyquist_hz = self.sample_rate_hz / 2
        if not self.low_hz < (self.high_hz or nyquist_hz) <= nyquist_hz:
            raise ValueError(
                f"low_hz = {self.low_hz} < high_hz = {self.high_hz} <= {nyquist_hz} does not hold"
            )
        if self.kind == "mfcc" and self.coefficients > self.mels:
            raise ValueError(f"coefficients = {self.coefficients} exceed mels = {self.mels}")
        if self.normalise == "peak" and (self.kind == "mfcc" or self.deltas):
            raise ValueError(
                'normalise = "peak" is for log-mels alone: for MFCC and deltas take "utterance"'
            )
        return self

    @property
    def needs_whole(self) -> bool:
        """Whether the first frame depends on the last: not for live sound."""
        return self.kind != "wave" and self.normalise in ("utterance", "peak")

    @property
    def window_samples(self) -> int:
        """W, the window's length."""
        return round(self.window_ms * self.sample_rate_hz / 1_000)

    @property
    def hop_samples(self) -> int:
        """Samples from one frame to the next."""
        return 1 if self.kind == "wave" else round(self.hop_ms * self.sample_rate_hz / 1_000)

    @property
    def fft_length(self) -> int:
        """Samples of the Fourier transform; the window is padded with zeros to it."""
        return self.fft_samples or 1 << (self.window_samples - 1).bit_length()

    @property
    def left_samples(self) -> int:
        """Samples of padding before the first one."""
        if not self.centred:
            return 0
        if self.padding == "mirror":
            return self.window_samples // 2 - self.hop_samples // 2
        return self.fft_length // 2 - (self.fft_length - self.window_samples) // 2


class FrontEnd:
    """Samples -> features, the same for a whole recording and for a stream of it.

    Args:
        rfft: the Fourier transform, numpy's or one that is equal to it but for rounding.

    Attributes:
        settings: what was asked for.
        dim: F, features in a frame.
        hop_s: seconds from one frame to the next.

    Raises:
        ConfigError: a mel filter falls between two lines of the spectrum and would hear nothing.
    """

    def __init__(self, settings: FeatureSettings | None = None, rfft: Rfft = np.fft.rfft) -> None:
        self.settings = s = settings or FeatureSettings()
        self._rfft = rfft
        self.hop_s = s.hop_samples / s.sample_rate_hz
        width = {"log_mel": s.mels, "mfcc": s.coefficients, "wave": 1}[s.kind]
        self.dim = width if s.kind == "wave" else width * (1 + s.deltas)
        self._window = _window(s)
        filters = mel_filters(s)
        self._filters = np.repeat(filters, 2, axis=0)  # for real and imaginary parts in turns
        deaf = np.flatnonzero(filters.sum(axis=0) == 0)
        if deaf.size and s.kind != "wave":
            raise ConfigError(
                f"mels = {s.mels} are too many for a Fourier transform of {s.fft_length} samples:"
                f" filter {deaf[0]} hears nothing; take fewer mels or more fft_samples"
            )
        self._cepstra = _cepstra(s) if s.kind == "mfcc" else None

    def frames(self, samples: int) -> int:
        """T, the frames of a recording of `samples` samples."""
        s = self.settings
        if s.kind == "wave":
            return samples
        if samples <= 0:
            return 0
        if not s.centred:
            return max(0, 1 + (samples - s.window_samples) // s.hop_samples)
        if s.padding == "mirror":
            return (samples + s.hop_samples // 2) // s.hop_samples
        return 1 + samples // s.hop_samples

    def frame_time_s(self, frame: int) -> float:
        """When the middle of `frame` sounds, in seconds from the first sample."""
        s = self.settings
        if s.kind == "wave":
            return frame / s.sample_rate_hz
        middle_samples = frame * s.hop_samples + s.window_samples / 2 - s.left_samples
        return middle_samples / s.sample_rate_hz

    def frame_at(self, time_s: float) -> int:
        """The frame whose middle is nearest to `time_s`; 0 for times before it."""
        return max(0, round((time_s - self.frame_time_s(0)) / self.hop_s))

    def __call__(self, samples: NDArray[Any]) -> Float32:
        """(N,) samples within -1..1 -> (T, F) float32; long recordings go through in blocks."""
        stream = FeatureStream(self, whole=True)
        features = np.concatenate([stream.push(samples), stream.finish()])
        if not self.settings.needs_whole or not len(features):
            return features
        if self.settings.normalise == "utterance":
            return normalise(features, "utterance")
        return under_peak(features, self.settings)

    def stream(self) -> "FeatureStream":
        """A stream whose outputs, one after the other, equal those of the whole recording.

        Raises:
            ConfigError: for `normalise="utterance"` or `"peak"`, which need the whole recording.
        """
        return FeatureStream(self)

    def spectra(self, windows: Float32) -> Float32:
        """(T, W) windows of samples -> (T, M) log-mel or (T, coefficients) MFCC."""
        s = self.settings
        # In place where it can be: this is most of what a short clip costs.
        level = windows.mean(axis=1, keepdims=True) if s.remove_dc else np.float32(0)
        windows = windows - level
        if s.preemphasis:
            windows[:, 1:] -= windows[:, :-1] * np.float32(s.preemphasis)
            windows[:, 0] *= np.float32(1 - s.preemphasis)  # as if it had been like that before
        windows *= self._window
        # complex64, seen as pairs of reals: their squares are summed by the filters
        spectrum: Float32 = self._rfft(windows, s.fft_length).view(np.float32)
        np.square(spectrum, out=spectrum)
        mels = spectrum @ self._filters
        log_mels: Float32 = np.log(np.maximum(mels, np.float32(s.log_floor)))
        if s.log == "decibel":
            log_mels *= np.float32(10 / np.log(10))
        return log_mels if self._cepstra is None else log_mels @ self._cepstra


class FeatureStream:
    """Live sound -> features: `push` chunks of any length, then `finish` once.

    Raises:
        ConfigError: for settings that need the whole, unless the caller sees to it (`whole`).
    """

    def __init__(self, front_end: FrontEnd, *, whole: bool = False) -> None:
        s = front_end.settings
        if s.needs_whole and not whole:
            raise ConfigError(
                f'normalise = "{s.normalise}" needs the whole recording: a model for live sound is'
                ' trained with normalise = "running" or "none"'
            )
        self._front_end = front_end
        self._settings = s
        self._noise = np.random.default_rng(0)  # dither: the same for every recording
        self._windows = _Windows(s)
        self._deltas = _Deltas(s.deltas, s.delta_frames) if s.deltas else None
        running = s.normalise == "running"
        self._running = RunningNormaliser(round(s.running_s / front_end.hop_s)) if running else None

    def copy(self) -> Self:
        """A stream that goes its own way from here; the past is shared, nothing writes to it."""
        other = copy.copy(self)
        if self._settings.dither:  # takes longer than all the rest
            other._noise = copy.deepcopy(self._noise)
        other._windows = copy.copy(self._windows)
        other._deltas = copy.copy(self._deltas)
        other._running = copy.copy(self._running)
        return other

    def push(self, chunk: NDArray[Any]) -> Float32:
        """(n,) further samples -> the (t, F) frames that they complete, t >= 0."""
        samples = np.asarray(chunk, np.float32)
        if samples.ndim != 1:
            raise ValueError(f"the front end hears one channel, (samples,); got {samples.shape}")
        s = self._settings
        if s.kind == "wave":
            return samples[:, None].copy()
        if s.dither:
            noise = self._noise.standard_normal(len(samples), np.float32)
            samples = samples + np.float32(s.dither) * noise
        return self._features(self._windows.push(samples), last=False)

    def finish(self) -> Float32:
        """The (t, F) frames that waited for the end; the stream is spent."""
        if self._settings.kind == "wave":
            return np.zeros((0, 1), np.float32)
        return self._features(self._windows.finish(self._front_end.frames), last=True)

    def _features(self, windows: Float32, *, last: bool) -> Float32:
        blocks = range(0, max(1, len(windows)), BLOCK_FRAMES)
        features = np.concatenate(
            [self._front_end.spectra(windows[at : at + BLOCK_FRAMES]) for at in blocks]
        )
        if self._deltas:
            features = self._deltas.push(features, last=last)
        return self._running.push(features) if self._running else features


class _Windows:
    """Cuts a stream of samples into overlapping windows, and pads its ends where asked."""

    def __init__(self, settings: FeatureSettings) -> None:
        self._settings = settings
        self._pending: Float32 = np.zeros(0, np.float32)  # samples of windows to come
        self._tail: Float32 = np.zeros(0, np.float32)  # the last W samples, to reflect at the end
        self._samples = 0
        self._frames = 0
        self._padded = False  # on the left

    def push(self, samples: Float32) -> Float32:
        """(n,) samples -> (t, W), the windows that they complete."""
        s = self._settings
        self._samples += len(samples)
        self._tail = np.concatenate([self._tail, samples[-s.window_samples :]])[-s.window_samples :]
        self._pending = np.concatenate([self._pending, samples])
        if not self._padded:
            if self._samples <= s.left_samples:  # too few to reflect
                return self._take(0)
            self._pending = self._pad(self._pending, s.left_samples, 0)
            self._padded = True
        return self._take(max(0, 1 + (len(self._pending) - s.window_samples) // s.hop_samples))

    def finish(self, frames_of: Callable[[int], int]) -> Float32:
        """The remaining (t, W) windows; `frames_of` says how many a recording has."""
        s = self._settings
        frames = frames_of(self._samples)
        if s.centred and frames:
            end = (frames - 1) * s.hop_samples + s.window_samples - s.left_samples
            right = max(0, end - self._samples)
            if self._padded:
                beyond = self._pad(self._tail, 0, right)[len(self._tail) :]
                self._pending = np.concatenate([self._pending, beyond])
            else:
                self._pending = self._pad(self._pending, s.left_samples, right)
        return self._take(frames - self._frames)

    def _take(self, frames: int) -> Float32:
        s = self._settings
        if not frames:
            return np.zeros((0, s.window_samples), np.float32)
        windows = sliding_window_view(self._pending, s.window_samples)[:: s.hop_samples][:frames]
        self._pending = self._pending[frames * s.hop_samples :]
        self._frames += frames
        return windows

    def _pad(self, x: Float32, left: int, right: int) -> Float32:
        if self._settings.padding == "zeros":
            return np.pad(x, (left, right))
        mode: Literal["reflect", "symmetric"] = (
            "reflect" if self._settings.padding == "reflect" else "symmetric"
        )
        return np.pad(x, (left, right), mode)


class _Deltas:
    """Appends time derivatives; beyond the ends, the first and last frames count as repeated."""

    def __init__(self, orders: int, side_frames: int) -> None:
        offsets = np.arange(-side_frames, side_frames + 1)
        slope = offsets / np.sum(offsets**2)  # of the line nearest to the frames around
        self._kernels = [slope, np.convolve(slope, slope)][:orders]
        self._side = orders * side_frames  # frames on either side that the last order looks at
        self._waiting: Float32 | None = None

    def push(self, base: Float32, *, last: bool) -> Float32:
        """(t, F) -> (t', F * (1 + orders)): the frames whose neighbours are all known."""
        if self._waiting is None:
            self._waiting = np.repeat(base[:1], self._side, axis=0)  # none while base is empty
        known = np.concatenate([self._waiting, base])
        if last:
            known = np.concatenate([known, np.repeat(known[-1:], self._side, axis=0)])
        frames = len(known) - 2 * self._side
        if frames <= 0:
            self._waiting = known if len(known) else None
            return np.zeros((0, base.shape[1] * (1 + len(self._kernels))), np.float32)
        self._waiting = known[frames:]
        columns = [known[self._side : self._side + frames]]
        for kernel in self._kernels:
            skip = self._side - len(kernel) // 2
            around = sliding_window_view(known[skip : len(known) - skip], len(kernel), axis=0)
            columns.append(around @ kernel.astype(np.float32))
        return np.concatenate(columns, axis=1)


class RunningNormaliser:
    """Mean 0 and variance 1 by the statistics of the last frames, the present one included.

    The first frames know little: frame 0 becomes zeros, and none exceeds sqrt(frames so far).
    """

    def __init__(self, frames: int) -> None:
        self._window_frames = max(2, frames)
        self._past: Float64 | None = None  # (<= window - 1, F)

    def push(self, features: Float32) -> Float32:
        """(t, F) further frames -> the same frames, normalised."""
        past = features[:0].astype(np.float64) if self._past is None else self._past
        known = np.concatenate([past, features])
        self._past = known[-(self._window_frames - 1) :]
        # sums[i] runs over known[:i]; a window's sum is the difference of two
        sums = np.cumsum(np.pad(known, ((1, 0), (0, 0))), axis=0)
        squares = np.cumsum(np.pad(known**2, ((1, 0), (0, 0))), axis=0)
        ends = np.arange(len(past) + 1, len(known) + 1)
        starts = np.maximum(0, ends - self._window_frames)
        counts = (ends - starts)[:, None]
        mean = (sums[ends] - sums[starts]) / counts
        variance = (squares[ends] - squares[starts]) / counts - mean**2
        normal: Float64 = (features - mean) / np.sqrt(np.maximum(variance, VARIANCE_FLOOR))
        return normal.astype(np.float32)


def normalise(features: Float32, how: Normalisation, running_frames: int = 300) -> Float32:
    """Each feature to mean 0 and variance 1; without variance (silence) it becomes 0.

    Args:
        features: (T, F).
        how: over the "utterance", over the last `running_frames` ("running"), or "none".

    Returns:
        (T, F) float32.
    """
    if how == "none" or not len(features):
        return features
    if how == "running":
        return RunningNormaliser(running_frames).push(features)
    centred: Float32 = features - features.mean(axis=0, dtype=np.float64).astype(np.float32)
    variance = np.square(centred).mean(axis=0, dtype=np.float64)
    deviation: Float32 = np.sqrt(np.maximum(variance, VARIANCE_FLOOR)).astype(np.float32)
    return centred / deviation


def under_peak(log_mels: Float32, settings: FeatureSettings) -> Float32:
    """Log powers between -2, `dynamic_range_db` or more under the loudest, and 2, the loudest.

    How loud a recording is goes, the shape of its spectrum stays. One so quiet that the logarithm's
    floor lies within that range is measured from the floor instead: silence is -2, not 2.

    Args:
        log_mels: (T, M) at least one frame, in the unit of `settings.log`.

    Returns:
        (T, M) float32. Source: Radford et al. (2022), whose front end ranges over 80 dB.
    """
    unit = 1 if settings.log == "decibel" else np.log(10) / 10  # of a decibel
    reach = settings.dynamic_range_db * unit
    floor = 10 * np.log10(settings.log_floor) * unit
    peak = max(float(log_mels.max()), floor + reach)
    within: Float32 = np.maximum(log_mels, np.float32(peak - reach))
    within -= np.float32(peak - reach / 2)
    within *= np.float32(4 / reach)
    return within


def mel_filters(settings: FeatureSettings) -> Float32:
    """(fft_length / 2 + 1, M) weights that take a power spectrum to mel powers."""
    s = settings
    to_mel, to_hz = _SCALES[s.mel_scale]
    low, high = to_mel(np.array([s.low_hz, s.high_hz or s.sample_rate_hz / 2]))
    edges: Float64 = np.linspace(low, high, s.mels + 2)
    lines = np.fft.rfftfreq(s.fft_length, 1 / s.sample_rate_hz).astype(np.float64)
    if s.mel_scale == "kaldi":  # the triangles are straight in mel
        lines = to_mel(lines)
    else:  # ... or in Hz
        edges = to_hz(edges)
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    rising = (lines[:, None] - left) / (centre - left)
    falling = (right - lines[:, None]) / (right - centre)
    weights: Float64 = np.maximum(0, np.minimum(rising, falling))
    if s.mel_scale == "slaney":
        weights *= 2 / (right - left)
    return weights.astype(np.float32)


def _htk_mel(hz: Float64) -> Float64:
    return 1_127 * np.log1p(hz / 700)


def _htk_hz(mel: Float64) -> Float64:
    return 700 * np.expm1(mel / 1_127)


def _slaney_mel(hz: Float64) -> Float64:
    """Linear to 1 kHz = mel 15, then 27 mels for each factor of 6.4."""
    above = 15 + 27 * np.log(np.maximum(hz, 1_000) / 1_000) / np.log(6.4)
    return np.where(hz < 1_000, hz * 0.015, above)


def _slaney_hz(mel: Float64) -> Float64:
    return np.where(mel < 15, mel / 0.015, 1_000 * 6.4 ** ((mel - 15) / 27))


_SCALES = {  # Hz -> mel, mel -> Hz
    "kaldi": (_htk_mel, _htk_hz),
    "htk": (_htk_mel, _htk_hz),
    "slaney": (_slaney_mel, _slaney_hz),
}


def _window(s: FeatureSettings) -> Float32:
    """(W,) the weights of a window's samples."""
    period = s.window_samples - (0 if s.periodic else 1)
    cosine: Float64 = np.cos(2 * np.pi * np.arange(s.window_samples) / period)
    if s.window == "hamming":
        return (0.54 - 0.46 * cosine).astype(np.float32)
    hann = 0.5 - 0.5 * cosine
    return (hann**0.85 if s.window == "povey" else hann).astype(np.float32)


def _cepstra(s: FeatureSettings) -> Float32:
    """(M, coefficients) the orthonormal DCT-II of the log-mels, liftered as in HTK."""
    k = np.arange(s.coefficients)
    cosines: Float64 = np.cos(np.pi / s.mels * (np.arange(s.mels)[:, None] + 0.5) * k)
    cosines *= np.sqrt(np.where(k == 0, 1, 2) / s.mels)
    if s.lifter:
        cosines *= 1 + s.lifter / 2 * np.sin(np.pi * k / s.lifter)
    return cosines.astype(np.float32)
