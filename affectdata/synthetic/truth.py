"""What a correct reader must find in a twin: typed facts that contract tests compare with the lake."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from affectdata.synthetic.actions import DRAWN_AUS
from affectdata.synthetic.face import Face

Point = tuple[float, float]


@dataclass(frozen=True)
class LabelTruth:
    """What one source says about one sample; None and an absent AU mean unknown.

    Attributes:
        source: Label layer, e.g. `human` or `derived-ferplus-majority`.
        expression_probs: Class -> share, sums to 1.
        votes: Name of `vocabulary.VOTES` -> count, for the columns that the dataset has.
        aus: AU -> 0 or 1.
        au_intensities: AU -> 0-5.
        sides: AU -> name of `vocabulary.AU_SIDES`, where the source codes sides.
        landmarks: 68 points, pixels of the source image, 0-based, pixel centres at integers; NaN is unknown.
    """

    source: str
    expression: str | None = None
    expression_probs: Mapping[str, float] | None = None
    votes: Mapping[str, int] | None = None
    compound: str | None = None
    mental_state: str | None = None
    valence: float | None = None
    arousal: float | None = None
    aus: Mapping[int, int] = field(default_factory=dict)
    au_intensities: Mapping[int, float] = field(default_factory=dict)
    sides: Mapping[int, str] = field(default_factory=dict)
    landmarks: NDArray[np.float32] | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Annotation:
    """What the dataset says about one picture beside its labels; None where it does not, or says unsure.

    Attributes:
        box: x1, y1, x2, y2 in pixels of the picture at `SampleTruth.path`, as `samples` must hold it.
        points5: Image-left eye, image-right eye, nose tip, mouth corners; pixels of that picture.
        age: In years.
    """

    box: tuple[float, ...] | None = None
    points5: tuple[Point, ...] | None = None
    gender: str | None = None
    ethnicity: str | None = None
    age_group: str | None = None
    age: float | None = None


@dataclass(frozen=True)
class SampleTruth:
    """One item that a reader must turn into one sample.

    Attributes:
        key: sample_id without the dataset's name: `basic/train_00001`, `fer0000017`; for rows of a CSV that holds
            pixels, the 0-based data row.
        path: Media file relative to the root, '/' separated; None where there are labels only.
        member: 0-based data row where `path` is a CSV that holds pixels.
        frame: 0-based frame where `path` is a video; None there: the label is for the whole clip.
        subject: samples.subject_id; sequence, group, frame_index and face_status likewise.
        labels: One per source that says something; empty for an unlabelled item.
        readable: False where the media file is there but cannot be decoded.
        annotation: Side files; None where the dataset has none.
    """

    key: str
    path: str | None
    member: str | None = None
    frame: int | None = None
    split: str | None = None
    subject: str | None = None
    sequence: str | None = None
    frame_index: int | None = None
    group: str | None = None
    face_status: str | None = None
    labels: tuple[LabelTruth, ...] = ()
    readable: bool = True
    annotation: Annotation | None = None

    def label(self, source: str) -> LabelTruth | None:
        """What that source says, or None."""
        return next((label for label in self.labels if label.source == source), None)


@dataclass(frozen=True)
class RejectTruth:
    """One item that a reader must refuse: a file relative to the root, its 0-based data row where it has rows."""

    where: str
    reason: str
    row: int | None = None


@dataclass(frozen=True)
class RoleTruth:
    """One row of a protocol layer."""

    key: str
    role: str
    task: str = "all"
    fold: int | None = None


@dataclass(frozen=True)
class Truth:
    """All that a correct reader must produce from one twin.

    Attributes:
        copies: Keys of samples whose pictures are pixel-identical.
        conflicts: Keys of samples for which two tables of the dataset say different things.
        protocols: Name -> every row of the protocol; where it is empty, the roles are the splits.
        options: What `affect ingest` must be given beside the folder, such as an edition.
    """

    dataset: str
    variant: str
    samples: tuple[SampleTruth, ...]
    rejects: tuple[RejectTruth, ...] = ()
    copies: tuple[tuple[str, ...], ...] = ()
    conflicts: tuple[str, ...] = ()
    protocols: Mapping[str, frozenset[RoleTruth]] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)

    def rejects_by_reason(self) -> dict[str, int]:
        """Reject reason -> number of items."""
        return dict(Counter(reject.reason for reject in self.rejects))

    def unreadable(self) -> tuple[str, ...]:
        """Keys of samples whose media cannot be decoded."""
        return tuple(sample.key for sample in self.samples if not sample.readable)


def label_of(face: Face, source: str = "human") -> LabelTruth:
    """Everything that is true of a face, as one source would say it."""
    return LabelTruth(
        source,
        expression=face.expression,
        valence=face.valence,
        arousal=face.arousal,
        aus={au: int(au in face.acting.present) for au in DRAWN_AUS},
        au_intensities=face.aus,
        landmarks=face.landmarks,
    )
