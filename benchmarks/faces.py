"""What `affect align` finds in real photographs, and how fast: one table.

    AFFECT_WEIGHTS=WEIGHTS python benchmarks/faces.py LONDON_FACES [LANDMARKS68] [--sheet sheet.png] [--repeat 2]

LONDON_FACES holds the Face Research Lab London Set, `<person>_neutral.jpg` and `<person>_smiling.jpg`, and pupils.csv,
hand-checked pupil centres of the neutral faces. Aligned to arcface112 by YuNet at several detector inputs:
  found      pictures with a face
  pupils     mean distance of found eyes from the pupils, % of the distance of the pupils
  scatter    distance of a person's neutral and smiling eyes, as found, in the crop, px, mean (95th percentile)
  spread     standard deviation of the neutral faces' hand-checked pupils in the crop, px, mean of both axes and eyes
  pictures/s of the whole `align` call, from files to published crops: the best of the repeats
LANDMARKS68 holds photographs with 68 points (.pts, pixels from 1): the error of WEIGHTS/pfld.onnx as a landmarker of
`affect align`, mean over 68 points, % of the distance of the outer eye corners.
"""

from __future__ import annotations

import argparse
import csv
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from affectdata.faces import geometry
from affectdata.faces.align import AlignOptions, align
from affectdata.faces.onnx_landmarks import EXAMPLE
from affectdata.faces.sheet import write_sheet
from manifests.crops import CropStore
from manifests.lake import Lake

SIDES = (640, 320, 160)
"""Longer side of the detector's input, pixels; the first is the default."""

EYE_CORNERS = (36, 45)
"""Outer ones, in the order of 68 points."""


@dataclass(frozen=True)
class Row:
    """One line of the table; `scatter` is mean and 95th percentile."""

    side: int
    pictures: int
    found: int
    pupils: float
    scatter: tuple[float, float]
    spread: float
    rate: float

    def __str__(self) -> str:
        mean, most = self.scatter
        seen = f"{self.found} of {self.pictures}"
        steady = f"{mean:5.2f} ({most:.2f}) px  {self.spread:.2f} px"
        return f"{self.side:>8}  {seen:>10}  {self.pupils:6.2f} %  {steady}  {self.rate:10.1f}"


def published(lake: Lake, dataset: str, root: Path, files: list[str], boxes: NDArray[np.float64] | None = None) -> None:
    """A dataset of whole pictures, with boxes (n, 4) if there are any."""
    table = pa.table(
        {"sample_id": [f"{dataset}/{Path(f).stem}" for f in files], "dataset": [dataset] * len(files), "path": files}
    )
    for n, edge in enumerate(("x1", "y1", "x2", "y2") if boxes is not None else ()):
        table = table.append_column(f"box_{edge}", pa.array(boxes[:, n], pa.float32()))  # type: ignore[index]  # no stubs
    with lake.publish(dataset, command="benchmark") as step:
        step.source(root, dataset)
        step.write("samples", "", table)


def london(root: Path, home: Path, side: int, landmarks: str | None = None) -> tuple[Lake, float]:
    """The London faces, aligned, and the seconds that it took."""
    files = sorted(path.name for path in root.glob("*_*.jpg"))
    lake = Lake(home, create=True)
    published(lake, "london", root, files)
    begun = time.perf_counter()
    align(lake, "london", detector="yunet", options=AlignOptions(max_side=side, landmarks=landmarks))
    return lake, time.perf_counter() - begun


def measured(lake: Lake, pupils: dict[str, NDArray[np.float64]], side: int, seconds: float) -> Row:
    """What the published layers say."""
    table = lake.read("london", "faces/yunet", ["sample_id", "status", "points5"]).to_pylist()
    eyes = {
        row["sample_id"]: np.reshape(row["points5"], (5, 2))[:2].astype(float)
        for row in table
        if row["status"] == "found"
    }
    errors = [
        np.hypot(*(eyes[name] - truth).T).mean() / np.hypot(*(truth[1] - truth[0]))
        for name, truth in pupils.items()
        if name in eyes
    ]
    store = CropStore(lake, "london", "arcface112")
    transforms = dict(zip(store.sample_ids.to_pylist(), store.transform, strict=True))
    landed = {name: geometry.to_crop(points, transforms[name]) for name, points in eyes.items()}
    both = [(name, name.replace("_neutral", "_smiling")) for name in landed if name.endswith("_neutral")]
    apart = np.array([np.hypot(*(landed[a] - landed[b]).T) for a, b in both if b in landed])
    scatter = float(apart.mean()), float(np.percentile(apart, 95))
    true = np.array([geometry.to_crop(points, transforms[name]) for name, points in pupils.items() if name in eyes])
    error, spread = 100 * float(np.mean(errors)), float(true.std(0).mean())
    return Row(side, len(table), len(eyes), error, scatter, spread, len(table) / seconds)


