"""Augmentation: pure functions that take a generator, and one typed policy over them.

On the wave, in the order in which sound happens: speed, pitch and time shift (the speaker), room
and noise (the place), overdrive (the microphone), band (the line), gain. On the spectrogram:
SpecAugment. Nothing is drawn from a global generator: `generator(seed, epoch, example_id)` gives
every example its own, so what is drawn for it depends on neither the number of workers nor the
order in which they work.

Waves are float32 (N,) and stay so; they may leave [-1, 1], which hurts nothing before a front end.
"""

import hashlib
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field

from auricle import audio
from auricle.config import Settings
from auricle.errors import ConfigError

Array: TypeAlias = NDArray[np.float32]


LONGEST_NOISE_S = 60.0  # of each file: bounds the memory of the cache
LONGEST_ROOM_S = 2.0  # of each response, after its direct sound: bounds the cost of an FFT


def _ordered(value: tuple[float, float]) -> tuple[float, float]:
    if value[0] > value[1]:
        raise ValueError(f"a range is [low, high], and {value[0]:g} is above {value[1]:g}")
    return value


Db = Annotated[float, Field(ge=-60, le=60)]
DbRange = Annotated[tuple[Db, Db], AfterValidator(_ordered)]
Hz = Annotated[float, Field(ge=0, le=96_000)]
HzRange = Annotated[tuple[Hz, Hz], AfterValidator(_ordered)]
Factor = Annotated[float, Field(ge=0.5, le=2.0)]
Probability = Annotated[float, Field(ge=0, le=1)]


class AugmentSettings(Settings):
    """The policy. The defaults are speed and SpecAugment; the rest waits for a probability."""

    speeds: tuple[Factor, ...] = Field((0.9, 1.0, 1.1), min_length=1)  # one is drawn; (1,) is off
    pitch_probability: Probability = 0.0
    pitch_semitones: float = Field(2.0, ge=0, le=12)  # drawn from -x to x
    shift_ms: float = Field(0.0, ge=0, le=10_000)  # drawn from -x to x
    room_probability: Probability = 0.0
    rooms: str | None = None  # folder of impulse responses
    noise_probability: Probability = 0.0
    noises: str | None = None  # folder of recordings
    noise_snr_db: DbRange = (5.0, 25.0)
    white_probability: Probability = 0.0
    white_snr_db: DbRange = (15.0, 40.0)
    overdrive_probability: Probability = 0.0
    overdrive_db: DbRange = (0.0, 25.0)  # of the highest peak, above where it is clipped
    band_probability: Probability = 0.0
    band_low_hz: HzRange = (0.0, 300.0)  # the lower edge is drawn from here
    band_high_hz: HzRange = (3_000.0, 7_000.0)  # and the upper one from here
    gain_db: DbRange = (0.0, 0.0)
    frequency_masks: int = Field(2, ge=0, le=20)
    frequency_mask_bins: int = Field(27, ge=0, le=1000)  # widest
    time_masks: int = Field(5, ge=0, le=100)
    time_mask_frames: int = Field(50, ge=0, le=10_000)  # longest
    time_mask_share: float = Field(0.05, ge=0, le=1)  # of the frames, the most that one mask covers


