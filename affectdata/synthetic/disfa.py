"""Twin of DISFA: label files per AU, a video per person and camera or extracted frames, points; and of DISFA+.

    <root>/ActionUnit_Labels/SN001/SN001_au1.txt             `1,0` from frame 1 on, no header
    <root>/Videos_LeftCamera/LeftVideoSN001_comp.avi, <root>/Video_RightCamera/RightVideoSN001_Comp.avi
    <root>/Landmark_Points/SN001/tmp_frame_lm/SN001_0000_lm.mat   (frame - 1), or l00001_lm.mat (frame) for SN003
    <root>/DISFAPlusDataset/{Images,Labels}/SN001/A1_AU1_TrailNo_1/{000.jpg,AU1.txt}

Quirks (datasets/disfa.md 7): SN010's video has one frame more than labels, SN003's one less; a file that is one line
short, one that is absent, an intensity 6, CRLF; a point file that is missing and one that is cut short; a person
without a video; a right video that cannot be opened. Variants `images` (0-based, `SN001/0.png`) and `images1`
(1-based, `LeftVideoSN001_comp/LeftVideoSN001_comp_00001.jpg`) have extracted frames instead, of which one is missing
and one truncated. `both` reads both cameras.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import scipy.io
from numpy.typing import NDArray

from affectdata.synthetic.face import Face, draw_parameters, render
from affectdata.synthetic.files import write_lines, write_picture
from affectdata.synthetic.truth import LabelTruth, RejectTruth, RoleTruth, SampleTruth, Truth

DATASET = "disfa"
VARIANTS = ("videos", "both", "images", "images1", "disfaplus")

CODED = (1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26)
FOLD = {"SN001": 0, "SN003": 2, "SN010": 0, "SN012": 1}
"""Part of the literature's three, counted from 0 (datasets/disfa.md 4)."""

SHORT, ABSENT, WRONG = ("SN001", 26), ("SN003", 20), ("SN010", 12, 4)
"""File that lacks its last line; file that is not there; line of a file that says 6."""

LOST = "SN012"
"""The person without a video: three labelled frames."""

SIDE = 64
_MISSING, _TRUNCATED = 5, 6
"""Frames of SN001 whose extracted picture is missing, or cut short."""


@dataclass(frozen=True)
class _Person:
    """One subject: the intensities of each labelled frame, and the faces its frames show in turn."""

    subject: str
    codes: NDArray[np.int64]
    faces: tuple[Face, ...]

    def face(self, frame: int) -> Face:
        return self.faces[frame % len(self.faces)]

    def intensities(self, frame: int) -> dict[int, float]:
        """What the files say of a frame (1-based)."""
        hidden = {ABSENT[1]} if self.subject == ABSENT[0] else set()
        if self.subject == SHORT[0] and frame == len(self.codes):
            hidden.add(SHORT[1])
        if (self.subject, frame) == (WRONG[0], WRONG[2]):
            hidden.add(WRONG[1])
        return {au: float(self.codes[frame - 1, k]) for k, au in enumerate(CODED) if au not in hidden}


