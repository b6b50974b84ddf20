"""auricle prepare, auricle doctor, auricle split, auricle explore."""

import itertools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from auricle.cli.display import counting, errors, output, table
from auricle.config import resolve
from auricle.data import (
    Dataset,
    Progress,
    What,
    labelled,
    read_for,
    split_unit,
    split_with_labels,
    write_manifest,
)
from auricle.data.marks import marks_of
from auricle.errors import DataError
from auricle.files import check_folder_of, make_folder, write_text

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
        Literal["ctc", "clip", "speaker", "segment"] | None,
        typer.Option(help="Look for texts, labels, voices or marks; told from the data if none."),
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
    needs: dict[str, What] = {"ctc": "text", "clip": "label"}
    asked = task or "ctc"
    try:
        found = read_for(data, needs.get(asked, "audio"), label, progress, unreadable="keep")
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
    if task == "segment":
        for example in itertools.chain.from_iterable(parts.values()):
            marks_of(example)  # whose errors name it
    if task in ("ctc", "segment"):
        return report
    given = [example.labels for example in parts.get("train", dataset.examples)]
    several = any(len(names) != 1 for names in given)
    labels = LabelSet.learn(LabelSettings(several=several), given)
    output.print(f"{len(labels.names)} labels: {', '.join(labels.names)}", markup=False)
    return with_labels(report, parts, labels)


def split(
    data: Annotated[Path, typer.Argument(help="A manifest or a folder of recordings.")],
    out: Annotated[Path, typer.Argument(help="A folder for one manifest per part.")],
    test: Annotated[float, typer.Option(min=0, max=0.9, help="Share kept to prove it on.")] = 0.1,
    valid: Annotated[float, typer.Option(min=0, max=0.9, help="Share to choose weights on.")] = 0.1,
    label: Annotated[str | None, typer.Option(help="Take the labels from this key.")] = None,
    seed: Annotated[int, typer.Option(help="Another one parts otherwise.")] = 0,
) -> None:
    """
    Examples:
    - `auricle split interviews.csv parts` (parts/train.jsonl, valid.jsonl and test.jsonl)
    - `auricle split commands parts --test 0.2`
    - then `auricle train parts --out run` and `auricle evaluate run parts/test.jsonl`

    Part recordings such that no speaker is in two parts; recordings one by one, where no speakers
    are known. The recordings stay where they are. The same data is always parted in the same way.
    """
    wanted = {name: share for name, share in (("valid", valid), ("test", test)) if share}
    if taken := [path for name in ("train", *wanted) if (path := out / f"{name}.jsonl").exists()]:
        raise DataError(f"{taken[0]} is there already: choose another folder")
    with counting("reading headers") as progress:
        dataset, _ = _patient(data, "clip" if label else None, label, progress)
    if dataset.splits:
        raise DataError(f"{data} has parts already: {', '.join(dataset.splits)}")
    parts = split_with_labels(dataset.examples, wanted, seed)
    make_folder(out)
    for name, part in parts.items():
        path = out / f"{name}.jsonl"
        write_manifest(path, part)
        voices = len({example.speaker for example in part} - {None})
        hours = sum(example.duration_s for example in part) / 3600
        told = f"{path}: {len(part)} recordings, {hours:.2f} h"
        output.print(told + f", {voices} speakers" * bool(voices), markup=False)
    if split_unit(dataset.examples, len(parts)) != "speaker":
        errors.print("note: parted recording by recording, as there are too few known speakers")


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