class Augmenter:
    """The policy, applied. No draw changes what it holds: threads may share it.

    A folder is listed when first needed, so that a model trained with noise needs none to be used.
    """

    def __init__(self, settings: AugmentSettings) -> None:
        self.settings = settings

    @cached_property
    def _rooms(self) -> tuple[Path, ...]:
        return _recordings(self.settings.rooms, "rooms")

    @cached_property
    def _noises(self) -> tuple[Path, ...]:
        return _recordings(self.settings.noises, "noises")

    def speed(self, rng: np.random.Generator) -> float:
        """The factor of the speed: what `wave` draws first, so that it can be foreseen."""
        return float(rng.choice(self.settings.speeds))

    def wave(self, x: Array, rate_hz: int, rng: np.random.Generator) -> Array:
        """A new version of the samples `x` (N,); another length where the speed drawn is not 1.

        Raises:
            ConfigError: when a probability asks for a folder that is not set or holds no sound.
        """
        s = self.settings
        x = change_speed(x, rate_hz, self.speed(rng))
        if rng.random() < s.pitch_probability:
            x = shift_pitch(x, rate_hz, rng.uniform(-s.pitch_semitones, s.pitch_semitones))
        if s.shift_ms:
            x = shift_time(x, round(rng.uniform(-s.shift_ms, s.shift_ms) * rate_hz / 1000))
        if rng.random() < s.room_probability:
            x = reverberate(x, _room(self._rooms[rng.integers(len(self._rooms))], rate_hz))
        if rng.random() < s.noise_probability:
            noise = _noise(self._noises[rng.integers(len(self._noises))], rate_hz)
            x = add_noise(x, excerpt(noise, len(x), rng), rng.uniform(*s.noise_snr_db))
        if rng.random() < s.white_probability:
            noise = rng.standard_normal(len(x), dtype=np.float32)
            x = add_noise(x, noise, rng.uniform(*s.white_snr_db))
        if rng.random() < s.overdrive_probability:
            x = overdrive(x, rng.uniform(*s.overdrive_db))
        if rng.random() < s.band_probability:
            x = band(x, rate_hz, rng.uniform(*s.band_low_hz), rng.uniform(*s.band_high_hz))
        return change_gain(x, rng.uniform(*s.gain_db))

    def background(self, samples: int, rate_hz: int, rng: np.random.Generator) -> Array:
        """(`samples`,) of a drawn recording of the noises, at its own loudness and a drawn gain.

        Raises:
            ConfigError: when no folder of noises is set, or it holds no sound.
        """
        noise = _noise(self._noises[rng.integers(len(self._noises))], rate_hz)
        return change_gain(excerpt(noise, samples, rng), rng.uniform(-20.0, 0.0))

    def spectrogram(self, features: Array, rng: np.random.Generator) -> Array:
        """SpecAugment over `features` (T, F): a new array of the same shape."""
        s = self.settings
        longest = min(s.time_mask_frames, int(s.time_mask_share * len(features)))
        # Half the bins at most, so that a recording's only feature is never masked.
        widest = min(s.frequency_mask_bins, features.shape[1] // 2)
        return mask(
            features,
            rng,
            time_masks=s.time_masks,
            longest_frames=longest,
            frequency_masks=s.frequency_masks,
            widest_bins=widest,
        )


def generator(seed: int, epoch: int, example_id: str) -> np.random.Generator:
    """The generator of one example in one epoch: the same in every process, on every machine."""
    digest = hashlib.blake2b(f"{seed}/{epoch}/{example_id}".encode(), digest_size=16).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest, "little")))


def change_speed(x: Array, rate_hz: int, factor: float) -> Array:
    """Play `x` (N,) `factor` times as fast: N / factor samples, the pitch moving along.

    Source: Ko et al., Audio Augmentation for Speech Recognition, Interspeech 2015.
    """
    if factor == 1.0:
        return x
    return audio.resample(x, round(rate_hz * factor), rate_hz)


def shift_pitch(x: Array, rate_hz: int, semitones: float) -> Array:
    """Raise the pitch of `x` (N,) and keep its N samples: change the speed, then stretch back.

    The formants move with the pitch, as if the speaker were smaller. A 10 s clip takes some 20 ms.
    """
    faster = change_speed(x, rate_hz, 2.0 ** (semitones / 12))
    return faster if len(faster) == len(x) else stretch(faster, rate_hz, len(x))


