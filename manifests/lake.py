"""Where each layer of a lake lies, and how a step replaces layers: all of them together or none.

`<lake>/<dataset>` is a symlink to `.generations/<dataset>/<number>`. A step writes the next generation
beside it, hard-links the layers that it leaves alone, syncs, and swaps the symlink once.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from socket import gethostname
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from manifests import schema
from manifests.errors import LakeError, LakeVersionError, UnknownNameError
from manifests.layer import SINGLE, Layer, LayerFacts, layer_key, read_layer, with_staleness
from manifests.migrations import gain_columns
from manifests.storage import storage_errors, sync

if TYPE_CHECKING:
    from manifests.publication import Publication
    from manifests.query import Relation

__all__ = ["Lake", "Layer", "LayerFacts", "layer_key", "upgrade"]

MIGRATIONS: dict[int, Callable[[Path], None]] = {
    1: partial(gain_columns, kinds=("labels",)),
    2: partial(gain_columns, kinds=("faces", "crops")),
}
"""Schema version -> the function that brings a lake folder from it to the next version."""

_DATASET_NAME = re.compile(r"^[a-z0-9][a-z0-9_-]*$")


@dataclass(frozen=True)
class Source:
    """Where a dataset's media lie and which distribution its reader found there."""

    root: Path
    distribution: str


@dataclass
class _Cached:
    """Layers of one generation as read once; a generation never changes after it is published."""

    layers: dict[tuple[Path, int, int], list[Layer]] = field(default_factory=dict)


