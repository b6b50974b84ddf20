"""A trained model -> one bundle, behind a gate (torch).

The graph has to answer like the model it came from, over several lengths and batch sizes, before it
is written at all. An int8 graph has to earn its place on real clips: it may not be slower, and its
score may not be worse by more than a stated amount. What was measured travels in the bundle.

Only the legacy exporter (`dynamo=False`) handles packed recurrent layers, and it is exact there.
"""

import copy
import math
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import nn

from auricle.bundle import GRAPH, WEIGHTS, Bundle, Card, Streaming, write_bundle
from auricle.checkpoint import pack_weights
from auricle.config import Settings
from auricle.engine import BATCH, Float32, Session, silent_onnxruntime
from auricle.errors import ConfigError, ModelError
from auricle.features import FeatureSettings, FrontEnd
from auricle.models.decoders import FrameStepper

OPSET = 17
GATE_S = ((4.0,), (2.3, 0.7), (1.0, 3.1, 0.1, 1.7, 0.4), (30.0,))  # batches, by seconds of sound
TIMED_S = (8.0,) * BATCH  # clips for the race of fp32 and int8
# Convolutions are left alone: quantised, they made models ten times slower.
QUANTISED = ("MatMul", "Gemm", "LSTM")
WORTH = 0.9  # of the bytes of fp32: a graph of int8 above that has next to nothing in 8 bits
CUT_LOSS = 0.005  # how much worse it may score to hear what sounds like speech alone
NO_CLIPS = "no clips to judge int8 on"
WHOLE_SCALES = "8-bit scales span a chunk, live sound would be heard by how it is cut"

Score = Callable[[Bundle], Mapping[str, float]]
"""What a bundle scores on real validation clips, through the runtime."""
Goal = tuple[str, Literal["min", "max"]]
"""The score that decides, and where it is better."""


class ExportSettings(Settings):
    """What goes into the bundle, and how strict the gate is."""

    precision: Literal["auto", "fp32", "int8"] = "auto"  # auto: int8 where it costs nothing
    weights: Literal["fp32", "fp16", "int8", "none"] = "fp16"  # for fine-tuning; none: no --init
    tolerance: float = Field(1e-3, gt=0)  # largest difference between graph and model, fp32
    int8_loss: float = Field(0.002, ge=0)  # how much worse int8 may score; of a WER 0.2 %
    cut: Literal["auto", "pauses", "speech"] = "auto"  # auto: "speech" where it costs nothing


@dataclass(frozen=True, slots=True)
class Check:
    """One batch through the graph, each utterance of it alone through the model."""

    lengths: tuple[int, ...]  # in frames
    difference: float  # the largest one; inf where shapes differ


@dataclass(frozen=True, slots=True)
class GateReport:
    """How far the graph's answers are from the model's."""

    checks: tuple[Check, ...]
    tolerance: float

    @property
    def difference(self) -> float:
        """The largest of all checks."""
        return max(check.difference for check in self.checks)

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return asdict(self) | {"difference": self.difference}


@dataclass(frozen=True, slots=True)
class Candidate:
    """A graph of one precision, and what was measured on it."""

    precision: str
    graph: bytes
    scores: Mapping[str, float]
    speed: float  # seconds of sound per second, front end left out, one thread

    def to_dict(self) -> dict[str, Any]:
        """What the card says of it."""
        return {
            **self.scores,
            "times_real_time": round(self.speed, 1),
            "graph_bytes": len(self.graph),
        }


