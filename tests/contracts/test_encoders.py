"""What every encoder owes every task: run over all of them."""

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from auricle.config import Settings
from auricle.errors import ConfigError
from auricle.models.convolutional import BroadcastSettings, ResidualWaveSettings, WaveConvSettings
from auricle.models.encoders import (
    ENCODERS,
    ConformerSettings,
    ConvLSTMSettings,
    Encoder,
    RNNSettings,
    build_encoder,
)
from auricle.models.streaming import Streams

FEATURES = 20
# Single precision, a few layers deep: other processors sum in another order (seen up to 1.4e-5).
CLOSE = 5e-5
SMALL = {
    "conv_lstm": ConvLSTMSettings(channels=4, blocks=1, dim=16, hidden=12, layers=2),
    "lstm": RNNSettings(hidden=12, layers=2),
    "gru": RNNSettings(cell="gru", hidden=12, layers=2, stack=2),
    "causal_lstm": RNNSettings(hidden=12, layers=2, bidirectional=False),
    "causal_gru": RNNSettings(cell="gru", hidden=12, layers=1, stack=1, bidirectional=False),
    "conformer": ConformerSettings(channels=4, dim=16, heads=2, layers=2, width=5),
    "chunked": ConvLSTMSettings(
        channels=4, blocks=1, dim=16, hidden=12, layers=2, chunk_ms=80, look_ahead_ms=200
    ),
    "chunked_short": ConvLSTMSettings(
        channels=4, blocks=0, dim=16, hidden=12, layers=2, chunk_ms=40, look_ahead_ms=0
    ),
    "wave_conv": WaveConvSettings(channels=(6, 8), widths=(5, 3), pool=3, noise=0.1),
    "residual_wave": ResidualWaveSettings(
        stem=8, stem_width=5, stem_stride=2, channels=(8, 12), width=3
    ),
    "residual_bands": ResidualWaveSettings(
        stem=8, channels=(8, 8), width=5, blocks=2, stage_stride=1
    ),
    "broadcast": BroadcastSettings(stem=6, channels=(6, 8), width=3, blocks=2),
    "broadcast_slow": BroadcastSettings(stem=4, channels=(4,), width=3, blocks=1, stride=4),
}


@pytest.fixture(params=SMALL, name="encoder")
def _encoder(request: pytest.FixtureRequest) -> Encoder:
    torch.manual_seed(1)
    encoder = build_encoder(FEATURES, SMALL[request.param])
    return encoder.eval()


def run(encoder: Encoder, rows: list[torch.Tensor]) -> list[torch.Tensor]:
    lengths = torch.tensor([len(row) for row in rows])
    padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    # What lies beyond the end must not matter, so it is not even zero here.
    beyond = torch.arange(padded.shape[1])[None, :] >= lengths[:, None]
    padded[beyond] = 7.0
    with torch.inference_mode():
        states, ends = encoder(padded, lengths)
    return [state[:end] for state, end in zip(states, ends.tolist(), strict=True)]


def test_every_encoder_is_covered() -> None:
    assert {type(settings) for settings in SMALL.values()} == set(ENCODERS)


def test_it_is_an_encoder(encoder: Encoder) -> None:
    assert isinstance(encoder, Encoder)
    (states,) = run(encoder, [torch.randn(40, FEATURES)])
    assert states.shape[1] == encoder.dim


