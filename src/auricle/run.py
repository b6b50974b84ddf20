"""What a training keeps: its folder on disk, and the state that lets it stop and go on exactly.

run/settings.toml      the resolved settings          run/last.safetensors  to go on from
run/environment.json   versions, machine, data        run/best.safetensors  the weights to use
run/log.jsonl          every update and evaluation    run/tensorboard/      the same, as curves
run/train.jsonl, run/valid.jsonl                      the data it was given
"""

import json
import os
import platform
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TextIO

import torch
from torch import Tensor, nn

import auricle
from auricle.checkpoint import (
    check_state,
    load_strictly,
    mean_of,
    optimizer_tensors,
    origin_of,
    read_checkpoint,
    restore_optimizer,
    under_prefix,
    with_prefix,
    write_checkpoint,
)
from auricle.config import merge, to_toml
from auricle.data import Dataset, Example, read_data, write_manifest
from auricle.errors import ConfigError, DataError, brief
from auricle.files import hold, make_folder, write_text


@dataclass
class Counters:
    """Where a training stands: all of it is JSON, all of it is in the checkpoint."""

    step: int = 0
    epoch: int = 0
    position: int = 0  # updates done in this epoch
    minutes: float = 0.0
    evaluated_step: int = -1
    evaluated_epoch: float = 0.0
    evaluated_minute: float = 0.0
    owed: bool = False  # an evaluation that was due, and cut short when asked to stop
    worse: int = 0  # evaluations since the best one
    best: dict[str, float] = field(default_factory=dict)
    began: dict[str, float] = field(default_factory=dict)  # scores of the model it began with
    stopped: str = ""  # why the training ended; "" while it has not


class LossScale:
    """Keeps fp16 gradients in range: halves when one overflows, doubles after 1,000 that do not.

    Micikevicius et al. 2018, "Mixed precision training", section 3.2.
    """

    def __init__(self, enabled: bool) -> None:
        self.enabled = enabled
        self.value = 65_536.0 if enabled else 1.0
        self.good = 0

    def update(self, finite: bool) -> None:
        if not self.enabled:
            return
        self.good = self.good + 1 if finite else 0
        if not finite:
            self.value = max(self.value / 2.0, 1.0)
        elif self.good % 1_000 == 0:
            self.value *= 2.0


