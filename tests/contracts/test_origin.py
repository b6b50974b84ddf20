"""What a training that begins with a trained model owes every task."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save
from torch import Tensor

from auricle.bundle import GRAPH, WEIGHTS, find_model, write_bundle
from auricle.checkpoint import pack_weights, read_checkpoint, under_prefix
from auricle.cli.model import _card
from auricle.config import resolve
from auricle.data import Example, read_data
from auricle.errors import ConfigError, DataError, ModelError
from auricle.models.decoders import FrameStepper
from auricle.models.encoders import first_parameters
from auricle.models.widening import SIZES
from auricle.origin import FIRST_SHARE, Origin, check_same_model, settings_for
from auricle.tasks import TASKS, load_trained, load_weights, task_class
from auricle.train import Outcome, fit, predictions
from toys import TINY, corpus

Examples = tuple[Example, ...]
QUICK = (*TINY, "batches.workers=0", "batches.seconds=4", "average.kind=none")


@pytest.fixture(scope="module", name="data")
def _data(tmp_path_factory: pytest.TempPathFactory) -> Examples:
    return read_data(corpus(tmp_path_factory.mktemp("toys"), 10)).examples


@pytest.fixture(scope="module", name="other")
def _other(tmp_path_factory: pytest.TempPathFactory) -> Examples:
    return read_data(corpus(tmp_path_factory.mktemp("toys"), 10, 1, "other")).examples


@pytest.fixture(scope="module", name="runs")
def _runs(tmp_path_factory: pytest.TempPathFactory, data: Examples) -> Path:
    """A run folder of two updates for each task."""
    folder = tmp_path_factory.mktemp("runs")
    for name in TASKS:
        kind = task_class(name)
        config = resolve(kind.settings, None, (*QUICK, "budget.steps=2"))
        fit(kind.learn(config, data), data, data, folder / name)
    return folder


@pytest.fixture(params=TASKS, name="run")
def _run(request: pytest.FixtureRequest, runs: Path) -> Path:
    folder: Path = runs / request.param
    return folder


def tuned(
    run: Path, data: Examples, out: Path, *words: str, given: bool = True
) -> tuple[Outcome, Origin, Any]:
    """Fine-tune the model of `run` in `out`; to go on, the model need not be `given`."""
    old, weights = load_weights(run)
    kind: Any = type(old)
    quick = (
        "batches.workers=0",
        "batches.seconds=4",
        "average.kind=none",
        "loop.tensorboard=false",
    )
    config = settings_for(kind, old.config, data, words=(*quick, *words))
    task = kind.adapt(config, old, data, data)
    origin = Origin.between("before", weights, old, task)
    return fit(task, data, data, out, origin=origin if given else None), origin, task


def weights_of(run: Path) -> dict[str, Tensor]:
    return under_prefix("model", read_checkpoint(run / "last.safetensors")[0])


def same(one: dict[str, Tensor], two: dict[str, Tensor], names: Sequence[str]) -> list[bool]:
    return [torch.equal(one[name], two[name]) for name in names]


def test_before_the_first_update_it_is_the_model(run: Path, data: Examples, tmp_path: Path) -> None:
    old, model, _ = load_trained(run)
    wanted = old.score(predictions(old, model, data))
    outcome, origin, task = tuned(run, data, tmp_path / "out", "budget.steps=1")
    assert outcome.began == wanted
    assert origin.weights.keys() == model.state_dict().keys()
    fresh = task.model()
    origin.load_into(fresh)
    assert all(same(fresh.state_dict(), model.state_dict(), list(origin.weights)))
    metric, direction = task.goal
    better = min if direction == "min" else max
    assert outcome.best[metric] == better(outcome.best[metric], wanted[metric])


def test_a_model_of_whole_utterances_becomes_one_of_live_sound(
    runs: Path, data: Examples, tmp_path: Path
) -> None:
    old, _ = load_weights(runs / "ctc")
    words = ("features.normalise=running", "encoder.chunk_ms=160", "encoder.look_ahead_ms=160")
    _, origin, task = tuned(runs / "ctc", data, tmp_path / "out", *words, "budget.steps=1")
    check_same_model("m", task.config, old.config, (*task.shape, *task.naming))
    live = task.model()
    origin.load_into(live)
    assert all(same(live.state_dict(), dict(origin.weights), list(origin.weights)))
    assert FrameStepper.of(live) is not None


@pytest.mark.parametrize(("times", "furthest"), [(2, 1e-5), (1.5, 0.1)])
def test_a_wider_network_begins_as_the_narrower_one(
    data: Examples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: float, furthest: float
) -> None:
    kind = task_class("ctc")
    deep = (*QUICK, "encoder.blocks=1", "encoder.layers=2", "budget.steps=2")
    config = resolve(kind.settings, None, deep)
    fit(kind.learn(config, data), data, data, tmp_path / "narrow")
    old, _ = load_weights(tmp_path / "narrow")
    words = [f"encoder.{n}={round(times * getattr(config.encoder, n))}" for n in SIZES]
    outcome, origin, task = tuned(tmp_path / "narrow", data, tmp_path / "wide", *words, *deep[-1:])
    assert outcome.steps == 2

    monkeypatch.setattr("auricle.models.widening.NOISE", 0.0)
    _, narrow, _ = load_trained(tmp_path / "narrow")
    wide, batch = task.model(), task.batch(data[:4])
    origin.load_into(wide)
    assert wide.encoder.dim == times * narrow.encoder.dim
    one, two = (m.eval()(batch.features, batch.lengths)[0].exp() for m in (narrow, wide))
    # Where not all units have as many copies, the layer norms differ.
    assert float((one - two).detach().abs().max()) < furthest

    monkeypatch.undo()
    wide = task.model()
    origin.load_into(wide)
    for layer in ("first", "project", "lstm.forwards.1"):  # copies that are alike would stay alike
        name = f"encoder.{layer}.weight" + "_hh_l0" * ("lstm" in layer)
        rows = wide.state_dict()[name].flatten(1)
        assert len(torch.unique(rows, dim=0)) == len(rows), layer
    narrower = resolve(kind.settings, None, (*deep, "encoder.hidden=8"))
    with pytest.raises(ConfigError, match=r"encoder\.hidden = 8 \(the model: 32\)"):
        check_same_model("it", narrower, old.config, kind.shape, may_grow=True)
    grown = resolve(kind.settings, None, (*deep, *words))
    check_same_model("it", grown, old.config, kind.shape, may_grow=True)
    with pytest.raises(ConfigError, match="another model"):
        check_same_model("it", grown, old.config, kind.shape)


def test_first_layers_wait_and_then_move(run: Path, data: Examples, tmp_path: Path) -> None:
    words = ("optimizer.frozen_steps=2", "budget.epochs=100")
    _, origin, task = tuned(run, data, tmp_path / "out", *words, "budget.steps=2")
    model = task.model()
    first = set(map(id, first_parameters(model)))
    still = [name for name, p in model.named_parameters() if id(p) in first]
    others = [name for name, _ in model.named_parameters() if name not in still]
    assert still
    assert others
    begun = dict(origin.weights)
    after = weights_of(tmp_path / "out")
    assert all(same(after, begun, still))
    assert not any(same(after, begun, others))
    tuned(run, data, tmp_path / "out", *words, "budget.steps=3")
    assert not any(same(weights_of(tmp_path / "out"), begun, still))


@pytest.mark.parametrize("stop", [1, 3])
def test_it_goes_on_exactly_and_without_the_model(
    run: Path, data: Examples, tmp_path: Path, stop: int
) -> None:
    words = ("optimizer.frozen_steps=2", "optimizer.schedule=constant", "average.kind=ema")
    tuned(run, data, tmp_path / "unbroken", *words, "budget.steps=5")
    tuned(run, data, tmp_path / "broken", *words, f"budget.steps={stop}")
    outcome, origin, _ = tuned(
        run, data, tmp_path / "broken", *words, "budget.steps=5", given=False
    )
    (one, state), (two, again) = (
        read_checkpoint(tmp_path / name / "last.safetensors") for name in ("unbroken", "broken")
    )
    assert one.keys() == two.keys()
    assert all(same(one, two, list(one)))
    assert state["origin"] == again["origin"] == origin.to_dict()
    assert outcome.began == state["counters"]["began"]


@pytest.mark.parametrize("word", ["", "encoder.hidden=64", "encoder.chunk_ms=160"])
def test_some_of_what_it_began_with_is_kept_where_it_is_the_same_model(
    runs: Path, data: Examples, tmp_path: Path, word: str
) -> None:
    words = ["average.kind=ema", "budget.steps=2", *([word] if word else [])]
    words += ["features.normalise=running"] if "chunk" in word else []
    _, origin, task = tuned(runs / "ctc", data, tmp_path, *words)
    assert task.config.average.first == (0.0 if word else FIRST_SHARE)
    kept = under_prefix("average.first", read_checkpoint(tmp_path / "last.safetensors")[0])
    begun = {} if word else dict(origin.weights)
    assert kept.keys() == begun.keys()
    assert all(same(kept, begun, list(begun)))


def test_nothing_is_kept_of_answers_that_begin_at_random(
    runs: Path, data: Examples, tmp_path: Path
) -> None:
    new = relabelled(data, {load_weights(runs / "clip")[0].answers[0]: "zzz"})
    words = ("average.kind=ema", "budget.steps=1")
    _, origin, task = tuned(runs / "clip", new, tmp_path, *words)
    assert task.config.average.first
    assert not origin.whole
    assert not under_prefix("average.first", read_checkpoint(tmp_path / "last.safetensors")[0])


def test_what_is_no_better_does_not_take_the_place_of_the_model(
    run: Path, data: Examples, tmp_path: Path
) -> None:
    tuned(run, data, tmp_path, "optimizer.rate=1e-12", "budget.steps=3", "evaluation.every_steps=1")
    assert read_checkpoint(tmp_path / "best.safetensors")[1]["step"] == 0


def test_the_shipped_model_is_trained_further_without_what_trained_it(tmp_path: Path) -> None:
    clips = read_data(Path(__file__).parents[2] / "examples" / "clips").examples
    outcome, _, task = tuned(find_model("english"), clips, tmp_path, "budget.steps=3")
    assert outcome.steps == 3
    assert task.config.silence_share == 0  # it would need the folder of noises


def test_another_beginning_is_refused(run: Path, data: Examples, tmp_path: Path) -> None:
    _, origin, task = tuned(run, data, tmp_path / "out", "budget.steps=1")
    moved = {name: tensor + 1 for name, tensor in origin.weights.items()}
    with pytest.raises(
        ConfigError, match="began with other weights of before, not with these of x"
    ):
        fit(task, data, data, tmp_path / "out", origin=Origin("x", moved, {}))
    fit(task, data, data, tmp_path / "nothing")
    with pytest.raises(ConfigError, match="began with random weights, not with these of before"):
        fit(task, data, data, tmp_path / "nothing", origin=origin)


def test_a_bundle_gives_what_its_run_gives(run: Path, tmp_path: Path) -> None:
    task, weights = load_weights(run)
    _, model, state = load_trained(run)
    card = _card(task.card(), state["scores"], None, "")
    members = {GRAPH: b"", WEIGHTS: pack_weights(model.state_dict(), "fp16")}
    bundle = write_bundle(tmp_path / "m.auricle", card, members)
    again, halved = load_weights(bundle.path)
    assert again.answers == (() if task.name == "speaker" else task.answers)
    assert again.config == task.config
    for name, tensor in weights.items():
        torch.testing.assert_close(halved[name].float(), tensor, rtol=1e-3, atol=1e-6)
    bare = write_bundle(tmp_path / "bare.auricle", card, {GRAPH: b""})
    with pytest.raises(ModelError, match=r"bare\.auricle: has no weights to begin with"):
        load_weights(bare.path)
    scale = save({"x": torch.zeros(2, 2, dtype=torch.int8), "x/scale": torch.zeros(3)})
    for damaged in (b"odd", scale, save({"x/scale": torch.zeros(3)})):
        odd = write_bundle(tmp_path / "odd.auricle", card, {GRAPH: b"", WEIGHTS: damaged})
        with pytest.raises(ModelError, match=r"odd\.auricle: weights\.safetensors is damaged"):
            load_weights(odd.path)


def test_weights_may_lie_beside_the_bundle(runs: Path, tmp_path: Path) -> None:
    task, model, state = load_trained(runs / "ctc")
    card = _card(task.card(), state["scores"], None, "")
    weights = {WEIGHTS: pack_weights(model.state_dict(), "fp16")}
    write_bundle(tmp_path / "m.auricle", card, {GRAPH: b""})
    with pytest.raises(ModelError, match=r"m\.auricle: has no weights .* m\.weights is not beside"):
        load_weights(tmp_path / "m.auricle")
    write_bundle(tmp_path / "m.weights", card, weights)
    found = load_weights(tmp_path / "m.auricle")[1]
    assert all(torch.equal(found[n], t.half()) for n, t in model.state_dict().items())
    others = {"description": "another"}, {"stride": 9}
    for other in (card.model_copy(update=each) for each in others):
        write_bundle(tmp_path / "m.weights", other, weights)
        with pytest.raises(ModelError, match=r"m\.weights: these are not the weights of m"):
            load_weights(tmp_path / "m.auricle")
    write_bundle(tmp_path / "m.weights", card, {GRAPH: b""})
    with pytest.raises(ModelError, match="not the weights"):
        load_weights(tmp_path / "m.auricle")


def test_the_rate_is_gentle_and_other_models_are_refused(run: Path, data: Examples) -> None:
    old, _ = load_weights(run)
    kind: Any = type(old)
    config = settings_for(kind, old.config, data)
    assert config.optimizer.rate == pytest.approx(
        kind.suggest(data, False)["optimizer"]["rate"] / 5
    )
    assert config.optimizer.frozen_steps > 0
    assert config.budget.epochs == 40
    tables = (*kind.shape, *kind.naming)
    free = settings_for(kind, old.config, data, words=("encoder.dropout=0.5", "dropout=0.3"))
    check_same_model("m", free, old.config, tables)
    wider = settings_for(kind, old.config, data, words=("encoder.hidden=33", "features.mels=21"))
    with pytest.raises(ConfigError) as error:
        check_same_model("m", wider, old.config, tables)
    assert "encoder.hidden = 33 (the model: 32)" in str(error.value)
    assert "features.mels = 21 (the model: 20)" in str(error.value)
    conformer = settings_for(kind, old.config, data, words=("encoder.kind=conformer",))
    with pytest.raises(ConfigError, match=r"kind = conformer \(the model: conv_lstm\)"):
        check_same_model("m", conformer, old.config, tables)


def relabelled(data: Examples, names: dict[str, str]) -> Examples:
    return tuple(replace(e, labels=tuple(names.get(n, n) for n in e.labels)) for e in data)


def test_shared_labels_keep_their_rows(runs: Path, data: Examples, tmp_path: Path) -> None:
    old, weights = load_weights(runs / "clip")
    label: str = old.answers[0]
    new = relabelled(data, {label: "zzz"})
    _, origin, task = tuned(runs / "clip", new, tmp_path / "out", "budget.steps=1")
    assert set(task.answers) == (set(old.answers) - {label}) | {"zzz"}
    model = task.model()
    fresh = model.classify.weight.detach().clone()
    origin.load_into(model)
    for row, answer in enumerate(task.answers):
        wanted = (
            fresh[row] if answer == "zzz" else weights["classify.weight"][old.answers.index(answer)]
        )
        assert torch.equal(model.classify.weight[row], wanted)
    assert torch.equal(model.encoder.project.weight, weights["encoder.project.weight"])


def test_fewer_labels_change_no_answers_unless_asked(runs: Path, data: Examples) -> None:
    old, _ = load_weights(runs / "clip")
    few = tuple(e for e in data if e.labels[0] in old.answers[:2])
    assert len({e.labels for e in few}) == 2
    kind: Any = type(old)
    assert kind.adapt(old.config, old, few).answers == old.answers
    assert kind.adapt(old.config, old, few, anew=True).answers == old.answers[:2]


def test_speakers_are_always_those_of_the_data(
    runs: Path, data: Examples, other: Examples, tmp_path: Path
) -> None:
    _, origin, task = tuned(runs / "speaker", other, tmp_path / "out", "budget.steps=1")
    assert set(task.answers) == {e.speaker for e in other}
    assert set(task.answers).isdisjoint({e.speaker for e in data})
    model = task.model()
    fresh = model.speakers.detach().clone()
    origin.load_into(model)
    assert torch.equal(model.speakers, fresh)
    assert torch.equal(model.embed.weight, origin.weights["embed.weight"])


def test_letters_that_the_model_lacks_are_refused_unless_asked_for(
    runs: Path, data: Examples
) -> None:
    old, weights = load_weights(runs / "ctc")
    kind: Any = type(old)
    odd = (replace(data[0], text="a quiz"), *data[1:])
    with pytest.raises(DataError, match="unknown letters 'i', 'q', 'u', 'z'"):
        kind.adapt(old.config, old, odd).batch(odd[:1])
    task = kind.adapt(old.config, old, odd, anew=True)
    assert set(task.answers) == {*old.answers, *"quiz"}
    model = task.model()
    Origin.between("before", weights, old, task).load_into(model)
    for row, answer in enumerate(task.answers):
        if answer in old.answers:
            wanted = weights["classify.weight"][old.answers.index(answer)]
            assert torch.equal(model.classify.weight[row], wanted)


@pytest.fixture(name="phonemes")
def _phonemes(data: Examples, tmp_path: Path) -> Any:
    """A task whose lexicon has the words of `data` but one, a letter a phoneme."""
    words = sorted({word for e in data for word in (e.text or "").split()})
    lexicon = tmp_path / "lexicon.txt"
    lexicon.write_text("".join(f"{word} {' '.join(word.upper())}\n" for word in words))
    kind = task_class("ctc")
    config = resolve(kind.settings, None, (*QUICK, "text.unit=phoneme", f"text.lexicon={lexicon}"))
    return kind.learn(config, data)


def test_words_outside_the_lexicon_are_spoken_like_those_inside(
    phonemes: Any, data: Examples
) -> None:
    config = settings_for(type(phonemes), phonemes.config, data)
    assert config.text.lexicon is None
    new = (replace(data[0], text="abcdeabc dab"), *data[1:])
    task = phonemes.adapt(config, phonemes, new)
    assert task.answers == phonemes.answers
    assert task.tokenizer.lexicon["abcdeabc"] == tuple("ABCDEABC")
    assert "1 words of these texts are not in the model's lexicon" in task.about() or (
        "2 words" in task.about()
    )
    assert "abcdeabc (A B C D E A B C)" in task.about()
    assert not task.tokenizer.unknown("abcdeabc dab")
    odd = (replace(data[0], text="xyz"), *data[1:])
    assert phonemes.adapt(config, phonemes, odd).tokenizer.unknown("xyz") == {"xyz"}


def test_a_lexicon_of_ones_own_counts_and_has_the_models_phonemes(
    phonemes: Any, data: Examples, tmp_path: Path
) -> None:
    own = tmp_path / "own.txt"
    own.write_text("abcdeabc E E\n")
    config = settings_for(type(phonemes), phonemes.config, data, words=(f"text.lexicon={own}",))
    check_same_model("m", config, phonemes.config, phonemes.naming)
    new = (replace(data[0], text="abcdeabc"), *data[1:])
    task = phonemes.adapt(config, phonemes, new)
    assert task.tokenizer.lexicon["abcdeabc"] == ("E", "E")
    assert task.about() == "unit phoneme; scored on valid without a language model"
    own.write_text("abcdeabc E1 A\n")
    with pytest.raises(ConfigError, match=r"does not have: E1; it has A B C D E .*--plain"):
        phonemes.adapt(config, phonemes, new)
