"""Extract: find what was dropped, and claim it by landing its bytes in the archive before anything else happens.

Senders write the same names every day, so the input key is not a safe place. A claim reads one version of the object,
hashing it, and copies exactly that version to its final archive key; from then on everything reads those bytes
(feeds.md, "Land first").
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError
from psycopg import Connection

from elt import audit, manifest
from elt.audit import LedgerFile, WaitingManifest
from elt.contract import FEEDS, MEDILINK_FEEDS, SUFFIXES, contract, feed_of
from elt.manifest import Manifest
from elt.scanner import FileRefused
from elt.settings import Settings
from elt.vocabulary import FileCode, FileStatus, Input

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import ObjectTypeDef

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


# What S3 says of an object that was overwritten or taken away since it was listed.
CHANGED = {"NoSuchKey", "404", "PreconditionFailed", "412"}


class TransferDiffers(Exception):
    """What was read is not what lies in the input; nothing was claimed."""


class ArchiveCopyDiffers(Exception):
    """The archive copy is not what was read from the input; the input object stays, and the next try claims it anew."""


def list_input(s3: S3Client, connection: Connection, settings: Settings, feeds: tuple[str, ...] = FEEDS) -> list[Found]:
    """What lies now where these feeds arrive; claims nothing. `is_new` is False for versions the ledger knows."""
    known = {
        (key, etag, modified)
        for key, etag, modified in connection.execute(
            "select input_key, etag, last_modified from audit.ingest_files where input_released_at is null"
        )
    }
    return [
        Found(item["Key"], etag, item["Size"], feed_of(item["Key"], arrived), is_new)
        for arrived in _inputs(feeds)
        for page in _pages(s3, settings, arrived)
        for item in page
        if not item["Key"].endswith("/") and not manifest.described_by(item["Key"], arrived)
        for etag in [item["ETag"].strip('"')]
        for is_new in [(item["Key"], etag, item["LastModified"]) not in known]
    ]


def _inputs(feeds: tuple[str, ...]) -> list[Input]:
    """Where files of these feeds arrive."""
    return [arrived for arrived in Input if any(contract(feed).input is arrived for feed in feeds)]


def _pages(s3: S3Client, settings: Settings, arrived: Input) -> Iterator[list[ObjectTypeDef]]:
    """The objects of one input, a page of the listing at a time."""
    for page in s3.get_paginator("list_objects_v2").paginate(
        Bucket=settings.s3_bucket_name, Prefix=settings.input_prefixes[arrived]
    ):
        yield page.get("Contents", [])


def extract(
    s3: S3Client, connection: Connection, settings: Settings, batch_id: int, feeds: tuple[str, ...] = FEEDS
) -> list[int]:
    """Claim everything that arrived for these feeds, and take up what an ended batch left unfinished.

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
    for arrived in _inputs(feeds):
        _discover(s3, connection, settings, batch_id, arrived, feeds)
    discovered = audit.files(connection, batch_id, FileStatus.DISCOVERED)
    claimed = [file.file_id for file in discovered if _claim(s3, connection, settings, file)]
    _attach_late_manifests(s3, connection, settings, batch_id)
    return claimed


def _discover(
    s3: S3Client, connection: Connection, settings: Settings, batch_id: int, arrived: Input, feeds: tuple[str, ...]
) -> None:
    manifests = []
    for page in _pages(s3, settings, arrived):
        rows = []
        for item in page:
            key, feed = item["Key"], feed_of(item["Key"], arrived)
            if key.endswith("/") or (feed is not None and feed not in feeds):
                continue
            row = {"key": key, "etag": item["ETag"].strip('"'), "size": item["Size"], "modified": item["LastModified"]}
            if described := manifest.described_by(key, arrived):
                manifests.append(row | {"describes": described, "batch": batch_id})
                continue
            row |= {"batch": batch_id, "feed": feed, "status": FileStatus.DISCOVERED, "code": None, "message": None}
            if feed is None:
                names = f"<feed>*{' or '.join(SUFFIXES)}, feed one of {', '.join(MEDILINK_FEEDS)}"
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
    with connection.transaction(), connection.cursor() as cursor:
        audit.assert_running(connection, batch_id)
        cursor.executemany(
            """
            insert into audit.manifests (input_key, file_key, etag, last_modified, batch_id)
            values (%(key)s, %(describes)s, %(etag)s, %(modified)s, %(batch)s)
            on conflict (input_key, etag, last_modified) do nothing
            """,
            manifests,
        )
        # One that waited, and was overwritten or taken away, describes nothing any more.
        connection.execute(
            """
            update audit.manifests set input_released_at = now()
            where file_id is null and input_released_at is null and starts_with(input_key, %s)
                and (input_key, etag, last_modified) not in (
                    select * from unnest(%s::text[], %s::text[], %s::timestamptz[])
                )
            """,
            [
                settings.input_prefixes[arrived],
                *([row[name] for row in manifests] for name in ("key", "etag", "modified")),
            ],
        )


