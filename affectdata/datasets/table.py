"""A dataset of one's own: one CSV or Parquet file, and a TOML file that says what its columns mean.

    affect ingest table /data/mine --map mine.toml --name mine

A full map; everything but `file` is optional, and names on the right are columns:

    file = "labels.csv"                       # or .parquet; relative to the folder

    [samples]
    id = "image"                              # default: the path without extension, then the frame; else the row
    image = "image"                           # leave out for labels without pictures
    image_folder = "pictures"                 # put in front of every cell
    image_suffix = ".jpg"                     # put behind every cell
    frame = "frame"                           # 0-based, where `image` names a video
    sequence = "clip"
    frame_index = "n"
    time_s = "t"
    subject = "person"
    group = "film"
    split = "part"                            # for display; [protocols] decides
    age = "age"
    gender = "sex"
    ethnicity = "eth"
    attributes_source = "human"               # who says so
    box = ["x1", "y1", "x2", "y2"]            # pixels
    points5 = { left_eye = ["lx", "ly"], right_eye = ["rx", "ry"] }     # image sides; points may be left out

    [missing]                                 # column -> cells that mean unknown; "*" for every column
    valence = [-5]
    "*" = ["<NA>"]                            # empty, nan, NA, null and none are unknown anyway

    [codes.emotion]                           # column -> cell -> name; integers are never guessed
    0 = "neutral"
    1 = "happiness"
    [codes.sex]
    f = "female"
    m = "male"

    [labels.human]                            # one table per source
    unit = "frame"                            # frame | clip | sequence
    rule = "consensus of two coders"
    expression = "emotion"                    # also: compound, mental_state
    offered.expression = ["neutral", "happiness"]     # default: the code table's names, else those seen
    valence = { column = "val", low = 1, high = 9 }   # mapped to -1..1; a bare name is in -1..1 already
    arousal = "arousal"
    au = "AU*"                                # or { 1 = "AU1", 12 = "smile" }; cells 0 or 1
    au_intensity = "AU*_int"                  # cells 0-5
    au_cut = 2                                # intensity from which on an AU counts as present
    landmarks = "pts_file"                    # a column of .pts paths, or 136 columns x0, y0, ... x67, y67
    landmark_base = 1                         # coordinate of the first pixel's centre

    [protocols.official]
    column = "part"
    train = ["train"]
    val = ["dev"]
    test = ["test"]
    truth = ["human"]                         # sources that scoring may use
    keys = ["subject"]                        # what is exclusive between train and scored samples
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from affectdata.datasets.card import Card, Labelling, Option, ProtocolCard
from affectdata.datasets.reading import Block, Distribution, Folder, Reject, vectors
from affectdata.datasets.table_cells import Cells
from affectdata.datasets.table_map import (
    CLASSES,
    LabelColumns,
    SampleColumns,
    TableMap,
    au_columns,
    load_map,
    parse_map,
)
from affectdata.datasets.text import CsvTable, check_names, csv_table
from manifests.errors import DatasetError, UnknownNameError
from manifests.vocabulary import FIVE_POINTS, GENDERS, VOCABULARIES, Vocabulary, au_column

_FULL_MAP = (__doc__ or "").partition("names on the right are columns:\n\n")[2].rstrip()

CARD = Card(
    name="table",
    title="A dataset of your own: one table and a map of its columns",
    about="one CSV or Parquet file with a row per sample; a TOML file maps its columns and codes to tasks",
    tasks=("expression", "compound", "mental_state", "va", "au", "au_intensity", "landmarks"),
    labellings=(),
    licence="that of your data",
    citation="that of your data",
    homepage="docs/table.md of affectdata",
    access=(
        "put a CSV or Parquet file into the folder that holds the pictures",
        "write a map; the shortest is: file = 'labels.csv', [samples] image = 'image', [labels.human] "
        "expression = 'emotion'",
        "affect ingest table FOLDER --map MAP.toml --name NAME",
    ),
    looked_for=("the file that the map names",),
    tree="labels.csv\nand pictures anywhere below, if there are any\n\nA full map:\n" + _FULL_MAP,
    subject_key="the column that [samples] subject names",
    group_key="the column that [samples] group names",
    sentinels={"any column": "what [missing] lists for it"},
    options=(Option("map", "TOML file that maps columns and codes", is_path=True),),
)

_TEXT = {
    "sequence": "sequence_id",
    "subject": "subject_id",
    "group": "group_id",
    "split": "split",
    "age_group": "age_group",
    "ethnicity": "ethnicity",
}
_NUMBERS = {
    "frame": (pa.int32(), 0, 2**31 - 1),
    "frame_index": (pa.int32(), -(2**31), 2**31 - 1),
    "time_s": (pa.float64(), -1e9, 1e9),
    "age": (pa.float32(), 0, 130),
}


def find(folder: Folder) -> Distribution | None:
    """The file that the map names."""
    if not folder.options["map"]:
        raise DatasetError(
            "reader table needs a map of the columns",
            expected="--map MAP.toml",
            then="affect info table shows a full one",
        )
    text = load_map(folder.options["map"])
    chosen = parse_map(text, folder.options["map"])
    if not chosen.file or chosen.file not in folder.files:
        near = [path for path in folder.files if path.lower().endswith((".csv", ".parquet"))][:10]
        raise DatasetError(
            f"the map's file {chosen.file!r} is not in {folder.root}",
            found=", ".join(near) or "no CSV or Parquet file",
            expected="a path relative to that folder",
        )
    points = [p for p in folder.files if p.endswith(".pts")] if _has_pts(chosen) else []
    labellings = [labelling_of(chosen, source, columns) for source, columns in chosen.labels.items()]
    seen = [_seen(folder, chosen, labelling) for labelling in labellings]
    return Distribution(
        folder,
        f"table {chosen.file}",
        (chosen.file, *points),
        warnings=tuple(
            f"{labelling.source}: the classes on offer for {task} are taken to be those in the file: "
            f"{', '.join(classes)}; the map may say offered.{task} = [...]"
            for labelling, found in zip(labellings, seen, strict=True)
            for task, classes in found.items()
        ),
        labellings=tuple(_with_seen(labelling, found) for labelling, found in zip(labellings, seen, strict=True)),
        protocols=tuple(
            ProtocolCard(name, p.truth, p.keys, f"column {p.column}") for name, p in chosen.protocols.items()
        ),
        settings=text,
    )


def read(distribution: Distribution, reject: Reject) -> Iterator[Block]:
    """The whole table as one Block."""
    folder = distribution.folder
    chosen = parse_map(distribution.settings)
    cells = Cells(table_of(folder, chosen.file, reject), chosen.missing, chosen.codes, reject)
    cells.require(column for column in chosen.missing if column != "*")
    samples = pa.table(sample_columns(chosen.samples, cells))
    labels = {source: pa.table(label_columns(folder, columns, cells)) for source, columns in chosen.labels.items()}
    roles = {name: cells.mapped(p.column, p.roles(), "unknown-split") for name, p in chosen.protocols.items()}
    yield Block(samples, {source: table for source, table in labels.items() if table.num_columns}, roles)


def table_of(folder: Folder, path: str, reject: Reject) -> CsvTable:
    """The file as columns of text, CSV or Parquet by its name."""
    parser = parquet_table if path.lower().endswith(".parquet") else csv_table
    return folder.parsed(path, parser, path, reject)


def parquet_table(data: bytes, path: str, reject: Reject) -> CsvTable:  # noqa: ARG001 (of a whole file no row is refused)
    """A Parquet file as columns of text."""
    try:
        table = pq.read_table(io.BytesIO(data))
        columns = {str(name): table.column(name).cast(pa.string()).combine_chunks() for name in table.column_names}
    except (pa.ArrowException, OSError) as error:
        raise DatasetError(f"{path} cannot be read as Parquet", found=str(error)[:200]) from None
    check_names(table.column_names, path)
    return CsvTable(columns, np.arange(table.num_rows), path)


def sample_columns(given: SampleColumns, cells: Cells) -> dict[str, pa.Array]:
    """Columns of `samples` that the map names; `sample_id` is always among them."""
    columns: dict[str, pa.Array] = {}
    paths = cells.text(given.image) if given.image else None
    if paths is not None:
        before = f"{given.image_folder.rstrip('/')}/" if given.image_folder else ""
        columns["path"] = pc.binary_join_element_wise(pa.scalar(before), paths, pa.scalar(given.image_suffix), "")
    numbers = pc.utf8_lpad(pc.cast(pa.array(cells.table.rows), pa.string()), 6, "0")
    rows = pc.binary_join_element_wise(pa.scalar("row"), numbers, "")
    for name, column in _TEXT.items():
        if source := getattr(given, name):
            columns[column] = cells.text(source)
    for name, (kind, low, high) in _NUMBERS.items():
        if source := getattr(given, name):
            columns[name] = cells.number(source, low, high, whole=pa.types.is_integer(kind)).cast(kind)
    columns["sample_id"] = cells.text(given.id) if given.id else _default_ids(columns, rows)
    if given.gender:
        columns["gender"] = cells.mapped(given.gender, dict(zip(GENDERS, GENDERS, strict=True)), "bad-attributes")
    if given.attributes_source:
        columns["attributes_source"] = pa.array([given.attributes_source] * len(rows), pa.string())
    for edge, source in zip(("x1", "y1", "x2", "y2"), given.box, strict=False):
        columns[f"box_{edge}"] = cells.number(source, -1e6, 1e6)
    if given.points5:
        axes = [given.points5[name][axis] if name in given.points5 else "" for name in FIVE_POINTS for axis in (0, 1)]
        columns["points5"] = vectors(cells.matrix(axes))
    return columns


def _default_ids(columns: dict[str, pa.Array], rows: pa.Array) -> pa.Array:
    """`clip` of `clip.mp4`, `clip/00012` of its frame 12; `row000003` where there is no picture."""
    ids = pc.replace_substring_regex(columns.get("path", rows), r"\.[^./]+$", "")
    if "frame" in columns:
        frames = pc.utf8_lpad(columns["frame"].cast(pa.string()), 5, "0")
        ids = pc.coalesce(pc.binary_join_element_wise(ids, frames, "/"), ids)
    return pc.coalesce(ids, rows)


def label_columns(folder: Folder, given: LabelColumns, cells: Cells) -> dict[str, pa.Array]:
    """Label columns of one source; what does not fit is refused by cell."""
    columns: dict[str, pa.Array] = {}
    for task, column in given.classes().items():
        columns[task] = cells.names(column, VOCABULARIES[task])
    for name, scale in given.scales().items():
        values = cells.number(scale.column, scale.low, scale.high)
        # 2 (v - low) / (high - low) - 1, written so that -1..1 passes through unchanged.
        if (scale.low, scale.high) != (-1, 1):
            shifted = pc.multiply(pc.subtract(values, scale.low), 2 / (scale.high - scale.low))
            values = pc.subtract(shifted, 1.0)
        columns[name] = values
    known = list(cells.table.columns)
    for au, column in au_columns(given.au, known, "au").items():
        columns[au_column(au)] = cells.number(column, 0, 1, whole=True).cast(pa.int8())
    for au, column in au_columns(given.au_intensity, known, "au_intensity").items():
        columns[au_column(au, "intensity")] = cells.number(column, 0, 5)
    if isinstance(given.landmarks, str):
        columns["landmarks"] = vectors(cells.pts(given.landmarks, folder, given.landmark_base or 0))
    elif given.landmarks:
        columns["landmarks"] = vectors(cells.matrix(given.landmarks) - (given.landmark_base or 0))
    return columns


def labelling_of(chosen: TableMap, source: str, given: LabelColumns) -> Labelling:
    """What one source offers, for which unit, by the map."""
    offered = {task: tuple(names) for task, names in given.offered.items()}
    for task, column in given.classes().items():
        if task not in offered and column in chosen.codes:
            named = _meant(VOCABULARIES[task], column, chosen.codes[column])
            offered[task] = tuple(name for name in CLASSES[task] if name in named)
    tasks = [*given.classes(), *(["va"] if given.scales() else [])]
    tasks += [task for task in ("au", "au_intensity", "landmarks") if getattr(given, task)]
    base = "" if given.landmark_base is None else f"{given.landmark_base} (as the map says)"
    return Labelling(source, offered, dict.fromkeys(tasks, given.unit), given.rule, given.au_cut, base)


def _meant(vocabulary: Vocabulary, column: str, codes: Mapping[str, str]) -> set[str]:
    try:
        return {vocabulary.canonical(name) for name in codes.values()}
    except UnknownNameError as error:
        raise DatasetError(
            f"[codes.{column}] of the map: {error.about}", expected=error.expected, then="mend the map"
        ) from None


def _seen(folder: Folder, chosen: TableMap, labelling: Labelling) -> dict[str, tuple[str, ...]]:
    """Class task -> names in its column, for tasks whose offered classes neither the map nor a code table says."""
    columns = chosen.labels[labelling.source].classes()
    open_tasks = [task for task in columns if task not in labelling.offered]
    if not open_tasks:
        return {}
    # What does not fit is refused when the table is read.
    cells = Cells(table_of(folder, chosen.file, Reject()), chosen.missing, chosen.codes, Reject())
    found = {task: set(cells.names(columns[task], VOCABULARIES[task]).to_pylist()) for task in open_tasks}
    ordered = {task: tuple(name for name in CLASSES[task] if name in names) for task, names in found.items()}
    return {task: names for task, names in ordered.items() if names}


def _with_seen(labelling: Labelling, seen: dict[str, tuple[str, ...]]) -> Labelling:
    if not seen:
        return labelling
    note = f"offered {' and '.join(seen)}: the classes seen in the file"
    rule = "; ".join(filter(None, (labelling.rule, note)))
    return replace(labelling, offered={**labelling.offered, **seen}, rule=rule)


def _has_pts(chosen: TableMap) -> bool:
    return any(isinstance(columns.landmarks, str) for columns in chosen.labels.values())
