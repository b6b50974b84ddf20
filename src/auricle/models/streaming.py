"""The encoder for live sound: causal convolutions, forward LSTM layers, a bounded look-ahead.

A model of live sound may look ahead a little, not to the end. Here every layer is causal and what
looks ahead is a delay: the stack runs on the sound as it comes, and what comes out after frame t is
the state of frame t - `look_ahead`, which by then has heard `look_ahead` frames more. A whole
utterance goes through the very same steps from a state of zeros: silence is put behind its end, and
the first `look_ahead` frames that come out, which belong to no frame, are dropped.

After each LSTM layer every cell sums its own next few frames, each with a weight (row convolution;
Amodei et al. 2016, "Deep Speech 2", arXiv:1512.02595, section 3.4).

Axes: B batch, T feature frames (10 ms), F features, T2 = T / 4 frames of the encoder, D cells.
"""

from collections.abc import Mapping
from typing import Literal, Protocol, runtime_checkable

import torch
from pydantic import Field
from torch import Tensor, nn

from auricle.config import Settings
from auricle.errors import ConfigError
from auricle.models.layers import flat_frequency, valid_mask


class StreamingLSTMSettings(Settings):
    """For live sound: causal convolutions, forward LSTM layers that look a little ahead."""

    kind: Literal["streaming_lstm"] = "streaming_lstm"
    channels: int = Field(16, ge=1)  # of both convolutions
    dim: int = Field(256, ge=1)  # width of the linear layer under the LSTM
    hidden: int = Field(320, ge=1)  # LSTM cells in a layer
    layers: int = Field(4, ge=1)
    look_ahead_ms: float = Field(320.0, ge=0, le=4_000)  # of the whole encoder, beyond a frame's
    # own sound; a multiple of the encoder's frame, which is 40 ms for features every 10 ms
    dropout: float = Field(0.1, ge=0, lt=1)


@runtime_checkable
class Streams(Protocol):
    """What an encoder offers beside `Encoder` when it can hear sound as it comes."""

    stride: int  # as in `Encoder`
    look_ahead: int  # output frames that `step` is late, which is all that it looks ahead
    state: Mapping[str, tuple[int, int]]  # what it remembers: name -> (rows, width)

    def step(self, x: Tensor, state: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]: ...


