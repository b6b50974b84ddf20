"""Hours of sound trained per hour: auricle against the same model and data in SpeechBrain.

Each trains in a process of its own, whole epochs over the same recordings, and they take turns:
one epoch to warm up, then `--rounds` epochs each, the order changing. The ratio is taken within
each round, so that what else the machine does bears on both.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

import common
from contest import contest

GOAL = 1.5
HERE = Path(__file__).resolve().parent


def specification(chosen: argparse.Namespace, examples: list, folder: Path) -> Path:
    """What is to be trained, as one JSON that needs no auricle to be read."""
    from auricle.config import resolve
    from auricle.tasks import task_class

    kind = task_class("ctc")
    words = [f"batches.seconds={chosen.seconds}", f"batches.workers={chosen.workers}"]
    task = kind.learn(resolve(kind.settings, chosen.recipe, words), examples)
    data = folder / "data.jsonl"
    rows = [
        {"id": e.id, "audio_filepath": str(e.audio), "offset": e.start_s,
         "duration": e.duration_s, "text": e.text, "tokens": task.target(e).tolist()}
        for e in examples
    ]  # fmt: skip
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    about = {
        "task": "ctc",
        "data": str(data),
        "out": str(folder / "run"),
        "recipe": str(chosen.recipe.resolve()),
        "words": words,
        "epochs": chosen.rounds + 1,
        "symbols": len(task.tokenizer.symbols),
        "settings": task.config.to_dict(),
    }
    path = folder / "specification.json"
    path.write_text(json.dumps(about), encoding="utf-8")
    return path


def arguments() -> argparse.Namespace:
    options = common.parser(__doc__ or "")
    common.add_data(options, "../shared/data/english/train.jsonl")
    options.add_argument("--peer", type=Path, help="python of an environment with SpeechBrain")
    options.add_argument("--recipe", type=Path, default=common.RECIPE)
    options.add_argument("--minutes", type=float, default=15.0, help="of sound in an epoch")
    options.add_argument("--seconds", type=float, default=60.0, help="of sound in a batch")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--threads", type=int, default=os.cpu_count(), help="of torch")
    options.add_argument("--workers", type=int, default=1, help="of each loader")
    options.add_argument(
        "--packed", action="store_true",
        help="also SpeechBrain with packed sequences, whose answers, like ours, ignore padding",
    )  # fmt: skip
    return options.parse_args()


def main() -> None:
    chosen = arguments()
    everything = common.examples_of(chosen.data)
    if chosen.peer and not chosen.peer.exists():
        sys.exit(f"{chosen.peer}: no such interpreter; benchmarks/README.md says how to make one")
    common.warn_if_busy()
    examples = common.some(everything, 60.0 * chosen.minutes)
    with tempfile.TemporaryDirectory(prefix="auricle-benchmark-") as temporary:
        folder = Path(temporary)
        path = str(specification(chosen, examples, folder))
        commands = {"auricle": [sys.executable, str(HERE / "train_auricle.py"), path]}
        if chosen.peer:
            peer = [str(chosen.peer), str(HERE / "train_speechbrain.py"), path]
            commands["speechbrain"] = peer
            if chosen.packed:
                commands["speechbrain, packed"] = [*peer, "--packed"]
        about, results = contest(commands, chosen.rounds, chosen.threads, folder)
    report(chosen, examples, about, results)


def report(chosen: argparse.Namespace, examples: list, about: dict, results: dict) -> None:
    speeds = {name: [x["times_real_time"] for x in all_[1:]] for name, all_ in results.items()}
    ratios = {
        name: [ours / theirs for ours, theirs in zip(speeds["auricle"], values, strict=True)]
        for name, values in speeds.items()
        if name != "auricle"
    }
    rows = [(name, f"{each['parameters'] / 1e6:.2f} M parameters") for name, each in about.items()]
    for name, values in speeds.items():
        spread = f"({min(values):.1f} .. {max(values):.1f})"
        rows.append((f"{name}, hours per hour", f"{common.median(values):.1f}  {spread}"))
    for name, values in ratios.items():
        spread = f"({min(values):.2f} .. {max(values):.2f}), goal {GOAL}"
        rows.append((f"auricle / {name}", f"{common.median(values):.2f}  {spread}"))
    numbers = {
        "machine": common.machine(),
        "minutes": sum(e.duration_s for e in examples) / 60.0,
        "batch_seconds": chosen.seconds,
        "threads": chosen.threads,
        "workers": chosen.workers,
        "contestants": about,
        "epochs": results,
        "ratios": {k: {"median": common.median(v), "all": v} for k, v in ratios.items()},
    }
    common.finish("training", rows, numbers, chosen.json)


if __name__ == "__main__":
    main()
