"""`docs/ctc.md` is what its script writes, and what it says is so."""

import itertools
import math
import re
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch

import ctc_page
import ctc_sums as sums
import ctc_training as toy
import ctc_words as words
from auricle.decode import BeamSettings
from auricle.drawing import png
from auricle.losses import ctc_nll
from ctc_page import Built
from ctc_sums import SYMBOLS, TABLE
from pixels import read_colours

FEW_COLOURS = 24  # levels that a pixel may be off, for the palette has 256 colours
TARGET = sums.target_of(sums.WORD)
STATES = sums.states_of(TARGET)


@pytest.fixture(scope="module")
def built() -> Built:
    return ctc_page.build()


@pytest.fixture(scope="module")
def by_text() -> dict[str, list[tuple[tuple[int, ...], float]]]:
    """Every path of the worked example with its probability, by what it says: letter by letter."""
    found: dict[str, list[tuple[tuple[int, ...], float]]] = defaultdict(list)
    for path in itertools.product(range(3), repeat=5):
        text, last = "", 0
        for symbol in path:
            if symbol not in (0, last):
                text += "-to"[symbol]
            last = symbol
        found[text].append((path, math.prod(TABLE[t, k] for t, k in enumerate(path))))
    return found


# --- the page is up to date ----------------------------------------------------------------------


def test_the_page_is_what_its_script_writes(built: Built) -> None:
    page = ctc_page.PAGE.read_text(encoding="utf-8")
    assert page == built.page, "run `make docs`"
    assert 250 <= page.count("\n") <= 400


def same_pixels(built: Built, dark: bool) -> None:
    for name, picture in built.pictures.items():
        path = ctc_page.PICTURES / f"{name}{'_dark' if dark else ''}.png"
        theme = "dark" if dark else "light"
        drawn = read_colours(png(picture, scale=ctc_page.SCALE, theme=theme))  # type: ignore[arg-type]
        kept = read_colours(path.read_bytes())
        assert kept.shape == drawn.shape, f"{path.name}: run `make docs`"
        away = np.abs(kept.astype(int) - drawn)
        assert away.max() <= FEW_COLOURS, f"{path.name}: run `make docs`"


def test_the_pictures_are_what_it_draws(built: Built) -> None:
    same_pixels(built, dark=False)


@pytest.mark.slow
def test_the_dark_pictures_are_what_it_draws(built: Built) -> None:
    same_pixels(built, dark=True)


def test_there_are_no_other_pictures(built: Built) -> None:
    kept = {path.name for path in ctc_page.PICTURES.glob("ctc_*")}
    assert kept == {f"{name}{dark}.png" for name in built.pictures for dark in ("", "_dark")}
    assert set(re.findall(r"pictures/([\w.]+)", built.page)) == kept


def test_the_links_of_the_page_lead_somewhere(built: Built) -> None:
    links = re.findall(r"\]\((?!https:)([^)]+)\)", built.page)
    assert len(links) > 10
    assert [link for link in links if not (ctc_page.PAGE.parent / link).exists()] == []


def test_no_number_of_the_prose_was_typed() -> None:
    assert list(ctc_page.numbers_typed(ctc_page.TEMPLATE.read_text(encoding="utf-8"))) == []
    typed = "is 7\n`T = 5` {{ p1 }}\nand [3](a1.md)\n## [references] On\nICML 2006"
    assert list(ctc_page.numbers_typed(typed)) == ["is 7", "and [3"]


def test_places_and_facts_belong_together() -> None:
    template = "## [one] First\n\n{{ a }}: see {{ section_two }}.\n\n## [two] Second\n"
    filled = ctc_page.fill(template, {"a": "x"})
    assert filled == "## 1. First\n\nx: see 2.\n\n## 2. Second\n"
    with pytest.raises(KeyError, match="a"):
        ctc_page.fill(template, {})
    with pytest.raises(ValueError, match="'b'"):
        ctc_page.fill(template, {"a": "x", "b": "y"})


def test_only_paragraphs_are_wrapped() -> None:
    code = "```\n" + "x = 1\n" * 3 + "\nand so on " + 20 * "on " + "\n```"
    table = "| a | b |\n|---|---|\n| " + 90 * "long " + "| |"
    prose = "It is 1 + 1 + 1, or `a b c`. " * 20
    page = ctc_page.wrap(f"{code}\n\n{table}\n\n{prose}\n\n{prose}")
    assert page.startswith(f"{code}\n\n{table}\n\nIt is 1 + 1")
    assert page.count("1 + 1 + 1") == page.count("`a b c`") == 40
    assert "\u00a0" not in page
    wrapped = ctc_page.wrap("one two " * 40)
    assert all(len(line) <= ctc_page.LINE for line in wrapped.splitlines())
    assert wrapped.split() == ("one two " * 40).split()


# --- its numbers are right -----------------------------------------------------------------------


def test_the_paths_are_all_there_are(
    built: Built, by_text: dict[str, list[tuple[tuple[int, ...], float]]]
) -> None:
    every = by_text[sums.WORD]
    assert dict(sums.paths_of(TABLE, TARGET)) == pytest.approx(dict(every))
    total = sum(probability for _, probability in every)
    assert f"{total:.5f}" == "0.28032"  # as anybody can add up
    assert "p(too | sound) = 0.16464 + 0.08232 + 0.02352 + 0.00672" in built.page
    assert sum(p for paths in by_text.values() for _, p in paths) == pytest.approx(1)
    for text, probability in words.texts():
        assert probability == pytest.approx(sum(p for _, p in by_text[text]), rel=1e-9)
    assert len(words.texts()) == len(by_text)


