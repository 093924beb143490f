"""Twin of GFT: a CSV per participant and coding kind. The true layout is not known: this is the dataset page's guess.

    occurrence/001A.csv   frame,AU1,AU2,...        (named: 001A_occ.csv and 001A_int.csv in one folder, AU01 ...)
    intensity/001A.csv    frame,AU1,AU12
    videos/001A.avi       not read unless `--video-start` is given

Quirks (datasets/gft.md 3, 7): 9, -999, NaN and empty cells, frames that cannot be scored, a code that is none, a frame
beyond 1800, a frame listed again, a table whose name holds no participant. Header styles: `AU1`, `AU01`, and AU numbers
alone. Variant `scored` has videos and a list of the participants that score.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from affectdata.synthetic.face import draw_identity, draw_parameters, render
from affectdata.synthetic.files import write_lines, write_video
from affectdata.synthetic.truth import LabelTruth, RejectTruth, RoleTruth, SampleTruth, Truth

DATASET = "gft"
VARIANTS = ("folders", "named", "numbers", "scored")
OCCURRENCE = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 23, 24)
INTENSITY = (6, 10, 12)
SEATS = "ABC"
MISSING = ("9", "-999", "", "NaN")
SIDE = 48


def write(root: Path, *, samples: int, seed: int, variant: str = VARIANTS[0]) -> Truth:
    """Write two groups of three; `samples` frames are shared out among them."""
    rng = np.random.default_rng(seed)
    people = [f"{group:03d}{seat}" for group in (1, 2) for seat in SEATS]
    count = -(-samples // len(people))
    found: list[SampleTruth] = []
    refused: list[RejectTruth] = []
    for person in people:
        found_, refused_ = _write_person(root, rng, variant, person, count, first=person == people[0])
        found += found_
        refused += refused_
    folder = "frame_level" if variant == "named" else "occurrence"
    write_lines(root / folder / "notes.csv", ["who,what", "me,nothing"])
    refused.append(RejectTruth(f"{folder}/notes.csv", "bad-name"))
    if variant != "scored":
        return Truth(DATASET, variant, tuple(found), tuple(refused))
    write_lines(root / "test.txt", [f"002{seat}" for seat in SEATS])
    roles = {RoleTruth(s.key, "test" if s.key.startswith("002") else "train") for s in found}
    options = {"test-subjects": str(root / "test.txt"), "video-start": "2"}
    return Truth(
        DATASET, variant, tuple(found), tuple(refused), protocols={"subjects": frozenset(roles)}, options=options
    )


def _write_person(
    root: Path, rng: np.random.Generator, variant: str, person: str, count: int, *, first: bool
) -> tuple[list[SampleTruth], list[RejectTruth]]:
    identity = draw_identity(rng)
    faces = [render(draw_parameters(rng, identity=identity), SIDE) for _ in range(2)]
    acted = [faces[int(n)] for n in rng.integers(0, 2, count)]
    occurrence = [[int(au in face.acting.present) for au in OCCURRENCE] for face in acted]
    intensity = [[round(face.acting.intensity(au)) for au in INTENSITY] for face in acted]
    gaps = {(n, n % len(OCCURRENCE)): MISSING[n % len(MISSING)] for n in range(1, count)}
    # The second frame of everybody cannot be scored: their head is out of view.
    gaps |= {(1, place): "9" for place in range(len(OCCURRENCE))}
    occ = _lines(variant, OCCURRENCE, occurrence, gaps)
    ints = _lines(variant, INTENSITY, intensity, {(1, place): "-999" for place in range(len(INTENSITY))})
    names = {"named": ("frame_level/{}_occ.csv", "frame_level/{}_int.csv")}.get(
        variant, ("occurrence/{}.csv", "intensity/{}.csv")
    )
    path, other = (name.format(person) for name in names)
    refused = []
    if first:
        bad = ",".join(["1801", *["0"] * len(OCCURRENCE)])
        occ += [occ[1], bad]
        refused = [RejectTruth(path, "duplicate-key", count), RejectTruth(path, "out-of-range", count + 1)]
        cells = occ[3].split(",")
        occ[3] = ",".join([*cells[:-1], "3"])
        gaps[2, len(OCCURRENCE) - 1] = "3"
        refused.append(RejectTruth(path, "unknown-code", 2))
    write_lines(root / path, occ, end="\r\n" if variant == "named" else "\n", final=variant != "numbers")
    write_lines(root / other, ints)
    video = f"videos/{person}.avi" if variant == "scored" else None
    if video:
        write_video(root / video, [face.image for face in (acted[0], acted[0], *acted)], SIDE, rate=30)
    samples = []
    for n in range(count):
        aus = {au: occurrence[n][k] for k, au in enumerate(OCCURRENCE) if (n, k) not in gaps}
        strong = {} if n == 1 else {au: float(intensity[n][k]) for k, au in enumerate(INTENSITY)}
        labels = (LabelTruth("human", aus=aus, au_intensities=strong),) if aus or strong else ()
        samples.append(
            SampleTruth(
                f"{person}/{n + 1:04d}", video, frame=n + 2 if video else None, subject=person, sequence=person,
                frame_index=n + 1, group=f"gft:{person[:3]}", labels=labels,
            )
        )  # fmt: skip
    return samples, refused


def _lines(variant: str, aus: tuple[int, ...], codes: list[list[int]], gaps: dict[tuple[int, int], str]) -> list[str]:
    style = {"named": "AU{:02d}", "numbers": "{}"}.get(variant, "AU{}")
    header = ["0" if variant == "numbers" else "frame", *(style.format(au) for au in aus)]
    rows = [
        [str(n + 1), *(gaps.get((n, place), str(code)) for place, code in enumerate(row))]
        for n, row in enumerate(codes)
    ]
    return [",".join(row) for row in (header, *rows)]
