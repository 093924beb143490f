"""Anybody's predictions are scored as those of a run are, and nothing in the file is taken for truth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from manifests.errors import PredictionsError, ProtocolError, UnknownNameError
from manifests.lake import Lake
from manifests.layer import LayerFacts
from manifests.vocabulary import EXPRESSION_SPACES, EXPRESSIONS, au_column
from trainer.predictions import Predictions, to_table
from trainer.score_file import score_file
from trainer.targets import LandmarkTarget, Targets
from trainer.tasks import LandmarksTask, Tasks

from .conftest import AUS, Toy

TEST = range(80, 96)
TOY = Toy()


def predicted(**changes: object) -> pd.DataFrame:
    """The truth of the toy's test part, as a file of predictions."""
    labels = TOY.labels["human"]
    frame = pd.DataFrame(
        {"sample_id": TOY.ids, **{name: labels[name] for name in ("expression", "valence", "arousal")}}
    )
    points = np.array(labels["landmarks"]).reshape(-1, 68, 2)
    more = {au_column(au): labels[au_column(au)] for au in AUS}
    more |= {f"{axis}_{p}": points[:, p, i] for i, axis in enumerate("xy") for p in range(68)}
    return pd.concat([frame, pd.DataFrame(more)], axis=1).iloc[list(TEST)].assign(**changes)


def scored(lake: Lake, frame: pd.DataFrame, path: Path, **how: object) -> dict[str, float]:
    frame.to_csv(path, index=False)
    (found,) = score_file(path, lake, "toy", "official", resamples=0, **how).datasets  # type: ignore[arg-type]  # any option
    return {r.name: r.value for r in found.results}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "theirs.csv"


def test_the_truth_itself_scores_full_marks_in_every_task(toy: Lake, file: Path) -> None:
    scores = scored(toy, predicted(), file)
    assert {name: scores[name] for name in ("top1", "uar", "p_va", "au_f1", "nme_io")} == {
        "top1": 1, "uar": 1, "p_va": pytest.approx(1), "au_f1": 1, "nme_io": pytest.approx(0, abs=1e-6)
    }  # fmt: skip


def test_order_spelling_and_other_columns_do_not_matter(toy: Lake, file: Path) -> None:
    spelt = {"neutral": "Neutral", "happiness": "happy", "sadness": "Sad", "surprise": "Suprise", "fear": "FEAR"}
    frame = predicted(expression=lambda f: f["expression"].replace(spelt), note="x").sample(frac=1, random_state=0)
    assert scored(toy, frame, file)["top1"] == 1
    renamed = predicted().rename(columns={au_column(au): f"AU{au:02d}_c" for au in AUS})
    assert scored(toy, renamed, file)["au_f1"] == 1


def test_probabilities_of_classes_are_predictions_too(toy: Lake, file: Path) -> None:
    chances = {f"p_{name}": (predicted()["expression"] == name) * 0.4 + 0.1 for name in EXPRESSIONS[:7]}
    wrong = predicted(**chances, expression="neutral")
    assert scored(toy, wrong, file)["top1"] == 1


def test_names_alone_are_read_with_neutral_though_it_was_never_predicted(toy: Lake, file: Path) -> None:
    never = predicted(expression=lambda f: f["expression"].replace("neutral", "anger")).filter(
        ["sample_id", "expression"]
    )
    assert scored(toy, never, file)["top1"] == pytest.approx(np.mean(predicted()["expression"] != "neutral"))
    chances = {f"p_{name}": (never["expression"] == name).astype(float) for name in EXPRESSION_SPACES["expr6"]}
    assert scored(toy, never.assign(**chances), file)["top1"] == 1


def test_names_count_where_they_hold_a_class_that_the_probabilities_lack(toy: Lake, file: Path) -> None:
    truth = predicted()["expression"]
    chances = {f"p_{name}": (truth == name).astype(float) for name in EXPRESSION_SPACES["expr6"]}
    names = truth.replace("anger", "neutral")
    frame = predicted()[["sample_id"]].assign(**chances, expression_predicted=names)
    assert scored(toy, frame, file)["top1"] == pytest.approx(np.mean(truth != "anger"))


def in_pictures(lake: Lake, paths: Sequence[str | None]) -> Lake:
    """The toy dataset, each sample in a picture of its own or in one that it shares."""
    TOY.publish(lake)
    table = lake.read("toy", "samples")
    with lake.publish("toy", command="test") as step:
        step.write(
            "samples", "", table.set_column(table.column_names.index("path"), "path", pa.array(paths, pa.string()))
        )
        step.write("labels", "human", lake.read("toy", "labels/human"), parents=["samples"])
        step.write("protocols", "official", lake.read("toy", "protocols/official"), LayerFacts(truth=["human"]),
                   ["samples"])  # fmt: skip
    return lake


