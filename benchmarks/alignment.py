"""Forced alignment: word boundaries against other aligners and against known joins; an hour of it.

    python benchmarks/alignment.py test.jsonl --model model.auricle
    python benchmarks/alignment.py test.jsonl --model model.auricle --peers PEER/bin/python

Same posteriors for all. `--peers` names the Python of an environment with torchaudio (2.8 or
older: newer ones have no aligner) and ctc-segmentation. In the joins, recordings follow each other
without a pause, so where each word belongs is known: in which recording, and where it is when that
is aligned alone. One core: set OMP_NUM_THREADS=1.
"""

import argparse
import itertools
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import common
import numpy as np

PEERS = ("torchaudio", "ctc_segmentation")
RATE_HZ = 16_000
Spans = list[
    list[tuple[int, int]]
]  # of each utterance, of each word: first frame and the one after

# --- the aligners: (T, V) log probabilities and words of ids -> frames of the words ---------------


def ours(log_probs: np.ndarray, words: list[list[int]], separator: int) -> list[tuple[int, int]]:
    from auricle.align import force_align

    found = force_align(log_probs, [[word] for word in words], separator=separator)
    return [(span.start_frame, span.end_frame) for span in found.spans if span]


def torchaudio(
    log_probs: np.ndarray, words: list[list[int]], separator: int
) -> list[tuple[int, int]]:
    import torch
    from torchaudio.functional import forced_align

    tokens = _flat(words, separator)
    path, _ = forced_align(torch.from_numpy(log_probs)[None], torch.tensor([tokens]))
    at, spans = 0, []
    for symbol, group in itertools.groupby(path[0].tolist()):
        frames = len(list(group))
        if symbol:
            spans.append((at, at + frames))
        at += frames
    return _words_of(spans, words)


def ctc_segmentation(
    log_probs: np.ndarray, words: list[list[int]], separator: int
) -> list[tuple[int, int]]:
    import ctc_segmentation as peer

    config = peer.CtcSegmentationParameters()
    config.index_duration = 1.0
    config.char_list = [str(n) for n in range(log_probs.shape[1])]
    truth, _ = peer.prepare_token_list(config, [np.array(_flat(words, separator))])
    timings, _, _ = peer.ctc_segmentation(config, log_probs, truth)
    starts = [round(float(timing)) for timing in timings[2:-1]]  # -1 and a blank before, one after
    return _words_of([(start, start + 1) for start in starts], words)


def _flat(words: list[list[int]], separator: int) -> list[int]:
    return [id_ for word in words for id_ in (separator, *word)][1:]


def _words_of(spans: Sequence[tuple[int, int]], words: list[list[int]]) -> list[tuple[int, int]]:
    """From the spans of symbols, separators among them, to those of words."""
    found, at = [], 0
    for word in words:
        found.append((spans[at][0], spans[at + len(word) - 1][1]))
        at += len(word) + 1
    return found


# --- measuring ------------------------------------------------------------------------------------


def measure(align: Any, cases: Sequence[tuple[np.ndarray, list[list[int]]]], separator: int) -> Any:
    """Frames of all words, and processor seconds."""
    align(*cases[0], separator)
    begun_s = time.process_time()
    spans = [align(log_probs, words, separator) for log_probs, words in cases]
    return {"spans": spans, "seconds": time.process_time() - begun_s}


def apart(some: Spans, others: Spans, frame_s: float) -> dict[str, float]:
    """How far word boundaries lie apart, in milliseconds."""
    pairs = [(a, b) for x, y in zip(some, others, strict=True) for a, b in zip(x, y, strict=True)]
    errors_ms = 1e3 * frame_s * np.abs(np.diff(np.array(pairs), axis=1)).ravel()
    return {
        "median_ms": float(np.median(errors_ms)),
        "p95_ms": float(np.quantile(errors_ms, 0.95)),
        "most_ms": float(errors_ms.max()),
        "equal": float((errors_ms == 0).mean()),
        "boundaries": len(errors_ms),
    }


