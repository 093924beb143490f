"""The work on one sample: decode, find the face, cut it out. Runs on threads; every failure becomes a status."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from affectdata.faces import geometry
from affectdata.faces.alignments import Alignment, Needs
from affectdata.faces.detectors import FOUND, Detection, Detector, Hint, Image
from affectdata.faces.geometry import Transform
from affectdata.faces.warp import resized, warped
from affectdata.media import decode, pixel_hash
from manifests.errors import MediaError

NO_MEDIA, BAD_POINTS = "no-media", "degenerate-points"
"""Statuses beside a detector's and the reasons of `affectdata.media`: labels only; points that span no face."""

NO_FACE_POLICIES = ("skip", "box", "centre")
"""What to do where no face is found: no crop; the square about the dataset's box; the picture's centre square."""


@dataclass(frozen=True)
class Media:
    """Where one sample's picture lies; `path` is None for labels without pictures."""

    sample_id: str
    path: str | None
    member: str | None
    frame: int | None


@dataclass(frozen=True, eq=False)
class Crop:
    """A face cut out: pixels, source-to-crop transform, share of it outside the picture."""

    pixels: Image
    transform: Transform
    outside: float


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of one sample: its detection, facts of its picture if it was decoded, its crop if there is one."""

    sample_id: str
    detection: Detection
    width: int | None = None
    height: int | None = None
    pixel_hash: str | None = None
    crop: Crop | None = None


@dataclass(frozen=True)
class Worker:
    """Aligns single samples; holds nothing that changes.

    Attributes:
        root: Folder of the dataset's media.
        detector: Finds the face.
        alignment: Where it goes.
        channels: 1 (grey) or 3 (RGB).
        no_face: One of `NO_FACE_POLICIES`.
    """

    root: Path
    detector: Detector
    alignment: Alignment
    channels: int
    no_face: str

    def outcome(self, media: Media, hint: Hint) -> Outcome:
        """Decode, detect, cut. A picture that cannot be read gives a status, never an error."""
        if media.path is None:
            return Outcome(media.sample_id, Detection(NO_MEDIA))
        try:
            image = decode(self.root, media.path, media.member, media.frame)
        except MediaError as error:
            return Outcome(media.sample_id, Detection(error.reason))
        height, width = image.shape[:2]
        detection = self.detector.find(image, hint)
        # All alignments share one faces layer: a status may depend on the points, never on where they are to go.
        if (
            detection.face is not None
            and detection.face.points is not None
            and geometry.coincide(detection.face.points)
        ):
            detection = Detection(BAD_POINTS, detection.faces, detection.rule)
        crop = None
        transform = self._transform(detection, hint, (width, height))
        if transform is not None:
            outside = geometry.outside_share(transform, self.alignment.size, (width, height))
            crop = Crop(self._cut(image, transform), transform, outside)
        return Outcome(media.sample_id, detection, width, height, pixel_hash(image), crop)

    def _transform(self, detection: Detection, hint: Hint, source: tuple[int, int]) -> Transform | None:
        if detection.status == FOUND and detection.face is not None:
            return self.alignment.transform(detection.face, source)
        if detection.status == BAD_POINTS and self.alignment.needs is Needs.NOTHING:
            return self.alignment.transform(None, source)
        if self.no_face == "box" and hint.box is not None and (hint.box[2:] > hint.box[:2]).all():
            return geometry.box_transform(geometry.square_box(hint.box), self.alignment.size)
        if self.no_face == "centre":
            if self.alignment.needs is Needs.NOTHING:
                return self.alignment.transform(None, source)
            return geometry.box_transform(geometry.centre_square(*source), self.alignment.size)
        return None

    def _cut(self, image: Image, transform: Transform) -> Image:
        import cv2

        if self.channels == 1 and image.ndim == 3:
            image = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        height, width = image.shape[:2]
        if np.array_equal(transform, geometry.resize_transform((width, height), self.alignment.size)):
            pixels = resized(image, self.alignment.size)
        else:
            pixels = warped(image, transform, self.alignment.size, self.alignment.border)
        if self.channels == 3 and pixels.ndim == 2:
            pixels = np.repeat(pixels[..., None], 3, axis=2)
        return pixels.reshape(self.alignment.height, self.alignment.width, self.channels)
