"""A kept prediction is found again only for the same pixels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from manifests.crops import CropStore
from manifests.lake import Lake
from manifests.protocols import identity
from trainer.pictures import picture_names


def test_a_crop_of_another_sample_cut_or_jpeg_quality_is_another_picture(toy: Lake) -> None:
    store = CropStore(toy, "toy", "resize32")
    who = identity(toy, "toy").select(["sample_id", "pixel_hash"])
    rows = np.arange(len(store))
    raw = picture_names(who, store, rows).to_pylist()
    assert picture_names(who, store, rows).to_pylist() == raw
    facts = store.layer.facts
    store.layer = replace(store.layer, facts=replace(facts, extra=facts.extra | {"quality": "50"}))
    jpeg = picture_names(who, store, rows).to_pylist()
    store.transform = store.transform + np.float32(1)
    moved = picture_names(who, store, rows).to_pylist()
    assert len({*raw, *jpeg, *moved}) == 3 * len(rows)
