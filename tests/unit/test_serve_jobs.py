"""Jobs: the table, the leases, the routes, and what a kill -9 leaves."""

import io
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile

import auricle
from auricle.results import FORMATS
from auricle.serve.ears import Ear, Piece
from auricle.serve.jobstore import MOST_ATTEMPTS, Job, JobStore
from auricle.serve.workspace import Lease, Workspace
from serving import CLIPS, Running, serving, wait

pytestmark = pytest.mark.slow  # real servers, or hundreds of cases: not for `make check`

CLIP = CLIPS / "morning.flac"


def job(number: int) -> Job:
    return Job(
        *(f"id{number}", "queued", f"{number}.flac", "name", "english", (), 3.0, 0.0),
        *(float(number), None, 0, None, None),
    )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[JobStore]:
    made = JobStore(tmp_path / "jobs.sqlite")
    yield made
    made.close()


def test_jobs_are_claimed_in_order_each_once(store: JobStore) -> None:
    for number in (2, 1, 3):
        store.add(job(number))
    claimed: list[str] = []

    def claim() -> None:
        while found := store.claim():
            claimed.append(found.id)

    threads = [threading.Thread(target=claim) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claimed) == ["id1", "id2", "id3"]
    assert store.counts() == {"running": 3}


def test_a_result_is_written_once(store: JobStore) -> None:
    store.add(job(1))
    running = store.claim()
    assert running is not None
    assert store.done(running, {"text": "first"})
    assert not store.done(running, {"text": "second"})
    assert not store.failed(running, "late")
    found = store.get("id1")
    assert found is not None
    assert (found.state, found.result, found.error) == ("done", {"text": "first"}, None)
    store.reclaim()
    assert store.claim() is None


def test_what_ran_when_the_process_died_is_queued_again_but_not_for_ever(store: JobStore) -> None:
    store.add(job(1))
    for _ in range(MOST_ATTEMPTS):
        assert store.claim() is not None
        store.reclaim()
    assert store.claim() is None
    found = store.get("id1")
    assert found is not None
    assert found.state == "failed"


def test_what_was_heard_is_kept_until_the_job_is_finished(store: JobStore) -> None:
    store.add(job(1))
    running = store.claim()
    assert running is not None
    assert store.heard(running, {20.0: {"n": 1}, 40.0: {"n": 2}})
    store.reclaim()
    again = store.claim()
    assert again is not None
    assert again.heard_s == 40.0
    assert store.pieces(again) == [{"n": 1}, {"n": 2}]
    assert store.heard(again, {50.0: {"n": 3}})
    assert store.done(again, {})
    assert store.pieces(again) == []
    assert not store.heard(again, {60.0: {"n": 4}})
    assert store.pieces(again) == []


def test_what_was_heard_goes_with_its_job(store: JobStore) -> None:
    store.add(job(1))
    running = store.claim()
    assert running is not None
    store.heard(running, {20.0: {}})
    assert store.remove("id1")
    assert store.pieces(running) == []


def test_an_orderly_end_does_not_count_as_an_attempt(store: JobStore) -> None:
    store.add(job(1))
    for _ in range(2 * MOST_ATTEMPTS):
        running = store.claim()
        assert running is not None
        store.put_back(running)
    store.reclaim()
    assert store.claim() is not None


def test_the_same_idempotency_key_is_the_same_job(store: JobStore) -> None:
    assert store.add(job(1), "once").id == "id1"
    assert store.add(job(2), "once").id == "id1"
    assert store.add(job(3), "twice").id == "id3"
    assert store.add(job(4)).id == "id4"
    assert store.counts() == {"queued": 3}


def test_what_is_finished_is_forgotten_in_time(store: JobStore) -> None:
    for number in (1, 2):
        store.add(job(number))
    running = store.claim()
    assert running is not None
    store.done(running, {})
    store.forget(1.0)
    assert store.get("id1") is not None
    assert store.recordings() == {"2.flac"}
    store.forget(-1.0)
    assert store.get("id1") is None
    assert store.get("id2") is not None


