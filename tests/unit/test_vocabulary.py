"""Language models and lexicons go into bundles and come out; damaged ones are refused by name."""

from pathlib import Path

import pytest

from auricle import vocabulary
from auricle.bundle import LEXICON, LM, Bundle, Card, write_bundle
from auricle.decode import BeamSettings, GreedySettings, Lexicon
from auricle.errors import ConfigError, ModelError
from auricle.lm import build
from auricle.text import BLANK, CharTokenizer, PhonemeTokenizer
from auricle.vocabulary import read_lm, read_vocabulary, with_vocabulary
from tones import unigrams

LETTERS = CharTokenizer((BLANK, " ", *"abcd"))
PHONES = PhonemeTokenizer((BLANK, " ", "S", "I", "R"), {"see": ("S", "I"), "sea": ("S", "I")})
WORDS = Lexicon.of(["bad", "cab"])


def card(tokenizer: CharTokenizer | PhonemeTokenizer) -> Card:
    return Card(
        auricle_version="0", task="reading", answer="tokens", features={},
        tokenizer=tokenizer.to_dict(),
    )  # fmt: skip


def test_letters_with_a_language_model_and_words(tmp_path: Path) -> None:
    lm, beam = unigrams({"bad": -1.0, "cab": -2.0}), BeamSettings(alpha=0.7, closed=True)
    made, members = with_vocabulary(card(LETTERS), LETTERS, lm=lm, lexicon=WORDS, decode=beam)
    bundle = Bundle.read(write_bundle(tmp_path / "m", made, members).path)
    assert set(members) == {LM, LEXICON}
    assert bundle.card.decode == beam
    assert read_vocabulary(bundle) == (LETTERS, WORDS)
    again = read_lm(bundle)
    assert again is not None
    assert again.to_bytes() == lm.to_bytes()


def test_a_model_without_either(tmp_path: Path) -> None:
    made, members = with_vocabulary(card(LETTERS), LETTERS)
    bundle = write_bundle(tmp_path / "m", made, members)
    assert bundle.card.decode == GreedySettings()
    assert (read_vocabulary(bundle), read_lm(bundle)) == ((LETTERS, None), None)


def test_a_lexicon_of_phonemes_is_one_and_not_two(tmp_path: Path) -> None:
    made, members = with_vocabulary(card(PHONES), PHONES)
    bundle = write_bundle(tmp_path / "m", made, members)
    assert "lexicon" not in bundle.card.tokenizer
    tokenizer, lexicon = read_vocabulary(bundle)
    assert tokenizer == PHONES
    assert lexicon == Lexicon(("see", "sea"), (("S", "I"), ("S", "I")))


def test_words_with_phonemes_of_others_are_refused_as_are_graphones() -> None:
    stressed = Lexicon(("see", "ire"), (("S", "I"), ("I1", "R")))
    with pytest.raises(ConfigError, match="does not have: I1"):
        with_vocabulary(card(PHONES), PHONES, lexicon=stressed)
    graphones = build(["s}S ee}I", "s}S ea}I"], 2)
    with pytest.raises(ConfigError, match="this one pronounces"):
        with_vocabulary(card(PHONES), PHONES, lm=graphones)


def test_another_lexicon_replaces_that_of_the_training(tmp_path: Path) -> None:
    other = Lexicon(("is", "rise", "is"), (("I", "S"), ("R", "I", "S"), ("I", "R")))
    made, members = with_vocabulary(card(PHONES), PHONES, lexicon=other)
    tokenizer, lexicon = read_vocabulary(write_bundle(tmp_path / "m", made, members))
    assert lexicon == other
    assert isinstance(tokenizer, PhonemeTokenizer)
    assert tokenizer.lexicon == {"is": ("I", "S"), "rise": ("R", "I", "S")}
    assert tokenizer.encode("is rise") == [3, 2, 1, 4, 3, 2]


def test_bundles_from_before_there_were_members(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "m", card(PHONES), {})
    tokenizer, lexicon = read_vocabulary(bundle)
    assert tokenizer == PHONES
    assert lexicon == Lexicon(("see", "sea"), (("S", "I"), ("S", "I")))


def test_what_the_symbols_cannot_spell_is_refused() -> None:
    stressed = Lexicon(("see",), (("S", "I1"),))
    with pytest.raises(ConfigError, match=r"lexicon can be spelt.*it has I1, the model has I, R"):
        with_vocabulary(card(PHONES), PHONES, lexicon=stressed)
    with pytest.raises(ConfigError, match="language model can be spelt"):
        with_vocabulary(card(LETTERS), LETTERS, lm=unigrams({"xyz": -1.0}))
    with pytest.raises(ConfigError, match="over words"):
        with_vocabulary(card(LETTERS), LETTERS, lm=build(["bad cab"], 2, unit="character"))


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "has no line"),
        (b"\n;;; nothing\n", "has no line"),
        (b"\xff\xfe", "codec"),
        (b"see S I\nsea\n", "line 2: 'sea' has no pronunciation"),
    ],
)
def test_damaged_lexicons(tmp_path: Path, content: bytes, complaint: str) -> None:
    bundle = write_bundle(tmp_path / "m", card(PHONES), {LEXICON: content})
    with pytest.raises(ModelError, match=complaint) as caught:
        read_vocabulary(bundle)
    assert str(caught.value).startswith(f"{bundle.path}: ")


def test_a_lexicon_too_large_to_be_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = write_bundle(tmp_path / "m", card(PHONES), {LEXICON: b"see S I\n" * 20})
    monkeypatch.setattr(vocabulary, "LARGEST_LEXICON_BYTES", 100)
    with pytest.raises(ModelError, match="160 bytes: that is no lexicon"):
        read_vocabulary(bundle)


@pytest.mark.parametrize("kept", [0, 7, 100, -1])
def test_damaged_language_models(tmp_path: Path, kept: int) -> None:
    content = unigrams({"bad": -1.0}).to_bytes()[:kept]
    bundle = write_bundle(tmp_path / "m", card(LETTERS), {LM: content})
    with pytest.raises(ModelError, match=r"m: lm\.bin: "):
        read_lm(bundle)
