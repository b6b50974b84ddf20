"""Dynamic batching: pieces of sound from any requests run through the graph together.

Requests are decoded in threads of their own; where each would run the graph, it hands its pieces in
here and waits. A runner takes the piece that has waited longest, with those nearest to it in length
(so that a batch holds little padding), as soon as a batch is full or that piece's time to wait is
over. So a lone request loses at most `wait_s`, and under load batches fill by themselves.

Answers do not change: graphs mask padding. int8 graphs, whose scales span the batch, get one piece
at a time, several side by side.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from auricle.errors import AuricleError
from auricle.runtime import Float32, Run


@dataclass(eq=False, slots=True)
class _Waiting:
    features: Float32
    since_s: float
    answered: threading.Event = field(default_factory=threading.Event)
    output: Float32 | None = None
    error: BaseException | None = None


class Batching:
    """A graph that many threads call at once, in the place of `runtime.Session`.

    Args:
        run: the graph.
        most: pieces in one run.
        wait_s: how long a piece may wait for others.
        runners: runs side by side.
        ran: told the number of pieces of every run.
    """

    def __init__(
        self,
        run: Run,
        *,
        most: int,
        wait_s: float,
        runners: int = 1,
        ran: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._run, self._most, self._wait_s, self._ran = run, most, wait_s, ran
        self._queue: list[_Waiting] = []
        self._changed = threading.Condition()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, name="auricle-batch", daemon=True)
            for _ in range(runners)
        ]
        for thread in self._threads:
            thread.start()

    def __call__(self, features: Sequence[Float32]) -> list[Float32]:
        """(T, F) each, T >= 1 -> (T2, ...) each; as `runtime.Session`, but waits its turn."""
        now_s = time.monotonic()
        waiting = [_Waiting(each, now_s) for each in features]
        with self._changed:
            if self._closed:
                raise AuricleError("the server is shutting down")
            self._queue += waiting
            self._changed.notify_all()
        outputs: list[Float32] = []
        for each in waiting:
            each.answered.wait()
            if each.error is not None:
                raise each.error
            assert each.output is not None
            outputs.append(each.output)
        return outputs

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

    def _answer(self, batch: list[_Waiting]) -> None:
        try:
            outputs = self._run([each.features for each in batch])
        except Exception as error:  # noqa: BLE001  (whoever asked gets it)
            if len(batch) == 1:
                batch[0].error = error
            else:  # one piece, or too little memory for all: neighbours do not suffer for it
                for each in batch:
                    self._answer([each])
        else:
            for each, output in zip(batch, outputs, strict=True):
                each.output = output

    def _take(self) -> list[_Waiting]:
        """The next batch; empty when all is done and closed."""
        with self._changed:
            while not self._ready():
                if self._closed and not self._queue:
                    return []
                self._changed.wait(self._patience_s())
            first = self._queue[0]
            near = sorted(
                self._queue[1:], key=lambda each: abs(len(each.features) - len(first.features))
            )
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
