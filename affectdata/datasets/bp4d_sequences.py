"""BP4D and BP4D+, sequence by sequence: occurrence and intensity files joined by frame, and pictures of the frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from affectdata.datasets.bp4d_pictures import Pictures, Places, in_folder
from affectdata.datasets.bp4d_tree import PLUS_CELLS, WIDE, Sequence, Tree, sequence_files
from affectdata.datasets.disfa_codes import Codes, Coding, cut_header, read_codes
from affectdata.datasets.reading import Block, Folder, Reject
from manifests.vocabulary import AUS, au_column

OCCURRENCE = Coding({0: 0, 1: 1, 9: np.nan}, "unknown-code")
INTENSITY = Coding({**{level: float(level) for level in range(6)}, 9: np.nan}, "unknown-code")
UNKNOWN = 9

NOT_CODED = (25, 26)
"""Their columns are not usable, whatever stands in them [verified 2]."""

Roles = Callable[[str, pa.Array, NDArray[np.bool_]], Mapping[str, pa.Array | pa.Table]]
"""Subject, sample ids, which of them are coded -> Block.protocols."""


@dataclass(frozen=True)
class Release:
    """What differs between the two datasets.

    Args:
        name: `bp4d` or `bp4dplus`.
        last_task: Number of the last task.
        aus: AUs that are coded, in the order of their columns.
        short_only: Every occurrence file has 35 cells; the list `aus` stands in for a header of other text.
        gender: Whether the letter of a subject's code tells it.
    """

    name: str
    last_task: int
    aus: tuple[int, ...]
    short_only: bool
    gender: bool


@dataclass
class Reading:
    """One run over a tree.

    Args:
        offset: Number of a picture minus the AU frame that it shows.
        strays: Wide columns that no list knows as coded and that hold codes -> files in which they do.
    """

    folder: Folder
    release: Release
    offset: int
    reject: Reject
    strays: dict[int, list[str]] = field(default_factory=dict)

    def blocks(self, tree: Tree, places: Places, roles: Roles) -> Iterator[Block]:
        """A Block per sequence that has AU files or pictures."""
        last = self.release.last_task
        coded = sequence_files(self.folder, tree.occurrence, last, self.reject)
        levels: dict[int, dict[Sequence, str]] = {}
        for au, path in tree.intensity.items():
            if au in NOT_CODED or au not in AUS:
                self.reject(path, "no-column-map", f"AU{au} is not coded, or not usably")
            else:
                levels[au] = sequence_files(self.folder, path, last, self.reject, au)
        listed = {*coded, *places.folders}.union(*levels.values())
        for sequence in sorted(listed):
            shown = places.folders.get(sequence)
            absent = Pictures(folder=f"{sequence[0]}/T{sequence[1]}")
            pictures = in_folder(self.folder, shown, self.reject) if shown else absent
            intensity = {au: paths.get(sequence) for au, paths in levels.items()}
            yield self._block(sequence, coded.get(sequence), intensity, pictures, roles)
        for au, paths in sorted(self.strays.items()):
            more = f"{paths[0]} and {len(paths) - 1} more files hold codes in it"
            self.reject(f"{tree.occurrence} column {au}", "no-column-map", f"{more}; AU{au} is not known as coded")

    def _block(
        self, sequence: Sequence, coded: str | None, levels: dict[int, str | None], pictures: Pictures, roles: Roles
    ) -> Block:
        aus, occurrence = self._occurrence(coded) if coded else ((), None)
        intensity = self._intensity(sequence, coded, levels, occurrence)
        said = [codes.frames for codes in (occurrence, *intensity.values()) if codes is not None]
        coded_frames = np.unique(np.concatenate(said)) if said else np.empty(0, np.int64)
        shown = np.array(sorted(pictures.names), np.int64) - self.offset
        frames = np.union1d(coded_frames, shown)
        labels: dict[str, pa.Array] = {}
        if occurrence is not None:
            labels |= {au_column(au): _bits(v) for au, v in zip(aus, occurrence.at(frames).T, strict=True)}
        for au, codes in intensity.items():
            values = codes.at(frames)[:, 0]
            labels[au_column(au, "intensity")] = pa.array(values, mask=np.isnan(values))
        samples = self._samples(sequence, frames, pictures)
        told = roles(sequence[0], samples.column("sample_id").combine_chunks(), np.isin(frames, coded_frames))
        return Block(samples, {"human": pa.table(labels)} if labels else {}, told)

    def _samples(self, sequence: Sequence, frames: NDArray[np.int64], pictures: Pictures) -> pa.Table:
        subject, task = sequence
        numbers, count = (frames + self.offset).tolist(), len(frames)
        texts: dict[str, list[str]] = {
            "sample_id": [f"{subject}/T{task}/{frame:04d}" for frame in frames.tolist()],
            "path": [pictures.path(number) for number in numbers],
            "sequence_id": [f"{subject}_T{task}"] * count,
            "subject_id": [subject] * count,
            "group_id": [f"{self.release.name}:{subject}"] * count,
        }
        if self.release.gender:
            texts["gender"] = ["female" if subject[0] == "F" else "male"] * count
            texts["attributes_source"] = ["human"] * count
        columns = {name: pa.array(values, pa.string()) for name, values in texts.items()}
        return pa.table(columns | {"frame_index": pa.array(frames, pa.int32())})

    def _occurrence(self, path: str) -> tuple[tuple[int, ...], Codes | None]:
        columns, codes = self.folder.parsed(path, read_occurrence, self.release, path, self.reject)
        if codes is None:
            return (), None
        if len(columns) + 1 >= WIDE:
            passed = [place + 1 for place, au in enumerate(columns) if au is None]
            filled = (codes.passed != UNKNOWN).any(axis=0)
            for au in (au for au, f in zip(passed, filled, strict=True) if f and au in AUS and au not in NOT_CODED):
                self.strays.setdefault(au, []).append(path)
        return tuple(au for au in columns if au is not None), codes

    def _intensity(
        self, sequence: Sequence, coded: str | None, levels: dict[int, str | None], occurrence: Codes | None
    ) -> dict[int, Codes]:
        # 721,0
        # 723,9          no header
        found: dict[int, Codes] = {}
        name = f"{sequence[0]}_T{sequence[1]}"
        for au, path in sorted(levels.items()):
            if path is None:
                if coded:
                    self.reject(f"{name} AU{au:02d}", "missing-annotation", "occurrence without an intensity file")
                continue
            codes = self.folder.parsed(path, read_codes, [f"AU{au}"], INTENSITY, path, self.reject)
            if occurrence is not None and codes.lines != occurrence.lines:
                self.reject(path, "length-mismatch", f"{codes.lines} lines, occurrence has {occurrence.lines}")
            found[au] = codes
        if found and not coded:
            self.reject(name, "missing-annotation", "intensity without an occurrence file")
        return found


def read_occurrence(data: bytes, release: Release, about: str, reject: Reject) -> tuple[list[int | None], Codes | None]:
    """AU of each column after the frame (None: passed over), and the codes; without them for an unknown header."""
    # 0,1,2,3,4,5,6,7,8,9,10,...,99          wide: column k is AU k
    # 721,0,0,9,0,0,1,1,9,0,1,...,9
    # 1,1,2,4,5,6,7,9,10,11,12,...           named: the first cell means nothing
    # 145,0,0,0,0,1,1,0,1,0,1,...
    header, body = cut_header(data)
    columns = header_aus(header, release)
    if columns is None:
        # Every line of it is lost, and the limit of rejects should know.
        lost = max(1, sum(bool(line.strip()) for line in body.splitlines()))
        reject.many([about] * lost, "unknown-header", [",".join(header)[:80]] * lost)
        return [], None
    names = [None if au is None else au_column(au) for au in columns]
    return columns, read_codes(body, names, OCCURRENCE, about, reject, first=2)


def header_aus(header: tuple[str, ...], release: Release) -> list[int | None] | None:
    """AU of each column after the frame (None: passed over), or None for a header that is none."""
    cells = header[1:]
    numbers = [int(cell) for cell in cells if cell.isascii() and cell.isdigit() and len(cell) < 3]
    short = len(header) == PLUS_CELLS or not release.short_only
    if len(header) >= WIDE and not release.short_only:
        right = numbers == list(range(1, len(header)))
        return [au if au in release.aus else None for au in numbers] if right else None
    rising = all(a < b for a, b in pairwise(numbers))
    if numbers and short and len(numbers) == len(cells) and rising and set(numbers) <= set(AUS):
        return [None if au in NOT_CODED else au for au in numbers]
    if release.short_only and short and not any(cell.strip("+-. ").isdigit() for cell in cells):
        return list(release.aus)
    return None


def _bits(values: NDArray[np.float32]) -> pa.Array:
    unknown = np.isnan(values)
    return pa.array(np.where(unknown, 0, values).astype(np.int8), mask=unknown)


def scored(ids: pa.Array, coded: NDArray[np.bool_], role: str, fold: int | None) -> pa.Table:
    """Rows of a protocol for the coded frames."""
    chosen = ids.filter(pa.array(coded))
    count = len(chosen)
    return pa.table(
        {
            "sample_id": chosen,
            "task": pa.array(["all"] * count, pa.string()),
            "role": pa.array([role] * count, pa.string()),
            "fold": pa.array([fold] * count, pa.int16()),
        }
    )
