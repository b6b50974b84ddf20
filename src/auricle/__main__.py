"""The command `auricle`; also `python -m auricle`, which torchrun can start."""

import os
import signal
from types import FrameType


def main() -> None:
    """Run the command line; Ctrl-C is one line from the first moment on."""
    signal.signal(signal.SIGINT, _leave)
    from auricle.cli import main as run

    run()


def _leave(*_: int | FrameType | None) -> None:
    """Nothing is begun yet, so there is nothing to clear up after, and nothing to tell."""
    os.write(2, b"interrupted\n")
    os._exit(130)


if __name__ == "__main__":
    main()
