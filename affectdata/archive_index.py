"""The directory of a zip or tar archive as columns: where each entry lies, and which entries cannot be used."""

from __future__ import annotations

import re
import stat
import struct
import tarfile
import zipfile
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from manifests.errors import MediaError

STORED, DEFLATED = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED

_BROKEN = (zipfile.BadZipFile, tarfile.TarError, NotImplementedError, ValueError, struct.error, EOFError, IndexError,
           OverflowError)  # fmt: skip
_UNTIDY = re.compile(r"\\|//|(^|/)\.\.?(/|$)|^/|/$|^[A-Za-z]:|\x00")
_JUNK = re.compile(r"(^|/)(__MACOSX(/|$)|\._[^/]*$|\.DS_Store$)")
_ODD = re.compile(r"[^\x01-\x7f]|[\\:]|//|^/|/$|(^|/)[._]")
"""Most names have nothing of it: they are tidy as they are."""
_ZIP_STARTS = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
_TAR_MAGIC = slice(257, 262)


@dataclass
class Index:
    """Entries of one archive by tidy name: '/' between parts, no `.`, no `..`, nothing absolute.

    Attributes:
        rows: Name -> row of the columns.
        offset: Where the entry begins: the local header of a zip entry, the data of a tar entry.
        stored: Bytes in the archive.
        size: Bytes when unpacked, as the directory claims.
        method: STORED or DEFLATED.
        crc: CRC-32 of the unpacked bytes; -1 where the format has none.
        folders: Folders that have an entry of their own.
        refused: Name, reject code and detail of what cannot be used.
        unreadable_names: Names that are not UTF-8, escaped.
        is_zip: Entries have a local header in front of their data.
    """

    is_zip: bool
    rows: dict[str, int] = field(default_factory=dict)
    offset: array[int] = field(default_factory=lambda: array("q"))
    stored: array[int] = field(default_factory=lambda: array("q"))
    size: array[int] = field(default_factory=lambda: array("q"))
    method: array[int] = field(default_factory=lambda: array("b"))
    crc: array[int] = field(default_factory=lambda: array("q"))
    folders: list[str] = field(default_factory=list)
    refused: list[tuple[str, str, str]] = field(default_factory=list)
    unreadable_names: list[str] = field(default_factory=list)

    def add(self, name: str, place: tuple[int, int, int, int, int]) -> None:
        """One more entry: offset, stored, size, method, crc. Unpacking would let the last of a name win; so here."""
        if name in self.rows:
            self.refused.append((name, "duplicate-key", "the archive holds this name again; its last entry is read"))
        self.rows[name] = len(self.offset)
        offset, stored, size, method, crc = place
        self.offset.append(offset)
        self.stored.append(stored)
        self.size.append(size)
        self.method.append(method)
        self.crc.append(crc)

    def place(self, name: str) -> tuple[int, int, int, int, int]:
        """Offset, stored, size, method, crc of an entry."""
        row = self.rows[name]
        return self.offset[row], self.stored[row], self.size[row], self.method[row], self.crc[row]

    def tidy(self, name: str) -> str:
        """The name as it is listed, or nothing when the entry is left out: noted if it leads out of the archive."""
        if not _ODD.search(name):
            return name
        try:
            name.encode()
        except UnicodeEncodeError:
            self.unreadable_names.append(name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"))
            return ""
        if _UNTIDY.search(name):
            name = name.replace("\\", "/")
            parts = [part for part in name.split("/") if part not in ("", ".")]
            if name.startswith("/") or ".." in parts or "\x00" in name or re.match("[A-Za-z]:", name):
                self.refused.append((name.replace("\x00", "?"), "unsafe-path", "the entry leads out of the archive"))
                return ""
            name = "/".join(parts)
        return "" if _JUNK.search(name) else name


def read_index(file: Path) -> Index:
    """The directory of an archive, read once.

    Raises:
        MediaError: `not-an-archive`; `missing-image` where the file is not there.
    """
    try:
        with file.open("rb") as opened:
            start = opened.read(_TAR_MAGIC.stop)
        # The end of a tar may be a small zip that it holds: a zip is looked for at the end of other files alone.
        is_tar = start[_TAR_MAGIC] == b"ustar"
        index = Index(start[:4] in _ZIP_STARTS or (not is_tar and zipfile.is_zipfile(file)))
        (_index_zip if index.is_zip else _index_tar)(file, index)
    except FileNotFoundError:
        raise MediaError("missing-image", f"{file.name}: no such archive") from None
    except (*_BROKEN, OSError) as error:
        raise MediaError("not-an-archive", f"{file.name}: no zip or tar archive, or a damaged one ({error})") from None
    return index


def _index_zip(file: Path, index: Index) -> None:
    locked = compressed = total = 0
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            name = index.tidy(_zip_name(info))
            if info.is_dir() or info.filename.endswith("\\"):
                index.folders += [name] if name else []
                continue
            if not name:
                continue
            total += 1
            mode = info.external_attr >> 16
            if info.create_system == 3 and stat.S_IFMT(mode) not in (0, stat.S_IFREG):
                index.refused.append((name, "unsafe-file", "a link or device in an archive is not followed"))
            elif info.flag_bits & 1:
                locked += 1
            elif info.compress_type not in (STORED, DEFLATED):
                compressed += 1
            else:
                place = (info.header_offset, info.compress_size, info.file_size, info.compress_type, info.CRC)
                index.add(name, place)
    if locked:
        why = f"{locked:,} of {total:,} entries are encrypted: unpack the archive with its password"
        index.refused.append(("", "protected-file", why))
    if compressed:
        why = f"{compressed:,} of {total:,} entries are compressed neither by deflate nor at all: unpack the archive"
        index.refused.append(("", "unsafe-file", why))


def _zip_name(info: zipfile.ZipInfo) -> str:
    """The name; zip programs that write UTF-8 often do not say so, and zipfile then takes it for cp437."""
    if info.flag_bits & 0x800 or info.filename.isascii():
        return info.filename
    try:
        return info.filename.encode("cp437").decode()
    except UnicodeError:
        return info.filename


def _index_tar(file: Path, index: Index) -> None:
    with tarfile.open(file, "r:") as archive:
        for member in _members(archive, index):
            name = index.tidy(member.name)
            if not name:
                continue
            if member.isdir():
                index.folders.append(name)
            elif member.isreg() and not member.issparse():
                index.add(name, (member.offset_data, member.size, member.size, STORED, -1))
            elif member.islnk() and (same := index.rows.get(index.tidy(member.linkname))) is not None:
                # A second name of a file that came before.
                index.add(name, (index.offset[same], index.stored[same], index.size[same], STORED, -1))
            else:
                index.refused.append((name, "unsafe-file", "a link, device or sparse file in an archive"))


def _members(archive: tarfile.TarFile, index: Index) -> Iterator[tarfile.TarInfo]:
    """Entries up to the end, or to where the archive is damaged."""
    following: Callable[[], tarfile.TarInfo | None] = archive.next
    count = 0
    while True:
        try:
            member = following()
        except (*_BROKEN, OSError) as error:
            if not count:
                raise
            index.refused.append(("", "not-an-archive", f"damaged after {count:,} entries: {error}"))
            return
        if member is None:
            break
        if member.size < 0:
            index.refused.append(("", "not-an-archive", f"damaged after {count:,} entries: a size below 0"))
            return
        archive.members.clear()  # type: ignore[attr-defined]  # ours is the only list of them
        count += 1
        yield member
    # A cut or overwritten header ends the list without a word; a whole archive ends with blocks of zeros.
    if (file := archive.fileobj) is None:
        return
    file.seek(archive.offset)
    if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        index.refused.append(("", "not-an-archive", f"damaged or cut after {count:,} entries"))
