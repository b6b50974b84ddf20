"""Sources are read into the same Examples, wrong ones are named, splits keep speakers apart."""

import dataclasses
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from auricle.data import (
    Dataset,
    Example,
    folds_by,
    read_data,
    split_by_speaker,
    split_name,
    split_unit,
    split_with_labels,
    write_manifest,
)
from auricle.errors import ConfigError, DataError


def record(path: Path, duration_s: float = 0.5, rate_hz: int = 8000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).normal(0, 0.1, round(duration_s * rate_hz))
    soundfile.write(path, noise, rate_hz, format="NIST" if path.suffix == ".sph" else None)
    return path


def write(path: Path, *lines: str | dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("\n".join(texts) + "\n", encoding="utf-8")
    return path


def seen(dataset: Dataset) -> list[tuple[str, str | None, str | None]]:
    return [(example.id, example.text, example.speaker) for example in dataset.examples]


# --- manifests -----------------------------------------------------------------------------------


def test_manifest_with_nemo_keys(tmp_path: Path) -> None:
    audio = record(tmp_path / "audio" / "a.wav", 2.0)
    manifest = write(
        tmp_path / "m.jsonl",
        {"audio_filepath": "audio/a.wav", "duration": 2.0, "text": " hi ", "speaker": 7, "snr": 3},
        "",
        {"audio_filepath": str(audio), "offset": 0.5, "duration": 1.0, "text": "", "labels": ["x"]},
    )
    first, second = read_data(manifest).examples
    assert first == Example("audio/a", audio, 2.0, 0.0, "hi", "7", (), {"snr": 3})
    assert second == Example("audio/a@0.500", audio, 1.0, 0.5, "", None, ("x",), {})


def test_durations_come_from_headers(tmp_path: Path) -> None:
    record(tmp_path / "a.wav", 1.25)
    manifest = write(
        tmp_path / "m.jsonl",
        {"audio_filepath": "a.wav", "text": "x"},
        {"audio_filepath": "a.wav", "text": "y", "offset": 1.0},
        {"audio_filepath": "a.wav", "text": "z", "start": 0.25, "end": 0.75},
    )
    calls: list[tuple[int, int]] = []
    dataset = read_data(manifest, progress=lambda done, total: calls.append((done, total)))
    assert [example.duration_s for example in dataset.examples] == [1.25, 0.25, 0.5]
    assert calls == [(1, 1)]  # one file, read once


def test_all_bad_lines_are_named_together(tmp_path: Path) -> None:
    record(tmp_path / "a.wav")
    good = {"audio_filepath": "a.wav", "duration": 0.5, "text": "x"}
    manifest = write(
        tmp_path / "m.jsonl",
        good,
        "{'audio_filepath': 'a.wav'}",
        "[1, 2]",
        good | {"audio_filepath": None},
        good | {"duration": "long"},
        good | {"duration": -1},
        good | {"duration": float("nan")},
        good | {"text": 5},
        {"audio_filepath": "a.wav", "duration": 0.5},
        good | {"duration": None, "start": 2, "end": 1},
        good | {"audio_filepath": "gone.wav"},
        {"audio_filepath": "lost.wav", "text": "x"},
    )
    with pytest.raises(DataError) as error:
        read_data(manifest)
    message = str(error.value)
    assert message.startswith(f"{manifest}: 11 problems")
    assert [line.split(": ")[0].strip() for line in message.splitlines()[1:]] == [
        *(f"m.jsonl:{number}" for number in (2, 3, 4, 5, 6)),
        "and 6 more",
    ]


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ({"audio_filepath": "gone.wav", "duration": 1, "text": "x"}, "gone.wav does not exist"),
        ({"audio_filepath": "gone.wav", "text": "x"}, "gone.wav"),
        ({"audio_filepath": "broken.wav", "text": "x"}, "broken.wav"),
        ({"audio_filepath": "a.wav", "duration": 1, "text": ["x"]}, "text is ['x'], not a string"),
        ({"audio_filepath": "a.wav", "duration": True, "text": "x"}, "duration is True"),
        ({"file": "a.wav", "start": 2, "end": 1.5, "text": "x"}, "ends at 1.5 s, before"),
        ({"text": "x"}, "no audio file is named"),
        ({"audio_filepath": "a.wav", "duration": 1}, "no text"),
    ],
)
def test_a_bad_line_says_what_is_wrong(tmp_path: Path, line: dict[str, Any], what: str) -> None:
    record(tmp_path / "a.wav")
    (tmp_path / "broken.wav").write_bytes(b"RIFF not a recording")
    with pytest.raises(DataError) as error:
        read_data(write(tmp_path / "m.jsonl", line))
    assert "m.jsonl:1: " in str(error.value)
    assert what in str(error.value)


