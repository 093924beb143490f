"""FER2013 and FER+: 48 x 48 gray web faces with one of seven classes; FER+ adds ten votes per picture.

How to get it: the Kaggle competition "challenges-in-representation-learning-facial-expression-recognition-challenge"
(fer2013.csv, icml_face_data.csv, train.csv, test.csv); FER+ votes and the exporter of its image folders from
github.com/microsoft/FERPlus. Layout and rules: datasets/fer2013.md.

Identical pictures lie inside and across the splits: use `affect folds --by duplicates`, or let `train` drop copies.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from affectdata.datasets.card import Card, ExpectedReject, Labelling, ProtocolCard, Published
from affectdata.datasets.ferplus_votes import (
    SPLITS,
    VOTE_COLUMNS,
    face_statuses,
    label_csv,
    label_tables,
    named_rows,
    original_classes,
    unknown_split,
    votes_at,
    votes_csv,
    votes_of,
    with_names,
)
from affectdata.datasets.reading import Block, Distribution, Folder, Reject
from affectdata.datasets.text import (
    CsvTable,
    as_mask,
    csv_pieces,
    header,
    integers,
    recoded,
)
from affectdata.labels.ferplus import FERPLUS_CLASSES
from manifests.errors import DatasetError, UnknownNameError
from manifests.vocabulary import EXPRESSION, EXPRESSIONS

CODES: dict[object, str | None] = {
    0: "anger", 1: "disgust", 2: "fear", 3: "happiness", 4: "sadness", 5: "surprise", 6: "neutral"
}  # fmt: skip
"""Codes of `emotion` in every CSV variant [verified >10]. FER+ columns and folder names have other orders."""

_ROLES: dict[object, str | None] = dict(zip(SPLITS, ("train", "val", "test"), strict=True))
_FOLDERS = dict(zip(("fer2013train", "fer2013valid", "fer2013test"), SPLITS, strict=True))
_CSV, _CSV_VOTES, _HALVES = "fer2013.csv", "fer2013.csv with fer2013new.csv", "train.csv and test.csv"
_VOTED, _NAMED = "FER+ pictures with label.csv", "FER+ pictures with fer2013new.csv"
_VOTES_ONLY, _CLASSES = "fer2013new.csv without pictures", "class folders (third-party conversion)"
_FRAME = {"expression": "frame"}
_FERPLUS = {"expression": FERPLUS_CLASSES}


def _published() -> Iterator[Published]:
    majority = ((8733, 7284, 3136, 3022, 2098, 116, 536, 120), (1180, 862, 411, 348, 289, 25, 60, 16),
                (1083, 892, 394, 382, 269, 16, 86, 15))  # fmt: skip
    original = ((3995, 436, 4097, 7215, 4830, 3171, 4965), (467, 56, 496, 895, 653, 415, 607),
                (491, 55, 528, 879, 594, 416, 626))  # fmt: skip
    codes = [str(name) for name in CODES.values()]
    for place, split in enumerate(SPLITS):
        sure = "unverified" if place else "verified 2"
        yield Published(split, {"": (28_558, 3_579, 3_573)[place]}, "samples", "counted", (_VOTED,))
        votes = dict(zip(FERPLUS_CLASSES, majority[place], strict=True)) | {"": (25_045, 3_191, 3_137)[place]}
        yield Published(split, votes, "derived-ferplus-majority", "counted", (_VOTED,))
        votes = {"": (27_947, 3_508, 3_507)[place]}
        yield Published(split, votes, "derived-ferplus-probability", "counted", (_VOTED,))
        classes = dict(zip(codes, original[place], strict=True)) | {"": (28_709, 3_589, 3_589)[place]}
        yield Published(split, classes, "human-fer2013", sure, (_CSV, _CSV_VOTES, _CLASSES))


CARD = Card(
    name="fer2013",
    title="FER2013 and FER+ (FERPlus)",
    about="35,887 web faces, 48 x 48 gray; seven classes, and ten crowd votes each over ten choices",
    tasks=("expression",),
    labellings=(
        Labelling("human-fer2013", {"expression": EXPRESSIONS[:7]}, _FRAME, "one class as released with FER2013"),
        Labelling("human-ferplus", _FERPLUS, _FRAME, "ten raw votes per picture"),
        Labelling(
            "derived-ferplus-majority",
            _FERPLUS,
            _FRAME,
            "FER+ majority: single votes set to 0, then the class with more than half of the rest",
        ),
        Labelling(
            "derived-ferplus-probability",
            _FERPLUS,
            _FRAME,
            "FER+ probability: single votes set to 0, then the top classes, at most 3, up to 75 % of the rest",
        ),
    ),
    protocols=(
        ProtocolCard(
            "official",
            truth=("human-fer2013",),
            about="Training, PublicTest (val), PrivateTest (test); identical pictures lie across them",
        ),
        ProtocolCard(
            "ferplus",
            truth=("derived-ferplus-majority",),
            about="the same splits with FER+ labels; identical pictures lie across them",
        ),
    ),
    licence="FER2013: Kaggle competition terms, research use. FER+ votes: MIT",
    citation="Goodfellow et al., Challenges in Representation Learning, Neural Networks 64, 2015; Barsoum et al., "
    "Training deep networks for facial expression recognition with crowd-sourced label distribution, ICMI 2016",
    homepage="https://github.com/microsoft/FERPlus",
    access=(
        "join the Kaggle competition 'Challenges in Representation Learning: FER' and download fer2013.csv",
        "clone github.com/microsoft/FERPlus for fer2013new.csv and data/*/label.csv",
        "optional: run its generate_training_data.py to write the pictures beside label.csv",
    ),
    looked_for=(
        "FER2013Train/label.csv with pictures (FER+)",
        "a CSV with columns emotion, pixels, Usage (fer2013.csv, icml_face_data.csv) or emotion, pixels (train.csv)",
        "fer2013new.csv with vote columns",
        "train/<class>/Training_<n>.jpg",
    ),
    tree="""one of
  fer2013.csv | icml_face_data.csv [+ fer2013new.csv]
  train.csv test.csv
  train/<class>/Training_<n>.jpg  test/<class>/{PublicTest,PrivateTest}_<n>.jpg
  [data/]FER2013{Train,Valid,Test}/{label.csv, fer0000000.png ...} [+ fer2013new.csv, fer2013_labels.csv]""",
    published=tuple(_published()),
    sentinels={"fer2013_labels.csv fer_emotion": "-1; also any class where ambiguous_duplicate is 1"},
    expected_rejects=(
        ExpectedReject("not-a-face", 0.01, "173 rows of fer2013new.csv have no picture name; all ten votes say NF"),
    ),
    unverified=("per-class counts of PublicTest and PrivateTest", "whether F3 files quote the pixel field"),
)


def find(folder: Folder) -> Distribution | None:
    """FER+ picture folders before pixel CSVs, before votes alone, before class folders."""
    tables = {path: frozenset(header(folder.head(path))) for path in _csv_files(folder)}
    votes = tuple(p for p, names in tables.items() if names >= {"Usage", *VOTE_COLUMNS})[:1]
    full = tuple(p for p, names in tables.items() if names == {"emotion", "pixels", "Usage"})
    halves = tuple(p for p, names in tables.items() if names in ({"emotion", "pixels"}, {"pixels"}))
    pictures = tuple(f for f in _near(folder, "FER2013*") if _stem(f).lower() in _FOLDERS and folder.files.names(f))
    if pictures:
        side = tuple(p for p, names in tables.items() if names >= {"ferplus_name", "fer_emotion"})[:1]
        return _found_pictures(folder, pictures, votes, side)
    if full:
        variant = _CSV_VOTES if votes else _CSV
        others = tuple(f"{path} is not read: {full[0]} holds the same rows" for path in (*full[1:], *halves))
        parts = {"csv": full[:1], "votes": votes}
        return Distribution(folder, variant, (full[0], *votes), parts, others, _voted_by("fer2013new.csv"))
    if halves:
        return Distribution(folder, _HALVES, halves, {"csv": halves})
    if votes:
        note = "votes without pictures: put fer2013.csv beside them, or write the pictures with FER+'s exporter"
        return Distribution(folder, _VOTES_ONLY, votes, {"votes": votes}, (note,), _voted_by("fer2013new.csv"))
    near = [path for path in _near(folder, "*") if folder.files.names(path)]
    above = {_parent(path) for path in near if any(folder.files.names(path, f"{split}_*") for split in SPLITS)}
    classes = tuple(path for path in near if _parent(path) in above)
    return Distribution(folder, _CLASSES, (), {"classes": classes}) if classes else None


def read(distribution: Distribution, reject: Reject) -> Iterator[Block]:
    """One Block per batch of a CSV, per FER+ folder, or per class folder."""
    folder, parts = distribution.folder, distribution.parts
    votes = votes_csv(folder, parts["votes"][0], reject) if parts.get("votes") else None
    if pictures := parts.get("pictures"):
        side = parts["side"]
        original = original_classes(folder, side[0], CODES, reject) if side else None
        for path in pictures:
            yield from _read_pictures(folder, path, votes, original, reject)
    elif csvs := parts.get("csv"):
        for path in csvs:
            yield from _read_pixels(folder, path, votes, reject)
    elif votes is not None:
        votes = with_names(votes, reject)
        yield _block({"sample_id": _row_keys(votes), "split": votes.columns["Usage"]}, None, votes_of(votes, reject))
    else:
        for path in parts["classes"]:
            yield from _read_class(folder, path, reject)


def _found_pictures(
    folder: Folder, pictures: tuple[str, ...], votes: tuple[str, ...], side: tuple[str, ...]
) -> Distribution:
    listed = tuple(f"{path}/label.csv" for path in pictures if f"{path}/label.csv" in folder.files)
    if not listed and not votes:
        raise DatasetError(
            f"{folder.root} holds FER+ pictures without votes",
            found=", ".join(pictures),
            expected="label.csv in each picture folder, or fer2013new.csv beside them",
        )
    chosen = tuple(path for path in pictures if not listed or f"{path}/label.csv" in listed)
    there = {_stem(path).lower() for path in chosen}
    absent = [name for name in ("FER2013Train", "FER2013Valid", "FER2013Test") if name.lower() not in there]
    warnings = [f"{name} is absent: {_FOLDERS[name.lower()]} is left out" for name in absent]
    if side:
        warnings.append(f"{side[0]}: classes flagged as ambiguous duplicates are unknown in human-fer2013")
    protocols = CARD.protocols if side else CARD.protocols[1:]
    table = "label.csv" if listed else "fer2013new.csv"
    parts = {"pictures": chosen, "votes": () if listed else votes, "side": side}
    annotations = (*(listed or votes), *side)
    labellings = _voted_by(table)
    return Distribution(
        folder, _VOTED if listed else _NAMED, annotations, parts, tuple(warnings), labellings, protocols
    )


def _read_pictures(
    folder: Folder, path: str, votes: CsvTable | None, original: tuple[pa.Array, pa.Array] | None, reject: Reject
) -> Iterator[Block]:
    split = _FOLDERS[_stem(path).lower()]
    table = label_csv(folder, f"{path}/label.csv", reject) if votes is None else named_rows(votes, split, reject)
    names = table.columns["Image name"]
    # Four names are used twice in fer2013new.csv, so its rows are known by their position and not by the name.
    keys = pc.replace_substring_regex(names, r"\.[A-Za-z]+$", "") if votes is None else _row_keys(table)
    paths = pc.binary_join_element_wise(pa.scalar(path), names, "/")
    human = original[1].take(pc.index_in(names, value_set=original[0])) if original else None
    yield _block({"sample_id": keys, "path": paths, "split": _same(split, len(names))}, human, votes_of(table, reject))
    unlisted = sorted(set(folder.files.names(path, "*.png")) - set(names.to_pylist())) if votes is None else []
    ids, paths = [_stem(name) for name in unlisted], [f"{path}/{name}" for name in unlisted]
    columns = {"sample_id": pa.array(ids, pa.string()), "path": pa.array(paths, pa.string())}
    yield _block({**columns, "split": _same(split, len(ids))}, None, None)


def _read_pixels(folder: Folder, path: str, votes: CsvTable | None, reject: Reject) -> Iterator[Block]:
    # emotion,pixels,Usage            (icml_face_data.csv: "emotion, Usage, pixels"; test.csv: pixels alone)
    # 3,12 14 15 ... 201,Training
    # Of train.csv and test.csv, whatever they are called, only the first has classes (F3).
    half = "Training" if "emotion" in header(folder.head(path)) else "test.csv"
    for table, keep in folder.parsed_pieces(path, _without_pixels, path, reject):
        count = len(table.rows)
        codes, bad = integers(table.columns["emotion"])
        names, wrong = recoded(codes, CODES)
        keep &= table.refuse((bad | wrong) & keep, reject, "unknown-code", "emotion")
        if "Usage" in table.columns:
            keep &= table.refuse(unknown_split(table.columns["Usage"]) & keep, reject, "unknown-split", "Usage")
        rows = table.filter(keep)
        # train.csv and test.csv number their rows each from 0.
        halves = {"Usage": _same(half, count).filter(pa.array(keep))}
        prefix = "" if "Usage" in rows.columns else f"{_stem(path)}/"
        columns = {
            "sample_id": _row_keys(rows, prefix),
            "path": _same(path, len(rows.rows)),
            "member": pa.array(rows.rows).cast(pa.string()),
            "split": (halves | dict(rows.columns))["Usage"],
        }
        voted = None
        if votes is not None:
            voted, named = votes_at(rows, votes, reject)
            columns["face_status"] = face_statuses(voted)
            voted[~named] = np.nan
        yield _block(columns, names.filter(pa.array(keep)), voted)


def _without_pixels(file: BinaryIO, path: str, reject: Reject) -> Iterator[tuple[CsvTable, NDArray[np.bool_]]]:
    """The other columns of some rows, and whose pixels are right: they have been checked and stay in the file."""
    for table in csv_pieces(file, path, reject):
        absent = {"emotion": pa.nulls(len(table.rows), pa.string())}
        table = CsvTable(absent | dict(table.columns), table.rows, path)
        keep = table.refuse(~_has_48x48(table.columns["pixels"]), reject, "bad-pixel-count", "emotion")
        yield replace(table, columns={n: c for n, c in table.columns.items() if n != "pixels"}), keep


def _read_class(folder: Folder, path: str, reject: Reject) -> Iterator[Block]:
    # train/happy/Training_10019449.jpg   test/happy/PublicTest_10089743.jpg: the prefix, not the folder, is the split
    files = folder.files.names(path)
    try:
        name = EXPRESSION.canonical(_stem(path))
    except UnknownNameError:
        reject(path, "unknown-class-folder", f"{len(files)} files")
        return
    splits = [file.partition("_")[0] for file in files]
    odd = [file for file, split in zip(files, splits, strict=True) if split not in SPLITS]
    reject.many((f"{path}/{file}" for file in odd), "bad-name", ("no split before the number" for _ in odd))
    kept = [(file, split) for file, split in zip(files, splits, strict=True) if split in SPLITS]
    columns = {
        "sample_id": pa.array([_stem(file) for file, _ in kept], pa.string()),
        "path": pa.array([f"{path}/{file}" for file, _ in kept], pa.string()),
        "split": pa.array([split for _, split in kept], pa.string()),
    }
    yield _block(columns, _same(name, len(kept)), None)


def _block(columns: dict[str, pa.Array], human: pa.Array | None, votes: NDArray[np.float64] | None) -> Block:
    labels = {} if human is None else {"human-fer2013": pa.table({"expression": human})}
    if votes is not None:
        labels |= label_tables(votes)
        columns.setdefault("face_status", face_statuses(votes))
    samples = pa.table(columns)
    role, _ = recoded(columns["split"], _ROLES)
    named = {"official": human is not None, "ferplus": votes is not None}
    return Block(samples, labels, {name: role for name, there in named.items() if there})


def _has_48x48(pixels: pa.Array) -> NDArray[np.bool_]:
    byte = "(25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])"
    right = pc.match_substring_regex(pixels, f"^{byte}( {byte})*$")
    return as_mask(pc.and_(right, pc.equal(pc.count_substring(pixels, " "), 48 * 48 - 1)))


def _voted_by(table: str) -> tuple[Labelling, ...]:
    first, *voted = CARD.labellings
    return (first, *(replace(labelling, rule=f"{labelling.rule}; votes of {table}") for labelling in voted))


def _row_keys(table: CsvTable, prefix: str = "") -> pa.Array:
    return pa.array([f"{prefix}row{row:05d}" for row in table.rows], pa.string())


def _near(folder: Folder, name: str) -> list[str]:
    """Folders of this name at most two levels below the root."""
    return [path for depth in ("", "*/", "*/*/") for path in folder.files.folders(f"{depth}{name}")]


def _csv_files(folder: Folder) -> list[str]:
    found = [path for depth in ("", "*/", "*/*/") for path in folder.files.find(f"{depth}*.csv")]
    return [path for path in found if not path.endswith("/label.csv")][:50]


def _parent(path: str) -> str:
    return path.rpartition("/")[0]


def _stem(path: str) -> str:
    return path.rpartition("/")[2].partition(".")[0]


def _same(value: str, count: int) -> pa.Array:
    return pa.array([value] * count, pa.string())
