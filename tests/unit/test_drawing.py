import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from auricle import audio
from auricle.cli import app
from auricle.drawing import (
    Axis,
    Band,
    Box,
    Disc,
    Heat,
    Line,
    Panel,
    Picture,
    Text,
    envelope,
    png,
    pooled,
    round_ticks,
)
from auricle.drawing.axes import LEVELS, tick_name
from auricle.drawing.colours import ROLES, ramp, rgb
from auricle.drawing.lettering import strokes, width
from auricle.drawing.png import png_of_heat, png_of_palette, png_of_rgb
from auricle.errors import DataError
from auricle.plot import plot
from pixels import read_colours, read_png

SVG = "{http://www.w3.org/2000/svg}"


def test_pixels_survive_a_png(rng: np.random.Generator) -> None:
    smooth = np.linspace(0, 255, 40)[:, None] + np.linspace(0, 90, 30)
    for image in (rng.integers(0, 256, (7, 5, 3)), np.stack([smooth] * 3, axis=2) % 256):
        pixels = image.astype(np.uint8)
        found, _ = read_png(png_of_rgb(pixels))
        assert np.array_equal(found, pixels)


def test_heat_maps_have_a_palette(rng: np.random.Generator) -> None:
    values = rng.integers(0, 256, (4, 9)).astype(np.uint8)
    found, chunks = read_png(png_of_heat(values, ramp("accent")))
    assert np.array_equal(found[..., 0], values)
    assert list(chunks[b"tRNS"]) == list(range(256))  # nothing to everything
    _, opaque = read_png(png_of_heat(values, ramp("magma")))
    assert b"tRNS" not in opaque
    brightness = np.frombuffer(opaque[b"PLTE"], np.uint8).reshape(256, 3).sum(axis=1)
    assert (np.diff(brightness.astype(int)) >= -2).all()


def test_few_colours_make_a_small_file_that_looks_the_same() -> None:
    image, _ = read_png(png(everything()))
    content = png(everything(), colours=256)
    few = read_colours(content)
    assert len(content) < 0.6 * len(png(everything()))
    assert len(np.unique(few.reshape(-1, 3), axis=0)) <= 256
    away = np.abs(few.astype(int) - image)
    assert away.max() <= 16
    assert (away == 0).mean() > 0.9
    two = np.array([[[1, 2, 3], [1, 2, 3], [200, 0, 9]]], np.uint8)
    assert np.array_equal(read_colours(png_of_palette(two)), two)
    (only,) = np.unique(read_colours(png_of_palette(two, 1)).reshape(-1, 3), axis=0)
    assert only.tolist() == [1, 2, 3]