def peers(
    python: str, cases: Sequence[tuple[np.ndarray, list[list[int]]]], separator: int
) -> dict[str, Any]:
    """What the others find, each in a process of their environment."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cases.npz"
        arrays = {f"{n:05}": log_probs for n, (log_probs, _) in enumerate(cases)}
        np.savez(path, words=json.dumps([words for _, words in cases]), **arrays)
        for name in PEERS:
            command = [python, "-W", "ignore", __file__, "--as", name, "--cases", str(path)]
            command += ["--separator", str(separator)]
            ended = subprocess.run(command, capture_output=True, text=True, check=False)
            if ended.returncode:
                common.note(f"{name}: {ended.stderr.strip().splitlines()[-1:]}")
            else:
                found[name] = json.loads(ended.stdout.splitlines()[-1])
    return found


def as_peer(arguments: argparse.Namespace) -> None:
    stored = np.load(arguments.cases)
    arrays = [stored[name] for name in sorted(stored.files) if name != "words"]
    cases = list(zip(arrays, json.loads(str(stored["words"])), strict=True))
    align = {"torchaudio": torchaudio, "ctc_segmentation": ctc_segmentation}[arguments.name]
    print(json.dumps(measure(align, cases, arguments.separator)))


def joined(recognizer: Any, waves: Sequence[np.ndarray], texts: Sequence[str]) -> dict[str, float]:
    """Align recordings that follow each other; hold it against each alone."""
    from auricle.align import STRICT
    from auricle.aligner import align

    alone, starts_s, at_s = [], [], 0.0
    for wave, text in zip(waves, texts, strict=True):
        alone.append(align(recognizer, (wave, RATE_HZ), text, settings=STRICT).transcript.words)
        starts_s.append(at_s)
        at_s += len(wave) / RATE_HZ
    sound = np.concatenate(waves)
    whole = iter(
        align(recognizer, (sound, RATE_HZ), " ".join(texts), settings=STRICT).transcript.words
    )
    errors_s, astray = [], []
    for words, wave, start_s in zip(alone, waves, starts_s, strict=True):
        end_s = start_s + len(wave) / RATE_HZ
        for word in words:
            found = next(whole)
            errors_s += [
                abs(found.start_s - start_s - word.start_s),
                abs(found.end_s - start_s - word.end_s),
            ]
            astray.append(not start_s <= (found.start_s + found.end_s) / 2 <= end_s)
    return {
        "recordings": len(waves),
        "words": len(astray),
        "median_ms": 1e3 * float(np.median(errors_s)),
        "p95_ms": 1e3 * float(np.quantile(errors_s, 0.95)),
        "astray": float(np.mean(astray)),
    }


def hour(arguments: argparse.Namespace) -> None:
    """In a process of its own: the posteriors of a long recording with its text."""
    from auricle.align import AlignSettings, Posteriors, Script, align_recording
    from auricle.text import CharTokenizer

    stored = np.load(arguments.cases)
    log_probs = stored["log_probs"]
    frame_s = float(stored["frame_s"])
    tokenizer = CharTokenizer(tuple(stored["symbols"].tolist()))
    duration_s = len(log_probs) * frame_s
    heard = Posteriors(log_probs, frame_s * np.arange(len(log_probs)), frame_s, duration_s)
    before_mb = peak_mb()
    begun_s = time.process_time()
    script = Script.of(str(stored["text"]), tokenizer)
    found = align_recording(heard, script, tokenizer, AlignSettings())
    figures = {
        "minutes": duration_s / 60,
        "words": len(script.words),
        "symbols": sum(len(ways[0]) + 1 for ways in script.ways),
        "seconds": time.process_time() - begun_s,
        "missing": len(found.missing),
        "extra": len(found.extra),
        "posteriors_mb": log_probs.nbytes / 1e6,
        "before_mb": before_mb,
        "peak_mb": peak_mb(),
    }
    print(json.dumps(figures))


def peak_mb() -> float:
    """Most memory that this process held; `ru_maxrss` would count what it was forked from too."""
    status = Path("/proc/self/status")
    if status.exists():
        lines = status.read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024 / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def in_fresh_process(heard: Sequence[Any], texts: Sequence[str], tokenizer: Any, minutes: float):
    """Align the recordings as one, repeated until there are so many minutes."""
    frame_s = heard[0].frame_s
    order, frames = [], 0
    while frames * frame_s < 60 * minutes:
        order.append(len(order) % len(heard))
        frames += len(heard[order[-1]].log_probs)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "hour.npz"
        np.savez(
            path,
            log_probs=np.concatenate([heard[n].log_probs for n in order]),
            text=" ".join(texts[n] for n in order),
            symbols=np.array(tokenizer.symbols),
            frame_s=frame_s,
        )
        command = [sys.executable, __file__, "--as", "hour", "--cases", str(path)]
        ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(ended.stdout)


def contest(chosen: argparse.Namespace) -> None:
    import auricle
    from auricle import audio
    from auricle.align import Script
    from auricle.aligner import posteriors_many
    from auricle.text import normalise

    common.warn_if_busy()
    examples = common.some(common.examples_of(chosen.data), 60 * chosen.minutes)
    recognizer = auricle.load(chosen.model, threads=1)
    tokenizer = recognizer.tokenizer
    waves = [
        audio.load(e.audio, RATE_HZ, start_s=e.start_s, duration_s=e.duration_s or None)[0]
        for e in examples
    ]
    card = recognizer.engine.bundle.card
    version = card.settings.get("text", {}).get("normaliser", "none")
    texts = [normalise(e.text or "", version) for e in examples]
    heard = [p for _, p in posteriors_many(recognizer, ((w, RATE_HZ) for w in waves))]
    scripts = [Script.of(text, tokenizer) for text in texts]
    cases = [
        (each.log_probs, [list(ways[0]) for ways in script.ways])
        for each, script in zip(heard, scripts, strict=True)
    ]
    separator = tokenizer.separator
    found = {"auricle": measure(ours, cases, separator)}
    found |= peers(chosen.peers, cases, separator) if chosen.peers else {}
    frames = sum(len(log_probs) for log_probs, _ in cases)
    numbers: dict[str, Any] = {"machine": common.machine(), "model": chosen.model}
    numbers["against"] = {
        name: apart(found["auricle"]["spans"], each["spans"], recognizer.frame_s)
        for name, each in found.items()
        if name != "auricle"
    }
    numbers["us_per_frame"] = {n: 1e6 * each["seconds"] / frames for n, each in found.items()}
    numbers["joins"] = joined(recognizer, waves, texts)
    numbers["long"] = in_fresh_process(heard, texts, tokenizer, chosen.long_minutes)
    common.finish(_about(cases, frames), _rows(numbers), numbers, chosen.json)


def _about(cases: Sequence[tuple[np.ndarray, list[list[int]]]], frames: int) -> str:
    words = sum(len(words) for _, words in cases)
    return f"Alignment: {len(cases)} recordings, {frames} frames, {words} words"


def _rows(numbers: dict[str, Any]) -> list[tuple[str, str]]:
    rows = [
        (
            f"boundaries against {name}",
            (
                f"median {each['median_ms']:.0f} ms, 95 % within {each['p95_ms']:.0f} ms, "
                f"equal {each['equal']:.2%} of {each['boundaries']}"
            ),
        )
        for name, each in numbers["against"].items()
    ]
    rows += [(f"{name}", f"{us:.0f} us/frame") for name, us in numbers["us_per_frame"].items()]
    joins, long = numbers["joins"], numbers["long"]
    return [
        *rows,
        (
            f"{joins['recordings']} joined, against each alone",
            (
                f"median {joins['median_ms']:.0f} ms, 95 % within {joins['p95_ms']:.0f} ms, "
                f"{joins['astray']:.2%} of {joins['words']} words in another recording"
            ),
        ),
        (
            f"{long['minutes']:.0f} minutes, {long['words']} words, {long['symbols']} symbols",
            (
                f"{long['seconds']:.0f} s, peak {long['peak_mb']:.0f} MB, of which "
                f"{long['before_mb']:.0f} MB before it began"
            ),
        ),
    ]


def main() -> None:
    options = common.parser(__doc__ or "")
    common.add_data(options, "../shared/data/english/test_librispeech.jsonl")
    options.add_argument("--model", default="english", help="a bundle or a shipped model's name")
    options.add_argument("--minutes", type=float, default=20.0, help="of sound (%(default)s)")
    options.add_argument("--long-minutes", type=float, default=60.0, help="(%(default)s)")
    options.add_argument("--peers", help="the Python of an environment with the other aligners")
    options.add_argument("--as", dest="name", choices=(*PEERS, "hour"), help=argparse.SUPPRESS)
    options.add_argument("--cases", type=Path, help=argparse.SUPPRESS)
    options.add_argument("--separator", type=int, help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.name is None:
        contest(chosen)
    elif chosen.name == "hour":
        hour(chosen)
    else:
        as_peer(chosen)


if __name__ == "__main__":
    main()
