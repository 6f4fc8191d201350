"""The API's way to the warehouse: a small pool of connections, and for each request one transaction, one snapshot.

Reads are REPEATABLE READ, READ ONLY: lists, counts and totals of one answer agree with each other. What the caller may
see is decided by row-level security, from the scope that the access matrix gives them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol, cast

from flask import Flask, g
from flask_sqlalchemy import SQLAlchemy
from psycopg import Connection, Cursor
from psycopg.rows import RowFactory, namedtuple_row
from sqlalchemy import URL

from elt.database import KEEPALIVES
from elt.settings import Settings

STATEMENT_TIMEOUT_SECONDS = 10

# As many connections as granian has blocking threads (`--blocking-threads 8`): a request never waits for one.
POOL_SIZE = 8

READING = "begin isolation level repeatable read read only"
# Held to the end of the transaction: all marts read in it belong to one release. It must come before PostgreSQL takes
# the snapshot, which neither this nor `set` makes it do.
GATE = "lock table audit.publish_gate in access share mode"

db = SQLAlchemy()


class Row(Protocol):
    """A row of a result: its columns by position and by name."""

    def __getitem__(self, position: int) -> Any: ...  # noqa: ANN401 - what a column holds is the query's business

    def __getattr__(self, name: str) -> Any: ...  # noqa: ANN401 - the same


ROWS = cast("RowFactory[Row]", namedtuple_row)


def connect(app: Flask, settings: Settings) -> None:
    """Give the application its pool, logged in as API_POSTGRES_USER; nothing is connected before the first request."""
    app.config["SQLALCHEMY_DATABASE_URI"] = URL.create(
        "postgresql+psycopg",
        username=settings.api_postgres_user,
        password=settings.api_postgres_password.get_secret_value(),
        host=settings.postgres_host,
        port=settings.postgres_port,
        database=settings.postgres_db,
    )
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {
        "pool_size": POOL_SIZE,
        "max_overflow": 0,
        "pool_timeout": 2,
        "pool_pre_ping": True,
        # Parameters may hold a patient's name, and an error's text ends in a log.
        "hide_parameters": True,
        "connect_args": {
            # Transactions begin and end where this module says so, each with what it is for.
            "autocommit": True,
            "sslmode": settings.postgres_sslmode,
            "connect_timeout": 2,
            "tcp_user_timeout": 2000,
            "application_name": "medilink-api",
            # Nothing is prepared unless this module says so.
            "prepare_threshold": 2**31,
            "options": (
                "-c timezone=UTC"
                f" -c statement_timeout={STATEMENT_TIMEOUT_SECONDS}s"
                " -c idle_in_transaction_session_timeout=15s"
            ),
            **KEEPALIVES,
        },
    }
    db.init_app(app)

    @app.teardown_appcontext
    def release(_: BaseException | None) -> None:
        # An unfinished transaction is rolled back when its connection returns to the pool.
        if pooled := g.pop("pooled", None):
            pooled.close()


def fetch_one(query: str, **parameters: Any) -> Row:
    """The one row of a query with bound `%(name)s` parameters, in the request's transaction."""
    row = _read(query, parameters).fetchone()
    if row is None:
        raise LookupError("a query that always finds a row found none")
    return row


def fetch_first(query: str, **parameters: Any) -> Row | None:
    """The same, of a query that may find nothing."""
    return _read(query, parameters).fetchone()


def fetch_all(query: str, **parameters: Any) -> list[Row]:
    """All rows of a query, in the request's transaction."""
    return _read(query, parameters).fetchall()


def reading() -> Connection:
    """Psycopg's connection in the request's transaction, for the steps of `elt`."""
    _read("select", {})
    return _connection()


def pass_publish_gate() -> None:
    """Hold off publishing until the request ends: all marts read after this belong to one release.

    Must come before anything is read.
    """
    g.opening = (READING, GATE)


@contextmanager
def writing() -> Iterator[Connection]:
    """A transaction that may write what the caller may see; committed at the end, rolled back by any exception.

    It waits 3 seconds for a load that writes the same table, then raises `psycopg.errors.LockNotAvailable`.
    """
    _end()
    connection = _connection()
    with connection.transaction():
        connection.execute(f"set local role api_write; set local lock_timeout = '3s'; {_writable()}")
        yield connection


def first_outside(query: str, **parameters: Any) -> Row | None:
    """The first row of a query in a transaction of its own, before the request's own transaction; commits."""
    return _connection().cursor(row_factory=ROWS).execute(query.encode(), parameters).fetchone()


def execute_outside(statement: str, **parameters: Any) -> None:
    """A statement in a transaction of its own, after the request's own transaction; commits."""
    connection = _connection()
    with connection.pipeline():
        _end()
        connection.execute(statement.encode(), parameters, prepare=True)


def _connection() -> Connection:
    """Psycopg's connection of the request, out of the pool."""
    if "pooled" not in g:
        g.pooled = db.engine.raw_connection()
    connection: Connection = g.pooled.driver_connection
    return connection


def _read(query: str, parameters: dict[str, Any]) -> Cursor[Row]:
    """Run a query in the request's reading transaction, which the first one begins: in one round trip."""
    connection = _connection()
    cursor = connection.cursor(row_factory=ROWS)
    # Half of a short query's cost is its plan. But publishing puts other tables under the names of the marts: a plan
    # prepared before would go on reading the release before.
    prepare = "opening" not in g
    if g.get("in_transaction"):
        return cursor.execute(query.encode(), parameters or None, prepare=prepare)
    with connection.pipeline():
        for statement in (*g.get("opening", (READING,)), _scope()):
            connection.execute(statement.encode())
        g.in_transaction = True
        return cursor.execute(query.encode(), parameters or None, prepare=prepare)


def _end() -> None:
    if g.pop("in_transaction", False):
        _connection().execute("commit")


def _scope() -> str:
    """What makes row-level security let through what the caller may see; numbers and our own words only."""
    scope = g.get("scope")
    if scope == "own":
        return _facilities()
    return "set local role api_read_all" if scope else "set local medilink.facilities = ''"


def _writable() -> str:
    """The same for what they may write."""
    return _facilities() if g.scope == "own" else "set local medilink.every_facility = 'on'"


def _facilities() -> str:
    return f"set local medilink.facilities = '{{{','.join(str(int(number)) for number in g.caller.facility_ids)}}}'"
