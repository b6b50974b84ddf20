"""Hotwords: are rare words heard that were announced, and what does it cost the others?

    python benchmarks/hotwords.py --model model.auricle
    python benchmarks/hotwords.py --model model.auricle --lm lm.bin --boosts 3 6 9

Rare words have at least five letters and are not among the commonest words of the language model.
All those of a test are announced at once for every recording that has one, as by a user who knows
the names in a meeting but not who says which. The boost is chosen on the validation data: of those
that cost the other words at most a little there, the one with the best recall.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import common
import numpy as np
from words import TESTS, texts

from auricle.bundle import Bundle, find_model
from auricle.decode import BeamSettings
from auricle.lm import NgramModel
from auricle.metrics import ErrorCounts, align, compare
from auricle.runtime import Recognizer

LETTERS = 5
COMMON = 20_000  # words of the language model that are not rare
COST = 0.003  # of the other words' error rate, that a boost may cost on the validation data


def rare_words(references: Iterable[str], lm: Any) -> set[str]:
    """Those that the language model does not know, or finds unlikely."""
    words = sorted({word for text in references for word in text.split() if len(word) >= LETTERS})
    ids = lm.word_ids(words)
    everything = np.arange(3, len(lm.symbols))
    values, _ = lm.advance(np.full(len(everything), lm.empty), everything)
    floor = np.sort(values)[::-1][min(COMMON, len(values) - 1)]
    own, _ = lm.advance(np.full(len(ids), lm.empty), ids)
    return {word for word, id_, p in zip(words, ids, own, strict=True) if id_ == 0 or p < floor}


def split_counts(
    references: list[str], heard: list[str], rare: set[str]
) -> tuple[ErrorCounts, ErrorCounts, int]:
    """Errors on rare words, on all others (insertions are theirs), and rare ones heard wrongly."""
    columns = {"hit": 0, "substitution": 1, "deletion": 2, "insertion": 3}
    names, rest, alarms = (np.zeros((len(references), 4), np.int64) for _ in range(3))
    for row, (reference, text) in enumerate(zip(references, heard, strict=True)):
        for edit in align(reference.split(), text.split()):
            table = names if edit.reference in rare else rest
            table[row, columns[edit.kind]] += 1
            alarms[row, 0] += edit.kind != "hit" and edit.hypothesis in rare
    return ErrorCounts(names), ErrorCounts(rest), int(alarms.sum())


class Trial:
    """One model; what it hears of rare words."""

    def __init__(self, recognizer: Any, cache: Path | None) -> None:
        self.recognizer, self.cache = recognizer, cache
        own = recognizer.decode
        self.settings = own if isinstance(own, BeamSettings) else BeamSettings()
        self.rows: list[tuple[str, str]] = []
        self.numbers: dict[str, Any] = {}

    def measure(self, data: Path, boosts: Iterable[float]) -> dict[float, Any]:
        """The counts without hotwords (boost 0) and with each boost."""
        references, pieces = common.posteriors(self.recognizer, data, self.cache)
        rare = rare_words(references, self.recognizer.lm)
        if self.recognizer.lexicon is not None:  # others could not be heard at all
            rare &= set(self.recognizer.lexicon.words)
        kept = [n for n, text in enumerate(references) if rare & set(text.split())]
        references, pieces = [references[n] for n in kept], [pieces[n] for n in kept]
        found = {}
        for boost in (0.0, *boosts):
            way = self.settings.model_copy(update={"hotword": boost})
            decoder = self.recognizer.decoder(way, sorted(rare) if boost else ())
            found[boost] = split_counts(references, texts(decoder, pieces), rare)
        said = found[0.0][0].reference
        about = f"{len(rare)} rare words, {said} times said, in {len(kept)} recordings"
        self.rows.append((data.stem, about))
        self.numbers[data.stem] = {"rare": len(rare), "recordings": len(kept), "said": said}
        for boost, counts in found.items():
            self._tell(data.stem, boost, *counts, found[0.0][1])
        return found

    def _tell(self, data: str, boost: float, names: Any, rest: Any, alarms: int, before: Any):
        low, high = names.interval()
        change = compare(before, rest)
        recall = f"recall {1 - names.rate:6.1%} ({1 - high:.1%} to {1 - low:.1%})"
        others = f"WER of the rest {common.percent(rest)}, p {change.p_value:.4f}"
        name = f"  boost {boost:g}" if boost else "  without"
        self.rows.append((name, f"{recall}  {others}  {alarms} false"))
        self.numbers[data][f"boost {boost:g}"] = {
            "recall": 1 - names.rate,
            "recall_interval": [1 - high, 1 - low],
            "rest": rest.to_dict(),
            "change_of_rest": change.to_dict(),
            "false": alarms,
        }


def main() -> None:
    english = common.ROOT / "../shared/data/english"
    options = common.parser(__doc__ or "")
    options.add_argument("--model", default="english", help="a bundle (%(default)s)")
    options.add_argument("--lm", type=Path, help="instead of the bundle's own")
    options.add_argument("--valid", type=Path, default=english / "valid.jsonl")
    options.add_argument("--test", type=Path, action="append", help="a manifest; repeatable")
    options.add_argument("--boosts", type=float, nargs="+", default=[2.0, 4.0, 6.0, 8.0, 10.0])
    options.add_argument("--cache", type=Path, help="a folder that keeps the model's outputs")
    arguments = options.parse_args()
    lm = NgramModel.load(arguments.lm) if arguments.lm else None
    bundle = Bundle.read(find_model(arguments.model))
    trial = Trial(Recognizer.load(bundle, threads=1, lm=lm), arguments.cache)
    if trial.recognizer.lm is None:
        options.error("the bundle has no language model to tell which words are rare: give --lm")
    valid = trial.measure(arguments.valid, arguments.boosts)
    harmless = [b for b in valid if valid[b][1].rate <= valid[0.0][1].rate + COST]
    boost = min(harmless, key=lambda b: valid[b][0].rate)
    for data in arguments.test or [english / f"{name}.jsonl" for name in TESTS]:
        trial.measure(data, [boost])
    settings = {"settings": trial.settings.to_dict(), "boost": boost}
    title = f"Hotwords; boost {boost:g} chosen on the validation data"
    common.finish(title, trial.rows, common.machine() | settings | trial.numbers, arguments.json)


if __name__ == "__main__":
    main()
