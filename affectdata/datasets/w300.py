"""300-W (iBUG): web faces of AFW, HELEN, LFPW and IBUG, and the 600 test pictures, with 68 landmarks each.

How to get it: afw.zip, helen.zip, lfpw.zip, ibug.zip, 300w.zip.001-004 and bounding_boxes.zip from the iBUG page. The
zips are read as they are; unpacked, each needs a folder of its own: `unzip afw.zip -d afw`. Also read as dlib packs it
(`labels_ibug_300W*.xml`, whole pixels) and as HRNet does (`face_landmarks_300w_*.csv`). Layout: datasets/w300.md.

WFLW (98 points), 300W-LP and AFLW2000 (projected 3D points) are other datasets and are refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from affectdata.datasets.card import Card, Labelling, Option, ProtocolCard, Published
from affectdata.datasets.points import read_pts
from affectdata.datasets.reading import Block, Distribution, Folder, Reject
from affectdata.datasets.w300_boxes import read_boxes, shifted
from affectdata.datasets.w300_packages import read_dlib, read_hrnet
from affectdata.datasets.w300_places import MIRRORED, Place, block_of, plain, subset_of
from manifests.errors import DatasetError

_PICTURES = (".jpg", ".jpeg", ".png")
_NOTES = {
    "xml": re.compile(r"labels_ibug_300w.*\.xml"),
    "csv": re.compile(r"face_landmarks_300w_.*\.csv"),
    "boxes": re.compile(r"bounding_boxes_.*\.mat"),
    "archives": re.compile(r"300w.*\.zip\.0.*"),
    "wflw": re.compile(r"list_98pt_rect_attr_.*\.txt"),
}
"""Kind of file -> its name in small letters."""
_RULE = "68 points as released, one face per picture"
_KEYS = "no identities; faces of one photograph share a group, and the release promises no more"

_METRICS = ("nme_ip", "fr_io@0.1", "auc_io@0.1", "fr_ip@0.08", "auc_ip@0.08")
"""Inter-ocular today, inter-pupil in older papers (metrics.md 4 and 7)."""

CARD = Card(
    name="w300",
    title="300-W (300 Faces In-the-Wild), iBUG's re-annotation",
    about="4,437 web faces with 68 landmarks: AFW, HELEN, LFPW, IBUG, and the 600 indoor and outdoor test pictures",
    tasks=("landmarks",),
    labellings=(
        Labelling("human", unit={"landmarks": "frame"}, rule=_RULE, landmark_base="1 (shifted to 0) [verified 5]"),
    ),
    protocols=(
        ProtocolCard("full", ("human",), about=f"literature: 3,148 train, 689 test = common + challenging; {_KEYS}",
                     metrics=_METRICS),
        ProtocolCard("common", ("human",), about=f"literature: tested on HELEN and LFPW test, 554; {_KEYS}",
                     metrics=_METRICS),
        ProtocolCard("challenging", ("human",), about=f"literature: tested on IBUG, 135; {_KEYS}",
                     metrics=_METRICS),
        ProtocolCard("private", ("human",), about="300-W competition: tested on 300 indoor and 300 outdoor pictures, "
                     f"trained on 3,702, IBUG for validation [one source]; {_KEYS}",
                     metrics=_METRICS),
    ),
    licence="annotations for non-commercial research only; the pictures keep their own terms",
    citation="Sagonas et al., ICCV-W 2013; CVPR-W 2013; Image and Vision Computing 47, 3-18, 2016",
    homepage="https://ibug.doc.ic.ac.uk/resources/facial-point-annotations/",
    access=(
        "download the zips of the iBUG page; join the parts of the test set: cat 300w.zip.00? > 300w.zip",
        "leave the zips as they are, or unpack each into its own folder: unzip afw.zip -d afw",
    ),
    looked_for=(
        "afw, helen/trainset, lfpw/trainset, ibug ... or 01_Indoor, 02_Outdoor with pictures and .pts",
        "labels_ibug_300W*.xml", "face_landmarks_300w_*.csv",
    ),
    tree="""afw/134212_1.jpg + 134212_1.pts
