"""From the outcomes of a chunk's samples to the rows of its table."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from affectdata.faces.work import BOX_COLUMNS, Outcome
from manifests import schema


def chunk_row(outcome: Outcome, number: int, offset: int | None) -> dict[str, Any]:
    """A sample's row of `chunks.SCHEMA`; what is not known is left out.

    Args:
        outcome: What became of the sample.
        number: Row that its crop has among the chunk's crops, if it has one.
        offset: Where its JPEG begins in the chunk's pixels; None: raw pixels.
    """
    row = _found(outcome) if outcome.known is None else {name: outcome.known[name] for name in schema.FACES.names}
    if outcome.crop is not None:
        row |= {"row": number, "transform": outcome.crop.transform.ravel(), "outside": outcome.crop.outside}
        row |= {} if offset is None else {"offset": offset, "length": len(outcome.crop.data)}
    if outcome.landmarks is not None:
        marks = outcome.landmarks
        row |= {"landmarks": marks.points.ravel(), "landmarks_weight": marks.confidence}
    return row


def _found(outcome: Outcome) -> dict[str, Any]:
    found = outcome.detection
    row: dict[str, Any] = {
        "sample_id": outcome.sample_id,
        "status": found.status,
        "faces": found.faces,
        "rule": found.rule,
        "width": outcome.width,
        "height": outcome.height,
        "pixel_hash": outcome.pixel_hash,
    }
    if found.face is not None:
        if found.face.box is not None:
            row |= dict(zip(BOX_COLUMNS, found.face.box.tolist(), strict=True))
        row |= {} if outcome.measures is None else asdict(outcome.measures)
        row |= {"points5": None if found.face.points is None else found.face.points.ravel(), "score": found.face.score}
    return row
