"""`affect align --landmarks fan` beside face_alignment, and beside its bare network, in one run; random weights.

    python benchmarks/fan.py [--device cuda] [--pictures 2000] [--batch 64] [--modules 4] [--side 480]

Drawn pictures with one box each. All sides run the same network, 2DFAN, on the windows and their mirror images:
  library  face_alignment's get_landmarks_from_directory, given the boxes; on a GPU compiled, as it is by default
  ours     `affect align`: decodes, checks, hashes, cuts windows, finds points, aligns, packs, publishes; start included
  bare     the network's forward passes alone, windows on the device, at our batch
Targets, on a GPU: ours at least 5 times as fast as the library, and at least 80 % of the bare network.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import face_alignment.api as library
import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from affectdata.faces import fan
from affectdata.faces.align import AlignOptions, align
from affectdata.faces.weights import FOLDER_VARIABLE
from manifests.lake import Lake

TIMES_FASTER, OF_BARE = 5.0, 0.8
"""Targets."""

BOX = (0.25, 0.2, 0.75, 0.85)
"""Of every face, as shares of the picture's side."""


def drawn(folder: Path, count: int, side: int) -> NDArray[np.float64]:
    """Pictures of smooth noise; the box (x1, y1, x2, y2) of the face in each."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    for n in range(count):
        small = rng.integers(0, 256, (side // 8, side // 8, 3), np.uint8)
        cv2.imwrite(str(folder / f"{n:05d}.jpg"), cv2.resize(small, (side, side), interpolation=cv2.INTER_CUBIC))
    return np.array(BOX) * side


def by_library(folder: Path, box: NDArray[np.float64], weights: Path, device: str, modules: int) -> tuple[Any, float]:
    """Points of each picture by its name, and the seconds of the loop over the folder."""

    class Given(library.FaceAlignment):  # type: ignore[misc]  # untyped
        """Random weights instead of a download."""

        def _load_native(self, *_: object) -> torch.nn.Module:
            network = library.FAN(modules)
            network.load_state_dict(torch.load(weights, weights_only=True))
            return network.to(device).eval()

    theirs = Given(library.LandmarksType.TWO_D, device=device, face_detector="folder", compile=device != "cpu")
    theirs.face_detector.detect_from_image = lambda _: [box]
    first = next(iter(sorted(folder.glob("*.jpg"))))
    theirs.get_landmarks_from_image(str(first), [box])  # what is compiled or tuned at first use is not counted
    begun = time.perf_counter()
    found = theirs.get_landmarks_from_directory(str(folder), show_progress_bar=False)
    return {Path(name).stem: points[0] for name, points in found.items()}, time.perf_counter() - begun


def by_us(folder: Path, home: Path, box: NDArray[np.float64], device: str, batch: int) -> tuple[Any, float]:
    """Points of each picture by its name, and the seconds of the whole `align`."""
    names = sorted(path.name for path in folder.glob("*.jpg"))
    corners = dict(zip(("box_x1", "box_y1", "box_x2", "box_y2"), box.tolist(), strict=True))
    x, y = (box[:2] + box[2:]) / 2
    five = [x - 40, y - 30, x + 40, y - 30, x, y, x - 30, y + 40, x + 30, y + 40]
    table = {"sample_id": [f"drawn/{Path(n).stem}" for n in names], "dataset": ["drawn"] * len(names), "path": names}
    table |= {edge: pa.array([value] * len(names), pa.float32()) for edge, value in corners.items()}
    table["points5"] = pa.array([five] * len(names), pa.list_(pa.float32(), 10))
    lake = Lake(home, create=True)
    with lake.publish("drawn", command="benchmark") as step:
        step.source(folder, "drawn")
        step.write("samples", "", pa.table(table))
    options = AlignOptions(landmarks="fan", device=device, batch=batch)
    begun = time.perf_counter()
    align(lake, "drawn", detector="dataset", options=options)
    seconds = time.perf_counter() - begun
    rows = lake.read("drawn", "labels/landmarks-fan", ["sample_id", "landmarks"]).to_pylist()
    return {row["sample_id"][6:]: np.reshape(row["landmarks"], (68, 2)) for row in rows}, seconds


def bare(weights: Path, device: str, modules: int, batch: int, faces: int) -> float:
    """Seconds per face of the network alone, mirrored pass included."""
    network = library.FAN(modules)
    network.load_state_dict(torch.load(weights, weights_only=True))
    network.to(device).eval()
    windows = torch.rand(batch, 3, fan.SIZE, fan.SIZE, device=device)
    rounds = max(2, faces // batch)
    with torch.inference_mode():
        for turn in range(rounds + 1):
            if turn == 1:  # the first warms up
                _wait(device)
                begun = time.perf_counter()
            network(windows)
            network(windows.flip(-1))
        _wait(device)
    return (time.perf_counter() - begun) / (rounds * batch)


def _wait(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


def main() -> None:
    """Command line."""
    gpu = torch.cuda.is_available()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if gpu else "cpu")
    parser.add_argument("--pictures", type=int, default=2000 if gpu else 8)
    parser.add_argument("--batch", type=int, default=64 if gpu else 4)
    parser.add_argument("--modules", type=int, default=4, help="hourglasses in the stack; the published net has 4")
    parser.add_argument("--side", type=int, default=480)
    o = parser.parse_args()
    fan.MODULES = o.modules
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        torch.manual_seed(0)
        weights = place / fan.WEIGHTS.file
        torch.save(library.FAN(o.modules).state_dict(), weights)
        os.environ[FOLDER_VARIABLE] = str(place)
        box = drawn(place / "pictures", o.pictures, o.side)
        what = torch.cuda.get_device_name() if o.device != "cpu" else f"CPU, {os.cpu_count()} cores"
        print(
            f"{o.pictures} pictures, {o.modules} hourglasses, batch {o.batch}; {what}; load {os.getloadavg()[0]:.1f}",
            flush=True,
        )
        theirs, library_s = by_library(place / "pictures", box, weights, o.device, o.modules)
        ours, ours_s = by_us(place / "pictures", place / "lake", box, o.device, o.batch)
        alone = bare(weights, o.device, o.modules, o.batch, o.pictures)
    apart = [np.abs(np.asarray(theirs[name]) - ours[name]).max() for name in theirs]
    for side, seconds in (("library", library_s), ("ours", ours_s), ("bare", alone * o.pictures)):
        print(f"  {side:<8} {o.pictures / seconds:8.2f} faces/s")
    said = f"  points of {len(apart)} faces: at most {max(apart):.2f} px from the library's, which are whole pixels"
    print(said)
    for share, target, peer in (
        (library_s / ours_s, TIMES_FASTER, "library"),
        (alone * o.pictures / ours_s, OF_BARE, "bare network"),
    ):
        verdict = "no target on a CPU"
        if o.device != "cpu":
            verdict = f"target {target:g} {'met' if share >= target else 'missed'}"
        print(f"  ours / {peer}: {share:.2f} ({verdict})")


if __name__ == "__main__":
    main()
