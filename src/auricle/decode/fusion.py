"""What words are worth: vocabulary, language model, word bonus and hotwords in one set of tables.

A word that is complete is worth, in natural logarithms,

    alpha * log p(word | the words before it) + beta + bonus(word) + weight(pronunciation).

and a phrase among the hotwords its bonus for each of its words, if all of them come (`hotwords`).
An unknown word, one outside the vocabulary, has the bonus `unknown + unknown_letter * letters`: it
must be spelt, else one endless unknown word would be cheaper than many doubtful ones.

While letters are still being heard, a word is worth what the best word that may come of them would
be without context (its unigram): the look-ahead of Ortmanns et al. 1996. It only steers the search;
when the word ends, its true value takes that place.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from auricle.decode.hotwords import NOTHING, Phrases, split_hotwords
from auricle.decode.lexicon import NO_LETTER, ROOT, Ints, Lexicon, Spelling, Trie
from auricle.errors import ConfigError
from auricle.text import Tokenizer

State = TypeVar("State", int, NDArray[np.int64])  # of the language model and of phrases

UNKNOWN = 0  # the id of <unk> in a language model, and the entry of words that no entry spells
SPECIAL = 3  # ids of a language model that are no words: <unk>, <s>, </s>
END = 2  # the id of </s>


class LanguageModel(Protocol):
    """An n-gram language model over words, as `auricle.lm` has it."""

    @property
    def symbols(self) -> tuple[str, ...]:
        """Words by id; <unk>, <s> and </s> come first."""

    @property
    def start(self) -> int:
        """The state at the beginning of a sentence."""

    @property
    def empty(self) -> int:
        """The state without history."""

    def word_ids(self, words: Sequence[str], /) -> NDArray[np.int64]:
        """(N,); unknown words are 0."""

    def advance(
        self, states: NDArray[np.int64], words: NDArray[np.int64], /
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """(N,), (N,) -> natural logarithms of the words' probabilities, and the next states."""


@dataclass(frozen=True)
class Worth:
    """The weights of `Fusion`: what `BeamSettings` say of words."""

    alpha: float
    beta: float
    unknown: float  # added for a word outside the vocabulary
    unknown_letter: float  # and for each of its letters
    hotword: float  # added for a hotword
    look_ahead: bool


