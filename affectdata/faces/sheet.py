"""A contact sheet: crops of a dataset on one page with their points drawn, to be looked at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from affectdata.faces import geometry
from manifests.crops import CropStore
from manifests.errors import StorageError
from manifests.lake import Lake

_ZOOM_TO = 112
"""Crops smaller than this are enlarged by a whole factor, so that points can be told apart."""

_COLOURS = ((255, 64, 64), (64, 255, 64), (64, 160, 255), (255, 255, 64), (255, 64, 255))
"""RGB of left eye, right eye, nose, left and right mouth corner (image sides)."""


def write_sheet(lake: Lake, dataset: str, alignment: str, path: Path, *, count: int = 96, columns: int = 12) -> int:
    """Write a grid of crops, spread evenly over the dataset, as a PNG or JPEG; the number of crops shown.

    Five points of the faces layer are carried through each crop's transform and drawn as crosses.

    Args:
        path: Picture file to write; its ending says the format.
        count: Crops on the sheet at most.
        columns: Crops per line.

    Raises:
        UnknownNameError: No such crops.
        StorageError: The file cannot be written, or there is no crop to show.
    """
    import cv2

    store = CropStore(lake, dataset, alignment)
    if not len(store):
        raise StorageError(f"{dataset} crops/{alignment} holds no crop: there is nothing to show")
    rows = np.unique(np.linspace(0, len(store) - 1, min(count, len(store))).round().astype(np.int64))
    points = _points(lake, dataset, store, rows)
    zoom = max(1, -(-_ZOOM_TO // max(store.shape[:2])))
    tiles = [_tile(crop, spot, zoom) for crop, spot in zip(store.gather(rows), points, strict=True)]
    sheet = _grid(tiles, min(columns, len(tiles)))
    try:
        written = cv2.imwrite(str(path), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    except cv2.error as error:
        raise StorageError(f"contact sheet {path}", found=str(error).strip(), expected="a .png or .jpg file") from None
    if not written:
        raise StorageError(f"contact sheet {path} cannot be written", then="name a file in a folder that exists")
    return len(tiles)


def _points(lake: Lake, dataset: str, store: CropStore, rows: NDArray[np.int64]) -> list[geometry.Points | None]:
    """Five points of each row in pixels of its crop; None where the faces layer gives none."""
    table = lake.read(dataset, f"faces/{store.layer.facts.extra['detector']}", ["sample_id", "points5"])
    at = pc.index_in(store.sample_ids.take(pa.array(rows)), value_set=table.column("sample_id").combine_chunks())
    found = table.column("points5").take(at).to_pylist()
    return [
        None if flat is None else geometry.to_crop(np.reshape(flat, (5, 2)), store.transform[row])
        for flat, row in zip(found, rows.tolist(), strict=True)
    ]


def _tile(crop: NDArray[np.uint8], points: geometry.Points | None, zoom: int) -> NDArray[np.uint8]:
    import cv2

    tile = np.repeat(np.repeat(crop, zoom, 0), zoom, 1)
    tile = np.broadcast_to(tile, (*tile.shape[:2], 3)).copy()
    for colour, (x, y) in zip(_COLOURS, points if points is not None else (), strict=False):
        spot = (round(float((x + 0.5) * zoom - 0.5)), round(float((y + 0.5) * zoom - 0.5)))
        cv2.drawMarker(tile, spot, colour, cv2.MARKER_CROSS, 7, 1)
    return tile


def _grid(tiles: list[NDArray[np.uint8]], columns: int) -> NDArray[np.uint8]:
    height, width = tiles[0].shape[:2]
    lines = -(-len(tiles) // columns)
    sheet = np.zeros((lines * (height + 1), columns * (width + 1), 3), np.uint8)
    for number, tile in enumerate(tiles):
        y, x = number // columns * (height + 1), number % columns * (width + 1)
        sheet[y : y + height, x : x + width] = tile
    return sheet
