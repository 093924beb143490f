"""A user's own table: columns and codes mean what the map says, and nothing is guessed."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fuzzing import FUZZ
from hypothesis import given
from hypothesis import strategies as st

from affectdata.datasets import table
from affectdata.datasets.listing import list_files
from affectdata.datasets.reading import Folder, Reject
from affectdata.datasets.table_map import parse_map
from affectdata.ingest import ingest
from affectdata.ingest_summary import IngestSummary
from manifests.errors import AffectError, DatasetError, UnknownNameError
from manifests.lake import Lake
from manifests.vocabulary import FIVE_POINTS

MAP = table.__doc__.split("everything but `file` is optional, and names on the right are columns:")[1]  # type: ignore[union-attr]  # the module has a docstring


@pytest.fixture
def mine(lake: Lake, tmp_path: Path) -> Callable[[str, str], IngestSummary]:
    """Ingest one CSV text with one map text, every reject allowed, under the name `mine`."""

    def run(text: str, column_map: str) -> IngestSummary:
        root = tmp_path / "mine"
        root.mkdir(exist_ok=True)
        (root / "labels.csv").write_text(text)
        (tmp_path / "map.toml").write_text(f"file = 'labels.csv'\n{column_map}")
        return ingest(lake, "table", root, name="mine", max_rejects=1, options={"map": str(tmp_path / "map.toml")})

    return run


def values(lake: Lake, *columns: str, layer: str = "labels/human") -> list[list[object]]:
    rows = lake.read("mine", layer).select(list(columns)).to_pylist()
    return [list(row.values()) for row in rows]


def test_the_full_map_of_the_documentation_is_a_valid_map() -> None:
    chosen = parse_map("\n".join(line.removeprefix("    ") for line in MAP.splitlines()))
    assert chosen.labels["human"].au_cut == 2
    assert chosen.codes["emotion"] == {"0": "neutral", "1": "happiness"}
    assert chosen.protocols["official"].roles() == {"train": "train", "dev": "val", "test": "test"}


def test_names_need_no_codes_and_any_spelling_will_do(lake: Lake, mine: Callable[..., IngestSummary]) -> None:
    summary = mine("e\nHappy\nSuprise\n sad \nbored\n\nnan\n", "[labels.human]\nexpression = 'e'\n")
    assert values(lake, "sample_id", "expression") == [
        ["mine/row000000", "happiness"],
        ["mine/row000001", "surprise"],
        ["mine/row000002", "sadness"],
    ]
    assert summary.samples == 5
    assert {reason: r.count for reason, r in summary.rejects.items()} == {"unknown-code": 1}


def test_without_a_code_table_the_names_seen_are_those_offered(lake: Lake, mine: Callable[..., IngestSummary]) -> None:
    summary = mine("e\nsad\nHappy\nbored\n\n", "[labels.human]\nexpression = 'e'\nrule = 'one coder'\n")
    facts = lake.layer("mine", "labels/human").facts
    assert facts.offered == {"expression": ["happiness", "sadness"]}
    assert facts.rule == "one coder; offered expression: the classes seen in the file"
    assert any("happiness, sadness; the map may say offered.expression" in warning for warning in summary.warnings)
    said = mine("e\nsad\n", "[labels.human]\nexpression = 'e'\noffered.expression = ['neutral', 'sadness']\n")
    assert lake.layer("mine", "labels/human").facts.offered == {"expression": ["neutral", "sadness"]}
    assert not said.warnings


def test_integers_without_a_code_table_are_never_guessed(mine: Callable[..., IngestSummary]) -> None:
    with pytest.raises(DatasetError, match=r"no-code-table(.|\n)*\[codes.e\]"):
        mine("e\n0\n1\n3.0\n", "[labels.human]\nexpression = 'e'\n")


def test_codes_name_the_classes_that_were_offered(lake: Lake, mine: Callable[..., IngestSummary]) -> None:
    mine("e\n0\n1.0\n-1\n7\n", "[missing]\ne=[-1]\n[codes.e]\n0='happy'\n1='anger'\n[labels.human]\nexpression='e'\n")
    assert values(lake, "expression") == [["happiness"], ["anger"]]
    assert lake.layer("mine", "labels/human").facts.offered == {"expression": ["happiness", "anger"]}
    assert lake.read("mine", "samples").num_rows == 4


def test_a_range_is_scaled_and_sentinels_are_unknown(lake: Lake, mine: Callable[..., IngestSummary]) -> None:
    text = "v,a\n1,-1\n5,0.25\n9,1\n-5,-5.0\n10,x\n"
    column_map = "[missing]\n'*'=[-5]\n[labels.human]\nvalence={column='v',low=1,high=9}\narousal='a'\n"
    summary = mine(text, column_map)
    assert values(lake, "valence", "arousal") == [[-1, -1], [0, 0.25], [1, 1]]
    assert {reason: r.count for reason, r in summary.rejects.items()} == {"bad-number": 1, "out-of-range": 1}


def test_action_units_by_pattern_and_by_table(lake: Lake, mine: Callable[..., IngestSummary]) -> None:
    text = "AU1,AU12,AU12_int,smile\n1,0,2.5,1\n0,9,5,0\n,2,6,0.5\n"
    mine(
        text,
        "[missing]\nAU12=[9]\n[labels.human]\nau='AU*'\nau_intensity='AU*_int'\nau_cut=2\n[labels.tool-x]\nau={6='smile'}",
    )
    assert values(lake, "au01", "au12", "au12_intensity") == [[1, 0, 2.5], [0, None, 5]]
    assert values(lake, "au06", layer="labels/tool-x") == [[1], [0]]
    assert lake.layer("mine", "labels/human").facts.au_cut == 2


def test_roles_come_from_a_column(lake: Lake, mine: Callable[..., IngestSummary]) -> None:
    text = "e,part,who\nsad,tr,a\nsad,de,b\nsad,,c\nsad,odd,d\n"
    protocol = "[protocols.official]\ncolumn='part'\ntrain=['tr']\ntest=['de']\ntruth=['human']\nkeys=['subject']\n"
    summary = mine(text, f"[samples]\nid='who'\nsubject='who'\n[labels.human]\nexpression='e'\n{protocol}")
    assert values(lake, "sample_id", "role", layer="protocols/official") == [["mine/a", "train"], ["mine/b", "test"]]
    assert summary.rejects["unknown-split"].count == 1
    facts = lake.layer("mine", "protocols/official").facts
    assert (facts.truth, facts.keys) == (["human"], ["subject"])


def test_a_parquet_file_means_the_same_as_a_csv(lake: Lake, tmp_path: Path) -> None:
    rows = {"name": ["a", "b"], "v": [0.125, None], "n": [1, 0]}
    column_map = "[samples]\nid='name'\n[labels.human]\nvalence='v'\narousal='v'\nau={1='n'}\n"
    for kind in ("csv", "parquet"):
        root = tmp_path / kind
        root.mkdir()
        (tmp_path / f"{kind}.toml").write_text(f"file='t.{kind}'\n{column_map}")
        pq.write_table(pa.table(rows), root / "t.parquet")
        (root / "t.csv").write_text("name,v,n\na,0.125,1\nb,,0\n")
        ingest(lake, "table", root, name=kind, options={"map": str(tmp_path / f"{kind}.toml")})
    first, second = (lake.read(kind, "labels/human").drop_columns(["sample_id"]) for kind in ("csv", "parquet"))
    assert first.equals(second)


@pytest.mark.parametrize(
    ("column_map", "message"),
    [
        ("[samples]\nid='nmae'\n", r"unknown column of labels.csv 'nmae' \(did you mean name"),
        ("[sample]\nid='name'\n", r"map\.toml: does not fit(?s:.*)did you mean samples"),
        ("[labels.human]\nexpresion='e'\n", r"labels\.human\.expresion = 'e'(?s:.*)did you mean expression"),
        ("[labels.people]\nexpression='e'\n", "label source 'people'"),
        (
            "[labels.human]\nexpression='e'\n[codes.e]\nsad='sadnezz'\n",
            r"\[codes.e\] of the map: .*did you mean sadness",
        ),
        ("[labels.human]\nlandmarks='e'\n", "landmark_base"),
        ("[labels.human]\nau='AU*'\n", "fits no column"),
        ("[labels.human]\nau={99='e'}\n", "unknown action unit"),
        ("[labels.human]\nau_intensity={1='e'}\n", "au_cut"),
        ("[protocols.p]\ncolumn='e'\ntruth=['human']\n", "truth names human"),
        ("[[[", "no TOML"),
    ],
)
def test_a_map_that_does_not_fit_says_what_does(
    mine: Callable[..., IngestSummary], column_map: str, message: str
) -> None:
    with pytest.raises(AffectError, match=message):
        mine("name,e\na,sad\n", column_map)


def test_without_a_map_or_its_file_the_next_step_is_named(lake: Lake, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set/other.csv").touch()
    with pytest.raises(DatasetError, match="--map"):
        ingest(lake, "table", tmp_path / "set")
    (tmp_path / "map.toml").write_text("file='labels.csv'")
    with pytest.raises(DatasetError, match=r"other\.csv"):
        ingest(lake, "table", tmp_path / "set", options={"map": str(tmp_path / "map.toml")})
    with pytest.raises(DatasetError, match="No such file"):
        ingest(lake, "table", tmp_path / "set", options={"map": str(tmp_path / "gone.toml")})


def test_without_an_id_each_frame_of_a_video_is_a_sample(
    lake: Lake, mine: Callable[..., IngestSummary], tmp_path: Path
) -> None:
    (tmp_path / "mine/clip").mkdir(parents=True)
    for name in ("clip/a.mp4", "b.mp4"):
        (tmp_path / "mine" / name).touch()
    mine("video,n\nclip/a.mp4,0\nclip/a.mp4,12\nb.mp4,\n", "[samples]\nimage='video'\nframe='n'\n")
    ids = [row[0] for row in values(lake, "sample_id", layer="samples")]
    assert ids == ["mine/b", "mine/clip/a/00000", "mine/clip/a/00012"]


def test_a_changed_map_is_a_changed_dataset(lake: Lake, mine: Callable[..., IngestSummary]) -> None:
    text = "e,f\nsad,happy\n"
    mine(text, "[labels.human]\nexpression='e'\n")
    assert mine(text, "[labels.human]\nexpression='e'\n").unchanged
    assert not mine(text, "[labels.human]\nexpression='f'\n").unchanged
    assert values(lake, "expression") == [["happiness"]]


def test_london_faces_come_with_pupils_people_and_mood(lake: Lake, shared: Path, tmp_path: Path) -> None:
    source = shared / "data/london_faces"
    pupils = {row["image"]: row for row in csv.DictReader((source / "pupils.csv").open())}
    people = {row["face_id"]: row for row in csv.DictReader((source / "people.csv").open())}
    root = tmp_path / "london"
    root.mkdir()
    with (root / "faces.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "person", "mood", "lx", "ly", "rx", "ry", "age", "sex", "eth"])
        for picture in sorted(source.glob("*.jpg")):
            (root / picture.name).symlink_to(picture)
            person, mood = picture.stem.split("_")
            eyes = [pupils.get(picture.name, {}).get(key, "") for key in ("left_x", "left_y", "right_x", "right_y")]
            facts = [people[person][key] for key in ("face_age", "face_gender", "face_eth")]
            writer.writerow([picture.name, person, mood, *eyes, *facts])
    (tmp_path / "map.toml").write_text(
        "file='faces.csv'\n[samples]\nimage='image'\nsubject='person'\nage='age'\ngender='sex'\nethnicity='eth'\n"
        "points5={left_eye=['lx','ly'],right_eye=['rx','ry']}\n"
        "[codes.mood]\nneutral='neutral'\nsmiling='happiness'\n[labels.human]\nexpression='mood'\nrule='posed'\n"
    )
    summary = ingest(lake, "table", root, name="london", options={"map": str(tmp_path / "map.toml")})
    assert summary.samples == 204
    assert summary.sources["human"].classes[""]["expression"] == {"neutral": 102, "happiness": 102}
    samples = lake.read("london", "samples")
    assert samples.column("points5").null_count == 102
    assert samples.column("points5")[0].as_py() == [282.5, 316, 389, 312] + [None] * 6
    assert len(FIVE_POINTS) == 5
    assert len(set(samples.column("subject_id").to_pylist())) == 102


def test_ckplus_codings_come_without_pictures(lake: Lake, shared: Path, tmp_path: Path) -> None:
    (tmp_path / "map.toml").write_text(
        "file='ckplus_au_emotion_327.csv'\n[samples]\nid='sequence'\nsubject='subject'\nsequence='sequence'\n"
        "[labels.human]\nunit='sequence'\nexpression='emotion'\nau='AU*'\n"
    )
    options = {"map": str(tmp_path / "map.toml")}
    summary = ingest(lake, "table", shared / "data/ckplus_facs", name="ckfacs", options=options)
    assert summary.samples == 327
    assert summary.sources["human"].labelled == {"expression": 327, "au": 327}
    assert not summary.rejects
    assert lake.layer("ckfacs", "labels/human").facts.unit == {"expression": "sequence", "au": "sequence"}


@pytest.mark.fuzz
@FUZZ
@given(st.binary(max_size=300))
def test_no_table_raises_anything_but_our_errors(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    root = tmp_path_factory.mktemp("fuzz")
    (root / "t.csv").write_bytes(b"a,b,c\n" + data)
    column_map = root / "map.toml"
    column_map.write_text(
        "file='t.csv'\n[samples]\nid='a'\nimage='b'\nage='c'\ngender='b'\nbox=['a','b','c','a']\n"
        "[labels.human]\nexpression='a'\nvalence='b'\narousal='c'\nau={1='a'}\nau_intensity={2='b'}\nau_cut=1\n"
    )
    reject = Reject()
    try:
        found = table.find(Folder(root, list_files(root), {"map": str(column_map)}))
        assert found is not None
        [block] = table.read(found, reject)
    except (UnknownNameError, DatasetError):
        return
    assert block.labels["human"].num_rows == block.samples.num_rows
