"""Dynamic batching, over a graph that says what it was given."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from auricle.engine import Float32
from auricle.errors import AuricleError, ModelError
from auricle.runtime import Recognizer
from auricle.serve.batching import Batching
from auricle.serve.metrics import Metrics
from auricle.serve.sharing import SEARCHED, share_search
from tones import RATE_HZ, sound, write


def pieces(*lengths: int) -> list[Float32]:
    return [np.full((length, 2), length, np.float32) for length in lengths]


class Graph:
    """Doubles; notes its batches; waits for leave when asked to."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.leave, self.entered = threading.Event(), threading.Event()
        self.leave.set()

    def __call__(self, features: Sequence[Float32]) -> list[Float32]:
        self.batches.append([len(each) for each in features])
        self.entered.set()
        self.leave.wait(30)
        if any(len(each) == 13 for each in features):
            raise ModelError("thirteen")
        return [2 * each for each in features]


@contextmanager
def batching(graph: Graph, **values: Any) -> Iterator[Batching]:
    made = Batching(graph, **({"most": 4, "wait_s": 0.0} | values))
    yield made
    graph.leave.set()
    made.close()


def in_threads(call: Any, arguments: Sequence[Any]) -> list[threading.Thread]:
    threads = [threading.Thread(target=call, args=(each,)) for each in arguments]
    for thread in threads:
        thread.start()
    return threads


def test_everyone_gets_the_answers_to_his_own_pieces() -> None:
    graph, answers = Graph(), {}

    def call(at: int) -> None:
        given = pieces(at + 21, at + 50)
        answers[at] = (given, made(given))

    with batching(graph, wait_s=0.01) as made:
        for thread in in_threads(call, range(20)):
            thread.join()
    assert len(answers) == 20
    for given, got in answers.values():
        for a, b in zip(given, got, strict=True):
            np.testing.assert_array_equal(2 * a, b)
    assert max(map(len, graph.batches)) <= 4


def test_while_the_graph_runs_a_batch_fills_with_the_nearest_lengths() -> None:
    graph = Graph()
    graph.leave.clear()
    with batching(graph) as made:
        threads = in_threads(made, [pieces(1)])
        graph.entered.wait(30)
        threads += in_threads(made, [pieces(100)])
        wait_for(made, 1)  # has waited longest
        threads += in_threads(made, [pieces(5, 98, 7, 101, 99, 6)])
        wait_for(made, 7)
        graph.leave.set()
        for thread in threads:
            thread.join()
    assert graph.batches[0] == [1]
    assert sorted(graph.batches[1]) == [98, 99, 100, 101]
    assert sorted(graph.batches[2]) == [5, 6, 7]


def test_a_full_batch_waits_for_nobody() -> None:
    graph = Graph()
    with batching(graph, wait_s=1e6) as made:
        assert len(made(pieces(1, 2, 3, 4))) == 4
    assert sorted(map(sorted, graph.batches)) == [[1, 2, 3, 4]]


def test_one_by_one_runs_side_by_side() -> None:
    graph = Graph()
    graph.leave.clear()
    with batching(graph, most=1, runners=2) as made:
        (thread,) = in_threads(made, [pieces(1, 2, 3)])
        while len(graph.batches) < 2:
            graph.entered.wait(0.01)
        assert made.waiting == 1
        graph.leave.set()
        thread.join()
    assert sorted(graph.batches) == [[1], [2], [3]]


def test_a_failure_reaches_who_asked_and_nobody_beside_or_after_him() -> None:
    graph, answers = Graph(), []
    with batching(graph, wait_s=1e6) as made:
        threads = in_threads(lambda given: answers.append(made(given)), [pieces(1, 2, 3)])
        wait_for(made, 3)
        with pytest.raises(ModelError, match="thirteen"):
            made(pieces(13))
        threads[0].join()
    assert len(answers[0]) == 3
    graph = Graph()
    with batching(graph) as made:
        with pytest.raises(ModelError, match="thirteen"):
            made(pieces(13))
        assert len(made(pieces(14))) == 1


def test_closing_answers_what_waits_and_takes_no_more() -> None:
    graph, answers = Graph(), []
    graph.leave.clear()
    made = Batching(graph, most=1, wait_s=0.0)
    threads = in_threads(lambda given: answers.append(made(given)), [pieces(1), pieces(2)])
    wait_for(made, 1)
    closing = threading.Thread(target=made.close)
    closing.start()
    graph.leave.set()
    for thread in (*threads, closing):
        thread.join()
    assert len(answers) == 2
    with pytest.raises(AuricleError, match="shutting down"):
        made(pieces(1))


def test_searches_of_requests_that_come_together_are_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also after more sets of hotwords than are kept; who brings a batch searches alone."""
    recognizer = Recognizer.load(write(tmp_path / "m.auricle").path, threads=1)
    usual, sizes, leave, entered = recognizer.decoder(), [], threading.Event(), threading.Event()
    real = usual.decode_many

    def noting(outputs: Sequence[Float32]) -> Any:
        sizes.append(len(outputs))
        entered.set()
        leave.wait(30)
        return real(outputs)

    monkeypatch.setattr(usual, "decode_many", noting)
    metrics = Metrics()
    shared = share_search(recognizer, metrics)
    for word in "abcdef":
        recognizer.decoder(hotwords=[word])
    clips = [
        (sound("abba"), RATE_HZ),
        *[(sound(word), RATE_HZ) for word in ("face", "dead", "cab")],
    ]
    texts: dict[int, str] = {}

    def ask(number: int) -> None:
        texts[number] = recognizer.transcribe(clips[number]).text

    threads = in_threads(ask, [0])
    entered.wait(30)
    threads += in_threads(ask, [1, 2, 3])
    wait_for(shared, 3)
    leave.set()
    for thread in threads:
        thread.join()
    assert texts == {0: "abba", 1: "face", 2: "dead", 3: "cab"}
    assert sizes == [1, 3]
    assert len(list(recognizer.transcribe_many([clips[0]] * SEARCHED))) == SEARCHED
    assert sizes[2:] == [SEARCHED]
    assert "auricle_search_pieces_count 2" in metrics.write()  # the last one was nobody else's
    shared.close()


def wait_for(made: Batching[Any], count: int, patience_s: float = 30.0) -> None:
    until_s = time.monotonic() + patience_s
    while made.waiting < count:
        assert time.monotonic() < until_s
        time.sleep(0.005)
