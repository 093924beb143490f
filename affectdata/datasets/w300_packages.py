"""300-W as others pack it: dlib's xml and HRNet's csv."""

from __future__ import annotations

import io
from collections.abc import Iterator
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from affectdata.datasets.reading import Block, Folder, Reject
from affectdata.datasets.text import csv_table, numbers
from affectdata.datasets.w300_places import MIRRORED, Place, block_of, place_of
from manifests.errors import DatasetError

HRNET_COLUMNS = 4 + 2 * 68
_PARTS = [str(n) for n in range(68)]


def read_dlib(folder: Folder, path: str, reject: Reject) -> Block:
    """One `labels_ibug_300W*.xml`; mirrored copies are passed over."""
    base = path.rpartition("/")[0]
    places, files, points, boxes = folder.parsed(path, _dlib_faces, path, reject)
    paths = [stored(folder, f"{base}/{file}".removeprefix("/")) for file in files]
    return block_of(places, paths, points, boxes)


def _dlib_faces(
    data: bytes, path: str, reject: Reject
) -> tuple[list[Place], list[str], NDArray[np.float64], NDArray[np.float64]]:
    """Place, file, points [N, 68, 2] and box [N, 4] of every face."""
    # <image file='afw/134212_1.jpg' width='1024' height='768'>
    #   <box top='224' left='302' width='239' height='239'>
    #     <part name='00' x='318' y='299'/> ... <part name='67' x='..' y='..'/>    0-based whole pixels
    places: list[Place] = []
    files, points, boxes = [], [], []
    for image in _images(data, path):
        file = image.get("file", "")
        if file.rpartition(".")[0].endswith(MIRRORED):
            continue
        place = place_of(file)
        if place is None:
            reject(f"{path} {file}", "unknown-split", "outside afw, helen, lfpw, ibug")
            continue
        for box in image.iter("box"):
            places.append(place)
            files.append(file)
            points.append(_parts(box, f"{path} {file}", reject))
            boxes.append(_edges(box, f"{path} {file}", reject))
        if image.find("box") is None:
            reject(f"{path} {file}", "missing-annotation", "no box")
    return places, files, np.array(points).reshape(-1, 68, 2), np.array(boxes).reshape(-1, 4)


def stored(folder: Folder, path: str) -> str:
    """The path as it is spelled on disk: `image_092 _01` has a blank there, in a list, in both or in neither."""
    spellings = (path, path.replace(" _", "_"), path.replace("image_092_01", "image_092 _01"))
    return next((spelling for spelling in spellings if spelling in folder.files), path)


def _images(data: bytes, about: str) -> Iterator[ElementTree.Element]:
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise DatasetError(f"{about} defines entities", expected="dlib's xml, which has none", then="get it afresh")
    try:
        for _, element in ElementTree.iterparse(io.BytesIO(data)):
            if element.tag == "image":
                yield element
                element.clear()
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise DatasetError(f"{about} is broken xml", found=str(error), then="unpack the archive again") from None


def _parts(box: ElementTree.Element, where: str, reject: Reject) -> NDArray[np.float64]:
    found = {part.get("name", "").lstrip("0") or "0": (part.get("x"), part.get("y")) for part in box.iter("part")}
    points = np.full((68, 2), np.nan)
    try:
        points[:] = [[float(x or "") for x in found[name]] for name in _PARTS]
    except (KeyError, ValueError):
        points[:] = np.nan
    if len(found) != 68 or not np.isfinite(points).all() or np.abs(points).max() > 1e6:
        reject(where, "bad-landmarks", f"{len(found)} parts, expected 0-67 with x and y")
        points[:] = np.nan
    return points


def _edges(box: ElementTree.Element, where: str, reject: Reject) -> NDArray[np.float64]:
    try:
        left, top, width, height = (float(box.get(name, "")) for name in ("left", "top", "width", "height"))
    except ValueError:
        left = top = width = height = np.nan
    # dlib's rectangle holds its last pixel: right = left + width - 1.
    edges = np.array([left, top, left + width - 1, top + height - 1])
    if not np.isfinite(edges).all() or width < 1 or height < 1:
        reject(where, "bad-box", f"{box.attrib}")
        edges[:] = np.nan
    return edges


def read_hrnet(folder: Folder, path: str, images: str, reject: Reject) -> Block:
    """One `face_landmarks_300w_<part>.csv`.

    Args:
        images: The folder that its picture names start from.
    """
    # image_name,scale,center_w,center_h,original_0_x,original_0_y,...,original_67_y     read by place, not by name
    # helen/trainset/100032540_1.jpg,1.83,250.5,301.0,131.5,226.25,...
    table = folder.parsed(path, csv_table, path, reject)
    if len(table.columns) != HRNET_COLUMNS:
        raise DatasetError(
            f"{path} is not HRNet's list",
            found=f"{len(table.columns)} columns",
            expected=f"{HRNET_COLUMNS}: picture, scale, centre, 68 points",
        )
    first = next(iter(table.columns))
    found = [place_of(name or "") for name in table.columns[first].to_pylist()]
    table = table.filter(
        table.refuse(np.array([place is None for place in found], bool), reject, "unknown-split", first)
    )
    columns = [numbers(column)[0].to_numpy(zero_copy_only=False) for column in list(table.columns.values())[4:]]
    points = np.stack(columns, axis=1).astype(float)
    bad = ~np.isfinite(points).all(axis=1) | (np.abs(points) > 1e6).any(axis=1)
    table.refuse(bad, reject, "bad-landmarks", first)
    points[bad] = np.nan
    names = [stored(folder, f"{images}/{name}".removeprefix("/")) for name in table.columns[first].to_pylist()]
    places = [place for place in found if place]
    return block_of(places, names, points.reshape(-1, 68, 2), np.full((len(places), 4), np.nan))
