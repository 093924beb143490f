"""Twin of LSEMSW: the two forms in which a copy is read. It cannot test fidelity: the true layout is not known.

    train/Thinking/000001.jpg  val/...  test/...       (flat: the class folders alone)
    lsemsw.csv with columns image, mental_state, split; faces/000001.jpg

Quirks of our own: spellings of a class (Scared, Happiness, lower case), a folder that is no class, a note among the
pictures, a truncated picture; in the list a missing picture, a name that is no class, a repeated row, a picture without
a class and one without a split. Faces act basic expressions; what they show has nothing to do with the mental state.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from affectdata.synthetic.brush import Picture
from affectdata.synthetic.face import draw_parameters, render
from affectdata.synthetic.files import write_lines, write_picture
from affectdata.synthetic.truth import LabelTruth, RejectTruth, RoleTruth, SampleTruth, Truth

DATASET = "lsemsw"
VARIANTS = ("folders", "flat", "list")
STATES = ("Happy", "Anger", "Sad", "Fear", "Surprise", "Anxious", "Arrogant", "Thinking", "Helpless", "Suspicious",
          "Hesitant", "Questioning", "Indifferent")  # fmt: skip
SPELLINGS = {"Fear": "Scared", "Happy": "Happiness", "Sad": "sad"}
SPLITS = {"train": "train", "validation": "val", "test": "test"}
"""Folder of a split -> role, in the proportion 3:1:1 [unverified]."""

SIDE = 48


def write(root: Path, *, samples: int, seed: int, variant: str = VARIANTS[0]) -> Truth:
    """Write `samples` pictures, the thirteen states in turn."""
    rng = np.random.default_rng(seed)
    faces = [render(draw_parameters(rng), SIDE).image for _ in range(4)]
    # A few painted faces, each shifted, so that no two pictures are the same.
    pictures = [np.roll(faces[n % 4], n + 1, axis=1) for n in range(samples)]
    splits = [("train", "validation", "train", "test", "train")[n // len(STATES) % 5] for n in range(samples)]
    return (_write_list if variant == "list" else _write_folders)(root, pictures, splits, variant)


def _write_folders(root: Path, pictures: list[Picture], splits: list[str], variant: str) -> Truth:
    found, roles = [], set()
    for number, (picture, split) in enumerate(zip(pictures, splits, strict=True)):
        state = STATES[number % len(STATES)]
        folder = SPELLINGS.get(state, state)
        key = f"{folder}/{number + 1:06d}" if variant == "flat" else f"{split}/{folder}/{number + 1:06d}"
        write_picture(root / f"{key}.jpg", picture, truncated=number == 2)
        said = (LabelTruth("human", mental_state=state.lower()),)
        role = "all" if variant == "flat" else SPLITS[split]
        found.append(SampleTruth(key, f"{key}.jpg", split=role, labels=said, readable=number != 2))
        roles.add(RoleTruth(key, role))
    above = "" if variant == "flat" else "train/"
    for number in (1, 2):
        write_picture(root / f"{above}Bored/{number}.jpg", pictures[number])
    write_lines(root / f"{above}Thinking/notes.txt", ["not a picture"])
    refused = [RejectTruth(f"{above}Bored/{number}.jpg", "unknown-class-folder") for number in (1, 2)]
    refused.append(RejectTruth(f"{above}Thinking/notes.txt", "bad-name"))
    protocols = {} if variant == "flat" else {"split": frozenset(roles)}
    return Truth(DATASET, variant, tuple(found), tuple(refused), protocols=protocols)


def _write_list(root: Path, pictures: list[Picture], splits: list[str], variant: str) -> Truth:
    found, refused, roles = [], [], set()
    rows = ["image,mental_state,split"]
    for number, (picture, split) in enumerate(zip(pictures, splits, strict=True)):
        state = STATES[number % len(STATES)]
        key = f"faces/{number + 1:06d}"
        quirk = {1: "missing", 2: "truncated", 3: "Bored", 4: "", 5: "no split"}.get(number, "none")
        cell = quirk if quirk in ("Bored", "") else SPELLINGS.get(state, state)
        given = "" if quirk == "no split" else split
        rows.append(f"{key}.jpg,{cell},{given}")
        if quirk == "missing":
            refused.append(RejectTruth(f"{key}.jpg", "missing-image", number))
            continue
        if quirk == "Bored":
            refused.append(RejectTruth("lsemsw.csv", "unknown-code", number))
        write_picture(root / f"{key}.jpg", picture, truncated=quirk == "truncated")
        said = () if quirk in ("Bored", "") else (LabelTruth("human", mental_state=state.lower()),)
        found.append(SampleTruth(key, f"{key}.jpg", split=given or None, labels=said, readable=quirk != "truncated"))
        if given:
            roles.add(RoleTruth(key, SPLITS[given]))
    rows.append(rows[-1])
    refused.append(RejectTruth("lsemsw.csv", "duplicate-key", len(rows) - 2))
    write_lines(root / "lsemsw.csv", rows)
    return Truth(DATASET, variant, tuple(found), tuple(refused), protocols={"split": frozenset(roles)})
