"""Kill `affect pseudo-label` at random moments: every lake opens, and every run after it ends with the same bytes.

    python benchmarks/kills_of_teachers.py [--kills 20] [--seed 0] [--samples 400]

A run of a small network on the synthetic twin labels its training samples in parts of 16. Each command is a process
of its own, forked off one that has imported everything, so that a kill falls on the work. Half of the kills meet a lake
from which every second prediction is already there. Prints one line per kill, and fails at the first lake that does
not open or the first byte that differs.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch
from kills import contents

from affectdata.faces.align import AlignOptions, align
from affectdata.ingest import ingest
from affectdata.synthetic import write_twin
from cli.errors import run as affect
from manifests.lake import Lake
from trainer import teacher
from trainer.fit import Machine, train
from trainer.recipe import parse

RECIPE = {
    "name": "toy",
    "datasets": [{"name": "synthetic"}],
    "alignment": "resize48",
    "selection": {"metrics": ["uar"]},
    "tasks": {"expression": {}, "va": {}, "au": {}, "landmarks": {"weight": 0.1}},
    "backbone": {"name": "test_resnet", "in_chans": 1},
    "train": {"epochs": 1, "batch": 16},
}


def label(lake: Path, run: Path) -> None:
    """The command, in this process."""
    torch.set_num_threads(1)
    teacher.CHUNK = 16
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    words = ["--lake", str(lake), "pseudo-label", "synthetic", "--teacher", str(run), "--sources", "auto"]
    sys.exit(affect([*words, "--allow-transductive", "--device", "cpu"]))


def started(lake: Path, run: Path) -> BaseProcess:
    """The command, in a process of its own."""
    process = multiprocessing.get_context("forkserver").Process(target=label, args=(lake, run))
    process.start()
    return process


def finished(process: BaseProcess) -> None:
    """Wait for it to end well."""
    process.join()
    if process.exitcode:
        sys.exit(f"exit code {process.exitcode}")


def parts(lake: Path) -> list[Path]:
    """Finished parts of the predictions."""
    return sorted((lake / ".cache" / "predictions").rglob("*.parquet"))


def main() -> None:
    """Kill and run again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--samples", type=int, default=400)
    asked = parser.parse_args()
    multiprocessing.get_context("forkserver").set_forkserver_preload(["trainer.pseudo", "cli.app"])
    draw, killed = random.Random(asked.seed), 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_twin("synthetic", folder / "data", samples=asked.samples, seed=3)
        lake = Lake(folder / "lake", create=True)
        ingest(lake, "synthetic", folder / "data", max_rejects=1.0)
        align(lake, "synthetic", alignment="resize48", detector="whole", options=AlignOptions(workers=1))
        train(parse(RECIPE, "toy"), lake, folder / "toy", machine=Machine("cpu"), say=lambda _: None)
        before = contents(lake.home, "synthetic")
        half, whole = folder / "half", folder / "whole"
        for _ in range(2):  # the first one also waits for the imports
            shutil.rmtree(whole, ignore_errors=True)
            shutil.copytree(lake.home, whole, symlinks=True)
            begun = time.monotonic()
            finished(started(whole, folder / "toy"))
            seconds = time.monotonic() - begun
        after = contents(whole, "synthetic")
        shutil.copytree(lake.home, half, symlinks=True)
        shutil.copytree(whole / ".cache", half / ".cache", dirs_exist_ok=True)
        for part in parts(half)[::2]:
            part.unlink()
        print(f"{len(parts(whole))} parts, {seconds:.2f} s uninterrupted", flush=True)
        number = 0
        while killed < asked.kills:  # a run that had ended when its kill came is checked and not counted
            number += 1
            here = folder / f"kill-{number}"
            shutil.copytree(half if number % 2 else lake.home, here, symlinks=True)
            at = draw.uniform(0, seconds)
            process = started(here, folder / "toy")
            process.join(at)
            process.kill()
            process.join()
            if process.exitcode not in (0, -signal.SIGKILL):
                sys.exit(f"exit code {process.exitcode}")
            there = "published" if contents(here, "synthetic") == after else f"{len(parts(here))} parts finished"
            if any(layer.stale for layer in Lake(here).layers()):
                sys.exit(f"a stale layer after a kill at {at:.2f} s")
            if contents(here, "synthetic") not in (before, after):
                sys.exit(f"neither the old generation nor the new one after a kill at {at:.2f} s")
            finished(started(here, folder / "toy"))
            if contents(here, "synthetic") != after:
                sys.exit(f"other bytes after a kill at {at:.2f} s")
            killed += bool(process.exitcode)
            how = "killed" if process.exitcode else "had ended"
            print(f"{number:3} at {at:5.2f} s: {how}, {there}; same bytes", flush=True)
            shutil.rmtree(here)
    print(f"{number} runs, {killed} of them killed, every lake opened, every run after it gave the same bytes")


if __name__ == "__main__":
    main()
