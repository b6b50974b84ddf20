"""From recordings to a served classifier, by the commands that a user types."""

import csv
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from auricle import audio
from auricle.cli import app
from auricle.data import read_data, write_manifest
from auricle.errors import ConfigError, DataError
from toys import PITCH_HZ, RATE_HZ, corpus, say

SETTINGS = (
    "encoder={kind='residual_wave', stem=8, channels=[12, 16], dropout=0}",
    "window={window_s=0.25, hop_s=0.1}",
    "features.mels=20",
    "augment={speeds=[1.0], time_masks=0, frequency_masks=0, shift_ms=20}",
    "batches={seconds=8, examples=16, workers=1, short_first=false}",
    "optimizer={rate=5e-3, warmup_steps=10}",
    "average={decay=0.9}",
    "loop.tensorboard=false",
)


def auricle(*words: str | Path) -> Result:
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def letters(folder: Path, count: int, seed: int) -> None:
    """A folder for each letter, with its recordings."""
    rng = np.random.default_rng(seed)
    for letter in PITCH_HZ:
        (folder / letter).mkdir(parents=True)
        for number in range(count):
            audio.save(folder / letter / f"{number}.wav", say(letter, rng), RATE_HZ)


@pytest.fixture(scope="module", name="made")
def _made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("letters")
    for split, count, seed in (("train", 12, 0), ("valid", 4, 1), ("test", 6, 2)):
        letters(folder / "data" / split, count, seed)
    words = ("train", folder / "data", "--task", "clip", "--out", folder / "run")
    result = auricle(*words, *SETTINGS, "budget.steps=60")
    assert result.exit_code == 0, result.output
    result = auricle("export", folder / "run", folder / "m.auricle", "precision=fp32")
    assert result.exit_code == 0, result.output
    return folder


@pytest.mark.slow
def test_a_folder_per_label_is_learned_and_scored(made: Path) -> None:
    figures = []
    for model in ("run", "m.auricle"):
        words = ("--split", "test", "--format", "json", "--answers", made / "answers.jsonl")
        result = auricle("evaluate", made / model, made / "data", *words)
        figures.append(json.loads(result.stdout))
    assert figures[0]["accuracy"] > 0.9
    assert figures[0]["confusion"] == figures[1]["confusion"]
    low, high = figures[0]["intervals"]["accuracy"]
    assert low <= figures[0]["accuracy"] <= high
    assert len((made / "answers.jsonl").read_text().splitlines()) == 30


@pytest.mark.slow
def test_classify_writes_all_its_formats(made: Path, tmp_path: Path) -> None:
    clips = sorted((made / "data" / "test" / "a").glob("*.wav"))[:2]
    text = auricle("classify", *clips, "--model", made / "m.auricle").stdout
    assert [line.split(": ")[1][:2] for line in text.splitlines()] == ["a ", "a "]
    words = ("--model", made / "m.auricle", "--top", "3", "--format")
    rows = json.loads(auricle("classify", *clips, *words, "json").stdout)
    assert [(row["chosen"], len(row["labels"])) for row in rows] == [(["a"], 3)] * 2
    table = list(csv.DictReader(io.StringIO(auricle("classify", *clips, *words, "csv").stdout)))
    assert [row["rank"] for row in table] == ["1", "2", "3"] * 2
    assert [row["label"] for row in table[::3]] == ["a", "a"]
    broken = tmp_path / "broken.wav"
    broken.write_text("no sound")
    result = auricle("classify", broken, clips[0], "--model", made / "m.auricle")
    assert result.exit_code == 2
    assert str(broken) in result.stderr
    assert str(clips[0]) in result.stdout


@pytest.mark.slow
def test_keywords_are_spotted_where_they_are(made: Path, tmp_path: Path) -> None:
    quiet = np.random.default_rng(5).normal(0, 1e-3, RATE_HZ).astype(np.float32)
    tone = say("c", np.random.default_rng(6))
    audio.save(tmp_path / "long.wav", np.concatenate([quiet, tone, quiet]), RATE_HZ)
    words = ("--hop", "0.05", "--format", "json", "--set", "keywords=['c']")
    fast = ("--set", "smoothing=1", "--set", "threshold=0.4", "--set", "refractory_s=0")
    result = auricle("spot", tmp_path / "long.wav", "--model", made / "m.auricle", *words, *fast)
    found = [json.loads(line) for line in result.stdout.splitlines()]
    middle_s = 1.0 + len(tone) / RATE_HZ / 2
    assert found
    assert all(each["start_s"] < middle_s < each["end_s"] for each in found)
    result = auricle("spot", tmp_path / "long.wav", "--model", made / "m.auricle", "--alarms")
    assert "alarms in 0.00 h" in result.stdout


