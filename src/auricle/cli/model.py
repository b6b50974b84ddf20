"""auricle export, auricle info."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.table import Table

from auricle import __version__
from auricle.bundle import LEXICON, LM, SUFFIX, Bundle, Card, find_model
from auricle.cli.answers import recognise
from auricle.cli.decoding import DecodeWords, LanguageModelFile, LexiconFile, said, with_words
from auricle.cli.display import counting, deaf, errors, output, size, table
from auricle.cli.extras import need_training
from auricle.cli.origin import ancestry, inherited
from auricle.config import resolve, to_toml
from auricle.data import read_data
from auricle.errors import DataError
from auricle.files import check_folder_of, read_text


def export(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    bundle: Annotated[
        Path, typer.Argument(help="The file to write; .auricle is added where it is missing.")
    ],
    settings: Annotated[list[str] | None, typer.Argument(help="key=value, see above.")] = None,
    valid: Annotated[
        Path | None, typer.Option(help="Real clips; the run's own if not given.")
    ] = None,
    card: Annotated[
        Path | None, typer.Option(help="A model card (Markdown) to put inside.")
    ] = None,
    language: Annotated[str | None, typer.Option(help="What is spoken, e.g. en.")] = None,
    lm: LanguageModelFile = None,
    lexicon: LexiconFile = None,
    decode: DecodeWords = None,
    inherit: Annotated[
        bool, typer.Option(help="After --init: that model's lm, lexicon and decoding.")
    ] = True,
) -> None:
    """
    Examples:
    - `auricle export run model.auricle`
    - `auricle export run model.auricle --lm lm.bin` (then `auricle tune model.auricle valid.jsonl`)
    - `auricle export run model.auricle --lm lm.bin --decode beam=50 --decode alpha=0.7`
    - `auricle export run model.auricle precision=fp32 weights=none`
    - `auricle export run model.auricle --card CARD.md --language en`

    Put a trained model into one file that runs without torch. The graph must answer as the model
    does, and its score on real validation clips is measured in fp32 and int8, or it is not written.
    With a language model, it decodes by a beam search. A run that began with a trained model
    takes over what that model knew of words, unless other files are given.

    Settings: precision (auto, fp32, int8), weights (fp32, fp16, int8, none), tolerance, int8_loss,
    cut (auto, pauses, speech: what of a recording it hears).
    """
    _check_run(run)
    need_training("export")
    errors.print(f"exporting {run} ...", markup=False)
    from auricle.export import ExportSettings, export_bundle
    from auricle.tasks import load_trained

    options = resolve(ExportSettings, None, settings or ())
    if bundle.suffix != SUFFIX:
        bundle = bundle.with_name(bundle.name + SUFFIX)
    check_folder_of(bundle)
    task, network, state = load_trained(run)
    examples = read_data(valid or run / "valid.jsonl", what="audio").examples
    begun = inherited(run)
    told = read_text(card, "model card") if card else _description(run, bundle.stem, state, begun)
    language = language or (begun.card.language if begun else None)
    about = _card(task.card(), state["scores"], language, told)
    words = begun if inherit and begun and {LM, LEXICON} & begun.card.members.keys() else None
    if words:
        _say_inherited(words, state, lm, lexicon)
    about, more = with_words(about, lm, lexicon, decode, words)

    def score(trial: Bundle) -> dict[str, float]:
        with counting(f"scoring {trial.card.precision}") as progress:
            return task.score(recognise(trial, examples, progress))

    written = export_bundle(
        bundle, network, about, settings=options, score=score, goal=task.goal, more=more
    )
    _say(written, bundle, state["scores"], len(examples), task.goal)


def _check_run(run: Path) -> None:
    """Say what was named where it is not the folder of a training.

    Raises:
        DataError: it is a bundle, data, or not there.
    """
    path = find_model(str(run)) if not run.is_dir() else run  # a shipped model is no folder
    if path.suffix == SUFFIX and path.is_file():
        raise DataError(
            f"{run} is a bundle already: `auricle tune {run} VALID --lm lm.bin --out new{SUFFIX}`"
            " puts a language model into it"
        )
    if not path.is_dir() or not {"best.safetensors", "last.safetensors"} & {
        each.name for each in path.iterdir()
    }:
        kind = "a folder" if path.is_dir() else "a file"
        raise DataError(
            f"{run} is {kind}, and no run: export takes the folder that `auricle train DATA --out"
            " FOLDER` wrote, with best.safetensors in it"
        )


def _say_inherited(
    begun: Bundle, state: dict[str, Any], lm: Path | None, lexicon: Path | None
) -> None:
    """What of the model that the run began with goes into its bundle."""
    given = {LM: lm, LEXICON: lexicon}
    names = {LM: "language model", LEXICON: "lexicon"}
    taken = [names[n] for n in names if n in begun.card.members and not given[n]]
    errors.print(
        f"as in {state['origin']['name']}: {', '.join([*taken, 'decoding'])}; --no-inherit leaves "
        "them out, `auricle tune` fits the decoding to validation data",
        markup=False,
        soft_wrap=True,
    )


def _say(
    written: Bundle, path: Path, scores: dict[str, float], clips: int, goal: tuple[str, str]
) -> None:
    """What was measured, which precision was chosen and why; whether it is of any use yet."""
    facts = written.card.metrics["export"]
    output.print(_measured(facts, list(scores), clips))
    errors.print(
        f"written: {path}, {size(path.stat().st_size)}, the graph in {facts['chosen']} "
        f"({facts['reason'].partition(': ')[2]}). "
        f"Graph and model differ by {facts['gate']['difference']:.1e} at most."
        + _said_of_cut(written.card, scores),
        markup=False,
        soft_wrap=True,
    )
    if deaf(facts[facts["chosen"]], goal):
        errors.print(
            "warning: on the validation clips next to no word comes out right: this model is not "
            "ready for use; train it longer, or on more recordings",
            markup=False,
            soft_wrap=True,
        )


def _said_of_cut(card: Card, scores: Mapping[str, float]) -> str:
    """What is heard of a recording, and what the validation clips said of it."""
    around = card.metrics["export"].get("around_speech")
    told = {
        "speech": " It hears what sounds like speech alone",
        "pauses": " It hears all of a recording, not what sounds like speech alone",
    }[card.cut]
    if around is None:
        return f"{told}." if card.answer == "tokens" else ""
    return told + f" (with that, {', '.join(f'{name} {around[name]:.2%}' for name in scores)})."


def _measured(facts: dict[str, Any], metrics: list[str], clips: int) -> Table:
    """What each graph scored."""
    rows = [
        [
            name,
            *(f"{facts[name][metric]:.2%}" for metric in metrics),
            f"{facts[name]['times_real_time']:.0f}",
            f"{facts[name]['graph_bytes'] / 1e6:.1f}",
        ]
        for name in ("fp32", "int8")
        if name in facts
    ]
    return table(["graph", *metrics, "x real time", "MB"], rows, f"{clips} validation clips")


def _card(
    task: dict[str, Any], scores: dict[str, float], language: str | None, description: str
) -> Card:
    """What the bundle will say of itself; `task` is the task's own card."""
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
        windows=task.get("windows", {}),
        metrics={"valid": scores},
        description=description,
    )


