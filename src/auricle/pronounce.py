"""Letters -> phonemes: how words are spoken that no lexicon has.

A joint-sequence model (Bisani and Ney 2008, "Joint-sequence models for grapheme-to-phoneme
conversion"). A word and its pronunciation are cut together into graphones, one or two letters with
no, one or two phonemes: "phoenix" is ph}F oe}IY n}N i}IH x}K|S. Which cuts are likely is found by
expectation-maximisation over all of them; the best cut of every word then is a sentence of
graphones, and an n-gram model of these sentences knows what letters sound like among their
neighbours. To pronounce a word is to search the likeliest sentence that spells it.
"""

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from auricle.errors import DataError, ModelError
from auricle.lm import NgramModel, build

Ids = NDArray[np.int64]
Floats = NDArray[np.float64]
Progress = Callable[[int, int], None]  # how much is done, of how much
Pair = tuple[str, tuple[str, ...]]  # a word, and the phonemes of one of its pronunciations

SPLIT, JOIN = "}", "|"  # of a graphone's text: letters}PHONEME|PHONEME
SHAPES = ((1, 1), (1, 0), (1, 2), (2, 1))  # letters and phonemes of a graphone
TOGETHER = 2048  # words aligned or spoken at once
SCORE_PRUNE = 12.0  # natural logarithm below the best partial pronunciation of a word
SPECIAL = 3  # ids of the n-gram model that are no graphones
END_ID = 2


@dataclass(frozen=True, slots=True)
class Pronunciation:
    """One way to say a word."""

    phonemes: tuple[str, ...]
    probability: float  # among those that the search found, 0 to 1


