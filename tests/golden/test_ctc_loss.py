"""The worked examples of CTC, and the loss against every path there is."""

import itertools
import math

import numpy as np
import pytest
import torch

from auricle.decode import ctc_greedy
from auricle.errors import DataError
from auricle.losses import ctc_nll, frames_needed

# Rows are frames, columns blank, A, B.
TABLE = [
    [0.6, 0.3, 0.1],
    [0.1, 0.7, 0.2],
    [0.2, 0.2, 0.6],
    [0.7, 0.1, 0.2],
    [0.1, 0.6, 0.3],
]


def collapse(path: tuple[int, ...]) -> list[int]:
    return [symbol for symbol, _ in itertools.groupby(path) if symbol]


def probability_over_every_path(table: np.ndarray, target: list[int]) -> float:
    frames, symbols = table.shape
    return sum(
        math.prod(table[frame, symbol] for frame, symbol in enumerate(path))
        for path in itertools.product(range(symbols), repeat=frames)
        if collapse(path) == target
    )


def loss(table: np.ndarray, target: list[int]) -> float:
    log_probs = torch.tensor(table, dtype=torch.float64).log()[None]
    targets = torch.tensor([target], dtype=torch.int64).reshape(1, -1)
    return ctc_nll(
        log_probs, torch.tensor([len(table)]), targets, torch.tensor([len(target)])
    ).item()


def test_the_table_of_five_frames() -> None:
    """Target "A B": every alignment enumerated by hand-like rules, then the loss."""
    table = np.array(TABLE)
    by_hand = 0.0
    for start_a in range(5):
        for end_a in range(start_a + 1, 5):
            for start_b in range(end_a, 5):
                for end_b in range(start_b + 1, 6):
                    path = [0] * 5
                    path[start_a:end_a] = [1] * (end_a - start_a)
                    path[start_b:end_b] = [2] * (end_b - start_b)
                    by_hand += math.prod(table[t, s] for t, s in enumerate(path))
    assert by_hand == pytest.approx(probability_over_every_path(table, [1, 2]), rel=1e-12)
    assert loss(table, [1, 2]) == pytest.approx(-math.log(by_hand), rel=1e-9)


def test_the_best_path_of_the_table() -> None:
    tokens = ctc_greedy(np.log(np.array(TABLE)))
    assert [token.id for token in tokens] == [1, 2, 1]  # blank A B blank A


@pytest.mark.parametrize("target", [[], [1], [1, 2], [2, 2], [1, 2, 1], [3, 3, 3], [1, 1, 2, 2]])
def test_the_loss_equals_the_sum_over_every_path(target: list[int]) -> None:
    rng = np.random.default_rng(len(target))
    table = rng.dirichlet(np.ones(4), size=7)
    wanted = -math.log(probability_over_every_path(table, target))
    assert loss(table, target) == pytest.approx(wanted, rel=1e-6)


def test_the_loss_is_the_same_in_any_batch() -> None:
    rng = np.random.default_rng(0)
    tables = [rng.dirichlet(np.ones(4), size=size) for size in (6, 9, 5)]
    targets = [[1, 2], [3, 3, 1], [2]]
    log_probs = torch.zeros(3, 9, 4, dtype=torch.float64)
    for row, table in zip(log_probs, tables, strict=True):
        row[: len(table)] = torch.tensor(table).log()
    padded = torch.tensor([[1, 2, 0], [3, 3, 1], [2, 0, 0]])
    together = ctc_nll(log_probs, torch.tensor([6, 9, 5]), padded, torch.tensor([2, 3, 1]))
    alone = [loss(table, target) for table, target in zip(tables, targets, strict=True)]
    assert together.tolist() == pytest.approx(alone, rel=1e-9)


def test_repeats_need_a_blank_between_them() -> None:
    targets = torch.tensor([[1, 1, 1, 2], [1, 2, 1, 2], [3, 3, 9, 9]])
    assert frames_needed(targets, torch.tensor([4, 4, 2])).tolist() == [6, 4, 3]


def test_too_few_frames_are_named_not_zeroed() -> None:
    log_probs = torch.full((2, 4, 3), 1 / 3).log()
    with pytest.raises(DataError, match=r"utterances \[1\]"):
        ctc_nll(
            log_probs,
            torch.tensor([4, 2]),
            torch.tensor([[1, 2], [1, 1]]),
            torch.tensor([2, 2]),
        )
