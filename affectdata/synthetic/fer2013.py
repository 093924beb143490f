"""Twin of FER2013 and FER+: pixel CSVs, class folders, and the FER+ tables with or without pictures.

    csv            fer2013.csv           emotion,pixels,Usage
    icml           icml_face_data.csv    emotion, Usage, pixels      (names 2 and 3 start with a space)
    ferplus-csv    fer2013.csv and fer2013new.csv, joined by row
    folders        train/<class>/Training_<n>.jpg  test/<class>/{PublicTest,PrivateTest}_<n>.jpg
    ferplus        fer2013new.csv, data/FER2013{Train,Valid,Test}/{label.csv, fer0000000.png ...}

Quirks (datasets/fer2013.md 7): a row with too few pixels, an unknown Usage, a row without a class, pictures copied
across splits; in folders a truncated picture, an unknown class, a name without a split; in FER+ rows without a name
(ten NF votes), names that lag behind the row, one name used twice, votes that differ between both tables, a missing
picture, a truncated one, and a picture that no table lists.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from affectdata.synthetic import ferplus_votes
from affectdata.synthetic.actions import BASIC
from affectdata.synthetic.brush import Picture
from affectdata.synthetic.face import draw_parameters, render
from affectdata.synthetic.ferplus_votes import Votes
from affectdata.synthetic.files import grey, write_lines, write_picture
from affectdata.synthetic.truth import LabelTruth, RejectTruth, SampleTruth, Truth

DATASET = "fer2013"
VARIANTS = ("csv", "icml", "ferplus-csv", "folders", "ferplus")

CLASSES = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
"""Class names in the order of FER2013's codes 0-6."""

FOLDERS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
USAGES = ("Training", "PublicTest", "PrivateTest")
SHARES = (0.8, 0.1, 0.1)
SIDE = 48


@dataclass(frozen=True)
class _Row:
    """One row of fer2013.csv; `code` None is an empty cell."""

    usage: str
    code: int | None
    image: Picture
    copy_of: int | None = None
    reject: str = ""


def write(root: Path, *, samples: int, seed: int, variant: str = VARIANTS[0]) -> Truth:
    """Write one variant under `root`: `samples` pictures, and the quirks on top."""
    rng = np.random.default_rng(seed)
    rows = _rows(rng, samples)
    match variant:
        case "folders":
            return _write_folders(root, rows, rng)
        case "ferplus":
            return _write_ferplus(root, rows, rng)
        case "ferplus-csv":
            return _write_ferplus_csv(root, rows, rng)
        case _:
            return _write_csv(root, _with_bad_rows(rows), variant)


def _rows(rng: np.random.Generator, samples: int) -> list[_Row]:
    """Training, then PublicTest, then PrivateTest; the first row of each test part copies a Training picture."""
    codes = rng.permutation(np.arange(samples) % len(CLASSES)).tolist()
    tests = [max(2, round(share * samples)) for share in SHARES[1:]]
    usages = np.repeat(USAGES, [samples - sum(tests), *tests]).tolist()
    rows: list[_Row] = []
    for index, (usage, code) in enumerate(zip(usages, codes, strict=True)):
        first = index > 0 and usage != usages[index - 1]
        if first:
            twin = samples % 3 + USAGES.index(usage)
            rows.append(_Row(usage, rows[twin].code, rows[twin].image, copy_of=twin))
        else:
            image = grey(render(draw_parameters(rng, CLASSES[code]), SIDE).image)
            rows.append(_Row(usage, code, image))
    return rows


def _with_bad_rows(rows: list[_Row]) -> list[_Row]:
    """The rows, and three more after them, so that the positions of the others stay."""
    last = rows[-1]
    unlabelled = _Row("PrivateTest", None, 255 - last.image)
    return [*rows, unlabelled, replace(last, reject="bad-pixel-count"), replace(last, reject="unknown-split")]


def _write_csv(root: Path, rows: list[_Row], variant: str) -> Truth:
    name = "icml_face_data.csv" if variant == "icml" else "fer2013.csv"
    lines = ["emotion, Usage, pixels" if variant == "icml" else "emotion,pixels,Usage"]
    samples, rejects = [], []
    for number, row in enumerate(rows):
        values = row.image.ravel().tolist()
        pixels = " ".join(map(str, values[:1000] if row.reject == "bad-pixel-count" else values))
        usage = "Testing" if row.reject == "unknown-split" else row.usage
        code = "" if row.code is None else str(row.code)
        lines.append(f"{code},{usage},{pixels}" if variant == "icml" else f"{code},{pixels},{usage}")
        if row.reject:
            rejects.append(RejectTruth(name, row.reject, number))
            continue
        samples.append(SampleTruth(str(number), name, str(number), split=row.usage, labels=_human(row)))
    write_lines(root / name, lines)
    return Truth(DATASET, variant, tuple(samples), tuple(rejects), _copies(rows, [str(n) for n in range(len(rows))]))


def _human(row: _Row) -> tuple[LabelTruth, ...]:
    return () if row.code is None else (LabelTruth("human-fer2013", expression=CLASSES[row.code]),)


def _copies(rows: list[_Row], keys: list[str]) -> tuple[tuple[str, ...], ...]:
    return tuple((keys[row.copy_of], keys[n]) for n, row in enumerate(rows) if row.copy_of is not None)


