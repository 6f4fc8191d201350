"""Writes: held to the contract that files are held to, marked, repeatable by key, never a second row in a race."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from flask.testing import FlaskClient

from backend.api import Api
from elt.contract import contract
from elt.vocabulary import Role

ClientOf = Callable[..., FlaskClient]

NEW: dict[str, dict[str, Any]] = {
    "/api/facilities": {"name": " Kano  Clinic ", "state": "kano", "lga": "Dala", "lat": 12, "lon": 8.5,
        "type": "Clinic"},
    "/api/patients": {
        "facility_id": 1, "first_name": "Ada", "last_name": "Example", "sex": "female", "dob": "1990-05-17",
        "phone": "+234 800-0000",
    },
    "/api/medical-records": {
        "patient_id": 1, "record_type": "Diagnosis", "data": {"diagnosis": "Malaria", "notes": "rest"},
        "record_id": "R-77", "recorded_at": "2026-01-30T09:15:00+01:00",
    },
    "/api/triage-visits": {
        "patient_id": 1, "triage_level": 2, "chief_complaint": "Fever", "vital_signs": "BP: 120/80; HR: 72",
        "conditions": ["Malaria", "Stress"], "recommendations": ["Rest"], "visit_id": "V-77",
        "visited_at": "2026-01-30",
    },
}  # fmt: skip


def problems(answer: Any) -> list[tuple[str, str]]:
    return [(error["pointer"], error["code"]) for error in answer.json["errors"]]


def at_once(work: Callable[[Any], None], arguments: list[Any]) -> None:
    threads = [threading.Thread(target=work, args=(argument,)) for argument in arguments]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.usefixtures("rows")
class TestCreate:
    @pytest.mark.parametrize("address", NEW)
    def test_it_is_where_location_says_normalised_as_from_a_file(
        self, client: FlaskClient, admin: psycopg.Connection, address: str
    ) -> None:
        answer = client.post(address, json=NEW[address])
        assert answer.status_code == 201, answer.text
        assert client.get(answer.headers["Location"]).json == answer.json
        feed = address.rpartition("/")[2].replace("-", "_")
        marks = admin.execute(
            f"select source, _first_client, _first_file_id from public.{feed} order by id desc limit 1"
        ).fetchone()
        assert marks == ("api", "admin", None)
        expected = {
            "/api/facilities": {"name": "Kano Clinic", "state": "KANO"},
            "/api/patients": {"sex": "F", "phone": "+2348000000"},
            "/api/medical-records": {"facility_id": 1, "recorded_at": "2026-01-30T08:15:00+00:00"},
            "/api/triage-visits": {"conditions": ["Malaria", "Stress"], "vitals": {
                "systolic_mmhg": 120, "diastolic_mmhg": 80, "heart_rate_per_minute": 72}},
        }[address]  # fmt: skip
        assert {name: (answer.json or {})[name] for name in expected} == expected

    @pytest.mark.parametrize(
        ("address", "changes", "errors"),
        [
            ("/api/facilities", {"lat": 91, "lon": -181}, [("#/lat", "out_of_range"), ("#/lon", "out_of_range")]),
            ("/api/facilities", {"name": "  ", "state": "x" * 300}, [("#/name", "missing_value")]),
            ("/api/facilities", {"name": "n" * 256}, [("#/name", "too_long")]),
            ("/api/facilities", {"name": "a\x00b"}, [("#/name", "string_pattern_mismatch")]),
            ("/api/patients", {"dob": "17.05.1990"}, [("#/dob", "invalid_type")]),
            ("/api/patients", {"dob": "today"}, [("#/dob", "invalid_type")]),
            (
                "/api/patients",
                {"dob": "1899-12-31", "sex": "x"},
                [("#/sex", "not_in_domain"), ("#/dob", "out_of_range")],
            ),
            ("/api/patients", {"facility_id": 99}, [("#/facility_id", "missing_facility")]),
            (
                "/api/patients",
                {"id": 7, "source": "drop"},
                [("#/id", "extra_forbidden"), ("#/source", "extra_forbidden")],
            ),
            ("/api/medical-records", {"patient_id": 99}, [("#/patient_id", "missing_patient")]),
            ("/api/medical-records", {"facility_id": 99}, [("#/facility_id", "missing_facility")]),
            ("/api/medical-records", {"recorded_at": "yesterday"}, [("#/recorded_at", "invalid_type")]),
            ("/api/medical-records", {"data": {"secret": "x"}}, [("#/data/secret", "extra_forbidden")]),
            ("/api/triage-visits", {"triage_level": 6}, [("#/triage_level", "out_of_range")]),
            ("/api/triage-visits", {"conditions": ["a;b"]}, [("#/conditions/0", "string_pattern_mismatch")]),
        ],
    )
    def test_what_breaks_the_contract_is_named_with_its_code(
        self, client: FlaskClient, address: str, changes: dict[str, Any], errors: list[tuple[str, str]]
    ) -> None:
        answer = client.post(address, json=NEW[address] | changes)
        assert answer.status_code == 422
        assert problems(answer) == errors

    def test_every_limit_of_the_contract_is_in_the_document(self, app: Api) -> None:
        schemas = app.api_doc["components"]["schemas"]
        assert schemas["NewFacility"]["properties"]["lat"]["maximum"] == 90
        assert schemas["NewTriageVisit"]["properties"]["triage_level"]["maximum"] == 5
        assert schemas["NewFacility"]["properties"]["name"]["maxLength"] == 255
        assert contract("facilities").column_of("name").max_length == 255  # type: ignore[union-attr]

    @pytest.mark.parametrize("body", ["", "{", "[]", "null", '"text"', '{"name": NaN}', "7"])
    def test_what_is_no_object_is_refused(self, client: FlaskClient, body: str) -> None:
        answer = client.post("/api/facilities", data=body, content_type="application/json")
        assert answer.status_code == 422

    @pytest.mark.parametrize("address", NEW)
    def test_the_same_natural_key_twice_is_a_conflict(self, client: FlaskClient, address: str) -> None:
        assert client.post(address, json=NEW[address]).status_code == 201
        answer = client.post(address, json=NEW[address])
        assert (answer.status_code, (answer.json or {})["type"]) == (409, "/problems/conflict")

    def test_events_without_an_id_are_new_ones(self, client: FlaskClient) -> None:
        body = {"patient_id": 1, "record_type": "Diagnosis"}
        ids = {(client.post("/api/medical-records", json=body).json or {})["id"] for _ in range(2)}
        assert len(ids) == 2


@pytest.mark.usefixtures("rows")
class TestChange:
    def test_patch_changes_what_it_names(self, client: FlaskClient) -> None:
        answer = client.patch("/api/patients/1", json={"phone": None, "first_name": "Ngozi"})
        assert answer.status_code == 200, answer.text
        patient: dict[str, Any] = answer.json or {}
        assert (patient["phone"], patient["first_name"], patient["sex"]) == (None, "Ngozi", "F")
        record: dict[str, Any] = (
            client.patch("/api/medical-records/1", json={"data": {"notes": None, "treatment": "ACT"}}).json or {}
        )
        assert record["data"] == {"diagnosis": "Malaria", "treatment": "ACT", "medications": None, "notes": None}
        emptied: dict[str, Any] = client.patch("/api/medical-records/1", json={"data": None}).json or {}
        assert set(emptied["data"].values()) == {None}
        assert emptied["record_type"] == "Diagnosis"

    def test_put_replaces_all(self, client: FlaskClient) -> None:
        answer = client.put("/api/patients/1", json={"facility_id": 1, "first_name": "Ngozi", "last_name": "New"})
        patient: dict[str, Any] = answer.json or {}
        assert (patient["first_name"], patient["sex"], patient["dob"], patient["phone"]) == ("Ngozi", None, None, None)

    def test_what_it_is_about_and_its_id_stay(self, client: FlaskClient) -> None:
        assert problems(client.put("/api/patients/1", json=NEW["/api/patients"] | {"facility_id": 2})) == [
            ("#/facility_id", "immutable")
        ]
        body = {"patient_id": 1, "record_type": "Diagnosis", "record_id": "R-other"}
        assert problems(client.put("/api/medical-records/1", json=body)) == [("#/record_id", "immutable")]
        assert problems(client.patch("/api/medical-records/1", json={"patient_id": 2})) == [
            ("#/patient_id", "extra_forbidden")
        ]

    def test_the_contract_holds_and_keys_stay_unique(self, client: FlaskClient) -> None:
        assert problems(client.patch("/api/patients/1", json={"last_name": ""})) == [("#/last_name", "missing_value")]
        assert problems(client.patch("/api/triage-visits/1", json={"triage_level": 0})) == [
            ("#/triage_level", "out_of_range")
        ]
        assert (
            client.patch("/api/facilities/2", json={"name": "Ikeja General Hospital", "lga": "ikeja"}).status_code
            == 409
        )
        assert client.patch("/api/patients/99", json={}).status_code == 404

    def test_no_update_is_lost(self, client: FlaskClient) -> None:
        etag = client.get("/api/patients/1").headers["ETag"]
        first = client.patch("/api/patients/1", json={"phone": "1"}, headers={"If-Match": etag})
        assert (first.status_code, first.headers["ETag"] != etag) == (200, True)
        second = client.patch("/api/patients/1", json={"phone": "2"}, headers={"If-Match": etag})
        assert (second.status_code, (second.json or {})["type"]) == (412, "/problems/precondition-failed")
        assert client.delete("/api/facilities/3", headers={"If-Match": '"other"'}).status_code == 412
        assert client.patch("/api/patients/1", json={"phone": "2"}, headers={"If-Match": "*"}).status_code == 200
        assert client.patch("/api/patients/1", json={"phone": "3"}, headers={"If-Match": ""}).status_code == 412

    def test_of_two_at_once_one_is_told(self, app: Api, client: FlaskClient) -> None:
        etag = client.get("/api/patients/1").headers["ETag"]
        answers: list[int] = []

        def patch(phone: str) -> None:
            other = app.test_client()
            other.environ_base.update(client.environ_base)
            change = other.patch("/api/patients/1", json={"phone": phone}, headers={"If-Match": etag})
            answers.append(change.status_code)

        at_once(patch, ["1", "2", "3", "4"])
        assert sorted(answers) == [200, 412, 412, 412]


@pytest.mark.usefixtures("rows")
class TestDelete:
    def test_what_nobody_refers_to_goes(self, client: FlaskClient) -> None:
        assert client.delete("/api/facilities/3").status_code == 204
        assert client.get("/api/facilities/3").status_code == 404
        assert client.delete("/api/facilities/3").status_code == 404
        answer = client.delete("/api/patients/1")
        assert (answer.status_code, (answer.json or {})["type"]) == (409, "/problems/conflict")


@pytest.mark.usefixtures("rows")
class TestFacilities:
    def test_a_bound_client_writes_for_its_own_only(self, client_of: ClientOf, admin: psycopg.Connection) -> None:
        entry = client_of(Role.DATA_ENTRY, 1)
        assert entry.post("/api/patients", json=NEW["/api/patients"]).status_code == 201
        other = NEW["/api/patients"] | {"facility_id": 2}
        assert problems(entry.post("/api/patients", json=other)) == [("#/facility_id", "missing_facility")]
        assert entry.patch("/api/patients/4", json={"phone": "1"}).status_code == 404
        assert entry.put("/api/patients/4", json=other).status_code == 404
        for address in ("/api/medical-records", "/api/triage-visits"):
            assert problems(entry.post(address, json=NEW[address] | {"patient_id": 4})) == [
                ("#/patient_id", "missing_patient")
            ]
            assert problems(entry.post(address, json=NEW[address] | {"facility_id": 2})) == [
                ("#/facility_id", "missing_facility")
            ]
        assert admin.execute("select count(*) from public.patients where facility_id = 2").fetchone() == (3,)

    def test_a_steward_discards_for_its_own_only(self, client_of: ClientOf, admin: psycopg.Connection) -> None:
        admin.execute(
            """
            with batch as (
                insert into audit.batches (run_key, lease_expires_at) values ('r', now()) returning batch_id
            ),
            file as (
                insert into audit.ingest_files (input_key, etag, size_bytes, last_modified, batch_id, status)
                select 'patients.csv', 'e', 1, now(), batch_id, 'discovered' from batch returning file_id, batch_id
            )
            insert into quarantine.entries
                (feed, disposition, row_hash, file_id, row_number, batch_id, error_code, errors, delivered)
            select 'patients', 'failed', gen_random_uuid(), file_id, 2, batch_id, 'missing_value', '[]',
                jsonb_build_object('facility_name', name)
            from file cross join public.facilities order by facilities.id
            """
        )
        steward = client_of(Role.STEWARD, 2)
        reason = {"reason": "test entry"}
        assert steward.post("/api/quarantine/1/discard", json=reason).status_code == 404
        assert steward.post("/api/quarantine/2/discard", json={}).status_code == 422
        assert steward.post("/api/quarantine/2/discard", json=reason).status_code == 204
        assert steward.post("/api/quarantine/2/discard", json=reason).status_code == 404
        closed = admin.execute(
            "select quarantine_id, closed_by, closed_note from quarantine.entries where closed_at is not null"
        )
        assert closed.fetchall() == [(2, "steward", "test entry")]


@pytest.mark.usefixtures("rows")
class TestIdempotency:
    def test_the_same_request_is_done_once(self, client: FlaskClient, admin: psycopg.Connection) -> None:
        for address, body in NEW.items():
            headers = {"Idempotency-Key": f"key of {address}"}
            answers = [client.post(address, json=body, headers=headers) for _ in range(3)]
            assert [answer.status_code for answer in answers] == [201] * 3
            assert len({answer.headers["Location"] for answer in answers}) == 1
            assert len({answer.data for answer in answers}) == 1
        assert admin.execute("select count(*) from public.patients where first_name = 'Ada'").fetchone() == (1,)

    def test_a_key_is_of_one_request_and_of_one_client(self, client: FlaskClient, client_of: ClientOf) -> None:
        headers = {"Idempotency-Key": "k"}
        assert client.post("/api/patients", json=NEW["/api/patients"], headers=headers).status_code == 201
        other = client.post("/api/patients", json=NEW["/api/patients"] | {"first_name": "Eve"}, headers=headers)
        assert (other.status_code, problems(other)) == (422, [("#/Idempotency-Key", "reused")])
        entry = client_of(Role.DATA_ENTRY, 1)
        assert entry.post("/api/patients", json=NEW["/api/patients"], headers=headers).status_code == 409

    def test_a_refused_request_does_not_take_the_key(self, client: FlaskClient) -> None:
        headers = {"Idempotency-Key": "k"}
        bad = NEW["/api/patients"] | {"dob": "never"}
        assert client.post("/api/patients", json=bad, headers=headers).status_code == 422
        assert client.post("/api/patients", json=NEW["/api/patients"], headers=headers).status_code == 201

    def test_what_is_gone_meanwhile_is_not_made_again(self, client: FlaskClient) -> None:
        headers = {"Idempotency-Key": "k"}
        made = client.post("/api/patients", json=NEW["/api/patients"], headers=headers)
        assert client.delete(made.headers["Location"]).status_code == 204
        again = client.post("/api/patients", json=NEW["/api/patients"], headers=headers)
        assert (again.status_code, (again.json or {})["type"]) == (404, "/problems/not-found")

    def test_the_same_request_many_times_at_once_is_done_once(self, app: Api, client: FlaskClient) -> None:
        answers: list[tuple[int, str | None]] = []

        def post(address: str) -> None:
            other = app.test_client()
            other.environ_base.update(client.environ_base)
            answer = other.post(address, json=NEW[address], headers={"Idempotency-Key": "k"})
            answers.append((answer.status_code, answer.headers.get("Location")))

        at_once(post, ["/api/patients"] * 6)
        assert len(answers) == 6
        assert {status for status, _ in answers} == {201}
        assert len({location for _, location in answers}) == 1

    def test_deletes_too(self, client: FlaskClient) -> None:
        headers = {"Idempotency-Key": "k"}
        assert [client.delete("/api/facilities/3", headers=headers).status_code for _ in range(2)] == [204, 204]


@pytest.mark.usefixtures("rows")
class TestRaces:
    def test_many_at_once_make_one_row(self, app: Api, client_of: ClientOf, admin: psycopg.Connection) -> None:
        headers = client_of(Role.ADMIN).environ_base
        statuses: list[int] = []

        def post(extra: dict[str, str]) -> None:
            client = app.test_client()
            client.environ_base.update(headers)
            statuses.append(client.post("/api/patients", json=NEW["/api/patients"], headers=extra).status_code)

        for extra, expected in (({}, [201] + [409] * 5), ({"Idempotency-Key": "k"}, [409] * 6)):
            statuses.clear()
            at_once(post, [extra] * 6)
            assert sorted(statuses) == expected
        assert admin.execute("select count(*) from public.patients where first_name = 'Ada'").fetchone() == (1,)

    def test_a_load_that_writes_the_table_is_waited_for_and_then_told(
        self, client: FlaskClient, admin: psycopg.Connection
    ) -> None:
        with admin.transaction():
            admin.execute("lock table public.patients in share row exclusive mode")
            answer = client.post("/api/patients", json=NEW["/api/patients"])
        assert (answer.status_code, (answer.json or {})["type"]) == (503, "/problems/load-under-way")
        assert answer.headers["Retry-After"] == "5"
        assert client.post("/api/patients", json=NEW["/api/patients"]).status_code == 201
