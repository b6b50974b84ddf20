"""The options of decoding, for every command that decodes."""

import functools
import inspect
import itertools
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, TypedDict, get_type_hints

import typer

from auricle.bundle import Bundle, Card, CutName
from auricle.cli.display import errors
from auricle.config import parse_overrides
from auricle.decode import BeamSettings, DecodeSettings, GreedySettings, Lexicon, decode_settings
from auricle.decode.hotwords import phrases_of
from auricle.errors import ConfigError, listed
from auricle.files import read_text
from auricle.lm import NgramModel
from auricle.runtime import Recognizer
from auricle.text import PhonemeTokenizer, Tokenizer, normalise, tokenizer_from_dict
from auricle.vocabulary import read_lm, read_vocabulary, with_vocabulary

LISTS = {".txt", ".csv", ".tsv", ".lst", ".list", ".md", ".json", ".jsonl"}  # no ends of words
PANEL = "Decoding; without these, as the model's file says"

LanguageModelFile = Annotated[Path | None, typer.Option(help="A language model to put inside.")]
LexiconFile = Annotated[
    Path | None, typer.Option(help="Words and how they sound, instead of the model's own.")
]
DecodeWords = Annotated[
    list[str] | None, typer.Option(help="key=value: how it decodes by itself; repeatable.")
]


def _option(text: str, *names: str, **values: Any) -> Any:
    return typer.Option(*names, help=text, rich_help_panel=PANEL, **values)


class HowToDecode(TypedDict):
    """Arguments of `Recognizer.transcribe_many`."""

    hotwords: tuple[str, ...]
    decode: DecodeSettings | None


@dataclass(frozen=True)
class Decoding:
    """What the user asked for; nothing, unless they did."""

    greedy: Annotated[bool, _option("Fast: the best symbol of every frame.", "--greedy")] = False
    beam: Annotated[int | None, _option("Search: prefixes kept, 100 say.", min=1)] = None
    alpha: Annotated[float | None, _option("Weight of the language model.", min=0.0)] = None
    beta: Annotated[float | None, _option("Bonus of every word.")] = None
    nbest: Annotated[int | None, _option("Show so many ways to hear it.", min=1)] = None
    hotwords: Annotated[
        str | None, _option('"Names, and terms" likely here, or a file of them.')
    ] = None
    hotword: Annotated[float | None, _option("Bonus of every hotword; 8 is usual.", min=0.0)] = None
    lm: Annotated[Path | None, _option("A language model instead of the file's own.")] = None
    cut: Annotated[
        CutName | None, _option("Hear what is between its pauses, or what sounds like speech.")
    ] = None

    def recognizer(
        self, model: str | os.PathLike[str] | Bundle, threads: int | None = None
    ) -> Recognizer:
        """The recogniser of a bundle, with the language model and the cuts that were asked for."""
        lm = NgramModel.load(self.lm) if self.lm is not None else None
        return Recognizer.load(model, threads=threads, lm=lm, cut=self.cut)

    def settings(self, default: DecodeSettings) -> DecodeSettings | None:
        """The settings that these options make of a model's own; None where they say nothing.

        Raises:
            ConfigError: for options that contradict each other.
        """
        names = ("beam", "alpha", "beta", "nbest", "hotword")
        asked = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        if self.greedy:
            others = [f"--{name}" for name in ("hotwords", "lm") if getattr(self, name) is not None]
            if others := [*(f"--{name}" for name in asked), *others]:
                raise ConfigError(f"--greedy looks at the sound alone: leave out {others[0]}")
            return GreedySettings()
        if not asked and self.lm is None and self.hotwords is None:
            return None
        base = default if isinstance(default, BeamSettings) else BeamSettings()
        return decode_settings(base.to_dict(), asked, source="decoding")

    def of(self, recognizer: Recognizer) -> "HowToDecode":
        """What to tell a recogniser's `transcribe_many`."""
        words = read_hotwords(self.hotwords) if self.hotwords is not None else ()
        said = recognizer.guessed(normalise(word, recognizer.normaliser) for word in words)
        for word, sounds in said.items():
            errors.print(
                f"{word} is not in the model's lexicon; taken to sound {' '.join(sounds)}",
                markup=False,
                soft_wrap=True,
            )
        if self.greedy and recognizer.lexicon is not None and recognizer.lexicon.pronounced:
            errors.print(
                "note: this model hears how words sound; with --greedy, what sounds like no word of"
                " its lexicon is written as it sounds, in capitals. Without it, it does better."
            )
        return {"hotwords": words, "decode": self.settings(recognizer.decode)}

    @property
    def words(self) -> list[str]:
        """The options that were given, as they are typed."""
        given = [(each.name, getattr(self, each.name)) for each in fields(self)]
        typed = ([f"--{name}", *([str(value)] * (value is not True))] for name, value in given)
        wanted = (value is not None and value is not False for _, value in given)
        return [word for words in itertools.compress(typed, wanted) for word in words]

    @property
    def asked(self) -> bool:
        """Whether any option was given."""
        return self != AS_IT_IS


