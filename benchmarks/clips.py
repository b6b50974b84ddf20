"""Labels for clips: parameters, bytes and microseconds per one-second clip of each bundle.

    python benchmarks/clips.py keywords.auricle wave.auricle --data test.jsonl

One core. The peer is the same network in PyTorch, on the same features, taking turns with the
runtime clip by clip: the ratio is that of the graphs alone. A bundle without weights has no peer.
"""

import time
from pathlib import Path
from typing import Any

import common
import numpy as np

CLIP_S = 1.0


def waves(data: Path, count: int, rate_hz: int) -> list[np.ndarray]:
    """Clips of exactly one second."""
    from auricle import audio

    size = round(CLIP_S * rate_hz)
    found = (
        audio.load(each.audio, rate_hz)[0][:size]
        for each in common.examples_of(data, "label")[:count]
    )
    return [np.pad(wave, (0, size - len(wave))) for wave in found]


def times(path: Path, data: Path, clips: int, rounds: int) -> dict[str, Any]:
    """What one bundle weighs, and the best of the rounds for each of its parts, in us per clip."""
    import torch

    from auricle.classifier import Classifier
    from auricle.errors import ModelError
    from auricle.tasks import load_weights

    classifier = Classifier.load(path, threads=1)
    engine, bundle = classifier.engine, classifier.engine.bundle
    sounds = waves(data, clips, engine.rate_hz)
    features = [engine.front_end(wave) for wave in sounds]
    parts = {
        "file to label": lambda n: classifier.classify((sounds[n], engine.rate_hz)),
        "front end": lambda n: engine.front_end(sounds[n]),
        "graph": lambda n: engine.session([features[n]]),
    }
    weighs = {"precision": bundle.card.precision, "bytes": path.stat().st_size}
    weighs["graph_bytes"] = len(bundle.member("model.onnx"))
    try:
        task, weights = load_weights(path)
        model = task.model()
        model.load_state_dict({name: each.float() for name, each in weights.items()})
        model.eval()
        weighs["parameters"] = sum(p.numel() for p in model.parameters())
        tensors = [(torch.from_numpy(x)[None], torch.tensor([len(x)])) for x in features]

        def peer(n: int) -> None:
            with torch.inference_mode():
                model(*tensors[n])

        parts["graph in PyTorch"] = peer
    except ModelError:
        common.note(f"{path}: no weights, so no peer")
    best = dict.fromkeys(parts, float("inf"))
    for _ in range(rounds):
        spent = dict.fromkeys(parts, 0.0)
        for n in range(len(sounds)):
            for name, run in parts.items():
                begun = time.perf_counter()
                run(n)
                spent[name] += time.perf_counter() - begun
        best = {name: min(best[name], spent[name] / len(sounds)) for name in parts}
    return weighs | {"us": {name: 1e6 * each for name, each in best.items()}}


def main() -> None:
    options = common.parser(__doc__ or "")
    options.add_argument("bundles", nargs="+", type=Path, help="bundles that answer with labels")
    data = common.ROOT / "../shared/data/speech_commands_12/test.jsonl"
    options.add_argument("--data", type=Path, default=data, help="a manifest (%(default)s)")
    options.add_argument("--clips", type=int, default=200)
    options.add_argument("--rounds", type=int, default=5)
    chosen = options.parse_args()
    import torch

    torch.set_num_threads(1)
    common.warn_if_busy()
    rows, numbers = [], {}
    for path in chosen.bundles:
        found = numbers[path.stem] = times(path, chosen.data, chosen.clips, chosen.rounds)
        spent = found["us"]
        kilo = found.get("parameters", 0) / 1e3
        size = f"{kilo:.0f} k parameters, {found['bytes'] / 1e3:.0f} kB, {found['precision']}"
        rows.append((path.stem, size))
        rows += [(f"  {name}, us per clip", f"{each:.0f}") for name, each in spent.items()]
        if peer := spent.get("graph in PyTorch"):
            rows.append(("  PyTorch / graph", f"{peer / spent['graph']:.1f}"))
    common.finish("clips", rows, {"machine": common.machine(), "bundles": numbers}, chosen.json)


if __name__ == "__main__":
    main()
