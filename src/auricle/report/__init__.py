"""A report of an evaluation: one self-contained HTML page to read, look at and listen to."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from auricle.data import Example
from auricle.drawing import Picture, clean, data_uri
from auricle.errors import DataError
from auricle.metrics import (
    Difference,
    ErrorCounts,
    Score,
    calibration_error,
    compare,
    reliability,
    right_words,
    score_transcripts,
    score_words,
)
from auricle.report.figures import LEFT, RIGHT, WIDTH, Figure, Listened, figure
from auricle.report.groups import keys_of
from auricle.report.page import Section, page
from auricle.report.tables import (
    comparison,
    confusion_tables,
    groups,
    headline,
    histogram,
    marked,
    percent,
    surety,
)
from auricle.results import Transcript

__all__ = ["Answers", "Listened", "Other", "html_report"]

COMPARED = 3  # utterances in which the model improves most on another, and worsens most
WORST = 12  # utterances that are drawn and played
MOST_SOUND_BYTES = 3 << 20  # of all of them together

Listen = Callable[[Sequence[Example]], Sequence[Listened | None]]


@dataclass(frozen=True)
class Answers:
    """What a model answered to a set of examples."""

    model: str
    data: str
    examples: Sequence[Example]
    references: Sequence[str]  # normalised
    hypotheses: Sequence[str]  # normalised
    transcripts: Sequence[Transcript]  # as they were written, with times
    how: str = ""  # it decodes, in a line


@dataclass(frozen=True)
class Other:
    """An earlier system's normalised answers to the same examples: what the model is held to."""

    name: str
    hypotheses: Sequence[str]
    how: str = ""  # it was made, in a line, if that is known

    def counts(self, references: Sequence[str]) -> ErrorCounts:
        """Its word errors."""
        return score_words(references, self.hypotheses)

    def change(self, references: Sequence[str], words: ErrorCounts) -> Difference | None:
        """How a model with these word errors differs from it; below 0, the model is better."""
        return compare(self.counts(references), words)


def html_report(
    answers: Answers, *, other: Other | None = None, listen: Listen | None = None
) -> str:
    """The page.

    Args:
        other: an earlier system to hold the model to.
        listen: gives the posteriors of examples, to be drawn with the worst utterances.

    Raises:
        DataError: when the other system did not answer the same examples.
    """
    keys = keys_of(answers.examples, answers.references)
    score = score_transcripts(answers.references, answers.hypotheses, keys)
    second = other.counts(answers.references) if other else None
    hours = sum(example.duration_s for example in answers.examples) / 3600
    facts = [
        f"Data: {answers.data}",
        f"{len(answers.examples):,} utterances, {hours:.2f} hours, {score.words.reference:,} words",
    ]
    facts += [f"{answers.model}: {answers.how}"] if answers.how else []
    facts += [f"{other.name}: {other.how}"] if other and other.how else []
    sections = [
        Section("summary", "Summary", headline(score.words, score.characters) + _chart(score)),
        Section("groups", "Where it errs", _groups(score, keys, second)),
        Section(
            "confusions",
            "What it confuses",
            confusion_tables(answers.references, answers.hypotheses),
        ),
        Section("surety", "How sure it is", _surety(answers)),
        Section("worst", "The worst utterances", "".join(_worst(answers, score, other, listen))),
    ]
    if other and second:
        sections.insert(
            1, Section("comparison", "Compared", _compared(answers, score, other, second))
        )
    return page(f"How well {answers.model} hears", facts, [s for s in sections if s.body])


def _chart(score: Score) -> str:
    return _figure(histogram(score.words))


def _figure(picture: Picture) -> str:
    return (
        '<figure><div class="drawn"><div class="chart">'
        f"{picture.svg(styled=False)}</div></div></figure>"
    )


def _surety(answers: Answers) -> str:
    """How far the confidence of words can be trusted; "" where there are none to ask."""
    confidences, references, hypotheses = [], [], []
    rows = zip(answers.transcripts, answers.references, answers.hypotheses, strict=True)
    for transcript, reference, hypothesis in rows:
        found = [word.confidence for word in transcript.words]
        if len(found) == len(hypothesis.split()):  # else the normaliser joined or parted some
            confidences += found
            references.append(reference)
            hypotheses.append(hypothesis)
    if not confidences:
        return ""
    bins = reliability(confidences, right_words(references, hypotheses))
    return (
        f'<p class="soft">Of {len(confidences):,} words: how many were right, by how sure the '
        "model was of them. On the dashed line its confidence is what it says; the expected "
        f"calibration error, how far they lie apart, is {calibration_error(bins):.3f}. "
        f"<code>auricle tune</code> calibrates it.</p>{_figure(surety(bins))}"
    )


def _groups(score: Score, keys: dict[str, list[str]], second: ErrorCounts | None) -> str:
    return "".join(
        groups(key, dict(found), second.by(keys[key]) if second else None)
        for key, found in score.by.items()
    )


