"""SFEW 2.0: frames of films with one of seven expressions per picture (EmotiW's static challenge of 2015).

How to get it: sign the EULA of the EmotiW organisers; they send Train_Aligned_Faces.zip, Val_Aligned_Faces_new.zip,
Test_Aligned_Faces.zip and the original frames. Layout: datasets/sfew.md. The class folder is the label.

Aligned faces and original frames show the same moments, so one ingest reads one of them (`--images`). Every picture
is a frame of an AFEW clip: its name gives film, time and frame, and the film is the group that no split should cut.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from affectdata.datasets.afew_films import CLASSES, film_group
from affectdata.datasets.card import Card, ExpectedReject, Labelling, Option, ProtocolCard, Published
from affectdata.datasets.reading import Block, Distribution, Folder, Reject
from affectdata.datasets.sfew_repack import box_and_points, side_files
from affectdata.datasets.sfew_tree import NAME, Place, is_sfew, pictures, place_of, places
from affectdata.datasets.text import as_mask, csv_table, decoded, header, recoded
from manifests.errors import DatasetError
from manifests.vocabulary import EXPRESSION, EXPRESSIONS

_CLASSES = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
_ORIGINAL, _ALIGNED = "original frames", "aligned faces"
_MIRROR_NAMES: dict[object, str | None] = {k: v for k, v in EXPRESSION.synonyms.items() if v in EXPRESSIONS[:7]}
_RULE = "one class per picture, by its class folder"
_KINDS = {
    "aligned": (_ALIGNED, _RULE),
    "original": (_ORIGINAL, _RULE),
    "mirror": ("mirror (third party, sfew_2.0_labels.csv)", "one class per picture, by name; provenance: repack"),
    "repack": ("repack (third party, imgs/ and Annotations/)", f"{_RULE}; provenance: repack"),
}
_OVERLAP = "its pictures are frames of AFEW clips, and AFEW-VA has clips of the same films: group by film"


def _published(split: str, counts: tuple[int, ...], variant: str) -> tuple[Published, ...]:
    return (Published(split, dict(zip(_CLASSES, counts, strict=True)), "human", "unverified", (variant,)),)


CARD = Card(
    name="sfew",
    title="SFEW 2.0 (Static Facial Expressions in the Wild)",
    about="film frames with one of seven expressions per picture, original or as aligned faces; test labels are "
    "withheld",
    tasks=("expression",),
    labellings=(Labelling("human", {"expression": EXPRESSIONS[:7]}, {"expression": "frame"}, _RULE),),
    protocols=(
        ProtocolCard(
            "official", ("human",), about="the organisers' train, val and unlabelled test; films may lie on both sides",
            metrics=("f1_of_macro_pr",),
        ),
    ),
    licence="EULA (ANU, EmotiW organisers): research only",
    citation="Dhall, Goecke, Lucey, Gedeon, Static facial expression analysis in tough conditions, ICCVW 2011; Dhall "
    "et al., Video and image based emotion recognition challenges in the wild: EmotiW 2015, ICMI 2015",
    homepage="none on record: ask the EmotiW organisers",
    access=("sign the EULA of the EmotiW organisers", "unpack the archives into one folder"),
    looked_for=(
        "Train, Val or Test (or Train_Aligned_Faces ...) with <Angry ... Surprise>/<Film>_<9 digits>_<8 digits>.png",
        "sfew_2.0_labels.csv beside sfew2.0_images",
        "{Train,Val}/imgs/<Emotion> with Annotations",
    ),
    tree="""Train/Train_Aligned_Faces/Angry/Airheads_000519240_00000005.png   (or Train/Angry/, Train/Train/Angry/)
