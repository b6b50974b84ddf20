"""The model that a training begins with: found for `auricle train`, remembered for `export`.

A run folder keeps what its model knew of words, `origin.auricle`: a bundle without graph and
weights, but with language model, lexicon, decoding and model card.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from auricle.bundle import LEXICON, LM, SUFFIX, Bundle, find_model, write_bundle
from auricle.config import Settings, resolve
from auricle.data import Example
from auricle.errors import ConfigError, ModelError, listed

KEPT = f"origin{SUFFIX}"


@dataclass(frozen=True)
class Beginning:
    """A trained model, or a training that began with one and is to go on."""

    name: str
    kind: Any  # the class of the task to train
    old: Any  # the task: of the model, or of the training that goes on
    weights: Mapping[str, Any] | None  # of the model; None: it is gone, and not needed to go on
    path: Path | None
    state: Mapping[str, Any] | None  # of the training that goes on

    @property
    def ears(self) -> dict[str, Any]:
        """The settings of front end and encoder, which stay whatever is trained."""
        from auricle.origin import SHARED

        return {name: self.old.config.to_dict()[name] for name in SHARED}

    @property
    def same_task(self) -> bool:
        return self.kind is type(self.old)

    def settings(
        self, train: Sequence[Example], recipe: Path | None, words: Sequence[str], anew: bool
    ) -> Settings:
        """What is trained stays as it was; how, is chosen for this data or as it was begun.

        Raises:
            ConfigError: the recipe or the words ask for another model.
        """
        import torch

        from auricle.origin import SHARED, check_same_model, settings_for

        old: Settings = self.old.config
        if self.state:
            going_on: Settings = resolve(self.kind.settings, recipe, words, **old.to_dict())
            return going_on
        config: Settings = settings_for(
            self.kind, old, train, gpu=torch.cuda.is_available(), recipe=recipe, words=words
        )
        naming = () if anew else self.kind.naming
        tables = (*self.kind.shape, *naming) if self.same_task else SHARED
        check_same_model(self.name, config, old, tables, may_grow=self.same_task)
        return config

    def task(
        self, config: Settings, parts: Mapping[str, Sequence[Example]], anew: bool
    ) -> tuple[Any, Any]:
        """The task to train, and the weights it begins with (None where they are gone)."""
        from auricle.origin import Origin

        if self.state:
            learner = self.kind.from_card({**self.state, "settings": config.to_dict()})
            return learner, Origin(self.name, self.weights, {}) if self.weights else None
        train, valid = parts["train"], parts["valid"]
        if self.same_task:
            learner = self.kind.adapt(config, self.old, train, valid, anew=anew)
        else:
            learner = self.kind.learn(config, train, valid)
        return learner, Origin.between(self.name, self.weights or {}, self.old, learner)

    def changes(self, new: Any) -> str:
        """What becomes of the answers of the last layer, in words."""
        if self.state:
            return f"began with {self.state['origin']['name']}"
        if not self.same_task:
            return f"begins with the encoder of {self.name}; what answers begins at random"
        old = set(self.old.answers)
        added = [answer for answer in new.answers if answer not in old]
        kept = len(new.answers) - len(added)
        told = f"begins with {self.name}: its encoder, and {kept} of {len(new.answers)} answers"
        if added:
            told += f"; new, and so begun at random: {listed(added)}"
        if gone := len(old - set(new.answers)):
            told += f"; {gone} of the model's are dropped"
        return told

    def keep(self, out: Path, learner: Any) -> None:
        """Write what the model knows of words into the run folder `out`."""
        if self.state or self.path is None:  # kept before
            return
        source = self.path / KEPT if self.path.is_dir() else self.path
        if not source.exists():
            return
        bundle = Bundle.read(source)
        same = self.same_task and set(self.old.answers) == set(learner.answers)
        names = [name for name in (LM, LEXICON) if same and name in bundle.card.members]
        # A keyword model may begin with ears for English and hear any language.
        card = bundle.card if self.same_task else bundle.card.model_copy(update={"language": None})
        write_bundle(out / KEPT, card, {name: bundle.member(name) for name in names})


def beginning(init: str | None, out: Path, task: str | None) -> Beginning | None:
    """What a training in `out` begins with, or began with; None: nothing.

    Raises:
        ModelError: the model is not there, has no weights, or is damaged.
        ConfigError: the training that is to go on is of another task.
    """
    from auricle.checkpoint import BEST, check_state, origin_of, read_state
    from auricle.origin import Origin
    from auricle.tasks import load_weights, task_class, task_from_card

    last, state = out / "last.safetensors", None
    if last.exists():
        found = read_state(last)
        origin = origin_of(last, found)
        check_state(last, found, {"task": BEST["task"], "settings": BEST["settings"]})
        if origin:
            state = found
        elif init:
            raise ConfigError(
                f"{out} holds a training that began with random weights: choose another --out to "
                f"begin with {init}, or leave out --init to go on"
            )
    if not init and not state:
        return None
    path = _find(init, going_on=state is not None) if init else None
    found_task, weights = load_weights(path) if path else (None, None)
    old: Any = task_from_card(state) if state else found_task
    name = init or origin["name"]
    if state and task and old.name != task:
        raise ConfigError(f"{out} holds a training for --task {old.name}, not {task}")
    kind = task_class(task or old.name)
    if state and weights and type(found_task) is not kind:
        taken = Origin.between(name, weights, found_task, old).weights
        return Beginning(name, kind, old, taken, path, state)
    return Beginning(name, kind, old, weights, path, state)


def _find(init: str, *, going_on: bool) -> Path | None:
    """Where the model is; a training that goes on can do without."""
    try:
        return find_model(init)
    except ModelError:
        if going_on:
            return None
        raise


def inherited(run: Path) -> Bundle | None:
    """What a run folder keeps of the model that its training began with."""
    return Bundle.read(run / KEPT) if (run / KEPT).exists() else None


def ancestry(state: Mapping[str, Any], begun: Bundle | None) -> str:
    """For the model card of a run: what it began with, and what that model's card says."""
    origin = state.get("origin")
    if not origin:
        return ""
    told = f"\nIt began with the weights of `{origin['name']}` (sha256 {origin['sha256'][:12]}...)"
    if not begun or not begun.card.description.strip():
        return f"{told}.\n"
    quoted = "\n".join(f"> {line}".rstrip() for line in begun.card.description.splitlines())
    return f"{told}, of which its card says:\n\n{quoted}\n"
