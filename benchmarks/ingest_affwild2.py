"""Ingest of an Aff-Wild2 of full size: parsing, the whole ingest against a bare loop, and its memory.

    python benchmarks/ingest_affwild2.py [--share 0.1] [--keep FOLDER]

Writes a set of the shape of ABAW6: 594 tracks of 4,882 frames (2.9 million samples), with VA files for 432 of them,
EXPR files for 318 and AU files for 400. The first 62 tracks have aligned pictures (302,684 real JPEG files of their
own); the others have a raw video each, so that nearly all lines become samples. Measured in one run:

    parsing   rows of annotation files per CPU second of one core, reading included; target: 1 million
    ingest    against a bare loop that parses the same files with Arrow, lists the same folders and writes the same
              rows with the same Parquet settings, and checks nothing; target: at most 1.5 times as long
    memory    largest resident set of the ingest process; target: below 1 GiB
    growth    the same folder ingested again after one VA file came: the annotation files that are opened (one)

The bare loop and the ingest take turns in processes of their own; the faster run of each counts.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from affectdata.datasets import registry
from affectdata.datasets.affwild2_files import (
    AU_HEADERS,
    AUS12,
    CLASSES,
    EXPR_HEADERS,
    VA_HEADER,
    header_of,
    read_track,
)
from affectdata.datasets.frame_lines import cut_header
from affectdata.datasets.reading import Reject
from affectdata.ingest import ingest
from manifests.lake import Lake
from manifests.layer import ROW_GROUP
from manifests.schema import KINDS
from manifests.vocabulary import au_column

TRACKS, FRAMES, PICTURED = 594, 4_882, 62
TASKS = {"va": ("VA_Estimation_Challenge", 432), "expression": ("EXPR_Recognition_Challenge", 318),
         "au": ("AU_Detection_Challenge", 400)}  # fmt: skip
TOP = "6th ABAW Annotations"
REPEATS = 2


def main() -> None:
    """Write the set, measure, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--share", type=float, default=1.0, help="share of the full length of every track")
    parser.add_argument("--keep", type=Path, help="folder for the set; used again when it is there")
    parser.add_argument("--step", choices=("bare", "ingest"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        _step(arguments.step, arguments.keep)
        return
    with tempfile.TemporaryDirectory() as folder:
        home = arguments.keep or Path(folder)
        if not (home / "root").exists():
            write_set(home / "root", max(1, round(FRAMES * arguments.share)))
        _report(home)


def write_set(root: Path, frames: int) -> None:
    """The whole set; pictures are written one by one, each a file of its own."""
    rng = np.random.default_rng(1)
    for at, (task, (name, count)) in enumerate(TASKS.items()):
        for number in range(count):
            track = (number + at * 97) % TRACKS
            split = "Train_Set" if number % 6 else "Validation_Set"
            path = root / TOP / name / split / f"{track_name(track)}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(_annotation(rng, task, frames))
    picture = cv2.imencode(".jpg", rng.integers(0, 255, (8, 8, 3), np.uint8))[1].tobytes()
    for track in range(TRACKS):
        if track >= PICTURED:
            (root / "batch1").mkdir(exist_ok=True)
            (root / "batch1" / f"{track_name(track)}.mp4").write_bytes(b"video")
            continue
        folder = root / "cropped_aligned" / track_name(track)
        folder.mkdir(parents=True)
        for number in range(1, frames + 1):
            if number % 64:
                (folder / f"{number:05d}.jpg").write_bytes(picture)
        (folder / f"{frames + 1:05d}.jpg").write_bytes(picture)


def track_name(track: int) -> str:
    """Names as the dataset has them."""
    return f"{track}-30-1280x720"


def _annotation(rng: np.random.Generator, task: str, frames: int) -> bytes:
    unknown = rng.random(frames) < 0.03
    if task == "va":
        values = np.where(unknown[:, None], -5, np.round(rng.uniform(-1, 1, (frames, 2)), 3))
        return ",".join(VA_HEADER).encode() + b"\n" + "\n".join(f"{v:g},{a:g}" for v, a in values.tolist()).encode()
    if task == "expression":
        codes = np.where(unknown, -1, rng.integers(0, len(CLASSES), frames))
        return (
            ",".join(next(h for h in EXPR_HEADERS if len(h) == 8)).encode()
            + b"\n"
            + "\n".join(map(str, codes)).encode()
        )
    rows = np.where(unknown[:, None], -1, rng.integers(0, 2, (frames, len(AUS12))))
    header = next(h for h in AU_HEADERS if len(h) == len(AUS12))
    return ",".join(header).encode() + b"\n" + "\n".join(",".join(map(str, row)) for row in rows.tolist()).encode()


def parsing_speed(root: Path) -> tuple[int, float]:
    """Rows of annotation files, and the CPU seconds of one core that it takes to parse them into label columns."""
    pa.set_cpu_count(1)
    rows, start = 0, time.process_time()
    for task, (name, _) in TASKS.items():
        for path in sorted((root / TOP / name).glob("*/*.txt")):
            data = path.read_bytes()
            announced = header_of(task, cut_header(data)[0])
            marks = read_track(data, task, announced or (), path.name, Reject())
            rows += len(marks.numbers) if marks else 0
    return rows, time.process_time() - start


def _step(step: str, home: Path) -> None:
    """One measured run, in this process: seconds, rows and largest resident set on one line."""
    registry()  # imports are no part of either
    start = time.perf_counter()
    rows = bare(home) if step == "bare" else _ingested(home)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{seconds} {rows} {peak}")


def _ingested(home: Path) -> int:
    summary = ingest(Lake(home / "lake", create=True), "affwild2", home / "root", max_rejects=1)
    print(summary, file=sys.stderr)
    print(f"{summary.opened} of {summary.annotations} annotation files opened", file=sys.stderr)
    return summary.samples


def bare(home: Path) -> int:
    """The least that gives the same files: list, parse, write."""
    root, out = home / "root", home / "bare"
    out.mkdir()
    listed = {folder: {entry.name: entry.stat().st_size for entry in os.scandir(folder) if entry.is_file()}
              for folder, _, _ in os.walk(root)}  # fmt: skip
    files: dict[str, dict[str, tuple[str, Path]]] = {}
    for task, (name, _) in TASKS.items():
        for path in (root / TOP / name).glob("*/*.txt"):
            role = "train" if path.parent.name == "Train_Set" else "val"
            files.setdefault(path.stem, {})[task] = role, path
    writers = [_Writer(out, kind) for kind in ("samples", "labels", "protocols")]
    for track in sorted(map(track_name, range(TRACKS)), key=lambda track: f"{track}/"):
        names = listed.get(str(root / "cropped_aligned" / track))
        for writer, table in zip(writers, _tables(track, names, files.get(track, {})), strict=True):
            writer.add(table)
    rows = [writer.close() for writer in writers]
    return rows[0]


def _tables(track: str, names: dict[str, int] | None, files: dict[str, tuple[str, Path]]) -> Iterator[pa.Table]:
    labels: dict[str, pa.Array] = {}
    for task, (_, path) in files.items():
        columns = {"va": list(VA_HEADER), "expression": ["expression"], "au": [au_column(au) for au in AUS12]}[task]
        kind = pa.float32() if task == "va" else pa.int8()
        table = pa_csv.read_csv(
            path,
            pa_csv.ReadOptions(column_names=columns, skip_rows=1),
            convert_options=pa_csv.ConvertOptions(column_types=dict.fromkeys(columns, kind)),
        )
        for column in columns:
            values = table.column(column).combine_chunks()
            known = pc.greater_equal(values, -1 if task == "va" else 0)
            if task == "expression":
                values = pa.array(CLASSES).take(pc.if_else(known, values, None))
            labels[column] = values if task == "expression" else pc.if_else(known, values, None)
    lines = max((len(column) for column in labels.values()), default=0)
    numbers = np.arange(1, lines + 1) if names is None else np.sort([int(name[:5]) for name in names])
    digits = pc.utf8_lpad(pc.cast(pa.array(numbers), pa.string()), 5, "0")
    ids, count = pc.binary_join_element_wise("affwild2", track, digits, "/"), len(numbers)
    roles = {role for role, _ in files.values()}
    samples = {"sample_id": ids, "dataset": pa.repeat("affwild2", count), "frame_index": pa.array(numbers, pa.int32())}
    samples |= {name: pa.repeat(track, count) for name in ("sequence_id", "subject_id")}
    samples["group_id"] = pa.repeat(f"affwild2:{track}", count)
    samples["split"] = pa.repeat(roles.pop(), count) if len(roles) == 1 else pa.nulls(count, pa.string())
    if names is None:
        samples |= {"path": pa.repeat(f"batch1/{track}.mp4", count), "frame": pa.array(numbers - 1, pa.int32())}
    else:
        samples["path"] = pc.binary_join_element_wise(f"cropped_aligned/{track}/", digits, ".jpg", "")
    yield pa.table(samples)
    at = pa.array(numbers - 1, mask=numbers > lines)
    said = pa.table({"sample_id": ids} | {name: column.take(at) for name, column in labels.items()})
    yield (
        said.filter(pa.array(np.logical_or.reduce([np.asarray(c.is_valid()) for c in said.columns[1:]])))
        if labels
        else said.slice(0, 0)
    )
    tasks = pa.concat_tables([
        pa.table({"sample_id": ids, "task": pa.repeat(task, count), "role": pa.repeat(role, count)})
        for task, (role, _) in sorted(files.items())
    ]) if files else pa.table({"sample_id": ids.slice(0, 0)})  # fmt: skip
    yield tasks.sort_by([("sample_id", "ascending"), ("task", "ascending")]) if files else tasks


class _Writer:
    """A Parquet file with the columns and settings of a layer, and row groups of the same size."""

    def __init__(self, out: Path, kind: str) -> None:
        self._schema = KINDS[kind]
        repeating = [f.name for f in self._schema if f.type in (pa.string(), pa.int8()) and f.name != "sample_id"]
        self._file = pq.ParquetWriter(
            out / f"{kind}.parquet", self._schema, compression="zstd", use_dictionary=repeating
        )
        self._waiting: list[pa.Table] = []
        self._count = self.rows = 0

    def add(self, table: pa.Table) -> None:
        self._waiting.append(table)
        self._count += table.num_rows
        if self._count >= ROW_GROUP:
            rows = pa.concat_tables(self._waiting, promote_options="permissive")
            self._write(rows.slice(0, ROW_GROUP))
            self._waiting, self._count = [rows.slice(ROW_GROUP)], self._count - ROW_GROUP

    def _write(self, rows: pa.Table) -> None:
        columns = [
            rows.column(f.name).cast(f.type) if f.name in rows.column_names else pa.nulls(rows.num_rows, f.type)
            for f in self._schema
        ]
        self._file.write_table(pa.Table.from_arrays(columns, schema=self._schema), row_group_size=ROW_GROUP)
        self.rows += rows.num_rows

    def close(self) -> int:
        if self._count:
            self._write(pa.concat_tables(self._waiting, promote_options="permissive"))
        self._file.close()
        return self.rows


def _ran(step: str, home: Path) -> tuple[float, float, float, str]:
    """A step in a process of its own: seconds, rows, kilobytes at most, and what it says."""
    command = [sys.executable, __file__, "--step", step, "--keep", str(home)]
    ran = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds, rows, peak = map(float, ran.stdout.split())
    return seconds, rows, peak, ran.stderr


def _growth(home: Path) -> Iterator[str]:
    """What a second ingest opens after one annotation file came, and after nothing did."""
    new = next((home / "root" / TOP).glob("VA*/Train_Set/*.txt"))
    new.rename(home / new.name)
    shutil.rmtree(home / "lake", ignore_errors=True)
    time.sleep(3)  # files that changed within the last seconds are hashed again, as a clock may be coarse
    _ran("ingest", home)
    (home / new.name).rename(new)
    for name in ("one VA file came", "nothing changed"):
        seconds, _, _, said = _ran("ingest", home)
        yield f"ingested again, {name}: {seconds:.1f} s, {said.splitlines()[-1]}"


def _report(home: Path) -> None:
    best: dict[str, list[float]] = {}
    for _ in range(REPEATS):
        for step in ("bare", "ingest"):
            shutil.rmtree(home / "lake", ignore_errors=True)
            shutil.rmtree(home / "bare", ignore_errors=True)
            seconds, rows, peak, said = _ran(step, home)
            best[step] = min(best.get(step, [seconds, rows, peak]), [seconds, rows, peak])
    rows, parsing = parsing_speed(home / "root")
    print(said)
    for line in _growth(home):
        print(line)
    (bare_s, bare_rows, bare_kb), (seconds, samples, peak) = best["bare"], best["ingest"]
    print(f"{'':28}{'measured':>22}{'target':>14}")
    lines = [
        ("parsing, rows/s on one core", f"{rows / parsing / 1e6:.2f} M ({rows:,.0f})", ">= 1 M", rows / parsing >= 1e6),
        ("bare loop", f"{bare_s:.1f} s, {bare_kb / 2**20:.2f} GiB", "", None),
        ("ingest", f"{seconds:.1f} s", "", None),
        ("ingest / bare loop", f"{seconds / bare_s:.2f}", "<= 1.5", seconds <= 1.5 * bare_s),
        ("memory of ingest", f"{peak / 2**20:.2f} GiB", "< 1 GiB", peak < 2**20),
    ]
    for name, measured, target, met in lines:
        print(f"{name:28}{measured:>22}{target:>14}  {'' if met is None else 'met' if met else 'MISSED'}")
    print(f"samples: {samples:,.0f} ingested, {bare_rows:,.0f} by the bare loop")


if __name__ == "__main__":
    main()
