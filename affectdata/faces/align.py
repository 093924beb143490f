"""The align engine: pictures to a faces layer and packed crops, resumable, in one publication."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from filelock import FileLock, Timeout

from affectdata.faces.alignments import Alignment, Needs, alignment
from affectdata.faces.chosen import chosen
from affectdata.faces.cmcnn import alignment_of
from affectdata.faces.disk import disk_need
from affectdata.faces.earlier import Earlier
from affectdata.faces.geometry import ANISOTROPY_LIMIT, anisotropy
from affectdata.faces.hints import read_hints, with_landmarks
from affectdata.faces.making import Crew, Job, Told, make
from affectdata.faces.options import AlignOptions
from affectdata.faces.plan import Chunk, Plan
from affectdata.faces.summary import AlignProgress, AlignSummary
from manifests.crops import shard_name
from manifests.errors import AffectError, LakeBusyError, WeightsError
from manifests.killpoints import reach
from manifests.lake import Lake
from manifests.layer import ROW_GROUP

_STATS = 8
"""Threads that ask for the sizes of media: a network disk answers several at once."""

__all__ = ["AlignOptions", "AlignProgress", "AlignSummary", "align", "default_detector"]


Progress = Callable[[AlignProgress], None]


def default_detector(name: str) -> str:
    """The detector of an alignment unless another is named: `whole` where no points are needed, else `yunet`."""
    return "whole" if not name.startswith("cmcnn100") and alignment(name).needs is Needs.NOTHING else "yunet"


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

    With a landmarker also `labels/landmarks-<model>`. Samples are taken in order of sample_id, chunk by chunk.
    Finished chunks survive a kill or a full disk, and the next run goes on behind them; chunks whose samples, media
    and options are those of the published crops are taken over, so samples that were added cost only the chunks they
    lie in. The result is the same, byte for byte, as that of one run from scratch. A picture that cannot be read, or
    in which no face is found, gets a status in the faces layer and no crop.

    Args:
        alignment: See `affectdata.faces.alignments.alignment`.
        detector: `dataset`, `yunet`, `sfd` or `whole`; None: `default_detector`.
        progress: Called before the first sample (so that the disk need is known before it is taken) and after some.

    Raises:
        UnknownNameError: No such dataset, alignment, detector, landmarker, policy or selection.
        AffectError: The detector gives no points and the alignment needs them; no sample is left.
        LakeError: Other crops, or a protocol, were made with the faces that this run would replace.
        WeightsError: Weights are not to be had.
        StorageError: The crops do not fit on the disk.
        LakeBusyError: Another process makes the same crops, or writes the dataset.
        StaleLayerError: The dataset was ingested again while this ran.
    """
    o = (options or AlignOptions()).checked()
    plan = _plan(lake, dataset, alignment, detector or default_detector(alignment), o)
    done = _unchanged(plan)
    if done is not None:
        return done
    folder = lake.work(dataset, plan.step)
    with _alone(folder, plan):
        if o.shard is None:
            _remove_other_runs(folder, plan)
        share = plan.ranges if o.shard is None else plan.ranges[o.shard[0] - 1 :: o.shard[1]]
        with ThreadPoolExecutor(_STATS) as pool:
            chunks = list(pool.map(lambda rows: plan.chunk(rows, folder), share))
        if o.shard is None:
            plan.refuse_lost_layers(chunks)
            _remove_other_chunks(folder, chunks)
        resumed, kept = _make_chunks(plan, chunks, progress)
        reach("chunks-done")
        names = plan.dataset, plan.alignment.name, plan.detector.name
        if o.shard is not None:
            samples = sum(len(chunk.rows) for chunk in chunks)
            return AlignSummary(*names, samples, _crops(chunks), {}, resumed, kept, shard=o.shard)
        crops = _crops(chunks)
        statuses, stretched = _publish(plan, chunks, folder)
    return AlignSummary(*names, plan.samples.num_rows, crops, statuses, resumed, kept, stretched)


