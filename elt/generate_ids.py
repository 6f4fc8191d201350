"""Promote: check every staged row, give new entities their ids, and enter them into the production tables.

Every record of a file ends in exactly one disposition (feeds.md): one transaction a file holds its rows, its quarantine
entries, its counts and its ledger row, and the database refuses it if the counts do not add up. Parked rows are tried
again first, because they were delivered before. All of it is set-based SQL; the names in it come from the contracts,
never from data.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

from psycopg import Connection
from psycopg.rows import scalar_row

from elt import audit, checks, revisions
from elt.audit import LedgerFile
from elt.contract import FEEDS, Contract, contract
from elt.vocabulary import Disposition, FileCode, FileStatus, RowCode

PROMOTION = Path(__file__).parent / "promotion"

# What the promotion statement of a feed yields beside the production columns.
BOOKKEEPING = ("file_id", "row_number", "key", "code", "code_column", "candidates")

# The entry that a row of a quarantine export names; spreadsheets write whole numbers in more than one way.
NAMED_ID = r"""
    case when btrim(_quarantine_id) ~ '^[0-9]{1,18}([.]0+)?$' then split_part(btrim(_quarantine_id), '.', 1)::bigint end
"""

TEMPORARY = ("outcome", "repeated", "resolved", "sound", "incoming")

# The dispositions of rows that end in quarantine.
REFUSED = {Disposition.PARKED, Disposition.FAILED}

# Of so few rows the planner needs no statistics.
FEW_ROWS = 1000


# How the rows of a query get into a temporary table of that name; returns how many did.
Put = Callable[[Connection, str, str], int]


def promote(connection: Connection, batch_id: int, feeds: tuple[str, ...] = FEEDS) -> None:
    """Promote everything of these feeds staged in this batch, feed by feed.

    First come the parked rows that can be resolved now, then the new files.
    """
    for feed in feeds:
        _make_tables(connection, contract(feed))
        _replay(connection, batch_id, contract(feed))
        for file in audit.files(connection, batch_id, FileStatus.STAGED, feed):
            _promote_file(connection, file, contract(feed))


def replay(connection: Connection, batch_id: int) -> None:
    """Try the parked rows again, and nothing else."""
    for feed in FEEDS:
        _make_tables(connection, contract(feed))
        _replay(connection, batch_id, contract(feed))


def _make_tables(connection: Connection, feed: Contract) -> None:
    """The temporary tables for the rows of a feed: made anew for each file, they would cost more than a small file."""
    with connection.transaction():
        connection.execute(f"drop table if exists {', '.join(TEMPORARY)}")
        nothing = f"select *, null::bigint as quarantine_id, null::uuid as conflict_hash from staging.{feed.feed}"
        _decide(connection, feed, nothing, _make)


def _promote_file(connection: Connection, file: LedgerFile, feed: Contract) -> None:
    try:
        with connection.transaction():
            audit.assert_running(connection, file.batch_id)
            if not audit.lock_file(connection, file.batch_id, file.file_id, FileStatus.STAGED):
                return
            if _is_duplicate(connection, file):
                return
            counts = _decide(connection, feed, _returned(feed, file) if file.is_correction else _delivered(feed, file))
            processed = file.records_processed or 0
            if Disposition.FAILED in counts:
                _assert_within_limit(connection, feed, file, processed)
            if feed.replaces:
                revisions.replace(connection, feed, file)
            _enter(connection, feed, file.batch_id, counts, is_delivery=file.reprocess_of is None)
            if feed.clock and Disposition.UNCHANGED in counts:
                _note_older(connection, feed, file)
            if file.is_correction:
                _note_strangers(connection, file)
                _update_returned(connection, feed, file.batch_id)
            if REFUSED & counts.keys():
                _quarantine(connection, feed, file.batch_id)
            _close_corrected(connection, feed, file.batch_id)
            audit.add_counts(connection, file.batch_id, feed.feed, "drop", processed, counts)
            columns = ", ".join(f"records_{disposition} = %s" for disposition in Disposition)
            connection.execute(
                f"update audit.ingest_files set status = %s, promoted_at = now(), {columns} where file_id = %s",
                [FileStatus.PROMOTED, *(counts.get(disposition, 0) for disposition in Disposition), file.file_id],
            )
        if (inserted := counts.get(Disposition.INSERTED, 0)) > FEW_ROWS:
            _refresh_statistics(connection, feed, inserted)
    except audit.Refused as refused:
        with connection.transaction():
            audit.assert_running(connection, file.batch_id)
            audit.refuse_file(connection, file.file_id, refused.status, refused.code, str(refused))
            connection.execute(f"delete from staging.{feed.feed} where _file_id = %s", [file.file_id])


def _refresh_statistics(connection: Connection, feed: Contract, inserted: int) -> None:
    """Let the planner know of a table that has grown much: the next feed refers to it before autovacuum comes by."""
    with connection.transaction():
        known = connection.execute(
            "select greatest(reltuples, 0) from pg_class where oid = %s::regclass", [f"public.{feed.table}"]
        ).fetchone()
        if known and inserted > 0.1 * known[0]:
            connection.execute("set local role medilink_owner")  # Nobody else may.
            connection.execute(f"analyze public.{feed.table}")


def _assert_within_limit(connection: Connection, feed: Contract, file: LedgerFile, processed: int) -> None:
    """Raises `audit.Refused`; rows that came back out of quarantine and fail again are no news, and do not count."""
    if FileCode.TOO_MANY_REJECTS in file.waived:
        return
    failed = connection.execute(
        "select count(*) from outcome where disposition = 'failed' and quarantine_id is null"
    ).fetchone()[0]  # type: ignore[index]
    if failed > feed.reject_limit_rows and failed > feed.reject_limit_rate * processed:
        raise audit.Refused(
            FileStatus.HELD,
            FileCode.TOO_MANY_REJECTS,
            f"{failed} of {processed} rows break the contract, more than its limit of {feed.reject_limit_rate:.0%} and "
            f"{feed.reject_limit_rows} rows. Nothing of the file was promoted; correct it and drop it again, "
            f"or let it through: medilink files release {file.file_id}",
        )


def _is_duplicate(connection: Connection, file: LedgerFile) -> bool:
    """Whether the same bytes were promoted meanwhile under another name of this batch; then the file ends here."""
    if file.reprocess_of is not None:
        return False
    original = connection.execute(
        """
        select file_id from audit.ingest_files
        where sha256 = %s and feed = %s and status in ('promoted', 'published', 'archived')
        order by file_id limit 1
        """,
        [file.sha256, file.feed],
    ).fetchone()
    if original:
        connection.execute(
            "update audit.ingest_files set status = %s, duplicate_of = %s, records_processed = null where file_id = %s",
            [FileStatus.DUPLICATE, original[0], file.file_id],
        )
        connection.execute(f"delete from staging.{file.feed} where _file_id = %s", [file.file_id])
    return original is not None


def _replay(connection: Connection, batch_id: int, feed: Contract) -> None:
    """Try the feed's parked rows again.

    Those whose reference is found now are promoted, file by file in the order of delivery.
    """
    columns = ", ".join(f"parked.{column.name}" for column in feed.columns)
    source = f"""
        select
            {columns}, entry.file_id as _file_id, entry.row_number as _row_number,
            null::text as _reject_code, null::text as _reject_text, null::jsonb as _extra,
            entry.quarantine_id, null::uuid as conflict_hash
        from quarantine.entries as entry
        cross join lateral jsonb_populate_record(null::staging.{feed.feed}, entry.delivered) as parked
        where entry.feed = '{feed.feed}' and entry.disposition = 'parked' and entry.closed_at is null
    """
    with connection.transaction():
        audit.assert_running(connection, batch_id)
        if not connection.execute(f"select 1 from ({source}) as parked limit 1").fetchone():
            return
        _resolve(connection, feed, source)
        connection.execute(
            """
            create temp table replayable on commit preserve rows as
            select file_id, row_number, quarantine_id from sound where known_id is not null
            union all
            select sound.file_id, sound.row_number, sound.quarantine_id
            from resolved
            inner join sound using (file_id, row_number)
            where resolved.code is null
            """
        )
    try:
        with connection.cursor(row_factory=scalar_row) as cursor:
            file_ids = cursor.execute("select distinct file_id from replayable order by file_id").fetchall()
        for file_id in file_ids:
            of_file = f"""
                select source.* from ({source}) as source
                inner join replayable using (quarantine_id)
                where source._file_id = {file_id}
            """
            with connection.transaction():
                audit.assert_running(connection, batch_id)
                counts = _decide(connection, feed, of_file)
                _settle(connection, feed, batch_id, counts)
    finally:
        if not connection.broken:
            connection.execute("drop table if exists replayable")


def _delivered(feed: Contract, file: LedgerFile) -> str:
    """The rows of a file as they were staged."""
    return f"""
        select *, null::bigint as quarantine_id, null::uuid as conflict_hash
        from staging.{feed.feed} where _file_id = {file.file_id}
    """


def _returned(feed: Contract, file: LedgerFile) -> str:
    """The rows of a file in which rows of a quarantine export come back, each with the entry that it corrects.

    An id counts once, and only while its entry is open and of this feed; every other row is a row like any delivered.
    Rows that nobody touched stay what they were: a record that could not be placed into columns as long as no column
    is filled in, a contradicting row as long as it says the same (`conflict_hash`).
    """
    columns = ", ".join(f"named.{column.name}" for column in feed.columns)
    given = f"num_nonnulls({columns}) > 0"
    return f"""
        select
            {columns}, named._file_id, named._row_number, named._extra,
            coalesce(named._reject_code, case when not ({given}) then textual.error_code end) as _reject_code,
            coalesce(named._reject_text, case when not ({given}) then textual.delivered_text end) as _reject_text,
            entry.quarantine_id,
            case when entry.error_code = '{RowCode.CONFLICTING_KEY}' then entry.row_hash end as conflict_hash
        from (
            select *, row_number() over (partition by named_id order by _row_number) as nth
            from (
                select *, {NAMED_ID} as named_id from staging.{feed.feed} where _file_id = {file.file_id}
            ) as staged
        ) as named
        left join quarantine.entries as entry
            on entry.quarantine_id = named.named_id and named.nth = 1
            and entry.feed = '{feed.feed}' and entry.closed_at is null
        left join quarantine.entries as textual
            on textual.quarantine_id = entry.quarantine_id and textual.delivered is null
    """


def _note_older(connection: Connection, feed: Contract, file: LedgerFile) -> None:
    """Say in the ledger how many rows changed nothing because what they say is older than what is known."""
    connection.execute(
        f"""
        update audit.ingest_files
        set warning = concat_ws('; ', warning, older || ' rows are of an earlier {feed.clock} than is known of the same'
            ' {feed.identifier}, and changed nothing; if the earlier time is a correction, make it through the API')
        from (
            select count(*) as older from outcome where is_older and disposition = 'unchanged'
        ) as counted
        where file_id = %s and older > 0
        """,
        [file.file_id],
    )


def _note_strangers(connection: Connection, file: LedgerFile) -> None:
    """Say in the ledger how many rows named an entry that they could not correct."""
    connection.execute(
        f"""
        update audit.ingest_files
        set warning = concat_ws('; ', warning, strangers || ' rows name a quarantine entry that is closed, not of this'
            ' feed, not there, or named by an earlier row: they were taken as rows of their own, and closed nothing')
        from (
            select count(*) as strangers
            from staging.{file.feed} as staged
            inner join outcome on (outcome.file_id, outcome.row_number) = (staged._file_id, staged._row_number)
            where staged._quarantine_id is not null and outcome.quarantine_id is null
        ) as counted
        where file_id = %s and strangers > 0
        """,
        [file.file_id],
    )


def _settle(connection: Connection, feed: Contract, batch_id: int, counts: dict[Disposition, int]) -> None:
    """Enter replayed rows, and close their quarantine entries (or say why they fail now)."""
    processed = connection.execute("select count(*) from incoming").fetchone()[0]  # type: ignore[index]
    _enter(connection, feed, batch_id, counts, is_delivery=True)
    connection.execute(
        """
        update quarantine.entries as entry
        set closed_at = now(), closed_batch_id = %s, closed_reason = 'resolved'
        from outcome
        where entry.quarantine_id = outcome.quarantine_id and outcome.disposition not in ('parked', 'failed')
        """,
        [batch_id],
    )
    connection.execute(
        """
        update quarantine.entries as entry
        set disposition = outcome.disposition, error_code = outcome.code, error_column = outcome.code_column,
            errors = outcome.errors
        from outcome
        where entry.quarantine_id = outcome.quarantine_id and outcome.disposition = 'failed'
        """
    )
    audit.add_counts(connection, batch_id, feed.feed, "replay", processed, counts)


def _make(connection: Connection, table: str, query: str) -> int:
    """Make the temporary table that will hold the rows of such a query; each commit empties it."""
    return connection.execute(f"create temp table {table} on commit delete rows as {query} with no data").rowcount


def _fill(connection: Connection, table: str, query: str) -> int:
    """Put the rows of a query into its temporary table; returns their number."""
    return connection.execute(f"insert into {table} {query}").rowcount


def _resolve(connection: Connection, feed: Contract, source: str, put: Put = _fill) -> int:
    """Fill the temporary tables `incoming`, `sound` and `resolved`; returns the number of rows.

    `incoming` holds all rows, checked; `sound` the first of each kind, without errors. A sound row that stands in
    production as it was last delivered is known by its hash and needs no resolving.
    """
    connection.execute("set local work_mem = '128MB'")
    as_normalised = ", ".join(f"{checks.normalised(column)} as {column.name}" for column in feed.columns)
    as_canonical = ", ".join(f"{checks.canonical(column)} as {column.name}" for column in feed.columns)
    # `offset 0` keeps the planner from computing an expression once for each place that it is used in.
    incoming = f"""
        select
            *,
            case
                when _reject_code is not null then array[':' || _reject_code]
                when row_hash = conflict_hash then array[':{RowCode.CONFLICTING_KEY}']
                else {checks.errors(feed)}
            end as errors
        from (
            select
                *,
                case when _reject_code is null then {checks.row_hash(feed)} else md5(_reject_text)::uuid end as row_hash
            from (
                select
                    file_id, row_number, quarantine_id, conflict_hash, _reject_code, _reject_text, {as_canonical}
                from (
                    select
                        _file_id as file_id, _row_number as row_number, quarantine_id, conflict_hash,
                        _reject_code, _reject_text, {as_normalised}
                    from ({source}) as source
                    offset 0
                ) as normalised
                offset 0
            ) as spelled
            offset 0
        ) as hashed
    """
    rows = put(connection, "incoming", incoming)
    if rows > FEW_ROWS:
        connection.execute("analyze incoming")
    sound = f"""
        select distinct on (incoming.row_hash)
            file_id, row_number, quarantine_id, row_hash, {", ".join(f"incoming.{c.name}" for c in feed.columns)},
            known.id as known_id, known._key as known_key
        from incoming
        left join public.{feed.table} as known on known._delivered_hash = incoming.row_hash
        where errors = '{{}}'
        order by incoming.row_hash, incoming.row_number, known.id
    """
    put(connection, "sound", sound)
    if rows > FEW_ROWS:
        connection.execute("analyze sound")
    put(connection, "resolved", _promotion(feed, "known_id is null"))
    return rows


def _decide(connection: Connection, feed: Contract, source: str, put: Put = _fill) -> dict[Disposition, int]:
    """Fill the temporary table `outcome`, a row and a disposition for each row of `source`; returns the counts."""
    # Nobody writes this table meanwhile, so that what is decided here holds when it is entered.
    connection.execute(f"lock table public.{feed.table} in share row exclusive mode")
    rows = _resolve(connection, feed, source, put)
    _resolve_contested(connection, feed)
    production = _production(connection)
    attributes = ", ".join(f"resolved.{column}" for column in feed.attributes)
    # An event without an id that was delivered before is a duplicate; an entity, or an event with an id, is unchanged.
    known_again = (
        f"case when sound.{feed.identifier} is null then 'duplicate' else 'unchanged' end"
        if feed.identifier
        else "'unchanged'"
    )
    differs = " or ".join(_differs(feed, column, production[column]) for column in feed.attributes)
    moves = "known.patient_id <> resolved.patient_id" if "patient_id" in production else "false"
    is_older = (
        f"resolved.{feed.clock} < coalesce((known._overridden ->> '{feed.clock}')::timestamptz, known.{feed.clock})"
        if feed.clock
        else "false"
    )
    # Only where a key stands in the file more than once does the order of the rows matter.
    repeated = f"""
        select
            file_id, row_number, row_number() over by_key as nth,
            md5(row({attributes})::text) = first_value(md5(row({attributes})::text)) over by_key as agrees
        from resolved
        where code is null and key in (select key from resolved where code is null group by key having count(*) > 1)
        window by_key as (partition by key order by row_number)
    """
    put(connection, "repeated", repeated)
    if rows > FEW_ROWS:
        connection.execute("analyze resolved, repeated")
    columns = ", ".join(f"incoming.{column.name}" for column in feed.columns)
    # The key as delivered is asked for in quarantine only: of all rows where an open entry may have the same.
    waiting = connection.execute(
        "select 1 from quarantine.entries where feed = %s and closed_at is null and delivered_key is not null limit 1",
        [feed.feed],
    ).fetchone()
    by_key = "true" if waiting else "disposition in ('parked', 'failed')"
    outcome = f"""
        with ranked as (
            select
                resolved.file_id, resolved.row_number, resolved.candidates, resolved.code, resolved.code_column,
                known.id as known_id, sound.row_hash is not distinct from known._delivered_hash as is_as_delivered,
                coalesce({differs}, false) as differs, coalesce({moves}, false) as moves, {known_again} as known_again,
                coalesce({is_older}, false) as is_older,
                coalesce(repeated.nth, 1) as nth, repeated.agrees
            from resolved
            inner join sound using (file_id, row_number)
            left join public.{feed.table} as known on known._key = resolved.key
            left join repeated using (file_id, row_number)
        ),
        decided as (
            select
                file_id, row_number, known_id, candidates, differs and is_older as is_older,
                case
                    when code is not null then 'parked'
                    when moves then 'failed'
                    when nth > 1 and agrees then 'duplicate'
                    when nth > 1 then 'failed'
                    when known_id is null then 'inserted'
                    when is_as_delivered or not differs or is_older then known_again
                    else 'updated'
                end as disposition,
                case when code is not null then code when moves or nth > 1 then '{RowCode.CONFLICTING_KEY}' end as code,
                code_column
            from ranked
            union all
            select sound.file_id, sound.row_number, sound.known_id, null, false, {known_again}, null, null
            from sound
            where sound.known_id is not null and not exists (
                select from resolved where (resolved.file_id, resolved.row_number) = (sound.file_id, sound.row_number)
            )
        )
        select
            file_id, row_number, quarantine_id, row_hash, known_id, candidates, disposition, code, code_column, errors,
            _reject_text as delivered_text, null::jsonb as delivered, is_older,
            case when _reject_code is null and ({by_key}) then {checks.delivered_key(feed)} end as delivered_key
        from (
            select
                incoming.file_id, incoming.row_number, incoming.quarantine_id, incoming.row_hash,
                incoming._reject_code, incoming._reject_text, {columns},
                decided.known_id, decided.candidates, decided.is_older,
                case
                    when incoming.errors <> '{{}}' then 'failed'
                    when decided.disposition is null then 'duplicate'
                    else decided.disposition
                end as disposition,
                case
                    when incoming.errors <> '{{}}' then split_part(incoming.errors[1], ':', 2)
                    when decided.disposition in ('parked', 'failed') then decided.code
                end as code,
                case
                    when incoming.errors <> '{{}}' then nullif(split_part(incoming.errors[1], ':', 1), '')
                    when decided.disposition = 'parked' then decided.code_column
                end as code_column,
                case
                    when incoming.errors <> '{{}}' then (
                        select jsonb_agg(jsonb_build_object(
                            'column', nullif(split_part(error, ':', 1), ''), 'code', split_part(error, ':', 2)
                        ))
                        from unnest(incoming.errors) as error
                    )
                    when decided.disposition in ('parked', 'failed')
                        then jsonb_build_array(jsonb_build_object('column', decided.code_column, 'code', decided.code))
                end as errors
            from incoming
            left join decided using (file_id, row_number)
            offset 0
        ) as settled
    """
    put(connection, "outcome", outcome)
    counts = {
        Disposition(disposition): count
        for disposition, count in connection.execute("select disposition, count(*) from outcome group by disposition")
    }
    if REFUSED & counts.keys():
        delivered = ", ".join(f"'{column.name}', source.{column.name}" for column in feed.columns)
        # A source without statistics is taken for one row: it would be read once for each refused row.
        connection.execute("set local enable_nestloop = off")
        connection.execute(f"""
            update outcome
            set delivered = jsonb_strip_nulls(jsonb_build_object({delivered})) || coalesce(source._extra, '{{}}')
            from ({source}) as source
            where source._file_id = outcome.file_id and source._row_number = outcome.row_number
                and outcome.disposition in ('parked', 'failed') and source._reject_code is null
        """)
        connection.execute("set local enable_nestloop = on")
    if rows > FEW_ROWS:
        connection.execute("analyze outcome (disposition, row_hash, delivered_key, quarantine_id)")
    return counts


def _resolve_contested(connection: Connection, feed: Contract) -> None:
    """Known rows whose key another row of the file claims with other values take part in the decision.

    The first one is taken.
    """
    if not connection.execute("select 1 from sound where known_id is not null limit 1").fetchone():
        return
    contested = "known_id is not null and known_key in (select key from resolved where code is null)"
    if _fill(connection, "resolved", _promotion(feed, contested)):
        # What a known row refers to was settled when it was entered; it never moves afterwards.
        references = [column for column in ("facility_id", "patient_id") if column in _production(connection)]
        kept = "".join(f", {column} = known.{column}" for column in references)
        connection.execute(f"""
            update resolved
            set key = sound.known_key, code = null{kept}
            from sound
            inner join public.{feed.table} as known on known.id = sound.known_id
            where (sound.file_id, sound.row_number) = (resolved.file_id, resolved.row_number)
        """)


def _enter(
    connection: Connection, feed: Contract, batch_id: int, counts: dict[Disposition, int], *, is_delivery: bool
) -> None:
    """Insert what is new, in the order of the file; change what differs; count repeated events.

    Bytes that are promoted again are no delivery: they repeat nothing but what they enter themselves.
    """
    production = _production(connection)
    columns = ", ".join(production)
    values = ", ".join(f"resolved.{column}" for column in production)
    if Disposition.INSERTED in counts:
        connection.execute(
            f"""
            insert into public.{feed.table} (
                {columns}{", _key" if feed.identifier else ""}, _delivered_hash,
                _first_file_id, _first_row, _first_batch_id, _last_file_id, _last_row, _last_batch_id
            )
            select
                {values}{", resolved.key" if feed.identifier else ""}, outcome.row_hash,
                outcome.file_id, outcome.row_number, %(batch)s, outcome.file_id, outcome.row_number, %(batch)s
            from outcome
            inner join resolved using (file_id, row_number)
            where outcome.disposition = 'inserted'
            order by outcome.file_id, outcome.row_number
            """,
            {"batch": batch_id},
        )
    if Disposition.UPDATED in counts:
        changes = ", ".join(f"{column} = {_merged(feed, column, production[column])}" for column in feed.attributes)
        connection.execute(
            f"""
            update public.{feed.table} as known
            set {changes}, _overridden = {_still_overridden(feed, production)}, updated_at = now(),
                _delivered_hash = outcome.row_hash,
                _last_file_id = outcome.file_id, _last_row = outcome.row_number, _last_batch_id = %s
            from outcome
            inner join resolved using (file_id, row_number)
            where outcome.disposition = 'updated' and known.id = outcome.known_id
            """,
            [batch_id],
        )
    if feed.identifier and Disposition.DUPLICATE in counts:
        connection.execute(
            f"""
            update public.{feed.table} as known
            set times_delivered = known.times_delivered + repeated.times, last_delivered_at = now()
            from (
                select coalesce(sound.known_key, resolved.key) as key, count(*) as times
                from outcome
                inner join sound using (row_hash)
                left join resolved on (resolved.file_id, resolved.row_number) = (sound.file_id, sound.row_number)
                where outcome.disposition = 'duplicate' and sound.{feed.identifier} is null
                group by 1
            ) as repeated
            where known._key = repeated.key and (%s or known._first_batch_id = %s)
            """,
            [is_delivery, batch_id],
        )


def _update_returned(connection: Connection, feed: Contract, batch_id: int) -> None:
    """Put what came back and fails or waits again into the entries it corrects.

    An entry that came back as the row of another open entry is merged into that one.
    """
    connection.execute(
        """
        create temp table changed on commit drop as
        select outcome.*, entry.row_hash as former_hash
        from outcome
        inner join quarantine.entries as entry using (quarantine_id)
        where outcome.disposition in ('parked', 'failed')
            and entry.closed_at is null and entry.row_hash <> outcome.row_hash
        """
    )
    # Two entries may change places: all give up their old hash before any takes its new one.
    connection.execute(
        """
        update quarantine.entries set row_hash = gen_random_uuid()
        where quarantine_id in (select quarantine_id from changed)
        """
    )
    connection.execute(
        """
        update quarantine.entries as entry
        set row_hash = changed.row_hash, delivered_key = changed.delivered_key, delivered = changed.delivered,
            delivered_text = coalesce(changed.delivered_text, entry.delivered_text), file_id = changed.file_id,
            row_number = changed.row_number, batch_id = %s
        from (select distinct on (row_hash) * from changed order by row_hash, row_number) as changed
        where entry.quarantine_id = changed.quarantine_id and not exists (
            select from quarantine.entries as other
            where other.feed = entry.feed and other.row_hash = changed.row_hash and other.closed_at is null
        )
        """,
        [batch_id],
    )
    connection.execute(
        """
        update quarantine.entries as entry
        set row_hash = changed.former_hash, closed_at = now(), closed_batch_id = %s, closed_reason = 'merged',
            closed_note = 'the same row as entry ' || other.quarantine_id
        from changed
        inner join quarantine.entries as other
            on other.feed = %s and other.row_hash = changed.row_hash and other.closed_at is null
        where entry.quarantine_id = changed.quarantine_id and other.quarantine_id <> entry.quarantine_id
        """,
        [batch_id, feed.feed],
    )


def _quarantine(connection: Connection, feed: Contract, batch_id: int) -> None:
    """Enter failed and parked rows, one open entry for each distinct row.

    A row that a steward discarded stays discarded, however often it is delivered.
    """
    # Entries written a moment ago have no statistics: taken for one row, each would be compared with each.
    connection.execute("set local enable_nestloop = off")
    connection.execute(
        """
        insert into quarantine.entries (
            feed, disposition, row_hash, delivered_key, file_id, row_number, batch_id,
            error_code, error_column, errors, candidates, delivered, delivered_text
        )
        select
            %(feed)s, disposition, row_hash, delivered_key, file_id, row_number, %(batch)s,
            code, code_column, errors, candidates, delivered, delivered_text
        from (
            select distinct on (row_hash) * from outcome
            where disposition in ('parked', 'failed') and row_hash not in (
                select row_hash from quarantine.entries
                where feed = %(feed)s and closed_reason = 'discarded'
                except
                select row_hash from quarantine.entries where feed = %(feed)s and closed_at is null
            )
            order by row_hash, row_number
        ) as refused
        order by row_number
        on conflict (feed, row_hash) where closed_at is null do update set
            disposition = excluded.disposition, error_code = excluded.error_code, error_column = excluded.error_column,
            errors = excluded.errors, candidates = excluded.candidates
        """,
        {"feed": feed.feed, "batch": batch_id},
    )
    connection.execute(
        """
        insert into quarantine.sightings (file_id, row_number, quarantine_id, disposition)
        select
            outcome.file_id, outcome.row_number, coalesce(entry.quarantine_id, discarded.quarantine_id),
            outcome.disposition
        from outcome
        left join quarantine.entries as entry
            on entry.feed = %(feed)s and entry.row_hash = outcome.row_hash and entry.closed_at is null
        left join (
            select row_hash, max(quarantine_id) as quarantine_id from quarantine.entries
            where feed = %(feed)s and closed_reason = 'discarded' group by 1
        ) as discarded on discarded.row_hash = outcome.row_hash
        where outcome.disposition in ('parked', 'failed')
        """,
        {"feed": feed.feed},
    )
    connection.execute("set local enable_nestloop = on")


def _close_corrected(connection: Connection, feed: Contract, batch_id: int) -> None:
    """Close the entries that sound rows of this file correct: by the `_quarantine_id` they carry, or by their key."""
    if not connection.execute(
        "select 1 from quarantine.entries where feed = %s and closed_at is null limit 1", [feed.feed]
    ).fetchone():
        return
    connection.execute("set local enable_nestloop = off")
    connection.execute(
        """
        update quarantine.entries as entry
        set closed_at = now(), closed_batch_id = %s, closed_reason = 'corrected'
        from outcome
        where entry.quarantine_id = outcome.quarantine_id and entry.closed_at is null
            and outcome.disposition not in ('parked', 'failed')
        """,
        [batch_id],
    )
    connection.execute(
        """
        update quarantine.entries as entry
        set closed_at = now(), closed_batch_id = %(batch)s, closed_reason = 'corrected'
        from outcome
        where entry.feed = %(feed)s and entry.closed_at is null and entry.delivered_key = outcome.delivered_key
            and outcome.disposition in ('inserted', 'updated', 'unchanged')
            and not exists (
                select from quarantine.sightings
                where sightings.quarantine_id = entry.quarantine_id and sightings.file_id = outcome.file_id
            )
        """,
        {"feed": feed.feed, "batch": batch_id},
    )
    connection.execute("set local enable_nestloop = on")


def _promotion(feed: Contract, which: str) -> str:
    """The feed's promotion statement over those of the sound rows; events share how they find whom they are about."""
    statement = _statement(feed.feed)
    if feed.identifier:
        statement += _statement("_event_references")
    columns = ", ".join(column.name for column in feed.columns)
    return f"with unresolved as (select file_id, row_number, {columns} from sound where {which})\n{statement}"


