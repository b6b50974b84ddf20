import json
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from auricle import audio
from auricle.align import Posteriors
from auricle.cli import app
from auricle.data import Example, write_manifest
from auricle.drawing import Box, Heat, Text
from auricle.metrics import reliability, score_words
from auricle.report import Answers, Listened, Other, html_report
from auricle.report.figures import figure
from auricle.report.groups import backgrounds_db, keys_of
from auricle.report.tables import confusion_tables, groups, histogram, marked, surety
from auricle.results import Segment, Transcript, Word
from auricle.text import BLANK, CharTokenizer
from tones import RATE_HZ, save, sound, write

LETTERS = CharTokenizer((BLANK, " ", *"abcdef"))
HOSTILE = '<script>alert("x")</script> & \' \x00'
VOID = {"meta", "br", "input", "img"}


class Page(HTMLParser):
    """Sees to it that every element is closed, and keeps what the tests ask for."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.attributes if name == tag]


def transcript(text: str, duration_s: float) -> Transcript:
    count = max(1, len(text.split()))
    step_s = duration_s / count
    words = [Word(w, n * step_s, (n + 0.8) * step_s, 0.9) for n, w in enumerate(text.split())]
    return Transcript.of([Segment.of(words)] if words else [], duration_s)


def answers(folder: Path, pairs: Sequence[tuple[str, str]]) -> Answers:
    rng = np.random.default_rng(0)
    examples = []
    for n, (text, _) in enumerate(pairs):
        path = folder / f"{n}.wav"
        clip = 0.1 * rng.normal(size=8_000 * (1 + n % 4)).astype(np.float32)
        audio.save(path, clip, 16_000)
        examples.append(
            Example(
                id=f"clips/{n}",
                audio=path,
                duration_s=len(clip) / 16_000,
                text=text,
                speaker="ab"[n % 2],
                extra={"accent": "xyz"[n % 3], "age": 20 + n},
            )
        )
    references, hypotheses = zip(*pairs, strict=True)
    transcripts = [
        transcript(text, e.duration_s) for text, e in zip(hypotheses, examples, strict=True)
    ]
    return Answers("model.auricle", "test.jsonl", examples, references, hypotheses, transcripts)


PAIRS = [
    ("a cab", "a cab"),
    ("face a cab", "fade a cab"),
    ("a bad cafe", "a bad cafe bed"),
    ("dead", ""),
    ("feed a deaf cab", "feed deaf cab"),
    ("a bead", "a bed"),
] * 3


def heard(example: Example, text: str) -> Listened:
    frames = max(4, round(example.duration_s / 0.04))
    log_probs = np.full((frames, 8), math.log(0.02))
    best = np.zeros(frames, int)
    best[1 : 1 + 2 * len(text) : 2] = LETTERS.encode(text)
    log_probs[np.arange(frames), best] = math.log(0.86)
    posteriors = Posteriors(log_probs, 0.04 * np.arange(frames), 0.04, example.duration_s)
    return Listened(posteriors, LETTERS, "english-1")


def test_the_page_is_whole_and_asks_for_nothing(tmp_path: Path) -> None:
    given = answers(tmp_path, PAIRS)

    def listen(examples: Sequence[Example]) -> list[Listened]:
        return [heard(example, "a cab") for example in examples]

    html = html_report(given, listen=listen)
    page = Page(html)
    assert html.startswith("<!doctype html>")
    links = [v for _, a in page.attributes for k, v in a.items() if k in ("src", "href")]
    assert links
    assert all(str(link).startswith(("data:", "#")) for link in links)
    assert not re.search(r"@import|url\(|https?://(?!www\.w3\.org/)", html)
    assert len(html) < 2e6
    assert len(page.all("audio")) == len(page.all("article")) == 12
    counts = score_words(given.references, given.hypotheses)
    assert f"{100 * counts.rate:.2f} %" in page.text
    low, high = counts.interval() or (0, 0)
    assert f"95 % interval {100 * low:.2f} to {100 * high:.2f} %" in page.text


def test_the_page_is_for_everybody(tmp_path: Path) -> None:
    html = html_report(answers(tmp_path, PAIRS))
    page = Page(html)
    assert page.all("html")[0]["lang"] == "en"
    assert any(meta.get("name") == "viewport" for meta in page.all("meta"))
    assert "prefers-color-scheme:dark" in html
    assert len(page.all("caption")) == len(page.all("table")) > 5
    assert all(cell["scope"] in ("col", "row") for cell in page.all("th"))
    assert all(audio["aria-label"] for audio in page.all("audio"))
    assert all(svg["role"] == "img" and svg["aria-label"] for svg in page.all("svg"))
    anchors = {section["id"] for section in page.all("section")}
    assert {str(a["href"]).removeprefix("#") for a in page.all("a")} == anchors
    headings = [int(tag[1]) for tag, _ in page.attributes if re.fullmatch("h[1-6]", tag)]
    assert headings[0] == 1
    assert all(b - a <= 1 for a, b in pairwise(headings))


def test_texts_are_only_texts(tmp_path: Path) -> None:
    given = answers(tmp_path, [(HOSTILE, f"{HOSTILE} x"), ("a", HOSTILE)] * 3)
    examples = [
        replace(e, id=HOSTILE, speaker=f"{HOSTILE}{n}", extra={HOSTILE: f"{HOSTILE}{n % 2}"})
        for n, e in enumerate(given.examples)
    ]
    hostile = replace(given, model=HOSTILE, data=HOSTILE, examples=examples)
    other = Other(HOSTILE, [HOSTILE] * 6)
    page = Page(html_report(hostile, other=other))
    assert len(page.all("script")) == 1
    assert "\x00" not in page.text
    assert f"How well {HOSTILE[:-1]}\ufffd hears" in page.text


def test_two_systems_are_held_against_each_other(tmp_path: Path) -> None:
    given = answers(tmp_path, PAIRS)
    page = Page(html_report(given, other=Other("perfect", [said for said, _ in PAIRS])))
    rate = score_words(given.references, given.hypotheses).rate
    assert (
        f"The word error rate of model.auricle is {100 * rate:.2f} points higher than that of"
        " perfect" in page.text
    )
    assert "better in 0 utterances and worse in 15" in page.text
    assert "more than chance explains" in page.text
    assert "Where model.auricle worsens most" in page.text
    assert "Where model.auricle improves most" not in page.text
    by_speaker = score_words(given.references, given.hypotheses).by("ab" * 9)
    assert f"0.00 %+{100 * by_speaker['b'].rate:.2f}" in page.text
    alike = Page(html_report(given, other=Other("same", list(given.hypotheses))))
    assert "within what chance explains" in alike.text


def test_a_recording_that_is_gone_does_not_stop_the_page(tmp_path: Path) -> None:
    given = answers(tmp_path, [("a cab", "a bad"), ("a", "a")])
    given.examples[0].audio.unlink()
    page = Page(html_report(given))
    assert "0.wav" in page.text
    assert not page.all("audio")
    perfect = Page(html_report(replace(given, hypotheses=given.references)))
    assert not perfect.all("article")


def test_much_sound_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("auricle.report.MOST_SOUND_BYTES", 9_000)
    page = Page(html_report(answers(tmp_path, PAIRS)))
    assert 0 < len(page.all("audio")) < 12 == len(page.all("article"))
    assert "to keep the page small" in page.text


def test_long_utterances_are_cut_and_say_so(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    audio.save(path, np.zeros(25 * 16_000, np.float32), 16_000)
    example = Example(id="long", audio=path, duration_s=25.0, text="a")
    drawn = figure(example, "a", transcript("a b c d e", 25.0), None)
    assert (drawn.shown_s, drawn.cut, drawn.aligned) == (20.0, True, None)
    texts = [shape.text for shape in drawn.picture.shapes if isinstance(shape, Text)]
    assert {"a", "b", "c", "d"} < set(texts)
    assert "e" not in texts
    given = Answers("m", "d", [example], ["a"], ["b"], [transcript("b", 25.0)])
    assert "Only its first 20 s are shown." in Page(html_report(given)).text


def test_a_figure_shows_words_posteriors_and_what_is_wrong(tmp_path: Path) -> None:
    given = answers(tmp_path, [("a cab", "a bad")] * 4)
    example = given.examples[3]
    drawn = figure(example, "a cab", transcript("a bad", 2.0), heard(example, "a cab"))
    assert drawn.aligned
    assert [w.text for w in drawn.aligned.transcript.words] == ["a", "cab"]
    words = {s.text: s.colour for s in drawn.picture.shapes if isinstance(s, Text) and s.upwards}
    assert words == {"a": "ink", "cab": "bad", "bad": "bad"}
    _, posteriors = [s for s in drawn.picture.shapes if isinstance(s, Heat)]
    # Rows: space a b c, the first on top; the frames of c, a, b are 5, 7, 9.
    assert posteriors.values.shape == (4, 50)
    assert posteriors.values.argmax(axis=1).tolist() == [3, 1, 9, 5]


def test_a_missed_word_is_the_right_one_of_several(tmp_path: Path) -> None:
    example = answers(tmp_path, [("a", "a")] * 4).examples[3]
    drawn = figure(example, "a bad a cab a", transcript("a a cab a", 2.0), None)
    boxes = [s for s in drawn.picture.shapes if isinstance(s, Box) and s.opacity < 1]
    assert [box.colour for box in boxes] == ["accent"] * 4
    wrong = figure(example, "a cab a", transcript("a deaf a", 2.0), None)
    boxes = [s for s in wrong.picture.shapes if isinstance(s, Box) and s.opacity < 1]
    assert [box.colour for box in boxes] == ["accent", "bad", "accent"]


# --- groups and tables ----------------------------------------------------------------------------


def test_keys_come_from_the_manifest_and_the_sound(tmp_path: Path) -> None:
    given = answers(tmp_path, PAIRS)
    keys = keys_of(given.examples, given.references)
    assert list(keys) == ["length", "words per second", "speaker", "accent", "age"]
    assert sorted(set(keys["length"])) == ["2 to 5 s", "under 2 s"]
    assert keys["accent"][:4] == ["x", "y", "z", "x"]
    assert sorted(set(keys["age"])) == ["24 to 28", "28 to 33", "33 and more", "under 24"]
    unique = [replace(e, extra={"path": str(n)}) for n, e in enumerate(given.examples)]
    assert "path" not in keys_of(unique, given.references)


def test_the_background_is_estimated_in_decibel(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(size=32_000).astype(np.float32)
    examples = []
    for name, loud in (("a", 1.0), ("b", 10.0), ("c", 100.0)):
        clip = noise * 1e-3
        clip[8_000:24_000] *= loud
        audio.save(tmp_path / f"{name}.wav", clip, 16_000, subtype="FLOAT")
        examples.append(Example(id=name, audio=tmp_path / f"{name}.wav", duration_s=2.0))
    found = backgrounds_db([*examples, Example(id="gone", audio=tmp_path / "gone.wav")])
    assert found[:3] == pytest.approx([1, 21, 41], abs=1.5)
    assert math.isnan(found[3])


def test_groups_show_the_worst_first() -> None:
    counts = score_words(["a b", "a b", "a b"], ["a b", "a c", "c d"])
    html = groups("k", counts.by(["good", "bad", "worst"]), None)
    assert re.findall(r'<th scope="row">(\w+)', html) == ["worst", "bad", "good"]
    many = score_words(["a"] * 60, ["b"] * 60).by([f"s{n}" for n in range(60)])
    assert groups("k", many, None).count("<tr>") == 41
    assert "the worst 40 of 60" in groups("k", many, None)


def test_every_utterance_has_its_bar() -> None:
    counts = score_words(["a b"] * 5, ["a b", "a c", "c d", "c d e f", ""])
    bars = [s.text for s in histogram(counts).shapes if isinstance(s, Text) and s.size == 10.5]
    assert bars == ["1", *"00001", *"0000", "2", "1"]  # 0, ... 50 %, ... 100 %, more


def test_confidence_is_held_against_the_truth(tmp_path: Path) -> None:
    given = answers(tmp_path, [("a b a b", "a b a c"), ("a", "a"), ("b", "b")])
    html = html_report(given)
    # Five of six words are right, and the model was sure of each to 0.9.
    assert "Of 6 words" in html
    assert f"is {0.9 - 5 / 6:.3f}" in html
    bins = reliability([0.9, 0.9, 0.2], [True, False, False])
    boxes = [s for s in surety(bins).shapes if isinstance(s, Box) and s.colour == "accent"]
    assert [round(box.height / boxes[1].height, 6) for box in boxes] == [0.0, 1.0]
    parted = replace(given, hypotheses=["a b a c d", "a", "b"])  # by the normaliser
    assert "Of 2 words" in html_report(parted)
    silent = answers(tmp_path, [("a", "")])
    assert "How sure it is" not in html_report(silent)


def test_confusions_and_marks() -> None:
    html = confusion_tables(["the cat", "the cat", "a b"], ["the hat", "the hat", "a"])
    assert '<th scope="row">cat \u2192 hat</th><td>2</td>' in html
    assert '<th scope="row">c \u2192 h</th><td>2</td>' in html
    assert '<th scope="row">b</th><td>1</td>' in html
    assert marked("the cat sat", "the hat sat up") == (
        "the <del>cat</del> <ins>hat</ins> sat <ins>up</ins>"
    )


# --- the command ----------------------------------------------------------------------------------


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Two recordings of a model that hears tones; the transcript of one is wrong."""
    write(tmp_path / "tones.auricle", settings={"text": {"normaliser": "english-1"}})
    examples = []
    for name, said, text in (("a", "abba cafe", "Abba, cafe"), ("b", "face", "fade")):
        clip = sound(said)
        path = save(tmp_path / f"{name}.wav", clip)
        examples.append(Example(id=name, audio=path, duration_s=len(clip) / RATE_HZ, text=text))
    write_manifest(tmp_path / "test.jsonl", examples)
    return tmp_path


