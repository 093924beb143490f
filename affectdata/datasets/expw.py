"""ExpW (Expression in-the-Wild): web photographs, of which every annotated face has one of seven expressions.

How to get it: from the maintainers' project page; unpack data/image/origin.7z.001 (all volumes) in place, so that the
pictures lie in data/image/origin. Layout and rules: datasets/expw.md.

The list's seventh field is the score of a face detector, 0.2 to 138 in a sample: no probability, and without a column
in a lake. `--confidence 60` leaves out the faces below it. There is no official split.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from affectdata.datasets.card import Card, ExpectedReject, Labelling, Option, Published
from affectdata.datasets.reading import Block, Distribution, Folder, Reject
from affectdata.datasets.text import CsvTable, as_mask, csv_table, decoded, integers, lines, numbers, recoded
from manifests.errors import DatasetError
from manifests.vocabulary import EXPRESSIONS

CODES: dict[object, str | None] = {
    0: "anger", 1: "disgust", 2: "fear", 3: "happiness", 4: "sadness", 5: "surprise", 6: "neutral"
}  # fmt: skip
"""Codes of the eighth field [maintainers' readme]; the same integers as FER2013."""

FIELDS = ("image", "face", "top", "left", "right", "bottom", "confidence", "expression")
"""The order is top, left, right, bottom: not x, y, width, height, and not left, top."""

_COUNTS = dict(zip(CODES.values(), (3_671, 3_995, 1_088, 30_537, 10_559, 7_060, 34_883), strict=True))
_LIST, _DEEPEST = "label.lst", 3

CARD = Card(
    name="expw",
    title="ExpW (Expression in-the-Wild)",
    about="91,793 faces in about 68,000 web photographs, each with one of seven expressions and a face box",
    tasks=("expression",),
    labellings=(
        Labelling("human", {"expression": EXPRESSIONS[:7]}, {"expression": "frame"},
                  "one class per face as released; provenance: manual"),
    ),
    licence="non-commercial research; the pictures belong to their owners",
    citation="Zhang, Luo, Loy, Tang, From Facial Expression Recognition to Interpersonal Relation Prediction, "
    "IJCV 126, 2018 (arXiv 1609.06426)",
    homepage="https://arxiv.org/abs/1609.06426",
    access=(
        "get the archive from the maintainers' project page",
        "unpack data/image/origin.7z.001 (all volumes) in data/image",
        "there is no official split: papers draw their own (affect folds --by group keeps photographs whole)",
    ),
    looked_for=("label.lst, at most three folders deep, with lines of eight fields",),
    tree="""data/label/label.lst
data/image/origin/<keyword>_<noun>_<number>.jpg        (or origin/, images/, Images/ beside label.lst)""",
    published=(Published("all", {str(name): n for name, n in _COUNTS.items()} | {"": 91_793}, "human", "one source"),),
    group_key="expw:<photograph>: its faces stay together",
    expected_rejects=(
        ExpectedReject("out-of-range", 1.0, "faces below --confidence, where the user asks for one"),
    ),
    options=(
        Option("confidence", "least score of the face detector; a low one marks false and tilted detections"),
        Option("images", "folder of the photographs below the root, where several could be meant"),
    ),
    unverified=("number of volumes of the archive", "106,962 photographs in total, many without a labelled face"),
)  # fmt: skip


def find(folder: Folder) -> Distribution | None:
    """A list of faces, and the folder that holds the first photographs it names."""
    found = [p for depth in range(_DEEPEST + 1) for p in folder.files.find("*/" * depth + _LIST)]
    lists = [path for path in found if _is_list(folder.head(path))]
    if not lists:
        return None
    if len(lists) > 1:
        raise DatasetError(f"expw at {folder.root} is ambiguous", found=" and ".join(lists), expected=f"one {_LIST}",
                           then="name the folder above the one that is meant")  # fmt: skip
    least = folder.options.get("confidence", "")
    if least and _threshold(least) is None:
        raise DatasetError(f"--confidence {least}", found="no number", expected="a detector score such as 60",
                           then="affect info expw")  # fmt: skip
    parts = {"list": (lists[0],), "images": (_pictures(folder, lists[0]),)}
    return Distribution(folder, _LIST + (f", confidence from {least}" if least else ""), (lists[0],), parts)


def read(distribution: Distribution, reject: Reject) -> Iterator[Block]:
    """All faces as one Block."""
    folder, [path], [images] = distribution.folder, distribution.parts["list"], distribution.parts["images"]
    table = folder.parsed(path, _table, path, reject)
    yield _block(table, images, folder.options.get("confidence", ""), reject)


def _is_list(data: bytes) -> bool:
    rows = [line.split() for _, line in lines(data)][:20]
    return any(len(row) == len(FIELDS) and row[-1] in set("0123456") and row[1].isdecimal() for row in rows)


def _pictures(folder: Folder, path: str) -> str:
    """The folder of the photographs: the one that holds the most of those that come first in the list."""
    chosen = folder.options.get("images", "").strip("/")
    if chosen:
        return chosen
    names = {line.split()[0] for _, line in lines(folder.head(path))}
    places = ["", *(place for depth in range(_DEEPEST + 2) for place in folder.files.folders("*/" * depth + "*"))]
    held = {place: sum(f"{place}/{name}".lstrip("/") in folder.files for name in names) for place in places}
    most = max(held.values())
    best = [place for place in places if held[place] == most]
    if not most:
        packed = [name for name in folder.files if re.search(r"\.7z(\.\d+)?$", name)]
        raise DatasetError(f"the photographs of {path} are not in {folder.root}", found=folder.files.sketch(),
                           expected="data/image/origin/<name>.jpg",
                           then=f"unpack {packed[0]} (all volumes) where it lies" if packed else
                           "unpack the photographs there, or name their folder: --images FOLDER")  # fmt: skip
    if len(best) > 1:
        raise DatasetError(f"expw at {folder.root} is ambiguous", found=" and ".join(best),
                           expected="one folder with the photographs", then="name it: --images FOLDER")  # fmt: skip
    return best[0]


def _table(data: bytes, about: str, reject: Reject) -> CsvTable:
    # joyful_teacher_88.jpg 0 41 96 251 196 63.07 3
    # awe_old_9001.jpg 0 90 175 233 148 41.2 2
    text = decoded(data).replace("\r\n", "\n").replace('"', "'")
    even = re.sub(r" *\n *", "\n", re.sub(r"[^\S\n]+", " ", text)).strip()
    return csv_table(even.encode("utf-8", "replace"), about, reject, names=FIELDS, delimiter=" ")


def _block(table: CsvTable, images: str, least: str, reject: Reject) -> Block:
    values = {name: integers(table.columns[name]) for name in ("face", "top", "left", "right", "bottom", "expression")}
    score, bad_score = numbers(table.columns["confidence"])
    keep = np.ones(len(table.rows), dtype=bool)

    def refuse(mask: NDArray[np.bool_], reason: str, column: str) -> None:
        nonlocal keep
        table.refuse(mask & keep, reject, reason, column)
        keep &= ~mask

    names, wrong = recoded(values["expression"][0], CODES)
    refuse(wrong | values["expression"][1] | as_mask(pc.is_null(names)), "unknown-code", "expression")
    refuse(values["face"][1] | ~as_mask(pc.greater_equal(values["face"][0], 0)), "bad-number", "face")
    refuse(bad_score | as_mask(pc.is_null(score)), "bad-number", "confidence")
    for column in ("top", "left", "right", "bottom"):
        refuse(values[column][1] | as_mask(pc.is_null(values[column][0])), "bad-number", column)
    # Right and bottom are exclusive ends [counted on 700 photographs]; where they reach beyond one, the crop is cut.
    top, left = (pc.max_element_wise(values[name][0], 0) for name in ("top", "left"))
    right, bottom = values["right"][0], values["bottom"][0]
    refuse(~as_mask(pc.and_(pc.greater(right, left), pc.greater(bottom, top))), "bad-box", "right")
    threshold = _threshold(least)
    if threshold is not None:
        refuse(as_mask(pc.less(score, threshold)), "out-of-range", "confidence")
    stems = pc.replace_substring_regex(table.columns["image"], r"\.jpg$", "")
    faces = pc.utf8_lpad(pc.cast(values["face"][0], pa.string()), 2, "0")
    samples = pa.table({
        "sample_id": pc.binary_join_element_wise(stems, faces, "/"),
        "path": pc.binary_join_element_wise(pa.scalar(f"{images}/" if images else ""), table.columns["image"], ""),
        "group_id": pc.binary_join_element_wise(pa.scalar("expw"), stems, ":"),
        **{f"box_{edge}": pc.cast(side, pa.float32(), safe=False)
           for edge, side in (("x1", left), ("y1", top), ("x2", right), ("y2", bottom))},
        "split": pa.array(["all"] * len(stems), pa.string()),
    })  # fmt: skip
    kept = pa.array(keep)
    return Block(samples.filter(kept), {"human": pa.table({"expression": names}).filter(kept)})


def _threshold(text: str) -> float | None:
    value, bad = numbers(pa.array([text], pa.string()))
    return None if bad[0] else value[0].as_py()
