"""What operators and stewards ask for: runs, files, quarantine, lineage, metrics."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from flask.testing import FlaskClient

from backend.pipeline.schemas import Day, DbtResult, File, Run, RunDetail
from backend.problems import MEANINGS, STATUSES, ProblemType
from backend.quarantine import queries
from backend.quarantine.schemas import Entry, EntryDetail, Reason
from elt.vocabulary import ROW_ADVICE, Role, RowCode
from tests.backend.conftest import LEDGER

ClientOf = Callable[..., FlaskClient]


@pytest.fixture(autouse=True)
def ledger(admin: psycopg.Connection, rows: None) -> None:  # noqa: ARG001 - facilities come first
    admin.execute(LEDGER.encode())


def ids(client: FlaskClient, address: str) -> list[int]:
    answer = client.get(address)
    assert answer.status_code == 200, answer.text
    return [item["id"] for item in answer.json or []]


class TestRuns:
    def test_list_and_filter(self, client: FlaskClient) -> None:
        for run in client.get("/api/pipeline/runs").json or []:
            Run.model_validate(run)
        assert ids(client, "/api/pipeline/runs?state=failed") == [2]
        assert ids(client, "/api/pipeline/runs?after=1") == [2]

    def test_one_with_the_last_attempt_of_each_step_and_its_files(self, client: FlaskClient) -> None:
        answer = client.get("/api/pipeline/runs/manual__2026-01-31T02:00:00+00:00")
        run = RunDetail.model_validate_json(answer.data)
        assert [(step.step, step.attempt, step.state) for step in run.steps] == [
            ("extract", 2, "succeeded"),
            ("load_patients", 1, "succeeded"),
        ]
        assert [(file.name, file.records_inserted) for file in run.files] == [
            ("patients-lagos.csv", 3),
            ("facilities.csv", None),
        ]

    def test_what_dbt_did_node_by_node_the_slowest_first(self, client: FlaskClient) -> None:
        answer = client.get("/api/pipeline/runs/manual__2026-01-31T02:00:00+00:00/dbt-results")
        results = [DbtResult.model_validate(result) for result in answer.json or []]
        assert [(result.node_id, result.status, result.rows_affected, result.failures) for result in results] == [
            ("model.medilink.dim_patients", "success", 6, None),
            ("test.medilink.not_null_dim_patients_sex.1a2b", "warn", None, 3),
        ]
        assert results[1].message == "test not_null_dim_patients_sex of dim_patients ended as warn with 3 rows"
        assert client.get("/api/pipeline/runs/cli-2/dbt-results").json == []
        assert client.get("/api/pipeline/runs/never-started/dbt-results").status_code == 404

    def test_health_day_by_day(self, client: FlaskClient) -> None:
        days = [Day.model_validate(day) for day in client.get("/api/pipeline/health").json or []]
        assert [(str(day.run_on), day.failed_run_count, day.longest_run_seconds, day.file_count) for day in days] == [
            ("2026-02-01", 1, 60, 0),
            ("2026-01-31", 0, 60, 2),
        ]
        assert len(client.get("/api/pipeline/health?days=1").json or []) == 1

    def test_files(self, client: FlaskClient) -> None:
        for file in client.get("/api/pipeline/files").json or []:
            File.model_validate(file)
        assert ids(client, "/api/pipeline/files?status=held") == [2]
        assert ids(client, "/api/pipeline/files?feed=patients&batch_id=1") == [1]
        assert ids(client, "/api/pipeline/files?run_id=cli-2") == []
        assert client.get("/api/pipeline/files?feed=nonsense").status_code == 422


class TestQuarantine:
    def test_the_list_tells_what_is_wrong_and_no_value(self, client: FlaskClient) -> None:
        answer = client.get("/api/quarantine")
        for entry in answer.json or []:
            Entry.model_validate(entry)
        assert "Canary" not in answer.text
        assert ids(client, "/api/quarantine?code=missing_value") == [3, 5]
        assert ids(client, "/api/quarantine?file=patients-lagos.csv&disposition=parked") == [2]
        assert ids(client, "/api/quarantine?state=closed") == []

    def test_the_summary_counts_reasons_and_says_what_to_do(self, client: FlaskClient, client_of: ClientOf) -> None:
        reasons = [Reason.model_validate(reason) for reason in client.get("/api/quarantine/summary").json or []]
        assert [(reason.error_code, reason.row_count) for reason in reasons] == [
            (RowCode.MISSING_VALUE, 2),
            (RowCode.AMBIGUOUS_FACILITY, 1),
            (RowCode.INVALID_TYPE, 1),
            (RowCode.WRONG_COLUMN_COUNT, 1),
        ]
        assert [reason.advice for reason in reasons] == [ROW_ADVICE[reason.error_code] for reason in reasons]
        own = client_of(Role.STEWARD, 1).get("/api/quarantine/summary").json or []
        assert [reason["row_count"] for reason in own] == [1, 1]

    def test_one_entry_has_the_row_and_what_to_do(self, client: FlaskClient) -> None:
        entry = EntryDetail.model_validate_json(client.get("/api/quarantine/1").data)
        assert (entry.delivered or {})["first_name"] == "=Canary()"
        assert "data contract" in entry.advice
        assert (client.get("/api/quarantine/4").json or {})["delivered_text"].startswith("Canary")

    def test_a_steward_sees_rows_that_bear_the_name_of_their_facility(self, client_of: ClientOf) -> None:
        steward = client_of(Role.STEWARD, 1)
        assert ids(steward, "/api/quarantine") == [1, 2]
        assert [steward.get(f"/api/quarantine/{number}").status_code for number in (1, 3, 4, 5)] == [200, 404, 404, 404]
        assert "Epe" not in self.export(steward)

    def export(self, client: FlaskClient, query: str = "feed=patients") -> str:
        answer = client.get(f"/api/quarantine?{query}", headers={"Accept": "text/csv"})
        assert answer.status_code == 200, answer.text
        assert answer.content_type == "text/csv; charset=utf-8"
        assert answer.headers["Content-Disposition"] == 'attachment; filename="patients-corrected.csv"'
        return answer.text

    def test_the_export_is_ready_to_be_corrected_and_dropped(self, client: FlaskClient) -> None:
        found: list[dict[str, Any]] = list(csv.DictReader(io.StringIO(self.export(client))))
        assert [row["_quarantine_id"] for row in found] == ["1", "2", "3", "4", "5"]
        assert found[0]["first_name"] == "'=Canary()"
        assert (found[0]["_error_code"], found[3]["_text"]) == ("invalid_type", "Canary,1,2,3,4,5,6,7,8,9")
        assert len(self.export(client, "feed=patients&code=missing_value").splitlines()) == 3
        assert len(self.export(client, "feed=patients&code=nul_byte").splitlines()) == 1

    def test_an_operator_sees_what_is_wrong_and_no_value(self, client_of: ClientOf) -> None:
        operator = client_of(Role.OPERATOR)
        assert ids(operator, "/api/quarantine") == [1, 2, 3, 4, 5]
        assert operator.get("/api/quarantine/1").status_code == 403
        export = operator.get("/api/quarantine?feed=patients", headers={"Accept": "text/csv"})
        assert (export.status_code, "Canary" in export.text) == (403, False)

    def test_an_export_that_would_be_too_large_says_how_to_narrow_it(
        self, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(queries, "EXPORT_LIMIT", 4)
        answer = client.get("/api/quarantine?feed=patients", headers={"Accept": "text/csv"})
        assert (answer.status_code, (answer.json or {})["errors"]) == (422, [{"pointer": "#/feed", "code": "too_many"}])
        assert len(self.export(client, "feed=patients&code=missing_value").splitlines()) == 3

    def test_an_export_is_of_one_feed(self, client: FlaskClient) -> None:
        answer = client.get("/api/quarantine", headers={"Accept": "text/csv"})
        assert (answer.status_code, (answer.json or {})["errors"]) == (422, [{"pointer": "#/feed", "code": "missing"}])


def test_lineage_says_where_a_patient_came_from(
    client: FlaskClient, client_of: ClientOf, admin: psycopg.Connection
) -> None:
    admin.execute(
        """
        update public.patients
        set source = 'drop', _first_file_id = 1, _first_row = 2, _first_batch_id = 1, _last_file_id = 1, _last_row = 9,
            _last_batch_id = 1
        where id = 1
        """
    )
    lineage: dict[str, Any] = client.get("/api/patients/1/lineage").json or {}
    assert (lineage["first_delivery"]["file"], lineage["first_delivery"]["row_number"]) == ("patients-lagos.csv", 2)
    assert (lineage["last_delivery"]["batch_id"], lineage["last_delivery"]["row_number"]) == (1, 9)
    assert (client.get("/api/patients/2/lineage").json or {})["first_delivery"] is None
    assert client_of(Role.CLINICIAN, 2).get("/api/patients/1/lineage").status_code == 404


def test_the_access_log_names_the_rows_in_quarantine_that_were_read(
    client_of: ClientOf, admin: psycopg.Connection
) -> None:
    client = client_of(Role.STEWARD, 1)
    client.get("/api/quarantine?limit=1")
    client.get("/api/quarantine/2")
    client.get("/api/quarantine/3")
    client.get("/api/quarantine?feed=patients", headers={"Accept": "text/csv"})
    client.get("/api/quarantine/summary")
    logged = admin.execute("select route, status, quarantine_ids, patient_ids from audit.access_log order by access_id")
    assert logged.fetchall() == [
        ("/api/quarantine", 200, [1], []),
        ("/api/quarantine/<int:id>", 200, [2], []),
        ("/api/quarantine/<int:id>", 404, [], []),
        ("/api/quarantine", 200, [1, 2], []),
        ("/api/quarantine/summary", 200, [], []),
    ]


def test_metrics_count_requests_and_tell_how_the_pipeline_stands(client_of: ClientOf) -> None:
    operator = client_of(Role.OPERATOR)
    operator.get("/api/patients?q=CANARY")
    text = operator.get("/metrics").text
    assert 'medilink_api_requests_total{method="GET",route="/api/patients",status="403"}' in text
    assert 'medilink_quarantine_open_entries{disposition="failed",feed="patients"} 4.0' in text
    assert 'medilink_files{status="held"} 1.0' in text
    assert "medilink_last_run_succeeded 0.0" in text
    assert "canary" not in text.lower()


def test_made_up_methods_make_no_series(client_of: ClientOf, stranger: FlaskClient) -> None:
    for number in range(3):
        stranger.open("/health", method=f"CANARY{number}")
    text = client_of(Role.OPERATOR).get("/metrics").text
    assert 'medilink_api_requests_total{method="other",route="none"' in text
    assert "CANARY" not in text


@pytest.mark.parametrize("kind", ProblemType)
def test_every_problem_type_is_explained(stranger: FlaskClient, kind: ProblemType) -> None:
    page = stranger.get(f"/problems/{kind}")
    assert page.status_code == 200
    assert str(STATUSES[kind].value) in page.text
    assert MEANINGS[kind] in page.text
    assert stranger.get("/problems/none-such").status_code == 404
