"""Tokens -> words with times and confidence -> a transcript; every decoder ends here."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from auricle.decode.greedy import Token
from auricle.results import Alternative, Segment, Transcript, Word
from auricle.text import Tokenizer


@dataclass(frozen=True, slots=True)
class Spelt:
    """A word and the tokens that spell it: at least one, no separator."""

    text: str
    tokens: tuple[Token, ...]

    @property
    def log_prob(self) -> float:
        """The mean of its tokens' log probabilities."""
        return sum(token.log_prob for token in self.tokens) / len(self.tokens)

    def timed(
        self, seconds_per_frame: float, start_s: float = 0.0, end_s: float = math.inf
    ) -> Word:
        """The word from its first token's first frame to its last token's last one.

        As sure as the geometric mean of its tokens' probabilities. The arguments are those of
        `spell`.
        """
        return Word(
            text=self.text,
            start_s=start_s + self.tokens[0].start_frame * seconds_per_frame,
            end_s=min(start_s + self.tokens[-1].end_frame * seconds_per_frame, end_s),
            confidence=math.exp(min(0.0, self.log_prob)),
        )


def spell(
    tokens: Iterable[Token],
    tokenizer: Tokenizer,
    seconds_per_frame: float,
    start_s: float = 0.0,
    end_s: float = math.inf,
) -> list[Word]:
    """The words that tokens spell, timed.

    Args:
        tokens: in order, without blanks.
        seconds_per_frame: of the model's output: hop x stride.
        start_s: where frame 0 lies in the recording.
        end_s: where the recording ends; the last frame may reach beyond it, no word does.
    """
    return [word.timed(seconds_per_frame, start_s, end_s) for word in spelt(tokens, tokenizer)]


def spelt(tokens: Iterable[Token], tokenizer: Tokenizer) -> list[Spelt]:
    """The words that tokens, in order and without blanks, spell."""
    words = (Spelt(tokenizer.decode(t.id for t in word), word) for word in _cut(tokens, tokenizer))
    return [word for word in words if word.text]


def assemble(
    words: Iterable[Word],
    duration_s: float,
    language: str | None = None,
    alternatives: Iterable[Alternative] = (),
    *,
    pause_s: float = 1.0,
    longest_s: float = 15.0,
) -> Transcript:
    """A recording's transcript, its segments cut at pauses and before they pass `longest_s`."""
    segments = map(Segment.of, _stretches(words, pause_s, longest_s))
    return Transcript.of(segments, duration_s, language, alternatives)


def _cut(tokens: Iterable[Token], tokenizer: Tokenizer) -> Iterator[tuple[Token, ...]]:
    """Tokens, cut at separators and before tokens that begin a word."""
    word: list[Token] = []
    for token in tokens:
        if word and (token.id == tokenizer.separator or token.id in tokenizer.word_starts):
            yield tuple(word)
            word = []
        if token.id != tokenizer.separator:
            word.append(token)
    if word:
        yield tuple(word)


def _stretches(words: Iterable[Word], pause_s: float, longest_s: float) -> Iterator[Sequence[Word]]:
    stretch: list[Word] = []
    for word in words:
        if stretch and (
            word.start_s - stretch[-1].end_s > pause_s
            or word.end_s - stretch[0].start_s > longest_s
        ):
            yield stretch
            stretch = []
        stretch.append(word)
    if stretch:
        yield stretch
