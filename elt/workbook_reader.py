"""The child process that reads a workbook: a file from a hospital is parsed here, under limits, and nowhere else.

Standard input is the file, the only argument a JSON object `feed`, `layout`, `required`, `labels`. Standard output is
frames of a letter, a length and a payload: `H` header and what is to be told of the file, then `B` COPY blocks as those
of `scanner.Scan`, then `E` counts; or `R` code and message of a refusal. Nothing is ever written to standard error:
what a parser says about a file may hold its values.
"""

from __future__ import annotations

import csv
import io
import json
import resource
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO
from xml.parsers.expat import ExpatError

import python_calamine as calamine

from elt import kh03
from elt.header import QUARANTINE_ID, fold_header
from elt.scanner import FileRefused
from elt.vocabulary import FileCode, Layout, RowCode
from elt.workbook_cells import (
    BLOCK_BYTES,
    BiffParts,
    OoxmlParts,
    Parts,
    Value,
    cell_text,
    encrypted,
    no_workbook,
    too_large,
)

MEMORY_BYTES = 2 * 1024**3
CPU_SECONDS = 300

FRAME = struct.Struct(">cI")

# A spreadsheet keeps this many digits of a number, and puts zeros for the rest.
KEPT_DIGITS = 15

# What the parsers raise for a file that is cut short or put together wrongly.
DAMAGED = (
    calamine.CalamineError,
    zipfile.BadZipFile,
    zlib.error,
    ExpatError,
    struct.error,
    EOFError,
    LookupError,
    NotImplementedError,
    OSError,
    RuntimeError,
    ValueError,
)


def main() -> None:
    """Read the workbook on standard input."""
    _limit()
    request = json.loads(sys.argv[1])
    output = sys.stdout.buffer

    def emit(kind: bytes, payload: bytes) -> None:
        output.write(FRAME.pack(kind, len(payload)) + payload)
        output.flush()

    try:
        _read(sys.stdin.buffer, request, emit)
    except FileRefused as refusal:
        emit(b"R", json.dumps({"code": refusal.code, "message": str(refusal)}).encode())


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 5))
    if sys.platform == "linux":  # macOS knows the limit and does not keep it.
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))


def _read(file: BinaryIO, request: dict[str, Any], emit: Callable[[bytes, bytes], None]) -> None:
    """Emit the frames of the one sheet that holds the feed; raises `FileRefused`, whatever the file is."""
    try:
        is_zip = file.read(4) == b"PK\x03\x04"
        parts: Parts = OoxmlParts(file) if is_zip else BiffParts(file)
        file.seek(0)
        with calamine.CalamineWorkbook.from_filelike(file) as workbook:
            table: _Table | kh03.Return
            if request["layout"] == Layout.KH03 and not _is_correction(workbook, parts):
                table, warnings = _choose_return(workbook, parts)
            else:
                table, warnings = _choose(workbook, parts, request["feed"], set(request["required"]))
            told = {"header": table.header, "place": table.place, "warnings": warnings}
            emit(b"H", json.dumps(told).encode())
            for block in table.blocks(tuple(request["labels"])):
                emit(b"B", block)
            counts = {"records": table.records, "rejects": table.rejects, "warnings": table.warnings}
            emit(b"E", json.dumps(counts).encode())
    except calamine.PasswordError:
        raise encrypted() from None
    except MemoryError:
        raise too_large(f"takes more than {MEMORY_BYTES} bytes of memory") from None
    except BrokenPipeError:
        raise
    except DAMAGED:
        raise no_workbook("is damaged or cut short") from None


