"""Workbooks: each cell as the text it stands for, each row numbered as in its sheet, and no trap stepped into."""

from __future__ import annotations

import csv
import datetime as dt
import io
import os
import zipfile
from functools import partial

import pytest
import xlwt
from openpyxl.utils.datetime import CALENDAR_MAC_1904
from xlwt.Style import default_style

from elt import workbook
from elt.contract import contract
from elt.scanner import FileRefused
from elt.workbook import Workbook, is_workbook
from tests.workbooks import (
    SHEET,
    encrypted_xls,
    encrypted_xlsx,
    lying_zip_bomb,
    other_ole_document,
    sparse_bomb,
    with_parts,
    xls,
    xlsx,
    zip_bomb,
)

HEADER = ["name", "state", "lga"]
ROWS = [HEADER, ["Ikeja Hospital", "Lagos", "Ikeja"]]


def read(data: bytes, feed: str = "facilities") -> tuple[Workbook, list[list[str]]]:
    """Read a workbook; returns the pass over it and its COPY rows."""
    assert is_workbook(data)
    with Workbook([data], (), contract(feed)) as found:
        copied = b"".join(found.blocks()).decode()
    rows = list(csv.reader(io.StringIO(copied, newline=""), strict=True))
    assert (found.records, found.rejects) == (len(rows), len([row for row in rows if row[1]]))
    return found, rows


def good(rows: list[list[str]]) -> list[tuple[int, list[str]]]:
    return [(int(row[0]), row[3:]) for row in rows if not row[1]]


def rejects(rows: list[list[str]]) -> list[tuple[int, str, str]]:
    return [(int(row[0]), row[1], row[2]) for row in rows if row[1]]


def refusal(data: bytes, feed: str = "facilities") -> str:
    with pytest.raises(FileRefused) as refused:
        read(data, feed)
    return refused.value.code


both = pytest.mark.parametrize("make", [xlsx, xls], ids=["xlsx", "xls"])


@both
def test_rows_are_numbered_as_in_the_sheet_and_empty_ones_are_none(make):
    found, rows = read(make([[], [], [None, *HEADER], [], [None, "A", "B", "C"], [], [None, None, "B"]]))
    assert (found.header, found.place) == (HEADER, "sheet 1 row 3")
    assert good(rows) == [(5, ["A", "B", "C"]), (7, ["", "B", ""])]


@both
@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("007", "007"),
        (8012345678, "8012345678"),
        (2348012345678, "2348012345678"),
        (7.0, "7"),
        (-0.5, "-0.5"),
        (6.6018, "6.6018"),
        (0.0000001, "0.0000001"),
        (1e21, "1000000000000000000000"),
        (0, "0"),
        (True, "TRUE"),
        (False, "FALSE"),
        (dt.date(2025, 1, 15), "2025-01-15"),
        (dt.date(1900, 1, 15), "1900-01-15"),
        (dt.datetime.fromisoformat("2025-01-15 09:30:00"), "2025-01-15 09:30:00"),
        (dt.datetime.fromisoformat("1999-12-31 23:59:59"), "1999-12-31 23:59:59"),
        ('say "hi",\nO\'Neil', 'say "hi",\nO\'Neil'),
        ("Ọlá Ẹ̀bùn 🏥", "Ọlá Ẹ̀bùn 🏥"),
        ("\\.", "\\."),
        ("=1+1 as text", "=1+1 as text"),
    ],
)
def test_a_cell_becomes_the_text_it_stands_for(make, value, text):
    if value == "=1+1 as text" and make is xlsx:
        make = partial(xlsx, change=lambda _, sheet: setattr(sheet["B2"], "data_type", "s"))
    assert good(read(make([HEADER, ["A", value, "C"]]))[1]) == [(2, ["A", text, "C"])]


def test_every_second_of_a_day_arrives_as_it_was_written():
    midnight = dt.datetime.fromisoformat("2024-02-29")
    times = [midnight + dt.timedelta(seconds=step * 61) for step in range(1416)]
    _, rows = read(xlsx([HEADER, *(["A", "B", time] for time in times[1:])]))
    assert [fields[2] for _, fields in good(rows)] == [str(time) for time in times[1:]]


