"""RAF-DB: web faces with one of seven basic or eleven compound expressions, attributes, five points and a box.

How to get it: ask the maintainers by institutional mail (www.whdeng.cn/RAF/model1.html); they send `basic` and
`compound`, each with inner zips that are to be unpacked in place. Layout: datasets/rafdb.md.

Points and boxes are in pixels of the ORIGINAL pictures: they are attached with `--images original` only, or where
a picture has no aligned version. Test photographs reappear in RAF-AU and RAF-ML; no release says which.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa

from affectdata.datasets.card import Card, Labelling, Option, ProtocolCard, Published
from affectdata.datasets.reading import Block, Distribution, Folder, Reject, vectors
from affectdata.datasets.text import csv_table, decoded, lines
from manifests.errors import DatasetError
from manifests.vocabulary import EXPRESSIONS

BASIC = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")
"""Classes in the order of the 1-based codes [verified >10]; 7 is neutral, not contempt."""

COMPOUND = (
    "happily_surprised", "happily_disgusted", "sadly_fearful", "sadly_angry", "sadly_surprised", "sadly_disgusted",
    "fearfully_angry", "fearfully_surprised", "angrily_surprised", "angrily_disgusted", "disgustedly_surprised",
)  # fmt: skip
"""Classes in the order of the 1-based codes [verified 3]; Fearfully Disgusted is absent from the release."""

SUBSETS = {"basic": ("expression", BASIC), "compound": ("compound", COMPOUND)}
_CODED: dict[str, dict[str, str | None]] = {
    "gender": {"0": "male", "1": "female", "2": None},
    "ethnicity": {"0": "Caucasian", "1": "African-American", "2": "Asian"},
    "age_group": {"0": "0-3", "1": "4-19", "2": "20-39", "3": "40-69", "4": "70+"},
}
"""Codes of lines 6-8 of a manual file [verified 4]."""

_TRAIN = dict(zip(BASIC, (1290, 281, 717, 4772, 1982, 705, 2524), strict=True))
_TEST = dict(zip(BASIC, (329, 74, 160, 1185, 478, 162, 680), strict=True))
_RULE = "one class per picture, by about 40 raters"
_REPACK = "repack (third party, class folders 1-7)"

CARD = Card(
    name="rafdb",
    title="RAF-DB (Real-world Affective Faces Database), basic and compound",
    about="15,339 web faces with one of seven basic expressions, 3,954 with one of eleven compound ones; five manual "
    "points, box, gender, race and age group",
    tasks=("expression", "compound"),
    labellings=(
        Labelling(
            "human",
            {"expression": tuple(sorted(BASIC, key=EXPRESSIONS.index)), "compound": COMPOUND},
            {"expression": "frame", "compound": "frame"},
            _RULE,
        ),
    ),
    protocols=(
        ProtocolCard("official", ("human",), about="the maintainers' train and test pictures; no identities",
                     metrics=("f1_of_macro_pr",)),
    ),
    licence="non-commercial research on request, no redistribution",
    citation="Li, Deng, Du, Reliable Crowdsourcing and Deep Locality-Preserving Learning for Expression Recognition "
    "in the Wild, CVPR 2017; Li, Deng, IEEE TIP 28(1), 2019",
    homepage="http://www.whdeng.cn/RAF/model1.html",
    access=(
        "ask the maintainers from an institutional address, as their page says",
        "unpack the archive and, in place, the inner Image/*.zip and Annotation/*.zip",
    ),
    looked_for=(
        "EmoLabel/list_patition_label.txt with Image/aligned or Image/original",
        "train/<1..7>/*.jpg with test/<1..7>/*.jpg",
    ),
    tree="""basic/                                  (compound/ has the same shape)
  EmoLabel/list_patition_label.txt
  Image/aligned/train_00001_aligned.jpg
  Image/original/train_00001.jpg
  Annotation/manual/train_00001_manu_attri.txt
  Annotation/boundingbox/train_00001_boundingbox.txt
