"""Folders of recordings: how the public corpora and ordinary people lay them out.

Every reader yields rows and judges nothing; `folder_rows` decides which reader a folder needs. A
folder is, in this order: manifests named after splits, sub-folders named after splits, one of the
LAYOUTS, one manifest, or recordings with their transcripts (or labels) beside them.
"""

import dataclasses
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from auricle.audio import SUFFIXES as AUDIO_SUFFIXES
from auricle.data.manifests import MANIFEST_SUFFIXES, read_manifest
from auricle.data.rows import Problems, Row, What, columns_of
from auricle.data.splitting import split_name
from auricle.errors import DataError, listed
from auricle.files import read_text

RUN_MARKS = frozenset(
    {"doctor.json", "environment.json"}
)  # what a training writes, and nobody else


def folder_rows(folder: Path, what: What, problems: Problems) -> Iterator[Row]:
    """The rows of a folder, with their splits where files or folders are named after them."""
    folder = _unwrap(folder)
    parts: Mapping[Path, str] = _split_manifests(folder) or _split_folders(folder)
    if parts:
        _note_unread(folder, parts, problems)
        for part, split in parts.items():
            read = (
                folder_rows(part, what, problems)
                if part.is_dir()
                else read_manifest(part, problems)
            )
            for row in read:
                yield dataclasses.replace(row, split=split)
        return
    files = list(_walk(folder, problems))
    for pattern, reader in LAYOUTS:
        if matching := [path for path in files if pattern.fullmatch(path.name)]:
            yield from reader(matching, files, problems)
            return
    manifests = [path for path in files if path.suffix.lower() in MANIFEST_SUFFIXES]
    if len(manifests) > 1:
        names = ", ".join(str(path.relative_to(folder)) for path in manifests[:5])
        raise DataError(f"{folder}: holds several manifests ({names} ...); name the one you mean")
    if manifests:
        yield from _listed(manifests[0], list(filter(_is_audio, files)), problems)
    else:
        yield from _recordings(folder, files, what, problems)


def stm_rows(path: Path, problems: Problems) -> Iterator[Row]:
    """The rows of one STM file, whose recordings lie beside it or in a folder beside its own."""
    folder = path.parent.parent if path.parent.name == "stm" else path.parent
    return _stm([path], list(_walk(folder, problems)), problems)


def _unwrap(folder: Path) -> Path:
    """Step into `LibriSpeech/` and the like, when a folder holds nothing else of ours."""
    if (folder / "legacy").is_dir() and (folder / "data").is_dir():
        return folder / "legacy"  # TED-LIUM 3: both hold all talks; legacy has the usual splits
    entries = [path for path in folder.iterdir() if not path.name.startswith(".")]
    folders = [path for path in entries if path.is_dir()]
    ours = AUDIO_SUFFIXES.union(MANIFEST_SUFFIXES)
    if len(folders) == 1 and not any(path.suffix.lower() in ours for path in entries):
        return folder if split_name(folders[0].name) else _unwrap(folders[0])
    return folder


def _split_manifests(folder: Path) -> dict[Path, str]:
    """`train.jsonl`, `dev.tsv`, ...: of one kind only, ours before the tables of a corpus."""
    for suffix in MANIFEST_SUFFIXES:
        files = sorted(folder.glob(f"*{suffix}"))
        if named := {path: split for path in files if (split := split_name(path.stem))}:
            return named
    return {}


