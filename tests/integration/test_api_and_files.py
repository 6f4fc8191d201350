"""Files and the API write the same rows: one of each, and neither undoes the other."""

from __future__ import annotations

import functools
import io
import re
import threading
import uuid

import pytest
from werkzeug.datastructures import FileStorage
from werkzeug.test import encode_multipart

from backend.app import create_app
from backend.database import db
from backend.pipeline.schemas import UPLOAD_LIMIT
from elt import audit
from elt.contract import FEEDS
from elt.vocabulary import Role

FACILITIES = "name,state,lga,type\nIkeja Hospital,Lagos,Ikeja,Hospital\n"
PATIENTS = "facility_name,first_name,last_name,sex,dob,phone\nIkeja Hospital,Ada,Example,F,1990-05-17,111\n"
RECORDS = (
    "facility_name,patient_first_name,patient_last_name,record_type,diagnosis,notes,record_id\n"
    "Ikeja Hospital,Ada,Example,Diagnosis,Malaria,rest,R-1\n"
)


@pytest.fixture
def client(warehouse):
    app = create_app(warehouse.settings.model_copy(update={"airflow_port": 1}))
    with warehouse.connect("medilink_owner") as connection:
        connection.execute(
            "insert into audit.api_clients (client_id, role, secret_hash, rotated_at)"
            " values ('admin', 'admin', 'none', 'yesterday')"
        )
    client = app.test_client()
    token = app.extensions["medilink_tokens"].issue("admin", Role.ADMIN, [])
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {token}"
    yield client
    with app.app_context():
        db.engine.dispose()


@pytest.fixture
def night(warehouse):
    def run(**files):
        for feed, content in files.items():
            warehouse.drop(f"{feed}-{uuid.uuid4()}.csv", content)
        return {(entity.table_name): entity for entity in warehouse.ingest().entities}

    run(facilities=FACILITIES, patients=PATIENTS, medical_records=RECORDS)
    return run


def test_a_delivery_changes_what_it_changes_and_nothing_else(night, client):
    """What the API changed stays until the source says something new about just that."""
    client.patch("/api/facilities/1", json={"type": "Teaching Hospital", "lat": 6.5})
    client.patch("/api/medical-records/1", json={"data": {"diagnosis": "Typhoid", "treatment": "Rest"}})
    # The source repeats itself, with one thing changed in each.
    counts = night(
        facilities="name,state,lga,type,lon\nIkeja Hospital,Lagos,Ikeja,Hospital,3.35\n",
        medical_records=RECORDS.replace("rest,R-1", "bed rest,R-1"),
    )
    assert (counts["facilities"].updated, counts["medical_records"].updated) == (1, 1)
    facility = client.get("/api/facilities/1").json
    assert (facility["type"], facility["lat"], facility["lon"]) == ("Teaching Hospital", 6.5, 3.35)
    assert client.get("/api/medical-records/1").json["data"] == {
        "diagnosis": "Typhoid", "treatment": "Rest", "medications": None, "notes": "bed rest",
    }  # fmt: skip
    # Now it says something new about what the API changed: it wins, and that is the end of the change.
    night(
        facilities="name,state,lga,type,lon\nIkeja Hospital,Lagos,Ikeja,Clinic,3.35\n",
        medical_records=RECORDS.replace("Malaria,rest", "Dengue,bed rest"),
    )
    assert client.get("/api/facilities/1").json["type"] == "Clinic"
    assert client.get("/api/medical-records/1").json["data"]["diagnosis"] == "Dengue"
    night(facilities="name,state,lga,type,lon\nIkeja Hospital,Lagos,Ikeja,Hospital,3.36\n")
    assert client.get("/api/facilities/1").json["type"] == "Hospital"


def test_a_snapshot_that_merely_repeats_itself_undoes_nothing(night, client):
    client.patch("/api/patients/1", json={"phone": "222"})
    counts = night(patients=PATIENTS + "\n")
    assert (counts["patients"].unchanged, counts["patients"].updated) == (1, 0)
    assert client.get("/api/patients/1").json["phone"] == "222"
    lineage = client.get("/api/patients/1/lineage").json
    assert (lineage["source"], lineage["last_client"]) == ("drop", "admin")
    night(patients=PATIENTS.replace("111", "333"))
    assert client.get("/api/patients/1").json["phone"] == "333"


def test_what_a_file_delivered_is_not_deleted(night, client):
    answer = client.delete("/api/medical-records/1")
    assert (answer.status_code, answer.json["type"]) == (409, "/problems/delivered")
    assert night(medical_records=RECORDS + "\n")["medical_records"].unchanged == 1


def test_what_the_api_made_is_known_when_a_file_brings_it(night, client, warehouse):
    body = {"facility_id": 1, "first_name": "Eve", "last_name": "Example", "sex": "F", "dob": "1980-01-01"}
    assert client.post("/api/patients", json=body).status_code == 201
    record = {"patient_id": 1, "record_type": "Diagnosis", "record_id": "r-2", "data": {"diagnosis": "Malaria"}}
    assert client.post("/api/medical-records", json=record).status_code == 201
    counts = night(
        patients="facility_name,first_name,last_name,sex,dob,phone\nikeja hospital,EVE,example,f,1980-01-01,5\n",
        medical_records=RECORDS.replace("R-1", "R-2"),
    )
    assert (counts["patients"].inserted, counts["patients"].updated) == (0, 1)
    assert (counts["medical_records"].inserted, counts["medical_records"].updated) == (0, 1)
    assert warehouse.ask("select count(*) from public.patients") == [(2,)]


