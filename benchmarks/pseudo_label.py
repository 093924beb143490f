"""Pictures per second of pseudo-labelling beside the bare forward pass of the same network, in one run.

    python benchmarks/pseudo_label.py [--count 1024] [--rounds 5] [--threads 1] [--folder DIR]

Sides, in turn, each warmed by one round, on the same pictures, batch and threads:
  ours   `Teacher.make`: packed crops, normalising, network, keeping what was predicted
  bare   the network alone on one batch that lies ready, as often
Target: the median over rounds of ours / bare >= 0.85.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np
import torch

from affectdata.faces.align import AlignOptions, align
from affectdata.ingest import ingest
from affectdata.synthetic import write_twin
from manifests.crops import CropStore
from manifests.lake import Lake
from manifests.protocols import identity
from trainer.fit import SCORE_BATCH, Machine, train
from trainer.pictures import Pictures
from trainer.recipe import load
from trainer.run import Run
from trainer.teacher import Teacher


def teacher_of(folder: Path) -> Teacher:
    """A run of one epoch of the baseline on a small synthetic set."""
    write_twin("synthetic", folder / "data", samples=600, seed=1)
    lake = Lake(folder / "lake", create=True)
    ingest(lake, "synthetic", folder / "data", max_rejects=1.0)
    align(lake, "synthetic", alignment="fbn96", detector="dataset", options=AlignOptions())
    changes: dict[str, object] = {"train.epochs": 1, "train.max_minutes": 0.1}
    train(load("multitask-baseline").replace(changes), lake, folder / "run", machine=Machine("cpu"), say=lambda _: None)
    return Teacher(Run(folder / "run"), lake, "cpu")


def main() -> None:
    """Measure both sides."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=None)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    with tempfile.TemporaryDirectory(dir=asked.folder) as name:
        teacher = teacher_of(Path(name))
        store = CropStore(teacher.lake, "synthetic", "fbn96")
        who = identity(teacher.lake, "synthetic").select(["sample_id", "pixel_hash"])
        row = store.locate(who["sample_id"].combine_chunks())
        many = np.resize(np.flatnonzero(row >= 0), asked.count // SCORE_BATCH * SCORE_BATCH)
        pictures = Pictures.of(who.take(many), store)
        network = teacher.network
        batch = torch.zeros(SCORE_BATCH, teacher.run.recipe.backbone.in_chans, *store.shape[:2])

        def ours() -> float:
            shutil.rmtree(teacher.folder, ignore_errors=True)
            begun = perf_counter()
            teacher.make(pictures)
            return len(many) / (perf_counter() - begun)

        @torch.inference_mode()
        def bare() -> float:
            begun = perf_counter()
            for _ in range(len(many) // SCORE_BATCH):
                network(batch)
            return len(many) / (perf_counter() - begun)

        ours(), bare()
        rates = np.array([(ours(), bare()) for _ in range(asked.rounds)])
    speeds, ratios = np.median(rates, 0), rates[:, 0] / rates[:, 1]
    print(f"{len(many):,} pictures of 96 x 96 per round, batch {SCORE_BATCH}, {asked.threads} threads")
    print(f"ours {speeds[0]:,.0f}/s, bare {speeds[1]:,.0f}/s")
    print(f"ours / bare {np.median(ratios):.3f} (rounds {ratios.round(3).tolist()})")


if __name__ == "__main__":
    main()
