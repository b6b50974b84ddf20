"""The numbers of `docs/ctc.md`, as they are written there: by name, for its template."""

import inspect
import math
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import torch

import ctc_pictures as pictures
import ctc_sums as sums
import ctc_training as toy
import ctc_words as words
from auricle.align import force_align
from auricle.decode import BeamSettings, ctc_greedy
from auricle.errors import DataError
from auricle.features import FeatureSettings, FrontEnd
from auricle.losses import ctc_nll, frames_needed
from auricle.models.encoders import ConvLSTMSettings, build_encoder
from auricle.text.numbers import cardinal
from ctc_pictures import fixed
from ctc_sums import BLANK, SYMBOLS, TABLE, WORD, Floats

LETTERS_PER_S = 14.0  # of quick English reading
SHOWN_S = (0.4, 1.0, 2.0, 4.0, 10.0)
ALPHAS, BETAS = (0.25, 0.5, 1.0), (-1.0, 0.0, 1.0, 2.0)
SILENT = 0.95  # of the frames: so many are read as blank on the plateau
GREETED = ("tt-oo", "-t-o-", "tooo-", "to-oo")  # paths for the two rules

Facts = dict[str, str]


def facts(course: toy.Course) -> Facts:
    """Everything that the template asks for, but the pictures."""
    found = _basics() | _worked() | _growth() | _forward() | _gradient() | _too_short()
    found |= _silence() | _spikes(course) | _reading() | _independence() | _model()
    return found | _weights()


# --- how things are written ----------------------------------------------------------------------


