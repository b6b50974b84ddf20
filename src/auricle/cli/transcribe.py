"""auricle transcribe."""

import glob
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from auricle import audio
from auricle.cli.display import errors, output
from auricle.errors import AuricleError, ConfigError, DataError
from auricle.files import make_folder, write_text
from auricle.results import Transcript, written
from auricle.runtime import BATCH, Recognizer


def transcribe(
    files: Annotated[list[str], typer.Argument(help="Recordings, folders or globs.")],
    model: Annotated[str, typer.Option(help="A bundle, or a shipped model's name.")] = "english",
    style: Annotated[
        Literal["txt", "json", "srt", "vtt", "textgrid", "ctm"],
        typer.Option("--format", help="How to write it."),
    ] = "txt",
    output_dir: Annotated[
        Path | None, typer.Option("--output", help="A folder: one file per recording goes there.")
    ] = None,
    skip_done: Annotated[bool, typer.Option(help="Leave what --output already holds.")] = False,
    batch: Annotated[int, typer.Option(min=1, help="Pieces of sound heard at once.")] = BATCH,
    threads: Annotated[int | None, typer.Option(min=1, help="Processor threads.")] = None,
) -> None:
    """
    Examples:
    - `auricle transcribe clip.wav`
    - `auricle transcribe "interviews/*.mp3" --format srt --output subtitles`
    - `auricle transcribe lecture.flac --format json > lecture.json`
    - `auricle transcribe archive --output texts --skip-done` (goes on where it was stopped)

    Recordings in, text out. Any length, any common format. A recording that cannot be read is
    reported and does not stop the others; the exit status is then 2.
    """
    paths = _found(files)
    targets = _targets(paths, output_dir, style)
    if skip_done:
        paths = [path for path in paths if path not in targets or not targets[path].exists()]
    if output_dir is None and len(paths) > 1 and style in ("srt", "vtt", "textgrid"):
        raise ConfigError(f"{len(paths)} recordings as {style} need --output FOLDER")
    recognizer = Recognizer.load(model, threads=threads)
    if output_dir:
        make_folder(output_dir)
    failed = 0
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[done]}"))
    with Progress(
        *columns,
        TimeRemainingColumn(),
        console=errors,
        transient=True,
        disable=not errors.is_terminal,
    ) as bar:
        task = bar.add_task("transcribing", total=_total_s(paths) or None, done="")
        stream = recognizer.transcribe_many(
            paths, batch=batch, progress=lambda seconds: bar.advance(task, seconds)
        )
        for number, (path, (_, result)) in enumerate(zip(paths, stream, strict=True), 1):
            bar.update(task, done=f"{number} of {len(paths)}")
            if isinstance(result, AuricleError):
                failed += 1
                bar.console.print(f"[bold red]error:[/] {_plain(result)}", soft_wrap=True)
            elif path in targets:
                write_text(targets[path], _written(path, result, style))
            else:
                _print(path, result, style, alone=len(paths) == 1)
    if failed:
        if len(paths) > 1:
            errors.print(f"{failed} of {len(paths)} recordings could not be transcribed")
        raise typer.Exit(2)


def _found(words: Sequence[str]) -> list[Path]:
    """The recordings that the words name, each once: shells without globs leave them to us."""
    found: dict[Path, None] = {}
    for word in words:
        path = Path(word)
        if path.is_dir():
            inside = [p for p in sorted(path.rglob("*")) if p.suffix.lower() in audio.SUFFIXES]
            if not inside:
                raise DataError(f"{path}: no recordings in this folder")
        elif path.exists() or not glob.has_magic(word):
            inside = [path]
        else:
            inside = [Path(p) for p in sorted(glob.glob(word, recursive=True))]  # noqa: PTH207
            if not inside:
                raise DataError(f"{word}: no file matches")
        found |= dict.fromkeys(inside)
    return list(found)


def _targets(paths: Sequence[Path], folder: Path | None, style: str) -> dict[Path, Path]:
    if folder is None:
        return {}
    targets: dict[Path, Path] = {}
    taken: dict[Path, Path] = {}
    for path in paths:
        target = folder / f"{path.stem}.{style}"
        if target in taken:
            raise ConfigError(
                f"{taken[target]} and {path} would both be written to {target}: transcribe them "
                "into different folders"
            )
        taken[target] = path
        targets[path] = target
    return targets


def _total_s(paths: Sequence[Path]) -> float:
    """Seconds of sound, for the progress bar; what cannot be read is reported later."""
    total = 0.0
    for path in paths:
        try:
            total += audio.inspect(path).duration_s
        except DataError:
            continue
    return total


def _written(path: Path, result: Transcript, style: str) -> str:
    return written(result, style, path.stem).rstrip("\n") + "\n"


def _print(path: Path, result: Transcript, style: str, *, alone: bool) -> None:
    text = _written(path, result, style)
    if not alone and style != "ctm":  # whose lines carry the name
        text = f"{path}: {text}"
    output.print(text, markup=False, end="")


def _plain(error: AuricleError) -> str:
    from rich.markup import escape

    return escape(str(error))
