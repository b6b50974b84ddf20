"""Letters to phonemes: a made-up spelling with rules that must be found from examples alone."""

import itertools
import random
from pathlib import Path

import pytest
from typer.testing import CliRunner

from auricle.bundle import LEXICON
from auricle.cli import app
from auricle.errors import ConfigError, DataError, ModelError
from auricle.lm import build
from auricle.pronounce import SPLIT, Pair, Pronouncer
from tones import write

SOUNDS = {"p": "P", "t": "T", "k": "K", "s": "S", "m": "M", "a": "AA", "i": "IY", "o": "OW"}


def spoken(word: str) -> tuple[str, ...]:
    """ph is F, x is K S, c is S before i and else K, and an e at the end is silent."""
    sounds: list[str] = []
    for place, letter in enumerate(word):
        following = word[place + 1 : place + 2]
        if letter == "h" or (letter == "e" and not following):
            continue
        if letter == "x":
            sounds += ["K", "S"]
        elif letter == "c":
            sounds.append("S" if following == "i" else "K")
        else:
            sounds.append("F" if letter + following == "ph" else SOUNDS[letter])
    return tuple(sounds)


def made_up(number: int, seed: int) -> list[Pair]:
    rng = random.Random(seed)
    syllables = [a + b for a, b in itertools.product(["p", "t", "k", "m", "ph", "x", "c"], "aio")]
    words = {
        "".join(rng.choices(syllables, k=rng.randint(1, 3))) + rng.choice(["", "s", "te"])
        for _ in range(number)
    }
    return [(word, spoken(word)) for word in sorted(words)]


@pytest.fixture(scope="module", name="pronouncer")
def _pronouncer() -> Pronouncer:
    return Pronouncer.learn(made_up(1500, seed=0), order=4)


def test_rules_are_found_and_hold_for_words_never_seen(pronouncer: Pronouncer) -> None:
    seen = {word for word, _ in made_up(1500, seed=0)}
    new = [pair for pair in made_up(900, seed=1) if pair[0] not in seen]
    assert len(new) > 300
    answers = pronouncer.speak([word for word, _ in new])
    right = sum(found[0].phonemes == said for (_, said), found in zip(new, answers, strict=True))
    assert right / len(new) > 0.98


def test_a_graphone_may_hold_two_letters_or_two_phonemes(pronouncer: Pronouncer) -> None:
    graphones = set(pronouncer.model.vocabulary)
    assert {f"ph{SPLIT}F", f"x{SPLIT}K|S"} <= graphones


def test_variants_are_different_and_sorted_and_share_one(pronouncer: Pronouncer) -> None:
    found = pronouncer("pocite", variants=50)
    probabilities = [each.probability for each in found]
    assert found[0].phonemes == ("P", "OW", "S", "IY", "T")
    assert len({each.phonemes for each in found}) == len(found) > 1
    assert probabilities == sorted(probabilities, reverse=True)
    assert sum(probabilities) == pytest.approx(1.0, abs=1e-6)


def test_both_pronunciations_of_a_word_are_learned() -> None:
    pairs = [*made_up(300, seed=2), *([("matic", ("M", "AA", "T", "IY", "K"))] * 3)]
    pairs += [("matic", ("M", "OW", "T", "IY", "K"))] * 3
    found = Pronouncer.learn(pairs, order=6)("matic", variants=2)
    assert {each.phonemes[1] for each in found} == {"AA", "OW"}
    assert found[1].probability > 0.2


def test_a_batch_gives_what_each_word_gives_alone(pronouncer: Pronouncer) -> None:
    words = ["pa", "phoxite", "cicaphox", "t", "kamisopo"]
    together = [found[0] for found in pronouncer.speak(words)]
    assert together == [pronouncer(word)[0] for word in words]


def test_it_is_one_file(pronouncer: Pronouncer, tmp_path: Path) -> None:
    pronouncer.save(tmp_path / "p.bin")
    again = Pronouncer.load(tmp_path / "p.bin")
    assert again("phoxite", variants=5) == pronouncer("phoxite", variants=5)
    assert again.phonemes == ("AA", "F", "IY", "K", "M", "OW", "P", "S", "T")