or
DATASET/{train,test}/<1..7>/train_00001_aligned.jpg [+ train_labels.csv, test_labels.csv]""",
    published=(
        Published("train", _TRAIN | {"": 12_271}, "human", "counted"),
        Published("test", _TEST | {"": 3_068}, "human", "counted"),
        Published("train", {"": 3_162}, "human", "unverified", column="compound"),
        Published("test", {"": 792}, "human", "unverified", column="compound"),
    ),
    group_key="pictures shared with RAF-AU and RAF-ML exist, but no release says which",
    sentinels={"gender": "2 (unsure)"},
    overlaps=("RAF-AU and RAF-ML: about 2 % of the test photographs reappear there [one source]",),
    options=(Option("images", "pictures to read; points and boxes fit the original ones only", "aligned",
                    ("aligned", "original")),),
    revision=2,
    unverified=("counts of compound", "base of the five points, treated as 0", "header text of the repack's CSVs"),
)  # fmt: skip


def find(folder: Folder) -> Distribution | None:
    """The maintainers' tree, with one or both subsets, before the repack."""
    lists = [p for depth in ("", "*/", "*/*/") for p in folder.files.find(f"{depth}EmoLabel/list_pa*tition_label.txt")]
    lists, others = _one_spelling(lists)
    if lists:
        side = [p for path in lists for p in folder.files.under(_base(path, "Annotation")) if _is_side_file(p)]
        names = "original, " + " and ".join(_subset(folder, path) for path in lists)
        labelling = replace(CARD.labellings[0], rule=f"{_RULE}; {folder.options['images']} pictures first")
        parts, warnings = {"lists": tuple(lists)}, tuple(f"{path} is not read: {near} is" for path, near in others)
        return Distribution(folder, names, (*lists, *side), parts, warnings, (labelling,))
    tops = [f"{depth}{split}/*" for depth in ("", "*/", "*/*/") for split in ("train", "test")]
    classes = [p for top in tops for p in folder.files.folders(top) if folder.files.names(p, "*_aligned.jpg")]
    if not classes:
        return None
    tables = [p for depth in ("", "*/") for p in folder.files.find(f"{depth}t*_labels.csv")]
    labelling = replace(CARD.labellings[0], rule=f"{_RULE}; provenance: {_REPACK}")
    parts = {"classes": tuple(classes), "tables": tuple(tables)}
    return Distribution(folder, _REPACK, tuple(tables), parts, labellings=(labelling,))


def read(distribution: Distribution, reject: Reject) -> Iterator[Block]:
    """One Block per subset, or one for the repack."""
    folder, parts = distribution.folder, distribution.parts
    for path in parts.get("lists", ()):
        yield _read_list(folder, path, reject)
    if "classes" in parts:
        yield _read_repack(folder, parts["classes"], parts["tables"], reject)


@dataclass
class _Rows:
    """Columns of one subset as they are filled."""

    subset: str
    columns: dict[str, list[object]] = field(default_factory=dict)
    names: list[str | None] = field(default_factory=list)

    def add(self, name: str | None, **facts: object) -> None:
        for column in facts.keys() - self.columns.keys():
            self.columns[column] = [None] * len(self.names)
        for column, values in self.columns.items():
            values.append(facts.get(column))
        self.names.append(name)

    def block(self) -> Block:
        columns = dict(self.columns)
        points = [points or [np.nan] * 10 for points in columns.pop("points5", [])]
        samples = pa.table(columns)
        if points:
            samples = samples.append_column("points5", vectors(np.array(points, dtype=float)))
        labels = pa.table({SUBSETS[self.subset][0]: pa.array(self.names, pa.string())})
        return Block(samples, {"human": labels}, {"official": pa.array(columns["split"], pa.string())})


def _read_list(folder: Folder, path: str, reject: Reject) -> Block:
    subset = _subset(folder, path)
    rows, pictures = _Rows(subset), _Pictures(folder, path)
    listed = set()
    for number, stem, code in folder.parsed(path, _label_lines, path, reject):
        listed.add(stem)
        name = _class_name(code, subset, f"{path} line {number}", reject)
        if name:
            _add_picture(rows, pictures, stem, name, reject)
    for stem in sorted(pictures.stems() - listed):
        _add_picture(rows, pictures, stem, None, reject)
    return rows.block() if rows.names else Block(pa.table({"sample_id": pa.array([], pa.string())}))


