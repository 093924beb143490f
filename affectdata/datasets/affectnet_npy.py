"""AffectNet's npy release: four tiny npy files per picture (datasets page, 2 C), read without unpickling anything."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from affectdata.datasets.affectnet_items import (
    ID,
    MAX_BYTES,
    Half,
    Listed,
    absent,
    chunks,
    item_block,
    matched,
    picture_ids,
)
from affectdata.datasets.affectnet_labels import Cells, bad_points, points_column, said
from affectdata.datasets.reading import Block, Folder, Reject, clean
from affectdata.datasets.text import as_mask

_KINDS = {"expression": "exp", "valence": "val", "arousal": "aro"}

# A whole header as numpy writes it: {'descr': '<f8', 'fortran_order': False, 'shape': (136,), }
_HEADER = re.compile(
    rb"\x93NUMPY(?:\x01\x00..|[\x02\x03]\x00....)\{'descr': '([^']{1,20})', 'fortran_order': (True|False), "
    rb"'shape': \(([0-9L, ]{0,40})\), \} *\n",
    re.DOTALL,
)
_PLAIN = re.compile(rb"[<>|=](?:[US][0-9]{1,4}|b1|[iu][1248]|f[248])")
_AGAIN = "pickled content is never loaded; write the plain value again: numpy.save(path, value, allow_pickle=False)"


def npy_blocks(folder: Folder, half: Half, reject: Reject) -> Iterator[Block]:
    """One split: `<id>_exp.npy`, `_val`, `_aro`, `_lnd` for each `<id>.jpg`, some thousand ids at a time."""
    found = pa.array([n for n in folder.files.names(half.inside) if n.endswith(".npy")], pa.string())
    numbers, parts = matched(found, rf"^{ID}_(?P<kind>exp|val|aro|lnd)\.npy$", half.inside, reject)
    there = {kind: numbers[as_mask(pc.equal(parts["kind"], kind))] for kind in (*_KINDS.values(), "lnd")}
    listed = Listed.beside(folder, half)
    for ids in chunks(np.unique(np.concatenate([*there.values(), picture_ids(folder, half, reject)]))):
        files = {kind: np.isin(ids, known) for kind, known in there.items()}
        for kind, present in files.items():
            absent(half, [f"{number}_{kind}.npy" for number in ids[~present].tolist()], reject)
        yield _block(folder, half, ids, files, listed, reject)


def _block(
    folder: Folder, half: Half, ids: NDArray[np.int64], files: dict[str, NDArray[np.bool_]], listed: Listed | None,
    reject: Reject,
) -> Block:  # fmt: skip
    def path(kind: str, row: int) -> str:
        return f"{half.inside}/{ids[row]}_{kind}.npy"

    def where(column: str, mask: NDArray[np.bool_]) -> list[str]:
        return [path(_KINDS[column], row) for row in np.flatnonzero(mask).tolist()]

    cells: dict[str, pa.Array] = {}
    for column, kind in _KINDS.items():
        text: list[str | None] = [None] * len(ids)
        for row in np.flatnonzero(files[kind]).tolist():
            text[row] = _scalar(folder, path(kind, row), reject)
        cells[column] = pa.array(text, pa.string())
    points = np.full((len(ids), 136), np.nan, np.float32)
    for row in np.flatnonzero(files["lnd"]).tolist():
        _fill(points[row], folder, path("lnd", row), reject)
    labels = said(Cells(**cells, where=where), reject)
    keep = labels.keep if listed is None else labels.keep & ~listed.refused(half, ids, labels, reject)
    affect = pa.table({"expression": labels.names, "valence": labels.valence, "arousal": labels.arousal})
    tables = {"human": affect, "auto": pa.table({"landmarks": points_column(points)})}
    return item_block(half, ids, keep, {"face_status": labels.status}, tables)


def npy_values(data: bytes) -> NDArray[np.generic] | str:
    """The values of a small npy file; or `unsafe-file` for pickled content, `bad-number` for anything else.

    Says what `numpy.load(file, allow_pickle=False)` does, in half its time (27,000 files a second of one core): headers
    other than those of plain numbers and text are not interpreted at all, and `frombuffer` cannot make objects.
    """
    head = _HEADER.match(data)
    if head is None or not _PLAIN.fullmatch(head[1]):
        return "unsafe-file" if _is_pickled(data) else "bad-number"
    start = 10 if data[6] == 1 else 12
    if start + int.from_bytes(data[8:start], "little") != head.end():
        return "bad-number"
    kind = np.dtype(head[1].decode())
    sizes = [int(size) for size in head[3].replace(b"L", b"").replace(b" ", b"").split(b",") if size]
    count, body = int(np.prod(sizes, dtype=object)), data[head.end() :]
    if not 0 < count <= 1_000 or kind.itemsize == 0 or len(body) != count * kind.itemsize:
        return "bad-number"
    return np.frombuffer(body, kind).reshape(sizes, order="F" if head[2] == b"True" else "C")


def _is_pickled(data: bytes) -> bool:
    """A bare pickle, an npz archive of whatever, or an npy file of objects."""
    return data[:1] == b"\x80" or data[:2] == b"PK" or (data[:6] == b"\x93NUMPY" and b"|O'" in data[:1_000])


def _loaded(folder: Folder, path: str, reason: str, reject: Reject) -> NDArray[np.generic] | None:
    values = "bad-number" if folder.files.size(path) > MAX_BYTES else folder.parsed(path, npy_values)
    if not isinstance(values, str):
        return values
    unsafe = values == "unsafe-file"
    reject(path, values if unsafe else reason, _AGAIN if unsafe else "not an npy file of plain values")
    return None


def _scalar(folder: Folder, path: str, reject: Reject) -> str | None:
    """The one value of a file as text; None, with a reject, where there is none."""
    values = _loaded(folder, path, "bad-number", reject)
    if values is None:
        return None
    try:
        # 0-d text in known copies [inferred], numbers in others: '6', '-0.48', 6
        if values.size == 1:
            value = values.item()
            return clean(value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value))
    except ValueError:  # text with code points that Unicode does not have
        pass
    reject(path, "bad-number", f"{values.size} values of {values.dtype}, expected one")
    return None


def _fill(row: NDArray[np.float32], folder: Folder, path: str, reject: Reject) -> None:
    """Write the 136 numbers of a file into a row; where there are none, a reject."""
    values = _loaded(folder, path, "bad-landmarks", reject)
    if values is None:
        return
    try:
        found = values.astype(np.float32)
    except ValueError:
        found = np.empty(0, np.float32)
    # Two rows of 68 would be all x, then all y.
    flat = found.ravel()
    right = found.shape in ((136,), (1, 136), (68, 2))
    if not right or np.isnan(flat).any() or bad_points(flat[None])[0]:
        about = f"{' x '.join(map(str, values.shape))} values of {values.dtype}"
        reject(path, "bad-landmarks", f"{about}, expected 136 coordinates, x y x y ...")
        return
    row[:] = flat
