"""Public corpora: `prepare()` fetches, checks and unpacks one, and writes its manifests.

CORPORA is all there is to know of each: where its parts are published, how to check them, how large
they are and what may be done with them. How their folders are laid out is known to `auricle.data`.
"""

import hashlib
import http.client
import shutil
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from http import HTTPStatus
from pathlib import Path, PurePosixPath

from auricle.audio import inspect
from auricle.data import (
    Example,
    Progress,
    in_usual_order,
    read_data,
    split_by_speaker,
    split_name,
    write_manifest,
)
from auricle.data.clip_corpora import READERS
from auricle.errors import ConfigError, DataError
from auricle.files import make_folder

TIMEOUT_S = 30.0
BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Part:
    """One archive of a corpus."""

    url: str
    folder: str
    """Where its recordings are once it is unpacked."""
    checksum: str | None = None
    """`sha256:...` or `md5:...`; None where none is published or could be confirmed."""
    size_mb: int = 0
    """Of the archive; 0 when not known. The recordings need about as much again."""
    flat: bool = False
    """Whether the archive has no folder of that name around its files."""


@dataclass(frozen=True, slots=True)
class Corpus:
    """A public corpus; without parts, one that its publisher hands out against a registration."""

    what: str
    licence: str
    page: str
    parts: Mapping[str, Part]
    usual: tuple[str, ...] = ()
    """The parts prepared when none are named; all of them if empty."""


def _librispeech(slr: int, name: str, size_mb: int, md5: str) -> tuple[str, Part]:
    url = f"https://www.openslr.org/resources/{slr}/{name}.tar.gz"
    return name, Part(url, f"LibriSpeech/{name}", f"md5:{md5}", size_mb)


def _commands(version: str, size_mb: int, sha256: str) -> tuple[str, Part]:
    name = f"speech_commands_{version}"
    url = f"http://download.tensorflow.org/data/{name}.tar.gz"
    return version, Part(url, name, f"sha256:{sha256}", size_mb, flat=True)


_SPEECH_COMMANDS = dict(
    (
        _commands(
            "v0.01", 1_489, "743935421bb51cccdb6bdd152e04c5c70274e935c82119ad7faeec31780d811d"
        ),
        _commands(
            "v0.02", 2_428, "af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58"
        ),
    )
)


def _github(owner: str, name: str, ref: str, version: str) -> Part:
    url = f"https://github.com/{owner}/{name}/archive/refs/{ref}.tar.gz"
    return Part(url, f"{name}-{version}", None)


