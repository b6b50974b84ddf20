"""Numbers about the server in Prometheus' text format, version 0.0.4."""

import bisect
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
PIECES = (1, 2, 4, 8, 16, 32)

Labels = tuple[str, ...]


@dataclass
class Counter:
    """A sum that only grows, per combination of labels; also a gauge, where `kind` says so."""

    name: str
    about: str
    labels: Labels = ()
    kind: str = "counter"
    _values: dict[Labels, float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, amount: float = 1.0, *labels: str) -> None:
        """Count `amount` under the values of the labels, in their order."""
        with self._lock:
            self._values[labels] = self._values.get(labels, 0.0) + amount

    def value(self, *labels: str) -> float:
        """What was counted."""
        return self._values.get(labels, 0.0)

    def lines(self) -> Iterator[str]:
        """The samples."""
        with self._lock:
            values = dict(self._values) if self.labels else {(): self.value()}
        for labels, value in values.items():
            yield f"{self.name}{_braces(self.labels, labels)} {value:.12g}"


@dataclass
class Gauge:
    """A value that is asked for when it is read."""

    name: str
    about: str
    read: Callable[[], float]
    kind: str = "gauge"

    def lines(self) -> Iterator[str]:
        """The sample."""
        yield f"{self.name} {self.read():.12g}"


@dataclass
class Histogram:
    """How often values were at most each of `bounds`, per combination of labels."""

    name: str
    about: str
    bounds: Sequence[float]
    labels: Labels = ()
    kind: str = "histogram"
    _counts: dict[Labels, list[int]] = field(default_factory=dict)
    _sums: dict[Labels, float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def observe(self, value: float, *labels: str) -> None:
        """Count one value."""
        with self._lock:
            counts = self._counts.setdefault(labels, [0] * (len(self.bounds) + 1))
            counts[bisect.bisect_left(self.bounds, value)] += 1
            self._sums[labels] = self._sums.get(labels, 0.0) + value

    def lines(self) -> Iterator[str]:
        """The samples: cumulative buckets, sum and count."""
        with self._lock:
            counts = {labels: list(each) for labels, each in self._counts.items()}
            sums = dict(self._sums)
        for labels, each in counts.items():
            total = 0
            for bound, count in zip((*self.bounds, "+Inf"), each, strict=True):
                total += count
                braces = _braces((*self.labels, "le"), (*labels, str(bound)))
                yield f"{self.name}_bucket{braces} {total}"
            braces = _braces(self.labels, labels)
            yield f"{self.name}_sum{braces} {sums[labels]:.12g}"
            yield f"{self.name}_count{braces} {total}"


class Metrics:
    """Everything that the server counts."""

    def __init__(self) -> None:
        self.requests = Counter("auricle_requests_total", "Requests answered.", ("route", "status"))
        self.seconds = Histogram(
            "auricle_request_seconds", "Time to answer a request.", SECONDS, ("route",)
        )
        self.refused = Counter("auricle_refused_total", "Requests refused.", ("reason",))
        self.sound = Counter("auricle_sound_seconds_total", "Seconds of sound heard.", ("route",))
        self.uploaded = Counter("auricle_uploaded_bytes_total", "Bytes of recordings received.")
        self.in_hand = Counter("auricle_in_hand", "Requests being answered.", kind="gauge")
        self.live = Counter("auricle_live_sessions", "Live transcriptions.", kind="gauge")
        self.batches = Histogram("auricle_batch_pieces", "Pieces in a run of the graph.", PIECES)
        self.searches = Histogram(
            "auricle_search_pieces", "Pieces in a run of the search for words.", PIECES
        )
        self.gauges: list[Gauge] = [
            Gauge("process_resident_memory_bytes", "Memory held.", _memory_bytes),
            Gauge("process_open_fds", "Open file descriptors.", _open_files),
        ]

    def write(self) -> str:
        """All of it as text."""
        known = [each for each in vars(self).values() if isinstance(each, Counter | Histogram)]
        lines: list[str] = []
        for each in (*known, *self.gauges):
            lines += [f"# HELP {each.name} {each.about}", f"# TYPE {each.name} {each.kind}"]
            lines += each.lines()
        return "\n".join(lines) + "\n"


def _braces(names: Labels, values: Labels) -> str:
    pairs = (f'{name}="{_escaped(value)}"' for name, value in zip(names, values, strict=True))
    return f"{{{','.join(pairs)}}}" if names else ""


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _memory_bytes() -> float:
    """Linux tells; elsewhere 0."""
    with suppress(OSError):
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return float(pages * os.sysconf("SC_PAGE_SIZE"))
    return 0.0


def _open_files() -> float:
    with suppress(OSError):
        return float(sum(1 for _ in Path("/proc/self/fd").iterdir()))
    return 0.0
