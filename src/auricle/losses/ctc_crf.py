"""The CTC-CRF criterion (torch): the probability of a text against that of every other text.

CTC makes the right text likely frame by frame as if labels knew nothing of each other, so that the
network spends its hours of speech on learning which phoneme follows which. Here a trigram of
labels, counted before, says so: it weighs the right text and, in the denominator, all that could be
said instead, and the network has to learn only what sounds tell.

    nll(target) = ctc_nll(target) - log P(target) + log sum over all u of exp(-ctc_nll(u)) P(u)

All paths of CTC through all trigrams are summed exactly: (labels + 1)^2 histories, each with and
without a blank behind it, and a small matrix product for every frame.

Xiang & Ou 2019, "CRF-based single-stage acoustic modeling with CTC topology", ICASSP, eq. 2 to 4;
the sum is that of lattice-free MMI (Povey et al. 2016) over the paths of CTC.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from auricle import lm
from auricle.lm.model import END_ID
from auricle.losses.ctc import ctc_nll

Steps = list[tuple[NDArray[Any], NDArray[Any], NDArray[Any]]]


class Trigrams(nn.Module):
    """P(label | two labels before it), for N labels (the symbols without the blank): buffers.

    A history is (the label before the last, the last one), each 0 to N - 1, or N before there was
    one. Histories that cannot be, a label before none, have zeros.

    Attributes:
        follow: (N + 1, N + 1, N) float32, in [0, 1].
        end: (N + 1, N + 1) float32, that nothing follows.
    """

    follow: Tensor
    end: Tensor

    def __init__(self, symbols: int) -> None:
        """Of so many symbols, the blank among them; all zero, to be loaded."""
        super().__init__()
        self.register_buffer("follow", torch.zeros(symbols, symbols, symbols - 1))
        self.register_buffer("end", torch.zeros(symbols, symbols))

    @classmethod
    def learn(cls, targets: Iterable[Sequence[int]], symbols: int) -> "Trigrams":
        """Count targets, of ids from 1 to `symbols` - 1, and smooth by Kneser-Ney.

        Raises:
            DataError: all targets are empty.
        """
        sentences = (" ".join(map(str, target)) for target in targets)
        model = lm.build((s for s in sentences if s), order=3)
        labels = model.word_ids([str(symbol) for symbol in range(1, symbols)])
        N = len(labels)
        states = np.full((N + 1, N + 1), model.empty)
        states[N, N] = model.start
        states[N, :N] = model.advance(np.full(N, model.start), labels)[1]
        first = model.advance(np.full(N, model.empty), labels)[1]
        states[:N, :N] = model.advance(first.repeat(N), np.tile(labels, N))[1].reshape(N, N)
        follow, end = np.zeros((N + 1, N + 1, N)), np.zeros((N + 1, N + 1))
        for last in range(N + 1):
            for number, label in enumerate(labels):
                asked = np.full(N + 1, label)
                follow[:, last, number] = np.exp(model.advance(states[:, last], asked)[0])
            asked = np.full(N + 1, END_ID)
            end[:, last] = np.exp(model.advance(states[:, last], asked)[0])
        follow[:N, N] = end[:N, N] = 0.0
        made = cls(symbols)
        made.follow, made.end = torch.from_numpy(follow).float(), torch.from_numpy(end).float()
        return made

    def nll(self, targets: Tensor, target_lengths: Tensor) -> Tensor:
        """-log P of each target, its end included: (B, U), (B,) -> (B,)."""
        N = self.follow.shape[2]
        none = targets.new_full((len(targets), 2), N)
        padded = torch.cat([none, targets - 1], 1).clamp(0, N)
        before, last, label = padded[:, :-2], padded[:, 1:-1], padded[:, 2:]
        inside = torch.arange(label.shape[1], device=targets.device) < target_lengths[:, None]
        logs = self.follow.log()[before, last, label.clamp(max=N - 1)]
        ends = target_lengths[:, None]
        final = padded.gather(1, ends), padded.gather(1, ends + 1)
        return -torch.where(inside, logs, 0.0).sum(1) - self.end.log()[final][:, 0]


def ctc_crf_nll(
    log_probs: Tensor,
    lengths: Tensor,
    targets: Tensor,
    target_lengths: Tensor,
    trigrams: Trigrams,
    ctc_share: float = 0.0,
) -> Tensor:
    """-log p(target | input) of each utterance among all targets that could be -> (B,), above 0.

    Args:
        log_probs: (B, T, V), the blank at index 0, V = labels + 1.
        lengths: (B,) frames of each utterance.
        targets: (B, U) symbol indices, padding beyond `target_lengths` ignored.
        trigrams: what is known of the labels beforehand.
        ctc_share: of the loss of CTC, added to keep the alignments sharp.

    Raises:
        DataError: as `ctc_nll`.
    """
    right = ctc_nll(log_probs, lengths, targets, target_lengths)
    known = trigrams.nll(targets, target_lengths)
    return (1.0 + ctc_share) * right + known + all_paths(log_probs, lengths, trigrams)


def all_paths(log_probs: Tensor, lengths: Tensor, trigrams: Trigrams) -> Tensor:
    """Log of the sum over all texts u of exp(-ctc_nll(u)) P(u): (B, T, V), (B,) -> (B,)."""
    total: Tensor = _AllPaths.apply(  # type: ignore[no-untyped-call]
        log_probs, lengths, trigrams.follow, trigrams.end
    )
    return total


@torch.no_grad()
def best_paths(log_probs: Tensor, lengths: Tensor, trigrams: Trigrams) -> Tensor:
    """The likeliest path of each utterance, trigrams counted in: Viterbi (1967), exact.

    (B, T, V), (B,) -> (B, T) int64, the symbol of every frame; blanks beyond `lengths`.
    """
    B, T, V = log_probs.shape
    follow, end = trigrams.follow.log(), trigrams.end.log()
    twice = follow.diagonal(dim1=1, dim2=2)  # (q, p): p again after q p
    said = log_probs.new_full((B, V, V), -math.inf)  # scores by (q, p), as in _AllPaths
    paused = said.clone()
    paused[:, -1, -1] = 0.0
    paths = torch.zeros(B, T, dtype=torch.int64)
    steps = []  # of every frame: who came before each (q, p), with and without a blank
    for t in range(T):
        total, rested = torch.maximum(said, paused), paused >= said
        new, origin = (total.transpose(1, 2)[:, :, None] + follow.permute(1, 2, 0)).max(3)
        again, parted = (paused[:, :, :-1] + twice).max(1)  # p p: only with a blank between
        new.diagonal(dim1=1, dim2=2).copy_(again)
        origin.diagonal(dim1=1, dim2=2).copy_(parted)
        stays = said[:, :, :-1] >= new
        heard = (t < lengths)[:, None, None]
        now = torch.full_like(said, -math.inf)
        now[:, :, :-1] = torch.maximum(new, said[:, :, :-1]) + log_probs[:, t, None, 1:]
        said = torch.where(heard, now, said)
        paused = torch.where(heard, total + log_probs[:, t, :1, None], paused)
        steps.append((origin.cpu().numpy(), stays.cpu().numpy(), rested.cpu().numpy()))
    for row, frames in enumerate(lengths.tolist()):
        path = _traced(said[row] + end, paused[row] + end, steps[:frames], row)
        paths[row, :frames] = torch.tensor(path, dtype=torch.int64)
    return paths


def _traced(said: Tensor, paused: Tensor, steps: Steps, row: int) -> list[int]:
    """The path that ends best, followed back; `said` and `paused` are the scores of its ends."""
    silent = bool(paused.max() >= said.max())
    q, p = divmod(int((paused if silent else said).argmax()), said.shape[1])
    path = []
    for origin, stays, rested in reversed(steps):
        path.append(0 if silent else p + 1)
        if silent:
            silent = bool(rested[row, q, p])
        elif not stays[row, q, p]:
            again, q, p = q == p, int(origin[row, q, p]), q
            silent = again or bool(rested[row, q, p])
    return path[::-1]


class _AllPaths(torch.autograd.Function):
    """Forward and backward over frames, in probabilities that are scaled anew at each of them.

    The gradient by log_probs[t, v] is the share of all paths that are in v at t.

    `said[p, b, q]` are the paths of utterance b after ... q p whose last frame is p, `paused` those
    whose last frame is a blank. A label may follow itself only after a blank; otherwise its frame
    is a longer p. The last label comes first so that each product has its matrix in one piece:
    torch.bmm over strided ones takes ten times as long.
    """

    @staticmethod
    def forward(
        ctx: Any, log_probs: Tensor, lengths: Tensor, follow: Tensor, end: Tensor
    ) -> Tensor:
        B, T, V = log_probs.shape
        probs, step = log_probs.exp().permute(1, 2, 0).contiguous(), _Step(follow)  # (T, V, B)
        said = probs.new_zeros(T + 1, V, B, V)  # (p, b, q), each label with a place for "none"
        paused = probs.new_zeros(T + 1, V, B, V)
        paused[0, -1, :, -1] = 1.0
        scale, shortest = probs.new_zeros(B), int(lengths.min())
        for t in range(T):
            now, blank = step.forward(said[t], paused[t], probs[t])
            size = (now.sum(0) + blank.sum(0)).sum(1)
            if t >= shortest:
                heard = t < lengths
                size = torch.where(heard, size, 1.0)
                now = torch.where(heard[:, None], now, said[t])
                blank = torch.where(heard[:, None], blank, paused[t])
            scale += size.log()
            torch.div(now, size[:, None], out=said[t + 1])
            torch.div(blank, size[:, None], out=paused[t + 1])
        final = ((said[T] + paused[T]) * end.t()[:, None]).sum((0, 2))
        ctx.save_for_backward(probs, lengths, follow, end, said, paused)
        return scale + final.log()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        probs, lengths, follow, end, said, paused = ctx.saved_tensors
        T, V, B = probs.shape
        step, shortest = _Step(follow), int(lengths.min())
        after_said = after_paused = end.t()[:, None].expand(V, B, V)
        shares = torch.zeros_like(probs)
        for t in range(T - 1, -1, -1):
            labels = (said[t + 1] * after_said).sum(2)[:-1]
            blank = (paused[t + 1] * after_paused).sum((0, 2))
            here = torch.cat([blank[None], labels])
            torch.div(here, here.sum(0), out=shares[t])
            before_said, before_paused = step.backward(after_said, after_paused, probs[t])
            size = before_paused.amax((0, 2))[:, None]  # any scale does: shares are relative
            if t >= shortest:
                heard = t < lengths
                shares[t] *= heard
                size = torch.where(heard[:, None], size, 1.0)
                before_said = torch.where(heard[:, None], before_said, after_said)
                before_paused = torch.where(heard[:, None], before_paused, after_paused)
            after_said, after_paused = before_said / size, before_paused / size
        return shares.permute(2, 0, 1) * gradient[:, None, None], None, None, None


class _Step:
    """One frame of all paths, forth and back."""

    def __init__(self, follow: Tensor) -> None:
        self.follow = follow.transpose(0, 1).contiguous()  # (p, q, r): a matrix for each p
        self.back = self.follow.transpose(1, 2).contiguous()  # (p, r, q)
        self.twice = follow.diagonal(dim1=1, dim2=2).t()[:, None].contiguous()  # (p, 1, q): q p p

    def forward(self, said: Tensor, paused: Tensor, probs: Tensor) -> tuple[Tensor, Tensor]:
        """(V, B, V) twice, (V, B) -> the same after one more frame."""
        total = said + paused
        new = torch.bmm(total, self.follow)  # (p, b, r)
        unparted = (said[:-1] * self.twice).sum(2)  # p right after p: no new label
        new[:-1].diagonal(dim1=0, dim2=2).sub_(unparted.t())
        now = torch.zeros_like(said)
        torch.add(new.permute(2, 1, 0), said[:-1], out=now[:-1])
        now[:-1] *= probs[1:, :, None]
        return now, total * probs[0][:, None]

    def backward(self, said: Tensor, paused: Tensor, probs: Tensor) -> tuple[Tensor, Tensor]:
        """What follows paths after the frame, (V, B, V) twice -> what follows those before it."""
        coming = said[:-1] * probs[1:, :, None]  # (p, b, q): p is heard in this frame
        paused = (
            torch.bmm(coming.permute(2, 1, 0).contiguous(), self.back) + paused * probs[0][:, None]
        )
        unparted = coming[:, :, :-1].diagonal(dim1=0, dim2=2).t()[:, :, None] * self.twice
        said = paused.clone()
        said[:-1] += coming - unparted
        return said, paused
