"""One layer of a lake: a Parquet file with facts about what made it, and whether it is stale."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from manifests import schema
from manifests.errors import LakeError, UnknownNameError
from manifests.footers import TALLY_KEY, Tally, read_footer

METADATA_KEY = b"affect"
ROW_GROUP = 131_072
SINGLE = ("samples", "rejects")
"""Kinds that exist once per dataset and have no name."""

SOURCE_NAME = re.compile(r"^(human|auto|derived|co|teacher|landmarks|tool)(-[a-z0-9][a-z0-9._-]*)?$")
"""Label sources say by their first word who speaks."""

_LAYER_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*$")


@dataclass(frozen=True)
class LayerFacts:
    """What a layer says of itself, stored as JSON in its Parquet metadata. No time and no absolute path."""

    fingerprint: str = ""
    """What made this layer; filled at publication when empty."""
    parents: dict[str, str] = field(default_factory=dict)
    """Layer key -> the fingerprint it had when this layer was made."""
    offered: dict[str, list[str]] = field(default_factory=dict)
    """Task -> classes that the annotators could choose; a class that was not offered is not a negative."""
    unit: dict[str, str] = field(default_factory=dict)
    """Task -> frame, clip or sequence."""
    rule: str = ""
    """The rule that made it, in words."""
    au_cut: float | None = None
    """AU intensity from which on an AU counts as present, unless the reader of the layer says otherwise."""
    landmark_base: str = ""
    """Base of the released landmark coordinates and how sure we are."""
    command: str = ""
    """The command that made it."""
    truth: list[str] = field(default_factory=list)
    """Protocols: label sources that scoring may use, in order."""
    keys: list[str] = field(default_factory=list)
    """Protocols: what never lies on both sides (subject, sequence, group, pixels)."""
    metrics: list[str] = field(default_factory=list)
    """Protocols: what its papers report beside the usual metrics of each task, e.g. `au_f1[disfa8]`."""
    extra: dict[str, str] = field(default_factory=dict)
    """Facts of one kind of layer: height, width, channels and alignment of crops, the detector of faces."""

    def to_json(self) -> bytes:
        """Canonical JSON without empty entries."""
        kept = {name: value for name, value in asdict(self).items() if value not in ("", None, {}, [])}
        return json.dumps(kept, sort_keys=True, ensure_ascii=False).encode()

    @classmethod
    def from_json(cls, text: bytes) -> LayerFacts:
        """Facts from `to_json`; entries that this version does not know are ignored."""
        known = {f.name for f in fields(cls)}
        return cls(**{name: value for name, value in json.loads(text).items() if name in known})

    def filled(self, kind: str, name: str, parents: Mapping[str, str]) -> LayerFacts:
        """The facts with parents set and, when empty, the fingerprint made from everything else."""
        facts = replace(self, parents=dict(parents))
        if facts.fingerprint:
            return facts
        digest = hashlib.blake2b(f"{schema.SCHEMA_VERSION} {kind}/{name} ".encode() + facts.to_json(), digest_size=16)
        return replace(facts, fingerprint=digest.hexdigest())


@dataclass(frozen=True)
class Layer:
    """A published layer. `stale` is empty, or says in words why the layer may not be used."""

    dataset: str
    kind: str
    name: str
    path: Path
    rows: int
    facts: LayerFacts
    stale: str = ""

    @property
    def key(self) -> str:
        """`samples`, `labels/human`, `crops/arcface112`."""
        return layer_key(self.kind, self.name)


def layer_key(kind: str, name: str = "") -> str:
    """Key of a layer within its dataset: `samples`, `labels/human`.

    Raises:
        UnknownNameError: No such kind.
        LakeError: A name that could leave the lake, or a label source whose first word says nothing.
    """
    if kind not in schema.KINDS:
        raise UnknownNameError("kind of layer", kind, schema.KINDS)
    if kind in SINGLE:
        return kind
    if not _LAYER_NAME.match(name):
        raise LakeError(f"{kind} layer name {name!r}", expected="letters, digits, '.', '_' and '-'")
    if kind == "labels" and not SOURCE_NAME.match(name):
        raise LakeError(
            f"label source {name!r}",
            expected="human[-<labelling>], auto[-...], derived-, co-, teacher-, landmarks- or tool-<name>, lower case",
        )
    return f"{kind}/{name}"


def layer_file(key: str) -> str:
    """Path of a layer's Parquet file inside its generation."""
    return f"{key}.parquet"


