"""The part of `auricle evaluate` for models that answer with labels."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from auricle.cli.answers import Model, Pairs, answer
from auricle.cli.display import counting, output, table
from auricle.data import Example, What, read_for
from auricle.data.rows import COLUMNS
from auricle.errors import ConfigError, DataError
from auricle.files import write_text
from auricle.label_metrics import LabelScore
from auricle.labels import LabelSet

SHOWN_LABELS = 60


def chosen_examples(
    model: Model, data: Path, what: What, split: str | None, label_key: str | None = None
) -> tuple[Example, ...]:
    """The examples of a dataset, or of one split of it."""
    with counting("reading") as progress:
        dataset = read_for(data, what, label_key, progress)
    if split and split not in dataset.splits:
        raise ConfigError(_no_split(split, model.path, data, dataset.splits))
    return dataset.splits[split] if split else dataset.examples


def _no_split(split: str, model: Path, data: Path, splits: Iterable[str]) -> str:
    has = f"its splits are {', '.join(splits)}" if splits else "it names no splits"
    own = Path(model, f"{split}.jsonl")  # what `train` set aside
    hint = f"; what this run set aside is {own}" if own.is_file() else ", or leave out --split"
    return f"{data}: has no split {split}: {has}{hint}"


def value_of(example: Example, key: str) -> str:
    """What an example has under a key of its manifest, to group by; `file` is each by itself."""
    if key in COLUMNS["speaker"]:
        return example.speaker or "unknown"
    if key in example.extra:
        return str(example.extra[key])
    if key == "file":
        return str(example.audio)
    there = ["speaker"] * bool(example.speaker) + list(example.extra)
    has = f"its keys are {', '.join(there)}" if there else "its data has no key but for the answers"
    raise ConfigError(f"{example.id} has no {key} to group by: {has}")


def check_labels(labels: LabelSet, examples: Sequence[Example]) -> None:
    """See that a model knows the labels of all examples.

    Raises:
        DataError: names the first recording whose it does not.
    """
    for example in examples:
        try:
            labels.counted_as(example.labels)
        except DataError as error:
            raise DataError(f"{example.audio}: {error}") from None


def measured(labels: LabelSet, pairs: Pairs, groups: Sequence[str] = ()) -> LabelScore:
    """All that is counted about labels given to examples whose labels are known."""
    return LabelScore.of(
        labels.names,
        [labels.counted_as(example.labels) for example, _ in pairs],
        [result.chosen for _, result in pairs],
        [{each.name: each.confidence for each in result.labels} for _, result in pairs],
        labels.several,
        groups,
    )


def evaluate_labels(
    model: Model,
    data: Path,
    examples: Sequence[Example],
    by: Sequence[str],
    style: str,
    answers: Path | None,
) -> None:
    """Score `model` on the labels of `examples`, show it, and write the answers if asked."""
    labels = LabelSet.from_dict(model.facts.get("labels", {}))
    keys = {key: [value_of(example, key) for example in examples] for key in by}
    check_labels(labels, examples)  # before the work
    with counting("listening") as progress:
        pairs = answer(model.path, examples, progress)
    score = measured(labels, pairs)
    grouped = {key: score.by(values) for key, values in keys.items()}
    if answers:
        write_answers(answers, pairs)
    if style == "json":
        found = {k: {v: s.summary() for v, s in each.items()} for k, each in grouped.items()}
        facts = {"model": str(model.path), "data": str(data), "names": list(labels.names)}
        output.print(json.dumps(facts | score.to_dict() | {"by": found}, indent=2), markup=False)
        return
    show(score)
    for key, each in grouped.items():
        columns = [key, *score.summary(), "clips"]
        rows = [
            [value, *(f"{v:.2%}" for v in part.summary().values()), str(len(part.truth))]
            for value, part in sorted(each.items(), key=lambda item: item[1].accuracy)
        ]
        output.print(table(columns, rows, f"by {key}"))


def show(score: LabelScore) -> None:
    """The figures with their intervals, each label, and what is taken for what."""
    rows = []
    for name, value in score.summary().items():
        found = score.interval(name)
        rows.append(
            [
                "mean average precision" if name == "map" else name.replace("_", " "),
                f"{value:.2%}",
                f"{found.low:.2%} to {found.high:.2%}" if found else "",
            ]
        )
    output.print(table(["", "", "95 % interval"], rows, f"{len(score.truth)} clips"))
    worst = sorted(score.per_label(), key=lambda row: row["f1"])[:SHOWN_LABELS]
    columns = ["label", "clips", "precision", "recall", "F1"]
    keys = ("precision", "recall", "f1")
    lines = [
        [row["label"], str(row["clips"]), *(f"{row[key]:.1%}" for key in keys)] for row in worst
    ]
    output.print(table(columns, lines))
    if confusions := score.top_confusions():
        lines = [[f"{was} taken for {said}", str(count)] for was, said, count in confusions]
        output.print(table(["most often", "clips"], lines))


def write_answers(path: Path, pairs: Pairs) -> None:
    """What was answered, one JSON object a line, wrong answers as they are."""
    lines = [
        json.dumps(
            {
                "id": example.id,
                "audio_filepath": str(example.audio),
                "labels": list(example.labels),
                "pred_labels": list(result.chosen),
                "confidence": round(result.labels[0].confidence, 4),
            },
            ensure_ascii=False,
        )
        for example, result in pairs
    ]
    write_text(path, "\n".join(lines) + "\n")
