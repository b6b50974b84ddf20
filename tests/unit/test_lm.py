"""The language model: hand arithmetic, sums, round trips, damage, and the command line."""

import gzip
import itertools
import json
import lzma
import math
import random
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from auricle.cli import app
from auricle.errors import ConfigError, DataError, ModelError
from auricle.lm import NgramModel, build, read_arpa, read_lines
from auricle.lm.trie import thaw

ARRAYS = ("words", "log_prob", "backoff", "first", "link")


def sentences(number: int, vocabulary: int = 40, seed: int = 0) -> list[str]:
    """Sentences of words that follow each other by habit, some words much commoner than others."""
    rng = random.Random(seed)
    words = [f"w{i}" for i in range(vocabulary)]
    habits = {word: rng.choices(words, k=6) for word in words}
    made = []
    for _ in range(number):
        sentence = [words[int(rng.paretovariate(1.0)) % vocabulary]]
        while len(sentence) < 12 and rng.random() < 0.85:
            common = words[int(rng.paretovariate(1.0)) % vocabulary]
            sentence.append(rng.choice([*habits[sentence[-1]], common]))
        made.append(" ".join(sentence))
    return made


TEXT = sentences(400)
BUILDS: dict[str, Callable[[], NgramModel]] = {
    "unigrams": lambda: build(TEXT, 1),
    "bigrams": lambda: build(TEXT, 2),
    "4-grams": lambda: build(TEXT, 4),
    "pruned by count": lambda: build(TEXT, 4, prune=(0, 1, 2)),
    "pruned by entropy": lambda: build(TEXT, 4, entropy=1e-4),
    "pruned by both": lambda: build(TEXT, 3, prune=(0, 0, 1), entropy=1e-5),
    "small vocabulary": lambda: build(TEXT, 3, vocabulary=10),
    "characters": lambda: build(TEXT, 4, unit="character"),
    "two words": lambda: build(["a b", "a"], 3),
    "longer than its text": lambda: build(["a", "a b"], 5, entropy=1e-9),
}


@pytest.fixture(scope="module", params=BUILDS)
def model(request: pytest.FixtureRequest) -> NgramModel:
    return BUILDS[request.param]()


def prob(model: NgramModel, *words: str, state: int = 0) -> float:
    """p(last word | the words before it), from a state."""
    states = np.array([state])
    for word in words:
        log_prob, states = model.advance(states, model.word_ids([word]))
    return math.exp(log_prob[0])


def equal(one: NgramModel, other: NgramModel) -> bool:
    same = (one.symbols, one.unit, one.counts) == (other.symbols, other.unit, other.counts)
    return same and all(np.array_equal(getattr(one, a), getattr(other, a)) for a in ARRAYS)


def close(one: NgramModel, other: NgramModel, within: float) -> bool:
    same = (one.symbols, one.unit, one.counts) == (other.symbols, other.unit, other.counts)
    same = same and all(np.array_equal(getattr(one, a), getattr(other, a)) for a in ARRAYS[3:])
    pairs = [(getattr(one, a), getattr(other, a)) for a in ("log_prob", "backoff")]
    return same and all(np.allclose(a, b, rtol=within, atol=within) for a, b in pairs)


def grams(model: NgramModel, order: int) -> set[str]:
    return {" ".join(model.symbols[i] for i in row) for row in thaw(model).rows(order)}


# --- estimation --------------------------------------------------------------------------------


def test_two_sentences_by_hand() -> None:
    """Too small to estimate discounts from: 0.5, 1, 1.5.

    Unigrams: a follows one word, b one, </s> two: 4 in all, 0.5 + 0.5 + 1 discounted, so half of
    the mass is spread over <unk>, </s>, a and b.
    """
    model = build(["a b", "a"], 2)
    assert model.counts == (5, 4)
    assert prob(model, "a") == pytest.approx((1 - 0.5) / 4 + 0.5 / 4)
    assert prob(model, "</s>") == pytest.approx((2 - 1) / 4 + 0.5 / 4)
    assert prob(model, "never") == pytest.approx(0.5 / 4)
    start = model.start
    assert prob(model, "a", state=start) == pytest.approx((2 - 1) / 2 + 0.5 * 0.25)
    assert prob(model, "a", "b", state=start) == pytest.approx((1 - 0.5) / 2 + 0.5 * 0.25)
    assert prob(model, "a", "</s>", state=start) == pytest.approx((1 - 0.5) / 2 + 0.5 * 0.375)
    assert prob(model, "b", "a") == pytest.approx(0.5 * 0.25)  # backs off from b


