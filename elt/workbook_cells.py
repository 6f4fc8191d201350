"""What python-calamine does not tell of a workbook: how large its sheets are, and what some of their cells really hold.

Calamine returns nothing for a cell that shows an error or whose formula was never calculated, knows no number formats,
and unpacks and allocates whatever a file asks for. So the parts of the file are looked at first, as a stream. Runs in
the child process of `workbook_reader.py`, under its limits; rows and columns count from 0.
"""

from __future__ import annotations

import posixpath
import re
import struct
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import IO, Protocol
from xml.parsers import expat

import olefile

from elt.scanner import FileRefused
from elt.vocabulary import FileCode

# A full sheet of the widest feed; a cell takes about 90 bytes, so this stays below the child's limit.
MAX_CELLS = 16_000_000

MAX_UNPACKED_BYTES = 1024**3

# Sheets of real rows are 10 to 40 times smaller when packed; small parts may be more.
MAX_RATIO = 100
RATIO_COUNTS_FROM_BYTES = 64 * 1024**2

BLOCK_BYTES = 256 * 1024

SHOWN_ERRORS = {0: "#NULL!", 7: "#DIV/0!", 15: "#VALUE!", 23: "#REF!", 29: "#NAME?", 36: "#NUM!", 42: "#N/A"}

NEVER_CALCULATED = "=?"

Value = int | float | str | bool | time | date | datetime | timedelta


@dataclass
class SheetCells:
    """What is odd about the cells of one sheet, by row and column."""

    valueless: defaultdict[int, dict[int, str]] = field(default_factory=lambda: defaultdict(dict))
    """Cells without a value, and what stands in its place: an error, or `=?` for a formula never calculated."""
    zero_padded: defaultdict[int, dict[int, int]] = field(default_factory=lambda: defaultdict(dict))
    """Cells whose number is shown with leading zeros, and the number of digits shown."""


class Parts(Protocol):
    """The parts of a workbook file."""

    has_macros: bool

    def sheet(self, index: int) -> SheetCells:
        """Look at one sheet, without loading it; raises `FileRefused` (workbook_too_large) if it spans too much."""


@dataclass
class _Extent:
    """The rectangle that a parser will allocate for the cells seen."""

    top: int = 2**32
    bottom: int = -1
    left: int = 2**32
    right: int = -1

    def add(self, row: int, column: int) -> None:
        self.top, self.bottom = min(self.top, row), max(self.bottom, row)
        self.left, self.right = min(self.left, column), max(self.right, column)

    def assert_within_cap(self) -> None:
        """Raise `FileRefused` (workbook_too_large) where more would be allocated than a sheet may span."""
        cells = max(0, self.bottom - self.top + 1) * max(0, self.right - self.left + 1)
        if cells > MAX_CELLS:
            raise too_large(f"has a sheet that spans {cells} cells, more than {MAX_CELLS}")


def cell_text(value: Value) -> str:
    """A cell as text: numbers in full, never as `1e-07` or `7.0`; dates and times after ISO 8601."""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, int | float):
        text = str(int(value)) if isinstance(value, int) or value.is_integer() else repr(value)
        return f"{Decimal(text):f}" if "e" in text else text
    return value.isoformat(" ") if isinstance(value, datetime) else str(value)


def too_large(what: str) -> FileRefused:
    """The refusal of a workbook that would take more than a workbook may."""
    return FileRefused(
        FileCode.WORKBOOK_TOO_LARGE,
        f"the workbook {what}. Delete what lies outside the table, or split the file, or save it as CSV.",
    )


def no_workbook(what: str) -> FileRefused:
    """The refusal of a file that begins like a workbook and is none, or no whole one."""
    return FileRefused(
        FileCode.NOT_A_WORKBOOK, f"the file {what}. Open it in a spreadsheet program, save it as .xlsx, and drop that."
    )


