import json
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from auricle.align import (
    Aligned,
    AlignSettings,
    Posteriors,
    Script,
    align_recording,
    force_align,
    search,
)
from auricle.aligner import align, align_many, posteriors_many
from auricle.bundle import LEXICON
from auricle.cli import app
from auricle.decode import BeamSettings, GreedySettings, Lexicon
from auricle.errors import DataError
from auricle.runtime import Recognizer
from auricle.text import BLANK, CharTokenizer, PhonemeTokenizer
from tones import GAP_S, RATE_HZ, SYMBOLS, TONE_S, save, sound, write

LETTERS = CharTokenizer((BLANK, " ", "'", *"abcdefghijklmnopqrstuvwxyz"))
FRAME_S = 0.04


def peaks(text: str, *, doubt: float = 0.0, seed: int = 0) -> NDArray[np.float32]:
    """(T, V) what a model hears of a text: every third frame a letter, blanks between them.

    `doubt` is the share of letters that it takes for others.
    """
    rng = np.random.default_rng(seed)
    symbols = len(LETTERS.symbols)
    log_probs = np.full((3 * len(text) + 3, symbols), np.log(1e-4), np.float32)
    heard = np.zeros(len(log_probs), np.int64)
    for n, letter in enumerate(LETTERS.encode(text)):
        wrong = letter != 1 and rng.random() < doubt
        heard[3 * n + 1] = rng.integers(3, symbols) if wrong else letter
    log_probs[np.arange(len(heard)), heard] = np.log(1 - 1e-4 * (symbols - 1))
    return log_probs


def aligned(log_probs: NDArray[np.float32], text: str, **settings: float) -> Aligned:
    starts_s = 10.0 + FRAME_S * np.arange(len(log_probs))
    heard = Posteriors(log_probs, starts_s, FRAME_S, 10.0 + FRAME_S * (len(log_probs) - 0.5))
    script = Script.of(text, LETTERS, "english-1")
    return align_recording(heard, script, LETTERS, AlignSettings.parse(settings), "en")


def said(answer: Aligned) -> str:
    return " ".join(word.text for word in answer.transcript.words)


def test_words_lie_where_their_letters_are() -> None:
    answer = aligned(peaks("the cat sat"), "the cat sat")
    assert (answer.missing, answer.extra) == ((), ())
    the, cat, sat = answer.transcript.words
    # Letter n is heard in frame 3 n + 1.
    assert (the.start_s, the.end_s) == pytest.approx((10 + 1 * FRAME_S, 10 + 8 * FRAME_S))
    assert (cat.start_s, cat.end_s) == pytest.approx((10 + 13 * FRAME_S, 10 + 20 * FRAME_S))
    assert sat.confidence == pytest.approx(1 - 1e-4 * 28)
    assert answer.transcript.language == "en"


def test_no_word_ends_after_its_recording() -> None:
    log_probs = peaks("cat")[:-4]
    answer = aligned(log_probs, "cat")
    assert answer.transcript.words[0].end_s == answer.transcript.duration_s


def test_words_that_were_not_said_are_missing() -> None:
    answer = aligned(peaks("the cat sat on"), "So, the big cat sat on it!")
    assert said(answer) == "the cat sat on"
    assert [(m.text, m.number) for m in answer.missing] == [("So,", 0), ("big", 2), ("it!", 6)]
    words = answer.transcript.words
    assert [m.after_s for m in answer.missing] == [0.0, words[0].end_s, words[-1].end_s]


def test_what_is_not_in_the_text_is_extra() -> None:
    answer = aligned(peaks("oh well the cat has sat down"), "the cat sat")
    assert said(answer) == "the cat sat"
    assert [(e.text, e.before) for e in answer.extra] == [("oh well", 0), ("has", 2), ("down", 3)]
    first, second, third = answer.extra
    words = answer.transcript.words
    assert 10 <= first.start_s < first.end_s <= words[0].start_s
    assert words[1].end_s < second.start_s < second.end_s < words[2].start_s
    assert words[2].end_s < third.start_s < third.end_s <= answer.transcript.duration_s


def test_another_word_is_missing_and_extra_a_doubtful_one_is_neither() -> None:
    answer = aligned(peaks("the elephant sat"), "the crocodile sat")
    assert [m.text for m in answer.missing] == ["crocodile"]
    assert [e.text for e in answer.extra] == ["elephant"]
    doubtful = aligned(peaks("the crocodyle sat"), "the crocodile sat")
    assert not doubtful.missing
    assert doubtful.transcript.words[1].confidence < 0.95


