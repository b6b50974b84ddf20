"""What the only training loop owes every task: exactness, whatever happens around it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from auricle import files
from auricle.batches import BatchSettings, Draw
from auricle.checkpoint import read_checkpoint, under_prefix
from auricle.config import Settings
from auricle.data import Example
from auricle.errors import ConfigError, DataError, ModelError
from auricle.tasks import TASKS
from auricle.train import (
    ASKED,
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


def told(folder: Path, train: list[Example], valid: list[Example]) -> str:
    with pytest.raises(ConfigError) as error:
        fit(toy(), train, valid, folder)
    return str(error.value)


def test_a_run_folder_refuses_other_data(tmp_path: Path) -> None:
    data = examples()
    fit(toy(budget={"steps": 4}), data, data[:4], tmp_path)
    other = [replace(data[0], text="other"), *data[2:], replace(data[1], id="new")]
    said = told(tmp_path, other, data[:4])
    assert "begun with other train data: of 16 recordings" in said
    assert "1 new, 1 gone, 1 with another text" in said
    assert f"{tmp_path / 'train.jsonl'} --valid {tmp_path / 'valid.jsonl'}" in said
    assert "other valid data: of 5 recordings, 1 new" in told(tmp_path, data, data[:5])
    shorter = [replace(data[0], duration_s=0.5), *data[1:]]
    assert "their files, times or order are not the same" in told(tmp_path, shorter, data[:4])
    (tmp_path / "environment.json").unlink()
    assert "environment.json is gone or damaged" in told(tmp_path, data, data[:4])


class Asking:
    """Asks to stop at the `at`-th question, once."""

    def __init__(self, at: int) -> None:
        self.left = at

    def __call__(self) -> bool:
        self.left -= 1
        return self.left == 0


class Heard:
    """Keeps what an observer is told."""

    def __init__(self) -> None:
        self.resumptions: list[Any] = []
        self.steps: list[int] = []
        self.evaluations: list[int] = []

    def resumed(self, record: Any) -> None:
        self.resumptions.append(record)

    def step(self, record: Any) -> None:
        self.steps.append(record["step"])

    def evaluated(self, record: Any) -> None:
        self.evaluations.append(record["step"])


@pytest.mark.parametrize("kind", ["none", "ema", "last"])
@pytest.mark.parametrize("at", [3, 11, 12, 21, 50])
def test_asked_to_stop_it_saves_and_goes_on_exactly(tmp_path: Path, kind: str, at: int) -> None:
    """Asked after an update, in the middle of an evaluation (three of its batches), in the last."""
    data = examples(16)
    task = toy(average={"kind": kind})
    unbroken, before, after = Heard(), Heard(), Heard()
    wanted = fit(task, data, data, tmp_path / "unbroken", unbroken)
    asked = fit(task, data, data, tmp_path / "broken", before, Asking(at))
    assert (asked.goes_on, asked.reason) == (True, ASKED)
    assert asked.steps == before.steps[-1] < 40 or at == 50
    done = fit(task, data, data, tmp_path / "broken", after)
    assert [record["step"] for record in after.resumptions] == [asked.steps]
    assert (done.goes_on, done.reason, done.best) == (False, wanted.reason, wanted.best)
    assert before.steps + after.steps == unbroken.steps
    assert before.evaluations + after.evaluations == unbroken.evaluations
    for name in ("last", "best"):
        tensors, again = (
            read_checkpoint(tmp_path / run / f"{name}.safetensors")[0]
            for run in ("unbroken", "broken")
        )
        assert tensors.keys() == again.keys()
        assert all(torch.equal(tensors[key], again[key]) for key in tensors)


def test_a_finished_training_says_so_and_does_nothing(tmp_path: Path) -> None:
    data, heard = examples(16), Heard()
    first = fit(toy(), data, data, tmp_path)
    assert fit(toy(), data, data, tmp_path, heard) == first
    smaller = fit(toy(budget={"steps": 20}), data, data, tmp_path, heard)
    assert smaller == first
    larger = fit(toy(budget={"steps": 44}), data, data, tmp_path, heard)
    assert (larger.steps, heard.steps) == (44, [41, 42, 43, 44])
    stopped = [(record["ended"], record["stopped"]) for record in heard.resumptions]
    assert stopped == [(first.reason, first.reason), (first.reason, ""), (first.reason, "")]


def test_small_data_is_not_evaluated_after_every_epoch(tmp_path: Path) -> None:
    data, heard = examples(4), Heard()  # one update is an epoch
    fit(toy(evaluation={}, budget={"steps": 200}), data, data, tmp_path / "small", heard)
    assert len(heard.evaluations) == 29  # 1/30 of 200 updates is a little more than 6
    assert {b - a for a, b in pairwise(heard.evaluations[:-1])} == {7}
    data, heard = examples(16), Heard()
    fit(toy(evaluation={}, budget={"epochs": 3}), data, data, tmp_path / "large", heard)
    assert heard.evaluations == [4, 8, 12]


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
        scores = iter([3.0, 1.0, 1.0, 2.0, 2.0, 0.0])

        def score(self, _pairs: Any) -> dict[str, float]:
            return {"distance": next(self.scores)}

    config = ToySettings.parse(
        {**ToySettings().to_dict(), "evaluation": {"every_steps": 5, "patience": 3}}
    )
    data = examples()
    outcome = fit(Worsening(config), data, data, tmp_path)
    assert (outcome.steps, outcome.best) == (25, {"distance": 1.0})
    assert "no better score in 3 evaluations" in outcome.reason
    # As good as the best is no better, but trained for longer.
    state = read_checkpoint(tmp_path / "best.safetensors")[1]
    assert (state["step"], state["chosen"]) == (15, {"seen": len(data)})


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


def test_two_trainings_never_share_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("fcntl")
    monkeypatch.setattr(files, "PATIENCE_S", 0.3)
    task, data, run = toy(), examples(), tmp_path / "run"
    run.mkdir()
    held = files.hold(run, "it")
    assert held is not None
    with pytest.raises(DataError, match="another training is at work here"):
        fit(task, data, data, run)
    assert list(run.iterdir()) == []
    os.close(held)
    assert fit(task, data, data, run).steps == 40
    assert fit(task, data, data, run).steps == 40


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_ends(tmp_path: Path, number: signal.Signals, status: int) -> None:
    words = ("budget.steps=100000", "loop.checkpoint_minutes=1000")
    process = subprocess.Popen(
        [sys.executable, *command(corpus(tmp_path, 60), tmp_path / "run", *words)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
        stderr=subprocess.PIPE,
        text=True,
    )
    while process.poll() is None and steps_logged(tmp_path / "run") < 4:
        time.sleep(0.005)
    process.send_signal(number)
    _, told = process.communicate()
    assert process.returncode == status, told
    _, state = read_checkpoint(tmp_path / "run" / "last.safetensors")
    steps = state["counters"]["step"]
    assert 4 <= steps == steps_logged(tmp_path / "run")
    last = f"stopped at update {steps}, saved; the same command goes on"
    assert told.splitlines()[-1] == last
    assert "Traceback" not in told


@pytest.mark.slow
def test_a_signal_before_the_training_is_one_line(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, *command(corpus(tmp_path, 4), tmp_path / "run", "budget.steps=9")],
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr
        assert process.stderr.readline().startswith("reading ")
        process.send_signal(signal.SIGINT)
        # A signal in the middle of a line may show that line twice.
        *again, last = process.stderr.read().splitlines()
        assert last == "interrupted"
        assert all(line.startswith("reading ") for line in again)
    assert process.returncode == 130
    assert not (tmp_path / "run").exists()


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


@pytest.mark.slow
def test_of_two_processes_one_tells_what_is_wrong(tmp_path: Path) -> None:
    manifest = corpus(tmp_path, 8)
    damaged = sorted(tmp_path.rglob("*.wav"))[3]
    damaged.write_bytes(damaged.read_bytes()[:30])
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [sys.executable, *launcher, *command(manifest, tmp_path / "run", "budget.steps=5")],
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode
    assert sum(line.startswith("error: ") for line in done.stderr.splitlines()) == 1
    assert damaged.name in done.stderr