@pytest.mark.usefixtures("night")
def test_a_file_and_a_request_at_once_make_one_row(client, warehouse):
    names = [f"Patient{number}" for number in range(40)]
    warehouse.drop(
        "patients-race.csv",
        "facility_name,first_name,last_name\n" + "".join(f"Ikeja Hospital,{name},Race\n" for name in names),
    )
    batch_id = warehouse.begin("race")
    warehouse.extract(batch_id)
    for feed in FEEDS:
        warehouse.load(batch_id, feed)
    statuses = []

    def post():
        for name in names:
            body = {"facility_id": 1, "first_name": name, "last_name": "Race"}
            # A load that takes long is told, and tried again.
            while (status := client.post("/api/patients", json=body).status_code) == 503:
                pass
            statuses.append(status)

    requests = threading.Thread(target=post)
    requests.start()
    warehouse.promote(batch_id)
    requests.join()
    with warehouse.connect("loader") as connection:
        audit.end_batch(connection, batch_id)
    assert warehouse.ask(
        "select count(*), count(distinct first_name) from public.patients where last_name = 'Race'"
    ) == [(40, 40)]
    assert set(statuses) <= {201, 409}
    assert len(statuses) == 40


class TestUploads:
    def upload(self, client, feed, name, content, **fields):
        form = {"feed": feed, "file": (io.BytesIO(content), name), **fields}
        return client.post("/api/pipeline/files", data=form, content_type="multipart/form-data")

    def test_a_file_is_dropped_under_a_name_of_our_making_and_taken_by_the_next_run(self, client, warehouse):
        answer = self.upload(client, "facilities", "../../Ada Example's <b>.CSV", FACILITIES.encode())
        assert answer.status_code == 201, answer.text
        name = answer.json["name"]
        assert re.fullmatch(r"facilities_[0-9]{8}T[0-9]{6}Z_[0-9a-f]{8}\.csv", name)
        assert (answer.json["size_bytes"], answer.json["run_id"]) == (len(FACILITIES.encode()), None)
        assert list(warehouse.objects("").items()) == [(f"medical_records/input/{name}", FACILITIES.encode())]
        assert warehouse.ingest().entities[0].inserted == 1
        assert [file["name"] for file in client.get("/api/pipeline/files").json] == [name]

    def test_a_file_may_be_larger_than_any_other_body(self, client, warehouse):
        content = FACILITIES.encode().ljust(3 * 2**20)
        # Encoded here: what werkzeug's client spools to disk it leaves open.
        form = {"feed": "facilities", "file": FileStorage(io.BytesIO(content), "a.csv")}
        boundary, body = encode_multipart(form)
        kind = f"multipart/form-data; boundary={boundary}"
        assert client.post("/api/pipeline/files", data=body, content_type=kind).status_code == 201
        assert list(warehouse.objects("").values()) == [content]

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("facilities.csv", b""),
            ("facilities.exe", b"MZ"),
            ("facilities", FACILITIES.encode()),
            ("", FACILITIES.encode()),
            ("facilities.xlsx", FACILITIES.encode()),
            ("facilities.xls", b"PK\x03\x04"),
            ("facilities.csv.gz", FACILITIES.encode()),
            ("facilities.csv", b"name,state\n\x00"),
        ],
    )
    def test_what_is_not_what_its_name_says_is_refused(self, client, warehouse, name, content):
        answer = self.upload(client, "facilities", name, content)
        assert answer.status_code == 422
        assert {error["pointer"] for error in answer.json["errors"]} == {"#/file"}
        assert warehouse.objects("") == {}

    def test_forms_that_are_none_are_refused(self, client):
        post = functools.partial(client.post, "/api/pipeline/files", content_type="multipart/form-data")
        assert post(data={"feed": "facilities", "file": "text"}).status_code == 422
        assert post(data={"feed": "facilities"}).status_code == 422
        assert self.upload(client, "nonsense", "a.csv", b"x").status_code == 422
        assert self.upload(client, "facilities", "a.csv", b"x", folder="/etc").status_code == 422
        announced = {"CONTENT_LENGTH": str(UPLOAD_LIMIT + 1)}
        assert post(data={"feed": "facilities"}, environ_overrides=announced).status_code == 413

    def test_without_airflow_the_file_is_dropped_and_the_caller_told(self, client, warehouse):
        answer = self.upload(client, "facilities", "a.csv", FACILITIES.encode(), run="true")
        assert (answer.status_code, answer.json["type"]) == (503, "/problems/airflow-unavailable")
        assert (answer.headers["Retry-After"], "dropped all the same" in answer.json["detail"]) == ("5", True)
        assert len(warehouse.objects("medical_records/input/")) == 1
        for answer in (client.post("/api/pipeline/runs", json={}), client.get("/api/pipeline/runs/unknown")):
            assert (answer.status_code, answer.json["type"]) == (503, "/problems/airflow-unavailable")
            assert answer.headers["Retry-After"]
        assert client.post("/api/pipeline/runs", json={"feeds": ["nonsense"]}).status_code == 422
