"""Log probabilities become readings of words, greedily or by a beam, whole or in chunks."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from auricle.decode import (
    BeamSettings,
    Calibration,
    Decoder,
    GreedySettings,
    Lexicon,
    build_decoder,
    ctc_greedy,
    spell,
)
from auricle.decode.confidence import FEATURES
from auricle.errors import ConfigError
from auricle.text import BLANK, BpeTokenizer, CharTokenizer, PhonemeTokenizer
from tones import unigrams

LETTERS = CharTokenizer((BLANK, " ", *"abcde"))
PHONES = PhonemeTokenizer((BLANK, " ", "S", "I", "R", "E", "D"), {})
LEXICON = Lexicon(
    ("see", "sea", "red", "read", "read"),
    (("S", "I"), ("S", "I"), ("R", "E", "D"), ("R", "I", "D"), ("R", "E", "D")),
)
FRAME_S = 0.04


def emissions(rng: np.random.Generator, frames: int, symbols: int = 7) -> NDArray[np.float32]:
    logits = rng.normal(0.0, 2.5, (frames, symbols))
    logits[:, 0] += np.where(rng.random(frames) < 0.5, 4.0, 0.0)
    logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return logits.astype(np.float32)


def said(tokenizer: PhonemeTokenizer, text: str) -> NDArray[np.float32]:
    """Every symbol of "S I  R E D" for a frame, a blank after each; two spaces part words."""
    symbols = text.replace("  ", " | ").split(" ")
    ids = [tokenizer.symbols.index(" " if each == "|" else each) for each in symbols]
    log_probs = np.full((2 * len(ids), len(tokenizer.symbols)), math.log(0.01), np.float32)
    log_probs[np.arange(len(log_probs)), [id_ for each in ids for id_ in (each, 0)]] = math.log(0.9)
    return log_probs


def texts(decoder: Decoder, log_probs: NDArray[np.float32]) -> list[str]:
    (readings,) = decoder.decode_many([log_probs])
    return [reading.text for reading in readings]


def test_greedy_words_are_what_they_were(rng: np.random.Generator) -> None:
    """Bit for bit: bundles from before there were decoders answer the same."""
    decoder = build_decoder(GreedySettings(), LETTERS, FRAME_S)
    utterances = [emissions(rng, frames) for frames in (0, 1, 30, 80)]
    for log_probs, readings in zip(utterances, decoder.decode_many(utterances), strict=True):
        (reading,) = readings
        assert list(reading.words) == spell(ctc_greedy(log_probs), LETTERS, FRAME_S)
        assert reading.share == 1.0


def test_beam_words_lie_where_their_tokens_do(rng: np.random.Generator) -> None:
    decoder = build_decoder(BeamSettings(beam=10, nbest=3), LETTERS, FRAME_S)
    utterances = [emissions(rng, frames) for frames in (0, 25, 60)]
    for log_probs, readings in zip(utterances, decoder.decode_many(utterances), strict=True):
        found = decoder.search.decode(log_probs)
        assert [tuple(w.text for w in r.words) for r in readings] == [h.words for h in found]
        for reading, hypothesis in zip(readings, found, strict=True):
            assert list(reading.words) == spell(hypothesis.tokens, LETTERS, FRAME_S)
            assert reading.share == hypothesis.confidence
    assert len(readings) == 3


def test_pieces_of_words_are_words(rng: np.random.Generator) -> None:
    """A piece that is but the mark of a beginning spells nothing where nothing follows it."""
    pieces = BpeTokenizer((BLANK, "\u2581", "\u2581a", "b", "\u2581ab", "c"), model=b"")
    for settings in (GreedySettings(), BeamSettings(beam=20, nbest=5)):
        decoder = build_decoder(settings, pieces, FRAME_S)
        for readings in decoder.decode_many([emissions(rng, 40, 6) for _ in range(20)]):
            for reading in readings:
                assert all(word.text and " " not in word.text for word in reading.words)


def test_greedy_phonemes_become_the_likeliest_words_that_sound_so() -> None:
    log_probs = said(PHONES, "S I  R E D  R I D  E")
    greedy = GreedySettings()
    assert texts(build_decoder(greedy, PHONES, FRAME_S, lexicon=LEXICON), log_probs) == [
        "see red read E"
    ]
    lm = unigrams({"sea": -1.0, "see": -2.0, "red": -2.0, "read": -1.5})
    decoder = build_decoder(greedy, PHONES, FRAME_S, lexicon=LEXICON, lm=lm)
    assert texts(decoder, log_probs) == ["sea read read E"]


def test_a_beam_says_which_of_the_words_that_sound_alike_and_when() -> None:
    lm = unigrams({"sea": -1.0, "see": -2.0, "red": -1.0, "read": -1.5})
    settings = BeamSettings(nbest=2)
    decoder = build_decoder(settings, PHONES, FRAME_S, lexicon=LEXICON, lm=lm)
    (readings,) = decoder.decode_many([said(PHONES, "S I  R E D")])
    assert [reading.text for reading in readings] == ["sea red", "sea read"]
    for reading in readings:
        sea, red = reading.words
        assert (sea.start_s, sea.end_s) == pytest.approx((0.0, 3 * FRAME_S))
        assert (red.start_s, red.end_s) == pytest.approx((6 * FRAME_S, 11 * FRAME_S))
    unheard = said(PHONES, "S I  E E")
    assert texts(decoder, unheard)[0].split()[0] == "sea"
    assert set(texts(decoder, unheard)[0].split()) <= set(LEXICON.words)  # closed by itself
    open_ = build_decoder(
        BeamSettings(closed=False, unknown=-1.0), PHONES, FRAME_S, lexicon=LEXICON, lm=lm
    )
    assert texts(open_, unheard) == ["sea EE"]


CALIBRATION = Calibration(weights=dict.fromkeys(FEATURES, 0.1), bias=0.3)
DECODERS = {
    "greedy": build_decoder(GreedySettings(), LETTERS, FRAME_S),
    "calibrated": build_decoder(GreedySettings(), LETTERS, FRAME_S, calibration=CALIBRATION),
    "beam": build_decoder(BeamSettings(beam=12, nbest=3), LETTERS, FRAME_S),
    "model": build_decoder(
        BeamSettings(beam=12, nbest=3),
        LETTERS,
        FRAME_S,
        lm=unigrams({"a": -1.0, "bad": -1.5, "cab": -2.0}),
        calibration=CALIBRATION,
    ),
}


@pytest.mark.parametrize("name", DECODERS)
@pytest.mark.parametrize("chunk", [1, 7, 200])
def test_chunks_are_heard_as_the_whole(name: str, chunk: int, rng: np.random.Generator) -> None:
    decoder = DECODERS[name]
    for log_probs in [emissions(rng, 90), emissions(rng, 3), emissions(rng, 0)]:
        listening = decoder.start()
        for at in range(0, len(log_probs), chunk):
            before, listening = listening, listening.step(log_probs[at : at + chunk])
            before.step(log_probs[:2])  # another way on changes nothing on this one
        (wanted,) = decoder.decode_many([log_probs])
        found = listening.readings()
        assert [r.text for r in found] == [r.text for r in wanted]
        for reading, same in zip(found, wanted, strict=True):
            assert reading.share == pytest.approx(same.share)
            for word, twin in zip(reading.words, same.words, strict=True):
                assert (word.start_s, word.end_s) == (twin.start_s, twin.end_s)
                assert word.confidence == pytest.approx(twin.confidence)


def test_a_symbol_that_spans_a_cut_is_one() -> None:
    log_probs = np.full((4, 7), -9.0, np.float32)
    log_probs[[0, 1, 2, 3], [2, 2, 0, 2]] = [-0.2, -0.1, -0.1, -0.3]
    listening = DECODERS["greedy"].start().step(log_probs[:1]).step(log_probs[1:3])
    (reading,) = listening.readings()
    assert [(w.text, w.start_s, w.end_s) for w in reading.words] == [("a", 0.0, 2 * FRAME_S)]
    assert reading.words[0].confidence == pytest.approx(math.exp(-0.1))
    (reading,) = listening.step(log_probs[3:]).readings()
    assert reading.text == "aa"


def test_confidence_is_what_the_calibration_says(rng: np.random.Generator) -> None:
    log_probs = emissions(rng, 60)
    (plain,) = DECODERS["greedy"].decode_many([log_probs])
    (weighed,) = DECODERS["calibrated"].decode_many([log_probs])
    assert plain[0].text == weighed[0].text
    assert [w.confidence for w in plain[0].words] != [w.confidence for w in weighed[0].words]
    sure = Calibration(weights=dict.fromkeys(FEATURES, 0.0), bias=math.log(3.0))
    decoder = build_decoder(GreedySettings(), LETTERS, FRAME_S, calibration=sure)
    (certain,) = decoder.decode_many([log_probs])
    assert [w.confidence for w in certain[0].words] == pytest.approx([0.75] * len(plain[0].words))


def test_hotwords_need_a_beam() -> None:
    with pytest.raises(ConfigError, match="decode with a beam"):
        build_decoder(GreedySettings(), LETTERS, FRAME_S, hotwords=["abe"])
