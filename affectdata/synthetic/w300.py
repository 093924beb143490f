"""Twin of 300-W: iBUG's folders as unpacked zip by zip, a copy that was moved about, dlib's package and HRNet's.

    <root>/afw/134212_1.jpg + .pts                     jpg in afw, helen, ibug; png in lfpw and the test set
    <root>/{helen,lfpw}/{trainset,testset}/...         ibug/image_003_1.jpg
    <root>/300W/{01_Indoor,02_Outdoor}/indoor_001.png + .pts
    <root>/Bounding Boxes/bounding_boxes_<subset>.mat

Quirks (datasets/w300.md 7): `image_092 _01` with a blank, two blanks in `n_points:`, no newline after the closing
brace, points outside the picture, grey and CMYK pictures, two faces of one photograph, a picture without points,
points without a picture, a file with 67 points, one whose header lies, a box of a picture that is not there, one
truncated picture, a name beyond ASCII. `dlib`: mirrored copies of everything. `moved`: CRLF, `Test/`, no blank, an
HTML page in place of an archive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from affectdata.synthetic.face import Face, draw_parameters, render
from affectdata.synthetic.files import grey, write_lines, write_picture
from affectdata.synthetic.truth import Annotation, LabelTruth, RejectTruth, RoleTruth, SampleTruth, Truth
from manifests.vocabulary import EXPRESSIONS

DATASET = "w300"
VARIANTS = ("ibug", "moved", "dlib", "hrnet")

SUBSETS = (
    ("afw", "train", ".jpg"),
    ("helen/trainset", "train", ".jpg"),
    ("helen/testset", "common", ".jpg"),
    ("lfpw/trainset", "train", ".png"),
    ("lfpw/testset", "common", ".png"),
    ("ibug", "challenging", ".jpg"),
    ("01_Indoor", "test", ".png"),
    ("02_Outdoor", "test", ".png"),
)
"""Folder, literature split and kind of picture [verified 4]."""

ROLES = {
    "full": {"train": "train", "common": "test", "challenging": "test"},
    "common": {"train": "train", "common": "test"},
    "challenging": {"train": "train", "challenging": "test"},
    "private": {"train": "train", "common": "train", "challenging": "val", "test": "test"},
}
SIDE = 88


@dataclass(frozen=True)
class _Item:
    """One picture: its subset and stem, and what is odd about it."""

    subset: str
    split: str
    name: str
    suffix: str
    face: Face
    quirk: str = ""

    @property
    def key(self) -> str:
        return f"{self.subset}/{self.name.replace(' _', '_')}"

    @property
    def points(self) -> NDArray[np.float64]:
        """0-based landmarks as written: three decimals; some far off the picture."""
        off = -60.0 if self.quirk == "outside" else 0.0
        return np.round(self.face.landmarks.astype(float) + off, 3)


QUIRKS = {
    "afw": ("outside", "grey", "truncated", "missing", "cmyk"),
    "helen/trainset": ("no-points", "short", "lying"),
}
"""Quirk of the first pictures of a subset; the others have none."""


def write(root: Path, *, samples: int, seed: int, variant: str = VARIANTS[0]) -> Truth:
    """Write the tree under `root`, `samples` pictures shared out to the subsets."""
    rng = np.random.default_rng(seed)
    items = _items(rng, samples, variant)
    if variant == "dlib":
        return _write_dlib(root, items)
    if variant == "hrnet":
        return _write_hrnet(root, items)
    return _write_ibug(root, items, variant)


def _items(rng: np.random.Generator, samples: int, variant: str) -> list[_Item]:
    subsets = SUBSETS[:6] if variant == "dlib" else SUBSETS  # dlib packs no test pictures
    items = []
    for index in range(samples):
        subset, split, suffix = subsets[index % len(subsets)]
        number = index // len(subsets)
        face = render(draw_parameters(rng, EXPRESSIONS[index % 7]), SIDE)
        quirk = dict(enumerate(QUIRKS.get(subset, ()))).get(number, "")
        items.append(_Item(subset, split, _name(subset, number, variant), suffix, face, quirk))
    return items


def _name(subset: str, number: int, variant: str) -> str:
    if subset == "ibug":
        blank = "" if variant == "moved" else " "
        return f"image_092{blank}_01" if number == 0 else f"image_{number + 2:03d}_1"
    if subset.startswith("lfpw"):
        return f"image_{number + 1:04d}"
    if subset.startswith("0"):
        return f"{subset[3:].lower()}_{number + 1:03d}"
    # Two faces of one photograph, and one name beyond ASCII.
    return f"café{number}_1" if subset == "helen/testset" else f"{134212 + number // 2}_{number % 2 + 1}"


def _group(item: _Item) -> str:
    name = item.key.rpartition("/")[2]
    whole = item.subset.startswith(("lfpw", "0"))  # image_0001 and indoor_001 are no faces of one photograph
    return f"w300:{item.subset.partition('/')[0]}/{name if whole else name.rpartition('_')[0]}"


def _sample(item: _Item, path: str, points: NDArray[np.float64] | None, annotation: Annotation | None) -> SampleTruth:
    label = None if points is None else LabelTruth("human", landmarks=points.astype(np.float32))
    return SampleTruth(
        item.key,
        path,
        split=item.split,
        group=_group(item),
        labels=(label,) if label else (),
        readable=item.quirk != "truncated",
        annotation=annotation,
    )


def _truth(variant: str, found: Sequence[SampleTruth], refused: Sequence[RejectTruth]) -> Truth:
    protocols = {
        name: frozenset(RoleTruth(s.key, roles[str(s.split)]) for s in found if s.split in roles)
        for name, roles in ROLES.items()
    }
    return Truth(DATASET, variant, tuple(found), tuple(refused), protocols=protocols)


def _write_image(path: Path, item: _Item) -> None:
    if item.quirk == "cmyk":
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(item.face.image).convert("CMYK").save(path, quality=90)
        return
    image = grey(item.face.image) if item.quirk == "grey" else item.face.image
    write_picture(path, image, truncated=item.quirk == "truncated")


def _write_ibug(root: Path, items: Sequence[_Item], variant: str) -> Truth:
    moved = variant == "moved"
    top = "data_300W/" if moved else ""
    found, refused = [], []
    for item in items:
        test = ("Test/" if moved else "300W/") if item.subset.startswith("0") else ""
        place = f"{top}{test}{item.subset}/{item.name}"
        path = place + item.suffix
        if item.quirk != "missing":
            _write_image(root / path, item)
        if item.quirk != "no-points":
            lines = pts(item.points + 1, item)
            write_lines(root / f"{place}.pts", lines, end="\r\n" if moved else "\n", final=moved)
        if item.quirk in ("missing", "no-points"):
            refused.append(RejectTruth(path, "missing-image" if item.quirk == "missing" else "missing-annotation"))
            continue
        points = None if item.quirk in ("short", "lying") else item.points
        if points is None:
            refused.append(RejectTruth(f"{place}.pts", "bad-landmarks"))
        box = None if item.subset.startswith("0") else Annotation(_detected(item))
        found.append(_sample(item, path, points, box))
    refused += _write_boxes(root, items, f"{top}{'Bounding_Boxes' if moved else 'Bounding Boxes'}")
    if moved:
        write_lines(root / "300w.zip.001", ["<!DOCTYPE html>", "<html><body>Please fill in the form</body></html>"])
        refused.append(RejectTruth("300w.zip.001", "not-an-archive"))
    return _truth(variant, found, refused)


def pts(points: NDArray[np.float64], item: _Item) -> list[str]:
    """A `.pts` file: six decimals and two blanks as in AFW and HELEN, three and one as in the test set."""
    digits, gap = (3, " ") if item.subset.startswith("0") else (6, "  ")
    rows = [f"{x:.{digits}f} {y:.{digits}f}" for x, y in points.tolist()]
    if item.quirk == "short":
        rows = rows[:67]
    declared = 68 if item.quirk != "lying" else 66
    return ["version: 1", f"n_points:{gap}{declared}", "{", *rows, "}"]


def _detected(item: _Item) -> tuple[float, ...]:
    """The detector's box, 0-based."""
    low, high = item.face.landmarks.min(axis=0), item.face.landmarks.max(axis=0)
    return tuple(float(round(v, 2)) for v in (low[0] - 4, low[1] - 8.5, high[0] + 4, high[1] + 2.25))


