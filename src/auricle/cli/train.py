"""auricle train."""

import os
import shlex
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from auricle.cli.display import TrainingDisplay, counting, deaf, errors, output, table
from auricle.cli.extras import need_training
from auricle.cli.origin import beginning
from auricle.cli.signals import Interrupted
from auricle.config import Settings, find_recipe, known_recipes, resolve, to_toml
from auricle.data import (
    Dataset,
    Example,
    What,
    labelled,
    read_for,
    split_unit,
    split_with_labels,
)
from auricle.errors import ConfigError, DataError, listed
from auricle.files import check_free, make_folder, write_text

VALID_SHARE = 0.1  # of data that comes without splits
WIDER_SHARES = (0.2, 0.3, 0.4, 0.5)  # where that holds too few speakers
SMALL_H = 1.0  # of sound; see "How much data?" in README.md
TWICE_S = 1.0  # signals closer than this are one: torchrun repeats what the terminal sent


def _list_recipes(name: str | None) -> str | None:
    if name == "list":
        rows = [[recipe, *about] for recipe, about in known_recipes().items()]
        output.print(table(["recipe", "task", "for"], rows, numbers=False))
        raise typer.Exit
    return name


Parts = dict[str, tuple[Example, ...]]
Recipe = Annotated[
    str | None,
    typer.Option(
        help="A TOML file of settings, or a name: `--recipe list` lists them.",
        callback=_list_recipes,
        is_eager=True,
    ),
]
TaskName = Annotated[
    str | None, typer.Option(help="ctc (text; the default), clip (labels), speaker, segment.")
]
Init = Annotated[
    str | None,
    typer.Option(help="Begin with a trained model: a shipped one, a bundle or a run folder."),
]
NewAnswers = Annotated[
    bool, typer.Option("--new-answers", help="With --init: letters or labels come from this data.")
]


def train(
    data: Annotated[Path, typer.Argument(help="A manifest or a folder of recordings and texts.")],
    out: Annotated[Path, typer.Option(help="The run folder; an unfinished run goes on.")],
    settings: Annotated[list[str] | None, typer.Argument(help="key=value: any setting.")] = None,
    valid: Annotated[Path | None, typer.Option(help="Data to choose the best weights on.")] = None,
    recipe: Recipe = None,
    task: TaskName = None,
    init: Init = None,
    new_answers: NewAnswers = False,
    label: Annotated[str | None, typer.Option(help="Take the labels from this key.")] = None,
    show: Annotated[bool, typer.Option(help="Print the settings and stop.")] = False,
) -> None:
    """
    Examples:
    - `auricle train my_folder --out run` (no recipe: it looks at the data and says what it picked)
    - `auricle train my_folder --out run budget.minutes=30`
    - `auricle train train.jsonl --valid valid.jsonl --out run --recipe conformer`
    - `auricle train my_folder --out run encoder.kind=conformer optimizer.rate=5e-4`
    - `auricle train commands --task clip --out run` (one folder per label, or a key `label`)
    - `auricle train my_folder --init english --out run` (fine-tune the model that is shipped)
    - `auricle train commands --task clip --init english --out run` (its ears, for other answers)
    - `torchrun --nproc-per-node 4 -m auricle train my_folder --out run`

    Train a recognizer on your own recordings. The same command goes on where it was stopped.

    With --init it begins with a trained model, carefully: a lower rate, its first layers still at
    the start, fewer epochs. Encoder and letters stay as they are; for other labels it gets a new
    last layer. For another --task it takes the encoder alone.

    Ctrl-C stops it after the update at hand and saves. All settings: `--show`.
    """
    need_training("train")
    errors.quiet = not _leads()  # of several processes one speaks
    if _leads() and out.is_dir():
        check_free(out, "another training")
    _say(f"reading {data} ...")
    from auricle.tasks import task_class

    begun = beginning(init, out, task)
    if new_answers and not init:
        raise ConfigError("--new-answers goes with --init: a training from nothing learns its own")
    kind = begun.kind if begun else task_class(task or "ctc")
    file = recipe_file(recipe, kind.name) if recipe else None
    words = settings or ()  # a misspelt key among them is told before data is read
    resolve(kind.settings, file, words, **(begun.ears if begun else {}))
    parts = _parts(data, valid, kind, label)
    if begun:
        config = begun.settings(parts["train"], file, words, new_answers)
    else:
        config = settings_for(kind, parts["train"], file, words)
    announce(kind, config, parts["train"], small=not begun)
    if show:
        output.print(to_toml(config.to_dict()), markup=False, end="")
        return
    if begun:
        learner, origin = begun.task(config, parts, new_answers)
    else:
        learner, origin = kind.learn(config, parts["train"], parts["valid"]), None
    _say(learner.about())
    _refuse_what_would_fail(parts, learner, out)
    if begun and _leads():
        _say(begun.changes(learner))
        begun.keep(out, learner)
    _fit(learner, parts, out, origin)


