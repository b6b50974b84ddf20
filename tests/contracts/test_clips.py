"""Labels end to end: windows, every encoder under every pooling, the bundle against the task."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from auricle import audio
from auricle.batches import Draw
from auricle.classifier import Classifier, windows
from auricle.config import resolve
from auricle.data import Example, read_data
from auricle.errors import ConfigError, DataError, ModelError
from auricle.export import export_onnx, gate
from auricle.features import FeatureSettings, FrontEnd
from auricle.models.decoders import ClipClassifier, PoolSettings
from auricle.models.encoders import build_encoder
from auricle.runtime import Recognizer
from auricle.tasks.clip import ClipSettings, ClipTask
from contracts.test_encoders import SMALL
from toys import TINY, bundled, corpus

POOLS = ("mean", "statistics", "attention", "flatten")
FRONT_END = FrontEnd(FeatureSettings(mels=20))


@given(
    st.integers(1, 400), st.integers(1, 100), st.data(), st.lists(st.integers(1, 90), min_size=1)
)
def test_windows_hold_every_sample_and_know_no_chunks(
    samples: int, window: int, data: Any, sizes: list[int]
) -> None:
    hop = data.draw(st.integers(1, window))
    wave = np.arange(samples, dtype=np.float32)
    cuts = [cut for cut in np.cumsum(sizes).tolist() if cut < samples]
    chunked = list(windows(np.split(wave, cuts), 1, window_s=window, hop_s=hop))
    whole = list(windows([wave], 1, window_s=window, hop_s=hop))
    assert [(s, w.tolist()) for s, w in chunked] == [(s, w.tolist()) for s, w in whole]
    assert [start for start, _ in whole] == [n * hop for n in range(len(whole))]
    assert all(each[0] == start for start, each in whole)
    assert all(len(each) == window for _, each in whole[:-1])
    assert len(whole[-1][1]) <= window + hop // 2
    heard = np.unique(np.concatenate([each for _, each in whole]))
    assert len(heard) == samples


def test_windows_with_gaps_are_refused() -> None:
    with pytest.raises(ConfigError, match="would leave gaps"):
        list(windows([np.zeros(9, np.float32)], 1, window_s=2, hop_s=3))


@pytest.mark.parametrize("hop_s", [0.0, -1.0, 0.4])
def test_windows_that_do_not_get_on_are_refused(hop_s: float) -> None:
    with pytest.raises(ConfigError, match="do not get on"):
        next(windows([np.zeros(9, np.float32)], 1, window_s=2, hop_s=hop_s))


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("encoder", SMALL)
def test_every_encoder_under_every_pooling_answers_alone_as_in_a_batch(
    encoder: str, pool: str
) -> None:
    torch.manual_seed(0)
    settings = PoolSettings(kind=pool, hidden=8, dense=(8,))  # type: ignore[arg-type]
    model = ClipClassifier(build_encoder(20, SMALL[encoder]), 4, settings, frames=6).eval()
    rows = [torch.randn(length, 20) for length in (40, 9, 1, 23)]
    lengths = torch.tensor([len(row) for row in rows])
    batch = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=7.0)
    with torch.inference_mode():
        together, ones = model(batch, lengths)
        for row, found in zip(rows, together, strict=True):
            alone, _ = model(row[None], torch.tensor([len(row)]))
            torch.testing.assert_close(found[None], alone, rtol=0, atol=5e-5)
    assert ones.tolist() == [1, 1, 1, 1]
    assert together.exp().sum(-1).flatten().tolist() == pytest.approx([1.0] * 4, abs=1e-5)


def test_level_and_loudness_change_no_answer() -> None:
    torch.manual_seed(6)
    model = ClipClassifier(build_encoder(20, SMALL["residual_wave"]), 4, PoolSettings(), frames=6)
    sound, length = torch.randn(1, 30, 20), torch.tensor([30])
    with torch.inference_mode():
        wanted, _ = model.eval()(sound, length)
        for other in (0.01 * sound, sound - 7.0):
            torch.testing.assert_close(model(other, length)[0], wanted, rtol=0, atol=1e-4)


@pytest.mark.parametrize("pool", POOLS)
def test_every_pooling_passes_the_gate(pool: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    settings = PoolSettings(kind=pool, hidden=8, dense=(8,))  # type: ignore[arg-type]
    encoder = build_encoder(20, SMALL["residual_wave"])
    model = ClipClassifier(encoder, 4, settings, frames=6, several=pool == "mean").eval()
    export_onnx(model, 20, tmp_path / "model.onnx")
    batches_s = ((0.7,), (0.4, 0.15), (0.05, 0.6, 0.01, 0.3, 0.11), (6.0,))
    report = gate(model, tmp_path / "model.onnx", FRONT_END, 1e-3, batches_s)
    assert report.difference < 1e-4


@pytest.fixture(scope="module", name="data")
def _data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Example, ...]:
    return read_data(corpus(tmp_path_factory.mktemp("toys"), 10), what="label").examples


def learned(data: tuple[Example, ...], *words: str) -> ClipTask:
    torch.manual_seed(0)
    return ClipTask.learn(resolve(ClipSettings, None, (*TINY, *words)), data)


@pytest.mark.parametrize(
    "words",
    [
        ("window.window_s=0.5", "window.hop_s=0.25"),
        ("features.kind=wave", "encoder={kind='wave_conv', channels=[4, 4], widths=[9, 9]}"),
    ],
)
def test_the_bundle_answers_like_the_task(
    data: tuple[Example, ...], words: tuple[str, ...], tmp_path: Path
) -> None:
    task = learned(data, *words)
    model = task.model().eval()
    classifier = Classifier.load(bundled(task, model, tmp_path / "m.auricle"), threads=1)
    wanted = task.predict(model, task.batch(data))
    for example, expected in zip(data, wanted, strict=True):
        found = classifier.classify(example.audio)
        assert [(w.start_s, w.end_s) for w in found.windows] == [
            (w.start_s, pytest.approx(w.end_s)) for w in expected.windows
        ]
        sure = {each.name: each.confidence for each in found.labels}
        assert sure == pytest.approx({e.name: e.confidence for e in expected.labels}, abs=1e-4)
    assert any(len(each.windows) > 1 for each in wanted)


def test_what_cannot_be_heard_does_not_stop_the_others(
    data: tuple[Example, ...], tmp_path: Path
) -> None:
    task = learned(data)
    classifier = Classifier.load(bundled(task, task.model(), tmp_path / "m.auricle"), threads=1)
    audio.save(tmp_path / "short.wav", np.zeros(160, np.float32), 16_000)
    sources = [data[0].audio, tmp_path / "short.wav", tmp_path / "none.wav", data[1].audio]
    found = [answer for _, answer in classifier.classify_many(sources)]
    assert [type(each) is DataError for each in found] == [False, True, True, False]
    assert "short.wav: 0.010 s, too short to be heard" in str(found[1])
    with pytest.raises(ModelError, match="answers with labels"):
        Recognizer.load(classifier.engine.bundle)


def test_a_card_with_other_labels_is_refused(data: tuple[Example, ...], tmp_path: Path) -> None:
    task = learned(data)
    task.labels = replace(task.labels, names=(*task.labels.names, "more"))
    network = learned(data).model()
    with pytest.raises(ModelError, match=r"card has \d labels: export the model again"):
        Classifier.load(bundled(task, network, tmp_path / "m.auricle"), threads=1)


def test_draws_depend_on_seed_epoch_and_example(data: tuple[Example, ...]) -> None:
    task = learned(data, "augment.speeds=[0.9, 1.1]", "augment.shift_ms=50")
    first, again = task.batch(data, Draw(1, 2)), task.batch(data[::-1], Draw(1, 2))
    for row, example in enumerate(data):
        length = int(first.lengths[row])
        mirrored = len(data) - 1 - row
        assert torch.equal(first.features[row, :length], again.features[mirrored, :length]), example
    assert not torch.equal(first.features, task.batch(data, Draw(1, 3)).features)


def test_mixing_shares_the_targets(data: tuple[Example, ...]) -> None:
    mixed = learned(data, "mixup=1.0").batch(data, Draw(0, 0))
    assert mixed.targets.sum(1).tolist() == pytest.approx([1.0] * len(data), abs=1e-5)
    assert ((mixed.targets > 0).sum(1) == 2).any()


def test_silence_is_made_of_noise(data: tuple[Example, ...], tmp_path: Path) -> None:
    audio.save(tmp_path / "noise.wav", np.full(32_000, 0.5, np.float32), 16_000)
    task = learned(data, "silence_share=0.5", f"augment.noises={tmp_path}", "features.kind=wave")
    batch = task.batch(data, Draw(0, 0))
    silent = batch.targets[:, task.labels.names.index("_silence_")] > 0
    assert 0 < int(silent.sum()) < len(data)
    assert (batch.features[silent].std((1, 2)) < 1e-6).all()  # our noise stands still
    assert (batch.features[~silent].std((1, 2)) > 1e-4).all()


def test_uneven_labels_can_weigh_alike(data: tuple[Example, ...]) -> None:
    task = learned(data, "balance=1.0")
    counts = {name: sum(e.labels == (name,) for e in data) for name in task.labels.names}
    shares = [w * counts[n] for n, w in zip(task.labels.names, task.weights, strict=True)]
    assert shares == pytest.approx([len(data) / len(shares)] * len(shares))


def test_tags_get_thresholds_chosen_on_valid(data: tuple[Example, ...], tmp_path: Path) -> None:
    from auricle.tasks import load_trained
    from auricle.train import fit

    tagged = tuple(replace(e, labels=tuple(sorted(set(e.text or "") - {" "}))) for e in data)
    words = ("labels.several=true", "budget.steps=4")
    task = learned(tagged, *words)
    assert task.goal == ("map", "max")
    fit(task, tagged, tagged[:6], tmp_path)
    again, model, state = load_trained(tmp_path)
    assert len(state["chosen"]["thresholds"]) == len(task.labels.names)
    answers = again.predict(model, again.batch(tagged[:6]))
    limits = dict(zip(task.labels.names, state["chosen"]["thresholds"], strict=True))
    for answer in answers:
        past = {each.name for each in answer.labels if each.confidence >= limits[each.name]}
        assert set(answer.chosen) == past


def test_what_is_wrong_with_labels_is_found(data: tuple[Example, ...]) -> None:
    task = learned(data)
    odd = replace(data[0], labels=("aa",), id="odd")
    lone = replace(data[1], labels=("A",), id="lone")
    report = learned((*data, lone)).examine({"train": (*data, lone), "valid": (odd,)})
    found = {problem.kind: problem for problem in report.problems}
    assert found["unknown_label"].examples == ("odd",)
    assert "did you mean a" in found["unknown_label"].details[0]
    assert "lone" in found["rare_label"].examples
    assert any("'A' (1 times): 'a'" in line for line in found["misspelt_label"].details)
    with pytest.raises(DataError, match="odd: label 'aa' is not among"):
        task.batch([odd])


def test_a_long_recording_is_read_where_it_is_needed(
    data: tuple[Example, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slope = np.linspace(-0.9, 0.9, 100 * 16_000, dtype=np.float32)
    audio.save(tmp_path / "long.wav", slope, 16_000)
    long = Example("long", tmp_path / "long.wav", 100.0, labels=data[0].labels)
    task = learned(data, "features.kind=wave", "window={window_s=0.5, hop_s=0.5}")
    monkeypatch.setattr("auricle.batches.SoundCache.load", None)
    batch = task.batch([long, replace(long, id="other")], Draw(0, 0))
    first, second = batch.features[:, :, 0].numpy()
    assert first.shape == (8_000,)
    assert abs(first[0] - second[0]) > 0.02  # from two places
    assert first[-1] - first[0] == pytest.approx(1.8 * 0.5 / 100, abs=1e-3)


def test_a_clip_of_a_hundredth_of_a_second_is_named(
    data: tuple[Example, ...], tmp_path: Path
) -> None:
    audio.save(tmp_path / "short.wav", np.full(160, 0.1, np.float32), 16_000)
    short = Example("short", tmp_path / "short.wav", 0.01, labels=data[0].labels)
    task = learned(data)
    report = task.examine({"train": (*data, short), "valid": data})
    assert {problem.kind for problem in report.errors} == {"empty"}
    assert report.failing == {"short"}
    (answer,) = task.predict(task.model().eval(), task.batch([short]))  # and yet nothing breaks
    assert answer.duration_s == pytest.approx(0.01)
