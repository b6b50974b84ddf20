"""Fine-tuning: a training that begins with a trained model instead of random weights.

The model gives its weights and all that makes it what it is: front end, encoder, symbols. How the
training goes comes from the new data, and is careful with what was learned before: a lower rate,
some time in which the first layers stay as they are, fewer epochs. The answers may be others, the
labels of other data say: then each row of the last layer that stands for an answer which both have
is kept, and the others begin at random. Even the task may be another one: an encoder that has heard
two hundred people speak knows something of any voice. Then the encoder alone is taken.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from auricle.batches import BatchSettings, plan
from auricle.checkpoint import load_strictly, under_prefix
from auricle.config import Settings, merge, resolve
from auricle.data import Example
from auricle.errors import ConfigError
from auricle.models.widening import KIND, SIZES, widened

# The tables of settings that say how a training goes, not what it trains.
TRAINING = ("augment", "batches", "optimizer", "average", "budget", "evaluation", "loop")
SHARED = ("features", "encoder")  # the settings of what every task's model has: the ears
ENCODER = "encoder"  # its name in every model
COUNTED = "trigrams."  # what is counted in texts, not learned: the new texts count
# Settings of a model that may change without making another one of it: no weight depends on them.
# The last four make a model of whole utterances one of live sound.
LIVE = ("normalise", "running_s", "chunk_ms", "look_ahead_ms")
FREE = frozenset({"dropout", "noise", "lexicon", *LIVE})

GENTLER = 5.0  # times lower is the rate than that of a training from nothing
UPDATES = 1_000  # to aim for, within the limits of the next two
FEWEST_EPOCHS, MOST_EPOCHS = 3, 40
UPDATES_PER_EPOCH = 60  # batches become smaller for that, down to
SMALLEST_BATCH_S = 20.0
FROZEN_SHARE, WARMUP_SHARE = 0.2, 0.1  # of all updates
FIRST_SHARE = 0.25  # of the weights before in those after: less is forgotten


@dataclass(frozen=True)
class Origin:
    """The weights that a training begins with.

    Attributes:
        name: as its user calls it.
        weights: by name, in any precision.
        rows: of the tensors with a row per answer: row of the new model -> row of `weights`.
        part: the module that the weights are of; "": the whole model.
        whole: all of the model begins with them, nothing at random.
    """

    name: str
    weights: Mapping[str, Tensor]
    rows: Mapping[str, Mapping[int, int]]
    part: str = ""
    whole: bool = False

    @classmethod
    def between(cls, name: str, weights: Mapping[str, Tensor], old: Any, new: Any) -> "Origin":
        """What the task `new` takes over of the `weights` of the task `old`."""
        if type(old) is not type(new):
            return cls(name, under_prefix(ENCODER, weights), {}, ENCODER)
        places = {answer: row for row, answer in enumerate(old.answers)}
        rows = {n: places[answer] for n, answer in enumerate(new.answers) if answer in places}
        whole = len(rows) == len(new.answers)
        return cls(name, weights, dict.fromkeys(new.last_layer, rows), whole=whole)

    @cached_property
    def sha256(self) -> str:
        """Of all weights and their names: equal for equal models, wherever they lie."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.weights.items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.contiguous().numpy().tobytes())
        return digest.hexdigest()

    def to_dict(self) -> dict[str, str]:
        """What checkpoints keep of it."""
        return {"name": self.name, "sha256": self.sha256}

    def load_into(self, model: nn.Module) -> None:
        """Replace the random weights of `model`, on the processor.

        Raises:
            ModelError: they are those of another model.
        """
        model = model.get_submodule(self.part)
        given = {n: t for n, t in self.weights.items() if not n.startswith(COUNTED)}
        given |= {n: t for n, t in model.state_dict().items() if n.startswith(COUNTED)}
        if not self.part and _grew(given, model.state_dict()):
            given = widened(given, model.state_dict())
        for name, rows in self.rows.items():
            fresh = model.state_dict()[name].clone()
            if name in given and given[name].shape[1:] == fresh.shape[1:]:
                fresh[list(rows)] = given[name][list(rows.values())].to(fresh.dtype)
                given[name] = fresh
        load_strictly(model, given, self.name)


