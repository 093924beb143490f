"""What parsers return, as bytes and back: plain values, arrays, tables, and the records that readers define.

Nothing in the bytes is run, unlike with pickle: a head in JSON says how the value is built, and its Arrow columns, one
record batch for those of one length, and numpy arrays follow as they are.
"""

from __future__ import annotations

import dataclasses
import json
import struct
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import numpy as np
import pyarrow as pa

_OURS = "affectdata.datasets."
_PLAIN = frozenset((type(None), bool, int, float, str))
_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4")
_ALIGNED = 16


class UnpackableError(TypeError):
    """A value that cannot be packed."""


def packed(value: object) -> bytes:
    """A value as bytes; the same bytes for equal values of the same types.

    Args:
        value: None, bool, int, float, str, bytes, list, tuple, set, dict, numpy array
            without objects, Arrow array, table or type, or a dataclass of a reader; and whatever holds only such.

    Raises:
        UnpackableError: It holds something else.
    """
    packer = _Packer()
    try:
        head = json.dumps(packer.said(value), separators=(",", ":")).encode()
    except (ValueError, RecursionError) as error:
        raise UnpackableError(str(error)) from None
    parts = [head, *map(_batch, packer.columns.values()), *packer.arrays]
    sizes = struct.pack(f"<{2 + len(parts)}Q", len(packer.columns), len(parts), *map(len, parts))
    return b"".join(piece for part in (sizes, *parts) for piece in (part, b"\0" * (-len(part) % _ALIGNED)))


def unpacked(data: bytes) -> object:
    """The value of which `packed` made bytes; arrays are copies that may be written.

    Raises:
        ValueError: The bytes are not of this making.
    """
    try:
        columns, count = struct.unpack_from("<2Q", data)
        at, parts = 8 * (2 + count), []
        for size in struct.unpack_from(f"<{count}Q", data, 16):
            at += -at % _ALIGNED
            parts.append(memoryview(data)[at : at + size])
            at += size
        batches = [pa.ipc.open_stream(part).read_next_batch() for part in parts[1 : 1 + columns]]
        return _Unpacker(batches, parts[1 + columns :]).value(json.loads(bytes(parts[0])))
    except (LookupError, TypeError, AttributeError, ImportError, StopIteration, struct.error, pa.ArrowException) as no:
        raise ValueError(f"not a packed value: {no}") from None


class _Packer:
    """Takes the arrays out of a value, and says the rest in JSON: {kind: ...} for what JSON does not know."""

    def __init__(self) -> None:
        self.columns: dict[int, list[pa.Array]] = {}
        self.arrays: list[bytes] = []

    def said(self, value: object) -> object:
        kind = type(value)
        if kind in _PLAIN:
            return value
        if kind is list:
            return self._each(value)
        if kind is tuple:
            return {"tuple": self._each(value)}
        if kind is set:
            return {"set": sorted(self._each(value), key=repr)}
        if isinstance(value, dict):
            keys, values = list(value), list(value.values())
            return {"dict": [self._each(keys), self._each(values)]}
        if dataclasses.is_dataclass(value) and kind.__module__.startswith(_OURS):
            fields = [getattr(value, field.name) for field in dataclasses.fields(value)]
            return {"record": [kind.__module__.removeprefix(_OURS), kind.__qualname__, self._each(fields)]}
        return self._foreign(value)

    def _each(self, values: Any) -> list[object]:
        several = list(values)
        return several if all(type(value) in _PLAIN for value in several) else [self.said(v) for v in several]

    def _foreign(self, value: object) -> object:
        if isinstance(value, np.ndarray) and not value.dtype.hasobject and value.dtype.names is None:
            self.arrays.append(np.ascontiguousarray(value).tobytes())
            return {"array": [value.dtype.str, list(value.shape), len(self.arrays) - 1]}
        if isinstance(value, pa.Table):
            columns = [self._column(column.combine_chunks()) for column in value.columns]
            return {"table": [value.column_names, columns]}
        if isinstance(value, pa.Array):
            return {"column": self._column(value)}
        if isinstance(value, pa.DataType):
            return {"type": str(value)}
        if isinstance(value, bytes):
            return {"bytes": value.decode("latin-1")}
        raise UnpackableError(f"{type(value).__module__}.{type(value).__qualname__}")

    def _column(self, column: pa.Array) -> list[int]:
        alike = self.columns.setdefault(len(column), [])
        alike.append(column)
        return [list(self.columns).index(len(column)), len(alike) - 1]


class _Unpacker:
    """Builds the value that a head describes."""

    def __init__(self, batches: Sequence[pa.RecordBatch], arrays: Sequence[memoryview]) -> None:
        self._batches, self._arrays = batches, arrays

    def value(self, said: Any) -> object:
        if isinstance(said, list):
            return self._each(said)
        if not isinstance(said, dict):
            return said
        [(kind, of)] = said.items()
        build: Callable[[Any], object] = getattr(self, f"_{kind}")
        return build(of)

    def _each(self, said: Any) -> list[object]:
        return said if all(type(one) in _PLAIN for one in said) else [self.value(one) for one in said]

    def _tuple(self, said: Any) -> object:
        return tuple(self._each(said))

    def _set(self, said: Any) -> object:
        return set(self._each(said))

    def _dict(self, said: Any) -> object:
        return dict(zip(*map(self._each, said), strict=True))

    def _record(self, said: Any) -> object:
        module, name, fields = said
        kind = getattr(import_module(_OURS + module), name)
        if not dataclasses.is_dataclass(kind):
            raise TypeError(f"{name} is no record")
        return kind(*self._each(fields))  # type: ignore[operator]  # a class, as checked

    def _array(self, said: Any) -> object:
        kind, shape, place = said
        return np.frombuffer(self._arrays[place], np.dtype(kind)).reshape(shape).copy()

    def _table(self, said: Any) -> object:
        names, columns = said
        return pa.table([self._column(place) for place in columns], names)

    def _column(self, said: Any) -> pa.Array:
        batch, place = said
        return self._batches[batch].column(place)

    def _type(self, said: Any) -> object:
        return pa.type_for_alias(said)

    def _bytes(self, said: Any) -> object:
        return said.encode("latin-1")


def _batch(columns: list[pa.Array]) -> bytes:
    """Arrow arrays of one length as an IPC stream."""
    rows = pa.record_batch(columns, [str(place) for place in range(len(columns))])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema, options=_OPTIONS) as writer:
        writer.write_batch(rows)
    data: bytes = sink.getvalue().to_pybytes()
    return data
