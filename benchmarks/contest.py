"""Processes that take turns at training, an epoch at a time."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import common


class Contestant:
    """A process that trains one epoch for each line it is sent, and answers with one of JSON."""

    def __init__(self, name: str, command: list[str], threads: int, folder: Path) -> None:
        self.name = name
        self.errors = folder / f"{name}.stderr"
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONUNBUFFERED": "1"}
        with self.errors.open("w") as errors:
            self.process = subprocess.Popen(
                command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=errors, text=True,
            )  # fmt: skip
        self.about = self._answer()

    def epoch(self) -> dict[str, float]:
        assert self.process.stdin
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        answer = self._answer()
        answer["times_real_time"] = answer["audio_s"] / answer["wall_s"]
        return answer

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout
        for line in self.process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        last = self.errors.read_text(errors="replace").strip().splitlines()[-12:]
        sys.exit("\n".join([f"{self.name} ended early:", *last]))

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


def contest(
    commands: Mapping[str, list[str]], rounds: int, threads: int, folder: Path
) -> tuple[dict[str, dict[str, Any]], dict[str, list[dict[str, float]]]]:
    """What each contestant says of itself, and its epochs, the first to warm up."""
    contestants: list[Contestant] = []
    try:
        for name, command in commands.items():
            common.note(f"starting {name} ...")
            contestants.append(Contestant(name, command, threads, folder))
        return {each.name: each.about for each in contestants}, _play(contestants, rounds)
    finally:
        for each in contestants:
            each.close()


def _play(contestants: list[Contestant], rounds: int) -> dict[str, list[dict[str, float]]]:
    results: dict[str, list[dict[str, float]]] = {each.name: [] for each in contestants}
    for number in range(rounds + 1):
        for each in contestants if number % 2 else contestants[::-1]:
            answer = each.epoch()
            results[each.name].append(answer)
            which = f"round {number}/{rounds}" if number else "warming up"
            common.note(
                f"{which}: {each.name} {answer['times_real_time']:.1f} h/h in "
                f"{answer['wall_s']:.0f} s, loss {answer['loss']:.2f}"
            )
    return results
