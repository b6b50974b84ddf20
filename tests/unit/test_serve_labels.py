"""Labels over HTTP and the websocket, from a model that says which tone it hears; the meter."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from auricle import audio
from auricle.classifier import Classifier, windows
from auricle.engine import Float32
from auricle.errors import ConfigError
from auricle.results import LabelWindow
from auricle.serve.labelling import Labeller, Level, Meter
from auricle.spotting import Spotter, SpottingSettings, detections
from browser import Tab, browser
from serving import Running, serving, wait
from tones import RATE_HZ, save, sound, write, write_labels

pytestmark = pytest.mark.slow  # real servers, or hundreds of cases: not for `make check`

ROUTE = "/v1/audio/classifications"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("models")
    write(made / "words.auricle", language="en")
    write_labels(made / "tones.auricle")
    save(made / "clip.wav", sound("c"))
    save(made / "long.wav", sound("cccccccccaaaaaaaaaaaaaaaaaaaaaaae"))
    return made


@pytest.fixture(scope="module")
def classifier(folder: Path) -> Classifier:
    return Classifier.load(folder / "tones.auricle", threads=1)


@pytest.fixture(scope="module")
def server(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    models = {name: str(folder / f"{name}.auricle") for name in ("words", "tones")}
    with serving(tmp_path_factory.mktemp("state"), models=models) as running:
        yield running


def post(server: Running, path: Path, route: str = ROUTE, **data: Any) -> httpx.Response:
    files = {"file": (path.name, path.read_bytes())}
    return httpx.post(server.url + route, files=files, data=data, timeout=60)


def pairs(labels: Any) -> list[dict[str, Any]]:
    return [{"label": each.name, "confidence": round(each.confidence, 4)} for each in labels]


def test_a_clip_gets_its_label(server: Running, classifier: Classifier, folder: Path) -> None:
    answer = post(server, folder / "clip.wav", model="tones").json()
    expected = classifier.classify(folder / "clip.wav")
    assert expected.chosen == ("c",)
    assert answer == {
        "object": "audio.classification",
        "model": "tones",
        "duration": round(expected.duration_s, 3),
        "chosen": ["c"],
        "labels": pairs(expected.labels[:5]),
    }
    wait(lambda: server.uploads == [])


def test_a_longer_recording_gets_those_of_its_windows(
    server: Running, classifier: Classifier, folder: Path
) -> None:
    expected = classifier.classify(folder / "long.wav")
    assert {each.labels[0].name for each in expected.windows} == {"c", "a", "e"}
    answer = post(server, folder / "long.wav", model="tones", top_k=2).json()
    assert answer["labels"] == pairs(expected.labels[:2])
    assert answer["duration"] == round(expected.duration_s, 3)
    assert answer["windows"] == [
        {"start": round(w.start_s, 3), "end": round(w.end_s, 3), "labels": pairs(w.labels[:2])}
        for w in expected.windows
    ]
    assert "windows" not in post(server, folder / "long.wav", windows="false").json()


def test_without_a_name_the_first_model_that_answers_so_is_meant(
    server: Running, folder: Path
) -> None:
    assert post(server, folder / "clip.wav").json()["model"] == "tones"
    answer = post(server, folder / "clip.wav", "/v1/audio/transcriptions")
    assert answer.json()["text"] == "c"


@pytest.mark.parametrize(
    ("route", "model", "status", "code"),
    [
        (ROUTE, "words", 400, "wrong_model"),
        ("/v1/audio/transcriptions", "tones", 400, "wrong_model"),
        ("/v1/jobs", "tones", 400, "wrong_model"),
        (ROUTE, "none", 404, "model_not_found"),
    ],
)
def test_a_model_of_another_kind_is_refused(
    server: Running, folder: Path, route: str, model: str, status: int, code: str
) -> None:
    answer = post(server, folder / "clip.wav", route, model=model)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert ("tones" if route == ROUTE else "words") in answer.json()["error"]["message"]


def test_a_server_without_such_a_model_says_so(folder: Path, tmp_path: Path) -> None:
    with serving(tmp_path, models={"words": str(folder / "words.auricle")}) as server:
        answer = post(server, folder / "clip.wav")
    assert answer.status_code == 404
    assert "none that answers so" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "fields",
    [{"top_k": x} for x in ("0", "1001", "a", "-1", "²", "9" * 5_000, "1.0")]
    + [{"response_format": "srt"}, {"windows": "maybe"}],
)
def test_fields_that_mean_nothing_are_400(
    server: Running, folder: Path, fields: dict[str, str]
) -> None:
    answer = post(server, folder / "clip.wav", **fields)
    assert answer.status_code == 400
    assert next(iter(fields)) in answer.json()["error"]["message"]


def test_what_cannot_be_heard_is_400(server: Running, tmp_path: Path) -> None:
    (tmp_path / "none.wav").write_bytes(b"nothing")
    short = save(tmp_path / "short.wav", np.zeros(10, np.float32))
    for path in (tmp_path / "none.wav", short):
        answer = post(server, path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "unusable_recording")
        assert str(server.state) not in answer.text
    wait(lambda: server.uploads == [])


def test_models_say_what_they_answer_with(server: Running) -> None:
    listed = httpx.get(f"{server.url}/v1/models").json()["data"]
    assert [(each["id"], each["answer"]) for each in listed] == [
        ("words", "tokens"),
        ("tones", "labels"),
    ]
    assert listed[1]["labels"] == ["_silence_", "_unknown_", *"abcdef"]
    assert httpx.get(f"{server.url}/v1/models/tones").json() == listed[1]
    assert httpx.get(f"{server.url}/v1/models/none").status_code == 404


def test_the_route_is_in_the_reference(server: Running) -> None:
    document = httpx.get(f"{server.url}/openapi.json").json()
    body = document["paths"][ROUTE]["post"]["requestBody"]["content"]["multipart/form-data"]
    assert set(body["schema"]["properties"]) == {
        *("file", "model", "response_format", "top_k", "windows")
    }
    assert f"POST {ROUTE}" in httpx.get(f"{server.url}/docs").text


def test_many_at_a_time_get_the_answers_of_one_alone(server: Running, folder: Path) -> None:
    paths = [folder / "clip.wav", folder / "long.wav"]
    alone = {path: post(server, path).json() for path in paths}
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda path: (path, post(server, path).json()), paths * 6))
    assert all(answer == alone[path] for path, answer in answers)


# --- live -----------------------------------------------------------------------------------------


def metered(classifier: Classifier, wave: Float32, sizes: list[int]) -> list[Level]:
    spotter = Spotter(classifier.labels.names, SpottingSettings(smoothing=2))
    meter, found, at = Meter(Labeller("tones", classifier, 8), spotter, 0.25), [], 0
    while at < len(wave):
        size = sizes[len(found) % len(sizes)]
        found += meter.push(wave[at : at + size])
        at += size
    return found + list(meter.finish())


@given(st.lists(st.integers(200, 40_000), min_size=1, max_size=5))
def test_live_windows_and_detections_are_those_of_the_file(
    classifier: Classifier, sizes: list[int]
) -> None:
    wave = sound("ccccccaaaaaaaa")
    cut = windows([wave], RATE_HZ, window_s=1.0, hop_s=0.25)
    heard = [
        LabelWindow(start_s, end_s, classifier.labels.ranked(p))
        for start_s, end_s, p in classifier.hear_windows(cut)
    ]
    levels = metered(classifier, wave, sizes)
    assert [(each.start_s, each.end_s) for each in levels] == [(w.start_s, w.end_s) for w in heard]
    settings = SpottingSettings(smoothing=2)
    wanted = list(detections(heard, classifier.labels.names, settings))
    assert [each.detection for each in levels if each.detection] == wanted
    assert [each.keyword for each in wanted][:1] == ["c"]
    for before, window, level in zip([heard[0], *heard], heard, levels, strict=False):
        now = {each.name: each.confidence for each in window.labels}
        was = {each.name: each.confidence for each in before.labels}
        assert level.labels[0].confidence == max(each.confidence for each in level.labels)
        for label in level.labels:
            assert label.confidence == pytest.approx((now[label.name] + was[label.name]) / 2)


def test_a_hop_beyond_a_window_is_refused(classifier: Classifier) -> None:
    with pytest.raises(ConfigError, match="would leave gaps"):
        Meter(Labeller("tones", classifier, 8), Spotter("ab"), 1.5)


def live(server: Running, query: str = "") -> Any:
    return connect(f"ws{server.url.removeprefix('http')}/v1/realtime/classifications?{query}")


def pcm16(wave: Float32) -> bytes:
    return (wave * 32_767).astype("<i2").tobytes()


def test_a_session_says_what_it_hears_and_when_it_is_sure(server: Running) -> None:
    with live(server, "model=tones&top_k=3&smoothing=2") as socket:
        created = json.loads(socket.recv())
        assert created == {"type": "session.created", "model": "tones", "threshold": 0.8}
        content = pcm16(sound("dddddddddddd"))
        for at in range(0, len(content), 3_201):  # also within a sample
            socket.send(content[at : at + 3_201])
        socket.send(json.dumps({"type": "input_audio_buffer.commit"}))
        messages = [json.loads(socket.recv())]
        while messages[-1]["type"] != "committed":
            messages.append(json.loads(socket.recv()))
    levels = [each for each in messages if each["type"] == "labels"]
    assert [each["start"] for each in levels[:3]] == [0.0, 0.1, 0.2]
    assert all(len(each["labels"]) == 3 for each in levels)
    (found,) = [each for each in messages if each["type"] == "detection"][:1]
    assert found["label"] == "d"
    assert found["confidence"] >= 0.8
    wait(lambda: "auricle_live_sessions 0" in httpx.get(f"{server.url}/metrics").text)


@pytest.mark.parametrize(
    ("query", "message", "why"),
    [
        ("model=words", None, "answers with tokens"),
        ("model=none", None, "no model is called 'none'"),
        ("hop=5", None, "would leave gaps"),
        ("", "{}", "no message: send PCM16"),
        ("", "[1]", "no message"),
        ("", '{"type": "x"}', "unknown type"),
        ("", '{"type": "input_audio_buffer.append", "audio": "?"}', "audio is not base64"),
    ],
)
def test_what_it_does_not_know_ends_a_session(
    server: Running, query: str, message: str | None, why: str
) -> None:
    with live(server, query) as socket:
        if message is not None:
            assert json.loads(socket.recv())["type"] == "session.created"
            socket.send(message)
        answer = json.loads(socket.recv())
        assert answer["type"] == "error"
        assert why in answer["error"]["message"]
        with pytest.raises(ConnectionClosed):
            socket.recv()


# --- the page -------------------------------------------------------------------------------------


def choose(tab: Tab, model: str) -> None:
    tab.run(
        f"(() => {{ const m = document.getElementById('model'); m.value = '{model}';"
        " m.dispatchEvent(new Event('change')); })()"
    )


BARS = "[...document.querySelectorAll('#bars li')].map(r => [r.children[0].textContent,"
BARS += " r.children[1].value])"


@pytest.mark.slow
def test_the_page_shows_the_labels_of_the_moment(
    server: Running, folder: Path, tmp_path: Path
) -> None:
    wave = audio.resample(sound("bbbbbbbbbbbb", silence_s=1.0), RATE_HZ, 48_000)
    microphone = tmp_path / "microphone.wav"
    audio.save(microphone, np.concatenate([wave, np.zeros(20 * 48_000, np.float32)]), 48_000)
    with browser(microphone) as tab:
        tab.open(server.url + "/")
        tab.wait("document.querySelectorAll('#model option').length === 2")
        assert tab.run("document.getElementById('meter').hidden")
        choose(tab, "tones")
        assert not tab.run("document.getElementById('meter').hidden")
        tab.run("document.getElementById('speak').click()")
        tab.wait("document.getElementById('words').textContent.includes('b')")
        assert tab.run("document.getElementById('spoken').textContent").strip() == "b"  # read out
        tab.run("document.getElementById('speak').click()")
        tab.wait("document.getElementById('speak').textContent === 'Speak'")
        tab.wait("!document.getElementById('downloads').hidden")
        root = tab.send("DOM.getDocument")["root"]["nodeId"]
        node = tab.send("DOM.querySelector", nodeId=root, selector="#file")["nodeId"]
        tab.send("DOM.setFileInputFiles", nodeId=node, files=[str(folder / "long.wav")])
        tab.wait("document.querySelectorAll('#words button').length >= 3")
        (name, value), *others = tab.run(BARS)
        expected = Classifier.load(folder / "tones.auricle").classify(folder / "long.wav").labels
        assert name == expected[0].name
        assert value == pytest.approx(expected[0].confidence, abs=1e-3)
        assert len(others) == 4
        meters = [
            node["name"]["value"]
            for node in tab.send("Accessibility.getFullAXTree")["nodes"]
            if node.get("role", {}).get("value") == "meter"
        ]
        assert meters[:1] == [name]
        assert tab.width_on(320) <= 320
        assert tab.complaints == []