@dataclass(frozen=True, eq=False)
class Pronouncer:
    """Grapheme-to-phoneme conversion by an n-gram model of graphones."""

    model: NgramModel

    @classmethod
    def learn(
        cls,
        lexicon: Iterable[Pair],
        *,
        order: int = 7,
        entropy: float = 0.0,
        iterations: int = 8,
        progress: Progress | None = None,
    ) -> Self:
        """Learn from words and their phonemes; a word with two pronunciations comes twice.

        Args:
            order: longest sequence of graphones that is remembered.
            entropy: pruning, as of `auricle.lm.build`.
            iterations: of expectation-maximisation.
            progress: hears of the iterations.

        Raises:
            DataError: when the lexicon has no word, or none that can be cut into graphones.
            ConfigError: for an order out of range.
        """
        pairs = [(w, p) for w, p in lexicon if w and p and not {SPLIT, JOIN} & {*w, *"".join(p)}]
        if not pairs:
            raise DataError("no pronunciation to learn from: lines are WORD P1 P2 ...")
        aligner = _Aligner.of(pairs)
        for done in range(iterations):
            aligner.improve()
            if progress:
                progress(done + 1, iterations)
        sentences = (" ".join(cut) for cut in aligner.cuts())
        return cls(build(sentences, order, entropy=entropy).halved())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read what `save` wrote.

        Raises:
            ModelError: for anything else.
        """
        model = NgramModel.load(path)
        if not is_pronouncer(model):
            raise ModelError(f"{path}: a language model, but not one of pronunciations")
        return cls(model)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model, whole or not at all."""
        self.model.save(path)

    @cached_property
    def letters(self) -> frozenset[str]:
        """The letters that words may have."""
        return frozenset("".join(self._graphones))

    @cached_property
    def phonemes(self) -> tuple[str, ...]:
        """All phonemes, sorted."""
        return tuple(sorted({p for spoken in self._spoken[SPECIAL:] for p in spoken}))

    def __call__(self, word: str, variants: int = 1) -> list[Pronunciation]:
        """The likeliest pronunciations of a word, best first.

        Raises:
            DataError: for a word with letters that no word had from which was learned.
        """
        return next(self.speak([word], variants))

    def speak(
        self,
        words: Sequence[str],
        variants: int = 1,
        *,
        beam: int = 16,
        progress: Progress | None = None,
    ) -> Iterator[list[Pronunciation]]:
        """The likeliest pronunciations of each word, best first; none where nothing fits.

        Args:
            words: in letters that the model knows.
            variants: pronunciations per word, at most.
            beam: partial pronunciations kept after each letter.
            progress: hears of the words spoken.

        Raises:
            DataError: as calling it.
        """
        for word in words:
            if unknown := set(word) - self.letters:
                raise DataError(
                    f"{word!r}: no pronunciation for {', '.join(map(repr, sorted(unknown)))}; "
                    f"known are {''.join(sorted(self.letters))}"
                )
        for at in range(0, len(words), TOGETHER):
            batch = words[at : at + TOGETHER]
            yield from (found[:variants] for found in self._search(batch, max(beam, 4 * variants)))
            if progress:
                progress(at + len(batch), len(words))

    @cached_property
    def _spoken(self) -> list[tuple[str, ...]]:
        """Phonemes of each id of the model."""
        texts = [symbol.partition(SPLIT)[2] for symbol in self.model.symbols]
        return [tuple(text.split(JOIN)) if text else () for text in texts]

    @cached_property
    def _graphones(self) -> Mapping[str, Ids]:
        """Ids of the model by the letters they spell."""
        found: dict[str, list[int]] = defaultdict(list)
        for id_, symbol in enumerate(self.model.symbols[SPECIAL:], SPECIAL):
            found[symbol.partition(SPLIT)[0]].append(id_)
        return {letters: np.array(ids) for letters, ids in found.items()}

    def _search(self, words: Sequence[str], beam: int) -> Iterator[list[Pronunciation]]:
        """Beam search over all words at once, letter by letter."""
        rows = _Rows.start(len(words), self.model.start)
        waiting: dict[int, list[_Rows]] = {0: [rows]}
        finals: list[_Rows] = []
        for place in range(max(map(len, words), default=0) + 1):
            arrived = waiting.pop(place, [])
            if not arrived:
                continue
            rows = _Rows.joined(arrived).best(beam)
            done = np.array([len(words[w]) == place for w in rows.word.tolist()], np.bool_)
            finals.append(rows.only(done))
            for length in (1, 2):
                grown = self._grow(rows.only(~done), words, place, length)
                waiting.setdefault(place + length, []).append(grown)
        return self._readings(_Rows.joined(finals), len(words))

    def _grow(self, rows: "_Rows", words: Sequence[str], place: int, length: int) -> "_Rows":
        """Each row with each graphone of the next `length` letters."""
        nothing = np.zeros(0, np.int64)
        options = [
            self._graphones.get(words[w][place : place + length], nothing)
            if place + length <= len(words[w])
            else nothing
            for w in rows.word.tolist()
        ]
        source = np.repeat(np.arange(len(options)), [len(each) for each in options])
        graphones = np.concatenate([nothing, *options])
        log_probs, states = self.model.advance(rows.state[source], graphones)
        scores = rows.score[source] + log_probs
        best = np.full(len(words), -np.inf)
        np.maximum.at(best, rows.word[source], scores)
        kept = np.flatnonzero(scores >= best[rows.word[source]] - SCORE_PRUNE)
        source = source[kept]
        said = [
            rows.said[row] + self._spoken[graphone]
            for row, graphone in zip(source.tolist(), graphones[kept].tolist(), strict=True)
        ]
        return _Rows(rows.word[source], states[kept], scores[kept], said)

    def _readings(self, rows: "_Rows", count: int) -> Iterator[list[Pronunciation]]:
        """The pronunciations of each word; cuts that sound the same are one."""
        ends, _ = self.model.advance(rows.state, np.full(len(rows.word), END_ID))
        mass: list[dict[tuple[str, ...], float]] = [{} for _ in range(count)]
        scores = (rows.score + ends).tolist()
        for word, said, score in zip(rows.word.tolist(), rows.said, scores, strict=True):
            if said:
                before = mass[word].get(said, -np.inf)
                mass[word][said] = float(np.logaddexp(before, score))
        for spoken in mass:
            total = float(np.logaddexp.reduce(list(spoken.values()) or [0.0]))
            best = sorted(spoken.items(), key=lambda item: (-item[1], item[0]))
            yield [Pronunciation(said, float(np.exp(score - total))) for said, score in best]


def is_pronouncer(model: NgramModel) -> bool:
    """Whether a language model is one of graphones, not of words."""
    return all(symbol.count(SPLIT) == 1 for symbol in model.symbols[SPECIAL:])


