"""Policy: role × route × facility, from the matrix and the URL map; what is in neither answers nobody."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import psycopg
import pytest
from flask import Response
from flask.testing import FlaskClient
from werkzeug.routing import Rule

from backend.access import BROWSABLE, MATRIX, OPEN, Scope
from backend.access_log import Held, note
from backend.api import Api
from backend.database import db
from backend.listing import Page
from elt import clients
from elt.vocabulary import BOUND_ROLES, Role

OPEN_ADDRESSES = {
    "/",
    "/redoc",
    "/openapi.json",
    "/problems/<name>",
    "/assets/<any(pages, swagger, redoc):package>/<path:name>",
    "/health",
    "/health/live",
    "/health/ready",
    "/api/auth/token",
    "/api/auth/jwks",
}
VALUES: dict[str, Any] = {"id": 1, "run_id": "test", "package": "swagger", "name": "css/swagger-ui.css"}
ClientOf = Callable[..., FlaskClient]


def closed_routes(app: Api) -> Iterator[tuple[Rule, str, str]]:
    """Every closed route: its rule, its method, an address of it (of facility 1 and its patients)."""
    addresses = app.url_map.bind("localhost")
    for rule in app.url_map.iter_rules():
        if rule.endpoint not in OPEN:
            for method in (rule.methods or set()) - {"OPTIONS", "HEAD"}:
                yield rule, method, addresses.build(rule.endpoint, {name: VALUES[name] for name in rule.arguments})


class TestTheMatrix:
    def test_every_closed_route_is_in_it_and_nothing_else(self, app: Api) -> None:
        assert {rule.endpoint for rule, _, _ in closed_routes(app)} == MATRIX.keys()

    def test_open_are_the_documentation_health_and_the_way_in(self, app: Api) -> None:
        assert {rule.rule for rule in app.url_map.iter_rules() if rule.endpoint in OPEN} == OPEN_ADDRESSES
        assert {rule.rule for rule in app.url_map.iter_rules() if rule.endpoint in BROWSABLE} == {"/dbt-docs/"}

    def test_only_bound_roles_are_bound(self) -> None:
        for route, rule in MATRIX.items():
            for role, scope in rule.items():
                assert (scope is Scope.OWN) <= (role in BOUND_ROLES), f"{route} {role}"

    @pytest.mark.usefixtures("rows", "marts")
    def test_every_role_gets_what_it_says_and_nothing_else(self, app: Api, client_of: ClientOf) -> None:
        for role in Role:
            client = client_of(role, *([1] if role in BOUND_ROLES else []))
            for rule, method, address in closed_routes(app):
                answer = client.open(address, method=method, buffered=True)
                allowed = role in MATRIX[rule.endpoint]
                assert (answer.status_code != 403) == allowed, f"{role} {method} {rule.rule}: {answer.status_code}"
                assert answer.status_code not in (401, 500), f"{role} {method} {rule.rule}: {answer.status_code}"


class TestStrangers:
    def test_every_closed_route_refuses_them(self, app: Api, stranger: FlaskClient) -> None:
        refused = 0
        for rule, method, address in closed_routes(app):
            assert stranger.open(address, method=method).status_code == 401, f"{method} {rule.rule}"
            refused += 1
        assert refused >= 10

    def test_a_new_route_is_closed_to_everybody(self, app: Api, stranger: FlaskClient, client_of: ClientOf) -> None:
        app.add_url_rule("/new", "new", lambda: "secret")
        assert stranger.get("/new").status_code == 401
        assert client_of(Role.ADMIN).get("/new").status_code == 403

    def test_they_do_not_learn_which_addresses_exist(self, stranger: FlaskClient) -> None:
        assert stranger.get("/api/nothing-here").status_code == 401
        assert stranger.delete("/api/patients").status_code == 401

    @pytest.mark.parametrize("offer", ["", "Bearer", "Bearer ", "Bearer ÿ", "Token x", "Basic bWVkaWxpbms=", "Basic ÿ"])
    def test_what_is_no_token_is_refused(self, stranger: FlaskClient, offer: str) -> None:
        answer = stranger.get("/api/patients", headers={"Authorization": offer})
        assert (answer.status_code, answer.content_type) == (401, "application/problem+json")

    def test_what_cannot_be_read_is_no_secret_and_counts(self, stranger: FlaskClient) -> None:
        offer = {"Authorization": "Basic ÿ"}
        form = {"grant_type": "client_credentials"}
        answers = [stranger.post("/api/auth/token", headers=offer, data=form).status_code for _ in range(31)]
        assert answers == [401] * 30 + [429]
        assert stranger.get("/health/live", headers=offer).status_code == 200


@pytest.mark.usefixtures("rows", "marts")
class TestFacilities:
    """Patients 1 to 3 belong to facility 1, patients 4 to 6 to facility 2."""

    LISTS: ClassVar = {
        "/api/patients": {1: [1, 2, 3], 2: [4, 5, 6]},
        "/api/medical-records": {1: [1, 2], 2: [3]},
        "/api/triage-visits": {1: [1], 2: [2]},
    }

    @pytest.mark.parametrize("role", [Role.CLINICIAN, Role.DATA_ENTRY])
    @pytest.mark.parametrize("facilities", [[1], [2], [1, 2], []])
    def test_a_bound_caller_sees_their_own_only(self, client_of: ClientOf, role: Role, facilities: list[int]) -> None:
        client = client_of(role, *facilities)
        for address, ids in self.LISTS.items():
            own = sorted(number for facility in facilities for number in ids[facility])
            answer = client.get(f"{address}?count=exact")
            assert [entity["id"] for entity in answer.json or []] == own
            assert answer.headers["X-Total-Count"] == str(len(own))
            for facility in (1, 2):
                filtered = client.get(f"{address}?facility_id={facility}").json or []
                assert [entity["id"] for entity in filtered] == (ids[facility] if facility in facilities else [])
                for number in ids[facility]:
                    assert client.get(f"{address}/{number}").status_code == (200 if facility in facilities else 404)

    def test_what_belongs_to_others_looks_like_what_is_not_there(self, client_of: ClientOf) -> None:
        client = client_of(Role.CLINICIAN, 1)
        assert client.get("/api/patients/4").data == client.get("/api/patients/999").data
        assert (client.get("/api/patients?q=canary%20senior").json or []) == []

    def test_figures_of_other_facilities_are_not_in_the_totals(self, client_of: ClientOf) -> None:
        stats = client_of(Role.CLINICIAN, 1).get("/api/analytics/facility-stats").json or {}
        assert (stats["total_facilities"], stats["total_patients"]) == (1, 3)

    def test_an_etag_of_another_caller_is_no_key(self, client_of: ClientOf) -> None:
        address = "/api/analytics/facility-stats"
        etags = [
            client.get(address).headers["ETag"]
            for client in (client_of(Role.ADMIN), client_of(Role.VIEWER), client_of(Role.CLINICIAN, 1))
        ]
        assert len(set(etags)) == 3

    def test_a_viewer_sees_no_small_number(self, client_of: ClientOf, admin: psycopg.Connection) -> None:
        admin.execute("update analytics.dim_facilities set patient_count = 13, visit_count = 8 where facility_id = 2")
        stats = client_of(Role.VIEWER).get("/api/analytics/facility-stats").json or {}
        figures = [(row["patient_count"], row["record_count"], row["avg_triage_level"]) for row in stats["facilities"]]
        assert figures == [(None, None, None), (15, None, 5), (0, 0, None)]
        assert (stats["total_patients"], stats["total_records"]) == (15, 0)


@pytest.mark.usefixtures("rows", "marts")
class TestTheDatabase:
    """What the API's own log-in could do, if a query of ours were subverted."""

    @pytest.fixture
    def api(self, app: Api) -> Iterator[psycopg.Connection]:
        with app.app_context():
            pooled = db.engine.raw_connection()
            yield pooled.driver_connection  # type: ignore[misc]
            pooled.close()

    def test_an_unset_context_sees_nothing(self, api: psycopg.Connection) -> None:
        for table in (
            "public.patients",
            "public.medical_records",
            "public.triage_visits",
            "analytics.dim_facilities",
        ):
            assert api.execute(f"select count(*) from {table}").fetchone() == (0,), table
            with api.transaction(force_rollback=True):
                api.execute("set local medilink.facilities = '{2}'")
                assert api.execute(f"select array_agg(distinct facility_id) from {table}").fetchone() == ([2],), table

    @pytest.mark.parametrize(
        "statement",
        [
            "insert into public.facilities (name, state, source) values ('x', 'X', 'api')",
            "update public.patients set phone = null",
            "delete from public.patients",
            "truncate public.patients",
            "update audit.access_log set subject = null",
            "delete from audit.access_log",
            "truncate audit.access_log",
            "select * from audit.access_log",
            "select created_at from audit.api_clients",
            "update audit.api_clients set role = 'admin'",
            "insert into audit.api_clients (client_id, role, secret_hash) values ('abc', 'admin', 'x')",
            "select * from staging.patients",
            "alter table public.patients disable row level security",
            "drop policy own_facilities on public.patients",
            "create table public.mine ()",
            "create temporary table mine ()",
            "set role loader",
            "set role medilink_owner",
            "set role transformer",
        ],
    )
    def test_it_can_read_what_it_serves_and_no_more(self, api: psycopg.Connection, statement: str) -> None:
        for role in ("none", "api_read_all"):
            api.execute(f"set role {role}")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                api.execute(statement)
        api.execute("reset role")

    def test_the_pipeline_sees_everything(self, admin: psycopg.Connection) -> None:
        for role in ("loader", "transformer"):
            admin.execute(f"set role {role}")
            assert admin.execute("select count(*) from public.patients").fetchone() == (6,)
        admin.execute("reset role")


