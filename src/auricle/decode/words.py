"""Tokens -> words with times and confidence -> a transcript; every decoder ends here."""

import math
from collections.abc import Iterable, Iterator, Sequence

from auricle.decode.greedy import Token
from auricle.results import Segment, Transcript, Word
from auricle.text import Tokenizer


def spell(
    tokens: Iterable[Token],
    tokenizer: Tokenizer,
    seconds_per_frame: float,
    start_s: float = 0.0,
    end_s: float = math.inf,
) -> list[Word]:
    """The words that tokens spell.

    A word lasts from its first token's first frame to its last token's last one; its confidence is
    the geometric mean of its tokens' probabilities.

    Args:
        tokens: in order, without blanks.
        seconds_per_frame: of the model's output: hop x stride.
        start_s: where frame 0 lies in the recording.
        end_s: where the recording ends; the last frame may reach beyond it, no word does.
    """
    return [
        Word(
            text=text,
            start_s=start_s + word[0].start_frame * seconds_per_frame,
            end_s=min(start_s + word[-1].end_frame * seconds_per_frame, end_s),
            confidence=math.exp(min(0.0, sum(token.log_prob for token in word) / len(word))),
        )
        for word in _words(tokens, tokenizer)
        if (text := tokenizer.decode(token.id for token in word))
    ]


def assemble(
    words: Iterable[Word],
    duration_s: float,
    language: str | None = None,
    *,
    pause_s: float = 1.0,
    longest_s: float = 15.0,
) -> Transcript:
    """A recording's transcript, its segments cut at pauses and before they pass `longest_s`."""
    segments = map(Segment.of, _stretches(words, pause_s, longest_s))
    return Transcript.of(segments, duration_s, language)


def _words(tokens: Iterable[Token], tokenizer: Tokenizer) -> Iterator[Sequence[Token]]:
    """Tokens, cut at separators and before tokens that begin a word."""
    word: list[Token] = []
    for token in tokens:
        if word and (token.id == tokenizer.separator or token.id in tokenizer.word_starts):
            yield word
            word = []
        if token.id != tokenizer.separator:
            word.append(token)
    if word:
        yield word


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
