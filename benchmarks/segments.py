"""Where somebody speaks: our detector beside WebRTC's and Silero's, on the same noisy mixtures.

    python benchmarks/segments.py test.jsonl --noises HELD --tune valid.jsonl --tune-noises OTHERS

Utterances of a manifest are laid out with pauses, in a noise at a ratio drawn from -5 to 30 dB,
into a temporary folder. Where they speak is known from the clean recordings: by their energy
(`auricle.activity`), and, as a second judge that shares nothing with how the detector learned, by
forced alignment of their texts (words widened by 60 ms, gaps under 0.2 s closed). Every detector
gets the threshold, durations and padding that suit it best on mixtures of `--tune`, by the same
search. webrtcvad (`pip install webrtcvad-wheels`) and silero-vad (the ONNX file of its package, run
here by ONNX Runtime) are compared where they are installed, or lie in `--packages FOLDER`.
"""

import argparse
import importlib.util
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from common import examples_of, finish, machine, note, parser, warn_if_busy

SNRS_DB = (-5.0, 30.0)
BANDS_DB = ((-5, 5), (5, 15), (15, 30))
GRID_S = 0.01  # on which all are compared
COLLAR_S = 0.1  # around each true boundary, left out of the second table
ALIGNED_PAD_S, ALIGNED_GAP_S = 0.06, 0.2
RATE_HZ = 16_000


@dataclass
class Mixed:
    """One written mixture and what is known of it."""

    path: Path
    duration_s: float
    snr_db: float
    truth: list[tuple[float, float]]
    aligned: list[tuple[float, float]] | None


