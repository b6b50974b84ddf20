"""fit(): the only training loop. It knows no task, and tasks know no loop.

A task yields losses; the loop does backward, averaging over processes, the not-finite check,
clipping and the step, and then resumes the task's generator. So a task with two networks computes
its second loss after the first network has moved, and the loop never hears of it.
"""

import itertools
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from pydantic import Field
from torch import Tensor, nn

from auricle import batches as batching
from auricle.batches import BatchSettings, Draw
from auricle.checkpoint import write_checkpoint
from auricle.config import Settings
from auricle.data import Example
from auricle.errors import ConfigError, ModelError
from auricle.models.encoders import first_parameters
from auricle.origin import Origin
from auricle.parallel import World, local_device, moved
from auricle.run import Averager, Counters, LossScale, RunFolder, TrainingState

MOST_SKIPPED = 20  # updates in a row without a finite gradient before the training gives up
MOST_EVALUATIONS = 30  # over the whole budget, where the settings do not say when
ASKED = "it was asked to stop"


class BudgetSettings(Settings):
    """When to stop: whatever comes first. The learning rate's schedule ends with the budget."""

    epochs: float | None = Field(None, gt=0)
    steps: int | None = Field(None, ge=1)
    minutes: float | None = Field(None, gt=0)  # of training and evaluation, over all resumptions


class OptimizerSettings(Settings):
    """AdamW (Loshchilov & Hutter 2019) or SGD with Nesterov momentum, warm-up, decay, clipping."""

    kind: Literal["adamw", "sgd"] = "adamw"
    rate: float = Field(1e-3, gt=0)  # learning rate at the top of the schedule
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup_steps: int = Field(300, ge=0)
    final: float = Field(0.01, ge=0, le=1)  # share of `rate` left at the end of the budget
    weight_decay: float = Field(0.01, ge=0)  # on matrices only, not on biases and norms
    momentum: float = Field(0.9, ge=0, lt=1)  # beta1 of AdamW
    beta2: float = Field(0.98, ge=0, lt=1)
    clip: float = Field(5.0, gt=0)  # largest norm of a gradient
    frozen_steps: int = Field(0, ge=0)  # updates that leave the encoder's first layers as they are


class AverageSettings(Settings):
    """Which weights are evaluated and kept."""

    kind: Literal["ema", "last", "none"] = "ema"
    decay: float = Field(0.999, ge=0, lt=1)  # ema: of the moving average
    last: int = Field(5, ge=1)  # last: evaluations whose weights are averaged
    first: float = Field(0.0, ge=0, lt=1)  # --init: share of the weights that it began with


class EvaluationSettings(Settings):
    """When the validation set is scored; by default after an epoch, 30 times at most."""

    every_steps: int | None = Field(None, ge=1)
    every_minutes: float | None = Field(None, gt=0)
    patience: int | None = Field(None, ge=1)  # evaluations without a better score before stopping
    shown: int = Field(3, ge=0)  # examples kept in the log with each evaluation


class LoopSettings(Settings):
    """The machine's side of a training."""

    seed: int = Field(0, ge=0)
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    device: str = "auto"
    accumulate: int = Field(1, ge=1)  # batches per process and update
    checkpoint_minutes: float = Field(5.0, ge=0)  # between checkpoints; 0: after every update
    tensorboard: bool = True


class Config(Protocol):
    """The tables of settings that every task's settings have for the loop."""

    @property
    def batches(self) -> BatchSettings: ...
    @property
    def budget(self) -> BudgetSettings: ...
    @property
    def optimizer(self) -> OptimizerSettings: ...
    @property
    def average(self) -> AverageSettings: ...
    @property
    def evaluation(self) -> EvaluationSettings: ...
    @property
    def loop(self) -> LoopSettings: ...
    def to_dict(self) -> dict[str, Any]: ...


class Task(Protocol):
    """What is special about a task. Tasks satisfy this; nobody inherits it.

    `choose` gives what is learned from the validation set beside the weights, a threshold say; it
    is kept with the best weights, and `card` of the task that they are loaded into holds it.
    """

    goal: tuple[str, Literal["min", "max"]]  # the score that decides which weights are best

    @property
    def config(self) -> Config: ...
    def card(self) -> dict[str, Any]: ...  # all that rebuilds the task: name, settings, tokenizer
    def model(self) -> nn.Module: ...
    def groups(self, model: nn.Module) -> dict[str, nn.Module]: ...  # what each optimizer moves
    def seconds(self, example: Example, draw: Draw) -> float: ...  # how long `draw` makes it
    def batch(self, examples: Sequence[Example], draw: Draw | None = None) -> Any: ...
    def updates(self, model: nn.Module, batch: Any) -> "Iterator[Update]": ...
    def predict(self, model: nn.Module, batch: Any) -> list[Any]: ...
    def score(self, pairs: Sequence[tuple[Example, Any]]) -> dict[str, float]: ...
    def choose(self, pairs: Sequence[tuple[Example, Any]]) -> dict[str, Any]: ...  # see below
    def show(self, example: Example, result: Any) -> dict[str, str]: ...  # one line of the log