def test_a_picture_with_several_faces_names_none_of_them(lake: Lake, file: Path) -> None:
    in_pictures(lake, [f"pictures/{i // 2}.png" for i in range(len(TOY.ids))])
    frame = predicted(path=[f"pictures/{i // 2}.png" for i in TEST]).drop(columns="sample_id").iloc[::2]
    with pytest.raises(PredictionsError, match=r"8 rows of .* name a place of several samples"):
        scored(lake, frame, file, skip_missing=True)


def test_a_path_that_names_no_sample_is_shown_as_it_was_given(toy: Lake, file: Path) -> None:
    frame = predicted(path=["elsewhere.png"] * len(TEST), frame=[None] * len(TEST)).drop(columns="sample_id")
    with pytest.raises(PredictionsError) as raised:
        scored(toy, frame, file)
    assert "elsewhere.png" in str(raised.value)
    assert "elsewhere.png#" not in str(raised.value)


def test_a_row_without_a_path_is_about_no_sample_without_one(lake: Lake, file: Path) -> None:
    in_pictures(lake, [None if i == TEST[0] else f"pictures/{i}.png" for i in range(len(TOY.ids))])
    paths = [None if i == TEST[0] else f"pictures/{i}.png" for i in TEST]
    with pytest.raises(PredictionsError, match=r"1 of 16 rows of .* name no sample"):
        scored(lake, predicted(path=paths).drop(columns="sample_id"), file)


def test_rows_are_found_by_path_too(lake: Lake, file: Path) -> None:
    in_pictures(lake, [f"pictures/{i}.png" for i in range(len(TOY.ids))])
    frame = predicted(path=[f"pictures/{i}.png" for i in TEST]).drop(columns="sample_id")
    assert scored(lake, frame, file)["top1"] == 1
    absolute = predicted(path=[str(lake.root("toy") / f"pictures/{i}.png") for i in TEST]).drop(columns="sample_id")
    assert scored(lake, absolute, file)["top1"] == 1


def test_missing_predictions_are_refused_or_counted(toy: Lake, file: Path) -> None:
    with pytest.raises(PredictionsError, match="3 of 16 samples of role test have no prediction"):
        scored(toy, predicted().iloc[3:], file)
    predicted().iloc[3:].to_csv(file, index=False)
    scores = score_file(file, toy, "toy", "official", skip_missing=True, resamples=0)
    assert "  3 more have no prediction and are not scored" in list(scores.lines())
    assert scores.datasets[0].samples == 13


def test_a_row_of_nothing_is_no_prediction(toy: Lake, file: Path) -> None:
    frame = predicted(status="found")
    frame.loc[frame.index[:3], [name for name in frame.columns if name != "sample_id"]] = None
    frame.loc[frame.index[:3], "status"] = "no-face"
    with pytest.raises(PredictionsError, match="3 of 16 samples of role test have no prediction"):
        scored(toy, frame, file)
    assert scored(toy, frame, file, skip_missing=True)["top1"] == 1
    frame.to_parquet(file.with_suffix(".parquet"))
    scores = score_file(file.with_suffix(".parquet"), toy, "toy", "official", skip_missing=True, resamples=0)
    assert scores.datasets[0].samples == 13


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.assign(sample_id="toy/nobody"), "16 of 16 rows .* name no sample of toy"),
        (lambda f: pd.concat([f, f.iloc[:1]]), "predicts a sample twice"),
        (lambda f: f[["sample_id"]], "holds no predictions"),
        (lambda f: f.drop(columns="sample_id"), "does not say which sample"),
        (lambda f: f.drop(columns="arousal"), "only valence"),
        (lambda f: f.assign(valence="high"), "valence of"),
        (lambda f: f.assign(valence=[None, *f["valence"][1:]]), "no number in 1 rows, the first of them row 1"),
        (lambda f: f.assign(expression="bored"), "bored"),
        (lambda f: f.assign(au12=3), "action-unit probability"),
    ],
)
def test_what_is_no_prediction_is_refused_with_a_word(toy: Lake, file: Path, change: object, message: str) -> None:
    with pytest.raises(Exception, match=message) as caught:
        scored(toy, change(predicted()), file)  # type: ignore[operator]  # callable
    assert type(caught.value).__name__ in ("PredictionsError", "MetricInputError")


