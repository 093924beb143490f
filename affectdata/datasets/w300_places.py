"""Where in 300-W a picture stands: subset, literature split, name, and the photograph it was cut from."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from affectdata.datasets.reading import Block, vectors

SPLITS = {
    "afw": "train",
    "helen/trainset": "train",
    "lfpw/trainset": "train",
    "helen/testset": "common",
    "lfpw/testset": "common",
    "ibug": "challenging",
    "01_Indoor": "test",
    "02_Outdoor": "test",
}
"""Folder of a subset -> its part in the literature [verified 5]."""

ROLES = {
    "full": {"train": "train", "common": "test", "challenging": "test"},
    "common": {"train": "train", "common": "test"},
    "challenging": {"train": "train", "challenging": "test"},
    "private": {"train": "train", "common": "train", "challenging": "val", "test": "test"},
}
"""Protocol -> split -> role; a split that is not named takes no part."""

MIRRORED = "_mirror"
"""End of the stems of dlib's mirrored copies, which are no pictures of their own [verified 4]."""

_FOLDERS = {name.lower(): name for name in SPLITS}
_FACE = re.compile(r"^(.*\d.*)_\d{1,2}$")


def subset_of(folder: str) -> str | None:
    """The subset whose pictures a folder holds by its name, whatever lies above it."""
    parts = folder.lower().split("/")
    return _FOLDERS.get("/".join(parts[-2:])) or _FOLDERS.get(parts[-1])


def plain(stem: str) -> str:
    """A picture's name as all packages agree on it: composed letters, and `image_092 _01` without its blank."""
    return unicodedata.normalize("NFC", stem).replace(" _", "_")


@dataclass(frozen=True)
class Place:
    """One picture: the subset it belongs to and its plain name."""

    subset: str
    name: str

    @property
    def key(self) -> str:
        """`helen/trainset/100032540_1`."""
        return f"{self.subset}/{self.name}"

    @property
    def split(self) -> str:
        """train, common, challenging or test."""
        return SPLITS[self.subset]

    @property
    def group(self) -> str:
        """The photograph: `134212_1` and `134212_2` are two faces of 134212, `image_0001` and `indoor_001` are one."""
        photo = _FACE.match(self.name)
        return f"w300:{self.subset.partition('/')[0]}/{photo[1] if photo else self.name}"


def place_of(path: str) -> Place | None:
    """The place of a picture by its path, or None for one outside every subset."""
    folder, _, file = path.replace("\\", "/").rpartition("/")
    subset = subset_of(folder)
    return Place(subset, plain(file.rpartition(".")[0])) if subset else None


def block_of(
    places: Sequence[Place], paths: Sequence[str], points: NDArray[np.floating], boxes: NDArray[np.floating]
) -> Block:
    """Samples, landmarks and roles of some pictures.

    Args:
        places: N of them.
        paths: Their files, relative to the root.
        points: [N, 68, 2]; NaN is unknown.
        boxes: x1, y1, x2, y2 [N, 4]; NaN is unknown.
    """
    splits = [place.split for place in places]
    samples = {
        "sample_id": pa.array([place.key for place in places], pa.string()),
        "path": pa.array(paths, pa.string()),
        "split": pa.array(splits, pa.string()),
        "group_id": pa.array([place.group for place in places], pa.string()),
    }
    for edge, values in zip(("x1", "y1", "x2", "y2"), boxes.reshape(-1, 4).T, strict=True):
        samples[f"box_{edge}"] = pa.array(values.astype(np.float32), mask=np.isnan(values))
    roles = {name: pa.array([of.get(split) for split in splits], pa.string()) for name, of in ROLES.items()}
    labels = pa.table({"landmarks": vectors(points.reshape(len(places), 136))})
    return Block(pa.table(samples), {"human": labels}, roles)
