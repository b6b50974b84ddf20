"""Beam search over made-up emissions: microseconds per frame and word error rate.

    python benchmarks/decoding.py --arpa lm.arpa --text sentences.txt
    python benchmarks/decoding.py --arpa lm.arpa --text sentences.txt --peers venv/bin/python

The emissions look like those of a recogniser that is often in doubt: sharp letters, about 90 %
blanks, letters mistaken, doubtful, dropped and put in between. `--peers` names the Python of an
environment with flashlight-text, kenlm and pyctcdecode, which get the same emissions, the same ARPA
file and the same weights. One core: set OMP_NUM_THREADS=1.
"""

import argparse
import itertools
import json
import math
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import common
import numpy as np

SYMBOLS = ("<blank>", " ", "'", *"abcdefghijklmnopqrstuvwxyz")
BEAMS = (25, 100, 500)
ALPHA, BETA, UNKNOWN = 0.8, 1.0, -8.0
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


def vocabulary(arpa: Path) -> list[str]:
    """The words of an ARPA file, the special ones left out."""
    words, inside = [], False
    with arpa.open(encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("\\"):
                if inside:
                    break
                inside = line.startswith("\\1-grams:")
            elif inside and line.strip():
                words.append(line.split()[1])
    return [word for word in words if word[0] != "<" and set(word) <= set(SYMBOLS)]


# --- decoders: from (ARPA file, beam) to a function from emissions to words ----------------------

Decode = Callable[[list[np.ndarray]], list[list[str]]]
Figures = dict[str, dict[str, float]]


def ours(arpa: Path, beam: int, *, batched: bool, closed: bool) -> Decode:
    from auricle.decode import BeamDecoder, BeamSettings, Lexicon
    from auricle.lm import read_arpa
    from auricle.text import CharTokenizer

    if arpa not in _MODELS:
        _MODELS[arpa] = read_arpa(arpa)
    settings = BeamSettings(
        beam=beam,
        alpha=ALPHA,
        beta=BETA,
        unknown=UNKNOWN,
        token_prune=TOKEN_PRUNE,
        score_prune=SCORE_PRUNE,
    )
    lexicon = Lexicon.of(vocabulary(arpa)) if closed else None
    decoder = BeamDecoder(CharTokenizer(SYMBOLS), settings, lm=_MODELS[arpa], lexicon=lexicon)

    def decode(all_: list[np.ndarray]) -> list[list[str]]:
        many = decoder.decode_many(all_) if batched else [decoder.decode(each) for each in all_]
        return [list(hypotheses[0].words) for hypotheses in many]

    return decode


_MODELS: dict[Path, Any] = {}


def flashlight(arpa: Path, beam: int) -> Decode:
    from flashlight.lib.text.decoder import (
        CriterionType,
        LexiconDecoder,
        LexiconDecoderOptions,
        SmearingMode,
        Trie,
    )
    from flashlight.lib.text.decoder.kenlm import KenLM
    from flashlight.lib.text.dictionary import Dictionary

    words = vocabulary(arpa)
    dictionary = Dictionary()
    for word in [*words, "<unk>"]:
        dictionary.add_entry(word)
    lm = KenLM(str(arpa), dictionary)
    trie = Trie(len(SYMBOLS), 1)
    for number, word in enumerate(words):
        _, score = lm.score(lm.start(False), number)
        trie.insert([SYMBOLS.index(letter) for letter in (*word, " ")], number, score)
    trie.smear(SmearingMode.MAX)
    options = LexiconDecoderOptions(
        beam_size=beam,
        beam_size_token=len(SYMBOLS),
        beam_threshold=SCORE_PRUNE,
        lm_weight=ALPHA,
        word_score=BETA,
        unk_score=-math.inf,
        sil_score=0.0,
        log_add=True,
        criterion_type=CriterionType.CTC,
    )
    decoder = LexiconDecoder(options, trie, lm, 1, 0, len(words), [], False)

    def decode(all_: list[np.ndarray]) -> list[list[str]]:
        found = []
        for each in all_:
            each = np.ascontiguousarray(each)
            best = decoder.decode(each.ctypes.data, *each.shape)[0]
            found.append([dictionary.get_entry(word) for word in best.words if word >= 0])
        return found

    return decode


def pyctcdecode(arpa: Path, beam: int) -> Decode:
    from pyctcdecode import build_ctcdecoder

    decoder = build_ctcdecoder(
        ["", *SYMBOLS[1:]],
        str(arpa),
        vocabulary(arpa),
        alpha=ALPHA,
        beta=BETA,
        unk_score_offset=UNKNOWN,
    )
    limits = {"token_min_logp": -TOKEN_PRUNE, "beam_prune_logp": -SCORE_PRUNE}
    return lambda all_: [decoder.decode(each, beam_width=beam, **limits).split() for each in all_]


def measure(decode: Decode, texts: list[str], all_: list[np.ndarray]) -> dict[str, float]:
    """Processor time, so that neighbours count less; one thread works."""
    decode(all_[:2])
    start_s = time.process_time()
    found = decode(all_)
    spent_s = time.process_time() - start_s
    wrong = sum(errors(text, words) for text, words in zip(texts, found, strict=True))
    return {
        "us_per_frame": 1e6 * spent_s / sum(map(len, all_)),
        "wer": wrong / sum(len(text.split()) for text in texts),
    }


def peers(arguments: argparse.Namespace, texts: list[str], all_: list[np.ndarray]) -> Figures:
    """The other decoders, each in a process of their environment."""
    figures: Figures = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "emissions.npz"
        np.savez(path, texts=np.array(texts), **{f"{n:05}": each for n, each in enumerate(all_)})
        for name, beam in itertools.product(PEERS, arguments.beams):
            command = [arguments.peers, __file__, "--as", name, "--beams", str(beam)]
            command += ["--arpa", str(arguments.arpa), "--emissions", str(path)]
            ended = subprocess.run(command, capture_output=True, text=True, check=False)
            if ended.returncode:
                common.note(f"{name}: {ended.stderr.strip().splitlines()[-1:]}")
            else:
                figures[f"{name}, beam {beam}"] = json.loads(ended.stdout.splitlines()[-1])
    return figures


def contest(arguments: argparse.Namespace) -> None:
    common.warn_if_busy()
    texts = arguments.text.read_text(encoding="utf-8").splitlines()[: arguments.sentences]
    rng = np.random.default_rng(0)
    # flashlight counts a word once the space behind it is heard.
    all_ = [emissions(text + " ", rng, arguments.doubt) for text in texts]
    frames = np.concatenate(all_)
    figures: Figures = {"greedy": measure(_greedy, texts, all_)}
    for closed, batched, beam in itertools.product((False, True), (False, True), arguments.beams):
        how = f"{'closed' if closed else 'open'}, {'batched' if batched else 'single'}"
        decode = ours(arguments.arpa, beam, batched=batched, closed=closed)
        figures[f"auricle, {how}, beam {beam}"] = measure(decode, texts, all_)
    if arguments.peers:
        figures |= peers(arguments, texts, all_)
    blanks = float((frames.argmax(axis=1) == 0).mean())
    about = f"Beam search: {len(all_)} utterances, {len(frames)} frames, {blanks:.0%} blank"
    rows = [
        (name, f"{each['us_per_frame']:8.1f} us/frame  {each['wer']:7.2%} WER")
        for name, each in figures.items()
    ]
    numbers = {**common.machine(), "frames": len(frames), "blanks": blanks, "decoders": figures}
    common.finish(about, rows, numbers, arguments.json)


def _greedy(all_: list[np.ndarray]) -> list[list[str]]:
    from auricle.decode import ctc_greedy

    return ["".join(SYMBOLS[t.id] for t in ctc_greedy(each)).split() for each in all_]


def main() -> None:
    parser = common.parser("Beam search over made-up emissions: speed and word error rate.")
    parser.add_argument("--arpa", type=Path, required=True, help="a language model over words")
    parser.add_argument("--text", type=Path, help="one sentence a line, letters a-z and '")
    parser.add_argument("--sentences", type=int, default=48, help="of them (%(default)s)")
    parser.add_argument("--doubt", type=float, default=0.35, help="letters heard unsurely")
    parser.add_argument("--beams", type=int, nargs="+", default=list(BEAMS))
    parser.add_argument("--peers", help="the Python of an environment with the other decoders")
    parser.add_argument("--as", dest="name", choices=PEERS, help=argparse.SUPPRESS)
    parser.add_argument("--emissions", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.name is None:
        if arguments.text is None:
            parser.error("--text is needed: sentences that the language model has not seen")
        contest(arguments)
        return
    stored = np.load(arguments.emissions)
    texts = stored["texts"].tolist()
    all_ = [stored[name] for name in sorted(stored.files) if name != "texts"]
    decode = {"flashlight": flashlight, "pyctcdecode": pyctcdecode}[arguments.name]
    print(json.dumps(measure(decode(arguments.arpa, arguments.beams[0]), texts, all_)))


if __name__ == "__main__":
    main()
