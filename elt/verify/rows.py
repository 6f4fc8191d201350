"""Rows: each delivered record in exactly one place, and every count as it was counted."""

from __future__ import annotations

from collections.abc import Iterator

from psycopg import Connection, sql

from elt.contract import FEEDS, Contract, contract
from elt.verify.finding import Finding
from elt.vocabulary import Disposition

PROMOTED = "('promoted', 'published', 'archived')"

# Where a row first came from, and where its present values did.
ORIGINS = "id, source, _first_file_id, _first_row, _first_batch_id, _last_file_id, _last_row, _last_batch_id"

# Rows of one feed that files brought, where each first came from, and whether that delivery counted it as refused: it
# entered later then, out of quarantine. `{known}`: they stand there, or stood until a later publication withdrew them.
STANDING = """
    (
        select
            id, _first_file_id as file_id, _first_row as row_number, _first_batch_id as batch_id,
            sightings.file_id is not null as was_refused
        from {known}
        left join quarantine.sightings
            on (sightings.file_id, sightings.row_number) = (_first_file_id, _first_row)
        where source = 'drop'
    ) as standing
"""

COUNTS = ", ".join(f"records_{disposition}" for disposition in Disposition)

RESTORE = "rows were added or removed behind the pipeline's back, or it has a defect: restore, or reprocess the file"

