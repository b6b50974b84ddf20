"""The models of a server, and how a file is heard: piece by piece, in threads, together."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Self, TypeVar

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from fastapi import HTTPException

from auricle import audio
from auricle.bundle import Bundle, Card, find_model
from auricle.classifier import Classifier
from auricle.decode import assemble
from auricle.engine import CHUNK_S, Engine, Source, at_pauses
from auricle.errors import AuricleError, brief
from auricle.results import Transcript, Word
from auricle.runtime import Recognizer
from auricle.serve.batching import Batching
from auricle.serve.labelling import Labeller
from auricle.serve.metrics import Gauge, Metrics
from auricle.serve.refusals import refusal
from auricle.serve.settings import ServeSettings
from auricle.serve.sharing import share_graph, share_search

VALUES_A_S = 192_000  # samples * channels a second: 96 kHz in stereo; more is to tire us out
T = TypeVar("T")
M = TypeVar("M")


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a recording and the words in it, by the recording's clock."""

    start_s: float
    end_s: float
    words: tuple[Word, ...]

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what `dataclasses.asdict` wrote."""
        words = tuple(Word(**word) for word in values["words"])
        return cls(values["start_s"], values["end_s"], words)


@dataclass(frozen=True)
class Ear:
    """One model."""

    name: str
    recognizer: Recognizer
    batch: int

    @property
    def rate_hz(self) -> int:
        """Of the sound that it hears."""
        return self.recognizer.engine.rate_hz

    @property
    def language(self) -> str | None:
        """The language that it knows, as ISO 639-1."""
        return self.recognizer.engine.bundle.card.language

    def pieces(
        self,
        path: Path,
        longest_s: float,
        hotwords: Sequence[str] = (),
        *,
        batch: int | None = None,
        after_s: float = 0.0,
    ) -> Iterator[Piece]:
        """A file's pieces, in order, as they are heard; together they are its transcript.

        Args:
            longest_s: most of the file that is read.
            hotwords: likelier here than elsewhere.
            batch: pieces decoded together: the fewer, the sooner the first one comes.
            after_s: what was heard before: pieces that begin earlier are cut, but not heard.

        Raises:
            DataError: when the file cannot be read, also in the middle.
            ConfigError: for hotwords that the model cannot spell.
        """
        starts_s: deque[float] = deque()
        heard_s = after_s

        def sources() -> Iterator[Source]:
            chunks = audio.chunks(path, CHUNK_S, self.rate_hz, duration_s=longest_s)
            for start_s, samples in self.recognizer.cut(chunks, self.rate_hz):
                if start_s > after_s - 0.5 / self.rate_hz:  # an end and a start of one sample
                    starts_s.append(start_s)
                    if len(samples):
                        yield samples, self.rate_hz

        many = self.recognizer.transcribe_many(
            sources(), batch=batch or self.batch, hotwords=hotwords, cut=at_pauses
        )
        for _, heard in many:
            if isinstance(heard, AuricleError):
                raise heard
            start_s = starts_s.popleft()
            words = tuple(word.shifted(start_s) for word in heard.words)
            heard_s = start_s + heard.duration_s
            yield Piece(start_s, heard_s, words)
        for end_s in starts_s:  # of the recording: what lies between has no words
            if end_s > heard_s:
                yield Piece(heard_s, end_s, ())

    def transcript(self, pieces: list[Piece]) -> Transcript:
        """What the pieces of a whole recording make."""
        words = (word for piece in pieces for word in piece.words)
        return assemble(words, pieces[-1].end_s if pieces else 0.0, self.language)


def check_length(path: Path, longest_s: float) -> float:
    """The duration of a recording in seconds, by its header or by bounded counting.

    Raises:
        HTTPException: 413 when it is longer than allowed, or dense beyond any use.
        DataError: it cannot be read.
    """
    most_values = longest_s * VALUES_A_S
    info = audio.inspect(path, most_values=most_values)
    if info.duration_s > longest_s or info.samples * info.channels >= most_values:
        raise refusal(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"the recording lasts {info.duration_s:.0f} s ({info.channels} channels at"
            f" {info.sample_rate_hz} Hz); {longest_s:.0f} s are allowed: cut it, or use /v1/jobs",
            code="recording_too_long",
            param="file",
        )
    return info.duration_s


class Ears:
    """All models of a server, with the threads that they are heard in.

    Raises:
        ModelError: a bundle is missing, damaged, or answers something else.
    """

    def __init__(self, settings: ServeSettings, metrics: Metrics) -> None:
        self._threads = CapacityLimiter(settings.running)
        self._batchings: list[Batching[Any]] = []
        self._models: dict[str, Ear | Labeller] = {}
        for name, source in settings.models.items():
            engine = Engine(Bundle.read(find_model(source)), threads=settings.threads)
            self._models[name] = model = _model(name, engine, settings.batch)
            if settings.batching:
                self._batchings.append(share_graph(engine, settings, metrics))
                if isinstance(model, Ear):
                    self._batchings.append(share_search(model.recognizer, metrics))
        metrics.gauges.append(
            Gauge(
                "auricle_waiting_pieces",
                "Pieces that wait for a run of the graph or of the search.",
                lambda: sum(each.waiting for each in self._batchings),
            )
        )

    @property
    def models(self) -> Mapping[str, Card]:
        """By the names that requests use, what each of them is."""
        return {name: _card(model) for name, model in self._models.items()}

    def card(self, name: str) -> Card:
        """What the model of this name is.

        Raises:
            HTTPException: 404, with the names there are.
        """
        if name not in self._models:
            raise _no_such(name, ", ".join(self._models))
        return _card(self._models[name])

    def named(self, name: str) -> Ear:
        """The recognizer of this name; the first one where none is named.

        Raises:
            HTTPException: 404, with the names there are; 400 for a model of another kind.
        """
        return self._found(name, Ear)

    def labeller(self, name: str) -> Labeller:
        """As `named`, a model that answers with labels."""
        return self._found(name, Labeller)

    def _found(self, name: str, kind: type[M]) -> M:
        known = [each for each, model in self._models.items() if isinstance(model, kind)]
        model = self._models.get(name or next(iter(known), ""))
        if isinstance(model, kind):
            return model
        there = ", ".join(known) or "none that answers so"
        if model is None:
            raise _no_such(name, there)
        raise refusal(
            HTTPStatus.BAD_REQUEST,
            f"{name} answers with {_card(model).answer}, which this route does not give; there is"
            f" {there}",
            code="wrong_model",
            param="model",
        )

    async def run(self, work: Callable[[], T]) -> T:
        """Something that takes a while, in one of the threads."""
        return await run_sync(work, limiter=self._threads)

    async def each(self, heard: Iterator[T]) -> AsyncGenerator[T]:
        """What comes one after the other, for the event loop, which may cancel it in between."""
        try:
            while (piece := await self.run(lambda: next(heard, None))) is not None:
                yield piece
        finally:
            await asyncio.shield(self.run(lambda: _close(heard)))

    async def transcript(
        self, ear: Ear, heard: Iterator[Piece], gone: Callable[[], Awaitable[bool]]
    ) -> Transcript:
        """The transcript that an ear's pieces of a file make.

        Args:
            gone: asked between pieces whether nobody waits for it any more.

        Raises:
            DataError: when it cannot be read.
            HTTPException: 499 when nobody waits.
        """
        known: list[Piece] = []
        async with aclosing(self.each(heard)) as pieces:
            async for piece in pieces:
                known.append(piece)
                if await gone():
                    raise refusal(499, "the client left")
        return ear.transcript(known)

    def close(self) -> None:
        """End the runners, once what they have is answered."""
        for each in self._batchings:
            each.close()


def _model(name: str, engine: Engine, batch: int) -> Ear | Labeller:
    """What a bundle is to a server, by what it answers with."""
    if engine.bundle.card.answer == "labels":
        return Labeller(name, Classifier(engine), batch)
    return Ear(name, Recognizer(engine), batch)


def _card(model: Ear | Labeller) -> Card:
    engine = model.recognizer.engine if isinstance(model, Ear) else model.classifier.engine
    return engine.bundle.card


def _no_such(name: str, known: str) -> HTTPException:
    message = f"no model is called {brief(name)}; there is {known}"
    return refusal(HTTPStatus.NOT_FOUND, message, code="model_not_found", param="model")


def _close(pieces: Iterator[Any]) -> None:
    close = getattr(pieces, "close", None)
    if close:
        close()
