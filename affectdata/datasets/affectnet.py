"""AffectNet and AffectNet+: web faces with one of eight expressions, valence and arousal, 68 points and a box.

How to get it: a faculty member or lab manager asks the maintainers and signs an agreement. Of the original release,
unpack Manually_Annotated.part1.rar (all parts) and Manually_Annotated_file_lists.zip, and the automatic pair if
wanted, into one folder; other releases as they come. Layouts and rules: datasets/affectnet.md.

One original row is one face: ids are row numbers, because a picture may have several rows. Codes 8, 9 and 10 are no
classes: the face is `none_of_these` (with real ratings), `uncertain` or `not_a_face`. The test set was never released.
AffectNet+'s pose, 29 points, `subset` and its scores of gender and race have no place in a lake and stay in its files.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pyarrow as pa

from affectdata.datasets.affectnet_csv import csv_blocks
from affectdata.datasets.affectnet_items import Half, annotation_files
from affectdata.datasets.affectnet_labels import CLASSES, groups, roles
from affectdata.datasets.affectnet_npy import npy_blocks
from affectdata.datasets.affectnet_plus import plus_blocks
from affectdata.datasets.affectnet_tree import (
    ClassFolder,
    class_folders,
    csv_files,
    npy_halves,
    parts_of,
    plus_halves,
    with_rows,
)
from affectdata.datasets.card import Card, Labelling, Option, ProtocolCard, Published
from affectdata.datasets.reading import Block, Distribution, Folder, Reject
from manifests.errors import DatasetError

TRAIN = dict(zip(CLASSES, (74_874, 134_415, 25_459, 14_090, 6_378, 3_803, 24_882, 3_750), strict=True))
"""Training faces per class, in the order of the codes [verified 3]; one copy has one more happy row [one source]."""

_CODED = sum(TRAIN.values())
_VAL = dict.fromkeys(CLASSES, 500)
_MANUAL, _AUTOMATIC, _BOTH = "manual CSVs", "automatic CSV", "manual and automatic CSVs"
_NPY, _PLUS, _FOLDERS = "npy release", "AffectNet+", "repack (third party, class folders 0-7)"
_EDITIONS = {"csv": "the CSVs", "npy": _NPY, "plus": _PLUS, "folders": _FOLDERS}
_WHOLE = (_MANUAL, _BOTH, _PLUS)
_OFFERED, _UNIT = {"expression": CLASSES}, {"expression": "frame", "va": "frame"}
_RULE = "one class, valence and arousal per face; none of these, uncertain and no face as face_status"
_POINTS = "68 points as released, made by a tool [inferred]"
_NETWORK = "rows of the automatic CSV: class and ratings by a ResNeXt trained on the manual ones"
_SOFT = "soft labels and the class that is likeliest by them, and ratings of faces that nobody labelled, of AffectNet+"
_BASE = "0 [inferred: nothing says; made by an OpenCV-style tool]"

_METRICS = (
    *(f"{metric}[{space}]" for space in ("expr7", "expr8-contempt") for metric in ("top1", "macro_f1")),
    *("sagr_valence", "sagr_arousal"),
)
"""Papers report seven or eight classes, seldom saying which (metrics.md 7)."""

CARD = Card(
    name="affectnet",
    title="AffectNet and AffectNet+",
    about="414,799 and 5,500 web faces with one of eight expressions, valence and arousal by people, about 540,000 "
    "more by a network; 68 points and a box per face",
    tasks=("expression", "va", "landmarks"),
    labellings=(
        Labelling("human", _OFFERED, _UNIT, f"{_RULE}; provenance: manual"),
        Labelling("auto", _OFFERED, {**_UNIT, "landmarks": "frame"},
                  f"{_POINTS}; {_NETWORK}; {_SOFT}; provenance: automatic", landmark_base=_BASE),
    ),
    protocols=(
        ProtocolCard("official", ("human",), about="the maintainers' training and validation lists; the test set was "
                     "never released, papers report on validation; no identities, so nothing is known to be exclusive",
                     metrics=_METRICS),
    ),
    licence="research only, on request by a faculty member or lab manager with a signed agreement; no redistribution",
    citation="Mollahosseini, Hasani, Mahoor, AffectNet, IEEE Trans. Affective Computing 10(1), 2019; AffectNet+: Fard, "
    "Hosseini, Sweeny, Mahoor, IEEE TAC 2025 (arXiv 2410.22506)",
    homepage="https://arxiv.org/abs/1708.03985",
    access=(
        "a faculty member or lab manager asks the maintainers and signs their agreement",
        "unpack the pictures (all .rar parts) and the file lists into one folder",
    ),
    looked_for=(
        "training.csv, validation.csv or automatically_annotated.csv with a column subDirectory_filePath",
        "train_set/annotations/*_exp.npy or val_set/annotations/*_exp.npy",
        "human_annotated/train_set/annotations/*.json",
        "train/<0-7> or val/<0-7> with pictures, 0 and 7 among them",
    ),
    tree="""one of
  Manually_Annotated_file_lists/{training,validation}.csv  Manually_Annotated_Images/<number>/<56 hex digits>.jpg
    [+ Automatically_annotated_file_list/automatically_annotated.csv  Automatically_Annotated_Images/<number>/...]
  {train_set,val_set}/{images/<id>.jpg, annotations/<id>_{exp,val,aro,lnd}.npy}
  human_annotated/{train_set,validation_set}/{images/<id>.jpg, annotations/<id>.json} [+ no_human_annotated/...]
  {train,val}/<0-7>/*.jpg""",
    published=(
        Published("train", {"": 414_799}, "samples", "verified 3", _WHOLE, also=(414_800,)),
        Published("val", {"": 5_500}, "samples", "one source", _WHOLE),
        Published("extra", {"": 539_607}, "samples", "one source", (_PLUS,)),
        Published("train", TRAIN | {"": _CODED}, "human", "verified 3"),
        Published("val", _VAL | {"": 4_000}, "human", "one source", _WHOLE),
        Published("val", _VAL | {"contempt": 499, "": 3_999}, "human", "verified 2", (_NPY,)),
    ),
    group_key="affectnet:<hash> of a picture with its original name, as one picture may have several faces",
    sentinels={"valence, arousal": "-2 (not rated)", "face_x, face_y": "NULL", "AffectNet+ human-label": "-1 or null"},
    overlaps=("all releases show the same pictures: keep one of them in a lake",),
    options=(
        Option("edition", "which release to read, where several lie in the root", "", tuple(_EDITIONS)),
        Option("images", "folder of the CSVs' pictures below the root, where several could be meant"),
    ),
    unverified=(
        "dtypes in the npy files: numbers and text are both read",
        "that ids of the npy release and AffectNet+ are row numbers of the CSVs: checked by class and rating against "
        "the CSV where it lies beside, and refused as id-mismatch",
        "codes, boxes and points that occur in the automatic CSV",
        "who made AffectNet+'s soft labels: kept apart from people's, as `auto`",
        "whether no_human_annotated files lack human-label, or hold null or -1: all three are read",
    ),
    revision=3,
)  # fmt: skip


def find(folder: Folder) -> Distribution | None:
    """The release that lies there; several need `--edition`, class folders count only where nothing else is."""
    edition = folder.options.get("edition", "")
    lists, npy, plus = csv_files(folder), npy_halves(folder), plus_halves(folder)
    there = [name for name, found in (("csv", lists), ("npy", npy), ("plus", plus)) if found]
    classes = class_folders(folder) if not there or edition == "folders" else []
    there += ["folders"] if classes else []
    if not there:
        return None
    if edition and edition not in there:
        raise DatasetError(
            f"--edition {edition}: that release of AffectNet is not in {folder.root}",
            found=" and ".join(_EDITIONS[name] for name in there),
            expected=_EDITIONS[edition],
            then=f"--edition {there[0]}",
        )
    if len(there) > 1 and not edition:
        raise DatasetError(
            f"several releases of AffectNet lie in {folder.root}",
            found=" and ".join(_EDITIONS[name] for name in there),
            expected="one",
            then=f"say which to read: {' or '.join(f'--edition {name}' for name in there)}",
        )
    match edition or there[0]:
        case "csv":
            return _lists_found(folder, lists)
        case "npy":
            return _items_found(folder, npy, _NPY, ".npy", lists)
        case "plus":
            return _items_found(folder, plus, _PLUS, ".json", lists)
        case _:
            return _classes_found(folder, classes)


def read(distribution: Distribution, reject: Reject) -> Iterator[Block]:
    """Blocks of some ten thousand rows, or one per class folder."""
    folder = distribution.folder
    match distribution.variant:
        case variant if variant == _NPY:
            for half in with_rows(npy_halves(folder), csv_files(folder)):
                yield from npy_blocks(folder, half, reject)
        case variant if variant == _PLUS:
            for half in with_rows(plus_halves(folder), csv_files(folder)):
                yield from plus_blocks(folder, half, reject)
        case variant if variant == _FOLDERS:
            yield from map(_class_block, class_folders(folder))
        case _:
            for part in parts_of(folder, {path.rpartition("/")[2]: path for path in distribution.parts["lists"]})[0]:
                yield from csv_blocks(folder, part, reject)


def _lists_found(folder: Folder, lists: dict[str, str]) -> Distribution:
    parts, without = parts_of(folder, lists)
    by_people, by_network = (any(part.human is human for part in parts) for human in (True, False))
    variant = _BOTH if by_people and by_network else _MANUAL if by_people else _AUTOMATIC
    warnings = [f"{path} is left out: its pictures are not there" for path in without]
    if by_people:
        warnings += [f"{name} is not there" for name in ("training.csv", "validation.csv") if name not in lists]
    rule = f"{_POINTS}{f'; {_NETWORK}' if by_network else ''}; provenance: automatic"
    auto = _auto(rule, affect=by_network)
    paths = tuple(part.path for part in parts)
    return Distribution(folder, variant, paths, {"lists": paths}, tuple(warnings), _labellings(auto, human=by_people))


def _items_found(folder: Folder, halves: list[Half], variant: str, suffix: str, lists: dict[str, str]) -> Distribution:
    halves = with_rows(halves, lists)
    files = [path for half in halves for path in (*annotation_files(folder, half, suffix), half.rows) if path]
    third = [path for deep in ("", "*/", "*/*/") for path in folder.files.folders(f"{deep}test_set")]
    warnings = [f"{path} is not read: no test set was ever released" for path in third]
    soft = f"; {_SOFT}" if variant == _PLUS else ""
    rule = f"{_POINTS}, in the 224 x 224 crops{soft}; provenance: automatic"
    auto = _auto(rule, affect=variant == _PLUS)
    parts = {"halves": tuple(half.path for half in halves)}
    return Distribution(folder, variant, tuple(files), parts, tuple(warnings), _labellings(auto))


def _auto(rule: str, *, affect: bool) -> Labelling:
    """The source `auto`, with classes and ratings or with points alone."""
    auto = replace(CARD.labelling("auto"), rule=rule)
    return auto if affect else replace(auto, offered={}, unit={"landmarks": "frame"})


def _labellings(auto: Labelling, *, human: bool = True) -> tuple[Labelling, ...]:
    return (CARD.labelling("human"), auto) if human else (auto,)


def _classes_found(folder: Folder, places: list[ClassFolder]) -> Distribution:
    trained = [place for place in places if place.split == "train"]
    counts = [sum(len(place.names) for place in trained if place.code == code) for code in range(len(CLASSES))]
    if contradicts_codes(counts):
        raise DatasetError(
            f"code-order-mismatch: the class folders at {folder.root} are not numbered by AffectNet's codes",
            found=", ".join(f"{code}: {count:,}" for code, count in enumerate(counts)),
            expected=", ".join(f"{code} {name}: {TRAIN[name]:,}" for code, name in enumerate(CLASSES)),
            then="rename the folders by the codes above (copies in alphabetical order exist), or read a release",
        )
    rule = f"{_RULE}; ratings and points are lost; provenance: repack"
    human = Labelling("human", _OFFERED, {"expression": "frame"}, rule)
    third = sorted({place.path.rpartition("/")[0] for place in places if place.split == "test"})
    warnings = [f"{path} is no split of AffectNet: it has no role" for path in third]
    if not 0.99 * _CODED <= sum(counts) <= 1.01 * _CODED:
        codes = ", ".join(f"{code} {name}" for code, name in enumerate(CLASSES))
        warnings.append(
            f"{sum(counts):,} training pictures cannot tell whether the folders are numbered by AffectNet's codes, as "
            f"they are read: {codes}; copies in alphabetical order exist"
        )
    parts = {"classes": tuple(place.path for place in places)}
    return Distribution(folder, _FOLDERS, (), parts, tuple(warnings), (human,))


def contradicts_codes(counts: list[int]) -> bool:
    """Whether training pictures per folder, where the full set is there, are those of another order of the codes.

    Converters leave out some undecodable pictures; disgust and contempt differ by 53 and are told apart only where
    none is left out, but for the surplus row of one copy.
    """
    unlike = [abs(count - published) for count, published in zip(counts, TRAIN.values(), strict=True)]
    if sum(counts) in (_CODED, _CODED + 1):
        return max(unlike) > 1
    nearly = 0.99 * _CODED <= sum(counts) <= 1.01 * _CODED
    return nearly and any(u > 0.05 * published for u, published in zip(unlike, TRAIN.values(), strict=True))


def _class_block(place: ClassFolder) -> Block:
    # train/3/0f3c9a7b...1a2b.jpg: the folder is the code
    names, count = pa.array(place.names, pa.string()), len(place.names)
    stems = [name.rpartition(".")[0] for name in place.names]
    samples = pa.table({
        "sample_id": pa.array([f"folders/{place.split}/{place.code}/{stem}" for stem in stems], pa.string()),
        "path": pa.array([f"{place.path}/{name}" for name in place.names], pa.string()),
        "group_id": groups(names),
        "face_status": pa.array(["ok"] * count, pa.string()),
        "split": pa.array([place.split] * count, pa.string()),
    })  # fmt: skip
    labels = pa.table({"expression": pa.array([CLASSES[place.code]] * count, pa.string())})
    return Block(samples, {"human": labels}, roles(place.split, count))
