"""The checks: each yields (kind, case, what was found); a literal table says what a kind means."""

import unicodedata
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from pydantic import Field

from auricle.config import Settings
from auricle.data import Example
from auricle.doctor.listen import Sound
from auricle.doctor.report import Severity
from auricle.errors import DataError
from auricle.features import FrontEnd
from auricle.labels import SILENCE
from auricle.text import Tokenizer

KINDS: Mapping[str, tuple[Severity, str]] = {
    "unusable": ("error", "without what an example needs"),
    "unreadable": ("error", "cannot be read"),
    "empty": ("error", "too short for a single frame of the model"),
    "no_text": ("error", "without text"),
    "unknown_letters": ("error", "with letters that the model has no symbol for"),
    "unalignable": ("error", "with more text than CTC can align (frames < letters + repeats)"),
    "silent": ("warning", "silent"),
    "clipped": ("warning", "clipped"),
    "low_rate": ("warning", "recorded at a lower rate than the model hears"),
    "upsampled": ("warning", "without any sound in the upper half of the spectrum: upsampled?"),
    "wrong_duration": ("warning", "longer or shorter than the manifest says"),
    "speech_rate": ("warning", "spoken too fast or too slowly for the text to be right"),
    "odd_characters": ("warning", "with characters that are not spoken, or rare in this data"),
    "shared_audio": ("warning", "of other splits that are in train too: their score means nothing"),
    "duplicate_audio": ("warning", "that sound exactly like an earlier one"),
    "dropped_characters": ("warning", "with characters that the normaliser drops"),
    "changed_letters": ("warning", "with letters that the normaliser writes otherwise"),
    "foreign_letters": ("warning", "with letters that the normaliser does not know and leaves"),
    "duplicate_text": ("warning", "with the text of an earlier one"),
    "shared_text": ("warning", "of other splits with a text that is in train"),
    "shared_speaker": ("warning", "by a speaker who is also in train"),
}
"""Every kind of problem: how bad it is, and what the recordings that have it are."""


class DoctorSettings(Settings):
    """What counts as a problem."""

    silence_db: float = Field(-60.0, ge=-120, le=0, description="mean level below: silent")
    clipped_share: float = Field(0.001, gt=0, le=1, description="of samples at full scale")
    slowest_letters_per_s: float = Field(2.0, ge=0, le=100)
    fastest_letters_per_s: float = Field(25.0, gt=0, le=200)
    rare_script_share: float = Field(0.01, ge=0, le=1, description="of letters; below: odd")
    duration_slack_s: float = Field(0.1, ge=0, le=10, description="header against manifest")


@dataclass(frozen=True, slots=True)
class Case:
    example: Example
    split: str
    text: str | None
    """Normalised."""
    sound: Sound | DataError | None
    """None when nobody listened."""

    @property
    def duration_s(self) -> float:
        return self.sound.duration_s if isinstance(self.sound, Sound) else self.example.duration_s


@dataclass(frozen=True, slots=True)
class Exam:
    front_end: FrontEnd
    stride: int
    tokenizer: Tokenizer | None
    settings: DoctorSettings


Finding = tuple[str, Case, str]
Check = Callable[[Sequence[Case], Exam], Iterator[Finding]]


def _check_sound(cases: Sequence[Case], exam: Exam) -> Iterator[Finding]:
    limits, model_hz = exam.settings, exam.front_end.settings.sample_rate_hz
    uses = Counter(case.example.audio for case in cases)
    for case in cases:
        sound = case.sound
        if isinstance(sound, DataError):
            yield "unreadable", case, str(sound)
        elif sound is None and not case.example.audio.is_file():
            yield "unreadable", case, f"{case.example.audio} does not exist"
        elif sound:
            silent = sound.level_db < limits.silence_db
            if silent and SILENCE not in case.example.labels:
                yield "silent", case, f"{sound.level_db:.0f} dB"
            if sound.clipped_share > limits.clipped_share:
                yield "clipped", case, f"{sound.clipped_share:.1%} of it at full scale"
            if sound.sample_rate_hz < model_hz:
                yield "low_rate", case, f"{sound.sample_rate_hz} Hz, the model hears {model_hz} Hz"
            elif sound.sample_rate_hz < 2 * model_hz and _is_upsampled(sound) and not silent:
                yield "upsampled", case, f"nothing above {sound.sample_rate_hz // 4} Hz"
            whole_file = case.example.start_s == 0 and uses[case.example.audio] == 1
            missing_s = case.example.duration_s - sound.available_s
            if max(missing_s, -missing_s * whole_file) > limits.duration_slack_s:
                stated = f"stated {case.example.duration_s:.2f} s"
                yield "wrong_duration", case, f"{stated}, there are {sound.available_s:.2f} s"
    for case, first in _repeats(cases, _sound_of):
        shared = case.split != first.split and "train" in (case.split, first.split)
        kind = "shared_audio" if shared else "duplicate_audio"
        this, other = (first, case) if shared and case.split == "train" else (case, first)
        yield kind, this, f"sounds like {other.example.audio.name} in {other.split}"


