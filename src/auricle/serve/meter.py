"""GET /v1/realtime/classifications: a websocket that says what is heard, moment by moment.

Sound comes as `incoming` says, at the rate of the query's `rate`; `model` is one of /v1/models that
answers with labels. A window as long as the model's clips slides over it, `hop` seconds at a time.

From the server, JSON: "session.created"; "labels", for every window, with `start`, `end` and the
likeliest `labels`, each averaged over the last `smoothing` windows; "detection", when the average
of a label passes `threshold`, with `label`, `start`, `end` and `confidence`, at most once in
`refractory` seconds; "committed" in answer to a commit; "error", before it closes.
"""

from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Query, WebSocket
from pydantic import BaseModel, Field

from auricle import audio
from auricle.engine import Float32
from auricle.serve.forms import MOST_LABELS, TOP_LABELS, labelled
from auricle.serve.house import House
from auricle.serve.incoming import RATES_HZ, converse, follow
from auricle.serve.labelling import Labeller, Level, Meter
from auricle.spotting import Spotter, SpottingSettings

ROUTE = "/v1/realtime/classifications"
HOPS_S = (0.05, 60.0)
USUAL = SpottingSettings()


class Wish(BaseModel):
    """The query of a session."""

    model: str = ""
    rate: int = Field(audio.SAMPLE_RATE_HZ, ge=RATES_HZ[0], le=RATES_HZ[1])
    top_k: int = Field(TOP_LABELS, ge=1, le=MOST_LABELS)
    hop: float | None = Field(None, ge=HOPS_S[0], le=HOPS_S[1])
    threshold: float = Field(USUAL.threshold, ge=0, le=1)
    smoothing: int = Field(USUAL.smoothing, ge=1, le=100)
    refractory: float = Field(USUAL.refractory_s, ge=0, le=3_600)

    def meter(self, labeller: Labeller) -> Meter:
        """A session of the model."""
        settings = SpottingSettings(
            threshold=self.threshold, smoothing=self.smoothing, refractory_s=self.refractory
        )
        return Meter(labeller, Spotter(labeller.classifier.labels.names, settings), self.hop)


def router(house: House) -> APIRouter:
    """The route."""
    made = APIRouter()

    @made.websocket(ROUTE)
    async def realtime(socket: WebSocket, wish: Annotated[Wish, Query()]) -> None:
        """Sound in as it is made, labels out."""
        await converse(house, socket, lambda: _serve(house, socket, wish))

    return made


async def _serve(house: House, socket: WebSocket, wish: Wish) -> None:
    labeller = house.ears.labeller(wish.model)
    meter = wish.meter(labeller)
    resampler = audio.Resampler(wish.rate, labeller.rate_hz)

    async def tell(levels: Iterator[Level]) -> None:
        while (level := await house.ears.run(lambda: next(levels, None))) is not None:
            for message in messages(level, wish.top_k):
                await socket.send_json(message)

    async def push(samples: Float32) -> None:
        house.metrics.sound.add(len(samples) / wish.rate, ROUTE)
        await tell(meter.push(resampler.push(samples)))

    await socket.send_json(
        {"type": "session.created", "model": labeller.name, "threshold": wish.threshold}
    )
    await follow(socket, push, lambda: tell(meter.finish()))


def messages(level: Level, top: int) -> Iterator[dict[str, Any]]:
    """A moment, as the client is told."""
    times = {"start": round(level.start_s, 3), "end": round(level.end_s, 3)}
    yield {"type": "labels", **times, "labels": labelled(level.labels[:top])}
    if (found := level.detection) is not None:
        sure = round(found.confidence, 4)
        yield {"type": "detection", **times, "label": found.keyword, "confidence": sure}