class StreamingLSTM(nn.Module):
    """Two strided causal convolutions, a linear layer, forward LSTM layers with row convolutions.

    Args:
        features: F.
        hop_s: seconds from one feature frame to the next.

    Raises:
        ConfigError: the look-ahead is no multiple of the encoder's frame.
    """

    stride = 4
    first_layers: tuple[str, ...] = ("first", "second")

    def __init__(self, features: int, settings: StreamingLSTMSettings, hop_s: float) -> None:
        super().__init__()
        s = settings
        self.dim = s.hidden
        self.look_ahead = _frames(s.look_ahead_ms, 1000 * hop_s * self.stride)
        self.causal = self.look_ahead == 0
        halved = -(-features // 2)
        # Widths in time are valid ones: what lies before is cached, and there is nothing after.
        self.first = nn.Conv2d(1, s.channels, 3, stride=2, padding=(0, 1))
        self.second = nn.Conv2d(s.channels, s.channels, 3, stride=2, padding=(0, 1))
        self.project = nn.Linear(s.channels * -(-halved // 2), s.dim)
        self.norm = nn.LayerNorm(s.dim)
        widths = [s.dim, *[s.hidden] * (s.layers - 1)]
        self.lstms = nn.ModuleList(nn.LSTM(w, s.hidden, batch_first=True) for w in widths)
        share, rest = divmod(self.look_ahead, s.layers)
        self._late = [share + (layer < rest) for layer in range(s.layers)]
        self.aheads = nn.ModuleList(RowConv(s.hidden, late) for late in self._late)
        self.norms = nn.ModuleList(nn.LayerNorm(s.hidden) for _ in widths)
        self.dropout = nn.Dropout(s.dropout)
        self.state = {
            "frame": (1, features),
            "halved": (1, s.channels * halved),
            "hidden": (s.layers, s.hidden),
            "cell": (s.layers, s.hidden),
        } | ({"ahead": (self.look_ahead, s.hidden)} if self.look_ahead else {})

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """See `Encoder`: whole utterances, each from a state of zeros."""
        x = x * valid_mask(lengths, x.shape[1])[:, :, None].to(x.dtype)
        silence = -x.shape[1] % self.stride + self.stride * self.look_ahead
        start = {name: x.new_zeros(x.shape[0], *shape) for name, shape in self.state.items()}
        y, _ = self.step(nn.functional.pad(x, (0, 0, 0, silence)), start)
        lengths = torch.div(lengths + self.stride - 1, self.stride, rounding_mode="floor")
        return y[:, self.look_ahead :], lengths

    def step(self, x: Tensor, state: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """The next frames, and what they leave behind.

        Args:
            x: (B, T, F), T a multiple of `stride`; after the last frame of the sound, zeros.
            state: what the frames before left behind; zeros before the first one.

        Returns:
            (B, T / stride, D) states, those of `look_ahead` frames earlier; and the state, each
            (B, rows, width).
        """
        after: dict[str, Tensor] = {}
        y = torch.cat([state["frame"], x], 1)
        after["frame"] = y[:, -1:]
        y = torch.relu(self.first(y[:, None]))
        batch, channels, _, bands = y.shape
        before = state["halved"].reshape(batch, channels, 1, bands).to(y.dtype)
        y = torch.cat([before, y], 2)
        after["halved"] = y[:, :, -1:].reshape(batch, 1, channels * bands)
        y = flat_frequency(torch.relu(self.second(y)))
        y = self.dropout(torch.relu(self.norm(self.project(y))))
        return self._recur(y, state, after)

    def _recur(
        self, y: Tensor, state: Mapping[str, Tensor], after: dict[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        hidden, cell, ahead = [], [], []
        row = 0
        for number, lstm in enumerate(self.lstms):
            y = self.dropout(y) if number else y
            memory = (state[name][:, number : number + 1] for name in ("hidden", "cell"))
            h, c = (each.transpose(0, 1).contiguous() for each in memory)
            y, (h, c) = lstm(y, (h, c))
            hidden.append(h.transpose(0, 1))
            cell.append(c.transpose(0, 1))
            if late := self._late[number]:
                y = torch.cat([state["ahead"][:, row : row + late].to(y.dtype), y], 1)
                ahead.append(y[:, -late:])
                row += late
            y = self.norms[number](self.aheads[number](y))
        after |= {"hidden": torch.cat(hidden, 1), "cell": torch.cat(cell, 1)}
        return y, after | ({"ahead": torch.cat(ahead, 1)} if ahead else {})


class RowConv(nn.Module):
    """Each cell's weighted sum of its frame and the `late` next: (B, late + T, D) -> (B, T, D)."""

    def __init__(self, dim: int, late: int) -> None:
        super().__init__()
        self.late = late
        bound = (late + 1) ** -0.5
        weight = torch.empty(late + 1, dim).uniform_(-bound, bound)
        weight[0] += 1.0  # to begin with, mostly the frame itself, as if nothing were here
        self.weight = nn.Parameter(weight)

    def forward(self, y: Tensor) -> Tensor:
        frames = y.shape[1] - self.late
        total = y[:, :frames] * self.weight[0]
        for place in range(1, self.late + 1):
            total = total + y[:, place : place + frames] * self.weight[place]
        return total


def _frames(look_ahead_ms: float, frame_ms: float) -> int:
    frames = round(look_ahead_ms / frame_ms)
    if abs(frames * frame_ms - look_ahead_ms) > 1e-6:
        raise ConfigError(
            f"encoder.look_ahead_ms = {look_ahead_ms:g}: must be a multiple of {frame_ms:g}, one"
            f" frame of the encoder, e.g. {frames * frame_ms:g}"
        )
    return frames
