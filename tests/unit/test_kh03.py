"""KH03 returns of all eras: read by what their sheets say; what would have to be guessed is refused."""

from __future__ import annotations

import csv
import datetime as dt
import io

import pytest
from openpyxl.utils.datetime import CALENDAR_MAC_1904

from elt import kh03
from elt.contract import contract
from elt.scanner import FileRefused
from elt.workbook import Workbook
from tests.kh03 import BARTS, DAY_ONLY, IDENTIFYING, OVERNIGHT, SECTORS, TRUSTS, grid, workbook
from tests.workbooks import xls, xlsx

BARTS_KEY, CLOSED_KEY, LEEDS_KEY = TRUSTS


def records(rows, valueless=None, names=("NHS Trust by Sector",)):
    """The return in a grid, and its records as dictionaries."""
    width = max(map(len, rows))
    cells = [["" if cell is None else cell for cell in [*row, *[None] * (width - len(row))]] for row in rows]
    sheet = kh03.Sheet(cells, 0, valueless or {}, bytearray(len(cells)))
    found = kh03.choose([(1, sheet)], names)
    text = b"".join(found.blocks(())).decode()
    return found, [
        {"row": int(row[0]), "code": row[1]} | dict(zip(kh03.HEADER, row[3:], strict=True))
        for row in csv.reader(io.StringIO(text, newline=""))
    ]


def told(rows, **wanted):
    """The records that say so."""
    return [record for record in rows if all(record[name] == value for name, value in wanted.items())]


def refusal(rows, **kwargs):
    with pytest.raises(FileRefused) as refused:
        records(rows, **kwargs)
    assert refused.value.code == "wrong_return"
    return str(refused.value)


BARTS_TOTAL = {
    "organisation_code": "R1H",
    "organisation_name": "BARTS HEALTH NHS TRUST",
    "region_code": "Y56",
    "year": "2019",
    "quarter": "Q3",
    "bed_type": "overnight",
    "sector": "total",
    "beds_available": "100",
    "beds_occupied": "90",
    "occupancy_rate": "0.9",
    "published_on": "2020-02-27",
}


def test_a_record_for_each_trust_and_sector_numbered_by_row_and_column():
    found, rows = records(grid())
    assert (found.records, found.rejects, found.warnings) == (15, 0, [])
    assert rows[0] == {"row": 1707, "code": ""} | BARTS_TOTAL
    assert [row["row"] for row in rows[:6]] == [1707, 1708, 1709, 1710, 1711, 1807]
    assert {row["sector"] for row in rows} == set(kh03.SECTORS.values())


def test_england_is_no_organisation_and_a_share_of_no_beds_is_not_given():
    _, rows = records(grid())
    assert told(rows, organisation_name="England") == []
    closed = told(rows, organisation_code="RYX")
    assert [(row["beds_available"], row["occupancy_rate"]) for row in closed] == [("0", "")] * 5


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"identifying": ("Year", "Period End", "SHA Code", "Org Code", "Org Name")}, {}),
        ({"identifying": ("Year", "Period End", "AT Code", "Org Code", "Org Name")}, {}),
        ({"identifying": ("Year", "Period", "Region Code", "Org Code", "Org Name"), "period": "Q3"}, {}),
        ({"identifying": ("YEAR ", "Period\nEnd", "Region  Code", "Org Code:", "Org\xa0Name")}, {}),
        ({"identifying": ("Year", "Period End", "Somewhere", "Org Code", "Org Name")}, {"region_code": ""}),
        ({"year": "2019/20"}, {}),
        ({"year": "2019/2020"}, {}),
        ({"year": "2019\u201320"}, {}),
        ({"year": "1999-00", "period": "Q4"}, {"year": "1999", "quarter": "Q4"}),
        ({"period": "Quarter 3"}, {}),
        ({"period": "Q3 2019-20"}, {}),
        ({"period": "Dec"}, {}),
        ({"period": "December 2019"}, {}),
        ({"period": "October to December 2019"}, {}),
        ({"period": dt.date(2019, 12, 31)}, {}),
        ({"period": "March"}, {"quarter": "Q4"}),
        ({"period": "Jan-Mar 2020"}, {"quarter": "Q4"}),
        ({"period": dt.datetime(2020, 3, 31)}, {"quarter": "Q4"}),  # noqa: DTZ001 - a cell knows no time zone
        ({"sectors": ("General and Acute", "Learning Disability", "Maternity ", "Mental  Illness")}, {}),
        ({"groups": ("Available Beds", "Occupied Beds", "Occupancy rate")}, {}),
        ({"groups": ("Available", "Occupied", "Percentage occupied")}, {}),
        ({"left": 0}, {}),
        ({"left": 3}, {}),
        ({"labels": {"Title:": DAY_ONLY}}, {"bed_type": "day_only"}),
        ({"labels": {"Title:": DAY_ONLY.replace("day only", "Day-Only")}}, {"bed_type": "day_only"}),
        ({"labels": {"Title:": "KH03", "Summary:": "Beds open overnight"}}, {}),
        ({"labels": {"Title:": None, "TITLE": OVERNIGHT}}, {}),
        ({"labels": {"Title:": None, f"Title: {DAY_ONLY}": None}}, {"bed_type": "day_only"}),
        ({"labels": {"Revised:": "19th November 2020"}}, {"published_on": "2020-11-19"}),
        ({"labels": {"Revised:": dt.datetime(2020, 11, 19)}}, {"published_on": "2020-11-19"}),  # noqa: DTZ001
        ({"labels": {"Revised:": dt.date(2020, 11, 19)}}, {"published_on": "2020-11-19"}),
        ({"labels": {"Revised:": "19/11/2020"}}, {"published_on": "2020-11-19"}),
        ({"labels": {"Revised:": "Thursday, 19 Nov. 2020 (Q3)"}}, {"published_on": "2020-11-19"}),
        ({"labels": {"Revised:": "28 May 2020 and 19 November 2020"}}, {"published_on": "2020-11-19"}),
        ({"labels": {"Revised:": "-"}}, {}),
        ({"labels": {"Revised:": "N/A"}}, {}),
        ({"labels": {"Published:": None, "Publication date": "27 February 2020"}}, {}),
    ],
    ids=str,
)
def test_every_era_says_the_same(changes, says):
    found, rows = records(grid(**changes))
    assert len(rows) == 15
    (barts,) = told(rows, organisation_code="R1H", sector="total")
    assert barts | {"row": 0, "code": ""} == {"row": 0, "code": ""} | BARTS_TOTAL | says
    assert [warning for warning in found.warnings if "label Period" not in warning] == []


