"""One run from several that began with each other: `python mean_of_runs.py OUT CHECKPOINT...`.

Each CHECKPOINT is the `best.safetensors` or `last.safetensors` of a run; name one twice and it
counts twice. OUT becomes a run folder to export or to begin with: the mean of their (moving
averages of) weights, and the settings and counts of texts of the last one named. Means of weights
work where the trainings are in one basin (Wortsman et al. 2022, Model soups).
"""

import shutil
import sys
from pathlib import Path

from torch import Tensor

from auricle.checkpoint import mean_of, read_checkpoint, read_state, under_prefix, write_checkpoint
from auricle.origin import COUNTED


def main(out: Path, *checkpoints: Path) -> None:
    states = [_weights(path) for path in checkpoints]
    mean = mean_of(states)
    mean |= {name: t for name, t in states[-1].items() if name.startswith(COUNTED)}
    run, best = checkpoints[-1].parent, "best.safetensors"
    out.mkdir(parents=True)
    for name in ("settings.toml", "environment.json", "valid.jsonl"):
        shutil.copy(run / name, out)
    write_checkpoint(out / best, mean, read_state(run / best))


def _weights(path: Path) -> dict[str, Tensor]:
    tensors, _ = read_checkpoint(path)
    model = under_prefix("model", tensors)
    # A `best` holds the model's weights under their own names, a `last` also what goes on.
    return {**model, **under_prefix("average.mean", tensors)} if model else tensors


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
