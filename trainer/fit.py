"""Training: a recipe and a lake to a run folder."""

from __future__ import annotations

import logging
import signal
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import lightning as L
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.exceptions import SIGTERMException

from manifests.errors import RecipeError
from manifests.lake import Lake
from manifests.layer import Layer
from manifests.storage import storage_errors
from trainer.asked import check_selection
from trainer.callbacks import Average, Clock, Divergence, Keeper, Screen
from trainer.data import Prepared, prepare
from trainer.failures import failures
from trainer.fine_tuning import check_unreported, judged_before, origins, parent_of, samples_before, take_over
from trainer.learner import Learner
from trainer.loader import ScoreLoader, TrainLoader, hold_in_memory
from trainer.network import network_for, start_at_mean_face
from trainer.networks.sharing import TaskNetwork
from trainer.networks.weights import WeightsReport
from trainer.preemption import Preemption
from trainer.recipe import Recipe
from trainer.run import RESUME, SAMPLES, Run, RunFacts, start, write_facts
from trainer.sampler import check_supply, order_for
from trainer.sampling import Share
from trainer.schedule import Length
from trainer.transductive import seen_before_start, taught_by, why_transductive

SCORE_BATCH = 256
"""Pictures per step where nothing is trained."""


@dataclass(frozen=True)
class Machine:
    """Where training runs.

    Args:
        device: auto (a GPU if there is one), cpu or cuda.
        devices: Number of processes, one per GPU or, on the CPU, as many as asked for; more than one trains by DDP,
            where batch norm keeps the statistics of each process and no test compares the result with one process's.
        nodes: Number of machines (SLURM).
    """

    device: str = "auto"
    devices: int = 1
    nodes: int = 1

    @property
    def accelerator(self) -> str:
        """cpu or cuda.

        Raises:
            RecipeError: A GPU is asked for and there is none, or an unknown device.
        """
        if self.device not in ("auto", "cpu", "cuda"):
            raise RecipeError(f"device {self.device!r}", expected="auto, cpu or cuda")
        if self.device == "cuda" and not torch.cuda.is_available():
            raise RecipeError("device cuda", found="no usable GPU", then="--device cpu, or install the GPU's driver")
        gpus = torch.cuda.device_count() if self.device != "cpu" else 0
        if gpus and self.devices > gpus:
            raise RecipeError(f"{self.devices} devices", found=f"{gpus} usable GPUs", expected=f"--devices 1 to {gpus}")
        return "cuda" if self.device != "cpu" and torch.cuda.is_available() else "cpu"


def is_first_process() -> bool:
    """Whether this is the process that speaks: DDP runs the whole command again in each of the others."""
    return int(rank_zero_only.rank or 0) == 0


