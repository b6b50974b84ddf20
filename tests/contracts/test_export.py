"""The exported model answers like the trained one, for every encoder and over many shapes."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
import safetensors.numpy
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from auricle.bundle import GRAPH, WEIGHTS, Bundle, Card, Streaming, write_bundle
from auricle.checkpoint import read_weights
from auricle.config import Settings
from auricle.engine import Session
from auricle.errors import ConfigError, ModelError
from auricle.export import (
    Candidate,
    ExportSettings,
    choose,
    export_bundle,
    export_onnx,
    gate,
    quantise_onnx,
    streaming_of,
)
from auricle.features import FeatureSettings, FrontEnd
from auricle.models.convolutional import BroadcastSettings, ResidualWaveSettings, WaveConvSettings
from auricle.models.decoders import FrameClassifier
from auricle.models.encoders import (
    ENCODERS,
    ConformerSettings,
    ConvLSTMSettings,
    RNNSettings,
    build_encoder,
)
from auricle.results import Transcript
from auricle.runtime import Recognizer

FEATURES = FeatureSettings(mels=20)
FRONT_END = FrontEnd(FEATURES)
BATCHES_S = ((0.7,), (0.4, 0.15), (0.05, 0.6, 0.01, 0.3, 0.11), (6.0,))

SMALL: list[Settings] = [
    ConvLSTMSettings(channels=4, blocks=1, dim=24, hidden=16, layers=2),
    RNNSettings(hidden=16, layers=2),
    RNNSettings(cell="gru", hidden=16, layers=1, bidirectional=False),
    ConformerSettings(channels=4, dim=16, layers=2, heads=2),
    ConvLSTMSettings(
        channels=4, blocks=1, dim=24, hidden=16, layers=3, chunk_ms=120, look_ahead_ms=160
    ),
    WaveConvSettings(channels=(6, 8), widths=(5, 3), pool=2),
    ResidualWaveSettings(stem=8, channels=(8, 12), width=3),
    BroadcastSettings(stem=6, channels=(6, 8), width=3),
]


def small_model(settings: Settings, symbols: int = 6) -> FrameClassifier:
    torch.manual_seed(0)
    return FrameClassifier(build_encoder(FRONT_END.dim, settings), symbols).eval()


def card(**values: object) -> Card:
    given = {
        "auricle_version": "0",
        "task": "reading",
        "answer": "tokens",
        "stride": 4,
        "features": FEATURES.to_dict(),
        "tokenizer": {"unit": "char", "symbols": ["<blank>", " ", *"abcd"]},
    }
    return Card.parse(given | values)


@dataclass(frozen=True)
class Exported:
    model: FrameClassifier
    folder: Path  # with fp32.onnx and int8.onnx

    @property
    def streaming(self) -> Streaming | None:
        return streaming_of(self.model, FRONT_END.hop_s)

    def graph(self, precision: str) -> bytes:
        return (self.folder / f"{precision}.onnx").read_bytes()

    def operations(self, precision: str) -> list[str]:
        graph = onnx.load_model_from_string(self.graph(precision)).graph
        return [node.op_type for node in graph.node]


@pytest.fixture(
    scope="module",
    params=SMALL,
    ids=lambda s: f"{s.kind}{'-gru' * ('gru' in s.to_dict().values())}",
)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    model, folder = small_model(request.param), tmp_path_factory.mktemp("exported")
    with torch.no_grad():
        model.classify.weight.mul_(20)  # an untrained model says little
    export_onnx(model, FRONT_END.dim, folder / "fp32.onnx")
    quantise_onnx(folder / "fp32.onnx", folder / "int8.onnx")
    return Exported(model, folder)


@pytest.fixture(autouse=True)
def short_race(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("auricle.export.TIMED_S", (0.5, 1.0))


def test_small_covers_every_encoder() -> None:
    assert {type(settings) for settings in SMALL} == set(ENCODERS)


def test_graph_answers_like_the_model(exported: Exported) -> None:
    report = gate(exported.model, exported.folder / "fp32.onnx", FRONT_END, 1e-3, BATCHES_S)
    assert [len(check.lengths) for check in report.checks] == [1, 2, 5, 1]
    assert report.difference < 1e-4


def test_int8_quantises_products_and_lstms_but_no_convolution(exported: Exported) -> None:
    before, after = exported.operations("fp32"), exported.operations("int8")
    assert after.count("Conv") == before.count("Conv")
    assert after.count("DynamicQuantizeLSTM") == before.count("LSTM")
    assert "MatMulInteger" in after
    assert "Gemm" not in after


def test_int8_answers_nearly_like_fp32(exported: Exported, rng: np.random.Generator) -> None:
    features = [rng.standard_normal((90, FRONT_END.dim), np.float32)]
    exact, small = (
        np.exp(session(features)[0])
        for session in (
            Session(exported.graph(precision), threads=1, streaming=exported.streaming)
            for precision in ("fp32", "int8")
        )
    )
    assert 0 < np.abs(exact - small).mean() < 0.03  # probabilities, sharpened


def tones(rng: np.random.Generator, count: int) -> NDArray[np.float32]:
    times = np.arange(1_600) / 16_000
    waves = np.sin(2 * np.pi * rng.uniform(50, 7_900, (count, 1)) * times)
    return (waves * rng.uniform(0.001, 0.5, (count, 1))).ravel().astype("f")


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_answers_do_not_depend_on_the_batch(
    exported: Exported, precision: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    """The same clips alone, in small and in large batches: equal words, times and confidences."""
    streaming = exported.streaming and exported.streaming.to_dict()
    about = card(stride=exported.model.encoder.stride, precision=precision, streaming=streaming)
    bundle = write_bundle(tmp_path / "m.auricle", about, {GRAPH: exported.graph(precision)})
    recognizer = Recognizer.load(bundle, threads=1)
    clips = [(tones(rng, count), 16_000) for count in rng.integers(3, 25, 7)]
    alone = [recognizer.transcribe(clip) for clip in clips]
    assert len({answer.text for answer in alone} - {""}) > 2
    for batch in (2, 8):
        answers = recognizer.transcribe_many(clips, batch=batch)
        for one, (_, other) in zip(alone, answers, strict=True):
            assert isinstance(other, Transcript)
            assert other.text == one.text
            for word, same in zip(other.words, one.words, strict=True):
                assert (word.start_s, word.end_s) == (same.start_s, same.end_s)
                assert word.confidence == pytest.approx(same.confidence, abs=1e-4)


class HearsPadding(nn.Module):
    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        return x - x.mean(dim=1, keepdim=True), lengths


class FreezesLength(nn.Module):
    """`int` makes a constant of a traced number."""

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        return x[:, : int(lengths.max())], lengths


class NotInONNX(nn.Module):
    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        return torch.special.bessel_j0(x), lengths


def test_gate_stops_a_model_that_hears_padding(tmp_path: Path) -> None:
    export_onnx(HearsPadding(), FRONT_END.dim, tmp_path / GRAPH)
    with pytest.raises(ModelError, match=r"answers unlike the model.* for \(40, 15\)"):
        gate(HearsPadding(), tmp_path / GRAPH, FRONT_END, 1e-3, BATCHES_S)


def test_gate_stops_a_shape_frozen_at_export(tmp_path: Path) -> None:
    export_onnx(FreezesLength(), FRONT_END.dim, tmp_path / GRAPH)
    with pytest.raises(ModelError, match=r"0 for \(40, 15\).*inf for \(600,\)"):
        gate(FreezesLength(), tmp_path / GRAPH, FRONT_END, 1e-3, BATCHES_S)


def test_an_operation_without_onnx_is_named(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ModelError, match="bessel_j0"):
        export_onnx(NotInONNX(), FRONT_END.dim, tmp_path / GRAPH)
    assert capfd.readouterr().err == ""


def test_bundle_holds_all_that_was_measured(tmp_path: Path) -> None:
    model = small_model(SMALL[0]).train()
    seen = []

    def score(bundle: Bundle) -> dict[str, float]:
        seen.append((bundle.card.precision, bundle.card.cut))
        return {"cer": 0.5, "wer": 0.25 if bundle.card.precision == "fp32" else 0.125}

    bundle = export_bundle(
        tmp_path / "m.auricle",
        model,
        card(metrics={"valid": {"wer": 0.25}}, description="# Reader"),
        settings=ExportSettings(precision="int8"),
        score=score,
    )
    assert seen == [("fp32", "pauses"), ("int8", "pauses"), ("int8", "speech")]
    assert model.training  # the caller's model is left as it is
    assert bundle.card.precision == "int8"
    export = bundle.card.metrics["export"]
    assert (export["fp32"]["wer"], export["int8"]["wer"]) == (0.25, 0.125)
    assert (
        export["int8"]["graph_bytes"] == len(bundle.member(GRAPH)) < export["fp32"]["graph_bytes"]
    )
    assert export["gate"]["difference"] < 1e-5
    assert bundle.card.metrics["valid"] == {"wer": 0.25}
    assert bundle.card.description.startswith("# Reader\n\n| graph | cer, % | wer, % |")
    weights = safetensors.numpy.load(bundle.member(WEIGHTS))
    assert weights.keys() == model.state_dict().keys()
    assert {tensor.dtype for tensor in weights.values()} == {np.dtype(np.float16)}


@pytest.mark.parametrize(
    ("asked", "around", "cut"),
    [
        ("auto", 0.25, "speech"),
        ("auto", 0.9, "pauses"),  # the detector is deaf to this language
        ("auto", float("nan"), "pauses"),
        ("pauses", 0.1, "pauses"),
        ("speech", 0.9, "speech"),
    ],
)
def test_speech_alone_is_heard_where_that_costs_nothing(
    tmp_path: Path, asked: str, around: float, cut: str
) -> None:
    def score(bundle: Bundle) -> dict[str, float]:
        return {"wer": around if bundle.card.cut == "speech" else 0.25}

    settings = ExportSettings.parse({"precision": "fp32", "cut": asked})
    path = tmp_path / "m.auricle"
    written = export_bundle(path, small_model(SMALL[0]), card(), settings=settings, score=score)
    assert written.card.cut == cut
    if asked == "auto" and around == around:
        assert written.card.metrics["export"]["around_speech"] == {"wer": around}


def test_weights_in_int8_are_a_quarter_and_come_back(tmp_path: Path) -> None:
    model = small_model(SMALL[0])
    with torch.no_grad():
        model.classify.weight[0] = 0.0  # a row without a scale of its own
        model.classify.weight[1] *= 1_000.0  # does not cost the others their precision
    settings = ExportSettings(weights="int8", precision="fp32")
    bundle = export_bundle(tmp_path / "a", model, card(), settings=settings)
    found, wanted = read_weights(bundle), model.state_dict()
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        rows, back = tensor.flatten(1) if tensor.ndim > 1 else tensor[:, None], found[name]
        step = rows.abs().amax(1, keepdim=True) / 127 if tensor.ndim > 1 else 1e-3
        assert ((back.float().view_as(rows) - rows).abs() <= 0.501 * step + 1e-8).all(), name
    weights = safetensors.numpy.load(bundle.member(WEIGHTS))
    matrices = {name for name, tensor in wanted.items() if tensor.ndim > 1}
    assert {n for n, tensor in weights.items() if tensor.dtype == np.int8} == matrices


def test_weights_are_exact_or_left_out_as_asked(tmp_path: Path) -> None:
    model = small_model(SMALL[1])
    exact = export_bundle(
        tmp_path / "a", model, card(), settings=ExportSettings(weights="fp32", precision="fp32")
    )
    weights = safetensors.numpy.load(exact.member(WEIGHTS))
    for name, tensor in model.state_dict().items():
        np.testing.assert_array_equal(weights[name], tensor.numpy())
    without = export_bundle(tmp_path / "b", model, card(), settings=ExportSettings(weights="none"))
    assert list(without.card.members) == [GRAPH]
    assert without.card.precision == "fp32"  # nothing to judge int8 on


@pytest.mark.parametrize("value", [math.nan, 1e6])
def test_weights_that_do_not_fit_are_refused(tmp_path: Path, value: float) -> None:
    model = small_model(SMALL[1])
    with torch.no_grad():
        model.classify.bias[0] = value
    with pytest.raises(ModelError, match=r"classify\.bias hold infinity or NaN in fp16"):
        export_bundle(tmp_path / "m", model, card())
    assert not any(tmp_path.iterdir())


def test_int8_needs_something_to_be_judged_on(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="validation clips"):
        export_bundle(
            tmp_path / "m", small_model(SMALL[1]), card(), settings=ExportSettings(precision="int8")
        )


@pytest.mark.parametrize(
    ("wer_int8", "speed_int8", "kept"),
    [
        (0.2, 150.0, "int8"),
        (0.201, 150.0, "int8"),
        (0.21, 150.0, "fp32"),
        (math.nan, 150.0, "fp32"),
        (0.2, 90.0, "fp32"),
    ],
)
def test_auto_keeps_int8_only_where_it_costs_nothing(
    wer_int8: float, speed_int8: float, kept: str
) -> None:
    candidates = {
        "fp32": Candidate("fp32", b"", {"wer": 0.2}, 100.0),
        "int8": Candidate("int8", b"", {"wer": wer_int8}, speed_int8),
    }
    chosen, reason = choose(candidates, ExportSettings(), ("wer", "min"))
    assert chosen == kept
    assert reason.startswith(kept)


def test_int8_that_has_nothing_in_8_bits_is_not_weighed(tmp_path: Path) -> None:
    encoder = build_encoder(FRONT_END.dim, ResidualWaveSettings(stem=8, channels=(8, 12), width=3))
    bundle = export_bundle(
        tmp_path / "m", FrameClassifier(encoder, 6), card(), score=lambda _: {"wer": 0.5}
    )
    assert "int8" not in bundle.card.metrics["export"]
    assert "int8 is no smaller" in bundle.card.metrics["export"]["reason"]


def test_choice_knows_scores_that_are_better_when_higher() -> None:
    candidates = {
        "fp32": Candidate("fp32", b"", {"f1": 0.8}, 100.0),
        "int8": Candidate("int8", b"", {"f1": 0.7}, 150.0),
    }
    assert choose(candidates, ExportSettings(), ("f1", "max"))[0] == "fp32"
    with pytest.raises(ModelError, match=r"f1 70\.00% in int8, 80\.00% in fp32"):
        choose(candidates, ExportSettings(precision="int8"), ("f1", "max"))