def _write_boxes(root: Path, items: Sequence[_Item], folder: str) -> list[RejectTruth]:
    """One file per subset, 1-based; that of ibug names a picture that is not there."""
    refused = []
    (root / folder).mkdir(parents=True)
    for subset, _, _ in SUBSETS[:6]:
        mine = [item for item in items if item.subset == subset and item.quirk not in ("missing", "no-points")]
        entries = [(f"{item.name}{item.suffix}", np.array(_detected(item)) + 1, _tight(item) + 1) for item in mine]
        path = f"{folder}/bounding_boxes_{subset.replace('/', '_')}.mat"
        if subset == "ibug":
            entries.append(("111076519_1.jpg", np.array([1.0, 2, 30, 40]), np.array([3.0, 4, 28, 38])))
            refused.append(RejectTruth(path, "id-mismatch"))
        (root / path).write_bytes(box_mat(entries))
    return refused


def _tight(item: _Item) -> NDArray[np.float64]:
    return np.concatenate([item.points.min(axis=0), item.points.max(axis=0)])


def box_mat(entries: Sequence[tuple[str, NDArray[np.float64], NDArray[np.float64]]]) -> bytes:
    """`bounding_boxes`: 1 x N cells of structs imgName, bb_detector, bb_ground_truth."""
    from scipy.io import savemat

    cells = np.empty((1, len(entries)), object)
    for index, (name, detector, tight) in enumerate(entries):
        cells[0, index] = {"imgName": name, "bb_detector": detector[None], "bb_ground_truth": tight[None]}
    data = BytesIO()
    savemat(data, {"bounding_boxes": cells})
    # The first 116 bytes are a text that holds the time of writing.
    return b"MATLAB 5.0 MAT-file".ljust(116) + data.getvalue()[116:]


