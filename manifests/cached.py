"""The manifest kept as one Parquet file per dataset under `<home>/.cache`, so that questions need no joins.

A file's name ends in the fingerprint of everything that decides its content, so a file is right or unused. It
holds the columns that know something; the view adds the others as NULLs.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import duckdb

from manifests.errors import StorageError
from manifests.killpoints import reach
from manifests.lake import Lake
from manifests.manifest import MANIFEST, empty_select, known_columns, manifest_sql, quoted, stored_manifest_sql
from manifests.resolve import Resolution
from manifests.storage import storage_errors, sync

KEPT = 4
"""Resolved manifests kept per dataset, most recently used first: a few orders of sources in turn do not thrash."""

ROW_GROUP = 122_880
MEMORY = "3GB"
"""Memory DuckDB may take to resolve one dataset; beyond it, joins and row groups spill beside the cache."""

_ABANDONED_S = 3600.0

Progress = Callable[[str, int, int], None]
"""Called with a dataset, how many datasets are done, and how many there are."""


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
        self._stored = ""

    def sql(self, columns: Collection[str] | None = None) -> str:
        """Text of the SELECT; these columns at least (None: all).

        Files are made at the first call: a question that never names the manifest need not wait for them.
        """
        if not self._resolutions:
            return empty_select(MANIFEST)
        if self.cached and not self._stored:
            try:
                files = cached_manifest(self._lake, self._resolutions, self._progress)
                stored = {name for resolution in self._resolutions for name in known_columns(resolution)}
                self._stored = stored_manifest_sql(files, stored)
            except (StorageError, OSError) as error:
                # A read-only home, a full disk, or something in the way: slower answers, the same ones.
                why = f"{error.about} ({error.found})" if isinstance(error, StorageError) else str(error)
                self.cached = False
                self.warnings.append(f"each question resolves the manifest anew: {why}")
        if self.cached:
            return self._stored
        return " union all ".join(manifest_sql(resolution, columns) for resolution in self._resolutions)


def cached_manifest(lake: Lake, resolutions: Sequence[Resolution], progress: Progress | None = None) -> list[Path]:
    """Files that hold the manifest of each dataset, made where they are missing.

    Raises:
        StorageError: The cache cannot be written: a read-only home, or a full disk.
    """
    folder = lake.cache / "manifest"
    files = []
    with storage_errors(folder):
        for done, resolution in enumerate(resolutions):
            file = folder / f"{resolution.dataset}.{resolution.fingerprint}.parquet"
            if _complete(file):
                _touch(file)
            else:
                if progress is not None:
                    progress(resolution.dataset, done, len(resolutions))
                folder.mkdir(parents=True, exist_ok=True)
                _build(resolution, file)
                _prune(folder, resolution.dataset)
            files.append(file)
    return files


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
    fresh = file.with_suffix(f".{os.getpid()}.new")
    spill = file.parent / f"spill.{os.getpid()}"
    connection = duckdb.connect(":memory:", config={"memory_limit": MEMORY, "temp_directory": str(spill)})
    try:
        # The samples stay on the probe side, so that rows come out in their order: sorted by sample_id.
        connection.execute("SET disabled_optimizers = 'build_side_probe_side'")
        connection.execute(
            f"COPY ({manifest_sql(resolution, known_columns(resolution))}) TO {quoted(str(fresh))} "
            f"(FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {ROW_GROUP})"
        )
        reach("manifest-written")
        sync(fresh)
        fresh.replace(file)
    except duckdb.IOException as error:
        raise StorageError(
            f"cannot write the manifest of {resolution.dataset} to {file.parent}", found=str(error).splitlines()[0]
        ) from None
    finally:
        connection.close()
        fresh.unlink(missing_ok=True)


def _prune(folder: Path, dataset: str) -> None:
    """Remove all but the most recently used manifests of a dataset, and what dead processes left."""
    kept = sorted(folder.glob(f"{dataset}.*.parquet"), key=lambda file: file.stat().st_mtime, reverse=True)
    for file in kept[KEPT:]:
        file.unlink(missing_ok=True)
    for file in folder.glob("*.new"):
        if time.time() - file.stat().st_mtime > _ABANDONED_S:
            file.unlink(missing_ok=True)
