"""AFEW-VA from clips as the dataset page shows them."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable

import pytest
from fuzzing import FUZZ, any_bytes, mangled
from hypothesis import given
from hypothesis import strategies as st

from affectdata.datasets import afewva
from affectdata.datasets.reading import Reject
from affectdata.ingest_summary import IngestSummary
from manifests.errors import DatasetError
from manifests.lake import Lake
from tests.affectdata.datasets.conftest import rejects

Run = Callable[..., IngestSummary]
SIXTY_EIGHT = [[362.1 + n, 175.4 + n / 2] for n in range(68)]


def clip(name: str = "001", **changes: object) -> str:
    frames = {
        "00001": {"arousal": 4.0, "landmarks": SIXTY_EIGHT, "valence": -2.0},
        "00000": {"arousal": 3, "landmarks": SIXTY_EIGHT, "valence": -10},
    }
    return json.dumps({"actor": "Jane Doe", "frames": frames, "video_id": name} | changes)


def tree(
    top: str = "01/001", content: str | None = None, frames: tuple[str, ...] = ("00000", "00001")
) -> dict[str, str]:
    pictures = {f"{top}/{stem}.png": "" for stem in frames}
    return pictures | {f"{top}/{top[-3:]}.json": clip(top[-3:]) if content is None else content}


def table(lake: Lake, column: str, layer: str = "samples") -> dict[str, object]:
    rows = lake.read("afewva", layer)
    ids = (name.removeprefix("afewva/") for name in rows.column("sample_id").to_pylist())
    return dict(zip(ids, rows.column(column).to_pylist(), strict=True))


@pytest.mark.parametrize("top", ["01/001", "001", "AFEW-VA/01/001"])
def test_scores_are_tenths_and_frames_join_by_name(lake: Lake, ingested: Run, top: str) -> None:
    summary = ingested("afewva", tree(top))
    assert table(lake, "valence", "labels/human") == {
        "001/00000": pytest.approx(-1.0),
        "001/00001": pytest.approx(-0.2),
    }
    assert table(lake, "arousal", "labels/human")["001/00001"] == pytest.approx(0.4)
    assert table(lake, "path")["001/00001"] == f"{top}/00001.png"
    assert table(lake, "frame_index") == {"001/00000": 0, "001/00001": 1}
    assert set(table(lake, "subject_id").values()) == {"Jane Doe"}
    assert set(table(lake, "split").values()) == {None}
    assert not summary.rejects
    facts = lake.layer("afewva", "labels/human").facts
    assert "divided by 10" in facts.rule
    assert facts.landmark_base == "0 (assumed, unverified)"


def test_points_stay_where_they_are_unless_the_pictures_were_widened(lake: Lake, ingested: Run) -> None:
    ingested("afewva", tree())
    landmarks = table(lake, "landmarks", "labels/human")["001/00000"]
    assert landmarks[:4] == pytest.approx([362.1, 175.4, 363.1, 175.9])
    assert len(landmarks) == 136
    ingested("afewva", tree(), pixels="960")
    landmarks = table(lake, "landmarks", "labels/human")["001/00000"]
    assert landmarks[:2] == pytest.approx([(362.1 + 0.5) * 960 / 720 - 0.5, 175.4])


def test_a_width_that_speaks_against_the_option_is_said(ingested: Run) -> None:
    header = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 960, 576)
    warned = ingested("afewva", tree() | {"01/001/00000.png": header}).warnings
    assert any("--pixels 960" in warning for warning in warned)


def test_keys_and_pictures_are_matched_one_by_one(lake: Lake, ingested: Run) -> None:
    files = tree(frames=("00001", "00002", "cover")) | {"01/002/00000.png": ""}
    summary = ingested("afewva", files)
    assert rejects(summary) == {"missing-image": 1, "bad-name": 1, "missing-annotation": 1}
    assert list(table(lake, "valence", "labels/human")) == ["001/00001"]
    assert set(table(lake, "path")) == {"001/00001", "001/00002", "002/00000"}


@pytest.mark.parametrize(
    ("said", "reasons"),
    [
        ({"valence": 11}, {"out-of-range": 1}),
        ({"valence": -10.5, "arousal": 1e400}, {"out-of-range": 2}),
        ({"valence": "3", "arousal": True}, {"bad-number": 2}),
        ({"valence": 0.3, "arousal": -1.5}, {"bad-number": 2}),
        ({"valence": None}, {}),
        ({"landmarks": SIXTY_EIGHT[:67]}, {"bad-landmarks": 1}),
        ({"landmarks": [["1", "2"]] * 68}, {"bad-landmarks": 1}),
        ({"landmarks": [[1, 2, 3], *SIXTY_EIGHT[1:]]}, {"bad-landmarks": 1}),
        ({"landmarks": [[1e300, 2], *SIXTY_EIGHT[1:]]}, {"bad-landmarks": 1}),
    ],
)
def test_a_field_that_is_wrong_is_unknown_and_said(
    lake: Lake, ingested: Run, said: dict[str, object], reasons: dict[str, int]
) -> None:
    frame = {"arousal": 4, "landmarks": SIXTY_EIGHT, "valence": 2} | said
    summary = ingested("afewva", tree(content=clip(frames={"00000": frame}), frames=("00000",)))
    assert rejects(summary) == reasons
    row = lake.read("afewva", "labels/human").to_pylist()[0]
    assert all((row[name] is None) == (name in said) for name in ("valence", "arousal", "landmarks"))


def test_the_folder_names_the_clip_and_an_odd_actor_is_unknown(lake: Lake, ingested: Run) -> None:
    summary = ingested("afewva", tree(content=clip("600", actor=["Jane"])))
    assert rejects(summary) == {"id-mismatch": 1, "bad-attributes": 1}
    assert set(table(lake, "sequence_id").values()) == {"001"}
    assert set(table(lake, "subject_id").values()) == {None}


def test_a_key_that_comes_twice_with_other_values_says_nothing(lake: Lake, ingested: Run) -> None:
    twice = '{"frames": {"00000": {"valence": 1, "valence": 2, "arousal": 1}, "00001": {"valence": 1}, "00001": {}}}'
    assert rejects(ingested("afewva", tree(content=twice))) == {"conflicting-duplicate": 2}
    assert table(lake, "valence", "labels/human") == {"001/00000": None}


@pytest.mark.parametrize("content", ["{", "[]", '{"frames": [] }', '{"frames": 1' + "0" * 5000 + "}"])
def test_a_clip_without_readable_scores_keeps_its_pictures(lake: Lake, ingested: Run, content: str) -> None:
    summary = ingested("afewva", tree("02/051") | tree(content=content))
    assert rejects(summary) == {"missing-annotation": 1}
    assert set(table(lake, "path")) == {"051/00000", "051/00001", "001/00000", "001/00001"}
    assert all(key.startswith("051") for key in table(lake, "valence", "labels/human"))


def test_two_copies_side_by_side_are_refused(ingested: Run) -> None:
    with pytest.raises(DatasetError, match="holds clip 001 twice"):
        ingested("afewva", tree("01/001") | tree("001"))


def test_folders_of_three_digits_alone_are_not_recognised(ingested: Run) -> None:
    with pytest.raises(DatasetError, match="not recognised"):
        ingested("afewva", {"001/001.json": "{}", "001/00000.png": ""})


@pytest.mark.fuzz
@FUZZ
@given(
    st.one_of(
        any_bytes,
        mangled(clip().encode(), [b'"00002": {}, ', b"NaN", b"{", b"}", b"[", b"null", b"1e400", b'"frames": ']),
        mangled(
            clip(frames={"00000": {"valence": 1, "arousal": 2}}).encode(), [b'"00001": 3, ', b"\\ud800", b"9" * 12]
        ),
    )
)
def test_every_frame_of_any_json_is_a_row_or_a_reject(data: bytes) -> None:
    reject = Reject()
    found = afewva.read_clip(data, "01/001/001.json", reject)
    counts = reject.counts()
    block = afewva.clip_block("01/001", found, {"00007": "01/001/00007.png"}, 1.0, reject)
    names = block.samples.num_rows + reject.counts()["bad-name"]
    assert names == len({*found.frames, "00007"})
    assert bool(found.frames) or "missing-annotation" in counts or b"frames" in data
    for name in ("valence", "arousal"):
        column = block.labels["human"].column(name).drop_null().to_pylist()
        assert all(-1 <= value <= 1 for value in column)
