"""The report of `auricle evaluate --report`, and another system to hold it against."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from auricle.bundle import LM, Bundle
from auricle.cli.answers import Model, sources_of
from auricle.cli.decoding import Decoding, said
from auricle.cli.display import counting
from auricle.data import Example
from auricle.errors import DataError
from auricle.files import read_text, write_text
from auricle.report import Answers, Listened, Other, html_report
from auricle.text import normalise


def write_report(
    path: Path, model: Path, answers: Answers, normaliser: str, other: Other | None
) -> None:
    """Write the page."""

    def listen(chosen: Sequence[Example]) -> list[Listened | None]:
        return _listen(model, chosen, normaliser)

    with counting("writing the report"):
        write_text(path, html_report(answers, other=other, listen=listen))


def read_other(path: Path, examples: Sequence[Example], normaliser: str) -> Other:
    """The answers that `auricle evaluate --answers` wrote, or lines like them of any system.

    Raises:
        DataError: when it cannot be read, or lacks one of the examples.
    """
    lines = read_text(path, "answers").splitlines()
    numbered = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    found = [_answer(line, f"{path}:{number}") for number, line in numbered]
    heard = {id_: normalise(text, normaliser) for id_, text, _ in found}
    systems = {system for _, _, system in found}
    absent = [example.id for example in examples if example.id not in heard]
    if absent:
        raise DataError(
            f"{path}: has no answer to {len(absent)} of {len(examples)} examples, {absent[0]} for"
            " one: both systems need to be evaluated on the same data"
        )
    how = systems.pop() if len(systems) == 1 else ""
    return Other(path.stem, [heard[example.id] for example in examples], how)


def _answer(line: str, where: str) -> tuple[str, str, str]:
    """Id, text and system of a line."""
    try:
        values: Any = json.loads(line)
        return values["id"], str(values["pred_text"]), str(values.get("system", ""))
    except (ValueError, RecursionError, KeyError, TypeError):
        raise DataError(
            f"{where}: needed is one JSON object a line with id and pred_text, as"
            " `auricle evaluate --answers` writes them"
        ) from None


def system_of(model: Model, name: str, decoding: Decoding) -> str:
    """A model and all that decides what it writes, in a line: to tell two systems apart."""
    name = Path(name).name or name
    if model.path.is_dir():
        return f"{name}, greedy"
    card = Bundle.read(model.path).card
    words = card.members.get(LM)
    lm = decoding.lm.name if decoding.lm else words.sha256[:8] if words else ""
    parts = [
        name,
        said(decoding.settings(card.decode) or card.decode),
        *([f"language model {lm}"] if lm and not decoding.greedy else []),
        *([f"hotwords {decoding.hotwords}"] if decoding.hotwords else []),
    ]
    return ", ".join(parts)


def _listen(model: Path, examples: Sequence[Example], normaliser: str) -> list[Listened | None]:
    """The posteriors of a bundle or of a run."""
    if model.is_dir():
        return _listen_to_run(model, examples, normaliser)
    from auricle.align import Posteriors
    from auricle.aligner import posteriors_many
    from auricle.runtime import Recognizer

    recognizer = Recognizer.load(model)
    found: list[Listened | None] = []
    for _, heard in posteriors_many(recognizer, sources_of(examples, recognizer.engine.rate_hz)):
        if isinstance(heard, Posteriors):
            found.append(Listened(heard, recognizer.tokenizer, normaliser))
        else:
            found.append(None)
    return found


def _listen_to_run(
    run: Path, examples: Sequence[Example], normaliser: str
) -> list[Listened | None]:
    import torch

    from auricle.align import Posteriors
    from auricle.tasks import load_trained

    loaded, network, _ = load_trained(run)
    task: Any = loaded
    frame_s = task.front_end.hop_s * task.stride
    found: list[Listened | None] = []
    with torch.inference_mode():
        for example in examples:
            batch = task.batch([example])
            log_probs, lengths = network(batch.features, batch.lengths)
            frames = int(lengths[0])
            heard = Posteriors(
                log_probs=log_probs[0, :frames].float().numpy(),
                starts_s=frame_s * np.arange(frames),
                frame_s=frame_s,
                duration_s=example.duration_s,
            )
            found.append(Listened(heard, task.tokenizer, normaliser))
    return found
