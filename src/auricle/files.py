"""Files that are whole or not there: written under a temporary name, then renamed."""

import errno
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from auricle.errors import DataError

PATIENCE_S = 10.0  # with the children of a process that was killed: they end a little later


@contextmanager
def replacing(path: str | os.PathLike[str], *, durable: bool = False) -> Iterator[Path]:
    """A temporary path beside `path` to write to; at the end of the `with` it takes its place.

    When the block raises, `path` stays as it was and nothing is left beside it.

    Args:
        durable: also wait until the content is on the disk, so that it outlives a loss of power.

    Raises:
        DataError: when the folder is missing, full, or not ours to write to.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        if durable:
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {why_not(error)}") from None
    finally:
        with suppress(OSError):  # gone already, or in a folder that cannot be written to
            temporary.unlink()


def write_text(path: str | os.PathLike[str], text: str) -> None:
    r"""Write `text` as UTF-8, whole or not at all.

    File names that are not Unicode reach Python as lone surrogates, which UTF-8 cannot hold: they
    are written as `\udcff`, which JSON reads back.
    """
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")


def make_folder(path: Path) -> None:
    """Make a folder and those above it, unless it is there.

    Raises:
        DataError: a file is in its place, or the place is not ours to write to.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        taken = isinstance(error, FileExistsError | NotADirectoryError)
        why = "there is a file in its place" if taken else why_not(error)
        raise DataError(f"{path}: cannot make this folder ({why})") from None


def hold(folder: Path, what: str) -> int | None:
    """Hold a folder: no other process can, until this one closes what it gets here, or ends.

    Args:
        what: holds it, if another process does; for the message.

    Returns:
        An open file descriptor; None where the system cannot hold folders (Windows, some networks).

    Raises:
        DataError: another process holds it.
    """
    try:
        import fcntl
    except ImportError:
        return None
    descriptor = os.open(folder, os.O_RDONLY)
    until_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError:
            if time.monotonic() > until_s:
                os.close(descriptor)
                raise DataError(
                    f"{folder}: {what} is at work here; wait for it, or choose another folder"
                ) from None
            time.sleep(0.2)
        except OSError:
            os.close(descriptor)
            return None


def check_free(folder: Path, what: str) -> None:
    """See early that no other process holds a folder.

    Raises:
        DataError: one does.
    """
    if (descriptor := hold(folder, what)) is not None:
        os.close(descriptor)


def check_folder_of(path: Path) -> None:
    """Before long work, see that what comes of it can be written.

    Raises:
        DataError: the folder that `path` is to be in is not there, or `path` is a folder itself.
    """
    if path.is_dir():
        raise DataError(f"{path}: a folder; name the file to write, in it or elsewhere")
    if not path.absolute().parent.is_dir():
        raise DataError(f"{path}: there is no folder {path.parent} to write it to; make it first")


def read_text(path: Path, what: str = "text") -> str:
    """The text of a file, UTF-8 with or without a byte order mark.

    Args:
        what: it is, for the message.

    Raises:
        DataError: there is no such file, or no text in it.
    """
    try:
        return regular(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot read the {what} ({why_not(error)})") from None


def why_not(error: Exception) -> str:
    """Why a file cannot be read or written, without the numbers and quotes of Python."""
    match error:
        case FileNotFoundError():
            return "there is no such file"
        case IsADirectoryError():
            return "it is a folder, and a file is needed"
        case UnicodeDecodeError():
            return f"byte {error.start} is not UTF-8: save it as UTF-8"
        case OSError():
            return error.strerror or str(error)
    return str(error)


def regular(path: Path) -> Path:
    """`path` itself, unless it is a pipe or a device: to read one may take forever.

    Raises:
        OSError: it is one, or it is not there.
    """
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return path
