"""Twin of AFEW: clips in class folders with aligned faces beside them, an older package, and copies that users made.

    Train_AFEW/<Emotion>/000633000.avi                                  clips; the folder is the label
    Train_AFEW/AlignedFaces_LBPTOP_Points/AlignedFaces_LBPTOP_Points/   doubled, as archives unpack
        Faces/000633000/007.jpg                                         numbered as frames, with gaps
        {LBPTOP,Points}/000633000.mat
    Train_AFEW/AlignedFaces_LBPTOP_Points_Val/Faces/...                 the val archive beside train
    Train_AFEW/Train_6.xml                                              one line per fact; names no clip
    Val_AFEW/..., Test_AFEW/000123456.avi                               test is flat and unlabelled

Quirks (datasets/afew.md 5, 7): one clip id in train and val with different labels, a clip id in two class folders, a
clip without faces, faces without a clip, a file name that is no clip id, a folder that is no class, a clip that
cannot be opened, a face whose file is cut short. `older` has `videos/` and faces by split, and an XML with
`Location`; `dump` and `resorted` are users' frames and faces by class.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from affectdata.synthetic.brush import Picture
from affectdata.synthetic.face import draw_parameters, render
from affectdata.synthetic.files import write_lines, write_picture
from affectdata.synthetic.truth import LabelTruth, RejectTruth, SampleTruth, Truth

DATASET = "afew"
VARIANTS = ("clips", "faces", "older", "older-faces", "dump", "resorted")
FOLDERS = {
    "Angry": "anger",
    "Disgust": "disgust",
    "Fear": "fear",
    "Happy": "happiness",
    "Neutral": "neutral",
    "Sad": "sadness",
    "Surprise": "surprise",
}
FRAMES = (1, 2, 4, 7, 10)
"""Numbers of the frames in which a face was found; as text, 10 comes before 2."""

SHARED_ID = "005153760"
"""A clip id that train and val share, with different labels (counted in the real lists)."""

SIDE = 48


@dataclass(frozen=True)
class _Clip:
    """One film clip; `folder` is empty in test."""

    split: str
    folder: str
    name: str
    film: str
    actor: str
    quirk: str = ""

    @property
    def key(self) -> str:
        return f"{self.split}/{self.name}"

    @property
    def labels(self) -> tuple[LabelTruth, ...]:
        return (LabelTruth("human", expression=FOLDERS[self.folder]),) if self.folder else ()


def write(root: Path, *, samples: int, seed: int, variant: str = VARIANTS[0]) -> Truth:
    """Write the tree under `root`; `samples` counts clips, or faces in the variants that read faces."""
    rng = np.random.default_rng(seed)
    pictures = {name: render(draw_parameters(rng, name), SIDE).image for name in FOLDERS.values()}
    layout = variant.partition("-")[0]
    read_clips = variant in ("clips", "older")
    clips = _clips(rng, samples if read_clips else -(-samples // len(FRAMES)) + 3)
    tree = _Tree(root, pictures, "emotiw" if layout in ("clips", "faces") else layout)
    found, refused = tree.write_clips(clips) if layout in ("clips", "faces", "older") else ([], [])
    shown, not_shown = tree.write_faces(clips)
    if layout in ("clips", "faces", "older"):
        absent = tree.write_xml(clips, read_clips=read_clips)
        refused, not_shown = refused + absent, not_shown + absent
    if read_clips:
        return Truth(DATASET, variant, tuple(found), tuple(refused))
    options = {"images": "faces"} if variant in ("faces", "older-faces") else {}
    return Truth(DATASET, variant, tuple(shown), tuple(not_shown), options=options)


def _clips(rng: np.random.Generator, count: int) -> list[_Clip]:
    """Clips of train, then val, then test; ids are times of day in a film, unique within a split."""
    clips = []
    times = rng.permutation(np.arange(60, 7000))[:count].tolist()
    for index, time in enumerate(times):
        split = "train" if index < count * 3 // 5 else "val" if index < count * 4 // 5 else "test"
        name = f"{time // 3600:02d}{time // 60 % 60:02d}{time % 60:02d}{40 * (index % 25):03d}"
        folder = list(FOLDERS)[index % len(FOLDERS)] if split != "test" else ""
        quirk = {0: "no-faces", 1: "corrupt", 2: "no-clip"}.get(index, "")
        film, actor = f"Some Film {index % 4}", f"Some Name {index % 9}"
        clips.append(_Clip(split, folder, name, film, actor, quirk))
    first = {split: next(i for i, clip in enumerate(clips) if clip.split == split) for split in ("train", "val")}
    for split, folder in (("train", "Disgust"), ("val", "Surprise")):
        clips.insert(first[split] + 3 + (split == "val"), _Clip(split, folder, SHARED_ID, "Some Film", "Some Name"))
    return clips


class _Tree:
    """Writes one layout and notes what a reader must find in it."""

    def __init__(self, root: Path, pictures: dict[str, Picture], layout: str) -> None:
        self.root = root
        self.pictures = pictures
        self.layout = layout
        self._videos: dict[str, bytes] = {}

    def top(self, split: str) -> str:
        """Folder of one split."""
        return split.title() if self.layout == "older" else f"{split.title()}_AFEW"

    def write_clips(self, clips: list[_Clip]) -> tuple[list[SampleTruth], list[RejectTruth]]:
        """Videos, and those that are refused: a wrong name, a wrong folder, an id in two class folders."""
        found = []
        for clip in clips:
            if clip.quirk == "no-clip":
                continue
            path = f"{self._class_folder(clip.split, clip.folder)}/{clip.name}.avi"
            self._write_video(path, clip)
            found.append(self._sample(clip, path, clip.labels, readable=clip.quirk != "corrupt"))
        twice = _Clip("train", "Angry", "009999999", "", "")
        first = f"{self._class_folder('train', 'Angry')}/{twice.name}.avi"
        self._write_video(first, twice)
        self._write_video(first.replace("Angry", "Happy"), twice)
        found.append(SampleTruth(twice.key, first, split="train", sequence=twice.key))
        wrong_name = f"{self._class_folder('val', 'Sad')}/clip one.avi"
        wrong_folder = self._class_folder("val", "Contempt")
        self._write_video(wrong_name, twice)
        self._write_video(f"{wrong_folder}/000000040.avi", twice)
        (self.root / self._class_folder("val", "Sad") / "Thumbs.db").write_bytes(b"not a clip")
        return found, [
            RejectTruth(first.replace("Angry", "Happy"), "conflicting-duplicate"),
            RejectTruth(wrong_name, "bad-name"),
            RejectTruth(wrong_folder, "unknown-class-folder"),
        ]

    def write_faces(self, clips: list[_Clip]) -> tuple[list[SampleTruth], list[RejectTruth]]:
        """One folder of faces per clip; clips without faces are samples without a picture."""
        found, refused = [], []
        for clip in clips:
            if clip.quirk == "no-faces" or (self.layout in ("dump", "resorted") and clip.split == "test"):
                if self.layout in ("emotiw", "older"):
                    found.append(self._sample(clip, None, clip.labels))
                continue
            # Without its clip in a class folder, nothing tells the label of a face.
            labelled = clip.quirk != "no-clip" or self.layout in ("dump", "resorted")
            found += self._write_frames(clip, clip.labels if labelled else ())
        if self.layout in ("emotiw", "older"):
            found.append(SampleTruth("train/009999999", None, split="train", sequence="train/009999999"))
            twice = f"{self._class_folder('train', 'Happy')}/009999999.avi"
            refused.append(RejectTruth(twice, "conflicting-duplicate"))
        some = clips[-1] if self.layout in ("emotiw", "older") else clips[0]
        wrong = f"{self._faces(some)}/cover.jpg"
        write_picture(self.root / wrong, self.pictures["neutral"])
        refused.append(RejectTruth(wrong, "bad-name"))
        return found, refused

    def write_xml(self, clips: list[_Clip], *, read_clips: bool) -> list[RejectTruth]:
        """Train_6.xml and Val_6.xml; only the older layout names the clip of an entry, and once or twice an absent one.

        Returns:
            The entries whose clip is absent; a clip that has faces but no video is so only where clips are read.
        """
        absent: list[_Clip] = []
        for split in ("train", "val"):
            lines = ['<?xml version="1.0"?>']
            entries = [clip for clip in clips if clip.split == split]
            if self.layout == "older" and split == "train":
                entries.append(_Clip("train", "Fear", "001111111", "Some Film", "Some Name"))
                absent = [entries[-1], *(clip for clip in entries if clip.quirk == "no-clip" and read_clips)]
            for clip in entries:
                place = [f"  <Location>{clip.name}.avi</Location>"] if self.layout == "older" else []
                person = f'  <Person MovieTitle="{clip.film}" NameOfActor="{clip.actor}" />'
                lines += ["<Clip>", *place, "  <Length>2</Length>", person, "</Clip>"]
            write_lines(self.root / self.top(split) / f"{split.title()}_6.xml", lines, end="\r\n")
        return [RejectTruth(clip.key, "missing-video") for clip in absent]

    def _sample(
        self, clip: _Clip, path: str | None, labels: tuple[LabelTruth, ...], *, readable: bool = True, number: int = -1
    ) -> SampleTruth:
        named = self.layout == "older" and clip.split != "test"
        return SampleTruth(
            clip.key if number < 0 else f"{clip.key}/{number:05d}",
            path,
            split=clip.split,
            subject=clip.actor if named else None,
            group=f"film:{clip.film.lower().replace(' ', '_')}" if named else None,
            sequence=clip.key,
            frame_index=None if number < 0 else number,
            labels=labels,
            readable=readable,
        )

    def _write_frames(self, clip: _Clip, labels: tuple[LabelTruth, ...]) -> list[SampleTruth]:
        image = self.pictures[FOLDERS[clip.folder] if clip.folder else "neutral"]
        found = []
        for number in FRAMES:
            path = f"{self._faces(clip)}/{number:03d}.jpg" if number < 10 else f"{self._faces(clip)}/{number}.jpg"
            broken = clip.name == SHARED_ID and number == FRAMES[1]
            write_picture(self.root / path, image, truncated=broken)
            found.append(self._sample(clip, path, labels, readable=not broken, number=number))
        if self.layout == "emotiw":
            for side in ("LBPTOP", "Points"):
                side_file = self.root / self._faces(clip).replace("/Faces/", f"/{side}/")
                side_file.parent.mkdir(parents=True, exist_ok=True)
                side_file.with_suffix(".mat").write_bytes(b"MATLAB 5.0 MAT-file")
        return found

    def _class_folder(self, split: str, folder: str) -> str:
        parts = [self.top(split), "videos" if self.layout == "older" and folder else "", folder]
        return "/".join(filter(None, parts))

    def _faces(self, clip: _Clip) -> str:
        archive = "AlignedFaces_LBPTOP_Points"
        match (self.layout, clip.split):
            case ("older", split):
                return f"{split.title()}/{split.title()}_Aligned_Faces/{clip.name}"
            case ("dump", split):
                return f"face/{split}_afew/{clip.folder}/{clip.name}"
            case ("resorted", "train"):
                return f"Train_AFEW/{archive}/Faces/{clip.folder}/{clip.name}"
            case ("resorted", _):
                return f"Val_AFEW/{archive}_Val/Faces/{clip.folder}/{clip.name}"
            case (_, "train"):
                return f"Train_AFEW/{archive}/{archive}/Faces/{clip.name}"
            case (_, "val"):
                return f"Train_AFEW/{archive}_Val/Faces/{clip.name}"
        return f"Test_AFEW/{archive}/Faces/{clip.name}"

    def _write_video(self, path: str, clip: _Clip) -> None:
        folder = clip.folder or "Neutral"
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        if folder not in self._videos:
            self._videos[folder] = _video(self.pictures[FOLDERS[folder]], file)
        data = self._videos[folder]
        file.write_bytes(data[:40] if clip.quirk == "corrupt" else data)


def _video(picture: Picture, file: Path) -> bytes:
    """Two frames of motion JPEG."""
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter.fourcc(*"MJPG"), 25, (SIDE, SIDE))
    for _ in range(2):
        writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    writer.release()
    return file.read_bytes()
