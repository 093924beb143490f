"""AffectNet+: one JSON file per picture (datasets page, 2 D)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from affectdata.datasets.affectnet_items import (
    ID,
    MAX_BYTES,
    Half,
    Listed,
    absent,
    chunks,
    item_block,
    matched,
    picture_ids,
)
from affectdata.datasets.affectnet_labels import CLASSES, Cells, bad_points, points_column, said
from affectdata.datasets.reading import Block, Folder, Reject, clean, vectors
from affectdata.datasets.text import as_mask, integers, numbers
from manifests.values import SUM_TOLERANCE
from manifests.vocabulary import EXPRESSIONS

_SUM_TOLERANCE = 8 * 0.005
"""Eight shares printed with two decimals may miss 1 by this much; they are then divided by their sum."""
_OLDEST = 130

Facts = list[dict[str, object]]
Refuse = Callable[[NDArray[np.bool_], str, str], None]


def plus_blocks(folder: Folder, half: Half, reject: Reject) -> Iterator[Block]:
    """One split: `<id>.json` for each `<id>.jpg`, some thousand ids at a time."""
    found = pa.array([name for name in folder.files.names(half.inside) if name.endswith(".json")], pa.string())
    there = matched(found, rf"^{ID}\.json$", half.inside, reject)[0]
    listed = Listed.beside(folder, half)
    for ids in chunks(np.union1d(there, picture_ids(folder, half, reject))):
        present = np.isin(ids, there)
        absent(half, [f"{number}.json" for number in ids[~present].tolist()], reject)
        facts = [_read(folder, f"{half.inside}/{number}.json", reject) if is_there else {}
                 for number, is_there in zip(ids.tolist(), present.tolist(), strict=True)]  # fmt: skip
        yield _block(half, ids, facts, listed, reject)


def _read(folder: Folder, path: str, reject: Reject) -> dict[str, object]:
    facts = None if folder.files.size(path) > MAX_BYTES else folder.parsed(path, json_facts)
    if facts is None:
        reject(path, "bad-attributes", "no JSON object")
    return facts or {}


def json_facts(data: bytes) -> dict[str, object] | None:
    """The keys of one file, those of `meta-data` among them; None for anything but a JSON object."""
    # {"human-label": 6, "soft-label": [0.02, ...], "subset": 0, "meta-data": {"age": 31, "gender": {...}, ...,
    #  "valence": -0.48, "arousal": 0.55, "pose": {...}, "landmark-68": [x0, y0, ...], "landmark-29": [...]}}
    try:
        whole = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(whole, dict):
        return None
    inner = whole.get("meta-data")
    return whole | inner if isinstance(inner, dict) else whole


def _block(half: Half, ids: NDArray[np.int64], facts: Facts, listed: Listed | None, reject: Reject) -> Block:
    def where(_: str, mask: NDArray[np.bool_]) -> list[str]:
        return [f"{half.inside}/{number}.json" for number in ids[mask].tolist()]

    codes = _texts(facts, "human-label")
    unlabelled = as_mask(pc.match_substring_regex(codes, r"^\s*-1(\.0*)?\s*$"))
    codes = pc.if_else(pa.array(unlabelled), None, codes)
    labels = said(Cells(codes, _texts(facts, "valence"), _texts(facts, "arousal"), where), reject)
    keep = labels.keep if listed is None else labels.keep & ~listed.refused(half, ids, labels, reject)

    def refuse(mask: NDArray[np.bool_], reason: str, detail: str) -> None:
        items = where("", mask & keep)
        reject.many(items, reason, (detail for _ in items))

    by_people = pc.is_valid(integers(codes)[0])
    human, auto = {"expression": labels.names}, _soft(facts, refuse) | {"landmarks": _landmarks(facts, refuse)}
    for name, values in (("valence", labels.valence), ("arousal", labels.arousal)):
        human[name], auto[name] = pc.if_else(by_people, values, None), pc.if_else(by_people, None, values)
    about = {"face_status": labels.status, **_ages(facts, refuse)}
    return item_block(half, ids, keep, about, {"human": pa.table(human), "auto": pa.table(auto)})


def _soft(facts: Facts, refuse: Refuse) -> dict[str, pa.Array]:
    """`soft-label`: eight shares in the order of the codes, and the class with the largest."""
    shares, bad = _lists(facts, "soft-label", len(CLASSES))
    sums = np.sum(shares, axis=1)
    unlike = bad | np.any(shares < 0, axis=1) | (np.abs(sums - 1) > _SUM_TOLERANCE + 1e-9)
    refuse(unlike, "out-of-range", "soft-label is not eight shares that sum to 1")
    shares[unlike] = np.nan
    rounded = np.abs(sums - 1) > SUM_TOLERANCE / 2
    shares[rounded] /= sums[rounded, None]
    known = ~np.isnan(shares[:, 0])
    best = np.where(known, np.nan_to_num(shares).argmax(axis=1), 0)
    others = np.where(known[:, None], 0.0, np.nan).repeat(len(EXPRESSIONS) - len(CLASSES), axis=1)
    names = pc.if_else(pa.array(known), pc.take(pa.array(CLASSES), pa.array(best)), None)
    return {"expression": names, "expression_probs": vectors(np.concatenate([shares, others], axis=1))}


def _landmarks(facts: Facts, refuse: Refuse) -> pa.Array:
    points, bad = _lists(facts, "landmark-68", 136)
    bad |= bad_points(points)
    refuse(bad, "bad-landmarks", "landmark-68 is not 136 coordinates")
    return points_column(points)


def _ages(facts: Facts, refuse: Refuse) -> dict[str, pa.Array]:
    values, bad = numbers(_texts(facts, "age"))
    bad |= as_mask(pc.or_(pc.less(values, 0), pc.greater(values, _OLDEST)))
    refuse(bad, "bad-attributes", "age")
    ages = pc.if_else(pa.array(bad), None, values)
    source = pc.if_else(pc.is_valid(ages), pa.scalar("auto"), pa.scalar(None, pa.string()))
    return {"age": pc.cast(ages, pa.float32()), "attributes_source": source}


def _texts(facts: Facts, key: str) -> pa.Array:
    """A key as text, numbers and texts alike; NULL where it is absent or null."""
    values = [found.get(key) for found in facts]
    return pa.array([None if value is None else clean(str(value)[:60]) for value in values], pa.string())


def _lists(facts: Facts, key: str, length: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Rows of numbers under a key, NaN where it is absent, null, empty or bad, and a mask of the bad."""
    rows = np.full((len(facts), length), np.nan)
    bad = np.zeros(len(facts), dtype=bool)
    for at, found in enumerate(facts):
        values = found.get(key)
        if values is None or values == []:
            continue
        try:
            row = np.asarray(values, dtype=np.float64)
            bad[at] = row.shape != (length,) or not np.isfinite(row).all()
        except (TypeError, ValueError, OverflowError):
            bad[at] = True
        if not bad[at]:
            rows[at] = row
    return rows, bad
