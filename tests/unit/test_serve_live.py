"""Live sound: the rule of stable words, over a model that is told the words; the websocket."""

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

import auricle
from auricle import audio
from auricle.engine import Float32
from auricle.metrics import cer
from auricle.results import Word
from auricle.serve.utterances import Utterances
from auricle.stream import Heard, LiveSettings, Rehearing, Streamer
from serving import CLIPS, Running, serving

pytestmark = pytest.mark.slow  # real servers, or hundreds of cases: not for `make check`

RATE_HZ = 1_000
WORD_S = 0.3


def spoken(*values: float, gap_s: float = 0.1) -> Float32:
    """Each value a word of that many hundredths, or a pause of -value seconds."""
    parts = []
    for value in values:
        if value < 0:
            parts.append(np.zeros(round(-value * RATE_HZ)))
        else:
            parts += [np.full(round(WORD_S * RATE_HZ), value), np.zeros(round(gap_s * RATE_HZ))]
    return np.concatenate(parts).astype(np.float32)


def hear(samples: Float32) -> tuple[Word, ...]:
    """Words of `spoken`; one that is not over yet is heard wrongly."""
    words = []
    edges = np.flatnonzero(np.diff(np.concatenate([[0], samples, [0]])))
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        whole = end - start >= WORD_S * RATE_HZ * 0.99
        text = f"w{samples[start]:g}" if whole else "hm"
        words.append(Word(text, start / RATE_HZ, end / RATE_HZ, 0.5))
    return tuple(words)


def session(
    hear: Callable[[Float32], tuple[Word, ...]], settings: LiveSettings | None = None
) -> Utterances:
    return Utterances(Streamer(Rehearing(hear, RATE_HZ), RATE_HZ, settings))


def run(sound: Float32, sizes: Iterator[int], settings: LiveSettings | None = None) -> list[Heard]:
    utterances = session(hear, settings)
    heard, at = [], 0
    while at < len(sound):
        size = next(sizes)
        heard += utterances.push(sound[at : at + size])
        at += size
    return heard + list(utterances.finish())


def always(size: int) -> Iterator[int]:
    while True:
        yield size


def texts(heard: Heard) -> list[str]:
    return [word.text for word in heard.words]


def test_utterances_end_at_pauses_and_keep_the_sessions_clock() -> None:
    sound = spoken(1, 2, -2.0, 3, -1.5)
    finals = [each for each in run(sound, always(100)) if each.kind == "final"]
    assert [texts(each) for each in finals] == [["w1", "w2"], ["w3"]]
    assert [each.number for each in finals] == [0, 1]
    assert finals[1].words[0].start_s == pytest.approx(0.8 + 2.0, abs=0.002)
    assert all(each.stable == len(each.words) for each in finals)


def test_partials_come_while_it_is_spoken_and_grow_stable() -> None:
    partials = [e for e in run(spoken(1, 2, 3, 4, 5), always(50)) if e.kind == "partial"]
    assert len(partials) == 5
    assert texts(partials[-1])[:3] == ["w1", "w2", "w3"]
    assert [each.stable for each in partials] == sorted(each.stable for each in partials)
    assert partials[-1].stable >= 3


def told(*hearings: str, settings: LiveSettings | None = None) -> list[Heard]:
    """What is shown when the model hears these, each 0.4 s after the one before; words of 0.2 s."""
    answers = iter(hearings)

    def hearing(_: Float32) -> tuple[Word, ...]:
        words = enumerate(next(answers).split())
        return tuple(Word(text, 0.2 * at, 0.2 * at + 0.2, 0.5) for at, text in words)

    utterances = session(hearing, settings or LiveSettings(pause_s=5.0))
    return [e for _ in hearings for e in utterances.push(np.zeros(400, np.float32))]


def test_a_stable_word_is_shown_as_it_is_though_the_model_changes_its_mind() -> None:
    heard = told("a", "a b", "a b c", "x y c d", "x y c d e")
    assert [each.stable for each in heard] == [0, 1, 2, 3, 4]
    assert texts(heard[3]) == ["a", "b", "c", "d"]
    assert texts(heard[4]) == ["a", "b", "c", "d", "e"]


def test_words_on_which_two_hearings_differ_are_not_stable_nor_are_those_after_them() -> None:
    heard = told("a b c", "a x c", "a x y", "a x c d")
    assert [each.stable for each in heard] == [0, 1, 2, 2]
    assert texts(heard[2]) == ["a", "x", "y"]