def contrast(one: str, other: str) -> float:
    """WCAG 2.2, relative luminance."""

    def light(colour: str) -> float:
        shares = np.array(rgb(colour)) / 255
        linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
        return float(linear @ (0.2126, 0.7152, 0.0722))

    low, high = sorted((light(one), light(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_what_is_read_stands_out(theme: int) -> None:
    for ground in ("paper", "panel"):
        for role in ("ink", "soft", "accent", "second", "good", "bad", "warn"):
            assert contrast(ROLES[role][theme], ROLES[ground][theme]) >= 4.5, role


def everything() -> Picture:
    points = np.array([[10.0, 10.0], [40.0, 30.0], [60.0, 12.0]])
    x = np.linspace(10, 90, 5)
    picture = Picture(100, 80, 'a "test" <of> & \x07 all')
    picture.add(
        Box(5, 5, 30, 20, "panel", "ink", radius=4),
        Line(points, "bad", 2, dashed=True, arrow=True),
        Band(x, np.full(5, 40.0), np.full(5, 50.0), "accent"),
        Disc(80, 20, 8, "good"),
        Text(50, 70, "<b> & 'x' \x00", 12, "ink", "middle"),
        Text(5, 70, "up", upwards=True, bold=True),
        Heat(60, 55, 30, 20, np.arange(6, dtype=np.uint8).reshape(2, 3) * 51),
    )
    return picture


def test_a_picture_is_well_formed_whatever_its_texts_hold() -> None:
    root = ElementTree.fromstring(everything().svg())
    assert root.attrib["aria-label"] == 'a "test" <of> & \ufffd all'
    texts = [element.text for element in root.iter(f"{SVG}text")]
    assert texts == ["<b> & 'x' \ufffd", "up"]
    style = root.find(f"{SVG}style")
    assert style is not None
    assert "prefers-color-scheme:dark" in (style.text or "")
    classes = {word for e in root.iter() for word in e.attrib.get("class", "").split()}
    assert all(f".{name}{{" in (style.text or "") for name in classes)
    assert root.find(f"{SVG}style") is not None
    assert ElementTree.fromstring(everything().svg(styled=False)).find(f"{SVG}style") is None


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_picture_in_pixels_lies_where_it_lies_in_the_svg(theme: str) -> None:
    image, _ = read_png(png(everything(), scale=2, theme=theme))  # type: ignore[arg-type]
    assert image.shape == (160, 200, 3)

    def at(x: float, y: float) -> tuple[int, ...]:
        return tuple(image[round(2 * y), round(2 * x)].tolist())

    def role(name: str) -> tuple[int, int, int]:
        return rgb(ROLES[name][theme == "dark"])  # type: ignore[index]

    assert at(95, 75) == role("paper")
    assert at(20, 22) == role("panel")
    assert at(80, 20) == role("good")
    assert at(50, 45) == role("accent")
    assert at(50, 38.5) == role("paper")
    assert at(61, 57) == tuple(ramp("magma").rgb[0].tolist())
    assert at(88, 73) == tuple(ramp("magma").rgb[255].tolist())
    assert at(11, 10.5) == role("bad")
    letters = image[2 * 58 : 2 * 72, 2 * 30 : 2 * 59].reshape(-1, 3)
    assert role("ink") in {tuple(pixel) for pixel in letters.tolist()}


def test_lines_beyond_the_paper_are_cut_off() -> None:
    picture = Picture(20, 20, "beyond")
    picture.add(
        Line(np.array([[-50.0, 10.0], [70.0, 10.0]]), "ink", 2),
        Box(-30, -30, 10, 10, "bad"),
        Band(np.array([30.0, 40.0]), np.zeros(2), np.ones(2)),
        Text(100, 100, "far"),
    )
    image, _ = read_png(png(picture, scale=1))
    assert (image[10] == rgb(ROLES["ink"][0])).all()
    assert (image[5] == 255).all()


def test_letters_stand_on_their_line() -> None:
    for letter, low, high in (("x", 0, 5), ("H", 0, 7), ("p", -2, 5), ("d", 0, 7), ("8", 0, 7)):
        heights = np.concatenate(strokes(letter, 9.6))[:, 1]
        assert (heights.min(), heights.max()) == pytest.approx((low, high))
    assert width("ii", 10) < width("mm", 10) == 2 * width("mm", 5)
    assert width("111", 10) == width("800", 10)
    assert width("", 10) == 0
    assert len(strokes("é", 10)) == len(strokes("e", 10))
    assert strokes("好", 10)[0].shape == (5, 2)  # a box for what it has no letter for


def test_round_ticks() -> None:
    assert round_ticks(0, 14.34, 10) == [0, 2, 4, 6, 8, 10, 12, 14]
    assert round_ticks(-0.1, 0.1, 4) == pytest.approx([-0.1, -0.05, 0, 0.05, 0.1])
    assert round_ticks(3, 3, 5) == [3]
    assert [tick_name(v, 0.05) for v in (-0.1, -1e-17, 0.05)] == ["\u22120.10", "0.00", "0.05"]
    assert tick_name(12000, 2000) == "12,000"


@pytest.mark.parametrize("most", [1, 3, 7, 20])
def test_ticks_are_few_and_within(most: int, rng: np.random.Generator) -> None:
    for low, span in zip(rng.normal(0, 1e3, 50), 10 ** rng.uniform(-6, 6, 50), strict=True):
        ticks = round_ticks(low, low + span, most)
        assert len(ticks) <= most + 1
        assert all(low - 1e-6 * span <= tick <= low + span * (1 + 1e-6) for tick in ticks)


def test_a_panel_places_values() -> None:
    picture = Picture(200, 100, "panel")
    panel = Panel(picture, 50, 10, 100, 80, Axis(10, 1000, log=True), Axis(0, 4))
    assert panel.at_x(np.array([10, 100, 1000])).tolist() == pytest.approx([50, 100, 150])
    assert panel.at_y(np.array([0, 1, 4])).tolist() == pytest.approx([90, 70, 10])
    panel.heat(np.array([[0.0, 1.0], [2.0, 3.0]]), 0, 3, x=(10, 100))
    heat = picture.shapes[-1]
    assert isinstance(heat, Heat)
    assert (heat.x, heat.width) == pytest.approx((50, 50))
    wanted = np.array([[85, 255], [0, 170]])  # feature 0 lies lowest; kept in steps of a level
    np.testing.assert_allclose(heat.values, wanted, atol=255 // LEVELS / 2)


def test_much_is_pooled_and_nothing_lost() -> None:
    x = np.zeros(1000)
    x[[17, 500]] = [0.7, -0.9]
    at, low, high = envelope(x, 50)
    assert len(at) == 50
    assert (high.max(), low.min()) == (0.7, -0.9)
    assert [len(each) for each in envelope(x[:3], 50)] == [3, 3, 3]
    values = np.arange(20.0)[:, None] * [1, 2]
    assert pooled(values, 10)[:, 0].tolist() == (np.arange(10) * 2 + 0.5).tolist()
    assert pooled(values, 20) is values


# --- plots of recordings --------------------------------------------------------------------------


def save(path: Path, hz: float, seconds: float, rate_hz: int) -> Path:
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    audio.save(path, (0.5 * np.sin(2 * np.pi * hz * time_s)).astype(np.float32), rate_hz)
    return path


def test_a_tone_stands_where_its_frequency_is(tmp_path: Path) -> None:
    picture = plot(save(tmp_path / "tone.wav", 3_000, 1.0, 16_000))
    headings = [s.text for s in picture.shapes if isinstance(s, Text) and s.bold]
    assert [h.split(" ")[0].strip(":,") for h in headings] == [
        "tone.wav",
        "Waveform",
        "Spectrum",
        "Spectrogram",
        "Log-mel",
        "MFCC",
    ]
    spectrogram, mels, mfcc = [s for s in picture.shapes if isinstance(s, Heat)]
    # 8 kHz on top, 0 at the bottom: 3 kHz is 5/8 from the top.
    rows = spectrogram.values.mean(axis=1)
    assert rows.argmax() / len(rows) == pytest.approx(5 / 8, abs=0.01)
    assert mels.values.shape[0] == 80
    assert mfcc.values.shape[0] == 13
    curve = next(s for s in picture.shapes if isinstance(s, Line) and len(s.points) > 100)
    peak_x = curve.points[curve.points[:, 1].argmin(), 0]
    share = (peak_x - 74) / (980 - 74 - 24)
    assert 20 * (8_000 / 20) ** share == pytest.approx(3_000, rel=0.01)


def test_a_stretch_of_it(tmp_path: Path) -> None:
    path = save(tmp_path / "tone.wav", 440, 2.0, 8_000)
    picture = plot(path, start_s=0.5, duration_s=0.25)
    facts = [s.text for s in picture.shapes if isinstance(s, Text)][1]
    assert re.search(r"8,000 Hz, 1 channel, 2.00 s; drawn are 0.50 to 0.75 s", facts)
    with pytest.raises(DataError, match="too short to draw"):
        plot(save(tmp_path / "click.wav", 440, 0.02, 8_000))


def test_silence_can_be_drawn(tmp_path: Path) -> None:
    audio.save(tmp_path / "s.wav", np.zeros(16_000, np.float32), 16_000)
    ElementTree.fromstring(plot(tmp_path / "s.wav").svg())


def test_the_command_draws_both_kinds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "tone.wav", 440, 0.3, 16_000)
    monkeypatch.chdir(tmp_path)
    for words in (["tone.wav"], ["tone.wav", "-o", "other.svg"]):
        result = CliRunner().invoke(app, ["plot", *words])
        assert result.exit_code == 0, result.output
    image, _ = read_png((tmp_path / "tone.png").read_bytes())
    assert image.shape[1] == 1_960
    ElementTree.fromstring((tmp_path / "other.svg").read_text(encoding="utf-8"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["other.svg", "tone.png", "tone.wav"]
