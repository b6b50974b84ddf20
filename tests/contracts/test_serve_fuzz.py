"""Requests that nobody should send: whatever comes, no 5xx, nothing left behind, and it goes on.

The environment's AURICLE_FUZZ says how many of each kind: AURICLE_FUZZ=3000 for 10,000 and more.
"""

import gc
import os
import random
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from serving import CLIPS, Running, serving

REQUESTS = int(os.environ.get("AURICLE_FUZZ", "150"))
CLIP = (CLIPS / "morning.flac").read_bytes()
METHODS = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "X" * 50]
PATHS = [
    "/", "/health", "/metrics", "/docs", "/openapi.json", "/page/page.js", "/v1/models",
    "/v1/models/english", "/v1/audio/transcriptions", "/v1/audio/transcripts", "/v1/jobs",
    "/v1/jobs/x", "/v1/jobs/x/transcript", "/v1/realtime",
]  # fmt: skip
NAMES = ["file", "model", "stream", "prompt", "response_format", "timestamp_granularities[]", ""]
VALUES = ["english", "true", "srt", "verbose_json", "word", "", "\x00", "é" * 9, "-1", "../../x"]

Request = tuple[str, str, dict[bytes, bytes], bytes]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    limits = {"upload_mb": 0.2, "longest_s": 20, "upload_gap_s": 0.3, "headers_s": 0.5}
    with serving(tmp_path_factory.mktemp("state"), **limits) as running:
        yield running


def damaged(content: bytes, rng: random.Random) -> bytes:
    """Bytes changed, cut out, doubled."""
    x = bytearray(content)
    for _ in range(rng.randint(0, 8)):
        at = rng.randrange(len(x) + 1)
        how = rng.randrange(4)
        if how == 0 and at < len(x):
            x[at] = rng.randrange(256)
        elif how == 1:
            del x[at : at + rng.randint(1, 200)]
        elif how == 2:
            x[at:at] = rng.randbytes(rng.randint(1, 50))
        else:
            x[at:at] = x[at : at + 100]
    return bytes(x)


def multipart(rng: random.Random) -> Request:
    """Parts in disorder, with damage in the sound, the headers or the frame."""
    parts = []
    for _ in range(rng.randint(0, 6)):
        name = rng.choice(NAMES)
        if name == "file" or rng.random() < 0.3:
            suffix = rng.choice(["flac", "wav", "mp3", "m4a", "webm", "x", ""])
            head = f'name="file"; filename="a.{suffix}"'
            sound = damaged(CLIP, rng) if rng.random() < 0.7 else rng.randbytes(300)
        else:
            head, sound = f'name="{name}"', rng.choice(VALUES).encode()
        header = f"Content-Disposition: form-data; {head}\r\n\r\n".encode()
        parts.append(b"--x\r\n" + header + sound + b"\r\n")
    body = b"".join(parts) + rng.choice([b"--x--\r\n", b"--x--", b"", b"--y--\r\n"])
    if rng.random() < 0.2:
        body = damaged(body, rng)
    kind = rng.choice([b"multipart/form-data; boundary=x"] * 9 + [b"multipart/mixed"])
    path = rng.choice(["/v1/audio/transcriptions", "/v1/jobs"])
    return "POST", path, {b"Content-Type": kind}, body


def json_body(rng: random.Random) -> Request:
    word = {"word": "a", "start": 0, "end": 1}
    text = repr({"words": [word] * rng.randint(0, 3)}).replace("'", '"')
    style = rng.choice(["srt", "vtt", "json", "x"])
    headers = {b"Content-Type": b"application/json"}
    path = f"/v1/audio/transcripts?response_format={style}"
    return "POST", path, headers, damaged(text.encode(), rng)


def anything(rng: random.Random) -> Request:
    path = rng.choice(PATHS)
    if rng.random() < 0.5:
        path += "/" + "".join(rng.choice("%2e./\\abc?&=:;") for _ in range(rng.randint(1, 20)))
    headers = {
        rng.choice([b"Origin", b"Accept", b"Content-Type", b"Content-Length-X", b"Range",
                    b"Upgrade", b"Idempotency-Key", b"Authorization", b"X"]):
        bytes(rng.choice(b"abc/;=,\" \xe9\xff0129*") for _ in range(rng.randint(0, 40))).strip()
        for _ in range(rng.randint(0, 4))
    }  # fmt: skip
    return rng.choice(METHODS), path, headers, rng.randbytes(rng.choice([0, 0, 10, 1_000]))


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
    good = (
        f"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: {host}\r\nContent-Length: 200\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\nContent-Disposition: form-data"
        '; name="file"; filename="a.flac"\r\n\r\nfLaC\r\n--x--\r\n'
    ).encode()
    for _ in range(REQUESTS):
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            connection.sendall(damaged(good, rng) if rng.random() < 0.8 else rng.randbytes(500))
            if rng.random() < 0.1:
                connection.shutdown(socket.SHUT_WR)
                answer = connection.recv(65_536)
                assert not answer.startswith(b"HTTP/1.1 5"), answer
    assert httpx.get(f"{server.url}/health").status_code == 200


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