# The MD5 sums are those of OpenSLR's md5sum.txt. The SHA-256 are not published with the archives:
# they are what torchaudio expects. None could be confirmed for AN4.
CORPORA: Mapping[str, Corpus] = {
    "librispeech": Corpus(
        "English read from audio books, 1,000 h; train-clean-5 and dev-clean-2 are a mini version",
        "CC BY 4.0",
        "https://www.openslr.org/12",
        dict(
            (
                _librispeech(31, "train-clean-5", 332, "5df7d4e78065366204ca6845bb08f490"),
                _librispeech(31, "dev-clean-2", 126, "6d7ab67ac6a1d2c993d050e16d61080d"),
                _librispeech(12, "train-clean-100", 6_387, "2a93770f6d5c6c964bc36631d331a522"),
                _librispeech(12, "train-clean-360", 23_049, "c0e676e450a7ff2f54aeade5171606fa"),
                _librispeech(12, "train-other-500", 30_594, "d1a0fd59409feb2c614ce4d30c387708"),
                _librispeech(12, "dev-clean", 338, "42e2234ba48799c1f50f24a7926300a1"),
                _librispeech(12, "dev-other", 314, "c8d0bcc9cca99d4f8b62fcc847357931"),
                _librispeech(12, "test-clean", 347, "32fa31d27d2e1cad72775fee3f4849a9"),
                _librispeech(12, "test-other", 329, "fb5a50374b501bb3bac4815ee91d3135"),
            )
        ),
        usual=("train-clean-5", "dev-clean-2"),
    ),
    "tedlium3": Corpus(
        "English talks, 452 h",
        "CC BY-NC-ND 3.0",
        "https://www.openslr.org/51",
        {
            "release-3": Part(
                "https://www.openslr.org/resources/51/TEDLIUM_release-3.tgz",
                "TEDLIUM_release-3",
                "sha256:ad1e454d14d1ad550bc2564c462d87c7a7ec83d4dc2b9210f22ab4973b9eccdb",
                54_000,
            )
        },
    ),
    "ljspeech": Corpus(
        "English read by one woman, 24 h",
        "public domain",
        "https://keithito.com/LJ-Speech-Dataset",
        {
            "1.1": Part(
                "https://data.keithito.com/data/speech/LJSpeech-1.1.tar.bz2",
                "LJSpeech-1.1",
                "sha256:be1a30453f28eb8dd26af4101ae40cbf2c50413b1bb21936cbcdc6fae3de8aa5",
                2_749,
            )
        },
    ),
    "yesno": Corpus(
        "Hebrew yes and no by one man, 60 recordings at 8 kHz: enough to see that all works",
        "CC BY",
        "https://www.openslr.org/1",
        {
            "waves": Part(
                "https://www.openslr.org/resources/1/waves_yesno.tar.gz",
                "waves_yesno",
                "sha256:c3f49e0cca421f96b75b41640749167b52118f232498667ca7a5f9416aef8e73",
                5,
            )
        },
    ),
    "an4": Corpus(
        "English letters, numbers and dates, 948 + 130 recordings",
        "not stated",
        "http://www.speech.cs.cmu.edu/databases/an4",
        {
            "an4": Part(
                "https://dldata-public.s3.us-east-2.amazonaws.com/an4_sphere.tar.gz",
                "an4",
                None,
                64,
            )
        },
    ),
    "speech_commands": Corpus(
        "Google Speech Commands, 35 words (v0.02) or 30 (v0.01) of a second",
        "CC BY 4.0",
        "https://arxiv.org/abs/1804.03209",
        _SPEECH_COMMANDS,
        usual=("v0.02",),
    ),
    "speech_commands_12": Corpus(
        "the same as the usual task: ten keywords, _unknown_ and _silence_",
        "CC BY 4.0",
        "https://arxiv.org/abs/1804.03209",
        _SPEECH_COMMANDS,
        usual=("v0.02",),
    ),
    "spoken_digits": Corpus(
        "Free Spoken Digit Dataset: 3,000 English digits by six speakers, 8 kHz",
        "CC BY-SA 4.0",
        "https://github.com/Jakobovski/free-spoken-digit-dataset",
        {"1.0.10": _github("Jakobovski", "free-spoken-digit-dataset", "tags/v1.0.10", "1.0.10")},
    ),
    "audio_mnist": Corpus(
        "30,000 English digits by sixty speakers, 48 kHz",
        "MIT",
        "https://github.com/soerenab/AudioMNIST",
        {"master": _github("soerenab", "AudioMNIST", "heads/master", "master")},
    ),
    "esc50": Corpus(
        "2,000 environmental sounds of 5 s in 50 classes and 5 folds",
        "CC BY-NC 3.0",
        "https://github.com/karolpiczak/ESC-50",
        {"master": _github("karolpiczak", "ESC-50", "heads/master", "master")},
    ),
    "urban_sound_8k": Corpus(
        "8,732 urban sounds of up to 4 s in 10 classes and 10 folds",
        "CC BY-NC 4.0",
        "https://zenodo.org/records/1203745",
        {
            "1.0": Part(
                "https://zenodo.org/records/1203745/files/UrbanSound8K.tar.gz",
                "UrbanSound8K",
                None,
                6_000,
            )
        },
    ),
    "ravdess": Corpus(
        "1,440 acted sentences, 24 actors, 8 emotions; unpack it first",
        "CC BY-NC-SA 4.0",
        "https://zenodo.org/records/1188976",
        {},
    ),
    "emo_db": Corpus(
        "535 acted German sentences, 10 actors, 7 emotions; unpack it first",
        "not stated",
        "http://emodb.bilderbar.info",
        {},
    ),
    "gtzan": Corpus(
        "1,000 pieces of music of 30 s in 10 genres; unpack it first",
        "not stated",
        "http://marsyas.info/downloads/datasets.html",
        {},
    ),
    "magna_tag_a_tune": Corpus(
        "25,863 pieces of music of 29 s with tags; unpack it first",
        "CC BY-NC-SA 3.0",
        "https://mirg.city.ac.uk/codeapps/the-magnatagatune-dataset",
        {},
    ),
    "common_voice": Corpus(
        "volunteers reading sentences in a hundred languages",
        "CC0",
        "https://commonvoice.mozilla.org/datasets",
        {},
    ),
}


