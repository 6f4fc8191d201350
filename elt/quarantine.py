"""Quarantine, as a data steward works with it: look, export, correct, discard, and see what grows old.

Values of rows are patient data: they are in `values()` and in the exported file, and nowhere else. A facility is named
only where `public.facilities` knows it: in a row whose columns are shifted, anything may stand for its facility.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from openpyxl import Workbook
from openpyxl.cell import WriteOnlyCell
from psycopg import Connection
from psycopg.rows import class_row, dict_row

from elt.contract import Contract, contract
from elt.data_dictionary import rule
from elt.header import EXPORTED
from elt.vocabulary import ROW_ADVICE, RowCode

# A spreadsheet takes what begins so for a formula. What looks escaped already is escaped once more, so that the way in
# can take exactly one escape away.
FORMULA = re.compile(r"'*[=+@\t\r-]")
ESCAPED_FORMULA = re.compile(r"'+[=+@\t\r-]")

# Characters that XML cannot hold, and what would be read as one of their names.
UNWRITABLE = re.compile(r"[\x00-\x08\x0b-\x1f]|_(?=x[0-9A-Fa-f]{4}_)")
CELL_LIMIT = 32_767

FACILITY = """
    left join lateral (
        select min(facilities.name) as name from public.facilities
        where lower(facilities.name) = lower(public.normalised(
            coalesce(entries.delivered ->> 'facility_name', entries.delivered ->> 'name')
        ))
    ) as facility on true
"""


class NotExportable(Exception):
    """The file cannot be written as asked; says why, and what to do."""


class NotOpen(Exception):
    """The entry is not there, or closed already."""


@dataclass(frozen=True)
class Filter:
    """Which entries; None asks nothing. `file` is a file's name or id, `facility` a name that facilities bear."""

    feed: str | None = None
    code: str | None = None
    file: str | None = None
    facility: str | None = None
    disposition: str | None = None
    is_open: bool | None = True


@dataclass(frozen=True)
class Entry:
    """One entry of the quarantine, without a value of its row; `sightings` counts the deliveries of the row."""

    quarantine_id: int
    feed: str
    disposition: str
    error_code: str
    error_column: str | None
    file: str
    row_number: int
    sightings: int
    opened_at: datetime
    age_days: int
    closed_reason: str | None


@dataclass(frozen=True)
class Sighting:
    """One delivery of a quarantined row."""

    file_id: int
    file: str
    row_number: int
    batch_id: int


@dataclass(frozen=True)
class Problem:
    """One error of a row: in which column, what the contract asks of it, what to do."""

    column: str | None
    code: str
    rule: str | None
    advice: str


@dataclass(frozen=True)
class Detail:
    """Everything that may be said of an entry without its values."""

    entry: Entry
    problems: list[Problem]
    candidates: int | None
    sightings: list[Sighting]
    closed_at: datetime | None
    closed_by: str | None
    closed_note: str | None


@dataclass(frozen=True)
class Ageing:
    """Rows of one feed, code and facility that have been parked for long."""

    feed: str
    error_code: str
    facility: str | None
    count: int
    oldest_days: int


@dataclass(frozen=True)
class Tally:
    """How many rows of one facility (or file, or code) are, or were, in quarantine."""

    subject: str | None
    feed: str
    failed: int
    parked: int
    closed: int


SELECTED = """
    (%(feed)s::text is null or entries.feed = %(feed)s)
    and (%(code)s::text is null or entries.error_code = %(code)s)
    and (%(disposition)s::text is null or entries.disposition = %(disposition)s)
    and (%(is_open)s::boolean is null or (entries.closed_at is null) = %(is_open)s)
    and (%(facility)s::text is null or lower(facility.name) = lower(public.normalised(%(facility)s)))
    and (%(file)s::text is null or exists (
        select from quarantine.sightings
        inner join audit.ingest_files as sighted using (file_id)
        where sightings.quarantine_id = entries.quarantine_id
            and %(file)s in (sighted.file_id::text, regexp_replace(sighted.input_key, '^.*/', ''))
    ))
"""