# Asked of each feed: check, query of subject and problem, advice.
OF_EACH_FEED: tuple[tuple[str, str, str], ...] = (
    (
        "file identity",
        f"""
        with

        rows_inserted as (

            select file_id, count(*) as inserted from {STANDING} where not was_refused group by file_id

        ),

        rows_updated as (

            select _last_file_id as file_id, count(*) as updated
            from {{known}}
            where _last_file_id is not null
                and (_last_file_id, _last_row) is distinct from (_first_file_id, _first_row)
                and not exists (
                    select from quarantine.sightings
                    where (sightings.file_id, sightings.row_number) = (_last_file_id, _last_row)
                )
            group by 1

        ),

        rows_refused as (

            select
                file_id,
                count(*) filter (where sightings.disposition = 'parked') as parked,
                count(*) filter (where sightings.disposition = 'failed') as failed
            from quarantine.sightings
            group by file_id

        ),

        -- What was lost may have been entered again from the same bytes.
        rows_restored as (

            select again.reprocess_of as file_id, count(*) as restored
            from {STANDING}
            inner join audit.ingest_files as again using (file_id)
            where again.reprocess_of is not null and not exists (
                select from quarantine.sightings
                where (sightings.file_id, sightings.row_number) = (again.reprocess_of, standing.row_number)
            )
            group by 1

        )

        select
            'file ' || file_id,
            'the ledger counts ' || records_inserted || ' inserted, ' || records_updated || ' updated, '
            || records_parked || ' parked and ' || records_failed || ' failed rows; there are '
            || coalesce(inserted, 0) || ', ' || coalesce(updated, 0) || ' with its values, '
            || coalesce(parked, 0) || ' and ' || coalesce(failed, 0)
        from audit.ingest_files
        left join rows_inserted using (file_id)
        left join rows_updated using (file_id)
        left join rows_refused using (file_id)
        left join rows_restored using (file_id)
        where feed = '{{feed}}' and status in {PROMOTED}
            and (
                (records_parked, records_failed) is distinct from (coalesce(parked, 0), coalesce(failed, 0))
                or records_inserted not between coalesce(inserted, 0)
                    and coalesce(inserted, 0) + coalesce(restored, 0)
                -- A later delivery may have put its own values over them.
                or records_updated < coalesce(updated, 0)
            )
        """,
        RESTORE,
    ),
    (
        "staged rows",
        """
        select 'file ' || file_id, 'its ' || records_processed || ' records are ' || staged || ' in staging'
        from audit.ingest_files
        inner join (select _file_id as file_id, count(*) as staged from staging.{feed} group by 1) as _ using (file_id)
        where staged is distinct from records_processed
        """,
        "stage the file anew from its archive copy",
    ),
    (
        "entered rows",
        f"""
        with

        logged as (

            select batch_id, sum(records_inserted) as inserted
            from audit.etl_audit_log where table_name = '{{feed}}' group by 1

        ),

        entered as (

            select batch_id, count(*) as entered from {STANDING} group by 1

        ),

        restored as (

            select max(again.batch_id) as newest_batch_id, count(*) as restored
            from {STANDING}
            inner join audit.ingest_files as again using (file_id)
            where again.reprocess_of is not null

        )

        select
            'batch ' || batch_id || ' {{feed}}',
            'the audit log counts ' || coalesce(inserted, 0) || ' inserted rows, the table holds '
            || coalesce(entered, 0)
        from logged
        full join entered using (batch_id)
        left join restored on newest_batch_id > batch_id
        where coalesce(inserted, 0) not between coalesce(entered, 0) and coalesce(entered, 0) + coalesce(restored, 0)
        """,
        "rows were added or removed behind the pipeline's back, or it has a defect: restore the table",
    ),
    (
        "each row once",
        f"""
        select
            '{{feed}} sha256 ' || left(sha256, 12) || ' row ' || row_number,
            'stands ' || count(*) || ' times in public and open quarantine'
        from (
            select file_id, row_number from {STANDING}
            union all
            select file_id, row_number from quarantine.entries where closed_at is null and feed = '{{feed}}'
        ) as rows
        inner join audit.ingest_files using (file_id)
        group by sha256, row_number having count(*) > 1
        union all
        select
            '{{feed}} file ' || standing.file_id || ' row ' || standing.row_number,
            'stands in public, and its quarantine entry ' || entries.quarantine_id || ' is open'
        from {STANDING}
        inner join quarantine.sightings
            on (sightings.file_id, sightings.row_number) = (standing.file_id, standing.row_number)
        inner join quarantine.entries using (quarantine_id)
        where was_refused and entries.closed_at is null
            and (entries.file_id, entries.row_number) <> (standing.file_id, standing.row_number)
        """,
        "one delivered row counts twice: find the batches that entered it, and remove the later row",
    ),
    (
        "each entity once",
        """
        select '{feed} ' || min(id), 'and ' || count(*) - 1 || ' other rows bear the same key'
        from public.{table} group by _key having count(*) > 1
        """,
        "the unique index of the key is gone or broken: merge the rows, and make it anew",
    ),
    (
        "provenance",
        f"""
        select '{{feed}} ' || min(rows.id) || ' and ' || count(*) - 1 || ' more', problem
        from public.{{table}} as rows
        left join audit.ingest_files as first on first.file_id = rows._first_file_id
        left join audit.ingest_files as last on last.file_id = rows._last_file_id
        cross join lateral (
            select case
                when rows.source = 'drop' and num_nulls(rows._first_file_id, rows._first_row, rows._first_batch_id) > 0
                    then 'a file brought it, and it does not say which, in which row and batch'
                when rows.source = 'api'
                    and num_nonnulls(rows._first_file_id, rows._first_row, rows._first_batch_id) > 0
                    then 'the API made it, and it names a file that brought it'
                when num_nulls(rows._last_file_id, rows._last_row, rows._last_batch_id) not in (0, 3)
                    or rows.source = 'drop' and rows._last_file_id is null
                    then 'it does not say whole where its present values came from'
                when rows._first_file_id is not null and first.feed is distinct from '{{feed}}'
                    or rows._last_file_id is not null and last.feed is distinct from '{{feed}}'
                    then 'it names a file that the ledger does not know, or knows as another feed''s'
                when first.status not in {PROMOTED} or last.status not in {PROMOTED}
                    then 'it comes from a file that was never promoted'
                when rows._first_batch_id not in (select batch_id from audit.batches)
                    or rows._last_batch_id not in (select batch_id from audit.batches)
                    then 'it names a batch that there never was'
            end as problem
        ) as judged
        where problem is not null
        group by problem
        """,
        "rows or ledger were changed by hand, or the pipeline has a defect: restore the table or the ledger",
    ),
    (
        "ids",
        f"""
        select
            '{{feed}} ' || min(id) || ' and ' || count(*) - 1 || ' more',
            'rows of file ' || file_id || ' and the ids they bear are not in one order'
        from (
            select
                id, file_id, row_number,
                lag(row_number) over (partition by file_id order by id) as row_before,
                lag(file_id) over (order by id) as file_before,
                min(id) over (partition by file_id) as first_id
            from {STANDING} where not was_refused
        ) as placed
        where row_before > row_number or (file_before <> file_id and id <> first_id)
        group by file_id
        """,
        "ids are given once, in the order of the file: somebody changed or used them again; restore the table",
    ),
)

