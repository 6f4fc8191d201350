"""Who may see and do what: one table, and everything is closed that is not in it."""

from __future__ import annotations

import time
from enum import StrEnum

from flask import Flask, Request, Response, current_app
from werkzeug.datastructures import Authorization

from backend.context import kept, this_request
from backend.database import first_outside
from backend.limits import limiter
from backend.problems import ProblemType, problem
from backend.tokens import ISSUER, Caller, InvalidToken, Tokens
from elt import clients
from elt.settings import Settings
from elt.vocabulary import Role


class Scope(StrEnum):
    """How much of what a route answers a role sees; `-` in the matrix: nothing, the route is closed to it."""

    ALL = "all"
    OWN = "own"
    """what belongs to the caller's facilities, by row-level security"""
    ROUNDED = "rounded"
    """all, with counts of 1 to 7 suppressed and others rounded to 5"""


def _read(matrix: str) -> dict[str, dict[Role, Scope]]:
    header, *rows = [line.split() for line in matrix.strip().splitlines() if line.strip()]
    roles = [Role(name) for name in header]
    return {
        route: {role: Scope(cell) for role, cell in zip(roles, cells, strict=True) if cell != "-"}
        for route, *cells in rows
    }


# One row per route (its endpoint), one column per role. A route that is neither here nor in OPEN answers nobody.
MATRIX = _read(
    """
                                        viewer   analyst  clinician  data_entry  steward  operator  admin
    auth.who_am_i                       all      all      all        all         all      all       all
    facilities.list_facilities          all      all      all        all         all      all       all
    facilities.get_facility             all      all      all        all         all      all       all
    facilities.create_facility          -        -        -          -           -        -         all
    facilities.replace_facility         -        -        -          -           -        -         all
    facilities.change_facility          -        -        -          -           -        -         all
    facilities.delete_facility          -        -        -          -           -        -         all
    patients.list_patients              -        -        own        own         -        -         all
    patients.get_patient                -        -        own        own         -        -         all
    patients.create_patient             -        -        -          own         -        -         all
    patients.replace_patient            -        -        -          own         -        -         all
    patients.change_patient             -        -        -          own         -        -         all
    patients.delete_patient             -        -        -          -           -        -         all
    medical_records.list_medical_records  -      -        own        own         -        -         all
    medical_records.get_medical_record  -        -        own        own         -        -         all
    medical_records.create_medical_record  -     -        own        own         -        -         all
    medical_records.replace_medical_record  -    -        own        own         -        -         all
    medical_records.change_medical_record  -     -        own        own         -        -         all
    medical_records.delete_medical_record  -     -        -          -           -        -         all
    triage_visits.list_triage_visits    -        -        own        own         -        -         all
    triage_visits.get_triage_visit      -        -        own        own         -        -         all
    triage_visits.create_triage_visit   -        -        own        own         -        -         all
    triage_visits.replace_triage_visit  -        -        own        own         -        -         all
    triage_visits.change_triage_visit   -        -        own        own         -        -         all
    triage_visits.delete_triage_visit   -        -        -          -           -        -         all
    patients.patient_lineage            -        -        own        own         -        -         all
    analytics.facility_stats            rounded  all      own        -           own      -         all
    analytics.facility_performance      rounded  all      own        -           own      -         all
    analytics.patient_summary           -        -        own        -           -        -         all
    analytics.triage_trends             rounded  all      own        -           own      -         all
    analytics.condition_analysis        rounded  all      rounded    -           rounded  -         all
    analytics.release                   all      all      all        all         all      all       all
    analytics.daily_visits              rounded  all      own        -           own      -         all
    analytics.top_conditions            rounded  all      rounded    -           rounded  -         all
    analytics.states                    rounded  all      own        -           own      -         all
    analytics.facility_map              rounded  all      own        -           own      -         all
    analytics.regional_occupancy        all      all      all        all         all      all       all
    analytics.bed_occupancy             all      all      all        all         all      all       all
    pipeline.list_runs                  -        all      -          -           -        all       all
    pipeline.get_run                    -        all      -          -           -        all       all
    pipeline.list_dbt_results           -        all      -          -           -        all       all
    pipeline.health                     -        all      -          -           -        all       all
    pipeline.list_files                 -        all      -          -           -        all       all
    pipeline.start_run                  -        -        -          -           -        all       all
    pipeline.upload_file                -        -        -          -           -        all       all
    nhs_data.trigger_pipeline           -        -        -          -           -        all       all
    nhs_data.upload_return              -        -        -          -           -        all       all
    nhs_data.get_status                 -        all      -          -           -        all       all
    nhs_data.get_summary                all      all      all        all         all      all       all
    nhs_data.list_occupancy             all      all      all        all         all      all       all
    quarantine.list_entries             -        -        -          -           own      all       all
    quarantine.summary                  -        -        -          -           own      all       all
    quarantine.get_entry                -        -        -          -           own      -         all
    quarantine.discard_entry            -        -        -          -           own      all       all
    metrics.read_metrics                 -        -        -          -           -        all       all
    documentation.dbt_docs              -        all      -          -           -        all       all
    """
)

