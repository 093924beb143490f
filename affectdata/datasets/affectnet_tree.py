"""Where AffectNet's releases lie below a root: by structure, not by folder name (datasets page, section 1)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from affectdata.datasets.affectnet_csv import Part, first_paths
from affectdata.datasets.affectnet_items import Half
from affectdata.datasets.reading import Folder
from manifests.errors import DatasetError

_DEEPEST = 4
_AUTOMATIC = "automatically_annotated.csv"
_LISTS = {
    "training.csv": ("train", "manual/train", "manually_annotated_images"),
    "validation.csv": ("val", "manual/val", "manually_annotated_images"),
    _AUTOMATIC: ("extra", "automatic", "automatically_annotated_images"),
}
"""CSV -> split, first part of the sample_id, folder of its pictures in lower case."""

_NPY = {"train_set": ("train", "npy/train"), "val_set": ("val", "npy/val")}
_PLUS = {
    "human_annotated/train_set": ("train", "plus/train"),
    "human_annotated/validation_set": ("val", "plus/val"),
    "no_human_annotated": ("extra", "plus/extra"),
}
_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff")
_REPACKED = re.compile(r"([0-9a-f]{56}|[0-9]+)\.[A-Za-z]+")
"""Names in class folders: hashes, npy ids or a fresh counter [verified 3]."""


@dataclass(frozen=True)
class ClassFolder:
    """A folder `<split>/<code>` of a re-pack and the pictures in it."""

    path: str
    split: str
    code: int
    names: tuple[str, ...]


def csv_files(folder: Folder) -> dict[str, str]:
    """Name of a list -> its path, for the lists of AffectNet that are there.

    Raises:
        DatasetError: Two lists of one name differ.
    """
    found: dict[str, str] = {}
    places = ["", *(place for deep in _deeper() for place in folder.files.folders(f"{deep}*"))]
    for name in _LISTS:
        paths = [path for path in (_inside(place, name) for place in places) if path in folder.files]
        paths = [path for path in paths if b"subDirectory_filePath" in folder.head(path).partition(b"\n")[0]]
        if len({(folder.files.size(path), folder.head(path)) for path in paths}) > 1:
            raise _several(folder, paths, f"one {name}", "move all but one elsewhere")
        if paths:
            found[name] = paths[0]
    return found


def npy_halves(folder: Folder) -> list[Half]:
    """Splits of the npy release."""
    return list(_halves(folder, _NPY, "*_exp.npy"))


def plus_halves(folder: Folder) -> list[Half]:
    """Splits of AffectNet+."""
    return list(_halves(folder, _PLUS, "*.json"))


def _halves(folder: Folder, tails: dict[str, tuple[str, str]], pattern: str) -> Iterator[Half]:
    for tail, (split, key) in tails.items():
        places = [place for deep in _deeper() for place in folder.files.folders(f"{deep}{tail}/annotations")]
        places = [place.rpartition("/")[0] for place in places if folder.files.names(place, pattern)]
        if len(places) > 1:
            raise _several(folder, places, f"one {tail}", "name the folder above the one that is meant")
        yield from (Half(place, split, key) for place in places)


def with_rows(halves: list[Half], lists: dict[str, str]) -> list[Half]:
    """The halves with the list of their split, where it lies beside: its row numbers are their ids."""
    rows = {_LISTS[name][0]: path for name, path in lists.items() if name != _AUTOMATIC}
    return [replace(half, rows=rows.get(half.split, "")) for half in halves]


def class_folders(folder: Folder) -> list[ClassFolder]:
    """Folders `train/<0-7>` and the like with pictures, where 0 and 7 are among them; third parties make them."""
    for deep in _deeper():
        paths = [p for s in ("train", "val", "test") for p in folder.files.folders(f"{deep}{s}/[0-7]")]
        found = [_class_folder(folder, path) for path in paths]
        trained = {f.code for f in found if f.split != "test" and any(map(_REPACKED.fullmatch, f.names))}
        if {0, 7} <= trained:
            return [place for place in found if place.names]
    return []


def _class_folder(folder: Folder, path: str) -> ClassFolder:
    names = tuple(name for name in folder.files.names(path) if name.lower().endswith(_SUFFIXES))
    return ClassFolder(path, path.split("/")[-2].lower(), int(path[-1]), names)


def parts_of(folder: Folder, lists: dict[str, str]) -> tuple[list[Part], list[str]]:
    """Lists with their pictures, and those whose pictures are not there.

    Raises:
        DatasetError: No pictures at all, or several folders that could be meant.
    """
    found, without = [], []
    numbered = _numbered(folder)
    for name, path in lists.items():
        split, key, usual = _LISTS[name]
        place = _pictures(folder, path, usual, numbered)
        if place is None:
            without.append(path)
        else:
            found.append(Part(path, *place, split, key, human=key != "automatic"))
    if not found:
        raise DatasetError(
            f"the pictures of {' and '.join(lists.values())} are not in {folder.root}",
            found=folder.files.sketch(),
            expected="Manually_Annotated_Images/<number>/<56 hex digits>.jpg, at any depth",
            then="unpack Manually_Annotated.part1.rar (all parts) there, or name their folder: --images FOLDER",
        )
    return found, without


def _pictures(folder: Folder, path: str, usual: str, numbered: list[str]) -> tuple[str, bool] | None:
    """The folder of a list's pictures, and whether they lie in it without numbered folders."""
    paths = first_paths(folder.head(path))
    chosen = folder.options.get("images", "").strip("/")
    if chosen:
        return (chosen, chosen not in numbered) if folder.files.under(chosen) else None
    named = [place for place in numbered if place.rpartition("/")[2].lower() == usual]
    bare = [name.rpartition("/")[2] for name in paths]
    anywhere = ["", *(place for deep in _deeper() for place in folder.files.folders(f"{deep}*"))]
    for places, names in ((named, paths), (numbered, paths), (anywhere, bare)):
        holding = [place for place in places if _holds(folder, place, names)]
        if len(holding) > 1:
            raise _several(folder, holding, f"one folder with the pictures of {path}", "name it: --images FOLDER")
        if holding:
            return holding[0], names is bare
    # A partial copy may hold none of the first pictures.
    return (named[0], False) if len(named) == 1 else None


def _holds(folder: Folder, place: str, paths: Iterable[str]) -> bool:
    for path in paths:
        stem, dot, suffix = path.rpartition(".")
        spellings = (path, f"{stem}{dot}{suffix.lower()}", f"{stem}{dot}{suffix.upper()}")
        if any(_inside(place, spelling) in folder.files for spelling in spellings):
            return True
    return False


def _numbered(folder: Folder) -> list[str]:
    """Folders that hold folders with decimal names."""
    inner = [place for deep in _deeper() for place in folder.files.folders(f"{deep}[0-9]*")]
    return sorted({place.rpartition("/")[0] for place in inner if place.rpartition("/")[2].isdecimal()})


def _inside(place: str, name: str) -> str:
    return f"{place}/{name}" if place else name


def _deeper() -> list[str]:
    return ["*/" * depth for depth in range(_DEEPEST + 1)]


def _several(folder: Folder, places: list[str], expected: str, then: str) -> DatasetError:
    return DatasetError(f"affectnet at {folder.root} is ambiguous", found=" and ".join(places), expected=expected,
                        then=then)  # fmt: skip
