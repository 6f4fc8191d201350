"""Workbooks as hospitals make them, and as nobody should: built here, each after the defect it has."""

from __future__ import annotations

import datetime as dt
import io
import struct
import zipfile
from collections.abc import Callable, Iterable, Sequence

import openpyxl
import xlwt
from openpyxl.worksheet.worksheet import Worksheet
from xlwt.CompoundDoc import XlsDoc


def xlsx(
    rows: Iterable[Sequence[object]],
    change: Callable[[openpyxl.Workbook, Worksheet], object] = lambda *_: None,
    title: str = "Sheet1",
) -> bytes:
    """An .xlsx file with these rows; `change` sees the workbook and its sheet before they are saved."""
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = title
    for row in rows:
        sheet.append(list(row))
    change(book, sheet)
    saved = io.BytesIO()
    book.save(saved)
    return saved.getvalue()


STYLES = {
    dt.datetime: xlwt.easyxf(num_format_str="yyyy-mm-dd hh:mm:ss"),
    dt.date: xlwt.easyxf(num_format_str="yyyy-mm-dd"),
}


def xls(
    rows: Iterable[Sequence[object]],
    change: Callable[[xlwt.Workbook, xlwt.Worksheet], object] = lambda *_: None,
    title: str = "Sheet1",
) -> bytes:
    """An .xls file with these rows."""
    book = xlwt.Workbook()
    sheet = book.add_sheet(title)
    for number, row in enumerate(rows):
        for column, value in enumerate(row):
            if value is not None:
                sheet.write(number, column, value, STYLES.get(type(value), xlwt.Style.default_style))
    change(book, sheet)
    saved = io.BytesIO()
    book.save(saved)
    return saved.getvalue()


def with_parts(workbook: bytes, parts: dict[str, bytes | Callable[[bytes], bytes]]) -> bytes:
    """The .xlsx file with some of its parts replaced, changed or added."""
    saved = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(workbook)) as old, zipfile.ZipFile(saved, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            change = parts.get(name, lambda content: content)
            new.writestr(name, change if isinstance(change, bytes) else change(old.read(name)))
        for name in parts.keys() - set(old.namelist()):
            new.writestr(name, parts[name])
    return saved.getvalue()


SHEET = "xl/worksheets/sheet1.xml"


def sparse_bomb(rows: Iterable[Sequence[object]]) -> bytes:
    """A few kilobytes whose last cell is that of the last column and row: 17 thousand million cells."""
    far = b'<row r="1048576"><c r="XFD1048576"><v>1</v></c></row></sheetData>'
    return with_parts(xlsx(rows), {SHEET: lambda sheet: sheet.replace(b"</sheetData>", far)})


def zip_bomb(rows: Iterable[Sequence[object]], size: int = 128 * 1024**2) -> bytes:
    """An .xlsx file that unpacks to a thousand times its size."""
    return with_parts(xlsx(rows), {"xl/media/image1.png": bytes(size)})


def lying_zip_bomb(rows: Iterable[Sequence[object]], size: int = 128 * 1024**2) -> bytes:
    """The same, in the sheet itself, with a directory that says it is small."""
    bomb = with_parts(xlsx(rows), {SHEET: lambda sheet: sheet.replace(b"<sheetData>", b"<sheetData>" + b" " * size)})
    with zipfile.ZipFile(io.BytesIO(bomb)) as archive:
        true = archive.getinfo(SHEET).file_size
    return bomb.replace(struct.pack("<I", true), struct.pack("<I", 2000))


def encrypted_xlsx() -> bytes:
    """What a password makes of an .xlsx file: an OLE container whose stream is `EncryptedPackage`."""
    saved = io.BytesIO()
    XlsDoc().save(saved, bytes(8192))
    plain, renamed = "Workbook", "EncryptedPackage"
    before = plain.encode("utf-16-le").ljust(64, b"\0") + struct.pack("<H", 2 * len(plain) + 2)
    after = renamed.encode("utf-16-le").ljust(64, b"\0") + struct.pack("<H", 2 * len(renamed) + 2)
    assert before in saved.getvalue()
    return saved.getvalue().replace(before, after)


def other_ole_document() -> bytes:
    """An OLE container of another program."""
    return encrypted_xlsx().replace("EncryptedPackage".encode("utf-16-le"), "WordDocumentData".encode("utf-16-le"))


def encrypted_xls(rows: Iterable[Sequence[object]]) -> bytes:
    """An .xls file with the record that says that the rest is encrypted, in place of the one that names the user."""
    workbook = xls(rows)
    name_of_user = struct.pack("<HH", 0x5C, 112)
    assert name_of_user in workbook
    return workbook.replace(name_of_user, struct.pack("<HH", 0x2F, 112))
