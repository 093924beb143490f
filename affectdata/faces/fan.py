"""FAN: 68 points by face-alignment's 2D network, many faces in one batch.

Bulat and Tzimiropoulos 2017, "How far are we from solving the 2D & 3D Face Alignment problem?". Architecture and
weights are the library's; what it does face by face (forward pass, peaks of the heat maps) happens here in batches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from affectdata.faces import geometry
from affectdata.faces.detectors import Face, Image
from affectdata.faces.heatmaps import peaks
from affectdata.faces.landmarkers import LandmarkerSettings, Window, rgb
from affectdata.faces.weights import TorchHubWeights, load_tensors, sha256_of
from manifests.errors import WeightsError
from manifests.vocabulary import LANDMARK_MIRROR

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS = TorchHubWeights(
    folder="https://www.adrianbulat.com/downloads/python-fan",
    file="2DFAN4-11f355bf06.pth.tar",
    sha256="11f355bf0693120222f5955ce3f9dc8fb5763ebb30a47d7906e509490d32e4aa",
    local=("2DFAN4.safetensors",),
)
"""Address from the library (api.models_urls); the hash as several public repositories pin it, its head in the name.
A state dict, which torch reads with weights_only (the library loads it so)."""

MODULES = 4
"""Hourglasses in the stack; the library has no other size."""

SIZE, STRIDE = 256, 4
"""Side of the window, and window pixels per cell of the heat maps."""

REFERENCE_SCALE = {"yunet": 165.0, "retinaface": 165.0, "scrfd": 165.0}
"""V face-alignment, `reference_scale` of each of its detectors: how tight their boxes are. Others: 195."""


class Fan:
    """face-alignment's 2DFAN-4.

    Windows are cut exactly as the library cuts them (corners truncated to whole pixels, bilinear without
    anti-aliasing), because the network was trained on such windows. Its points are the library's, except that the
    library truncates them to whole pixels in the end and we do not. To which half pixel the network's own points lie
    is not known to us: neither its paper nor its code says whether training counted from 0 or 1.

    Confidence is the height of the heat map at the point, from 0 to 1; with `flip` the mean of both maps.
    """

    name = "fan"
    input_size = (SIZE, SIZE)

    def __init__(self, settings: LandmarkerSettings) -> None:
        import torch
        from face_alignment import __version__
        from face_alignment.models import FAN

        path = WEIGHTS.fetch()
        network = FAN(MODULES)
        try:
            network.load_state_dict(load_tensors(path))
        except RuntimeError as error:
            raise WeightsError(
                f"weights {path} are of another network", found=str(error).splitlines()[-1].strip(), expected="2DFAN-4"
            ) from None
        self._network = network.to(settings.device).eval()
        self._device, self._flip = settings.device, settings.flip
        self._reference = REFERENCE_SCALE.get(settings.detector, 195.0)
        self.facts = {
            "weights_sha256": sha256_of(path),
            "face_alignment": __version__,
            "torch": torch.__version__,
            "device": torch.device(settings.device).type,
            "flip": f"{settings.flip}".lower(),
            "reference_scale": f"{self._reference:g}",
        }

    def cut(self, image: Image, face: Face) -> Window | None:
        """The library's window on a box; None without a box, or where the window holds no pixel of the picture."""
        import cv2
        from face_alignment.utils import CENTER_Y_OFFSET, SCALE_FACTOR, transform

        if face.box is None or not (np.isfinite(face.box).all() and (face.box[2:] > face.box[:2]).all()):
            return None
        side = face.box[2:] - face.box[:2]
        centre = face.box[2:] - side / 2 - (0, CENTER_Y_OFFSET * side[1])
        scale = side.sum() / self._reference
        x1, y1 = transform([1, 1], centre, scale, SIZE, True).tolist()
        x2, y2 = transform([SIZE, SIZE], centre, scale, SIZE, True).tolist()
        height, width = image.shape[:2]
        left, top, right, bottom = max(0, x1), max(0, y1), min(x2, width), min(y2, height)
        if right <= left or bottom <= top:
            return None
        part = np.zeros((y2 - y1, x2 - x1, 3), np.uint8)
        part[top - y1 : bottom - y1, left - x1 : right - x1] = rgb(image[top:bottom, left:right])
        pixels = cv2.resize(part, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)
        shrink = SIZE / (SCALE_FACTOR * scale)
        shift = (SIZE - 1) / 2 - shrink * centre
        return Window(pixels, np.array([[shrink, 0.0, shift[0]], [0.0, shrink, shift[1]]]))

    def points(self, batch: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """See `Landmarker.points`."""
        import torch

        if not len(batch):
            return np.empty((0, 68, 2), np.float32), np.empty((0, 68), np.float32)
        with torch.inference_mode():
            found, heat = peaks(self.heatmaps(torch.from_numpy(batch).to(self._device)))
            cells = np.asarray(found.cpu().numpy(), np.float64)
            confidence = heat.clamp(0, 1).cpu().numpy()
        window = geometry.resize_transform((SIZE // STRIDE,) * 2, (SIZE, SIZE))
        return geometry.apply(window, cells).astype(np.float32), confidence

    def heatmaps(self, batch: Tensor) -> Tensor:
        """Heat maps (N, 68, 64, 64) of uint8 windows (N, 256, 256, 3), those of the mirrored windows averaged in."""
        pixels = batch.permute(0, 3, 1, 2).float() / 255
        heat: Tensor = self._network(pixels)[-1]
        if self._flip:
            mirrored = self._network(pixels.flip(-1))[-1]
            heat = (heat + mirrored[:, list(LANDMARK_MIRROR)].flip(-1)) / 2
        return heat
