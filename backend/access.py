"""Who may see what: everything is closed unless it is named here."""

from __future__ import annotations

import hmac

from flask import Flask, abort, request

from backend.problems import ProblemType, problem
from elt.settings import Settings

# Endpoints that answer anybody: the documentation of the API, and health. None shows data.
OPEN = frozenset(
    {
        "documentation.swagger",
        "documentation.redoc",
        "documentation.openapi",
        "documentation.asset",
        "health.health",
        "health.live",
        "health.ready",
    }
)

# Pages for people: a browser asks for a name and a password, but cannot send a bearer token.
BROWSABLE = frozenset({"documentation.dbt_docs"})
BROWSER_USER = "medilink"


def guard(app: Flask, settings: Settings) -> None:
    """Refuse every request without the token, unknown addresses too. Raises ValueError when no token is set."""
    expected = settings.api_token.get_secret_value()
    if not expected:
        raise ValueError("API_TOKEN is empty. Set it in .env (start.sh generates one), or API_TOKEN_FILE to a file.")

    @app.before_request
    def refuse_strangers() -> None:
        if request.endpoint in OPEN:
            return
        browsable = request.endpoint in BROWSABLE
        if hmac.compare_digest(_offered(browsable).encode(), expected.encode()):
            return
        challenge = f'Basic realm="{BROWSER_USER}", charset="UTF-8"' if browsable else 'Bearer realm="medilink"'
        abort(
            problem(
                ProblemType.UNAUTHORIZED,
                "Send the header Authorization: Bearer <API_TOKEN>; .env holds the token.",
                headers={"WWW-Authenticate": challenge},
            )
        )


def _offered(browsable: bool) -> str:
    """The token a request comes with, or nothing."""
    offer = request.authorization
    if offer is None:
        return ""
    if offer.type == "bearer":
        return offer.token or ""
    if browsable and offer.type == "basic" and offer.username == BROWSER_USER:
        return offer.password or ""
    return ""
