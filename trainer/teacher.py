"""A teacher: one run, and what it has predicted before.

Predictions are kept per picture under `<lake>/.cache/predictions`: a killed run goes on, new samples cost only
themselves, and another mode or threshold costs nothing. Every batch has the same shape, the last one padded, so that
what a picture gets does not depend on which others are predicted with it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from torch import nn

from manifests.crops import CHUNK, CropStore
from manifests.errors import RunError
from manifests.killpoints import reach
from manifests.lake import Lake
from manifests.storage import storage_errors, sync
from trainer.calibrate import Calibration, calibrate
from trainer.data import Samples, keys_of
from trainer.evaluate import load_network, predict
from trainer.fit import SCORE_BATCH, Machine
from trainer.predictions import Predictions
from trainer.run import METRICS, WEIGHTS, Run
from trainer.targets import Targets

Progress = Callable[[str, int, int], None]

TEACHABLE = ("expression", "va", "au", "landmarks")
"""Tasks that a teacher can fill."""


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
        return load_network(self.run).to(self.device)

    def predict(self, samples: Samples) -> Predictions:
        """Predictions of samples, in batches of one shape."""
        return predict(self.network, self.run.recipe, samples, self.device)

    @cached_property
    def calibration(self) -> Calibration:
        """Fitted on the samples that chose the run's epoch."""
        return calibrate(self.run, self.lake, self.predict)

    def predictions(
        self,
        dataset: str,
        store: CropStore,
        candidates: pa.Table,
        row: npt.NDArray[np.int64],
        shard: tuple[int, int] | None,
        progress: Progress | None,
    ) -> tuple[Predictions, int]:
        """Predictions of the candidates in order, and how many were made now; with a shard only its own."""
        names = _picture_names(candidates, store, row)
        kept = self._kept(dataset, ["picture"])
        known = np.zeros(len(names), bool) if kept is None else np.asarray(pc.is_in(names, value_set=kept["picture"]))
        if shard is not None:
            # By name, not by place: what is missing changes while the other shards run.
            known |= np.array([int(name[:8], 16) % shard[1] != shard[0] for name in names.to_pylist()], bool)
        missing = np.flatnonzero(~known)
        pieces = [missing[first : first + CHUNK] for first in range(0, len(missing), CHUNK)]
        done = 0
        for piece in pieces:
            samples = _samples_of(candidates, store, row, piece)
            made = self.predict(samples).at(np.arange(len(samples)) < len(piece))
            _check_numbers(self.run, made)
            self._keep(dataset, names.take(pa.array(piece)), made)
            done += len(piece)
            if progress:
                progress(f"{self.run.name} predicts {dataset}", done, sum(map(len, pieces)))
        if shard is not None:
            return Predictions(), done
        everything = self._kept(dataset)
        if everything is None:
            return _empty(self.run), 0
        at = np.asarray(pc.index_in(names, value_set=everything["picture"].combine_chunks()))
        return _from_table(everything.take(pa.array(at))), done

    def _kept(self, dataset: str, columns: list[str] | None = None) -> pa.Table | None:
        """What lies there; a picture that two shards predicted is there twice, the first is taken."""
        files = sorted((self.folder / dataset).glob("*.parquet"))
        return pa.concat_tables([pq.read_table(file, columns=columns) for file in files]) if files else None

    def _keep(self, dataset: str, names: pa.Array, made: Predictions) -> None:
        """Write one finished part, named by what is in it; whole or not at all."""
        folder = self.folder / dataset
        digest = hashlib.blake2b("\n".join(names.to_pylist()).encode(), digest_size=12).hexdigest()
        fresh = folder / f"{digest}.new"
        with storage_errors(self.lake.home):
            folder.mkdir(parents=True, exist_ok=True)
            pq.write_table(_to_table(names, made), fresh)
            sync(fresh)
            reach("predictions-written")
            fresh.replace(folder / f"{digest}.parquet")
        reach("predictions-renamed")


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


def _picture_names(candidates: pa.Table, store: CropStore, row: npt.NDArray[np.int64]) -> pa.Array:
    """Names of what the network sees: the sample, its source pixels and how they were cut.

    Where no faces layer has hashed the pixels, the crop layer as a whole stands for them.
    """
    pixels = pc.fill_null(candidates["pixel_hash"], store.layer.facts.fingerprint).to_pylist()
    cuts = store.transform[row].astype("<f4").tobytes()
    size = len(cuts) // max(len(row), 1)
    ids = candidates["sample_id"].to_pylist()
    return pa.array(
        [
            hashlib.blake2b(
                f"{name} {pixel} {store.shape} ".encode() + cuts[i * size : (i + 1) * size], digest_size=16
            ).hexdigest()
            for i, (name, pixel) in enumerate(zip(ids, pixels, strict=True))
        ],
        pa.string(),
    )


def _samples_of(
    candidates: pa.Table, store: CropStore, row: npt.NDArray[np.int64], piece: npt.NDArray[np.int64]
) -> Samples:
    """The samples of a piece, the last one repeated until every batch is full."""
    full = -(-len(piece) // SCORE_BATCH) * SCORE_BATCH
    padded = np.concatenate([piece, np.repeat(piece[-1:], full - len(piece))])
    ids = np.array(candidates["sample_id"].take(pa.array(padded)).to_pylist(), object)
    return Samples(ids, np.zeros(len(padded), np.int64), row[padded], keys_of(ids), Targets(), (store,))


def _to_table(names: pa.Array, made: Predictions) -> pa.Table:
    columns: dict[str, pa.Array] = {"picture": names}
    for task in TEACHABLE:
        values = getattr(made, task)
        if values is not None:
            flat = np.ascontiguousarray(values, np.float32).reshape(len(values), -1)
            columns[task] = pa.FixedSizeListArray.from_arrays(pa.array(flat.ravel()), flat.shape[1])
    return pa.table(columns)


def _from_table(table: pa.Table) -> Predictions:
    found: dict[str, Any] = {}
    for task in TEACHABLE:
        if task in table.column_names:
            column = table[task].combine_chunks()
            flat = column.flatten().to_numpy(zero_copy_only=False).reshape(len(table), -1)
            found[task] = flat.reshape(len(table), 68, 2) if task == "landmarks" else flat
    return Predictions(**found)


def _empty(run: Run) -> Predictions:
    tasks = run.recipe.tasks
    return Predictions(
        np.zeros((0, len(tasks.expression.classes)), np.float32) if tasks.expression else None,
        np.zeros((0, 2), np.float32) if tasks.va else None,
        np.zeros((0, len(tasks.au.aus)), np.float32) if tasks.au else None,
        np.zeros((0, 68, 2), np.float32) if tasks.landmarks else None,
    )
