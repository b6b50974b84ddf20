"""What requests ask for, and how transcripts and labels are given out."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Literal, Self, get_args

from fastapi.responses import JSONResponse, PlainTextResponse, Response

from auricle.errors import brief
from auricle.results import FORMATS, Label, Transcript, Word, verbose_json
from auricle.serve.refusals import refusal
from auricle.serve.uploads import Upload

Format = Literal["json", "text", "srt", "verbose_json", "vtt"]
STYLES: dict[str, Format] = {style: style for style in get_args(Format)}
HOTWORDS, PHRASE_WORDS = 500, 4  # most in a request; words of the longest
TOP_LABELS, MOST_LABELS = 5, 1_000  # named of each answer, and the most that can be asked for
MEDIA_TYPES = {"srt": "application/x-subrip", "vtt": "text/vtt"}

FILE: dict[str, Any] = {
    "type": "string",
    "format": "binary",
    "description": "WAV, FLAC, MP3, Ogg, Opus, AIFF, CAF or NIST sphere; m4a, aac, webm and video"
    " where the server has auricle[media]",
}
MODEL: dict[str, Any] = {
    "type": "string",
    "description": "of /v1/models; else the first that gives such answers",
}


def form(properties: dict[str, Any]) -> dict[str, Any]:
    """What OpenAPI is told of a route that takes a multipart body with a recording."""
    schema = {"type": "object", "required": ["file"], "properties": properties}
    content = {"multipart/form-data": {"schema": schema}}
    return {"requestBody": {"required": True, "content": content}}


BODY = form(
    {
        "file": FILE,
        "model": MODEL,
        "response_format": {"type": "string", "enum": list(STYLES), "default": "json"},
        "timestamp_granularities[]": {
            "type": "array",
            "items": {"type": "string", "enum": ["word", "segment"]},
        },
        "stream": {"type": "boolean", "default": False},
        "language": {"type": "string", "description": "ISO 639-1"},
        "prompt": {
            "type": "string",
            "description": "names and terms that may be said, parted by commas",
        },
        "temperature": {"type": "number", "minimum": 0, "maximum": 1},
    }
)


@dataclass(frozen=True, slots=True)
class Asked:
    """The fields of a request that the server acts on; others of OpenAI's mean nothing here."""

    model: str
    response_format: Format
    granularities: frozenset[str]
    stream: bool
    hotwords: tuple[str, ...]

    @classmethod
    def of(cls, upload: Upload) -> Self:
        """Read from the fields of an upload.

        Raises:
            HTTPException: 400 for a value that is none of those known.
        """
        style = upload.one("response_format", "json")
        if style not in STYLES:
            raise _unknown("response_format", style, tuple(STYLES))
        granularities = frozenset(upload.all("timestamp_granularities"))
        if unknown := granularities - {"word", "segment"}:
            raise _unknown("timestamp_granularities", min(unknown), ("word", "segment"))
        return cls(
            upload.one("model"),
            STYLES[style],
            granularities or frozenset(["segment"]),
            switch(upload, "stream", default="false"),
            hotwords_of([upload.one("prompt"), *upload.all("keywords")]),
        )


def switch(upload: Upload, name: str, *, default: str) -> bool:
    """A field that is true or false.

    Raises:
        HTTPException: 400 for anything else.
    """
    value = upload.one(name).lower() or default
    if value not in ("true", "false", "1", "0"):
        raise _unknown(name, value, ("true", "false"))
    return value in ("true", "1")


def hotwords_of(texts: Iterable[str]) -> tuple[str, ...]:
    """The names and terms in prompts: what stands between commas or line ends.

    A longer stretch is prose, as Whisper's prompts may be: its words are no likelier for it.

    Raises:
        HTTPException: 400 for hundreds of them.
    """
    phrases = (phrase.strip() for text in texts for phrase in re.split(r"[,;\n]", text))
    found = tuple(dict.fromkeys(p for p in phrases if p and len(p.split()) <= PHRASE_WORDS))
    if len(found) > HOTWORDS:
        raise refusal(
            HTTPStatus.BAD_REQUEST,
            f"{len(found)} hotwords came; {HOTWORDS} are the most",
            param="prompt",
        )
    return found


def answer(transcript: Transcript, style: Format, granularities: frozenset[str]) -> Response:
    """A transcript in the format asked for."""
    if style in ("json", "verbose_json"):
        return JSONResponse(_OBJECTS[style](transcript, granularities))
    text = FORMATS["txt" if style == "text" else style](transcript)
    return PlainTextResponse(text, media_type=MEDIA_TYPES.get(style, "text/plain"))


def timed(word: Word) -> dict[str, Any]:
    """A word as `verbose_json` has it."""
    return {
        "word": word.text,
        "start": round(word.start_s, 3),
        "end": round(word.end_s, 3),
        "confidence": round(word.confidence, 3),
    }


def labelled(labels: Iterable[Label]) -> list[dict[str, Any]]:
    """Labels as clients see them."""
    return [{"label": each.name, "confidence": round(each.confidence, 4)} for each in labels]


def usage(transcript: Transcript) -> dict[str, Any]:
    """What OpenAI's clients expect to be told: how much sound it was."""
    return {"type": "duration", "seconds": round(transcript.duration_s, 3)}


def _json(transcript: Transcript, _: frozenset[str]) -> dict[str, Any]:
    return {"text": transcript.text, "usage": usage(transcript)}


def _verbose(transcript: Transcript, granularities: frozenset[str]) -> dict[str, Any]:
    values = verbose_json(transcript) | {"usage": usage(transcript)}
    for key, granularity in (("words", "word"), ("segments", "segment")):
        if granularity not in granularities:
            del values[key]
    return values


_OBJECTS: dict[str, Callable[[Transcript, frozenset[str]], dict[str, Any]]] = {
    "json": _json,
    "verbose_json": _verbose,
}


def _unknown(name: str, value: str, known: tuple[str, ...]) -> Exception:
    message = f"{name} = {brief(value)}; known are {', '.join(known)}"
    return refusal(HTTPStatus.BAD_REQUEST, message, param=name)
