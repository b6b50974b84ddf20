"""A real server on a free port, for tests and benchmarks."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn

from auricle.serve.app import create_app
from auricle.serve.server import configure, listen
from auricle.serve.settings import ServeSettings

CLIPS = Path(__file__).parents[1] / "examples" / "clips"


@dataclass(frozen=True)
class Running:
    """A server that answers."""

    url: str
    state: Path
    server: uvicorn.Server

    @property
    def uploads(self) -> list[Path]:
        """Files of requests that are being answered."""
        return [p for p in self.state.glob("uploads/*/*") if not p.name.startswith("lease")]


@contextmanager
def serving(state: Path, **values: Any) -> Iterator[Running]:
    """Serve the shipped model in a thread; at the end, in an orderly way, no more."""
    settings = ServeSettings.parse({"state": state, "port": 0, "threads": 1} | values)
    server = uvicorn.Server(configure(settings, create_app(settings), log_level="error"))
    with listen(settings) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        try:
            yield Running(f"http://127.0.0.1:{listening.getsockname()[1]}", state, server)
        finally:
            server.should_exit = True
            thread.join()


def wait(condition: Any, patience_s: float = 30.0) -> None:
    """See `condition` become true: clean-up may end after the answer did."""
    until_s = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < until_s
        time.sleep(0.02)
