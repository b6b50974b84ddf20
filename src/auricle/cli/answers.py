"""What a run or a bundle answers to the examples of a dataset."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from auricle import audio
from auricle.cli.decoding import AS_IT_IS, Decoding
from auricle.data import Example
from auricle.data import Progress as Counting
from auricle.errors import AuricleError, ConfigError
from auricle.results import Transcript
from auricle.runtime import Recognizer, Source

Pairs = list[tuple[Example, Transcript]]


def answer(
    model: Path, examples: Sequence[Example], progress: Counting, decoding: Decoding
) -> tuple[Pairs, str]:
    """The transcripts that a run folder or bundle gives, and the normaliser it was trained with.

    Raises:
        ConfigError: a run is to decode otherwise than greedily.
    """
    if model.is_dir():
        if decoding.asked and not decoding.greedy:
            raise ConfigError(
                f"{model} is a run, which answers greedily: for a beam, put it into one file first:"
                f" auricle export {model} model.auricle --lm lm.bin"
            )
        from auricle.tasks import load_trained
        from auricle.train import predictions

        task, network, _ = load_trained(model)
        settings: Any = task.config
        return predictions(task, network, examples, progress=progress), settings.text.normaliser
    recognizer = Recognizer.load(model, lm=decoding.model())
    pairs = recognise(recognizer, examples, progress, decoding)
    return pairs, recognizer.normaliser


def recognise(
    recognizer: Recognizer,
    examples: Sequence[Example],
    progress: Counting | None = None,
    decoding: Decoding = AS_IT_IS,
) -> Pairs:
    """Every example through the runtime; the first that cannot be read stops it."""
    pairs: Pairs = []
    sources = sources_of(examples, recognizer.engine.rate_hz)
    stream = recognizer.transcribe_many(sources, **decoding.of(recognizer))
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