def _label_lines(data: bytes, about: str, reject: Reject) -> Iterator[tuple[int, str, str]]:
    # train_00101.jpg 4          no header, no newline after the last line; the name is without `_aligned`
    for number, line in lines(data):
        fields = line.split()
        if fields:
            yield number, fields[0].removesuffix(".jpg"), fields[1] if len(fields) == 2 else ""
        if len(fields) != 2:
            reject(f"{about} line {number}", "bad-field-count", f"{len(fields)} fields: {line:.80}")


def _class_name(code: str, subset: str, where: str, reject: Reject) -> str | None:
    """The class of a 1-based code; None, with a reject, for a code that the subset does not have."""
    classes = SUBSETS[subset][1]
    if code.isascii() and code.isdigit() and 1 <= int(code) <= len(classes):
        return classes[int(code) - 1]
    if code:
        reject(where, "unknown-code", f"{code:.40}, {subset} has 1-{len(classes)}")
    return None


class _Pictures:
    """Where the pictures and side files of one subset lie."""

    def __init__(self, folder: Folder, path: str) -> None:
        self.folder = folder
        self._bases = {kind: _base(path, f"Image/{kind}") for kind in ("aligned", "original")}
        # Unpacking aligned.zip in place often gives aligned/aligned.
        for kind, base in self._bases.items():
            if not folder.files.names(base) and folder.files.names(f"{base}/{kind}"):
                self._bases[kind] = f"{base}/{kind}"
        first = folder.options["images"]
        self._order = (first, "original" if first == "aligned" else "aligned")
        self.manual, self.boxes = _base(path, "Annotation/manual"), _base(path, "Annotation/boundingbox")

    def find(self, stem: str) -> tuple[str, bool]:
        """Path of a picture, and whether it is an original; where there is none, the path that was wanted."""
        names = {"aligned": f"{stem}_aligned.jpg", "original": f"{stem}.jpg"}
        paths = [(f"{self._bases[kind]}/{names[kind]}", kind == "original") for kind in self._order]
        return next(((path, original) for path, original in paths if path in self.folder.files), paths[0])

    def stems(self) -> set[str]:
        """Names of all pictures of the kind that was asked for."""
        names = self.folder.files.names(self._bases[self._order[0]], "t*_*.jpg")
        return {name.removesuffix(".jpg").removesuffix("_aligned") for name in names}


def _add_picture(rows: _Rows, pictures: _Pictures, stem: str, name: str | None, reject: Reject) -> None:
    path, original = pictures.find(stem)
    split = stem.partition("_")[0]
    if split not in ("train", "test"):
        reject(path, "unknown-split", stem)
        return
    facts: dict[str, object] = {"sample_id": f"{rows.subset}/{stem}", "path": path, "split": split}
    manual = f"{pictures.manual}/{stem}_manu_attri.txt"
    if manual in pictures.folder.files:
        facts |= pictures.folder.parsed(manual, _manual, manual, reject, with_points=original)
    box = f"{pictures.boxes}/{stem}_boundingbox.txt"
    if original and box in pictures.folder.files:
        facts |= pictures.folder.parsed(box, _box, box, reject)
    rows.add(name, **facts)


def _manual(data: bytes, about: str, reject: Reject, *, with_points: bool) -> dict[str, object]:
    # 101.250<TAB>88.604        five lines: left eye, right eye, nose tip, left and right mouth corner (image sides)
    # 1                         gender 0 male, 1 female, 2 unsure
    # 0                         race
    # 2                         age group
    found = [line.split() for _, line in lines(data)]
    facts: dict[str, object] = {}
    if len(found) != 8 or any(len(fields) != 1 for fields in found[5:]):
        reject(about, "bad-attributes", f"{len(found)} lines, expected 5 points and 3 codes")
        return facts
    for column, [code] in zip(_CODED, found[5:], strict=True):
        facts[column] = _CODED[column].get(code)
        if code not in _CODED[column]:
            reject(about, "bad-attributes", f"{column} code {code:.20}")
    facts["attributes_source"] = "human" if any(facts.values()) else None
    points = _floats([cell for fields in found[:5] for cell in fields])
    if any(len(fields) != 2 for fields in found[:5]) or points is None:
        reject(about, "bad-landmarks", "five lines of two numbers expected")
    elif with_points:
        facts["points5"] = points
    return facts


