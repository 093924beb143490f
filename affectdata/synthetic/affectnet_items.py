"""AffectNet's releases of small files, as the twin writes them: npy and AffectNet+ (affectnet.md 1 C and D)."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np

from affectdata.synthetic.affectnet_rows import CLASSES, Row, affect_of, rounded
from affectdata.synthetic.files import write_picture
from affectdata.synthetic.truth import Annotation, LabelTruth, RejectTruth, RoleTruth, SampleTruth, Truth

_SOUND = 3
_NPY_QUIRKS = ("truncated", "missing", "pickled", "objects", "no-arousal", "short-landmarks", "unknown-code", "-2")
"""Quirk of the training items after the first three; the others have none."""

_NPY_REJECTS = {
    "missing": ("images/{}.jpg", "missing-image"),
    "pickled": ("annotations/{}_val.npy", "unsafe-file"),
    "objects": ("annotations/{}_lnd.npy", "unsafe-file"),
    "no-arousal": ("annotations/{}_aro.npy", "missing-annotation"),
    "short-landmarks": ("annotations/{}_lnd.npy", "bad-landmarks"),
    "unknown-code": ("annotations/{}_exp.npy", "unknown-code"),
}
_PLUS_QUIRKS = (
    "truncated",
    "missing",
    "no-json",
    "no-soft",
    "empty-soft",
    "bad-soft",
    "broken",
    "short-landmarks",
    "11",
)
_PLUS_REJECTS = {
    "missing": ("images/{}.jpg", "missing-image"),
    "no-json": ("annotations/{}.json", "missing-annotation"),
    "bad-soft": ("annotations/{}.json", "out-of-range"),
    "broken": ("annotations/{}.json", "bad-attributes"),
    "short-landmarks": ("annotations/{}.json", "bad-landmarks"),
    "11": ("annotations/{}.json", "unknown-code"),
}
_DROPPED = ("missing", "unknown-code", "11")
_UNLABELLED: tuple[dict[str, object], ...] = ({}, {"human-label": None}, {"human-label": -1})


def write_npy(root: Path, train: list[Row], val: list[Row], variant: str) -> Truth:
    """Only codes 0-7, so that ids have gaps; labels are text, or numbers in `npy-float`."""
    found: list[SampleTruth] = []
    refused: list[RejectTruth] = []
    for half, split, rows in (("train_set", "train", train), ("val_set", "val", val)):
        coded = [replace(row, quirk="") for row in rows if row.code < len(CLASSES)]
        for row, quirk in _with_quirks(coded, _NPY_QUIRKS, split):
            path = f"{half}/images/{row.number}.jpg"
            if quirk != "missing":
                write_picture(root / path, row.face.image, truncated=quirk == "truncated")
            _write_arrays(root / half / "annotations", row, quirk, text=variant == "npy")
            refused += _refused(_NPY_REJECTS, half, row, quirk)
            if quirk not in _DROPPED:
                found.append(_npy_sample(row, split, path, quirk))
    (root / "affectnet.csv").write_text(",phase,img_path,label\n0,train,train_set/images/0.jpg,0\n")
    write_picture(root / "test_set/images/0.jpg", val[0].face.image)
    return _truth(variant, found, refused)


def _with_quirks(rows: list[Row], quirks: tuple[str, ...], split: str) -> list[tuple[Row, str]]:
    """Rows with their quirks: those of training have all of them, after some sound ones."""
    named = dict(enumerate(quirks, start=_SOUND)) if split == "train" else {}
    return [(row, named.get(place, "")) for place, row in enumerate(rows)]


def _refused(rejects: dict[str, tuple[str, str]], half: str, row: Row, quirk: str) -> list[RejectTruth]:
    if quirk not in rejects:
        return []
    where, reason = rejects[quirk]
    return [RejectTruth(f"{half}/{where.format(row.number)}", reason)]


def _write_arrays(folder: Path, row: Row, quirk: str, *, text: bool) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    code = 11 if quirk == "unknown-code" else row.code
    valence, arousal = (-2.0, -2.0) if quirk == "-2" else (row.valence, row.arousal)
    for kind, value in (("exp", code), ("val", valence), ("aro", arousal)):
        if (kind, quirk) != ("aro", "no-arousal"):
            np.save(folder / f"{row.number}_{kind}.npy", np.array(str(value) if text else float(value or 0)))
    if quirk == "pickled":
        (folder / f"{row.number}_val.npy").write_bytes(pickle.dumps(0.5))
    points = rounded(row).astype(np.float64).ravel()[: 134 if quirk == "short-landmarks" else 136]
    # An array of objects: numpy reads it with pickle only.
    np.save(folder / f"{row.number}_lnd.npy", points.astype(object) if quirk == "objects" else points)


def _npy_sample(row: Row, split: str, path: str, quirk: str) -> SampleTruth:
    affect = affect_of(row, "human")
    if quirk in ("pickled", "-2"):
        affect = replace(affect, valence=None)
    if quirk in ("no-arousal", "-2"):
        affect = replace(affect, arousal=None)
    marks = () if quirk in ("objects", "short-landmarks") else (LabelTruth("auto", landmarks=rounded(row)),)
    return SampleTruth(f"npy/{split}/{row.number:06d}", path, split=split, face_status="ok",
                       labels=(affect, *marks), readable=quirk != "truncated")  # fmt: skip


def write_plus(root: Path, train: list[Row], val: list[Row]) -> Truth:
    """All codes; a third folder holds faces that nobody labelled, here a few of the validation faces again."""
    found: list[SampleTruth] = []
    refused: list[RejectTruth] = []
    top = "AffectNet+"
    extra = [replace(row, number=number) for number, row in enumerate(val[:6])]
    for place, split, rows in (
        ("human_annotated/train_set", "train", train),
        ("human_annotated/validation_set", "val", val),
        ("no_human_annotated", "extra", extra),
    ):
        half = f"{top}/{place}"
        for row, quirk in _with_quirks([replace(row, quirk="") for row in rows], _PLUS_QUIRKS, split):
            path = f"{half}/images/{row.number}.jpg"
            if quirk != "missing":
                write_picture(root / path, row.face.image, truncated=quirk == "truncated")
            _write_json(root / half / f"annotations/{row.number}.json", row, quirk, extra=split == "extra")
            refused += _refused(_PLUS_REJECTS, half, row, quirk)
            if quirk not in _DROPPED:
                found.append(_plus_sample(row, split, path, quirk))
    return _truth("plus", found, refused)


def _shares(row: Row) -> list[float]:
    """A soft label: most of it on the row's class, or on the first where it has none."""
    shares = [0.04] * len(CLASSES)
    shares[row.code if row.code < len(CLASSES) else 0] = 0.72
    return shares


