import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auricle.errors import ConfigError, DataError, ModelError
from auricle.text import (
    BLANK,
    NORMALISERS,
    BpeTokenizer,
    CharTokenizer,
    PhonemeTokenizer,
    TextSettings,
    Tokenizer,
    learn_tokenizer,
    normalise,
    tokenizer_from_dict,
)
from auricle.text.numbers import cardinal, ordinal

# --- normalisers -------------------------------------------------------------------------------

ENGLISH = {
    # case, punctuation, white space
    "Hello,  World!\n": "hello world",
    "“Quoted” — and e-mail…": "quoted and e mail",
    "U.S.A.": "u s a",
    "it’s the dogs' ‘toy’, ’tis": "it's the dogs toy tis",
    "rock''n'roll": "rock n'roll",
    "zero\u00adwidth\u200b space\u00a0too\ufeff": "zerowidth space too",
    "": "",
    " .,! ": "",
    # Unicode
    "Café naïve Ångström İstanbul": "cafe naive angstrom istanbul",
    "Straße, Œuvre, Ærø, Łódź": "strasse oeuvre aero lodz",
    "ｆｕｌｌ ﬁne ① Ⅳ": "full fine one iv",
    "m² H₂O": "m two h two o",
    "Привет 5 мир": "привет five мир",
    # cardinals and decimals
    "0 10 11 20 21 100 101": "zero ten eleven twenty twenty one one hundred one hundred one",
    "1,234,567": "one million two hundred thirty four thousand five hundred sixty seven",
    "1,23": "one twenty three",
    "3.14 and .5": "three point one four and point five",
    "3.11.2": "three point one one point two",
    "007": "zero zero seven",
    "-5, 3-5, x-5, +7": "minus five three five x five plus seven",
    "mp3 10km 24/7": "mp three ten km twenty four seven",
    # ordinals, years, decades
    "1st 2nd 3rd 12th 20th 21st 1,000th": (
        "first second third twelfth twentieth twenty first one thousandth"
    ),
    "1984 1905 1900 2000 2001 2024": (
        "nineteen eighty four nineteen oh five nineteen hundred two thousand "
        "two thousand one twenty twenty four"
    ),
    "1,984 1099 2100": (
        "one thousand nine hundred eighty four one thousand ninety nine two thousand one hundred"
    ),
    "the ’90s, 1950s and 80's": "the nineties nineteen fifties and eighties",
    # money, shares, times, fractions
    "$2.50, $1, $0.99, £1.01": (
        "two dollars and fifty cents one dollar ninety nine cents one pound and one penny"
    ),
    "$2.5 million, €5bn, $3.5, $0": (
        "two point five million dollars five billion euros three point five dollars zero dollars"
    ),
    "50% of 1.5%": "fifty percent of one point five percent",
    "AT&T at 20°": "at and t at twenty degrees",
    "10:05, 10:00, 10:00 AM, 3 p.m., 12:30pm": (
        "ten oh five ten o'clock ten am three pm twelve thirty pm"
    ),
    "9:30, 12:30:15, 25:00": "nine thirty twelve thirty fifteen twenty five zero zero",
    "3½ ¾ ⅔ ½": "three and one half three quarters two thirds one half",
}


@pytest.mark.parametrize("written", ENGLISH)
def test_english_is_written_as_it_is_said(written: str) -> None:
    assert normalise(written) == ENGLISH[written]


BASIC = {
    "L’HOMME d'être là !": "l'homme d'être là",
    "नमस्ते, दुनिया।": "नमस्ते दुनिया",  # the vowel signs are marks, no punctuation
    "你好，世界！": "你好 世界",
    "ÇA VA? 42 ｆｕｌｌ": "ça va 42 full",
}


@pytest.mark.parametrize("written", BASIC)
def test_basic_keeps_every_language(written: str) -> None:
    assert normalise(written, "basic-1") == BASIC[written]


def test_none_changes_nothing_and_an_unknown_version_is_an_error() -> None:
    assert normalise(" A  b!", "none") == " A  b!"
    with pytest.raises(ConfigError, match=r"english-2.*english-1, basic-1, none"):
        normalise("a", "english-2")


WRITTEN = st.one_of(
    st.text(),
    st.text(alphabet="aB9'0 15-.,:;$€%½²№st\u2019\u00b4\u0301\u0130İßМ\u093e"),
)


@pytest.mark.parametrize("version", NORMALISERS)
@given(text=WRITTEN)
def test_a_normaliser_leaves_its_own_answers_alone(version: str, text: str) -> None:
    once = normalise(text, version)
    assert normalise(once, version) == once


@given(text=st.text(st.characters(codec="ascii")))
def test_ascii_becomes_letters_inner_apostrophes_and_single_spaces(text: str) -> None:
    assert re.fullmatch(r"(?:[a-z]+(?:'[a-z]+)*(?: (?!$)|$))*", normalise(text))


VALUES = dict(
    zip(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
        "fifteen sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy "
        "eighty ninety".split(),
        [*range(20), *range(20, 100, 10)],
        strict=True,
    )
)
SCALES = ["thousand", "million", "billion", "trillion", "quadrillion"]


def read_back(words: str) -> int:
    total = group = 0
    for word in words.split():
        if word in SCALES:
            total, group = total + group * 1000 ** (SCALES.index(word) + 1), 0
        elif word == "hundred":
            group *= 100
        else:
            group += VALUES[word]
    return total + group


@given(st.integers(0, 10**18 - 1))
def test_cardinals_read_back(number: int) -> None:
    assert read_back(cardinal(number)) == number


def test_past_the_scales_numbers_are_read_by_digits() -> None:
    assert cardinal(10**18) == "one" + " zero" * 18


