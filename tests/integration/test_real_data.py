"""The real inputs: real names, real geography, 11,393 facilities; feeds.md says what must become of every row."""

from __future__ import annotations

import uuid

import pytest

pytestmark = pytest.mark.integration


def outcomes(report):
    return {
        file.feed: {
            name: getattr(file, name)
            for name in ("inserted", "updated", "unchanged", "duplicate", "parked", "failed")
            if getattr(file, name)
        }
        for file in report.files
    }


def test_the_real_folder_ends_as_the_feeds_document_says(warehouse, real_data):
    files = {path.name: path.read_bytes() for path in sorted((real_data / "medilink").glob("*.csv"))}
    for name, content in files.items():
        warehouse.drop(name, content)
    warehouse.run(f"night-{uuid.uuid4()}")
    assert outcomes(warehouse.report()) == {
        "facilities": {"inserted": 11_292, "failed": 101},
        "patients": {"inserted": 260, "parked": 18},
        "medical_records": {"inserted": 2_554, "parked": 180},
        "triage_visits": {"inserted": 560, "parked": 40},
    }
    assert warehouse.ask("select distinct feed, disposition, error_code from quarantine.entries order by feed") == [
        ("facilities", "failed", "conflicting_key"),
        ("medical_records", "parked", "ambiguous_facility"),
        ("patients", "parked", "ambiguous_facility"),
        ("triage_visits", "parked", "ambiguous_facility"),
    ]
    assert {
        key.rsplit("/", 1)[1]: content for key, content in warehouse.objects("medical_records/archive/").items()
    } == files
    assert warehouse.objects("medical_records/input/") == {}
    before = warehouse.ask("select count(*), max(id), max(updated_at) from facilities")

    for name, content in files.items():
        warehouse.drop(name, content)
    warehouse.ingest()
    assert {file.status for file in warehouse.report().files} == {"duplicate"}
    assert warehouse.report().entities == []
    assert warehouse.ask("select count(*), max(id), max(updated_at) from facilities") == before
