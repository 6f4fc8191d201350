"""Revisions: a later publication takes the place of an earlier one, whole; an earlier one changes nothing.

For feeds whose contract names what a publication `replaces`: of a KH03 return the quarter and bed type. All of it
happens in the transaction that promotes the file, between deciding what becomes of its rows and entering them
(`generate_ids.py`, whose temporary tables `sound`, `resolved` and `outcome` it reads).
"""

from __future__ import annotations

from psycopg import Connection
from psycopg.rows import dict_row

from elt import audit
from elt.audit import LedgerFile
from elt.checks import SQL_TYPES
from elt.contract import Contract
from elt.vocabulary import FileCode, FileStatus

KEYS = """
    select coalesce(sound.known_key, resolved.key)
    from sound left join resolved using (file_id, row_number)
"""


def replace(connection: Connection, feed: Contract, file: LedgerFile) -> None:
    """Take out what the file no longer holds of what it replaces, and close what is in quarantine of that.

    Rows of a quarantine export that come back are corrections of what stands: they take nothing out. Raises
    `audit.Refused` (superseded): rejected where a later publication stands; held where one of the same day, or of a day
    unknown, has other figures, unless an operator let that pass.
    """
    stands = _what_stands(connection, feed)
    for group in stands:
        if group["is_earlier"]:
            raise audit.Refused(
                FileStatus.REJECTED,
                FileCode.SUPERSEDED,
                f"a publication of {group['standing_on']} of {group['name']} was loaded already; this one is of"
                f" {group['published_on']}, and changes nothing. There is nothing to do.",
            )
    if file.is_correction:
        return
    for group in stands:
        if not group["is_later"] and group["differs"] and FileCode.SUPERSEDED not in file.waived:
            raise audit.Refused(
                FileStatus.HELD,
                FileCode.SUPERSEDED,
                f"{group['name']} was loaded already from a publication of the same day, or of a day that it does not"
                " say, with other figures: which of them is later cannot be told. If this one is, let it take the"
                f" other's place: medilink files release {file.file_id}. If not: medilink files reject {file.file_id}",
            )
    _close_entries(connection, feed, file)
    _withdraw(connection, feed, file)


def _arriving(feed: Contract) -> str:
    """SQL: what the file's sound rows replace, each with the day of publication."""
    types = {column.name: SQL_TYPES.get(column.type, "text") for column in feed.columns}
    columns = ", ".join(f"{name}::{types[name]} as {name}" for name in feed.replaces)
    positions = ", ".join(str(position) for position in range(1, len(feed.replaces) + 1))
    return f"select {columns}, min(published_on::date) as published_on from sound group by {positions}"


def _is_of(feed: Contract) -> str:
    return " and ".join(f"standing.{name} = arriving.{name}" for name in feed.replaces)


def _what_stands(connection: Connection, feed: Contract) -> list[dict[str, object]]:
    """What stands of what the file replaces: whether the file is earlier or later, and whether figures differ."""
    of_group = " and ".join(f"sound.{name} = arriving.{name}::text" for name in feed.replaces)
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            f"""
            select
                concat_ws(' ', {", ".join(f"arriving.{name}" for name in feed.replaces)}) as name,
                arriving.published_on, standing.published_on as standing_on,
                coalesce(arriving.published_on < standing.published_on, false) as is_earlier,
                coalesce(arriving.published_on > standing.published_on, false) as is_later,
                standing.is_left_out or exists (
                    select from outcome inner join sound using (file_id, row_number)
                    where outcome.disposition = 'updated' and {of_group}
                ) as differs
            from ({_arriving(feed)}) as arriving
            cross join lateral (
                select max(published_on) as published_on, bool_or(_key not in ({KEYS})) as is_left_out
                from public.{feed.table} as standing where {_is_of(feed)}
            ) as standing
            where standing.is_left_out is not null
            """
        ).fetchall()


def _close_entries(connection: Connection, feed: Contract, file: LedgerFile) -> None:
    """Close what is in quarantine of the publications whose place is taken."""
    connection.execute(
        f"""
        update quarantine.entries
        set closed_at = now(), closed_batch_id = %(batch)s, closed_reason = 'superseded'
        where feed = %(feed)s and closed_at is null and file_id in (
            select replaced.file_id
            from ({_arriving(feed)}) as arriving
            inner join public.{feed.table} as standing on {_is_of(feed)}
            cross join lateral (values (standing._first_file_id), (standing._last_file_id)) as replaced (file_id)
            where replaced.file_id <> %(file)s
                and (arriving.published_on > standing.published_on or %(is_waived)s)
        )
        """,
        {
            "batch": file.batch_id,
            "feed": feed.feed,
            "file": file.file_id,
            "is_waived": FileCode.SUPERSEDED in file.waived,
        },
    )


def _withdraw(connection: Connection, feed: Contract, file: LedgerFile) -> None:
    """Move what the file no longer holds to where it is kept on record."""
    connection.execute(
        f"""
        with withdrawn as (
            delete from public.{feed.table} as standing
            using ({_arriving(feed)}) as arriving
            where {_is_of(feed)} and standing._key not in ({KEYS})
            returning standing.*
        )
        insert into audit.withdrawn_returns select now(), %s, withdrawn.* from withdrawn
        """,
        [file.file_id],
    )
