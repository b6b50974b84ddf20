"""A bundle at work: recordings in, words out, without torch.

`Engine` hears recordings of any length; `Recognizer` has a decoder read what it heard as words and
gives transcripts:

    recognizer = Recognizer.load("model.auricle")
    print(recognizer.transcribe("clip.wav").text)

Axes: T feature frames, F features, T2 output frames, V symbols, N samples.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property, lru_cache, partial
from typing import Self

import numpy as np

from auricle.bundle import Bundle, CutName
from auricle.cutting import cut_named
from auricle.decode import (
    BeamSettings,
    Decoder,
    DecodeSettings,
    GreedySettings,
    LanguageModel,
    Reading,
    assemble,
    build_decoder,
)
from auricle.decode.hotwords import phrases_of, split_hotwords
from auricle.engine import BATCH, Cut, Engine, Float32, Heard, Progress, Source
from auricle.errors import AuricleError, ConfigError, ModelError
from auricle.pronounce import Alike
from auricle.results import Alternative, Transcript
from auricle.text import normalise
from auricle.vocabulary import read_lm, read_vocabulary

DECODERS = 4  # kept ready, for other settings or hotwords

Read = Callable[[Decoder, Sequence[Float32]], Sequence[list[Reading]]]
"""A decoder and the outputs (T2, V) of some pieces -> the readings of each."""


class Recognizer:
    """Speech to text from a bundle whose answer is tokens.

    Args:
        engine: of the bundle.
        lm: a language model over words, instead of the bundle's own.
        decode: how to decode, instead of the bundle's own way.
        cut: how a recording becomes pieces, "pauses" or "speech", instead of the bundle's own way.

    Attributes:
        cut: how a recording becomes pieces.
        read: has a decoder read outputs; what stands before it may be put here.

    Raises:
        ModelError: for a bundle that is damaged or answers something else.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        lm: LanguageModel | None = None,
        decode: DecodeSettings | None = None,
        cut: CutName | None = None,
    ) -> None:
        card = engine.card_for("tokens")
        self.engine = engine
        self.decode = decode or card.decode
        self.frame_s = engine.front_end.hop_s * card.stride  # of the output
        self.tokenizer, self.lexicon = read_vocabulary(engine.bundle)
        self.cut = cut_named(cut or card.cut)
        self.read: Read = _read
        self._lm = lm
        self._check()
        # A server's clients each have their hotwords: a decoder is made once for several requests.
        self._decoders = lru_cache(maxsize=DECODERS)(self._make_decoder)
        try:
            self._usual = self._make_decoder(self.decode, ())  # however many others come and go
        except ConfigError as error:
            raise ModelError(f"{engine.bundle.path}: {error}") from None

    @classmethod
    def load(
        cls,
        source: str | os.PathLike[str] | Bundle,
        *,
        threads: int | None = None,
        lm: LanguageModel | None = None,
        decode: DecodeSettings | None = None,
        cut: CutName | None = None,
    ) -> Self:
        """The recogniser of a bundle, a file or one that was read.

        Args:
            source: a bundle that was read, its path, or the name of a shipped model.
            threads: of the graph; None: as many as there are cores to use.
            lm: a language model over words, instead of the bundle's own.
            decode: how to decode, instead of the bundle's own way.
            cut: "pauses", all of the sound, cut at its quietest places; "speech", where the shipped
                detector hears some; None: as the bundle says.
        """
        return cls(Engine.load(source, threads), lm=lm, decode=decode, cut=cut)

    @property
    def normaliser(self) -> str:
        """The version of the normaliser that the model's transcripts were written with."""
        text = self.engine.bundle.card.settings.get("text")
        return str(text.get("normaliser", "none")) if isinstance(text, dict) else "none"

    @cached_property
    def lm(self) -> LanguageModel | None:
        """The language model, if there is one; read when first asked for.

        Raises:
            ModelError: when the bundle's is none, or damaged.
        """
        return self._lm if self._lm is not None else read_lm(self.engine.bundle)

    def guessed(self, words: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """How words sound that the lexicon does not have, told from those that it has.

        Nothing for a model whose words are spelt as they are written.

        Args:
            words: normalised.
        """
        lexicon = self.lexicon
        if lexicon is None or self._alike is None:
            return {}
        unknown = {word for word in words if word not in lexicon.ways}
        return self._alike.speak(sorted(unknown))

    @cached_property
    def _alike(self) -> Alike | None:
        lexicon = self.lexicon
        if lexicon is None or not lexicon.pronounced:
            return None
        return Alike(zip(lexicon.words, lexicon.sounds, strict=True))

    def decoder(
        self, decode: DecodeSettings | None = None, hotwords: Sequence[str] = ()
    ) -> Decoder:
        """What reads the outputs of the graph: arrays in, words out, `frame_s` a frame.

        Args:
            decode: how, if not as the recogniser does by itself.
            hotwords: words and phrases that are likelier here, or a string of them with commas
                between; what the lexicon lacks is taken to sound as `guessed` says. They need a
                beam: without `decode`, a model that decodes greedily by itself takes the defaults
                of `BeamSettings` for them.

        Raises:
            ConfigError: for settings or hotwords that this model cannot follow.
        """
        settings = decode or self.decode
        if hotwords and decode is None and isinstance(settings, GreedySettings):
            settings = BeamSettings()
        phrases = phrases_of(hotwords) if isinstance(hotwords, str) else hotwords
        words = tuple(normalise(each, self.normaliser) for each in phrases)
        if settings == self.decode and not words:
            return self._usual
        return self._decoders(settings, words)

    def transcribe(
        self,
        source: Source,
        *,
        hotwords: Sequence[str] = (),
        decode: DecodeSettings | None = None,
    ) -> Transcript:
        """The transcript of a recording of any length.

        Args:
            source: a file, or samples.
            hotwords: as for `decoder`, names say; they are heard even if no vocabulary has them.
            decode: as for `decoder`, `BeamSettings(nbest=5)` say.

        Raises:
            DataError: when the recording cannot be read.
            ConfigError: as `decoder`.
        """
        ((_, answer),) = self.transcribe_many([source], hotwords=hotwords, decode=decode)
        if isinstance(answer, AuricleError):
            raise answer
        return answer

    def transcribe_many(
        self,
        sources: Iterable[Source],
        *,
        batch: int = BATCH,
        progress: Progress | None = None,
        hotwords: Sequence[str] = (),
        decode: DecodeSettings | None = None,
        cut: Cut | None = None,
    ) -> Iterator[tuple[Source, Transcript | AuricleError]]:
        """Each recording with its transcript, or with the error that kept it from having one.

        Args:
            sources: files or samples; taken as they are needed, answered in their order.
            batch: most pieces to run at once; more is faster and takes more memory.
            progress: called with the seconds of sound done since the last call.
            hotwords: as for `transcribe`.
            decode: as for `transcribe`.
            cut: how a recording becomes pieces; None: as the recogniser does.

        Raises:
            ConfigError: as `decoder`.
        """
        read = partial(self.read, self.decoder(decode, hotwords))
        several = getattr(decode or self.decode, "nbest", 1) > 1
        return (
            (heard.source, heard.error or self._transcript(heard, several=several))
            for heard in self.engine.answer_many(
                sources, read, cut=cut or self.cut, batch=batch, progress=progress
            )
        )

    def _make_decoder(self, settings: DecodeSettings, hotwords: tuple[str, ...]) -> Decoder:
        calibration = self.engine.bundle.card.confidence.get(settings.kind)
        if self._lm is not None:  # fitted to what another one says
            calibration = None
        needs_lm = isinstance(settings, BeamSettings) or calibration or self.lexicon
        lexicon = self.lexicon
        if lexicon and (spoken := self.guessed(split_hotwords(hotwords))):
            lexicon = lexicon.widened(spoken)
        return build_decoder(
            settings,
            self.tokenizer,
            self.frame_s,
            lm=self.lm if needs_lm else None,
            lexicon=lexicon,
            hotwords=hotwords,
            calibration=calibration,
        )

    def _transcript(self, heard: Heard[list[Reading]], *, several: bool) -> Transcript:
        words = (
            replace(
                word,
                start_s=part.start_s + word.start_s,
                end_s=min(part.start_s + word.end_s, part.end_s),  # the last frame may reach over
            )
            for part in heard.parts
            for word in part.value[0].words
        )
        alternatives = (
            Alternative(part.start_s, part.end_s, reading.text, reading.share)
            for part in heard.parts
            for reading in part.value
        )
        language = self.engine.bundle.card.language
        return assemble(words, heard.duration_s, language, alternatives if several else ())

    def _check(self) -> None:
        """One second through the graph: are its frames and symbols those of the card?"""
        bundle, front_end = self.engine.bundle, self.engine.front_end
        frames = max(1, round(1 / front_end.hop_s))
        (found,) = self.engine.session([np.zeros((frames, front_end.dim), np.float32)])
        wanted = (-(-frames // bundle.card.stride), len(self.tokenizer.symbols))
        if found.shape != wanted:
            raise ModelError(
                f"{bundle.path}: the graph makes {found.shape} (frames, symbols) of one second, the"
                f" card says {wanted}: export the model again"
            )


def _read(decoder: Decoder, outputs: Sequence[Float32]) -> list[list[Reading]]:
    return decoder.decode_many(outputs)


def load(model: str | os.PathLike[str] = "english", *, threads: int | None = None) -> Recognizer:
    """The recogniser of a bundle's path or of a shipped model's name.

    Raises:
        ModelError: when there is no such model, or it is damaged or answers something else.
    """
    return Recognizer.load(model, threads=threads)
