"""The sheets of an .xlsx workbook as columns of text, read as a stream and without trusting it.

A workbook is a zip of XML parts (ECMA-376): `xl/workbook.xml` names the sheets, its `.rels` part says where each lies,
`xl/sharedStrings.xml` holds each text once. Only these are read: no formula is computed, no link followed, no DTD
allowed, and what unpacks to more than `MAX_UNPACKED` is refused. That is all that a table of codes needs, and spares
every user a dependency for the sake of one file.
"""

from __future__ import annotations

import io
import posixpath
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import IO
from xml.parsers import expat

import numpy as np
import pyarrow as pa

from affectdata.datasets.reading import Reject
from affectdata.datasets.text import CsvTable, check_names
from manifests.errors import DatasetError

MAX_UNPACKED = 1 << 29
"""Bytes of one unpacked part; the sheet of 24,600 rows and 62 columns has about 60 million."""

_OLE = bytes.fromhex("d0cf11e0a1b11ae1")
"""Start of an encrypted workbook (and of an .xls of before 2007): a container of another format."""

_BROKEN = (zipfile.BadZipFile, zlib.error, expat.ExpatError, OSError, EOFError, KeyError, ValueError,
           LookupError, RuntimeError, NotImplementedError)  # fmt: skip

Start = Callable[[str, Mapping[str, str]], None]
End = Callable[[str], None]


def sheets(data: bytes, about: str, reject: Reject) -> Iterator[CsvTable]:
    """Every sheet that holds a cell; its first row that is not empty names the columns.

    Args:
        data: The workbook.
        about: Its name for messages.
        reject: Takes rows with a cell beyond the named columns as `bad-field-count`.

    Raises:
        DatasetError: Protected, no workbook, or larger than `MAX_UNPACKED` when unpacked.
    """
    try:
        if data.startswith(_OLE):
            raise _protected(about)
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if any(info.flag_bits & 1 for info in archive.infolist()):
                raise _protected(about)
            texts = _shared_strings(archive, about)
            for name, part in _sheet_parts(archive, about):
                sheet = _Sheet(texts)
                _parse(archive, part, about, sheet.start, sheet.end, sheet.text)
                if sheet.names:
                    yield sheet.table(f"{about} sheet {name}", reject)
    except _BROKEN as error:
        raise DatasetError(
            f"{about} cannot be read as a workbook (not-an-archive)",
            found=f"{type(error).__name__}: {error}",
            expected="an .xlsx file",
            then="open it in a spreadsheet and save it again as .xlsx, or as .csv",
        ) from None


class _Sheet:
    """Takes the parse events of one sheet and keeps the cells as columns of text."""

    # <row r="2"><c r="A2" t="s"><v>62</v></c><c r="C2"><v>0</v></c></row>
    # <c r="B2" t="inlineStr"><is><t>text</t></is></c>            t: s shared, n or none number, str, b, e
    def __init__(self, texts: list[str]) -> None:
        self.names: dict[int, str] = {}
        self._texts = texts
        self._columns: dict[int, list[str | None]] = {}
        self._count = 0
        self._kept: list[int] = []
        self._beyond: list[tuple[int, str]] = []
        self._row: dict[int, str] = {}
        self._place, self._kind = -1, ""
        self._pieces: list[str] | None = None
        self._value = ""

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        if tag == "c":
            place = attributes.get("r")
            self._place = self._place + 1 if place is None else _column_number(place)
            self._kind, self._value = attributes.get("t", "n"), ""
        elif tag == "v" or tag == "t":
            self._pieces = []
        elif tag == "row":
            self._row, self._place = {}, -1

    def text(self, text: str) -> None:
        if self._pieces is not None:
            self._pieces.append(text)

    def end(self, tag: str) -> None:
        if self._pieces is not None and (tag == "v" or tag == "t"):
            self._value += "".join(self._pieces)
            self._pieces = None
        elif tag == "c":
            value = self._texts[int(self._value)] if self._kind == "s" and self._value else self._value
            if value:
                self._row[self._place] = value
        elif tag == "row" and self._row:
            self._end_row()

    def table(self, about: str, reject: Reject) -> CsvTable:
        """The sheet's rows under its header, those with a cell beyond the header refused."""
        names = list(self.names.values())
        check_names(names, about)
        where = (f"{about} row {row}" for row, _ in self._beyond)
        reject.many(where, "bad-field-count", (detail for _, detail in self._beyond))
        columns = {name: pa.array(self._columns[place], pa.string()) for place, name in self.names.items()}
        return CsvTable(columns, np.array(self._kept, dtype=np.int64), about)

    def _end_row(self) -> None:
        if not self.names:
            self.names = {place: name.strip() for place, name in sorted(self._row.items()) if name.strip()}
            self._columns = {place: [] for place in self.names}
            return
        if beyond := [text for place, text in self._row.items() if place not in self._columns]:
            self._beyond.append((self._count, f"{len(self._row)} cells, beyond the header: {beyond[0]:.80}"))
        else:
            self._kept.append(self._count)
            get = self._row.get
            for place, column in self._columns.items():
                column.append(get(place))
        self._count += 1