def pupils_of(root: Path) -> dict[str, NDArray[np.float64]]:
    """Sample -> pupils (2, 2), image left first."""
    with (root / "pupils.csv").open(encoding="utf-8") as file:
        return {
            f"london/{Path(row['image']).stem}": np.array(
                [[row["left_x"], row["left_y"]], [row["right_x"], row["right_y"]]], float
            )
            for row in csv.DictReader(file)
        }


def pfld(folder: Path) -> str:
    """The PFLD network of the weights, linked into a folder with its map beside it."""
    (folder / "pfld.onnx").symlink_to(Path(os.environ["AFFECT_WEIGHTS"], "pfld.onnx").resolve())
    (folder / "pfld.toml").write_text(EXAMPLE, encoding="utf-8")
    return f"onnx:{folder / 'pfld.onnx'}"


def marked(root: Path, home: Path, network: str) -> dict[str, float]:
    """Error of each hand-marked photograph, % of the distance of the outer eye corners; NaN where no face was found."""
    marks = {
        path.stem: np.array(path.read_text("utf-8").split("{")[1].split("}")[0].split(), float).reshape(68, 2) - 1
        for path in sorted(root.glob("*.pts"))
    }
    files = [next(p.name for p in root.glob(f"{stem}.*") if p.suffix != ".pts") for stem in marks]
    boxes = np.array([[*points.min(0), *points.max(0)] for points in marks.values()])
    lake = Lake(home, create=True)
    published(lake, "marked", root, files, boxes)  # says only which of several faces is meant
    align(lake, "marked", detector="yunet", options=AlignOptions(landmarks=network))
    rows = lake.read("marked", "labels/landmarks-pfld", ["sample_id", "landmarks"]).to_pylist()
    found = {row["sample_id"].removeprefix("marked/"): np.reshape(row["landmarks"], (68, 2)) for row in rows}
    left, right = EYE_CORNERS
    return {
        name: 100 * float(np.hypot(*(found[name] - truth).T).mean() / np.hypot(*(truth[left] - truth[right])))
        if name in found
        else float("nan")
        for name, truth in marks.items()
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("london", type=Path)
    parser.add_argument("landmarks68", type=Path, nargs="?")
    parser.add_argument("--sheet", type=Path, help="also draw the London faces with the points of pfld.onnx")
    parser.add_argument("--repeat", type=int, default=2)
    o = parser.parse_args()
    pupils = pupils_of(o.london)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        print(f"London faces to arcface112 by yunet; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
        print("max side       found    pupils   scatter (95 %)   spread  pictures/s")
        for side in SIDES:
            runs = [london(o.london, place / f"{side}-{turn}", side) for turn in range(o.repeat)]
            print(measured(runs[0][0], pupils, side, min(seconds for _, seconds in runs)), flush=True)
        if o.landmarks68 is not None or o.sheet is not None:
            network = pfld(place)
        if o.landmarks68 is not None:
            errors = marked(o.landmarks68, place / "marked", network)
            said = ", ".join(f"{photograph} {error:.2f} %" for photograph, error in errors.items())
            mean = np.mean([*errors.values()])
            print(f"pfld.onnx on hand-marked photographs, inter-ocular error: {said}; mean {mean:.2f} %")
        if o.sheet is not None:
            lake, _ = london(o.london, place / "sheet", SIDES[0], network)
            print(f"{write_sheet(lake, 'london', 'arcface112', o.sheet)} crops drawn")
        print(f"load at the end {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
