"""Faults: kill -9 during jobs, clients that leave or never end, a disk that is full.

Jobs are posted, each under an idempotency key under which it is posted again where no answer came;
the server is killed a few times meanwhile and started again on the same folder. A trigger in the
table of jobs notes every completion: each job must have one, and the words that a server which
nobody killed would give. Linux.
"""

import argparse
import http.client
import json
import os
import random
import signal
import socket
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import common

from serving import BOUNDARY, ROUTE, Server, ask, flac, request_of

SOUNDS = 5  # different ones among the jobs: each is heard once more, to compare
PATIENCE_S = 60
HELD = 100  # connections that never end
AUDIT = """
CREATE TABLE IF NOT EXISTS completions (job TEXT NOT NULL);
CREATE TRIGGER IF NOT EXISTS audit AFTER UPDATE OF state ON jobs WHEN NEW.state = 'done'
BEGIN INSERT INTO completions VALUES (NEW.id); END;
"""


def query(state: Path, statement: str) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(state / "jobs.sqlite", timeout=30)
    try:
        return connection.execute(statement).fetchall()
    finally:
        connection.close()


def audited(state: Path) -> None:
    connection = sqlite3.connect(state / "jobs.sqlite", timeout=30)
    connection.executescript(AUDIT)
    connection.close()