def test_unreadable_recordings_can_be_kept(tmp_path: Path) -> None:
    manifest = write(
        tmp_path / "m.jsonl",
        {"audio_filepath": "gone.wav", "duration": 1.5, "text": "x"},
        {"audio_filepath": "lost.wav", "text": "y"},
    )
    kept = read_data(manifest, unreadable="keep")
    assert [example.duration_s for example in kept.examples] == [1.5, 0.0]


def test_what_is_needed_of_an_example(tmp_path: Path) -> None:
    record(tmp_path / "a.wav")
    manifest = write(tmp_path / "m.jsonl", {"audio_filepath": "a.wav", "label": "dog, barking"})
    assert read_data(manifest, what="label").examples[0].labels == ("dog, barking",)
    assert read_data(manifest, what="audio").examples[0].text is None
    with pytest.raises(DataError, match="no text"):
        read_data(manifest)


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("m.csv", ["path,sentence,client_id", 'a.wav,"one, ""two""",s']),
        ("m.csv", ["\ufeffFile;Transcript;Speaker_ID", 'a.wav;"one, ""two""";s']),
        ("m.csv", ["wav_filename|text|spk", 'a.wav|"one, ""two"""|s']),
        ("m.tsv", ["speaker\tpath\ttext\tup_votes", 's\ta.wav\tone, "two"\t3']),
    ],
)
def test_tables(tmp_path: Path, name: str, lines: list[str]) -> None:
    record(tmp_path / "a.wav")
    assert seen(read_data(write(tmp_path / name, *lines))) == [("a", 'one, "two"', "s")]


def test_a_quote_in_a_tsv_is_a_letter(tmp_path: Path) -> None:
    record(tmp_path / "a.wav")
    record(tmp_path / "b.wav")
    table = write(tmp_path / "m.tsv", "path\ttext", 'a.wav\t"so', "b.wav\tit goes")
    assert [text for _, text, _ in seen(read_data(table))] == ['"so', "it goes"]


@pytest.mark.parametrize("header", ["path,text", "client_id,path,text"])
def test_a_path_is_tried_as_it_is_written_before_clips(tmp_path: Path, header: str) -> None:
    for name in ("clips/a", "clips/b", "b"):
        record(tmp_path / f"{name}.wav")
    rows = [f"s,{name}.wav,x".removeprefix("" if "client" in header else "s,") for name in "ab"]
    rows.append(rows[0].replace("a.wav", "clips/a.wav"))
    dataset = read_data(write(tmp_path / "m.csv", header, *rows))
    assert [example.id for example in dataset.examples] == ["clips/a", "b", "clips/a#2"]
    with pytest.raises(DataError, match=r"m\.csv:2: .*gone\.wav"):
        read_data(write(tmp_path / "m.csv", header, rows[0].replace("a.wav", "gone.wav")))


def test_tables_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"header needs a column.* audio_filepath, .*it has name, words"
    ):
        read_data(write(tmp_path / "m.csv", "name,words", "a.wav,x"))
    with pytest.raises(DataError, match=r"m\.csv:3: 3 columns, but the header has 2"):
        read_data(write(tmp_path / "m.csv", "path,text", "a.wav,x", "a.wav,x,y"))
    (tmp_path / "m.csv").write_bytes("path,text\na.wav,caf\xe9\n".encode("latin-1"))
    with pytest.raises(DataError, match="not UTF-8"):
        read_data(tmp_path / "m.csv")


def test_a_column_may_name_the_splits(tmp_path: Path) -> None:
    record(tmp_path / "a.wav")
    lines = [f"a.wav,{number},{split}" for number, split in enumerate(["train", "validation", "-"])]
    dataset = read_data(write(tmp_path / "m.csv", "path,text,split", *lines))
    assert {split: [e.text for e in part] for split, part in dataset.splits.items()} == {
        "train": ["0"],
        "valid": ["1"],
    }
    assert len(dataset.examples) == 3


