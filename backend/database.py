"""The API's way to the warehouse: a small pool of connections, and for each request one transaction, one snapshot.

Reads are REPEATABLE READ, READ ONLY: lists, counts and totals of one answer agree with each other. What the caller may
see is decided by row-level security, from the scope that the access matrix gives them.
"""

from __future__ import annotations

from typing import Any

from flask import Flask, g
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import URL, Connection, Row

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
        # Transactions begin and end where this module says so, each with what it is for.
        "isolation_level": "AUTOCOMMIT",
        # Parameters may hold a patient's name, and an error's text ends in a log.
        "hide_parameters": True,
        "connect_args": {
            "sslmode": settings.postgres_sslmode,
            "connect_timeout": 2,
            "tcp_user_timeout": 2000,
            "application_name": "medilink-api",
            # Publishing puts other tables under the same names: a plan prepared before would fail.
            "prepare_threshold": None,
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
        if connection := g.pop("connection", None):
            connection.close()


def fetch_one(query: str, **parameters: Any) -> Row[Any]:
    """The one row of a query with bound `%(name)s` parameters, in the request's transaction."""
    return _reading().exec_driver_sql(query, parameters or None).one()


def fetch_first(query: str, **parameters: Any) -> Row[Any] | None:
    """The same, of a query that may find nothing."""
    return _reading().exec_driver_sql(query, parameters or None).first()


def pass_publish_gate() -> None:
    """Hold off publishing until the request ends: all marts read after this belong to one release.

    Must come before anything is read.
    """
    _begin(f"{READING}; {GATE}")


def first_outside(query: str, **parameters: Any) -> Row[Any] | None:
    """The first row of a query in a transaction of its own, before the request's own transaction; commits."""
    return _connection().exec_driver_sql(query, parameters or None).first()


def execute_outside(statement: str, **parameters: Any) -> None:
    """A statement in a transaction of its own, after the request's own transaction; commits."""
    _end()
    _connection().exec_driver_sql(statement, parameters)


def _connection() -> Connection:
    if "connection" not in g:
        g.connection = db.engine.connect()
    connection: Connection = g.connection
    return connection


def _reading() -> Connection:
    """The request's connection, in its reading transaction."""
    if not g.get("in_transaction"):
        _begin(READING)
    return _connection()


def _begin(opening: str) -> None:
    _connection().exec_driver_sql(f"{opening}; {_scope()}")
    g.in_transaction = True


def _end() -> None:
    if g.pop("in_transaction", False):
        _connection().exec_driver_sql("commit")


def _scope() -> str:
    """What makes row-level security let through what the caller may see; numbers and our own words only."""
    caller, scope = g.get("caller"), g.get("scope")
    if scope == "own":
        return f"set local medilink.facilities = '{{{','.join(str(int(number)) for number in caller.facility_ids)}}}'"
    return "set local role api_read_all" if scope else "set local medilink.facilities = ''"
