"""One step that changes a dataset: a lock, a staging folder, and one swap of a symlink."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from socket import gethostname
from types import TracebackType

import pyarrow as pa
from filelock import FileLock, Timeout

from manifests.errors import LakeBusyError, LakeError, StaleLayerError, UnknownNameError
from manifests.killpoints import reach
from manifests.lake import Lake
from manifests.layer import Layer, LayerFacts, layer_file, layer_key, read_layer, write_layer
from manifests.storage import link_or_copy, storage_errors, sync


class Publication:
    """Collects the new layers of one dataset and publishes them together when the `with` block ends well.

    When the block raises, or the process dies at any moment, the dataset stays as it was. The previous
    generation is kept until the next step, for readers that still hold its paths; `drop` removes it at once.
    """

    def __init__(self, lake: Lake, dataset: str, command: str) -> None:
        self.lake, self.dataset, self.command = lake, dataset, command
        self._folder = lake.home / ".generations" / dataset
        self._lock = FileLock(lake.home / ".locks" / f"{dataset}.lock", timeout=0)
        self._holder = lake.home / ".locks" / f"{dataset}.holder.json"
        self._written: dict[str, Layer] = {}
        self._linked: set[str] = set()
        self._dropped: set[str] = set()
        self._drop_all = False
        self._source_changed = False
        self._scratch: list[Path] = []
        self._current: Path | None = None
        self._number = 1
        self._staging = self._folder / "unset"

    def __enter__(self) -> Publication:
        with storage_errors(self.lake.home):
            self._holder.parent.mkdir(exist_ok=True)
            try:
                self._lock.acquire()
            except Timeout:
                raise self._busy() from None
            try:
                self._begin()
            except BaseException:
                self._lock.release()
                raise
        reach("publish-begun")
        return self

    def _begin(self) -> None:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        holder = {"pid": os.getpid(), "host": gethostname(), "command": self.command, "since": now}
        self._holder.write_text(json.dumps(holder), encoding="utf-8")
        self._folder.mkdir(parents=True, exist_ok=True)
        self._current = self._current_generation()
        self._number = int(self._current.name) + 1 if self._current else 1
        self._sweep()
        self._staging = self._folder / f"{self._number:06d}.new"
        self._staging.mkdir()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                with storage_errors(self.lake.home):
                    self._commit()
        finally:
            shutil.rmtree(self._staging, ignore_errors=True)
            self._holder.unlink(missing_ok=True)
            self._lock.release()

    def write(
        self,
        kind: str,
        name: str,
        tables: pa.Table | Iterable[pa.Table],
        facts: LayerFacts | None = None,
        parents: Sequence[str] | Mapping[str, str] = (),
    ) -> int:
        """Write one layer into the coming generation.

        Args:
            kind: A key of `schema.KINDS`.
            name: Name of the layer; empty for samples and rejects.
            tables: One table or tables in order of `sample_id`; checked against the schema of the kind.
            facts: What the layer says of itself; fingerprint and parents are filled in.
            parents: Keys of the layers that it was made from. A step that read them before it took the lock gives
                their fingerprints as they were then (`Lake.fingerprints`), so that a change in between is seen.

        Returns:
            Number of rows.

        Raises:
            SchemaError: A table does not fit.
            LakeError: A bad name, a parent that is nowhere, or a layer that would be its own parent.
            StaleLayerError: A parent is not what it was when the step read it.
        """
        key = layer_key(kind, name)
        fingerprints = self._fingerprints(key, parents)
        path = self._staging / layer_file(key)
        about = f"{self.dataset} {key}"
        with storage_errors(self.lake.home):
            path.parent.mkdir(parents=True, exist_ok=True)
            filled = (facts or LayerFacts()).filled(kind, name, fingerprints)
            rows = write_layer(path, kind, [tables] if isinstance(tables, pa.Table) else tables, filled, about)
        self._written[key] = read_layer(self.dataset, key, path)
        self._dropped.discard(key)
        reach("layer-written")
        return rows

    def link(self, relative: str, source: Path) -> None:
        """Take a finished file, such as a shard of pixels, into the generation by a hard link (or a copy)."""
        target = self._staging / relative
        if not target.resolve().is_relative_to(self._staging.resolve()):
            raise LakeError(f"file {relative!r} would lie outside the lake")
        with storage_errors(self.lake.home):
            target.parent.mkdir(parents=True, exist_ok=True)
            link_or_copy(source, target)
        self._linked.add(relative)

    def drop(self, key: str) -> None:
        """Leave a layer, with its shards, out of the coming generation."""
        if self._current is None or not (self._current / layer_file(key)).exists():
            raise LakeError(
                f"{key} of {self.dataset} does not lie in the writable lake",
                found=f"only in {', '.join(map(str, self.lake.paths[:-1]))}" if len(self.lake.paths) > 1 else "nothing",
            )
        self._dropped.add(key)

    def drop_all(self) -> None:
        """Leave the whole dataset out."""
        if self._current is None:
            raise LakeError(f"{self.dataset} does not lie in the writable lake")
        self._drop_all = True

    def source(self, root: Path, distribution: str) -> None:
        """Say where the dataset's media lie and which distribution was found there."""
        where = str(root.absolute())
        try:
            where.encode()
        except UnicodeEncodeError:
            raise LakeError(
                f"folder {where.encode(errors='backslashreplace').decode()} of {self.dataset}",
                found="a name that is not UTF-8",
                expected="a path that can be written down as text",
                then="rename the folder, or name it through a link",
            ) from None
        text = f"root = {_toml(where)}\ndistribution = {_toml(distribution)}\n"
        (self._staging / "source.toml").write_text(text, encoding="utf-8")
        self._source_changed = True

    def finish_work(self, folder: Path) -> None:
        """Remove a scratch folder of `Lake.work` once the step is published."""
        self._scratch.append(folder)

    def _busy(self) -> LakeBusyError:
        try:
            holder = json.loads(self._holder.read_text(encoding="utf-8"))
            found = "process {pid} on {host} since {since}: {command}".format(**holder)
        except (OSError, ValueError, KeyError):
            found = "another process (it did not say which)"
        return LakeBusyError(
            f"dataset {self.dataset} of lake {self.lake.home} is being written",
            found=found,
            then="wait until it has finished, then run the same command again",
        )

    def _current_generation(self) -> Path | None:
        link = self.lake.home / self.dataset
        return link.resolve() if link.is_symlink() and link.exists() else None

    def _sweep(self, keep: tuple[str, ...] = ()) -> None:
        """Remove staging folders of dead processes and every generation but the current and the previous one."""
        current = self._current.name if self._current else ""
        kept = {current, *keep}
        for folder in self._folder.iterdir():
            if folder.name not in kept and (folder.suffix == ".new" or folder.name > current or keep):
                folder.unlink() if folder.is_symlink() else shutil.rmtree(folder, ignore_errors=True)

    def _fingerprint(self, key: str) -> str:
        if key in self._written:
            return self._written[key].facts.fingerprint
        return self.lake.layer(self.dataset, key).facts.fingerprint

    def _fingerprints(self, key: str, parents: Sequence[str] | Mapping[str, str]) -> dict[str, str]:
        """Fingerprints of a layer's parents, which are those of the time of reading."""
        if key in self._ancestors(parents):
            raise LakeError(f"{key} of {self.dataset} cannot be made from itself", then="give it another name")
        if not isinstance(parents, Mapping):
            return {parent: self._fingerprint(parent) for parent in parents}
        for parent, read in parents.items():
            try:
                changed = self._fingerprint(parent) != read
            except UnknownNameError:
                changed = True
            if changed:
                raise StaleLayerError(
                    f"{parent} of {self.dataset} changed while this step ran",
                    expected="the layers that it read when it began; nothing was published",
                    then=f"run again: {self.command}",
                )
        return dict(parents)

    def _ancestors(self, parents: Iterable[str]) -> set[str]:
        """Keys of layers, and of all that they were made from."""
        layers = {layer.key: layer for layer in self.lake.layers(self.dataset)} | self._written
        found: set[str] = set()
        left = list(parents)
        while left:
            key = left.pop()
            if key not in found and key in layers:
                left += layers[key].facts.parents
            found.add(key)
        return found

    def _commit(self) -> None:
        if not (self._written or self._linked or self._dropped or self._source_changed or self._drop_all):
            return
        if self._drop_all:
            self._publish_removal()
        else:
            self._publish_generation()
        for folder in self._scratch:
            shutil.rmtree(folder, ignore_errors=True)
        changed = {"wrote": sorted(self._written), "dropped": sorted(self._dropped)}
        self.lake.log(self.command, self.dataset, **{k: v for k, v in changed.items() if v})

    def _publish_generation(self) -> None:
        for relative in self._kept_files():
            target = self._staging / relative
            target.parent.mkdir(parents=True, exist_ok=True)
            link_or_copy(self._current_file(relative), target)
        reach("layers-linked")
        for path in sorted(self._staging.rglob("*")):
            sync(path)
        sync(self._staging)
        reach("generation-synced")
        generation = self._folder / f"{self._number:06d}"
        self._staging.replace(generation)
        sync(self._folder)
        reach("generation-renamed")
        link = self._folder / "current.new"
        link.unlink(missing_ok=True)
        link.symlink_to(Path(".generations") / self.dataset / generation.name)
        link.replace(self.lake.home / self.dataset)
        sync(self.lake.home)
        reach("dataset-swapped")
        previous = () if self._dropped else ((self._current.name,) if self._current else ())
        self._current = generation
        self._sweep(keep=(generation.name, *previous))
        reach("generations-pruned")

    def _publish_removal(self) -> None:
        (self.lake.home / self.dataset).unlink()
        sync(self.lake.home)
        shutil.rmtree(self._folder, ignore_errors=True)
        # What was made from the dataset's pictures and labels goes with it: it may be licensed.
        shutil.rmtree(self.lake.home / ".work" / self.dataset, ignore_errors=True)
        for file in self.lake.cache.glob(f"*/{self.dataset}.*"):
            file.unlink(missing_ok=True)
        for folder in self.lake.cache.glob(f"*/*/{self.dataset}"):  # a teacher's kept predictions
            shutil.rmtree(folder, ignore_errors=True)

    def _current_file(self, relative: str) -> Path:
        if self._current is None:
            raise LakeError(f"{self.dataset} has no generation to take {relative} from")
        return self._current / relative

    def _kept_files(self) -> Iterator[str]:
        """Files of the old generation that this step neither replaces nor drops.

        The shards of a crops layer live and die with its index.
        """
        if self._current is None:
            return
        gone = self._written.keys() | self._dropped
        for path in sorted(self._current.rglob("*")):
            relative = path.relative_to(self._current).as_posix()
            owner = relative.removesuffix(".parquet") if relative.endswith(".parquet") else _shard_owner(relative)
            if path.is_file() and owner not in gone and not (self._staging / relative).exists():
                yield relative


def _toml(text: str) -> str:
    """A TOML string: as JSON, but beyond the basic plane JSON's escapes are no TOML, and DEL must be escaped."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _shard_owner(relative: str) -> str:
    """Key of the crops layer that a pixel file belongs to: `crops/arcface112.000.u8` -> `crops/arcface112`."""
    shard = re.fullmatch(r"(.+)\.[0-9]+\.(?:u8|jpegs)", relative)
    return shard[1] if shard else relative
