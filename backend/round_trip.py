"""Several statements in one round trip: libpq's pipeline, sent in one piece.

Psycopg's own pipeline sends each statement by itself and looks at the socket several times for each, which was half of
what a short request cost.
"""

from __future__ import annotations

import re
import select
from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Any, NamedTuple, NoReturn, Protocol

from psycopg import Connection, OperationalError
from psycopg.adapt import PyFormat, Transformer
from psycopg.errors import error_from_result
from psycopg.pq import ConnStatus, ExecStatus
from psycopg.pq.abc import PGconn, PGresult

# A connection forgets its prepared statements when there would be more.
PREPARED_AT_MOST = 200
PARAMETER = re.compile(r"%\((\w+)\)s|%%")


class Statement(NamedTuple):
    """SQL with `%(name)s` where it takes parameters; without any, `%` is itself."""

    sql: str
    parameters: Mapping[str, Any] = {}
    is_prepared: bool = False
    refusal: type[Exception] | None = None
    """what its failure is told as, unless as PostgreSQL's own error"""


class Row(Protocol):
    """A row of a result: its columns by position and by name."""

    def __getitem__(self, position: int) -> Any: ...  # noqa: ANN401 - what a column holds is the query's business

    def __getattr__(self, name: str) -> Any: ...  # noqa: ANN401 - the same


class _Bound(NamedTuple):
    """A statement with its parameters as the server takes them, and the name under which it is prepared, if it is."""

    name: bytes | None
    sql: bytes
    values: Sequence[Any] = ()
    types: Sequence[int] = ()
    formats: Sequence[Any] | None = None


class Session:
    """A connection and what it keeps from one request to the next: prepared statements, and how values are adapted."""

    def __init__(self, connection: Connection) -> None:
        self.server = connection.pgconn
        self.adapter = Transformer(connection)
        self.prepared: set[bytes] = set()

    def send(self, statements: Sequence[Statement], asked: int = -1) -> list[Row]:
        """Run statements; the rows of the one that is `asked`, counted from the last (-1).

        None of them runs after one that failed. Raises that one's `psycopg.Error`, or its `refusal` from it, or
        `OperationalError` when the connection is lost.
        """
        if len(self.prepared) > PREPARED_AT_MOST:
            statements = [Statement("deallocate all"), *statements]
            self.prepared.clear()
        # All, before the first is sent: a parameter may be one that no server takes.
        bound = [self._bound(statement) for statement in statements]
        self.server.enter_pipeline_mode()
        steps = self._put(bound)
        results = _results(self.server)
        of_asked: PGresult | None = None
        for result, (position, prepared) in zip(results, steps, strict=False):
            if result.status == ExecStatus.FATAL_ERROR:
                _fail(result, statements[position])
            if prepared:
                self.prepared.add(prepared)
            if position == len(statements) + asked:
                of_asked = result
        if len(results) < len(steps) or of_asked is None:
            raise OperationalError("the connection was lost")
        return self._rows(of_asked)

    def _put(self, bound: Sequence[_Bound]) -> list[tuple[int, bytes | None]]:
        """Put statements into the pipeline. Which one each result is of, and the name of what is prepared by that."""
        steps: list[tuple[int, bytes | None]] = []
        for position, (name, sql, values, types, formats) in enumerate(bound):
            if name is None:
                self.server.send_query_params(sql, values, types, formats)
            else:
                if name not in self.prepared:
                    self.server.send_prepare(name, sql, types)
                    steps.append((position, name))
                self.server.send_query_prepared(name, values, formats)
            steps.append((position, None))
        return steps

    def _bound(self, statement: Statement) -> _Bound:
        sql, parameters, is_prepared, _ = statement
        if not parameters:
            return _constant(sql, is_prepared)
        numbered, names = _positional(sql)
        values = self.adapter.dump_sequence([parameters[name] for name in names], [PyFormat.AUTO] * len(names))
        types = self.adapter.types or ()
        return _Bound(_name(numbered, types) if is_prepared else None, numbered, values, types, self.adapter.formats)

    def _rows(self, result: PGresult) -> list[Row]:
        self.adapter.set_pgresult(result)
        columns = tuple((result.fname(number) or b"").decode() for number in range(result.nfields))
        rows = self.adapter.load_rows(0, result.ntuples, _row_of(columns))
        # What was read is the request's, and does not stay here after it.
        self.adapter.set_pgresult(None)
        return rows


def _fail(result: PGresult, statement: Statement) -> NoReturn:
    error = error_from_result(result)
    if statement.refusal:
        raise statement.refusal from error
    raise error


def _results(server: PGconn) -> list[PGresult]:
    """Send what was put into the pipeline; the results, fewer where the connection was lost."""
    server.pipeline_sync()
    while server.flush():
        _wait(server, select.POLLIN | select.POLLOUT)
    results: list[PGresult] = []
    while server.status != ConnStatus.BAD:
        while server.is_busy():
            _wait(server, select.POLLIN)
        result = server.get_result()
        if result is None:
            # Between the results of two messages.
            continue
        if result.status == ExecStatus.PIPELINE_SYNC:
            server.exit_pipeline_mode()
            break
        results.append(result)
    return results


def _wait(server: PGconn, until: int) -> None:
    waiting = select.poll()
    waiting.register(server.socket, until)
    waiting.poll()
    server.consume_input()


@lru_cache(maxsize=1000)
def _row_of(columns: tuple[str, ...]) -> Callable[[Sequence[Any]], Row]:
    row: Any = namedtuple("Row", columns, rename=True)  # type: ignore[misc]  # noqa: PYI024 - the query names them
    make: Callable[[Sequence[Any]], Row] = row._make  # type: ignore[assignment]
    return make


@lru_cache(maxsize=1000)
def _constant(sql: str, is_prepared: bool) -> _Bound:
    """A statement without parameters."""
    return _Bound(_name(sql.encode(), ()) if is_prepared else None, sql.encode())


@lru_cache(maxsize=1000)
def _positional(sql: str) -> tuple[bytes, list[str]]:
    """SQL with `$1` for its first parameter, and their names in that order."""
    names: list[str] = []

    def numbered(found: re.Match[str]) -> str:
        name = found[1]
        if name is None:
            return "%"
        if name not in names:
            names.append(name)
        return f"${names.index(name) + 1}"

    return PARAMETER.sub(numbered, sql).encode(), names


@lru_cache(maxsize=1000)
def _name(sql: bytes, types: tuple[int, ...]) -> bytes:
    return blake2b(sql + repr(types).encode(), digest_size=16).hexdigest().encode()
