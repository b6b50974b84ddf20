"""OpenAI's interface through OpenAI's own client, over a real server with the shipped model."""

import io
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import pytest
import soundfile
from openai import OpenAI

import auricle
from auricle.metrics import cer
from auricle.results import FORMATS, Transcript
from auricle.serve.ears import Ear
from serving import CLIPS, Running, serving, wait

pytestmark = pytest.mark.slow  # real servers, or hundreds of cases: not for `make check`

CLIP = CLIPS / "morning.flac"
RATE_HZ = 16_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving(tmp_path_factory.mktemp("state")) as running:
        yield running


@pytest.fixture(scope="module")
def client(server: Running) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as made:
        yield made


@pytest.fixture(scope="module")
def expected() -> Transcript:
    return auricle.load("english", threads=1).transcribe(CLIP)


def ask(client: OpenAI, **values: Any) -> Any:
    return client.audio.transcriptions.create(model="english", file=CLIP, **values)


def test_json_is_the_default(client: OpenAI, expected: Transcript) -> None:
    answer = ask(client)
    assert answer.text == expected.text
    assert answer.usage.type == "duration"
    assert answer.usage.seconds == pytest.approx(expected.duration_s, abs=1e-3)


@pytest.mark.parametrize(("asked", "ours"), [("text", "txt"), ("srt", "srt"), ("vtt", "vtt")])
def test_written_formats_are_the_command_lines(
    client: OpenAI, expected: Transcript, asked: str, ours: str
) -> None:
    assert ask(client, response_format=asked) == FORMATS[ours](expected)


@pytest.mark.parametrize(
    ("granularities", "kept"),
    [
        ([], {"segments"}),
        (["segment"], {"segments"}),
        (["word"], {"words"}),
        (["word", "segment"], {"words", "segments"}),
    ],
)
def test_granularities_choose_what_verbose_json_holds(
    client: OpenAI, expected: Transcript, granularities: list[str], kept: set[str]
) -> None:
    given = {"timestamp_granularities": granularities} if granularities else {}
    answer = ask(client, response_format="verbose_json", **given)
    assert {key for key in ("words", "segments") if getattr(answer, key) is not None} == kept
    assert answer.language == "en"
    if "words" in kept:
        assert [each.word for each in answer.words] == [each.text for each in expected.words]
        assert answer.words[0].start == pytest.approx(expected.words[0].start_s, abs=1e-3)
    if "segments" in kept:
        assert [each.text for each in answer.segments] == [s.text for s in expected.segments]


def test_stream_gives_deltas_that_make_the_text(client: OpenAI, expected: Transcript) -> None:
    *deltas, done = list(ask(client, stream=True))
    assert {each.type for each in deltas} == {"transcript.text.delta"}
    assert "".join(each.delta for each in deltas) == expected.text
    assert done.type == "transcript.text.done"
    assert done.text == expected.text


def test_a_prompts_terms_are_hotwords_and_its_prose_is_not(client: OpenAI) -> None:
    recognizer = auricle.load("english", threads=1)
    hot = recognizer.transcribe(CLIP, hotwords=["went", "down", "dogs"])
    assert hot.text != recognizer.transcribe(CLIP).text
    assert ask(client, prompt="went, down\ndogs").text == hot.text
    assert ask(client, keywords=["went", "down", "dogs"]).text == hot.text
    (*_, done) = ask(client, prompt="went, down, dogs", stream=True)
    assert done.text == hot.text
    prose = "The men went down to the water with their jars"
    assert ask(client, prompt=prose).text == recognizer.transcribe(CLIP).text


def test_hotwords_that_cannot_be_used_are_refused(client: OpenAI) -> None:
    for prompt in ("漢字", ",".join(map(str, range(1_000)))):
        with pytest.raises(openai.BadRequestError, match="hotwords"):
            ask(client, prompt=prompt)


def test_no_more_is_read_than_allowed_whatever_a_header_said() -> None:
    ear = Ear("english", auricle.load("english", threads=1), 8)
    assert [piece.end_s for piece in ear.pieces(CLIP, 1.0)] == [1.0]


def test_many_at_a_time_get_the_answers_of_one_alone(server: Running) -> None:
    """Batching changes nothing: 24 requests of three clips at once."""
    recognizer = auricle.load("english", threads=1)
    paths = sorted(CLIPS.glob("*.flac"))
    wanted = {path: recognizer.transcribe(path).text for path in paths}

    def one(path: Path) -> tuple[Path, str]:
        files = {"file": (path.name, path.read_bytes())}
        answer = httpx.post(f"{server.url}/v1/audio/transcriptions", files=files, timeout=60)
        return path, answer.json()["text"]

    with ThreadPoolExecutor(24) as pool:
        for path, text in pool.map(one, paths * 8):
            assert text == wanted[path]


