"""The API's way to the warehouse: a small pool of connections that can only read, each request one snapshot.

Every transaction is REPEATABLE READ, READ ONLY: the lists, counts and totals of one answer agree with each other.
"""

from __future__ import annotations

from typing import Any

from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import URL, Row, text

from elt.database import KEEPALIVES
from elt.settings import Settings

STATEMENT_TIMEOUT_SECONDS = 10

# As many connections as granian has blocking threads (`--blocking-threads 8`): a request never waits for one.
POOL_SIZE = 8

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
                " -c default_transaction_read_only=on"
                " -c default_transaction_isolation=repeatable\\ read"
                f" -c statement_timeout={STATEMENT_TIMEOUT_SECONDS}s"
                " -c idle_in_transaction_session_timeout=15s"
            ),
            **KEEPALIVES,
        },
    }
    db.init_app(app)


def fetch_one(query: str, **parameters: Any) -> Row[Any]:
    """The one row of a query with bound `:name` parameters, in the request's transaction."""
    return db.session.execute(text(query), parameters).one()


def fetch_first(query: str, **parameters: Any) -> Row[Any] | None:
    """The same, of a query that may find nothing."""
    return db.session.execute(text(query), parameters).first()


def pass_publish_gate() -> None:
    """Hold off publishing until the request ends: all marts read after this belong to one release.

    Must be the first statement of the transaction, before PostgreSQL takes its snapshot.
    """
    db.session.execute(text("lock table audit.publish_gate in access share mode"))
