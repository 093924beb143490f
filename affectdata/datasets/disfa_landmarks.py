"""Which frames of DISFA have points, which of them the tracker lost, and where the files are (datasets page 6, 7)."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from affectdata.datasets.disfa_points import read_points
from affectdata.datasets.point_sets import SIXTY_SIX, spread
from affectdata.datasets.reading import Distribution, Reject

POINT_FOLDER = re.compile(r"(?i)(?:^|/)Landmark_Points/(SN\d{3})(?:/[^/]+)?$")
_MAT = re.compile(r"(?i)^(?:SN\d{3}_(\d{1,6})|l(\d{1,6}))_lm\.mat$")

BAD_TRACKING = {
    "SN001": ((398, 420), (3190, 3243)),
    "SN002": ((800, 826),),
    "SN004": ((4541, 4555),),
    "SN006": ((1349, 1405),),
    "SN009": ((1736, 1808), (1851, 1885)),
    "SN011": ((4529, 4533), (4830, 4845)),
    "SN021": ((574, 616), (985, 1164), (1190, 1205), (1305, 1338), (1665, 1710), (1862, 2477), (2554, 4657),
              (4710, 4722)),
    "SN023": ((1021, 1049), (3378, 3557), (3584, 3668), (4547, 4621), (4741, 4772), (4825, 4845)),
    "SN025": ((4596, 4662), (4816, 4835)),
    "SN027": ((3461, 3494), (4738, 4785)),
    "SN028": ((1875, 1885), (4571, 4690)),
    "SN029": ((4090, 4543),),
    "SN030": ((939, 962), (1406, 1422), (2100, 2132), (2893, 2955)),
}  # fmt: skip
"""Frames (1-based, inclusive) on which the tracker failed: 4,670, those that JAANet leaves out [verified 2]."""


def landmarks(
    distribution: Distribution, subject: str, frames: NDArray[np.int64], labelled: NDArray[np.int64], reject: Reject
) -> NDArray[np.float32] | None:
    """Points [N, 136] of the frames, NaN where there are none; None for a subject without any.

    Args:
        labelled: All frames of the subject that have labels.
    """
    folder = distribution.folder
    paths: dict[int, str] = {}
    for path in distribution.parts["points"]:
        match = POINT_FOLDER.search(path)
        if match and match[1].upper() == subject:
            paths |= _point_files(path, folder.files.names(path, "*.mat"), paths, reject)
    beyond = sorted(set(paths) - set(labelled.tolist()))
    if beyond:
        # One folder of the release holds one file more than frames: its numbers count something else, or a frame is
        # shifted, and which is not known.
        about = f"Landmark_Points of {subject}"
        detail = f"{len(paths):,} files for {len(labelled):,} frames, {paths[beyond[0]]} for none: none of them is read"
        reject(about, "length-mismatch", detail)
        paths = {}
    if not paths:
        return None
    found = np.full((len(frames), 66, 2), np.nan)
    lost = failed(subject, frames)
    for row, frame in enumerate(frames.tolist()):
        if frame in paths and not lost[row]:
            base = int(folder.options["landmark-base"])
            points = folder.parsed(paths[frame], read_points, paths[frame], reject, base=base)
            found[row] = np.nan if points is None else points
    return spread(found, SIXTY_SIX)


def _point_files(path: str, names: Sequence[str], known: dict[int, str], reject: Reject) -> dict[int, str]:
    """Label frame -> file. SN001_0000_lm.mat counts from 0, l00001_lm.mat from 1 [verified 3]."""
    found: dict[int, str] = {}
    for name in names:
        match = _MAT.match(name)
        frame = 0 if not match else int(match[1]) + 1 if match[1] else int(match[2])
        if not match or frame in found or frame in known:
            reason = "duplicate-key" if match else "bad-name"
            reject(f"{path}/{name}", reason, "expected SN001_0000_lm.mat or l00001_lm.mat, once for each frame")
        else:
            found[frame] = f"{path}/{name}"
    return found


def failed(subject: str, frames: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which frames the tracker lost."""
    lost = np.zeros(len(frames), dtype=bool)
    for low, high in BAD_TRACKING.get(subject, ()):
        lost |= (frames >= low) & (frames <= high)
    return lost
