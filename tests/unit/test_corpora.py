"""Corpora are fetched over a bad line, checked, unpacked safely, and end as manifests."""

import hashlib
import io
import tarfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import soundfile

from auricle.corpora import CORPORA, Corpus, Part, download, prepare, unpack
from auricle.data import read_data
from auricle.errors import ConfigError, DataError

CONTENT = np.random.default_rng(0).bytes(300_000)
SHA256 = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"


@dataclass
class Server:
    """Serves `content` at every path, as badly as it is told to."""

    content: bytes = CONTENT
    ranges: bool = True
    cuts: list[int] = field(default_factory=list)  # after how many bytes each answer is cut off
    refusals: list[int] = field(default_factory=list)  # status of the first answers
    asked: list[str | None] = field(default_factory=list)  # the Range header of each request
    url: str = ""


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers["Range"]
            state.asked.append(wanted)
            if state.refusals:
                return self.send_error(state.refusals.pop(0))
            first = int(wanted[len("bytes=") : -1]) if wanted and state.ranges else 0
            total = len(state.content)
            if first >= total:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{total}")
                return self.end_headers()
            rest = state.content[first:]
            self.send_response(206 if first else 200)
            self.send_header("Content-Length", str(len(rest)))
            self.send_header("Content-Range", f"bytes {first}-{total - 1}/{total}")
            self.end_headers()
            self.wfile.write(rest[: state.cuts.pop(0)] if state.cuts else rest)
            return None

        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, args=(0.01,))
    thread.start()
    state.url = f"http://127.0.0.1:{http.server_port}/x.tar.gz"
    yield state
    http.shutdown()
    thread.join()
    http.server_close()


# --- downloads -----------------------------------------------------------------------------------


