"""GET /v1/realtime: a websocket that takes sound as it is spoken and gives words as they are heard.

The query's `prompt` has hotwords, parted by commas; `model` is one of /v1/models.

To the server: binary messages of PCM16 (little-endian, mono) at the rate of the query's `rate`; or
JSON, {"type": "input_audio_buffer.append", "audio": BASE64}; and {"type":
"input_audio_buffer.commit"} to end the utterance at once.

From the server, JSON: "session.created"; "partial" and "final", with `item` (the utterance),
`text`, `words` (each with start, end, confidence; in partials `stable` too) and `end` (of the sound
heard); "committed" in answer to a commit; "error", before it closes.
"""

import asyncio
import base64
import binascii
import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query, WebSocket, WebSocketDisconnect
from starlette.exceptions import HTTPException

from auricle import audio
from auricle.errors import AuricleError, brief
from auricle.serve.ears import Ears
from auricle.serve.forms import hotwords_of, timed
from auricle.serve.house import House
from auricle.serve.metrics import Metrics
from auricle.serve.refusals import error_object
from auricle.serve.utterances import Utterances
from auricle.stream import Heard, Streamer

ROUTE = "/v1/realtime"
MESSAGE_BYTES = 2**20  # of one message; the server closes on a longer one
SILENT_S = 60.0  # without a message, the client is taken to be gone
RATES_HZ = (8_000, 48_000)
TRY_AGAIN, UNSUPPORTED, TROUBLE = 1013, 1003, 1011  # RFC 6455 and its registry


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
        offered = socket.headers.get("sec-websocket-protocol", "").split(",")
        chosen = "realtime" if "realtime" in {each.strip() for each in offered} else None
        await socket.accept(chosen)
        with house.gate.live() as free:
            if not free:
                await socket.close(TRY_AGAIN, "too many live transcriptions; try again later")
                return
            try:
                ear = house.ears.named(model)
                words = hotwords_of([prompt])
                making = partial(Streamer.of, ear.recognizer, hotwords=words)
                utterances = Utterances(await house.ears.run(making))
                resampler = audio.Resampler(rate, ear.rate_hz)
                session = Session(socket, house.ears, utterances, resampler, rate, house.metrics)
                await socket.send_json(
                    {"type": "session.created", "model": ear.name, "language": ear.language}
                )
                await session.run()
            except WebSocketDisconnect:
                pass
            except HTTPException as error:
                detail: Any = error.detail
                await _end(socket, UNSUPPORTED, detail["message"])
            except AuricleError as error:
                await _end(socket, TROUBLE, str(error))

    return made


class Session:
    """One client's live transcription."""

    def __init__(
        self,
        socket: WebSocket,
        ears: Ears,
        utterances: Utterances,
        resampler: audio.Resampler,
        rate_hz: int,
        metrics: Metrics,
    ) -> None:
        self._socket, self._ears, self._metrics = socket, ears, metrics
        self._utterances, self._resampler = utterances, resampler
        self._rate_hz, self._odd = rate_hz, b""

    async def run(self) -> None:
        """Serve until the client leaves.

        Raises:
            WebSocketDisconnect: it left.
        """
        while True:
            try:
                async with asyncio.timeout(SILENT_S):
                    message = await self._socket.receive()
            except TimeoutError:
                await _end(self._socket, TRY_AGAIN, f"nothing came for {SILENT_S:g} s")
                return
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect
            if message.get("bytes") is not None:
                await self._push(message["bytes"])
            elif (problem := await self._read(message.get("text") or "")) is not None:
                await _end(self._socket, UNSUPPORTED, problem)
                return

    async def _read(self, text: str) -> str | None:
        """Act on a JSON message; what is wrong with it, if anything."""
        try:
            values = json.loads(text)
            kind = values["type"]
            if kind == "input_audio_buffer.append":
                await self._push(base64.b64decode(values["audio"], validate=True))
            elif kind == "input_audio_buffer.commit":
                await self._tell(lambda: self._utterances.finish())
                await self._socket.send_json({"type": "committed"})
            else:
                return f"unknown type {brief(kind)}"
        except (ValueError, KeyError, TypeError, RecursionError, binascii.Error):
            return "not a message that is known here: see /docs"
        return None

    async def _push(self, pcm16: bytes) -> None:
        pcm16 = self._odd + pcm16  # a message may end within a sample
        whole = len(pcm16) - len(pcm16) % 2
        self._odd = pcm16[whole:]
        samples = np.frombuffer(pcm16[:whole], "<i2").astype(np.float32) * np.float32(2**-15)
        self._metrics.sound.add(len(samples) / self._rate_hz, ROUTE)
        heard_at = self._resampler.push(samples)
        await self._tell(lambda: self._utterances.push(heard_at))

    async def _tell(self, work: Callable[[], Iterator[Heard]]) -> None:
        """Hear in a thread; while that takes, what the client sends waits in its socket."""
        heard = work()
        while (each := await self._ears.run(lambda: next(heard, None))) is not None:
            await self._socket.send_json(shown(each))


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


async def _end(socket: WebSocket, code: int, why: str) -> None:
    await socket.send_json({"type": "error", **error_object(400, brief(why))})
    await socket.close(code, why[:60])
