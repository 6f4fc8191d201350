"""KH03 returns: what reaches public.bed_occupancy_returns, and which publication of a quarter stands."""

from __future__ import annotations

import datetime as dt
import io
from decimal import Decimal

import openpyxl
import pytest

from elt import audit, quarantine
from elt.contract import MEDILINK_FEEDS, NHS_FEEDS
from tests.kh03 import BARTS, DAY_ONLY, LEEDS, REVISED, TRUSTS, workbook
from tests.workbooks import encrypted_xlsx, lying_zip_bomb, sparse_bomb, with_parts, xls, zip_bomb

pytestmark = pytest.mark.integration

BARTS_KEY, _, LEEDS_KEY = TRUSTS

TABLE = """
    select organisation_code, organisation_name, region_code, year, quarter, bed_type, sector, beds_available,
        beds_occupied, occupancy_rate, published_on
    from public.bed_occupancy_returns order by 1, 4, 5, 6, 7
"""

SECTORS = ("total", "general_acute", "learning_disabilities", "maternity", "mental_illness")

REAL = {
    "Q3": "Beds-Open-Overnight-Web_File-Final-Q3-2019-20-kg8gu.xlsx",
    "Q2": "Beds-Open-Overnight-Web_File-Final-DE5WC.xlsx",
}


def outcome(warehouse, name):
    """Status and code of the newest file of that name, and its six counts."""
    return warehouse.ask(f"""
        select status, error_code, records_inserted, records_updated, records_unchanged, records_duplicate,
            records_parked, records_failed
        from audit.ingest_files where input_key like '%/{name}' order by file_id desc limit 1
    """)[0]


def expected(workbooks):
    """The table of both real workbooks, read cell by cell with another library, from where they have their cells."""
    rows = []
    for quarter, content in workbooks.items():
        sheet = openpyxl.load_workbook(io.BytesIO(content), data_only=True)["NHS Trust by Sector"]
        published_on = {"Q3": dt.date(2020, 2, 27), "Q2": dt.date(2020, 11, 19)}[quarter]
        for cells in sheet.iter_rows(min_row=18, min_col=2, max_col=23, values_only=True):
            if cells[3] is None:
                continue
            for position, sector in enumerate(SECTORS):
                figures = (cells[offset + position] for offset in (5, 11, 17))
                figures = [None if figure == "-" else Decimal(str(figure)) for figure in figures]
                year = int(cells[0][:4])
                rows.append((cells[3], cells[4], cells[2], year, quarter, "overnight", sector, *figures, published_on))
    return sorted(rows, key=lambda row: (row[0], *row[3:7]))


class TestRealWorkbooks:
    @pytest.fixture
    def workbooks(self, real_data):
        return {quarter: (real_data / "nhs_kh03" / name).read_bytes() for quarter, name in REAL.items()}

    def test_england_is_the_sum_of_the_trusts_to_three_decimals(self, warehouse, workbooks):
        for quarter, content in workbooks.items():
            warehouse.drop_return(f"{quarter}.xlsx", content)
        warehouse.ingest()
        totals = warehouse.ask("""
            select year, quarter, count(*), round(sum(beds_available), 3), round(sum(beds_occupied), 3)
            from public.bed_occupancy group by 1, 2 order by 1
        """)
        assert totals == [
            (2019, "Q3", 201, Decimal("128328.967"), Decimal("114767.239")),
            (2020, "Q2", 195, Decimal("120828.446"), Decimal("93090.620")),
        ]
        assert outcome(warehouse, "Q3.xlsx") == ("promoted", None, 1005, 0, 0, 0, 0, 0)
        assert outcome(warehouse, "Q2.xlsx") == ("promoted", None, 975, 0, 0, 0, 0, 0)
        assert warehouse.ask("select warning from audit.ingest_files where warning is not null") == []
        names = "select distinct organisation_name from bed_occupancy where organisation_code = 'R1H'"
        assert warehouse.ask(names) == [("BARTS HEALTH NHS TRUST",)]
        assert warehouse.ask("""
            select count(*), count(occupancy_rate), sum(beds_available) from bed_occupancy_returns
            where organisation_code = 'RYX'
        """) == [(10, 0, 0)]
        assert warehouse.ask("select * from bed_occupancy where organisation_name ilike 'england'") == []

    @pytest.mark.parametrize("order", [("Q3", "Q2"), ("Q2", "Q3")], ids="-".join)
    def test_either_order_and_twice_and_under_other_names_it_is_the_same_table(self, warehouse, workbooks, order):
        for quarter in order:
            warehouse.drop_return(f"{quarter}.xlsx", workbooks[quarter])
            warehouse.ingest()
        assert warehouse.ask(TABLE) == expected(workbooks)
        for quarter in order:
            warehouse.drop_return(f"Beds-Open-Day-Only-{quarter}-2015.xls", workbooks[quarter])
        warehouse.ingest()
        assert {outcome(warehouse, f"Beds-Open-Day-Only-{quarter}-2015.xls")[0] for quarter in REAL} == {"duplicate"}
        assert warehouse.ask(TABLE) == expected(workbooks)
        assert warehouse.ask("select max(id) from public.bed_occupancy_returns") == [(1980,)]

    def test_the_time_series_and_a_csv_are_the_wrong_return(self, warehouse, real_data):
        folder = real_data / "nhs_kh03"
        (series,) = folder.glob("*.xls")
        warehouse.drop_return("KH03 Overnight.xls", series.read_bytes())
        warehouse.drop_return("KH03.xlsx", (folder / "beds_data.csv").read_bytes())
        warehouse.ingest()
        messages = dict(warehouse.ask("select error_code || ' ' || input_key, error_message from audit.ingest_files"))
        assert "looks like the time series for England" in messages["wrong_return nhs_uploads/KH03 Overnight.xls"]
        assert "looks like text, such as a CSV file" in messages["wrong_return nhs_uploads/KH03.xlsx"]


