"""The two vote tables of FER+ and the label columns they give; a part of the fer2013 reader.

`label.csv` lies beside the pictures and is what the reference trainer reads; `fer2013new.csv` holds the rows of
fer2013.csv. They disagree on 1,602 pictures (datasets/fer2013.md section 2), so a layer says which one it is from.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from affectdata.datasets.reading import Folder, Reject, vectors
from affectdata.datasets.text import CsvTable, as_mask, csv_table, integers
from affectdata.labels.ferplus import (
    FERPLUS_CLASSES,
    Derived,
    expression_probs,
    expression_votes,
    majority,
    probability,
)

SPLITS = ("Training", "PublicTest", "PrivateTest")
VOTE_COLUMNS = (*FERPLUS_CLASSES, "unknown", "NF")
_NOT_A_FACE = VOTE_COLUMNS.index("NF")


def label_csv(folder: Folder, path: str, reject: Reject) -> CsvTable:
    """One `label.csv`, rows without a picture name refused."""
    # fer0000041.png,"(0, 0, 48, 48)",5,0,0,3,1,0,0,0,1,0        no header; the box is the whole picture in every row
    table = folder.parsed(path, csv_table, path, reject, names=("Image name", "box", *VOTE_COLUMNS))
    return table.filter(table.refuse(as_mask(pc.is_null(table.columns["Image name"])), reject, "bad-name", "box"))


def votes_csv(folder: Folder, path: str, reject: Reject) -> CsvTable:
    """`fer2013new.csv`; the 2016 edition lacks `Image name`, which is then `unnamed` everywhere."""
    # Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF
    # Training,fer0000041.png,5,0,0,3,1,0,0,0,1,0
    table = folder.parsed(path, csv_table, path, reject)
    if "Image name" not in table.columns:
        columns = {**table.columns, "Image name": pa.array(["unnamed"] * len(table.rows), pa.string())}
        table = CsvTable(columns, table.rows, path)
    return table.filter(table.refuse(unknown_split(table.columns["Usage"]), reject, "unknown-split", "Usage"))


def named_rows(table: CsvTable, split: str, reject: Reject) -> CsvTable:
    """The rows of one split that name a picture."""
    return with_names(table.filter(as_mask(pc.equal(table.columns["Usage"], split))), reject)


def with_names(table: CsvTable, reject: Reject) -> CsvTable:
    """The rows that name a picture; the others are refused as `not-a-face`."""
    # Training,,0,0,0,0,0,0,0,0,0,10       a row without a name has no picture: all ten votes say "not a face"
    return table.filter(table.refuse(as_mask(pc.is_null(table.columns["Image name"])), reject, "not-a-face", "NF"))


def unknown_split(usage: pa.Array) -> NDArray[np.bool_]:
    """Where `Usage` is none of the three splits, in exact case."""
    return ~as_mask(pc.is_in(usage, value_set=pa.array(SPLITS)))


def votes_of(table: CsvTable, reject: Reject) -> NDArray[np.float64]:
    """Votes [N, 10] in FER+ order; a row with a cell that is no count is NaN and its cells are rejected."""
    votes = np.full((len(table.rows), len(VOTE_COLUMNS)), np.nan)
    for place, name in enumerate(VOTE_COLUMNS):
        values, bad = integers(table.columns[name])
        counts: NDArray[np.float64] = values.to_numpy(zero_copy_only=False).astype(float)
        bad |= np.logical_or(counts < 0, counts > 1000)
        table.refuse(bad, reject, "bad-number", name)
        votes[:, place] = np.where(bad, np.nan, counts)
    silent = np.logical_or(np.isnan(votes).any(axis=1), votes.sum(axis=1) == 0)
    votes[silent] = np.nan
    return votes


def votes_at(rows: CsvTable, votes: CsvTable, reject: Reject) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Votes [N, 10] of rows of fer2013.csv, and whether FER+ names a picture, by row position: the only shared key.

    A row whose `Usage` differs between the files is rejected as `id-mismatch` and gets no votes; a row without a
    picture name is rejected as `not-a-face`.
    """
    named = np.zeros(len(rows.rows), dtype=bool)
    at = np.minimum(np.searchsorted(votes.rows, rows.rows), max(len(votes.rows) - 1, 0))
    result = np.full((len(rows.rows), len(VOTE_COLUMNS)), np.nan)
    if not len(votes.rows):
        return result, named
    there: NDArray[np.bool_] = np.equal(votes.rows[at], rows.rows)
    same = as_mask(pc.equal(votes.columns["Usage"].take(pa.array(at)), rows.columns["Usage"]))
    rows.refuse(there & ~same, reject, "id-mismatch", "Usage")
    matched = np.flatnonzero(there & same)
    chosen = votes.take(at[matched])
    named[matched] = chosen.refuse(as_mask(pc.is_null(chosen.columns["Image name"])), reject, "not-a-face", "NF")
    result[matched] = votes_of(chosen, reject)
    return result, named


