"""Recordings and their texts in, times out: a bundle's posteriors, and words aligned with them.

recognizer = auricle.load("english")
aligned = align(recognizer, "speech.wav", "what is said in it")
print(aligned.transcript.words, aligned.missing, aligned.extra)
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from auricle.align import Aligned, AlignSettings, Posteriors, Script, align_recording
from auricle.decode import BeamSettings, Lexicon
from auricle.engine import BATCH, Float32, Progress, Source
from auricle.errors import AuricleError, DataError
from auricle.runtime import Recognizer
from auricle.text import PhonemeTokenizer, normalise


def posteriors_many(
    recognizer: Recognizer,
    sources: Iterable[Source],
    *,
    batch: int = BATCH,
    progress: Progress | None = None,
) -> Iterator[tuple[Source, Posteriors | AuricleError]]:
    """Each recording with what the model heard in it, or with the error that kept it from that.

    T x V x 4 bytes are held for the recordings at work: 10 MB for an hour of 29 letters.

    Args:
        sources: files or samples; taken as they are needed, answered in their order.
        batch: most pieces to run at once.
        progress: called with the seconds of sound done since the last call.
    """
    engine = recognizer.engine
    for heard in engine.answer_many(sources, _copies, batch=batch, progress=progress):
        if heard.error:
            yield heard.source, heard.error
            continue
        frames = [
            part.start_s + recognizer.frame_s * np.arange(len(part.value)) for part in heard.parts
        ]
        symbols = len(recognizer.tokenizer.symbols)
        yield (
            heard.source,
            Posteriors(
                log_probs=np.concatenate(
                    [np.zeros((0, symbols), np.float32), *(part.value for part in heard.parts)]
                ),
                starts_s=np.concatenate([np.zeros(0), *frames]),
                frame_s=recognizer.frame_s,
                duration_s=heard.duration_s,
            ),
        )


def align_many(
    recognizer: Recognizer,
    pairs: Iterable[tuple[Source, str]],
    *,
    settings: AlignSettings | None = None,
    lexicon: Lexicon | None = None,
    batch: int = BATCH,
    progress: Progress | None = None,
) -> Iterator[tuple[Source, Aligned | AuricleError]]:
    """Each recording with its text aligned, or with the error that kept it from that.

    A word without a pronunciation is taken to sound like those that have one.

    Args:
        pairs: recordings and what is said in them; taken as they are needed.
        settings: what may be missing in the sound or in the text.
        lexicon: for phonemes, pronunciations beside those that the model knows.
        batch: most pieces to run at once.
        progress: called with the seconds of sound done since the last call.
    """
    language = recognizer.engine.bundle.card.language
    made = scripts_many(recognizer, pairs, lexicon=lexicon, batch=batch, progress=progress)
    for source, ready in made:
        if isinstance(ready, AuricleError):
            yield source, ready
            continue
        heard, script = ready
        try:
            found = align_recording(heard, script, recognizer.tokenizer, settings, language)
        except DataError as error:
            yield source, named(source, error)
            continue
        yield source, _in_words(found, heard, recognizer)


def scripts_many(
    recognizer: Recognizer,
    pairs: Iterable[tuple[Source, str]],
    *,
    lexicon: Lexicon | None = None,
    batch: int = BATCH,
    progress: Progress | None = None,
) -> Iterator[tuple[Source, tuple[Posteriors, Script] | AuricleError]]:
    """Each recording and its text ready to be aligned; arguments as for `align_many`."""
    texts: deque[str] = deque()

    def sources() -> Iterator[Source]:
        for source, text in pairs:
            texts.append(text)
            yield source

    normaliser = recognizer.normaliser
    for source, heard in posteriors_many(recognizer, sources(), batch=batch, progress=progress):
        text = texts.popleft()
        if isinstance(heard, AuricleError):
            yield source, heard
            continue
        try:
            said = dict.fromkeys(normalise(text, normaliser).split())
            own = lexicon.only(said) if lexicon else Lexicon((), ())
            guessed = recognizer.guessed(word for word in said if word not in own.ways)
            script = Script.of(text, recognizer.tokenizer, normaliser, own.widened(guessed))
        except DataError as error:
            yield source, named(source, error)
            continue
        yield source, (heard, script)


def named(source: Source, error: DataError) -> DataError:
    """The error, with the file that it is about."""
    return error if isinstance(source, tuple) else DataError(f"{source}: {error}")


def _in_words(found: Aligned, heard: Posteriors, recognizer: Recognizer) -> Aligned:
    """What is not in the text as the model writes it by itself: phonemes say little to people.

    Nothing is in its place where the model finds no word there.
    """
    if not found.extra or not isinstance(recognizer.tokenizer, PhonemeTokenizer):
        return found
    spans = [np.searchsorted(heard.starts_s, (e.start_s, e.end_s)).tolist() for e in found.extra]
    own = recognizer.decode  # greedily, what is in no lexicon would be phonemes all the same
    decoder = recognizer.decoder(own if isinstance(own, BeamSettings) else BeamSettings())
    ways = decoder.heard([heard.log_probs[begin:end] for begin, end in spans])
    texts = (" ".join(word.text for word in each[0].words) for each in ways)
    extra = (replace(e, text=text) for e, text in zip(found.extra, texts, strict=True))
    return replace(found, extra=tuple(extra))


def align(
    recognizer: Recognizer,
    source: Source,
    text: str,
    *,
    settings: AlignSettings | None = None,
    lexicon: Lexicon | None = None,
) -> Aligned:
    """When each word of a text is said in a recording of any length.

    Raises:
        DataError: when the recording cannot be read, or the text has words that the model cannot
            spell.
    """
    ((_, answer),) = align_many(recognizer, [(source, text)], settings=settings, lexicon=lexicon)
    if isinstance(answer, AuricleError):
        raise answer
    return answer


def _copies(outputs: Sequence[Float32]) -> list[Float32]:
    """Each output for itself: as views, they would keep their batch with all its padding."""
    return [output.copy() for output in outputs]
