"""Which folder of an SFEW tree holds pictures, of which split and class, aligned or not."""

from __future__ import annotations

import re
from dataclasses import dataclass

from affectdata.datasets.afew_films import CLASSES
from affectdata.datasets.reading import Folder

NAME = r"^(?P<movie>.+)_(?P<time>[0-9]{9})_(?P<frame>[0-9]{8})$"
"""Airheads_000519240_00000005: read from the right, because films have underscores and digits [verified 3]."""

PICTURES = (".png", ".jpg", ".jpeg")

_SPLIT = re.compile(r"(train|val|test)(_.*)?")
_ALIGNED = re.compile(r".*_aligned_faces.*")
_SFEW_NAME = re.compile(NAME)


@dataclass(frozen=True)
class Place:
    """One folder of pictures.

    Args:
        path: Relative path.
        kind: aligned, original, or repack.
        split: train, val or test.
        label: Name of the folder below the split's, None where the pictures lie in the split's own.
        archive: Name of the aligned archive, lower case; empty for other kinds.
    """

    path: str
    kind: str
    split: str
    label: str | None
    archive: str = ""

    @property
    def expression(self) -> str | None:
        """The class of the folder by name."""
        return CLASSES.get(self.label.lower()) if self.label else None

    @property
    def known(self) -> bool:
        """Whether the label is that of a class folder, or rightly absent as in test."""
        return (self.label is None) if self.split == "test" else self.expression is not None


def place_of(path: str, root: str = "") -> Place | None:
    """What a folder holds by its path alone; None outside of a split, and for side files."""
    split, archive, kind = "", "", ""
    rest: list[str] = []
    for part in (root, *path.split("/")):
        name = part.lower()
        if name in ("__macosx", "annotations"):
            return None
        if found := _SPLIT.fullmatch(name):
            split, rest = found[1], []
            archive = name if _ALIGNED.fullmatch(name) else archive
        elif split and name == "imgs" and not rest:
            kind = "repack"
        elif split and part:
            rest.append(part)
    if not split:
        return None
    return Place(path, kind or ("aligned" if archive else "original"), split, rest[-1] if rest else None, archive)


def places(folder: Folder) -> list[Place]:
    """Every folder of pictures below a split's folder, sorted by path."""
    if _SPLIT.fullmatch(folder.root.name.lower()):
        tops = [""]
    else:
        named = [path for depth in ("*", "*/*", "*/*/*") for path in folder.files.folders(depth)]
        named = [path for path in named if _SPLIT.fullmatch(path.rpartition("/")[2].lower())]
        tops = [path for path in named if not any(path.startswith(f"{other}/") for other in named)]
    below = {p for top in tops for depth in range(1, 5) for p in folder.files.folders("/".join("*" * depth), top)}
    found = (place_of(path, folder.root.name) for path in sorted({*tops, *below}))
    return [place for place in found if place and any(map(_is_picture, folder.files.unsorted_names(place.path)))]


def pictures(folder: Folder, path: str) -> list[str]:
    """Names of the pictures in a folder; lists, Thumbs.db and hidden files are passed over."""
    return sorted(filter(_is_picture, folder.files.unsorted_names(path)))


def _is_picture(name: str) -> bool:
    return name.lower().endswith(PICTURES) and name[0] != "."


def is_sfew(folder: Folder, place: Place) -> bool:
    """Whether a folder is SFEW's by its class or split, and by a picture named after film, time and frame."""
    names = filter(_is_picture, folder.files.unsorted_names(place.path))
    return place.known and any(_SFEW_NAME.match(name.rpartition(".")[0]) for name in names)
