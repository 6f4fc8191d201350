"""No list and no analytics page reads a whole table of patients or events; page 1000 costs what page 1 does."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from flask.testing import FlaskClient

from backend import database
from elt.vocabulary import Role

ROWS = 20_000
LARGE = {"patients", "medical_records", "triage_visits", "patient_summary", "triage_trends"}

FILL = f"""
insert into public.facilities (name, state, source)
    select 'Facility ' || n, 'KANO', 'api' from generate_series(4, 40) n;
insert into public.patients (facility_id, first_name, last_name, sex, dob, source)
    select 1 + n % 40, 'First' || n % 700, 'Last' || n % 900, 'F', date '1950-01-01' + n, 'api'
    from generate_series(7, {ROWS}) n;
insert into public.medical_records (patient_id, facility_id, record_type, source)
    select n, 1 + n % 40, 'Type' || n % 10, 'api' from generate_series(7, {ROWS}) n;
insert into public.triage_visits (patient_id, facility_id, triage_level, visited_at, source)
    select n, 1 + n % 40, 1 + n % 5, timestamptz '2026-01-01' + n * interval '1 hour', 'api'
    from generate_series(7, {ROWS}) n;
insert into analytics.patient_summary (patient_id, facility_id, risk_assessment) select n, 1 + n % 40, 'Low'
    from generate_series(7, {ROWS}) n;
insert into analytics.triage_trends (facility_id, visited_on, state)
    select 1 + n % 40, date '2026-02-01' + n / 40, 'KANO' from generate_series(0, {ROWS}) n;
alter table analytics.patient_summary add primary key (patient_id);
alter table analytics.triage_trends add primary key (facility_id, visited_on);
analyze;
"""

ADDRESSES = [
    "/api/patients",
    "/api/patients?page=300",
    "/api/patients?after=15000",
    "/api/patients?facility_id=7",
    "/api/patients?facility_id=7&sex=F&age_group=Adult",
    "/api/patients?sex=F",
    "/api/patients?age_group=Senior",
    "/api/patients?q=last17",
    "/api/patients?q=first17",
    "/api/patients?q=first17%20last17",
    "/api/patients/17",
    "/api/patients/17/lineage",
    "/api/medical-records",
    "/api/medical-records?patient_id=17",
    "/api/medical-records?facility_id=7",
    "/api/medical-records?record_type=Type7",
    "/api/medical-records?from=2026-01-02&to=2026-01-03",
    "/api/triage-visits",
    "/api/triage-visits?patient_id=17",
    "/api/triage-visits?facility_id=7&triage_level=1",
    "/api/triage-visits?triage_level=1",
    "/api/triage-visits?from=2026-03-01&to=2026-03-02",
    "/api/analytics/facility-stats",
    "/api/analytics/facility-performance?facility_id=1",
    "/api/analytics/patient-summary",
    "/api/analytics/patient-summary?patient_id=17",
    "/api/analytics/triage-trends?limit=100",
    "/api/analytics/triage-trends?facility_id=7",
]


@pytest.fixture
def plans(
    admin: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
    rows: None,  # noqa: ARG001 - more of them
    marts: None,  # noqa: ARG001 - the same
) -> list[dict[str, Any]]:
    """The plan of every query that the API sends from now on, as PostgreSQL makes it in the same transaction."""
    admin.execute(FILL.encode())
    found: list[dict[str, Any]] = []
    read = database._read

    def explained(query: str, parameters: dict[str, Any]) -> Any:
        cursor = read(query, parameters)
        beside = database._connection().execute(f"explain (format json) {query}".encode(), parameters or None)
        found.append((beside.fetchone() or [])[0][0]["Plan"])
        return cursor

    monkeypatch.setattr(database, "_read", explained)
    return found


def scans(plan: dict[str, Any]) -> Iterator[str]:
    """The large tables that a plan reads from end to end."""
    if plan["Node Type"] == "Seq Scan" and plan["Relation Name"] in LARGE:
        yield plan["Relation Name"]
    for child in plan.get("Plans", ()):
        yield from scans(child)


def test_no_large_table_is_read_from_end_to_end(
    plans: list[dict[str, Any]], client_of: Callable[..., FlaskClient]
) -> None:
    clients = [client_of(Role.ADMIN), client_of(Role.CLINICIAN, 7)]
    read = []
    for client in clients:
        for address in ADDRESSES:
            plans.clear()
            answer = client.get(address)
            assert answer.status_code in (200, 404), f"{address}: {answer.text}"
            assert plans
            read += [(address, table) for plan in plans for table in scans(plan)]
    assert read == [], json.dumps(read, indent=1)
