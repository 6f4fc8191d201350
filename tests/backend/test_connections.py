"""The database's connections: a request leaves its own to the next one, whole, and nobody waits for ever."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from flask.testing import FlaskClient
from sqlalchemy.exc import TimeoutError as NoneFree

from backend.api import Api
from backend.context import kept
from backend.database import POOL_SIZE, POOL_TIMEOUT_SECONDS, Connections, fetch_one, writing


class GivenUp(Exception):
    """What ends a request in the middle."""


@pytest.fixture
def connections(app: Api) -> Connections:
    found: Connections = app.extensions["medilink_connections"]
    return found


def _server_process(app: Api) -> int:
    with app.app_context():
        found: int = fetch_one("select pg_backend_pid()")[0]
        return found


def _processes(admin: psycopg.Connection) -> list[tuple[int]]:
    return admin.execute("select pid from pg_stat_activity where application_name = 'medilink-api'").fetchall()


def _states(admin: psycopg.Connection) -> list[tuple[str]]:
    return admin.execute("select state from pg_stat_activity where application_name = 'medilink-api'").fetchall()


def test_a_request_leaves_its_connection_to_the_next(
    client: FlaskClient, connections: Connections, admin: psycopg.Connection
) -> None:
    # Pages end their transaction themselves; what leaves one open goes back to the pool.
    assert client.get("/api/facilities").status_code == 200
    left = list(connections.left)
    first = _processes(admin)
    for _ in range(5):
        assert client.get("/api/facilities").status_code == 200
    assert (connections.left, _processes(admin)) == (left, first)
    assert (len(left), len(first)) == (1, 1)


def test_no_transaction_is_left(app: Api, admin: psycopg.Connection) -> None:
    """Neither one that failed, nor one that was given up while it wrote: both would carry what their caller may see."""
    with app.app_context(), pytest.raises(psycopg.errors.DivisionByZero):
        fetch_one("select 1 / 0")
    assert _states(admin) == [("idle",)]

    with app.app_context(), pytest.raises(GivenUp):  # noqa: PT012 - the transaction is what is given up
        kept().scope = "all"
        with writing() as connection:
            connection.execute("insert into public.facilities (name, state, source) values ('x', 'X', 'api')")
            raise GivenUp
    assert _states(admin) == [("idle",)]
    assert admin.execute("select count(*) from public.facilities where name = 'x'").fetchone() == (0,)
    _server_process(app)


def test_one_that_the_server_closed_is_replaced_by_a_new_one(
    app: Api, connections: Connections, admin: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not by another that it closed, and that its request leaves just then."""
    others, own = connections.take(), connections.take()
    connections.put(own)
    admin.execute(
        "select pg_terminate_backend(pid, 5000) from pg_stat_activity where application_name = 'medilink-api'"
    )
    dispose = connections.engine.dispose

    def and_just_then() -> None:
        dispose()
        monkeypatch.undo()
        connections.put(others)

    monkeypatch.setattr(connections.engine, "dispose", and_just_then)
    for _ in range(2 * POOL_SIZE):
        _server_process(app)


def test_a_replacement_that_fails_gives_one_turn_back(
    app: Api, connections: Connections, admin: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two would let in more requests than there are connections; none would lose a connection for good."""
    _server_process(app)
    admin.execute(
        "select pg_terminate_backend(pid, 5000) from pg_stat_activity where application_name = 'medilink-api'"
    )

    def fail() -> None:
        raise GivenUp

    monkeypatch.setattr(connections.engine, "dispose", fail)
    with pytest.raises(GivenUp):
        _server_process(app)
    monkeypatch.undo()
    assert connections.turns.qsize() == POOL_SIZE


def test_nothing_that_was_not_sent_is_left(app: Api, connections: Connections) -> None:
    """Statements that wait in a connection's pipeline would run in the next request."""
    pooled = connections.take()
    server = pooled.driver_connection.pgconn  # type: ignore[union-attr]
    server.enter_pipeline_mode()
    server.send_query_params(b"set medilink.remains = 'something'", [])
    connections.put(pooled)
    with app.app_context():
        assert fetch_one("select current_setting('medilink.remains', true)") == (None,)


def test_more_requests_than_connections(
    app: Api, connections: Connections, monkeypatch: pytest.MonkeyPatch, admin: psycopg.Connection
) -> None:
    """Each waits for its turn; the pool, which would let them wait too, is not what bounds them here."""
    monkeypatch.setattr(connections.engine.pool, "_max_overflow", 100)

    def ask(_: int) -> None:
        with app.app_context():
            fetch_one("select pg_sleep(0.02)")

    with ThreadPoolExecutor(4 * POOL_SIZE) as threads:
        list(threads.map(ask, range(20 * POOL_SIZE)))
    assert len(_processes(admin)) == POOL_SIZE
    assert connections.turns.qsize() == POOL_SIZE


def test_who_finds_none_free_is_told_and_the_next_is_served(client: FlaskClient, connections: Connections) -> None:
    taken = [connections.take() for _ in range(POOL_SIZE)]
    started = time.monotonic()
    with pytest.raises(NoneFree):
        connections.take()
    assert time.monotonic() - started == pytest.approx(POOL_TIMEOUT_SECONDS, abs=0.5)
    for pooled in taken:
        connections.put(pooled)
    assert client.get("/api/facilities").status_code == 200
