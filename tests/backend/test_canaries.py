"""Canary patients are planted, and every output searched for them: only those see them whom the matrix names."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from flask.testing import FlaskClient

from backend.access import MATRIX, Scope
from backend.api import Api
from elt.vocabulary import BOUND_ROLES, Role
from tests.backend.test_access import closed_routes

ClientOf = Callable[..., FlaskClient]

CANARY = "Zyxwcanary"
PLANT = f"""
insert into public.patients (facility_id, first_name, last_name, sex, dob, phone, source)
    values (2, '{CANARY}', 'Last{CANARY}', 'F', '1977-07-07', '+99{CANARY}', 'api');
insert into public.medical_records (patient_id, facility_id, record_type, data, record_id, source)
    values (7, 2, 'Type{CANARY}', '{{"diagnosis": "{CANARY}", "notes": "{CANARY}"}}', 'id{CANARY}', 'api');
insert into public.triage_visits (patient_id, facility_id, triage_level, chief_complaint, conditions, source)
    values (7, 2, 1, '{CANARY}', '{{{CANARY}}}', 'api');
with batch as (insert into audit.batches (run_key, lease_expires_at) values ('r', now()) returning batch_id),
file as (
    insert into audit.ingest_files (input_key, etag, size_bytes, last_modified, batch_id, status)
    select 'patients.csv', 'e', 1, now(), batch_id, 'discovered' from batch returning file_id, batch_id
)
insert into quarantine.entries
    (feed, disposition, row_hash, file_id, row_number, batch_id, error_code, errors, delivered, delivered_text)
select 'patients', 'failed', gen_random_uuid(), file_id, n, batch_id, 'missing_value',
    '[{{"column": "last_name", "code": "missing_value"}}]',
    jsonb_build_object('facility_name', 'Epe Health Post', 'first_name', '{CANARY}'), '{CANARY}'
from file cross join generate_series(1, 10) as n;
"""
# Whose answers hold patients, if the matrix lets the caller through.
HOLDS_PATIENTS = ("patients.", "medical_records.", "triage_visits.", "quarantine.")


@pytest.fixture(autouse=True)
def planted(admin: psycopg.Connection, rows: None, marts: None) -> None:  # noqa: ARG001
    admin.execute(PLANT.encode())


def sees(role: Role, endpoint: str) -> bool:
    """Whether the matrix shows this role a patient of facility 2, if it is bound to facility 1."""
    scope = MATRIX[endpoint].get(role)
    return endpoint.startswith(HOLDS_PATIENTS) and scope not in (None, Scope.OWN)


def test_only_those_see_them_whom_the_matrix_names(
    app: Api, client_of: ClientOf, caplog: pytest.LogCaptureFixture, admin: psycopg.Connection
) -> None:
    caplog.set_level(logging.DEBUG)
    seen = 0
    for role in Role:
        client = client_of(role, *([1] if role in BOUND_ROLES else []))
        for rule, method, address in closed_routes(app):
            if method != "GET":
                continue
            for path in (address, address.replace("/1", "/7"), f"{address}?per_page=1000", f"{address}?q={CANARY}"):
                for accept in ("application/json", "text/csv"):
                    answer = client.get(path, headers={"Accept": accept}, buffered=True)
                    found = CANARY in answer.text.replace(f"q={CANARY}", "")
                    assert not found or sees(role, rule.endpoint), f"{role} {path}"
                    seen += found
            if rule.endpoint == "quarantine.list_entries":
                export = client.get(f"{address}?feed=patients", headers={"Accept": "text/csv"})
                assert (CANARY in export.text) == sees(role, "quarantine.get_entry")
    assert seen > 5
    assert CANARY not in caplog.text
    (logged,) = admin.execute("select string_agg(access_log::text, E'\\n') from audit.access_log").fetchone() or ("",)
    assert CANARY not in logged


def test_no_refusal_repeats_what_was_sent(
    app: Api, client: FlaskClient, caplog: pytest.LogCaptureFixture, admin: psycopg.Connection
) -> None:
    caplog.set_level(logging.DEBUG)
    sent: list[tuple[str, str, dict[str, Any]]] = [
        ("GET", f"/api/patients?page={CANARY}&per_page={CANARY}&{CANARY}=1", {}),
        ("GET", f"/api/patients?after={CANARY}&sex={CANARY}", {}),
        ("GET", f"/api/analytics/triage-trends?after={CANARY}", {}),
        ("GET", f"/api/{CANARY}", {}),
        ("GET", f"/api/patients/{CANARY}", {}),
        ("GET", f"/problems/{CANARY}", {}),
        ("POST", "/api/patients", {"json": {"facility_id": 1, "first_name": CANARY, "last_name": "x", "dob": CANARY}}),
        ("POST", "/api/patients", {"json": {CANARY: CANARY}}),
        ("POST", "/api/patients", {"data": f'{{"first_name": {CANARY}', "content_type": "application/json"}),
        ("POST", "/api/patients", {"json": {"facility_id": 2, "first_name": CANARY, "last_name": f"Last{CANARY}",
                                            "sex": "F", "dob": "1977-07-07"}}),
        ("POST", "/api/medical-records", {"json": {"patient_id": 7, "record_type": "x", "recorded_at": CANARY}}),
        ("POST", "/api/auth/token", {"data": {"grant_type": CANARY, "client_id": CANARY, "client_secret": CANARY}}),
        ("GET", "/api/patients", {"headers": {"Authorization": f"Bearer {CANARY}"}}),
        ("PATCH", "/api/patients/7", {"json": {"sex": CANARY}}),
        ("DELETE", "/api/patients/7", {}),
    ]  # fmt: skip
    for method, path, options in sent:
        answer = client.open(path, method=method, **options)
        assert answer.status_code >= 400, path
        pointers = [error["pointer"] for error in (answer.json or {}).get("errors", [])]
        text = answer.text
        for pointer in pointers:
            text = text.replace(pointer, "")
        assert CANARY not in text, f"{method} {path}"
        assert CANARY not in str(answer.headers), f"{method} {path}"
    assert CANARY not in caplog.text
    assert CANARY not in client.get("/metrics").text
    (logged,) = admin.execute("select string_agg(access_log::text, E'\\n') from audit.access_log").fetchone() or ("",)
    assert CANARY not in logged
    assert app.api_doc
    assert CANARY not in str(app.api_doc)