def test_probabilities_after_every_context_sum_to_one(model: NgramModel) -> None:
    size = len(model.symbols)
    for context in range(model.contexts):
        log_prob, _ = model.advance(np.full(size, context), np.arange(size))
        probs = np.exp(log_prob.astype(float))
        assert probs.sum() - probs[1] == pytest.approx(1.0, abs=1e-5)  # <s> never follows


def test_little_memory_changes_nothing() -> None:
    for unit in ("word", "character"):
        in_runs = build(TEXT, 4, unit=unit, memory_bytes=1)
        assert equal(build(TEXT, 4, unit=unit), in_runs)


def test_pruning_by_count_keeps_what_was_seen_often() -> None:
    model = build(["a b c"] * 3 + ["a b d"] * 2 + ["e"], 3, prune=(0, 1, 2))
    assert grams(model, 2) == {"<s> a", "a b", "b c", "b d", "c </s>", "d </s>"}
    assert grams(model, 3) == {"<s> a b", "a b c", "b c </s>"}


def test_entropy_pruning_drops_more_for_a_higher_threshold() -> None:
    counts = [sum(build(TEXT, 3, entropy=t).counts) for t in (0.0, 1e-6, 1e-5, 1e-4, 1e-3)]
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] < counts[0] / 2


def test_what_entropy_pruning_leaves_is_whole() -> None:
    """No n-gram loses what it begins or ends with: other tools refuse such files."""
    model = build(sentences(60, 8), 3, entropy=2e-3)
    pairs = grams(model, 2)
    for gram in grams(model, 3):
        first, middle, last = gram.split()
        assert {f"{first} {middle}", f"{middle} {last}"} <= pairs
    assert 0 < model.counts[2] < build(sentences(60, 8), 3).counts[2] / 2


def test_vocabulary_limit_keeps_the_commonest() -> None:
    model = build(["a a a b b c d"], 2, vocabulary=2)
    assert model.symbols == ("<unk>", "<s>", "</s>", "a", "b")
    assert prob(model, "c") == prob(model, "d") > 0.2  # what any rare word has together


def test_a_space_is_a_character() -> None:
    model = build(["ab  b", " b "], 3, unit="character")
    assert model.symbols == ("<unk>", "<s>", "</s>", "b", " ", "a")
    assert model.split("  ab\tb\n") == ["a", "b", " ", "b"]


