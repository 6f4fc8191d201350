"""Returns through the API: uploaded or named by their address, kept in the bucket, followed to their end.

Airflow is a double that speaks the part of its REST API that is used; what a run does is done here, step by step.
"""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from werkzeug.datastructures import FileStorage
from werkzeug.test import encode_multipart

from backend.app import create_app
from backend.database import db
from backend.nhs_data.schemas import UPLOAD_LIMIT, RunStatus, StartedRun, StartedUpload
from elt import nhs_uploads
from elt.contract import NHS_FEEDS
from elt.fetch_from_url import FetchFailed, UrlRefused
from elt.pipeline import describe
from elt.publish import publish
from elt.vocabulary import Role
from tests import releases
from tests.kh03 import workbook

NHS = "https://www.england.nhs.uk"
WORKBOOK = b"PK\x03\x04 not much of a workbook"


@dataclass
class AirflowDouble:
    """Takes runs, and answers in which state they are."""

    port: int = 0
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)

    def taken(self, run: dict[str, Any]) -> None:
        """What a run that was taken leads to: here, nothing."""

    def handler(double) -> type[BaseHTTPRequestHandler]:  # noqa: N805
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if self.path == "/auth/token":
                    self.answer(201, {"access_token": "t"})
                else:
                    times = {"queued_at": "2026-01-31T09:15:00Z", "start_date": None, "end_date": None}
                    run = {"dag_run_id": f"manual__{len(double.runs)}", **body}
                    run |= {"path": self.path, "state": "queued", **times}
                    double.runs[run["dag_run_id"]] = run
                    self.answer(200, run)
                    double.taken(run)

            def do_GET(self) -> None:
                run = double.runs.get(self.path.rpartition("/")[2])
                self.answer(200 if run else 404, run or {})

            def answer(self, status: int, body: object) -> None:
                self.send_response(status)
                self.end_headers()
                self.wfile.write(json.dumps(body).encode())

            def log_message(self, *_: object) -> None:
                """Quiet."""

        return Handler


@pytest.fixture
def airflow() -> Iterator[AirflowDouble]:
    double = AirflowDouble()
    with ThreadingHTTPServer(("127.0.0.1", 0), double.handler()) as server:
        double.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield double
        server.shutdown()


@pytest.fixture
def client(warehouse, airflow):
    app = create_app(warehouse.settings.model_copy(update={"airflow_port": airflow.port}))
    with warehouse.connect("medilink_owner") as connection:
        connection.execute(
            "insert into audit.api_clients (client_id, role, secret_hash, rotated_at)"
            " values ('operator', 'operator', 'none', 'yesterday')"
        )
    client = app.test_client()
    token = app.extensions["medilink_tokens"].issue("operator", Role.OPERATOR, [])
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {token}"
    yield client
    with app.app_context():
        db.engine.dispose()


def upload(client, name="Beds Open Overnight.xlsx", content=WORKBOOK):
    # Encoded here: what werkzeug's client spools to disk it leaves open.
    boundary, body = encode_multipart({"file": FileStorage(io.BytesIO(content), name)})
    return client.post("/nhs-data/upload", data=body, content_type=f"multipart/form-data; boundary={boundary}")


def status(client, run_id):
    answer = client.get(f"/nhs-data/status/{run_id}")
    assert answer.status_code == 200, answer.text
    return RunStatus.model_validate_json(answer.data)


def begun(warehouse, run_id):
    """The run as far as extract."""
    batch_id = warehouse.begin(run_id)
    warehouse.extract(batch_id, NHS_FEEDS)
    return batch_id


def entered(warehouse, run_id):
    """The run as far as promotion, and closed."""
    batch_id = begun(warehouse, run_id)
    for feed in NHS_FEEDS:
        warehouse.load(batch_id, feed)
    warehouse.promote(batch_id, NHS_FEEDS)
    warehouse.end(batch_id)