def write(root: Path, *, samples: int, seed: int, variant: str = VARIANTS[0]) -> Truth:
    """Write the tree under `root`: three people with a third of the frames each, and the one without a video."""
    rng = np.random.default_rng(seed)
    if variant == "disfaplus":
        return _write_plus(root, rng, samples)
    people = [_person(rng, subject, 3 if subject == LOST else -(-samples // 3)) for subject in FOLD]
    found: list[SampleTruth] = []
    refused = [
        RejectTruth(f"ActionUnit_Labels/{SHORT[0]}/{SHORT[0]}_au{SHORT[1]}.txt", "length-mismatch"),
        RejectTruth(f"ActionUnit_Labels/{ABSENT[0]}/{ABSENT[0]}_au{ABSENT[1]}.txt", "missing-annotation"),
        RejectTruth(f"ActionUnit_Labels/{WRONG[0]}/{WRONG[0]}_au{WRONG[1]}.txt", "out-of-range", WRONG[2] - 1),
    ]
    for person in people:
        _write_labels(root / "ActionUnit_Labels" / person.subject, person)
        for camera in ("left", "right"):
            extracted = variant.startswith("images")
            images = _write_images(root, person, camera, variant) if extracted else None
            paths, rejects = images or _write_video(root, person, camera)
            if camera == "left" or variant == "both":
                found += [_truth(person, camera, frame, path, extracted) for frame, path in paths.items()]
                refused += rejects
    kept = {sample.key for sample in found}
    refused += [reject for person in people for reject in _write_points(root, person, kept)]
    rows = frozenset(RoleTruth(sample.key, "test", fold=FOLD[sample.key[:5]]) for sample in found)
    options = {"camera": "both"} if variant == "both" else {}
    return Truth(
        DATASET, variant, tuple(found), tuple(refused), (), (), {"3fold": rows, "3fold-tracked": rows}, options
    )


def _person(rng: np.random.Generator, subject: str, frames: int) -> _Person:
    codes = np.where(rng.random((frames, len(CODED))) < 0.4, rng.integers(1, 6, (frames, len(CODED))), 0)
    faces = tuple(render(draw_parameters(rng), SIDE) for _ in range(2))
    return _Person(subject, codes.astype(np.int64), faces)


def _truth(person: _Person, camera: str, frame: int, path: str, extracted: bool) -> SampleTruth:
    name = f"{person.subject}/{camera}"
    labels = [LabelTruth("human", au_intensities=person.intensities(frame))]
    if camera == "left" and _has_points(person.subject, frame):
        points = person.face(frame).landmarks.copy()
        points[[60, 64]] = np.nan
        labels.append(LabelTruth("auto", landmarks=points))
    truncated = extracted and (person.subject, frame) == ("SN001", _TRUNCATED)
    return SampleTruth(
        key=f"{name}/{frame:05d}",
        path=path,
        frame=None if extracted else frame - 1,
        subject=person.subject,
        sequence=name,
        frame_index=frame,
        group=f"disfa:{person.subject}",
        labels=tuple(labels),
        readable=not truncated and path != "Video_RightCamera/RightVideoSN003_Comp.avi",
    )


def _write_labels(folder: Path, person: _Person) -> None:
    for column, au in enumerate(CODED):
        lines = [f"{frame},{code}" for frame, code in enumerate(person.codes[:, column].tolist(), start=1)]
        if (person.subject, au) == ABSENT:
            continue
        if (person.subject, au) == SHORT:
            lines.pop()
        if (person.subject, au) == WRONG[:2]:
            lines[WRONG[2] - 1] = f"{WRONG[2]},6"
        write_lines(folder / f"{person.subject}_au{au}.txt", lines, end="\r\n" if au == 9 else "\n", final=au != 4)


def _write_video(root: Path, person: _Person, camera: str) -> tuple[dict[int, str], list[RejectTruth]]:
    """Label frame -> path, and what is refused of the video's account."""
    folder, suffix = ("Videos_LeftCamera", "comp") if camera == "left" else ("Video_RightCamera", "Comp")
    path = f"{folder}/{camera.title()}Video{person.subject}_{suffix}.avi"
    labelled = len(person.codes)
    name = f"{person.subject}/{camera}"
    if person.subject == LOST:
        keys = [f"{name}/{frame:05d}" for frame in range(1, labelled + 1)]
        return {}, [RejectTruth(key, "missing-video") for key in keys]
    length = labelled + {"SN010": 1, "SN003": -1}.get(person.subject, 0)
    (root / folder).mkdir(parents=True, exist_ok=True)
    if (person.subject, camera) == ("SN003", "right"):
        (root / path).write_bytes(b"RIFF no video at all")
        return dict.fromkeys(range(1, labelled + 1), path), []
    codec = cv2.VideoWriter.fourcc(*"MJPG")
    video = cv2.VideoWriter(str(root / path), codec, 20.0, (SIDE, SIDE))
    for frame in range(1, length + 1):
        video.write(cv2.cvtColor(person.face(frame).image, cv2.COLOR_RGB2BGR))
    video.release()
    beyond = range(length + 1, labelled + 1)
    rejects = [RejectTruth(f"{name} frame {frame}", "missing-frame") for frame in beyond]
    return dict.fromkeys(range(1, min(length, labelled) + 1), path), rejects


def _write_images(root: Path, person: _Person, camera: str, variant: str) -> tuple[dict[int, str], list[RejectTruth]]:
    paths = {}
    if camera == "right":
        return {}, []
    for frame in range(1, len(person.codes) + 1):
        stem = f"LeftVideo{person.subject}_comp"
        path = f"frames/{person.subject}/{frame - 1}.png" if variant == "images" else f"{stem}/{stem}_{frame:05d}.jpg"
        quirk = frame if person.subject == "SN001" else 0
        if quirk != _MISSING:
            write_picture(root / path, person.face(frame).image, truncated=quirk == _TRUNCATED)
            paths[frame] = path
    lost = len(person.codes) - len(paths)
    return paths, [RejectTruth(f"SN001/left/{_MISSING:05d}", "missing-image")] * lost


def _has_points(subject: str, frame: int) -> bool:
    return subject != LOST and (subject, frame) not in (("SN010", 2), ("SN010", 3))


def _write_points(root: Path, person: _Person, kept: set[str]) -> list[RejectTruth]:
    """A file per frame; one is missing and one cut short."""
    folder = root / "Landmark_Points" / person.subject / "tmp_frame_lm"
    rejects = []
    for frame in range(1, len(person.codes) + 1):
        if person.subject == LOST or (person.subject, frame) == ("SN010", 2):
            continue
        if f"{person.subject}/left/{frame:05d}" not in kept:
            continue
        name = f"l{frame:05d}_lm.mat" if person.subject == "SN003" else f"{person.subject}_{frame - 1:04d}_lm.mat"
        data = mat_file(np.delete(person.face(frame).landmarks, [60, 64], axis=0), compressed=frame % 2 == 0)
        if (person.subject, frame) == ("SN010", 3):
            data = data[:400]
            rejects.append(RejectTruth((folder / name).relative_to(root).as_posix(), "bad-landmarks"))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return rejects


def mat_file(points: NDArray[np.floating], *, compressed: bool) -> bytes:
    """A MATLAB level-5 file with the variable `pts`; its text, which holds the time, is blanked."""
    buffer = io.BytesIO()
    scipy.io.savemat(buffer, {"pts": points.astype(np.float64)}, do_compression=compressed)
    return b"MATLAB 5.0 MAT-file".ljust(116) + buffer.getvalue()[116:]


TRIALS = ("A1_AU1_TrailNo_1", "Y_Happy_TrailNo_2")


def _write_plus(root: Path, rng: np.random.Generator, samples: int) -> Truth:
    """Four trials of two people. In the first, picture 1 is missing, 2 truncated, the last one unlabelled."""
    found: list[SampleTruth] = []
    refused: list[RejectTruth] = []
    count = -(-samples // 4)
    for subject in ("SN001", "SN003"):
        for trial in TRIALS:
            person = _person(rng, subject, count)
            first = (subject, trial) == ("SN001", TRIALS[0])
            samples_, rejects = _write_trial(root, person, trial, quirks=first)
            found += samples_
            refused += rejects
    return Truth(DATASET, "disfaplus", tuple(found), tuple(refused))


def _write_trial(
    root: Path, person: _Person, trial: str, *, quirks: bool
) -> tuple[list[SampleTruth], list[RejectTruth]]:
    top, inside = "DISFAPlusDataset", f"{person.subject}/{trial}"
    count = len(person.codes)
    labelled = count - 1 if quirks else count
    found = []
    for number in range(count):
        path = f"{top}/Images/{inside}/{number:03d}.jpg"
        if quirks and number == 1:
            continue
        truncated = quirks and number == 2
        write_picture(root / path, person.face(number).image, truncated=truncated)
        codes = {au: float(person.codes[number, k]) for k, au in enumerate(CODED)}
        if quirks and number == 3:
            del codes[4]
        labels = (LabelTruth("human", au_intensities=codes),) if number < labelled else ()
        found.append(
            SampleTruth(
                key=f"{inside}/{number:03d}",
                path=path,
                subject=person.subject,
                sequence=inside,
                frame_index=number,
                group=f"disfa:{person.subject}",
                labels=labels,
                readable=not truncated,
            )
        )
    for k, au in enumerate(CODED):
        codes_ = person.codes[:labelled, k].tolist()
        lines = [f"{number:03d}.jpg   {code}" for number, code in enumerate(codes_)]
        if quirks and au == 4:
            lines[3] = "003.jpg   9"
        header = ["# AU intensity of every picture", "# picture   intensity"]
        write_lines(root / f"{top}/Labels/{inside}/AU{au}.txt", [*header, *lines])
    rejects = [
        RejectTruth(f"{top}/Images/{inside}/001.jpg", "missing-image"),
        RejectTruth(f"{top}/Labels/{inside}/AU4.txt", "out-of-range", 3),
    ]
    return found, rejects if quirks else []
