"""A model that reads tones: every mel band is a symbol, the lowest is the blank.

Its graph hands the features through, so that what must be heard, and when, is known exactly.
"""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import soundfile
from numpy.typing import NDArray
from onnx import TensorProto, helper

from auricle.bundle import GRAPH, Bundle, Card, write_bundle
from auricle.engine import Float32
from auricle.features import FeatureSettings, mel_filters
from auricle.lm import NgramModel, read_arpa

SYMBOLS = ("<blank>", " ", *"abcdef")
FEATURES = FeatureSettings(mels=len(SYMBOLS), normalise="none")
RATE_HZ = FEATURES.sample_rate_hz
TONE_S, GAP_S, DOUBT_S = 0.1, 0.05, 0.02


def graph(inputs: Sequence[str] = ("features", "lengths"), symbols: int = len(SYMBOLS)) -> bytes:
    """log_softmax(features), lengths."""
    nodes = [
        helper.make_node("LogSoftmax", [inputs[0]], ["outputs"], axis=-1),
        helper.make_node("Identity", [inputs[1]], ["output_lengths"]),
    ]
    ends = [("outputs", TensorProto.FLOAT, ["B", "T", symbols])]
    starts = [(inputs[0], TensorProto.FLOAT, ["B", "T", symbols])]
    lengths = [helper.make_tensor_value_info(n, TensorProto.INT64, ["B"]) for n in (inputs[1],)]
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "tones",
            [*(helper.make_tensor_value_info(*start) for start in starts), *lengths],
            [
                *(helper.make_tensor_value_info(*end) for end in ends),
                helper.make_tensor_value_info("output_lengths", TensorProto.INT64, ["B"]),
            ],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.checker.check_model(model)
    return model.SerializeToString()


def labels_graph() -> bytes:
    """log_softmax of the loudest frame of each symbol, padding left out; lengths of 1."""
    constants = [("zero", [], [0]), ("one", [], [1]), ("first", [1], [1]), ("last", [1], [2])]
    nodes = [
        helper.make_node("Constant", [], [name], value=helper.make_tensor(name, 7, shape, value))
        for name, shape, value in constants
    ]
    nodes += [
        helper.make_node("Constant", [], ["never"], value_float=-1e9),
        helper.make_node("Shape", ["features"], ["frames"], start=1, end=2),
        helper.make_node("Squeeze", ["frames"], ["count"]),
        helper.make_node("Range", ["zero", "count", "one"], ["places"]),
        helper.make_node("Unsqueeze", ["lengths", "first"], ["ends"]),
        helper.make_node("Less", ["places", "ends"], ["within"]),
        helper.make_node("Unsqueeze", ["within", "last"], ["mask"]),
        helper.make_node("Where", ["mask", "features", "never"], ["heard"]),
        helper.make_node("ReduceMax", ["heard"], ["loudest"], axes=[1]),
        helper.make_node("LogSoftmax", ["loudest"], ["outputs"], axis=-1),
        helper.make_node("Sign", ["lengths"], ["output_lengths"]),
    ]
    described = helper.make_tensor_value_info
    width = len(SYMBOLS)
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "tones",
            [
                described("features", TensorProto.FLOAT, ["B", "T", width]),
                described("lengths", TensorProto.INT64, ["B"]),
            ],
            [
                described("outputs", TensorProto.FLOAT, ["B", 1, width]),
                described("output_lengths", TensorProto.INT64, ["B"]),
            ],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.checker.check_model(model)
    return model.SerializeToString()


def write_labels(path: Path, window_s: float = 1.0, hop_s: float = 0.5) -> Bundle:
    """A model that says which tone is in a clip; of several, the loudest."""
    names = ["_silence_", "_unknown_", *"abcdef"]
    return write(
        path,
        labels_graph(),
        answer="labels",
        tokenizer={},
        labels={"names": names, "several": False, "grouped": True},
        windows={"window_s": window_s, "hop_s": hop_s},
    )


def write(
    path: Path,
    content: bytes | None = None,
    more: Mapping[str, bytes] | None = None,
    **values: object,
) -> Bundle:
    given = {
        "auricle_version": "0",
        "task": "tones",
        "answer": "tokens",
        "features": FEATURES.to_dict(),
        "tokenizer": {"unit": "char", "symbols": SYMBOLS},
    }
    members = {GRAPH: content or graph(), **(more or {})}
    return write_bundle(path, Card.parse(given | values), members)


def tone(symbol: str, seconds: float) -> Float32:
    filters = mel_filters(FEATURES)
    bins_hz = np.arange(len(filters)) * RATE_HZ / FEATURES.fft_length
    tone_hz = bins_hz[filters[:, SYMBOLS.index(symbol)].argmax()]
    return np.sin(2 * np.pi * tone_hz / RATE_HZ * np.arange(round(seconds * RATE_HZ)), dtype="f")


def sound(text: Sequence[str | Mapping[str, float]], silence_s: float = 0.3) -> Float32:
    """The tones of `text`, with silence before and after, over a soft hum, the blank.

    A symbol in doubt is several, each with its share of the energy, and so of the probability; it
    is short, as a recogniser's are.
    """
    silence = np.zeros(round(silence_s * RATE_HZ), np.float32)
    gap = np.zeros(round(GAP_S * RATE_HZ), np.float32)
    tones = [part for symbol in text for part in (chord(symbol), gap)]
    clip = np.concatenate([silence, *tones, silence])
    return clip + 0.003 * tone("<blank>", len(clip) / RATE_HZ)


def chord(symbol: str | Mapping[str, float]) -> Float32:
    shares, seconds = ({symbol: 1.0}, TONE_S) if isinstance(symbol, str) else (symbol, DOUBT_S)
    envelope = 0.3 * np.hanning(round(seconds * RATE_HZ)).astype("f") ** 0.125
    return envelope * sum(np.sqrt(np.float32(p)) * tone(s, seconds) for s, p in shares.items())


def unigrams(log10: Mapping[str, float]) -> NgramModel:
    """A language model that knows these words, and how likely each is."""
    lines = [f"{value}\t{word}" for word, value in {"<unk>": -3.0, "<s>": -99.0, **log10}.items()]
    text = "\n".join(["\\data\\", f"ngram 1={len(lines) + 1}", "", "\\1-grams:", *lines])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "lm.arpa")
        path.write_text(f"{text}\n-1.0\t</s>\n\n\\end\\\n")
        return read_arpa(path)


def save(path: Path, samples: NDArray[np.float32], rate_hz: int = RATE_HZ) -> Path:
    soundfile.write(path, samples, rate_hz, subtype="FLOAT")
    return path
