"""Versioned normalisers: what is written -> what a recogniser is asked to write.

A published version never changes its answers: a model carries the name of its normaliser, so a
better rule gets a new name. All of them are idempotent, and none drops a letter: a letter that a
normaliser cannot fold stays, for the tokenizer to report.
"""

import re
import string
import unicodedata
from collections.abc import Callable
from functools import cache

from auricle.errors import ConfigError
from auricle.text.numbers import spell_numbers

# Apostrophes in all their shapes; NFKC would break some of these apart, so they go first.
_APOSTROPHES = dict.fromkeys(map(ord, "\u2018\u2019\u201b\u02bc\u02b9\u2032\uff07`\u00b4"), "'")
_UNFOLDABLE = str.maketrans(
    {"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "đ": "d", "ð": "d", "þ": "th", "ł": "l", "ı": "i"}
)
_EDGE_APOSTROPHE = re.compile(r"(?<!\w)'|'(?!\w)")
_CLEAN_ENGLISH = re.compile(r"[a-z]+(?:[ '][a-z]+)*")


def normalise(text: str, version: str = "english-1") -> str:
    """`text` in the spelling of the normaliser `version`.

    Versions:
        english-1: lower case, numbers in words, accents folded, an apostrophe only inside a word,
            no other punctuation, single spaces: a-z, ' and space. A letter of another script stays.
        basic-1: for any language: NFKC, lower case, no punctuation or symbols, single spaces.
        none: the text as it is.

    Raises:
        ConfigError: for an unknown version.
    """
    try:
        return NORMALISERS[version](text)
    except KeyError:
        known = ", ".join(NORMALISERS)
        raise ConfigError(f"text.normaliser = {version!r} is unknown; known: {known}") from None


def _basic(text: str) -> str:
    text = unicodedata.normalize("NFKC", text.translate(_APOSTROPHES)).lower()
    # Lower case can come apart again (a dotted capital I becomes i and a combining dot).
    return _words_only(unicodedata.normalize("NFKC", text))


def _english(text: str) -> str:
    if _CLEAN_ENGLISH.fullmatch(text):
        return text
    text = spell_numbers(text.translate(_APOSTROPHES).lower())
    text = text.lower().translate(_UNFOLDABLE)
    text = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return _words_only(unicodedata.normalize("NFC", text))


def _words_only(text: str) -> str:
    """Letters, marks, digits and inner apostrophes; everything else parts words."""
    text = "".join(map(_keep, text))
    return " ".join(_EDGE_APOSTROPHE.sub(" ", text).split())


@cache
def _keep(character: str) -> str:
    """The character itself, a space in place of punctuation, or nothing for an invisible one."""
    category = unicodedata.category(character)
    if character == "'" or category[0] in "LMN":
        return character
    return "" if category == "Cf" else " "


NORMALISERS: dict[str, Callable[[str], str]] = {
    "english-1": _english,
    "basic-1": _basic,
    "none": lambda text: text,
}

# What a normaliser can answer for its own language; other letters came through from the input.
ALPHABETS: dict[str, frozenset[str]] = {"english-1": frozenset(string.ascii_lowercase + "' ")}