class Lake:
    """One lake, or a stack of lakes: shared read-only ones below, a personal one on top that takes all writes.

    Args:
        path: A lake folder, or several from bottom to top; where two hold the same layer, the upper one wins.
        create: Make the top lake if it is not there.

    Raises:
        LakeError: No lake there.
        LakeVersionError: Written by another schema version.
    """

    def __init__(self, path: str | Path | Sequence[str | Path], *, create: bool = False) -> None:
        given = [path] if isinstance(path, (str, Path)) else list(path)
        if not given:
            raise LakeError("no lake was named", then="affect --lake PATH ...")
        self.paths = tuple(Path(p).expanduser().absolute() for p in given)
        self.home = self.paths[-1]
        self.cache = self.home / ".cache"
        self._cached = _Cached()
        if create:
            _create(self.home)
        for lake in self.paths:
            _check_version(lake)

    def __repr__(self) -> str:
        return f"Lake({[str(p) for p in self.paths]})"

    def datasets(self) -> list[str]:
        """Names of the datasets that have at least one layer, sorted."""
        return sorted({p.name for lake in self.paths for p in lake.iterdir() if _is_dataset(p)})

    def layers(self, dataset: str | None = None) -> list[Layer]:
        """Layers of one dataset or of all, sorted by dataset and key, each told whether it is stale.

        Paths lead into the generation that was current at the call, so that a list stays consistent while
        another process publishes.
        """
        if dataset is None:
            return [layer for name in self.datasets() for layer in self.layers(name)]
        check_dataset_name(dataset)
        merged: dict[str, Layer] = {}
        for lake in self.paths:
            if _is_dataset(lake / dataset):
                merged |= {layer.key: layer for layer in self._generation_layers(dataset, (lake / dataset).resolve())}
        return sorted(with_staleness(merged.values()), key=lambda layer: layer.key)

    def _generation_layers(self, dataset: str, generation: Path) -> list[Layer]:
        state = generation.stat()
        # A dataset that was dropped and ingested again counts its generations from one again.
        which = (generation, state.st_ino, state.st_mtime_ns)
        if which not in self._cached.layers:
            self._cached.layers[which] = [read_layer(dataset, key, f) for key, f in _layer_files(generation).items()]
        return self._cached.layers[which]

    def known_key(self, dataset: str, key: str) -> str:
        """The key, if a layer has it, by the names of files alone: a damaged layer has one too.

        Raises:
            UnknownNameError: The lake has no such dataset or layer.
        """
        check_dataset_name(dataset)
        places = [lake / dataset for lake in self.paths if _is_dataset(lake / dataset)]
        if not places:
            raise UnknownNameError("dataset in the lake", dataset, self.datasets(), f"affect ingest {dataset} PATH")
        known = sorted({name for place in places for name in _layer_files(place.resolve())})
        if key not in known:
            raise UnknownNameError(f"layer of {dataset}", key, known, f"affect layers --dataset {dataset}")
        return key

    def layer(self, dataset: str, key: str) -> Layer:
        """One layer by its key, such as `labels/human`.

        Raises:
            UnknownNameError: The lake has no such dataset or layer.
        """
        layers = {layer.key: layer for layer in self.layers(dataset)}
        if not layers:
            raise UnknownNameError("dataset in the lake", dataset, self.datasets(), f"affect ingest {dataset} PATH")
        if key not in layers:
            raise UnknownNameError(f"layer of {dataset}", key, layers, f"affect layers --dataset {dataset}")
        return layers[key]

    def fingerprints(self, dataset: str) -> dict[str, str]:
        """Layer key -> fingerprint now: what a long step notes before it reads; see `Publication.write`."""
        return {layer.key: layer.facts.fingerprint for layer in self.layers(dataset)}

    def has(self, dataset: str, key: str) -> bool:
        """Whether the lake holds this layer, stale or not."""
        return any(layer.key == key for layer in self.layers(dataset))

    def read(self, dataset: str, key: str, columns: list[str] | None = None) -> pa.Table:
        """The rows of a layer, or some of its columns, sorted by sample_id."""
        return pq.read_table(self.layer(dataset, key).path, columns=columns)

    def source(self, dataset: str) -> Source:
        """Where the dataset's media lie and which distribution that is.

        Raises:
            LakeError: The dataset was not ingested into any of the lakes.
        """
        for lake in reversed(self.paths):
            file = lake / dataset / "source.toml"
            if _DATASET_NAME.match(dataset) and file.is_file():
                facts = tomllib.loads(file.read_text(encoding="utf-8"))
                return Source(Path(facts["root"]), facts["distribution"])
        raise LakeError(f"dataset {dataset} is not in the lake", then=f"affect ingest {dataset} PATH")

    def root(self, dataset: str) -> Path:
        """Folder that the media paths of `samples` are relative to."""
        return self.source(dataset).root

    def publish(self, dataset: str, *, command: str) -> Publication:
        """A step that replaces layers of a dataset, to be used as a context manager; see `Publication`."""
        from manifests.publication import Publication

        return Publication(self, check_dataset_name(dataset), command)

    def drop(self, dataset: str, key: str) -> None:
        """Take one layer out of the lake, a damaged one too. Layers made from it become stale.

        Raises:
            UnknownNameError: The lake has no such dataset or layer.
            LakeError: The layer lies in a lake below the writable one, or is `samples` (drop the dataset instead).
        """
        self.known_key(dataset, key)
        if key in SINGLE:
            raise LakeError(f"{key} of {dataset} cannot be dropped alone", then=f"affect drop {dataset}")
        with self.publish(dataset, command=f"affect drop {dataset} {key}") as step:
            step.drop(key)

    def drop_dataset(self, dataset: str) -> None:
        """Take a dataset with all its layers out of the writable lake. Its folder on disk is never touched."""
        with self.publish(dataset, command=f"affect drop {dataset}") as step:
            step.drop_all()

    def relocate(self, dataset: str, root: Path) -> None:
        """Say that the dataset's media now lie under another folder.

        Raises:
            LakeError: Not one of a few of its media lies there.
        """
        distribution = self.source(dataset).distribution
        paths = self.read(dataset, "samples", ["path"])["path"].drop_null()
        some = [str(path) for path in paths.to_pylist()[:: len(paths) // 32 + 1]]
        if some and not any((root / path).exists() for path in some):
            raise LakeError(
                f"{root} does not hold the media of {dataset}",
                found=f"none of {len(some)} looked for, such as {some[0]}",
                expected="the folder below which the dataset's own paths begin",
                then='affect sql "select path from samples limit 5" shows such paths',
            )
        with self.publish(dataset, command=f"affect relocate {dataset}") as step:
            step.source(root, distribution)

    def work(self, dataset: str, step: str) -> Path:
        """Scratch folder of a long step: survives a kill, so that the step can go on where it stopped."""
        folder = self.home / ".work" / check_dataset_name(dataset) / step
        with storage_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        return folder

    def query(self, sql: str) -> Relation:
        """The answer to one SELECT over the views of the lake; see `manifests.query.connect`."""
        from manifests.query import connect

        return connect(self).sql(sql)

    def log(self, command: str, dataset: str, **facts: Any) -> None:
        """Append to `log.jsonl` what ran when: the only place of the lake that knows the time."""
        line = {"time": datetime.now(UTC).isoformat(timespec="seconds"), "host": gethostname(), "command": command}
        text = json.dumps(line | {"dataset": dataset} | facts, ensure_ascii=False) + "\n"
        with storage_errors(self.home), (self.home / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(text)


def check_dataset_name(dataset: str) -> str:
    """The name, if it can be a dataset's folder.

    Raises:
        LakeError: It holds anything but lower-case letters, digits, '_' and '-'.
    """
    if not _DATASET_NAME.match(dataset):
        raise LakeError(f"dataset name {dataset!r}", expected="lower-case letters, digits, '_' and '-'")
    return dataset


def upgrade(path: Path) -> list[int]:
    """Bring a lake folder to this schema version, one migration after the other; the versions it left behind.

    Raises:
        LakeVersionError: A newer lake, or one for which no migration is known.
    """
    steps = []
    while (version := _version(path)) < schema.SCHEMA_VERSION:
        if version not in MIGRATIONS:
            raise LakeVersionError(
                f"lake {path} has schema version {version}",
                expected=f"version {schema.SCHEMA_VERSION}; nothing leads there from {version}",
                then="ingest the datasets again into a new lake",
            )
        MIGRATIONS[version](path)
        _write_version(path, version + 1)
        steps.append(version)
    return steps


def _layer_files(generation: Path) -> dict[str, Path]:
    """Layer key -> its Parquet file, sorted."""
    files = sorted(generation.rglob("*.parquet"))
    return {file.relative_to(generation).as_posix().removesuffix(".parquet"): file for file in files}


def _is_dataset(path: Path) -> bool:
    return path.is_symlink() and path.is_dir() and _DATASET_NAME.match(path.name) is not None


def _create(path: Path) -> None:
    if (path / "lake.toml").exists():
        return
    # A process killed while it made the lake leaves these; no file of anybody else has such a name.
    if path.exists() and (not path.is_dir() or {p.name for p in path.iterdir()} - {"lake.toml.new", ".locks"}):
        raise LakeError(
            f"{path} is not a lake",
            found="other files in it",
            expected="a new or empty folder",
            then="choose another --lake",
        )
    with storage_errors(path):
        path.mkdir(parents=True, exist_ok=True)
        _write_version(path, schema.SCHEMA_VERSION)


def _write_version(path: Path, version: int) -> None:
    fresh = path / "lake.toml.new"
    fresh.write_text(f"# A lake of affectdata: one folder of Parquet layers per dataset.\nschema = {version}\n")
    sync(fresh)
    fresh.replace(path / "lake.toml")
    sync(path)


def _version(path: Path) -> int:
    try:
        facts = tomllib.loads((path / "lake.toml").read_text(encoding="utf-8"))
        return int(facts["schema"])
    except (FileNotFoundError, NotADirectoryError):
        raise LakeError(
            f"no lake at {path}", expected="a folder with a lake.toml", then="affect ingest DATASET PATH makes one"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, KeyError, ValueError, TypeError) as error:
        raise LakeError(
            f"{path / 'lake.toml'} cannot be read", found=str(error), expected="schema = <number>"
        ) from None


def _check_version(path: Path) -> None:
    version = _version(path)
    if version < schema.SCHEMA_VERSION:
        raise LakeVersionError(
            f"lake {path} was written by an older affectdata",
            found=f"schema version {version}",
            expected=f"schema version {schema.SCHEMA_VERSION}",
            then=f"affect --lake {path} upgrade",
        )
    if version > schema.SCHEMA_VERSION:
        raise LakeVersionError(
            f"lake {path} was written by a newer affectdata",
            found=f"schema version {version}",
            expected=f"schema version {schema.SCHEMA_VERSION} or older",
            then="install a newer affectdata",
        )
