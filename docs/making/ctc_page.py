"""Write `docs/ctc.md` and its pictures: a template, and every number in it computed.

make docs
"""

import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import ctc_pictures as pictures
import ctc_sums as sums
import ctc_training as toy
import ctc_words as words
from auricle.drawing import Picture, clean, png
from auricle.files import make_folder, replacing, write_text
from ctc_facts import LETTERS_PER_S, every_path, facts, frame_s, likeliest

DOCS = Path(__file__).parent.parent
PAGE, PICTURES = DOCS / "ctc.md", DOCS / "pictures"
TEMPLATE = Path(__file__).parent / "ctc_template.md"
SCALE, COLOURS = 1.5, 256  # of the pictures
LINE = 105  # letters


@dataclass(frozen=True)
class Built:
    """What belongs into `docs`."""

    page: str
    pictures: Mapping[str, Picture]  # by file name, without its suffix


def build() -> Built:
    """Compute everything."""
    course = toy.learn()
    drawn = _pictures(course)
    shown = {f"picture_{name}": _shown(name, picture) for name, picture in drawn.items()}
    page = wrap(fill(TEMPLATE.read_text(encoding="utf-8"), facts(course) | shown))
    return Built(page, {f"ctc_{name}": picture for name, picture in drawn.items()})


def fill(template: str, values: Mapping[str, str]) -> str:
    """Number the headings and put every fact in its place.

    Raises:
        KeyError: for a place without a fact.
        ValueError: for facts without a place.
    """
    values, used = dict(values), set[str]()
    for number, name in enumerate(re.findall(r"^## \[(\w+)\]", template, re.M), 1):
        template = template.replace(f"## [{name}]", f"## {number}.")
        values[f"section_{name}"] = str(number)

    def fact(place: re.Match[str]) -> str:
        used.add(place[1])
        return values[place[1]]

    page = re.sub(r"\{\{ (\w+) \}\}", fact, template)
    if unused := {name for name in values.keys() - used if not name.startswith("section_")}:
        raise ValueError(f"the template has no place for {sorted(unused)}")
    return page


def _unbroken(found: re.Match[str]) -> str:
    return found[0].replace(" ", "\u00a0")


def wrap(page: str) -> str:
    """Break the lines of paragraphs anew; lists, tables, code and pictures stay as they are."""
    blocks, fenced = [], False
    for block in page.split("\n\n"):
        if not fenced and re.match(r"[\w*(]", block):
            # Code stays whole; no line begins with a sign: with a plus it would be a list.
            whole = re.sub(r"`[^`]*`| [-+=−×] ", _unbroken, block.replace("\n", " "))
            block = textwrap.fill(whole, LINE, break_long_words=False, break_on_hyphens=False)
            block = block.replace("\u00a0", " ")
        fenced ^= block.count("```") % 2 == 1
        blocks.append(block)
    return "\n\n".join(blocks)


def write(built: Built) -> None:
    make_folder(PICTURES)
    for name, picture in built.pictures.items():
        for path, theme in ((PICTURES / f"{name}.png", "light"), (_dark(name), "dark")):
            with replacing(path) as temporary:
                temporary.write_bytes(png(picture, scale=SCALE, theme=theme, colours=COLOURS))
    write_text(PAGE, built.page)


def _dark(name: str) -> Path:
    return PICTURES / f"{name}_dark.png"


def _shown(name: str, picture: Picture) -> str:
    """The picture in the page, light or dark as the reader's is."""
    file = f"pictures/ctc_{name}"
    return (
        f'<picture><source media="(prefers-color-scheme: dark)" srcset="{file}_dark.png">'
        f'<img src="{file}.png" width="{picture.width:.0f}" alt="{clean(picture.title)}"></picture>'
    )


def _pictures(course: toy.Course) -> dict[str, Picture]:
    (_, *ambiguous) = words.THEIR[2:]
    first, second = (tuple(frame.values()) for frame in ambiguous if not isinstance(frame, str))
    spelt = [
        words.TOKENIZER.decode(sums.collapse(words.TOKENIZER.encode(f"the{one}{other}")))
        for one in ambiguous[0]
        for other in ambiguous[1]
    ]
    return {
        "lattice": pictures.lattice(likeliest()),
        "paths": pictures.paths(every_path()),
        "sums": pictures.forward_backward(),
        "growth": pictures.growth(1 / frame_s(), LETTERS_PER_S),
        "learning": pictures.learning(course),
        "independence": pictures.independence(first, second, spelt),
    }


def numbers_typed(template: str) -> Iterator[str]:
    """The lines of the prose that hold a digit of their own; sources may, and code and links."""
    prose, _, _ = template.partition("## [references]")
    prose = re.sub(r"\{\{ \w+ \}\}|`[^`\n]*`|\]\([^)]*\)", "", prose)
    yield from (line for line in prose.splitlines() if re.search(r"\d", line))


if __name__ == "__main__":
    write(build())
