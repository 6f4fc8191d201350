"""The API over a real warehouse: `settings` and `admin` come from tests/conftest.py; rows are seeded here, per test."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from flask.testing import FlaskClient

from backend.app import create_app
from backend.database import db
from backend.problems import Api
from elt.settings import Settings

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
create table analytics.dim_facilities (
    facility_id bigint, facility_name text, state text, patient_count bigint, record_count bigint,
    avg_triage_level numeric
);
insert into analytics.dim_facilities values
    (1, 'Ikeja General Hospital', 'LAGOS', 3, 2, 1), (2, 'Epe Health Post', 'LAGOS', 3, 1, 5),
    (3, 'Jos Clinic', 'PLATEAU', 0, 0, null);
grant usage on schema analytics to api_read;
grant select on analytics.dim_facilities to api_read;
insert into audit.batches (run_key, state, completed_at, lease_expires_at) values ('test', 'succeeded', now(), now());
insert into audit.releases (batch_id, published_at) select batch_id, '2026-01-31 02:01:40.1+00' from audit.batches;
comment on schema analytics is 'release 1';
"""


@pytest.fixture
def app(settings: Settings) -> Iterator[Api]:
    app = create_app(settings)
    yield app
    with app.app_context():
        db.engine.dispose()


@pytest.fixture
def stranger(app: Api) -> FlaskClient:
    """A client without the token."""
    return app.test_client()


@pytest.fixture
def client(app: Api, settings: Settings) -> FlaskClient:
    """A client that sends the token."""
    client = app.test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {settings.api_token.get_secret_value()}"
    return client


@pytest.fixture
def rows(admin: psycopg.Connection) -> None:
    """Production rows: 3 facilities, 6 patients, 3 medical records, 2 triage visits, ids from 1; no marts."""
    for statement in (FACILITIES, PATIENTS, MEDICAL_RECORDS, TRIAGE_VISITS):
        admin.execute(statement.encode())


@pytest.fixture
def marts(admin: psycopg.Connection) -> None:
    """A release of the marts over `rows`, published 2026-01-31 02:01:40.1 UTC."""
    admin.execute(MARTS)
