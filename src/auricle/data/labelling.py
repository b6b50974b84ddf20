"""Labels from another key of the manifest: one set of recordings, several questions."""

import dataclasses
from pathlib import Path
from typing import Literal

from auricle.data.example import Dataset, Example
from auricle.data.read import Progress, read_data
from auricle.data.rows import What
from auricle.errors import DataError


def read_for(
    path: str | Path,
    what: What,
    label_key: str | None = None,
    progress: Progress | None = None,
    *,
    unreadable: Literal["raise", "keep"] = "raise",
) -> Dataset:
    """`read_data`, with the labels of every example taken from `label_key` where one is given.

    Args:
        unreadable: as `read_data` has it.

    Raises:
        DataError: an example without that key; names the keys there are.
    """
    if label_key is None:
        return read_data(path, what=what, unreadable=unreadable, progress=progress)
    dataset = read_data(path, what="audio", unreadable=unreadable, progress=progress)
    relabelled = {example.id: _labelled(example, label_key) for example in dataset.examples}
    splits = {
        name: tuple(relabelled[example.id] for example in part)
        for name, part in dataset.splits.items()
    }
    return dataclasses.replace(dataset, examples=tuple(relabelled.values()), splits=splits)


def labelled(path: str | Path, progress: Progress | None = None) -> Dataset | None:
    """The data, if what of it can be read has labels and no text; else None.

    What cannot be read is named in it, or kept, as `read_data` does with "keep".
    """
    try:
        dataset = read_data(path, what="label", unreadable="keep", progress=progress)
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
