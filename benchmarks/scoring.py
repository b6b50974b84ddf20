"""Word and character errors of many utterances, beside jiwer: the same counts, and how soon."""

import random
import string
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import common

from auricle import metrics

T = TypeVar("T")
COUNTS = ("hits", "substitutions", "deletions", "insertions")
GOAL = 10.0  # times jiwer's speed


def texts(utterances: int, share: float, seed: int = 0) -> tuple[list[str], list[str]]:
    """Made-up references of 1 to 39 words, and hypotheses with about `share` of them wrong."""
    rng = random.Random(seed)
    letters = string.ascii_lowercase
    words = ["".join(rng.choices(letters, k=rng.randint(2, 9))) for _ in range(20_000)]
    references = [rng.choices(words, k=rng.randint(1, 39)) for _ in range(utterances)]
    hypotheses = []
    for reference in references:
        heard: list[str] = []
        for word in reference:
            fate = rng.random() / share
            if fate < 0.6:
                heard.append(rng.choice(words))
            elif fate < 0.8:
                continue
            elif fate < 1.0:
                heard += [word, rng.choice(words)]
            else:
                heard.append(word)
        hypotheses.append(heard)
    return [" ".join(row) for row in references], [" ".join(row) for row in hypotheses]


def timed(call: Callable[[], T], times: int) -> tuple[float, T]:
    """The least of several durations in seconds, and the answer."""
    least, answer = float("inf"), None
    for _ in range(times):
        begun = time.perf_counter()
        answer = call()
        least = min(least, time.perf_counter() - begun)
    assert answer is not None
    return least, answer


def agree(references: list[str], hypotheses: list[str]) -> None:
    """Ends the benchmark when an utterance is counted otherwise than by jiwer."""
    import jiwer

    for reference, hypothesis in zip(references, hypotheses, strict=True):
        ours = metrics.score_words([reference], [hypothesis])
        peer = jiwer.process_words(reference, hypothesis)
        if any(getattr(ours, name) != getattr(peer, name) for name in COUNTS):
            sys.exit(f"counted otherwise than by jiwer: {reference!r} and {hypothesis!r}")


def main() -> None:
    options = common.parser(__doc__ or "")
    options.add_argument("--utterances", type=int, default=20_000)
    chosen = options.parse_args()
    import jiwer

    common.warn_if_busy()
    numbers: dict[str, Any] = {"machine": common.machine(), "utterances": chosen.utterances}
    rows = []
    for share in (0.05, 0.1, 0.3):
        common.note(f"{chosen.utterances} utterances with {share:.0%} wrong ...")
        pair = texts(chosen.utterances, share)
        agree(*pair)
        for unit, ours, peer in (
            ("words", metrics.score_words, jiwer.process_words),
            ("characters", metrics.score_characters, jiwer.process_characters),
        ):
            ours_s, counted = timed(partial(ours, *pair), 5)
            peer_s, expected = timed(partial(peer, *pair), 2)
            if any(getattr(counted, name) != getattr(expected, name) for name in COUNTS):
                sys.exit(f"the sums differ from jiwer's ({unit}, {share:.0%} wrong)")
            label = f"{unit}, {share:.0%} wrong"
            value = f"{ours_s:.3f} s, jiwer {peer_s:.3f} s: {peer_s / ours_s:.1f} x (goal {GOAL:g})"
            rows.append((label, value))
            numbers[label] = {"auricle_s": ours_s, "jiwer_s": peer_s, "ratio": peer_s / ours_s}
    rows.append(("counted as jiwer does", "each utterance"))
    common.finish("scoring", rows, numbers, chosen.json)


if __name__ == "__main__":
    main()
