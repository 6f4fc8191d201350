"""Quarantine, as far as row-level security lets the caller see it."""

from __future__ import annotations

import io

from backend.access_log import Held, note
from backend.database import fetch_one, reading
from backend.listing import Listing, columns
from backend.quarantine.schemas import Entry, EntryDetail, EntryParameters, EntryState, Reason
from elt import quarantine
from elt.quarantine import NotOpen, discard
from elt.vocabulary import ROW_ADVICE

__all__ = ["DETAILS", "ENTRIES", "EXPORT_LIMIT", "NotOpen", "TooMany", "discard", "export", "summary"]

# A few times as many as anybody corrects by hand; they are held in memory.
EXPORT_LIMIT = 50_000

TABLE = """
(
    select
        entries.quarantine_id as id, regexp_replace(ingest_files.input_key, '^.*/', '') as file, entries.*
    from quarantine.entries
    inner join audit.ingest_files using (file_id)
) as entries
"""

ENTRIES = Listing(
    table=TABLE,
    logged="id",
    held=Held.ENTRIES,
    columns=columns(Entry),
    filters={
        "feed": "feed = %(feed)s",
        "code": "error_code = %(code)s",
        "file": "file = %(file)s",
        "disposition": "disposition = %(disposition)s",
        "state": "(closed_at is null) = (%(state)s = 'open')",
    },
)


def _quoted(text: str) -> str:
    """Our own words inside an SQL literal of a query with parameters."""
    return text.replace("'", "''").replace("%", "%%")


ADVICE = " ".join(f"when '{code}' then '{_quoted(advice)}'" for code, advice in ROW_ADVICE.items())
ADVISED = f"case error_code {ADVICE} end"
DETAILS = Listing(table=TABLE, logged="id", held=Held.ENTRIES, columns=columns(EntryDetail, advice=ADVISED), filters={})


def summary() -> str:
    """Open rows by feed and first error as JSON, the most frequent first."""
    body: str = fetch_one(
        f"""
        select coalesce(json_agg(row_to_json(reasons)), '[]')::text
        from (
            select {columns(Reason, advice=ADVISED.replace("%%", "%"))}
            from (
                select
                    feed, disposition, error_code, count(*) as row_count, count(distinct file_id) as file_count,
                    min(opened_at) as oldest_opened_at
                from quarantine.entries
                where closed_at is null
                group by feed, disposition, error_code
            ) as counted
            order by row_count desc, feed, error_code
        ) as reasons
        """
    )[0]
    return body


class TooMany(Exception):
    """More rows than an export holds."""


def export(query: EntryParameters) -> str:
    """The open rows of one feed as CSV, ready to be corrected and dropped again. Raises `TooMany`."""
    if ENTRIES.count(query.model_copy(update={"state": EntryState.OPEN}), EXPORT_LIMIT + 1) > EXPORT_LIMIT:
        raise TooMany
    wanted = quarantine.Filter(query.feed, query.code, query.file, None, query.disposition)
    header, rows = quarantine.exported(reading(), wanted)
    place = header.index("_quarantine_id")
    note(Held.ENTRIES, (int(row[place]) for row in rows))
    text = io.StringIO()
    quarantine.write_csv(text, header, rows)
    return text.getvalue()
