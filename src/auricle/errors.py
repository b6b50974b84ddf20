"""The four exceptions that auricle raises on purpose.

A message says what came, what is needed and what to do, and names the file. The command line turns
each of them into one line on stderr and exit status 2; any other exception is a defect of ours.
"""

from collections.abc import Sequence

SHOWN_LETTERS = 60
SHOWN_NAMES = 8


def brief(value: object) -> str:
    """A value as messages show it: what came may be megabytes long."""
    try:
        text = value if isinstance(value, str) else repr(value)
    except ValueError:  # Python writes out no integer of over 4,300 digits
        return "a number of thousands of digits"
    text = text if len(text) <= SHOWN_LETTERS else f"{text[: SHOWN_LETTERS - 4]} ..."
    return repr(text) if isinstance(value, str) else text


def listed(names: Sequence[str], most: int = SHOWN_NAMES) -> str:
    """The first names, and dots if there are more: what came may be thousands."""
    return ", ".join(names[:most]) + ", ..." * (len(names) > most)


class AuricleError(Exception):
    """Base class: catch this to catch everything that auricle raises on purpose."""


class DataError(AuricleError):
    """A recording, transcript, manifest or folder cannot be used."""


class ConfigError(AuricleError):
    """A setting is unknown, out of range, or contradicts another one."""


class ModelError(AuricleError):
    """A bundle, checkpoint or export is damaged, incompatible, or answers wrongly."""