def _description(run: Path, name: str, state: Mapping[str, Any], begun: Bundle | None) -> str:
    """A model card for want of a better one: what the run tells of its data and its origin."""
    return _learned_from(run, name) + ancestry(state, begun)


def _learned_from(run: Path, name: str) -> str:
    try:
        told = json.loads((run / "environment.json").read_text(encoding="utf-8"))["data"]
        train, valid = (
            f"{told[part]['hours']:.2f} h of sound in {told[part]['examples']} recordings"
            for part in ("train", "valid")
        )
    except (OSError, ValueError, KeyError, TypeError):
        return f"# {name}\n\nNothing is stated about its data.\n"
    return (
        f"# {name}\n\nLearned from {train}; its weights were chosen on {valid}. The licence of "
        "this data is not stated: `auricle export --card CARD.md` puts in a card that does.\n"
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
        return _facts_of_run(path)
    if path.suffix == ".auricle":
        card = Bundle.read(path).card
        facts = card.model_dump(mode="json")
        members = ", ".join(f"{n} {size(m.size_bytes)}" for n, m in card.members.items())
        head = (
            f"task {card.task}, answers with {card.answer}, {card.precision}, "
            f"{card.features.get('sample_rate_hz')} Hz, made by auricle {card.auricle_version}\n"
            f"{members}\n{_answers(card)}"
            + (
                f"hears live sound, {card.streaming.look_ahead_ms:g} ms ahead\n"
                if card.streaming
                else ""
            )
        )
        return facts, f"{head}\n{card.description}"
    from auricle import audio

    if path.suffix in {".safetensors", ".onnx"}:
        raise DataError(f"{path}: a part of a model: give the run folder or the bundle it is in")
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


def _answers(card: Card) -> str:
    """What a model can say: its symbols and how they are decoded, or its labels."""
    if card.answer == "tokens":
        symbols = len(card.tokenizer.get("symbols", ()))
        heard = "; hears what sounds like speech" * (card.cut == "speech")
        return f"{symbols} symbols; decoding: {said(card.decode)}{heard}\n"
    names = card.labels.get("names", ())
    told = f"{len(names)} labels: {', '.join(map(str, names))}\n" if names else ""
    window_s = card.windows.get("window_s")
    return told + (f"hears {window_s:g} s at a time\n" if window_s else "")


def _facts_of_run(run: Path) -> tuple[dict[str, Any], str]:
    """How far a training is, how well it does, and its settings."""
    need_training("info on a run")
    from auricle.checkpoint import BEST, check_state, origin_of, read_state
    from auricle.run import Counters

    last, best = run / "last.safetensors", run / "best.safetensors"
    if not last.exists() and not best.exists():
        raise DataError(f"{run}: no run of `auricle train`, or one that has saved nothing yet")
    lines, state = [], {}
    if last.exists():
        state = read_state(last)
        check_state(last, state, {"task": str, "settings": dict, "counters": dict})
        now = {**asdict(Counters()), **state["counters"]}
        ended = f"finished ({now['stopped']})" if now["stopped"] else "not finished"
        lines.append(
            f"task {state['task']}, {ended}: {now['step']} updates, {now['epoch']} whole epochs, "
            f"{now['minutes']:.1f} minutes"
        )
    if best.exists():
        kept = read_state(best)
        check_state(best, kept, BEST)
        if origin := origin_of(best, kept):
            lines.append(f"began with {origin['name']} (weights {origin['sha256'][:12]}...)")
        scores = ", ".join(f"{name} {value:.2%}" for name, value in kept["scores"].items())
        lines.append(f"best on valid, after update {kept['step']}: {scores}")
        state = {**state, **kept}
    else:
        lines.append("not evaluated yet")
    return state, "\n".join([*lines, "", to_toml(state["settings"])])
