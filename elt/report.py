"""What a run did, read from the audit tables: files, rows by disposition, models, tests, steps."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from psycopg import Connection
from psycopg.rows import class_row, dict_row

from elt.vocabulary import ROW_ADVICE, RowCode

# Parked rows that wait longer than this are named: what they wait for may never come.
AGEING_DAYS = 7


@dataclass(frozen=True)
class FileReport:
    """One file of a batch; counts are None for files that were not promoted."""

    input_key: str
    feed: str | None
    status: str
    error_code: str | None
    error_message: str | None
    warning: str | None
    records_processed: int | None
    inserted: int | None
    updated: int | None
    unchanged: int | None
    duplicate: int | None
    parked: int | None
    failed: int | None


@dataclass(frozen=True)
class EntityReport:
    """One production table: what became of the rows delivered (drop) or parked before (replay)."""

    table_name: str
    origin: str
    records_processed: int
    inserted: int
    updated: int
    unchanged: int
    duplicate: int
    parked: int
    failed: int


@dataclass(frozen=True)
class QuarantineReport:
    """Rows of this batch's files that failed or wait for one reason, and where the first of them stands."""

    feed: str
    disposition: str
    error_code: str
    rows: int
    input_key: str
    row_number: int

    def __str__(self) -> str:
        """What, where and what next, in one line without any value."""
        state = "wait" if self.disposition == "parked" else "failed"
        place = "row" if self.input_key.lower().endswith((".xlsx", ".xls")) else "line"
        where = f"{self.input_key.rpartition('/')[2]} {place} {self.row_number}"
        advice = ROW_ADVICE[RowCode(self.error_code)]
        return f"{self.feed}: {self.rows:,} {state} as {self.error_code}, first at {where}: {advice}"


@dataclass(frozen=True)
class StepReport:
    """The last attempt of a step; seconds so far while it runs."""

    step: str
    state: str
    seconds: float


@dataclass(frozen=True)
class BatchReport:
    """One run of the pipeline."""

    batch_id: int
    run_key: str
    state: str
    error_message: str | None
    started_at: datetime
    completed_at: datetime | None
    files: list[FileReport]
    entities: list[EntityReport]
    quarantine: list[QuarantineReport]
    models_built: int
    tests_passed: int
    tests_warned: int
    tests_failed: int
    steps: list[StepReport]
    warnings: list[str]


@dataclass(frozen=True)
class HistoryFile:
    """One file of the load history."""

    file_id: int
    batch_id: int
    file: str
    feed: str | None
    status: str
    records: int | None
    inserted: int | None
    updated: int | None
    unchanged: int | None
    duplicate: int | None
    parked: int | None
    failed: int | None
    discovered_at: datetime
    error_code: str | None
    message: str | None


@dataclass(frozen=True)
class AuditRow:
    """What became of the rows of one batch and production table."""

    batch_id: int
    state: str
    table_name: str
    origin: str
    records: int
    inserted: int
    updated: int
    unchanged: int
    duplicate: int
    parked: int
    failed: int
    completed_at: datetime | None


COUNTS = ", ".join(
    f"records_{name} as {name}" for name in ("inserted", "updated", "unchanged", "duplicate", "parked", "failed")
)


