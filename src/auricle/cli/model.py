"""auricle export, auricle info."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from auricle import __version__
from auricle.bundle import Bundle, Card, find_model
from auricle.cli.answers import recognise
from auricle.cli.display import counting, errors, output, table
from auricle.config import resolve, to_toml
from auricle.data import read_data
from auricle.errors import DataError
from auricle.files import check_folder_of


def export(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    bundle: Annotated[Path, typer.Argument(help="The file to write, NAME.auricle.")],
    settings: Annotated[list[str] | None, typer.Argument(help="key=value, see below.")] = None,
    valid: Annotated[
        Path | None, typer.Option(help="Real clips; the run's own if not given.")
    ] = None,
    card: Annotated[
        Path | None, typer.Option(help="A model card (Markdown) to put inside.")
    ] = None,
    language: Annotated[str | None, typer.Option(help="What is spoken, e.g. en.")] = None,
) -> None:
    """
    Examples:
    - `auricle export run model.auricle`
    - `auricle export run model.auricle precision=fp32 weights=none`
    - `auricle export run model.auricle --card CARD.md --language en`

    Put a trained model into one file that runs without torch. The graph must answer as the model
    does, and its score on real validation clips is measured in fp32 and int8, or it is not written.

    Settings: precision (auto, fp32, int8), weights (fp32, fp16, none), tolerance, int8_loss.
    """
    from auricle.export import ExportSettings, export_bundle
    from auricle.tasks import load_trained

    options = resolve(ExportSettings, None, settings or ())
    check_folder_of(bundle)
    task, network, state = load_trained(run)
    examples = read_data(valid or run / "valid.jsonl", what="audio").examples
    about = _card(task.card(), state["scores"], language, card)

    def score(trial: Bundle) -> dict[str, float]:
        with counting(f"scoring {trial.card.precision}") as progress:
            return task.score(recognise(trial, examples, progress))

    written = export_bundle(bundle, network, about, settings=options, score=score, goal=task.goal)
    facts = written.card.metrics["export"]
    rows = [
        [
            name,
            *(f"{facts[name][metric]:.2%}" for metric in state["scores"]),
            f"{facts[name]['times_real_time']:.0f}",
            f"{facts[name]['graph_bytes'] / 1e6:.1f}",
        ]
        for name in ("fp32", "int8")
        if name in facts
    ]
    columns = ["graph", *state["scores"], "x real time", "MB"]
    output.print(table(columns, rows, f"{len(examples)} validation clips"))
    errors.print(
        f"{bundle}: {facts['chosen']}, {bundle.stat().st_size / 1e6:.1f} MB. {facts['reason']}. "
        f"Graph and model differ by {facts['gate']['difference']:.1e} at most.",
        markup=False,
        soft_wrap=True,
    )


def _card(
    task: dict[str, Any], scores: dict[str, float], language: str | None, path: Path | None
) -> Card:
    """What the bundle will say of itself; `task` is the task's own card."""
    try:
        description = path.read_text(encoding="utf-8") if path else ""
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot read the model card ({error})") from None
    return Card(
        auricle_version=__version__,
        task=task["task"],
        answer=task["answer"],
        stride=task["stride"],
        language=language,
        settings=task["settings"],
        features=task["settings"]["features"],
        tokenizer=task.get("tokenizer", {}),
        labels=task.get("labels", {}),
        decode=task.get("decode", {"kind": "greedy"}),
        metrics={"valid": scores},
        description=description,
    )


def info(
    what: Annotated[str, typer.Argument(help="A bundle, a shipped model, a run, or a recording.")],
    style: Annotated[
        Literal["text", "json"], typer.Option("--format", help="How to say it.")
    ] = "text",
) -> None:
    """
    Examples:
    - `auricle info english`
    - `auricle info run`
    - `auricle info clip.flac`

    Say what a model or a recording is.
    """
    facts, text = _facts(find_model(what))
    if style == "json":
        output.print(json.dumps(facts, indent=2, ensure_ascii=False), markup=False)
    else:
        output.print(text, markup=False)


def _facts(path: Path) -> tuple[dict[str, Any], str]:
    if path.is_dir():
        from auricle.checkpoint import BEST, check_state, read_state

        best = path / "best.safetensors"
        state = read_state(best)
        check_state(best, state, BEST)
        scores = ", ".join(f"{name} {value:.2%}" for name, value in state["scores"].items())
        settings = to_toml(state["settings"])
        text = f"task {state['task']}, update {state['step']}, valid: {scores}\n\n{settings}"
        return state, text
    if path.suffix == ".auricle":
        card = Bundle.read(path).card
        facts = card.model_dump(mode="json")
        members = ", ".join(f"{n} {m.size_bytes / 1e6:.1f} MB" for n, m in card.members.items())
        head = (
            f"task {card.task}, answers with {card.answer}, {card.precision}, "
            f"{card.features.get('sample_rate_hz')} Hz, {len(card.tokenizer.get('symbols', ()))} "
            f"symbols, made by auricle {card.auricle_version}\n{members}\n"
        )
        return facts, f"{head}\n{card.description}"
    from auricle import audio

    sound = audio.inspect(path)
    facts = {
        "path": str(sound.path),
        "format": sound.format,
        "sample_rate_hz": sound.sample_rate_hz,
        "channels": sound.channels,
        "samples": sound.samples,
        "duration_s": sound.duration_s,
    }
    return facts, "\n".join(f"{key}: {value}" for key, value in facts.items())
