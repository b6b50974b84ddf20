"""Encoders: features in, hidden states out, all under one contract.

    encoder(x: (B, T, F) float, lengths: (B,) int64) -> ((B, T2, D) float, lengths2: (B,) int64)

`stride` is the number of input frames per output frame and `lengths2 = ceil(lengths / stride)`; the
states beyond `lengths2` mean nothing. An utterance gets the same states alone as in any batch.
"""

from typing import Annotated, Literal, Protocol, cast, runtime_checkable

import torch
from pydantic import Field
from torch import Tensor, nn

from auricle.config import Settings
from auricle.errors import ConfigError
from auricle.models.conv_lstm import ConvLSTM, ConvLSTMSettings
from auricle.models.convolutional import (
    Broadcast,
    BroadcastSettings,
    ResidualWave,
    ResidualWaveSettings,
    WaveConv,
    WaveConvSettings,
)
from auricle.models.layers import (
    ConformerBlock,
    ConvSubsample,
    Recurrent,
    valid_mask,
)
from auricle.models.streaming import ChunkedConvLSTM


@runtime_checkable
class Encoder(Protocol):
    """What every encoder offers, so that every task can use every encoder."""

    stride: int  # input frames per output frame
    dim: int  # D of the output
    causal: bool  # no output depends on input beyond its own `stride` frames
    first_layers: tuple[str, ...]  # submodules that stay as they are while a fine-tuning begins

    def __call__(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]: ...


class RNNSettings(Settings):
    """Stacked LSTM or GRU layers straight on the features, `stack` frames at a time."""

    kind: Literal["rnn"] = "rnn"
    cell: Literal["lstm", "gru"] = "lstm"
    hidden: int = Field(320, ge=1)  # cells per direction
    layers: int = Field(4, ge=1)
    bidirectional: bool = True
    stack: int = Field(3, ge=1)  # frames joined into one input: the stride
    dropout: float = Field(0.15, ge=0, lt=1)


class ConformerSettings(Settings):
    """Gulati et al. 2020, arXiv:2005.08100; rotary positions, layer for batch normalisation."""

    kind: Literal["conformer"] = "conformer"
    channels: int = Field(32, ge=1)  # of the two strided convolutions
    dim: int = Field(144, ge=4)
    heads: int = Field(4, ge=1)
    layers: int = Field(8, ge=1)
    expansion: int = Field(4, ge=1)  # of the feed-forward modules
    width: int = Field(15, ge=1)  # of the depthwise convolution, in frames; odd
    dropout: float = Field(0.1, ge=0, lt=1)


EncoderSettings = Annotated[
    ConvLSTMSettings
    | RNNSettings
    | ConformerSettings
    | WaveConvSettings
    | ResidualWaveSettings
    | BroadcastSettings,
    Field(discriminator="kind"),
]


class RNN(nn.Module):
    """Stacked recurrent layers over groups of `stack` frames."""

    def __init__(self, features: int, settings: RNNSettings) -> None:
        super().__init__()
        s = settings
        self.stride = s.stack
        self.causal = not s.bidirectional
        self.dim = s.hidden * (2 if s.bidirectional else 1)
        layer = ("rnn.forwards.0", "rnn.norms.0", *["rnn.backwards.0"] * s.bidirectional)
        self.first_layers = ("norm", *layer)
        self.norm = nn.LayerNorm(features * s.stack)
        self.rnn = Recurrent(
            s.cell, features * s.stack, s.hidden, s.layers, s.bidirectional, s.dropout
        )

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        x = x * valid_mask(lengths, x.shape[1])[:, :, None].to(x.dtype)
        x = nn.functional.pad(x, (0, 0, 0, -x.shape[1] % self.stride))
        x = x.reshape(x.shape[0], x.shape[1] // self.stride, -1)
        lengths = torch.div(lengths + self.stride - 1, self.stride, rounding_mode="floor")
        return self.rnn(self.norm(x), lengths), lengths


class Conformer(nn.Module):
    """Strided convolutions, then Conformer blocks."""

    stride = ConvSubsample.stride
    causal = False
    first_layers = ("front",)

    def __init__(self, features: int, settings: ConformerSettings) -> None:
        super().__init__()
        s = settings
        if s.dim % (2 * s.heads):
            raise ConfigError(
                f"encoder.dim = {s.dim}: must be a multiple of 2 x heads = {2 * s.heads}"
            )
        if s.width % 2 == 0:
            raise ConfigError(f"encoder.width = {s.width}: must be odd, e.g. {s.width + 1}")
        self.dim = s.dim
        self.front = ConvSubsample(features, s.dim, s.channels, s.dropout)
        self.blocks = nn.ModuleList(
            ConformerBlock(s.dim, s.heads, s.expansion, s.width, s.dropout) for _ in range(s.layers)
        )

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        y, lengths = self.front(x, lengths)
        valid = valid_mask(lengths, y.shape[1])
        for block in self.blocks:
            y = block(y, valid)
        return y, lengths


def build_encoder(features: int, settings: Settings, hop_s: float = 0.01) -> Encoder:
    """The encoder that `settings.kind` names, for `features` inputs per frame.

    Args:
        hop_s: seconds from one input frame to the next: what looks ahead is set in milliseconds.

    Raises:
        ConfigError: when two settings contradict each other.
    """
    if isinstance(settings, ConvLSTMSettings) and settings.streams:
        return ChunkedConvLSTM(features, settings, hop_s)
    return cast(Encoder, ENCODERS[type(settings)](features, settings))


def first_parameters(model: nn.Module) -> list[nn.Parameter]:
    """The parameters of the first layers of every encoder in `model`.

    What they make of sound serves any voice and task; what comes after them is what has to change
    first (Yosinski et al. 2014, "How transferable are features in deep neural networks?").
    """
    return [
        parameter
        for encoder in model.modules()
        if isinstance(encoder, Encoder)
        for name in encoder.first_layers
        for parameter in encoder.get_submodule(name).parameters()
    ]


ENCODERS: dict[type[Settings], type[nn.Module]] = {
    ConvLSTMSettings: ConvLSTM,
    RNNSettings: RNN,
    ConformerSettings: Conformer,
    WaveConvSettings: WaveConv,
    ResidualWaveSettings: ResidualWave,
    BroadcastSettings: Broadcast,
}
