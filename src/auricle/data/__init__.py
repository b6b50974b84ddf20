"""Recordings and what is known of them: read from manifests and folders, parted, written back."""

from auricle.data.example import Dataset, Example, untold
from auricle.data.labelling import labelled, read_for
from auricle.data.manifests import write_manifest
from auricle.data.read import Progress, read_data
from auricle.data.rows import What
from auricle.data.splitting import (
    folds_by,
    in_usual_order,
    split_by_speaker,
    split_name,
    split_unit,
    split_with_labels,
)

__all__ = [
    "Dataset",
    "Example",
    "Progress",
    "What",
    "folds_by",
    "in_usual_order",
    "labelled",
    "read_data",
    "read_for",
    "split_by_speaker",
    "split_name",
    "split_unit",
    "split_with_labels",
    "untold",
    "write_manifest",
]