def batch_report(connection: Connection, run_key: str | None = None) -> BatchReport | None:
    """The batch of that run, or the newest; None when there is none."""
    with connection.cursor(row_factory=dict_row) as cursor:
        batch = cursor.execute(
            """
            select batch_id, run_key, state, error_message, started_at, completed_at from audit.batches
            where %(key)s::text is null or run_key = %(key)s
            order by batch_id desc limit 1
            """,
            {"key": run_key},
        ).fetchone()
        if batch is None:
            return None
        arguments = {"batch": batch["batch_id"]}
        nodes = cursor.execute(
            """
            select
                count(*) filter (where resource_type = 'model' and status = 'success') as models_built,
                count(*) filter (where is_test and status = 'pass') as tests_passed,
                count(*) filter (where is_test and status = 'warn') as tests_warned,
                count(*) filter (where is_test and status in ('fail', 'error')) as tests_failed
            from (select *, resource_type in ('test', 'unit_test') as is_test from audit.dbt_results) as results
            where batch_id = %(batch)s
            """,
            arguments,
        ).fetchall()[0]
    with connection.cursor(row_factory=class_row(FileReport)) as cursor:
        files = cursor.execute(
            f"""
            select input_key, feed, status, error_code, error_message, warning, records_processed, {COUNTS}
            from audit.ingest_files where batch_id = %(batch)s order by file_id
            """,
            arguments,
        ).fetchall()
    with connection.cursor(row_factory=class_row(EntityReport)) as cursor:
        entities = cursor.execute(
            f"""
            select table_name, origin, records_processed, {COUNTS}
            from audit.etl_audit_log where batch_id = %(batch)s order by started_at, origin desc
            """,
            arguments,
        ).fetchall()
    with connection.cursor(row_factory=class_row(QuarantineReport)) as cursor:
        quarantine = cursor.execute(
            """
            select distinct on (feed, disposition, error_code)
                entries.feed, sightings.disposition, entries.error_code,
                count(*) over (partition by entries.feed, sightings.disposition, entries.error_code) as rows,
                ingest_files.input_key, sightings.row_number
            from quarantine.sightings
            inner join quarantine.entries using (quarantine_id)
            inner join audit.ingest_files on ingest_files.file_id = sightings.file_id
            where ingest_files.batch_id = %(batch)s
            order by feed, disposition, error_code, sightings.file_id, row_number
            """,
            arguments,
        ).fetchall()
    with connection.cursor(row_factory=class_row(StepReport)) as cursor:
        steps = cursor.execute(
            """
            select
                step, state,
                extract(epoch from coalesce(completed_at, clock_timestamp()) - started_at)::float as seconds
            from (
                select distinct on (step) * from audit.batch_steps
                where batch_id = %(batch)s
                order by step, attempt desc
            ) as latest
            order by started_at
            """,
            arguments,
        ).fetchall()
    return BatchReport(
        **batch,
        files=files,
        entities=entities,
        quarantine=quarantine,
        **nodes,
        steps=steps,
        warnings=_warnings(connection),
    )


def _warnings(connection: Connection) -> list[str]:
    """What waits for somebody now, as counts; the commands that name it."""
    waits = (
        (
            f"""
            select count(*) from quarantine.entries
            where closed_at is null and disposition = 'parked' and opened_at < now() - interval '{AGEING_DAYS} days'
            """,
            f"rows are parked for more than {AGEING_DAYS} days: medilink quarantine ageing",
        ),
        (
            "select count(*) from audit.ingest_files where status = 'held'",
            "files are held: medilink files --status held",
        ),
        (
            "select count(*) from audit.manifests where file_id is null and input_released_at is null",
            "manifests wait for their file: medilink files manifests",
        ),
    )
    counts = [(connection.execute(query).fetchall()[0][0], words) for query, words in waits]
    return [f"{count} {words}" for count, words in counts if count]


def load_history(
    connection: Connection,
    feed: str | None = None,
    status: str | None = None,
    batch_id: int | None = None,
    limit: int = 50,
) -> list[HistoryFile]:
    """The newest files of the ledger, narrowed down to a feed, a status, a batch."""
    with connection.cursor(row_factory=class_row(HistoryFile)) as cursor:
        return cursor.execute(
            f"""
            select
                file_id, batch_id, regexp_replace(input_key, '^.*/', '') as file, feed, status,
                records_processed as records, {COUNTS}, discovered_at, error_code,
                coalesce(error_message, warning) as message
            from audit.ingest_files
            where (%(feed)s::text is null or feed = %(feed)s)
                and (%(status)s::text is null or status = %(status)s)
                and (%(batch)s::bigint is null or batch_id = %(batch)s)
            order by file_id desc limit %(limit)s
            """,
            {"feed": feed, "status": status, "batch": batch_id, "limit": limit},
        ).fetchall()


def audit_log(
    connection: Connection, table: str | None = None, batch_id: int | None = None, limit: int = 50
) -> list[AuditRow]:
    """The newest rows of `audit.etl_audit_log`, narrowed down to a table, a batch."""
    with connection.cursor(row_factory=class_row(AuditRow)) as cursor:
        return cursor.execute(
            f"""
            select
                batch_id, state, table_name, origin, records_processed as records, {COUNTS}, log.completed_at
            from audit.etl_audit_log as log
            inner join audit.batches using (batch_id)
            where (%(table)s::text is null or table_name = %(table)s)
                and (%(batch)s::bigint is null or batch_id = %(batch)s)
            order by batch_id desc, log.started_at, origin desc limit %(limit)s
            """,
            {"table": table, "batch": batch_id, "limit": limit},
        ).fetchall()
