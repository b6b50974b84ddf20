"""Labels over time from a bundle, without torch.

    segmenter = Segmenter.load("speech")
    for stretch in segmenter.segments("meeting.mp3").stretches:
        print(stretch.start_s, stretch.end_s, stretch.label)

A recording of any length goes through windows that overlap; of each its middle is kept, so that
every frame is heard with what is around it, and an answer does not depend on where a window began.

Axes: N samples, T frames, V labels.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Self

import numpy as np

from auricle.bundle import Bundle
from auricle.classifier import WindowSettings, windows
from auricle.engine import BATCH, Engine, Float32, Progress, Source
from auricle.errors import AuricleError, ConfigError, ModelError
from auricle.features import FrontEnd
from auricle.hysteresis import HysteresisSettings
from auricle.segments import Activity, Segments


def stitched(
    parts: Sequence[tuple[float, Float32]], window: WindowSettings, frame_s: float
) -> Float32:
    """The frames of a recording from those of its windows: start in seconds, (T, V) each.

    Two windows meet in the middle of what both have heard.

    Returns:
        (T, V); (0, 0) of no windows.
    """
    margin = round((window.window_s - window.hop_s) / 2 / frame_s)
    kept: list[Float32] = []
    done = 0
    for number, (start_s, values) in enumerate(parts):
        first = round(start_s / frame_s)
        last = number == len(parts) - 1
        until = first + len(values) if last else round(parts[number + 1][0] / frame_s) + margin
        kept.append(values[max(0, done - first) : max(0, until - first)])
        done = max(done, until)
    return np.concatenate(kept) if kept else np.zeros((0, 0), np.float32)


def check_windows(window: WindowSettings, frame_s: float) -> None:
    """See that windows overlap and begin with a frame.

    Raises:
        ConfigError: they do not.
    """
    hops = window.hop_s / frame_s
    if window.hop_s > window.window_s or abs(hops - round(hops)) > 1e-6:
        raise ConfigError(
            f"window.hop_s = {window.hop_s:g}: needs to be a multiple of a frame of {frame_s:g} s,"
            f" and window.window_s = {window.window_s:g} at most"
        )


def first_frame_s(front_end: FrontEnd) -> float:
    """When the first frame of an output begins: its windows of samples reach over their hops."""
    return front_end.frame_time_s(0) - front_end.hop_s / 2


class Segmenter:
    """Sound to labels over time, from a bundle whose answer is segments.

    Attributes:
        rule: the hysteresis that was chosen on validation data.

    Raises:
        ModelError: for a bundle that is damaged or answers something else.
    """

    def __init__(self, engine: Engine) -> None:
        card = engine.card_for("segments")
        self.engine = engine
        self.frame_s = engine.front_end.hop_s * card.stride
        try:
            names = card.labels.get("names")
            if not isinstance(names, list) or not all(isinstance(each, str) for each in names):
                raise ConfigError("the card names no labels")
            self.names = tuple(names)
            self.rule = HysteresisSettings.parse(card.labels.get("rule", {}), "labels.rule")
            self.window = WindowSettings.parse(card.windows, "windows")
            check_windows(self.window, self.frame_s)
        except ConfigError as error:
            raise ModelError(f"{engine.bundle.path}: {error}") from None
        self._check()

    @classmethod
    def load(
        cls, source: str | os.PathLike[str] | Bundle = "speech", *, threads: int | None = None
    ) -> Self:
        """The segmenter of a bundle, a file or one that was read.

        Args:
            threads: of the graph; None: as many as there are cores to use.
        """
        return cls(Engine.load(source, threads))

    def segments(self, source: Source, *, rule: HysteresisSettings | None = None) -> Segments:
        """The labelled stretches of a recording of any length.

        Args:
            rule: instead of the bundle's own.

        Raises:
            DataError: when the recording cannot be read.
        """
        ((_, found),) = self.activities([source])
        if isinstance(found, AuricleError):
            raise found
        return found.segments(rule or self.rule)

    def activities(
        self, sources: Iterable[Source], *, batch: int = BATCH, progress: Progress | None = None
    ) -> Iterator[tuple[Source, Activity | AuricleError]]:
        """Each recording with how likely each label is over time, or with why it has none.

        Args:
            sources: files or samples; taken as they are needed, answered in their order.
            batch: most windows to run at once.
            progress: called with the seconds of sound done since the last call.
        """
        cut = partial(windows, window_s=self.window.window_s, hop_s=self.window.hop_s)
        stream = self.engine.answer_many(
            sources, _probabilities, cut=cut, batch=batch, progress=progress
        )
        for heard in stream:
            if heard.error:
                yield heard.source, heard.error
                continue
            parts = [(part.start_s, part.value) for part in heard.parts]
            values = stitched(parts, self.window, self.frame_s).reshape(-1, len(self.names))
            start_s = first_frame_s(self.engine.front_end)
            found = Activity(self.names, values, self.frame_s, start_s, heard.duration_s)
            yield heard.source, found

    def _check(self) -> None:
        """One second through the graph: are its frames and labels those of the card?"""
        bundle, front_end = self.engine.bundle, self.engine.front_end
        frames = max(1, round(1 / front_end.hop_s))
        (found,) = self.engine.session([np.zeros((frames, front_end.dim), np.float32)])
        wanted = (-(-frames // bundle.card.stride), len(self.names))
        if found.shape != wanted:
            raise ModelError(
                f"{bundle.path}: the graph makes {found.shape} (frames, labels) of one second, the"
                f" card says {wanted}: export the model again"
            )


def _probabilities(outputs: Sequence[Float32]) -> list[Float32]:
    """(T, V) log-probabilities each -> probabilities."""
    return [np.exp(each) for each in outputs]