# Asked once.
OF_ALL: tuple[tuple[str, str, str], ...] = (
    (
        "six-way identity",
        f"""
        select 'file ' || file_id, 'of ' || records_processed || ' records, ' || accounted || ' have a disposition'
        from audit.ingest_files
        cross join lateral (select sum(number) as accounted from unnest(array[{COUNTS}]) as _ (number)) as counted
        where status in {PROMOTED} and accounted is distinct from records_processed
        union all
        select
            'batch ' || batch_id || ' ' || table_name || ' (' || origin || ')',
            'of ' || records_processed || ' records, ' || accounted || ' have a disposition'
        from audit.etl_audit_log
        cross join lateral (select sum(number) as accounted from unnest(array[{COUNTS}]) as _ (number)) as counted
        where accounted is distinct from records_processed
        union all
        select named.name, 'its constraint six_way_identity is gone or not validated'
        from (values ('audit.ingest_files'), ('audit.etl_audit_log')) as named (name)
        where not exists (
            select from pg_constraint
            where conrelid = named.name::regclass and conname = 'six_way_identity' and convalidated
        )
        """,
        "the constraint was switched off: restore the counts, and put it back as the migration has it",
    ),
    (
        "audit log",
        f"""
        select
            'batch ' || coalesce(files.batch_id, log.batch_id) || ' ' || coalesce(files.feed, log.table_name),
            'the audit log does not hold the sum of the batch''s files'
        from (
            select
                batch_id, feed,
                array[
                    sum(records_processed), sum(records_inserted), sum(records_updated), sum(records_unchanged),
                    sum(records_duplicate), sum(records_parked), sum(records_failed)
                ] as counts
            from audit.ingest_files where status in {PROMOTED} group by 1, 2
        ) as files
        full join (
            select
                batch_id, table_name,
                array[
                    records_processed, records_inserted, records_updated, records_unchanged,
                    records_duplicate, records_parked, records_failed
                ]::numeric[] as counts
            from audit.etl_audit_log where origin = 'drop'
        ) as log on (log.batch_id, log.table_name) = (files.batch_id, files.feed)
        where files.counts is distinct from log.counts
        """,
        (
            "the audit log was changed by hand, or the pipeline has a defect: "
            "the ledger's counts are the ones the database checked"
        ),
    ),
    (
        "quarantine",
        """
        select 'entry ' || min(quarantine_id) || ' and ' || count(*) - 1 || ' more', 'no delivery of its row is known'
        from quarantine.entries
        where not exists (
            select from quarantine.sightings
            where (sightings.file_id, sightings.row_number) = (entries.file_id, entries.row_number)
        )
        having count(*) > 0
        """,
        RESTORE,
    ),
    (
        "claimed bytes",
        f"""
        select 'file ' || later.file_id, 'the same bytes as file ' || min(earlier.file_id) || ' were promoted again'
        from audit.ingest_files as later inner join audit.ingest_files as earlier using (sha256, feed)
        where later.status in {PROMOTED} and earlier.status in {PROMOTED} and earlier.file_id < later.file_id
            and later.reprocess_of is null
        group by later.file_id
        """,
        "known bytes count once: find out how the file was promoted twice",
    ),
    (
        "steps",
        """
        select 'batch ' || batch_id || ' ' || step || ' attempt ' || attempt, 'is said to run, and its batch has ended'
        from audit.batch_steps inner join audit.batches using (batch_id)
        where batch_steps.state = 'running' and batches.state <> 'running'
        """,
        "its process died without a word: set its state to failed",
    ),
)

# Every generated id, and the sequence that makes it.
SEQUENCES = """
    select
        relation.relnamespace::regnamespace::text, relation.relname::text, attname::text, sequence.objid::regclass::text
    from pg_attribute
    inner join pg_class as relation on relation.oid = attrelid
    inner join pg_depend as sequence
        on sequence.refobjid = attrelid and sequence.refobjsubid = attnum and sequence.deptype = 'i'
        and sequence.classid = 'pg_class'::regclass
    where attidentity <> '' and relation.relnamespace::regnamespace::text in ('public', 'quarantine', 'audit')
    order by 1, 2
"""


def check_rows(connection: Connection) -> Iterator[Finding]:
    """Every count recomputed, every row's origin looked up, of what the transaction sees."""
    for name, query, advice in OF_ALL:
        yield from _ask(connection, name, query, advice)
    for feed in FEEDS:
        for name, query, advice in OF_EACH_FEED:
            yield from _ask(connection, name, _of(contract(feed), query), advice)
    yield from _check_sequences(connection)


def _of(feed: Contract, query: str) -> str:
    tables = [f"public.{feed.table}", *(["audit.withdrawn_returns"] if feed.replaces else [])]
    known = " union all ".join(f"select {ORIGINS} from {table}" for table in tables)
    return query.replace("{known}", f"({known}) as known").replace("{table}", feed.table).replace("{feed}", feed.feed)


def _ask(connection: Connection, name: str, query: str, advice: str) -> Iterator[Finding]:
    for subject, problem in connection.execute(query.encode()).fetchall():
        yield Finding(name, subject, problem, advice)


def _check_sequences(connection: Connection) -> Iterator[Finding]:
    """No sequence may ever give an id that it gave before."""
    for schema, table, column, sequence in connection.execute(SEQUENCES).fetchall():
        row = connection.execute(
            sql.SQL(
                "select max({column}), pg_sequence_last_value({sequence}), seqincrement > 0 and not seqcycle"
                " from {table} cross join pg_sequence where seqrelid = {sequence}::regclass group by 2, 3"
            ).format(column=sql.Identifier(column), table=sql.Identifier(schema, table), sequence=sql.Literal(sequence))
        ).fetchone()
        if row is None:
            continue
        highest, last, is_sound = row
        if highest > (last or 0) or not is_sound:
            yield Finding(
                "ids",
                f"{schema}.{table}",
                f"its highest {column} is {highest}, and {sequence} stands at {last or 0}: ids would be given twice",
                f"setval the sequence to the highest {column} or above, increment 1, no cycle",
            )
