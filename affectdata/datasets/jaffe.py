"""JAFFE (Japanese Female Facial Expression): 213 posed gray pictures of ten women, with mean observer ratings.

How to get it: restricted access on Zenodo (records 3451524 and 14974867): jaffe.zip, and README_FIRST.txt apart from
it, which holds the ratings; put it beside the pictures. Layout: datasets/jaffe.md.

The label is what the woman was asked to pose; observers often saw something else, above all for fear (8 of 32). The
ratings as released (1 to 5 on six scales) fit no column of a lake; `derived-ratings` keeps their shares.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa

from affectdata.datasets.card import Card, ExpectedReject, Labelling, Option, ProtocolCard, Published
from affectdata.datasets.jaffe_ratings import SCALES, has_ratings, joined, read_ratings
from affectdata.datasets.reading import Block, Distribution, Folder, Reject, vectors
from manifests.errors import DatasetError
from manifests.vocabulary import EXPRESSION, EXPRESSIONS

SUBJECTS = ("KA", "KL", "KM", "KR", "MK", "NA", "NM", "TM", "UY", "YM")
POSES = ("NE", "HA", "SA", "SU", "AN", "DI", "FE")
_COUNTS = dict(zip(map(EXPRESSION.canonical, POSES), (30, 31, 31, 30, 30, 29, 32), strict=True))
_RATED = tuple(SCALES.values())

CARD = Card(
    name="jaffe",
    title="JAFFE (Japanese Female Facial Expression)",
    about="213 gray pictures, 256 x 256, of ten Japanese women posing seven expressions; small, of one sex and one "
    "ethnicity",
    tasks=("expression",),
    labellings=(
        Labelling("human", {"expression": EXPRESSIONS[:7]}, {"expression": "frame"},
                  "manual: the expression that the woman was asked to pose (the letters in the file name)"),
        Labelling("derived-ratings", {"expression": _RATED}, {"expression": "frame"},
                  "derived: each of the six mean observer ratings (1 to 5, about 60 observers) divided by their sum, "
                  "and the largest. Pictures with two largest ratings have none, nor have those posed as neutral, "
                  "because neutral had no scale"),
    ),
    protocols=(
        ProtocolCard("leave-one-subject-out", ("human",), ("subject",),
                     "no official split: each of the ten women is scored in one fold, in the order of her letters"),
    ),
    published=(Published("", _COUNTS | {"": 213}, "human", "counted"),),
    licence="non-commercial scientific research, no redistribution; pictures in papers under the listed conditions",
    citation="Lyons, Akamatsu, Kamachi, Gyoba, Coding facial expressions with Gabor wavelets, FG 1998, 200-205",
    homepage="https://zenodo.org/records/3451524",
    access=(
        "ask for access to Zenodo record 3451524 or 14974867",
        "unpack jaffe.zip (MD5 fe13f3302eb9968ef04367456f665436) and put README_FIRST.txt "
        "(MD5 3d3e20343692832266cb094f0c54c5c0) beside its folder",
    ),
    looked_for=("KA.AN1.39.tiff below any folder",),
    tree="""jaffe/KA.AN1.39.tiff ...           <woman>.<expression><take>.<serial>.tiff, 213 files
