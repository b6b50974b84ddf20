"""Requests that nobody should send: whatever comes, no 5xx, nothing left behind, and it goes on.

The environment's AURICLE_FUZZ says how many of each kind: AURICLE_FUZZ=3000 for 10,000 and more.
"""

import gc
import os
import random
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from hostile import Request, anything, json_body, message, multipart, raw
from serving import Running, serving, wait
from tones import write_labels

pytestmark = pytest.mark.slow  # real servers, or hundreds of cases: not for `make check`

REQUESTS = int(os.environ.get("AURICLE_FUZZ", "150"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    limits = {"upload_mb": 0.2, "longest_s": 20, "upload_gap_s": 0.3, "headers_s": 0.5}
    folder = tmp_path_factory.mktemp("state")
    write_labels(folder / "tones.auricle")
    models = {"english": "english", "tones": str(folder / "tones.auricle")}
    with serving(folder, models=models, **limits) as running:
        yield running


@pytest.mark.parametrize("make", [multipart, json_body, anything], ids=lambda make: make.__name__)
def test_no_request_is_answered_with_5xx(
    server: Running, make: Callable[[random.Random], Request]
) -> None:
    rng = random.Random(0)
    with httpx.Client(base_url=server.url, timeout=60) as client:
        for number in range(REQUESTS):
            method, path, headers, body = make(rng)
            try:
                answer = client.request(method, path, headers=list(headers.items()), content=body)
            except (httpx.InvalidURL, httpx.LocalProtocolError):
                continue  # the client itself will not send it
            except httpx.RemoteProtocolError:
                answer = client.get("/health")  # closed on us: but it goes on
            assert answer.status_code < 500, (number, method, path, headers, answer.text)
            if answer.status_code >= 400 and method != "HEAD" and answer.content:
                assert answer.headers["content-type"].startswith(("application/json", "text/plain"))
    assert server.uploads == []
    assert httpx.get(f"{server.url}/health").status_code == 200


def test_no_raw_bytes_bring_it_down(server: Running) -> None:
    rng = random.Random(1)
    host, port = server.url.removeprefix("http://").split(":")
    for _ in range(REQUESTS):
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            connection.sendall(raw(rng))
            if rng.random() < 0.1:
                connection.shutdown(socket.SHUT_WR)
                answer = connection.recv(65_536)
                assert not answer.startswith(b"HTTP/1.1 5"), answer
    assert httpx.get(f"{server.url}/health").status_code == 200


@pytest.mark.parametrize("path", ["/v1/realtime", "/v1/realtime/classifications"])
def test_no_message_brings_a_session_down(server: Running, path: str) -> None:
    rng = random.Random(3)
    for _ in range(max(5, REQUESTS // 10)):
        with (
            suppress(ConnectionClosed),
            connect(f"ws{server.url.removeprefix('http')}{path}") as socket_,
        ):
            for _ in range(10):
                socket_.send(message(rng))
            socket_.close()
    wait(lambda: "auricle_live_sessions 0" in httpx.get(f"{server.url}/metrics").text)


def test_nothing_is_left_open(server: Running) -> None:
    """As many files and threads after many requests of all kinds as before."""
    folder = Path("/proc/self/fd")
    if not folder.is_dir():
        pytest.skip("open files are counted where /proc is")

    def some(count: int) -> None:
        rng = random.Random(2)
        with httpx.Client(base_url=server.url, timeout=60) as client:
            for _ in range(count):
                method, path, headers, body = multipart(rng)
                client.request(method, path, headers=list(headers.items()), content=body)

    some(20)
    gc.collect()
    before, threads = len(list(folder.iterdir())), threading.active_count()
    some(60)
    gc.collect()
    assert len(list(folder.iterdir())) <= before + 2
    assert threading.active_count() <= threads + 2
    assert server.uploads == []