def _write_json(path: Path, row: Row, quirk: str, *, extra: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if quirk == "no-json":
        return
    points = [float(value) for value in rounded(row).ravel()]
    facts: dict[str, object] = {"human-label": 11 if quirk == "11" else str(row.code) if row.number % 2 else row.code}
    if extra:
        facts = dict(_UNLABELLED[row.number % len(_UNLABELLED)])
    soft = {"no-soft": None, "empty-soft": [], "bad-soft": [0.5] * len(CLASSES)}.get(quirk, _shares(row))
    facts |= {} if quirk == "no-soft" else {"soft-label": soft}
    facts["subset"] = row.number % 3
    facts["meta-data"] = {
        "age": 20 + row.number,
        "gender": {"female": 0.03, "male": 0.97},
        "race": {"asian": 0.25, "white": 0.75},
        "valence": -2 if row.valence is None else row.valence,
        "arousal": -2 if row.arousal is None else row.arousal,
        "pose": {"yaw": 1.5},
        "landmark-68": points[: 134 if quirk == "short-landmarks" else 136],
        "landmark-29": points[:58],
    }
    text = json.dumps(facts)
    path.write_text(text[: len(text) // 2] if quirk == "broken" else text)


def _plus_sample(row: Row, split: str, path: str, quirk: str) -> SampleTruth:
    known = quirk not in ("no-json", "broken")
    by_people = split != "extra"
    affect = affect_of(row, "human")
    auto = LabelTruth("auto")
    if quirk not in ("no-soft", "empty-soft", "bad-soft"):
        shares = _shares(row)
        auto = replace(auto, expression=CLASSES[int(np.argmax(shares))],
                       expression_probs=dict(zip(CLASSES, shares, strict=True)))  # fmt: skip
    if quirk != "short-landmarks":
        auto = replace(auto, landmarks=rounded(row))
    if not by_people:
        auto = replace(auto, valence=row.valence, arousal=row.arousal)
    return SampleTruth(
        f"plus/{split}/{row.number:06d}",
        path,
        split=split,
        face_status=row.status if known and by_people else None,
        labels=((affect, auto) if by_people else (auto,)) if known else (),
        readable=quirk != "truncated",
        annotation=Annotation(age=20.0 + row.number if known else None),
    )


def _truth(variant: str, found: list[SampleTruth], refused: list[RejectTruth]) -> Truth:
    roles = frozenset(RoleTruth(sample.key, str(sample.split)) for sample in found if sample.split != "extra")
    return Truth("affectnet", variant, tuple(found), tuple(refused), protocols={"official": roles})