def _claim(s3: S3Client, connection: Connection, settings: Settings, file: LedgerFile) -> bool:
    """Land one file's bytes and enter it as claimed (or as a duplicate of bytes promoted before).

    False if the object has changed.
    """
    try:
        version_id, sha256, md5 = _read(s3, settings, file)
        original = connection.execute(
            """
            select file_id, archive_key, archive_etag from audit.ingest_files
            where sha256 = %s and feed = %s and status in ('promoted', 'published', 'archived')
            order by file_id limit 1
            """,
            [sha256, file.feed],
        ).fetchone()
        archive_key, archive_etag = original[1:] if original else _land(s3, settings, file, version_id, sha256, md5)
    except ClientError as error:
        if error.response["Error"]["Code"] not in CHANGED:
            raise
        # Overwritten or taken away since it was listed, or between reading and copying: nothing of it was claimed.
        with connection.transaction():
            message = "overwritten or taken away before it was claimed; what stands there now is taken by the next run"
            audit.refuse_file(connection, file.file_id, FileStatus.REJECTED, FileCode.SUPERSEDED, message)
            connection.execute(
                "update audit.ingest_files set input_released_at = now() where file_id = %s", [file.file_id]
            )
        return False
    waiting = next(iter(audit.waiting_manifests(connection, file.input_key)), None)
    promised, refusal = Manifest(None, None), None
    if waiting:
        fetched = _fetch_manifest(s3, settings, waiting)
        if fetched is None:
            return False  # Overwritten since it was listed: the next run compares the file with what stands there then.
        waiting, body = fetched
        try:
            promised = manifest.parse(body)
            _assert_as_promised(file, sha256, promised)
        except FileRefused as mismatch:
            refusal = mismatch
    with connection.transaction():
        audit.assert_running(connection, file.batch_id)
        connection.execute(
            """
            update audit.ingest_files
            set status = %s, version_id = %s, sha256 = %s, archive_key = %s, archive_etag = %s, duplicate_of = %s,
                expected_records = %s, claimed_at = now()
            where file_id = %s and status = 'discovered'
            """,
            [
                FileStatus.DUPLICATE if original else FileStatus.CLAIMED,
                version_id,
                sha256,
                archive_key,
                archive_etag,
                original[0] if original else None,
                promised.rows,
                file.file_id,
            ],
        )
        if waiting:
            _attach(s3, connection, settings, waiting, file.file_id, archive_key)
        if refusal and not original:
            audit.refuse_file(connection, file.file_id, FileStatus.HELD, refusal.code, str(refusal))
        # Deleting a claimed version lets an older one of the same name come to light: taking it would turn back time.
        newer = connection.execute(
            """
            select 1 from audit.ingest_files
            where input_key = %s and last_modified > %s and claimed_at is not null
                and reprocess_of is null  -- As the index has it: what was promoted again was claimed once before.
            """,
            [file.input_key, file.last_modified],
        ).fetchone()
        if newer and not original:
            message = "an older version of a name of which a newer one was taken already; its bytes are in the archive"
            audit.refuse_file(connection, file.file_id, FileStatus.REJECTED, FileCode.SUPERSEDED, message)
    return True


def _assert_as_promised(file: LedgerFile, sha256: str, promised: Manifest) -> None:
    if promised.sha256 not in (None, sha256):
        raise FileRefused(
            FileCode.MANIFEST_MISMATCH,
            "it has another SHA-256 than its manifest promises: it was cut short or changed, or the manifest is "
            f"another's. Drop both again, or let it through: medilink files release {file.file_id}",
        )


def _fetch_manifest(s3: S3Client, settings: Settings, waiting: WaitingManifest) -> tuple[WaitingManifest, bytes] | None:
    """Exactly the version of a manifest that was listed, with its VersionId; None if it has changed."""
    try:
        answer = s3.get_object(Bucket=settings.s3_bucket_name, Key=waiting.input_key, IfMatch=f'"{waiting.etag}"')
    except ClientError as error:
        if error.response["Error"]["Code"] not in CHANGED:
            raise
        return None
    version_id = answer.get("VersionId")
    with answer["Body"] as body:
        content = body.read(manifest.MAX_BYTES + 1)
    return replace(waiting, version_id=None if version_id == "null" else version_id), content


