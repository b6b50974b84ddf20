"""Beam search: microseconds per frame and word error rate, beside other decoders.

    python benchmarks/decoding.py --arpa lm.arpa --text sentences.txt
    python benchmarks/decoding.py --arpa lm.arpa --model model.auricle --data test.jsonl
    python benchmarks/decoding.py --arpa lm.arpa --model ... --data ... --peers venv/bin/python

The log probabilities are those of a model of letters for real recordings; or, from sentences alone,
made up to look like those of a recogniser that is often in doubt: sharp letters, about 90 % blanks,
letters mistaken, doubtful, dropped and put in between. `--peers` names the Python of an environment
with flashlight-text, kenlm and pyctcdecode, which get the same log probabilities, the same ARPA
file and the same weights. One core: set OMP_NUM_THREADS=1.
"""

import argparse
import itertools
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import common
import numpy as np

SYMBOLS = ("<blank>", " ", "'", *"abcdefghijklmnopqrstuvwxyz")
BEAMS = (25, 100, 500)
TOKEN_PRUNE, SCORE_PRUNE = 10.0, 20.0
PEERS = ("flashlight", "pyctcdecode")


def emissions(text: str, rng: np.random.Generator, doubt: float) -> np.ndarray:
    """Log probabilities (T, V) float32 of a text: a letter about every tenth frame.

    `doubt` is the share of letters that are heard unsurely, a third of them as another letter.
    """
    letters = len(SYMBOLS)
    logits = rng.normal(0.0, 1.0, (sum(9 + (n % 4) for n in range(len(text))) + 10, letters))
    logits[:, 0] += 12.0 + rng.normal(0.0, 1.0, len(logits))
    at = 5
    for n, letter in enumerate(text):
        symbol = SYMBOLS.index(letter)
        sure = rng.random() >= doubt
        gain = rng.normal(14.0, 1.0) if sure else rng.normal(11.0, 1.5)
        others = rng.integers(1, letters, 2)
        for frame in range(at, at + 1 + int(rng.random() < 0.3)):
            logits[frame, 0] -= rng.uniform(4.0, 10.0)
            logits[frame, symbol] += gain
            logits[frame, others] += (gain - 4.0) if sure else gain + rng.normal(-0.7, 1.5, 2)
        at += 9 + (n % 4)
    peak = logits.max(axis=1, keepdims=True)
    return (logits - peak - np.log(np.exp(logits - peak).sum(axis=1, keepdims=True))).astype(
        np.float32
    )


def errors(reference: str, words: list[str]) -> int:
    """Word errors, by dynamic programming: the other environments have nothing better."""
    row = list(range(len(words) + 1))
    for i, wanted in enumerate(reference.split(), 1):
        diagonal, row[0] = row[0], i
        for j, word in enumerate(words, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (wanted != word))
    return row[-1]


@dataclass(frozen=True)
class Task:
    """What every decoder gets."""

    arpa: Path
    symbols: tuple[str, ...]
    texts: list[str]
    log_probs: list[np.ndarray]
    alpha: float
    beta: float
    unknown: float

    @property
    def frames(self) -> int:
        return sum(map(len, self.log_probs))

    def save(self, path: Path) -> None:
        facts = {**vars(self), "arpa": str(self.arpa)}
        arrays = {f"{n:05}": each for n, each in enumerate(facts.pop("log_probs"))}
        np.savez(path, facts=np.array(json.dumps(facts)), **arrays)

    @classmethod
    def load(cls, path: Path) -> "Task":
        stored = np.load(path)
        facts = json.loads(str(stored["facts"]))
        arrays = [stored[name] for name in sorted(stored.files) if name != "facts"]
        facts |= {"arpa": Path(facts["arpa"]), "symbols": tuple(facts["symbols"])}
        return cls(**facts, log_probs=arrays)


def made_up(arguments: argparse.Namespace) -> tuple[list[str], list[np.ndarray]]:
    rng = np.random.default_rng(0)
    texts = arguments.text.read_text(encoding="utf-8").splitlines()[: arguments.sentences]
    return texts, [emissions(text + " ", rng, arguments.doubt) for text in texts]


def recorded(
    arguments: argparse.Namespace,
) -> tuple[tuple[str, ...], list[str], list[np.ndarray]]:
    """The symbols of a model, and what was said and heard in recordings of one piece."""
    from auricle.decode import GreedySettings
    from auricle.runtime import Recognizer

    recognizer = Recognizer.load(arguments.model, threads=1, decode=GreedySettings())
    symbols = (SYMBOLS[0], *recognizer.tokenizer.symbols[1:])
    if recognizer.tokenizer.separator is None or any(len(s) > 1 for s in symbols[1:]):
        sys.exit(f"{arguments.model}: the other decoders need a model of letters")
    references, pieces = common.posteriors(recognizer, arguments.data, arguments.cache)
    whole = [n for n, each in enumerate(pieces) if len(each) == 1][: arguments.sentences]
    return symbols, [references[n] for n in whole], [_ended(pieces[n][0], symbols) for n in whole]


