"""Pieces around speech: the sample clips, between noise and silence, are where the pieces are."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray

import auricle
from auricle import audio
from auricle.bundle import Bundle, find_model, write_bundle
from auricle.cutting import PAD_S, PAUSE_S, AroundSpeech, cut_named
from auricle.engine import LONGEST_S, at_pauses
from auricle.hysteresis import HysteresisSettings
from auricle.runtime import Recognizer

CLIPS = Path(__file__).parents[2] / "examples" / "clips"
RATE_HZ = 16_000
CUT = AroundSpeech()


@pytest.fixture(scope="module")
def clips() -> list[NDArray[np.float32]]:
    return [audio.load(path, RATE_HZ)[0] for path in sorted(CLIPS.glob("*.flac"))]


def chunks(x: NDArray[np.float32], size: int) -> Iterator[NDArray[np.float32]]:
    return (x[at : at + size] for at in range(0, len(x), size))


def programme(
    clips: list[NDArray[np.float32]], times: int, pause_s: float = 5.0
) -> tuple[NDArray[np.float32], list[tuple[float, float]]]:
    """The clips one after the other, pauses of faint noise around them; where they are."""
    rng = np.random.default_rng(0)
    parts, spans, at = [], [], 0
    for clip in [clips[n % len(clips)] for n in range(times)]:
        parts += [np.zeros(round(pause_s * RATE_HZ), np.float32), clip]
        at += len(parts[-2])
        spans.append((at / RATE_HZ, (at + len(clip)) / RATE_HZ))
        at += len(clip)
    sound = np.concatenate([*parts, np.zeros(2 * RATE_HZ, np.float32)])
    return sound + rng.normal(0, 1e-4, len(sound)).astype(np.float32), spans


def test_pieces_are_where_speech_is(clips: list[NDArray[np.float32]]) -> None:
    sound, spans = programme(clips, 3)
    *pieces, (end_s, nothing) = CUT(chunks(sound, 10_000), RATE_HZ)
    assert (end_s, len(nothing)) == (len(sound) / RATE_HZ, 0)
    assert len(pieces) == len(spans)
    for (start_s, samples), (first_s, until_s) in zip(pieces, spans, strict=True):
        # The clips have some silence of their own on either side.
        assert start_s == pytest.approx(first_s, abs=PAD_S + 0.3)
        assert start_s + len(samples) / RATE_HZ == pytest.approx(until_s, abs=PAD_S + 0.3)
        begin = round(start_s * RATE_HZ)
        np.testing.assert_array_equal(samples, sound[begin : begin + len(samples)])


@pytest.mark.parametrize("begin_s", [54.0, 58.2, 58.7, 59.2, 59.7, 59.97, 60.2, 61.0])
def test_speech_at_the_seam_of_blocks_is_whole(
    clips: list[NDArray[np.float32]], begin_s: float
) -> None:
    silence = np.zeros(round(begin_s * RATE_HZ), np.float32)
    sound = np.concatenate([silence, clips[0], np.zeros(3 * RATE_HZ, np.float32)])
    (start_s, samples), (end_s, _) = CUT(chunks(sound, 50_000), RATE_HZ)
    assert start_s == pytest.approx(begin_s, abs=PAD_S + 0.3)
    until_s = begin_s + len(clips[0]) / RATE_HZ
    assert start_s + len(samples) / RATE_HZ == pytest.approx(until_s, abs=PAD_S + 0.3)
    assert end_s == len(sound) / RATE_HZ


@pytest.mark.parametrize("pause_s", [5.0, 0.0])
def test_a_long_recording_is_cut_alike_in_any_chunks(
    clips: list[NDArray[np.float32]], pause_s: float
) -> None:
    sound, spans = programme(clips, 40, pause_s)
    assert len(sound) > 2 * 60 * RATE_HZ
    found = [list(CUT(chunks(sound, size), RATE_HZ)) for size in (3_001, 10**9)]
    assert [(s, len(x)) for s, x in found[0]] == [(s, len(x)) for s, x in found[1]]
    done = 0.0
    for start_s, samples in found[0]:
        assert start_s >= done - 1e-9
        assert len(samples) <= LONGEST_S * RATE_HZ
        done = start_s + len(samples) / RATE_HZ
    # Of each clip, next to everything is in some piece, at the seams of blocks too.
    kept = np.zeros(len(sound), bool)
    for start_s, samples in found[0]:
        begin = round(start_s * RATE_HZ)
        kept[begin : begin + len(samples)] = True
    for first_s, until_s in spans:
        inside = kept[round((first_s + 0.3) * RATE_HZ) : round((until_s - 0.3) * RATE_HZ)]
        assert inside.mean() > 0.98


def test_short_silence_at_the_ends_is_kept_and_long_is_not(
    clips: list[NDArray[np.float32]],
) -> None:
    for silence_s, kept in ((0.6, True), (3.0, False)):
        silence = np.zeros(round(silence_s * RATE_HZ), np.float32)
        sound = np.concatenate([silence, clips[0], silence])
        (start_s, samples), (end_s, _) = CUT(chunks(sound, 7_000), RATE_HZ)
        assert end_s == len(sound) / RATE_HZ
        assert (start_s == 0 and len(samples) == len(sound)) == kept


class Told:
    """A detector that hears speech where it is told."""

    rule = HysteresisSettings()

    def __init__(self, *spans: tuple[float, float]) -> None:
        self.stretches = [SimpleNamespace(start_s=a, end_s=b) for a, b in spans]

    def segments(self, _sound: object, rule: HysteresisSettings) -> "Told":
        assert rule.gap_s == PAUSE_S
        return self


@pytest.mark.parametrize(
    ("spans", "pieces"),
    [
        (((0.0, 0.5), (0.9, 9.0), (14.0, 20.0)), [(0.0, 0.5), (0.9, 9.0), (14.0, 20.0)]),
        (((0.6, 6.0), (14.0, 19.1), (19.4, 19.8)), [(0.0, 6.0), (14.0, 19.1), (19.4, 20.0)]),
        (((0.6, 6.0), (9.0, 13.0)), [(0.0, 13.0)]),
        (((2.0, 6.0), (16.0, 18.0)), [(2.0, 6.0), (16.0, 18.0)]),
        (((2.0, 6.0),), [(2.0, 6.0)]),
    ],
)
def test_no_sound_is_heard_twice_where_the_ends_are_kept(
    spans: tuple[tuple[float, float], ...], pieces: list[tuple[float, float]]
) -> None:
    cut = AroundSpeech()
    vars(cut)["_segmenter"] = Told(*spans)  # in the place of the shipped one
    *found, _ = cut(iter([np.zeros(20 * RATE_HZ, np.float32)]), RATE_HZ)
    ends = [(start_s, start_s + len(samples) / RATE_HZ) for start_s, samples in found]
    np.testing.assert_allclose(ends, pieces)


def test_what_fits_in_one_piece_is_one(clips: list[NDArray[np.float32]]) -> None:
    pause = np.zeros(round(2.5 * RATE_HZ), np.float32)
    clip = clips[0][: 4 * RATE_HZ]
    short = np.concatenate([clip, pause, clip])
    ((start_s, samples), _) = CUT(iter([short]), RATE_HZ)
    assert start_s == 0
    assert len(samples) > len(short) - RATE_HZ
    long = np.concatenate([short, pause, clip, pause, clip])
    assert len(long) > LONGEST_S * RATE_HZ
    *pieces, _ = CUT(iter([long]), RATE_HZ)
    assert len(pieces) == 4


def test_what_is_no_speech_makes_no_pieces() -> None:
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 0.05, 20 * RATE_HZ).astype(np.float32)
    for sound in (noise, np.zeros(RATE_HZ, np.float32), noise[:0], noise[:10]):
        ((end_s, nothing),) = CUT(iter([sound]), RATE_HZ)
        assert (end_s, len(nothing)) == (len(sound) / RATE_HZ, 0)


def test_a_recogniser_cuts_as_its_card_says_or_as_it_is_told(
    tmp_path: Path, clips: list[NDArray[np.float32]]
) -> None:
    shipped = Bundle.read(find_model("english"))
    members = {name: shipped.member(name) for name in shipped.card.members}
    card = shipped.card.model_copy(update={"cut": "speech"})
    bundle = write_bundle(tmp_path / "around.auricle", card, members)
    assert Bundle.read(bundle.path).card.cut == "speech"
    sound, spans = programme(clips, 2)
    done: list[float] = []
    around = Recognizer.load(bundle)
    ((_, heard),) = around.transcribe_many([(sound, RATE_HZ)], progress=done.append)
    assert isinstance(heard, auricle.Transcript)
    assert heard.duration_s == pytest.approx(len(sound) / RATE_HZ)
    assert heard.words
    assert all(any(a <= w.start_s and w.end_s <= b for a, b in spans) for w in heard.words)
    # The pauses before a piece are done with it.
    assert sum(done) == pytest.approx(spans[-1][1], abs=1.0)
    noise = np.random.default_rng(2).normal(0, 0.05, 4 * RATE_HZ).astype(np.float32)
    assert around.transcribe((noise, RATE_HZ)).text == ""
    assert Recognizer.load(bundle, cut="pauses").cut is at_pauses
    assert cut_named("pauses") is at_pauses