def test_download(server: Server, tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    path = tmp_path / "x"
    download(server.url, path, SHA256, progress=lambda done, all_: calls.append((done, all_)))
    assert path.read_bytes() == CONTENT
    assert list(tmp_path.iterdir()) == [path]
    assert calls[-1] == (len(CONTENT), len(CONTENT))


def test_a_cut_connection_is_taken_up_where_it_broke(server: Server, tmp_path: Path) -> None:
    server.cuts = [100_000, 50_000]
    download(server.url, tmp_path / "x", SHA256, pause_s=0)
    assert (tmp_path / "x").read_bytes() == CONTENT
    assert server.asked == [None, "bytes=100000-", "bytes=150000-"]


def test_a_later_call_goes_on_too(server: Server, tmp_path: Path) -> None:
    (tmp_path / "x.part").write_bytes(CONTENT[:1000])
    download(server.url, tmp_path / "x", SHA256)
    (tmp_path / "y.part").write_bytes(CONTENT)
    download(server.url, tmp_path / "y", SHA256)
    (tmp_path / "z.part").write_bytes(CONTENT + b"of something else")
    download(server.url, tmp_path / "z", SHA256, pause_s=0)
    assert server.asked == ["bytes=1000-", "bytes=300000-", "bytes=300017-", None]
    for name in "xyz":
        assert (tmp_path / name).read_bytes() == CONTENT


def test_a_server_without_ranges(server: Server, tmp_path: Path) -> None:
    server.ranges, server.cuts = False, [200_000]
    download(server.url, tmp_path / "x", SHA256, pause_s=0)
    assert (tmp_path / "x").read_bytes() == CONTENT


def test_a_wrong_checksum_leaves_nothing(server: Server, tmp_path: Path) -> None:
    server.content = CONTENT[:-1] + b"!"
    with pytest.raises(DataError, match=r"sha256 is .*, not .*; deleted"):
        download(server.url, tmp_path / "x", SHA256)
    assert list(tmp_path.iterdir()) == []
    download(server.url, tmp_path / "x", f"md5:{hashlib.md5(server.content).hexdigest()}")


def test_busy_servers_are_asked_again_and_refusals_are_final(
    server: Server, tmp_path: Path
) -> None:
    server.refusals = [503, 500]
    download(server.url, tmp_path / "x", SHA256, pause_s=0)
    server.refusals = [404, 404]
    with pytest.raises(DataError, match="404"):
        download(server.url, tmp_path / "y", pause_s=0)
    assert len(server.asked) == 4


def test_giving_up_keeps_what_has_come(server: Server, tmp_path: Path) -> None:
    server.cuts = [1000, 0, 0, 0]
    with pytest.raises(DataError, match="the connection was cut; run it again"):
        download(server.url, tmp_path / "x", attempts=3, pause_s=0)
    assert (tmp_path / "x.part").stat().st_size == 1000
    assert len(server.asked) == 4
    with pytest.raises(DataError, match=r"127.0.0.1:1/.*refused"):
        download("http://127.0.0.1:1/x", tmp_path / "y", attempts=2, pause_s=0)


def test_a_full_disk_is_noticed_before(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = type("Usage", (), {"free": 299_999})
    monkeypatch.setattr("auricle.corpora.shutil.disk_usage", lambda _: free)
    with pytest.raises(DataError, match="GB free"):
        download(server.url, tmp_path / "x")


# --- archives ------------------------------------------------------------------------------------


def archive(path: Path, files: dict[str, bytes]) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path.read_bytes()


def sound(samples: int = 800, suffix: str = "WAV") -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).normal(0, 0.1, samples)
    soundfile.write(buffer, noise, 8000, format=suffix)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda path: path.write_bytes(b"not an archive"), "cannot be unpacked"),
        (
            lambda path: path.write_bytes(archive(path, {"a/b": sound()})[:500]),
            "cannot be unpacked",
        ),
        (lambda path: archive(path, {"a/b": b"", "../evil": b""}), "cannot be unpacked"),
        (lambda path: archive(path, {"a/b": b"", "/tmp/evil": b""}), "outside of its folder"),
        (lambda path: archive(path, {"a/b": b"", "C:evil": b""}), "outside of its folder"),
        (lambda path: archive(path, {"a/b": b"", "a\\..\\..\\evil": b""}), "outside of its folder"),
        (lambda path: archive(path, {"c/b": b""}), "holds no a"),
    ],
)
def test_bad_archives_leave_nothing(
    tmp_path: Path, make: Callable[[Path], object], what: str
) -> None:
    path = tmp_path / "in" / "x.tar.gz"
    path.parent.mkdir()
    make(path)
    with pytest.raises(DataError, match=what):
        unpack(path, tmp_path / "in", "a")
    assert [entry.name for entry in tmp_path.rglob("*")] == ["in", "x.tar.gz"]


def test_links_become_copies_and_lead_nowhere_else(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as tar:
        member = tarfile.TarInfo("a/one.txt")
        member.size = 4
        tar.addfile(member, io.BytesIO(b"text"))
        link = tarfile.TarInfo("a/two.txt")
        link.type, link.linkname = tarfile.SYMTYPE, "one.txt"
        tar.addfile(link)
    unpack(path, tmp_path, "a")
    assert not (tmp_path / "a" / "two.txt").is_symlink()
    assert (tmp_path / "a" / "two.txt").read_bytes() == b"text"
    (tmp_path / "secret").write_text("secret")
    with tarfile.open(path, "w") as tar:
        link = tarfile.TarInfo("b/out.txt")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path / "secret")
        tar.addfile(link)
    with pytest.raises(DataError, match="cannot be unpacked"):
        unpack(path, tmp_path, "b")


# --- corpora -------------------------------------------------------------------------------------