def test_ids_are_unique_and_survive_a_move(tmp_path: Path) -> None:
    for place in ("here", "there/deeper"):
        record(tmp_path / place / "train" / "a.wav")
        record(tmp_path / place / "train" / "b.wav")
        lines = [{"audio_filepath": f"{name}.wav", "text": name} for name in "aba"]
        write(tmp_path / place / "train" / "list.jsonl", *lines)
    ids = [
        [example.id for example in read_data(tmp_path / place / "train").examples]
        for place in ("here", "there/deeper")
    ]
    assert ids[0] == ids[1] == ["a", "b", "a#2"]


# --- writing -------------------------------------------------------------------------------------

texts = st.text(st.characters(exclude_categories=["Cs"])).map(str.strip)


@given(st.lists(st.tuples(texts, st.none() | texts.filter(bool), st.floats(0.001, 1e4))))
def test_what_is_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str | None, float]]
) -> None:
    folder = tmp_path_factory.mktemp("written")
    audio = record(folder / "a b'.wav")
    written = tuple(
        Example(f"id {at}", audio, 0.5, round(start_s, 3), text, speaker, (), {"n": at})
        for at, (text, speaker, start_s) in enumerate(rows)
    )
    write_manifest(folder / "m.jsonl", written)
    if rows:
        assert read_data(folder / "m.jsonl").examples == written
    else:
        assert (folder / "m.jsonl").read_bytes() == b""


def test_paths_are_relative_also_behind_a_link(tmp_path: Path) -> None:
    audio = record(tmp_path / "sounds" / "a.wav")
    (tmp_path / "deep" / "deeper").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "deep" / "deeper")
    write_manifest(tmp_path / "link" / "m.jsonl", [Example("a", audio, 0.5, text="x")])
    assert json.loads((tmp_path / "link" / "m.jsonl").read_text())["audio_filepath"] == (
        "../../sounds/a.wav"
    )
    assert read_data(tmp_path / "link" / "m.jsonl").examples[0].audio.samefile(audio)


def test_a_manifest_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    def broken() -> Iterator[Example]:
        yield Example("a", tmp_path / "a.wav")
        raise KeyboardInterrupt

    old = write(tmp_path / "m.jsonl", "old")
    with pytest.raises(KeyboardInterrupt):
        write_manifest(old, broken())
    assert old.read_text() == "old\n"
    assert list(tmp_path.iterdir()) == [old]


# --- folders -------------------------------------------------------------------------------------


def test_recordings_with_their_texts(tmp_path: Path) -> None:
    for name in ("b", "deep/a", ".hidden"):
        record(tmp_path / f"{name}.wav")
        write(tmp_path / f"{name}.txt", "text of", name)
    write(tmp_path / "notes.txt", "not of a recording")
    assert seen(read_data(tmp_path)) == [
        ("b", "text of b", None),
        ("deep/a", "text of deep/a", None),
    ]
    record(tmp_path / "deep" / "c.flac")
    with pytest.raises(DataError, match=r"1 problem; .*\n  deep/c.flac: no text"):
        read_data(tmp_path)


def test_one_folder_per_speaker(tmp_path: Path) -> None:
    for name in ("alice/a", "alice/b", "bob/a", "bob/c"):
        record(tmp_path / f"{name}.wav")
        write(tmp_path / f"{name}.txt", name)
    dataset = read_data(tmp_path)
    assert [example.speaker for example in dataset.examples] == ["alice", "alice", "bob", "bob"]
    (note,) = dataset.notes
    assert "each of its 2 sub-folders is taken for a speaker (alice, bob)" in note
    assert split_unit(dataset.examples, 2) == "speaker"
    assert {e.speaker for e in read_data(tmp_path, what="audio").examples} == {None}


@pytest.mark.parametrize("further", ["carol/a", "a", "alice/monday/a"])
def test_folders_that_are_no_speakers(tmp_path: Path, further: str) -> None:
    """A folder of one recording, recordings beside the folders, folders in folders: who knows."""
    for name in ("alice/a", "alice/b", "bob/a", "bob/c", further):
        record(tmp_path / f"{name}.wav")
        write(tmp_path / f"{name}.txt", name)
    dataset = read_data(tmp_path)
    assert {example.speaker for example in dataset.examples} == {None}
    assert dataset.notes == ()


