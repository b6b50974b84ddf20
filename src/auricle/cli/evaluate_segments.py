"""The part of `auricle evaluate` for models that answer with labels over time."""

import json
from collections.abc import Sequence

from auricle.cli.answers import Model, Pairs, answer
from auricle.cli.display import counting, output, table
from auricle.data import Example
from auricle.data.marks import marks_of
from auricle.errors import DataError
from auricle.hysteresis import HysteresisSettings, frames_of
from auricle.segment_metrics import FrameScore, merged


def evaluate_segments(model: Model, examples: Sequence[Example], style: str) -> None:
    """Score `model`, with the rule that was chosen for it, on recordings that are marked.

    Raises:
        DataError: a recording that nobody marked.
    """
    if unmarked := [example.id for example in examples if marks_of(example) is None]:
        raise DataError(
            f"{len(unmarked)} recordings are not marked ({unmarked[0]} ...): give segments in the"
            " manifest, or an RTTM, TextGrid or CSV beside each"
        )
    with counting("listening") as progress:
        pairs = answer(model.path, examples, progress)
    facts = {**model.facts.get("labels", {}), **model.facts.get("chosen", {})}
    rule = HysteresisSettings.parse(facts.get("rule", {}), "the rule of this model")
    one_label = model.facts.get("settings", {}).get("one_label")
    scores = {name: _score(pairs, name, rule, one_label) for name in facts.get("names", ())}
    scores["all"] = merged(list(scores.values()))
    if style == "json":
        found = {name: score.to_dict() for name, score in scores.items()}
        output.print(json.dumps({"rule": rule.to_dict(), "labels": found}, indent=2), markup=False)
        return
    shown = scores if len(scores) > 2 else {"all": scores["all"]}
    rows = [[name, *_figures(score)] for name, score in shown.items()]
    columns = ["", "F1", "95 % interval", "missed", "95 % interval", "false", "95 % interval"]
    output.print(table(columns, rows, f"{len(examples)} recordings, by frames"))


def _score(pairs: Pairs, name: str, rule: HysteresisSettings, one_label: str | None) -> FrameScore:
    """The frames of one label."""
    compared = []
    for example, heard in pairs:
        spans = [
            (each.start_s, each.end_s)
            for each in marks_of(example) or ()
            if (one_label or each.label) == name
        ]
        frames = len(heard.probabilities)
        truth = frames_of(spans, frames, heard.frame_s, heard.start_s)
        compared.append((truth, heard.frames(rule)[:, heard.names.index(name)]))
    return FrameScore.of(compared)


def _figures(score: FrameScore) -> list[str]:
    shown = []
    for name, value in score.summary().items():
        interval = score.interval(name)
        shown += [f"{value:.2%}", f"{interval[0]:.2%} to {interval[1]:.2%}" if interval else ""]
    return shown
