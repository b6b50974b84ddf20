"""Live sound -> partial and final words, in plain functional style.

    streamer = Streamer.of(auricle.load("model.auricle"))
    state = streamer.start()
    for samples in microphone:                      # (n,) at streamer.rate_hz, any n
        partial, final, state = streamer.step(samples, state)
    partial, final, state = streamer.finish(state)

A state never changes: it can be kept, and gone on from twice. Sound is heard in steps of `step_s`,
counted from the first sample: how it is cut into chunks changes nothing.

What a partial shows is split in two:

- *stable* words: those on which two steps in a row agree, from the start of the utterance and up to
  `edge_s` before the newest sound that was heard. Once stable, a word is shown as it is by every
  further partial, so nothing before the last few words flickers. (LocalAgreement-2 of Liu et al.,
  "Low-latency sequence-to-sequence speech recognition and translation by partial hypothesis
  selection", Interspeech 2020.)
- the words after them, which may change.

An utterance ends in the middle of a pause, once no word was heard for `pause_s`, or at its quietest
recent place when it gets too long. Its final words, stable or not, are what the same stretch of a
file gives: its sound from a fresh start, and nothing after it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, Self

import numpy as np
from pydantic import Field

from auricle import audio
from auricle.config import Settings
from auricle.engine import Float32
from auricle.results import Word
from auricle.runtime import Recognizer
from auricle.stream.hearing import Ear, Hearing, LiveHearing, Rehearing

SOUGHT_S = 4.0  # at least so much of an utterance that is too long is searched for a quiet place


class LiveSettings(Settings):
    """When live sound is heard, and when an utterance is over."""

    step_s: float = Field(0.4, ge=0.05, le=5.0, description="new sound between hearings")
    pause_s: float = Field(0.9, ge=0.2, le=5.0, description="without a word: the end")
    edge_s: float = Field(0.3, ge=0.0, le=2.0, description="newest sound, whose words may change")
    longest_s: float = Field(15.0, ge=4.0, le=20.0, description="of an utterance")
    lead_s: float = Field(0.5, ge=0.0, le=2.0, description="kept of silence before an utterance")
    silence_s: float = Field(0.0, ge=0.0, le=60.0, description="more silence, before it is dropped")


# A step costs a model that streams its own sound only, and a new start costs what it hears again.
STREAMING = LiveSettings(step_s=0.16, silence_s=4.0)


@dataclass(frozen=True, slots=True)
class Heard:
    """An utterance so far, or at its end."""

    kind: Literal["partial", "final"]
    number: int  # of the utterance, from 0
    words: tuple[Word, ...]  # by the clock of the whole session
    stable: int  # so many of them, from the first, will be shown as they are
    end_s: float  # of the sound that was heard


@dataclass(frozen=True, slots=True)
class State:
    """A session so far."""

    hearing: Hearing  # of the utterance and the silence before it
    pending: Float32  # samples, not yet a step
    start_samples: int = 0  # where the utterance begins in the session
    number: int = 0  # of the utterance
    before: tuple[Word, ...] = ()  # what the last step gave, by the clock of the utterance
    stable: tuple[Word, ...] = ()
    partial: tuple[Word, ...] = ()  # what is shown, by the clock of the session


class Step(NamedTuple):
    """What is known after a chunk; all words by the clock of the session."""

    partial: tuple[Word, ...]  # of the utterance that goes on
    final: tuple[Word, ...]  # of the utterances that ended in this chunk
    state: State


class Streamer:
    """Words from live sound. Safe to use from several threads: it remembers nothing.

    Args:
        fresh: how an utterance is heard, before its first sample.
        rate_hz: of the samples.
    """

    def __init__(self, fresh: Hearing, rate_hz: int, settings: LiveSettings | None = None) -> None:
        self._fresh, self.rate_hz = fresh, rate_hz
        self.settings = settings or LiveSettings()

    @classmethod
    def of(
        cls,
        recognizer: Recognizer,
        settings: LiveSettings | None = None,
        *,
        hotwords: Sequence[str] = (),
    ) -> Self:
        """By a bundle: chunk by chunk if it streams, else by hearing the utterance again and again.

        Args:
            settings: None: what suits the bundle.
            hotwords: as for `Recognizer.transcribe`.

        Raises:
            ConfigError: for hotwords that the model cannot follow.
        """
        engine, words = recognizer.engine, tuple(hotwords)
        decoder = recognizer.decoder(None, words)
        streaming = engine.graph.streaming
        if streaming is None:

            def hear(samples: Float32) -> tuple[Word, ...]:
                return recognizer.transcribe((samples, engine.rate_hz), hotwords=words).words

            return cls(Rehearing(hear, engine.rate_hz), engine.rate_hz, settings)
        settings = settings or STREAMING
        ear = Ear(engine.front_end, engine.graph, streaming, decoder, recognizer.frame_s)
        kept_s = settings.pause_s + max(SOUGHT_S, settings.lead_s)
        return cls(LiveHearing.start(ear, kept_s), engine.rate_hz, settings)

    def start(self) -> State:
        """Before the first sample of a session."""
        return State(self._fresh, np.zeros(0, np.float32))

    def step(self, samples: Float32, state: State) -> Step:
        """After (n,) further samples at `rate_hz`, n >= 0; `state` stays as it was."""
        return self._collected(self.hear(samples, state), state)

    def finish(self, state: State) -> Step:
        """The utterance is over, whoever says so."""
        return self._collected(self.end(state), state)

    def hear(
        self, samples: Float32, state: State, *, late: bool = False
    ) -> Iterator[tuple[Heard | None, State]]:
        """As `step`, one step after the other: what is heard by it, if anything, and the state.

        Args:
            late: sound waits for its words: a model that hears all of an utterance again at every
                step leaves out those steps whose words nobody waits for, as newer sound is here.
        """
        sound = np.concatenate([state.pending, samples])
        step = round(self.settings.step_s * self.rate_hz)
        while len(sound) >= step:  # a client may send a minute at once
            block, sound = sound[:step], sound[step:]
            state = replace(state, hearing=state.hearing.step(block), pending=sound)
            full = state.hearing.samples >= self.settings.longest_s * self.rate_hz
            if late and state.hearing.again and len(sound) >= step and not full:
                continue
            heard, state = self._step(state)
            yield heard, state
        yield None, replace(state, pending=sound.copy())

    def end(self, state: State) -> Iterator[tuple[Heard | None, State]]:
        """As `finish`, in the form of `hear`."""
        hearing = state.hearing.step(state.pending) if len(state.pending) else state.hearing
        state = replace(state, hearing=hearing, pending=state.pending[:0])
        yield self._final(state, hearing.samples) if hearing.samples else (None, state)

    def _collected(self, coming: Iterator[tuple[Heard | None, State]], state: State) -> Step:
        final: list[Word] = []
        for heard, after in coming:
            state = after
            if heard and heard.kind == "final":
                final += heard.words
        return Step(state.partial, tuple(final), state)

    def _step(self, state: State) -> tuple[Heard | None, State]:
        hearing, s = state.hearing, self.settings
        words, known_s = hearing.words(), hearing.known_s
        if not words:
            return self._silence(state)
        if known_s - words[-1].end_s >= s.pause_s:
            end_s = min(known_s, words[-1].end_s + s.pause_s / 2)
            return self._final(state, round(end_s * self.rate_hz))
        if hearing.samples >= s.longest_s * self.rate_hz:
            recent = hearing.recent
            longest_s = 0.9 * len(recent) / self.rate_hz
            cut = next(audio.split_at_pauses(iter([recent]), self.rate_hz, longest_s=longest_s))[1]
            return self._final(state, hearing.samples - len(recent) + len(cut))
        state = self._agree(state, words)
        start_s = state.start_samples / self.rate_hz
        so_far = (*state.stable, *_after(state.stable, words))
        shown = tuple(word.shifted(start_s) for word in so_far)
        heard = Heard("partial", state.number, shown, len(state.stable), start_s + known_s)
        return heard, replace(state, partial=shown)

    def _silence(self, state: State) -> tuple[Heard | None, State]:
        """Nothing was heard: take back what a partial showed, keep a little for the next word."""
        hearing, s = state.hearing, self.settings
        heard = None
        if state.before:
            end_s = state.start_samples / self.rate_hz + hearing.known_s
            heard = Heard("final", state.number, (), 0, end_s)
            state = replace(state, number=state.number + 1, before=(), stable=(), partial=())
        kept = round((s.lead_s + s.pause_s) * self.rate_hz)
        if hearing.samples - kept > s.silence_s * self.rate_hz:
            state = self._from(state, hearing.samples - kept)
        return heard, state

    def _agree(self, state: State, words: tuple[Word, ...]) -> State:
        """Stable words keep their spelling; the next ones join them when two steps agree."""
        agreed = list(state.stable)
        edge_s = state.hearing.known_s - self.settings.edge_s
        pairs = zip(_after(state.stable, state.before), _after(state.stable, words), strict=False)
        for old, new in pairs:
            if old.text != new.text or new.end_s > edge_s:
                break
            agreed.append(new)
        return replace(state, before=words, stable=tuple(agreed))

    def _final(self, state: State, at: int) -> tuple[Heard | None, State]:
        """The words of the utterance up to `at` samples; the rest begins the next."""
        at = max(at, state.hearing.samples - len(state.hearing.recent))
        words, heard = state.hearing.ended(at), None
        if words or state.before:
            start_s = state.start_samples / self.rate_hz
            end_s = start_s + at / self.rate_hz
            told = tuple(word.shifted(start_s) for word in words)
            heard = Heard("final", state.number, told, len(words), end_s)
            state = replace(state, number=state.number + 1)
        return heard, self._from(replace(state, before=(), stable=(), partial=()), at)

    def _from(self, state: State, at: int) -> State:
        """Begin the utterance at its sample `at`."""
        at = max(at, state.hearing.samples - len(state.hearing.recent))
        hearing = state.hearing.rest(at)
        return replace(state, hearing=hearing, start_samples=state.start_samples + at)


def _after(stable: tuple[Word, ...], words: tuple[Word, ...]) -> tuple[Word, ...]:
    """The words behind the stable ones: by time, for an earlier word may have come or gone."""
    end_s = stable[-1].end_s if stable else 0.0
    return tuple(word for word in words if (word.start_s + word.end_s) / 2 > end_s)
