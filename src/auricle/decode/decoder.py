"""What the runtime asks of a decoder: log probabilities in, readings of words with times out.

`GreedyWords` takes the best symbol of every frame; `BeamWords` searches with a language model, a
vocabulary and hotwords. `build_decoder` makes the one that settings ask for.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from auricle.decode.beam import BeamDecoder, Hypothesis, Stream
from auricle.decode.confidence import Calibration, word_features
from auricle.decode.fusion import LanguageModel
from auricle.decode.greedy import Token, ctc_greedy
from auricle.decode.lexicon import Lexicon
from auricle.decode.settings import BeamSettings, DecodeSettings
from auricle.decode.words import Spelt, spelt
from auricle.errors import ConfigError
from auricle.results import Word
from auricle.text import Tokenizer

LogProbs = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class Heard:
    """One way to hear an utterance, before it is timed and weighed."""

    words: tuple[Spelt, ...]
    acoustic: float  # log probability of its tokens
    share: float  # of the probability of all ways that the decoder kept


@dataclass(frozen=True, slots=True)
class Reading:
    """One way to hear an utterance: its words, and its share of all ways, 0 to 1."""

    words: tuple[Word, ...]
    share: float

    @property
    def text(self) -> str:
        return " ".join(word.text for word in self.words)


class Listening(Protocol):
    """An utterance that arrives in chunks, as far as it was heard; never changes."""

    def step(self, log_probs: LogProbs) -> "Listening":
        """After one more chunk, (T, V)."""

    def readings(self) -> list[Reading]:
        """What `decode_many` would give for all that was heard."""


class Decoder(Protocol):
    """From log probabilities to words. Safe to use from several threads."""

    def heard(self, log_probs: Iterable[LogProbs]) -> list[list[Heard]]:
        """The ways to hear each utterance, (T, V), best first: at least one."""

    def decode_many(self, log_probs: Iterable[LogProbs]) -> list[list[Reading]]:
        """The same, timed and weighed."""

    def start(self) -> Listening:
        """Before the first chunk of an utterance."""


@dataclass(frozen=True)
class Scribe:
    """Times words, and says how sure they are: by `calibration`, else by their sound alone."""

    frame_s: float
    lm: LanguageModel | None = None
    calibration: Calibration | None = None

    def write(self, heard: Sequence[Sequence[Heard]]) -> list[list[Reading]]:
        """The readings of each utterance."""
        ways = [way for utterance in heard for way in utterance]
        words = [word.timed(self.frame_s) for way in ways for word in way.words]
        if self.calibration is not None:
            features = word_features([w.words for w in ways], [w.acoustic for w in ways], self.lm)
            sure = self.calibration(features).tolist()
            words = [replace(word, confidence=p) for word, p in zip(words, sure, strict=True)]
        rest = iter(words)
        return [
            [Reading(tuple(next(rest) for _ in way.words), way.share) for way in utterance]
            for utterance in heard
        ]


class GreedyWords:
    """The best symbol of every frame; phonemes become the words of a lexicon that sound like them.

    Of several words that sound alike it is the one that the language model finds likeliest alone,
    or the first in the lexicon.
    """

    def __init__(self, tokenizer: Tokenizer, scribe: Scribe, lexicon: Lexicon | None = None):
        self._tokenizer, self._scribe = tokenizer, scribe
        pronounced = lexicon is not None and lexicon.pronounced
        self._words = _likeliest(lexicon, scribe.lm) if lexicon and pronounced else {}

    def heard(self, log_probs: Iterable[LogProbs]) -> list[list[Heard]]:
        return [
            [self._heard(ctc_greedy(each), float(each.max(axis=1).sum()) if len(each) else 0.0)]
            for each in log_probs
        ]

    def decode_many(self, log_probs: Iterable[LogProbs]) -> list[list[Reading]]:
        return self._scribe.write(self.heard(log_probs))

    def start(self) -> "GreedyListening":
        return GreedyListening(self)

    def finish(self, tokens: Iterable[Token], acoustic: float) -> list[Reading]:
        """The readings of tokens whose log probabilities over all frames add up to `acoustic`."""
        (readings,) = self._scribe.write([[self._heard(tokens, acoustic)]])
        return readings

    def _heard(self, tokens: Iterable[Token], acoustic: float) -> Heard:
        words = spelt(tokens, self._tokenizer)
        if self._words:
            words = [Spelt(self._words.get(self._sounds(w), w.text), w.tokens) for w in words]
        return Heard(tuple(words), acoustic, 1.0)

    def _sounds(self, word: Spelt) -> tuple[str, ...]:
        return tuple(self._tokenizer.symbols[token.id] for token in word.tokens)


class BeamWords:
    """Beam search; see `BeamDecoder`."""

    def __init__(self, search: BeamDecoder, scribe: Scribe) -> None:
        self.search, self._scribe = search, scribe

    def heard(self, log_probs: Iterable[LogProbs]) -> list[list[Heard]]:
        return [list(map(self._heard, found)) for found in self.search.decode_many(log_probs)]

    def decode_many(self, log_probs: Iterable[LogProbs]) -> list[list[Reading]]:
        return self._scribe.write(self.heard(log_probs))

    def start(self) -> "BeamListening":
        return BeamListening(self, self.search.start())

    def finish(self, stream: Stream) -> list[Reading]:
        """The readings of a stream of `self.search`."""
        (readings,) = self._scribe.write([list(map(self._heard, self.search.finish(stream)))])
        return readings

    def _heard(self, found: Hypothesis) -> Heard:
        """The search knows which of the words that sound alike; the tokens, when they are said."""
        cut = spelt(found.tokens, self.search.tokenizer)
        words = (Spelt(text, w.tokens) for text, w in zip(found.words, cut, strict=True))
        return Heard(tuple(words), found.acoustic, found.confidence)


@dataclass(frozen=True)
class GreedyListening:
    """See `Listening`."""

    decoder: GreedyWords
    tokens: tuple[Token, ...] = ()
    frames: int = 0
    acoustic: float = 0.0

    def step(self, log_probs: LogProbs) -> "GreedyListening":
        if not len(log_probs):
            return self
        tokens = list(self.tokens)
        for token in ctc_greedy(log_probs):
            first, last = token.start_frame + self.frames, token.end_frame + self.frames
            if tokens and tokens[-1].id == token.id and tokens[-1].end_frame == first:
                surest = max(tokens[-1].log_prob, token.log_prob)  # it went on over the cut
                tokens[-1] = replace(tokens[-1], end_frame=last, log_prob=surest)
            else:
                tokens.append(replace(token, start_frame=first, end_frame=last))
        acoustic = self.acoustic + float(log_probs.max(axis=1).sum())
        return replace(
            self, tokens=tuple(tokens), frames=self.frames + len(log_probs), acoustic=acoustic
        )

    def readings(self) -> list[Reading]:
        return self.decoder.finish(self.tokens, self.acoustic)


@dataclass(frozen=True)
class BeamListening:
    """See `Listening`."""

    decoder: BeamWords
    stream: Stream

    def step(self, log_probs: LogProbs) -> "BeamListening":
        return replace(self, stream=self.decoder.search.step(self.stream, log_probs))

    def readings(self) -> list[Reading]:
        return self.decoder.finish(self.stream)


def build_decoder(
    settings: DecodeSettings,
    tokenizer: Tokenizer,
    frame_s: float,
    *,
    lm: LanguageModel | None = None,
    lexicon: Lexicon | None = None,
    hotwords: Sequence[str] = (),
    calibration: Calibration | None = None,
) -> Decoder:
    """The decoder that `settings` ask for.

    Args:
        settings: greedy or beam.
        tokenizer: of the symbols.
        frame_s: seconds per frame of the log probabilities.
        lm: over words.
        lexicon: the vocabulary, and how it sounds.
        hotwords: for a beam.
        calibration: of the words' confidence.

    Raises:
        ConfigError: for hotwords without a beam, and as `BeamDecoder`.
    """
    scribe = Scribe(frame_s, lm, calibration)
    if isinstance(settings, BeamSettings):
        search = BeamDecoder(tokenizer, settings, lm=lm, lexicon=lexicon, hotwords=hotwords)
        return BeamWords(search, scribe)
    if hotwords:
        raise ConfigError("greedy decoding hears no hotwords: decode with a beam")
    return GreedyWords(tokenizer, scribe, lexicon)


def _likeliest(lexicon: Lexicon, lm: LanguageModel | None) -> dict[tuple[str, ...], str]:
    """For each way to sound, the likeliest word that sounds so."""
    order = np.arange(len(lexicon.words))
    if lm is not None:
        ids = lm.word_ids(lexicon.words)
        values, _ = lm.advance(np.full(len(ids), lm.empty, np.int64), ids)
        order = np.argsort(-values, kind="stable")
    return {lexicon.sounds[place]: lexicon.words[place] for place in reversed(order.tolist())}