def test_batch_and_padding_change_nothing(encoder: Encoder) -> None:
    torch.manual_seed(2)
    rows = [torch.randn(length, FEATURES) for length in (57, 23, 1, 40, 8)]
    together = run(encoder, rows)
    for row, states in zip(rows, together, strict=True):
        (alone,) = run(encoder, [row])
        torch.testing.assert_close(states, alone, rtol=0, atol=CLOSE)
    reordered = run(encoder, rows[::-1])[::-1]
    for states, again in zip(together, reordered, strict=True):
        torch.testing.assert_close(states, again, rtol=0, atol=CLOSE)


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 7, 8, 9, 31, 32, 33])
def test_the_length_formula_is_the_real_length(encoder: Encoder, length: int) -> None:
    with torch.inference_mode():
        states, ends = encoder(torch.randn(1, length, FEATURES), torch.tensor([length]))
    assert ends.tolist() == [-(-length // encoder.stride)]
    assert states.shape[1] == ends[0]


def test_gradients_do_not_come_from_padding(encoder: Encoder) -> None:
    torch.manual_seed(3)
    x = torch.randn(2, 40, FEATURES, requires_grad=True)
    states, ends = encoder(x, torch.tensor([40, 17]))
    (states[1, : ends[1]] * torch.randn(encoder.dim)).sum().backward()
    assert x.grad is not None
    assert x.grad[1, :17].abs().sum() > 0
    assert x.grad[1, 17:].abs().sum() == 0
    assert x.grad[0].abs().sum() == 0


def test_a_causal_encoder_agrees_on_every_prefix(encoder: Encoder) -> None:
    torch.manual_seed(4)
    row = torch.randn(24, FEATURES)
    (whole,) = run(encoder, [row])
    prefixes = [run(encoder, [row[:end]])[0] for end in range(encoder.stride, 24, encoder.stride)]
    agree = all(
        torch.allclose(prefix, whole[: len(prefix)], rtol=0, atol=CLOSE) for prefix in prefixes
    )
    assert agree == encoder.causal


def test_a_bidirectional_layer_equals_packed_sequences() -> None:
    """The peer that nobody here wrote: torch's packed bidirectional LSTM."""
    torch.manual_seed(5)
    encoder = build_encoder(FEATURES, RNNSettings(hidden=6, layers=1, stack=1)).eval()
    peer = torch.nn.LSTM(FEATURES, 6, batch_first=True, bidirectional=True)
    ours = dict(encoder.rnn.forwards[0].named_parameters())
    back = {f"{k}_reverse": v for k, v in encoder.rnn.backwards[0].named_parameters()}
    peer.load_state_dict(ours | back)
    rows = [torch.randn(length, FEATURES) for length in (9, 30, 17)]
    packed = torch.nn.utils.rnn.pack_sequence([encoder.norm(r) for r in rows], enforce_sorted=False)
    wanted, lengths = torch.nn.utils.rnn.pad_packed_sequence(peer(packed)[0], batch_first=True)
    for found, row, length in zip(run(encoder, rows), wanted, lengths, strict=True):
        normed = encoder.rnn.norms[0](row[:length])
        torch.testing.assert_close(found, normed, rtol=0, atol=CLOSE)


@pytest.mark.parametrize("chunk", [1, 2, 8])
@pytest.mark.parametrize(("look_ahead_ms", "late"), [(80, 2), (120, 3), (320, 8), (640, 16)])
def test_the_future_is_exactly_what_was_asked_for(
    chunk: int, look_ahead_ms: float, late: int
) -> None:
    """Convolutions included: the state of frame t comes out `late` frames later, and depends on all
    feature frames to the end of the chunk that is then heard, and on no other."""
    torch.manual_seed(6)
    settings = ConvLSTMSettings(
        channels=4,
        blocks=1,
        dim=16,
        hidden=12,
        layers=3,
        chunk_ms=40 * chunk,
        look_ahead_ms=look_ahead_ms,
    )
    encoder = build_encoder(FEATURES, settings).double().eval()
    x = torch.randn(1, 160, FEATURES, dtype=torch.float64, requires_grad=True)
    states, _ = encoder(x, torch.tensor([160]))
    states = states * torch.arange(1, 25)  # a sum of normalised states would be a constant
    for t in (0, 1, 5):
        (gradient,) = torch.autograd.grad(states[0, t].square().sum(), x, retain_graph=True)
        heard = gradient[0].abs().sum(1).nonzero().flatten().tolist()
        assert heard == list(range(4 * chunk * ((t + late) // chunk + 1)))


def test_chunk_and_look_ahead_are_in_milliseconds_whatever_the_hop() -> None:
    encoders = [build_encoder(FEATURES, SMALL["chunked"], hop) for hop in (0.01, 0.005)]
    assert [(each.chunk, each.look_ahead) for each in encoders] == [(2, 5), (4, 10)]


def test_a_chunk_longer_than_the_sound_hears_what_whole_utterances_hear() -> None:
    """The peer is the encoder of whole utterances, with the same weights. Its sound begins and ends
    with silence that is long enough to be heard alike, up to what an LSTM forgets."""
    torch.manual_seed(9)
    shape = {"channels": 4, "blocks": 2, "dim": 16, "hidden": 12, "layers": 2}
    whole = build_encoder(FEATURES, ConvLSTMSettings(**shape)).eval()
    settings = ConvLSTMSettings(**shape, chunk_ms=4_000, look_ahead_ms=4_000)
    chunked = build_encoder(FEATURES, settings).eval()
    chunked.load_state_dict(whole.state_dict())
    row = torch.zeros(320, FEATURES)
    row[120:160] = torch.randn(40, FEATURES)
    (wanted,), (found,) = run(whole, [row]), run(chunked, [row])
    torch.testing.assert_close(found[20:50], wanted[20:50], rtol=0, atol=1e-3)


@given(cuts=st.lists(st.integers(0, 8), max_size=12))
@hypothesis_settings(max_examples=25, deadline=None)
def test_streaming_equals_offline_for_every_chunking(cuts: list[int]) -> None:
    torch.manual_seed(7)
    encoder = build_encoder(FEATURES, SMALL["chunked"]).eval()
    assert isinstance(encoder, Streams)
    rows = torch.randn(2, 57, FEATURES)
    with torch.inference_mode():
        wanted, _ = encoder(rows, torch.tensor([57, 57]))
        size = encoder.stride * encoder.chunk
        x = torch.nn.functional.pad(rows, (0, 0, 0, 10 * size - 57))
        state = {name: torch.zeros(2, *shape) for name, shape in encoder.state.items()}
        found, at = [], 0
        for chunks in [*cuts, 100]:
            chunk = x[:, at : at + size * chunks]
            at += size * chunks
            if chunk.shape[1]:
                states, state = encoder.step(chunk, state)
                found.append(states)
    streamed = torch.cat(found, 1)[:, encoder.look_ahead :]
    torch.testing.assert_close(streamed[:, : wanted.shape[1]], wanted, rtol=0, atol=CLOSE)
    assert {name: tuple(each.shape[1:]) for name, each in state.items()} == encoder.state


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (ConformerSettings(dim=18, heads=4), "multiple of 2 x heads = 8"),
        (ConformerSettings(width=4), "must be odd"),
        (WaveConvSettings(channels=(4,)), "1 numbers, encoder.widths 4"),
        (ResidualWaveSettings(width=4), r"encoder\.width = 4: must be odd, e\.g\. 5"),
        (ConvLSTMSettings(chunk_ms=300), r"chunk_ms = 300: must be a multiple of 40.*e\.g\. 320"),
        (ConvLSTMSettings(chunk_ms=320, look_ahead_ms=40), r"from 160 on, e\.g\. 160"),
        (BroadcastSettings(width=2), r"encoder\.width = 2: must be odd"),
    ],
)
def test_contradictions_are_named(settings: Settings, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        build_encoder(FEATURES, settings)
