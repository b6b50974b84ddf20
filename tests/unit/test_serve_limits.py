"""What the server refuses, how, and that nothing of it is left."""

import io
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile

from auricle.serve.limits import Gate, Rates, host_is_ours
from auricle.serve.metrics import Metrics
from auricle.serve.settings import ServeSettings
from serving import CLIPS, Running, serving, wait

pytestmark = pytest.mark.slow  # real servers, or hundreds of cases: not for `make check`

ROUTE = "/v1/audio/transcriptions"
CLIP = (CLIPS / "morning.flac").read_bytes()
KEY = "correct horse"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    limits = {"upload_mb": 0.5, "longest_s": 60, "upload_gap_s": 0.5, "slowest_bytes_s": 20_000}
    with serving(tmp_path_factory.mktemp("state"), **limits, headers_s=0.5) as running:
        yield running


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    values = {"api_keys": [KEY, "another"], "origins": ["https://ours.example"]}
    with serving(tmp_path_factory.mktemp("state"), **values, requests_per_minute=10) as running:
        yield running


def post(server: Running, content: bytes, name: str = "a.flac", **more: Any) -> httpx.Response:
    return httpx.post(server.url + ROUTE, files={"file": (name, content)}, timeout=60, **more)


def talk(server: Running, content: bytes, then_s: float = 0.0) -> bytes:
    """Send bytes as they are; what comes back until the server closes."""
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(content)
        time.sleep(then_s)
        answer = b""
        while part := connection.recv(65_536):
            answer += part
        return answer


def flac_of_silence(hours: float, *, claim: int | None = None) -> bytes:
    """A few bytes that decode to hours; `claim` replaces the header's number of samples."""
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", 16_000, 1, "PCM_16", format="FLAC") as sound:
        for _ in range(round(hours * 60)):
            sound.write(np.zeros(60 * 16_000, np.int16))
    content = bytearray(file.getvalue())
    if claim is not None:  # the low 36 bits of bytes 18..25
        content[21] = (content[21] & 0xF0) | (claim >> 32)
        content[22:26] = (claim & 0xFFFFFFFF).to_bytes(4, "big")
    return bytes(content)


def test_an_upload_over_the_limit_is_413(server: Running) -> None:
    answer = post(server, bytes(700_000))
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "file_too_large")
    wait(lambda: server.uploads == [])


def test_one_without_a_length_is_stopped_on_its_way(server: Running) -> None:
    sent = 0

    def body() -> Iterator[bytes]:
        nonlocal sent
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        for _ in range(2_000):
            sent += 1
            yield bytes(10_000)

    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = httpx.post(server.url + ROUTE, content=body(), headers=kind, timeout=60)
    assert answer.status_code == 413
    wait(lambda: server.uploads == [])


def test_a_recording_over_the_limit_is_413_and_says_where_to_go(server: Running) -> None:
    answer = post(server, flac_of_silence(0.05))
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "recording_too_long")
    assert "/v1/jobs" in answer.json()["error"]["message"]


