"""A model that streams hears live sound as it hears files, however the sound is cut."""

import itertools
import json
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.sync.client import connect

from auricle.bundle import Bundle, Card
from auricle.config import resolve
from auricle.decode import BeamSettings, DecodeSettings, GreedySettings
from auricle.engine import Float32
from auricle.errors import ConfigError, ModelError
from auricle.export import ExportSettings, export_bundle
from auricle.features import FeatureSettings, FrontEnd
from auricle.models.conv_lstm import ConvLSTMSettings
from auricle.models.decoders import FrameClassifier
from auricle.models.encoders import RNNSettings, build_encoder
from auricle.runtime import Recognizer
from auricle.stream import Heard, LiveHearing, LiveSettings, State, Streamer
from auricle.tasks.ctc import CTCSettings
from serving import serving

pytestmark = pytest.mark.slow  # real servers, or hundreds of cases: not for `make check`

RATE_HZ = 16_000
FEATURES = FeatureSettings(mels=20, normalise="none")
FRONT_END = FrontEnd(FEATURES)
ENCODER = ConvLSTMSettings(
    channels=4, blocks=1, dim=24, hidden=16, layers=2, chunk_ms=80, look_ahead_ms=160
)
SYMBOLS = ["<blank>", " ", *"abcd"]
CUTS = {"1 sample": 1, "1 frame": 160, "7 ms": 112, "320 ms": 5_120, "all": 10**9}


def model_of(encoder: ConvLSTMSettings | RNNSettings) -> FrameClassifier:
    """Untrained, but sure of itself, and silent where the sound is."""
    torch.manual_seed(8)
    model = FrameClassifier(build_encoder(FRONT_END.dim, encoder), len(SYMBOLS)).eval()
    with torch.no_grad():
        model.classify.weight.mul_(30)
        silence = torch.from_numpy(FRONT_END(np.zeros(4 * RATE_HZ, np.float32)))[None]
        state = model.encoder(silence, torch.tensor([silence.shape[1]]))[0][0, -10]
        blank = torch.tensor([8.0, 2.0, 0, 0, 0, 0])
        model.classify.bias.copy_(blank - model.classify.weight @ state)
    return model


def card(**values: object) -> Card:
    given = {"auricle_version": "0", "task": "reading", "answer": "tokens", "stride": 4}
    tokenizer = {"unit": "char", "symbols": SYMBOLS}
    return Card.parse(given | {"features": FEATURES.to_dict(), "tokenizer": tokenizer} | values)


@pytest.fixture(scope="module", name="bundle")
def _bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    path = tmp_path_factory.mktemp("streaming") / "live.auricle"
    return export_bundle(path, model_of(ENCODER), card())


@pytest.fixture(scope="module", name="greedy")
def _greedy(bundle: Bundle) -> Recognizer:
    return Recognizer.load(bundle, threads=1)


@pytest.fixture(scope="module", params=[GreedySettings(), BeamSettings(beam=8)], name="recognizer")
def _recognizer(request: pytest.FixtureRequest, bundle: Bundle) -> Recognizer:
    decode: DecodeSettings = request.param
    return Recognizer.load(bundle, threads=1, decode=decode)


def spoken(*seconds: float) -> Float32:
    """Tones of so many seconds; pauses where they are negative."""
    rng = np.random.default_rng(1)
    parts = []
    for each in seconds:
        count = max(1, round(abs(each) / 0.1))
        for hz in rng.uniform(50, 7_900, count):
            times = np.arange(round(abs(each) / count * RATE_HZ)) / RATE_HZ
            parts.append(0.3 * np.sin(2 * np.pi * hz * times) * (each > 0))
    return np.concatenate(parts).astype(np.float32)


def pieces(sound: Float32, sizes: Iterable[int]) -> Iterable[Float32]:
    at = 0
    for size in sizes:
        yield sound[at : at + size]
        at += size
        if at >= len(sound):
            return


def told(
    streamer: Streamer, sound: Float32, sizes: Iterable[int]
) -> list[tuple[Heard | None, State]]:
    """All that is heard, and the state before it."""
    state, found = streamer.start(), []
    for piece in pieces(sound, sizes):
        for heard, after in streamer.hear(piece, state):
            found.append((heard, state))
            state = after
    return [*found, *((heard, state) for heard, _ in streamer.end(state))]


def only_heard(found: list[tuple[Heard | None, State]]) -> list[Heard]:
    return [heard for heard, _ in found if heard is not None]