def prepare(
    name: str,
    folder: str | Path,
    subsets: Sequence[str] = (),
    *,
    download: bool = True,
    corpora: Mapping[str, Corpus] = CORPORA,
    progress: Progress | None = None,
) -> dict[str, Path]:
    """Make a corpus ready for training: archives, recordings and manifests, all in `folder`.

    What is already there is not fetched or unpacked again, so a call that was cut short can simply
    be repeated. A corpus without splits of its own gets them from `split_by_speaker`.

    Args:
        subsets: parts of the corpus (or languages of Common Voice); none for the usual ones.
        download: False takes archives and unpacked folders as they are found in `folder`.
        progress: hears of bytes while downloading, then of recordings read.

    Returns:
        the manifest of each split.

    Raises:
        ConfigError: no such corpus or subset.
        DataError: what could not be fetched, is damaged, or is missing.
    """
    if name not in corpora:
        raise ConfigError(f"no corpus {name}: there are {', '.join(corpora)}")
    corpus, folder = corpora[name], Path(folder).absolute()
    make_folder(folder)
    if not corpus.parts and name in READERS:
        folders = {"": folder}
    elif not corpus.parts:
        folders = {"": _handed_out(corpus, folder, subsets)}
    else:
        if unknown := set(subsets) - set(corpus.parts):
            raise ConfigError(f"{name} has no {', '.join(unknown)}: {', '.join(corpus.parts)}")
        parts = {part: corpus.parts[part] for part in subsets or corpus.usual or corpus.parts}
        folders = {part: _fetch(parts[part], folder, download, progress) for part in parts}
    splits: dict[str, list[Example]] = {}
    for part, unpacked in folders.items():
        if reader := READERS.get(name):
            for own_split, found in _heard(reader(unpacked), unpacked, progress).items():
                splits.setdefault(own_split, []).extend(found)
            continue
        dataset = read_data(unpacked, progress=progress)
        own = {split: dataset.examples} if (split := split_name(part)) else dataset.splits
        for split, examples in (own or split_by_speaker(dataset.examples)).items():
            splits.setdefault(split, []).extend(examples)
    manifests = {split: folder / f"{split}.jsonl" for split in in_usual_order(splits)}
    for split, manifest in manifests.items():
        write_manifest(manifest, splits[split])
    return manifests


prepare_librispeech = partial(prepare, "librispeech")
prepare_tedlium3 = partial(prepare, "tedlium3")
prepare_ljspeech = partial(prepare, "ljspeech")
prepare_yesno = partial(prepare, "yesno")
prepare_an4 = partial(prepare, "an4")
prepare_common_voice = partial(prepare, "common_voice")


def _heard(
    splits: Mapping[str, Sequence[Example]], folder: Path, progress: Progress | None
) -> dict[str, list[Example]]:
    """The splits that hold anything, with the durations of their recordings."""
    found = [example for examples in splits.values() for example in examples]
    if not found:
        raise DataError(f"{folder}: no recordings of this corpus in it; is it unpacked there?")
    durations = {}
    for done, path in enumerate(paths := sorted({example.audio for example in found}), 1):
        durations[path] = inspect(path).duration_s
        if progress:
            progress(done, len(paths))
    return {
        split: [replace(e, duration_s=e.duration_s or durations[e.audio]) for e in examples]
        for split, examples in splits.items()
        if examples
    }


def _fetch(part: Part, folder: Path, download_it: bool, progress: Progress | None) -> Path:
    """The unpacked folder of a part, from what is there or from its publisher."""
    unpacked = folder / part.folder
    archive = folder / part.url.rpartition("/")[2]
    if not unpacked.is_dir():
        if archive.is_file():
            verify(archive, part.checksum)
        elif download_it:
            download(part.url, archive, part.checksum, progress=progress)
        else:
            raise DataError(f"{folder}: holds neither {part.folder} nor {archive.name}")
        unpack(archive, folder, part.folder, flat=part.flat)
    return unpacked


def _handed_out(corpus: Corpus, folder: Path, subsets: Sequence[str]) -> Path:
    """The folder of one language of Common Voice, from an archive that the user has fetched."""
    for archive in sorted(folder.glob("*.tar.gz")):
        inside = _first_folder(archive)
        if not (folder / inside).is_dir():
            unpack(archive, folder, inside)
    tables = sorted(table for up in ("", "*/", "*/*/") for table in folder.glob(f"{up}train.tsv"))
    found = {table.parent.name: table.parent for table in tables}
    wanted = tuple(subsets) or tuple(found)
    if len(wanted) == 1 and wanted[0] in found:
        return found[wanted[0]]
    held = f"holds the languages {', '.join(found)}: name one" if found else "holds no train.tsv"
    raise DataError(f"{folder}: {held}; archives of this corpus are handed out at {corpus.page}")


def _first_folder(archive: Path) -> str:
    """`cv-corpus-17.0-2024-03-15/en`: what holds the first file, and its clips, of an archive."""
    try:
        with tarfile.open(archive) as tar:
            first = next((PurePosixPath(member.name) for member in tar if member.isfile()), None)
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise DataError(f"{archive}: cannot be unpacked ({error})") from None
    within = first.parent if first else PurePosixPath()
    within = within.parent if within.name == "clips" else within
    if within == PurePosixPath():
        raise DataError(f"{archive}: holds no folder; unpack it yourself into {archive.parent}")
    return within.as_posix()


