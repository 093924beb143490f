"""EmotioNet from lines as the dataset page shows them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from fuzzing import FUZZ, any_bytes, mangled
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import KFold

from affectdata.datasets import emotionet
from affectdata.datasets.emotionet_codes import read_shard, read_tables
from affectdata.datasets.emotionet_workbook import sheets
from affectdata.datasets.listing import list_files
from affectdata.datasets.reading import Folder, Reject
from affectdata.ingest_summary import IngestSummary
from manifests.errors import AffectError, DatasetError
from manifests.lake import Lake
from manifests.vocabulary import AU_SPACES
from tests.affectdata.datasets.conftest import rejects

Run = Callable[..., IngestSummary]
Tree = Mapping[str, str | bytes]
SERVER = "https://s3.us-east-2.amazonaws.com/emotionet/Images"
REST = "\t".join(["999"] * 53)
LINE_12 = f"{SERVER}/N_0000000007/N_0000000007_00012.jpg\thttp://example.org/a/b.jpg\t0\t0\t999\t1\t0\t1\t999\t{REST}\n"
LINE_13 = f"{SERVER}/N_0000000007/N_0000000007_00013.jpg\thttp://example.org/c.jpg\t1\t1\t999\t0\t1\t0\t999\t{REST}\n"
PICTURES = {f"Images/N_0000000007/N_0000000007_{n:05d}.jpg": "" for n in (12, 13)}
HEADER = "URL,URL orig," + ",".join(f"'AU {au}'" for au in range(1, 61))
ROW = f"{SERVER}/N_0000000003/N_0000000003_00021.jpg',http://example.org/x.jpg',0,0,999,1,0," + ",".join(["0"] * 55)
TABLE = {"EmotioNet_FACS_aws_2020_24600.csv": f"{HEADER}\n{ROW}\n", "N_0000000003_00021.jpg": ""}


def aus(lake: Lake, source: str) -> dict[str, dict[str, int]]:
    """sample_id -> AU column -> 0 or 1, unknown ones left out."""
    known = [f"au{au:02d}" for au in range(1, 61)]
    rows = lake.read("emotionet", f"labels/{source}").to_pylist()
    return {row["sample_id"]: {name: row[name] for name in known if row[name] is not None} for row in rows}


def test_field_two_is_au_one_and_999_is_unknown(lake: Lake, ingested: Run) -> None:
    ingested("emotionet", PICTURES | {"dataFile_0001.txt": LINE_12 + LINE_13})
    assert aus(lake, "auto") == {
        "emotionet/N_0000000007_00012": {"au01": 0, "au02": 0, "au04": 1, "au05": 0, "au06": 1},
        "emotionet/N_0000000007_00013": {"au01": 1, "au02": 1, "au04": 0, "au05": 1, "au06": 0},
    }


def test_an_original_url_may_hold_blanks_and_quotes(lake: Lake, ingested: Run) -> None:
    line = LINE_12.replace("http://example.org/a/b.jpg", "http://example.org/a \"b c'.jpg")
    summary = ingested("emotionet", PICTURES | {"dataFile_0001.txt": line})
    assert not summary.rejects
    assert aus(lake, "auto")["emotionet/N_0000000007_00012"]["au04"] == 1


def test_line_ends_of_windows_and_a_missing_last_one_change_nothing(lake: Lake, ingested: Run) -> None:
    text = (LINE_12 + LINE_13).replace("\n", "\r\n").removesuffix("\r\n")
    assert not ingested("emotionet", PICTURES | {"dataFile_0001.txt": text}).rejects
    assert len(aus(lake, "auto")) == 2


def test_shards_from_1000_on_are_manual_unless_the_user_says_otherwise(lake: Lake, ingested: Run) -> None:
    tree = PICTURES | {"x_1.2_aws/dataFile_0999.txt": LINE_12, "x_1.2_aws/dataFile_1000.txt": LINE_13}
    assert ingested("emotionet", tree).splits == {"optimisation": 1, "train": 1}
    assert list(aus(lake, "human")) == ["emotionet/N_0000000007_00013"]
    assert list(aus(lake, "auto")) == ["emotionet/N_0000000007_00012"]
    assert ingested("emotionet", tree, shards="auto").splits == {"train": 2}
    assert not lake.has("emotionet", "labels/human")


def test_pictures_are_found_in_every_tree_that_users_keep(lake: Lake, ingested: Run) -> None:
    places = ["Images/N_0000000007", "", "optimization_set/N_0000000007", "dataFile_1001"]
    lines = "".join(LINE_12.replace("_00012.jpg", f"_0001{n}.jpg") for n in range(4))
    paths = [f"{place}/N_0000000007_0001{n}.jpg".removeprefix("/") for n, place in enumerate(places)]
    ingested("emotionet", {"dataFile_1001.txt": lines, **dict.fromkeys(paths, "")})
    assert lake.read("emotionet", "samples").column("path").to_pylist() == paths


def test_a_dead_url_is_a_missing_picture_that_is_expected(ingested: Run) -> None:
    lines = "".join(LINE_12.replace("_00012.jpg", f"_000{n}.jpg") for n in range(12, 22))
    tree = {f"N_0000000007_000{n}.jpg": "" for n in range(13, 22)} | {"dataFile_0001.txt": lines}
    summary = ingested("emotionet", tree)
    assert rejects(summary) == {"missing-image": 1}
    assert summary.rejects["missing-image"].expected


def test_tables_without_pictures_say_that_they_are_to_be_downloaded(ingested: Run) -> None:
    with pytest.raises(DatasetError, match="download the pictures of column URL"):
        ingested("emotionet", {"dataFile_0001.txt": LINE_12})


def test_apostrophes_of_header_and_urls_are_dropped(lake: Lake, ingested: Run) -> None:
    ingested("emotionet", TABLE)
    [(key, known)] = aus(lake, "human").items()
    assert key == "emotionet/N_0000000003_00021"
    assert known == {f"au{au:02d}": int(au == 4) for au in range(1, 61) if au != 3}


def test_bad_lines_names_and_codes_are_counted_and_not_fatal(lake: Lake, ingested: Run) -> None:
    lines = [
        LINE_12.replace("\t0\t1\t999", "\t7\t1\tx", 1),
        LINE_13.replace("\t999\n", "\n"),
        LINE_13.replace("_00013.jpg", "_13.jpg"),
        LINE_13.replace("\t1\t1\t999", "\t'1'\t1.0\t", 1),
    ]
    summary = ingested("emotionet", PICTURES | {"dataFile_0001.txt": "".join(lines)})
    assert rejects(summary) == {"unknown-code": 2, "bad-field-count": 1, "bad-name": 1}
    assert aus(lake, "auto")["emotionet/N_0000000007_00012"] == {"au01": 0, "au02": 0, "au04": 1, "au06": 1}
    assert aus(lake, "auto")["emotionet/N_0000000007_00013"] == {"au01": 1, "au02": 1, "au04": 0, "au05": 1, "au06": 0}
    found = {row["detail"] for row in lake.read("emotionet", "rejects").to_pylist() if row["reason"] == "unknown-code"}
    assert found == {"AU 5 '7'", "AU 7 'x'"}


def test_a_picture_of_both_sets_stays_scored_and_keeps_both_labels(lake: Lake, ingested: Run) -> None:
    other = LINE_12.replace("\t0\t0\t999\t1", "\t1\t0\t999\t0", 1)
    summary = ingested("emotionet", PICTURES | {"dataFile_0001.txt": other + LINE_13, "dataFile_1000.txt": LINE_12})
    assert rejects(summary) == {"split-leak": 1}
    key = "emotionet/N_0000000007_00012"
    assert (aus(lake, "human")[key]["au01"], aus(lake, "auto")[key]["au01"]) == (0, 1)
    roles = {row["sample_id"]: row["role"] for row in lake.read("emotionet", "protocols/official").to_pylist()}
    assert roles == {key: "val", "emotionet/N_0000000007_00013": "train"}


def test_a_leaking_picture_that_is_listed_twice_and_differently_has_no_automatic_code(
    lake: Lake, ingested: Run
) -> None:
    other = LINE_12.replace("\t0\t0\t999\t1", "\t1\t0\t999\t0", 1)
    shards = {"dataFile_0001.txt": other + LINE_12 + LINE_13 + LINE_13, "dataFile_1000.txt": LINE_12 + LINE_13}
    summary = ingested("emotionet", PICTURES | shards)
    assert rejects(summary) == {"split-leak": 4, "conflicting-duplicate": 1, "duplicate-key": 1}
    assert list(aus(lake, "auto")) == ["emotionet/N_0000000007_00013"]


def test_manual_tables_side_by_side_need_the_users_choice(ingested: Run) -> None:
    tree = PICTURES | TABLE | {"dataFile_1000.txt": LINE_12}
    with pytest.raises(DatasetError, match=r"shards, EmotioNet_FACS_aws_2020_24600.csv(.|\n)*--manual"):
        ingested("emotionet", tree)
    assert ingested("emotionet", tree, manual="shards").samples == 1
    chosen = ingested("emotionet", tree, manual="EmotioNet_FACS_aws_2020_24600.csv")
    assert chosen.samples == 1
    with pytest.raises(DatasetError, match="one of them"):
        ingested("emotionet", tree, manual="nothing.csv")


def test_releases_side_by_side_need_the_users_choice(ingested: Run) -> None:
    tree = PICTURES | {"1.1/dataFile_0001.txt": LINE_12, "1.2/dataFile_0001.txt": LINE_12 + LINE_13}
    with pytest.raises(DatasetError, match=r"1.1, 1.2(.|\n)*--release"):
        ingested("emotionet", tree)
    assert ingested("emotionet", tree, release="1.2").samples == 2


@pytest.mark.parametrize(("first", "urls"), [("2", 1), ("3", 2)])
def test_the_older_csv_is_read_only_with_the_column_of_its_first_au(
    first: str, urls: int, lake: Lake, ingested: Run
) -> None:
    cells = ['"http://cbcsnas01.ece.ohio-state.edu/EmotioNet/Images/N_0000000003/N_0000000003_00021.jpg"', "'x.jpg'"]
    line = ",".join([*cells[:urls], "1", "0", "999", *["0"] * 57])
    tree = {"EmotioNet_FACS.csv": "," * (59 + urls) + f"\n{line}\n", "N_0000000003_00021.jpg": ""}
    for wrong in ({}, {"first-au": str(5 - int(first))}):
        with pytest.raises(DatasetError, match="--first-au 2 with 61 columns, or --first-au 3 with 62"):
            ingested("emotionet", tree, **wrong)
    ingested("emotionet", tree, **{"first-au": first})
    known = aus(lake, "human")["emotionet/N_0000000003_00021"]
    assert (known["au01"], known["au02"], "au03" in known, known["au60"]) == (1, 0, False, 0)


def test_the_expression_track_is_refused_without_a_code_table_and_read_with_one(
    lake: Lake, ingested: Run, tmp_path: Path
) -> None:
    track = {"EmotioNet_expressions.csv": "url,class\nN_0000000003_00021.jpg,4\n", "N_0000000003_00021.jpg": ""}
    with pytest.raises(DatasetError, match="no-code-table"):
        ingested("emotionet", track)
    given = tmp_path / "map.toml"
    codes = "file = 'EmotioNet_expressions.csv'\n[samples]\nimage = 'url'\n[labels.human]\ncompound = 'class'\n"
    given.write_text(codes)
    with pytest.raises(DatasetError, match="no-code-table"):
        ingested("emotionet", track, map=str(given))
    scored = "[protocols.official]\ncolumn = 'class'\ntest = [4]\ntruth = ['human']\n"
    given.write_text(codes + "[codes.class]\n4 = 'awed'\n" + scored)
    ingested("emotionet", track, map=str(given))
    assert lake.read("emotionet", "labels/human").column("compound").to_pylist() == ["awed"]
    assert lake.layer("emotionet", "protocols/official").facts.metrics == ["emotionet_expr"]


def test_beside_au_tables_the_expression_track_is_named_and_left_out(ingested: Run) -> None:
    track = {"EmotioNet_expressions.csv": "url,class\nN_0000000003_00021.jpg,4\n"}
    summary = ingested("emotionet", TABLE | track)
    assert [text for text in summary.warnings if "EmotioNet_expressions.csv is not read" in text]


@pytest.mark.parametrize("count", [3, 10, 24_600])
def test_folds_are_those_of_scikit_learn(count: int) -> None:
    folds = emotionet._fold_of(count)
    for fold, (_, test) in enumerate(KFold(3, shuffle=True, random_state=42).split(np.zeros((count, 1)))):
        assert np.flatnonzero(folds == fold).tolist() == test.tolist()


def test_the_scored_aus_are_those_of_the_challenges() -> None:
    assert AU_SPACES["emotionet11"] == (1, 2, 4, 5, 6, 9, 12, 17, 20, 25, 26)
    assert len(AU_SPACES["emotionet12"]) == 12
    assert len(AU_SPACES["emotionet23"]) == 23


PARTS = {
    "xl/workbook.xml": '<workbook xmlns="m" xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships">'
    '<sheets><sheet name="A &amp; B" sheetId="1" r:id="rId7"/><sheet name="chart" sheetId="2" r:id="rId8"/></sheets>'
    "</workbook>",
    "xl/_rels/workbook.xml.rels": '<Relationships><Relationship Id="rId7" Type="x/worksheet" '
    'Target="/xl/worksheets/sheet1.xml"/><Relationship Id="rId8" Type="x/chartsheet" Target="c.xml"/></Relationships>',
    "xl/sharedStrings.xml": "<sst><si><t>URL</t></si><si><r><t>'AU </t></r><r><t>1'</t></r><rPh><t>aid</t></rPh></si>"
    "</sst>",
    "xl/worksheets/sheet1.xml": '<worksheet><sheetData><row r="1"><c r="A1" t="s"><v>0</v></c><c r="C1" t="s"><v>1</v>'
    '</c></row><row r="2"/><row r="3"><c r="A3" t="inlineStr"><is><t>one</t></is></c><c r="C3"><v>1</v></c></row>'
    '<row><c t="str"><f>A1</f><v>two</v></c></row><row r="5"><c r="C5"><v>9</v></c><c r="D5"><v>4</v></c></row>'
    "</sheetData></worksheet>",
}


def workbook(parts: Mapping[str, str] = PARTS) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, text in parts.items():
            archive.writestr(name, text)
    return data.getvalue()


def read_workbook(data: bytes) -> tuple[list[dict[str, list[str | None]]], dict[str, int]]:
    reject = Reject()
    found = list(sheets(data, "book.xlsx", reject))
    columns = [{name: column.to_pylist() for name, column in table.columns.items()} for table in found]
    return columns, dict(reject.counts())


def test_a_workbook_gives_shared_inline_and_rich_texts_and_keeps_empty_cells_empty() -> None:
    assert read_workbook(workbook()) == (
        [{"URL": ["one", "two"], "'AU 1'": ["1", None]}],
        {"bad-field-count": 1},
    )


def test_a_protected_workbook_is_named_as_such(ingested: Run) -> None:
    tree = {"EmotioNet_FACS_aws_2020_24600.xlsx": bytes.fromhex("d0cf11e0a1b11ae1") + b"\0" * 600, **PICTURES}
    with pytest.raises(DatasetError, match="protected-file"):
        ingested("emotionet", tree)


def test_a_workbook_without_the_columns_names_them(ingested: Run) -> None:
    parts = PARTS | {"xl/sharedStrings.xml": "<sst><si><t>URL</t></si><si><t>label</t></si></sst>"}
    with pytest.raises(DatasetError, match="unknown-header"):
        ingested("emotionet", {"EmotioNet_FACS_aws.xlsx": workbook(parts), **PICTURES})


def test_a_workbook_may_declare_no_entities_and_unpack_to_no_flood(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    doctype = '<!DOCTYPE x [<!ENTITY a "aaaa">]>'
    with pytest.raises(DatasetError, match="unsafe-file"):
        read_workbook(workbook(PARTS | {"xl/sharedStrings.xml": doctype + "<sst/>"}))
    monkeypatch.setattr("affectdata.datasets.emotionet_workbook.MAX_UNPACKED", 300)
    with pytest.raises(DatasetError, match="unsafe-file"):
        read_workbook(workbook())


def folder_with(base: Path, name: str, data: bytes) -> Folder:
    root = base / "fuzzed"
    root.mkdir(exist_ok=True)
    (root / name).write_bytes(data)
    return Folder(root, list_files(root), {option.name: option.default for option in emotionet.CARD.options})


def line_counts(data: bytes) -> range:
    """How many lines there are; one that holds carriage returns alone may count or not."""
    text = data.decode("utf-8-sig", "replace").replace("\r\n", "\n").split("\n")
    return range(sum(bool(line.strip("\r")) for line in text), sum(bool(line) for line in text) + 1)


def accounted(rows: int, reject: Reject) -> int:
    """Rows kept, and rows refused whole."""
    counts = reject.counts()
    return rows + counts["bad-field-count"] + counts["bad-name"]


@pytest.mark.fuzz
@FUZZ
@given(data=st.one_of(any_bytes, mangled((LINE_12 + LINE_13).encode(), [b"999", b"'", b"2", b"\r", b".jpg"])))
def test_every_line_of_a_shard_is_a_row_or_a_reject(data: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder, reject = folder_with(tmp_path_factory.getbasetemp(), "dataFile_0001.txt", data), Reject()
    rows, table = read_shard(folder, "dataFile_0001.txt", reject)
    assert len(rows.stems) == len(table.rows)
    assert accounted(len(rows.stems), reject) in line_counts(data)
    assert set(np.unique(rows.codes)) <= {-1, 0, 1}


@pytest.mark.fuzz
@FUZZ
@given(data=st.one_of(any_bytes, mangled(f"{HEADER}\n{ROW}\n{ROW}\n".encode(), [b"999", b"'", b"2", b'"', b"AU 1"])))
def test_every_line_of_a_table_is_a_row_or_a_reject(data: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder, reject = folder_with(tmp_path_factory.getbasetemp(), "EmotioNet.csv", data), Reject()
    try:
        found = list(read_tables(folder, "EmotioNet.csv", None, reject))
    except AffectError:
        return
    assert accounted(sum(len(rows.stems) for rows, _ in found), reject) + 1 in line_counts(data)


@pytest.mark.fuzz
@FUZZ
@given(
    part=st.sampled_from(sorted(PARTS)),
    edits=st.lists(
        st.tuples(
            st.integers(0, 500), st.integers(0, 9), st.sampled_from(["", "<", ">", '"', "s", "9", "&a;", "<c>", "ZZ9"])
        ),
        max_size=5,
    ),
    raw=any_bytes,
    whole=st.booleans(),
)
def test_any_bytes_are_a_workbook_or_an_error_of_ours(
    part: str, edits: list[tuple[int, int, str]], raw: bytes, whole: bool
) -> None:
    text = PARTS[part]
    for at, length, piece in edits:
        text = text[:at] + piece + text[at + length :]
    data = workbook(PARTS | {part: text})
    reject = Reject()
    try:
        for table in sheets(data if whole else data[:200] + raw + data[200 + len(raw) :], "any.xlsx", reject):
            assert all(
                isinstance(column, pa.Array) and len(column) == len(table.rows) for column in table.columns.values()
            )
    except AffectError:
        pass
