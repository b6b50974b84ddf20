"""Long recordings: words wrong by where they are cut, with pauses and noise between the utterances.

    python benchmarks/cutting.py test.jsonl --noises HELD_OUT

Eight utterances make a recording, alike in loudness, pauses of 0.3 to 6 s before each, in a noise
drawn from the folder that goes on throughout. Each is transcribed in pieces cut at its quietest
places, and in pieces around what the shipped detector takes for speech; and the utterances alone,
each by itself and clean. Intervals and paired tests are over recordings.
"""

import argparse
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import common
import numpy as np

RATE_HZ = 16_000
TOGETHER = 8  # utterances
LEVEL = 0.05  # of each, root mean square
PAUSES_S = (0.3, 6.0)


def programmes(
    examples: Sequence[Any], noises: Sequence[Any], snr_db: float, seed: int = 0
) -> Iterator[tuple[Any, str]]:
    """Recordings (N,) and what is said in them; the same noise for every ratio."""
    from auricle import audio
    from auricle.augment import excerpt

    rng = np.random.default_rng(seed)
    order = rng.permutation(len(examples)).tolist()
    for at in range(0, len(order), TOGETHER):
        parts, words = [], []
        for number in order[at : at + TOGETHER]:
            wave = audio.load(examples[number].audio, RATE_HZ)[0]
            pause = np.zeros(round(rng.uniform(*PAUSES_S) * RATE_HZ), np.float32)
            parts += [pause, wave * np.float32(LEVEL / np.sqrt(np.mean(wave**2)))]
            words.append(examples[number].text)
        voice = np.concatenate([*parts, np.zeros(2 * RATE_HZ, np.float32)])
        noise = excerpt(noises[rng.integers(len(noises))], len(voice), rng)
        loud = LEVEL * 10 ** (-snr_db / 20) / max(float(np.sqrt(np.mean(noise**2))), 1e-6)
        yield voice + noise * np.float32(loud), " ".join(words)


def heard(recognizer: Any, sources: Sequence[Any]) -> list[str]:
    """What the recogniser makes of recordings."""
    return [answer.text for _, answer in recognizer.transcribe_many(sources)]


def arguments() -> argparse.Namespace:
    options = common.parser(__doc__ or "")
    common.add_data(options, "../shared/data/english/test_librispeech.jsonl")
    options.add_argument("--model", default="english", help="a bundle (%(default)s)")
    options.add_argument("--noises", type=Path, required=True, help="no training heard them")
    options.add_argument("--snr", type=float, nargs="+", default=[40, 20, 10], help="decibels")
    return options.parse_args()


def main() -> None:
    from auricle import audio
    from auricle.metrics import compare, score_words
    from auricle.runtime import Recognizer
    from auricle.text import normalise

    asked = arguments()
    examples = common.examples_of(asked.data)
    files = sorted(p for p in asked.noises.rglob("*") if p.suffix.lower() in audio.SUFFIXES)
    noises = [audio.load(path, RATE_HZ)[0] for path in files]
    ways = {cut: Recognizer.load(asked.model, threads=1, cut=cut) for cut in ("pauses", "speech")}
    tidy = partial(normalise, version=ways["pauses"].normaliser)
    alone = score_words(
        [tidy(each.text) for each in examples],
        heard(ways["pauses"], [each.audio for each in examples]),
    )
    rows = [("each utterance by itself, clean", common.percent(alone))]
    numbers: dict[str, Any] = {**common.machine(), "alone": alone.to_dict()}
    for snr_db in asked.snr:
        made = list(programmes(examples, noises, snr_db))
        references = [tidy(words) for _, words in made]
        sources = [(wave, RATE_HZ) for wave, _ in made]
        scores = {}
        for cut, recognizer in ways.items():
            common.note(f"{snr_db:g} dB, cut at {cut}")
            scores[cut] = score_words(references, heard(recognizer, sources))
        change = compare(scores["pauses"], scores["speech"])
        numbers[f"{snr_db:g} dB"] = {cut: score.to_dict() for cut, score in scores.items()}
        rows.append((f"{snr_db:g} dB", f"{sum(len(w) for w, _ in made) / RATE_HZ / 60:.0f} min"))
        rows += [(f"  cut at {cut}", common.percent(score)) for cut, score in scores.items()]
        rows.append(("  difference", f"{change.change:+.2%}, p {change.p_value:.4f}"))
    common.finish("Long recordings", rows, numbers, asked.json)


if __name__ == "__main__":
    main()