def test_blank_lines_are_no_sentences() -> None:
    assert equal(build(["a b", "", "  \n", "b"], 2), build(["a b", "b"], 2))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"order": 0}, "order = 0"),
        ({"order": 17}, "order = 17"),
        ({"prune": (1, 1)}, "start with 0"),
        ({"prune": (0, 2, 1)}, "never fall"),
        ({"vocabulary": 0}, "vocabulary = 0"),
    ],
)
def test_settings_out_of_range(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        build(TEXT, **arguments)


@pytest.mark.parametrize("text", [[], ["", " \n"], ["a <s> b"], ["</s>"]])
def test_unusable_text(text: list[str]) -> None:
    with pytest.raises(DataError):
        build(text, 2)


# --- questions ---------------------------------------------------------------------------------


class Katz:
    """The recursion of the ARPA format, word by word over dictionaries."""

    def __init__(self, text: str) -> None:
        self.grams: dict[tuple[str, ...], tuple[float, float]] = {}
        self.order = 0
        for line in text.splitlines():
            if line.endswith("-grams:"):
                self.order = int(line[1:].split("-")[0])
            elif self.order and (fields := line.split()) and fields[0] != "\\end\\":
                words, backoff = fields[1 : self.order + 1], fields[self.order + 1 :]
                self.grams[*words] = float(fields[0]), float(*backoff)

    def log_prob(self, history: Sequence[str], word: str) -> float:
        """Natural log p(word | history)."""
        history = tuple(history)[-(self.order - 1) :] if self.order > 1 else ()
        if (*history, word) in self.grams:
            return self.grams[*history, word][0] * math.log(10.0)
        backoff = self.grams.get(history, (0.0, 0.0))[1] * math.log(10.0)
        return backoff + self.log_prob(history[1:], word)


def test_answers_are_those_of_the_arpa_recursion(model: NgramModel, tmp_path: Path) -> None:
    """All sentences at once, seen words and unseen ones, from both kinds of start."""
    model.write_arpa(tmp_path / "a.arpa")
    katz = Katz((tmp_path / "a.arpa").read_text(encoding="utf-8"))
    names = [word.replace(" ", "<space>") for word in model.symbols]
    rng = np.random.default_rng(0)
    words = rng.integers(2, len(names), (10, 64))
    words[rng.random(words.shape) < 0.1] = 0
    for start, history in ((model.start, ["<s>"]), (model.empty, [])):
        states = np.full(words.shape[1], start)
        for step, row in enumerate(words):
            log_prob, states = model.advance(states, row)
            for column, answer in enumerate(log_prob):
                before = [names[i] for i in words[:step, column]]
                expected = katz.log_prob([*history, *before], names[row[column]])
                assert answer == pytest.approx(expected, abs=1e-5)


def test_equal_futures_have_equal_states(model: NgramModel) -> None:
    """A state is the longest history that matters: what lies further back is forgotten."""
    rng = np.random.default_rng(1)
    tail = rng.integers(2, len(model.symbols), (model.order - 1, 32))
    ends = []
    for _ in range(2):
        states = np.full(32, model.start)
        for row in (*rng.integers(2, len(model.symbols), (3, 32)), *tail):
            _, states = model.advance(states, row)
        ends.append(states)
    assert np.array_equal(*ends)
    assert ends[0].max() < model.contexts


def test_histories_that_no_longer_matter_are_one_state() -> None:
    """What beam search merges: after pruning nothing tells "x a" from "y a"."""
    text = ["x a b", "y a c", "a d a d"]
    for prune, merged in (((0, 0, 0), False), ((0, 0, 1), True)):
        model = build(text, 3, prune=prune)
        _, states = model.advance(np.full(2, model.start), model.word_ids(["x", "y"]))
        log_prob, states = model.advance(states, model.word_ids(["a", "a"]))
        assert np.all(log_prob > np.log(0.3))  # both bigrams are there
        assert (states[0] == states[1]) == merged


def test_a_sentence_is_the_sum_of_its_steps(model: NgramModel) -> None:
    sentence = model.split(TEXT[0])
    state, expected = np.array([model.start]), []
    for word in [*model.word_ids(sentence), 2]:
        log_prob, state = model.advance(state, np.array([word]))
        expected.append(float(log_prob[0]))
    assert model.score(sentence) == expected
    assert len(expected) == len(sentence) + 1


def test_no_questions_no_answers(model: NgramModel) -> None:
    log_prob, states = model.advance(np.zeros(0, np.int64), np.zeros(0, np.int64))
    assert log_prob.shape == states.shape == (0,)


def test_perplexity_is_counted_over_everything() -> None:
    model = build(["a b", "a"], 2)
    found = model.perplexity(["a b", "", "never a b b b", "a"])
    scores = [model.score(text.split()) for text in ("a b", "never a b b b", "a")]
    assert (found.sentences, found.words, found.unknown) == (3, 11, 1)
    assert found.log_prob == pytest.approx(sum(map(sum, scores)))
    assert found.value == pytest.approx(math.exp(-found.log_prob / 11))
    assert found.value_known == pytest.approx(math.exp(-(found.log_prob - scores[1][0]) / 10))
    assert found.unknown_rate == 1 / 8


# --- files -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.arpa", "a.arpa.gz"])
def test_arpa_round_trip(model: NgramModel, tmp_path: Path, name: str) -> None:
    model.write_arpa(tmp_path / name)
    again = NgramModel.load(tmp_path / name)
    assert close(model, again, within=2e-6)
    assert again.perplexity(TEXT).value == pytest.approx(model.perplexity(TEXT).value, rel=1e-5)


def test_binary_round_trip(model: NgramModel, tmp_path: Path) -> None:
    model.save(tmp_path / "lm.bin")
    again = NgramModel.load(tmp_path / "lm.bin")
    assert equal(model, again)
    assert equal(model, NgramModel.from_bytes(model.to_bytes()))
    assert again.to_bytes() == (tmp_path / "lm.bin").read_bytes()
    assert not again.log_prob.flags.writeable  # mapped, not copied


def test_a_packed_file_holds_the_same_model_and_is_smaller(
    model: NgramModel, tmp_path: Path
) -> None:
    packed = replace(model.halved(), packed=True)
    packed.save(tmp_path / "lm.bin")
    again = NgramModel.load(tmp_path / "lm.bin")
    assert again.packed
    assert equal(model.halved(), again)
    assert again.to_bytes() == (tmp_path / "lm.bin").read_bytes()
    assert len(packed.to_bytes()) < 0.6 * len(model.halved().to_bytes())


def test_half_precision_is_close_and_small(model: NgramModel) -> None:
    half = NgramModel.from_bytes(model.halved().to_bytes())
    assert len(half.to_bytes()) <= len(model.to_bytes())
    assert half.log_prob.dtype == half.backoff.dtype == np.float16
    worst = np.max(np.abs(half.log_prob - model.log_prob) / np.maximum(np.abs(model.log_prob), 1))
    assert worst <= 2**-11
    assert half.perplexity(TEXT).value == pytest.approx(model.perplexity(TEXT).value, rel=1e-3)


FOREIGN = """made by another tool

\\data\\
ngram 1=5
ngram 2=3
ngram 3=2

\\1-grams:
-99 <s> -0.5
-0.6 a -0.2
-0.9 b
-0.8 </s>
-1.1 <UNK>

\\2-grams:
-0.3\t<s> a\t-0.1
-0.4\ta b
-0.5\tb a\t-0.3

\\3-grams:
-0.1 <s> a b
-0.2 b a <UNK>

\\end\\
"""


def test_arpa_of_other_tools(tmp_path: Path) -> None:
    """<UNK>, blanks for tabs, back-offs left out, suffixes that were pruned away."""
    (tmp_path / "a.arpa").write_text(FOREIGN, encoding="utf-8")
    model = read_arpa(tmp_path / "a.arpa")
    assert set(model.symbols) == {"<unk>", "<s>", "</s>", "a", "b"}
    katz = Katz(FOREIGN.replace("<UNK>", "<unk>"))
    for sentence in itertools.product(["a", "b", "<unk>"], repeat=4):
        history = ["<s>"]
        for word, answer in zip([*sentence, "</s>"], model.score(sentence), strict=True):
            assert answer == pytest.approx(katz.log_prob(history, word), abs=1e-5)
            history.append(word)


def test_arpa_without_unknown_word(tmp_path: Path) -> None:
    lines = FOREIGN.replace("-1.1 <UNK>\n", "").replace("1=5", "1=4")
    text = lines.replace("-0.2 b a <UNK>\n", "").replace("3=2", "3=1")
    (tmp_path / "a.arpa").write_text(text, encoding="utf-8")
    model = read_arpa(tmp_path / "a.arpa")
    assert model.score(["never"])[0] == pytest.approx((-0.5 - 100.0) * math.log(10.0))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("\\data\\", "", "neither what `auricle lm build` writes nor an ARPA file"),
        ("ngram 2=3", "ngram 3=3", "belongs"),
        ("ngram 2=3", "ngram 2=4", "not a 2-gram"),
        ("ngram 3=2", "ngram 3=999999999999", "ends within|not a 3-gram"),
        ("ngram 3=2", "ngram 3=1", "belongs"),
        ("-0.6 a -0.2", "-0.6 a -0.2 -0.2", "not a 1-gram"),
        ("-0.6 a", "half a", "float"),
        ("-0.6 a", "0.6 a", "above 0"),
        ("-0.6 a", "nan a", "above 0"),
        ("-0.6 a -0.2", "-0.6 a inf", "not finite"),
        ("-0.9 b", "-0.9 a\n-0.9 b", "belongs"),
        ("-0.9 b", "-0.9 c", "not among the unigrams"),
        ("-0.8 </s>", "-0.8 c", "lack"),
        ("-0.5\tb a", "-0.5\t</s> a", "context that is not listed"),
        ("-0.4\ta b", "-0.4\tb a", "listed twice"),
        ("-0.2 b a <UNK>", "-0.2 a a b", "context that is not listed"),
        ("\\end\\", "", "belongs"),
    ],
)
def test_damaged_arpa(tmp_path: Path, old: str, new: str, said: str) -> None:
    path = tmp_path / "a.arpa"
    assert old in FOREIGN
    path.write_text(FOREIGN.replace(old, new), encoding="utf-8")
    with pytest.raises(ModelError, match=said) as caught:
        read_arpa(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\x1f\x8bgarbage", b"\xff\xfe", b"RIFF" * 100])
def test_other_files_are_no_models(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    for path in (tmp_path / "file", tmp_path / "missing", tmp_path):
        with pytest.raises(ModelError, match=path.name):
            NgramModel.load(path)


@pytest.mark.parametrize("damage", ["cut", "garbled", "endless"])
def test_damaged_gzip(tmp_path: Path, damage: str) -> None:
    packed = gzip.compress(FOREIGN.encode())
    content = {
        "cut": packed[:-40],
        "garbled": packed[:20] + bytes(30) + packed[50:],
        "endless": gzip.compress(bytes(1 << 20)),  # the file that unpacks a thousandfold
    }[damage]
    (tmp_path / "a.arpa.gz").write_bytes(content)
    with pytest.raises(ModelError, match=r"a\.arpa\.gz"):
        read_arpa(tmp_path / "a.arpa.gz")
    if damage != "endless":
        with pytest.raises(DataError, match=r"a\.arpa\.gz"):
            list(read_lines([tmp_path / "a.arpa.gz"]))


@pytest.mark.parametrize("packed", [False, True])
def test_every_cut_of_a_binary_is_found(*, packed: bool) -> None:
    content = replace(build(["a b", "a"], 2), packed=packed).to_bytes()
    for length in range(len(content)):
        with pytest.raises(ModelError):
            NgramModel.from_bytes(content[:length])
    with pytest.raises(ModelError):
        NgramModel.from_bytes(content + b"x")


@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
@pytest.mark.parametrize("packed", [False, True])
def test_a_flipped_bit_is_found_or_harmless(*, packed: bool) -> None:
    """Whatever the file says, questions end and read nothing outside of the arrays."""
    content = replace(build(TEXT[:20], 3, vocabulary=8), packed=packed).to_bytes()
    rng = np.random.default_rng(0)
    words = rng.integers(0, 11, (6, 50))
    found = 0
    for place, bit in zip(rng.integers(0, len(content), 600), rng.integers(0, 8, 600), strict=True):
        damaged = bytearray(content)
        damaged[place] ^= 1 << bit
        try:
            model = NgramModel.from_bytes(bytes(damaged))
        except ModelError:
            found += 1
            continue
        states = np.full(50, model.start)
        for row in words:
            log_prob, states = model.advance(states, row)
            assert not np.isnan(log_prob).any()
            assert states.max() < model.contexts
    assert found > 100


@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
def test_whatever_a_packed_file_unpacks_to_is_found_or_harmless() -> None:
    """As above, behind the checksum of what is packed."""
    content = replace(build(TEXT[:20], 3, vocabulary=8), packed=True).to_bytes()
    begin = content.index(b"\x78\x9c")
    planes = zlib.decompress(content[begin:])
    with pytest.raises(ModelError, match="cut short or damaged"):
        NgramModel.from_bytes(content[:begin] + zlib.compress(planes + bytes(1 << 20)))
    rng = np.random.default_rng(1)
    found = 0
    for place in rng.integers(0, len(planes), 300):
        damaged = bytearray(planes)
        damaged[place] ^= 1 << int(rng.integers(8))
        try:
            model = NgramModel.from_bytes(content[:begin] + zlib.compress(bytes(damaged)))
        except ModelError:
            found += 1
            continue
        _, states = model.advance(np.full(11, model.start), np.arange(11))
        assert states.max() < model.contexts
    assert found > 50


def test_a_link_that_leads_in_a_circle_is_refused() -> None:
    model = build(TEXT, 3)
    link = model.link.copy()
    link[5] = 5
    with pytest.raises(ModelError, match="damaged"):
        NgramModel.from_bytes(replace(model, link=link).to_bytes())


# --- text files and the command line -----------------------------------------------------------


def test_packed_text_is_unpacked(tmp_path: Path) -> None:
    content = "a b\né\n".encode()
    for suffix, pack in (("", bytes), (".gz", gzip.compress), (".xz", lzma.compress)):
        (tmp_path / f"text{suffix}").write_bytes(pack(content))
        assert list(read_lines([tmp_path / f"text{suffix}"])) == ["a b\n", "é\n"]


def test_reading_and_building_say_how_far_they_are(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("a b\n" * 100_000)
    lines = read_lines([tmp_path / "a.txt", tmp_path / "b.txt"], lambda *done: told.append(done))
    assert sum(1 for _ in lines) == 200_000
    assert told == sorted(told)
    assert {total for _, total in told} == {800}
    assert any(300 < done < 400 for done, _ in told)
    assert told[-1] == (800, 800)
    steps: list[tuple[int, int]] = []
    build(TEXT, 3, progress=lambda *done: steps.append(done))
    assert steps == [(number, 5) for number in range(1, 6)]


def test_files_that_are_no_text_are_said_without_pythons_words(tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    for name, why in (
        ("gone.txt", "there is no such file"),
        (".", "it is a folder, and a file is needed"),
        ("latin.txt", "it is not UTF-8"),
    ):
        with pytest.raises(DataError, match=rf"cannot be read as text: {why}$"):
            list(read_lines([tmp_path / name]))
        if name != "latin.txt":
            with pytest.raises(ModelError, match=rf"cannot be read: {why}$"):
                NgramModel.load(tmp_path / name)
            continue
        with pytest.raises(ModelError, match=r"latin\.txt: no language model: neither"):
            NgramModel.load(tmp_path / name)


def test_the_commands_name_the_file_without_text_and_the_swapped_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty.txt").write_text("\n \n")
    Path("some.txt").write_text("a b\n")
    build(["a b"], 2).save("lm.bin")
    for words, message in (
        ("score lm.bin empty.txt", "empty.txt: there is no text"),
        ("build empty.txt -o new.bin", "empty.txt: there is no text"),
        ("score some.txt lm.bin", "lm.bin is one: name it first"),
        ("info some.txt", "some.txt: no language model: neither"),
        ("build some.txt -o .", "a folder; name the file to write"),
    ):
        result = CliRunner().invoke(app, ["lm", *words.split()])
        assert message in str(result.exception), words
    assert not Path("new.bin").exists()
    assert " 492 bytes" in CliRunner().invoke(app, "lm build some.txt -o new.bin".split()).output


def test_of_a_manifest_the_texts_are_learned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = '{"audio": "a.wav", "sentence": "One two"}\n\n{"audio": "b.wav", "sentence": null}\n'
    Path("train.jsonl").write_text(rows)
    Path("more.txt").write_text("three\n")
    built = CliRunner().invoke(app, "lm build train.jsonl more.txt -o m.bin".split())
    assert built.exit_code == 0, built.output
    assert {"one", "two", "three"} == set(NgramModel.load("m.bin").vocabulary)
    Path("train.jsonl").write_text("no manifest\n")
    refused = CliRunner().invoke(app, "lm build train.jsonl -o n.bin".split())
    assert "train.jsonl:1: not JSON" in str(refused.exception)
    assert not Path("n.bin").exists()


@pytest.mark.parametrize(
    ("name", "content"), [("a.txt", b"\xff\xfe"), ("a.gz", b"a b"), ("a.xz", b"a b")]
)
def test_unreadable_text(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    for path in (tmp_path / name, tmp_path / "missing.txt"):
        with pytest.raises(DataError, match=path.name):
            list(read_lines([path]))


def test_command_line(tmp_path: Path) -> None:
    def run(*words: str) -> str:
        result = CliRunner().invoke(app, ["lm", *words], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    text = tmp_path / "text.txt"
    text.write_text("\n".join(line.replace("w", "W") + "." for line in TEXT), encoding="utf-8")
    binary, arpa = str(tmp_path / "lm.bin"), str(tmp_path / "lm.arpa.gz")
    plain = ["--normaliser", "basic-1"]
    assert "3-gram model" in run("build", str(text), "-o", binary, *plain)
    assert equal(NgramModel.load(binary), build(TEXT, 3))
    run("build", str(text), "-o", arpa, "--order", "4", "--prune", "0 0 1", "--half", *plain)
    facts = json.loads(run("info", arpa, "--format", "json"))
    assert facts["counts"] == list(build(TEXT, 4, prune=(0, 0, 1)).counts)
    assert f"{facts['counts'][0]:,}" in run("info", arpa)
    figures = json.loads(run("score", binary, str(text), "--format", "json", *plain))
    assert figures["perplexity"] == pytest.approx(build(TEXT, 3).perplexity(TEXT).value)
    assert figures["unknown words"] == 0
    assert "perplexity" in run("score", binary, str(text))


def test_command_line_says_how_to_prune(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("a b\n", encoding="utf-8")
    words = ["lm", "build", str(tmp_path / "text.txt"), "-o", "x", "--prune", "few"]
    with pytest.raises(ConfigError, match="a count for every order"):
        CliRunner().invoke(app, words, catch_exceptions=False)
