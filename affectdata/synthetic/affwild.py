"""Twin of Aff-Wild (challenge release of 2017): raw videos, and one number a line per dimension.

    <root>/videos/{train,test}/<id>.avi
    <root>/annotations/train/{valence,arousal}/<id>.txt        no header
    <root>/bboxes/train/<id>/00001.pts                         not read

Quirks (datasets/affwild.md 7): files of a pair that differ in length, a line that is no number, a value outside
[-1, 1], a lone file, a video that is missing, test videos without labels, CRLF. Variants: `release`, `nested`
(the archive's own folder kept).
"""

from __future__ import annotations

from itertools import cycle, islice
from pathlib import Path

import numpy as np

from affectdata.synthetic.face import draw_parameters, render
from affectdata.synthetic.files import write_lines, write_video
from affectdata.synthetic.truth import LabelTruth, RejectTruth, RoleTruth, SampleTruth, Truth

DATASET = "affwild"
VARIANTS = ("release", "nested")
TRAIN, TEST = ("103", "105", "318", "420"), ("107", "211")


def write(root: Path, *, samples: int, seed: int, variant: str = VARIANTS[0]) -> Truth:
    """Write about `samples` labelled frames over four training videos, and two test videos."""
    rng = np.random.default_rng(seed)
    top = "" if variant == "release" else "aff_wild/"
    faces = [render(draw_parameters(rng, name), 64).image for name in ("happiness", "sadness")]
    count = max(6, -(-samples // (len(TRAIN) - 1)))
    found: list[SampleTruth] = []
    refused: list[RejectTruth] = []
    for video in TRAIN:
        values = np.round(rng.uniform(-1, 1, (count, 2)), 3)
        cells = [[f"{value:g}" for value in column] for column in values.T]
        labels: list[LabelTruth | None] = [LabelTruth("human", valence=float(v), arousal=float(a)) for v, a in values]
        paths = [f"{top}annotations/train/{side}/{video}.txt" for side in ("valence", "arousal")]
        if video == "103":
            cells[0][1], cells[1][2] = "1.25", "x"
            labels[1] = labels[2] = None
            refused += [RejectTruth(paths[0], "out-of-range", 1), RejectTruth(paths[1], "bad-number", 2)]
        if video == "105":
            cells[1].pop()
            labels.pop()
            refused.append(RejectTruth(paths[0], "length-mismatch"))
        for path, column in zip(paths, cells, strict=True):
            write_lines(root / path, column, end="\r\n" if video == "318" else "\n")
        media = f"{top}videos/train/{video}.avi"
        if video == "420":
            refused += [RejectTruth(media, "missing-video", row) for row in range(count)]
            continue
        write_video(root / media, islice(cycle(faces), count), 64)
        found += [_frame(video, media, number, label) for number, label in enumerate(labels, start=1)]
    write_lines(root / f"{top}annotations/train/valence/250.txt", ["0.1"])
    refused.append(RejectTruth(f"{top}annotations/train/valence/250.txt", "missing-annotation"))
    for video in TEST:
        media = f"{top}videos/test/{video}.avi"
        write_video(root / media, islice(cycle(faces), 2), 64)
        found.append(SampleTruth(f"test/{video}", media, split="test", sequence=video, group=f"affwild2:{video}"))
    write_lines(root / f"{top}bboxes/train/103/00001.pts", ["version: 1", "n_points: 4", "{", "}"])
    roles = frozenset(RoleTruth(sample.key, str(sample.split)) for sample in found)
    return Truth(DATASET, variant, tuple(found), tuple(refused), protocols={"official": roles})


def _frame(video: str, media: str, number: int, label: LabelTruth | None) -> SampleTruth:
    return SampleTruth(
        f"train/{video}/{number:05d}",
        media,
        frame=number - 1,
        split="train",
        sequence=video,
        frame_index=number,
        group=f"affwild2:{video}",
        labels=(label,) if label else (),
    )
