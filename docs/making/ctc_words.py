"""What is read from the frames, without and with a language model: the examples of `docs/ctc.md`.

The sounds are as clear as can be, but for the frames that an example is about: so the numbers are
those of the example alone.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cache

import numpy as np

from auricle import lm
from auricle.decode import BeamDecoder, BeamSettings, Hypothesis, ctc_greedy
from auricle.lm import NgramModel
from auricle.text import BLANK, CharTokenizer
from ctc_sums import SYMBOLS, TABLE, Floats

EXACT = BeamSettings(beam=10_000, token_prune=1_000, score_prune=1e6, skip_blank=1.0, nbest=10_000)
NARROW = 3  # prefixes, of the beam whose steps are shown
ORDER = 3  # n-grams
SENTENCES = """
their cat is old
there is a cat
there is a dog
is the dog there
is the cat there
we saw their dog
we saw their cat
the old cat is there
the dog is not there
their dog ran home
their old dog ran home
a cat ran there
maybe the dog ran home
maybe the cat is old
maybe it is old
it is there
it may rain
the cat may be home
""".strip().splitlines()

Frame = str | Mapping[str, float]  # a symbol beyond doubt, or the probabilities of several
# The sound of their and there, to a network that cannot know which of them was meant.
THEIR: tuple[Frame, ...] = (*"the", {"i": 0.52, "r": 0.48}, {"e": 0.52, "r": 0.48})
THEIR_DOG: tuple[Frame, ...] = (*THEIR, *" dog is ", *THEIR)
MAY_BE: tuple[Frame, ...] = (*"it may", {" ": 0.3, "-": 0.7}, *"be there")
ROME: tuple[Frame, ...] = (*"their dog ran ", {"r": 0.95, "h": 0.05}, *"ome")

TOKENIZER = CharTokenizer.learn(SENTENCES)
EXAMPLE = CharTokenizer((BLANK, *SYMBOLS[1:]))  # of the worked example


@cache
def model() -> NgramModel:
    """The language model of the few sentences."""
    return lm.build(SENTENCES, ORDER)


def sound(frames: Iterable[Frame]) -> Floats:
    """Log probabilities, (T, V), of frames."""
    ids = {symbol: number for number, symbol in enumerate(TOKENIZER.symbols)} | {"-": 0}
    listed = [{frame: 1.0} if isinstance(frame, str) else frame for frame in frames]
    y = np.zeros((len(listed), len(TOKENIZER.symbols)))
    for row, frame in zip(y, listed, strict=True):
        row[[ids[symbol] for symbol in frame]] = list(frame.values())
    with np.errstate(divide="ignore"):
        logarithms: Floats = np.log(y)
    return logarithms


def greedy(frames: Iterable[Frame]) -> str:
    return TOKENIZER.decode(token.id for token in ctc_greedy(sound(frames)))


def beam(
    frames: Iterable[Frame],
    settings: BeamSettings | None = None,
    *,
    with_model: bool = True,
    hotwords: Sequence[str] = (),
) -> list[Hypothesis]:
    """The likeliest readings, by the beam search that `auricle transcribe` uses."""
    lm = model() if with_model else None
    decoder = BeamDecoder(TOKENIZER, settings or BeamSettings(nbest=4), lm=lm, hotwords=hotwords)
    return decoder.decode(sound(frames))


def texts(y: Floats = TABLE) -> list[tuple[str, float]]:
    """Every text that the worked example may say, and its probability, the likeliest first."""
    found = BeamDecoder(EXAMPLE, EXACT).decode(np.log(y))
    return [(" ".join(each.words), math.exp(each.acoustic)) for each in found]


def beam_steps() -> list[list[tuple[str, float, float]]]:
    """What a narrow beam holds after each frame of the worked example.

    Prefixes, the likeliest first, each with the mass of its paths that end in a blank and of those
    that end in its last letter.
    """
    decoder = BeamDecoder(EXAMPLE, EXACT.model_copy(update={"beam": NARROW}))
    state, steps = decoder.start(), []
    for frame in np.log(TABLE):
        state = decoder.step(state, frame[None])
        held = []
        for row in state.search.rows:
            tokens, _ = state.search.history.tokens(row)
            prefix = EXAMPLE.decode(token.id for token in tokens)
            held.append((prefix, math.exp(row["blank"]), math.exp(row["spoken"])))
        steps.append(sorted(held, key=lambda each: -each[1] - each[2]))
    return steps
