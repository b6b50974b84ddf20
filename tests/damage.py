"""Damaged inputs, made here from made-up sound: the same ones in every run.

A case is a name, what to write, and what may come of it: "error", "sound" (or whatever a good
input of its kind becomes), or "either", where the damage leaves it open.
"""

import io
import json
import struct
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import soundfile
from numpy.typing import NDArray

RATE_HZ = 16_000
Outcome = Literal["error", "good", "either"]

# name -> suffix, soundfile's format and sample format; whether a cut shows
FORMATS = {
    "pcm16": (".wav", "WAV", "PCM_16"),
    "pcm24": (".wav", "WAV", "PCM_24"),
    "float": (".wav", "WAV", "FLOAT"),
    "extensible": (".wav", "WAVEX", "PCM_16"),
    "flac": (".flac", "FLAC", "PCM_16"),
    "mp3": (".mp3", "MP3", "MPEG_LAYER_III"),
    "vorbis": (".ogg", "OGG", "VORBIS"),
    "opus": (".opus", "OGG", "OPUS"),
    "aiff": (".aiff", "AIFF", "PCM_16"),
    "sphere": (".sph", "NIST", "PCM_16"),
    "caf": (".caf", "CAF", "PCM_16"),
    "au": (".au", "AU", "PCM_16"),
}
SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".aiff", ".sph", ".caf", ".au", ".m4a", ".x")


@dataclass(frozen=True)
class Case:
    """One damaged input: a file of this name and content."""

    name: str
    suffix: str
    content: bytes
    outcome: Outcome = "either"
    truth: NDArray[np.float32] | None = None  # what a good outcome sounds like, at 16 kHz


