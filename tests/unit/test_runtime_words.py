"""Bundles that know words, at work: beams, hotwords, alternatives, phonemes."""

import threading
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest

from auricle import BeamSettings, ConfigError, GreedySettings, ModelError
from auricle.aligner import align
from auricle.bundle import LEXICON, LM
from auricle.decode import BeamDecoder
from auricle.decode.confidence import FEATURES
from auricle.results import Transcript
from auricle.runtime import Recognizer
from tones import DOUBT_S, GAP_S, RATE_HZ, SYMBOLS, TONE_S, sound, unigrams, write

B_OR_C = {"b": 0.75, "c": 0.25}  # of the energy: c has the wider band
MODEL = unigrams({"cab": -0.5, "bab": -4.0, "fed": -1.0})
TEXT = {"settings": {"text": {"normaliser": "english-1"}}}


def doubtful(rest: str = "ab") -> tuple[np.ndarray, int]:
    """ "bab" or "cab": greedily the first, to the model's ears the second."""
    return sound([B_OR_C, *rest]), RATE_HZ


@pytest.fixture
def recognizer(tmp_path: Path) -> Recognizer:
    bundle = write(
        tmp_path / "tones.auricle",
        more={LM: MODEL.to_bytes()},
        decode=BeamSettings(alpha=1.0).to_dict(),
        **TEXT,
    )
    return Recognizer.load(bundle.path, threads=1)


def test_a_bundle_decodes_as_it_says_unless_asked_otherwise(recognizer: Recognizer) -> None:
    assert recognizer.transcribe(doubtful()).text == "cab"
    assert recognizer.transcribe(doubtful(), decode=GreedySettings()).text == "bab"
    assert recognizer.transcribe(doubtful(), decode=BeamSettings(alpha=0.0)).text == "bab"
    bundle = recognizer.engine.bundle
    assert Recognizer.load(bundle, decode=GreedySettings()).transcribe(doubtful()).text == "bab"
    other = unigrams({"cab": -4.0, "bab": -0.5})
    assert Recognizer.load(bundle, lm=other).transcribe(doubtful()).text == "bab"


def test_words_of_a_beam_have_times_and_confidence(recognizer: Recognizer) -> None:
    clip, _ = doubtful("ab fed")
    answer = recognizer.transcribe((clip, RATE_HZ))
    assert answer.text == "cab fed"
    assert answer.alternatives == ()
    starts_s = [0.3, 0.3 + DOUBT_S + 3 * TONE_S + 4 * GAP_S]
    assert [word.start_s for word in answer.words] == pytest.approx(starts_s, abs=0.03)
    assert answer.words[0].confidence < answer.words[1].confidence <= 1


def test_hotwords_are_written_as_people_write_them(recognizer: Recognizer) -> None:
    clip = sound(["e", B_OR_C, "d"]), RATE_HZ
    assert recognizer.transcribe(clip).text == "ebd"
    assert recognizer.transcribe(clip, hotwords=["ECD!"]).text == "ecd"
    assert recognizer.transcribe(clip, hotwords="ECD!, cab,").text == "ecd"
    with pytest.raises(ConfigError, match="nobody can say with this model: xylophone"):
        recognizer.transcribe(clip, hotwords=["xylophone"])
    with pytest.raises(ConfigError, match="no hotword"):
        recognizer.transcribe(clip, hotwords=["?!"])


def test_hotwords_make_a_greedy_model_search(tmp_path: Path) -> None:
    recognizer = Recognizer.load(write(tmp_path / "m"), threads=1)
    assert recognizer.transcribe(doubtful()).text == "bab"
    assert recognizer.transcribe(doubtful(), hotwords=["cab"]).text == "cab"
    with pytest.raises(ConfigError, match="hears no hotwords"):
        recognizer.transcribe(doubtful(), hotwords=["cab"], decode=GreedySettings())


