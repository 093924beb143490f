"""What an alignment run will do: its options, its key, its chunks, and the disk that it needs."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import pyarrow as pa

from affectdata.faces.alignments import Alignment
from affectdata.faces.chunks import ChunkFiles
from affectdata.faces.detectors import Detector, DetectorSettings
from affectdata.faces.hints import Hints
from affectdata.faces.work import NO_FACE_POLICIES
from manifests.crops import CHUNK
from manifests.errors import AffectError, LakeError, StorageError, UnknownNameError
from manifests.lake import Lake
from manifests.layer import LayerFacts

MEDIA_COLUMNS = ["sample_id", "path", "member", "frame"]


@dataclass(frozen=True)
class AlignOptions:
    """How to align; the same defaults from Python and from the command line.

    Attributes:
        workers: Threads that decode, detect and cut; 0: one per core.
        limit: Only the first samples, in order of sample_id; None: all.
        no_face: `skip`, `box` or `centre`: what to cut out where no face is found.
        max_side: Pictures are shrunk to this longer side for detection, pixels.
        score: Faces below this confidence are not seen, 0 to 1.
        gray: Store one channel instead of RGB.
        ignore_space: Begin even if the crops do not seem to fit on the disk.
        chunk: Samples per chunk and shard; results depend on it, so leave it alone outside of tests.
    """

    workers: int = 0
    limit: int | None = None
    no_face: str = "skip"
    max_side: int = DetectorSettings.max_side
    score: float = DetectorSettings.score
    gray: bool = False
    ignore_space: bool = False
    chunk: int = CHUNK

    def checked(self) -> AlignOptions:
        """These options with the number of workers filled in.

        Raises:
            UnknownNameError: No such policy.
            AffectError: A number out of range.
        """
        if self.no_face not in NO_FACE_POLICIES:
            raise UnknownNameError("policy for samples without a face", self.no_face, NO_FACE_POLICIES)
        for name, value, low in (
            ("workers", self.workers, 0),
            ("max side", self.max_side, 32),
            ("limit", self.limit, 1),
        ):
            if value is not None and value < low:
                raise AffectError(f"align: {name} out of range", found=f"{value}", expected=f"{low} or more")
        if not 0 <= self.score <= 1:
            raise AffectError("align: score out of range", found=f"{self.score}", expected="0 to 1")
        return replace(self, workers=self.workers or os.cpu_count() or 1)

    @property
    def channels(self) -> int:
        """Channels of a crop."""
        return 1 if self.gray else 3


@dataclass(frozen=True)
class DiskNeed:
    """What the crops will take at most, and what is free where the lake lies, in bytes."""

    need: int
    free: int

    def __str__(self) -> str:
        return f"needs at most {self.need / 1e9:.2f} GB of disk, {self.free / 1e9:.2f} GB are free"


@dataclass(frozen=True)
class Plan:
    """One run: everything that its result depends on."""

    lake: Lake
    dataset: str
    alignment: Alignment
    detector: Detector
    options: AlignOptions
    samples: pa.Table
    hints: Hints
    fingerprints: dict[str, str]
    """Of the dataset's layers, noted before samples and hints were read."""

    @cached_property
    def faces_facts(self) -> LayerFacts:
        """Facts of the faces layer: the same whatever the alignment, so that alignments share one faces layer."""
        limit = {"limit": f"{self.options.limit}"} if self.options.limit else {}
        command = f"affect align {self.dataset} --detector {self.detector.name}"
        return LayerFacts(command=command, extra={"detector": self.detector.name, **self.detector.facts, **limit})

    @property
    def faces_parents(self) -> dict[str, str]:
        """Layers that the faces are made from, with their fingerprints as they were read."""
        return {key: self.fingerprints[key] for key in ("samples", *self.hints.layers)}

    @cached_property
    def crops_facts(self) -> LayerFacts:
        """Facts of the crops layer."""
        a = self.alignment
        extra = {"height": a.height, "width": a.width, "channels": self.options.channels, "alignment": a.name}
        extra |= {"alignment_source": a.source, "border": a.border, "no_face": self.options.no_face}
        extra |= {"detector": self.detector.name, "chunk": self.options.chunk, "key": self.key}
        extra |= {"color": "gray" if self.options.gray else "rgb"}
        command = f"{self.faces_facts.command} --alignment {a.name}"
        return LayerFacts(command=command, extra={name: str(value) for name, value in extra.items()})

    @cached_property
    def key(self) -> str:
        """Hash of everything that the result depends on; a run with the same key goes on where it stopped."""
        o, a = self.options, self.alignment
        what = [
            self.faces_parents,
            self.faces_facts.extra,
            a.name,
            a.template,
            a.size,
            a.border,
            o.no_face,
            o.channels,
            o.chunk,
        ]
        return hashlib.blake2b(json.dumps(what, sort_keys=True).encode(), digest_size=8).hexdigest()

    @property
    def step(self) -> str:
        """Name of the run's scratch folder."""
        return f"align-{self.detector.name}-{self.alignment.name}-{self.key}"

    @property
    def crop_bytes(self) -> int:
        """Bytes of one crop."""
        return self.alignment.height * self.alignment.width * self.options.channels

    def chunks(self, folder: Path) -> list[ChunkFiles]:
        """The run's chunks, in order of sample_id."""
        return [ChunkFiles(folder, n) for n in range(-(-self.samples.num_rows // self.options.chunk))]

    def rows(self, chunk: ChunkFiles) -> range:
        """Sample rows of a chunk."""
        first = chunk.number * self.options.chunk
        return range(first, min(first + self.options.chunk, self.samples.num_rows))

    def refuse_lost_layers(self) -> None:
        """Look before faces are replaced: crops and protocols that were made from the old ones would be stale.

        Raises:
            LakeError: Fresh layers depend on them: a protocol, crops of another alignment, or of more samples.
        """
        layers = {layer.key: layer for layer in self.lake.layers(self.dataset) if not layer.stale}
        faces = f"faces/{self.detector.name}"
        coming = self.faces_facts.filled("faces", self.detector.name, self.faces_parents)
        old = layers.get(faces)
        if old is None or old.facts.fingerprint == coming.fingerprint:
            return
        made = [key for key, layer in layers.items() if faces in layer.facts.parents]
        if self.samples.num_rows >= old.rows:
            made = [key for key in made if key != f"crops/{self.alignment.name}"]
        if made:
            before, now = old.facts.extra, coming.extra
            differ = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
            changes = [f"{name} {before.get(name, 'none')} -> {now.get(name, 'none')}" for name in differ]
            raise LakeError(
                f"{faces} of {self.dataset} cannot be replaced: {', '.join(made)} depends on it",
                found=", ".join(changes) or "it was made from other labels",
                expected=f"the options that made {faces}, so that it stays as it is",
                then="try out in another --lake, or first: "
                + "; ".join(f"affect drop {self.dataset} {key}" for key in made),
            )

    def disk_need(self, left: int) -> DiskNeed:
        """Disk for the crops of the samples that are left.

        Raises:
            StorageError: More than is free, unless the options say to go on.
        """
        need = DiskNeed(left * self.crop_bytes, shutil.disk_usage(self.lake.home).free)
        if need.need > need.free and not self.options.ignore_space:
            raise StorageError(
                f"crops of {left} samples of {self.dataset} do not fit",
                found=f"{need.free / 1e9:.2f} GB free in {self.lake.home}",
                expected=f"{need.need / 1e9:.2f} GB: {left} x {self.crop_bytes} bytes",
                then="free space, choose a smaller alignment or --gray, or --ignore-space if many have no face",
            )
        return need