def test_the_count_of_paths(by_text: dict[str, list[tuple[tuple[int, ...], float]]]) -> None:
    for text, paths in by_text.items():
        repeats = len(re.findall(r"(.)(?=\1)", text))
        assert len(paths) == sums.path_count(len(TABLE), len(text), repeats), text
    assert sums.path_count(3, 3, 1) == 0


def test_forward_and_backward_are_sums_over_paths() -> None:
    alpha, beta = sums.forward(TABLE, STATES), sums.backward(TABLE, STATES)
    through = np.zeros_like(alpha)
    for walk in itertools.product(range(7), repeat=5):  # of states, by the rules of the lattice
        steps = list(itertools.pairwise(walk))
        jumps = [(1, 3)]  # over a blank: only from t to o
        fits = all(b - a in (0, 1) or (a, b) in jumps for a, b in steps)
        if fits and walk[0] < 2 and walk[-1] > 4:
            probability = math.prod(TABLE[t, STATES[s]] for t, s in enumerate(walk))
            through[range(5), walk] += probability
    np.testing.assert_allclose(alpha * beta, through, atol=1e-12)
    np.testing.assert_allclose(through.sum(axis=1), sums.total(alpha))
    assert sums.total(alpha) == pytest.approx(0.28032)


def test_the_loss_and_its_gradient_are_ours(built: Built) -> None:
    alpha = sums.forward(TABLE, STATES)
    gamma = alpha * sums.backward(TABLE, STATES) / sums.total(alpha)
    logits = torch.log(torch.from_numpy(TABLE))[None].requires_grad_()
    loss = ctc_nll(
        logits.log_softmax(-1), torch.tensor([5]), torch.tensor([TARGET]), torch.tensor([3])
    )
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    assert float(loss.detach()) == pytest.approx(-math.log(0.28032))
    by_symbol = np.stack([gamma[:, k == STATES].sum(axis=1) for k in range(3)], axis=1)
    np.testing.assert_allclose(gradient[0].numpy(), TABLE - by_symbol, atol=1e-9)
    assert f"the posterior is {by_symbol[2, 0]:.3f}" in " ".join(built.page.split())


def test_the_narrow_beam_loses_what_the_page_says() -> None:
    *_, before, last = words.beam_steps()
    (_, held_blank, _), *_ = words.beam_steps()[2]
    assert [text for text, _, _ in before] == ["to", "too", "oo"]
    assert before[1] == ("too", 0.0, pytest.approx(held_blank * 0.7))
    exact = dict(words.texts())
    for text, blank, letter in last:
        assert blank + letter <= exact[text] + 1e-12


# --- what it claims in words ---------------------------------------------------------------------


def test_the_best_path_is_not_the_best_text() -> None:
    best = "".join(SYMBOLS[k] for k in TABLE.argmax(axis=1))
    assert (best, words.texts()[0][0]) == ("to-o-", "to")
    assert ctc_page.likeliest() == tuple(TABLE.argmax(axis=1))


def test_each_frame_is_right_and_together_they_are_neither() -> None:
    alone = words.beam(words.THEIR, BeamSettings(nbest=9), with_model=False)
    assert alone[0].words == ("theie",)
    assert {each.words[0] for each in alone} == {"theie", "their", "there", "ther"}
    assert words.greedy(words.THEIR_DOG) == "theie dog is theie"
    sentence = "their dog is there"
    assert " ".join(words.beam(words.THEIR_DOG)[0].words) == sentence
    assert not any(sentence in line for line in words.SENTENCES)
    acoustic = [each.acoustic for each in words.beam(words.THEIR_DOG)]
    assert acoustic == pytest.approx([acoustic[0]] * 4)  # the sound has no opinion


def test_a_bonus_parts_words_and_a_hotword_saves_a_name() -> None:
    def read(alpha: float, beta: float) -> str:
        (best, *_) = words.beam(words.MAY_BE, BeamSettings(alpha=alpha, beta=beta))
        return " ".join(best.words)

    for alpha, melted, parted in ((0.25, 0.0, 1.0), (0.5, 0.0, 1.0), (1.0, -1.0, 0.0)):
        assert read(alpha, melted) == "it maybe there"
        assert read(alpha, parted) == "it may be there"
    assert any("may be" in each for each in words.SENTENCES)
    assert not any("maybe there" in each for each in words.SENTENCES)
    last = [
        words.beam(words.ROME, with_model=known, hotwords=hot)[0].words[-1]
        for known, hot in ((False, ()), (True, ()), (True, ("rome",)))
    ]
    assert last == ["rome", "home", "rome"]


def test_the_toy_goes_silent_then_speaks_in_spikes() -> None:
    course = toy.learn()
    first, _, last = toy.MOMENTS
    assert course.blanks[first] > 0.95
    assert course.errors[first // toy.SCORED_EVERY] > 0.9
    assert course.errors[-1] < 0.05
    heard = course.outputs[last].argmax(axis=1) != 0
    spoken = sum(end - begin for begin, end in course.utterance.spans)
    assert 0 < heard.sum() < 0.7 * spoken
    assert toy.heard(np.log(course.outputs[last])) == "".join(
        toy.LETTERS[letter - 1] for letter in course.utterance.letters
    )


def test_the_page_is_written_where_it_belongs(
    built: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ctc_page, "PAGE", tmp_path / "ctc.md")
    monkeypatch.setattr(ctc_page, "PICTURES", tmp_path / "pictures")
    name = "ctc_independence"
    ctc_page.write(Built(built.page, {name: built.pictures[name]}))
    assert (tmp_path / "ctc.md").read_text(encoding="utf-8") == built.page
    written = {path.name: path.read_bytes() for path in (tmp_path / "pictures").iterdir()}
    assert written.keys() == {f"{name}.png", f"{name}_dark.png"}
    assert len(set(written.values())) == 2
