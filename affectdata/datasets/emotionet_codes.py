"""EmotioNet's annotation tables, whatever file holds them, as picture names and AU codes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from affectdata.datasets.emotionet_workbook import sheets
from affectdata.datasets.reading import Folder, Reject
from affectdata.datasets.text import CsvTable, as_mask, csv_table, integers
from manifests.errors import DatasetError
from manifests.vocabulary import au_column

AUS = tuple(range(1, 61))
"""AU n is field n + 1 of a shard, counted from 0 [verified 5]."""

_SHARD_COLUMNS = ("URL", "URL orig", *(f"AU {au}" for au in AUS))
_QUOTES = "'\" \t"
_NAME = r"(?:^|/)(?P<stem>N_[0-9]{10}_[0-9]{5})\.jpg$"
_PICTURE = r"(?i)(^|/)N_[0-9]{10}_[0-9]{5}\.jpg$"
_UNKNOWN = -1


@dataclass(frozen=True)
class Coded:
    """Rows of annotation tables.

    Args:
        stems: Name of the picture without its end, `N_0000000001_00003`.
        codes: AU - 1, row -> 0 absent, 1 present, -1 unknown; int8 [60, N].
    """

    stems: pa.Array
    codes: NDArray[np.int8]

    def filter(self, mask: NDArray[np.bool_]) -> Coded:
        """The rows of a mask."""
        return Coded(self.stems.filter(pa.array(mask)), self.codes[:, mask])

    def labels(self) -> pa.Table:
        """The AU columns; unknown is NULL."""
        return pa.table({au_column(au): pa.array(self.codes[au - 1], mask=self.codes[au - 1] < 0) for au in AUS})


def joined(parts: Iterable[Coded]) -> Coded:
    """The rows of several tables after each other."""
    several = [Coded(pa.array([], pa.string()), np.zeros((len(AUS), 0), np.int8)), *parts]
    return Coded(pa.concat_arrays([x.stems for x in several]), np.concatenate([x.codes for x in several], axis=1))


def read_shard(folder: Folder, path: str, reject: Reject) -> tuple[Coded, CsvTable]:
    """A `dataFile_<n>.txt`, and the URLs of its rows."""
    return folder.parsed(path, _shard, path, reject)


def _shard(data: bytes, about: str, reject: Reject) -> tuple[Coded, CsvTable]:
    # https://s3.../N_0000000007/N_0000000007_00012.jpg<TAB>http://example.org/a/b.jpg<TAB>0<TAB>0<TAB>999<TAB>1 ...
    # No header, 62 fields. An original URL may hold blanks and quotes: only TAB parts fields.
    table = csv_table(data.replace(b'"', b"'"), about, reject, names=_SHARD_COLUMNS, delimiter="\t")
    rows, table = coded(table, "URL", {au: f"AU {au}" for au in AUS}, reject)
    return rows, replace(table, columns={"URL": table.columns["URL"]})


def read_tables(folder: Folder, path: str, first: int | None, reject: Reject) -> Iterator[tuple[Coded, CsvTable]]:
    """Every sheet of a workbook, or a CSV; sheets without the columns are refused as `unknown-header`.

    Args:
        folder: The dataset's root.
        path: The file.
        first: For the older CSV without AU names: 0-based column of AU 1.
        reject: Takes rows, cells and sheets that do not fit.

    Raises:
        DatasetError: No sheet with a column `URL` and columns `AU <n>`.
    """
    tables: Iterable[CsvTable]
    if path.lower().endswith((".xlsx", ".xls")):
        tables = folder.parsed(path, sheets, path, reject)
    elif first is not None:
        # The names in the older header are not known, and need not differ.
        tables = [folder.parsed(path, _without_names, first + len(AUS), path, reject)]
    else:
        tables = [folder.parsed(path, csv_table, path, reject)]
    found = False
    for table in tables:
        names = list(table.columns)
        if first is not None:
            yield coded(table, names[0], dict(zip(AUS, names[first:], strict=True)), reject)
            found = True
        elif (known := named_columns(names)) is not None:
            yield coded(table, known[0], known[1], reject)
            found = True
        else:
            reject(table.about, "unknown-header", ", ".join(names)[:200])
    if not found:
        raise DatasetError(
            f"{path} is no EmotioNet table (unknown-header)",
            found="no sheet whose first row has the columns",
            expected="URL, URL orig, 'AU 1' ... 'AU 60'",
        )


def _without_names(data: bytes, columns: int, about: str, reject: Reject) -> CsvTable:
    body = data.lstrip(b"\r\n").partition(b"\n")[2]
    return csv_table(body, about, reject, names=[f"column {number + 1}" for number in range(columns)])


def named_columns(names: Sequence[str]) -> tuple[str, dict[int, str]] | None:
    """The URL column and AU -> column, from a header; None where there are no such columns.

    Raises:
        DatasetError: Two columns for one AU.
    """
    # URL,URL orig,'AU 1','AU 2', ... ,'AU 60'          with the apostrophes as part of the name
    url = ""
    aus: dict[int, str] = {}
    for name in names:
        plain = re.sub(r"\s", "", name.strip(_QUOTES)).lower()
        match = re.fullmatch(r"au0*([0-9]{1,2})", plain)
        if plain == "url":
            url = url or name
        elif match and int(match[1]) in AUS:
            if int(match[1]) in aus:
                raise DatasetError(f"two columns for AU {match[1]}", found=f"{aus[int(match[1])]!r} and {name!r}")
            aus[int(match[1])] = name
    return (url, aus) if url and aus else None


def coded(table: CsvTable, url: str, columns: Mapping[int, str], reject: Reject) -> tuple[Coded, CsvTable]:
    """Rows of a table with a picture's name, and those rows; the others are refused as `bad-name`."""
    # The 2020 table ends its URLs with a stray apostrophe, older ones are wrapped in one.
    tails = pc.utf8_trim(table.columns[url], _QUOTES)
    stems = pc.struct_field(pc.extract_regex(tails, _NAME), "stem")
    named = table.refuse(~as_mask(pc.is_valid(stems)), reject, "bad-name", url)
    if not named.all():
        table, stems = table.filter(named), stems.filter(pa.array(named))
    codes = np.full((len(AUS), len(stems)), _UNKNOWN, dtype=np.int8)
    codes[[au - 1 for au in columns]] = _codes(table, columns, reject)
    return Coded(stems, codes), table