# Routes that answer anybody: the API's own documentation, health, and what one needs to get in. None shows data.
OPEN = frozenset(
    {
        "documentation.swagger",
        "documentation.redoc",
        "documentation.openapi",
        "documentation.asset",
        "documentation.problem_type",
        "health.health",
        "health.live",
        "health.ready",
        "auth.issue_token",
        "auth.list_keys",
    }
)

# Pages for people: a browser asks for a name and a password, but cannot send a bearer token.
BROWSABLE = frozenset({"documentation.dbt_docs"})

# A client that is revoked or rotated is believed at most so long.
BELIEVED_SECONDS = 5.0


def guard(app: Flask, settings: Settings) -> None:
    """Admit a request only if the matrix lets its caller through. Raises ValueError when no signing key is set."""
    tokens = Tokens(settings)
    app.extensions["medilink_tokens"] = tokens
    believed: dict[str, tuple[float, float]] = {}
    count = limiter(settings)

    @app.before_request
    def admit() -> Response | None:
        asked, ours = this_request(), kept()
        endpoint, offer = asked.endpoint, credentials(asked)
        is_open, is_guess = endpoint in OPEN, _is_guess(endpoint, offer)
        caller = ours.caller = None if is_open else _bearer(offer, tokens, believed)
        # Those who are refused count, too.
        if refusal := count(caller, asked, is_guess):
            return refusal
        if is_open:
            return None
        if caller is None and is_guess:
            caller = ours.caller = log_in((offer and offer.username) or "", (offer and offer.password) or "")
        if caller is None:
            return _stranger(endpoint)
        if endpoint is None:
            return None
        scope = ours.scope = MATRIX.get(endpoint, {}).get(caller.role)
        return None if scope else problem(ProblemType.FORBIDDEN, f"The role {caller.role} may not do this.")


def tokens() -> Tokens:
    """The application's tokens."""
    found: Tokens = current_app.extensions["medilink_tokens"]
    return found


def credentials(request: Request) -> Authorization | None:
    """What a request offers of who sends it; None where that cannot be read."""
    try:
        return request.authorization
    except ValueError:
        # What is not ASCII, where base64 should be.
        return None


def log_in(client_id: str, secret: str) -> Caller | None:
    """The client of that name and secret, as a caller; takes as long where there is none."""
    row = first_outside(
        "select role, facility_ids, secret_hash from audit.api_clients"
        " where client_id = %(client_id)s and revoked_at is null",
        client_id=client_id,
    )
    if not clients.is_secret(row.secret_hash if row else None, secret) or row is None:
        return None
    now = int(time.time())
    return Caller(client_id, Role(row.role), tuple(row.facility_ids), ISSUER, now, now)


def _is_guess(endpoint: str | None, offer: Authorization | None) -> bool:
    """Whether the request offers a secret: each costs an argon2id hash, and is counted before."""
    if endpoint in BROWSABLE:
        return offer is not None and offer.type == "basic"
    return endpoint == "auth.issue_token"


def _bearer(offer: Authorization | None, tokens: Tokens, believed: dict[str, tuple[float, float]]) -> Caller | None:
    """Whose token the request bears; None for a stranger."""
    if offer is None or offer.type != "bearer":
        return None
    try:
        caller = tokens.caller(offer.token or "")
    except InvalidToken:
        return None
    return caller if caller.issuer != ISSUER or caller.issued_at >= _issued_from(caller, believed) else None


def _issued_from(caller: Caller, believed: dict[str, tuple[float, float]]) -> float:
    """Since when tokens of the caller's client are good, in seconds since 1970; never, for one that is revoked."""
    asked_at, issued_from = believed.get(caller.subject, (0.0, 0.0))
    if time.monotonic() - asked_at > BELIEVED_SECONDS or not asked_at:
        row = first_outside(
            "select floor(extract(epoch from rotated_at))::float8 as issued_from from audit.api_clients"
            " where client_id = %(client_id)s and revoked_at is null",
            client_id=caller.subject,
        )
        issued_from = row.issued_from if row else float("inf")
        believed[caller.subject] = time.monotonic(), issued_from
    return issued_from


def _stranger(endpoint: str | None) -> Response:
    browsable = endpoint in BROWSABLE
    challenge = 'Basic realm="medilink", charset="UTF-8"' if browsable else 'Bearer realm="medilink"'
    return problem(
        ProblemType.UNAUTHORIZED,
        "Send the header Authorization: Bearer <token>; POST /api/auth/token, or `medilink token`, gives one.",
        headers={"WWW-Authenticate": challenge},
    )