@cache
def _statement(name: str) -> str:
    return (PROMOTION / f"{name}.sql").read_text(encoding="utf-8")


def _production(connection: Connection) -> dict[str, str]:
    """The production columns that the feed's promotion statement yields, and their types."""
    described = connection.execute("select * from resolved limit 0").description or []
    return {column.name: column.type_display for column in described if column.name not in BOOKKEEPING}


def _differs(feed: Contract, column: str, kind: str) -> str:
    """SQL: whether a delivered attribute differs from the one last delivered; what is not given never differs.

    In a publication that replaces another whole, what is not given differs too. The last one delivered stands in
    production, or in `_overridden` where the API has changed it since.
    """
    if feed.replaces:
        differs = f"resolved.{column} is distinct from known.{column}"
        # A workbook that is saved again may keep 15 digits of a number, or 17.
        is_more = f"coalesce(abs(resolved.{column} - known.{column}) > 1e-9, true)"
        return f"({differs} and {is_more})" if kind == "numeric" else differs
    if kind == "jsonb":
        last = f"coalesce(known._overridden -> '{column}', known.{column})"
        return f"{last} || resolved.{column} is distinct from {last}"
    return f"""(
        resolved.{column} is not null and case when known._overridden ? '{column}'
            then to_jsonb(resolved.{column}) is distinct from known._overridden -> '{column}'
            else resolved.{column} is distinct from known.{column}
        end
    )"""


def _merged(feed: Contract, column: str, kind: str) -> str:
    """SQL: the attribute after an update.

    What is not given never erases what is there, what merely repeats the last delivery never what the API made of it.
    """
    if kind == "jsonb":
        return f"""known.{column} || case when known._overridden ? '{column}'
            then (
                select coalesce(jsonb_object_agg(part, value), '{{}}')
                from jsonb_each(resolved.{column}) as _ (part, value)
                where value is distinct from known._overridden -> '{column}' -> part
            )
            else resolved.{column}
        end"""
    return f"case when {_differs(feed, column, kind)} then resolved.{column} else known.{column} end"


def _still_overridden(feed: Contract, production: dict[str, str]) -> str:
    """SQL: what deliveries last said of what the API changed, after an update."""
    kept = "known._overridden"
    for column in feed.attributes:
        if production[column] == "jsonb":
            kept += f""" || case when known._overridden ? '{column}'
                then jsonb_build_object('{column}', (known._overridden -> '{column}') || resolved.{column}) else '{{}}'
            end"""
        else:
            kept += f" - case when {_differs(feed, column, production[column])} then '{column}' else '' end"
    return f"nullif({kept}, '{{}}')"
