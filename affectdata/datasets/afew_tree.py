"""Which folder of an AFEW tree holds what: clips by class, aligned faces by clip, or frames that a user dumped."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from affectdata.datasets.afew_films import CLASSES, CLIP_ID
from affectdata.datasets.reading import Folder

PICTURES = (".jpg", ".jpeg", ".png")

_SPLIT = re.compile(r"(train|val|test)(_afew)?")
# The archive of one split is found beside another's; its own name tells [one source].
_ARCHIVE = re.compile(r"alignedfaces_lbptop_points(?:_(train|val|test))?|(train|val|test)_aligned_faces")
_DUMPS = {"face": "faces", "frame": "frames"}


@dataclass(frozen=True)
class Place:
    """One folder that holds clips or pictures.

    Args:
        path: Relative path.
        kind: clips, faces, or frames.
        split: train, val or test.
        label: The class folder as written, None where the layout has none there.
        clip: The clip whose pictures these are; None for a folder of clips.
        released: Laid out as in the release, rather than dumped or sorted again by a user.
    """

    path: str
    kind: str
    split: str
    label: str | None
    clip: str | None
    released: bool = True

    @property
    def expression(self) -> str | None:
        """The class of the folder by name."""
        return CLASSES.get(self.label.lower()) if self.label else None


def place_of(path: str, root: str = "") -> Place | None:
    """What a folder holds by its path alone; None for folders that no AFEW tree has.

    Args:
        path: Relative path.
        root: Name of the dataset's folder: users also name a split's folder itself.
    """
    split: str | None = None
    kind, dump = "clips", ""
    rest: list[str] = []
    for part in (root, *path.split("/")):
        name = part.lower()
        if found := _SPLIT.fullmatch(name):
            split, rest = found[1], []
        elif found := _ARCHIVE.fullmatch(name):
            split, kind, rest = found[1] or found[2] or split, "faces", []
        elif name in _DUMPS and split is None:
            dump = _DUMPS[name]
        elif kind == "faces" and name in ("lbptop", "points"):
            return None
        elif split and (rest or name != ("faces" if kind == "faces" else "videos")):
            rest.append(part)
    if split is None:
        return None
    match (kind, rest):
        case ("clips", [] | [_]):
            return Place(path, kind, split, rest[0] if rest else None, None)
        case ("clips", [label, clip]) if dump or CLIP_ID.fullmatch(clip):
            return Place(path, dump or "frames", split, label, clip, released=False)
        case ("clips", _):
            # Clips deeper than the layout has them: the label is no class, so they are refused and not lost.
            return Place(path, kind, split, "/".join(rest), None)
        case ("faces", [clip]):
            return Place(path, kind, split, None, clip)
        case ("faces", [label, clip]):
            return Place(path, kind, split, label, clip, released=False)
    return None


def split_folders(folder: Folder) -> list[str]:
    """The outermost folders that carry a split's name, at most three deep; the root itself is the empty path."""
    if _is_split(folder.root.name):
        return [""]
    named = [path for depth in ("*", "*/*", "*/*/*") for path in folder.files.folders(depth)]
    named = [path for path in named if _is_split(path.rpartition("/")[2])]
    return [path for path in named if not any(path.startswith(f"{other}/") for other in named)]


def places(folder: Folder, tops: list[str]) -> list[Place]:
    """Every folder below `tops` that holds clips or pictures, sorted by path."""
    paths = set(tops) | {
        path for top in tops for depth in range(1, 6) for path in folder.files.folders("/".join("*" * depth), top)
    }
    found = (place_of(path, folder.root.name) for path in sorted(paths))
    return [place for place in found if place and next(_names(folder, place), None)]


def contents(folder: Folder, place: Place) -> list[str]:
    """Names of the clips or pictures in a folder; whatever else lies there is passed over."""
    return sorted(_names(folder, place))


def is_afew(folder: Folder, place: Place) -> bool:
    """Whether a folder is AFEW's by its nine-digit clip names."""
    if place.clip is not None:
        return CLIP_ID.fullmatch(place.clip) is not None and (place.label is None or place.expression is not None)
    if place.expression is None and (place.label is not None or place.split != "test"):
        return False
    return any(CLIP_ID.fullmatch(name[:-4]) for name in _names(folder, place))


def _names(folder: Folder, place: Place) -> Iterator[str]:
    ends = (".avi",) if place.kind == "clips" else PICTURES
    for name in folder.files.unsorted_names(place.path):
        if name.lower().endswith(ends) and name[0] != ".":
            yield name


def _is_split(name: str) -> bool:
    return bool(_SPLIT.fullmatch(name.lower()) or _ARCHIVE.fullmatch(name.lower()))
