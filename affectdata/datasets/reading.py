"""The contract of a dataset reader.

A reader module holds `CARD`, `find(folder)` and `read(distribution, reject)`. It only maps source facts to
columns: listing, hashing, checking that media exist, sorting, rejecting and writing belong to `affectdata.ingest`.

    def find(folder: Folder) -> Distribution | None       # None: nothing of this dataset is here
    def read(distribution: Distribution, reject: Reject) -> Iterator[Block]

`find` looks at `folder.files` only (a list made once), so that the engine can ask every reader whose tree this is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from affectdata.archives import archive, spooled
from affectdata.datasets.card import Card, ExpectedReject, Labelling, ProtocolCard
from affectdata.datasets.listing import Listing
from manifests.errors import DatasetError, MediaError, UnknownNameError

REASONS = frozenset(
    (
        *("missing-image", "missing-video", "missing-frame", "missing-annotation", "rating-without-image"),
        *("undecodable-image", "image-too-large", "unsafe-file", "unsafe-path", "protected-file", "not-an-archive"),
        *("unknown-code", "out-of-range", "bad-number", "bad-field-count", "bad-pixel-count", "bad-landmarks"),
        *("bad-attributes", "bad-box", "bad-name", "id-mismatch", "length-mismatch", "duplicate-key"),
        *("conflicting-duplicate", "split-leak", "unknown-class-folder", "unknown-header", "unknown-split"),
        *("test-list", "wrong-dataset", "ambiguous-variant", "unsupported-variant", "no-code-table", "no-column-map"),
        *("code-order-mismatch", "not-a-face", "fer-plus-unknown"),
    )
)
"""Reject codes: why an item of the source, or one field of it, was refused."""

MAX_UNPACKED = 2 * 1024**3
"""Annotation files inside archives above this size are not read whole."""


@dataclass(frozen=True)
class Folder:
    """A dataset's root as `find` sees it.

    Args:
        root: Absolute path.
        files: Every file below it.
        options: The user's choices, completed by the defaults of the CARD.
    """

    root: Path
    files: Listing
    options: Mapping[str, str] = field(default_factory=dict)

    def open(self, path: str) -> BinaryIO:
        """A file, or an entry of an archive, as a stream of bytes.

        Raises:
            OSError: It cannot be read; reading from the stream raises it too.
        """
        if (origin := self.files.origin(path)) is None:
            return (self.root / path).open("rb")
        try:
            return archive(self.root / origin[0]).open(origin[1])
        except MediaError as error:
            raise OSError(error.detail) from None

    def local(self, path: str) -> Path:
        """A file that libraries can open by its name: the file itself, or a temporary copy of an archive's entry.

        Raises:
            DatasetError: It cannot be read.
        """
        if (origin := self.files.origin(path)) is None:
            return self.root / path
        try:
            return spooled(self.root / origin[0], origin[1]).path()
        except MediaError as error:
            raise DatasetError(f"{path} of {self.root} cannot be read", found=error.detail) from None

    def read_bytes(self, path: str) -> bytes:
        """Content of an annotation file.

        Raises:
            DatasetError: It cannot be read.
        """
        try:
            if self.files.origin(path) is not None and self.files.size(path) > MAX_UNPACKED:
                raise OSError(f"{self.files.size(path):,} bytes inside an archive: unpack it first")
            with self.open(path) as file:
                return file.read()
        except OSError as error:
            raise DatasetError(f"{path} of {self.root} cannot be read", found=str(error)) from None

    def head(self, path: str, size: int = 65_536) -> bytes:
        """The first bytes of a file, or nothing if it cannot be read: enough for `find` to know a header."""
        try:
            with self.open(path) as file:
                return file.read(size)
        except OSError:
            return b""


@dataclass(frozen=True)
class Distribution:
    """Which form of a dataset lies in a folder.

    Args:
        folder: The root and its files.
        variant: Name of the form, e.g. `ferplus folders, label.csv`.
        annotations: Relative paths of the files that `read` reads; hashed whole into the fingerprint.
        parts: Role -> files or folders, as the reader names them, so that `read` need not look again.
        warnings: What the user should know at once, such as an absent part.
        labellings: The CARD's labellings as refined by what was found; empty: as the CARD has them.
        protocols: The same for protocols.
        settings: Facts from outside the root that steer `read` (the content of a column map); hashed.
    """

    folder: Folder
    variant: str
    annotations: tuple[str, ...]
    parts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    labellings: tuple[Labelling, ...] = ()
    protocols: tuple[ProtocolCard, ...] = ()
    settings: str = ""


@dataclass(frozen=True)
class Block:
    """Rows of one annotation file or video, as columns. Row i of every table is the same sample.

    Args:
        samples: Columns of `schema.SAMPLES` but `dataset`; `sample_id` without the dataset's name in front.
        labels: Source -> label columns, one row per sample; a row of NULLs says nothing and is not stored.
        protocols: Protocol -> role of each sample (NULL: takes no part); where roles differ between tasks, a table
            with a column of roles per task; or a table of `schema.PROTOCOL` whose `sample_id` is also without the
            dataset's name.
    """

    samples: pa.Table
    labels: Mapping[str, pa.Table] = field(default_factory=dict)
    protocols: Mapping[str, pa.Array | pa.ChunkedArray | pa.Table] = field(default_factory=dict)


class Reader(Protocol):
    """A module of `affectdata/datasets` with a CARD."""

    CARD: Card

    def find(self, folder: Folder) -> Distribution | None:
        """The distribution that lies in the folder, or None when nothing of this dataset is there."""

    def read(self, distribution: Distribution, reject: Reject) -> Iterator[Block]:
        """The rows of the distribution."""


_REJECTED = pa.schema([("where", pa.string()), ("reason", pa.string()), ("detail", pa.string())])


class Reject:
    """Collects what a reader refuses. Calling it never raises on the data's account.

    An item may be refused whole (the reader then leaves it out of its Block) or in one field (the reader then keeps
    the sample and leaves that field NULL).
    """

    def __init__(self) -> None:
        self._single: list[tuple[str, str, str]] = []
        self._tables: list[pa.Table] = []
        self._counts: Counter[str] = Counter()

    def __len__(self) -> int:
        return self._counts.total()

    def __call__(self, where: str, reason: str, detail: str = "") -> None:
        """Refuse one item: the file and line, the reason code, and what was found."""
        self.many([where], reason, [detail])

    def many(self, where: Iterable[str], reason: str, detail: Iterable[object]) -> None:
        """Refuse several items for one reason."""
        before = len(self._single)
        self._single += [(clean(w), _known(reason), clean(str(d))[:500]) for w, d in zip(where, detail, strict=True)]
        self._counts[_known(reason)] += len(self._single) - before

    def columns(self, where: pa.Array | pa.ChunkedArray, detail: pa.Array | pa.ChunkedArray, reason: str) -> None:
        """Refuse as many items as the columns have rows, for one reason; without a Python object per row."""
        columns = {"where": where, "reason": pa.repeat(_known(reason), len(where)), "detail": detail}
        self._tables.append(pa.table(columns, schema=_REJECTED))
        self._counts[reason] += len(where)

    def counts(self) -> Counter[str]:
        """Number of rejects per reason."""
        return Counter({reason: count for reason, count in self._counts.items() if count})

    def table(self, expected: Iterable[ExpectedReject], items: int) -> pa.Table:
        """All rejects as a `rejects` layer, sorted.

        Args:
            expected: What the CARD foresees.
            items: Items of the source, of which the expected shares are taken.
        """
        foreseen = [e.reason for e in expected if self._counts[e.reason] <= e.share * items]
        columns = [[row[at] for row in self._single] for at in range(len(_REJECTED))]
        rows = pa.concat_tables([pa.table(columns, schema=_REJECTED), *self._tables])
        rows = rows.sort_by([(name, "ascending") for name in rows.column_names])
        is_foreseen = pc.is_in(rows.column("reason"), value_set=pa.array(foreseen, pa.string()))
        return rows.append_column("expected", is_foreseen)


def _known(reason: str) -> str:
    if reason not in REASONS:
        raise UnknownNameError("reject reason", reason, sorted(REASONS))
    return reason


def vectors(values: NDArray[np.floating]) -> pa.Array:
    """Rows of numbers [N, length] as a fixed-size list column; NaN is NULL, and so is a row of nothing else."""
    unknown = np.isnan(values)
    flat = pa.array(values.astype(np.float32).ravel(), pa.float32(), mask=unknown.ravel())
    rows = pa.array(unknown.all(axis=1))
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1], mask=rows)


def clean(text: str) -> str:
    """The text with whatever UTF-8 cannot hold written as an escape."""
    return text.encode("utf-8", "backslashreplace").decode()
