"""What `affect pseudo-label` is asked for, and what came of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch

from affectdata.cluster import Cluster
from affectdata.labels.teacher import TeacherRule
from manifests.errors import AffectError, UnknownNameError
from manifests.layer import layer_key
from manifests.query import DEFAULT_SOURCES
from trainer.run import Run
from trainer.teacher import ENGINES


@dataclass(frozen=True)
class Request:
    """What `affect pseudo-label` was asked for.

    Args:
        tasks: Tasks to predict; by default all that the teachers have.
        rule: How predictions become labels.
        name: Name of the layer behind `teacher-`; by default those of the runs.
        sources: Label sources that count as known.
        protocols: Protocols whose reported roles stay without labels; by default the run's.
        transductive: Label reported roles too; the layer says so, and so does every score of a run that trains on it.
        calibrated: Calibrate probabilities on the teacher's selection samples.
        tuned_cuts: Cut AUs where F1 was highest there instead of at 0.5.
        shard: (i, n): predict every n-th picture only, from the i-th on, 1-based, and publish nothing.
        engine: One of `ENGINES`: where predictions are made. The labels are the same.
        address: Of the Ray cluster; None: as Ray finds one, else one on this machine.
    """

    tasks: tuple[str, ...] = ()
    rule: TeacherRule = field(default_factory=TeacherRule)
    name: str = ""
    sources: tuple[str, ...] = DEFAULT_SOURCES
    protocols: tuple[str, ...] = ()
    transductive: bool = False
    calibrated: bool = True
    tuned_cuts: bool = False
    shard: tuple[int, int] | None = None
    engine: str = "local"
    address: str | None = None

    def source(self, runs: Sequence[Run]) -> str:
        """Name of the layer.

        Raises:
            LakeError: It is no name of a label source.
        """
        name = f"teacher-{self.name or '-'.join(run.name for run in runs)}"
        layer_key("labels", name)
        return name

    def cluster(self, device: str) -> Cluster | None:
        """Where predictions are made, if not here.

        Raises:
            UnknownNameError: No such engine.
            AffectError: A shard of what the cluster splits.
        """
        if self.engine not in ENGINES:
            raise UnknownNameError("engine", self.engine, ENGINES)
        if self.engine == "local":
            return None
        if self.shard is not None:
            raise AffectError(
                "pseudo-label: --shard splits by hand what --engine ray splits", then="leave one of them out"
            )
        gpu = device != "cpu"
        return Cluster("pseudo-label", self.address, 1 if gpu else torch.get_num_threads(), int(gpu))

    def command(self, runs: Sequence[Run], dataset: str) -> str:
        """The command line that makes the layer again: every option that changes a label."""
        rule = self.rule
        options = {
            "--tasks": (",".join(self.tasks), ""),
            "--mode": (rule.mode, "soft"),
            "--min-confidence": (f"{rule.min_confidence:g}", "0"),
            "--weight": (f"{rule.weight:g}", "1"),
            "--name": (self.name, ""),
            "--sources": (",".join(self.sources), ",".join(DEFAULT_SOURCES)),
        }
        flags = {
            "--allow-transductive": self.transductive,
            "--no-calibration": not self.calibrated,
            "--tuned-cuts": self.tuned_cuts,
        }
        said = [f"--teacher {run.name}" for run in runs] + [f"--protocol {name}" for name in self.protocols]
        said += [f"{name} {value}" for name, (value, default) in options.items() if value != default]
        return " ".join(["affect pseudo-label", dataset, *said, *(name for name, on in flags.items() if on)])


@dataclass(frozen=True)
class PseudoSummary:
    """What was predicted and labelled for one dataset."""

    dataset: str
    source: str
    candidates: int
    """Samples with a crop, a face and no reported role."""
    predicted: int
    """Samples that were predicted now; the others were known from an earlier run."""
    labelled: Mapping[str, int] = field(default_factory=dict)
    """Task -> samples that gained a label."""
    reported: int = 0
    """Faces with reported roles, which are left alone (or, if transductive, are candidates too)."""
    published: bool = True
    transductive: bool = False

    def lines(self) -> Iterator[str]:
        """One fact a line, for people."""
        each = ", ".join(f"{task} {count:,}" for task, count in self.labelled.items()) or "nothing"
        yield f"{self.dataset}: labels/{self.source}: {each} of {self.candidates:,} samples"
        yield f"  {self.predicted:,} predicted now, {self.candidates - self.predicted:,} known from before"
        if self.reported and self.transductive:
            yield f"  TRANSDUCTIVE: {self.reported:,} of them have reported roles; scores of runs on them will say so"
        elif self.reported:
            yield f"  {self.reported:,} samples of reported roles are left alone"
        if not self.published:
            yield "  this shard is done; run the command without --shard once all are, to publish"
