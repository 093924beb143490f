"""S3FD: face_alignment's `sfd` detector, boxes without points, many pictures in one batch.

Zhang et al. 2017, "S3FD: Single shot scale-invariant face detector". Architecture, box decoding, non-maximum
suppression and weights are the library's.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from affectdata.faces import geometry
from affectdata.faces.detectors import Detection, DetectorSettings, Face, Hint, Image, choose
from affectdata.faces.landmarkers import rgb
from affectdata.faces.warp import resized
from affectdata.faces.weights import TorchHubWeights, load_tensors, sha256_of
from manifests.errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS = TorchHubWeights(
    folder="https://www.adrianbulat.com/downloads/python-fan",
    file="s3fd-619a316812.pth",
    sha256="619a31681264d3f7f7fc7a16a42cbbe8b23f31a256f75a366e5a1bcd59b33543",
    local=("s3fd.safetensors", "s3fd.pth"),
)
"""Address from the library (sfd_detector.models_urls); the hash as several public repositories pin it, its head in
the name. A state dict, which torch reads with weights_only (the library reads its download without)."""

MEAN = (123.0, 117.0, 104.0)
"""V detect.batch_detect: subtracted from red, green and blue, 0 to 255; the network sees blue, green, red."""

FIRST_STRIDE, ANCHOR, VARIANCES = 4, 4, (0.1, 0.2)
"""V detect.get_predictions: strides 4, 8 ... 128, square anchors of four times the stride, scales of the offsets."""


class Sfd:
    """face_alignment's S3FD.

    Its boxes are the library's, in the library's coordinates, which FAN's windows are cut from: whether its first
    pixel is centred on 0 or spans 0 to 1 is said nowhere, and half a pixel of a box moves no point. The library looks
    at whole pictures and sees faces above 0.5; here `max_side` and `score` say it, as for every detector.
    """

    name = "sfd"
    gives_points = False

    def __init__(self, settings: DetectorSettings) -> None:
        import torch
        from face_alignment import __version__
        from face_alignment.detection.sfd.net_s3fd import s3fd

        path = WEIGHTS.fetch()
        network = s3fd()
        try:
            network.load_state_dict(load_tensors(path))
        except RuntimeError as error:
            raise WeightsError(
                f"weights {path} are of another network", found=str(error).splitlines()[-1].strip(), expected="S3FD"
            ) from None
        self._network = network.to(settings.device).eval()
        self._settings = settings
        self._one_at_a_time = threading.Lock()  # torch has threads of its own, and a device one memory
        self.facts = {
            "weights_sha256": sha256_of(path),
            "face_alignment": __version__,
            "torch": torch.__version__,
            "device": torch.device(settings.device).type,
            "max_side": f"{settings.max_side}",
            "score": f"{settings.score:g}",
            "nms": f"{settings.nms:g}",
        }

    def find(self, image: Image, hint: Hint) -> Detection:
        """The sample's face; see `choose`."""
        return self.find_all([image], [hint])[0]

    def find_all(self, images: Sequence[Image], hints: Sequence[Hint]) -> list[Detection]:
        """As `find` on each; pictures of equal size share a batch."""
        alike: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
        for n, image in enumerate(images):
            alike[image.shape[:2]].append(n)
        found: dict[int, Detection] = {}
        for (height, width), numbers in alike.items():
            for n, faces in zip(numbers, self._faces([images[n] for n in numbers]), strict=True):
                found[n] = choose(faces, hints[n], (width, height))
        return [found[n] for n in range(len(images))]

    def _faces(self, images: Sequence[Image]) -> list[list[Face]]:
        """All faces of each of several pictures of one size, best score first, in pixels of the pictures as given."""
        height, width = images[0].shape[:2]
        factor = min(1.0, self._settings.max_side / max(width, height))
        size = (max(1, round(width * factor)), max(1, round(height * factor)))
        small = np.stack([rgb(resized(image, size)) for image in images])
        back = geometry.inverse(geometry.resize_transform((width, height), size))
        return [
            [Face(geometry.apply(back, row[:4].reshape(2, 2)).reshape(4), None, float(row[4])) for row in rows]
            for rows in self.boxes(small)
        ]

    def boxes(self, batch: NDArray[np.uint8]) -> list[NDArray[np.float64]]:
        """Rows (x1, y1, x2, y2, score) of each picture of a batch (N, h, w, 3) RGB, best score first."""
        import torch
        from face_alignment.detection.sfd.bbox import nms

        with self._one_at_a_time, torch.inference_mode():
            pixels = torch.from_numpy(batch).to(self._settings.device).permute(0, 3, 1, 2).float()
            pixels = pixels - torch.tensor(MEAN, device=pixels.device).view(1, 3, 1, 1)
            outputs = self._network(pixels.flip(1))
            candidates = [
                self._candidates(scores.softmax(1)[:, 1], offsets, FIRST_STRIDE << level)
                for level, (scores, offsets) in enumerate(zip(outputs[::2], outputs[1::2], strict=True))
            ]
        numbers = np.concatenate([number for number, _ in candidates])
        rows = np.concatenate([row for _, row in candidates])
        each = [rows[numbers == n] for n in range(len(batch))]
        return [row[np.array(nms(row, self._settings.nms), int)] for row in each]

    def _candidates(
        self, scores: Tensor, offsets: Tensor, stride: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Of one level's scores (N, h, w) and offsets (N, 4, h, w): which picture, and its box and score.

        Boxes below the least score suppress none above it, so leaving them out before changes nothing.
        """
        from face_alignment.detection.sfd.bbox import decode

        number, y, x = (scores > self._settings.score).nonzero(as_tuple=True)
        moved = offsets[number, :, y, x].cpu().numpy()
        centres = (np.column_stack([x.cpu(), y.cpu()]) + 0.5) * stride
        anchors = np.column_stack([centres, np.full((len(centres), 2), ANCHOR * stride)])
        found = np.column_stack([decode(moved, anchors, VARIANCES), scores[number, y, x].cpu().numpy()])
        return number.cpu().numpy(), found.astype(np.float64)
