"""What the twins of BP4D and BP4D+ share: AU files of a sequence, and its pictures in a folder or in a zip."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from affectdata.synthetic.face import draw_parameters, render
from affectdata.synthetic.files import write_lines
from affectdata.synthetic.truth import Annotation, LabelTruth, RejectTruth, SampleTruth

LEVELS = (6, 10, 12, 14, 17)
UNKNOWN = 9
SIDE = 48
_STAMP = (2014, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Scene:
    """One sequence.

    Args:
        coded: AU frames that the files cover; empty for a task that is not coded.
        shown: Numbers of the pictures; picture f shows AU frame f.
        digits: To how many a picture's number is padded.
        wide: One column for every number to 99, else the coded AUs only.
        quirks: `truncated` (first coded picture), `code` (an occurrence 5 and an intensity 7), `short` (AU06 lacks its
            last line), `twice` (the last line of occurrence again), `stray` (zeros in column 41), `crlf`.
    """

    subject: str
    task: int
    coded: range
    shown: range
    digits: int = 4
    wide: bool = True
    quirks: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.subject}_T{self.task}"

    @property
    def pictures(self) -> str:
        return f"{self.subject}/T{self.task}"


@dataclass
class Writer:
    """Writes sequences below a root and gathers what is true of them.

    Args:
        group: What stands before a subject in `group_id`.
        aus: AUs that have a column.
        gender: Whether the release tells it by the subject's letter.
    """

    root: Path
    rng: np.random.Generator
    group: str
    aus: Sequence[int]
    gender: bool
    occurrence: str = "AUCoding/AU_OCC"
    intensity: str = "AUCoding/AU_INT"
    samples: list[SampleTruth] = field(default_factory=list)
    rejects: list[RejectTruth] = field(default_factory=list)

    def write(self, scene: Scene, top: str, *, zipped: bool = False) -> None:
        """Write one sequence: with `zipped` into the person's zip, else into folders below `top`."""
        occurrence = self._codes(scene, self.aus, 1)
        levels = self._codes(scene, LEVELS, 5)
        if scene.coded:
            self._write_occurrence(scene, occurrence)
            self._write_levels(scene, levels)
        files = dict(self._pictures(scene))
        names = {number: f"{number:0{scene.digits}d}.jpg" for number in scene.shown}
        archive = f"{top}/{scene.subject}.zip"
        if zipped:
            _append(self.root / archive, {f"{scene.pictures}/{names[n]}": files[n] for n in reversed(scene.shown)})
        else:
            folder = self.root / top / scene.pictures
            folder.mkdir(parents=True, exist_ok=True)
            for number, data in files.items():
                (folder / names[number]).write_bytes(data)
        for frame in sorted({*scene.coded, *scene.shown}):
            if frame not in names:
                self.rejects.append(RejectTruth(f"{top}/{scene.pictures}/{frame}", "missing-image"))
                continue
            path = archive if zipped else f"{top}/{scene.pictures}/{names[frame]}"
            member = f"{scene.pictures}/{names[frame]}" if zipped else None
            self.samples.append(self._truth(scene, frame, path, member, occurrence, levels))

    def _codes(self, scene: Scene, aus: Sequence[int], top: int) -> NDArray[np.int64]:
        size = (len(scene.coded), len(aus))
        codes = np.where(self.rng.random(size) < 0.1, UNKNOWN, self.rng.integers(0, top + 1, size))
        if "code" in scene.quirks:
            codes[1, 0] = 5 if top == 1 else 7
        return codes.astype(np.int64)

    def _write_occurrence(self, scene: Scene, codes: NDArray[np.int64]) -> None:
        path = f"{self.occurrence}/{scene.name}.csv"
        columns = range(1, 100) if scene.wide else self.aus
        lines = [",".join(map(str, (0 if scene.wide else 1, *columns)))]
        for frame, row in zip(scene.coded, codes.tolist(), strict=True):
            said = dict(zip(self.aus, row, strict=True)) | ({41: 0, 99: 1} if "stray" in scene.quirks else {99: 0})
            lines.append(",".join(map(str, (frame, *(said.get(au, UNKNOWN) for au in columns)))))
        if "twice" in scene.quirks:
            lines.append(lines[-1])
            self.rejects.append(RejectTruth(path, "duplicate-key", len(codes)))
        if "stray" in scene.quirks:
            self.rejects.append(RejectTruth(f"{self.occurrence} column 41", "no-column-map"))
        if "code" in scene.quirks:
            self.rejects.append(RejectTruth(path, "unknown-code", 1))
        write_lines(self.root / path, lines, end="\r\n" if "crlf" in scene.quirks else "\n")

    def _write_levels(self, scene: Scene, codes: NDArray[np.int64]) -> None:
        for au, column in zip(LEVELS, codes.T.tolist(), strict=True):
            path = f"{self.intensity}/AU{au:02d}/{scene.name}_AU{au:02d}.csv"
            lines = [f"{frame},{code}" for frame, code in zip(scene.coded, column, strict=True)]
            if "short" in scene.quirks and au == 6:
                lines.pop()
            # A file that repeats a line of occurrence has other lines than the intensity files too.
            if ("short" in scene.quirks and au == 6) or "twice" in scene.quirks:
                self.rejects.append(RejectTruth(path, "length-mismatch"))
            if "code" in scene.quirks and au == LEVELS[0]:
                self.rejects.append(RejectTruth(path, "unknown-code", 1))
            write_lines(self.root / path, lines)

    def _pictures(self, scene: Scene) -> Iterator[tuple[int, bytes]]:
        faces = [render(draw_parameters(self.rng), SIDE).image for _ in range(2)]
        for number in scene.shown:
            data = cv2.imencode(".jpg", cv2.cvtColor(faces[number % 2], cv2.COLOR_RGB2BGR))[1].tobytes()
            yield number, data[: len(data) // 2] if _is_cut(scene, number) else data

    def _truth(
        self,
        scene: Scene,
        frame: int,
        path: str,
        member: str | None,
        occurrence: NDArray[np.int64],
        levels: NDArray[np.int64],
    ) -> SampleTruth:
        labels: tuple[LabelTruth, ...] = ()
        if frame in scene.coded:
            row = scene.coded.index(frame)
            bits = {au: code for au, code in zip(self.aus, occurrence[row].tolist(), strict=True) if code in (0, 1)}
            told = {au: float(code) for au, code in zip(LEVELS, levels[row].tolist(), strict=True) if code <= 5}
            if "short" in scene.quirks and frame == scene.coded[-1]:
                told.pop(6, None)
            labels = (LabelTruth("human", aus=bits, au_intensities=told),)
        return SampleTruth(
            key=f"{scene.pictures}/{frame:04d}",
            path=path,
            member=member,
            subject=scene.subject,
            sequence=scene.name,
            frame_index=frame,
            group=f"{self.group}:{scene.subject}",
            labels=labels,
            readable=not _is_cut(scene, frame),
            annotation=Annotation(gender="female" if scene.subject[0] == "F" else "male") if self.gender else None,
        )


def _is_cut(scene: Scene, number: int) -> bool:
    return "truncated" in scene.quirks and number == scene.coded[0]


def _append(path: Path, members: dict[str, bytes]) -> None:
    """Add members to a zip, in the given order and with one time, so that the bytes repeat."""
    held: dict[str, bytes] = {}
    if path.is_file():
        with zipfile.ZipFile(path) as archive:
            held = {name: archive.read(name) for name in archive.namelist()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in {**held, **members}.items():
            archive.writestr(zipfile.ZipInfo(name, _STAMP), data)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(buffer.getvalue())
