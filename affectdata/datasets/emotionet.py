"""EmotioNet: a million web pictures by URL, AU occurrence by a machine, and by hand for an optimisation set.

How to get it: the form at cbcsl.ece.ohio-state.edu/dbform_emotionet.html; you get tables of URLs and codes, and
download the pictures yourself. Layout: datasets/emotionet.md.

Many URLs are dead, so rows without a picture are expected. A picture is a whole scene: no box says whose face was
coded. The expression track's format is published nowhere: it is read with a map of your own (`--map`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from affectdata.datasets import table as own_table
from affectdata.datasets.card import Card, ExpectedReject, Labelling, Option, ProtocolCard, Published
from affectdata.datasets.emotionet_codes import (
    AUS,
    Coded,
    Pictures,
    joined,
    named_columns,
    read_shard,
    read_tables,
    without_repeats,
)
from affectdata.datasets.reading import Block, Distribution, Folder, Reject
from affectdata.datasets.text import as_mask, decoded, header
from manifests.errors import DatasetError

FIRST_MANUAL_SHARD = 1000
"""Shards from this number on are the manual ones [one source]."""

_WORKBOOKS = (".xlsx", ".xls")

FOLDS, FOLD_SEED = 3, 42
"""KFold(shuffle, seed 42) over the 24,600 rows [one source]."""

_FRAME = {"au": "frame"}

_METRICS = ("emotionet_au", "emotionet_au[emotionet11]", "au_acc_cells")
"""The challenge's score over the AUs of a run, and over the eleven of 2017 (metrics.md 7)."""

BATCH = 1 << 17
"""Rows of automatic shards from which on they become a Block."""

CARD = Card(
    name="emotionet",
    title="EmotioNet (Ohio State CBCSL)",
    about="950,000 web pictures with AUs coded by a machine, 24,600 with AUs coded by hand; 60 AU columns, of which "
    "11 (2017), 12 (2018) or 23 (2020, six of them head positions) were scored. Basic and compound expressions "
    "follow from the AUs: affect co-annotate --table emotionet",
    tasks=("au", "expression", "compound"),
    labellings=(
        Labelling("human", unit=_FRAME, rule="manual: AU occurrence of the optimisation set; 999 is unknown"),
        Labelling("auto", unit=_FRAME, rule="automatic: AU occurrence by the authors' coder, noisy; 999 is unknown"),
    ),
    protocols=(
        ProtocolCard(
            "official",
            ("human",),
            about="train: the automatically coded pictures; val: the optimisation set. Validation and test sets of "
            "the challenges were never released. No identities: a person may be in both",
            metrics=_METRICS,
        ),
        ProtocolCard(
            "kfold3",
            ("human",),
            about="three folds over the rows of the 2020 table, shuffled with seed 42 [one source]; no identities",
            metrics=_METRICS,
        ),
    ),
    licence="research on request by form, no redistribution of pictures or labels",
    citation="Benitez-Quiroz, Srinivasan, Martinez, EmotioNet, CVPR 2016; Benitez-Quiroz et al., EmotioNet "
    "Challenge, arXiv 1703.01210, 2017",
    homepage="http://cbcsl.ece.ohio-state.edu/enc-2020/index.html",
    access=(
        "fill in cbcsl.ece.ohio-state.edu/dbform_emotionet.html",
        "save the workbook without its password",
        "download the pictures of column URL, keeping their names, anywhere below one folder with the tables",
    ),
    looked_for=(
        "dataFile_<n>.txt with 62 TAB-separated fields",
        "a workbook EmotioNet*.xlsx or a CSV with columns URL and 'AU <n>'",
        "the expression track: --map MAP.toml",
    ),
    tree="""emotioNet_challenge_files_server_challenge_1.2_aws/dataFile_0001.txt ... dataFile_1001.txt
EmotioNet_FACS_aws_2020_24600.xlsx | .csv
pictures, anywhere: Images/N_0000000001/N_0000000001_00003.jpg | N_0000000001_00003.jpg""",
    published=(
        Published("train", {"": 950_000}, sure="verified 3, rounded"),
        Published("optimisation", {"": 24_600}, sure="verified 3; the page of 2017 says 25,000"),
    ),
    subject_key="none: the folder N_<ten digits> is a search batch, not a person",
    group_key="none: the same folder is no group of people",
    sentinels={"AU": "999"},
    expected_rejects=(
        ExpectedReject(
            "missing-image",
            0.15,
            "dead URLs: a public list of usable pictures has 21,088 of 24,600; one user of 2024 lacked 2, others more",
        ),
        ExpectedReject(
            "split-leak",
            0.026,
            "at most the whole optimisation set is listed for training again, 24,600 of 974,600: it stays `val`",
        ),
    ),
    options=(
        Option("shards", "who coded the dataFile shards; by-number: 1000 and up are manual", "by-number",
               ("by-number", "human", "auto")),
        Option("release", "folder of dataFile shards to read where several lie side by side"),
        Option("manual", "manual table to read where several lie side by side: its path, or `shards`"),
        Option("first-au", "column of AU 1 in the older EmotioNet_FACS.csv, whose header names no AUs: 2 or 3", "",
               ("", "2", "3")),
        Option("map", "TOML file (affect info table) with columns and codes of the expression track, read alone",
               is_path=True),
    ),
    revision=3,
    unverified=(
        "that shards 1000 and up are the manual ones (--shards overrides)",
        "whether the older EmotioNet_FACS.csv has a second URL column (--first-au says)",
        "file names, format and codes of the expression track (refused without --map)",
    ),
)  # fmt: skip


