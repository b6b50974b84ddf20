"""Length buckets and the threaded loader: examples in, batches out, in a reproducible order.

The order is a pure function of (durations, settings, seed, epoch), so that a training can stop at
any batch and go on from there, with any number of workers or processes.
"""

from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from threadpoolctl import ThreadpoolController

from auricle import audio
from auricle.config import Settings
from auricle.data import Example

Indices = tuple[int, ...]
T = TypeVar("T")


class BatchSettings(Settings):
    """How examples are gathered into batches and who prepares them."""

    seconds: float = Field(100.0, gt=0)  # of sound in a batch, padding included
    examples: int = Field(64, ge=1)  # at most, in a batch
    workers: int = Field(2, ge=0)  # threads that prepare batches; 0: the caller's own
    ahead: int = Field(4, ge=1)  # batches prepared before they are asked for
    short_first: bool = True  # the first epoch goes from short to long (Amodei et al. 2015)
    cache_mb: int = Field(3000, ge=0)  # of decoded sound kept in memory between epochs


def plan(
    durations_s: Sequence[float], settings: BatchSettings, seed: int, epoch: int
) -> list[Indices]:
    """The batches of one epoch, as indices into `durations_s`.

    Examples are sorted by duration with a little noise (so that batches differ between epochs), cut
    into batches whose longest example times their size stays under `settings.seconds`, and the
    batches are shuffled. The noise is +-5 %: enough to mix neighbours, little enough that padding
    stays under 5 % of the frames on corpora of ordinary size.
    """
    rng = np.random.default_rng([seed, epoch])
    durations = np.asarray(durations_s, dtype=np.float64)
    order = np.argsort(durations * rng.uniform(0.95, 1.05, len(durations)), kind="stable")
    batches: list[Indices] = []
    current: list[int] = []
    longest = 0.0
    for index in order.tolist():
        longest = max(longest, durations[index])
        full = len(current) == settings.examples or longest * (len(current) + 1) > settings.seconds
        if current and full:
            batches.append(tuple(current))
            current, longest = [], durations[index]
        current.append(index)
    if current:
        batches.append(tuple(current))
    if epoch == 0 and settings.short_first:
        return batches
    return [batches[i] for i in rng.permutation(len(batches))]


def padding_waste(durations_s: Sequence[float], batches: Sequence[Indices]) -> float:
    """Share of the batches' time that is padding, in [0, 1)."""
    padded = sum(max(durations_s[i] for i in batch) * len(batch) for batch in batches)
    return 1.0 - sum(durations_s[i] for batch in batches for i in batch) / padded


@dataclass(frozen=True)
class Draw:
    """What makes the augmentation of an example reproducible: a seed and an epoch."""

    seed: int
    epoch: int


def load(
    batches: Sequence[Indices],
    examples: Sequence[Example],
    prepare: Callable[[list[Example]], T],
    settings: BatchSettings,
) -> Generator[T, None, None]:
    """`prepare([examples of a batch])` for each batch, in order, made ahead by threads.

    Decoding, resampling and the front end spend their time in C with the interpreter lock released,
    so that threads are enough, cost no copies, and work alike on every system. An exception in a
    worker is raised here, at its batch.
    """
    chosen = ([examples[i] for i in batch] for batch in batches)
    if settings.workers == 0:
        yield from map(prepare, chosen)
        return
    blas = ThreadpoolController().select(internal_api="openblas")
    with (
        blas.limit(limits=1),
        ThreadPoolExecutor(settings.workers, "auricle-loader", _alone) as pool,
    ):
        pending: deque[Future[T]] = deque()
        try:
            for group in chosen:
                pending.append(pool.submit(prepare, group))
                if len(pending) > settings.ahead:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def padded(rows: Sequence[NDArray[Any]], dtype: type) -> NDArray[Any]:
    """Rows of unequal length, (n, ...) each, as one array (B, longest n, ...), zeros after each."""
    longest = max((len(row) for row in rows), default=0)
    filled = np.zeros((len(rows), longest, *rows[0].shape[1:]), dtype)
    for place, row in zip(filled, rows, strict=True):
        place[: len(row)] = row
    return filled


def _alone() -> None:
    """Keep this thread's arithmetic to itself.

    OpenMP has a set of threads for each thread that calls it: a loader's Fourier transform would
    wait for a second one, on the cores where the training computes.
    """
    ThreadpoolController().select(user_api="openmp").limit(limits=1)


class SoundCache:
    """Decoded recordings, kept in memory between epochs until a budget is used up.

    What is in it never leaves again: an epoch reads every example once, so any eviction order would
    evict just what is asked for next.
    """

    def __init__(self, rate_hz: int, limit_mb: int) -> None:
        self.rate_hz = rate_hz
        self._left_bytes = limit_mb * 1_000_000
        self._waves: dict[str, NDArray[np.float32]] = {}

    def load(self, example: Example) -> NDArray[np.float32]:
        """The samples of an example, (N,) at `rate_hz`; not to be written to."""
        wave = self._waves.get(example.id)
        if wave is None:
            duration_s = example.duration_s or None
            wave, _ = audio.load(
                example.audio, self.rate_hz, start_s=example.start_s, duration_s=duration_s
            )
            if wave.nbytes <= self._left_bytes:
                self._left_bytes -= wave.nbytes
                wave.flags.writeable = False
                self._waves[example.id] = wave
        return wave
