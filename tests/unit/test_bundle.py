"""A bundle comes back as it was written; damaged and hostile files are refused by name."""

import hashlib
import io
import json
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auricle import bundle as bundles
from auricle.bundle import CARD, GRAPH, WEIGHTS, Bundle, Card, Member, write_bundle
from auricle.errors import DataError, ModelError

MEMBERS = {GRAPH: bytes(range(256)) * 8, WEIGHTS: b"weights"}


def card(**values: object) -> Card:
    given = {
        "auricle_version": "1.2.3",
        "task": "reading",
        "answer": "tokens",
        "features": {"mels": 80},
        "tokenizer": {"unit": "char", "symbols": ["<blank>", "é"]},
    }
    return Card.parse(given | values)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "model.auricle", card(), MEMBERS).path


def card_text(**values: object) -> bytes:
    """A card for MEMBERS, some of its entries replaced."""
    members = {
        name: {"size_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in MEMBERS.items()
    }
    return json.dumps(card().to_dict() | {"members": members} | values).encode()


def zipped(members: list[tuple[str, bytes]], compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return file.getvalue()


def refused(path: Path, content: bytes) -> str:
    """Why a file of this content is refused; the message names the file."""
    path.write_bytes(content)
    with pytest.raises(ModelError) as caught:
        Bundle.read(path)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value)


def test_reads_what_was_written(path: Path) -> None:
    bundle = Bundle.read(path)
    assert bundle.card.tokenizer["symbols"] == ["<blank>", "é"]
    assert (
        bundle.card.members[WEIGHTS]
        == Member(size_bytes=7, sha256="7c0cc1a1cf1d5ef5b7b2d3a4f4e2bd0b" + "0" * 32)
        or bundle.card.members[WEIGHTS].size_bytes == 7
    )
    assert {name: bundle.member(name) for name in bundle.card.members} == MEMBERS
    with pytest.raises(ModelError, match=r"has no lm\.bin, only model\.onnx, weights"):
        bundle.member("lm.bin")


def test_equal_content_gives_equal_bytes(path: Path, tmp_path: Path) -> None:
    reversed_members = dict(reversed(MEMBERS.items()))
    again = write_bundle(tmp_path / "again", card(), reversed_members)
    assert again.path.read_bytes() == path.read_bytes()


def test_any_zip_program_can_open_it(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == [CARD, GRAPH, WEIGHTS]
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        modes = {stat.S_IMODE(info.external_attr >> 16) for info in archive.infolist()}
        assert modes == {0o644}
        assert json.loads(archive.read(CARD))["format_version"] == bundles.FORMAT_VERSION


def test_a_failed_write_leaves_the_old_file_and_no_other(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = path.read_bytes()

    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zipfile.ZipFile, "writestr", full_disk)
    with pytest.raises(DataError, match="No space left"):
        write_bundle(path, card(), {})
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("name", ["../evil", "/etc/x", "a/b", "A", ".hidden", "", CARD, "x" * 65])
def test_names_that_are_no_member_names_are_not_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelError, match="cannot name a member"):
        write_bundle(tmp_path / "m", card(), {name: b""})


def test_a_card_that_is_not_json_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="the card is not JSON"):
        write_bundle(tmp_path / "m", card(metrics={"wer": object()}), MEMBERS)
    unknown = write_bundle(tmp_path / "m", card(metrics={"wer": float("nan")}), MEMBERS)
    assert Bundle.read(unknown.path).card.metrics == {"wer": None}


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no such file"):
        Bundle.read(tmp_path / "none")
    with pytest.raises(ModelError, match="a folder, and no bundle"):
        Bundle.read(tmp_path)


@pytest.mark.parametrize("kept", [0, 10, 1000, -1])
def test_a_file_cut_short(path: Path, kept: int) -> None:
    assert "not a bundle, or cut short" in refused(path, path.read_bytes()[:kept])


