"""Load: clients that ask without pause, with dynamic batching and without; memory of long sound.

Clients are threads here that share the machine with the server, as the browsers of a small office
would. Each sends recordings one after the other and reads every answer; what is not 200 counts as
an error. Memory is the server's peak (VmHWM, Linux) after one recording of each length.
"""

import argparse
import http.client
import io
import os
import queue
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import common

ROUTE = "/v1/audio/transcriptions"
CLIENTS = (1, 8, 32, 128)
PERCENTILES = (50, 95, 99)
LENGTHS_S = (600, 7_200)
BOUNDARY = "auricle-benchmark"
START_S = 120


@contextmanager
def server(model: str, *settings: str) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """A fresh server process on a free port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as state:
        command = [sys.executable, "-m", "auricle", "serve", "--model", model, "--state", state]
        further = [word for setting in settings for word in ("--set", setting)]
        process = subprocess.Popen(
            [*command, "--port", str(port), *further],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            until_s = time.monotonic() + START_S
            while time.monotonic() < until_s and process.poll() is None:
                try:
                    ask(port, "GET", "/health")
                    break
                except OSError:
                    time.sleep(0.1)
            yield port, process
        finally:
            process.terminate()
            process.wait()


def ask(port: int, method: str, path: str, body: bytes | None = None) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=3_600)
    try:
        kind = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"} if body else {}
        connection.request(method, path, body, kind)
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


def request_of(content: bytes) -> bytes:
    head = 'Content-Disposition: form-data; name="file"; filename="a.flac"'
    return f"--{BOUNDARY}\r\n{head}\r\n\r\n".encode() + content + f"\r\n--{BOUNDARY}--\r\n".encode()


def flac(samples: Any, rate_hz: int) -> bytes:
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, format="FLAC")
    return file.getvalue()


def load(port: int, bodies: Sequence[tuple[bytes, float]], clients: int) -> dict[str, Any]:
    """Every body once, by so many clients."""
    waiting: queue.SimpleQueue[tuple[bytes, float]] = queue.SimpleQueue()
    for each in bodies:
        waiting.put(each)
    took_s: list[float] = []
    statuses: list[int] = []

    def client() -> None:
        while True:
            try:
                body, _ = waiting.get_nowait()
            except queue.Empty:
                return
            begun_s = time.perf_counter()
            try:
                status = ask(port, "POST", ROUTE, body)
            except OSError:
                status = 0
            took_s.append(time.perf_counter() - begun_s)
            statuses.append(status)

    threads = [threading.Thread(target=client) for _ in range(clients)]
    begun_s = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wall_s = time.perf_counter() - begun_s
    ranked = sorted(took_s)
    return {
        "requests": len(statuses),
        "errors": sum(status != 200 for status in statuses),
        "hours_per_hour": sum(seconds for _, seconds in bodies) / wall_s,
        **{f"p{p}_s": ranked[min(len(ranked) - 1, len(ranked) * p // 100)] for p in PERCENTILES},
    }


def memory_mb(model: str, clip: Any, rate_hz: int, seconds: float) -> float:
    """Peak of a server that heard one recording of this length."""
    import numpy as np

    whole = np.tile(clip, int(seconds * rate_hz / len(clip)) + 1)[: round(seconds * rate_hz)]
    body = request_of(flac(whole, rate_hz))
    with server(model, "upload_mb=1000", "longest_s=8000") as (port, process):
        status = ask(port, "POST", ROUTE, body)
        if status != 200:
            sys.exit(f"{seconds:g} s of sound: status {status}")
        lines = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii").splitlines()
    peak = next(line for line in lines if line.startswith("VmHWM"))
    return int(peak.split()[1]) / 1_000


def measure(chosen: argparse.Namespace) -> tuple[list[tuple[str, str]], dict[str, Any]]:
    from auricle import audio

    clips = common.some(common.examples_of(chosen.data), chosen.minutes * 60)
    sounds = [audio.load(each.audio, duration_s=each.duration_s or None) for each in clips]
    bodies = [(request_of(flac(x, rate)), len(x) / rate) for x, rate in sounds]
    rows: list[tuple[str, str]] = []
    numbers: dict[str, Any] = {"machine": common.machine(), "clips": len(bodies)}
    for batching in ("true", "false"):
        for clients in chosen.clients:
            common.note(f"{clients} clients, batching={batching} ...")
            with server(chosen.model, f"batching={batching}", "concurrency=1000") as (port, _):
                load(port, bodies[:8], min(4, clients))  # warms up
                found = load(port, bodies, clients)
            kind = "batching" if batching == "true" else "without"
            numbers[f"{kind}, {clients} clients"] = found
            latency = "  ".join(f"p{p} {found[f'p{p}_s']:.2f} s" for p in PERCENTILES)
            rows.append(
                (
                    f"{kind}, {clients} clients",
                    f"{found['hours_per_hour']:.0f} h per h  {latency}  {found['errors']} errors",
                )
            )
    if Path("/proc/self/status").exists() and not chosen.no_memory:
        import numpy as np

        rate_hz = sounds[0][1]
        joined = np.concatenate([x for x, _ in sounds])
        for seconds in LENGTHS_S:
            common.note(f"memory of {seconds:g} s of sound ...")
            numbers[f"memory_mb_{seconds}_s"] = memory_mb(chosen.model, joined, rate_hz, seconds)
            rows.append(
                (f"peak, {seconds / 60:g} minutes", f"{numbers[f'memory_mb_{seconds}_s']:.0f} MB")
            )
    return rows, numbers


def main() -> None:
    options = common.parser(__doc__ or "")
    common.add_data(options, "../shared/data/english/valid.jsonl")
    options.add_argument("--model", default="english", help="a bundle or a name (%(default)s)")
    options.add_argument("--minutes", type=float, default=10.0, help="of sound (%(default)s)")
    options.add_argument("--clients", type=int, nargs="+", default=CLIENTS)
    options.add_argument("--no-memory", action="store_true", help="leave the long recordings out")
    chosen = options.parse_args()
    common.warn_if_busy()
    os.environ.setdefault("PYTHONPATH", str(common.ROOT / "src"))
    rows, numbers = measure(chosen)
    common.finish("serving", rows, numbers, chosen.json)


if __name__ == "__main__":
    main()