def find(folder: Folder) -> Distribution | None:
    """Shards of one release, and one manual table; or the expression track with the user's map."""
    if folder.options["map"]:
        found = own_table.find(folder)
        return replace(found, parts={"map": ()}, protocols=tuple(map(_of_track, found.protocols))) if found else None
    shards, tables, others = _shards(folder), *_tables(folder)
    if not shards and not tables:
        if others:
            raise _track_refused(others)
        return None
    manual = [path for path in shards if _is_manual(path, folder.options["shards"])]
    auto = [path for path in shards if path not in manual]
    candidates = {"shards": tuple(manual)} if manual else {}
    candidates |= {path: (path,) for path in tables}
    chosen = _one("manual table", candidates, folder.options["manual"], "manual")
    used = manual if chosen == "shards" else []
    table = (chosen,) if chosen in tables else ()
    names = [*(["shards"] if auto or used else []), *(["manual table"] if table else [])]
    return Distribution(
        folder,
        " and ".join(names),
        (*auto, *used, *table),
        {"auto": tuple(auto), "human": tuple(used), "table": table},
        (
            "pictures are whole scenes: several faces may be in one, and no box says which of them was coded",
            *(
                f"{path} is not read: it codes no AUs; the expression track needs --map (no-code-table)"
                for path in others
            ),
        ),
    )


def _of_track(protocol: ProtocolCard) -> ProtocolCard:
    """A protocol of the user's map of the expression track, with the track's score."""
    return replace(protocol, metrics=("emotionet_expr",))


