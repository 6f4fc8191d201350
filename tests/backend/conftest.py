"""The API over a real warehouse: `settings` and `admin` come from tests/conftest.py; rows are seeded here, per test."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg
import pytest
from flask.testing import FlaskClient

from backend.app import create_app
from backend.database import db
from backend.problems import Api
from elt.publish import bind_to_facilities
from elt.settings import Settings
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
set role transformer;
create table analytics.dim_facilities (
    facility_id bigint, facility_name text, state text, patient_count bigint, record_count bigint, visit_count bigint,
    avg_triage_level numeric
);
insert into analytics.dim_facilities values
    (1, 'Ikeja General Hospital', 'LAGOS', 3, 2, 1, 1), (2, 'Epe Health Post', 'LAGOS', 3, 1, 1, 5),
    (3, 'Jos Clinic', 'PLATEAU', 0, 0, 0, null);
grant usage on schema analytics to api_read;
grant select on analytics.dim_facilities to api_read;
reset role;
insert into audit.batches (run_key, state, completed_at, lease_expires_at) values ('test', 'succeeded', now(), now());
insert into audit.releases (batch_id, published_at) select batch_id, '2026-01-31 02:01:40.1+00' from audit.batches;
comment on schema analytics is 'release 1';
"""


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
    admin.execute(MARTS)
    bind_to_facilities(admin, "analytics")
