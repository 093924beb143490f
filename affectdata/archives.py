"""Entries of zip and tar archives, read in place: the directory once, then any entry from where it lies.

Reading takes no lock and moves no shared position, so that threads read one archive side by side.
"""

from __future__ import annotations

import io
import os
import struct
import tempfile
import threading
import weakref
import zlib
from collections import OrderedDict
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from affectdata.archive_index import DEFLATED, read_index
from manifests.errors import MediaError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

READABLE = (".zip", ".tar")
"""Ends of archives whose entries can be read at random."""

MAX_SPOOLED = 64 * 1024**3
"""Entries above this size are not unpacked into a temporary file."""

SUSPECT, MAX_RATIO = 1024**3, 100
"""Larger entries that unpack to more than this many times their stored bytes are no videos or tables, but bombs."""

ROW = "//"
"""Parts an entry from a data row of it in `samples.member`; no entry's name holds it."""

_CHUNK = 1 << 18
_KEPT = 8
"""Temporary files of videos and tables kept at a time."""


class Archive:
    """An open archive."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.index = read_index(file)
        self._descriptor = os.open(file, os.O_RDONLY)
        weakref.finalize(self, os.close, self._descriptor)

    def read(self, name: str, limit: int) -> bytes:
        """All bytes of an entry.

        Raises:
            MediaError: `missing-image`, `image-too-large` beyond the limit, `undecodable-image` if damaged.
        """
        if self._place(name)[2] > limit:
            about = f"{self.file.name}:{name}"
            raise MediaError("image-too-large", f"{about}: {self._place(name)[2]:,} bytes, limit {limit:,}")
        try:
            with self.open(name) as entry:
                return entry.read()
        except OSError as error:
            raise MediaError("undecodable-image", str(error)) from None

    def open(self, name: str) -> BinaryIO:
        """An entry as a stream of its bytes; `OSError` where it turns out to be damaged.

        Raises:
            MediaError: `missing-image`, `undecodable-image`.
        """
        offset, stored, size, method, crc = self._place(name)
        about = f"{self.file.name}:{name}"
        if self.index.is_zip:
            # The name and extra field of the local header may be longer than those of the directory.
            header = os.pread(self._descriptor, 30, offset)
            if len(header) < 30 or header[:4] != b"PK\x03\x04":
                raise MediaError("undecodable-image", f"{about}: damaged: no entry begins where the directory says")
            offset += 30 + sum(struct.unpack("<HH", header[26:30]))
        raw = _Entry(self, self._descriptor, (offset, stored, size, crc), method == DEFLATED, about)
        return io.BufferedReader(raw, _CHUNK if size > _CHUNK else max(size, 1) + 1)

    def _place(self, name: str) -> tuple[int, int, int, int, int]:
        try:
            return self.index.place(name)
        except KeyError:
            raise MediaError("missing-image", f"{self.file.name}:{name}") from None


class _Entry(io.RawIOBase):
    """Bytes of one entry, never more than the directory claims."""

    def __init__(
        self, archive: Archive, descriptor: int, place: tuple[int, int, int, int], deflated: bool, about: str
    ) -> None:
        self._archive = archive  # keeps the descriptor open
        self._descriptor, self._about = descriptor, about
        self._at, self._stored, self._left, self._wanted_crc = place
        self._inflate = zlib.decompressobj(-15) if deflated else None
        self._crc = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        if not self._left:
            if self._wanted_crc >= 0 and self._crc != self._wanted_crc:
                raise OSError(f"{self._about}: damaged: its checksum differs")
            return 0
        wanted = min(len(view), self._left)
        piece = self._raw(wanted) if self._inflate is None else self._inflated(self._inflate, wanted)
        if not piece:
            raise OSError(f"{self._about}: damaged: it ends too early")
        self._left -= len(piece)
        if self._wanted_crc >= 0:
            self._crc = zlib.crc32(piece, self._crc)
        view[: len(piece)] = piece
        return len(piece)

    def _raw(self, wanted: int) -> bytes:
        piece = os.pread(self._descriptor, min(wanted, self._stored), self._at)
        self._at += len(piece)
        self._stored -= len(piece)
        return piece

    def _inflated(self, inflate: zlib._Decompress, wanted: int) -> bytes:
        while True:
            source = inflate.unconsumed_tail or self._raw(_CHUNK)
            try:
                piece = inflate.decompress(source, wanted)
            except zlib.error as error:
                raise OSError(f"{self._about}: damaged: {error}") from None
            if piece or not source:
                return piece


_opening = threading.Lock()


def archive(file: Path) -> Archive:
    """The archive, opened once for all threads until its file changes.

    Raises:
        MediaError: `not-an-archive`, `missing-image`.
    """
    try:
        status = file.stat()
    except OSError as error:
        raise MediaError("missing-image", f"{file.name}: {error.strerror}") from None
    with _opening:
        return _archive(file, (status.st_size, status.st_mtime_ns))


@lru_cache(maxsize=64)
def _archive(file: Path, stamp: tuple[int, int]) -> Archive:  # noqa: ARG001 (a changed file is opened anew)
    return Archive(file)


class Spooled:
    """An entry as a temporary file, for what only reads files; removed with the last reference."""

    def __init__(self, source: Archive, name: str) -> None:
        self.source, self.name = source, name
        self._filling = threading.Lock()
        self._path: Path | None = None

    def path(self) -> Path:
        """The temporary file, written when first asked for.

        Raises:
            MediaError: The entry is absent, damaged, too large or a bomb, or there is no room for it.
        """
        with self._filling:
            if self._path is None:
                self._path = self._written()
            return self._path

    def _written(self) -> Path:
        about = f"{self.source.file.name}:{self.name}"
        _, stored, size, _, _ = self.source._place(self.name)
        if size > MAX_SPOOLED:
            raise MediaError("image-too-large", f"{about}: {size:,} bytes, limit {MAX_SPOOLED:,}")
        if size > SUSPECT and size > MAX_RATIO * stored:
            raise MediaError("unsafe-file", f"{about}: {stored:,} bytes that unpack to {size:,}")
        try:
            suffix = Path(self.name).suffix
            with tempfile.NamedTemporaryFile(prefix="affect-", suffix=suffix, delete=False) as file:
                weakref.finalize(self, _remove, Path(file.name), os.getpid())
                with self.source.open(self.name) as entry:
                    while piece := entry.read(1 << 20):
                        file.write(piece)
            return Path(file.name)
        except OSError as error:
            raise MediaError("undecodable-image", f"{about}: {error}") from None


def _remove(file: Path, maker: int) -> None:
    """Remove a temporary file, but not from a forked process: it is still its maker's."""
    if os.getpid() == maker:
        file.unlink(missing_ok=True)


_spools: OrderedDict[tuple[int, str], Spooled] = OrderedDict()
_spooling = threading.Lock()


def spooled(file: Path, name: str) -> Spooled:
    """An entry of an archive as a temporary file; the last few are kept.

    Raises:
        MediaError: `not-an-archive`, `missing-image`.
    """
    source = archive(file)
    with _spooling:
        key = (id(source), name)
        found = _spools.pop(key, None)
        if found is None or found.source is not source:
            found = Spooled(source, name)
        _spools[key] = found
        while len(_spools) > _KEPT:
            _spools.popitem(last=False)
    return found
