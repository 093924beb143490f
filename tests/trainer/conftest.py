"""A small lake made by hand: pictures whose label can be seen, copies and relatives across roles, gaps in labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from manifests.crops import CHUNK, shard_name
from manifests.lake import Lake
from manifests.layer import LayerFacts
from manifests.vocabulary import EXPRESSIONS, au_column
from tests.forks import fork_from
from trainer.figures import draw_confusion, draw_curves
from trainer.recipe import Recipe, parse

SIDE = 32
AUS = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 24, 25, 26)


@dataclass
class Toy:
    """One dataset to be published; change what a test is about, then `publish`."""

    count: int = 96
    seed: int = 0
    channels: int = 1
    offered: list[str] = field(default_factory=lambda: list(EXPRESSIONS[:7]))
    truth: list[str] = field(default_factory=lambda: ["human"])
    code: Any = None
    role: Any = None
    subject: Any = None
    picture: Any = None
    """Number of the picture of each sample; the same number twice is a pixel-identical copy."""
    alignment: str = "resize32"
    labels: dict[str, dict[str, list[Any]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n = self.count
        self.code = np.arange(n) % 7
        parts = (n * 2 // 3, n * 5 // 6 - n * 2 // 3, n - n * 5 // 6)
        self.role = np.repeat(np.array(["train", "val", "test"], object), parts)
        self.subject = np.array([f"s{i:03d}" for i in range(n)], object)
        self.picture = np.arange(n)
        codes = self.code.tolist()
        self.labels = {"human": {"expression": [EXPRESSIONS[c] for c in codes]}}
        self.labels["human"] |= {"valence": [c / 3 - 1 for c in codes], "arousal": [1 - c / 3 for c in codes]}
        self.labels["human"] |= {au_column(a): [int((c >> (a % 3)) & 1) for c in codes] for a in AUS}
        points = [[float(v) for p in range(68) for v in (4 + p % 8 * 3 + c, 4 + p // 8 * 3)] for c in codes]
        self.labels["human"] |= {"landmarks": points}

    @property
    def ids(self) -> list[str]:
        return [f"toy/{i:05d}" for i in range(self.count)]

    def pixels(self) -> np.ndarray[Any, Any]:
        """Bars whose position tells the class, with noise of the picture's own."""
        images = np.zeros((self.count, SIDE, SIDE, self.channels), np.uint8)
        for i, (code, picture) in enumerate(zip(self.code, self.picture, strict=True)):
            noise = np.random.default_rng([self.seed, int(picture)]).integers(0, 60, images.shape[1:])
            images[i] = noise
            images[i, :, 2 + 4 * int(code) : 6 + 4 * int(code)] += 150
        return images

    def publish(self, lake: Lake, dataset: str = "toy") -> Lake:
        ids = pa.array([i.replace("toy", dataset, 1) for i in self.ids])
        n = self.count
        samples = {"sample_id": ids, "dataset": pa.repeat(dataset, n), "subject_id": pa.array(self.subject.tolist())}
        pixels = self.pixels()
        hashes = [f"{hash(p.tobytes()) & (2**63 - 1):x}" for p in pixels]
        faces = {"sample_id": ids, "status": pa.repeat("found", n), "pixel_hash": pa.array(hashes)}
        roles = {"sample_id": ids, "task": pa.repeat("all", n), "role": pa.array(self.role.tolist())}
        work = lake.work(dataset, "toy")
        shard, row = np.divmod(np.arange(n), CHUNK)
        eye = pa.array([[1.0, 0.0, 0.0, 0.0, 1.0, 0.0]] * n, pa.list_(pa.float32(), 6))
        crops = {
            "sample_id": ids,
            "shard": pa.array(shard, pa.int32()),
            "row": pa.array(row, pa.int32()),
            "transform": eye,
        }
        extra = {"height": str(SIDE), "width": str(SIDE), "channels": str(self.channels), "detector": "whole"}
        with lake.publish(dataset, command="test") as step:
            step.source(lake.home, "toy")
            step.write("samples", "", pa.table(samples))
            for source, columns in self.labels.items():
                facts = LayerFacts(offered={"expression": self.offered})
                step.write("labels", source, pa.table({"sample_id": ids, **columns}), facts, ["samples"])
            step.write("faces", "whole", pa.table(faces), parents=["samples"])
            step.write("protocols", "official", pa.table(roles), LayerFacts(truth=self.truth), ["samples"])
            step.write("crops", self.alignment, pa.table(crops), LayerFacts(extra=extra), ["samples", "faces/whole"])
            for number in range(int(shard.max()) + 1):
                file = work / f"{number}.u8"
                file.write_bytes(pixels[shard == number].tobytes())
                step.link(shard_name(self.alignment, number), file)
            step.finish_work(work)
        return lake


FIGURES = {"trainer.figures.draw_curves": draw_curves, "trainer.evaluate.draw_confusion": draw_confusion}


@pytest.fixture(autouse=True, scope="session")
def _undrawn() -> Iterator[None]:
    """Figures take as long as a small run: none are drawn but where a test asks for `drawn`."""
    with pytest.MonkeyPatch.context() as patch:
        for where in FIGURES:
            patch.setattr(where, lambda *_: None)
        yield


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs draw their figures."""
    for where, draw in FIGURES.items():
        monkeypatch.setattr(where, draw)


@pytest.fixture
def toy(lake: Lake) -> Lake:
    """A lake with the toy dataset as it is."""
    return Toy().publish(lake)


@pytest.fixture(scope="session")
def forks() -> None:
    """Processes of these tests are forks of one that has imported what they do, which takes as long as a test."""
    fork_from("tests.trainer.test_pseudo", "tests.trainer.test_distributed")


MakeRecipe = Callable[..., Recipe]


@pytest.fixture
def recipe() -> MakeRecipe:
    """A recipe for the toy dataset that trains in a second; dotted keywords change it (`__` stands for the dot)."""

    def make(**changes: Any) -> Recipe:
        tree = {
            "name": "toy",
            "datasets": [{"name": "toy"}],
            "alignment": "resize32",
            "selection": {"metrics": ["uar"]},
            "tasks": {"expression": {}, "va": {}, "au": {}, "landmarks": {"weight": 0.1}},
            "backbone": {"name": "test_resnet", "in_chans": 1},
            "train": {"epochs": 2, "batch": 16, "lr": 0.003},
        }
        return parse(tree, "recipe toy").replace({name.replace("__", "."): value for name, value in changes.items()})

    return make


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """Where a run goes."""
    return tmp_path / "runs" / "toy"