def test_a_table_outlives_its_process(tmp_path: Path) -> None:
    script = (
        "import os, sys; sys.path.insert(0, sys.argv[2])\n"
        "from pathlib import Path\n"
        "from auricle.serve.jobstore import Job, JobStore\n"
        "store = JobStore(Path(sys.argv[1]))\n"
        "store.add(Job('a','queued','a.flac','n','english',(),1.0,0.0,1.0,None,0,None,None))\n"
        "os.kill(os.getpid(), 9)\n"
    )
    source = str(Path(auricle.__file__).parents[1])
    path = str(tmp_path / "jobs.sqlite")
    subprocess.run([sys.executable, "-c", script, path, source], check=False)
    store = JobStore(Path(path))
    assert store.get("a") is not None
    store.close()


def test_a_lease_has_one_holder_and_dies_with_it(tmp_path: Path) -> None:
    first, second = Lease(tmp_path / "lease"), Lease(tmp_path / "lease")
    assert first.acquire()
    assert first.acquire()
    assert not second.acquire()
    first.release()
    assert second.acquire()
    second.release()
    script = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "from pathlib import Path; from auricle.serve.workspace import Lease\n"
        "assert Lease(Path(sys.argv[1])).acquire()\n"
        "print('held', flush=True); sys.stdin.read()\n"
    )
    source = str(Path(auricle.__file__).parents[1])
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "lease"), source],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        assert not first.acquire()
        process.kill()
    assert first.acquire()
    first.release()


def test_what_a_dead_process_uploaded_is_removed_and_a_living_ones_is_not(tmp_path: Path) -> None:
    dead, living = Workspace(tmp_path), Workspace(tmp_path)
    for each in (dead, living):
        each.new_file(".wav").write_bytes(b"sound")
    dead._lease.release()
    third = Workspace(tmp_path)
    assert not dead.uploads.exists()
    assert living.uploads.exists()
    for each in (living, third):
        each.close()
    assert list((tmp_path / "uploads").iterdir()) == []
    assert oct(tmp_path.stat().st_mode)[-3:] == "700"


# --- over HTTP ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving(tmp_path_factory.mktemp("state")) as running:
        yield running


def post(url: str, content: bytes = CLIP.read_bytes(), **more: Any) -> httpx.Response:
    return httpx.post(f"{url}/v1/jobs", files={"file": ("a.flac", content)}, timeout=60, **more)


def finished(url: str, job_id: str, patience_s: float = 60.0) -> dict[str, Any]:
    until_s = time.monotonic() + patience_s
    while True:
        answer: dict[str, Any] = httpx.get(f"{url}/v1/jobs/{job_id}").json()
        if answer["status"] in ("done", "failed"):
            return answer
        assert time.monotonic() < until_s, answer
        time.sleep(0.05)


def test_a_job_is_accepted_heard_and_given_in_every_format(server: Running) -> None:
    accepted = post(server.url)
    assert accepted.status_code == 202
    known = accepted.json()
    assert accepted.headers["location"] == f"/v1/jobs/{known['id']}"
    assert finished(server.url, known["id"])["error"] is None
    expected = auricle.load("english", threads=1).transcribe(CLIP)
    address = f"{server.url}/v1/jobs/{known['id']}/transcript"
    assert httpx.get(address).json()["text"] == expected.text
    answer = httpx.get(f"{address}?response_format=srt")
    assert answer.text == FORMATS["srt"](expected)
    assert httpx.get(f"{address}?response_format=doc").status_code == 422
    assert list((server.state / "recordings").iterdir()) == []
    wait(lambda: server.uploads == [])


