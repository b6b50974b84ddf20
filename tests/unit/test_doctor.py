"""Each illness is found in data that has it and in no other, and the report says where."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from auricle.audio import resample
from auricle.data import Dataset, Example, read_data
from auricle.doctor import KINDS, DoctorSettings, Report, examine
from auricle.errors import DataError
from auricle.features import FeatureSettings, FrontEnd
from auricle.text import CharTokenizer, TextSettings

RATE_HZ = 16_000
WORDS = "the quick brown fox jumps over"


class Ward:
    """Makes recordings of noise; healthy ones, unless told otherwise."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rng = np.random.default_rng(0)
        self.examples: list[Example] = []

    def noise(self, duration_s: float = 2.0) -> NDArray[Any]:
        return self.rng.normal(0, 0.1, round(duration_s * RATE_HZ)).astype(np.float32)

    def add(
        self,
        samples: NDArray[Any] | None = None,
        text: str | None = WORDS,
        rate_hz: int = RATE_HZ,
        **known: Any,
    ) -> Example:
        name = f"{len(self.examples):02}"
        samples = self.noise() if samples is None else samples
        soundfile.write(self.folder / f"{name}.wav", samples, rate_hz, subtype="PCM_16")
        known = {"speaker": name, "duration_s": len(samples) / rate_hz} | known
        example = Example(name, self.folder / f"{name}.wav", text=text, **known)
        self.examples.append(example)
        return example

    def report(self, **options: Any) -> Report:
        return examine({"train": self.examples}, **options)


@pytest.fixture
def ward(tmp_path: Path) -> Ward:
    ward = Ward(tmp_path)
    for _ in range(3):
        ward.add()
    return ward


def found(report: Report) -> dict[str, tuple[str, ...]]:
    return {problem.kind: problem.examples for problem in report.problems}


def test_healthy_data(ward: Ward) -> None:
    calls: list[tuple[int, int]] = []
    report = ward.report(progress=lambda done, total: calls.append((done, total)))
    assert report.problems == ()
    assert report.render()[-1] == "no problems found"
    assert calls == [(1, 3), (2, 3), (3, 3)]
    report.raise_if_errors()


def test_missing_and_damaged_recordings(ward: Ward) -> None:
    gone, damaged, empty, late = (ward.add() for _ in range(4))
    gone.audio.unlink()
    damaged.audio.write_bytes(b"RIFF" + bytes(100))
    empty.audio.write_bytes(b"")
    ward.examples[-1] = Example("late", late.audio, 1.0, start_s=5.0, text=WORDS)
    report = ward.report()
    assert found(report) == {"unreadable": ("03", "04", "05", "late")}
    assert report.failing == {"03", "04", "05", "late"}
    with pytest.raises(DataError, match=r"4 recordings cannot be read\n(.*\.wav.*\n?){4}"):
        report.raise_if_errors()


@pytest.mark.parametrize(
    ("kind", "samples"),
    [
        ("silent", lambda noise: noise * 1e-3),
        ("silent", lambda noise: noise * 0),
        ("clipped", lambda noise: np.clip(noise * 10, -1, 1)),
        ("empty", lambda noise: noise[:300]),
    ],
)
def test_illnesses_of_one_recording(ward: Ward, kind: str, samples: Any) -> None:
    ward.add(samples(ward.noise()), text=None)
    report = ward.report()
    assert found(report) == {kind: ("03",)}
    assert [problem.severity for problem in report.problems] == [KINDS[kind][0]]


def test_rates(ward: Ward) -> None:
    ward.add(ward.noise(), rate_hz=8000, speaker="low")
    ward.add(resample(resample(ward.noise(), 16_000, 8_000), 8_000, 16_000), speaker="up")
    ward.add(ward.noise(1.0), rate_hz=16_000)
    assert found(ward.report()) == {"low_rate": ("03",), "upsampled": ("04",)}
    low = FrontEnd(FeatureSettings(sample_rate_hz=8000))
    assert found(ward.report(front_end=low)) == {}  # what is missing, this model does not hear


def test_durations_that_are_not_as_stated(ward: Ward) -> None:
    ward.add(duration_s=2.05)
    ward.add(duration_s=2.5)
    ward.add(duration_s=1.5)
    ward.add(duration_s=1.0, start_s=1.5, text="a stretch")
    stretched = ward.add(ward.noise(4.0), duration_s=2.0)
    ward.examples.append(Example("rest", stretched.audio, 2.0, start_s=2.0, text=WORDS))
    assert found(ward.report()) == {"wrong_duration": ("04", "05", "06")}