def _attach(
    s3: S3Client, connection: Connection, settings: Settings, waiting: WaitingManifest, file_id: int, archive_key: str
) -> None:
    """Copy the manifest beside the archived bytes of its file; it is let go with that file."""
    key = archive_key + manifest.SUFFIX
    source = {"Bucket": settings.s3_bucket_name, "Key": waiting.input_key}
    if waiting.version_id:
        source["VersionId"] = waiting.version_id
    s3.copy_object(
        Bucket=settings.s3_bucket_name,
        Key=key,
        CopySource=source,  # type: ignore[arg-type]
        CopySourceIfMatch=f'"{waiting.etag}"',
    )
    connection.execute(
        "update audit.manifests set file_id = %s, archive_key = %s, version_id = %s where manifest_id = %s",
        [file_id, key, waiting.version_id, waiting.manifest_id],
    )


def _attach_late_manifests(s3: S3Client, connection: Connection, settings: Settings, batch_id: int) -> None:
    """Attach manifests that came when their file was claimed already, where they describe that file.

    They would be held against the next file of that name otherwise.
    """
    for waiting in audit.waiting_manifests(connection):
        claimed = connection.execute(
            """
            select file_id, sha256, archive_key from audit.ingest_files
            where input_key = %s and archive_key is not null and last_modified <= %s
            order by last_modified desc, file_id desc limit 1
            """,
            [waiting.file_key, waiting.last_modified],
        ).fetchone()
        if claimed is None:
            continue
        fetched = _fetch_manifest(s3, settings, waiting)
        if fetched is None:
            continue
        try:
            promised = manifest.parse(fetched[1])
        except FileRefused:
            continue
        if promised.sha256 == claimed[1]:
            with connection.transaction():
                audit.assert_running(connection, batch_id)
                _attach(s3, connection, settings, fetched[0], claimed[0], claimed[2])


def _read(s3: S3Client, settings: Settings, file: LedgerFile) -> tuple[str | None, str, str]:
    """VersionId (None where the bucket keeps none), SHA-256 and MD5 of exactly the version that was listed.

    Of an object of one part, not encrypted with a key of KMS or the sender's, the ETag is the MD5 of its bytes.
    """
    answer = s3.get_object(Bucket=settings.s3_bucket_name, Key=file.input_key, IfMatch=f'"{file.etag}"')
    version_id = answer.get("VersionId")
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    for block in read_blocks(answer["Body"]):
        sha256.update(block)
        md5.update(block)
    is_plain = answer.get("ServerSideEncryption") in {None, "AES256"} and "SSECustomerAlgorithm" not in answer
    if is_plain and "-" not in file.etag and md5.hexdigest() != file.etag:
        # A hash of what a transfer made of it would stand in the ledger, and no copy would ever agree with it.
        raise TransferDiffers(
            f"{file.input_key}: other bytes came than its ETag says. It is claimed anew on the next try."
        )
    return (None if version_id == "null" else version_id), sha256.hexdigest(), md5.hexdigest()


def read_blocks(body: object) -> Iterator[bytes]:
    """The body of an S3 answer in blocks; botocore raises when it ends before its Content-Length."""
    with body:  # type: ignore[attr-defined]
        yield from body.iter_chunks(BLOCK_BYTES)  # type: ignore[attr-defined]


def _land(
    s3: S3Client, settings: Settings, file: LedgerFile, version_id: str | None, sha256: str, md5: str
) -> tuple[str, str]:
    """Copy exactly the version that was hashed to its archive key, and check the copy; loading hashes it once more.

    Returns key and ETag of the copy.
    """
    name = PurePosixPath(file.input_key).name
    archive_key = f"{settings.s3_archive_prefix}{file.discovered_at:%Y-%m-%d}/{sha256[:12]}/{name}"
    source = {"Bucket": settings.s3_bucket_name, "Key": file.input_key}
    if version_id:
        source["VersionId"] = version_id
    if file.size_bytes > COPY_LIMIT_BYTES:
        s3.copy(source, settings.s3_bucket_name, archive_key)  # type: ignore[arg-type]
        copy = s3.head_object(Bucket=settings.s3_bucket_name, Key=archive_key)
        return archive_key, copy["ETag"].strip('"')
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
    return archive_key, etag
