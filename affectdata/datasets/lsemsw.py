"""LSEMSW (Large-scale Subtle Emotions and Mental States in the Wild): stills with one of 13 states.

How to get it: perhaps from the authors; no release page is known. Facts: datasets/lsemsw.md.

No listing, loader or sample line of it is public, so nothing native is read: a copy comes in as a list, through the
reader `table` and the map `lsemsw.toml` beside this file (or one of your own), or as class folders.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from affectdata.datasets import table
from affectdata.datasets.card import Card, Labelling, Option, ProtocolCard, Published
from affectdata.datasets.reading import Block, Distribution, Folder, Reject
from affectdata.datasets.table_map import load_map, parse_map
from affectdata.datasets.text import header
from manifests.errors import DatasetError, UnknownNameError
from manifests.vocabulary import MENTAL_STATE, MENTAL_STATES

MAP = Path(__file__).with_name("lsemsw.toml")

SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val",
          "test": "test", "testing": "test"}  # fmt: skip
"""Name of a folder above class folders -> role."""

_OWN_STATES = MENTAL_STATES[5:]
"""Classes that no other dataset of class folders has."""

_COUNTS = {
    "happy": 22_378, "surprise": 13_712, "anxious": 11_776, "arrogant": 11_240, "sad": 10_392, "thinking": 31_645,
    "fear": 12_190, "helpless": 10_699, "anger": 9_014, "suspicious": 12_666, "hesitant": 7_365, "questioning": 10_288,
    "indifferent": 12_314,
}  # fmt: skip
"""Table 2 of Hu et al. 2018."""

_PICTURES = (".jpg", ".jpeg", ".png", ".bmp")
_NOTICE = (
    "the layout is not verified: the maintainers' release is not known, so names and splits are those of your copy"
)
_NO_SPLIT = "no folder names a split: every picture has the split `all`, and there is no protocol"

CARD = Card(
    name="lsemsw",
    title="LSEMSW (Large-scale Subtle Emotions and Mental States in the Wild)",
    revision=2,
    about="about 176,000 stills with one of 13 subtle emotions and mental states. The release's layout is unknown: it "
    "is read through the reader `table` (a list and a map) or from class folders, never by guess",
    tasks=("mental_state",),
    labellings=(
        Labelling(
            "human",
            {"mental_state": MENTAL_STATES},
            {"mental_state": "frame"},
            "manual: one of 13 emotions and mental states per picture [one source]; names of the paper's table 2",
        ),
    ),
    protocols=(
        ProtocolCard("split", ("human",), about="the split of your copy; official lists and identities are unknown"),
    ),
    licence="unknown; treat as restricted, no redistribution",
    citation="Hu, Liu, Yuan, Yu, Hua, Zhang, Shen, Shao, Hospedales, Robertson, Yang, Deep Multi-Task Learning to "
    "Recognise Subtle Facial Expressions of Mental States, ECCV 2018",
    homepage="https://doi.org/10.1007/978-3-030-01258-8_7",
    access=(
        "ask the authors (AnyVision, Queen's University Belfast) [unverified]; no download is known",
        "write your copy down as lsemsw.csv, or sort it into class folders, or write a map: affect info table",
    ),
    looked_for=(
        "lsemsw.csv with columns image, mental_state, split",
        "class folders: <split>/<class>/<picture>, or <class>/<picture>",
        "any list, with --map MAP.toml",
    ),
    tree="""lsemsw.csv            image,mental_state,split      (read with the map lsemsw.toml)
or
train/Thinking/000001.jpg   val/...   test/...
or, with --map, one CSV or Parquet file of any shape""",
    published=(Published("", _COUNTS | {"": 175_679}, "human", "one source", column="mental_state"),),
    subject_key="unknown",
    group_key="unknown; the pictures may be frames of films [unverified]",
    options=(Option("map", "TOML file (affect info table) for a list of your own shape", is_path=True),),
    unverified=(
        "the 13 names are those that the paper prints (scared is read as fear), not those of the release",
        "the order of label integers: none is known, so integers need a code table",
        "which pictures are the paper's 80 % for training, 10 % for validation and 10 % for the test",
        "directory tree, file names, face crops",
    ),
)


def find(folder: Folder) -> Distribution | None:
    """The user's list and map before `lsemsw.csv`, before class folders."""
    if folder.options["map"]:
        return _with_notice(table.find(folder))
    name = parse_map(load_map(str(MAP))).file
    if name in folder.files:
        _check_columns(folder, name)
        return _with_notice(table.find(replace(folder, options={"map": str(MAP)})), folder)
    above = _folders_above_classes(folder)
    if not above:
        return None
    named = [path for path in above if _split(path)]
    warnings = (_NOTICE,) if named else (_NOTICE, _NO_SPLIT)
    return Distribution(folder, "class folders", (), {"classes": tuple(above)}, warnings)