def epoch_of_1904(book, _):
    book.epoch = CALENDAR_MAC_1904


def test_xlsx_dates_counted_from_1904():
    rows = [HEADER, ["A", dt.date(2025, 1, 15), dt.datetime.fromisoformat("2025-01-15 09:30:00")]]
    data = xlsx(rows, epoch_of_1904)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert b'date1904="1"' in archive.read("xl/workbook.xml")
    assert good(read(data)[1]) == [(2, ["A", "2025-01-15", "2025-01-15 09:30:00"])]


def test_xls_dates_counted_from_1904():
    # xlwt writes the mark and counts from 1900 all the same: the file means days that are 1462 later.
    data = xls([HEADER, ["A", dt.date(2021, 1, 14), "C"]], lambda book, _: setattr(book, "dates_1904", True))
    assert good(read(data)[1]) == [(2, ["A", "2025-01-15", "C"])]


def numbers_shown_with_zeros_xlsx(_, sheet):
    sheet["A2"].number_format = "00000000000"
    sheet["B2"].number_format = "000"


def test_xlsx_numbers_shown_with_leading_zeros_keep_them():
    data = xlsx([HEADER, [8012345678, 7, 7]], numbers_shown_with_zeros_xlsx)
    assert good(read(data)[1]) == [(2, ["08012345678", "007", "7"])]


def test_xls_numbers_shown_with_leading_zeros_keep_them():
    def numbers(_, sheet):
        sheet.write(1, 0, 8012345678, xlwt.easyxf(num_format_str="00000000000"))
        sheet.write(1, 1, 7, xlwt.easyxf(num_format_str="000"))
        sheet.write(1, 2, 7)

    assert good(read(xls([HEADER], numbers))[1]) == [(2, ["08012345678", "007", "7"])]


def test_numbers_longer_than_a_spreadsheet_keeps_are_mentioned():
    found, rows = read(xlsx([HEADER, ["A", 1234567890123450, "C"]]))
    assert good(rows) == [(2, ["A", "1234567890123450", "C"])]
    assert found.warnings == [
        "numbers of more than 15 digits, of which a spreadsheet keeps 15 (format such columns as text): 1"
    ]


def test_formulas_never_calculated_fail_their_rows():
    found, rows = read(xlsx([HEADER, ["A", "B", '="C"&"D"'], ["A", "B", "C"], ["=1+1", None, None]]))
    assert rejects(rows) == [(2, "cell_without_value", "A,B,=?"), (4, "cell_without_value", "=?,,")]
    assert good(rows) == [(3, ["A", "B", "C"])]
    assert found.records == 3


def calculated(book, _):
    book.calculation.fullCalcOnLoad = False


@pytest.mark.parametrize(
    ("cached", "kind", "text"),
    [
        (b"<v>5</v>", b"", "5"),
        (b"<v>five</v>", b' t="str"', "five"),
        (b"<v></v>", b' t="str"', ""),
        (b"<v>0</v>", b"", "0"),
    ],
)
def test_formulas_give_the_value_last_calculated(cached, kind, text):
    data = with_parts(xlsx([HEADER, ["A", "B", 5]], calculated), {SHEET: formula_in_c2(cached, kind)})
    assert good(read(data)[1]) == [(2, ["A", "B", text])]


def formula_in_c2(cached: bytes, kind: bytes = b""):
    def change(sheet: bytes) -> bytes:
        changed = sheet.replace(b'<c r="C2" t="n"><v>5</v></c>', b'<c r="C2"%b><f>2+3</f>%b</c>' % (kind, cached))
        assert changed != sheet
        return changed

    return change


def test_a_zero_that_is_to_be_calculated_on_opening_is_no_value():
    data = with_parts(xlsx([HEADER, ["A", "B", 5]]), {SHEET: formula_in_c2(b"<v>0</v>")})
    assert rejects(read(data)[1]) == [(2, "cell_without_value", "A,B,=?")]


def test_xls_formulas_give_the_value_last_calculated():
    _, rows = read(xls([HEADER, ["A", "B", xlwt.Formula("1+1")]]))
    assert good(rows) == [(2, ["A", "B", ""])]


