"""No list and no analytics page reads a whole table of patients or events; page 1000 costs what page 1 does."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
import yaml
from flask.testing import FlaskClient

from backend import database
from backend.api import Api
from backend.round_trip import Statement
from elt.settings import REPOSITORY
from elt.vocabulary import Role

ROWS = 20_000
LARGE = {"patients", "medical_records", "triage_visits", "patient_summary", "triage_trends"}

FILL = f"""
insert into public.facilities (name, state, source)
    select 'Facility ' || n, 'KANO', 'api' from generate_series(4, 40) n;
insert into public.patients (facility_id, first_name, last_name, sex, dob, source)
    select 1 + n % 40, 'First' || n % 700, 'Last' || n % 900, (array['F', 'M'])[1 + n % 2],
        date '1950-01-01' + n, 'api'
    from generate_series(7, {ROWS}) n;
insert into public.medical_records (patient_id, facility_id, record_type, source)
    select n, 1 + n % 40, 'Type' || n % 10, 'api' from generate_series(7, {ROWS}) n;
update public.medical_records
    set recorded_at = timestamptz '2026-01-01' + patient_id * interval '1 hour';
insert into public.triage_visits (patient_id, facility_id, triage_level, visited_at, source)
    select n, 1 + n % 40, 1 + n % 5, timestamptz '2026-01-01' + n * interval '1 hour', 'api'
    from generate_series(7, {ROWS}) n;
insert into analytics.patient_summary (patient_id, facility_id, sex, age_group, risk_assessment)
    select n, 1 + n % 40, (array['F', 'M'])[1 + n % 2], (array['Adult', 'Child'])[1 + n % 2],
        (array['Low', 'High'])[1 + n % 2]
    from generate_series(7, {ROWS}) n;
insert into analytics.triage_trends (facility_id, visited_on, state)
    select 1 + n % 40, date '2026-02-01' + n / 40, 'KANO' from generate_series(0, {ROWS}) n;
"""

# What each filter is tried with: values that many rows have, since a value that hardly any has is not worth an index.
VALUES = {
    "id": "17",
    "patient_id": "17",
    "facility_id": "7",
    "batch_id": "1",
    "run_id": "test",
    "state": "open",
    "sex": "F",
    "age_group": "Adult",
    "q": "last17",
    "record_type": "Type7",
    "triage_level": "1",
    "from": "2026-03-01",
    "to": "2026-03-02",
    "risk_assessment": "Low",
    "feed": "patients",
    "status": "archived",
    "code": "missing_value",
    "file": "patients-17.csv",
    "disposition": "failed",
    "page": "300",
    "limit": "100",
    "count": "true",
    "days": "30",
}
PER_ADDRESS = {
    "/api/facilities?state": "Kano",
    "/api/analytics/facility-performance?state": "Kano",
    "/api/analytics/triage-trends?state": "Kano",
    "/api/analytics/condition-analysis?state": "Kano",
    "/api/pipeline/runs?state": "succeeded",
}
# Small ones, and paging that others stand for.
UNTRIED = {
    "per_page", "after", "lga", "type", "condition", "organisation_code", "region_code", "year", "quarter", "pressure",
}  # fmt: skip
COMBINED = [
    "/api/patients?after=15000",
    "/api/patients?facility_id=7&sex=F&age_group=Adult",
    "/api/patients?q=first17",
    "/api/patients?q=first17%20last17",
    "/api/patients?facility_id=7&count=true",
    "/api/medical-records?facility_id=7&from=2026-03-01&to=2026-03-02",
    "/api/triage-visits?facility_id=7&triage_level=1",
    "/api/analytics/triage-trends?facility_id=7&from=2026-03-01",
    "/api/analytics/patient-summary?facility_id=7&risk_assessment=Low",
]


def addresses(app: Api) -> Iterator[str]:
    """Every address of the document that reads tables: bare, and with each of its parameters."""
    for path, operations in app.api_doc["paths"].items():
        if "get" not in operations or not path.startswith("/api/") or path.startswith("/api/auth/"):
            continue
        if path == "/api/analytics/bed-occupancy":
            continue
        names = {parameter["name"]: parameter["in"] for parameter in operations["get"].get("parameters", [])}
        bare = path.format_map(VALUES)
        yield bare
        for name in (name for name, place in names.items() if place == "query" and name not in UNTRIED):
            yield f"{bare}?{name}={PER_ADDRESS.get(f'{path}?{name}') or VALUES[name]}"
    yield from COMBINED


def keys_and_indexes() -> Iterator[str]:
    """Those of the marts, as their models declare them."""
    for path in sorted((REPOSITORY / "dbt" / "models" / "marts" / "analytics").glob("*.yml")):
        (model,) = yaml.safe_load(path.read_text(encoding="utf-8"))["models"]
        table = f"analytics.{model['name']}"
        declared = [*model.get("constraints", ())]
        for column in model["columns"]:
            declared += [{"columns": [column["name"]], **constraint} for constraint in column.get("constraints", ())]
        for constraint in declared:
            if constraint["type"] == "primary_key":
                yield f"alter table {table} add primary key ({', '.join(constraint['columns'])})"
        for index in model.get("config", {}).get("indexes", ()):
            yield f"create index on {table} ({', '.join(index['columns'])})"


@pytest.fixture
def plans(
    admin: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
    rows: None,  # noqa: ARG001 - more of them
    marts: None,  # noqa: ARG001 - the same
) -> list[dict[str, Any]]:
    """The plan of every query that the API sends from now on, as PostgreSQL makes it in the same transaction."""
    admin.execute(FILL.encode())
    for statement in keys_and_indexes():
        admin.execute(statement.encode())
    admin.execute("analyze")
    found: list[dict[str, Any]] = []
    in_transaction = database._in_transaction

    def explained(visit: database.Visit, query: str, parameters: dict[str, Any]) -> list[Statement]:
        *beginning, asked = in_transaction(visit, query, parameters)
        beside = asked._replace(sql=f"explain (format json) {query}", is_prepared=False)
        (row,) = database._send(visit, [*beginning, beside])
        found.append(row[0][0]["Plan"])
        return [asked]

    monkeypatch.setattr(database, "_in_transaction", explained)
    return found


def scans(plan: dict[str, Any]) -> Iterator[str]:
    """The large tables that a plan reads from end to end."""
    for child in plan.get("Plans", ()):
        # Right below a limit it stops there.
        if not (plan["Node Type"] == "Limit" and child["Node Type"] == "Seq Scan"):
            yield from scans(child)
    if plan["Node Type"] == "Seq Scan" and plan["Relation Name"] in LARGE:
        yield plan["Relation Name"]


def test_no_large_table_is_read_from_end_to_end(
    app: Api, plans: list[dict[str, Any]], client_of: Callable[..., FlaskClient]
) -> None:
    clients = {role: client_of(role, *facilities) for role, *facilities in ((Role.ADMIN,), (Role.CLINICIAN, 7))}
    read = []
    tried = 0
    for role, client in clients.items():
        for address in addresses(app):
            plans.clear()
            answer = client.get(address)
            if role is Role.ADMIN or answer.status_code != 403:
                assert answer.status_code in (200, 404), f"{address}: {answer.text}"
                assert plans
                tried += 1
            read += [(role, address, table) for plan in plans for table in scans(plan)]
    assert tried > 100
    assert read == [], json.dumps(read, indent=1)