def mixtures(
    examples: Sequence[Any],
    noises: Path,
    folder: Path,
    count: int,
    *,
    length_s: float = 30.0,
    seed: int = 0,
    words: dict[str, list[tuple[float, float]]] | None = None,
) -> list[Mixed]:
    """Write `count` mixtures as FLAC, and a manifest of them; the same for the same seed."""
    from auricle import audio
    from auricle.activity import spoken
    from auricle.augment import excerpt
    from auricle.mixtures import rms, sampled, scaled
    from auricle.segments import Stretch

    rng = np.random.default_rng(seed)
    files = sorted(p for p in noises.rglob("*") if p.suffix.lower() in audio.SUFFIXES)
    order = iter(np.tile(rng.permutation(len(examples)), 1 + 20 * count // len(examples)))
    made, lines = [], []
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        samples = round(length_s * RATE_HZ)
        voice = np.zeros(samples, np.float32)
        truth: list[tuple[float, float]] = []
        aligned: list[tuple[float, float]] | None = [] if words is not None else None
        at = round(rng.uniform(0, 3) * RATE_HZ)
        while number % 10 != 9:  # each tenth is the noise alone
            example = examples[next(order)]
            wave = audio.load(example.audio, RATE_HZ)[0]
            if at + len(wave) > samples:
                break
            spans = spoken(wave, RATE_HZ)
            marks = [Stretch(a, b, "speech") for a, b in spans]
            level = rms(wave[sampled(marks, len(wave), RATE_HZ)])
            loudness = 10 ** (rng.uniform(-30, -20) / 20)
            voice[at : at + len(wave)] = wave * np.float32(loudness / max(level, 1e-6))
            truth += [(a + at / RATE_HZ, b + at / RATE_HZ) for a, b in spans]
            if aligned is not None and words is not None:
                aligned += [(a + at / RATE_HZ, b + at / RATE_HZ) for a, b in words[example.id]]
            at += len(wave) + round(rng.uniform(0.2, 4) * RATE_HZ)
        marks = [Stretch(a, b, "speech") for a, b in truth]
        active = voice[sampled(marks, samples, RATE_HZ)]
        snr_db = float(rng.uniform(*SNRS_DB))
        noise = excerpt(audio.load(files[rng.integers(len(files))], RATE_HZ)[0], samples, rng)
        mixed = voice + scaled(noise, rms(active) or 10 ** (-25 / 20), snr_db)
        mixed *= min(1.0, 0.98 / max(float(np.abs(mixed).max()), 1e-9))
        path = folder / f"{number:04}.flac"
        audio.save(path, mixed, RATE_HZ)
        made.append(Mixed(path, length_s, snr_db, truth, aligned))
        segments = [{"start": round(a, 3), "end": round(b, 3)} for a, b in truth]
        line = {"audio_filepath": path.name, "duration": length_s, "segments": segments}
        lines.append(json.dumps(line | {"snr_db": round(snr_db, 1)}))
    (folder / "mixtures.jsonl").write_text("\n".join(lines) + "\n")
    return made


# --- detectors: samples in, probabilities or decisions over time out ------------------------------

Detector = Callable[[Any], tuple[Any, float, float]]  # probabilities (T,), frame_s, start_s


def ours(model: str) -> Detector:
    from auricle.segmenter import Segmenter

    segmenter = Segmenter.load(model, threads=1)

    def detect(wave: Any) -> tuple[Any, float, float]:
        ((_, heard),) = segmenter.activities([(wave, RATE_HZ)])
        return heard.probabilities[:, 0], heard.frame_s, heard.start_s

    return detect


def webrtc(mode: int) -> Detector:
    """Decisions every 10 ms; `mode` 0 to 3, from generous to strict."""
    import webrtcvad

    def detect(wave: Any) -> tuple[Any, float, float]:
        vad = webrtcvad.Vad(mode)
        hop = RATE_HZ // 100
        pcm = (np.clip(wave, -1, 1) * 32_767).astype("<i2")
        frames = [pcm[at : at + hop].tobytes() for at in range(0, len(pcm) - hop + 1, hop)]
        found = [vad.is_speech(frame, RATE_HZ) for frame in frames]
        return np.array(found, np.float32), 0.01, 0.0

    return detect


def silero(model: Path) -> Detector:
    """Probabilities every 32 ms, with the state and the 64 samples before that it asks for."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    rate = np.array(RATE_HZ, np.int64)

    def detect(wave: Any) -> tuple[Any, float, float]:
        state, before = np.zeros((2, 1, 128), np.float32), np.zeros((1, 64), np.float32)
        found = []
        for block in np.pad(wave, (0, -len(wave) % 512)).reshape(-1, 1, 512):
            heard = np.concatenate([before, block], axis=1)
            said, state = session.run(None, {"input": heard, "state": state, "sr": rate})
            found.append(float(said[0, 0]))
            before = block[:, -64:]
        return np.array(found, np.float32), 512 / RATE_HZ, 0.0

    return detect


def detectors(model: str) -> dict[str, Callable[[], Detector]]:
    """Those that can run here, made when they are asked for."""
    found: dict[str, Callable[[], Detector]] = {"auricle": partial(ours, model)}
    if importlib.util.find_spec("webrtcvad"):
        found |= {f"webrtcvad {mode}": partial(webrtc, mode) for mode in range(4)}
    spec = importlib.util.find_spec("silero_vad")
    places = [Path(place, "data", "silero_vad.onnx") for place in _locations(spec)]
    if place := next((place for place in places if place.exists()), None):
        found["silero-vad"] = partial(silero, place)
    return found


def _locations(spec: Any) -> Sequence[str]:
    return list(spec.submodule_search_locations or ()) if spec else ()


# --- what they find ------------------------------------------------------------------------------


@dataclass
class Heard:
    """What a detector made of one mixture."""

    values: Any
    frame_s: float
    start_s: float


def listen(detect: Detector, mixed: Sequence[Mixed]) -> tuple[list[Heard], float]:
    """Its answers, and the seconds of sound it hears in a second of processor time."""
    from auricle import audio

    found, spent_s = [], 0.0
    for each in mixed:
        wave = audio.load(each.path, RATE_HZ)[0]
        begin = time.process_time()
        found.append(Heard(*detect(wave)))
        spent_s += time.process_time() - begin
    return found, sum(each.duration_s for each in mixed) / max(spent_s, 1e-9)


def scored(mixed: Sequence[Mixed], heard: Sequence[Heard], rule: Any, judge: str, collar_s: float):
    """Frames of `GRID_S`, those near a true boundary left out where there is a collar."""
    from auricle.hysteresis import frames_of, stretches
    from auricle.segment_metrics import FrameScore

    pairs = []
    for each, found in zip(mixed, heard, strict=True):
        frames = round(each.duration_s / GRID_S)
        spans = stretches(found.values, found.frame_s, each.duration_s, rule, start_s=found.start_s)
        truth = getattr(each, judge)
        known = np.ones(frames, bool)
        for edge_s in (edge for span in truth for edge in span):
            low, high = (round((edge_s + side) / GRID_S) for side in (-collar_s, collar_s))
            known[max(0, low) : high] &= collar_s == 0
        wanted = frames_of(truth, frames, GRID_S)
        pairs.append((wanted[known], frames_of(spans, frames, GRID_S)[known]))
    return FrameScore.of(pairs)


def tuned(mixed: Sequence[Mixed], heard: Sequence[Heard]) -> Any:
    """The rule with the best F1 on these."""
    from auricle.hysteresis import chosen_rule

    return chosen_rule(lambda rule: scored(mixed, heard, rule, "truth", 0.0).summary()["f1"])


def words_of(examples: Sequence[Any]) -> dict[str, list[tuple[float, float]]]:
    """Where the aligned words of each example are: they do not know how the detector learned."""
    from auricle.aligner import align_many
    from auricle.errors import AuricleError
    from auricle.runtime import Recognizer

    found = {}
    recognizer = Recognizer.load("english", threads=1)
    stream = align_many(recognizer, ((each.audio, each.text or "") for each in examples))
    for example, (_, answer) in zip(examples, stream, strict=True):
        spans: list[tuple[float, float]] = []
        for word in () if isinstance(answer, AuricleError) else answer.transcript.words:
            begin_s, end_s = max(0.0, word.start_s - ALIGNED_PAD_S), word.end_s + ALIGNED_PAD_S
            if spans and begin_s - spans[-1][1] < ALIGNED_GAP_S:
                spans[-1] = (spans[-1][0], end_s)
            else:
                spans.append((begin_s, end_s))
        found[example.id] = spans
    return found


def figures(score: Any) -> str:
    parts = []
    for name in ("f1", "missed", "false"):
        low, high = score.interval(name)
        parts.append(f"{name} {score.summary()[name]:6.1%} ({low:.1%} to {high:.1%})")
    return "  ".join(parts)


def compare(args: argparse.Namespace, folder: Path) -> tuple[list[tuple[str, str]], dict[str, Any]]:
    """Every detector on every test set, after it was tuned."""
    tune = mixtures(
        examples_of(args.tune), args.tune_noises, folder / "tune", args.count, seed=args.seed + 1
    )
    tests = {}
    for data in args.data:
        examples = examples_of(data)
        words = words_of(examples) if args.aligned else None
        tests[data.stem] = mixtures(
            examples, args.noises, folder / data.stem, args.count, seed=args.seed, words=words
        )
    rows: list[tuple[str, str]] = []
    numbers: dict[str, Any] = {}
    judges = [("truth", 0.0), ("truth", COLLAR_S), *([("aligned", 0.0)] * args.aligned)]
    for name, make in detectors(args.model).items():
        if args.only and name.split()[0] not in args.only:
            continue
        note(f"{name} listens")
        detect = make()
        rule = tuned(tune, listen(detect, tune)[0])
        numbers[name] = {"rule": rule.to_dict()}
        for data, mixed in tests.items():
            heard, speed = listen(detect, mixed)
            numbers[name][data] = {"times_real_time": speed}
            for judge, collar_s in judges:
                score = scored(mixed, heard, rule, judge, collar_s)
                key = f"{judge}{' collar' * (collar_s > 0)}"
                numbers[name][data][key] = score.to_dict()
                rows.append((f"{data}, {key}: {name}", figures(score)))
            for low, high in BANDS_DB:
                chosen = [n for n, each in enumerate(mixed) if low <= each.snr_db < high]
                part = [[each[n] for n in chosen] for each in (mixed, heard)]
                score = scored(*part, rule, "truth", 0.0)
                key = f"{low} to {high} dB"
                numbers[name][data][key] = score.to_dict()
                rows.append((f"{data}, {key}: {name}", figures(score)))
            rows.append((f"{data}, x real time: {name}", f"{speed:.0f}"))
    return sorted(rows, key=lambda row: row[0].partition(":")[0]), numbers


def main() -> None:
    made = parser((__doc__ or "").splitlines()[0])
    made.add_argument("data", nargs="+", type=Path, help="manifests of clean test speech")
    made.add_argument("--noises", type=Path, required=True, help="a folder, held out")
    made.add_argument("--tune", type=Path, required=True, help="a manifest of other speech")
    made.add_argument("--tune-noises", type=Path, required=True, help="a folder of other noises")
    made.add_argument("--model", default="speech", help="a bundle (%(default)s)")
    made.add_argument("--count", type=int, default=100, help="mixtures of 30 s (%(default)s)")
    made.add_argument("--seed", type=int, default=7)
    made.add_argument("--aligned", action="store_true", help="also against forced alignment")
    made.add_argument("--only", nargs="+", help="of these detectors: auricle webrtcvad silero-vad")
    made.add_argument("--packages", type=Path, help="where webrtcvad and silero_vad lie")
    args = made.parse_args()
    if args.packages:
        sys.path.append(str(args.packages))
    warn_if_busy()
    with tempfile.TemporaryDirectory() as folder:
        rows, numbers = compare(args, Path(folder))
    finish("segments", rows, {"machine": machine(), "detectors": numbers}, args.json)


if __name__ == "__main__":
    main()
