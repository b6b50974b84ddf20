"""Labels for recordings from a bundle, without torch.

    classifier = Classifier.load("model.auricle")
    print(classifier.classify("clip.wav").text)

A recording no longer than the clips that the model learned from is heard whole; a longer one
through windows of that length, whose answers carry their times. Training and serving cut alike:
both call `windows`, and live sound meets the same cuts in `Sliding`.

Axes: N samples, V labels.
"""

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Self

import numpy as np
from pydantic import Field

from auricle.bundle import Bundle
from auricle.config import Settings
from auricle.engine import BATCH, Engine, Float32, Heard, Progress, Source
from auricle.errors import AuricleError, ConfigError, DataError, ModelError
from auricle.labels import LabelSet
from auricle.results import Labels

LONGEST_WINDOW_S = 600.0


class WindowSettings(Settings):
    """How a recording longer than a clip is heard."""

    window_s: float = Field(1.0, gt=0, le=LONGEST_WINDOW_S)  # as long as the clips of the training
    hop_s: float = Field(0.5, gt=0, le=LONGEST_WINDOW_S)  # from one window's start to the next


class Sliding:
    """Windows over sound that arrives in chunks, their starts `hop_s` apart; nothing is lost.

    A recording up to half a hop longer than a window is one piece, and the last window takes what
    remains likewise: a clip of 1.01 s is a clip. Memory holds a window and a chunk.

    Raises:
        ConfigError: for a hop longer than a window, or shorter than a sample.
    """

    def __init__(self, rate_hz: int, *, window_s: float, hop_s: float) -> None:
        self._rate_hz = rate_hz
        self._window = max(1, round(window_s * rate_hz))
        self._hop = round(hop_s * rate_hz)
        if self._hop < 1:
            raise ConfigError(f"windows {hop_s} s apart do not get on: hop more than a sample")
        if self._hop > self._window:
            raise ConfigError(
                f"windows of {window_s} s, {hop_s} s apart, would leave gaps: hop less"
            )
        self._start, self._held = 0, np.zeros(0, np.float32)

    def push(self, samples: Float32) -> Iterator[tuple[float, Float32]]:
        """The windows that (n,) further samples complete.

        Yields:
            When the window starts, in seconds from the first sample, and its samples (n,).
        """
        self._held = np.concatenate([self._held, samples])
        while len(self._held) > self._window + self._hop // 2:
            yield self._start / self._rate_hz, self._held[: self._window]
            self._start, self._held = self._start + self._hop, self._held[self._hop :]

    def finish(self) -> Iterator[tuple[float, Float32]]:
        """The last window, if there is one; the next sample begins another."""
        if len(self._held):
            yield self._start / self._rate_hz, self._held
        self._start, self._held = self._start + len(self._held), self._held[:0]


def windows(
    chunks: Iterable[Float32], rate_hz: int, *, window_s: float, hop_s: float
) -> Iterator[tuple[float, Float32]]:
    """The windows of a whole stream, as `Sliding` cuts it.

    Yields:
        When the window starts, in seconds from the first sample, and its samples (n,).

    Raises:
        ConfigError: for a hop longer than a window.
    """
    sliding = Sliding(rate_hz, window_s=window_s, hop_s=hop_s)
    for chunk in chunks:
        yield from sliding.push(chunk)
    yield from sliding.finish()


class Classifier:
    """Sound to labels from a bundle whose answer is labels.

    Raises:
        ModelError: for a bundle that is damaged or answers something else.
    """

    def __init__(self, engine: Engine) -> None:
        card = engine.card_for("labels")
        self.engine = engine
        try:
            self.labels = LabelSet.from_dict(card.labels)
            self.settings = WindowSettings.parse(card.windows, "windows")
        except (ConfigError, ModelError) as error:
            raise ModelError(f"{engine.bundle.path}: {error}") from None
        self._check()

    @classmethod
    def load(cls, source: str | os.PathLike[str] | Bundle, *, threads: int | None = None) -> Self:
        """The classifier of a bundle, a file or one that was read.

        Args:
            threads: of the graph; None: as many as there are cores to use.
        """
        return cls(Engine.load(source, threads))

    def classify(self, source: Source, *, hop_s: float | None = None) -> Labels:
        """The labels of a recording of any length.

        Raises:
            DataError: when the recording cannot be read, or is shorter than one frame.
        """
        ((_, answer),) = self.classify_many([source], hop_s=hop_s)
        if isinstance(answer, AuricleError):
            raise answer
        return answer

    def classify_many(
        self,
        sources: Iterable[Source],
        *,
        hop_s: float | None = None,
        batch: int = BATCH,
        progress: Progress | None = None,
    ) -> Iterator[tuple[Source, Labels | AuricleError]]:
        """Each recording with its labels, or with the error that kept it from having some.

        Args:
            sources: files or samples; taken as they are needed, answered in their order.
            hop_s: from one window to the next in longer recordings; the bundle's own if None.
            batch: most windows to run at once.
            progress: called with the seconds of sound done since the last call.
        """
        cut = partial(windows, window_s=self.settings.window_s, hop_s=hop_s or self.settings.hop_s)
        stream = self.engine.answer_many(
            sources, _probabilities, cut=cut, batch=batch, progress=progress
        )
        for heard in stream:
            yield heard.source, heard.error or self._answer(heard)

    def hear_windows(
        self, cut: Iterable[tuple[float, Float32]], *, batch: int = BATCH
    ) -> Iterator[tuple[float, float, Float32]]:
        """Windows of one recording, as `windows` or `Sliding` cut it, while they come.

        Args:
            cut: when each window starts, and its samples at the model's rate.
            batch: most windows to run at once.

        Yields:
            Start and end in seconds, and (V,) probabilities; not of what is shorter than a frame.
        """
        rate_hz, starts_s = self.engine.rate_hz, deque[float]()

        def sources() -> Iterator[Source]:
            for start_s, samples in cut:
                starts_s.append(start_s)
                yield samples, rate_hz

        whole = partial(windows, window_s=LONGEST_WINDOW_S, hop_s=LONGEST_WINDOW_S)
        for heard in self.engine.answer_many(sources(), _probabilities, cut=whole, batch=batch):
            start_s = starts_s.popleft()
            if heard.error:
                raise heard.error
            for part in heard.parts:
                yield start_s, start_s + heard.duration_s, part.value

    def _answer(self, heard: Heard[Float32]) -> Labels | DataError:
        if not heard.parts:
            name = "the samples" if isinstance(heard.source, tuple) else heard.source
            return DataError(f"{name}: {heard.duration_s:.3f} s, too short to be heard")
        parts = [(part.start_s, part.end_s, part.value) for part in heard.parts]
        return self.labels.answer(parts, heard.duration_s)

    def _check(self) -> None:
        """One clip through the graph: does it know as many labels as the card?"""
        front_end = self.engine.front_end
        frames = max(1, round(min(1.0, self.settings.window_s) / front_end.hop_s))
        (found,) = self.engine.session([np.zeros((frames, front_end.dim), np.float32)])
        if found.shape != (1, len(self.labels.names)):
            raise ModelError(
                f"{self.engine.bundle.path}: the graph makes {found.shape} of a clip, the card has"
                f" {len(self.labels.names)} labels: export the model again"
            )


def _probabilities(outputs: Sequence[Float32]) -> list[Float32]:
    """(1, V) log-probabilities each -> (V,) probabilities."""
    return [np.exp(each[0]) for each in outputs]