@pytest.mark.parametrize(
    ("year", "period", "column"),
    [
        ("2019", "December", "year"),
        ("2019-21", "December", "year"),
        ("2019-20", "November", "quarter"),
        ("2019-20", "December 2020", "quarter"),
        ("2019-20", "March 2019", "quarter"),
        ("2019-20", "Q3 2018-19", "quarter"),
        ("2019-20", dt.date(2020, 12, 31), "quarter"),
        ("2019-20", "Q5", "quarter"),
    ],
)
def test_a_period_that_is_none_is_not_guessed_and_fails_its_rows(year, period, column):
    _, rows = records(grid(year=year, period=period))
    assert {row[column] for row in rows} == {year if column == "year" else str(period)}


def test_sector_columns_may_be_missing():
    head, (england, barts) = grid()[:15], (grid()[14], grid()[16])
    rows = [*head[:14], barts]
    kept = [*range(8), 11, 12, 13, 14]  # the total, General & Acute, a spacer, the same of Occupied
    shorter = [[row[place] if place < len(row) else None for place in kept] for row in rows]
    assert england
    shorter[12] = [None] * 6 + ["Available", None, None, "Occupied"]
    shorter[13] = [None, *IDENTIFYING, "Total ", SECTORS[0], 0, "Total ", SECTORS[0]]
    shorter[14] = [None, *barts[1:6], 100, 80, None, 90, 75]
    found, rows = records(shorter)
    assert [(row["sector"], row["beds_available"], row["beds_occupied"], row["occupancy_rate"]) for row in rows] == [
        ("total", "100", "90", ""),
        ("general_acute", "80", "75", ""),
    ]
    assert found.warnings == ["no row England: the sum of its organisations could not be compared"]


def test_figures_as_text_are_numbers_where_they_can_be_nothing_else():
    barts = (("1,193.5", " 90 "), ("-", "N/A"), ("", "n/a"), ("20", "1,5"), ("..", "\u2013"))
    _, rows = records(grid(TRUSTS | {BARTS_KEY: barts}))
    figures = [(row["beds_available"], row["beds_occupied"]) for row in told(rows, organisation_code="R1H")]
    assert figures == [("1193.5", "90"), ("", ""), ("", ""), ("20", "1,5"), ("", "")]


def test_a_percentage_as_text_is_a_share():
    rows = grid()
    place = rows[16].index("R1H")
    rows[16][place + 14] = "89.4%"
    _, found = records(rows)
    assert told(found, organisation_code="R1H", sector="total")[0]["occupancy_rate"] == "0.894"


def test_errors_fail_the_figure_they_stand_for_and_shares_follow_from_the_figures():
    rows = grid()
    place = rows[16].index("R1H")
    for column in (place + 2, place + 14):
        rows[16][column] = ""
    found, read = records(rows, valueless={16: {place + 2: "#REF!", place + 14: "#DIV/0!"}})
    (barts,) = told(read, organisation_code="R1H", sector="total")
    assert (barts["beds_available"], barts["occupancy_rate"]) == ("#REF!", "")
    assert "1 rates show an error, and were left out" in found.warnings