def train(
    recipe: Recipe,
    lake: Lake,
    run_dir: Path,
    *,
    resume: bool = False,
    machine: Machine | None = None,
    say: Callable[[str], None] = print,
) -> Run:
    """Train a recipe and keep the epoch that scores best on its selection samples.

    Args:
        recipe: The experiment.
        lake: Where its datasets, labels and crops lie.
        run_dir: Run folder; new, unless `resume`. A run that the recipe starts from lies beside it.
        resume: Go on with an interrupted run of the same recipe on the same layers.
        machine: Where it runs.
        say: Receives one line of text at a time: what was dropped, one line per epoch.

    Raises:
        RecipeError, ProtocolError, UnknownNameError, MetricInputError, StaleLayerError: The recipe does not fit itself
            or the lake.
        WeightsError: Weights to begin from that do not load or are of another network.
        RunError: The folder holds another run, the run to start from is none, training diverged, or memory ended.
        StorageError: The disk refuses.
        RunStoppedError: SIGTERM or SIGUSR1 asked it to stop; it has saved itself and `resume` goes on there.
        KeyboardInterrupt: Somebody stopped it; `resume` goes on after the last whole epoch.
    """
    machine, run_dir = machine or Machine(), Path(run_dir)
    check_selection(recipe)
    _check_precision(recipe, machine)
    parent = parent_of(recipe, run_dir)
    with _quiet():
        L.seed_everything(recipe.train.seed, verbose=False)
        before = check_unreported(recipe, lake, parent) if parent else []
        prepared = prepare(recipe, lake)
        network = network_for(recipe, prepared.train.shape[:2])
        if prepared.train.targets.landmarks is not None:
            start_at_mean_face(network, prepared.train.targets.landmarks.points)
        reports = [take_over(network, recipe, parent)] if parent else network.reports
        facts = _facts(recipe, lake, prepared, network, machine)
        facts = replace(facts, weights=reports[0].facts if reports else {}, **_inherited(recipe, lake, parent, facts))
        trainer, learner, keeper = _trainer(recipe, run_dir, prepared, network, machine, say)
        held = hold_in_memory(prepared.train.stores, machine.devices)
        mine = Share(world=machine.devices * machine.nodes, blocks=not held)
        before += check_supply(order_for(recipe, prepared.train, mine), prepared.train.targets, learner.losses)
        if trainer.is_global_zero:
            start(run_dir, recipe, facts, resume=resume)
            before += _write_samples(run_dir, recipe, prepared, parent)
            marks = [f"TRANSDUCTIVE: {reason}; every score of this run will say so" for reason in facts.transductive]
            for line in [*prepared.lines(), *marks, *_weights_lines(reports), *before]:
                say(line)
        checkpoint = run_dir / RESUME if resume and (run_dir / RESUME).exists() else None
        with failures(run_dir, recipe):
            _fit(trainer, learner, prepared, replace(mine, rank=trainer.global_rank), checkpoint)
            if trainer.is_global_zero:
                _finish(run_dir, facts, keeper)
        trainer.strategy.barrier("finished")
    return Run(run_dir)


def _trainer(
    recipe: Recipe,
    run_dir: Path,
    prepared: Prepared,
    network: TaskNetwork,
    machine: Machine,
    say: Callable[[str], None],
) -> tuple[L.Trainer, Learner, Keeper]:
    length = Length.of(recipe.train, len(order_for(recipe, prepared.train)))
    clock = Clock(recipe.train.max_minutes, length.steps)
    keeper = Keeper(run_dir, clock, recipe.train)
    trainer = L.Trainer(
        accelerator=machine.accelerator,
        devices=machine.devices,
        num_nodes=machine.nodes,
        strategy="ddp" if machine.devices * machine.nodes > 1 else "auto",
        precision=recipe.train.precision,
        max_epochs=length.epochs,
        gradient_clip_val=recipe.train.clip,
        callbacks=[clock, Average(), Divergence(run_dir), keeper, Screen(keeper, say), Preemption(keeper)],
        logger=TensorBoardLogger(run_dir, name="tensorboard", version=""),
        log_every_n_steps=min(50, length.steps_per_epoch),
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        benchmark=machine.accelerator == "cuda",
    )
    return trainer, Learner(recipe, network, length, prepared.selection.targets, prepared.train), keeper


