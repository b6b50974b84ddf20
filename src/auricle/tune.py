"""The decoding that errs least on validation recordings, and how sure its words then are.

The graph runs once; what is searched are the settings of the beam search over its outputs. The
search goes from what the bundle has now, one setting at a time, a step up or down, for as long as
that helps, then with half the step (pattern search, Hooke & Jeeves 1961). Equal data give equal
answers.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from auricle.decode import (
    BeamSettings,
    Calibration,
    DecodeSettings,
    GreedySettings,
    Heard,
    fit_calibration,
    word_features,
)
from auricle.engine import Float32, Source
from auricle.errors import ConfigError
from auricle.metrics import (
    Bin,
    ErrorCounts,
    calibration_error,
    reliability,
    right_words,
    score_words,
)
from auricle.runtime import Recognizer
from auricle.text import normalise

Progress = Callable[[int, int], None]
"""Told how much is done, and of how much."""
Pieces = Sequence[Sequence[Float32]]
"""Log probabilities (T, V) of the pieces of each recording."""

# Where a tenth of the words change between two settings, the difference of their error rates over
# 1,000 words has a standard error of sqrt(0.1 / 1000), one point: less, and chance chooses.
ENOUGH_RECORDINGS, ENOUGH_WORDS = 100, 1_000
HALVINGS = 2  # of the steps, once they help no more
FEWEST_WORDS = 100  # right and wrong ones together, from which confidence can be learned
FOLDS = 5


class Knob(NamedTuple):
    """A setting to turn: its first step and how far it goes."""

    name: str
    step: float
    low: float
    high: float


WEIGHTS = (Knob("alpha", 0.2, 0.0, 3.0), Knob("beta", 1.0, -5.0, 10.0))
OPENNESS = (Knob("unknown", 3.0, -30.0, 0.0), Knob("unknown_letter", 0.5, -5.0, 0.0))


@dataclass(frozen=True)
class Trial:
    """Settings that were tried, and what they scored."""

    settings: BeamSettings
    errors: ErrorCounts


@dataclass(frozen=True)
class Surety:
    """How well confidences tell right words from wrong ones, in bins of a reliability picture.

    `after` is cross-validated: no word was in the data that its own confidence was fitted to.
    """

    calibration: Calibration
    before: tuple[Bin, ...]
    after: tuple[Bin, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        sides = {"before": self.before, "after": self.after}
        errors = {f"error_{name}": calibration_error(bins) for name, bins in sides.items()}
        return errors | {name: [bin_._asdict() for bin_ in bins] for name, bins in sides.items()}


@dataclass(frozen=True)
class Tuned:
    """What tuning found."""

    trials: tuple[Trial, ...]  # in order
    before: ErrorCounts  # as the model decoded until now
    greedy: ErrorCounts
    surety: Mapping[str, Surety]  # by kind of decoding; none where there are too few words

    @property
    def best(self) -> Trial:
        """The first of those with the fewest errors."""
        return min(self.trials, key=_rate)

    @property
    def few(self) -> bool:
        """Whether there was too little to choose by."""
        counts = self.before
        return len(counts.rows) < ENOUGH_RECORDINGS or counts.reference < ENOUGH_WORDS

    def to_dict(self) -> dict[str, Any]:
        """As JSON types: scores and reliability, not every trial."""
        return {
            "before": self.before.to_dict(),
            "greedy": self.greedy.to_dict(),
            "beam": self.best.errors.to_dict(),
            "trials": len(self.trials),
            "confidence": {kind: each.to_dict() for kind, each in self.surety.items()},
        }


def listen(
    recognizer: Recognizer, sources: Iterable[Source], count: int, progress: Progress | None = None
) -> Pieces:
    """Run `count` recordings through the graph.

    Raises:
        DataError: when one cannot be read.
    """
    pieces: list[list[Float32]] = []
    for heard in recognizer.engine.answer_many(sources, list, cut=recognizer.cut):
        if heard.error:
            raise heard.error
        pieces.append([part.value for part in heard.parts])
        if progress:
            progress(len(pieces), count)
    return pieces


def tune(
    recognizer: Recognizer,
    pieces: Pieces,
    references: Sequence[str],
    *,
    before: Recognizer | None = None,
    trials: int = 40,
    progress: Progress | None = None,
) -> Tuned:
    """Search for the settings of the beam with the fewest word errors, then fit confidences.

    Args:
        recognizer: whose settings it starts from.
        pieces: what `listen` gave.
        references: what was said in each recording, normalised.
        before: the model without what was put into it since, to compare with.
        trials: most settings to try; each decodes everything.
        progress: told after each.

    Raises:
        ConfigError: when there is nothing to tune, or no transcript to tune on.
    """
    if not any(references):
        raise ConfigError("there is no transcript to tune on")
    exam = _Exam(recognizer, pieces, references)
    start = recognizer.decode if isinstance(recognizer.decode, BeamSettings) else BeamSettings()
    tried = search(exam.errors, start, knobs(recognizer, start), trials, progress)
    greedy = exam.heard(GreedySettings())
    best = exam.heard(min(tried, key=_rate).settings)
    surety = {"greedy": exam.surety(greedy), "beam": exam.surety(best)}
    before = before or recognizer
    return Tuned(
        tuple(tried),
        _Exam(before, pieces, references).errors(before.decode),
        exam.score(greedy),
        {kind: each for kind, each in surety.items() if each},
    )


def knobs(recognizer: Recognizer, settings: BeamSettings) -> tuple[Knob, ...]:
    """What there is to tune: weights with a language model, penalties where words may be unknown.

    In a closed vocabulary, unknown are those of its words that the language model does not have.

    Raises:
        ConfigError: when it is nothing.
    """
    lm, lexicon = recognizer.lm, recognizer.lexicon
    closed = settings.closed or (settings.closed is None and lexicon is not None and lexicon.closed)
    open_ = (lm is not None or lexicon is not None) and not closed
    strange = lm is not None and lexicon is not None and not lm.word_ids(lexicon.words).all()
    found: tuple[Knob, ...] = WEIGHTS if lm is not None else ()
    found += OPENNESS if open_ else OPENNESS[:1] if strange else ()
    if not found:
        raise ConfigError(
            f"{recognizer.engine.bundle.path}: there is nothing to tune without a language model:"
            " `auricle lm build` makes one, --lm puts it inside"
        )
    return found


def search(
    errors: Callable[[BeamSettings], ErrorCounts],
    start: BeamSettings,
    knobs: Sequence[Knob],
    trials: int,
    progress: Progress | None = None,
) -> list[Trial]:
    """All that was tried: `start` first, then one knob at a time, from the best so far."""
    tried: dict[BeamSettings, Trial] = {}

    def rate(settings: BeamSettings) -> float:
        if settings not in tried:
            if len(tried) >= trials:
                return math.inf
            tried[settings] = Trial(settings, errors(settings))
            if progress:
                progress(len(tried), trials)
        return _rate(tried[settings])

    best, scale = start, 1.0
    lowest = rate(best)
    while scale >= 0.5**HALVINGS and len(tried) < trials:
        before = lowest
        for knob in knobs:
            for step in (knob.step * scale, -knob.step * scale):
                near = _turned(best, knob, step)
                while rate(near) < lowest:
                    best, lowest = near, rate(near)
                    near = _turned(best, knob, step)
        scale = scale if lowest < before else scale / 2.0
    return list(tried.values())


class _Exam:
    """Recordings to be heard in several ways; their pieces are decoded all together."""

    def __init__(self, recognizer: Recognizer, pieces: Pieces, references: Sequence[str]) -> None:
        self.recognizer, self.references = recognizer, references
        self.pieces = [piece for recording in pieces for piece in recording]
        self.owner = np.repeat(np.arange(len(pieces)), [len(recording) for recording in pieces])

    def heard(self, settings: DecodeSettings) -> list[Heard]:
        """The best way to hear each piece."""
        return [ways[0] for ways in self.recognizer.decoder(settings).heard(self.pieces)]

    def errors(self, settings: DecodeSettings) -> ErrorCounts:
        return self.score(self.heard(settings))

    def score(self, heard: Sequence[Heard]) -> ErrorCounts:
        version = self.recognizer.normaliser
        return score_words(self.references, [normalise(t, version) for t in self._texts(heard)])

    def surety(self, heard: Sequence[Heard]) -> Surety | None:
        """Fit confidences to what was heard; None for too few words, or none of them wrong."""
        right = right_words(self.references, self._texts(heard))
        if len(right) < FEWEST_WORDS or right.all() or not right.any():
            return None
        words = [word for each in heard for word in each.words]
        known = word_features(
            [each.words for each in heard],
            [each.acoustic for each in heard],
            self.recognizer.lm,
        )
        fold = np.repeat(self.owner, [len(each.words) for each in heard]) % FOLDS
        after = np.zeros(len(right))
        for number in range(FOLDS):
            inside = fold == number
            after[inside] = fit_calibration(known[~inside], right[~inside])(known[inside])
        before = [word.timed(1.0).confidence for word in words]
        bins = (tuple(reliability(each, right)) for each in (before, after))
        return Surety(fit_calibration(known, right), *bins)

    def _texts(self, heard: Sequence[Heard]) -> list[str]:
        """What was said in each recording, its pieces joined."""
        words: list[list[str]] = [[] for _ in self.references]
        for owner, each in zip(self.owner.tolist(), heard, strict=True):
            words[owner] += [word.text for word in each.words]
        return list(map(" ".join, words))


def _turned(settings: BeamSettings, knob: Knob, step: float) -> BeamSettings:
    value = min(max(getattr(settings, knob.name) + step, knob.low), knob.high)
    return settings.model_copy(update={knob.name: round(value, 6)})


def _rate(trial: Trial) -> float:
    return trial.errors.rate
