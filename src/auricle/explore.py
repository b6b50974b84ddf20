"""A look at labelled recordings: counts, durations and examples on one HTML page, nothing fetched.

Waveforms are SVG, spectrograms PNG, both inside the page: it can be mailed and opened offline.
"""

import base64
import html
import struct
import zlib
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from auricle import audio
from auricle.augment import generator
from auricle.data import Dataset, Example
from auricle.doctor.report import histogram
from auricle.errors import DataError
from auricle.features import FeatureSettings, FrontEnd

WIDTH, HEIGHT = 320, 64  # pixels of a picture
SHOWN_S = 10.0  # of an example, at most
SHOWN_LABELS = 60
FEATURES = FeatureSettings(mels=HEIGHT, normalise="none", low_hz=50.0)
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 62em; padding: 0 1em }
table { border-collapse: collapse } td, th { padding: .15em .8em; text-align: right }
td:first-child, th:first-child { text-align: left } .bar { background: #47a; height: .8em }
figure { display: inline-block; margin: .4em; vertical-align: top } img, svg { display: block }
figcaption { font-size: 12px; max-width: 320px; overflow-wrap: anywhere; color: #555 }
@media (prefers-color-scheme: dark) { body { background: #181a1c; color: #ddd } }
"""


def page(
    dataset: Dataset, per_label: int = 2, progress: Callable[[int, int], None] | None = None
) -> str:
    """The HTML page of a dataset; which examples are drawn is the same each time.

    Args:
        per_label: examples to draw of each label.
        progress: hears of the labels done.
    """
    examples = dataset.examples
    counts = Counter(name for example in examples for name in example.labels)
    title = html.escape(str(dataset.source))
    parts = [
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{title}</title>",
        f"<style>{STYLE}</style><h1>{title}</h1>",
        _facts(examples, counts),
        "<h2>Labels</h2>",
        _label_table(dataset, counts),
        "<h2>Durations</h2>",
        _bars([(f"from {s:g} s", n) for s, n in histogram([e.duration_s for e in examples])]),
        "<h2>Examples</h2>",
    ]
    names = [name for name, _ in counts.most_common(SHOWN_LABELS)]
    for done, name in enumerate(sorted(names), 1):
        own = sorted((e for e in examples if name in e.labels), key=_place)
        parts.append(f"<h3>{html.escape(name)}</h3>" + "".join(map(_figure, own[:per_label])))
        if progress:
            progress(done, len(names))
    return "\n".join([*parts, "</html>"]) + "\n"


def _place(example: Example) -> float:
    return float(generator(0, 0, example.id).random())


def _facts(examples: Sequence[Example], counts: Counter[str]) -> str:
    speakers = len({example.speaker for example in examples} - {None})
    hours = sum(example.duration_s for example in examples) / 3600
    uneven = max(counts.values(), default=0) / max(min(counts.values(), default=1), 1)
    several = sum(len(example.labels) > 1 for example in examples)
    return (
        f"<p>{len(examples)} recordings, {hours:.2f} h, {len(counts)} labels, "
        f"{speakers or 'unknown'} speakers; the commonest label is {uneven:.1f} times as frequent "
        f"as the rarest; {several} recordings have more than one label.</p>"
    )


def _label_table(dataset: Dataset, counts: Counter[str]) -> str:
    """For each label: recordings in every split, minutes and speakers."""
    splits = list(dataset.splits) or ["all"]
    parts = dataset.splits or {"all": dataset.examples}
    most = max(counts.values(), default=1)
    rows = []
    for name, count in counts.most_common():
        own = {split: [e for e in parts[split] if name in e.labels] for split in splits}
        every = [e for e in dataset.examples if name in e.labels]
        minutes = sum(e.duration_s for e in every) / 60
        speakers = len({e.speaker for e in every} - {None})
        cells = "".join(f"<td>{len(own[split])}</td>" for split in splits)
        bar = f"<td style='width:16em'><div class='bar' style='width:{count / most:.1%}'></div>"
        rows.append(
            f"<tr><td>{html.escape(name)}{cells}<td>{minutes:.1f}<td>{speakers or ''}{bar}</tr>"
        )
    heads = "".join(f"<th>{html.escape(split)}" for split in splits)
    return f"<table><tr><th>label{heads}<th>minutes<th>speakers<th></tr>{''.join(rows)}</table>"


def _bars(rows: Sequence[tuple[str, int]]) -> str:
    most = max((count for _, count in rows), default=0) or 1
    lines = [
        f"<tr><td>{name}<td>{count}<td style='width:24em'>"
        f"<div class='bar' style='width:{count / most:.1%}'></div></tr>"
        for name, count in rows
    ]
    return f"<table>{''.join(lines)}</table>"


def _figure(example: Example) -> str:
    """Waveform and spectrogram of the beginning of an example, or why there is none."""
    caption = f"{html.escape(example.id)}, {example.duration_s:.2f} s"
    try:
        wave, rate_hz = audio.load(
            example.audio,
            FEATURES.sample_rate_hz,
            start_s=example.start_s,
            duration_s=min(example.duration_s or SHOWN_S, SHOWN_S),
        )
    except DataError as error:
        return f"<figure><figcaption>{caption}: {html.escape(str(error))}</figcaption></figure>"
    features = FrontEnd(FEATURES)(wave)
    picture = base64.b64encode(png(shades(features))).decode("ascii")
    return (
        f"<figure>{waveform(wave)}<img alt='spectrogram' width={WIDTH} height={HEIGHT} "
        f"src='data:image/png;base64,{picture}'><figcaption>{caption}, to {rate_hz // 2} Hz"
        "</figcaption></figure>"
    )


def waveform(wave: NDArray[np.float32]) -> str:
    """SVG of the loudest and lowest sample under each pixel; (N,) samples, drawn to full height."""
    columns = np.array_split(wave, min(WIDTH, len(wave)))
    loudest = max(float(np.abs(wave).max()), 1e-6)
    middle = HEIGHT / 2
    lines = "".join(
        f"M{n} {middle - middle * float(column.max()) / loudest:.1f}"
        f"V{middle - middle * float(column.min()) / loudest + 0.5:.1f}"
        for n, column in enumerate(columns)
    )
    return (
        f"<svg role='img' aria-label='waveform' width='{WIDTH}' height='{HEIGHT}'>"
        f"<path stroke='#47a' d='{lines}'/></svg>"
    )


def shades(features: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(T, F) log powers -> (F, T) grey, low frequencies at the bottom, dark where it is loud."""
    if not len(features):
        return np.full((HEIGHT, 1), 255, np.uint8)
    low, high = np.quantile(features, [0.05, 0.995])
    scaled = np.clip((features - low) / max(high - low, 1e-6), 0, 1)
    return np.ascontiguousarray((255 - 255 * scaled).T[::-1].astype(np.uint8))


def png(pixels: NDArray[np.uint8]) -> bytes:
    """(rows, columns) grey values as a PNG file (ISO/IEC 15948): 8 bits, one channel."""
    rows, columns = pixels.shape

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", columns, rows, 8, 0, 0, 0, 0)
    raw = b"".join(b"\0" + row.tobytes() for row in pixels)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw, 9)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + data
