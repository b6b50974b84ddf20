"""Fine-tuning from the command line: what it says, refuses, remembers and hands on."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import typer.testing

from auricle.bundle import LEXICON, LM, Bundle, write_bundle
from auricle.cli import app
from auricle.cli.origin import KEPT
from auricle.data import read_data
from auricle.errors import AuricleError, ConfigError
from auricle.origin import Origin
from auricle.tasks import load_weights
from auricle.tasks.ctc import CTCSettings, CTCTask
from auricle.text import CharTokenizer
from auricle.vocabulary import read_vocabulary
from tones import unigrams
from toys import TINY, corpus

Run = Callable[..., typer.testing.Result]
QUICK = ("batches.workers=0", "batches.seconds=4", "loop.tensorboard=false")


@pytest.fixture(name="run")
def _run(monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr("auricle.export.TIMED_S", (0.5, 1.0))

    def run(*words: str | Path, status: int = 0) -> typer.testing.Result:
        result = typer.testing.CliRunner().invoke(app, list(map(str, words)))
        if isinstance(result.exception, AuricleError):
            raise result.exception
        assert result.exit_code == status, result.output
        return result

    return run


@pytest.fixture(scope="module", name="folder")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of phonemes, its bundle with a language model, and further data."""
    folder = tmp_path_factory.mktemp("origin")
    manifest = corpus(folder, 10)
    texts = [example.text or "" for example in read_data(manifest).examples]
    words = sorted({word for text in texts for word in text.split()})
    lines = [f"{word} {' '.join(word.upper())}\n" for word in words]
    (folder / "lexicon.txt").write_text("".join(lines))
    unigrams(dict.fromkeys(words, -2.0)).save(folder / "lm.bin")
    (folder / "card.md").write_text("# before\n\nLearned from tones.\n")
    phonemes = ("text.unit=phoneme", f"text.lexicon={folder / 'lexicon.txt'}")
    train = ["train", manifest, "--out", folder / "before", *TINY, *QUICK, "budget.steps=2"]
    words_of = ["--lm", folder / "lm.bin", "--decode", "beam=7", "--decode", "alpha=0.25"]
    export = ["export", folder / "before", folder / "before.auricle", "precision=fp32"]
    for arguments in (
        [*train, *phonemes],
        [*export, *words_of, "--card", folder / "card.md", "--language", "tones"],
    ):
        result = typer.testing.CliRunner().invoke(app, list(map(str, arguments)))
        assert result.exit_code == 0, result.output
    corpus(folder, 10, 1, "other")
    return folder


def command(folder: Path, out: Path, *words: str) -> tuple[str | Path, ...]:
    init = ("--init", folder / "before.auricle")
    return ("train", folder / "other.jsonl", "--out", out, *QUICK, *words, *init)


