"""Labels over time end to end: alone as in a batch, cut as whole, the bundle as the task."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from auricle import audio
from auricle.batches import Draw
from auricle.classifier import Classifier, WindowSettings
from auricle.cli import app
from auricle.config import resolve
from auricle.data import Example, read_data
from auricle.errors import ConfigError, DataError, ModelError
from auricle.export import export_onnx, gate
from auricle.features import FeatureSettings, FrontEnd
from auricle.hysteresis import HysteresisSettings, frames_of
from auricle.models.decoders import FrameTagger
from auricle.models.encoders import build_encoder
from auricle.segmenter import Segmenter, stitched
from auricle.tasks.segment import SegmentSettings, SegmentTask
from contracts.test_encoders import SMALL
from toys import TINY, bundled, corpus

RATE_HZ = 16_000
# Two convolutions of three frames: what is further than 0.08 s away changes nothing.
SHORT = (
    "encoder={kind='residual_wave', stem=8, channels=[8], stage_stride=1, width=3, dropout=0}",
    "window={window_s=1.0, hop_s=0.5}",
)


@pytest.mark.parametrize("encoder", SMALL)
def test_every_encoder_answers_alone_as_in_a_batch(encoder: str) -> None:
    torch.manual_seed(0)
    model = FrameTagger(build_encoder(20, SMALL[encoder]), 3, level=-8.0, spread=4.0).eval()
    rows = [4 * torch.randn(length, 20) - 8 for length in (40, 9, 1, 23)]
    lengths = torch.tensor([len(row) for row in rows])
    batch = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=7.0)
    with torch.inference_mode():
        together, ends = model(batch, lengths)
        for row, found, end in zip(rows, together, ends.tolist(), strict=True):
            alone, _ = model(row[None], torch.tensor([len(row)]))
            torch.testing.assert_close(found[None, :end], alone, rtol=0, atol=5e-5)
    assert (together < 0).all()


def test_it_passes_the_gate(tmp_path: Path) -> None:
    torch.manual_seed(0)
    encoder = build_encoder(20, SMALL["residual_bands"])
    model = FrameTagger(encoder, 2, level=-8.0, spread=4.0, dropout=0.1).eval()
    export_onnx(model, 20, tmp_path / "model.onnx")
    batches_s = ((0.7,), (0.4, 0.15), (0.05, 0.6, 0.01, 0.3, 0.11), (6.0,))
    front_end = FrontEnd(FeatureSettings(mels=20))
    assert gate(model, tmp_path / "model.onnx", front_end, 1e-3, batches_s).difference < 1e-4


@pytest.fixture(scope="module", name="data")
def _data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Example, ...]:
    return read_data(corpus(tmp_path_factory.mktemp("toys"), 8)).examples


def learned(data: tuple[Example, ...], *words: str) -> SegmentTask:
    torch.manual_seed(0)
    return SegmentTask.learn(resolve(SegmentSettings, None, (*TINY, *words)), data)


def test_the_bundle_answers_like_the_task(data: tuple[Example, ...], tmp_path: Path) -> None:
    task = learned(data, *SHORT)
    model = task.model().eval()
    segmenter = Segmenter.load(bundled(task, model, tmp_path / "m.auricle"), threads=1)
    wanted = task.predict(model, task.batch(data))
    stream = segmenter.activities([example.audio for example in data])
    for (_, found), expected in zip(stream, wanted, strict=True):
        assert not isinstance(found, Exception)
        difference = np.abs(found.probabilities - expected.probabilities)
        assert difference.max() < 1e-4
        assert found.duration_s == pytest.approx(expected.duration_s)


def test_cut_into_windows_it_is_as_whole(data: tuple[Example, ...]) -> None:
    """A frame in the middle of a window hears all that it would hear in the whole recording."""
    task = learned(data, *SHORT)
    whole = learned(data, SHORT[0], "window={window_s=600, hop_s=500}")
    model = task.model().eval()
    longest = max(data, key=lambda example: example.duration_s)
    assert len(task.batch([longest]).lengths) > 2
    assert len(whole.batch([longest]).lengths) == 1
    (cut,), (uncut,) = (each.predict(model, each.batch([longest])) for each in (task, whole))
    assert cut.probabilities.shape == uncut.probabilities.shape
    assert np.abs(cut.probabilities - uncut.probabilities).max() < 1e-5


def test_windows_are_stitched_in_the_middle_of_their_overlap() -> None:
    window = WindowSettings(window_s=10.0, hop_s=6.0)
    parts = [(at, np.full((10, 1), at, np.float32)) for at in (0.0, 6.0, 12.0)]
    found = stitched(parts, window, 1.0)[:, 0].tolist()
    assert found == [0.0] * 8 + [6.0] * 6 + [12.0] * 8
    assert stitched([], window, 1.0).shape == (0, 0)


def test_windows_that_do_not_begin_with_a_frame_are_refused(data: tuple[Example, ...]) -> None:
    with pytest.raises(ConfigError, match=r"multiple of a frame of 0\.04 s"):
        learned(data, "window={window_s=1.0, hop_s=0.5}")


def test_targets_are_where_the_marks_are(data: tuple[Example, ...]) -> None:
    listed = [{"start": 0.2, "end": 0.4, "label": "a"}, {"start": 0.3, "end": 0.5, "label": "b"}]
    marked = replace(data[0], extra={"segments": listed})
    task = learned((marked,))
    assert task.names == ("a", "b")
    targets = task.batch([marked]).targets[0].numpy() > 0
    times = [(a, b) for a, b in ((0.2, 0.4), (0.3, 0.5))]
    for column, span in zip(targets.T, times, strict=True):
        middle_s = task.frame_s * (np.flatnonzero(column) + 0.5) + 0.0075
        assert span[0] <= middle_s.min() < span[0] + task.frame_s
        assert span[1] - task.frame_s <= middle_s.max() < span[1]
    one = learned((marked,), "one_label=speech")
    assert one.names == ("speech",)
    assert one.batch([marked]).targets.sum() == (targets.any(axis=1)).sum()
    with pytest.raises(DataError, match="'speech' is marked, and not among a, b"):
        task.batch([data[1]])


def test_draws_depend_on_seed_epoch_and_example(data: tuple[Example, ...], tmp_path: Path) -> None:
    audio.save(tmp_path / "n.wav", np.random.default_rng(0).normal(0, 0.1, 9_000), RATE_HZ)
    task = learned(data, "augment.noise_probability=1.0", f"augment.noises={tmp_path}")
    first, again = task.batch(data, Draw(1, 2)), task.batch(data[::-1], Draw(1, 2))
    assert torch.equal(first.features, again.features.flip(0))
    assert torch.equal(first.targets, again.targets.flip(0))
    assert not torch.equal(first.features, task.batch(data, Draw(1, 3)).features)
    foreseen = [task.seconds(example, Draw(1, 2)) for example in data]
    assert sum(foreseen) == pytest.approx(first.seconds)


def test_the_foreseen_length_without_pauses(data: tuple[Example, ...]) -> None:
    task = learned(data, "mix={pauses=false, crop_s=1.0}", "augment.speeds=[0.5, 2.0]")
    foreseen = sum(task.seconds(example, Draw(0, 1)) for example in data)
    assert task.batch(data, Draw(0, 1)).seconds == pytest.approx(foreseen, abs=0.01)


def test_the_rule_is_chosen_and_kept(data: tuple[Example, ...], tmp_path: Path) -> None:
    from auricle.tasks import load_trained
    from auricle.train import fit

    task = learned(data, *SHORT, "budget.steps=2")
    rule = HysteresisSettings(onset=0.7, offset=0.2, pad_s=0.04)
    task.choose = lambda _: {"rule": rule.to_dict()}  # type: ignore[method-assign]
    fit(task, data, data, tmp_path)
    again, model, _ = load_trained(tmp_path)
    assert again.rule == rule  # type: ignore[attr-defined]
    assert Segmenter.load(bundled(again, model, tmp_path / "m.auricle"), threads=1).rule == rule


def test_a_wider_rule_is_chosen_for_a_shy_model(data: tuple[Example, ...]) -> None:
    task = learned(data, *SHORT)
    answers = task.predict(task.model().eval(), task.batch(data))
    shy = []
    for example, heard in zip(data, answers, strict=True):
        spans = [(m.start_s, m.end_s) for m in task.marks(example)]
        on = frames_of(spans, len(heard.probabilities), heard.frame_s, heard.start_s)
        sure = np.where(on, 0.35, 0.05)[:, None].astype(np.float32)
        shy.append((example, replace(heard, probabilities=sure)))
    assert task.score(shy)["f1"] == 0.0
    rule = HysteresisSettings.parse(task.choose(shy)["rule"], "rule")
    assert rule.onset == 0.3
    assert task.measure(shy, rule).summary()["f1"] > 0.99


def test_what_cannot_be_heard_does_not_stop_the_others(
    data: tuple[Example, ...], tmp_path: Path
) -> None:
    task = learned(data, *SHORT)
    segmenter = Segmenter.load(bundled(task, task.model(), tmp_path / "m.auricle"), threads=1)
    audio.save(tmp_path / "short.wav", np.zeros(160, np.float32), RATE_HZ)
    sources = [data[0].audio, tmp_path / "short.wav", tmp_path / "none.wav", data[1].audio]
    found = [answer for _, answer in segmenter.activities(sources)]
    assert [type(each) is DataError for each in found] == [False, False, True, False]
    assert segmenter.segments(tmp_path / "short.wav").stretches == ()
    with pytest.raises(DataError, match=r"none\.wav"):
        segmenter.segments(tmp_path / "none.wav")
    with pytest.raises(ModelError, match="answers with segments, not with labels"):
        Classifier.load(segmenter.engine.bundle)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"answer": "labels"}, "answers with labels, not with segments"),
        ({"labels": {"names": ["speech", "dog"]}}, "the card says .*, 2.: export the model again"),
        ({"labels": {"rule": {}}}, "the card names no labels"),
        ({"labels": {"names": ["speech"], "rule": {"onset": 2}}}, "onset"),
        ({"windows": {"window_s": 1.0, "hop_s": 0.015}}, "multiple of a frame"),
    ],
)
def test_a_card_that_does_not_fit_is_refused(
    data: tuple[Example, ...], tmp_path: Path, change: dict[str, Any], told: str
) -> None:
    task = learned(data, *SHORT)
    segmenter = Segmenter.load(bundled(task, task.model(), tmp_path / "m.auricle"), threads=1)
    card = segmenter.engine.bundle.card.model_copy(update=change)
    bundle = replace(segmenter.engine.bundle, card=card)
    with pytest.raises(ModelError, match=told):
        Segmenter.load(bundle)


def auricle(*words: str | Path) -> Any:
    return CliRunner().invoke(app, [str(word) for word in words])


def test_from_marks_to_a_served_detector_by_commands(tmp_path: Path) -> None:
    """A tone against silence, marked; trained, exported, evaluated, heard in every format."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 8), ("valid", 3)):
        (tmp_path / part).mkdir()
        lines = []
        for number in range(count):
            wave = rng.normal(0, 1e-3, 2 * RATE_HZ)
            begin_s = round(float(rng.uniform(0.2, 1.0)), 2)
            first = round(begin_s * RATE_HZ)
            tone = 0.3 * np.sin(np.arange(RATE_HZ // 2) * 0.4)
            wave[first : first + len(tone)] += tone
            audio.save(tmp_path / part / f"{number}.wav", wave.astype(np.float32), RATE_HZ)
            marks = [{"start": begin_s, "end": begin_s + 0.5, "label": "tone"}]
            lines.append(json.dumps({"audio_filepath": f"{number}.wav", "segments": marks}))
        (tmp_path / part / "all.jsonl").write_text("\n".join(lines))
    words = (
        "--valid",
        tmp_path / "valid/all.jsonl",
        "--task",
        "segment",
        "--out",
        tmp_path / "run",
    )
    settings = (*TINY[-5:], "features.mels=20", SHORT[0], "window={window_s=1.2, hop_s=0.6}")
    more = ("mix={pauses=false, crop_s=2}", "average.decay=0.8", "budget.steps=40")
    result = auricle("train", tmp_path / "train/all.jsonl", *words, *settings, *more)
    assert result.exit_code == 0, result.output
    result = auricle("export", tmp_path / "run", tmp_path / "m.auricle", "precision=fp32")
    assert result.exit_code == 0, result.output
    for model in ("run", "m.auricle"):
        data = tmp_path / "valid/all.jsonl"
        result = auricle("evaluate", tmp_path / model, data, "--format", "json")
        assert result.exit_code == 0, result.output
        found = json.loads(result.stdout)["labels"]
        assert found["all"] == found["tone"]
        assert found["tone"]["f1"]["value"] > 0.9
    _heard(tmp_path)


def _heard(folder: Path) -> None:
    model = ("--model", folder / "m.auricle")
    files = [folder / "valid" / f"{number}.wav" for number in (0, 1)]
    lines = (folder / "valid/all.jsonl").read_text().splitlines()
    begins_s = [json.loads(line)["segments"][0]["start"] for line in lines[:2]]
    result = auricle("segment", *files, *model, "--format", "csv")
    rows = [line.split(",") for line in result.stdout.splitlines()]
    assert [row[0] for row in rows] == ["recording", *map(str, files)]
    assert [float(row[1]) for row in rows[1:]] == pytest.approx(begins_s, abs=0.1)
    result = auricle("segment", files[0], folder / "none.wav", *model, "--format", "rttm")
    assert result.exit_code == 2
    assert result.stdout.startswith("SPEAKER 0 1 ")
    assert "none.wav" in result.stderr
    result = auricle("segment", *files, *model, "--format", "textgrid")
    assert isinstance(result.exception, ConfigError)
    out = folder / "grids"
    result = auricle("segment", *files, *model, "--format", "textgrid", "--output", out)
    assert result.exit_code == 0, result.output
    assert '"tone"' in (out / "0.textgrid").read_text()
    result = auricle("segment", files[0], *model, "--set", "shortest_s=3")
    assert result.stdout.endswith("(none)\n")
    unmarked = folder / "unmarked.jsonl"
    unmarked.write_text(json.dumps({"audio_filepath": str(files[0])}))
    result = auricle("evaluate", folder / "m.auricle", unmarked)
    assert isinstance(result.exception, DataError)
    assert "are not marked" in str(result.exception)