def _split_folders(folder: Path) -> dict[Path, str]:
    """`train/` and `test/`, but not one folder per sound that happens to have a train in it."""
    folders = sorted(path for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")
    named = {path: split for path in folders if (split := split_name(path.name))}
    is_split = len(named) == len(folders) or {"train"} < set(named.values())
    return named if is_split else {}


def _walk(folder: Path, problems: Problems) -> Iterator[Path]:
    for name, folders, files in os.walk(folder, onerror=_refuse):
        if not RUN_MARKS.isdisjoint(files) and Path(name) != folder:
            problems.notes.append(f"{name}: is the folder of a training: not read")
            folders.clear()
            continue
        folders[:] = sorted(entry for entry in folders if entry[0] != ".")
        yield from (Path(name, file) for file in sorted(files) if file[0] != ".")


def _refuse(error: OSError) -> None:
    """A folder that cannot be listed would otherwise be passed over in silence."""
    raise error


def _is_audio(path: Path) -> bool:
    return path.suffix.lower() in AUDIO_SUFFIXES


def _librispeech(found: Sequence[Path], files: Sequence[Path], problems: Problems) -> Iterator[Row]:
    """`1088-134315-0000 THE WORDS` in `1088-134315.trans.txt`; the reader's number comes first."""
    audio = {(path.parent, path.stem): path for path in files if _is_audio(path)}
    for path in found:
        for number, line in enumerate(read_text(path).split("\n"), 1):
            id_, _, text = line.strip().partition(" ")
            where = f"{path.name}:{number}"
            if recording := audio.get((path.parent, id_)):
                values = {"id": id_, "audio": str(recording), "text": text}
                yield Row(where, path.parent, values | {"speaker": id_.partition("-")[0]})
            elif id_:
                problems.append(f"{where}: no recording {path.parent / id_}.flac")


def _stm(found: Sequence[Path], files: Sequence[Path], problems: Problems) -> Iterator[Row]:
    """NIST STM, `talk channel speaker start end <labels> words`: stretches of long recordings."""
    audio = {path.stem: path for path in files if _is_audio(path)}
    for path in found:
        for number, line in enumerate(read_text(path).split("\n"), 1):
            where = f"{path.name}:{number}"
            if not line.strip() or line.startswith(";;"):
                continue
            match = _STM_LINE.fullmatch(line.strip())
            if not match:
                problems.append(f"{where}: not talk, channel, speaker, start, end, words")
            elif match["words"] == "ignore_time_segment_in_scoring":
                continue
            elif match["talk"] not in audio:
                problems.append(f"{where}: no recording {match['talk']}.sph near {path.parent}")
            else:
                times = {"start": match["start"], "end": match["end"]}
                values = {"audio": str(audio[match["talk"]]), "speaker": match["speaker"], **times}
                id_ = f"{match['talk']}@{match['start']}"
                yield Row(
                    where, path.parent, values | {"id": id_, "text": _stm_text(match["words"])}
                )


_STM_LINE = re.compile(
    r"(?P<talk>\S+)\s+\S+\s+(?P<speaker>\S+)\s+(?P<start>\S+)\s+(?P<end>\S+)"
    r"(\s+<[^>]*>(?=\s|$))?(\s+(?P<words>.*))?"
)


def _stm_text(words: str | None) -> str:
    """TED-LIUM's words as people write them: `it 's <unk> {NOISE} go(2)` -> `it's go`."""
    words = re.sub(r"<\w+>|\{\w+\}|\(\d+\)", "", words or "")
    return re.sub(r"\s+('\w)", r"\1", " ".join(words.split()))


def _sphinx(found: Sequence[Path], files: Sequence[Path], problems: Problems) -> Iterator[Row]:
    """CMU Sphinx, `<s> THE WORDS </s> (an251-fash-b)` in `an4_train.transcription`."""
    audio = {path.stem: path for path in files if _is_audio(path)}
    for path in found:
        split = split_name(path.stem.rpartition("_")[2])
        for number, line in enumerate(read_text(path).split("\n"), 1):
            where = f"{path.name}:{number}"
            words, _, id_ = line.strip().removesuffix(")").rpartition("(")
            if recording := audio.get(id_):
                text = re.sub(r"</?s>", "", words).strip()
                values = {"id": id_, "audio": str(recording), "text": text}
                yield Row(where, path.parent, values | {"speaker": recording.parent.name}, split)
            elif line.strip():
                problems.append(f"{where}: no recording {id_}")


def _yesno(found: Sequence[Path], *_: object) -> Iterator[Row]:
    """`0_1_1_0_1_0_1_1.wav`: eight times no (0) or yes (1), in Hebrew, by one man."""
    for path in found:
        text = " ".join("yes" if digit == "1" else "no" for digit in path.stem.split("_"))
        yield Row(path.name, path.parent, {"id": path.stem, "audio": path.name, "text": text})


Layout = Callable[[Sequence[Path], Sequence[Path], Problems], Iterator[Row]]
LAYOUTS: Sequence[tuple[re.Pattern[str], Layout]] = (
    (re.compile(r".+\.trans\.txt"), _librispeech),
    (re.compile(r".+\.stm"), _stm),
    (re.compile(r".+\.transcription"), _sphinx),
    (re.compile(r"[01](_[01]){7}\.wav"), _yesno),
)
"""A file name that gives a layout away, and the reader of that layout."""


def _recordings(
    folder: Path, files: Sequence[Path], what: What, problems: Problems
) -> Iterator[Row]:
    """Recordings as they lie, each with the text of `x.txt` beside it or its folder as label."""
    known = set(files)
    audio = list(filter(_is_audio, files))
    speakers = _speaker_folders(folder, audio) if what == "text" else set()
    if speakers:
        names = sorted(path.name for path in speakers)
        problems.notes.append(
            f"{folder}: each of its {len(names)} sub-folders is taken for a speaker "
            f"({listed(names)}); a manifest would say who it was"
        )
    if what == "label":
        full = {path.relative_to(folder).parts[0] for path in audio}
        folders = {path.name for path in folder.iterdir() if path.is_dir()}
        if empty := sorted(name for name in folders - full if name[0] != "."):
            problems.notes.append(f"{folder}: no recordings in {listed(empty)}")
    for path in audio:
        values = {"audio": str(path)}
        if path.parent in speakers:
            values["speaker"] = path.parent.name
        if (transcript := path.with_suffix(".txt")) in known:
            values["text"] = " ".join(read_text(transcript).split())
        if what == "label" and path.parent != folder:
            values["label"] = path.parent.name
        yield Row(str(path.relative_to(folder)), folder, values)


def _speaker_folders(folder: Path, audio: Sequence[Path]) -> set[Path]:
    """The sub-folders, if they look like one per speaker: two or more, of two recordings or more.

    All recordings have to lie right in them: of `day/alice/x.wav` nobody could say which it is.
    """
    counts = Counter(path.parent for path in audio)
    likely = len(counts) > 1 and min(counts.values()) > 1
    return set(counts) if likely and all(path.parent == folder for path in counts) else set()


def _listed(manifest: Path, audio: Sequence[Path], problems: Problems) -> Iterator[Row]:
    """The rows of a folder's only manifest; recordings that it leaves out are worth a note."""
    listed = set()
    for row in read_manifest(manifest, problems):
        if key := columns_of(tuple(row.values))[0].get("audio"):
            listed.add(os.path.normpath(row.folder / f"{row.values[key]}".strip()))
        yield row
    if missing := sum(str(path) not in listed for path in audio):
        problems.notes.append(
            f"{manifest}: does not list {missing} of the {len(audio)} recordings in its folder"
        )


def _note_unread(folder: Path, parts: Mapping[Path, str], problems: Problems) -> None:
    """Say which manifests and folders beside the splits are not read."""
    of_folders = all(path.is_dir() for path in parts)
    beside = sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in MANIFEST_SUFFIXES or (of_folders and path.is_dir())
    )
    if unread := [p.name for p in beside if p not in parts and p.name[0] != "."]:
        read = ", ".join(path.name for path in parts)
        problems.notes.append(f"{folder}: holds the splits {read}; not read: {listed(unread)}")
