"""Analytics out of the marts: what each answers, to whom, and that schema and contract are the same columns."""

from __future__ import annotations

import base64
import json
import types
from collections.abc import Callable
from datetime import date, datetime
from typing import Any, get_args

import psycopg
import pytest
from flask.testing import FlaskClient

from backend.analytics import schemas
from backend.api import Api
from backend.schema import Schema
from elt.vocabulary import Role
from tests.backend.conftest import mart_columns

ClientOf = Callable[..., FlaskClient]

SCHEMAS: dict[str, type[Schema]] = {
    "facility_performance": schemas.FacilityPerformance,
    "patient_summary": schemas.PatientSummary,
    "triage_trends": schemas.TriageTrend,
    "condition_analysis": schemas.ConditionFrequency,
    "bed_pressure": schemas.BedOccupancy,
}
TYPES: dict[str, object] = {
    "bigint": int, "integer": int, "smallint": int, "numeric": float, "double precision": float, "text": str,
    "boolean": bool, "date": date, "timestamp with time zone": datetime, "text[]": list[str],
}  # fmt: skip
PAGES = {
    "facility-performance": schemas.FacilityPerformances,
    "patient-summary": schemas.PatientSummaries,
    "triage-trends": schemas.TriageTrends,
    "condition-analysis": schemas.ConditionAnalysis,
}


def test_schemas_are_the_marts_contracts() -> None:
    compared = 0
    for columns, path in mart_columns():
        if path.stem in SCHEMAS:
            fields = SCHEMAS[path.stem].model_fields
            assert [column["name"] for column in columns] == list(fields), path.stem
            for column in columns:
                annotation = fields[column["name"]].annotation
                kinds = set(get_args(annotation)) - {types.NoneType} if "None" in str(annotation) else {annotation}
                assert kinds == {TYPES[column["data_type"].partition("(")[0]]}, f"{path.stem}.{column['name']}"
            compared += 1
    assert compared >= 4


@pytest.mark.usefixtures("rows", "marts")
def test_every_answer_spells_its_release_alike(app: Api, client: FlaskClient) -> None:
    addresses = {rule.rule for rule in app.url_map.iter_rules() if rule.endpoint.startswith("analytics.")}
    assert len(addresses) > 10
    found = {address: json.loads(client.get(address).data)["as_of"] for address in addresses}
    assert set(found.values()) == {"2026-01-31T02:01:40.100000+00:00"}, found


