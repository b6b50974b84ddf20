"""CTC-CRF against every text there is, and its gradient against differences."""

import copy
import itertools
import math

import pytest
import torch
from torch import Tensor

from auricle.decode import ctc_collapse
from auricle.errors import DataError
from auricle.losses import Trigrams, all_paths, best_paths, ctc_crf_nll, ctc_nll

SYMBOLS, FRAMES = 4, (4, 3, 1)  # blank, three labels; utterances of one batch
TEXTS = [[1, 2, 3], [1, 1, 2], [3, 3], [2, 1], [1, 3, 2, 2], [2, 2, 2]]


@pytest.fixture(scope="module")
def trigrams() -> Trigrams:
    return Trigrams.learn(10 * TEXTS, SYMBOLS)


@pytest.fixture(scope="module")
def log_probs() -> Tensor:
    noise = torch.randn(3, 4, SYMBOLS, generator=torch.Generator().manual_seed(0))
    return (2.0 * noise).log_softmax(-1)


def every_text(frames: int) -> list[list[int]]:
    """All that fits: repeated labels need a frame between them."""
    labels = range(1, SYMBOLS)
    texts = (list(t) for n in range(frames + 1) for t in itertools.product(labels, repeat=n))
    return [t for t in texts if len(t) + sum(a == b for a, b in itertools.pairwise(t)) <= frames]


def told(text: list[int]) -> tuple[Tensor, Tensor]:
    return torch.tensor([text], dtype=torch.int64).reshape(1, -1), torch.tensor([len(text)])


def test_the_sum_over_all_paths_is_the_sum_over_all_texts(
    trigrams: Trigrams, log_probs: Tensor
) -> None:
    found = all_paths(log_probs, torch.tensor(FRAMES), trigrams)
    for row, frames in enumerate(FRAMES):
        alone = log_probs[row : row + 1, :frames]
        total = 0.0
        for text in every_text(frames):
            nll = (
                ctc_nll(alone, torch.tensor([frames]), *told(text))
                if text
                else -alone[:, :, 0].sum()
            )
            total += math.exp(-float(nll) - float(trigrams.nll(*told(text))))
        assert float(found[row]) == pytest.approx(math.log(total), rel=1e-5)


def test_the_texts_share_one_probability(trigrams: Trigrams, log_probs: Tensor) -> None:
    """All that could be said in three frames adds up to one, whatever is heard."""
    lengths, total = torch.tensor([3]), 0.0
    for text in every_text(3)[1:]:
        total += math.exp(-float(ctc_crf_nll(log_probs[:1, :3], lengths, *told(text), trigrams)))
    silence = log_probs[0, :3, 0].sum() - trigrams.nll(*told([]))
    total += math.exp(float(silence - all_paths(log_probs[:1, :3], lengths, trigrams)))
    assert total == pytest.approx(1.0, rel=1e-5)


def test_the_gradient_is_the_slope(trigrams: Trigrams) -> None:
    exact = copy.deepcopy(trigrams).double()
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(3, 4, SYMBOLS, generator=generator, dtype=torch.float64)
    targets, lengths = torch.tensor([[1, 2], [3, 3], [2, 0]]), torch.tensor([2, 2, 1])

    def loss(x: Tensor) -> Tensor:
        return ctc_crf_nll(x.log_softmax(-1), torch.tensor(FRAMES), targets, lengths, exact)

    assert torch.autograd.gradcheck(loss, (logits.requires_grad_(),))


def test_padding_and_neighbours_do_not_matter(trigrams: Trigrams, log_probs: Tensor) -> None:
    targets, lengths = torch.tensor([[1, 2, 1], [3, 3, 0], [2, 0, 0]]), torch.tensor([3, 2, 1])
    together = ctc_crf_nll(log_probs, torch.tensor(FRAMES), targets, lengths, trigrams)
    for row, frames in enumerate(FRAMES):
        text = targets[row, : lengths[row]].tolist()
        alone = ctc_crf_nll(
            log_probs[row : row + 1, :frames], torch.tensor([frames]), *told(text), trigrams
        )
        assert float(together[row]) == pytest.approx(float(alone), rel=1e-5)


def test_a_share_of_ctc_is_added(trigrams: Trigrams, log_probs: Tensor) -> None:
    heard = log_probs[:1], torch.tensor([4]), *told([1, 2])
    more = ctc_crf_nll(*heard, trigrams, 0.5) - ctc_crf_nll(*heard, trigrams)
    assert float(more) == pytest.approx(0.5 * float(ctc_nll(*heard)), rel=1e-4)


def test_long_and_sure_utterances_stay_finite(trigrams: Trigrams) -> None:
    """Nine in ten frames of a minute say one thing with a probability of nearly one."""
    logits = 40.0 * torch.nn.functional.one_hot(torch.arange(1500) % SYMBOLS, SYMBOLS).float()
    logits = logits[None].requires_grad_()
    heard = [n % SYMBOLS for n in range(1500) if n % SYMBOLS]
    nll = ctc_crf_nll(logits.log_softmax(-1), torch.tensor([1500]), *told(heard), trigrams)
    (gradient,) = torch.autograd.grad(nll.sum(), logits)
    assert -0.01 < float(nll.detach()) < 0.1
    assert bool(gradient.isfinite().all())


def test_trigrams_are_what_was_counted(trigrams: Trigrams) -> None:
    """Every history that can be shares one among its labels and the end."""
    shares = trigrams.follow.sum(2) + trigrams.end
    assert shares[:3, :3].allclose(torch.ones(3, 3), atol=0.1)  # <unk> keeps a little
    assert trigrams.follow[3, 3].argmax() == 0  # most texts begin with 1
    assert float(shares[0, 3]) == 0.0  # nothing before what comes first
    text = trigrams.follow[3, 3, 1] * trigrams.follow[3, 1, 0] * trigrams.end[1, 0]  # 2 1
    assert float(trigrams.nll(*told([2, 1]))) == pytest.approx(-math.log(float(text)), rel=1e-5)


def test_nothing_to_count_is_refused() -> None:
    with pytest.raises(DataError):
        Trigrams.learn([[], []], SYMBOLS)


def test_the_best_path_is_the_best_of_every_path(trigrams: Trigrams) -> None:
    generator = torch.Generator().manual_seed(2)
    rows = torch.randn(40, 5, SYMBOLS, generator=generator).mul(1.5).log_softmax(-1)
    lengths = torch.tensor([5, 4, 1, 2] * 10)
    found = best_paths(rows, lengths, trigrams)
    for row, path, frames in zip(rows, found.tolist(), lengths.tolist(), strict=True):

        def score(path: tuple[int, ...], row: Tensor = row) -> float:
            text = [symbol for symbol, _ in itertools.groupby(path) if symbol]
            heard = sum(float(row[t, symbol]) for t, symbol in enumerate(path))
            return heard - float(trigrams.nll(*told(text)))

        best = max(itertools.product(range(SYMBOLS), repeat=frames), key=score)
        assert score(tuple(path[:frames])) == pytest.approx(score(best), abs=1e-5)
        assert not any(path[frames:])


def test_tokens_of_a_path() -> None:
    log_probs = torch.tensor([[0.5, 0.3, 0.2]] * 5).log().numpy()
    tokens = ctc_collapse(torch.tensor([1, 1, 0, 1, 2]).numpy(), log_probs)
    assert [(t.id, t.start_frame, t.end_frame) for t in tokens] == [(1, 0, 2), (1, 3, 4), (2, 4, 5)]
    assert tokens[0].log_prob == pytest.approx(math.log(0.3))
