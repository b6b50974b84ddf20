"""auricle prepare, auricle doctor, auricle explore."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from auricle.cli.display import counting, output, table
from auricle.config import resolve
from auricle.data import Dataset, Progress, What, labelled, read_for
from auricle.errors import DataError
from auricle.files import check_folder_of, write_text

if TYPE_CHECKING:
    from auricle.doctor import Report


def prepare(
    corpus: Annotated[str, typer.Argument(help="Its name; `auricle prepare list` lists them.")],
    folder: Annotated[Path | None, typer.Argument(help="Where it is, or is to be.")] = None,
    subset: Annotated[list[str] | None, typer.Option(help="A part of it; repeatable.")] = None,
    download: Annotated[bool, typer.Option(help="Fetch what is missing.")] = True,
) -> None:
    """
    Examples:
    - `auricle prepare list`
    - `auricle prepare mini_librispeech corpora/mini`
    - `auricle prepare librispeech corpora/ls --subset train-clean-100 --subset dev-clean`
    - `auricle prepare common_voice ~/Downloads/cv-corpus --subset cy --no-download`

    Make a public corpus ready: download (resumable, checked), unpack, write one manifest per split.
    """
    from auricle import corpora
    from auricle.errors import ConfigError

    if corpus == "list":
        rows = [[name, c.what, c.licence] for name, c in corpora.CORPORA.items()]
        output.print(table(["corpus", "what", "licence"], rows, numbers=False))
        return
    if folder is None:
        raise ConfigError(f"say where: auricle prepare {corpus} FOLDER")
    with counting(corpus) as progress:
        manifests = corpora.prepare(
            corpus, folder, subset or (), download=download, progress=progress
        )
    for split, manifest in manifests.items():
        output.print(f"{split}: {manifest}", markup=False)


def doctor(
    data: Annotated[Path, typer.Argument(help="A manifest or a folder of recordings.")],
    report: Annotated[Path | None, typer.Option(help="Also write the findings as JSON.")] = None,
    listen: Annotated[bool, typer.Option(help="Decode every recording.")] = True,
    normaliser: Annotated[
        str, typer.Option(help="Of the texts: english-1, basic-1 for other languages, none.")
    ] = "english-1",
    stride: Annotated[int, typer.Option(help="Input frames per output frame of the model.")] = 4,
    task: Annotated[
        Literal["ctc", "clip", "speaker"] | None,
        typer.Option(help="Look for texts, labels or voices; told from the data if none."),
    ] = None,
    label: Annotated[str | None, typer.Option(help="Take the labels from this key.")] = None,
    settings: Annotated[list[str] | None, typer.Argument(help="key=value: limits.")] = None,
) -> None:
    """
    Examples:
    - `auricle doctor my_folder`
    - `auricle doctor train.jsonl --report findings.json`
    - `auricle doctor my_folder --no-listen` (headers and texts only: quick)
    - `auricle doctor my_folder silence_db=-50 clipped_share=0.01`
    - `auricle doctor ravdess.jsonl --label emotion` (and `--task speaker` for voices)

    Find what is wrong with recordings and their transcripts, labels or speakers before anyone
    trains on them.

    Exit status 1 when something would make a training fail.

    Settings: silence_db, clipped_share, slowest_letters_per_s, fastest_letters_per_s,
    rare_script_share, duration_slack_s.
    """
    from auricle.doctor import DoctorSettings, examine
    from auricle.text import TextSettings, normalise

    limits = resolve(DoctorSettings, None, settings or ())
    text = TextSettings(normaliser=normaliser)
    normalise("", normaliser)  # an unknown one is told before anything is read
    if report:
        check_folder_of(report)
    with counting("reading headers") as progress:
        dataset, found_task = _patient(data, task or ("clip" if label else None), label, progress)
    for note in dataset.notes:
        output.print(note, markup=False)
    with counting("listening") as progress:
        found = examine(
            dataset, stride=stride, text=text, settings=limits, listen=listen, progress=progress
        )
    found = _judged(found, dataset, found_task)
    for line in found.render(min(output.width, 100)):
        output.print(line, markup=False)
    if report:
        write_text(report, json.dumps(found.to_dict(), indent=2, ensure_ascii=False) + "\n")
    if found.errors:
        raise typer.Exit(1)


def _patient(
    data: Path, task: str | None, label: str | None, progress: Progress
) -> tuple[Dataset, str]:
    """What is to be examined, and the task that it is for."""
    needs: dict[str, What] = {"ctc": "text", "clip": "label", "speaker": "audio"}
    asked = task or "ctc"
    try:
        found = read_for(data, needs[asked], label, progress, unreadable="keep")
        return (found if asked == "ctc" else found.untold()), asked
    except DataError:
        if task or (labels := labelled(data, progress)) is None:
            raise
        return labels, "clip"


def _judged(report: "Report", dataset: Dataset, task: str) -> "Report":
    """The report, and what is wrong with the data for this task; says which labels there are."""
    from auricle.doctor import with_labels, with_voices
    from auricle.labels import LabelSet, LabelSettings

    parts = dataset.splits or {"train": dataset.examples}
    if task == "speaker":
        return with_voices(report, parts)
    if task == "ctc":
        return report
    given = [example.labels for example in parts.get("train", dataset.examples)]
    several = any(len(names) != 1 for names in given)
    labels = LabelSet.learn(LabelSettings(several=several), given)
    output.print(f"{len(labels.names)} labels: {', '.join(labels.names)}", markup=False)
    return with_labels(report, parts, labels)


def explore(
    data: Annotated[Path, typer.Argument(help="A manifest or a folder of labelled recordings.")],
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("explore.html"),
    label: Annotated[
        str | None, typer.Option(help="Take the labels from this key of the manifest.")
    ] = None,
    per_label: Annotated[int, typer.Option(min=0, help="Examples drawn of each label.")] = 2,
) -> None:
    """
    Examples:
    - `auricle explore commands --out commands.html`
    - `auricle explore ravdess.jsonl --label emotion --per-label 4`

    Look at labelled recordings: how many of each, how long, and what they look like. One HTML page
    with everything inside.
    """
    from auricle.explore import page

    check_folder_of(out)
    with counting("reading") as progress:
        dataset = read_for(data, "label", label, progress)
    with counting("drawing") as progress:
        write_text(out, page(dataset, per_label, progress))
    output.print(f"{out}: {len(dataset.examples)} recordings", markup=False)
