"""Who may come in, and how much at a time."""

import asyncio
import hashlib
import hmac
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from ipaddress import ip_address
from urllib.parse import urlsplit

from fastapi.responses import PlainTextResponse
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from auricle.serve.metrics import Metrics
from auricle.serve.refusals import can_be_told, refusal, respond
from auricle.serve.settings import ServeSettings

OPEN_PATHS = ("/", "/health", "/docs", "/openapi.json")  # and /page/: no key is needed for them
JSON_BYTES = 32_000_000  # of a body that is no upload
CLIENTS_KNOWN = 10_000  # whose rate is remembered
KEY_PROTOCOL = "openai-insecure-api-key."  # browsers can send a key over a websocket only so

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
        " img-src 'self' data:; media-src 'self' blob:; base-uri 'none'; form-action 'none';"
        " frame-ancestors 'none'"
    ),
}


class Rates:
    """A bucket of requests per client that fills at a steady pace; a minute's worth fits in."""

    def __init__(self, per_minute: float) -> None:
        self.per_minute = per_minute
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, client: str, now_s: float) -> float:
        """Take one request out of the client's bucket; how long until there is one, 0 if now."""
        if not self.per_minute:
            return 0.0
        per_s, most = self.per_minute / 60, max(1.0, self.per_minute)
        left, since_s = self._buckets.pop(client, (most, now_s))
        left = min(most, left + (now_s - since_s) * per_s)
        wait_s = 0.0 if left >= 1 else (1 - left) / per_s
        self._buckets[client] = (left if wait_s else left - 1, now_s)
        while len(self._buckets) > CLIENTS_KNOWN:
            self._buckets.popitem(last=False)
        return wait_s


class Gate:
    """Counts what is in hand; refuses what is too much. Used from the event loop alone."""

    def __init__(self, settings: ServeSettings, metrics: Metrics) -> None:
        self._most, self._most_live = settings.concurrency, settings.live_sessions
        self._metrics = metrics
        self._taken_s = 1.0  # by a request, smoothed

    @contextmanager
    def request(self) -> Iterator[None]:
        """A place for one request with a recording.

        Raises:
            HTTPException: 429, with the time in which a place should come free.
        """
        if self._metrics.in_hand.value() >= self._most:
            self._metrics.refused.add(1, "concurrency")
            raise refusal(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"{self._most} requests are in hand; try again a little later",
                code="too_many_requests",
                retry_after_s=min(60.0, self._taken_s),
            )
        self._metrics.in_hand.add(1)
        begun_s = time.monotonic()
        try:
            yield
        finally:
            self._metrics.in_hand.add(-1)
            self._taken_s += 0.1 * (time.monotonic() - begun_s - self._taken_s)

    @contextmanager
    def live(self) -> Iterator[bool]:
        """Whether there is a place for one live transcription."""
        free = self._metrics.live.value() < self._most_live
        self._metrics.live.add(int(free))
        if not free:
            self._metrics.refused.add(1, "live")
        try:
            yield free
        finally:
            self._metrics.live.add(-int(free))


@dataclass
class Body:
    """The body of a request, as long as it comes at a pace and, but for uploads, is small."""

    receive: Receive
    settings: ServeSettings
    counted_elsewhere: bool
    _begun_s: float = field(default_factory=time.monotonic)
    _bytes: int = 0
    _whole: bool = False

    async def __call__(self) -> Message:
        """The next message.

        Raises:
            HTTPException: 408 when nothing comes, or hardly anything; 413 for too much.
        """
        if self._whole:
            return await self.receive()  # the end of the connection; may take as long as it likes
        gap_s = self.settings.upload_gap_s
        try:
            async with asyncio.timeout(gap_s):
                message = await self.receive()
        except TimeoutError:
            raise self._too_slow(f"nothing came for {gap_s:g} s") from None
        self._bytes += len(message.get("body", b""))
        self._whole = not message.get("more_body", False)
        if not self.counted_elsewhere and self._bytes > JSON_BYTES:
            raise refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body is over {JSON_BYTES} bytes")
        late_s = time.monotonic() - self._begun_s - gap_s
        if late_s > 0 and self._bytes < late_s * self.settings.slowest_bytes_s:
            raise self._too_slow(f"{self._bytes} bytes came in {late_s + gap_s:.0f} s")
        return message

    def _too_slow(self, what: str) -> HTTPException:
        return refusal(HTTPStatus.REQUEST_TIMEOUT, f"the upload is too slow: {what}")


