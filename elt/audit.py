"""The ledger: batches and their lease, steps, files, and what became of every row (`audit.*`)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg import Connection
from psycopg.rows import class_row

from elt.vocabulary import Disposition, FileStatus

# A run that has given no sign of life for this long, in or between its steps, may be taken over.
LEASE_SECONDS = 90
RENEWAL_SECONDS = 15


class AnotherRunIsUnderWay(Exception):
    """Only one run is under way at a time; this says which, and until when its lease holds."""


class BatchEnded(Exception):
    """The batch was taken over by a later run; nothing more may be done in its name."""


@dataclass(frozen=True)
class LedgerFile:
    """One row of `audit.ingest_files`: one version of an input object."""

    file_id: int
    input_key: str
    version_id: str | None
    etag: str
    size_bytes: int
    last_modified: datetime
    feed: str | None
    batch_id: int
    status: str
    sha256: str | None
    archive_key: str | None
    discovered_at: datetime


LEDGER_COLUMNS = ", ".join(LedgerFile.__dataclass_fields__)


def begin_batch(connection: Connection, run_key: str) -> int:
    """Open the batch of this run, or find it open already; takes over a batch whose lease ran out.

    Raises `AnotherRunIsUnderWay` while another batch holds its lease, `BatchEnded` if this run's batch was itself taken
    over.
    """
    with connection.transaction():
        _alone(connection, run_key)
        row = connection.execute(
            """
            insert into audit.batches (run_key, lease_expires_at)
            values (%(key)s, now() + make_interval(secs => %(lease)s))
            on conflict (run_key) do update set
                state = 'running', completed_at = null, failed_step = null, error_message = null,
                lease_expires_at = excluded.lease_expires_at
            where batches.state <> 'abandoned'
            returning batch_id
            """,
            {"key": run_key, "lease": LEASE_SECONDS},
        ).fetchone()
    if row is None:
        raise BatchEnded(f"the batch of run {run_key} was taken over by a later run. Start a new run.")
    return int(row[0])


def _alone(connection: Connection, run_key: str) -> None:
    """Make sure, until the transaction ends, that no other batch runs; one whose lease ran out is abandoned."""
    connection.execute("select pg_advisory_xact_lock(hashtext('medilink batches'))")
    # A batch in the middle of a transaction is locked, and so alive: skip it.
    connection.execute(
        """
        update audit.batches
        set state = 'abandoned', completed_at = now(), error_message = 'no sign of life: its lease ran out'
        where batch_id in (
            select batch_id from audit.batches
            where state = 'running' and lease_expires_at < now() and run_key <> %s
            for update skip locked
        )
        """,
        [run_key],
    )
    other = connection.execute(
        "select batch_id, started_at from audit.batches where state = 'running' and run_key <> %s", [run_key]
    ).fetchone()
    if other:
        raise AnotherRunIsUnderWay(
            f"batch {other[0]}, begun {other[1]:%Y-%m-%d %H:%M:%S} UTC, is under way; two runs never work at once. "
            f"Wait for it to end: if its process is dead, it is taken over {LEASE_SECONDS} seconds after its last "
            "sign of life."
        )


def assert_running(connection: Connection, batch_id: int) -> None:
    """Fence the current transaction: until it ends, nobody can take the batch over. Raises `BatchEnded`."""
    row = connection.execute(
        "select 1 from audit.batches where batch_id = %s and state = 'running' for share", [batch_id]
    ).fetchone()
    if row is None:
        raise BatchEnded(f"batch {batch_id} has ended or was taken over. Start a new run.")


def end_batch(
    connection: Connection, batch_id: int, *, failed_step: str | None = None, message: str | None = None
) -> None:
    """Close the batch: succeeded, or failed with the step and its reason (which must hold no patient data)."""
    connection.execute(
        "update audit.batches set state = %s, completed_at = now(), failed_step = %s, error_message = %s"
        " where batch_id = %s and state = 'running'",
        ["failed" if failed_step else "succeeded", failed_step, message, batch_id],
    )


@contextmanager
def step(connect: Callable[[], Connection], batch_id: int, name: str) -> Iterator[None]:
    """One step of a batch: timed in `audit.batch_steps`, the lease kept fresh meanwhile.

    Raises `BatchEnded` at once if the batch has ended.
    """
    with connect() as connection:
        with connection.transaction():
            failed = connection.execute(
                "select run_key from audit.batches where batch_id = %s and state = 'failed'", [batch_id]
            ).fetchone()
            if failed:  # Somebody repeats a step of a failed run: it goes on, unless another runs.
                _alone(connection, failed[0])
                connection.execute(
                    """
                    update audit.batches
                    set state = 'running', completed_at = null, failed_step = null, error_message = null
                    where batch_id = %s
                    """,
                    [batch_id],
                )
            assert_running(connection, batch_id)
            row = connection.execute(
                "insert into audit.batch_steps (batch_id, step, attempt) select %(batch)s, %(step)s, 1 + count(*)"
                " from audit.batch_steps where batch_id = %(batch)s and step = %(step)s returning attempt",
                {"batch": batch_id, "step": name},
            ).fetchone()
        attempt = row[0] if row else 1
        ended = threading.Event()
        renewer = threading.Thread(target=_renew, args=(connection, batch_id, ended), daemon=True)
        renewer.start()
        state = "failed"
        try:
            yield
            state = "succeeded"
        finally:
            ended.set()
            renewer.join()
            if not connection.broken:
                connection.execute(
                    "update audit.batch_steps set state = %s, completed_at = clock_timestamp()"
                    " where batch_id = %s and step = %s and attempt = %s",
                    [state, batch_id, name, attempt],
                )
                _extend(connection, batch_id)


def _renew(connection: Connection, batch_id: int, ended: threading.Event) -> None:
    while not ended.wait(RENEWAL_SECONDS):
        try:
            _extend(connection, batch_id)
        except psycopg.errors.LockNotAvailable:
            continue  # The step's own transaction holds the batch, which says as much as a renewal.
        except psycopg.OperationalError:
            return  # The step's own connection will meet the same fault, and says so.


def _extend(connection: Connection, batch_id: int) -> None:
    connection.execute(
        """
        update audit.batches set lease_expires_at = now() + make_interval(secs => %s)
        where batch_id = %s and state = 'running'
        """,
        [LEASE_SECONDS, batch_id],
    )


def files(connection: Connection, batch_id: int, status: FileStatus, feed: str | None = None) -> list[LedgerFile]:
    """The batch's files in that status, in the order in which they were last modified."""
    with connection.cursor(row_factory=class_row(LedgerFile)) as cursor:
        return cursor.execute(
            f"select {LEDGER_COLUMNS} from audit.ingest_files where batch_id = %(batch)s and status = %(status)s"
            " and (%(feed)s::text is null or feed = %(feed)s) order by last_modified, input_key, file_id",
            {"batch": batch_id, "status": status, "feed": feed},
        ).fetchall()