def _ended(log_probs: np.ndarray, symbols: tuple[str, ...]) -> np.ndarray:
    """With a space at the end: flashlight counts a word once the space behind it is heard."""
    space = np.full((1, len(symbols)), math.log(1e-4), np.float32)
    space[0, symbols.index(" ")] = math.log(1 - 1e-4 * (len(symbols) - 1))
    return np.concatenate([log_probs, space])


def vocabulary(arpa: Path, symbols: tuple[str, ...]) -> list[str]:
    """The words of an ARPA file that the symbols can spell."""
    words, inside = [], False
    with arpa.open(encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("\\"):
                if inside:
                    break
                inside = line.startswith("\\1-grams:")
            elif inside and line.strip():
                words.append(line.split()[1])
    return [word for word in words if word[0] != "<" and set(word) <= set(symbols)]


# --- decoders: from (task, beam) to a function from log probabilities to words -------------------

Decode = Callable[[list[np.ndarray]], list[list[str]]]
Figures = dict[str, dict[str, float]]


def ours(task: Task, beam: int, *, batched: bool, closed: bool) -> Decode:
    from auricle.decode import BeamDecoder, BeamSettings, Lexicon
    from auricle.lm import read_arpa
    from auricle.text import CharTokenizer

    if task.arpa not in _MODELS:
        _MODELS[task.arpa] = read_arpa(task.arpa)
    settings = BeamSettings(
        beam=beam,
        alpha=task.alpha,
        beta=task.beta,
        unknown=task.unknown,
        token_prune=TOKEN_PRUNE,
        score_prune=SCORE_PRUNE,
    )
    lexicon = Lexicon.of(vocabulary(task.arpa, task.symbols)) if closed else None
    tokenizer = CharTokenizer(task.symbols)
    decoder = BeamDecoder(tokenizer, settings, lm=_MODELS[task.arpa], lexicon=lexicon)

    def decode(all_: list[np.ndarray]) -> list[list[str]]:
        many = decoder.decode_many(all_) if batched else [decoder.decode(each) for each in all_]
        return [list(hypotheses[0].words) for hypotheses in many]

    return decode


_MODELS: dict[Path, Any] = {}


def flashlight(task: Task, beam: int) -> Decode:
    from flashlight.lib.text.decoder import (
        CriterionType,
        LexiconDecoder,
        LexiconDecoderOptions,
        SmearingMode,
        Trie,
    )
    from flashlight.lib.text.decoder.kenlm import KenLM
    from flashlight.lib.text.dictionary import Dictionary

    words, symbols = vocabulary(task.arpa, task.symbols), task.symbols
    space = symbols.index(" ")
    dictionary = Dictionary()
    for word in [*words, "<unk>"]:
        dictionary.add_entry(word)
    lm = KenLM(str(task.arpa), dictionary)
    trie = Trie(len(symbols), space)
    for number, word in enumerate(words):
        _, score = lm.score(lm.start(False), number)
        trie.insert([symbols.index(letter) for letter in (*word, " ")], number, score)
    trie.smear(SmearingMode.MAX)
    options = LexiconDecoderOptions(
        beam_size=beam,
        beam_size_token=len(symbols),
        beam_threshold=SCORE_PRUNE,
        lm_weight=task.alpha * math.log(10),  # its kenlm counts in logarithms to the base of ten
        word_score=task.beta,
        unk_score=-math.inf,
        sil_score=0.0,
        log_add=True,
        criterion_type=CriterionType.CTC,
    )
    decoder = LexiconDecoder(options, trie, lm, space, 0, len(words), [], False)

    def decode(all_: list[np.ndarray]) -> list[list[str]]:
        found = []
        for each in all_:
            each = np.ascontiguousarray(each)
            best = decoder.decode(each.ctypes.data, *each.shape)[0]
            found.append([dictionary.get_entry(word) for word in best.words if word >= 0])
        return found

    return decode


def pyctcdecode(task: Task, beam: int) -> Decode:
    from pyctcdecode import build_ctcdecoder

    decoder = build_ctcdecoder(
        ["", *task.symbols[1:]],
        str(task.arpa),
        vocabulary(task.arpa, task.symbols),
        alpha=task.alpha,
        beta=task.beta,
        unk_score_offset=task.unknown,
    )
    limits = {"token_min_logp": -TOKEN_PRUNE, "beam_prune_logp": -SCORE_PRUNE}
    return lambda all_: [decoder.decode(each, beam_width=beam, **limits).split() for each in all_]


def measure(decode: Decode, task: Task) -> dict[str, float]:
    """Processor time, so that neighbours count less; one thread works."""
    decode(task.log_probs[:2])
    start_s = time.process_time()
    found = decode(task.log_probs)
    spent_s = time.process_time() - start_s
    wrong = sum(errors(text, words) for text, words in zip(task.texts, found, strict=True))
    return {
        "us_per_frame": 1e6 * spent_s / task.frames,
        "wer": wrong / sum(len(text.split()) for text in task.texts),
    }


def peers(python: str, beams: list[int], task: Task) -> Figures:
    """The other decoders, each in a process of their environment."""
    figures: Figures = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "task.npz"
        task.save(path)
        for name, beam in itertools.product(PEERS, beams):
            command = [python, __file__, "--as", name, "--beams", str(beam), "--task", str(path)]
            ended = subprocess.run(command, capture_output=True, text=True, check=False)
            if ended.returncode:
                common.note(f"{name}: {ended.stderr.strip().splitlines()[-1:]}")
            else:
                figures[f"{name}, beam {beam}"] = json.loads(ended.stdout.splitlines()[-1])
    return figures


def contest(arguments: argparse.Namespace) -> None:
    common.warn_if_busy()
    if arguments.model:
        symbols, texts, log_probs = recorded(arguments)
    else:
        symbols, (texts, log_probs) = SYMBOLS, made_up(arguments)
    weights = {name: getattr(arguments, name) for name in ("alpha", "beta", "unknown")}
    task = Task(arguments.arpa, symbols, texts, log_probs, **weights)
    figures: Figures = {"greedy": measure(_greedy(task), task)}
    for closed, batched, beam in itertools.product((False, True), (False, True), arguments.beams):
        how = f"{'closed' if closed else 'open'}, {'batched' if batched else 'single'}"
        decode = ours(task, beam, batched=batched, closed=closed)
        figures[f"auricle, {how}, beam {beam}"] = measure(decode, task)
    if arguments.peers:
        figures |= peers(arguments.peers, arguments.beams, task)
    blanks = float((np.concatenate(log_probs).argmax(axis=1) == 0).mean())
    about = f"Beam search: {len(texts)} utterances, {task.frames} frames, {blanks:.0%} blank"
    rows = [
        (name, f"{each['us_per_frame']:8.1f} us/frame  {each['wer']:7.2%} WER")
        for name, each in figures.items()
    ]
    facts = {"frames": task.frames, "blanks": blanks, **weights, "decoders": figures}
    common.finish(about, rows, common.machine() | facts, arguments.json)


def _greedy(task: Task) -> Decode:
    from auricle.decode import ctc_greedy

    return lambda all_: [
        "".join(task.symbols[t.id] for t in ctc_greedy(each)).split() for each in all_
    ]


def main() -> None:
    parser = common.parser("Beam search beside other decoders: speed and word error rate.")
    parser.add_argument("--arpa", type=Path, help="a language model over words")
    parser.add_argument("--model", help="a bundle of letters, for --data")
    parser.add_argument("--data", type=Path, help="a manifest of recordings")
    parser.add_argument("--cache", type=Path, help="a folder that keeps the model's outputs")
    parser.add_argument("--text", type=Path, help="instead: sentences, one a line, to make up")
    parser.add_argument("--doubt", type=float, default=0.35, help="letters of them heard unsurely")
    parser.add_argument("--sentences", type=int, default=48, help="or recordings (%(default)s)")
    parser.add_argument("--beams", type=int, nargs="+", default=list(BEAMS))
    parser.add_argument("--alpha", type=float, default=0.8, help="(%(default)s)")
    parser.add_argument("--beta", type=float, default=1.0, help="(%(default)s)")
    parser.add_argument("--unknown", type=float, default=-8.0, help="(%(default)s)")
    parser.add_argument("--peers", help="the Python of an environment with the other decoders")
    parser.add_argument("--as", dest="name", choices=PEERS, help=argparse.SUPPRESS)
    parser.add_argument("--task", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.name:
        task = Task.load(arguments.task)
        decode = {"flashlight": flashlight, "pyctcdecode": pyctcdecode}[arguments.name]
        print(json.dumps(measure(decode(task, arguments.beams[0]), task)))
    elif not arguments.arpa or bool(arguments.model) != bool(arguments.data):
        parser.error("needed are --arpa, and --model with --data, or --text")
    elif not arguments.model and not arguments.text:
        parser.error("needed are recordings (--model, --data) or sentences the model never saw")
    else:
        contest(arguments)


if __name__ == "__main__":
    main()
