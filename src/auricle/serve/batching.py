"""Dynamic batching: pieces of sound from any requests run together.

Requests are answered in threads of their own; where each would run the graph, or a beam search, it
hands its pieces in here and waits. A runner takes the piece that has waited longest, with those
nearest to it in length (so that a batch holds little padding), as soon as a batch is full or that
piece's time to wait is over. So a lone request loses at most `wait_s`, and under load batches fill
by themselves.

Answers do not change: graphs mask padding, and a beam search keeps utterances apart. int8 graphs,
whose scales span the batch, get one piece at a time, several side by side.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from auricle.engine import Float32
from auricle.errors import AuricleError

R = TypeVar("R")


@dataclass(eq=False, slots=True)
class _Waiting(Generic[R]):
    piece: Float32
    since_s: float
    answered: threading.Event = field(default_factory=threading.Event)
    answer: list[R] = field(default_factory=list)  # one, unless there is an error
    error: BaseException | None = None


class Batching(Generic[R]):
    """A graph or a search that many threads call at once, in the place of `run`.

    Args:
        run: (T, F) each, T >= 1 -> the answer to each.
        most: pieces in one run.
        wait_s: how long a piece may wait for others.
        runners: runs side by side.
        ran: told the number of pieces of every run.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Float32]], Sequence[R]],
        *,
        most: int,
        wait_s: float,
        runners: int = 1,
        ran: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._run, self._most, self._wait_s, self._ran = run, most, wait_s, ran
        self._queue: list[_Waiting[R]] = []
        self._changed = threading.Condition()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, name="auricle-batch", daemon=True)
            for _ in range(runners)
        ]
        for thread in self._threads:
            thread.start()

    def __call__(self, pieces: Sequence[Float32]) -> list[R]:
        """(T, F) each, T >= 1 -> the answer to each; as `run`, but waits its turn."""
        now_s = time.monotonic()
        waiting = [_Waiting[R](each, now_s) for each in pieces]
        with self._changed:
            if self._closed:
                raise AuricleError("the server is shutting down")
            self._queue += waiting
            self._changed.notify_all()
        for each in waiting:
            each.answered.wait()
            if each.error is not None:
                raise each.error
        return [answer for each in waiting for answer in each.answer]

    @property
    def waiting(self) -> int:
        """Pieces that no runner has taken."""
        return len(self._queue)

    def close(self) -> None:
        """Answer what waits, then end the runners."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while batch := self._take():
            self._answer(batch)
            self._ran(len(batch))
            for each in batch:
                each.answered.set()

    def _answer(self, batch: list[_Waiting[R]]) -> None:
        try:
            answers = self._run([each.piece for each in batch])
        except Exception as error:  # noqa: BLE001  (whoever asked gets it)
            if len(batch) == 1:
                batch[0].error = error
            else:  # one piece, or too little memory for all: neighbours do not suffer for it
                for each in batch:
                    self._answer([each])
        else:
            for each, answer in zip(batch, answers, strict=True):
                each.answer = [answer]

    def _take(self) -> list[_Waiting[R]]:
        """The next batch; empty when all is done and closed."""
        with self._changed:
            while not self._ready():
                if self._closed and not self._queue:
                    return []
                self._changed.wait(self._patience_s())
            first = self._queue[0]
            near = sorted(self._queue[1:], key=lambda each: abs(len(each.piece) - len(first.piece)))
            batch = [first, *near[: self._most - 1]]
            taken = set(map(id, batch))
            self._queue = [each for each in self._queue if id(each) not in taken]
            return batch

    def _ready(self) -> bool:
        full = len(self._queue) >= self._most
        return bool(self._queue) and (full or self._closed or self._left_s() <= 0)

    def _left_s(self) -> float:
        return self._queue[0].since_s + self._wait_s - time.monotonic()

    def _patience_s(self) -> float | None:
        return max(0.0, self._left_s()) if self._queue else None
