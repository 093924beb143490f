"""How to align: the options of `align`, the same from Python and from the command line."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace

from affectdata.faces.detectors import DetectorSettings
from affectdata.faces.work import NO_FACE_POLICIES
from manifests.crops import CHUNK, JPEG, RAW
from manifests.errors import AffectError, UnknownNameError
from manifests.jpegs import QUALITIES

ENGINES = ("threads", "ray")
"""Where chunks are made: in this process; on a Ray cluster."""


@dataclass(frozen=True)
class AlignOptions:
    """How to align; the same defaults from Python and from the command line.

    Attributes:
        workers: Threads that decode, detect and cut; 0: one per core (with Ray: one per task).
        batch: Faces that a network looks at together.
        device: Of networks that run in torch: `cpu`, `cuda` or `cuda:1`.
        limit: Only the first of the chosen samples, in order of sample_id; None: all.
        where: Only samples for which this expression over the columns of `samples` holds.
        only: Only samples that are in one of these selections.
        exclude: No samples that are in one of these selections.
        every: Of videos and numbered sequences, only frames whose number is a multiple of this.
        no_face: `skip`, `box` or `centre`: what to cut out where no face is found.
        landmarks: `fan`, `onnx:PATH`: also find 68 points and publish them; `dataset`: take the dataset's own.
        max_side: Pictures are shrunk to this longer side for detection, pixels.
        score: Faces below this confidence are not seen, 0 to 1.
        gray: Store one channel instead of RGB.
        store: `raw`, or `jpeg:<quality>` where disk is short.
        ignore_space: Begin even if the crops do not seem to fit on the disk.
        shard: (i, n): make only every n-th chunk from the i-th on, 1-based, and publish nothing.
        engine: `threads` or `ray`.
        address: Of the Ray cluster; None: as Ray finds one, else one on this machine.
        chunk: Samples per chunk and shard on average; shards depend on it, so leave it alone outside of tests.
    """

    workers: int = 0
    batch: int = 32
    device: str = "cpu"
    limit: int | None = None
    where: str | None = None
    only: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    every: int = 1
    no_face: str = "skip"
    landmarks: str | None = None
    max_side: int = DetectorSettings.max_side
    score: float = DetectorSettings.score
    gray: bool = False
    store: str = RAW
    ignore_space: bool = False
    shard: tuple[int, int] | None = None
    engine: str = "threads"
    address: str | None = None
    chunk: int = CHUNK

    def checked(self) -> AlignOptions:
        """These options with the number of workers filled in.

        Raises:
            UnknownNameError: No such policy or engine.
            AffectError: A number out of range, or options that exclude each other.
        """
        if self.no_face not in NO_FACE_POLICIES:
            raise UnknownNameError("policy for samples without a face", self.no_face, NO_FACE_POLICIES)
        if self.engine not in ENGINES:
            raise UnknownNameError("engine", self.engine, ENGINES)
        for name, value, low in (
            ("workers", self.workers, 0),
            ("batch", self.batch, 1),
            ("every", self.every, 1),
            ("max side", self.max_side, 32),
            ("limit", self.limit, 1),
        ):
            if value is not None and value < low:
                raise AffectError(f"align: {name} out of range", found=f"{value}", expected=f"{low} or more")
        if not 0 <= self.score <= 1:
            raise AffectError("align: score out of range", found=f"{self.score}", expected="0 to 1")
        if self.shard is not None and not 1 <= self.shard[0] <= self.shard[1]:
            found = "{}/{}".format(*self.shard)
            raise AffectError("align: shard out of range", found=found, expected="i/n with i from 1 to n, such as 2/8")
        if self.shard is not None and self.engine == "ray":
            raise AffectError("align: --shard splits by hand what --engine ray splits", then="leave one of them out")
        if self.store != RAW and self.quality is None:
            raise AffectError("align: store", found=self.store, expected="raw, or jpeg:<quality> with 1 to 100")
        default = 1 if self.engine == "ray" else os.cpu_count() or 1
        return replace(self, workers=self.workers or default)

    @property
    def quality(self) -> int | None:
        """Quality of JPEG crops; None for raw ones."""
        match = re.fullmatch(JPEG + ":([0-9]{1,3})", self.store)
        return int(match[1]) if match and int(match[1]) in QUALITIES else None

    @property
    def store_kind(self) -> str:
        """`raw` or `jpeg`, as `manifests.crops` calls them."""
        return RAW if self.quality is None else JPEG

    @property
    def channels(self) -> int:
        """Channels of a crop."""
        return 1 if self.gray else 3