def test_a_word_at_the_edge_is_not_stable_however_often_it_is_heard() -> None:
    wide = told("a b c", "a b c", settings=LiveSettings(edge_s=0.3))
    none = told("a b c", "a b c", settings=LiveSettings(edge_s=0.0))
    assert (wide[1].stable, none[1].stable) == (2, 3)


@given(
    values=st.lists(
        st.integers(1, 9) | st.sampled_from([-0.3, -1.2, -4.0]), min_size=1, max_size=25
    ),
    sizes=st.lists(st.integers(1, 2_000), min_size=1, max_size=20),
)
def test_stable_words_are_never_taken_back_and_nothing_is_lost(
    values: list[float], sizes: list[int]
) -> None:
    """However the sound is cut into messages."""
    wanted = [f"w{value:g}" for value in values if value > 0]
    cut = iter([*sizes, *[100] * 10_000])
    shown: list[str] = []
    number, finals = 0, []
    for each in run(spoken(*values), cut):
        if each.number != number:
            number, shown = each.number, []
        assert texts(each)[: len(shown)] == shown or each.kind == "final"
        shown = texts(each)[: each.stable]
        if each.kind == "final":
            finals += texts(each)
    # only an utterance that got too long is cut where it is spoken
    if all(len(group) < 20 for group in [values]):
        assert finals == wanted


def test_who_is_late_hears_the_newest_and_loses_no_word() -> None:
    sound = np.concatenate([spoken(*range(1, 9)), spoken(-2.0), spoken(9, -2.0)])
    heard_s: list[float] = []

    def costly(samples: Float32) -> tuple[Word, ...]:
        heard_s.append(len(samples) / RATE_HZ)
        return hear(samples)

    utterances = session(costly)
    told = [*utterances.push(sound), *utterances.finish()]
    finals = [texts(each) for each in told if each.kind == "final"]
    assert [word for words in finals for word in words] == [f"w{n}" for n in range(1, 10)]
    assert len(heard_s) <= 4  # not once for each of its 20 steps
    heard_s.clear()
    utterances = session(costly)  # a long one is heard as often as it must be cut
    told = [*utterances.push(spoken(*range(1, 101))), *utterances.finish()]
    assert max(heard_s) <= LiveSettings().longest_s + LiveSettings().step_s
    words = [word for each in told if each.kind == "final" for word in texts(each)]
    assert words == [f"w{n}" for n in range(1, 101)]


def test_an_utterance_without_a_pause_is_cut_at_its_quietest() -> None:
    settings = LiveSettings(longest_s=4.0)
    finals = [e for e in run(spoken(*range(1, 30)), always(90), settings) if e.kind == "final"]
    assert len(finals) >= 3
    assert [text for each in finals for text in texts(each)] == [f"w{n}" for n in range(1, 30)]


@pytest.mark.parametrize(("silence_s", "longest_s"), [(0.0, 2.0), (1.0, 2.8)])
def test_silence_costs_little_and_says_nothing(silence_s: float, longest_s: float) -> None:
    lengths = []

    def noting(samples: Float32) -> tuple[Word, ...]:
        lengths.append(len(samples))
        return ()

    utterances = session(noting, LiveSettings(silence_s=silence_s))
    for _ in range(100):
        assert list(utterances.push(np.zeros(400, np.float32))) == []
    assert longest_s - 0.4 <= max(lengths) / RATE_HZ <= longest_s


def test_words_that_vanish_are_taken_back() -> None:
    answers = iter([(Word("noise", 0.1, 0.3, 0.2),), (), ()])
    utterances = session(lambda _: next(answers))
    heard = [e for _ in range(3) for e in utterances.push(np.zeros(400, np.float32))]
    assert [(each.kind, texts(each)) for each in heard] == [("partial", ["noise"]), ("final", [])]


# --- over the websocket ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving(tmp_path_factory.mktemp("state"), live_sessions=50) as running:
        yield running


def open_socket(server: Running, query: str = "", **more: Any) -> connect:
    return connect(server.url.replace("http", "ws") + "/v1/realtime" + query, **more)


