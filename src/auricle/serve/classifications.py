"""POST /v1/audio/classifications: recordings in, labels out. Ours; OpenAI has no such route."""

from contextlib import aclosing
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Self

from fastapi import APIRouter, Request

from auricle.errors import AuricleError
from auricle.results import Labels
from auricle.serve.ears import check_length
from auricle.serve.forms import FILE, MODEL, MOST_LABELS, TOP_LABELS, form, labelled, switch
from auricle.serve.house import House
from auricle.serve.labelling import Labeller, Window
from auricle.serve.refusals import of_recording, refusal
from auricle.serve.uploads import Upload

ROUTE = "/v1/audio/classifications"
BODY = form(
    {
        "file": FILE,
        "model": MODEL,
        "response_format": {"type": "string", "enum": ["json"], "default": "json"},
        "top_k": {
            "type": "integer",
            "minimum": 1,
            "maximum": MOST_LABELS,
            "default": TOP_LABELS,
            "description": "labels to name, the likeliest first",
        },
        "windows": {
            "type": "boolean",
            "default": True,
            "description": "also every window of a recording that is longer than one",
        },
    }
)


@dataclass(frozen=True, slots=True)
class Asked:
    """The fields of a request."""

    model: str
    top: int
    windows: bool

    @classmethod
    def of(cls, upload: Upload) -> Self:
        """Read from the fields of an upload.

        Raises:
            HTTPException: 400 for a value that is none of those known.
        """
        style, top = upload.one("response_format", "json"), upload.one("top_k") or str(TOP_LABELS)
        if style != "json":
            raise refusal(
                HTTPStatus.BAD_REQUEST,
                "response_format can only be json here",
                param="response_format",
            )
        # int() also knows digits of other scripts, and refuses to read thousands of them
        if not (top.isascii() and top.isdigit() and len(top) < 9 and 1 <= int(top) <= MOST_LABELS):
            raise refusal(
                HTTPStatus.BAD_REQUEST,
                f"top_k is no number from 1 to {MOST_LABELS}",
                param="top_k",
            )
        return cls(upload.one("model"), int(top), switch(upload, "windows", default="true"))


def router(house: House) -> APIRouter:
    """The route."""
    made = APIRouter()
    settings = house.settings

    @made.post(ROUTE, openapi_extra=BODY)
    async def classify(request: Request) -> dict[str, Any]:
        """Recordings in, labels out; of a longer one those of every window, with its times."""
        receiver = house.receiver
        with house.gate.request():
            async with receiver.receive(request, settings.upload_mb) as upload:
                asked = Asked.of(upload)
                labeller = house.ears.labeller(asked.model)
                try:
                    sound_s = await house.ears.run(
                        lambda: check_length(upload.path, settings.longest_s)
                    )
                    house.metrics.sound.add(sound_s, ROUTE)
                    heard = await _heard(house, labeller, upload, request)
                    labels = await house.ears.run(lambda: labeller.labels(heard, asked.top))
                except AuricleError as error:
                    raise of_recording(error, upload.path) from None
        return shown(labels, labeller.name, asked)

    return made


async def _heard(
    house: House, labeller: Labeller, upload: Upload, request: Request
) -> list[Window]:
    """All windows; given up when the client has left."""
    known: list[Window] = []
    coming = house.ears.each(labeller.windows(upload.path, house.settings.longest_s))
    async with aclosing(coming) as windows:
        async for window in windows:
            known.append(window)
            if await request.is_disconnected():
                raise refusal(499, "the client left")
    return known


def shown(labels: Labels, model: str, asked: Asked) -> dict[str, Any]:
    """Labels as clients see them, as `auricle classify --format json` writes them."""
    values = {
        "object": "audio.classification",
        "model": model,
        "duration": round(labels.duration_s, 3),
        "chosen": list(labels.chosen),
        "labels": labelled(labels.labels[: max(asked.top, len(labels.chosen))]),
    }
    if asked.windows and len(labels.windows) > 1:
        values["windows"] = [
            {
                "start": round(each.start_s, 3),
                "end": round(each.end_s, 3),
                "labels": labelled(each.labels),
            }
            for each in labels.windows
        ]
    return values