def read(distribution: Distribution, reject: Reject) -> Iterator[Block]:
    """One Block per `BATCH` rows of automatic shards, and one for all manual rows."""
    if "map" in distribution.parts:
        yield from own_table.read(distribution, reject)
        return
    folder, parts = distribution.folder, distribution.parts
    pictures = Pictures(folder)
    if not len(pictures):
        raise DatasetError(
            f"{folder.root} holds EmotioNet's tables and not one of its pictures",
            expected="N_<ten digits>_<five digits>.jpg anywhere below that folder",
            then="download the pictures of column URL, keeping their names",
        )
    manual, folds = _manual(folder, parts, reject)
    scored: list[Coded] = []
    waiting: list[Coded] = []
    for path in parts["auto"]:
        rows, table = read_shard(folder, path, reject)
        again = as_mask(pc.is_in(rows.stems, value_set=manual.stems))
        if again.any():
            table.refuse(again, reject, "split-leak", "URL")
            scored.append(rows.filter(again))
            rows = rows.filter(~again)
        waiting.append(rows)
        # A shard has about a thousand rows: alone, each would cost more to check than to read.
        if path == parts["auto"][-1] or sum(len(part.stems) for part in waiting) >= BATCH:
            rows = joined(waiting)
            role = pa.array(["train"] * len(rows.stems), pa.string())
            yield Block(_samples(rows, pictures, "train"), {"auto": rows.labels()}, {"official": role})
            waiting.clear()
    if len(manual.stems):
        yield _manual_block(manual, folds, without_repeats(joined(scored), reject), pictures)


def _manual(folder: Folder, parts: Mapping[str, tuple[str, ...]], reject: Reject) -> tuple[Coded, pa.Array | None]:
    """The manual rows, and the fold of each where they come from a table."""
    if not parts["table"]:
        return joined(read_shard(folder, path, reject)[0] for path in parts["human"]), None
    path = parts["table"][0]
    before = _lost_rows(reject)
    read_ = list(read_tables(folder, path, _first_au(folder, path), reject))
    rows = joined(coded for coded, _ in read_)
    if len(read_) > 1:
        return rows, None
    # A row that was refused keeps its place in the shuffle.
    place = read_[0][1].rows
    return rows, pa.array(_fold_of(len(place) + _lost_rows(reject) - before)[place], pa.int16())


def _lost_rows(reject: Reject) -> int:
    counts = reject.counts()
    return counts["bad-field-count"] + counts["bad-name"]


def _fold_of(count: int) -> NDArray[np.int16]:
    """Fold that scores each of `count` rows, as in scikit-learn's KFold(3, shuffle=True, random_state=42)."""
    order = np.arange(count)
    np.random.RandomState(FOLD_SEED).shuffle(order)
    folds = np.empty(count, dtype=np.int16)
    for fold, rows in enumerate(np.array_split(order, FOLDS)):
        folds[rows] = fold
    return folds


def _manual_block(rows: Coded, folds: pa.Array | None, auto: Coded, pictures: Pictures) -> Block:
    labels = {"human": rows.labels()}
    if len(auto.stems):
        labels["auto"] = auto.labels().take(pc.index_in(rows.stems, value_set=auto.stems))
    roles: dict[str, pa.Array | pa.Table] = {"official": pa.array(["val"] * len(rows.stems), pa.string())}
    if folds is not None:
        once = pc.equal(pc.index_in(rows.stems, value_set=rows.stems), pa.array(np.arange(len(folds)), pa.int32()))
        facts = {"task": pa.array(["all"] * len(folds)), "role": pa.array(["test"] * len(folds)), "fold": folds}
        roles["kfold3"] = pa.table({"sample_id": rows.stems, **facts}).filter(once)
    return Block(_samples(rows, pictures, "optimisation"), labels, roles)


def _samples(rows: Coded, pictures: Pictures, split: str) -> pa.Table:
    splits = pa.array([split] * len(rows.stems), pa.string())
    return pa.table({"sample_id": rows.stems, "path": pictures.paths(rows.stems), "split": splits})


def _shards(folder: Folder) -> list[str]:
    """The shards of one release, in order of their numbers."""
    paths = [path for depth in ("", "*/", "*/*/") for path in folder.files.find(f"{depth}dataFile_*.txt")]
    releases: dict[str, list[str]] = {}
    for path in paths:
        if _number(path) is not None:
            releases.setdefault(path.rpartition("/")[0], []).append(path)
    # One shard shows the format of all; its other lines are checked when it is read.
    releases = {where: shards for where, shards in releases.items() if _is_shard(folder, shards[0])}
    where = _one("release of dataFile shards", releases, folder.options["release"].rstrip("/"), "release")
    return [] if where is None else sorted(releases[where], key=lambda path: (_number(path) or 0, path))