class TestRevisions:
    def test_a_publication_that_was_only_saved_again_changes_nothing(self, warehouse):
        barts = ((1000 / 7, 600 / 7), *BARTS[1:])
        warehouse.drop_return("published.xlsx", workbook(TRUSTS | {BARTS_KEY: barts}))
        warehouse.ingest()
        table = warehouse.ask(TABLE)
        barts = ((float(f"{1000 / 7:.15g}"), float(f"{600 / 7:.15g}")), *BARTS[1:])
        warehouse.drop_return("saved-again.xlsx", workbook(TRUSTS | {BARTS_KEY: barts}))
        warehouse.ingest()
        assert outcome(warehouse, "saved-again.xlsx") == ("promoted", None, 0, 0, 15, 0, 0, 0)
        assert warehouse.ask(TABLE) == table

    def test_a_later_publication_replaces_its_quarter_whole(self, warehouse):
        warehouse.drop_return("published.xlsx", workbook())
        warehouse.drop_return("other-quarter.xlsx", workbook(period="September", labels={"Period:": None}))
        warehouse.drop_return("day-only.xlsx", workbook(labels={"Title:": DAY_ONLY}))
        warehouse.ingest()
        revised = {BARTS_KEY: ((120, 90), *BARTS[1:]), ("Y63", "RXX", "A LATE TRUST"): LEEDS}
        warehouse.drop_return("revised.xlsx", workbook(revised, labels={"Revised:": REVISED}))
        warehouse.ingest()
        # All figures of Barts stand in the new publication now, whether they changed or not.
        assert outcome(warehouse, "revised.xlsx") == ("promoted", None, 5, 5, 0, 0, 0, 0)
        assert warehouse.ask("""
            select organisation_code, beds_available, published_on from public.bed_occupancy_returns
            where sector = 'total' and bed_type = 'overnight' and quarter = 'Q3' order by 1
        """) == [("R1H", 120, dt.date(2020, 5, 28)), ("RXX", Decimal("50.5"), dt.date(2020, 5, 28))]
        assert warehouse.ask("""
            select quarter, bed_type, count(*) from public.bed_occupancy_returns group by 1, 2 order by 1, 2
        """) == [("Q2", "overnight", 15), ("Q3", "day_only", 15), ("Q3", "overnight", 10)]
        assert warehouse.ask(
            "select organisation_code, count(*) from audit.withdrawn_returns group by 1 order by 1"
        ) == [
            ("RR8", 5),
            ("RYX", 5),
        ]

    def test_an_older_publication_changes_nothing(self, warehouse):
        warehouse.drop_return("revised.xlsx", workbook({BARTS_KEY: BARTS}, labels={"Revised:": "28th May 2020"}))
        warehouse.ingest()
        table = warehouse.ask(TABLE)
        warehouse.drop_return("published.xlsx", workbook())
        warehouse.ingest()
        assert outcome(warehouse, "published.xlsx") == ("rejected", "superseded", *[None] * 6)
        assert warehouse.ask(TABLE) == table

    def test_what_is_not_given_any_more_is_not_kept_from_an_earlier_publication(self, warehouse):
        warehouse.drop_return("published.xlsx", workbook())
        warehouse.ingest()
        barts = (("-", "N/A"), *BARTS[1:])
        warehouse.drop_return("revised.xlsx", workbook(TRUSTS | {BARTS_KEY: barts}, labels={"Revised:": REVISED}))
        warehouse.ingest()
        assert warehouse.ask("""
            select beds_available, beds_occupied from public.bed_occupancy_returns
            where organisation_code = 'R1H' and sector = 'total'
        """) == [(None, None)]

    def test_a_publication_of_the_same_day_may_add_and_repeat_but_not_change(self, warehouse):
        warehouse.drop_return("published.xlsx", workbook())
        warehouse.ingest()
        table = warehouse.ask(TABLE)
        late = ("Y63", "RXX", "A LATE TRUST")
        warehouse.drop_return("saved-again.xlsx", workbook(TRUSTS | {late: LEEDS}))
        changed = TRUSTS | {late: LEEDS, BARTS_KEY: ((99, 90), *BARTS[1:])}
        warehouse.ingest()
        assert outcome(warehouse, "saved-again.xlsx") == ("promoted", None, 5, 0, 15, 0, 0, 0)
        for name, content in {"changed.xlsx": workbook(changed), "shorter.xlsx": workbook()}.items():
            warehouse.drop_return(name, content)
        warehouse.ingest()
        assert outcome(warehouse, "changed.xlsx")[:2] == ("held", "superseded")
        assert outcome(warehouse, "shorter.xlsx")[:2] == ("held", "superseded")
        with warehouse.connect("loader") as connection:
            (file_id,) = warehouse.ask("select file_id from audit.ingest_files where input_key like '%/changed.xlsx'")[
                0
            ]
            audit.release_file(connection, file_id, by="test")
        warehouse.ingest()
        assert outcome(warehouse, "changed.xlsx") == ("promoted", None, 0, 1, 19, 0, 0, 0)
        assert len(warehouse.ask(TABLE)) == len(table) + 5

    def test_where_no_day_is_said_nothing_that_stands_is_changed(self, warehouse):
        warehouse.drop_return("undated.xlsx", workbook(labels={"Published:": "soon"}))
        warehouse.ingest()
        assert outcome(warehouse, "undated.xlsx")[:3] == ("promoted", None, 15)
        (warning,) = warehouse.ask("select warning from audit.ingest_files")[0]
        assert "Published holds no day that could be read" in warning
        warehouse.drop_return("dated.xlsx", workbook({BARTS_KEY: BARTS}))
        warehouse.ingest()
        assert outcome(warehouse, "dated.xlsx")[:2] == ("held", "superseded")

    def test_a_withdrawn_trust_may_come_back(self, warehouse):
        for number, trusts in enumerate((TRUSTS, {BARTS_KEY: BARTS}, TRUSTS), 1):
            warehouse.drop_return(f"{number}.xlsx", workbook(trusts, labels={"Revised:": f"{number} March 2020"}))
            warehouse.ingest()
        assert outcome(warehouse, "3.xlsx") == ("promoted", None, 10, 5, 0, 0, 0, 0)
        assert len(warehouse.ask(TABLE)) == 15
        # An id is never used again.
        assert warehouse.ask("select min(id), max(id) from public.bed_occupancy_returns") == [(1, 25)]


