"""What a run or a bundle answers to the examples of a dataset."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from auricle import audio
from auricle.bundle import Bundle
from auricle.classifier import Classifier
from auricle.cli.decoding import AS_IT_IS, Decoding
from auricle.data import Example
from auricle.data import Progress as Counting
from auricle.engine import Source
from auricle.errors import AuricleError, ConfigError
from auricle.runtime import Recognizer
from auricle.segmenter import Segmenter
from auricle.voices import Verifier

Pairs = list[tuple[Example, Any]]


@dataclass(frozen=True)
class Model:
    """A run folder or a bundle, and what it answers with."""

    path: Path
    answer: str
    facts: dict[str, Any]  # the card of its task

    @classmethod
    def read(cls, path: Path) -> "Model":
        """What is at `path`, opened no further than its card."""
        if path.is_dir():
            from auricle.checkpoint import read_state

            state = read_state(path / "best.safetensors")
            return cls(path, str(state.get("answer", "tokens")), state)
        card = Bundle.read(path).card
        return cls(path, card.answer, card.to_dict())


def answer(
    model: Path,
    examples: Sequence[Example],
    progress: Counting,
    decoding: Decoding = AS_IT_IS,
) -> Pairs:
    """The results that a run folder or bundle gives.

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
        # Texts are for scoring: a run could not spell what it did not learn from.
        heard = [replace(example, text=None) for example in examples]
        pairs = predictions(task, network, heard, progress=progress)
        return [(example, result) for example, (_, result) in zip(examples, pairs, strict=True)]
    return recognise(Bundle.read(model), examples, progress, decoding)


def recognise(
    bundle: Bundle,
    examples: Sequence[Example],
    progress: Counting | None = None,
    decoding: Decoding = AS_IT_IS,
) -> Pairs:
    """Every example through the runtime; the first that cannot be read stops it."""
    pairs: Pairs = []
    runner: Classifier | Recognizer | Segmenter | Verifier
    stream: Iterable[tuple[Source, Any]]
    if bundle.card.answer == "labels":
        runner = Classifier.load(bundle)
        stream = runner.classify_many(sources_of(examples, runner.engine.rate_hz))
    elif bundle.card.answer == "segments":
        runner = Segmenter.load(bundle)
        stream = runner.activities(sources_of(examples, runner.engine.rate_hz))
    elif bundle.card.answer == "embedding":
        runner = Verifier.load(bundle)
        stream = runner.embed_many(sources_of(examples, runner.engine.rate_hz))
    else:
        runner = decoding.recognizer(bundle)
        sources = sources_of(examples, runner.engine.rate_hz)
        stream = runner.transcribe_many(sources, **decoding.of(runner))
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
