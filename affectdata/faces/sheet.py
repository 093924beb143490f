"""A contact sheet: crops of a dataset on one page with their points drawn, histograms below, to be looked at."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from affectdata.faces import geometry
from manifests import schema
from manifests.crops import CropStore
from manifests.errors import StorageError
from manifests.lake import Lake

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MEASURES = ("face_size", "roll", "yaw", "pitch", "score", "sharpness")
"""Columns of the faces layer whose histograms over the whole dataset stand below the crops."""

_COLOURS = ("#ff4040", "#40ff40", "#40a0ff", "#ffff40", "#ff40ff")
"""Left eye, right eye, nose, left and right mouth corner (image sides); landmarks are all of the third."""

_INCHES, _DPI = 1.35, 150
"""Width of a tile, and pixels per inch: ids stay legible with twelve tiles in a line."""

_ID_LENGTH = 24


def write_sheet(lake: Lake, dataset: str, alignment: str, path: Path, *, count: int = 96, columns: int = 12) -> int:
    """Draw a grid of crops, spread evenly over the dataset, and what was measured of all faces; the crops shown.

    Each crop carries its sample's name and its points, taken through the crop's transform: 68 landmarks where a
    landmarker looked at the same detector's faces, else the five points. The histograms are of all faces.

    Args:
        path: Picture file to write; its ending says the format (.png, .jpg, .pdf, .svg).
        count: Crops on the sheet at most.
        columns: Crops per line.

    Raises:
        UnknownNameError: No such crops.
        StorageError: The file cannot be written, or there is no crop to show.
    """
    from matplotlib.figure import Figure

    store = CropStore(lake, dataset, alignment)
    if not len(store):
        raise StorageError(f"{dataset} crops/{alignment} holds no crop: there is nothing to show")
    rows = np.unique(np.linspace(0, len(store) - 1, min(count, len(store))).round().astype(np.int64))
    lines = -(-len(rows) // columns)
    tile = _INCHES * store.shape[0] / store.shape[1] + 0.2
    heights = [lines * tile, 2.2]
    # Not pyplot: a figure of its own needs no screen and leaves no state behind.
    figure = Figure((max(columns * _INCHES, 12), sum(heights) + 0.6), dpi=_DPI, layout="constrained")
    halves: Any = figure.subfigures(2, 1, height_ratios=heights)
    above, below = halves
    figure.suptitle(f"{dataset} crops/{alignment}: {len(rows)} of {len(store):,} crops", fontsize=11)
    points = _points(lake, dataset, store, rows)
    names = [name.removeprefix(f"{dataset}/") for name in store.sample_ids.take(pa.array(rows)).to_pylist()]
    grid = np.atleast_1d(above.subplots(lines, columns)).ravel()
    for axes in grid:
        axes.set_axis_off()
    for axes, crop, spots, name in zip(grid, store.gather(rows), points, names, strict=False):
        _draw(axes, crop, spots, name)
    faces = lake.read(dataset, _faces(store), list(MEASURES))
    for axes, name in zip(below.subplots(1, len(MEASURES)), MEASURES, strict=True):
        _histogram(axes, faces.column(name), name)
    try:
        figure.savefig(path)
    except ValueError as error:
        raise StorageError(f"contact sheet {path}", found=str(error), expected="a .png or .jpg file") from None
    except OSError:
        raise StorageError(
            f"contact sheet {path} cannot be written", then="name a file in a folder that exists"
        ) from None
    return len(rows)


def _faces(store: CropStore) -> str:
    return f"faces/{store.layer.facts.extra['detector']}"


def _points(lake: Lake, dataset: str, store: CropStore, rows: NDArray[np.int64]) -> list[geometry.Points | None]:
    """Points of each row in pixels of its crop; None where nothing gives any."""
    key, column = _faces(store), "points5"
    detector = store.layer.facts.extra["detector"]
    for layer in lake.layers(dataset):
        found_here = layer.key.startswith("labels/landmarks-") and layer.facts.extra.get("detector") == detector
        if found_here and not layer.stale:
            key, column = layer.key, "landmarks"
    table = lake.read(dataset, key, ["sample_id", column])
    ids = table.column("sample_id").combine_chunks()
    at = pc.index_in(store.sample_ids.take(pa.array(rows)), value_set=ids)
    found = table.column(column).take(at).to_pylist()
    return [
        None if flat is None else geometry.to_crop(np.array(flat, np.float64).reshape(-1, 2), store.transform[row])
        for flat, row in zip(found, rows.tolist(), strict=True)
    ]


def _draw(axes: Axes, crop: NDArray[np.uint8], points: geometry.Points | None, name: str) -> None:
    axes.imshow(crop if crop.shape[2] == 3 else crop[..., 0], cmap="gray", vmin=0, vmax=255)
    if points is not None:
        five = len(points) == len(_COLOURS)
        style: dict[str, Any] = {"c": _COLOURS, "s": 14, "marker": "x"} if five else {"c": _COLOURS[2], "s": 1.5}
        if five:  # a dark edge: red on skin is hard to see
            axes.scatter(points[:, 0], points[:, 1], c="black", s=20, marker="x", linewidths=2)
        axes.scatter(points[:, 0], points[:, 1], linewidths=0.9, **style)
    axes.set_xlim(-0.5, crop.shape[1] - 0.5)  # points outside do not widen the tile
    axes.set_ylim(crop.shape[0] - 0.5, -0.5)
    short = name if len(name) <= _ID_LENGTH else f"…{name[1 - _ID_LENGTH :]}"
    axes.set_title(short, fontsize=6, pad=2, parse_math=False)


def _histogram(axes: Axes, column: pa.ChunkedArray, name: str) -> None:
    known = column.drop_null().to_numpy()
    unit = (schema.FACES.field(name).metadata or {}).get(b"unit", b"1").decode()
    axes.set_title(name.replace("_", " ") + ("" if unit == "1" else f" ({unit})"), fontsize=8)
    axes.tick_params(labelsize=6)
    if not len(known):
        axes.text(0.5, 0.5, "unknown", ha="center", va="center", transform=axes.transAxes, fontsize=8)
        axes.set_xticks([])
        axes.set_yticks([])
        return
    axes.hist(known, bins=40, color="#4878a8")
    axes.locator_params(axis="x", nbins=5)
    axes.locator_params(axis="y", integer=True)
    note = f"median {np.median(known):.3g}" + (f", {column.null_count:,} unknown" if column.null_count else "")
    axes.set_xlabel(note, fontsize=6)