def download(
    url: str,
    path: Path,
    checksum: str | None = None,
    *,
    progress: Progress | None = None,
    attempts: int = 8,
    pause_s: float = 1.0,
) -> None:
    """Fetch a file, going on where an earlier attempt or call was cut off.

    What has come so far is kept in `path` + ".part", which becomes `path` once it is whole and its
    checksum is right.

    Raises:
        DataError: the server refuses, the connection fails `attempts` times in a row without a
            single new byte, the disk is too small, or the checksum is wrong.
    """
    part = path.with_name(f"{path.name}.part")
    failures, whole = 0, False
    while not whole:
        before = part.stat().st_size if part.exists() else 0
        try:
            whole = _fetch_rest(url, part, progress)
            problem = "the connection was cut"
        except urllib.error.HTTPError as error:
            problem = f"the server answers {error.code} {error.reason}"
            if error.code < HTTPStatus.INTERNAL_SERVER_ERROR:
                raise DataError(f"{url}: {problem}") from None
        except (OSError, http.client.HTTPException) as error:
            problem = str(error) or type(error).__name__
        grew = part.exists() and part.stat().st_size > before
        failures = 0 if grew else failures + 1
        if not whole and failures >= attempts:
            raise DataError(f"{url}: {problem}; run it again to go on from where it stopped")
        if not whole and not grew:
            time.sleep(pause_s * 2 ** (failures - 1))
    verify(part, checksum)
    part.replace(path)


def _fetch_rest(url: str, part: Path, progress: Progress | None) -> bool:
    """Append what is missing of `part`; True when it is whole."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        total = error.headers.get("Content-Range", "").rpartition("/")[2]
        if total == str(have):
            return True
        part.unlink()  # longer than the file itself: not a part of it
        return False
    with response:
        if response.status != HTTPStatus.PARTIAL_CONTENT:
            have = 0  # the server knows no ranges and sends all of it
        length = response.headers.get("Content-Length")
        total_bytes = have + int(length) if length else 0
        _check_room(part, total_bytes - have)
        with part.open("ab" if have else "wb") as file:
            while block := response.read(BLOCK_BYTES):
                file.write(block)
                have += len(block)
                if progress:
                    progress(have, total_bytes)
    return have >= total_bytes


def _check_room(path: Path, needed_bytes: int) -> None:
    free_bytes = shutil.disk_usage(path.parent).free
    if needed_bytes > free_bytes:
        gb = 1_000_000_000
        raise DataError(
            f"{path.parent}: {needed_bytes / gb:.1f} GB to come, only {free_bytes / gb:.1f} GB free"
        )


def verify(path: Path, checksum: str | None) -> None:
    """Compare a file with `sha256:...` or `md5:...`; one that differs is deleted.

    Raises:
        DataError: it differs.
    """
    if checksum is None:
        return
    algorithm, _, expected = checksum.partition(":")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, algorithm).hexdigest()
    if found != expected:
        path.unlink()
        raise DataError(
            f"{path}: {algorithm} is {found}, not {expected}; deleted as damaged, run it again"
        )


def _extract(tar: tarfile.TarFile, folder: Path) -> None:
    """Files and folders of an archive, below `folder` alone; what links to a file becomes a copy.

    `extractall(filter="data")` would do, but Python 3.11 has it only since 3.11.4, and systems that
    are in use come with an older one.
    """
    for member in tar:
        parts = PurePosixPath(member.name).parts
        if ".." in parts or member.name.startswith("/") or set(member.name) & set("\\:"):
            raise tarfile.TarError(f"it would write outside of its folder: {member.name}")
        target = folder.joinpath(*parts)
        if member.isdir():
            target.mkdir(parents=True, exist_ok=True)
        elif (content := tar.extractfile(member)) is not None:  # neither device nor pipe
            target.parent.mkdir(parents=True, exist_ok=True)
            with content, target.open("wb") as file:
                shutil.copyfileobj(content, file)


def unpack(archive: Path, folder: Path, wanted: str, *, flat: bool = False) -> None:
    """Unpack the folder `wanted` of a tar archive into `folder`; whole or not at all.

    Args:
        flat: the archive has no folder around its files: make it.

    Raises:
        DataError: the archive is damaged, unsafe, or does not hold that folder.
    """
    with tempfile.TemporaryDirectory(dir=folder, prefix=".unpacking-") as temporary:
        try:
            with tarfile.open(archive) as tar:
                _extract(tar, Path(temporary, wanted if flat else ""))
        except (tarfile.TarError, EOFError, zlib.error, OSError, KeyError) as error:
            raise DataError(
                f"{archive}: cannot be unpacked ({error}); if it is damaged, delete it"
            ) from None
        if not (unpacked := Path(temporary, wanted)).is_dir():
            raise DataError(f"{archive}: holds no {wanted}; is it another archive of that name?")
        (folder / wanted).parent.mkdir(parents=True, exist_ok=True)
        unpacked.replace(folder / wanted)