def _write_ferplus_csv(root: Path, rows: list[_Row], rng: np.random.Generator) -> Truth:
    """fer2013.csv and the FER+ table of the same rows; the row without a name has ten NF votes."""
    truth = _write_csv(root, rows, "ferplus-csv")
    voted = [ferplus_votes.draw(rng, _class(row), number) for number, row in enumerate(rows)]
    unnamed = 5
    voted[unnamed] = ferplus_votes.NOT_A_FACE
    names = _names(len(rows), unnamed)
    write_lines(root / "fer2013new.csv", _table(rows, names, voted))
    samples = [
        replace(
            sample,
            labels=(*sample.labels, *voted[number].labels()) if names[number] else sample.labels,
            face_status=voted[number].face_status,
        )
        for number, sample in enumerate(truth.samples)
    ]
    return replace(truth, samples=tuple(samples), rejects=(RejectTruth("fer2013new.csv", "not-a-face", unnamed),))


def _class(row: _Row) -> str:
    return BASIC[0] if row.code is None else CLASSES[row.code]


def _names(rows: int, unnamed: int) -> list[str]:
    """Picture name of each row: none for one, and the number lags behind the row after it."""
    return ["" if row == unnamed else f"fer{row - (row > unnamed):07d}" for row in range(rows)]


def _table(rows: list[_Row], names: list[str], voted: list[Votes]) -> list[str]:
    """Lines of fer2013new.csv."""
    header = f"Usage,Image name,{','.join(ferplus_votes.COLUMNS)}"
    return [header, *(
        f"{row.usage},{f'{name}.png' if name else ''},{votes.cells()}"
        for row, name, votes in zip(rows, names, voted, strict=True)
    )]  # fmt: skip


PARTS = {"Training": "FER2013Train", "PublicTest": "FER2013Valid", "PrivateTest": "FER2013Test"}


def _write_ferplus(root: Path, rows: list[_Row], rng: np.random.Generator) -> Truth:
    """The exporter's folders; `label.csv` decides, and differs from fer2013new.csv for the copied pictures."""
    unnamed, doubled, missing, truncated = 5, 7, 8, 9
    main = [ferplus_votes.draw(rng, _class(row), number) for number, row in enumerate(rows)]
    main[unnamed] = ferplus_votes.NOT_A_FACE
    main[doubled] = replace(main[doubled - 1])
    names = _names(len(rows), unnamed)
    names[doubled] = names[doubled - 1]
    write_lines(root / "fer2013new.csv", _table(rows, names, main))
    lists: dict[str, list[str]] = {part: [] for part in PARTS.values()}
    samples, rejects, conflicts = [], [], []
    for number, (row, name) in enumerate(zip(rows, names, strict=True)):
        if not name or number == doubled - 1:
            continue
        votes = main[number]
        if row.copy_of is not None:
            votes = ferplus_votes.clear(BASIC[0] if _class(row) != BASIC[0] else CLASSES[3])
            conflicts.append(name)
        part = PARTS[row.usage]
        lists[part].append(f'{name}.png,"(0, 0, {SIDE}, {SIDE})",{votes.cells()}')
        path = f"data/{part}/{name}.png"
        if number == missing:
            rejects.append(RejectTruth(path, "missing-image", number))
            continue
        write_picture(root / path, row.image, truncated=number == truncated)
        samples.append(
            SampleTruth(
                name,
                path,
                split=row.usage,
                face_status=votes.face_status,
                labels=votes.labels(),
                readable=number != truncated,
            )
        )
    unlisted = "fer9999999"
    write_picture(root / "data/FER2013Train" / f"{unlisted}.png", 255 - rows[0].image)
    samples.append(SampleTruth(unlisted, f"data/FER2013Train/{unlisted}.png", split="Training"))
    for part, lines in lists.items():
        write_lines(root / "data" / part / "label.csv", lines)
    copies = _copies(rows, names)
    return Truth(DATASET, "ferplus", tuple(samples), tuple(rejects), copies, tuple(conflicts))


def _write_folders(root: Path, rows: list[_Row], rng: np.random.Generator) -> Truth:
    """The third-party conversion: JPEG by class; the number in the name says nothing."""
    numbers = rng.choice(np.arange(10_000, 99_999_999, 7919), len(rows), replace=False).tolist()
    truncated = 9
    samples, keys = [], []
    for position, (row, number) in enumerate(zip(rows, numbers, strict=True)):
        key = f"{row.usage}_{number}"
        folder = "train" if row.usage == "Training" else "test"
        path = f"{folder}/{FOLDERS[CLASSES.index(_class(row))]}/{key}.jpg"
        write_picture(root / path, row.image, truncated=position == truncated)
        samples.append(SampleTruth(key, path, split=row.usage, labels=_human(row), readable=position != truncated))
        keys.append(key)
    write_picture(root / "train/bored/Training_10001.jpg", rows[0].image)
    write_picture(root / "test/happy/Extra_10002.jpg", rows[0].image)
    rejects = (
        RejectTruth("train/bored", "unknown-class-folder"),
        RejectTruth("test/happy/Extra_10002.jpg", "bad-name"),
    )
    return Truth(DATASET, "folders", tuple(samples), rejects, _copies(rows, keys))