AS_IT_IS = Decoding()


def with_decoding(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of `Decoding`, which it takes as one argument `decoding`."""
    hints = get_type_hints(Decoding, include_extras=True)
    keyword = inspect.Parameter.KEYWORD_ONLY
    options = [
        inspect.Parameter(field.name, keyword, default=field.default, annotation=hints[field.name])
        for field in fields(Decoding)
    ]

    @functools.wraps(command)
    def wrapper(**given: Any) -> None:
        chosen = {option.name: given.pop(option.name) for option in options}
        command(**given, decoding=Decoding(**chosen))

    own = inspect.signature(command).parameters.values()
    rest = [each.replace(kind=keyword) for each in own if each.name != "decoding"]
    parameters = [*rest, *options]
    wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {each.name: each.annotation for each in parameters}
    return wrapper


def with_words(
    card: Card,
    lm: Path | None,
    lexicon: Path | None,
    decode: list[str] | None,
    begun: Bundle | None = None,
) -> tuple[Card, dict[str, bytes]]:
    """A card that decodes as `key=value` words ask, and the members for it; see `with_vocabulary`.

    With a language model or a lexicon it decodes with a beam, unless the words say `kind=greedy`.

    Args:
        begun: a bundle whose language model, lexicon and decoding count where none are given; the
            lexicon is widened by the words of the card's tokenizer.
    """
    asked = bool(lm or lexicon or decode)
    if not card.tokenizer:
        if asked:
            raise ConfigError(f"--lm, --lexicon and --decode are for words, not for {card.answer}")
        return card, {}
    tokenizer = tokenizer_from_dict(card.tokenizer)
    model = NgramModel.load(lm) if lm else read_lm(begun) if begun else None
    words = Lexicon.read(lexicon) if lexicon else None
    base = {"kind": "beam" if asked else "greedy"}
    if begun:
        words = words or _wider(read_vocabulary(begun)[1], tokenizer)
        base = begun.card.decode.to_dict()
    settings = decode_settings(base, parse_overrides(decode or ()), source="--decode")
    if lm and model and words:
        tell_unspoken(model, words)
    return with_vocabulary(card, tokenizer, lm=model, lexicon=words, decode=settings)


def tell_unspoken(lm: NgramModel, lexicon: Lexicon) -> None:
    """Say which words of a language model cannot be heard, for nobody knows how they sound."""
    known = lexicon.ways
    if silent := [word for word in lm.vocabulary if word not in known]:
        errors.print(
            f"{len(silent):,} words of the language model are not in the lexicon and cannot be"
            f" heard: {listed(silent, 5)}; `auricle lexicon write --lm LM --model english -o"
            " words.txt`, then --lexicon words.txt, says how they sound",
            markup=False,
            soft_wrap=True,
        )


def _wider(lexicon: Lexicon | None, tokenizer: Tokenizer) -> Lexicon | None:
    """A lexicon with the words, or ways to say them, that a tokenizer has beyond it.

    Of a word whose pronunciations were weighed nothing is known of another one.
    """
    if lexicon is None or not isinstance(tokenizer, PhonemeTokenizer):
        return lexicon
    known = set(zip(lexicon.words, lexicon.sounds, strict=True))
    weighed = set(lexicon.words) if lexicon.weights else set()
    return lexicon.widened(
        {
            word: sounds
            for word, sounds in tokenizer.lexicon.items()
            if (word, sounds) not in known and word not in weighed
        }
    )


def said(decode: DecodeSettings) -> str:
    """The decoding of a bundle in a few words: what matters most, and what is not as usual."""
    usual = type(decode)().to_dict()
    odd = {key for key, value in usual.items() if value != getattr(decode, key)}
    values = (
        f"{key} {value}"
        for key, value in decode.to_dict().items()
        if key in odd | {"beam", "alpha", "beta"}
    )
    return ", ".join([decode.kind, *values])


def read_hotwords(text: str) -> tuple[str, ...]:
    """Words and phrases parted by commas or lines; or those of the file that `text` names.

    Raises:
        DataError: for a file that is not there, or is no text.
        ConfigError: there is no word.
    """
    path, where = Path(text), repr(text[:40])
    with suppress(OSError):  # too long for a name: words
        if _means_a_file(text, path):
            text, where = read_text(path, "hotwords"), str(path)
    found = phrases_of(text)
    if not found:
        raise ConfigError(f"--hotwords {where}: there is no word in it")
    return found


def _means_a_file(text: str, path: Path) -> bool:
    """Whether hotwords are the name of a file, there or not: "Node.js" and "AC/DC" are none."""
    in_folder = path.is_absolute() or (path.parent != Path() and path.parent.is_dir())
    one = not {",", "\n"} & set(text)
    return path.is_file() or (one and (in_folder or path.suffix.lower() in LISTS))