def _compared(answers: Answers, score: Score, other: Other, second: ErrorCounts) -> str:
    names = (other.name, answers.model)
    difference = other.change(answers.references, score.words)
    changes = score.words.rows[:, 1:].sum(axis=1) - second.rows[:, 1:].sum(axis=1)
    parts = [comparison(names, (second, score.words), difference)]
    for title, order in (("improves", np.argsort(changes)), ("worsens", np.argsort(-changes))):
        sign = -1 if title == "improves" else 1
        chosen = [int(n) for n in order[:COMPARED] if sign * changes[n] > 0]
        if chosen:
            parts.append(f"<h3>Where {clean(answers.model)} {title} most</h3>")
            parts += [f"<dl>{_texts(answers, n, other)}</dl>" for n in chosen]
    return "".join(parts)


def _texts(answers: Answers, n: int, other: Other | None) -> str:
    """What was said and what each system heard, as entries of a list."""
    reference = answers.references[n]
    said = clean(reference) or "(nothing)"
    heard = [("heard" if other is None else answers.model, answers.hypotheses[n])]
    heard += [(other.name, other.hypotheses[n])] if other else []
    return f"<dt>said</dt><dd>{said}</dd>" + "".join(
        f"<dt>{clean(name)}</dt><dd>{marked(reference, text) or '(nothing)'}</dd>"
        for name, text in heard
    )


def _worst(
    answers: Answers, score: Score, other: Other | None, listen: Listen | None
) -> Iterator[str]:
    """Those with most errors; of equal ones, the shorter."""
    errors = score.words.rows[:, 1:].sum(axis=1)
    order = sorted(range(len(errors)), key=lambda n: (-errors[n], score.words.rows[n, :3].sum()))
    chosen = [n for n in order[:WORST] if errors[n]]
    yield (
        '<p class="soft">Those with the most word errors. <del>Struck out</del>: said, not heard.'
        " <ins>Underlined</ins>: heard, not said. A click on a picture moves the player.</p>"
    )
    examples = [answers.examples[n] for n in chosen]
    listened = listen(examples) if listen else [None] * len(chosen)
    sound_bytes = 0
    for n, heard in zip(chosen, listened, strict=True):
        drawn: Figure | str
        try:
            drawn = figure(
                answers.examples[n], answers.references[n], answers.transcripts[n], heard
            )
            sound_bytes += len(drawn.sound)
        except DataError as error:
            drawn = str(error)
        playable = sound_bytes <= MOST_SOUND_BYTES
        yield _article(answers, n, score, other, drawn, playable=playable)


def _article(
    answers: Answers,
    n: int,
    score: Score,
    other: Other | None,
    drawn: Figure | str,
    *,
    playable: bool,
) -> str:
    example, counts = answers.examples[n], score.words.rows[n]
    errors = f"{int(counts[1:].sum())} errors in {int(counts[:3].sum())} words"
    speaker = f", speaker {example.speaker}" if example.speaker else ""
    facts = (
        f"{errors} ({percent(float(score.words.rates[n]))}), {example.duration_s:.1f} s{speaker}"
    )
    return (
        f'<article><h3>{clean(example.id)}</h3><p class="soft">{clean(facts)}</p>'
        f"<dl>{_texts(answers, n, other)}</dl>{_drawn(example, drawn, playable=playable)}</article>"
    )


def _drawn(example: Example, drawn: Figure | str, *, playable: bool) -> str:
    if isinstance(drawn, str):
        return f'<p class="soft">{clean(drawn)}</p>'
    player = (
        f'<audio controls preload="metadata" aria-label="{clean(example.id)}"'
        f' src="{data_uri(drawn.sound, "audio/mpeg")}"></audio>'
        if playable
        else '<p class="soft">Left out, to keep the page small: the sound.</p>'
    )
    notes = []
    if drawn.cut:
        notes.append(f"Only its first {drawn.shown_s:.0f} s are shown.")
    if drawn.aligned and drawn.aligned.missing:
        absent = " ".join(missing.text for missing in drawn.aligned.missing)
        notes.append(f"Not found in the sound: {absent}.")
    if drawn.aligned and drawn.aligned.extra:
        present = " ".join(extra.text for extra in drawn.aligned.extra)
        notes.append(f"Found in the sound, not in the text: {present}.")
    wide = (WIDTH - LEFT - RIGHT) / WIDTH
    head = '<div class="head"></div>' if playable else ""
    kind = (
        f'class="time" data-left="{LEFT / WIDTH:.5f}" data-wide="{wide:.5f}"'
        f' data-seconds="{drawn.shown_s:.3f}"'
        if playable
        else 'class="still"'
    )
    return (
        f'{player}<figure><div class="drawn" tabindex="0" role="region" aria-label="Picture">'
        f"<div {kind}>{drawn.picture.svg(styled=False)}{head}</div></div>"
        f"<figcaption>{clean(' '.join(notes))}</figcaption></figure>"
    )
