"""The runtime over a model that reads tones: what must be heard, and when, is known exactly."""

import os
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from auricle import audio
from auricle.bundle import Bundle
from auricle.engine import POOL_BATCHES, Engine, Float32, Session, usable_cores
from auricle.errors import DataError, ModelError
from auricle.results import Transcript
from auricle.runtime import Recognizer
from tones import GAP_S, RATE_HZ, SYMBOLS, TONE_S, graph, save, sound, write


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return write(tmp_path / "tones.auricle", language="en")


@pytest.fixture
def recognizer(bundle: Bundle) -> Recognizer:
    return Recognizer.load(bundle.path, threads=1)


def test_words_and_their_times(recognizer: Recognizer, tmp_path: Path) -> None:
    answer = recognizer.transcribe(save(tmp_path / "clip.wav", sound("abba cafe")))
    assert answer.text == "abba cafe"
    assert answer.language == "en"
    assert answer.duration_s == pytest.approx(0.6 + 9 * (TONE_S + GAP_S))
    first, second = answer.words
    starts_s = [0.3, 0.3 + 5 * (TONE_S + GAP_S)]
    assert [first.start_s, second.start_s] == pytest.approx(starts_s, abs=0.03)
    ends_s = [start_s + 4 * TONE_S + 3 * GAP_S for start_s in starts_s]
    assert [first.end_s, second.end_s] == pytest.approx(ends_s, abs=0.03)
    assert 0.9 < first.confidence <= 1


def test_samples_of_other_rates_and_channels(recognizer: Recognizer) -> None:
    clip = sound("face")
    fast = audio.resample(clip, RATE_HZ, 44_100)
    stereo = np.stack([fast, fast], axis=1).astype(np.float64)
    for source in [(clip, RATE_HZ), (fast, 44_100), (stereo, 44_100)]:
        assert recognizer.transcribe(source).text == "face"


@pytest.mark.parametrize(
    ("samples", "rate_hz"),
    [
        (np.zeros(0, np.float32), 16_000),
        (np.zeros(100, np.int16), 16_000),
        (np.zeros((1, 1, 100), np.float32), 16_000),
        (np.full(100, np.nan, np.float32), 16_000),
        (np.zeros(100, np.float32), 0),
    ],
)
def test_samples_that_are_no_sound(
    recognizer: Recognizer, samples: NDArray[np.float32], rate_hz: int
) -> None:
    with pytest.raises(DataError, match=r"is no sound|hold NaN"):
        recognizer.transcribe((samples, rate_hz))


def test_samples_alone_have_no_rate(recognizer: Recognizer) -> None:
    source: Any = np.zeros(100, np.float32)
    with pytest.raises(DataError, match=r"give \(samples, rate_hz\), or a file"):
        recognizer.transcribe(source)


def test_sound_without_words_or_shorter_than_a_window(recognizer: Recognizer) -> None:
    assert recognizer.transcribe((np.zeros(48_000, np.float32), RATE_HZ)) == Transcript(
        "", (), 3.0, "en"
    )
    assert recognizer.transcribe((np.ones(16, np.float32), RATE_HZ)).duration_s == 0.001


def test_a_long_recording_keeps_its_words_and_their_times(
    recognizer: Recognizer, tmp_path: Path
) -> None:
    words = ["abc", "fed", "cab", "face"] * 25
    clips = [sound(f"{word} ", silence_s=0.4) for word in words]
    path = save(tmp_path / "long.wav", np.concatenate(clips))
    starts_s = np.cumsum([0, *map(len, clips[:-1])]) / RATE_HZ + 0.4
    progress: list[float] = []
    ((source, answer),) = recognizer.transcribe_many([path], batch=2, progress=progress.append)
    assert source == path
    assert isinstance(answer, Transcript)
    assert answer.text.split() == words
    np.testing.assert_allclose([w.start_s for w in answer.words], starts_s, atol=0.03)
    assert answer.duration_s == pytest.approx(sum(map(len, clips)) / RATE_HZ)
    assert sum(progress) == pytest.approx(answer.duration_s)
    assert len(progress) == 7  # 13 or 14 pieces, 2 at a time


