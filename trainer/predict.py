"""A run's predictions for pictures and videos that are in no lake; faces are cut out as its training crops were."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from torch import nn

from affectdata.faces.alignments import Alignment, alignment
from affectdata.faces.detectors import DetectorSettings, Hint, detector
from affectdata.faces.geometry import to_source
from affectdata.faces.landmarkers import LandmarkerSettings, landmarker
from affectdata.faces.options import AlignOptions
from affectdata.faces.pipeline import Done, Pipeline
from affectdata.faces.work import BOX_COLUMNS, Crop, Item, Media, Outcome, Worker
from affectdata.media import PICTURE_SUFFIXES, VIDEO_SUFFIXES
from affectdata.video import Video
from manifests.errors import MediaError, PredictionsError
from manifests.vocabulary import au_column
from trainer.augment import normalised, with_channels
from trainer.evaluate import load_network
from trainer.failures import looking_failures
from trainer.fit import Machine
from trainer.predictions import SOURCE_PIXELS, Predictions
from trainer.recipe import Recipe
from trainer.run import Run

BATCH = 64
"""Faces that the network looks at together."""


@dataclass(frozen=True)
class Asked:
    """How faces are found in new pictures.

    Attributes:
        detector: `yunet`, `sfd` or `whole`; None: as the run's training crops were made.
        landmarks: A landmarker, where the run's alignment needs 68 points.
        no_face: `skip` or `centre`.
        every: Of videos, every n-th frame.
        device: auto, cpu or cuda.
    """

    detector: str | None = None
    landmarks: str | None = None
    no_face: str = "skip"
    every: int = 1
    device: str = "auto"


def predict_files(run: Run, paths: Sequence[Path], asked: Asked, tell: Callable[[int], None]) -> Iterator[pa.Table]:
    """Predictions of a run for pictures, folders of pictures and videos, as tables of rows in the order of the files.

    Columns: `path` (below the folder that was named, else the file's name), `frame` (NULL for pictures), `status`
    (`found`, or why there is no face), the face's box and score, `expression_predicted` and `p_<class>`,
    `valence_predicted`, `arousal_predicted`, `p_auNN`, `auNN_intensity_predicted`, `landmarks_predicted` (136 numbers,
    pixels of the source picture). A picture without a face is a row of NULLs: unknown is not a value.

    Args:
        run: A finished run.
        paths: Files and folders; folders are searched whole.
        asked: How faces are found.
        tell: Is told how many pictures and frames are done.

    Raises:
        PredictionsError: As `check_inputs`; a folder holds nothing to look at, or how the crops were made is not known.
        RunError, WeightsError: The run or a network does not load, or needs more memory than there is.
    """
    check_inputs(paths)
    recipe, target = run.recipe, alignment(run.recipe.alignment)
    machine = Machine(device=asked.device).accelerator
    channels, schema = run.facts.crop[2], schema_of(recipe)
    with looking_failures(run.name, BATCH, machine):
        network = load_network(run).to(machine)
    done = 0
    for root, names in _inputs(paths):
        media: deque[Media] = deque()
        items = _noted(chain.from_iterable(_items(root, name, asked.every) for name in names), media)
        made = Pipeline(_worker(run, root, target, asked), os.cpu_count() or 1, BATCH).run([items])
        for outcomes in _batches(made):
            rows = [_face(media.popleft(), outcome) for outcome in outcomes]
            faces = [n for n, outcome in enumerate(outcomes) if outcome.crop is not None]
            crops = [crop for outcome in outcomes if (crop := outcome.crop) is not None]
            with looking_failures(run.name, BATCH, machine):
                found = _said(network, recipe, crops, (*target.size[::-1], channels), machine)
            for n, said in zip(faces, found, strict=True):
                rows[n] |= said
            done += len(rows)
            tell(done)
            yield pa.Table.from_pylist(rows, schema=schema)


def schema_of(recipe: Recipe) -> pa.Schema:
    """Columns of a run's predictions."""
    number = pa.float32()
    columns: list[tuple[str, pa.DataType] | pa.Field] = [
        ("path", pa.string()), ("frame", pa.int32()), ("status", pa.string())
    ]  # fmt: skip
    columns += [(edge, number) for edge in BOX_COLUMNS] + [("score", number)]
    tasks = recipe.tasks
    if tasks.expression:
        columns += [("expression_predicted", pa.string())] + [
            (f"p_{name}", number) for name in tasks.expression.classes
        ]
    if tasks.va:
        columns += [("valence_predicted", number), ("arousal_predicted", number)]
    if tasks.au:
        columns += [(f"p_{au_column(au)}", number) for au in tasks.au.aus]
    if tasks.au_intensity:
        columns += [(f"{au_column(au, 'intensity')}_predicted", number) for au in tasks.au_intensity.aus]
    if tasks.landmarks:
        columns += [pa.field("landmarks_predicted", pa.list_(number, 136), metadata=SOURCE_PIXELS)]
    return pa.schema(columns)


def check_inputs(paths: Sequence[Path]) -> None:
    """Refuse files and folders that cannot be looked at, before any is.

    Raises:
        PredictionsError: A path does not exist, or is a file that by its name is neither picture nor video.
    """
    for path in paths:
        if not path.exists():
            raise PredictionsError(f"{path} does not exist", expected="a picture, a video or a folder of them")
        if not path.is_dir() and not _is_media(path):
            raise PredictionsError(
                f"{path} is neither a picture nor a video",
                found=f"a name that ends in {path.suffix}" if path.suffix else "a name without an ending",
                expected=f"{', '.join(sorted(PICTURE_SUFFIXES | VIDEO_SUFFIXES))}, or a folder of such files",
                then="if it is one, give it such a name",
            )


def _inputs(paths: Sequence[Path]) -> Iterator[tuple[Path, list[str]]]:
    """Folder and names below it."""
    for path in paths:
        if not path.is_dir():
            yield path.parent, [path.name]
            continue
        names = [p.relative_to(path).as_posix() for p in sorted(path.rglob("*")) if _is_media(p)]
        if not names:
            raise PredictionsError(f"{path} holds no picture or video", expected="files such as .jpg, .png or .mp4")
        yield path, names


def _is_media(path: Path) -> bool:
    return path.suffix.lower() in PICTURE_SUFFIXES | VIDEO_SUFFIXES and path.is_file()


def detector_of(run: Run, asked: Asked) -> str:
    """Name of the detector that is asked for, or that found the faces of the run's crops.

    Raises:
        PredictionsError: The run's crops name several, or one that files cannot have.
    """
    known = {facts.get("detector", "") for facts in run.facts.crops.values()}
    if asked.detector is None and len(known) != 1:
        raise PredictionsError(
            f"how run {run.name} found its faces is not one thing",
            found=", ".join(sorted(known)) or "no record",
            expected="one detector",
            then="affect predict ... --detector yunet",
        )
    name = asked.detector or known.pop()
    if name == "dataset":
        raise PredictionsError(
            f"the faces of run {run.name} were found by what its datasets say",
            expected="a detector, which files without labels need",
            then="affect predict ... --detector yunet",
        )
    return name


def _worker(run: Run, root: Path, target: Alignment, asked: Asked) -> Worker:
    options, name = AlignOptions(no_face=asked.no_face, landmarks=asked.landmarks).checked(), detector_of(run, asked)
    device = Machine(device=asked.device).accelerator
    finder = detector(name, DetectorSettings(options.max_side, options.score, device=device))
    marker = landmarker(asked.landmarks, LandmarkerSettings(device, name)) if asked.landmarks else None
    return Worker(root, finder, marker, target, run.facts.crop[2], asked.no_face)


def _items(root: Path, name: str, every: int) -> Iterator[Item]:
    """A picture, or the frames of a video up to its end."""
    if Path(name).suffix.lower() not in VIDEO_SUFFIXES:
        yield Item(Media(name, name, None, None), Hint())
        return
    try:
        video = Video(root / name, name)
    except MediaError as error:
        yield Item(Media(name, name, None, 0), Hint(), picture=error)
        return
    number = 0
    while True:
        media = Media(name, name, None, number)
        try:
            yield Item(media, Hint(), picture=video.frame(number))
        except MediaError as error:
            if error.reason == "missing-frame":
                return
            yield Item(media, Hint(), picture=error)
        number += every


def _noted(items: Iterator[Item], media: deque[Media]) -> Iterator[Item]:
    """The items; `media` remembers what each was, in order."""
    for item in items:
        media.append(item.media)
        yield item


def _batches(made: Iterator[Done]) -> Iterator[list[Outcome]]:
    waiting: list[Outcome] = []
    for part in made:
        waiting += part.outcomes
        if len(waiting) >= BATCH or part.last:
            yield waiting
            waiting = []


def _face(media: Media, outcome: Outcome) -> dict[str, object]:
    found = outcome.detection
    row: dict[str, object] = {"path": media.path, "frame": media.frame, "status": found.status}
    if found.face is not None and found.face.box is not None:
        row |= dict(zip(BOX_COLUMNS, found.face.box.tolist(), strict=True)) | {"score": found.face.score}
    return row


@torch.inference_mode()
def _said(
    network: nn.Module, recipe: Recipe, crops: Sequence[Crop], shape: tuple[int, int, int], device: str
) -> list[dict[str, object]]:
    """What the network says of each crop, as columns; `shape` is height, width and channels."""
    if not crops:
        return []
    pixels = np.stack([np.frombuffer(crop.data, np.uint8).reshape(shape) for crop in crops])
    images = with_channels(torch.from_numpy(pixels).to(device), recipe.backbone.in_chans)
    said = Predictions.of(network(normalised(images, recipe.input)))
    return [dict(_columns(recipe, said, n, crop)) for n, crop in enumerate(crops)]


def _columns(recipe: Recipe, said: Predictions, n: int, crop: Crop) -> Iterator[tuple[str, object]]:
    tasks = recipe.tasks
    if tasks.expression and said.expression is not None:
        chances = said.expression[n].tolist()
        yield "expression_predicted", tasks.expression.classes[int(np.argmax(chances))]
        yield from zip((f"p_{name}" for name in tasks.expression.classes), chances, strict=True)
    if tasks.va and said.va is not None:
        yield from zip(("valence_predicted", "arousal_predicted"), said.va[n].tolist(), strict=True)
    if tasks.au and said.au is not None:
        yield from zip((f"p_{au_column(au)}" for au in tasks.au.aus), said.au[n].tolist(), strict=True)
    if tasks.au_intensity and said.au_intensity is not None:
        names = (f"{au_column(au, 'intensity')}_predicted" for au in tasks.au_intensity.aus)
        yield from zip(names, said.au_intensity[n].tolist(), strict=True)
    if tasks.landmarks and said.landmarks is not None:
        yield "landmarks_predicted", to_source(said.landmarks[n], crop.transform).ravel().tolist()