class TestUpload:
    def test_is_kept_in_the_bucket_and_a_run_is_started_at_once(self, client, warehouse, airflow):
        answer = upload(client, "..\\up/../Beds <Open> Overnight's.XLSX")
        assert answer.status_code == 202, answer.text
        started = StartedUpload.model_validate_json(answer.data)
        assert started.flow_run_name == "Beds-Open-Overnight-s.XLSX"
        key = f"nhs_uploads/{started.flow_run_id}_Beds-Open-Overnight-s.XLSX"
        assert started.minio_path == f"{warehouse.settings.s3_bucket_name}/{key}"
        assert warehouse.objects("") == {key: WORKBOOK}
        run = airflow.runs[started.flow_run_id]
        assert run["path"] == "/api/v2/dags/bed_occupancy_pipeline/dagRuns"
        assert answer.headers["Location"] == started.status_url == f"/nhs-data/status/{started.flow_run_id}"

    def test_of_what_is_no_workbook_is_refused_and_nothing_is_kept(self, client, warehouse, airflow):
        for name, content in (
            ("a.xlsx", b""),
            ("a.xlsx", b"Org Code,General & Acute\n"),
            ("a.xls", WORKBOOK),
            ("a.xlsx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
            ("a.csv", b"a,b\n"),
            ("a.xlsm", WORKBOOK),
            ("xlsx", WORKBOOK),
            ("", WORKBOOK),
        ):
            answer = upload(client, name, content)
            assert (answer.status_code, {error["pointer"] for error in answer.json["errors"]}) == (422, {"#/file"}), (
                name
            )
        assert (warehouse.objects(""), airflow.runs) == ({}, {})

    def test_may_be_50_mib_and_no_more(self, client, warehouse):
        assert upload(client, content=WORKBOOK.ljust(50 * 2**20)).status_code == 202
        answer = upload(client, content=WORKBOOK.ljust(UPLOAD_LIMIT))
        assert (answer.status_code, answer.json["type"]) == (413, "/problems/body-too-large")
        (kept,) = warehouse.objects("").values()
        assert len(kept) == 50 * 2**20

    def test_without_airflow_is_kept_and_the_caller_told(self, warehouse, client):
        client.application.extensions["medilink_settings"].airflow_port = 1
        answer = upload(client)
        assert (answer.status_code, answer.json["type"]) == (503, "/problems/airflow-unavailable")
        assert "stored all the same" in answer.json["detail"]
        assert len(warehouse.objects("nhs_uploads/")) == 1


class TestAddress:
    def test_of_a_listed_host_starts_a_run_that_fetches_it(self, client, warehouse, airflow):
        url = f"{NHS}/statistics/2020/11/Beds-Open%20Overnight.xlsx"
        answer = client.post("/nhs-data/trigger-pipeline", json={"url": url})
        assert answer.status_code == 202, answer.text
        started = StartedRun.model_validate_json(answer.data)
        assert started.flow_run_name == "Beds-Open-Overnight.xlsx"
        assert answer.headers["Location"] == started.status_url
        assert airflow.runs[started.flow_run_id]["conf"] == {"url": url}
        assert warehouse.objects("") == {}

    def test_of_any_other_kind_is_refused_at_once(self, client, airflow):
        for url, code in (
            ("http://www.england.nhs.uk/a.xlsx", "url_scheme"),
            ("https://169.254.169.254/latest/meta-data/a.xlsx", "url_host"),
            ("https://localhost/a.xlsx", "url_host"),
            ("https://[::1]/a.xlsx", "url_host"),
            ("https://2852039166/a.xlsx", "url_host"),
            ("https://0xa9.0xfe.0xa9.0xfe/a.xlsx", "url_host"),
            ("https://[::ffff:169.254.169.254]/a.xlsx", "url_host"),
            ("https://www.england.nhs.uk.evil.example/a.xlsx", "url_host"),
            ("https://x:y@www.england.nhs.uk/a.xlsx", "url_userinfo"),
            ("https://www.england.nhs.uk:8443/a.xlsx", "url_port"),
            ("https://www.england.nhs.uk\\@evil.example/a.xlsx", "url_malformed"),
            (f"{NHS}/statistics/", "not_a_workbook"),
            (f"{NHS}/a.csv", "not_a_workbook"),
        ):
            answer = client.post("/nhs-data/trigger-pipeline", json={"url": url})
            assert (answer.status_code, answer.json["errors"]) == (422, [{"pointer": "#/url", "code": code}])
            assert url not in answer.text
        assert airflow.runs == {}

    def test_is_fetched_into_the_bucket_once(self, warehouse, monkeypatch):
        fetched = []

        def fetch(url, hosts, into):
            assert hosts == ("www.england.nhs.uk", "files.digital.nhs.uk")
            fetched.append(url)
            into.write(WORKBOOK)

        monkeypatch.setattr(nhs_uploads, "fetch", fetch)
        batch_id = warehouse.begin("manual__2026-01-31T09:15:00+00:00")
        for _ in range(2):
            warehouse.fetch(batch_id, "manual__2026-01-31T09:15:00+00:00", f"{NHS}/x/Beds%2FOpen.xlsx?v=1")
        assert len(fetched) == 1
        assert warehouse.objects("") == {"nhs_uploads/manual--2026-01-31T09-15-00-00-00_Open.xlsx": WORKBOOK}
        warehouse.end(batch_id)

    @pytest.mark.parametrize(
        "error",
        [
            UrlRefused("url_not_public", "it leads to no public address."),
            FetchFailed("it answered 503. Try again later."),
        ],
    )
    def test_that_cannot_be_fetched_fails_the_run_in_words(self, client, warehouse, monkeypatch, error):
        def fetch(*_):
            raise error

        monkeypatch.setattr(nhs_uploads, "fetch", fetch)
        batch_id = warehouse.begin("r")
        with pytest.raises(type(error)):
            warehouse.fetch(batch_id, "r", f"{NHS}/a.xlsx")
        warehouse.end(batch_id, failed_step="extract", message=describe(error))
        told = status(client, "r")
        assert (told.state, told.is_failed, told.message) == ("failed", True, str(error))
        assert warehouse.objects("") == {}


class TestStatus:
    def test_of_a_run_that_has_not_begun_is_airflows(self, client, airflow):
        run_id = upload(client).json["flow_run_id"]
        told = status(client, run_id)
        assert (told.state, told.is_completed, told.is_failed) == ("queued", False, False)
        assert told.created_at
        airflow.runs[run_id] |= {"state": "failed", "end_date": "2026-01-31T10:00:00Z"}
        told = status(client, run_id)
        assert (told.state, told.is_failed) == ("failed", True)
        assert "taken by the next run" in told.message
        assert client.get("/nhs-data/status/never-started").status_code == 404

    def test_follows_a_return_to_the_readers(self, client, warehouse):
        run_id = upload(client, "Overnight.xlsx", workbook()).json["flow_run_id"]
        batch_id = begun(warehouse, run_id)
        told = status(client, run_id)
        assert (told.state, told.name, told.message) == ("running", "Overnight.xlsx", "At work: extract.")
        for feed in NHS_FEEDS:
            warehouse.load(batch_id, feed)
        warehouse.promote(batch_id, NHS_FEEDS)
        assert status(client, run_id).state == "running"
        releases.build(warehouse, batch_id, 1)
        with warehouse.connect("transformer") as connection:
            publish(connection, warehouse.settings, batch_id)
        warehouse.archive(batch_id)
        told = status(client, run_id)
        assert (told.state, told.is_completed, told.is_failed) == ("succeeded", True, False)
        assert told.message.startswith("15 records: 15 inserted, 0 updated, 0 unchanged, 0 duplicate, 0 failed.")
        assert told.created_at <= told.updated_at

    def test_says_why_a_return_was_refused_though_the_run_goes_on(self, client, warehouse):
        run_id = upload(client).json["flow_run_id"]
        entered(warehouse, run_id)
        told = status(client, run_id)
        assert (told.state, told.is_failed) == ("failed", True)
        assert told.message.startswith("not_a_workbook: ")

    def test_of_a_return_that_another_run_took_is_that_runs(self, client, warehouse):
        first = upload(client, "a.xlsx", workbook()).json["flow_run_id"]
        second = upload(client, "b.xlsx", b"PK\x03\x04").json["flow_run_id"]
        entered(warehouse, first)
        warehouse.end(warehouse.begin(second))
        assert status(client, second).message.startswith("not_a_workbook: ")
        assert status(client, second).name == "b.xlsx"

    def test_of_the_same_bytes_again_says_so(self, client, warehouse):
        content = workbook()
        entered(warehouse, upload(client, "a.xlsx", content).json["flow_run_id"])
        again = upload(client, "b.xlsx", content).json["flow_run_id"]
        entered(warehouse, again)
        told = status(client, again)
        assert (told.state, told.is_completed) == ("succeeded", True)
        assert "loaded before" in told.message

    def test_of_a_failed_run_says_that_the_workbook_is_kept(self, client, warehouse):
        run_id = upload(client, "a.xlsx", workbook()).json["flow_run_id"]
        warehouse.end(begun(warehouse, run_id), failed_step="dbt_build", message="it broke.")
        told = status(client, run_id)
        assert (told.state, told.message) == (
            "failed",
            "it broke. The workbook is kept: the next run takes it.",
        )
