"""The API's way to the warehouse: a small pool of connections, and for each request one transaction, one snapshot.

Reads are REPEATABLE READ, READ ONLY: lists, counts and totals of one answer agree with each other. What the caller may
see is decided by row-level security, from the scope that the access matrix gives them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
from flask import Flask, g
from flask_sqlalchemy import SQLAlchemy
from psycopg import Connection
from sqlalchemy import URL

from backend.round_trip import Row, Statement, send
from elt.database import KEEPALIVES
from elt.settings import Settings

STATEMENT_TIMEOUT_SECONDS = 10

# As many connections as a worker has threads (backend/__main__.py): a request never waits for one.
POOL_SIZE = 8

READING = "begin isolation level repeatable read read only"
# Held to the end of the transaction: all marts read in it belong to one release. It must come before PostgreSQL takes
# the snapshot, which neither this nor `set` makes it do.
GATE = "lock table audit.publish_gate in access share mode"

db = SQLAlchemy()


Result = TypeVar("Result")


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
    rows = _read(query, parameters)
    if not rows:
        raise LookupError("a query that always finds a row found none")
    return rows[0]


def fetch_first(query: str, **parameters: Any) -> Row | None:
    """The same, of a query that may find nothing."""
    return next(iter(_read(query, parameters)), None)


def fetch_all(query: str, **parameters: Any) -> list[Row]:
    """All rows of a query, in the request's transaction."""
    return _read(query, parameters)


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
    connection = _on_connection(_end)
    with connection.transaction():
        connection.execute(f"set local role api_write; set local lock_timeout = '3s'; {_writable()}")
        yield connection


def first_outside(query: str, **parameters: Any) -> Row | None:
    """The first row of a query in a transaction of its own, before the request's own transaction; commits."""
    return next(iter(_send([Statement(query, parameters, is_prepared=True)])), None)


def execute_outside(statement: str, **parameters: Any) -> None:
    """A statement in a transaction of its own, after the request's own transaction; commits."""
    ending = [Statement("commit")] if g.pop("in_transaction", False) else []
    _send([*ending, Statement(statement, parameters, is_prepared=True)])


def _on_connection(work: Callable[[Connection], Result]) -> Result:
    """Do something on the request's connection, out of the pool.

    The first thing that a request does there, it does again on a new connection if the server has closed this one
    since another request put it back. A ping before would be a round trip for each request, and no promise.
    """
    if "pooled" in g:
        return work(_connection())
    try:
        return work(_connection())
    except psycopg.OperationalError:
        if "pooled" not in g or not _connection().closed:
            raise
        # The others in the pool have gone the same way.
        db.engine.dispose()
        g.pop("pooled").invalidate()
        return work(_connection())


def _connection() -> Connection:
    if "pooled" not in g:
        g.pooled = db.engine.raw_connection()
    connection: Connection = g.pooled.driver_connection
    return connection


def _read(query: str, parameters: dict[str, Any]) -> list[Row]:
    """Run a query in the request's reading transaction, which the first one begins: in one round trip."""
    beginning = []
    if not g.get("in_transaction"):
        beginning = [Statement(statement) for statement in (*g.get("opening", (READING,)), _scope())]
        g.in_transaction = True
    # Half of a short query's cost is its plan. But publishing puts other tables under the names of the marts: a plan
    # prepared before would go on reading the release before.
    return _send([*beginning, Statement(query, parameters, is_prepared="analytics." not in query)])


def _send(statements: Sequence[Statement]) -> list[Row]:
    return _on_connection(lambda connection: send(connection, g.pooled.info.setdefault("prepared", set()), statements))


def _end(connection: Connection) -> Connection:
    """End the reading transaction; where there was none, see that the connection is alive: a write is begun once."""
    connection.execute(b"commit" if g.pop("in_transaction", False) else b"select")
    return connection


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
    return f"set local medilink.facilities = '{g.caller.facilities}'"
