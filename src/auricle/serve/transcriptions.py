"""POST /v1/audio/transcriptions, as OpenAI defines it, and /v1/models."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, aclosing
from http import HTTPStatus
from typing import Annotated, Any, Self

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, model_validator
from starlette.types import Receive, Scope, Send

from auricle.bundle import Card
from auricle.decode import assemble
from auricle.errors import AuricleError
from auricle.results import Word
from auricle.serve.ears import Ear, Ears, Piece, check_length
from auricle.serve.forms import BODY, Asked, Format, answer, timed, usage
from auricle.serve.house import House
from auricle.serve.refusals import error_object, of_recording, without_path
from auricle.serve.uploads import Upload

ROUTE = "/v1/audio/transcriptions"
STREAM_BATCH = 1  # pieces decoded together for a stream: few, that the first words come soon
WORDS, WORD_LETTERS = 200_000, 200  # a day of speech


def router(house: House) -> APIRouter:
    """The routes."""
    made = APIRouter()
    longest_s = house.settings.longest_s

    @made.post(ROUTE, openapi_extra=BODY, response_class=Response)
    async def transcribe(request: Request) -> Response:
        """Recordings in, text out; with stream=true as server-sent events, while it is decoded."""
        async with AsyncExitStack() as stack:
            stack.enter_context(house.gate.request())
            upload = await stack.enter_async_context(
                house.receiver.receive(request, house.settings.upload_mb)
            )
            asked = Asked.of(upload)
            ear = house.ears.named(asked.model)
            try:
                sound_s = await house.ears.run(lambda: check_length(upload.path, longest_s))
                house.metrics.sound.add(sound_s, ROUTE)
                if asked.stream:
                    heard = ear.pieces(upload.path, longest_s, asked.hotwords, batch=STREAM_BATCH)
                    return Held(stack.pop_all(), _events(house.ears, ear, upload, heard))
                heard = ear.pieces(upload.path, longest_s, asked.hotwords)
                transcript = await house.ears.transcript(ear, heard, request.is_disconnected)
            except AuricleError as error:
                raise of_recording(error, upload.path) from None
            return answer(transcript, asked.response_format, asked.granularities)

    @made.get("/v1/models")
    async def models() -> dict[str, Any]:
        """The models that requests can name."""
        return {"object": "list", "data": [_model(*each) for each in house.ears.models.items()]}

    @made.get("/v1/models/{name}")
    async def model(name: str) -> dict[str, Any]:
        """One of them."""
        return _model(name, house.ears.card(name))

    @made.post("/v1/audio/transcripts", response_class=Response)
    async def write(
        given: Given, response_format: Annotated[Format, Query()] = "verbose_json"
    ) -> Response:
        """Words with times in, a file of any format out: for what was heard live."""
        words = [Word(each.word, each.start, each.end, each.confidence) for each in given.words]
        words.sort(key=lambda word: word.start_s)
        end_s = max((word.end_s for word in words), default=0.0)
        transcript = assemble(words, max(end_s, given.duration), given.language)
        return answer(transcript, response_format, frozenset(["word", "segment"]))

    return made


class GivenWord(BaseModel):
    """A word of a transcript that the client has."""

    model_config = ConfigDict(allow_inf_nan=False)
    word: str = Field(min_length=1, max_length=WORD_LETTERS, pattern=r"^\S+$")
    start: float = Field(ge=0, le=1e6)
    end: float = Field(ge=0, le=1e6)
    confidence: float = Field(1.0, ge=0, le=1)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.end < self.start:
            raise ValueError(f"ends at {self.end:g} s, before it starts at {self.start:g} s")
        return self


class Given(BaseModel):
    """A transcript that the client has."""

    model_config = ConfigDict(allow_inf_nan=False)
    words: list[GivenWord] = Field(max_length=WORDS)
    duration: float = Field(0.0, ge=0, le=1e6)
    language: str | None = Field(None, max_length=20)


class Held(StreamingResponse):
    """An answer that holds its upload, and its place, until its last byte or its client is gone."""

    def __init__(self, stack: AsyncExitStack, events: AsyncIterator[str]) -> None:
        super().__init__(
            events, media_type="text/event-stream", headers={"Cache-Control": "no-store"}
        )
        self._stack = stack

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, then let go."""
        async with self._stack:
            await super().__call__(scope, receive, send)


async def _events(
    ears: Ears, ear: Ear, upload: Upload, heard: Iterator[Piece]
) -> AsyncIterator[str]:
    """OpenAI's events; each delta carries its words with their times, beyond that interface."""
    pieces: list[Piece] = []
    try:
        async with aclosing(ears.each(heard)) as coming:
            async for piece in coming:
                before = any(each.words for each in pieces)
                pieces.append(piece)
                text = " ".join(word.text for word in piece.words)
                yield _event(
                    "transcript.text.delta",
                    delta=" " * (before and bool(text)) + text,
                    words=[timed(word) for word in piece.words],
                    heard=round(piece.end_s, 3),
                )
    except AuricleError as error:
        status = HTTPStatus.BAD_REQUEST
        yield _event("error", **error_object(status, without_path(error, upload.path)))
        return
    transcript = ear.transcript(pieces)
    yield _event("transcript.text.done", text=transcript.text, duration=usage(transcript))


def _event(kind: str, **values: Any) -> str:
    # OpenAI's clients know a stream's usage in tokens only: ours goes by another name
    return f"data: {json.dumps({'type': kind, **values}, ensure_ascii=False)}\n\n"


def _model(name: str, card: Card) -> dict[str, Any]:
    return {
        "id": name,
        "object": "model",
        "created": 0,
        "owned_by": "auricle",
        "answer": card.answer,
        "language": card.language,
        "labels": card.labels.get("names", []),
    }
