"""YuNet: a face detector of 75 thousand weights that gives boxes and five points, run by OpenCV.

Wu, Peng and Yu 2023, "YuNet: A Tiny Millisecond-level Face Detector".
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from affectdata.faces import geometry
from affectdata.faces.detectors import Detection, DetectorSettings, Face, Hint, Image, choose
from affectdata.faces.warp import resized
from affectdata.faces.weights import HuggingFaceWeights, sha256_of
from manifests.errors import WeightsError

WEIGHTS = HuggingFaceWeights(
    repository="opencv/face_detection_yunet",
    revision="3cc26e7f1014a5ee5d74a42acee58bafc9d0a310",
    file="face_detection_yunet_2023mar.onnx",
    sha256="8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
    local=("yunet.onnx",),
)
"""Revision and hash as given by several public repositories that pin the same file; the repository's own page
shows the short form 3cc26e7."""

_TOP_K = 5000
"""Boxes kept before non-maximum suppression; cv2's default."""


EDGE_TO_CENTRE = 0.5
"""YuNet counts pixel edges: its first pixel spans 0..1. Measured on 102 annotated pupil pairs (London faces) over
ten input sizes of 608-704 px and paddings, its raw eyes lie (0.5, 0.5) px right of and below the pupils."""


class YuNet:
    """cv2.FaceDetectorYN, one network per thread.

    Its first point is the subject's right eye, which is the image-left eye: the order is already ours. Its
    coordinates are brought from pixel edges to pixel centres.
    """

    name = "yunet"
    gives_points = True

    def __init__(self, settings: DetectorSettings) -> None:
        import cv2

        # OpenCV 5 warns once per network that its graph engine ignores the target; nobody asked for one
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
        self._settings = settings
        self._path = WEIGHTS.fetch()
        self._local = threading.local()
        self.facts = {
            "weights_sha256": sha256_of(self._path),
            "opencv": cv2.__version__,
            "max_side": f"{settings.max_side}",
            "score": f"{settings.score:g}",
            "nms": f"{settings.nms:g}",
        }
        self._network()

    def find(self, image: Image, hint: Hint) -> Detection:
        """The sample's face; see `choose`."""
        height, width = image.shape[:2]
        return choose(self.faces(image), hint, (width, height))

    def faces(self, image: Image) -> list[Face]:
        """All faces of a picture, best score first, coordinates in pixels of the picture as given."""
        import cv2

        height, width = image.shape[:2]
        factor = min(1.0, self._settings.max_side / max(width, height))
        size = (max(1, round(width * factor)), max(1, round(height * factor)))
        small = cv2.cvtColor(resized(image, size), cv2.COLOR_GRAY2BGR if image.ndim == 2 else cv2.COLOR_RGB2BGR)
        network = self._network()
        network.setInputSize(size)
        rows = network.detect(small)[1]
        if rows is None:
            return []
        back = geometry.inverse(geometry.resize_transform((width, height), size))
        return [self._face(row.astype(np.float64), back) for row in rows]

    @staticmethod
    def _face(row: np.ndarray, back: geometry.Transform) -> Face:
        # x y w h, then right eye, left eye (the subject's), nose, right and left mouth corner, then score
        corners = np.array([row[:2], row[:2] + row[2:4]])
        box = geometry.apply(back, corners - EDGE_TO_CENTRE).reshape(4)
        return Face(box, geometry.apply(back, row[4:14].reshape(5, 2) - EDGE_TO_CENTRE), float(min(row[14], 1.0)))

    def _network(self) -> Any:
        import cv2

        if not hasattr(self._local, "network"):
            s = self._settings
            try:
                network = cv2.FaceDetectorYN.create(
                    str(self._path), "", (s.max_side, s.max_side), s.score, s.nms, _TOP_K
                )
            except cv2.error as error:
                raise WeightsError(
                    f"weights {self._path} cannot be loaded", found=str(error).splitlines()[0], expected=WEIGHTS.file
                ) from None
            self._local.network = network
        return self._local.network
