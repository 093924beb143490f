"""A process killed at any moment leaves the old generation or the new one, and the re-run gives the same bytes.

Every command runs in a process of its own, as a user's does, and dies by SIGKILL.
"""

from __future__ import annotations

import random
import shutil
import signal
import sys
import time
from dataclasses import dataclass
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from affectdata.faces import align
from affectdata.synthetic import write_twin
from cli.errors import run
from manifests.killpoints import POINTS
from manifests.lake import Lake
from tests.forks import DATA, ended, fork_from, started

SAMPLES = 60
CHUNK = 16
"""Samples of a chunk: four chunks instead of one, so that a kill can fall between them."""

STEPS = {
    "ingest": ["ingest", "synthetic", "{root}"],
    "align": ["align", "synthetic", "--to", "resize48", "--detector", "whole"],
}
REACHED = {
    "ingest": [name for name in POINTS if not name.startswith(("chunk", "manifest", "predictions"))],
    "align": [name for name in POINTS if not name.startswith(("manifest", "predictions"))],
}

Contents = dict[str, bytes]


@dataclass(frozen=True)
class World:
    """A dataset folder, the lake before and after each step as uninterrupted runs left it, and their durations."""

    root: Path
    lakes: dict[str, Path]
    before: dict[str, Contents]
    after: dict[str, Contents]
    seconds: dict[str, float]


def contents(lake: Path) -> Contents:
    """Bytes of everything that a reader of the lake can see."""
    folder = (lake / "synthetic").resolve()
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def command(words: list[str]) -> None:
    """What the process does: one command line, with small chunks."""
    align.AlignOptions = partial(align.AlignOptions, chunk=CHUNK)  # type: ignore[misc,assignment]  # as the command finds it
    sys.exit(run(words))


def start(step: str, root: Path, lake: Path, kill_at: str = "") -> BaseProcess:
    words = ["--lake", str(lake), *(word.format(root=root) for word in STEPS[step])]
    return started(command, words, output=lake.with_name("output.txt"), AFFECT_KILL_AT=kill_at)


def said(lake: Path) -> str:
    """What the last command on a lake printed."""
    return lake.with_name("output.txt").read_text()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    fork_from(*DATA)
    folder = tmp_path_factory.mktemp("kills")
    root = folder / "synthetic"
    write_twin("synthetic", root, samples=SAMPLES, seed=3)
    empty, ingested, aligned = folder / "empty", folder / "ingested", folder / "aligned"
    Lake(empty, create=True)
    seconds = {}
    ended(started(time.sleep, 0))  # everything is imported once, outside of the measured durations
    for step, source, target in (("ingest", empty, ingested), ("align", ingested, aligned)):
        shutil.copytree(source, target, symlinks=True)
        begun = time.monotonic()
        assert ended(start(step, root, target)) == 0, said(target)
        seconds[step] = time.monotonic() - begun
    return World(
        root,
        {"ingest": empty, "align": ingested},
        {"ingest": {}, "align": contents(ingested)},
        {"ingest": contents(ingested), "align": contents(aligned)},
        seconds,
    )


def check_after_kill(world: World, step: str, lake: Path) -> None:
    assert Lake(lake).datasets() in ([], ["synthetic"])
    assert not any(layer.stale for layer in Lake(lake).layers())
    assert contents(lake) in (world.before[step], world.after[step])
    assert ended(start(step, world.root, lake)) == 0, said(lake)
    assert contents(lake) == world.after[step]


@pytest.mark.parametrize(("step", "point"), [(step, point) for step in STEPS for point in REACHED[step]])
def test_a_kill_at_a_named_point_loses_nothing(world: World, tmp_path: Path, step: str, point: str) -> None:
    lake = tmp_path / "lake"
    shutil.copytree(world.lakes[step], lake, symlinks=True)
    assert ended(start(step, world.root, lake, kill_at=point)) == -signal.SIGKILL, said(lake)
    check_after_kill(world, step, lake)


@pytest.mark.parametrize("moment", range(20))
def test_a_kill_at_a_random_moment_loses_nothing(world: World, tmp_path: Path, moment: int) -> None:
    step = ("ingest", "align")[moment % 2]
    lake = tmp_path / "lake"
    shutil.copytree(world.lakes[step], lake, symlinks=True)
    process = start(step, world.root, lake)
    process.join(random.Random(moment).uniform(0.0, world.seconds[step]))
    process.kill()
    assert ended(process) in (0, -signal.SIGKILL)
    check_after_kill(world, step, lake)
