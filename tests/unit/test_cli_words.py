"""The options of decoding, export with words and tune, as people type them."""

import json
import re
import shutil
import sys
from pathlib import Path

import pytest

from auricle.bundle import LEXICON, LM, Bundle
from auricle.cli import main
from auricle.cli.decoding import AS_IT_IS, Decoding, read_hotwords
from auricle.config import resolve
from auricle.data import read_data
from auricle.decode import BeamSettings, GreedySettings
from auricle.errors import ConfigError, DataError
from auricle.tasks.ctc import CTCSettings, CTCTask
from auricle.train import fit
from tones import save, sound, unigrams, write
from toys import TINY, corpus

B_OR_C = {"b": 0.75, "c": 0.25}
MODEL = unigrams({"cab": -0.5, "bab": -4.0, "fed": -1.0})


@pytest.fixture(name="desk")
def _desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a greedy bundle, one that has a language model, and recordings."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")
    beam = BeamSettings(alpha=1.0, beam=4)
    write(tmp_path / "plain.auricle")
    write(tmp_path / "words.auricle", more={LM: MODEL.to_bytes()}, decode=beam.to_dict())
    MODEL.save(tmp_path / "lm.bin")
    save(tmp_path / "cab.wav", sound([B_OR_C, *"ab"]))
    save(tmp_path / "fed.wav", sound("fed"))
    lines = [{"audio_filepath": f"{word}.wav", "text": word} for word in ("cab", "fed")]
    (tmp_path / "valid.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return tmp_path


class Terminal:
    """Runs commands in this process, and keeps what they say."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capfd = monkeypatch, capfd

    def __call__(self, words: str, status: int = 0) -> str:
        self._monkeypatch.setattr(sys, "argv", ["auricle", *words.split()])
        try:
            main()
            found = 0
        except SystemExit as stop:
            found = int(stop.code or 0)
        out, err = self._capfd.readouterr()
        assert found == status, err
        assert "Traceback" not in err
        return out if status == 0 else err


@pytest.fixture(name="auricle")
def _auricle(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Terminal:
    return Terminal(monkeypatch, capfd)


@pytest.mark.usefixtures("desk")
def test_transcribe_decodes_as_the_bundle_says_or_as_asked(auricle: Terminal) -> None:
    assert auricle("transcribe cab.wav --model words.auricle") == "cab\n"
    assert auricle("transcribe cab.wav --model words.auricle --greedy") == "bab\n"
    assert auricle("transcribe cab.wav --model words.auricle --alpha 0") == "bab\n"
    assert auricle("transcribe cab.wav --model plain.auricle") == "bab\n"
    assert auricle("transcribe cab.wav --model plain.auricle --lm lm.bin --alpha 1") == "cab\n"
    assert auricle("transcribe cab.wav --model plain.auricle --hotwords cab,deaf") == "cab\n"
    Path("names.txt").write_text("cab\n\ndeaf\n")
    assert auricle("transcribe cab.wav --model plain.auricle --hotwords names.txt") == "cab\n"
    only = auricle("transcribe cab.wav --model words.auricle --nbest 2")  # its beam is narrow
    assert re.fullmatch(r"cab\n0\.\d{3}  cab\n", only)
    words = "transcribe cab.wav --model words.auricle --nbest 2 --beam 50 --alpha 0.3"
    text, *others = auricle(words).splitlines()
    assert text == "cab"
    assert [line.split()[1] for line in others] == ["cab", "bab"]
    said = json.loads(auricle(f"{words} --format json"))
    assert [each["text"] for each in said["alternatives"]] == ["cab", "bab"]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("--greedy --beam 5", "leave out --beam"),
        ("--greedy --hotwords cab", "leave out --hotwords"),
        ("--beam 0", "--beam"),
        ("--alpha -1", "--alpha"),
        ("--beta 99", "beta = 99"),
        ("--hotwords ,", "there is no word in it"),
        ("--hotwords xylophone", "nobody can say with this model: xylophone"),
        ("--lm gone.bin", "gone.bin"),
        ("--lm valid.jsonl", "valid.jsonl"),
    ],
)
@pytest.mark.usefixtures("desk")
def test_what_cannot_be_decoded_is_said(auricle: Terminal, words: str, named: str) -> None:
    assert named in auricle(f"transcribe cab.wav --model plain.auricle {words}", status=2)
    assert named in auricle(f"evaluate plain.auricle valid.jsonl {words}", status=2)


@pytest.mark.usefixtures("desk")
def test_evaluate_compares_ways_to_decode_one_bundle(auricle: Terminal) -> None:
    def errors(words: str) -> int:
        facts = json.loads(auricle(f"evaluate words.auricle valid.jsonl --format json {words}"))
        return int(facts["wer"]["substitutions"])

    assert [errors(words) for words in ("", "--greedy", "--alpha 0 --beam 9")] == [0, 1, 1]


def test_options_make_settings_of_the_bundles_own() -> None:
    tuned = BeamSettings(alpha=0.7, beta=2.0)
    assert AS_IT_IS.settings(tuned) is None
    assert Decoding(beam=5).settings(tuned) == tuned.model_copy(update={"beam": 5})
    assert Decoding(beam=5).settings(GreedySettings()) == BeamSettings(beam=5)
    assert Decoding(greedy=True).settings(tuned) == GreedySettings()
    assert Decoding(hotwords="x").settings(GreedySettings()) == BeamSettings()
    louder = Decoding(hotwords="x", hotword=12.0)
    assert louder.settings(GreedySettings()) == BeamSettings(hotword=12.0)
    assert louder.words == ["--hotwords", "x", "--hotword", "12.0"]
    with pytest.raises(ConfigError, match="leave out --nbest"):
        Decoding(greedy=True, nbest=2).settings(tuned)


def test_hotwords_from_words_and_files(tmp_path: Path) -> None:
    assert read_hotwords("New York, , Ana") == ("New York", "Ana")
    path = tmp_path / "names"
    path.write_text("New York\n\nAna, Bo\n")
    assert read_hotwords(str(path)) == ("New York", "Ana", "Bo")
    path.write_bytes(b"\xff")
    with pytest.raises(DataError, match="cannot read the hotwords"):
        read_hotwords(str(path))
    with pytest.raises(ConfigError, match=r"' ,\\n': there is no word"):
        read_hotwords(" ,\n")
    path.write_text(" \n")
    with pytest.raises(ConfigError, match=r"/names: there is no word"):
        read_hotwords(str(path))
    for gone in ("namez.txt", "NAMEZ.CSV", str(tmp_path / "gone")):
        with pytest.raises(DataError, match=r"cannot read the hotwords \(there is no such file"):
            read_hotwords(gone)
    for words in ("Node.js", "AC/DC", "a.txt, b.txt", "../gone, Ana"):
        assert read_hotwords(words) == tuple(words.split(", "))
    assert read_hotwords("n" * 5_000) == ("n" * 5_000,)


def test_tune_writes_what_it_finds(desk: Path, auricle: Terminal) -> None:
    shutil.copy(desk / "plain.auricle", desk / "mine.auricle")
    said = auricle("tune mine.auricle valid.jsonl --lm lm.bin --beam 4 --trials 6")
    assert re.search(r"before \(greedy\) +50\.00%", said)
    assert re.search(r"now \(beam, beam 4, alpha \S+, beta \S+\) +0\.00%", said)
    assert "change -50.00%" in said
    card = Bundle.read(desk / "mine.auricle").card
    assert card.description.startswith(
        "> Tuned on valid.jsonl with the language model lm.bin: a word error rate of 0.00% on"
        " these 2 recordings"
    )
    assert LM in card.members
    assert card.decode.kind == "beam"
    assert card.decode.beam == 4
    assert card.metrics["tuned"]["greedy"]["substitutions"] == 1
    assert card.metrics["tuned"]["beam"]["substitutions"] == 0
    assert auricle("transcribe cab.wav --model mine.auricle") == "cab\n"
    assert "alpha" in auricle("info mine.auricle")
    before = (desk / "mine.auricle").read_bytes()
    auricle("tune mine.auricle valid.jsonl --trials 3 --out other.auricle")
    assert (desk / "mine.auricle").read_bytes() == before
    own = Bundle.read(desk / "other.auricle").card
    assert own.description.endswith(card.description)  # what was said before is still true of then
    once = (desk / "other.auricle").read_bytes()
    auricle("tune mine.auricle valid.jsonl --trials 3 --out other.auricle")
    assert (desk / "other.auricle").read_bytes() == once


@pytest.mark.usefixtures("desk")
def test_tune_compares_with_the_model_as_it_was(auricle: Terminal) -> None:
    MODEL.save("same.bin")
    said = auricle("tune words.auricle valid.jsonl --lm same.bin --trials 1 --out new.auricle")
    assert re.search(r"before \(beam, beam 4, alpha 1\.0, beta 1\.0\) +0\.00%", said)
    assert re.search(r"greedy +50\.00%", said)
    assert "change +0.00%" in said


@pytest.mark.usefixtures("desk")
def test_tune_warns_of_too_few_recordings(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["auricle", "tune", "words.auricle", "valid.jsonl", "--trials", "1"]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit):
        main()
    assert "2 recordings of 2 words are too few to choose by" in capfd.readouterr().err
    monkeypatch.setattr("auricle.tune.ENOUGH_RECORDINGS", 2)
    monkeypatch.setattr("auricle.tune.ENOUGH_WORDS", 2)
    with pytest.raises(SystemExit):
        main()
    assert "too few" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("gone.auricle valid.jsonl", "gone.auricle"),
        ("plain.auricle gone.jsonl", "gone.jsonl"),
        ("plain.auricle valid.jsonl", "nothing to tune without a language model"),
        ("words.auricle valid.jsonl --out gone/new.auricle", "gone"),
        ("words.auricle valid.jsonl --lexicon cab.wav", "cab.wav"),
        ("run valid.jsonl --lm lm.bin", "--out"),
        ("english valid.jsonl --lm lm.bin", "--out"),
    ],
)
def test_what_cannot_be_tuned_is_said(
    desk: Path, auricle: Terminal, monkeypatch: pytest.MonkeyPatch, words: str, named: str
) -> None:
    (desk / "run").mkdir()
    (desk / "assets").mkdir()
    shutil.copy(desk / "plain.auricle", desk / "assets" / "english.auricle")
    for module in ("auricle.bundle", "auricle.cli.tune"):
        monkeypatch.setattr(f"{module}.SHIPPED", desk / "assets")
    before = {path: path.read_bytes() for path in desk.rglob("*") if path.is_file()}
    assert named in auricle(f"tune {words} --trials 1", status=2)
    assert {path: path.read_bytes() for path in desk.rglob("*") if path.is_file()} == before


@pytest.fixture(scope="module", name="runs")
def _runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of letters and of phonemes that learned nothing; of interest is what is exported."""
    folder = tmp_path_factory.mktemp("runs")
    examples = read_data(corpus(folder, 6)).examples
    words = sorted({word for example in examples for word in str(example.text).split()})
    lines = [f"{word} {' '.join(word.upper())}" for word in words]
    (folder / "lexicon.txt").write_text("\n".join(lines))
    for unit in ("char", "phoneme"):
        words_ = (
            *TINY,
            "budget.steps=1",
            f"text.unit={unit}",
            f"text.lexicon={folder}/lexicon.txt",
        )
        config = resolve(CTCSettings, None, words_)
        fit(CTCTask.learn(config, examples), examples, examples[:2], folder / unit)
    unigrams({words[0]: -1.0, words[1]: -1.0}).save(folder / "lm.bin")
    return folder


@pytest.fixture(autouse=True)
def _short_race(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("auricle.export.TIMED_S", (0.5,))
    monkeypatch.setattr("auricle.export.GATE_S", ((0.7,), (0.4, 0.15)))


def test_export_puts_words_inside(
    runs: Path, auricle: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(runs)
    auricle("export char a.auricle --lm lm.bin --decode beam=7 --decode alpha=0.25 precision=fp32")
    card = Bundle.read(runs / "a.auricle").card
    assert card.decode == BeamSettings(beam=7, alpha=0.25)
    assert "decoding: beam, beam 7, alpha 0.25" in auricle("info a.auricle")
    auricle("export char b.auricle precision=fp32")
    assert Bundle.read(runs / "b.auricle").card.decode == GreedySettings()
    assert "bean" in auricle("export char c.auricle --decode bean=7", status=2)
    assert "gone.bin" in auricle("export char c.auricle --lm gone.bin", status=2)
    assert not (runs / "c.auricle").exists()


def test_a_phoneme_run_is_exported_with_one_lexicon(
    runs: Path, auricle: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(runs)
    auricle("export phoneme p.auricle precision=fp32")
    bundle = Bundle.read(runs / "p.auricle")
    assert bundle.member(LEXICON).decode().splitlines() == (
        (runs / "lexicon.txt").read_text().splitlines()
    )
    assert "lexicon" not in bundle.card.tokenizer
    (runs / "more.txt").write_text("deed D E E D\nadd A D\nadd A D E\n")
    auricle("export phoneme q.auricle --lexicon more.txt --lm lm.bin precision=fp32")
    bundle = Bundle.read(runs / "q.auricle")
    assert bundle.member(LEXICON) == (runs / "more.txt").read_bytes()
    assert bundle.card.decode == BeamSettings()
    wav = next((runs / "data_audio").glob("*.wav"))
    assert set(auricle(f"transcribe {wav} --model q.auricle").split()) <= {"deed", "add"}
    for how in ("--greedy", ""):
        facts = json.loads(auricle(f"evaluate q.auricle data.jsonl --format json {how}"))
        assert facts["wer"]["reference"] > 0
    (runs / "stress.txt").write_text("deed D E1 E2 D\n")
    said = auricle("export phoneme r.auricle --lexicon stress.txt", status=2)
    assert "it has E1, E2, the model has" in said


def test_a_run_is_not_searched_but_exported_and_tuned(
    runs: Path, auricle: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(runs)
    assert "auricle export char" in auricle("evaluate char data.jsonl --beam 5", status=2)
    auricle("evaluate char data.jsonl --greedy")
    auricle("tune char data.jsonl --lm lm.bin --beam 4 --trials 2 --out t.auricle")
    card = Bundle.read(runs / "t.auricle").card
    assert card.metrics["tuned"]["trials"] == 2
    assert card.metrics["export"]["chosen"] in ("fp32", "int8")
