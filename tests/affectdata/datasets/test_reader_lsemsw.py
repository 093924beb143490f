"""LSEMSW in the two modes of its dataset page; its release layout is not known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from fuzzing import FUZZ, any_bytes, mangled
from hatchling.builders.wheel import WheelBuilder
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from affectdata.datasets import lsemsw
from affectdata.datasets.listing import list_files
from affectdata.datasets.reading import Folder, Reject
from affectdata.datasets.table_map import parse_map
from affectdata.ingest_summary import IngestSummary
from cli.app import app
from manifests.errors import AffectError, DatasetError
from manifests.lake import Lake
from manifests.vocabulary import MENTAL_STATE, MENTAL_STATES
from tests.affectdata.datasets.conftest import rejects

Run = Callable[..., IngestSummary]
LIST = "image,mental_state,split\na/1.jpg,Thinking,train\na/2.jpg,Scared,test\n"
PICTURES = {"a/1.jpg": "", "a/2.jpg": ""}


def states(lake: Lake) -> dict[str, str]:
    table = lake.read("lsemsw", "labels/human")
    return dict(zip(table["sample_id"].to_pylist(), table["mental_state"].to_pylist(), strict=True))


def test_the_shipped_map_reads_a_list(lake: Lake, ingested: Run) -> None:
    summary = ingested("lsemsw", PICTURES | {"lsemsw.csv": LIST})
    assert states(lake) == {"lsemsw/a/1": "thinking", "lsemsw/a/2": "fear"}
    assert lake.layer("lsemsw", "labels/human").facts.offered["mental_state"] == list(MENTAL_STATES)
    assert lake.read("lsemsw", "protocols/split")["role"].to_pylist() == ["train", "test"]
    assert [text for text in summary.warnings if "not verified" in text]


def test_a_map_of_ones_own_reads_a_list_of_another_shape(lake: Lake, ingested: Run, tmp_path: Path) -> None:
    given_ = tmp_path / "mine.toml"
    text = "file = 'train.txt.csv'\n[samples]\nimage = 'f'\n[labels.human]\nmental_state = 'c'\n"
    tree = PICTURES | {"train.txt.csv": "f,c\na/1.jpg,0\na/2.jpg,12\n"}
    given_.write_text(text)
    with pytest.raises(DatasetError, match="no-code-table"):
        ingested("lsemsw", tree, map=str(given_))
    given_.write_text(text + "[codes.c]\n0 = 'happy'\n12 = 'Questioning'\n")
    summary = ingested("lsemsw", tree, map=str(given_))
    assert states(lake) == {"lsemsw/a/1": "happy", "lsemsw/a/2": "questioning"}
    assert [text for text in summary.warnings if "not verified" in text]


def test_integers_are_never_guessed(ingested: Run) -> None:
    numbered = LIST.replace("Thinking", "9").replace("Scared", "4")
    with pytest.raises(DatasetError, match=r"no-code-table(.|\n)*codes.mental_state"):
        ingested("lsemsw", PICTURES | {"lsemsw.csv": numbered})


def test_a_list_without_the_columns_says_which(ingested: Run) -> None:
    with pytest.raises(DatasetError, match=r"image, mental_state, split(.|\n)*--map"):
        ingested("lsemsw", PICTURES | {"lsemsw.csv": "image,label\na/1.jpg,Thinking\n"})


def test_class_folders_are_read_by_split_and_by_any_spelling(lake: Lake, ingested: Run) -> None:
    tree = {
        "LSEMSW/Train/Thinking/1.jpg": "",
        "LSEMSW/Train/scared/2.PNG": "",
        "LSEMSW/Validation/Happiness/1.jpg": "",
        "LSEMSW/test/Surprised/1.jpg": "",
    }
    assert ingested("lsemsw", tree).splits == {"test": 1, "train": 2, "val": 1}
    assert states(lake) == {
        "lsemsw/Train/Thinking/1": "thinking",
        "lsemsw/Train/scared/2": "fear",
        "lsemsw/Validation/Happiness/1": "happy",
        "lsemsw/test/Surprised/1": "surprise",
    }


def test_without_a_split_everything_is_all_and_said_so(lake: Lake, ingested: Run) -> None:
    summary = ingested("lsemsw", {"Arrogant/1.jpg": "", "Happy/1.jpg": ""})
    assert summary.splits == {"all": 2}
    assert [text for text in summary.warnings if "split `all`" in text]
    assert not lake.has("lsemsw", "protocols/split")


def test_every_picture_of_a_folder_that_is_no_class_or_no_split_is_refused(lake: Lake, ingested: Run) -> None:
    tree = {
        "train/Thinking/1.jpg": "",
        "train/Thinking/1.txt": "",
        "train/Bored/1.jpg": "",
        "train/Bored/2.jpg": "",
        "extra/Hesitant/1.jpg": "",
    }
    assert rejects(ingested("lsemsw", tree)) == {"unknown-class-folder": 2, "unknown-split": 1, "bad-name": 1}
    refused = {row["detail"] for row in lake.read("lsemsw", "rejects").to_pylist()}
    assert "train/Bored" in refused


@pytest.mark.parametrize("folder", ["train/happy", "train/4", "Surprise"])
def test_class_folders_of_other_datasets_are_not_this_one(folder: str, ingested: Run) -> None:
    with pytest.raises(DatasetError, match="lsemsw was not recognised"):
        ingested("lsemsw", {f"{folder}/1.jpg": ""})


def test_the_map_offers_the_thirteen_names_of_the_vocabulary() -> None:
    assert parse_map(lsemsw.MAP.read_text()).labels["human"].offered["mental_state"] == MENTAL_STATES


def test_the_names_are_the_thirteen_that_the_paper_prints() -> None:
    printed = "Happy Anxious Sad Scared Angry Hesitant Indifferent Surprised Arrogant Thinking Helpless Suspicious"
    assert {MENTAL_STATE.canonical(name) for name in (*printed.split(), "Questioning")} == set(MENTAL_STATES)
    assert len(MENTAL_STATES) == 13
    (published,) = lsemsw.CARD.published
    assert set(published.counts) == {"", *MENTAL_STATES}
    assert sum(count for name, count in published.counts.items() if name) == published.counts[""]


def test_info_says_that_the_layout_is_unknown_and_how_it_is_read() -> None:
    text = CliRunner().invoke(app, ["info", "lsemsw"]).output
    for said in ("layout is unknown", "table", "--map", "questioning"):
        assert said in " ".join(text.split())


def test_the_wheel_holds_the_map() -> None:
    root = Path(lsemsw.__file__).parents[2]
    inside = {file.distribution_path for file in WheelBuilder(str(root)).recurse_included_files()}
    assert "affectdata/datasets/lsemsw.toml" in inside


@pytest.mark.fuzz
@FUZZ
@given(data=st.one_of(any_bytes, mangled(LIST.encode(), [b"Thinking", b"nobody", b"9", b"split"])))
def test_every_line_of_a_list_is_a_row_or_a_reject(data: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.getbasetemp() / "listed"
    root.mkdir(exist_ok=True)
    (root / "lsemsw.csv").write_bytes(data)
    reject = Reject()
    try:
        found = lsemsw.find(Folder(root, list_files(root), {"map": ""}))
        assert found is not None
        rows = sum(block.samples.num_rows for block in lsemsw.read(found, reject))
    except AffectError:
        return
    text = data.decode("utf-8-sig", "replace").replace("\r\n", "\n").split("\n")
    first = next(n for n, line in enumerate(text) if line.strip())
    least, most = (sum(bool(line.strip(blank)) for line in text[first + 1 :]) for blank in ("\r", "\n"))
    assert least <= rows + reject.counts()["bad-field-count"] <= most