def label_tables(votes: NDArray[np.float64]) -> dict[str, pa.Table]:
    """Source -> label columns: the raw votes and what the two rules make of them."""
    known: NDArray[np.bool_] = np.asarray(~np.isnan(votes).any(axis=1))
    counts = np.where(known[:, None], votes, 0).astype(np.int64)
    raw = expression_votes(counts)
    raw[~known] = np.nan
    by_majority, by_probability = majority(counts), probability(counts)
    probs = np.where(by_probability.kept[:, None], expression_probs(by_probability), np.nan)
    return {
        "human-ferplus": pa.table({"expression_votes": vectors(raw)}),
        "derived-ferplus-majority": pa.table({"expression": _names(by_majority)}),
        "derived-ferplus-probability": pa.table(
            {"expression": _names(by_probability), "expression_probs": vectors(probs)}
        ),
    }


def face_statuses(votes: NDArray[np.float64]) -> pa.Array:
    """`not_a_face` where every rater said so, `uncertain` where more than half did, else `ok`; NULL without votes."""
    said, total = votes[:, _NOT_A_FACE], votes.sum(axis=1)
    status = np.select([np.isnan(total), said == total, said > total / 2], ["", "not_a_face", "uncertain"], "ok")
    return pa.array(status.astype(object), pa.string(), mask=status == "")


def original_classes(
    folder: Folder, path: str, codes: Mapping[object, str | None], reject: Reject
) -> tuple[pa.Array, pa.Array]:
    """Picture names, and their FER2013 classes, from a side table that joins FER2013 labels to FER+ names.

    Unknown where the table flags identical pictures under several classes, or lists a name under two classes.
    """
    # csv_row,ferplus_name,usage,fer_emotion,ambiguous_duplicate
    # 0,fer0000000.png,Training,0,0
    table = folder.parsed(path, csv_table, path, reject)
    emotion, bad = integers(table.columns["fer_emotion"])
    table.refuse(bad, reject, "bad-number", "fer_emotion")
    index = pc.index_in(emotion, value_set=pa.array(list(codes), pa.int64()))
    wrong = as_mask(pc.and_(pc.is_null(index), pc.and_(pc.is_valid(emotion), pc.not_equal(emotion, -1))))
    table.refuse(wrong, reject, "unknown-code", "fer_emotion")
    flags = table.columns.get("ambiguous_duplicate", pa.nulls(len(table.rows), pa.string()))
    uncertain = as_mask(pc.equal(flags, "1")) | as_mask(pc.is_null(index))
    classes: dict[str, str | None] = {}
    names = list(codes.values())
    for name, place, unsure in zip(
        table.columns["ferplus_name"].to_pylist(), index.to_pylist(), uncertain, strict=True
    ):
        if name is not None:
            found = None if unsure else names[place]
            classes[name] = found if classes.get(name, found) == found else None
    return pa.array(list(classes), pa.string()), pa.array(list(classes.values()), pa.string())


def _names(derived: Derived) -> pa.Array:
    return pa.array(FERPLUS_CLASSES).take(pa.array(derived.classes, mask=~derived.kept))
