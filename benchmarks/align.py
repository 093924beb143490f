"""`affect align` beside bare loops of `cv2.imread` and `detect`, over real faces.

    python benchmarks/align.py [--shared ../shared] [--copies 10] [--fer] [--repeat 2]

Sides, each in a process of its own, imports included, over the same files, files in the page cache:
  ours       `affect align --detector yunet`: decodes, checks, hashes, detects, measures, aligns, packs, publishes
  one loop   a bare loop of cv2.imread, cv2.resize to the detector's input and FaceDetectorYN.detect; OpenCV's threads
  two loops  the same in two processes, each over half of the files with one OpenCV thread: both at once

Target: at least 85 % of the better bare loop. `--fer` instead aligns the FER2013 pictures of fer2013plus.zip to
`resize48` and by `yunet`, and prints faces per second and peak memory; it has no peer.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

MAX_SIDE, SCORE, NMS, TOP_K = 640, 0.6, 0.3, 5000
"""What the detector is told on every side: defaults of `DetectorSettings`."""


def bare(files: list[Path], weights: Path, threads: int) -> int:
    """Faces found by a bare loop."""
    import cv2

    if threads:
        cv2.setNumThreads(threads)
    network = cv2.FaceDetectorYN.create(str(weights), "", (MAX_SIDE, MAX_SIDE), SCORE, NMS, TOP_K)
    found = 0
    for file in files:
        image = cv2.imread(str(file))
        height, width = image.shape[:2]
        factor = min(1.0, MAX_SIDE / max(height, width))
        if factor < 1:
            image = cv2.resize(image, (round(width * factor), round(height * factor)), interpolation=cv2.INTER_AREA)
        network.setInputSize(image.shape[1::-1])
        found += network.detect(image)[1] is not None
    return found


def ingested(root: Path, home: Path) -> None:
    """Make the lake that `align` finds: one sample per picture."""
    import pyarrow as pa

    from affectdata import Lake

    files = sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.suffix in (".jpg", ".png"))
    with Lake(home, create=True).publish("faces", command="benchmark") as step:
        step.source(root, "faces")
        ids = [f"faces/{name}" for name in files]
        step.write("samples", "", pa.table({"sample_id": ids, "dataset": ["faces"] * len(ids), "path": files}))


def ours(home: Path, alignment: str, detector: str) -> int:
    """Crops made by `align`."""
    from affectdata import Lake
    from affectdata.faces.align import align

    return align(Lake(home), "faces", alignment=alignment, detector=detector).crops


def measured(words: list[str]) -> None:
    """Run one side in this process, and say how long its loop took and how much memory it had at most."""
    side, root, weights, *rest = words
    begun = time.perf_counter()
    if side == "bare":
        part, of, threads = map(int, rest)
        found = bare(sorted(Path(root).glob("*.jpg"))[part::of], Path(weights), threads)
    else:
        os.environ["AFFECT_WEIGHTS"] = str(Path(weights).parent)
        found = ours(Path(rest[0]), rest[1], rest[2])
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(found, time.perf_counter() - begun, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


@dataclass(frozen=True)
class Said:
    """What sides that ran at once say: results and processor seconds together, seconds of the slowest, MB at most."""

    found: int
    seconds: float
    processor: float
    peak: float


def run(*sides: list[str]) -> Said:
    """Sides at once, each in its process."""
    command = [sys.executable, __file__, "--side"]
    running = [
        subprocess.Popen([*command, *side], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for side in sides
    ]
    found, seconds, processor, peak = zip(*(map(float, p.communicate()[0].split()) for p in running), strict=True)
    return Said(int(sum(found)), max(seconds), sum(processor), max(peak))


def copied(source: Path, folder: Path, copies: int) -> int:
    """Write each picture several times; the number of files."""
    pictures = sorted(source.glob("*.jpg"))
    for picture in pictures:
        data = picture.read_bytes()
        for copy in range(copies):
            (folder / f"{picture.stem}_{copy:02d}.jpg").write_bytes(data)
    return len(pictures) * copies


def beside_bare_loops(shared: Path, copies: int, repeat: int) -> None:
    """Print the three sides, and our share of the better bare loop."""
    weights = str(shared / "weights" / "yunet.onnx")
    with tempfile.TemporaryDirectory() as name:
        root = Path(name, "faces")
        root.mkdir()
        count = copied(shared / "data" / "london_faces", root, copies)
        print(f"{count} London faces; {os.cpu_count()} cores; load {os.getloadavg()[0]:.1f}")
        for turn in range(repeat):
            place = str(Path(name, f"lake{turn}"))
            ingested(root, Path(place))
            sides = {
                "one loop": run(["bare", str(root), weights, "0", "1", "0"]),
                "two loops": run(*(["bare", str(root), weights, str(part), "2", "1"] for part in range(2))),
                "ours": run(["ours", str(root), weights, place, "arcface112", "yunet"]),
            }
            for side, said in sides.items():
                rate, each = count / said.seconds, 1e3 * said.processor / count
                print(f"  {side:<9} {rate:7.1f} faces/s  {each:5.1f} ms of processor each  peak {said.peak:.0f} MB")
            bare_loops = sides["one loop"], sides["two loops"]
            by_clock = min(side.seconds for side in bare_loops) / sides["ours"].seconds
            by_processor = min(side.processor for side in bare_loops) / sides["ours"].processor
            print(
                f"  ours / better bare loop: {by_clock:.2f} by the clock (target 0.85), {by_processor:.2f} by "
                f"processor time (a loaded machine disturbs it less); load {os.getloadavg()[0]:.1f}"
            )


def over_fer(shared: Path) -> None:
    """Print faces per second and peak memory over FER2013."""
    weights = str(shared / "weights" / "yunet.onnx")
    with tempfile.TemporaryDirectory() as name:
        with zipfile.ZipFile(shared / "data" / "fer2013plus.zip") as packed:
            packed.extractall(Path(name, "faces"), [n for n in packed.namelist() if n.endswith(".png")])
        count = sum(1 for _ in Path(name, "faces").rglob("*.png"))
        print(f"{count} FER2013 pictures; {os.cpu_count()} cores; load {os.getloadavg()[0]:.1f}")
        for alignment, detector in (("resize48", "whole"), ("arcface112", "yunet")):
            place = str(Path(name, detector))
            ingested(Path(name, "faces"), Path(place))
            said = run(["ours", str(Path(name, "faces")), weights, place, alignment, detector])
            rate = f"{count / said.seconds:.0f} faces/s, {1e3 * said.processor / count:.2f} ms of processor each"
            print(f"  {alignment} by {detector}: {rate}, {said.found} crops, peak {said.peak:.0f} MB")


def main() -> None:
    """Command line."""
    if sys.argv[1:2] == ["--side"]:
        measured(sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path(__file__).resolve().parents[1].parent / "shared")
    parser.add_argument("--copies", type=int, default=10)
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--fer", action="store_true")
    options = parser.parse_args()
    over_fer(options.shared) if options.fer else beside_bare_loops(options.shared, options.copies, options.repeat)


if __name__ == "__main__":
    main()
