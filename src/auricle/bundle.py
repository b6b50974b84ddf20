"""One self-describing file that holds a trained model.

A bundle is a zip file of stored (never compressed) members; `unzip -l` and `unzip -p` read it:

    card.json             what the model is: versions, settings, tokenizer, metrics, checksums
    model.onnx            the graph that the runtime runs
    weights.safetensors   the trained weights, for fine-tuning; may be missing
    lm.bin                a language model (`auricle.lm`); may be missing
    lexicon.txt           words, and how they sound if the model hears phonemes; may be missing

Nothing in it is pickled and nothing in it is executed. A bundle may come from a stranger: sizes
are bounded before anything is read, names come from a closed alphabet, and no byte of a member is
used before its SHA-256 agreed with the card. The checksums find damage, not forgery: the answers
are as trustworthy as whoever gave you the file.
"""

import hashlib
import json
import os
import re
import struct
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field

from auricle.config import Settings
from auricle.decode import Calibration, DecodeSettings, GreedySettings
from auricle.errors import ConfigError, ModelError
from auricle.files import regular, replacing, why_not

FORMAT_VERSION = 1
SHIPPED = Path(__file__).parent / "assets"
SUFFIX = ".auricle"
CARD = "card.json"
GRAPH = "model.onnx"
WEIGHTS = "weights.safetensors"
WEIGHTS_SUFFIX = ".weights"  # of a bundle beside, for a model whose weights it holds alone
LM = "lm.bin"
LEXICON = "lexicon.txt"

LARGEST_CARD_BYTES = 16 << 20
LARGEST_MEMBER_BYTES = 2 << 30  # what one protobuf, and so one ONNX graph, may hold
MOST_MEMBERS = 16
MEMBER_NAME = r"[a-z0-9][a-z0-9._-]{0,63}"  # no folder, no drive, no hidden file

_FIXED_DATE = (1980, 1, 1, 0, 0, 0)  # the earliest that zip knows: equal content, equal bytes
_LARGEST_DIRECTORY_BYTES = 1 << 16
_ZIP_END = struct.Struct("<4s4H2LH")  # the end record without a comment, as we write it
_ZIP64_LOCATOR = struct.Struct("<4sLQL")
_DAMAGE = (
    zipfile.BadZipFile,
    EOFError,
    KeyError,
    OverflowError,
    RuntimeError,
    ValueError,
    struct.error,
)


CutName = Literal["pauses", "speech"]
"""How a recording becomes pieces: all of it, at its quietest places, or what is speech."""
MemoryName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
Rows = Annotated[int, Field(ge=1, le=1_024)]  # times Width: what a stranger can make us hold
Width = Annotated[int, Field(ge=1, le=16_384)]


class Member(Settings):
    """Size and checksum of one member."""

    size_bytes: int = Field(ge=0, le=LARGEST_MEMBER_BYTES)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Streaming(Settings):
    """How the graph hears sound as it comes; whole sound goes through it from a state of zeros.

    Beside `features` and `lengths` it takes what it remembers, (B, rows, width) float32 of each
    name in `state`, and beside its outputs it gives the same anew.
    """

    look_ahead_frames: int = Field(ge=0, le=1_000)  # so many of its frames the outputs are late
    look_ahead_ms: float = Field(ge=0, le=60_000)  # the same, for people
    stride: int = Field(ge=1, le=1_000)  # feature frames per output frame
    chunk_frames: int = Field(ge=1, le=4_000)  # a chunk has a multiple of so many feature frames
    state: dict[MemoryName, tuple[Rows, Width]] = Field(min_length=1, max_length=16)


