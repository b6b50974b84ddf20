"""From frames to seconds: the words of a text where they are in a recording."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from auricle.align.script import Script
from auricle.align.search import Alignment, AlignSettings, force_align
from auricle.decode import assemble, spell
from auricle.results import Segment, Transcript, Word
from auricle.text import Tokenizer


@dataclass(frozen=True, eq=False)
class Posteriors:
    """What a model heard in a recording, frame by frame."""

    log_probs: NDArray[np.floating]  # (T, V)
    starts_s: NDArray[np.float64]  # (T,) when each frame begins
    frame_s: float
    duration_s: float

    def end_s(self, frame: int) -> float:
        """When the frame before `frame` ends, within the recording."""
        return min(float(self.starts_s[frame - 1]) + self.frame_s, self.duration_s)


@dataclass(frozen=True, slots=True)
class Missing:
    """A word of the text that was not said."""

    text: str
    number: int  # of the word, from 0
    after_s: float  # the end of the last word before it that was said; 0 when none was


@dataclass(frozen=True, slots=True)
class Extra:
    """What was said and is not in the text, as the model spells it."""

    text: str
    start_s: float
    end_s: float
    before: int  # the number of the word that follows, that of all words when none does


@dataclass(frozen=True)
class Aligned:
    """A text and its recording."""

    transcript: Transcript
    """The words that were said, as they are written; what is missing in the sound is left out."""
    missing: tuple[Missing, ...]
    extra: tuple[Extra, ...]
    log_prob: float
    """Of the alignment."""


def align_recording(
    posteriors: Posteriors,
    script: Script,
    tokenizer: Tokenizer,
    settings: AlignSettings | None = None,
    language: str | None = None,
) -> Aligned:
    """Find the words of a text in a recording.

    A text of several lines becomes one segment for each; one of a single line is cut at pauses.

    Raises:
        DataError: when every word must be there (`settings`) and the recording is too short.
    """
    found = force_align(
        posteriors.log_probs,
        script.ways,
        separator=script.separator,
        settings=settings or AlignSettings(),
    )
    words = [
        Word(
            text=text,
            start_s=float(posteriors.starts_s[span.start_frame]),
            end_s=posteriors.end_s(span.end_frame),
            confidence=span.confidence,
        )
        if span
        else None
        for text, span in zip(script.words, found.spans, strict=True)
    ]
    return Aligned(
        transcript=_transcript(words, script.lines, posteriors.duration_s, language),
        missing=tuple(_missing(words, script.words)),
        extra=tuple(_extra(found, posteriors, tokenizer)),
        log_prob=found.log_prob,
    )


def _transcript(
    words: Sequence[Word | None], lines: Sequence[int], duration_s: float, language: str | None
) -> Transcript:
    if len(set(lines)) == 1:
        return assemble((word for word in words if word), duration_s, language)
    numbered = ((line, word) for line, word in zip(lines, words, strict=True) if word)
    segments = [
        Segment.of([word for _, word in group]) for _, group in groupby(numbered, lambda n: n[0])
    ]
    return Transcript.of(segments, duration_s, language)


def _missing(words: Sequence[Word | None], written: Sequence[str]) -> Iterator[Missing]:
    after_s = 0.0
    for number, (word, text) in enumerate(zip(words, written, strict=True)):
        if word is None:
            yield Missing(text, number, after_s)
        else:
            after_s = word.end_s


def _extra(found: Alignment, posteriors: Posteriors, tokenizer: Tokenizer) -> Iterator[Extra]:
    for insertion in found.insertions:
        words = spell(insertion.tokens, tokenizer, 1.0)  # times in frames
        if words:
            yield Extra(
                text=" ".join(word.text for word in words),
                start_s=float(posteriors.starts_s[round(words[0].start_s)]),
                end_s=posteriors.end_s(round(words[-1].end_s)),
                before=insertion.before,
            )
