"""The contract of a dataset reader.

A reader module holds `CARD`, `find(folder)` and `read(distribution, reject)`. It only maps source facts to
columns: listing, hashing, checking that media exist, sorting, rejecting and writing belong to `affectdata.ingest`.

    def find(folder: Folder) -> Distribution | None       # None: nothing of this dataset is here
    def read(distribution: Distribution, reject: Reject) -> Iterator[Block]

`find` looks at `folder.files` only (a list made once), so that the engine can ask every reader whose tree this is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Concatenate, ParamSpec, Protocol, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from affectdata.archives import archive
from affectdata.datasets import parsing
from affectdata.datasets.card import Card, Labelling, ProtocolCard
from affectdata.datasets.listing import Listing
from affectdata.datasets.rejects import REASONS as REASONS
from affectdata.datasets.rejects import Reject as Reject
from affectdata.datasets.rejects import clean as clean
from affectdata.memo import Memo
from manifests.errors import DatasetError, MediaError

P = ParamSpec("P")
T = TypeVar("T")

MAX_UNPACKED = 2 * 1024**3
"""Annotation files inside archives above this size are not read whole."""


@dataclass(frozen=True)
class Folder:
    """A dataset's root as `find` sees it.

    Args:
        root: Absolute path.
        files: Every file below it.
        options: The user's choices, completed by the defaults of the CARD.
        memo: What earlier ingests learned of the files.
    """

    root: Path
    files: Listing
    options: Mapping[str, str] = field(default_factory=dict)
    memo: Memo = field(default_factory=Memo, compare=False, repr=False)

    def open(self, path: str) -> BinaryIO:
        """A file, or an entry of an archive, as a stream of bytes.

        Raises:
            OSError: It cannot be read; reading from the stream raises it too.
        """
        self.memo.opened.add(path)
        if (origin := self.files.origin(path)) is None:
            return (self.root / path).open("rb")
        try:
            return archive(self.root / origin[0]).open(origin[1])
        except MediaError as error:
            raise OSError(error.detail) from None

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
        return parsing.head(self, path, size)

    def parsed(self, path: str, parser: Callable[Concatenate[bytes, P], T], *arguments: P.args, **named: P.kwargs) -> T:
        """What `parser(content, *arguments, **named)` returns, be it from an earlier ingest of the same content.

        A reader parses every annotation file through this, so that an ingest after files were added parses only them.

        Args:
            path: The file.
            parser: A function of a module that depends on its arguments alone. It returns what `packed` can keep, or
                an iterator over such, which is run to its end at once.
            arguments: Any `Reject` among them takes again what it took the first time.

        Raises:
            DatasetError: The file cannot be read, or whatever the parser raises, which is never kept.
        """
        return parsing.parsed(self, path, parser, arguments, named)

    def parsed_pieces(
        self,
        path: str,
        parser: Callable[Concatenate[BinaryIO, P], Iterator[T]],
        *arguments: P.args,
        **named: P.kwargs,
    ) -> Iterator[T]:
        """The same for a file that need not fit into memory: the parser takes it as a stream and yields pieces."""
        return parsing.parsed_pieces(self, path, parser, arguments, named)


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


def vectors(values: NDArray[np.floating]) -> pa.Array:
    """Rows of numbers [N, length] as a fixed-size list column; NaN is NULL, and so is a row of nothing else."""
    unknown = np.isnan(values)
    flat = pa.array(values.astype(np.float32).ravel(), pa.float32(), mask=unknown.ravel())
    rows = pa.array(unknown.all(axis=1))
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1], mask=rows)
