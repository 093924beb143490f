"""The Arrow schema of every layer of a lake, checked on every write.

Each field carries its meaning in its metadata (`unit`, `range`, `values`, `order`, `about`), so that a
Parquet file found on its own still explains itself. All columns are flat and nullable unless marked
`required`; NULL means unknown, and unknown is never a value.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import pyarrow as pa
import pyarrow.compute as pc

from manifests import vocabulary as voc
from manifests.errors import SchemaError
from manifests.values import check_label_rules, check_values, without_empty_lists
from manifests.vocabulary import au_column

SCHEMA_VERSION = 3
"""Raised whenever a stored column changes its name, type or meaning; `lake.MIGRATIONS` says how to follow."""


def _field(name: str, kind: pa.DataType, about: str, *, required: bool = False, **facts: str) -> pa.Field:
    return pa.field(name, kind, nullable=not required, metadata={"about": about, **facts})


def _names(name: str, values: Iterable[str], about: str, *, required: bool = False) -> pa.Field:
    return _field(name, pa.string(), about, required=required, values=",".join(values))


def _number(name: str, about: str, low: float, high: float, unit: str = "1") -> pa.Field:
    return _field(name, pa.float32(), about, range=f"{low}..{high}", unit=unit)


def _vector(name: str, length: int, about: str, order: str, unit: str = "1") -> pa.Field:
    return _field(name, pa.list_(pa.float32(), length), about, order=order, unit=unit, shape=str(length))


_ID = _field("sample_id", pa.string(), "readable, stable, unique in the lake", required=True)
_BOX = tuple(
    _field(f"box_{edge}", pa.float32(), f"{edge} of the face box, pixel centres at integers", unit="pixel")
    for edge in ("x1", "y1", "x2", "y2")
)
_POINTS5 = _vector(
    "points5", 10, "five points, x y interleaved, pixels of the source image", " ".join(voc.FIVE_POINTS), "pixel"
)

SAMPLES = pa.schema(
    [
        _ID,
        _field("dataset", pa.string(), "name of the dataset in the lake", required=True),
        _field("path", pa.string(), "media file relative to the dataset's root, '/' separated; NULL: labels only"),
        _field("member", pa.string(), "archive entry, or 0-based data row of a CSV that holds pixels"),
        _field("frame", pa.int32(), "0-based frame of the video at `path`"),
        _field("sequence_id", pa.string(), "the clip or sequence it is a frame of"),
        _field("frame_index", pa.int32(), "position in its sequence, as the dataset numbers it"),
        _field("time_s", pa.float64(), "time in the sequence", unit="second"),
        _field("subject_id", pa.string(), "the person"),
        _field("group_id", pa.string(), "who or what must not be split apart, shared across datasets"),
        _names("face_status", voc.FACE_STATUSES, "whether the dataset calls it a face"),
        *_BOX,
        _POINTS5,
        _number("age", "age as released", 0, 130, "year"),
        _field("age_group", pa.string(), "age bracket as released"),
        _names("gender", voc.GENDERS, "gender as released"),
        _field("ethnicity", pa.string(), "ethnicity as released"),
        _field("attributes_source", pa.string(), "who says so: human, auto, ..."),
        _field("split", pa.string(), "the dataset's own split, for display only; protocols decide"),
    ]
)

REJECTS = pa.schema(
    [
        _field("where", pa.string(), "file, line or item that was refused", required=True),
        _field("reason", pa.string(), "reject code", required=True),
        _field("detail", pa.string(), "what was found"),
        _field("expected", pa.bool_(), "the CARD foresees this reason", required=True),
    ]
)


def _au_fields() -> list[pa.Field]:
    fields = []
    for au in voc.AUS:
        name = voc.AU_NAMES.get(au, "no name in FACS")
        fields += [
            _field(au_column(au), pa.int8(), f"AU{au} {name}: absent or present", range="0..1"),
            _names(au_column(au, "side"), voc.AU_SIDES, f"AU{au}: side as coded (the subject's)"),
            _number(au_column(au, "intensity"), f"AU{au}: FACS intensity as released", 0, 5, "FACS A-E as 1-5"),
            _number(au_column(au, "prob"), f"AU{au}: probability of presence, where the source gives one", 0, 1),
            _number(au_column(au, "weight"), f"AU{au}: weight of this label, NULL is 1", 0, 1e6),
        ]
    return fields


LABELS = pa.schema(
    [
        _ID,
        _names("expression", voc.EXPRESSIONS, "categorical expression"),
        _vector("expression_probs", len(voc.EXPRESSIONS), "distribution, sums to 1", " ".join(voc.EXPRESSIONS)),
        _vector("expression_votes", len(voc.VOTES), "votes as released (counts)", " ".join(voc.VOTES)),
        _number("expression_weight", "weight of the expression label, NULL is 1", 0, 1e6),
        _names("compound", voc.COMPOUNDS, "compound expression"),
        _number("compound_weight", "weight of the compound label, NULL is 1", 0, 1e6),
        _names("mental_state", voc.MENTAL_STATES, "LSEMSW emotion or mental state"),
        _number("mental_state_weight", "weight of the mental state label, NULL is 1", 0, 1e6),
        _number("valence", "unpleasant to pleasant", -1, 1),
        _number("arousal", "calm to activated", -1, 1),
        _number("va_weight", "weight of the valence-arousal label, NULL is 1", 0, 1e6),
        *_au_fields(),
        _field(
            "landmarks",
            pa.list_(pa.float32(), 136),
            "68 points, x y interleaved; a point may be NULL; pixel centres at integers, 0-based",
            unit="pixel of the source image",
            order="iBUG 68",
            shape="68 2",
        ),
        _number("landmarks_weight", "weight of the landmarks, NULL is 1", 0, 1e6),
    ]
)

PROTOCOL = pa.schema(
    [
        _ID,
        _names("task", (*voc.TASKS, "all"), "task the role holds for", required=True),
        _names("role", voc.ROLES, "what the sample is for", required=True),
        _field("fold", pa.int16(), "fold in which the role holds; NULL: every fold. Elsewhere a folded sample trains"),
    ]
)

SELECTION = pa.schema([_ID, _field("reason", pa.string(), "why it is in the list")])

FACES = pa.schema(
    [
        _ID,
        _field("status", pa.string(), "found, or the reason why there is no face", required=True),
        _field("faces", pa.int16(), "number of faces seen"),
        _field("rule", pa.string(), "how the face was chosen among several"),
        *_BOX,
        _POINTS5,
        _number("score", "detector confidence", 0, 1),
        _field("width", pa.int32(), "width of the source image", unit="pixel"),
        _field("height", pa.int32(), "height of the source image", unit="pixel"),
        _field("pixel_hash", pa.string(), "BLAKE2b-128 of the decoded source pixels and their shape"),
        _number("face_size", "square root of the area of the face box in the source image", 0, 1e6, "pixel"),
        _number("eye_distance", "distance of the two eye points in the source image", 0, 1e6, "pixel"),
        _number("roll", "head roll estimated from five points; above 0: clockwise on the screen", -180, 180, "degree"),
        _number("yaw", "head yaw, likewise; above 0: the nose points to the image's right", -90, 90, "degree"),
        _number("pitch", "head pitch, likewise; above 0: the nose points up", -180, 180, "degree"),
        _number("sharpness", "variance of the Laplacian of the grey face at 112 x 112", 0, 1e7, "grey level squared"),
        _field(
            "perceptual_hash", pa.string(), "DCT hash of the grey face, 64 bits in hex: few differ for pictures alike"
        ),
    ]
)

CROPS = pa.schema(
    [
        _ID,
        _field("shard", pa.int32(), "number of the pixel file", required=True),
        _field("row", pa.int32(), "row in the pixel file", required=True),
        _field("offset", pa.int64(), "where a JPEG begins in the pixel file; NULL: raw pixels", unit="byte"),
        _field("length", pa.int32(), "length of that JPEG", unit="byte"),
        _vector("transform", 6, "source pixel to crop pixel: [[a b c] [d e f]]", "a b c d e f", "pixel"),
        _number("outside", "share of the crop that lies outside the source image", 0, 1),
    ]
)

KINDS = {
    "samples": SAMPLES,
    "rejects": REJECTS,
    "labels": LABELS,
    "protocols": PROTOCOL,
    "selections": SELECTION,
    "faces": FACES,
    "crops": CROPS,
}
"""Kind of layer -> schema. `samples` and `rejects` exist once per dataset, the others by name."""

TASK_COLUMNS: dict[str, tuple[str, ...]] = {
    "expression": ("expression", "expression_probs"),
    "compound": ("compound",),
    "mental_state": ("mental_state",),
    "va": ("valence", "arousal"),
    "au": tuple(au_column(au) for au in voc.AUS),
    "au_intensity": tuple(au_column(au, "intensity") for au in voc.AUS),
    "landmarks": ("landmarks",),
}
"""Task -> the label columns that hold its values."""


def conform(table: pa.Table, kind: str, about: str) -> pa.Table:
    """The table in the column order and types of its kind, missing nullable columns filled with NULL.

    Args:
        table: Columns in any order; types that cast without loss are cast. A list of nothing but NULLs becomes NULL.
        kind: A key of `KINDS`.
        about: Name of the layer for messages, e.g. `rafdb labels/human`.

    Raises:
        SchemaError: Unknown or missing column, a type that does not cast, a name outside its vocabulary, a
            number outside its range or not finite, a distribution that is none, a duplicate or unsorted `sample_id`.
    """
    schema = KINDS[kind]
    unknown = sorted(set(table.column_names) - set(schema.names))
    if unknown:
        raise SchemaError(f"{about}: columns that no {kind} layer has", found=", ".join(unknown))
    columns = []
    for field in schema:
        if field.name in table.column_names:
            columns.append(_cast(table.column(field.name), field, about))
        elif field.nullable:
            columns.append(_nulls(field.type, table.num_rows))
        else:
            raise SchemaError(f"{about}: required column is missing", expected=field.name)
    result = pa.Table.from_arrays(columns, schema=schema)
    check_values(result, about)
    if "sample_id" in schema.names:
        _check_ids(result, kind, about)
    if kind == "labels":
        check_label_rules(result, about)
    return result


@lru_cache(maxsize=16)
def _nulls(kind: pa.DataType, count: int) -> pa.Array:
    """A column of NULLs; most label columns of most layers are such a one, and may as well share it."""
    return pa.nulls(count, kind)


def _cast(column: pa.ChunkedArray, field: pa.Field, about: str) -> pa.ChunkedArray:
    try:
        cast = column.cast(field.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise SchemaError(
            f"{about}: column {field.name} does not fit its type",
            found=f"{column.type}: {error}",
            expected=f"{field.type}",
        ) from None
    if pa.types.is_fixed_size_list(field.type):
        cast = without_empty_lists(cast)
    if not field.nullable and cast.null_count:
        raise SchemaError(f"{about}: column {field.name} may not be NULL", found=f"{cast.null_count} NULLs")
    return cast


def _check_ids(table: pa.Table, kind: str, about: str) -> None:
    ids = table.column("sample_id").combine_chunks()
    if len(ids) < 2:
        return
    before, after = ids.slice(0, len(ids) - 1), ids.slice(1)
    in_order = pc.less_equal(before, after) if kind == "protocols" else pc.less(before, after)
    if not pc.all(in_order).as_py():
        at = pc.index(in_order, False).as_py()
        raise SchemaError(
            f"{about}: sample_id must be unique and sorted",
            found=f"{before[at].as_py()!r} before {after[at].as_py()!r}",
        )


def check_order(last: str | None, table: pa.Table, kind: str, about: str) -> str | None:
    """The last `sample_id` of a table that continues a layer after `last`.

    Raises:
        SchemaError: The table starts before, or repeats, the id that came last.
    """
    if "sample_id" not in table.column_names or not table.num_rows:
        return last
    ids = table.column("sample_id")
    if ids.null_count:
        return last
    first = ids[0].as_py()
    if last is not None and (first < last or (first == last and kind != "protocols")):
        raise SchemaError(
            f"{about}: sample_id must be unique and sorted across batches", found=f"{last!r} before {first!r}"
        )
    end: str = ids[-1].as_py()
    return end


def describe(kind: str) -> list[tuple[str, str, str]]:
    """Name, type and meaning of every column of a layer kind, for documentation and `affect sql --schema`."""
    return [(f.name, str(f.type), f.metadata[b"about"].decode()) for f in KINDS[kind]]
