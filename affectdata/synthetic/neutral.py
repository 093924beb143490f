"""The dataset `synthetic`: a set of our own that is labelled for every task it can show.

    <root>/annotations.csv
    <root>/images/<subject>/<nnn>.png             160 x 160 RGB
    <root>/landmarks/<subject>/<nnn>.pts          iBUG 68 points, 1-based pixels; an absent file is unknown

`annotations.csv` has the header `image,subject,split,expression,valence,arousal,AU1,...,AU26,AU1_intensity,...,
AU26_intensity` over the 17 AUs of `fbn17`. `image` is relative to `images/`; `subject` is s001, s002, ...;
`split` is train, val or test, and a subject lies in one split only; `expression` is an index into
`vocabulary.EXPRESSIONS`. Unknown is -1 for expression and AU, -5 for valence and arousal, 9 for an intensity.

Every tenth row misses one group of labels (quirks of a real set): valence-arousal, AUs, intensities, expression
or landmarks in turn. The last three rows are broken: a truncated picture, a picture that is missing, and a row
without any label. The seventeen AUs are acted through Du et al. 2014 and valence-arousal follows a synthetic rule
(`affectdata.synthetic.actions`). Protocol `official`: the three splits, exclusive by subject.

The variant `dim` is a second visual domain: other people, d001, d002, ..., built and acted by the same rules, in other
light and poses and by another camera (`affectdata.synthetic.scene`).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from affectdata.synthetic.actions import BASIC, DRAWN_AUS
from affectdata.synthetic.face import Face, draw_identity, draw_parameters, render
from affectdata.synthetic.files import write_lines, write_picture
from affectdata.synthetic.scene import DIM, PLAIN
from affectdata.synthetic.truth import LabelTruth, RejectTruth, SampleTruth, Truth, label_of
from manifests.vocabulary import EXPRESSIONS

DATASET = "synthetic"
DOMAINS = {"neutral": PLAIN, "dim": DIM}
VARIANTS = tuple(DOMAINS)
SUBJECTS = {"neutral": "s", "dim": "d"}
"""Variant -> what the names of its people begin with."""

HEADER = (
    *("image", "subject", "split", "expression", "valence", "arousal"),
    *(f"AU{au}" for au in DRAWN_AUS),
    *(f"AU{au}_intensity" for au in DRAWN_AUS),
)
UNKNOWN_CODE, UNKNOWN_AFFECT, UNKNOWN_INTENSITY = "-1", "-5", "9"
GAPS = ("va", "au", "au_intensity", "expression", "landmarks")
"""Label groups that every tenth row misses, in turn."""

IMAGES_PER_SUBJECT = 8
SPLITS = ("train", "val", "test", "train", "train")
"""Split of subject n is SPLITS[n % 5]."""


def write(root: Path, *, samples: int, seed: int, variant: str = VARIANTS[0]) -> Truth:
    """Write the set under `root`: `samples` pictures, of which the last three are the broken ones.

    Variants draw other people and name them otherwise, with equal seeds too.
    """
    number = VARIANTS.index(variant)
    rng = np.random.default_rng([seed, number] if number else seed)
    people = [draw_identity(rng) for _ in range(max(3, -(-samples // IMAGES_PER_SUBJECT)))]
    categories = rng.permutation(np.arange(samples) % len(BASIC))
    rows, found, rejects = [",".join(HEADER)], [], []
    for index in range(samples):
        person = index % len(people)
        face = render(draw_parameters(rng, BASIC[categories[index]], people[person], DOMAINS[variant]))
        quirk = {samples - 3: "truncated", samples - 2: "missing", samples - 1: "unlabelled"}.get(index, "")
        subject = f"{SUBJECTS[variant]}{person + 1:03d}"
        sample = _truth(face, index, (subject, SPLITS[person % len(SPLITS)]), index // len(people), quirk)
        label = sample.label("human")
        path = f"images/{sample.key}.png"
        if quirk != "missing":
            write_picture(root / path, face.image, truncated=quirk == "truncated")
        if label is not None and label.landmarks is not None:
            write_lines(root / "landmarks" / f"{sample.key}.pts", pts_lines(label.landmarks))
        rows.append(",".join([f"{sample.key}.png", str(sample.subject), str(sample.split), *_cells(label)]))
        if quirk == "missing":
            rejects.append(RejectTruth(path, "missing-image", index))
        else:
            found.append(sample)
    write_lines(root / "annotations.csv", rows)
    return Truth(DATASET, variant, tuple(found), tuple(rejects))


def _truth(face: Face, index: int, person: tuple[str, str], number: int, quirk: str) -> SampleTruth:
    subject, split = person
    key = f"{subject}/{number + 1:03d}"
    labels = () if quirk == "unlabelled" else (_with_gap(label_of(face), index),)
    return SampleTruth(
        key=key,
        path=f"images/{key}.png",
        split=split,
        subject=subject,
        labels=labels,
        readable=quirk != "truncated",
    )


def _with_gap(label: LabelTruth, index: int) -> LabelTruth:
    """The label as the file holds it: affect rounded to four decimals, and every tenth one with a gap."""
    label = replace(label, valence=round(label.valence or 0.0, 4), arousal=round(label.arousal or 0.0, 4))
    if index % 10 != 9:
        return label
    match GAPS[index // 10 % len(GAPS)]:
        case "va":
            return replace(label, valence=None, arousal=None)
        case "au":
            return replace(label, aus={})
        case "au_intensity":
            return replace(label, au_intensities={})
        case "expression":
            return replace(label, expression=None)
        case _:
            return replace(label, landmarks=None)


def _cells(label: LabelTruth | None) -> list[str]:
    """The label cells of one row, unknown ones as their sentinel."""
    label = label or LabelTruth("human")
    affect = [UNKNOWN_AFFECT if value is None else f"{value:g}" for value in (label.valence, label.arousal)]
    return [
        UNKNOWN_CODE if label.expression is None else str(EXPRESSIONS.index(label.expression)),
        *affect,
        *(str(label.aus.get(au, UNKNOWN_CODE)) for au in DRAWN_AUS),
        *(f"{label.au_intensities[au]:g}" if label.au_intensities else UNKNOWN_INTENSITY for au in DRAWN_AUS),
    ]


def pts_lines(landmarks: NDArray[np.float32]) -> list[str]:
    """An iBUG `.pts` file of 68 points: 1-based pixels, three decimals."""
    points = [f"{x + 1:.3f} {y + 1:.3f}" for x, y in landmarks.tolist()]
    return ["version: 1", f"n_points: {len(points)}", "{", *points, "}"]
