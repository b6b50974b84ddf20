"""From a folder to text, through the command line alone: it must really learn."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from auricle.bundle import Bundle
from auricle.data import read_data
from auricle.runtime import Recognizer
from toys import TINY, corpus

pytestmark = pytest.mark.slow


def auricle(*words: str | Path, status: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "auricle", *map(str, words)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "100"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stderr
    return done


@pytest.fixture(scope="module", name="folder")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("learns")
    corpus(folder, 300, seed=1, name="train")
    corpus(folder, 30, seed=2, name="test")
    train = folder / "train.jsonl"
    auricle("train", train, "--out", folder / "run", *TINY, "budget.epochs=12", "loop.seed=1")
    auricle("export", folder / "run", folder / "model.auricle", "--language", "x-tones")
    return folder


def figures(folder: Path, model: str) -> dict[str, dict[str, float]]:
    done = auricle("evaluate", folder / model, folder / "test.jsonl", "--format", "json")
    answer: dict[str, dict[str, float]] = json.loads(done.stdout)
    return answer


def test_it_learned_the_language(folder: Path) -> None:
    assert figures(folder, "run")["wer"]["rate"] <= 0.05


def test_the_bundle_answers_like_the_run(folder: Path) -> None:
    run, bundle = figures(folder, "run"), figures(folder, "model.auricle")
    assert bundle["wer"]["rate"] == pytest.approx(run["wer"]["rate"], abs=0.01)
    assert bundle["cer"]["reference"] == run["cer"]["reference"]


def test_a_run_has_a_report_with_what_it_heard(folder: Path) -> None:
    first, *others = (folder / "test.jsonl").read_text(encoding="utf-8").splitlines()
    wrong = json.dumps(json.loads(first) | {"text": "abcde"})  # one error at least
    (folder / "wrong.jsonl").write_text("\n".join([wrong, *others]), encoding="utf-8")
    page = folder / "report.html"
    auricle("evaluate", folder / "run", folder / "wrong.jsonl", "--report", page)
    html = page.read_text(encoding="utf-8")
    assert html.count("<article>") == html.count(">said</text>") > 0  # aligned by its posteriors


def test_the_card_says_what_was_measured(folder: Path) -> None:
    card = Bundle.read(folder / "model.auricle").card
    assert card.metrics["valid"]["wer"] <= 0.1
    assert card.metrics["export"]["gate"]["difference"] < 1e-3
    assert {"fp32", "int8"} <= card.metrics["export"].keys()
    assert card.language == "x-tones"


def test_words_come_with_true_times(folder: Path) -> None:
    example = read_data(folder / "test.jsonl").examples[0]
    transcript = Recognizer.load(folder / "model.auricle").transcribe(example.audio)
    assert transcript.text == example.text
    # 50 ms of silence, then letters of 140 ms, spaces of 160 ms.
    start_s = 0.05
    for word, text in zip(transcript.words, str(example.text).split(), strict=True):
        assert word.start_s == pytest.approx(start_s, abs=0.12)
        start_s += 0.14 * len(text) + 0.16


def test_transcribe_writes_one_file_per_recording(folder: Path, tmp_path: Path) -> None:
    audio = sorted((folder / "test_audio").glob("000[0-3].wav"))
    broken = tmp_path / "broken.wav"
    broken.write_text("no sound at all")
    done = auricle(
        "transcribe", *audio, broken, "--model", folder / "model.auricle",
        "--format", "json", "--output", tmp_path / "out", status=2,
    )  # fmt: skip
    assert "broken.wav" in done.stderr
    assert "1 of 5 recordings" in done.stderr
    assert "Traceback" not in done.stderr
    written = sorted((tmp_path / "out").iterdir())
    assert [path.name for path in written] == [f"000{n}.json" for n in range(4)]
    facts = json.loads(written[0].read_text())
    assert facts["text"] == read_data(folder / "test.jsonl").examples[0].text
    assert facts["segments"][0]["text"].strip()


def test_the_run_goes_on_with_a_larger_budget(folder: Path) -> None:
    done = auricle(
        "train", folder / "train.jsonl", "--out", folder / "run", *TINY,
        "budget.epochs=13", "loop.seed=1",
    )  # fmt: skip
    assert "the budget is used" in done.stderr
    epochs = [json.loads(line) for line in (folder / "run" / "log.jsonl").read_text().splitlines()]
    assert max(line.get("epoch", 0.0) for line in epochs) == 13.0