def run(*words: str | Path, status: int = 0) -> str:
    result = CliRunner().invoke(app, ["evaluate", *map(str, words)])
    assert result.exit_code == status, result.output
    return result.stdout


def test_the_command_writes_the_page(corpus: Path) -> None:
    model, data, report = (corpus / name for name in ("tones.auricle", "test.jsonl", "r.html"))
    run(model, data, "--report", report, "--answers", corpus / "heard.jsonl")
    page = Page(report.read_text(encoding="utf-8"))
    assert "1 errors in 1 words" in page.text
    assert "33.33 %" in page.text
    labels = [svg["aria-label"] for svg in page.all("svg")]
    assert "b: waveform, mel bands, posteriors and words over time" in labels
    lines = (corpus / "heard.jsonl").read_text(encoding="utf-8").replace("face", "FADE!")
    (corpus / "other.jsonl").write_text(lines, encoding="utf-8")
    options = (model, data, "--against", corpus / "other.jsonl")
    assert "against other: +33.33 points of WER" in run(*options)
    values = json.loads(run(*options, "--format", "json", "--report", report, "--beam", "7"))
    assert values["change"] == pytest.approx(1 / 3)
    assert (values["better"], values["worse"]) == (0, 1)
    text = Page(report.read_text(encoding="utf-8")).text
    low, high = (f"{100 * each:+.2f}" for each in values["interval"])
    assert (
        "The word error rate of tones.auricle --beam 7 is 33.33 points higher than that of other"
        f" (95 % interval of the change {low} to {high}, p = {values['p_value']:.4f})" in text
    )
    assert "better in 0 utterances and worse in 1" in text
    assert "tones.auricle --beam 7: tones.auricle, beam, beam 7, alpha 0.5, beta 1" in text
    assert "other: tones.auricle, greedy" in text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"id": "a", "pred_text": "x"}', "no answer to 1 of 2 examples, b for one"),
        ('{"id": "a"}', "other.jsonl:1: needed"),
        ("[1]\n", "other.jsonl:1: needed"),
        ("no json", "other.jsonl:1: needed"),
        (None, r"cannot read the answers (there is no such file)"),
        ("\udcff", "cannot read the answers (byte 0 is not UTF-8"),
    ],
)
def test_answers_that_cannot_be_compared(
    corpus: Path, content: str | None, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("auricle.cli.evaluate.answer", never)
    other = corpus / "other.jsonl"
    if content is not None:
        other.write_text(content, encoding="utf-8", errors="surrogateescape")
    words = ["evaluate", str(corpus / "tones.auricle"), str(corpus / "test.jsonl")]
    result = CliRunner().invoke(app, [*words, "--against", str(other)])
    assert message in str(result.exception)


def never(*_: object) -> None:
    pytest.fail("the work was begun")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--by", "spaeker"), "has no spaeker to group by"),
        (("--answers", "."), "a folder; name the file"),
        (("--report", "."), "a folder; name the file"),
    ],
)
def test_what_was_asked_is_checked_before_the_work(
    corpus: Path, words: tuple[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("auricle.cli.evaluate.answer", never)
    given = ["evaluate", str(corpus / "tones.auricle"), str(corpus / "test.jsonl"), *words]
    assert message in str(CliRunner().invoke(app, given).exception)
