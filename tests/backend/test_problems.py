"""Errors: problem+json for every one, never a value, never a trace; health tells of the database's absence."""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from flask import request
from flask.testing import FlaskClient

from backend import bodies
from backend.access import MATRIX, Scope
from backend.api import Api
from backend.database import fetch_one
from elt.vocabulary import Role

PROBLEM = "application/problem+json"


@pytest.fixture
def route(app: Api, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Adds a route that an admin may use."""

    def add(view: Callable[[], Any], **options: Any) -> None:
        app.add_url_rule(f"/{view.__name__}", view.__name__, view, **options)
        monkeypatch.setitem(MATRIX, view.__name__, {Role.ADMIN: Scope.ALL})

    return add


def test_unknown_address(client: FlaskClient) -> None:
    answer = client.get("/api/nothing-here")
    assert (answer.status_code, answer.content_type) == (404, PROBLEM)


def test_an_address_is_what_it_says_or_not_found(client: FlaskClient) -> None:
    assert client.get("/api/patients/").status_code == 200
    answer = client.get("/api//patients")
    assert (answer.status_code, answer.content_type) == (404, PROBLEM)


def test_an_answer_to_head_has_the_headers_and_no_body(client: FlaskClient) -> None:
    whole, head = client.get("/api/patients"), client.head("/api/patients")
    assert (head.status_code, head.data) == (200, b"")
    assert head.headers == whole.headers
    assert int(head.headers["Content-Length"]) == len(whole.data)


def test_what_methods_an_address_takes(client: FlaskClient) -> None:
    answer = client.options("/api/patients")
    assert (answer.status_code, answer.data) == (200, b"")
    assert {"GET", "HEAD", "OPTIONS", "POST"} == {method.strip() for method in answer.headers["Allow"].split(",")}


def test_unsupported_method(client: FlaskClient) -> None:
    answer = client.delete("/api/patients")
    assert (answer.status_code, answer.content_type) == (405, PROBLEM)
    assert "GET" in answer.headers["Allow"]


def test_body_too_large(route: Callable[..., None], client: FlaskClient) -> None:
    def echo() -> bytes:
        return request.get_data()

    route(echo, methods=["POST"])
    assert client.post("/echo", data=b"x" * 1024).status_code == 200
    answer = client.post("/echo", data=b"x" * (1024 * 1024 + 1))
    assert (answer.status_code, answer.content_type) == (413, PROBLEM)


class Stalled(io.BytesIO):
    """A body of which nothing comes."""

    def read(self, _: int | None = -1) -> bytes:
        time.sleep(2)
        return b""


def test_a_body_that_does_not_come(stranger: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stranger's as well: it would hold one of the few threads as long as they like."""
    monkeypatch.setattr(bodies, "PATIENCE_SECONDS", 0.2)
    started = time.monotonic()
    answer = stranger.post(
        "/api/auth/token",
        input_stream=Stalled(b"grant_type=" + 100 * b"x"),
        content_type="application/x-www-form-urlencoded",
    )
    assert time.monotonic() - started < 1
    assert (answer.status_code, answer.content_type) == (408, PROBLEM)


def test_what_is_nested_too_deeply(client: FlaskClient, stranger: FlaskClient) -> None:
    deep = "[" * 200_000
    answer = client.post("/api/facilities", data=deep, content_type="application/json")
    assert (answer.status_code, answer.content_type) == (400, PROBLEM)
    # Some Pythons can read as deep as a form may be.
    assert stranger.post("/api/auth/token", data={"grant_type": deep[:1200]}).status_code in (400, 422)


def test_a_form_is_small_and_its_numbers_are_text(stranger: FlaskClient) -> None:
    form = {"grant_type": "client_credentials", "client_id": "12345", "client_secret": "1" * 200}
    assert stranger.post("/api/auth/token", data=form).status_code == 401
    assert stranger.post("/api/auth/token", data=form | {"client_secret": "1" * 5000}).status_code == 413


def test_not_every_error_is_named(client: FlaskClient) -> None:
    answer = client.post("/api/facilities", json={f"field{number}": 1 for number in range(10_000)})
    assert (answer.status_code, len((answer.json or {})["errors"])) == (422, 100)


def test_a_fault_of_ours_tells_neither_the_caller_nor_the_log_any_value(
    route: Callable[..., None], client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> str:
        raise RuntimeError(f"CANARY {request.args['q']}")

    route(fail)
    with caplog.at_level(logging.DEBUG):
        answer = client.get("/fail?q=CANARY")
    assert (answer.status_code, answer.content_type) == (500, PROBLEM)
    assert answer.json
    assert set(answer.json) == {"type", "title", "status", "detail"}
    assert "CANARY" not in answer.text
    assert "RuntimeError" in caplog.text
    assert "CANARY" not in caplog.text.replace('raise RuntimeError(f"CANARY', "")


def test_a_query_that_takes_too_long(
    route: Callable[..., None], client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    def slow() -> str:
        fetch_one("select set_config('statement_timeout', '50ms', true)")
        fetch_one("select pg_sleep(5), cast(%(name)s as text)", name="CANARY")
        return ""

    route(slow)
    answer = client.get("/slow")
    assert (answer.status_code, answer.content_type) == (503, PROBLEM)
    assert answer.json
    assert answer.json["type"] == "/problems/query-timeout"
    assert "CANARY" not in caplog.text


def test_what_is_read_is_one_snapshot_of_a_transaction_that_cannot_write(app: Api) -> None:
    with app.app_context():
        for setting, expected in (
            ("transaction_read_only", "on"),
            ("transaction_isolation", "repeatable read"),
            ("statement_timeout", "10s"),
            ("idle_in_transaction_session_timeout", "15s"),
        ):
            assert fetch_one("select current_setting(%(name)s)", name=setting) == (expected,)


@pytest.fixture
def lonely(app_with: Callable[..., Api]) -> FlaskClient:
    """The API while nothing listens where its database should be."""
    app = app_with(postgres_port=1)
    client = app.test_client()
    token = app.extensions["medilink_tokens"].issue("admin", Role.ADMIN, [])
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {token}"
    return client


@pytest.mark.parametrize("address", ["/api/patients?q=CANARY", "/api/facilities/1", "/api/analytics/facility-stats"])
def test_without_the_database(lonely: FlaskClient, address: str, caplog: pytest.LogCaptureFixture) -> None:
    started = time.monotonic()
    answer = lonely.get(address)
    assert time.monotonic() - started < 2
    assert (answer.status_code, answer.content_type) == (503, PROBLEM)
    assert answer.json
    assert answer.json["type"] == "/problems/database-unavailable"
    assert answer.headers["Retry-After"] == "5"
    for text in (answer.text, caplog.text):
        assert "CANARY" not in text
        assert "127.0.0.1" not in text


def test_connections_that_were_cut_are_replaced(client: FlaskClient, admin: psycopg.Connection) -> None:
    assert client.get("/api/facilities").status_code == 200
    admin.execute("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'medilink-api'")
    assert client.get("/api/facilities").status_code == 200


class TestHealth:
    def test_all_is_well(self, stranger: FlaskClient) -> None:
        for address in ("/health", "/health/ready"):
            answer = stranger.get(address)
            assert answer.status_code == 200
            assert answer.json
            assert answer.json["timestamp"].endswith("Z")
            assert (answer.json["status"], answer.json["database"]) == ("healthy", "connected")

    def test_the_database_is_away(self, lonely: FlaskClient) -> None:
        for address in ("/health", "/health/ready"):
            answer = lonely.get(address)
            assert answer.status_code == 503
            assert answer.json
            assert (answer.json["status"], answer.json["database"]) == ("unhealthy", "disconnected")
            assert "127.0.0.1" not in answer.text
        assert lonely.get("/health/live").status_code == 200


class TestHeaders:
    @pytest.mark.parametrize("address", ["/api/patients", "/api/patients/999", "/nothing", "/health", "/"])
    def test_nothing_is_cached_framed_or_guessed(self, client: FlaskClient, address: str) -> None:
        headers = client.get(address).headers
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "Access-Control-Allow-Origin" not in headers
