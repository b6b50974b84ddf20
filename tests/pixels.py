"""PNG files read without a library: what was written is checked by who did not write it."""

import io
import struct
import zlib

import numpy as np
from numpy.typing import NDArray


def read_png(content: bytes) -> tuple[NDArray[np.uint8], dict[bytes, bytes]]:
    """(H, W, channels) and the chunks, by the letter of the standard."""
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    file, chunks = io.BytesIO(content[8:]), {}
    while head := file.read(8):
        length, name = struct.unpack(">I4s", head)
        chunks[name] = file.read(length)
        assert struct.unpack(">I", file.read(4))[0] == zlib.crc32(name + chunks[name])
    columns, rows, depth, kind = struct.unpack(">2I2B", chunks[b"IHDR"][:10])
    assert depth == 8
    channels = {2: 3, 3: 1}[kind]
    lines = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(rows, -1)
    image = np.zeros((rows, columns * channels), np.uint8)
    for row, (filter_, line) in enumerate(zip(lines[:, 0], lines[:, 1:], strict=True)):
        if filter_ == 1:
            image[row] = np.cumsum(line.reshape(-1, channels), axis=0).astype(np.uint8).ravel()
        else:
            assert filter_ in (0, 2)
            image[row] = line + (image[row - 1] if filter_ and row else np.uint8(0))
    return image.reshape(rows, columns, channels), chunks


def read_colours(content: bytes) -> NDArray[np.uint8]:
    """(H, W, 3), with or without a palette."""
    image, chunks = read_png(content)
    if b"PLTE" not in chunks:
        return image
    palette = np.frombuffer(chunks[b"PLTE"], np.uint8).reshape(-1, 3)
    colours: NDArray[np.uint8] = palette[image[..., 0]]
    return colours
