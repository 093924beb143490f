"""MATLAB files of version 5, as far as annotations use them: cells, structs, text and real numbers.

scipy's reader is written in C and ends the whole program on some damaged files; this one raises `ValueError` on all.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Value: TypeAlias = "list[Value] | dict[str, Value] | str | NDArray[np.float64]"

MOST_BYTES = 1 << 28
"""What one compressed variable may unpack to."""

_DEPTH = 8
_MATRIX, _COMPRESSED = 14, 15
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_TEXTS = {1: "latin-1", 2: "latin-1", 4: "utf-16-le", 16: "utf-8", 17: "utf-16-le"}
_CELL, _STRUCT, _CHAR = 1, 2, 4
_PLAIN = range(6, 16)


@dataclass(frozen=True)
class _Element:
    kind: int
    data: bytes

    def numbers(self) -> NDArray[np.float64]:
        if self.kind not in _NUMBERS:
            raise ValueError(f"numbers of type {self.kind}")
        return np.frombuffer(self.data, f"<{_NUMBERS[self.kind]}").astype(np.float64)

    def integers(self) -> list[int]:
        try:
            return [int(value) for value in self.numbers()]
        except OverflowError:
            raise ValueError("a size that is not finite") from None

    def text(self) -> str:
        if self.kind not in _TEXTS:
            raise ValueError(f"text of type {self.kind}")
        return self.data.decode(_TEXTS[self.kind])


def read_mat(data: bytes) -> dict[str, Value]:
    """Variables by name: cells as lists, a struct as a dict, text, numbers as float64 in the shape of the file.

    Raises:
        ValueError: It is no little-endian MAT file of version 5, is damaged, or holds something else.
    """
    # 116 bytes of text, 8 of offset, version 0x0100, "IM"; then elements: type, size, data padded to 8 bytes
    if data[124:128] != b"\x00\x01IM":
        raise ValueError(f"not a MAT file of version 5: starts with {data[:20]!r}")
    found: dict[str, Value] = {}
    for element in _elements(data[128:]):
        if element.kind == _COMPRESSED:
            try:
                inner = next(_elements(zlib.decompressobj().decompress(element.data, MOST_BYTES)))
            except (zlib.error, StopIteration) as error:
                raise ValueError(f"a variable that cannot be unpacked: {error}") from None
            element = inner
        name, value = _matrix(element, _DEPTH)
        found[name] = value
    return found


def _elements(data: bytes) -> Iterator[_Element]:
    at = 0
    while at < len(data):
        if at + 8 > len(data):
            raise ValueError("an element that is cut short")
        kind, size = struct.unpack_from("<II", data, at)
        if kind >> 16:  # up to four bytes stand in the tag itself
            kind, size, start, at = kind & 0xFFFF, kind >> 16, at + 4, at + 8
        else:
            start = at + 8
            at = start + size + (0 if kind == _COMPRESSED else -size % 8)
        if start + size > len(data):
            raise ValueError("an element that is cut short")
        yield _Element(kind, data[start : start + size])


def _matrix(element: _Element, depth: int) -> tuple[str, Value]:
    """Name and value of one array."""
    if element.kind != _MATRIX or not depth:
        raise ValueError(f"an element of type {element.kind}, or arrays too deep in one another")
    if not element.data:
        return "", np.empty((0, 0))
    parts = _elements(element.data)
    try:
        flags, shape, name = next(parts).integers(), next(parts).integers(), next(parts).text()
        kind, count = flags[0] & 0xFF, prod(shape)
        if min(shape, default=0) < 0 or count > len(element.data):
            raise ValueError(f"an array of {shape}")
        if kind == _CELL:
            return name, [_matrix(next(parts), depth - 1)[1] for _ in range(count)]
        if kind == _STRUCT:
            return name, _struct(parts, count, depth)
        if kind == _CHAR:
            return name, next(parts).text()
        if kind not in _PLAIN:
            raise ValueError(f"an array of class {kind}")
        return name, next(parts).numbers().reshape(shape, order="F")
    except (StopIteration, IndexError):
        raise ValueError("an array that is cut short") from None


def _struct(parts: Iterator[_Element], count: int, depth: int) -> dict[str, Value]:
    length, names = next(parts).integers()[0], next(parts).text()
    if count != 1 or length < 1:
        raise ValueError(f"{count} structs, expected one")
    fields = [names[at : at + length].partition("\x00")[0] for at in range(0, len(names), length)]
    return {field: _matrix(next(parts), depth - 1)[1] for field in fields}
