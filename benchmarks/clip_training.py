"""Training of a clip model, beside the same network in a plain PyTorch loop (train_plain.py).

    python benchmarks/clip_training.py train.jsonl --recipe recipes/clip/keywords.toml

Both take turns, an epoch at a time; the ratio is taken within each round. Both shift and mask;
speeds are left out, as few write them. The plain loop holds all clips in memory from the start and
keeps nothing: no checkpoint, log or average.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

import common
from contest import contest

HERE = Path(__file__).resolve().parent


def specification(chosen: argparse.Namespace, folder: Path) -> tuple[Path, float]:
    """What is to be trained, as JSON; and how many hours of sound that is."""
    from auricle.config import resolve
    from auricle.data import read_data, write_manifest
    from auricle.features import FeatureSettings, mel_filters
    from auricle.tasks import task_class

    kind = task_class("clip")
    examples = read_data(chosen.data, what=kind.needs).examples[: chosen.clips]
    data = folder / "data.jsonl"
    write_manifest(data, examples)
    words = ["augment.speeds=[1.0]", f"batches.workers={chosen.workers}"]
    config = resolve(kind.settings, chosen.recipe, words)
    about = {
        "task": "clip",
        "data": str(data),
        "out": str(folder / "run"),
        "recipe": str(chosen.recipe.resolve()),
        "words": words,
        "epochs": chosen.rounds + 1,
        "filters": mel_filters(FeatureSettings.parse(config.to_dict()["features"])).T.tolist(),
    }
    path = folder / "specification.json"
    path.write_text(json.dumps(about), encoding="utf-8")
    return path, sum(each.duration_s for each in examples) / 3600


def main() -> None:
    options = common.parser(__doc__ or "")
    common.add_data(options, "../shared/data/arabic_commands/train.jsonl")
    recipe = common.ROOT / "recipes/clip/keywords.toml"
    options.add_argument("--recipe", type=Path, default=recipe)
    options.add_argument("--clips", type=int, default=3_000)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--threads", type=int, default=os.cpu_count(), help="of torch")
    options.add_argument("--workers", type=int, default=1, help="of our loader")
    chosen = options.parse_args()
    common.warn_if_busy()
    with tempfile.TemporaryDirectory(prefix="auricle-benchmark-") as temporary:
        folder = Path(temporary)
        path, hours = specification(chosen, folder)
        scripts = {"auricle": "train_auricle.py", "plain": "train_plain.py"}
        commands = {
            name: [sys.executable, str(HERE / script), str(path)]
            for name, script in scripts.items()
        }
        about, results = contest(commands, chosen.rounds, chosen.threads, folder)
    speeds = {name: [x["times_real_time"] for x in all_[1:]] for name, all_ in results.items()}
    ratios = [a / b for a, b in zip(speeds["auricle"], speeds["plain"], strict=True)]
    rows = [("network", f"{about['auricle']['parameters'] / 1e3:.0f} k parameters")]
    for name, values in speeds.items():
        spread = f"({min(values):.0f} .. {max(values):.0f})"
        rows.append((f"{name}, hours per hour", f"{common.median(values):.0f}  {spread}"))
    spread = f"({min(ratios):.2f} .. {max(ratios):.2f}), goal 1"
    rows.append(("auricle / plain", f"{common.median(ratios):.2f}  {spread}"))
    numbers = {
        "machine": common.machine(), "hours": hours, "threads": chosen.threads,
        "workers": chosen.workers, "epochs": results, "ratios": ratios,
    }  # fmt: skip
    common.finish("clip training", rows, numbers, chosen.json)


if __name__ == "__main__":
    main()
