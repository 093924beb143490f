"""What an alignment run will do: its layers, its chunks and what they depend on, and the disk that it needs."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from affectdata.faces.alignments import Alignment
from affectdata.faces.chosen import Chosen
from affectdata.faces.chunks import ChunkFiles, chunk_ranges
from affectdata.faces.detectors import Detector
from affectdata.faces.earlier import chunk_list
from affectdata.faces.hints import Hints
from affectdata.faces.landmarkers import Landmarker
from affectdata.faces.options import AlignOptions
from affectdata.faces.work import Worker
from manifests.errors import LakeError
from manifests.lake import Lake
from manifests.layer import Layer, LayerFacts


@dataclass(frozen=True)
class Chunk:
    """One chunk of a run.

    Attributes:
        rows: Of the run's samples.
        faces: Hash of all that the chunk's faces depend on.
        crops: Hash of all that its crops depend on, faces included.
        landmarks: Hash of all that its landmarks depend on; empty where no landmarker looks.
        files: Where it lies when it is finished.
    """

    rows: range
    faces: str
    crops: str
    landmarks: str
    files: ChunkFiles


@dataclass(frozen=True)
class Plan:
    """One run: everything that its result depends on."""

    lake: Lake
    dataset: str
    alignment: Alignment
    detector: Detector
    landmarker: Landmarker | None
    options: AlignOptions
    chosen: Chosen
    hints: Hints
    fingerprints: dict[str, str]
    """Of the dataset's layers, noted before samples and hints were read."""

    @property
    def samples(self) -> pa.Table:
        """The run's samples: `chosen.MEDIA_COLUMNS`."""
        return self.chosen.samples

    @property
    def faces_layer(self) -> str:
        """Key of the faces layer."""
        return f"faces/{self.detector.name}"

    @property
    def crops_layer(self) -> str:
        """Key of the crops layer."""
        return f"crops/{self.alignment.name}"

    @property
    def landmarks_layer(self) -> str:
        """Key of the layer of landmarks; empty where no landmarker looks."""
        return f"labels/landmarks-{self.landmarker.name}" if self.landmarker is not None else ""

    @property
    def parents(self) -> dict[str, str]:
        """Layers that the faces are made from, with their fingerprints as they were read."""
        return self._as_read(("samples", *self.hints.layers, *self.chosen.layers))

    def landmarks_parents(self, chunks: Sequence[Chunk]) -> dict[str, str]:
        """Layers that landmarks are made from, with their fingerprints as they were read; its faces are coming."""
        coming = self.faces_facts(chunks).filled("faces", self.detector.name, self.parents)
        return {self.faces_layer: coming.fingerprint} | self._as_read(("samples", *self.hints.landmark_layers))

    def crops_parents(self, chunks: Sequence[Chunk]) -> dict[str, str]:
        """The same of crops."""
        return self.landmarks_parents(chunks) | self._as_read(self.alignment.layers)

    def _as_read(self, keys: Iterable[str]) -> dict[str, str]:
        # A layer that was not there yet, and was read all the same, is one that changed.
        return {key: self.fingerprints.get(key, "") for key in keys}

    def faces_facts(self, chunks: Sequence[Chunk] = ()) -> LayerFacts:
        """Facts of the faces layer: the same whatever the alignment, so that alignments share one faces layer."""
        extra = {"detector": self.detector.name, **self.detector.facts, **self.chosen.facts}
        extra |= chunk_list([(chunk.faces, len(chunk.rows)) for chunk in chunks])
        return LayerFacts(command=f"affect align {self.dataset} --detector {self.detector.name}", extra=extra)

    def crops_facts(self, chunks: Sequence[Chunk]) -> LayerFacts:
        """Facts of the crops layer; its chunks are finished."""
        a, o = self.alignment, self.options
        extra = {"height": a.height, "width": a.width, "channels": o.channels, "alignment": a.name}
        extra |= {
            "alignment_source": a.source,
            "border": a.border,
            "no_face": o.no_face,
            "detector": self.detector.name,
        }
        extra |= {"chunk": o.chunk, "key": self.crops_key, "color": "gray" if o.gray else "rgb"}
        if o.quality is not None:
            extra |= {"store": o.store_kind, "quality": o.quality}
        said = {name: str(value) for name, value in extra.items()}
        said |= chunk_list([(chunk.crops, chunk.files.crops) for chunk in chunks])
        return LayerFacts(command=f"{self.faces_facts().command} --alignment {a.name}", extra=said)

    def landmarks_facts(self, chunks: Sequence[Chunk]) -> LayerFacts:
        """Facts of the layer of landmarks; its chunks are finished."""
        extra = self._landmarker_facts | {"detector": self.detector.name, "key": self.landmarks_key}
        extra |= chunk_list([(chunk.landmarks, chunk.files.landmarked) for chunk in chunks])
        return LayerFacts(
            unit={"landmarks": "frame"},
            rule="68 points of a network; the weight is their mean confidence, NULL where it gives none",
            landmark_base="0-based, pixel centres at integers",
            command=f"{self.faces_facts().command} --landmarks {_without_folder(self.options.landmarks or '')}",
            extra=extra,
        )

    @cached_property
    def worker(self) -> Worker:
        """What is done with one sample."""
        root, o = self.lake.root(self.dataset), self.options
        return Worker(root, self.detector, self.landmarker, self.alignment, o.channels, o.no_face, o.quality)

    @property
    def _landmarker_facts(self) -> dict[str, str]:
        if self.landmarker is None:
            return {}
        return {**self.landmarker.facts, "batch": f"{self.options.batch}", "device": self.options.device}

    @property
    def _settings(self) -> list[object]:
        """What crops depend on beside faces and media."""
        o = self.options
        return [
            {
                field.name: _said(getattr(self.alignment, field.name))
                for field in fields(self.alignment)
                if field.compare
            },
            o.no_face,
            o.channels,
            o.quality,
            self._landmarker_facts if self.worker.crop_waits else {},
        ]

    @cached_property
    def crops_key(self) -> str:
        """Hash of all that the crops depend on but the media themselves."""
        parents = [self.fingerprints[key] for key in self.hints.landmark_layers]
        return _digest([self.parents, parents, self.faces_facts().extra, self._settings, self.options.chunk])

    @cached_property
    def landmarks_key(self) -> str:
        """Hash of all that the landmarks depend on but the media themselves."""
        return _digest([self.parents, self.faces_facts().extra, self._landmarker_facts, self.options.chunk])

    @property
    def step(self) -> str:
        """Name of the run's scratch folder: runs that differ in nothing but their samples share it."""
        what = [self.detector.facts, self._settings, self._landmarker_facts]
        return f"align-{self.detector.name}-{self.alignment.name}-{_digest(what)}"

    @property
    def crop_bytes(self) -> int:
        """Bytes of one crop."""
        return self.alignment.height * self.alignment.width * self.options.channels

    @cached_property
    def ranges(self) -> list[range]:
        """Rows of the run's chunks, in order of sample_id."""
        return chunk_ranges(self.samples, self.options.chunk)

    def chunk(self, rows: range, folder: Path) -> Chunk:
        """The chunk of those rows: reads the sizes of its media, by which a file that changed is told.

        Args:
            folder: The run's scratch folder.
        """
        part = self.samples.slice(rows.start, len(rows))
        sizes = _media_sizes(self.lake.root(self.dataset), part.column("path").to_pylist())
        columns = [part.column(name).to_pylist() for name in part.column_names]
        faces = _digest([columns, sizes, self.hints.digest(rows), self.detector.name, self.detector.facts])
        landmarks = _digest([faces, self._landmarker_facts]) if self.landmarker is not None else ""
        crops = _digest([faces, self._settings, self.hints.landmarks_digest(rows)])
        files = ChunkFiles(
            folder, _digest([crops, landmarks]), len(rows), None if self.options.quality else self.crop_bytes
        )
        return Chunk(rows, faces, crops, landmarks, files)

    def refuse_lost_layers(self, chunks: Sequence[Chunk]) -> None:
        """Look before faces are replaced: crops and protocols that were made from the old ones would be stale.

        Raises:
            LakeError: Fresh layers depend on them: a protocol, crops of another alignment, or of other samples.
        """
        layers = {layer.key: layer for layer in self.lake.layers(self.dataset) if not layer.stale}
        coming = self.faces_facts(chunks).filled("faces", self.detector.name, self.parents)
        old = layers.get(self.faces_layer)
        if old is None or old.facts.fingerprint == coming.fingerprint:
            return
        made = [key for key, layer in layers.items() if self.faces_layer in layer.facts.parents]
        if self._covers(old):
            made = [key for key in made if key not in (self.crops_layer, self.landmarks_layer)]
        if made:
            raise LakeError(
                f"{self.faces_layer} of {self.dataset} cannot be replaced: {', '.join(made)} depends on it",
                found=_changes(old.facts, coming),
                expected=f"the options that made {self.faces_layer}, so that it stays as it is",
                then="try out in another --lake, or first: "
                + "; ".join(f"affect drop {self.dataset} {key}" for key in made),
            )

    def _covers(self, old: Layer) -> bool:
        """Whether the run's samples hold all of an older layer's."""
        ids = self.lake.read(self.dataset, old.key, ["sample_id"]).column("sample_id")
        ours = self.samples.column("sample_id").combine_chunks()
        return pc.all(pc.is_in(ids, value_set=ours)).as_py() is not False