def test_a_jobs_hotwords_are_kept_and_checked_at_once(server: Running) -> None:
    known = post(server.url, data={"prompt": "jargon, water"}).json()["id"]
    assert finished(server.url, known)["status"] == "done"
    expected = auricle.load("english", threads=1).transcribe(CLIP, hotwords=["jargon", "water"])
    answer = httpx.get(f"{server.url}/v1/jobs/{known}/transcript").json()
    assert answer["text"] == expected.text
    answer = post(server.url, data={"prompt": "漢字"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_request")


def test_a_request_that_comes_again_is_the_same_job(server: Running) -> None:
    headers = {"Idempotency-Key": "abc"}
    first, second = post(server.url, headers=headers), post(server.url, headers=headers)
    other = post(server.url, headers=headers | {"Authorization": "Bearer other"})
    assert first.json()["id"] == second.json()["id"] != other.json()["id"]
    kept = set((server.state / "recordings").iterdir())
    another = {"file": ("a.flac", (CLIPS / "window.flac").read_bytes())}
    for refused in (
        post(server.url, headers=headers, data={"prompt": "water"}),
        httpx.post(f"{server.url}/v1/jobs", headers=headers, files=another),
    ):
        assert refused.status_code == 409
        assert refused.json()["error"]["code"] == "idempotency_key_reused"
    assert set((server.state / "recordings").iterdir()) <= kept


def test_a_job_can_be_forgotten(server: Running) -> None:
    known = post(server.url).json()["id"]
    assert httpx.delete(f"{server.url}/v1/jobs/{known}").status_code == 204
    assert httpx.get(f"{server.url}/v1/jobs/{known}").status_code == 404
    assert httpx.delete(f"{server.url}/v1/jobs/{known}").status_code == 404


@pytest.mark.parametrize("name", ["nothing", "..%2f..%2fetc", "%00", "a" * 5_000])
def test_jobs_that_are_not_there_are_404(server: Running, name: str) -> None:
    assert httpx.get(f"{server.url}/v1/jobs/{name}").status_code == 404


def test_what_is_no_recording_is_not_accepted(server: Running) -> None:
    answer = httpx.post(f"{server.url}/v1/jobs", files={"file": ("a.flac", b"nothing")})
    assert answer.status_code == 400
    assert list((server.state / "recordings").iterdir()) == []


def test_a_table_that_cannot_be_written_is_507_and_keeps_nothing(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> Job:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(JobStore, "add", full)
    assert post(server.url).status_code == 507
    assert list((server.state / "recordings").iterdir()) == []


def several_pieces() -> bytes:
    """A recording that is cut a few times."""
    sound, rate_hz = soundfile.read(CLIP)
    file = io.BytesIO()
    soundfile.write(file, np.tile(sound, 1 + 60 * rate_hz // len(sound)), rate_hz, format="FLAC")
    return file.getvalue()


def test_a_job_that_failed_is_told_from_one_that_is_not_done(server: Running) -> None:
    content = several_pieces()
    known = post(server.url, content[: len(content) // 2]).json()["id"]
    told = httpx.get(f"{server.url}/v1/jobs/{known}/transcript")
    if told.status_code == 409:  # it may be faster than we are
        assert told.json()["error"]["code"] == "job_not_done"
        assert int(told.headers["retry-after"]) >= 1
    assert finished(server.url, known)["status"] == "failed"
    told = httpx.get(f"{server.url}/v1/jobs/{known}/transcript")
    error = told.json()["error"]
    assert (told.status_code, error["code"]) == (422, "job_failed")
    assert error["message"].startswith("the job failed: ")
    assert "retry-after" not in told.headers


def test_a_job_goes_on_where_a_dead_process_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first pieces are not heard again, and the transcript is the same."""
    content = several_pieces()
    (tmp_path / "a.flac").write_bytes(content)
    expected = auricle.load("english", threads=1).transcribe(tmp_path / "a.flac")
    heard: list[float] = []
    real = Ear.pieces

    def dying(self: Ear, *args: Any, **named: Any) -> Iterator[Piece]:
        for piece in real(self, *args, **named):
            heard.append(piece.start_s)
            yield piece
            if len(heard) == 2:
                raise _Death

    class _Death(BaseException):  # as little as a kill does the thread tidy up
        pass

    monkeypatch.setattr(Ear, "pieces", dying)
    monkeypatch.setattr("threading.excepthook", lambda _: None)
    with serving(tmp_path / "state") as server:
        known = post(server.url, content).json()["id"]
        wait(lambda: len(heard) == 2)
    with serving(tmp_path / "state") as server:
        assert finished(server.url, known)["error"] is None
        answer = httpx.get(f"{server.url}/v1/jobs/{known}/transcript").json()
    assert len(heard) > 3
    assert heard == sorted(set(heard))
    assert answer["text"] == expected.text
    assert answer["words"][-1]["end"] == pytest.approx(expected.words[-1].end_s, abs=1e-3)
    assert answer["duration"] == pytest.approx(expected.duration_s, abs=1e-3)


def test_progress_that_cannot_be_noted_does_not_cost_the_job(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> bool:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(JobStore, "heard", full)
    known = post(server.url).json()["id"]
    assert finished(server.url, known)["status"] == "done"


def test_too_many_waiting_jobs_are_429(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(JobStore, "claim", lambda _: None)
    with serving(tmp_path, jobs_waiting=1) as server:
        assert post(server.url).status_code == 202
        answer = post(server.url)
        assert answer.status_code == 429
        assert answer.headers["retry-after"]


def start(state: Path, port: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "auricle", "serve", "--state", str(state)]
    environment = os.environ | {"PYTHONPATH": str(Path(auricle.__file__).parents[1])}
    process = subprocess.Popen(
        [*command, "--port", str(port), "--set", "threads=1"],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    for _ in range(600):
        try:
            httpx.get(f"http://127.0.0.1:{port}/health")
        except httpx.TransportError:
            assert process.poll() is None
            time.sleep(0.05)
        else:
            return process
    raise AssertionError("the server does not start")


def test_told_to_stop_it_finishes_what_it_accepted_and_ends_well(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = start(tmp_path, port)
    answers: list[httpx.Response] = []
    begun = threading.Event()

    def body() -> Iterator[bytes]:
        head = 'Content-Disposition: form-data; name="file"; filename="a.flac"'
        content = CLIP.read_bytes()
        yield f"--x\r\n{head}\r\n\r\n".encode() + content[:1000]
        wait(lambda: [p for p in tmp_path.glob("uploads/*/*") if "lease" not in p.name])
        begun.set()
        time.sleep(0.2)  # the order comes while this request is under way
        yield content[1000:] + b"\r\n--x--\r\n"

    def send() -> None:
        kind = {"Content-Type": "multipart/form-data; boundary=x"}
        address = f"http://127.0.0.1:{port}/v1/audio/transcriptions"
        answers.append(httpx.post(address, content=body(), headers=kind, timeout=60))

    thread = threading.Thread(target=send)
    thread.start()
    begun.wait()
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    thread.join()
    assert answers[0].json()["text"]
    assert list(tmp_path.glob("uploads/*")) == []


@pytest.mark.slow
def test_kill_9_loses_nothing_accepted_and_does_nothing_twice(tmp_path: Path) -> None:
    """Two kills while jobs are accepted and run; every job that was answered 202 ends, once."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    sound, rate_hz = soundfile.read(CLIP)
    long = io.BytesIO()
    soundfile.write(long, np.tile(sound, 9), rate_hz, format="FLAC")
    accepted: list[str] = []
    for _ in range(2):
        process = start(tmp_path, port)
        accepted += [post(url, long.getvalue()).json()["id"] for _ in range(6)]
        process.kill()  # SIGKILL
        process.wait()
        left = sqlite3.connect(tmp_path / "jobs.sqlite")
        done_before = dict(left.execute("SELECT id, finished FROM jobs WHERE state = 'done'"))
        left.close()
        assert len(done_before) < len(accepted)
    process = start(tmp_path, port)
    try:
        answers = [finished(url, each) for each in accepted]
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert {each["status"] for each in answers} == {"done"}
    after = sqlite3.connect(tmp_path / "jobs.sqlite")
    rows = after.execute("SELECT id, finished, attempts FROM jobs").fetchall()
    after.close()
    assert sorted(row[0] for row in rows) == sorted(accepted)
    assert {key: value for key, value, _ in rows if key in done_before} == done_before
    assert sum(attempts - 1 for _, _, attempts in rows) <= 2  # what ran at each of the two kills
    assert list((tmp_path / "recordings").iterdir()) == []
    assert list((tmp_path / "uploads").iterdir()) == []
