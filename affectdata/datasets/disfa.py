"""DISFA (27 people, two cameras, 12 AU intensities per frame) and DISFA+ (9 of them, posed and spontaneous trials).

Get it: apply as the DISFA page says and unpack every archive into one folder. The release holds videos; frames that
you have extracted are read too. Datasets page disfa.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from affectdata.datasets import disfa_plus
from affectdata.datasets.card import Card, Labelling, Option, ProtocolCard, Published
from affectdata.datasets.disfa_codes import Codes, Coding, read_codes
from affectdata.datasets.disfa_landmarks import POINT_FOLDER, failed, landmarks
from affectdata.datasets.disfa_media import CAMERAS, Media, Take, media
from affectdata.datasets.reading import Block, Distribution, Folder, Reject, vectors
from manifests.errors import DatasetError
from manifests.vocabulary import AU_SPACES, AUS, au_column

CODING = Coding({intensity: float(intensity) for intensity in range(6)}, "out-of-range")
"""0 is absent, 1-5 FACS A-E; no code means unknown [verified 5]."""

PARTS = (
    ("SN001", "SN002", "SN009", "SN010", "SN016", "SN026", "SN027", "SN030", "SN032"),
    ("SN006", "SN011", "SN012", "SN013", "SN018", "SN021", "SN024", "SN028", "SN031"),
    ("SN003", "SN004", "SN005", "SN007", "SN008", "SN017", "SN023", "SN025", "SN029"),
)
"""The three parts of the literature, identical in ME-GraphAU, JAANet and LibreFace [verified 3]."""

_TRAP = "fold 0 scores part 1 (SN001 SN002 SN009 ...), fold 1 part 2, fold 2 part 3; others number them otherwise: "
_TRAP += "ME-GraphAU's fold 1 scores part 3, its fold 2 part 2, its fold 3 part 1"
_KEYS = ("subject", "sequence", "group")
_DISFA, _PLUS = "DISFA", "DISFA+"

_METRICS = ("au_f1[disfa8]", "au_f1[disfa12]")
"""The literature reports eight AUs or all twelve (metrics.md 7)."""

CARD = Card(
    name="disfa",
    title="DISFA (Denver Intensity of Spontaneous Facial Action) and DISFA+",
    about="stereo videos of 27 people, 130,814 frames with the intensity of 12 AUs and 66 tracked points; DISFA+: "
    "trials of 9 of them with the same AUs. The literature calls an AU present from intensity 2 on; of the "
    "130,814 frames that is AU1 6,506, AU2 5,644, AU4 19,933, AU6 10,327, AU9 5,473, AU12 16,851, AU25 36,247, "
    "AU26 11,533 (computed from public lists)",
    tasks=("au_intensity", "au", "landmarks"),
    labellings=(
        Labelling("human", unit={"au_intensity": "frame"}, au_cut=2,
                  rule="intensity 0-5 of 12 AUs, coded frame by frame (provenance: manual); both cameras of a person "
                  "share the labels"),
        Labelling("auto", unit={"landmarks": "frame"}, landmark_base="unknown [unverified], taken as it is",
                  rule="66 points tracked by the authors in the left camera (provenance: automatic), unknown where "
                  "their tracking failed"),
    ),
    protocols=(
        ProtocolCard("3fold", ("human",), _KEYS, f"three parts of the literature, not official [verified 3]; {_TRAP}",
                     _METRICS),
        ProtocolCard("3fold-tracked", ("human",), _KEYS,
                     "3fold without the 4,670 frames of failed tracking, as JAANet's lists are [verified 2]", _METRICS),
    ),
    published=(
        Published("", {"": 130_814}, sure="verified 3", variants=tuple(
            f"DISFA, {camera} camera, {kind}" for camera in CAMERAS for kind in ("videos", "images"))),
        Published("", {"": 261_628}, sure="verified 3, twice: both cameras", variants=tuple(
            f"DISFA, both cameras, {kind}" for kind in ("videos", "images"))),
    ),
    licence="non-commercial research, agreement signed by a faculty member; only a few people may be shown in print",
    citation="Mavadati, Mahoor, Bartlett, Trinh, Cohn, DISFA, IEEE Transactions on Affective Computing 4(2), 2013, "
    "DOI 10.1109/T-AFFC.2013.4",
    homepage="https://doi.org/10.1109/T-AFFC.2013.4",
    access=(
        "have a faculty member sign the agreement and send it to the maintainers",
        "unpack every archive into one folder: labels, videos and, if wanted, Landmark_Points",
    ),
    looked_for=("ActionUnit_Labels/SN001/SN001_au1.txt", "Labels/SN001/<trial>/AU1.txt (DISFA+)"),
    tree="""ActionUnit_Labels/SN001/SN001_au1.txt ... SN001_au26.txt
