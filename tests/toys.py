"""A language of tones: letters are pitches, words are melodies. Made here, learned in seconds."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from auricle import audio
from auricle.data import Example, write_manifest

RATE_HZ = 16_000
LETTER_S, GAP_S, SPACE_S = 0.10, 0.04, 0.12
PITCH_HZ = {letter: 300.0 * 1.5**number for number, letter in enumerate("abcde")}

# Settings under which a tiny recognizer learns the language on one core in seconds.
TINY = (
    "features.mels=20",
    "encoder.kind=conv_lstm",
    "encoder.channels=4",
    "encoder.blocks=0",
    "encoder.dim=32",
    "encoder.hidden=32",
    "encoder.layers=1",
    "encoder.dropout=0",
    "dropout=0",
    "augment.speeds=[1.0]",
    "augment.time_masks=0",
    "augment.frequency_masks=0",
    "batches.seconds=12",
    "batches.workers=1",
    "optimizer.warmup_steps=5",
    "optimizer.rate=1e-2",
    "loop.tensorboard=false",
)


def bundled(task: Any, model: Any, path: Path) -> Path:
    """A bundle of a task's model, exported without long races."""
    from auricle.bundle import Card
    from auricle.export import ExportSettings, export_bundle

    facts = task.card()
    kept = ("task", "answer", "stride", "settings", "labels", "windows")
    known = {key: facts[key] for key in kept if key in facts}
    card = Card(auricle_version="0", features=facts["settings"]["features"], **known)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("auricle.export.TIMED_S", (0.5, 1.0))
        patch.setattr("auricle.export.GATE_S", ((0.7,), (0.4, 0.1)))
        options = ExportSettings(precision="fp32", weights="none")
        return export_bundle(path, model, card, settings=options).path


def say(text: str, rng: np.random.Generator) -> NDArray[np.float32]:
    """The sound of a text, (N,) at 16 kHz, with a little noise and a loudness of its own."""
    pieces = []
    for letter in text:
        seconds = SPACE_S if letter == " " else LETTER_S
        t = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
        tone = np.sin(2 * np.pi * PITCH_HZ[letter] * t) if letter != " " else np.zeros_like(t)
        pieces += [tone * np.hanning(len(t)), np.zeros(round(GAP_S * RATE_HZ))]
    sound = np.concatenate([np.zeros(800), *pieces, np.zeros(800)]) * rng.uniform(0.1, 0.6)
    return (sound + rng.normal(0, 1e-3, len(sound))).astype(np.float32)


def sentence(rng: np.random.Generator) -> str:
    """One to four words of one to four letters."""
    letters = list(PITCH_HZ)
    return " ".join(
        "".join(rng.choice(letters, rng.integers(1, 5))) for _ in range(rng.integers(1, 5))
    )


def corpus(folder: Path, count: int, seed: int = 0, name: str = "data") -> Path:
    """A manifest of `count` recordings by five made-up speakers, written into `folder`."""
    rng = np.random.default_rng(seed)
    sounds = folder / f"{name}_audio"
    sounds.mkdir(parents=True)
    examples = []
    for number in range(count):
        text = sentence(rng)
        path = sounds / f"{number:04}.wav"
        sound = say(text, rng)
        audio.save(path, sound, RATE_HZ)
        examples.append(
            Example(
                id=f"{name}/{number:04}",
                audio=path,
                duration_s=len(sound) / RATE_HZ,
                text=text,
                labels=(text[0],),  # what a clip begins with: one of five
                speaker=f"{name}{number % 5}",
            )
        )
    manifest = folder / f"{name}.jsonl"
    write_manifest(manifest, examples)
    return manifest
