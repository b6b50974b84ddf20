"""Jobs in SQLite: what was accepted outlives the process, and is done once.

A job is accepted when its row is committed, after its recording lies on the disk. It then is
`queued` -> `running` -> `done` or `failed`; a `running` job whose process died is `queued` again.
What it heard until then lies in `pieces`, so it goes on after the last of them.
Only a job that is running can be finished, in one transaction with its result: so a result is
written once, and a finished job never runs again. A job that took its process down
`MOST_ATTEMPTS` times is failed, else it would take the server down for ever.
"""

import json
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

MOST_ATTEMPTS = 5
DAY_S = 86_400.0

State = Literal["queued", "running", "done", "failed"]

SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY,
    idempotency TEXT UNIQUE,
    state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'done', 'failed')),
    recording TEXT NOT NULL,
    name TEXT NOT NULL,
    model TEXT NOT NULL,
    hotwords TEXT NOT NULL DEFAULT '[]',
    duration_s REAL NOT NULL,
    heard_s REAL NOT NULL DEFAULT 0,
    created REAL NOT NULL,
    finished REAL,
    attempts INTEGER NOT NULL DEFAULT 0,
    result TEXT,
    error TEXT
) STRICT;
CREATE INDEX IF NOT EXISTS waiting ON jobs (state, created);
CREATE TABLE IF NOT EXISTS pieces (
    job TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    end_s REAL NOT NULL,
    piece TEXT NOT NULL,
    PRIMARY KEY (job, end_s)
) STRICT, WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Job:
    """One recording to be heard, or heard."""

    id: str
    state: State
    recording: str  # the file's name in the folder of recordings
    name: str  # what the client calls it
    model: str
    hotwords: tuple[str, ...]
    duration_s: float
    heard_s: float
    created: float  # seconds since 1970
    finished: float | None
    attempts: int
    result: Mapping[str, Any] | None
    error: str | None

    def asks_for(self, other: "Job") -> bool:
        """Whether it is what the other asks for: such a recording, by the same model."""
        same = ("name", "model", "hotwords", "duration_s")
        return all(getattr(self, field) == getattr(other, field) for field in same)


