"""Public corpora of labelled clips: their folders, names and official splits -> examples.

Each reader takes the unpacked folder and gives its splits; a corpus without official ones is one
split, "all", with what it is to be parted by (`fold`, `speaker`) in the manifest.
"""

import csv
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from auricle.audio import SUFFIXES, inspect
from auricle.data.example import Example
from auricle.errors import DataError
from auricle.files import read_text, regular, why_not

Splits = dict[str, list[Example]]
Reader = Callable[[Path], Splits]

KEYWORDS = ("down", "go", "left", "no", "off", "on", "right", "stop", "up", "yes")
"""The ten words of the 12-class task; the others are `_unknown_`, and `_silence_` is noise."""
SHARE = 0.1  # of unknown words and of silence beside the keywords, as in the official task
NOISE_S = 1.0


def speech_commands(folder: Path) -> Splits:
    """Google Speech Commands v1 or v2 (Warden 2018, arXiv:1804.03209), 30 or 35 words.

    validation_list.txt and testing_list.txt name their clips; the rest is for training.
    """
    held = {
        name: split
        for split in ("valid", "test")
        for name in _lines(folder / {"valid": "validation", "test": "testing"}[split])
    }
    splits: Splits = {"train": [], "valid": [], "test": []}
    for path in _recordings(folder):
        word, name = path.parent.name, f"{path.parent.name}/{path.name}"
        if word == "_background_noise_":
            continue
        speaker = path.stem.partition("_nohash_")[0]
        splits[held.get(name, "train")].append(_example(folder, path, word, speaker=speaker))
    return splits


def speech_commands_12(folder: Path) -> Splits:
    """The task of ten keywords, `_unknown_` and `_silence_`: a tenth more of each of those two.

    Which unknown words are taken is decided by their names, once for all machines; silence is cut
    from the background noises, other stretches for each split.
    """
    splits: Splits = {}
    noises = sorted((folder / "_background_noise_").glob("*.wav"))
    for number, (split, examples) in enumerate(speech_commands(folder).items()):
        known = [e for e in examples if e.labels[0] in KEYWORDS]
        others = sorted((e for e in examples if e.labels[0] not in KEYWORDS), key=_shuffled)
        count = round(SHARE * len(known))
        unknown = [
            replace(e, labels=("_unknown_",), extra={"word": e.labels[0]}) for e in others[:count]
        ]
        splits[split] = [*known, *unknown, *_silence(folder, noises, count, number)]
    return splits


def _silence(folder: Path, noises: Sequence[Path], count: int, number: int) -> Iterator[Example]:
    """`count` stretches of a second; each third of every noise belongs to one split."""
    lengths_s = {path: inspect(path).duration_s / 3 for path in noises}
    if not noises or min(lengths_s.values()) <= NOISE_S:
        if count:
            raise DataError(f"{folder}/_background_noise_: no noises to cut silence from")
        return
    for at in range(count):
        path = noises[at % len(noises)]
        room_s = lengths_s[path] - NOISE_S
        # A golden-section walk: stretches spread evenly, however many there are.
        start_s = round(number * lengths_s[path] + room_s * (at * 0.618034 % 1.0), 3)
        name = f"_silence_/{path.stem}@{start_s:.3f}#{at}"
        yield Example(name, path, NOISE_S, start_s, labels=("_silence_",))


def spoken_digits(folder: Path) -> Splits:
    """Free Spoken Digit Dataset, `7_jackson_32.wav`: takes 0 to 4 of each speaker are the test."""
    splits: Splits = {"train": [], "test": []}
    for path, match in _matching(folder, r"(\d)_([a-z]+)_(\d+)"):
        digit, speaker, take = match.groups()
        split = "test" if int(take) < 5 else "train"
        splits[split].append(_example(folder, path, digit, speaker=speaker))
    return splits


def audio_mnist(folder: Path) -> Splits:
    """AudioMNIST, `data/12/7_12_32.wav`: digit, speaker, take; parted by speaker."""
    found = _matching(folder, r"(\d)_(\d\d)_(\d+)")
    return {"all": [_example(folder, p, m[1], speaker=m[2]) for p, m in found]}


def esc50(folder: Path) -> Splits:
    """ESC-50 (Piczak 2015): meta/esc50.csv names five folds, to be kept as they are."""
    rows = _table(folder / "meta" / "esc50.csv")
    return {
        "all": [
            _example(
                folder,
                folder / "audio" / row["filename"],
                row["category"],
                fold=row["fold"],
                esc10=row["esc10"] == "True",
            )
            for row in rows
        ]
    }


