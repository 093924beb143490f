"""Twin of JAFFE: the Zenodo download, the older one, and a copy converted to JPEG.

    <root>/jaffe/KA.AN1.39.tiff ...       flat; the pictures of KM, and KA.AN1.39, are palette TIFFs
    <root>/README_FIRST.txt               beside the folder (`zenodo`), or in it as A_README_FIRST.txt (`older`)
    <root>/jaffe_images_small/KA.AN1.39.jpg      `converted`, without ratings

Quirks (datasets/jaffe.md 7): two formats of TIFF, rows of ratings without a picture, a mistyped id, a picture without
a rating, a row with two largest ratings, a second table of five scales, prose around both, CRLF (`older`), a picture
with another name, .DS_Store, one truncated picture. The ratings of `older` are a cleaned copy: numbered from 1,
without surplus rows.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from affectdata.synthetic.brush import Picture
from affectdata.synthetic.face import draw_parameters, render
from affectdata.synthetic.files import grey, write_lines, write_picture
from affectdata.synthetic.truth import Annotation, LabelTruth, RejectTruth, RoleTruth, SampleTruth, Truth

DATASET = "jaffe"
VARIANTS = ("zenodo", "older", "converted")

SUBJECTS = ("KA", "KL", "KM", "KR", "MK", "NA", "NM", "TM", "UY", "YM")
"""Leave-one-subject-out: fold n scores the n-th of them."""

POSES = {"NE": "neutral", "HA": "happiness", "SA": "sadness", "SU": "surprise", "AN": "anger", "DI": "disgust",
         "FE": "fear"}  # fmt: skip
SCALES = ("happiness", "sadness", "surprise", "anger", "disgust", "fear")
SIDE = 64
MISTYPED = "YN-HA2"
TIED = 4


@dataclass(frozen=True)
class _Picture:
    """One picture, its serial, and its six mean ratings; None where the table has no row of it."""

    subject: str
    pose: str
    take: int
    serial: int
    image: Picture
    means: tuple[float, ...] | None

    @property
    def stem(self) -> str:
        return f"{self.subject}.{self.pose}{self.take}.{self.serial}"

    @property
    def id(self) -> str:
        return f"{self.subject}-{self.pose}{self.take}"


def write(root: Path, *, samples: int, seed: int, variant: str = VARIANTS[0]) -> Truth:
    """Write `samples` pictures under `root`."""
    rng = np.random.default_rng(seed)
    pictures = _pictures(rng, samples, rated=variant != "converted")
    folder = "jaffe_images_small" if variant == "converted" else "jaffe"
    found = []
    for index, picture in enumerate(pictures):
        cut = index == 1
        path = f"{folder}/{picture.stem}.{'jpg' if variant == 'converted' else 'tiff'}"
        if variant == "converted":
            write_picture(root / path, picture.image, truncated=cut)
        else:
            palette = picture.subject == "KM" or picture.stem == "KA.AN1.39"
            data = palette_tiff(picture.image) if palette else big_endian_tiff(picture.image)
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(data[:6] if cut else data)
        found.append(_sample(picture, path, variant, readable=not cut))
    write_picture(root / folder / "contact.sheet.jpg", pictures[0].image)
    (root / folder / ".DS_Store").write_bytes(b"Bud1")
    rejects = [RejectTruth(f"{folder}/contact.sheet.jpg", "bad-name")]
    if variant == "zenodo":
        write_lines(root / "README_FIRST.txt", _readme(pictures, surplus=True))
        rejects += [RejectTruth("README_FIRST.txt", "rating-without-image")] * 2
        rejects += [RejectTruth("README_FIRST.txt", "id-mismatch"), RejectTruth("README_FIRST.txt", "out-of-range")]
    elif variant == "older":
        write_lines(root / folder / "A_README_FIRST.txt", _readme(pictures, surplus=False), end="\r\n")
    roles = frozenset(RoleTruth(s.key, "test", "all", SUBJECTS.index(str(s.subject))) for s in found)
    return Truth(DATASET, variant, tuple(found), tuple(rejects), protocols={"leave-one-subject-out": roles})


def _pictures(rng: np.random.Generator, count: int, *, rated: bool) -> list[_Picture]:
    """KA.AN1.39 and the picture whose row is mistyped first; then every woman in turn."""
    codes = list(POSES)
    keys = [("KA", "AN", 1, 39), ("YM", "HA", 2, 53)]
    serials = iter(n for n in range(1, 220) if n not in (8, 12, 21, 39, 53, 76, 108, 183))
    for index in range(count - len(keys)):
        # Takes from 3 on, so that none of them is one of the two above.
        pose = codes[(index // len(SUBJECTS) + index) % len(codes)]
        keys.append((SUBJECTS[index % len(SUBJECTS)], pose, 3 + index // (len(SUBJECTS) * len(codes)), next(serials)))
    pictures = []
    for index, (subject, pose, take, serial) in enumerate(keys):
        image = grey(render(draw_parameters(rng, POSES[pose]), SIDE).image)
        means = tuple(round(float(value), 2) for value in rng.uniform(1, 5, len(SCALES)))
        # In one row fear and disgust are both the largest.
        means = (*means[:4], 5.0, 5.0) if index == TIED else means
        # The second picture's row is mistyped, the row of the third is out of range.
        known = rated and index not in (1, 2)
        pictures.append(_Picture(subject, pose, take, serial, image, means if known else None))
    return pictures


def _sample(picture: _Picture, path: str, variant: str, *, readable: bool) -> SampleTruth:
    labels = [LabelTruth("human", expression=POSES[picture.pose])]
    means = picture.means or (0.0,) * len(SCALES)
    tied = means.count(max(means)) > 1
    if not tied and picture.pose != "NE" and variant != "converted":
        total = sum(means)
        probs = {name: mean / total for name, mean in zip(SCALES, means, strict=True)}
        largest = SCALES[means.index(max(means))]
        labels.append(LabelTruth("derived-ratings", expression=largest, expression_probs=probs))
    return SampleTruth(
        key=picture.stem,
        path=path,
        subject=picture.subject,
        labels=tuple(labels),
        readable=readable,
        annotation=Annotation(gender="female", ethnicity="Japanese"),
    )


def _readme(pictures: list[_Picture], *, surplus: bool) -> list[str]:
    """Prose, the primary table, and the second one that must not be mixed in."""
    rows = {picture.serial: picture for picture in pictures}
    table = []
    for place, serial in enumerate(sorted(rows), start=1):
        picture = rows[serial]
        if picture.means is None and not surplus:
            continue
        number = serial if surplus else place
        shown = MISTYPED if picture.serial == 53 else picture.id
        means = picture.means or ((2.0,) * 6 if shown == MISTYPED else (7.0,) * 6)
        table.append(f"{number} {' '.join(f'{mean:.2f}' for mean in means)} {shown}")
    if surplus:
        table[3:3] = ["8 2.61 2.40 1.95 1.81 1.77 1.90 KM-HA5", "12 4.72 1.22 1.64 1.10 1.13 1.16 KM-SA4"]
    return [
        "Images of 10 posers, 60 Japanese female observers.",
        "Ratings are means on 5 levels.",
        "",
        "# HAP SAD SUR ANG DIS FEA PIC",
        "-" * 62,
        *table,
        "",
        "Semantic Ratings Data (Fear Excluded)",
        "# HAP SAD SUR ANG DIS PIC",
        "-" * 62,
        *(f"{n} 1.10 1.20 1.30 1.40 1.50 {picture.id}" for n, picture in enumerate(pictures, start=1)),
    ]


def big_endian_tiff(image: Picture) -> bytes:
    """Uncompressed gray TIFF in Motorola order, BlackIsZero: what most of the release is."""
    return _tiff(image, ">", photometric=1)


def palette_tiff(image: Picture) -> bytes:
    """Uncompressed palette TIFF in Intel order with an identity gray palette: KM's pictures, and KA.AN1.39."""
    return _tiff(image, "<", photometric=3)


