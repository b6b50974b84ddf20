"""auricle spot."""

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from auricle.classifier import Classifier
from auricle.cli.display import counting, errors, output
from auricle.cli.transcribe import found_recordings
from auricle.config import resolve
from auricle.errors import AuricleError, ConfigError
from auricle.results import Labels
from auricle.spotting import SpottingSettings, detections, false_alarms_per_hour


def spot(
    files: Annotated[list[str], typer.Argument(help="Recordings, folders or globs.")],
    model: Annotated[str, typer.Option(help="A bundle that answers with labels.")],
    setting: Annotated[
        list[str] | None, typer.Option("--set", help="key=value, see above; repeatable.")
    ] = None,
    hop_s: Annotated[
        float, typer.Option("--hop", min=0.01, help="Seconds from one window to the next.")
    ] = 0.1,
    alarms: Annotated[
        bool, typer.Option(help="No keyword is in there: count false alarms per hour.")
    ] = False,
    style: Annotated[Literal["txt", "json"], typer.Option("--format", help="How to say it.")] = (
        "txt"
    ),
) -> None:
    """
    Examples:
    - `auricle spot meeting.flac --model commands.auricle`
    - `auricle spot noise/ --model commands.auricle --alarms --set threshold=0.9`
    - `auricle spot meeting.flac --model commands.auricle --set keywords=yes,stop`

    Find keywords in recordings of any length: the model slides over them. The time is when a
    keyword was sure: the end of the window that completed it.

    Settings: threshold (0.8), smoothing (windows averaged, 3), refractory_s (seconds without a
    further detection, 1), keywords (all but _unknown_ and _silence_).
    """
    settings = resolve(SpottingSettings, None, setting or ())
    classifier = Classifier.load(model)
    names = classifier.labels.names
    if unknown := set(settings.keywords) - set(names):
        raise ConfigError(f"{model} knows no {', '.join(sorted(unknown))}: {', '.join(names)}")
    paths = found_recordings(files)
    heard_s, count, failed = 0.0, 0, 0
    with counting("listening") as progress:
        stream = classifier.classify_many(paths, hop_s=hop_s)
        for done, (path, (_, result)) in enumerate(zip(paths, stream, strict=True), 1):
            progress(done, len(paths))
            if isinstance(result, AuricleError):
                failed += 1
                errors.print(f"error: {result}", markup=False, highlight=False, soft_wrap=True)
                continue
            heard_s += result.duration_s
            count += _show(path, result, names, settings, style, quiet=alarms)
    if alarms:
        rate, low, high = false_alarms_per_hour(count, heard_s)
        facts = {"alarms": count, "hours": heard_s / 3600, "per_hour": rate}
        if style == "json":
            output.print(json.dumps(facts | {"interval": [low, high]}), markup=False)
        else:
            output.print(
                f"{count} alarms in {heard_s / 3600:.2f} h: {rate:.2f} per hour "
                f"({low:.2f} to {high:.2f})",
                markup=False,
            )
    if failed:
        raise typer.Exit(2)


def _show(
    path: Path,
    result: Labels,
    names: tuple[str, ...],
    settings: SpottingSettings,
    style: str,
    *,
    quiet: bool,
) -> int:
    found = list(detections(result.windows, names, settings))
    for each in found if not quiet else ():
        if style == "json":
            output.print(
                json.dumps({"file": str(path)} | each.to_dict(), ensure_ascii=False), markup=False
            )
        else:
            times = f"{each.start_s:8.2f} to {each.end_s:.2f} s"
            line = f"{path}: {times}  {each.keyword} {each.confidence:.1%}"
            output.print(line, markup=False)
    return len(found)
