"""The pictures of `docs/ctc.md`, drawn with `auricle.drawing`."""

import math
from collections.abc import Sequence

import numpy as np

import ctc_sums as sums
from auricle.drawing import Axis, Band, Box, Disc, Line, Panel, Picture, Text
from auricle.drawing.colours import Role
from auricle.text.numbers import cardinal
from ctc_sums import BLANK, SYMBOLS, TABLE, Floats, Path
from ctc_training import LETTERS, REACH, SCORED_EVERY, TONE_FRAMES, Course

WIDTH = 760.0
INK: tuple[Role, ...] = (
    "soft",
    "accent",
    "second",
    "good",
)  # of the symbols: blank, first letter ...


def _title(picture: Picture, title: str, below: str) -> None:
    picture.add(Text(20, 30, title, 16, bold=True), Text(20, 50, below, 12, "soft"))


def _line(x: Sequence[float], y: Sequence[float]) -> Floats:
    return np.stack([x, y], axis=1).astype(np.float64)


def fixed(value: float, places: int) -> str:
    """A number with so many places; what lies between two is rounded up, on every machine."""
    text = f"{value + math.copysign(1e-12, value):.{places}f}"
    return text if float(text) else text.removeprefix("-")


# --- the lattice -------------------------------------------------------------------------------

NODE = 14.0


def lattice(best: Path) -> Picture:
    """States down, frames across; every way from the left to the right is a path."""
    states = sums.states_of(sums.target_of(sums.WORD))
    ways = sums.paths_of(TABLE, sums.target_of(sums.WORD))
    used = {place for path, _ in ways for place in enumerate(_states_on(path))}
    picture = Picture(WIDTH, 440, f"The lattice of the word {sums.WORD} in {len(TABLE)} frames")
    _title(
        picture,
        f'The lattice of "{sums.WORD}"',
        "One column a frame, one row a state. A path enters at the top left, leaves at the bottom"
        " right.",
    )
    at = [(96 + 92 * frame, 96 + 46 * state) for frame in range(5) for state in range(7)]
    place = {(frame, state): at[7 * frame + state] for frame in range(5) for state in range(7)}
    chosen = set(zip(enumerate(_states_on(best)), enumerate(_states_on(best)[1:], 1), strict=False))
    steps = [((t - 1, a), (t, b)) for t in range(1, 5) for a, b in sums.moves(states)]
    steps.sort(key=lambda step: ((step in chosen), step[0] in used and step[1] in used))
    for begin, end in steps:
        known = begin in used and end in used
        colour: Role = "good" if (begin, end) in chosen else "soft" if known else "faint"
        picture.add(_arrow(place[begin], place[end], colour, 2.6 if colour == "good" else 1.1))
    for (frame, state), (x, y) in place.items():
        symbol = int(states[state])
        known = (frame, state) in used
        edge: Role = INK[symbol] if known else "faint"
        picture.add(Disc(x, y, NODE, "panel" if known else "paper", edge, 1.6))
        letter = Text(x, y + 5, SYMBOLS[symbol], 15, edge, "middle", bold=known)
        picture.add(letter)
    for frame in range(5):
        picture.add(Text(96 + 92 * frame, 412, f"frame {frame + 1}", 11.5, "soft", "middle"))
    for state, symbol in enumerate(states):
        y = 96 + 46 * state + 4
        name = "blank" if symbol == BLANK else "letter"
        picture.add(Text(62, y, name, 11.5, INK[symbol], "end"))
    _moves(picture)
    return picture


def _states_on(path: Path) -> list[int]:
    """The state of a path of the worked example at each frame."""
    state, on = (0 if path[0] == BLANK else 1), []
    states = sums.states_of(sums.target_of(sums.WORD))
    for symbol in path:
        if symbol != states[state]:
            state += 1 if state + 1 < len(states) and states[state + 1] == symbol else 2
        on.append(state)
    return on


def _arrow(
    begin: tuple[float, float], end: tuple[float, float], colour: Role, width: float
) -> Line:
    a, b = np.array(begin), np.array(end)
    along = (b - a) / np.hypot(*(b - a))
    return Line(
        np.stack([a + along * (NODE + 2), b - along * (NODE + 3)]), colour, width, arrow=True
    )


