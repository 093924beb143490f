"""AFEW: film clips of EmotiW's audio-video challenge with one of seven expressions per clip.

How to get it: sign the EULA of the EmotiW organisers; they send Train_AFEW, Val_AFEW and Test_AFEW. Layout:
datasets/afew.md. The class folder is the label. `--images clips` (the default) makes each clip one sample;
`--images faces` makes each aligned face one, with the label of its clip. Aligned faces lie in one folder per clip and
are joined by the clip's name; they are numbered as the frames of the video, with gaps where no face was found.

Clips are named by their time in the film, so `005153760` of train and of val are different clips. Films and actors
come from Train_6.xml and Val_6.xml, where these name the clip of an entry; `Points/` and `LBPTOP/` are not read,
because nobody has described their format.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from affectdata.datasets.afew_films import CLIP_ID, Film, names_clips, read_films
from affectdata.datasets.afew_tree import Place, contents, is_afew, places, split_folders
from affectdata.datasets.card import Card, ExpectedReject, Labelling, Option, ProtocolCard, Published
from affectdata.datasets.reading import Block, Distribution, Folder, Reject
from affectdata.datasets.text import as_mask
from manifests.errors import DatasetError
from manifests.vocabulary import EXPRESSIONS

_CLASSES = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
_TRAIN = dict(zip(_CLASSES, (133, 74, 81, 150, 144, 117, 74), strict=True))
_VAL = dict(zip(_CLASSES, (64, 40, 46, 63, 63, 61, 46), strict=True))
_CLIPS = "clips in class folders"
_RULE = "one class per clip, by its class folder; a frame or face inherits the label of its clip"
_DERIVED = "provenance: derived (frames dumped, or faces sorted again, by a user)"

CARD = Card(
    name="afew",
    title="AFEW (Acted Facial Expressions in the Wild), as sent for EmotiW",
    about="film clips with one of seven expressions per clip; aligned faces per frame; test labels are withheld",
    tasks=("expression",),
    labellings=(Labelling("human", {"expression": EXPRESSIONS[:7]}, {"expression": "clip"}, _RULE),),
    protocols=(
        ProtocolCard(
            "official",
            ("human",),
            ("sequence",),
            "the organisers' train, val and test (unlabelled); clips of one film may lie on both sides [unverified]",
        ),
    ),
    licence="EULA of the EmotiW organisers: non-commercial research, no redistribution",
    citation="Dhall, Goecke, Lucey, Gedeon, Collecting large, richly annotated facial-expression databases from "
    "movies, IEEE MultiMedia 2012; and the EmotiW paper of the year used",
    homepage="none on record: ask the EmotiW organisers",
    access=("sign the EULA of the EmotiW organisers", "unpack the archives, AlignedFaces_LBPTOP_Points*.zip in place"),
    looked_for=(
        "Train_AFEW or Val_AFEW (or Train, Val) with <Angry ... Surprise>/<nine digits>.avi",
        "Train/videos/<Emotion>/<nine digits>.avi",
        "frame/train_afew/<Emotion>/<nine digits>/ or Faces/<nine digits>/ with pictures",
    ),
    tree="""Train_AFEW/
  Angry/000633000.avi                     (Disgust Fear Happy Neutral Sad Surprise)
  AlignedFaces_LBPTOP_Points/Faces/000633000/001.jpg
  Train_6.xml
Val_AFEW/
  Angry/ ... Surprise/, AlignedFaces_LBPTOP_Points_Val/, Val_6.xml
