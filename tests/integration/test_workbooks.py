"""Workbooks on their way to production: the same rows end alike in every format, and a bad file stops no other."""

from __future__ import annotations

import csv
import datetime as dt
import hashlib
import io

import pytest

from elt.contract import MEDILINK_FEEDS
from tests.workbooks import encrypted_xls, encrypted_xlsx, sparse_bomb, with_parts, xls, xlsx, zip_bomb

pytestmark = pytest.mark.integration

FACILITIES = [
    ["Name", "State", "LGA", "Lat", "Lon", "Type"],
    ["Ikeja Hospital", "Lagos", "Ikeja", 6.6018, 3.3515, "Hospital"],
    ["Ọlá Clinic", "Lagos", "Epe", 6, -3, 'a "teaching" one,\nsince 1990'],
    ["007", "Kano", None, None, None, None],
]
PATIENTS = [
    ["facility_name", "first_name", "last_name", "sex", "dob", "phone", "Ward"],
    ["Ikeja Hospital", "Ada", "Obi", "F", dt.date(1990, 1, 31), 8012345678, 4],
    ["Ikeja Hospital", "Bola", "Ade", "male", dt.date(1900, 1, 1), "08012345678", None],
    ["Nowhere", "Chidi", "Eze", None, None, "+234 801-234-5678", "x"],
]
HALF_PAST_NINE = dt.datetime.fromisoformat("2025-01-15 09:30:00")
MEDICAL_RECORDS = [
    [
        "facility_name", "patient_first_name", "patient_last_name", "patient_phone",
        "record_type", "diagnosis", "record_id", "recorded_at",
    ],
    ["Ikeja Hospital", "Ada", "Obi", 8012345678, "Diagnosis", "Malaria", 1001, HALF_PAST_NINE],
    ["Ikeja Hospital", "Bola", "Ade", None, "Lab", "12", "0012", dt.date(2025, 1, 16)],
]  # fmt: skip
TRIAGE_VISITS = [
    [
        "facility_name",
        "patient_first_name",
        "patient_last_name",
        "triage_level",
        "vital_signs",
        "conditions",
        "visit_id",
    ],
    ["Ikeja Hospital", "Ada", "Obi", 2, "BP: 140/90; HR: 84; T: 36.6", "Malaria;Anaemia", 7],
    ["Ikeja Hospital", "Ada", "Obi", 9, None, None, 8],
    ["Ikeja Hospital", "Bola", "Ade", 1.5, None, None, 9],
]
TABLES = dict(zip(MEDILINK_FEEDS, (FACILITIES, PATIENTS, MEDICAL_RECORDS, TRIAGE_VISITS), strict=True))


def as_csv(rows):
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def outcome(warehouse):
    """Production and quarantine, without times, and without rows: those of a CSV file are numbered by their lines."""
    production = {
        feed: warehouse.ask(
            f"""
            select to_jsonb(entity) - array['created_at', 'updated_at', 'last_delivered_at', '_first_row', '_last_row']
            from public.{feed} as entity order by id
            """
        )
        for feed in MEDILINK_FEEDS
    }
    quarantine = warehouse.ask(
        """
        select feed, disposition, error_code, error_column, row_hash, delivered
        from quarantine.entries order by row_hash
        """
    )
    return production, quarantine


FORMATS = {"csv": as_csv, "xlsx": xlsx, "xls": xls}


@pytest.fixture(scope="module")
def outcomes():
    """What the format that was tried first ended in; each runs in a warehouse of its own."""
    return {}


@pytest.mark.parametrize("form", FORMATS)
def test_the_same_rows_end_alike_in_every_format(warehouse, outcomes, form):
    for feed, rows in TABLES.items():
        warehouse.drop(f"{feed}.{form}", FORMATS[form](rows))
    report = warehouse.ingest()
    counts = {file.feed: (file.inserted, file.parked, file.failed) for file in report.files}
    assert counts == {
        "facilities": (3, 0, 0), "patients": (2, 1, 0), "medical_records": (2, 0, 0), "triage_visits": (1, 0, 2)
    }  # fmt: skip
    assert warehouse.ask("select phone, dob from patients order by id") == [
        ("8012345678", dt.date(1990, 1, 31)), ("08012345678", dt.date(1900, 1, 1))
    ]  # fmt: skip
    found = outcome(warehouse)
    assert outcomes.setdefault("first", found) == found


def refused(warehouse):
    return dict(
        warehouse.ask(
            """
            select regexp_replace(input_key, '.*/', ''), error_code
            from audit.ingest_files where status in ('held', 'rejected')
            """
        )
    )