def _codes(table: CsvTable, columns: Mapping[int, str], reject: Reject) -> NDArray[np.int8]:
    """0, 1, or -1 for 999 and for an empty cell; int8 [columns, rows]. Other values are refused by cell."""
    cells = pa.concat_arrays([table.columns[name] for name in columns.values()])
    index = pc.index_in(cells, value_set=pa.array(["0", "1", "999"]))
    found = np.array([0, 1, _UNKNOWN, _UNKNOWN], np.int8)[pc.fill_null(index, 3).to_numpy()]
    # A table that went through a spreadsheet may hold 1.0 or '1'.
    odd = np.flatnonzero(as_mask(pc.and_(pc.is_null(index), pc.is_valid(cells))))
    if len(odd):
        texts = cells.take(pa.array(odd))
        values, bad = integers(pc.utf8_trim(texts, _QUOTES))
        at = pc.index_in(values, value_set=pa.array([0, 1, 999]))
        found[odd] = np.array([0, 1, _UNKNOWN, _UNKNOWN], np.int8)[pc.fill_null(at, 3).to_numpy()]
        wrong = bad | as_mask(pc.and_(pc.is_null(at), pc.is_valid(values)))
        aus, rows = np.divmod(odd[wrong], max(1, len(table.rows)))
        numbers = np.array(list(columns))[aus]
        said = zip(numbers.tolist(), texts.filter(pa.array(wrong)).to_pylist(), strict=True)
        reject.many(table.where(rows), "unknown-code", (f"AU {au} {text!r:.40}" for au, text in said))
    codes: NDArray[np.int8] = found.reshape(len(columns), len(table.rows))
    return codes


def without_repeats(rows: Coded, reject: Reject) -> Coded:
    """One row per picture; where rows of a picture differ in an AU, it keeps none (`conflicting-duplicate`)."""
    first = pc.index_in(rows.stems, value_set=rows.stems).to_numpy()
    again = np.flatnonzero(first != np.arange(len(first)))
    if not len(again):
        return rows
    a, b = rows.codes[:, again], rows.codes[:, first[again]]
    unlike = ((a != b) & (a >= 0) & (b >= 0)).any(axis=0)
    names = np.array(rows.stems.to_pylist(), dtype=object)
    for reason, mask in (("conflicting-duplicate", unlike), ("duplicate-key", ~unlike)):
        reject.many(names[again[mask]], reason, ("listed again" for _ in again[mask]))
    codes = rows.codes.copy()
    codes[:, first[again[unlike]]] = _UNKNOWN
    return replace(rows, codes=codes).filter(first == np.arange(len(first)))


class Pictures:
    """Where each picture lies: mirrored (`Images/N_.../N_..._00003.jpg`), flat, or in a folder named as a shard."""

    def __init__(self, folder: Folder) -> None:
        paths = folder.files.paths()
        paths = paths.filter(pc.match_substring_regex(paths, _PICTURE))
        stems = pc.utf8_slice_codeunits(paths, -22, -4)
        groups = pc.utf8_slice_codeunits(paths, -35, -23)
        # Of two copies the mirrored one is read, then the first by path: the listing has no order of its own.
        flat = pc.not_equal(groups, pc.utf8_slice_codeunits(stems, 0, 12))
        keys = ("number", "flat", "path")
        table = pa.table({"number": _numbers(stems), "flat": flat, "path": paths})
        table = table.sort_by([(key, "ascending") for key in keys]).combine_chunks()
        self._numbers: NDArray[np.int64] = table.column("number").to_numpy()
        self._paths = table.column("path")

    def __len__(self) -> int:
        return len(self._paths)

    def paths(self, stems: pa.Array) -> pa.Array:
        """The path of each picture; where there is none, the one that mirrors its URL."""
        wanted = _numbers(stems).to_numpy()
        at = np.searchsorted(self._numbers, wanted)
        there = self._numbers[np.minimum(at, len(self._numbers) - 1)] == wanted
        found = self._paths.take(pa.array(at, mask=~there))
        groups = pc.utf8_slice_codeunits(stems, 0, 12)
        return pc.coalesce(found, pc.binary_join_element_wise("Images/", groups, "/", stems, ".jpg", ""))


def _numbers(stems: pa.Array) -> pa.Array:
    """`N_0000000001_00003` as 100003: an order that is searched faster than names are hashed for every shard."""
    digits = pc.binary_join_element_wise(pc.utf8_slice_codeunits(stems, 2, 12), pc.utf8_slice_codeunits(stems, 13), "")
    return pc.cast(digits, pa.int64())