def test_alternatives_of_each_piece(
    recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = BeamSettings(alpha=0.0, nbest=2)
    whole = recognizer.transcribe(doubtful(), decode=settings)
    first, second = whole.alternatives
    assert (first.text, second.text) == ("bab", "cab")
    assert first.share > second.share > 0.02
    assert first.share + second.share <= 1.0
    assert (first.start_s, first.end_s) == (0.0, whole.duration_s)
    monkeypatch.setattr("auricle.engine.LONGEST_S", 2.5)
    twice = np.concatenate([sound([B_OR_C, *"ab"], silence_s=0.8)] * 2)
    answer = recognizer.transcribe((twice, RATE_HZ), decode=settings)
    assert answer.text == "bab bab"
    pieces = [list(group) for _, group in groupby(answer.alternatives, lambda each: each.start_s)]
    assert len(pieces) > 1
    assert " ".join(filter(None, (ways[0].text for ways in pieces))) == answer.text
    assert ["bab", "cab"] in [[way.text for way in ways] for ways in pieces]
    assert pieces[-1][0].end_s == answer.duration_s


def test_pieces_are_decoded_together(
    recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A beam search is fast over many utterances at once, whatever the graph's batches are."""
    calls = []
    decode_many = BeamDecoder.decode_many

    def spy(decoder: BeamDecoder, log_probs: list[np.ndarray]) -> list[list[object]]:
        calls.append(len(log_probs))
        return decode_many(decoder, log_probs)

    monkeypatch.setattr(BeamDecoder, "decode_many", spy)
    clips = [doubtful()] * 9
    answers = [answer for _, answer in recognizer.transcribe_many(clips, batch=2)]
    assert calls == [8, 1]  # four batches at a time
    assert {answer.text for answer in answers if isinstance(answer, Transcript)} == {"cab"}


def test_an_answer_does_not_depend_on_its_neighbours(recognizer: Recognizer) -> None:
    clips = [doubtful(), doubtful("ab fed"), (sound("fade"), RATE_HZ)]
    alone = [recognizer.transcribe(clip) for clip in clips]
    assert [answer for _, answer in recognizer.transcribe_many(clips * 5)] == alone * 5


@pytest.mark.parametrize("chunk", [1, 10])
def test_chunks_of_the_graphs_output_are_heard_as_the_whole(
    recognizer: Recognizer, chunk: int
) -> None:
    clip = doubtful("ab fed")
    whole = recognizer.transcribe(clip)
    (heard,) = recognizer.engine.answer_many([clip], list)
    eager = recognizer.decode.model_copy(update={"hotword": 12.0})
    for hotwords in ((), ("bab",)):
        listening = recognizer.decoder(eager, hotwords).start()
        log_probs = heard.parts[0].value
        for at in range(0, len(log_probs), chunk):
            listening = listening.step(log_probs[at : at + chunk])
        found = listening.readings()[0].words
        wanted = recognizer.transcribe(clip, hotwords=hotwords, decode=eager).words
        assert [(w.text, w.start_s, w.end_s) for w in found] == [
            (w.text, w.start_s, w.end_s) for w in wanted
        ]
    assert (wanted[0].text, whole.words[0].text) == ("bab", "cab")


def test_threads_with_hotwords_of_their_own(recognizer: Recognizer) -> None:
    heard: dict[str, set[str]] = {}

    def work(word: str) -> None:
        clips = [recognizer.transcribe(doubtful("ed"), hotwords=[word]) for _ in range(5)]
        heard[word] = {clip.text for clip in clips}

    threads = [threading.Thread(target=work, args=[word]) for word in ("bed", "ced")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert heard == {"bed": {"bed"}, "ced": {"ced"}}


def test_confidence_is_calibrated_for_the_way_of_decoding(tmp_path: Path) -> None:
    even = {"weights": dict.fromkeys(FEATURES, 0.0), "bias": 0.0}
    bundle = write(
        tmp_path / "m",
        more={LM: MODEL.to_bytes()},
        decode=BeamSettings(alpha=1.0).to_dict(),
        confidence={"beam": even},
    )
    recognizer = Recognizer.load(bundle, threads=1)
    assert [word.confidence for word in recognizer.transcribe(doubtful()).words] == [0.5]
    greedy = recognizer.transcribe(doubtful(), decode=GreedySettings())
    assert greedy.words[0].confidence > 0.6
    # What was fitted to one language model says nothing beside another.
    other = Recognizer.load(bundle, threads=1, lm=unigrams({"cab": -1.0}))
    assert other.transcribe(doubtful()).words[0].confidence > 0.6


PHONES = {"unit": "phoneme", "symbols": [*SYMBOLS[:2], *"ABCDEF"]}
SOUNDS = b"see B A\nsea B A\nsee C A\nface F A\n"


@pytest.mark.parametrize("decode", [GreedySettings(), BeamSettings(alpha=1.0)])
def test_phonemes_become_words(tmp_path: Path, decode: GreedySettings | BeamSettings) -> None:
    bundle = write(
        tmp_path / "m",
        more={LEXICON: SOUNDS, LM: unigrams({"sea": -1.0, "see": -2.0, "face": -1.5}).to_bytes()},
        tokenizer=PHONES,
        decode=decode.to_dict(),
        **TEXT,
    )
    recognizer = Recognizer.load(bundle.path, threads=1)
    answer = recognizer.transcribe((sound("ba ca fa"), RATE_HZ))
    assert answer.text == "sea see face"
    assert answer.words[1].start_s == pytest.approx(0.3 + 3 * (TONE_S + GAP_S), abs=0.03)
    nowhere = recognizer.transcribe((sound("bad"), RATE_HZ)).text
    assert nowhere == ("BAD" if decode.kind == "greedy" else "sea see")
    if decode.kind == "beam":
        hot = recognizer.transcribe((sound("ba"), RATE_HZ), hotwords=["See"])
        assert hot.text == "see"
        with pytest.raises(ConfigError, match="nobody can say with this model: abba"):
            recognizer.transcribe((sound("ba"), RATE_HZ), hotwords=["abba"])


def test_words_that_no_lexicon_has_are_said_like_those_that_it_has(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    words = {"".join(rng.choice(list("abcdef"), 4)) for _ in range(60)} - {"fade"}
    lines = "".join(f"{word} {' '.join(word.upper())}\n" for word in sorted(words))
    bundle = write(
        tmp_path / "m",
        more={LEXICON: lines.encode(), LM: unigrams(dict.fromkeys(words, -4.0)).to_bytes()},
        tokenizer=PHONES,
        decode=BeamSettings(alpha=1.0).to_dict(),
        **TEXT,
    )
    recognizer = Recognizer.load(bundle.path, threads=1)
    clip = sound("fade"), RATE_HZ
    assert recognizer.guessed(["fade", sorted(words)[0], "x"]) == {"fade": ("F", "A", "D", "E")}
    assert recognizer.transcribe(clip).text != "fade"
    assert recognizer.transcribe(clip, hotwords=["Fade"]).text == "fade"
    assert [word.text for word in align(recognizer, clip, "Fade!").transcript.words] == ["Fade!"]


@pytest.mark.parametrize(
    ("more", "values", "complaint"),
    [
        ({LM: b"no model"}, {"decode": BeamSettings().to_dict()}, r"lm\.bin: not a language model"),
        ({LEXICON: b"see Z Z\n"}, {"decode": BeamSettings().to_dict()}, "no word of the lexicon"),
        ({LEXICON: b"\xff"}, {}, r"lexicon\.txt"),
        ({}, {"decode": {"kind": "guess"}}, "decode"),
        ({}, {"decode": {"kind": "greedy", "beam": 3}}, r"decode\.beam"),
        ({}, {"decode": {"kind": "beam", "beam": 0}}, r"decode\.beam = 0"),
        ({}, {"confidence": {"beam": {"weights": {}, "bias": 0}}}, "features of a word"),
    ],
)
def test_bundles_whose_words_cannot_be_used(
    tmp_path: Path, more: dict[str, bytes], values: dict[str, object], complaint: str
) -> None:
    with pytest.raises((ModelError, ConfigError), match=complaint):
        Recognizer.load(write(tmp_path / "m", more=more, **values).path)


def test_a_damaged_language_model_is_found_when_it_is_needed(tmp_path: Path) -> None:
    recognizer = Recognizer.load(write(tmp_path / "m", more={LM: b"no model"}).path)
    assert recognizer.transcribe(doubtful()).text == "bab"
    with pytest.raises(ModelError, match=r"lm\.bin: not a language model"):
        recognizer.transcribe(doubtful(), hotwords=["cab"])
