"""Heads: what reads an encoder's states and gives an answer per frame, clip or token."""

from torch import Tensor, nn

from auricle.models.encoders import Encoder


class FrameClassifier(nn.Module):
    """An encoder and one linear layer: log-probabilities over `symbols` for every output frame.

    (B, T, F) float, (B,) int64 -> (B, T2, V) float32 log-probabilities, (B,) int64.
    """

    def __init__(self, encoder: Encoder, symbols: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.encoder = encoder
        self.dropout = nn.Dropout(dropout)
        self.classify = nn.Linear(encoder.dim, symbols)

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        states, lengths = self.encoder(x, lengths)
        # In half precision a log-softmax loses the small probabilities that CTC sums over.
        return self.classify(self.dropout(states)).float().log_softmax(-1), lengths
