"""Twin of AffectNet: the CSVs, the npy release, AffectNet+ and a class-folder re-pack (datasets/affectnet.md).

    manual      Manually_Annotated_file_lists/{training,validation}.csv   Manually_Annotated_Images/<dir>/<hash>.<ext>
    nested      Manually_Annotated/{*.csv, Manually_Annotated_Images/Manually_Annotated_Images/...}; a `#` before the
                first column name, a byte order mark, CRLF, `-2.000000` (a re-saved copy, unpacked by a Windows tool)
    automatic   Automatically_annotated_file_list/automatically_annotated.csv   Automatically_Annotated_Images/...
    both        manual and automatic side by side
    flat        training.csv and validation.csv at the root, all pictures in one folder
    npy         train_set, val_set: images/<id>.jpg, annotations/<id>_{exp,val,aro,lnd}.npy, labels kept as text
    npy-float   the same as numbers
    plus        AffectNet+: human_annotated/{train_set,validation_set}, no_human_annotated, one JSON per picture
    folders     {train,val}/<0-7>/<hash>.jpg

Quirks (7): the NULL box, a negative width, a box that leaves the picture, a suffix whose case differs, a TIFF that
nobody decodes, a truncated and a missing picture, two rows of one picture, Thumbs.db, an unknown code, a rating out of
range, a landmark cell of 135 numbers; of npy: gaps in the ids, a pickled file, a missing sibling, a cached
affectnet.csv, a test_set of third parties; of AffectNet+: human-label absent, null and -1, 8-10, no soft label.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from affectdata.synthetic.affectnet_items import write_npy, write_plus
from affectdata.synthetic.affectnet_rows import (
    CLASSES,
    HEADER,
    Row,
    affect_of,
    box_of,
    draw_rows,
    line_of,
    name_in_list,
    rounded,
)
from affectdata.synthetic.face import draw_parameters, render
from affectdata.synthetic.files import write_lines, write_picture
from affectdata.synthetic.truth import Annotation, LabelTruth, RejectTruth, RoleTruth, SampleTruth, Truth

DATASET = "affectnet"
VARIANTS = ("manual", "nested", "automatic", "both", "flat", "npy", "npy-float", "plus", "folders")

_FACES = 16
"""Faces that are drawn; rows share them."""

_DRAWN = (*CLASSES[:7], "happily_disgusted")
"""The painter knows no contempt; a mixed smile stands for it."""


def write(root: Path, *, samples: int, seed: int, variant: str = VARIANTS[0]) -> Truth:
    """Write the tree under `root`: four fifths of `samples` in training, one fifth in validation."""
    rng = np.random.default_rng(seed)
    side = 96 if variant not in ("npy", "npy-float", "plus") else 224
    faces = [render(draw_parameters(rng, _DRAWN[n % len(_DRAWN)]), side) for n in range(_FACES)]
    # The npy release leaves out three codes of eleven.
    samples = samples * 11 // 8 if variant.startswith("npy") else samples
    validated = samples // 5
    train = draw_rows(rng, faces, samples - validated, with_quirks=True)
    val = draw_rows(rng, faces, validated, with_quirks=False)
    match variant:
        case "npy" | "npy-float":
            return write_npy(root, train, val, variant)
        case "plus":
            return write_plus(root, train, val)
        case "folders":
            return _write_folders(root, train, val)
        case "automatic":
            return _write_lists(root, {"extra": [*train, *_shifted(val, len(train))]}, variant)
        case "both":
            extra = draw_rows(rng, faces, samples // 3, with_quirks=False)
            return _write_lists(root, {"train": train, "val": val, "extra": extra}, variant)
    return _write_lists(root, {"train": train, "val": val}, variant)


def _shifted(rows: list[Row], by: int) -> list[Row]:
    return [replace(row, number=row.number + by) for row in rows]


_PLACES = {
    "manual": ("Manually_Annotated_file_lists", "Manually_Annotated_Images"),
    "both": ("Manually_Annotated_file_lists", "Manually_Annotated_Images"),
    "nested": ("Manually_Annotated", "Manually_Annotated/Manually_Annotated_Images/Manually_Annotated_Images"),
    "flat": (".", "faces"),
}
_AUTOMATIC = ("Automatically_annotated_file_list", "Automatically_Annotated_Images")
_LISTS = {"train": "training.csv", "val": "validation.csv", "extra": "automatically_annotated.csv"}
_KEYS = {"train": "manual/train", "val": "manual/val", "extra": "automatic"}


def _write_lists(root: Path, parts: dict[str, list[Row]], variant: str) -> Truth:
    found: list[SampleTruth] = []
    refused: list[RejectTruth] = []
    for split, rows in parts.items():
        lists, pictures = _AUTOMATIC if split == "extra" else _PLACES[variant]
        path = f"{lists}/{_LISTS[split]}".removeprefix("./")
        again = variant == "nested"
        lines = [line_of(row, sentinel="-2.000000" if again else "-2") for row in rows]
        header = f"\ufeff#{HEADER}" if again else HEADER
        write_lines(root / path, [header, *lines], end="\r\n" if again else "\n")
        for row in rows:
            name = name_in_list(row)
            where = f"{pictures}/{name.rpartition('/')[2] if variant == 'flat' else name}"
            stored = _write_picture(root, where, row)
            refused += _refused(row, path, stored)
            if row.quirk not in ("missing", "unknown-code"):
                found.append(_sample(row, split, stored))
    (root / pictures / "Thumbs.db").parent.mkdir(parents=True, exist_ok=True)
    (root / pictures / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0")
    roles = frozenset(RoleTruth(s.key, str(s.split)) for s in found if s.split in ("train", "val"))
    return Truth(DATASET, variant, tuple(found), tuple(refused), protocols={"official": roles} if roles else {})


def _write_picture(root: Path, where: str, row: Row) -> str:
    """Write the picture of a row as it lies on disk; returns its path."""
    path = root / where
    if row.quirk == "tif":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"a compression that nobody decodes")
    elif row.quirk == "other-case":
        write_picture(path, row.face.image)
        path.rename(path.with_suffix(".JPG"))
        return where.removesuffix(".jpg") + ".JPG"
    elif row.quirk not in ("missing", "same-picture"):
        write_picture(path, row.face.image, truncated=row.quirk == "truncated")
    return where


def _refused(row: Row, path: str, picture: str) -> list[RejectTruth]:
    match row.quirk:
        case "missing":
            return [RejectTruth(picture, "missing-image", row.number)]
        case "unknown-code" | "out-of-range":
            return [RejectTruth(path, row.quirk, row.number)]
        case "short-landmarks":
            return [RejectTruth(path, "bad-landmarks", row.number)]
    return []


def _sample(row: Row, split: str, picture: str) -> SampleTruth:
    whole = row.quirk not in ("short-landmarks", "no-landmarks")
    marks = LabelTruth("auto", landmarks=rounded(row)) if whole else LabelTruth("auto")
    affect = affect_of(row, "human")
    labels = (replace(affect, source="auto", landmarks=marks.landmarks),) if split == "extra" else (affect, marks)
    return SampleTruth(
        key=f"{_KEYS[split]}/{row.number:06d}",
        path=picture.removeprefix("./"),
        split=split,
        group=row.group,
        face_status=row.status,
        labels=labels if whole or split == "extra" else labels[:1],
        readable=row.quirk not in ("tif", "truncated"),
        annotation=Annotation(box=_edges(row)),
    )


def _edges(row: Row) -> tuple[float, ...] | None:
    if row.quirk in ("null-box", "negative-width"):
        return None
    x, y, width, height = (float(value) for value in box_of(row))
    return x, y, x + width, y + height


def _write_folders(root: Path, train: list[Row], val: list[Row]) -> Truth:
    """A converter's output: the folder is the code, everything else is lost. A `test` folder has no role."""
    found = []
    for split, rows in (("train", train), ("val", val), ("test", val[:8])):
        for row in (row for row in rows if row.quirk != "same-picture"):
            name = row.name.rpartition("/")[2]
            code = row.code % 8
            path = f"affectnet/{split}/{code}/{name}"
            write_picture(root / path, row.face.image, truncated=row.quirk == "truncated")
            key = f"folders/{split}/{code}/{name.removesuffix('.jpg')}"
            label = LabelTruth("human", expression=CLASSES[code])
            found.append(SampleTruth(key, path, split=split, group=row.group, face_status="ok", labels=(label,),
                                     readable=row.quirk != "truncated"))  # fmt: skip
    odd = f"affectnet/train/0/{'ab' * 28}.jpg"
    write_picture(root / odd, train[0].face.image)
    write_picture(root / odd.replace(".jpg", ".png"), train[0].face.image)
    key = f"folders/train/0/{'ab' * 28}"
    found.append(SampleTruth(key, odd, split="train", group=f"affectnet:{'ab' * 28}", face_status="ok",
                             labels=(LabelTruth("human", expression="neutral"),)))  # fmt: skip
    roles = frozenset(RoleTruth(s.key, str(s.split)) for s in found if s.split != "test")
    refused = RejectTruth(odd.replace(".jpg", ".png"), "duplicate-key")
    return Truth(DATASET, "folders", tuple(found), (refused,), protocols={"official": roles})
