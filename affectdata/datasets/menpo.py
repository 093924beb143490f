"""Menpo 2D benchmark: web faces, semi-frontal ones with 68 landmarks, profiles with 39 of an order of their own.

How to get it: the 2017 challenge package (trainset, testset; test points were never released with it), or the
re-release `Menpo2D` of MenpoBenchmark, whose texts also hold a detector's box and five points. Layout:
datasets/menpo.md.

The one public table from the 39 points to the 68 is partly wrong, so none is used: a profile is checked and stays
without landmarks. No document says whether coordinates start at 0 or 1, so none is shifted.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from affectdata.datasets.card import Card, Labelling, Option, ProtocolCard, Published
from affectdata.datasets.points import read_pts_of
from affectdata.datasets.reading import Block, Distribution, Folder, Reject, vectors
from affectdata.datasets.text import lines
from manifests.errors import DatasetError

KINDS = {68: "semifrontal", 39: "profile"}
"""Number of points -> kind of picture."""

_PICTURES = (".jpg", ".jpeg", ".png")
_SISTERS = ("multipie", "xm2vts", "cofw", "frgc")
_RULE = "68 points on semi-frontal faces, as released; the 39 of profiles are checked and left out"
_CHALLENGE, _RERELEASE = "challenge package of 2017", "MenpoBenchmark re-release (Menpo2D)"

CARD = Card(
    name="menpo",
    title="Menpo 2D benchmark",
    about="8,943 training and 7,281 test pictures, semi-frontal with 68 landmarks or in profile with 39; the box and "
    "five points of the re-release are a detector's output (RetinaFace), not ground truth",
    tasks=("landmarks",),
    labellings=(Labelling("human", unit={"landmarks": "frame"}, rule=_RULE, landmark_base="unknown (not shifted)"),),
    protocols=(ProtocolCard("official", ("human",), about="train and test as distributed, no validation set"),),
    licence="research only, pictures under their owners' terms",
    citation="Zafeiriou et al., The Menpo Facial Landmark Localisation Challenge, CVPR-W 2017; Deng et al., IJCV 2019",
    homepage="https://github.com/jiankangdeng/MenpoBenchmark",
    access=("download the package of the 2017 challenge, or Menpo2D of MenpoBenchmark", "unpack it"),
    looked_for=(
        "trainset with testset/{semifrontal,profile}",
        "Menpo2D/{Train,Test}/image/{semifrontal,profile} with annotation texts",
    ),
    tree="""trainset/**/*.jpg + .pts
