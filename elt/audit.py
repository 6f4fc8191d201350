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

from elt.database import end_sessions
from elt.vocabulary import Decision, Disposition, FileCode, FileStatus

# A run that has given no sign of life for this long, in or between its steps, may be taken over.
LEASE_SECONDS = 90
RENEWAL_SECONDS = 15

# What an operator may let pass; for any other code there are no rows to let through.
WAIVABLE = {
    FileCode.TOO_MANY_REJECTS,
    FileCode.MANIFEST_MISMATCH,
    FileCode.MALFORMED_MANIFEST,
    FileCode.SUPERSEDED,
}


class AnotherRunIsUnderWay(Exception):
    """Only one run is under way at a time; this says which, and until when its lease holds."""


class NotDecidable(Exception):
    """The file is not in a state in which this can be decided about it; says why, and what can be done."""


class Refused(Exception):
    """A file is not promoted, and nothing of it was: it ends held or rejected, with a code and what to do next."""

    def __init__(self, status: FileStatus, code: FileCode, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


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
    waived: list[str]
    reprocess_of: int | None
    is_correction: bool
    expected_records: int | None
    records_processed: int | None


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
    """Make sure, until the transaction ends, that no other batch runs.

    One whose lease ran out is abandoned, and its sessions are ended: a dead run may have left a transaction open.
    """
    connection.execute("select pg_advisory_xact_lock(hashtext('medilink batches'))")
    dead = connection.execute(
        "select batch_id from audit.batches where state = 'running' and lease_expires_at < now() and run_key <> %s",
        [run_key],
    ).fetchall()
    for (batch_id,) in dead:
        end_sessions(connection, _session_of(batch_id))
        connection.execute(
            """
            update audit.batches
            set state = 'abandoned', completed_at = now(), error_message = 'no sign of life: its lease ran out'
            where batch_id in (
                select batch_id from audit.batches
                where batch_id = %s and state = 'running' and lease_expires_at < now()
                for update
            )
            """,
            [batch_id],
        )
        _end_steps(connection, batch_id)
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
    """Fence the current transaction: while it can commit, nobody has taken the batch over. Raises `BatchEnded`.

    It lets the lease be renewed meanwhile. The session bears the batch's name from here on, so that a later run can end
    it when the lease runs out.
    """
    row = connection.execute(
        """
        select set_config('application_name', %s, false) from audit.batches
        where batch_id = %s and state = 'running'
        for key share
        """,
        [_session_of(batch_id), batch_id],
    ).fetchone()
    if row is None:
        raise BatchEnded(f"batch {batch_id} has ended or was taken over. Start a new run.")


def hold_build(connection: Connection) -> None:
    """Let no other build of the marts begin or be recorded, and none be published, until the transaction ends."""
    connection.execute("select pg_advisory_xact_lock(hashtextextended('medilink build', 0))")


def _session_of(batch_id: int) -> str:
    return f"medilink-batch-{batch_id}"


def end_batch(
    connection: Connection, batch_id: int, *, failed_step: str | None = None, message: str | None = None
) -> None:
    """Close the batch: succeeded, or failed with the step and its reason (which must hold no patient data)."""
    with connection.transaction():
        ended = connection.execute(
            "update audit.batches set state = %s, completed_at = now(), failed_step = %s, error_message = %s"
            # A transaction of the batch that is still under way holds this up.
            " where batch_id = ("
            " select batch_id from audit.batches where batch_id = %s and state = 'running' for update)",
            ["failed" if failed_step else "succeeded", failed_step, message, batch_id],
        ).rowcount
        if ended:
            _end_steps(connection, batch_id)


def has_succeeded(connection: Connection, batch_id: int) -> bool:
    """Whether the batch did all that it had to."""
    row = connection.execute(
        "select 1 from audit.batches where batch_id = %s and state = 'succeeded'", [batch_id]
    ).fetchone()
    return row is not None


def _end_steps(connection: Connection, batch_id: int) -> None:
    """Steps whose process died without a word end with their batch; one that yet lives says itself how it ended."""
    connection.execute(
        "update audit.batch_steps set state = 'failed', completed_at = clock_timestamp()"
        " where batch_id = %s and state = 'running'",
        [batch_id],
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
            # A retry may start while the first try still runs: one after the other they count their attempts.
            connection.execute("select pg_advisory_xact_lock(hashtext('medilink steps'))")
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
            continue  # Somebody looks whether the batch is dead; the next renewal tells.
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


def release_file(connection: Connection, file_id: int, by: str, reason: str | None = None) -> None:
    """Let a held file pass what it is held for: the next run stages and promotes its archived bytes.

    Raises `NotDecidable` unless it is held, and for something that can be waived.
    """
    with connection.transaction():
        status, code = _decidable(connection, file_id)
        if status != FileStatus.HELD:
            raise NotDecidable(f"file {file_id} is {status}; only a held file can be released.")
        if code not in WAIVABLE:
            raise NotDecidable(
                f"file {file_id} is held for {code}: its bytes cannot be split into rows, so there is nothing to let "
                f"through. Correct it and drop it again, or end it: medilink files reject {file_id} --reason …"
            )
        _take_up_again(connection, file_id)
        connection.execute("update audit.ingest_files set waived = waived || %s where file_id = %s", [[code], file_id])
        _record(connection, file_id, Decision.RELEASE, code, by, reason)


def reject_file(connection: Connection, file_id: int, by: str, reason: str) -> None:
    """End a held file for good; raises `NotDecidable` unless it is held."""
    with connection.transaction():
        status, code = _decidable(connection, file_id)
        if status != FileStatus.HELD:
            raise NotDecidable(f"file {file_id} is {status}; only a held file can be rejected.")
        connection.execute(
            "update audit.ingest_files set status = %s where file_id = %s", [FileStatus.REJECTED, file_id]
        )
        _record(connection, file_id, Decision.REJECT, code, by, reason)


def reprocess_file(connection: Connection, file_id: int, by: str, reason: str | None = None) -> int:
    """Let the next run promote a file's archived bytes again, under the rules of that day; returns the ledger's file.

    What was promoted keeps its counts, and its bytes enter the ledger as a file of their own; a file that was refused
    is tried again itself. Raises `NotDecidable` where there are no bytes to take, or a run has yet to take them.
    """
    with connection.transaction():
        status, code = _decidable(connection, file_id)
        if status in (FileStatus.HELD, FileStatus.REJECTED):
            _take_up_again(connection, file_id)
            new_id = file_id
        elif status in (FileStatus.PROMOTED, FileStatus.PUBLISHED, FileStatus.ARCHIVED):
            row = connection.execute(
                """
                insert into audit.ingest_files (
                    input_key, version_id, etag, size_bytes, last_modified, feed, batch_id, status, sha256, archive_key,
                    archive_etag, reprocess_of, claimed_at, input_released_at
                )
                select
                    input_key, version_id, etag, size_bytes, last_modified, feed, batch_id, 'claimed', sha256,
                    archive_key, archive_etag, coalesce(reprocess_of, file_id), now(), now()
                from audit.ingest_files where file_id = %s
                on conflict do nothing
                returning file_id
                """,
                [file_id],
            ).fetchone()
            if row is None:
                raise NotDecidable(f"file {file_id} waits to be promoted again already: medilink run")
            new_id = row[0]
        elif status == FileStatus.DUPLICATE:
            raise NotDecidable(f"file {file_id} is a duplicate of what was promoted before: reprocess that file.")
        else:
            raise NotDecidable(f"file {file_id} is {status}: the next run takes it up by itself.")
        _record(connection, file_id, Decision.REPROCESS, code, by, reason)
    return new_id


def _decidable(connection: Connection, file_id: int) -> tuple[str, str | None]:
    """Status and code of a file, held for this transaction."""
    row = connection.execute(
        "select status, error_code from audit.ingest_files where file_id = %s for update", [file_id]
    ).fetchone()
    if row is None:
        raise NotDecidable(f"there is no file {file_id}. Their ids: medilink files")
    return row[0], row[1]


def _take_up_again(connection: Connection, file_id: int) -> None:
    """Put a refused file back to where its bytes are known and nothing else."""
    taken = connection.execute(
        """
        update audit.ingest_files
        set status = %s, error_code = null, error_message = null, warning = null, is_correction = false
        where file_id = %s and archive_key is not null
        """,
        [FileStatus.CLAIMED, file_id],
    ).rowcount
    if not taken:
        raise NotDecidable(f"file {file_id} was never claimed: the archive has no bytes of it. Drop it again.")


def _record(
    connection: Connection, file_id: int, decision: Decision, code: str | None, by: str, reason: str | None
) -> None:
    connection.execute(
        "insert into audit.file_decisions (file_id, decision, error_code, decided_by, reason)"
        " values (%s, %s, %s, %s, %s)",
        [file_id, decision, code, by, reason],
    )


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


@dataclass(frozen=True)
class WaitingManifest:
    """One version of a manifest in the input; `file_key` is the input object that it describes."""

    manifest_id: int
    input_key: str
    file_key: str
    version_id: str | None
    etag: str
    last_modified: datetime


MANIFEST_COLUMNS = ", ".join(f"manifests.{name}" for name in WaitingManifest.__dataclass_fields__)


def waiting_manifests(connection: Connection, file_key: str | None = None) -> list[WaitingManifest]:
    """The manifests whose file was not claimed yet: all of them, or those of one input object; the newest first."""
    with connection.cursor(row_factory=class_row(WaitingManifest)) as cursor:
        return cursor.execute(
            f"""
            select {MANIFEST_COLUMNS} from audit.manifests
            where file_id is null and input_released_at is null and (%(key)s::text is null or file_key = %(key)s)
            order by last_modified desc, manifest_id desc
            """,
            {"key": file_key},
        ).fetchall()


def manifests_done_with(connection: Connection) -> list[WaitingManifest]:
    """The manifests whose file was let go, and which still lie in the input."""
    with connection.cursor(row_factory=class_row(WaitingManifest)) as cursor:
        return cursor.execute(
            f"""
            select {MANIFEST_COLUMNS} from audit.manifests
            inner join audit.ingest_files using (file_id)
            where manifests.input_released_at is null and ingest_files.input_released_at is not null
            order by manifest_id
            """
        ).fetchall()


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
