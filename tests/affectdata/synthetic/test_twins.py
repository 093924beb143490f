"""Each twin has the documented files and quirks, says the truth about them, and is the same for the same seed."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from affectdata.synthetic import LEAST_SAMPLES, Truth, twins, write_twin
from affectdata.synthetic.actions import DRAWN_AUS
from manifests.errors import DatasetError, UnknownNameError
from manifests.vocabulary import EXPRESSIONS

ALL = [(dataset, variant) for dataset, twin in twins().items() for variant in twin.VARIANTS]
SAMPLES, SEED = 30, 1


def _tree(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "twin"


@dataclass(frozen=True)
class Twin:
    """A variant of a twin as it was written, not to be changed."""

    root: Path
    truth: Truth
    variant: str

    def again(self, root: Path, seed: int) -> dict[str, bytes]:
        """The tree that it is with a seed."""
        write_twin(self.truth.dataset, root, samples=SAMPLES, seed=seed, variant=self.variant)
        return _tree(root)


@pytest.fixture(scope="module", params=ALL, ids=lambda case: "-".join(case))
def twin(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Twin:
    dataset, variant = request.param
    root = tmp_path_factory.mktemp("twin") / "root"
    return Twin(root, write_twin(dataset, root, samples=SAMPLES, seed=SEED, variant=variant), variant)


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(twin: Twin, tmp_path: Path) -> None:
    tree = _tree(twin.root)
    assert tree == twin.again(tmp_path / "same", SEED)
    assert tree != twin.again(tmp_path / "other", SEED + 1)


def test_the_truth_names_files_that_are_there_and_rejects_that_are_not_samples(twin: Twin) -> None:
    root, truth = twin.root, twin.truth
    keys = [sample.key for sample in truth.samples]
    assert len(set(keys)) == len(keys) >= 25
    assert truth.rejects
    assert all((root / sample.path).is_file() for sample in truth.samples if sample.path)
    missing = [reject for reject in truth.rejects if reject.reason == "missing-image"]
    assert not any((root / reject.where).exists() for reject in missing)
    assert {key for pair in truth.copies for key in pair} <= set(keys)
    assert set(truth.conflicts) <= set(keys)


def test_only_the_pictures_that_the_truth_calls_unreadable_are_cut_short(twin: Twin) -> None:
    for sample in twin.truth.samples:
        if sample.path is None or not sample.path.lower().endswith((".jpg", ".png")):
            continue
        data = (twin.root / sample.path).read_bytes()
        ends = data.endswith(b"\xff\xd9") or data[-8:-4] == b"IEND"
        assert ends == sample.readable
        if sample.readable:
            assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) is not None


@pytest.mark.parametrize("dataset", twins())
def test_a_twin_is_not_written_over_something(dataset: str, root: Path) -> None:
    root.mkdir()
    (root / "mine.txt").write_text("keep me")
    with pytest.raises(DatasetError, match="empty folder"):
        write_twin(dataset, root, samples=30, seed=1)
    assert _tree(root) == {"mine.txt": b"keep me"}


def test_unknown_twins_variants_and_too_few_samples_are_refused(root: Path) -> None:
    with pytest.raises(UnknownNameError, match="fer2013"):
        write_twin("nobody", root, samples=30, seed=1)
    with pytest.raises(UnknownNameError, match="ferplus"):
        write_twin("fer2013", root, samples=30, seed=1, variant="kaggle")
    with pytest.raises(DatasetError, match=f"at least {LEAST_SAMPLES}"):
        write_twin("fer2013", root, samples=3, seed=1)


@pytest.mark.parametrize(
    ("variant", "name", "header"),
    [("csv", "fer2013.csv", "emotion,pixels,Usage"), ("icml", "icml_face_data.csv", "emotion, Usage, pixels")],
)
def test_pixel_csvs_have_their_header_and_their_bad_rows(variant: str, name: str, header: str, root: Path) -> None:
    truth = write_twin("fer2013", root, samples=40, seed=1, variant=variant)
    text = (root / name).read_text()
    assert text.splitlines()[0] == header
    rows = [{key.strip(): cell for key, cell in row.items()} for row in csv.DictReader(text.splitlines())]
    wrong_pixels = [n for n, row in enumerate(rows) if len(row["pixels"].split(" ")) != 2304]
    wrong_usage = [n for n, row in enumerate(rows) if row["Usage"] not in ("Training", "PublicTest", "PrivateTest")]
    assert [(r.row, r.reason) for r in truth.rejects] == [
        (wrong_pixels[0], "bad-pixel-count"),
        (wrong_usage[0], "unknown-split"),
    ]
    assert [sample.key for sample in truth.samples if not sample.labels] == [
        str(n) for n, row in enumerate(rows) if row["emotion"] == ""
    ]
    for first, second in truth.copies:
        assert rows[int(first)]["pixels"] == rows[int(second)]["pixels"]
        assert rows[int(first)]["Usage"] != rows[int(second)]["Usage"]


def test_class_folders_hold_grey_jpegs_whose_names_tell_the_split(root: Path) -> None:
    truth = write_twin("fer2013", root, samples=40, seed=1, variant="folders")
    assert {path.name for path in (root / "train").iterdir()} >= {"angry", "happy", "neutral", "bored"}
    for sample in truth.samples:
        half, _, name = sample.path.split("/")
        assert half == ("train" if sample.split == "Training" else "test")
        assert name.startswith(f"{sample.split}_")
    image = cv2.imread(str(root / truth.samples[0].path), cv2.IMREAD_UNCHANGED)
    assert image.shape == (48, 48)
    assert truth.rejects_by_reason() == {"unknown-class-folder": 1, "bad-name": 1}


@pytest.fixture(scope="module")
def ferplus(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Truth]:
    root = tmp_path_factory.mktemp("ferplus")
    return root, write_twin("fer2013", root, samples=60, seed=2, variant="ferplus")


def _main_table(root: Path) -> list[list[str]]:
    return list(csv.reader((root / "fer2013new.csv").read_text().splitlines()))


def test_the_ferplus_table_has_ten_votes_a_row_an_unnamed_row_and_a_name_used_twice(
    ferplus: tuple[Path, Truth],
) -> None:
    header, *rows = _main_table(ferplus[0])
    assert header[:4] == ["Usage", "Image name", "neutral", "happiness"]
    assert header[-2:] == ["unknown", "NF"]
    assert all(sum(map(int, row[2:])) == 10 for row in rows)
    unnamed = [n for n, row in enumerate(rows) if not row[1]]
    assert [rows[n][-1] for n in unnamed] == ["10"]
    names = [row[1] for row in rows if row[1]]
    assert len(names) - len(set(names)) == 1
    assert rows[-1][1] == f"fer{len(rows) - 2:07d}.png"


def test_label_csv_has_no_header_a_quoted_box_and_votes_that_differ_where_the_truth_says(
    ferplus: tuple[Path, Truth],
) -> None:
    root, truth = ferplus
    main = {row[1]: row[2:] for row in _main_table(root)[1:]}
    listed: dict[str, list[str]] = {}
    for part in ("FER2013Train", "FER2013Valid", "FER2013Test"):
        text = (root / "data" / part / "label.csv").read_text()
        assert '.png,"(0, 0, 48, 48)",' in text.splitlines()[0]
        for row in csv.reader(text.splitlines()):
            assert len(row) == 12
            listed[row[0]] = row[2:]
    differing = [name.removesuffix(".png") for name, votes in listed.items() if main[name] != votes]
    assert differing == list(truth.conflicts) != []
    for sample in truth.samples:
        raw = sample.label("human-ferplus")
        if raw is None:
            assert f"{sample.key}.png" not in listed
        else:
            assert raw.votes is not None
            assert [str(votes) for votes in raw.votes.values()] == listed[f"{sample.key}.png"]


def test_every_kind_of_vote_outcome_occurs(ferplus: tuple[Path, Truth]) -> None:
    outcomes = {
        (
            sample.label("derived-ferplus-majority") is not None,
            sample.label("derived-ferplus-probability") is not None,
        )
        for sample in ferplus[1].samples
        if sample.labels
    }
    assert outcomes == {(True, True), (False, True), (False, False)}


def test_the_rafdb_list_has_its_spelling_its_order_and_no_final_newline(root: Path) -> None:
    truth = write_twin("rafdb", root, samples=40, seed=1, variant="basic")
    text = (root / "basic/EmoLabel/list_patition_label.txt").read_bytes().decode()
    assert not text.endswith("\n")
    lines = text.split("\n")
    assert lines[0].startswith("train_00001.jpg ")
    assert lines[-1].startswith("test_0008.jpg ")
    bad = {reject.row: reject.reason for reject in truth.rejects if reject.reason != "missing-image"}
    assert bad == {lines.index("train_99998.jpg"): "bad-field-count", lines.index("train_99999.jpg 0"): "unknown-code"}
    order = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")
    codes = dict(line.split() for line in lines if " " in line)
    for sample in truth.samples:
        label = sample.label("human")
        assert label is not None
        assert label.expression == order[int(codes[sample.key.partition("/")[2] + ".jpg"]) - 1]


def test_rafdb_side_files_have_their_lines_and_quirks(root: Path) -> None:
    truth = write_twin("rafdb", root, samples=40, seed=1, variant="basic")
    manual = {path.name.partition("_manu")[0]: path for path in (root / "basic/Annotation/manual").iterdir()}
    assert "train_00003" not in manual
    assert all(len(path.read_text().splitlines()) == 8 for path in manual.values())
    separators = {"\t" in path.read_text() for path in manual.values()}
    assert separators == {True, False}
    assert manual["train_00004"].read_text().splitlines()[5] == "2"
    unsure = next(sample for sample in truth.samples if sample.key == "basic/train_00004")
    assert unsure.annotation is not None
    assert unsure.annotation.gender is None
    outside = root / "basic/Annotation/boundingbox/train_00005_boundingbox.txt"
    assert float(outside.read_text().split()[0]) < 0
    auto = (root / "basic/Annotation/auto/train_00001_auto_attri.txt").read_text().split()
    assert len(auto) == 74
    assert next(s.path for s in truth.samples if s.key == "basic/train_00008") == "basic/Image/original/train_00008.jpg"


def test_rafdb_subsets_collide_in_names_and_not_in_keys(root: Path) -> None:
    truth = write_twin("rafdb", root, samples=60, seed=1)
    names = [sample.key.partition("/")[2] for sample in truth.samples]
    assert len(set(names)) < len(names) == len({sample.key for sample in truth.samples})
    compound = [sample for sample in truth.samples if sample.key.startswith("compound/")]
    assert all(sample.labels[0].compound and sample.labels[0].expression is None for sample in compound)


def test_rafdb_variants_show_the_doubled_folder_crlf_and_the_repack(tmp_path: Path) -> None:
    for variant in ("doubled", "crlf", "repack"):
        write_twin("rafdb", tmp_path / variant, samples=30, seed=1, variant=variant)
    assert (tmp_path / "doubled/basic/Image/aligned/aligned/train_00001_aligned.jpg").is_file()
    assert not list((tmp_path / "doubled/basic/Image/aligned").glob("*.jpg"))
    assert b"\r\n" in (tmp_path / "crlf/basic/EmoLabel/list_patition_label.txt").read_bytes()
    lines = (tmp_path / "repack/train_labels.csv").read_text().splitlines()
    assert lines[0] == "image,label"
    name, code = lines[1].split(",")
    assert (tmp_path / "repack/DATASET/train" / code / name).is_file()


@pytest.fixture(scope="module")
def neutral(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Truth]:
    root = tmp_path_factory.mktemp("neutral")
    return root, write_twin("synthetic", root, samples=60, seed=2)


def test_the_synthetic_table_has_the_documented_header_and_sentinels(neutral: tuple[Path, Truth]) -> None:
    header, *rows = csv.reader((neutral[0] / "annotations.csv").read_text().splitlines())
    aus = [f"AU{au}" for au in DRAWN_AUS]
    assert header == [
        *("image", "subject", "split", "expression", "valence", "arousal"),
        *aus,
        *(f"{au}_intensity" for au in aus),
    ]
    assert rows[-1][3:] == ["-1", "-5", "-5", *["-1"] * 17, *["9"] * 17]
    for sentinel, column in (("-1", 3), ("-5", 4), ("-1", 6), ("9", 23)):
        assert sum(row[column] == sentinel for row in rows) == 2


def test_the_synthetic_truth_is_what_the_table_says(neutral: tuple[Path, Truth]) -> None:
    root, truth = neutral
    rows = {row["image"]: row for row in csv.DictReader((root / "annotations.csv").read_text().splitlines())}
    for sample in truth.samples:
        row, label = rows[f"{sample.key}.png"], sample.label("human")
        assert (row["subject"], row["split"]) == (sample.subject, sample.split)
        if label is None:
            continue
        assert row["expression"] == str(EXPRESSIONS.index(label.expression) if label.expression else -1)
        assert float(row["valence"]) == (-5 if label.valence is None else label.valence)
        assert {au: int(row[f"AU{au}"]) for au in DRAWN_AUS} == (label.aus or dict.fromkeys(DRAWN_AUS, -1))
        for au, present in label.aus.items():
            if label.au_intensities:
                assert bool(present) == (float(row[f"AU{au}_intensity"]) > 0)


def test_pts_files_are_one_based_and_absent_where_the_landmarks_are_unknown(neutral: tuple[Path, Truth]) -> None:
    root, truth = neutral
    absent = 0
    for sample in truth.samples:
        label, path = sample.label("human"), root / "landmarks" / f"{sample.key}.pts"
        if label is None or label.landmarks is None:
            absent += 1
            assert not path.exists()
            continue
        lines = path.read_text().splitlines()
        assert lines[:3] == ["version: 1", "n_points: 68", "{"]
        points = np.array([[float(cell) for cell in line.split()] for line in lines[3:71]])
        np.testing.assert_allclose(points - 1, label.landmarks, atol=1e-3)
    assert absent == 2


def test_the_other_domain_shows_other_people_in_less_light(neutral: tuple[Path, Truth], tmp_path: Path) -> None:
    root, truth = neutral
    other = write_twin("synthetic", tmp_path / "dim", samples=60, seed=2, variant="dim")
    people, strangers = ({sample.subject for sample in one.samples} for one in (truth, other))
    assert not people & strangers, "even where both are drawn by one seed"
    light, dim = (
        np.mean([cv2.imread(str(path)).mean() for path in sorted((place / "images").glob("*/001.png"))])
        for place in (root, tmp_path / "dim")
    )
    assert dim < 0.9 * light


def test_a_subject_lies_in_one_split_and_every_split_has_some(neutral: tuple[Path, Truth]) -> None:
    splits: dict[str | None, set[str | None]] = {}
    for sample in neutral[1].samples:
        splits.setdefault(sample.subject, set()).add(sample.split)
    assert all(len(of_subject) == 1 for of_subject in splits.values())
    assert set().union(*splits.values()) == {"train", "val", "test"}
