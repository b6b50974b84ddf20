"""auricle tune."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from auricle.bundle import SHIPPED, Bundle, find_model, write_bundle
from auricle.cli.answers import sources_of
from auricle.cli.decoding import LanguageModelFile, LexiconFile, said, tell_unspoken
from auricle.cli.display import counting, errors, output, table
from auricle.data import read_data
from auricle.decode import BeamSettings, Lexicon
from auricle.errors import ConfigError
from auricle.files import check_folder_of
from auricle.lm import NgramModel
from auricle.metrics import ErrorCounts, calibration_error, compare
from auricle.runtime import Recognizer
from auricle.text import PhonemeTokenizer, normalise
from auricle.tune import ENOUGH_RECORDINGS, ENOUGH_WORDS, OPENNESS, WEIGHTS, Tuned, listen
from auricle.tune import tune as search
from auricle.vocabulary import read_vocabulary, with_vocabulary


def tune(
    model: Annotated[str, typer.Argument(help="A bundle, or a run folder (with --out).")],
    valid: Annotated[Path, typer.Argument(help="Validation data: never the test data.")],
    lm: LanguageModelFile = None,
    lexicon: LexiconFile = None,
    out: Annotated[
        Path | None, typer.Option(help="The bundle to write; the same one if not given.")
    ] = None,
    beam: Annotated[int | None, typer.Option(min=1, help="Prefixes kept.")] = None,
    trials: Annotated[int, typer.Option(min=1, help="Most settings to try.")] = 40,
) -> None:
    """
    Examples:
    - `auricle tune model.auricle valid.jsonl --lm lm.bin`
    - `auricle tune model.auricle valid.jsonl --out tuned.auricle --beam 50`
    - `auricle tune run valid.jsonl --lm lm.bin --out model.auricle` (exports the run first)

    Find the weights of the language model with which a model errs least on validation recordings,
    fit the confidence of its words, and write both into the model's file as its defaults. A hundred
    recordings of a thousand words in all are the least that settles more than chance does.
    """
    path = find_model(model)
    target = out or path
    if out is None and (path.is_dir() or path.parent == SHIPPED):
        raise ConfigError(f"{model} is not a file of yours to change: name a new one with --out")
    check_folder_of(target)
    with counting("reading") as progress:
        examples = read_data(valid, progress=progress).examples
    with tempfile.TemporaryDirectory() as folder:
        present = _exported(path, Path(folder)) if path.is_dir() else path
        before = Recognizer.load(present)
        bundle = _with_words(present, Path(folder), lm, lexicon, beam)
        recognizer = Recognizer.load(bundle)
        references = [normalise(each.text or "", recognizer.normaliser) for each in examples]
        with counting("listening") as progress:
            sources = sources_of(examples, recognizer.engine.rate_hz)
            pieces = listen(recognizer, sources, len(examples), progress)
        with counting("searching") as progress:
            tuned = search(
                recognizer, pieces, references, before=before, trials=trials, progress=progress
            )
        _show(tuned, before)
        facts = tuned.to_dict() | {"data": valid.name, "utterances": len(examples)}
        updates = {
            "decode": tuned.best.settings,
            "confidence": {kind: each.calibration for kind, each in tuned.surety.items()},
            "metrics": {**bundle.card.metrics, "tuned": facts},
            "description": _note(tuned, valid, lm, lexicon) + bundle.card.description,
        }
        members = {name: bundle.member(name) for name in bundle.card.members}
    write_bundle(target, bundle.card.model_copy(update=updates), members)
    errors.print(f"{target}: decodes by these settings now", markup=False, soft_wrap=True)


def _exported(run: Path, folder: Path) -> Path:
    """A run as a bundle, in `folder`."""
    from auricle.cli.model import export

    export(run, folder / "model.auricle")
    return folder / "model.auricle"


def _with_words(
    path: Path, folder: Path, lm: Path | None, lexicon: Path | None, beam: int | None
) -> Bundle:
    """The bundle to tune, in `folder`: with a language model, a lexicon and a beam, if given."""
    bundle = Bundle.read(path)
    tokenizer, own = read_vocabulary(bundle)
    decode = bundle.card.decode if isinstance(bundle.card.decode, BeamSettings) else BeamSettings()
    model, words = NgramModel.load(lm) if lm else None, Lexicon.read(lexicon) if lexicon else own
    if model and words:
        tell_unspoken(model, words)
    card, more = with_vocabulary(
        bundle.card,
        tokenizer,
        lm=model,
        lexicon=words,
        decode=decode.model_copy(update={"beam": beam or decode.beam}),
    )
    members = {name: bundle.member(name) for name in bundle.card.members}
    # Confidences that were fitted to other settings would say nothing true.
    card = card.model_copy(update={"confidence": {}})
    return write_bundle(folder / "tuned.auricle", card, {**members, **more})


def _note(tuned: Tuned, valid: Path, lm: Path | None, lexicon: Path | None) -> str:
    """What the card says above what it said: its figures are of the model before."""
    given = {"the language model": lm, "the lexicon": lexicon}
    files = [f"{name} {path.name}" for name, path in given.items() if path]
    words = f" with {' and '.join(files)}" if files else ""
    best = tuned.best.errors
    return (
        f"> Tuned on {valid.name}{words}: a word error rate of {best.rate:.2%} on these"
        f" {len(best.rows)} recordings, which chose its settings. Figures below are those of the"
        " model before.\n\n"
    )


def _show(tuned: Tuned, before: Recognizer) -> None:
    """All that was tried, what came of it, and how sure the words are."""
    first = tuned.trials[0].settings
    names = [k.name for k in (*WEIGHTS, *OPENNESS)]
    turned = [
        n for n in names if any(getattr(t.settings, n) != getattr(first, n) for t in tuned.trials)
    ]
    rows = [
        [
            *(f"{getattr(t.settings, n):g}" for n in turned),
            f"{t.errors.rate:.2%}",
            "best" * (t is tuned.best),
        ]
        for t in tuned.trials
    ]
    output.print(table([*turned, "WER", ""], rows, f"beam {first.beam}"))
    rows = [[f"before ({said(before.decode)})", *_rated(tuned.before)]]
    if before.decode.kind != "greedy" and not isinstance(before.tokenizer, PhonemeTokenizer):
        rows.append(["greedy", *_rated(tuned.greedy)])
    rows.append([f"now ({said(tuned.best.settings)})", *_rated(tuned.best.errors)])
    output.print(table(["", "WER", "95 % interval"], rows))
    change = compare(tuned.before, tuned.best.errors)
    if change:
        output.print(f"change {change.change:+.2%}, p = {change.p_value:.4f} (paired bootstrap)")
    if tuned.few:
        counts = tuned.before
        errors.print(
            f"warning: {len(counts.rows)} recordings of {counts.reference} words are too few to"
            f" choose by: have {ENOUGH_RECORDINGS} of {ENOUGH_WORDS:,} words or more, else chance"
            " chooses, and new recordings may fare worse than before",
            markup=False,
            soft_wrap=True,
        )
    rows = [
        [kind, f"{calibration_error(each.before):.3f}", f"{calibration_error(each.after):.3f}"]
        for kind, each in tuned.surety.items()
    ]
    output.print(table(["confidence", "error before", "after"], rows))


def _rated(counts: ErrorCounts) -> list[str]:
    interval = counts.interval()
    return [f"{counts.rate:.2%}", f"{interval.low:.2%} to {interval.high:.2%}" if interval else ""]
