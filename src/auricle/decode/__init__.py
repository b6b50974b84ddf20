"""Decoding: arrays of log probabilities in, tokens, words and transcripts out."""

from auricle.decode.beam import BeamDecoder, Hypothesis, Stream
from auricle.decode.confidence import Calibration, fit_calibration, word_features
from auricle.decode.decoder import Decoder, Heard, Listening, Reading, build_decoder
from auricle.decode.fusion import LanguageModel
from auricle.decode.greedy import Token, ctc_collapse, ctc_greedy
from auricle.decode.lexicon import Lexicon
from auricle.decode.settings import (
    BeamSettings,
    DecodeSettings,
    GreedySettings,
    decode_settings,
)
from auricle.decode.words import Spelt, assemble, spell

__all__ = [
    "BeamDecoder",
    "BeamSettings",
    "Calibration",
    "DecodeSettings",
    "Decoder",
    "GreedySettings",
    "Heard",
    "Hypothesis",
    "LanguageModel",
    "Lexicon",
    "Listening",
    "Reading",
    "Spelt",
    "Stream",
    "Token",
    "assemble",
    "build_decoder",
    "ctc_collapse",
    "ctc_greedy",
    "decode_settings",
    "fit_calibration",
    "spell",
    "word_features",
]