def _fit(trainer: L.Trainer, learner: Learner, prepared: Prepared, share: Share, checkpoint: Path | None) -> None:
    rank, world, pin = share.rank, share.world, trainer.strategy.root_device.type == "cuda"
    order = order_for(learner.recipe, prepared.train, share)
    if len(prepared.selection) < world:
        raise RecipeError(f"{len(prepared.selection)} samples choose the epoch", expected=f"one per process: {world}")
    # Every process gets a batch: Lightning leaves out the validation of one that has none, and the others wait for it.
    score_batch = min(SCORE_BATCH, len(prepared.selection) // world)
    # Lightning turns Ctrl-C into exit code 1 and ignores the signal from then on.
    handler = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit(
            learner,
            TrainLoader(prepared.train, order, pin=pin),
            ScoreLoader(prepared.selection, score_batch, rank=rank, world=world, pin=pin),
            ckpt_path=checkpoint,
            weights_only=True,
        )
    except SystemExit as stop:
        if not trainer.interrupted or isinstance(stop, SIGTERMException):
            raise
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from None


def _check_precision(recipe: Recipe, machine: Machine) -> None:
    if recipe.train.precision == "16-mixed" and machine.accelerator == "cpu":
        raise RecipeError("train.precision 16-mixed", found="training on the CPU", expected="32-true or bf16-mixed")


def _facts(recipe: Recipe, lake: Lake, prepared: Prepared, network: TaskNetwork, machine: Machine) -> RunFacts:
    device = torch.cuda.get_device_name(0) if machine.accelerator == "cuda" else "cpu"
    return RunFacts(
        state="training",
        fingerprints=prepared.fingerprints,
        sources=list(recipe.sources),
        protocol={d.name: recipe.protocol_of(d.name) for d in recipe.datasets},
        crop=list(prepared.train.shape),
        crops={store.layer.dataset: crop_facts(store.layer) for store in prepared.train.stores},
        samples={
            "train": len(prepared.train),
            "selection": len(prepared.selection),
            "without_crop": prepared.without_crop,
            "unlabelled": prepared.unlabelled,
        },
        dropped={dataset: {**asdict(counts), "leaking": dict(counts.leaking)} for dataset, counts in prepared.counts},
        parameters=sum(p.numel() for p in network.parameters()),
        device=f"{machine.devices * machine.nodes} x {device}",
        transductive=why_transductive(recipe, lake),
        taught=[asdict(teacher) for teacher in taught_by(recipe, lake)],
    )


def _inherited(recipe: Recipe, lake: Lake, parent: Run | None, facts: RunFacts) -> dict[str, Any]:
    """What a run has from the one that it begins from: its history, and whoever taught it."""
    if parent is None:
        return {}
    why = [*facts.transductive, *seen_before_start(parent, recipe, lake)]
    return {
        "started": origins(parent),
        "taught": [*facts.taught, *(one for one in parent.facts.taught if one not in facts.taught)],
        "transductive": list(dict.fromkeys(why)),
    }


def crop_facts(layer: Layer) -> dict[str, str]:
    """What a crop layer says of how it was made, without the fingerprints of its pieces."""
    named = ("alignment", "alignment_source", "detector", "no_face", "border", "height", "width", "channels", "color")
    return {name: layer.facts.extra[name] for name in named if name in layer.facts.extra}


def _weights_lines(reports: Sequence[WeightsReport]) -> list[str]:
    """What became of the weights to begin from, once for trunks that started alike."""
    return list(dict.fromkeys(line for report in reports for line in report.lines()))


def _write_samples(run_dir: Path, recipe: Recipe, prepared: Prepared, parent: Run | None) -> list[str]:
    """Keep what the run will have seen; what is to be said of it, a line each."""
    names = [d.name for d in recipe.datasets]
    tables = [
        pa.table(
            {
                "sample_id": pa.array(samples.ids.tolist(), pa.string()),
                "dataset": pa.array([names[number] for number in samples.dataset.tolist()], pa.string()),
                "role": pa.repeat(role, len(samples)),
            }
        )
        for role, samples in (("train", prepared.train), ("selection", prepared.selection))
    ]
    own = pa.concat_tables(tables)
    everything = pa.concat_tables([own, samples_before(parent, own)]) if parent else own
    with storage_errors(run_dir):
        pq.write_table(everything, run_dir / SAMPLES)
    return judged_before(parent, own) if parent else []


def _finish(run_dir: Path, facts: RunFacts, keeper: Keeper) -> None:
    from trainer.figures import draw_curves

    done = replace(
        facts,
        state="finished",
        epochs=len(keeper.rows),
        best_epoch=keeper.best_epoch,
        best_score=keeper.best_score,
        minutes=round(keeper.clock.seconds / 60, 3),
        images_per_second=round(keeper.images_per_second, 1),
    )
    draw_curves(run_dir / "curves.png", keeper.rows, keeper.best_epoch)
    write_facts(run_dir, done)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Lightning's advice off the screen: it speaks to people who write training loops."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