def _is_shard(folder: Folder, path: str) -> bool:
    whole = decoded(folder.head(path)).split("\n")
    return any(line.count("\t") == len(AUS) + 1 for line in (whole[:-1] or whole))


def _tables(folder: Folder) -> tuple[list[str], list[str]]:
    """Manual tables (workbooks by name, CSVs by header, the older CSV by name), and files that code something else."""
    found, others = [], []
    for path in (path for depth in ("", "*/", "*/*/") for path in folder.files.find(f"{depth}*")):
        name = path.rpartition("/")[2].lower()
        workbook = name.endswith(_WORKBOOKS) and "emotionet" in name and not name.startswith(("~", "."))
        if workbook or (name.endswith(".csv") and (name.startswith("emotionet_facs") or _names_aus(folder, path))):
            found.append(path)
            continue
        named = name.endswith((".csv", ".txt")) and name.startswith(("emotionet", "datafile_"))
        if named and _shows_pictures(folder, path) and not _is_shard(folder, path):
            others.append(path)
    return found, others


def _names_aus(folder: Folder, path: str) -> bool:
    try:
        return named_columns(header(folder.head(path))) is not None
    except DatasetError:
        return False


def _track_refused(paths: Sequence[str]) -> DatasetError:
    return DatasetError(
        "EmotioNet's expression track cannot be read without a code table (no-code-table)",
        found=", ".join(paths[:5]),
        expected="a TOML map that says which column is which and what each code means; its format is published nowhere",
        then="affect ingest emotionet PATH --map MAP.toml; affect info table shows a map",
    )


def _first_au(folder: Folder, path: str) -> int | None:
    """0-based column of AU 1 in a CSV whose header names no AUs; None where it does."""
    # URL, ...                              header, skipped
    # 'http://.../N_0000000003_00021.jpg',0,0,999,1,0,...        a second URL may follow the first [unverified]
    if path.lower().endswith(_WORKBOOKS) or _names_aus(folder, path):
        return None
    names = header(folder.head(path))
    first = folder.options["first-au"]
    if first and len(names) == int(first) - 1 + len(AUS):
        return int(first) - 1
    raise DatasetError(
        f"{path} names no AU columns",
        found=f"{len(names)} columns" + (f", and --first-au {first}" if first else ""),
        expected=f"--first-au 2 with {1 + len(AUS)} columns, or --first-au 3 with {2 + len(AUS)}",
        then="look at the file: the option is the number of the column that holds AU 1",
    )


def _one(what: str, found: Mapping[str, Sequence[str]], wanted: str, option: str) -> str | None:
    """The only one there is, or the one that the user chose."""
    if wanted and wanted not in found:
        raise DatasetError(f"--{option} {wanted}", found=", ".join(found) or f"no {what}", expected="one of them")
    if len(found) > 1 and not wanted:
        raise DatasetError(
            f"more than one {what} (ambiguous-variant)",
            found=", ".join(name or "the folder itself" for name in found),
            expected="one: they code the same pictures",
            then=f"add --{option} with one of them",
        )
    return wanted or next(iter(found), None)


def _is_manual(path: str, who: str) -> bool:
    return (_number(path) or 0) >= FIRST_MANUAL_SHARD if who == "by-number" else who == "human"


def _number(path: str) -> int | None:
    match = re.search(r"(?i)dataFile_([0-9]{1,6})\.txt$", path)
    return int(match[1]) if match else None


def _shows_pictures(folder: Folder, path: str) -> bool:
    return re.search(rb"N_[0-9]{10}_[0-9]{5}\.jpg", folder.head(path)) is not None