def _tiff(image: Picture, order: str, *, photometric: int) -> bytes:
    """One strip of 8-bit pixels, then the palette if there is one, then the directory."""
    height, width = image.shape
    pixels = np.ascontiguousarray(image).tobytes()
    levels = [level * 257 for level in range(256)] * 3 if photometric == 3 else []
    palette = struct.pack(f"{order}{len(levels)}H", *levels)
    short, long = 3, 4
    entries = [
        *((256, short, 1, width), (257, short, 1, height), (258, short, 1, 8), (259, short, 1, 1)),
        *((262, short, 1, photometric), (273, long, 1, 8), (277, short, 1, 1), (278, short, 1, height)),
        (279, long, 1, len(pixels)),
    ]
    if levels:
        entries.append((320, short, len(levels), 8 + len(pixels)))
    packed = b"".join(_entry(order, *entry) for entry in entries)
    header = (b"MM" if order == ">" else b"II") + struct.pack(f"{order}HL", 42, 8 + len(pixels) + len(palette))
    return header + pixels + palette + struct.pack(f"{order}H", len(entries)) + packed + struct.pack(f"{order}L", 0)


def _entry(order: str, tag: int, kind: int, count: int, value: int) -> bytes:
    """A directory entry; a single SHORT stands in the first two bytes of the value."""
    if kind == 3 and count == 1:
        return struct.pack(f"{order}HHLHH", tag, kind, count, value, 0)
    return struct.pack(f"{order}HHLL", tag, kind, count, value)