ENTRY = """
    entries.quarantine_id, entries.feed, entries.disposition, entries.error_code, entries.error_column,
    regexp_replace(ingest_files.input_key, '^.*/', '') as file, entries.row_number,
    (select count(*) from quarantine.sightings where sightings.quarantine_id = entries.quarantine_id) as sightings,
    entries.opened_at, extract(day from now() - entries.opened_at)::integer as age_days, entries.closed_reason
"""


def entries(connection: Connection, wanted: Filter, limit: int | None = None) -> list[Entry]:
    """The entries that the filter lets through, the oldest first."""
    with connection.cursor(row_factory=class_row(Entry)) as cursor:
        return cursor.execute(
            f"""
            select {ENTRY}
            from quarantine.entries
            inner join audit.ingest_files using (file_id)
            {FACILITY if wanted.facility else "cross join (select null::text as name) as facility"}
            where {SELECTED}
            order by entries.quarantine_id limit %(limit)s
            """,
            vars(wanted) | {"limit": limit},
        ).fetchall()


def detail(connection: Connection, quarantine_id: int) -> Detail:
    """One entry, its errors with rule and advice, its sightings. Raises `NotOpen` where there is none of that id."""
    with connection.cursor(row_factory=class_row(Entry)) as cursor:
        entry = cursor.execute(
            f"select {ENTRY} from quarantine.entries inner join audit.ingest_files using (file_id)"
            " where quarantine_id = %s",
            [quarantine_id],
        ).fetchone()
    if entry is None:
        raise NotOpen(f"there is no entry {quarantine_id}. Their ids: medilink quarantine list")
    with connection.cursor(row_factory=class_row(Sighting)) as cursor:
        sightings = cursor.execute(
            """
            select file_id, regexp_replace(input_key, '^.*/', '') as file, row_number, batch_id
            from quarantine.sightings inner join audit.ingest_files using (file_id)
            where quarantine_id = %s order by file_id, row_number
            """,
            [quarantine_id],
        ).fetchall()
    row = connection.execute(
        "select errors, candidates, closed_at, closed_by, closed_note from quarantine.entries where quarantine_id = %s",
        [quarantine_id],
    ).fetchall()[0]
    problems = [_problem(contract(entry.feed), error["column"], error["code"]) for error in row[0]]
    return Detail(entry, problems, row[1], sightings, row[2], row[3], row[4])


def _problem(feed: Contract, column: str | None, code: str) -> Problem:
    described = feed.column_of(column) if column else None
    return Problem(column, code, rule(described) if described else None, ROW_ADVICE[RowCode(code)])


def values(connection: Connection, quarantine_id: int) -> dict[str, str]:
    """The row itself, by column, or as `_text`: patient data, for the steward who asked for it."""
    row = connection.execute(
        "select delivered, delivered_text from quarantine.entries where quarantine_id = %s", [quarantine_id]
    ).fetchone()
    delivered, text = row or (None, None)
    return (delivered or {}) | ({"_text": text} if text else {})


def export(connection: Connection, wanted: Filter, path: Path, form: str) -> int:
    """Write the entries of one feed into a new file that can be corrected and dropped again; returns their number.

    The file is the caller's alone (mode 600), and never overwrites another. No entry, no file. Raises `NotExportable`
    where a cell is longer than a workbook can hold, and `FileExistsError`.
    """
    feed = contract(str(wanted.feed))
    with connection.cursor(row_factory=dict_row) as cursor:
        found = cursor.execute(
            f"""
            select {ENTRY}, entries.errors, entries.delivered, entries.delivered_text
            from quarantine.entries
            inner join audit.ingest_files using (file_id)
            {FACILITY}
            where {SELECTED}
            order by entries.file_id, entries.row_number
            """,
            vars(replace(wanted, is_open=True)),
        ).fetchall()
    if not found:
        return 0
    rows = [_exported(feed, entry) for entry in found]
    header = [*(column.name for column in feed.columns), *EXPORTED]
    if form == "xlsx":
        _assert_fits(rows)
    path.touch(mode=0o600, exist_ok=False)
    if form == "xlsx":
        _workbook(feed.feed, header, rows).save(path)
    else:
        # The byte order mark tells Excel that it is UTF-8.
        with path.open("w", encoding="utf-8-sig", newline="") as target:
            csv.writer(target).writerows([header, *([_escaped(cell, FORMULA) for cell in row] for row in rows)])
    return len(rows)


