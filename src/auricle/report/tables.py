"""The figures of a report as HTML: headline, groups, confusions, comparison."""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from auricle.drawing import Axis, Box, Line, Panel, Picture, Text, clean
from auricle.metrics import Bin, Difference, Edit, ErrorCounts, align

MOST_ROWS = 40
MOST_CONFUSIONS = 20


def percent(rate: float) -> str:
    return f"{100 * rate:.2f} %"


def table(caption: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; cells are HTML, the first of a row is its head."""
    head = "".join(f'<th scope="col">{name}</th>' for name in columns)
    body = "".join(
        f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in rest)}</tr>'
        for first, *rest in rows
    )
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{caption}"><table>'
        f"<caption>{caption}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        "</div>"
    )


def headline(words: ErrorCounts, characters: ErrorCounts) -> str:
    """Word and character error rate, large, and what the word errors are."""
    cards = "".join(
        f'<div class="card"><span class="name">{name}</span><b>{percent(counts.rate)}</b>'
        f"<span>{_interval(counts)}</span></div>"
        for name, counts in (("Word error rate", words), ("Character error rate", characters))
    )
    right = int((words.rows[:, 1:].sum(axis=1) == 0).sum())
    share = right / max(1, len(words.rows))
    cards += (
        f'<div class="card"><span class="name">Without an error</span><b>{100 * share:.0f} %</b>'
        f"<span>{right:,} of {len(words.rows):,} utterances</span></div>"
    )
    rows = [
        [
            name,
            f"{counts.substitutions:,}",
            f"{counts.deletions:,}",
            f"{counts.insertions:,}",
            f"{counts.errors:,}",
            f"{counts.reference:,}",
        ]
        for name, counts in (("words", words), ("characters", characters))
    ]
    columns = ["", "substituted", "deleted", "inserted", "errors", "in the references"]
    return f'<div class="cards">{cards}</div>' + table("Errors by kind", columns, rows)


def histogram(counts: ErrorCounts) -> Picture:
    """How many utterances have which word error rate."""
    tenths = np.ceil(np.round(10 * counts.rates, 6)).astype(int)  # 0 only for no error
    bars = np.bincount(np.minimum(tenths, 11), minlength=12)
    names = ("0", *(f"\u2264 {10 * n}" for n in range(1, 11)), "> 100")
    ticks = tuple(n + 0.5 for n in range(12))
    title = "Utterances by their word error rate (%)"
    picture = Picture(720, 210, title, paper=False)
    top = max(1.0, 1.15 * int(bars.max()))
    panel = Panel(
        picture,
        56,
        14,
        650,
        140,
        Axis(0, 12, title, ticks=ticks, names=names),
        Axis(0, top, "utterances"),
    )
    panel.frame(grid=False)
    for n, bar in enumerate(bars.tolist()):
        height = panel.height * bar / top
        x = float(panel.at_x(n + 0.14))
        width = float(panel.at_x(n + 0.86)) - x
        picture.add(Box(x, panel.y + panel.height - height, width, height, "accent"))
        above = max(panel.y + 10, panel.y + panel.height - height - 4)
        picture.add(Text(x + width / 2, above, str(bar), 10.5, "soft", "middle"))
    return picture


def surety(bins: Sequence[Bin]) -> Picture:
    """The reliability picture: of the words that the model was so sure of, how many are right.

    On the dashed line confidence is what it says (Niculescu-Mizil and Caruana 2005).
    """
    title = "How sure the model was of a word (%)"
    picture = Picture(720, 250, title, paper=False)
    ticks = tuple(range(0, 101, 20))
    panel = Panel(
        picture,
        56,
        14,
        650,
        180,
        Axis(0, 100, title, ticks=ticks),
        Axis(0, 112, "right (%)", ticks=ticks),
    )
    panel.frame()
    floor = panel.y + panel.height
    for each in bins:
        x, end = (float(panel.at_x(100 * edge)) for edge in (each.low + 0.01, each.high - 0.01))
        top = float(panel.at_y(100 * each.right))
        picture.add(Box(x, top, end - x, floor - top, "accent"))
        picture.add(Text((x + end) / 2, top - 4, f"{each.words:,}", 10.5, "soft", "middle"))
    corners = np.array([0.0, 100.0])
    diagonal = np.stack([panel.at_x(corners), panel.at_y(corners)], axis=1)
    picture.add(Line(diagonal, "second", 1.5, dashed=True))
    return picture


def groups(key: str, found: dict[str, ErrorCounts], others: dict[str, ErrorCounts] | None) -> str:
    """Word error rate of every value of a key, the worst first, with its interval drawn."""
    ranked = sorted(found.items(), key=lambda item: -item[1].rate)
    most = max(0.01, *(_high(counts) for _, counts in ranked[:MOST_ROWS]))
    rows = []
    for value, counts in ranked[:MOST_ROWS]:
        row = [
            clean(value),
            f"{len(counts.rows):,}",
            f"{counts.reference:,}",
            percent(counts.rate),
            _span(counts, most).svg(styled=False),
            _interval(counts, ""),
        ]
        if others is not None:
            row += [percent(others[value].rate), _signed(counts.rate - others[value].rate)]
        rows.append(row)
    more = f" (the worst {MOST_ROWS} of {len(ranked)})" if len(ranked) > MOST_ROWS else ""
    columns = [clean(key), "utterances", "words", "WER", "", "95 % interval"]
    columns += ["the other's WER", "change (points)"] if others is not None else []
    return table(f"By {clean(key)}{more}", columns, rows)


def confusion_tables(references: Sequence[str], hypotheses: Sequence[str]) -> str:
    """The most frequent words and letters heard for others, left out and put in."""
    words: Counter[Edit] = Counter()
    letters: Counter[Edit] = Counter()
    for reference, hypothesis in zip(references, hypotheses, strict=True):
        if reference != hypothesis:
            words.update(align(reference.split(), hypothesis.split()))
            letters.update(align(reference, hypothesis))
    parts = [
        _counted("Words heard for others", words, "substitution"),
        _counted("Words left out", words, "deletion"),
        _counted("Words put in", words, "insertion"),
        _counted("Letters heard for others", letters, "substitution"),
    ]
    return f'<div class="side">{"".join(parts)}</div>'


def comparison(
    names: tuple[str, str], counts: tuple[ErrorCounts, ErrorCounts], difference: Difference | None
) -> str:
    """Two systems on the same utterances, and how the second differs from the first."""
    rows = [
        [
            clean(name),
            percent(each.rate),
            _interval(each, ""),
            f"{each.substitutions:,}",
            f"{each.deletions:,}",
            f"{each.insertions:,}",
        ]
        for name, each in zip(names, counts, strict=True)
    ]
    columns = ["system", "WER", "95 % interval", "substituted", "deleted", "inserted"]
    verdict = ""
    if difference:
        chance = "more than" if difference.p_value < 0.05 else "within what"
        direction = "lower" if difference.change < 0 else "higher"
        verdict = (
            f"<p>The word error rate of {clean(names[1])} is <b>{_points(abs(difference.change))}"
            f" {direction}</b> than that of {clean(names[0])} (95 % interval of the change"
            f" {_signed(difference.interval.low)} to {_signed(difference.interval.high)},"
            f" p = {difference.p_value:.4f}): {chance} chance explains. It is better in"
            f" {difference.better:,} utterances and worse in {difference.worse:,}. Paired bootstrap"
            " over utterances (Bisani and Ney 2004).</p>"
        )
    return verdict + table("Both systems", columns, rows)


def marked(reference: str, hypothesis: str) -> str:
    """A transcript with its errors marked: what was said struck out, what was heard underlined."""
    parts = []
    for edit in align(reference.split(), hypothesis.split()):
        if edit.kind == "hit":
            parts.append(clean(edit.reference or ""))
            continue
        if edit.reference is not None:
            parts.append(f"<del>{clean(edit.reference)}</del>")
        if edit.hypothesis is not None:
            parts.append(f"<ins>{clean(edit.hypothesis)}</ins>")
    return " ".join(parts)


def _counted(caption: str, counter: Counter[Edit], kind: str) -> str:
    chosen = [(e, n) for e, n in counter.most_common() if e.kind == kind][:MOST_CONFUSIONS]
    if not chosen:
        return ""
    rows = [[_shown(edit.reference, edit.hypothesis), f"{count:,}"] for edit, count in chosen]
    return table(
        caption, ["said \u2192 heard" if kind == "substitution" else "word", "times"], rows
    )


def _shown(reference: str | None, hypothesis: str | None) -> str:
    present = [clean("\u2423" if each == " " else each) for each in (reference, hypothesis) if each]
    return " \u2192 ".join(present)


def _interval(counts: ErrorCounts, before: str = "95 % interval ") -> str:
    interval = counts.interval()
    if interval is None:
        return ""
    return f"{before}{100 * interval.low:.2f} to {100 * interval.high:.2f} %"


def _high(counts: ErrorCounts) -> float:
    interval = counts.interval()
    return interval.high if interval else counts.rate


def _span(counts: ErrorCounts, most: float) -> Picture:
    """A rate as a dot on the line of its interval, from 0 to `most`."""
    width, middle = 150.0, 8.0
    title = f"{percent(counts.rate)} {_interval(counts)}"
    picture = Picture(width, 16, title, paper=False)
    interval = counts.interval()

    def x(rate: float) -> float:
        return 4 + (width - 8) * min(rate, most) / most

    picture.add(Line(np.array([[4, middle], [width - 4, middle]]), "faint"))
    if interval:
        ends = np.array([[x(interval.low), middle], [x(interval.high), middle]])
        picture.add(Line(ends, "accent", 3))
    picture.add(Box(x(counts.rate) - 2.5, middle - 5, 5, 10, "ink", radius=1))
    return picture


def _signed(change: float) -> str:
    return f"{100 * change:+.2f}".replace("-", "\u2212")


def _points(change: float) -> str:
    return f"{100 * change:.2f} points"
