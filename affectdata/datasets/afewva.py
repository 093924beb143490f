"""AFEW-VA: 600 film clips as PNG frames with valence, arousal and 68 points per frame.

How to get it: on request at the iBUG site, non-commercial research only; twelve archives of 50 clips. Layout:
datasets/afewva.md. Each clip is a folder `NNN` with `NNN.json` and its frames, which the JSON names by their stems.

The frames come from PAL video and are not square-pixelled (720x576). Points are in pixels of the released PNGs; for a
copy whose PNGs were widened to 960x576, `--pixels 960` moves the points along.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from affectdata.datasets.card import Card, Labelling, Option
from affectdata.datasets.reading import Block, Distribution, Folder, Reject, clean, vectors
from affectdata.datasets.text import decoded
from manifests.errors import DatasetError

SCALE = 10
"""Scores run from -10 to 10 in 21 levels; divided by 10 they run from -1 to 1 [verified 4]."""

_STEM = re.compile(r"[0-9]{1,9}")

CARD = Card(
    name="afewva",
    title="AFEW-VA",
    about="600 film clips, over 30,000 frames with valence and arousal in 21 levels each, and 68 points",
    tasks=("va", "landmarks"),
    labellings=(
        Labelling(
            "human",
            unit={"va": "frame", "landmarks": "frame"},
            rule="integer scores of -10 to 10 per frame, divided by 10; 68 points as released",
            landmark_base="0 (assumed, unverified)",
        ),
    ),
    licence="non-commercial academic research, on request",
    citation="Kossaifi, Tzimiropoulos, Todorovic, Pantic, AFEW-VA database for valence and arousal estimation "
    "in-the-wild, Image and Vision Computing 65:23-36, 2017; and Dhall et al. for AFEW",
    homepage="none on record: the iBUG site",
    access=("ask at the iBUG site", "unpack 01.zip ... 12.zip into one folder"),
    looked_for=("NNN/NNN.json (three digits) with a `frames` object, one, two or three folders deep",),
    tree="""01/001/00000.png ... (five digits, from 0)