class Averager:
    """The weights that are evaluated and kept: a moving average, the mean of the last, or none.

    With a share for the `first` weights, those that the training began with, what is kept lies
    that much of the way back to them (Wortsman et al. 2022, arXiv:2109.01903, WiSE-FT).
    """

    def __init__(
        self, model: nn.Module, kind: str, decay: float, last: int, first: float = 0.0
    ) -> None:
        self.model, self.kind, self.decay, self.share = model, kind, decay, first
        self.mean = _weights(model) if kind == "ema" else {}
        self.first = _weights(model) if first else {}
        self.snapshots: deque[dict[str, Tensor]] = deque(maxlen=last)

    def update(self, step: int) -> None:
        """Move the average; early on it forgets faster, to lose the random start."""
        if self.kind == "ema":
            decay = min(self.decay, (1.0 + step) / (10.0 + step))
            now = self.model.state_dict()
            for name, mean in self.mean.items():
                if mean.is_floating_point():
                    mean.lerp_(now[name], 1.0 - decay)
                else:
                    mean.copy_(now[name])

    def snapshot(self) -> None:
        """Before an evaluation: remember these weights, if the last few are to be averaged."""
        if self.kind == "last":
            self.snapshots.append(_weights(self.model))

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The averaged weights in the model for the length of a `with`."""
        if self.kind == "none" and not self.first:
            yield
            return
        training = _weights(self.model)
        self.model.load_state_dict(self._averaged(training))
        try:
            yield
        finally:
            self.model.load_state_dict(training)

    def _averaged(self, training: dict[str, Tensor]) -> dict[str, Tensor]:
        averaged = self.mean if self.kind == "ema" else training
        if self.kind == "last":
            averaged = mean_of(list(self.snapshots))
        if not self.first:
            return averaged
        return {
            name: t.lerp(self.first[name], self.share) if t.is_floating_point() else t
            for name, t in averaged.items()
        }

    def tensors(self) -> dict[str, Tensor]:
        kept = with_prefix("mean", self.mean) | with_prefix("first", self.first)
        for number, snapshot in enumerate(self.snapshots):
            kept |= with_prefix(f"snapshot{number}", snapshot)
        return kept

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        for name, tensor in under_prefix("mean", tensors).items():
            self.mean[name].copy_(tensor)
        first = under_prefix("first", tensors)
        self.first = {name: self.first[name].copy_(tensor) for name, tensor in first.items()}
        while snapshot := under_prefix(f"snapshot{len(self.snapshots)}", tensors):
            self.snapshots.append(snapshot)
            if len(self.snapshots) == self.snapshots.maxlen:
                break


@dataclass
class TrainingState:
    """All that changes while training. Random numbers are not in it: they are drawn per step."""

    model: nn.Module
    optimizers: dict[str, torch.optim.Optimizer]
    averager: Averager
    scale: LossScale
    counters: Counters
    origin: dict[str, str]  # the model it began with (`Origin.to_dict`); empty: none

    def save(self, path: Path, card: Mapping[str, Any]) -> None:
        tensors = with_prefix("model", self.model.state_dict())
        tensors |= with_prefix("average", self.averager.tensors())
        for name, optimizer in self.optimizers.items():
            tensors |= with_prefix(f"optimizer.{name}", optimizer_tensors(optimizer))
        scale = {"value": self.scale.value, "good": self.scale.good}
        state = {**card, "counters": asdict(self.counters), "scale": scale, "origin": self.origin}
        write_checkpoint(path, tensors, state)

    def restore(self, path: Path, card: Mapping[str, Any], usual: Mapping[str, Any]) -> str:
        """Take everything from the checkpoint at `path`.

        Args:
            card: of the task that is to go on.
            usual: its default settings, for those that an older version did not have.

        Returns:
            why the training had ended; "" if it had not. Under another budget it goes on.

        Raises:
            ConfigError: when it was made with other settings of the model, data or optimizer; a
                larger budget is welcome.
        """
        tensors, state = read_checkpoint(path)
        check_state(path, state, {"settings": dict, "counters": dict, "scale": dict})
        _same_training(path, {**state, "settings": merge(usual, state["settings"])}, card)
        origin = origin_of(path, state)
        if self.origin and origin.get("sha256") != self.origin["sha256"]:
            began = f"with other weights of {origin['name']}" if origin else "with random weights"
            raise ConfigError(
                f"{path.parent} holds a training that began {began}, not with these of "
                f"{self.origin['name']}: choose another --out, or leave out --init to go on"
            )
        self.origin = origin
        load_strictly(self.model, under_prefix("model", tensors), str(path))
        self.averager.restore(under_prefix("average", tensors))
        for name, optimizer in self.optimizers.items():
            restore_optimizer(optimizer, under_prefix(f"optimizer.{name}", tensors))
        vars(self.scale).update(state["scale"])
        vars(self.counters).update(state["counters"])
        ended = self.counters.stopped
        if state["settings"]["budget"] != card["settings"]["budget"]:
            self.counters.stopped = ""
        return ended


class RunFolder:
    """The files of a training. Only the leading process writes."""

    def __init__(self, path: Path, tensorboard: bool, *, writes: bool) -> None:
        self.path, self.writes = path, writes
        self.last, self.best = path / "last.safetensors", path / "best.safetensors"
        self._tensorboard = tensorboard
        self._log: TextIO | None = None
        self._curves: Any = None
        self._held: int | None = None

    def hold(self) -> None:
        """Keep other trainings out of the folder until it is closed.

        Raises:
            DataError: there is one in it.
        """
        if self.writes and self._held is None:
            self._held = hold(self.path, "another training")

    def _open(self) -> TextIO:
        """The log, opened when its first line is due: a refused training leaves no trace."""
        if self._log is None:
            self._log = (self.path / "log.jsonl").open("a", encoding="utf-8")
            if self._tensorboard:
                self._curves = _summary_writer(self.path / "tensorboard")
        return self._log

    def describe(
        self, train: Sequence[Example], valid: Sequence[Example], settings: Mapping[str, Any]
    ) -> None:
        """Write what this training is: settings, data, versions and machine."""
        make_folder(self.path)
        self.hold()
        data = {
            name: {
                "examples": len(examples),
                "hours": round(sum(e.duration_s for e in examples) / 3600.0, 4),
                "fingerprint": fingerprint(examples),
            }
            for name, examples in (("train", train), ("valid", valid))
        }
        machine = {
            "auricle": auricle.__version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
            "system": platform.platform(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        }
        write_text(
            self.path / "environment.json", json.dumps({"data": data, "machine": machine}, indent=2)
        )
        write_text(self.path / "settings.toml", to_toml(settings))
        for name, examples in (("train", train), ("valid", valid)):
            write_manifest(self.path / f"{name}.jsonl", examples)

    def check_data(self, train: Sequence[Example], valid: Sequence[Example]) -> None:
        """Compare today's data with what `describe` wrote.

        Raises:
            ConfigError: it differs; says in what, and what to do.
        """
        try:
            told = json.loads((self.path / "environment.json").read_text(encoding="utf-8"))
            recorded = {name: told["data"][name]["fingerprint"] for name in ("train", "valid")}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"{self.path}: environment.json is gone or damaged ({brief(error)}), so that "
                "nobody can say which data this training was begun with: choose another --out"
            ) from None
        for name, examples in (("train", train), ("valid", valid)):
            if fingerprint(examples) != recorded[name]:
                raise ConfigError(
                    f"{self.path} holds a training that was begun with other {name} data: "
                    f"{_changes(self.path / f'{name}.jsonl', examples)}. Choose another --out to "
                    f"start anew with today's data, or go on with the old: auricle train "
                    f"{self.path / 'train.jsonl'} --valid {self.path / 'valid.jsonl'} ..."
                )

    def log(self, record: Mapping[str, Any]) -> None:
        """Append one line to the log, and its numbers to the curves."""
        if not self.writes:
            return
        log = self._open()
        log.write(json.dumps(record, ensure_ascii=False) + "\n")
        log.flush()
        if self._curves is not None:
            numbers = {**record, **record.get("scores", {})}
            for key, value in numbers.items():
                if isinstance(value, int | float) and key != "step":
                    self._curves.add_scalar(f"{record['kind']}/{key}", value, record["step"])

    def rewind(self, step: int) -> None:
        """Drop the log's lines after `step`: they will be written again."""
        path = self.path / "log.jsonl"
        if not self.writes or not path.exists():
            return
        kept = []
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                record = json.loads(line)
            except json.JSONDecodeError:  # the line that a kill cut short
                continue
            if record.get("step", 0) <= step:
                kept.append(line + "\n")
        write_text(path, "".join(kept))

    def close(self) -> None:
        if self._log is not None:
            self._log.close()
        if self._curves is not None:
            self._curves.close()
        if self._held is not None:
            os.close(self._held)


