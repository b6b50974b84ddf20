"""Mixtures: clean speech between drawn pauses, in a drawn noise at a drawn ratio, and where it is.

Where speech begins and ends is known, because it was found before the noise came. One example makes
one mixture: stretches of it, a pause before each and after the last. What is drawn depends on the
generator alone.

Axes: N samples.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from auricle.augment import (
    Augmenter,
    AugmentSettings,
    Probability,
    change_gain,
    change_speed,
)
from auricle.config import Settings
from auricle.segments import Stretch

Float32 = NDArray[np.float32]
Marks = Sequence[Stretch]
EDGE_S = 0.01  # over which a stretch that was cut out fades in and out: no click tells of the cut


class MixSettings(Settings):
    """How marked recordings become mixtures, in training; `augment` says with which noise."""

    crop_s: float = Field(8.0, gt=0, le=600)  # of a mixture; longer recordings are cut to it
    pauses: bool = True  # whether pauses are put between stretches of the recording
    shortest_pause_s: float = Field(0.1, ge=0, le=60)
    longest_pause_s: float = Field(3.0, ge=0, le=60)
    nothing_share: Probability = 0.1  # of mixtures: the noise alone


@dataclass(frozen=True)
class Mixture:
    """Sound and where something is in it."""

    wave: Float32
    marks: tuple[Stretch, ...]


class Mixer:
    """Draws mixtures. It holds no state that a draw changes: threads may share it."""

    def __init__(self, mix: MixSettings, augment: AugmentSettings, rate_hz: int) -> None:
        self.settings, self.augment, self.rate_hz = mix, augment, rate_hz
        self.samples = round(mix.crop_s * rate_hz)
        self._noises = Augmenter(augment)
        # Of the voice, before it is placed: its speed is drawn apart, since marks move with it.
        voice = {"speeds": (1.0,), "noise_probability": 0.0, "white_probability": 0.0}
        voice |= {"gain_db": (0.0, 0.0), "shift_ms": 0.0}
        self._voices = Augmenter(augment.model_copy(update=voice))

    @property
    def noisy(self) -> bool:
        """Whether there is a noise to mix with."""
        return self.augment.noise_probability > 0

    def __call__(self, wave: Float32, marks: Marks, rng: np.random.Generator) -> Mixture:
        """A mixture of `crop_s` at most, of a clean recording (N,) and its marks."""
        s, rate = self.settings, self.rate_hz
        speed = self._noises.speed(rng)
        wave = change_speed(wave, rate, speed)
        marks = [Stretch(m.start_s / speed, m.end_s / speed, m.label) for m in marks]
        if self.noisy and rng.random() < s.nothing_share:
            placed = Mixture(np.zeros(self.samples, np.float32), ())
        elif s.pauses:
            placed = self._between_pauses(wave, marks, rng)
        else:
            length = min(self.samples, len(wave))
            first = int(rng.integers(len(wave) - length + 1))
            placed = Mixture(wave[first : first + length], cut(marks, first, length, rate))
        voice = self._voices.wave(placed.wave, rate, rng)
        return Mixture(self._with_noise(voice, placed.marks, rng), placed.marks)

    def spectrogram(self, features: Float32, rng: np.random.Generator) -> Float32:
        """SpecAugment over (T, F)."""
        return self._noises.spectrogram(features, rng)

    def _between_pauses(self, wave: Float32, marks: Marks, rng: np.random.Generator) -> Mixture:
        """Stretches of the recording from drawn places, a pause before each, until it is full."""
        s, rate = self.settings, self.rate_hz
        out = np.zeros(self.samples, np.float32)
        found: list[Stretch] = []
        at = 0
        while True:
            longest_s = max(s.shortest_pause_s, s.longest_pause_s)
            at += round(rng.uniform(s.shortest_pause_s, longest_s) * rate)
            room = self.samples - at
            length = min(len(wave), int(rng.integers(rate // 2, max(rate // 2 + 1, 2 * len(wave)))))
            if room < min(length, rate // 2) or not length:
                return Mixture(out, tuple(found))
            length = min(length, room)
            first = int(rng.integers(len(wave) - length + 1))
            out[at : at + length] = _faded(wave[first : first + length], round(EDGE_S * rate))
            found += [
                Stretch(m.start_s + at / rate, m.end_s + at / rate, m.label)
                for m in cut(marks, first, length, rate)
            ]
            at += length

    def _with_noise(self, voice: Float32, marks: Marks, rng: np.random.Generator) -> Float32:
        """Noise below the voice by a drawn ratio, measured where there is a voice; then a gain."""
        a = self.augment
        where = voice[sampled(marks, len(voice), self.rate_hz)]
        # Where nothing is marked, the noise is as loud as it would be under speech.
        level = rms(where) if len(where) and rms(where) else 0.05
        if rng.random() < a.noise_probability:
            noise = self._noises.background(len(voice), self.rate_hz, rng)
            voice = voice + scaled(noise, level, rng.uniform(*a.noise_snr_db))
        if rng.random() < a.white_probability:
            white = rng.standard_normal(len(voice), dtype=np.float32)
            voice = voice + scaled(white, level, rng.uniform(*a.white_snr_db))
        return change_gain(voice, rng.uniform(*a.gain_db))


def cut(marks: Marks, first: int, length: int, rate_hz: int) -> tuple[Stretch, ...]:
    """The marks of `length` samples from `first` on, counted from there."""
    begin_s, end_s = first / rate_hz, (first + length) / rate_hz
    return tuple(
        Stretch(max(m.start_s, begin_s) - begin_s, min(m.end_s, end_s) - begin_s, m.label)
        for m in marks
        if m.end_s > begin_s and m.start_s < end_s
    )


def sampled(marks: Marks, samples: int, rate_hz: int) -> NDArray[np.bool_]:
    """(N,): whether each sample lies in any of the marks."""
    on = np.zeros(samples, bool)
    for mark in marks:
        on[round(mark.start_s * rate_hz) : round(mark.end_s * rate_hz)] = True
    return on


def scaled(noise: Float32, level: float, snr_db: float) -> Float32:
    """`noise` made to lie `snr_db` below `level`, a root mean square; silence stays silence."""
    own = rms(noise)
    return noise * np.float32(level / own * 10.0 ** (-snr_db / 20)) if own else noise


def rms(x: Float32) -> float:
    """Root mean square of (N,); 0 of nothing."""
    return float(np.sqrt(np.mean(np.square(x, dtype=np.float64)))) if len(x) else 0.0


def _faded(x: Float32, edge: int) -> Float32:
    edge = min(edge, len(x) // 2)
    ramp = np.linspace(0.0, 1.0, edge, dtype=np.float32)
    faded = x.copy()
    faded[:edge] *= ramp
    faded[len(x) - edge :] *= ramp[::-1]
    return faded
