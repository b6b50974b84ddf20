"""What every task owes: run over all tasks and all recipes, on made-up sound."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from auricle import audio
from auricle.batches import Draw
from auricle.checkpoint import load_strictly, read_checkpoint
from auricle.config import resolve
from auricle.data import Example, read_data
from auricle.errors import DataError, ModelError
from auricle.tasks import TASKS, load_trained, task_class, task_from_card
from auricle.train import fit, predictions
from toys import TINY, corpus

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*/*.toml"))


@pytest.fixture(scope="module", name="data")
def _data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Example, ...]:
    return read_data(corpus(tmp_path_factory.mktemp("toys"), 12)).examples


def learned(name: str, data: tuple[Example, ...], *words: str, recipe: Path | None = None) -> Any:
    kind = task_class(name)
    return kind.learn(resolve(kind.settings, recipe, words), data)


def spelling(data: tuple[Example, ...], path: Path) -> Path:
    """A lexicon in which every word sounds as it is written."""
    words = sorted({word for example in data for word in (example.text or "").split()})
    path.write_text("".join(f"{word} {' '.join(word.upper())}\n" for word in words))
    return path


@pytest.fixture(params=TASKS, name="task")
def _task(request: pytest.FixtureRequest, data: tuple[Example, ...]) -> Any:
    torch.manual_seed(0)
    return learned(request.param, data, *TINY)


def test_the_card_rebuilds_the_task(task: Any) -> None:
    card = json.loads(json.dumps(task.card()))
    assert task_from_card(card).card() == task.card()


def test_an_unknown_task_is_named() -> None:
    with pytest.raises(ModelError, match="'dance' is unknown"):
        task_class("dance")


def alike(found: Any, wanted: Any) -> None:
    """Two results are the same but for the last digits of their numbers."""
    assert type(found) is type(wanted)
    numbers, places = ([*flat(each.to_dict())] for each in (found, wanted))
    assert [key for key, _ in numbers] == [key for key, _ in places]
    for (key, value), (_, other) in zip(numbers, places, strict=True):
        assert value == (pytest.approx(other, abs=1e-5) if type(other) is float else other), key


def flat(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Every leaf of nested results with its path; labels by name: equal ones have no order."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from flat(inner, f"{key}.{name}")
    elif isinstance(value, list | tuple):
        named = all(isinstance(each, dict) and "name" in each for each in value)
        rows = sorted(value, key=lambda each: each["name"]) if named else value
        for number, inner in enumerate(rows):
            yield from flat(inner, f"{key}[{number}]")
    else:
        yield key, value


def test_batch_and_order_change_no_prediction(task: Any, data: tuple[Example, ...]) -> None:
    model = task.model().eval()
    together = task.predict(model, task.batch(data))
    alone = [task.predict(model, task.batch([example]))[0] for example in data]
    for found, wanted in zip(together, alone, strict=True):
        alike(found, wanted)
    through_loader = [result for _, result in predictions(task, model, data)]
    for found, wanted in zip(through_loader, alone, strict=True):
        alike(found, wanted)


def test_augmentation_depends_on_seed_epoch_and_example_only(
    data: tuple[Example, ...],
) -> None:
    task = learned("ctc", data, *TINY, "augment.time_masks=2", "augment.speeds=[0.9, 1.1]")
    first = task.batch(data, Draw(1, 2))
    again = task.batch(data[::-1], Draw(1, 2))
    other = task.batch(data, Draw(1, 3))
    for row, example in enumerate(data):
        length = int(first.lengths[row])
        mirrored = len(data) - 1 - row
        assert torch.equal(first.features[row, :length], again.features[mirrored, :length]), example
    assert not torch.equal(first.lengths, other.lengths)


def test_the_length_after_augmentation_is_foreseen(data: tuple[Example, ...]) -> None:
    task = learned("ctc", data, *TINY, "augment.speeds=[0.8, 1.0, 1.25]")
    draw = Draw(0, 1)
    foreseen = [task.seconds(example, draw) for example in data]
    batch = task.batch(data, draw)
    assert (batch.lengths * task.front_end.hop_s).tolist() == pytest.approx(foreseen, abs=0.03)
    assert max(f / e.duration_s for f, e in zip(foreseen, data, strict=True)) == 1.25


def test_saved_and_loaded_gives_the_same_answers(
    task: Any, data: tuple[Example, ...], tmp_path: Path
) -> None:
    task.config = task.config.model_copy(
        update={"budget": task.config.budget.model_copy(update={"steps": 3})}
    )
    fit(task, data, data, tmp_path)
    again, model, state = load_trained(tmp_path)
    twin = task.model()
    load_strictly(twin, read_checkpoint(tmp_path / "best.safetensors")[0], "twin")
    wanted = task.score(predictions(task, twin, data))
    assert again.score(predictions(again, model, data)) == wanted == state["scores"]


def test_one_batch_can_be_overfitted(task: Any, data: tuple[Example, ...]) -> None:
    torch.manual_seed(0)
    few = data[:6] if task.answer == "embedding" else data[:2]  # six: one speaker comes twice
    model, batch = task.model(), task.batch(few)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    for _ in range(150):
        for _, loss, _ in task.updates(model, batch):
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
    answers = task.predict(model.eval(), batch)
    metric, direction = task.goal
    score = task.score(list(zip(few, answers, strict=True)))[metric]
    assert score == (0.0 if direction == "min" else 1.0)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_two_steps_of_every_recipe(recipe: Path, data: tuple[Example, ...], tmp_path: Path) -> None:
    words = ["budget.steps=2", "evaluation.shown=1", "loop.tensorboard=false"]
    if 'unit = "phoneme"' in recipe.read_text():
        words.append(f"text.lexicon={spelling(data, tmp_path / 'lexicon.txt')}")
    task = learned(recipe.parent.name, data, *words, recipe=recipe)
    outcome = fit(task, data, data[:3], tmp_path / "run")
    assert outcome.steps == 2
    losses = [
        json.loads(line)["loss"]
        for line in (tmp_path / "run/log.jsonl").read_text().splitlines()
        if json.loads(line)["kind"] == "step"
    ]
    assert len(losses) == 2
    assert np.isfinite(losses).all()


def test_a_transcript_with_unknown_letters_names_the_recording(
    data: tuple[Example, ...],
) -> None:
    task = learned("ctc", data, *TINY)
    odd = replace(data[0], text="abz")
    with pytest.raises(DataError, match=rf"{data[0].id}: unknown letters 'z'"):
        task.batch([odd])


def test_a_recording_shorter_than_a_window_is_an_empty_transcript(
    data: tuple[Example, ...], tmp_path: Path
) -> None:
    from auricle import audio

    audio.save(tmp_path / "short.wav", np.zeros(100, np.float32), 16_000)
    task = learned("ctc", data, *TINY)
    short = Example("short", tmp_path / "short.wav", 100 / 16_000, text="")
    (result,) = task.predict(task.model().eval(), task.batch([short]))
    assert result.duration_s < 0.02


@pytest.mark.parametrize("criterion", ["ctc", "ctc_crf"])
def test_noise_alone_teaches_that_nobody_speaks(
    criterion: str, data: tuple[Example, ...], tmp_path: Path
) -> None:
    audio.save(tmp_path / "noise.wav", np.full(32_000, 0.5, np.float32), 16_000)
    words = ("silence_share=0.5", f"augment.noises={tmp_path}", f"criterion={criterion}")
    task = learned("ctc", data, *TINY, *words)
    batch = task.batch(data, Draw(0, 0))
    silent = batch.target_lengths == 0
    assert 0 < int(silent.sum()) < len(data)
    (_, loss, _), *_ = task.updates(task.model(), batch)
    assert bool(loss.detach().isfinite())
    assert bool((task.batch(data).target_lengths > 0).all())  # nothing of it where it is judged
