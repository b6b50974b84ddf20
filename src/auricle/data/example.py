"""Example and Dataset: what every source of recordings is read into."""

import dataclasses
import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Example:
    """One recording, or a stretch of one, with what is known of it."""

    id: str
    """Unique in its dataset; the same on every machine and in every order of reading."""
    audio: Path
    """Absolute."""
    duration_s: float = 0.0
    """Of the stretch; 0 when it is not known."""
    start_s: float = 0.0
    """Where the stretch begins inside the file."""
    text: str | None = None
    speaker: str | None = None
    labels: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=lambda: NOTHING)
    """All further keys of the manifest."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """Examples in the order of their source; its splits, train first, when it names any."""

    examples: tuple[Example, ...]
    source: Path
    splits: Mapping[str, tuple[Example, ...]] = field(default_factory=lambda: NOTHING)
    unusable: tuple[str, ...] = ()
    """What is wrong with lines and recordings that are no examples, if that was to be kept."""
    notes: tuple[str, ...] = ()
    """What was guessed about the source, or not read of it, for people to know."""

    @property
    def duration_s(self) -> float:
        return sum(example.duration_s for example in self.examples)

    def without(self, ids: Collection[str]) -> Self:
        """The dataset less the examples of these ids."""
        splits = {name: _without(part, ids) for name, part in self.splits.items()}
        examples = _without(self.examples, ids)
        return dataclasses.replace(self, examples=examples, splits=splits)

    def untold(self) -> Self:
        """The dataset without its texts, for who does not ask for words."""
        splits = {name: untold(part) for name, part in self.splits.items()}
        return dataclasses.replace(self, examples=untold(self.examples), splits=splits)

    def fingerprint(self) -> str:
        """SHA-256 over ids, texts, labels, times and file sizes: changes when the data does."""
        digest = hashlib.sha256()
        for example in self.examples:
            size_bytes = example.audio.stat().st_size if example.audio.exists() else -1
            times = (round(example.start_s, 3), round(example.duration_s, 3))
            line = (example.id, example.text, example.labels, times, size_bytes)
            digest.update(json.dumps(line).encode())
        return digest.hexdigest()


def untold(examples: Iterable[Example]) -> tuple[Example, ...]:
    """The examples without their texts."""
    return tuple(dataclasses.replace(example, text=None) for example in examples)


def _without(examples: tuple[Example, ...], ids: Collection[str]) -> tuple[Example, ...]:
    return tuple(example for example in examples if example.id not in ids)
