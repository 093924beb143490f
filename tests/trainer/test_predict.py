"""What a run says of a file is what it says of the same pixels in the lake."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

from cli.errors import USER_ERROR
from cli.errors import run as affect
from manifests.errors import PredictionsError, RunError
from manifests.lake import Lake
from trainer.evaluate import evaluate
from trainer.failures import looking_failures
from trainer.fit import Machine, train
from trainer.overlay import _named, captions, check_overlay, draw
from trainer.predict import Asked, predict_files
from trainer.predictions import Predictions
from trainer.predictions_file import PredictionsFile, as_csv
from trainer.recipe import parse
from trainer.run import Run

from .conftest import Toy

TEST = range(80, 96)
WHOLE = Asked(detector="whole", device="cpu")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("predict")
    tree = {
        "name": "toy",
        "datasets": [{"name": "toy"}],
        "alignment": "resize32",
        "selection": {"metrics": ["uar"]},
        "tasks": {"expression": {}, "va": {}, "au": {}, "landmarks": {"weight": 0.1}},
        "backbone": {"name": "test_resnet", "in_chans": 1},
        "train": {"epochs": 1, "batch": 16, "lr": 0.003},
    }
    lake = Toy().publish(Lake(folder / "lake", create=True))
    made = train(parse(tree, "toy"), lake, folder / "run", machine=Machine("cpu"), say=lambda _: None)
    evaluate(made, lake, resamples=0)
    return made


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The test pictures as files, one of them broken."""
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "b").mkdir()
    for number in TEST:
        cv2.imwrite(str(folder / ("b" if number % 2 else "") / f"{number:05d}.png"), Toy().pixels()[number])
    (folder / "zz.jpg").write_bytes(b"no picture")
    (folder / "notes.txt").write_text("no picture either")
    return folder


def said(run: Run, *paths: Path, asked: Asked = WHOLE) -> pa.Table:
    return pa.concat_tables(predict_files(run, paths, asked, lambda _: None))


def test_a_file_gets_the_predictions_of_its_pixels_in_the_lake(run: Run, pictures: Path) -> None:
    table = said(run, pictures)
    assert table["path"].to_pylist() == sorted(table["path"].to_pylist())
    assert table.num_rows == len(TEST) + 1
    known = run.predictions("toy", "test").to_pandas().set_index("sample_id")
    for row in table.to_pylist():
        if row["status"] != "found":
            continue
        expected = known.loc[f"toy/{Path(row['path']).stem}"]
        assert row["expression_predicted"] == expected["expression_predicted"]
        assert row["p_fear"] == pytest.approx(expected["p_fear"], abs=1e-5)
        assert row["valence_predicted"] == pytest.approx(expected["valence_predicted"], abs=1e-5)
        assert row["p_au12"] == pytest.approx(expected["p_au12"], abs=1e-5)
        assert np.allclose(row["landmarks_predicted"], expected["landmarks_predicted"], atol=1e-3)


def test_a_picture_that_cannot_be_read_is_a_row_that_says_so_and_predicts_nothing(run: Run, pictures: Path) -> None:
    (row,) = [row for row in said(run, pictures).to_pylist() if row["path"] == "zz.jpg"]
    assert row["status"] == "undecodable-image"
    assert {value for name, value in row.items() if name not in ("path", "status")} == {None}


