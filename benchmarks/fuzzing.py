"""Requests that nobody should send, by the thousand: what does a real server answer, and keep?

Drawn by a seed: multipart in disorder around damaged sound, damaged JSON, any method on any path,
raw bytes, messages to the websockets. With `--schemathesis`, an installation of it then sends what
it makes of the server's OpenAPI document. Counted by the server: every answer. It must give no 5xx
but 503 and 507 (which it documents), and end with the files, handles and memory that it began with.
"""

import argparse
import collections
import contextlib
import http.client
import re
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from random import Random
from typing import Any

import common

from serving import BOUNDARY, ROUTE, Server, ask, request_of

sys.path.insert(0, str(common.ROOT / "tests"))

LIMITS = ("upload_mb=0.2", "longest_s=20", "job_longest_s=20", "upload_gap_s=0.3", "headers_s=0.5")
DOCUMENTED = {503, 507}
SETTLED_S = 120  # for jobs that were accepted on the way


def sent(port: int, request: tuple[str, str, dict[bytes, bytes], bytes]) -> str:
    """The status that came, or how the connection ended."""
    method, path, headers, body = request
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.putrequest(method, path)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        return str(connection.getresponse().status)
    except http.client.InvalidURL:
        return "not sent"
    except (ValueError, http.client.HTTPException, OSError) as error:
        return type(error).__name__
    finally:
        connection.close()


def sent_raw(port: int, content: bytes) -> str:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        try:
            connection.sendall(content)
            connection.shutdown(socket.SHUT_WR)
            answer = connection.recv(65_536)
        except OSError as error:
            return type(error).__name__
    found = re.match(rb"HTTP/1\.1 (\d+)", answer)
    return found[1].decode() if found else "closed"


def talked(port: int, path: str, rng: Random) -> str:
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.client import connect

    from hostile import message

    with (
        contextlib.suppress(ConnectionClosed),
        connect(f"ws://127.0.0.1:{port}{path}") as connection,
    ):
        for _ in range(10):
            connection.send(message(rng))
    return "closed"


def drawn(port: int, count: int, seed: int) -> collections.Counter[str]:
    """`count` requests of all kinds."""
    import hostile

    rng, statuses = Random(seed), collections.Counter[str]()
    paths = ("/v1/realtime", "/v1/realtime/classifications")
    for number in range(count):
        kind = rng.random()
        if kind < 0.01:
            status = talked(port, rng.choice(paths), rng)
        elif kind < 0.2:
            status = sent_raw(port, hostile.raw(rng))
        else:
            make = rng.choice([hostile.multipart, hostile.json_body, hostile.anything])
            status = sent(port, make(rng))
        statuses[status] += 1
        if number % 1_000 == 999:
            common.note(f"{number + 1} requests ...")
    return statuses


def warmed(port: int, seed: int) -> None:
    """Fill pools and caches: threads, and as many decoders for hotwords as a server keeps."""
    from hostile import CLIP

    recording = request_of(CLIP)
    for word in ("went", "down", "dogs", "water", "house", "morning"):
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="prompt"\r\n\r\n{word}\r\n'
        if (status := ask(port, "POST", ROUTE, head.encode() + recording)) != 200:
            sys.exit(f"a request with hotwords: status {status}")
    drawn(port, 500, seed + 1)


def counted(port: int) -> collections.Counter[int]:
    """Answers by status, as the server counts them."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    found: collections.Counter[int] = collections.Counter()
    for status, number in re.findall(r"auricle_requests_total\{.*status=\"(\d+)\"\} (\d+)", text):
        found[int(status)] += int(number)
    found[0] = int(re.findall(r"auricle_jobs_queued (\d+)", text)[0])
    found[0] += int(re.findall(r"auricle_jobs_running (\d+)", text)[0])
    return found


def settled(server: Server) -> dict[str, float]:
    """What the server holds once its jobs are done."""
    until_s = time.monotonic() + SETTLED_S
    while counted(server.port)[0] and time.monotonic() < until_s:
        time.sleep(0.2)
    time.sleep(1.0)
    handles = list(Path(f"/proc/{server.process.pid}/fd").iterdir())
    kept = [path for path in server.state.glob("*/**/*") if path.is_file()]
    return {
        "memory_mb": server.memory_mb("VmRSS"),
        "handles": len(handles),
        "files": len([path for path in kept if not path.name.startswith("lease")]),
    }


def schemathesis(program: Path, port: int, examples: int, seed: int) -> str:
    """Its last words."""
    command = [
        *(str(program), "run", f"http://127.0.0.1:{port}/openapi.json", "--seed", str(seed)),
        *("--checks", "not_a_server_error", "--max-examples", str(examples), "--workers", "2"),
        *("--phases", "coverage,fuzzing", "--generation-database", "none", "--no-color"),
        *("--warnings", "off", "--continue-on-failure", "--no-shrink"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout


def arguments() -> argparse.Namespace:
    options = common.parser(__doc__ or "")
    options.add_argument("--requests", type=int, default=5_000, help="of ours (%(default)s)")
    options.add_argument("--passes", type=int, default=1, help="of so many (%(default)s)")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--schemathesis", type=Path, help="the program, pip install schemathesis")
    options.add_argument("--examples", type=int, default=1_000, help="of each route (%(default)s)")
    return options.parse_args()


def main() -> None:
    chosen = arguments()
    numbers: dict[str, Any] = {"machine": common.machine()}
    from tones import write_labels

    with tempfile.TemporaryDirectory() as folder:
        write_labels(Path(folder, "tones.auricle"))
        models = ["english", str(Path(folder, "tones.auricle"))]
        server = Server(Path(folder, "state"), models, *LIMITS, "threads=1")
        try:
            warmed(server.port, chosen.seed)
            before, known = settled(server), counted(server.port)
            statuses, middle = collections.Counter[str](), []
            for number in range(chosen.passes):  # does memory level off?
                statuses += drawn(server.port, chosen.requests, chosen.seed + 2 * number)
                middle.append(settled(server))
                common.note(f"pass {number + 1}: {middle[-1]}")
            ours = counted(server.port)
            if chosen.schemathesis:
                common.note("schemathesis ...")
                said = schemathesis(chosen.schemathesis, server.port, chosen.examples, chosen.seed)
                print(said[-3_000:])
            after, found = settled(server), counted(server.port)
            healthy = ask(server.port, "GET", "/health") == 200
        finally:
            status = server.stop()
    answers = found - known
    del answers[0]
    bad = {code: n for code, n in answers.items() if code >= 500 and code not in DOCUMENTED}
    numbers |= {
        "drawn": dict(statuses),
        "answers": dict(sorted(answers.items())),
        "answers_of_ours": sum(n for code, n in (ours - known).items() if code),
        "before": before,
        "middle": middle,
        "after": after,
    }
    rows = [
        ("requests of ours", f"{sum(statuses.values())}: {dict(statuses.most_common())}"),
        ("answers counted", f"{sum(answers.values())}: {dict(sorted(answers.items()))}"),
        ("5xx but 503, 507", str(sum(bad.values()))),
        ("before", str(before)),
        *((f"after pass {number}", str(held)) for number, held in enumerate(middle, 1)),
        ("at the end", str(after)),
        ("exit status", str(status)),
    ]
    common.finish("fuzzing", rows, numbers, chosen.json)
    grown = after["handles"] > before["handles"] + 2 or after["files"] > before["files"]
    if bad or grown or not healthy or status:
        sys.exit("not as it should be")


if __name__ == "__main__":
    main()
