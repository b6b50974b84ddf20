"""Heads: what reads an encoder's states and gives an answer per frame, clip or token."""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from auricle.config import Settings
from auricle.models.convolutional import Standardised, rectified
from auricle.models.encoders import Encoder
from auricle.models.layers import valid_mask
from auricle.models.streaming import Streams


def log_sigmoid(scores: Tensor) -> Tensor:
    """The logarithm of each probability by itself, written out.

    torch's own is exported as the logarithm of a sigmoid, which ONNX Runtime approximates, so that
    small probabilities were wrong by a hundredth.
    """
    return scores.clamp(max=0) - torch.log(1 + torch.exp(-scores.abs()))


class FrameClassifier(nn.Module):
    """An encoder and one linear layer: log-probabilities over `symbols` for every output frame.

    (B, T, F) float, (B,) int64 -> (B, T2, V) float32 log-probabilities, (B,) int64.

    Args:
        trigrams: what a criterion knows of the symbols beforehand (`auricle.losses.Trigrams`); kept
            with the weights, as these lean on it.
    """

    def __init__(
        self,
        encoder: Encoder,
        symbols: int,
        dropout: float = 0.1,
        trigrams: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.encoder, self.trigrams = encoder, trigrams
        self.dropout = nn.Dropout(dropout)
        self.classify = nn.Linear(encoder.dim, symbols)

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        states, lengths = self.encoder(x, lengths)
        return self.log_probs(states), lengths

    def log_probs(self, states: Tensor) -> Tensor:
        """(B, T2, D) states of the encoder -> (B, T2, V)."""
        # In half precision a log-softmax loses the small probabilities that CTC sums over.
        return self.classify(self.dropout(states)).float().log_softmax(-1)


class FrameStepper(nn.Module):
    """A `FrameClassifier` whose encoder hears sound as it comes, with its memory in and out.

    (B, T, F) float, (B,) int64, (B, rows, width) of each name in the encoder's `state` -> what the
    classifier gives, `look_ahead` frames late, and the memory after it. Frames beyond `lengths`
    count as zeros.
    """

    def __init__(self, model: FrameClassifier, encoder: Streams) -> None:
        super().__init__()
        self.model, self.encoder = model, encoder
        self.train(model.training)

    @classmethod
    def of(cls, model: nn.Module) -> "FrameStepper | None":
        """Of any model; None for one that needs whole utterances."""
        if isinstance(model, FrameClassifier) and isinstance(model.encoder, Streams):
            return cls(model, model.encoder)
        return None

    def forward(self, x: Tensor, lengths: Tensor, *memory: Tensor) -> tuple[Tensor, ...]:
        x = x * valid_mask(lengths, x.shape[1])[:, :, None].to(x.dtype)
        stride = self.encoder.stride
        x = nn.functional.pad(x, (0, 0, 0, -x.shape[1] % (stride * self.encoder.chunk)))
        names = list(self.encoder.state)
        states, after = self.encoder.step(x, dict(zip(names, memory, strict=True)))
        lengths = torch.div(lengths + stride - 1, stride, rounding_mode="floor")
        return (self.model.log_probs(states), lengths, *(after[name] for name in names))


class FrameTagger(nn.Module):
    """An encoder and one linear layer: how likely each label is in every output frame, by itself.

    (B, T, F) float, (B,) int64 -> (B, T2, V) float32 log-probabilities, (B,) int64.

    Args:
        level: of ordinary features, and `spread`: their deviation. Fixed numbers, not statistics
            of the recording: a frame must not change with what comes a minute later.
    """

    def __init__(
        self, encoder: Encoder, labels: int, *, level: float, spread: float, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.encoder, self.level, self.spread = encoder, level, spread
        self.dropout = nn.Dropout(dropout)
        self.classify = nn.Linear(encoder.dim, labels)

    def logits(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T2, V) float32 scores before they are made probabilities, and their lengths."""
        states, lengths = self.encoder((x - self.level) / self.spread, lengths)
        return self.classify(self.dropout(states)).float(), lengths

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        scores, lengths = self.logits(x, lengths)
        return log_sigmoid(scores), lengths


def evened(x: Tensor, lengths: Tensor) -> Tensor:
    """(B, T, F) with mean 0 and variance 1 over all features and valid frames of each clip.

    A whisper counts like a shout, and samples like decibels. The front end's normalisation of each
    feature would take a steady sound's spectrum away, which may be all there is to know it by.
    """
    valid = valid_mask(lengths, x.shape[1])[:, :, None].float()
    x = x.float() * valid
    frames = valid.sum(1, keepdim=True)
    mean = x.mean(2, keepdim=True).sum(1, keepdim=True) / frames
    x = (x - mean) * valid
    variance = x.square().mean(2, keepdim=True).sum(1, keepdim=True) / frames
    return x * (variance + 1e-10).rsqrt()


class PoolSettings(Settings):
    """How the states of a clip become one vector."""

    kind: Literal["mean", "statistics", "attention", "flatten"] = "statistics"
    # statistics: mean and deviation over time; attention: the same, weighted by a small network
    # (Okabe et al. 2018, arXiv:1803.10963); flatten: all states of a clip of fixed length in a row
    hidden: int = Field(64, ge=1, le=4_096)  # attention: width of the small network
    dense: tuple[Annotated[int, Field(ge=1, le=8_192)], ...] = ()  # widths of further dense layers


class Pool(nn.Module):
    """(B, T2, D) states, (B,) lengths -> (B, `dim`) float32, padding without influence.

    Args:
        frames: of a clip of full length; "flatten" pads shorter clips to it and cuts longer ones.
    """

    def __init__(self, settings: PoolSettings, dim: int, frames: int) -> None:
        super().__init__()
        self.kind, self.frames = settings.kind, frames
        self.dim = {"mean": dim, "flatten": dim * frames}.get(settings.kind, 2 * dim)
        self.attend: nn.Module | None = None
        if settings.kind == "attention":
            layers = (nn.Linear(dim, settings.hidden), nn.Tanh(), nn.Linear(settings.hidden, dim))
            self.attend = nn.Sequential(*layers)

    def forward(self, states: Tensor, lengths: Tensor) -> Tensor:
        states = states.float()
        valid = valid_mask(lengths, states.shape[1])[:, :, None]
        states = states * valid
        if self.kind == "flatten":
            beyond = states.new_zeros(states.shape[0], self.frames, states.shape[2])
            return torch.cat([states, beyond], 1)[:, : self.frames].flatten(1)
        if self.attend is not None:
            scores = self.attend(states).float().masked_fill(~valid, -1e9)
            weights = scores.softmax(1)
        else:
            weights = valid.float() / valid.sum(1, keepdim=True)
        mean = (weights * states).sum(1)
        if self.kind == "mean":
            return mean
        variance = (weights * (states - mean[:, None]).square()).sum(1)
        return torch.cat([mean, (variance + 1e-5).sqrt()], 1)


class Dense(nn.Module):
    """A dense layer with standardised weights, ReLU, dropout: where others normalise a batch."""

    def __init__(self, inputs: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.linear = Standardised((outputs, inputs))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(rectified(self.linear(x)))


class ClipClassifier(nn.Module):
    """An encoder, pooling and dense layers: one row of log-probabilities for a whole clip.

    (B, T, F) float, (B,) int64 -> (B, 1, V) float32, (B,) ones: the form of every graph. The
    probabilities of a row sum to one, or, with `several`, each stands for itself.
    """

    def __init__(
        self,
        encoder: Encoder,
        labels: int,
        pool: PoolSettings,
        *,
        frames: int,
        several: bool = False,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.encoder, self.several = encoder, several
        self.pool = Pool(pool, encoder.dim, frames)
        widths = (self.pool.dim, *pool.dense)
        self.dense = nn.ModuleList(
            Dense(widths[n], width, dropout) for n, width in enumerate(pool.dense)
        )
        self.dropout = nn.Dropout(dropout)
        self.classify = nn.Linear(widths[-1], labels)

    def logits(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, V) float32 scores before they are made probabilities."""
        y = self.pool(*self.encoder(evened(x, lengths), lengths))
        for layer in self.dense:
            y = layer(y)
        return self.classify(self.dropout(y)).float()

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.logits(x, lengths)
        rows = log_sigmoid(logits) if self.several else logits.log_softmax(-1)
        return rows[:, None], torch.ones_like(lengths)


class Embedder(nn.Module):
    """An encoder, pooling and a linear layer: one direction for a whole clip.

    (B, T, F) float, (B,) int64 -> (B, 1, E) float32 of length 1, (B,) ones: the form of every
    graph. In training `margins` tells the known speakers apart.
    """

    def __init__(
        self,
        encoder: Encoder,
        pool: PoolSettings,
        *,
        frames: int,
        size: int,
        speakers: int,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.pool = Pool(pool, encoder.dim, frames)
        self.norm = nn.LayerNorm(self.pool.dim)
        self.dropout = nn.Dropout(dropout)
        self.embed = nn.Linear(self.pool.dim, size)
        self.speakers = nn.Parameter(torch.randn(speakers, size) / size**0.5)

    def embedding(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, E) of length 1."""
        pooled = self.dropout(self.norm(self.pool(*self.encoder(evened(x, lengths), lengths))))
        vector = self.embed(pooled).float()
        return nn.functional.normalize(vector, dim=-1)

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        return self.embedding(x, lengths)[:, None], torch.ones_like(lengths)

    def margins(self, x: Tensor, lengths: Tensor, who: Tensor, margin: float) -> Tensor:
        """(B, S) cosines with every speaker, that of the true one `who` (B,) less `margin`.

        Additive-margin softmax, Wang et al. 2018, arXiv:1801.05599, eq. 6 without its scale.
        """
        known = nn.functional.normalize(self.speakers, dim=-1)
        cosines = self.embedding(x, lengths) @ known.t()
        return cosines - margin * nn.functional.one_hot(who, len(known))
