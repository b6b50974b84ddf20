"""The layouts of public corpora of clips, each made up small, through `prepare`."""

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

from auricle import audio
from auricle.corpora import Corpus, Part, prepare
from auricle.data.clip_corpora import KEYWORDS, READERS
from auricle.errors import DataError

RATE_HZ = 8_000


def sound(path: Path, seconds: float = 0.1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    wave = np.random.default_rng(0).normal(0, 0.1, round(seconds * RATE_HZ))
    audio.save(path, wave.astype(np.float32), RATE_HZ)


def prepared(name: str, folder: Path) -> dict[str, list[dict[str, object]]]:
    """What `prepare` writes of an unpacked corpus, split by split."""
    corpora = {name: Corpus("", "", "", {})}
    found = prepare(name, folder, download=False, corpora=corpora)
    return {
        split: [json.loads(line) for line in path.read_text().splitlines()]
        for split, path in found.items()
    }


def commands(folder: Path) -> None:
    for word in (*KEYWORDS, "bird", "cat"):
        for speaker in range(6):
            sound(folder / word / f"s{speaker}_nohash_0.wav")
    held = {"validation": 4, "testing": 5}
    for name, speaker in held.items():
        names = [f"{word}/s{speaker}_nohash_0.wav" for word in (*KEYWORDS, "bird", "cat")]
        (folder / f"{name}_list.txt").write_text("\n".join(names) + "\n")
    sound(folder / "_background_noise_" / "rain.wav", 9.0)
    (folder / "README.md").write_text("x")


def test_speech_commands_keep_their_official_split(tmp_path: Path) -> None:
    commands(tmp_path)
    found = prepared("speech_commands", tmp_path)
    assert {split: len(rows) for split, rows in found.items()} == {
        "train": 48,
        "valid": 12,
        "test": 12,
    }
    assert {row["speaker"] for row in found["test"]} == {"s5"}
    assert found["test"][0]["labels"] == ["bird"]


def test_twelve_classes_have_a_tenth_of_unknown_and_of_silence(tmp_path: Path) -> None:
    commands(tmp_path)
    found = prepared("speech_commands_12", tmp_path)
    counts = {split: [row["labels"][0] for row in rows] for split, rows in found.items()}
    assert counts["train"].count("_unknown_") == counts["train"].count("_silence_") == 4
    assert counts["test"].count("_unknown_") == counts["test"].count("_silence_") == 1
    assert set(counts["train"]) == {*KEYWORDS, "_unknown_", "_silence_"}
    stretches = {
        split: [(row.get("offset", 0.0), row["duration"]) for row in rows if "rain" in row["id"]]
        for split, rows in found.items()
    }
    assert max(start + long for start, long in stretches["train"]) <= 3.0  # its own third
    assert min(start for start, _ in stretches["test"]) >= 6.0
    assert prepared("speech_commands_12", tmp_path) == found


def test_names_tell_digits_speakers_and_takes(tmp_path: Path) -> None:
    for name in ("7_jackson_0", "7_jackson_5", "3_theo_4", "notes"):
        sound(tmp_path / "recordings" / f"{name}.wav")
    found = prepared("spoken_digits", tmp_path)
    assert [row["labels"] for row in found["train"]] == [["7"]]
    assert [(row["labels"], row["speaker"]) for row in found["test"]] == [
        (["3"], "theo"),
        (["7"], "jackson"),
    ]


@pytest.mark.parametrize(
    ("name", "path", "label", "speaker"),
    [
        ("audio_mnist", "data/12/7_12_32.wav", "7", "12"),
        ("ravdess", "Actor_02/03-01-06-02-01-02-02.wav", "fearful", "actor02"),
        ("emo_db", "wav/03a01Fa.wav", "happiness", "03"),
        ("gtzan", "genres/blues/blues.00000.wav", "blues", None),
    ],
)
def test_a_name_is_read(
    name: str, path: str, label: str, speaker: str | None, tmp_path: Path
) -> None:
    sound(tmp_path / path)
    (example,) = READERS[name](tmp_path)["all"]
    assert (example.labels, example.speaker) == ((label,), speaker)


def test_an_actor_has_a_gender(tmp_path: Path) -> None:
    sound(tmp_path / "03-01-01-01-02-01-07.wav")
    (example,) = READERS["ravdess"](tmp_path)["all"]
    assert dict(example.extra) == {
        "emotion": "neutral",
        "gender": "male",
        "intensity": "normal",
        "statement": "dogs",
    }


def test_folds_come_from_the_tables(tmp_path: Path) -> None:
    sound(tmp_path / "esc" / "audio" / "1-2-A-0.wav")
    (tmp_path / "esc" / "meta").mkdir()
    (tmp_path / "esc" / "meta" / "esc50.csv").write_text(
        "filename,fold,target,category,esc10,src_file,take\n1-2-A-0.wav,1,0,dog,True,2,A\n"
    )
    (esc,) = READERS["esc50"](tmp_path / "esc")["all"]
    assert (esc.labels, dict(esc.extra)) == (("dog",), {"fold": "1", "esc10": True})
    (tmp_path / "us" / "metadata").mkdir(parents=True)
    (tmp_path / "us" / "metadata" / "UrbanSound8K.csv").write_text(
        "slice_file_name,fsID,start,end,salience,fold,classID,class\n1-3-0-0.wav,1,0,1,1,5,3,siren\n"
    )
    (city,) = READERS["urban_sound_8k"](tmp_path / "us")["all"]
    assert city.audio == tmp_path / "us" / "audio" / "fold5" / "1-3-0-0.wav"
    assert (city.labels, city.extra["fold"]) == (("siren",), "5")


def test_the_commonest_tags_are_kept(tmp_path: Path) -> None:
    (tmp_path / "annotations_final.csv").write_text(
        '"clip_id"\t"rock"\t"harp"\t"mp3_path"\n'
        '"1"\t"1"\t"1"\t"a/x.mp3"\n"2"\t"1"\t"0"\t"c/y.mp3"\n"3"\t"0"\t"1"\t"f/z.mp3"\n'
        '"4"\t"1"\t"0"\t"f/w.mp3"\n'
    )
    found = READERS["magna_tag_a_tune"](tmp_path)
    assert {s: [e.labels for e in part] for s, part in found.items()} == {
        "train": [("rock", "harp")],
        "valid": [("rock",)],
        "test": [("harp",), ("rock",)],
    }


def test_an_archive_without_a_folder_gets_one(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    commands(inside)
    with tarfile.open(tmp_path / "commands.tar.gz", "w:gz") as tar:
        tar.add(inside, ".")
    part = Part("http://127.0.0.1:9/commands.tar.gz", "unpacked", flat=True)
    corpora = {"speech_commands": Corpus("", "", "", {"v": part})}
    found = prepare("speech_commands", tmp_path, download=False, corpora=corpora)
    assert sorted(found) == ["test", "train", "valid"]
    assert (tmp_path / "unpacked" / "yes").is_dir()


def test_an_empty_folder_and_a_missing_list_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no recordings of this corpus"):
        prepared("gtzan", tmp_path)
    with pytest.raises(DataError, match=r"validation_list\.txt: cannot read the official split"):
        prepared("speech_commands", tmp_path)