README_FIRST.txt                   beside the folder or in it; also README, A_README_FIRST.txt""",
    subject_key="first two letters of the file name",
    expected_rejects=(
        ExpectedReject("rating-without-image", 0.03, "six of the 219 rows have no picture: the gaps of the serials"),
        ExpectedReject("id-mismatch", 0.01, "one row names YN-HA2 where the picture is YM.HA2.53"),
    ),
    options=(Option("copy", "part of the path of the pictures to read, where several copies lie there"),),
    unverified=(
        "column order of the second table of ratings (Fear Excluded): it is not read",
        "Lyons, 'Excavating AI' re-excavated, 2021, as what the newer record asks to cite",
    ),
)  # fmt: skip

_NAME = re.compile(r"([A-Z]{2})\.(NE|HA|SA|SU|AN|DI|FE)([1-5])\.([0-9]{1,3})\.(tiff?|jpe?g|png|bmp|gif|pgm)", re.I)
_PICTURE = re.compile(r"[^.].*\.(tiff?|jpe?g|png|bmp|gif|pgm)", re.I)
_READMES = ("readme_first.txt", "a_readme_first.txt", "readme", "readme.txt")


def find(folder: Folder) -> Distribution | None:
    """Pictures by their names, however they were converted, and the ratings inside or beside their folder."""
    files, copy = folder.files, folder.options["copy"].lower()
    named = [(place, name) for place in files.tree() for name in files.unsorted_names(place) if _NAME.fullmatch(name)]
    paths = sorted(f"{place}/{name}".removeprefix("/") for place, name in named)
    paths = [path for path in paths if copy in path.lower()]
    if not paths:
        return None
    seen: dict[str, str] = {}
    for path in paths:
        if (other := seen.setdefault(_stem(path), path)) != path:
            raise DatasetError(
                f"{folder.root} holds pictures of JAFFE twice",
                found=f"{other} and {path}",
                expected="one copy of each picture",
                then="add --copy with a part of the path of those to read, such as .tiff or a folder's name",
            )
    places = {path.rpartition("/")[0] for path in paths}
    odd = [f"{place}/{name}".removeprefix("/") for place in sorted(places) for name in files.names(place)
           if _PICTURE.fullmatch(name) and not _NAME.fullmatch(name)]  # fmt: skip
    odd = [path for path in odd if copy in path.lower()]
    readmes = [path for path in _readmes(folder, places) if folder.parsed(path, has_ratings)]
    warnings = [] if readmes else ["no ratings: put README_FIRST.txt, a download of its own, beside the pictures"]
    warnings += [f"{path} is not read: {readmes[0]} holds the ratings too" for path in readmes[1:]]
    parts = {"pictures": tuple(paths), "odd": tuple(odd), "ratings": tuple(readmes[:1])}
    variant = "with ratings" if readmes else "pictures without ratings"
    return Distribution(folder, variant, tuple(readmes[:1]), parts, tuple(warnings))


def read(distribution: Distribution, reject: Reject) -> Iterator[Block]:
    """All pictures as one Block."""
    # KA.AN1.39.tiff        woman, posed expression and take, serial (1-219 with six gaps)
    folder, parts = distribution.folder, distribution.parts
    reject.many(parts["odd"], "bad-name", ("expected KA.AN1.39.tiff" for _ in parts["odd"]))
    named = {path: _stem(path).split(".") for path in parts["pictures"]}
    for path in [path for path, (subject, _, _) in named.items() if subject not in SUBJECTS]:
        reject(path, "bad-name", f"{named.pop(path)[0]} is none of the women {', '.join(SUBJECTS)}")
    ratings: Mapping[str, Mapping[str, float]] = {}
    if parts["ratings"]:
        path = parts["ratings"][0]
        pictures = {f"{subject}-{pose}": int(serial) for subject, pose, serial in named.values()}
        ratings = joined(folder.parsed(path, read_ratings, path, reject), pictures, reject)
    subjects = [subject for subject, _, _ in named.values()]
    samples = pa.table({
        "sample_id": pa.array([_stem(path) for path in named], pa.string()),
        "path": pa.array(list(named), pa.string()),
        "subject_id": pa.array(subjects, pa.string()),
        "gender": pa.array(["female"] * len(named), pa.string()),
        "ethnicity": pa.array(["Japanese"] * len(named), pa.string()),
        "attributes_source": pa.array(["human"] * len(named), pa.string()),
    })  # fmt: skip
    posed = [EXPRESSION.canonical(pose[:2]) for _, pose, _ in named.values()]
    shown = [{} if pose[:2] == "NE" else ratings.get(f"{subject}-{pose}", {}) for subject, pose, _ in named.values()]
    labels = {"human": pa.table({"expression": pa.array(posed, pa.string())})}
    labels |= {"derived-ratings": _shares(shown)} if any(shown) else {}
    yield Block(samples, labels, {"leave-one-subject-out": _folds(samples["sample_id"], subjects)})


def _readmes(folder: Folder, places: set[str]) -> list[str]:
    """Files with one of the names of the README, in the folders of the pictures and those above them."""
    above = {"/".join(parts[:n]) for place in places for parts in [place.split("/")] for n in range(len(parts) + 1)}
    nearest = sorted(above, key=lambda place: (-len(place), place))
    return [f"{place}/{name}".removeprefix("/") for place in nearest for name in folder.files.names(place)
            if name.lower() in _READMES]  # fmt: skip


def _stem(path: str) -> str:
    return path.rpartition("/")[2].rpartition(".")[0].upper()


def _shares(ratings: list[Mapping[str, float]]) -> pa.Table:
    """Each mean divided by the sum of the six, and the expression with the largest; nothing where two share it."""
    means = np.array([[row.get(name, 0.0) for name in EXPRESSIONS] for row in ratings]).reshape(-1, len(EXPRESSIONS))
    # A label's shares name one expression in a lake; a tie names none, and picking one would invent it.
    known = (means == means.max(axis=1, keepdims=True, initial=0)).sum(axis=1) == 1
    shares = np.full(means.shape, np.nan)
    shares[known] = means[known] / means[known].sum(axis=1, keepdims=True)
    largest = [EXPRESSIONS[code] if rated else None for code, rated in zip(means.argmax(axis=1), known, strict=True)]
    return pa.table({"expression": pa.array(largest, pa.string()), "expression_probs": vectors(shares)})


def _folds(ids: pa.ChunkedArray, subjects: list[str]) -> pa.Table:
    return pa.table({
        "sample_id": ids,
        "task": pa.array(["all"] * len(subjects), pa.string()),
        "role": pa.array(["test"] * len(subjects), pa.string()),
        "fold": pa.array([SUBJECTS.index(subject) for subject in subjects], pa.int16()),
    })  # fmt: skip
