"""Where somebody speaks: our detector beside WebRTC's and Silero's, on the same noisy mixtures.

    python benchmarks/segments.py test.jsonl --noises HELD --tune valid.jsonl --tune-noises OTHERS

Utterances of a manifest are laid out with pauses, in a noise at a ratio drawn from -5 to 30 dB,
into a temporary folder. Where they speak is known from the clean recordings: by their energy
(`auricle.activity`), and, as a second judge that shares nothing with how the detector learned, by
forced alignment of their texts (words widened by 60 ms, gaps under 0.2 s closed). Every detector
gets the threshold, durations and padding that suit it best on mixtures of `--tune`, by the same
search. webrtcvad (`pip install webrtcvad-wheels`) and silero-vad (the ONNX file of its package, run
here by ONNX Runtime) are compared where they are installed, or lie in `--packages FOLDER`.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

SNRS_DB = (-5.0, 30.0)
BANDS_DB = ((-5, 5), (5, 15), (15, 30))
GRID_S = 0.01  # on which all are compared
COLLAR_S = 0.1  # around each true boundary, left out of the second table
ALIGNED_PAD_S, ALIGNED_GAP_S = 0.06, 0.2
RATE_HZ = 16_000


@dataclass
class Mixed:
    """One written mixture and what is known of it."""

    path: Path
    duration_s: float
    snr_db: float
    truth: list[tuple[float, float]]
    aligned: list[tuple[float, float]] | None


def mixtures(
    examples: Sequence[Any],
    noises: Path,
    folder: Path,
    count: int,
    *,
    length_s: float = 30.0,
    seed: int = 0,
    words: dict[str, list[tuple[float, float]]] | None = None,
) -> list[Mixed]:
    """Write `count` mixtures as FLAC, and a manifest of them; the same for the same seed."""
    from auricle import audio
    from auricle.activity import spoken
    from auricle.augment import excerpt
    from auricle.mixtures import rms, sampled, scaled
    from auricle.segments import Stretch

    rng = np.random.default_rng(seed)
    files = sorted(p for p in noises.rglob("*") if p.suffix.lower() in audio.SUFFIXES)
    order = iter(np.tile(rng.permutation(len(examples)), 1 + 20 * count // len(examples)))
    made, lines = [], []
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        samples = round(length_s * RATE_HZ)
        voice = np.zeros(samples, np.float32)
        truth: list[tuple[float, float]] = []
        aligned: list[tuple[float, float]] | None = [] if words is not None else None
        at = round(rng.uniform(0, 3) * RATE_HZ)
        while number % 10 != 9:  # each tenth is the noise alone
            example = examples[next(order)]
            wave = audio.load(example.audio, RATE_HZ)[0]
            if at + len(wave) > samples:
                break
            spans = spoken(wave, RATE_HZ)
            marks = [Stretch(a, b, "speech") for a, b in spans]
            level = rms(wave[sampled(marks, len(wave), RATE_HZ)])
            loudness = 10 ** (rng.uniform(-30, -20) / 20)
            voice[at : at + len(wave)] = wave * np.float32(loudness / max(level, 1e-6))
            truth += [(a + at / RATE_HZ, b + at / RATE_HZ) for a, b in spans]
            if aligned is not None and words is not None:
                aligned += [(a + at / RATE_HZ, b + at / RATE_HZ) for a, b in words[example.id]]
            at += len(wave) + round(rng.uniform(0.2, 4) * RATE_HZ)
        marks = [Stretch(a, b, "speech") for a, b in truth]
        active = voice[sampled(marks, samples, RATE_HZ)]
        snr_db = float(rng.uniform(*SNRS_DB))
        noise = excerpt(audio.load(files[rng.integers(len(files))], RATE_HZ)[0], samples, rng)
        mixed = voice + scaled(noise, rms(active) or 10 ** (-25 / 20), snr_db)
        mixed *= min(1.0, 0.98 / max(float(np.abs(mixed).max()), 1e-9))
        path = folder / f"{number:04}.flac"
        audio.save(path, mixed, RATE_HZ)
        made.append(Mixed(path, length_s, snr_db, truth, aligned))
        segments = [{"start": round(a, 3), "end": round(b, 3)} for a, b in truth]
        line = {"audio_filepath": path.name, "duration": length_s, "segments": segments}
        lines.append(json.dumps(line | {"snr_db": round(snr_db, 1)}))
    (folder / "mixtures.jsonl").write_text("\n".join(lines) + "\n")
    return made
