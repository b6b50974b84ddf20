"""The binary form of a model: a short header, then its arrays as they are used, mapped not read.

    8 bytes   magic
    4 bytes   length of the header, little-endian
    header    JSON: format version, unit, n-grams of every order, array types, bytes of symbols
    symbols   UTF-8, each ended by a line feed
    arrays    words, log_prob, backoff, first, link, little-endian, each at a multiple of 64 bytes

A packed file, a third of the size, has its arrays without `link`, which follows from the others:
numbers as differences, all as planes of bytes, deflated together. It is unpacked on loading.

Every index is checked on loading, so that a damaged or hostile file cannot make a query read
outside the arrays or run without end.
"""

import json
import mmap
import os
import struct
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from auricle.config import Settings
from auricle.errors import ConfigError, ModelError
from auricle.files import why_not
from auricle.lm.arpa import read_arpa
from auricle.lm.model import EMPTY, END, END_ID, START, START_ID, UNKNOWN, NgramModel, Unit
from auricle.lm.trie import MOST_ORDERS, linked

MAGIC = b"auriclm\n"
FORMAT_VERSION = 1
_PREFIX = struct.Struct("<8sI")
_LARGEST_HEADER_BYTES = 1 << 16
_ALIGNMENT = 64
_MOST_NODES = 1 << 32
_LEVEL = 6  # zlib's own choice; 9 takes far longer for a hundredth of the size
_MOST_PACKED = 100  # to one; a hostile file may unpack to more than there is memory

_Float = Literal["<f2", "<f4"]


class Header(Settings):
    """What is needed to find the arrays."""

    format_version: int = Field(FORMAT_VERSION, ge=1)
    unit: Unit
    counts: tuple[int, ...] = Field(min_length=1, max_length=MOST_ORDERS)
    symbols_bytes: int = Field(ge=0, le=_MOST_NODES)
    words: Literal["<u2", "<u4"]
    probabilities: _Float  # of log_prob and backoff
    packed: bool = False

    def arrays(self) -> dict[str, tuple[str, int]]:
        """Type and length of every array, in the order of the file."""
        nodes = 1 + sum(self.counts)
        contexts = nodes - self.counts[-1]
        return {
            "words": (self.words, nodes),
            "log_prob": (self.probabilities, nodes),
            "backoff": (self.probabilities, contexts),
            "first": ("<u4", contexts + 1),
            "link": ("<u4", nodes),
        }


def to_bytes(model: NgramModel) -> bytes:
    """The model as the content of a file."""
    symbols = "".join(f"{symbol}\n" for symbol in model.symbols).encode()
    header = Header(
        unit=model.unit,
        counts=model.counts,
        symbols_bytes=len(symbols),
        words="<u2" if model.words.dtype.itemsize == 2 else "<u4",
        probabilities="<f2" if model.log_prob.dtype.itemsize == 2 else "<f4",
        packed=model.packed,
    )
    text = json.dumps(header.to_dict()).encode()
    content = bytearray(_PREFIX.pack(MAGIC, len(text)) + text + symbols)
    arrays = {
        name: getattr(model, name).astype(dtype, copy=False)
        for name, (dtype, _) in header.arrays().items()
    }
    if model.packed:
        return bytes(content) + _pack(arrays)
    for array in arrays.values():
        content += bytes(-len(content) % _ALIGNMENT)
        content += array.tobytes()
    return bytes(content)


def _pack(arrays: dict[str, NDArray[Any]]) -> bytes:
    """See the head of this file."""
    planes = []
    for name, array in arrays.items():
        if name == "link":
            continue
        if array.dtype.kind == "u":  # most neighbours are near: differences, which wrap around
            array = np.diff(array, prepend=array.dtype.type(0))
        planes.append(array.view(np.uint8).reshape(len(array), -1).T.tobytes())
    return zlib.compress(b"".join(planes), _LEVEL)


def _unpack(content: bytes, header: Header, name: str) -> dict[str, Any]:
    """The arrays of a packed file, but for the links.

    Raises:
        ModelError: for what is no such file.
    """
    arrays = {key: value for key, value in header.arrays().items() if key != "link"}
    sizes = {key: length * np.dtype(dtype).itemsize for key, (dtype, length) in arrays.items()}
    needed = sum(sizes.values())
    damaged = ModelError(f"{name}: cut short or damaged: fetch it or build it again")
    if needed > _MOST_PACKED * len(content):
        raise damaged
    unpacker = zlib.decompressobj()
    try:
        planes = unpacker.decompress(content, needed + 1)
    except zlib.error:
        raise damaged from None
    if len(planes) != needed or not unpacker.eof or unpacker.unused_data:
        raise damaged
    begin = 0
    found = {}
    for key, (dtype, length) in arrays.items():
        rows = np.frombuffer(planes, np.uint8, sizes[key], begin).reshape(-1, length)
        array = np.ascontiguousarray(rows.T).view(dtype)[:, 0]
        found[key] = np.cumsum(array, dtype=array.dtype) if array.dtype.kind == "u" else array
        begin += sizes[key]
    return found