def fingerprint(examples: Sequence[Example]) -> str:
    """Changes when texts, times or files do; see `Dataset.fingerprint`."""
    return Dataset(tuple(examples), Path()).fingerprint()


def _changes(manifest: Path, examples: Sequence[Example]) -> str:
    """In what the examples differ from those of the manifest, in words."""
    try:
        old = {e.id: e for e in read_data(manifest, what="audio", unreadable="keep").examples}
    except DataError:
        return "what it was is no longer there to compare"
    new = {example.id: example for example in examples}
    same = old.keys() & new.keys()
    counts = {
        "new": len(new.keys() - same),
        "gone": len(old.keys() - same),
        "with another text": sum(old[id_].text != new[id_].text for id_ in same),
    }
    told = [f"{count} {what}" for what, count in counts.items() if count]
    told = told or ["their files, times or order are not the same"]
    return f"of {len(new)} recordings, {', '.join(told)}"


def _weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: t.detach().clone() for name, t in model.state_dict().items()}


# What may differ between a checkpoint and the training that goes on from it.
_FREE = ("budget", "evaluation", "loop")


def _same_training(path: Path, state: Mapping[str, Any], card: Mapping[str, Any]) -> None:
    old, new = dict(state["settings"]), dict(card["settings"])
    changed = [k for k in new if k not in _FREE and old.get(k) != new[k]]
    changed += [k for k in card if k not in ("settings", "chosen") and state.get(k) != card[k]]
    if old["loop"]["seed"] != new["loop"]["seed"]:
        changed.append("loop.seed")
    if changed:
        raise ConfigError(
            f"{path.parent} holds a training with other settings ({', '.join(changed)}): "
            "choose another --out, or the same settings to go on"
        )


def _summary_writer(path: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(path))
