"""Splits: the names that sources give them, and our own by speaker when a source names none."""

import hashlib
import re
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Literal

from auricle.data.example import Example
from auricle.errors import ConfigError, listed

MOST_FOLDS = 50  # that anyone would train
SPLITS_TRIED = 30  # for one that lacks no label
DEFAULT_FRACTIONS: Mapping[str, float] = {"train": 0.9, "valid": 0.05, "test": 0.05}

_NAMES = {"train": "train", "training": "train", "test": "test", "testing": "test"}
_NAMES |= dict.fromkeys(("valid", "validation", "val", "dev"), "valid")
_SPLIT_NAME = re.compile(rf"({'|'.join(sorted(_NAMES, key=len, reverse=True))})([-_.].*)?", re.I)


def split_name(name: str) -> str | None:
    """`train-clean-5` -> train, `dev` -> valid, `test-other` -> test_other, `cats` -> None.

    All of the training data is one split, and so is what models are chosen on; every test set keeps
    its name, because each is reported by itself.
    """
    match = _SPLIT_NAME.fullmatch(name)
    if not match:
        return None
    split, suffix = _NAMES[match[1].lower()], match[2] or ""
    return split + re.sub(r"\W", "_", suffix) if split == "test" else split


def in_usual_order(splits: Iterable[str]) -> list[str]:
    """Train, valid, then the others by name."""
    return sorted(splits, key=lambda name: (name != "train", name != "valid", name))


def split_unit(examples: Sequence[Example], splits: int) -> Literal["speaker", "file"]:
    """What `split_by_speaker` keeps together: speakers if there are enough of them, else files."""
    speakers = {example.speaker for example in examples} - {None}
    return "speaker" if len(speakers) >= splits else "file"


def split_by_speaker(
    examples: Sequence[Example],
    fractions: Mapping[str, float] = DEFAULT_FRACTIONS,
    seed: int = 0,
) -> dict[str, tuple[Example, ...]]:
    """Part the examples into splits so that no speaker is in two of them.

    Where speakers are unknown, or fewer than the splits (`split_unit` tells), the files are parted
    instead. The choice depends on the seed and on names only, not on order or machine.

    Args:
        fractions: share of the duration wanted for each split; the largest takes what is left, so
            `{"valid": 0.05}` leaves the rest for `train`.

    Returns:
        the splits in the order of `fractions`, each in the order of `examples`; none is empty.

    Raises:
        ConfigError: when the fractions are no shares, or there are fewer groups than splits.
    """
    fractions = dict(fractions)
    shares = tuple(fractions.values())
    if not all(0 < share < 1 for share in shares) or sum(shares) > 1 + 1e-6:
        raise ConfigError(f"split fractions {shares}: each needs to be in 0..1, their sum up to 1")
    fractions.setdefault("train", 1 - sum(shares))
    by_speaker = split_unit(examples, len(fractions)) == "speaker"
    groups: dict[Hashable, float] = {}
    for example in examples:
        group = _group(example, by_speaker)
        groups[group] = groups.get(group, 0.0) + (example.duration_s or 1.0)
    if len(groups) < len(fractions):
        raise ConfigError(f"{len(groups)} recordings cannot be parted into {len(fractions)} splits")
    chosen = _assign(groups, fractions, seed)
    return {
        name: tuple(e for e in examples if chosen[_group(e, by_speaker)] == name)
        for name in fractions
    }


def split_with_labels(
    examples: Sequence[Example], fractions: Mapping[str, float], seed: int = 0
) -> dict[str, tuple[Example, ...]]:
    """`split_by_speaker`, such that as few labels as can be are missing in a split.

    None in the first place from `train`: of a label with one recording, that is where it has to be.
    Without labels it is `split_by_speaker`.
    """
    every = {name for example in examples for name in example.labels}

    def lacking(parts: Mapping[str, Sequence[Example]]) -> tuple[int, int]:
        found = {name: {n for e in part for n in e.labels} for name, part in parts.items()}
        return len(every - found["train"]), sum(len(every - names) for names in found.values())

    first = seed * SPLITS_TRIED
    best = split_by_speaker(examples, fractions, first)
    least = lacking(best)
    for further in range(first + 1, first + SPLITS_TRIED):
        if not any(least):
            break
        parts = split_by_speaker(examples, fractions, further)
        if (lacked := lacking(parts)) < least:
            best, least = parts, lacked
    return best


