"""The server's folder, and leases: who died is known, and what he left is removed.

    state/jobs.sqlite           jobs and their results
    state/recordings/           what accepted jobs still need
    state/uploads/<process>/    what requests are being answered from; goes with the process

A lease is an exclusive SQLite transaction on a file of its own that is held while its owner lives:
the system lets go of it when the process ends, however it ends, on every platform.
"""

import secrets
import shutil
import sqlite3
from contextlib import suppress
from pathlib import Path

from auricle.errors import DataError
from auricle.files import make_folder


class Lease:
    """Held by at most one living process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._held: sqlite3.Connection | None = None

    def acquire(self) -> bool:
        """Whether it is ours now; does not wait.

        Raises:
            DataError: its file cannot be written.
        """
        if self._held is None:
            connection = sqlite3.connect(
                self.path, timeout=0, isolation_level=None, check_same_thread=False
            )
            try:
                connection.execute("BEGIN EXCLUSIVE")
            except sqlite3.OperationalError as error:
                connection.close()
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                    raise DataError(f"{self.path}: cannot be locked: {error}") from None
                return False
            self._held = connection
        return True

    def release(self) -> None:
        """Let go of it, if it was ours."""
        if self._held is not None:
            self._held.close()
            self._held = None


class Workspace:
    """One process's hold on the folder. `close` removes what it uploaded.

    Raises:
        DataError: the folder cannot be made or written to.
    """

    def __init__(self, state: Path) -> None:
        self.state = state
        self.recordings = state / "recordings"
        self.uploads = state / "uploads" / secrets.token_hex(8)
        make_folder(self.recordings)
        make_folder(self.uploads)
        state.chmod(0o700)  # recordings are private
        self._lease = Lease(self.uploads / "lease")
        try:
            self._lease.acquire()
        except sqlite3.Error as error:
            raise DataError(f"{self.uploads}: cannot be written to: {error}") from None
        self._remove_dead()

    def _remove_dead(self) -> None:
        """The uploads of processes that ended without closing."""
        for folder in self.uploads.parent.iterdir():
            if folder == self.uploads:
                continue
            lease = Lease(folder / "lease")
            # a folder that has no lease yet belongs to a process that is just starting
            with suppress(DataError, sqlite3.Error):
                if lease.path.exists() and lease.acquire():
                    lease.release()
                    shutil.rmtree(folder, ignore_errors=True)

    def new_file(self, suffix: str) -> Path:
        """A path of ours that is not taken, for an upload."""
        return self.uploads / f"{secrets.token_hex(16)}{suffix}"

    def close(self) -> None:
        """Remove this process's uploads and let go."""
        self._lease.release()
        shutil.rmtree(self.uploads, ignore_errors=True)
