"""The access log: who asked for what, and which patients and rows in quarantine the answer held.

What cannot be logged is not answered.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Any

import psycopg
from flask import Flask, Response, current_app
from sqlalchemy.exc import SQLAlchemyError

from backend.access import OPEN
from backend.context import kept, this_request
from backend.database import execute_outside, fetch_last
from backend.problems import unavailable
from backend.round_trip import Row, Statement

# Open to anybody, and yet of interest: who got in, and who tried.
LOGGED = frozenset({"auth.issue_token"})


class Held(StrEnum):
    """What an answer may hold that the log names by its id: a column of the log."""

    PATIENTS = "patient_ids"
    ENTRIES = "quarantine_ids"


class NotLogged(Exception):
    """The access log could not be written."""


ENTRY = """
    insert into audit.access_log
        (subject, role, address, method, route, status, patient_ids, quarantine_ids)
    values (%(subject)s, %(role)s, %(address)s, %(method)s, %(route)s, %(status)s, {patient_ids}, {quarantine_ids})
"""
# With the ids as they are; and with those that the query before has left on the connection, by what they are of.
GIVEN = ENTRY.format(patient_ids="%(patient_ids)s", quarantine_ids="%(quarantine_ids)s")
LEFT = {
    held: ENTRY.format_map(
        {"patient_ids": "'{}'", "quarantine_ids": "'{}'", held: "current_setting('medilink.held')::bigint[]"}
    )
    for held in Held
}


def log_accesses(app: Flask) -> None:
    """Log every request to a closed route before its answer leaves; refusals too, except those of the rate limit."""

    @app.after_request
    def log_access(answer: Response) -> Response:
        if answer.status_code in {429, kept().get("logged")} or not _is_of_interest():
            return answer
        try:
            execute_outside(
                GIVEN,
                **_circumstances(answer.status_code),
                patient_ids=_array(Held.PATIENTS),
                quarantine_ids=_array(Held.ENTRIES),
            )
        except (psycopg.Error, SQLAlchemyError) as error:
            current_app.logger.warning("%s: access not logged: %s", this_request().endpoint, type(error).__name__)
            if answer.status_code < 400:
                return not_logged()
        return answer

    @app.errorhandler(NotLogged)
    def refuse(error: NotLogged) -> Response:
        failed = type(error.__cause__).__name__
        current_app.logger.warning("%s: access not logged: %s", this_request().endpoint, failed)
        return not_logged()


def not_logged() -> Response:
    """503 for what may not be answered."""
    return unavailable("Accesses cannot be logged, so nothing is answered. Try again in a few seconds.")


def note(held: Held, ids: Iterable[int]) -> None:
    """Say whom or what the answer holds."""
    # An entry that was written before does not name them.
    kept().pop("logged", None)
    kept().setdefault(held, set()).update(ids)


def left(ids: str) -> str:
    """SQL that leaves ids, which SQL tells as an array, for the entry behind the query."""
    return f"set_config('medilink.held', coalesce({ids}, '{{}}')::text, false)"


def fetch_logged(query: str, held: Held, **parameters: Any) -> Row:
    """The one row of the request's last query, and in the same round trip the entry of an answer with status 200.

    It names what the query has `left`. Raises `NotLogged`, `psycopg.Error`.
    """
    found = fetch_last(
        query, Statement(LEFT[held], _circumstances(200), is_prepared=True, refusal=NotLogged), **parameters
    )
    kept().logged = 200
    return found


def _is_of_interest() -> bool:
    asked = this_request()
    if asked.url_rule is None or (asked.endpoint in OPEN and asked.endpoint not in LOGGED):
        return False
    # What browsers ask before a request of another origin.
    return asked.method != "OPTIONS"


def _circumstances(status: int) -> dict[str, object]:
    """What an entry tells besides."""
    caller, asked = kept().get("caller"), this_request()
    return {
        "subject": caller and caller.name,
        "role": caller and caller.role,
        "address": asked.remote_addr,
        "method": asked.method,
        "route": str(asked.url_rule),
        "status": status,
    }


def _array(held: Held) -> str:
    """Ids as PostgreSQL writes an array; psycopg would look at each of them."""
    return f"{{{','.join(map(str, sorted(kept().get(held, ()))))}}}"
