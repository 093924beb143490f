"""Archives shown as if they were unpacked where they lie, as an archive manager's "extract here" does it.

A zip or uncompressed tar whose entries share one top folder, or that holds one file, opens in place; any other opens
into a folder of its own name. A real file wins over an entry of the same path. Other archives cannot be read at
random: they are named, so that somebody unpacks them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from affectdata.archive_index import Index
from affectdata.archives import READABLE, archive
from manifests.errors import MediaError

Folders = dict[str, dict[str, int]]
"""Folder -> file name -> bytes."""

_OTHERS = (".gz", "bz2", ".xz", "zst", "tgz", "tbz", "txz", "rar", ".7z", "001", "z01")
"""Last three letters of archives that cannot be read at random, or of their first volume."""

_NAMED = 5


@dataclass
class Mounts:
    """What the archives of a tree added to its list of files.

    Attributes:
        archives: Path of each archive, and the folder in which its entries appear.
        owners: Folder -> file name -> number of the archive that holds it.
        indexes: Directory of each archive.
        refused: Where, reject code, detail.
        unreadable_names: Of entries, escaped.
        warnings: What the user should know.
    """

    archives: list[tuple[str, str]] = field(default_factory=list)
    owners: dict[str, dict[str, int]] = field(default_factory=dict)
    indexes: list[Index] = field(default_factory=list)
    refused: list[tuple[str, str, str]] = field(default_factory=list)
    unreadable_names: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def origin(self, path: str) -> tuple[str, str] | None:
        """Archive and entry of a listed path, or None for a real file."""
        folder, _, name = path.rpartition("/")
        number = self.owners.get(folder, {}).get(name)
        if number is None:
            return None
        file, base = self.archives[number]
        return file, path[len(base) + 1 :] if base else path

    def differs(self, folder: str, name: str, crc: int) -> bool:
        """Whether a listed file is an entry of a zip with another checksum than this one; of others nobody can say."""
        if (found := self.origin(f"{folder}/{name}" if folder else name)) is None:
            return False
        theirs = self.indexes[self.owners[folder][name]].place(found[1])[4]
        return crc >= 0 and theirs >= 0 and crc != theirs


def mount(root: Path, folders: Folders) -> Mounts:
    """Open every archive of a tree into its list of files; the archives themselves leave the list."""
    mounts = Mounts()
    # Asked of every file of the tree: hence three letters and no pattern.
    ends = frozenset((*_OTHERS, *(end[1:] for end in READABLE)))
    found = [(folder, name) for folder, names in folders.items() for name in names if name[-3:].lower() in ends]
    paths = sorted(f"{folder}/{name}" if folder else name for folder, name in found)
    readable = [path for path in paths if path.lower().endswith(READABLE)]
    others = [path for path in paths if _is_other(path)]
    if readable:
        unpacked = _Unpacked(folders)
        for path in readable:
            folder, _, name = path.rpartition("/")
            try:
                index = archive(root / path).index
            except MediaError as error:
                mounts.refused.append((path, error.reason, error.detail))
                mounts.warnings.append(f"{path} is not read: {error.detail}")
            else:
                _open_into(folders, mounts, path, index, unpacked)
            del folders[folder][name]
    if others:
        mounts.warnings.append(
            f"{_some(others)} cannot be read in place: unpack it first, unless what it holds lies here already"
        )
    return mounts


def _open_into(folders: Folders, mounts: Mounts, path: str, index: Index, unpacked: _Unpacked) -> None:
    for name, reason, detail in index.refused:
        mounts.refused.append((f"{path}:{name}" if name else path, reason, detail))
        if not name:
            mounts.warnings.append(f"{path}: {detail}")
    mounts.unreadable_names += [f"{path}:{name}" for name in index.unreadable_names]
    inside = _folder_of_its_own(path, index)
    if there := unpacked.place(index, inside):
        mounts.warnings.append(f"{path} is not read: what it holds lies unpacked in {there}")
        return
    base = "/".join(part for part in (path.rpartition("/")[0], inside) if part)
    prefix, number = f"{base}/" if base else "", len(mounts.archives)
    mounts.archives.append((path, base))
    differ = same = 0
    for folder in index.folders:
        folders.setdefault(prefix + folder, {})
    for entry, row in index.rows.items():
        folder, _, name = (prefix + entry).rpartition("/")
        size, names = index.size[row], folders.setdefault(folder, {})
        if name in names:
            is_same = names[name] == size and not mounts.differs(folder, name, index.crc[row])
            same, differ = same + is_same, differ + (not is_same)
            continue
        names[name] = size
        mounts.owners.setdefault(folder, {})[name] = number
    mounts.indexes.append(index)
    if same:
        mounts.warnings.append(f"{path}: {same:,} entries are not read: files of their names and sizes lie there")
    if differ:
        mounts.warnings.append(f"{path}: {differ:,} entries are not read: other files of their names lie there")
    if nested := [name for name in index.rows if name.lower().endswith(READABLE) or _is_other(name)]:
        mounts.warnings.append(f"{path} holds archives, which cannot be read inside it: unpack it ({_some(nested)})")


def _folder_of_its_own(path: str, index: Index) -> str:
    """The folder that unpacking would make for the entries; empty: they already have one."""
    tops = {name.partition("/")[0] for names in (index.rows, index.folders) for name in names}
    loose = any("/" not in name for name in index.rows)
    if len(index.rows) == 1 or (len(tops) == 1 and not loose):
        return ""
    return path.rpartition("/")[2].rpartition(".")[0]


class _Unpacked:
    """The real folders of a tree by their last name, to find where an archive was unpacked already."""

    def __init__(self, folders: Folders) -> None:
        self._real = {folder: dict(names) for folder, names in folders.items()}
        self._by_name: dict[str, list[str]] = {}
        for folder in self._real:
            self._by_name.setdefault(folder.rpartition("/")[2], []).append(folder)

    def place(self, index: Index, inside: str) -> str:
        """The folder that holds every entry as a file of its size, or nothing."""
        prefix = f"{inside}/" if inside else ""
        first = next(iter(index.rows), "")
        parent = (prefix + first).rpartition("/")[0]
        if not first or not parent:
            return ""
        for folder in sorted(self._by_name.get(parent.rpartition("/")[2], ())):
            if folder != parent and not folder.endswith(f"/{parent}"):
                continue
            above = folder[: len(folder) - len(parent)]
            if all(self._holds(above + prefix + name, index.size[row]) for name, row in index.rows.items()):
                return folder
        return ""

    def _holds(self, path: str, size: int) -> bool:
        folder, _, name = path.rpartition("/")
        return self._real.get(folder, {}).get(name) == size


def _is_other(path: str) -> bool:
    end = path[-3:].lower()
    # Frames may be numbered instead of named: only the first volume of an archive ends so.
    return end in _OTHERS and (not end.isdigit() or path[-7:-4].lower() in ("zip", "tar", ".7z"))


def _some(names: list[str]) -> str:
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else "")
