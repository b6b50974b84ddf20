"""auricle's side of training.py and clip_training.py: fit(), stopped between epochs.

What it tells its progress to stops it.
"""

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Rounds:
    """Waits for a line before each epoch and answers with its time."""

    def __init__(self) -> None:
        self.audio_s, self.batches = 0.0, 0
        self.wait()

    def wait(self) -> None:
        if not sys.stdin.readline():
            sys.exit()
        self.begun = time.monotonic()

    def step(self, record: Mapping[str, Any]) -> None:
        self.audio_s += record["audio_s"]
        self.batches += 1
        if record["epoch"] == int(record["epoch"]):
            wall_s = time.monotonic() - self.begun
            answer = {"audio_s": self.audio_s, "wall_s": wall_s, "loss": record["loss"]}
            more = {"waiting": record["waiting"], "batches": self.batches}
            print(json.dumps({**answer, **more}), flush=True)
            self.audio_s, self.batches = 0.0, 0
            self.wait()

    def resumed(self, _: Mapping[str, Any]) -> None:
        pass

    def evaluated(self, _: Mapping[str, Any]) -> None:
        """Evaluations are put off to the end: training alone is measured."""


def main() -> None:
    import torch

    from auricle.config import resolve
    from auricle.data import read_data
    from auricle.tasks import task_class
    from auricle.train import fit

    about = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    words = [f"budget.epochs={about['epochs']}", "evaluation.every_steps=1000000000"]
    kind = task_class(about["task"])
    examples = read_data(about["data"], what=kind.needs).examples
    config = resolve(kind.settings, Path(about["recipe"]), [*about["words"], *words])
    task = kind.learn(config, examples)
    parameters = sum(p.numel() for p in task.model().parameters())
    versions = {"torch": torch.__version__, "threads": torch.get_num_threads()}
    print(json.dumps({"parameters": parameters, **versions}), flush=True)
    fit(task, examples, examples[:1], Path(about["out"]), Rounds())


if __name__ == "__main__":
    main()