def files_done_with(connection: Connection) -> list[LedgerFile]:
    """The files, of all batches, whose fate is known and whose input object was not let go yet."""
    with connection.cursor(row_factory=class_row(LedgerFile)) as cursor:
        return cursor.execute(
            f"""
            select {LEDGER_COLUMNS} from audit.ingest_files
            where input_released_at is null and archive_key is not null
                and status in ('published', 'duplicate', 'held', 'rejected')
            order by file_id
            """
        ).fetchall()


def lock_file(connection: Connection, batch_id: int, file_id: int, status: FileStatus) -> bool:
    """Hold one file of the batch for this transaction; False if it is no longer in that status."""
    row = connection.execute(
        "select 1 from audit.ingest_files where file_id = %s and batch_id = %s and status = %s for update",
        [file_id, batch_id, status],
    ).fetchone()
    return row is not None


def refuse_file(connection: Connection, file_id: int, status: FileStatus, code: str, message: str) -> None:
    """End a file as held or rejected, with the code and a message that says where and what next."""
    connection.execute(
        """
        update audit.ingest_files set status = %s, error_code = %s, error_message = %s, records_processed = null
        where file_id = %s
        """,
        [status, code, message, file_id],
    )


def add_counts(
    connection: Connection, batch_id: int, table: str, origin: str, processed: int, counts: dict[Disposition, int]
) -> None:
    """Add one promotion's counts to the batch's row of `audit.etl_audit_log`; the database checks that they add up."""
    numbers = {f"records_{disposition}": counts.get(disposition, 0) for disposition in Disposition}
    columns = ", ".join(numbers)
    sums = ", ".join(
        f"{column} = etl_audit_log.{column} + excluded.{column}" for column in ("records_processed", *numbers)
    )
    connection.execute(
        f"""
        insert into audit.etl_audit_log (
            batch_id, table_name, origin, started_at, completed_at, records_processed, {columns}
        )
        values (%s, %s, %s, now(), clock_timestamp(), %s, {", ".join(["%s"] * len(numbers))})
        on conflict (batch_id, table_name, origin) do update set {sums}, completed_at = excluded.completed_at
        """,
        [batch_id, table, origin, processed, *numbers.values()],
    )
