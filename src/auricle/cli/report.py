"""The report of `auricle evaluate --report`, and another system to hold it against."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from auricle.bundle import find_model
from auricle.cli.answers import Pairs, sources_of
from auricle.cli.display import counting
from auricle.data import Example
from auricle.errors import DataError
from auricle.files import regular, write_text
from auricle.report import Answers, Listened, Other, html_report
from auricle.text import normalise


def write_report(
    path: Path,
    model: str,
    data: Path,
    pairs: Pairs,
    texts: tuple[Sequence[str], Sequence[str]],
    normaliser: str,
    other: Other | None,
) -> None:
    """Write the page.

    Args:
        texts: normalised, what was said and what was heard.
    """
    examples = [example for example, _ in pairs]
    transcripts = [transcript for _, transcript in pairs]
    answers = Answers(_name(model), str(data), examples, *texts, transcripts)

    def listen(chosen: Sequence[Example]) -> list[Listened | None]:
        return _listen(find_model(model), chosen, normaliser)

    with counting("writing the report"):
        write_text(path, html_report(answers, other=other, listen=listen))


def read_other(path: Path, examples: Sequence[Example], normaliser: str) -> Other:
    """The answers that `auricle evaluate --answers` wrote, or lines like them of any system.

    Raises:
        DataError: when it cannot be read, or lacks one of the examples.
    """
    try:
        lines = regular(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot read these answers ({error})") from None
    numbered = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    pairs = (_answer(line, f"{path}:{number}") for number, line in numbered)
    heard = {id_: normalise(text, normaliser) for id_, text in pairs}
    absent = [example.id for example in examples if example.id not in heard]
    if absent:
        raise DataError(
            f"{path}: has no answer to {len(absent)} of {len(examples)} examples, {absent[0]} for"
            " one: both systems need to be evaluated on the same data"
        )
    return Other(path.stem, [heard[example.id] for example in examples])


def _answer(line: str, where: str) -> tuple[str, str]:
    try:
        values: Any = json.loads(line)
        return values["id"], str(values["pred_text"])
    except (ValueError, RecursionError, KeyError, TypeError):
        raise DataError(
            f"{where}: needed is one JSON object a line with id and pred_text, as"
            " `auricle evaluate --answers` writes them"
        ) from None


def _name(model: str) -> str:
    return Path(model).name or model


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