def test_prepare_fetches_once_and_writes_manifests(server: Server, tmp_path: Path) -> None:
    server.content = archive(
        tmp_path / "made.tar.gz",
        {
            "LibriSpeech/README.TXT": b"about",
            "LibriSpeech/dev-clean-2/84/1/84-1.trans.txt": b"84-1-0000 THE WORDS\n",
            "LibriSpeech/dev-clean-2/84/1/84-1-0000.flac": sound(suffix="FLAC"),
            "LibriSpeech/train-clean-5/7/1/7-1.trans.txt": b"7-1-0000 OTHER WORDS\n",
            "LibriSpeech/train-clean-5/7/1/7-1-0000.flac": sound(1600, suffix="FLAC"),
        },
    )
    checksum = f"sha256:{hashlib.sha256(server.content).hexdigest()}"
    parts = {
        name: Part(server.url, f"LibriSpeech/{name}", checksum)
        for name in ("train-clean-5", "dev-clean-2")
    }
    corpora = {"mini": Corpus("", "", "", parts)}
    folder = tmp_path / "mini"
    for _ in range(2):
        manifests = prepare("mini", folder, corpora=corpora)
        assert manifests == {"train": folder / "train.jsonl", "valid": folder / "valid.jsonl"}
    assert len(server.asked) == 1
    dataset = read_data(folder)
    assert [(e.id, e.duration_s, e.text) for e in dataset.splits["train"]] == [
        ("7-1-0000", 0.2, "OTHER WORDS")
    ]
    assert [e.audio.name for e in dataset.splits["valid"]] == ["84-1-0000.flac"]
    only = prepare("mini", tmp_path / "only", ["dev-clean-2"], corpora=corpora)
    assert list(only) == ["valid"]


def test_prepare_parts_what_has_no_splits(tmp_path: Path) -> None:
    words = "".join(f"LJ001-{number:04}|word|word\n" for number in range(40))
    files = {f"LJSpeech-1.1/wavs/LJ001-{number:04}.wav": sound() for number in range(40)}
    packed = archive(tmp_path / "x.tar.bz2", {"LJSpeech-1.1/metadata.csv": words.encode(), **files})
    part = Part(
        "http://127.0.0.1:1/x.tar.bz2", "LJSpeech-1.1", f"md5:{hashlib.md5(packed).hexdigest()}"
    )
    corpora = {"lj": Corpus("", "", "", {"1.1": part})}
    manifests = prepare("lj", tmp_path, download=False, corpora=corpora)
    counts = {split: len(read_data(path).examples) for split, path in manifests.items()}
    assert counts == {"train": 36, "valid": 2, "test": 2}


def test_prepare_common_voice(tmp_path: Path) -> None:
    def language(name: str) -> None:
        files = {f"cv-corpus-1/{name}/clips/a.wav": sound()}
        for split in ("train", "dev", "test"):
            files[f"cv-corpus-1/{name}/{split}.tsv"] = (
                b"client_id\tpath\tsentence\ns\ta.wav\tA b.\n"
            )
        archive(tmp_path / f"cv-{name}.tar.gz", files)

    with pytest.raises(DataError, match=r"holds no train.tsv; .*commonvoice.mozilla.org"):
        prepare("common_voice", tmp_path)
    language("en")
    manifests = prepare("common_voice", tmp_path)
    assert list(manifests) == ["train", "valid", "test"]
    assert read_data(manifests["valid"]).examples[0].text == "A b."
    language("fr")
    with pytest.raises(DataError, match="holds the languages en, fr: name one"):
        prepare("common_voice", tmp_path)
    assert "valid" in prepare("common_voice", tmp_path, ["fr"])


def test_prepare_says_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no corpus librspeech: there are librispeech, "):
        prepare("librspeech", tmp_path)
    with pytest.raises(ConfigError, match="librispeech has no train: train-clean-5, "):
        prepare("librispeech", tmp_path, ["train"])
    with pytest.raises(DataError, match=r"holds neither waves_yesno nor waves_yesno.tar.gz"):
        prepare("yesno", tmp_path, download=False)


def test_the_table_of_corpora_is_sound() -> None:
    digits = {"md5": 32, "sha256": 64}
    for name, corpus in CORPORA.items():
        assert set(corpus.usual) <= set(corpus.parts), name
        for part in corpus.parts.values():
            assert part.url.rpartition("/")[2].endswith((".tar.gz", ".tgz", ".tar.bz2"))
            algorithm, _, value = (part.checksum or f"md5:{0:032x}").partition(":")
            assert len(value) == digits[algorithm]
            assert int(value, 16) >= 0
