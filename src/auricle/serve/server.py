"""uvicorn around the application: deadlines for headers, bounded everything, an orderly end."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NoReturn

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from auricle.bundle import Bundle, find_model
from auricle.errors import ConfigError
from auricle.serve.app import SETTINGS_VARIABLE, create_app
from auricle.serve.incoming import MESSAGE_BYTES
from auricle.serve.settings import ServeSettings

HEADER_BYTES = 32_768  # of a request line with its headers
CONNECTIONS = 2_000  # beyond: 503


class Impatient(H11Protocol):
    """HTTP/1.1 whose requests must come to the end of their headers within a time."""

    def __init__(self, *args: Any, headers_s: float, **named: Any) -> None:
        super().__init__(*args, **named)
        self._headers_s = headers_s

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to look at the connection."""
        super().connection_made(transport)
        self._look(None)

    def _look(self, before: object) -> None:
        """Close it when it lies between two requests as it did one look ago."""
        if self.transport.is_closing() or self.transport.get_protocol() is not self:
            return
        between = self.cycle is None or self.cycle.response_complete
        now = (id(self.cycle),) if between else None
        if now is not None and now == before:
            self.transport.close()
        else:
            self.loop.call_later(self._headers_s, self._look, now)


def configure(settings: ServeSettings, app: Any, **further: Any) -> uvicorn.Config:
    """Uvicorn's settings for an application."""
    http: Any = partial(Impatient, headers_s=settings.headers_s)
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=http,
        h11_max_incomplete_event_size=HEADER_BYTES,
        limit_concurrency=CONNECTIONS,
        ws="websockets-sansio",
        ws_max_size=MESSAGE_BYTES,
        timeout_graceful_shutdown=settings.shutdown_s,
        server_header=False,
        access_log=False,  # /metrics counts; what people ask for is theirs
        **further,
    )


def listen(settings: ServeSettings) -> socket.socket:
    """A socket at the address.

    Raises:
        ConfigError: the address is taken, or not one of this machine.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        listening = socket.create_server(
            (settings.host, settings.port), family=family, backlog=1024
        )
    except OSError as error:
        why = (error.strerror or str(error)).partition(" (while")[0]  # the address, once more
        raise ConfigError(
            f"cannot listen on {settings.host}:{settings.port} ({why}): give another"
            " --host or --port"
        ) from None
    # Inherited by what it accepts. asyncio sets it only on sockets that it made by itself; without
    # it, the body of an answer waits 40 ms for the client to acknowledge the headers.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def serve(
    settings: ServeSettings, workers: int = 1, told: Callable[[str], None] = lambda _: None
) -> None:
    """Serve until told to stop (SIGTERM, Ctrl-C); then finish what was accepted.

    Args:
        workers: processes.
        told: where it listens, once the models are there.

    Raises:
        ModelError: a bundle cannot be used.
        DataError: the folder cannot be written to.
        ConfigError: the address is taken, or not one of this machine.
    """
    with listen(settings) as listening, _told_to_stop():
        url = _url(settings.host, listening.getsockname()[1])
        if workers == 1:
            config = configure(settings, create_app(settings))
            told(url)
            uvicorn.Server(config).run(sockets=[listening])
        else:
            for source in settings.models.values():
                Bundle.read(find_model(source))
            told(url)
            os.environ[SETTINGS_VARIABLE] = settings.model_dump_json()
            config = configure(
                settings, "auricle.serve.app:from_environment", factory=True, workers=workers
            )
            from uvicorn.supervisors import Multiprocess

            Multiprocess(config, sockets=[listening]).run()


def _url(host: str, port: int) -> str:
    everywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # for this machine's browser
    here = everywhere.get(host, host)
    return f"http://[{here}]:{port}" if ":" in here else f"http://{here}:{port}"


@contextmanager
def _told_to_stop() -> Iterator[None]:
    """Within it, SIGTERM is an order, not an accident: exit status 0.

    uvicorn finishes what it has when the signal comes, then sends it to itself once more for
    whoever handled it before: that would be the system, which ends the process as if killed.
    """

    def end(*_: object) -> NoReturn:
        sys.exit(0)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