def export_bundle(
    path: str | os.PathLike[str],
    model: nn.Module,
    card: Card,
    *,
    settings: ExportSettings | None = None,
    score: Score | None = None,
    goal: Goal = ("wer", "min"),
    more: Mapping[str, bytes] | None = None,
) -> Bundle:
    """Write `model` as the bundle `path`, or say why not.

    Args:
        model: (B, T, F) float32, (B,) int64 -> (B, T2, ...) float32, (B,) int64; left as it is.
        card: all that is known before the export; precision, metrics and description are added to.
        score: scores a bundle on real clips; without it, no int8 graph can be chosen.
        goal: the score that decides, and where it is better.
        more: members beside graph and weights, that are there when the bundle is scored.

    Raises:
        ModelError: the graph answers differently, or int8 was asked for and is worse.
        ConfigError: int8 was asked for with nothing to score it on.
    """
    settings = settings or ExportSettings()
    if settings.precision == "int8" and score is None:
        raise ConfigError("precision = int8 is judged on validation clips: give some, or use fp32")
    model = copy.deepcopy(model).cpu().float().eval()
    weights, more = _weights(model, settings.weights), more or {}
    front_end = FrontEnd(FeatureSettings.parse(card.features, "features"))
    card = card.model_copy(update={"streaming": streaming_of(model, front_end.hop_s)})
    if card.streaming and settings.precision == "int8":
        raise ConfigError(f"precision = int8: {WHOLE_SCALES}: use fp32 or auto")
    with tempfile.TemporaryDirectory() as folder:
        exact = Path(folder, "fp32.onnx")
        export_onnx(model, front_end.dim, exact)
        gate_report = gate(model, exact, front_end, settings.tolerance)
        graphs = {"fp32": exact.read_bytes()}
        if score and settings.precision != "fp32" and not card.streaming:
            graphs |= _small(exact, worth=WORTH if settings.precision == "auto" else math.inf)
        speeds = race(graphs, front_end, streaming=card.streaming)
        candidates = {}
        for precision, graph in graphs.items():
            trial = card.model_copy(update={"precision": precision})
            members = {GRAPH: graph, **more}
            bundle = write_bundle(Path(folder, f"{precision}.auricle"), trial, members)
            scores = dict(score(bundle)) if score else {}
            candidates[precision] = Candidate(precision, graph, scores, speeds[precision])
    chosen, reason = choose(candidates, settings, goal)
    reason = f"fp32: {WHOLE_SCALES}" if card.streaming else reason
    scored = list(candidates["fp32"].scores)
    measured = {name: candidate.to_dict() for name, candidate in candidates.items()}
    export = {"gate": gate_report.to_dict(), "chosen": chosen, "reason": reason, **measured}
    description = f"{card.description.rstrip()}\n\n{_table(measured, scored)}\n{reason}.\n".lstrip()
    metrics = {**card.metrics, "export": export}
    cut = "speech" if settings.cut == "speech" else "pauses"
    updates = {"precision": chosen, "cut": cut, "metrics": metrics, "description": description}
    members = {GRAPH: candidates[chosen].graph, **weights, **more}
    write_bundle(path, card.model_copy(update=updates), members)
    if score and settings.cut == "auto" and card.answer == "tokens":
        cut_around_speech(path, score, goal)
    return Bundle.read(path)


def _small(exact: Path, worth: float) -> dict[str, bytes]:
    """The graph in int8, if it has no more than `worth` of the bytes of the exact one."""
    small = exact.with_name("int8.onnx")
    quantise_onnx(exact, small)
    graph = small.read_bytes()
    return {"int8": graph} if len(graph) <= worth * exact.stat().st_size else {}


def cut_around_speech(path: str | os.PathLike[str], score: Score, goal: Goal) -> None:
    """Have the model hear what the shipped detector takes for speech alone, if that costs nothing.

    Clips to validate on are short. What long recordings gain by it they cannot show, but they show
    where the detector is deaf: to a language of tones, say.
    """
    bundle = Bundle.read(path)
    members = {name: bundle.member(name) for name in bundle.card.members}
    card, facts = bundle.card, bundle.card.metrics["export"]
    with tempfile.TemporaryDirectory() as folder:
        trial = card.model_copy(update={"cut": "speech"})
        around = dict(score(write_bundle(Path(folder, "speech.auricle"), trial, members)))
    loss = _loss(around, facts[card.precision], goal)
    cut = "speech" if loss <= CUT_LOSS else "pauses"
    facts = {**facts, "around_speech": around}
    updates = {"cut": cut, "metrics": {**card.metrics, "export": facts}}
    write_bundle(path, card.model_copy(update=updates), members)


def streaming_of(model: nn.Module, hop_s: float) -> Streaming | None:
    """How the graph of `model` hears sound as it comes; None if it needs whole utterances.

    Args:
        hop_s: seconds from one feature frame to the next.
    """
    stepper = FrameStepper.of(model)
    if stepper is None:
        return None
    encoder = stepper.encoder
    return Streaming(
        look_ahead_frames=encoder.look_ahead,
        look_ahead_ms=round(1000 * hop_s * encoder.stride * encoder.look_ahead, 6),
        stride=encoder.stride,
        chunk_frames=encoder.stride * encoder.chunk,
        state=dict(encoder.state),
    )


