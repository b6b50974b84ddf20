"""Files of words and how they sound, read in one place for training and for decoding."""

import re
from pathlib import Path
from typing import NamedTuple

from auricle.errors import DataError
from auricle.files import read_text

MOST_SOUNDS = 2_000  # no language has as many, not with tones and syllables
_PROBABILITY = re.compile(r"[01]?\.\d*")  # always with a point: no phoneme is called so


class Pronunciation(NamedTuple):
    """One way to say a word."""

    word: str  # in lower case
    sounds: tuple[str, ...]  # none in a plain list of words
    probability: float = 1.0  # as a share of that of the word's likeliest pronunciation


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
            comments follow `;;;` or `#`; or `WORD 0.5 P1 P2 ...` with probabilities, as Kaldi's
            lexiconp.txt has them; or a list of words, one a line.
        name: of the file, for errors.

    Raises:
        DataError: when there is no entry, or one word lacks the sounds or the probability that
            others have.
    """
    entries: dict[tuple[str, tuple[str, ...]], tuple[float | None, str]] = {}  # and where it stands
    for number, line in enumerate(text.splitlines(), 1):
        word, *rest = line.partition(";;;")[0].partition("#")[0].split() or [""]
        if word:
            where = f"line {number}: {word!r}"
            share = float(rest.pop(0)) if rest and _PROBABILITY.fullmatch(rest[0]) else None
            if share is not None and not 0 < share <= 1:
                raise DataError(f"{name}, {where} has the probability {share}: above 0, at most 1")
            entries.setdefault((word.lower().partition("(")[0], tuple(rest)), (share, where))
    if not entries:
        raise DataError(f"{name}: the lexicon has no line WORD P1 P2 ...")
    if len(every := set[str]().union(*(said for _, said in entries))) > MOST_SOUNDS:
        raise DataError(
            f"{name}: {len(every):,} different phonemes, like {', '.join(sorted(every)[-3:])}: is"
            " this a text? A lexicon has lines WORD P1 P2 ..., or one word a line"
        )
    spoken = any(sounds for _, sounds in entries)
    weighed = any(share is not None for share, _ in entries.values())
    for (_, sounds), (share, where) in entries.items():
        if spoken and not sounds:
            raise DataError(f"{name}, {where} has no pronunciation")
        if weighed and share is None:
            raise DataError(f"{name}, {where} has no probability, as others have")
    return [
        Pronunciation(*entry, 1.0 if share is None else share)
        for entry, (share, _) in entries.items()
    ]