def test_one_command_fine_tunes_and_the_export_decodes_alike(
    run: Run, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    told = run(*command(folder, out, "budget.steps=2")).stderr
    before = folder / "before.auricle"
    assert f"begins with {before}: its encoder, and 7 of 7 answers\n" in told
    assert "words of these texts are not in the model's lexicon; taken to sound like" in told
    assert "update 0, 0.0 min: wer" in told
    assert "\nthe model it began with: wer" in told
    assert "little sound" not in told
    assert f"began with {before} (weights " in run("info", out).stdout
    exported = run("export", out, tmp_path / "after.auricle", "precision=fp32")
    assert f"as in {before}: language model, lexicon, decoding;" in exported.stderr
    old, new = Bundle.read(before), Bundle.read(tmp_path / "after.auricle")
    assert new.card.decode == old.card.decode
    assert new.card.decode.to_dict()["beam"] == 7
    assert (new.card.language, new.member(LM)) == ("tones", old.member(LM))
    assert "> Learned from tones." in new.card.description
    known, wider = (set(read_vocabulary(each)[0].to_dict()["lexicon"]) for each in (old, new))
    texts = [example.text or "" for example in read_data(folder / "other.jsonl").examples]
    assert known < wider
    assert {word for text in texts for word in text.split()} <= wider
    strange = tmp_path / "strange.jsonl"
    lines = (folder / "other.jsonl").read_text().splitlines()[:2]
    rows = [{**json.loads(line), "text": "words nobody spelt"} for line in lines]
    for row in rows:
        row["audio_filepath"] = str(folder / row["audio_filepath"])
    strange.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert "words (WER)" in run("evaluate", out, strange).stdout
    unigrams({"nobody": -1.0, "spelt": -1.0}).save(tmp_path / "lm.bin")
    spoken = run("export", out, tmp_path / "lm.auricle", "--lm", tmp_path / "lm.bin")
    assert "2 words of the language model are not in the lexicon" in spoken.stderr
    words = ("export", out, tmp_path / "other.auricle", "precision=fp32")
    run(*words, "--decode", "beam=5")
    assert Bundle.read(tmp_path / "other.auricle").card.decode.to_dict()["beam"] == 5
    assert Bundle.read(tmp_path / "other.auricle").card.decode.to_dict()["alpha"] == 0.25
    assert "as in" not in run(*words, "--no-inherit").stderr
    assert LM not in Bundle.read(tmp_path / "other.auricle").card.members


def test_it_goes_on_without_the_model_but_not_with_another(
    run: Run, folder: Path, tmp_path: Path
) -> None:
    out, gone = tmp_path / "run", tmp_path / "gone.auricle"
    gone.write_bytes((folder / "before.auricle").read_bytes())
    words = ("train", folder / "other.jsonl", "--out", out)
    run(*words, *QUICK, "--init", gone, "budget.steps=1")
    assert "finished before" in run(*words, "--init", gone, "budget.steps=1").stderr
    gone.unlink()
    assert "going on from update 1" in run(*words, "--init", gone, "budget.steps=2").stderr
    assert "going on from update 2" in run(*words, "budget.steps=3").stderr
    with pytest.raises(AuricleError, match=r"other weights of .*gone\.auricle, not with"):
        run(*words, "--init", out, "budget.steps=3")
    with pytest.raises(AuricleError, match=r"other settings \(encoder\)"):
        run(*words, "budget.steps=3", "encoder.dropout=0.5")
    with pytest.raises(AuricleError, match="before holds a training that began with random"):
        run(*words[:3], folder / "before", "--init", folder / "before.auricle")


def test_another_task_begins_with_the_encoder_alone(run: Run, folder: Path, tmp_path: Path) -> None:
    out, before = tmp_path / "run", folder / "before.auricle"
    words = command(folder, out, "--task", "clip")
    told = run(*words, "budget.steps=1").stderr
    assert f"begins with the encoder of {before}; what answers begins at random" in told
    (old, given), (new, _) = load_weights(before), load_weights(out)
    assert new.config.encoder == old.config.encoder
    assert new.config.features == old.config.features
    fresh = new.model()
    random = {name: tensor.clone() for name, tensor in fresh.state_dict().items()}
    Origin.between("before", given, old, new).load_into(fresh)
    for name, tensor in fresh.state_dict().items():
        expected = given[name] if name.startswith("encoder.") else random[name]
        assert torch.equal(tensor, expected.to(tensor.dtype)), name
    assert "going on from update 1" in run(*words, "budget.steps=2").stderr
    with pytest.raises(AuricleError, match=r"other weights of .*before\.auricle, not with"):
        run(*words[:-1], out, "budget.steps=2")
    run("export", out, tmp_path / "clip.auricle", "precision=fp32")
    card = Bundle.read(tmp_path / "clip.auricle").card
    assert (card.answer, card.language) == ("labels", None)
    assert "> Learned from tones." in card.description
    with pytest.raises(AuricleError, match=r"encoder\.hidden = 16 \(the model: 32\)"):
        run(*command(folder, tmp_path / "b", "encoder.hidden=16"), "--task", "clip")
    with pytest.raises(AuricleError, match=r"run holds a training for --task clip, not ctc"):
        run(*command(folder, out), "--task", "ctc")


def test_what_is_kept_of_a_run_that_began_with_a_bundle_is_handed_on(
    run: Run, folder: Path, tmp_path: Path
) -> None:
    run(*command(folder, tmp_path / "one", "budget.steps=1"))
    words = ("train", folder / "data.jsonl", *QUICK, "--init", tmp_path / "one")
    run(*words, "--out", tmp_path / "two", "budget.steps=1")
    kept = [Bundle.read(tmp_path / each / KEPT) for each in ("one", "two")]
    assert kept[0].card == kept[1].card
    assert set(kept[0].card.members) == {LM, LEXICON}
    new = ("--new-answers", "text.unit=char", "budget.steps=1")
    told = run(*words, "--out", tmp_path / "letters", *new).stderr
    assert "its encoder, and 2 of 7 answers; new, and so begun at random: a, b, c, d, e; 5" in told
    assert not Bundle.read(tmp_path / "letters" / KEPT).card.members


def test_contradictions_are_refused_before_anything_is_trained(
    run: Run, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    with pytest.raises(AuricleError, match=r"encoder\.hidden = 16 \(the model: 32\)"):
        run(*command(folder, out, "encoder.hidden=16"))
    with pytest.raises(AuricleError, match=r"encoder\.kind = conformer \(the model: conv_lstm\)"):
        run(*command(folder, out), "--recipe", "conformer")
    with pytest.raises(AuricleError, match=r"text\.unit = char \(the model: phoneme\)"):
        run(*command(folder, out, "text.unit=char"))
    with pytest.raises(AuricleError, match="--new-answers goes with --init"):
        run("train", folder / "other.jsonl", "--out", out, "--new-answers")
    with pytest.raises(AuricleError, match="nowhere: no such file, and no shipped model"):
        run("train", folder / "other.jsonl", "--out", out, "--init", "nowhere")
    bundle = Bundle.read(folder / "before.auricle")
    members = {n: bundle.member(n) for n in bundle.card.members if "weights" not in n}
    write_bundle(tmp_path / "bare.auricle", bundle.card, members)
    with pytest.raises(AuricleError, match=r"bare\.auricle: has no weights to begin with"):
        run("train", folder / "other.jsonl", "--out", out, "--init", tmp_path / "bare.auricle")
    odd = json.loads((folder / "other.jsonl").read_text().splitlines()[0])
    odd |= {"text": "xyz", "audio_filepath": str(folder / odd["audio_filepath"])}
    (tmp_path / "odd.jsonl").write_text(2 * (json.dumps(odd) + "\n"))
    with pytest.raises(AuricleError, match="xyz"):
        run("train", tmp_path / "odd.jsonl", *command(folder, out)[2:])
    assert not out.exists()


def test_the_criterion_may_change_and_brings_its_trigrams(
    run: Run, folder: Path, tmp_path: Path
) -> None:
    """CTC before, CTC-CRF now: counted in the new texts, kept with the weights, gone on with."""
    out, init = tmp_path / "run", command(folder, tmp_path / "run", "criterion=ctc_crf")
    run(*init, "budget.steps=2")
    task, weights = load_weights(out)
    assert float(weights["trigrams.end"].sum()) > 0
    assert any("trigrams.follow" in name for name in task.model().state_dict())
    run(*init, "budget.steps=3")  # from the checkpoint, without counting anew
    assert torch.equal(load_weights(out)[1]["trigrams.follow"], weights["trigrams.follow"])
    assert "wer" in run("evaluate", out, folder / "other.jsonl").stdout.lower()
    run("export", out, tmp_path / "after.auricle", "precision=fp32")
    back = ("--out", tmp_path / "back", *QUICK, "criterion=ctc", "budget.steps=1")
    run("train", folder / "other.jsonl", "--init", tmp_path / "after.auricle", *back)
    assert "trigrams.follow" not in load_weights(tmp_path / "back")[1]


def test_too_many_symbols_for_pairs_are_refused() -> None:
    settings = CTCSettings.parse({"criterion": "ctc_crf"}, "settings")
    with pytest.raises(ConfigError, match=r"pairs of 101 symbols.*char or phoneme"):
        CTCTask(settings, CharTokenizer(("<blank>", *map(chr, range(0x4E00, 0x4E00 + 100)))))
