"""Building blocks shared by the encoders. Every block keeps padded positions from leaking.

A zero beyond the end of an utterance is what a convolution's own zero padding gives to the same
utterance alone, so masking before each convolution is all it takes for an answer not to depend on
the batch. There is no batch normalisation here: its statistics would depend on padding, on the
batch and on the number of processes.
"""

import torch
from torch import Tensor, nn


def valid_mask(lengths: Tensor, frames: int) -> Tensor:
    """True where a frame belongs to the utterance: (B,) -> (B, T)."""
    return torch.arange(frames, device=lengths.device)[None, :] < lengths[:, None]


def halved(lengths: Tensor) -> Tensor:
    """Frames after a convolution of odd width, stride 2 and symmetric padding: ceil(length / 2)."""
    return torch.div(lengths + 1, 2, rounding_mode="floor")


def reverse(x: Tensor, lengths: Tensor) -> Tensor:
    """Each utterance of (B, T, F) back to front within its own length; padding stays in place."""
    places = torch.arange(x.shape[1], device=x.device)[None, :]
    mirrored = torch.where(places < lengths[:, None], lengths[:, None] - 1 - places, places)
    return x.gather(1, mirrored[:, :, None].expand(-1, -1, x.shape[2]))


class Recurrent(nn.Module):
    """Stacked LSTM or GRU layers, uni- or bidirectional: (B, T, F) -> (B, T, D).

    The backward direction runs forward over each utterance reversed within its own length, so it
    starts at the true last frame whatever the batch. That equals packed sequences exactly, and
    trains an order of magnitude faster on a CPU: the gradient of a packed sequence is built by
    slicing, which costs the square of the time.
    """

    def __init__(
        self,
        cell: str,
        features: int,
        hidden: int,
        layers: int,
        bidirectional: bool,
        dropout: float,
    ) -> None:
        super().__init__()
        kind = {"lstm": nn.LSTM, "gru": nn.GRU}[cell]
        self.dim = hidden * (2 if bidirectional else 1)
        widths = [features, *[self.dim] * (layers - 1)]
        self.forwards = nn.ModuleList(kind(width, hidden, batch_first=True) for width in widths)
        self.backwards = nn.ModuleList(
            kind(width, hidden, batch_first=True) for width in widths if bidirectional
        )
        # A fresh LSTM whispers: after three of them the output hardly varies and CTC sits on its
        # all-blank plateau for thousands of updates. Normalised, it leaves it after hundreds.
        self.norms = nn.ModuleList(nn.LayerNorm(self.dim) for _ in widths)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        for number, layer in enumerate(self.forwards):
            x = self.dropout(x) if number else x
            y = layer(x)[0]
            if self.backwards:
                z = self.backwards[number](reverse(x, lengths))[0]
                y = torch.cat([y, reverse(z, lengths)], dim=-1)
            x = self.norms[number](y)
        return x


