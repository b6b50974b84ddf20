"""auricle transcribe."""

import glob
import itertools
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from auricle import audio
from auricle.cli.decoding import Decoding, with_decoding
from auricle.cli.display import errors, output
from auricle.cli.signals import Interrupted
from auricle.engine import BATCH
from auricle.errors import AuricleError, ConfigError, DataError
from auricle.files import make_folder, write_text
from auricle.results import Transcript, verbose_json, written

Style = Annotated[
    Literal["txt", "json", "srt", "vtt", "textgrid", "ctm"],
    typer.Option("--format", help="How to write it."),
]
Folder = Annotated[
    Path | None, typer.Option("--output", help="A folder: one file per recording goes there.")
]


@with_decoding
def transcribe(
    files: Annotated[list[str], typer.Argument(help="Recordings, folders or globs.")],
    model: Annotated[str, typer.Option(help="A bundle, or a shipped model's name.")] = "english",
    style: Style = "txt",
    output_dir: Folder = None,
    skip_done: Annotated[bool, typer.Option(help="Leave what --output already holds.")] = False,
    batch: Annotated[int, typer.Option(min=1, help="Pieces of sound heard at once.")] = BATCH,
    threads: Annotated[int | None, typer.Option(min=1, help="Processor threads.")] = None,
    *,
    decoding: Decoding,
) -> None:
    """
    Examples:
    - `auricle transcribe clip.wav`
    - `auricle transcribe "interviews/*.mp3" --format srt --output subtitles`
    - `auricle transcribe lecture.flac --format json > lecture.json`
    - `auricle transcribe *.wav --format json > all.jsonl` (several: one line each, with its file)
    - `auricle transcribe archive --output texts --skip-done` (goes on where it was stopped)
    - `auricle transcribe call.wav --hotwords "Siobhan, Llanfair"` (names that are likely here)
    - `auricle transcribe song.mp3 --cut pauses` (all of it, not only where it sounds like speech)

    Recordings in, text out. Any length, any common format. A recording that cannot be read is
    reported and does not stop the others; the exit status is then 2.

    `--output` keeps the sub-folders of a folder that is transcribed.
    """
    places = found_recordings(files)
    targets = targets_of(places, output_dir, style)
    tell_long_names(targets)
    paths = [p for p in places if not (skip_done and p in targets and targets[p].exists())]
    check_kept({path: targets[path] for path in paths if path in targets})
    if output_dir is None and len(paths) > 1 and style not in ("txt", "json", "ctm"):
        raise ConfigError(f"{len(paths)} recordings as {style} need --output FOLDER")
    recognizer = decoding.recognizer(model, threads)
    if output_dir:
        make_folder(output_dir)
    failed = done = 0
    with _hint(output_dir), _hearing(paths) as bar:
        stream = recognizer.transcribe_many(
            paths,
            batch=batch,
            progress=partial(bar.advance, bar.task_ids[0]),
            **decoding.of(recognizer),
        )
        for number, (path, (_, result)) in enumerate(zip(paths, stream, strict=True), 1):
            bar.update(bar.task_ids[0], done=f"{number} of {len(paths)}")
            if isinstance(result, AuricleError):
                failed += 1
                bar.console.print(f"[bold red]error:[/] {_plain(result)}", soft_wrap=True)
            elif path in targets:
                make_folder(targets[path].parent)
                write_text(targets[path], _written(path, result, style))
                done += 1
            else:
                _print(path, result, style, alone=len(places) == 1)
    if output_dir:
        skipped = f", {len(places) - len(paths)} were there" if skip_done else ""
        told = f"{done} written to {output_dir}{os.sep}{skipped}"
        errors.print(told, markup=False, soft_wrap=True)
    if failed and len(paths) > 1:
        errors.print(f"{failed} of {len(paths)} recordings could not be transcribed")
    if failed:
        raise typer.Exit(2)