def _plan(lake: Lake, dataset: str, name: str, detector_name: str, options: AlignOptions) -> Plan:
    lake.layer(dataset, "samples")
    fingerprints = lake.fingerprints(dataset)
    target: Alignment = alignment_of(lake, dataset, name)
    try:
        worker = Crew(lake.root(dataset), target, detector_name, options).worker()
    except WeightsError as error:
        if target.needs is not Needs.NOTHING or detector_name == "whole" or options.landmarks:
            raise
        whole = f"affect align {dataset} --alignment {name} --detector whole: this geometry looks at no face"
        then = f"{whole}; or {error.then}" if error.then else whole
        raise WeightsError(error.about, found=error.found, expected=error.expected, then=then) from None
    finder, marker = worker.detector, worker.landmarker
    if target.needs is Needs.FIVE_POINTS and not finder.gives_points and marker is None:
        raise AffectError(
            f"alignment {name} needs five points, and detector {finder.name} gives none",
            then=f"affect align {dataset} --alignment {name} --detector yunet, or with --landmarks fan, "
            f"or --alignment resize{target.width}",
        )
    taken = chosen(lake, dataset, options)
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
    if marker is None and target.needs is Needs.LANDMARKS:
        hints = with_landmarks(hints, lake, dataset)
        if not hints.landmark_layers:
            raise AffectError(
                f"alignment {name} needs 68 points, and {dataset} gives none",
                then=f"affect align {dataset} --alignment {name} --landmarks fan",
            )
    return Plan(lake, dataset, target, finder, marker, options, taken, hints.taken(taken.rows), fingerprints)


def _unchanged(plan: Plan) -> AlignSummary | None:
    """The summary of an earlier run, if its layers are there, fresh, and made exactly like this one's would be."""
    layers = {layer.key: layer for layer in plan.lake.layers(plan.dataset) if not layer.stale}
    wanted = {plan.crops_layer: plan.crops_key}
    if plan.landmarker is not None:
        wanted[plan.landmarks_layer] = plan.landmarks_key
    if any(key not in layers or layers[key].facts.extra.get("key") != made for key, made in wanted.items()):
        return None
    statuses = _counted(plan.lake.read(plan.dataset, plan.faces_layer, ["status"]))
    names = plan.dataset, plan.alignment.name, plan.detector.name
    return AlignSummary(*names, plan.samples.num_rows, layers[plan.crops_layer].rows, statuses, unchanged=True)


@contextmanager
def _alone(folder: Path, plan: Plan) -> Iterator[None]:
    """Hold the scratch folder against another process that runs the same command; shards hold only their share."""
    shard = plan.options.shard
    mine = "lock" if shard is None else "lock-{}-of-{}".format(*shard)
    lock = FileLock(folder / mine, timeout=0)
    try:
        lock.acquire()
        for other in sorted(folder.glob("lock*") if shard is None else [folder / "lock"]):
            if other.name != mine:
                with FileLock(other, timeout=0 if shard is None else 1):  # shards look at once, each for a moment
                    pass
    except Timeout:
        lock.release()
        raise LakeBusyError(
            f"{plan.crops_layer} of {plan.dataset} are being made by another process",
            then="wait until it has finished",
        ) from None
    try:
        yield
    finally:
        lock.release()


def _remove_other_runs(folder: Path, plan: Plan) -> None:
    """Free the disk that abandoned runs of the same crops with other options hold."""
    for other in folder.parent.glob(f"align-{plan.detector.name}-{plan.alignment.name}-*"):
        if other == folder:
            continue
        locks = [FileLock(file, timeout=0) for file in (other / "lock", *other.glob("lock-*"))]
        try:
            for lock in locks:
                lock.acquire()
            shutil.rmtree(other, ignore_errors=True)
        except Timeout:
            continue
        finally:
            for lock in locks:
                lock.release()


def _remove_other_chunks(folder: Path, chunks: Iterable[Chunk]) -> None:
    """Free the disk that chunks of other samples, and halves of chunks, hold."""
    kept = {path for chunk in chunks for path in (chunk.files.rows, chunk.files.pixels)}
    for path in folder.glob("chunk-*"):
        if path not in kept:
            path.unlink(missing_ok=True)


