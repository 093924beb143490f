"""Any 68-point ONNX network as a landmarker, run by OpenCV; a small TOML file says how it wants its input."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from affectdata.faces import geometry
from affectdata.faces.detectors import Face, Image
from affectdata.faces.landmarkers import LandmarkerSettings, Window, rgb
from affectdata.faces.warp import warped
from affectdata.faces.weights import sha256_of
from manifests.errors import WeightsError

POINTS = 68

EXAMPLE = """name = "pfld"         # its points become labels/landmarks-pfld
input = [112, 112]    # width, height in pixels
scale = 0.00392156862745098   # (value 0..255 - mean) * scale
enlarge = 1.1         # the square about the box's longer side, times this
points = "unit"       # 0..1 from edge to edge of the window"""


class LandmarkMap(BaseModel):
    """How a landmark network sees a face, and how its answer is meant.

    Attributes:
        name: Of the model; its points become `labels/landmarks-<name>`.
        input: (width, height) of the network's input in pixels.
        colour: Order of the input's channels.
        mean, scale: The network sees (value - mean) * scale of values from 0 to 255, in the order of `colour`.
        box: The window: `square`, of the box's longer side about its centre, or the `whole` box, stretched.
        enlarge: Times which the window is larger than that.
        points: What the output is: `unit`, x and y from 0 to 1 from edge to edge of the window; `pixels` of the
            window, pixel centres at integers; or `heatmaps`, (68, h, w), whose heights are the confidences.
        order: Of 136 numbers: `interleaved`, x and y by turns, or `planar`, all x first.
        output: Name of the output that holds the points; empty where there is one output.
        confidence: Name of an output of 68 confidences from 0 to 1; empty where there is none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_]*$")
    input: tuple[int, int]
    colour: Literal["rgb", "bgr"] = "rgb"
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    scale: float | tuple[float, float, float] = 1.0
    box: Literal["square", "whole"] = "square"
    enlarge: float = Field(1.0, gt=0)
    points: Literal["unit", "pixels", "heatmaps"]
    order: Literal["interleaved", "planar"] = "interleaved"
    output: str = ""
    confidence: str = ""


class OnnxLandmarker:
    """A landmark network in an ONNX file.

    Raises:
        WeightsError: No such file, no network, or one that does not give 68 points; no map beside it, or a bad one.
    """

    def __init__(self, path: Path, settings: LandmarkerSettings) -> None:
        import cv2

        self._path, self._map = path, read_map(path, settings.map)
        self.name, self.input_size = self._map.name, self._map.input
        self._network = self._read()
        self._together = self._takes_batches()
        self.facts = {
            "weights_sha256": sha256_of(path),
            "opencv": cv2.__version__,
            "map": self._map.model_dump_json(),
        }

    def cut(self, image: Image, face: Face) -> Window | None:
        """The window that the map describes, black outside the picture; None without a box."""
        if face.box is None or not (np.isfinite(face.box).all() and (face.box[2:] > face.box[:2]).all()):
            return None
        box = geometry.square_box(face.box) if self._map.box == "square" else face.box
        transform = geometry.box_transform(geometry.enlarged_box(box, self._map.enlarge), self.input_size)
        return Window(rgb(warped(image, transform, self.input_size)), transform)

    def points(self, batch: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """See `Landmarker.points`; a network that takes one window at a time is given one at a time."""
        if not len(batch):
            return np.empty((0, POINTS, 2), np.float32), np.empty((0, POINTS), np.float32)
        parts = [batch] if self._together else [batch[i : i + 1] for i in range(len(batch))]
        answers = [self._decoded(self._forward(part), len(part)) for part in parts]
        return np.concatenate([points for points, _ in answers]), np.concatenate([heat for _, heat in answers])

    def _read(self) -> Any:
        import cv2

        try:
            return cv2.dnn.readNetFromONNX(str(self._path))
        except cv2.error as error:
            raise WeightsError(
                f"landmark network {self._path} cannot be loaded", found=_first_line(error), expected="an ONNX file"
            ) from None

    def _takes_batches(self) -> bool:
        """Whether two windows at once give two answers; one must give one."""
        import cv2

        width, height = self.input_size
        try:
            self._decoded(self._forward(np.zeros((1, height, width, 3), np.uint8)), 1)
        except (cv2.error, ValueError) as error:
            raise WeightsError(
                f"landmark network {self._path} does not answer as its map says",
                found=_first_line(error),
                expected=f"{POINTS} points as {self._map.points} for an input of {width} x {height}",
                then="correct input, points, output or confidence in the map",
            ) from None
        try:
            self._decoded(self._forward(np.zeros((2, height, width, 3), np.uint8)), 2)
        except (cv2.error, ValueError):
            self._network = self._read()  # a failed pass leaves the network in no state to go on
            return False
        return True

    def _forward(self, batch: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        pixels = batch if self._map.colour == "rgb" else batch[..., ::-1]
        values = (pixels.astype(np.float32) - np.array(self._map.mean, np.float32)) * np.array(
            self._map.scale, np.float32
        )
        self._network.setInput(np.ascontiguousarray(values.transpose(0, 3, 1, 2)))
        names = [self._map.output or self._network.getUnconnectedOutLayersNames()[0], self._map.confidence]
        return [np.array(output, np.float32) for output in self._network.forward([name for name in names if name])]

    def _decoded(
        self, outputs: list[NDArray[np.float32]], count: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Points in pixels of the window, and confidences; ValueError for outputs of another size."""
        width, height = self.input_size
        confidence = np.full((count, POINTS), np.nan, np.float32)
        if self._map.points == "heatmaps":
            points, confidence = self._from_heatmaps(outputs[0], count)
        elif outputs[0].size != count * POINTS * 2:
            raise ValueError(f"an output of shape {outputs[0].shape}")
        elif self._map.order == "planar":
            points = outputs[0].reshape(count, 2, POINTS).transpose(0, 2, 1)
        else:
            points = outputs[0].reshape(count, POINTS, 2)
        if self._map.points == "unit":
            points = points * np.array((width, height), np.float32) - np.float32(0.5)
        if self._map.confidence:
            confidence = outputs[1].reshape(count, POINTS).clip(0, 1)
        return np.asarray(points, np.float32), confidence

    def _from_heatmaps(self, maps: NDArray[np.float32], count: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        import torch

        from affectdata.faces.heatmaps import peaks

        if maps.ndim != 4 or maps.shape[:2] != (count, POINTS):
            raise ValueError(f"an output of shape {maps.shape}")
        cells, heat = peaks(torch.from_numpy(maps))
        window = geometry.resize_transform((maps.shape[3], maps.shape[2]), self.input_size)
        return geometry.apply(window, cells.numpy()).astype(np.float32), heat.clamp(0, 1).numpy()


def read_map(network: Path, given: Path | None) -> LandmarkMap:
    """The map of a network: the named file, or NAME.toml beside NAME.onnx, or in the working folder.

    Raises:
        WeightsError: The network or its map is not there, or the map does not fit.
    """
    if not network.is_file():
        raise WeightsError(f"no landmark network {network}", expected="onnx:PATH of an ONNX file")
    places = [given] if given else [network.with_suffix(".toml"), Path(f"{network.stem}.toml")]
    found = [place for place in places if place.is_file()]
    if not found:
        raise WeightsError(
            f"nothing says how {network.name} wants its input",
            found=f"no {' and no '.join(map(str, places))}",
            expected="a TOML file such as\n" + re.sub("^", "    ", EXAMPLE, flags=re.MULTILINE),
            then=f"write it to {places[0]}" + ("" if given else f", or to {places[1]} in the working folder"),
        )
    try:
        return LandmarkMap.model_validate(tomllib.loads(found[0].read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise WeightsError(f"landmark map {found[0]} is no TOML", found=str(error)) from None
    except ValidationError as error:
        wrong = [f"{'.'.join(map(str, e['loc'])) or 'map'}: {e['msg']}" for e in error.errors()]
        raise WeightsError(
            f"landmark map {found[0]} does not fit",
            found="; ".join(wrong),
            expected=", ".join(LandmarkMap.model_fields),
        ) from None


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