def test_the_folder_of_a_training_is_not_data(tmp_path: Path) -> None:
    record(tmp_path / "a.wav")
    write(tmp_path / "a.txt", "text")
    for name in ("train.jsonl", "valid.jsonl", "doctor.json"):
        write(tmp_path / "deep" / "run" / name, "{}")
    dataset = read_data(tmp_path)
    assert seen(dataset) == [("a", "text", None)]
    assert dataset.notes == (f"{tmp_path / 'deep' / 'run'}: is the folder of a training: not read",)


def test_recordings_that_the_manifest_leaves_out_are_counted(tmp_path: Path) -> None:
    for name in ("a", "b", "c/d", "e"):
        record(tmp_path / f"{name}.wav")
    elsewhere = str(tmp_path / "e.wav")
    write(tmp_path / "list.csv", "path,text", "a.wav,x", "./c/../c/d.wav,y", f"{elsewhere},z")
    (note,) = read_data(tmp_path).notes
    assert note.endswith("list.csv: does not list 1 of the 4 recordings in its folder")
    (tmp_path / "b.wav").unlink()
    assert read_data(tmp_path).notes == ()


def test_folder_per_split(tmp_path: Path) -> None:
    for split in ("train", "dev", "test-noisy", "notes"):
        record(tmp_path / split / "a.wav")
        write(tmp_path / split / "a.txt", split)
    dataset = read_data(tmp_path)
    assert dataset.notes[0].endswith("not read: notes")
    assert {split: part[0].id for split, part in dataset.splits.items()} == {
        "valid": "dev/a",
        "test_noisy": "test-noisy/a",
        "train": "train/a",
    }


def test_folder_per_label_is_not_taken_for_splits(tmp_path: Path) -> None:
    for label in ("train", "plane", "dog"):
        record(tmp_path / label / "a.wav")
    dataset = read_data(tmp_path, what="label")
    assert [example.labels for example in dataset.examples] == [("dog",), ("plane",), ("train",)]
    assert not dataset.splits


def test_one_manifest_per_split(tmp_path: Path) -> None:
    record(tmp_path / "a.wav")
    for name in ("train", "valid", "test_far", "untranscribed"):
        write(tmp_path / f"{name}.jsonl", {"audio_filepath": "a.wav", "text": name})
    write(tmp_path / "train.tsv", "the table of the corpus, read before")
    assert {split: part[0].text for split, part in read_data(tmp_path).splits.items()} == {
        "test_far": "test_far",
        "train": "train",
        "valid": "valid",
    }
    (note,) = read_data(tmp_path).notes
    assert "holds the splits test_far.jsonl, train.jsonl, valid.jsonl; not read: " in note
    assert note.endswith("not read: train.tsv, untranscribed.jsonl")


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda folder: folder / "nothing", "no such file or folder"),
        (lambda folder: folder, "no recordings found"),
        (lambda folder: write(folder / "x.doc", "x"), "needs to be a folder or a manifest"),
        (
            lambda folder: write(write(folder / "a.csv", "x").parent / "b.tsv", "x").parent,
            r"several manifests \(a.csv, b.tsv",
        ),
    ],
)
def test_sources_that_are_none(tmp_path: Path, make: Callable[[Path], Path], what: str) -> None:
    with pytest.raises(DataError, match=what):
        read_data(make(tmp_path))


def test_librispeech(tmp_path: Path) -> None:
    for split, id_ in (("train-clean-5", "1088-1-0000"), ("dev-clean-2", "84-1-0001")):
        folder = tmp_path / "LibriSpeech" / split / id_.partition("-")[0] / "1"
        record(folder / f"{id_}.flac")
        write(folder / f"{id_[:-5]}.trans.txt", f"{id_} THE WORDS")
    write(tmp_path / "LibriSpeech" / "README.TXT", "about")
    dataset = read_data(tmp_path)
    assert seen(dataset) == [
        ("84-1-0001", "THE WORDS", "84"),
        ("1088-1-0000", "THE WORDS", "1088"),
    ]
    assert {split: len(part) for split, part in dataset.splits.items()} == {"valid": 1, "train": 1}
    (folder / "84-1-0001.flac").unlink()
    with pytest.raises(DataError, match=r"84-1.trans.txt:1: no recording .*84-1-0001.flac"):
        read_data(tmp_path)


