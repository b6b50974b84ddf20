"""The page: what it counts, that its pictures are pictures, and that nothing in it is taken raw."""

import io
import re
import zlib
from base64 import b64decode
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from typer.testing import CliRunner

from auricle import audio
from auricle.cli import app
from auricle.data import read_data
from auricle.explore import HEIGHT, page, png, shades, waveform

RATE_HZ = 16_000


def tone(hz: float, seconds: float = 0.5) -> np.ndarray:
    times = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    return (0.3 * np.sin(2 * np.pi * hz * times)).astype(np.float32)


def sounds(folder: Path) -> Path:
    for label, count in (("dog", 3), ("<b>cat", 1)):
        (folder / label).mkdir(parents=True)
        for number in range(count):
            audio.save(folder / label / f"{number}.wav", tone(500), RATE_HZ)
    return folder


def test_the_page_counts_and_escapes(tmp_path: Path) -> None:
    text = page(read_data(sounds(tmp_path / "sounds"), what="label"))
    assert "4 recordings, 0.00 h, 2 labels" in text
    assert "3.0 times as frequent" in text
    assert "&lt;b&gt;cat" in text
    assert "<b>cat" not in text
    assert text.count("<img ") == text.count("<svg ") == 3  # two of dog, the one of cat
    assert "http" not in text
    assert text == page(read_data(tmp_path / "sounds", what="label"))


def test_a_png_holds_the_pixels() -> None:
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
    data = png(pixels)
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert data[16:24] == b"\0\0\0\x04\0\0\0\x03"
    start = data.index(b"IDAT") + 4
    length = int.from_bytes(data[start - 8 : start - 4], "big")
    rows = zlib.decompress(data[start : start + length])
    assert [rows[n * 5 + 1 : n * 5 + 5] for n in range(3)] == [row.tobytes() for row in pixels]
    assert data[start + length : start + length + 4] == zlib.crc32(
        b"IDAT" + data[start : start + length]
    ).to_bytes(4, "big")


def test_low_tones_are_dark_at_the_bottom(tmp_path: Path) -> None:
    audio.save(tmp_path / "low.wav", tone(150), RATE_HZ)
    (tmp_path / "all.jsonl").write_text('{"audio_filepath": "low.wav", "label": "low"}\n')
    text = page(read_data(tmp_path / "all.jsonl", what="label"))
    (encoded,) = re.findall(r"base64,([^']+)'", text)
    assert io.BytesIO(b64decode(encoded)).read(4) == b"\x89PNG"
    features = np.zeros((10, HEIGHT), np.float32)
    features[:, 2] = 5.0
    found = shades(features)
    assert found.shape == (HEIGHT, 10)
    assert found[HEIGHT - 3].max() < found[: HEIGHT - 3].min()


def test_a_waveform_is_as_wide_as_its_sound() -> None:
    drawn = ElementTree.fromstring(waveform(tone(100, 0.001)))
    assert drawn[0].attrib["d"].count("M") == 16


def test_the_command_writes_the_page(tmp_path: Path) -> None:
    folder = sounds(tmp_path / "sounds")
    words = ["explore", str(folder), "--out", str(tmp_path / "x.html"), "--per-label", "0"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert "<img" not in (tmp_path / "x.html").read_text()