def test_strictly_every_word_is_found() -> None:
    answer = aligned(peaks("the cat has sat down"), "the big cat sat", omitted=0, extra=0)
    assert said(answer) == "the big cat sat"
    assert (answer.missing, answer.extra) == ((), ())
    with pytest.raises(DataError, match="15 symbols cannot be said in 12 frames"):
        aligned(peaks("cat"), "the cat sat and", omitted=0, extra=0)


def test_nothing_heard_and_nothing_to_hear() -> None:
    silence = peaks("")
    assert [m.text for m in aligned(silence, "the cat").missing] == ["the", "cat"]
    assert [m.text for m in aligned(silence[:0], "the cat").missing] == ["the", "cat"]
    heard = force_align(peaks("cat"), [], separator=1, settings=AlignSettings())
    assert LETTERS.decode(token.id for token in heard.insertions[0].tokens) == "cat"


def test_lines_become_segments_and_one_line_is_cut_at_pauses() -> None:
    log_probs = np.concatenate([peaks("the cat"), peaks("")[[0] * 40], peaks("sat on")])
    lines = aligned(log_probs, "the\ncat sat\n\non").transcript.segments
    assert [segment.text for segment in lines] == ["the", "cat sat", "on"]
    pauses = aligned(log_probs, "the cat sat on\n").transcript.segments
    assert [segment.text for segment in pauses] == ["the cat", "sat on"]


# --- texts --------------------------------------------------------------------------------------


def spelt(script: Script, symbols: Sequence[str] = LETTERS.symbols) -> list[list[str]]:
    return [["".join(symbols[id_] for id_ in way) for way in ways] for ways in script.ways]


def test_words_are_aligned_as_they_are_said_and_kept_as_they_are_written() -> None:
    script = Script.of("— “Dr. Who”,\nat 10:05 … don't!", LETTERS, "english-1")
    assert script.words == ("— “Dr.", "Who”,", "at", "10:05 …", "don't!")
    assert spelt(script) == [["dr"], ["who"], ["at"], ["ten oh five"], ["don't"]]
    assert script.lines == (0, 0, 1, 1, 1)
    assert script.separator == 1


def test_what_the_model_cannot_spell_is_named_all_at_once() -> None:
    with pytest.raises(DataError, match=r"no symbols for '好', 'ж': write"):
        Script.of("the 好 cat ж sat", LETTERS, "english-1")
    with pytest.raises(DataError, match="no words to align"):
        Script.of(" ... \n", LETTERS, "english-1")


PHONEMES = PhonemeTokenizer(
    (BLANK, " ", "AH", "IY", "DH", "K", "AE", "T", "R", "D", "EH"),
    {"the": ("DH", "AH"), "cat": ("K", "AE", "T"), "read": ("R", "IY", "D")},
)
VARIANTS = Lexicon(
    ("the", "read", "tea"), (("DH", "IY"), ("R", "EH", "D"), ("T", "IY")), closed=False
)


def test_phonemes_through_the_lexicon_of_the_tokenizer_and_others() -> None:
    script = Script.of("Cat, the READ tea", PHONEMES, "english-1", VARIANTS)
    assert spelt(script, PHONEMES.symbols) == [
        ["KAET"],
        ["DHAH", "DHIY"],
        ["RIYD", "REHD"],
        ["TIY"],
    ]
    with pytest.raises(DataError, match="'tea'"):
        Script.of("the tea", PHONEMES, "english-1")


def test_the_pronunciation_that_was_said_is_found() -> None:
    ids = {symbol: id_ for id_, symbol in enumerate(PHONEMES.symbols)}
    frames = [0, *(ids[s] for s in ("DH", "IY", " ", "R", "EH", "D")), 0]
    log_probs = np.log(np.eye(len(ids))[frames] * 0.9 + 0.1 / len(ids))
    script = Script.of("the read", PHONEMES, "english-1", VARIANTS)
    found = force_align(log_probs, script.ways, separator=script.separator)
    heard = [[PHONEMES.symbols[t.id] for t in span.tokens] for span in found.spans if span]
    assert heard == [["DH", "IY"], ["R", "EH", "D"]]


# --- long and damaged -----------------------------------------------------------------------------


def long_case(words: int) -> tuple[NDArray[np.float32], list[str]]:
    rng = np.random.default_rng(0)
    text = ["".join(rng.choice(list("abcdefgh"), rng.integers(1, 8))) for _ in range(words)]
    log_probs = peaks(" ".join(text), doubt=0.1)
    return log_probs - rng.random(log_probs.shape, np.float32) / 8, text  # no two paths are equal