def _table(rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _headed(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return _table([head, ["---"] * len(head), *rows])


def _percent(share: float, places: int = 0) -> str:
    return f"{fixed(100 * share, places)} %"


def _minus(value: float, places: int = 2) -> str:
    return fixed(value, places).replace("-", "−")


def _power(value: float) -> str:
    """A large number as 3 × 10^8, a smaller one in full."""
    if value < 1e6:
        return f"{value:,.0f}"
    exponent = math.floor(math.log10(value))
    return f"{value / 10**exponent:.1f} × 10<sup>{exponent}</sup>"


def _code(*functions: Callable[..., Any]) -> str:
    sources = "\n\n\n".join(inspect.getsource(each).rstrip() for each in functions)
    return f"```python\n{sources}\n```"


# --- the worked example --------------------------------------------------------------------------


def every_path() -> list[tuple[sums.Path, float]]:
    """The paths of the word, the likeliest first."""
    return sorted(sums.paths_of(TABLE, sums.target_of(WORD)), key=lambda each: -each[1])


def _nll(y: Floats, target: Sequence[int]) -> tuple[float, Floats]:
    """The loss by `auricle.losses`, and its gradient for the logits, (T, V), by PyTorch."""
    logits = torch.from_numpy(np.log(y))[None].requires_grad_()
    lengths = torch.tensor([len(y)]), torch.tensor([list(target)]), torch.tensor([len(target)])
    loss = ctc_nll(logits.log_softmax(-1), *lengths).sum()
    (gradient,) = torch.autograd.grad(loss, logits)
    return float(loss.detach()), gradient[0].numpy()


def likeliest() -> sums.Path:
    """The best path of the word, by the aligner."""
    alignment = force_align(np.log(TABLE), [[sums.target_of(WORD)]])
    path = [BLANK] * len(TABLE)
    for token in (token for span in alignment.spans if span for token in span.tokens):
        path[token.start_frame : token.end_frame] = [token.id] * (
            token.end_frame - token.start_frame
        )
    return tuple(path)


@cache
def frame_s() -> float:
    """Of our recurrent encoder."""
    front_end = FrontEnd(FeatureSettings())
    return build_encoder(front_end.dim, ConvLSTMSettings()).stride * front_end.hop_s


def _basics() -> Facts:
    paths = [[SYMBOLS.index(symbol) for symbol in path] for path in GREETED]
    rows = [[f"`{sums.spelt(p)}`", f"`{_joined(p)}`", sums.spelt(sums.collapse(p))] for p in paths]
    target = sums.target_of(WORD)
    frames, letters, repeats = _shape(WORD)
    joined = sums.paths_of(TABLE, sums.collapse(target))
    melted = next(p for p, _ in joined if BLANK not in p and p.count(target[-1]) > repeats + 1)
    states = sums.states_of(target)
    return {
        "word": WORD,
        "frames": str(frames),
        "frames_word": cardinal(frames),
        "letters": str(letters),
        "letters_word": cardinal(letters),
        "repeats": str(repeats),
        "symbols": str(len(SYMBOLS)),
        "symbols_word": cardinal(len(SYMBOLS)),
        "states_word": cardinal(len(states)),
        "states_shown": f"`{' '.join(SYMBOLS[state] for state in states)}`",
        "frame_ms": f"{1_000 * frame_s():.0f}",
        "frames_per_s": f"{1 / frame_s():.0f}",
        "collapse_table": _table(rows),
        "melted": sums.spelt(melted),
        "melted_says": sums.spelt(sums.collapse(melted)),
        "code_collapse": _code(sums.collapse),
    }


def _joined(path: Sequence[int]) -> str:
    """A path without its repeats, its blanks still there."""
    kept = [at for at in range(len(path)) if at == 0 or path[at] != path[at - 1]]
    return sums.spelt([path[at] for at in kept])


def _worked() -> Facts:
    every, texts = every_path(), words.texts()
    head = ["", *(f"frame {frame + 1}" for frame in range(len(TABLE)))]
    names = ["blank `-`", *(f"`{symbol}`" for symbol in SYMBOLS[1:])]
    columns = zip(names, TABLE.T, strict=True)
    listed = [[text, fixed(p, 5), str(sums.path_count(*_shape(text)))] for text, p in texts[:5]]
    ours, _ = _nll(TABLE, sums.target_of(WORD))
    probability = sum(p for _, p in every)
    return {
        "all_paths": str(len(SYMBOLS) ** len(TABLE)),
        "paths": str(len(every)),
        "paths_word": cardinal(len(every)),
        "frames_table": _headed(head, ([n, *(f"{v:.1f}" for v in row)] for n, row in columns)),
        "path_sum_terms": " + ".join(fixed(p, 5) for _, p in every),
        "probability": fixed(probability, 5),
        "loss": fixed(-math.log(probability), 4),
        "loss_ours": fixed(ours, 4),
        "texts_count": str(len(texts)),
        "texts_table": _headed(["text", "probability", "paths"], listed),
    }


def _shape(text: str) -> tuple[int, int, int]:
    """Frames, letters and repeats of a text in the worked example."""
    return len(TABLE), len(text), sum(a == b for a, b in pairwise(text))


# --- sums -----------------------------------------------------------------------------------------


def _growth() -> Facts:
    rows = []
    for seconds in SHOWN_S:
        cut = round(seconds / frame_s()), round(seconds * LETTERS_PER_S)
        values = sums.path_count(*cut), sums.operations_of_paths(*cut)
        work = [_power(float(value)) for value in (*values, sums.operations_of_lattice(*cut))]
        rows.append([f"{seconds:g} s", *map(str, cut), *work])
    long = round(SHOWN_S[-1] / frame_s()), round(SHOWN_S[-1] * LETTERS_PER_S)
    frames, letters, repeats = _shape(WORD)
    underflow = next(n for n in range(1, 10_000) if 0.5**n == 0.0)
    return {
        "choose": f"{frames + letters - repeats}, {2 * letters}",
        "letters_per_s": f"{LETTERS_PER_S:.0f}",
        "growth_table": _table(rows),
        "hopeless_s": cardinal(_hopeless_s()),
        "lattice_ms": fixed(1e3 * sums.operations_of_lattice(*long) / pictures.A_SECOND, 1),
        "long_s": f"{SHOWN_S[-1]:g}",
        "long_frames": str(long[0]),
        "half_product": _small(0.5 ** long[0]),
        "underflow_frames": f"{underflow:,}",
        "underflow": str(0.5**underflow),
    }


def _hopeless_s() -> int:
    """The shortest whole seconds that take longer than the universe is old."""
    for seconds in range(1, 100):
        cut = round(seconds / frame_s()), round(seconds * LETTERS_PER_S)
        if sums.operations_of_paths(*cut) > pictures.A_SECOND * pictures.UNIVERSE_S:
            return seconds
    raise ValueError("no sentence is that hopeless")


def _small(value: float) -> str:
    exponent = math.floor(math.log10(value))
    return f"{value / 10.0**exponent:.1f} × 10<sup>−{-exponent}</sup>"


def _third() -> int:
    """The frame, from 0, in which only a blank can stand between the two equal letters."""
    return len(TABLE) // 2


def _forward() -> Facts:
    states = sums.states_of(sums.target_of(WORD))
    alpha, beta = sums.forward(TABLE, states), sums.backward(TABLE, states)
    gamma = alpha * beta / sums.total(alpha)
    third = _third()
    return {
        "code_forward": _code(sums.moves, sums.forward),
        "alpha_letter": fixed(float(alpha[-1, -2]), 5),
        "alpha_blank": fixed(float(alpha[-1, -1]), 5),
        "third": str(third + 1),
        "y_third": fixed(float(TABLE[third, BLANK]), 1),
        "gamma_third": fixed(float(gamma[third, states == BLANK].sum()), 3),
    }


def _gradient() -> Facts:
    _, gradient = _nll(TABLE, sums.target_of(WORD))
    frame = _third()
    rows = [
        [f"`{symbol}`", fixed(y, 3), fixed(y - slope, 3), _minus(slope, 3)]
        for symbol, y, slope in zip(SYMBOLS, TABLE[frame], gradient[frame], strict=True)
    ]
    return {"gradient_table": _table(rows)}


def _too_short() -> Facts:
    target = torch.tensor([sums.target_of(WORD)])
    needed = int(frames_needed(target, torch.tensor([target.shape[1]]))[0])
    log_probs = torch.from_numpy(np.log(TABLE[: needed - 1]))[None]
    lengths = torch.tensor([needed - 1]), torch.tensor([target.shape[1]])
    try:
        ctc_nll(log_probs, lengths[0], target, lengths[1])
    except DataError as error:
        said = str(error)
    plain, zeroed = (
        torch.nn.functional.ctc_loss(
            log_probs.transpose(0, 1), target, *lengths, reduction="none", zero_infinity=zero
        )
        for zero in (False, True)
    )
    return {
        "needed": str(needed),
        "too_few": str(needed - 1),
        "too_few_error": said,
        "torch_inf": str(float(plain[0])),
        "torch_zero": f"`{float(zeroed[0])}`",
    }


# --- learning ------------------------------------------------------------------------------------


def _silence() -> Facts:
    """What a network is told that finds everything equally likely."""
    frames, letters, symbols = 100, 40, 29
    y = np.full((frames, symbols), 1 / symbols)
    target = [1 + number % (symbols - 1) for number in range(letters)]
    _, gradient = _nll(y, target)
    return {
        "plateau_symbols": str(symbols),
        "plateau_frames": str(frames),
        "plateau_letters": str(letters),
        "plateau_y": _percent(1 / symbols),
        "plateau_gamma": _percent(float((y - gradient)[:, BLANK].mean())),
    }


def _spikes(course: toy.Course) -> Facts:
    begin = toy.MOMENTS[0]
    until = next(n for n in range(begin, len(course.blanks)) if course.blanks[n] < SILENT)
    output = course.outputs[toy.MOMENTS[-1]]
    said = course.utterance
    inside = np.zeros(len(output), np.int64)  # the letter of each frame
    for (first, end), letter in zip(said.spans, said.letters, strict=True):
        inside[first:end] = letter
    heard = output.argmax(axis=1)
    return {
        "toy_utterances": str(toy.UTTERANCES),
        "toy_frames": str(len(output)),
        "toy_wrong": _percent(float(course.errors[-1])),
        "silent_from": str(begin),
        "silent_share": _percent(float(course.blanks[begin]), 1),
        "silent_floor": _percent(SILENT),
        "silent_until": str(until),
        "letters_fill": str(int((inside != BLANK).sum())),
        "letters_heard": str(int((heard != BLANK).sum())),
        "letters_away": str(int(((heard != BLANK) & (heard != inside)).sum())),
    }


# --- reading -------------------------------------------------------------------------------------


def _reading() -> Facts:
    path = TABLE.argmax(axis=1).tolist()
    (best, best_probability), *_ = words.texts()
    steps = words.beam_steps()
    rows = [[str(number), *(_held(*each) for each in step)] for number, step in enumerate(steps, 1)]
    appears = next(n for n, step in enumerate(steps) if any(held[0] == WORD for held in step))
    source = next(blank for text, blank, _ in steps[appears - 1] if text == best)
    narrow = next(blank + letter for text, blank, letter in steps[-1] if text == best)
    head = ["frame", *("likeliest second third".split()[: words.NARROW])]
    return {
        "greedy_path": sums.spelt(path),
        "greedy_probability": fixed(math.prod(TABLE.max(axis=1)), 5),
        "greedy_text": words.EXAMPLE.decode(token.id for token in ctc_greedy(np.log(TABLE))),
        "best_text": best,
        "best_paths": str(sums.path_count(*_shape(best))),
        "best_probability": fixed(best_probability, 5),
        "beam_word": cardinal(words.NARROW),
        "beam_table": _headed(head, rows),
        "too_frame": str(appears + 1),
        "too_source": fixed(source, 4),
        "too_factor": f"{TABLE[appears, SYMBOLS.index('o')]:.1f}",
        "narrow_probability": fixed(narrow, 5),
        "default_beam": str(BeamSettings().beam),
    }


def _held(text: str, blank: float, letter: float) -> str:
    return f"*{text or 'nothing yet'}* {fixed(blank, 4)} + {fixed(letter, 4)}"


def _independence() -> Facts:
    found = words.beam(words.THEIR, BeamSettings(nbest=10), with_model=False)
    shares = {" ".join(each.words): math.exp(each.acoustic) for each in found}
    neither = max(shares, key=lambda text: shares[text])
    exist = set(words.model().vocabulary)
    frame = words.THEIR[-1]
    hair = sorted(frame.values() if not isinstance(frame, str) else (), reverse=True)
    return {
        "nonsense": _percent(sum(p for text, p in shares.items() if text not in exist)),
        "neither": neither,
        "neither_share": _percent(shares[neither]),
        "hair": f"{hair[0]:.2f}",
        "hair_rest": f"{hair[1]:.2f}",
    }


def _model() -> Facts:
    found = words.beam(words.THEIR_DOG)
    fused = [
        [" ".join(each.words), *map(_minus, (each.acoustic, each.lm, each.score))] for each in found
    ]
    best = found[0].words
    other = tuple({"their": "there", "there": "their"}.get(word, word) for word in best)
    rows = []
    for sentence in (best, other):
        scores = words.model().score(sentence)
        names = [*sentence, "end"]
        each = " · ".join(f"{n} {_minus(s, 1)}" for n, s in zip(names, scores, strict=True))
        rows.append([" ".join(sentence), each, _minus(sum(scores), 1)])
    return {
        "sentences": str(len(words.SENTENCES)),
        "sentences_text": " · ".join(words.SENTENCES),
        "greedy_sentence": words.greedy(words.THEIR_DOG),
        "alone_sentence": " ".join(words.beam(words.THEIR_DOG, with_model=False)[0].words),
        "fused_table": _table(fused),
        "words_table": _headed(["text", "ln p of each word after those before it", "sum"], rows),
    }


def _weights() -> Facts:
    head = ["", *(f"β = {beta:g}".replace("-", "−") for beta in BETAS)]
    rows = [
        [f"α = {alpha:g}", *(_read(words.MAY_BE, alpha, beta) for beta in BETAS)]
        for alpha in ALPHAS
    ]
    gap = next(frame for frame in words.MAY_BE if not isinstance(frame, str))
    rome = next(frame for frame in words.ROME if not isinstance(frame, str))
    searches = {
        "beam alone": words.beam(words.ROME, with_model=False),
        "with the model": words.beam(words.ROME),
        "with the model, hotword *rome*": words.beam(words.ROME, hotwords=["rome"]),
    }
    return {
        "default_alpha": f"{BeamSettings().alpha:g}",
        "gap": _percent(gap[" "]),
        "weights_table": _headed(head, rows),
        "rome_sure": _percent(rome["r"]),
        "rome_table": _table([n, " ".join(each[0].words)] for n, each in searches.items()),
    }


def _read(frames: Iterable[words.Frame], alpha: float, beta: float) -> str:
    best, *_ = words.beam(frames, BeamSettings(alpha=alpha, beta=beta))
    return " ".join(best.words)
