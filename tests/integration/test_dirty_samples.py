"""`medilink sample-data --dirty`: every defect is met, and each becomes what the generator says it must."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from elt import bucket
from elt.sample_data import LAYOUTS, defects, generate

if TYPE_CHECKING:
    from conftest import Warehouse

    from elt.report import BatchReport

pytestmark = pytest.mark.integration

TODAY = date(2026, 3, 1)
PATIENTS = 40


@pytest.fixture
def report(warehouse: Warehouse, tmp_path: Path) -> BatchReport:
    generate(tmp_path / "drops", PATIENTS, seed=7, dirty=True, today=TODAY)
    bucket.upload_drops(warehouse.s3, warehouse.settings, tmp_path / "drops")
    return warehouse.ingest()


@pytest.mark.parametrize("feed", LAYOUTS)
def test_every_row_becomes_what_the_generator_says(warehouse: Warehouse, report: BatchReport, feed: str) -> None:
    becomes = [outcome for outcome, _ in defects(TODAY)[feed]]
    quarantined = warehouse.ask(
        "select entries.error_code from quarantine.sightings"
        " join quarantine.entries using (quarantine_id)"
        " join audit.ingest_files on ingest_files.file_id = sightings.file_id"
        f" where ingest_files.input_key like '%/{feed}.csv' order by sightings.row_number"
    )
    assert [code for (code,) in quarantined] == [code for code in becomes if code not in ("inserted", "duplicate")]
    file = next(file for file in report.files if file.input_key.endswith(f"/{feed}.csv"))
    clean = file.records_processed - len(becomes)
    assert clean > 0
    assert (file.inserted, file.duplicate) == (clean + becomes.count("inserted"), becomes.count("duplicate"))


def test_every_refused_file_bears_the_code_in_its_name(report: BatchReport) -> None:
    refused = {file.input_key.rpartition("/")[2]: file.error_code for file in report.files if file.error_code}
    assert refused == {
        "appointments_unknown_feed.csv": "unknown_feed",
        "facilities_invalid_encoding.csv": "invalid_encoding",
        "facilities_no_header.csv": "no_header",
        "facilities_too_many_rejects.csv": "too_many_rejects",
        "medical_records_missing_column.csv": "missing_column",
        "patients_empty_file.csv": "empty_file",
        "triage_visits_duplicate_column.csv": "duplicate_column",
        "triage_visits_unclosed_quote.csv": "unclosed_quote",
    }
