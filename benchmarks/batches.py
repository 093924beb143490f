"""Batches of 96 x 96 pictures per second, warm and cold, beside the peers that read the same pictures as JPEG.

    python benchmarks/batches.py [--count 40000] [--seconds 2] [--rounds 3] [--folder DIR]

Sides, each giving uint8 batches with labels in a random order, in one run on one machine:
  ours        packed crops through `trainer.loader.TrainLoader` (cold: shuffled by blocks, as for a store beyond memory)
  ImageFolder torchvision's ImageFolder and DataLoader with 2 workers, the pictures as JPEG, as its examples do it:
              with ToTensor, so float32 batches
    as uint8  the same with PILToTensor: uint8 batches like ours
  WebDataset  the same JPEGs in tar files, 2 workers; left out where it is not installed
  memcpy      one thread copying the same bytes batch by batch out of memory: the limit

Cold means: written to disk, then dropped from the page cache by posix_fadvise. The sides take turns in several rounds;
medians count, as the memory of a shared machine is now fast, now slow.
Targets: warm >= 80 x ImageFolder and >= half of memcpy; cold >= 4 x ImageFolder.
"""

from __future__ import annotations

import argparse
import io
import math
import os
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from manifests.crops import CHUNK, CropStore, shard_name
from manifests.lake import Lake
from manifests.layer import LayerFacts
from trainer.data import Samples, keys_of
from trainer.loader import TrainLoader
from trainer.sampling import Pooled, Share
from trainer.targets import ClassTarget, Targets

SIDE, BATCH, WORKERS, CLASSES = 96, 256, 2, 7
SHARD = 2000
"""Pictures per tar file."""

Pictures = NDArray[np.uint8]


def pictures(count: int) -> Iterator[Pictures]:
    """Smooth random colour pictures with fine grain, about as large in JPEG as faces are."""
    random = np.random.default_rng(0)
    for _ in range(count):
        coarse = random.integers(0, 256, (9, 9, 3), np.uint8)
        smooth = cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
        yield cv2.add(smooth, random.integers(0, 12, smooth.shape, np.uint8))


