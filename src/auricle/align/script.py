"""A text made ready for its alignment: words as they are written, and the symbols that say them."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from auricle.decode.lexicon import Lexicon
from auricle.errors import DataError
from auricle.text import Tokenizer, normalise

MOST_WAYS = 64  # to say one written word: "2,000" is two spoken ones, each with its pronunciations

Way = tuple[int, ...]


@dataclass(frozen=True)
class Script:
    """The words of a text; what stands between spaces is one, however many words say it."""

    words: tuple[str, ...]
    """As they are written, with their punctuation."""
    ways: tuple[tuple[Way, ...], ...]
    """The symbols of every way to say each word."""
    lines: tuple[int, ...]
    """The line of the text that each word stands in, from 0."""
    separator: int | None

    @classmethod
    def of(
        cls,
        text: str,
        tokenizer: Tokenizer,
        normaliser: str = "none",
        lexicon: Lexicon | None = None,
    ) -> Self:
        """Prepare a text, of any number of lines.

        What cannot be said, such as a dash between spaces, is written with the word before it.

        Args:
            tokenizer: of the log probabilities.
            normaliser: from how the text is written to how the tokenizer spells.
            lexicon: how words sound, all their pronunciations; without one the tokenizer knows.

        Raises:
            DataError: for letters that have no symbol, words without a pronunciation, or a text
                of which nothing can be said.
        """
        sounds = _Sounds(tokenizer, lexicon)
        words: list[str] = []
        ways: list[tuple[Way, ...]] = []
        lines: list[int] = []
        unsaid = ""  # before the first word
        for number, line in enumerate(text.splitlines()):
            for written in line.split():
                spoken = normalise(written, normaliser)
                said = tuple(sounds.of(spoken))
                if said:
                    words.append(f"{unsaid} {written}" if unsaid else written)
                    ways.append(said)
                    lines.append(number)
                    unsaid = ""
                elif words:
                    words[-1] += f" {written}"
                else:
                    unsaid = f"{unsaid} {written}".strip()
        sounds.check()
        if not words:
            raise DataError("the text has no words to align")
        return cls(tuple(words), tuple(ways), tuple(lines), tokenizer.separator)


class _Sounds:
    """From spoken words to symbols; what has none is collected, to be named all at once."""

    def __init__(self, tokenizer: Tokenizer, lexicon: Lexicon | None) -> None:
        self._tokenizer = tokenizer
        self._unknown: dict[str, None] = {}
        self._pronunciations: dict[str, list[Way]] = {}
        ids = {symbol: id_ for id_, symbol in enumerate(tokenizer.symbols) if id_}
        for word, sounds in zip(lexicon.words, lexicon.sounds, strict=True) if lexicon else ():
            if ids.keys() >= set(sounds):
                way = tuple(ids[sound] for sound in sounds)
                self._pronunciations.setdefault(word, []).append(way)

    def of(self, spoken: str) -> Iterator[Way]:
        """Every way to say the words of `spoken`; none for what cannot be said."""
        each = [ways for word in spoken.split() if (ways := self._ways(word))]
        separator = self._tokenizer.separator
        between = () if separator is None else (separator,)
        for said in itertools.islice(itertools.product(*each), MOST_WAYS) if each else ():
            yield tuple(id_ for way in said for id_ in (*between, *way))[len(between) :]

    def _ways(self, word: str) -> list[Way]:
        unknown = self._tokenizer.unknown(word)
        own = () if unknown else tuple(self._tokenizer.encode(word))
        ways = dict.fromkeys([*([own] if own else []), *self._pronunciations.get(word, [])])
        if not ways:
            self._unknown |= dict.fromkeys(sorted(unknown))
        return list(ways)

    def check(self) -> None:
        if self._unknown:
            named = ", ".join(map(repr, list(self._unknown)[:10]))
            more = f" and {len(self._unknown) - 10} more" if len(self._unknown) > 10 else ""
            raise DataError(
                f"the model has no symbols for {named}{more}: write them as they are said, in the"
                " letters that it knows, or take a model that knows them"
            )
