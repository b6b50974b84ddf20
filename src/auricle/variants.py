"""Which pronunciations people use: counted where texts are aligned with their sound.

A word of a lexicon may be said in several ways, most of them rare. Each is a way for the search to
go wrong, so they should cost what they are worth (Chen et al. 2015, "Pronunciation and silence
probability modeling for ASR"): with n(s) times that the word w was said as s, of n in all, and the
probability q(s) that the lexicon gave it before,

    p(s | w) = (n(s) + PRIOR q(s)) / (n + PRIOR)

divided by that of the likeliest one, so that words with many ways to say them are not rarer.
"""

from collections import Counter
from collections.abc import Iterable, Iterator

from auricle.align import STRICT, force_align
from auricle.aligner import named, scripts_many
from auricle.decode import Lexicon
from auricle.engine import Progress, Source
from auricle.errors import AuricleError, DataError
from auricle.runtime import Recognizer
from auricle.text import normalise
from auricle.text.lexicon import Pronunciation

PRIOR = 2.0  # recordings of a word that the lexicon's own probabilities count for
LEAST = 0.2  # of the likeliest one: rarer ones are left out

Said = tuple[str, tuple[str, ...]]
"""A word and the sounds that were used for it."""


def pronounced_many(
    recognizer: Recognizer,
    pairs: Iterable[tuple[Source, str]],
    lexicon: Lexicon,
    *,
    progress: Progress | None = None,
) -> Iterator[tuple[Source, list[Said] | AuricleError]]:
    """How each word of a recording's text was said, by the best of the lexicon's ways to say it.

    Args:
        pairs: recordings and what is said in them; taken as they are needed.
        lexicon: with all pronunciations that are to be told apart.
        progress: called with the seconds of sound done since the last call.
    """
    symbols = recognizer.tokenizer.symbols
    normalised = ((source, normalise(text, recognizer.normaliser)) for source, text in pairs)
    for source, found in scripts_many(recognizer, normalised, lexicon=lexicon, progress=progress):
        if isinstance(found, AuricleError):
            yield source, found
            continue
        heard, script = found
        try:
            aligned = force_align(
                heard.log_probs, script.ways, separator=script.separator, settings=STRICT
            )
        except DataError as error:
            yield source, named(source, error)
            continue
        spans = zip(script.words, aligned.spans, strict=True)
        yield source, [(w, tuple(symbols[t.id] for t in span.tokens)) for w, span in spans if span]


def weigh(lexicon: Lexicon, counts: Counter[Said]) -> Lexicon:
    """The lexicon with the probabilities of its pronunciations, the likeliest of a word first."""
    ways: dict[str, dict[tuple[str, ...], float]] = {}
    for word, sounds, share in lexicon.entries:
        ways.setdefault(word, {}).setdefault(sounds, share)
    weighed: list[Pronunciation] = []
    for word, shares in ways.items():
        prior = PRIOR / sum(shares.values())
        used = {sounds: counts[word, sounds] + prior * share for sounds, share in shares.items()}
        ordered = sorted(used.items(), key=lambda item: -item[1])
        most = ordered[0][1]
        weighed += [Pronunciation(word, s, n / most) for s, n in ordered if n >= LEAST * most]
    return Lexicon.from_entries(weighed, closed=lexicon.closed)
