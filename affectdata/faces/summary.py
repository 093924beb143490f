"""What an alignment run tells: where it stands, and what it has done."""

from __future__ import annotations

from dataclasses import dataclass

from affectdata.faces.detectors import FOUND
from affectdata.faces.disk import DiskNeed
from affectdata.faces.geometry import ANISOTROPY_LIMIT


@dataclass(frozen=True)
class AlignProgress:
    """Where a run stands.

    Attributes:
        done: Samples that are done, earlier runs included.
        total: Samples of the run.
        crops: Those that have a crop.
        before: Samples that were done when this run began.
        disk: Disk that it needs at most.
    """

    done: int
    total: int
    crops: int
    before: int
    disk: DiskNeed


@dataclass(frozen=True)
class AlignSummary:
    """What a run has done.

    Attributes:
        samples: Samples of the run.
        crops: Those that have a crop.
        statuses: Status of the faces layer -> samples.
        resumed: Samples that an interrupted run, or another shard, had finished before.
        kept: Samples whose crops were taken over from the published ones.
        stretched: Crops that are stretched more than `geometry.ANISOTROPY_LIMIT` says; None where nobody counted.
        unchanged: True where everything was aligned and fresh, and nothing was done.
        shard: Which share of the chunks was made, where nothing was published.
    """

    dataset: str
    alignment: str
    detector: str
    samples: int
    crops: int
    statuses: dict[str, int]
    resumed: int = 0
    kept: int = 0
    stretched: int | None = None
    unchanged: bool = False
    shard: tuple[int, int] | None = None

    def lines(self) -> list[str]:
        """The summary in words."""
        head = f"{self.dataset}: {self.crops} of {self.samples} samples in crops/{self.alignment}"
        if self.unchanged:
            return [f"{head} (detector {self.detector}): already aligned and fresh, nothing to do"]
        others = [f"  {count:>9}  {status}" for status, count in self.statuses.items() if status != FOUND]
        counts = ((self.resumed, "taken over from an interrupted run"), (self.kept, "taken over from the crops before"))
        if (unfit := self.statuses.get(FOUND, 0) - self.crops) > 0:
            others.append(f"  {unfit:>9}  found, but without what {self.alignment} needs (docs/align.md)")
        if self.stretched:
            others.append(f"  {self.stretched:>9}  stretched more than {ANISOTROPY_LIMIT:g} times along one direction")
        if self.shard is not None:
            i, n = self.shard
            head = f"{self.dataset}: shard {i}/{n} of crops/{self.alignment} is finished: {self.samples} samples"
            others = ["  nothing is published until the same command has run without --shard"]
        return [f"{head} (detector {self.detector})", *others, *(f"  {n:>9}  {what}" for n, what in counts if n)]