class JobStore:
    """The table. Its methods are short transactions; call them from any thread.

    Raises:
        sqlite3.Error: the file is damaged or the disk full; then nothing was changed.
    """

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(
            path, timeout=30, isolation_level=None, check_same_thread=False
        )
        self._connection.row_factory = sqlite3.Row
        self._lock = threading.Lock()
        self._connection.executescript(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;"
            + SCHEMA
        )

    def add(self, job: Job, idempotency: str | None = None) -> Job:
        """Accept a job; if one came under the same idempotency key before, that one is meant."""
        with self._lock:
            self._connection.execute(
                "INSERT INTO jobs (id, idempotency, state, recording, name, model, hotwords,"
                " duration_s, created) VALUES (?, ?, 'queued', ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT DO NOTHING",
                (
                    *(job.id, idempotency, job.recording, job.name, job.model),
                    *(json.dumps(job.hotwords), job.duration_s, job.created),
                ),
            )
        row = self._one("SELECT * FROM jobs WHERE id = ? OR idempotency = ?", job.id, idempotency)
        assert row is not None
        return row

    def get(self, job_id: str) -> Job | None:
        """The job of this id."""
        return self._one("SELECT * FROM jobs WHERE id = ?", job_id)

    def counts(self) -> dict[str, int]:
        """How many there are in each state."""
        with self._lock, closing(self._connection.cursor()) as cursor:
            rows = cursor.execute("SELECT state, COUNT(*) FROM jobs GROUP BY state").fetchall()
        return {row[0]: row[1] for row in rows}

    def reclaim(self) -> None:
        """Queue what a process that died was at. Only for who holds the runner's lease."""
        with self._lock:
            self._connection.execute(
                "UPDATE jobs SET state = 'failed', finished = ?, error = ?"
                " WHERE state = 'running' AND attempts >= ?",
                (time.time(), f"the server died of it {MOST_ATTEMPTS} times", MOST_ATTEMPTS),
            )
            self._connection.execute("UPDATE jobs SET state = 'queued' WHERE state = 'running'")

    def claim(self) -> Job | None:
        """The job that waits longest, now running."""
        return self._one(
            "UPDATE jobs SET state = 'running', attempts = attempts + 1 WHERE id = (SELECT id FROM"
            " jobs WHERE state = 'queued' ORDER BY created, id LIMIT 1) RETURNING *"
        )

    def put_back(self, job: Job) -> None:
        """The server ends in an orderly way: the attempt does not count."""
        self._change(
            "UPDATE jobs SET state = 'queued', attempts = attempts - 1"
            " WHERE id = ? AND state = 'running'",
            job.id,
        )

    def heard(self, job: Job, pieces: Mapping[float, Mapping[str, Any]]) -> bool:
        """Note progress; False when the job is no longer there, or no longer running.

        Args:
            pieces: what was heard since the last call, by when each piece ends, in seconds.
        """
        with self._transaction() as cursor:
            cursor.execute(
                "UPDATE jobs SET heard_s = ? WHERE id = ? AND state = 'running'",
                (max(pieces), job.id),
            )
            if running := bool(cursor.rowcount):
                cursor.executemany(
                    "INSERT INTO pieces (job, end_s, piece) VALUES (?, ?, ?)",
                    [(job.id, end_s, _json(piece)) for end_s, piece in pieces.items()],
                )
        return running

    def pieces(self, job: Job) -> list[dict[str, Any]]:
        """What was noted of a job that is not finished, in order."""
        with self._lock, closing(self._connection.cursor()) as cursor:
            rows = cursor.execute(
                "SELECT piece FROM pieces WHERE job = ? ORDER BY end_s", (job.id,)
            ).fetchall()
        return [json.loads(row[0]) for row in rows]

    def done(self, job: Job, result: Mapping[str, Any]) -> bool:
        """Finish with a result; False when it was finished or removed before."""
        return self._finish(
            job,
            "UPDATE jobs SET state = 'done', finished = ?, heard_s = duration_s, result = ?"
            " WHERE id = ? AND state = 'running'",
            _json(result),
        )

    def failed(self, job: Job, error: str) -> bool:
        """Finish without one."""
        return self._finish(
            job,
            "UPDATE jobs SET state = 'failed', finished = ?, error = ?"
            " WHERE id = ? AND state = 'running'",
            error,
        )

    def remove(self, job_id: str) -> bool:
        """Forget a job, in whatever state."""
        return self._change("DELETE FROM jobs WHERE id = ?", job_id)

    def forget(self, days: float) -> None:
        """Remove what was finished so long ago."""
        self._change("DELETE FROM jobs WHERE finished < ?", time.time() - days * DAY_S)

    def recordings(self) -> set[str]:
        """Names of the files that are still needed."""
        with self._lock, closing(self._connection.cursor()) as cursor:
            rows = cursor.execute(
                "SELECT recording FROM jobs WHERE state IN ('queued', 'running')"
            ).fetchall()
        return {name for (name,) in rows}

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Cursor]:
        """All of it, or nothing."""
        with self._lock, closing(self._connection.cursor()) as cursor:
            cursor.execute("BEGIN IMMEDIATE")
            try:
                yield cursor
                cursor.execute("COMMIT")
            finally:
                if self._connection.in_transaction:  # a full disk may have ended it already
                    cursor.execute("ROLLBACK")

    def _finish(self, job: Job, statement: str, what: str) -> bool:
        with self._transaction() as cursor:
            cursor.execute(statement, (time.time(), what, job.id))
            finished = bool(cursor.rowcount)
            cursor.execute("DELETE FROM pieces WHERE job = ?", (job.id,))
        return finished

    def _change(self, statement: str, *values: Any) -> bool:
        with self._lock, closing(self._connection.cursor()) as cursor:
            return bool(cursor.execute(statement, values).rowcount)

    def _one(self, statement: str, *values: Any) -> Job | None:
        with self._lock, closing(self._connection.cursor()) as cursor:
            row = cursor.execute(statement, values).fetchone()
        if row is None:
            return None
        fields = {key: row[key] for key in row.keys() if key != "idempotency"}  # noqa: SIM118
        fields["hotwords"] = tuple(json.loads(row["hotwords"]))
        return Job(**{**fields, "result": json.loads(row["result"] or "null")})


def _json(values: Mapping[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=False)
