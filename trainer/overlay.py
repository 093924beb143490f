"""Predictions drawn onto the pictures and videos that they are of, to be looked at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from affectdata.faces.work import BOX_COLUMNS
from affectdata.media import decode
from affectdata.video import Video
from manifests.errors import MediaError, PredictionsError, StorageError

Picture = NDArray[np.uint8]
Row = Mapping[str, Any]

_GREEN, _WHITE, _DARK = (80, 220, 100), (255, 255, 255), (20, 20, 20)


def check_overlay(folder: Path, inputs: Sequence[Path]) -> None:
    """Refuse a folder in which drawings would replace originals, or be looked at as such the next time.

    Args:
        folder: Where drawings are to go.
        inputs: Pictures, videos and folders that are looked at.

    Raises:
        PredictionsError: It lies in a folder that is looked at, or holds a file that is.
    """
    place = folder.resolve()
    for path in inputs:
        if place.is_relative_to(path.resolve()) if path.is_dir() else place == path.resolve().parent:
            raise PredictionsError(
                f"overlay folder {folder} lies in the folder of the pictures",
                found=f"{path}",
                expected="another place, so that no original is replaced",
            )


def draw(root: Path, rows: Sequence[Row], folder: Path, fps: float = 25.0) -> int:
    """Draw rows of `trainer.predict` onto copies of their pictures and videos; the number of files written.

    Args:
        root: Folder that `path` of the rows is below.
        rows: In the order of the files; frames of a video in order.
        folder: Where to write, see `check_overlay`; videos become `.mp4`, pictures `.jpg` (`x.png`: `x.png.jpg`).
        fps: Frames per second of the videos: as many as the rows hold, whatever frames were skipped.

    Raises:
        PredictionsError: A drawing would replace an original.
        StorageError: A file cannot be written.
    """
    check_overlay(folder, [root / path for path in dict.fromkeys(str(row["path"]) for row in rows)])
    files = 0
    for path, mine in groupby(rows, key=lambda row: str(row["path"])):
        group = list(mine)
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if group[0]["frame"] is None:
            files += _picture(root, path, group[0], _named(target, ".jpg"))
        else:
            files += _video(root, path, group, _named(target, ".mp4"), fps)
    return files


def _named(target: Path, suffix: str) -> Path:
    """The name with a suffix; another one before it stays, so that `x.png` is not drawn over `x.jpg`."""
    return target if target.suffix.lower() == suffix else target.with_name(target.name + suffix)


def annotated(picture: Picture, row: Row) -> Picture:
    """A copy of an RGB picture with its face's box, landmarks and predictions."""
    import cv2

    image = np.ascontiguousarray(picture).copy()
    scale = max(image.shape[:2]) / 640
    line = max(1, round(2 * scale))
    corners = [row.get(name) for name in BOX_COLUMNS]
    if None not in corners:
        x1, y1, x2, y2 = (round(float(value)) for value in corners if value is not None)
        cv2.rectangle(image, (x1, y1), (x2, y2), _GREEN, line)
    points = row.get("landmarks_predicted")
    for x, y in np.asarray(points, np.float64).reshape(-1, 2) if points else ():
        cv2.circle(image, (round(x), round(y)), line, _GREEN, -1)
    for number, text in enumerate(captions(row)):
        place = (round(8 * scale), round((22 + 22 * number) * scale))
        for colour, width in ((_DARK, 3 * line), (_WHITE, line)):
            cv2.putText(image, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.6 * scale, colour, width, cv2.LINE_AA)
    return image


def captions(row: Row) -> Iterator[str]:
    """What is written beside a face: the class and its chance, valence and arousal, the AUs that are there."""
    said = row.get("expression_predicted")
    if said is not None:
        yield f"{said} {row[f'p_{said}']:.0%}"
    if row.get("valence_predicted") is not None:
        yield f"valence {row['valence_predicted']:+.2f}  arousal {row['arousal_predicted']:+.2f}"
    present = [
        name.removeprefix("p_au") for name, value in row.items() if name.startswith("p_au") and (value or 0) >= 0.5
    ]
    if present:
        yield "AU " + " ".join(str(int(number)) for number in present)
    if row["status"] != "found":
        yield str(row["status"])


def _picture(root: Path, path: str, row: Row, target: Path) -> int:
    import cv2

    try:
        picture = decode(root, path)
    except MediaError:
        return 0
    if not cv2.imwrite(str(target), cv2.cvtColor(annotated(picture, row), cv2.COLOR_RGB2BGR)):
        raise StorageError(f"{target} cannot be written")
    return 1


def _video(root: Path, path: str, rows: Sequence[Row], target: Path, fps: float) -> int:
    import cv2

    try:
        video = Video(root / path, path)
    except MediaError:
        return 0
    writer = None
    for row in rows:
        try:
            image = annotated(video.frame(row["frame"]), row)
        except MediaError:
            continue
        if writer is None:
            size = image.shape[1], image.shape[0]
            writer = cv2.VideoWriter(str(target), cv2.VideoWriter.fourcc(*"mp4v"), fps, size)
            if not writer.isOpened():
                raise StorageError(f"{target} cannot be written")
        writer.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    if writer is None:
        return 0
    writer.release()
    return 1