def test_a_video_gives_every_frame_or_every_nth_in_order(run: Run, tmp_path: Path) -> None:
    writer = cv2.VideoWriter(str(tmp_path / "clip.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 25, (64, 64))
    for value in range(7):
        writer.write(np.full((64, 64, 3), 30 * value, np.uint8))
    writer.release()
    assert said(run, tmp_path / "clip.avi")["frame"].to_pylist() == list(range(7))
    assert said(run, tmp_path, asked=Asked(detector="whole", every=3, device="cpu"))["frame"].to_pylist() == [0, 3, 6]
    rows = said(run, tmp_path / "clip.avi").to_pylist()
    assert draw(tmp_path, rows, tmp_path.parent / f"{tmp_path.name}-drawn") == 1
    drawn = cv2.VideoCapture(str(tmp_path.parent / f"{tmp_path.name}-drawn" / "clip.avi.mp4"))
    assert int(drawn.get(cv2.CAP_PROP_FRAME_COUNT)) == 7


def test_pictures_are_drawn_elsewhere_and_never_beside_the_originals(run: Run, pictures: Path, tmp_path: Path) -> None:
    rows = said(run, pictures).to_pylist()
    assert draw(pictures, rows, tmp_path / "drawn") == len(TEST)
    assert len(list((tmp_path / "drawn").rglob("*.jpg"))) == len(TEST)
    assert _named(Path("x.JPG"), ".jpg") == Path("x.JPG") != _named(Path("x.png"), ".jpg") == Path("x.png.jpg")
    with pytest.raises(PredictionsError, match="lies in the folder of the pictures"):
        draw(pictures, rows, pictures)
    assert any(line.startswith("valence") for line in captions(rows[0]))


def test_drawings_go_below_the_folder_of_a_file_but_never_beside_it_or_into_a_folder_that_is_looked_at(
    pictures: Path,
) -> None:
    check_overlay(pictures / "drawn", [pictures / "zz.jpg"])
    for inputs in ([pictures], [pictures / "zz.jpg"], [pictures / "b", pictures / "zz.jpg"]):
        with pytest.raises(PredictionsError, match="lies in the folder of the pictures"):
            check_overlay(pictures, inputs)
    with pytest.raises(PredictionsError, match="lies in the folder of the pictures"):
        check_overlay(pictures / "drawn", [pictures])


def test_files_are_whole_or_absent_and_read_back(run: Run, pictures: Path, tmp_path: Path) -> None:
    table = said(run, pictures)
    for name in ("all.csv", "all.parquet"):
        with PredictionsFile(tmp_path / name) as file:
            file.write(table.slice(0, 5))
            file.write(table.slice(5))
    assert len(pd.read_csv(tmp_path / "all.csv")) == len(pd.read_parquet(tmp_path / "all.parquet")) == table.num_rows
    assert "x_67" in pd.read_csv(tmp_path / "all.csv").columns
    assert len(as_csv(table, header=True)) == table.num_rows + 1
    with pytest.raises(RuntimeError, match="stopped"), PredictionsFile(tmp_path / "half.csv") as file:
        file.write(table)
        raise RuntimeError("stopped")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all.csv", "all.parquet"]


def test_what_holds_nothing_to_look_at_is_refused(run: Run, tmp_path: Path) -> None:
    with pytest.raises(PredictionsError, match="does not exist"):
        said(run, tmp_path / "nowhere.jpg")
    with pytest.raises(PredictionsError, match="holds no picture or video"):
        said(run, tmp_path)


def test_a_file_that_is_neither_picture_nor_video_is_refused_and_below_a_folder_passed_over(
    run: Run, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture, notes = pictures / f"{TEST[0]:05d}.png", pictures / "notes.txt"
    command = ["predict", str(run.path), str(picture), str(notes), "--device", "cpu"]
    assert affect(command) == USER_ERROR
    told = capsys.readouterr()
    assert told.out == ""  # before any picture is looked at
    assert f"{notes} is neither a picture nor a video" in told.err
    assert "expected: .avi" in told.err
    assert ".jpg" in told.err
    assert not any("notes" in path for path in said(run, pictures)["path"].to_pylist())


@pytest.mark.parametrize(("device", "then"), [("cpu", "end other programs"), ("cuda", "--device cpu")])
def test_the_end_of_memory_is_told_with_the_command_that_needs_less(
    run: Run, pictures: Path, monkeypatch: pytest.MonkeyPatch, device: str, then: str
) -> None:
    def starving(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")

    lake = Lake(run.path.parent / "lake")
    monkeypatch.setattr(Predictions, "of", starving)
    for look in (lambda: said(run, pictures), lambda: evaluate(run, lake, resamples=0, device="cpu")):
        with pytest.raises(RunError, match=r"needs more memory than there is to look[\s\S]*end other programs"):
            look()
    with pytest.raises(RunError, match=then), looking_failures(run.name, 1, device):
        starving()
    with pytest.raises(RuntimeError, match="ours to mend"), looking_failures(run.name, 1, device):
        raise RuntimeError("ours to mend")


def test_the_detector_of_the_run_is_used_unless_another_is_named(run: Run, pictures: Path) -> None:
    assert run.facts.crops["toy"]["detector"] == "whole"
    assert said(run, pictures, asked=Asked(device="cpu")).equals(said(run, pictures))