01/001/001.json
...
12/600/600.json
or 001/001.json ... without the outer folders""",
    subject_key="`actor` of the JSON (240 actors, unverified)",
    group_key="films are not released; clips of one film cannot be told",
    overlaps=("AFEW, SFEW: clips of the same films; not independent of them",),
    options=(
        Option("pixels", "width of the PNGs: 720 as released, or 960 where they were widened to square pixels; "
               "points follow", "720", ("720", "960")),
    ),
    unverified=(
        "base of the points, treated as 0; whether people or a tracker set them",
        "spelling of the scores as integers or decimals: read as numbers",
        "numbers: 600 clips [one source], 30,051 frames, 240 actors; zip names",
        "the paper's subject-independent five folds were not published: group folds by actor",
    ),
)  # fmt: skip


def find(folder: Folder) -> Distribution | None:
    """Folders `NNN` that hold `NNN.json`, at any of the depths that users make."""
    numbered = _numbered(folder)
    found = [path for path in numbered if f"{path}/{_name(path)}.json" in folder.files]
    if not any(b'"frames"' in folder.head(f"{path}/{_name(path)}.json") for path in found[:5]):
        return None
    above = {path.rpartition("/")[0] for path in found}
    beside = [path for path in numbered if path.rpartition("/")[0] in above and folder.files.names(path, "*.png")]
    clips = sorted({*found, *beside})
    _refuse_copies(folder, clips)
    nested = any(re.fullmatch(r"\d{2}", _name(top)) for top in above)
    warnings = ["clips of the same films are in AFEW and SFEW: do not train on one and score on another"]
    return Distribution(
        folder,
        "nested NN/NNN" if nested else "flat NNN",
        tuple(f"{path}/{_name(path)}.json" for path in found),
        {"clips": tuple(clips)},
        (*warnings, *_width_warning(folder, clips)),
    )


def read(distribution: Distribution, reject: Reject) -> Iterator[Block]:
    """One Block per clip."""
    folder = distribution.folder
    stretch = int(folder.options["pixels"]) / 720
    for path in distribution.parts["clips"]:
        about = f"{path}/{_name(path)}.json"
        if about in folder.files:
            clip = folder.parsed(about, read_clip, about, reject)
        else:
            clip = Clip()
            reject(about, "missing-annotation", f"{len(folder.files.names(path, '*.png'))} frames without scores")
        pictures = {name[:-4]: f"{path}/{name}" for name in folder.files.names(path, "*.png")}
        yield clip_block(path, clip, pictures, stretch, reject)


@dataclass(frozen=True)
class Clip:
    """One JSON file: frame stem -> what it says of the frame."""

    actor: str | None = None
    frames: dict[str, object] = field(default_factory=dict)


def read_clip(data: bytes, about: str, reject: Reject) -> Clip:
    """What the JSON of one clip says; a repeated key with another value says nothing."""

    # {"actor": "Jane Doe",
    #  "frames": {"00000": {"arousal": 3.0, "landmarks": [[362.1, 175.4], ...], "valence": -2.0}, ...},
    #  "video_id": "001"}
    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        found: dict[str, object] = {}
        for key, value in pairs:
            if key in found:
                same = found[key] == value
                reject(f"{about} {key}", "duplicate-key" if same else "conflicting-duplicate", "a repeated key")
                value = value if same else None
            found[key] = value
        return found

    try:
        whole = json.loads(decoded(data), object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        reject(about, "missing-annotation", f"no JSON: {error}")
        return Clip()
    if not isinstance(whole, dict) or not isinstance(whole.get("frames"), dict):
        reject(about, "missing-annotation", "no object `frames`")
        return Clip()
    clip, said = about.rpartition("/")[2].removesuffix(".json"), whole.get("video_id", None)
    if said is not None and said != clip:
        reject(about, "id-mismatch", f"video_id {said!r:.80}")
    actor = whole.get("actor")
    if actor is not None and not isinstance(actor, str):
        reject(about, "bad-attributes", f"actor {actor!r:.80}")
        actor = None
    return Clip(clean(actor).strip() or None if actor else None, whole["frames"])


def clip_block(path: str, clip: Clip, pictures: dict[str, str], stretch: float, reject: Reject) -> Block:
    """Frames of one clip, joined by stem: labelled ones, and pictures that the JSON does not name.

    Args:
        path: Folder of the clip.
        pictures: Stem -> path.
        stretch: Width of a picture over the width that the points were released for.
    """
    wrong = sorted(stem for stem in {*clip.frames, *pictures} if not _STEM.fullmatch(stem))
    reject.many((f"{path}/{stem}" for stem in wrong), "bad-name", ["a frame number expected"] * len(wrong))
    stems = sorted({*clip.frames, *pictures} - set(wrong))
    name = _name(path)
    scores, points = np.full((len(stems), 2), np.nan), np.full((len(stems), 136), np.nan)
    for row, stem in enumerate(stems):
        said, where = clip.frames.get(stem), f"{path}/{name}.json frame {stem}"
        if isinstance(said, dict):
            scores[row] = [_score(said.get(key), f"{where} {key}", reject) for key in ("valence", "arousal")]
            points[row] = _points(said.get("landmarks"), where, reject)
        elif said is not None:
            reject(where, "bad-field-count", f"no object: {said!r:.80}")
    # Pixel centres lie at integers, so edges at -0.5 are what a wider picture keeps.
    points[:, 0::2] = (points[:, 0::2] + 0.5) * stretch - 0.5
    count = len(stems)
    samples = pa.table({
        "sample_id": pa.array([f"{name}/{int(stem):05d}" for stem in stems], pa.string()),
        "path": pa.array([pictures.get(stem, f"{path}/{stem}.png") for stem in stems], pa.string()),
        "sequence_id": pa.array([name] * count, pa.string()),
        "frame_index": pa.array([int(stem) for stem in stems], pa.int32()),
        "subject_id": pa.array([clip.actor] * count, pa.string()),
    })  # fmt: skip
    labels = {
        "valence": pa.array(scores[:, 0], pa.float32(), from_pandas=True),
        "arousal": pa.array(scores[:, 1], pa.float32(), from_pandas=True),
        "landmarks": vectors(points),
    }
    return Block(samples, {"human": pa.table(labels)})


def _score(value: object, where: str, reject: Reject) -> float:
    """A score over 10; NaN, with a reject unless the value is absent, for what is none."""
    if value is None:
        return np.nan
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        reject(where, "bad-number", f"{value!r:.80}")
        return np.nan
    if not -SCALE <= value <= SCALE:
        reject(where, "out-of-range", f"{value!r:.80}")
        return np.nan
    if value != int(value):
        # There are 21 levels; a score between them comes from a copy that was scaled already.
        reject(where, "bad-number", f"{value!r:.80}, a whole number expected")
        return np.nan
    return value / SCALE


def _points(value: object, where: str, reject: Reject) -> NDArray[np.float64]:
    """68 points [136]; NaN, with a reject unless they are absent, for anything else."""
    unknown = np.full(136, np.nan)
    if value is None:
        return unknown
    try:
        points = np.array(value)
    except (ValueError, RecursionError):
        points = np.array(None)
    if points.shape != (68, 2) or points.dtype.kind not in "if":
        reject(where, "bad-landmarks", f"68 pairs of numbers expected, shape {points.shape}")
        return unknown
    if not np.isfinite(points).all() or np.abs(points).max() > 1e6:
        reject(where, "bad-landmarks", "a coordinate that is no pixel")
        return unknown
    return points.astype(np.float64).ravel()


def _numbered(folder: Folder) -> list[str]:
    """Folders of three digits, at most three deep below the root."""
    deep = [path for depth in ("*", "*/*", "*/*/*") for path in folder.files.folders(f"{depth}")]
    return sorted(path for path in deep if re.fullmatch(r"[0-9]{3}", _name(path)))


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _refuse_copies(folder: Folder, clips: list[str]) -> None:
    first: dict[str, str] = {}
    for path in clips:
        other = first.setdefault(_name(path), path)
        if other != path:
            raise DatasetError(
                f"AFEW-VA at {folder.root} holds clip {_name(path)} twice",
                found=f"{other} and {path}",
                expected="one copy: nested (NN/NNN) or flat (NNN)",
                then="name the folder that holds one of them",
            )


def _width_warning(folder: Folder, clips: list[str]) -> Iterator[str]:
    """A word where the first picture's header says that `--pixels` should be the other."""
    for path in clips:
        for name in folder.files.names(path, "*.png")[:1]:
            head = folder.head(f"{path}/{name}", 24)
            width = int.from_bytes(head[16:20], "big") if head[:8] == b"\x89PNG\r\n\x1a\n" else 0
            if width in (720, 960) and str(width) != folder.options["pixels"]:
                yield f"{path}/{name} is {width} pixels wide: for these pictures choose --pixels {width}"
            return
