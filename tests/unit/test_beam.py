import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from auricle.decode import BeamDecoder, BeamSettings, Lexicon, Token, ctc_greedy, search
from auricle.decode.frames import Frames
from auricle.decode.lexicon import NO_LETTER, Trie
from auricle.errors import ConfigError, DataError
from auricle.text import BLANK, BpeTokenizer, CharTokenizer, PhonemeTokenizer

CHARS = CharTokenizer((BLANK, " ", "a", "b", "c"))


class FlatModel:
    """A language model of `tests`: known words are likely, one unlikely, others unknown."""

    def __init__(self, *words: str, rare: str = "") -> None:
        self.symbols = ("<unk>", "<s>", "</s>", *words)
        self.start, self.empty, self.unit = 0, 0, "word"
        self.values = np.full(len(self.symbols), -1.0, np.float32)
        self.values[0] = -6.0
        if rare:
            self.values[self.symbols.index(rare)] = -9.0

    def word_ids(self, words: list[str]) -> NDArray[np.int64]:
        ids = {word: id_ for id_, word in enumerate(self.symbols)}
        return np.array([ids.get(word, 0) for word in words], np.int64)

    def advance(
        self, states: NDArray[np.int64], words: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        return self.values[words], states


def heard(*frames: dict[str, float]) -> NDArray[np.float32]:
    """Log probabilities of frames that name some symbols, "-" the blank; the others share alike."""
    table = np.zeros((len(frames), len(CHARS.symbols)))
    for row, frame in zip(table, frames, strict=True):
        named = [0 if s == "-" else CHARS.symbols.index(s) for s in frame]
        row[:] = (1 - sum(frame.values())) / (len(row) - len(frame))
        row[named] = list(frame.values())
    return np.log(table).astype(np.float32)


def spoken(text: str, probability: float = 0.9) -> NDArray[np.float32]:
    """Every letter in one frame, a blank after each."""
    return heard(*({each: probability} for letter in text for each in (letter, "-")))


def words(decoder: BeamDecoder, log_probs: NDArray[np.float32]) -> str:
    return " ".join(decoder.decode(log_probs)[0].words)


def test_a_beam_of_one_is_greedy_where_the_sound_is_clear(rng: np.random.Generator) -> None:
    decoder = BeamDecoder(CHARS, BeamSettings(beam=1, skip_blank=1.0))
    for _ in range(20):
        path = rng.choice(5, 60, p=[0.6, 0.1, 0.1, 0.1, 0.1])
        log_probs = np.full((60, 5), math.log(0.005), np.float32)
        log_probs[np.arange(60), path] = math.log(0.98)
        (best,) = decoder.decode(log_probs)
        assert best.tokens == tuple(
            Token(t.id, t.start_frame, t.end_frame, pytest.approx(t.log_prob))
            for t in ctc_greedy(log_probs)
        )


def test_the_sum_over_paths_beats_the_best_path() -> None:
    #  Graves 2012, figure 7.3: the best path is all blanks, the best labelling is not.
    (best,) = BeamDecoder(CHARS).decode(heard({"-": 0.6, "a": 0.39}, {"-": 0.6, "a": 0.39}))
    assert best.words == ("a",)
    assert best.acoustic == pytest.approx(math.log(0.39 * 0.39 + 2 * 0.39 * 0.6), abs=1e-5)


def test_tokens_know_when_they_are_heard() -> None:
    log_probs = heard(
        {"-": 0.9}, {"a": 0.6}, {"a": 0.9}, {"-": 0.9}, {"-": 0.9}, {"a": 0.8}, {"b": 0.7}
    )
    first, second, third = BeamDecoder(CHARS).decode(log_probs)[0].tokens
    assert first == Token(2, 1, 3, pytest.approx(math.log(0.9), abs=1e-5))
    assert second == Token(2, 5, 6, pytest.approx(math.log(0.8), abs=1e-5))
    assert third == Token(3, 6, 7, pytest.approx(math.log(0.7), abs=1e-5))


def test_a_token_is_where_most_of_its_mass_begins() -> None:
    """A faint "a" at first, a clear one later: the prefix is as old as the faint one."""
    log_probs = heard({"-": 0.9, "a": 0.09}, {"-": 0.98}, {"-": 0.98}, {"a": 0.97}, {"-": 0.9})
    (token,) = BeamDecoder(CHARS).decode(log_probs)[0].tokens
    assert (token.id, token.start_frame, token.end_frame) == (2, 3, 4)


def test_the_language_model_weighs_words() -> None:
    log_probs = np.concatenate([spoken("a"), heard({"b": 0.5, "c": 0.45}), spoken(" a")])
    assert words(BeamDecoder(CHARS), log_probs) == "ab a"
    lm = FlatModel("ab", "ac", "a", rare="ab")
    (best,) = BeamDecoder(CHARS, BeamSettings(alpha=1.0), lm=lm).decode(log_probs)
    assert best.words == ("ac", "a")
    assert best.lm == pytest.approx(-1.0 - 1.0 + 2 * 1.0 - 1.0)  # two words, their bonus, the end
    assert best.score == pytest.approx(best.acoustic + best.lm)


def test_unknown_words_cost_by_the_letter() -> None:
    settings = BeamSettings(alpha=1.0, beta=0.0, unknown=-2.0, unknown_letter=-0.5)
    decoder = BeamDecoder(CHARS, settings, lm=FlatModel("ab", "ca"))
    for text, letters in (("abc", 3), ("c", 1), ("bbb", 3), ("cab", 3)):
        (best,) = decoder.decode(spoken(text, 0.9999))
        assert best.words == (text,)
        assert best.lm == pytest.approx(-6.0 - 2.0 - 0.5 * letters - 1.0)


def test_a_model_over_characters_is_refused() -> None:
    lm = FlatModel("a")
    lm.unit = "character"
    with pytest.raises(ConfigError, match="over words"):
        BeamDecoder(CHARS, lm=lm)


def test_n_best_are_different_words_in_order() -> None:
    log_probs = heard({"a": 0.4, "b": 0.3, "c": 0.2}, {" ": 0.5, "-": 0.45})
    found = BeamDecoder(CHARS, BeamSettings(nbest=3)).decode(log_probs)
    assert [hypothesis.words for hypothesis in found] == [("a",), ("b",), ("c",)]
    assert found[0].confidence > found[1].confidence > found[2].confidence


def test_hotwords_are_heard_in_and_outside_the_vocabulary() -> None:
    log_probs = np.concatenate([spoken("a"), heard({"b": 0.6, "c": 0.3}), spoken(" ab", 0.9999)])
    lm = FlatModel("ab", "a", "b")
    assert words(BeamDecoder(CHARS, lm=lm), log_probs) == "ab ab"
    assert words(BeamDecoder(CHARS, lm=lm, hotwords=["ac"]), log_probs) == "ac ab"
    closed = Lexicon.of(["a", "ab"])
    assert words(BeamDecoder(CHARS, lexicon=closed, hotwords=["ac"]), log_probs) == "ac ab"
    assert words(BeamDecoder(CHARS, hotwords=["ac"]), log_probs) == "ac ab"
    for without_letters in ("", " "):
        with pytest.raises(ConfigError, match="no hotword"):
            BeamDecoder(CHARS, hotwords=[without_letters])
    with pytest.raises(ConfigError, match="nobody can say with this model"):
        BeamDecoder(CHARS, hotwords=["xylophone"])


def test_a_hotword_is_worth_its_boost_and_only_when_whole() -> None:
    plain, boosted = BeamDecoder(CHARS), BeamDecoder(CHARS, hotwords=["abc"])
    for text, gain in (("abc", 8.0), ("ab", 0.0), ("abca", 0.0), ("abc abc", 16.0)):
        log_probs = spoken(text, 0.9999)
        difference = boosted.decode(log_probs)[0].score - plain.decode(log_probs)[0].score
        assert difference == pytest.approx(gain, abs=1e-3)


def test_an_unknown_hotword_is_taken_to_be_as_rare_as_the_rarest_word() -> None:
    """<unk> stands for many words at once: each of them is rarer."""
    lm = FlatModel("ab", "ca", rare="ca")
    lm.values[0] = -2.0
    settings = BeamSettings(alpha=0.5, beta=0.0, hotword=3.0, unknown=-7.0)
    for word, unigram in (("abc", -9.0), ("ca", -9.0), ("ab", -1.0)):
        decoder = BeamDecoder(CHARS, settings, lm=lm, hotwords=[word])
        (best,) = decoder.decode(spoken(word, 0.9999))
        assert best.words == (word,)
        assert best.lm == pytest.approx(0.5 * unigram + 3.0 - 0.5)  # its boost; the end
    lm.values[0] = -20.0
    (best,) = BeamDecoder(CHARS, settings, lm=lm, hotwords=["abc"]).decode(spoken("abc", 0.9999))
    assert best.lm == pytest.approx(0.5 * -20.0 + 3.0 - 0.5)


@pytest.mark.parametrize("lm", [FlatModel("a", "b", "c"), None])
@pytest.mark.parametrize(
    ("phrases", "text", "worth"),
    [
        (["a b"], "a b", 2),
        (["a b"], "c a b c", 2),
        (["a b"], "a c b", 0),
        (["a b"], "b a", 0),  # open at the end
        (["a b"], "a a b", 2),  # not the first a, but the second
        (["a b"], "a b a b", 4),
        (["a b c", "b a"], "a b a", 2),  # the other one began within
        (["a b", "a b c"], "a b a", 2),  # the shorter one
        (["a b", "a b c"], "a b c", 3),
        (["a b", "c"], "a c", 1),
    ],
)
def test_a_phrase_is_worth_its_bonus_as_a_whole(
    lm: FlatModel | None, phrases: list[str], text: str, worth: int
) -> None:
    log_probs = spoken(text, 0.9999)
    settings = BeamSettings(hotword=3.0)
    (before,) = BeamDecoder(CHARS, settings, lm=lm).decode(log_probs)
    (after,) = BeamDecoder(CHARS, settings, lm=lm, hotwords=phrases).decode(log_probs)
    assert after.words == before.words == tuple(text.split())
    assert after.score - before.score == pytest.approx(3.0 * worth, abs=1e-3)


def test_a_name_in_a_phrase_that_no_vocabulary_has_is_heard_without_the_rest() -> None:
    lm = FlatModel("ab", "a", "b")
    log_probs = np.concatenate([spoken("a"), heard({"b": 0.6, "c": 0.3}), spoken(" ab", 0.9999)])
    assert words(BeamDecoder(CHARS, lm=lm, hotwords=["ac b"]), log_probs) == "ac ab"
    (whole,) = BeamDecoder(CHARS, lm=lm, hotwords=["ac b"]).decode(spoken("ac b", 0.9999))
    (alone,) = BeamDecoder(CHARS, lm=lm, hotwords=["ac"]).decode(spoken("ac b", 0.9999))
    assert whole.lm - alone.lm == pytest.approx(8.0)  # for b; the name has its own already


def test_a_hotword_is_followed_from_its_first_letter() -> None:
    log_probs = heard(*({s: 0.55, o: 0.4} for s, o in ("ac", "-b", "ba", "-c", "cb")))
    narrow = BeamSettings(beam=1)
    assert words(BeamDecoder(CHARS, narrow), log_probs) == "abc"
    assert words(BeamDecoder(CHARS, narrow, hotwords=["cab"]), log_probs) == "cab"


def test_a_closed_vocabulary_hears_nothing_else() -> None:
    decoder = BeamDecoder(CHARS, BeamSettings(nbest=50), lexicon=Lexicon.of(["ab", "ca"]))
    for text in ("ab ca", "cb", "c ab", "aaab"):
        for found in decoder.decode(spoken(text)):
            assert set(found.words) <= {"ab", "ca"}
    unfinished = decoder.decode(spoken("ab c", 0.99999))[0]
    assert unfinished.words[0] == "ab"
    with pytest.raises(ConfigError, match="no word of the lexicon"):
        BeamDecoder(CHARS, lexicon=Lexicon.of(["xyz"]))


def test_settings_close_or_open_a_vocabulary() -> None:
    lm, lexicon = FlatModel("ab", "ca"), Lexicon.of(["ab", "ca"], closed=False)
    open_, shut = BeamSettings(closed=False), BeamSettings(closed=True)
    clear, doubtful = spoken("cb", 0.99999), spoken("cb")
    for decoder in (
        BeamDecoder(CHARS, lexicon=lexicon),
        BeamDecoder(CHARS, open_, lexicon=Lexicon.of(["ab", "ca"])),
        BeamDecoder(CHARS, open_, lm=lm),
    ):
        assert words(decoder, clear) == "cb"
    for decoder in (BeamDecoder(CHARS, shut, lexicon=lexicon), BeamDecoder(CHARS, shut, lm=lm)):
        assert words(decoder, doubtful) == "ca"
    with pytest.raises(ConfigError, match="no language model or lexicon"):
        BeamDecoder(CHARS, shut)


def test_pieces_of_words_are_followed_letter_by_letter() -> None:
    pieces = BpeTokenizer((BLANK, "\u2581a", "b", "\u2581ab", "c"), model=b"")
    log_probs = np.log(np.full((4, 5), 0.01, np.float32))
    log_probs[[0, 1, 2, 3], [1, 2, 3, 4]] = math.log(0.96)
    lm = FlatModel("ab", "abc")
    (best,) = BeamDecoder(pieces, BeamSettings(alpha=1.0, beta=0.0), lm=lm).decode(log_probs)
    assert best.words == ("ab", "abc")
    assert best.lm == pytest.approx(-3.0)


def test_phonemes_become_words_by_their_neighbours() -> None:
    tokenizer = PhonemeTokenizer((BLANK, " ", "I", "S"), {"see": ("S", "I")})
    lexicon = Lexicon(("see", "sea", "is"), (("S", "I"), ("S", "I"), ("I", "S")))
    log_probs = np.log(np.full((5, 4), 0.01, np.float32))
    log_probs[np.arange(5), [3, 2, 1, 2, 3]] = math.log(0.97)
    lm = FlatModel("see", "sea", "is", rare="see")
    found = BeamDecoder(tokenizer, BeamSettings(nbest=2), lm=lm, lexicon=lexicon).decode(log_probs)
    assert [hypothesis.words for hypothesis in found] == [("sea", "is"), ("see", "is")]


def test_rare_pronunciations_cost_what_they_are_rarer() -> None:
    """Of two words that sound alike the one that is usually said so is heard."""
    log_probs = heard({"a": 0.9}, {"-": 0.9})
    for weights, wanted in (((-3.0, 0.0, 0.0), "other"), (None, "one")):
        lexicon = Lexicon(("one", "other", "other"), (("a",), ("a",), ("b",)), weights=weights)
        assert words(BeamDecoder(CHARS, lexicon=lexicon), log_probs) == wanted


def test_a_lexicon_file_has_all_pronunciations(tmp_path: Path) -> None:
    path = tmp_path / "lexicon.dict"
    path.write_text(";;; comment\nREAD R IY D\nread(2) R EH D # past\nred R EH D\n\n")
    lexicon = Lexicon.read(path)
    assert lexicon.words == ("read", "read", "red")
    assert lexicon.sounds == (("R", "IY", "D"), ("R", "EH", "D"), ("R", "EH", "D"))
    assert lexicon.pronounced
    assert Lexicon.parse(lexicon.to_text(), "again") == lexicon
    path.write_text("read 1.0 R IY D\nread .25 R EH D\nred 1. R EH D\n")
    weighed = Lexicon.read(path)
    assert weighed.sounds == lexicon.sounds
    assert weighed.weights == pytest.approx((0, math.log(0.25), 0))
    assert Lexicon.parse(weighed.to_text(), "again") == weighed
    path.write_text("read 1.0 R IY D\nred R EH D\n")
    with pytest.raises(DataError, match="line 2: 'red' has no probability"):
        Lexicon.read(path)
    path.write_text("read 0.0 R IY D\n")
    with pytest.raises(DataError, match=r"has the probability 0\.0: above 0"):
        Lexicon.read(path)
    path.write_text("Words\nalone # and a comment\n")
    words = Lexicon.read(path, closed=False)
    assert words == Lexicon.of(["words", "alone"], closed=False)
    assert Lexicon.parse(words.to_text(), "again", closed=False) == words
    path.write_text("\n;;; nothing\n")
    with pytest.raises(DataError, match="has no line"):
        Lexicon.read(path)
    with pytest.raises(DataError, match="cannot read"):
        Lexicon.read(path.parent / "none")


def test_of_equal_candidates_the_first_survive(rng: np.random.Generator) -> None:
    for beam in (1, 2, 5, 30):
        scores = rng.integers(0, 4, 60).astype(float)
        scores[rng.random(60) < 0.2] = -np.inf
        owners = rng.integers(0, 4, 60)
        wanted = []
        for owner in range(4):
            mine = [at for at in np.flatnonzero(owners == owner) if scores[at] > -np.inf]
            near = [at for at in mine if scores[at] >= max(scores[mine]) - 2]
            wanted += sorted(sorted(near, key=lambda at: -scores[at])[:beam])
        limits = search.Limits(beam, score_prune=2.0, alike=0)
        near = search.near_the_best(scores, owners, 4, limits)
        assert near[search.best_of_each(scores[near], owners[near], 4, limits)].tolist() == wanted


@pytest.mark.parametrize("limit", [0, 1 << 25], ids=["searched", "table"])
def test_a_trie_leads_where_its_words_lead(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr("auricle.decode.lexicon.TABLE_LIMIT", limit)
    spellings = [tuple(rng.integers(1, 4, n).tolist()) for n in rng.integers(1, 6, 40)]
    trie = Trie(spellings, 4)
    prefixes = {s[:n] for s in spellings for n in range(len(s) + 1)}
    nodes = {(): 0}
    for word in itertools.chain.from_iterable(
        itertools.product((1, 2, 3), repeat=n) for n in range(1, 6)
    ):
        at, letter = np.array([nodes[word[:-1]]]), np.array([word[-1]])
        nodes[word] = int(trie.child(at, letter)[0])
        assert (nodes[word] != trie.sink) == (word in prefixes)
        assert trie.child(at, np.array([NO_LETTER])) == at
        if word in prefixes:
            assert trie.depths[nodes[word]] == len(word)
    assert [nodes[s] for s in spellings] == trie.ends.tolist()
    values = rng.normal(size=len(spellings))
    below = trie.best_word_below(values)
    each = rng.normal(size=trie.sink)
    highest = trie.best_below(each)
    for prefix in prefixes:
        found = [v for s, v in zip(spellings, values, strict=True) if s[: len(prefix)] == prefix]
        assert below[nodes[prefix]] == max(found)
        under = [nodes[other] for other in prefixes if other[: len(prefix)] == prefix]
        assert highest[nodes[prefix]] == each[under].max()


def test_sure_blanks_are_left_out() -> None:
    log_probs = heard({"-": 0.9999}, {"a": 0.9}, {"-": 0.9999}, {"-": 0.9995}, {"-": 0.5})
    frames = Frames.of([log_probs, log_probs[2:4]], skip_blank=0.999, token_prune=3.0)
    assert frames.number.tolist() == [1, 4]
    assert frames.after_blank.tolist() == [True, True]
    assert frames.starts.tolist() == [0, 2, 2]
    assert frames.skipped == pytest.approx(
        [math.log(0.9999 * 0.9999 * 0.9995), math.log(0.9999 * 0.9995)], abs=1e-6
    )
    assert frames.symbol[: frames.first[1]].tolist() == [2]


def test_the_history_forgets_what_nothing_needs(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_probs = np.log(rng.dirichlet(np.full(5, 0.3), 600) + 1e-5).astype(np.float32)
    decoder = BeamDecoder(CHARS, BeamSettings(beam=20))
    wanted = decoder.decode(log_probs)
    kept = []
    for above in (1 << 20, 0):
        monkeypatch.setattr(search, "COMPACT_ABOVE", above)
        state = decoder.start()
        for chunk in np.array_split(log_probs, 40):
            state = decoder.step(state, chunk)
        assert decoder.finish(state) == wanted
        kept.append(len(state.search.history))
    assert kept[1] < kept[0] / 2


@pytest.mark.parametrize("log_probs", [np.zeros(5), np.zeros((3, 4)), np.full((3, 5), np.nan)])
def test_what_is_no_log_probability_is_refused(log_probs: NDArray[np.float64]) -> None:
    with pytest.raises(DataError, match="log_probs"):
        BeamDecoder(CHARS).decode(log_probs)
    with pytest.raises(DataError, match="at most 0"):
        BeamDecoder(CHARS).decode(np.ones((2, 5)))


def test_nothing_heard_is_one_empty_hypothesis() -> None:
    decoder = BeamDecoder(CHARS, lm=FlatModel("a"))
    for log_probs in (np.zeros((0, 5)), heard({"-": 0.99999})):
        (best,) = decoder.decode(log_probs)
        assert (best.tokens, best.words) == ((), ())
        assert best.confidence == pytest.approx(1.0, abs=1e-3)
    assert decoder.decode_many([]) == []
    impossible = np.full((2, 5), -np.inf)
    many = decoder.decode_many([spoken("a"), impossible])
    assert [(h.words, h.confidence > 0) for (h,) in many] == [(("a",), True), ((), False)]


def test_of_prefixes_with_one_future_the_best_stay(rng: np.random.Generator) -> None:
    for most in (1, 2, 3):
        scores = rng.integers(0, 6, 200).astype(float)
        futures = rng.integers(0, 40, 200).astype(np.uint64)
        wanted = []
        for future in range(40):
            alike = np.flatnonzero(futures == future)
            wanted += sorted(alike.tolist(), key=lambda at: -scores[at])[:most]
        assert search.best_alike(scores, futures, most).tolist() == sorted(wanted)


@pytest.mark.parametrize(("recombine", "last"), [(True, "ca"), (False, "b")])
def test_doubts_long_ago_do_not_fill_a_beam(*, recombine: bool, last: str) -> None:
    """64 readings of six doubtful words leave no room for a doubt about the seventh."""
    doubtful = [{"a": 0.5, "b": 0.45}, {" ": 0.95}] * 6
    log_probs = heard(*doubtful, {"b": 0.9, "c": 0.06}, {"a": 0.95})
    settings = BeamSettings(beam=8, recombine=recombine)
    decoder = BeamDecoder(CHARS, settings, lm=FlatModel("a", "b", "ca"))
    assert words(decoder, log_probs) == f"a a a a a a {last}"


def test_recombined_prefixes_leave_as_many_readings_as_are_asked_for() -> None:
    log_probs = heard(*[{"a": 0.5, "b": 0.45}, {" ": 0.95}] * 3)
    decoder = BeamDecoder(CHARS, BeamSettings(nbest=4), lm=FlatModel("a", "b"))
    assert len({each.words for each in decoder.decode(log_probs)}) == 4