def _make_chunks(plan: Plan, chunks: list[Chunk], progress: Progress | None) -> tuple[int, int]:
    """Make the chunks that are neither finished nor published; how many samples were the one and the other."""
    layers = {layer.key: layer for layer in plan.lake.layers(plan.dataset)}
    earlier = Earlier(layers, plan.faces_layer, plan.crops_layer, plan.landmarks_layer)
    finished = [chunk for chunk in chunks if chunk.files.finished()]
    there = {chunk.files.key for chunk in finished}
    open_ = [chunk for chunk in chunks if chunk.files.key not in there]
    kept = [chunk for chunk in open_ if earlier.take(chunk.files, chunk.faces, chunk.crops, chunk.landmarks)]
    reach("chunks-taken")
    there |= {chunk.files.key for chunk in kept}
    left = [chunk for chunk in open_ if chunk.files.key not in there]
    samples = [sum(len(chunk.rows) for chunk in part) for part in (chunks, finished, kept, left)]
    done, crops = samples[1] + samples[2], _crops([*finished, *kept])
    before, disk = done, disk_need(plan, [chunk.rows for chunk in left])

    def told(more: int, more_crops: int) -> None:
        nonlocal done, crops
        done, crops = done + more, crops + more_crops
        if progress is not None:
            progress(AlignProgress(done, samples[0], crops, before, disk))

    told(0, 0)
    _engine(plan)((_job(plan, chunk, earlier) for chunk in left), told)
    return samples[1], samples[2]


def _engine(plan: Plan) -> Callable[[Iterator[Job], Told], None]:
    if plan.options.engine == "ray":
        from affectdata.faces.cluster import make_on_ray

        crew = Crew(plan.lake.root(plan.dataset), plan.alignment, plan.detector.name, plan.options)
        return lambda jobs, told: make_on_ray(jobs, crew, told)
    return lambda jobs, told: make(jobs, plan.worker, plan.options, told)


def _job(plan: Plan, chunk: Chunk, earlier: Earlier) -> Job:
    media = plan.samples.slice(chunk.rows.start, len(chunk.rows))
    hints = plan.hints.taken(slice(chunk.rows.start, chunk.rows.stop))
    return Job(chunk.files, media, hints, earlier.faces(chunk.faces))


def _crops(chunks: Iterable[Chunk]) -> int:
    return sum(chunk.files.crops for chunk in chunks)


def _publish(plan: Plan, chunks: list[Chunk], folder: Path) -> tuple[dict[str, int], int]:
    """All layers and the shards in one step; the statuses, and how many crops are stretched."""
    name = plan.alignment.name
    statuses: Counter[str] = Counter()
    stretched = 0

    def face_tables() -> Iterator[pa.Table]:
        for table in _joined(chunk.files.faces() for chunk in chunks):
            statuses.update(_counted(table))
            yield table

    def index_tables() -> Iterator[pa.Table]:
        nonlocal stretched
        for table in _joined(chunk.files.index(shard) for shard, chunk in enumerate(chunks)):
            flat = pc.list_flatten(table.column("transform")).to_numpy()
            stretched += int((anisotropy(flat.reshape(-1, 2, 3)) > ANISOTROPY_LIMIT).sum())
            yield table

    facts = plan.crops_facts(chunks)
    with plan.lake.publish(plan.dataset, command=facts.command) as step:
        plan.refuse_lost_layers(chunks)  # another run may have published crops meanwhile
        step.write("faces", plan.detector.name, face_tables(), plan.faces_facts(chunks), plan.parents)
        step.write("crops", name, index_tables(), facts, plan.crops_parents(chunks))
        if plan.landmarker is not None:
            marks = _joined(chunk.files.landmarks() for chunk in chunks)
            kind, _, source = plan.landmarks_layer.partition("/")
            step.write(kind, source, marks, plan.landmarks_facts(chunks), plan.landmarks_parents(chunks))
        for shard, chunk in enumerate(chunks):
            if chunk.files.crops:
                step.link(shard_name(name, shard, plan.options.store_kind), chunk.files.pixels)
        step.finish_work(folder)
    return dict(statuses.most_common()), stretched


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