def test_more_text_than_ctc_can_align(ward: Ward) -> None:
    # 1 s: 98 frames, 25 at a stride of 4
    for text in ("a" * 13, "a" * 14, "ab" * 12 + "a", "ab" * 13):
        ward.add(ward.noise(1.0), text=text)
    settings = DoctorSettings(fastest_letters_per_s=100)
    report = ward.report(stride=4, settings=settings)
    assert found(report) == {"unalignable": ("04", "06")}
    assert report.problems[0].details[0].endswith("04.wav: 25 frames, 27 needed")
    assert found(ward.report(stride=2, settings=settings)) == {}


def test_the_tokenizer_of_the_model_decides(ward: Ward) -> None:
    tokenizer = CharTokenizer.learn([WORDS])
    ward.add(text="lazy dogs")
    report = ward.report(tokenizer=tokenizer)
    assert found(report) == {"unknown_letters": ("03",)}
    assert report.problems[0].details[0].endswith("03.wav: a d g l y z")


def test_texts_that_cannot_be_what_is_said(ward: Ward) -> None:
    ward.add(text="...")
    ward.add(text="one")
    ward.add(text="long story " * 8)
    ward.add(text=None)
    assert found(ward.report()) == {"no_text": ("03",), "speech_rate": ("04", "05")}


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("the quick [noise] fox jumps", "'[' left square bracket, ']' right square bracket"),
        ("the quick\ufeff brown fox", "'\\ufeff' zero width no-break space"),
        ("the quick brown \N{CYRILLIC SMALL LETTER O}x", "'о' cyrillic small letter o"),
        ("the quick 🦊 brown fox", "'🦊' fox face"),
        ("the quick ٣ brown foxes", "'٣' arabic-indic digit three"),
    ],
)
def test_odd_characters(ward: Ward, text: str, what: str) -> None:
    for number in range(20):
        ward.add(text=f"{number} times; it's 5!")
    ward.add(text=text)
    (problem,) = ward.report(text=TextSettings(normaliser="basic-1")).problems
    if "٣" in text:  # digits are odd where the normaliser does not spell them
        assert "'1' digit one" in problem.details[1]
    else:
        (problem,) = ward.report().problems
        assert problem.examples == ("23",)
    assert problem.kind == "odd_characters"
    assert problem.details[-1].endswith(what)


def test_what_the_normaliser_drops_folds_and_leaves(ward: Ward) -> None:
    ward.add(text="it is £5, 50 % & café Café")
    ward.add(text="five € and/or “more”, really (yes) – the cafe\u0301")
    ward.add(text="Ψ and ψ sound alike, says the psychologist of Athens")
    settings = DoctorSettings(rare_script_share=0)
    folded = ward.report(settings=settings)
    assert found(folded) == {
        "dropped_characters": ("04",),
        "changed_letters": ("03", "04"),
        "foreign_letters": ("05",),
    }
    dropped, changed, foreign = folded.problems
    assert dropped.message == "1 recording with characters that the normaliser drops (english-1)"
    assert dropped.details == (
        "'/' solidus, 1 in all: '€ and/or “more”,' becomes 'and or more'",
        "'€' euro sign, 1 in all: 'five € and/or' becomes 'five and or'",
    )
    assert changed.message.endswith("basic-1 is for other languages and keeps them")
    (detail,) = changed.details
    assert detail.startswith("'é' latin small letter e with acute, 3 in all: '& café Café' becomes")
    assert foreign.details[0].startswith("'ψ' greek small letter psi, 2 in all: ")
    plain = ward.report(settings=settings, text=TextSettings(normaliser="basic-1"))
    assert found(plain) == {
        "odd_characters": ("03",),  # digits, which it does not spell
        "dropped_characters": ("03", "04"),
    }
    assert found(ward.report(settings=settings, text=TextSettings(normaliser="none"))) == {
        "odd_characters": ("03",)
    }


def test_a_sign_is_reported_once(ward: Ward) -> None:
    ward.add(text="the [quick] brown fox ★ jumps")
    assert found(ward.report()) == {"odd_characters": ("03",)}


def test_repeats(ward: Ward) -> None:
    same = ward.noise()
    ward.add(same, text="once upon a time", speaker="a")
    ward.add(same, text="twice upon a time", speaker="a")
    ward.add(text="Once upon a time!", speaker="a")
    ward.add(text="once upon a time", speaker="b")
    report = ward.report()
    assert found(report) == {"duplicate_audio": ("04",), "duplicate_text": ("05",)}
    assert "sounds like 03.wav in train" in report.problems[0].details[0]
    assert "as in 03.wav, by the same speaker: 'once upon a time'" in report.problems[1].details[0]
    nameless = [dataclasses.replace(example, speaker=None) for example in ward.examples[3:]]
    (*_, problem) = examine({"train": nameless}).problems
    assert problem.message == "2 recordings with the text of an earlier one"
    assert "as in 03.wav, speakers unknown" in problem.details[0]