Videos_LeftCamera/LeftVideoSN001_comp.avi
Video_RightCamera/RightVideoSN001_Comp.avi
Landmark_Points/SN001/tmp_frame_lm/SN001_0000_lm.mat
or, instead of videos, extracted frames: SN001/0.png, LeftVideoSN001_comp/LeftVideoSN001_comp_00001.jpg ...
or DISFA+: Images/SN001/<trial>/000.jpg, Labels/SN001/<trial>/AU1.txt ... AU26.txt""",
    subject_key="SNxxx of folder and file names; the same in DISFA+",
    group_key="disfa:SNxxx: a person of DISFA+ is the person of that code in DISFA",
    overlaps=("DISFA and DISFA+: SN001 003 004 007 009 010 013 025 027 are in both [verified 2]; what trains on one "
              "must not be scored on the other",),
    options=(
        Option("part", "which to read where both lie in the folder", choices=("disfa", "disfaplus")),
        Option("camera", "whose frames to read; literature and points use the left", "left", (*CAMERAS, "both")),
        Option("media", "what to take frames from where both are there", choices=("videos", "images")),
        Option("image-base", "number of the first extracted frame; auto: 0 where a folder has a picture 0", "auto",
               ("auto", "0", "1")),
        Option("landmark-base", "coordinate of the first pixel in Landmark_Points: 1 is suspected, not known", "0",
               ("0", "1")),
    ),
    unverified=("base of the 66 points (0 or 1)", "names of DISFA+'s trials, read whatever they are",
                "20 frames a second, not stored", "DISFA+'s points (<trial>_FaceCropped.mat), not read"),
    revision=3,
)  # fmt: skip

_LABELS = re.compile(r"(?i)(?:^|/)ActionUnit_Labels/(SN\d{3})$")
_FILE = re.compile(r"(?i)^(SN\d{3})_au0*(\d{1,2})\.txt$")


def find(folder: Folder) -> Distribution | None:
    """DISFA by its label files, DISFA+ by its own; where both are there the user says which."""
    subjects = [f for f in folder.files.tree() if _LABELS.search(f) and folder.files.names(f, "*_au*.txt")]
    trials = disfa_plus.label_folders(folder.files)
    part = folder.options["part"] or ("disfa" if subjects else "disfaplus" if trials else "")
    if subjects and trials and not folder.options["part"]:
        raise DatasetError(
            f"both DISFA and DISFA+ lie in {folder.root}",
            found=f"{subjects[0]} and {trials[0]}",
            expected="one of them at a time: they share people and have other pictures",
            then="affect ingest disfa PATH --part disfa, and --part disfaplus --name disfaplus for the other",
        )
    if part == "disfaplus" and trials:
        return _plus_distribution(folder, trials)
    return _distribution(folder, subjects) if part == "disfa" and subjects else None


def read(distribution: Distribution, reject: Reject) -> Iterator[Block]:
    """A Block per subject and camera, or per trial of DISFA+."""
    if distribution.variant == _PLUS:
        for path in distribution.parts["trials"]:
            yield disfa_plus.read_trial(distribution.folder, path, reject)
        return
    folder, found = distribution.folder, media(distribution.folder)
    for path in distribution.parts["subjects"]:
        subject = path[-5:].upper()
        aus, codes = _read_labels(folder, path, subject, reject)
        frames = _labelled(codes)
        for take in found.takes(subject):
            kept = take.frames_within(frames, reject)
            yield _block(distribution, take, kept, aus, codes, reject)


def _labelled(codes: Sequence[Codes]) -> NDArray[np.int64]:
    """Frames of which a file says something."""
    return np.unique(np.concatenate([c.frames for c in codes])) if codes else np.empty(0, np.int64)


def _distribution(folder: Folder, subjects: Sequence[str]) -> Distribution:
    tops = sorted({path.rpartition("/")[0] for path in subjects})
    if len(tops) > 1:
        raise DatasetError(f"several copies of DISFA's labels lie in {folder.root}", found=", ".join(tops),
                           expected="one ActionUnit_Labels", then="name the folder of one copy")  # fmt: skip
    camera, found = folder.options["camera"], media(folder)
    labels = [f"{path}/{name}" for path in subjects for name in folder.files.names(path, "*.txt")]
    left = camera != "right"
    points = [f for f in folder.files.tree() if left and POINT_FOLDER.search(f) and folder.files.names(f, "*.mat")]
    mats = [f"{path}/{name}" for path in points for name in folder.files.names(path, "*.mat")]
    warnings = [w for path in subjects for w in _length_warnings(found, path)]
    firsts = {take.first: take.folder for path in subjects for take in found.takes(path[-5:].upper()) if take.pictures}
    if len(firsts) > 1:
        warnings.append(f"pictures count from 0 in {firsts[0]} but from 1 in {firsts[1]}: if that is not so, choose "
                        "--image-base")  # fmt: skip
    if left and not points:
        warnings.append("no Landmark_Points: the 66 points stay unknown")
    cameras = "both cameras" if camera == "both" else f"{camera} camera"
    base = folder.options["landmark-base"]
    auto = replace(CARD.labelling("auto"), landmark_base=f"unknown [unverified], read as {base}")
    parts = {"subjects": tuple(subjects), "points": tuple(points)}
    return Distribution(folder, f"{_DISFA}, {cameras}, {found.kind}", (*labels, *mats), parts, tuple(warnings),
                        (CARD.labelling("human"), auto))  # fmt: skip


def _plus_distribution(folder: Folder, trials: Sequence[str]) -> Distribution:
    tops = disfa_plus.tops(trials)
    if len(tops) > 1:
        raise DatasetError(f"several copies of DISFA+'s labels lie in {folder.root}", found=", ".join(tops),
                           expected="one folder Labels", then="name the folder of one copy")  # fmt: skip
    labels = [f"{path}/{name}" for path in trials for name in folder.files.names(path, "*.txt")]
    points = [p for f in folder.files.tree() for p in folder.files.names(f, "*_FaceCropped.mat")]
    warnings = tuple(f"{path} and the like are not read: their content is unverified" for path in points[:1])
    human = replace(CARD.labelling("human"), rule="intensity 0-5 of 12 AUs per picture (provenance: manual)")
    return Distribution(folder, _PLUS, tuple(labels), {"trials": tuple(trials)}, warnings, (human,))


def _length_warnings(found: Media, path: str) -> Iterator[str]:
    """Videos whose header tells another number of frames than there are label lines (SN010, by one)."""
    folder = found.folder
    names = folder.files.names(path, "*_au*.txt")
    if folder.files.size(f"{path}/{names[0]}") > 1 << 16:
        return
    lines = sum(bool(line.strip()) for line in folder.head(f"{path}/{names[0]}").splitlines())
    for take in found.takes(path[-5:].upper()):
        if take.length is not None and take.length != lines:
            yield f"{take.name}: {take.length:,} video frames, {lines:,} label lines; the shorter counts"


def _read_labels(folder: Folder, path: str, subject: str, reject: Reject) -> tuple[tuple[int, ...], list[Codes]]:
    """AUs of the subject's files, and what each says."""
    # SN001_au12.txt:  1,0
    #                  2,0
    #                  3,1         frame (1-based), intensity; no header
    found: dict[int, Codes] = {}
    for name in folder.files.names(path, "*_au*.txt"):
        match, where = _FILE.match(name), f"{path}/{name}"
        if not match or int(match[2]) not in AUS:
            reject(where, "bad-name", "expected SNxxx_auN.txt")
        elif match[1].upper() != subject or int(match[2]) in found:
            reject(where, "id-mismatch", f"in the folder of {subject}, or an AU for the second time")
        else:
            found[int(match[2])] = folder.parsed(where, read_codes, ["intensity"], CODING, where, reject)
    for au in sorted(set(AU_SPACES["disfa12"]) - set(found)):
        reject(f"{path}/{subject}_au{au}.txt", "missing-annotation", f"AU{au} stays unknown for {subject}")
    most = max((codes.lines for codes in found.values()), default=0)
    for au, codes in sorted(found.items()):
        if codes.lines != most:
            reject(f"{path}/{subject}_au{au}.txt", "length-mismatch", f"{codes.lines:,} lines, others have {most:,}")
    return tuple(sorted(found)), [found[au] for au in sorted(found)]


