"""Predictions of one teacher for one dataset, kept per picture in files that are there whole or not at all."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from socket import gethostname
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from manifests.killpoints import reach
from manifests.storage import storage_errors, sync
from trainer.predictions import Predictions

TEACHABLE = ("expression", "va", "au", "landmarks")
"""Tasks that a teacher can fill."""

_ABANDONED_S = 86_400
"""Age of a half-written file from which on nobody can still be writing it."""


class Kept:
    """What lies in one folder; a picture that two processes predicted lies there twice, the first is taken.

    Args:
        folder: Made when something is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def pictures(self) -> pa.Array:
        """Names of the pictures whose predictions lie here."""
        return _joined([pq.read_table(file, columns=["picture"])["picture"] for file in self._files()])

    def file(self, names: pa.Array) -> Path:
        """Where the predictions of one part go: it is named by the pictures that are in it."""
        digest = hashlib.blake2b("\n".join(names.to_pylist()).encode(), digest_size=12).hexdigest()
        return self.folder / f"{digest}.parquet"

    def write(self, names: pa.Array, made: Predictions) -> None:
        """Write one finished part.

        Raises:
            StorageError: The disk is full or refuses; parts that are finished stay.
        """
        file = self.file(names)
        fresh = file.with_suffix(f".{gethostname()}-{os.getpid()}.new")
        with storage_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            pq.write_table(_to_table(names, made), fresh)
            sync(fresh)
            reach("predictions-written")
            fresh.replace(file)
        reach("predictions-renamed")

    def sweep(self) -> None:
        """Remove what killed processes left half-written."""
        for left in self.folder.glob("*.new"):
            if time.time() - left.stat().st_mtime > _ABANDONED_S:
                left.unlink(missing_ok=True)

    def pieces(self, names: pa.Array, size: int) -> Iterator[Predictions]:
        """Predictions of pictures that all lie here, in their order, at most `size` of them in memory at once."""
        files = self._files()
        stored = [pq.read_table(file, columns=["picture"])["picture"] for file in files]
        ends = np.cumsum([len(column) for column in stored])
        place = np.asarray(pc.index_in(names, value_set=_joined(stored))).astype(np.int64)
        for first in range(0, len(place), size):
            part = place[first : first + size]
            owner = np.searchsorted(ends, part, side="right")
            order = np.argsort(owner, kind="stable")
            runs = np.split(order, np.flatnonzero(np.diff(owner[order])) + 1)
            found = []
            for run in runs:
                which = owner[run[0]]
                begin = ends[which] - len(stored[which])
                found.append(_from_table(pq.read_table(files[which]).take(pa.array(part[run] - begin))))
            yield Predictions.joined(found, order)

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("*.parquet"))


def _joined(columns: list[pa.ChunkedArray]) -> pa.Array:
    return pa.chunked_array([chunk for column in columns for chunk in column.chunks], pa.string()).combine_chunks()


def _to_table(names: pa.Array, made: Predictions) -> pa.Table:
    columns: dict[str, pa.Array] = {"picture": names}
    for task in TEACHABLE:
        values = getattr(made, task)
        if values is not None:
            flat = np.ascontiguousarray(values, np.float32).reshape(len(values), -1)
            columns[task] = pa.FixedSizeListArray.from_arrays(pa.array(flat.ravel()), flat.shape[1])
    return pa.table(columns)


def _from_table(table: pa.Table) -> Predictions:
    found: dict[str, Any] = {}
    for task in TEACHABLE:
        if task in table.column_names:
            flat: npt.NDArray[np.float32] = pc.list_flatten(table[task]).to_numpy().reshape(len(table), -1)
            found[task] = flat.reshape(len(table), 68, 2) if task == "landmarks" else flat
    return Predictions(**found)