def _moves(picture: Picture) -> None:
    """What an arrow may do, to the right of the lattice."""
    x, y = 534.0, 96.0
    picture.add(Text(x, y, "A step may", 12.5, bold=True))
    steps = [
        ((0.0, 0.0), "stay: the same symbol", "goes on"),
        ((0.0, 24.0), "go to the next state", ""),
        ((0.0, 40.0), "jump over a blank, from", "a letter to a different one"),
    ]
    y += 28
    for (_, down), first, second in steps:
        picture.add(_legend(x, y - 4, down, "soft"))
        picture.add(Text(x + 48, y, first, 12), Text(x + 48, y + 17, second, 12))
        y += max(46.0, down + 26)
    picture.add(Text(x, y + 8, "but not", 12.5, bold=True))
    y += 34
    picture.add(_legend(x, y - 4, 40.0, "bad"))
    picture.add(Text(x + 48, y, "over the blank between", 12))
    picture.add(Text(x + 48, y + 17, "two equal letters: without", 12))
    picture.add(Text(x + 48, y + 34, "it they are one letter", 12))
    y += 74
    picture.add(Line(_line([x, x + 34], [y - 4, y - 4]), "good", 2.6, arrow=True))
    picture.add(Text(x + 48, y, "the likeliest path", 12, "good"))


def _legend(x: float, y: float, down: float, colour: Role) -> Line:
    return Line(_line([x, x + 34], [y, y + down]), colour, 1.4, dashed=colour == "bad", arrow=True)


# --- all paths -----------------------------------------------------------------------------------


def paths(every: Sequence[tuple[Path, float]]) -> Picture:
    """The paths of the worked example, what each frame gives, and the products as bars."""
    spoken = "; ".join(f"{sums.spelt(path)} {fixed(p, 5)}" for path, p in every)
    rows = len(every)
    picture = Picture(
        WIDTH,
        128 + 38 * rows,
        f'All paths that say "{sums.WORD}" and their probabilities: {spoken}',
    )
    _title(
        picture,
        f'Every path that says "{sums.WORD}"',
        "A frame adds the probability of its symbol; a path is worth the product of its frames.",
    )
    most = max(probability for _, probability in every)
    for frame in range(5):
        picture.add(Text(70 + 62 * frame, 82, f"frame {frame + 1}", 11, "soft", "middle"))
    for row, (path, probability) in enumerate(every):
        y = 92 + 38 * row
        for frame, symbol in enumerate(path):
            x = 42 + 62 * frame
            picture.add(Box(x, y, 56, 30, INK[symbol], radius=5, opacity=0.16))
            picture.add(Text(x + 15, y + 20, SYMBOLS[symbol], 15, INK[symbol], "middle", bold=True))
            value = f"{TABLE[frame, symbol]:.1f}"
            picture.add(Text(x + 46, y + 20, value, 12, "ink", "end"))
        picture.add(Text(358, y + 20, f"= {fixed(probability, 5)}", 13))
        picture.add(Box(440, y + 5, 290 * probability / most, 20, "accent", radius=2, opacity=0.75))
    y = 92 + 38 * rows
    sum_ = sum(probability for _, probability in every)
    picture.add(Line(_line([350, 430], [y + 2, y + 2]), "ink", 1.2))
    picture.add(Text(348, y + 22, "sum", 13, "soft", "end"))
    picture.add(Text(358, y + 22, f"= {fixed(sum_, 5)}", 13, bold=True))
    return picture


# --- forward, backward, posterior ----------------------------------------------------------------

CELL_WIDTH, CELL_HEIGHT = 43.0, 27.0


def forward_backward() -> Picture:
    states = sums.states_of(sums.target_of(sums.WORD))
    alpha, beta = sums.forward(TABLE, states), sums.backward(TABLE, states)
    gamma = alpha * beta / sums.total(alpha)
    picture = Picture(
        WIDTH, 322, "Three tables of states by frames: forward, backward, and posterior"
    )
    _title(
        picture,
        "Forward, backward, and both together",
        "One row a state, one column a frame. An empty cell is out of reach: no path goes there.",
    )
    panels = [
        ("forward: all beginnings", alpha, "accent"),
        ("backward: all endings", beta, "second"),
        ("posterior: through here", gamma, "good"),
    ]
    for number, (name, values, colour) in enumerate(panels):
        _cells(picture, 36 + 244 * number, name, values, colour, states)
    return picture


def _cells(
    picture: Picture, x: float, name: str, values: Floats, colour: Role, states: np.ndarray
) -> None:
    y = 94.0
    picture.add(Text(x, y - 12, name, 12.5, colour, bold=True))
    for state, symbol in enumerate(states):
        top = y + CELL_HEIGHT * state
        letter = Text(x - 10, top + 18, SYMBOLS[symbol], 13, INK[symbol], "middle", bold=True)
        picture.add(letter)
        for frame, value in enumerate(values[:, state]):
            left = x + CELL_WIDTH * frame
            picture.add(Box(left, top, CELL_WIDTH - 2, CELL_HEIGHT - 2, "panel", radius=3))
            if value > 0:
                shade = 0.08 + 0.6 * float(value)
                size = (CELL_WIDTH - 2, CELL_HEIGHT - 2)
                picture.add(Box(left, top, *size, colour, radius=3, opacity=shade))
                middle = left + CELL_WIDTH / 2 - 1
                picture.add(Text(middle, top + 17, fixed(float(value), 4), 10.5, "ink", "middle"))
    for frame in range(len(values)):
        middle = x + CELL_WIDTH * (frame + 0.5) - 1
        picture.add(Text(middle, y + 7 * CELL_HEIGHT + 14, str(frame + 1), 11, "soft", "middle"))


