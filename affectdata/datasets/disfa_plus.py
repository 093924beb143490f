"""DISFA+: pictures per trial, a label file per AU and trial (datasets page disfa.md, 1 and 2)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import pyarrow as pa

from affectdata.datasets.listing import Listing
from affectdata.datasets.reading import Block, Folder, Reject
from affectdata.datasets.text import lines
from manifests.vocabulary import AU_SPACES, AUS, au_column

_TRIAL = re.compile(r"(?i)^(?P<top>(?:.*/)?)Labels/(?P<subject>SN\d{3})/(?P<trial>[^/]+)$")
_FILE = re.compile(r"(?i)^AU0*(\d{1,2})\.txt$")
_LINE = re.compile(r"\s*(\S(?:.*?\S)?)(?:\s{2,}|\t)(\S+)\s*")
_HEADER_LINES = 2


def label_folders(files: Listing) -> list[str]:
    """Folders of trials, sorted."""
    return [path for path in files.tree() if _TRIAL.match(path) and any(map(_FILE.match, files.names(path)))]


def tops(trials: Iterable[str]) -> list[str]:
    """Folders that hold the `Labels` of trials, sorted."""
    return sorted({match["top"] or "./" for path in trials if (match := _TRIAL.match(path))})


def read_trial(folder: Folder, path: str, reject: Reject) -> Block:
    """All pictures of a trial; those that no file labels are samples without labels."""
    match = _TRIAL.match(path)
    subject, trial = (match["subject"].upper(), match["trial"]) if match else ("", "")
    aus = _read_files(folder, path, reject)
    images = _image_folder(folder.files, match["top"] if match else "", subject, trial)
    there = [n for n in folder.files.names(images) if n.lower().endswith((".jpg", ".jpeg", ".png", ".bmp"))]
    known = {name.lower() for name in there}
    pictures = sorted({*there, *(name for found in aus.values() for name in found if name not in known)})
    stems = [name.rpartition(".")[0] or name for name in pictures]
    count = len(pictures)
    samples = {
        "sample_id": [f"{subject}/{trial}/{stem}" for stem in stems],
        "path": [f"{images}/{name}" for name in pictures],
        "sequence_id": [f"{subject}/{trial}"] * count,
        "frame_index": [int(stem) if stem.isascii() and stem.isdigit() and len(stem) < 7 else None for stem in stems],
        "subject_id": [subject] * count,
        "group_id": [f"disfa:{subject}"] * count,
    }
    human = {
        au_column(au, "intensity"): pa.array([found.get(name.lower()) for name in pictures], pa.float32())
        for au, found in sorted(aus.items())
    }
    types = {name: pa.int32() if name == "frame_index" else pa.string() for name in samples}
    table = pa.table({name: pa.array(values, types[name]) for name, values in samples.items()})
    return Block(table, {"human": pa.table(human)} if human else {})


def _read_files(folder: Folder, path: str, reject: Reject) -> dict[int, dict[str, float | None]]:
    found: dict[int, dict[str, float | None]] = {}
    counts: dict[int, int] = {}
    for name in folder.files.names(path, "*.txt"):
        match, where = _FILE.match(name), f"{path}/{name}"
        if not match or int(match[1]) not in AUS or int(match[1]) in found:
            reject(where, "bad-name", "expected AU<number>.txt, once for each AU")
            continue
        found[int(match[1])] = folder.parsed(where, read_intensities, where, reject)
        counts[int(match[1])] = len(found[int(match[1])])
    for au in sorted(set(AU_SPACES["disfa12"]) - set(found)):
        reject(f"{path}/AU{au}.txt", "missing-annotation", f"AU{au} stays unknown in this trial")
    most = max(counts.values(), default=0)
    for au, count in sorted(counts.items()):
        if count != most:
            reject(f"{path}/AU{au}.txt", "length-mismatch", f"{count} pictures, others have {most}")
    return found


def read_intensities(data: bytes, about: str, reject: Reject) -> dict[str, float | None]:
    """Picture, in lower case -> intensity; None where the line was refused or two lines differ."""
    found: dict[str, float | None] = {}
    for number, name, cell in _data_lines(data, about, reject):
        where = f"{about} line {number}"
        value = float(cell) if cell in ("0", "1", "2", "3", "4", "5") else None
        if value is None:
            whole = re.fullmatch(r"[+-]?[0-9]+", cell)
            reject(where, "out-of-range" if whole else "bad-number", f"{name}: {cell:.40}, expected 0-5")
        if name not in found:
            found[name] = value
        elif value is not None:
            same = found[name] == value
            reject(where, "duplicate-key" if same else "conflicting-duplicate", f"{name} again")
            found[name] = value if same else None
    return found


def _data_lines(data: bytes, about: str, reject: Reject) -> Iterator[tuple[int, str, str]]:
    # (two lines of header, or lines that begin with '#')
    # 000.jpg   0
    # 001.jpg   2
    for place, (number, line) in enumerate(lines(data)):
        match = _LINE.fullmatch(line)
        name = match[1].replace("\\", "/").rpartition("/")[2] if match else ""
        if match and "." in name and not line.lstrip().startswith("#"):
            yield number, name.lower(), match[2]
        elif place >= _HEADER_LINES and not line.lstrip().startswith("#"):
            reject(f"{about} line {number}", "bad-field-count", line[:80])


def _image_folder(files: Listing, top: str, subject: str, trial: str) -> str:
    wanted = f"{top}Images/{subject}/{trial}"
    pattern = wanted.lower()
    return next((path for path in files.tree() if path.lower() == pattern), wanted)