class Fusion:
    """The value of every word that a prefix of symbols may spell.

    Attributes:
        trie: of the words' letters.
        letters: (V, L) letters of each symbol.
        closes: (V,) whether a symbol ends the word before it.
        entries: (sink + 1,) the first of the words that end at each node, else `UNKNOWN`.
        variants: (sink + 1,) how many words end at it: more than one when they sound alike.
        words: texts by entry.
        ahead: (sink + 1,) the look-ahead.
        hope: (sink + 1,) what no look-ahead exceeds at or below each node.
        most: what no word's value exceeds, and the look-ahead of the next.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        worth: Worth,
        lm: LanguageModel | None,
        lexicon: Lexicon | None,
        hotwords: Sequence[str],
    ) -> None:
        if getattr(lm, "unit", "word") != "word":
            raise ConfigError("beam search needs a language model over words, not characters")
        spelling = Spelling.of(tokenizer)
        self.lm, self.worth = lm, worth
        self.letters, self.closes = spelling.table, spelling.closes
        hot = split_hotwords(hotwords)
        entries, strange = _vocabulary(spelling, lm, lexicon, hot)
        spellings = [letters for _, letters, _ in entries]
        self.trie = Trie(spellings, len(spelling.numbers) + 1)
        order = np.argsort(self.trie.ends, kind="stable")  # words that sound alike stand together
        ends = self.trie.ends[order]
        self.words = ("", *(entries[index][0] for index in order))
        self._weights = np.array([0.0, *(entries[index][2] for index in order)])
        self.entries = np.zeros(self.trie.sink + 1, np.int64)
        self.entries[ends[::-1]] = np.arange(len(ends), 0, -1)
        self.variants = np.maximum(1, np.bincount(ends, minlength=self.trie.sink + 1))
        self.sounds_alike = bool((self.variants > 1).any())
        self.ids = lm.word_ids(self.words) if lm else np.zeros(len(self.words), np.int64)
        # A name that no vocabulary has can only be heard with a bonus of its own, even in a phrase.
        chosen = {hotword.strip() for hotword in hotwords} | strange
        self._hot = [entry for entry, word in enumerate(self.words) if word in chosen]
        self._phrases, self._numbers = Phrases.of(hotwords, self.words, worth.hotword, strange)
        limited = lm is not None or lexicon is not None
        self.bonus = self._bonuses(lexicon, limited=limited)
        self._letter = worth.unknown_letter if limited else 0.0
        self._length = (self.letters != NO_LETTER).sum(axis=1)
        best = (worth.beta if lm else 0.0) + float(self.bonus.max())
        self.ahead = self._look_ahead(order)
        lost = self.ahead[self.trie.sink]
        self.hope = np.append(np.maximum(self.trie.best_below(self.ahead[:-1]), lost), lost)
        self.most = max(0.0, best + self._phrases.most) + float(self.hope[ROOT])

    @property
    def start(self) -> int:
        """The state before the first word: of the language model, and the place in a phrase."""
        return self._joined(self.lm.start if self.lm else 0, NOTHING)

    def close(
        self, states: NDArray[np.int64], nodes: Ints, variants: Ints
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """The value of the words at `nodes` after `states`, (M,), and the states that follow."""
        entries = self.entries[nodes] + variants
        states, places = self._parted(states)
        values, states = self._value(states, entries)
        gains, places = self._phrases.advance(places, self._numbers[entries])
        letters = np.where(entries == UNKNOWN, self.trie.depths[nodes], 0)
        return values + gains + self._letter * letters, self._joined(states, places)

    def lose(self, nodes: Ints, symbols: Ints) -> NDArray[np.float64]:
        """What letters cost, (M,), that make an unknown word of what was heard of it until then."""
        depths = np.where(self.closes[symbols], 0, self.trie.depths[nodes])
        cost: NDArray[np.float64] = self._letter * (depths + self._length[symbols])
        return cost

    def end(self, states: NDArray[np.int64]) -> NDArray[np.float64]:
        """The value of ending the sentence after `states`, (M,)."""
        if self.lm is None:
            return np.zeros(len(states))
        states, _ = self._parted(states)
        log_probs, _ = self.lm.advance(states, np.full(len(states), END, np.int64))
        return self.worth.alpha * log_probs.astype(np.float64)

    def follow(self, nodes: Ints, symbols: Ints) -> Ints:
        """The node after each symbol, (M,), of the same word."""
        for letters in self.letters.T:
            nodes = self.trie.child(nodes, letters[symbols])
        return nodes

    def _joined(self, state: State, place: State) -> State:
        """One number for the state of the language model and the place in a phrase."""
        return state * self._phrases.places + place

    def _parted(self, states: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return states // self._phrases.places, states % self._phrases.places

    def _value(
        self, states: NDArray[np.int64], entries: Ints
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        if self.lm is None:
            return self.bonus[entries], states
        log_probs, following = self.lm.advance(states, self.ids[entries])
        values = self.worth.alpha * log_probs.astype(np.float64) + self.worth.beta
        return values + self.bonus[entries], following

    def _bonuses(self, lexicon: Lexicon | None, *, limited: bool) -> NDArray[np.float64]:
        bonus = self._weights.copy()
        if self.lm:
            bonus[self.ids == UNKNOWN] += self.worth.unknown
        closed = lexicon is not None and lexicon.closed
        bonus[UNKNOWN] = -np.inf if closed else self.worth.unknown if limited else 0.0
        bonus[self._hot] = self.worth.hotword  # however it is said
        if self.lm and self._hot:
            strange = [entry for entry in self._hot if self.ids[entry] == UNKNOWN]
            bonus[strange] += self.worth.alpha * self._rarity(self.lm)
        return bonus

    def _rarity(self, lm: LanguageModel) -> float:
        """What the rarest word is less likely than <unk>, which stands for many words at once.

        By that a hotword is taken to be rarer that the model does not know: else it would be
        likelier than one that it does.
        """
        ids = np.arange(len(lm.symbols))
        log_probs, _ = lm.advance(np.full(len(ids), lm.empty, np.int64), ids)
        return min(0.0, float(log_probs[SPECIAL:].min(initial=0.0) - log_probs[UNKNOWN]))

    def _look_ahead(self, order: Ints) -> NDArray[np.float64]:
        """Of each node, hotwords counted by the share of their letters that was heard."""
        ahead: NDArray[np.float64] = np.zeros(self.trie.sink + 1)
        entries = np.arange(len(self.words))
        empty = np.full(len(entries), self.lm.empty if self.lm else 0, np.int64)
        values, _ = self._value(empty, entries)
        ahead[self.trie.sink] = values[UNKNOWN]
        cold = values.copy()
        cold[self._hot] -= self.worth.hotword
        by_spelling = np.empty(len(order))
        by_spelling[order] = cold[1:]
        ahead[: self.trie.sink] = self.trie.best_word_below(by_spelling)
        ahead = np.maximum(ahead, values[UNKNOWN] + self._letter * self.trie.depths)
        for entry in self._hot:
            path = self._path(int(self.trie.ends[order[entry - 1]]))
            shares = self.worth.hotword * np.arange(1, len(path) + 1) / len(path)
            ahead[path] = np.maximum(ahead[path], cold[entry] + shares)
        if not self.worth.look_ahead:  # but what cannot become a word stays impossible
            ahead[np.isfinite(ahead)] = 0.0
        ahead[ROOT] = 0.0
        return ahead

    def _path(self, node: int) -> list[int]:
        """The nodes from below the root to `node`."""
        path = [node]
        while (parent := int(self.trie.parents[path[-1]])) != ROOT:
            path.append(parent)
        return path[::-1]


def _vocabulary(
    spelling: Spelling, lm: LanguageModel | None, lexicon: Lexicon | None, hot: Sequence[str]
) -> tuple[list[tuple[str, tuple[int, ...], float]], set[str]]:
    """Words, numbers of their letters and weights, but for what the symbols cannot spell.

    Also the hotwords that are strange: neither the lexicon nor the language model has them.
    """
    if lexicon is None:
        sounds: list[tuple[str, Sequence[str], float]] = (
            [(word, word, 0.0) for word in lm.symbols[SPECIAL:]] if lm else []
        )
    else:
        weights = lexicon.weights or (0.0,) * len(lexicon.words)
        sounds = list(zip(lexicon.words, lexicon.sounds, weights, strict=True))
    known = {word for word, _, _ in sounds}
    sounds += [(word, word, 0.0) for word in hot if word not in known]
    limits = known.intersection(lm.symbols) if lm else known
    strange = {word for word in hot if limits and word not in limits}
    spelt = [(word, spelling.spell(letters), weight) for word, letters, weight in sounds]
    if missing := [word for word, letters, _ in spelt if letters is None and word in set(hot)]:
        raise ConfigError(
            f"hotwords that nobody can say with this model: {', '.join(missing[:5])}: write them as"
            " transcripts are written, in its letters"
        )
    if lexicon is not None and not any(letters for _, letters, _ in spelt):
        raise ConfigError("no word of the lexicon can be spelt with the model's symbols")
    return [(word, letters, weight) for word, letters, weight in spelt if letters], strange