def _choose(
    workbook: calamine.CalamineWorkbook, parts: Parts, feed: str, required: set[str]
) -> tuple[_Table, list[str]]:
    """The sheet named like the feed, else the only one with its header, else the only one; and what was left aside."""
    visible, hidden = _visible(workbook)
    named = [index for index in visible if fold_header(workbook.sheet_names[index]) == feed]
    candidates = named or visible
    if len(candidates) > 1:
        headers = {index: _Table(workbook, parts, index).header for index in candidates}
        candidates = [index for index in candidates if required <= set(map(fold_header, headers[index]))]
    if len(candidates) != 1:
        found = f"{len(candidates)} sheets have" if candidates else "no sheet has"
        aside = f" ({hidden} hidden sheets are not looked at)" if hidden else ""
        raise FileRefused(
            FileCode.NO_HEADER,
            f"{found} the header of the feed {feed} in the first row that is not empty{aside}."
            f" Name the sheet that holds it {feed}, with its header on top.",
        )
    warnings = _left_aside(hidden, parts)
    if len(visible) > 1:
        warnings.append(f"other sheets, which were not read: {len(visible) - 1}")
    return _Table(workbook, parts, candidates[0]), warnings


def _visible(workbook: calamine.CalamineWorkbook) -> tuple[list[int], int]:
    """The sheets of cells that are visible, and the number of those that are hidden."""
    visible, hidden = [], 0
    for index, sheet in enumerate(workbook.sheets_metadata):
        if sheet.visible is not calamine.SheetVisibleEnum.Visible:
            hidden += 1
        elif sheet.typ is calamine.SheetTypeEnum.WorkSheet:
            visible.append(index)
    return visible, hidden


def _left_aside(hidden: int, parts: Parts) -> list[str]:
    warnings = []
    if hidden:
        warnings.append(f"hidden sheets, which were not read: {hidden}")
    if parts.has_macros:
        warnings.append("macros, which were not run")
    return warnings


def _is_correction(workbook: calamine.CalamineWorkbook, parts: Parts) -> bool:
    """Whether rows of a quarantine export come back."""
    visible, _ = _visible(workbook)
    return any(QUARANTINE_ID in _Table(workbook, parts, index).header for index in visible)


def _choose_return(workbook: calamine.CalamineWorkbook, parts: Parts) -> tuple[kh03.Return, list[str]]:
    """The sheet of a KH03 provider return, and what was left aside."""
    visible, hidden = _visible(workbook)
    sheets = []
    for index in visible:
        cells, sheet = parts.sheet(index), workbook.get_sheet_by_index(index)
        rows = list(sheet.iter_rows())
        merged = bytearray(len(rows))
        for (top, left), (bottom, right) in sheet.merged_cell_ranges or []:
            if (top, left) != (bottom, right):
                merged[top : bottom + 1] = b"\1" * len(merged[top : bottom + 1])
        sheets.append((index + 1, kh03.Sheet(rows, sheet.start[1] if sheet.start else 0, cells.valueless, merged)))
    names = [workbook.sheet_names[index] for index in visible]
    return kh03.choose(sheets, names, hidden), _left_aside(hidden, parts)