Test_AFEW/000123456.avi                   (flat, no labels)
or
Train/videos/Angry/000633000.avi, Train/Train_Aligned_Faces/000633000/001.jpg""",
    published=(
        Published("train", _TRAIN | {"": 773}, "human", "verified 3, AFEW 6.0 and 7.0", (_CLIPS,)),
        Published("val", _VAL | {"": 383}, "human", "verified 3, AFEW 6.0 and 7.0", (_CLIPS,)),
    ),
    subject_key="NameOfActor of the XML, where it names the clip and one actor",
    group_key="film:<MovieTitle of the XML, lower case>, where it names the clip",
    expected_rejects=(
        ExpectedReject("missing-video", 1, "XML entries about clips that are not there: the XML is optional"),
        ExpectedReject("bad-attributes", 1, "XML entries whose Location is no clip: its meaning is unconfirmed"),
    ),
    overlaps=(
        "SFEW: its pictures are frames of AFEW clips; AFEW-VA: clips of the same films. Do not train on one and score "
        "on another without grouping by film",
    ),
    options=(
        Option("images", "what becomes a sample: clips (default where they are), aligned faces, or dumped frames", "",
               ("clips", "faces", "frames")),
    ),
    unverified=(
        "spelling and nesting of the XML beside MovieTitle, NameOfActor, Length",
        "padding of frame numbers, and their base",
        "format of Points/ and LBPTOP/ (not read)",
        "test counts: 593 (2016), 653 (from 2017); older editions: 2013 380/396/312, 2014 578/383/407, "
        "2015 723/383/539",
        "whether train and val share films",
    ),
)  # fmt: skip


def find(folder: Folder) -> Distribution | None:
    """Nine-digit clips in class folders, or pictures in folders that are named by such clips."""
    tops = split_folders(folder)
    found = places(folder, tops) if tops else []
    if not any(is_afew(folder, place) for place in found):
        return None
    kinds = {kind: [place for place in found if place.kind == kind] for kind in ("clips", "faces", "frames")}
    kind = folder.options["images"] or _default_kind(folder, kinds)
    if not kinds[kind]:
        raise DatasetError(
            f"AFEW at {folder.root} holds no {kind}",
            found=", ".join(f"{len(kinds[name])} folders of {name}" for name in kinds if kinds[name]),
            then="unpack AlignedFaces_LBPTOP_Points*.zip in place, or leave out --images",
        )
    near = dict.fromkeys(path for top in tops for path in (top, top.rpartition("/")[0]))
    tables = [f"{top}/{name}".lstrip("/") for top in near for name in folder.files.names(top, "*.xml")]
    tables = [path for path in tables if _xml_split(path)]
    released = all(place.released for place in kinds[kind])
    rule = _RULE if released else f"{_RULE}; {_DERIVED}"
    variants = {"clips": _CLIPS, "faces": "aligned faces", "frames": "frames"}
    return Distribution(
        folder,
        variants[kind] + ("" if released else ", derived"),
        tuple(tables),
        {"kind": (kind,), "tops": tuple(tops), "tables": tuple(tables)},
        tuple(_warnings(folder, tables)),
        (replace(CARD.labellings[0], rule=rule),),
    )


def read(distribution: Distribution, reject: Reject) -> Iterator[Block]:
    """One Block per folder of clips, or per clip's folder of faces or frames."""
    folder, parts = distribution.folder, distribution.parts
    (kind,) = parts["kind"]
    films: dict[tuple[str, str], Film] = {}
    for path in parts["tables"]:
        split = _xml_split(path)
        for clip, film in folder.parsed(path, read_films, path, reject).items():
            films[split, clip] = film
    found = places(folder, list(parts["tops"]))
    clips = list(_known(folder, (place for place in found if place.kind == "clips"), reject, loud=kind == "clips"))
    classes = _classes(clips, Reject() if kind == "clips" else reject)
    seen = {(place.split, clip) for place, clip, _ in clips}
    if kind == "clips":
        yield from _clip_blocks(clips, films)
    else:
        chosen = [place for place in found if place.kind == kind]
        yield from _picture_blocks(folder, chosen, classes, films, reject)
        seen |= {(place.split, str(place.clip)) for place in chosen}
        bare = sorted(classes.keys() - {(place.split, place.clip) for place in chosen})
        if bare:
            yield _block(bare, [None] * len(bare), [classes[key] for key in bare], films)
    absent = sorted(films.keys() - seen)
    reject.many([f"{split}/{clip}" for split, clip in absent], "missing-video", ["named in an XML file"] * len(absent))


def _default_kind(folder: Folder, kinds: dict[str, list[Place]]) -> str:
    if any(is_afew(folder, place) for place in kinds["clips"]):
        return "clips"
    both = [kind for kind in ("faces", "frames") if kinds[kind]]
    if len(both) > 1:
        raise DatasetError(
            f"AFEW at {folder.root} holds faces and frames of the same clips, and no clips",
            found=f"{kinds['faces'][0].path} and {kinds['frames'][0].path}",
            expected="one choice of what becomes a sample",
            then="--images faces or --images frames",
        )
    return both[0]


def _warnings(folder: Folder, tables: list[str]) -> Iterator[str]:
    for path in tables:
        if not names_clips(folder.head(path)):
            yield f"{path} does not say which clip an entry is about (no Location): films and actors stay unknown"
    if folder.files.folders("*/Points") or folder.files.folders("*/*/Points"):
        yield "Points/ is not read: its format is not on record"


def _xml_split(path: str) -> str:
    """`Train_6.xml` -> train; empty for other files."""
    found = re.match(r"(train|val|test)_", path.rpartition("/")[2].lower())
    return found[1] if found else ""