def test_xlsx_error_cells_fail_their_rows():
    _, rows = read(xlsx([HEADER, ["A", "#N/A", "C"], ["A", "B", "C"], ["A", "#DIV/0!", "C"]]))
    assert rejects(rows) == [(2, "cell_without_value", "A,#N/A,C"), (4, "cell_without_value", "A,#DIV/0!,C")]
    assert good(rows) == [(3, ["A", "B", "C"])]


def test_xls_error_cells_fail_their_rows():
    def errors(_, sheet):
        sheet.row(1).set_cell_error(1, 0x2A, default_style)

    _, rows = read(xls([HEADER, ["A"], ["A", "B", "C"]], errors))
    assert rejects(rows) == [(2, "cell_without_value", "A,#N/A,")]
    assert good(rows) == [(3, ["A", "B", "C"])]


def test_xlsx_merged_cells_fail_the_rows_they_hit():
    def merge(_, sheet):
        sheet.merge_cells("B3:B4")
        sheet.merge_cells("E2:F2")

    _, rows = read(xlsx([HEADER, ["1", "B", "C"], ["2", "B", "C"], ["3", None, "C"], ["4", "B", "C"]], merge))
    assert rejects(rows) == [(3, "merged_cells", "2,B,C"), (4, "merged_cells", "3,,C")]
    assert [number for number, _ in good(rows)] == [2, 5]


def test_xls_merged_cells_fail_the_rows_they_hit():
    _, rows = read(xls([HEADER, ["A", "B", "C"], ["A", "B"]], lambda _, sheet: sheet.merge(2, 2, 1, 2)))
    assert rejects(rows) == [(3, "merged_cells", "A,B,")]


@both
def test_a_value_in_a_column_without_a_header_fails_its_row(make):
    _, rows = read(make([["name", None, "state"], ["A", None, "B"], ["A", "?", "B"], ["A", None, "B", "?"]]))
    assert good(rows) == [(2, ["A", "B"])]
    assert rejects(rows) == [(3, "wrong_column_count", "A,?,B,"), (4, "wrong_column_count", "A,,B,?")]


@both
def test_the_sheet_named_like_the_feed_is_read(make):
    def another(book, _):
        other = book.create_sheet("other") if make is xlsx else book.add_sheet("other")
        other.append(HEADER) if make is xlsx else [other.write(0, place, name) for place, name in enumerate(HEADER)]

    found, rows = read(make(ROWS, another, "Facilities "))
    assert good(rows) == [(2, ["Ikeja Hospital", "Lagos", "Ikeja"])]
    assert found.warnings == ["other sheets, which were not read: 1"]


def test_the_only_sheet_with_the_header_is_read():
    def notes_first(book, _):
        book.create_sheet("Notes", 0).append(["Sent by", "somebody"])

    found, rows = read(xlsx(ROWS, notes_first))
    assert (found.place, len(rows)) == ("sheet 2 row 1", 1)


def test_several_sheets_with_the_header_are_refused():
    assert refusal(xlsx(ROWS, lambda book, _: book.create_sheet("2").append(HEADER))) == "no_header"


@pytest.mark.parametrize("state", ["hidden", "veryHidden"])
def test_hidden_sheets_are_not_read_and_mentioned(state):
    def hide(book, _):
        hidden = book.create_sheet("facilities", 0)
        hidden.append(HEADER)
        hidden.append(["Old", "Lagos", "Epe"])
        hidden.sheet_state = state

    found, rows = read(xlsx(ROWS, hide))
    assert good(rows) == [(2, ["Ikeja Hospital", "Lagos", "Ikeja"])]
    assert found.warnings == ["hidden sheets, which were not read: 1"]


def test_hidden_sheets_of_xls_are_not_read_and_mentioned():
    found, _ = read(xls(ROWS, lambda book, _: setattr(book.add_sheet("x"), "visibility", 1)))
    assert found.warnings == ["hidden sheets, which were not read: 1"]


@both
def test_an_empty_sheet_has_no_header(make):
    found, rows = read(make([]))
    assert (found.header, rows) == ([], [])


@both
def test_a_header_alone_is_no_record(make):
    assert read(make([HEADER]))[1] == []


