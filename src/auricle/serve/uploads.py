"""A multipart request, received into memory that is bounded and a file of ours that is removed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO

from anyio.to_thread import run_sync
from fastapi import HTTPException, Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect

from auricle import audio
from auricle.serve.metrics import Metrics
from auricle.serve.refusals import refusal
from auricle.serve.workspace import Workspace

MEGABYTE = 1_000_000
FIELDS, FIELD_BYTES = 64, 65_536  # most fields beside the file; bytes of one
HEADERS, HEADER_BYTES = 8, 4_096  # of one part
OVERHEAD_BYTES = FIELDS * (FIELD_BYTES // 8) + MEGABYTE // 10  # of the body beside the recording
WRITE_BYTES = 262_144  # gathered before the disk is asked
DRAIN_S = 2.0  # for which a refused body is read on, that its sender sees the answer


@dataclass
class Upload:
    """What a request brought: its fields in their order, and the recording as a file of ours."""

    path: Path
    name: str  # what the client calls the recording; never a path of ours
    size_bytes: int
    fields: list[tuple[str, str]]

    def all(self, name: str) -> list[str]:
        """The values of a field, also of `name[]`, as clients write lists."""
        return [value for key, value in self.fields if key in (name, f"{name}[]")]

    def one(self, name: str, default: str = "") -> str:
        """The last value of a field."""
        return next(reversed(self.all(name)), default)


@dataclass
class _Receiving:
    """Callbacks of the parser: they gather, and refuse what is too much."""

    fields: list[tuple[str, str]] = field(default_factory=list)
    name: str | None = None  # of the recording
    sound: bytearray = field(default_factory=bytearray)  # not yet written
    whole: bool = False
    _header: tuple[bytearray, bytearray] = field(default_factory=lambda: (bytearray(), bytearray()))
    _headers: dict[bytes, bytes] = field(default_factory=dict)
    _value: bytearray = field(default_factory=bytearray)
    _field: str = ""
    _in_file: bool = False

    def on_part_begin(self) -> None:
        self._headers, self._value, self._in_file = {}, bytearray(), False

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header[0].extend(data[start:end])

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header[1].extend(data[start:end])

    def on_header_end(self) -> None:
        self._headers[bytes(self._header[0]).lower()] = bytes(self._header[1])
        self._header = (bytearray(), bytearray())

    def on_headers_finished(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        self._field = options.get(b"name", b"").decode("utf-8", "replace")
        self._in_file = b"filename" in options and self._field == "file"
        if self._in_file:
            if self.name is not None:
                raise refusal(HTTPStatus.BAD_REQUEST, "one recording a request: two came as `file`")
            self.name = options[b"filename"].decode("utf-8", "replace")
        elif len(self.fields) == FIELDS:
            raise refusal(HTTPStatus.BAD_REQUEST, f"more than {FIELDS} fields came")

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._in_file:
            self.sound.extend(data[start:end])
        elif len(self._value) + end - start > FIELD_BYTES:
            raise refusal(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a field is over {FIELD_BYTES} bytes"
            )
        else:
            self._value.extend(data[start:end])

    def on_part_end(self) -> None:
        if not self._in_file:
            self.fields.append((self._field, self._value.decode("utf-8", "replace")))

    def on_end(self) -> None:
        self.whole = True


@dataclass(frozen=True)
class Receiver:
    """Receives uploads into the workspace."""

    workspace: Workspace
    metrics: Metrics

    @asynccontextmanager
    async def receive(self, request: Request, most_mb: float) -> AsyncIterator[Upload]:
        """The request's upload; its file is gone after the `with`, unless it was moved away.

        Raises:
            HTTPException: 400 for what is no such upload, 413 too large, 499 gone, 507 no room on
                the disk.
        """
        path = self.workspace.new_file("")
        kept = path
        try:
            try:
                with path.open("wb") as file:
                    parts, size_bytes = await self._read(request, file, most_mb)
            except OSError as error:
                raise refusal(
                    HTTPStatus.INSUFFICIENT_STORAGE,
                    f"the server has no room for the recording ({error.strerror})",
                    retry_after_s=60,
                ) from None
            kept = _with_suffix(path, parts.name or "")
            self.metrics.uploaded.add(size_bytes)
            yield Upload(kept, parts.name or "", size_bytes, parts.fields)
        except HTTPException as error:
            if error.status_code < 499:
                await _drain(request)
            raise
        finally:
            for each in {path, kept}:
                each.unlink(missing_ok=True)

    async def _read(
        self, request: Request, file: BinaryIO, most_mb: float
    ) -> tuple[_Receiving, int]:
        parts = _Receiving()
        most_bytes, written = most_mb * MEGABYTE, 0
        too_large = refusal(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"the recording is over {most_mb:g} MB: compress it, cut it, or use /v1/jobs",
            code="file_too_large",
            param="file",
        )
        claimed = request.headers.get("content-length", "")
        if claimed.isdigit() and float(claimed[:30]) > most_bytes + OVERHEAD_BYTES:
            raise too_large
        parser = _parser(request, parts)
        total = 0
        async for chunk in _chunks(request):
            total += len(chunk)
            if total > most_bytes + OVERHEAD_BYTES:
                raise too_large
            try:
                parser.write(chunk)
            except FormParserError as error:
                raise refusal(HTTPStatus.BAD_REQUEST, f"malformed multipart: {error}") from None
            if written + len(parts.sound) > most_bytes:
                raise too_large
            if len(parts.sound) >= WRITE_BYTES or parts.whole:
                written += len(parts.sound)
                await run_sync(file.write, bytes(parts.sound))
                parts.sound.clear()
        if not parts.whole:
            raise refusal(HTTPStatus.BAD_REQUEST, "the multipart body ends before its last part")
        if parts.name is None:
            raise refusal(
                HTTPStatus.BAD_REQUEST,
                "no recording came: send it as the multipart field `file`, with a file name",
                code="missing_file",
                param="file",
            )
        return parts, written


def _parser(request: Request, parts: _Receiving) -> MultipartParser:
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise refusal(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "send multipart/form-data with its boundary, the recording in the field `file`",
        )
    try:
        return MultipartParser(
            options[b"boundary"],
            {
                "on_part_begin": parts.on_part_begin,
                "on_header_field": parts.on_header_field,
                "on_header_value": parts.on_header_value,
                "on_header_end": parts.on_header_end,
                "on_headers_finished": parts.on_headers_finished,
                "on_part_data": parts.on_part_data,
                "on_part_end": parts.on_part_end,
                "on_end": parts.on_end,
            },
            max_header_count=HEADERS,
            max_header_size=HEADER_BYTES,
        )
    except FormParserError as error:
        raise refusal(HTTPStatus.BAD_REQUEST, f"malformed multipart: {error}") from None


def _with_suffix(path: Path, name: str) -> Path:
    """The file under one of the suffixes we know, if the client's name ends in it.

    What reads a file goes by its suffix. Nothing else of the client's name comes near the disk.
    """
    ending = next((known for known in audio.SUFFIXES if name.lower().endswith(known)), "")
    return path.rename(path.with_suffix(ending)) if ending else path


async def _chunks(request: Request) -> AsyncIterator[bytes]:
    try:
        async for chunk in request.stream():
            yield chunk
    except ClientDisconnect:
        raise refusal(499, "the client left") from None


async def _drain(request: Request) -> None:
    """Read on for a moment: a sender that still sends would see a reset instead of the answer."""
    with suppress(TimeoutError, ClientDisconnect, RuntimeError):
        async with asyncio.timeout(DRAIN_S):
            async for _ in request.stream():
                pass