def read(distribution: Distribution, reject: Reject) -> Iterator[Block]:
    """What `table` makes of the list; or one Block per class folder."""
    if "classes" not in distribution.parts:
        yield from table.read(distribution, reject)
        return
    above = distribution.parts["classes"]
    base = posixpath.commonpath([_above(path) if _split(path) else path for path in above])
    for path in above:
        split = _split(path) or ("all" if len(above) == 1 else "")
        for inner in distribution.folder.files.folders("*", below=path):
            yield _read_class(distribution.folder, inner, split, base, reject)


def _read_class(folder: Folder, path: str, split: str, base: str, reject: Reject) -> Block:
    # train/Thinking/000001.jpg
    files = [f"{path}/{name}" for name in folder.files.names(path) if not name.startswith((".", "Thumbs.db"))]
    name, reason = _class_name(path), "bad-name"
    if name is None or not split:
        # Every picture counts, so that a folder of a wrong name cannot slip under the limit of rejects.
        reason = "unknown-split" if name else "unknown-class-folder"
        reject.many(files, reason, (path for _ in files))
        files = []
    odd = [file for file in files if not file.lower().endswith(_PICTURES)]
    reject.many(odd, reason, ("no picture" for _ in odd))
    paths = pa.array([file for file in files if file.lower().endswith(_PICTURES)], pa.string())
    said = {text: pa.array([text] * len(paths), pa.string()) for text in (split, name or "")}
    # A folder around everything, such as that of an archive, is no part of a name.
    keys = pc.replace_substring_regex(pc.utf8_slice_codeunits(paths, len(base) + bool(base)), r"\.[A-Za-z]+$", "")
    samples = pa.table({"sample_id": keys, "path": paths, "split": said[split]})
    roles = {"split": said[split]} if split in SPLITS.values() else {}
    return Block(samples, {"human": pa.table({"mental_state": said[name or ""]})}, roles)


def _folders_above_classes(folder: Folder) -> list[str]:
    """Folders that hold class folders: those with a class that only this dataset has, and the splits beside them."""
    near = {path: _class_name(path) for path in folder.files.tree() if path and path.count("/") < 4}
    near = {path: name for path, name in near.items() if name and any(folder.files.unsorted_names(path))}
    above = {_above(path) for path, name in near.items() if name in _OWN_STATES}
    tops = {_above(path) for path in above if _split(path)}
    beside = {_above(path) for path in near}
    return sorted(above | {path for path in beside if _above(path) in tops and _split(path)})


def _class_name(path: str) -> str | None:
    try:
        return MENTAL_STATE.canonical(path.rpartition("/")[2])
    except UnknownNameError:
        return None


def _split(path: str) -> str | None:
    return SPLITS.get(path.rpartition("/")[2].lower())


def _above(path: str) -> str:
    return path.rpartition("/")[0]


def _with_notice(found: Distribution | None, folder: Folder | None = None) -> Distribution | None:
    if found is None:
        return None
    return replace(found, folder=folder or found.folder, warnings=(_NOTICE, *found.warnings))


def _check_columns(folder: Folder, name: str) -> None:
    wanted = {"image", "mental_state", "split"}
    names = header(folder.head(name))
    if not wanted <= set(names):
        raise DatasetError(
            f"{name} lacks columns (no-column-map)",
            found=", ".join(names) or "no header",
            expected=f"{', '.join(sorted(wanted))}; split may be empty",
            then="rename the columns, or say what they are: affect ingest lsemsw PATH --map MAP.toml",
        )