class Card(Settings):
    """Everything a program needs to know to use the model: no recipe, no guess."""

    format_version: int = Field(FORMAT_VERSION, ge=1)
    auricle_version: str  # that wrote the file
    task: str  # that trained the model; for people, the runtime dispatches on `answer`
    answer: str  # "tokens": what the graph's output means
    stride: int = Field(1, ge=1)  # feature frames per output frame
    precision: Literal["fp32", "int8"] = "fp32"  # of the graph
    language: str | None = None  # BCP 47, e.g. "en"
    settings: dict[str, Any] = Field({})  # the whole resolved configuration of the training
    features: dict[str, Any]  # FeatureSettings
    tokenizer: dict[str, Any] = Field({})  # self-contained
    labels: dict[str, Any] = Field({})  # self-contained
    windows: dict[str, Any] = Field({})  # how a recording is cut for labels or an embedding
    cut: CutName = "pauses"  # how a recording becomes pieces for words
    streaming: Streaming | None = None  # None: the graph needs whole utterances
    decode: DecodeSettings = GreedySettings()  # defaults; the caller may ask for others
    confidence: dict[str, Calibration] = Field({})  # of words, by the kind of decoding
    metrics: dict[str, Any] = Field({})
    description: str = ""  # the model card, Markdown
    members: dict[str, Member] = Field({})  # filled in by `write_bundle`


