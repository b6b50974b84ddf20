"""The part of `auricle evaluate` for models that answer with embeddings of voices."""

import json
from collections.abc import Sequence

import numpy as np

from auricle.cli.answers import Model, answer
from auricle.cli.display import counting, output, table
from auricle.data import Example
from auricle.errors import DataError
from auricle.verification import Trials


def evaluate_voices(model: Model, examples: Sequence[Example], style: str) -> None:
    """Score every pair of the recordings as a trial, and show how well speakers are parted."""
    if nameless := [example for example in examples if example.speaker is None]:
        raise DataError(f"{nameless[0].audio}: no speaker, so nothing to verify against")
    with counting("listening") as progress:
        pairs = answer(model.path, examples, progress)
    vectors = np.array([result.values for _, result in pairs])
    trials = Trials.of_all_pairs(vectors, [str(example.speaker) for example in examples])
    interval = trials.interval()
    counts = {
        "recordings": len(examples),
        "speakers": len({example.speaker for example in examples}),
        "target_trials": int(trials.same.sum()),
        "other_trials": int((~trials.same).sum()),
    }
    if style == "json":
        found = {"interval": list(interval) if interval else None, "threshold": trials.threshold}
        output.print(json.dumps(trials.summary() | found | counts, indent=2), markup=False)
        return
    spread = f"{interval.low:.2%} to {interval.high:.2%}" if interval else ""
    rows = [
        ["equal error rate", f"{trials.equal_error_rate:.2%}", spread],
        ["least detection cost (p = 0.05)", f"{trials.min_dcf():.3f}", ""],
    ]
    title = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items())
    output.print(table(["", "", "95 % interval over speakers"], rows, title))
