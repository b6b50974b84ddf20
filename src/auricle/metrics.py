"""Word and character error rates: counted per utterance, summed over the corpus, with intervals.

Empty input, everywhere: an empty hypothesis is all deletions, an empty reference all insertions,
two empty texts are no error. A rate divides by the number of reference words, or by 1 when there
are none, so it is always finite (the same contract as jiwer's).
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import zip_longest
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import Levenshtein

from auricle.errors import DataError

DRAWN_AT_ONCE = 1_000  # bootstrap draws in memory

Kind = Literal["hit", "substitution", "deletion", "insertion"]


class Interval(NamedTuple):
    """A confidence interval."""

    low: float
    high: float


class Edit(NamedTuple):
    """One step of an alignment; None stands where a side has nothing."""

    kind: Kind
    reference: str | None
    hypothesis: str | None


class Bin(NamedTuple):
    """One bin of a reliability picture."""

    low: float
    high: float
    words: int
    confidence: float
    """Their mean."""
    right: float
    """The share that is."""


@dataclass(frozen=True, eq=False)
class ErrorCounts:
    """Errors of a corpus, utterance by utterance."""

    rows: NDArray[np.int64]  # (N, 4): hits, substitutions, deletions, insertions

    @cached_property
    def _totals(self) -> list[int]:
        return [int(total) for total in self.rows.sum(axis=0)]

    @property
    def hits(self) -> int:
        return self._totals[0]

    @property
    def substitutions(self) -> int:
        return self._totals[1]

    @property
    def deletions(self) -> int:
        return self._totals[2]

    @property
    def insertions(self) -> int:
        return self._totals[3]

    @property
    def errors(self) -> int:
        return sum(self._totals[1:])

    @property
    def reference(self) -> int:
        """Words (or characters) in the references."""
        return sum(self._totals[:3])

    @property
    def rate(self) -> float:
        """(substitutions + deletions + insertions) / reference: 0 is perfect, it can pass 1."""
        return self.errors / max(self.reference, 1)

    @property
    def rates(self) -> NDArray[np.float64]:
        """The rate of every utterance, (N,)."""
        errors, reference = self._pairs.T
        return np.asarray(errors / np.maximum(reference, 1), np.float64)

    @property
    def _pairs(self) -> NDArray[np.int64]:
        """Errors and length of the reference, (N, 2)."""
        return np.stack([self.rows[:, 1:].sum(axis=1), self.rows[:, :3].sum(axis=1)], axis=1)

    def by(self, values: Sequence[str]) -> dict[str, "ErrorCounts"]:
        """The counts of the utterances that share a value (one per utterance), values sorted.

        Raises:
            DataError: when the values are not one per utterance.
        """
        if len(values) != len(self.rows):
            raise DataError(f"{len(values)} values to group {len(self.rows)} utterances by")
        groups: dict[str, list[int]] = defaultdict(list)
        for index, value in enumerate(values):
            groups[value].append(index)
        return {value: ErrorCounts(self.rows[groups[value]]) for value in sorted(groups)}

    def interval(
        self, confidence: float = 0.95, draws: int = 1000, seed: int = 0
    ) -> Interval | None:
        """Percentile bootstrap of `rate` over utterances (Bisani & Ney 2004).

        None with fewer than two utterances: there is nothing to draw from.
        """
        if len(self.rows) < 2:
            return None
        errors, reference = _draws(self._pairs, draws, seed).T
        tail = (1 - confidence) / 2
        low, high = np.quantile(errors / np.maximum(reference, 1), [tail, 1 - tail])
        return Interval(float(low), float(high))

    def to_dict(self) -> dict[str, Any]:
        interval = self.interval()
        return {
            "rate": self.rate,
            "interval": list(interval) if interval else None,
            "substitutions": self.substitutions,
            "deletions": self.deletions,
            "insertions": self.insertions,
            "hits": self.hits,
            "reference": self.reference,
            "utterances": len(self.rows),
        }


@dataclass(frozen=True)
class Difference:
    """How a second system's answers to the same utterances compare with a first one's."""

    change: float
    """The second rate minus the first: below 0, the second system is better."""
    interval: Interval
    """Of the change."""
    p_value: float
    """Two-sided: how often chance alone would show so clear a change."""
    better: int
    """Utterances in which the second makes fewer errors."""
    worse: int

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"interval": list(self.interval)}


@dataclass(frozen=True, eq=False)
class Score:
    """Everything that is counted about the transcripts of a corpus."""

    words: ErrorCounts
    characters: ErrorCounts
    by: Mapping[str, Mapping[str, ErrorCounts]]  # key (speaker, ...) -> its value -> words

    def to_dict(self) -> dict[str, Any]:
        """JSON types: wer, cer and the word errors of every group."""
        return {
            "wer": self.words.to_dict(),
            "cer": self.characters.to_dict(),
            "by": {
                key: {value: counts.to_dict() for value, counts in groups.items()}
                for key, groups in self.by.items()
            },
        }


def score_transcripts(
    references: Sequence[str],
    hypotheses: Sequence[str],
    keys: Mapping[str, Sequence[str]] | None = None,
) -> Score:
    """Score normalised transcripts, over the corpus and per value of each key.

    Args:
        references: what was said, one text per utterance.
        hypotheses: what was recognised, in the same order.
        keys: for each key to group by (a speaker, any manifest key), its value per utterance.

    Raises:
        DataError: when these differ in length.
    """
    words = score_words(references, hypotheses)
    by = {key: words.by(values) for key, values in (keys or {}).items()}
    return Score(words, score_characters(references, hypotheses), by)


def score_words(references: Sequence[str], hypotheses: Sequence[str]) -> ErrorCounts:
    """Word errors; words are what white space parts.

    Raises:
        DataError: when the two differ in length.
    """
    return _count(references, hypotheses, str.split)


def score_characters(references: Sequence[str], hypotheses: Sequence[str]) -> ErrorCounts:
    """Character errors; the one space between two words is a character.

    Raises:
        DataError: when the two differ in length.
    """
    return _count(references, hypotheses, lambda text: " ".join(text.split()))


def wer(references: Sequence[str], hypotheses: Sequence[str]) -> float:
    """The word error rate of a corpus."""
    return score_words(references, hypotheses).rate


def cer(references: Sequence[str], hypotheses: Sequence[str]) -> float:
    """The character error rate of a corpus."""
    return score_characters(references, hypotheses).rate


def compare(
    first: ErrorCounts,
    second: ErrorCounts,
    confidence: float = 0.95,
    draws: int = 10_000,
    seed: int = 0,
) -> Difference | None:
    """Paired bootstrap over utterances (Bisani & Ney 2004) of two systems on the same references.

    None with fewer than two utterances.

    Raises:
        DataError: when the references differ in number or length.
    """
    if not np.array_equal(first._pairs[:, 1], second._pairs[:, 1]):
        raise DataError("only answers to the same references can be compared, in the same order")
    if len(first.rows) < 2:
        return None
    change = second._pairs[:, 0] - first._pairs[:, 0]
    drawn = _draws(np.stack([change, first._pairs[:, 1]], axis=1), draws, seed)
    changes = drawn[:, 0] / np.maximum(drawn[:, 1], 1)
    tail = (1 - confidence) / 2
    low, high = np.quantile(changes, [tail, 1 - tail])
    rarer = min((changes <= 0).sum(), (changes >= 0).sum())
    return Difference(
        change=second.rate - first.rate,
        interval=Interval(float(low), float(high)),
        p_value=min(1.0, 2 * (int(rarer) + 1) / (draws + 1)),
        better=int((change < 0).sum()),
        worse=int((change > 0).sum()),
    )


def align(reference: Sequence[str], hypothesis: Sequence[str]) -> list[Edit]:
    """The edits of one cheapest alignment (Levenshtein distance), hits included, in order.

    The sequences hold words, or are strings, to align characters.
    """
    edits: list[Edit] = []
    for step in Levenshtein.opcodes(reference, hypothesis):
        # One side of an insertion or deletion is empty: there None stands in for its words.
        pairs = zip_longest(
            reference[step.src_start : step.src_end], hypothesis[step.dest_start : step.dest_end]
        )
        edits += [Edit(_KINDS[step.tag], *pair) for pair in pairs]
    return edits


def right_words(references: Sequence[str], hypotheses: Sequence[str]) -> NDArray[np.bool_]:
    """Whether each word of the hypotheses, one after the other, is aligned with an equal one."""
    return np.array(
        [
            edit.kind == "hit"
            for reference, hypothesis in _pairs(references, hypotheses)
            for edit in align(reference.split(), hypothesis.split())
            if edit.hypothesis is not None
        ],
        np.bool_,
    )


def reliability(
    confidence: Sequence[float] | NDArray[np.float64],
    right: Sequence[bool] | NDArray[np.bool_],
    bins: int = 10,
) -> list[Bin]:
    """Confidences held against the truth, in bins of equal width; empty bins are left out.

    Args:
        confidence: of each word, 0 to 1.
        right: whether it was right.
        bins: how many.

    Raises:
        DataError: when the two differ in length.
    """
    sure, truth = np.asarray(confidence, np.float64), np.asarray(right, np.float64)
    if sure.shape != truth.shape:
        raise DataError(f"{len(sure)} confidences for {len(truth)} words")
    place = np.minimum((sure * bins).astype(np.int64), bins - 1)
    found = []
    for number in np.unique(place).tolist():
        inside = place == number
        means = float(sure[inside].mean()), float(truth[inside].mean())
        found.append(Bin(number / bins, (number + 1) / bins, int(inside.sum()), *means))
    return found


def calibration_error(bins: Sequence[Bin]) -> float:
    """Expected calibration error: how far confidence and truth lie apart, 0 to 1 (Naeini 2015)."""
    apart = sum(each.words * abs(each.confidence - each.right) for each in bins)
    return apart / max(sum(each.words for each in bins), 1)


def confusions(
    references: Sequence[str], hypotheses: Sequence[str], most: int = 50
) -> list[tuple[Edit, int]]:
    """The most frequent word errors of a corpus, each with its count, the commonest first."""
    counter: Counter[Edit] = Counter()
    for reference, hypothesis in _pairs(references, hypotheses):
        if reference != hypothesis:
            edits = align(reference.split(), hypothesis.split())
            counter.update(edit for edit in edits if edit.kind != "hit")
    return counter.most_common(most)


_KINDS: dict[str, Kind] = {
    "equal": "hit",
    "replace": "substitution",
    "delete": "deletion",
    "insert": "insertion",
}
_COLUMNS = {"replace": 1, "delete": 2, "insert": 3}


def _count(
    references: Sequence[str],
    hypotheses: Sequence[str],
    cut: Callable[[str], Sequence[str]],
) -> ErrorCounts:
    """Rows of an ErrorCounts. rapidfuzz compares words by their hashes: nothing to intern."""
    rows: list[list[int]] = []
    for reference, hypothesis in _pairs(references, hypotheses):
        units = cut(reference)
        row = [len(units), 0, 0, 0]
        rows.append(row)
        if reference != hypothesis:
            for edit in Levenshtein.editops(units, cut(hypothesis)):
                row[_COLUMNS[edit.tag]] += 1
            row[0] -= row[1] + row[2]
    return ErrorCounts(np.array(rows, np.int64).reshape(-1, 4))


def _draws(rows: NDArray[np.int64], draws: int, seed: int) -> NDArray[np.int64]:
    """The sums of N rows drawn from (N, K) with replacement, `draws` times: (draws, K)."""
    # Equal rows are interchangeable, so drawing N of N utterances is one multinomial draw over
    # the distinct rows, however large the corpus.
    distinct, times = np.unique(rows, axis=0, return_counts=True)
    rng = np.random.default_rng(seed)
    drawn = [
        rng.multinomial(len(rows), times / len(rows), size=min(DRAWN_AT_ONCE, draws - at))
        for at in range(0, draws, DRAWN_AT_ONCE)
    ]
    return np.concatenate([each @ distinct for each in drawn])


def _pairs(references: Sequence[str], hypotheses: Sequence[str]) -> Iterable[tuple[str, str]]:
    if len(references) != len(hypotheses):
        raise DataError(f"{len(references)} references, but {len(hypotheses)} hypotheses to score")
    return zip(references, hypotheses, strict=True)