# --- how many paths there are ------------------------------------------------------------------

A_SECOND = 1e9  # operations of a fast core
YEAR_S = 365.25 * 86_400
UNIVERSE_S = 13.8e9 * YEAR_S  # its age: Planck Collaboration 2018, arXiv:1807.06209


def growth(frames_per_s: float, letters_per_s: float) -> Picture:
    """Work of both ways to sum over the length of a sentence; powers of ten upwards."""
    picture = Picture(WIDTH, 366, "Operations of the sum over paths and of the lattice by length")
    _title(
        picture,
        "One by one, or state by state",
        f"Speech of {letters_per_s:.0f} letters a second, {frames_per_s:.0f} frames a second.",
    )
    seconds = np.linspace(0.2, 10, 50)
    cuts = [(round(frames_per_s * each), round(letters_per_s * each)) for each in seconds]
    one_by_one = [math.log10(sums.operations_of_paths(*cut)) for cut in cuts]
    by_state = [math.log10(sums.operations_of_lattice(*cut)) for cut in cuts]
    powers = tuple(range(0, 101, 20))
    up = Axis(0, 110, "operations", ticks=powers, names=("",) * len(powers))
    panel = Panel(picture, 84, 76, WIDTH - 84 - 28, 236, Axis(0, 10, "length of the sound (s)"), up)
    panel.frame()
    for power in powers:
        y = float(panel.at_y(float(power)))
        picture.add(Text(67, y + 4, "10", 11.5, "soft", "end"))
        picture.add(Text(68, y - 2, str(power), 8.5, "soft"))
    for seconds_each, name in (
        (YEAR_S, "one core, a year"),
        (UNIVERSE_S, "one core, since the Big Bang"),
    ):
        height = float(panel.at_y(math.log10(A_SECOND * seconds_each)))
        picture.add(
            Line(_line([panel.x, panel.x + panel.width], [height] * 2), "soft", 1.1, dashed=True)
        )
        picture.add(Text(panel.x + panel.width - 8, height - 6, name, 11.5, "soft", "end"))
    panel.line(seconds, np.array(one_by_one), "bad", 2.4)
    panel.line(seconds, np.array(by_state), "good", 2.4)
    end = panel.x + panel.width
    bend = float(panel.at_y(one_by_one[30]))
    picture.add(Text(float(panel.at_x(seconds[30])) - 12, bend, "path by path", 13, "bad", "end"))
    low = float(panel.at_y(by_state[-1]))
    picture.add(Text(end - 8, low - 8, "forward, state by state", 13, "good", "end"))
    return picture


# --- learning ------------------------------------------------------------------------------------


def learning(course: Course) -> Picture:
    """Curves of a small training, and what one utterance looks like at three moments of it."""
    picture = Picture(
        WIDTH, 648, "A small network learns by CTC: first blanks alone, then letters as spikes"
    )
    shortest, longest = map(cardinal, TONE_FRAMES)
    _title(
        picture,
        "A toy learns to spell",
        f"Three letters, each a tone of {shortest} to {longest} frames; the network sees"
        f" {cardinal(REACH)} frames to either side.",
    )
    updates = np.arange(len(course.losses), dtype=np.float64)
    across = Axis(0, len(updates) - 1, "updates")
    top = Axis(0, 3, "loss per letter (nats)")
    left = Panel(picture, 70, 92, 280, 140, across, top)
    left.frame("What is minimised")
    left.line(updates, np.minimum(course.losses, top.high), "accent", 2)
    right = Panel(picture, 452, 92, 280, 140, across, Axis(0, 1, "share"))
    right.frame("What comes out")
    right.line(updates, course.blanks, "soft", 2)
    right.line(updates[::SCORED_EVERY], np.minimum(course.errors, 1), "bad", 2)
    for panel in (left, right):
        for moment in course.outputs:
            x = float(panel.at_x(float(moment)))
            picture.add(
                Line(_line([x, x], [panel.y, panel.y + panel.height]), "ink", 0.9, dashed=True)
            )
    x, y = float(right.at_x(236.0)), right.y
    picture.add(Text(x, float(right.at_y(0.78)), "frames read as blank", 11.5, "soft", "end"))
    picture.add(Text(x, float(right.at_y(0.14)), "letters wrong", 11.5, "bad", "end"))
    y = 330.0
    legend = "bars: letters; line: the blank; shaded: where a letter really is"
    picture.add(Text(WIDTH - 28, y - 26, legend, 11.5, "soft", "end"))
    for number, (moment, output) in enumerate(course.outputs.items()):
        named, last = number == 0, number == len(course.outputs) - 1
        _output(picture, y, course, output, f"after {moment} updates", named=named, last=last)
        y += 96
    return picture


