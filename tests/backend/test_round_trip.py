"""Several statements in one round trip, against a real server."""

from __future__ import annotations

from datetime import UTC, date, datetime

import psycopg
import pytest
from psycopg import errors
from psycopg.pq import TransactionStatus

from backend import round_trip
from backend.round_trip import Session, Statement


def test_the_rows_of_the_last_one_by_position_and_by_name(admin: psycopg.Connection) -> None:
    when = datetime(2026, 1, 31, 2, tzinfo=UTC)
    query = (
        "select %(n)s::int as n, %(n)s::int + 1, %(text)s::text, %(day)s::date as day, %(at)s::timestamptz as at, '%%'"
    )
    parameters = {"n": 7, "text": "Àdá ' %(n)s", "day": date(2026, 1, 31), "at": when}
    for is_prepared in (False, True, True):
        statements = [Statement("select 1"), Statement(query, parameters, is_prepared=is_prepared)]
        (row,) = Session(admin).send(statements)
        assert tuple(row) == (7, 8, "Àdá ' %(n)s", date(2026, 1, 31), when, "%")
        assert (row.n, row.day) == (7, row[3])
        admin.execute("deallocate all")
    session = Session(admin)
    assert session.send([Statement("select '%' where false")]) == []
    assert session.send([Statement("set local role api_read", is_prepared=True)]) == []


def test_the_rows_of_one_before(admin: psycopg.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(round_trip, "PREPARED_AT_MOST", 3)
    session = Session(admin)
    for number in range(10):
        asked = Statement(f"select {number} + %(zero)s", {"zero": 0}, is_prepared=True)
        behind = Statement(f"select {number}, 'behind'", is_prepared=True)
        for _ in range(2):
            assert tuple(session.send([Statement("begin"), asked, Statement("commit"), behind], asked=-3)[0]) == (
                number,
            )


def test_a_statement_is_prepared_once_for_each_kind_of_parameter(admin: psycopg.Connection) -> None:
    session = Session(admin)

    def ask(value: object) -> object:
        return session.send([Statement("select %(value)s as value", {"value": value}, is_prepared=True)])[0][0]

    assert [ask(value) for value in (1, 2, "text", None, 3)] == [1, 2, "text", None, 3]
    names = admin.execute("select name from pg_prepared_statements").fetchall()
    assert {name.encode() for (name,) in names} == session.prepared
    assert len(session.prepared) == 2


def test_not_more_of_them_than_a_connection_keeps(admin: psycopg.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(round_trip, "PREPARED_AT_MOST", 3)
    session = Session(admin)
    for number in [*range(10), *range(10)]:
        query = f"select {number} + %(zero)s"
        assert session.send([Statement(query, {"zero": 0}, is_prepared=True)])[0][0] == number
        (known,) = admin.execute("select count(*) from pg_prepared_statements", prepare=False).fetchone() or (None,)
        assert known == len(session.prepared)
    assert len(session.prepared) <= 4


def test_none_runs_after_one_that_failed_and_the_connection_goes_on(admin: psycopg.Connection) -> None:
    session = Session(admin)
    admin.execute("create table public.marks (mark int)")
    mark = Statement("insert into public.marks values (%(mark)s)", {"mark": 1}, is_prepared=True)
    for _ in range(2):
        with pytest.raises(errors.DivisionByZero):
            session.send([Statement("begin"), mark, Statement("select 1 / 0"), mark, Statement("commit")])
        assert admin.info.transaction_status == TransactionStatus.INERROR
        session.send([Statement("commit")])
    with pytest.raises(errors.UndefinedTable):
        session.send([Statement("select from nowhere where 1 = %(one)s", {"one": 1}, is_prepared=True)])
    assert session.send([mark, Statement("select count(*) from public.marks")])[0][0] == 1
    mine = Statement("select 1 / 0", is_prepared=True, refusal=LookupError)
    with pytest.raises(LookupError) as refused:
        session.send([mark, mine, mark])
    assert isinstance(refused.value.__cause__, errors.DivisionByZero)
    with pytest.raises(psycopg.DataError):
        session.send([mark, Statement("select %(text)s", {"text": "\0"})])
    assert session.send([Statement("select count(*) from public.marks")])[0][0] == 1


def test_more_than_the_socket_holds_at_once(admin: psycopg.Connection) -> None:
    text = "x" * 5_000_000
    rows = Session(admin).send([Statement("select %(text)s::text", {"text": text})] * 3)
    assert rows[0][0] == text


def test_a_lost_connection_is_said_so(admin: psycopg.Connection) -> None:
    doomed = psycopg.connect(admin.info.dsn, password=admin.info.password, autocommit=True)
    session = Session(doomed)
    admin.execute("select pg_terminate_backend(%s, 5000)", [doomed.info.backend_pid])
    with pytest.raises(psycopg.OperationalError):
        session.send([Statement("select 1")])
    assert doomed.closed
