"""The API's way to the warehouse: a small pool of connections, and for each request one transaction, one snapshot.

Reads are REPEATABLE READ, READ ONLY: lists, counts and totals of one answer agree with each other. What the caller may
see is decided by row-level security, from the scope that the access matrix gives them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

import psycopg
from flask import Flask, current_app
from flask_sqlalchemy import SQLAlchemy
from psycopg import Connection
from psycopg.pq import TransactionStatus
from sqlalchemy import URL, Engine, event
from sqlalchemy.exc import TimeoutError as NoneFree
from sqlalchemy.pool import PoolProxiedConnection

from backend.context import kept
from backend.round_trip import Row, Session, Statement
from elt.database import KEEPALIVES
from elt.settings import Settings

STATEMENT_TIMEOUT_SECONDS = 10

# As many connections as a worker has threads (backend/__main__.py): a request never waits for one.
POOL_SIZE = 4
POOL_TIMEOUT_SECONDS = 2

READING = Statement("begin isolation level repeatable read read only", is_prepared=True)
# Held to the end of the transaction: all marts read in it belong to one release. It must come before PostgreSQL takes
# the snapshot, which neither this nor `set` makes it do.
GATE = Statement("lock table audit.publish_gate in access share mode", is_prepared=True)
COMMIT = Statement("commit", is_prepared=True)

db = SQLAlchemy()


class Connections:
    """The connections of an application, one for each request that runs, out of SQLAlchemy's pool.

    A request leaves its connection to the next one: to give it back to the pool and take it out again would be a
    fifteenth of the instructions of a page.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        # A turn for each connection: a semaphore, without the interpreter's part in one.
        self.turns: SimpleQueue[None] = SimpleQueue()
        for _ in range(POOL_SIZE):
            self.turns.put(None)
        self.left: list[PoolProxiedConnection] = []
        event.listen(engine, "engine_disposed", self._forget)

    def take(self) -> PoolProxiedConnection:
        """A connection without a transaction. Raises SQLAlchemy's `TimeoutError` when all are in use for too long."""
        try:
            self.turns.get(timeout=POOL_TIMEOUT_SECONDS)
        except Empty:
            raise NoneFree("all connections are in use") from None
        try:
            return self._left() or self.engine.raw_connection()
        except BaseException:
            self.turns.put(None)
            raise

    def put(self, pooled: PoolProxiedConnection) -> None:
        """Leave a connection to the next request; the pool ends what is unfinished on one."""
        try:
            # Nothing is open, and nothing under way.
            if _connection(pooled).pgconn.transaction_status == TransactionStatus.IDLE:
                self.left.append(pooled)
            else:
                pooled.close()
        finally:
            self.turns.put(None)

    def replace(self, pooled: PoolProxiedConnection) -> PoolProxiedConnection:
        """A new connection for one that the server has closed; those that were left have gone the same way."""
        try:
            self.engine.dispose()
            pooled.invalidate()
            return self.engine.raw_connection()
        except BaseException:
            self.turns.put(None)
            raise

    def _left(self) -> PoolProxiedConnection | None:
        try:
            return self.left.pop()
        except IndexError:
            return None

    def _forget(self, _: Engine) -> None:
        while pooled := self._left():
            pooled.invalidate()


@dataclass
class Visit:
    """What a request has of the database."""

    connections: Connections
    opening: tuple[Statement, ...] = (READING,)
    """what its reading transaction begins with"""
    pooled: PoolProxiedConnection | None = None
    """its connection, once it has one"""
    is_reading: bool = False
    """whether its reading transaction is open"""


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
        "pool_timeout": POOL_TIMEOUT_SECONDS,
        # The one that was used last, as of those that were left: fewer of the server's processes have work to do, each
        # with its own caches.
        "pool_use_lifo": True,
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
    with app.app_context():
        app.extensions["medilink_connections"] = connections = Connections(db.engine)

    @app.teardown_appcontext
    def release(_: BaseException | None) -> None:
        visit: Visit | None = kept().pop("visit", None)
        if visit and visit.pooled:
            connections.put(visit.pooled)


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


def fetch_last(query: str, entry: Statement, **parameters: Any) -> Row:
    """The one row of the last query of the request's transaction, which it ends, in one round trip with an entry.

    The entry is a statement in a transaction of its own, behind the query's; nothing is found unless both commit.
    When the server closes the connection between the two, the entry may be written twice, never less than once.
    """
    visit = _visit()
    rows = _send(visit, [*_in_transaction(visit, query, parameters), COMMIT, entry], asked=-3)
    visit.is_reading = False
    return rows[0]