def _block(
    distribution: Distribution,
    take: Take,
    frames: NDArray[np.int64],
    aus: tuple[int, ...],
    codes: list[Codes],
    reject: Reject,
) -> Block:
    ids = pa.array([f"{take.name}/{frame:05d}" for frame in frames.tolist()], pa.string())
    count = len(frames)
    samples = {
        "sample_id": ids,
        "path": pa.array(take.paths(frames), pa.string()),
        "frame": pa.array(frames - 1, pa.int32()) if take.video else pa.nulls(count, pa.int32()),
        "sequence_id": pa.array([take.name] * count, pa.string()),
        "frame_index": pa.array(frames, pa.int32()),
        "subject_id": pa.array([take.subject] * count, pa.string()),
        "group_id": pa.array([f"disfa:{take.subject}"] * count, pa.string()),
    }
    values = {au_column(au, "intensity"): c.at(frames)[:, 0] for au, c in zip(aus, codes, strict=True)}
    labels = {"human": pa.table({name: pa.array(v, mask=np.isnan(v)) for name, v in values.items()})}
    if take.camera == "left":
        points = landmarks(distribution, take.subject, frames, _labelled(codes), reject)
        labels |= {"auto": pa.table({"landmarks": vectors(points)})} if points is not None else {}
    return Block(pa.table(samples), labels, _protocols(ids, take.subject, frames))


def _protocols(ids: pa.Array, subject: str, frames: NDArray[np.int64]) -> dict[str, pa.Array | pa.Table]:
    fold = next((number for number, part in enumerate(PARTS) if subject in part), None)
    if fold is None:
        return {}
    lost = failed(subject, frames)
    whole = _scored(ids, np.full(len(frames), fold), np.zeros(len(frames), dtype=bool))
    return {"3fold": whole, "3fold-tracked": _scored(ids, np.full(len(frames), fold), lost)}


def _scored(ids: pa.Array, fold: NDArray[np.int64], ignored: NDArray[np.bool_]) -> pa.Table:
    return pa.table(
        {
            "sample_id": ids,
            "task": pa.array(["all"] * len(ids), pa.string()),
            "role": pa.array(np.where(ignored, "ignore", "test").tolist(), pa.string()),
            "fold": pa.array(fold, pa.int16(), mask=ignored),
        }
    )
