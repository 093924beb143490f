"""A file of predictions, written table by table: there whole, or not at all."""

from __future__ import annotations

import io
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from manifests.storage import storage_errors


def as_csv(table: pa.Table, *, header: bool) -> list[str]:
    """The table as lines of CSV; of landmarks, columns x_0, y_0, x_1 ... instead of a list."""
    buffer = io.BytesIO()
    pa_csv.write_csv(flat(table), buffer, pa_csv.WriteOptions(include_header=header))
    return buffer.getvalue().decode().splitlines()


def flat(table: pa.Table) -> pa.Table:
    """The table with a list of landmarks as 136 columns, which CSV has no other way to hold."""
    if "landmarks_predicted" not in table.column_names:
        return table
    points = table["landmarks_predicted"].to_pylist()
    place = table.column_names.index("landmarks_predicted")
    table = table.remove_column(place)
    for number in range(136):
        values = pa.array([None if row is None else row[number] for row in points], pa.float32())
        table = table.append_column(f"{'xy'[number % 2]}_{number // 2}", values)
    return table


class PredictionsFile:
    """A CSV or Parquet file that gets its name when it is complete; None writes nothing.

    Raises:
        StorageError: The disk refuses.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._part = None if path is None else path.with_name(f".{path.name}.part")
        self._writer: pq.ParquetWriter | pa_csv.CSVWriter | None = None

    def __enter__(self) -> Self:
        return self

    def write(self, table: pa.Table) -> None:
        """Append a table."""
        if self.path is None or self._part is None:
            return
        is_parquet = self.path.suffix.lower() == ".parquet"
        rows = table if is_parquet else flat(table)
        with storage_errors(self.path.parent):
            if self._writer is None:
                make = pq.ParquetWriter if is_parquet else pa_csv.CSVWriter
                self._writer = make(self._part, rows.schema)
            self._writer.write_table(rows)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is None or self.path is None or self._part is None:
            return
        with storage_errors(self.path.parent):
            self._writer.close()
            if kind is None:
                self._part.replace(self.path)
            else:
                self._part.unlink()
