"""The work on one sample: decode, find the face, cut it out. Runs on threads; every failure becomes a status."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from affectdata.faces import geometry
from affectdata.faces.alignments import Alignment, Needs
from affectdata.faces.detectors import FOUND, BatchDetector, Detection, Detector, Face, Hint, Image
from affectdata.faces.geometry import DegenerateGeometryError, Points, Transform
from affectdata.faces.landmarkers import Landmarker, Window
from affectdata.faces.measures import Measures, measures
from affectdata.faces.warp import resized, warped
from affectdata.media import decode, pixel_hash
from manifests.errors import MediaError
from manifests.jpegs import encode

NO_MEDIA, BAD_POINTS = "no-media", "degenerate-points"
"""Statuses beside a detector's and the reasons of `affectdata.media`: labels only; points that span no face."""

BOX_COLUMNS = ("box_x1", "box_y1", "box_x2", "box_y2")
"""Columns of a box, in its order."""

NO_FACE_POLICIES = ("skip", "box", "centre")
"""What to do where no face is found: no crop; the square about the dataset's box; the picture's centre square."""


_PIXELS = 1 << 25
"""Pixels of pictures that wait together for a detector that takes several; one picture may have more."""


@dataclass(frozen=True)
class Media:
    """Where one sample's picture lies; `path` is None for labels without pictures."""

    sample_id: str
    path: str | None
    member: str | None
    frame: int | None


@dataclass(frozen=True, eq=False)
class Crop:
    """A face cut out: bytes as they are stored, source-to-crop transform, share of it outside the picture."""

    data: bytes
    transform: Transform
    outside: float