def messages(connection: ClientConnection, until: str) -> list[dict[str, Any]]:
    got = [json.loads(connection.recv(timeout=60))]
    while got[-1]["type"] != until:
        got.append(json.loads(connection.recv(timeout=60)))
    return got


def pcm16(samples: Float32) -> bytes:
    return np.clip(np.round(samples * 32_768), -32_768, 32_767).astype("<i2").tobytes()


@pytest.mark.parametrize("rate_hz", [16_000, 24_000])
def test_what_is_spoken_is_heard_as_the_file_would_be(server: Running, rate_hz: int) -> None:
    """In odd messages, at the model's rate or another, as bytes or as OpenAI's JSON."""
    clip, _ = audio.load(CLIPS / "morning.flac")
    expected = auricle.load("english", threads=1).transcribe((clip, 16_000))
    sound = pcm16(
        audio.resample(np.concatenate([clip, np.zeros(24_000, np.float32)]), 16_000, rate_hz)
    )
    with open_socket(server, f"?rate={rate_hz}") as connection:
        assert messages(connection, "session.created")[0]["language"] == "en"
        for number, at in enumerate(range(0, len(sound), 3_001)):
            part = sound[at : at + 3_001]
            if number % 2:
                text = base64.b64encode(part).decode()
                connection.send(json.dumps({"type": "input_audio_buffer.append", "audio": text}))
            else:
                connection.send(part)
        connection.send(json.dumps({"type": "input_audio_buffer.commit"}))
        got = messages(connection, "committed")
    words = [word["word"] for each in got if each["type"] == "final" for word in each["words"]]
    assert "partial" in [each["type"] for each in got]
    # where the utterance ends changes the normalisation, and so a letter here and there
    assert cer([expected.text], [" ".join(words)]) < 0.5


@pytest.mark.parametrize(
    "message",
    [
        "",
        "[]",
        "{}",
        "null",
        '{"type": "input_audio_buffer.append"}',
        '{"type": "input_audio_buffer.append", "audio": 3}',
        '{"type": "input_audio_buffer.append", "audio": "%%%"}',
        '{"type": "something"}',
        "[" * 100_000,
    ],
)
def test_what_is_not_known_ends_it_with_a_word(server: Running, message: str) -> None:
    with open_socket(server) as connection:
        messages(connection, "session.created")
        connection.send(message)
        assert "error" in messages(connection, "error")[-1]
        with pytest.raises(ConnectionClosed) as caught:
            connection.recv(timeout=60)
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1003


def test_places_are_limited_and_come_free(tmp_path: Path) -> None:
    with serving(tmp_path, live_sessions=1) as server:
        with open_socket(server) as first:
            messages(first, "session.created")
            with open_socket(server) as second, pytest.raises(ConnectionClosed) as caught:
                second.recv(timeout=60)
            assert caught.value.rcvd is not None
            assert caught.value.rcvd.code == 1013
        assert any(admitted(server) for _ in range(600))  # the end is seen a moment later


def admitted(server: Running) -> bool:
    with open_socket(server) as connection, suppress(ConnectionClosed):
        return bool(messages(connection, "session.created"))
    return False


def test_models_and_rates_that_are_not_there_are_refused(server: Running) -> None:
    with open_socket(server, "?model=klingon") as connection:
        assert "there is english" in messages(connection, "error")[-1]["error"]["message"]
    for rate in ("0", "1000000", "x"):
        with pytest.raises(InvalidStatus) as caught, open_socket(server, f"?rate={rate}"):
            pass
        assert caught.value.response.status_code == 422
        error = json.loads(caught.value.response.body)["error"]
        assert error["message"].startswith("rate: ")
        assert error["param"] == "rate"


def test_another_page_cannot_listen_in(server: Running) -> None:
    with (
        pytest.raises(InvalidStatus) as caught,
        open_socket(server, origin="https://evil.example"),
    ):
        pass
    assert caught.value.response.status_code == 403


def test_a_key_comes_by_the_protocol(tmp_path: Path) -> None:
    with serving(tmp_path, api_keys=["key"]) as locked:
        with pytest.raises(InvalidStatus) as caught, open_socket(locked):
            pass
        assert caught.value.response.status_code == 401
        given: Any = ["realtime", "openai-insecure-api-key.key"]
        with open_socket(locked, subprotocols=given) as connection:
            assert connection.subprotocol == "realtime"
            messages(connection, "session.created")