def test_a_file_that_is_none_is_refused(toy: Lake, file: Path) -> None:
    with pytest.raises(PredictionsError, match="does not exist"):
        score_file(file, toy, "toy", "official")
    file.with_suffix(".parquet").write_bytes(b"no parquet")
    with pytest.raises(PredictionsError, match="cannot be read"):
        score_file(file.with_suffix(".parquet"), toy, "toy", "official")


def own_predictions(path: Path) -> Path:
    """What `affect evaluate` writes of the toy's test part, as it would be from crops of half the size."""
    points = torch.tensor(TOY.labels["human"]["landmarks"]).reshape(-1, 68, 2)[list(TEST)] / 2
    truth = Targets(landmarks=LandmarkTarget(points, torch.ones(len(TEST))))
    ids = np.array(TOY.ids, object)[list(TEST)]
    table = to_table(ids, Tasks(landmarks=LandmarksTask()), Predictions(landmarks=points.numpy()), truth)
    pq.write_table(table, path)
    return path


def test_landmarks_in_crop_pixels_are_refused(toy: Lake, tmp_path: Path) -> None:
    path = own_predictions(tmp_path / "toy-test.parquet")
    with pytest.raises(PredictionsError, match=r"crop pixels[\s\S]*next: +affect evaluate RUN"):
        score_file(path, toy, "toy", "official", resamples=0)
    pq.write_table(pq.read_table(path).drop_columns("landmarks"), path)  # its mark stays
    with pytest.raises(PredictionsError, match="crop pixels"):
        score_file(path, toy, "toy", "official", resamples=0)


def test_a_runs_predictions_from_before_the_unit_was_marked_are_known_by_their_truth(toy: Lake, tmp_path: Path) -> None:
    path = own_predictions(tmp_path / "toy-test.parquet")
    pd.read_parquet(path).to_parquet(path)
    assert all(field.metadata is None for field in pq.read_schema(path))
    with pytest.raises(PredictionsError, match="landmarks beside landmarks_predicted"):
        score_file(path, toy, "toy", "official", resamples=0)


@pytest.mark.parametrize("name", ["landmarks", "landmarks_predicted"])
def test_lists_of_landmarks_in_source_pixels_are_scored(toy: Lake, tmp_path: Path, name: str) -> None:
    path = tmp_path / "theirs.parquet"
    points = [TOY.labels["human"]["landmarks"][i] for i in TEST]
    pd.DataFrame({"sample_id": [TOY.ids[i] for i in TEST], name: points}).to_parquet(path)
    (found,) = score_file(path, toy, "toy", "official", resamples=0).datasets
    assert found.value("nme_io") == pytest.approx(0, abs=1e-6)


def test_predictions_of_what_the_protocol_has_no_truth_for_are_refused(lake: Lake, file: Path) -> None:
    toy = Toy()
    for name in ("valence", "arousal", "landmarks", "au12"):
        del toy.labels["human"][name]
    toy.publish(lake)
    for columns in (["valence", "arousal"], ["au12"]):
        with pytest.raises(PredictionsError, match="predicts nothing that protocol official of toy") as caught:
            scored(lake, predicted()[["sample_id", *columns]], file)
        assert caught.value.found == {2: "va", 1: "au (au12)"}[len(columns)]
        assert caught.value.expected.startswith("expression, au (au01 au02 au04")
        assert "va" not in caught.value.expected
        assert "au12" not in caught.value.expected
        assert "affect info toy" in caught.value.then
    assert scored(lake, predicted()[["sample_id", "valence", "arousal", "expression"]], file)["top1"] == 1


def test_no_prediction_at_all_is_refused_with_skip_missing_too(toy: Lake, file: Path) -> None:
    train = predicted(sample_id=TOY.ids[: len(TEST)])
    with pytest.raises(PredictionsError, match="16 of 16 samples of role test have no prediction"):
        scored(toy, train, file, skip_missing=True)


def test_truth_that_a_rule_made_is_refused_and_so_is_a_role_that_is_never_scored(toy: Lake, file: Path) -> None:
    with toy.publish("toy", command="test") as step:
        step.write("protocols", "bad", toy.read("toy", "protocols/official"), LayerFacts(truth=["co-du2014"]),
                   ["samples"])  # fmt: skip
    predicted().to_csv(file, index=False)
    with pytest.raises(ProtocolError, match="co-du2014"):
        score_file(file, toy, "toy", "bad")
    with pytest.raises(UnknownNameError, match="train"):
        score_file(file, toy, "toy", "official", role="train")