@contextmanager
def _hint(folder: Path | None) -> Iterator[None]:
    """After Ctrl-C: what is written is kept, and how to go on."""
    try:
        yield
    except Interrupted as stop:
        if folder and any(folder.rglob("*")):
            stop.add_note(
                f"what is written to {folder}{os.sep} is kept: --skip-done goes on from it"
            )
        raise


def _hearing(paths: Sequence[Path]) -> Progress:
    """A progress bar by seconds of sound."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[done]}"))
    bar = Progress(
        *columns,
        TimeRemainingColumn(),
        console=errors,
        transient=True,
        disable=not errors.is_terminal,
    )
    bar.add_task("transcribing", total=_total_s(paths) or None, done="")
    return bar


def found_recordings(words: Sequence[str]) -> dict[Path, Path]:
    """The recordings that the words name, each once: shells without globs leave them to us.

    With each its place below --output: folders and globs keep the folders that they hold.
    """
    found: dict[Path, Path] = {}
    for word in words:
        path = Path(word)
        root = path
        if path.is_dir():
            inside = [p for p in sorted(path.rglob("*")) if p.suffix.lower() in audio.SUFFIXES]
            if not inside:
                raise DataError(f"{path}: no recordings in this folder")
        elif path.exists() or not glob.has_magic(word):
            inside = [path]
            root = path.parent
        else:
            root = _before_magic(path)
            inside = [Path(p) for p in sorted(glob.glob(word, recursive=True))]  # noqa: PTH207
            if not inside:
                raise DataError(f"{word}: no file matches")
        for recording in inside:
            found.setdefault(recording, recording.relative_to(root))
    return found


def _before_magic(pattern: Path) -> Path:
    """The folder above the first part of a glob that matches more than one name."""
    folders = list(itertools.takewhile(lambda part: not glob.has_magic(part), pattern.parts))
    return Path(*folders)


def targets_of(places: Mapping[Path, Path], folder: Path | None, style: str) -> dict[Path, Path]:
    """The file of each recording below `folder`, with its place there; none without a folder.

    Recordings of one name but for the suffix keep it: `a.flac.txt`, `a.ogg.txt`.

    Raises:
        ConfigError: two recordings would be written to one file.
    """
    if folder is None:
        return {}
    short = {path: folder / place.parent / f"{path.stem}.{style}" for path, place in places.items()}
    counted = Counter(short.values())
    targets: dict[Path, Path] = {}
    taken: dict[Path, Path] = {}
    for path, place in places.items():
        alone = counted[short[path]] == 1  # else a.flac beside a.ogg is a.flac.txt
        target = short[path] if alone else folder / place.parent / f"{path.name}.{style}"
        if target in taken:
            raise ConfigError(
                f"{taken[target]} and {path} would both be written to {target}: name the folder "
                "above them instead, or use different --output folders"
            )
        taken[target] = path
        targets[path] = target
    return targets


def check_kept(targets: Mapping[Path, Path]) -> None:
    """See that nothing is written over what lies beside its recording: it may be its transcript.

    Raises:
        ConfigError: names the first.
    """
    for path, target in targets.items():
        if target.exists() and target.parent.resolve() == path.parent.resolve():
            raise ConfigError(
                f"{target} is there already, beside its recording, and may be its transcript: name"
                " another --output, or leave out with --skip-done what has one"
            )


def tell_long_names(targets: Mapping[Path, Path]) -> None:
    """Say, once, that recordings of one name keep their suffix in the names of their files."""
    long = [target for path, target in targets.items() if target.stem == path.name]
    if long:
        errors.print(
            f"{len(long)} recordings share their names but for the suffix, so it is kept:"
            f" {long[0]}",
            markup=False,
            soft_wrap=True,
        )


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
    if not alone and style == "json":  # several documents in a row would be none
        text = json.dumps({"file": str(path), **verbose_json(result)}, ensure_ascii=False) + "\n"
    elif not alone and style != "ctm":  # whose lines carry the name
        text = f"{path}: {text}"
    output.print(text, markup=False, end="")


def _plain(error: AuricleError) -> str:
    from rich.markup import escape

    return escape(str(error))
