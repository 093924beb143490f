"""The pictures of BP4D and BP4D+: F001/T1/0000.jpg, unpacked or in the zip of a person, by number, never by padding."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from affectdata.datasets.bp4d_tree import PLUS_FOLDERS, Sequence
from affectdata.datasets.listing import Listing
from affectdata.datasets.reading import Folder, Reject
from manifests.errors import DatasetError

_FOLDER = re.compile(r"(?i)(?:^|/)([FM]\d{3})/T(\d{1,2})$")
_RAR = re.compile(r"(?i)^[FM]\d{3}\.rar$")
_PICTURE = (".jpg", ".jpeg", ".png", ".bmp")
_NUMBER = re.compile(r"^\d{1,6}$")
_Key = TypeVar("_Key")


@dataclass(frozen=True)
class Pictures:
    """Pictures of one sequence.

    Args:
        names: Number of a picture -> file name.
        folder: Where they lie.
    """

    names: Mapping[int, str] = field(default_factory=dict)
    folder: str = ""

    def path(self, number: int) -> str:
        """Path of a picture; of a missing one, where it would be."""
        digits = len(next(iter(self.names.values()), "0000.").rpartition(".")[0])
        return f"{self.folder}/{self.names.get(number, f'{number:0{digits}d}.jpg')}"


@dataclass(frozen=True)
class Places:
    """Where the pictures of a tree lie.

    Args:
        folders: Sequence -> folder.
        unread: Archives that nothing here reads.
    """

    folders: Mapping[Sequence, str]
    unread: tuple[str, ...] = ()


def places(files: Listing, last_task: int) -> Places:
    """Folders that hold pictures of a sequence; the engine lists those in zips as if they were unpacked.

    Raises:
        DatasetError: Two copies of one sequence.
    """
    folders: dict[Sequence, str] = {}
    unread: list[str] = []
    for path in files.tree():
        match = _FOLDER.search(path)
        other = not PLUS_FOLDERS.isdisjoint(path.lower().split("/"))
        if match and not other and 1 <= int(match[2]) <= last_task and any(map(_is_picture, files.names(path))):
            _once(folders, (match[1].upper(), int(match[2])), path)
        unread += [f"{path}/{name}".lstrip("/") for name in files.names(path) if _RAR.match(name)]
    return Places(folders, tuple(unread))


def counted_from_zero(files: Listing, where: Places) -> list[str]:
    """Folders with a picture of number 0: there AU frame 1 may be picture 0 or 1."""
    return sorted(
        path
        for path in where.folders.values()
        if any(not stem.strip("0") for name in files.names(path) if _is_picture(name) and (stem := _stem(name)))
    )


def in_folder(folder: Folder, path: str, reject: Reject) -> Pictures:
    """Pictures of a folder, by number."""
    return Pictures(_numbered(filter(_is_picture, folder.files.names(path)), path, reject), path)


def _numbered(names: Iterable[str], about: str, reject: Reject) -> dict[int, str]:
    # 0000.jpg, 000.jpg and 187.jpg all occur
    found: dict[int, str] = {}
    for name in names:
        stem = _stem(name)
        if not stem:
            reject(f"{about}/{name}", "bad-name", "expected the number of a frame")
        elif int(stem) in found:
            reject(f"{about}/{name}", "duplicate-key", f"{found[int(stem)]} has that number too")
        else:
            found[int(stem)] = name
    return found


def _stem(name: str) -> str:
    stem = name.rpartition("/")[2].rpartition(".")[0]
    return stem if _NUMBER.match(stem) and stem.isascii() else ""


def _is_picture(name: str) -> bool:
    return name.lower().endswith(_PICTURE)


def _once(found: dict[_Key, str], key: _Key, path: str) -> None:
    if key in found:
        raise DatasetError(
            "pictures lie there twice",
            found=f"{found[key]} and {path}",
            expected="one copy",
            then="name a folder that holds one copy, or move the other away",
        )
    found[key] = path
