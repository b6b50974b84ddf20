"""read_data(): point it at what people have."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

from auricle.data.example import Dataset, Example
from auricle.data.layouts import folder_rows, stm_rows
from auricle.data.manifests import MANIFEST_SUFFIXES, read_manifest
from auricle.data.rows import Problems, Row, What, columns_of, to_example
from auricle.data.splitting import in_usual_order, split_name
from auricle.errors import DataError, listed
from auricle.files import why_not

Progress = Callable[[int, int], None]
"""Called with how much is done and how much there is."""

HEADER_THREADS = 8


def read_data(
    path: str | Path,
    *,
    what: What = "text",
    unreadable: Literal["raise", "keep"] = "raise",
    progress: Progress | None = None,
) -> Dataset:
    """Read a manifest or a folder of recordings.

    Args:
        path: a JSONL, CSV or TSV manifest, an STM file, or a folder.
        what: the answer that every example needs: its text, its label(s), or none ("audio").
        unreadable: "keep" keeps examples whose file is missing or damaged, with what is known of
            them, and names the lines that are no examples in `Dataset.unusable`, for
            `auricle.doctor` to report both.
        progress: hears of the headers read, where the source gives no durations.

    Raises:
        DataError: names each file and line that is wrong, the first five and how many there are.
    """
    source = Path(path).absolute()
    problems = Problems()
    found: list[tuple[Row, Example]] = []
    root: Path | None = None
    for row in _rows(source, what, problems):
        root = root or (source if source.is_dir() else source.parent)
        try:
            found.append((row, to_example(row, what, root)))
        except DataError as error:
            problems.append(f"{row.where}: {error}")
    unusable = tuple(problems)
    examples = _fill_durations(found, problems, progress)
    if not examples and (table := _table_of(source)):
        problems.insert(0, f"{table} may say more of these recordings: give that instead")
    if unreadable == "raise" or not examples:
        problems.raise_if_any(source)
    if not examples:
        raise DataError(f"{source}: no recordings found")
    examples = _unique_ids(examples)
    splits: dict[str, list[Example]] = {}
    for (row, _), example in zip(found, examples, strict=True):
        if split := _split_of(row):
            splits.setdefault(split, []).append(example)
    ordered = {name: tuple(splits[name]) for name in in_usual_order(splits)}
    further = dict.fromkeys(key for example in examples for key in example.extra)
    if further and not any(example.speaker for example in examples):
        problems.notes.append(
            f"{source}: no speakers are named (key speaker); further keys: {listed(list(further))}"
        )
    return Dataset(tuple(examples), source, ordered, unusable, tuple(problems.notes))


def _rows(source: Path, what: What, problems: Problems) -> Iterator[Row]:
    try:
        yield from _reader(source, what, problems)
    except OSError as error:  # a folder that may not be listed, a name too long
        place = error.filename or source
        raise DataError(f"{place}: cannot be read ({why_not(error)})") from None


def _reader(source: Path, what: What, problems: Problems) -> Iterable[Row]:
    if source.is_dir():
        return folder_rows(source, what, problems)
    if not source.exists():
        raise DataError(f"{source}: no such file or folder")
    if source.suffix.lower() == ".stm":
        return stm_rows(source, problems)
    if source.suffix.lower() in MANIFEST_SUFFIXES:
        return read_manifest(source, problems)
    known = " ".join((*MANIFEST_SUFFIXES, ".stm"))
    raise DataError(f"{source}: needs to be a folder or a manifest ({known})")


def _table_of(folder: Path) -> Path | None:
    """A manifest that may be meant by its folder: in it, or beside it under its name."""
    if not folder.is_dir():
        return None
    beside = [folder.with_name(folder.name + suffix) for suffix in MANIFEST_SUFFIXES]
    inside = sorted(path for path in folder.iterdir() if path.suffix.lower() in MANIFEST_SUFFIXES)
    return next((path for path in (*inside, *beside) if path.is_file()), None)


def _split_of(row: Row) -> str | None:
    """The split that a reader or a column of the manifest names."""
    key = columns_of(tuple(row.values))[0].get("split")
    return row.split or (split_name(str(row.values[key])) if key else None)


def _fill_durations(
    found: list[tuple[Row, Example]], problems: Problems, progress: Progress | None
) -> list[Example]:
    """Durations from the headers where the source gives none; missing files are problems."""
    examples = [example for _, example in found]
    unknown: dict[Path, list[int]] = {}
    for at, (row, example) in enumerate(found):
        if not example.duration_s:
            unknown.setdefault(example.audio, []).append(at)
        elif not _is_file(example.audio):
            problems.append(f"{row.where}: {example.audio} does not exist")
    for done, (audio, duration_s) in enumerate(_header_durations(list(unknown)), 1):
        for at in unknown[audio]:
            if isinstance(duration_s, DataError):
                problems.append(f"{found[at][0].where}: {duration_s}")
            else:
                left_s = max(0.0, duration_s - examples[at].start_s)
                examples[at] = dataclasses.replace(examples[at], duration_s=left_s)
        if progress:
            progress(done, len(unknown))
    return examples


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name too long, a folder that may not be entered
        return False


def _header_durations(paths: list[Path]) -> Iterator[tuple[Path, float | DataError]]:
    if not paths:
        return
    from auricle.audio import inspect

    def duration(path: Path) -> float | DataError:
        try:
            return inspect(path).duration_s
        except DataError as error:
            return error

    with ThreadPoolExecutor(HEADER_THREADS) as pool:
        yield from zip(paths, pool.map(duration, paths), strict=True)


def _unique_ids(examples: list[Example]) -> list[Example]:
    """An id seen before gets `#2`, `#3`, ... in the order of the source."""
    seen: dict[str, int] = {}
    unique = []
    for example in examples:
        times = seen[example.id] = seen.get(example.id, 0) + 1
        if times > 1:
            example = dataclasses.replace(example, id=f"{example.id}#{times}")
        unique.append(example)
    return unique
