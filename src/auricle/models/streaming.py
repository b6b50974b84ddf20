"""Live sound: the encoder of convolutions and bidirectional LSTM layers, a chunk at a time.

The forward direction remembers all that was. The backward direction of a layer knows the future no
further than a chunk and a few frames beyond it, and begins anew with each chunk (latency-controlled
BLSTM; Zhang et al. 2016, "Highway long short-term memory RNNs for distant speech recognition",
arXiv:1510.08983, section 4). What looks ahead is a delay: each layer runs as many frames late as it
looks beyond the chunk, a residual block two, so that the outputs are `look_ahead` frames late in
all. A whole utterance goes through the very same steps from a memory of zeros: silence is put
behind its end, and the first `look_ahead` frames that come out, which belong to no frame, are
dropped.

The weights are those of `ConvLSTM`: a model of whole utterances is made one of live sound by
training it a little more (`auricle train DATA --init MODEL encoder.chunk_ms=320 ...`).

Axes: B batch, T feature frames (10 ms), F features, T2 = T / 4 frames of the encoder, C of them in
a chunk, D = 2 x cells.
"""

from collections.abc import Mapping
from typing import Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn

from auricle.errors import ConfigError
from auricle.models.conv_lstm import ConvLSTM, ConvLSTMSettings
from auricle.models.layers import Recurrent, ResidualConv, flat_frequency, valid_mask

LOOK_AHEAD_MS = 320.0  # where nothing else is asked for
LATE = 1  # frames that a 3x3 convolution looks ahead
CACHED = 2  # frames that it looks at besides the newest


@runtime_checkable
class Streams(Protocol):
    """What an encoder offers beside `Encoder` when it can hear sound as it comes."""

    stride: int  # as in `Encoder`
    chunk: int  # output frames in a chunk
    look_ahead: int  # output frames that `step` is late, which is all that it looks beyond a chunk
    state: Mapping[str, tuple[int, int]]  # what it remembers: name -> (rows, width)

    def step(self, x: Tensor, state: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]: ...


