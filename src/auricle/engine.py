"""A bundle's ears: recordings in, the outputs of its graph out, without torch.

`Session` runs the graph over padded batches. `Engine` adds the front end and turns recordings of
any length into batches of similar pieces across files, in bounded memory; what the outputs mean it
does not know.

An answer does not depend on what else is in the batch: graphs mask padding by `lengths`, and int8
graphs, whose scales are taken over the whole batch, get one piece at a time.

Axes: B batch, T feature frames, F features, T2 output frames, N samples.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from auricle import audio
from auricle.bundle import GRAPH, Bundle, Card, Streaming, find_model
from auricle.errors import AuricleError, ConfigError, DataError, ModelError
from auricle.features import FeatureSettings, FrontEnd

BATCH = 8  # pieces that a graph sees at once
POOL_BATCHES = 4  # so many batches of pieces are sorted by length together
LONGEST_S = 15.0  # a longer recording is cut at its pauses
CHUNK_S = 10.0  # sound read at once

Float32 = NDArray[np.float32]
Memory = Mapping[str, Float32]
"""What a graph that hears sound as it comes remembers: (1, rows, width) by name."""
Source = str | os.PathLike[str] | tuple[NDArray[Any], int]
"""A file; or samples within -1..1, (N,) or (N, channels), and their rate in Hz."""
Progress = Callable[[float], None]
"""Told how many further seconds of sound are done."""
Cut = Callable[[Iterable[Float32], int], Iterator[tuple[float, Float32]]]
"""Chunks of sound and their rate -> pieces: start in seconds, samples.

They come in order and the last one ends with the sound; it may have no samples."""
Run = Callable[[Sequence[Float32]], list[Float32]]
"""(T, F) each, T >= 1 -> (T2, ...) each: `Session`, or what stands before it."""
R = TypeVar("R")


def at_pauses(chunks: Iterable[Float32], rate_hz: int) -> Iterator[tuple[float, Float32]]:
    """Pieces of `LONGEST_S` at most, that begin and end in pauses."""
    return audio.split_at_pauses(chunks, rate_hz, longest_s=LONGEST_S)


def silent_onnxruntime() -> Any:
    """The module onnxruntime, kept from reporting home.

    Since 1.29 its builds write an identifier of the device below the home directory and send events
    to its maker, unless this variable is set before the first import. Who has set it has decided.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    return onnxruntime


