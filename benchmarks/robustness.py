"""What noise, rooms, codecs, telephones and wrong levels cost, beside clean recordings.

    python benchmarks/robustness.py test.jsonl --noises HELD_OUT --rooms ROOMS
    python benchmarks/robustness.py test.jsonl --model model.auricle --noises HELD_OUT

Each recording meets the same drawn noise at every ratio. Intervals are bootstrapped over
utterances, the difference to the clean recordings is paired. Last come sounds in which nobody
speaks: each word heard there is invented.
"""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import common
import numpy as np
import soundfile

from auricle import audio
from auricle.augment import add_noise, excerpt, reverberate
from auricle.metrics import compare, score_words
from auricle.runtime import Recognizer
from auricle.text import normalise

RATE_HZ = 16_000
LONGEST_NOISE_S = 60.0
LOUD_DB, QUIET_DB = 30.0, -50.0
TELEPHONE_HZ = (300.0, 3_400.0)
CODECS: dict[str, dict[str, Any]] = {  # by the rate that came of it on read speech
    "mp3, 16 kbit/s": {"format": "MP3", "compression_level": 0.95, "bitrate_mode": "CONSTANT"},
    "opus, 16 kbit/s": {"format": "OGG", "subtype": "OPUS", "compression_level": 0.97},
}

Sound = tuple[np.ndarray, int]
Change = Callable[[np.ndarray, np.random.Generator], Sound]


def recordings(folder: Path) -> list[np.ndarray]:
    """The sounds of a folder, at RATE_HZ."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in audio.SUFFIXES)
    return [audio.load(path, RATE_HZ, duration_s=LONGEST_NOISE_S)[0] for path in paths]


def noisy(noises: list[np.ndarray], snr_db: float) -> Change:
    def change(x: np.ndarray, rng: np.random.Generator) -> Sound:
        noise = noises[rng.integers(len(noises))]
        return add_noise(x, excerpt(noise, len(x), rng), snr_db), RATE_HZ

    return change


def roomy(rooms: list[np.ndarray]) -> Change:
    return lambda x, rng: (reverberate(x, rooms[rng.integers(len(rooms))]), RATE_HZ)


def coded(name: str) -> Change:
    """Through the codec and back."""

    def change(x: np.ndarray, _: np.random.Generator) -> Sound:
        with io.BytesIO() as file:
            soundfile.write(file, np.clip(x, -1, 1), RATE_HZ, **CODECS[name])
            file.seek(0)
            return soundfile.read(file, dtype="float32")

    return change


def telephone(x: np.ndarray, _: np.random.Generator) -> Sound:
    """8 kHz, 300 to 3,400 Hz, in the 8 bits of the mu-law (ITU-T G.711)."""
    narrow = audio.resample(x, RATE_HZ, 8_000)
    spectrum = np.fft.rfft(narrow)
    hz = np.fft.rfftfreq(len(narrow), 1 / 8_000)
    spectrum[(hz < TELEPHONE_HZ[0]) | (hz > TELEPHONE_HZ[1])] = 0
    band = np.clip(np.fft.irfft(spectrum, len(narrow)), -1, 1)
    law = np.sign(band) * np.log1p(255 * np.abs(band)) / np.log(256)
    law = np.round(law * 127) / 127
    return (np.sign(law) * (256 ** np.abs(law) - 1) / 255).astype(np.float32), 8_000


def level(gain_db: float) -> Change:
    """Too loud, so that it is clipped; or too quiet, in 16 bits."""

    def change(x: np.ndarray, _: np.random.Generator) -> Sound:
        louder = np.clip(x * 10 ** (gain_db / 20), -1, 1)
        return (np.round(louder * 32_767) / 32_768).astype(np.float32), RATE_HZ

    return change


def changes(noises: list[np.ndarray], rooms: list[np.ndarray]) -> dict[str, Change]:
    made: dict[str, Change] = {"clean": lambda x, _: (x, RATE_HZ)}
    made |= {f"noise, {snr:+.0f} dB": noisy(noises, snr) for snr in (20, 10, 0) if noises}
    made |= {"rooms": roomy(rooms)} if rooms else {}
    made |= {name: coded(name) for name in CODECS}
    made |= {"telephone": telephone}
    made |= {f"{gain:+.0f} dB": level(gain) for gain in (LOUD_DB, QUIET_DB)}
    return made


def heard(recognizer: Any, sounds: list[Sound]) -> list[str]:
    return [answer.text for _, answer in recognizer.transcribe_many(sounds)]


def main() -> None:
    options = common.parser(__doc__ or "")
    common.add_data(options, "../shared/data/english/test_librispeech.jsonl")
    options.add_argument("--model", default="english", help="a bundle (%(default)s)")
    options.add_argument("--noises", type=Path, help="a folder that no training heard")
    options.add_argument("--rooms", type=Path, help="a folder of impulse responses")
    arguments = options.parse_args()
    recognizer = Recognizer.load(arguments.model)
    examples = common.examples_of(arguments.data)
    references = [normalise(each.text or "", recognizer.normaliser) for each in examples]
    waves = [audio.load(each.audio, RATE_HZ)[0] for each in examples]
    noises = recordings(arguments.noises) if arguments.noises else []
    rooms = recordings(arguments.rooms) if arguments.rooms else []
    rows, numbers, clean = [], {}, None
    for name, change in changes(noises, rooms).items():
        common.note(name)
        sounds = [change(wave, np.random.default_rng(n)) for n, wave in enumerate(waves)]
        counts = score_words(references, heard(recognizer, sounds))
        told = common.percent(counts)
        if clean is not None:
            found = compare(clean, counts)
            told += f"  {100 * (counts.rate - clean.rate):+.1f} points, p {found.p_value:.4f}"
        clean = clean or counts
        interval = counts.interval()
        numbers[name] = [counts.rate, interval.low, interval.high]
        rows.append((name, told))
    for name, sounds in {"noise alone": noises, "silence": [np.zeros(60 * RATE_HZ, "f")]}.items():
        if sounds:
            words = sum(len(t.split()) for t in heard(recognizer, [(x, RATE_HZ) for x in sounds]))
            minutes = sum(map(len, sounds)) / RATE_HZ / 60
            numbers[name] = words / minutes
            rows.append((name, f"{words / minutes:7.2f} words a minute, {minutes:.1f} minutes"))
    facts = {**common.machine(), "model": arguments.model, "data": str(arguments.data)}
    common.finish(
        f"Word error rates, {len(examples)} recordings", rows, facts | numbers, arguments.json
    )


if __name__ == "__main__":
    main()
