"""Live sessions: sound that a client sends over a websocket while it is made.

Binary messages of PCM16 (little-endian, mono), of any size; or JSON, {"type":
"input_audio_buffer.append", "audio": BASE64}; and {"type": "input_audio_buffer.commit"}.
"""

import asyncio
import base64
import binascii
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus
from typing import Any

import numpy as np
from fastapi import WebSocket, WebSocketDisconnect
from starlette.exceptions import HTTPException

from auricle.engine import Float32
from auricle.errors import AuricleError, brief
from auricle.serve.house import House
from auricle.serve.refusals import MESSAGE_LETTERS, error_object, refusal

SILENT_S = 60.0  # without a message, the client is taken to be gone
MESSAGE_BYTES = 2**20  # of one message; the server closes on a longer one
WAITING = 64  # messages; then the client's own buffers fill
RATES_HZ = (8_000, 48_000)
APPEND, COMMIT = "input_audio_buffer.append", "input_audio_buffer.commit"
TRY_AGAIN, UNSUPPORTED, TROUBLE = 1013, 1003, 1011  # RFC 6455 and its registry


async def converse(house: House, socket: WebSocket, session: Callable[[], Awaitable[None]]) -> None:
    """Accept a client, if there is room, and serve it; it is told why a session ends early."""
    offered = socket.headers.get("sec-websocket-protocol", "").split(",")
    chosen = "realtime" if "realtime" in {each.strip() for each in offered} else None
    await socket.accept(chosen)
    with house.gate.live() as free:
        if not free:
            await socket.close(TRY_AGAIN, "too many live sessions; try again later")
            return
        try:
            await session()
        except WebSocketDisconnect:
            pass
        except HTTPException as error:
            detail: Any = error.detail
            gone = error.status_code == HTTPStatus.REQUEST_TIMEOUT
            await _end(socket, TRY_AGAIN if gone else UNSUPPORTED, **detail)
        except AuricleError as error:
            await _end(socket, TROUBLE, str(error))


async def _end(
    socket: WebSocket, status: int, message: str, code: str | None = None, param: str | None = None
) -> None:
    """Say why, as an error object, and close with a status of RFC 6455."""
    told = error_object(400, message[:MESSAGE_LETTERS], code, param)
    await socket.send_json({"type": "error", **told})
    await socket.close(status, message[:60])


async def follow(
    socket: WebSocket,
    push: Callable[[Float32], Awaitable[None]],
    finish: Callable[[], Awaitable[None]],
) -> None:
    """Push the sound of a client as it comes, and finish at every commit, until the client leaves.

    What came while the last was heard is pushed as one. The socket is read meanwhile: a client that
    leaves is let go though its sound is not heard yet.
    """
    waiting: asyncio.Queue[Float32 | None] = asyncio.Queue(WAITING)

    async def read() -> None:
        async for samples in sounds(socket):
            await waiting.put(samples)

    async def hear() -> None:
        while True:
            together, commit = _joined(await waiting.get(), waiting)
            if len(together):
                await push(together)
            if commit:
                await finish()
                await socket.send_json({"type": "committed"})

    tasks = asyncio.create_task(read()), asyncio.create_task(hear())
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)  # a thread may still be hearing
    for task in done:
        await task  # raises what it raised


def _joined(first: Float32 | None, waiting: asyncio.Queue[Float32 | None]) -> tuple[Float32, bool]:
    """All that waits, up to a commit, and whether there was one."""
    parts: list[Float32] = []
    while first is not None:
        parts.append(first)
        if waiting.empty():
            break
        first = waiting.get_nowait()
    return np.concatenate([np.zeros(0, np.float32), *parts]), first is None


async def sounds(socket: WebSocket) -> AsyncIterator[Float32 | None]:
    """(n,) samples within -1..1 as they come, None for a commit; ends when the client left.

    Raises:
        HTTPException: 400 for what is no such message, 408 when nothing comes.
    """
    odd = b""
    while True:
        try:
            async with asyncio.timeout(SILENT_S):
                message = await socket.receive()
        except TimeoutError:
            raise refusal(HTTPStatus.REQUEST_TIMEOUT, f"nothing came for {SILENT_S:g} s") from None
        if message["type"] == "websocket.disconnect":
            return
        pcm16 = message.get("bytes")
        if pcm16 is None:
            pcm16 = _read(message.get("text") or "")
        if pcm16 is None:
            yield None
            continue
        pcm16 = odd + pcm16  # a message may end within a sample
        whole = len(pcm16) - len(pcm16) % 2
        odd = pcm16[whole:]
        yield np.frombuffer(pcm16[:whole], "<i2").astype(np.float32) * np.float32(2**-15)


def _read(text: str) -> bytes | None:
    """The sound in a JSON message; None: it is a commit."""
    try:
        values = json.loads(text)
        kind = values["type"]
        if kind == APPEND:
            return base64.b64decode(values["audio"], validate=True)
    except binascii.Error:
        raise refusal(
            HTTPStatus.BAD_REQUEST, "audio is not base64", code="invalid_message", param="audio"
        ) from None
    except (ValueError, KeyError, TypeError, RecursionError):
        kind = None
    if kind != COMMIT:
        found = f"unknown type {brief(kind)}" if kind is not None else "this is no message"
        raise refusal(
            HTTPStatus.BAD_REQUEST,
            f'{found}: send PCM16 in binary messages, {{"type": "{APPEND}", "audio": BASE64}} or'
            f' {{"type": "{COMMIT}"}}',
            code="invalid_message",
        )
    return None
