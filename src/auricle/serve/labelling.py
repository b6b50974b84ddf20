"""A model of a server that answers with labels: recordings and live sound, through its windows."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from auricle import audio
from auricle.classifier import Classifier, Sliding, windows
from auricle.engine import CHUNK_S, Float32
from auricle.errors import DataError
from auricle.results import Label, Labels, LabelWindow
from auricle.spotting import Detection, Spotter

HOPS_A_WINDOW, SHORTEST_HOP_S = 10, 0.1  # of live windows, unless a client says otherwise

Window = tuple[float, float, Float32]
"""Start and end in seconds, (V,) probabilities."""


@dataclass(frozen=True)
class Labeller:
    """One model."""

    name: str
    classifier: Classifier
    batch: int

    @property
    def rate_hz(self) -> int:
        """Of the sound that it hears."""
        return self.classifier.engine.rate_hz

    def windows(self, path: Path, longest_s: float) -> Iterator[Window]:
        """A file's windows, in order, as they are heard.

        Args:
            longest_s: most of the file that is read.

        Raises:
            DataError: when the file cannot be read, also in the middle.
        """
        settings = self.classifier.settings
        chunks = audio.chunks(path, CHUNK_S, self.rate_hz, duration_s=longest_s)
        cut = windows(chunks, self.rate_hz, window_s=settings.window_s, hop_s=settings.hop_s)
        yield from self.classifier.hear_windows(cut, batch=self.batch)

    def labels(self, heard: Sequence[Window], top: int) -> Labels:
        """What the windows of a whole recording say, with the likeliest `top` labels of each.

        Raises:
            DataError: there is no window.
        """
        if not heard:
            raise DataError("the recording is too short to be heard")
        return self.classifier.labels.answer(heard, heard[-1][1], top)


@dataclass(frozen=True, slots=True)
class Level:
    """How likely the labels are at one moment of live sound."""

    start_s: float
    end_s: float
    labels: tuple[Label, ...]  # averaged over the last windows, the likeliest first
    detection: Detection | None


class Meter:
    """One live session: sound in, levels and detections out. Not for several threads at once.

    Args:
        labeller: the model.
        hop_s: from one window's start to the next; None: a tenth of a window, 0.1 s at least.
        spotter: averages and detects.

    Raises:
        ConfigError: for a hop longer than a window.
    """

    def __init__(self, labeller: Labeller, spotter: Spotter, hop_s: float | None = None) -> None:
        self._labeller, self._spotter = labeller, spotter
        window_s = labeller.classifier.settings.window_s
        usual_s = min(window_s, max(SHORTEST_HOP_S, window_s / HOPS_A_WINDOW))
        self._sliding = Sliding(labeller.rate_hz, window_s=window_s, hop_s=hop_s or usual_s)

    def push(self, samples: Float32) -> Iterator[Level]:
        """(n,) new samples, n as it comes; a level for every window that they complete."""
        return self._hear(self._sliding.push(samples))

    def finish(self) -> Iterator[Level]:
        """A level for what is left, shorter than a window as it may be."""
        return self._hear(self._sliding.finish())

    def _hear(self, cut: Iterable[tuple[float, Float32]]) -> Iterator[Level]:
        classifier = self._labeller.classifier
        for start_s, end_s, probabilities in classifier.hear_windows(cut):
            window = LabelWindow(start_s, end_s, classifier.labels.ranked(probabilities))
            detection = self._spotter.push(window)
            averages = sorted(self._spotter.averages.items(), key=lambda pair: -pair[1])
            yield Level(
                start_s, end_s, tuple(Label(name, sure) for name, sure in averages), detection
            )
