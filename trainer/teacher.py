"""A teacher: one run, and what it has predicted before.

Predictions are kept per picture under `<lake>/.cache/predictions`: a killed run goes on, new samples cost only
themselves, and another mode or threshold costs nothing. Every batch has the same shape, the last one padded, so that
what a picture gets does not depend on which others are predicted with it. They are made in pieces, each of which holds
all it needs, so that another process or machine can make it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import nn

from affectdata.cluster import Cluster
from manifests.crops import CHUNK, CropStore
from manifests.errors import RunError, StaleLayerError
from manifests.lake import Lake
from trainer.calibrate import Calibration, calibrate
from trainer.data import Samples, keys_of
from trainer.evaluate import load_network, predict
from trainer.failures import looking_failures
from trainer.fit import SCORE_BATCH, Machine
from trainer.kept import TEACHABLE, Kept
from trainer.pictures import Pictures
from trainer.predictions import Predictions
from trainer.run import METRICS, WEIGHTS, Run
from trainer.targets import Targets

Progress = Callable[[str, int, int], None]

ENGINES = ("local", "ray")
"""Where predictions are made: in this process; as tasks of a Ray cluster."""


@dataclass(frozen=True, eq=False)
class Piece:
    """Pictures that are predicted and kept together: sample_id, store row and name of each."""

    ids: pa.Array
    row: npt.NDArray[np.int64]
    names: pa.Array

    def samples(self, store: CropStore) -> Samples:
        """The samples, the last one repeated until every batch is full."""
        full = -(-len(self.row) // SCORE_BATCH) * SCORE_BATCH
        padded = np.minimum(np.arange(full), len(self.row) - 1)
        ids = np.array(self.ids.to_pylist(), object)[padded]
        return Samples(ids, np.zeros(full, np.int64), self.row[padded], keys_of(ids), Targets(), (store,))


class Teacher:
    """One run, its network when it is needed, and what it has predicted before.

    Args:
        run: A finished run.
        lake: Where its selection samples lie, and where predictions are kept.
        device: auto, cpu or cuda.

    Raises:
        RunError: The run has no weights.
    """

    def __init__(self, run: Run, lake: Lake, device: str = "auto") -> None:
        self.run, self.lake, self.device = run, lake, Machine(device=device).accelerator
        self.fingerprint = checkpoint(run)
        self.folder = lake.cache / "predictions" / f"{run.name}-{self.fingerprint[:16]}-{self.device}"

    @cached_property
    def network(self) -> nn.Module:
        """Loaded when it is first asked for: a run whose pictures are all known needs none."""
        with looking_failures(self.run.name, SCORE_BATCH, self.device):
            return load_network(self.run).to(self.device)

    def predict(self, samples: Samples) -> Predictions:
        """Predictions of samples, in batches of one shape."""
        with looking_failures(self.run.name, SCORE_BATCH, self.device):
            return predict(self.network, self.run.recipe, samples, self.device)

    @cached_property
    def calibration(self) -> Calibration:
        """Fitted on the samples that chose the run's epoch."""
        return calibrate(self.run, self.lake, self.predict)

    def kept(self, dataset: str) -> Kept:
        """What it has predicted of a dataset."""
        return Kept(self.folder / dataset)

    def make(
        self,
        pictures: Pictures,
        *,
        shard: tuple[int, int] | None = None,
        cluster: Cluster | None = None,
        progress: Progress | None = None,
    ) -> int:
        """Predict the pictures that it has not predicted before; how many these were.

        Args:
            shard: (i, n): only every n-th picture from the i-th on, 1-based.
            cluster: Where pieces are made; None: in this process.

        Raises:
            RunError: Weights that do not load, predictions that are no numbers, or out of memory.
            AffectError: See `Cluster.run`.
        """
        dataset, names = pictures.store.layer.dataset, pictures.names
        kept = self.kept(dataset)
        kept.sweep()
        known = np.asarray(pc.is_in(names, value_set=kept.pictures())).astype(bool)
        if shard is not None:
            # By name, not by place: what is missing changes while the other shards run.
            known |= np.array([int(name[:8], 16) % shard[1] != shard[0] - 1 for name in names.to_pylist()], bool)
        missing = np.flatnonzero(~known)
        done = 0

        def told(piece: Piece) -> None:
            nonlocal done
            done += len(piece.row)
            if progress:
                progress(f"{self.run.name} predicts {dataset}", done, len(missing))

        pieces = _pieces(pictures, missing)
        if cluster is None:
            for piece in pieces:
                self.make_piece(piece, pictures.store)
                told(piece)
        else:
            self._make_on(cluster, pieces, pictures.store, told)
        return done

    def make_piece(self, piece: Piece, store: CropStore) -> None:
        """Predict one piece and keep it."""
        made = self.predict(piece.samples(store)).at(np.arange(len(piece.row)))
        _check_numbers(self.run, made)
        self.kept(store.layer.dataset).write(piece.names, made)

    def _make_on(
        self, cluster: Cluster, pieces: Iterator[Piece], store: CropStore, told: Callable[[Piece], None]
    ) -> None:
        layer = store.layer
        lakes = tuple(self.lake.paths)
        where = (layer.dataset, layer.name, layer.facts.fingerprint)
        crew = Crew(self.run.path.absolute(), lakes, self.device, *where, torch.get_num_threads())
        kept = self.kept(layer.dataset)

        def done(piece: Piece, _: None) -> None:
            if not kept.file(piece.names).exists():
                raise cluster.not_shared(kept.folder)
            told(piece)

        cluster.run(_made, crew, pieces, done)


