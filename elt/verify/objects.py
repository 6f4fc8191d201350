"""Objects: what the ledger says of bucket and archive, held against what lies there."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from psycopg import Connection
from psycopg.rows import class_row

from elt.extract_from_s3 import read_blocks
from elt.settings import Settings
from elt.verify.finding import Finding
from elt.vocabulary import FileStatus

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

EARLIER_VERSION = "restore the object from its earlier version"


@dataclass(frozen=True)
class LedgerObject:
    """What the ledger says of one version of an input object, and of its copy in the archive."""

    file_id: int
    input_key: str
    etag: str
    last_modified: datetime
    status: str
    size_bytes: int
    sha256: str | None
    archive_key: str | None
    archive_etag: str | None
    input_released_at: datetime | None

    @property
    def subject(self) -> str:
        """How a finding names it."""
        return f"file {self.file_id} ({self.input_key})"


# Size, ETag and time of each object, by key.
Listing = dict[str, tuple[int, str, datetime]]


def check_objects(connection: Connection, s3: S3Client, settings: Settings, *, hash_bytes: bool) -> list[Finding]:
    """Ledger against archive and input, of about this moment: a run that is under way may be between the two."""
    with connection.cursor(row_factory=class_row(LedgerObject)) as cursor:
        columns = ", ".join(LedgerObject.__dataclass_fields__)
        ledger = cursor.execute(f"select {columns} from audit.ingest_files order by file_id".encode()).fetchall()
    manifests = connection.execute(
        "select manifest_id, input_key, archive_key from audit.manifests where archive_key is not null order by 1"
    ).fetchall()
    archived = _listing(s3, settings.s3_bucket_name, settings.s3_archive_prefix)
    arrived = {
        key: found
        for prefix in settings.input_prefixes.values()
        for key, found in _listing(s3, settings.s3_bucket_name, prefix).items()
    }
    # Of files that share their bytes the first one speaks for them.
    claimed = {file.archive_key: file for file in reversed(ledger) if file.archive_key}
    findings = [
        finding
        for key, file in sorted(claimed.items())
        for finding in _in_archive(s3, settings, file, key, archived.get(key), hash_bytes=hash_bytes)
    ]
    findings += [
        Finding("archive", f"manifest {manifest_id} ({name})", f"{key} is not in the archive", EARLIER_VERSION)
        for manifest_id, name, key in manifests
        if key not in archived
    ]
    findings += [finding for file in ledger for finding in _in_input(file, arrived)]
    findings += [
        Finding(
            "archive",
            key,
            "lies in the archive, and no file of the ledger knows it",
            "a claim cut short: drop the file again if it is gone from the input",
        )
        for key in sorted(archived.keys() - claimed.keys() - {key for _, _, key in manifests})
    ]
    return findings


def _in_archive(
    s3: S3Client,
    settings: Settings,
    file: LedgerObject,
    key: str,
    found: tuple[int, str, datetime] | None,
    *,
    hash_bytes: bool,
) -> Iterator[Finding]:
    if found is None:
        yield Finding("archive", file.subject, f"{key} is not in the archive", EARLIER_VERSION)
        return
    size, etag, _ = found
    if size != file.size_bytes:
        problem = f"{key} is {size} bytes long, not {file.size_bytes}"
        yield Finding("archive", file.subject, problem, EARLIER_VERSION)
    # Another ETag is no proof: a restored or encrypted object has one of its own. Then its bytes tell.
    elif (hash_bytes or etag != (file.archive_etag or file.etag)) and _sha256(s3, settings, key) != file.sha256:
        yield Finding("archive", file.subject, f"{key} has other bytes than were claimed", EARLIER_VERSION)


def _in_input(file: LedgerObject, arrived: Listing) -> Iterator[Finding]:
    found = arrived.get(file.input_key)
    if file.input_released_at:
        if file.status == FileStatus.ARCHIVED and found and found[1:] == (file.etag, file.last_modified):
            problem = "is archived, and its version still lies in the input"
            yield Finding("input", file.subject, problem, "delete it: the archive has it")
    elif found is None and file.status != FileStatus.DISCOVERED:
        problem = f"is gone from the input before it was let go (it is {file.status})"
        yield Finding("input", file.subject, problem, "see who deleted it; its bytes are in the archive")


def _listing(s3: S3Client, bucket: str, prefix: str) -> Listing:
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return {
        item["Key"]: (item["Size"], item["ETag"].strip('"'), item["LastModified"])
        for page in pages
        for item in page.get("Contents", [])
    }


def _sha256(s3: S3Client, settings: Settings, key: str) -> str:
    digest = hashlib.sha256()
    for block in read_blocks(s3.get_object(Bucket=settings.s3_bucket_name, Key=key)["Body"]):
        digest.update(block)
    return digest.hexdigest()
