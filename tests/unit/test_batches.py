"""Buckets, the loader and the cache of sounds."""

import itertools
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import ThreadpoolController

from auricle import audio
from auricle.batches import BatchSettings, SoundCache, load, padding_waste, plan
from auricle.data import Example


def durations(count: int = 2000) -> list[float]:
    return np.random.default_rng(0).gamma(4.0, 1.5, count).clip(0.5, 25.0).tolist()


def examples(count: int) -> list[Example]:
    return [Example(f"e{n}", Path(f"/nowhere/{n}.wav"), 1.0) for n in range(count)]


@pytest.mark.parametrize("epoch", [0, 1, 7])
def test_every_example_is_in_one_batch_within_the_budget(epoch: int) -> None:
    seconds = durations()
    settings = BatchSettings(seconds=60, examples=20)
    batches = plan(seconds, settings, seed=3, epoch=epoch)
    assert sorted(itertools.chain(*batches)) == list(range(len(seconds)))
    assert max(len(batch) for batch in batches) <= 20
    assert max(len(b) * max(seconds[i] for i in b) for b in batches) <= 60
    assert padding_waste(seconds, batches) < 0.05


def test_an_example_longer_than_the_budget_is_alone() -> None:
    batches = plan([1.0, 90.0, 2.0], BatchSettings(seconds=10), 0, 1)
    assert (1,) in batches


def test_the_plan_is_a_function_of_seed_and_epoch() -> None:
    seconds, settings = durations(300), BatchSettings(seconds=60)
    assert plan(seconds, settings, 1, 2) == plan(seconds, settings, 1, 2)
    assert plan(seconds, settings, 1, 2) != plan(seconds, settings, 1, 3)
    assert plan(seconds, settings, 1, 2) != plan(seconds, settings, 2, 2)


def test_the_first_epoch_goes_from_short_to_long() -> None:
    seconds = durations(300)
    longest = [max(seconds[i] for i in b) for b in plan(seconds, BatchSettings(), 0, 0)]
    assert all(after > 0.85 * before for before, after in itertools.pairwise(longest))
    later = [max(seconds[i] for i in b) for b in plan(seconds, BatchSettings(), 0, 1)]
    assert not all(after > 0.85 * before for before, after in itertools.pairwise(later))


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_batches_come_in_order_whatever_the_workers(workers: int) -> None:
    def prepare(group: Sequence[Example]) -> list[str]:
        time.sleep(0.01 if group[0].id == "e0" else 0)  # the first is the slowest
        return [example.id for example in group]

    settings = BatchSettings(workers=workers, ahead=2)
    found = list(load([(0, 1), (2,), (3, 4)], examples(5), prepare, settings))
    assert found == [["e0", "e1"], ["e2"], ["e3", "e4"]]


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_comes_at_its_batch(workers: int) -> None:
    def prepare(group: Sequence[Example]) -> str:
        if group[0].id == "e1":
            raise ValueError("bad e1")
        return group[0].id

    stream = load([(0,), (1,), (2,)], examples(3), prepare, BatchSettings(workers=workers))
    assert next(stream) == "e0"
    with pytest.raises(ValueError, match="bad e1"):
        next(stream)


def test_no_more_than_asked_is_prepared_ahead_and_closing_stops_it() -> None:
    begun: list[str] = []
    before = threading.active_count()

    def prepare(group: Sequence[Example]) -> str:
        begun.append(group[0].id)
        return group[0].id

    stream = load([(n,) for n in range(50)], examples(50), prepare, BatchSettings(ahead=3))
    next(stream)
    time.sleep(0.05)
    assert len(begun) <= 6
    stream.close()
    assert threading.active_count() == before


def test_the_cache_keeps_what_fits_and_answers_alike(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    made = []
    for number in range(3):
        path = tmp_path / f"{number}.wav"
        audio.save(path, rng.uniform(-0.5, 0.5, 8_000).astype(np.float32), 16_000)
        made.append(Example(str(number), path, 0.25, start_s=0.25))
    cache = SoundCache(16_000, limit_mb=1)
    cache._left_bytes = 40_000  # two of three
    first = [cache.load(example).copy() for example in made]
    for path in tmp_path.iterdir():
        path.rename(path.with_suffix(".gone"))
    assert [len(wave) for wave in first] == [4_000] * 3
    for example, wave in zip(made[:2], first[:2], strict=True):
        np.testing.assert_array_equal(cache.load(example), wave)
    with pytest.raises(audio.DataError):
        cache.load(made[2])
    with pytest.raises(ValueError, match="read-only"):
        cache.load(made[0])[0] = 1.0


def test_numpy_computes_with_one_thread_beside_those_that_train() -> None:
    def threads(_: object = None) -> list[int]:
        blas = ThreadpoolController().select(internal_api="openblas").lib_controllers
        return [each.num_threads for each in blas]

    before = threads()
    during = list(load([(0,)] * 3, examples(1), threads, BatchSettings(workers=1)))
    assert during == [[1] * len(before)] * 3
    assert threads() == before


COUNT_THREADS = """
import torch
from pathlib import Path
from auricle.batches import BatchSettings, load
from auricle.data import Example

def threads(_=None):
    return torch.get_num_threads()

clip = Example("a", Path("a.wav"), 1.0)
print(threads(), *load([(0,)], [clip], threads, BatchSettings(workers=1)), threads())
"""


def test_a_loader_computes_with_one_thread_whatever_the_training_has() -> None:
    # OpenMP reads the variable when a process starts
    said = subprocess.run(
        [sys.executable, "-c", COUNT_THREADS],
        env={**os.environ, "OMP_NUM_THREADS": "2"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert said.stdout.split() == ["2", "1", "2"]
