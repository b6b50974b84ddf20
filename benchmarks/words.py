"""What a language model is worth: word error rates of one model's outputs, decoded in several ways.

    python benchmarks/words.py --model model.auricle --lm three.bin --lm four.bin
    python benchmarks/words.py --model model.auricle --valid v.jsonl --test a.jsonl --test b.jsonl

Every language model gets its weights on the validation data alone; the tests are decoded once. The
tables have 95 % bootstrap intervals over utterances and paired bootstrap tests.
"""

from pathlib import Path
from typing import Any

import common

TESTS = ("test_librispeech", "test_speechocean", "test_commonvoice")


def texts(decoder: Any, pieces: list[Any]) -> list[str]:
    """What a decoder hears in each recording."""
    flat = [piece for recording in pieces for piece in recording]
    heard = iter(decoder.heard(flat))
    return [
        " ".join(word.text for _ in recording for word in next(heard)[0].words)
        for recording in pieces
    ]


def decoders(arguments: Any, bundle: Any, valid: tuple[list[str], list[Any]]) -> dict[str, Any]:
    """By name, each with its settings; the weights of language models are tuned on `valid`."""
    from auricle.decode import BeamSettings, GreedySettings, build_decoder
    from auricle.lm import NgramModel
    from auricle.runtime import Recognizer
    from auricle.tune import tune

    plain = Recognizer.load(bundle, threads=1, decode=GreedySettings())
    vocabulary = plain.tokenizer, plain.frame_s
    own = bundle.card.decode
    start = own if isinstance(own, BeamSettings) else BeamSettings()
    start = start.model_copy(update={"beam": arguments.beam})
    alone = BeamSettings(beam=arguments.beam)
    made = {
        "greedy": (plain.decoder(GreedySettings()), GreedySettings()),
        "beam, no model": (build_decoder(alone, *vocabulary, lexicon=plain.lexicon), alone),
    }
    for path in arguments.lm:
        lm = NgramModel.load(path)
        recognizer = Recognizer.load(bundle, threads=1, lm=lm, decode=start)
        common.note(f"tuning with {path.name}")
        best = tune(recognizer, valid[1], valid[0], trials=arguments.trials).best.settings
        name = f"{path.stem}, {lm.order}-gram"
        made[name] = (recognizer.decoder(best), best)
        common.note(f"{name}: alpha {best.alpha:g}, beta {best.beta:g}")
    return made


def main() -> None:
    from auricle.bundle import Bundle, find_model
    from auricle.decode import GreedySettings
    from auricle.metrics import compare, score_words
    from auricle.runtime import Recognizer

    english = common.ROOT / "../shared/data/english"
    options = common.parser(__doc__ or "")
    options.add_argument("--model", default="english", help="a bundle (%(default)s)")
    options.add_argument("--lm", type=Path, action="append", default=[], help="repeatable")
    options.add_argument("--valid", type=Path, default=english / "valid.jsonl")
    options.add_argument("--test", type=Path, action="append", help="a manifest; repeatable")
    options.add_argument("--beam", type=int, default=100, help="(%(default)s)")
    options.add_argument("--trials", type=int, default=40, help="of tuning (%(default)s)")
    options.add_argument("--cache", type=Path, help="a folder that keeps the model's outputs")
    arguments = options.parse_args()
    tests = arguments.test or [english / f"{name}.jsonl" for name in TESTS]
    bundle = Bundle.read(find_model(arguments.model))
    ears = Recognizer.load(bundle, decode=GreedySettings())
    valid = common.posteriors(ears, arguments.valid, arguments.cache)
    ways = decoders(arguments, bundle, valid)
    settings = {name: way.to_dict() for name, (_, way) in ways.items()}
    numbers: dict[str, Any] = {**common.machine(), "settings": settings, "wer": {}}
    rows = []
    for data in [arguments.valid, *tests]:
        known = data == arguments.valid
        references, pieces = valid if known else common.posteriors(ears, data, arguments.cache)
        scores = {
            name: score_words(references, texts(decoder, pieces))
            for name, (decoder, _) in ways.items()
        }
        numbers["wer"][data.stem] = found = {}
        rows.append((data.stem, f"{len(references)} utterances{', tuned on' * known}"))
        for (name, score), before in zip(scores.items(), [None, *scores.values()], strict=False):
            change = compare(scores["greedy"], score)
            found[name] = score.to_dict() | {"against_greedy": change.to_dict()}
            said = common.percent(score)
            if before is not None:
                fewer = 1 - score.rate / scores["greedy"].rate
                step = compare(before, score)
                said += f"  {fewer:6.1%} fewer errors than greedy, p {change.p_value:.4f}"
                said += f"; {-step.change:+.2%} on the line above, p {step.p_value:.4f}"
            rows.append((f"  {name}", said))
    common.finish("Word error rates", rows, numbers, arguments.json)


if __name__ == "__main__":
    main()
