"""auricle evaluate."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from auricle.bundle import find_model
from auricle.cli.answers import Model, Pairs, answer
from auricle.cli.decoding import Decoding, with_decoding
from auricle.cli.display import counting, output, table
from auricle.cli.evaluate_labels import chosen_examples, evaluate_labels, value_of
from auricle.cli.evaluate_segments import evaluate_segments
from auricle.cli.evaluate_voices import evaluate_voices
from auricle.cli.extras import need_training
from auricle.cli.report import read_other, system_of, write_report
from auricle.data import Example
from auricle.errors import ConfigError
from auricle.files import check_folder_of, write_text
from auricle.metrics import Difference, ErrorCounts, Score, score_transcripts
from auricle.report import Answers
from auricle.text import normalise


@with_decoding
def evaluate(
    model: Annotated[str, typer.Argument(help="A run folder, a bundle, or a shipped model.")],
    data: Annotated[Path, typer.Argument(help="A manifest or folder with the answers.")],
    by: Annotated[list[str] | None, typer.Option(help="Also by this manifest key.")] = None,
    split: Annotated[str | None, typer.Option(help="Only this split of the data.")] = None,
    label: Annotated[str | None, typer.Option(help="Take the labels from this key.")] = None,
    style: Annotated[
        Literal["table", "json"], typer.Option("--format", help="Of the figures.")
    ] = "table",
    answers: Annotated[Path | None, typer.Option(help="Write what was heard as JSONL.")] = None,
    report: Annotated[Path | None, typer.Option(help="Write a page about it (HTML).")] = None,
    against: Annotated[
        Path | None, typer.Option(help="Compare with another system's --answers.")
    ] = None,
    *,
    decoding: Decoding,
) -> None:
    """
    Examples:
    - `auricle evaluate run test.jsonl`
    - `auricle evaluate model.auricle test.jsonl --by speaker`
    - `auricle evaluate english test.jsonl --format json --answers heard.jsonl`
    - `auricle evaluate english test.jsonl --greedy` (and `--beam 100`, `--lm other.bin`: compare)
    - `auricle evaluate run test.jsonl --report page.html` (errors to look at and listen to)
    - `auricle evaluate run test.jsonl --against heard.jsonl` (is it really better?)
    - `auricle evaluate emotions test.jsonl --label emotion --by speaker` (a model of labels)

    Score a model on recordings whose transcripts or labels are known. Transcripts: word and
    character error rates over the whole corpus. Labels: accuracy, balanced accuracy, macro F1, for
    tags mean average precision, each label by itself and what is taken for what. Labels over time:
    F1, missed and false, by frames. With 95 % bootstrap intervals over recordings.
    """
    for path in filter(None, (answers, report)):
        check_folder_of(path)
    given = {"by": by, "label": label, "answers": answers, "report": report, "against": against}
    about = _asked(model, [f"--{name}" for name, value in given.items() if value], decoding.words)
    if judge := {"embedding": evaluate_voices, "segments": evaluate_segments}.get(about.answer):
        judge(about, chosen_examples(about, data, "audio", split), style)
        return
    if about.answer == "labels":
        examples = chosen_examples(about, data, "label", split, label)
        evaluate_labels(about, data, examples, by or (), style, answers)
        return
    examples = chosen_examples(about, data, "text", split)
    keys = {key: [value_of(example, key) for example in examples] for key in by or ()}
    normaliser = about.facts.get("settings", {}).get("text", {}).get("normaliser", "none")
    other = read_other(against, examples, normaliser) if against else None
    with counting("transcribing") as progress:
        pairs = answer(about.path, examples, progress, decoding)
    references = [normalise(example.text or "", normaliser) for example, _ in pairs]
    heard = [normalise(result.text, normaliser) for _, result in pairs]
    score = score_transcripts(references, heard, keys)
    how = system_of(about, model, decoding)
    if report:
        name = " ".join([Path(model).name or model, *decoding.words])
        transcripts = [transcript for _, transcript in pairs]
        shown = Answers(name, str(data), examples, references, heard, transcripts, how)
        write_report(report, about.path, shown, normaliser, other)
    if answers:
        _write(answers, pairs, references, heard, score, how)
    facts = {"model": model, "data": str(data), "normaliser": normaliser}
    compared = (other.name, other.change(references, score.words)) if other else ("", None)
    _tell(score, examples, facts, style, *compared)


def _asked(name: str, options: Sequence[str], decoding: Sequence[str]) -> Model:
    """The model, if all options that were given mean something for what it answers.

    Raises:
        ConfigError: names those that do not.
    """
    if Path(name).is_dir():
        need_training("evaluate on a run")
    model = Model.read(find_model(name))
    known: dict[str, Sequence[str]] = {
        "tokens": ("--by", "--answers", "--report", "--against", *decoding),
        "labels": ("--by", "--label", "--answers"),
    }
    usable = known.get(model.answer, ())
    asked = [*options, *(word for word in decoding if word.startswith("--"))]
    if unused := [each for each in asked if each not in usable]:
        raise ConfigError(
            f"{model.path} answers with {model.answer}: {', '.join(unused)} would do nothing; leave"
            " it out"
        )
    return model


def _tell(
    score: Score,
    examples: Sequence[Example],
    facts: dict[str, str],
    style: str,
    other: str,
    compared: Difference | None,
) -> None:
    """The figures, as tables or as data."""
    if style == "json":
        against = {"against": other} | compared.to_dict() if compared else {}
        output.print(json.dumps(facts | against | score.to_dict(), indent=2), markup=False)
    else:
        _show(score, sum(example.duration_s for example in examples))
        if compared:
            _show_difference(other, compared)


def _row(name: str, counts: ErrorCounts) -> list[str]:
    interval = counts.interval()
    return [
        name,
        f"{counts.rate:.2%}",
        f"{interval.low:.2%} to {interval.high:.2%}" if interval else "",
        *(str(n) for n in (counts.substitutions, counts.deletions, counts.insertions)),
        str(counts.reference),
        str(len(counts.rows)),
    ]


def _show(score: Score, seconds: float) -> None:
    columns = ["", "rate", "95 % interval", "sub", "del", "ins", "of", "utterances"]
    rows = [_row("words (WER)", score.words), _row("characters (CER)", score.characters)]
    output.print(table(columns, rows, f"{seconds / 3600:.2f} h of sound"))
    for key, groups in score.by.items():
        worst = sorted(groups.items(), key=lambda item: -item[1].rate)
        output.print(table(columns, [_row(v, c) for v, c in worst], f"WER by {key}"))


def _show_difference(name: str, found: Difference) -> None:
    low, high = (f"{100 * each:+.2f}" for each in found.interval)
    output.print(
        f"against {name}: {100 * found.change:+.2f} points of WER (95 % interval {low} to {high}, "
        f"p = {found.p_value:.4f}); better in {found.better} utterances, worse in {found.worse}",
        markup=False,
    )


def _write(
    path: Path,
    pairs: Pairs,
    references: Sequence[str],
    heard: Sequence[str],
    score: Score,
    how: str,
) -> None:
    lines = [
        json.dumps(
            {
                "id": example.id,
                "audio_filepath": str(example.audio),
                "text": reference,
                "pred_text": hypothesis,
                "wer": round(float(rate), 4),
                "system": how,
            },
            ensure_ascii=False,
        )
        for (example, _), reference, hypothesis, rate in zip(
            pairs, references, heard, score.words.rates, strict=True
        )
    ]
    write_text(path, "\n".join(lines) + "\n")
