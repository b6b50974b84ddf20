"""Live sound -> partial and final words, by hearing the growing utterance again and again.

The models that are shipped hear whole utterances, so every `step_s` of new sound the utterance is
heard from its beginning. What a partial shows is split in two:

- *stable* words: those on which two hearings in a row agree, from the start of the utterance and up
  to `edge_s` before the newest sound. Once stable, a word is shown as it is by every further
  partial, so nothing before the last few words flickers. (LocalAgreement-2 of Liu et al.,
  "Low-latency sequence-to-sequence speech recognition and translation by partial hypothesis
  selection", Interspeech 2020.)
- the words after them, which may change.

An utterance ends when no word was heard for `pause_s`, or at its quietest place when it gets too
long. Its final words are those of one last hearing of the whole, stable words or not: final words
are what the same stretch of a file would give.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from pydantic import Field

from auricle import audio
from auricle.config import Settings
from auricle.results import Word
from auricle.runtime import Float32

Hear = Callable[[Float32], tuple[Word, ...]]
"""(N,) samples -> words, timed from the first sample."""


class LiveSettings(Settings):
    """When live sound is heard, and when an utterance is over."""

    step_s: float = Field(0.4, ge=0.05, le=5.0, description="new sound between hearings")
    pause_s: float = Field(0.9, ge=0.2, le=5.0, description="without a word: the end")
    edge_s: float = Field(0.3, ge=0.0, le=2.0, description="newest sound, whose words may change")
    longest_s: float = Field(15.0, ge=4.0, le=20.0, description="of an utterance")
    lead_s: float = Field(0.5, ge=0.0, le=2.0, description="kept of silence before an utterance")


@dataclass(frozen=True, slots=True)
class Heard:
    """An utterance so far, or at its end."""

    kind: Literal["partial", "final"]
    number: int  # of the utterance, from 0
    words: tuple[Word, ...]  # by the clock of the whole session
    stable: int  # so many of them, from the first, will be shown as they are
    end_s: float  # of the sound that was heard


class Utterances:
    """One live session. Not for several threads at once.

    Args:
        hear: the model.
        rate_hz: of the samples.
    """

    def __init__(self, hear: Hear, rate_hz: int, settings: LiveSettings | None = None) -> None:
        self._hear, self._rate_hz = hear, rate_hz
        self._s = settings or LiveSettings()
        self._sound = np.zeros(0, np.float32)  # of the utterance and the silence before it
        self._start_samples = 0  # where it begins in the session
        self._new_samples = 0  # since the last hearing
        self._before: tuple[Word, ...] = ()  # what the last hearing gave
        self._stable: tuple[Word, ...] = ()
        self._number = 0

    def push(self, samples: Float32) -> Iterator[Heard]:
        """(n,) new samples, n as it comes; what is heard by them."""
        step = round(self._s.step_s * self._rate_hz)
        for at in range(0, len(samples), step):  # a client that sends a minute at once
            part = samples[at : at + step]
            self._sound = np.concatenate([self._sound, part])
            self._new_samples += len(part)
            if self._new_samples >= step:
                self._new_samples = 0
                yield from self._step()

    def finish(self) -> Iterator[Heard]:
        """The utterance is over, whoever says so: its final words, if any."""
        if len(self._sound):
            yield from self._final(len(self._sound))
        self._new_samples = 0

    def _step(self) -> Iterator[Heard]:
        words = self._hear(self._sound)
        newest_s = len(self._sound) / self._rate_hz
        if not words:
            yield from self._silence(newest_s)
        elif newest_s - words[-1].end_s >= self._s.pause_s:
            end_s = min(newest_s, words[-1].end_s + self._s.pause_s / 2)
            yield from self._final(round(end_s * self._rate_hz))
        elif newest_s >= self._s.longest_s:
            chunks = iter([self._sound])
            cut = audio.split_at_pauses(chunks, self._rate_hz, longest_s=self._s.longest_s * 0.9)
            yield from self._final(len(next(cut)[1]))
        else:
            self._agree(words, newest_s)
            yield Heard(
                "partial",
                self._number,
                self._timed((*self._stable, *self._after(words))),
                len(self._stable),
                self._start_s + newest_s,
            )

    def _silence(self, newest_s: float) -> Iterator[Heard]:
        """Nothing was heard: take back what a partial showed, keep a little for the next word."""
        if self._before:
            self._before = self._stable = ()
            yield Heard("final", self._number, (), 0, self._start_s + newest_s)
            self._number += 1
        keep = round((self._s.lead_s + self._s.pause_s) * self._rate_hz)
        self._drop(max(0, len(self._sound) - keep))

    def _agree(self, words: tuple[Word, ...], newest_s: float) -> None:
        """Stable words keep their spelling; the next ones join them when two hearings agree."""
        agreed = list(self._stable)
        for old, new in zip(self._after(self._before), self._after(words), strict=False):
            if old.text != new.text or new.end_s > newest_s - self._s.edge_s:
                break
            agreed.append(new)
        self._before, self._stable = words, tuple(agreed)

    def _after(self, words: tuple[Word, ...]) -> tuple[Word, ...]:
        """The words behind the stable ones: by time, for an earlier word may have come or gone."""
        end_s = self._stable[-1].end_s if self._stable else 0.0
        return tuple(word for word in words if (word.start_s + word.end_s) / 2 > end_s)

    def _final(self, cut: int) -> Iterator[Heard]:
        """Hear the utterance up to `cut` samples for the last time; the rest begins the next."""
        words = self._hear(self._sound[:cut])
        if words or self._before:
            end_s = self._start_s + cut / self._rate_hz
            yield Heard("final", self._number, self._timed(words), len(words), end_s)
            self._number += 1
        self._before = self._stable = ()
        self._drop(cut)

    @property
    def _start_s(self) -> float:
        return self._start_samples / self._rate_hz

    def _timed(self, words: tuple[Word, ...]) -> tuple[Word, ...]:
        by_s = self._start_s
        return tuple(
            replace(word, start_s=word.start_s + by_s, end_s=word.end_s + by_s) for word in words
        )

    def _drop(self, samples: int) -> None:
        self._sound = self._sound[samples:].copy()
        self._start_samples += samples
