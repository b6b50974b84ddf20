"""Voices end to end: the bundle answers like the task, enrolling and verifying, damaged books."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from auricle.batches import Draw
from auricle.config import resolve
from auricle.data import Example, read_data
from auricle.errors import DataError, ModelError
from auricle.results import Embedding
from auricle.tasks.speaker import SpeakerSettings, SpeakerTask
from auricle.voices import Verifier, VoiceBook, cosine
from toys import TINY, bundled, corpus


@pytest.fixture(scope="module", name="data")
def _data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Example, ...]:
    return read_data(corpus(tmp_path_factory.mktemp("toys"), 10), what="audio").examples


@pytest.fixture(scope="module", name="task")
def _task(data: tuple[Example, ...]) -> SpeakerTask:
    words = (*TINY, "window.window_s=1.0", "window.hop_s=0.5", "size=6")
    return SpeakerTask.learn(resolve(SpeakerSettings, None, words), data)


@pytest.fixture(scope="module", name="verifier")
def _verifier(task: SpeakerTask, tmp_path_factory: pytest.TempPathFactory) -> Verifier:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("bundle") / "m.auricle"
    return Verifier.load(bundled(task, task.model(), path), threads=1)


def test_the_bundle_answers_like_the_task(
    task: SpeakerTask, verifier: Verifier, data: tuple[Example, ...]
) -> None:
    torch.manual_seed(0)
    wanted = task.predict(task.model().eval(), task.batch(data))
    for example, expected in zip(data, wanted, strict=True):
        found = verifier.embed(example.audio)
        assert found.values == pytest.approx(expected.values, abs=1e-4)
        assert np.linalg.norm(found.values) == pytest.approx(1.0)
        assert found.duration_s == pytest.approx(example.duration_s, abs=1e-3)


def test_a_margin_makes_the_true_speaker_harder(
    task: SpeakerTask, data: tuple[Example, ...]
) -> None:
    torch.manual_seed(0)
    model, batch = task.model().eval(), task.batch(data, Draw(0, 0))
    with torch.no_grad():
        plain = model.margins(batch.features, batch.lengths, batch.who, 0.0)
        strict = model.margins(batch.features, batch.lengths, batch.who, 0.2)
    lowered = torch.nn.functional.one_hot(batch.who, len(task.speakers)) * 0.2
    torch.testing.assert_close(plain - strict, lowered)
    assert plain.abs().max() <= 1.0 + 1e-6


def test_a_recording_played_faster_is_another_voice(data: tuple[Example, ...]) -> None:
    words = (*TINY, "window.window_s=1.0", "window.hop_s=0.5", "size=6")
    config = resolve(SpeakerSettings, None, [*words, "augment.speeds=[0.9, 1.0, 1.1]"])
    task = SpeakerTask.learn(config, data)
    speakers = len(task.speakers)
    assert len(task.answers) == 3 * speakers
    assert task.answers[speakers : 2 * speakers] == task.speakers
    batches = [task.batch(data, Draw(0, epoch)) for epoch in range(8)]
    voices = {number for batch in batches for number in batch.who.tolist()}
    assert min(voices) < speakers <= max(voices) - speakers  # slower ones, and faster ones
    for batch in batches:
        for example, number in zip(data, batch.who.tolist(), strict=True):
            assert task.answers[number].partition(",")[0] == example.speaker
    plain = task.batch(data).who
    assert {task.answers[number] for number in plain.tolist()} == set(task.speakers)


def test_enrolled_and_verified(
    verifier: Verifier, data: tuple[Example, ...], tmp_path: Path
) -> None:
    path = tmp_path / "voices.json"
    recordings = [verifier.embed(example.audio) for example in data[:2]]
    VoiceBook.read(path, verifier.identity).enrolled("anna", recordings)
    again = VoiceBook.read(path, verifier.identity)
    middle = np.mean([each.values for each in recordings], axis=0)
    wanted = middle / np.linalg.norm(middle)
    assert again.voice("anna").values == pytest.approx(wanted)
    assert cosine(again.voice("anna"), recordings[0]) == pytest.approx(
        float(wanted @ recordings[0].values)
    )
    with pytest.raises(DataError, match="ben is not enrolled; there is anna"):
        again.voice("ben")
    with pytest.raises(DataError, match="enrolled with another model"):
        VoiceBook.read(path, "other")


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "5", '{"model": "m"}', '{"model": "m", "voices": 5}', "[" * 100_000]
    + [f'{{"model": "m", "voices": {{"a": {value}}}}}' for value in (5, "[]", '{"values": []}')]
    + ['{"model": "m", "voices": {"a": {"values": ["x"], "duration_s": 1}}}']
    + ['{"model": "m", "voices": {"a": {"values": [NaN], "duration_s": 1}}}'],
)
def test_a_damaged_book_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "voices.json"
    path.write_text(text)
    with pytest.raises(DataError, match=r"voices\.json: not a book|this is not an embedding"):
        VoiceBook.read(path, "m")


def test_voices_of_two_models_are_not_compared() -> None:
    with pytest.raises(DataError, match="voices of 1 and 2 numbers"):
        cosine(Embedding((1.0,), 1.0), Embedding((0.6, 0.8), 1.0))


def test_data_without_speakers_is_refused(task: SpeakerTask, data: tuple[Example, ...]) -> None:
    nameless = tuple(Example(e.id, e.audio, e.duration_s) for e in data)
    with pytest.raises(DataError, match="0 speakers in the training data"):
        SpeakerTask.learn(SpeakerSettings(), nameless)
    found = task.examine({"train": data, "valid": nameless[:1]})
    assert [problem.kind for problem in found.errors] == ["no_speaker", "no_trials"]
    assert json.dumps(found.to_dict())
    with pytest.raises(ModelError, match="answers with tokens, not with embedding"):
        Verifier.load("english")