def test_what_splits_share(ward: Ward) -> None:
    heard = ward.examples[0]
    test = [ward.add(speaker=heard.speaker, text="something new"), ward.add(speaker="new")]
    parts = {"train": ward.examples[:3], "test": test}
    report = examine(parts)
    assert found(report) == {"shared_text": ("04",), "shared_speaker": ("03",)}
    nameless = {"train": [ward.add(speaker=None)], "test": [ward.add(speaker=None, text="new one")]}
    assert found(examine(nameless)) == {}
    dataset = Dataset(
        tuple(ward.examples[:5]), ward.folder, {k: tuple(v) for k, v in parts.items()}
    )
    assert examine(dataset) == report


def test_a_recording_in_two_splits_makes_a_score_mean_nothing(ward: Ward) -> None:
    sound = ward.noise()
    parts = {"train": [ward.add(sound)], "valid": [ward.add(sound, text="jumps over the lazy dog")]}
    report = examine(parts)
    assert found(report) == {"shared_audio": ("04",)}
    assert "their score means nothing" in report.problems[0].message
    swapped = examine({"valid": parts["valid"], "train": parts["train"]})
    assert found(swapped) == {"shared_audio": ("04",)}


def test_without_listening(ward: Ward) -> None:
    ward.add(text="...")
    ward.add(text="x" * 60)
    ward.examples[0].audio.unlink()
    report = ward.report(listen=False, stride=4)
    assert found(report) == {
        "unreadable": ("00",),
        "no_text": ("03",),
        "unalignable": ("04",),
        "speech_rate": ("04",),
    }
    assert report.problems[0].details == (f"{ward.examples[0].audio} does not exist",)


def test_what_nobody_heard_and_no_manifest_states_is_not_too_short(ward: Ward) -> None:
    lasting = ward.add(duration_s=0.0)
    assert found(ward.report(listen=False)) == {}
    lasting.audio.unlink()
    assert found(ward.report(listen=False)) == {"unreadable": (lasting.id,)}
    assert found(ward.report(listen=True)) == {"unreadable": (lasting.id,)}


def bins(*durations_s: float) -> tuple[tuple[float, int], ...]:
    examples = [
        Example(str(at), Path(f"/{at}.wav"), duration_s)
        for at, duration_s in enumerate(durations_s)
    ]
    return examine({"all": examples}, listen=False).histogram


def test_histogram() -> None:
    assert bins() == ()
    assert bins(0.05, 0.3, 0.31) == ((0.0, 1), (0.1, 0), (0.2, 0), (0.3, 2))
    assert bins(1.9, 2.0, 20.0) == (
        (0.0, 1),
        (2.0, 1),
        *((float(s), 0) for s in range(4, 20, 2)),
        (20.0, 1),
    )
    assert bins(5.0, 5.1) == ((5.0, 2),)
    assert len(bins(3600.0, 1.0)) <= 14


def test_the_report_for_people_and_programs(ward: Ward) -> None:
    for _ in range(7):
        ward.add(ward.noise(3.0) * 0)
    report = ward.report()
    lines = report.render(width=40)
    assert lines[0] == "train: 10 recordings, 0.01 h, 10 speakers"
    assert "     2 s         3 █████████" in lines
    assert "     3 s         7 ████████████████████" in lines
    at = lines.index("warning: 7 recordings silent")
    assert lines[at + 1 :] == [
        *(f"    {ward.folder}/{number:02}.wav: -120 dB" for number in range(3, 8)),
        "    and 2 more",
    ]
    values = json.loads(json.dumps(report.to_dict()))
    assert values["problems"][0]["examples"] == [f"{number:02}" for number in range(3, 10)]
    statistics: Mapping[str, Any] = values["statistics"]["train"]
    assert (statistics["longest_s"], statistics["sample_rates_hz"]) == (3.0, {"16000": 10})


def test_what_doctor_names_can_be_left_out(ward: Ward) -> None:
    ward.add(text="x" * 300)
    dataset = Dataset(tuple(ward.examples), ward.folder)
    report = examine(dataset)
    assert set(report.failing) == {"03"}
    assert examine(dataset.without(report.failing)).errors == ()


@pytest.mark.shared
def test_real_recordings(shared_data: Path) -> None:
    valid = read_data(shared_data / "english" / "valid.jsonl").examples
    report = examine({"valid": [*valid[:20], *valid[-20:]]}, stride=4)
    assert report.errors == ()
    assert not found(report).keys() & {"silent", "upsampled", "low_rate", "wrong_duration"}