def find_model(name: str | os.PathLike[str]) -> Path:
    """A path as it is, or the path of the model shipped under this name, such as "english".

    Raises:
        ModelError: when there is neither; names the shipped models.
    """
    path, shipped = Path(name), SHIPPED / f"{name}.auricle"
    if _exists(path) or not _exists(shipped):
        if not _exists(path):
            known = ", ".join(sorted(each.stem for each in SHIPPED.glob("*.auricle")))
            raise ModelError(
                f"{name}: no such file, and no shipped model: there is {known or 'none'}"
            )
        return path
    return shipped


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name too long, a folder that may not be entered
        return False


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle on disk whose structure and checksums were found right."""

    path: Path
    card: Card

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Self:
        """Open and check a bundle; the card is kept, members are read when asked for.

        Raises:
            ModelError: not a bundle, damaged, hostile, or of a format this version cannot read.
        """
        path = Path(path)
        if os.path.isdir(path):  # noqa: PTH112 - answers where a name is too long
            raise ModelError(
                f"{path}: a folder, and no bundle; a run becomes one by `auricle export {path} "
                f"{path.name}.auricle`"
            )
        with _opened(path) as archive:
            infos = {info.filename: info for info in archive.infolist()}
            card = _parse_card(path, archive.read(infos[CARD]))
            if set(infos) != {CARD, *card.members}:
                listed, found = sorted(card.members), sorted(set(infos) - {CARD})
                raise ModelError(f"{path}: damaged: the card lists {listed}, the file has {found}")
            for name, member in card.members.items():
                with archive.open(infos[name]) as file:
                    sha256 = hashlib.sha256()
                    while block := file.read(1 << 20):
                        sha256.update(block)
                _check_member(path, name, member, infos[name].file_size, sha256.hexdigest())
        return cls(path, card)

    def member(self, name: str) -> bytes:
        """The content of one member, its checksum checked again: the file may have changed.

        Raises:
            ModelError: for a name that the card does not list, or a file changed since `read`.
        """
        if name not in self.card.members:
            has = ", ".join(sorted(self.card.members))
            raise ModelError(f"{self.path}: has no {name}, only {has}")
        with _opened(self.path) as archive:
            data = archive.read(name)
        digest = hashlib.sha256(data).hexdigest()
        _check_member(self.path, name, self.card.members[name], len(data), digest)
        return data


def write_bundle(path: str | os.PathLike[str], card: Card, members: Mapping[str, bytes]) -> Bundle:
    """Write a bundle; equal arguments give equal bytes. A file of that name is replaced at once.

    Raises:
        ModelError: for a bad member name, a member too large, a card that is not JSON.
        DataError: when the disk is full or not ours to write to.
    """
    path = Path(path)
    for name, data in members.items():
        if not re.fullmatch(MEMBER_NAME, name) or name == CARD:
            raise ModelError(f"{path}: {name!r} cannot name a member: write {MEMBER_NAME}")
        if len(data) > LARGEST_MEMBER_BYTES:
            raise ModelError(f"{path}: {name} is larger than {LARGEST_MEMBER_BYTES} bytes")
    listed = {
        name: Member(size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
        for name, data in sorted(members.items())
    }
    card = card.model_copy(update={"format_version": FORMAT_VERSION, "members": listed})
    try:
        values = card.to_dict()
        for name in ("streaming", "cut"):  # as in the files of versions that did not know them
            if values[name] == Card.model_fields[name].default:
                del values[name]
        text = json.dumps(values, ensure_ascii=False, indent=1)
    except ValueError as error:
        raise ModelError(f"{path}: the card is not JSON: {error}") from None
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, data in [(CARD, text.encode()), *sorted(members.items())]:
            info = zipfile.ZipInfo(name, _FIXED_DATE)
            info.create_system, info.external_attr = 3, 0o644 << 16  # on every system alike
            archive.writestr(info, data)
    return Bundle(path, card)


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """The archive, its directory checked; whatever goes wrong inside is a ModelError."""
    try:
        _check_end(path)
        with zipfile.ZipFile(path) as archive:
            _check_directory(path, archive.infolist())
            yield archive
    except OSError as error:
        raise ModelError(f"{path}: cannot read the bundle ({why_not(error)})") from None
    except _DAMAGE as error:
        raise ModelError(f"{path}: damaged bundle ({error}): fetch or export it again") from None


def _check_end(path: Path) -> None:
    """Bound the directory before `zipfile` reads all of it into memory."""
    with regular(path).open("rb") as file:
        size_bytes = file.seek(0, os.SEEK_END)
        tail_bytes = _ZIP64_LOCATOR.size + _ZIP_END.size
        file.seek(max(0, size_bytes - tail_bytes))
        tail = file.read(tail_bytes)
    if len(tail) < tail_bytes or tail[-_ZIP_END.size :][:4] != b"PK\5\6":
        raise ModelError(
            f"{path}: not a bundle, or cut short ({size_bytes} bytes): a bundle is what"
            " `auricle export` writes; fetch or export it again"
        )
    *_, entries, directory_bytes, offset, comment_bytes = _ZIP_END.unpack(tail[-_ZIP_END.size :])
    if (
        entries > MOST_MEMBERS
        or directory_bytes > _LARGEST_DIRECTORY_BYTES
        or offset + directory_bytes + _ZIP_END.size != size_bytes
        or comment_bytes
        or tail.startswith(b"PK\6\7")  # its zip64 sizes would overrule those checked here
    ):
        raise ModelError(f"{path}: a zip file, but not one that `auricle export` writes")


def _check_directory(path: Path, infos: list[zipfile.ZipInfo]) -> None:
    """Refuse whatever `write_bundle` never writes."""
    counts = Counter(info.filename for info in infos)
    if CARD not in counts:
        raise ModelError(f"{path}: a zip file without {CARD}: not an auricle bundle")
    for info in infos:
        name = info.filename
        largest_bytes = LARGEST_CARD_BYTES if name == CARD else LARGEST_MEMBER_BYTES
        if not re.fullmatch(MEMBER_NAME, name) or counts[name] > 1:
            problem = "a name that is a path or comes twice"
        elif info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
            problem = "compressed; members are stored, so that no file can unpack without bound"
        elif info.flag_bits & 1:
            problem = "encrypted"
        elif info.file_size > largest_bytes:
            problem = f"{info.file_size} bytes, more than {largest_bytes}"
        else:
            continue
        raise ModelError(f"{path}: refused: member {name!r} is {problem}")


def _parse_card(path: Path, text: bytes) -> Card:
    try:
        values = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path}: {CARD} is not JSON ({error})") from None
    version = values.get("format_version") if isinstance(values, dict) else None
    if version != FORMAT_VERSION:
        raise ModelError(
            f"{path}: bundle format {version!r}, this auricle reads format {FORMAT_VERSION}:"
            " upgrade with `pip install --upgrade auricle`, or export the model again"
        )
    try:
        return Card.parse(values, CARD)
    except ConfigError as error:
        raise ModelError(f"{path}: {error}") from None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _check_member(path: Path, name: str, member: Member, size_bytes: int, digest: str) -> None:
    if size_bytes != member.size_bytes or digest != member.sha256:
        raise ModelError(
            f"{path}: {name} is damaged: {size_bytes} bytes, sha256 {digest[:12]}..., the card says"
            f" {member.size_bytes} bytes, {member.sha256[:12]}...: fetch or export it again"
        )
