"""Twin of AFEW-VA: clips as PNG frames, and one JSON per clip with valence, arousal and 68 points per frame.

    01/001/00000.png ... 01/001/001.json      nested: 50 clips per outer folder
    001/001.json                              flat
    AFEW-VA/01/001/001.json                   mirror

Quirks (datasets/afewva.md 7, 10): keys of a JSON are not sorted; scores are written as integers in one clip and with
decimals in others; one frame has a score out of range, one 67 points, one no picture; one picture is not named by the
JSON and one is truncated; one clip has another `video_id`, one no actor, one no JSON; an actor plays in two clips.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from affectdata.synthetic.face import Face, draw_parameters, render
from affectdata.synthetic.files import write_lines, write_picture
from affectdata.synthetic.truth import LabelTruth, RejectTruth, SampleTruth, Truth

DATASET = "afewva"
VARIANTS = ("nested", "flat", "mirror")
FRAMES = 5
SIDE = 48
ACTORS = ("Jane Doe", "John Roe", "Zoë Example")

QUIRKS = ("no-json", "id-mismatch", "no-actor", "bad-frames", "integers", "unlisted")
"""Quirk of the first clips, in order."""


@dataclass(frozen=True)
class _Frame:
    """One frame: scores of -10 to 10, or the value in the file that a reader must refuse."""

    number: int
    valence: int
    arousal: int
    landmarks: NDArray[np.float64]
    quirk: str = ""


def write(root: Path, *, samples: int, seed: int, variant: str = VARIANTS[0]) -> Truth:
    """Write `samples` frames, five to a clip, under `root`."""
    rng = np.random.default_rng(seed)
    found: list[SampleTruth] = []
    refused: list[RejectTruth] = []
    for index in range(-(-samples // FRAMES) + 1):
        number = 1 + 17 * index
        face = render(draw_parameters(rng), SIDE)
        quirk = QUIRKS[index] if index < len(QUIRKS) else ""
        base = {"nested": f"{-(-number // 50):02d}/", "flat": "", "mirror": f"AFEW-VA/{-(-number // 50):02d}/"}[variant]
        clip = _Clip(root, f"{base}{number:03d}", ACTORS[index % len(ACTORS)], quirk)
        clip.write(face, [_frame(rng, face, at, quirk) for at in range(FRAMES)], found, refused)
    return Truth(DATASET, variant, tuple(found), tuple(refused))


def _frame(rng: np.random.Generator, face: Face, number: int, clip_quirk: str) -> _Frame:
    landmarks = np.round(face.landmarks + number * 0.25, 2).astype(np.float64)
    valence, arousal = rng.integers(-10, 11, 2).tolist()
    quirk = {0: "out-of-range", 1: "short", 2: "no-picture", 3: "truncated"}.get(number, "")
    quirk = quirk if clip_quirk == "bad-frames" else "unlisted" if clip_quirk == "unlisted" and number == 4 else ""
    return _Frame(number, valence, arousal, landmarks, quirk)


@dataclass(frozen=True)
class _Clip:
    """One folder."""

    root: Path
    path: str
    actor: str
    quirk: str

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    def write(self, face: Face, frames: list[_Frame], found: list[SampleTruth], refused: list[RejectTruth]) -> None:
        """Write pictures and JSON; add what a reader must find and refuse."""
        table = f"{self.path}/{self.name}.json"
        for frame in frames:
            picture = f"{self.path}/{frame.number:05d}.png"
            if frame.quirk == "no-picture":
                refused.append(RejectTruth(picture, "missing-image"))
                continue
            write_picture(self.root / picture, face.image, truncated=frame.quirk == "truncated")
            found.append(self._truth(frame, picture))
        said = [frame for frame in frames if frame.quirk != "unlisted"]
        refused += [RejectTruth(table, "out-of-range") for frame in said if frame.quirk == "out-of-range"]
        refused += [RejectTruth(table, "bad-landmarks") for frame in said if frame.quirk == "short"]
        if self.quirk == "no-json":
            refused.append(RejectTruth(table, "missing-annotation"))
            return
        if self.quirk == "id-mismatch":
            refused.append(RejectTruth(table, "id-mismatch"))
        content: dict[str, object] = {} if self.quirk == "no-actor" else {"actor": self.actor}
        # Written backwards, so that the order of the keys is not that of time.
        content["frames"] = {f"{frame.number:05d}": self._said(frame) for frame in reversed(said)}
        content["video_id"] = "999" if self.quirk == "id-mismatch" else self.name
        write_lines(self.root / table, [json.dumps(content, indent=1, ensure_ascii=False)])

    def _said(self, frame: _Frame) -> dict[str, object]:
        valence = 11 if frame.quirk == "out-of-range" else frame.valence
        points = frame.landmarks[:67] if frame.quirk == "short" else frame.landmarks
        number = int if self.quirk == "integers" else float
        return {"arousal": number(frame.arousal), "landmarks": points.tolist(), "valence": number(valence)}

    def _truth(self, frame: _Frame, picture: str) -> SampleTruth:
        label = LabelTruth(
            "human",
            valence=frame.valence / 10,
            arousal=frame.arousal / 10,
            landmarks=frame.landmarks.astype(np.float32),
        )
        if frame.quirk == "out-of-range":
            label = replace(label, valence=None)
        if frame.quirk == "short":
            label = replace(label, landmarks=None)
        return SampleTruth(
            f"{self.name}/{frame.number:05d}",
            picture,
            subject=None if self.quirk in ("no-actor", "no-json") else self.actor,
            sequence=self.name,
            frame_index=frame.number,
            labels=() if self.quirk == "no-json" or frame.quirk == "unlisted" else (label,),
            readable=frame.quirk != "truncated",
        )
