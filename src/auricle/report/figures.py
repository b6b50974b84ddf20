"""One utterance as a picture: waveform, mel bands, posteriors, and the words said and heard."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auricle import audio
from auricle.align import Aligned, AlignSettings, Posteriors, Script, align_recording
from auricle.data import Example
from auricle.drawing import Axis, Box, Panel, Picture, Text, envelope
from auricle.drawing.colours import Role
from auricle.errors import DataError
from auricle.features import FeatureSettings, FrontEnd
from auricle.metrics import align
from auricle.results import Transcript, Word
from auricle.text import Tokenizer, normalise

LONGEST_S = 20.0  # of an utterance that is drawn and played
WIDTH, LEFT, RIGHT = 900.0, 64.0, 12.0
PLAYED_HZ = 16_000
PLAYED_COMPRESSION = 0.7  # of MP3: some 27 kbit/s of speech
SHOWN_FROM = 0.15  # probability that a symbol must reach to get a row
MOST_SYMBOLS = 26
ROW = 11.0
WORD_ROW, WORD_LETTERS = 74.0, 13
MEL_COLUMNS = 600

Float32 = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Listened:
    """What the model heard in an utterance."""

    posteriors: Posteriors
    tokenizer: Tokenizer
    normaliser: str


@dataclass(frozen=True, eq=False)
class Figure:
    """An utterance to look at and listen to."""

    picture: Picture
    sound: bytes  # MP3
    shown_s: float
    cut: bool  # whether there is more than is shown
    aligned: Aligned | None


def figure(
    example: Example, reference: str, heard: Transcript, listened: Listened | None
) -> Figure:
    """Draw an utterance.

    Args:
        reference: what was said, normalised.
        heard: what the model wrote, with its times.
        listened: its posteriors; without them there are no rows of posteriors and said words.

    Raises:
        DataError: when the recording cannot be read.
    """
    samples, _ = audio.load(
        example.audio, PLAYED_HZ, start_s=example.start_s, duration_s=example.duration_s or None
    )
    whole_s = len(samples) / PLAYED_HZ
    samples = samples[: round(LONGEST_S * PLAYED_HZ)]
    shown_s = len(samples) / PLAYED_HZ
    aligned = _aligned(reference, listened) if listened else None
    rows = _Rows(shown_s, f"{example.id}: waveform, mel bands, posteriors and words over time")
    rows.waveform(samples)
    rows.mels(samples)
    if listened:
        rows.posteriors(listened)
    words = [word for word in heard.words if word.start_s < shown_s]
    right, wrong = _right(reference, heard, listened.normaliser if listened else "none")
    if aligned:
        said = [word for word in aligned.transcript.words if word.start_s < shown_s]
        missed = _missed(aligned, reference, wrong)
        rows.words("said", said, ["bad" if at in missed else "ink" for at in range(len(said))])
    rows.words("heard", words, ["ink" if right.get(at) else "bad" for at in range(len(words))])
    return Figure(rows.done(), _mp3(samples), shown_s, whole_s > shown_s + 0.01, aligned)


class _Rows:
    """Panels of one time axis, one below the other."""

    def __init__(self, shown_s: float, title: str) -> None:
        self.picture = Picture(WIDTH, 0.0, title, paper=False)
        self._time = Axis(0.0, max(shown_s, 0.01), "time (s)")
        self._y = 8.0

    def _panel(self, height: float, up: Axis) -> Panel:
        panel = Panel(self.picture, LEFT, self._y, WIDTH - LEFT - RIGHT, height, self._time, up)
        self._y += height + 10
        return panel

    def waveform(self, samples: Float32) -> None:
        loudest = max(1e-3, float(np.abs(samples).max(initial=0)))
        panel = self._panel(54, Axis(-loudest, loudest, ticks=(0.0,), names=("sound",)))
        panel.frame(numbers=False)
        if len(samples):
            at, low, high = envelope(samples, round(panel.width))
            panel.band(at * self._time.high, low, high)

    def mels(self, samples: Float32) -> None:
        settings = FeatureSettings(normalise="none")
        features = FrontEnd(settings)(samples)
        panel = self._panel(88, Axis(0, settings.mels, ticks=(40.0,), names=("mel",)))
        panel.frame(grid=False, numbers=False)
        if len(features):
            low, high = np.quantile(features, [0.05, 1.0])
            hop_s = settings.hop_samples / settings.sample_rate_hz
            end_s = min(self._time.high, len(features) * hop_s)
            panel.heat(features, float(low), float(high), x=(0.0, end_s), columns=MEL_COLUMNS)

    def posteriors(self, listened: Listened) -> None:
        """A row for each symbol that is ever likely; the blank is what no row shows."""
        heard = listened.posteriors
        shown = heard.starts_s < self._time.high
        probabilities = np.exp(heard.log_probs[shown].astype(np.float64))
        if not len(probabilities):
            return
        most = probabilities.max(axis=0)
        most[0] = 0.0
        chosen = [int(n) for n in np.argsort(-most)[:MOST_SYMBOLS] if most[n] >= SHOWN_FROM]
        chosen = sorted(chosen, reverse=True) or [0]
        names = tuple(_name(listened.tokenizer.symbols[n]) for n in chosen)
        middles = tuple(n + 0.5 for n in range(len(chosen)))
        up = Axis(0, len(chosen), ticks=middles, names=names, size=ROW - 1)
        panel = self._panel(ROW * len(chosen), up)
        panel.frame(grid=False, numbers=False)
        # Pieces of a long recording need not lie on one grid: each frame is put where it belongs.
        columns = max(1, round(self._time.high / heard.frame_s))
        grid = np.zeros((columns, len(chosen)))
        places = np.minimum(
            (heard.starts_s[shown] / heard.frame_s).round().astype(int), columns - 1
        )
        np.maximum.at(grid, places, probabilities[:, chosen])
        panel.heat(grid, 0, 1, "accent", smooth=False)

    def words(self, name: str, words: Sequence[Word], colours: Sequence[Role]) -> None:
        """A box over the time of each word, the word standing in it."""
        panel = self._panel(WORD_ROW, Axis(0, 1, ticks=(0.5,), names=(name,)))
        panel.frame(grid=False, numbers=False)
        for word, colour in zip(words, colours, strict=True):
            x = float(panel.at_x(word.start_s))
            width = max(3.0, float(panel.at_x(min(word.end_s, self._time.high))) - x)
            ground: Role = "bad" if colour == "bad" else "accent"
            self.picture.add(Box(x, panel.y, width, panel.height, ground, radius=2, opacity=0.16))
            long = len(word.text) > WORD_LETTERS
            text = f"{word.text[: WORD_LETTERS - 1]}\u2026" if long else word.text
            place = x + max(9.0, width / 2 + 3.5)
            self.picture.add(Text(place, panel.y + WORD_ROW - 4, text, 10, colour, upwards=True))

    def done(self) -> Picture:
        """The picture, with the numbers of the time axis below the last row."""
        last = Panel(
            self.picture,
            LEFT,
            self._y - 10,
            WIDTH - LEFT - RIGHT,
            0.0,
            self._time,
            Axis(0, 1, ticks=()),
        )
        last.frame(grid=False)
        self.picture.height = self._y + 30
        return self.picture


def _aligned(reference: str, listened: Listened) -> Aligned | None:
    """The reference on the sound, or None when it cannot be spelt or holds no word."""
    try:
        script = Script.of(reference, listened.tokenizer)
    except DataError:
        return None
    return align_recording(listened.posteriors, script, listened.tokenizer, AlignSettings())


def _right(
    reference: str, heard: Transcript, normaliser: str
) -> tuple[dict[int, bool], list[bool]]:
    """Which of the heard words are right, by number; and which of the reference were not heard."""
    spoken: list[str] = []
    owner: list[int] = []  # of each normalised word: the word as it is written
    for number, word in enumerate(heard.words):
        parts = normalise(word.text, normaliser).split()
        spoken += parts
        owner += [number] * len(parts)
    right: dict[int, bool] = {}
    wrong: list[bool] = []
    at = 0
    for edit in align(reference.split(), spoken):
        if edit.hypothesis is not None:
            right[owner[at]] = right.get(owner[at], True) and edit.kind == "hit"
            at += 1
        if edit.reference is not None:
            wrong.append(edit.kind != "hit")
    return right, wrong


def _missed(aligned: Aligned, reference: str, wrong: Sequence[bool]) -> set[int]:
    """Of the said words that were found, the numbers of those that were not heard right."""
    absent = {missing.number for missing in aligned.missing}
    present = [n for n in range(len(reference.split())) if n not in absent]
    return {place for place, number in enumerate(present) if wrong[number]}


def _name(symbol: str) -> str:
    return "\u2423" if symbol == " " else symbol


def _mp3(samples: Float32) -> bytes:
    """Every browser plays it; its header says how much of its ends is padding."""
    import soundfile

    file = io.BytesIO()
    soundfile.write(
        file,
        samples,
        PLAYED_HZ,
        format="MP3",
        subtype="MPEG_LAYER_III",
        compression_level=PLAYED_COMPRESSION,
    )
    return file.getvalue()
