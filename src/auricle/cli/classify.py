"""auricle classify."""

import csv
import io
import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from auricle.classifier import Classifier
from auricle.cli.display import errors, output
from auricle.cli.transcribe import found_recordings
from auricle.engine import BATCH
from auricle.errors import AuricleError
from auricle.files import check_folder_of, write_text
from auricle.results import Label, Labels

Style = Literal["txt", "json", "csv"]


def classify(
    files: Annotated[list[str], typer.Argument(help="Recordings, folders or globs.")],
    model: Annotated[str, typer.Option(help="A bundle that answers with labels.")],
    style: Annotated[Style, typer.Option("--format", help="How to write it.")] = "txt",
    top: Annotated[int, typer.Option(min=1, help="Labels to name for each recording.")] = 1,
    windows: Annotated[bool, typer.Option(help="Also every window, with its times.")] = False,
    hop_s: Annotated[
        float | None, typer.Option("--hop", min=0.01, help="Seconds from one window to the next.")
    ] = None,
    output_file: Annotated[
        Path | None, typer.Option("--output", help="Write to this file, not to the terminal.")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Windows heard at once.")] = BATCH,
    threads: Annotated[int | None, typer.Option(min=1, help="Processor threads.")] = None,
) -> None:
    """
    Examples:
    - `auricle classify clip.wav --model commands.auricle`
    - `auricle classify "clips/*.wav" --model sounds.auricle --top 3 --format csv`
    - `auricle classify day.flac --model sounds.auricle --windows --hop 0.5`

    Recordings in, labels out, each with its probability. A recording longer than the clips of the
    training is heard through windows; its probabilities are the mean of theirs. A recording that
    cannot be read is reported and does not stop the others; the exit status is then 2.
    """
    if output_file:
        check_folder_of(output_file)
    paths = found_recordings(files)
    classifier = Classifier.load(model, threads=threads)
    answers: list[tuple[Path, Labels]] = []
    failed = 0
    stream = classifier.classify_many(paths, hop_s=hop_s, batch=batch)
    for path, (_, result) in zip(paths, stream, strict=True):
        if isinstance(result, AuricleError):
            failed += 1
            errors.print("[bold red]error:[/] ", end="")
            errors.print(str(result), markup=False, highlight=False, soft_wrap=True)
        elif style == "txt" and output_file is None:  # as they come
            output.print(_txt([(path, result)], top, windows), markup=False, end="")
        else:
            answers.append((path, result))
    write = {"txt": _txt, "json": _json, "csv": _csv}[style]
    if output_file:
        write_text(output_file, write(answers, top, windows))
    elif style != "txt":
        output.print(write(answers, top, windows), markup=False, end="")
    if failed:
        raise typer.Exit(2)


Answers = list[tuple[Path, Labels]]


def _txt(answers: Answers, top: int, windows: bool) -> str:
    lines = []
    for path, result in answers:
        lines.append(f"{path}: {_named(_best(result, top))}")
        if windows:
            lines += [
                f"  {w.start_s:9.2f} to {w.end_s:9.2f} s  {_named(w.labels[:top])}"
                for w in result.windows
            ]
    return "".join(f"{line}\n" for line in lines)


def _best(result: Labels, top: int) -> tuple[Label, ...]:
    """The chosen labels, or the likeliest `top` where more are asked for."""
    chosen = tuple(label for label in result.labels if label.name in result.chosen)
    return result.labels[:top] if top > 1 else chosen


def _named(labels: tuple[Label, ...]) -> str:
    return "  ".join(f"{label.name} {label.confidence:.1%}" for label in labels) or "(none)"


def _json(answers: Answers, top: int, windows: bool) -> str:
    rows = []
    for path, result in answers:
        row: dict[str, Any] = {
            "path": str(path),
            "duration": round(result.duration_s, 3),
            "chosen": list(result.chosen),
            "labels": _values(result.labels[: max(top, len(result.chosen))]),
        }
        if windows:
            row["windows"] = [
                {"start": round(w.start_s, 3), "end": round(w.end_s, 3)}
                | {"labels": _values(w.labels[:top])}
                for w in result.windows
            ]
        rows.append(row)
    return json.dumps(rows, ensure_ascii=False, indent=2) + "\n"


def _values(labels: tuple[Label, ...]) -> list[dict[str, Any]]:
    return [{"label": each.name, "confidence": round(each.confidence, 4)} for each in labels]


def _csv(answers: Answers, top: int, windows: bool) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["path", "start", "end", "rank", "label", "confidence"])
    for path, result in answers:
        spans = [(0.0, result.duration_s, _best(result, top))]
        if windows:
            spans = [(w.start_s, w.end_s, w.labels[:top]) for w in result.windows]
        for start_s, end_s, labels in spans:
            for rank, label in enumerate(labels, 1):
                times = (f"{start_s:.3f}", f"{end_s:.3f}")
                table.writerow([path, *times, rank, label.name, f"{label.confidence:.4f}"])
    return text.getvalue()
