"""Lists and single entities: what they hold, filters, both ways of paging, counts."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from flask.testing import FlaskClient

from backend.facilities.schemas import Facility
from backend.medical_records.schemas import MedicalRecord
from backend.patients.schemas import Patient
from backend.schema import Schema
from backend.triage_visits.schemas import TriageVisit

pytestmark = pytest.mark.usefixtures("rows")

RESOURCES: dict[str, type[Schema]] = {
    "/api/facilities": Facility,
    "/api/patients": Patient,
    "/api/medical-records": MedicalRecord,
    "/api/triage-visits": TriageVisit,
}


def ids(client: FlaskClient, address: str) -> list[int]:
    answer = client.get(address)
    assert answer.status_code == 200, answer.text
    return [entity["id"] for entity in answer.json or []]


@pytest.mark.parametrize("address", RESOURCES)
def test_answers_are_what_their_schema_says(client: FlaskClient, address: str) -> None:
    schema = RESOURCES[address]
    listed = client.get(address)
    assert listed.json
    for entity in listed.json:
        schema.model_validate(entity)
        assert list(entity) == list(schema.model_fields)
    assert client.get(f"{address}/1").json == listed.json[0]


def test_a_facility(client: FlaskClient) -> None:
    facility: dict[str, Any] = client.get("/api/facilities/1").json or {}
    assert facility.pop("created_at") == facility.pop("updated_at")
    assert facility == {
        "id": 1,
        "name": "Ikeja General Hospital",
        "state": "LAGOS",
        "lga": "Ikeja",
        "lat": 6.6018,
        "lon": 3.3515,
        "type": "General Hospital",
    }


def test_a_medical_record_has_all_four_parts(client: FlaskClient) -> None:
    record: dict[str, Any] = client.get("/api/medical-records/1").json or {}
    assert record["data"] == {"diagnosis": "Malaria", "treatment": None, "medications": None, "notes": "rest"}
    assert record["recorded_at"] == "2026-01-01T00:00:00+00:00"


def test_a_triage_visit_has_numbers_and_lists(client: FlaskClient) -> None:
    visit: dict[str, Any] = client.get("/api/triage-visits/1").json or {}
    assert visit["conditions"] == ["Angina", "Stress"]
    assert visit["recommendations"] == []
    assert visit["vitals"] == {
        "systolic_mmhg": 120,
        "diastolic_mmhg": 80,
        "heart_rate_per_minute": 72,
        "temperature_celsius": 36.6,
    }
    assert visit["vital_signs"] == "BP: 120/80; HR: 72; T: 36.6"


@pytest.mark.parametrize("address", RESOURCES)
def test_an_unknown_id_is_404(client: FlaskClient, address: str) -> None:
    answer = client.get(f"{address}/999")
    assert answer.status_code == 404
    assert answer.json
    assert answer.json["type"] == "/problems/not-found"


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("/api/facilities?state=Lagos", [1, 2]),
        ("/api/facilities?lga=ikeja", [1]),
        ("/api/facilities?type=health%20post", [2]),
        ("/api/facilities?q=HOSPITAL", [1]),
        ("/api/facilities?q=%25", []),
        ("/api/facilities?state=lagos&q=post", [2]),
        ("/api/patients?facility_id=2", [4, 5, 6]),
        ("/api/patients?sex=F", [1, 6]),
        ("/api/patients?age_group=Infant", [1]),
        ("/api/patients?age_group=Child", [2]),
        ("/api/patients?age_group=Adolescent", [3]),
        ("/api/patients?age_group=Adult", [4]),
        ("/api/patients?age_group=Senior", [5]),
        ("/api/patients?q=canary%20a", [3, 4]),
        ("/api/patients?q=SENIOR", [5]),
        ("/api/patients?q=o'unborn", [6]),
        ("/api/patients?q=%C3%A0d%C3%A1", [6]),
        ("/api/patients?q=' or true --", []),
        ("/api/medical-records?patient_id=1", [1, 2]),
        ("/api/medical-records?facility_id=2", [3]),
        ("/api/medical-records?record_type=Diagnosis", [1, 3]),
        ("/api/medical-records?from=2026-01-01&to=2026-01-31", [1, 2]),
        ("/api/medical-records?from=2026-01-02&to=2026-01-30", []),
        ("/api/triage-visits?patient_id=4", [2]),
        ("/api/triage-visits?facility_id=1", [1]),
        ("/api/triage-visits?triage_level=5", [2]),
        ("/api/triage-visits?to=2026-01-15", [1]),
        ("/api/triage-visits?to=9999-12-31", [1, 2]),
    ],
)
def test_filters(client: FlaskClient, address: str, expected: list[int]) -> None:
    assert ids(client, address) == expected


@pytest.mark.parametrize(
    ("first", "pages"),
    [
        ("/api/patients?page=1&per_page=4", [[1, 2, 3, 4], [5, 6]]),
        ("/api/patients?per_page=3", [[1, 2, 3], [4, 5, 6]]),
        ("/api/patients?limit=4", [[1, 2, 3, 4], [5, 6]]),
        ("/api/patients?after=1&limit=2&sex=F", [[6]]),
        ("/api/patients?limit=1&q=canary%20a", [[3], [4]]),
        ("/api/patients?page=9", [[]]),
    ],
)
def test_link_leads_through_all_pages(client: FlaskClient, first: str, pages: list[list[int]]) -> None:
    address: str | None = first
    for page in pages:
        assert address
        answer = client.get(address)
        assert [entity["id"] for entity in answer.json or []] == page
        link = answer.headers.get("Link")
        if link:
            assert link.endswith('>; rel="next"')
        address = link.partition(">")[0].lstrip("<") if link else None
    assert address is None


def test_totals_are_counted_on_request_only(client: FlaskClient) -> None:
    assert "X-Total-Count" not in client.get("/api/patients").headers
    assert client.get("/api/patients?count=true&sex=F&per_page=1").headers["X-Total-Count"] == "2"
    assert client.get("/api/patients?count=exact").headers["X-Total-Count"] == "6"


def test_totals_stop_at_the_cap_unless_exact(client: FlaskClient, admin: psycopg.Connection) -> None:
    admin.execute(
        """
        insert into public.facilities (name, state, source)
        select 'Facility ' || number, 'KANO', 'api' from generate_series(1, 10100) as number
        """
    )
    assert client.get("/api/facilities?state=Kano&count=true").headers["X-Total-Count"] == "10001"
    assert client.get("/api/facilities?state=Kano&count=exact").headers["X-Total-Count"] == "10100"


@pytest.mark.parametrize(
    ("query", "errors"),
    [
        ("nonsense=1", [("#/nonsense", "extra_forbidden")]),
        ("per_page=1001", [("#/per_page", "less_than_equal")]),
        ("page=0", [("#/page", "greater_than_equal")]),
        ("limit=ten", [("#/limit", "int_parsing")]),
        ("after=1&page=2", [("#", "paging_mixed")]),
        ("sex=CANARY", [("#/sex", "enum")]),
        ("age_group=CANARY", [("#/age_group", "enum")]),
        ("facility_id=99999999999999999999", [("#/facility_id", "less_than_equal")]),
        ("q=", [("#/q", "string_too_short")]),
        ("q=CANARY%00", [("#/q", "string_pattern_mismatch")]),
        ("count=maybe", [("#/count", "enum")]),
        ("sex=F&sex=CANARY", [("#/sex", "repeated")]),
    ],
)
def test_bad_parameters_are_named_without_their_values(
    client: FlaskClient, query: str, errors: list[tuple[str, str]]
) -> None:
    answer = client.get(f"/api/patients?{query}")
    assert answer.status_code == 422
    assert answer.content_type == "application/problem+json"
    assert answer.json
    assert answer.json["type"] == "/problems/invalid-request"
    assert [(error["pointer"], error["code"]) for error in answer.json["errors"]] == errors
    assert "CANARY" not in answer.text


@pytest.mark.parametrize(
    ("address", "pointer"),
    [
        ("/api/patients/0", "#/id"),
        ("/api/patients/99999999999999999999", "#/id"),
        ("/api/patients/1?verbose=1", "#/verbose"),
        ("/api/medical-records?from=31.01.2026", "#/from"),
        ("/api/medical-records?from_day=2026-01-01", "#/from_day"),
        ("/api/triage-visits?triage_level=6", "#/triage_level"),
        ("/health?verbose=1", "#/verbose"),
    ],
)
def test_bad_parameters_elsewhere(client: FlaskClient, address: str, pointer: str) -> None:
    answer = client.get(address)
    assert answer.status_code == 422
    assert answer.json
    assert answer.json["errors"][0]["pointer"] == pointer
