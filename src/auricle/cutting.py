"""Where a recording is cut before its words are read: around what is said.

A piece that begins and ends with speech is heard better than one with noise and other voices in it:
features are normalised over the piece, and the language model begins a sentence where the speaker
did. What is in no piece makes no words, however loud it is.

Axes: N samples.
"""

from collections.abc import Iterable, Iterator
from functools import cached_property, partial

import numpy as np

from auricle import audio
from auricle.bundle import CutName
from auricle.engine import LONGEST_S, Cut, Float32, at_pauses
from auricle.segmenter import Segmenter

PAUSE_S = 1.0  # a shorter one parts nothing, neither two pieces nor one and the recording's ends
PAD_S = 0.3  # of sound beside speech that belongs to its piece: words begin and end softly
BLOCK_S = 60.0  # heard by the detector at once: what memory holds of the longest recording
MARGIN_S = 1.0  # at the end of a block the detector does not hear what comes after it


def cut_named(name: CutName) -> Cut:
    """How recordings become pieces: the `cut` of a card.

    Args:
        name: "pauses", all of the sound, at its quietest places; "speech", see `AroundSpeech`.
    """
    return AroundSpeech() if name == "speech" else at_pauses


class AroundSpeech:
    """Cuts sound of any length into the pieces in which the shipped detector hears speech.

    Equal samples are cut at equal places, whatever chunks they come in. A recording whose speech
    fits in one piece is one: its pauses are a speaker's, and words are heard better together.
    """

    @cached_property
    def _segmenter(self) -> Segmenter:
        return Segmenter.load("speech", threads=1)

    def __call__(self, chunks: Iterable[Float32], rate_hz: int) -> Iterator[tuple[float, Float32]]:
        """Chunks (n,) of any lengths and their rate -> pieces, see `auricle.engine.Cut`.

        Pieces of `LONGEST_S` at most, in order; the last has no samples and starts where the sound
        ends.
        """
        margin = round(MARGIN_S * rate_hz)
        split = partial(audio.split_at_pauses, rate_hz=rate_hz, longest_s=LONGEST_S)
        # `known` begins with the sample `start`; what is before `done` is cut already.
        known, start, done = np.zeros(0, np.float32), 0, 0
        for block, last in _blocks(chunks, round(BLOCK_S * rate_hz)):
            known = np.concatenate([known, block])
            end = start + len(known) - (0 if last else margin)
            decided = end
            least = round(PAD_S * rate_hz) if done else 0  # less is left over by the last piece
            heard = [(start + a, start + b) for a, b in self._spoken(known, rate_hz)]
            cut = [(max(first, done), min(until, end)) for first, until in heard]
            spoken = [(a, b) for a, b in cut if b - a > (least if a == done else 0)]
            for first, until in _with_ends(spoken, rate_hz, start == 0, end if last else None):
                found = [
                    (first + round(place_s * rate_hz), samples)
                    for place_s, samples in split([known[first - start : until - start]])
                ]
                if until == end and not last:  # it may go on in the next block
                    decided, _ = found.pop()
                for place, samples in found:
                    yield place / rate_hz, samples
            done = decided
            kept = max(start, done - margin)
            known, start = known[kept - start :], kept
        yield (start + len(known)) / rate_hz, known[:0]

    def _spoken(self, wave: Float32, rate_hz: int) -> list[tuple[int, int]]:
        """The stretches of (N,) samples to be heard, from sample to sample, each with its edges."""
        if not len(wave):
            return []
        rule = self._segmenter.rule.model_copy(update={"gap_s": PAUSE_S, "pad_s": PAD_S})
        found = self._segmenter.segments((wave, rate_hz), rule=rule).stretches
        return [(round(each.start_s * rate_hz), round(each.end_s * rate_hz)) for each in found]


def _with_ends(
    spoken: list[tuple[int, int]], rate_hz: int, begins: bool, end: int | None
) -> list[tuple[int, int]]:
    """Stretches of samples, with what is before the first and after the last where it is short.

    Args:
        begins: whether they are the recording's first.
        end: of the recording, where they are its last.
    """
    if not spoken:
        return []
    pause, longest = round(PAUSE_S * rate_hz), round(LONGEST_S * rate_hz)
    (first, _), (_, until) = spoken[0], spoken[-1]
    if begins and end is not None and until - first <= longest:
        spoken = [(first, until)]
    if begins and first < pause:
        spoken = [(0, spoken[0][1]), *spoken[1:]]
    if end is not None and end - until < pause:
        spoken = [*spoken[:-1], (spoken[-1][0], end)]
    return spoken


def _blocks(chunks: Iterable[Float32], size: int) -> Iterator[tuple[Float32, bool]]:
    """Blocks of `size` samples, and whether one is the last, which has `size` or fewer."""
    known = np.zeros(0, np.float32)
    for chunk in chunks:
        known = np.concatenate([known, chunk])
        while len(known) > size:
            yield known[:size], False
            known = known[size:]
    yield known, True