def test_what_is_no_model_or_no_word_is_named(pronouncer: Pronouncer, tmp_path: Path) -> None:
    build(["a language model"]).save(tmp_path / "lm.bin")
    with pytest.raises(ModelError, match=r"lm\.bin: a language model, but not one of pronunc"):
        Pronouncer.load(tmp_path / "lm.bin")
    with pytest.raises(DataError, match="'zoo': no pronunciation for 'z'"):
        pronouncer("zoo")
    with pytest.raises(DataError, match="no pronunciation to learn from"):
        Pronouncer.learn([("a", ("P",) * 9)])


def test_the_command_line_learns_writes_and_scores(tmp_path: Path) -> None:
    lexicon, held = tmp_path / "known.dict", tmp_path / "held.dict"
    lines = [f"{word} {' '.join(said)}1\n" for word, said in made_up(600, seed=3)]
    lexicon.write_text("".join(lines[10:]))
    held.write_text("".join(lines[:10]))
    text = tmp_path / "text.txt"
    text.write_text("Pami, phoxi! zebra\nkotas pami\n")
    model, out = str(tmp_path / "p.bin"), tmp_path / "lexicon.txt"
    run = CliRunner()
    learned = run.invoke(app, ["lexicon", "learn", str(lexicon), "-o", model, "--plain"])
    assert learned.exit_code == 0, learned.output
    written = run.invoke(app, ["lexicon", "write", str(text), "--model", model, "-o", str(out)])
    assert written.exit_code == 0, written.output
    assert "3 words, 3 pronunciations" in written.output.replace("\n", " ")
    assert "1 words left out, like ['zebra']" in written.output
    said = dict(line.split(maxsplit=1) for line in reversed(out.read_text().splitlines()))
    assert said == {"kotas": "K OW T AA S", "pami": "P AA M IY", "phoxi": "F OW K S IY"}
    known = tmp_path / "mine.dict"
    known.write_text("pami P IY\nkotas K\nphoxi F\nzebra S\n")
    kept = run.invoke(app, ["lexicon", "write", str(text), "--known", str(known), "-o", str(out)])
    assert kept.exit_code == 0, kept.output
    assert out.read_text() == "pami P IY\nphoxi F\nzebra S\nkotas K\n"
    scored = run.invoke(app, ["lexicon", "score", model, str(held), "--plain"])
    assert scored.exit_code == 0, scored.output
    assert "phonemes wrong" in scored.output
    text.write_text("pami\nphoxi\n")
    held.write_text("pami AA1 M IY0\n")
    for words, why in (
        (["score", model, str(held)], "--plain drops stress"),
        (["learn", str(text), "-o", model], "no pronunciation"),
        (["learn", str(lexicon), "-o", str(tmp_path / "none" / "p.bin")], "there is no folder"),
    ):
        refused = run.invoke(app, ["lexicon", *words])
        assert why in str(refused.exception), words


def test_a_recogniser_of_phonemes_says_what_words_are_like(tmp_path: Path) -> None:
    pairs = [pair for pair in made_up(600, seed=5) if pair[0] != "phoxi"]
    sounds = sorted({sound for _, said in pairs for sound in said})
    lines = "".join(f"{word} {' '.join(said)}\n" for word, said in pairs)
    tokenizer = {"unit": "phoneme", "symbols": ["<blank>", " ", *sounds]}
    model = write(tmp_path / "m.auricle", more={LEXICON: lines.encode()}, tokenizer=tokenizer).path
    (tmp_path / "text.txt").write_text(f"{pairs[0][0]} phoxi\n")
    names = [str(tmp_path / name) for name in ("text.txt", "lexicon.txt")]
    arguments = ["lexicon", "write", names[0], "--model", str(model), "-o", names[1]]
    written = CliRunner().invoke(app, arguments)
    assert written.exit_code == 0, written.output
    first, second = Path(names[1]).read_text().splitlines()
    assert first == f"{pairs[0][0]} {' '.join(pairs[0][1])}"
    assert second == "phoxi F OW K S IY"
    letters = write(tmp_path / "letters.auricle").path
    refused = CliRunner().invoke(app, [*arguments[:4], str(letters), *arguments[5:]])
    assert isinstance(refused.exception, ConfigError)
