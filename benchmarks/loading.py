"""Padding waste of the batches, speed of the loader, and the share of a step that waits for it."""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import common

PROBED = 24  # batches that are really prepared, to see what augmentation does to their padding


def planned(task: Any, examples: list, epochs: int) -> list[float]:
    """Padding waste of each epoch's plan, in [0, 1)."""
    from auricle.batches import padding_waste, plan

    settings, durations = task.config.batches, [e.duration_s for e in examples]
    return [padding_waste(durations, plan(durations, settings, 0, n)) for n in range(epochs)]


def prepared(task: Any, examples: list) -> dict[str, float]:
    """Some batches of the plan, made: padding in frames, and seconds of sound per second."""
    from auricle.batches import Draw, plan

    batches = plan([e.duration_s for e in examples], task.config.batches, 0, 1)
    chosen = batches[:: max(1, len(batches) // PROBED)][:PROBED]
    frames = places = seconds = spent = again = 0.0
    for number, indices in enumerate(chosen, 1):
        group = [examples[i] for i in indices]
        begun = time.perf_counter()
        batch = task.batch(group, Draw(0, 1))
        decoded = time.perf_counter()
        task.batch(group, Draw(0, 2))  # its sound is in memory now
        again += time.perf_counter() - decoded
        spent += decoded - begun
        seconds += batch.seconds
        frames += float(batch.lengths.sum())
        places += batch.features.shape[0] * batch.features.shape[1]
        print(f"\rpreparing {number}/{len(chosen)}", end="", file=sys.stderr, flush=True)
    common.note("")
    return {
        "waste": 1.0 - frames / places,
        "first_times_real_time": seconds / spent,
        "again_times_real_time": seconds / again,
    }


def waiting(records: Iterable[Mapping[str, Any]]) -> dict[int, float]:
    """Share of each epoch's time that waited for a batch, from the last update of each."""
    shares: dict[int, float] = {}
    for record in records:
        if record.get("kind") == "step":
            whole = int(record["epoch"])
            shares[whole - (record["epoch"] == whole)] = record["waiting"]
    return shares


def trained(task: Any, examples: list) -> dict[int, float]:
    """`waiting` of a training of two epochs: one that decodes, one that finds sound in memory."""
    from auricle.train import fit

    records: list[Mapping[str, Any]] = []

    class Watch:
        def step(self, record: Mapping[str, Any]) -> None:
            records.append(dict(record))
            print(f"\rupdate {record['step']}", end="", file=sys.stderr, flush=True)

        def resumed(self, _: Mapping[str, Any]) -> None:
            pass

        def evaluated(self, _: Mapping[str, Any]) -> None:
            common.note("")

    with tempfile.TemporaryDirectory(prefix="auricle-benchmark-") as folder:
        fit(task, examples, examples[:1], Path(folder), Watch())
    return waiting(records)


def arguments() -> argparse.Namespace:
    options = common.parser(__doc__ or "")
    common.add_data(options, "../shared/data/english/train.jsonl")
    options.add_argument("--recipe", type=Path, default=common.RECIPE)
    options.add_argument("--epochs", type=int, default=5, help="plans to look at (%(default)s)")
    options.add_argument("--minutes", type=float, default=20.0, help="of sound to train on")
    options.add_argument("--log", type=Path, help="log.jsonl of a run, instead of training")
    return options.parse_args()


def main() -> None:
    chosen = arguments()
    examples = list(common.examples_of(chosen.data))
    common.warn_if_busy()
    from auricle.config import resolve
    from auricle.tasks import task_class

    kind = task_class("ctc")
    words = ["budget.epochs=2", "evaluation.every_steps=1000000000"]
    task = kind.learn(resolve(kind.settings, chosen.recipe, words), examples)
    waste = planned(task, examples, chosen.epochs)
    made = prepared(task, examples)
    if chosen.log:
        lines = chosen.log.read_text(encoding="utf-8").splitlines()
        waits = waiting(json.loads(line) for line in lines)
    else:
        waits = trained(task, common.some(examples, 60.0 * chosen.minutes))
    workers = task.config.batches.workers
    rows = [
        ("padding, planned", f"{max(waste):.2%} at most of {len(waste)} epochs"),
        ("padding, augmented frames", f"{made['waste']:.2%}"),
        ("one thread prepares", f"{made['first_times_real_time']:.0f} x real time"),
        ("the same, sound in memory", f"{made['again_times_real_time']:.0f} x real time"),
        *(
            (f"waits for the loader, epoch {n + 1}", f"{share:.2%} of the time")
            for n, share in waits.items()
        ),
        ("loader threads", str(workers)),
    ]
    numbers = {
        "machine": common.machine(),
        "examples": len(examples),
        "hours": sum(e.duration_s for e in examples) / 3600.0,
        "planned_waste": waste,
        "prepared": made,
        "waiting": waits,
        "workers": workers,
    }
    common.finish("loading", rows, numbers, chosen.json)


if __name__ == "__main__":
    main()
