"""GET /v1/realtime: a websocket that takes sound as it is spoken and gives words as they are heard.

The query's `prompt` has hotwords, parted by commas; `model` is one of /v1/models.

To the server: binary messages of PCM16 (little-endian, mono) at the rate of the query's `rate`; or
JSON, {"type": "input_audio_buffer.append", "audio": BASE64}; and {"type":
"input_audio_buffer.commit"} to end the utterance at once.

From the server, JSON: "session.created"; "partial" and "final", with `item` (the utterance),
`text`, `words` (each with start, end, confidence; in partials `stable` too) and `end` (of the sound
heard); "committed" in answer to a commit; "error", before it closes.
"""

import time
from collections.abc import Iterator
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query, WebSocket

from auricle import audio
from auricle.engine import Float32
from auricle.serve.forms import hotwords_of, timed
from auricle.serve.house import House
from auricle.serve.incoming import RATES_HZ, converse, follow
from auricle.serve.utterances import Utterances
from auricle.stream import Heard, Streamer

ROUTE = "/v1/realtime"


def router(house: House) -> APIRouter:
    """The route."""
    made = APIRouter()

    @made.websocket(ROUTE)
    async def realtime(
        socket: WebSocket,
        model: Annotated[str, Query()] = "",
        prompt: Annotated[str, Query(max_length=4_000)] = "",
        rate: Annotated[int, Query(ge=RATES_HZ[0], le=RATES_HZ[1])] = audio.SAMPLE_RATE_HZ,
    ) -> None:
        """Sound in as it is spoken, words out as they are heard."""

        async def session() -> None:
            ear = house.ears.named(model)
            making = partial(Streamer.of, ear.recognizer, hotwords=hotwords_of([prompt]))
            utterances = Utterances(await house.ears.run(making))
            await socket.send_json(
                {"type": "session.created", "model": ear.name, "language": ear.language}
            )
            await _hear(house, socket, utterances, rate, ear.rate_hz)

        await converse(house, socket, session)

    return made


async def _hear(
    house: House, socket: WebSocket, utterances: Utterances, rate_hz: int, heard_hz: int
) -> None:
    """Tell a client what is heard, until it leaves."""
    resampler = audio.Resampler(rate_hz, heard_hz)

    async def tell(heard: Iterator[Heard]) -> None:
        # In a thread; while that takes, what the client sends waits in its socket.
        while (each := await house.ears.run(lambda: next(heard, None))) is not None:
            await socket.send_json(shown(each))

    async def push(samples: Float32) -> None:
        house.metrics.sound.add(len(samples) / rate_hz, ROUTE)
        await tell(utterances.push(resampler.push(samples)))

    await follow(socket, push, lambda: tell(utterances.finish()))


def shown(heard: Heard) -> dict[str, Any]:
    """What was heard, as a message."""
    words = [
        timed(word) | ({"stable": at < heard.stable} if heard.kind == "partial" else {})
        for at, word in enumerate(heard.words)
    ]
    return {
        "type": heard.kind,
        "item": heard.number,
        "text": " ".join(word.text for word in heard.words),
        "words": words,
        "end": round(heard.end_s, 3),
        "sent_at": round(time.time(), 3),
    }