UNREADABLE = {**TRUSTS, LEEDS_KEY: (("many", 40.25), *LEEDS[1:])}


class TestQuarantine:
    def test_a_figure_that_is_none_fails_its_row_alone_and_comes_back_corrected(self, warehouse, tmp_path):
        warehouse.drop_return("q3.xlsx", workbook(UNREADABLE, england_row=((1, 1),) * 5))
        warehouse.ingest()
        assert outcome(warehouse, "q3.xlsx") == ("promoted", None, 14, 0, 0, 0, 0, 1)
        entry = "select error_code, error_column, row_number from quarantine.entries"
        assert warehouse.ask(entry) == [("invalid_type", "beds_available", 1907)]
        for form in ("csv", "xlsx"):
            path = tmp_path / f"corrections.{form}"
            with warehouse.connect("loader") as connection:
                quarantine.export(connection, quarantine.Filter("bed_occupancy"), path, form)
        warehouse.drop_return("still-bad.xlsx", (tmp_path / "corrections.xlsx").read_bytes())
        warehouse.ingest()
        assert outcome(warehouse, "still-bad.xlsx") == ("promoted", None, 0, 0, 0, 0, 0, 1)
        warehouse.drop_return("corrections.csv", (tmp_path / "corrections.csv").read_bytes().replace(b"many", b"50.5"))
        warehouse.ingest()
        assert outcome(warehouse, "corrections.csv") == ("promoted", None, 1, 0, 0, 0, 0, 0)
        assert warehouse.ask("select closed_reason from quarantine.entries") == [("corrected",)]
        assert warehouse.ask("select beds_available from bed_occupancy where organisation_code = 'RR8'") == [
            (Decimal("50.5"),)
        ]

    def test_a_later_publication_closes_what_failed_of_the_one_it_replaces(self, warehouse):
        warehouse.drop_return("q3.xlsx", workbook(UNREADABLE))
        warehouse.ingest()
        warehouse.drop_return("q3r.xlsx", workbook({BARTS_KEY: BARTS}, labels={"Revised:": REVISED}))
        warehouse.ingest()
        assert warehouse.ask("select closed_reason from quarantine.entries") == [("superseded",)]