def test_prefixed_xml_and_single_quotes_are_read_alike():
    prefixed = (
        b"<?xml version='1.0'?><x:worksheet xmlns:x='http://schemas.openxmlformats.org/spreadsheetml/2006/main'>"
        b"<x:sheetData><x:row r='1'><x:c r='A1' t='inlineStr'><x:is><x:t>name</x:t></x:is></x:c>"
        b"<x:c r='B1' t='inlineStr'><x:is><x:t>state</x:t></x:is></x:c></x:row>"
        b"<x:row r='2'><x:c r='A2' t='inlineStr'><x:is><x:t>A</x:t></x:is></x:c><x:c r='B2'><x:f>1+1</x:f></x:c>"
        b"</x:row></x:sheetData></x:worksheet>"
    )
    found, rows = read(with_parts(xlsx(ROWS), {SHEET: prefixed}))
    assert found.header == ["name", "state"]
    assert rejects(rows) == [(2, "cell_without_value", "A,=?")]


@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.99])
@both
def test_a_truncated_workbook_is_none(make, share):
    data = make([HEADER, *([str(number), "Lagos", os.urandom(8).hex()] for number in range(500))])
    assert refusal(data[: int(len(data) * share)]) == "not_a_workbook"


def damaged_zip(position: int) -> bytes:
    data = bytearray(xlsx([HEADER, *([str(number), "Lagos", "Ikeja"] for number in range(500))]))
    data[data.index(SHEET.encode()) + len(SHEET) + position] ^= 0xFF
    return bytes(data)


@pytest.mark.parametrize("position", [0, 100, 1000])
def test_a_damaged_workbook_is_none(position):
    assert refusal(damaged_zip(position)) == "not_a_workbook"


