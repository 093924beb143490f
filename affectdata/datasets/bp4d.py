"""BP4D-Spontaneous: 41 people, eight tasks, AU occurrence and intensity on a coded segment of each sequence.

Get it: sign the licence of Binghamton University; or the FERA 2015 package, which has the coded frames only. Unpack AU
files and pictures into one folder (zips of pictures may stay as they are). Datasets page bp4d.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from affectdata.datasets.bp4d_pictures import Places, counted_from_zero, places
from affectdata.datasets.bp4d_sequences import Reading, Release, Roles, scored
from affectdata.datasets.bp4d_tree import LAST_TASK, Tree, is_chosen, tree
from affectdata.datasets.card import Card, Labelling, Option, ProtocolCard, Published
from affectdata.datasets.reading import Block, Distribution, Folder, Reject
from manifests.errors import DatasetError

RELEASE = Release(
    "bp4d",
    LAST_TASK,
    (1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 22, 23, 24, 27, 28, 30, 32, 38, 39),
    short_only=False,
    gender=True,
)
"""The 27 AUs [unverified as a list]: a wide column beside them that holds codes is refused, not read."""

PARTS = tuple(
    frozenset(part.split())
    for part in (
        "F001 F002 F008 F009 F010 F016 F018 F023 M001 M004 M007 M008 M012 M014",
        "F003 F005 F011 F013 F020 F022 M002 M005 M010 M011 M013 M016 M017 M018",
        "F004 F006 F007 F012 F014 F015 F017 F019 F021 M003 M006 M009 M015",
    )
)
"""The three parts of the literature, the same in ME-GraphAU, JAANet and AUNets [verified 3]."""

_FULL, _FERA = "full release", "FERA 2015 package"
_KEYS = ("subject", "sequence", "group")
OFFSET = Option(
    "frame-offset",
    "number of a picture minus the AU frame that it shows; which is right where pictures count from 0 is not settled: "
    "0 (FERA-derived code) or -1 (the f-th picture, as BP4D+ loaders have it)",
    "0",
    ("0", "-1"),
)

CARD = Card(
    name="bp4d",
    title="BP4D-Spontaneous (Binghamton-Pittsburgh 4D)",
    about="2D and 3D sequences of 41 people in eight tasks; 146,847 coded frames [one source] with the occurrence of "
    "27 AUs and the intensity of five (6 10 12 14 17); pictures of 1040 x 1392. Tasks: T1 happiness, T2 sadness, "
    "T3 surprise, T4 embarrassment, T5 fear, T6 pain, T7 anger, T8 disgust [one source]",
    tasks=("au", "au_intensity"),
    labellings=(
        Labelling("human", unit={"au": "frame", "au_intensity": "frame"},
                  rule="occurrence (0, 1) and, for AUs 6 10 12 14 17, intensity 0-5, coded frame by frame on a "
                  "segment of each sequence (provenance: manual); AUs 25 and 26 are unusable, left out [verified 2]"),
    ),
    protocols=(
        ProtocolCard("fera2015", ("human",), _KEYS,
                     "FERA 2015 [verified 3]: odd numbers train, even numbers are its development set (here val); its "
                     "test people are not released", metrics=("au_f1[fera2015_11]",)),
        ProtocolCard("3fold", ("human",), _KEYS,
                     "three parts of the literature, not official [verified 3]; fold 0 scores part 1 (F001 F002 "
                     "F008 ...), fold 1 part 2, fold 2 part 3; others count otherwise: ME-GraphAU's fold 1 scores part "
                     "3, its fold 2 part 2, its fold 3 part 1", metrics=("au_f1[bp4d12]",)),
    ),
    published=(Published("", {"": 146_847}, sure="one source", variants=(_FERA,)),),
    licence="academic research licence of Binghamton University; no redistribution",
    citation="Zhang et al., BP4D-Spontaneous, Image and Vision Computing 32, 2014, 692-706, and FG 2013; Valstar et "
    "al., FERA 2015",
    homepage="by the Binghamton University group; no address is recorded",
    access=(
        "sign the licence agreement with Binghamton University (a fee for the drive may apply)",
        "put AUCoding and the pictures into one folder; unpack .rar archives",
    ),
    looked_for=("AU_OCC/F001_T1.csv", "AUCoding/F001_T1.csv (FERA 2015)"),
    tree="""AUCoding/AU_OCC/F001_T1.csv