helen/{trainset,testset}/100032540_1.jpg + .pts
lfpw/{trainset,testset}/image_0001.png + .pts
ibug/image_003_1.jpg + .pts
300W/{01_Indoor,02_Outdoor}/indoor_001.png + .pts
Bounding Boxes/bounding_boxes_afw.mat""",
    published=tuple(
        Published(split, {"": count}, sure=sure)
        for split, count, sure in (
            ("train", 3_148, "verified 5"), ("common", 554, "verified 5"), ("challenging", 135, "verified 5"),
            ("test", 600, "verified 5"),
        )
    ),
    group_key="the photograph, by names such as <photo>_<k>",
    options=(
        Option("annotations", "what to read where several lie side by side", "", ("", "pts", "xml", "csv")),
        Option("without", "a folder to leave out, where a subset lies there twice"),
    ),
    unverified=(
        "base of the boxes (told by the boxes around the landmarks)", "names of HRNet's columns (read by place)",
        "base of HRNet's points (not shifted)", "names of dlib's parts: 00 or 0",
    ),
    revision=3,
)  # fmt: skip


def find(folder: Folder) -> Distribution | None:
    """The dlib xml before HRNet's csv before .pts files in the folders of the subsets."""
    files, without = folder.files, folder.options["without"].strip("/")
    near = ["", *files.folders("*"), *files.folders("*/*")]
    notes = _notes(folder, near)
    xml, csv = notes["xml"], notes["csv"]
    tops = [name for name in (*near, *files.folders("*/*/*"), *files.folders("*/*/*/*")) if subset_of(name)]
    pts = [top for top in tops if not _below(top, without) and files.names(top, "*.pts")]
    kind = folder.options["annotations"] or ("xml" if xml else "csv" if csv else "pts")
    if not {"xml": xml, "csv": csv, "pts": pts}[kind]:
        _refuse_relatives(folder, notes)
        return None
    if csv and (xml or pts) and not folder.options["annotations"]:
        raise DatasetError(
            f"{folder.root} holds HRNet's csv and other annotations of 300-W",
            found=", ".join([*csv[:2], *xml[:2], *pts[:2]]),
            expected="one of them",
            then="affect ingest w300 PATH --annotations pts (or csv, xml)",
        )
    warnings = _warnings(folder, kind, bool(pts))
    archives = tuple(notes["archives"])
    if kind == "xml":
        whole = [path for path in xml if path.lower().endswith("300w.xml")] or xml
        rule = replace(CARD.labellings[0], rule=f"{_RULE}; dlib's whole pixels", landmark_base="0 [verified 4]")
        parts = {"xml": tuple(whole), "archives": archives}
        return Distribution(folder, "dlib xml", tuple(whole), parts, warnings, (rule,))
    if kind == "csv":
        chosen = _one_of_each(csv)
        rule = replace(CARD.labellings[0], rule=f"{_RULE}; HRNet's copy", landmark_base="unknown (not shifted)")
        parts = {"csv": tuple(chosen), "archives": archives}
        return Distribution(folder, "HRNet csv", tuple(chosen), parts, warnings, (rule,))
    _refuse_doubles(pts)
    points = [f"{top}/{name}" for top in pts for name in files.names(top, "*.pts")]
    boxes = [path for path in notes["boxes"] if not _below(path, without)]
    variant = "iBUG .pts" + (", cropped test pictures" if any("cropped" in top.lower() for top in pts) else "")
    parts = {"folders": tuple(pts), "boxes": tuple(boxes), "archives": archives}
    return Distribution(folder, variant, (*points, *boxes), parts, warnings)


def read(distribution: Distribution, reject: Reject) -> Iterator[Block]:
    """One Block per folder, xml or csv."""
    folder, parts = distribution.folder, distribution.parts
    for path in parts["archives"]:
        # The links of the iBUG page now answer with an HTML form.
        if not folder.head(path, 4).startswith(b"PK") and path.endswith(".001"):
            reject(path, "not-an-archive", f"starts with {folder.head(path, 16)!r}")
    for path in parts.get("xml", ()):
        yield read_dlib(folder, path, reject)
    for path in parts.get("csv", ()):
        yield read_hrnet(folder, path, _images_of(folder, path), reject)
    boxes = {
        path.lower().rpartition("bounding_boxes_")[2].removesuffix(".mat"): path for path in parts.get("boxes", ())
    }
    for top in parts.get("folders", ()):
        subset = str(subset_of(top))
        yield _read_folder(folder, top, subset, boxes.get(subset.lower().replace("/", "_"), ""), reject)


