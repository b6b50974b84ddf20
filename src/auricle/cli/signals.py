"""Ctrl-C: one line and exit status 130, wherever a command is."""

import signal
from types import FrameType
from typing import NoReturn


class Interrupted(BaseException):
    """Raised by Ctrl-C. The framework of the commands takes a KeyboardInterrupt for its own."""


def interrupt(*_: int | FrameType | None) -> NoReturn:
    """Handle the first SIGINT; a second one ends the process as if nobody handled it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    raise Interrupted
