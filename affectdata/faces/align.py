"""The align engine: pictures to a faces layer and packed crops, on threads, resumable, in one publication."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from filelock import FileLock, Timeout

from affectdata.faces.alignments import Alignment, Needs, alignment
from affectdata.faces.detectors import FOUND, DetectorSettings, detector
from affectdata.faces.hints import read_hints
from affectdata.faces.packing import packed
from affectdata.faces.plan import MEDIA_COLUMNS, AlignOptions, DiskNeed, Plan
from affectdata.faces.work import Media, Outcome, Worker
from manifests.crops import shard_name
from manifests.errors import AffectError, LakeBusyError
from manifests.killpoints import reach
from manifests.lake import Lake
from manifests.layer import ROW_GROUP

__all__ = ["AlignOptions", "AlignProgress", "AlignSummary", "align", "default_detector"]

_TASK = 16
"""Samples that one thread takes at a time."""


@dataclass(frozen=True)
class AlignProgress:
    """Where a run stands: samples done of all (earlier runs included), crops made, disk that it needs at most."""

    done: int
    total: int
    crops: int
    disk: DiskNeed


@dataclass(frozen=True)
class AlignSummary:
    """What a run has done.

    Attributes:
        statuses: Status of the faces layer -> samples.
        resumed: Samples that an interrupted run had finished before.
        unchanged: True where everything was aligned and fresh, and nothing was done.
    """

    dataset: str
    alignment: str
    detector: str
    samples: int
    crops: int
    statuses: dict[str, int]
    resumed: int = 0
    unchanged: bool = False

    def lines(self) -> list[str]:
        """The summary in words."""
        head = f"{self.dataset}: {self.crops} of {self.samples} samples in crops/{self.alignment}"
        if self.unchanged:
            return [f"{head} (detector {self.detector}): already aligned and fresh, nothing to do"]
        others = [f"  {count:>9}  {status}" for status, count in self.statuses.items() if status != FOUND]
        resumed = [f"  {self.resumed:>9}  taken over from an interrupted run"] if self.resumed else []
        return [f"{head} (detector {self.detector})", *others, *resumed]


Progress = Callable[[AlignProgress], None]


def default_detector(name: str) -> str:
    """The detector of an alignment unless another is named: `whole` where no points are needed, else `yunet`."""
    return "whole" if alignment(name).needs is Needs.NOTHING else "yunet"


def align(
    lake: Lake,
    dataset: str,
    *,
    alignment: str = "arcface112",
    detector: str | None = None,
    options: AlignOptions | None = None,
    progress: Progress | None = None,
) -> AlignSummary:
    """Cut the face of every sample of a dataset out and pack the crops; writes `faces/<detector>` and `crops/<name>`.

    Samples are taken in order of sample_id, chunk by chunk. Finished chunks survive a kill or a full disk, and the
    next run with the same options goes on behind them; the result is the same, byte for byte. A picture that cannot
    be read, or in which no face is found, gets a status in the faces layer and no crop.

    Args:
        alignment: See `affectdata.faces.alignments.alignment`.
        detector: `dataset`, `yunet` or `whole`; None: `default_detector`.
        progress: Called before the first chunk (so that the disk need is known before it is taken) and after each.

    Raises:
        UnknownNameError: No such dataset, alignment, detector or policy.
        AffectError: The detector gives no points and the alignment needs them.
        LakeError: Other crops, or a protocol, were made with the faces that this run would replace.
        WeightsError: The detector's weights are not to be had.
        StorageError: The crops do not fit on the disk.
        LakeBusyError: Another process makes the same crops, or writes the dataset.
        StaleLayerError: The dataset was ingested again while this ran.
    """
    plan = _plan(
        lake, dataset, alignment, detector or default_detector(alignment), (options or AlignOptions()).checked()
    )
    done = _unchanged(plan)
    if done is not None:
        return done
    plan.refuse_lost_layers()
    folder = lake.work(dataset, plan.step)
    with _alone(folder, plan):
        _remove_other_runs(folder, plan)
        resumed = _make_chunks(plan, folder, progress)
        reach("chunks-done")
        statuses, crops = _publish(plan, folder)
    return AlignSummary(dataset, alignment, plan.detector.name, plan.samples.num_rows, crops, statuses, resumed)


def _plan(lake: Lake, dataset: str, name: str, detector_name: str, options: AlignOptions) -> Plan:
    target: Alignment = alignment(name)
    lake.layer(dataset, "samples")
    finder = detector(detector_name, DetectorSettings(options.max_side, options.score))
    if target.needs is not Needs.NOTHING and not finder.gives_points:
        raise AffectError(
            f"alignment {name} needs five points, and detector {finder.name} gives none",
            then=f"affect align {dataset} --alignment {name} --detector yunet, or --alignment resize{target.width}",
        )
    fingerprints = lake.fingerprints(dataset)
    samples = lake.read(dataset, "samples", MEDIA_COLUMNS)
    hints = read_hints(lake, dataset, landmarks=finder.name == "dataset")
    if (
        finder.name == "dataset"
        and target.needs is not Needs.NOTHING
        and not np.isfinite(hints.points).all((1, 2)).any()
    ):
        raise AffectError(
            f"{dataset} gives no picture all five points, and no landmarks",
            then=f"affect align {dataset} --detector yunet",
        )
    if options.limit is not None and options.limit < samples.num_rows:
        samples = samples.slice(0, options.limit)
    else:
        options = replace(options, limit=None)
    return Plan(lake, dataset, target, finder, options, samples, hints, fingerprints)


def _unchanged(plan: Plan) -> AlignSummary | None:
    """The summary of an earlier run, if its layers are there, fresh, and made exactly like this one's would be."""
    crops, faces = f"crops/{plan.alignment.name}", f"faces/{plan.detector.name}"
    layers = {layer.key: layer for layer in plan.lake.layers(plan.dataset) if not layer.stale}
    if crops not in layers or faces not in layers or layers[crops].facts.extra.get("key") != plan.key:
        return None
    statuses = _counted(plan.lake.read(plan.dataset, faces, ["status"]))
    names = plan.dataset, plan.alignment.name, plan.detector.name
    return AlignSummary(*names, plan.samples.num_rows, layers[crops].rows, statuses, unchanged=True)


