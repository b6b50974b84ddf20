"""Files of words and how they sound, read in one place for training and for decoding."""

from pathlib import Path

from auricle.errors import DataError
from auricle.files import read_text

Pronunciation = tuple[str, tuple[str, ...]]
"""A word in lower case, and its sounds; none in a plain list of words."""


def read_lexicon(path: str | Path) -> list[Pronunciation]:
    """The entries of a lexicon file; see `parse_lexicon`.

    Raises:
        DataError: for a file that cannot be read, or is none.
    """
    return parse_lexicon(read_text(Path(path), "lexicon"), str(path))


def parse_lexicon(text: str, name: str) -> list[Pronunciation]:
    """Entries in the order of the lines, each once.

    Args:
        text: lines `WORD P1 P2 ...` in CMUdict's form, where `WORD(2)` is another pronunciation and
            comments follow `;;;` or `#`; or a list of words, one a line.
        name: of the file, for errors.

    Raises:
        DataError: when there is no entry, or one word lacks the sounds that others have.
    """
    entries: dict[Pronunciation, str] = {}  # and where each stands, for errors
    for number, line in enumerate(text.splitlines(), 1):
        word, *sounds = line.partition(";;;")[0].partition("#")[0].split() or [""]
        if word:
            entry = word.lower().partition("(")[0], tuple(sounds)
            entries.setdefault(entry, f"line {number}: {word!r}")
    if not entries:
        raise DataError(f"{name}: the lexicon has no line WORD P1 P2 ...")
    if any(sounds for _, sounds in entries):
        for (_, missing), where in entries.items():
            if not missing:
                raise DataError(f"{name}, {where} has no pronunciation")
    return list(entries)