def _exported(feed: Contract, entry: dict[str, Any]) -> list[str]:
    delivered = entry["delivered"] or {}
    bookkeeping = (
        entry["quarantine_id"],
        "; ".join(error["code"] for error in entry["errors"]),
        "; ".join(error["column"] or "" for error in entry["errors"]),
        entry["file"],
        entry["row_number"],
        entry["delivered_text"] or "",
    )
    return [*(delivered.get(column.name, "") for column in feed.columns), *map(str, bookkeeping)]


def _escaped(cell: str, formula: re.Pattern[str]) -> str:
    return f"'{cell}" if formula.match(cell) else cell


def _assert_fits(rows: Iterable[list[str]]) -> None:
    for row in rows:
        if any(len(cell) > CELL_LIMIT for cell in row):
            raise NotExportable(
                f"entry {row[-len(EXPORTED)]} has text of more than {CELL_LIMIT} characters, which no workbook holds. "
                "Export as CSV: --format csv"
            )


def _workbook(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> Workbook:
    """A workbook of text cells: nothing in it is a formula, a number or a date, whatever it looks like."""
    workbook = Workbook(write_only=True)
    sheet = workbook.create_sheet(title)
    sheet.freeze_panes = "A2"
    for row in (header, *rows):
        cells = []
        for text in row:
            escaped = _escaped(text, ESCAPED_FORMULA)
            cell = WriteOnlyCell(sheet, UNWRITABLE.sub(lambda found: f"_x{ord(found[0]):04X}_", escaped))
            cell.data_type, cell.number_format = "s", "@"
            cells.append(cell if text else None)
        sheet.append(cells)
    return workbook


def discard(connection: Connection, quarantine_ids: Sequence[int], by: str, reason: str) -> None:
    """Give rows up: all of them or none. The same row delivered again stays discarded.

    Raises `NotOpen`, naming the ids, where one is not there or closed already.
    """
    with connection.transaction():
        closed = connection.execute(
            """
            update quarantine.entries
            set closed_at = now(), closed_reason = 'discarded', closed_by = %s, closed_note = %s
            where quarantine_id = any(%s) and closed_at is null
            returning quarantine_id
            """,
            [by, reason, list(quarantine_ids)],
        ).fetchall()
        missing = sorted(set(quarantine_ids) - {row[0] for row in closed})
        if missing:
            raise NotOpen(f"not there, or closed already: {', '.join(map(str, missing))}. Nothing was discarded.")


def ageing(connection: Connection, days: int) -> list[Ageing]:
    """What has been parked for more than `days` days: what it waits for may never come."""
    with connection.cursor(row_factory=class_row(Ageing)) as cursor:
        return cursor.execute(
            f"""
            select
                entries.feed, entries.error_code, facility.name as facility, count(*),
                extract(day from now() - min(entries.opened_at))::integer as oldest_days
            from quarantine.entries
            {FACILITY}
            where entries.disposition = 'parked' and entries.closed_at is null
                and entries.opened_at < now() - make_interval(days => %s)
            group by 1, 2, 3
            order by 5 desc, 4 desc, 1, 2, 3
            """,
            [days],
        ).fetchall()


SUBJECTS = {
    "facility": "facility.name",
    "file": "regexp_replace(ingest_files.input_key, '^.*/', '')",
    "code": "entries.error_code",
}


def tally(connection: Connection, by: str) -> list[Tally]:
    """How many rows are in quarantine, by `facility`, `file` or `code`; those with the most open ones first."""
    with connection.cursor(row_factory=class_row(Tally)) as cursor:
        return cursor.execute(
            f"""
            select
                {SUBJECTS[by]} as subject, entries.feed,
                count(*) filter (where closed_at is null and disposition = 'failed') as failed,
                count(*) filter (where closed_at is null and disposition = 'parked') as parked,
                count(*) filter (where closed_at is not null) as closed
            from quarantine.entries
            inner join audit.ingest_files using (file_id)
            {FACILITY}
            group by 1, 2
            order by failed desc, parked desc, subject, entries.feed
            """
        ).fetchall()