def test_a_bomb_without_a_length_is_counted_no_further_than_allowed(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half an hour of silence, its header says nothing: refused after what is allowed."""
    decoded = 0
    read = soundfile.SoundFile.read

    def counting(self: Any, *args: Any, **named: Any) -> Any:
        nonlocal decoded
        block = read(self, *args, **named)
        decoded += len(block)
        return block

    monkeypatch.setattr(soundfile.SoundFile, "read", counting)
    content = flac_of_silence(0.5, claim=0)
    assert len(content) < 100_000
    answer = post(server, content)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "recording_too_long")
    assert 0 < decoded <= 60 * 192_000 + 2**16


def test_a_header_that_lies_short_gives_its_part_alone(server: Running) -> None:
    answer = post(server, flac_of_silence(0.2, claim=16_000 * 5))
    assert answer.status_code == 200
    assert answer.json()["usage"]["seconds"] == 5


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"--x--\r\n", 400),
        (b"garbage", 400),
        (b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nenglish\r\n--x--\r\n', 400),
        (b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\ncut', 400),
        (b"--x\r\n" + b"H: v\r\n" * 20 + b"\r\n\r\n--x--\r\n", 400),
        (b"--x\r\nH: " + b"v" * 10_000 + b"\r\n\r\n\r\n--x--\r\n", 400),
        (b'--x\r\nContent-Disposition: form-data; name="p"\r\n\r\n' + bytes(70_000), 413),
        (b'--x\r\nContent-Disposition: form-data; name="p"\r\n\r\nv\r\n' * 70 + b"--x--\r\n", 400),
        (
            b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nv\r\n' * 2
            + b"--x--\r\n",
            400,
        ),
    ],
)
def test_malformed_multipart_is_the_clients_mistake(
    server: Running, body: bytes, status: int
) -> None:
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = httpx.post(server.url + ROUTE, content=body, headers=kind)
    assert answer.status_code == status
    assert answer.json()["error"]["type"] == "invalid_request_error"
    wait(lambda: server.uploads == [])


@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data", "", "a;b;c"])
def test_another_kind_of_body_is_415(server: Running, kind: str) -> None:
    answer = httpx.post(server.url + ROUTE, content=b"{}", headers={"Content-Type": kind})
    assert answer.status_code == 415


@pytest.mark.parametrize("boundary", ["y" * 300, '"' + "é" * 5 + '"'])
def test_strange_boundaries_are_the_clients_mistake(server: Running, boundary: str) -> None:
    kind = f"multipart/form-data; boundary={boundary}".encode()
    answer = httpx.post(server.url + ROUTE, content=b"--y", headers={b"Content-Type": kind})
    assert answer.status_code == 400


def test_an_upload_that_stalls_is_408(server: Running) -> None:
    head = (
        f"POST {ROUTE} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n"
    )
    answer = talk(server, head.encode())
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"nothing came for 0.5 s" in answer
    wait(lambda: server.uploads == [])


def test_an_upload_that_trickles_is_408(server: Running) -> None:
    def body() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        for _ in range(100):
            time.sleep(0.05)
            yield b"."

    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    try:
        answer = httpx.post(server.url + ROUTE, content=body(), headers=kind, timeout=60)
    except httpx.WriteError:  # it may see the end of the connection first
        pass
    else:
        assert answer.status_code == 408
    wait(lambda: server.uploads == [])


def test_headers_that_never_end_are_cut_off(server: Running) -> None:
    assert talk(server, b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: 1") == b""


def test_headers_without_end_are_refused(server: Running) -> None:
    answer = talk(server, b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 100_000)
    assert answer.startswith(b"HTTP/1.1 4")


def test_a_client_that_leaves_in_the_middle_leaves_nothing(server: Running) -> None:
    head = (
        f"POST {ROUTE} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100000\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\n\r\n"
        '--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    )
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(head.encode() + bytes(1_000))
        wait(lambda: len(server.uploads) == 1)
    wait(lambda: server.uploads == [])


def test_a_full_disk_is_507_and_not_500(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.open

    def full(self: Path, mode: str = "r", *args: Any, **named: Any) -> Any:
        if mode == "wb" and "uploads" in self.parts:
            raise OSError(28, "No space left on device")
        return real(self, mode, *args, **named)

    monkeypatch.setattr(Path, "open", full)
    answer = post(server, CLIP)
    assert answer.status_code == 507
    assert answer.headers["retry-after"]
    assert "No space left" in answer.json()["error"]["message"]


def test_names_of_uploads_choose_nothing_but_a_known_suffix(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Path] = []
    from auricle.serve import transcriptions

    real = transcriptions.check_length

    def noting(path: Path, longest_s: float) -> float:
        seen.append(path)
        return real(path, longest_s)

    monkeypatch.setattr(transcriptions, "check_length", noting)
    for name in ("/etc/passwd", "../../x.flac", "..\\x.FLAC", "a.sh", "x.flac/../../y", "\x00.wav"):
        post(server, CLIP, name)
    assert {path.suffix for path in seen} == {"", ".flac", ".wav"}
    assert {path.parent.parent for path in seen} == {server.state / "uploads"}
    assert all(len(path.stem) == 32 and path.stem.isalnum() for path in seen)


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Bearer wrong"}, {"Authorization": KEY}, {"Authorization": "Basic x"}],
)
def test_without_the_key_nothing_is_done(locked: Running, headers: dict[str, str]) -> None:
    for path in (ROUTE, "/v1/models", "/v1/jobs/x", "/metrics"):
        answer = httpx.get(locked.url + path, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
    for path in ("/", "/health", "/page/page.js", "/docs"):
        assert httpx.get(locked.url + path, headers=headers).status_code == 200


def test_each_key_opens_at_its_own_rate(locked: Running) -> None:
    for key in (KEY, "another"):
        answers = [
            httpx.get(f"{locked.url}/v1/models", headers={"Authorization": f"Bearer {key}"})
            for _ in range(12)
        ]
        assert [each.status_code for each in answers[:10]] == [200] * 10
        assert answers[-1].status_code == 429
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 6


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "https://ours.example"}, 200),
        ({"Host": "evil.example"}, 421),
        ({"Host": "localhost:80"}, 200),
        ({"Host": "[::1]:80"}, 200),
    ],
)
def test_other_pages_and_names_are_kept_out(
    locked: Running, headers: dict[str, str], status: int
) -> None:
    answer = httpx.get(f"{locked.url}/health", headers=headers)
    assert answer.status_code == status
    allowed = answer.headers.get("access-control-allow-origin")
    assert allowed == (headers.get("Origin") if status == 200 else None)


def test_a_page_of_ours_may_ask_first(locked: Running) -> None:
    answer = httpx.options(locked.url + ROUTE, headers={"Origin": "https://ours.example"})
    assert answer.status_code == 204
    assert "Authorization" in answer.headers["access-control-allow-headers"]


def test_hosts_by_setting() -> None:
    loopback = ServeSettings()
    open_ = ServeSettings(host="0.0.0.0")
    named = ServeSettings(host="0.0.0.0", hosts=("ears.example",))
    assert host_is_ours("127.0.0.1:8000", loopback)
    assert not host_is_ours("ears.example", loopback)
    assert not host_is_ours("", loopback)
    assert host_is_ours("ears.example:80", open_)
    assert host_is_ours("EARS.example:80", named)
    assert not host_is_ours("127.0.0.1", named)


def test_more_requests_than_places_are_429_with_a_time(tmp_path: Path) -> None:
    with serving(tmp_path, concurrency=1) as server:
        head = (
            f"POST {ROUTE} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99\r\n"
            "Content-Type: multipart/form-data; boundary=x\r\n\r\n"
        )
        host, port = server.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(head.encode())
            wait(lambda: len(server.uploads) == 1)
            answer = post(server, CLIP)
            assert answer.status_code == 429
            assert int(answer.headers["retry-after"]) >= 1
        wait(lambda: server.uploads == [])
        wait(lambda: post(server, CLIP).status_code == 200)


def test_what_was_accepted_is_finished_when_told_to_stop(tmp_path: Path) -> None:
    answers: list[httpx.Response] = []
    with serving(tmp_path) as server:
        begun = threading.Event()

        def body() -> Iterator[bytes]:
            head = 'Content-Disposition: form-data; name="file"; filename="a.flac"'
            yield f"--x\r\n{head}\r\n\r\n".encode() + CLIP[:1000]
            begun.set()
            wait(lambda: server.server.should_exit)
            yield CLIP[1000:] + b"\r\n--x--\r\n"

        kind = {"Content-Type": "multipart/form-data; boundary=x"}

        def send() -> None:
            answers.append(httpx.post(server.url + ROUTE, content=body(), headers=kind, timeout=60))

        thread = threading.Thread(target=send)
        thread.start()
        begun.wait()
        wait(lambda: len(server.uploads) == 1)
    thread.join()
    assert answers[0].json()["text"]
    assert list(tmp_path.glob("uploads/*")) == []


def test_a_bucket_fills_at_its_pace_and_forgets_no_debt() -> None:
    rates = Rates(60)
    assert [rates.wait_s("a", 0.0) for _ in range(60)] == [0.0] * 60
    assert rates.wait_s("a", 0.0) == pytest.approx(1.0)
    assert rates.wait_s("b", 0.0) == 0.0
    assert rates.wait_s("a", 0.5) == pytest.approx(0.5)
    assert rates.wait_s("a", 1.0) == 0.0
    assert Rates(0).wait_s("a", 0.0) == 0.0


def test_places_come_free_when_a_request_fails() -> None:
    gate = Gate(ServeSettings(concurrency=1, live_sessions=1), Metrics())
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), gate.request():
            raise ZeroDivisionError
    with gate.live() as first, gate.live() as second:
        assert (first, second) == (True, False)
    with gate.live() as again:
        assert again
