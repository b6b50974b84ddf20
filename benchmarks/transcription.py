"""Speed on one core and peak memory of a bundle, for a short and for a long recording.

Each length is transcribed in a fresh process that is bound to one core.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import common

GOAL = 0.20  # by how much the peak of the longest may exceed that of the shortest
SAMPLE_RATE_HZ = 16_000
UNIQUE_S = 600.0  # of different sound; the longer recordings repeat it
PAUSE_S = 0.5  # between two recordings


def build(examples: list, minutes: float, path: Path) -> None:
    """Recordings one after the other, again and again, until there are `minutes` of sound."""
    import numpy as np
    import soundfile

    from auricle import audio

    pause = np.zeros(round(PAUSE_S * SAMPLE_RATE_HZ), np.float32)
    waves = [
        audio.load(e.audio, SAMPLE_RATE_HZ, start_s=e.start_s, duration_s=e.duration_s)[0]
        for e in examples
    ]
    left, at = round(minutes * 60 * SAMPLE_RATE_HZ), 0
    with soundfile.SoundFile(path, "w", SAMPLE_RATE_HZ, 1) as out:
        while left > 0:
            for wave in (waves[at % len(waves)], pause):
                out.write(wave[:left])
                left -= min(left, len(wave))
            at += 1


def measure(model: str, recording: str) -> dict[str, float]:
    """Transcribe one file in this process."""
    import auricle

    begun = time.perf_counter()
    recogniser = auricle.load(model, threads=1)
    loaded = time.perf_counter()
    loaded_mb = peak_mb()
    transcript = recogniser.transcribe(recording)
    done = time.perf_counter()
    return {
        "load_s": loaded - begun,
        "transcribe_s": done - loaded,
        "audio_s": transcript.duration_s,
        "words": len(transcript.text.split()),
        "loaded_mb": loaded_mb,
        "peak_mb": peak_mb(),
    }


def peak_mb() -> float:
    """Most memory this process ever held."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def in_fresh_process(model: str, recording: Path) -> dict[str, float]:
    command = [sys.executable, __file__, "--child", model, str(recording)]
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    done = subprocess.run(
        command, env={**os.environ, **one}, stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{model} on {recording} failed (status {done.returncode}), see above")
    return json.loads(done.stdout)


def child(words: list[str]) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    print(json.dumps(measure(*words)))


def arguments() -> argparse.Namespace:
    options = common.parser(__doc__ or "")
    common.add_data(options, "../shared/data/english/valid.jsonl")
    options.add_argument("--model", default="english", help="a bundle or a shipped model's name")
    options.add_argument(
        "--minutes", type=float, nargs="+", default=[10.0, 180.0], help="lengths (%(default)s)"
    )
    return options.parse_args()


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2:])
        return
    chosen = arguments()
    common.warn_if_busy()
    examples = common.some(common.examples_of(chosen.data), UNIQUE_S)
    rows, results = [], {}
    with tempfile.TemporaryDirectory(prefix="auricle-benchmark-") as folder:
        for minutes in sorted(chosen.minutes):
            path = Path(folder) / f"{minutes:g}.flac"
            common.note(f"building {minutes:g} minutes of sound ...")
            build(examples, minutes, path)
            common.note(f"transcribing {minutes:g} minutes on one core ...")
            result = in_fresh_process(chosen.model, path)
            path.unlink()
            speed = result["audio_s"] / result["transcribe_s"]
            results[f"{minutes:g}"] = {**result, "times_real_time": speed}
            fast = f"{speed:.0f} x real time (factor {1 / speed:.4f}), {result['words']} words"
            heavy = f"peak {result['peak_mb']:.0f} MB, loads in {result['load_s']:.2f} s"
            rows.append((f"{minutes:g} minutes", f"{fast}, {heavy}"))
    peaks = [result["peak_mb"] for result in results.values()]
    growth = peaks[-1] / peaks[0] - 1.0
    rows.append((f"goal: peak within {GOAL:.0%}", f"{growth <= GOAL} ({growth:+.1%})"))
    numbers = {"machine": common.machine(), "model": str(chosen.model), "lengths": results}
    common.finish("transcription", rows, {**numbers, "peak_growth": growth}, chosen.json)


if __name__ == "__main__":
    main()
