"""Where somebody speaks in a clean recording, by its energy: the truth that mixtures are made of.

What is mixed into a recording afterwards changes nothing about where its speech is. So a detector
for noisy sound can learn from quiet recordings that nobody ever marked: the marks are made while
they are quiet. The threshold is each recording's own: microphones and rooms differ by tens of
decibels. Breaths that are as loud as speech are taken for it; energy knows no better.

Axes: N samples, T frames.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from pydantic import Field

from auricle.config import Settings
from auricle.hysteresis import HysteresisSettings, stretches

Float32 = NDArray[np.float32]

FRAME_S = 0.01
WINDOW_FRAMES = 3  # of FRAME_S, over which energy is summed
SILENCE_DB = -100.0  # the level of digital silence
PREEMPHASIS = 0.97  # mains hum and thumps count little, the hiss of an s counts


class ActivitySettings(Settings):
    """What counts as speech in a clean recording."""

    share: float = Field(0.4, gt=0, lt=1)  # of the way from its pauses' level to its loud vowels'
    range_db: float = Field(40.0, ge=5, le=90)  # below the loud vowels nothing counts
    least_db: float = Field(10.0, ge=0, le=60)  # above the pauses, that counts
    gap_s: float = Field(0.2, ge=0, le=5)  # shorter silences are inside words: closures, say
    shortest_s: float = Field(0.06, ge=0, le=5)  # shorter sounds are clicks
    pad_s: float = Field(0.03, ge=0, le=1)  # on either side: words begin and end softly


def levels_db(wave: Float32, rate_hz: int) -> Float32:
    """(N,) samples -> (T,) energy in decibels of full scale, one value every `FRAME_S`."""
    hop = max(1, round(FRAME_S * rate_hz))
    sharp = np.diff(wave, prepend=wave[:1]) + np.float32(1 - PREEMPHASIS) * wave
    power = np.square(np.pad(sharp, (0, -len(sharp) % hop))).reshape(-1, hop).mean(axis=1)
    side = WINDOW_FRAMES // 2
    power = sliding_window_view(np.pad(power, side, "edge"), WINDOW_FRAMES).mean(axis=1)
    found: Float32 = 10 * np.log10(np.maximum(power, 10 ** (SILENCE_DB / 10)))
    return found


def spoken(
    wave: Float32, rate_hz: int, settings: ActivitySettings | None = None
) -> list[tuple[float, float]]:
    """The stretches of a clean recording in which somebody speaks, in seconds.

    The threshold lies between the level of the pauses (the 5th percentile of the frames) and that
    of the loud vowels (the 95th); digital silence counts as no level at all.

    Args:
        wave: (N,).
    """
    s = settings or ActivitySettings()
    db = levels_db(wave, rate_hz) if len(wave) else np.zeros(0, np.float32)
    heard = db[db > SILENCE_DB + 1e-3]
    if not len(heard):
        return []
    quiet, loud = (float(each) for each in np.percentile(heard, (5, 95)))
    limit = max(quiet + s.share * (loud - quiet), quiet + s.least_db, loud - s.range_db)
    limit = min(limit, loud - s.least_db)  # a recording without a pause is speech throughout
    rule = HysteresisSettings(
        onset=0.5, offset=0.5, shortest_s=s.shortest_s, gap_s=s.gap_s, pad_s=s.pad_s
    )
    return stretches((db > limit).astype(np.float32), FRAME_S, len(wave) / rate_hz, rule)
