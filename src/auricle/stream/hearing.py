"""How the words of an utterance come about while its sound still comes.

A model that streams hears each sample once (`LiveHearing`); any other hears the growing utterance
again each time (`Rehearing`). Both never change: `step` gives another one.

Axes: N samples, T feature frames, F features, T2 output frames, V symbols.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol, Self

import numpy as np

from auricle.bundle import Streaming
from auricle.decode import Decoder, Listening
from auricle.engine import Float32, Memory, Session
from auricle.features import FeatureStream, FrontEnd
from auricle.results import Word

Hear = Callable[[Float32], tuple[Word, ...]]
"""(N,) samples -> words, timed from the first sample."""


class Hearing(Protocol):
    """An utterance, with the silence before it, as far as it was heard."""

    @property
    def again(self) -> bool:
        """Whether `words` hears all of it again: then each call costs as much as all before it."""

    @property
    def samples(self) -> int:
        """N, so far."""

    @property
    def known_s(self) -> float:
        """Up to where words are known, by the clock of the utterance."""

    @property
    def recent(self) -> Float32:
        """The newest samples, back to the earliest place where the utterance can be cut."""

    def step(self, samples: Float32) -> "Hearing":
        """After (n,) further samples."""

    def words(self) -> tuple[Word, ...]:
        """What was said so far."""

    def ended(self, at: int) -> tuple[Word, ...]:
        """What was said in the first `at` samples, had the sound ended there."""

    def rest(self, at: int) -> "Hearing":
        """Another utterance, which begins with sample `at` of this one."""


@dataclass(frozen=True)
class Rehearing:
    """By a model that needs whole utterances."""

    hear: Hear
    rate_hz: int
    recent: Float32 = field(default_factory=lambda: np.zeros(0, np.float32))

    @property
    def again(self) -> bool:
        return True

    @property
    def samples(self) -> int:
        return len(self.recent)

    @property
    def known_s(self) -> float:
        return len(self.recent) / self.rate_hz

    def step(self, samples: Float32) -> "Rehearing":
        return replace(self, recent=np.concatenate([self.recent, samples]))

    def words(self) -> tuple[Word, ...]:
        return self.hear(self.recent)

    def ended(self, at: int) -> tuple[Word, ...]:
        return self.hear(self.recent[:at])

    def rest(self, at: int) -> "Rehearing":
        return replace(self, recent=self.recent[at:].copy())


@dataclass(frozen=True)
class Ear:
    """What hears: front end, graph and decoder of a model that streams."""

    front_end: FrontEnd
    graph: Session
    streaming: Streaming  # how the graph hears
    decoder: Decoder
    frame_s: float  # of the outputs

    @property
    def rate_hz(self) -> int:
        return self.front_end.settings.sample_rate_hz


@dataclass(frozen=True)
class Flow:
    """Sound on its way through front end, graph and decoder, from a fresh start."""

    ear: Ear
    features: FeatureStream
    waiting: Float32  # (t, F) too few for a chunk
    memory: Memory  # of the graph
    late: int  # outputs still to come that belong to no frame
    listening: Listening
    samples: int = 0
    frames: int = 0  # of features
    heard: int = 0  # output frames, decoded

    @classmethod
    def start(cls, ear: Ear) -> Self:
        return cls(
            ear,
            ear.front_end.stream(),
            np.zeros((0, ear.front_end.dim), np.float32),
            ear.graph.start(),
            ear.streaming.look_ahead_frames,
            ear.decoder.start(),
        )

    def step(self, samples: Float32) -> "Flow":
        """After (n,) further samples; as many chunks as they complete are heard."""
        features = self.features.copy()
        new = features.push(samples)
        waiting = np.concatenate([self.waiting, new])
        whole = len(waiting) - len(waiting) % self.ear.streaming.chunk_frames
        flow = replace(
            self,
            features=features,
            waiting=waiting[whole:],
            samples=self.samples + len(samples),
            frames=self.frames + len(new),
        )
        return flow._run(waiting[:whole]) if whole else flow

    def words(self) -> tuple[Word, ...]:
        end_s = self.samples / self.ear.rate_hz  # the last frame may reach over
        words = self.listening.readings()[0].words
        return tuple(replace(word, end_s=min(word.end_s, end_s)) for word in words)

    def finish(self) -> tuple[Word, ...]:
        """The words, had the sound ended here: those of `Recognizer.transcribe`."""
        last = self.features.copy().finish()
        frames = self.frames + len(last)
        if not frames:  # shorter than one window
            return ()
        rest = self.ear.graph.padded(np.concatenate([self.waiting, last]))
        return self._run(rest, -(-frames // self.ear.streaming.stride) - self.heard).words()

    def _run(self, features: Float32, most: int | None = None) -> "Flow":
        outputs, memory = self.ear.graph.step(features, self.memory)
        kept = outputs[self.late :][:most]  # behind the end of the sound a chunk is filled up
        return replace(
            self,
            memory=memory,
            late=max(0, self.late - len(outputs)),
            listening=self.listening.step(kept),
            heard=self.heard + len(kept),
        )


@dataclass(frozen=True)
class LiveHearing:
    """By a model that streams. It can be cut within its last `kept_s`.

    Each step leaves a mark behind, from which the end of the utterance can still be heard as if
    nothing had come after it.
    """

    flow: Flow
    marks: tuple[Flow, ...]  # the newest last
    recent: Float32  # since the oldest mark
    kept_s: float

    @classmethod
    def start(cls, ear: Ear, kept_s: float) -> Self:
        flow = Flow.start(ear)
        return cls(flow, (flow,), np.zeros(0, np.float32), kept_s)

    @property
    def again(self) -> bool:
        return False

    @property
    def samples(self) -> int:
        return self.flow.samples

    @property
    def known_s(self) -> float:
        return self.flow.heard * self.flow.ear.frame_s

    def step(self, samples: Float32) -> "LiveHearing":
        flow = self.flow.step(samples)
        needed = flow.samples - round(self.kept_s * flow.ear.rate_hz)
        marks = (*self.marks, flow)
        spent = max(0, sum(mark.samples <= needed for mark in marks) - 1)
        passed = marks[spent].samples - marks[0].samples
        recent = np.concatenate([self.recent, samples])[passed:]
        return replace(self, flow=flow, marks=marks[spent:], recent=recent)

    def words(self) -> tuple[Word, ...]:
        return self.flow.words()

    def ended(self, at: int) -> tuple[Word, ...]:
        mark = next(mark for mark in reversed(self.marks) if mark.samples <= at)
        first, last = (place - self.marks[0].samples for place in (mark.samples, at))
        return mark.step(self.recent[first:last]).finish()

    def rest(self, at: int) -> "LiveHearing":
        fresh = self.start(self.flow.ear, self.kept_s)
        return fresh.step(self.recent[at - self.marks[0].samples :])
