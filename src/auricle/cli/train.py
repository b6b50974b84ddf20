"""auricle train."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from auricle.cli.display import TrainingDisplay, counting, errors
from auricle.config import Settings, resolve, to_toml
from auricle.data import Example, What, read_for, split_by_speaker, split_unit
from auricle.errors import ConfigError
from auricle.files import make_folder, write_text

VALID_SHARE = 0.1  # of data that comes without splits


def train(
    data: Annotated[Path, typer.Argument(help="A manifest or a folder of recordings and texts.")],
    out: Annotated[Path, typer.Option(help="The run folder; an unfinished run goes on.")],
    settings: Annotated[list[str] | None, typer.Argument(help="key=value: any setting.")] = None,
    valid: Annotated[Path | None, typer.Option(help="Data to choose the best weights on.")] = None,
    recipe: Annotated[Path | None, typer.Option(help="A TOML file of settings.")] = None,
    task: Annotated[str, typer.Option(help="What to learn: ctc (text), clip (labels).")] = "ctc",
    label: Annotated[str | None, typer.Option(help="Take the labels from this key.")] = None,
    show: Annotated[bool, typer.Option(help="Print the settings and stop.")] = False,
) -> None:
    """
    Examples:
    - `auricle train my_folder --out run` (no recipe: it looks at the data and says what it picked)
    - `auricle train my_folder --out run budget.minutes=30`
    - `auricle train train.jsonl --valid valid.jsonl --out run --recipe recipes/ctc/english.toml`
    - `auricle train my_folder --out run encoder.kind=conformer optimizer.rate=5e-4`
    - `auricle train commands --task clip --out run` (one folder per label, or a key `label`)
    - `torchrun --nproc-per-node 4 -m auricle train my_folder --out run`

    Train a recognizer on your own recordings. The same command goes on where it was stopped.
    """
    from auricle.tasks import task_class

    kind = task_class(task)
    parts = _parts(data, valid, kind.needs, label)
    config = _settings(kind, parts["train"], recipe, settings or ())
    if show:
        errors.print(to_toml(config.to_dict()), markup=False)
        return
    learner = kind.learn(config, parts["train"])
    errors.print(learner.about(), markup=False, soft_wrap=True)
    _refuse_what_would_fail(parts, learner, out)
    from auricle.train import fit

    with TrainingDisplay() as display:
        outcome = fit(learner, parts["train"], parts["valid"], out, display)
    scores = ", ".join(f"{name} {value:.2%}" for name, value in outcome.best.items())
    errors.print(
        f"{outcome.reason} after {outcome.steps} updates, {outcome.minutes:.1f} minutes; "
        f"best on valid: {scores}\n"
        f"next: auricle evaluate {out} TEST_DATA; auricle export {out} model.auricle",
        markup=False,
        soft_wrap=True,
    )


def _parts(
    data: Path, valid: Path | None, needs: What, label: str | None
) -> dict[str, tuple[Example, ...]]:
    """The training and validation examples; test examples are never looked at."""
    with counting("reading") as progress:
        dataset = read_for(data, needs, label, progress)
    if valid is not None:
        with counting("reading") as progress:
            chosen = read_for(valid, needs, label, progress).examples
        return {"train": dataset.splits.get("train", dataset.examples), "valid": chosen}
    if {"train", "valid"} <= dataset.splits.keys():
        return {name: dataset.splits[name] for name in ("train", "valid")}
    examples = dataset.splits.get("train", dataset.examples)
    if len(examples) < 2:
        raise ConfigError(f"{data}: {len(examples)} recording is too few to train on and to check")
    parts = split_by_speaker(examples, {"valid": VALID_SHARE})
    unit = split_unit(examples, 2)
    errors.print(
        f"{data}: no validation split, so {len(parts['valid'])} of {len(examples)} recordings are "
        f"set aside, parted by {unit}",
        markup=False,
        soft_wrap=True,
    )
    return parts


def _settings(
    kind: Any, train: Sequence[Example], recipe: Path | None, words: Sequence[str]
) -> Settings:
    """What was picked for this data and machine, a recipe's values, the words; says which."""
    import torch

    gpu = torch.cuda.is_available()
    # A recipe is a whole: nothing is guessed around it.
    picked = {} if recipe else kind.suggest(train, gpu)
    config: Settings = resolve(kind.settings, recipe, words, **picked)
    values = config.to_dict()
    encoder = {k: v for k, v in values["encoder"].items() if k != "kind"}
    size = ", ".join(f"{key} {value}" for key, value in encoder.items())
    budget = {k: v for k, v in values["budget"].items() if v is not None}
    errors.print(
        f"{sum(e.duration_s for e in train) / 3600:.2f} h of sound in {len(train)} recordings, on "
        f"{'a GPU' if gpu else f'{torch.get_num_threads()} processor threads'}\n"
        f"task {kind.name}, encoder {values['encoder']['kind']} ({size}), "
        f"rate {values['optimizer']['rate']:g}, "
        f"budget {', '.join(f'{v:g} {k}' for k, v in budget.items()) or 'none'}",
        markup=False,
        soft_wrap=True,
    )
    return config


def _refuse_what_would_fail(parts: dict[str, tuple[Example, ...]], learner: Any, out: Path) -> None:
    """Examine the data as the doctor does, once per run: a run that goes on was examined."""
    import json

    if (out / "last.safetensors").exists():
        return
    with counting("listening") as progress:
        found = learner.examine(parts, progress)
    found.raise_if_errors()
    for problem in found.problems:
        errors.print(f"warning: {problem.message}", markup=False, soft_wrap=True)
    make_folder(out)
    write_text(out / "doctor.json", json.dumps(found.to_dict(), indent=2) + "\n")
