"""Coverage and questions over a lake of millions of rows, beside column-projected pandas on the same files.

Builds a lake of synthetic labels (20 datasets; human, auto, co and teacher layers; 48 AUs) in a temporary folder,
publishes it as any step does, and times each question warm. Run: `python benchmarks/query_5m.py --rows 5000000`.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa

from manifests.coverage import coverage, manifest_coverage
from manifests.footers import forget
from manifests.lake import Lake
from manifests.query import connect
from manifests.vocabulary import AU_NAMES, AU_SPACES, EXPRESSIONS, TASKS, au_column

DATASETS = 20
AUS = tuple(AU_NAMES)[:48]
SOURCES = ("human", "auto", "co-du2014", "teacher-run1")
CHUNK = 131_072
Columns = dict[str, pa.Array]


@dataclass(frozen=True)
class Timing:
    """Seconds of one question over several warm runs: wall clock, and CPU of all threads in the fastest run."""

    question: str
    median: float
    fastest: float
    cpu: float


class Labels:
    """Random labels of one chunk of rows, at the sparsity of real datasets."""

    def __init__(self, ids: pa.Array, seed: int) -> None:
        self.ids, self.rows = ids, len(ids)
        self._random = np.random.default_rng(seed)

    def unknown(self, known: float) -> np.ndarray:
        """True where a label is missing."""
        return self._random.random(self.rows) >= known

    def expression(self, known: float, classes: int = 7) -> Columns:
        codes = pa.array(self._random.integers(0, classes, self.rows, dtype=np.int8), mask=self.unknown(known))
        return {"expression": pa.DictionaryArray.from_arrays(codes, pa.array(EXPRESSIONS)).cast(pa.string())}

    def va(self, known: float) -> Columns:
        mask = self.unknown(known)
        values = self._random.uniform(-1, 1, (2, self.rows)).astype(np.float32)
        return {name: pa.array(v, mask=mask) for name, v in zip(("valence", "arousal"), values, strict=True)}

    def aus(self, known: float, numbers: Sequence[int], *, own_gaps: bool = False) -> Columns:
        """AU columns that are unknown together or, with `own_gaps`, each on its own."""
        mask = self.unknown(known)
        return {
            au_column(au): pa.array(
                (self._random.random(self.rows) < 0.15).astype(np.int8),
                mask=self.unknown(known) if own_gaps else mask,
            )
            for au in numbers
        }

    def of(self, source: str, dataset: int, *, dense: bool) -> Columns:
        """What one source of one dataset says."""
        if source == "auto":
            return self.expression(0.5) | self.aus(0.5, AU_SPACES["emotionet11"])
        if source == "co-du2014":
            return self.aus(0.8, AUS, own_gaps=True) if dense else self.aus(0.25, AU_SPACES["fbn17"], own_gaps=True)
        if source == "teacher-run1":
            return self.expression(1.0) | self.va(1.0) | self.aus(1.0, AU_SPACES["fbn17"])
        kinds = (
            lambda: self.expression(0.98),
            lambda: self.expression(0.95, classes=9),
            lambda: self.expression(0.7, classes=8) | self.va(0.9),
            lambda: self.va(0.95) | self.aus(0.3, AU_SPACES["affwild2_12"]),
            lambda: self.aus(0.95, AUS),
        )
        return kinds[dataset % len(kinds)]()


def build(folder: Path, rows: int, *, dense: bool) -> Lake:
    """A lake of `rows` samples in `DATASETS` datasets, each with all four sources."""
    lake = Lake(folder, create=True)
    for dataset in range(DATASETS):
        name, count = f"set{dataset:02d}", rows // DATASETS
        with lake.publish(name, command="benchmarks/query_5m.py") as step:
            step.write("samples", "", _samples(name, count))
            for number, source in enumerate(SOURCES):
                tables = (
                    pa.table(
                        {"sample_id": ids} | Labels(ids, hash_of(dataset, number, at)).of(source, dataset, dense=dense)
                    )
                    for at, ids in enumerate(_ids(name, count))
                )
                step.write("labels", source, tables, parents=["samples"])
    return lake


def hash_of(*numbers: int) -> int:
    """A seed of its own for each chunk of each layer."""
    return sum(number * 1009**place for place, number in enumerate(numbers))


def _ids(name: str, count: int) -> Iterator[pa.Array]:
    for start in range(0, count, CHUNK):
        yield pa.array([f"{name}/part/{n:07d}" for n in range(start, min(start + CHUNK, count))])


def _samples(name: str, count: int) -> Iterator[pa.Table]:
    for ids in _ids(name, count):
        numbers = [text.rpartition("/")[2] for text in ids.to_pylist()]
        yield pa.table(
            {
                "sample_id": ids,
                "dataset": pa.array([name] * len(ids)),
                "path": pa.array([f"images/{number}.jpg" for number in numbers]),
                "subject_id": pa.array([f"{name}:{number[:5]}" for number in numbers]),
                "split": pa.array(["train"] * len(ids)),
            }
        )


def timed(question: str, ask: Callable[[], object], runs: int) -> Timing:
    """Time a question, after one run that warms the disk cache unless it is to run once."""
    if runs > 1:
        ask()
    seconds, cpu = [], []
    for _ in range(runs):
        start, used = time.perf_counter(), time.process_time()
        ask()
        seconds.append(time.perf_counter() - start)
        cpu.append(time.process_time() - used)
    return Timing(question, statistics.median(seconds), min(seconds), min(cpu))


def pandas_layer_coverage(files: Sequence[Path], columns: Sequence[str]) -> list[object]:
    """The raw coverage of some layers, by pandas that reads only the columns it needs."""
    found: list[object] = []
    names = ["expression", "valence", "arousal", *columns]
    for file in files:
        frame = pd.read_parquet(file, columns=names)
        aus = frame[list(columns)]
        found.append((len(frame), frame.notna().sum(), frame["expression"].value_counts()))
        found.append(
            (aus.sum(), aus.notna().any(axis=1).sum(), frame[["valence", "arousal"]].notna().all(axis=1).sum())
        )
    return found


def pandas_manifest_coverage(files: Sequence[Path]) -> list[object]:
    """The coverage of a cached manifest, by pandas that reads only the columns it needs."""
    names = ["dataset", "expression", *(f"mask_{task}" for task in TASKS)]
    return [pd.read_parquet(file, columns=names).groupby(names, dropna=False).size() for file in files]


def pandas_resolved_coverage(lake: Lake, columns: Sequence[str]) -> list[object]:
    """The coverage of the manifest from the layers: pandas joins and fills in order of the sources."""
    found: list[object] = []
    for dataset in lake.datasets():
        merged = pd.read_parquet(lake.layer(dataset, "samples").path, columns=["sample_id"]).set_index("sample_id")
        names = ["expression", "valence", "arousal", *columns]
        merged = merged.reindex(columns=names)
        for source in SOURCES:
            layer = pd.read_parquet(lake.layer(dataset, f"labels/{source}").path, columns=["sample_id", *names])
            merged = merged.combine_first(layer.set_index("sample_id"))
        aus = merged[list(columns)].notna().any(axis=1)
        found.append((merged["expression"].value_counts(), merged.notna().sum(), aus.sum()))
    return found


Row = tuple[Timing, Timing, float | None]
"""A question, its pandas peer, and the target in seconds."""


def layer_rows(folder: Path, runs: int) -> list[Row]:
    """Coverage of the layers as they lie, each run with a lake opened anew and no footer remembered."""
    names = [au_column(au) for au in AUS]

    def asked(sources: tuple[str, ...] | None) -> object:
        forget()
        return coverage(Lake(folder), sources=sources)

    labels = [layer for layer in Lake(folder).layers() if layer.kind == "labels"]
    human, every = [x.path for x in labels if x.name == "human"], [x.path for x in labels]
    return [
        (
            timed("coverage of the human layers", lambda: asked(("human",)), runs),
            timed("pandas", lambda: pandas_layer_coverage(human, names), runs),
            0.25,
        ),
        (
            timed("coverage of all layers", lambda: asked(None), runs),
            timed("pandas", lambda: pandas_layer_coverage(every, names), 1),
            None,
        ),
    ]


def manifest_rows(lake: Lake, runs: int) -> list[Row]:
    """Coverage of the manifest and one joint question, from the cache and without it, each on a new connection."""
    joint = "select dataset, count(*) from manifest where mask_va and mask_au group by all"

    def asked(cached: bool) -> object:
        return manifest_coverage(connect(lake, SOURCES, cached=cached))

    def asked_jointly(cached: bool) -> object:
        return connect(lake, SOURCES, cached=cached).sql(joint).fetchall()

    start, used = time.perf_counter(), time.process_time()
    asked(True)
    took, cpu = time.perf_counter() - start, time.process_time() - used
    print(f"manifest resolved and cached, if it was not yet, in {took:.1f} s (cpu {cpu:.1f} s)")
    if asked(True) != asked(False):
        raise SystemExit("the cached and the uncached manifest disagree")
    files = sorted((lake.cache / "manifest").glob("*.parquet"))
    stored = timed("pandas", lambda: pandas_manifest_coverage(files), runs)
    joined = timed("pandas", lambda: pandas_resolved_coverage(lake, [au_column(au) for au in AUS]), 1)
    return [
        (timed("cached manifest coverage", lambda: asked(True), runs), stored, 0.25),
        (timed("cached: mask_va and mask_au", lambda: asked_jointly(True), runs), stored, None),
        (timed("uncached manifest coverage", lambda: asked(False), runs), joined, 3.0),
        (timed("uncached: mask_va and mask_au", lambda: asked_jointly(False), runs), joined, None),
    ]


def describe(lake: Lake, seconds: float) -> str:
    """The machine, the versions and the lake, in two lines."""
    layers = lake.layers()
    rows = sum(layer.rows for layer in layers if layer.kind == "samples")
    size = sum(layer.path.stat().st_size for layer in layers) / 1e6
    return (
        f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, "
        f"Python {platform.python_version()}, duckdb {duckdb.__version__}, pandas {pd.__version__}\n"
        f"{rows:,} rows, {len(lake.datasets())} datasets, sources {', '.join(SOURCES)}, {len(AUS)} AUs, "
        f"{size:.0f} MB, opened or built in {seconds:.0f} s"
    )


def main() -> None:
    """Build the lake, time the questions, print one table."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    options.add_argument("--rows", type=int, default=5_000_000)
    options.add_argument("--runs", type=int, default=5, help="warm runs per question")
    options.add_argument("--dense", action="store_true", help="co-annotation codes all 48 AUs of 4 in 5 samples")
    options.add_argument("--lake", type=Path, help="build here, or measure the lake that an earlier run built here")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.lake or Path(temporary) / "lake"
        start = time.perf_counter()
        lake = Lake(folder) if (folder / "lake.toml").exists() else build(folder, given.rows, dense=given.dense)
        print(describe(lake, time.perf_counter() - start), flush=True)
        print(f"{'question':32s}{'median':>10s}{'fastest':>10s}{'cpu':>10s}{'target':>10s}{'pandas':>11s}{'ratio':>9s}")
        for ours, theirs, target in [*layer_rows(folder, given.runs), *manifest_rows(lake, given.runs)]:
            limit = f"{target:8.2f} s" if target else " " * 10
            print(
                f"{ours.question:32s}{ours.median:8.3f} s{ours.fastest:8.3f} s{ours.cpu:8.3f} s{limit}"
                f"{theirs.median:9.2f} s{theirs.median / ours.median:8.1f}x",
                flush=True,
            )


if __name__ == "__main__":
    main()
