"""What utterances can be grouped by: length, background, and the keys of the manifest."""

import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np

from auricle import audio
from auricle.data import Example
from auricle.errors import DataError

MOST_VALUES = 200  # of a manifest's key; with more it is a name, not a group
FEWEST_EACH = 1.5  # utterances of a value, on average
NUMBERS_FROM = 13  # different numbers of a key are put into bins
FRAME_S = 0.02
LENGTHS_S = (2.0, 5.0, 10.0, 20.0)
BACKGROUNDS_DB = (10.0, 20.0, 30.0, 40.0)
RATES = (1.5, 2.0, 2.5, 3.0, 3.5)

Keys = dict[str, list[str]]


def keys_of(examples: Sequence[Example], texts: Sequence[str]) -> Keys:
    """For each key to group by, its value for every example; keys of one value are left out."""
    lengths = [example.duration_s for example in examples]
    words = [len(text.split()) for text in texts]
    rates = [count / (length or 1.0) for count, length in zip(words, lengths, strict=True)]
    backgrounds = backgrounds_db(examples)
    keys = {
        "length": _binned(lengths, LENGTHS_S, "s"),
        "speech above background (estimated)": _binned(backgrounds, BACKGROUNDS_DB, "dB"),
        "words per second": _binned(rates, RATES, ""),
    }
    keys |= dict(_manifest_keys(examples))
    return {key: values for key, values in keys.items() if len(set(values)) > 1}


def backgrounds_db(examples: Sequence[Example]) -> list[float]:
    """How far the louder tenth of each recording's frames is above its quieter tenth, in dB.

    NaN for one that cannot be read.
    """
    with ThreadPoolExecutor() as pool:
        return list(pool.map(_background_db, examples))


def _background_db(example: Example) -> float:
    try:
        samples, rate_hz = audio.load(
            example.audio, None, start_s=example.start_s, duration_s=example.duration_s or None
        )
    except DataError:
        return math.nan
    length = max(1, round(FRAME_S * rate_hz))
    frames = samples[: len(samples) // length * length].reshape(-1, length)
    if not len(frames):
        return math.nan
    levels_db = 10 * np.log10(np.square(frames).mean(axis=1) + 1e-10)
    quiet, loud = np.quantile(levels_db, [0.1, 0.9])
    return float(loud - quiet)


def _manifest_keys(examples: Sequence[Example]) -> Iterator[tuple[str, list[str]]]:
    if any(example.speaker for example in examples):
        yield "speaker", [example.speaker or "unknown" for example in examples]
    found: Mapping[str, None] = dict.fromkeys(key for e in examples for key in e.extra)
    for key in found:
        raw = [example.extra.get(key) for example in examples]
        if not all(value is None or isinstance(value, str | int | float) for value in raw):
            continue
        different = set(raw) - {None}
        numbers = all(isinstance(v, int | float) and math.isfinite(v) for v in different)
        if numbers and len(different) >= NUMBERS_FROM:
            each = [math.nan if value is None else float(value) for value in raw]
            edges = np.nanquantile(each, [0.25, 0.5, 0.75])
            yield key, _binned(each, tuple(dict.fromkeys(map(_significant, edges))), "")
        elif len(different) <= min(MOST_VALUES, len(examples) / FEWEST_EACH):
            yield key, ["unknown" if value is None else str(value) for value in raw]


def _significant(value: float) -> float:
    return float(f"{value:.2g}")


def _binned(values: Sequence[float], edges: Sequence[float], unit: str) -> list[str]:
    """The name of each value's bin."""
    unit = f" {unit}" if unit else ""
    names = [f"under {edges[0]:g}{unit}"]
    names += [f"{low:g} to {high:g}{unit}" for low, high in pairwise(edges)]
    names.append(f"{edges[-1]:g}{unit} and more")
    places = np.searchsorted(edges, values, side="right")
    return [
        "unknown" if math.isnan(value) else names[place]
        for value, place in zip(values, places, strict=True)
    ]