def _output(
    picture: Picture,
    y: float,
    course: Course,
    output: Floats,
    name: str,
    *,
    named: bool,
    last: bool,
) -> None:
    """The probabilities of one utterance, its letters' true places behind them."""
    frames = len(output)
    across = Axis(0, frames, "frame of one utterance" if last else "")
    panel = Panel(picture, 70, y, WIDTH - 98, 66, across, Axis(0, 1, ticks=(0.0, 0.5, 1.0)))
    panel.frame(numbers=last)
    picture.add(Text(panel.x, y - (26 if named else 8), name, 12.5, bold=True))
    for (begin, end), letter in zip(course.utterance.spans, course.utterance.letters, strict=True):
        left, right = float(panel.at_x(float(begin))), float(panel.at_x(float(end)))
        picture.add(Box(left, y, right - left, 66, INK[letter], opacity=0.13))
        if named:
            middle = (left + right) / 2
            picture.add(
                Text(middle, y - 6, LETTERS[letter - 1], 14, INK[letter], "middle", bold=True)
            )
    edges = np.arange(frames + 1, dtype=np.float64)
    x = panel.at_x(np.repeat(edges, 2)[1:-1])
    for symbol in range(1, output.shape[1]):
        height = panel.at_y(np.repeat(output[:, symbol], 2))
        picture.add(Band(x, height, np.full_like(x, y + 66), INK[symbol], 0.8))
    picture.add(
        Line(np.stack([x, panel.at_y(np.repeat(output[:, BLANK], 2))], axis=1), "soft", 1.3)
    )


# --- independence --------------------------------------------------------------------------------


def independence(first: Sequence[float], second: Sequence[float], names: Sequence[str]) -> Picture:
    """Two frames with two symbols each as the sides of a square: areas are probabilities.

    Args:
        first: of the two symbols of the first frame.
        second: of those of the second.
        names: what is spelt by first and second, first and other, other and second, both others.
    """
    picture = Picture(
        WIDTH, 350, "Two spellings meant, four spelt: what independent frames make of a choice"
    )
    _title(
        picture,
        "Two spellings meant, four spelt",
        "Areas are probabilities. Each frame is right about itself; no frame knows of the other.",
    )
    picture.add(Text(110, 88, "what the sound allows", 13, bold=True))
    picture.add(Text(450, 88, "what the frames can say", 13, bold=True))
    _square(picture, 110, (0.5, 0.5), (0.5, 0.5), names, apart=False)
    _square(picture, 450, first, second, names, apart=True)
    return picture


def _square(
    picture: Picture,
    x: float,
    first: Sequence[float],
    second: Sequence[float],
    names: Sequence[str],
    *,
    apart: bool,
) -> None:
    """Four words if the frames are drawn `apart`, else two that exclude each other."""
    size, y = 220.0, 100.0
    for number, name in enumerate(names):
        one, other = divmod(number, 2)
        word = one != other  # their is the first symbol with the second frame's other one
        width, height = size * first[one], size * second[other]
        left, top = x + size * sum(first[:one]), y + size * sum(second[:other])
        share = first[one] * second[other] if apart else 0.5 * word
        colour: Role = "good" if word else "bad"
        if share:
            picture.add(Box(left, top, width, height, colour, opacity=0.2))
        edge: Role = colour if share else "faint"
        picture.add(Box(left, top, width, height, None, edge))
        middle, base = left + width / 2, top + height / 2
        if share:
            picture.add(Text(middle, base - 2, name, 15, colour, "middle", bold=True))
        shown = f"{fixed(100 * share, 0)} %" if share else "never"
        picture.add(Text(middle, base + 17, shown, 12, "ink" if share else "soft", "middle"))
    letters = ("i", "r"), ("e", "r")
    for part, symbol in enumerate(letters[0]):
        middle = x + size * (sum(first[:part]) + first[part] / 2)
        picture.add(Text(middle, y + size + 18, f"{symbol} in frame 4", 11.5, "soft", "middle"))
    for part, symbol in enumerate(letters[1]):
        middle = y + size * (sum(second[:part]) + second[part] / 2)
        label = Text(x - 10, middle, f"{symbol} in frame 5", 11.5, "soft", "middle", upwards=True)
        picture.add(label)
