"""BP4D+ (MMSE): 140 people, ten tasks, AU occurrence and intensity on four of them.

Get it: sign the licence of Binghamton University. The zips of pictures may stay as they are. Datasets page
bp4dplus.md; what it shares with BP4D is read by the same rules.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from affectdata.datasets.bp4d import OFFSET, blocks, distribution
from affectdata.datasets.bp4d_sequences import Release, scored
from affectdata.datasets.bp4d_tree import is_chosen, tree
from affectdata.datasets.card import Card, Labelling, Option, ProtocolCard
from affectdata.datasets.reading import Block, Distribution, Folder, Reject
from manifests.errors import DatasetError

RELEASE = Release(
    "bp4dplus",
    10,
    (1, 2, 4, 5, 6, 7, 9, *range(10, 21), 22, 23, 24, *range(27, 40)),
    short_only=True,
    gender=False,
)
"""The 34 AUs in the order of their columns [verified 2]."""

_SUBJECT = re.compile(r"(?i)^[FM][0-9]{3}")
_FEMALE = (3, 4, 5, 6, 9, 17, 22, 28, 29, 31, 32, 33, 38, 44, 47, 48, 52, 53, 55, 61, 63, 67, 68, 74, 75, 76, 81)
_MALE = (3, 5, 6, 9, 12, 19, 25, 26, 28, 31, 36, 37, 40, 46, 47, 49, 51, 54, 56)
BIGSMALL_TEST_1 = frozenset((*(f"F{n:03d}" for n in _FEMALE), *(f"M{n:03d}" for n in _MALE)))
"""Test people of the first of BigSmall's three folds; the others are in files that the user can name."""

_KEYS = ("subject", "sequence", "group")

CARD = Card(
    name="bp4dplus",
    title="BP4D+ (Multimodal Spontaneous Emotion database, MMSE)",
    about="140 people in ten tasks, of which T1 T6 T7 T8 are coded: occurrence of 34 AUs and intensity of five (6 10 "
    "12 14 17); 197,875 coded frames [unverified]. Pictures of the other tasks become samples without labels",
    tasks=("au", "au_intensity"),
    labellings=(
        Labelling("human", unit={"au": "frame", "au_intensity": "frame"},
                  rule="occurrence (0, 1) and, for AUs 6 10 12 14 17, intensity 0-5, coded frame by frame (provenance: "
                  "manual); AUs 25 and 26 are not coded"),
    ),
    protocols=(
        ProtocolCard("bigsmall-1", ("human",), _KEYS,
                     "fold 1 of BigSmall's three over all 140 people, not official: 46 of them test, the others train",
                     metrics=("au_f1[bp4d12]",)),
        ProtocolCard("bigsmall", ("human",), _KEYS,
                     "BigSmall's three folds, from the Split{1,2,3}_Test_Subjects.csv that --bigsmall names; fold 1 "
                     "there is fold 0 here", metrics=("au_f1[bp4d12]",)),
    ),
    licence="academic licence of Binghamton University",
    citation="Zhang et al., Multimodal Spontaneous Emotion Corpus for Human Behavior Analysis, CVPR 2016",
    homepage="by the Binghamton University group; no address is recorded",
    access=(
        "sign the licence agreement with Binghamton University",
        "put AUCoding and 2D+3D (zips or unpacked) into one folder",
    ),
    looked_for=("AU_OCC/F001_T1.csv with people beyond F023 or M018, Thermal/, Physiology/ or files of 35 columns",),
    tree="""AUCoding/AU_OCC/F001_T1.csv
AUCoding/AU_INT/AU06/F001_T1_AU06.csv
2D+3D/F001.zip, or 2D+3D/F001/T1/000.jpg
Thermal/, Physiology/ ... (not read)""",
    subject_key="first part of paths and names: F001-F082, M001-M058",
    group_key="bp4dplus:F001; the codes of BP4D name other people [unverified], so they never merge",
    sentinels={"occurrence and intensity files": "9"},
    options=(
        OFFSET,
        Option("release", "say so where nothing in the tree tells BP4D from BP4D+", choices=("bp4dplus",)),
        Option("bigsmall", "folder with Split1_Test_Subjects.csv to Split3_Test_Subjects.csv", is_path=True),
    ),
    unverified=("197,875 coded frames", "that F001 here and F001 of BP4D are different people",
                "which picture an AU frame is where pictures count from 0: see --frame-offset",
                "that the AU file of F041_T7 is longer or shorter than its pictures [one source]: frames without a "
                "picture are refused",
                "content of the 2D points (.mat), which are not read"),
    revision=3,
)  # fmt: skip


def find(folder: Folder) -> Distribution | None:
    """AU_OCC of a tree that is not BP4D's."""
    found = tree(folder)
    if found is None or not is_chosen(folder, found, CARD.name):
        return None
    folds = _folds(folder)
    recognised = distribution(folder, found, RELEASE, "BP4D+", *_about_folds(folds))
    settings = "\n".join(f"{subject} {fold}" for subject, fold in sorted(folds.items()))
    return Distribution(folder, recognised.variant, recognised.annotations, warnings=recognised.warnings,
                        settings=settings)  # fmt: skip


def read(distribution: Distribution, reject: Reject) -> Iterator[Block]:
    """A Block per sequence."""
    folds = _folds(distribution.folder)

    def roles(subject: str, ids: pa.Array, coded: NDArray[np.bool_]) -> Mapping[str, pa.Array | pa.Table]:
        first = "test" if subject in BIGSMALL_TEST_1 else "train"
        told = {"bigsmall-1": scored(ids, coded, first, None)}
        return told | {"bigsmall": scored(ids, coded, "test", folds[subject])} if subject in folds else told

    yield from blocks(distribution, RELEASE, reject, roles)


def _folds(folder: Folder) -> dict[str, int]:
    """Subject -> fold in which it is tested, of the files that the user names."""
    # subjects
    # F003
    place = folder.options["bigsmall"]
    folds: dict[str, int] = {}
    for fold in range(3) if place else ():
        path = Path(place) / f"Split{fold + 1}_Test_Subjects.csv"
        try:
            names = path.read_text("utf-8-sig", "replace").replace(",", " ").split()
        except (OSError, ValueError) as error:
            raise DatasetError(
                f"--bigsmall {place}",
                found=str(error),
                expected="a folder with Split1_Test_Subjects.csv to Split3_Test_Subjects.csv",
                then="give the folder of the three files",
            ) from None
        subjects = [name[:4].upper() for name in names if _SUBJECT.match(name)]
        if not subjects:
            raise DatasetError(f"--bigsmall {place}", found=f"no subject in {path.name}",
                               expected="a column `subjects` with F003 ...", then="mend the file")  # fmt: skip
        for subject in subjects:
            if folds.setdefault(subject, fold) != fold:
                raise DatasetError(
                    f"{subject} is tested in two folds",
                    found=os.fspath(path),
                    expected="folds without a common subject",
                    then="mend the files of --bigsmall",
                )
    return folds


def _about_folds(folds: dict[str, int]) -> Iterator[str]:
    first = {subject for subject, fold in folds.items() if fold == 0}
    if folds and first != BIGSMALL_TEST_1:
        yield "Split1_Test_Subjects.csv is not the list that rPPG-Toolbox has for its first fold"