@dataclass
class Guard:
    """ASGI middleware: host, origin, key and rate; counts and times; security headers."""

    app: ASGIApp
    settings: ServeSettings
    metrics: Metrics

    def __post_init__(self) -> None:
        self._rates = Rates(self.settings.requests_per_minute)
        self._keys = [_digest(key) for key in self.settings.api_keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        try:
            self._check(scope, headers)
        except HTTPException as error:
            self.metrics.refused.add(1, HTTPStatus(error.status_code).name.lower())
            self.metrics.requests.add(1, "refused", str(error.status_code))
            if can_be_told(scope):
                await respond(error)(scope, receive, send)
            else:
                await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] == "websocket":
            await self.app(scope, receive, send)
        elif scope["method"] == "OPTIONS" and headers.get("origin") in self.settings.origins:
            await PlainTextResponse("", 204, self._cross_origin(headers))(scope, receive, send)
        else:
            upload = headers.get("content-type", "").startswith("multipart/")
            body = Body(receive, self.settings, counted_elsewhere=upload)
            await self._timed(scope, body, send, self._cross_origin(headers))

    def _check(self, scope: Scope, headers: Headers) -> None:
        host = headers.get("host", "")
        if not host_is_ours(host, self.settings):
            raise refusal(
                HTTPStatus.MISDIRECTED_REQUEST,
                "this server does not answer to that Host; start it with --allow-host",
            )
        origin = headers.get("origin")
        allowed = origin is None or origin in self.settings.origins
        if not (allowed or (host and urlsplit(origin or "").netloc == host)):
            raise refusal(
                HTTPStatus.FORBIDDEN,
                "another web page may not call this server; start it with --allow-origin",
            )
        key = _key_of(headers)
        open_path = scope["path"] in OPEN_PATHS or scope["path"].startswith("/page/")
        open_path = open_path or scope.get("method") == "OPTIONS"
        if self._keys and not open_path and not self._known(key):
            what = "this API key is not known" if key else "an API key is needed"
            raise refusal(
                HTTPStatus.UNAUTHORIZED,
                f"{what}: Authorization: Bearer KEY",
                code="invalid_api_key",
            )
        if not open_path:
            client = key if self._keys else (scope.get("client") or ("?",))[0]
            wait_s = self._rates.wait_s(client, time.monotonic())
            if wait_s:
                raise refusal(
                    HTTPStatus.TOO_MANY_REQUESTS,
                    f"{self._rates.per_minute:g} requests a minute are allowed",
                    code="rate_limit_exceeded",
                    retry_after_s=wait_s,
                )

    def _known(self, key: str) -> bool:
        """Compared in constant time, every key, that timing tells nothing."""
        given = _digest(key)
        return any([hmac.compare_digest(given, known) for known in self._keys])  # noqa: C419

    def _cross_origin(self, headers: Headers) -> dict[str, str]:
        origin = headers.get("origin")
        if origin is None or origin not in self.settings.origins:
            return {}
        return {
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Allow-Headers": "Authorization, Content-Type, Idempotency-Key",
            "Access-Control-Allow-Methods": "GET, POST, DELETE",
            "Cross-Origin-Resource-Policy": "cross-origin",
            "Vary": "Origin",
        }

    async def _timed(
        self, scope: Scope, receive: Receive, send: Send, extra: dict[str, str]
    ) -> None:
        begun_s = time.monotonic()
        status = 499  # nginx's word for a client that left before the answer

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in (SECURITY_HEADERS | extra).items():
                    headers[name] = value
            await send(message)

        try:
            await self.app(scope, receive, sending)
        except asyncio.CancelledError:
            status = 499
            raise
        finally:
            route = getattr(scope.get("route"), "path", "unknown")
            self.metrics.requests.add(1, route, str(status))
            self.metrics.seconds.observe(time.monotonic() - begun_s, route)


def host_is_ours(host: str, settings: ServeSettings) -> bool:
    """Whether a Host header names this server.

    A server on loopback that no names were given to answers to loopback's names alone: else a web
    page could have its own name resolve to 127.0.0.1 and read the answers (DNS rebinding).
    """
    name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
    name = name.strip("[]").lower()
    if settings.hosts:
        return name in settings.hosts
    return not is_loopback(settings.host) or is_loopback(name)


def is_loopback(name: str) -> bool:
    """Whether a host name or address is this machine and cannot be another."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def _key_of(headers: Headers) -> str:
    scheme, _, key = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return key.strip()
    offered = (each.strip() for each in headers.get("sec-websocket-protocol", "").split(","))
    return next((e.removeprefix(KEY_PROTOCOL) for e in offered if e.startswith(KEY_PROTOCOL)), "")


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
