"""Results: frozen values with times in seconds, and the formats that a transcript is written in."""

import json
import math
import textwrap
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple, Self

from auricle.errors import DataError

LINE_LETTERS = 42  # the longest line of a subtitle, by broadcasters' custom
CUE_LINES = 2
CUE_LONGEST_S = 7.0
CUE_SHORTEST_MS = 1000  # a shorter cue stays longer, if the next one leaves it the time
SHORTEST_INTERVAL_S = 1e-3  # of a TextGrid
_VTT_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


@dataclass(frozen=True, slots=True)
class Word:
    """One word, when it was said, and how sure the model was (0 to 1)."""

    text: str
    start_s: float
    end_s: float
    confidence: float

    def shifted(self, by_s: float) -> Self:
        """The word by a clock that began `by_s` earlier."""
        return replace(self, start_s=self.start_s + by_s, end_s=self.end_s + by_s)


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of speech; `words` may be empty when only the whole was timed."""

    start_s: float
    end_s: float
    text: str
    words: tuple[Word, ...] = ()
    confidence: float | None = None

    @classmethod
    def of(cls, words: Sequence[Word]) -> Self:
        """The segment that one or more words make; as sure as they are on average."""
        text = _text(words)
        confidence = sum(word.confidence for word in words) / len(words)
        return cls(words[0].start_s, words[-1].end_s, text, tuple(words), confidence)


@dataclass(frozen=True, slots=True)
class Alternative:
    """One way to hear a stretch of sound, and its share of the probability of all (0 to 1)."""

    start_s: float
    end_s: float
    text: str
    share: float


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was said in a recording of `duration_s` seconds.

    `alternatives`, if they were asked for: for one stretch of sound after the other, the ways to
    hear it, the likeliest first.
    """

    text: str
    segments: tuple[Segment, ...]
    duration_s: float
    language: str | None = None
    alternatives: tuple[Alternative, ...] = ()

    @classmethod
    def of(
        cls,
        segments: Iterable[Segment],
        duration_s: float,
        language: str | None = None,
        alternatives: Iterable[Alternative] = (),
    ) -> Self:
        """The transcript that segments make, in their order."""
        segments = tuple(segments)
        text = " ".join(segment.text for segment in segments if segment.text)
        return cls(text, segments, duration_s, language, tuple(alternatives))

    @property
    def words(self) -> tuple[Word, ...]:
        """The words of all segments."""
        return tuple(word for segment in self.segments for word in segment.words)

    def to_dict(self) -> dict[str, Any]:
        """The transcript as JSON types, nothing lost; `from_dict` reads it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote.

        Raises:
            DataError: when it is not a transcript.
        """
        try:
            segments = tuple(
                Segment(**{**segment, "words": tuple(Word(**word) for word in segment["words"])})
                for segment in values["segments"]
            )
            others = tuple(Alternative(**each) for each in values.get("alternatives", ()))
            return cls(**{**values, "segments": segments, "alternatives": others})
        except (KeyError, TypeError) as error:
            raise DataError(f"this is not a transcript: {error!r}") from None


@dataclass(frozen=True, slots=True)
class Label:
    """A name that a sound may be given, and how likely it is (0 to 1)."""

    name: str
    confidence: float


@dataclass(frozen=True, slots=True)
class LabelWindow:
    """A stretch of a recording, with every label, the likeliest first."""

    start_s: float
    end_s: float
    labels: tuple[Label, ...]


@dataclass(frozen=True, slots=True)
class Labels:
    """What a recording of `duration_s` seconds is: every label, the likeliest first.

    `chosen` is the answer: the likeliest label, or for a model of tags all that pass their
    thresholds, which may be none. `windows` are the stretches that were listened to.
    """

    labels: tuple[Label, ...]
    chosen: tuple[str, ...]
    duration_s: float
    windows: tuple[LabelWindow, ...] = ()

    @property
    def text(self) -> str:
        """The answer on one line."""
        return ", ".join(self.chosen)

    def to_dict(self) -> dict[str, Any]:
        """The labels as JSON types, nothing lost; `from_dict` reads it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote.

        Raises:
            DataError: when it is not labels.
        """
        try:
            windows = tuple(
                LabelWindow(**{**window, "labels": _labels(window["labels"])})
                for window in values["windows"]
            )
            known = {"labels": _labels(values["labels"]), "chosen": tuple(values["chosen"])}
            return cls(**{**values, **known, "windows": windows})
        except (KeyError, TypeError) as error:
            raise DataError(f"these are not labels: {error!r}") from None


@dataclass(frozen=True, slots=True)
class Embedding:
    """A recording as a direction: `values` has length 1, and the cosine of two says how alike."""

    values: tuple[float, ...]
    duration_s: float

    @classmethod
    def mean(cls, vectors: Sequence[Sequence[float]], duration_s: float) -> Self:
        """The direction between one or more vectors."""
        sums = [math.fsum(column) for column in zip(*vectors, strict=True)]
        length = math.sqrt(math.fsum(each * each for each in sums)) or 1.0
        return cls(tuple(each / length for each in sums), duration_s)

    def to_dict(self) -> dict[str, Any]:
        """The embedding as JSON types; `from_dict` reads it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote.

        Raises:
            DataError: when it is not an embedding.
        """
        try:
            vector = tuple(float(each) for each in values["values"])
            return cls(vector, float(values["duration_s"]))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"this is not an embedding: {error!r}") from None


