"""What the normaliser does to the transcripts: what it drops, folds, or does not know.

Ordinary punctuation, capitals, numbers and signs put into words are what it is there for. A
currency sign that vanishes, or an accent that is folded away, is what its user has to know.
"""

import re
import string
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from auricle.doctor.checks import KINDS, Case, character_name
from auricle.doctor.report import Problem
from auricle.text import ALPHABETS, normalise

# What any normaliser may take away without a word about it.
EXPECTED = frozenset(
    string.ascii_letters + string.digits + string.whitespace + ".,;:!?'\"()-\u2010\u2011\u2012"
    "\u2013\u2014\u2015\u2026\u2018\u2019\u201c\u201d\u201e\u00ab\u00bb\u00a0"
)
_WORDS_BEFORE, _WORDS_AFTER = re.compile(r"\S*\s*\S*$"), re.compile(r"\S*\s*\S*")


@dataclass(slots=True)
class _Seen:
    count: int = 0
    ids: list[str] = field(default_factory=list)
    shown: str = ""


def spelling_problems(
    cases: Sequence[Case], normaliser: str, odd: frozenset[str]
) -> Iterator[Problem]:
    """A problem each of the characters dropped, the letters changed, and those of other alphabets.

    Args:
        odd: characters that are reported already.
    """
    seen: dict[str, dict[str, _Seen]] = defaultdict(lambda: defaultdict(_Seen))
    for case in cases:
        raw, text = (unicodedata.normalize("NFC", t or "") for t in (case.example.text, case.text))
        for character, count in Counter(raw).items():
            if character in EXPECTED or character in odd:
                continue
            if kind := _what_happens(character, raw, text, normaliser):
                entry = seen[kind][character.lower()]
                entry.count += count
                entry.ids.append(case.example.id)
                entry.shown = entry.shown or _shown(character, raw, normaliser)
    for kind in KINDS:
        if kind in seen:
            yield _problem(kind, seen[kind], normaliser)


def _what_happens(character: str, raw: str, text: str, normaliser: str) -> str:
    """The kind of problem, or "" where all is as it should be."""
    is_letter = unicodedata.category(character)[0] in "LM"
    if character in text or character.lower() in text:
        known = ALPHABETS.get(normaliser)
        is_foreign = known and is_letter and character.lower() not in known
        return "foreign_letters" if is_foreign else ""
    without = (normalise(raw.replace(character, gap), normaliser) for gap in (" ", ""))
    if text in without:
        return "dropped_characters"
    return "changed_letters" if is_letter else ""


def _shown(character: str, raw: str, normaliser: str) -> str:
    """The character among its neighbours, and what becomes of them."""
    before, _, after = raw.partition(character)
    around = (_WORDS_BEFORE.search(before), _WORDS_AFTER.match(after))
    part = character.join(match[0] if match else "" for match in around).strip()
    return f"{part!r} becomes {normalise(part, normaliser)!r}"


def _problem(kind: str, characters: dict[str, _Seen], normaliser: str) -> Problem:
    severity, what = KINDS[kind]
    often = sorted(characters.items(), key=lambda item: (-item[1].count, item[0]))
    ids = tuple(dict.fromkeys(id_ for _, entry in often for id_ in entry.ids))
    message = f"{len(ids)} {'recording' if len(ids) == 1 else 'recordings'} {what} ({normaliser})"
    if kind != "dropped_characters" and normaliser in ALPHABETS:
        message += "; text.normaliser=basic-1 is for other languages and keeps them"
    details = tuple(
        f"{character_name(character)}, {entry.count} in all: {entry.shown}"
        for character, entry in often
    )
    return Problem(kind, severity, message, ids, details)
