"""The API over a real warehouse: `settings` and `admin` come from tests/conftest.py; rows are seeded here, per test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from flask.testing import FlaskClient

from backend.api import Api
from backend.app import create_app
from backend.database import db
from elt.publish import bind_to_facilities
from elt.settings import REPOSITORY, Settings
from elt.vocabulary import Role

FACILITIES = """
insert into public.facilities (name, state, lga, lat, lon, type, source) values
    ('Ikeja General Hospital', 'LAGOS', 'Ikeja', 6.6018, 3.3515, 'General Hospital', 'api'),
    ('Epe Health Post', 'LAGOS', 'Epe', null, null, 'Health Post', 'api'),
    ('Jos Clinic', 'PLATEAU', null, 9.9, 8.9, null, 'api')
"""

# One patient per age group, on its edges, and one without a date of birth; ages move with today's date.
PATIENTS = """
insert into public.patients (facility_id, first_name, last_name, sex, dob, phone, source) values
    (1, 'Canary', 'Infant', 'F', current_date - interval '1 year' + interval '1 day', '+2348000000001', 'api'),
    (1, 'Canary', 'Child', 'M', current_date - interval '1 year', null, 'api'),
    (1, 'Canary', 'Adolescent', 'Other', current_date - interval '13 years', null, 'api'),
    (2, 'Canary', 'Adult', 'Unknown', current_date - interval '18 years', null, 'api'),
    (2, 'Canary', 'Senior', null, current_date - interval '65 years', null, 'api'),
    (2, 'Àdá', 'O''Unborn', 'F', null, null, 'api')
"""

MEDICAL_RECORDS = """
insert into public.medical_records (patient_id, facility_id, record_type, data, record_id, recorded_at, source) values
    (1, 1, 'Diagnosis', '{"diagnosis": "Malaria", "notes": "rest"}', 'R-1', '2026-01-01 00:00+00', 'api'),
    (1, 1, 'Treatment', '{"treatment": "ACT", "medications": "AL"}', 'R-2', '2026-01-31 23:59:59+00', 'api'),
    (4, 2, 'Diagnosis', '{}', null, null, 'api')
"""

TRIAGE_VISITS = """
insert into public.triage_visits
    (patient_id, facility_id, triage_level, chief_complaint, vital_signs, conditions, visited_at, source)
values
    (1, 1, 1, 'chest pain', 'BP: 120/80; HR: 72; T: 36.6', '{Angina,Stress}', '2026-01-15 12:00+00', 'api'),
    (4, 2, 5, null, null, null, null, 'api')
"""

MARTS = """
insert into analytics.dim_facilities
    (facility_id, facility_name, state, patient_count, record_count, visit_count, avg_triage_level)
values
    (1, 'Ikeja General Hospital', 'LAGOS', 3, 2, 1, 1), (2, 'Epe Health Post', 'LAGOS', 3, 1, 1, 5),
    (3, 'Jos Clinic', 'PLATEAU', 0, 0, 0, null);
insert into analytics.facility_performance
    (facility_id, facility_name, state, facility_category, volume_category, acuity_category, performance_indicator,
     patient_count, record_count, visit_count, urgent_visit_count, avg_triage_level, urgent_visit_pct, is_active)
values
    (1, 'Ikeja General Hospital', 'LAGOS', 'Secondary', 'High', 'High', 'Good', 13, 42, 12, 3, 2.5, 25, true),
    (2, 'Epe Health Post', 'LAGOS', 'Primary', 'Low', 'Low', 'Poor', 3, 1, 1, 0, 5, 0, true);
insert into analytics.patient_summary
    (patient_id, facility_id, facility_name, state, sex, age_group, risk_assessment, engagement_level, diagnoses,
     record_count, visit_count, urgent_visit_count, illness_count, risk_points, engagement_score)