def _write_dlib(root: Path, items: Sequence[_Item]) -> Truth:
    """dlib's archive: the six folders with mirrored copies, and an xml of 0-based whole pixels that lists both."""
    top = "ibug_300W_large_face_landmark_dataset"
    found, refused, listed = [], [], []
    for item in items:
        path = f"{top}/{item.subset}/{item.name}{item.suffix}"
        mirror = f"{item.subset}/{item.name}_mirror.jpg"
        points = np.round(item.points)
        if item.quirk == "missing":
            refused.append(RejectTruth(path, "missing-image"))
        else:
            _write_image(root / path, item)
            write_picture(root / top / mirror, item.face.image[:, ::-1].copy())
        if item.quirk not in ("missing", "no-points"):
            write_lines(root / f"{top}/{item.subset}/{item.name}.pts", pts(item.points + 1, item), final=False)
        left, top_, right, bottom = (round(v) for v in _detected(item))
        box = f"<box top='{top_}' left='{left}' width='{right - left + 1}' height='{bottom - top_ + 1}'>"
        parts = [f"      <part name='{n:02d}' x='{x:g}' y='{y:g}'/>" for n, (x, y) in enumerate(points.tolist())]
        if item.quirk == "short":
            parts = parts[:-1]
        for file in (f"{item.subset}/{item.name}{item.suffix}", mirror):
            listed += [f"  <image file='{file}' width='{SIDE}' height='{SIDE}'>", f"    {box}", *parts]
            listed += ["    </box>", "  </image>"]
        if item.quirk == "short":
            refused.append(RejectTruth(path, "bad-landmarks"))
        if item.quirk != "missing":
            edges = Annotation((left, top_, right, bottom))
            found.append(_sample(item, path, None if item.quirk == "short" else points, edges))
    head = ["<?xml version='1.0' encoding='UTF-8'?>", "<?xml-stylesheet type='text/xsl' href='x.xsl'?>", "<dataset>"]
    text = [*head, "<images>", *listed, "</images>", "</dataset>"]
    for name in ("", "_train"):
        write_lines(root / top / f"labels_ibug_300W{name}.xml", text if not name else [*head, "</dataset>"])
    return _truth("dlib", found, refused)


def _write_hrnet(root: Path, items: Sequence[_Item]) -> Truth:
    """HRNet's data folder: pictures as in the zips, and lists that repeat the validation set."""
    header = ["image_name", "scale", "center_w", "center_h", *(f"original_{n}_{c}" for n in range(68) for c in "xy")]
    parts = {"train": ["train"], "common": ["valid", "valid_common"], "challenging": ["valid", "valid_challenge"]}
    lists = {name: [",".join(header)] for name in ("train", "valid", "valid_common", "valid_challenge", "test")}
    found, refused = [], []
    for item in items:
        test = "Test/" if item.subset.startswith("0") else ""
        file = f"{test}{item.subset}/{item.name}{item.suffix}"
        path = f"300w/images/{file}"
        cells = [f"{value:.3f}" for value in (item.points + 1).ravel().tolist()]
        if item.quirk == "short":
            cells[5] = "nan"
            refused.append(RejectTruth("300w/face_landmarks_300w_train.csv", "bad-landmarks"))
        for name in parts.get(item.split, ["test"]):
            lists[name].append(",".join([file, "1.83", f"{SIDE / 2:.1f}", f"{SIDE / 2:.1f}", *cells]))
        if item.quirk == "missing":
            refused.append(RejectTruth(path, "missing-image"))
            continue
        _write_image(root / path, item)
        # Nobody says for sure where these coordinates start: they stay as released.
        found.append(_sample(item, path, None if item.quirk == "short" else item.points + 1, None))
    for name, rows in lists.items():
        write_lines(root / "300w" / f"face_landmarks_300w_{name}.csv", rows)
    return _truth("hrnet", found, refused)