@contextmanager
def _alone(folder: Path, plan: Plan) -> Iterator[None]:
    """Hold the scratch folder against another process that runs the same command."""
    lock = FileLock(folder / "lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise LakeBusyError(
            f"crops/{plan.alignment.name} of {plan.dataset} are being made by another process",
            then="wait until it has finished",
        ) from None
    try:
        yield
    finally:
        lock.release()


def _remove_other_runs(folder: Path, plan: Plan) -> None:
    """Free the disk that abandoned runs of the same crops with other options or older samples hold."""
    for other in folder.parent.glob(f"align-{plan.detector.name}-{plan.alignment.name}-*"):
        if other == folder:
            continue
        lock = FileLock(other / "lock", timeout=0)
        try:
            with lock:
                shutil.rmtree(other, ignore_errors=True)
        except Timeout:
            continue


def _make_chunks(plan: Plan, folder: Path, progress: Progress | None) -> int:
    """Make the chunks that are not finished; the number of samples that were."""
    all_chunks = plan.chunks(folder)
    left = [c for c in all_chunks if not c.finished(len(plan.rows(c)), plan.crop_bytes)]
    done: int = plan.samples.num_rows - sum(len(plan.rows(c)) for c in left)
    resumed = done
    crops = sum(c.pixels.stat().st_size // plan.crop_bytes for c in all_chunks if c not in left)
    disk = plan.disk_need(plan.samples.num_rows - done)

    def tell() -> None:
        if progress is not None:
            progress(AlignProgress(done, plan.samples.num_rows, crops, disk))

    tell()
    worker = Worker(
        plan.lake.root(plan.dataset), plan.detector, plan.alignment, plan.options.channels, plan.options.no_face
    )
    with _one_thread_each(), ThreadPoolExecutor(plan.options.workers, thread_name_prefix="align") as pool:
        for chunk in left:
            outcomes = _outcomes(pool, plan, worker, plan.rows(chunk))
            table, pixels = packed(outcomes, plan.alignment.size, plan.options.channels)
            chunk.write(table, pixels)
            done, crops = done + len(outcomes), crops + len(pixels)
            tell()
    return resumed


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """OpenCV without threads of its own: ours are as many as there are cores."""
    import cv2

    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def _outcomes(pool: ThreadPoolExecutor, plan: Plan, worker: Worker, rows: range) -> list[Outcome]:
    """The outcomes of a chunk's samples, in order; a few samples are handed to a thread at a time."""
    columns = plan.samples.slice(rows.start, len(rows)).to_pydict()
    media = [Media(*values) for values in zip(*(columns[name] for name in MEDIA_COLUMNS), strict=True)]

    def some(first: int) -> list[Outcome]:
        last = min(first + _TASK, len(media))
        return [worker.outcome(media[i], plan.hints.of(rows[i])) for i in range(first, last)]

    return [outcome for part in pool.map(some, range(0, len(media), _TASK)) for outcome in part]


def _publish(plan: Plan, folder: Path) -> tuple[dict[str, int], int]:
    """Both layers and the shards in one step; statuses and number of crops."""
    done = plan.chunks(folder)
    faces, name = f"faces/{plan.detector.name}", plan.alignment.name
    statuses: Counter[str] = Counter()

    def face_tables() -> Iterator[pa.Table]:
        for table in _joined(chunk.faces() for chunk in done):
            statuses.update(_counted(table))
            yield table

    with plan.lake.publish(plan.dataset, command=plan.crops_facts.command) as step:
        plan.refuse_lost_layers()  # another run may have published crops meanwhile
        step.write("faces", plan.detector.name, face_tables(), plan.faces_facts, plan.faces_parents)
        crops = step.write(
            "crops", name, _joined(chunk.index() for chunk in done), plan.crops_facts, ("samples", faces)
        )
        for chunk in done:
            if chunk.pixels.stat().st_size:
                step.link(shard_name(name, chunk.number), chunk.pixels)
        step.finish_work(folder)
    return dict(statuses.most_common()), crops


def _joined(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The same rows in tables of about a row group of the layer, so that the layer reads fast."""
    waiting: list[pa.Table] = []
    for table in tables:
        waiting.append(table)
        if sum(len(t) for t in waiting) >= ROW_GROUP:
            yield pa.concat_tables(waiting)
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting)


def _counted(table: pa.Table) -> dict[str, int]:
    return {entry["values"]: entry["counts"] for entry in pc.value_counts(table.column("status")).to_pylist()}