values
    (1, 1, 'Ikeja General Hospital', 'LAGOS', 'F', 'Infant', 'High', 'Low', '{Malaria}', 2, 1, 1, 1, 5, 20),
    (4, 2, 'Epe Health Post', 'LAGOS', 'Unknown', 'Adult', 'Low', 'Low', null, 1, 1, 0, 0, 0, 20);
insert into analytics.triage_trends (facility_id, facility_name, state, visited_on, visit_count, critical_count)
select facility, 'Facility', 'LAGOS', date '2026-01-01' + day, 4 * facility * day, day
from generate_series(1, 2) as facility, generate_series(0, 2) as day;
insert into analytics.condition_analysis
    (condition, state, age_group, sex, patient_count, visit_count, urgent_visit_count, frequency_rank, severity_rank,
     avg_triage_level, visit_share_pct)
values
    ('Angina', 'LAGOS', 'Adult', 'F', 1, 1, 1, 2, 1, 1, 2.1),
    ('Stress, “burn-out”', 'LAGOS', 'Adult', 'F', 21, 23, 9, 1, 2, 3, 9);
grant usage on schema analytics to api_read;
grant select on all tables in schema analytics to api_read;
insert into audit.batches (run_key, state, completed_at, lease_expires_at) values ('test', 'succeeded', now(), now());
insert into audit.releases (batch_id, published_at) select batch_id, '2026-01-31 02:01:40.1+00' from audit.batches;
comment on schema analytics is 'release 1';
"""


# A finished run with a promoted and a held file, and rows in quarantine: two of facility 1, one of facility 2, one that
# bears no facility.
LEDGER = """
insert into audit.batches (run_key, state, started_at, completed_at, lease_expires_at) values
    ('manual__2026-01-31T02:00:00+00:00', 'succeeded', '2026-01-31 02:00+00', '2026-01-31 02:01+00', now()),
    ('cli-2', 'failed', '2026-02-01 02:00+00', '2026-02-01 02:01+00', now());
insert into audit.batch_steps (batch_id, step, attempt, state, started_at, completed_at) values
    (1, 'extract', 1, 'failed', '2026-01-31 02:00+00', '2026-01-31 02:00+00'),
    (1, 'extract', 2, 'succeeded', '2026-01-31 02:00:01+00', '2026-01-31 02:00:02+00'),
    (1, 'load_patients', 1, 'succeeded', '2026-01-31 02:00:03+00', '2026-01-31 02:00:04+00');
insert into audit.dbt_results (
    batch_id, node_id, resource_type, layer, status, severity, seconds, rows_affected, failures, message
) values
    (1, 'test.medilink.not_null_dim_patients_sex.1a2b', 'test', 'marts', 'warn', 'warn', 0.07, null, 3,
     'test not_null_dim_patients_sex of dim_patients ended as warn with 3 rows'),
    (1, 'model.medilink.dim_patients', 'model', 'marts', 'success', null, 1.82, 6, null, null);
insert into audit.ingest_files (
    input_key, etag, size_bytes, last_modified, feed, batch_id, status, sha256, archive_key, records_processed,
    records_inserted, records_updated, records_unchanged, records_duplicate, records_parked, records_failed
) values ('in/patients-lagos.csv', 'e', 10, now(), 'patients', 1, 'archived', 'abc', 'archive/k', 7, 3, 0, 0, 0, 1, 3);
insert into audit.ingest_files (
    input_key, etag, size_bytes, last_modified, feed, batch_id, status, sha256, archive_key, error_code
) values ('in/facilities.csv', 'f', 10, now(), 'facilities', 1, 'held', 'def', 'archive/l', 'missing_column');
insert into quarantine.entries (
    feed, disposition, row_hash, file_id, row_number, batch_id, error_code, error_column, errors, delivered,
    delivered_text
) values
    ('patients', 'failed', gen_random_uuid(), 1, 4, 1, 'invalid_type', 'dob',
     '[{"column": "dob", "code": "invalid_type"}]',
     '{"facility_name": " ikeja  general hospital", "first_name": "=Canary()", "dob": "31.01.1990"}', null),
    ('patients', 'parked', gen_random_uuid(), 1, 5, 1, 'ambiguous_facility', 'facility_name',
     '[{"column": "facility_name", "code": "ambiguous_facility"}]',
     '{"facility_name": "Ikeja General Hospital", "facility_state": "Lagos", "first_name": "Canary"}', null),
    ('patients', 'failed', gen_random_uuid(), 1, 6, 1, 'missing_value', 'last_name',
     '[{"column": "last_name", "code": "missing_value"}]', '{"facility_name": "Epe Health Post"}', null),
    ('patients', 'failed', gen_random_uuid(), 1, 7, 1, 'wrong_column_count', null,
     '[{"column": null, "code": "wrong_column_count"}]', null, 'Canary,1,2,3,4,5,6,7,8,9'),
    ('patients', 'failed', gen_random_uuid(), 1, 8, 1, 'missing_value', 'last_name',
     '[{"column": "last_name", "code": "missing_value"}]',
     '{"facility_name": "Ikeja General Hospital", "facility_state": "Kano"}', null);