def write(folder: Path, count: int) -> Lake:
    """The same pictures as packed crops in a lake, as a folder of JPEGs per class, and as tar files."""
    lake = Lake(folder / "lake", create=True)
    work = lake.work("noise", "batches")
    for label in range(CLASSES):
        (folder / "jpeg" / str(label)).mkdir(parents=True, exist_ok=True)
    tar: tarfile.TarFile | None = None
    chunk: list[Pictures] = []
    for number, picture in enumerate(pictures(count)):
        data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
        (folder / "jpeg" / str(number % CLASSES) / f"{number:06d}.jpg").write_bytes(data)
        if number % SHARD == 0:
            tar = tarfile.open(folder / f"noise-{number // SHARD:03d}.tar", "w")  # noqa: SIM115  # closed at program end
        if tar is not None:
            for suffix, content in ((".jpg", data), (".cls", str(number % CLASSES).encode())):
                member = tarfile.TarInfo(f"{number:06d}{suffix}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
            if number % SHARD == SHARD - 1 or number == count - 1:
                tar.close()
        chunk.append(picture)
        if len(chunk) == CHUNK or number == count - 1:
            (work / f"{number // CHUNK}.u8").write_bytes(np.stack(chunk).tobytes())
            chunk = []
    _publish(lake, work, count)
    return lake


def _publish(lake: Lake, work: Path, count: int) -> None:
    ids = pa.array([f"noise/{i:06d}" for i in range(count)])
    shard, row = np.divmod(np.arange(count), CHUNK)
    columns = {
        "sample_id": ids,
        "shard": pa.array(shard, pa.int32()),
        "row": pa.array(row, pa.int32()),
        "transform": pa.array([[1.0, 0, 0, 0, 1, 0]] * count, pa.list_(pa.float32(), 6)),
    }
    extra = {"height": str(SIDE), "width": str(SIDE), "channels": "3"}
    with lake.publish("noise", command="benchmark") as step:
        step.write("samples", "", pa.table({"sample_id": ids, "dataset": pa.repeat("noise", count)}))
        step.write("crops", "resize96", pa.table(columns), LayerFacts(extra=extra), ["samples"])
        for number in range(int(shard.max()) + 1):
            step.link(shard_name("resize96", number), work / f"{number}.u8")
        step.finish_work(work)


def our_samples(lake: Lake, *, hold: bool) -> Samples:
    """Every picture with its label."""
    store = CropStore(lake, "noise", "resize96")
    if hold:
        store.hold()
    count = len(store)
    ids = np.array(store.sample_ids.to_pylist(), object)
    code = torch.arange(count) % CLASSES
    offered = torch.ones(count, CLASSES, dtype=torch.bool)
    expression = ClassTarget(code, offered, torch.zeros(count, 0), torch.ones(count))
    zeros = np.zeros(count, np.int64)
    return Samples(ids, zeros, np.arange(count), keys_of(ids), Targets(expression), (store,))


def ours(lake: Lake, *, blocks: bool) -> Iterator[int]:
    """Sizes of the batches of epoch after epoch."""
    samples = our_samples(lake, hold=not blocks)
    loader = TrainLoader(samples, Pooled(len(samples), BATCH, 1, share=Share(blocks=blocks)))
    for epoch in range(1 << 20):
        loader.set_epoch(epoch)
        for batch in loader:
            yield len(batch.pixels)


def image_folder(folder: Path, *, as_float: bool = True) -> Iterator[int]:
    """The same from torchvision, whose worker processes decode JPEG; float32 in 0..1 is what its examples do."""
    from torch.utils.data import DataLoader
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import PILToTensor, ToTensor

    dataset = ImageFolder(str(folder / "jpeg"), transform=ToTensor() if as_float else PILToTensor())
    loader: Any = DataLoader(dataset, BATCH, shuffle=True, num_workers=WORKERS, persistent_workers=True)
    while True:
        for images, _ in loader:
            yield len(images)


def web_dataset(folder: Path) -> Iterator[int] | None:
    """The same from tar files, or None where WebDataset is not installed."""
    try:
        import webdataset as wds  # type: ignore[import-not-found]  # optional, not among our dependencies
    except ImportError:
        return None
    from torchvision.transforms import PILToTensor

    urls = sorted(str(path) for path in folder.glob("noise-*.tar"))
    dataset = wds.WebDataset(urls, shardshuffle=len(urls)).shuffle(1000).decode("pil").to_tuple("jpg", "cls")
    batches = dataset.map_tuple(PILToTensor(), lambda label: label).batched(BATCH)
    loader = wds.WebLoader(batches, batch_size=None, num_workers=WORKERS)
    return (len(images) for _ in range(1 << 20) for images, _ in loader)


def memcpy(lake: Lake) -> Iterator[int]:
    """Plain copies of the same bytes, batch by batch, from memory to memory."""
    store = CropStore(lake, "noise", "resize96")
    pixels = store.gather(np.arange(len(store)))
    target = np.empty((BATCH, *store.shape), np.uint8)
    while True:
        for first in range(0, len(pixels) - BATCH + 1, BATCH):
            np.copyto(target, pixels[first : first + BATCH])
            yield BATCH


def drop_from_cache(files: Iterable[Path]) -> None:
    """Write files to disk and ask the system to forget them."""
    for path in files:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def speed(make: Callable[[], Iterator[int] | None], seconds: float, *, skip: int, most: float) -> float:
    """Images per second over `seconds` or `most` images, after `skip` batches that pay for the start.

    A cold side skips one batch only, and ends before it meets a picture again. NaN where the side is missing.
    """
    batches = make()
    if batches is None:
        return float("nan")
    for _ in range(skip):
        next(batches)
    began, images = time.perf_counter(), 0
    while (passed := time.perf_counter() - began) < seconds and images < most:
        images += next(batches)
    close = getattr(batches, "close", None)
    if close is not None:
        close()
    return images / passed


def measure(folder: Path, lake: Lake, seconds: float) -> dict[str, tuple[float, float]]:
    """Side -> images per second warm and cold."""
    crops = list((folder / "lake").rglob("*.u8"))
    jpegs, tars = list((folder / "jpeg").rglob("*.jpg")), list(folder.glob("*.tar"))
    sides: dict[str, tuple[Callable[[bool], Iterator[int] | None], list[Path]]] = {
        "ours": (lambda cold: ours(lake, blocks=cold), crops),
        "ImageFolder": (lambda _: image_folder(folder), jpegs),
        "  as uint8": (lambda _: image_folder(folder, as_float=False), jpegs),
        "WebDataset": (lambda _: web_dataset(folder), tars),
    }
    found: dict[str, tuple[float, float]] = {}
    for name, (make, files) in sides.items():
        drop_from_cache(files)
        cold = speed(lambda make=make: make(True), seconds, skip=1, most=len(jpegs) - 2 * BATCH)  # type: ignore[misc]  # bound per side
        for path in files:
            path.read_bytes()
        warm = speed(lambda make=make: make(False), seconds, skip=20, most=math.inf)  # type: ignore[misc]  # bound per side
        found[name] = (warm, cold)
    found["memcpy"] = (speed(lambda: memcpy(lake), seconds, skip=20, most=math.inf), float("nan"))
    return found


def medians(rounds: Sequence[dict[str, tuple[float, float]]]) -> dict[str, tuple[float, float]]:
    """Side -> medians over the rounds."""
    return {
        name: (float(np.median([r[name][0] for r in rounds])), float(np.median([r[name][1] for r in rounds])))
        for name in rounds[0]
    }


def report(found: dict[str, tuple[float, float]]) -> Iterator[str]:
    """The table, and whether each target is met."""
    warm, cold = found["ours"]
    yield f"{'side':12} {'warm img/s':>12} {'cold img/s':>12} {'ours/side warm':>15} {'cold':>8}"
    for name, (other_warm, other_cold) in found.items():
        missing = np.isnan(other_warm)
        yield f"{name:12} " + (
            "not installed"
            if missing
            else f"{other_warm:12,.0f} {other_cold:12,.0f} {warm / other_warm:15.2f} {cold / other_cold:8.2f}"
        )
    peer = found["ImageFolder"]
    targets = (
        ("warm beside ImageFolder", warm / peer[0], 80.0),
        ("warm beside ImageFolder as uint8", warm / found["  as uint8"][0], 80.0),
        ("warm beside memcpy", warm / found["memcpy"][0], 0.5),
        ("cold beside ImageFolder", cold / peer[1], 4.0),
    )
    for name, ratio, wanted in targets:
        yield f"{name}: {ratio:.2f} x, target >= {wanted:g}: {'met' if ratio >= wanted else 'MISSED'}"


def main() -> None:
    """Write the pictures, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=40_000)
    parser.add_argument("--seconds", type=float, default=2.0, help="per side, temperature and round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where to write (default: a temporary folder, removed afterwards)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="affect-batches-", dir=options.folder) as name:
        folder = Path(name)
        began = time.perf_counter()
        lake = write(folder, options.count)
        jpeg = sum(path.stat().st_size for path in (folder / "jpeg").rglob("*.jpg")) / options.count
        print(f"{options.count:,} pictures of {SIDE} x {SIDE} x 3, {jpeg / 1024:.1f} KB as JPEG, batches of {BATCH}")
        print(f"written in {time.perf_counter() - began:.0f} s; {os.cpu_count()} cores, {WORKERS} workers", flush=True)
        rounds = [measure(folder, lake, options.seconds) for _ in range(options.rounds)]
        for line in report(medians(rounds)):
            print(line)


if __name__ == "__main__":
    main()
