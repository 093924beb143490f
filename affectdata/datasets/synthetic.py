"""The set of our own that the demo trains on: painted faces labelled for expression, affect, AUs and landmarks.

How to get it: `affect demo` writes it, and so does `affectdata.synthetic.write_twin("synthetic", root, ...)`.
Its variant `dim` is a second visual domain: other people by the same rules, in other light and by another camera.
Nothing in it is a photograph, and no number measured on it says anything about people.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from affectdata.datasets.card import Card, ExpectedReject, Labelling, ProtocolCard
from affectdata.datasets.points import read_pts
from affectdata.datasets.reading import Block, Distribution, Folder, Reject, vectors
from affectdata.datasets.text import CsvTable, as_mask, csv_table, header, integers, numbers, recoded
from manifests.errors import DatasetError
from manifests.vocabulary import AU_SPACES, EXPRESSIONS, au_column

AUS = AU_SPACES["fbn17"]
_COLUMNS = ("image", "subject", "split", "expression", "valence", "arousal")

CARD = Card(
    name="synthetic",
    title="Painted faces with labels for four tasks",
    about="faces painted from AU parameters, so that AUs, expression, affect and landmarks agree by construction",
    tasks=("expression", "va", "au", "au_intensity", "landmarks"),
    labellings=(
        Labelling(
            "human",
            {"expression": EXPRESSIONS[:7]},
            dict.fromkeys(("expression", "va", "au", "au_intensity", "landmarks"), "frame"),
            "known by construction; `human` stands for the truth",
            au_cut=1.0,
            landmark_base="1 (shifted to 0)",
        ),
    ),
    protocols=(ProtocolCard("official", ("human",), ("subject",), "split column; a subject lies in one split only"),),
    licence="Apache-2.0, as this project",
    citation="none: not a dataset of people",
    homepage="affectdata/synthetic",
    access=(
        "affect demo",
        'a second visual domain, other people in dim light: affectdata.synthetic.write_twin("synthetic", FOLDER, '
        'samples=800, seed=2, variant="dim"), then affect ingest synthetic FOLDER --name synthetic-dim',
    ),
    looked_for=("annotations.csv with columns image, subject, split, expression, valence, arousal, AU1 ...",),
    tree="""annotations.csv
images/s001/001.png
landmarks/s001/001.pts""",
    subject_key="column `subject`",
    sentinels={"expression, AU": "-1", "valence, arousal": "-5", "AU intensity": "9", "landmarks": "no .pts file"},
    expected_rejects=(ExpectedReject("missing-image", 0.05, "one picture is left out on purpose"),),
)


def find(folder: Folder) -> Distribution | None:
    """One `annotations.csv` with the columns of this set, at the root or in a folder there."""
    for path in (*folder.files.find("annotations.csv"), *folder.files.find("*/annotations.csv")):
        if set(header(folder.head(path))) >= {*_COLUMNS, "AU1", "AU1_intensity"}:
            base = path.removesuffix("annotations.csv")
            points = [file for file in folder.files.under(f"{base}landmarks") if file.endswith(".pts")]
            return Distribution(folder, "annotations.csv", (path, *points), {"base": (base,)})
    return None


def read(distribution: Distribution, reject: Reject) -> Iterator[Block]:
    """The whole set as one Block."""
    # image,subject,split,expression,valence,arousal,AU1,...,AU26,AU1_intensity,...,AU26_intensity
    # s001/001.png,s001,train,3,0.7412,-5,1,...,-1,2.5,...,9
    folder = distribution.folder
    base = distribution.parts["base"][0]
    table = folder.parsed(f"{base}annotations.csv", csv_table, "annotations.csv", reject)
    absent = [name for au in AUS for name in (f"AU{au}", f"AU{au}_intensity") if name not in table.columns]
    if absent:
        raise DatasetError("annotations.csv lacks columns", found=", ".join(table.columns), expected=", ".join(absent))
    split = table.columns["split"]
    known = as_mask(pc.is_in(split, value_set=pa.array(["train", "val", "test"])))
    table = table.filter(table.refuse(~known, reject, "unknown-split", "split"))
    split = table.columns["split"]
    keys = pc.replace_substring_regex(table.columns["image"], r"\.[A-Za-z]+$", "")
    samples = pa.table({
        "sample_id": keys,
        "path": pc.binary_join_element_wise(pa.scalar(f"{base}images"), table.columns["image"], "/"),
        "subject_id": table.columns["subject"],
        "split": split,
    })  # fmt: skip
    yield Block(samples, {"human": _labels(folder, base, table, keys, reject)}, {"official": split})


def _labels(folder: Folder, base: str, table: CsvTable, keys: pa.Array, reject: Reject) -> pa.Table:
    codes, bad = integers(table.columns["expression"])
    names, wrong = recoded(codes, {-1: None, **dict(enumerate(EXPRESSIONS))})
    table.refuse(bad | wrong, reject, "unknown-code", "expression")
    columns: dict[str, pa.Array] = {"expression": names}
    for name in ("valence", "arousal"):
        columns[name] = _between(table, name, (-1, 1), -5, reject)
    for au in AUS:
        columns[au_column(au)] = pc.cast(_between(table, f"AU{au}", (0, 1), -1, reject), pa.int8())
        columns[au_column(au, "intensity")] = _between(table, f"AU{au}_intensity", (0, 5), 9, reject)
    columns["landmarks"] = vectors(_landmarks(folder, base, keys, reject))
    return pa.table(columns)


def _between(table: CsvTable, name: str, limits: tuple[float, float], sentinel: float, reject: Reject) -> pa.Array:
    """A numeric column; the sentinel is NULL, and so is, with a reject, what is no number or out of range."""
    values, bad = numbers(table.columns[name])
    values = pc.if_else(pc.equal(values, sentinel), None, values)
    outside = as_mask(pc.or_(pc.less(values, limits[0]), pc.greater(values, limits[1])))
    table.refuse(bad, reject, "bad-number", name)
    table.refuse(outside, reject, "out-of-range", name)
    return pc.if_else(pa.array(outside), None, values)


def _landmarks(folder: Folder, base: str, keys: pa.Array, reject: Reject) -> NDArray[np.float64]:
    points = np.full((len(keys), 136), np.nan)
    for row, key in enumerate(keys.to_pylist()):
        path = f"{base}landmarks/{key}.pts"
        if path in folder.files:
            found = folder.parsed(path, read_pts, path, reject, base=1)
            if found is not None:
                points[row] = found.ravel()
    return points
