"""Tokens for clients (OAuth 2.0 client credentials), and the keys to check them with."""

from __future__ import annotations

from datetime import UTC, datetime

from flask import Response, abort, g, request
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from backend.access import MATRIX, credentials, log_in, tokens
from backend.answers import SECURITY, json_of, operation_id, refused
from backend.auth.schemas import KeySet, Me, Token, TokenRequest
from backend.parameters import Parameters
from backend.problems import ProblemType, problem
from backend.tokens import LIFETIME_SECONDS

auth = APIBlueprint(
    "auth",
    __name__,
    url_prefix="/api/auth",
    operation_id_callback=operation_id,
    abp_tags=[Tag(name="auth", description="Tokens, and the keys they are signed with; open to anybody")],
    abp_responses={422: refused("unknown or invalid parameters"), 429: refused("too many requests from this address")},
)


@auth.before_request
def allow_small_forms() -> None:
    """A name and a secret: anybody may send them, so they are kept short."""
    if request.endpoint == "auth.issue_token":
        request.max_content_length = 4096


@auth.post(
    "/token",
    responses={
        200: Token,
        401: refused("no such client, or another secret"),
        408: refused("the form came too slowly"),
        413: refused("the form is too large"),
        503: refused("the database does not answer"),
    },
)
def issue_token(query: Parameters, form: TokenRequest) -> Response:
    """Get a token"""
    offer = credentials(request)
    if offer is not None and offer.type == "basic":
        client_id, secret = offer.username, offer.password
    else:
        client_id, secret = form.client_id, form.client_secret
    g.caller = log_in(client_id or "", secret or "")
    if g.caller is None:
        abort(
            problem(
                ProblemType.UNAUTHORIZED,
                "No client has this name and secret. `medilink client list` shows the names; the local client's are "
                "API_CLIENT_ID and API_CLIENT_SECRET in .env.",
                headers={"WWW-Authenticate": 'Basic realm="medilink", charset="UTF-8"'},
            )
        )
    token = tokens().issue(g.caller.subject, g.caller.role, list(g.caller.facility_ids))
    return json_of(Token(access_token=token, token_type="Bearer", expires_in=LIFETIME_SECONDS))  # noqa: S106 - the scheme's name


@auth.get("/jwks", responses={200: KeySet})
def list_keys(query: Parameters) -> Response:
    """The public keys of the tokens, as a JWKS"""
    return json_of(KeySet.model_validate(tokens().jwks()))


@auth.get("/me", security=SECURITY, responses={200: Me, 401: refused("without a valid token")})
def who_am_i(query: Parameters) -> Response:
    """Whom the token speaks for, and what they may do"""
    caller = g.caller
    return json_of(
        Me(
            client_id=caller.subject,
            role=caller.role,
            facility_ids=list(caller.facility_ids),
            expires_at=datetime.fromtimestamp(caller.expires_at, UTC),
            may={route: rule[caller.role] for route, rule in MATRIX.items() if caller.role in rule},
        )
    )