def test_ljspeech(tmp_path: Path) -> None:
    for id_ in ("LJ001-0001", "LJ001-0002"):
        record(tmp_path / "wavs" / f"{id_}.wav")
    table = write(
        tmp_path / "metadata.csv",
        'LJ001-0001|the "year" 1455,|the "year" fourteen fifty-five,',
        "LJ001-0002|as it stands",
    )
    expected = [
        ("LJ001-0001", 'the "year" fourteen fifty-five,', None),
        ("LJ001-0002", "as it stands", None),
    ]
    assert seen(read_data(tmp_path)) == seen(read_data(table)) == expected


def test_common_voice(tmp_path: Path) -> None:
    header = "client_id\tpath\tsentence\tup_votes"
    for table, clip in (("train", "a.mp3"), ("dev", "b.mp3"), ("test", "c.mp3")):
        record(tmp_path / "clips" / clip)
        write(tmp_path / f"{table}.tsv", header, f's{clip}\t{clip}\t"Hello.\t2')
    write(tmp_path / "invalidated.tsv", header, "s\tgone.mp3\tx\t0")
    dataset = read_data(tmp_path)
    assert {split: part[0].text for split, part in dataset.splits.items()} == {
        "train": '"Hello.',
        "valid": '"Hello.',
        "test": '"Hello.',
    }
    assert dataset.splits["valid"][0].id == "clips/b"
    assert dataset.splits["valid"][0].speaker == "sb.mp3"
    assert dataset.splits["valid"][0].extra == {"up_votes": "2"}


def test_tedlium(tmp_path: Path) -> None:
    for split in ("train", "test"):
        folder = tmp_path / "legacy" / split
        record(folder / "sph" / "Talk_2010.sph", 30.0)
        stm = write(
            folder / "stm" / "Talk_2010.stm",
            ";; a comment",
            "Talk_2010 1 S28 0.00 4.00 <o,,unknown> ignore_time_segment_in_scoring",
            "Talk_2010 1 Talk_2010 4.00 7.25 <o,f0,male> it 's <unk> so {NOISE} good(2)",
            "Talk_2010 1 Talk_2010 7.25 9.00 <NA> <unk> yes",
        )
    (tmp_path / "data" / "stm").mkdir(parents=True)
    dataset = read_data(tmp_path)
    assert list(dataset.splits) == ["train", "test"]
    first, second = dataset.splits["train"]
    assert (first.start_s, first.duration_s, first.text) == (4.0, 3.25, "it's so good")
    assert (second.start_s, second.duration_s, second.text) == (7.25, 1.75, "yes")
    assert first.audio == tmp_path / "legacy" / "train" / "sph" / "Talk_2010.sph"
    assert first.speaker == "Talk_2010"
    assert [e.text for e in read_data(stm).examples] == ["it's so good", "yes"]
    write(stm, "Talk_2010 1 Talk_2010 4.00", "Other 1 S 1.0 2.0 <NA> x", "Talk_2010 1 S 1 x <NA> y")
    with pytest.raises(DataError, match=r"stm:1: not talk(.|\n)*stm:2: no recording(.|\n)*stm:3: "):
        read_data(stm)


def test_an4_and_yesno(tmp_path: Path) -> None:
    an4 = tmp_path / "an4"
    record(an4 / "wav" / "an4_clstk" / "fash" / "an251-fash-b.sph")
    record(an4 / "wav" / "an4test_clstk" / "fcaw" / "an406-fcaw-b.sph")
    write(an4 / "etc" / "an4_train.transcription", "<s> YES </s> (an251-fash-b)")
    write(an4 / "etc" / "an4_test.transcription", "RUBOUT G M (an406-fcaw-b)")
    dataset = read_data(an4)
    assert seen(dataset) == [
        ("an406-fcaw-b", "RUBOUT G M", "fcaw"),
        ("an251-fash-b", "YES", "fash"),
    ]
    assert list(dataset.splits) == ["train", "test"]
    record(tmp_path / "waves_yesno" / "0_1_0_0_0_1_1_1.wav")
    yesno = read_data(tmp_path / "waves_yesno")
    assert seen(yesno) == [("0_1_0_0_0_1_1_1", "no yes no no no yes yes yes", None)]


