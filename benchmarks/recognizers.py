"""Word error rate and speed of a bundle beside pocketsphinx, on the same recordings in one run.

    python benchmarks/recognizers.py --peer PEER/bin/python

The peer is what pip offers offline for English without further downloads (its model and language
model come with it); both are scored by one normaliser, on one core, recording by recording. The
difference is a paired bootstrap over utterances.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import common

TESTS = ("test_librispeech", "test_speechocean", "test_commonvoice")
RATE_HZ = 16_000
Ask = Callable[[Any], tuple[str, float]]
"""Samples -> what was said, and the seconds that it took."""
PEER = """
import json, sys, time, wave
from pocketsphinx import Decoder
decoder = Decoder(samprate=16000, loglevel="FATAL")
for line in sys.stdin:
    with wave.open(line.strip()) as file:
        sound = file.readframes(file.getnframes())
    begun = time.perf_counter()
    decoder.start_utt()
    decoder.process_raw(sound, full_utt=True)
    decoder.end_utt()
    found = decoder.hyp()
    text = found.hypstr if found else ""
    print(json.dumps({"text": text, "s": time.perf_counter() - begun}), flush=True)
"""


class Peer:
    """pocketsphinx in a process of its own, asked for one recording after the other."""

    def __init__(self, python: Path, folder: Path) -> None:
        self.sound = folder / "clip.wav"
        self.process = subprocess.Popen(
            [str(python), "-c", PEER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __call__(self, samples: Any) -> tuple[str, float]:
        import numpy as np
        import soundfile

        assert self.process.stdin
        assert self.process.stdout
        soundfile.write(self.sound, np.clip(samples, -1, 1), RATE_HZ, subtype="PCM_16")
        self.process.stdin.write(f"{self.sound}\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        return answer["text"], answer["s"]


def heard(
    data: list[Any], systems: dict[str, Ask]
) -> tuple[dict[str, list[str]], dict[str, float]]:
    """What each system hears in each recording, and the seconds that it takes in all."""
    from auricle import audio

    texts: dict[str, list[str]] = {name: [] for name in systems}
    spent = dict.fromkeys(systems, 0.0)
    for each in data:
        samples = audio.load(each.audio, RATE_HZ)[0]
        for name, ask in systems.items():
            text, seconds = ask(samples)
            texts[name].append(text)
            spent[name] += seconds
    return texts, spent


def ours(recognizer: Any) -> Ask:
    def ask(samples: Any) -> tuple[str, float]:
        begun = time.perf_counter()
        text = recognizer.transcribe((samples, RATE_HZ)).text
        return text, time.perf_counter() - begun

    return ask


def main() -> None:
    options = common.parser(__doc__ or "")
    tests = [common.ROOT / f"../shared/data/english/{name}.jsonl" for name in TESTS]
    options.add_argument("--data", nargs="+", type=Path, default=tests, help="manifests")
    options.add_argument("--model", default="english", help="a bundle (%(default)s)")
    options.add_argument("--peer", type=Path, help="python of an environment with pocketsphinx")
    options.add_argument("--clips", type=int, help="of each manifest, at most")
    chosen = options.parse_args()
    if chosen.peer and not chosen.peer.exists():
        sys.exit(f"{chosen.peer}: no such interpreter; pip install pocketsphinx in one")
    common.warn_if_busy()
    from auricle.decode import GreedySettings
    from auricle.metrics import compare, score_words
    from auricle.runtime import Recognizer
    from auricle.text import normalise

    recognizer = Recognizer.load(chosen.model, threads=1)
    greedy = Recognizer.load(chosen.model, threads=1, decode=GreedySettings())
    systems = {"auricle": ours(recognizer), "auricle, greedy": ours(greedy)}
    rows, numbers = [], {}
    with tempfile.TemporaryDirectory(prefix="auricle-benchmark-") as folder:
        if chosen.peer:
            systems["pocketsphinx"] = Peer(chosen.peer, Path(folder))
        for data in chosen.data:
            examples = common.examples_of(data)[: chosen.clips]
            texts, spent = heard(examples, systems)
            sound_s = sum(each.duration_s for each in examples)
            rows.append((data.stem, f"{len(examples)} recordings, {sound_s / 60:.1f} min"))
            version, counts = recognizer.normaliser, {}
            wanted = [normalise(each.text or "", version) for each in examples]
            for name, found in texts.items():
                count = score_words(wanted, [normalise(text, version) for text in found])
                counts[name], speed = count, sound_s / spent[name]
                rows.append((f"  {name}", f"{common.percent(count)}  {speed:.0f} x real time"))
                numbers[f"{data.stem}, {name}"] = {"wer": count.to_dict(), "times_real_time": speed}
            if chosen.peer and (change := compare(counts["pocketsphinx"], counts["auricle"])):
                spread = f"({change.interval.low:+.1%} to {change.interval.high:+.1%})"
                faster = f"{spent['pocketsphinx'] / spent['auricle']:.1f} x as fast"
                rows.append(("  against the peer", f"{change.change:+.1%} {spread}, {faster}"))
    common.finish("recognizers", rows, {"machine": common.machine(), "tests": numbers}, chosen.json)


if __name__ == "__main__":
    main()