def _said(value: object) -> str:
    """A value in words that are the same in every process: of a function its name."""
    return str(getattr(value, "__qualname__", value))


def _without_folder(name: str) -> str:
    """`onnx:pfld.onnx` of `onnx:/weights/pfld.onnx`: no layer holds a place of one machine."""
    kind, colon, path = name.partition(":")
    return f"{kind}{colon}{Path(path).name}"


def _digest(what: object) -> str:
    return hashlib.blake2b(json.dumps(what, sort_keys=True).encode(), digest_size=8).hexdigest()


def _media_sizes(root: Path, paths: Iterable[str | None]) -> list[int | None]:
    """Size in bytes of each sample's file; None where it has none or it is not there."""
    sizes: list[int | None] = []
    last: str | None = None
    for path in paths:
        if path is None or path != last or not sizes:
            sizes.append(None if path is None else _size(f"{root}/{path}"))
        else:
            sizes.append(sizes[-1])
        last = path
    return sizes


def _size(path: str) -> int | None:
    try:
        return os.stat(path).st_size  # noqa: PTH116 (called for millions of files)
    except (OSError, ValueError):
        return None


def _changes(old: LayerFacts, coming: LayerFacts) -> str:
    """In words what differs between two layers' facts."""
    before, now = old.extra, coming.extra
    differ = sorted(name for name in (before.keys() | now.keys()) - {"chunks"} if before.get(name) != now.get(name))
    changes = [f"{name} {before.get(name, 'none')} -> {now.get(name, 'none')}" for name in differ]
    if changes:
        return ", ".join(changes)
    return "it was made from other labels" if old.parents != coming.parents else "pictures have changed since"
