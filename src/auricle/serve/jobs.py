"""Long recordings as jobs: accepted at once, heard one after the other, asked for later.

One process of a server runs jobs: the one that holds the runner's lease. When it dies, another one
(or the next start) takes the lease and goes on after the last piece that it noted.
"""

import logging
import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

from starlette.exceptions import HTTPException

from auricle.errors import AuricleError, DataError
from auricle.serve.ears import Ears, Piece
from auricle.serve.forms import Asked
from auricle.serve.jobstore import Job, JobStore
from auricle.serve.metrics import Gauge, Metrics
from auricle.serve.refusals import refusal, without_path
from auricle.serve.settings import ServeSettings
from auricle.serve.uploads import Upload
from auricle.serve.workspace import Lease, Workspace

ROUTE = "/v1/jobs"
LOOK_S = 1.0  # between looks at the table: another process may have accepted a job
TIDY_S = 600.0  # between removals of what is no longer needed
ORPHAN_S = 3_600.0  # after which a recording without a job was left by a death before acceptance
NAME_LETTERS = 200


class _Stopped(Exception):  # noqa: N818
    """The server ends, or the job was removed."""


class Jobs:
    """The table, the recordings, and the thread that runs them."""

    def __init__(
        self, settings: ServeSettings, workspace: Workspace, ears: Ears, metrics: Metrics
    ) -> None:
        self._settings, self._workspace = settings, workspace
        self._ears, self._metrics = ears, metrics
        path = workspace.state / "jobs.sqlite"
        try:
            self.store = JobStore(path)
        except sqlite3.Error as error:
            raise DataError(f"{path}: cannot be used: {error}; move it away") from None
        for state in ("queued", "running"):
            metrics.gauges.append(
                Gauge(f"auricle_jobs_{state}", f"Jobs that are {state}.", partial(self._of, state))
            )
        self._lease = Lease(workspace.state / "runner")
        self._changed, self._stopping = threading.Event(), False
        self._thread = threading.Thread(target=self._run, name="auricle-jobs", daemon=True)

    def start(self) -> None:
        """Begin to run jobs."""
        self._thread.start()

    def close(self) -> None:
        """Put back the job that is running, and end."""
        self._stopping = True
        self._changed.set()
        if self._thread.is_alive():
            self._thread.join()
        self._lease.release()
        self.store.close()

    def accept(
        self, upload: Upload, asked: Asked, sound_s: float, idempotency: str | None = None
    ) -> Job:
        """Take over an upload: when this returns, a loss of power does not lose it.

        Raises:
            HTTPException: 429 when too many wait; 409 for the idempotency key of another request.
        """
        if self.store.counts().get("queued", 0) >= self._settings.jobs_waiting:
            raise refusal(
                HTTPStatus.TOO_MANY_REQUESTS, "too many jobs are waiting", retry_after_s=60
            )
        job_id = secrets.token_urlsafe(24)
        kept = self._workspace.recordings / f"{job_id}{upload.path.suffix}"
        with upload.path.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(upload.path, kept)
        _sync_folder(kept.parent)
        name, model = upload.name[:NAME_LETTERS], self._ears.named(asked.model).name
        job = Job(
            *(job_id, "queued", kept.name, name, model, asked.hotwords, sound_s, 0.0, time.time()),
            *(None, 0, None, None),
        )
        try:
            accepted = self.store.add(job, idempotency)
        except sqlite3.Error:
            kept.unlink(missing_ok=True)
            raise
        if accepted.id != job_id:
            kept.unlink(missing_ok=True)
            if not accepted.asks_for(job):
                raise refusal(
                    HTTPStatus.CONFLICT,
                    f"this Idempotency-Key came before, with {accepted.name}: take another key",
                    code="idempotency_key_reused",
                )
        self._changed.set()
        return accepted

    def remove(self, job_id: str) -> bool:
        """Forget a job and its recording; one that is running stops."""
        job = self.store.get(job_id)
        if job is None or not self.store.remove(job_id):
            return False
        (self._workspace.recordings / job.recording).unlink(missing_ok=True)
        return True

    def _of(self, state: str) -> float:
        return self.store.counts().get(state, 0)

    def _run(self) -> None:
        tidied_s = -TIDY_S
        while not self._stopping:
            with suppress(sqlite3.Error, DataError):  # a full disk may become free again
                if not self._lease.acquire():
                    self._wait()
                    continue
                self.store.reclaim()  # nobody else runs jobs now
                if time.monotonic() - tidied_s >= TIDY_S:
                    tidied_s = time.monotonic()
                    self._tidy()
                while not self._stopping and (job := self.store.claim()):
                    self._hear(job)
            self._wait()

    def _wait(self) -> None:
        self._changed.wait(LOOK_S)
        self._changed.clear()

    def _hear(self, job: Job) -> None:
        path = self._workspace.recordings / job.recording
        try:
            self._listen(job, path)
        except _Stopped:
            self.store.put_back(job)
        else:
            path.unlink(missing_ok=True)

    def _listen(self, job: Job, path: Path) -> None:
        try:
            ear = self._ears.named(job.model)
            pieces = [Piece.from_dict(each) for each in self.store.pieces(job)]
            heard = ear.pieces(
                path,
                self._settings.job_longest_s,
                job.hotwords,
                after_s=pieces[-1].end_s if pieces else 0.0,
            )
            pieces += self._noting(job, heard)
            result = ear.transcript(pieces).to_dict()
            self._finish(lambda: self.store.done(job, result))
            self._metrics.sound.add(job.duration_s, ROUTE)
        except _Stopped:
            raise
        except AuricleError as error:
            self._fail(job, without_path(error, path))
        except HTTPException:
            self._fail(job, f"the model {job.model} is not served any more")
        except Exception:  # a defect of ours: the other jobs go on
            logging.getLogger(__name__).exception("job %s", job.id)
            self._fail(job, "the server failed")

    def _fail(self, job: Job, why: str) -> None:
        self._finish(lambda: self.store.failed(job, why))

    def _finish(self, write: Callable[[], bool]) -> None:
        """Write the end of a job; where the disk is full, as soon as it is not."""
        while not self._stopping:
            try:
                write()
            except sqlite3.Error:
                self._wait()
            else:
                return
        raise _Stopped

    def _noting(self, job: Job, pieces: Iterator[Piece]) -> Iterator[Piece]:
        """The pieces, each noted: who runs the job next goes on after it."""
        waiting: dict[float, dict[str, Any]] = {}
        for piece in pieces:
            yield piece
            waiting[piece.end_s] = asdict(piece)
            with suppress(sqlite3.Error):  # a full disk costs progress, not the job
                if not self.store.heard(job, waiting):
                    raise _Stopped
                waiting = {}
            if self._stopping:
                raise _Stopped

    def _tidy(self) -> None:
        self.store.forget(self._settings.jobs_kept_days)
        needed = self.store.recordings()
        for path in self._workspace.recordings.iterdir():
            with suppress(OSError):
                old = time.time() - path.stat().st_mtime > ORPHAN_S
                if path.name not in needed and old:
                    path.unlink()


def _sync_folder(folder: Path) -> None:
    """The name of a new file is on the disk only when its folder is (nothing to do on Windows)."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
