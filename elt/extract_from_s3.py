"""Extract: find what was dropped, and claim it by landing its bytes in the archive before anything else happens.

Senders write the same names every day, so the input key is not a safe place. A claim reads one version of the object,
hashing it, and copies exactly that version to its final archive key; from then on everything reads those bytes
(feeds.md, "Land first").
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError
from psycopg import Connection

from elt import audit
from elt.audit import LedgerFile
from elt.contract import FEEDS, SUFFIXES, feed_of
from elt.settings import Settings
from elt.vocabulary import FileCode, FileStatus

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

BLOCK_BYTES = 256 * 1024

# CopyObject takes no more than this; larger objects are copied in parts.
COPY_LIMIT_BYTES = 5 * 1024**3


@dataclass(frozen=True)
class Found:
    """An object in the input, as the listing shows it, and the feed that claims it."""

    key: str
    etag: str
    size_bytes: int
    feed: str | None
    is_new: bool

    def __str__(self) -> str:
        state = "new" if self.is_new else "known"
        return f"{self.key}  {self.size_bytes} bytes  {self.feed or 'no feed claims it'}  {state}"


class ArchiveCopyDiffers(Exception):
    """The archive copy is not what was read from the input; the input object stays, and the next try claims it anew."""


def list_input(s3: S3Client, connection: Connection, settings: Settings) -> list[Found]:
    """What lies in the input now; claims nothing. `is_new` is False for versions the ledger knows."""
    known = {
        (key, etag, modified)
        for key, etag, modified in connection.execute(
            "select input_key, etag, last_modified from audit.ingest_files where input_released_at is null"
        )
    }
    found = []
    for page in s3.get_paginator("list_objects_v2").paginate(
        Bucket=settings.s3_bucket_name, Prefix=settings.s3_input_prefix
    ):
        for item in page.get("Contents", []):
            if not item["Key"].endswith("/"):
                etag = item["ETag"].strip('"')
                is_new = (item["Key"], etag, item["LastModified"]) not in known
                found.append(Found(item["Key"], etag, item["Size"], feed_of(item["Key"]), is_new))
    return found


def extract(
    s3: S3Client, connection: Connection, settings: Settings, batch_id: int, feeds: tuple[str, ...] = FEEDS
) -> list[int]:
    """Claim everything that lies in the input for these feeds, and take up what an ended batch left unfinished.

    Returns the ids of the files claimed. A file that no feed claims is entered as rejected once, and stays where it is.
    An object that changes between listing and claim is left to the next run.
    """
    with connection.transaction():
        audit.assert_running(connection, batch_id)
        connection.execute(
            """
            update audit.ingest_files set batch_id = %s
            where status in ('discovered', 'claimed', 'staged') and feed = any(%s) and batch_id <> %s
            """,
            [batch_id, list(feeds), batch_id],
        )
    _discover(s3, connection, settings, batch_id, feeds)
    discovered = audit.files(connection, batch_id, FileStatus.DISCOVERED)
    return [file.file_id for file in discovered if _claim(s3, connection, settings, file)]


def _discover(s3: S3Client, connection: Connection, settings: Settings, batch_id: int, feeds: tuple[str, ...]) -> None:
    for page in s3.get_paginator("list_objects_v2").paginate(
        Bucket=settings.s3_bucket_name, Prefix=settings.s3_input_prefix
    ):
        rows = []
        for item in page.get("Contents", []):
            key, feed = item["Key"], feed_of(item["Key"])
            if key.endswith("/") or (feed is not None and feed not in feeds):
                continue
            row = {"key": key, "etag": item["ETag"].strip('"'), "size": item["Size"], "modified": item["LastModified"]}
            row |= {"batch": batch_id, "feed": feed, "status": FileStatus.DISCOVERED, "code": None, "message": None}
            if feed is None:
                names = f"<feed>*{' or '.join(SUFFIXES)}, feed one of {', '.join(FEEDS)}"
                hint = f"no feed claims this name: call it {names}"
                row |= {"status": FileStatus.REJECTED, "code": FileCode.UNKNOWN_FEED, "message": hint}
            rows.append(row)
        with connection.transaction(), connection.cursor() as cursor:
            audit.assert_running(connection, batch_id)
            cursor.executemany(
                """
                insert into audit.ingest_files (
                    input_key, etag, size_bytes, last_modified, batch_id, feed, status, error_code, error_message
                )
                select
                    %(key)s, %(etag)s, %(size)s, %(modified)s, %(batch)s, %(feed)s, %(status)s, %(code)s, %(message)s
                where not exists (
                    select from audit.ingest_files
                    where input_key = %(key)s and etag = %(etag)s and last_modified = %(modified)s
                )
                """,
                rows,
            )


def _claim(s3: S3Client, connection: Connection, settings: Settings, file: LedgerFile) -> bool:
    """Land one file's bytes and enter it as claimed (or as a duplicate of bytes promoted before).

    False if the object has changed.
    """
    try:
        version_id, sha256, md5 = _read(s3, settings, file)
    except ClientError as error:
        if error.response["Error"]["Code"] not in {"NoSuchKey", "404", "PreconditionFailed", "412"}:
            raise
        # Overwritten or taken away since it was listed: nothing of this version was claimed.
        with connection.transaction():
            message = "overwritten or taken away before it was claimed; what stands there now is taken by the next run"
            audit.refuse_file(connection, file.file_id, FileStatus.REJECTED, FileCode.SUPERSEDED, message)
            connection.execute(
                "update audit.ingest_files set input_released_at = now() where file_id = %s", [file.file_id]
            )
        return False
    original = connection.execute(
        """
        select file_id, archive_key from audit.ingest_files
        where sha256 = %s and feed = %s and status in ('promoted', 'published', 'archived')
        order by file_id limit 1
        """,
        [sha256, file.feed],
    ).fetchone()
    archive_key = original[1] if original else _land(s3, settings, file, version_id, sha256, md5)
    with connection.transaction():
        audit.assert_running(connection, file.batch_id)
        connection.execute(
            """
            update audit.ingest_files
            set status = %s, version_id = %s, sha256 = %s, archive_key = %s, duplicate_of = %s, claimed_at = now()
            where file_id = %s and status = 'discovered'
            """,
            [
                FileStatus.DUPLICATE if original else FileStatus.CLAIMED,
                version_id,
                sha256,
                archive_key,
                original[0] if original else None,
                file.file_id,
            ],
        )
        # Deleting a claimed version lets an older one of the same name come to light: taking it would turn back time.
        newer = connection.execute(
            "select 1 from audit.ingest_files where input_key = %s and last_modified > %s and claimed_at is not null",
            [file.input_key, file.last_modified],
        ).fetchone()
        if newer and not original:
            message = "an older version of a name of which a newer one was taken already; its bytes are in the archive"
            audit.refuse_file(connection, file.file_id, FileStatus.REJECTED, FileCode.SUPERSEDED, message)
    return True


def _read(s3: S3Client, settings: Settings, file: LedgerFile) -> tuple[str | None, str, str]:
    """VersionId (None where the bucket keeps none), SHA-256 and MD5 of exactly the version that was listed."""
    answer = s3.get_object(Bucket=settings.s3_bucket_name, Key=file.input_key, IfMatch=f'"{file.etag}"')
    version_id = answer.get("VersionId")
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    for block in read_blocks(answer["Body"]):
        sha256.update(block)
        md5.update(block)
    return (None if version_id == "null" else version_id), sha256.hexdigest(), md5.hexdigest()


def read_blocks(body: object) -> Iterator[bytes]:
    """The body of an S3 answer in blocks; botocore raises when it ends before its Content-Length."""
    with body:  # type: ignore[attr-defined]
        yield from body.iter_chunks(BLOCK_BYTES)  # type: ignore[attr-defined]


def _land(s3: S3Client, settings: Settings, file: LedgerFile, version_id: str | None, sha256: str, md5: str) -> str:
    """Copy exactly the version that was hashed to its archive key, and check the copy; loading hashes it once more."""
    name = PurePosixPath(file.input_key).name
    archive_key = f"{settings.s3_archive_prefix}{file.discovered_at:%Y-%m-%d}/{sha256[:12]}/{name}"
    source = {"Bucket": settings.s3_bucket_name, "Key": file.input_key}
    if version_id:
        source["VersionId"] = version_id
    if file.size_bytes > COPY_LIMIT_BYTES:
        s3.copy(source, settings.s3_bucket_name, archive_key)  # type: ignore[arg-type]
        return archive_key
    answer = s3.copy_object(
        Bucket=settings.s3_bucket_name,
        Key=archive_key,
        CopySource=source,  # type: ignore[arg-type]
        CopySourceIfMatch=f'"{file.etag}"',
    )
    etag = answer["CopyObjectResult"]["ETag"].strip('"')
    # An ETag that was the MD5 of the original must be that of the copy; of encrypted or multipart objects it tells
    # nothing.
    if file.etag == md5 != etag:
        raise ArchiveCopyDiffers(
            f"{file.input_key}: the archive copy {archive_key} is not what was read."
            " It is claimed anew on the next try."
        )
    return archive_key
