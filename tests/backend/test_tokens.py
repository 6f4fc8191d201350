"""Tokens: only those signed by a configured key for this API, by a client that still stands, open anything."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from flask.testing import FlaskClient
from joserfc import jwt
from joserfc.jwk import OctKey, OKPKey, RSAKey
from pydantic import SecretStr

from backend import access
from backend.api import Api
from backend.app import create_app
from backend.tokens import LIFETIME_SECONDS, InvalidToken, Tokens
from elt import clients
from elt.settings import Settings
from elt.vocabulary import Role

GOOD: dict[str, Any] = {"iss": "medilink", "aud": "medilink-api", "sub": "admin", "role": "admin", "facilities": []}
OUTSIDE = "https://login.example.org"


@pytest.fixture
def tokens(app: Api) -> Tokens:
    found: Tokens = app.extensions["medilink_tokens"]
    return found


def signed(tokens: Tokens, **changes: Any) -> str:
    """A token of our own key with other claims; None takes a claim out."""
    now = int(time.time())
    claims = {**GOOD, "iat": now, "exp": now + 60, **changes}
    key = tokens.own.keys[0]
    return jwt.encode(
        {"alg": "Ed25519", "kid": key.kid},
        {name: value for name, value in claims.items() if value is not None},
        key,
        algorithms=["Ed25519"],
    )


def encoded(part: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


class TestAttacks:
    @pytest.mark.parametrize(
        "changes",
        [
            {"iss": None}, {"iss": "somebody"}, {"iss": ["medilink"]},
            {"aud": None}, {"aud": "another-api"}, {"aud": []},
            {"exp": None}, {"exp": 1}, {"exp": "tomorrow"}, {"nbf": 2**40}, {"iat": 2**40},
            {"sub": None}, {"sub": ""}, {"sub": "a\x00b"},
            {"role": None}, {"role": "root"}, {"role": ["admin"]},
            {"facilities": "all"}, {"facilities": ["1"]}, {"facilities": [0]}, {"facilities": [True]},
            {"facilities": [2**63]},
        ],
    )  # fmt: skip
    def test_claims_are_required_and_checked(self, tokens: Tokens, changes: dict[str, Any]) -> None:
        tokens.caller(signed(tokens))
        with pytest.raises(InvalidToken):
            tokens.caller(signed(tokens, **changes))

    def test_no_signature_a_shared_secret_and_foreign_keys_are_refused(self, tokens: Tokens) -> None:
        now = int(time.time())
        claims = {**GOOD, "iat": now, "exp": now + 60}
        own = tokens.own.keys[0]
        public = own.as_dict(private=False)
        stranger = OKPKey.generate_key("Ed25519")
        forged = [
            f"{encoded({'alg': 'none'})}.{encoded(claims)}.",
            f"{encoded({'alg': 'none', 'kid': own.kid})}.{encoded(claims)}.",
            # The public key taken for a shared secret.
            _hmac({"alg": "HS256", "kid": own.kid}, claims, json.dumps(public).encode()),
            _hmac({"alg": "HS256", "kid": own.kid}, claims, base64.urlsafe_b64decode(public["x"] + "=")),
            # A key that the token itself brings, or says where to find.
            jwt.encode({"alg": "Ed25519", "jwk": stranger.as_dict(private=False)}, claims, stranger,
                       algorithms=["Ed25519"]),
            jwt.encode({"alg": "Ed25519", "kid": own.kid, "jwk": stranger.as_dict(private=False)}, claims, stranger,
                       algorithms=["Ed25519"]),
            jwt.encode({"alg": "Ed25519", "kid": own.kid, "jku": "https://evil.example.org/jwks"}, claims, stranger,
                       algorithms=["Ed25519"]),
            jwt.encode({"alg": "Ed25519", "kid": stranger.thumbprint()}, claims, stranger, algorithms=["Ed25519"]),
            jwt.encode({"alg": "RS256", "kid": own.kid}, claims, RSAKey.generate_key(2048), algorithms=["RS256"]),
            jwt.encode({"alg": "HS256", "kid": own.kid}, claims, OctKey.import_key(secrets.token_bytes(32))),
        ]  # fmt: skip
        for token in forged:
            with pytest.raises(InvalidToken):
                tokens.caller(token)

    def test_a_changed_token_is_refused(self, tokens: Tokens, stranger: FlaskClient) -> None:
        header, claims, signature = signed(tokens, role="viewer").split(".")
        other = encoded({**GOOD, "exp": int(time.time()) + 60})
        for token in (f"{header}.{other}.{signature}", f"{header}.{claims}.{signature[:-2]}AA", "a.b.c", "", "\xff"):
            answer = stranger.get("/api/facilities", headers={"Authorization": f"Bearer {token}"})
            assert answer.status_code == 401
            assert answer.headers["WWW-Authenticate"] == 'Bearer realm="medilink"'

    def test_an_expired_token_is_refused_though_it_was_good_before(
        self, tokens: Tokens, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        token = tokens.issue("admin", Role.ADMIN, [])
        tokens.caller(token)
        later = time.time() + LIFETIME_SECONDS + 1
        monkeypatch.setattr(time, "time", lambda: later)
        with pytest.raises(InvalidToken):
            tokens.caller(token)


def _hmac(header: dict[str, Any], claims: dict[str, Any], secret: bytes) -> str:
    content = f"{encoded(header)}.{encoded(claims)}"
    signature = hmac.new(secret, content.encode(), hashlib.sha256).digest()
    return f"{content}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


class TestKeys:
    def test_the_old_key_counts_until_it_is_taken_out(self, settings: Settings) -> None:
        old, new = settings.api_signing_keys.get_secret_value(), secrets.token_urlsafe(32)

        def with_keys(keys: str) -> Tokens:
            return Tokens(settings.model_copy(update={"api_signing_keys": SecretStr(keys)}))

        before, meanwhile, after = with_keys(old), with_keys(f"{new}, {old}"), with_keys(new)
        token = before.issue("admin", Role.ADMIN, [])
        assert meanwhile.caller(token).role is Role.ADMIN
        assert after.caller(meanwhile.issue("admin", Role.ADMIN, [])).role is Role.ADMIN
        with pytest.raises(InvalidToken):
            after.caller(token)
        assert len(meanwhile.jwks()["keys"]) == 2

    def test_public_keys_are_open_and_private_ones_stay_here(self, stranger: FlaskClient, settings: Settings) -> None:
        answer = stranger.get("/api/auth/jwks")
        (key,) = (answer.json or {})["keys"]
        assert set(key) == {"kty", "crv", "x", "kid", "use", "alg"}
        assert settings.api_signing_keys.get_secret_value() not in answer.text

    @pytest.mark.parametrize("keys", ["", " ", "short", "not base64!", "A" * 43 + ",x"])
    def test_the_api_does_not_start_without_a_sound_key(self, settings: Settings, keys: str) -> None:
        with pytest.raises(ValueError, match="API_SIGNING_KEYS") as refusal:
            create_app(settings.model_copy(update={"api_signing_keys": SecretStr(keys)}))
        assert "short" not in str(refusal.value)

    def test_nor_without_its_password(self, settings: Settings) -> None:
        with pytest.raises(ValueError, match="API_POSTGRES_PASSWORD is empty"):
            create_app(settings.model_copy(update={"api_postgres_password": SecretStr("")}))


class TestOutsideIssuer:
    @pytest.fixture
    def outside(self, settings: Settings, tmp_path: Path) -> tuple[Tokens, RSAKey]:
        key = RSAKey.generate_key(2048, {"kid": "outside-1"})
        path = tmp_path / "jwks.json"
        path.write_text(json.dumps({"keys": [key.as_dict(private=False)]}))
        changes = {"api_outside_issuer": OUTSIDE, "api_outside_jwks_file": path}
        return Tokens(settings.model_copy(update=changes)), key

    def test_its_tokens_count(self, outside: tuple[Tokens, RSAKey]) -> None:
        tokens, key = outside
        claims = {**GOOD, "iss": OUTSIDE, "role": "clinician", "facilities": [2], "exp": int(time.time()) + 60}
        caller = tokens.caller(jwt.encode({"alg": "RS256", "kid": "outside-1"}, claims, key))
        assert (caller.issuer, caller.role, caller.facility_ids) == (OUTSIDE, Role.CLINICIAN, (2,))

    @pytest.mark.usefixtures("rows")
    def test_who_it_names_is_not_taken_for_a_client_of_the_same_name(
        self,
        app_with: Callable[..., Api],
        client_of: Callable[..., FlaskClient],
        admin: psycopg.Connection,
        tmp_path: Path,
    ) -> None:
        key = RSAKey.generate_key(2048, {"kid": "outside-1"})
        path = tmp_path / "jwks.json"
        path.write_text(json.dumps({"keys": [key.as_dict(private=False)]}))
        outside = app_with(api_outside_issuer=OUTSIDE, api_outside_jwks_file=path).test_client()
        claims = {**GOOD, "iss": OUTSIDE, "exp": int(time.time()) + 60}
        bearer = jwt.encode({"alg": "RS256", "kid": "outside-1"}, claims, key)
        outside.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {bearer}"
        headers = {"Idempotency-Key": "k"}
        made = [
            client.post("/api/facilities", json={"name": name, "state": "Kano"}, headers=headers).status_code
            for client, name in ((client_of(Role.ADMIN), "First"), (outside, "Second"))
        ]
        assert made == [201, 201]
        writers = admin.execute("select _first_client from public.facilities where state = 'KANO' order by id")
        logged = admin.execute("select subject from audit.access_log order by access_id")
        assert writers.fetchall() == logged.fetchall() == [("admin",), (f"{OUTSIDE}|admin",)]

    def test_no_issuer_speaks_for_the_other(self, outside: tuple[Tokens, RSAKey]) -> None:
        tokens, key = outside
        as_ours = {**GOOD, "exp": int(time.time()) + 60}
        for token in (
            jwt.encode({"alg": "RS256", "kid": "outside-1"}, as_ours, key),
            jwt.encode({"alg": "RS256"}, as_ours, key),
            signed(tokens, iss=OUTSIDE),
        ):
            with pytest.raises(InvalidToken):
                tokens.caller(token)

    def test_its_keys_must_not_be_ours(self, settings: Settings, tokens: Tokens, tmp_path: Path) -> None:
        path = tmp_path / "jwks.json"
        path.write_text(json.dumps(tokens.jwks()))
        changes = {"api_outside_issuer": OUTSIDE, "api_outside_jwks_file": path}
        with pytest.raises(ValueError, match="must differ"):
            Tokens(settings.model_copy(update=changes))


class TestClients:
    @pytest.fixture
    def secret(self, admin: psycopg.Connection) -> str:
        return clients.create(admin, "dashboard", Role.VIEWER, [])

    @pytest.fixture(autouse=True)
    def believing_nobody(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(access, "BELIEVED_SECONDS", -1.0)

    def token(self, stranger: FlaskClient, secret: str) -> str:
        answer = stranger.post("/api/auth/token", data={"grant_type": "client_credentials"}, auth=("dashboard", secret))
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json or {}
        assert (body["token_type"], body["expires_in"]) == ("Bearer", LIFETIME_SECONDS)
        assert answer.headers["Cache-Control"] == "no-store"
        return str(body["access_token"])

    def status(self, stranger: FlaskClient, token: str) -> int:
        return stranger.get("/api/facilities", headers={"Authorization": f"Bearer {token}"}).status_code

    def test_a_secret_gets_a_token_both_ways(self, stranger: FlaskClient, secret: str) -> None:
        assert self.status(stranger, self.token(stranger, secret)) == 200
        form = {"grant_type": "client_credentials", "client_id": "dashboard", "client_secret": secret}
        assert stranger.post("/api/auth/token", data=form).status_code == 200

    @pytest.mark.parametrize(
        ("form", "status"),
        [
            ({"grant_type": "client_credentials"}, 401),
            ({"grant_type": "client_credentials", "client_id": "dashboard", "client_secret": "guess"}, 401),
            ({"grant_type": "client_credentials", "client_id": "nobody", "client_secret": "guess"}, 401),
            ({"grant_type": "client_credentials", "client_id": "' or true --", "client_secret": "x"}, 401),
            ({"grant_type": "password", "client_id": "dashboard", "client_secret": "guess"}, 422),
            ({}, 422),
            ({"grant_type": "client_credentials", "role": "admin"}, 422),
        ],
    )
    @pytest.mark.usefixtures("secret")
    def test_anything_else_does_not(self, stranger: FlaskClient, form: dict[str, str], status: int) -> None:
        answer = stranger.post("/api/auth/token", data=form)
        assert answer.status_code == status
        assert "guess" not in answer.text

    def test_a_new_secret_ends_the_old_one_and_its_tokens(
        self, stranger: FlaskClient, admin: psycopg.Connection, secret: str
    ) -> None:
        token = self.token(stranger, secret)
        admin.execute("update audit.api_clients set rotated_at = now() + interval '1 minute'")
        assert self.status(stranger, token) == 401
        renewed = clients.rotate(admin, "dashboard")
        assert renewed != secret
        assert (
            stranger.post(
                "/api/auth/token", data={"grant_type": "client_credentials"}, auth=("dashboard", secret)
            ).status_code
            == 401
        )
        assert self.status(stranger, self.token(stranger, renewed)) == 200

    def test_a_revoked_client_is_out(self, stranger: FlaskClient, admin: psycopg.Connection, secret: str) -> None:
        token = self.token(stranger, secret)
        clients.revoke(admin, "dashboard")
        assert self.status(stranger, token) == 401
        for change in (clients.revoke, clients.rotate):
            with pytest.raises(clients.NotPossible, match="revoked"):
                change(admin, "dashboard")

    def test_only_a_hash_is_stored(self, admin: psycopg.Connection, secret: str) -> None:
        (stored,) = admin.execute("select secret_hash from audit.api_clients").fetchone() or ("",)
        assert stored.startswith("$argon2id$")
        assert secret not in stored

    @pytest.mark.usefixtures("rows")
    def test_bound_roles_need_facilities_that_exist(self, admin: psycopg.Connection) -> None:
        for role, facilities, complaint in (
            (Role.CLINICIAN, [], "--facility"),
            (Role.STEWARD, [1, 99], "no facility 99"),
            (Role.VIEWER, [1], "not bound"),
        ):
            with pytest.raises(clients.NotPossible, match=complaint):
                clients.create(admin, "somebody", role, facilities)
        clients.create(admin, "somebody", Role.CLINICIAN, [1, 2])
        with pytest.raises(clients.NotPossible, match="already"):
            clients.create(admin, "somebody", Role.VIEWER, [])

    def test_the_local_client_follows_its_setting(self, admin: psycopg.Connection) -> None:
        for secret in ("first", "first", "second"):
            clients.ensure(admin, "local-admin", Role.ADMIN, secret)
            (stored,) = admin.execute("select secret_hash from audit.api_clients").fetchone() or ("",)
            assert clients.is_secret(stored, secret)
        clients.revoke(admin, "local-admin")
        clients.ensure(admin, "local-admin", Role.ADMIN, "third")
        assert [client.revoked_at is None for client in clients.clients(admin)] == [False]