insert into quarantine.sightings (file_id, row_number, quarantine_id, disposition)
    select file_id, row_number, quarantine_id, disposition from quarantine.entries;
"""


def mart_columns() -> Iterator[tuple[list[dict[str, Any]], Path]]:
    """The columns of every mart as its contract declares them, and the contract's file."""
    for path in sorted((REPOSITORY / "dbt" / "models" / "marts").rglob("*.yml")):
        for model in yaml.safe_load(path.read_text(encoding="utf-8")).get("models", ()):
            if model["name"] == path.stem:
                yield model["columns"], path


@pytest.fixture
def app_with(settings: Settings) -> Iterator[Callable[..., Api]]:
    """Applications over other settings: `app_with(api_rate_limit="3/minute")`."""
    apps: list[Api] = []

    def make(**changes: object) -> Api:
        apps.append(create_app(settings.model_copy(update=changes)))
        return apps[-1]

    yield make
    for app in apps:
        with app.app_context():
            db.engine.dispose()


@pytest.fixture
def app(app_with: Callable[..., Api]) -> Api:
    return app_with()


@pytest.fixture
def stranger(app: Api) -> FlaskClient:
    """A client without a token."""
    return app.test_client()


@pytest.fixture
def client_of(app: Api, admin: psycopg.Connection) -> Callable[..., FlaskClient]:
    """A client by role and facilities: `client_of(Role.CLINICIAN, 1, 2)`. It has a token, and its name is `<role>`."""

    def make(role: Role, *facility_ids: int) -> FlaskClient:
        admin.execute(
            """
            insert into audit.api_clients (client_id, role, facility_ids, secret_hash, rotated_at)
            values (%s, %s, %s, 'none', 'yesterday') on conflict do nothing
            """,
            [role, role, list(facility_ids)],
        )
        client = app.test_client()
        token = app.extensions["medilink_tokens"].issue(role, role, list(facility_ids))
        client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {token}"
        return client

    return make


@pytest.fixture
def client(client_of: Callable[..., FlaskClient]) -> FlaskClient:
    """A client that may do everything."""
    return client_of(Role.ADMIN)


@pytest.fixture
def rows(admin: psycopg.Connection) -> None:
    """Production rows: 3 facilities, 6 patients, 3 medical records, 2 triage visits, ids from 1; no marts."""
    for statement in (FACILITIES, PATIENTS, MEDICAL_RECORDS, TRIAGE_VISITS):
        admin.execute(statement.encode())


@pytest.fixture
def marts(admin: psycopg.Connection) -> None:
    """A release of the marts over `rows`, published 2026-01-31 02:01:40.1 UTC."""
    admin.execute("set role transformer")
    for columns, path in mart_columns():
        described = ", ".join(f"{column['name']} {column['data_type']}" for column in columns)
        admin.execute(f"create table analytics.{path.stem} ({described})")
    admin.execute("reset role")
    admin.execute(MARTS.encode())
    bind_to_facilities(admin, "analytics")