SOUND = spoken(1.3, -1.5, 0.9, -0.2, 0.5, -2.5)


def test_the_sound_of_these_tests_says_something(recognizer: Recognizer) -> None:
    found = [h for h in only_heard(told(Streamer.of(recognizer), SOUND, [10**9])) if h.words]
    assert {heard.kind for heard in found} == {"partial", "final"}
    assert len({heard.number for heard in found}) >= 2
    assert len({word.text for heard in found for word in heard.words}) > 3


@pytest.mark.parametrize("size", CUTS.values(), ids=CUTS)
def test_an_utterance_is_heard_as_its_file_is(recognizer: Recognizer, size: int) -> None:
    sound = spoken(0.9, -0.2, 1.1)[:-37]  # it ends in the middle of something
    streamer = Streamer.of(recognizer, LiveSettings(step_s=0.16, pause_s=5.0))
    state = streamer.start()
    for piece in pieces(sound, itertools.repeat(size)):
        partial, final, state = streamer.step(piece, state)
        assert final == ()
    partial, final, state = streamer.finish(state)
    wanted = recognizer.transcribe((sound, RATE_HZ)).words
    assert partial == ()
    assert len(final) > 2
    assert [(w.text, w.start_s, w.end_s) for w in final] == [
        (w.text, w.start_s, w.end_s) for w in wanted
    ]
    assert [w.confidence for w in final] == pytest.approx([w.confidence for w in wanted], abs=1e-4)


@given(sizes=st.lists(st.integers(1, 12_000), min_size=1, max_size=40))
@settings(max_examples=8, deadline=None)
def test_how_the_sound_is_cut_changes_nothing(greedy: Recognizer, sizes: list[int]) -> None:
    streamer = Streamer.of(greedy)
    whole = only_heard(told(streamer, SOUND, [10**9]))
    assert only_heard(told(streamer, SOUND, [*sizes, 10**9])) == whole


def test_every_utterance_is_what_its_stretch_of_a_file_gives(recognizer: Recognizer) -> None:
    checked = 0
    for heard, before in told(Streamer.of(recognizer), SOUND, [10**9]):
        if heard and heard.kind == "final":
            first, last = before.start_samples, round(heard.end_s * RATE_HZ)
            wanted = recognizer.transcribe((SOUND[first:last], RATE_HZ)).words
            assert [word.text for word in heard.words] == [word.text for word in wanted]
            assert [word.start_s - first / RATE_HZ for word in heard.words] == pytest.approx(
                [word.start_s for word in wanted]
            )
            checked += 1
    assert checked >= 2


def test_an_utterance_too_long_is_cut_and_nothing_is_lost(greedy: Recognizer) -> None:
    sound = spoken(13.0)
    found = told(Streamer.of(greedy, LiveSettings(step_s=0.16, longest_s=5.0)), sound, [10**9])
    finals = [(heard, state) for heard, state in found if heard and heard.kind == "final"]
    assert len(finals) >= 3
    ends = [round(heard.end_s * RATE_HZ) for heard, _ in finals]
    assert [state.start_samples for _, state in finals] == [0, *ends[:-1]]
    assert ends[-1] == len(sound)
    for heard, state in finals:
        stretch = sound[state.start_samples : round(heard.end_s * RATE_HZ)]
        wanted = greedy.transcribe((stretch, RATE_HZ)).words
        assert [word.text for word in heard.words] == [word.text for word in wanted]


def test_stable_words_are_shown_as_they_are(recognizer: Recognizer) -> None:
    number, shown, most = 0, (), 0
    for heard in only_heard(told(Streamer.of(recognizer), SOUND, [10**9])):
        if heard.number != number:
            number, shown = heard.number, ()
        if heard.kind == "partial":
            assert heard.words[: len(shown)] == shown
            shown = heard.words[: heard.stable]
            most = max(most, heard.stable)
    assert most > 2


def test_a_state_never_changes(greedy: Recognizer) -> None:
    streamer = Streamer.of(greedy)
    state = streamer.step(SOUND[:14_321], streamer.start()).state
    first = streamer.step(SOUND[14_321:], state)
    streamer.step(spoken(3.0)[::-1].copy(), state)
    again = streamer.step(SOUND[14_321:], state)
    assert (again.partial, again.final) == (first.partial, first.final)
    assert first.final


