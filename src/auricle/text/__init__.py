"""Text: versioned normalisers, and tokenizers that turn transcripts into ids and back.

The order is always `normalise` -> `Tokenizer.encode`; a tokenizer changes no letter by itself.
"""

from auricle.text.lexicon import parse_lexicon, read_lexicon
from auricle.text.normaliser import ALPHABETS, NORMALISERS, normalise
from auricle.text.tokenizers import (
    BLANK,
    BpeTokenizer,
    CharTokenizer,
    PhonemeTokenizer,
    TextSettings,
    Tokenizer,
    learn_tokenizer,
    tokenizer_from_dict,
)

__all__ = [
    "ALPHABETS",
    "BLANK",
    "NORMALISERS",
    "BpeTokenizer",
    "CharTokenizer",
    "PhonemeTokenizer",
    "TextSettings",
    "Tokenizer",
    "learn_tokenizer",
    "normalise",
    "parse_lexicon",
    "read_lexicon",
    "tokenizer_from_dict",
]
