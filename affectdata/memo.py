"""What earlier ingests of a dataset learned of its files, kept beside the lake, so that old files need not be opened.

A shortcut and never a source: an entry is found by a hash of all that decides it, so it is right or unused; without
the file, or with one that is damaged or of another making, an ingest gives the same and takes longer. Kept are the
content hash and the first bytes of a file, by its path and what the file system says of it; and what a parser
returned, by the content of the file, all code that the parser could reach, and its arguments.
"""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa

import affectdata
import manifests

RACY_S = 3.0
"""A file changed less than this before it was looked at may change again at the same time (FAT counts 2 s)."""

_LARGEST = 900_000_000
"""Bytes of a value; SQLite holds no more than 1,000,000,000."""

_OURS = 0x61666672
"""Written into the SQLite file: which application's it is."""

_TABLE = "CREATE TABLE IF NOT EXISTS kept (key BLOB NOT NULL UNIQUE, proof BLOB NOT NULL, value BLOB NOT NULL)"

T = TypeVar("T")


class Memo:
    """Values by key, from one ingest to the next.

    Whatever goes wrong with the file turns it off; nobody else notices.

    Args:
        file: Where values are kept; None: nothing is remembered.
        trusts_times: Whether a file of the same size, times and inode is taken to be the same.
    """

    def __init__(self, file: Path | None = None, *, trusts_times: bool = True) -> None:
        self.opened: set[str] = set()
        self.trusts_times = trusts_times
        self.on = file is not None
        self._file = file
        self._connection: sqlite3.Connection | None = None
        self._waiting: dict[bytes, bytes] = {}
        self._used: set[int] = set()
        self._writes = self._damaged = False
        if file is not None and file.is_file():
            self._try(lambda: self._connect(file, "ro"))

    def get(self, key: bytes) -> bytes | None:
        """The value of a key, if it is there and whole."""
        if self._connection is None:
            return self._waiting.get(key)
        row = self._try(lambda: self._select(key))
        if row is None or type(row[2]) is not bytes or row[1] != _proof(key, row[2]):
            return self._waiting.get(key)
        self._used.add(row[0])
        return row[2]

    def put(self, key: bytes, value: bytes) -> None:
        """Keep a value; in memory until it is `written`."""
        if not self._writes:
            self._waiting[key] = value
        elif len(value) <= _LARGEST:
            self._try(lambda: self._insert(key, value))

    @contextmanager
    def written(self) -> Iterator[None]:
        """Keep what was and will be put, to the end of the block: for the one who holds the dataset's lock."""
        try:
            self._begin()
            yield
        finally:
            self._try(lambda: self._connection.commit() if self._connection and self._writes else None)
            self._disconnect()
            self._writes = False

    def drop_unused(self) -> None:
        """Drop what neither `get` nor `put` has touched."""
        self._try(self._delete_unused)

    def _begin(self) -> None:
        if self._file is None:
            return
        file, waiting = self._file, self._waiting
        self._disconnect()
        self._waiting = {}
        if self._damaged:
            with suppress(OSError):
                file.unlink(missing_ok=True)
        self._writes = True
        with suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True)
        if not self._try(lambda: self._connect(file, "rwc")) and self._damaged:
            self._try(lambda: self._connect(file, "rwc"))
        for key, value in waiting.items():
            self.put(key, value)

    def _connect(self, file: Path, mode: str) -> bool:
        self._connection = sqlite3.connect(f"{file.absolute().as_uri()}?mode={mode}", timeout=0, uri=True)
        run = self._connection.execute
        # What a crash would cost is found by its proof, or is no SQLite file any more: nothing need be waited for.
        run("PRAGMA trusted_schema = OFF")
        run("PRAGMA synchronous = OFF")
        if mode == "rwc":
            run("PRAGMA auto_vacuum = FULL")
            [known] = run("PRAGMA application_id").fetchone()
            if known not in (0, _OURS):
                raise sqlite3.DatabaseError("of another application")
            run(_TABLE)
            run(f"PRAGMA application_id = {_OURS}")
        return True

    def _select(self, key: bytes) -> tuple[int, bytes, bytes] | None:
        if self._connection is None:
            return None
        found = self._connection.execute("SELECT rowid, proof, value FROM kept WHERE key = ?", (key,)).fetchone()
        row: tuple[int, bytes, bytes] | None = found
        return row

    def _insert(self, key: bytes, value: bytes) -> None:
        if self._connection is not None:
            row = (key, _proof(key, value), value)
            number = self._connection.execute("INSERT OR REPLACE INTO kept VALUES (?, ?, ?)", row).lastrowid
            self._used.add(number or 0)

    def _delete_unused(self) -> None:
        if self._connection is not None and self._writes:
            rows = self._connection.execute("SELECT rowid FROM kept").fetchall()
            unused = [row for row in rows if row[0] not in self._used]
            self._connection.executemany("DELETE FROM kept WHERE rowid = ?", unused)

    def _try(self, action: Callable[[], T]) -> T | None:
        try:
            return action()
        except (sqlite3.Error, OSError) as error:
            # A lock that another holds and a disk that is full say nothing against the file.
            self._damaged = not isinstance(error, sqlite3.OperationalError | OSError)
            self._disconnect()
            if self._writes and self._damaged and self._file is not None:
                with suppress(OSError):
                    self._file.unlink(missing_ok=True)
            return None

    def _disconnect(self) -> None:
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
        self._connection = None


def key_of(kind: str, *parts: object) -> bytes:
    """A key of 16 bytes for text, numbers and bytes, in order."""
    digest = hashlib.blake2b(kind.encode(), digest_size=16)
    for part in parts:
        data = part if isinstance(part, bytes) else str(part).encode("utf-8", "surrogateescape")
        digest.update(b"%d:" % len(data) + data)
    return digest.digest()


def identity(file: Path) -> tuple[tuple[int, ...], bool]:
    """Size, times and inode of a file, and whether they tell it from any later one; of one that is absent, nothing."""
    now = time.time_ns()
    try:
        status = file.stat()
    except OSError:
        return (), False
    said = status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino
    return said, now - status.st_mtime_ns > RACY_S * 1e9


@cache
def code() -> bytes:
    """Hash of all code that a parser may reach: an entry of other code would be another reading of the file."""
    digest = hashlib.blake2b(f"{pa.__version__} {np.__version__}".encode(), digest_size=16)
    for package in (affectdata, manifests):
        [home] = package.__path__
        for file in sorted(Path(home).rglob("*.py")):
            digest.update(file.relative_to(home).as_posix().encode() + file.read_bytes())
    return digest.digest()


def _proof(key: bytes, value: bytes) -> bytes:
    return hashlib.blake2b(value, digest_size=8, key=key).digest()