def post(port: int, body: bytes, key: str) -> str:
    """The id of an accepted job."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {
        "Content-Type": f"multipart/form-data; boundary={BOUNDARY}",
        "Idempotency-Key": key,
    }
    try:
        connection.request("POST", "/v1/jobs", body, headers)
        answer = connection.getresponse()
        content = json.loads(answer.read())
        if answer.status != 202:
            raise OSError(f"status {answer.status}: {content}")
        return str(content["id"])
    finally:
        connection.close()


class Poster(threading.Thread):
    """Posts jobs, one after the other; again, where the server was gone."""

    def __init__(self, bodies: Sequence[bytes], count: int) -> None:
        super().__init__(daemon=True)
        self._bodies, self._count = bodies, count
        self.port, self.accepted, self.again = 0, [], 0

    def run(self) -> None:
        while len(self.accepted) < self._count:
            number = len(self.accepted)
            try:
                body = self._bodies[number % len(self._bodies)]
                self.accepted.append(post(self.port, body, f"job {number}"))
            except (OSError, http.client.HTTPException):
                self.again += 1
                time.sleep(0.2)


def killed(
    state: Path, chosen: argparse.Namespace, bodies: Sequence[bytes]
) -> tuple[Poster, list[dict[str, int]], int]:
    """Every job posted, the server killed now and then; at last it ends in an orderly way."""
    rng = random.Random(chosen.seed)
    poster, states, started = Poster(bodies, chosen.jobs), [], False
    for kill in range(chosen.kills + 1):
        server = Server(state, [chosen.model], "threads=1")
        audited(state)
        poster.port = server.port
        if not started:
            poster.start()
            started = True
        if kill == chosen.kills:
            break
        done = len(query(state, "SELECT * FROM completions"))
        goal = done + max(1, chosen.jobs // (chosen.kills + 2))
        while len(query(state, "SELECT * FROM completions")) < goal:
            time.sleep(0.05)
        time.sleep(rng.uniform(0, 2))  # somewhere in the next job
        server.process.send_signal(signal.SIGKILL)
        server.process.wait()
        states.append(dict(query(state, "SELECT state, COUNT(*) FROM jobs GROUP BY state")))
        common.note(f"killed at {states[-1]}")
    poster.join()
    left = "SELECT COUNT(*) FROM jobs WHERE state IN ('queued', 'running')"
    while query(state, left)[0][0]:
        time.sleep(0.2)
    return poster, states, server.stop()


def jobs(chosen: argparse.Namespace, waves: Sequence[Any], rate_hz: int) -> dict[str, Any]:
    """What became of the jobs."""
    import auricle

    bodies = [request_of(flac(wave, rate_hz)) for wave in waves]
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder)
        poster, states, status = killed(state, chosen, bodies)
        rows = query(state, "SELECT id, state, attempts, result FROM jobs")
        completions = [row[0] for row in query(state, "SELECT job FROM completions")]
        left = [path.name for path in state.glob("*/*") if path.is_file()]
    recognizer = auricle.load(chosen.model, threads=1)
    texts = [recognizer.transcribe((wave, rate_hz)).text for wave in waves]
    known = {row[0]: json.loads(row[3] or "{}").get("text") for row in rows}
    wanted = {key: texts[number % len(texts)] for number, key in enumerate(poster.accepted)}
    return {
        "accepted": len(poster.accepted),
        "posted again": poster.again,
        "rows": len(rows),
        "done": sum(row[1] == "done" for row in rows),
        "completions": len(completions),
        "completed twice": len(completions) - len(set(completions)),
        "begun again": sum(row[2] > 1 for row in rows),
        "other words than unkilled": sum(known.get(key) != text for key, text in wanted.items()),
        "files left": len(left),
        "kills at": states,
        "exit status": status,
    }


def clients(chosen: argparse.Namespace) -> dict[str, Any]:
    """Connections that never end and uploads that break off; /health in between."""
    head = (
        f"POST {ROUTE} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000\r\n"
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n--{BOUNDARY}\r\n"
        'Content-Disposition: form-data; name="file"; filename="a.flac"\r\n\r\n'
    ).encode()
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder), [chosen.model], "headers_s=2", "upload_gap_s=2")
        handles = Path(f"/proc/{server.process.pid}/fd")
        before = len(list(handles.iterdir()))
        slow = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(2 * HELD)]
        for number, each in enumerate(slow):
            each.sendall(head[:40] if number % 2 else head + bytes(10_000))
        begun_s = time.monotonic()
        healthy = ask(server.port, "GET", "/health")
        took_s = time.monotonic() - begun_s
        for each in slow[: len(slow) // 2]:
            each.close()  # in the middle
        until_s = time.monotonic() + 60
        while len(list(handles.iterdir())) > before + 1 and time.monotonic() < until_s:
            time.sleep(0.1)
        gone_s = time.monotonic() - begun_s
        left = list(Path(folder).glob("uploads/*/*"))
        found = {
            "held": len(slow),
            "health meanwhile": healthy,
            "health took, s": round(took_s, 3),
            "handles before": before,
            "handles after": len(list(handles.iterdir())),
            "all closed after, s": round(gone_s, 1),
            "uploads left": len([p for p in left if not p.name.startswith("lease")]),
        }
        for each in slow:
            each.close()
        return found | {"exit status": server.stop()}


def disk(chosen: argparse.Namespace, wave: Any, rate_hz: int) -> dict[str, Any]:
    """On a small disk: what fits, what does not, what fits again; then the disk fills up."""
    small, large = request_of(flac(wave, rate_hz)), request_of(os.urandom(50_000_000))
    with tempfile.TemporaryDirectory(dir=chosen.small) as folder:
        server = Server(Path(folder), [chosen.model])
        try:
            found = filled(server, chosen.small / "filler", small, large)
        finally:
            status = server.stop()
    return found | {"exit status": status}


def filled(server: Server, filler: Path, small: bytes, large: bytes) -> dict[str, Any]:
    """Answers while the disk is full, and before and after."""
    found: dict[str, Any] = {"fits": ask(server.port, "POST", ROUTE, small)}
    found["too large"] = ask(server.port, "POST", ROUTE, large)
    found["fits again"] = ask(server.port, "POST", ROUTE, small)
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while file.write(bytes(4_096)):
            pass
    found["a job on a full disk"] = ask(server.port, "POST", "/v1/jobs", small)
    found["healthy"] = ask(server.port, "GET", "/health")
    filler.unlink(missing_ok=True)
    accepted = post(server.port, small, "after")
    left = f"SELECT state FROM jobs WHERE id = '{accepted}'"
    until_s = time.monotonic() + PATIENCE_S
    while query(server.state, left)[0][0] not in ("done", "failed") and time.monotonic() < until_s:
        time.sleep(0.1)
    found["a job when there is room again"] = query(server.state, left)[0][0]
    return found


def arguments() -> argparse.Namespace:
    options = common.parser(__doc__ or "")
    common.add_data(options, "../shared/data/english/valid.jsonl")
    options.add_argument("--model", default="english", help="a bundle or a name (%(default)s)")
    options.add_argument("--jobs", type=int, default=50)
    options.add_argument("--seconds", type=float, default=40.0, help="of each (%(default)s)")
    options.add_argument("--kills", type=int, default=3)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--small", type=Path, help="a disk of a few MB: mount -t tmpfs -o size=4m")
    return options.parse_args()


def main() -> None:
    chosen = arguments()
    import numpy as np

    from auricle import audio

    clips = common.some(common.examples_of(chosen.data), SOUNDS * chosen.seconds)
    rate_hz = audio.SAMPLE_RATE_HZ
    sound = np.concatenate(
        [audio.load(each.audio, rate_hz, duration_s=each.duration_s or None)[0] for each in clips]
    )
    waves = np.array_split(sound, SOUNDS)
    os.environ.setdefault("PYTHONPATH", str(common.ROOT / "src"))
    numbers: dict[str, Any] = {"machine": common.machine()}
    numbers["jobs"] = jobs(chosen, waves, rate_hz)
    numbers["clients"] = clients(chosen)
    if chosen.small:
        numbers["disk"] = disk(chosen, waves[0][: 10 * rate_hz], rate_hz)
    rows = [
        (f"{part}: {key}", str(value))
        for part in ("jobs", "clients", "disk")
        for key, value in numbers.get(part, {}).items()
    ]
    common.finish("faults", rows, numbers, chosen.json)
    found = numbers["jobs"]
    once = found["accepted"] == found["rows"] == found["done"] == found["completions"]
    if not once or found["completed twice"] or found["other words than unkilled"]:
        sys.exit("not as it should be")


if __name__ == "__main__":
    main()
