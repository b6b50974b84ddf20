"""Listening: what doctor measures of every recording, in bounded memory and several at a time."""

import hashlib
import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auricle.audio import chunks, inspect
from auricle.data import Example, Progress
from auricle.errors import DataError

CHUNK_S = 60.0
FULL_SCALE = 0.999
SPECTRUM_SAMPLES = 1024
SPECTRUM_FRAMES = 256


@dataclass(frozen=True, slots=True)
class Sound:
    """What listening to an example tells."""

    sample_rate_hz: int
    duration_s: float
    """Of what could be read of the stretch."""
    available_s: float
    """From the start of the stretch to the end of the file."""
    level_db: float
    """Root mean square against full scale."""
    clipped_share: float
    """Of the samples, at full scale."""
    upper_share: float
    """Of the power, in the upper half of the spectrum."""
    digest: bytes
    """Equal for equal samples."""


def listen_to(
    examples: Sequence[Example], threads: int | None = None, progress: Progress | None = None
) -> list[Sound | DataError]:
    """What each example sounds like, or why it cannot be heard."""
    sounds: list[Sound | DataError] = []
    with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
        for sound in pool.map(_listen, examples):
            sounds.append(sound)
            if progress:
                progress(len(sounds), len(examples))
    return sounds


def _listen(example: Example) -> Sound | DataError:
    """Listen at the rate of the file."""
    digest = hashlib.blake2b(digest_size=16)
    samples, clipped, power, upper_share = 0, 0, 0.0, 1.0
    start_s, duration_s = example.start_s, example.duration_s or None
    try:
        info = inspect(example.audio)
        for chunk in chunks(example.audio, CHUNK_S, None, start_s=start_s, duration_s=duration_s):
            upper_share = upper_share if samples else _upper_share(chunk)
            digest.update(chunk.data)
            power += float(np.vdot(chunk, chunk))
            clipped += int(np.count_nonzero(np.abs(chunk) >= FULL_SCALE))
            samples += len(chunk)
    except DataError as error:
        return error
    return Sound(
        sample_rate_hz=info.sample_rate_hz,
        duration_s=samples / info.sample_rate_hz,
        available_s=info.duration_s - start_s,
        level_db=10 * math.log10(power / samples + 1e-12),
        clipped_share=clipped / samples,
        upper_share=upper_share,
        digest=digest.digest(),
    )


def _upper_share(samples: NDArray[np.float32]) -> float:
    """Share of the power from 9/16 of the Nyquist frequency up, in frames from all over (N,)."""
    frames = len(samples) // SPECTRUM_SAMPLES
    if not frames:
        return 1.0
    framed = samples[: frames * SPECTRUM_SAMPLES].reshape(frames, SPECTRUM_SAMPLES)
    hann = np.hanning(SPECTRUM_SAMPLES).astype(np.float32)
    windowed = framed[:: -(-frames // SPECTRUM_FRAMES)] * hann
    power = (np.abs(np.fft.rfft(windowed)) ** 2).mean(axis=0)
    return float(power[len(power) * 9 // 16 :].sum() / (power.sum() + 1e-20))
