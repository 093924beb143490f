"""The target of CMCNN's alignment: the mean of the training faces' own three points, of a named protocol and fold."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from affectdata.faces import geometry
from affectdata.faces.alignments import Alignment, alignment, mean_target
from affectdata.faces.hints import LANDMARK_SOURCES
from manifests.errors import LakeError
from manifests.lake import Lake
from manifests.protocols import roles

SIZE = 100

_NAME = re.compile(r"cmcnn100(?:_sym)?-(?P<protocol>.+?)(?:-fold(?P<fold>[0-9]+))?")


def alignment_of(lake: Lake, dataset: str, name: str) -> Alignment:
    """The alignment of that name for a dataset: `cmcnn100-<protocol>[-fold<k>]`, its `_sym`, or any other.

    The target of `cmcnn100` is the mean of eye centres and mouth over the faces that the protocol trains on
    (pitfall 8 of alignment.md: fitted on the training split only), in pixels: as published it holds for pictures of
    100 x 100, and it is refused where it falls outside of them.

    Raises:
        UnknownNameError: No such alignment or protocol.
        ProtocolError: The protocol has folds and none was named, or the other way round.
        LakeError: No training face has landmarks, or their mean lies outside a picture of 100 x 100.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        return alignment(name)
    fold = None if match["fold"] is None else int(match["fold"])
    table = roles(lake, dataset, match["protocol"], fold=fold)
    train = table.filter(pc.equal(table["role"], "train"))["sample_id"]
    points, source = _training_points(lake, dataset, train)
    target = points.mean(0)
    if not ((target > 0) & (target < SIZE - 1)).all():
        raise LakeError(
            f"{name} needs pictures of {SIZE} x {SIZE} with a face each",
            found=f"training faces of {dataset} whose mean points lie at {np.round(target, 1).tolist()}",
            then=f"affect align {dataset} --to levelsquare{SIZE}",
        )
    about = f"mean of {len(points)} training faces of protocol {match['protocol']}, {source}"
    return mean_target(name, target, about, (f"protocols/{match['protocol']}", source))


def _training_points(lake: Lake, dataset: str, train: pa.ChunkedArray) -> tuple[geometry.Points, str]:
    """Three points (n, 3, 2) of the training faces, and the first label layer that has any."""
    layers = [layer for layer in lake.layers(dataset) if layer.kind == "labels" and not layer.stale]
    for pattern in (*LANDMARK_SOURCES, "landmarks-*"):
        for layer in layers:
            if not fnmatchcase(layer.name, pattern):
                continue
            table = lake.read(dataset, layer.key, ["sample_id", "landmarks"])
            table = table.filter(pc.is_valid(table["landmarks"]))
            table = table.filter(pc.is_in(table["sample_id"], value_set=train.combine_chunks()))
            if table.num_rows:
                flat = pc.list_flatten(table["landmarks"]).to_numpy()
                points = geometry.three_points(np.asarray(flat, np.float64).reshape(-1, 68, 2))
                points = points[np.isfinite(points).all((1, 2))]
                if len(points):
                    return points, layer.key
    raise LakeError(
        f"no training face of {dataset} has landmarks",
        then=f"affect align {dataset} --landmarks fan, whose points become labels",
    )
