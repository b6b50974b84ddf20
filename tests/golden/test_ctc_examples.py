"""The worked examples of CTC: every path that spells a word, by hand. "-" is the blank."""

import numpy as np
import pytest

from auricle.decode import ctc_greedy
from auricle.text import BLANK, CharTokenizer

EXAMPLES = {
    "-G-o-ood": "Good",
    "G-oo-od-": "Good",
    "GGo-oodd": "Good",
    "--Good--": "God",  # without a blank between them two equal letters are one
    "hh-e-l-lo": "hello",
    "c-aaa-t-": "cat",
    "aa-a-": "aa",
    "-----": "",
    "t-h-e- -c-a-t": "the cat",
}


@pytest.mark.parametrize("path", EXAMPLES)
def test_a_path_spells_its_word(path: str) -> None:
    letters = sorted(set("".join(EXAMPLES)) - {"-"})
    tokenizer = CharTokenizer((BLANK, *letters))
    ids = [0 if letter == "-" else tokenizer.encode(letter)[0] for letter in path]
    log_probs = np.log(np.eye(len(tokenizer.symbols))[ids] * 0.9 + 0.1 / len(tokenizer.symbols))
    assert tokenizer.decode(token.id for token in ctc_greedy(log_probs)) == EXAMPLES[path]