def test_a_long_recording_streams_in_pieces_that_equal_the_whole(
    client: OpenAI, server: Running, tmp_path: Path
) -> None:
    """Over the length at which recordings are cut: the stream, the answer and the runtime agree."""
    clips = [soundfile.read(path)[0] for path in sorted(CLIPS.glob("*.flac"))]
    pause = np.zeros(RATE_HZ // 2)
    path = tmp_path / "long.flac"
    soundfile.write(
        path, np.concatenate([x for _ in range(4) for y in clips for x in (y, pause)]), RATE_HZ
    )
    wanted = auricle.load("english", threads=1).transcribe(path)
    *deltas, done = list(
        client.audio.transcriptions.create(model="english", file=path, stream=True)
    )
    assert len(deltas) > 1
    assert "".join(each.delta for each in deltas) == done.text == wanted.text
    words = [word for each in deltas for word in each.words]
    assert [word["start"] for word in words] == [round(w.start_s, 3) for w in wanted.words]
    whole = client.audio.transcriptions.create(
        model="english", file=path, response_format="verbose_json"
    )
    assert [s.text for s in whole.segments] == [s.text for s in wanted.segments]
    wait(lambda: server.uploads == [])


def test_models_are_listed_and_found(client: OpenAI) -> None:
    assert [each.id for each in client.models.list()] == ["english"]
    assert client.models.retrieve("english").owned_by == "auricle"
    with pytest.raises(openai.NotFoundError, match="there is english"):
        client.models.retrieve("klingon")
    with pytest.raises(openai.NotFoundError) as caught:
        client.audio.transcriptions.create(model="klingon", file=CLIP)
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


@pytest.mark.parametrize(
    ("content", "name", "says"),
    [
        (b"", "empty.wav", "empty"),
        (b"RIFF", "short.wav", "not sound"),
        (b"words, not sound " * 100, "../../etc/passwd", "not sound"),
        (b"\x00" * 5000, "nul\x00.flac", "not sound"),
    ],
)
def test_what_is_no_recording_is_said_without_our_paths(
    client: OpenAI, server: Running, content: bytes, name: str, says: str
) -> None:
    with pytest.raises(openai.BadRequestError, match=says) as caught:
        client.audio.transcriptions.create(model="english", file=(name, content))
    assert "the recording" in str(caught.value)
    assert str(server.state) not in str(caught.value)
    wait(lambda: server.uploads == [])


def test_a_damaged_recording_ends_a_stream_with_an_error(client: OpenAI, server: Running) -> None:
    content = bytearray(CLIP.read_bytes())
    content[len(content) // 2 :] = bytes(len(content) - len(content) // 2)
    with pytest.raises(openai.APIError, match="the recording is damaged"):
        list(client.audio.transcriptions.create(
            model="english", file=("cut.flac", bytes(content)), stream=True
        ))  # fmt: skip
    wait(lambda: server.uploads == [])


@pytest.mark.parametrize(
    "fields",
    [{"response_format": "docx"}, {"timestamp_granularities[]": "letter"}, {"stream": "maybe"}],
)
def test_values_that_are_not_known_are_named(server: Running, fields: dict[str, str]) -> None:
    answer = httpx.post(
        f"{server.url}/v1/audio/transcriptions",
        data=fields,
        files={"file": ("a.flac", CLIP.read_bytes())},
    )
    assert answer.status_code == 400
    (value,) = fields.values()
    assert value in answer.json()["error"]["message"]


@pytest.mark.parametrize("suffix", [".wav", ".ogg", ".mp3"])
def test_formats_of_sound(client: OpenAI, expected: Transcript, suffix: str) -> None:
    x, rate_hz = soundfile.read(CLIP)
    file = io.BytesIO()
    soundfile.write(file, x, rate_hz, format=suffix[1:])
    answer = client.audio.transcriptions.create(
        model="english", file=(f"x{suffix}", file.getvalue())
    )
    assert cer([expected.text], [answer.text]) < 0.3  # two of them lose a little of the sound


@pytest.mark.parametrize(("style", "ours"), [("srt", "srt"), ("vtt", "vtt"), ("text", "txt")])
def test_words_that_were_heard_live_become_a_file(
    server: Running, expected: Transcript, style: str, ours: str
) -> None:
    words = [
        {"word": w.text, "start": w.start_s, "end": w.end_s, "confidence": w.confidence}
        for w in expected.words
    ]
    answer = httpx.post(
        f"{server.url}/v1/audio/transcripts?response_format={style}",
        json={"words": words, "duration": expected.duration_s},
    )
    assert answer.text == FORMATS[ours](expected)


@pytest.mark.parametrize(
    "body",
    [
        {"words": [{"word": "", "start": 0, "end": 1}]},
        {"words": [{"word": "two words", "start": 0, "end": 1}]},
        {"words": [{"word": "x", "start": -1, "end": 1}]},
        {"words": [{"word": "x", "start": 0, "end": 1e300}]},
        {"words": [{"word": "x", "start": 2, "end": 1}]},
        {"words": 3},
        [],
    ],
)
def test_words_that_are_none_are_refused(server: Running, body: Any) -> None:
    answer = httpx.post(f"{server.url}/v1/audio/transcripts", json=body)
    assert answer.status_code == 422
    assert answer.json()["error"]["code"] == "invalid_request"


def test_health_metrics_and_the_document_tell_of_it(server: Running) -> None:
    assert httpx.get(f"{server.url}/health").json()["models"] == ["english"]
    text = httpx.get(f"{server.url}/metrics").text
    samples = dict(line.rsplit(" ", 1) for line in text.splitlines() if line[0] != "#")
    route = 'route="/v1/audio/transcriptions"'
    assert float(samples[f"auricle_sound_seconds_total{{{route}}}"]) > 3
    assert int(samples[f'auricle_requests_total{{{route},status="200"}}']) > 1
    assert samples["auricle_in_hand"] == "0"
    document = httpx.get(f"{server.url}/openapi.json").json()
    page = httpx.get(f"{server.url}/docs").text
    for path in document["paths"]:
        assert path.replace("{", "&#123;") in page or path in page
    assert json.dumps(document).count("multipart/form-data") == 3
