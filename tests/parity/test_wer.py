"""WER and CER against jiwer, utterance by utterance, and against the textbook recursion."""

import random

import jiwer
import numpy as np
import pytest

from auricle.metrics import ErrorCounts, cer, score_characters, score_words, wer

EDGES = [
    ("", ""),
    ("", "a b"),
    ("a b", ""),
    ("a", "a"),
    ("a b c", "c b a"),
    ("a a a a", "a a"),
    ("a b", "b a b a"),
    ("  spaces   around ", "spaces around"),
    ("naïve café", "naive café"),
    ("你好 世界", "你好 世 界"),
    ("नमस्ते दुनिया", "नमस्ते दुनिय"),
    ("smile 😀 now", "smile 😁 now"),
    ("it's", "its"),
    ("one two three four five", "six seven"),
]


def random_pairs(number: int) -> list[tuple[str, str]]:
    """Utterances of a small vocabulary, so that there are many equally cheap alignments."""
    rng = random.Random(1)
    words = ["a", "b", "the", "cat", "ça", "好", "c"]
    return [
        (" ".join(rng.choices(words, k=rng.randrange(9))), " ".join(rng.choices(words, k=length)))
        for length in (rng.randrange(9) for _ in range(number))
    ]


PAIRS = EDGES + random_pairs(400)
REFERENCES = [reference for reference, _ in PAIRS]
HYPOTHESES = [hypothesis for _, hypothesis in PAIRS]


def in_one(counts: ErrorCounts) -> tuple[int, int, int, int, float]:
    hits, substitutions, deletions, insertions = counts.rows.sum(axis=0).tolist()
    return hits, substitutions, deletions, insertions, counts.rate


def of_jiwer(
    output: jiwer.WordOutput | jiwer.CharacterOutput, rate: float
) -> tuple[int, int, int, int, float]:
    return output.hits, output.substitutions, output.deletions, output.insertions, rate


@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_every_utterance_counts_like_jiwer(pair: tuple[str, str]) -> None:
    words = jiwer.process_words(*pair)
    assert in_one(score_words(*([text] for text in pair))) == of_jiwer(words, words.wer)
    # jiwer counts each of several spaces as a character; we fold them first, as for words.
    characters = jiwer.process_characters(*(" ".join(text.split()) for text in pair))
    expected = of_jiwer(characters, characters.cer)
    assert in_one(score_characters(*([text] for text in pair))) == expected


def test_the_corpus_counts_like_jiwer() -> None:
    words = jiwer.process_words(REFERENCES, HYPOTHESES)
    assert in_one(score_words(REFERENCES, HYPOTHESES)) == of_jiwer(words, words.wer)
    assert wer(REFERENCES, HYPOTHESES) == words.wer
    folded = [[" ".join(text.split()) for text in side] for side in (REFERENCES, HYPOTHESES)]
    assert cer(REFERENCES, HYPOTHESES) == jiwer.process_characters(*folded).cer


def test_the_errors_are_the_fewest_there_can_be() -> None:
    counts = score_words(REFERENCES, HYPOTHESES)
    for row, reference, hypothesis in zip(counts.rows, REFERENCES, HYPOTHESES, strict=True):
        assert row[1:].sum() == distance(reference.split(), hypothesis.split())
        assert row[:3].sum() == len(reference.split())
        assert row[0] + row[1] + row[3] == len(hypothesis.split())


def distance(reference: list[str], hypothesis: list[str]) -> int:
    """Levenshtein's recursion (Wagner & Fischer 1974)."""
    table = np.add.outer(np.arange(len(reference) + 1), np.arange(len(hypothesis) + 1))
    for i, said in enumerate(reference, 1):
        for j, heard in enumerate(hypothesis, 1):
            table[i, j] = min(
                table[i - 1, j] + 1, table[i, j - 1] + 1, table[i - 1, j - 1] + (said != heard)
            )
    return int(table[-1, -1])
