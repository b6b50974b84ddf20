"""Labels from another key of the manifest: one set of recordings, several questions."""

import dataclasses
from pathlib import Path

from auricle.data.example import Dataset, Example
from auricle.data.read import Progress, read_data
from auricle.data.rows import What
from auricle.errors import DataError


def read_for(
    path: str | Path, what: What, label_key: str | None = None, progress: Progress | None = None
) -> Dataset:
    """`read_data`, with the labels of every example taken from `label_key` where one is given.

    Raises:
        DataError: an example without that key; names the keys there are.
    """
    if label_key is None:
        return read_data(path, what=what, progress=progress)
    dataset = read_data(path, what="audio", progress=progress)
    relabelled = {example.id: _labelled(example, label_key) for example in dataset.examples}
    splits = {
        name: tuple(relabelled[example.id] for example in part)
        for name, part in dataset.splits.items()
    }
    return dataclasses.replace(dataset, examples=tuple(relabelled.values()), splits=splits)


def labelled(path: str | Path, progress: Progress | None = None) -> Dataset | None:
    """The data, if all of it has labels and none has a text; else None."""
    try:
        dataset = read_data(path, what="label", progress=progress)
    except DataError:
        return None
    return None if any(example.text for example in dataset.examples) else dataset


def _labelled(example: Example, key: str) -> Example:
    value = example.speaker if key == "speaker" else example.extra.get(key)
    if value in (None, ""):
        known = ", ".join(["speaker", *example.extra])
        raise DataError(f"{example.audio}: no {key} to take for a label; its keys are {known}")
    names = value if isinstance(value, list | tuple) else [value]
    return dataclasses.replace(example, labels=tuple(str(name) for name in names))
