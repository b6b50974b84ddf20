"""auricle align."""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from auricle import audio
from auricle.align import Aligned, AlignSettings
from auricle.cli.answers import sources_of
from auricle.cli.display import counting, errors, output
from auricle.config import resolve
from auricle.data import read_data
from auricle.engine import Source
from auricle.errors import AuricleError, ConfigError
from auricle.files import make_folder, read_text, write_text
from auricle.results import verbose_json, written
from auricle.runtime import Recognizer

Style = Literal["json", "srt", "vtt", "textgrid", "ctm"]


@dataclass(frozen=True)
class _Jobs:
    names: Sequence[str]  # of the files that are written, without their suffix
    sources: Iterable[Source]  # read as they are needed
    texts: Sequence[str]


def align(
    recording: Annotated[Path, typer.Argument(help="A recording; or a folder or a manifest.")],
    text: Annotated[Path | None, typer.Argument(help="What is said in it: a text file.")] = None,
    settings: Annotated[list[str] | None, typer.Argument(help="key=value: priors.")] = None,
    model: Annotated[str, typer.Option(help="A bundle, or a shipped model's name.")] = "english",
    style: Annotated[Style, typer.Option("--format", help="How to write it.")] = "json",
    output_dir: Annotated[
        Path | None, typer.Option("--output", help="A folder: one file per recording goes there.")
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Every word was said, and nothing else.")
    ] = False,
    threads: Annotated[int | None, typer.Option(min=1, help="Processor threads.")] = None,
) -> None:
    """
    Examples:
    - `auricle align speech.wav speech.txt > times.json`
    - `auricle align lecture.mp3 script.txt --format srt > lecture.srt`
    - `auricle align folder --format textgrid --output grids` (x.wav beside x.txt; or a manifest)
    - `auricle align speech.wav speech.txt --strict`, or with priors: `omitted=1e-6 extra=0.001`

    When each word of a known text was said, in a recording of any length. Words that were not said
    and things said that are not in the text are found and reported. Each line of the text becomes
    a subtitle; a text of one line is cut at pauses.
    """
    if text is not None and "=" in text.name and not text.exists():  # a setting, no file
        settings, text = [str(text), *(settings or ())], None
    priors = resolve(AlignSettings, None, ["omitted=0", "extra=0"] if strict else settings or ())
    if strict and settings:
        raise ConfigError(f"--strict leaves nothing to set: {' '.join(settings)}")
    recognizer = Recognizer.load(model, threads=threads)
    jobs = _jobs(recording, text, recognizer.engine.rate_hz)
    if output_dir is None and len(jobs.names) > 1 and style not in ("json", "ctm"):
        raise ConfigError(f"{len(jobs.names)} recordings as {style} need --output FOLDER")
    if output_dir:
        make_folder(output_dir)
    failed = _run(recognizer, jobs, priors, style, output_dir)
    if failed:
        errors.print(f"{failed} of {len(jobs.names)} recordings could not be aligned")
        raise typer.Exit(2)


def _run(
    recognizer: Recognizer,
    jobs: _Jobs,
    priors: AlignSettings,
    style: Style,
    output_dir: Path | None,
) -> int:
    """Align and write; how many failed."""
    from auricle.aligner import align_many

    failed = 0
    pairs = zip(jobs.sources, jobs.texts, strict=True)
    one_document = len(jobs.names) == 1 or output_dir is not None
    with counting("aligning") as progress:
        stream = align_many(recognizer, pairs, settings=priors)
        for number, (name, (source, answer)) in enumerate(zip(jobs.names, stream, strict=True), 1):
            progress(number, len(jobs.names))
            if isinstance(answer, AuricleError):
                failed += 1
                nameless = f"{name}: " if isinstance(source, tuple) else ""
                errors.print("[bold red]error:[/] ", end="")
                errors.print(f"{nameless}{answer}", markup=False, soft_wrap=True)
                continue
            shown = _shown(name, answer, style, indented=one_document)
            if output_dir:
                write_text(output_dir / f"{name}.{style}", shown)
            else:
                output.print(shown, markup=False, end="")
            _tell(name, answer, style)
    if output_dir:
        told = f"{len(jobs.names) - failed} written to {output_dir}{os.sep}"
        errors.print(told, markup=False, soft_wrap=True)
    return failed


def _tell(name: str, answer: Aligned, style: Style) -> None:
    """Where text and sound differ: JSON holds that itself, so there their number is enough."""
    if style == "json" and (answer.missing or answer.extra):
        errors.print(
            f"{name}: {len(answer.missing)} words of the text not heard, {len(answer.extra)} times"
            " something heard that is not in the text: see missing and extra",
            markup=False,
            soft_wrap=True,
        )
    elif style != "json":
        for line in _differences(answer):
            errors.print(f"{name}: {line}", markup=False, soft_wrap=True)


def _jobs(recording: Path, text: Path | None, rate_hz: int) -> _Jobs:
    if text is not None:
        audio.inspect(recording)  # a manifest is none, and no text lies beside it
        return _Jobs([recording.stem], [recording], [read_text(text)])
    if recording.is_file() and recording.suffix.lower() in audio.SUFFIXES:
        beside = recording.with_suffix(".txt")
        if not beside.is_file():
            raise ConfigError(f"say what is said in it: auricle align {recording} TEXTFILE")
        return _Jobs([recording.stem], [recording], [read_text(beside)])
    with counting("reading") as progress:
        examples = read_data(recording, progress=progress).examples
    names = [Path(example.id).name for example in examples]
    if len(set(names)) < len(names):
        names = [example.id.replace("/", "_") for example in examples]
    texts = [example.text or "" for example in examples]
    return _Jobs(names, sources_of(examples, rate_hz), texts)


def _shown(name: str, answer: Aligned, style: Style, *, indented: bool) -> str:
    if style != "json":
        return written(answer.transcript, style, name)
    values: dict[str, Any] = verbose_json(answer.transcript) | {
        "missing": [
            {"word": each.text, "number": each.number, "after": round(each.after_s, 3)}
            for each in answer.missing
        ],
        "extra": [
            {
                "heard": each.text,
                "start": round(each.start_s, 3),
                "end": round(each.end_s, 3),
                "before": each.before,
            }
            for each in answer.extra
        ],
    }
    if indented:
        return json.dumps(values, ensure_ascii=False, indent=2) + "\n"
    return json.dumps({"file": name, **values}, ensure_ascii=False) + "\n"


def _differences(answer: Aligned) -> Iterator[str]:
    for missing in answer.missing:
        yield f"{missing.after_s:.2f} s: in the text, not heard: {missing.text}"
    for extra in answer.extra:
        span = f"{extra.start_s:.2f} to {extra.end_s:.2f} s"
        yield f"{span}: heard, not in the text: {extra.text or '(no word of the vocabulary)'}"
