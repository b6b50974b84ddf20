"""Decoding: arrays of log probabilities in, tokens, words and transcripts out."""

from auricle.decode.greedy import Token, ctc_greedy
from auricle.decode.words import assemble, spell

__all__ = ["Token", "assemble", "ctc_greedy", "spell"]
