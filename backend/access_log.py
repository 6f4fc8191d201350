"""The access log: who asked for what, and which patients and rows in quarantine the answer held.

What cannot be logged is not answered.
"""

from __future__ import annotations

from collections.abc import Iterable

import psycopg
from flask import Flask, Response, current_app, g, request
from sqlalchemy.exc import SQLAlchemyError

from backend.access import OPEN
from backend.database import execute_outside
from backend.problems import unavailable

# Open to anybody, and yet of interest: who got in, and who tried.
LOGGED = frozenset({"auth.issue_token"})


def log_accesses(app: Flask) -> None:
    """Log every request to a closed route before its answer leaves; refusals too, except those of the rate limit."""

    @app.after_request
    def log_access(answer: Response) -> Response:
        if not _is_of_interest() or answer.status_code == 429:
            return answer
        try:
            _write(answer.status_code)
        except (psycopg.Error, SQLAlchemyError) as error:
            current_app.logger.warning("%s: access not logged: %s", request.endpoint, type(error).__name__)
            if answer.status_code < 400:
                return unavailable("Accesses cannot be logged, so nothing is answered. Try again in a few seconds.")
        return answer


def _is_of_interest() -> bool:
    if request.url_rule is None or (request.endpoint in OPEN and request.endpoint not in LOGGED):
        return False
    # What browsers ask before a request of another origin.
    return request.method != "OPTIONS"


def note_patients(patient_ids: Iterable[int]) -> None:
    """Say which patients the answer holds."""
    g.setdefault("patient_ids", set()).update(patient_ids)


def note_entries(quarantine_ids: Iterable[int]) -> None:
    """Say which rows in quarantine the answer holds."""
    g.setdefault("quarantine_ids", set()).update(quarantine_ids)


def _write(status: int) -> None:
    caller = g.get("caller")
    execute_outside(
        """
        insert into audit.access_log
            (subject, role, address, method, route, status, patient_ids, quarantine_ids)
        values (
            %(subject)s, %(role)s, %(address)s, %(method)s, %(route)s, %(status)s, %(patient_ids)s, %(quarantine_ids)s
        )
        """,
        subject=caller and caller.name,
        role=caller and caller.role,
        address=request.remote_addr,
        method=request.method,
        route=str(request.url_rule),
        status=status,
        patient_ids=_array(g.get("patient_ids", ())),
        quarantine_ids=_array(g.get("quarantine_ids", ())),
    )


def _array(ids: Iterable[int]) -> str:
    """Ids as PostgreSQL writes an array; psycopg would look at each of them."""
    return f"{{{','.join(map(str, sorted(ids)))}}}"
