"""Landmarkers: 68 points of one face. The protocol between the align engine and a landmark network, and the registry.

A landmarker looks at one face at a time through a small window of fixed size, so that faces of all pictures share one
batch: `cut` on the threads that decode, `points` on the batch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from affectdata.faces import geometry
from affectdata.faces.detectors import Face, Image
from affectdata.faces.geometry import Transform
from manifests.errors import UnknownNameError

LANDMARKERS = ("dataset", "fan", "onnx:PATH")


@dataclass(frozen=True, eq=False)
class Window:
    """What a landmarker looks at.

    Attributes:
        pixels: uint8 (h, w, 3) RGB, of the landmarker's input size.
        transform: Pixels of the picture to pixels of the window; its inverse carries found points back.
    """

    pixels: Image
    transform: Transform


@dataclass(frozen=True)
class LandmarkerSettings:
    """What a landmarker may be told.

    Attributes:
        device: `cpu`, `cuda` or `cuda:1` for networks that run in torch.
        detector: `fan`: whose boxes it is given; face-alignment's windows are wider on boxes of some detectors.
        flip: `fan`: also look at the mirrored window and add both heat maps, as face-alignment does by default; costs
            a second forward pass.
        map: `onnx:PATH`: the TOML file that says how the network wants its input; None: the file of the network's
            name with the ending .toml, beside the network or in the working folder.
    """

    device: str = "cpu"
    detector: str = "sfd"
    flip: bool = True
    map: Path | None = None


class Landmarker(Protocol):
    """Finds 68 points of a face whose box is known. `cut` is called from several threads, `points` from one."""

    @property
    def name(self) -> str:
        """As in `labels/landmarks-<name>`."""

    @property
    def facts(self) -> dict[str, str]:
        """What its results depend on: versions, hashes of weights, settings."""

    @property
    def input_size(self) -> tuple[int, int]:
        """(width, height) of its window in pixels."""

    def cut(self, image: Image, face: Face) -> Window | None:
        """The window on a face; None where the face has no box that one can be cut from.

        Args:
            image: (H, W, 3) RGB or (H, W) grey.
            face: In pixels of that picture.
        """

    def points(self, batch: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The 68 points of each window.

        Args:
            batch: (N, h, w, 3) RGB.

        Returns:
            float32 (N, 68, 2) in pixels of the window, and float32 (N, 68) confidences from 0 to 1, NaN where the
            network gives none.
        """


def landmarker(name: str, settings: LandmarkerSettings | None = None) -> Landmarker | None:
    """The landmarker of that name; None for `dataset`, whose points lie in the lake: nothing is to be run.

    - `fan`: face-alignment's 2D FAN.
    - `onnx:PATH`: any 68-point ONNX network.

    Raises:
        UnknownNameError: No such landmarker.
        WeightsError: Its weights, or the file that describes its input, are not to be had.
    """
    settings = settings or LandmarkerSettings()
    if name == "dataset":
        return None
    if name == "fan":
        from affectdata.faces.fan import Fan

        return Fan(settings)
    if name.startswith("onnx:"):
        from affectdata.faces.onnx_landmarks import OnnxLandmarker

        return OnnxLandmarker(Path(name.removeprefix("onnx:")).expanduser(), settings)
    raise UnknownNameError("landmarker", name, LANDMARKERS)


def with_landmarks(face: Face, window: Window, points: NDArray[np.float32]) -> Face:
    """The face with the points (68, 2) that were found in its window, in pixels of the picture.

    Where the detector gave no five points, they are made from the 68 (variant P of landmarks68.md).
    """
    landmarks = geometry.to_source(points, window.transform)
    return replace(
        face, landmarks=landmarks, points=geometry.five_points(landmarks) if face.points is None else face.points
    )


def rgb(image: Image) -> Image:
    """A picture (H, W) or (H, W, 3) with three channels."""
    return image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)