# --- splits --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "split"),
    [
        *(("train", "train"), ("train-clean-5", "train"), ("Training", "train")),
        *(("dev", "valid"), ("dev-clean-2", "valid"), ("val", "valid"), ("validation", "valid")),
        *(("test", "test"), ("test-other", "test_other"), ("test_librispeech", "test_librispeech")),
        *(("validated", None), ("trainer", None), ("untranscribed", None), ("device", None)),
    ],
)
def test_split_names(name: str, split: str | None) -> None:
    assert split_name(name) == split


@st.composite
def voices(draw: st.DrawFn) -> list[Example]:
    """Three speakers and more, with as much to say as they like."""
    counts = draw(st.lists(st.integers(1, 6), min_size=3, max_size=12))
    return [
        Example(f"{who}-{at}", Path(f"/{who}-{at}.wav"), 1.0 + at, speaker=f"s{who}")
        for who, count in enumerate(counts)
        for at in range(count)
    ]


@given(voices(), st.integers(0, 3), st.randoms())
def test_no_speaker_is_in_two_splits(examples: list[Example], seed: int, random: Any) -> None:
    splits = split_by_speaker(examples, seed=seed)
    assert list(splits) == ["train", "valid", "test"]
    assert sorted(e.id for part in splits.values() for e in part) == sorted(e.id for e in examples)
    speakers = [{example.speaker for example in part} for part in splits.values()]
    assert all(speakers)
    assert sum(map(len, speakers)) == len(set.union(*speakers))
    shuffled = random.sample(examples, len(examples))
    again = split_by_speaker(shuffled, seed=seed)
    assert {name: set(map(id, part)) for name, part in splits.items()} == {
        name: set(map(id, part)) for name, part in again.items()
    }


def crowd(speakers: int) -> list[Example]:
    return [
        Example(f"{who}-{at}", Path(f"/{who}-{at}.wav"), 3.0, speaker=f"s{who}")
        for who in range(speakers)
        for at in range(5)
    ]


def test_splits_have_the_size_asked_for() -> None:
    examples = crowd(200)
    splits = split_by_speaker(examples, {"valid": 0.1, "test": 0.2})
    assert {name: len(part) / len(examples) for name, part in splits.items()} == pytest.approx(
        {"valid": 0.1, "test": 0.2, "train": 0.7}, rel=0.25
    )
    assert splits != split_by_speaker(examples, {"valid": 0.1, "test": 0.2}, seed=1)


def test_a_folder_without_texts_names_the_table_beside_it(tmp_path: Path) -> None:
    (tmp_path / "talks").mkdir()
    soundfile.write(tmp_path / "talks" / "a b.wav", np.zeros(1_600), 16_000)
    with pytest.raises(DataError, match=r"no text") as without:
        read_data(tmp_path / "talks")
    assert "may say more" not in str(without.value)
    (tmp_path / "talks.csv").write_text("file,sentence\ntalks/a b.wav,hello\n")
    with pytest.raises(DataError, match=r"talks\.csv may say more of these recordings"):
        read_data(tmp_path / "talks")
    assert read_data(tmp_path / "talks.csv").examples[0].text == "hello"


def test_a_long_speaker_is_not_spent_on_a_small_split() -> None:
    long = [Example(f"l{at}", Path(f"/l{at}.wav"), 100.0, speaker="long") for at in range(10)]
    for seed in range(20):
        assert long[0] in split_by_speaker([*long, *crowd(40)], {"valid": 0.05}, seed)["train"]


def test_labels_are_missing_in_no_split_if_it_can_be() -> None:
    examples = [
        Example(f"{label}-{n}", Path(f"/{label}-{n}.wav"), 1.0, labels=(label,))
        for label in "ijkl"
        for n in range(10)
    ]
    alone = Example("rare", Path("/rare.wav"), 1.0, labels=("rare",))
    plain = split_by_speaker([*examples, alone], {"valid": 0.1})
    found = {name for e in plain["valid"] for name in e.labels}
    assert found < set("ijkl")  # or this tells nothing
    parts = split_with_labels([*examples, alone], {"valid": 0.1})
    assert alone in parts["train"]
    assert {name for e in parts["valid"] for name in e.labels} == set("ijkl")
    assert len(parts["valid"]) == len(split_by_speaker(examples, {"valid": 0.1})["valid"])
    assert split_with_labels(crowd(20), {"valid": 0.1}) == split_by_speaker(
        crowd(20), {"valid": 0.1}
    )


