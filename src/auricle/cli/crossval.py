"""auricle crossval."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from auricle.cli.answers import Pairs
from auricle.cli.display import TrainingDisplay, counting, errors, output, table
from auricle.cli.evaluate_labels import check_labels, measured, show, value_of
from auricle.cli.origin import beginning
from auricle.cli.train import (
    VALID_SHARE,
    Init,
    Recipe,
    announce,
    recipe_file,
    settings_for,
    stopping,
)
from auricle.data import Example, folds_by, read_for, split_with_labels
from auricle.errors import ConfigError, listed
from auricle.files import make_folder, write_text
from auricle.labels import LabelSet

SHOWN = 4  # values of a fold


def crossval(
    data: Annotated[Path, typer.Argument(help="A manifest or a folder of labelled recordings.")],
    out: Annotated[Path, typer.Option(help="A folder: one run for each fold goes there.")],
    settings: Annotated[list[str] | None, typer.Argument(help="key=value: any setting.")] = None,
    by: Annotated[
        str | None,
        typer.Option(help="The key that parts the data; else fold, speaker or file."),
    ] = None,
    folds: Annotated[
        int | None, typer.Option(min=2, help="Join the values of the key to so many folds.")
    ] = None,
    recipe: Recipe = None,
    label: Annotated[
        str | None, typer.Option(help="Take the labels from this key of the manifest.")
    ] = None,
    task: Annotated[str, typer.Option(help="What to learn.")] = "clip",
    init: Init = None,
) -> None:
    """
    Examples:
    - `auricle crossval esc50.csv --by fold --out runs/esc --recipe sounds`
    - `auricle crossval my_folder --folds 5 --out runs/mine`
    - `auricle crossval digits.jsonl --by speaker --out runs/digits budget.epochs=20`
    - `auricle crossval ravdess.jsonl --label emotion --by speaker --folds 6 --out runs/emotion`
    - `auricle crossval calls --by speaker --init english --out runs/calls` (each with its ears)

    Train once for each fold (a budget is each one's), on all the others, and score what each run
    says of the fold it never saw. A tenth of each training part chooses its weights, parted by
    speaker where speakers are known; the fold itself chooses nothing. Unfinished runs go on;
    finished ones are kept.
    """
    from auricle.tasks import task_class

    kind = task_class(task)
    with counting("reading") as progress:
        examples = read_for(data, kind.needs, label, progress).examples
    by = by or _usual_key(examples)
    parts = folds_by(by, [value_of(each, by) for each in examples], examples, folds)
    words, file = settings or (), recipe_file(recipe, task) if recipe else None
    if begun := beginning(init, out, task):
        config = begun.settings(examples, file, words, anew=True)
    else:
        config = settings_for(kind, examples, file, words)
    announce(kind, config, examples, small=not begun)
    make_folder(out)
    answered: dict[str, Pairs] = {}
    labels: LabelSet | None = None
    for name, held in parts.items():
        rest = [example for each, part in parts.items() if each != name for example in part]
        answered[name], labels = _fold(kind, config, init, rest, held, out / f"fold_{name}")
        accuracy = measured(labels, answered[name]).accuracy
        output.print(f"fold {name}: accuracy {accuracy:.2%} of {len(held)}", markup=False)
    if labels is None:
        raise ConfigError(f"{data}: no fold")
    write_text(out / "crossval.json", json.dumps(_report(labels, answered, data, by), indent=2))


def _usual_key(examples: Sequence[Example]) -> str:
    """What parts data if nobody says so: folds of its own, else people, else each recording."""
    if all("fold" in each.extra for each in examples):
        return "fold"
    if any(each.speaker for each in examples):
        return "speaker"
    errors.print(
        "warning: no speakers are known, so recordings are parted one by one: where a voice is in"
        " several folds, the figures are better than they will be for new voices"
    )
    return "file"


def _report(labels: LabelSet, answered: Mapping[str, Pairs], data: Path, by: str) -> dict[str, Any]:
    """All folds together and each by itself: shown, and as JSON types."""
    pairs = [pair for part in answered.values() for pair in part]
    total = measured(labels, pairs)
    over = measured(labels, pairs, [value_of(example, by) for example, _ in pairs]).interval()
    show(total)
    if over:
        output.print(f"accuracy, drawn over {by}: {over.low:.2%} to {over.high:.2%}", markup=False)
    rows = [
        {"fold": name, by: _named(part, by), "clips": len(part)} | measured(labels, part).summary()
        for name, part in answered.items()
    ]
    lines = [[_cell(value) for value in row.values()] for row in rows]
    output.print(table(list(rows[0]), lines, "each fold by itself"))
    return {
        "data": str(data),
        "by": by,
        "folds": rows,
        "all": total.to_dict(),
        "interval_over_groups": list(over) if over else None,
    }


def _fold(
    kind: Any,
    config: Any,
    init: str | None,
    rest: Sequence[Example],
    held: Sequence[Example],
    out: Path,
) -> tuple[Pairs, LabelSet]:
    """Train on `rest`, answer `held`; a finished run is only asked."""
    from auricle.tasks import load_trained
    from auricle.train import fit, predictions

    chosen = split_with_labels(rest, {"valid": VALID_SHARE})
    if begun := beginning(init, out, kind.name):
        learner, origin = begun.task(config, chosen, anew=True)
    else:
        learner, origin = kind.learn(config, chosen["train"], chosen["valid"]), None
    check_labels(learner.labels, held)  # before the training: one that only this fold has
    parts = (chosen["train"], chosen["valid"])
    with stopping() as signals, TrainingDisplay(config.to_dict()["budget"]) as display:
        outcome = fit(learner, *parts, out, display, lambda: bool(signals), origin)
    if outcome.goes_on:
        errors.print(f"{out}: stopped at update {outcome.steps}, saved; the same command goes on")
        raise typer.Exit(128 + signals[0])
    errors.print(f"{out}: {outcome.steps} updates, {outcome.minutes:.1f} min", markup=False)
    task, network, _ = load_trained(out)
    found: Any = task
    return predictions(task, network, held), found.labels


def _named(part: Pairs, by: str) -> str:
    """Which values of a key a fold has."""
    values = sorted({value_of(example, by) for example, _ in part})
    return listed(values, SHOWN)


def _cell(value: Any) -> str:
    return f"{value:.2%}" if isinstance(value, float) else str(value)
