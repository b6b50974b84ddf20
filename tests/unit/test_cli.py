"""What the commands say and where they write: each line helps somebody who has stumbled."""

import dataclasses
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import typer.testing

from auricle import audio
from auricle.cli import app, main
from auricle.cli.display import TrainingDisplay, deaf, output
from auricle.cli.signals import interrupt
from auricle.data import read_data, write_manifest
from auricle.doctor import DoctorSettings
from auricle.errors import AuricleError, ConfigError, DataError
from auricle.files import hold
from auricle.tasks import TASKS
from toys import TINY, corpus

Run = Callable[..., typer.testing.Result]
PARTS = ("train", "valid", "test")


@pytest.fixture(name="run")
def _run() -> Run:
    def run(*words: str | Path, status: int = 0) -> typer.testing.Result:
        result = typer.testing.CliRunner().invoke(app, list(map(str, words)))
        if isinstance(result.exception, AuricleError):
            raise result.exception
        assert result.exit_code == status, result.output
        return result

    return run


@pytest.fixture(scope="module", name="folder")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest with recordings, a run of two updates and its bundle."""
    folder = tmp_path_factory.mktemp("cli")
    manifest = corpus(folder, 10)
    words = ["train", str(manifest), "--out", str(folder / "run"), *TINY, "budget.steps=2"]
    for arguments in (words, ["export", str(folder / "run"), str(folder / "model")]):
        result = typer.testing.CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output
        (folder / f"{arguments[0]}.log").write_text(result.stderr)
    return folder


# --- train ---------------------------------------------------------------------------------------


def test_train_says_what_it_does_and_what_came_of_it(folder: Path) -> None:
    lines = (folder / "train.log").read_text().splitlines()
    assert lines[0] == f"reading {folder / 'data.jsonl'} ..."
    told = "\n".join(lines)
    assert "2 of 10 recordings are set aside, parted by speaker" in told
    assert re.search(r"on \d+ processor threads?\b", told)
    assert "little sound to learn to write from: half an hour" in told
    assert "finished: the budget is used after 2 updates" in told
    assert "warning: next to no word comes out right yet" in told


def test_a_finished_run_is_left_as_it_is(run: Run, folder: Path) -> None:
    before = (folder / "run" / "log.jsonl").read_bytes()
    again = run("train", folder / "data.jsonl", "--out", folder / "run", *TINY, "budget.steps=2")
    assert "finished before (the budget is used; 2 updates" in again.stderr
    assert "e.g. budget.minutes=10" in again.stderr
    assert (folder / "run" / "log.jsonl").read_bytes() == before


def test_settings_are_judged_before_data_is_read(run: Run, tmp_path: Path) -> None:
    with pytest.raises(AuricleError, match=r"unknown setting optimizer\.speed"):
        run("train", tmp_path / "nowhere", "--out", tmp_path / "run", "optimizer.speed=3")
    with pytest.raises(AuricleError, match=r"no recipe of that name; .*conformer"):
        run("train", tmp_path / "nowhere", "--out", tmp_path / "run", "--recipe", "english")
    with pytest.raises(AuricleError, match="keywords is a recipe for --task clip, not ctc"):
        run("train", tmp_path / "nowhere", "--out", tmp_path / "run", "--recipe", "keywords")


def test_folders_of_labels_are_told_from_texts(run: Run, tmp_path: Path) -> None:
    for label in ("no", "yes"):
        (tmp_path / "data" / label).mkdir(parents=True)
        for n in range(3):
            sound = np.random.default_rng(n).normal(0, 0.1, 16_000)
            soundfile.write(tmp_path / "data" / label / f"{label} {n}.wav", sound, 16_000)
    with pytest.raises(AuricleError, match=r"6 recordings with labels \(no, yes\).*--task clip"):
        run("train", tmp_path / "data", "--out", tmp_path / "run")
    told = run("doctor", tmp_path / "data").stdout
    assert "2 labels: no, yes" in told
    (tmp_path / "data" / "no" / "no 0.txt").write_text("no")
    with pytest.raises(AuricleError, match="no text"):
        run("train", tmp_path / "data", "--out", tmp_path / "run")


def test_doctor_examines_labels_and_voices_as_a_training_does(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    for split, label in (("train", "no"), ("train", "yes"), ("valid", "no"), ("valid", "yess")):
        (folder / split / label).mkdir(parents=True)
        for n in range(2):
            sound = np.random.default_rng(n).normal(0, 0.1, 16_000)
            soundfile.write(folder / split / label / f"{label} {split} {n}.wav", sound, 16_000)
    told = run("doctor", folder, status=1).stdout
    assert "2 recordings with a label that is not trained on" in told
    assert "did you mean yes?" in told
    (folder / "train" / "yes" / "note.wav").write_text("no sound")
    (folder / "train" / "maybe").mkdir()
    told = run("doctor", folder, status=1).stdout
    assert "note.wav" in told  # one bad file does not make texts of labels
    assert "no recordings in maybe" in told
    clips = sorted((folder / "train").rglob("* train *.wav"))
    rows = [{"audio_filepath": str(clip), "mood": clip.parent.name} for clip in clips]
    manifest = tmp_path / "moods.jsonl"
    manifest.write_text("\n".join(map(json.dumps, rows)))
    told = run("doctor", manifest, "--label", "mood").stdout
    assert "2 labels: no, yes" in told
    assert "no speakers are named (key speaker); further keys: mood" in told
    told = run("doctor", manifest, "--task", "speaker", status=1).stdout
    assert "4 recordings without a speaker" in told


def test_voices_are_set_aside_by_twos(run: Run, tmp_path: Path) -> None:
    rows = []
    for n in range(12):
        sound = np.random.default_rng(n).normal(0, 0.1, 32_000)
        soundfile.write(tmp_path / f"{n}.wav", sound, 16_000)
        rows.append({"audio_filepath": f"{n}.wav", "speaker": "abcd"[n % 4]})
    manifest = tmp_path / "all.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ("--task", "speaker", "budget.steps=1", "batches.workers=0", "loop.tensorboard=false")
    run("train", manifest, "--out", tmp_path / "run", *words)
    aside = (tmp_path / "run" / "valid.jsonl").read_text().splitlines()
    assert len({json.loads(row)["speaker"] for row in aside}) == 2
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows if row["speaker"] == "a"))
    with pytest.raises(AuricleError, match="too few speakers to set 2 of them aside"):
        run("train", manifest, "--out", tmp_path / "other", *words)


@pytest.fixture(name="wide")
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "_width", 200)


@pytest.mark.usefixtures("wide")
def test_recipes_are_listed_without_data(run: Run) -> None:
    first, *lines = run("train", "--recipe", "list").stdout.splitlines()
    assert first.split() == ["recipe", "task", "for"]
    listed = {line.split()[0]: line for line in lines}
    assert {"conformer", "conv_lstm", "rnn_mfcc"} <= listed.keys()
    assert all(line[first.index("task") :].split()[0] in TASKS for line in lines)


def test_letters_of_validation_texts_alone_are_no_reason_to_refuse(
    run: Run, folder: Path, tmp_path: Path
) -> None:
    examples = read_data(folder / "data.jsonl").examples
    write_manifest(tmp_path / "train.jsonl", examples[:6])
    odd = dataclasses.replace(examples[6], text="a jay")
    write_manifest(tmp_path / "valid.jsonl", [odd, *examples[7:]])
    words = ("train", tmp_path, "--out", tmp_path / "run", *TINY, "budget.steps=1")
    assert "only in validation texts, so they cannot be learned: j y\n" in run(*words).stderr
    assert "finished before" in run(*words).stderr  # the same letters, the same training
    (tmp_path / "lexicon.txt").write_text("a AH\n")
    lexicon = ("text.unit=phoneme", f"text.lexicon={tmp_path / 'lexicon.txt'}")
    with pytest.raises(AuricleError, match="no symbol for"):
        run(*words[:2], "--out", tmp_path / "other", *words[4:], *lexicon)


def test_test_data_alone_is_not_trained_on(run: Run, folder: Path, tmp_path: Path) -> None:
    text = (folder / "data.jsonl").read_text().replace("data_audio", str(folder / "data_audio"))
    (tmp_path / "test.jsonl").write_text(text)
    with pytest.raises(AuricleError, match="holds test, but nothing to train on"):
        run("train", tmp_path, "--out", tmp_path / "run")


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("train", "data", "--out", "new"), "train"),
        (("export", "run", "m.auricle"), "export"),
        (("evaluate", "run", "data.jsonl"), "evaluate on a run"),
        (("info", "run"), "info on a run"),
    ],
)
def test_without_torch_it_says_how_to_get_it(
    words: tuple[str, ...], what: str, folder: Path
) -> None:
    blocked = "import sys; sys.modules['torch'] = None; from auricle.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", blocked, *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == f"error: {what} needs torch: pip install '.[train]'\n"


def step(number: int, of: int, minutes: float) -> dict[str, Any]:
    progress = number / of
    return {"step": number, "minutes": minutes, "progress": progress} | {
        "epoch": progress * 10, "loss": 1.0, "audio_s": 60.0
    }  # fmt: skip


def shown(capture: pytest.CaptureFixture[str]) -> str:
    return capture.readouterr().err


def test_the_end_is_foretold_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: clock)
    display = TrainingDisplay({"epochs": 100, "steps": None, "minutes": None})
    display.resumed({"step": 100, "epoch": 10, "minutes": 50.0, "stopped": "", "ended": "why"})
    assert shown(capsys) == (
        "going on from update 100 (it had ended: why): 10 of 100 epochs are done\n"
    )
    for number in range(101, 140):  # 2 s each, whatever the hours before took
        display.step(step(number, 1000, 50.0 + (clock - 1000.0) / 60.0))
        clock += 2.0
    lines = shown(capsys).splitlines()
    assert lines[0].startswith("at this pace it takes about 30 min more, until ")
    assert sum("at this pace" in line for line in lines) == 1
    assert "29 min left" in lines[-1]


def test_examples_are_not_shown_with_every_evaluation(capsys: pytest.CaptureFixture[str]) -> None:
    display = TrainingDisplay({"epochs": None, "steps": 4, "minutes": None})
    scores = {"scores": {"wer": 1.0}, "best": True, "minutes": 0.1}
    scores["examples"] = [{"reference": "said so", "hypothesis": "sad"}]
    for number in (1, 2, 3, 4):
        display.step(step(number, 4, 0.1))
        display.evaluated({"step": number, **scores})
    assert [line.split()[0] for line in shown(capsys).splitlines()] == [
        *("update", "said", "heard", "update", "update", "update", "said", "heard")
    ]


def test_an_error_rate_of_nearly_all_is_deaf() -> None:
    assert deaf({"wer": 0.97, "cer": 0.5}, ("wer", "min"))
    assert not deaf({"wer": 0.8, "cer": 0.99}, ("wer", "min"))
    assert not deaf({"accuracy": 0.99}, ("accuracy", "max"))


def test_a_second_training_in_the_same_folder_is_refused_at_once(
    run: Run, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("fcntl")
    monkeypatch.setattr("auricle.files.PATIENCE_S", 0.1)
    held = hold(tmp_path, "it")
    assert held is not None
    with pytest.raises(DataError, match="another training is at work here"):
        run("train", folder / "data.jsonl", "--out", tmp_path, *TINY, "budget.steps=1")
    os.close(held)
    assert list(tmp_path.iterdir()) == []  # no doctor.json either


# --- what was trained ----------------------------------------------------------------------------


def test_export_names_the_file_and_what_is_in_it(run: Run, folder: Path) -> None:
    told = (folder / "export.log").read_text()
    assert f"written: {folder / 'model.auricle'}, " in told
    assert re.search(r"\d kB, the graph in (fp32|int8) \((wer|int8) ", told)
    assert "warning: on the validation clips next to no word comes out right" in told
    card = run("info", folder / "model.auricle").stdout
    assert "Learned from 0.00 h of sound in 8 recordings; its weights were chosen on" in card
    assert "| graph | wer, % | cer, % | x real time | MB |" in card


def test_export_says_what_it_was_given(run: Run, folder: Path, tmp_path: Path) -> None:
    for name, told in (
        (folder / "gone", "gone: no such file, and no shipped model"),
        (folder / "model.auricle", r"is a bundle already: `auricle tune .*model\.auricle VALID"),
        ("english", "english is a bundle already: `auricle tune english VALID --lm lm.bin"),
        (folder / "data_audio", "data_audio is a folder, and no run: export takes"),
        (folder / "data.jsonl", r"data\.jsonl is a file, and no run"),
    ):
        with pytest.raises(AuricleError, match=told):
            run("export", name, tmp_path / "x")


def test_info_on_a_run_says_how_far_it_is(run: Run, folder: Path, tmp_path: Path) -> None:
    lines = run("info", folder / "run").stdout.splitlines()
    assert lines[0].startswith("task ctc, finished (the budget is used): 2 updates, ")
    assert lines[1].startswith("best on valid, after update 2: wer ")
    assert "[encoder]" in lines
    with pytest.raises(AuricleError, match="no run of `auricle train`"):
        run("info", tmp_path)


def test_a_run_is_no_bundle(run: Run, folder: Path) -> None:
    clip = folder / "data_audio" / "0000.wav"
    with pytest.raises(AuricleError, match=r"auricle export .*run run\.auricle"):
        run("transcribe", clip, "--model", folder / "run")


def test_a_split_that_is_not_there(run: Run, folder: Path) -> None:
    words = ("evaluate", folder / "run", folder / "data.jsonl", "--split")
    with pytest.raises(AuricleError, match=r"it names no splits; .* set aside is .*valid\.jsonl"):
        run(*words, "valid")
    with pytest.raises(AuricleError, match="it names no splits, or leave out --split"):
        run(*words, "test")


# --- transcribe ----------------------------------------------------------------------------------


@pytest.fixture(name="sounds")
def _sounds(folder: Path, tmp_path: Path) -> Path:
    for number, place in enumerate(("a", "x/a", "x/y/a", "z/b")):
        target = tmp_path / "sounds" / f"{place}.wav"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((folder / "data_audio" / f"000{number}.wav").read_bytes())
    return tmp_path / "sounds"


def files(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_output_mirrors_the_folders(run: Run, folder: Path, sounds: Path, tmp_path: Path) -> None:
    model = ("--model", folder / "model.auricle")
    done = run("transcribe", sounds, *model, "--output", tmp_path / "out")
    assert files(tmp_path / "out") == ["a.txt", "x/a.txt", "x/y/a.txt", "z/b.txt"]
    assert done.stderr == f"4 written to {tmp_path / 'out'}/\n"
    (tmp_path / "out" / "x" / "a.txt").unlink()
    again = run("transcribe", sounds, *model, "--output", tmp_path / "out", "--skip-done")
    assert "1 written to " in again.stderr
    assert ", 3 were there" in again.stderr
    run("transcribe", f"{sounds}/x/**/*.wav", *model, "--output", tmp_path / "glob")
    assert files(tmp_path / "glob") == ["a.txt", "y/a.txt"]
    with pytest.raises(AuricleError, match=r"would both be written to .*name the folder above"):
        run("transcribe", sounds / "a.wav", sounds / "x" / "a.wav", *model, "--output", tmp_path)


def test_nothing_is_written_over_a_transcript_beside_its_recording(
    run: Run, folder: Path, sounds: Path
) -> None:
    words = ("transcribe", sounds, "--model", folder / "model.auricle", "--output", sounds)
    (sounds / "x" / "a.txt").write_text("what was said")
    with pytest.raises(AuricleError, match=r"x/a\.txt is there already, beside its recording"):
        run(*words)
    run(*words, "--skip-done")
    assert (sounds / "x" / "a.txt").read_text() == "what was said"
    assert (sounds / "a.txt").exists()


def test_recordings_that_share_a_name_keep_their_suffix(
    run: Run, folder: Path, tmp_path: Path
) -> None:
    samples, rate_hz = audio.load(folder / "data_audio" / "0000.wav")
    for name in ("a.flac", "a.ogg", "b.ogg"):
        (tmp_path / "same").mkdir(exist_ok=True)
        audio.save(tmp_path / "same" / name, samples, rate_hz)
    words = ("transcribe", tmp_path / "same", "--model", folder / "model.auricle", "--output")
    done = run(*words, tmp_path / "out")
    assert files(tmp_path / "out") == ["a.flac.txt", "a.ogg.txt", "b.txt"]
    assert done.stderr.count("share their names but for the suffix, so it is kept") == 1
    assert "3 written" in done.stderr
    again = run(*words, tmp_path / "out", "--skip-done")
    assert "0 written" in again.stderr


def test_ctrl_c_says_how_to_go_on(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def stopped(*_: object, **__: object) -> None:
        interrupt()

    monkeypatch.setattr("auricle.runtime.Recognizer.transcribe_many", stopped)
    clip, model = folder / "data_audio" / "0000.wav", folder / "model.auricle"
    words = ["auricle", "transcribe", str(clip), "--model", str(model)]
    for more, told in (
        ([], "interrupted\n"),
        (["--output", "new"], "interrupted\n"),
        (["--output", "out"], "interrupted; what is written to out/ is kept: --skip-done goes on"),
    ):
        (tmp_path / "out").mkdir(exist_ok=True)
        (tmp_path / "out" / "earlier.txt").touch()
        monkeypatch.setattr(sys, "argv", [*words, *more])
        monkeypatch.chdir(tmp_path)
        with pytest.raises(SystemExit) as stop:
            main()
        assert stop.value.code == 130
        assert capfd.readouterr().err.startswith(told)


def test_json_of_several_is_a_line_each(run: Run, folder: Path, sounds: Path) -> None:
    words = ("--model", folder / "model.auricle", "--format", "json")
    lines = run("transcribe", sounds, *words).stdout.splitlines()
    facts = [json.loads(line) for line in lines]
    assert [Path(fact["file"]).relative_to(sounds).as_posix() for fact in facts] == [
        *("a.wav", "x/a.wav", "x/y/a.wav", "z/b.wav")
    ]
    alone = json.loads(run("transcribe", sounds / "a.wav", *words).stdout)
    assert alone | {"file": str(sounds / "a.wav")} == facts[0]


def test_all_settings_of_the_server_are_shown_but_its_keys(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("fastapi")
    (tmp_path / "keys.txt").write_text("secret\n")
    told = run(
        "serve", "--show", "--set", "upload_mb=7", "--api-keys", tmp_path / "keys.txt"
    ).stdout
    assert re.search(r"^upload_mb +7\.0 +of a transcription", told, re.M)
    assert "secret" not in told
    assert "live_sessions" in told
    assert "'english'" in told
    assert "'english'" not in run("serve", "--show", "--model", "x=other.auricle").stdout
    with pytest.raises(ConfigError, match="two models are called english"):
        run("serve", "--show", "--model", "english", "--model", "english=a.auricle")


# --- doctor, split, prepare -----------------------------------------------------------------------


def test_split_parts_people_and_changes_no_recording(run: Run, tmp_path: Path) -> None:
    manifest = corpus(tmp_path, 60)  # of five speakers
    told = run("split", manifest, tmp_path / "parts", "--test", "0.2", "--valid", "0.2").stdout
    parts = {name: read_data(tmp_path / "parts" / f"{name}.jsonl").examples for name in PARTS}
    voices = [{example.speaker for example in part} for part in parts.values()]
    assert sum(map(len, voices)) == len(set.union(*voices)) == 5
    everything = [example for part in parts.values() for example in part]
    whole = read_data(manifest).examples
    assert {(e.audio.resolve(), e.text) for e in everything} == {
        (e.audio.resolve(), e.text) for e in whole
    }
    assert f"{len(parts['test'])} recordings" in told
    with pytest.raises(DataError, match=r"train\.jsonl is there already"):
        run("split", manifest, tmp_path / "parts")
    with pytest.raises(DataError, match="has parts already: train, valid, test"):
        run("split", tmp_path / "parts", tmp_path / "again")
    run("split", manifest, tmp_path / "two", "--test", "0")
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == [
        "train.jsonl",
        "valid.jsonl",
    ]


def test_doctor_names_its_settings_and_missing_files(
    run: Run, folder: Path, tmp_path: Path
) -> None:
    told = run("doctor", "--help").stdout
    assert all(key in told for key in DoctorSettings.model_fields)
    example = read_data(folder / "data.jsonl").examples[0]
    line = {"audio_filepath": str(example.audio), "duration": example.duration_s, "text": "abc"}
    lines = [json.dumps(line), json.dumps(line | {"audio_filepath": "gone.wav"})]
    (tmp_path / "test.jsonl").write_text("\n".join(lines))
    (tmp_path / "my.csv").write_text("path,text\n")
    done = run("doctor", tmp_path, "--no-listen", "--normaliser", "basic-1", status=1)
    assert f"{tmp_path}: holds the splits test.jsonl; not read: my.csv" in done.stdout
    assert f"{tmp_path / 'gone.wav'} does not exist" in done.stdout
    with pytest.raises(AuricleError, match="'polish' is unknown; known: english-1, basic-1"):
        run("doctor", tmp_path, "--normaliser", "polish")


@pytest.mark.usefixtures("wide")
def test_the_list_of_corpora_is_aligned_to_the_left(run: Run) -> None:
    first, *rows = run("prepare", "list").stdout.splitlines()
    licence = first.index("licence")
    assert all(row[licence - 1] == " " != row[licence] for row in rows)
