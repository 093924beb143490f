"""What Parquet footers know without reading a value: how many rows of each column are not NULL."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

import pyarrow as pa
import pyarrow.parquet as pq

from manifests.errors import LakeError


def known_counts(path: Path) -> Mapping[str, int]:
    """Column -> number of rows that are not NULL; columns that are NULL throughout are left out.

    Answered from the footer. Only columns that were written without statistics are read.

    Raises:
        LakeError: The file cannot be read.
    """
    try:
        state = path.stat()
        return _known_counts(path, state.st_mtime_ns, state.st_size)
    except (OSError, pa.ArrowInvalid) as error:
        raise LakeError(f"{path} cannot be read", found=str(error), expected="a Parquet file of the lake") from None


@lru_cache(maxsize=4096)
def _known_counts(path: Path, _modified: int, _size: int) -> Mapping[str, int]:
    """Counts of one state of a file; its time and size are part of the cache's key."""
    footer = pq.read_metadata(path)
    groups = [footer.row_group(number) for number in range(footer.num_row_groups)]
    known = {}
    for index, field in enumerate(footer.schema.to_arrow_schema()):
        # Layers are flat: one leaf per field, the leaf of a list being its elements.
        length = field.type.list_size if pa.types.is_fixed_size_list(field.type) else 0
        counts = [_known_in(group.column(index), group.num_rows, length) for group in groups]
        if None in counts:
            column = pq.read_table(path, columns=[field.name]).column(0)
            counts = [len(column) - column.null_count]
        if any(counts):
            known[field.name] = sum(count for count in counts if count)
    return MappingProxyType(known)


def _known_in(chunk: pq.ColumnChunkMetaData, rows: int, length: int) -> int | None:
    """Rows of a column chunk that are not NULL, or None where its footer does not tell."""
    if length > 1:
        # A NULL list is one entry of the leaf; a list of n elements is n, NULL elements included.
        return int((chunk.num_values - rows) // (length - 1))
    statistics = chunk.statistics
    return int(rows - statistics.null_count) if statistics is not None and statistics.has_null_count else None
