"""Verify: ask a warehouse whether it keeps its promises.

Read-only, beside a live system; the oracle of every integration test. The database enforces that a file's counts add
up. This recomputes the counts themselves from what really stands in `public`, in quarantine and in the audit log, and
holds the ledger against the bucket.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg import Connection

from elt.contract import FEEDS, contract
from elt.extract_from_s3 import read_blocks
from elt.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@dataclass(frozen=True)
class Finding:
    """A promise that does not hold: which check, about what, what is wrong, and what to do."""

    check: str
    subject: str
    problem: str
    advice: str


PROMOTED = "('promoted', 'published', 'archived')"

# Where the rows of a file stand now, or stood until a later publication withdrew them. A row that was parked and
# entered later is counted by its sighting, as its file counted it.
STANDING = " union all ".join(
    f"select _first_file_id as file_id, _first_row as row_number, _first_batch_id as batch_id, '{feed}' as feed"
    f" from {table} where source = 'drop'"
    for feed in FEEDS
    for table in (f"public.{contract(feed).table}", *(["audit.withdrawn_returns"] if contract(feed).replaces else []))
)

STAGED = " union all ".join(
    f"select _file_id as file_id, count(*) as staged from staging.{feed} group by 1" for feed in FEEDS
)

CHECKS: tuple[tuple[str, str, str], ...] = (
    (
        "file identity",
        f"""
        select
            'file ' || file_id,
            'the ledger counts ' || records_inserted || ' inserted, ' || records_parked || ' parked and '
            || records_failed || ' failed rows; there are ' || inserted || ', ' || parked || ' and ' || failed
        from audit.ingest_files
        cross join lateral (
            select count(*) as inserted from ({STANDING}) as standing
            where standing.file_id = ingest_files.file_id and not exists (
                select from quarantine.sightings
                where (sightings.file_id, sightings.row_number) = (standing.file_id, standing.row_number)
            )
        ) as rows_inserted
        left join (
            select again.reprocess_of, count(*) as restored
            from ({STANDING}) as standing
            inner join audit.ingest_files as again on again.file_id = standing.file_id
            where again.reprocess_of is not null and not exists (
                select from quarantine.sightings
                where (sightings.file_id, sightings.row_number) = (again.reprocess_of, standing.row_number)
            )
            group by 1
        ) as rows_restored on rows_restored.reprocess_of = ingest_files.file_id
        cross join lateral (
            select
                count(*) filter (where disposition = 'parked') as parked,
                count(*) filter (where disposition = 'failed') as failed
            from quarantine.sightings where sightings.file_id = ingest_files.file_id
        ) as rows_sighted
        where status in {PROMOTED}
            and (
                (records_parked, records_failed) is distinct from (parked, failed)
                -- What was lost may have been entered again from the same bytes.
                or records_inserted not between inserted and inserted + coalesce(restored, 0)
            )
        """,
        "rows were added or removed behind the pipeline's back, or it has a defect: restore, or reprocess the file",
    ),
    (
        "staged rows",
        f"""
        select 'file ' || file_id, 'its ' || records_processed || ' records are ' || staged || ' in staging'
        from audit.ingest_files
        inner join ({STAGED}) as staging using (file_id)
        where staged is distinct from records_processed
        """,
        "stage the file anew from its archive copy",
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
        "entered rows",
        f"""
        select
            'batch ' || coalesce(log.batch_id, standing.batch_id) || ' ' || coalesce(log.table_name, standing.feed),
            'the audit log counts ' || coalesce(inserted, 0) || ' inserted rows, '
            || 'the table holds ' || coalesce(entered, 0)
        from (
            select batch_id, table_name, sum(records_inserted) as inserted from audit.etl_audit_log group by 1, 2
        ) as log
        full join (
            select batch_id, feed, count(*) as entered from ({STANDING}) as rows group by 1, 2
        ) as standing
            on (standing.batch_id, standing.feed) = (log.batch_id, log.table_name)
        left join (
            select feed, max(again.batch_id) as batch_id, count(*) as restored
            from ({STANDING}) as rows
            inner join audit.ingest_files as again using (file_id, feed)
            where again.reprocess_of is not null group by 1
        ) as again on again.feed = log.table_name and again.batch_id > log.batch_id
        where coalesce(inserted, 0) not between coalesce(entered, 0) and coalesce(entered, 0) + coalesce(restored, 0)
        """,
        "rows were added or removed behind the pipeline's back, or it has a defect: restore the table",
    ),
    (
        "each row once",
        f"""
        select
            feed || ' sha256 ' || left(sha256, 12) || ' row ' || row_number,
            'stands ' || count(*) || ' times in public and open quarantine'
        from (
            select feed, file_id, row_number from ({STANDING}) as standing
            union all
            select feed, file_id, row_number from quarantine.entries where closed_at is null
        ) as rows
        inner join audit.ingest_files using (file_id, feed)
        group by feed, sha256, row_number having count(*) > 1
        """,
        "one delivered row counts twice: find the batches that entered it, and remove the later row",
    ),
    (
        "provenance",
        f"""
        select feed || ' file ' || file_id, count(*) || ' rows come from a file that was never promoted'
        from ({STANDING}) as standing inner join audit.ingest_files using (file_id, feed)
        where status not in {PROMOTED} group by 1
        """,
        "the ledger was changed by hand, or the pipeline has a defect: restore the ledger",
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
        "releases",
        """
        select 'batch ' || batch_id, 'files of it are published, but no release is'
        from audit.ingest_files where status in ('published', 'archived') and not exists (
            select from audit.releases where releases.published_at >= ingest_files.published_at - interval '1 minute'
        )
        """,
        "publish again: medilink run",
    ),
)


def verify(connection: Connection, s3: S3Client, settings: Settings, *, hash_bytes: bool = False) -> list[Finding]:
    """Every promise that does not hold, none when the warehouse is clean.

    All of the database is seen at one moment. With `hash_bytes` each archived object is read and hashed; sizes are
    compared otherwise. Raises what the database or the bucket raises when they cannot be asked: silence is never taken
    for "clean".
    """
    with connection.transaction():
        connection.execute("set transaction isolation level repeatable read, read only")
        findings = [
            Finding(name, subject, problem, advice)
            for name, query, advice in CHECKS
            for subject, problem in connection.execute(query).fetchall()
        ]
        ledger = connection.execute(
            """
            select
                file_id, input_key, version_id, etag, last_modified, status, size_bytes, sha256, archive_key,
                input_released_at
            from audit.ingest_files order by file_id
            """
        ).fetchall()
        manifests = connection.execute(
            "select archive_key from audit.manifests where archive_key is not null"
        ).fetchall()
    findings.extend(_against_the_bucket(s3, settings, ledger, hash_bytes, {key for (key,) in manifests}))
    return findings


def _against_the_bucket(
    s3: S3Client,
    settings: Settings,
    ledger: list[tuple],  # type: ignore[type-arg]
    hash_bytes: bool,
    manifests: set[str],
) -> Iterator[Finding]:
    bucket = settings.s3_bucket_name
    archived = _listing(s3, bucket, settings.s3_archive_prefix)
    arrived = {
        key: found for prefix in settings.input_prefixes.values() for key, found in _listing(s3, bucket, prefix).items()
    }
    claimed = set()
    for file_id, input_key, _version, etag, modified, status, size, sha256, archive_key, released in ledger:
        subject = f"file {file_id} ({input_key})"
        if archive_key:
            claimed.add(archive_key)
            found = archived.get(archive_key)
            if found is None:
                yield Finding(
                    "archive",
                    subject,
                    f"{archive_key} is not in the archive",
                    "restore the object from its earlier version",
                )
            elif found[0] != size:
                yield Finding(
                    "archive",
                    subject,
                    f"{archive_key} is {found[0]} bytes long, not {size}",
                    "restore its earlier version",
                )
            elif hash_bytes and _sha256(s3, bucket, archive_key) != sha256:
                yield Finding(
                    "archive",
                    subject,
                    f"{archive_key} has other bytes than were claimed",
                    "restore its earlier version",
                )
        in_input = arrived.get(input_key)
        if released and status == "archived" and in_input is not None and in_input[1:] == (etag, modified):
            yield Finding(
                "input",
                subject,
                "is archived, and its version still lies in the input",
                "delete it: its bytes are in the archive",
            )
        if not released and in_input is None and status != "discovered":
            yield Finding(
                "input",
                subject,
                f"is gone from the input before it was let go (it is {status})",
                "see who deleted it; its bytes are in the archive",
            )
    for key in sorted(archived.keys() - claimed - manifests):
        yield Finding(
            "archive",
            key,
            "lies in the archive, and no file of the ledger knows it",
            "a claim cut short: drop the file again if it is gone from the input",
        )


def _listing(s3: S3Client, bucket: str, prefix: str) -> dict[str, tuple[int, str, object]]:
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return {
        item["Key"]: (item["Size"], item["ETag"].strip('"'), item["LastModified"])
        for page in pages
        for item in page.get("Contents", [])
    }


def _sha256(s3: S3Client, bucket: str, key: str) -> str:
    digest = hashlib.sha256()
    for block in read_blocks(s3.get_object(Bucket=bucket, Key=key)["Body"]):
        digest.update(block)
    return digest.hexdigest()
