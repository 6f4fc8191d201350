"""Load: copy claimed files into their all-text staging table, each record with the line it starts on."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

from psycopg import Connection, sql

from elt import audit, kh03
from elt.audit import LedgerFile
from elt.contract import Contract, contract
from elt.decoding import in_utf8, unpacked
from elt.extract_from_s3 import read_blocks
from elt.header import ESCAPE, EXPORTED, QUARANTINE_ID, fold_header
from elt.scanner import FileRefused, Scan
from elt.settings import Settings
from elt.vocabulary import FileCode, FileStatus, Layout
from elt.workbook import Workbook, is_workbook

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# What an operator may yet release is held; what no release could mend is rejected.
HOLDING = {FileCode.UNCLOSED_QUOTE, FileCode.INVALID_ENCODING, *audit.WAIVABLE}

DELIMITER_NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"}

STAGED_LABELS = ("_row_number", "_batch_id", "_file_id", "_reject_code", "_reject_text")


class ArchivedBytesDiffer(Exception):
    """What the archive returned is not what was claimed; nothing of it was staged."""


def load_feed(s3: S3Client, connection: Connection, settings: Settings, batch_id: int, feed: str) -> int:
    """Stage every claimed file of one feed in this batch; returns how many records were staged.

    A file that cannot be read at all is held or rejected with a code, leaves no row behind, and does not stop the
    others.
    """
    _put_back_lost(connection, batch_id, feed)
    claimed = audit.files(connection, batch_id, FileStatus.CLAIMED, feed)
    records = sum(_load_file(s3, connection, settings, file, contract(feed)) for file in claimed)
    if records:
        _index_staged(connection, feed)
    return records


def _put_back_lost(connection: Connection, batch_id: int, feed: str) -> None:
    """Staging is unlogged: a file whose staged records a crash of the server took away is staged anew."""
    with connection.transaction():
        audit.assert_running(connection, batch_id)
        connection.execute(
            sql.SQL("""
                update audit.ingest_files as file set status = 'claimed', records_processed = null, staged_at = null
                where batch_id = %s and feed = %s and status = 'staged' and records_processed > 0
                    and not exists (select from {} where _file_id = file.file_id)
            """).format(sql.Identifier("staging", feed)),
            [batch_id, feed],
        )


def _index_staged(connection: Connection, feed: str) -> None:
    """Let promotion find the rows of a file: an index of page ranges learns of new ones only when it is told."""
    with connection.transaction():
        connection.execute("set local role medilink_owner")  # Nobody else may.
        connection.execute(
            """
            select brin_summarize_new_values(indexrelid) from pg_index
            inner join pg_class on pg_class.oid = indexrelid
            inner join pg_am on pg_am.oid = relam and amname = 'brin'
            where indrelid = %s::regclass
            """,
            [f"staging.{feed}"],
        )
        connection.execute(sql.SQL("analyze {} (_file_id)").format(sql.Identifier("staging", feed)))


def _load_file(s3: S3Client, connection: Connection, settings: Settings, file: LedgerFile, feed: Contract) -> int:
    """Copy one file into staging, in one transaction with its ledger row; returns the number of its records."""
    try:
        with connection.transaction():
            audit.assert_running(connection, file.batch_id)
            if not audit.lock_file(connection, file.batch_id, file.file_id, FileStatus.CLAIMED):
                return 0
            digest = hashlib.sha256()
            answer = s3.get_object(Bucket=settings.s3_bucket_name, Key=str(file.archive_key))
            blocks = _hashed(read_blocks(answer["Body"]), digest)
            try:
                with _reading(blocks, (file.batch_id, file.file_id), feed) as scan:
                    warning = stage(connection, scan, feed)
            finally:
                # Before any verdict on the file: what a transfer did to its bytes is not the sender's fault.
                _assert_claimed(file, blocks, digest)
            _assert_as_promised(file, scan.records)
            connection.execute(
                """
                update audit.ingest_files
                set status = %s, records_processed = %s, warning = %s, is_correction = %s, staged_at = now()
                where file_id = %s
                """,
                [FileStatus.STAGED, scan.records, warning, is_correction(scan.header), file.file_id],
            )
    except FileRefused as refusal:
        with connection.transaction():
            audit.assert_running(connection, file.batch_id)
            status = FileStatus.HELD if refusal.code in HOLDING else FileStatus.REJECTED
            audit.refuse_file(connection, file.file_id, status, refusal.code, str(refusal))
        return 0
    return scan.records


def _assert_claimed(file: LedgerFile, blocks: Iterator[bytes], digest: hashlib._Hash) -> None:
    """The bytes that came are those that were claimed; what a refusal left unread is read for it."""
    for _ in blocks:
        pass
    if digest.hexdigest() != file.sha256:
        raise ArchivedBytesDiffer(
            f"{file.archive_key}: the archived bytes are not those that were claimed as {file.input_key}."
            " Nothing was staged. The transfer is tried again; if it fails again, restore the object from its"
            " earlier version."
        )


def _assert_as_promised(file: LedgerFile, records: int) -> None:
    """The file has as many records as its manifest says, unless an operator let that pass."""
    promised = file.expected_records
    if promised is not None and promised != records and FileCode.MANIFEST_MISMATCH not in file.waived:
        raise FileRefused(
            FileCode.MANIFEST_MISMATCH,
            f"its manifest promises {promised} rows, it has {records}: it was cut short, or the manifest is another's. "
            f"Drop both again, or let it through: medilink files release {file.file_id}",
        )


def _hashed(blocks: Iterable[bytes], digest: hashlib._Hash) -> Iterator[bytes]:
    for block in blocks:
        digest.update(block)
        yield block


@contextmanager
def _reading(blocks: Iterator[bytes], labels: tuple[int, ...], feed: Contract) -> Iterator[Scan | Workbook]:
    """The reader for a file of this kind, which its first bytes tell, not its name."""
    beginning = next(blocks, b"")
    blocks = chain([beginning], blocks)
    if is_workbook(beginning):
        with Workbook(blocks, labels, feed) as workbook:
            yield workbook
    elif feed.layout is Layout.KH03 and beginning and QUARANTINE_ID.encode() not in beginning.partition(b"\n")[0]:
        raise kh03.wrong_text(beginning)
    else:
        yield Scan(in_utf8(unpacked(blocks), feed.encodings), labels, partial(delimiter_of, feed=feed))


def stage(connection: Connection, scan: Scan | Workbook, feed: Contract) -> str | None:
    """COPY the scan's blocks into the feed's staging table; returns a warning about the header, if any."""
    returned = _returned(scan.header)
    columns = map_header(["" if cell in returned else cell for cell in scan.header], feed, scan.place)
    extra = [header for header, column in zip(scan.header, columns, strict=True) if column is None]
    if len(set(extra)) < len(extra) or len(set(returned.values())) < len(returned):
        raise FileRefused(
            FileCode.DUPLICATE_COLUMN, f"{scan.place} names a column twice. Keep one, or give them different names."
        )
    staging = sql.Identifier("staging", feed.feed)
    labels = sql.SQL(", ").join(map(sql.Identifier, STAGED_LABELS))
    # Columns no contract knows are kept in _extra, by way of a table that has the file's own columns.
    target = sql.Identifier("arriving") if extra else staging
    fields = [
        sql.Identifier(column or (QUARANTINE_ID if returned.get(cell) == QUARANTINE_ID else f"extra {position}"))
        for position, (cell, column) in enumerate(zip(scan.header, columns, strict=True))
    ]
    if extra:
        connection.execute("drop table if exists arriving")
        connection.execute(
            sql.SQL("""
                create temp table arriving (
                    _row_number bigint, _batch_id bigint, _file_id bigint, _reject_code text, _reject_text text, {}
                ) on commit drop
            """).format(sql.SQL(", ").join(sql.SQL("{} text").format(field) for field in fields))
        )
    statement = sql.SQL("copy {} ({}, {}) from stdin (format csv, delimiter {})").format(
        target, labels, sql.SQL(", ").join(fields), sql.Literal(scan.delimiter)
    )
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for block in scan.blocks():
            copy.write(block)
    if extra:
        extra = [header for header in extra if header not in returned]
        known = [sql.Identifier(column) for column in columns if column]
        values: list[sql.Composable] = [*known]
        if returned:
            values = [sql.SQL("regexp_replace({}, {}, '')").format(field, sql.Literal(ESCAPE)) for field in known]
            known.append(sql.Identifier(QUARANTINE_ID))
            values.append(sql.Identifier(QUARANTINE_ID))
        pairs = sql.SQL(", ").join(
            sql.SQL("{}::text, {}").format(sql.Literal(header), field)
            for header, field in zip(scan.header, fields, strict=True)
            if header in extra
        )
        connection.execute(
            sql.SQL("""
                insert into {staging} ({labels}, {known}, _extra)
                select {labels}, {values}, nullif(jsonb_strip_nulls(jsonb_build_object({pairs})), '{{}}')
                from arriving
            """).format(
                staging=staging,
                labels=labels,
                known=sql.SQL(", ").join(known),
                values=sql.SQL(", ").join(values),
                pairs=pairs,
            )
        )
    warnings = list(scan.warnings)
    if extra:
        warnings.append(f"columns that the contract does not know are kept in _extra: {', '.join(extra)}")
    if scan.records == 0:
        warnings.append("a header and no record")
    if scan.suspicious:
        warnings.append(
            f"{scan.suspicious} lines look as if their letters had been read in the wrong encoding before the file was"
            " written (mojibake); they were loaded as they are. Export the file again as UTF-8"
        )
    return "; ".join(warnings) or None


def is_correction(header: list[str]) -> bool:
    """Whether rows of a quarantine export come back in this file."""
    return bool(_returned(header))


def _returned(header: list[str]) -> dict[str, str]:
    """The cells that are the bookkeeping of a quarantine export, and their names; none without `_quarantine_id`."""
    named = {cell: name for cell in header if (name := cell.strip().casefold()) in EXPORTED}
    return named if QUARANTINE_ID in named.values() else {}


def delimiter_of(header: str, feed: Contract) -> str:
    """The delimiter by which the header line names most columns of the contract; the first of them if none does."""

    def named(delimiter: str) -> int:
        return sum(feed.column_of(cell.strip(' "\r\n')) is not None for cell in header.split(delimiter))

    return max(feed.delimiters, key=named)


def map_header(header: list[str], feed: Contract, place: str) -> list[str | None]:
    """The staging column of each header cell, None for columns the contract does not know.

    Raises `FileRefused` (no_header, duplicate_column, missing_column); its message names contract columns only, because
    what stands in the place of a header may hold patient data.
    """
    columns = [named.name if (named := feed.column_of(cell)) else None for cell in header]
    known = [column for column in columns if column]
    if not known:
        raise FileRefused(
            FileCode.NO_HEADER,
            f"{place} names no column of the feed {feed.feed}, separated by"
            f" {' or '.join(DELIMITER_NAMES.get(delimiter, delimiter) for delimiter in feed.delimiters)}."
            f" Put a header on top: {','.join(feed.required)},…",
        )
    for column in known:
        if known.count(column) > 1:
            raise FileRefused(FileCode.DUPLICATE_COLUMN, f"{place} names the column {column} twice. Keep one.")
    missing = [column for column in feed.required if column not in known]
    if missing:
        unknown = {fold_header(cell): n for n, cell in enumerate(header, 1) if columns[n - 1] is None}
        hints = [
            f" (the name of column {unknown[near[0]]} of the file looks like it: rename it to {column})"
            if (near := difflib.get_close_matches(column, unknown, n=1))
            else ""
            for column in missing
        ]
        lacking = ", ".join(column + hint for column, hint in zip(missing, hints, strict=True))
        raise FileRefused(
            FileCode.MISSING_COLUMN, f"{place} lacks the required column {lacking}. Add it, and drop the file again."
        )
    return columns
