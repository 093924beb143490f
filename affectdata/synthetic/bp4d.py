"""Twin of BP4D: the full release, the same with zips of pictures, and the FERA 2015 package.

    <root>/AUCoding/AU_OCC/F001_T1.csv                 100 columns, header 0,1,...,99; M009's file is short instead
    <root>/AUCoding/AU_INT/AU06/F001_T1_AU06.csv       no header
    <root>/Sequences(2D+3D)/F001/T1/0000.jpg           or F001.zip; M009 and M018 are padded otherwise
    <root>/BP4D-training/F001/T1/0002.jpg              FERA: coded frames only, occurrence directly in AUCoding

Quirks (datasets/bp4d.md 7): pictures from 0, uncoded pictures, a coded frame without picture, codes 5 and 7, 9 for
unknown, an intensity file that is one line short, a line that is there twice, codes in a column that is not coded, a
truncated picture, a file that is no sequence, CRLF.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from affectdata.synthetic.bp4d_sequences import Scene, Writer
from affectdata.synthetic.files import write_lines
from affectdata.synthetic.truth import RejectTruth, RoleTruth, Truth

DATASET = "bp4d"
VARIANTS = ("full", "zips", "fera")

AUS = (1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 22, 23, 24, 27, 28, 30, 32, 38, 39)
FOLD = {"F001": 0, "F003": 1, "M009": 2, "M018": 1}
"""Part of the literature's three, counted from 0 (datasets/bp4d.md 4)."""


def write(root: Path, *, samples: int, seed: int, variant: str = VARIANTS[0]) -> Truth:
    """Write the tree under `root`: four sequences with a quarter of the frames each."""
    fera = variant == "fera"
    writer = Writer(root, np.random.default_rng(seed), DATASET, AUS, gender=True)
    if fera:
        writer.occurrence, writer.intensity = "AUCoding", "AU_INT"
    count = -(-samples // 4)
    for scene in _scenes(count, fera):
        writer.write(scene, "BP4D-training" if fera else "Sequences(2D+3D)", zipped=variant == "zips")
    write_lines(root / writer.occurrence / "coder2_T1.csv", ["0,1"])
    # The tree is known by its sequences, so a file of another name is only refused.
    writer.rejects.append(RejectTruth(f"{writer.occurrence}/coder2_T1.csv", "bad-name"))
    labelled = [sample for sample in writer.samples if sample.labels]
    fera_rows = (RoleTruth(s.key, "train" if int(s.key[1:4]) % 2 else "val") for s in labelled)
    protocols = {
        "fera2015": frozenset(fera_rows),
        "3fold": frozenset(RoleTruth(s.key, "test", fold=FOLD[s.key[:4]]) for s in labelled),
    }
    return Truth(DATASET, variant, tuple(writer.samples), tuple(writer.rejects), protocols=protocols)


def _scenes(count: int, fera: bool) -> list[Scene]:
    first, second = range(2, count + 2), range(721, 721 + count)
    third, fourth = range(1, count + 1), range(5, count + 5)
    return [
        Scene("F001", 1, first, first if fera else range(0, count + 3), quirks=("truncated", "crlf")),
        Scene("F003", 2, second, second[:-1], quirks=("stray",)),
        Scene("M009", 5, third, third, digits=3, wide=False, quirks=("code",)),
        Scene("M018", 8, fourth, fourth, digits=1, quirks=("short",)),
    ]
