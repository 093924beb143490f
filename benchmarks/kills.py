"""Kill `affect align` at random moments: every lake opens, and every run after it ends with the same bytes.

    python benchmarks/kills.py [--kills 50] [--seed 0]

A third each of: pictures of the synthetic twin; videos, half of them added to a lake that holds the others; the same
pictures as tasks of a local Ray cluster of two nodes. A run that had ended before its kill is checked too but not
counted. Prints one line per run and fails at the first lake that does not open or the first byte that differs.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa

from affectdata.ingest import ingest
from affectdata.synthetic import write_twin
from manifests.lake import Lake, LayerFacts

SMALL_CHUNKS = "import manifests.crops; manifests.crops.CHUNK = 16; import cli; cli.main()"
POINTS = [12.0, 14.0, 28.0, 14.0, 20.0, 21.0, 14.0, 29.0, 26.0, 29.0]


@dataclass(frozen=True)
class World:
    """One way to run: the lake before, what an uninterrupted run leaves, and how long it works."""

    name: str
    dataset: str
    words: list[str]
    lake: Path
    after: dict[str, bytes]
    seconds: float


def contents(lake: Path, dataset: str) -> dict[str, bytes]:
    """Bytes of everything that a reader of the lake can see."""
    folder = (lake / dataset).resolve()
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def start(lake: Path, words: list[str]) -> subprocess.Popen[bytes]:
    """The command, in a process of its own."""
    command = [sys.executable, "-c", SMALL_CHUNKS, "--lake", str(lake), "align", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def finish(process: subprocess.Popen[bytes]) -> None:
    """Wait for it to end well."""
    output, _ = process.communicate(timeout=300)
    if process.returncode:
        sys.exit(output.decode())


def world(name: str, dataset: str, words: list[str], lake: Path, scratch: Path) -> World:
    """Run once without a kill."""
    reference = scratch / f"{name}-reference"
    shutil.copytree(lake, reference, symlinks=True)
    process = start(reference, words)
    await_work(reference, process)
    begun = time.monotonic()
    finish(process)
    return World(name, dataset, words, lake, contents(reference, dataset), time.monotonic() - begun)


def await_work(lake: Path, process: subprocess.Popen[bytes]) -> None:
    """Wait until the run has its scratch folder: before that, Python imports and there is little to break."""
    while process.poll() is None and not any((lake / ".work").glob("*/*/lock")):
        time.sleep(0.005)


def pictures(scratch: Path) -> Path:
    """A lake of the synthetic twin."""
    write_twin("synthetic", scratch / "synthetic", samples=120, seed=3)
    lake = Lake(scratch / "pictures", create=True)
    ingest(lake, "synthetic", scratch / "synthetic")
    return lake.home


def videos(scratch: Path) -> Path:
    """A lake of 24 videos, of which every second one is aligned."""
    folder = scratch / "clips"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(24):
        writer = cv2.VideoWriter(str(folder / f"{number:02d}.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 25, (48, 40))
        for _ in range(16):
            writer.write(cv2.resize(rng.integers(0, 256, (5, 6, 3), np.uint8), (48, 40)))
        writer.release()
    lake = Lake(scratch / "videos", create=True)
    for which in (range(0, 24, 2), range(24)):
        rows = [(f"clips/{v:02d}/{f:05d}", f"{v:02d}.avi", f) for v in which for f in range(16)]
        ids, paths, frames = (list(column) for column in zip(*rows, strict=True))
        points = pa.array([POINTS] * len(ids), pa.list_(pa.float32(), 10))
        table = {"sample_id": ids, "dataset": ["clips"] * len(ids), "path": paths, "points5": points}
        with lake.publish("clips", command="benchmark") as step:
            step.source(folder, "clips")
            rows = pa.table({**table, "frame": pa.array(frames, pa.int32())})
            step.write("samples", "", rows, LayerFacts(fingerprint=f"{which}"))
        if len(which) < 24:
            finish(start(lake.home, ["clips", "--detector", "dataset"]))
    return lake.home


def kill_once(run: World, folder: Path, at: float) -> str:
    """Kill a run `at` seconds after it began to work; what came of it."""
    lake = folder / "lake"
    shutil.copytree(run.lake, lake, symlinks=True)
    before = contents(lake, run.dataset)
    process = start(lake, run.words)
    await_work(lake, process)
    try:
        process.wait(timeout=at)
    except subprocess.TimeoutExpired:
        process.kill()
    process.communicate()
    if process.returncode not in (0, -signal.SIGKILL):
        sys.exit(f"{run.name}: exit code {process.returncode}")
    if (
        any(layer.stale for layer in Lake(lake).layers(run.dataset) if layer.key.startswith("crops"))
        and run.name != "videos"
    ):
        sys.exit(f"{run.name}: a stale layer after a kill at {at:.2f} s")
    if contents(lake, run.dataset) not in (before, run.after):
        sys.exit(f"{run.name}: neither the old generation nor the new one after a kill at {at:.2f} s")
    finished = len(list((lake / ".work").rglob("chunk-*.parquet")))
    finish(start(lake, run.words))
    if contents(lake, run.dataset) != run.after:
        sys.exit(f"{run.name}: other bytes after a kill at {at:.2f} s")
    return "had ended" if process.returncode == 0 else f"killed with {finished} chunks finished"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    from ray.cluster_utils import Cluster

    os.environ["OMP_NUM_THREADS"] = "1"
    head = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20)
    draw = random.Random(options.seed)
    try:
        with tempfile.TemporaryDirectory() as name:
            scratch = Path(name)
            lake = pictures(scratch)
            faces = ["synthetic", "--to", "resize48"]
            ray = [*faces, "--engine", "ray", "--address", cluster.address]
            runs = [
                world("pictures", "synthetic", faces, lake, scratch),
                world("videos", "clips", ["clips", "--detector", "dataset"], videos(scratch), scratch),
                world("ray", "synthetic", ray, lake, scratch),
            ]
            if runs[0].after != runs[2].after:
                sys.exit("Ray gives other bytes")
            killed = [0] * len(runs)
            for number in count(1):
                which = killed.index(min(killed))  # a run that had ended when its kill came is not counted
                run = runs[which]
                with tempfile.TemporaryDirectory() as folder:
                    at = draw.uniform(0, run.seconds)
                    said = kill_once(run, Path(folder), at)
                killed[which] += said.startswith("killed")
                print(f"{number:3} {run.name:<9} at {at:5.2f} of {run.seconds:.2f} s: {said}; same bytes", flush=True)
                if sum(killed) == options.kills:
                    break
            each = ", ".join(f"{n} of {run.name}" for n, run in zip(killed, runs, strict=True))
            print(f"{number} runs, {options.kills} of them killed ({each})")
            print("every lake opened, every run after it gave the same bytes")
    finally:
        cluster.shutdown()


if __name__ == "__main__":
    main()
