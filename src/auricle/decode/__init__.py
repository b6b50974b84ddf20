"""Decoding: arrays of log probabilities in, tokens, words and transcripts out."""

from auricle.decode.beam import BeamDecoder, BeamSettings, Hypothesis, Stream
from auricle.decode.greedy import Token, ctc_greedy
from auricle.decode.lexicon import Lexicon
from auricle.decode.words import assemble, spell

__all__ = [
    "BeamDecoder",
    "BeamSettings",
    "Hypothesis",
    "Lexicon",
    "Stream",
    "Token",
    "assemble",
    "ctc_greedy",
    "spell",
]