def _labels(values: Iterable[Mapping[str, Any]]) -> tuple[Label, ...]:
    return tuple(Label(**value) for value in values)


def to_txt(transcript: Transcript) -> str:
    """The text alone, on one line; below it the alternatives, each after its share."""
    others = (f"{each.share:.3f}  {each.text}\n" for each in transcript.alternatives)
    return "".join((transcript.text + "\n", *others))


def to_srt(transcript: Transcript) -> str:
    """SubRip subtitles. The format has no escapes: only its arrow is taken out of the text."""
    blocks = (
        f"{number}\n{_clock(cue.start_ms, ',')} --> {_clock(cue.end_ms, ',')}\n"
        + "\n".join(cue.lines).replace("-->", "->")
        + "\n"
        for number, cue in enumerate(_cues(transcript), 1)
    )
    return "\n".join(blocks)


def to_vtt(transcript: Transcript) -> str:
    """WebVTT subtitles (W3C)."""
    blocks = (
        f"{_clock(cue.start_ms, '.')} --> {_clock(cue.end_ms, '.')}\n"
        + "\n".join(cue.lines).translate(_VTT_ESCAPES)
        + "\n"
        for cue in _cues(transcript)
    )
    return "\n".join(("WEBVTT\n", *blocks))


def to_json(transcript: Transcript) -> str:
    """The JSON of `verbose_json`."""
    return json.dumps(verbose_json(transcript), ensure_ascii=False, indent=2) + "\n"


def verbose_json(transcript: Transcript) -> dict[str, Any]:
    """The answer that OpenAI's transcription interface gives for response_format=verbose_json.

    What no CTC model knows has a neutral value: no tokens, temperature 0, no_speech_prob 0. The
    confidence of a word is ours, beyond that interface, and so are alternatives.
    """
    answer: dict[str, Any] = {
        "task": "transcribe",
        "language": transcript.language or "unknown",
        "duration": _rounded(transcript.duration_s),
        "text": transcript.text,
        "segments": [
            {
                "id": number,
                "seek": 0,
                "start": _rounded(segment.start_s),
                "end": _rounded(segment.end_s),
                "text": segment.text,
                "tokens": [],
                "temperature": 0.0,
                "avg_logprob": _log(segment.confidence),
                "compression_ratio": _compression_ratio(segment.text),
                "no_speech_prob": 0.0,
            }
            for number, segment in enumerate(transcript.segments)
        ],
        "words": [
            {
                "word": word.text,
                "start": _rounded(word.start_s),
                "end": _rounded(word.end_s),
                "confidence": _rounded(word.confidence),
            }
            for word in transcript.words
        ],
    }
    if transcript.alternatives:
        answer["alternatives"] = [
            {
                "start": _rounded(each.start_s),
                "end": _rounded(each.end_s),
                "text": each.text,
                "share": _rounded(each.share),
            }
            for each in transcript.alternatives
        ]
    return answer


def to_textgrid(transcript: Transcript) -> str:
    """A TextGrid of Praat's: one tier of segments and one of words."""
    tiers = {
        "segments": ((each.text, each.start_s, each.end_s) for each in transcript.segments),
        "words": ((each.text, each.start_s, each.end_s) for each in transcript.words),
    }
    return textgrid(tiers, transcript.duration_s)


def textgrid(tiers: Mapping[str, Iterable[tuple[str, float, float]]], duration_s: float) -> str:
    """A TextGrid of Praat's, long form: tiers of text, start and end in seconds.

    Intervals cover the whole recording, silence as empty ones. One that begins before the last one
    ended begins with its end, and none is shorter than a millisecond.
    """
    filled = {name: _gapless(spans) for name, spans in tiers.items()}
    end_s = max([duration_s, *(tier[-1][2] for tier in filled.values() if tier)])
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', ""]
    lines += ["xmin = 0", f"xmax = {end_s:.6f}", "tiers? <exists>", f"size = {len(filled)}"]
    lines += ["item []:"]
    for number, (name, intervals) in enumerate(filled.items(), 1):
        begin_s = intervals[-1][2] if intervals else 0.0
        if end_s > begin_s:
            intervals.append(("", begin_s, end_s))
        lines += [
            f"    item [{number}]:",
            '        class = "IntervalTier"',
            f'        name = "{_quoted(name)}"',
            "        xmin = 0",
            f"        xmax = {end_s:.6f}",
            f"        intervals: size = {len(intervals)}",
        ]
        for at, (text, begin, end) in enumerate(intervals, 1):
            lines += [
                f"        intervals [{at}]:",
                f"            xmin = {begin:.6f}",
                f"            xmax = {end:.6f}",
                f'            text = "{_quoted(text)}"',
            ]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return text.replace('"', '""')


