"""What a bundle knows of words beside its graph: how they sound, and which follow which.

The lexicon of a phoneme model is a member of its own, so that there is one and not two: its card
holds a tokenizer without it. Bundles that have none (of models of letters, or written before there
were members) are read too.
"""

from collections.abc import Sequence

from auricle.bundle import LEXICON, LM, Bundle, Card
from auricle.decode import DecodeSettings, Lexicon
from auricle.decode.lexicon import Spelling
from auricle.errors import ConfigError, DataError, ModelError
from auricle.lm import NgramModel
from auricle.pronounce import is_pronouncer
from auricle.text import PhonemeTokenizer, Tokenizer, tokenizer_from_dict

LARGEST_LEXICON_BYTES = 64 << 20  # of CMUdict there are 4 MB


def read_vocabulary(bundle: Bundle) -> tuple[Tokenizer, Lexicon | None]:
    """The tokenizer of a bundle, and its lexicon if there is one.

    Raises:
        ModelError: when either is damaged.
    """
    described = bundle.card.tokenizer
    if LEXICON not in bundle.card.members:
        tokenizer = tokenizer_from_dict(described)
        return tokenizer, _lexicon_of(tokenizer)
    size_bytes = bundle.card.members[LEXICON].size_bytes
    if size_bytes > LARGEST_LEXICON_BYTES:
        raise ModelError(f"{bundle.path}: {LEXICON} has {size_bytes} bytes: that is no lexicon")
    try:
        lexicon = Lexicon.parse(bundle.member(LEXICON).decode(), LEXICON)
    except (UnicodeDecodeError, DataError) as error:
        raise ModelError(f"{bundle.path}: damaged: {LEXICON}: {error}") from None
    if described.get("unit") == "phoneme":
        first: dict[str, str] = {}
        for word, sounds in zip(lexicon.words, lexicon.sounds, strict=True):
            first.setdefault(word, " ".join(sounds))
        described = {**described, "lexicon": first}
    return tokenizer_from_dict(described), lexicon


def read_lm(bundle: Bundle) -> NgramModel | None:
    """The language model of a bundle, if there is one.

    Raises:
        ModelError: when it is damaged.
    """
    if LM not in bundle.card.members:
        return None
    return NgramModel.from_bytes(bundle.member(LM), f"{bundle.path}: {LM}")


def with_vocabulary(
    card: Card,
    tokenizer: Tokenizer,
    *,
    lm: NgramModel | None = None,
    lexicon: Lexicon | None = None,
    decode: DecodeSettings | None = None,
) -> tuple[Card, dict[str, bytes]]:
    """A card and members that hold these, for `write_bundle`.

    Args:
        card: of the model; a lexicon inside its tokenizer moves out of it.
        tokenizer: of the model.
        lm: over words.
        lexicon: instead of the tokenizer's own.
        decode: the defaults; without them, as the card says.

    Raises:
        ConfigError: for a model or lexicon of which the symbols can spell no word.
    """
    lexicon = lexicon or _lexicon_of(tokenizer)
    members, described = {}, card.tokenizer
    if lexicon is not None:
        _check_spelling("lexicon", lexicon.sounds, tokenizer)
        if isinstance(tokenizer, PhonemeTokenizer):
            tokenizer.check(lexicon.sounds)
        members[LEXICON] = lexicon.to_text().encode()
        described = {key: value for key, value in described.items() if key != "lexicon"}
    if lm is not None:
        if lm.unit != "word":
            raise ConfigError("a recogniser needs a language model over words, not characters")
        if is_pronouncer(lm):
            raise ConfigError("a recogniser needs a language model over words: this one pronounces")
        if lexicon is None:
            _check_spelling("language model", lm.symbols, tokenizer)
        members[LM] = lm.to_bytes()
    updates = {"tokenizer": described, "decode": decode or card.decode}
    return card.model_copy(update=updates), members


def _lexicon_of(tokenizer: Tokenizer) -> Lexicon | None:
    if not isinstance(tokenizer, PhonemeTokenizer) or not tokenizer.lexicon:
        return None
    return Lexicon(tuple(tokenizer.lexicon), tuple(tokenizer.lexicon.values()))


def _check_spelling(what: str, spellings: Sequence[Sequence[str]], tokenizer: Tokenizer) -> None:
    """See that the symbols spell words at all: phonemes with stress, say, are others without."""
    spelling = Spelling.of(tokenizer)
    if not any(spelling.spell(each) for each in spellings):
        letters = sorted({letter for each in spellings for letter in each} - set(spelling.numbers))
        raise ConfigError(
            f"no word of the {what} can be spelt with the model's symbols: it has"
            f" {', '.join(letters[:8])}, the model has {', '.join(sorted(spelling.numbers)[:8])}"
        )
