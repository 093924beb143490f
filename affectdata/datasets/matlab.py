"""MATLAB files of version 5, as far as annotations use them: cells, structs, text and real numbers.

scipy's reader is written in C and ends the whole program on some damaged files (seen with 1.17); this one raises
`ValueError` on all. Format: "MAT-File Level 5", MathWorks MAT-File Format, chapter 1.
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
_TEXTS = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16"}
_SUFFIXES = {"<": "-le", ">": "-be"}
_CELL, _STRUCT, _CHAR = 1, 2, 4
_PLAIN = range(6, 16)
_COMPLEX = 0x800


@dataclass(frozen=True)
class _Element:
    kind: int
    data: bytes
    order: str

    def numbers(self) -> NDArray[np.float64]:
        if self.kind not in _NUMBERS:
            raise ValueError(f"numbers of type {self.kind}")
        return np.frombuffer(self.data, self.order + _NUMBERS[self.kind]).astype(np.float64)

    def integers(self) -> list[int]:
        try:
            return [int(value) for value in self.numbers()]
        except OverflowError:
            raise ValueError("a size that is not finite") from None

    def text(self) -> str:
        if self.kind not in _TEXTS:
            raise ValueError(f"text of type {self.kind}")
        coding = _TEXTS[self.kind]
        return self.data.decode(coding + _SUFFIXES[self.order] if coding == "utf-16" else coding)


@dataclass(frozen=True)
class _Array:
    """An array whose head has been read; its content has not."""

    name: str
    flags: int
    shape: list[int]
    content: Iterator[_Element]


def read_mat(data: bytes, *, only: str = "", most_bytes: int = MOST_BYTES) -> dict[str, Value]:
    """Variables by name: cells as lists, a struct as a dict, text, numbers as float64 in the shape of the file.

    Args:
        only: Read the first variable of this name; what the others hold, and what follows it, is not looked at.
        most_bytes: What one compressed variable may unpack to.

    Raises:
        ValueError: It is no MAT file of version 5, is damaged, or holds something else.
    """
    # 116 bytes of text, 8 of offset, version 0x0100, "IM"; then elements: type, size, data padded to 8 bytes
    order = {b"\x00\x01IM": "<", b"\x01\x00MI": ">"}.get(data[124:128])
    if order is None:
        raise ValueError(f"not a MAT file of version 5: starts with {data[:20]!r}")
    found: dict[str, Value] = {}
    try:
        for element in _elements(data[128:], order):
            array = _opened(_unpacked(element, most_bytes) if element.kind == _COMPRESSED else element)
            if only in ("", array.name):
                found[array.name] = _value(array, _DEPTH)
                if only:
                    break
    except (StopIteration, IndexError):
        raise ValueError("an array that is cut short") from None
    return found


def _elements(data: bytes, order: str) -> Iterator[_Element]:
    at = 0
    while at < len(data):
        if at + 8 > len(data):
            raise ValueError("an element that is cut short")
        kind, size = struct.unpack_from(f"{order}II", data, at)
        if kind >> 16:  # up to four bytes stand in the tag itself
            kind, size, start, at = kind & 0xFFFF, kind >> 16, at + 4, at + 8
        else:
            start = at + 8
            at = start + size + (0 if kind == _COMPRESSED else -size % 8)
        if start + size > len(data):
            raise ValueError("an element that is cut short")
        yield _Element(kind, data[start : start + size], order)


def _unpacked(element: _Element, most_bytes: int) -> _Element:
    try:
        return next(_elements(zlib.decompressobj().decompress(element.data, most_bytes), element.order))
    except (zlib.error, StopIteration) as error:
        raise ValueError(f"a variable that cannot be unpacked: {error}") from None


def _opened(element: _Element) -> _Array:
    if element.kind != _MATRIX:
        raise ValueError(f"an element of type {element.kind}, expected an array")
    if not element.data:
        return _Array("", _PLAIN[0], [0, 0], iter([_Element(9, b"", element.order)]))
    parts = _elements(element.data, element.order)
    flags, shape, name = next(parts).integers()[0], next(parts).integers(), next(parts).text().rstrip("\0")
    if min(shape, default=0) < 0 or prod(shape) > len(element.data):
        raise ValueError(f"an array of {shape}")
    return _Array(name, flags, shape, parts)


def _value(array: _Array, depth: int) -> Value:
    if not depth:
        raise ValueError("arrays too deep in one another")
    kind, count, content = array.flags & 0xFF, prod(array.shape), array.content
    if kind == _CELL:
        return [_value(_opened(next(content)), depth - 1) for _ in range(count)]
    if kind == _STRUCT:
        return _struct(content, count, depth)
    if kind == _CHAR:
        return next(content).text()
    if kind not in _PLAIN or array.flags & _COMPLEX:
        raise ValueError(f"an array of class {kind}{', complex' if array.flags & _COMPLEX else ''}")
    return next(content).numbers().reshape(array.shape, order="F")


def _struct(content: Iterator[_Element], count: int, depth: int) -> dict[str, Value]:
    length, names = next(content).integers()[0], next(content).text()
    if count != 1 or length < 1:
        raise ValueError(f"{count} structs, expected one")
    fields = [names[at : at + length].partition("\x00")[0] for at in range(0, len(names), length)]
    return {field: _value(_opened(next(content)), depth - 1) for field in fields}
