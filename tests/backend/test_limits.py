"""Rate limits, forwarded addresses, other origins."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from flask import request
from flask.testing import FlaskClient
from pydantic import ValidationError

from backend.api import Api
from elt import clients
from elt.settings import Settings
from elt.vocabulary import Role

AppWith = Callable[..., Api]


def bearer(app: Api, admin: psycopg.Connection, name: str) -> dict[str, str]:
    admin.execute(
        """
        insert into audit.api_clients (client_id, role, secret_hash, rotated_at)
        values (%s, 'admin', 'none', 'yesterday')
        """,
        [name],
    )
    token = app.extensions["medilink_tokens"].issue(name, Role.ADMIN, [])
    return {"Authorization": f"Bearer {token}"}


class TestRates:
    def test_each_client_has_its_own_and_is_told_when_to_come_back(
        self, app_with: AppWith, admin: psycopg.Connection
    ) -> None:
        app = app_with(api_rate_limit="3/minute")
        client = app.test_client()
        first, second = bearer(app, admin, "first"), bearer(app, admin, "second")
        assert [client.get("/api/facilities", headers=first).status_code for _ in range(4)] == [200, 200, 200, 429]
        refused = client.get("/api/patients", headers=first)
        assert (refused.status_code, refused.content_type) == (429, "application/problem+json")
        # Rounded up to the second after the window's end.
        assert 0 < int(refused.headers["Retry-After"]) <= 61
        assert client.get("/api/facilities", headers=second).status_code == 200

    def test_guesses_at_secrets_are_few(self, app_with: AppWith) -> None:
        client = app_with().test_client()
        form = {"grant_type": "client_credentials", "client_id": "admin", "client_secret": "guess"}
        answers = [client.post("/api/auth/token", data=form).status_code for _ in range(32)]
        assert answers == [401] * 30 + [429] * 2

    def test_guesses_at_the_pages_for_people_are_as_few_and_counted_before_they_cost(
        self, app_with: AppWith, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hashed: list[str] = []
        monkeypatch.setattr(clients, "is_secret", lambda _, secret: bool(hashed.append(secret)))
        client = app_with().test_client()
        answers = [client.get("/dbt-docs/", auth=("admin", "guess")).status_code for _ in range(32)]
        assert answers == [401] * 30 + [429] * 2
        assert len(hashed) == 30

    def test_a_store_that_is_away_is_stood_in_for_by_memory(self, app_with: AppWith, admin: psycopg.Connection) -> None:
        app = app_with(api_rate_limit="2/minute", api_rate_limit_storage="redis://127.0.0.1:1/0")
        headers = bearer(app, admin, "first")
        answers = [app.test_client().get("/api/facilities", headers=headers).status_code for _ in range(3)]
        assert answers == [200, 200, 429]


class TestProxies:
    @pytest.mark.parametrize(
        ("trusted", "sender", "believed"),
        [
            ("", "127.0.0.1", False),
            ("10.0.0.7", "127.0.0.1", False),
            ("10.0.0.7, 127.0.0.0/8", "127.0.0.1", True),
            ("::1", "::1", True),
        ],
    )
    def test_only_a_configured_ones_headers_are_believed(
        self, app_with: AppWith, trusted: str, sender: str, *, believed: bool
    ) -> None:
        app = app_with(api_trusted_proxies=trusted)
        seen: list[tuple[str | None, bool]] = []
        app.before_request(lambda: seen.append((request.remote_addr, request.is_secure)))
        answer = app.test_client().get(
            "/health/live",
            headers={"X-Forwarded-For": "6.6.6.6, 203.0.113.9", "X-Forwarded-Proto": "https"},
            environ_base={"REMOTE_ADDR": sender},
        )
        assert seen == [("203.0.113.9", True) if believed else (sender, False)]
        assert ("Strict-Transport-Security" in answer.headers) == believed


class TestOrigins:
    ALLOWED = "https://dashboard.example.org"

    def preflight(self, client: FlaskClient, origin: str) -> Any:
        return client.options("/api/patients", headers={"Origin": origin, "Access-Control-Request-Method": "GET"})

    def test_none_is_allowed_by_default(self, app_with: AppWith) -> None:
        client = app_with().test_client()
        assert self.preflight(client, self.ALLOWED).status_code == 401
        answer = client.get("/health/live", headers={"Origin": self.ALLOWED})
        assert "Access-Control-Allow-Origin" not in answer.headers

    def test_those_of_the_list_are(self, app_with: AppWith) -> None:
        client = app_with(api_cors_origins=f"{self.ALLOWED}, https://other.example.org").test_client()
        allowed = self.preflight(client, self.ALLOWED)
        assert (allowed.status_code, allowed.headers["Access-Control-Allow-Origin"]) == (204, self.ALLOWED)
        assert "Access-Control-Allow-Credentials" not in allowed.headers
        for origin in ("null", "https://evil.example.org", f"{self.ALLOWED}.evil.org", "http://dashboard.example.org"):
            refused = self.preflight(client, origin)
            assert (refused.status_code, "Access-Control-Allow-Origin" in refused.headers) == (401, False)

    def test_everybody_cannot_be_allowed(self) -> None:
        with pytest.raises(ValidationError, match="everybody"):
            Settings(_env_file=None, api_cors_origins="*")