def reading() -> Connection:
    """Psycopg's connection in the request's transaction, for the steps of `elt`."""
    _read("select", {})
    return _connection(_pooled(_visit()))


def pass_publish_gate() -> None:
    """Hold off publishing until the request ends: all marts read after this belong to one release.

    Must come before anything is read.
    """
    _visit().opening = (READING, GATE)


@contextmanager
def writing() -> Iterator[Connection]:
    """A transaction that may write what the caller may see; committed at the end, rolled back by any exception.

    It waits 3 seconds for a load that writes the same table, then raises `psycopg.errors.LockNotAvailable`.
    """
    visit = _visit()
    # Without a transaction to end, see that the connection is alive: a write is begun once.
    _send(visit, [COMMIT if visit.is_reading else Statement("select", is_prepared=True)])
    visit.is_reading = False
    connection = _connection(_pooled(visit))
    with connection.transaction():
        connection.execute(f"set local role api_write; set local lock_timeout = '3s'; {_writable()}")
        yield connection


def first_outside(query: str, **parameters: Any) -> Row | None:
    """The first row of a query in a transaction of its own, before the request's own transaction; commits."""
    return next(iter(_send(_visit(), [Statement(query, parameters, is_prepared=True)])), None)


def execute_outside(statement: str, **parameters: Any) -> None:
    """A statement in a transaction of its own, after the request's own transaction; commits."""
    visit = _visit()
    ending = [COMMIT] if visit.is_reading else []
    visit.is_reading = False
    _send(visit, [*ending, Statement(statement, parameters, is_prepared=True)])


def _visit() -> Visit:
    ours = kept()
    visit: Visit | None = ours.get("visit")
    if visit is None:
        visit = ours.visit = Visit(current_app.extensions["medilink_connections"])
    return visit


def _read(query: str, parameters: dict[str, Any]) -> list[Row]:
    """Run a query in the request's reading transaction."""
    visit = _visit()
    return _send(visit, _in_transaction(visit, query, parameters))


def _in_transaction(visit: Visit, query: str, parameters: dict[str, Any]) -> list[Statement]:
    """A query in the request's reading transaction, which the first one begins: in one round trip."""
    beginning = [] if visit.is_reading else [*visit.opening, _scope()]
    visit.is_reading = True
    # Half of a short query's cost is its plan. But publishing puts other tables under the names of the marts: a plan
    # prepared before would go on reading the release before.
    return [*beginning, Statement(query, parameters, is_prepared="analytics." not in query)]


def _send(visit: Visit, statements: Sequence[Statement], asked: int = -1) -> list[Row]:
    """Run statements on the request's connection; the rows of the one that is `asked`, counted from the last.

    The first that a request sends, it sends again on a new connection if the server has closed this one since another
    request put it back. A ping before would be a round trip for each request, and no promise.
    """
    is_first = visit.pooled is None
    try:
        return _session(_pooled(visit)).send(statements, asked)
    except psycopg.OperationalError:
        if not is_first or visit.pooled is None or not _connection(visit.pooled).closed:
            raise
        closed, visit.pooled = visit.pooled, None
        visit.pooled = visit.connections.replace(closed)
        return _session(_pooled(visit)).send(statements, asked)


def _pooled(visit: Visit) -> PoolProxiedConnection:
    if visit.pooled is None:
        visit.pooled = visit.connections.take()
    return visit.pooled


def _connection(pooled: PoolProxiedConnection) -> Connection:
    connection: Connection = pooled.driver_connection  # type: ignore[assignment]
    return connection


def _session(pooled: PoolProxiedConnection) -> Session:
    """What a connection keeps from one request to the next."""
    session: Session | None = pooled.info.get("session")
    if session is None:
        session = pooled.info["session"] = Session(_connection(pooled))
    return session


def _scope() -> Statement:
    """What makes row-level security let through what the caller may see; numbers and our own words only."""
    scope = kept().get("scope")
    if scope == "own":
        return Statement(_facilities())
    return Statement("set local role api_read_all" if scope else "set local medilink.facilities = ''", is_prepared=True)


def _writable() -> str:
    """The same for what they may write."""
    return _facilities() if kept().scope == "own" else "set local medilink.every_facility = 'on'"


def _facilities() -> str:
    return f"set local medilink.facilities = '{kept().caller.facilities}'"
