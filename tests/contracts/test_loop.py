"""What the only training loop owes every task: exactness, whatever happens around it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from auricle.batches import BatchSettings, Draw
from auricle.checkpoint import read_checkpoint, under_prefix
from auricle.config import Settings
from auricle.data import Example
from auricle.errors import ConfigError, ModelError
from auricle.tasks import TASKS
from auricle.train import (
    MOST_SKIPPED,
    AverageSettings,
    BudgetSettings,
    EvaluationSettings,
    LoopSettings,
    OptimizerSettings,
    Update,
    fit,
)
from toys import TINY, corpus

RATE = 3e-3
# A task's own settings for the test with two processes, mixing and normalisation included.
IN_PARALLEL = {
    "clip": (
        "encoder={kind='residual_wave', channels=[8, 8], stem=8, dropout=0}",
        "mixup=0.3",
        "batches.examples=8",
        "batches.seconds=8",
    )
}


class ToySettings(Settings):
    batches: BatchSettings = BatchSettings(seconds=4, examples=4, workers=0, short_first=False)
    budget: BudgetSettings = BudgetSettings(steps=40)
    optimizer: OptimizerSettings = OptimizerSettings(
        rate=RATE, schedule="constant", warmup_steps=0, clip=1e9, weight_decay=0
    )
    average: AverageSettings = AverageSettings(kind="none")
    evaluation: EvaluationSettings = EvaluationSettings(every_steps=10)
    loop: LoopSettings = LoopSettings(tensorboard=False)


@dataclass
class ToyBatch:
    ids: tuple[str, ...]
    x: Tensor  # (B, 3)
    seconds: float

    def to(self, _device: torch.device) -> "ToyBatch":
        return self


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.maker = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 3))
        self.judge = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))


class TwoNetworks:
    """A maker and a judge against each other: each must have moved before the other looks."""

    goal: ClassVar[Any] = ("distance", "min")

    def __init__(self, config: ToySettings) -> None:
        self.config = config
        self.poison: set[str] = set()

    def card(self) -> dict[str, Any]:
        return {"task": "toy", "settings": self.config.to_dict(), "tokenizer": None}

    def model(self) -> nn.Module:
        return Pair()

    def groups(self, model: Any) -> dict[str, nn.Module]:
        return {"judge": model.judge, "maker": model.maker}

    def seconds(self, example: Example, _draw: Draw) -> float:
        return example.duration_s

    def batch(self, examples: Sequence[Example], _draw: Draw | None = None) -> ToyBatch:
        rows = [example.extra["x"] for example in examples]
        ids = tuple(example.id for example in examples)
        return ToyBatch(ids, torch.tensor(rows, dtype=torch.float32), float(len(rows)))

    def updates(self, model: Any, batch: ToyBatch) -> Iterator[Update]:
        made = model.maker(batch.x)
        judged = model.judge(batch.x).mean() - model.judge(made.detach()).mean()
        loss = judged + sum(p.square().sum() for p in model.judge.parameters())
        if self.poison & set(batch.ids):
            loss = loss * torch.nan
        yield "judge", loss, {"judge": loss.item()}
        loss = model.judge(model.maker(batch.x)).mean()
        yield "maker", loss, {"maker": loss.item()}

    def predict(self, model: Any, batch: ToyBatch) -> list[float]:
        return model.maker(batch.x).square().mean(1).tolist()

    def score(self, pairs: Sequence[tuple[Example, float]]) -> dict[str, float]:
        return {"distance": float(np.mean([value for _, value in pairs]))}

    def choose(self, pairs: Sequence[tuple[Example, float]]) -> dict[str, Any]:
        return {"seen": len(pairs)}

    def show(self, example: Example, result: float) -> dict[str, str]:
        return {"reference": example.id, "hypothesis": str(result)}


def examples(count: int = 16) -> list[Example]:
    rng = np.random.default_rng(1)
    return [
        Example(f"e{n}", Path(f"/nowhere/{n}.wav"), 1.0, extra={"x": rng.normal(size=3).tolist()})
        for n in range(count)
    ]


def toy(**values: Any) -> TwoNetworks:
    return TwoNetworks(ToySettings.parse({**ToySettings().to_dict(), **values}))


def trained(run: Path) -> dict[str, Tensor]:
    return under_prefix("model", read_checkpoint(run / "last.safetensors")[0])


def test_two_networks_move_as_in_a_loop_written_by_hand(tmp_path: Path) -> None:
    task = toy()
    data = examples(4)  # one batch: its order does not matter
    fit(task, data, data, tmp_path / "run")

    torch.manual_seed(0)
    model = task.model()
    batch = task.batch(data)
    options = {"lr": RATE, "betas": (0.9, 0.98), "weight_decay": 0.0}
    optimizers = [
        torch.optim.AdamW(part.parameters(), **options) for part in (model.judge, model.maker)
    ]
    for _ in range(40):
        for (_, loss, _), optimizer in zip(task.updates(model, batch), optimizers, strict=True):
            model.zero_grad()
            loss.backward()
            optimizer.step()
    found = trained(tmp_path / "run")
    for name, wanted in model.state_dict().items():
        torch.testing.assert_close(found[name], wanted, rtol=0, atol=2e-6)


def test_four_small_batches_equal_a_large_one(tmp_path: Path) -> None:
    small = {"seconds": 4, "examples": 4, "workers": 0, "short_first": False}
    data = examples(16)
    fit(
        toy(batches=small, loop={"accumulate": 4, "tensorboard": False}),
        data,
        data,
        tmp_path / "four",
    )
    fit(toy(batches={**small, "seconds": 16, "examples": 16}), data, data, tmp_path / "one")
    one = trained(tmp_path / "one")
    for name, found in trained(tmp_path / "four").items():
        torch.testing.assert_close(found, one[name], rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["none", "ema", "last"])
@pytest.mark.parametrize("stop", [3, 17, 25])
def test_stopped_and_resumed_ends_with_the_same_weights(
    tmp_path: Path, kind: str, stop: int
) -> None:
    data = examples(16)
    average = {"kind": kind}
    fit(toy(average=average), data, data, tmp_path / "unbroken")
    fit(toy(average=average, budget={"steps": stop}), data, data, tmp_path / "broken")
    # A fresh evaluation at the stop would add a snapshot to the mean of the last: not then.
    fit(toy(average=average), data, data, tmp_path / "broken")
    unbroken, broken = (
        read_checkpoint(tmp_path / name / "last.safetensors")[0] for name in ("unbroken", "broken")
    )
    for name in unbroken:
        if not name.startswith("average.snapshot"):
            assert torch.equal(unbroken[name], broken[name]), name


def test_a_run_folder_refuses_another_training(tmp_path: Path) -> None:
    data = examples()
    fit(toy(), data, data, tmp_path)
    with pytest.raises(ConfigError, match=r"other settings \(optimizer\)"):
        fit(toy(optimizer={"rate": 0.5}), data, data, tmp_path)


def test_without_a_budget_it_says_how_to_give_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"budget\.minutes=30"):
        fit(toy(budget={}), examples(), examples(), tmp_path)


def test_gradients_that_are_not_finite_move_nothing_and_are_named(tmp_path: Path) -> None:
    task = toy()
    data = examples(4)
    task.poison = {"e2"}
    with pytest.raises(ModelError, match=rf"in {MOST_SKIPPED} updates in a row.*e2"):
        fit(task, data, data, tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    skipped = [line for line in lines if line["kind"] == "not_finite"]
    assert len(skipped) == MOST_SKIPPED
    assert "e2" in skipped[0]["ids"]


def test_early_stop_and_best_weights(tmp_path: Path) -> None:
    class Worsening(TwoNetworks):
        scores = iter([3.0, 1.0, 2.0, 2.0, 2.0, 0.0])

        def score(self, _pairs: Any) -> dict[str, float]:
            return {"distance": next(self.scores)}

    config = ToySettings.parse(
        {**ToySettings().to_dict(), "evaluation": {"every_steps": 5, "patience": 3}}
    )
    data = examples()
    outcome = fit(Worsening(config), data, data, tmp_path)
    assert (outcome.steps, outcome.best) == (25, {"distance": 1.0})
    assert "no better score in 3 evaluations" in outcome.reason
    state = read_checkpoint(tmp_path / "best.safetensors")[1]
    assert (state["step"], state["chosen"]) == (10, {"seen": len(data)})


def command(manifest: Path, out: Path, *words: str, task: str = "ctc") -> list[str]:
    # The same data validates: what is under test is the loop.
    options = ["train", str(manifest), "--valid", str(manifest), "--out", str(out)]
    options += ["--task", task]
    return ["-m", "auricle", *options, *TINY, *words]


def finish(arguments: list[str]) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def steps_logged(run: Path) -> int:
    log = run / "log.jsonl"
    return log.read_text().count('"kind": "step"') if log.exists() else 0


@pytest.mark.slow
def test_kill_9_in_the_middle_of_an_epoch_changes_nothing(tmp_path: Path) -> None:
    manifest = corpus(tmp_path, 60)
    words = (
        "budget.steps=14",
        "augment.speeds=[0.9, 1.0, 1.1]",
        "augment.time_masks=2",
        "encoder.dropout=0.1",
        "dropout=0.1",
        "loop.checkpoint_minutes=0",
    )
    finish(command(manifest, tmp_path / "unbroken", *words))

    broken = tmp_path / "broken"
    process = subprocess.Popen(
        [sys.executable, *command(manifest, broken, *words)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.DEVNULL,
    )
    while process.poll() is None and steps_logged(broken) < 4:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = steps_logged(broken)
    assert 4 <= before < 14, "it was to be killed in the middle"
    finish(command(manifest, broken, *words))

    (wanted, state), (found, again) = (
        read_checkpoint(tmp_path / name / "last.safetensors") for name in ("unbroken", "broken")
    )
    assert wanted.keys() == found.keys()
    for name in wanted:
        assert torch.equal(wanted[name], found[name]), name
    assert state["counters"]["step"] == again["counters"]["step"] == 14
    assert steps_logged(broken) == 14


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_two_processes_equal_one_with_the_same_batches(tmp_path: Path, task: str) -> None:
    manifest = corpus(tmp_path, 60)
    words = ("budget.steps=5", "optimizer.rate=1e-3", *IN_PARALLEL.get(task, ()))
    finish(command(manifest, tmp_path / "one", *words, "loop.accumulate=2", task=task))
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    finish([*launcher, *command(manifest, tmp_path / "two", *words, task=task)])
    one, two = trained(tmp_path / "one"), trained(tmp_path / "two")
    for name in one:
        torch.testing.assert_close(two[name], one[name], rtol=0, atol=2e-6)