def zip_archive(**files: str) -> bytes:
    saved = io.BytesIO()
    with zipfile.ZipFile(saved, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return saved.getvalue()


def test_a_zip_of_something_else_is_no_workbook():
    assert refusal(zip_archive(patients="name,state\n")) == "not_a_workbook"
    assert refusal(zip_archive(mimetype="application/vnd.oasis.opendocument.spreadsheet")) == "not_a_workbook"
    assert refusal(b"PK\x03\x04, said the file, and was text") == "not_a_workbook"


def test_an_ole_document_of_another_kind_is_no_workbook():
    assert refusal(other_ole_document()) == "not_a_workbook"
    assert refusal(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 4096) == "not_a_workbook"


def test_encrypted_workbooks_are_refused_as_such():
    assert refusal(encrypted_xlsx()) == "encrypted_workbook"
    assert refusal(encrypted_xls(ROWS)) == "encrypted_workbook"


def test_a_zip_bomb_is_refused_before_it_is_unpacked():
    bomb = zip_bomb(ROWS)
    assert len(bomb) < 200_000
    assert refusal(bomb) == "workbook_too_large"


def test_a_zip_bomb_that_lies_about_its_size_is_refused():
    assert refusal(lying_zip_bomb(ROWS)) in {"not_a_workbook", "workbook_too_large"}


def test_a_sparse_bomb_is_refused_before_anything_is_allocated():
    bomb = sparse_bomb(ROWS)
    assert len(bomb) < 10_000
    with pytest.raises(FileRefused, match="17179869184 cells") as refused:
        read(bomb)
    assert refused.value.code == "workbook_too_large"


def test_a_sparse_bomb_in_disguise_meets_the_memory_limit():
    # One row's number says 1, its cell's says otherwise, and no cell is where the plain look expects it.
    disguised = b'<row r="2"><c r="A2"><v>1</v></c></row><row r="3"><c r="XFD1048576"><v>1</v></c></row></sheetData>'
    data = with_parts(xlsx([HEADER]), {SHEET: lambda sheet: sheet.replace(b"</sheetData>", disguised)})
    assert refusal(data) == "workbook_too_large"


def test_cells_that_are_only_formatted_are_no_bomb():
    def colour_everything(_, sheet):
        sheet["XFD1"].number_format = "0.00"
        sheet["A1048576"].number_format = "0.00"

    assert len(read(xlsx(ROWS, colour_everything))[1]) == 1


def test_a_workbook_that_works_too_long_is_refused(monkeypatch):
    monkeypatch.setattr(workbook, "MAX_SILENCE_SECONDS", 0)
    assert refusal(xlsx(ROWS)) == "workbook_too_large"


def test_a_file_above_the_cap_is_refused_before_it_is_spooled(monkeypatch):
    monkeypatch.setattr(workbook, "MAX_FILE_BYTES", 1000)
    assert refusal(xlsx(ROWS)) == "workbook_too_large"


ENTITY = b'<!DOCTYPE x [<!ENTITY secret SYSTEM "file:///etc/hostname">]>'


def test_an_external_entity_in_the_sheet_is_refused():
    assert refusal(with_parts(xlsx(ROWS), {SHEET: lambda sheet: ENTITY + sheet})) == "not_a_workbook"


def test_an_external_entity_in_the_strings_is_not_followed():
    strings = (
        ENTITY
        + b'<sst xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><si><t>&secret;</t></si></sst>'
    )
    data = with_parts(shared_strings([*HEADER, "A", "B", "C"]), {"xl/sharedStrings.xml": strings})
    assert refusal(data) == "not_a_workbook"


def shared_strings(texts: list[str]) -> bytes:
    """A workbook as Excel writes it: three columns of texts that stand in a part of their own."""
    cells = [f'<c r="{"ABC"[place % 3]}{place // 3 + 1}" t="s"><v>{place}</v></c>' for place in range(len(texts))]
    rows = [f'<row r="{at // 3 + 1}">{"".join(cells[at : at + 3])}</row>' for at in range(0, len(cells), 3)]
    namespace = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    sheet = f"<worksheet {namespace}><sheetData>{''.join(rows)}</sheetData></worksheet>"
    items = "".join(f'<si><r><t xml:space="preserve">{text[:1]}</t></r><r><t>{text[1:]}</t></r></si>' for text in texts)
    strings = f"<sst {namespace}>{items}</sst>"
    return with_parts(xlsx(ROWS), {SHEET: sheet.encode(), "xl/sharedStrings.xml": strings.encode()})


def test_shared_and_rich_strings_are_read():
    data = shared_strings([*HEADER, "007", "Lagos &amp; Epe", "Ọ_x000D_\nC"])
    assert good(read(data)[1]) == [(2, ["007", "Lagos & Epe", "Ọ\r\nC"])]


def test_external_links_are_not_followed():
    link = (
        b'<externalLink xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><externalBook r:id="rId1"'
        b' xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"/></externalLink>'
    )
    data = with_parts(xlsx(ROWS), {"xl/externalLinks/externalLink1.xml": link})
    assert len(good(read(data)[1])) == 1


def test_macros_are_mentioned_and_not_run():
    found, rows = read(with_parts(xlsx(ROWS), {"xl/vbaProject.bin": b"Sub AutoOpen()"}))
    assert len(good(rows)) == 1
    assert found.warnings == ["macros, which were not run"]


def test_the_child_sees_no_secret_of_ours(monkeypatch):
    monkeypatch.setenv("POSTGRES_PASSWORD", "not to be seen")
    seen = []
    start = workbook.subprocess.Popen

    def watched(*arguments, **options):
        child = start(*arguments, **options)
        with open(f"/proc/{child.pid}/environ", "rb") as file:  # noqa: PTH123
            seen.append(file.read())
        return child

    monkeypatch.setattr(workbook.subprocess, "Popen", watched)
    read(xlsx(ROWS))
    assert seen == [b""]


def test_text_is_no_workbook_whatever_its_name():
    assert not is_workbook(b"name,state\n")
    assert not is_workbook(b"<html><table>")
    assert not is_workbook(b"")


def test_real_workbooks_without_a_feed_of_ours_are_refused(real_data):
    for path in sorted((real_data / "nhs_kh03").glob("*.xls*")):
        assert refusal(path.read_bytes()) == "no_header", path.name


def test_plain_and_odd_sheets_are_read_alike():
    plain = [HEADER, *([f"Hospital {number}", "Lagos", number] for number in range(3000))]
    one_formula = [*plain, ["=1+1", None, None]]
    rows = good(read(xlsx(plain))[1])
    assert len(rows) == 3000
    assert good(read(xlsx(one_formula))[1]) == rows
    assert good(read(xls(plain))[1]) == rows