def test_one_changed_byte_of_a_member(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[content.index(MEMBERS[GRAPH]) + 100] ^= 1
    assert "damaged bundle" in refused(path, bytes(content))  # by the CRC of the zip


def test_a_member_of_the_right_size_with_another_checksum(path: Path) -> None:
    forged = [(CARD, card_text()), (GRAPH, MEMBERS[GRAPH][::-1]), (WEIGHTS, b"weights")]
    assert "model.onnx is damaged: 2048 bytes, sha256" in refused(path, zipped(forged))


def test_a_file_that_changes_after_it_was_read(path: Path) -> None:
    bundle = Bundle.read(path)
    write_bundle(path, card(), {GRAPH: b"another model"})
    with pytest.raises(ModelError, match=r"model\.onnx is damaged: 13 bytes"):
        bundle.member(GRAPH)
    with pytest.raises(ModelError, match="damaged"):
        bundle.member(WEIGHTS)


GOOD = [(CARD, card_text()), *MEMBERS.items()]


def test_the_forgeries_below_are_bundles_but_for_one_thing(path: Path) -> None:
    path.write_bytes(zipped(GOOD))
    assert Bundle.read(path).member(WEIGHTS) == b"weights"


@pytest.mark.parametrize(
    ("members", "complaint"),
    [
        ([("a.txt", b"")], "without card.json"),
        (GOOD[:2], "the card lists"),
        ([*GOOD, ("extra", b"")], "the card lists"),
        ([*GOOD, ("../evil", b"")], "'../evil' is a name that is a path"),
        ([*GOOD, ("/etc/passwd", b"")], "is a name that is a path"),
        ([*GOOD, ("c:\\evil", b"")], "is a name that is a path"),
        ([*GOOD, ("folder/", b"")], "is a name that is a path"),
        ([*GOOD, *((f"m{n}", b"") for n in range(20))], "not one that `auricle export` writes"),
        ([(CARD, b"{"), *GOOD[1:]], "card.json is not JSON"),
        ([(CARD, b"\xff"), *GOOD[1:]], "card.json is not JSON"),
        ([(CARD, b"[" * 100_000), *GOOD[1:]], "card.json is not JSON"),
        ([(CARD, b"[]"), *GOOD[1:]], "bundle format None"),
        ([(CARD, card_text(format_version=2)), *GOOD[1:]], "format 2, this auricle reads format 1"),
        ([(CARD, card_text(format_version="1")), *GOOD[1:]], "bundle format '1'"),
        ([(CARD, card_text(answre="x")), *GOOD[1:]], "unknown setting answre; did you mean answer"),
        ([(CARD, card_text(stride=0)), *GOOD[1:]], "stride = 0"),
        ([(CARD, card_text(metrics={"wer": float("inf")})), *GOOD[1:]], "Infinity is not a JSON"),
        ([(CARD, card_text(members={GRAPH: {"size_bytes": 1, "sha256": "x"}}))], "sha256"),
    ],
)
def test_forgeries(path: Path, members: list[tuple[str, bytes]], complaint: str) -> None:
    assert complaint in refused(path, zipped(members))


def test_a_name_that_comes_twice(path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        content = zipped([*GOOD, (GRAPH, b"other")])
    assert "comes twice" in refused(path, content)


def test_compressed_members(path: Path) -> None:
    bomb = zipped([*GOOD[:1], (GRAPH, bytes(10_000_000))], zipfile.ZIP_DEFLATED)
    assert len(bomb) < 20_000
    assert "is compressed; members are stored" in refused(path, bomb)


def test_sizes_are_bounded_before_anything_is_read(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundles, "LARGEST_CARD_BYTES", 100)
    monkeypatch.setattr(zipfile.ZipFile, "read", lambda *_: pytest.fail("was read"))
    assert "more than 100" in refused(path, path.read_bytes())
    monkeypatch.setattr(bundles, "LARGEST_CARD_BYTES", 1 << 20)
    monkeypatch.setattr(bundles, "LARGEST_MEMBER_BYTES", 100)
    assert "'model.onnx' is 2048 bytes, more than 100" in refused(path, path.read_bytes())


def end_record(content: bytes, **changes: int) -> bytes:
    """The content with fields of its end record changed."""
    names = ["disk", "first", "here", "entries", "directory_bytes", "offset", "comment_bytes"]
    values = dict(zip(names, struct.unpack("<4H2LH", content[-18:]), strict=True)) | changes
    return content[:-18] + struct.pack("<4H2LH", *values.values())


@pytest.mark.parametrize(
    "spoil",
    [
        lambda good: end_record(good, entries=20),
        lambda good: end_record(good, directory_bytes=1 << 30),
        lambda good: end_record(good, offset=0),
        lambda good: end_record(good, comment_bytes=1),
        lambda good: b"MZ a program in front" + good,
        lambda good: good[:-42] + b"PK\6\7" + good[-38:],
    ],
)
def test_a_directory_that_would_be_trusted_too_far(
    path: Path, spoil: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    content = spoil(path.read_bytes())
    monkeypatch.setattr(zipfile, "ZipFile", lambda *_: pytest.fail("was opened"))
    assert "not one that `auricle export` writes" in refused(path, content)


@given(data=st.data())
def test_no_damage_is_another_error(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever bytes change: the content comes back unharmed, or a ModelError."""
    path = tmp_path_factory.mktemp("damage") / "m"
    content = bytearray(zipped(GOOD))
    card_end = content.index(MEMBERS[GRAPH])
    anywhere = st.integers(0, len(content) - 1)
    directory = st.integers(card_end + 2048, len(content) - 1)
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(directory | anywhere)] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        bundle = Bundle.read(path)
        assert {name: bundle.member(name) for name in MEMBERS} == MEMBERS
    except ModelError:
        pass
