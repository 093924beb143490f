"""Twin of SFEW 2.0: aligned faces, original frames, the mirror with a table, and a benchmark's repack.

    aligned   Train/Train_Aligned_Faces/<Emotion>/*.png, Val/Val_Aligned_Faces_new/..., Test/Test_Aligned_Faces/*.png
    flat      Train_Aligned_Faces/<Emotion>/*.png ... directly below the root, with the older val archive
    original  Train/Train/<Emotion>/, Val/Val/<Emotion>/ (doubled), Test/; some pictures are .jpg
    mirror    sfew_2.0_labels.csv, sfew2.0_images/image_000000.png
    repack    SFEW/{Train,Val}/{imgs,Annotations/Bboxs,Annotations/Landmarks_5}/<Emotion>/

Pictures are named `<Film>_<9 digits>_<8 digits>`, and films hold underscores and digits. Quirks (datasets/sfew.md 7): a
folder that is no class, a name that does not fit, a class folder in other case, Thumbs.db, `__MACOSX`, a user's list
in a class folder, a truncated picture; in the mirror rows of an unknown split, an unknown emotion and none, a repeated
row and a missing picture; in the repack a box in another order, points that are cut short, a face without points.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from affectdata.synthetic.face import Face, draw_parameters, render
from affectdata.synthetic.files import write_lines, write_picture
from affectdata.synthetic.rafdb import five_points
from affectdata.synthetic.truth import Annotation, LabelTruth, RejectTruth, SampleTruth, Truth

DATASET = "sfew"
VARIANTS = ("aligned", "flat", "original", "mirror", "repack")
FOLDERS = {
    "Angry": "anger",
    "Disgust": "disgust",
    "Fear": "fear",
    "Happy": "happiness",
    "Neutral": "neutral",
    "Sad": "sadness",
    "Surprise": "surprise",
}
FILMS = ("Airheads", "21", "v_for_vendetta", "HarryPotter_Half_Blood_Prince")
SIDE = 48

ARCHIVES = {
    "aligned": {
        "train": "Train/Train_Aligned_Faces",
        "val": "Val/Val_Aligned_Faces_new",
        "test": "Test/Test_Aligned_Faces",
    },
    "flat": {"train": "Train_Aligned_Faces", "val": "Val_Aligned_Faces", "test": "Test_Aligned_Faces"},
    "original": {"train": "Train/Train", "val": "Val/Val", "test": "Test"},
    "repack": {"train": "SFEW/Train/imgs", "val": "SFEW/Val/imgs"},
}
"""Variant -> split -> folder above the class folders."""


@dataclass(frozen=True)
class _Picture:
    """One frame of one film; `folder` is empty in test."""

    split: str
    folder: str
    film: str
    time: int
    frame: int
    face: Face
    quirk: str = ""

    @property
    def stem(self) -> str:
        return f"{self.film}_{self.time:09d}_{self.frame:08d}"

    @property
    def labels(self) -> tuple[LabelTruth, ...]:
        return (LabelTruth("human", expression=FOLDERS[self.folder]),) if self.folder else ()


def write(root: Path, *, samples: int, seed: int, variant: str = VARIANTS[0]) -> Truth:
    """Write the tree under `root`."""
    rng = np.random.default_rng(seed)
    faces = {name: render(draw_parameters(rng, name), SIDE) for name in FOLDERS.values()}
    pictures = _pictures(rng, faces, samples, ("train", "val") if variant == "repack" else ("train", "val", "test"))
    if variant == "mirror":
        return _write_mirror(root, [picture for picture in pictures if picture.folder])
    kind = "aligned" if variant == "flat" else variant
    found, refused = [], []
    for picture in pictures:
        # One class folder of val is spelled in lower case.
        folder = picture.folder.lower() if (picture.split, picture.folder) == ("val", "Sad") else picture.folder
        suffix = ".jpg" if variant == "original" and picture.frame % 3 == 0 else ".png"
        path = "/".join(filter(None, (ARCHIVES[variant][picture.split], folder, picture.stem + suffix)))
        write_picture(root / path, picture.face.image, truncated=picture.quirk == "truncated")
        sample = _truth(picture, f"{kind}/{picture.split}/{picture.stem}", path)
        if variant == "repack":
            sample, bad = _write_side_files(root, picture, folder, sample)
            refused += bad
        found.append(sample)
    refused += _write_strays(root, ARCHIVES[variant]["train"], faces["neutral"], bad_name=variant != "repack")
    return Truth(DATASET, variant, tuple(found), tuple(refused))


def _pictures(rng: np.random.Generator, faces: dict[str, Face], count: int, splits: tuple[str, ...]) -> list[_Picture]:
    pictures = []
    for index in range(count):
        split = splits[min(index * 5 // count // 2, len(splits) - 1)]
        folder = "" if split == "test" else list(FOLDERS)[index % len(FOLDERS)]
        quirk = {3: "truncated", 4: "other-order", 5: "short-points", 6: "no-points"}.get(index, "")
        face = faces[FOLDERS[folder]] if folder else faces["neutral"]
        time = int(rng.integers(60, 5000)) * 1000 + 40 * (index % 25)
        pictures.append(_Picture(split, folder, FILMS[index % len(FILMS)], time, index // 2 + 1, face, quirk))
    return pictures


def _truth(picture: _Picture, key: str, path: str) -> SampleTruth:
    return SampleTruth(
        key,
        path,
        split=picture.split,
        sequence=f"{picture.film}_{picture.time:09d}",
        frame_index=picture.frame,
        group=f"film:{picture.film.lower()}",
        labels=picture.labels,
        readable=picture.quirk != "truncated",
    )


def _write_strays(root: Path, train: str, face: Face, *, bad_name: bool) -> list[RejectTruth]:
    """What users and file managers leave in the tree."""
    (root / train / "Angry").mkdir(parents=True, exist_ok=True)
    (root / train / "Angry" / "Thumbs.db").write_bytes(b"not a picture")
    write_lines(root / train / "Angry" / "angry.txt", ["Airheads_000519240_00000005.png"])
    (root / "__MACOSX" / train / "Angry").mkdir(parents=True)
    (root / "__MACOSX" / train / "Angry" / "._Airheads_000519240_00000005.png").write_bytes(b"resource fork")
    write_picture(root / "__MACOSX" / train / "Angry" / "Airheads_000519240_00000005.png", face.image)
    write_picture(root / train / "Contempt" / "Airheads_000519240_00000005.png", face.image)
    refused = [RejectTruth(f"{train}/Contempt", "unknown-class-folder")]
    if bad_name:
        # The film is there, the time has eight digits.
        write_picture(root / train / "Fear" / "Airheads_00519240_00000005.png", face.image)
        refused.append(RejectTruth(f"{train}/Fear/Airheads_00519240_00000005.png", "bad-name"))
    return refused


def _write_side_files(
    root: Path, picture: _Picture, folder: str, sample: SampleTruth
) -> tuple[SampleTruth, list[RejectTruth]]:
    """Box and five points of one picture of the repack."""
    base = f"SFEW/{picture.split.title()}/Annotations"
    box_path = f"{base}/Bboxs/{folder}/{picture.stem}.txt"
    points_path = f"{base}/Landmarks_5/{folder}/{picture.stem}.txt"
    low, high = (np.rint(edge(picture.face.landmarks, axis=0)).astype(int) for edge in (np.min, np.max))
    box, points = (*low.tolist(), *high.tolist()), five_points(picture.face.landmarks)
    # y before x, as some tools write boxes; with the face off the diagonal no point would lie inside.
    written = tuple(value + 500 * (i < 2) for i, value in enumerate(box)) if picture.quirk == "other-order" else box
    write_lines(root / box_path, [" ".join(map(str, written))])
    cut = points[:3] if picture.quirk == "short-points" else points
    if picture.quirk != "no-points":
        write_lines(root / points_path, [f"{x:.3f} {y:.3f}" for x, y in cut])
    refused = [RejectTruth(points_path, "bad-landmarks")] if picture.quirk == "short-points" else []
    if picture.quirk in ("other-order", "short-points", "no-points"):
        refused.append(RejectTruth(box_path, "bad-box"))
    known = Annotation(
        box=None if picture.quirk in ("other-order", "short-points", "no-points") else box,
        points5=None if picture.quirk in ("short-points", "no-points") else points,
    )
    return replace(sample, annotation=known), refused


def _write_mirror(root: Path, pictures: list[_Picture]) -> Truth:
    """One table and one folder of renamed pictures."""
    rows, found, refused = ["image_name,label,emotion,original_split"], [], []
    table = "sfew_2.0_labels.csv"
    extra = ("missing", "split", "emotion", "repeated", "unlabelled")
    # The repeated row is that of the first picture.
    for index, picture in enumerate([*pictures, *pictures[1:4], pictures[0], pictures[4]]):
        quirk = extra[index - len(pictures)] if index >= len(pictures) else picture.quirk
        number = 0 if quirk == "repeated" else index
        name = f"image_{number:06d}"
        emotion = picture.folder.lower() if index % 4 else picture.folder
        emotion = {"emotion": "contempt", "unlabelled": ""}.get(quirk, emotion)
        archive = {"train": "Train_Aligned_Faces", "val": "Val_Aligned_Faces_new"}[picture.split]
        archive = "Extra" if quirk == "split" else archive
        rows.append(f"{name}.png,{list(FOLDERS).index(picture.folder)},{emotion},{archive}")
        path = f"sfew2.0_images/{name}.png"
        reasons = {"missing": "missing-image", "split": "unknown-split", "emotion": "unknown-code"}
        if quirk not in ("missing", "repeated"):
            write_picture(root / path, picture.face.image, truncated=quirk == "truncated")
        if quirk in reasons:
            refused.append(RejectTruth(path if quirk == "missing" else table, reasons[quirk], index))
        elif quirk == "repeated":
            refused.append(RejectTruth(table, "duplicate-key", index))
        else:
            labels = () if quirk == "unlabelled" else picture.labels
            key = f"mirror/{picture.split}/{name}"
            found.append(SampleTruth(key, path, split=picture.split, labels=labels, readable=quirk != "truncated"))
    write_picture(root / "sfew2.0_images" / "image_009999.png", pictures[0].face.image)
    refused.append(RejectTruth("sfew2.0_images/image_009999.png", "missing-annotation"))
    write_lines(root / table, rows)
    return Truth(DATASET, "mirror", tuple(found), tuple(refused))