class ConvSubsample(nn.Module):
    """Two 3x3 convolutions of stride 2 in time and frequency, then a projection.

    (B, T, F) -> (B, ceil(T / 4), dim): the front of most CTC and Conformer systems.
    """

    stride = 4

    def __init__(self, features: int, dim: int, channels: int, dropout: float) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, channels, 3, stride=2, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, stride=2, padding=1)
        self.project = nn.Linear(channels * -(-features // 4), dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        y = masked(x[:, None], lengths)
        for conv in (self.first, self.second):
            lengths = halved(lengths)
            y = masked(torch.relu(conv(y)), lengths)
        return self.dropout(self.project(flat_frequency(y))), lengths


def masked(x: Tensor, lengths: Tensor) -> Tensor:
    """(B, C, T, F) with everything beyond each utterance's end set to zero."""
    return x * valid_mask(lengths, x.shape[2])[:, None, :, None].to(x.dtype)


def flat_frequency(x: Tensor) -> Tensor:
    """(B, C, T, F) -> (B, T, C * F)."""
    return x.transpose(1, 2).flatten(2)


class ResidualConv(nn.Module):
    """Pre-activation residual block over (B, C, T, F): two 3x3 convolutions, shape unchanged.

    Normalises over frequency (He et al. 2016, arXiv:1603.05027; layer for batch normalisation).
    """

    def __init__(self, channels: int, features: int, dropout: float) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(features) for _ in range(2))
        self.convs = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        y = x
        for norm, conv in zip(self.norms, self.convs, strict=True):
            y = conv(masked(self.dropout(torch.relu(norm(y))), lengths))
        return masked(x + y, lengths)


class FeedForward(nn.Sequential):
    """Macaron half of a Conformer block: norm -> dim x expansion -> SiLU -> dim."""

    def __init__(self, dim: int, expansion: int, dropout: float) -> None:
        super().__init__(
            nn.LayerNorm(dim),
            nn.Linear(dim, dim * expansion),
            nn.SiLU(),
            nn.Dropout(dropout),
            nn.Linear(dim * expansion, dim),
            nn.Dropout(dropout),
        )


class RotaryAttention(nn.Module):
    """Multi-head self-attention with rotary positions (Su et al. 2021, arXiv:2104.09864).

    Relative like Transformer-XL's positions, but two multiplications instead of a second score
    matrix, which matters on a processor without a GPU.
    """

    rates: Tensor

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(dim)
        self.project_in = nn.Linear(dim, 3 * dim)
        self.project_out = nn.Linear(dim, dim)
        self.dropout = nn.Dropout(dropout)
        pairs = dim // heads // 2
        rates = 10_000.0 ** (-torch.arange(pairs, dtype=torch.float32) / pairs)
        self.register_buffer("rates", rates, persistent=False)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """x: (B, T, D); valid: (B, T), False at padding, which nobody attends to."""
        batch, frames, dim = x.shape
        qkv = self.project_in(self.norm(x)).view(batch, frames, 3, self.heads, dim // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        angles = torch.arange(frames, device=x.device, dtype=torch.float32)[:, None] * self.rates
        q, k = rotate(q, angles), rotate(k, angles)
        y = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=valid[:, None, None, :])
        return self.dropout(self.project_out(y.transpose(1, 2).reshape(batch, frames, dim)))


def rotate(x: Tensor, angles: Tensor) -> Tensor:
    """Rotate the pairs (i, i + half) of (B, H, T, D) by `angles` (T, D / 2)."""
    first, second = x.chunk(2, dim=-1)
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)


class DepthwiseConv(nn.Module):
    """The convolution module of a Conformer: pointwise + GLU, depthwise, norm, SiLU, pointwise."""

    def __init__(self, dim: int, width: int, dropout: float) -> None:
        super().__init__()
        self.norm_in = nn.LayerNorm(dim)
        self.expand = nn.Linear(dim, 2 * dim)
        self.depthwise = nn.Conv1d(dim, dim, width, padding=width // 2, groups=dim)
        self.norm_out = nn.LayerNorm(dim)
        self.project = nn.Linear(dim, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        y = nn.functional.glu(self.expand(self.norm_in(x)), dim=-1)
        y = y * valid[:, :, None].to(y.dtype)
        y = self.depthwise(y.transpose(1, 2)).transpose(1, 2)
        return self.dropout(self.project(nn.functional.silu(self.norm_out(y))))


class ConformerBlock(nn.Module):
    """Half feed-forward, attention, convolution, half feed-forward (Gulati et al. 2020, eq. 1)."""

    def __init__(self, dim: int, heads: int, expansion: int, width: int, dropout: float) -> None:
        super().__init__()
        self.feed_in = FeedForward(dim, expansion, dropout)
        self.attention = RotaryAttention(dim, heads, dropout)
        self.convolution = DepthwiseConv(dim, width, dropout)
        self.feed_out = FeedForward(dim, expansion, dropout)
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        x = x + 0.5 * self.feed_in(x)
        x = x + self.attention(x, valid)
        x = x + self.convolution(x, valid)
        return self.norm(x + 0.5 * self.feed_out(x))