AUCoding/AU_INT/AU06/F001_T1_AU06.csv
Sequences(2D+3D)/F001/T1/0000.jpg or Sequences(2D+3D)/F001.zip
or FERA 2015: AUCoding/F001_T1.csv, AU06/F001_T1_AU06.csv,
BP4D-training/F001/T1/2440.jpg""",
    subject_key="first part of paths and names: F001-F023, M001-M018",
    group_key="bp4d:F001; the codes of BP4D+ name other people",
    sentinels={"occurrence and intensity files": "9"},
    options=(OFFSET, Option("release", "say so where nothing in the tree tells BP4D from BP4D+", choices=("bp4d",))),
    unverified=("the list of 27 coded AUs", "columns that are not coded hold 9 throughout",
                "which picture an AU frame is where pictures count from 0: see --frame-offset",
                "content and base of the 49 2D points (.mat), which are not read", "name of the folder of sequences"),
    revision=4,
)  # fmt: skip


def find(folder: Folder) -> Distribution | None:
    """AU_OCC of the full release, or AUCoding of the FERA package; never the tree of BP4D+."""
    found = tree(folder)
    if found is None or not is_chosen(folder, found, CARD.name):
        return None
    fera = found.occurrence.rpartition("/")[2].lower() == "aucoding"
    return distribution(folder, found, RELEASE, _FERA if fera else _FULL)


def read(distribution: Distribution, reject: Reject) -> Iterator[Block]:
    """A Block per sequence."""
    yield from blocks(distribution, RELEASE, reject, _roles)


def distribution(folder: Folder, found: Tree, release: Release, variant: str, *more: str) -> Distribution:
    """What both datasets say of a tree.

    Raises:
        DatasetError: AU files without any picture.
    """
    where = places(folder.files, release.last_task)
    if not where.folders:
        raise DatasetError(
            f"AU files of {release.name} without pictures in {folder.root}",
            found=f"{found.occurrence}, and {', '.join(where.unread[:2]) or 'no folder like F001/T1 with pictures'}",
            expected="F001/T1/0000.jpg, or F001.zip that holds them",
            then="unpack .rar archives; name a folder that holds both AUCoding and the pictures",
        )
    warnings = (*_warnings(folder, found, where), *more)
    return Distribution(folder, variant, found.annotations(folder.files), warnings=warnings)


def blocks(distribution: Distribution, release: Release, reject: Reject, roles: Roles) -> Iterator[Block]:
    """Every Block of a tree that `find` has recognised."""
    folder, found = distribution.folder, tree(distribution.folder)
    reading = Reading(folder, release, int(folder.options["frame-offset"]), reject)
    if found is not None:
        yield from reading.blocks(found, places(folder.files, release.last_task), roles)


def _warnings(folder: Folder, found: Tree, where: Places) -> Iterator[str]:
    if not found.intensity:
        yield "no AU_INT/AUxx folders: intensities stay unknown"
    from_zero, offset = counted_from_zero(folder.files, where), folder.options["frame-offset"]
    if from_zero:
        yield (
            f"{len(from_zero)} of {len(where.folders)} picture folders count from 0, such as "
            f"{from_zero[0]}: AU frame f was taken as picture f{offset if offset != '0' else ''}; which is right is "
            "not settled, so look at some frames, and choose --frame-offset 0 or --frame-offset -1"
        )
    if where.unread:
        yield f"{len(where.unread)} .rar archives such as {where.unread[0]} are not read: unpack them"
    points = [f for f in folder.files.tree() if f.rpartition("/")[2].lower() in ("2dfeatures", "bp4d-fpoints")]
    for path in points:
        yield f"{path} is not read: field names, base and frame numbers of its .mat files are not known for sure"


def _roles(subject: str, ids: pa.Array, coded: NDArray[np.bool_]) -> Mapping[str, pa.Array | pa.Table]:
    odd = int(subject[1:]) % 2 == 1
    told = {"fera2015": scored(ids, coded, "train" if odd else "val", None)}
    fold = next((number for number, part in enumerate(PARTS) if subject in part), None)
    return told if fold is None else told | {"3fold": scored(ids, coded, "test", fold)}
