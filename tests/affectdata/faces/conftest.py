"""A small dataset of drawn pictures, some of them bad, to align."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pytest

from manifests.lake import Lake

os.environ.setdefault("NUMBA_DISABLE_JIT", "1")
"""face_alignment compiles two loops over 68 points, which takes longer than all that is asked of them here."""

TRUNCATED, MISSING, LABELS_ONLY, WITHOUT_POINTS = 3, 5, 6, 8
"""Samples of the toy dataset that have something wrong."""

COUNT = 11

FACE = np.array([(20, 22), (44, 22), (32, 34), (24, 46), (40, 46)], np.float32)
"""Five points of the toy faces, shifted by a pixel per sample."""


def landmarks(number: int) -> np.ndarray:
    """68 points whose five points are `FACE` shifted by `number` to the right."""
    points = np.tile(FACE[2] + (number, 0), (68, 1)).astype(np.float32)
    for part, at in ((slice(36, 42), 0), (slice(42, 48), 1), (48, 3), (54, 4)):
        points[part] = FACE[at] + (number, 0)
    return points


def write_pictures(folder: Path) -> list[str | None]:
    """The toy pictures; paths relative to the folder, None for a sample without one."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(1)
    for number in range(COUNT):
        picture = rng.integers(0, 256, (60 + number, 80, 3), np.uint8)
        cv2.imwrite(str(folder / f"{number:02d}.png"), picture)
    bad = folder / f"{TRUNCATED:02d}.png"
    bad.write_bytes(bad.read_bytes()[:700])
    (folder / f"{MISSING:02d}.png").unlink()
    return [None if n == LABELS_ONLY else f"{n:02d}.png" for n in range(COUNT)]


def publish_toy(lake: Lake, root: Path) -> None:
    """The dataset `toy` with landmarks, its pictures written below `root` if they are not there."""
    paths = write_pictures(root) if not root.exists() else [
        None if n == LABELS_ONLY else f"{n:02d}.png" for n in range(COUNT)
    ]  # fmt: skip
    ids = [f"toy/{n:02d}" for n in range(COUNT)]
    points = [None if n == WITHOUT_POINTS else landmarks(n).ravel().tolist() for n in range(COUNT)]
    with lake.publish("toy", command="test") as step:
        step.source(root, "toy")
        step.write("samples", "", pa.table({"sample_id": ids, "dataset": ["toy"] * COUNT, "path": paths}))
        labels = pa.table({"sample_id": ids, "landmarks": pa.array(points, pa.list_(pa.float32(), 136))})
        step.write("labels", "human", labels, parents=["samples"])


@pytest.fixture
def toy(lake: Lake, tmp_path: Path) -> Lake:
    """A lake that holds the toy dataset."""
    publish_toy(lake, tmp_path / "toy")
    return lake
