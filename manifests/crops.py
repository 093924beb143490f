"""Packed aligned faces of one dataset: an index layer and shards, gathered from memory maps.

`crops/<alignment>.parquet` says for each sample which row of which shard holds its crop;
`crops/<alignment>.000.u8`, `.001.u8` ... are crops of height x width x channels bytes, one after the other,
without any header. One shard holds one chunk of `CHUNK` samples, so a store may be far larger than memory.

Where disk is short, `crops/<alignment>.000.jpegs` ... hold JPEGs instead (`manifests.jpegs`), at the offsets that the
index says; the fact `store` of the layer is then `jpeg`. Gathering decodes them to the same batches.
"""

from __future__ import annotations

import mmap
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from manifests.errors import StorageError
from manifests.jpegs import JpegShards
from manifests.lake import Lake
from manifests.layer import Layer

CHUNK = 2048
"""Samples that are aligned, resumed and stored together; a shard holds those of them that have a crop."""

_RUN = 4
"""Neighbouring rows of one shard, on average, from which copying run by run is faster than row by row."""

_BY_ROW = 8192
"""Bytes per crop from which, in unsorted rows, one copy per row is faster than sorting and copying twice."""

_PER_THREAD = 8 << 20
"""Bytes of one gather that are worth a second thread."""

_LARGE_PAGE = 2 << 20
"""Bytes of a large page of x86-64 and, with pages of 4 KB, of ARM64."""


RAW, JPEG = "raw", "jpeg"
"""Kinds of store: the fact `store` of a crops layer; raw where it is not said."""

SUFFIXES = {RAW: ".u8", JPEG: ".jpegs"}


def shard_name(alignment: str, number: int, store: str = RAW) -> str:
    """Path of a shard inside its dataset: `crops/arcface112.000.u8`, or `.jpegs`."""
    return f"crops/{alignment}.{number:03d}{SUFFIXES[store]}"


