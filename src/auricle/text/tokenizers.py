"""Tokenizers: normalised text <-> ids. Symbol 0 is always the CTC blank."""

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol, Self

from pydantic import Field

from auricle.config import Settings
from auricle.errors import ConfigError, DataError, ModelError
from auricle.text.lexicon import read_lexicon
from auricle.text.normaliser import ALPHABETS, normalise

BLANK = "<blank>"
SPACE = " "
_PIECE_SPACE = "\u2581"  # sentencepiece's mark: this piece begins a word


class TextSettings(Settings):
    """How transcripts are written and cut into symbols."""

    normaliser: str = Field("english-1", description="english-1, basic-1 or none")
    unit: Literal["char", "bpe", "phoneme"] = "char"
    pieces: int = Field(256, ge=8, le=65_536, description="symbols of a bpe tokenizer, with blank")
    lexicon: str | None = Field(None, description="phoneme: file of lines WORD P1 P2 ...")


class Tokenizer(Protocol):
    """What training and decoding know about text.

    Words are told apart in one of two ways: a `separator` symbol stands between them, or symbols
    in `word_starts` begin them.
    """

    @property
    def symbols(self) -> tuple[str, ...]:
        """All symbols, (V,); symbol 0 is `BLANK`."""

    @property
    def separator(self) -> int | None:
        """The id that stands between words, if there is one."""

    @property
    def word_starts(self) -> frozenset[int]:
        """The ids that begin a word, if symbols do."""

    def encode(self, text: str) -> list[int]:
        """Ids in 1..V-1. Raises DataError naming what is `unknown`."""

    def unknown(self, text: str) -> set[str]:
        """The letters (or words, for phonemes) of `text` that have no symbol."""

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids from which repeats and blanks were removed."""

    def to_dict(self) -> dict[str, Any]:
        """Everything about the tokenizer as JSON types; `tokenizer_from_dict` reads it."""


@dataclass(frozen=True)
class CharTokenizer:
    """One symbol per letter; the space parts words."""

    symbols: tuple[str, ...]
    word_starts: frozenset[int] = frozenset()

    @classmethod
    def learn(cls, texts: Iterable[str]) -> Self:
        """All letters of `texts`, sorted after the blank."""
        return cls((BLANK, *_letters(texts)))

    @cached_property
    def separator(self) -> int | None:
        return self._ids.get(SPACE)

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {symbol: id_ for id_, symbol in enumerate(self.symbols) if id_}

    def encode(self, text: str) -> list[int]:
        try:
            return [self._ids[letter] for letter in text]
        except KeyError:
            raise _unknown(self.unknown(text), "letters", text) from None

    def unknown(self, text: str) -> set[str]:
        return set(text) - self._ids.keys()

    def decode(self, ids: Iterable[int]) -> str:
        return "".join(self.symbols[id_] for id_ in ids)

    def to_dict(self) -> dict[str, Any]:
        return {"unit": "char", "symbols": list(self.symbols)}


@dataclass(frozen=True)
class BpeTokenizer:
    """Pieces of words, merged by frequency (Sennrich et al. 2016); sentencepiece learns and cuts.

    sentencepiece's <unk> has id 0, the place of our blank, so that both number pieces alike.
    Decoding needs only `symbols`.
    """

    symbols: tuple[str, ...]
    model: bytes  # sentencepiece's own serialised model
    separator: int | None = None

    @classmethod
    def learn(cls, texts: Iterable[str], pieces: int) -> Self:
        """Learn `pieces` symbols, the blank included, from texts.

        Raises:
            DataError: when the texts are too few for so many pieces, or have more letters.
            ConfigError: when sentencepiece is not installed.
        """
        model = io.BytesIO()
        try:
            _sentencepiece().SentencePieceTrainer.train(
                sentence_iterator=iter(list(texts)),
                model_writer=model,
                model_type="bpe",
                vocab_size=pieces,
                character_coverage=1.0,
                normalization_rule_name="identity",
                max_sentence_length=1_000_000,  # bytes; longer texts would be left out
                bos_id=-1,
                eos_id=-1,
                pad_id=-1,
                unk_id=0,
                num_threads=1,
                minloglevel=2,
            )
        except RuntimeError as error:
            reason = str(error).rpartition("] ")[2].partition(" or decrease")[0]
            raise DataError(f"text.pieces = {pieces} does not suit these texts: {reason}") from None
        return cls.from_model(model.getvalue())

    @classmethod
    def from_model(cls, model: bytes) -> Self:
        """The tokenizer of a sentencepiece model whose <unk> has id 0."""
        processor = _sentencepiece().SentencePieceProcessor(model_proto=model)
        pieces = [processor.id_to_piece(id_) for id_ in range(1, processor.get_piece_size())]
        return cls((BLANK, *pieces), model)

    @cached_property
    def word_starts(self) -> frozenset[int]:
        return frozenset(
            i for i, piece in enumerate(self.symbols) if piece.startswith(_PIECE_SPACE)
        )

    @cached_property
    def _letters(self) -> frozenset[str]:
        """Every letter of the texts learned from is a piece of its own."""
        return frozenset(self.symbols) | {SPACE}

    @cached_property
    def _processor(self) -> Any:
        return _sentencepiece().SentencePieceProcessor(model_proto=self.model)

    def encode(self, text: str) -> list[int]:
        if unknown := self.unknown(text):
            raise _unknown(unknown, "letters", text)
        return list(self._processor.encode(text))

    def unknown(self, text: str) -> set[str]:
        return set(text) - self._letters

    def decode(self, ids: Iterable[int]) -> str:
        return "".join(self.symbols[id_] for id_ in ids).replace(_PIECE_SPACE, SPACE).strip()

    def to_dict(self) -> dict[str, Any]:
        model = base64.b64encode(self.model).decode("ascii")
        return {"unit": "bpe", "symbols": list(self.symbols), "model": model}


@dataclass(frozen=True)
class PhonemeTokenizer:
    """Words through a pronunciation lexicon; the space parts them."""

    symbols: tuple[str, ...]
    lexicon: Mapping[str, tuple[str, ...]]
    word_starts: frozenset[int] = frozenset()
    separator: int | None = 1

    @classmethod
    def from_lexicon(cls, path: str | Path) -> Self:
        """Read lines `WORD P1 P2 ...`; see `auricle.text.parse_lexicon`.

        The first pronunciation of a word counts; words are taken in lower case.

        Raises:
            DataError: for an unreadable file or a line without a pronunciation.
        """
        lexicon: dict[str, tuple[str, ...]] = {}
        for word, sounds, _ in read_lexicon(path):
            if not sounds:
                raise DataError(f"{path}: {word!r} has no pronunciation: this is a list of words")
            lexicon.setdefault(word, sounds)
        return cls((BLANK, SPACE, *_letters(lexicon.values())), lexicon)

    def widened(self, lexicon: Mapping[str, tuple[str, ...]]) -> Self:
        """The same phonemes with further words; of one that is known, the new pronunciation counts.

        Raises:
            ConfigError: the words have other phonemes.
        """
        self.check(lexicon.values())
        return replace(self, lexicon={**self.lexicon, **lexicon})

    def check(self, spoken: Iterable[Sequence[str]]) -> None:
        """See that pronunciations have no phonemes but the model's.

        Raises:
            ConfigError: names those that it does not have.
        """
        own = frozenset(self.symbols) - {BLANK, SPACE}
        if foreign := sorted(set().union(*spoken) - own):
            raise ConfigError(
                f"phonemes of the lexicon that the model does not have: {', '.join(foreign[:8])}; "
                f"it has {' '.join(sorted(own))} (`auricle lexicon write --plain` drops stress)"
            )

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {symbol: id_ for id_, symbol in enumerate(self.symbols) if id_}

    @cached_property
    def _words(self) -> dict[tuple[str, ...], str]:
        """Pronunciation -> word; of several words that sound alike, the first in the lexicon."""
        return {sounds: word for word, sounds in reversed(list(self.lexicon.items()))}

    def encode(self, text: str) -> list[int]:
        if unknown := self.unknown(text):
            raise _unknown(unknown, "words", text)
        ids: list[int] = []
        for word in text.split():
            ids += [1] * bool(ids) + [self._ids[sound] for sound in self.lexicon[word]]
        return ids

    def unknown(self, text: str) -> set[str]:
        return {word for word in text.split() if word not in self.lexicon}

    def decode(self, ids: Iterable[int]) -> str:
        """Words; sounds that make no word of the lexicon stay, as one: scoring parts hyphens."""
        words: list[list[str]] = [[]]
        for id_ in ids:
            if id_ == self.separator:
                words.append([])
            else:
                words[-1].append(self.symbols[id_])
        return SPACE.join(self._words.get(tuple(word), "".join(word)) for word in words if word)

    def to_dict(self) -> dict[str, Any]:
        lexicon = {word: SPACE.join(sounds) for word, sounds in self.lexicon.items()}
        return {"unit": "phoneme", "symbols": list(self.symbols), "lexicon": lexicon}


def learn_tokenizer(settings: TextSettings, texts: Iterable[str]) -> Tokenizer:
    """The tokenizer that `settings` ask for, learned from transcripts (normalised here).

    A transcript that holds letters outside its normaliser's language teaches nothing: its letters
    stay unknown, so that they are reported when it is encoded.

    Raises:
        ConfigError: for phonemes without a lexicon.
        DataError: when nothing is left to learn from.
    """
    if settings.unit == "phoneme":
        if settings.lexicon is None:
            raise ConfigError(
                "text.unit = phoneme needs text.lexicon = a file of pronunciations: `auricle"
                " lexicon write texts.txt --model english -o lexicon.txt` makes one for English"
            )
        return PhonemeTokenizer.from_lexicon(settings.lexicon)
    alphabet = ALPHABETS.get(settings.normaliser)
    written = (normalise(text, settings.normaliser) for text in texts)
    usable = [text for text in written if text and (not alphabet or alphabet.issuperset(text))]
    if not usable:
        raise DataError("there is no transcript to learn a tokenizer from")
    if settings.unit == "bpe":
        return BpeTokenizer.learn(usable, settings.pieces)
    return CharTokenizer.learn(usable)


def tokenizer_from_dict(values: Mapping[str, Any]) -> Tokenizer:
    """The tokenizer that `to_dict` described.

    Raises:
        ModelError: when the description is not one of a tokenizer.
    """
    try:
        unit, symbols = values["unit"], tuple(map(str, values["symbols"]))
        if not symbols or symbols[0] != BLANK or len(set(symbols)) != len(symbols):
            raise ValueError(f"symbols must differ and begin with {BLANK}")
        if unit == "char":
            return CharTokenizer(symbols)
        if unit == "bpe":
            return BpeTokenizer(symbols, base64.b64decode(values["model"], validate=True))
        if unit == "phoneme":
            lexicon = {word: tuple(line.split()) for word, line in values["lexicon"].items()}
            return PhonemeTokenizer(symbols, lexicon)
        raise ValueError(f"unit {unit!r} is unknown")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(f"the tokenizer of this model is damaged: {error!r}") from None


def _letters(texts: Iterable[Iterable[str]]) -> list[str]:
    return sorted({letter for text in texts for letter in text})


def _unknown(what: set[str], kind: str, text: str) -> DataError:
    named = ", ".join(map(repr, sorted(what)[:10]))
    return DataError(
        f"unknown {kind} {named} in the transcript {text[:80]!r}: "
        "correct it, or learn the tokenizer from transcripts that have them"
    )


def _sentencepiece() -> Any:
    try:
        import sentencepiece
    except ImportError:
        raise ConfigError("bpe pieces need sentencepiece: pip install '.[train]'") from None
    return sentencepiece
