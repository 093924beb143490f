"""Pictures per second of pseudo-labelling beside the bare forward pass of the same network, in one run.

    python benchmarks/pseudo_label.py [--count 512] [--rounds 7] [--threads 1] [--width 64] [--folder DIR]

Sides, in turn and each first in every other round, both warmed by one round, same pictures, batch and threads:
  ours   `Teacher.make`: packed crops, normalising, network, keeping what was predicted
  bare   the network alone on a batch of these pictures that lies ready, as often
The network is that of `multitask-baseline`; `--width 16` makes it four times narrower, so that what is not network
weighs more. Target: the median over rounds of ours / bare >= 0.85, by the clock; processor time, which
neighbours on the machine disturb less, is printed beside it.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, process_time

import numpy as np
import torch

from affectdata.faces.align import AlignOptions, align
from affectdata.ingest import ingest
from affectdata.synthetic import write_twin
from manifests.crops import CropStore
from manifests.lake import Lake
from manifests.protocols import identity
from trainer.augment import normalised, with_channels
from trainer.fit import SCORE_BATCH, Machine, train
from trainer.pictures import Pictures
from trainer.recipe import load
from trainer.run import Run
from trainer.teacher import Teacher


def teacher_of(folder: Path, width: int) -> Teacher:
    """A run of one epoch of the baseline, `width` channels after its stem, on a small synthetic set."""
    write_twin("synthetic", folder / "data", samples=120, seed=1)
    lake = Lake(folder / "lake", create=True)
    ingest(lake, "synthetic", folder / "data", max_rejects=1.0)
    align(lake, "synthetic", alignment="fbn96", detector="dataset", options=AlignOptions())
    network = {"stem_width": width // 2, "channels": [width * factor for factor in (1, 2, 4, 8)]}
    changes: dict[str, object] = {"train.epochs": 1, "train.max_minutes": 0.1, "backbone.kwargs": network}
    train(load("multitask-baseline").replace(changes), lake, folder / "run", machine=Machine("cpu"), say=lambda _: None)
    return Teacher(Run(folder / "run"), lake, "cpu")


def main() -> None:
    """Measure both sides."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--width", type=int, default=64, help="channels of the network's first stage")
    parser.add_argument("--folder", type=Path, default=None)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    with tempfile.TemporaryDirectory(dir=asked.folder) as name:
        teacher = teacher_of(Path(name), asked.width)
        store = CropStore(teacher.lake, "synthetic", "fbn96")
        who = identity(teacher.lake, "synthetic").select(["sample_id", "pixel_hash"])
        row = store.locate(who["sample_id"].combine_chunks())
        many = np.resize(np.flatnonzero(row >= 0), asked.count // SCORE_BATCH * SCORE_BATCH)
        pictures = Pictures.of(who.take(many), store)
        network, recipe = teacher.network, teacher.run.recipe
        pixels = with_channels(torch.from_numpy(store.gather(row[many[:SCORE_BATCH]])), recipe.backbone.in_chans)
        batch = normalised(pixels, recipe.input)

        def ours() -> None:
            teacher.make(pictures)

        @torch.inference_mode()
        def bare() -> None:
            for _ in range(len(many) // SCORE_BATCH):
                network(batch)

        def seconds(side: Callable[[], None]) -> tuple[float, float]:
            shutil.rmtree(teacher.folder, ignore_errors=True)
            begun = perf_counter(), process_time()
            side()
            return perf_counter() - begun[0], process_time() - begun[1]

        seconds(ours), seconds(bare)
        took = np.empty((asked.rounds, 2, 2))
        for number in range(asked.rounds):
            for side in (0, 1) if number % 2 else (1, 0):
                took[number, side] = seconds((ours, bare)[side])
    speeds, ratios = len(many) / np.median(took[:, :, 0], 0), took[:, 1] / took[:, 0]
    network_words = f"width {asked.width}, {asked.threads} threads"
    print(f"{len(many):,} pictures of 96 x 96 per round, batch {SCORE_BATCH}, {network_words}")
    print(f"ours {speeds[0]:,.0f}/s, bare {speeds[1]:,.0f}/s")
    print(f"ours / bare {np.median(ratios[:, 0]):.3f} (rounds {ratios[:, 0].round(3).tolist()})")
    print(f"by processor time {np.median(ratios[:, 1]):.3f} (rounds {ratios[:, 1].round(3).tolist()})")


if __name__ == "__main__":
    main()
