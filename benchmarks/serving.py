"""Load: clients that ask without pause, with dynamic batching and without, and with two processes;
memory of long sound.

Clients are threads here that share the machine with the server, as the browsers of a small office
would. Each sends recordings one after the other and reads every answer; what is not 200 counts as
an error. All servers are up all the time and are asked in turns, round by round, so that what else
the machine does falls on both. Beside the clock, the processor time that the server took for an
hour of sound is measured, which hardly depends on the neighbours (Linux).

Memory is the server's peak (VmHWM, Linux) after one recording of each length.
"""

import argparse
import contextlib
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
KINDS = {  # settings, processes
    "batching": ("batching=true", 1),
    "without": ("batching=false", 1),
    "batching, 2 processes": ("batching=true", 2),
}
REQUESTS_A_CLIENT = 3  # at least, in every round


class Server:
    """A server process on a free port, on the folder `state`."""

    def __init__(
        self, state: Path, models: Sequence[str], *settings: str, processes: int = 1
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.state = state
        named = [word for model in models for word in ("--model", model)]
        further = [word for setting in settings for word in ("--set", setting)]
        command = [sys.executable, "-m", "auricle", "serve", *named, "--state", str(state)]
        many = ["--workers", str(processes)] if processes > 1 else []
        self.process = subprocess.Popen(
            [*command, "--port", str(self.port), *many, *further], stdout=subprocess.DEVNULL
        )
        until_s = time.monotonic() + START_S
        while not self.answers():
            if time.monotonic() > until_s or self.process.poll() is not None:
                self.stop()
                sys.exit("the server does not start")
            time.sleep(0.1)

    def answers(self) -> bool:
        try:
            return ask(self.port, "GET", "/health") == 200
        except OSError:
            return False

    def cpu_s(self) -> float:
        """Processor time that its processes took so far; 0 where /proc does not tell."""
        return sum(map(_cpu_s, _family(str(self.process.pid))))

    def memory_mb(self, name: str = "VmHWM") -> float:
        lines = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii").splitlines()
        return int(next(line for line in lines if line.startswith(name)).split()[1]) / 1_000

    def stop(self) -> int:
        """In an orderly way; its exit status."""
        self.process.terminate()
        return self.process.wait()


def _family(process: str) -> Iterator[str]:
    """A process and all that come from it."""
    yield process
    with contextlib.suppress(OSError):  # it ended, or the kernel does not tell
        children = Path(f"/proc/{process}/task/{process}/children").read_text(encoding="ascii")
        for child in children.split():
            yield from _family(child)


def _cpu_s(process: str) -> float:
    try:
        stat = Path(f"/proc/{process}/stat").read_text(encoding="utf-8")
    except OSError:
        return 0.0
    user, system = stat.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


@contextmanager
def server(models: Sequence[str], *settings: str, processes: int = 1) -> Iterator[Server]:
    """A fresh server."""
    with tempfile.TemporaryDirectory() as state:
        made = Server(Path(state), models, *settings, processes=processes)
        try:
            yield made
        finally:
            made.stop()


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


def load(
    port: int, bodies: Sequence[tuple[bytes, float]], clients: int
) -> tuple[list[float], list[int], float]:
    """Every body once, by so many clients: what each took, its status; what all took."""
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
    return took_s, statuses, time.perf_counter() - begun_s


class Rounds:
    """What the rounds of one server and one number of clients add up to."""

    def __init__(self) -> None:
        self.took_s: list[float] = []
        self.statuses: list[int] = []
        self.walls_s: list[float] = []
        self.cpu_s = self.sound_s = 0.0

    def run(self, server: "Server", bodies: Sequence[tuple[bytes, float]], clients: int) -> None:
        before_s = server.cpu_s()
        took_s, statuses, wall_s = load(server.port, bodies, clients)
        self.cpu_s += server.cpu_s() - before_s
        self.took_s += took_s
        self.statuses += statuses
        self.walls_s.append(wall_s)
        self.sound_s += sum(seconds for _, seconds in bodies)

    def figures(self) -> dict[str, Any]:
        ranked = sorted(self.took_s)
        places = {p: min(len(ranked) - 1, len(ranked) * p // 100) for p in PERCENTILES}
        return {
            "requests": len(ranked),
            "errors": sum(status != 200 for status in self.statuses),
            "hours_per_hour": self.sound_s / sum(self.walls_s),
            "hours_per_hour_by_round": [
                self.sound_s / len(self.walls_s) / wall_s for wall_s in self.walls_s
            ],
            "cpu_s_per_hour": self.cpu_s / self.sound_s * 3600,
            **{f"p{p}_s": ranked[place] for p, place in places.items()},
        }


def memory_mb(model: str, clip: Any, rate_hz: int, seconds: float) -> float:
    """Peak of a server that heard one recording of this length."""
    import numpy as np

    whole = np.tile(clip, int(seconds * rate_hz / len(clip)) + 1)[: round(seconds * rate_hz)]
    body = request_of(flac(whole, rate_hz))
    with server([model], "upload_mb=1000", "longest_s=8000") as asked:
        status = ask(asked.port, "POST", ROUTE, body)
        if status != 200:
            sys.exit(f"{seconds:g} s of sound: status {status}")
        return asked.memory_mb()


def compare(
    chosen: argparse.Namespace, bodies: Sequence[tuple[bytes, float]], numbers: dict[str, Any]
) -> list[tuple[str, str]]:
    """All servers under each number of clients, in turns."""
    rows = []
    with contextlib.ExitStack() as stack:
        further = ("concurrency=1000", *chosen.set)
        servers = {
            kind: stack.enter_context(
                server([chosen.model], setting, *further, processes=processes)
            )
            for kind, (setting, processes) in KINDS.items()
        }
        for asked in servers.values():
            load(asked.port, bodies[:8], 4)  # warms up
        for clients in chosen.clients:
            needed = max(len(bodies), REQUESTS_A_CLIENT * clients)
            sent = (list(bodies) * (needed // len(bodies) + 1))[:needed]
            rounds = {kind: Rounds() for kind in servers}
            for number in range(chosen.rounds):
                common.note(f"{clients} clients, round {number + 1} ...")
                for kind in list(servers)[:: 1 if number % 2 else -1]:
                    rounds[kind].run(servers[kind], sent, clients)
            for kind, each in rounds.items():
                found = numbers[f"{kind}, {clients} clients"] = each.figures()
                latency = "  ".join(f"p{p} {found[f'p{p}_s']:.2f} s" for p in PERCENTILES)
                pace = f"{found['hours_per_hour']:.0f} h per h"
                work = f"{found['cpu_s_per_hour']:.0f} CPU s per h"
                line = f"{pace}  {work}  {latency}  {found['errors']} errors"
                rows.append((f"{kind}, {clients} clients", line))
    return rows


def measure(chosen: argparse.Namespace) -> tuple[list[tuple[str, str]], dict[str, Any]]:
    from auricle import audio

    clips = common.some(common.examples_of(chosen.data), chosen.minutes * 60)
    sounds = [audio.load(each.audio, duration_s=each.duration_s or None) for each in clips]
    bodies = [(request_of(flac(x, rate)), len(x) / rate) for x, rate in sounds]
    numbers: dict[str, Any] = {"machine": common.machine(), "clips": len(bodies)}
    rows = compare(chosen, bodies, numbers)
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
    options.add_argument("--rounds", type=int, default=2, help="of each server (%(default)s)")
    options.add_argument("--set", action="append", default=[], help="key=value, of all servers")
    options.add_argument("--no-memory", action="store_true", help="leave the long recordings out")
    chosen = options.parse_args()
    common.warn_if_busy()
    os.environ.setdefault("PYTHONPATH", str(common.ROOT / "src"))
    rows, numbers = measure(chosen)
    common.finish("serving", rows, numbers, chosen.json)


if __name__ == "__main__":
    main()