def from_bytes(content: bytes | mmap.mmap, name: str = "language model") -> NgramModel:
    """The model in the content of a file; its arrays are views of the content, unless packed.

    Raises:
        ModelError: not a language model, damaged, or of a format this version cannot read.
    """
    header, at = _header(content, name)
    end = at + header.symbols_bytes
    try:
        symbols = tuple(bytes(content[at:end]).decode().split("\n")[:-1])
    except UnicodeDecodeError:
        raise ModelError(f"{name}: damaged: its vocabulary is not UTF-8") from None
    damaged = ModelError(f"{name}: damaged language model: fetch it or build it again")
    if header.packed:
        arrays = _unpack(content[end:], header, name)
        arrays["link"] = np.zeros(len(arrays["words"]), np.uint32)
        model = NgramModel(symbols, header.unit, header.counts, **arrays)
        if not _sound(model):
            raise damaged
        return replace(linked(model), packed=True)
    views: dict[str, Any] = {}
    for key, (dtype, length) in header.arrays().items():
        begin = end + -end % _ALIGNMENT
        end = begin + length * np.dtype(dtype).itemsize
        if end > len(content):
            raise ModelError(f"{name}: cut short: {len(content)} bytes, {end} are needed")
        views[key] = np.frombuffer(content, dtype, length, begin)
    model = NgramModel(symbols, header.unit, header.counts, **views)
    if end != len(content) or not _sound(model):
        raise damaged
    return model


def load(path: str | os.PathLike[str]) -> NgramModel:
    """Map the binary form into memory, or read an ARPA file.

    Raises:
        ModelError: as `from_bytes` and `read_arpa`, or when there is no such file.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                return read_arpa(path)
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {why_not(error)}") from None
    return from_bytes(content, str(path))


def _header(content: bytes | mmap.mmap, name: str) -> tuple[Header, int]:
    """The header and the position after it."""
    prefix = bytes(content[: _PREFIX.size])
    if len(prefix) < _PREFIX.size or not prefix.startswith(MAGIC):
        raise ModelError(f"{name}: not a language model: `auricle lm build` writes one")
    length = _PREFIX.unpack(prefix)[1]
    if length > _LARGEST_HEADER_BYTES:
        raise ModelError(f"{name}: damaged: a header of {length} bytes")
    end = _PREFIX.size + length
    try:
        values = json.loads(bytes(content[_PREFIX.size : end]))
    except (ValueError, RecursionError):
        raise ModelError(f"{name}: damaged: its header is not JSON") from None
    version = values.get("format_version") if isinstance(values, dict) else None
    if version != FORMAT_VERSION:
        raise ModelError(
            f"{name}: language model format {version!r}, this auricle reads {FORMAT_VERSION}:"
            " upgrade with `pip install --upgrade auricle`, or build the model again"
        )
    try:
        header = Header.parse(values, "header")
    except ConfigError as error:
        raise ModelError(f"{name}: damaged: {error}") from None
    if min(header.counts) < 0 or header.counts[0] <= END_ID or sum(header.counts) >= _MOST_NODES:
        raise ModelError(f"{name}: damaged: n-grams of every order: {header.counts}")
    return header, end


def _sound(model: NgramModel) -> bool:
    """Whether every index leads somewhere, every back-off ends and every probability is one."""
    nodes, contexts = len(model.link), len(model.backoff)
    size = model.counts[0]
    first = model.first.astype(np.int64)
    return bool(
        len(model.symbols) == len(set(model.symbols)) == size
        and model.symbols[: END_ID + 1] == (UNKNOWN, START, END)
        and first[0] == 1
        and first[-1] == nodes
        and (contexts == 1 or first[1] == 1 + size)
        and np.all(first[:-1] <= first[1:])
        and np.array_equal(model.words[1 : 1 + size], np.arange(size))
        and np.all(model.words < size)
        and np.all(model.link < min(contexts, nodes))
        and np.all(model.link[1:] < np.arange(1, nodes))
        and model.link[EMPTY] == EMPTY
        and np.all(model.log_prob <= 0.0)
        and np.all(np.isfinite(model.backoff))
        and not np.any(np.isnan(model.log_prob))
        and size > START_ID
    )
