"""Sound files <-> float32 samples within -1..1: load, chunks, resample, mix down, clean, save.

`soundfile` reads WAV, FLAC, MP3, Ogg Vorbis, Opus, AIFF, CAF, AU and NIST sphere; PyAV, when it is
installed, m4a, aac, webm and the sound of video. Everything is read in blocks, and a damaged file
is a `DataError` that names it:

- What a header claims costs no memory: only what is decoded does.
- A file that was cut short is its first part where its format cannot tell (WAV, AIFF, sphere, Ogg
  Vorbis, Opus: `inspect` and `load` then agree on the shorter duration; webm and video, where the
  header is only near the truth). Where it can (FLAC, MP3) it is an error, for a transcript of the
  whole would not belong to the part.

Axes: N samples, C channels; mono sound is (N,), the rest (N, C).
"""

import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from pydantic import Field

from auricle.config import Settings
from auricle.errors import ConfigError, DataError
from auricle.files import replacing, why_not

Float32 = NDArray[np.float32]
StrPath = str | os.PathLike[str]

SAMPLE_RATE_HZ = 16_000
LOWEST_RATE_HZ, HIGHEST_RATE_HZ = 1_000, 768_000  # what lies beyond is a damaged header
BLOCK_VALUES = 2**16  # samples * channels decoded at once
MOST_VALUES = 2**30  # samples * channels that `load` hands over: 18 hours of 16 kHz mono, 4 GiB
LONGEST_S = 1e9  # 30 years: a span that begins or lasts longer is a mistake
LOUDEST = 2.0**31  # 32-bit samples that were never scaled; beyond, bytes that are not samples
UNKNOWN_SAMPLES = 2**40  # libsndfile's word for a length that the header leaves out is far above
MP3_WARM_UP_SAMPLES = 2**15  # decoded before a place within an MP3, for frames borrow from others
MISSING_S = 0.1  # MP3 headers may promise this much more than there is

