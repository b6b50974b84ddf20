"""What a run or a bundle answers to the examples of a dataset."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from auricle import audio
from auricle.data import Example
from auricle.data import Progress as Counting
from auricle.errors import AuricleError
from auricle.results import Transcript
from auricle.runtime import Recognizer, Source

Pairs = list[tuple[Example, Transcript]]


def answer(model: Path, examples: Sequence[Example], progress: Counting) -> tuple[Pairs, str]:
    """The transcripts that a run folder or bundle gives, and the normaliser it was trained with."""
    if model.is_dir():
        from auricle.tasks import load_trained
        from auricle.train import predictions

        task, network, _ = load_trained(model)
        settings: Any = task.config
        return predictions(task, network, examples, progress=progress), settings.text.normaliser
    recognizer = Recognizer.load(model)
    text = recognizer.engine.bundle.card.settings.get("text", {})
    return recognise(recognizer, examples, progress), text.get("normaliser", "none")


def recognise(
    recognizer: Recognizer,
    examples: Sequence[Example],
    progress: Counting | None = None,
) -> Pairs:
    """Every example through the runtime; the first that cannot be read stops it."""
    pairs: Pairs = []
    rate_hz = recognizer.engine.rate_hz
    stream = recognizer.transcribe_many(sources_of(examples, rate_hz))
    for example, (_, result) in zip(examples, stream, strict=True):
        if isinstance(result, AuricleError):
            raise result
        pairs.append((example, result))
        if progress:
            progress(len(pairs), len(examples))
    return pairs


def sources_of(examples: Sequence[Example], rate_hz: int) -> Iterator[Source]:
    """Whole files by name, stretches of files as samples."""
    for example in examples:
        if not example.start_s and audio.inspect(example.audio).duration_s < example.duration_s + 1:
            yield example.audio
        else:
            duration_s = example.duration_s or None
            yield audio.load(example.audio, rate_hz, start_s=example.start_s, duration_s=duration_s)