class OoxmlParts:
    """The parts of an .xlsx file."""

    def __init__(self, file: IO[bytes]) -> None:
        self._zip = zipfile.ZipFile(file)
        entries = self._zip.infolist()
        names = {entry.filename for entry in entries}
        if "xl/workbook.xml" not in names:
            raise no_workbook("is a zip archive, but not a workbook in the format .xlsx")
        unpacked = sum(entry.file_size for entry in entries)
        packed = sum(entry.compress_size for entry in entries)
        if unpacked > MAX_UNPACKED_BYTES or unpacked > max(RATIO_COUNTS_FROM_BYTES, MAX_RATIO * packed):
            raise too_large(f"unpacks to {unpacked} bytes")
        self.has_macros = any(name.endswith("vbaProject.bin") for name in names)
        self._read_workbook()
        self._padding = self._read_zero_formats() if "xl/styles.xml" in names else {}

    def _read_workbook(self) -> None:
        targets = {
            given["Id"]: posixpath.normpath(posixpath.join("/xl", given["Target"])).lstrip("/")
            for name, given in self._elements("xl/_rels/workbook.xml.rels")
            if name == "Relationship"
        }
        self._sheets = []
        self._calculates_on_load = False
        for name, given in self._elements("xl/workbook.xml"):
            if name == "sheet":
                self._sheets.append(targets[next(given[key] for key in given if key.rpartition(":")[2] == "id")])
            elif name == "calcPr":
                self._calculates_on_load = given.get("fullCalcOnLoad") in {"1", "true"}

    def _read_zero_formats(self) -> dict[str, int]:
        """The cell styles that show leading zeros (`00000`), and the number of digits each shows."""
        digits: dict[str, int] = {}
        padding = {}
        style = -1
        for name, given in self._elements("xl/styles.xml"):
            if name == "numFmt" and re.fullmatch("00+", given.get("formatCode", "")):
                digits[given["numFmtId"]] = len(given["formatCode"])
            elif name == "cellXfs":
                style = 0
            elif name == "cellStyles":
                break
            elif name == "xf" and style >= 0:
                if given.get("numFmtId") in digits:
                    padding[str(style)] = digits[given["numFmtId"]]
                style += 1
        return padding

    def _elements(self, part: str) -> list[tuple[str, dict[str, str]]]:
        """Every element of a small part, in order: its name without prefix, and its attributes."""
        found: list[tuple[str, dict[str, str]]] = []
        parser = _parser()
        parser.StartElementHandler = lambda name, given: found.append((name.rpartition(":")[2], given))
        for block in self._blocks(part):
            parser.Parse(block)
        parser.Parse(b"", True)  # noqa: FBT003 (expat takes no name for it)
        return found

    def _blocks(self, part: str) -> Iterator[bytes]:
        with self._zip.open(part) as stream:
            while block := stream.read(BLOCK_BYTES):
                yield block

    def sheet(self, index: int) -> SheetCells:
        """See `Parts`."""
        part = self._sheets[index]
        if not self._padding and self._is_plain(part):
            return SheetCells()
        parser = _SheetParser(self._padding, self._calculates_on_load)
        parser.parse(self._blocks(part))
        parser.extent.assert_within_cap()
        return parser.cells

    def _is_plain(self, part: str) -> bool:
        """Whether a sheet, spelled as all common programs do, holds no formula and no error and spans few cells.

        Parsing it would cost more than loading it; what this cannot tell for sure is parsed.
        """
        columns: set[bytes] = set()
        bottom = 0
        rest = b""
        for block in self._blocks(part):
            piece, bracket, tag = (rest + block).rpartition(b"<")
            rest = bracket + tag
            if any(odd in piece for odd in (b"<f>", b"<f ", b'="e"', b"='e'", b"<!")):
                return False
            found = _CELL.findall(piece)
            if len(found) != piece.count(b"<c ") or b":c " in piece or b"<c>" in piece:
                return False
            columns.update(found)
            bottom = max(bottom, *map(int, _ROW.findall(piece)), 0)
        right = max((column_number(letters.decode()) for letters in columns), default=-1)
        return bool(columns) and bottom * (right + 1) <= MAX_CELLS


@dataclass
class _SheetParser:
    """Reads the XML of one sheet, whatever its spelling."""

    padding: dict[str, int]
    calculates_on_load: bool
    cells: SheetCells = field(default_factory=SheetCells)
    extent: _Extent = field(default_factory=_Extent)
    row: int = -1
    column: int = -1

    def parse(self, blocks: Iterable[bytes]) -> None:
        self._parser = _parser()
        self._parser.StartElementHandler, self._parser.EndElementHandler = self._start, self._end
        self._text: list[str] = []
        for block in blocks:
            self._parser.Parse(block)
        self._parser.Parse(b"", True)  # noqa: FBT003 (expat takes no name for it)

    def _start(self, name: str, given: dict[str, str]) -> None:
        name = name.rpartition(":")[2]
        if name == "c":
            self._cell, self._has_formula, self._has_value = given, False, False
            self._text.clear()
            place = _REFERENCE.fullmatch(given.get("r", ""))
            self.column = column_number(place[1]) if place else self.column + 1
            self.row = int(place[2]) - 1 if place else self.row
        elif name == "row":
            self.row, self.column = int(given.get("r", self.row + 2)) - 1, -1
        elif name == "f":
            self._has_formula = True
        elif name == "v":
            self._has_value = True
            self._parser.CharacterDataHandler = self._text.append
        elif name == "is":
            self.extent.add(self.row, self.column)

    def _end(self, name: str) -> None:
        name = name.rpartition(":")[2]
        if name == "v":
            self._parser.CharacterDataHandler = None
        elif name == "c":
            self._end_cell("".join(self._text), self._cell.get("t", "n"))

    def _end_cell(self, value: str, kind: str) -> None:
        if value or self._has_formula:
            self.extent.add(self.row, self.column)
        if kind == "e":
            self.cells.valueless[self.row][self.column] = value
        elif self._has_formula and self._is_uncalculated(value, kind):
            self.cells.valueless[self.row][self.column] = NEVER_CALCULATED
        elif kind == "n" and value and self._cell.get("s") in self.padding:
            self.cells.zero_padded[self.row][self.column] = self.padding[self._cell["s"]]

    def _is_uncalculated(self, value: str, kind: str) -> bool:
        if self.calculates_on_load and value in {"", "0"}:
            return True  # A program that asks for a calculation on opening has written 0, or nothing, for a value.
        is_empty_text = kind == "str" and self._has_value
        return not value and not is_empty_text


