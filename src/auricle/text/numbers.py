"""English numbers in words, as an American reader says them.

A table of rules at the end: each finds one way of writing numbers and hands its groups to a reader.
Earlier rules win: what they spell holds no digit for later ones.
"""

import re
import unicodedata
from collections.abc import Callable
from functools import partial

_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen"
).split()
_TENS = "zero ten twenty thirty forty fifty sixty seventy eighty ninety".split()
_SCALES = ["", "thousand", "million", "billion", "trillion", "quadrillion"]
_ORDINALS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}
_CURRENCIES = {  # one, several, and the same of its hundredth
    "$": ("dollar", "dollars", "cent", "cents"),
    "€": ("euro", "euros", "cent", "cents"),
    "£": ("pound", "pounds", "penny", "pence"),
    "¥": ("yen", "yen", "sen", "sen"),
}
_SHORT_SCALES = {"k": "thousand", "m": "million", "bn": "billion", "tn": "trillion"}
_SIGNS = {"%": "percent", "&": "and", "@": "at", "°": "degrees"}


def spell_numbers(text: str) -> str:
    """Lower-case `text` in NFKC, with numbers and the signs % & @ ° in words.

    1,234 is "one thousand two hundred thirty four", 1984 "nineteen eighty four", 90s "nineties",
    3rd "third", 3.14 "three point one four", $2.50 "two dollars and fifty cents", 10:05 "ten oh
    five", ½ "one half", 007 "zero zero seven". Spaces are not tidied.
    """
    # A fraction leans on its number, which NFKC would run together: 3½ is "three and one half".
    text = re.sub(r"(?<=\d)(?=[\u00bc-\u00be\u2150-\u215e])", " and ", text)
    text = unicodedata.normalize("NFKC", text)
    text = re.sub(r"[%&@°]", lambda sign: f" {_SIGNS[sign[0]]} ", text)
    # No number is so long; the rules below would take forever over it.
    text = re.sub(r"\d{100,}", lambda run: f" {_digits(run[0])} ", text)
    if re.search(r"\d", text):
        for pattern, read in _RULES:
            text = pattern.sub(partial(_spelt, read), text)
    return text


def _spelt(read: Callable[..., str], match: re.Match[str]) -> str:
    return f" {read(*match.groups())} "


def cardinal(number: int) -> str:
    """120045 -> "one hundred twenty thousand forty five"; from 10^18 on, digit by digit."""
    if number >= 1000 ** len(_SCALES):
        return _digits(str(number))
    groups: list[str] = []
    for scale in _SCALES:
        number, group = divmod(number, 1000)
        if group:
            groups.insert(0, f"{_hundreds(group)} {scale}".rstrip())
    return " ".join(groups) or _ONES[0]


def ordinal(number: int) -> str:
    """21 -> "twenty first"."""
    before, _, last = cardinal(number).rpartition(" ")
    regular = last[:-1] + "ieth" if last.endswith("y") else last + "th"
    return f"{before} {_ORDINALS.get(last, regular)}".lstrip()


def year(number: int) -> str:
    """1984 -> "nineteen eighty four", 1905 -> "nineteen oh five", 2001 -> "two thousand one"."""
    century, rest = divmod(number, 100)
    if century % 10 == 0 and rest < 10:
        return cardinal(number)
    return f"{cardinal(century)} {_minutes(rest) or 'hundred'}"


def _hundreds(number: int) -> str:
    hundreds, rest = divmod(number, 100)
    words = [_ONES[hundreds], "hundred"] if hundreds else []
    if rest >= 20:
        words.append(_TENS[rest // 10])
        rest %= 10
    return " ".join([*words, _ONES[rest]] if rest else words)


def _digits(text: str) -> str:
    return " ".join(_ONES[int(digit)] for digit in text)


def _minutes(number: int) -> str:
    """The second half of a year or a time: 5 -> "oh five", 30 -> "thirty", 0 -> ""."""
    return f"oh {_ONES[number]}" if 0 < number < 10 else cardinal(number) if number else ""


def _integer(text: str) -> int:
    return int(text.replace(",", ""))


def _number(text: str) -> str:
    """An integer or decimal; a number with leading zeros is a code, read by digits."""
    whole, *places = text.replace(",", "").split(".")
    is_code = len(whole) > 1 and int(whole[0]) == 0
    head = _digits(whole) if is_code else cardinal(int(whole)) if whole else ""
    return " point ".join([head, *map(_digits, places)])


def _money(sign: str, amount: str, scale: str | None) -> str:
    one, many, one_cent, many_cents = _CURRENCIES[sign]
    whole, _, places = amount.partition(".")
    if scale:
        return f"{_number(amount)} {_SHORT_SCALES.get(scale, scale)} {many}"
    if len(places) not in (0, 2):
        return f"{_number(amount)} {many}"
    units, cents = _integer(whole), int(places or 0)
    parts = [f"{cardinal(units)} {one if units == 1 else many}"] if units or not cents else []
    parts += [f"{cardinal(cents)} {one_cent if cents == 1 else many_cents}"] if cents else []
    return " and ".join(parts)


def _time(hour: str, minute: str, half: str | None) -> str:
    words = [cardinal(int(hour)), _minutes(int(minute)) or ("" if half else "o'clock"), half or ""]
    return " ".join(filter(None, words))


def _decade(number: str) -> str:
    words = year(int(number)) if len(number) == 4 else cardinal(int(number))
    return words[:-1] + "ies" if words.endswith("y") else words + "s"


def _fraction(over: str, under: str) -> str:
    part = {"2": "half", "4": "quarter"}.get(under) or ordinal(int(under))
    plural = "halves" if part == "half" else part + "s"
    return f"{cardinal(int(over))} {part if over == '1' else plural}"


_INTEGER = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)"
_SCALE = r"thousand|million|billion|trillion|k|m|bn|tn"
_RULES: tuple[tuple[re.Pattern[str], Callable[..., str]], ...] = (
    (re.compile(r"(?<=\d)\s?([ap])\.?m\b\.?"), lambda half: half + "m"),
    (re.compile(r"(?<![^\s(])\+(?=[.$€£¥]?\d)"), lambda: "plus"),
    (re.compile(r"(?<![^\s(])[-\u2212](?=[.$€£¥]?\d)"), lambda: "minus"),
    (re.compile(rf"([$€£¥])\s?({_INTEGER}(?:\.\d+)?)(?:\s?({_SCALE})\b)?"), _money),
    (re.compile(r"(?<![\d:])([01]?\d|2[0-3]):([0-5]\d)(?![\d:])(?:\s+([ap]m)\b)?"), _time),
    (re.compile(rf"({_INTEGER})(?:st|nd|rd|th)\b"), lambda number: ordinal(_integer(number))),
    (re.compile(r"(?<![\w,.])'?((?:1[1-9]|20)\d0|[1-9]0)'?s\b"), _decade),
    (re.compile(r"(\d+)\u2044(\d+)"), _fraction),
    (re.compile(r"(?<![\w,.])((?:1[1-9]|20)\d\d)(?!\w|[,.]\d)"), lambda number: year(int(number))),
    (re.compile(rf"({_INTEGER}(?:\.\d+)*|(?<!\w)\.\d+)"), _number),
)