class ChunkedConvLSTM(nn.Module):
    """`ConvLSTM`, its very modules, for sound that comes in chunks.

    Args:
        features: F.
        hop_s: seconds from one feature frame to the next.

    Raises:
        ConfigError: chunk or look-ahead is no multiple of the encoder's frame, or the look-ahead is
            less than the convolutions need.
    """

    stride = ConvLSTM.stride
    first_layers: tuple[str, ...] = ConvLSTM.first_layers
    first: nn.Conv2d
    second: nn.Conv2d
    blocks: nn.ModuleList
    project: nn.Linear
    norm: nn.LayerNorm
    dropout: nn.Dropout
    lstm: Recurrent

    def __init__(self, features: int, settings: ConvLSTMSettings, hop_s: float) -> None:
        super().__init__()
        s = settings
        for name, part in ConvLSTM(features, s).named_children():
            self.add_module(name, part)
        self.dim = 2 * s.hidden
        frame_ms = 1000 * hop_s * self.stride
        self.chunk = _frames("chunk_ms", s.chunk_ms or 0.0, frame_ms, least=1)
        convolved = 2 * LATE * s.blocks
        ahead_ms = LOOK_AHEAD_MS if s.look_ahead_ms is None else s.look_ahead_ms
        self.look_ahead = _frames("look_ahead_ms", ahead_ms, frame_ms, least=convolved)
        self.causal = self.chunk == 1 and not self.look_ahead
        share, rest = divmod(self.look_ahead - convolved, s.layers)
        self._late = [share + (layer < rest) for layer in range(s.layers)]
        half, quarter = -(-features // 2), -(-features // 4)
        self.state = {"frame": (1, features), "half": (1, s.channels * half)}
        for number in range(s.blocks):
            self.state[f"block{number}"] = (3 * CACHED, s.channels * quarter)
        for number, late in enumerate(self._late):
            if late:
                self.state[f"ahead{number}"] = (late, 2 * s.hidden if number else s.dim)
        self.state |= {"hidden": (s.layers, s.hidden), "cell": (s.layers, s.hidden)}

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """See `Encoder`: whole utterances, each from a memory of zeros."""
        x = x * valid_mask(lengths, x.shape[1])[:, :, None].to(x.dtype)
        silence = self.stride * self.look_ahead
        silence += -(x.shape[1] + silence) % (self.stride * self.chunk)
        start = {name: x.new_zeros(x.shape[0], *shape) for name, shape in self.state.items()}
        y, _ = self.step(nn.functional.pad(x, (0, 0, 0, silence)), start)
        frames = -(-x.shape[1] // self.stride)
        lengths = torch.div(lengths + self.stride - 1, self.stride, rounding_mode="floor")
        return y[:, self.look_ahead : self.look_ahead + frames], lengths

    def step(self, x: Tensor, state: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """The next chunks, and what they leave behind.

        Args:
            x: (B, T, F), T a multiple of `stride` x `chunk`; after the last frame, zeros.
            state: what the chunks before left behind; zeros before the first one.

        Returns:
            (B, T / stride, D) states, those of `look_ahead` frames earlier; and the state, each
            (B, rows, width).
        """
        after: dict[str, Tensor] = {}
        y = torch.cat([state["frame"], x], 1)
        after["frame"] = y[:, -1:]
        y = torch.relu(_convolved(self.first, y[:, None]))
        y = torch.cat([_maps(state["half"], y), y], 2)
        after["half"] = flat_frequency(y[:, :, -1:])
        y = torch.relu(_convolved(self.second, y))
        for number, block in enumerate(self.blocks):
            name = f"block{number}"
            y, after[name] = _residual(cast(ResidualConv, block), y, state[name])
        y = self.dropout(torch.relu(self.norm(self.project(flat_frequency(y)))))
        return self._recur(y, state, after)

    def _recur(
        self, y: Tensor, state: Mapping[str, Tensor], after: dict[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        hidden, cell = [], []
        frames = y.shape[1]
        for number, forwards in enumerate(self.lstm.forwards):
            y = self.lstm.dropout(y) if number else y
            if late := self._late[number]:
                name = f"ahead{number}"
                y = torch.cat([state[name].to(y.dtype), y], 1)
                after[name] = y[:, frames:]
            memory = (state[name][:, number : number + 1] for name in ("hidden", "cell"))
            h, c = (each.transpose(0, 1).contiguous() for each in memory)
            past, (h, c) = forwards(y[:, :frames], (h, c))
            hidden.append(h.transpose(0, 1))
            cell.append(c.transpose(0, 1))
            future = _in_chunks(self.lstm.backwards[number], y, self.chunk, late)
            y = self.lstm.norms[number](torch.cat([past, future], -1))
        after |= {"hidden": torch.cat(hidden, 1), "cell": torch.cat(cell, 1)}
        return y, after


def _in_chunks(backwards: nn.Module, y: Tensor, chunk: int, late: int) -> Tensor:
    """Each chunk back to front, from `late` frames beyond it: (B, n C + late, .) -> (B, n C, .)."""
    batch, width, frames = y.shape[0], y.shape[2], y.shape[1] - late
    windows = y[:, :frames].reshape(-1, chunk, width)
    if late:
        # Shifted by one frame for each frame of the look-ahead: any `late` will do, and any n.
        beyond = [y[:, chunk + place : frames + place + 1 : chunk] for place in range(late)]
        windows = torch.cat([windows, torch.stack(beyond, 2).reshape(-1, late, width)], 1)
    states = backwards(windows.flip(1))[0].flip(1)[:, :chunk]
    return cast(Tensor, states.reshape(batch, frames, -1))


def _convolved(conv: nn.Conv2d, y: Tensor) -> Tensor:
    """The convolution over (B, C, T, F) without padding in time: what was before is in y."""
    return nn.functional.conv2d(y, conv.weight, conv.bias, conv.stride, (0, 1))


def _residual(block: ResidualConv, y: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """What `block` makes of the frames y (B, C, T, F), two frames late; and what it remembers."""
    skipped, *cached = _maps(state, y).split(CACHED, 2)
    x = torch.cat([skipped, y], 2)
    kept = [x[:, :, -CACHED:]]
    for norm, conv, before in zip(block.norms, block.convs, cached, strict=True):
        y = torch.cat([before, block.dropout(torch.relu(norm(y)))], 2)
        kept.append(y[:, :, -CACHED:])
        y = _convolved(cast(nn.Conv2d, conv), y)
    return x[:, :, :-CACHED] + y, flat_frequency(torch.cat(kept, 2))


def _maps(rows: Tensor, like: Tensor) -> Tensor:
    """(B, rows, C F) as remembered -> (B, C, rows, F) as `like`."""
    batch, channels, _, bands = like.shape
    return rows.reshape(batch, -1, channels, bands).transpose(1, 2).to(like.dtype)


def _frames(key: str, asked_ms: float, frame_ms: float, *, least: int) -> int:
    frames = round(asked_ms / frame_ms)
    if abs(frames * frame_ms - asked_ms) > 1e-6 or frames < least:
        raise ConfigError(
            f"encoder.{key} = {asked_ms:g}: must be a multiple of {frame_ms:g}, one frame of the"
            f" encoder, from {least * frame_ms:g} on, e.g. {max(least, frames) * frame_ms:g}"
        )
    return frames
