"""Crops as JPEG: several in one file, one behind the other, each found by its offset and length in the index.

For disks that raw pixels do not fit on. The same crops, quality and OpenCV version give the same bytes.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from manifests.errors import StorageError

QUALITIES = range(1, 101)

_PER_THREAD = 32
"""JPEGs that are worth another thread."""


def encode(crops: NDArray[np.uint8], quality: int) -> tuple[bytes, NDArray[np.int64]]:
    """Crops as JPEGs in one string of bytes, and where each begins; the last number is the length of all.

    Baseline JPEG, standard Huffman tables, chroma halved in both directions (4:2:0), as OpenCV writes by default.

    Args:
        crops: uint8 (n, height, width, channels), RGB or one channel.
        quality: 1 to 100.

    Returns:
        The bytes, and int64 (n + 1,) offsets: crop i is bytes offsets[i] to offsets[i + 1].
    """
    import cv2

    options = [
        cv2.IMWRITE_JPEG_QUALITY,
        quality,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
    ]
    pictures = [crop[..., ::-1] if crop.shape[-1] == 3 else crop for crop in crops]  # OpenCV's order is BGR
    parts = [cv2.imencode(".jpg", np.ascontiguousarray(picture), options)[1].tobytes() for picture in pictures]
    return b"".join(parts), np.cumsum([0, *map(len, parts)], dtype=np.int64)


class JpegShards:
    """Mapped JPEG shards, decoded row by row.

    Args:
        maps: The shards' bytes.
        names: Of the shards, for messages.
        offset, length: Of each store row's JPEG in its shard, int64 (N,).
        shape: (height, width, channels) of a crop.
    """

    def __init__(
        self,
        maps: Sequence[mmap.mmap],
        names: Sequence[str],
        offset: NDArray[np.int64],
        length: NDArray[np.int64],
        shape: tuple[int, int, int],
    ) -> None:
        self._bytes = [np.frombuffer(mapped, np.uint8) for mapped in maps]
        self._names, self.offset, self.length, self._shape = names, offset, length, shape

        self._pool = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="jpegs")

    def gather(self, rows: NDArray[np.int64], shards: NDArray[np.int64], out: NDArray[np.uint8]) -> None:
        """As `decode`, on as many threads as there are cores, where there is enough for them."""
        parts = range(0, len(rows), max(_PER_THREAD, -(-len(rows) // (os.cpu_count() or 1))))
        ends = [*parts[1:], len(rows)] if len(rows) else []
        jobs = [
            self._pool.submit(self.decode, rows[first:last], shards[first:last], out[first:last])
            for first, last in zip(parts, ends, strict=True)
        ]
        for job in jobs:
            job.result()

    def decode(self, rows: NDArray[np.int64], shards: NDArray[np.int64], out: NDArray[np.uint8]) -> None:
        """Decode the crops at store rows, which lie in these shards, into `out` (n, height * width * channels).

        Raises:
            StorageError: A JPEG is damaged.
        """
        import cv2

        colour = cv2.IMREAD_COLOR_RGB if self._shape[2] == 3 else cv2.IMREAD_GRAYSCALE
        places = zip(
            rows.tolist(), shards.tolist(), self.offset[rows].tolist(), self.length[rows].tolist(), strict=True
        )
        for i, (row, shard, offset, length) in enumerate(places):
            crop = cv2.imdecode(self._bytes[shard][offset : offset + length], colour)  # releases the GIL
            if crop is None or crop.shape[:2] != self._shape[:2]:
                raise StorageError(
                    f"shard {self._names[shard]} is damaged",
                    found=f"no JPEG of {self._shape[1]} x {self._shape[0]} pixels at byte {offset} (crop {row})",
                    then="drop these crops with affect drop, then affect align again",
                )
            out[i] = crop.reshape(-1)