@pytest.mark.usefixtures("rows", "marts")
class TestPages:
    @pytest.mark.parametrize("name", PAGES)
    def test_each_is_what_its_schema_says(self, client: FlaskClient, name: str) -> None:
        answer = client.get(f"/api/analytics/{name}")
        assert answer.status_code == 200, answer.text
        page = PAGES[name].model_validate_json(answer.data)
        assert page.as_of.isoformat() == "2026-01-31T02:01:40.100000+00:00"
        assert page.rows
        assert answer.headers["Cache-Control"] == "no-store"
        unchanged = client.get(f"/api/analytics/{name}", headers={"If-None-Match": answer.headers["ETag"]})
        assert (unchanged.status_code, unchanged.data) == (304, b"")

    @pytest.mark.parametrize(
        ("address", "keys"),
        [
            ("triage-trends?facility_id=2&from=2026-01-02&to=2026-01-02", [(2, "2026-01-02")]),
            ("triage-trends?state=lagos&to=2026-01-01", [(1, "2026-01-01"), (2, "2026-01-01")]),
            ("facility-performance?state=Kano", []),
            ("patient-summary?risk_assessment=High&sex=F", [(1,)]),
            ("patient-summary?facility_id=2&patient_id=4&age_group=Adult", [(4,)]),
            ("condition-analysis?condition=Angina&age_group=Adult&sex=F&state=lagos", [("Angina",)]),
        ],
    )
    def test_filters(self, client: FlaskClient, address: str, keys: list[tuple[object, ...]]) -> None:
        found = [list(row.values()) for row in (client.get(f"/api/analytics/{address}").json or {})["rows"]]
        last = [row[-1] for row in found]
        assert [(row[0], day)[: len(key)] for row, day, key in zip(found, last, keys, strict=True)] == keys

    @pytest.mark.parametrize(
        "first", ["triage-trends?limit=2", "condition-analysis?limit=1", "triage-trends?per_page=4"]
    )
    def test_link_leads_through_all_pages_once(self, client: FlaskClient, first: str) -> None:
        everything = (client.get(f"/api/analytics/{first.partition('?')[0]}").json or {})["rows"]
        address, found = f"/api/analytics/{first}", []
        while address:
            answer = client.get(address)
            found += (answer.json or {})["rows"]
            address = answer.headers.get("Link", "").partition(">")[0].lstrip("<")
        assert found == everything
        assert len(found) > 1

    @pytest.mark.parametrize(
        "last",
        [[], ["1"], ["x", "2026-01-01"], ["1", "soon"], ["1", "2026-01-01", "1"], {"a": 1}, 7, None, "1"],
    )
    def test_a_cursor_of_ones_own_making_is_refused(self, client: FlaskClient, last: object) -> None:
        cursor = base64.urlsafe_b64encode(json.dumps(last).encode()).rstrip(b"=").decode()
        answer = client.get(f"/api/analytics/triage-trends?after={cursor}")
        assert (answer.status_code, (answer.json or {})["errors"]) == (422, [{"pointer": "#/after", "code": "cursor"}])

    def test_a_cursor_of_texts_holds_text(self, client: FlaskClient) -> None:
        for last in (["\x00", "", "", ""], ["\ud800", "a", "b", "c"], "[" * 2000):
            text = last if isinstance(last, str) else json.dumps(last)
            cursor = base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()
            assert client.get(f"/api/analytics/condition-analysis?after={cursor}").status_code == 422

    def test_a_mart_that_is_not_published_yet(self, client: FlaskClient, admin: psycopg.Connection) -> None:
        admin.execute("drop table analytics.triage_trends")
        answer = client.get("/api/analytics/triage-trends")
        assert (answer.status_code, (answer.json or {})["type"]) == (503, "/problems/nothing-published")


@pytest.mark.usefixtures("rows", "marts")
class TestWhoSeesWhat:
    def rows(self, client: FlaskClient, name: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (client.get(f"/api/analytics/{name}").json or {})["rows"]
        return found

    def test_a_viewer_sees_no_count_from_1_to_7_and_no_figure_that_tells_one(self, client_of: ClientOf) -> None:
        viewer = client_of(Role.VIEWER)
        for name in ("facility-performance", "triage-trends", "condition-analysis"):
            for row in self.rows(viewer, name):
                counts = {field: value for field, value in row.items() if field.endswith("_count")}
                assert counts
                assert {value for value in counts.values() if value is not None and value % 5} == set(), row
                assert not any("pct" in field and row[field] is not None for field in row), row
        small, large = self.rows(viewer, "condition-analysis")
        assert (small["patient_count"], small["avg_triage_level"]) == (None, None)
        assert (large["patient_count"], large["visit_count"], large["avg_triage_level"]) == (20, 25, 3)

    def test_an_analyst_sees_them_as_they_are(self, client_of: ClientOf) -> None:
        assert [row["visit_count"] for row in self.rows(client_of(Role.ANALYST), "condition-analysis")] == [1, 23]

    def test_bound_roles_see_their_facilities(self, client_of: ClientOf, admin: psycopg.Connection) -> None:
        clinician = client_of(Role.CLINICIAN, 2)
        for name in ("facility-performance", "patient-summary", "triage-trends"):
            assert {row["facility_id"] for row in self.rows(clinician, name)} == {2}, name
        assert self.rows(clinician, "condition-analysis")[0]["patient_count"] is None
        seen = admin.execute(
            "select patient_ids from audit.access_log where route = '/api/analytics/patient-summary'"
        ).fetchall()
        assert seen == [([4],)]
