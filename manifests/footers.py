"""What Parquet footers know without reading a value.

Parquet itself keeps how many rows of each column are not NULL. A label layer is also tallied while it is written:
how often each class and each present AU occurs, and how many rows know a task that is spread over columns.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache, reduce
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from manifests.errors import LakeError
from manifests.schema import TASK_COLUMNS
from manifests.vocabulary import VOCABULARIES

TALLY_KEY = b"affect-tally"


def known_counts(path: Path) -> Mapping[str, int]:
    """Column -> number of rows that are not NULL; columns that are NULL throughout are left out.

    Answered from the footer. Only columns that were written without statistics are read.

    Raises:
        LakeError: The file cannot be read.
    """
    return _known_counts(path, *_state(path))


def read_footer(path: Path) -> pq.FileMetaData:
    """The footer of a Parquet file, read once as long as the file stays as it is.

    Raises:
        LakeError: The file cannot be read.
    """
    return _footer(path, *_state(path))


def _state(path: Path) -> tuple[int, int]:
    """Time and size of a file: with its path, the key under which what was read of it is remembered."""
    try:
        state = path.stat()
    except OSError as error:
        raise _unreadable(path, error) from None
    return state.st_mtime_ns, state.st_size


def _unreadable(path: Path, error: Exception) -> LakeError:
    return LakeError(f"{path} cannot be read", found=str(error), expected="a Parquet file of the lake")


@lru_cache(maxsize=1024)
def _footer(path: Path, _modified: int, _size: int) -> pq.FileMetaData:
    try:
        return pq.read_metadata(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise _unreadable(path, error) from None


@lru_cache(maxsize=4096)
def _known_counts(path: Path, modified: int, size: int) -> Mapping[str, int]:
    footer = _footer(path, modified, size)
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


class Tally:
    """Counts of values in a layer, gathered table by table; those of tasks in label layers.

    `tasks`: rows labelled for a task (va: both known; au and au_intensity: any known). `classes`: task -> name ->
    rows. `present`: AU column -> rows that say 1. Two layers of the same samples have equal `ids`.
    """

    def __init__(self) -> None:
        self.rows = self.cells = 0
        self._ids = hashlib.blake2b(digest_size=16)
        self.ids = self._ids.hexdigest()
        self.tasks: Counter[str] = Counter()
        self.classes: dict[str, Counter[str]] = {task: Counter() for task in VOCABULARIES}
        self.present: Counter[str] = Counter()

    def add(self, table: pa.Table) -> None:
        """Count the rows of a table in the layer's order."""
        self.rows += table.num_rows
        if "sample_id" in table.column_names:
            for ids in pc.binary_join_element_wise(table.column("sample_id"), "", "\0").chunks:
                self._ids.update(_text(ids))
            self.ids = self._ids.hexdigest()
        known = {name: len(c) - c.null_count for name, c in zip(table.column_names, table.columns, strict=True)}
        self.cells += sum(known.values())
        for task, columns in TASK_COLUMNS.items():
            labelled = [table.column(name) for name in columns if known.get(name)]
            if task in VOCABULARIES and labelled:
                names, counts = pc.value_counts(labelled[0].drop_null()).flatten()
                self.classes[task].update(dict(zip(names.to_pylist(), counts.to_pylist(), strict=True)))
            self.tasks[task] += _rows_known(task, labelled, len(columns))
        for name in TASK_COLUMNS["au"]:
            if known.get(name):
                self.present[name] += int(pc.sum(table.column(name)).as_py())

    def to_json(self) -> bytes:
        """Canonical JSON for the footer."""
        facts = {name: value for name, value in vars(self).items() if not name.startswith("_")}
        return json.dumps(facts, sort_keys=True).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Tally:
        """The tally that `to_json` wrote."""
        tally, facts = cls(), json.loads(text)
        tally.rows, tally.cells, tally.ids = int(facts["rows"]), int(facts["cells"]), str(facts["ids"])
        tally.tasks.update(facts["tasks"])
        tally.present.update(facts["present"])
        for task, counts in facts["classes"].items():
            tally.classes[task].update(counts)
        return tally


def _text(texts: pa.StringArray) -> pa.Buffer | bytes:
    """The bytes of all texts one after the other."""
    ends = np.frombuffer(texts.buffers()[1], np.int32)[texts.offset :][: len(texts) + 1]
    start, end = (int(ends[0]), int(ends[-1])) if len(texts) else (0, 0)
    return texts.buffers()[2].slice(start, end - start) if end > start else b""


def _rows_known(task: str, labelled: Sequence[pa.ChunkedArray], columns: int) -> int:
    """Rows that know the task, given those of its columns that are not NULL throughout."""
    if not labelled or (task == "va" and len(labelled) < columns):
        return 0
    combine = pc.and_ if task == "va" else pc.or_
    return int(pc.sum(reduce(combine, (pc.is_valid(column) for column in labelled))).as_py() or 0)


def tally_of(path: Path) -> Tally:
    """Counts of values in a layer: from its footer, or by reading it where the footer does not tell.

    Raises:
        LakeError: The file cannot be read.
    """
    return _tally_of(path, *_state(path))


@lru_cache(maxsize=4096)
def _tally_of(path: Path, modified: int, size: int) -> Tally:
    footer = _footer(path, modified, size)
    text = (footer.metadata or {}).get(TALLY_KEY)
    if text is not None:
        tally = Tally.from_json(text)
        # Another tool may have copied the metadata to other rows.
        if (tally.rows, tally.cells) == (footer.num_rows, sum(_known_counts(path, modified, size).values())):
            return tally
    tally = Tally()
    with pq.ParquetFile(path) as file:
        for number in range(file.num_row_groups):
            tally.add(file.read_row_group(number))
    return tally


def forget() -> None:
    """Forget all footers read so far, as a fresh process would have them to read."""
    _footer.cache_clear()
    _known_counts.cache_clear()
    _tally_of.cache_clear()
