"""examine(): all checks over all data."""

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from auricle.data import Dataset, Example, Progress
from auricle.doctor.checks import (
    CHECKS,
    KINDS,
    Case,
    DoctorSettings,
    Exam,
    Finding,
    letters_per_s,
    odd_characters,
)
from auricle.doctor.listen import Sound, listen_to
from auricle.doctor.report import Problem, Report, histogram
from auricle.doctor.spelling import spelling_problems
from auricle.features import FrontEnd
from auricle.text import TextSettings, Tokenizer, normalise


def examine(
    data: Dataset | Mapping[str, Sequence[Example]],
    *,
    front_end: FrontEnd | None = None,
    stride: int = 1,
    tokenizer: Tokenizer | None = None,
    text: TextSettings | None = None,
    settings: DoctorSettings | None = None,
    listen: bool = True,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Report:
    """Look for everything that would make training fail or its result useless.

    Args:
        data: a dataset with its splits, or the examples of each split.
        front_end: of the model that is to be trained; its rate and frames are what is compared.
        stride: input frames per output frame of that model.
        tokenizer: of that model; without one its symbols are taken to be the letters.
        text: how transcripts are normalised.
        listen: False reads no recording: quick, and finds what is wrong with texts, speakers and
            the durations as they are stated.
        progress: hears of the recordings listened to.
    """
    unusable: tuple[str, ...] = ()
    if isinstance(data, Dataset):
        unusable = data.unusable
        data = data.splits or {"all": data.examples}
    normaliser = (text or TextSettings()).normaliser
    every = [(split, example) for split, examples in data.items() for example in examples]
    sounds = listen_to([example for _, example in every], threads, progress) if listen else None
    cases = [
        Case(
            example,
            split,
            None if example.text is None else normalise(example.text, normaliser),
            sounds[at] if sounds else None,
        )
        for at, (split, example) in enumerate(every)
    ]
    exam = Exam(front_end or FrontEnd(), stride, tokenizer, settings or DoctorSettings())
    found: dict[str, list[Finding]] = defaultdict(list)
    for check in CHECKS:
        for finding in check(cases, exam):
            found[finding[0]].append(finding)
    odd = odd_characters(cases, exam.settings.rare_script_share)
    spelling = {p.kind: p for p in spelling_problems(cases, normaliser, odd)}
    problems = _unusable(unusable)
    problems += tuple(
        spelling.get(kind) or _problem(kind, found[kind])
        for kind in KINDS
        if kind in found or kind in spelling
    )
    splits = {split: [case for case in cases if case.split == split] for split in data}
    return Report(
        problems,
        {split: _statistics(part) for split, part in splits.items()},
        histogram([case.duration_s for case in cases]),
    )


def _unusable(details: tuple[str, ...]) -> tuple[Problem, ...]:
    """What never became an example, and so has no case."""
    if not details:
        return ()
    severity, what = KINDS["unusable"]
    noun = "line or recording" if len(details) == 1 else "lines or recordings"
    return (Problem("unusable", severity, f"{len(details)} {noun} {what}", (), details),)


def _problem(kind: str, found: Sequence[Finding]) -> Problem:
    severity, what = KINDS[kind]
    noun = "recording" if len(found) == 1 else "recordings"
    details = tuple(
        detail if str(case.example.audio) in detail else f"{case.example.audio}: {detail}"
        for _, case, detail in found
    )
    ids = tuple(case.example.id for _, case, _ in found)
    return Problem(kind, severity, f"{len(found)} {noun} {what}", ids, details)


def _statistics(cases: Sequence[Case]) -> dict[str, Any]:
    def median(values: Iterable[float]) -> float | None:
        known = list(values)
        return round(statistics.median(known), 2) if known else None

    sounds = [case.sound for case in cases if isinstance(case.sound, Sound)]
    durations_s = [case.duration_s for case in cases]
    return {
        "examples": len(cases),
        "hours": round(sum(durations_s) / 3600, 3),
        "speakers": len({case.example.speaker for case in cases} - {None}),
        "shortest_s": round(min(durations_s, default=0.0), 3),
        "longest_s": round(max(durations_s, default=0.0), 3),
        "median_letters_per_s": median(
            letters_per_s(case) for case in cases if case.text and case.duration_s
        ),
        "median_level_db": median(sound.level_db for sound in sounds if sound.duration_s),
        "sample_rates_hz": dict(Counter(sound.sample_rate_hz for sound in sounds)),
    }