testset/{semifrontal,profile}/*.jpg
or
Menpo2D/{Train,Test}/image/{semifrontal,profile}/*.jpg
Menpo2D/{Train,Test}/*.txt          path, box, five points, 68 or 39 landmarks""",
    published=(
        Published("train", {"": 8_943}, sure="one source"),
        Published("test", {"": 7_281}, sure="one source"),
    ),
    options=(Option("release", "which to read where both lie there", "", ("", "challenge", "menpo2d")),),
    unverified=(
        "base of the coordinates", "order of the 39 profile points", "corner order of the detector's box (checked)",
        "names of the texts, folders below trainset",
    ),
)  # fmt: skip


def find(folder: Folder) -> Distribution | None:
    """The challenge package or the re-release, wherever it was unpacked."""
    chosen = folder.options["release"]
    tops = {top: release for depth in range(2, 6) for top, release in _tops(folder, "/".join("*" * depth))}
    found = [top for top, release in tops.items() if not chosen or release == chosen]
    if not found:
        return None
    if len(found) > 1:
        raise DatasetError(f"{folder.root} holds Menpo more than once", found=", ".join(top or "." for top in found),
                           expected="one of them", then="affect ingest menpo PATH --release challenge (or menpo2d), "
                           "or name the folder of one")  # fmt: skip
    top, challenge = found[0], tops[found[0]] == "challenge"
    splits = {"train": _inside(folder, top, "train"), "test": _inside(folder, top, "test")}
    if challenge:
        notes = [path for path in folder.files.under(splits["train"]) if path.lower().endswith(".pts")]
    else:
        notes = [f"{base}/{name}" for base in splits.values() for name in folder.files.names(base, "*.txt")]
    rule = replace(CARD.labellings[0], rule=_RULE if challenge else f"{_RULE}; as corrected in the re-release")
    warnings = ("profiles stay without landmarks: their 39 points are no subset of the 68",)
    parts = {split: (base,) for split, base in splits.items()}
    return Distribution(folder, _CHALLENGE if challenge else _RERELEASE, tuple(notes), parts, warnings, (rule,))


def read(distribution: Distribution, reject: Reject) -> Iterator[Block]:
    """One Block per split."""
    for split, [base] in distribution.parts.items():
        if distribution.variant == _CHALLENGE:
            yield _read_package(distribution.folder, base, split, reject)
        else:
            yield _read_texts(distribution.folder, base, split, reject)


@dataclass
class _Rows:
    """Samples of one split as they are found."""

    release: str
    split: str
    keys: list[str] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    points: list[NDArray[np.float64] | None] = field(default_factory=list)
    detected: list[NDArray[np.float64] | None] = field(default_factory=list)

    def add(
        self, path: str, points: NDArray[np.float64] | None = None, detected: NDArray[np.float64] | None = None
    ) -> None:
        """One picture: its points [68 or 39, 2], and the detector's box and five points [14]."""
        folder = path.rpartition("/")[0].rpartition("/")[2].lower()
        kind = KINDS[len(points)] if points is not None else folder if folder in KINDS.values() else "unmarked"
        self.keys.append(f"{self.release}/{self.split}/{kind}/{unicodedata.normalize('NFC', _stem(path))}")
        self.paths.append(path)
        self.points.append(points)
        self.detected.append(detected)

    def block(self) -> Block:
        """The rows as columns; the 39 points of a profile are not among them."""
        marks = np.full((len(self.keys), 136), np.nan)
        seen = np.full((len(self.keys), 14), np.nan)
        for row, (points, detected) in enumerate(zip(self.points, self.detected, strict=True)):
            if points is not None and len(points) == 68:
                marks[row] = points.ravel()
            if detected is not None:
                seen[row] = detected
        split = pa.array([self.split] * len(self.keys), pa.string())
        samples = {
            "sample_id": pa.array(self.keys, pa.string()),
            "path": pa.array(self.paths, pa.string()),
            "split": split,
            "points5": vectors(seen[:, 4:]),
        }
        for column, edge in enumerate(("x1", "y1", "x2", "y2")):
            samples[f"box_{edge}"] = pa.array(seen[:, column].astype(np.float32), mask=np.isnan(seen[:, column]))
        return Block(pa.table(samples), {"human": pa.table({"landmarks": vectors(marks)})}, {"official": split})


def _read_package(folder: Folder, base: str, split: str, reject: Reject) -> Block:
    """Pictures and `.pts` files below one folder of the challenge package, paired by path; test has no points."""
    rows = _Rows("challenge", split)
    files = folder.files.under(base)
    points = {path.rpartition(".")[0]: path for path in files if path.lower().endswith(".pts")}
    for path in (path for path in files if path.lower().endswith(_PICTURES)):
        where = points.pop(path.rpartition(".")[0], None)
        found = folder.parsed(where, read_pts_of, where, reject, counts=tuple(KINDS)) if where else None
        rows.add(path, found)
    reject.many(points.values(), "missing-image", ("no picture of this name" for _ in points))
    return rows.block()


def _read_texts(folder: Folder, base: str, split: str, reject: Reject) -> Block:
    """All texts of one split of the re-release, and the pictures that no text lists."""
    rows = _Rows("menpo2d", split)
    for name in folder.files.names(base, "*.txt"):
        about = f"{base}/{name}"
        for file, detected, points in folder.parsed(about, text_lines, about, reject):
            tops = (f"{base}/image/{file}", f"{base}/image/{KINDS[len(points)]}/{file}", f"{base}/{file}")
            rows.add(next((path for path in tops if path in folder.files), tops[0]), points, detected)
    listed = set(rows.paths)
    for path in folder.files.under(f"{base}/image"):
        if path.lower().endswith(_PICTURES) and path not in listed:
            rows.add(path)
    return rows.block()


def text_lines(
    data: bytes, about: str, reject: Reject
) -> Iterator[tuple[str, NDArray[np.float64] | None, NDArray[np.float64]]]:
    """Picture, detector's box and five points [14] (None where the box is none), and landmarks [N, 2] of each line."""
    # semifrontal/0001.jpg 101.2 88.0 240.9 260.4 140.1 150.2 200.3 149.8 ... 98.250000 140.500000 ...
    # path, box x1 y1 x2 y2 [unverified], five points, 68 or 39 landmarks: 151 or 93 fields
    for number, line in lines(data):
        where, (file, *cells) = f"{about} line {number}", line.split() or [""]
        if len(cells) - 14 not in (2 * 68, 2 * 39):
            reject(where, "bad-field-count", f"{len(cells) + 1} fields, expected 151 or 93: {line:.80}")
            continue
        try:
            values = np.array([float(cell) for cell in cells])
        except ValueError:
            values = np.full(len(cells), np.nan)
        if not np.isfinite(values).all() or np.abs(values).max() > 1e6:
            reject(where, "bad-number", f"{line:.80}")
            continue
        box, middle = values[:4], values[4:14].reshape(5, 2).mean(axis=0)
        # Corners in another order, or a width and a height, would not lie around the five points.
        around = bool((box[:2] < middle).all() and (middle < box[2:]).all())
        if not around:
            reject(where, "bad-box", f"x1 y1 x2 y2 {box} do not lie around the five points")
        yield file, values[:14] if around else None, values[14:].reshape(-1, 2)


def _tops(folder: Folder, pattern: str) -> Iterator[tuple[str, str]]:
    """Folders that hold a release, and which; those of sister sets are passed over."""
    for path in folder.files.folders(pattern):
        *above, split, kind = path.split("/")
        if kind.lower() not in KINDS.values():
            continue
        challenge = split.lower() in ("trainset", "testset")
        rerelease = split.lower() == "image" and bool(above) and above[-1].lower() in ("train", "test")
        top = above if challenge else above[:-1]
        texts = " ".join(folder.files.names("/".join(above), "*.txt"))
        sister = any(name in "/".join((folder.root.name, *top, texts)).lower() for name in _SISTERS)
        pictures = any(name.lower().endswith(_PICTURES) for name in folder.files.names(path))
        if (challenge or rerelease) and pictures and not sister and len(top) <= 2:
            yield "/".join(top), "challenge" if challenge else "menpo2d"


def _inside(folder: Folder, top: str, split: str) -> str:
    """The folder `trainset` or `Train` below a folder, as it is spelled there."""
    below = f"{top}/" if top else ""
    found = [f for name in (f"{split}set", split) for f in folder.files.folders(name, top)]
    return found[0] if found else f"{below}{split}"


def _stem(path: str) -> str:
    return path.rpartition("/")[2].rpartition(".")[0]
