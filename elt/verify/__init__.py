"""Verify: ask a warehouse whether it keeps its promises.

Read-only, beside a live system; the oracle of every integration test. The database enforces that a file's counts add
up. This recomputes the counts themselves from what really stands in `public`, in quarantine and in the audit log, and
holds the ledger against bucket and archive, the marts against their release, rights against what is declared.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from psycopg import Connection

from elt.database import newest_revision
from elt.settings import Settings
from elt.verify.access import check_access
from elt.verify.finding import Finding, NotVerifiable
from elt.verify.marts import check_marts
from elt.verify.objects import check_objects
from elt.verify.rows import check_rows

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = ["Finding", "NotVerifiable", "verify"]

# What a running pipeline does to an object and to the ledger is some milliseconds apart.
SECOND_LOOK_SECONDS = 2.0


def verify(connection: Connection, s3: S3Client, settings: Settings, *, hash_bytes: bool = False) -> list[Finding]:
    """Every promise that does not hold, none when the warehouse is clean.

    All rows are seen at one moment; what ledger and bucket disagree about is looked at twice, because they cannot be.
    With `hash_bytes` each archived object is read and hashed; sizes and ETags are compared otherwise. `connection` may
    act as any role that the pipeline's log-in can take. Raises `NotVerifiable` where the schema is not the one that
    this release knows, and what the database or the bucket raises when they cannot be asked: silence is never taken
    for "clean".
    """
    with connection.transaction():
        connection.execute("set transaction isolation level repeatable read, read only")
        connection.execute("set local role medilink_owner")
        _assert_schema(connection, settings)
        findings = list(check_access(connection, settings))
        # Rows in strange hands cannot be counted, and need not be: that is a finding in itself.
        if not any(finding.check == "ownership" for finding in findings):
            findings += check_rows(connection)
    with connection.transaction():
        connection.execute("set transaction isolation level repeatable read, read only")
        connection.execute("set local role medilink_owner")
        findings += check_marts(connection)
    in_bucket = check_objects(connection, s3, settings, hash_bytes=hash_bytes)
    if in_bucket:
        time.sleep(SECOND_LOOK_SECONDS)
        again = set(check_objects(connection, s3, settings, hash_bytes=hash_bytes))
        in_bucket = [finding for finding in in_bucket if finding in again]
    return findings + in_bucket


def _assert_schema(connection: Connection, settings: Settings) -> None:
    """A schema that is older, newer or half made holds other promises than these."""
    place = f"database {settings.postgres_db} at {settings.postgres_host}:{settings.postgres_port}"
    if connection.execute("select to_regclass('audit.schema_version')").fetchone() == (None,):
        raise NotVerifiable(f"{place} holds no warehouse. Make one (medilink db init), or correct POSTGRES_*.")
    at = [revision for (revision,) in connection.execute("select version_num from audit.schema_version")]
    if at != [wanted := newest_revision()]:
        raise NotVerifiable(
            f"the schema of {place} is at migration {', '.join(at) or 'none'}, this release knows {wanted}. Let no run "
            "start, migrate (medilink db migrate) or install the release that the schema belongs to, and ask again."
        )