def _group(example: Example, by_speaker: bool) -> Hashable:
    # Stretches of one file stay together; a nameless speaker is taken for one of their own.
    if by_speaker and example.speaker is not None:
        return ("speaker", example.speaker)
    return ("file", example.id.partition("@")[0])


def _assign(
    groups: Mapping[Hashable, float], fractions: Mapping[str, float], seed: int
) -> dict[Hashable, str]:
    """Fill the small splits with groups in hashed order, none that overshoots; the rest is left."""

    def shuffled(group: Hashable) -> bytes:
        return hashlib.sha256(repr((seed, group)).encode()).digest()

    left = sorted(groups, key=shuffled)
    names = sorted(fractions, key=lambda name: fractions[name])
    total_s = sum(groups.values())
    chosen: dict[Hashable, str] = {}
    for name in names[:-1]:
        wanted_s = fractions[name] * total_s
        taken_s, taken = 0.0, []
        for group in left:
            if taken_s + groups[group] <= 1.2 * wanted_s:
                taken.append(group)
                taken_s += groups[group]
        taken = taken or [min(left, key=lambda group: (groups[group], shuffled(group)))]
        chosen |= dict.fromkeys(taken, name)
        left = [group for group in left if group not in chosen]
    return chosen | dict.fromkeys(left, names[-1])


def folds_by(
    key: str, values: Sequence[str], examples: Sequence[Example], folds: int | None = None
) -> dict[str, tuple[Example, ...]]:
    """Part the examples by their values of a key; with `folds`, values are joined to even ones.

    Args:
        key: for messages.
        values: of the key, one for each example.

    Returns:
        each fold, in the order of `examples`, under its value, or its number.

    Raises:
        ConfigError: fewer values than folds, or more folds than anyone would train.
    """
    groups: dict[str, list[Example]] = {value: [] for value in sorted(set(values))}
    if len(groups) < (folds or 2):
        raise ConfigError(
            f"too few for {folds or 2} folds: of {key} there is {listed(sorted(groups))} alone"
        )
    if not folds and len(groups) > MOST_FOLDS:
        raise ConfigError(f"{key} has {len(groups)} values: join them with --folds 10, say")
    pairs = list(zip(examples, values, strict=True))
    for example, value in pairs:
        groups[value].append(example)
    fold_of = _evened(groups, folds) if folds else {value: value for value in groups}
    return {
        fold: tuple(example for example, value in pairs if fold_of[value] == fold)
        for fold in sorted(set(fold_of.values()))
    }


def _evened(groups: Mapping[str, Sequence[Example]], folds: int) -> dict[str, str]:
    """Which fold each group goes to, so that each fold has about as much of every label.

    Dealt out in their order, actors of whom every other one is a woman would make folds of women
    only. The group whose labels weigh most goes first, to where they are rarest. Which of equals
    that is depends on names only, not on their order.
    """
    counts = {
        value: Counter(name for example in part for name in example.labels)
        for value, part in groups.items()
    }
    held: list[Counter[str]] = [Counter() for _ in range(folds)]
    sizes = [0] * folds

    def heaviest(value: str) -> tuple[int, bytes]:
        hashed = hashlib.sha256(value.encode()).digest()
        return -max(counts[value].values(), default=0), hashed

    def alike(fold: int, labels: Counter[str]) -> int:
        return sum(held[fold][name] * count for name, count in labels.items())

    chosen = {}
    for value in sorted(groups, key=heaviest):
        crowded = [(alike(fold, counts[value]), sizes[fold], fold) for fold in range(folds)]
        fold = min(crowded)[2]
        chosen[value] = str(fold)
        held[fold] += counts[value]
        sizes[fold] += len(groups[value])
    return chosen
