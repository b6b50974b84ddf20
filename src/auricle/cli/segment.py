"""auricle segment."""

import os
from pathlib import Path
from typing import Annotated, Literal

import typer

from auricle.cli.display import counting, errors, output
from auricle.cli.transcribe import found_recordings, targets_of, tell_long_names
from auricle.config import resolve
from auricle.errors import AuricleError, ConfigError
from auricle.files import make_folder, write_text
from auricle.hysteresis import HysteresisSettings
from auricle.segmenter import Segmenter
from auricle.segments import FORMATS, Segments, to_csv

Style = Literal["txt", "rttm", "csv", "textgrid", "json"]


def segment(
    files: Annotated[list[str], typer.Argument(help="Recordings, folders or globs.")],
    model: Annotated[str, typer.Option(help="A bundle, or a shipped model's name.")] = "speech",
    style: Annotated[Style, typer.Option("--format", help="How to write it.")] = "txt",
    output_dir: Annotated[
        Path | None, typer.Option("--output", help="A folder: one file per recording goes there.")
    ] = None,
    setting: Annotated[
        list[str] | None, typer.Option("--set", help="key=value, see above; repeatable.")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Processor threads.")] = None,
) -> None:
    """
    Examples:
    - `auricle segment meeting.mp3` (where somebody speaks)
    - `auricle segment "day/*.flac" --format rttm > day.rttm`
    - `auricle segment interviews --format textgrid --output grids`
    - `auricle segment call.wav --set onset=0.7 --set pad_s=0.2` (surer; wider)
    - `auricle segment birds.wav --model birds.auricle` (any labels over time that you trained)

    Recordings of any length in, the stretches of each label out. A recording that cannot be read is
    reported and does not stop the others; the exit status is then 2.

    Settings: onset and offset (probabilities between which a stretch lasts), gap_s (shorter gaps
    are closed), shortest_s (shorter stretches are dropped), pad_s (added on either side). What is
    not set is as it was chosen when the model was trained.
    """
    places = found_recordings(files)
    if style == "textgrid" and len(places) > 1 and output_dir is None:
        raise ConfigError(f"{len(places)} recordings as textgrid need --output FOLDER")
    targets = targets_of(places, output_dir, style)
    tell_long_names(targets)
    segmenter = Segmenter.load(model, threads=threads)
    rule = resolve(HysteresisSettings, None, setting or (), **segmenter.rule.to_dict())
    if output_dir:
        make_folder(output_dir)
    failed, shown = 0, 0
    with counting("listening") as progress:
        stream = segmenter.activities(places)
        for number, (path, (_, found)) in enumerate(zip(places, stream, strict=True), 1):
            progress(number, len(places))
            if isinstance(found, AuricleError):
                failed += 1
                errors.print("[bold red]error:[/] ", end="")
                errors.print(str(found), markup=False, highlight=False, soft_wrap=True)
                continue
            segments = found.segments(rule)
            if path in targets:
                make_folder(targets[path].parent)
                write_text(targets[path], _text(segments, path, style, first=True))
            else:
                text = _text(segments, path, style, first=not shown)
                output.print(text, markup=False, end="")
            shown += 1
    if output_dir:
        errors.print(f"{shown} written to {output_dir}{os.sep}", markup=False, soft_wrap=True)
    if failed and len(places) > 1:
        errors.print(f"{failed} of {len(places)} recordings could not be segmented")
    if failed:
        raise typer.Exit(2)


def _text(segments: Segments, path: Path, style: Style, *, first: bool) -> str:
    """For a terminal or one file of all recordings: tables have one header, at the top."""
    if style == "csv":
        return to_csv(segments, str(path), header=first)
    return FORMATS[style](segments, path.stem if style in ("rttm", "textgrid") else str(path))
