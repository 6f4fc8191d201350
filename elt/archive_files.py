"""Archive: let go of input objects whose bytes are safe in the archive and whose batch is published.

The last step, and only a delete.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.exceptions import ClientError
from psycopg import Connection, sql

from elt import audit
from elt.audit import LedgerFile, WaitingManifest
from elt.contract import FEEDS
from elt.settings import Settings
from elt.vocabulary import FileStatus

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class ArchiveCopyMissing(Exception):
    """The archive does not hold what the ledger says; the input object stays."""


def archive_files(s3: S3Client, connection: Connection, settings: Settings, batch_id: int) -> int:
    """Delete the claimed input objects, of this batch and of any before it; returns how many files were let go.

    A newer object under the same name stays, and is taken by the next run. Held, rejected and duplicate files are let
    go as well: their bytes are in the archive, and the ledger says what to do about them.
    """
    done = audit.files_done_with(connection)
    for file in done:
        _assert_archived(s3, settings, file)
        _delete_input(s3, settings, file)
        with connection.transaction():
            audit.assert_running(connection, batch_id)
            connection.execute(
                "update audit.ingest_files set input_released_at = now(),"
                " archived_at = case when status = %(published)s then now() end,"
                " status = case when status = %(published)s then %(archived)s else status end where file_id = %(file)s",
                {"published": FileStatus.PUBLISHED, "archived": FileStatus.ARCHIVED, "file": file.file_id},
            )
    with connection.transaction():
        audit.assert_running(connection, batch_id)
        # A file that was released or is promoted again was let go before it was published.
        connection.execute(
            "update audit.ingest_files set status = %s, archived_at = now()"
            " where status = %s and input_released_at is not null",
            [FileStatus.ARCHIVED, FileStatus.PUBLISHED],
        )
    for manifest in audit.manifests_done_with(connection):
        _delete_input(s3, settings, manifest)
        with connection.transaction():
            audit.assert_running(connection, batch_id)
            connection.execute(
                "update audit.manifests set input_released_at = now() where manifest_id = %s", [manifest.manifest_id]
            )
    _forget_staged_rows(connection, settings, batch_id)
    return len(done)


def _forget_staged_rows(connection: Connection, settings: Settings, batch_id: int) -> None:
    """Staged rows are kept some days for whoever looks into a run; the archive is the raw truth."""
    for feed in FEEDS:
        staging = sql.Identifier("staging", feed)
        with connection.transaction():
            audit.assert_running(connection, batch_id)
            forgotten = connection.execute(
                sql.SQL(
                    """
                    delete from {} where _file_id in (
                        select file_id from audit.ingest_files
                        where status = 'archived' and promoted_at < now() - make_interval(days => %s)
                    )
                    """
                ).format(staging),
                [settings.staging_retention_days],
            ).rowcount
        if forgotten:
            with connection.transaction():
                audit.assert_running(connection, batch_id)
                # New rows take the place of these: a range of pages would seem to hold all files from then to now.
                connection.execute("set local role medilink_owner")
                connection.execute(sql.SQL("reindex table {}").format(staging))


def _assert_archived(s3: S3Client, settings: Settings, file: LedgerFile) -> None:
    """The last look before the only delete: the copy is there, as large as the original."""
    try:
        size = s3.head_object(Bucket=settings.s3_bucket_name, Key=str(file.archive_key))["ContentLength"]
    except ClientError as error:
        if error.response["Error"]["Code"] not in {"404", "NoSuchKey"}:
            raise
        size = -1
    if size != file.size_bytes:
        raise ArchiveCopyMissing(
            f"{file.archive_key}: not there, or not {file.size_bytes} bytes long; {file.input_key} stays in the input. "
            "Find out who changed the archive, and restore the object from its earlier version."
        )


def _delete_input(s3: S3Client, settings: Settings, file: LedgerFile | WaitingManifest) -> None:
    """Delete the claimed version and no other: by VersionId, or after a fresh look where the bucket keeps no versions.

    Between that look and the delete an overwrite would be lost: a bucket without versioning leaves a window of
    milliseconds.
    """
    if file.version_id:
        s3.delete_object(Bucket=settings.s3_bucket_name, Key=file.input_key, VersionId=file.version_id)
        return
    try:
        now = s3.head_object(Bucket=settings.s3_bucket_name, Key=file.input_key)
    except ClientError as error:
        if error.response["Error"]["Code"] in {"404", "NoSuchKey"}:
            return
        raise
    if (now["ETag"].strip('"'), now["LastModified"]) == (file.etag, file.last_modified):
        s3.delete_object(Bucket=settings.s3_bucket_name, Key=file.input_key)
