"""Forced alignment: when each word of a known text was said, and where text and sound differ."""

from auricle.align.script import Script
from auricle.align.search import STRICT, Alignment, AlignSettings, Insertion, Span, force_align
from auricle.align.times import Aligned, Extra, Missing, Posteriors, align_recording

__all__ = [
    "STRICT",
    "AlignSettings",
    "Aligned",
    "Alignment",
    "Extra",
    "Insertion",
    "Missing",
    "Posteriors",
    "Script",
    "Span",
    "align_recording",
    "force_align",
]