def test_ordinals() -> None:
    numbers = [0, 5, 8, 9, 30, 42, 100, 1_000_000]
    assert ", ".join(map(ordinal, numbers)) == (
        "zeroth, fifth, eighth, ninth, thirtieth, forty second, one hundredth, one millionth"
    )


# --- tokenizers --------------------------------------------------------------------------------

TEXTS = ["the quick brown fox jumps over the lazy dog", "she sells sea shells by the sea shore"]
LEXICON = """;;; a comment
THE  DH AH0
CAT  K AE1 T
CAT(2)  K AE0 T
kat  K AE1 T
sat  S AE1 T
"""


@pytest.fixture
def lexicon(tmp_path: Path) -> Path:
    path = tmp_path / "words.dict"
    path.write_text(LEXICON, encoding="utf-8")
    return path


@pytest.fixture(params=["char", "bpe", "phoneme"])
def tokenizer(request: pytest.FixtureRequest, lexicon: Path) -> Tokenizer:
    settings = TextSettings(unit=request.param, pieces=60, lexicon=str(lexicon))
    return learn_tokenizer(settings, TEXTS)


def test_every_tokenizer_reads_what_it_wrote(tokenizer: Tokenizer) -> None:
    text = "the cat sat" if isinstance(tokenizer, PhonemeTokenizer) else "sea dogs leave"
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert tokenizer.symbols[0] == BLANK
    assert 0 not in ids
    assert tokenizer.encode("") == []


def test_every_tokenizer_survives_its_description(tokenizer: Tokenizer) -> None:
    again = tokenizer_from_dict(json.loads(json.dumps(tokenizer.to_dict())))
    assert again == tokenizer
    assert again.encode("the") == tokenizer.encode("the")


def test_what_is_unknown_is_named(tokenizer: Tokenizer) -> None:
    text = "the çat é"
    unknown = {"çat", "é"} if isinstance(tokenizer, PhonemeTokenizer) else {"ç", "é"}
    assert tokenizer.unknown(text) == unknown
    with pytest.raises(DataError) as error:
        tokenizer.encode(text)
    assert all(repr(word) in str(error.value) for word in (*unknown, text))


def test_characters_are_sorted_after_the_blank() -> None:
    tokenizer = learn_tokenizer(TextSettings(), ["Bad Cab!"])
    assert tokenizer == CharTokenizer((BLANK, " ", "a", "b", "c", "d"))
    assert tokenizer.separator == 1
    assert CharTokenizer.learn(["ba"]).separator is None


def test_a_foreign_letter_stays_unknown_rather_than_becoming_a_symbol() -> None:
    texts = ["a fine text", "a fine textъ"]
    assert "ъ" in normalise(texts[1])
    assert learn_tokenizer(TextSettings(), texts).unknown("textъ") == {"ъ"}
    assert "ъ" in learn_tokenizer(TextSettings(normaliser="basic-1"), texts).symbols


def test_settings_that_cannot_be_met_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no transcript"):
        learn_tokenizer(TextSettings(), ["", " ?"])
    with pytest.raises(ConfigError, match=r"text\.lexicon"):
        learn_tokenizer(TextSettings(unit="phoneme"), TEXTS)
    with pytest.raises(DataError, match=r"text\.pieces = 5000 .* <= \d+"):
        BpeTokenizer.learn(TEXTS, 5000)
    with pytest.raises(DataError, match=r"text\.pieces = 8 .* 8 vs 28"):
        BpeTokenizer.learn(TEXTS, 8)
    with pytest.raises(DataError, match=r"none\.dict: cannot read"):
        PhonemeTokenizer.from_lexicon(tmp_path / "none.dict")


def test_a_lexicon_line_without_sounds_is_named(lexicon: Path) -> None:
    lexicon.write_text("THE DH AH0\n\nCAT\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"words\.dict, line 3: 'CAT'"):
        PhonemeTokenizer.from_lexicon(lexicon)


def test_bpe_decodes_without_its_model_and_knows_where_words_begin() -> None:
    learned = BpeTokenizer.learn(TEXTS, 100)
    ids = learned.encode("she jumps")
    assert BpeTokenizer(learned.symbols, b"").decode(ids) == "she jumps"
    assert learned.symbols[ids[0]][0] == "\u2581"
    assert sum(id_ in learned.word_starts for id_ in ids) == 2
    assert len(learned.symbols) == 100
    assert "<unk>" not in learned.symbols


def test_sounds_become_the_first_word_that_has_them_or_stay(lexicon: Path) -> None:
    tokenizer = PhonemeTokenizer.from_lexicon(lexicon)
    assert tokenizer.symbols == (BLANK, " ", "AE1", "AH0", "DH", "K", "S", "T")
    assert tokenizer.encode("kat") == tokenizer.encode("cat") == [5, 2, 7]
    assert tokenizer.decode([1, 4, 3, 1, 1, 5, 2, 7, 1, 5, 2]) == "the cat KAE1"


DAMAGED = [
    {},
    {"unit": "char"},
    {"unit": "word", "symbols": [BLANK]},
    {"unit": "char", "symbols": []},
    {"unit": "char", "symbols": ["a", BLANK]},
    {"unit": "char", "symbols": [BLANK, "a", "a"]},
    {"unit": "bpe", "symbols": [BLANK, "a"], "model": "no base64"},
    {"unit": "phoneme", "symbols": [BLANK, "a"], "lexicon": ["a"]},
]


@pytest.mark.parametrize("values", DAMAGED, ids=str)
def test_a_damaged_description_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(ModelError, match="damaged"):
        tokenizer_from_dict(values)
