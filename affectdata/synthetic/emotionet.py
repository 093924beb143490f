"""Twin of EmotioNet: URL tables in each form they were handed out, and downloaded pictures as users keep them.

    emotioNet_challenge_files_server_challenge_1.2_aws/dataFile_0001.txt      automatic
    emotioNet_challenge_files_server_challenge_1.2_aws/dataFile_1000.txt      manual
    EmotioNet_FACS_aws_2020_24600.xlsx | .csv, EmotioNet_FACS.csv             manual
    Images/N_0000000001/N_0000000001_00003.jpg                                (flat in `csv` and `older`)

Quirks (datasets/emotionet.md 2, 7): apostrophes in header and URLs, an original URL with a blank, 999 outside the
coded AUs, an empty last line, a dead URL, a row with a field too many, a URL that names no picture, a code that is
none, a row that is listed again, a picture of the optimisation set that is listed for training too, a row without a
known AU, a truncated picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from affectdata.synthetic.actions import DRAWN_AUS
from affectdata.synthetic.emotionet_workbook import write_workbook
from affectdata.synthetic.face import draw_parameters, render
from affectdata.synthetic.files import write_lines, write_picture
from affectdata.synthetic.truth import LabelTruth, RejectTruth, RoleTruth, SampleTruth, Truth

DATASET = "emotionet"
VARIANTS = ("shards", "workbook", "csv", "sheets", "older")
AUS_2018 = (1, 2, 4, 5, 6, 9, 12, 17, 20, 25, 26, 43)
AUS_2020 = (1, 2, 4, 5, 6, 9, 10, 12, 15, 17, 18, 20, 24, 25, 26, 28, 43, 51, 52, 53, 54, 55, 56)
SERVER = "https://s3.us-east-2.amazonaws.com/emotionet/Images"
OLD_SERVER = "http://cbcsnas01.ece.ohio-state.edu/EmotioNet/Images"
FOLDER = "emotioNet_challenge_files_server_challenge_1.2_aws"
UNKNOWN = 999
SIDE = 56
PER_SHARD = 12

QUIRKS = ("", "missing", "odd-code", "unknown", "truncated", "repeated", "long", "bad-name")
"""Quirk of the first manual rows, in order; the others have none."""


@dataclass(frozen=True)
class _Row:
    """One line of a table: the picture it names, its 60 codes, and what is wrong with it."""

    stem: str
    path: str
    codes: tuple[int, ...]
    quirk: str = ""

    @property
    def known(self) -> dict[int, int]:
        return {au: code for au, code in enumerate(self.codes, start=1) if code in (0, 1)}

    def cells(self, server: str, quote: str, urls: int = 2) -> list[str | int | None]:
        """URL, original URL (where there are two), codes; `quote` stands after each URL."""
        end = "gif" if self.quirk == "bad-name" else "jpg"
        url = f"{server}/{self.stem[:12]}/{self.stem}.{end}{quote}"
        original = f"http://example.org/a photo/{self.stem[-5:]}.jpg{quote}"
        return [*(url, original)[:urls], *self.codes, *([0] if self.quirk == "long" else [])]


def write(root: Path, *, samples: int, seed: int, variant: str = VARIANTS[0]) -> Truth:
    """Write tables and pictures under `root`; where there are automatic shards, they hold about half of the rows."""
    rng = np.random.default_rng(seed)
    mixed = variant in ("shards", "workbook")
    aus = AUS_2020 if variant in ("workbook", "csv") else AUS_2018
    count = samples // 2 if mixed else samples
    manual = [_drawn(rng, root, variant, n, aus, QUIRKS[n] if n < len(QUIRKS) else "") for n in range(count)]
    manual.insert(count // 2, next(row for row in manual if row.quirk == "repeated"))
    tables = _write_manual(root, variant, manual)
    auto: list[_Row] = []
    if mixed:
        quirks = {0: "missing", 1: "long"}
        auto = [_drawn(rng, root, variant, 900 + n, AUS_2018, quirks.get(n, "")) for n in range(samples - count)]
        # A picture of the optimisation set is listed for training too, and coded otherwise by the machine.
        last = manual[-1]
        auto.append(_Row(last.stem, last.path, tuple(1 - c if c < 2 else c for c in last.codes), "leak"))
        tables |= _write_shards(root, 1, auto)
    refused = [reject for name, rows in tables.items() for reject in _rejects(name, rows)]
    return _truth(variant, manual, auto, tuple(refused))


def _drawn(rng: np.random.Generator, root: Path, variant: str, index: int, aus: tuple[int, ...], quirk: str) -> _Row:
    """Paint one picture and code its AUs; an AU that is never painted is absent, and sometimes unknown."""
    stem = f"N_{index // 9 + 1:010d}_{index % 9 * 3 + 1:05d}"
    folder = {"csv": "", "older": "", "sheets": f"optimization_set/{stem[:12]}/"}.get(variant, f"Images/{stem[:12]}/")
    face = render(draw_parameters(rng), SIDE)
    codes = [UNKNOWN] * 60
    for au in aus:
        # In the real table only AUs beyond the twelve of 2018 are ever unknown.
        unknown = quirk == "unknown" or (au not in AUS_2018 and rng.random() < 0.3)
        codes[au - 1] = UNKNOWN if unknown else int(au in DRAWN_AUS and au in face.acting.present)
    if quirk == "odd-code":
        codes[11] = 9
    row = _Row(stem, f"{folder}{stem}.jpg", tuple(codes), quirk)
    if quirk != "missing":
        write_picture(root / row.path, face.image, truncated=quirk == "truncated")
    return row


def _write_manual(root: Path, variant: str, rows: list[_Row]) -> dict[str, list[_Row]]:
    """Write the manual table; returns its name (or those of its sheets or shards) -> rows."""
    header = ["URL", "URL orig", *(f"'AU {au}'" for au in range(1, 61))]
    if variant == "shards":
        return _write_shards(root, 1000, rows)
    if variant in ("workbook", "sheets"):
        name = "EmotioNet_FACS_aws_2020_24600.xlsx" if variant == "workbook" else "EmotioNet_FACS_aws.xlsx"
        half = len(rows) if variant == "workbook" else len(rows) // 2
        parts = {"Sheet1": rows[:half], "Sheet2": rows[half:]}
        cells = {tab: [row.cells(SERVER, "'") for row in part] for tab, part in parts.items()}
        write_workbook(root / name, {tab: [header, *lines] if lines else [] for tab, lines in cells.items()})
        return {f"{name} sheet {tab}": part for tab, part in parts.items()}
    if variant == "csv":
        name, lines = "EmotioNet_FACS_aws_2020_24600.csv", [row.cells(SERVER, "'") for row in rows]
    else:
        name, lines = "EmotioNet_FACS.csv", [row.cells(f"'{OLD_SERVER}", "'", 1) for row in rows]
        header = ["image", *(f"label {au}" for au in range(1, 61))]
    write_lines(root / name, [",".join(header), *(",".join(map(str, cells)) for cells in lines)])
    return {name: rows}


def _write_shards(root: Path, first: int, rows: list[_Row]) -> dict[str, list[_Row]]:
    parts = {}
    for number, start in enumerate(range(0, len(rows), PER_SHARD), start=first):
        part = rows[start : start + PER_SHARD]
        name = f"{FOLDER}/dataFile_{number:04d}.txt"
        write_lines(root / name, [*("\t".join(map(str, row.cells(SERVER, ""))) for row in part), ""])
        parts[name] = part
    return parts


def _rejects(name: str, rows: list[_Row]) -> list[RejectTruth]:
    reasons = {"odd-code": "unknown-code", "long": "bad-field-count", "bad-name": "bad-name", "leak": "split-leak"}
    found = [RejectTruth(name, reasons[row.quirk], n) for n, row in enumerate(rows) if row.quirk in reasons]
    return found + [RejectTruth(row.path, "missing-image", n) for n, row in enumerate(rows) if row.quirk == "missing"]


def _truth(variant: str, manual: list[_Row], auto: list[_Row], refused: tuple[RejectTruth, ...]) -> Truth:
    by_machine = {row.stem: row for row in auto}
    gone = ("missing", "long", "bad-name")
    samples: list[SampleTruth] = []
    official, folds = set(), set()
    for rows, split, role in ((manual, "optimisation", "val"), (auto, "train", "train")):
        for place, row in enumerate(rows):
            if row.quirk in gone or row.quirk == "leak" or row.stem in {sample.key for sample in samples}:
                continue
            labels = [LabelTruth("human" if role == "val" else "auto", aus=row.known)]
            if role == "val" and row.stem in by_machine:
                labels.append(LabelTruth("auto", aus=by_machine[row.stem].known))
            known = tuple(label for label in labels if label.aus)
            readable = row.quirk != "truncated"
            samples.append(SampleTruth(row.stem, row.path, split=split, labels=known, readable=readable))
            official.add(RoleTruth(row.stem, role))
            if role == "val":
                folds.add(RoleTruth(row.stem, "test", fold=_folds(len(manual))[place]))
    again = [RejectTruth(row.path, "duplicate-key") for row in manual if row.quirk == "repeated"][1:]
    protocols = {"official": frozenset(official)}
    if variant in ("workbook", "csv", "older"):
        protocols["kfold3"] = frozenset(folds)
    options = {"first-au": "2"} if variant == "older" else {}
    return Truth(DATASET, variant, tuple(samples), (*refused, *again), protocols=protocols, options=options)


@cache
def _folds(count: int) -> dict[int, int]:
    """Row -> fold: scikit-learn's KFold(3, shuffle=True, random_state=42) cuts this permutation into three."""
    parts = np.array_split(np.random.RandomState(42).permutation(count), 3)
    return {row: fold for fold, rows in enumerate(parts) for row in rows.tolist()}