def _shared_strings(archive: zipfile.ZipFile, about: str) -> list[str]:
    # <sst><si><t>URL</t></si><si><r><t>rich </t></r><r><t>text</t></r><rPh><t>reading aid</t></rPh></si></sst>
    part = "xl/sharedStrings.xml"
    if part not in archive.namelist():
        return []
    found: list[str] = []
    pieces: list[str] = []
    inside = {"t": 0, "rPh": 0}

    def start(tag: str, _: Mapping[str, str]) -> None:
        if tag in inside:
            inside[tag] += 1

    def end(tag: str) -> None:
        if tag in inside:
            inside[tag] -= 1
        elif tag == "si":
            found.append("".join(pieces))
            pieces.clear()

    def text(text: str) -> None:
        if inside["t"] and not inside["rPh"]:
            pieces.append(text)

    _parse(archive, part, about, start, end, text)
    return found


def _sheet_parts(archive: zipfile.ZipFile, about: str) -> list[tuple[str, str]]:
    """Name and part of every worksheet, in the order of the tabs."""
    # workbook.xml        <sheet name="Sheet1" sheetId="1" r:id="rId1"/>
    # workbook.xml.rels   <Relationship Id="rId1" Type=".../worksheet" Target="worksheets/sheet1.xml"/>
    named: list[tuple[str, str]] = []
    targets: dict[str, str] = {}

    def sheet(tag: str, attributes: Mapping[str, str]) -> None:
        if tag == "sheet":
            key = next((value for name, value in attributes.items() if name.endswith(" id")), "")
            named.append((attributes.get("name", ""), key))

    def relation(tag: str, attributes: Mapping[str, str]) -> None:
        if tag == "Relationship" and attributes.get("Type", "").endswith("/worksheet"):
            targets[attributes.get("Id", "")] = posixpath.join("/xl", attributes.get("Target", ""))

    _parse(archive, "xl/workbook.xml", about, sheet, _nothing, _nothing)
    _parse(archive, "xl/_rels/workbook.xml.rels", about, relation, _nothing, _nothing)
    return [(name, posixpath.normpath(targets[key]).lstrip("/")) for name, key in named if key in targets]


def _parse(archive: zipfile.ZipFile, part: str, about: str, start: Start, end: End, text: End) -> None:
    """Give the tags (without namespace) and texts of one part to three functions."""
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartElementHandler = lambda tag, attributes: start(tag[tag.rfind(" ") + 1 :], attributes)
    parser.EndElementHandler = lambda tag: end(tag[tag.rfind(" ") + 1 :])
    parser.CharacterDataHandler = text

    def refuse(*_: object) -> None:
        raise DatasetError(f"{about} declares a document type in {part} (unsafe-file)", expected="none in a workbook")

    parser.StartDoctypeDeclHandler = refuse
    with archive.open(part) as file:
        for piece in _bounded(file, about):
            parser.Parse(piece)
        parser.Parse(b"", True)


def _bounded(file: IO[bytes], about: str) -> Iterator[bytes]:
    done = 0
    while piece := file.read(1 << 20):
        done += len(piece)
        if done > MAX_UNPACKED:
            raise DatasetError(
                f"{about} unpacks to more than {MAX_UNPACKED:,} bytes (unsafe-file)",
                expected="about 60 million bytes for 24,600 rows of 62 columns",
                then="open it in a spreadsheet and save it as .csv",
            )
        yield piece


def _column_number(place: str) -> int:
    """0-based column of a cell such as `AB12`."""
    match = re.match("[A-Z]{1,3}", place)
    if match is None:
        raise ValueError(f"a cell at {place!r:.40}")
    number = 0
    for letter in match[0]:
        number = number * 26 + ord(letter) - 64
    return number - 1


def _protected(about: str) -> DatasetError:
    return DatasetError(
        f"{about} is protected by a password (protected-file)",
        found="an encrypted container, or an .xls of before 2007",
        expected="an .xlsx without password",
        then="open it with the password that came with the dataset and save it without one as .xlsx, or as .csv",
    )


def _nothing(_: str) -> None:
    """Take no notice."""
