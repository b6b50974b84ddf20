"""Labels for recordings from a bundle, without torch.

    classifier = Classifier.load("model.auricle")
    print(classifier.classify("clip.wav").text)

A recording no longer than the clips that the model learned from is heard whole; a longer one
through windows of that length, whose answers carry their times. Training and serving cut alike:
both call `windows`.

Axes: N samples, V labels.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Self

import numpy as np
from pydantic import Field

from auricle.bundle import Bundle, find_model
from auricle.config import Settings
from auricle.errors import AuricleError, ConfigError, DataError, ModelError
from auricle.labels import LabelSet
from auricle.results import Labels
from auricle.runtime import BATCH, Engine, Float32, Heard, Progress, Source


class WindowSettings(Settings):
    """How a recording longer than a clip is heard."""

    window_s: float = Field(1.0, gt=0, le=600)  # as long as the clips of the training
    hop_s: float = Field(0.5, gt=0, le=600)  # from one window's start to the next


def windows(
    chunks: Iterable[Float32], rate_hz: int, *, window_s: float, hop_s: float
) -> Iterator[tuple[float, Float32]]:
    """Cut a stream into windows whose starts are `hop_s` apart; nothing is lost.

    A recording up to half a hop longer than a window is one piece, and the last window takes what
    remains likewise: a clip of 1.01 s is a clip. Memory holds a window and a chunk.

    Yields:
        When the window starts, in seconds from the first sample, and its samples (n,).

    Raises:
        ConfigError: for a hop longer than a window.
    """
    window, hop = max(1, round(window_s * rate_hz)), max(1, round(hop_s * rate_hz))
    if hop > window:
        raise ConfigError(f"windows of {window_s} s, {hop_s} s apart, would leave gaps: hop less")
    start, held = 0, np.zeros(0, np.float32)
    for chunk in chunks:
        held = np.concatenate([held, chunk])
        while len(held) > window + hop // 2:
            yield start / rate_hz, held[:window]
            start, held = start + hop, held[hop:]
    if len(held):
        yield start / rate_hz, held


class Classifier:
    """Sound to labels from a bundle whose answer is labels.

    Raises:
        ModelError: for a bundle that is damaged or answers something else.
    """

    def __init__(self, engine: Engine) -> None:
        card = engine.bundle.card
        if card.answer != "labels":
            raise ModelError(
                f"{engine.bundle.path}: answers with {card.answer}, not with labels: is it for"
                " another command?"
            )
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
        bundle = source if isinstance(source, Bundle) else Bundle.read(find_model(source))
        return cls(Engine(bundle, threads=threads))

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