READABLE = {"WAV", "WAVEX", "RF64", "W64", "FLAC", "MP3", "OGG", "AIFF", "CAF", "AU", "NIST"}
MEDIA_SUFFIXES = {".m4a", ".aac", ".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi", ".wma", ".3gp"}
SUFFIXES = MEDIA_SUFFIXES | {
    *(".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".caf", ".au", ".sph"),
}  # of files that a folder is searched for; a file that is named may have any
SAVED_AS = {  # suffix -> soundfile's format and its usual sample format
    ".wav": ("WAV", "PCM_16"),
    ".flac": ("FLAC", "PCM_16"),
    ".mp3": ("MP3", "MPEG_LAYER_III"),
    ".ogg": ("OGG", "VORBIS"),
    ".opus": ("OGG", "OPUS"),
    ".aiff": ("AIFF", "PCM_16"),
    ".aif": ("AIFF", "PCM_16"),
    ".sph": ("NIST", "PCM_16"),
}


@dataclass(frozen=True)
class AudioInfo:
    """What a file's header says."""

    path: Path
    sample_rate_hz: int
    channels: int
    samples: int  # per channel
    duration_s: float
    format: str  # container and coding, such as "WAV PCM_16"


# --- reading -------------------------------------------------------------------------------------


def inspect(path: StrPath, *, most_values: float = np.inf) -> AudioInfo:
    """What the header of `path` says, without decoding (but for formats that do not say).

    Args:
        most_values: samples * channels after which a length that the header leaves out is counted
            no further: the length is then at least that. A small file may hold days of silence.

    Raises:
        DataError: the file is missing, not sound, or its header makes no sense.
    """
    with _open(Path(path), most_values) as source:
        return source.info


def load(
    path: StrPath,
    sample_rate_hz: int | None = SAMPLE_RATE_HZ,
    *,
    mono: bool = True,
    start_s: float = 0.0,
    duration_s: float | None = None,
) -> tuple[Float32, int]:
    """Samples of `path` and their rate.

    Args:
        sample_rate_hz: the rate wanted; None leaves the file's.
        mono: mean of the channels, (N,); else all of them, (N, C).
        start_s: where to begin; the sample nearest to it.
        duration_s: how much to read at most; None for all.

    Raises:
        DataError: the file is missing, damaged, empty or not sound, holds NaN, infinity or too
            much for memory, or ends before `start_s`.
        ConfigError: the rate wanted is out of range.
    """
    with _open(Path(path)) as source:
        rate_hz = source.info.sample_rate_hz if sample_rate_hz is None else sample_rate_hz
        blocks = list(_blocks(source, rate_hz, mono, start_s, duration_s, MOST_VALUES))
        return np.concatenate(blocks), rate_hz


def chunks(
    path: StrPath,
    chunk_s: float,
    sample_rate_hz: int | None = SAMPLE_RATE_HZ,
    *,
    start_s: float = 0.0,
    duration_s: float | None = None,
) -> Iterator[Float32]:
    """Mono sound of any length in bounded memory: (n,) arrays of `chunk_s`, the last one shorter.

    One after the other they equal `load(...)` bit for bit; errors, those of `load` but for too much
    sound, come when iteration reaches them.
    """
    with _open(Path(path)) as source:
        rate_hz = source.info.sample_rate_hz if sample_rate_hz is None else sample_rate_hz
        size = max(1, round(chunk_s * rate_hz))
        waiting: list[Float32] = []
        for block in _blocks(source, rate_hz, True, start_s, duration_s):
            waiting.append(block)
            if sum(map(len, waiting)) >= size:
                known = np.concatenate(waiting)
                whole = len(known) - len(known) % size
                yield from (known[at : at + size] for at in range(0, whole, size))
                waiting = [known[whole:]]
        rest = np.concatenate(waiting)
        if len(rest):
            yield rest


@dataclass(frozen=True)
class _Source:
    """An open file; `read(first, count)` yields (n, C) blocks, to the end when count is None."""

    info: AudioInfo
    read: Callable[[int, int | None], Iterator[Float32]]


def _blocks(
    source: _Source,
    to_hz: int,
    mono: bool,
    start_s: float,
    duration_s: float | None,
    most_values: float = np.inf,
) -> Iterator[Float32]:
    """Checked, mixed and resampled blocks; at least one sample in all."""
    info, path = source.info, source.info.path
    if not (0 <= start_s < LONGEST_S and (duration_s is None or 0 < duration_s < LONGEST_S)):
        raise DataError(f"{path}: start_s = {start_s}, duration_s = {duration_s} is not a span")
    first = round(start_s * info.sample_rate_hz)
    if first >= info.samples:
        raise DataError(f"{path} ends at {info.duration_s:.3f} s, before start_s = {start_s}")
    count = None if duration_s is None else max(1, round(duration_s * info.sample_rate_hz))
    span = min(count or info.samples, info.samples - first)
    if not LOWEST_RATE_HZ <= to_hz <= HIGHEST_RATE_HZ:
        raise ConfigError(
            f"{to_hz} Hz asked of {path}; give {LOWEST_RATE_HZ} to {HIGHEST_RATE_HZ} Hz"
        )
    if span * to_hz / info.sample_rate_hz * (1 if mono else info.channels) > most_values:
        raise DataError(
            f"{path} claims {span / info.sample_rate_hz / 3600:.0f} hours, too much for memory: if"
            " it is true, read it with audio.chunks, or give start_s and duration_s"
        )
    blocks = _checked(source.read(first, count), info, first)
    if mono:
        blocks = map(mix_down, blocks)
    some = False
    for block in _resampled(blocks, info.sample_rate_hz, to_hz):
        some = some or len(block) > 0
        yield block
    if not some:
        raise DataError(f"{path} holds too few samples to hear anything at {to_hz} Hz")


def _checked(blocks: Iterator[Float32], info: AudioInfo, first: int) -> Iterator[Float32]:
    for block in blocks:
        if not np.abs(block).max() <= LOUDEST:  # NaN compares false
            bad = int(np.argmin(np.all(np.abs(block) <= LOUDEST, axis=1)))
            raise DataError(
                f"{info.path}: the sample at {(first + bad) / info.sample_rate_hz:.3f} s is"
                f" {block[bad].tolist()}: not sound, or the header names the wrong sample format"
            )
        first += len(block)
        yield block


def _open(path: Path, most_values: float = np.inf) -> AbstractContextManager[_Source]:
    """A file that exists, is readable and is not empty, opened by what can read it.

    Raises:
        DataError: it is none of that, or what it says of itself makes no sense.
    """
    try:
        if not path.exists():
            raise DataError(f"{path}: there is no such file")
        if not path.is_file():  # a pipe would make us wait forever
            kind = "a folder" if path.is_dir() else "not a regular file"
            raise DataError(f"{path} is {kind}; a sound file is needed")
        with path.open("rb") as file:
            if not file.read(1):
                raise DataError(f"{path} is empty (0 bytes): copy or record it again")
    except (OSError, ValueError) as error:  # permissions, names too long, names with a NUL
        raise DataError(f"{path} cannot be read ({why_not(error)})") from None
    media = path.suffix.lower() in MEDIA_SUFFIXES
    return _open_media(path, most_values) if media else _open_sound(path, most_values)


def _plausible(info: AudioInfo) -> AudioInfo:
    if not LOWEST_RATE_HZ <= info.sample_rate_hz <= HIGHEST_RATE_HZ:
        raise DataError(
            f"{info.path}: its header says {info.sample_rate_hz} Hz; a rate is between"
            f" {LOWEST_RATE_HZ} and {HIGHEST_RATE_HZ} Hz: is the header damaged?"
        )
    if info.samples < 1 or info.channels < 1:
        raise DataError(
            f"{info.path} holds no sound ({info.samples} samples, channels: {info.channels}):"
            " copy or record it again"
        )
    return info


@contextmanager
def _open_sound(path: Path, most_values: float) -> Iterator[_Source]:
    """A file for soundfile."""
    import soundfile

    try:
        # soundfile takes a suffix .raw for raw samples and asks for their rate
        file = None if path.suffix.lower() == ".raw" else soundfile.SoundFile(_native(path))
    except soundfile.SoundFileError as error:
        why = getattr(error, "error_string", str(error))  # "regular file": an MP3 without a frame
        why = "damaged, or of another format than its name says" if "regular file" in why else why
        raise DataError(f"{path} {_not_sound(why)}") from None
    if file is None or file.format not in READABLE:
        raise DataError(f"{path} {_not_sound('no header of a known format')}")
    with file:
        info = AudioInfo(
            path,
            file.samplerate,
            file.channels,
            file.frames,
            file.frames / max(1, file.samplerate),
            f"{file.format} {file.subtype}",
        )
        if info.samples > UNKNOWN_SAMPLES:
            known = _span(_read_sound(file, info, 0, None), 0, most_values / max(1, info.channels))
            samples = sum(map(len, known))
            info = replace(info, samples=samples, duration_s=samples / max(1, info.sample_rate_hz))
        yield _Source(_plausible(info), partial(_read_sound, file, info))


def _native(path: Path) -> str | bytes:
    """A name as soundfile takes it: it cannot encode one that is not Unicode, as Linux allows."""
    return str(path) if os.name == "nt" else os.fsencode(path)


def _read_sound(file: Any, info: AudioInfo, first: int, count: int | None) -> Iterator[Float32]:
    """Blocks of a `soundfile.SoundFile`; its header says how many samples there should be."""
    import soundfile

    end = info.samples if count is None else min(info.samples, first + count)
    size, at = max(1, BLOCK_VALUES // info.channels), first
    try:
        warm_up = min(first, MP3_WARM_UP_SAMPLES) if file.format == "MP3" else 0
        file.seek(first - warm_up)
        # soundfile seeks after every read, which is slow, and an error at the end of some FLAC
        file.seekable = lambda: False
        file.read(warm_up)
        while at < end:
            block = file.read(min(size, end - at), dtype="float32", always_2d=True)
            if not len(block):
                break
            at += len(block)
            yield block
    except soundfile.SoundFileError as error:
        at_s = at / info.sample_rate_hz
        raise DataError(f"{info.path} is damaged {at_s:.3f} s in or soon after: {error}") from None
    if (end - at) / info.sample_rate_hz > MISSING_S and info.samples <= UNKNOWN_SAMPLES:
        raise DataError(
            f"{info.path} is cut short: its header promises {info.duration_s:.3f} s, but the sound"
            f" ends at {at / info.sample_rate_hz:.3f} s: copy it again"
        )


def _not_sound(why: object) -> str:
    return (
        f"is not sound that can be read ({str(why).rstrip('.')}); known are"
        " WAV, FLAC, MP3, Ogg Vorbis, Opus, AIFF, CAF, AU and NIST sphere"
    )


@contextmanager
def _open_media(path: Path, most_values: float) -> Iterator[_Source]:
    """A file for PyAV: what its header says is near the truth, so only decoding is believed."""
    try:
        import av
    except ImportError:
        raise DataError(
            f"{path}: {path.suffix} is read through PyAV, which is not installed:"
            " pip install '.[media]', or convert the file to WAV or FLAC"
        ) from None
    try:
        with av.open(str(path), metadata_errors="replace") as container:
            stream = next((s for s in container.streams.audio if s.codec_context), None)
            if stream is None:
                raise DataError(f"{path} holds no sound that can be decoded")
            rate_hz, channels = stream.codec_context.sample_rate or 0, stream.codec_context.channels
            duration_s = float(stream.duration * stream.time_base) if stream.duration else 0.0
            duration_s = duration_s or (container.duration or 0) / av.time_base
            kind = f"{container.format.name} {stream.codec_context.name}"
        samples = round(duration_s * rate_hz)
        if not samples:
            samples = sum(map(len, _span(_decode_media(path), 0, most_values / max(1, channels))))
    except av.FFmpegError as error:
        raise DataError(f"{path} cannot be decoded: {error}") from None
    info = AudioInfo(path, rate_hz, channels, samples, samples / max(1, rate_hz), kind)

    def read(first: int, count: int | None) -> Iterator[Float32]:
        try:
            yield from _span(_decode_media(path), first, count)
        except av.FFmpegError as error:
            raise DataError(f"{path} is damaged: {error}") from None

    yield _Source(_plausible(info), read)


def _decode_media(path: Path) -> Iterator[Float32]:
    """(n, C) blocks of the first sound stream."""
    import av

    with av.open(str(path), metadata_errors="replace") as container:
        to_float = av.AudioResampler(format="fltp")  # the sample format only, never the rate
        for frame in itertools.chain(container.decode(audio=0), [None]):
            for converted in to_float.resample(frame):
                yield np.ascontiguousarray(converted.to_ndarray().T, np.float32)


def _span(blocks: Iterable[Float32], first: int, count: float | None) -> Iterator[Float32]:
    """The samples [first, first + count) of a sequence of blocks."""
    at, end = 0, np.inf if count is None else first + count
    for block in blocks:
        part = block[max(0, first - at) : int(min(end - at, len(block)))]
        at += len(block)
        if len(part):
            yield part
        if at >= end:
            return


# --- the samples ---------------------------------------------------------------------------------


def resample(x: Float32, from_hz: float, to_hz: float) -> Float32:
    """Sound at another rate, by soxr's HQ filter: the only way that rates change here.

    Args:
        x: (N,) or (N, C).

    Returns:
        (round(N * to_hz / from_hz),) or the same with C channels, float32.
    """
    return np.concatenate(list(_resampled(iter([x]), from_hz, to_hz)))


class Resampler:
    """Sound that comes in blocks at another rate; how it is cut changes no bit of the result."""

    def __init__(self, from_hz: float, to_hz: float, channels: int = 1) -> None:
        import soxr

        self._stream = soxr.ResampleStream(from_hz, to_hz, channels, dtype="float32", quality="HQ")

    def push(self, block: Float32, *, last: bool = False) -> Float32:
        """What is known by an (n,) or (n, C) block; the filter holds some of it back till later."""
        x: Float32 = np.ascontiguousarray(block, np.float32)
        return self._stream.resample_chunk(x, last=last)  # type: ignore[no-any-return]


def _resampled(blocks: Iterator[Float32], from_hz: float, to_hz: float) -> Iterator[Float32]:
    """The blocks of a stream at another rate."""
    if from_hz == to_hz:
        yield from blocks
        return
    resampler = None
    for block in blocks:
        if resampler is None:
            resampler = Resampler(from_hz, to_hz, 1 if block.ndim == 1 else block.shape[1])
            nothing = block[:0]
        yield resampler.push(block)
    if resampler:
        yield resampler.push(nothing, last=True)


def mix_down(x: Float32) -> Float32:
    """(N, C) -> (N,), the mean of the channels; mono sound is left as it is."""
    return x if x.ndim == 1 else x.mean(axis=1, dtype=np.float32)


def fix_length(
    x: Float32,
    samples: int,
    *,
    align: Literal["start", "center", "end"] = "start",
    fill: float = 0.0,
) -> Float32:
    """Sound cut or padded to exactly `samples`.

    Args:
        x: (N,) or (N, C).
        align: which part is kept of a long sound, and where a short one lies in the padding.
        fill: value of the padding.

    Returns:
        (samples,) or (samples, C); a view of `x` where nothing is padded.
    """
    surplus = len(x) - samples
    before = {"start": 0, "center": abs(surplus) // 2, "end": abs(surplus)}[align]
    if surplus >= 0:
        return x[before : before + samples]
    padding = [(before, -surplus - before)] + [(0, 0)] * (x.ndim - 1)
    return np.pad(x, padding, constant_values=fill)


class NoiseReduction(Settings):
    """How `reduce_noise` tells noise from sound."""

    window_ms: float = Field(default=32.0, ge=4, le=500)
    quiet_fraction: float = Field(default=0.1, gt=0, le=1)  # of the frames, taken to be noise alone
    threshold_db: float = Field(default=8.0, ge=0, le=60)  # above the noise, that is kept whole
    reduction_db: float = Field(default=15.0, ge=0, le=100)  # of what is not kept
    smooth_ms: float = Field(default=40.0, ge=0, le=1_000)  # width over which the gate is averaged
    smooth_hz: float = Field(default=150.0, ge=0, le=5_000)


def reduce_noise(
    x: Float32, sample_rate_hz: int, settings: NoiseReduction | None = None
) -> Float32:
    """Spectral gating: what rises too little above the noise of the quiet frames is turned down.

    The noise of a band is its mean power in the quietest frames (digital silence apart). Steady
    noise goes; what changes, such as voices in the background, stays. Needs some 40 bytes a sample.

    Args:
        x: (N,).

    Returns:
        (N,) float32.

    Source: Boll, "Suppression of acoustic noise in speech using spectral subtraction" (1979), with
    a smoothed binary gate in place of the subtraction.
    """
    s = settings or NoiseReduction()
    hop = max(1, round(s.window_ms * sample_rate_hz / 4_000))
    size = 4 * hop
    # the root of a periodic Hann window, twice; at a hop of a quarter the squares add up to 2
    window = np.sin(np.pi * np.arange(size) / size).astype(np.float32)
    padded = np.pad(x, (size, size + -len(x) % hop))
    spectra = np.fft.rfft(sliding_window_view(padded, size)[::hop] * window)
    power: Float32 = np.square(np.abs(spectra), dtype=np.float32)
    energy = power.sum(axis=1)
    heard = np.flatnonzero(energy > 1e-12 * energy.max())
    if not len(heard):
        return x
    quiet = heard[np.argsort(energy[heard])][: max(1, round(s.quiet_fraction * len(heard)))]
    noise = power[quiet].mean(axis=0)
    gate = (power > noise * 10 ** (s.threshold_db / 10)).astype(np.float32)
    gate = _smooth(gate, round(s.smooth_ms * sample_rate_hz / 1_000 / hop))
    gate = _smooth(gate.T, round(s.smooth_hz * size / sample_rate_hz)).T
    gate = np.minimum(1, 2 * gate)  # wholly open where half of the neighbours are
    floor = np.float32(10 ** (-s.reduction_db / 20))
    frames = np.fft.irfft(spectra * (floor + (1 - floor) * gate), size) * (window / 2)
    clean = np.zeros(len(padded), np.float32)
    for quarter in range(4):  # frames of one quarter do not overlap
        part = frames[quarter::4].ravel()
        clean[quarter * hop : quarter * hop + len(part)] += part
    return clean[size : size + len(x)]


def _smooth(x: Float32, width: int) -> Float32:
    """Moving average down the columns over `width` rows (rounded up to odd)."""
    half = width // 2
    width = 2 * half + 1
    sums = np.cumsum(np.pad(x, [(half + 1, half), (0, 0)], "edge"), axis=0)
    return (sums[width:] - sums[:-width]) / np.float32(width)


def split_at_pauses(
    chunks: Iterable[Float32],
    rate_hz: int,
    *,
    longest_s: float = 20.0,
    shortest_s: float = 1.0,
    pause_s: float = 0.2,
) -> Iterator[tuple[float, Float32]]:
    """Cuts a stream of any length into pieces at its quietest places; nothing is lost or repeated.

    Each cut lies in the second half of the longest piece allowed, in the middle of the `pause_s`
    with the least energy (of equals, the last). Memory holds one piece and one chunk.

    Args:
        chunks: (n,) arrays of any lengths.
        longest_s: no piece is longer.
        shortest_s: no piece is shorter, unless the whole stream is; at most longest_s / 2.

    Yields:
        When the piece starts, in seconds from the first sample, and its samples (n,).
    """
    longest, shortest = round(longest_s * rate_hz), round(shortest_s * rate_hz)
    if not 0 <= 2 * shortest <= longest or longest < 2:
        raise ConfigError(
            f"pieces of {shortest_s} to {longest_s} s: the least is over half the most"
        )
    width = max(1, round(pause_s * rate_hz))
    start, waiting = 0, 0
    parts: list[Float32] = []
    for chunk in itertools.chain(chunks, [None]):
        if chunk is not None:
            parts.append(chunk)
            waiting += len(chunk)
        least = longest + (1 if chunk is None else max(1, shortest))  # leaves enough for the next
        if waiting < least:
            continue
        known = np.concatenate(parts)
        while len(known) >= least:
            cut = _quietest(known, longest // 2, min(longest, len(known) - shortest), width)
            yield start / rate_hz, known[:cut]
            start, known = start + cut, known[cut:]
        parts, waiting = [known], len(known)
    if waiting:
        yield start / rate_hz, np.concatenate(parts)


def _quietest(x: Float32, low: int, high: int, width: int) -> int:
    """The place in [low, high] around which `width` samples have the least energy."""
    left = max(0, low - width // 2)
    energy = np.cumsum(np.square(x[left : high + width], dtype=np.float64))
    energy = np.concatenate([[0.0], energy])
    places = np.arange(low, high + 1, max(1, width // 20))
    starts = np.maximum(0, places - width // 2 - left)
    ends = np.minimum(len(energy) - 1, places - width // 2 + width - left)
    mean = (energy[ends] - energy[starts]) / np.maximum(1, ends - starts)
    return int(places[len(places) - 1 - np.argmin(mean[::-1])])


# --- writing -------------------------------------------------------------------------------------


def save(path: StrPath, x: Float32, sample_rate_hz: int, *, subtype: str | None = None) -> None:
    """Writes a sound file whole or not at all; its suffix names the format.

    Args:
        path: ends in one of `SAVED_AS`.
        x: (N,) or (N, C); beyond -1..1 is clipped, but for subtype="FLOAT".
        subtype: soundfile's name of the sample format, "PCM_24" or "FLOAT" for instance; None: 16
            bit where that is a choice.

    Raises:
        DataError: a suffix, rate or sample format that cannot be written, NaN or infinity in `x`,
            or a disk that does not take it.
    """
    import soundfile

    path = Path(path)
    if path.suffix.lower() not in SAVED_AS:
        raise DataError(f"{path}: cannot write {path.suffix!r}; known are {', '.join(SAVED_AS)}")
    if not np.isfinite(x).all():
        raise DataError(f"{path}: the sound to be written holds NaN or infinity")
    format_, usual = SAVED_AS[path.suffix.lower()]
    channels = 1 if x.ndim == 1 else x.shape[1]
    try:
        with (
            replacing(path) as temporary,
            soundfile.SoundFile(
                _native(temporary), "w", sample_rate_hz, channels, subtype or usual, format=format_
            ) as file,
        ):
            for at in range(0, len(x), BLOCK_VALUES):  # libsndfile's Vorbis dies of long arrays
                file.write(x[at : at + BLOCK_VALUES])
    except (soundfile.SoundFileError, ValueError) as error:
        raise DataError(f"{path} cannot be written: {error}") from None