@pytest.mark.parametrize("feed", MEDILINK_FEEDS)
def test_a_bad_workbook_is_named_with_its_code_and_stops_no_other_file(warehouse, feed):
    rows = TABLES[feed]
    whole = xlsx([*rows, *([str(number)] for number in range(500))])
    bad = {
        f"{feed}_truncated.xlsx": (whole[: len(whole) // 2], "not_a_workbook"),
        f"{feed}_truncated.xls": (xls(rows)[:2000], "not_a_workbook"),
        f"{feed}_zip_bomb.xlsx": (zip_bomb(rows), "workbook_too_large"),
        f"{feed}_sparse_bomb.xlsx": (sparse_bomb(rows), "workbook_too_large"),
        f"{feed}_encrypted.xlsx": (encrypted_xlsx(), "encrypted_workbook"),
        f"{feed}_encrypted.xls": (encrypted_xls(rows), "encrypted_workbook"),
        f"{feed}_missing_column.xlsx": (xlsx([rows[0][1:]]), "missing_column"),
        f"{feed}_duplicate_column.xlsx": (xlsx([[*rows[0], rows[0][0]]]), "duplicate_column"),
        f"{feed}_no_header.xlsx": (xlsx([[1, 2, 3]]), "no_header"),
        f"{feed}_no_sheet.xls": (xls([]), "no_header"),
        f"{feed}_empty.xlsx": (b"", "empty_file"),
    }
    for name, (body, _) in bad.items():
        warehouse.drop(name, body)
    warehouse.drop(f"{feed}.xlsx", xlsx(rows))
    report = warehouse.ingest()
    assert refused(warehouse) == {name: code for name, (_, code) in bad.items()}
    (good,) = [file for file in report.files if file.records_processed]
    assert good.records_processed == len(rows) - 1
    messages = str(warehouse.ask("select error_message from audit.ingest_files where status <> 'promoted'"))
    values = [value for row in rows[1:] for value in row if isinstance(value, str) and len(value) > 3]
    assert [value for value in values if value in messages] == []


@pytest.mark.parametrize("feed", MEDILINK_FEEDS)
def test_what_a_file_is_its_first_bytes_tell(warehouse, feed):
    rows = TABLES[feed]
    warehouse.drop(f"{feed}_a_csv.xlsx", as_csv(rows))
    warehouse.drop(f"{feed}_an_xls.xlsx", xls(rows))
    warehouse.drop(f"{feed}_an_xlsx.csv", xlsx(rows))
    warehouse.drop(f"{feed}_an_xlsx.xls", xlsx(rows, title="again"))
    report = warehouse.ingest()
    assert refused(warehouse) == {}
    assert [file.records_processed for file in report.files if file.records_processed] == [len(rows) - 1] * 4


@pytest.mark.parametrize("feed", MEDILINK_FEEDS)
def test_rows_with_uncalculated_formulas_errors_and_merged_cells_fail_and_the_others_enter(warehouse, feed):
    rows = TABLES[feed]
    width = len(rows[0])

    def merge(_, sheet):
        sheet.append(["merged", *["x"] * (width - 1)])
        sheet.merge_cells(start_row=sheet.max_row, end_row=sheet.max_row, start_column=1, end_column=2)
        sheet.append(["=1+1", *["x"] * (width - 1)])
        sheet.append(["#REF!", *["x"] * (width - 1)])

    warehouse.drop(f"{feed}.xlsx", xlsx(rows, merge))
    (file,) = warehouse.ingest().files
    first = len(rows) + 1
    assert file.records_processed == len(rows) + 2
    assert warehouse.ask(
        """
        select sightings.row_number, error_code from quarantine.entries
        inner join quarantine.sightings using (quarantine_id)
        where error_code in ('merged_cells', 'cell_without_value') order by 1
        """
    ) == [(first, "merged_cells"), (first + 1, "cell_without_value"), (first + 2, "cell_without_value")]


def test_hidden_sheets_macros_and_unknown_columns_are_warned_of(warehouse):
    def hide(book, _):
        book.create_sheet("old").sheet_state = "hidden"
        book.create_sheet("Notes")

    data = with_parts(xlsx(PATIENTS, hide, "Patients"), {"xl/vbaProject.bin": b"macro"})
    warehouse.drop("patients.xlsx", data)
    warehouse.ingest()
    ((warning, sha256),) = warehouse.ask("select warning, sha256 from audit.ingest_files")
    assert sha256 == hashlib.sha256(data).hexdigest()
    assert warning.split("; ") == [
        "hidden sheets, which were not read: 1",
        "macros, which were not run",
        "other sheets, which were not read: 1",
        "columns that the contract does not know are kept in _extra: Ward",
    ]


def test_a_header_alone_is_a_warning(warehouse):
    warehouse.drop("patients.xlsx", xlsx(PATIENTS[:1]))
    warehouse.ingest()
    assert warehouse.ask("select status, warning from audit.ingest_files") == [
        ("promoted", "columns that the contract does not know are kept in _extra: Ward; a header and no record")
    ]


def test_a_file_full_of_uncalculated_formulas_is_held(warehouse):
    rows = [PATIENTS[0], *(["Ikeja Hospital", "Ada", f"=A{number}", "F"] for number in range(2, 70))]
    warehouse.drop("patients.xlsx", xlsx(rows))
    warehouse.ingest()
    assert refused(warehouse) == {"patients.xlsx": "too_many_rejects"}