def test_long_recordings_are_recomputed_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the path does: here a hundred words are left out in a row, and some put in."""
    log_probs, text = long_case(300)
    _, others = long_case(400)
    given = [*text[:120], *others[300:], *text[120:200], *text[205:]]
    script = Script.of(" ".join(given), LETTERS)

    def found() -> search.Alignment:
        settings = AlignSettings(omitted=1e-4)
        return force_align(log_probs, script.ways, separator=1, settings=settings)

    whole = found()
    monkeypatch.setattr(search, "SCORES_HELD", 0)
    monkeypatch.setattr(search, "BLOCK_FRAMES", 64)
    monkeypatch.setattr(search, "FEWEST_TRIED", 8)
    parts = found()
    assert parts.log_prob == pytest.approx(whole.log_prob, rel=1e-5)  # float32
    assert parts.spans == whole.spans
    tokens = [[t for each in found.insertions for t in each.tokens] for found in (parts, whole)]
    assert tokens[0] == tokens[1]
    assert whole.spans[120:220].count(None) > 90
    assert len(whole.insertions) >= 1


def test_memory_does_not_grow_with_frames_times_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "SCORES_HELD", 1 << 18)
    monkeypatch.setattr(search, "BLOCK_FRAMES", 256)
    log_probs, text = long_case(200)
    script = Script.of(" ".join(text), LETTERS)
    force_align(log_probs[:100], script.ways[:9], separator=1)
    tracemalloc.start()
    try:
        found = force_align(log_probs, script.ways, separator=1)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert None not in found.spans
    letters = sum(map(len, text)) + len(text)
    every_score = 2 * letters * len(log_probs) * 4
    assert peak_bytes < every_score / 4


@pytest.mark.parametrize(
    ("log_probs", "message"),
    [
        (np.zeros(5), "needed is"),
        (np.full((5, 29), 0.5), "at most 0"),
        (np.full((5, 29), np.nan), "NaN|at most 0"),
        (np.full((5, 29), -np.inf), "no symbol is possible"),
        (np.full((5, 3), -1.1), "symbols 1 to 5"),
    ],
)
def test_what_are_no_log_probabilities(log_probs: NDArray[np.float64], message: str) -> None:
    with pytest.raises(DataError, match=message):
        force_align(log_probs, [[[5]]], separator=1)


def test_a_word_needs_a_way_to_say_it() -> None:
    for words in ([[]], [[[]]]):
        with pytest.raises(DataError, match="every word"):
            force_align(peaks("cat"), words, separator=1)


# --- recordings -----------------------------------------------------------------------------------


@pytest.fixture
def recognizer(tmp_path: Path) -> Recognizer:
    return Recognizer.load(write(tmp_path / "tones.auricle", language="en"), threads=1)


def test_a_recording_and_its_text(recognizer: Recognizer, tmp_path: Path) -> None:
    path = save(tmp_path / "clip.wav", sound("abba cafe"))
    answer = align(recognizer, path, "abba fed cafe", settings=AlignSettings(omitted=1e-3))
    assert [m.text for m in answer.missing] == ["fed"]
    heard = recognizer.transcribe(path)
    assert [(w.text, w.start_s, w.end_s) for w in answer.transcript.words] == [
        (w.text, w.start_s, w.end_s) for w in heard.words
    ]
    assert answer.transcript.duration_s == heard.duration_s


def test_a_recording_that_is_cut_at_pauses(recognizer: Recognizer) -> None:
    clip = np.concatenate([sound("abba cafe", silence_s=2.0)] * 6)
    ((_, heard),) = posteriors_many(recognizer, [(clip, RATE_HZ)])
    assert isinstance(heard, Posteriors)
    assert (np.diff(heard.starts_s) > 0).all()
    assert len(heard.log_probs) == len(heard.starts_s)
    answer = align(recognizer, (clip, RATE_HZ), " ".join(["abba cafe"] * 6))
    starts_s = [word.start_s for word in answer.transcript.words]
    each_s = len(clip) / 6 / RATE_HZ
    letters_s = 5 * (TONE_S + GAP_S)
    wanted_s = [n * each_s + 2.0 + word for n in range(6) for word in (0.0, letters_s)]
    assert starts_s == pytest.approx(wanted_s, abs=0.03)


def test_what_is_not_in_the_text_is_words_even_of_phonemes(tmp_path: Path) -> None:
    phones = {"unit": "phoneme", "symbols": [*SYMBOLS[:2], *"ABCDEF"]}
    lexicon = b"cab C A B\nface F A C E\nbed B E D\n"
    clip = save(tmp_path / "clip.wav", sound("cab face bed fade"))
    for decode in (GreedySettings(), BeamSettings(beam=9)):
        write(
            tmp_path / "p.auricle",
            more={LEXICON: lexicon},
            tokenizer=phones,
            decode=decode.to_dict(),
        )
        recognizer = Recognizer.load(tmp_path / "p.auricle")
        found = align(recognizer, clip, "cab bed", settings=AlignSettings(extra=0.01))
        assert [word.text for word in found.transcript.words] == ["cab", "bed"]
        assert found.extra[0].text.split()[0] == "face"
        assert not any(letter in each.text for each in found.extra for letter in "ABCDEF-")
        assert all(each.start_s < each.end_s for each in found.extra)


def test_one_that_fails_does_not_stop_the_others(recognizer: Recognizer, tmp_path: Path) -> None:
    good = save(tmp_path / "good.wav", sound("face"))
    pairs = [(good, "face"), (tmp_path / "gone.wav", "face"), (good, "好"), (good, "a face")]
    answers = [answer for _, answer in align_many(recognizer, pairs)]
    assert [type(answer) for answer in answers] == [Aligned, DataError, DataError, Aligned]
    assert "gone.wav" in str(answers[1])
    assert "good.wav: the model has no symbols for '好'" in str(answers[2])
    assert not list(align_many(recognizer, []))


# --- the command ----------------------------------------------------------------------------------


def run(*words: str | Path, status: int = 0) -> str:
    result = CliRunner().invoke(app, ["align", *map(str, words)])
    assert result.exit_code == status, result.output
    return result.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "tones.auricle")
    folder = tmp_path / "sounds"
    folder.mkdir()
    for name, text in (("a", "abba"), ("b", "face a cab")):
        save(folder / f"{name}.wav", sound(text))
        (folder / f"{name}.txt").write_text(f"{text}\n", encoding="utf-8")
    return folder


def test_the_command_writes_every_format(folder: Path, tmp_path: Path) -> None:
    model = tmp_path / "tones.auricle"
    (tmp_path / "text.txt").write_text("abba fed", encoding="utf-8")
    values = json.loads(
        run(folder / "a.wav", tmp_path / "text.txt", "omitted=0.01", "--model", model)
    )
    assert [word["word"] for word in values["words"]] == ["abba"]
    assert values["missing"][0] | {"after": 0} == {"word": "fed", "number": 1, "after": 0}
    assert values["extra"] == []
    told = CliRunner().invoke(
        app,
        [
            "align",
            str(folder / "a.wav"),
            str(tmp_path / "text.txt"),
            "omitted=0.01",
            "--model",
            str(model),
        ],
    )
    assert told.stderr == (
        "a: 1 words of the text not heard, 0 times something heard that is not in the text:"
        " see missing and extra\n"
    )
    strict = run(folder / "a.wav", tmp_path / "text.txt", "--strict", "--model", model)
    assert len(json.loads(strict)["words"]) == 2
    lines = run(folder / "b.wav", "--model", model, "--format", "ctm").splitlines()
    assert [line.split()[::4] for line in lines] == [["b", "face"], ["b", "a"], ["b", "cab"]]


def test_the_command_takes_folders(folder: Path, tmp_path: Path) -> None:
    model, out = tmp_path / "tones.auricle", tmp_path / "out"
    for style in ("textgrid", "srt"):
        run(folder, "--model", model, "--format", style, "--output", out)
    assert sorted(path.name for path in out.iterdir()) == [
        "a.srt",
        "a.textgrid",
        "b.srt",
        "b.textgrid",
    ]
    assert "face a cab" in (out / "b.srt").read_text(encoding="utf-8")
    words = ["align", str(folder), "--model", str(model), "--output", str(out)]
    assert CliRunner().invoke(app, words).stderr == f"2 written to {out}/\n"
    lines = run(folder, "omitted=0.1", "--model", model).splitlines()
    assert [json.loads(line)["file"] for line in lines] == ["a", "b"]


def test_the_command_goes_on_after_a_bad_one(folder: Path, tmp_path: Path) -> None:
    (folder / "a.txt").write_text("好", encoding="utf-8")
    out = run(folder, "--model", tmp_path / "tones.auricle", status=2)
    assert [json.loads(line)["file"] for line in out.splitlines()] == ["b"]