def read_layer(dataset: str, key: str, path: Path) -> Layer:
    """A layer from its footer alone.

    Raises:
        LakeError: The file is not a Parquet layer of ours.
    """
    kind, _, name = key.partition("/")
    try:
        footer = read_footer(path)
        facts = LayerFacts.from_json(footer.metadata[METADATA_KEY])
    except (LakeError, KeyError, TypeError, ValueError) as error:
        raise LakeError(
            f"layer {key} of {dataset} cannot be read",
            found=f"{path.name}: {error.found if isinstance(error, LakeError) else error}",
            expected="a Parquet file published by affectdata",
            then=f"affect drop {dataset} {key}, then make it again",
        ) from None
    return Layer(dataset, kind, name, path, footer.num_rows, facts)


def write_layer(path: Path, kind: str, tables: Iterable[pa.Table], facts: LayerFacts, about: str) -> int:
    """Write tables as one layer, checked against the schema of its kind row group by row group.

    Args:
        path: File to write; its folder exists.
        tables: In order of `sample_id`, also across tables.

    Returns:
        Number of rows.

    Raises:
        SchemaError: A table does not fit.
    """
    target = schema.KINDS[kind].with_metadata({METADATA_KEY: facts.to_json()})
    # Names and 0/1 cells repeat: as dictionary codes they are a quarter of the size, and faster to count.
    repeating = [f.name for f in target if f.type in (pa.string(), pa.int8()) and f.name != "sample_id"]
    tally = Tally()
    with pq.ParquetWriter(path, target, compression="zstd", use_dictionary=repeating) as writer:
        # One row group is encoded and compressed while the next one is made and checked.
        with ThreadPoolExecutor(1) as pool:
            written: Future[None] | None = None
            for rows in _row_groups(_in_order(tables, kind, about)):
                piece = schema.conform(rows, kind, about).replace_schema_metadata(target.metadata)
                if written:
                    written.result()
                written = pool.submit(writer.write_table, piece, row_group_size=ROW_GROUP)
                tally.add(piece)
            if written:
                written.result()
        if kind in ("samples", "labels"):
            writer.add_key_value_metadata({TALLY_KEY: tally.to_json()})
    return tally.rows


def _in_order(tables: Iterable[pa.Table], kind: str, about: str) -> Iterator[pa.Table]:
    last: str | None = None
    for table in tables:
        last = schema.check_order(last, table, kind, about)
        yield table


def _row_groups(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The rows of all tables in pieces of `ROW_GROUP`, so that a file does not depend on how they came."""
    waiting: list[pa.Table] = []
    count = 0
    for table in tables:
        waiting, count = [*waiting, table], count + table.num_rows
        while count >= ROW_GROUP:
            rows = pa.concat_tables(waiting, promote_options="permissive")
            yield rows.slice(0, ROW_GROUP).combine_chunks()
            waiting, count = [rows.slice(ROW_GROUP)], count - ROW_GROUP
    if count:
        yield pa.concat_tables(waiting, promote_options="permissive").combine_chunks()


def with_staleness(layers: Iterable[Layer]) -> list[Layer]:
    """The layers of one dataset, each told whether a parent is gone, changed or stale itself."""
    by_key = {layer.key: layer for layer in layers}

    def reason(layer: Layer, seen: tuple[str, ...]) -> str:
        for key, fingerprint in layer.facts.parents.items():
            parent = by_key.get(key)
            if parent is None:
                return f"its parent {key} is gone"
            if parent.facts.fingerprint != fingerprint:
                return f"its parent {key} has changed since"
            if key not in seen and (why := reason(parent, (*seen, key))):
                return f"its parent {key} is stale: {why}"
        return ""

    return [replace(layer, stale=reason(layer, (layer.key,))) for layer in by_key.values()]