@dataclass
class _Table:
    """One sheet as a table: its first row that is not empty is the header, every later one a record.

    A row is numbered as in the sheet. A row that is empty is no record.
    """

    workbook: calamine.CalamineWorkbook
    parts: Parts
    index: int
    header: list[str] = field(init=False)
    place: str = field(init=False)
    records: int = field(init=False, default=0)
    rejects: int = field(init=False, default=0)
    long_numbers: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self._cells = self.parts.sheet(self.index)
        self._sheet = self.workbook.get_sheet_by_index(self.index)
        self._left = self._sheet.start[1] if self._sheet.start else 0
        rows = enumerate(self._sheet.iter_rows(), 1)
        self._header_row, cells = next(((number, row) for number, row in rows if not _is_empty(row)), (1, []))
        self.place = f"sheet {self.index + 1} row {self._header_row}"
        names = [self._text(cell) for cell in cells]
        self._columns = [position for position, name in enumerate(names) if name.strip()]
        self.header = [names[position] for position in self._columns]

    @property
    def warnings(self) -> list[str]:
        """What is to be told of the rows, after `blocks()`."""
        if not self.long_numbers:
            return []
        advice = f"of which a spreadsheet keeps {KEPT_DIGITS} (format such columns as text)"
        return [f"numbers of more than {KEPT_DIGITS} digits, {advice}: {self.long_numbers}"]

    def blocks(self, labels: tuple[int, ...]) -> Iterator[bytes]:
        """COPY blocks, as those of `scanner.Scan`."""
        merged = self._merged_rows()
        outside = [position for position in range(self._sheet.width) if position not in self._columns]
        blank: list[Value] = [""] * self._sheet.width
        buffer = io.StringIO(newline="")
        # PostgreSQL wants a carriage return within a field quoted; Python quotes it where it is part of the line end.
        writer = csv.writer(buffer, lineterminator="\r\n")
        valueless = self._cells.valueless
        for number, row in self._rows(blank):
            odd = valueless.get(number - 1)
            if row == blank and odd is None:
                continue
            self.records += 1
            texts = [cell if type(cell) is str else self._text(cell) for cell in row]
            if padded := self._cells.zero_padded.get(number - 1):
                self._pad(texts, padded)
            if odd is not None:
                code: RowCode | None = RowCode.CELL_WITHOUT_VALUE
            elif merged[number - 1 : number] == b"\1":
                code = RowCode.MERGED_CELLS
            elif outside and any(texts[position] for position in outside):
                code = RowCode.WRONG_COLUMN_COUNT
            elif "\0" in "".join(texts):
                code = RowCode.NUL_BYTE
            else:
                code = None
            if code is None:
                fields = [texts[position] for position in self._columns] if outside else texts
                writer.writerow((number, *labels, "", "", *fields))
            else:
                self.rejects += 1
                writer.writerow((number, *labels, code, self._reject_text(texts, odd), *[""] * len(self._columns)))
            if buffer.tell() > BLOCK_BYTES:
                yield buffer.getvalue().encode()
                buffer.seek(0)
                buffer.truncate()
        yield buffer.getvalue().encode()

    def _rows(self, blank: list[Value]) -> Iterator[tuple[int, Sequence[Value]]]:
        """The rows below the header; those of which calamine knows nothing, as no cell has a value, come last."""
        number = 0
        for number, row in enumerate(self._sheet.iter_rows(), 1):
            if number > self._header_row:
                yield number, row
        yield from ((row + 1, blank) for row in sorted(self._cells.valueless) if row >= number)

    def _merged_rows(self) -> bytearray:
        """A mark for each row that merged cells of the table's columns lie in."""
        marks = bytearray(self._sheet.end[0] + 1 if self._sheet.end else 0)
        last_column = self._left + max(self._columns, default=-1)
        for (top, left), (bottom, right) in self._sheet.merged_cell_ranges or []:
            if (top, left) != (bottom, right) and left <= last_column and right >= self._left:
                stop = min(bottom + 1, len(marks))
                marks[top:stop] = b"\1" * max(0, stop - top)
        return marks

    def _pad(self, texts: list[str], padded: dict[int, int]) -> None:
        for column, digits in padded.items():
            position = column - self._left
            if 0 <= position < len(texts) and texts[position].isdigit():
                texts[position] = texts[position].zfill(digits)

    def _reject_text(self, texts: list[str], odd: dict[int, str] | None) -> str:
        """The row as a line of CSV, with what stands in its cells without value."""
        shown = dict(enumerate(texts, self._left)) | (odd or {})
        line = io.StringIO(newline="")
        csv.writer(line, lineterminator="").writerow(
            shown.get(column, "") for column in range(self._left, max(shown) + 1)
        )
        return line.getvalue().replace("\0", "\\x00")

    def _text(self, value: Value) -> str:
        if isinstance(value, int | float) and abs(value) >= 10**KEPT_DIGITS:
            self.long_numbers += 1
        return cell_text(value)


def _is_empty(row: Sequence[Value]) -> bool:
    return all(cell == "" for cell in row)


if __name__ == "__main__":
    main()