def _known(folder: Folder, found: Iterable[Place], reject: Reject, *, loud: bool) -> Iterator[tuple[Place, str, str]]:
    """Folder, clip id and file name of every clip in a class folder or in the flat test folder.

    Args:
        loud: Whether what does not fit is rejected; where faces are read, clips only lend their labels.
    """
    for place in found:
        names = contents(folder, place)
        if place.expression is None and (place.label is not None or place.split != "test"):
            if loud:
                reject(place.path, "unknown-class-folder", f"{len(names)} clips")
            continue
        for name in names:
            if CLIP_ID.fullmatch(name[:-4]):
                yield place, name[:-4], name
            elif loud:
                reject(f"{place.path}/{name}", "bad-name", "nine digits expected")


def _classes(clips: Iterable[tuple[Place, str, str]], reject: Reject) -> dict[tuple[str, str], str | None]:
    """(split, clip id) -> class; None where it is withheld, or where the clip lies in two class folders."""
    classes: dict[tuple[str, str], str | None] = {}
    for place, clip, name in clips:
        key = (place.split, clip)
        if classes.setdefault(key, place.expression) != place.expression:
            reject(f"{place.path}/{name}", "conflicting-duplicate", "the clip also lies in another class folder")
            classes[key] = None
    return classes


def _clip_blocks(clips: list[tuple[Place, str, str]], films: dict[tuple[str, str], Film]) -> Iterator[Block]:
    by_folder: dict[Place, list[tuple[str, str]]] = {}
    for place, clip, name in clips:
        by_folder.setdefault(place, []).append((clip, name))
    for place, named in by_folder.items():
        keys = [(place.split, clip) for clip, _ in named]
        paths = [f"{place.path}/{name}".lstrip("/") for _, name in named]
        yield _block(keys, paths, [place.expression] * len(keys), films)


def _picture_blocks(
    folder: Folder,
    found: list[Place],
    classes: dict[tuple[str, str], str | None],
    films: dict[tuple[str, str], Film],
    reject: Reject,
) -> Iterator[Block]:
    for place in found:
        clip, names = str(place.clip), contents(folder, place)
        if not CLIP_ID.fullmatch(clip):
            reject(place.path, "bad-name", f"{len(names)} pictures; a clip has nine digits")
            continue
        if place.label is not None and place.expression is None:
            reject(place.path, "unknown-class-folder", f"{len(names)} pictures")
            continue
        name = classes.get((place.split, clip), place.expression)
        if place.expression not in (None, name):
            reject(place.path, "conflicting-duplicate", f"{place.label}, but the clip says {name}")
            continue
        yield _frames(place, names, name, films.get((place.split, clip)), reject)


def _frames(place: Place, names: list[str], name: str | None, film: Film | None, reject: Reject) -> Block:
    """The pictures of one clip; the number in a name is that of the frame, never its place in a list."""
    files = pa.array(names, pa.string())
    stems = pc.replace_substring_regex(files, r"\.[A-Za-z]+$", "")
    numbered = pc.match_substring_regex(stems, r"^[0-9]{1,9}$")
    wrong = files.filter(pc.invert(numbered)).to_pylist()
    reject.many((f"{place.path}/{file}" for file in wrong), "bad-name", ["a frame number expected"] * len(wrong))
    files = files.filter(numbered)
    numbers = pc.cast(stems.filter(numbered), pa.int32())
    count = int(as_mask(numbered).sum())
    sequence = f"{place.split}/{place.clip}"
    samples = pa.table({
        "sample_id": pc.binary_join_element_wise(
            pa.scalar(sequence), pc.utf8_lpad(pc.cast(numbers, pa.string()), 5, "0"), "/"
        ),
        "path": pc.binary_join_element_wise(pa.scalar(place.path), files, "/"),
        "sequence_id": pa.array([sequence] * count, pa.string()),
        "frame_index": numbers,
        "subject_id": pa.array([film.actor if film else None] * count, pa.string()),
        "group_id": pa.array([film.group if film else None] * count, pa.string()),
        "split": pa.array([place.split] * count, pa.string()),
    })  # fmt: skip
    labels = pa.table({"expression": pa.array([name] * count, pa.string())})
    return Block(samples, {"human": labels}, {"official": samples.column("split")})


def _block(
    keys: list[tuple[str, str]],
    paths: list[str] | list[None],
    names: list[str | None],
    films: dict[tuple[str, str], Film],
) -> Block:
    """Whole clips as samples."""
    ids = pa.array([f"{split}/{clip}" for split, clip in keys], pa.string())
    sources = [films.get(key, Film(None, None)) for key in keys]
    samples = pa.table({
        "sample_id": ids,
        "path": pa.array(paths, pa.string()),
        "sequence_id": ids,
        "subject_id": pa.array([film.actor for film in sources], pa.string()),
        "group_id": pa.array([film.group for film in sources], pa.string()),
        "split": pa.array([split for split, _ in keys], pa.string()),
    })  # fmt: skip
    labels = pa.table({"expression": pa.array(names, pa.string())})
    return Block(samples, {"human": labels}, {"official": samples.column("split")})