def _fit(learner: Any, parts: Parts, out: Path, origin: Any) -> None:
    """Train until the budget is used or somebody asks to stop, and say how it went."""
    from auricle.train import fit

    budget, examples = learner.config.to_dict()["budget"], (parts["train"], parts["valid"])
    with stopping() as signals, TrainingDisplay(budget) as display:
        outcome = fit(learner, *examples, out, display, lambda: bool(signals), origin)
    if outcome.goes_on:
        _say(f"stopped at update {outcome.steps}, saved; the same command goes on")
        raise typer.Exit(128 + signals[0])
    _report(outcome, out, learner.goal, again=display.resumed_at == outcome.steps)


def recipe_file(recipe: str, task: str) -> Path:
    """The file of a recipe, given by it or by its name.

    Raises:
        ConfigError: there is none, or it is meant for another task.
    """
    file, (meant, _) = find_recipe(recipe), known_recipes().get(recipe, (task, ""))
    if meant != task and not Path(recipe).exists():
        raise ConfigError(f"{recipe} is a recipe for --task {meant}, not {task}")
    return file


def _leads() -> bool:
    return os.environ.get("RANK", "0") == "0"


def _say(text: str) -> None:
    errors.print(text, markup=False, soft_wrap=True)


@contextmanager
def stopping() -> Iterator[list[int]]:
    """Collects the signals that ask the training to stop; a later one stops it at once."""
    signals: list[int] = []
    first = 0.0

    def note(number: int, _: FrameType | None) -> None:
        nonlocal first
        signals.append(number)
        first = first or time.monotonic()
        if time.monotonic() - first > TWICE_S:
            raise Interrupted
        if len(signals) == 1 and _leads():
            # Not through the console: it may be in the middle of a line.
            os.write(2, b"\nstopping after this update; once more stops without saving\n")

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _parts(data: Path, valid: Path | None, kind: Any, label: str | None) -> Parts:
    """The training and validation examples; test examples are never looked at."""
    dataset = _read(data, kind.needs, label)
    for note in dataset.notes:
        _say(note)
    if dataset.splits and "train" not in dataset.splits:
        raise ConfigError(
            f"{data}: holds {', '.join(dataset.splits)}, but nothing to train on: name the "
            "manifest or folder of the training data itself"
        )
    examples = dataset.splits.get("train", dataset.examples)
    if valid is not None:
        with counting("reading") as progress:
            chosen = read_for(valid, kind.needs, label, progress).examples
        return {"train": examples, "valid": chosen}
    if "valid" in dataset.splits:
        return {"train": examples, "valid": dataset.splits["valid"]}
    if len(examples) < 2:
        raise ConfigError(f"{data}: {len(examples)} recording is too few to train on and to check")
    parts = _set_aside(examples, kind.fewest_voices)
    unit = split_unit(examples, 2)
    _say(
        f"{data}: no validation split, so {len(parts['valid'])} of {len(examples)} recordings are "
        f"set aside, parted by {unit}"
        + (" (no speakers are known)" if not any(e.speaker for e in examples) else "")
    )
    return parts


def _read(data: Path, needs: What, label: str | None) -> Dataset:
    """The recordings of a manifest or folder; a hint where it has labels instead of texts."""
    try:
        with counting("reading") as progress:
            return read_for(data, needs, label, progress)
    except DataError:
        if needs != "text" or (found := labelled(data)) is None:
            raise
    names = sorted({name for example in found.examples for name in example.labels})
    raise ConfigError(
        f"{data}: {len(found.examples)} recordings with labels ({listed(names)}) "
        "and without texts: add --task clip to learn the labels"
    )