def test_each_run_takes_what_arrives_for_its_feeds(warehouse):
    warehouse.drop("facilities.csv", "name,state\nIkeja Hospital,Lagos\n")
    warehouse.drop("bed_occupancy.xlsx", workbook())
    warehouse.drop_return("facilities.xlsx", workbook())
    night = warehouse.begin("night")
    warehouse.extract(night, MEDILINK_FEEDS)
    warehouse.end(night)
    taken = "select input_key, feed, error_code from audit.ingest_files where batch_id = {} order by 1"
    assert warehouse.ask(taken.format(night)) == [
        ("medical_records/input/bed_occupancy.xlsx", None, "unknown_feed"),
        ("medical_records/input/facilities.csv", "facilities", None),
    ]
    returns = warehouse.begin("returns")
    warehouse.extract(returns, NHS_FEEDS)
    warehouse.end(returns)
    assert warehouse.ask(taken.format(returns)) == [("nhs_uploads/facilities.xlsx", "bed_occupancy", None)]
    assert warehouse.ingest()


def test_cross_checks_that_do_not_hold_are_warnings_with_figures(warehouse):
    trusts = TRUSTS | {BARTS_KEY: ((100, 101), (80, 75), (0, 0), (21, 15), (0, 0))}
    england = ((151, 141.25), *[(1000, 1000)] * 4)
    warehouse.drop_return("q3.xlsx", workbook(trusts, england_row=england))
    warehouse.ingest()
    (warning,) = warehouse.ask("select warning from audit.ingest_files")[0]
    assert "England has 151.000 beds available (total, 2019 Q3), its 3 organisations have 150.500 together" in warning
    assert "beds occupied (total" not in warning
    assert (
        "the sectors do not add up to the total in 2 places, most in R1H: 90.000 occupied, its total says 101.000"
        in warning
    )
    assert "more beds are occupied than available in 1 places, most in R1H total: 101.000 of 100.000" in warning
    assert outcome(warehouse, "q3.xlsx")[:3] == ("promoted", None, 15)


def test_what_no_workbook_may_be_is_refused_with_its_code_and_the_run_goes_on(warehouse):
    good = workbook()
    doctype = b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
    grid = [["Org Code"]]
    bad = {
        "31-truncated.xlsx": (good[: len(good) // 2], "not_a_workbook"),
        "32-zip-bomb.xlsx": (zip_bomb(grid), "workbook_too_large"),
        "32-lying-zip-bomb.xlsx": (lying_zip_bomb(grid), "not_a_workbook"),
        "33-sparse-bomb.xlsx": (sparse_bomb(grid), "workbook_too_large"),
        "34-xxe.xlsx": (
            with_parts(good, {"xl/workbook.xml": lambda part: part.replace(b"<workbook", doctype + b"<workbook", 1)}),
            "not_a_workbook",
        ),
        "35-encrypted.xlsx": (encrypted_xlsx(), "encrypted_workbook"),
        "35-a-page.xlsx": (b"<!DOCTYPE html><html><body>Not found</body></html>", "wrong_return"),
        "35-a-document.xlsx": (b"%PDF-1.7\n", "not_a_workbook"),
        "35-another-workbook.xls": (xls([["name", "state"], ["A", "Lagos"]]), "wrong_return"),
        "13-empty.xlsx": (b"", "empty_file"),
    }
    for name, (content, _) in bad.items():
        warehouse.drop_return(name, content)
    warehouse.drop_return("zz-good.xlsx", good)
    warehouse.ingest()
    codes = warehouse.ask("select regexp_replace(input_key, '^.*/', ''), error_code from audit.ingest_files order by 1")
    assert dict(codes) == {name: code for name, (_, code) in bad.items()} | {"zz-good.xlsx": None}
    assert outcome(warehouse, "zz-good.xlsx")[:3] == ("promoted", None, 15)