Val/Val_Aligned_Faces_new/Angry/...                               (or Val_Aligned_Faces: one of the two)
Test/Test_Aligned_Faces/*.png                                     (flat, no labels)
or
sfew_2.0_labels.csv, sfew2.0_images/image_000000.png""",
    published=(
        Published("train", {"": 958}, sure="one source", variants=(_ORIGINAL,)),
        Published("val", {"": 436}, sure="one source", variants=(_ORIGINAL,)),
        Published("test", {"": 372}, sure="one source", variants=(_ORIGINAL,)),
        *_published("train", (178, 66, 98, 198, 150, 172, 96), _ORIGINAL),
        *_published("val", (77, 23, 47, 73, 86, 73, 57), _ORIGINAL),
        *_published("train", (178, 52, 78, 184, 144, 161, 94), _ALIGNED),
        *_published("val", (77, 23, 46, 72, 84, 73, 56), _ALIGNED),
        Published("test", {"": 372}, sure="unverified", variants=(_ALIGNED,)),
    ),
    subject_key="none distributed: the last number of a name is a frame, not a person",
    group_key="film:<name before time and frame, lower case>; unknown in the mirror",
    expected_rejects=(
        ExpectedReject("not-a-face", 0.1, "pictures that --drop-bad-crops lists (130 aligned ones, counted)"),
    ),
    overlaps=(f"AFEW, AFEW-VA: {_OVERLAP}",),
    options=(
        Option("images", "which pictures to read, where several kinds lie side by side", "", tuple(_KINDS)),
        Option("val", "which archive of aligned val faces to read, where both lie there: Val_Aligned_Faces is old, "
               "Val_Aligned_Faces_new is new", "", ("old", "new")),
        Option("drop-bad-crops", "text file with names of pictures to leave out, one per line", is_path=True),
    ),
    revision=2,
    unverified=(
        "counts per class, and all of aligned faces (an older val has 427)",
        "whether train and val share films (counted at ingest), whether several crops come from one frame",
        "the repack: order of box fields and of the five points (checked against each other)",
        "the mirror: spelling of its emotions (mapped by name); its integers are not read",
        "SFEW 1.0 (700 images, 95 subjects, Set1/Set2): not read",
    ),
)  # fmt: skip


def find(folder: Folder) -> Distribution | None:
    """Pictures named after film, time and frame in class folders of a split; the mirror's table; the repack."""
    tables = [p for depth in ("", "*/", "*/*/") for p in folder.files.find(f"{depth}sfew_2.0_labels.csv")]
    found = places(folder)
    if not tables and not any(is_sfew(folder, place) for place in found):
        _refuse_first_edition(folder)
        return None
    kinds: dict[str, list[Place]] = {}
    for place in found:
        kinds.setdefault(place.kind, []).append(place)
    there = [kind for kind in _KINDS if (kind == "mirror" and tables) or any(p.known for p in kinds.get(kind, ()))]
    kind = _chosen(folder, there, kinds, tables)
    chosen = _one_val(folder, kinds.get(kind, [])) if kind != "mirror" else []
    side = [p for kind_ in ("Bboxs", "Landmarks_5") for place in chosen if kind == "repack"
            for p in side_files(folder, place, kind_).values()]  # fmt: skip
    variant, rule = _KINDS[kind]
    dropped, note = _drop_list(folder, chosen)
    return Distribution(
        folder,
        variant,
        tuple(tables[:1] if kind == "mirror" else sorted(set(side))),
        {"places": tuple(place.path for place in chosen), "tables": tuple(tables if kind == "mirror" else ())},
        (*note, *_shared_films(folder, chosen), _OVERLAP),
        (replace(CARD.labellings[0], rule=rule),),
        settings="\n".join(sorted(dropped)),
    )


def read(distribution: Distribution, reject: Reject) -> Iterator[Block]:
    """One Block per folder of pictures, or one for the mirror."""
    folder = distribution.folder
    dropped = set(distribution.settings.splitlines())
    for path in distribution.parts["tables"][:1]:
        yield _read_mirror(folder, path, dropped, reject)
    for path in distribution.parts["places"]:
        place = place_of(path, folder.root.name)
        if place and place.known:
            yield _read_place(folder, place, dropped, reject)
        elif place:
            reject(path, "unknown-class-folder", f"{len(pictures(folder, path))} pictures")


def _refuse_first_edition(folder: Folder) -> None:
    classes = [path for depth in ("", "*/", "*/*/") for path in folder.files.folders(f"{depth}Set[12]/*")]
    if any(path.rpartition("/")[2].lower() in CLASSES for path in classes):
        raise DatasetError(
            f"{folder.root} looks like SFEW 1.0, whose layout is not on record",
            found=classes[0],
            expected="SFEW 2.0: Train, Val and Test",
            then="describe the pictures in a table: affect ingest table PATH --map MAP.toml",
        )


def _chosen(folder: Folder, there: list[str], kinds: dict[str, list[Place]], tables: list[str]) -> str:
    kind = folder.options["images"] or (there[0] if len(there) == 1 else "")
    if kind in there:
        return kind
    paths = {name: tables[0] if name == "mirror" else kinds[name][0].path for name in there}
    raise DatasetError(
        f"SFEW at {folder.root} holds {'no ' + kind if kind else 'several kinds of the same pictures'}",
        found=", ".join(f"{name} ({path})" for name, path in paths.items()),
        expected="one kind, because they show the same faces",
        then=" or ".join(f"--images {name}" for name in there),
    )


def _one_val(folder: Folder, found: list[Place]) -> list[Place]:
    """The folders with one of the two val archives only."""
    archives = sorted({place.archive for place in found if place.split == "val" and place.archive})
    wanted = folder.options["val"]
    kept = [name for name in archives if not wanted or name.endswith("_new") == (wanted == "new")]
    if len(kept) > 1 or (wanted and archives and not kept):
        raise DatasetError(
            f"aligned val faces of SFEW at {folder.root}",
            found=", ".join(archives),
            expected="one archive of the two: they hold mostly the same pictures",
            then="--val new or --val old",
        )
    return [place for place in found if place.split != "val" or not place.archive or place.archive in kept]


def _drop_list(folder: Folder, found: list[Place]) -> tuple[set[str], tuple[str, ...]]:
    """Names to leave out, and a note on how many of them are there."""
    path = folder.options["drop-bad-crops"]
    if not path:
        return set(), ()
    try:
        text = decoded(Path(path).read_bytes())
    except OSError as error:
        raise DatasetError(f"--drop-bad-crops {path}", found=str(error), expected="a text file of names") from None
    names = {_stem(line.strip().replace("\\", "/").rpartition("/")[2]) for line in text.splitlines()} - {""}
    there = {_stem(name) for place in found for name in pictures(folder, place.path)}
    return names, (f"--drop-bad-crops: {len(names & there):,} of its {len(names):,} names are here",) if found else ()


def _stem(name: str) -> str:
    base, dot, end = name.rpartition(".")
    return base if f"{dot}{end.lower()}" in (".png", ".jpg", ".jpeg") else name


def _shared_films(folder: Folder, found: list[Place]) -> Iterator[str]:
    films: dict[str, set[str]] = {}
    for place in found:
        stems = pa.array([_stem(name) for name in pictures(folder, place.path)], pa.string())
        movies = pc.struct_field(pc.extract_regex(stems, NAME), "movie")
        films.setdefault(place.split, set()).update(movies.drop_null().to_pylist())
    shared = films.get("train", set()) & films.get("val", set())
    if shared:
        yield f"{len(shared):,} films lie in train and in val"


def _read_place(folder: Folder, place: Place, dropped: set[str], reject: Reject) -> Block:
    # Airheads_000519240_00000005.png      film, time of the clip in it, frame of the clip (1-based)
    files = pa.array(pictures(folder, place.path), pa.string())
    stems = pc.replace_substring_regex(files, r"\.[A-Za-z]+$", "")
    parts = pc.extract_regex(stems, NAME)
    bad = as_mask(pc.is_null(parts)) & (place.kind != "repack")
    left_out = as_mask(pc.is_in(stems, value_set=pa.array(sorted(dropped), pa.string())))
    for mask, reason, detail in ((bad, "bad-name", "<Film>_<9 digits>_<8 digits> expected"),
                                 (left_out & ~bad, "not-a-face", "listed by --drop-bad-crops")):  # fmt: skip
        names = files.filter(pa.array(mask)).to_pylist()
        reject.many((f"{place.path}/{name}".lstrip("/") for name in names), reason, [detail] * len(names))
    keep = pa.array(~(bad | left_out))
    files, stems, parts = files.filter(keep), stems.filter(keep), parts.filter(keep)
    movies = pc.struct_field(parts, "movie")
    count = len(files)
    columns: dict[str, pa.Array] = {
        "sample_id": pc.binary_join_element_wise(pa.scalar(f"{place.kind}/{place.split}"), stems, "/"),
        "path": pc.binary_join_element_wise(pa.scalar(place.path), files, "/") if place.path else files,
        "sequence_id": pc.binary_join_element_wise(movies, pc.struct_field(parts, "time"), "_"),
        "frame_index": pc.cast(pc.struct_field(parts, "frame"), pa.int32()),
        "group_id": pa.array([film_group(movie) if movie else None for movie in movies.to_pylist()], pa.string()),
        "split": pa.array([place.split] * count, pa.string()),
    }
    if place.kind == "repack":
        columns |= box_and_points(folder, place, stems.to_pylist(), reject)
    labels = pa.table({"expression": pa.array([place.expression] * count, pa.string())})
    return Block(pa.table(columns), {"human": labels}, {"official": columns["split"]})


def _read_mirror(folder: Folder, path: str, dropped: set[str], reject: Reject) -> Block:
    # image_name,label,emotion,original_split
    # image_000000.png,0,angry,Train_Aligned_Faces
    names = header(folder.head(path))
    if not {"image_name", "emotion", "original_split"} <= set(names):
        raise DatasetError(f"{path} is not the mirror's table", found=", ".join(names),
                           expected="columns image_name, label, emotion, original_split")  # fmt: skip
    table = folder.parsed(path, csv_table, path, reject)
    base = "/".join(filter(None, (path.rpartition("/")[0], "sfew2.0_images")))
    listed = set(table.columns["image_name"].to_pylist())
    bare = [name for name in pictures(folder, base) if name not in listed]
    reject.many((f"{base}/{name}" for name in bare), "missing-annotation", [f"not listed in {path}"] * len(bare))
    table = table.filter(table.refuse(as_mask(pc.is_null(table.columns["image_name"])), reject, "bad-name", "emotion"))
    found = pc.extract_regex(table.columns["original_split"], r"(?i)^\s*(?P<split>train|val|test)_Aligned_Faces")
    unknown = as_mask(pc.is_null(found))
    splits = pc.utf8_lower(pc.struct_field(found, "split")).filter(pa.array(~unknown))
    table = table.filter(table.refuse(unknown, reject, "unknown-split", "original_split"))
    spelled = pc.utf8_lower(pc.utf8_trim_whitespace(table.columns["emotion"]))
    classes, wrong = recoded(spelled, _MIRROR_NAMES)
    table.refuse(wrong, reject, "unknown-code", "emotion")
    stems = pc.replace_substring_regex(table.columns["image_name"], r"\.[A-Za-z]+$", "")
    left_out = as_mask(pc.is_in(stems, value_set=pa.array(sorted(dropped), pa.string())))
    keep = np.asarray(table.refuse(left_out & ~wrong, reject, "not-a-face", "image_name") & ~wrong & ~left_out)
    splits, rows = splits.filter(pa.array(keep)), table.filter(keep)
    samples = pa.table({
        "sample_id": pc.binary_join_element_wise(
            pc.binary_join_element_wise(pa.scalar("mirror"), splits, "/"), stems.filter(pa.array(keep)), "/"
        ),
        "path": pc.binary_join_element_wise(pa.scalar(base), rows.columns["image_name"], "/"),
        "split": splits,
    })  # fmt: skip
    return Block(samples, {"human": pa.table({"expression": classes.filter(pa.array(keep))})}, {"official": splits})