class Alike:
    """Words spoken like those of a lexicon: its rules are learned once, when first needed.

    Learning from 64,000 words takes 4 s; 20 % of further words of that lexicon came out otherwise
    than it has them.
    """

    def __init__(self, lexicon: Iterable[Pair]) -> None:
        self._lexicon = tuple(lexicon)

    @cached_property
    def pronouncer(self) -> Pronouncer:
        """What was learned of the lexicon."""
        return Pronouncer.learn(self._lexicon, order=6, iterations=5)

    def speak(self, words: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """The likeliest pronunciation of each word; those with foreign letters are left out."""
        known = {letter for word, _ in self._lexicon for letter in word}
        words = [word for word in words if word and not set(word) - known]
        if not words:
            return {}
        words = [word for word in words if not set(word) - self.pronouncer.letters]
        found = zip(words, self.pronouncer.speak(words), strict=True)
        return {word: said[0].phonemes for word, said in found if said and said[0].phonemes}


@dataclass(frozen=True, eq=False)
class _Rows:
    """Partial pronunciations, R of them, of many words."""

    word: Ids  # (R,) which word
    state: Ids  # (R,) of the n-gram model
    score: Floats  # (R,) log probability so far
    said: list[tuple[str, ...]]  # R, the phonemes so far

    @classmethod
    def start(cls, words: int, state: int) -> Self:
        return cls(np.arange(words), np.full(words, state), np.zeros(words), [()] * words)

    @classmethod
    def joined(cls, parts: Sequence["_Rows"]) -> Self:
        return cls(
            np.concatenate([part.word for part in parts]),
            np.concatenate([part.state for part in parts]),
            np.concatenate([part.score for part in parts]),
            [said for part in parts for said in part.said],
        )

    def only(self, wanted: NDArray[Any]) -> "_Rows":
        """The rows at these places, or where this mask is true."""
        places = np.flatnonzero(wanted) if wanted.dtype == np.bool_ else wanted
        said = [self.said[place] for place in places.tolist()]
        return _Rows(self.word[places], self.state[places], self.score[places], said)

    def best(self, beam: int) -> "_Rows":
        """The best `beam` rows of each word; of those with the same future and past, one."""
        order = np.lexsort((-self.score, self.word))
        seen: set[tuple[int, int, tuple[str, ...]]] = set()
        kept, counts = [], np.zeros(int(self.word.max(initial=-1)) + 1, np.int64)
        for place in order.tolist():
            word = int(self.word[place])
            key = (word, int(self.state[place]), self.said[place])
            if counts[word] < beam and key not in seen:
                seen.add(key)
                counts[word] += 1
                kept.append(place)
        return self.only(np.array(kept, np.int64))


@dataclass(eq=False)
class _Aligner:
    """Expectation-maximisation over all cuts of words and pronunciations into graphones.

    One table per shape of graphone; together they are one distribution.
    """

    alphabet: tuple[str, ...]
    phonemes: tuple[str, ...]
    batches: list["_Batch"]
    tables: list[Floats]  # by shape: (letters * phonemes,) probabilities

    @classmethod
    def of(cls, pairs: Sequence[Pair]) -> Self:
        alphabet = tuple(sorted({letter for word, _ in pairs for letter in word}))
        phonemes = tuple(sorted({phoneme for _, said in pairs for phoneme in said}))
        usable = sorted(pairs, key=lambda pair: (len(pair[0]), len(pair[1])))
        letters = {letter: number for number, letter in enumerate(alphabet)}
        sounds = {phoneme: number for number, phoneme in enumerate(phonemes)}
        batches = [
            _Batch.of(usable[at : at + TOGETHER], letters, sounds)
            for at in range(0, len(usable), TOGETHER)
        ]
        sizes = [len(alphabet) ** a * len(phonemes) ** b for a, b in SHAPES]
        # Uneven sizes of the tables would favour the longer graphones at the start.
        tables = [np.full(size, 1.0 / size / len(SHAPES)) for size in sizes]
        return cls(alphabet, phonemes, batches, tables)

    def improve(self) -> None:
        """One iteration."""
        counts = [np.zeros_like(table) for table in self.tables]
        for batch in self.batches:
            batch.expect(self.tables, counts)
        total = sum(float(count.sum()) for count in counts)
        if not total:
            raise DataError(
                "no pronunciation to learn from: a letter or two is spoken as at most two phonemes"
            )
        self.tables = [count / total for count in counts]

    def cuts(self) -> Iterator[list[str]]:
        """The best cut of every word, as texts of graphones; empty where there is none."""
        for batch in self.batches:
            for word, said, shapes in batch.best(self.tables):
                cut, i, j = [], 0, 0
                for a, b in shapes:
                    cut.append(f"{word[i : i + a]}{SPLIT}{JOIN.join(said[j : j + b])}")
                    i, j = i + a, j + b
                yield cut


@dataclass(frozen=True, eq=False)
class _Batch:
    """N words, padded, and how they are spoken; lattices of places (letters, phonemes) passed."""

    pairs: Sequence[Pair]
    lengths: Ids  # (2, N) letters, phonemes
    left: tuple[Ids, Ids, Ids]  # (N, letters) codes of 0, 1 and 2 letters from each place on
    right: tuple[Ids, Ids, Ids]  # (N, phonemes)
    sounds: int  # how many phonemes there are

    @classmethod
    def of(
        cls, pairs: Sequence[Pair], letters: Mapping[str, int], sounds: Mapping[str, int]
    ) -> Self:
        left = _padded([[letters[letter] for letter in word] for word, _ in pairs])
        right = _padded([[sounds[phoneme] for phoneme in said] for _, said in pairs])
        lengths = np.array([[len(word), len(said)] for word, said in pairs]).T
        return cls(
            pairs, lengths, _codes(left, len(letters)), _codes(right, len(sounds)), len(sounds)
        )

    @property
    def ends(self) -> tuple[int, int]:
        """Most letters, most phonemes."""
        return int(self.lengths[0].max()), int(self.lengths[1].max())

    def _index(self, shape: tuple[int, int], i: int, j: int) -> Ids:
        """(N,) where graphones of this shape from place (i, j) on stand in their table."""
        a, b = shape
        left = self.left[a][:, i]
        return left * self.sounds**b + self.right[b][:, j] if b else left

    def expect(self, tables: Sequence[Floats], counts: Sequence[Floats]) -> None:
        """Add the expected counts of graphones under `tables` (forward-backward)."""
        forward = self._forward(tables)
        rows = np.arange(len(self.pairs))
        total = forward[self.lengths[0], self.lengths[1], rows]
        back = np.zeros_like(forward)
        back[self.lengths[0], self.lengths[1], rows] = np.divide(
            1.0, total, out=np.zeros_like(total), where=total > 0
        )
        for i, j in reversed(list(np.ndindex(*forward.shape[:2]))):
            for number, (a, b) in enumerate(SHAPES):
                if i + a < forward.shape[0] and j + b < forward.shape[1]:
                    index = self._index((a, b), i, j)
                    step = tables[number][index] * back[i + a, j + b]
                    np.add.at(counts[number], index, step * forward[i, j])
                    back[i, j] += step

    def best(
        self, tables: Sequence[Floats]
    ) -> Iterator[tuple[str, tuple[str, ...], list[tuple[int, int]]]]:
        """Each word, its phonemes, and the shapes of its likeliest cut."""
        score = np.zeros((*[end + 1 for end in self.ends], len(self.pairs)))
        score[0, 0] = 1.0
        choice = np.zeros(score.shape, np.int8)
        for i, j in np.ndindex(*score.shape[:2]):
            for number, (a, b) in enumerate(SHAPES):
                if i >= a and j >= b:
                    index = self._index((a, b), i - a, j - b)
                    value = tables[number][index] * score[i - a, j - b]
                    better = value > score[i, j]
                    score[i, j][better] = value[better]
                    choice[i, j][better] = number
        for row, (word, said) in enumerate(self.pairs):
            i, j, shapes = len(word), len(said), list[tuple[int, int]]()
            while (i, j) != (0, 0) and score[len(word), len(said), row] > 0:
                shapes.append(SHAPES[choice[i, j, row]])
                i, j = i - shapes[-1][0], j - shapes[-1][1]
            yield word, said, shapes[::-1]

    def _forward(self, tables: Sequence[Floats]) -> Floats:
        """(letters + 1, phonemes + 1, N) the probability of all ways to each place."""
        forward = np.zeros((*[end + 1 for end in self.ends], len(self.pairs)))
        forward[0, 0] = 1.0
        for i, j in np.ndindex(*forward.shape[:2]):
            for number, (a, b) in enumerate(SHAPES):
                if i >= a and j >= b:
                    index = self._index((a, b), i - a, j - b)
                    forward[i, j] += tables[number][index] * forward[i - a, j - b]
        return forward


def _padded(rows: Sequence[Sequence[int]]) -> Ids:
    """(N, longest) rows of unequal length, zeros after each one's end."""
    padded = np.zeros((len(rows), max(map(len, rows))), np.int64)
    for place, row in zip(padded, rows, strict=True):
        place[: len(row)] = row
    return padded


def _codes(numbers: Ids, size: int) -> tuple[Ids, Ids, Ids]:
    """Of none, one and two of these numbers from each place on; what follows the last is unused."""
    return np.zeros_like(numbers), numbers, numbers * size + np.roll(numbers, -1, axis=1)