def test_one_bad_file_does_not_stop_the_rest(recognizer: Recognizer, tmp_path: Path) -> None:
    sources = [save(tmp_path / f"{text}.wav", sound(text)) for text in ("a", "b", "c")]
    (tmp_path / "text.wav").write_text("not sound")
    sources[1:1] = [tmp_path / "missing.wav", tmp_path / "text.wav"]
    answers = dict(recognizer.transcribe_many(sources))
    assert list(answers) == sources
    for path in sources[1:3]:
        assert isinstance(answers[path], DataError)
        assert str(path) in str(answers[path])
    assert [answers[path].text for path in (sources[0], *sources[3:])] == ["a", "b", "c"]
    with pytest.raises(DataError, match="missing"):
        recognizer.transcribe(sources[1])


def test_a_recording_that_breaks_off_has_an_error_not_a_part(
    recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> Iterator[Float32]:
        for _ in range(30):
            yield sound("a", silence_s=5.0)
        raise DataError("long.flac: damaged after 300 s")

    def chunks(path: str, *_: object) -> Iterator[Float32]:
        return broken() if path == "long.flac" else iter([sound("b")])

    monkeypatch.setattr(audio, "chunks", chunks)
    answers = list(recognizer.transcribe_many(["x", "long.flac", "y"], batch=1))
    assert [getattr(answer, "text", None) for _, answer in answers] == ["b", None, "b"]
    assert "after 300 s" in str(answers[1][1])


class Spy:
    """Stands in for `Session.__call__`; keeps the lengths of each batch."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.batches: list[list[int]] = []
        run = Session.__call__

        def call(session: Session, features: Sequence[Float32]) -> list[Float32]:
            self.batches.append([len(each) for each in features])
            return run(session, features)

        monkeypatch.setattr(Session, "__call__", call)


def test_batches_hold_similar_lengths_across_files(
    recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    spy = Spy(monkeypatch)
    texts = ["a", "abcdef", "ab", "abcdefabcdef"] * 4
    sources = [(sound(text), RATE_HZ) for text in texts]
    answers = [answer.text for _, answer in recognizer.transcribe_many(sources, batch=4)]
    assert answers == texts
    assert [len(batch) for batch in spy.batches] == [4, 4, 4, 4]
    assert all(len(set(batch)) == 1 for batch in spy.batches)


def test_int8_graphs_see_one_piece_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recognizer = Recognizer.load(write(tmp_path / "m", precision="int8"))
    spy = Spy(monkeypatch)
    list(recognizer.transcribe_many([(sound("a"), RATE_HZ)] * 3, batch=8))
    assert [len(batch) for batch in spy.batches] == [1, 1, 1]


def test_answers_come_before_all_files_are_read(recognizer: Recognizer, tmp_path: Path) -> None:
    path = save(tmp_path / "clip.wav", sound("a"))
    taken = []

    def paths() -> Iterator[Path]:
        for number in range(10_000):
            taken.append(number)
            yield path

    _, answer = next(recognizer.transcribe_many(paths(), batch=2))
    assert isinstance(answer, Transcript)
    assert len(taken) == 2 * POOL_BATCHES
    errors = recognizer.transcribe_many(tmp_path / "missing" for _ in iter(int, 1))
    assert isinstance(next(errors)[1], DataError)  # needs no pool to be full


def test_a_long_recording_does_not_hold_up_the_answer_before_it(
    recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_s = []

    def chunks(path: str, chunk_s: float, rate_hz: int) -> Iterator[Float32]:
        for _ in range(1 if path == "short" else 200):
            read_s.append(chunk_s)
            yield np.zeros(round(chunk_s * rate_hz), np.float32)

    monkeypatch.setattr(audio, "chunks", chunks)
    assert next(recognizer.transcribe_many(["short", "long"], batch=1))[0] == "short"
    assert sum(read_s) < 100


def test_memory_does_not_grow_with_the_recording(
    recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet = np.zeros(10 * RATE_HZ, np.float32)

    def peak_bytes(minutes: int) -> int:
        monkeypatch.setattr(audio, "chunks", lambda *_: (quiet.copy() for _ in range(6 * minutes)))
        tracemalloc.start()
        answer = recognizer.transcribe("long.wav")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert answer.duration_s == 60 * minutes
        return peak

    monkeypatch.setattr("auricle.engine.POOL_BATCHES", 1)  # 8 pieces, 2.7 minutes
    assert peak_bytes(12) < 1.1 * peak_bytes(4)


def test_threads_share_a_recognizer(recognizer: Recognizer) -> None:
    texts = ["abc", "fade", "bed", "cafe"]
    answers: dict[str, str] = {}

    def work(text: str) -> None:
        for _ in range(5):
            answers[text] = recognizer.transcribe((sound(text), RATE_HZ)).text

    threads = [threading.Thread(target=work, args=[text]) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {text: text for text in texts}


def test_runs_without_torch(bundle: Bundle, tmp_path: Path) -> None:
    clip = save(tmp_path / "clip.wav", sound("decade"))
    program = (
        "import sys\n"
        "sys.modules.update(torch=None, onnx=None, safetensors=None, sentencepiece=None)\n"
        "from auricle.runtime import Recognizer\n"
        "print(Recognizer.load(sys.argv[1]).transcribe(sys.argv[2]).text)"
    )
    command = [sys.executable, "-c", program, bundle.path, clip]
    result = subprocess.run(
        command, cwd=Path(__file__).parents[2] / "src", capture_output=True, text=True, check=True
    )
    assert (result.stdout, result.stderr) == ("decade\n", "")


def test_threads_are_as_asked(bundle: Bundle) -> None:
    def options(threads: int | None) -> tuple[int, str]:
        session = Engine(bundle, threads=threads).session._session
        chosen = session.get_session_options()
        spinning = chosen.get_session_config_entry("session.intra_op.allow_spinning")
        return chosen.intra_op_num_threads, spinning

    assert options(3) == (3, "0")
    assert options(None) == (usable_cores(), "0")


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"content": b"no graph"}, "ONNX Runtime cannot load the graph"),
        ({"content": graph(inputs=("x", "n"))}, "the graph has inputs"),
        ({"content": graph(symbols=5)}, "the graph failed: .*invalid dimensions"),
        ({"stride": 2}, r"makes \(100, 8\).* card says \(50, 8\)"),
        ({"tokenizer": {"unit": "char", "symbols": SYMBOLS[:-1]}}, r"card says \(100, 7\)"),
        ({"tokenizer": {"unit": "smoke"}}, "the tokenizer of this model is damaged"),
        ({"answer": "labels"}, "answers with labels"),
        ({"decode": {"kind": "beam", "closed": True}}, "there is no language model or lexicon"),
        ({"features": {"mels": 0}}, "features: mels = 0"),
        ({"features": {"melts": 8}}, "did you mean mels"),
    ],
)
def test_bundles_that_cannot_be_used(
    tmp_path: Path, values: dict[str, object], complaint: str
) -> None:
    bundle = write(tmp_path / "m.auricle", **values)
    with pytest.raises(ModelError, match=complaint):
        Recognizer.load(bundle.path)


def test_transcribing_leaves_nothing_in_the_home_directory(tmp_path: Path) -> None:
    """ONNX Runtime would: an identifier of the device, and events to send."""
    bundle = write(tmp_path / "m").path
    save(tmp_path / "a.wav", sound("abc"))
    home = tmp_path / "home"
    home.mkdir()
    environment = {n: v for n, v in os.environ.items() if not n.startswith(("ORT_", "XDG_"))}
    subprocess.run(
        [sys.executable, "-m", "auricle", "transcribe", tmp_path / "a.wav", "--model", bundle],
        env=environment | {"HOME": str(home), "CI": "", "GITHUB_ACTIONS": ""},
        check=True,
    )
    assert [*home.rglob("*")] == []