def export_onnx(model: nn.Module, features: int, path: Path) -> None:
    """Write the graph of a model on the processor, in evaluation mode, free in batch and time.

    That of a model that hears sound as it comes has its memory as further inputs and outputs.

    Raises:
        ModelError: for an operation that ONNX does not have.
    """
    # Not a batch of 1, and not of equal lengths: either would be frozen into the graph.
    lengths = torch.tensor([57, 34])
    example = torch.randn(2, 57, features, generator=torch.Generator().manual_seed(0))
    stepper = FrameStepper.of(model)
    state = dict(stepper.encoder.state) if stepper else {}
    names = {
        "features": {0: "B", 1: "T"},
        "lengths": {0: "B"},
        **{name: {0: "B"} for name in state},
        "outputs": {0: "B", 1: "T2"},
        "output_lengths": {0: "B"},
        **{f"next_{name}": {0: "B"} for name in state},
    }
    inputs = 2 + len(state)
    try:
        with _quiet():
            torch.onnx.export(
                stepper or model,
                (example, lengths, *(torch.zeros(2, *shape) for shape in state.values())),
                str(path),
                dynamo=False,
                opset_version=OPSET,
                input_names=list(names)[:inputs],
                output_names=list(names)[inputs:],
                dynamic_axes=names,
            )
    except RuntimeError as error:
        raise ModelError(f"this model cannot be written as an ONNX graph: {error}") from None


def quantise_onnx(source: Path, target: Path) -> None:
    """Write the graph with 8-bit weights in its matrix products and LSTMs.

    Weights get 7 bits and a scale per channel: with 8, processors without VNNI saturate, and the
    score would depend on the machine.
    """
    import onnx

    silent_onnxruntime()
    from onnxruntime.quantization import QuantType, quantize_dynamic

    graph = onnx.load(source)
    # Says that the shapes are inferred, or the quantiser warns through the root logger.
    onnx.helper.set_model_props(graph, {"onnx.quant.pre_process": "onnxruntime.quant"})
    quantize_dynamic(
        graph,
        target,
        op_types_to_quantize=list(QUANTISED),
        per_channel=True,
        reduce_range=True,
        weight_type=QuantType.QInt8,
    )


def gate(
    model: nn.Module,
    path: Path,
    front_end: FrontEnd,
    tolerance: float,
    batches_s: Sequence[Sequence[float]] = GATE_S,
) -> GateReport:
    """Compare the graph's batches with the model's answers to each utterance alone.

    Raises:
        ModelError: with all figures, when one difference exceeds `tolerance`.
    """
    streaming = streaming_of(model, front_end.hop_s)
    session = Session(path.read_bytes(), threads=1, streaming=streaming)
    rng = np.random.default_rng(0)
    checks = []
    for batch_s in batches_s:
        features = [_noise(rng, front_end, each_s) for each_s in batch_s]
        outputs = session(features)
        with torch.inference_mode():
            wanted = [_alone(model, each) for each in features]
        if streaming:
            outputs += [_in_chunks(session, each, streaming, rng) for each in features]
            wanted *= 2
        differences = [_difference(*pair) for pair in zip(outputs, wanted, strict=True)]
        checks.append(Check(tuple(map(len, features)), max(differences)))
    report = GateReport(tuple(checks), tolerance)
    if not report.difference <= tolerance:
        figures = "; ".join(f"{check.difference:.2g} for {check.lengths}" for check in checks)
        raise ModelError(
            f"the ONNX graph answers unlike the model, by more than {tolerance:g} (frames per"
            f" utterance: {figures}): a layer depends on padding,"
            " on how sound is cut, or on a shape frozen at export"
        )
    return report


def race(
    graphs: Mapping[str, bytes],
    front_end: FrontEnd,
    rounds: int = 3,
    *,
    streaming: Streaming | None = None,
) -> dict[str, float]:
    """Seconds of sound per second of one core, for each graph, batched as the runtime does."""
    rng = np.random.default_rng(0)
    clips = [_noise(rng, front_end, each_s) for each_s in TIMED_S]
    sessions = {
        name: Session(graph, threads=1, streaming=streaming) for name, graph in graphs.items()
    }
    best_s = dict.fromkeys(graphs, math.inf)
    for _ in range(rounds):  # in turns, so that a busy moment hits both
        for name, session in sessions.items():
            batch = 1 if name == "int8" else BATCH
            begin = time.thread_time()
            for at in range(0, len(clips), batch):
                session(clips[at : at + batch])
            best_s[name] = min(best_s[name], time.thread_time() - begin)
    return {name: sum(TIMED_S) / seconds for name, seconds in best_s.items()}