@dataclass(frozen=True)
class Crew:
    """What a task of another process makes its teacher of.

    Attributes:
        run: The run folder.
        lakes: From bottom to top.
        device: cpu or cuda.
        dataset: Whose pictures.
        alignment: Of the crops.
        crops: Fingerprint of their layer.
        threads: Of PyTorch; another number could give other last bits.
    """

    run: Path
    lakes: tuple[Path, ...]
    device: str
    dataset: str
    alignment: str
    crops: str
    threads: int


def _made(crew: Crew, piece: Piece) -> None:
    """Make one piece, unless it is there."""
    torch.set_num_threads(crew.threads)
    teacher, store = _worker(crew)
    if not teacher.kept(crew.dataset).file(piece.names).exists():
        teacher.make_piece(piece, store)


@lru_cache(maxsize=1)
def _worker(crew: Crew) -> tuple[Teacher, CropStore]:
    """The teacher of this process, whose network is loaded once, and the crops."""
    lake = Lake(crew.lakes)
    store = CropStore(lake, crew.dataset, crew.alignment)
    if store.layer.facts.fingerprint != crew.crops:
        raise StaleLayerError(
            f"{store.layer.key} of {crew.dataset} changed while its faces were predicted",
            then="run the same command again: what is finished stays",
        )
    return Teacher(Run(crew.run), lake, crew.device), store


def checkpoint(run: Run) -> str:
    """SHA-256 of the run's weights.

    Raises:
        RunError: There are none.
    """
    try:
        with (run.path / WEIGHTS).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise RunError(
            f"run {run.path} has no weights", found=str(error), expected=WEIGHTS, then="affect train makes them"
        ) from None


def _pieces(pictures: Pictures, missing: npt.NDArray[np.int64]) -> Iterator[Piece]:
    for first in range(0, len(missing), CHUNK):
        at = missing[first : first + CHUNK]
        taken = pa.array(at)
        yield Piece(pictures.ids.take(taken), pictures.row[at], pictures.names.take(taken))


def _check_numbers(run: Run, made: Predictions) -> None:
    """Refuse a teacher that says NaN before anything of it is kept."""
    for task in TEACHABLE:
        values = getattr(made, task)
        if values is not None and not np.isfinite(values).all():
            bad = ~np.isfinite(values.reshape(len(values), -1)).all(1)
            raise RunError(
                f"run {run.path} predicts {task} that are no numbers",
                found=f"NaN or infinity for {bad.sum():,} of {len(bad):,} pictures",
                expected="finite predictions",
                then=f"look at its losses in {METRICS}; train it again",
            )