def _set_aside(examples: Sequence[Example], fewest_voices: int) -> dict[str, tuple[Example, ...]]:
    """A part to validate on, with so many speakers in it at least.

    Raises:
        ConfigError: there are too few for that.
    """
    for share in (VALID_SHARE, *WIDER_SHARES):
        parts = split_with_labels(examples, {"valid": share})
        if fewest_voices == 1 or len({e.speaker for e in parts["valid"]}) >= fewest_voices:
            return parts
    raise ConfigError(
        f"too few speakers to set {fewest_voices} of them aside: record more, or give --valid DATA"
    )


def settings_for(
    kind: Any, train: Sequence[Example], recipe: Path | None, words: Sequence[str]
) -> Settings:
    """What was picked for this data and machine, a recipe's values, the words."""
    import torch

    # A recipe is a whole: nothing is guessed around it.
    picked = {} if recipe else kind.suggest(train, torch.cuda.is_available())
    config: Settings = resolve(kind.settings, recipe, words, **picked)
    return config


def announce(kind: Any, config: Settings, train: Sequence[Example], *, small: bool = True) -> None:
    """Say what is trained on what; and, if `small` data matters, whether it is."""
    import torch

    gpu = torch.cuda.is_available()
    values = config.to_dict()
    encoder = {k: v for k, v in values["encoder"].items() if k != "kind" and v is not None}
    size = ", ".join(f"{key} {value}" for key, value in encoder.items())
    budget = {k: v for k, v in values["budget"].items() if v is not None}
    threads = torch.get_num_threads()
    hours = sum(e.duration_s for e in train) / 3600
    _say(
        f"{hours:.2f} h of sound in {len(train)} recordings, on "
        f"{'a GPU' if gpu else f'{threads} processor thread' + 's' * (threads > 1)}\n"
        f"task {kind.name}, encoder {values['encoder']['kind']} ({size}), "
        f"rate {values['optimizer']['rate']:g}, "
        f"budget {', '.join(f'{v:g} {k}' for k, v in budget.items()) or 'none'}"
    )
    if small and kind.answer == "tokens" and hours < SMALL_H:
        _say(
            "little sound to learn to write from: half an hour of one voice came to 9 of 10 words "
            "wrong, 4 of 10 letters; hours of it make words, or a model to begin with: for English "
            "--init english"
        )


def _refuse_what_would_fail(parts: Parts, learner: Any, out: Path) -> None:
    """Examine the data as the doctor does, once per run: a run that goes on was examined.

    Of several processes one listens; the others wait for it where they join.
    """
    import json

    if not _leads() or (out / "last.safetensors").exists():
        return
    with counting("listening") as progress:
        found = learner.examine(parts, progress)
    found.raise_if_errors()
    for problem in found.problems:
        _say(f"warning: {problem.message}")
    if found.problems:
        _say(f"which ones: {out / 'doctor.json'}")
    make_folder(out)
    write_text(out / "doctor.json", json.dumps(found.to_dict(), indent=2) + "\n")


def _report(outcome: Any, out: Path, goal: tuple[str, str], *, again: bool) -> None:
    """What the training came to, and what to do next."""
    scores = ", ".join(f"{name} {value:.2%}" for name, value in outcome.best.items())
    spent = f"{outcome.steps} updates, {outcome.minutes:.1f} minutes"
    if again:
        _say(
            f"finished before ({outcome.reason}; {spent}; best on valid: {scores}): nothing was "
            "done. A larger budget goes on from here, e.g. "
            f"budget.minutes={max(10, round(2 * outcome.minutes))}"
        )
    else:
        _say(f"finished: {outcome.reason} after {spent}; best on valid: {scores}")
    if outcome.began:
        scores = ", ".join(f"{name} {value:.2%}" for name, value in outcome.began.items())
        better = outcome.best[goal[0]] != outcome.began[goal[0]]
        _say(
            f"the model it began with: {scores}"
            + "; nothing better came of it: more recordings, or another rate?" * (not better)
        )
    elif deaf(outcome.best, goal):
        _say(
            f"warning: next to no word comes out right yet. It starts from nothing, and needs some "
            f"1,000 updates (these were {outcome.steps}) and hours of sound before words do: train "
            f"longer, or on more recordings"
        )
    run = shlex.quote(str(out))
    _say(f"next: auricle evaluate {run} TEST_DATA; auricle export {run} model.auricle")