def choose(
    candidates: Mapping[str, Candidate], settings: ExportSettings, goal: Goal
) -> tuple[str, str]:
    """The precision to keep, and a sentence that says why.

    Raises:
        ModelError: when int8 was asked for and scores worse than allowed.
    """
    if "int8" not in candidates:
        if settings.precision == "fp32":
            return "fp32", "fp32: as asked"
        scored = any(candidate.scores for candidate in candidates.values())
        why = "convolutions stay as they are, so int8 is no smaller" if scored else NO_CLIPS
        return "fp32", f"fp32: {why}"
    exact, small = candidates["fp32"], candidates["int8"]
    metric, loss = goal[0], _loss(small.scores, exact.scores, goal)
    figures = f"{metric} {small.scores[metric]:.2%} in int8, {exact.scores[metric]:.2%} in fp32"
    if not loss <= settings.int8_loss:
        if settings.precision == "int8":
            raise ModelError(
                f"int8 loses too much: {figures}, allowed is {settings.int8_loss:.2%} more: use"
                " precision = auto or fp32, or allow more with int8_loss"
            )
        return "fp32", f"fp32: int8 loses too much ({figures})"
    speeds = f"{small.speed:.0f} against {exact.speed:.0f} x real time"
    if settings.precision == "auto" and small.speed < exact.speed:
        return "fp32", f"fp32: int8 is slower ({speeds})"
    return "int8", f"int8: {figures}; {speeds}"


def _loss(found: Mapping[str, float], before: Mapping[str, float], goal: Goal) -> float:
    """How much worse the score is that decides."""
    metric, better = goal
    loss = found[metric] - before[metric]
    return loss if better == "min" else -loss


def _weights(model: nn.Module, precision: str) -> dict[str, bytes]:
    """The member with the weights, if one is wanted."""
    for name, tensor in model.state_dict().items():
        kept = tensor if precision == "fp32" else tensor.half()
        if not kept.isfinite().all():
            raise ModelError(
                f"the weights {name} hold infinity or NaN in {precision}: the training diverged, or"
                " they need weights = fp32"
            )
    return {} if precision == "none" else {WEIGHTS: pack_weights(model.state_dict(), precision)}


def _noise(rng: np.random.Generator, front_end: FrontEnd, seconds: float) -> Float32:
    """Made-up features, of the mean and variance that normalised ones have."""
    frames = max(1, round(seconds / front_end.hop_s))
    return rng.standard_normal((frames, front_end.dim), np.float32)


def _alone(model: nn.Module, features: Float32) -> Float32:
    outputs, lengths = model(torch.from_numpy(features)[None], torch.tensor([len(features)]))
    answer: Float32 = outputs[0, : int(lengths[0])].numpy()
    return answer


def _in_chunks(
    session: Session, features: Float32, streaming: Streaming, rng: np.random.Generator
) -> Float32:
    """What comes out when sound comes in chunks of many sizes."""
    size = streaming.chunk_frames
    padded = session.padded(features)
    outputs, state, at = [], session.start(), 0
    while at < len(padded):
        chunk = padded[at : at + size * int(rng.integers(1, 40))]
        output, state = session.step(chunk, state)
        outputs.append(output)
        at += len(chunk)
    late: Float32 = np.concatenate(outputs)[streaming.look_ahead_frames :]
    return late[: -(-len(features) // streaming.stride)]


def _difference(output: Float32, wanted: Float32) -> float:
    if output.shape != wanted.shape:
        return math.inf
    return float(np.abs(output - wanted).max(initial=0))


def _table(measured: Mapping[str, Mapping[str, Any]], scores: Sequence[str]) -> str:
    """Markdown, one row per precision; scores are shares of one."""
    columns = ["graph", *(f"{score}, %" for score in scores), "x real time", "MB"]
    rows = [columns, ["---"] * len(columns)]
    for name, row in measured.items():
        figures = [f"{100 * row[score]:.2f}" for score in scores]
        figures += [f"{row['times_real_time']:.0f}", f"{row['graph_bytes'] / 1e6:.1f}"]
        rows.append([name, *figures])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


@contextmanager
def _quiet() -> Iterator[None]:
    """Hold back what torch says about its legacy exporter, the C++ part of it included."""
    stderr = os.dup(2)
    with Path(os.devnull).open("w") as null, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        os.dup2(null.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
