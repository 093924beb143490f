"""The 66 tracked points of DISFA: a small MATLAB level-5 file per frame, variable `pts`, 66 x 2 (datasets page 6).

SciPy's reader is not used: damaged bytes end the whole process in it (seen with SciPy 1.17). What is read here is what
these files hold, a two-dimensional array of real numbers, stored plainly or compressed; all else is `bad-landmarks`.
Format: "MAT-File Level 5", MathWorks MAT-File Format, chapter 1.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from affectdata.datasets.reading import Reject

MAX_BYTES = 1 << 16
"""A file holds 1,056 bytes of coordinates; what is larger, or would be when unpacked, is none of them."""

_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_MATRIX, _COMPRESSED = 14, 15
_COMPLEX = 0x800
_REAL_CLASSES = range(6, 14)
_FARTHEST = 1e5


def read_points(
    data: bytes, about: str, reject: Reject, *, base: int, variable: str = "pts", count: int = 66
) -> NDArray[np.float64] | None:
    """Points [count, 2] of one file, shifted to base 0, or None with a `bad-landmarks` reject.

    Args:
        base: Coordinate of the first pixel's centre in the file.
        variable: Name of the MATLAB variable.
        count: Points that the mark-up has.
    """
    try:
        points = mat_array(data, variable)
    except (ValueError, struct.error, zlib.error) as error:
        reject(about, "bad-landmarks", str(error))
        return None
    if points.shape != (count, 2) or not np.isfinite(points).all() or np.abs(points).max() > _FARTHEST:
        shape = " x ".join(map(str, points.shape))
        reject(about, "bad-landmarks", f"{variable} of {shape} numbers, expected {count} x 2 finite ones")
        return None
    return points - base


def mat_array(data: bytes, name: str) -> NDArray[np.float64]:
    """A real, two-dimensional variable of a level-5 file.

    Raises:
        ValueError: It is not there, is something else, or the file is no level-5 file or is damaged; likewise
            `struct.error` and `zlib.error`.
    """
    order = {b"IM": "<", b"MI": ">"}.get(data[126:128])
    if order is None or len(data) > MAX_BYTES:
        raise ValueError(f"no MATLAB level-5 file of at most {MAX_BYTES:,} bytes")
    for kind, content in _elements(data[128:], order):
        if kind == _COMPRESSED:
            unpacked = zlib.decompressobj().decompress(content, MAX_BYTES)
            kind, content = next(_elements(unpacked, order), (0, b""))
        found = _matrix(content, order, name) if kind == _MATRIX else None
        if found is not None:
            return found
    raise ValueError(f"no variable {name}")


def _elements(data: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """Type and content of each data element."""
    at = 0
    while at + 8 <= len(data):
        kind, size = struct.unpack_from(f"{order}II", data, at)
        if kind >> 16:  # a small element: its size in the upper half, up to four bytes where the size else stands
            yield kind & 0xFFFF, data[at + 4 : at + 4 + min(kind >> 16, 4)]
            at += 8
            continue
        if at + 8 + size > len(data):
            raise ValueError(f"an element of {size:,} bytes is cut short")
        yield kind, data[at + 8 : at + 8 + size]
        at += 8 + size + (0 if kind == _COMPRESSED else -size % 8)


def _matrix(content: bytes, order: str, name: str) -> NDArray[np.float64] | None:
    """The array of a matrix element, or None where it has another name."""
    parts = list(_elements(content, order))
    if len(parts) < 4:
        raise ValueError("a variable without numbers")
    (_, flags), (_, sizes), (_, label), (kind, numbers) = parts[:4]
    if label.rstrip(b"\0").decode("latin-1") != name:
        return None
    (flag,) = struct.unpack_from(f"{order}I", flags)
    if flag & 0xFF not in _REAL_CLASSES or flag & _COMPLEX or kind not in _NUMBERS:
        raise ValueError(f"{name} is no array of real numbers")
    shape = np.frombuffer(sizes, f"{order}i4").tolist()
    values = np.frombuffer(numbers, order + _NUMBERS[kind])
    if len(shape) != 2 or min(shape) < 0 or math.prod(shape) != len(values):
        raise ValueError(f"{name} holds {len(values)} numbers for the shape {shape}")
    return values.reshape(shape, order="F").astype(np.float64)
