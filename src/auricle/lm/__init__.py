"""N-gram language models: build from text, prune, store, ask.

Reading order: `model` answers questions; `counting`, `smoothing` and `pruning` make the tables
(`trie`) that a model is frozen from; `arpa` and `storage` are its two file formats.
"""

from auricle.lm.arpa import read_arpa
from auricle.lm.build import build, read_lines
from auricle.lm.model import NgramModel
from auricle.lm.scoring import Perplexity

__all__ = ["NgramModel", "Perplexity", "build", "read_arpa", "read_lines"]
