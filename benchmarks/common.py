"""What the benchmarks share: their data, their table, their JSON."""

import argparse
import json
import os
import platform
import random
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RECIPE = ROOT / "recipes" / "ctc" / "conv_lstm.toml"
BUSY = 0.5  # load per core above which a figure says more about the neighbours


def parser(about: str) -> argparse.ArgumentParser:
    """Arguments that every benchmark takes."""
    made = argparse.ArgumentParser(description=about)
    made.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there too")
    return made


def add_data(made: argparse.ArgumentParser, default: str) -> None:
    made.add_argument(
        "data", nargs="?", type=Path, default=ROOT / default, help="a manifest (%(default)s)"
    )


def examples_of(data: Path, what: str = "text") -> tuple[Any, ...]:
    """The examples of a manifest, each with its text or label; or a clear end."""
    from auricle.data import read_data
    from auricle.errors import DataError

    if not data.exists():
        sys.exit(
            f"{data}: no such manifest. Give one of your own: JSONL, one recording a line, like\n"
            '  {"audio_filepath": "clips/a.flac", "duration": 4.2, "text": "what is said"}'
        )
    try:
        return read_data(data, what=what).examples
    except DataError as error:
        sys.exit(str(error))


def some(examples: Sequence[Any], seconds: float, seed: int = 0) -> list[Any]:
    """About `seconds` of sound, drawn from all of `examples`."""
    drawn = random.Random(seed).sample(list(examples), len(examples))
    chosen, total_s = [], 0.0
    for example in drawn:
        if total_s + example.duration_s <= seconds:
            chosen.append(example)
            total_s += example.duration_s
    if not chosen:
        sys.exit(f"no recording is as short as {seconds:g} s: give more sound to use")
    return chosen


def posteriors(recognizer: Any, data: Path, cache: Path | None) -> tuple[list[str], list[Any]]:
    """References, and the log probabilities of the pieces of each recording.

    They are kept in the folder `cache`, if there is one, by model and manifest.
    """
    import hashlib

    import numpy as np

    from auricle.cli.answers import sources_of
    from auricle.text import normalise
    from auricle.tune import listen

    examples = examples_of(data)
    references = [normalise(each.text or "", recognizer.normaliser) for each in examples]
    card = recognizer.engine.bundle.card
    graph = card.members["model.onnx"].sha256 + card.cut
    key = hashlib.sha256(graph.encode() + data.read_bytes()).hexdigest()[:16]
    kept = cache / f"{data.stem}-{key}.npz" if cache else None
    if kept and kept.exists():
        with np.load(kept) as arrays:
            named = {tuple(map(int, name.split("_"))): arrays[name] for name in arrays.files}
        owners = range(len(examples))
        return references, [[a for (o, _), a in sorted(named.items()) if o == n] for n in owners]
    note(f"listening to {data.name}")
    pieces = listen(recognizer, sources_of(examples, recognizer.engine.rate_hz), len(examples))
    if kept:
        named = {f"{o}_{n}": a for o, each in enumerate(pieces) for n, a in enumerate(each)}
        kept.parent.mkdir(parents=True, exist_ok=True)
        np.savez(kept, **named)
    return references, list(pieces)


def percent(counts: Any) -> str:
    """An error rate with its 95 % interval."""
    interval = counts.interval()
    return f"{counts.rate:7.2%}  ({interval.low:.2%} to {interval.high:.2%})"


def median(values: Sequence[float]) -> float:
    ranked = sorted(values)
    middle = len(ranked) // 2
    return ranked[middle] if len(ranked) % 2 else (ranked[middle - 1] + ranked[middle]) / 2


def machine() -> dict[str, Any]:
    """Where and with what the figures were taken."""
    model = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text(encoding="utf-8", errors="ignore").splitlines()
        model = next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), model)
    git = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "load_at_start": round(os.getloadavg()[0], 2),
        "system": platform.platform(),
        "python": platform.python_version(),
        "auricle": version("auricle"),
        "commit": commit,
    }


def warn_if_busy() -> None:
    load = os.getloadavg()[0]
    if load > BUSY * (os.cpu_count() or 1):
        note(f"warning: the machine is busy (load {load:.1f}); do not keep these figures")


def note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def finish(name: str, rows: Sequence[tuple[str, str]], numbers: Mapping[str, Any], to: Path | None):
    """Print the rows as a table; write the numbers."""
    width = max(len(label) for label, _ in rows)
    print(f"\n{name}")
    for label, value in rows:
        print(f"  {label:<{width}}  {value}")
    if to:
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_text(json.dumps({"benchmark": name, **numbers}, indent=2) + "\n", encoding="utf-8")