@pytest.mark.usefixtures("rows")
class TestTheAccessLog:
    def entries(self, admin: psycopg.Connection) -> list[tuple[Any, ...]]:
        return admin.execute(
            "select subject, role, method, route, status, patient_ids from audit.access_log order by access_id"
        ).fetchall()

    def test_says_who_saw_which_patients(self, client_of: ClientOf, admin: psycopg.Connection) -> None:
        client = client_of(Role.CLINICIAN, 1)
        client.get("/api/patients?per_page=2&q=canary")
        client.get("/api/patients/3")
        client.get("/api/medical-records")
        client.get("/api/patients/4")
        assert self.entries(admin) == [
            ("clinician", "clinician", "GET", "/api/patients", 200, [1, 2]),
            ("clinician", "clinician", "GET", "/api/patients/<int:id>", 200, [3]),
            ("clinician", "clinician", "GET", "/api/medical-records", 200, [1]),
            ("clinician", "clinician", "GET", "/api/patients/<int:id>", 404, []),
        ]

    def test_says_who_was_refused(self, client_of: ClientOf, stranger: FlaskClient, admin: psycopg.Connection) -> None:
        client_of(Role.VIEWER).get("/api/patients")
        stranger.get("/api/patients?q=CANARY")
        stranger.post("/api/auth/token", data={"grant_type": "client_credentials", "client_id": "CANARY"})
        client_of(Role.VIEWER).get("/api/patients?per_page=CANARY")
        stranger.get("/health")
        assert self.entries(admin) == [
            ("viewer", "viewer", "GET", "/api/patients", 403, []),
            (None, None, "GET", "/api/patients", 401, []),
            (None, None, "POST", "/api/auth/token", 401, []),
            ("viewer", "viewer", "GET", "/api/patients", 403, []),
        ]

    def test_what_cannot_be_logged_is_not_answered(self, client: FlaskClient, admin: psycopg.Connection) -> None:
        admin.execute("revoke insert on audit.access_log from api_read")
        for address in ("/api/patients", "/api/patients?count=exact", "/api/patients/1", "/api/auth/me"):
            answer = client.get(address)
            assert answer.status_code == 503, address
            assert "Accesses cannot be logged" in answer.json["detail"]
            assert "Canary" not in answer.text
        assert client.get("/api/patients/999").status_code == 404
        admin.execute("grant insert on audit.access_log to api_read")
        assert client.get("/api/patients").status_code == 200

    def test_a_page_that_was_read_and_not_answered_is_logged_as_both(
        self, client_of: ClientOf, admin: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Page, "with_headers", lambda *_: 1 / 0)
        assert client_of(Role.CLINICIAN, 1).get("/api/patients?per_page=2").status_code == 500
        assert self.entries(admin) == [
            ("clinician", "clinician", "GET", "/api/patients", 200, [1, 2]),
            ("clinician", "clinician", "GET", "/api/patients", 500, []),
        ]

    def test_what_is_noted_after_the_page_is_logged_too(
        self, client_of: ClientOf, admin: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def with_more(_: Page, answer: Response) -> Response:
            note(Held.PATIENTS, [6])
            return answer

        monkeypatch.setattr(Page, "with_headers", with_more)
        assert client_of(Role.CLINICIAN, 1).get("/api/patients?per_page=2").status_code == 200
        assert [entry[5] for entry in self.entries(admin)] == [[1, 2], [6]]

    def test_each_entry_holds_its_own_page_on_whichever_connection(
        self, client_of: ClientOf, admin: psycopg.Connection
    ) -> None:
        wards = [client_of(Role.CLINICIAN, 1), client_of(Role.CLINICIAN, 2), client_of(Role.CLINICIAN, 3)]
        seen = []
        for number in range(24):
            patients = wards[number % 3].get("/api/patients?limit=1000").json
            records = wards[(number + 1) % 3].get("/api/medical-records?limit=1000").json
            seen += [{row["id"] for row in patients}, {row["patient_id"] for row in records}]
        assert [set(entry[5]) for entry in self.entries(admin)] == seen
        assert len(set(map(frozenset, seen))) > 2


class TestDbtDocs:
    @pytest.fixture
    def page(self, app_with: Callable[..., Api], tmp_path: Path) -> FlaskClient:
        return app_with(medilink_home=tmp_path).test_client()

    def test_a_browser_is_asked_for_a_password(self, page: FlaskClient) -> None:
        answer = page.get("/dbt-docs/")
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"].startswith("Basic ")

    def test_a_client_of_the_right_role_opens_them(
        self, page: FlaskClient, client_of: ClientOf, admin: psycopg.Connection, tmp_path: Path
    ) -> None:
        path = tmp_path / "dbt" / "docs" / "static_index.html"
        secret = clients.create(admin, "analyst-laptop", Role.ANALYST, [])
        missing = page.get("/dbt-docs/", auth=("analyst-laptop", secret))
        assert (missing.status_code, "Run the pipeline" in missing.text) == (404, True)
        path.parent.mkdir(parents=True)
        path.write_text("<title>dbt Docs</title>")
        bearer = client_of(Role.ANALYST).environ_base["HTTP_AUTHORIZATION"]
        for answer in (
            page.get("/dbt-docs", auth=("analyst-laptop", secret), buffered=True),
            page.get("/dbt-docs/", headers={"Authorization": bearer}, buffered=True),
        ):
            assert (answer.status_code, "dbt Docs" in answer.text) == (200, True)
            assert answer.headers["Cache-Control"] == "no-store"
        assert page.get("/dbt-docs/", auth=("analyst-laptop", "wrong")).status_code == 401
        assert page.get("/api/facilities", auth=("analyst-laptop", secret)).status_code == 401
        viewer = clients.create(admin, "viewer-laptop", Role.VIEWER, [])
        assert page.get("/dbt-docs/", auth=("viewer-laptop", viewer)).status_code == 403