@cache
def tone() -> NDArray[np.float32]:
    """A quarter of a second of two tones, (N,) at 16 kHz."""
    t = np.arange(RATE_HZ // 4) / RATE_HZ
    return (0.3 * np.sin(2_800 * t) + 0.1 * np.sin(7_000 * t)).astype(np.float32)


def encoded(
    x: NDArray[np.float32], kind: str, rate_hz: int = RATE_HZ, subtype: str | None = None
) -> bytes:
    """A sound file in memory."""
    _, format_, usual = FORMATS[kind]
    file = io.BytesIO()
    soundfile.write(file, x, rate_hz, subtype or usual, format=format_)
    return file.getvalue()


@cache
def whole(kind: str) -> bytes:
    return encoded(tone(), kind)


# --- sound ---------------------------------------------------------------------------------------


def sounds() -> Iterator[Case]:
    """Every damaged sound file."""
    yield from _cut_short()
    yield from _flipped()
    yield from _scrambled()
    yield from _headers()
    yield from _not_finite()
    yield from _in_disguise()
    yield from _unusual()


def _cut_short() -> Iterator[Case]:
    for kind, (suffix, *_) in FORMATS.items():
        good = whole(kind)
        places = {0, 1, 2, 3, 4, 7, 8, 11, 12, 16, 20, 24, 28, 32, 36, 40, 42, 44, 46, 60, 80, 100}
        places |= {round(len(good) * share) for share in (0.25, 0.5, 0.75, 0.9, 0.99)}
        for at in sorted(places | {len(good) - 1}):
            outcome: Outcome = "error" if at < 12 else "either"
            truth = None
            if kind == "pcm16" and at > 46:
                outcome, truth = "good", tone()[: (at - 44) // 2]
            yield Case(f"{kind} cut at {at}", suffix, good[:at], outcome, truth)


def _flipped() -> Iterator[Case]:
    """Each of the first bytes changed, where the headers are."""
    for kind, (suffix, *_) in FORMATS.items():
        good = whole(kind)
        for at in range(64):
            value = (good[at] ^ 0xFF, good[at] ^ 0x01, 0)[at % 3]
            if value != good[at]:
                yield Case(f"{kind} byte {at}", suffix, _with(good, at, bytes([value])))


def _scrambled() -> Iterator[Case]:
    """Bytes zeroed, drawn by lot, cut out, doubled and swapped, anywhere."""
    rng = np.random.default_rng(0)
    for kind, (suffix, *_) in FORMATS.items():
        good = whole(kind)
        for number in range(25):
            at, size = int(rng.integers(len(good))), int(rng.integers(1, 1_500))
            part, rest = good[at : at + size], good[at + size :]
            data = {
                0: good[:at] + bytes(len(part)) + rest,
                1: good[:at] + rng.bytes(len(part)) + rest,
                2: good[:at] + rest,
                3: good[:at] + part * 3 + rest,
                4: rest + good[: at + size],
            }[number % 5]
            if data != good:
                yield Case(f"{kind} scrambled {number}", suffix, data)


def _with(good: bytes, at: int, part: bytes) -> bytes:
    return good[:at] + part + good[at + len(part) :]


_RATES = (0, 1, 2, 8, 100, 999, 1_000, 11_025, 768_000, 768_001, 2**24, 2**31 - 1, 2**31, 2**32 - 1)
_CHANNELS = (0, 2, 3, 7, 32, 255, 256, 1_024, 1_025, 32_767, 65_535)
_BITS = (0, 1, 4, 7, 8, 12, 17, 24, 32, 64, 255, 65_535)
_TAGS = (0, 2, 3, 6, 7, 0x11, 0x31, 0x55, 0x1610, 0xFFFE, 0xFFFF)
_SIZES = (0, 1, 2, 3, 15, 17, 4_000, 2**16, 2**24, 2**31 - 1, 2**31, 2**32 - 8, 2**32 - 1)


def _headers() -> Iterator[Case]:
    """The fields of a WAV and a FLAC header, set to what cannot be."""
    good = whole("pcm16")
    fields: list[tuple[str, int, str, tuple[int, ...]]] = [
        ("tag", 20, "<H", _TAGS),
        ("channels", 22, "<H", _CHANNELS),
        ("rate", 24, "<I", _RATES),
        ("bytes per second", 28, "<I", _SIZES),
        ("block", 32, "<H", tuple(size for size in _SIZES if size < 2**16 and size != 2)),
        ("bits", 34, "<H", _BITS),
        ("size of data", 40, "<I", _SIZES),
        ("size of fmt", 16, "<I", _SIZES),
        ("size of RIFF", 4, "<I", _SIZES),
    ]
    for field, at, how, values in fields:
        for value in values:
            outcome: Outcome = "either"
            if field == "rate":
                outcome = "good" if 1_000 <= value <= 768_000 else "error"
            yield Case(
                f"{field} {value}", ".wav", _with(good, at, struct.pack(how, value)), outcome
            )
    for rate_hz in (0, 1, 8, 999, 1_000, 655_350, 2**20 - 1):
        for samples in (0, 1, 4_001, 2**32, 2**36 - 1):
            # STREAMINFO from byte 18: 20 bits of rate, 3 of channels, 5 of depth, 36 of length
            packed = (rate_hz << 44) | (15 << 36) | samples
            data = _with(whole("flac"), 18, packed.to_bytes(8, "big"))
            yield Case(f"flac of {samples} samples at {rate_hz} Hz", ".flac", data)


def _not_finite() -> Iterator[Case]:
    for kind in ("float", "au", "caf", "aiff"):
        suffix = FORMATS[kind][0]
        for value in (np.nan, np.inf, -np.inf, 1e30, -3e38):
            for at in (0, 1, 2_000, 3_999):
                x = tone().copy()
                x[at] = value
                data = encoded(x, kind, subtype="FLOAT")
                yield Case(f"{kind} {value} at {at}", suffix, data, "error")
        x = np.full(4_000, np.nan, np.float32)
        yield Case(f"{kind} all NaN", suffix, encoded(x, kind, subtype="FLOAT"), "error")
    for subtype in ("FLOAT", "DOUBLE"):
        stereo = np.stack([tone(), tone()], axis=1)
        stereo[77, 1] = np.nan
        yield Case(f"NaN in one channel {subtype}", ".wav", encoded(stereo, "float",
                   subtype=subtype), "error")  # fmt: skip


_IN_DISGUISE: Mapping[str, bytes] = {
    "nothing": b"",
    "text": b"this is not a recording\n",
    "page": b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
    "json": b'{"error": "quota exceeded"}',
    "pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 123\n",
    "zeros": bytes(5_000),
    "ones": b"\xff" * 5_000,
    "zip": b"PK\3\4" + bytes(range(256)) * 4,
    "gzip": b"\x1f\x8b\x08\0" + bytes(range(256)) * 4,
    "picture": b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4,
    "RIFF alone": b"RIFF",
    "RIFF of a film": b"RIFF\x24\0\0\0AVI LIST" + bytes(100),
    "midi": b"MThd\0\0\0\x06\0\1\0\1\0`MTrk" + bytes(30),
    "mp4": b"\0\0\0\x18ftypM4A \0\0\0\0M4A mp42" + bytes(300),
    "long line": b"a" * 1_000_000,
}


def _in_disguise() -> Iterator[Case]:
    for what, content in _IN_DISGUISE.items():
        for suffix in SUFFIXES:
            yield Case(f"{what} as {suffix}", suffix, content, "error")
    noise = np.random.default_rng(1)
    for number in range(40):
        content = noise.bytes(int(noise.integers(1, 4_000)))
        yield Case(f"random {number}", SUFFIXES[number % len(SUFFIXES)], content)


def _unusual() -> Iterator[Case]:
    """Odd, but sound: here a correct result is possible, and so is owed."""
    for kind, (suffix, *_) in FORMATS.items():
        yield Case(f"{kind} as it is", suffix, whole(kind), "good", tone())
        yield Case(f"{kind} with a foreign suffix", ".x", whole(kind), "good", tone())
        if kind not in ("mp3", "vorbis", "opus"):
            for samples in (1, 2, 7, 159, 400):
                x = tone()[:samples]
                yield Case(f"{kind} of {samples}", suffix, encoded(x, kind), "good", x)
    for kind in ("pcm16", "pcm24", "float", "extensible", "caf", "au", "aiff"):
        for channels in (2, 3, 6, 32, 64):
            x = np.repeat(tone()[:, None], channels, axis=1)
            data = encoded(x, kind)
            yield Case(f"{kind} {channels} channels", FORMATS[kind][0], data, "good", tone())
    for rate_hz in (1_000, 8_000, 11_025, 44_100, 96_000, 192_000, 384_000, 768_000):
        data = encoded(tone(), "pcm16", rate_hz)
        yield Case(f"at {rate_hz} Hz", ".wav", data, "good")
        yield Case(f"one sample at {rate_hz} Hz", ".wav", encoded(tone()[:1], "pcm16", rate_hz))
    for rate_hz in (1, 2, 8, 50, 999, 768_001, 10_000_000):
        yield Case(f"at {rate_hz} Hz", ".wav", encoded(tone(), "pcm16", rate_hz), "error")
    good = whole("pcm16")
    for what, junk in _IN_DISGUISE.items():
        # libsndfile takes that one for a second file
        after: Outcome = "either" if what == "RIFF of a film" else "good"
        yield Case(f"{what} after the sound", ".wav", good + junk, after, tone())
        yield Case(f"{what} before the sound", ".wav", junk + good)
    yield Case("silence", ".wav", encoded(0 * tone(), "pcm16"), "good", 0 * tone())
    yield Case("no samples", ".wav", encoded(tone()[:0], "pcm16"), "error")


# --- manifests -----------------------------------------------------------------------------------

# Lines that are wrong: each stands between two good ones, and alone.
_BAD_VALUES: Mapping[str, tuple[str, ...]] = {
    "audio_filepath": (
        "null", "5", "true", "[]", "{}", '""', '"  "', '["good.wav"]', "1e999", "NaN",
        '"gone.wav"', '"/no/such/file.wav"', '"."', '".."', '"folder"', '"empty.wav"',
        '"text.wav"', '"a\\u0000b.wav"', '"\\ud800.wav"', '"\\udcff.wav"',
        '"' + "n" * 300 + '.wav"', '"' + "n/" * 3_000 + 'x.wav"', '"good.wav/inside.wav"',
        '"~/good.wav"', '"http://example.org/a.wav"', '"good.wav\\n"x',
        '"C:\\\\good.wav"',
    ),
    "duration": (
        '"long"', '"0,5"', "true", "[]", "[0.5]", "{}", "NaN", "Infinity", "-Infinity", "-1",
        "-1e-9", "1e308", "1e7", '"nan"', '"inf"', '"1e400"', "1" * 400, "9" * 5_000,
        "-" + "9" * 400, '"0x10"', '"½"', "1e999", "0.5.5", "05", ".5", "1_0", '"1:30"',
    ),
    "offset": (
        '"x"', "true", "[]", "{}", "NaN", "Infinity", "-0.1", "-1e308", "1e308", "1" * 400,
        '"nan"', "3600001", "9" * 5_000,
    ),
    "end": ('"x"', "NaN", "-1", "1e308", "[]", "true", "1" * 400, "Infinity"),
    "text": ("null", "5", "1.5", "true", "[]", '["a b"]', "{}", "NaN", "9" * 5_000, "[" * 50),
}  # fmt: skip

_BAD_LINES: tuple[bytes, ...] = (
    b"{", b"}", b"[", b"]", b'"', b"null", b"5", b"true", b"[]", b'"text"', b"{}", b"NaN",
    b"{'audio_filepath': 'good.wav', 'text': 'a'}", b"audio_filepath,text", b"good.wav|a",
    b'{"audio_filepath": "good.wav"', b'{"audio_filepath": "good.wav",}', b"[1, 2]", b"\x00",
    b'{"audio_filepath": "good.wav", "text": "a"} {}', b"<xml/>", b"# comment", b"// comment",
    b'{"audio_filepath": "good.wav"}', b'{"text": "a"}', b"{}{}", b'{"": ""}', b'{"a": 1e}',
    b'\xef\xbb\xbf{"audio_filepath": "good.wav", "text": "a"}', b"--", b"\x0b5", b"\x1a",
    b"[" * 3_000, b"[" * 100_000, b'{"a":' * 100_000, b'{"a":' * 3_000 + b"1" + b"}" * 3_000,
    b'{"audio_filepath": "good.wav", "text": "a", "x": ' + b"[" * 90_000 + b"]" * 90_000 + b"}",
    b'{"audio_filepath": "good.wav", "text": "a", "x": ' + b"9" * 5_000 + b"}", b"9" * 5_000,
    b"x" * 1_000_000, b'{"x": "' + b"y" * 1_000_000 + b'"}', b"5" * 4_000, b"[" + b"0," * 300_000,
    b'{"audio_filepath": "' + b"z" * 1_000_000 + b'", "text": "a"}',
    b'{"audio_filepath": "good.wav", "text": ["' + b"y" * 1_000_000 + b'"]}',
    b'{"audio_filepath": "good.wav", "text": "a", "duration": "' + b"7" * 1_000_000 + b'"}',
)  # fmt: skip

GOOD_LINE = b'{"audio_filepath": "good.wav", "duration": 0.25, "text": "a b"}'


@dataclass(frozen=True)
class Manifest:
    """A damaged manifest; `line` is the line that is wrong, 0 for the whole or unknown."""

    name: str
    file: str
    content: bytes
    outcome: Outcome = "either"
    line: int = 0


def lines() -> Iterator[tuple[str, bytes]]:
    """Damaged lines of a JSONL manifest."""
    for key, values in _BAD_VALUES.items():
        for number, value in enumerate(values):
            others = {"audio_filepath": '"good.wav"', "duration": "0.25", "text": '"a"'}
            if key in ("end", "audio_filepath"):  # with a duration, neither is looked into
                del others["duration"]
            line = "{" + ", ".join(f'"{k}": {v}' for k, v in (others | {key: value}).items()) + "}"
            yield f"{key} {number}", line.encode("utf-8", "surrogatepass")
            if key == "audio_filepath":
                line = f'{{"audio_filepath": {value}, "duration": 0.25, "text": "a"}}'
                yield f"{key} with duration {number}", line.encode("utf-8", "surrogatepass")
    for number, bad in enumerate(_BAD_LINES):
        yield f"line {number}", bad


def manifests() -> Iterator[Manifest]:
    """Every damaged manifest."""
    for name, line in lines():
        many = b"\n".join([GOOD_LINE, line, GOOD_LINE, b""])
        yield Manifest(f"json: {name}", "m.jsonl", many, "error", 2)
        if not line.startswith(b"\xef\xbb\xbf"):  # which is right where a file begins
            yield Manifest(f"json alone: {name}", "m.jsonl", line, "error", 1)
        yield Manifest(f"json with CRLF: {name}", "m.json", many.replace(b"\n", b"\r\n"), "error")
    yield from _tables()
    yield from _stm()
    yield from _whole_files()
    yield from _shaken()


_CELLS = (
    "", " ", "gone.wav", "/no/such/file.wav", "folder", ".", "text.wav", "empty.wav", "n" * 300,
    '"', '"good.wav', 'good.wav"', "'good.wav'", "good.wav,", "good.wav;", "good.wav\t", "\0",
    "good.wav,a,b,c", "\x0b", "x" * 200_000, '"' + "x" * 1_000_000, "http://a/b.wav", "=cmd()",
)  # fmt: skip
_TIMES = ("x", "-1", "nan", "inf", "1e308", "1" * 400, "9" * 5_000, "1,5", "½", "0x1", "--1", "1e")


def _tables() -> Iterator[Manifest]:
    for suffix, comma in ((".csv", ","), (".tsv", "\t"), (".csv", ";"), (".csv", "|")):
        head = comma.join(("path", "duration", "text"))
        good = comma.join(("good.wav", "0.25", "a b"))
        for number, cell in enumerate(_CELLS):
            row = comma.join((cell, "0.25", "a"))
            text = "\n".join((head, good, row, good, ""))
            yield Manifest(f"table {comma!r} path {number}", f"m{suffix}", text.encode())
        for number, cell in enumerate(_TIMES):
            row = comma.join(("good.wav", cell, "a"))
            text = "\n".join((head, good, row, good, ""))
            yield Manifest(f"table {comma!r} time {number}", f"m{suffix}", text.encode(), "error")
        for number, row in enumerate(("good.wav", comma, comma * 5, f"good.wav{comma}0.25", "x")):
            text = "\n".join((head, good, row, good, ""))
            bad = Manifest(f"table {comma!r} width {number}", f"m{suffix}", text.encode(), "error")
            yield bad
        for number, header in enumerate(
            ("", "text", "a" + comma + "b", head * 2, "\0", "5", good, '"', '"path', "x" * 200_000,
             "y\r", comma * 3, '"' + "x" * 200_000, "path", "duration" + comma + "path")
        ):  # fmt: skip
            text = "\n".join((header, good, ""))
            yield Manifest(f"table {comma!r} header {number}", f"m{suffix}", text.encode(), "error")


def _stm() -> Iterator[Manifest]:
    good = b"good 1 ann 0.0 0.1 <o> a b\n"
    bad = (
        b"good", b"good 1", b"good 1 ann", b"good 1 ann 0.0", b"good 1 ann 0 x a", b"5 " * 5,
        b"good 1 ann x 0.1 a", b"good 1 ann 0.1 0.05 a", b"good 1 ann -1 0.1 a", b"{}",
        b"good 1 ann 0 nan a", b"good 1 ann nan 0.1 a", b"good 1 ann 0 inf a", b"x" * 1_000_000,
        b"good 1 ann 0 1e308 a", b"good 1 ann 1e308 2 a", b"gone 1 ann 0 1 a", b"\0 1 ann 0 1 a",
        b"good 1 ann 0 " + b"9" * 5_000 + b" a", b"x y " + b" " * 1_000_000 + b"z", b"../good 1 a",
        b"\xff\xfe", b"good 1 ann 0 0 a", b"[" * 10_000, b"good\x001 ann 0 1 a", b"<o>" * 300_000,
    )  # fmt: skip
    for number, line in enumerate(bad):
        yield Manifest(f"stm {number}", "m.stm", good + line + b"\n" + good, "error")
        yield Manifest(f"stm alone {number}", "m.stm", line, "error")


def _whole_files() -> Iterator[Manifest]:
    """Manifests that are right but for their bytes, or not manifests at all."""
    table = b"path,duration,text\ngood.wav,0.25,a b\n"
    for file, good in (("m.jsonl", GOOD_LINE + b"\n"), ("m.csv", table), ("m.manifest", GOOD_LINE),
                       ("m.tsv", table.replace(b",", b"\t")), ("m.ndjson", GOOD_LINE)):  # fmt: skip
        text = good.decode()
        for what, content in {
            "BOM": b"\xef\xbb\xbf" + good,
            "CRLF": good.replace(b"\n", b"\r\n"),
            "blank lines": good.replace(b"\n", b"\n\n\n") + b"\n  \n",
            "no last line end": good.rstrip(),
        }.items():
            yield Manifest(f"{file} {what}", file, content, "good")
        for what, content in {
            "UTF-16": text.encode("utf-16"),
            "UTF-16 big": text.encode("utf-16-be"),
            "UTF-32": text.encode("utf-32"),
            "two BOMs": b"\xef\xbb\xbf" * 2 + good,
            "Latin-1": good.replace(b"a b", b"caf\xe9"),
            "cut in a letter": good.replace(b"a b", b"a\xe2\x82"),
            "overlong": good.replace(b"a b", b"\xc0\xaf"),
            "reversed": good[::-1],
            "zeros": bytes(1_000),
            "doubled": good * 3,
            "old Mac line ends": good.replace(b"\n", b"\r"),
            **_IN_DISGUISE,
        }.items():
            yield Manifest(f"{file} {what}", file, content)
        for at in range(0, len(good), 3):
            yield Manifest(f"{file} cut at {at}", file, good[:at])


def _shaken() -> Iterator[Manifest]:
    """Three bytes of a good manifest changed, by lot."""
    rng = np.random.default_rng(2)
    for number in range(250):
        data = bytearray(b"\n".join([GOOD_LINE] * 3))
        for at in rng.integers(len(data), size=3):
            data[at] = int(rng.choice(list(b'"{}[]:,.0-9eE\\/ \n\t\x00\xff\xc3n')))
        yield Manifest(f"shaken {number}", "m.jsonl", bytes(data))


# --- bundles and checkpoints ---------------------------------------------------------------------


def damaged_bytes(good: bytes, seed: int, trials: int) -> Iterator[tuple[str, bytes]]:
    """Any file cut short, flipped, zeroed, doubled."""
    rng = np.random.default_rng(seed)
    for share in np.linspace(0, 0.999, trials // 4):
        yield f"cut to {share:.3f}", good[: int(share * len(good))]
    for number in range(trials // 2):
        edge = number % 4 == 0  # headers and directories are at the ends
        at = int(rng.integers(200)) if edge else int(rng.integers(len(good)))
        at = len(good) - 1 - at if number % 8 == 0 else at
        yield f"flip {at}", _with(good, at, bytes([good[at] ^ int(rng.integers(1, 256))]))
    for number in range(trials // 4):
        at, size = int(rng.integers(len(good))), int(rng.integers(1, 3_000))
        filled = (bytes(size), b"\xff" * size, b"", rng.bytes(size))[number % 4]
        yield f"filled {number} at {at}", good[:at] + filled + good[at + size :]
    yield from _IN_DISGUISE.items()
    yield "doubled", good + good
    yield "something after it", good + b"\0"
    yield "something before it", b"\0" + good


WRONG: tuple[Any, ...] = (None, 5, -1, 1e300, "x", "", [], {}, [[]], {"x": 1}, True, ["a", "a"])
"""Values of every type, for entries that need another one."""


def forged_cards(card: Mapping[str, Any]) -> Iterator[tuple[str, bytes]]:
    """A bundle's card with each entry of a wrong type, missing or unknown."""
    for key in card:
        for number, value in enumerate(WRONG):
            if value != card[key]:
                yield f"{key} {number}", json.dumps({**card, key: value}).encode()
        yield f"no {key}", json.dumps({k: v for k, v in card.items() if k != key}).encode()
    for table in ("features", "tokenizer", "decode"):
        for key in card[table]:
            for number, value in enumerate(WRONG):
                changed = {**card[table], key: value}
                yield f"{table}.{key} {number}", json.dumps({**card, table: changed}).encode()
    yield "deep", b'{"format_version": ' + b"[" * 100_000
    yield "number", b'{"format_version": ' + b"9" * 5_000 + b"}"


def repacked(bundle: bytes, **members: bytes) -> bytes:
    """A bundle with other members; `card` stands for card.json."""
    file = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(bundle)) as old,
        zipfile.ZipFile(file, "w") as new,
    ):
        for name in old.namelist():
            stem = name.partition(".")[0]
            new.writestr(name, members.get(stem, old.read(name)))
    return file.getvalue()


def safetensors_of(header: bytes, data: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header)) + header + data


def forged_checkpoints() -> Iterator[tuple[str, bytes]]:
    """Files that are safetensors, but not what a training keeps."""
    states = ("", "{", "null", "5", "[]", '"x"', "{}", '{"task": "ctc"}', "[" * 99_999, "9" * 5_000,
              *(f'{{"task": {task}, "settings": {{{settings}}}, "tokenizer": {{}}, "scores": {{}},'
                ' "step": 1}' for task, settings in (("5", ""), ('"dance"', ""), ('"ctc"', ""),
                                                     ('"ctc"', '"x": 1'))))  # fmt: skip
    for number, state in enumerate(states):
        header = json.dumps({"__metadata__": {"state": state}}).encode()
        yield f"state {number}", safetensors_of(header)
    for number, header in enumerate(
        (b"", b"{}", b"[]", b"null", b"5", b"{", b'{"__metadata__": 5}', b'{"__metadata__": []}',
         b'{"__metadata__": {"state": 5}}', b"[" * 100_000, b"\xff\xfe", b'{"__metadata__": {}}',
         b'{"x": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}',
         b'{"x": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 16]}}',
         b'{"x": {"dtype": "F99", "shape": [4], "data_offsets": [0, 16]}}',
         b'{"x": {"dtype": "F32", "shape": [1e9], "data_offsets": [0, 16]}}')
    ):  # fmt: skip
        yield f"header {number}", safetensors_of(header)
    for size in (0, 1, 2**31, 2**40, 2**63, 2**64 - 1):
        yield f"header of {size} bytes", struct.pack("<Q", size) + b'{"a": 1}'


# --- settings ------------------------------------------------------------------------------------

WORDS = (
    "", "=", "x", "x=", "=5", ".", "..", "a.=1", ".a=1", "a..b=1", "budget", "budget=5",
    "budget.=1", "budget.minutes=-1", "budget.minutes=0", "budget.minutes=inf",
    "budget.minutes=nan", "encoder=5", "budget.minutes=x", "budget.minutes=[1]",
    "budget.minutes={}", "budget.minutes=1e999", "a=b=c", "budget.minutes=2020-01-01",
    "budget.steps=1.5", "budget.steps=0x", "budget.steps=-0x1", "budget.minuets=5",
    "optimizer.rate=inf", "optimizer.rate=-inf", "--rate=1", "optimizer.rate=1e400",
    "optimizer.rate=0", "optimizer.kind=", "optimizer.kind=[]", "text=none", "encoder.kind=lstm",
    "encoder.kind=5", "encoder.kind=[1]", "encoder.kind={}", "encoder.kind=", "encoder=[]",
    "encoder={kind=1}", "encoder.kind.kind=rnn", "encoder.channels=x", "encoder.channels=-1",
    "encoder.channels=1e30", "features.mels=0", "features.mels=100000", "features.window_ms=0",
    "features.window_ms=nan", "features.hop_ms=1000", "features.low_hz=9000",
    "features.sample_rate_hz=1", "features.fft_samples=3", "features.kind=mel",
    "augment.speeds=[]", "augment.speeds=1", "augment.speeds=[0]", "augment.speeds=[inf]",
    'augment.speeds=["x"]', "augment.speeds=[nan]", "text.unit=word", "text.pieces=1", "dropout=1",
    "dropout=-0.1", "dropout=NaN", "batches.seconds=-1", "batches.workers=-1", "batches.workers=x",
    "batches.seconds=inf", "loop.seed=-1", "loop.seed=x", "loop.precision=fp8",
    "batches.cache_mb=-1", "evaluation.every_steps=0", "evaluation.every_minutes=inf",
    "average.decay=1", "average.last=0", "loop.accumulate=0", "x" * 10_000 + "=1",
    "x=" + "[" * 3_000, "budget.steps=" + "9" * 5_000, "budget.minutes=" + "[" * 100_000,
    "budget.minutes=" + "9" * 5_000, "a" + ".a" * 500 + "=1", "budget.minutes=0x" + "f" * 6_000,
    "budget.minutes=" + "x" * 1_000_000, "\0=1", "a\nb=1", "optimizer.momentum=1",
    "optimizer.beta2=-1", "optimizer.clip=inf", "optimizer.weight_decay=inf",
)  # fmt: skip
"""key=value words that no settings can be made of."""

RECIPES: tuple[bytes, ...] = (
    b"x", b"[", b"]", b"=", b"x =", b"= 1", b"[budget", b"[budget]\nminutes",
    b"[budget]\nminutes=", b"[budget]\nminutes = x", b"[budget]\nminutes = -1",
    b"[budget]\nminutes = nan", b"budget = 5", b"[budget]\nminutes = inf", b"[budget]\nmin = 5",
    b"[bugdet]\nminutes = 5", b"[[budget]]\n", b"[budget]\nminutes = 1\nminutes = 2",
    b"[budget]\n[budget]", b"budget.minutes = '1", b"\0", b"\xff\xfe[\0", b"\xff", b"\x80 = 1",
    b"<html>", b'{"budget": {"minutes": 5}}', b"a: 1\n", b"- a", b"x = " + b"[" * 100_000,
    b"x = " + b"9" * 5_000, b"x" * 1_000_000, b"[" + b"a." * 4_000 + b"a]",
    b"[budget]\nminutes = 0x" + b"f" * 6_000, b"[encoder]\nkind = 5", b"[encoder]\nkind = 'lstm'",
    b"encoder = []", b"[budget]\nminutes = 2020-01-01",
    b"[budget]\nminutes = 1979-05-27T07:32:00Z", b"[features]\nmels = '80'\nfoo = 1",
    b"[text]\nunit = ['char']", b"import os", b"x = {a = {b =", b'[augment]\nspeeds = "fast"',
    b"[optimizer]\nrate = 1e400", b"[loop]\nseed = 1.5", b"[budget]\nminutes = 0b2", b'"""',
    b"'''\n", b"a.b = 1\na = 2", b"\x1a",
)  # fmt: skip
"""TOML recipes that are none, or of settings that do not exist."""


def tree(folder: Path) -> dict[str, int]:
    """All that is in a folder, with sizes: to see what a command left behind."""
    return {
        str(path.relative_to(folder)): path.lstat().st_size if path.is_file() else -1
        for path in sorted(folder.rglob("*"))
    }