def urban_sound(folder: Path) -> Splits:
    """UrbanSound8K (Salamon et al. 2014): ten folds, never to be shuffled."""
    rows = _table(folder / "metadata" / "UrbanSound8K.csv")
    return {
        "all": [
            _example(
                folder,
                folder / "audio" / f"fold{row['fold']}" / row["slice_file_name"],
                row["class"],
                fold=row["fold"],
                source=row["fsID"],
            )
            for row in rows
        ]
    }


EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")


def ravdess(folder: Path) -> Splits:
    """RAVDESS speech (Livingstone & Russo 2018), `03-01-06-01-02-01-12.wav`; parted by actor."""
    examples = []
    for path, match in _matching(folder, r"03-01-(\d\d)-(\d\d)-(\d\d)-(\d\d)-(\d\d)"):
        emotion, intensity, statement, _, actor = (int(part) for part in match.groups())
        examples.append(
            _example(
                folder,
                path,
                EMOTIONS[emotion - 1],
                speaker=f"actor{actor:02}",
                emotion=EMOTIONS[emotion - 1],
                gender="male" if actor % 2 else "female",
                intensity=("normal", "strong")[intensity - 1],
                statement=("kids", "dogs")[statement - 1],
            )
        )
    return {"all": examples}


GERMAN = dict(zip("WLEAFTN", "anger boredom disgust fear happiness sadness neutral".split()))  # noqa: B905


def emo_db(folder: Path) -> Splits:
    """Berlin EMO-DB (Burkhardt et al. 2005), `03a01Fa.wav`: speaker, text, emotion, version."""
    found = _matching(folder, r"(\d\d)([ab]\d\d)([WLEAFTN])[a-z]")
    return {
        "all": [_example(folder, p, GERMAN[m[3]], speaker=m[1], sentence=m[2]) for p, m in found]
    }


def one_folder_per_label(folder: Path) -> Splits:
    """GTZAN's genres and whatever else is sorted into folders."""
    return {"all": [_example(folder, path, path.parent.name) for path in _recordings(folder)]}


def magna_tag_a_tune(folder: Path, tags: int = 50) -> Splits:
    """MagnaTagATune: the commonest of 188 tags; as usual, folders 0-b train, c valid, d-f test."""
    rows = _table(folder / "annotations_final.csv", delimiter="\t")
    names = [name for name in (rows[0] if rows else {}) if name not in ("clip_id", "mp3_path")]
    counts = {name: sum(row[name] == "1" for row in rows) for name in names}
    common = sorted(names, key=lambda name: (-counts[name], name))[:tags]
    splits: Splits = {"train": [], "valid": [], "test": []}
    for row in rows:
        labels = [name for name in common if row[name] == "1"]
        place = row["mp3_path"][:1]
        split = "train" if place in "0123456789ab" else "valid" if place == "c" else "test"
        if labels:
            splits[split].append(_example(folder, folder / row["mp3_path"], *labels))
    return splits


READERS: Mapping[str, Reader] = {
    "speech_commands": speech_commands,
    "speech_commands_12": speech_commands_12,
    "spoken_digits": spoken_digits,
    "audio_mnist": audio_mnist,
    "esc50": esc50,
    "urban_sound_8k": urban_sound,
    "ravdess": ravdess,
    "emo_db": emo_db,
    "gtzan": one_folder_per_label,
    "magna_tag_a_tune": magna_tag_a_tune,
}
"""By the name of the corpus."""


def _example(
    folder: Path, path: Path, *labels: str, speaker: str | None = None, **extra: object
) -> Example:
    name = path.relative_to(folder).with_suffix("").as_posix()
    return Example(name, path, speaker=speaker, labels=labels, extra=extra)


def _recordings(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)


def _matching(folder: Path, pattern: str) -> list[tuple[Path, re.Match[str]]]:
    """The recordings whose names follow a pattern, in the order of their paths."""
    pairs = ((path, re.fullmatch(pattern, path.stem)) for path in _recordings(folder))
    return [(path, match) for path, match in pairs if match]


def _lines(path: Path) -> list[str]:
    path = path.with_name(f"{path.name}_list.txt")
    return read_text(path, "official split").split()


def _table(path: Path, delimiter: str = ",") -> list[dict[str, str]]:
    try:
        with regular(path).open(encoding="utf-8", newline="") as lines:
            return list(csv.DictReader(lines, delimiter=delimiter))
    except OSError as error:
        raise DataError(f"{path}: cannot read the corpus's table ({why_not(error)})") from None


def _shuffled(example: Example) -> bytes:
    return hashlib.sha256(example.id.encode()).digest()