def _read_folder(folder: Folder, top: str, subset: str, boxes: str, reject: Reject) -> Block:
    """Pictures and `.pts` files of one subset, paired by stem."""
    names = folder.files.names(top)
    pictures = [name for name in names if name.lower().endswith(_PICTURES) and not _stem(name).endswith(MIRRORED)]
    points = {_stem(name): name for name in names if name.lower().endswith(".pts")}
    # image_092 _01 has a blank in its name, which some copies lose in one of its two files.
    loose = {plain(stem): stem for stem in points}
    places, paths, marks = [], [], []
    for name in pictures:
        stem = _stem(name) if _stem(name) in points else loose.get(plain(_stem(name)))
        if stem is None:
            reject(f"{top}/{name}", "missing-annotation", "a picture without a .pts file")
            continue
        where = f"{top}/{points[stem]}"
        found = folder.parsed(where, read_pts, where, reject, base=1)
        places.append(Place(subset, plain(_stem(name))))
        paths.append(f"{top}/{name}")
        marks.append(np.full((68, 2), np.nan) if found is None else found)
    shown = {place.name for place in places}
    alone = [name for stem, name in points.items() if plain(stem) not in shown and not stem.endswith(MIRRORED)]
    reject.many((f"{top}/{name}" for name in alone), "missing-image", ("no picture of this name" for _ in alone))
    stacked = np.array(marks).reshape(-1, 68, 2)
    edges = np.full((len(places), 4), np.nan)
    if boxes and (released := folder.parsed(boxes, read_boxes, boxes, reject)):
        edges = shifted(released, [place.name for place in places], stacked, boxes, reject)
    return block_of(places, paths, stacked, edges)


def _stem(name: str) -> str:
    return name.rpartition(".")[0]


def _below(path: str, folder: str) -> bool:
    return bool(folder) and (path == folder or path.startswith(f"{folder}/"))


def _notes(folder: Folder, tops: list[str]) -> dict[str, list[str]]:
    """Kind -> files of some folders that are no pictures, found in one pass over their names."""
    found: dict[str, list[str]] = {kind: [] for kind in _NOTES}
    for top in tops:
        for name in folder.files.names(top):
            if name.lower().endswith(_PICTURES):  # nearly all: asked of every file of every dataset's tree
                continue
            kind = next((kind for kind, pattern in _NOTES.items() if pattern.fullmatch(name.lower())), None)
            if kind:
                found[kind].append(f"{top}/{name}".removeprefix("/"))
    return found


def _warnings(folder: Folder, kind: str, has_pts: bool) -> tuple[str, ...]:
    copies = sum(path.rpartition(".")[0].endswith(MIRRORED) for path in folder.files)
    said = [f"{copies:,} mirrored copies ({MIRRORED}) are not read"] if copies else []
    if kind == "xml" and has_pts:
        said.append("dlib's xml holds whole pixels; its .pts files hold fractions: --annotations pts")
    if kind == "csv":
        said.append(
            "whether HRNet's points start at 0 or 1 is not known: they may lie one pixel to the right and below"
        )
    return tuple(said)


def _one_of_each(lists: list[str]) -> list[str]:
    """HRNet's lists without the halves of `valid` where the whole is there."""
    named = {path: path.lower().rpartition("300w_")[2] for path in lists}
    whole = "valid.csv" in named.values()
    return [path for path, name in named.items() if not (whole and name.startswith("valid_"))]


def _images_of(folder: Folder, path: str) -> str:
    """The folder that picture names of a csv start from: `images` beside it or beside its folder, or its own."""
    base = path.rpartition("/")[0]
    above = base.rpartition("/")[0]
    tops = [f"{top}/images".removeprefix("/") for top in (base, above)]
    return next((top for top in tops if any(_below(name, top) for name in folder.files)), base)


def _refuse_doubles(tops: list[str]) -> None:
    by_subset: dict[str, list[str]] = {}
    for top in tops:
        by_subset.setdefault(str(subset_of(top)), []).append(top)
    doubled = next((places for places in by_subset.values() if len(places) > 1), None)
    if doubled:
        raise DatasetError(
            f"the subset {subset_of(doubled[0])} of 300-W lies there {len(doubled)} times",
            found=", ".join(doubled),
            expected="one of them: cropped pictures have points of their own",
            then=f"affect ingest w300 PATH --without {doubled[0].split('/')[0]}",
        )


def _refuse_relatives(folder: Folder, notes: dict[str, list[str]]) -> None:
    """Name what a tree without 300-W holds instead: parts of an archive, WFLW, 300W-LP, AFLW2000."""
    if any(len(folder.head(path).split(b"\n")[0].split()) == 207 for path in notes["wflw"]):
        raise DatasetError(f"{folder.root} holds WFLW, not 300-W", found=notes["wflw"][0], expected="68 points, not 98",
                           then="affect ingest table PATH --map MAP.toml, for points of your choice")  # fmt: skip
    for name in ("300W_LP", "AFLW2000"):
        if any(folder.files.names(top, "*.mat") for top in (name, f"{name}/AFW")):
            raise DatasetError(f"{folder.root} holds {name}, not 300-W", found="projected 3D points in .mat files",
                               expected="points on the visible contour in .pts files")  # fmt: skip
    if archives := notes["archives"]:
        raise DatasetError(f"{folder.root} holds 300-W's test set in parts", found=", ".join(archives),
                           expected="one archive", then="cat 300w.zip.00? > 300w.zip, read as it is")  # fmt: skip
