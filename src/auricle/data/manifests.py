"""Manifests: JSONL with NeMo's keys, CSV and TSV with a header."""

import csv
import functools
import json
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from auricle.data.example import Example
from auricle.data.rows import COLUMNS, Problems, Row, columns_of
from auricle.errors import DataError, brief
from auricle.files import regular, why_not, write_text

JSON_SUFFIXES = (".jsonl", ".json", ".ndjson", ".manifest")
TABLE_SUFFIXES = (".csv", ".tsv")
MANIFEST_SUFFIXES = JSON_SUFFIXES + TABLE_SUFFIXES


def read_manifest(path: Path, problems: Problems) -> Iterator[Row]:
    """The rows of a manifest; lines that are not rows are added to `problems`.

    Raises:
        DataError: when the file as a whole cannot be read.
    """
    rows = _json_rows if path.suffix.lower() in JSON_SUFFIXES else _table_rows
    try:
        yield from rows(regular(path), problems)
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: byte {error.start} is not UTF-8; save it as UTF-8") from None
    except OSError as error:
        raise DataError(f"{path}: cannot read the manifest ({why_not(error)})") from None
    except csv.Error as error:
        raise DataError(f"{path}: not a table: {error}; is a quote left open?") from None


def read_texts(path: Path) -> Iterator[str]:
    """The texts of a manifest; its recordings need not be there.

    Raises:
        DataError: for a manifest that cannot be read.
    """
    problems = Problems()
    for row in read_manifest(path, problems):
        text = row.values.get(columns_of(tuple(row.values))[0].get("text", ""))
        if isinstance(text, str):
            yield text
    problems.raise_if_any(path)


def _json_rows(path: Path, problems: Problems) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, 1):
            where = f"{path.name}:{number}"
            if not line.strip():
                continue
            try:
                values = json.loads(line)
            except json.JSONDecodeError as error:
                problems.append(f"{where}: not JSON: {error.msg} (column {error.colno})")
                continue
            except (ValueError, RecursionError) as error:  # numbers too long, lists too deep
                problems.append(f"{where}: not JSON that can be read: {brief(error)}")
                continue
            if isinstance(values, dict):
                yield Row(where, path.parent, values)
            else:
                problems.append(f"{where}: one JSON object per line is needed, not {brief(line)}")


def _table_rows(path: Path, problems: Problems) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig", newline="") as lines:
        header = lines.readline()
        if path.name == "metadata.csv" and _LJSPEECH_LINE.fullmatch(header.strip()):
            lines.seek(0)
            yield from _ljspeech_rows(path, lines, problems)
            return
        dialect = _Tabs if path.suffix.lower() == ".tsv" else _dialect(header)
        names = next(csv.reader([header], dialect), [])
        if "audio" not in columns_of(tuple(names))[0]:
            raise DataError(
                f"{path}:1: the header needs a column for the recordings, one of"
                f" {', '.join(COLUMNS['audio'])}; it has {', '.join(names)[:200] or 'nothing'}"
            )
        audio = names.index(columns_of(tuple(names))[0]["audio"])
        table = csv.reader(lines, dialect)
        for values in table:
            where = f"{path.name}:{table.line_num + 1}"
            if len(values) == len(names):
                folder = _folder_of(values[audio].strip(), path.parent, "client_id" in names)
                yield Row(where, folder, dict(zip(names, values, strict=True)))
            elif len(values) > 1 or "".join(values).strip():
                problems.append(f"{where}: {len(values)} columns, but the header has {len(names)}")


def _folder_of(name: str, folder: Path, common_voice: bool) -> Path:
    """Where a table's recording lies: as it is written, else in `clips/`, as Common Voice does."""
    clips = folder / "clips"
    if not os.path.exists(folder / name) and (  # noqa: PTH110 - answers where a name is too long
        (common_voice and clips.is_dir()) or os.path.exists(clips / name)  # noqa: PTH110
    ):
        return clips
    return folder


class _Tabs(csv.excel_tab):
    quoting = csv.QUOTE_NONE  # a quote is a letter like any other: Common Voice has unpaired ones


def _dialect(header: str) -> type[csv.Dialect]:
    class Dialect(csv.excel):
        delimiter = max(",;|\t", key=header.count)

    return Dialect


_LJSPEECH_LINE = re.compile(r"(?P<id>[\w-]+)\|(?P<text>[^|]*)(\|(?P<spoken>[^|]*))?")


def _ljspeech_rows(path: Path, lines: Iterable[str], problems: Problems) -> Iterator[Row]:
    """`LJ001-0001|text as printed|text as spoken`, recordings in `wavs/`, one speaker."""
    for number, line in enumerate(lines, 1):
        where = f"{path.name}:{number}"
        if match := _LJSPEECH_LINE.fullmatch(line.strip()):
            values = {"id": match["id"], "audio": f"wavs/{match['id']}.wav"}
            yield Row(where, path.parent, values | {"text": match["spoken"] or match["text"]})
        elif line.strip():
            problems.append(f"{where}: not id|text|text as spoken")


def write_manifest(path: str | Path, examples: Iterable[Example]) -> None:
    """Write a JSONL manifest with NeMo's keys, audio paths relative to it; whole or not at all."""
    path = Path(path).absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    path = path.parent.resolve() / path.name  # "../" means something else behind a link
    lines = (_values(example, path.parent) for example in examples)
    write_text(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))


def _values(example: Example, folder: Path) -> dict[str, object]:
    values: dict[str, object] = {
        "audio_filepath": f"{_relative(example.audio.parent, folder)}/{example.audio.name}",
        "duration": round(example.duration_s, 3),
        "offset": round(example.start_s, 3) or None,
        "text": example.text,
        "speaker": example.speaker,
        "labels": list(example.labels) or None,
        "id": example.id,
    }
    known = {key: value for key, value in values.items() if value is not None}
    return known | {key: value for key, value in example.extra.items() if key not in values}


@functools.lru_cache(maxsize=1024)
def _relative(folder: Path, base: Path) -> str:
    return Path(os.path.relpath(folder.resolve(), base)).as_posix()