def settings_for(
    kind: Any,
    old: Settings,
    train: Sequence[Example],
    *,
    gpu: bool = False,
    recipe: Path | None = None,
    words: Iterable[str] = (),
) -> Any:
    """The settings of a training of `kind` that begins with a model which was trained with `old`.

    What the model is stays; of a model for another task, how it hears. How it is trained is chosen
    for this data, then as recipe and words say.
    """
    was = old.to_dict()
    if not isinstance(old, kind.settings):
        picked = merge(kind.settings().to_dict(), kind.suggest(train, gpu))
        was = picked | {name: was[name] for name in SHARED}
    elif "text" in was:  # the model has the pronunciations; that file and the noises may be gone
        was |= {"text": {**was["text"], "lexicon": None}, "silence_share": 0.0}
    base = was | careful(kind, train, gpu)
    chosen = resolve(kind.settings, recipe, words, **base)
    if isinstance(old, kind.settings) and _hears_alike(chosen, old):
        kept = merge(base, {"average": {"first": FIRST_SHARE}})
        chosen = resolve(kind.settings, recipe, words, **kept)
    return chosen


def _hears_alike(config: Settings, old: Settings) -> bool:
    """Whether ears stay what they are: neither grown nor made for live sound."""
    now, was = config.to_dict(), old.to_dict()
    free = FREE.difference(LIVE)
    return not any(any(_differences(name, now[name], was[name], free)) for name in SHARED)


def careful(kind: Any, train: Sequence[Example], gpu: bool) -> dict[str, Any]:
    """How to train on so much data without losing what was learned before."""
    usual, suggested = kind.settings().to_dict(), kind.suggest(train, gpu)
    tables = {name: merge(usual[name], suggested.get(name, {})) for name in TRAINING}
    durations_s = [example.duration_s for example in train]
    least_s = max(sum(durations_s) / UPDATES_PER_EPOCH, SMALLEST_BATCH_S)
    seconds = round(min(tables["batches"]["seconds"], least_s), 1)
    batch = {"seconds": seconds, "short_first": False}
    settings = BatchSettings.parse({**tables["batches"], **batch})
    per_epoch = len(plan(durations_s, settings, seed=0, epoch=0))
    epochs = round(min(max(UPDATES / per_epoch, FEWEST_EPOCHS), MOST_EPOCHS))
    updates = epochs * per_epoch
    changes = {
        "batches": batch,
        "optimizer": {
            "rate": float(f"{tables['optimizer']['rate'] / GENTLER:.3g}"),
            "warmup_steps": round(WARMUP_SHARE * updates),
            "frozen_steps": round(FROZEN_SHARE * updates),
        },
        "budget": {"epochs": epochs},
    }
    return merge(tables, changes)


def _grew(given: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> bool:
    """Whether some layer of the encoder has more units than it was given."""
    return any(n in given and t.shape != given[n].shape for n, t in wanted.items() if ENCODER in n)


def check_same_model(
    name: str, config: Settings, old: Settings, tables: Iterable[str], *, may_grow: bool = False
) -> None:
    """See that nobody asked for another model than the one to begin with.

    Args:
        name: of that model.
        tables: the settings that make it what it is.
        may_grow: whether its layers may be wider (`auricle.models.widening`).

    Raises:
        ConfigError: names each setting that differs.
    """
    now, was = config.to_dict(), old.to_dict()
    changed = [
        f"{key} = {mine} (the model: {before})"
        for table in tables
        for key, mine, before in _differences(table, now[table], was[table])
        if not (may_grow and _grows(key, mine, before, now))
    ]
    if changed:
        raise ConfigError(
            f"{name} is another model than was asked for: {'; '.join(changed[:5])}. Leave these "
            "out to begin with it, or leave out --init to begin from nothing; what concerns "
            "letters or labels alone may change with --new-answers"
        )


def _grows(key: str, mine: Any, before: Any, now: Mapping[str, Any]) -> bool:
    """Whether the setting `key` makes a network wider that can begin with a narrower one."""
    table, _, name = key.rpartition(".")
    return table == ENCODER and now[table]["kind"] == KIND and name in SIZES and mine > before


def _differences(
    key: str, now: Any, was: Any, free: Set[str] = FREE
) -> Iterator[tuple[str, Any, Any]]:
    """Every setting under `key` that changed, but for `free` ones: its name, what it is and was."""
    if isinstance(now, Mapping) and isinstance(was, Mapping):
        if now.get("kind") != was.get("kind"):
            yield f"{key}.kind", now.get("kind"), was.get("kind")
            return
        for name in now:
            yield from _differences(f"{key}.{name}", now[name], was.get(name), free)
    elif now != was and key.rpartition(".")[2] not in free:
        yield key, now, was
