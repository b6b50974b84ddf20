"""The recognizer's encoder: strided and residual convolutions, bidirectional LSTM layers."""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from auricle.config import Settings
from auricle.models.layers import Recurrent, ResidualConv, flat_frequency, halved, masked


class ConvLSTMSettings(Settings):
    """Residual 2-D convolutions, a linear layer, bidirectional LSTM layers: the classic.

    With `chunk_ms` it hears live sound (`auricle.models.streaming`); the weights are the same.
    """

    kind: Literal["conv_lstm"] = "conv_lstm"
    channels: int = Field(32, ge=1)  # of every convolution
    blocks: int = Field(2, ge=0)  # residual blocks after the two strided convolutions
    dim: int = Field(384, ge=1)  # width of the linear layer under the LSTM
    hidden: int = Field(320, ge=1)  # LSTM cells per direction
    layers: int = Field(3, ge=1)
    dropout: float = Field(0.15, ge=0, lt=1)
    chunk_ms: float | None = Field(None, gt=0, le=4_000)  # hear so much sound at a time, live
    look_ahead_ms: float | None = Field(None, ge=0, le=4_000)  # beyond the chunk; None: 320
    # Both are multiples of the encoder's frame: of 40 ms for features every 10 ms.

    @property
    def streams(self) -> bool:
        """Whether it hears sound as it comes, not whole utterances."""
        return self.chunk_ms is not None


class ConvLSTM(nn.Module):
    """Strided convolutions, residual blocks, a linear layer, bidirectional LSTM layers."""

    stride = 4
    causal = False
    first_layers = ("first", "second", "blocks")

    def __init__(self, features: int, settings: ConvLSTMSettings) -> None:
        super().__init__()
        s = settings
        reduced = -(-features // 4)
        self.dim = 2 * s.hidden
        self.first = nn.Conv2d(1, s.channels, 3, stride=2, padding=1)
        self.second = nn.Conv2d(s.channels, s.channels, 3, stride=2, padding=1)
        self.blocks = nn.ModuleList(
            ResidualConv(s.channels, reduced, s.dropout) for _ in range(s.blocks)
        )
        self.project = nn.Linear(s.channels * reduced, s.dim)
        self.norm = nn.LayerNorm(s.dim)
        self.dropout = nn.Dropout(s.dropout)
        self.lstm = Recurrent("lstm", s.dim, s.hidden, s.layers, True, s.dropout)

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        y = masked(x[:, None], lengths)
        for conv in (self.first, self.second):
            lengths = halved(lengths)
            y = masked(torch.relu(conv(y)), lengths)
        for block in self.blocks:
            y = block(y, lengths)
        y = self.dropout(torch.relu(self.norm(self.project(flat_frequency(y)))))
        return self.lstm(y, lengths), lengths
