"""Twin of BP4D+: zips of pictures as distributed, or unpacked.

    <root>/BP4D+_v0.2/AUCoding/AU_OCC/F001_T1.csv          35 columns, first header cell without meaning
    <root>/BP4D+_v0.2/AUCoding/AU_INT/AU06/F001_T1_AU06.csv
    <root>/BP4D+_v0.2/2D+3D/F001.zip                       members F001/T1/000.jpg, in any order
    <root>/BP4D+_v0.2/{Thermal,Physiology}/F001/...        not read

Quirks (datasets/bp4dplus.md 7): 3 and 4 digits, a task that is not coded, F041_T7 with more AU lines than pictures, a
line that is there twice (so that intensity files are shorter), codes 5 and 7, a name with task 11, a truncated picture.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from affectdata.synthetic.bp4d_sequences import Scene, Writer
from affectdata.synthetic.files import write_lines
from affectdata.synthetic.truth import RejectTruth, RoleTruth, Truth

DATASET = "bp4dplus"
VARIANTS = ("folders", "zips")

AUS = (
    *(1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 22, 23, 24, 27, 28, 29, 30, 31, 32, 33, 34, 35),
    *(36, 37, 38, 39),
)
TESTED = ("F003", "M031")
"""Those of the people here that the first fold of BigSmall tests."""

_TOP = "BP4D+_v0.2"


def write(root: Path, *, samples: int, seed: int, variant: str = VARIANTS[0]) -> Truth:
    """Write the tree under `root`: five sequences with a fifth of the frames each."""
    writer = Writer(root, np.random.default_rng(seed), DATASET, AUS, gender=False)
    writer.occurrence, writer.intensity = f"{_TOP}/AUCoding/AU_OCC", f"{_TOP}/AUCoding/AU_INT"
    for scene in _scenes(-(-samples // 5)):
        writer.write(scene, f"{_TOP}/2D+3D", zipped=variant == "zips")
    write_lines(root / writer.occurrence / "F042_T11.csv", ["1,1", "1,0"])
    writer.rejects.append(RejectTruth(f"{writer.occurrence}/F042_T11.csv", "bad-name"))
    write_lines(root / _TOP / "Physiology/F001/T1/BP_mmHg.txt", ["81.2", "81.4"])
    write_lines(root / _TOP / "Thermal/F001/T1.mv", ["not read"])
    rows = (RoleTruth(s.key, "test" if s.key[:4] in TESTED else "train") for s in writer.samples if s.labels)
    protocols = {"bigsmall-1": frozenset(rows)}
    return Truth(DATASET, variant, tuple(writer.samples), tuple(writer.rejects), protocols=protocols)


def _scenes(count: int) -> list[Scene]:
    frames = range(1, count + 1)
    return [
        Scene("F001", 1, range(145, 145 + count), range(145, 145 + count), wide=False, quirks=("truncated",)),
        Scene("F001", 6, frames, frames, digits=3, wide=False, quirks=("twice",)),
        Scene("F003", 9, range(0), frames, digits=3, wide=False),
        Scene("F041", 7, frames, frames[:-1], digits=3, wide=False),
        Scene("M031", 8, frames, range(0, count + 1), wide=False, quirks=("code",)),
    ]
