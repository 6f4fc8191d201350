"""Policy: everything is closed unless it is named as open."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from pydantic import SecretStr

from backend.access import BROWSABLE, OPEN
from backend.app import create_app
from backend.problems import Api
from elt.settings import Settings

OPEN_ADDRESSES = {
    "/",
    "/redoc",
    "/openapi.json",
    "/assets/<any(pages, swagger, redoc):package>/<path:name>",
    "/health",
    "/health/live",
    "/health/ready",
}
VALUES = {"id": 1, "package": "swagger", "name": "css/swagger-ui.css"}


def test_only_the_documentation_of_the_api_and_health_are_open(app: Api) -> None:
    assert {rule.rule for rule in app.url_map.iter_rules() if rule.endpoint in OPEN} == OPEN_ADDRESSES
    assert {rule.rule for rule in app.url_map.iter_rules() if rule.endpoint in BROWSABLE} == {"/dbt-docs/"}


def test_every_route_that_is_not_open_refuses_strangers(app: Api, stranger: FlaskClient) -> None:
    addresses = app.url_map.bind("localhost")
    refused = 0
    for rule in app.url_map.iter_rules():
        address = addresses.build(rule.endpoint, {name: VALUES[name] for name in rule.arguments})
        for method in rule.methods or ():
            answer = stranger.open(address, method=method, buffered=True)
            assert (answer.status_code == 401) == (rule.endpoint not in OPEN), f"{method} {rule.rule}"
            refused += answer.status_code == 401
    assert refused >= 10 * 3


def test_a_new_route_is_closed_by_default(app: Api, stranger: FlaskClient) -> None:
    app.add_url_rule("/new", "new", lambda: "secret")
    assert stranger.get("/new").status_code == 401


def test_strangers_do_not_learn_which_addresses_exist(stranger: FlaskClient) -> None:
    assert stranger.get("/api/nothing-here").status_code == 401
    assert stranger.delete("/api/patients").status_code == 401


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        "Bearer ÿ",
        "Token {token}",
        "{token}",
        "Basic bWVkaWxpbms=",
        "Basic {basic}",
        "Bearer {token}x",
    ],
)
def test_wrong_credentials_are_refused(stranger: FlaskClient, settings: Settings, authorization: str) -> None:
    token = settings.api_token.get_secret_value()
    basic = base64.b64encode(f"medilink:{token}".encode()).decode()
    header = authorization.format(token=token, basic=basic)
    answer = stranger.get("/api/patients", headers={"Authorization": header})
    assert answer.status_code == 401
    assert answer.content_type == "application/problem+json"
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="medilink"'
    assert token not in answer.text


def test_the_api_does_not_start_without_a_token(settings: Settings) -> None:
    with pytest.raises(ValueError, match="API_TOKEN is empty"):
        create_app(settings.model_copy(update={"api_token": SecretStr("")}))


class TestDbtDocs:
    @pytest.fixture
    def stranger(self, settings: Settings, tmp_path: Path) -> FlaskClient:
        return create_app(settings.model_copy(update={"medilink_home": tmp_path})).test_client()

    def test_a_browser_is_asked_for_a_password(self, stranger: FlaskClient) -> None:
        answer = stranger.get("/dbt-docs/")
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"].startswith("Basic ")

    def test_the_token_opens_them_as_password_or_bearer(
        self, stranger: FlaskClient, settings: Settings, tmp_path: Path
    ) -> None:
        page = tmp_path / "dbt" / "docs" / "static_index.html"
        page.parent.mkdir(parents=True)
        page.write_text("<title>dbt Docs</title>")
        token = settings.api_token.get_secret_value()
        for answer in (
            stranger.get("/dbt-docs/", auth=("medilink", token), buffered=True),
            stranger.get("/dbt-docs", auth=("medilink", token), buffered=True),
            stranger.get("/dbt-docs/", headers={"Authorization": f"Bearer {token}"}, buffered=True),
        ):
            assert answer.status_code == 200
            assert "dbt Docs" in answer.text
            assert answer.headers["Cache-Control"] == "no-store"
        assert stranger.get("/dbt-docs/", auth=("medilink", "wrong")).status_code == 401
        assert stranger.get("/dbt-docs/", auth=("somebody", token)).status_code == 401

    def test_missing_ones_say_what_to_do(self, stranger: FlaskClient, settings: Settings) -> None:
        answer = stranger.get("/dbt-docs/", auth=("medilink", settings.api_token.get_secret_value()))
        assert answer.status_code == 404
        assert answer.json
        assert "Run the pipeline" in answer.json["detail"]