def test_a_session_of_hours_takes_no_more_memory_than_one_of_minutes(greedy: Recognizer) -> None:
    """What is remembered, of silence or of speech without end, stays bounded."""
    streamer = Streamer.of(greedy)
    state = streamer.start()
    for piece in [spoken(-15.0), spoken(20.0)]:
        for at in range(0, len(piece), RATE_HZ):
            state = streamer.step(piece[at : at + RATE_HZ], state).state
            assert isinstance(state.hearing, LiveHearing)
            assert len(state.hearing.recent) <= 6 * RATE_HZ
            assert len(state.hearing.marks) <= 6 / 0.16
            assert state.hearing.samples <= 16 * RATE_HZ


def test_over_the_websocket_it_is_the_same(
    bundle: Bundle, greedy: Recognizer, tmp_path: Path
) -> None:
    pcm16 = np.round(SOUND * 32_768).astype("<i2").tobytes()
    sound = np.frombuffer(pcm16, "<i2").astype(np.float32) / 32_768
    with (
        serving(tmp_path, models={"live": str(bundle.path)}) as server,
        connect(server.url.replace("http", "ws") + "/v1/realtime") as connection,
    ):
        for at in range(0, len(pcm16), 3_001):
            connection.send(pcm16[at : at + 3_001])
        connection.send('{"type": "input_audio_buffer.commit"}')
        got = [json.loads(connection.recv(timeout=60))]
        while got[-1]["type"] != "committed":
            got.append(json.loads(connection.recv(timeout=60)))
    wanted = only_heard(told(Streamer.of(greedy), sound, [10**9]))
    assert len(wanted) > 10
    assert len(got) == 1 + len(wanted) + 1
    for message, heard in zip(got[1:-1], wanted, strict=True):
        assert (message["type"], message["item"]) == (heard.kind, heard.number)
        assert message["text"] == " ".join(word.text for word in heard.words)
        assert sum(word.get("stable", True) for word in message["words"]) == heard.stable


def test_the_card_says_how_the_graph_streams(bundle: Bundle) -> None:
    streaming = bundle.card.streaming
    assert streaming is not None
    assert (streaming.look_ahead_ms, streaming.look_ahead_frames) == (160.0, 4)
    assert streaming.stride == bundle.card.stride == 4
    assert streaming.chunk_frames == 8
    assert streaming.state == {
        "frame": (1, 20),
        "half": (1, 40),
        "block0": (6, 20),
        "ahead0": (1, 24),
        "ahead1": (1, 32),
        "hidden": (2, 16),
        "cell": (2, 16),
    }
    assert bundle.card.metrics["export"]["gate"]["difference"] < 1e-4


def test_a_bundle_that_does_not_stream_does_not_speak_of_it(tmp_path: Path) -> None:
    whole = export_bundle(tmp_path / "m", model_of(RNNSettings(hidden=8, layers=1)), card(stride=3))
    with zipfile.ZipFile(whole.path) as archive:
        assert "streaming" not in json.loads(archive.read("card.json"))
    assert whole.card.streaming is None
    recognizer = Recognizer.load(whole, threads=1)
    found = only_heard(told(Streamer.of(recognizer), SOUND, [999] * 1_000))
    assert {heard.kind for heard in found if heard.words} == {"partial", "final"}


def test_eight_bits_are_refused(tmp_path: Path) -> None:
    asked = ExportSettings(precision="int8")
    with pytest.raises(ConfigError, match="8-bit scales span a chunk"):
        export_bundle(tmp_path / "m", model_of(ENCODER), card(), settings=asked, score=lambda _: {})
    scored = export_bundle(tmp_path / "m", model_of(ENCODER), card(), score=lambda _: {"wer": 0.5})
    assert scored.card.precision == "fp32"
    assert "8-bit scales" in scored.card.metrics["export"]["reason"]


def test_a_card_that_is_not_the_graphs_is_refused(bundle: Bundle) -> None:
    for streaming in (None, {**bundle.card.to_dict()["streaming"], "state": {"other": [1, 2]}}):
        wrong = Card.parse({**bundle.card.to_dict(), "streaming": streaming})
        with pytest.raises(ModelError, match="the graph has inputs"):
            Recognizer.load(Bundle(bundle.path, wrong))


def test_normalising_over_the_utterance_is_refused() -> None:
    with pytest.raises(ConfigError, match='"utterance" needs the whole recording'):
        resolve(CTCSettings, None, ["encoder.chunk_ms=320"])
    resolve(CTCSettings, None, ["encoder.chunk_ms=320", "features.normalise=none"])