def _is_upsampled(sound: Sound) -> bool:
    """Whether the upper half of the spectrum holds no more than the rounding to 16 bits.

    Rounding adds 8e-11 of full scale over all of the spectrum. Measured: of 900 real recordings the
    upper half has 5e-7 of the power or more, after resampling from half the rate 1e-12.
    """
    upper_power = sound.upper_share * 10 ** (sound.level_db / 10)
    return sound.upper_share < 1e-6 and upper_power < 2e-10


def _sound_of(case: Case) -> Hashable:
    if isinstance(case.sound, Sound):
        return case.sound.digest if case.sound.level_db > -100 else None
    return (case.example.audio, case.example.start_s, case.example.duration_s)


def _check_alignment(cases: Sequence[Case], exam: Exam) -> Iterator[Finding]:
    rate_hz = exam.front_end.settings.sample_rate_hz
    for case in cases:
        if isinstance(case.sound, DataError) or not (case.sound or case.duration_s):
            continue  # how long it is nobody knows
        frames = -(-exam.front_end.frames(round(case.duration_s * rate_hz)) // exam.stride)
        unknown = exam.tokenizer.unknown(case.text) if exam.tokenizer and case.text else ()
        if frames < 1:
            yield "empty", case, f"{case.duration_s:.3f} s"
        elif unknown:
            yield "unknown_letters", case, " ".join(sorted(unknown))
        elif case.text:
            symbols = exam.tokenizer.encode(case.text) if exam.tokenizer else case.text
            needed = len(symbols) + sum(a == b for a, b in pairwise(symbols))
            if frames < needed:
                yield "unalignable", case, f"{frames} frames, {needed} needed"


def _check_text(cases: Sequence[Case], exam: Exam) -> Iterator[Finding]:
    slowest, fastest = exam.settings.slowest_letters_per_s, exam.settings.fastest_letters_per_s
    odd = odd_characters(cases, exam.settings.rare_script_share)
    for case in cases:
        if case.text is None:
            continue
        if not case.text:
            yield "no_text", case, f"{case.example.text!r} is nothing that is spoken"
        elif case.duration_s and not slowest <= letters_per_s(case) <= fastest:
            yield "speech_rate", case, f"{letters_per_s(case):.1f} letters/s: {case.text[:50]!r}"
        if strange := odd.intersection(f"{case.example.text}"):
            yield "odd_characters", case, ", ".join(map(character_name, sorted(strange)))
    for case, first in _repeats(cases, lambda c: c.text and (c.text, c.split, c.example.speaker)):
        who = "by the same speaker" if case.example.speaker else "speakers unknown"
        where = f"as in {first.example.audio.name}, {who}"
        yield "duplicate_text", case, f"{where}: {case.text!r:.50}"


def _check_splits(cases: Sequence[Case], *_: object) -> Iterator[Finding]:
    train = [case for case in cases if case.split == "train"]
    texts = {case.text: case for case in train}
    speakers = {case.example.speaker for case in train}
    for case in cases:
        if case.split != "train" and case.text and (first := texts.get(case.text)):
            yield "shared_text", case, f"as {first.example.audio.name} in train: {case.text!r:.50}"
        if case.split != "train" and case.example.speaker and case.example.speaker in speakers:
            yield "shared_speaker", case, f"{case.example.speaker}, in {case.split} and in train"


def _repeats(cases: Iterable[Case], key: Callable[[Case], Hashable]) -> Iterator[tuple[Case, Case]]:
    """The cases whose key an earlier one had, with that one; a key that is false is no key."""
    first: dict[Hashable, Case] = {}
    for case in cases:
        if (value := key(case)) and first.setdefault(value, case) is not case:
            yield case, first[value]


def letters_per_s(case: Case) -> float:
    return len((case.text or "").replace(" ", "")) / case.duration_s


UNSPOKEN = frozenset("<>[]{}|\\_~#*=^\ufffd")
"""Marks of annotation or of a wrong encoding; what they enclose would be learnt as speech."""


def odd_characters(cases: Sequence[Case], rare_share: float) -> frozenset[str]:
    """Marks, symbols, invisible characters, letters of rare scripts, digits left unspelt."""
    raw = Counter[str]()
    for case in cases:
        raw.update(case.example.text or "")
    digits = {c for case in cases if case.text for c in case.text if c.isdigit()}
    scripts = Counter[str]()
    for character, count in raw.items():
        scripts[_script(character)] += count
    del scripts[""]
    rare = {script for script, count in scripts.items() if count < rare_share * scripts.total()}
    return frozenset(
        character
        for character in raw
        if character in UNSPOKEN
        or character in digits
        or unicodedata.category(character) in {"Cc", "Cf", "Cn", "Co", "Cs", "So"}
        or _script(character) in rare
    )


def _script(character: str) -> str:
    """LATIN, CYRILLIC, ...: the first word of a letter's name; "" for what is no letter."""
    script = unicodedata.name(character, "").partition(" ")[0] if character.isalpha() else ""
    return "CJK" if script in {"HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA"} else script


def character_name(character: str) -> str:
    return f"{character!r} {unicodedata.name(character, f'U+{ord(character):04X}').lower()}"


CHECKS: Sequence[Check] = (_check_sound, _check_alignment, _check_text, _check_splits)
