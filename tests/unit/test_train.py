"""The small parts of the loop: schedule, averages, loss scale, checkpoints."""

from pathlib import Path

import pytest
import torch
from torch import nn

from auricle.checkpoint import load_strictly, mean_of, read_checkpoint, read_state, write_checkpoint
from auricle.errors import DataError, ModelError
from auricle.run import Averager, LossScale
from auricle.train import OptimizerSettings, learning_rate


@pytest.mark.parametrize(
    ("schedule", "step", "progress", "wanted"),
    [
        ("constant", 0, 0.0, 0.1),  # the first of nine warm-up steps
        ("constant", 9, 0.0, 1.0),
        ("constant", 900, 1.0, 1.0),
        ("linear", 900, 0.5, 0.55),
        ("linear", 900, 1.0, 0.1),
        ("cosine", 900, 0.0, 1.0),
        ("cosine", 900, 0.5, 0.55),
        ("cosine", 900, 1.0, 0.1),
        ("cosine", 1, 0.9, 0.1 + 0.9 * 0.5 * (1 - 0.9510565)),
    ],
)
def test_the_schedule(schedule: str, step: int, progress: float, wanted: float) -> None:
    settings = OptimizerSettings.parse(
        {"rate": 1.0, "schedule": schedule, "warmup_steps": 9, "final": 0.1}
    )
    assert learning_rate(settings, step, progress) == pytest.approx(wanted, abs=1e-6)


def test_the_loss_scale_halves_on_overflow_and_grows_again() -> None:
    scale = LossScale(enabled=True)
    scale.update(finite=False)
    assert scale.value == 32_768
    for _ in range(1_000):
        scale.update(finite=True)
    assert scale.value == 65_536
    unused = LossScale(enabled=False)
    unused.update(finite=False)
    assert unused.value == 1.0


def layer(value: float) -> nn.Module:
    model = nn.Linear(2, 1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(value)
    return model


def test_the_moving_average_forgets_its_random_start() -> None:
    model = layer(0.0)
    averager = Averager(model, "ema", 0.99, 5)
    with torch.no_grad():
        model.weight.fill_(1.0)
    averager.update(step=0)  # decays by 1/10, not by 0.99
    assert averager.mean["weight"].flatten().tolist() == pytest.approx([0.9, 0.9])
    averager.update(step=100_000)
    assert averager.mean["weight"].flatten().tolist() == pytest.approx([0.901, 0.901])
    with averager.applied():
        assert model.weight.flatten().tolist() == pytest.approx([0.901, 0.901])
    assert model.weight.tolist() == [[1.0, 1.0]]


def test_the_mean_of_the_last_evaluations() -> None:
    model = layer(0.0)
    averager = Averager(model, "last", 0.99, 2)
    for value in (6.0, 1.0, 2.0):
        with torch.no_grad():
            model.weight.fill_(value)
        averager.snapshot()
    with averager.applied():
        assert model.weight.tolist() == [[1.5, 1.5]]
    twin = Averager(layer(0.0), "last", 0.99, 2)
    twin.restore(averager.tensors())
    assert [s["weight"].tolist() for s in twin.snapshots] == [[[1.0, 1.0]], [[2.0, 2.0]]]


@pytest.mark.parametrize("kind", ["ema", "last", "none"])
def test_what_is_kept_lies_on_the_way_back_to_the_first_weights(kind: str) -> None:
    model = layer(1.0)
    averager = Averager(model, kind, 0.0, 2, first=0.25)
    with torch.no_grad():
        model.weight.fill_(5.0)
    averager.update(step=1_000)
    averager.snapshot()
    with averager.applied():
        assert model.weight.tolist() == [[4.0, 4.0]]
    assert model.weight.tolist() == [[5.0, 5.0]]
    twin = Averager(layer(0.0), kind, 0.0, 2, first=0.25)
    twin.restore(averager.tensors())
    assert twin.first["weight"].tolist() == [[1.0, 1.0]]
    older = Averager(layer(0.0), "none", 0.0, 2, first=0.25)
    older.restore({})  # a checkpoint without them
    with older.applied():
        assert older.model.state_dict()["weight"].tolist() == [[0.0, 0.0]]


def test_nothing_to_average_is_an_error() -> None:
    with pytest.raises(ModelError, match="no snapshots"):
        mean_of([])


def test_a_checkpoint_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    tensors = {"x": torch.randn(3, 2), "n": torch.tensor(7)}
    write_checkpoint(path, tensors, {"step": 3, "names": ["ä"]})
    found, state = read_checkpoint(path)
    assert state == read_state(path) == {"step": 3, "names": ["ä"]}
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", [b"", b"\x00" * 100, b"\xff" * 100, b'{"a": 1}'])
def test_what_is_no_checkpoint_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    for read in (read_checkpoint, read_state):
        with pytest.raises(ModelError, match=r"a\.safetensors: not a checkpoint"):
            read(path)


def test_writing_where_no_folder_is_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be written"):
        write_checkpoint(tmp_path / "no" / "a.safetensors", {"x": torch.zeros(1)}, {})


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({"weight": torch.zeros(1, 2)}, r"missing \['bias'\]"),
        ({"weight": torch.zeros(1, 2), "bias": torch.zeros(1), "b": torch.zeros(1)}, r"unknown \["),
        ({"weight": torch.zeros(1, 3), "bias": torch.zeros(1)}, r"other shape \['weight'\]"),
    ],
)
def test_weights_load_strictly(tensors: dict[str, torch.Tensor], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        load_strictly(layer(0.0), tensors, "here")
