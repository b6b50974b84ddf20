"""Words from log probabilities: CTC prefix beam search with a language model and a vocabulary.

    decoder = BeamDecoder(tokenizer, lm=NgramModel.load("lm.bin"))
    best = decoder.decode(log_probs)[0]
    print(" ".join(best.words))

What is searched for is the prefix h, with words w_1 .. w_n, of the greatest

    log P(h | sound) + alpha log p(w_1 .. w_n </s>) + beta n

where P(h | sound) sums over all paths that spell h (Hannun et al. 2014). `search` says how, and
what is left out on the way.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auricle.decode.frames import BLANK, Frames, check_log_probs
from auricle.decode.fusion import SPECIAL, UNKNOWN, Fusion, LanguageModel, Worth
from auricle.decode.greedy import Token
from auricle.decode.lexicon import ROOT, Lexicon
from auricle.decode.search import Limits, Rows, Search
from auricle.decode.settings import BeamSettings
from auricle.errors import ConfigError
from auricle.text import Tokenizer

IMPOSSIBLE = -1e6  # a last word that no closed vocabulary has: only if nothing else was heard
TOGETHER = 32  # utterances searched at once: what amortises the calls and stays in the cache


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """One reading of an utterance. Scores are natural logarithms."""

    tokens: tuple[Token, ...]  # separators among them, as greedy decoding gives them
    words: tuple[str, ...]
    score: float  # acoustic + lm
    acoustic: float  # of all paths that spell it
    lm: float  # weighted: with word bonus, hotwords and the penalty of unknown words
    confidence: float  # its share of the final beam, 0 to 1


NOTHING_HEARD = Hypothesis((), (), -math.inf, -math.inf, 0.0, 0.0)  # where nothing is possible


@dataclass(frozen=True, slots=True)
class Stream:
    """How far the sound of one utterance was searched; `BeamDecoder.step` gives the next one."""

    search: Search
    frames: int = 0  # heard
    skipped: float = 0.0  # log probability of the sure blanks that were left out


class BeamDecoder:
    """Beam search for one tokenizer, model and vocabulary. Safe to use from several threads.

    Args:
        tokenizer: of the V symbols; the blank is symbol 0.
        settings: weights and limits.
        lm: over words. Its words are the vocabulary, others cost `settings.unknown` besides what
            it says of <unk>.
        lexicon: the vocabulary instead. Closed (`settings.closed`, else its own word for it),
            nothing else is heard; with pronunciations, it is how phonemes become words.
        hotwords: worth `settings.hotword` more, also if no vocabulary has them; a phrase counts
            as a whole (`hotwords`).

    Raises:
        ConfigError: for a hotword or a whole lexicon that the symbols cannot spell; or to hear only
            the words of no vocabulary.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        settings: BeamSettings | None = None,
        *,
        lm: LanguageModel | None = None,
        lexicon: Lexicon | None = None,
        hotwords: Sequence[str] = (),
    ) -> None:
        self.tokenizer, self.settings = tokenizer, settings or BeamSettings()
        s = self.settings
        lexicon = _vocabulary(lexicon, lm, closed=s.closed)
        worth = Worth(s.alpha, s.beta, s.unknown, s.unknown_letter, s.hotword, s.look_ahead)
        self._fusion = Fusion(tokenizer, worth, lm, lexicon, hotwords)
        alike = s.nbest if s.recombine and lm is not None else 0
        self._limits = Limits(s.beam, s.score_prune, alike)
        self._pronounced = lexicon is not None and lexicon.pronounced

    def decode(self, log_probs: NDArray[Any]) -> list[Hypothesis]:
        """The likeliest readings of one utterance, best first.

        Args:
            log_probs: (T, V) natural logarithms, without padding.

        Raises:
            DataError: when they are of another shape, or no log probabilities.
        """
        return self.decode_many([log_probs])[0]

    def decode_many(self, log_probs: Iterable[NDArray[Any]]) -> list[list[Hypothesis]]:
        """As `decode` of each utterance, and equal to it, but many times faster.

        Raises:
            DataError: as `decode`.
        """
        arrays = [check_log_probs(each, len(self.tokenizer.symbols)) for each in log_probs]
        floor = math.log(self.settings.skip_blank)
        lengths = np.array([np.count_nonzero(each[:, BLANK] < floor) for each in arrays])
        order = np.argsort(-lengths, kind="stable")
        answers: dict[int, list[Hypothesis]] = {}
        for at in range(0, len(order), TOGETHER):
            group = order[at : at + TOGETHER].tolist()
            search = Search(self._fusion, self._limits, len(group))
            frames = self._frames([arrays[index] for index in group])
            search.run(frames)
            answers.update(zip(group, self._hypotheses(search, frames.skipped), strict=True))
        return [answers[index] for index in range(len(arrays))]

    def start(self) -> Stream:
        """Before the first frame of an utterance that arrives in chunks."""
        return Stream(Search(self._fusion, self._limits, 1))

    def step(self, state: Stream, log_probs: NDArray[Any]) -> Stream:
        """After one more chunk, (T, V); `state` stays as it was.

        Raises:
            DataError: as `decode`.
        """
        log_probs = check_log_probs(log_probs, len(self.tokenizer.symbols))
        if not len(log_probs):
            return state
        frames = self._frames([log_probs], state.frames)
        search = state.search.copy()
        search.run(frames)
        if log_probs[-1, BLANK] >= math.log(self.settings.skip_blank):
            search.forget_spoken()
        skipped = state.skipped + float(frames.skipped[0])
        return Stream(search, state.frames + len(log_probs), skipped)

    def finish(self, state: Stream) -> list[Hypothesis]:
        """The readings of what was heard; equal to `decode` of all chunks together."""
        return next(self._hypotheses(state.search, np.array([state.skipped])))

    def _frames(self, utterances: Sequence[NDArray[Any]], first_number: int = 0) -> Frames:
        return Frames.of(
            utterances,
            skip_blank=self.settings.skip_blank,
            token_prune=self.settings.token_prune,
            first_number=first_number,
        )

    def _hypotheses(
        self, search: Search, skipped: NDArray[np.float64]
    ) -> Iterator[list[Hypothesis]]:
        """End the last words and the sentences; the best hypotheses of each utterance."""
        rows, variants, lm = self._ended(search.rows)
        acoustic = np.logaddexp(rows["blank"], rows["spoken"]) + skipped[rows["utterance"]]
        scores = acoustic + lm
        bounds = np.searchsorted(rows["utterance"], np.arange(search.utterances + 1))
        for first, last in pairwise(bounds):
            order = first + np.argsort(-scores[first:last], kind="stable")
            log_sum = np.logaddexp.reduce(scores[first:last])
            best: dict[tuple[str, ...], Hypothesis] = {}
            for row in order:
                tokens, heard = search.history.tokens(rows[row])
                words = self._words(tokens, [*heard, int(variants[row])])
                if words not in best and not (best and lm[row] <= IMPOSSIBLE):
                    values = scores[row], acoustic[row], lm[row], np.exp(scores[row] - log_sum)
                    best[words] = Hypothesis(tuple(tokens), words, *map(float, values))
                if len(best) == self.settings.nbest:
                    break
            yield list(best.values()) or [NOTHING_HEARD]

    def _ended(self, rows: Rows) -> tuple[Rows, NDArray[np.int64], NDArray[np.float64]]:
        """Rows, one for each word that the last one may be; which it is; what all is worth."""
        fusion = self._fusion
        counts = np.where(rows["node"] == ROOT, 1, fusion.variants[rows["node"]])
        source = np.repeat(np.arange(len(rows)), counts)
        variants = np.arange(len(source)) - (np.cumsum(counts) - counts)[source]
        rows = rows[source]
        worth, states = rows["words"].copy(), rows["state"].copy()
        open_ = np.flatnonzero(rows["node"] != ROOT)
        nodes = rows["node"][open_]
        values, states[open_] = fusion.close(states[open_], nodes, variants[open_])
        worth[open_] += np.maximum(values, IMPOSSIBLE)
        return rows, variants, worth + fusion.end(states)

    def _words(self, tokens: Sequence[Token], variants: Sequence[int]) -> tuple[str, ...]:
        """What tokens spell; `variants` (len(tokens) + 1,) tell words apart that sound alike."""
        ids = [token.id for token in tokens]
        if not self._pronounced:
            return tuple(self.tokenizer.decode(ids).split())
        words: list[str] = []
        fusion, node, begun = self._fusion, np.array([ROOT]), 0
        for place, id_ in enumerate([*ids, None]):
            if node[0] != ROOT and (id_ is None or fusion.closes[id_]):
                entry = int(fusion.entries[node[0]])
                spelt = self.tokenizer.decode(ids[begun:place]).strip()
                words.append(spelt if entry == UNKNOWN else fusion.words[entry + variants[place]])
            if id_ is not None:
                begun = place + (id_ == self.tokenizer.separator) if fusion.closes[id_] else begun
                node = fusion.follow(node * ~fusion.closes[[id_]], np.array([id_]))
        return tuple(words)


def _vocabulary(
    lexicon: Lexicon | None, lm: LanguageModel | None, *, closed: bool | None
) -> Lexicon | None:
    """The lexicon, closed or open as the settings say; a closed language model is one too."""
    if closed is None or (lexicon is None and not closed):
        return lexicon
    if lexicon is not None:
        return replace(lexicon, closed=closed)
    if lm is None:
        raise ConfigError("closed = true, but there is no language model or lexicon to keep to")
    return Lexicon.of(lm.symbols[SPECIAL:])
