"""The layers and sizes of auricle's ConvLSTM, built from SpeechBrain's parts."""

import torch
from speechbrain.nnet.CNN import Conv2d
from speechbrain.nnet.linear import Linear
from speechbrain.nnet.normalization import LayerNorm
from speechbrain.nnet.RNN import LSTM
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


class Residual(torch.nn.Module):
    def __init__(self, channels: int, bands: int, dropout: float) -> None:
        super().__init__()
        shape = (None, None, bands, channels)
        self.norms = torch.nn.ModuleList(LayerNorm(input_shape=shape) for _ in range(2))
        self.convs = torch.nn.ModuleList(
            Conv2d(channels, (3, 3), in_channels=channels) for _ in range(2)
        )
        self.dropout = torch.nn.Dropout(dropout)

    def forward(self, x):
        y = x
        for norm, conv in zip(self.norms, self.convs):  # noqa: B905
            y = conv(self.dropout(torch.relu(norm(y))))
        return x + y


class Encoder(torch.nn.Module):
    def __init__(self, mels: int, s: dict, packed: bool) -> None:
        super().__init__()
        bands, channels = -(-mels // 4), s["channels"]
        self.packed = packed
        self.first = Conv2d(channels, (3, 3), in_channels=1, stride=(2, 2))
        self.second = Conv2d(channels, (3, 3), in_channels=channels, stride=(2, 2))
        self.blocks = torch.nn.ModuleList(
            Residual(channels, bands, s["dropout"]) for _ in range(s["blocks"])
        )
        self.project = Linear(s["dim"], input_size=channels * bands)
        self.norm = LayerNorm(input_size=s["dim"])
        self.dropout = torch.nn.Dropout(s["dropout"])
        widths = [s["dim"], *[2 * s["hidden"]] * (s["layers"] - 1)]
        self.layers = torch.nn.ModuleList(
            LSTM(s["hidden"], input_size=width, bidirectional=True) for width in widths
        )
        self.norms = torch.nn.ModuleList(LayerNorm(input_size=2 * s["hidden"]) for _ in widths)

    def forward(self, x, shares):
        y = torch.relu(self.second(torch.relu(self.first(x[..., None]))))
        for block in self.blocks:
            y = block(y)
        y = self.dropout(torch.relu(self.norm(self.project(y.flatten(2)))))
        for number, (layer, norm) in enumerate(zip(self.layers, self.norms)):  # noqa: B905
            y = self.dropout(y) if number else y
            if self.packed:
                lengths = (shares * y.shape[1]).round().clamp(min=1).cpu()
                z = pack_padded_sequence(y, lengths, batch_first=True, enforce_sorted=False)
                y = pad_packed_sequence(
                    layer.rnn(z)[0], batch_first=True, total_length=y.shape[1]
                )[0]  # fmt: skip
            else:
                y = layer(y)[0]
            y = norm(y)
        return y
