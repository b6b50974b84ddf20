"""Clips for training: windows of recordings, drawn and augmented, or as the runtime cuts them."""

import numpy as np
from numpy.typing import NDArray

from auricle import audio
from auricle.augment import Augmenter, AugmentSettings, generator
from auricle.batches import Draw, SoundCache
from auricle.classifier import WindowSettings, windows
from auricle.data import Example
from auricle.features import FeatureSettings, FrontEnd
from auricle.fourier import rfft

Float32 = NDArray[np.float32]
CACHED_S = 60.0  # a longer recording is read where it is needed, not kept


class Clips:
    """What tasks about whole clips hear of an example.

    Attributes:
        front_end: of the model.
        longest_s: of a window; longer recordings are cut to it.
    """

    def __init__(
        self,
        features: FeatureSettings,
        augment: AugmentSettings,
        window: WindowSettings,
        cache_mb: int,
    ) -> None:
        self.front_end = FrontEnd(features, rfft)
        self.rate_hz = features.sample_rate_hz
        self.longest_s = window.window_s
        self._window = window
        self._augmenter = Augmenter(augment)
        self._sounds = SoundCache(self.rate_hz, cache_mb)

    @property
    def frames(self) -> int:
        """Feature frames of a whole window, at least one."""
        return max(1, self.front_end.frames(round(self.longest_s * self.rate_hz)))

    def seconds(self, example: Example, draw: Draw) -> float:
        """How long `drawn` makes an example: batches are planned by it."""
        return min(example.duration_s / self.speed(example, draw), self.longest_s)

    def speed(self, example: Example, draw: Draw) -> float:
        """How fast `drawn` plays an example."""
        return self._augmenter.speed(generator(draw.seed, draw.epoch, example.id))

    def plain(self, example: Example) -> list[tuple[float, float, Float32]]:
        """Every window of an example, as the runtime cuts it: start, end, samples."""
        cut = windows(
            [self._sounds.load(example)],
            self.rate_hz,
            window_s=self._window.window_s,
            hop_s=self._window.hop_s,
        )
        return [(start_s, start_s + len(wave) / self.rate_hz, wave) for start_s, wave in cut]

    def drawn(self, example: Example, draw: Draw) -> Float32:
        """(N,) a stretch as long as a window at most, from a drawn place, augmented."""
        rng = generator(draw.seed, draw.epoch, example.id)
        place = generator(draw.seed, draw.epoch, f"{example.id}/place")
        needed_s = self.longest_s * max(self._augmenter.settings.speeds)
        if example.duration_s > CACHED_S + needed_s:
            start_s = example.start_s + place.uniform(0, example.duration_s - needed_s)
            wave, _ = audio.load(example.audio, self.rate_hz, start_s=start_s, duration_s=needed_s)
        else:
            wave = self._sounds.load(example)
            needed = round(needed_s * self.rate_hz)
            first = int(place.integers(max(0, len(wave) - needed) + 1))
            wave = wave[first : first + needed]
        augmented = self._augmenter.wave(wave, self.rate_hz, rng)
        return augmented[: round(self.longest_s * self.rate_hz)]

    def background(self, rng: np.random.Generator) -> Float32:
        """A window of background noise at some loudness."""
        return self._augmenter.background(round(self.longest_s * self.rate_hz), self.rate_hz, rng)

    def features(self, wave: Float32) -> Float32:
        """(T, F); shorter than one frame: one of nothing, which no encoder stumbles over."""
        features = self.front_end(wave)
        return features if len(features) else np.zeros((1, self.front_end.dim), np.float32)

    def masked(self, features: Float32, example: Example, draw: Draw) -> Float32:
        """SpecAugment over (T, F), as `draw` says."""
        rng = generator(draw.seed, draw.epoch, f"{example.id}/spectrogram")
        return self._augmenter.spectrogram(features, rng)
