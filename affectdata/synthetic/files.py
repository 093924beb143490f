"""Writing a twin's files: pictures by extension, videos, text with chosen line ends, files broken on purpose."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

_QUALITY = {".jpg": [cv2.IMWRITE_JPEG_QUALITY, 95], ".png": [cv2.IMWRITE_PNG_COMPRESSION, 1]}


def write_picture(path: Path, image: NDArray[np.uint8], *, truncated: bool = False) -> None:
    """Write RGB [h, w, 3] or grey [h, w] uint8 by the path's extension; `truncated` keeps the first half only."""
    stored = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
    data = cv2.imencode(path.suffix, stored, _QUALITY[path.suffix])[1].tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data[: len(data) // 2] if truncated else data)


def write_video(path: Path, frames: Iterable[NDArray[np.uint8]], side: int, *, rate: float = 25) -> None:
    """Write RGB frames [side, side, 3] as motion JPEG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), rate, (side, side))
    for frame in frames:
        writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    writer.release()


def write_lines(path: Path, lines: Sequence[str], *, end: str = "\n", final: bool = True) -> None:
    """Write text lines; `final` says whether the last one ends with `end` too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((end.join(lines) + (end if final else "")).encode())


def grey(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Luma of an RGB picture: uint8 [h, w]."""
    luma: NDArray[np.uint8] = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return luma