def _box(data: bytes, about: str, reject: Reject) -> dict[str, object]:
    # 88.412003 61.950127 240.337509 271.004883        x_min y_min x_max y_max, may reach outside the picture
    edges = _floats(decoded(data).split())
    if edges is None or len(edges) != 4:
        reject(about, "bad-box", decoded(data)[:80])
        return {}
    return dict(zip(("box_x1", "box_y1", "box_x2", "box_y2"), edges, strict=True))


def _read_repack(folder: Folder, classes: tuple[str, ...], tables: tuple[str, ...], reject: Reject) -> Block:
    rows = _Rows("basic")
    codes = {name: code for path in tables for name, code in _csv_codes(folder, path, reject)}
    found = set()
    for path in classes:
        code, split = path.rpartition("/")[2], path.split("/")[-2].lower()
        if code not in "1234567" or len(code) != 1:
            reject(path, "unknown-class-folder", f"{len(folder.files.names(path))} files")
            continue
        for file in folder.files.names(path, "*.jpg"):
            found.add(file)
            stem = file.removesuffix(".jpg").removesuffix("_aligned")
            if codes.get(file, code) != code:
                reject(f"{path}/{file}", "conflicting-duplicate", f"folder {code}, CSV {codes[file]}")
            else:
                rows.add(BASIC[int(code) - 1], sample_id=f"basic/{stem}", path=f"{path}/{file}", split=split)
    base = classes[0].rpartition("/")[0].rpartition("/")[0]
    absent = sorted(codes.keys() - found)
    where = [f"{base}/{file.partition('_')[0]}/{codes[file]}/{file}".removeprefix("/") for file in absent]
    reject.many(where, "missing-image", ("listed in a CSV" for _ in absent))
    return rows.block() if rows.names else Block(pa.table({"sample_id": pa.array([], pa.string())}))


def _csv_codes(folder: Folder, path: str, reject: Reject) -> Iterator[tuple[str, str]]:
    # image,label
    # train_00001_aligned.jpg,5
    table = folder.parsed(path, csv_table, path, reject)
    if len(table.columns) != 2:
        raise DatasetError(f"{path} is not the repack's label list", found=", ".join(table.columns),
                           expected="two columns: picture name, label 1-7")  # fmt: skip
    names, codes = (column.to_pylist() for column in table.columns.values())
    for row, (name, code) in enumerate(zip(names, codes, strict=True)):
        where = table.where([row])[0]
        if not name or not code:
            reject(where, "bad-field-count", f"{name},{code}")
        elif _class_name(code.strip(), "basic", where, reject):
            yield name.strip(), code.strip()


def _subset(folder: Folder, path: str) -> str:
    """`basic` or `compound`: by the folder above EmoLabel, else by codes that only compound has."""
    named = _base(path, "").rpartition("/")[2].lower() or folder.root.name.lower()
    for subset in SUBSETS:
        if subset in named:
            return subset
    return "compound" if folder.parsed(path, _is_compound) else "basic"


def _is_compound(data: bytes) -> bool:
    return any(line.split()[-1:] in (["8"], ["9"], ["10"], ["11"]) for _, line in lines(data))


def _base(path: str, beside: str) -> str:
    """A folder beside EmoLabel, given the path of the label list."""
    above = path.rpartition("/")[0].rpartition("/")[0]
    return "/".join(filter(None, (above, beside)))


def _one_spelling(lists: list[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """One list per subset, and pairs of those left out with the one that is read instead.

    The release misspells its name (list_patition_label.txt); some copies hold a mended one beside it.
    """
    chosen: dict[str, str] = {}
    for path in sorted(lists, key=lambda path: "patition" not in path.lower()):
        chosen.setdefault(_base(path, ""), path)
    read = [path for path in lists if path in chosen.values()]
    return read, [(path, chosen[_base(path, "")]) for path in lists if path not in read]


def _is_side_file(path: str) -> bool:
    return path.endswith(("_manu_attri.txt", "_boundingbox.txt"))


def _floats(cells: list[str]) -> list[float] | None:
    try:
        values = [float(cell) for cell in cells]
    except ValueError:
        return None
    return values if np.isfinite(values).all() and np.abs(values).max(initial=0) < 1e6 else None