def to_ctm(transcript: Transcript, name: str = "recording") -> str:
    """NIST's CTM: recording, channel, start and length in seconds, word, confidence, by line.

    Fields have no spaces: those of the name become `_`, and a word of several is several lines.
    """
    recording = "_".join(name.split()) or "recording"
    words = (part for segment in transcript.segments for part in _spans(segment))
    return "".join(
        f"{recording} 1 {max(0.0, word.start_s):.3f} {max(0.0, word.end_s - word.start_s):.3f} "
        f"{word.text} {word.confidence:.3f}\n"
        for word in words
    )


FORMATS: dict[str, Callable[[Transcript], str]] = {
    "txt": to_txt,
    "srt": to_srt,
    "vtt": to_vtt,
    "json": to_json,
    "textgrid": to_textgrid,
    "ctm": to_ctm,
}


def written(transcript: Transcript, style: str, name: str) -> str:
    """A transcript in one of `FORMATS`; some carry the recording's name in every line."""
    return to_ctm(transcript, name) if style == "ctm" else FORMATS[style](transcript)


class _Cue(NamedTuple):
    start_ms: int
    end_ms: int
    lines: list[str]


class _Timed(NamedTuple):
    text: str
    start_s: float
    end_s: float


def _cues(transcript: Transcript) -> list[_Cue]:
    """Cues in order, never overlapping, each at least 1 ms long and at most two short lines."""
    groups = [group for segment in transcript.segments for group in _groups(segment)]
    nexts_s = [*(group[0].start_s for group in groups[1:]), transcript.duration_s]
    cues: list[_Cue] = []
    free_ms = 0
    for group, next_s in zip(groups, nexts_s, strict=False):
        start_ms = max(free_ms, round(group[0].start_s * 1000))
        end_ms = max(start_ms + 1, round(group[-1].end_s * 1000))
        end_ms = max(end_ms, min(start_ms + CUE_SHORTEST_MS, round(next_s * 1000)))
        cues.append(_Cue(start_ms, end_ms, _lines(_text(group))))
        free_ms = end_ms
    return cues


def _groups(segment: Segment) -> Iterator[list[_Timed]]:
    """The words of a segment, cut where a cue would be too long for the eye or the clock."""
    group: list[_Timed] = []
    for word in _timed(segment):
        longer = [*group, word]
        too_long = word.end_s - longer[0].start_s > CUE_LONGEST_S
        if group and (too_long or len(_lines(_text(longer))) > CUE_LINES):
            yield group
            longer = [word]
        group = longer
    if group:
        yield group


def _timed(segment: Segment) -> Iterator[_Timed]:
    """Words no longer than a line. Time within an untimed text or a cut word goes by letters."""
    for span in segment.words or _untimed(segment):
        parts = [part for word in span.text.split() for part in _lines(word)]
        yield from (_Timed(word.text, word.start_s, word.end_s) for word in _shared(span, parts))


def _spans(segment: Segment) -> Iterator[Word]:
    """The words of a segment, none with a space in it."""
    for span in segment.words or _untimed(segment):
        yield from _shared(span, span.text.split())


def _untimed(segment: Segment) -> tuple[Word]:
    sure = 1.0 if segment.confidence is None else segment.confidence
    return (Word(segment.text, segment.start_s, segment.end_s, sure),)


def _shared(span: Word, parts: Sequence[str]) -> Iterator[Word]:
    """The parts of a word, its time shared out among them by their letters."""
    letters, done = sum(map(len, parts)), 0
    for part in parts:
        per_letter_s = (span.end_s - span.start_s) / letters
        start_s = span.start_s + done * per_letter_s
        done += len(part)
        yield Word(part, start_s, span.start_s + done * per_letter_s, span.confidence)


def _gapless(spans: Iterable[tuple[str, float, float]]) -> list[tuple[str, float, float]]:
    """Spans from 0 on with empty ones between them."""
    intervals: list[tuple[str, float, float]] = []
    at_s = 0.0
    for text, begin_s, stop_s in spans:
        if begin_s - at_s >= SHORTEST_INTERVAL_S:
            intervals.append(("", at_s, begin_s))
            at_s = begin_s
        intervals.append((text, at_s, max(stop_s, at_s + SHORTEST_INTERVAL_S)))
        at_s = intervals[-1][2]
    return intervals


def _text(words: Iterable[Word | _Timed]) -> str:
    return " ".join(word.text for word in words)


def _lines(text: str) -> list[str]:
    return textwrap.wrap(text, LINE_LETTERS, break_on_hyphens=False)


def _clock(time_ms: int, point: str) -> str:
    seconds, millis = divmod(time_ms, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{point}{millis:03}"


def _rounded(value: float) -> float:
    return round(value, 3)


def _log(confidence: float | None) -> float:
    return math.log(max(confidence, 1e-10)) if confidence is not None else 0.0


def _compression_ratio(text: str) -> float:
    data = text.encode("utf-8")
    return len(data) / len(zlib.compress(data))