Update = tuple[str, Tensor, dict[str, float]]  # (optimizer, loss to descend, numbers to log)


class Observer(Protocol):
    """Who is told what happens: the command line's progress display, a notebook, a test."""

    def resumed(self, record: Mapping[str, Any]) -> None: ...  # once, where a checkpoint was found
    def step(self, record: Mapping[str, Any]) -> None: ...
    def evaluated(self, record: Mapping[str, Any]) -> None: ...


@dataclass(frozen=True)
class Outcome:
    """What a training came to."""

    best: dict[str, float]  # the scores of the weights in best.safetensors
    steps: int
    epochs: int
    minutes: float
    reason: str  # why it stopped
    goes_on: bool  # whether the same call would train further
    began: dict[str, float] = field(default_factory=dict)  # scores of the model it began with


def fit(
    task: Task,
    train: Sequence[Example],
    valid: Sequence[Example],
    out: Path,
    observer: Observer | None = None,
    stop: Callable[[], bool] | None = None,
    origin: Origin | None = None,
) -> Outcome:
    """Train `task` on `train`; keep the weights that score best on `valid`.

    Goes on from `out/last.safetensors` when that exists: on a CPU, a training stopped at any step
    and started again ends with the same weights, bit for bit (unless its budget is in minutes).

    Args:
        out: the run folder: settings, environment, log, `last.safetensors` to go on from and
            `best.safetensors` to use.
        observer: is told of every update and evaluation.
        stop: asked after every update; once it says True, the training is saved and returns.
        origin: begin with these weights instead of random ones. They are scored before the first
            update, so that what is kept is never worse on `valid`. To go on needs no origin; one
            that is given has to be the same.

    Raises:
        ConfigError: no budget, or settings or data that contradict each other or the run folder.
        DataError: the run folder cannot be written to, or another process trains in it.
        ModelError: when the loss stays not finite; names the utterances.
    """
    budget = task.config.budget
    if budget.epochs is None and budget.steps is None and budget.minutes is None:
        raise ConfigError("no budget: say when to stop, e.g. budget.minutes=30 or budget.epochs=20")
    loop = task.config.loop
    device = local_device(loop.device)
    world = World.join(device)
    with closing(RunFolder(out, loop.tensorboard, writes=world.leads)) as folder:
        return _Training(task, train, valid, folder, device, world, observer, stop, origin).run()


class _AskedError(Exception):
    """Carries the wish to stop out of the loops; it never leaves `_Training.run`."""