@dataclass(frozen=True, eq=False)
class Landmarks:
    """What a landmarker says: points (68, 2) in pixels of the source, and how sure it is of them, 0 to 1 or None."""

    points: Points
    confidence: float | None


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of one sample: its detection, facts of its picture if it was decoded, its crop if there is one.

    Attributes:
        known: The sample's row of an earlier faces layer, if its face was not looked for again.
    """

    sample_id: str
    detection: Detection
    width: int | None = None
    height: int | None = None
    pixel_hash: str | None = None
    measures: Measures | None = None
    crop: Crop | None = None
    landmarks: Landmarks | None = None
    known: dict[str, Any] | None = None


@dataclass(frozen=True, eq=False)
class Item:
    """One sample to be worked on.

    Attributes:
        media: Where its picture lies.
        hint: What the dataset says of its face.
        known: Its row of the faces layer, where its face was found before.
        picture: The picture or the reason why there is none, where it was decoded ahead; None: not yet.
    """

    media: Media
    hint: Hint
    known: dict[str, Any] | None = None
    picture: Image | MediaError | None = None


@dataclass(frozen=True, eq=False)
class Looked:
    """A sample whose face was looked for.

    Attributes:
        outcome: Without a crop as long as `picture` is held.
        window: What a landmarker is to look at; None: nothing.
        picture: Held where the crop depends on the landmarks.
    """

    outcome: Outcome
    window: Window | None = None
    picture: Image | None = None
    hint: Hint = field(default_factory=Hint)


@dataclass(frozen=True)
class Worker:
    """Aligns single samples; holds nothing that changes.

    Attributes:
        root: Folder of the dataset's media.
        detector: Finds the face.
        landmarker: Finds 68 points in it; None: nobody does.
        alignment: Where it goes.
        channels: 1 (grey) or 3 (RGB).
        no_face: One of `NO_FACE_POLICIES`.
        quality: Crops are stored as JPEGs of this quality; None: as raw pixels.
    """

    root: Path
    detector: Detector
    landmarker: Landmarker | None
    alignment: Alignment
    channels: int
    no_face: str
    quality: int | None = None

    @property
    def crop_waits(self) -> bool:
        """Whether the crop depends on what the landmarker finds."""
        five = self.alignment.needs is Needs.FIVE_POINTS and not self.detector.gives_points
        return self.landmarker is not None and (five or self.alignment.needs is Needs.LANDMARKS)

    def needs_picture(self, item: Item) -> bool:
        """Whether the picture is to be decoded: not without one, nor where its face is known and gives nothing."""
        if item.media.path is None:
            return False
        if item.known is None:
            return True
        before = _remembered(item.media.sample_id, item.known)
        if before.width is None or before.height is None:
            return False
        looks = self.landmarker is not None and before.detection.face is not None
        return looks or self._transform(before.detection, item.hint, (before.width, before.height)) is not None

    def decoded(self, media: Media) -> Image | MediaError:
        """The picture of a sample that has one, or why it cannot be read."""
        try:
            return decode(self.root, str(media.path), media.member, media.frame)
        except MediaError as error:
            return error

    def look_all(self, items: Sequence[Item]) -> Iterator[Looked]:
        """As `look` on each; a detector that takes batches is given the pictures of neighbours together."""
        if not isinstance(self.detector, BatchDetector):
            yield from map(self.look, items)
            return
        waiting: list[Item] = []
        pixels = 0
        for item in items:
            if self.needs_picture(item) and item.picture is None:
                item = replace(item, picture=self.decoded(item.media))
            size = item.picture.shape[0] * item.picture.shape[1] if isinstance(item.picture, np.ndarray) else 0
            if pixels + size > _PIXELS:
                yield from self._look_together(waiting, self.detector)
                waiting, pixels = [], 0
            waiting.append(item)
            pixels += size
        yield from self._look_together(waiting, self.detector)

    def _look_together(self, items: Sequence[Item], finder: BatchDetector) -> Iterator[Looked]:
        """Look at decoded pictures, found in one go where they were not found before."""
        asked = [
            (item.picture, item.hint) for item in items if item.known is None and isinstance(item.picture, np.ndarray)
        ]
        found = iter(finder.find_all(*zip(*asked, strict=True)) if asked else ())
        for item in items:
            new = item.known is None and isinstance(item.picture, np.ndarray)
            yield self.look(item, next(found) if new else None)

    def look(self, item: Item, detection: Detection | None = None) -> Looked:
        """Decode, find the face, cut it out if nothing else is needed for that.

        Args:
            detection: Where the face was found already.
        """
        media = item.media
        before = None if item.known is None else _remembered(media.sample_id, item.known)
        if not self.needs_picture(item):
            return Looked(before or Outcome(media.sample_id, Detection(NO_MEDIA)))
        image = self.decoded(media) if item.picture is None else item.picture
        if isinstance(image, MediaError):
            return Looked(before or Outcome(media.sample_id, Detection(image.reason)))
        found = before or self._found(image, item, detection)
        face = found.detection.face
        window = None if face is None or self.landmarker is None else self.landmarker.cut(image, face)
        if window is not None and self.crop_waits:
            return Looked(found, window, image, item.hint)
        return Looked(replace(found, crop=self._crop(image, found.detection, item.hint)), window)

    def finish(self, looked: Looked, points: NDArray[np.float32], confidence: NDArray[np.float32]) -> Outcome:
        """The outcome with its landmarks, and with its crop if that waited for them.

        Args:
            points: (68, 2) in pixels of the window.
            confidence: (68,), NaN where unknown.
        """
        outcome, window = looked.outcome, looked.window
        face = outcome.detection.face
        if window is None or face is None:
            return outcome
        found = geometry.to_source(points, window.transform).astype(np.float32).astype(np.float64)
        sure = None if np.isnan(confidence).all() else float(np.clip(np.nanmean(confidence), 0, 1))
        outcome = replace(outcome, landmarks=Landmarks(found, sure))
        if looked.picture is None:
            return outcome
        five = geometry.five_points(found) if face.points is None else face.points
        detection = replace(outcome.detection, face=replace(face, points=five, landmarks=found))
        return replace(outcome, crop=self._crop(looked.picture, detection, looked.hint))

    def _found(self, image: Image, item: Item, detection: Detection | None) -> Outcome:
        height, width = image.shape[:2]
        detection = _as_stored(detection or self.detector.find(image, item.hint))
        measured = None if detection.face is None else measures(image, detection.face)
        return Outcome(item.media.sample_id, detection, width, height, pixel_hash(image), measured)

    def _crop(self, image: Image, detection: Detection, hint: Hint) -> Crop | None:
        height, width = image.shape[:2]
        transform = self._transform(detection, hint, (width, height))
        if transform is None:
            return None
        outside = geometry.outside_share(transform, self.alignment.size, (width, height))
        pixels = self._cut(image, transform)
        data = pixels.tobytes() if self.quality is None else encode(pixels[None], self.quality)[0]
        return Crop(data, transform, outside)

    def _transform(self, detection: Detection, hint: Hint, source: tuple[int, int]) -> Transform | None:
        nothing = self.alignment.needs is Needs.NOTHING
        face = detection.face
        if face is not None and face.landmarks is None:
            face = replace(face, landmarks=hint.landmarks)
        try:
            if (nothing and detection.status in (FOUND, BAD_POINTS)) or (
                detection.status == FOUND and face is not None
            ):
                return self.alignment.transform(face, source)
            if nothing and self.no_face == "centre":
                return self.alignment.transform(None, source)
        except DegenerateGeometryError:
            pass  # a face, but not what this alignment needs of one
        if self.no_face == "box" and hint.box is not None and (hint.box[2:] > hint.box[:2]).all():
            return geometry.box_transform(geometry.square_box(hint.box), self.alignment.size)
        if self.no_face == "centre":
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


def _as_stored(detection: Detection) -> Detection:
    """A detection in the precision of the faces layer: a crop is the same whether its face was found or read there.

    All alignments share one faces layer: a status may depend on the points, never on where they are to go.
    """
    face = detection.face
    if face is None:
        return detection
    if face.points is not None and geometry.coincide(face.points):
        return Detection(BAD_POINTS, detection.faces, detection.rule)
    box, points = (None if x is None else x.astype(np.float32).astype(np.float64) for x in (face.box, face.points))
    score = None if face.score is None else float(np.float32(face.score))
    return replace(detection, face=replace(face, box=box, points=points, score=score))


def _remembered(sample_id: str, row: dict[str, Any]) -> Outcome:
    """An outcome from a row of the faces layer."""
    corners = [row[name] for name in BOX_COLUMNS]
    face = None
    if row["status"] == FOUND:
        box = None if None in corners else np.array(corners, np.float64)
        points = None if row["points5"] is None else np.array(row["points5"], np.float64).reshape(5, 2)
        face = Face(box, points, row["score"])
    detection = Detection(row["status"], row["faces"], row["rule"], face)
    return Outcome(sample_id, detection, row["width"], row["height"], row["pixel_hash"], None, known=row)
