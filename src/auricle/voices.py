"""Voices from a bundle, without torch: enrol a speaker, verify that another recording is theirs.

    verifier = Verifier.load("voices.auricle")
    book = VoiceBook.read(path, verifier.identity)
    book = book.enrolled("anna", [verifier.embed("a.wav"), verifier.embed("b.wav")])
    print(cosine(book.voice("anna"), verifier.embed("claim.wav")))

A voice is a direction: recordings become vectors of length 1, and their cosine is the score.
"""

import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
from pydantic import Field

from auricle.bundle import Bundle
from auricle.classifier import WindowSettings, windows
from auricle.config import Settings
from auricle.engine import BATCH, Engine, Float32, Heard, Progress, Source
from auricle.errors import AuricleError, ConfigError, DataError, ModelError
from auricle.files import regular, write_text
from auricle.results import Embedding

MOST_BYTES = 64 << 20  # of a book: some 50,000 voices


class VoiceSettings(Settings):
    """How recordings are heard, and from which score two are of one speaker."""

    window: WindowSettings = WindowSettings(window_s=3.0, hop_s=1.5)
    threshold: float = Field(0.5, ge=-1, le=1)  # chosen on the validation set


class Verifier:
    """Sound to embeddings from a bundle whose answer is an embedding.

    Raises:
        ModelError: for a bundle that is damaged or answers something else.
    """

    def __init__(self, engine: Engine) -> None:
        card = engine.card_for("embedding")
        self.engine = engine
        try:
            self.settings = VoiceSettings.parse(card.windows, "windows")
        except ConfigError as error:
            raise ModelError(f"{engine.bundle.path}: {error}") from None

    @classmethod
    def load(cls, source: str | os.PathLike[str] | Bundle, *, threads: int | None = None) -> Self:
        """The verifier of a bundle, a file or one that was read."""
        return cls(Engine.load(source, threads))

    @property
    def identity(self) -> str:
        """What tells this model from others: voices of two models cannot be compared."""
        return next(m.sha256 for m in self.engine.bundle.card.members.values())

    def embed(self, source: Source) -> Embedding:
        """The voice of a recording of any length.

        Raises:
            DataError: when the recording cannot be read, or is too short.
        """
        ((_, answer),) = self.embed_many([source])
        if isinstance(answer, AuricleError):
            raise answer
        return answer

    def embed_many(
        self, sources: Iterable[Source], *, batch: int = BATCH, progress: Progress | None = None
    ) -> Iterator[tuple[Source, Embedding | AuricleError]]:
        """Each recording with its embedding, or with the error that kept it from having one."""
        window = self.settings.window
        cut = partial(windows, window_s=window.window_s, hop_s=window.hop_s)
        stream = self.engine.answer_many(
            sources, _directions, cut=cut, batch=batch, progress=progress
        )
        for heard in stream:
            yield heard.source, heard.error or _embedding(heard)


def _directions(outputs: Sequence[Float32]) -> list[Float32]:
    """(1, E) each -> (E,)."""
    return [each[0] for each in outputs]


def _embedding(heard: Heard[Float32]) -> Embedding | DataError:
    if not heard.parts:
        name = "the samples" if isinstance(heard.source, tuple) else heard.source
        return DataError(f"{name}: {heard.duration_s:.3f} s, too short to be heard")
    return Embedding.mean([part.value.tolist() for part in heard.parts], heard.duration_s)


@dataclass(frozen=True)
class VoiceBook:
    """The enrolled voices of one model, and the JSON file that keeps them."""

    path: Path
    model: str  # identity of the model
    voices: Mapping[str, Embedding] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path, model: str) -> Self:
        """The book at `path`, empty where there is none yet.

        Raises:
            DataError: it is damaged, or was made with another model.
        """
        if not path.exists():
            return cls(path, model)
        try:
            if path.stat().st_size > MOST_BYTES:
                raise ValueError("too large")
            values = json.loads(regular(path).read_text(encoding="utf-8"))
            book = values["model"], values["voices"]
            voices = {str(name): _checked(vector) for name, vector in dict(book[1]).items()}
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise DataError(f"{path}: not a book of voices ({error}): enrol anew") from None
        if book[0] != model:
            raise DataError(f"{path}: its voices were enrolled with another model: enrol anew")
        return cls(path, model, voices)

    def enrolled(self, name: str, recordings: Sequence[Embedding]) -> "VoiceBook":
        """The book with a voice more, or in the place of one of that name; written to its file."""
        seconds = sum(each.duration_s for each in recordings)
        voice = Embedding.mean([each.values for each in recordings], seconds)
        book = VoiceBook(self.path, self.model, {**self.voices, name: voice})
        voices = {name: each.to_dict() for name, each in sorted(book.voices.items())}
        write_text(self.path, json.dumps({"model": self.model, "voices": voices}) + "\n")
        return book

    def voice(self, name: str) -> Embedding:
        """An enrolled voice.

        Raises:
            DataError: nobody of that name is enrolled.
        """
        if name not in self.voices:
            known = ", ".join(sorted(self.voices)[:10]) or "nobody"
            raise DataError(f"{self.path}: {name} is not enrolled; there is {known}")
        return self.voices[name]


def _checked(value: Any) -> Embedding:
    vector = Embedding.from_dict(value)
    if not vector.values or not all(math.isfinite(each) for each in vector.values):
        raise ValueError("a voice is no vector of numbers")
    return vector


def cosine(first: Embedding, second: Embedding) -> float:
    """How alike two voices are, -1 to 1.

    Raises:
        DataError: they are of different models.
    """
    if len(first.values) != len(second.values):
        raise DataError(f"voices of {len(first.values)} and {len(second.values)} numbers")
    return float(np.dot(first.values, second.values))