class Session:
    """An ONNX graph on the processor: (T, F) features in, one array per utterance out.

    The graph takes `features` (B, T, F) float32 and `lengths` (B,) int64, and gives (B, T2, ...)
    float32 and its lengths (B,) int64. Safe to call from several threads.

    Args:
        streaming: how the graph hears sound as it comes, if it does: `step` then hears chunks.

    Raises:
        ModelError: when ONNX Runtime cannot load the graph, or it is not of this form.
    """

    def __init__(
        self,
        graph: bytes,
        *,
        threads: int | None = None,
        name: str = GRAPH,
        streaming: Streaming | None = None,
    ) -> None:
        onnxruntime = silent_onnxruntime()
        state = onnxruntime.capi.onnxruntime_pybind11_state

        # They have no base of their own. As ONNX Runtime gets the graph as bytes, without a path,
        # it refuses weights that would lie in other files.
        self._failures = tuple(
            kind
            for kind in (*vars(state).values(), UnicodeDecodeError)  # damaged names are no UTF-8
            if isinstance(kind, type) and issubclass(kind, Exception)
        )
        self._name = name
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or usable_cores()
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # errors come as exceptions
        options.enable_mem_pattern = False  # it plans for repeated shapes; ours all differ
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(
                graph, options, providers=["CPUExecutionProvider"]
            )
            inputs = [node.name for node in self._session.get_inputs()]
            outputs = self._session.get_outputs()
        except self._failures as error:
            raise ModelError(f"{name}: ONNX Runtime cannot load the graph: {error}") from None
        self.streaming = streaming
        self._memory = streaming.state if streaming else {}
        needed = ["features", "lengths", *self._memory]
        if inputs != needed or len(outputs) != len(needed):
            raise ModelError(
                f"{name}: the graph has inputs {inputs} and {len(outputs)} outputs; needed are"
                f" {' and '.join(needed)}, and {len(needed)}"
            )

    def __call__(self, features: Sequence[Float32]) -> list[Float32]:
        """(T, F) each, T >= 1 -> (T2, ...) each."""
        late = self.streaming.look_ahead_frames if self.streaming else 0
        lengths = np.array([len(each) for each in features], np.int64)
        frames = self._frames(int(lengths.max()))
        padded = np.zeros((len(features), frames, features[0].shape[1]), np.float32)
        for row, each in zip(padded, features, strict=True):
            row[: len(each)] = each
        outputs, ends, *_ = self._run(padded, lengths, self._silent(len(features)))
        return [output[late : late + end] for output, end in zip(outputs, ends, strict=True)]

    def start(self) -> Memory:
        """What the graph remembers before the first chunk of an utterance."""
        return self._silent(1)

    def step(self, chunk: Float32, memory: Memory) -> tuple[Float32, Memory]:
        """One more chunk of an utterance, of a graph that hears sound as it comes.

        Args:
            chunk: (T, F), T a multiple of `chunk_frames`.
            memory: of the chunk before, which is left as it is; `start()` before the first one.

        Returns:
            (T2, ...), late by `look_ahead_frames`; and what to remember.
        """
        outputs, _, *after = self._run(chunk[None], np.array([len(chunk)], np.int64), memory)
        return outputs[0], dict(zip(self._memory, after, strict=True))

    def padded(self, features: Float32) -> Float32:
        """(T, F) and the silence after it that brings out the last of what `step` gives late."""
        return np.pad(features, ((0, self._frames(len(features)) - len(features)), (0, 0)))

    def _frames(self, frames: int) -> int:
        if not self.streaming:
            return frames
        chunk, late = self.streaming.chunk_frames, self.streaming.look_ahead_frames
        return chunk * -(-(frames + self.streaming.stride * late) // chunk)

    def _silent(self, batch: int) -> Memory:
        return {name: np.zeros((batch, *shape), "f") for name, shape in self._memory.items()}

    def _run(
        self, features: Float32, lengths: NDArray[np.int64], memory: Memory
    ) -> list[NDArray[Any]]:
        try:
            found: list[NDArray[Any]] = self._session.run(
                None, {"features": features, "lengths": lengths, **memory}
            )
        except self._failures as error:
            raise ModelError(f"{self._name}: the graph failed: {error}") from None
        return found


@dataclass(frozen=True, slots=True)
class Part(Generic[R]):
    """What was heard in one piece of a recording."""

    start_s: float
    end_s: float
    value: R


@dataclass(slots=True)
class Heard(Generic[R]):
    """One recording and what was heard in it, in order of time; or why nothing was."""

    source: Source
    duration_s: float = 0.0
    parts: list[Part[R]] = field(default_factory=list)
    error: AuricleError | None = None
    waiting: int = 0  # pieces that are cut but not answered
    read: bool = False  # to its end, or to the error

    @property
    def done(self) -> bool:
        return self.read and (self.error is not None or not self.waiting)


@dataclass(frozen=True, slots=True)
class _Piece(Generic[R]):
    heard: Heard[R]
    start_s: float
    end_s: float
    new_s: float  # of the recording, since the piece before it
    features: Float32


class Engine:
    """Front end and graph of one bundle, for any kind of answer.

    Raises:
        ModelError: when the bundle's settings or its graph cannot be used.
    """

    def __init__(self, bundle: Bundle, *, threads: int | None = None) -> None:
        self.bundle = bundle
        try:
            self.front_end = FrontEnd(FeatureSettings.parse(bundle.card.features, "features"))
        except ConfigError as error:
            raise ModelError(f"{bundle.path}: {error}") from None
        self.rate_hz = self.front_end.settings.sample_rate_hz
        self.graph = Session(
            bundle.member(GRAPH),
            threads=threads,
            name=str(bundle.path),
            streaming=bundle.card.streaming,
        )
        self.session: Run = self.graph  # a server puts something before it

    @classmethod
    def load(cls, source: str | os.PathLike[str] | Bundle, threads: int | None = None) -> Self:
        """The engine of a bundle that was read, of a file, or of a shipped model by its name."""
        bundle = source if isinstance(source, Bundle) else Bundle.read(find_model(source))
        return cls(bundle, threads=threads)

    def card_for(self, answer: str) -> Card:
        """The card of a model that answers so.

        Raises:
            ModelError: it answers with something else.
        """
        card, path = self.bundle.card, self.bundle.path
        if card.answer != answer:
            raise ModelError(
                f"{path}: answers with {card.answer}, not with {answer}: it is for another command"
                " (`auricle info` says what it hears)"
            )
        return card

    def answer_many(
        self,
        sources: Iterable[Source],
        interpret: Callable[[Sequence[Float32]], Sequence[R]],
        *,
        cut: Cut | None = None,
        batch: int = BATCH,
        progress: Progress | None = None,
    ) -> Iterator[Heard[R]]:
        """Run recordings through the graph; one that cannot be read does not stop the others.

        Never more than `POOL_BATCHES * batch` pieces of `LONGEST_S` are held, however long or many
        the recordings are.

        Args:
            sources: taken one after the other, as they are needed.
            interpret: what to keep of the outputs (T2, ...) of a pool of pieces; they are dropped.
            cut: how a recording becomes pieces; at its pauses, if nothing is said.
            batch: most pieces to run at once.

        Yields:
            Each recording in the order of `sources`, once it is complete.
        """
        cut = cut or at_pauses
        begun: deque[Heard[R]] = deque()
        pool: list[_Piece[R]] = []
        for source in sources:
            begun.append(Heard(source))
            for piece in self._pieces(begun[-1], cut):
                pool.append(piece)
                if len(pool) == POOL_BATCHES * batch:
                    self._run(pool, interpret, batch, progress)
                    pool = []
                    yield from _completed(begun)
            yield from _completed(begun)
        self._run(pool, interpret, batch, progress)
        yield from _completed(begun)

    def _pieces(self, heard: Heard[R], cut: Cut) -> Iterator[_Piece[R]]:
        """Cut a recording; what is wrong with it is noted in `heard`."""
        try:
            chunks = self._chunks(heard.source)
            known_s = 0.0
            for start_s, samples in cut(chunks, self.rate_hz):
                heard.duration_s = start_s + len(samples) / self.rate_hz
                features = self.front_end(samples)
                if len(features):  # else shorter than one window
                    heard.waiting += 1
                    new_s, known_s = heard.duration_s - known_s, heard.duration_s
                    yield _Piece(heard, start_s, heard.duration_s, new_s, features)
        except AuricleError as error:
            heard.error = error
        heard.read = True

    def _chunks(self, source: Source) -> Iterator[Float32]:
        if isinstance(source, np.ndarray):
            raise DataError("samples alone have no rate: give (samples, rate_hz), or a file")
        if not isinstance(source, tuple):
            return audio.chunks(source, CHUNK_S, self.rate_hz)
        samples, rate_hz = source
        floats = np.issubdtype(samples.dtype, np.floating)
        known_rate = audio.LOWEST_RATE_HZ <= rate_hz <= audio.HIGHEST_RATE_HZ
        if not floats or samples.ndim not in (1, 2) or not samples.size or not known_rate:
            raise DataError(
                f"{samples.dtype} {samples.shape} at {rate_hz} Hz is no sound: give floats within"
                " -1..1, (samples,) or (samples, channels), and their rate"
            )
        if not np.abs(samples).max() <= audio.LOUDEST:  # NaN compares false
            raise DataError(f"samples {samples.shape} hold NaN, infinity or what is no sound")
        mono = audio.mix_down(samples.astype(np.float32, copy=False))
        return iter([audio.resample(mono, rate_hz, self.rate_hz)])

    def _run(
        self,
        pool: list[_Piece[R]],
        interpret: Callable[[Sequence[Float32]], Sequence[R]],
        batch: int,
        progress: Progress | None,
    ) -> None:
        """Answer the pieces, the longest first, so that a batch holds little padding."""
        pieces = sorted((p for p in pool if not p.heard.error), key=lambda p: -len(p.features))
        # The scales of dynamic quantisation span the batch: neighbours would change the answer.
        batch = 1 if self.bundle.card.precision == "int8" else batch
        outputs: list[Float32] = []
        for at in range(0, len(pieces), batch):
            these = pieces[at : at + batch]
            # Copied: a view would keep the padding of the whole batch.
            outputs += map(np.array, self.session([piece.features for piece in these]))
            if progress:
                progress(sum(piece.new_s for piece in these))
        # All at once: it is by decoding many together that a beam search is fast.
        for piece, value in zip(pieces, interpret(outputs), strict=True):
            piece.heard.parts.append(Part(piece.start_s, piece.end_s, value))
            piece.heard.waiting -= 1


def _completed(begun: deque[Heard[R]]) -> Iterator[Heard[R]]:
    while begun and begun[0].done:
        heard = begun.popleft()
        heard.parts.sort(key=lambda part: part.start_s)
        yield heard


def usable_cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
