"""The manifest kept as one Parquet file per dataset under `<home>/.cache`, so that questions need no joins.

A file's name ends in a hash of everything that decides its content, the SQL included, so a file is right or unused. It
holds the columns that know something; the view adds the others as NULLs. Beside it lie its counts, as JSON.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Collection, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import duckdb

from manifests import manifest
from manifests.errors import StorageError
from manifests.killpoints import reach
from manifests.lake import Lake
from manifests.manifest import MANIFEST, empty_select, known_columns, manifest_sql, quoted, stored_manifest_sql
from manifests.resolve import Resolution
from manifests.storage import storage_errors, sync
from manifests.vocabulary import TASKS

KEPT = 4
"""Resolved manifests kept per dataset, most recently used first: a few orders of sources in turn do not thrash."""

ROW_GROUP = 122_880
MEMORY = "3GB"
"""Memory DuckDB may take to resolve one dataset; beyond it, joins and row groups spill beside the cache."""

_ABANDONED_S = 3600.0

Progress = Callable[[str, int, int], None]
"""Called with a dataset, how many datasets are done, and how many there are."""


class Count(NamedTuple):
    """Samples of a dataset that have the same expression and the same tasks known; bit n of `known` is TASKS[n]."""

    dataset: str
    expression: str | None
    known: int
    samples: int


def counts_sql(table: str) -> str:
    """The question that `Count` answers, of a view or file with the columns of the manifest."""
    # One small number to group by, and no order: an ORDER BY here made DuckDB take twice as long over its joins.
    known = " + ".join(f"(mask_{task}::INTEGER << {bit})" for bit, task in enumerate(TASKS))
    return f"select dataset, expression, {known} as known, count(*) from {table} group by all"


class ManifestView:
    """The SELECT behind the view `manifest`: over cached files or, uncached, over the layers themselves.

    `warnings` say why the cache could not be used, if so.
    """

    def __init__(
        self, lake: Lake, resolutions: Sequence[Resolution], *, cached: bool = True, progress: Progress | None = None
    ) -> None:
        self._lake, self._resolutions, self._progress = lake, resolutions, progress
        self.cached = cached
        self.warnings: list[str] = []
        self._files: list[Path] = []
        self._stored = ""

    def sql(self, columns: Collection[str] | None = None) -> str:
        """Text of the SELECT; these columns at least (None: all).

        Files are made at the first call: a question that never names the manifest need not wait for them.
        """
        if not self._resolutions:
            return empty_select(MANIFEST)
        if files := self._cached_files():
            if not self._stored:
                stored = {name for resolution in self._resolutions for name in known_columns(resolution)}
                self._stored = stored_manifest_sql(files, stored)
            return self._stored
        return " union all ".join(manifest_sql(resolution, columns) for resolution in self._resolutions)

    def counts(self) -> list[Count] | None:
        """Samples by dataset, expression and tasks known, as counted when the cache was filled; None: uncached."""
        files = self._cached_files()
        if not files:
            return None if self._resolutions else []
        return [Count(*entry) for file in files for entry in json.loads(_counts_file(file).read_text(encoding="utf-8"))]

    def _cached_files(self) -> list[Path]:
        """Files made at the first call; none if the cache is not wanted or cannot be written."""
        if self.cached and not self._files and self._resolutions:
            try:
                self._files = cached_manifest(self._lake, self._resolutions, self._progress)
            except (StorageError, OSError) as error:
                # A read-only home, a full disk, or something in the way: slower answers, the same ones.
                why = f"{error.about} ({error.found})" if isinstance(error, StorageError) else str(error)
                self.cached = False
                self.warnings.append(f"each question resolves the manifest anew: {why}")
        return self._files


def cached_manifest(lake: Lake, resolutions: Sequence[Resolution], progress: Progress | None = None) -> list[Path]:
    """Files that hold the manifest of each dataset, made where they are missing.

    Raises:
        StorageError: The cache cannot be written: a read-only home, or a full disk.
    """
    folder = lake.cache / "manifest"
    files = []
    with storage_errors(folder):
        for done, resolution in enumerate(resolutions):
            file = folder / f"{resolution.dataset}.{_key(resolution)}.parquet"
            if _complete(file) and _counts_file(file).is_file():
                _touch(file)
            else:
                if progress is not None:
                    progress(resolution.dataset, done, len(resolutions))
                folder.mkdir(parents=True, exist_ok=True)
                _build(resolution, file)
                _prune(folder, resolution.dataset)
            files.append(file)
    return files


def _key(resolution: Resolution) -> str:
    """Hash of all that decides a manifest and its counts: the layers, and the SQL over them."""
    parts = f"{resolution.fingerprint};{_sql_writer()};{counts_sql('manifest')}"
    return hashlib.blake2b(parts.encode(), digest_size=12).hexdigest()


@cache
def _sql_writer() -> str:
    """Hash of the code that writes a manifest's SQL: cheaper than writing the SQL of every dataset to hash it."""
    return hashlib.blake2b(Path(manifest.__file__).read_bytes(), digest_size=12).hexdigest()


def _counts_file(file: Path) -> Path:
    return file.with_suffix(".json")


def _complete(file: Path) -> bool:
    try:
        with file.open("rb") as stream:
            stream.seek(-4, os.SEEK_END)
            return stream.read() == b"PAR1"
    except OSError:
        return False


def _touch(file: Path) -> None:
    """Mark as used; a cache that one may read but not write still serves."""
    try:
        os.utime(file)
    except OSError:
        return


def _build(resolution: Resolution, file: Path) -> None:
    """Write a manifest and its counts in a folder of this process, then move them to their places."""
    scratch = file.parent / f"new.{os.getpid()}"
    scratch.mkdir(exist_ok=True)
    fresh, known = scratch / file.name, known_columns(resolution)
    spill = str(scratch / "spill")
    try:
        with duckdb.connect(":memory:", config={"memory_limit": MEMORY, "temp_directory": spill}) as connection:
            # The samples stay on the probe side, so that rows come out in their order: sorted by sample_id.
            connection.execute("SET disabled_optimizers = 'build_side_probe_side'")
            connection.execute(
                f"COPY ({manifest_sql(resolution, known)}) TO {quoted(str(fresh))} "
                f"(FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {ROW_GROUP})"
            )
            counts = connection.sql(counts_sql(f"({stored_manifest_sql([fresh], known)})")).fetchall()
        in_order = sorted(counts, key=lambda row: (row[1] or "", row[2]))
        _counts_file(fresh).write_text(json.dumps(in_order), encoding="utf-8")
        reach("manifest-written")
        for written, place in ((_counts_file(fresh), _counts_file(file)), (fresh, file)):
            sync(written)
            written.replace(place)
    except duckdb.IOException as error:
        raise StorageError(
            f"cannot write the manifest of {resolution.dataset} to {file.parent}", found=str(error).splitlines()[0]
        ) from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _prune(folder: Path, dataset: str) -> None:
    """Remove all but the most recently used manifests of a dataset, and what dead processes left."""
    kept = sorted(folder.glob(f"{dataset}.*.parquet"), key=lambda file: file.stat().st_mtime, reverse=True)
    for file in kept[KEPT:]:
        file.unlink(missing_ok=True)
        _counts_file(file).unlink(missing_ok=True)
    for left in folder.glob("new.*"):
        if time.time() - left.stat().st_mtime > _ABANDONED_S:
            shutil.rmtree(left, ignore_errors=True)
