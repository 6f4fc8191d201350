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
from typing import Any, NamedTuple, Protocol

from psycopg import Connection, OperationalError, abc
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


class Row(Protocol):
    """A row of a result: its columns by position and by name."""

    def __getitem__(self, position: int) -> Any: ...  # noqa: ANN401 - what a column holds is the query's business

    def __getattr__(self, name: str) -> Any: ...  # noqa: ANN401 - the same


class _Message(NamedTuple):
    """What is sent to the server, and the name of the statement that it prepares."""

    send: Callable[[PGconn], None]
    prepares: bytes | None = None


def send(connection: Connection, prepared: set[bytes], statements: Sequence[Statement]) -> list[Row]:
    """Run statements on a connection; the rows of the last one. `prepared` are the names of what was prepared on it.

    None of them runs after one that failed. Raises that one's `psycopg.Error`, or `OperationalError` when the
    connection is lost.
    """
    if len(prepared) > PREPARED_AT_MOST:
        statements = [Statement("deallocate all"), *statements]
        prepared.clear()
    adapter = Transformer(connection)
    messages = [message for statement in statements for message in _messages(adapter, prepared, statement)]
    results = _exchange(connection.pgconn, messages)
    for result, message in zip(results, messages, strict=False):
        if result.status == ExecStatus.FATAL_ERROR:
            raise error_from_result(result)
        if message.prepares:
            prepared.add(message.prepares)
    if len(results) < len(messages):
        raise OperationalError("the connection was lost")
    return _rows(adapter, results[-1])


def _messages(adapter: abc.Transformer, prepared: set[bytes], statement: Statement) -> list[_Message]:
    if not statement.parameters:
        command = statement.sql.encode()
        return [_Message(lambda server: server.send_query_params(command, None))]
    sql, names = _positional(statement.sql)
    values = adapter.dump_sequence([statement.parameters[name] for name in names], [PyFormat.AUTO] * len(names))
    types, formats = adapter.types or (), adapter.formats
    if not statement.is_prepared:
        return [_Message(lambda server: server.send_query_params(sql, values, types, formats))]
    name = _name(sql, types)
    execution = _Message(lambda server: server.send_query_prepared(name, values, formats))
    if name in prepared:
        return [execution]
    return [_Message(lambda server: server.send_prepare(name, sql, types), name), execution]


def _exchange(server: PGconn, messages: Sequence[_Message]) -> list[PGresult]:
    """Send messages at once; their results, fewer where the connection was lost."""
    server.enter_pipeline_mode()
    for message in messages:
        message.send(server)
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


def _rows(adapter: abc.Transformer, result: PGresult) -> list[Row]:
    adapter.set_pgresult(result)
    columns = tuple((result.fname(number) or b"").decode() for number in range(result.nfields))
    return adapter.load_rows(0, result.ntuples, _row_of(columns))


@lru_cache(maxsize=1000)
def _row_of(columns: tuple[str, ...]) -> Callable[[Sequence[Any]], Row]:
    row: Any = namedtuple("Row", columns, rename=True)  # type: ignore[misc]  # noqa: PYI024 - the query names them
    make: Callable[[Sequence[Any]], Row] = row._make  # type: ignore[assignment]
    return make


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
