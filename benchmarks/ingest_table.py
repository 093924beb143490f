"""100,000 pictures and one CSV: `affect ingest table` beside Hugging Face's imagefolder and a bare loop.

    python benchmarks/ingest_table.py [--count 100000] [--folder DIR]

Sides, each in a process of its own, over the same files, files in the page cache:
  ours         `affectdata.ingest.ingest` of reader `table`: lists the folder, parses and checks every value, collects
               rejects, looks up every picture, hashes the CSV, publishes atomically
  imagefolder  `datasets.load_dataset("imagefolder")` with a metadata.csv, as its documentation has it
  bare loop    pandas.read_csv, one pathlib look per picture, one Parquet file: no check of any value

Targets: at least 20 times as fast as imagefolder; at most 1.5 times the bare loop's time.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

NAMES = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger")
MAP = """file = "metadata.csv"
[samples]
image = "file_name"
subject = "person"
[labels.human]
expression = "emotion"
valence = "valence"
arousal = "arousal"
"""


def write(folder: Path, count: int) -> None:
    """Pictures of 16 x 16 in a hundred folders, and the CSV."""
    rng = np.random.default_rng(0)
    pictures = [cv2.imencode(".jpg", rng.integers(0, 255, (16, 16, 3), np.uint8))[1].tobytes() for _ in range(64)]
    values = rng.uniform(-1, 1, (count, 2)).round(4).tolist()
    lines = ["file_name,person,emotion,valence,arousal"]
    for number in range(count):
        name = f"{number % 100:02d}/{number:06d}.jpg"
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pictures[number % 64])
        valence, arousal = values[number]
        lines.append(f"{name},p{number % 500:03d},{NAMES[number % 7]},{valence},{arousal}")
    (folder / "metadata.csv").write_text("\n".join(lines) + "\n")
    (folder.parent / "map.toml").write_text(MAP)


def ours(folder: Path, out: Path) -> int:
    """Samples in the lake."""
    from affectdata.ingest import ingest
    from manifests.lake import Lake

    options = {"map": str(folder.parent / "map.toml")}
    return ingest(Lake(out / "lake", create=True), "table", folder, name="mine", options=options).samples


def imagefolder(folder: Path, out: Path) -> int:
    """Rows of the dataset that Hugging Face prepares."""
    import datasets

    datasets.disable_progress_bars()
    return len(datasets.load_dataset("imagefolder", data_dir=str(folder), split="train", cache_dir=str(out / "hf")))


def bare_loop(folder: Path, out: Path) -> int:
    """Rows of one Parquet file, written by what a student writes in ten minutes."""
    import pandas as pd

    table = pd.read_csv(folder / "metadata.csv")
    table = table[[(folder / name).exists() for name in table["file_name"]]]
    table["sample_id"] = "mine/" + table["file_name"].str.removesuffix(".jpg")
    out.mkdir(parents=True, exist_ok=True)
    table.sort_values("sample_id").to_parquet(out / "mine.parquet")
    return len(table)


SIDES: dict[str, Callable[[Path, Path], int]] = {"ours": ours, "imagefolder": imagefolder, "bare loop": bare_loop}


def measured(side: str, folder: Path, out: Path) -> tuple[float, float]:
    """Seconds of the work alone, imports left out, and peak MB of the process."""
    result = subprocess.run(
        [sys.executable, __file__, "--side", side, "--folder", str(folder), "--out", str(out)],
        capture_output=True,
        text=True,
        check=True,
    )
    seconds, peak, count = map(float, result.stdout.split()[-3:])
    print(f"  {side:12} {seconds:8.2f} s {peak:8.0f} MB  {count:,.0f} samples", flush=True)
    return seconds, peak


def run_side(side: str, folder: Path, out: Path) -> None:
    """Do one side's work in this process and print seconds, peak MB and samples."""
    # A hundred pictures first: imports are not what is measured.
    SIDES[side](folder.parent / "few" / "pictures", out.with_name(f"{out.name}-few"))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    began = time.perf_counter()
    count = SIDES[side](folder, out)
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(seconds, max(peak - before, 0), count)


def main() -> None:
    """Write the pictures, measure every side in turns, print the medians' ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--turns", type=int, default=3, help="how often each side is measured")
    parser.add_argument("--folder", type=Path, help="where to write (default: a temporary folder, removed afterwards)")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        run_side(options.side, options.folder, options.out)
        return
    with tempfile.TemporaryDirectory(prefix="affect-table-", dir=options.folder) as name:
        folder = Path(name) / "pictures"
        write(folder, options.count)
        write(Path(name) / "few" / "pictures", 100)
        print(f"{options.count:,} pictures and one CSV; memory beyond what a hundred pictures need")
        seconds: dict[str, list[float]] = {side: [] for side in SIDES}
        for turn in range(options.turns):
            for side in SIDES:
                seconds[side].append(measured(side, folder, Path(name) / f"{side.replace(' ', '-')}-{turn}")[0])
        found = {side: float(np.median(times)) for side, times in seconds.items()}
        faster, slower = found["imagefolder"] / found["ours"], found["ours"] / found["bare loop"]
        print(f"imagefolder / ours: {faster:.1f} x, target >= 20: {'met' if faster >= 20 else 'MISSED'}")
        print(f"ours / bare loop: {slower:.2f} x, target <= 1.5: {'met' if slower <= 1.5 else 'MISSED'}")


if __name__ == "__main__":
    main()