_CELL = re.compile(rb'<c r="([A-Z]{1,3})[0-9]{1,7}"')
_ROW = re.compile(rb'<row (?:[^>]*? )?r="([0-9]{1,7})"')
_REFERENCE = re.compile("([A-Z]{1,3})([0-9]{1,7})")


def column_number(letters: str) -> int:
    """`A` is 0, `AA` is 26."""
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - 64
    return number - 1


def _parser() -> expat.XMLParserType:
    """A parser that takes no document type: a workbook has none, and all that XML can be abused for is in there."""

    def refuse(*_: object) -> None:
        raise no_workbook("holds a document type declaration, which no workbook has")

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = refuse
    return parser


# Records of the format .xls ([MS-XLS] 2.3); each is its number, its size, and its content.
BOF, EOF, FILEPASS, BOUNDSHEET, FORMAT, XF = 0x809, 0x0A, 0x2F, 0x85, 0x41E, 0xE0
FORMULA, BOOLERR, NUMBER, RK, MULRK, LABEL, LABELSST = 0x06, 0x205, 0x203, 0x27E, 0xBD, 0x204, 0xFD
CELL_RECORDS = {FORMULA, BOOLERR, NUMBER, RK, MULRK, LABEL, LABELSST}


class BiffParts:
    """The parts of an .xls file: a stream of records, the workbook's own first, then those of each sheet."""

    def __init__(self, file: IO[bytes]) -> None:
        with olefile.OleFileIO(file) as ole:
            if ole.exists("EncryptedPackage"):
                raise encrypted()
            name = next((name for name in ("Workbook", "Book") if ole.exists(name)), None)
            if name is None:
                raise no_workbook("is a document of another kind than a workbook")
            self.has_macros = ole.exists("_VBA_PROJECT_CUR")
            self._stream = ole.openstream(name).read()
        self._offsets = []
        self._padding = {}
        digits = {}
        styles = 0
        for record, content in self._records(0):
            if record == FILEPASS:
                raise encrypted()
            if record == BOUNDSHEET:
                self._offsets.append(struct.unpack_from("<I", content)[0])
            elif record == FORMAT and (zeros := re.fullmatch(rb".{4}\0(00+)", content, re.DOTALL)):
                digits[content[:2]] = len(zeros[1])
            elif record == XF:
                if content[2:4] in digits:
                    self._padding[styles] = digits[content[2:4]]
                styles += 1

    def _records(self, position: int) -> Iterator[tuple[int, bytes]]:
        """The records from one beginning to its end; those of a chart that lies within are left out."""
        depth = 0
        while True:
            record, size = struct.unpack_from("<HH", self._stream, position)
            depth += (record == BOF) - (record == EOF)
            if depth == 0:
                return
            if depth == 1:
                yield record, self._stream[position + 4 : position + 4 + size]
            position += 4 + size

    def sheet(self, index: int) -> SheetCells:
        """See `Parts`."""
        cells, extent = SheetCells(), _Extent()
        for record, content in self._records(self._offsets[index]):
            if record not in CELL_RECORDS:
                continue
            row, column, style = struct.unpack_from("<HHH", content)
            extent.add(row, column)
            if record == BOOLERR and content[7]:
                cells.valueless[row][column] = SHOWN_ERRORS.get(content[6], "#ERROR!")
            elif record == FORMULA and content[12:14] == b"\xff\xff" and content[6] == 2:
                cells.valueless[row][column] = SHOWN_ERRORS.get(content[8], "#ERROR!")
            elif record == MULRK:
                extent.add(row, column + (len(content) - 12) // 6)
                for offset in range((len(content) - 6) // 6):
                    style = struct.unpack_from("<H", content, 4 + 6 * offset)[0]
                    if style in self._padding:
                        cells.zero_padded[row][column + offset] = self._padding[style]
            elif record in {NUMBER, RK} and style in self._padding:
                cells.zero_padded[row][column] = self._padding[style]
        extent.assert_within_cap()
        return cells


def encrypted() -> FileRefused:
    """The refusal of a workbook that only a password opens."""
    return FileRefused(
        FileCode.ENCRYPTED_WORKBOOK,
        "the workbook is protected by a password. Save it without one, and drop it again.",
    )
