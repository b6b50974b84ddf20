"""Decoding: arrays of log probabilities in, tokens, words and transcripts out."""

from auricle.decode.beam import BeamDecoder, Hypothesis, Stream
from auricle.decode.greedy import Token, ctc_greedy
from auricle.decode.lexicon import Lexicon
from auricle.decode.settings import (
    BeamSettings,
    DecodeSettings,
    GreedySettings,
    decode_settings,
)
from auricle.decode.words import assemble, spell

__all__ = [
    "BeamDecoder",
    "BeamSettings",
    "DecodeSettings",
    "GreedySettings",
    "Hypothesis",
    "Lexicon",
    "Stream",
    "Token",
    "assemble",
    "ctc_greedy",
    "decode_settings",
    "spell",
]
