"""PNG files from arrays (W3C, "Portable Network Graphics", third edition)."""

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

from auricle.drawing.colours import Ramp

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_RGB, _PALETTE = 2, 3


def png_of_rgb(pixels: NDArray[np.uint8]) -> bytes:
    """(H, W, 3) -> a PNG file. Each row is filtered in the way that leaves the least to pack."""
    height, width, _ = pixels.shape
    rows = pixels.reshape(height, -1)
    left, above = np.zeros_like(rows), np.zeros_like(rows)
    left[:, 3:] = rows[:, :-3]
    above[1:] = rows[:-1]
    ways = [rows, rows - left, rows - above]  # modulo 256
    cost = [np.minimum(way, 0 - way).sum(axis=1, dtype=np.int64) for way in ways]
    best = np.argmin(cost, axis=0).astype(np.uint8)
    lines = np.concatenate([best[:, None], np.choose(best[:, None], ways)], axis=1)
    return _file(width, height, _RGB, [(b"IDAT", zlib.compress(lines.tobytes(), 6))])


def png_of_heat(values: NDArray[np.uint8], ramp: Ramp) -> bytes:
    """(H, W) of 0 to 255, the first row on top -> a PNG file in the colours of `ramp`."""
    height, width = values.shape
    lines = np.pad(values, ((0, 0), (1, 0)))  # no filter: palettes have nothing to predict
    chunks = [(b"PLTE", ramp.rgb.tobytes())]
    if (ramp.alpha < 255).any():
        chunks.append((b"tRNS", ramp.alpha.tobytes()))
    chunks.append((b"IDAT", zlib.compress(lines.tobytes(), 9)))
    return _file(width, height, _PALETTE, chunks)


def png_of_palette(pixels: NDArray[np.uint8], most: int = 256) -> bytes:
    """(H, W, 3) -> a PNG file of at most `most` colours, 256 or fewer: a third of the bytes.

    Half of the palette are the commonest colours, which keeps plain areas exact; each other one is
    the farthest from those before it (Gonzalez 1985), which bounds the greatest error.
    """
    height, width, _ = pixels.shape
    packed = pixels.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])
    codes, places, counts = np.unique(packed, return_inverse=True, return_counts=True)
    colours = np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=1)
    order = np.argsort(-counts, kind="stable")
    chosen: list[int] = []
    away, nearest = np.full(len(colours), np.iinfo(np.int64).max), np.zeros(len(colours), np.uint8)
    for number in range(min(most, len(colours))):
        next_ = int(order[number]) if number < (most + 1) // 2 else int(away.argmax())
        distance = ((colours - colours[next_]) ** 2).sum(axis=1)
        nearest[distance < away] = number
        away = np.minimum(away, distance)
        chosen.append(next_)
    lines = np.pad(nearest[places].reshape(height, width), ((0, 0), (1, 0)))
    palette = colours[chosen].astype(np.uint8).tobytes()
    chunks = [(b"PLTE", palette), (b"IDAT", zlib.compress(lines.tobytes(), 9))]
    return _file(width, height, _PALETTE, chunks)


def _file(width: int, height: int, kind: int, chunks: list[tuple[bytes, bytes]]) -> bytes:
    header = struct.pack(">2I5B", width, height, 8, kind, 0, 0, 0)
    every = [(b"IHDR", header), *chunks, (b"IEND", b"")]
    return _SIGNATURE + b"".join(_chunk(name, content) for name, content in every)


def _chunk(name: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)
