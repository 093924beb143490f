"""Where a study works, and the steps that it takes there."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from manifests.lake import Lake
from manifests.storage import storage_errors


@dataclass(frozen=True)
class Workshop:
    """Where a study works: the folder with its lake, data and runs, and the files that the user named.

    Attributes:
        folder: Holds lake/, runs/ and, where the study paints its pictures, data/.
        paths: Name -> path, for the study's `paths`.
        device: auto, cpu or cuda.
        samples: Pictures of each synthetic set; None: the study's.
    """

    folder: Path
    paths: Mapping[str, str] = field(default_factory=dict)
    device: str = "auto"
    samples: int | None = None

    @property
    def runs(self) -> Path:
        """Folder of the run folders."""
        return self.folder / "runs"

    @property
    def data(self) -> Path:
        """Folder of the synthetic sets."""
        return self.folder / "data"

    def lake(self) -> Lake | None:
        """The lake, if there is one yet."""
        path = self.folder / "lake"
        return Lake(path) if path.is_dir() else None

    def given(self, **more: str) -> dict[str, str]:
        """What the braces of a command stand for."""
        return {"folder": str(self.folder), "runs": str(self.runs), "data": str(self.data)} | dict(self.paths) | more


@dataclass(frozen=True)
class Command:
    """A command line of `affect`, the lake included."""

    arguments: tuple[str, ...]

    @property
    def text(self) -> str:
        """As somebody types it."""
        return shlex.join(["affect", *self.arguments])


@dataclass(frozen=True)
class Painting:
    """Writing a synthetic set."""

    folder: Path
    samples: int
    seed: int
    variant: str | None

    @property
    def text(self) -> str:
        """As somebody types it."""
        load = "from pathlib import Path; from affectdata.synthetic import write_twin"
        variant = f", variant={json.dumps(self.variant)}" if self.variant else ""
        told = f"samples={self.samples}, seed={self.seed}{variant}"
        call = f'write_twin("synthetic", Path({json.dumps(str(self.folder))}), {told})'
        return shlex.join(["python", "-c", f"{load}; {call}"])

    def paint(self) -> None:
        """Write it whole or not at all.

        Raises:
            DatasetError: Too few samples.
            UnknownNameError: No such variant.
        """
        from affectdata.synthetic import write_twin

        half = self.folder.with_name(self.folder.name + ".unfinished")
        shutil.rmtree(half, ignore_errors=True)
        with storage_errors(self.folder.parent):
            write_twin("synthetic", half, samples=self.samples, seed=self.seed, variant=self.variant)
            half.replace(self.folder)