def stretch(x: Array, rate_hz: int, samples: int) -> Array:
    """Make `x` (N,) last `samples` at the same pitch, by WSOLA.

    Frames of 40 ms, half overlapping, are laid down at an even pace. Each is fetched within 10 ms
    of where it belongs, there where the sound best continues that of the frame before it.

    Source: Verhelst and Roelands, An overlap-add technique based on waveform similarity (WSOLA) for
    high quality time-scale modification of speech, ICASSP 1993.
    """
    hop = max(1, round(0.020 * rate_hz))
    reach = hop // 2
    frames = -(-samples // hop) + 1
    window = np.hanning(2 * hop + 1)[:-1].astype(np.float32)  # two of them, hop apart, sum to one
    before = hop + reach
    padded = np.pad(x, (before, before + 3 * hop))
    out = np.zeros((frames + 1) * hop, np.float32)
    start = before - hop  # of the frame just laid down, in `padded`
    for frame in range(frames):
        ideal = before - hop + min(len(x), round(frame * hop * len(x) / samples))
        if frame:
            wanted = padded[start + hop : start + 3 * hop]  # how the last frame went on
            around = padded[ideal - reach : ideal + reach + 2 * hop]
            ideal += int(np.argmax(np.correlate(around, wanted))) - reach
        start = ideal
        out[frame * hop : (frame + 2) * hop] += window * padded[start : start + 2 * hop]
    return out[hop : hop + samples]


def shift_time(x: Array, samples: int) -> Array:
    """Move `x` (N,) later by `samples` (earlier if negative); what leaves its N samples is lost."""
    samples = max(-len(x), min(samples, len(x)))
    silence = np.zeros(abs(samples), np.float32)
    if samples < 0:
        return np.concatenate([x[-samples:], silence])
    return np.concatenate([silence, x[: len(x) - samples]])


def change_gain(x: Array, gain_db: float) -> Array:
    """Make `x` louder by `gain_db`."""
    return x * np.float32(10.0 ** (gain_db / 20)) if gain_db else x


def overdrive(x: Array, gain_db: float) -> Array:
    """Clip `x` (N,) as a microphone does whose limit lies `gain_db` below the highest peak.

    What is left is as loud as before.
    """
    limit = np.abs(x).max(initial=0.0) * np.float32(10.0 ** (-gain_db / 20))
    clipped = np.clip(x, -limit, limit)
    level = _rms(clipped)
    return clipped * np.float32(_rms(x) / level) if level else x


def band(x: Array, rate_hz: int, low_hz: float, high_hz: float) -> Array:
    """`x` (N,) through a line that passes `low_hz` to `high_hz` only, a telephone or a codec say.

    The edges are sharp, and the level is left to what passed.
    """
    size = _fft_size(len(x))
    spectrum = np.fft.rfft(x, size)
    hz = np.fft.rfftfreq(size, 1 / rate_hz)
    spectrum[(hz < low_hz) | (hz > high_hz)] = 0
    return np.fft.irfft(spectrum, size)[: len(x)].astype(np.float32, copy=False)


def reverberate(x: Array, room: Array) -> Array:
    """Hear `x` (N,) in a room given by its impulse response (M,): N samples, as loud as before.

    The loudest tap counts as the direct sound and stays at time zero: word times remain true.
    """
    direct = int(np.argmax(np.abs(room)))
    size = _fft_size(len(x) + len(room) - 1)
    wet = np.fft.irfft(np.fft.rfft(x, size) * np.fft.rfft(room, size), size)
    wet = wet[direct : direct + len(x)]
    level = _rms(wet)
    return (wet * (_rms(x) / level if level else 0.0)).astype(np.float32, copy=False)


def add_noise(x: Array, noise: Array, snr_db: float) -> Array:
    """`x` (N,) plus `noise` (N,) scaled to lie `snr_db` below it, both measured over all N samples.

    Silence has no ratio: if either is silent, `x` comes back as it was.
    """
    level = _rms(noise)
    if not level:
        return x
    return x + noise * np.float32(_rms(x) / level * 10.0 ** (-snr_db / 20))


def excerpt(noise: Array, samples: int, rng: np.random.Generator) -> Array:
    """`samples` of `noise` from a drawn place; shorter noise is repeated."""
    start = int(rng.integers(len(noise)))
    if start + samples <= len(noise):
        return noise[start : start + samples]
    return np.take(noise, np.arange(start, start + samples), mode="wrap")


def mask(
    features: Array,
    rng: np.random.Generator,
    *,
    time_masks: int,
    longest_frames: int,
    frequency_masks: int,
    widest_bins: int,
) -> Array:
    """SpecAugment's masks over a copy of `features` (T, F), filled with the mean of all of them.

    Each mask's width is uniform over 0 to its limit and its place uniform; no time warping.

    Source: Park et al., SpecAugment, Interspeech 2019; the limit as a share of T: Park et al.,
    SpecAugment on Large Scale Datasets, ICASSP 2020.
    """
    T, F = features.shape
    masked, fill = features.copy(), features.mean() if features.size else 0.0
    for _ in range(time_masks):
        start, end = _span(T, longest_frames, rng)
        masked[start:end] = fill
    for _ in range(frequency_masks):
        start, end = _span(F, widest_bins, rng)
        masked[:, start:end] = fill
    return masked


def _span(size: int, longest: int, rng: np.random.Generator) -> tuple[int, int]:
    width = int(rng.integers(min(longest, size) + 1))
    start = int(rng.integers(size - width + 1))
    return start, start + width


def _rms(x: NDArray[Any]) -> float:
    return float(np.sqrt(np.dot(x, x) / len(x))) if len(x) else 0.0


def _fft_size(least: int) -> int:
    """The smallest 2^a, 3 * 2^a or 5 * 2^a from `least` on: sizes at which an FFT is fast."""
    return min(m << max(0, (-(-least // m) - 1).bit_length()) for m in (1, 3, 5))


def _recordings(folder: str | None, key: str) -> tuple[Path, ...]:
    """The recordings below a folder, in an order that no file system chooses."""
    if folder is None:
        raise ConfigError(f"{key} are asked for, and no folder is set: augment.{key}=FOLDER")
    files = [path for path in Path(folder).rglob("*") if path.suffix.lower() in audio.SUFFIXES]
    if not files:
        raise ConfigError(f"{folder}: no recordings in the folder for {key}; .wav or .flac, say")
    return tuple(sorted(files, key=lambda path: path.relative_to(folder).as_posix()))


@lru_cache(maxsize=512)  # 2 GB at worst, at 16 kHz; some 50 MB for a usual folder of noises
def _noise(path: Path, rate_hz: int) -> Array:
    return audio.load(path, rate_hz, duration_s=LONGEST_NOISE_S)[0]


@lru_cache(maxsize=512)
def _room(path: Path, rate_hz: int) -> Array:
    room = audio.load(path, rate_hz)[0]
    return room[: int(np.argmax(np.abs(room))) + round(LONGEST_ROOM_S * rate_hz)]