@pytest.mark.slow
def test_every_fold_is_answered_by_a_run_that_never_saw_it(made: Path, tmp_path: Path) -> None:
    examples = read_data(made / "data" / "train", what="label").examples
    rows = []
    for n, example in enumerate(examples):
        values = {"audio_filepath": str(example.audio), "label": example.labels[0]}
        rows.append(json.dumps(values | {"fold": n % 2}) + "\n")
    (tmp_path / "all.jsonl").write_text("".join(rows))
    words = ("crossval", tmp_path / "all.jsonl", "--by", "fold", "--out", tmp_path / "runs")
    result = auricle(*words, *SETTINGS, "budget.steps=40")
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "runs" / "crossval.json").read_text())
    assert [row["clips"] for row in report["folds"]] == [30, 30]
    assert report["all"]["clips"] == 60
    assert report["all"]["accuracy"] > 0.6
    for fold in "01":
        seen = read_data(tmp_path / "runs" / f"fold_{fold}", what="label").examples
        kept = {example.audio for example in examples[int(fold) :: 2]}
        assert kept.isdisjoint(example.audio.resolve() for example in seen)


@pytest.mark.slow
def test_what_labels_cannot_do_is_refused(made: Path) -> None:
    words = ("evaluate", made / "m.auricle", made / "data", "--split", "test")
    with pytest.raises(ConfigError, match="answers with labels: --report would do nothing"):
        auricle(*words, "--report", "x.html")
    with pytest.raises(ConfigError, match="answers with labels: --greedy would do nothing"):
        auricle(*words, "--greedy")


@pytest.mark.slow
def test_folds_begin_with_a_trained_model(made: Path, tmp_path: Path) -> None:
    rows = [
        {"audio_filepath": str(path), "label": path.parent.name, "fold": n % 2}
        for n, path in enumerate(sorted((made / "data" / "valid").rglob("*.wav")))
    ]
    (tmp_path / "all.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ("crossval", tmp_path / "all.jsonl", "--init", made / "m.auricle")
    result = auricle(*words, "--out", tmp_path / "runs", "budget.steps=1")
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "runs" / "crossval.json").read_text())
    assert report["all"]["accuracy"] > 0.8  # one update from nothing would guess
    again = auricle(*words, "--out", tmp_path / "runs", "budget.steps=1")
    assert json.loads((tmp_path / "runs" / "crossval.json").read_text()) == report, again.output


@pytest.mark.slow
def test_a_folder_per_label_is_parted_by_recordings(made: Path, tmp_path: Path) -> None:
    words = ("crossval", made / "data" / "valid", "--init", made / "m.auricle", "--folds", "2")
    result = auricle(*words, "--out", tmp_path / "runs", "budget.steps=1")
    assert result.exit_code == 0, result.output
    assert "no speakers are known" in result.stderr
    report = json.loads((tmp_path / "runs" / "crossval.json").read_text())
    clips = len(list((made / "data" / "valid").rglob("*.wav")))
    assert sum(row["clips"] for row in report["folds"]) == report["all"]["clips"] == clips
    assert report["by"] == "file"


@pytest.mark.slow
def test_labels_from_another_key_and_mistakes_are_named(made: Path, tmp_path: Path) -> None:
    rows = [
        {"audio_filepath": str(path), "mood": path.parent.name}
        for path in sorted((made / "data" / "valid").rglob("*.wav"))
    ]
    manifest = tmp_path / "moods.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ("evaluate", made / "m.auricle", manifest, "--format", "json")
    result = auricle(*words, "--label", "mood")
    assert json.loads(result.stdout)["accuracy"] > 0.8
    with pytest.raises(Exception, match="no temper to take for a label; its keys are speaker"):
        auricle(*words, "--label", "temper")
    shutil.copytree(made / "data" / "train" / "a", tmp_path / "one" / "a")
    with pytest.raises(DataError, match=r"no label \(key label, .*or one folder per label"):
        auricle("train", tmp_path / "one", "--task", "clip", "--out", tmp_path / "run")


@pytest.mark.slow
def test_a_voice_is_enrolled_and_verified(tmp_path: Path) -> None:
    """Speakers of the toys differ in nothing: this is about the commands, not about learning."""
    examples = read_data(corpus(tmp_path, 20), what="audio").examples
    write_manifest(tmp_path / "train.jsonl", examples[:10])
    words = (*SETTINGS[:1], *SETTINGS[2:], "window={window_s=1.0, hop_s=0.5}", "size=8")
    data = (tmp_path / "train.jsonl", "--valid", tmp_path / "data.jsonl")
    run, model = tmp_path / "run", tmp_path / "v.auricle"
    result = auricle("train", *data, "--task", "speaker", "--out", run, *words, "budget.steps=4")
    assert result.exit_code == 0, result.output
    assert auricle("export", run, model, "precision=fp32").exit_code == 0
    figures = [
        json.loads(auricle("evaluate", each, tmp_path / "data.jsonl", "--format", "json").stdout)
        for each in (run, model)
    ]
    assert figures[0]["eer"] == pytest.approx(figures[1]["eer"], abs=0.02)
    assert figures[0]["target_trials"] + figures[0]["other_trials"] == 190
    options = ("--model", model, "--book", tmp_path / "voices.json")
    sounds = [example.audio for example in examples[:3]]
    assert auricle("speaker", "enrol", "anna", *sounds, *options).exit_code == 0
    verified = auricle("speaker", "verify", "anna", sounds[0], *options, "--threshold=-1")
    assert (verified.exit_code, verified.stdout[:8]) == (0, "accepted")
    refused = auricle("speaker", "verify", "anna", sounds[0], *options, "--threshold=1")
    assert (refused.exit_code, refused.stdout[:8]) == (1, "rejected")