class CropStore:
    """The crops of one alignment of one dataset, in order of sample_id.

    Args:
        lake: The lake.
        dataset: Name of the dataset.
        alignment: Name of the alignment, as in `crops/<alignment>`.

    Attributes:
        layer: The index layer; `layer.stale` says whether it may be used, `layer.facts.extra` how it was made.
        shape: (height, width, channels) of a crop.
        sample_ids: Sample of each store row.
        transform: float32 (N, 2, 3), source pixel to crop pixel.

    Raises:
        UnknownNameError: No such crops.
        StorageError: A shard is missing or shorter or longer than its rows.
    """

    def __init__(self, lake: Lake, dataset: str, alignment: str) -> None:
        self.layer = lake.layer(dataset, f"crops/{alignment}")
        facts = self.layer.facts.extra
        self.shape = (int(facts["height"]), int(facts["width"]), int(facts["channels"]))
        self._item = int(np.prod(self.shape))
        index = lake.read(dataset, self.layer.key)
        self.sample_ids: pa.StringArray = pa.array(index.column("sample_id").combine_chunks(), pa.string())
        transforms = pc.list_flatten(index.column("transform")).to_numpy().astype(np.float32)
        self.transform = transforms.reshape(-1, 2, 3)
        shards = index.column("shard").to_numpy()
        self._row = index.column("row").to_numpy().astype(np.int64)
        self.shards, self._shard = np.unique(shards, return_inverse=True)
        counts = np.bincount(self._shard, minlength=len(self.shards)).tolist()
        raise_file_limit(len(counts))
        self._bounds = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        self._held: NDArray[np.uint8] | None = None
        kind = facts.get("store", RAW)
        paths = [self.layer.path.parent / Path(shard_name(alignment, n, kind)).name for n in self.shards.tolist()]
        self._maps: list[mmap.mmap] = []
        self._pixels: list[NDArray[np.uint8]] = []
        self._jpegs = self._mapped_jpegs(paths, index) if kind == JPEG else None
        if self._jpegs is None:
            for path, rows in zip(paths, counts, strict=True):
                holds = f"{rows} crops of {'x'.join(map(str, self.shape))}"
                self._maps.append(_mapped(path, rows * self._item, holds, self.layer))
                self._pixels.append(np.frombuffer(self._maps[-1], np.uint8).reshape(rows, -1))
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="crops")

    def _mapped_jpegs(self, paths: list[Path], index: pa.Table) -> JpegShards:
        offset, length = (index.column(name).to_numpy().astype(np.int64) for name in ("offset", "length"))
        for path, (first, last) in zip(paths, pairwise(self._bounds.tolist()), strict=True):
            size = int((offset + length)[first:last].max())
            self._maps.append(_mapped(path, size, "JPEGs as the index places them", self.layer))
        return JpegShards(self._maps, [path.name for path in paths], offset, length, self.shape)

    def __len__(self) -> int:
        return len(self.sample_ids)

    @property
    def nbytes(self) -> int:
        """Bytes of all pixels: what must fit in memory for random access to stay fast."""
        return len(self) * self._item

    def hold(self) -> None:
        """Copy all pixels into memory at once, shard by shard, decoded; `gather` then reads them there.

        Worth it where they fit: a disk is read in order instead of at random, and a batch is one call of numpy
        instead of one per row.

        Raises:
            MemoryError: They do not fit.
        """
        if self._held is not None or not self.nbytes:
            return
        held = large_pages(self.nbytes).reshape(len(self), self._item)
        if self._jpegs is not None:
            self._jpegs.gather(np.arange(len(self)), self._shard, held)
        else:
            for (first, last), pixels in zip(pairwise(self._bounds.tolist()), self._pixels, strict=True):
                held[first:last] = pixels
        self._held = held

    def locate(self, sample_ids: pa.Array | pa.ChunkedArray | Sequence[str]) -> NDArray[np.int64]:
        """Store rows of samples; -1 where a sample has no crop (no face, or an undecodable picture)."""
        wanted = (
            sample_ids if isinstance(sample_ids, (pa.Array, pa.ChunkedArray)) else pa.array(sample_ids, pa.string())
        )
        found = pc.fill_null(pc.index_in(wanted.cast(pa.string()), value_set=self.sample_ids), -1)
        return np.asarray(
            found.to_numpy(zero_copy_only=False) if isinstance(found, pa.Array) else found.to_numpy()
        ).astype(np.int64)

    def gather(self, rows: NDArray[np.integer], out: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
        """Copies of the crops at store rows, in the order of `rows`; faster where `rows` is sorted.

        Args:
            rows: (n,) store rows, in any order, repeats allowed.
            out: uint8 (n, height, width, channels) to write into, such as a pinned buffer.

        Returns:
            uint8 (n, height, width, channels); `out` if given.

        Raises:
            IndexError: A row outside 0..N-1 (-1 of `locate` means: no crop).
            ValueError: `out` has another shape or type, or is not contiguous.
        """
        wanted = np.asarray(rows, np.int64)
        if len(wanted) and (wanted.min() < 0 or wanted.max() >= len(self)):
            raise IndexError(f"store rows {wanted.min()}..{wanted.max()} of {self.layer.key}, which has {len(self)}")
        if out is None:
            out = np.empty((len(wanted), *self.shape), np.uint8)
        if out.shape != (len(wanted), *self.shape) or out.dtype != np.uint8 or not out.flags.c_contiguous:
            raise ValueError(f"out is {out.dtype} {out.shape}, not contiguous uint8 {(len(wanted), *self.shape)}")
        flat = out.reshape(len(wanted), self._item)
        if self._jpegs is not None and self._held is None:
            self._jpegs.gather(wanted, self._shard[wanted], flat)
        elif out.nbytes < 2 * _PER_THREAD:
            self._copy(wanted, flat)
        else:
            half = len(wanted) // 2
            other = self._pool.submit(self._copy, wanted[:half], flat[:half])
            self._copy(wanted[half:], flat[half:])
            other.result()
        return out

    def _copy(self, rows: NDArray[np.int64], out: NDArray[np.uint8]) -> None:
        """Copy crops into `out` (n, bytes of a crop)."""
        shards, local = self._shard[rows], self._row[rows]
        if self._held is not None:
            np.take(self._held, self._bounds[shards] + local, axis=0, out=out, mode="clip")
            return
        starts = np.flatnonzero(np.diff(shards, prepend=-1))
        if len(starts) * _RUN <= len(rows):
            self._copy_runs(shards, local, starts, out)
        elif self._item < _BY_ROW:
            order = np.argsort(shards, kind="stable")
            starts = np.flatnonzero(np.diff(shards[order], prepend=-1))
            in_order = np.empty_like(out)
            self._copy_runs(shards[order], local[order], starts, in_order)
            out[order] = in_order
        else:
            pixels = self._pixels
            for i, (shard, row) in enumerate(zip(shards.tolist(), local.tolist(), strict=True)):
                out[i] = pixels[shard][row]  # releases the GIL while it copies

    def _copy_runs(
        self, shards: NDArray[np.int64], local: NDArray[np.int64], starts: NDArray[np.int64], out: NDArray[np.uint8]
    ) -> None:
        """Copy run after run of neighbours from one shard; `np.take` writes straight into `out`, without the GIL."""
        for first, last in pairwise([*starts.tolist(), len(local)]):
            np.take(self._pixels[shards[first]], local[first:last], axis=0, out=out[first:last], mode="clip")

    def prefetch(self, rows: NDArray[np.integer]) -> None:
        """Ask the system to read the pages of these rows now, all at once, without waiting for them.

        Worth calling some batches ahead when the store is not in memory: the disk then works on many requests
        together, where `gather` alone faults page after page. About 1 us per row.
        """
        if self._held is not None or not hasattr(mmap, "MADV_WILLNEED"):  # the second: no POSIX system
            return
        wanted = np.unique(np.asarray(rows, np.int64))
        if self._jpegs is None:
            starts, stops = self._row[wanted] * self._item, (self._row[wanted] + 1) * self._item
        else:
            starts = self._jpegs.offset[wanted]
            stops = starts + self._jpegs.length[wanted]
        firsts = starts // mmap.PAGESIZE * mmap.PAGESIZE
        for shard, first, length in zip(
            self._shard[wanted].tolist(), firsts.tolist(), (stops - firsts).tolist(), strict=True
        ):
            self._maps[shard].madvise(mmap.MADV_WILLNEED, first, length)

    def blocks(self, size: int) -> list[range]:
        """Runs of at most `size` neighbouring store rows, none across two shards: the grain of a block shuffle."""
        return [
            range(start, min(start + size, stop))
            for first, stop in zip(self._bounds[:-1].tolist(), self._bounds[1:].tolist(), strict=True)
            for start in range(first, stop, size)
        ]


def large_pages(nbytes: int) -> NDArray[np.uint8]:
    """Fresh memory, uint8 [nbytes], in large pages where the system has them.

    They spare the processor most look-ups of addresses: copying crops into them is up to twice as fast as into what
    `np.empty` returns, whose first and last megabytes lie in small pages.
    """
    if not hasattr(mmap, "MADV_HUGEPAGE"):  # Linux
        return np.empty(nbytes, np.uint8)
    memory = mmap.mmap(-1, nbytes + _LARGE_PAGE)
    memory.madvise(mmap.MADV_HUGEPAGE)
    pages = np.frombuffer(memory, np.uint8)
    start = -pages.ctypes.data % _LARGE_PAGE
    return pages[start : start + nbytes]


def _mapped(path: Path, expected: int, holds: str, layer: Layer) -> mmap.mmap:
    then = f"affect drop {layer.dataset} {layer.key}, then affect align {layer.dataset} again"
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            if size != expected:
                raise StorageError(
                    f"shard {path.name} of {layer.dataset} {layer.key} is damaged",
                    found=f"{size} bytes",
                    expected=f"{expected} bytes: {holds}",
                    then=then,
                )
            if sys.version_info >= (3, 13):  # holds no file descriptor per shard
                return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ, trackfd=False)
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError:
        raise StorageError(f"shard {path.name} of {layer.dataset} {layer.key} is missing", then=then) from None


def raise_file_limit(shards: int) -> None:
    """Let this process map that many shards at once, where Python keeps a file open for each (before 3.13).

    Raises:
        StorageError: The system's hard limit is lower.
    """
    if sys.version_info >= (3, 13):
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    need = shards + 512  # room for everything else that a training run opens
    if soft == resource.RLIM_INFINITY or need <= soft:
        return
    if hard != resource.RLIM_INFINITY and need > hard:
        raise StorageError(
            f"{shards} shards cannot be open at once", found=f"hard limit of {hard} files", then="ulimit -Hn 1048576"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (need, hard))