def test_an_empty_list_says_that_there_is_no_tag(tmp_path: Path) -> None:
    record(tmp_path / "a.wav")
    lines = [{"audio": "a.wav", "labels": ["rain"]}, {"audio": "a.wav", "labels": []}]
    found = read_data(write(tmp_path / "tags.jsonl", *lines), what="label").examples
    assert [example.labels for example in found] == [("rain",), ()]
    with pytest.raises(DataError, match=r"tags.jsonl:1: no label \(key label, labels for tags"):
        read_data(write(tmp_path / "tags.jsonl", {"audio": "a.wav"}), what="label")


def test_files_are_parted_where_speakers_are_too_few() -> None:
    alone = [dataclasses.replace(example, speaker="one") for example in crowd(8)]
    assert split_unit(alone, 2) == "file"
    assert split_unit(crowd(8), 2) == "speaker"
    assert all(split_by_speaker(alone).values())
    stretches = [
        Example(f"{file}@{at}", Path(f"/{file}.wav"), 1.0, at) for file in "abcdef" for at in (0, 1)
    ]
    for part in split_by_speaker(stretches).values():
        assert len(part) == 2 * len({example.audio for example in part})


@pytest.mark.parametrize("fractions", [{"valid": 0.0}, {"valid": 1.5}, {"valid": 0.6, "test": 0.6}])
def test_fractions_that_are_none(fractions: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="split fractions"):
        split_by_speaker(crowd(3), fractions)


def test_too_little_to_part() -> None:
    with pytest.raises(ConfigError, match="1 recordings cannot be parted into 3 splits"):
        split_by_speaker(crowd(1)[:1])


# --- datasets ------------------------------------------------------------------------------------


def test_fingerprint_changes_when_the_data_does(tmp_path: Path) -> None:
    def fingerprint(place: str, text: str = "x", duration_s: float = 0.5) -> str:
        record(tmp_path / place / "a.wav", duration_s)
        line = {"audio_filepath": "a.wav", "duration": 0.5, "text": text}
        return read_data(write(tmp_path / place / "m.jsonl", line)).fingerprint()

    first = fingerprint("here")
    assert fingerprint("there") == first
    assert len({first, fingerprint("here", text="y"), fingerprint("here", duration_s=0.6)}) == 3


def test_without(tmp_path: Path) -> None:
    examples = tuple(crowd(2))
    dataset = Dataset(examples, tmp_path, {"train": examples[:5], "valid": examples[5:]})
    less = dataset.without({"0-0", "1-4"})
    assert [e.id for e in less.examples] == [f"{w}-{a}" for w in (0, 1) for a in range(5)][1:-1]
    assert {name: len(part) for name, part in less.splits.items()} == {"train": 4, "valid": 4}
    assert less.duration_s == 24.0


@pytest.mark.shared
def test_real_manifests(shared_data: Path) -> None:
    dataset = read_data(shared_data / "english")
    assert {split: len(part) for split, part in dataset.splits.items()} == {
        "test_commonvoice": 50,
        "test_librispeech": 201,
        "test_speechocean": 500,
        "train": 7279,
        "valid": 402,
    }
    train = dataset.splits["train"]
    assert train == read_data(shared_data / "english" / "train.jsonl").examples
    with pytest.raises(DataError, match="244 problems"):
        read_data(shared_data / "english" / "untranscribed.jsonl")


def test_joined_folds_have_as_much_of_each_label() -> None:
    """Every other actor is a woman, as in RAVDESS: dealt out in order, they would stay apart."""
    examples = [
        Example(f"{n}-{clip}", Path("x.wav"), speaker=f"actor{n:02}", labels=("fm"[n % 2],))
        for n in range(24)
        for clip in range(3)
    ]
    actors = [example.speaker or "" for example in examples]
    parts = folds_by("speaker", actors, examples, 4)
    assert list(parts) == ["0", "1", "2", "3"]
    for part in parts.values():
        assert Counter(e.labels[0] for e in part) == {"f": 9, "m": 9}
    homes = {e.speaker: name for name, part in parts.items() for e in part}
    assert all(homes[e.speaker] == name for name, part in parts.items() for e in part)
    again = folds_by("speaker", actors[::-1], examples[::-1], 4)
    assert {e.speaker: name for name, part in again.items() for e in part} == homes
