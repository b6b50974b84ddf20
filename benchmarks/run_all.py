"""Every benchmark, one after the other, into one JSON: under 12 minutes on two quiet cores."""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import common

HERE = Path(__file__).resolve().parent


def plans(chosen: argparse.Namespace) -> dict[str, list[str]]:
    """The arguments of each benchmark; `--tiny` only shows that they run."""
    train, valid = str(chosen.train), str(chosen.valid)
    tiny = chosen.tiny
    peer = ["--peer", str(chosen.peer), "--packed"] if chosen.peer else []
    training = ["--minutes", "1", "--rounds", "1"] if tiny else ["--minutes", "12", "--rounds", "4"]
    lengths = ["--minutes", "1", "3"] if tiny else []
    made = {
        "startup": ["--times", "3"] if tiny else [],
        "scoring": ["--utterances", "500"] if tiny else [],
        "training": [train, *peer, *training],
        "loading": [train, "--minutes", "1" if tiny else "20"],
    }
    if chosen.model:
        made["transcription"] = [valid, "--model", chosen.model, *lengths]
    return made


def arguments() -> argparse.Namespace:
    options = common.parser(__doc__ or "")
    data = common.ROOT / "../shared/data/english"
    options.add_argument("--train", type=Path, default=data / "train.jsonl")
    options.add_argument("--valid", type=Path, default=data / "valid.jsonl")
    options.add_argument("--model", help="a bundle or a shipped model's name; none: left out")
    options.add_argument("--peer", type=Path, help="python of an environment with SpeechBrain")
    options.add_argument("--only", nargs="+", help="names of benchmarks")
    options.add_argument("--tiny", action="store_true", help="only show that everything runs")
    return options.parse_args()


def main() -> None:
    chosen = arguments()
    results: dict[str, Any] = {"machine": common.machine()}
    failed = []
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="auricle-benchmark-") as folder:
        for name, words in plans(chosen).items():
            if chosen.only and name not in chosen.only:
                continue
            to = Path(folder) / f"{name}.json"
            common.note(f"== {name}")
            command = [sys.executable, str(HERE / f"{name}.py"), *words, "--json", str(to)]
            started = time.monotonic()
            status = subprocess.run(command, check=False).returncode
            if status:
                failed.append(name)
                continue
            results[name] = json.loads(to.read_text(encoding="utf-8"))
            results[name]["command"] = " ".join([f"benchmarks/{name}.py", *words])
            results[name]["took_s"] = round(time.monotonic() - started, 1)
    results["took_minutes"] = round((time.monotonic() - begun) / 60.0, 2)
    print(f"\n{results['took_minutes']} minutes in all")
    if chosen.json:
        chosen.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
        print(f"written to {chosen.json}")
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