class _Training:
    """One call of `fit`: what it holds, in the order in which a step uses it."""

    def __init__(
        self,
        task: Task,
        train: Sequence[Example],
        valid: Sequence[Example],
        folder: RunFolder,
        device: torch.device,
        world: World,
        observer: Observer | None,
        stop: Callable[[], bool] | None,
        origin: Origin | None,
    ) -> None:
        self.task, self.config, self.observer, self.stop = task, task.config, observer, stop
        self.train, self.valid = train, valid
        self.folder, self.device, self.world = folder, device, world
        going_on = self.folder.last.exists()
        begun = going_on or (origin is not None and origin.whole)
        loop = self.config.loop
        self.autocast, scaled = _precision(loop.precision, self.device)
        torch.manual_seed(loop.seed)
        model = task.model()
        if origin and not going_on:
            origin.load_into(model)
        self.model = model.to(self.device)
        self.first = first_parameters(self.model)
        self.state = TrainingState(
            self.model,
            {name: _optimizer(part, self.config.optimizer) for name, part in self._groups()},
            _averager(self.model, self.config.average, begun=begun),
            LossScale(enabled=scaled),
            Counters(),
            origin.to_dict() if origin else {},
        )
        if going_on:
            self.folder.hold()
            self.folder.check_data(train, valid)
            usual = type(task.config)().to_dict()
            ended = self.state.restore(self.folder.last, task.card(), usual)
            self.folder.rewind(self.state.counters.step)
            if observer:
                observer.resumed({**asdict(self.state.counters), "ended": ended})
        elif self.world.leads:
            self.folder.describe(train, valid, task.config.to_dict())
        self.clock = time.monotonic() - 60.0 * self.state.counters.minutes
        self.saved_at = time.monotonic()
        self.skipped = 0

    def _groups(self) -> list[tuple[str, nn.Module]]:
        return list(self.task.groups(self.model).items())

    def run(self) -> Outcome:
        counters, asked = self.state.counters, False
        try:
            if counters.owed or (self.state.origin and counters.evaluated_step < 0):
                self._evaluate()
            while not counters.stopped:
                counters.stopped = self._epoch()
            if counters.evaluated_step != counters.step:
                self._evaluate()
        except _AskedError:
            asked = True
        self._save()
        reason = ASKED if asked else counters.stopped
        spent = counters.step, counters.epoch, counters.minutes
        return Outcome(dict(counters.best), *spent, reason, asked, dict(counters.began))

    def _epoch(self) -> str:
        """Train to the end of the current epoch; the reason to stop, or "" to go on."""
        counters, loop = self.state.counters, self.config.loop
        draw = Draw(loop.seed, counters.epoch)
        durations = [self.task.seconds(example, draw) for example in self.train]
        order = batching.plan(durations, self.config.batches, loop.seed, counters.epoch)
        size = loop.accumulate * self.world.size
        updates = len(order) // size  # an incomplete last group waits for another epoch's shuffle
        if updates == 0:
            raise ConfigError(
                f"{len(order)} batches are fewer than the {size} of one update: lower "
                "loop.accumulate, batches.seconds or the number of processes"
            )
        if reason := self._reason_to_stop(updates):  # a smaller budget than what is done
            return reason
        mine = [
            order[k]
            for first in range(counters.position * size, updates * size, size)
            for k in range(first + self.world.rank, first + size, self.world.size)
        ]
        stream = batching.load(
            mine, self.train, lambda chosen: self.task.batch(chosen, draw), self.config.batches
        )
        waited, begun = 0.0, time.monotonic()
        with closing(stream):
            for _ in range(counters.position, updates):
                asked = time.monotonic()
                micro = list(itertools.islice(stream, loop.accumulate))
                waited += time.monotonic() - asked
                progress = self._progress(updates)
                record = self._update(micro, progress)
                counters.step += 1
                counters.position += 1
                counters.minutes = (time.monotonic() - self.clock) / 60.0
                record["waiting"] = waited / max(time.monotonic() - begun, 1e-9)
                self._after(record, updates)
                if reason := self._reason_to_stop(updates):
                    return reason
                self._stop_if_asked()
        counters.epoch += 1
        counters.position = 0
        return ""

    def _progress(self, updates: int) -> float:
        """How much of the budget is used, in [0, 1]."""
        counters = self.state.counters
        epochs = counters.epoch + counters.position / updates
        minutes = (time.monotonic() - self.clock) / 60.0
        return self._share(epochs, counters.step, self.world.agree(minutes, self.device))

    def _share(self, epochs: float, steps: int, minutes: float) -> float:
        """The share of the budget that so much takes, in [0, 1]."""
        budget = self.config.budget
        limits = ((epochs, budget.epochs), (steps, budget.steps), (minutes, budget.minutes))
        used = [done / limit for done, limit in limits if limit is not None]
        return min(max(0.0, *used), 1.0)

    def _reason_to_stop(self, updates: int) -> str:
        patience = self.config.evaluation.patience
        if patience is not None and self.state.counters.worse >= patience:
            return f"no better score in {patience} evaluations"
        return "the budget is used" if self._progress(updates) >= 1.0 else ""

    def _stop_if_asked(self) -> None:
        # Every process has to stop after the same update: the leading one decides.
        asked = self.stop is not None and self.stop()
        if self.stop is not None and self.world.agree(float(asked), self.device):
            raise _AskedError

    def _update(self, micro: list[Any], progress: float) -> dict[str, Any]:
        """One update of every optimizer the task asks for, over this process's micro-batches."""
        self.model.train()
        scale, step = self.state.scale, self.state.counters.step
        rate = learning_rate(self.config.optimizer, step, progress)
        # Dropout is a function of (seed, step, process): going on from a checkpoint repeats it.
        torch.manual_seed((self.config.loop.seed * 1_000_003 + step) * 4_099 + self.world.rank)
        for parameter in self.first:
            parameter.requires_grad_(step >= self.config.optimizer.frozen_steps)
        groups = dict(self._groups())
        generators = [self.task.updates(self.model, moved(batch, self.device)) for batch in micro]
        record: dict[str, Any] = {"rate": rate}
        norms: list[float] = []
        while True:
            total: tuple[Tensor, ...] | None = None
            name = ""
            for generator in generators:
                with self.autocast():
                    update = next(generator, None)
                if update is None:
                    continue
                name, loss, logs = update
                parameters = [p for p in groups[name].parameters() if p.requires_grad]
                found = torch.autograd.grad(loss * scale.value, parameters, allow_unused=True)
                gradients = tuple(
                    torch.zeros_like(p) if g is None else g
                    for p, g in zip(parameters, found, strict=True)
                )
                total = gradients if total is None else torch._foreach_add(total, gradients)
                for key, value in logs.items():
                    record[key] = record.get(key, 0.0) + value / len(micro)
            if total is None:
                break
            parts = self.config.loop.accumulate * self.world.size
            norm = self._step(name, self.world.average(total, parts), rate)
            norms.append(norm)
        finite = [norm for norm in norms if math.isfinite(norm)]
        record["gradient_norm"] = max(finite, default=0.0)
        self._guard(len(finite) == len(norms), micro)
        self.state.averager.update(self.state.counters.step)
        record["audio_s"] = sum(batch.seconds for batch in micro) * self.world.size
        return record

    def _step(self, name: str, gradients: list[Tensor], rate: float) -> float:
        """Clip and apply; the norm before clipping. A gradient that is not finite moves nothing."""
        norm = float(torch.nn.utils.get_total_norm(gradients)) / self.state.scale.value
        self.state.scale.update(math.isfinite(norm))
        if not math.isfinite(norm):
            return norm
        factor = min(1.0, self.config.optimizer.clip / (norm + 1e-6)) / self.state.scale.value
        if factor != 1.0:
            gradients = list(torch._foreach_mul(gradients, factor))
        optimizer = self.state.optimizers[name]
        parameters = [p for g in self._groups() if g[0] == name for p in g[1].parameters()]
        moving = [p for p in parameters if p.requires_grad]
        for parameter, gradient in zip(moving, gradients, strict=True):
            parameter.grad = gradient
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return norm

    def _guard(self, finite: bool, micro: list[Any]) -> None:
        """Name the utterances of an update whose gradient was not finite; stop after many."""
        if finite:
            self.skipped = 0
            return
        self.skipped += 1
        names = [name for batch in micro for name in batch.ids]
        self.folder.log({"kind": "not_finite", "step": self.state.counters.step, "ids": names})
        if self.skipped >= MOST_SKIPPED:
            raise ModelError(
                f"the gradient was not finite in {MOST_SKIPPED} updates in a row, last with "
                f"{', '.join(names[:8])}: lower optimizer.rate, or look at these recordings"
            )

    def _after(self, record: dict[str, Any], updates: int) -> None:
        """Log, evaluate and save what is due after an update."""
        counters = self.state.counters
        record = {
            "kind": "step",
            "step": counters.step,
            "epoch": counters.epoch + counters.position / updates,
            "minutes": counters.minutes,
            "progress": self._progress(updates),
            **record,
        }
        self.folder.log(record)
        if self.observer:
            self.observer.step(record)
        if self._evaluation_is_due(updates, record["progress"]):
            counters.evaluated_epoch = record["epoch"]
            self._evaluate()
        if time.monotonic() - self.saved_at >= 60.0 * self.config.loop.checkpoint_minutes:
            self._save()

    def _evaluation_is_due(self, updates: int, progress: float) -> bool:
        counters, evaluation = self.state.counters, self.config.evaluation
        if evaluation.every_steps is not None:
            return counters.step % evaluation.every_steps == 0
        since = counters.minutes - counters.evaluated_minute
        if evaluation.every_minutes is not None:
            return self.world.agree(since, self.device) >= evaluation.every_minutes
        if counters.position != updates:
            return False
        # A small corpus is through an epoch in seconds: after each, one would only evaluate.
        before = counters.evaluated_epoch, counters.evaluated_step, counters.evaluated_minute
        since = progress - self._share(*before)
        return self.world.agree(since, self.device) >= 1.0 / MOST_EVALUATIONS - 1e-9

    def _evaluate(self) -> None:
        """Score the averaged weights on the validation set; keep them when they are the best.

        When it is asked to stop meanwhile, the evaluation is owed: it is made before going on.
        """
        counters = self.state.counters
        if not counters.owed:
            self.state.averager.snapshot()
        counters.owed = True
        with self.state.averager.applied():
            pairs = predictions(self.task, self.model, self.valid, self.device, self._between)
            scores = self.task.score(pairs)
            if self.state.origin and counters.evaluated_step < 0:
                counters.began = dict(scores)
            metric, direction = self.task.goal
            sign = 1.0 if direction == "min" else -1.0
            loss = sign * (scores[metric] - counters.best.get(metric, math.inf * sign))
            # Where all is wrong yet, WER 100 % and again 100 %, the later weights are the better,
            # but not than those of a model that was trained before.
            best = loss < 0 or (loss == 0 and counters.best != counters.began)
            counters.worse = 0 if loss < 0 else counters.worse + 1
            if best:
                counters.best = dict(scores)
                if self.world.leads:
                    facts = {"chosen": self.task.choose(pairs), "scores": scores}
                    state = {**self.task.card(), **facts, "step": counters.step}
                    state |= {"origin": self.state.origin}
                    write_checkpoint(self.folder.best, self.model.state_dict(), state)
        counters.owed = False
        counters.evaluated_step, counters.evaluated_minute = counters.step, counters.minutes
        # From all over: sorted data begins with one label.
        wanted = self.config.evaluation.shown
        apart = pairs[:: max(1, len(pairs) // max(1, wanted))][:wanted]
        shown = [each for each in (self.task.show(*pair) for pair in apart) if each]
        record = {
            "kind": "evaluation",
            "step": counters.step,
            "minutes": counters.minutes,
            "scores": scores,
            "best": best,
            "examples": shown,
        }
        self.folder.log(record)
        if self.observer:
            self.observer.evaluated(record)

    def _between(self, done: int, of: int) -> None:
        """Between two batches of an evaluation; with several processes none may leave alone."""
        if self.world.size == 1 and done < of:
            self._stop_if_asked()

    def _save(self) -> None:
        self.saved_at = time.monotonic()
        if self.world.leads:
            self.state.save(self.folder.last, self.task.card())


def _averager(model: nn.Module, settings: AverageSettings, *, begun: bool) -> Averager:
    """For a model; whether all of it `begun` with the weights of another, or with its own."""
    first = settings.first if begun else 0.0
    return Averager(model, settings.kind, settings.decay, settings.last, first)


def predictions(
    task: Task,
    model: nn.Module,
    examples: Sequence[Example],
    device: torch.device | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[tuple[Example, Any]]:
    """`(example, result)` for every example, in the order given, in full precision."""
    settings = task.config.batches
    durations = [example.duration_s for example in examples]
    order = batching.plan(durations, settings, seed=0, epoch=0)
    results: dict[int, Any] = {}
    device = device or next(model.parameters()).device
    model.eval()
    with torch.inference_mode():
        stream = batching.load(order, examples, task.batch, settings)
        for indices, batch in zip(order, stream, strict=True):
            answers = task.predict(model, moved(batch, device))
            results.update(zip(indices, answers, strict=True))
            if progress:
                progress(len(results), len(examples))
    return [(example, results[i]) for i, example in enumerate(examples)]


def learning_rate(settings: OptimizerSettings, step: int, progress: float) -> float:
    """Linear warm-up over `warmup_steps`, then the schedule over the share of the budget used."""
    warm = min(1.0, (step + 1) / (settings.warmup_steps + 1))
    falling = {
        "constant": 1.0,
        "linear": 1.0 - progress,
        "cosine": 0.5 * (1.0 + math.cos(math.pi * progress)),
    }[settings.schedule]
    if settings.schedule != "constant":
        falling = settings.final + (1.0 - settings.final) * falling
    return settings.rate * min(warm, falling)


def _optimizer(part: nn.Module, settings: OptimizerSettings) -> torch.optim.Optimizer:
    moving = [p for p in part.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in moving if p.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in moving if p.ndim < 2], "weight_decay": 0.0},
    ]
    if settings.kind == "sgd":
        return torch.optim.SGD(
            groups, settings.rate, settings.momentum, nesterov=settings.momentum > 0
        )
    # Fused, a step of AdamW takes a quarter of the time on a CPU too.
    return torch.optim.AdamW(groups, settings.rate, (settings.momentum, settings.beta2), fused=True)


def _precision(
    wanted: str, device: torch.device
) -> tuple[Callable[[], AbstractContextManager[Any]], bool]:
    """An autocast context for the wanted precision, and whether its losses need scaling."""
    if wanted == "auto":
        wanted = _best_precision(device)
    if wanted == "fp32":
        return nullcontext, False
    dtype = torch.bfloat16 if wanted == "bf16" else torch.float16
    return lambda: torch.autocast(device.type, dtype), wanted == "fp16"


def _best_precision(device: torch.device) -> str:
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="ignore")
    except OSError:
        return "fp32"
    return "bf16" if "amx_bf16" in flags or "avx512_bf16" in flags else "fp32"