def test_notes_and_stray_figures_are_no_records_and_what_has_a_name_is_never_lost():
    rows = grid()
    rows += [
        [],
        [None, "Notes: figures in red include estimates"],
        [None, None, None, None, None, None, 7],
        [None, "2019-20", "December", "Y56", None, "A TRUST WITHOUT A CODE", 1, 1],
        [None, "2019-20", "December", "Y56", "RZZ", "A TRUST THAT SENT NOTHING"],
    ]
    found, read = records(rows)
    assert "1 rows have figures and name no organisation: they were left out" in found.warnings
    assert [row["organisation_code"] for row in told(read, organisation_name="A TRUST WITHOUT A CODE")] == [""] * 5
    assert [row["beds_available"] for row in told(read, organisation_code="RZZ")] == [""] * 5


def test_what_the_label_period_says_is_compared_and_the_rows_count():
    found, rows = records(grid(labels={"Period:": "July to September 2019"}))
    assert {row["quarter"] for row in rows} == {"Q3"}
    assert found.warnings == ["the label Period says Q2 of 2019, the rows say Q3 of 2019, which was taken"]


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (grid({}, england_row=BARTS), "holds figures of England, and none of an organisation"),
        (grid(labels={"Title:": "Beds"}), "neither its Title nor what else it says"),
        (grid(labels={"Title:": f"{OVERNIGHT}, and day only"}), "overnight and by day only"),
        (grid(labels={"Title:": "KH03 Timeseries, beds open overnight"}), "the time series for England"),
        (grid(identifying=("Year", "", "Region Code", "Org Code", "Org Name")), "its header lacks period"),
        (grid(groups=("Available", "Available", "% Occupied")), "a part of KH03"),
        (grid(groups=("", "", "")), "a part of KH03"),
        ([["Daily SitRep: beds"], ["Code", "Name", "Beds"]], "a situation report"),
        ([["Cancelled Elective Operations"], ["Year", "Org Code"]], "the return of cancelled operations"),
        ([["Beds by sector, England, 1987-88 to 2009-10"], ["Year", "Total"]], "the annual series of 1987 to 2010"),
        ([["Critical care beds"]], "critical care"),
        ([["Hospital beds by country"]], "another publication about beds"),
        ([["name", "state"], ["Ikeja Hospital", "Lagos"]], "about something else than beds"),
        ([[]], "about something else than beds"),
    ],
)
def test_anything_else_is_refused_with_what_it_looks_like_and_what_was_expected(rows, says):
    message = refusal(rows)
    assert says in message
    assert "Drop the workbook" in message


def test_no_value_of_a_workbook_stands_in_a_refusal():
    rows = [["Patient", "Beds"], ["Ada Obi", "+2348190000001"]]
    assert "Ada" not in refusal(rows, names=("Ada Obi",))


def read(data):
    with Workbook([data], (), contract("bed_occupancy")) as found:
        return found, list(csv.reader(io.StringIO(b"".join(found.blocks()).decode(), newline="")))


def test_xlsx_and_xls_say_the_same():
    _, rows = read(workbook())
    assert len(rows) == 15
    assert read(xls(grid()))[1] == rows


def test_hidden_sheets_are_not_read_and_two_that_count_are_refused():
    def beside(book, sheet):
        copy = book.copy_worksheet(sheet)
        copy.sheet_state = "hidden"

    found, rows = read(xlsx(grid(), beside))
    assert (len(rows), found.warnings) == (15, ["hidden sheets, which were not read: 1"])
    with pytest.raises(FileRefused, match="2 of its sheets are such"):
        read(xlsx(grid(), lambda book, sheet: book.copy_worksheet(sheet)))
    with pytest.raises(FileRefused, match="this is no KH03 provider return"):
        read(xlsx([["Data Quality"]], lambda book, _: setattr(book.create_sheet("NHS"), "sheet_state", "hidden")))


def test_merged_cells_among_the_figures_fail_their_rows():
    _, rows = read(xlsx(grid(), lambda _, sheet: sheet.merge_cells("G17:G18")))
    assert {(row[0][:2], row[1]) for row in rows} == {("17", "merged_cells"), ("18", "merged_cells"), ("19", "")}


def test_an_uncalculated_formula_is_no_figure():
    trusts = TRUSTS | {BARTS_KEY: (("=1+1", 90), *BARTS[1:])}
    _, rows = read(workbook(trusts))
    assert rows[0][10] == "=?"
    assert read(workbook())[1][1:] == rows[1:]


def test_dates_that_count_from_1904_are_read_as_such():
    def from_1904(book, _):
        book.epoch = CALENDAR_MAC_1904

    _, rows = read(xlsx(grid(labels={"Revised:": dt.date(2020, 5, 28)}), from_1904))
    assert {row[-1] for row in rows} == {"2020-05-28"}
