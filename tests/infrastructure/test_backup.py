"""The restore drill: back up, wreck everything, restore, and find every row and every byte as it was."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from elt import backup, bucket, database
from elt.settings import Settings
from local import postgres
from local.environment import ServiceSettings
from tests.conftest import Warehouse
from tests.infrastructure.conftest import REPOSITORY

SCHEMAS = ("public", "staging", "quarantine", "audit", "analytics", "research")


def fingerprint(admin: psycopg.Connection) -> dict[str, str]:
    """A hash of every row of every table, and of who may do what with it."""
    tables = admin.execute(
        "select nspname, relname, relacl::text, relowner::regrole::text from pg_class"
        " join pg_namespace on pg_namespace.oid = relnamespace"
        " where nspname = any(%s) and relkind in ('r', 'v') order by 1, 2",
        [list(SCHEMAS)],
    ).fetchall()
    prints = {}
    for schema, table, grants, owner in tables:
        rows = admin.execute(
            sql.SQL("select coalesce(string_agg(md5(each::text), '' order by each::text), '') from {} as each").format(
                sql.Identifier(schema, table)
            )
        ).fetchone()
        assert rows is not None
        prints[f"{schema}.{table}"] = hashlib.sha256(f"{rows[0]} {grants} {owner}".encode()).hexdigest()
    return prints


def address(server: postgres.Server, name: str) -> str:
    return make_conninfo(host="127.0.0.1", port=server.port, user="postgres", password="postgres", dbname=name)


def wreck(server: postgres.Server, warehouse: Warehouse) -> None:
    """The database is gone, and so are the archived objects; an empty database and the bucket are all there is."""
    name = warehouse.settings.postgres_db
    with server.connect("postgres") as admin:
        admin.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))
        postgres.ensure_database(admin, name)
    for key in warehouse.objects(warehouse.settings.s3_archive_prefix):
        warehouse.s3.delete_object(Bucket=warehouse.settings.s3_bucket_name, Key=key)


def test_what_was_backed_up_comes_back_whole(server: postgres.Server, warehouse: Warehouse, tmp_path: Path) -> None:
    settings, folder = warehouse.settings, tmp_path / "backup"
    warehouse.drop("facilities.csv", "name,state\nMade Up Clinic,Lagos\n,Lagos\nOther Clinic,Kano\n")
    warehouse.drop(
        "patients.csv", "facility_name,first_name,last_name\nMade Up Clinic,Ada,Example\nNowhere,Ola,Example\n"
    )
    warehouse.ingest()
    with server.connect("postgres", settings.postgres_db) as admin:
        before = fingerprint(admin)
    archived = warehouse.objects(settings.s3_archive_prefix)
    assert len(archived) == 2

    first = backup.create(warehouse.s3, settings, folder)
    # The folder is used again, and what is archived is not fetched twice.
    fetched = {path: path.stat().st_mtime_ns for path in (folder / "archive").rglob("*.csv")}
    second = backup.create(warehouse.s3, settings, folder)
    assert first.objects == second.objects == 2
    assert {path: path.stat().st_mtime_ns for path in (folder / "archive").rglob("*.csv")} == fetched
    assert oct(folder.stat().st_mode)[-3:] == "700"

    wreck(server, warehouse)
    backup.restore(warehouse.s3, settings, address(server, settings.postgres_db), folder)

    with server.connect("postgres", settings.postgres_db) as admin:
        assert fingerprint(admin) == before
    assert warehouse.objects(settings.s3_archive_prefix) == archived
    # And the pipeline goes on: the same drop is known.
    warehouse.drop("facilities.csv", "name,state\nMade Up Clinic,Lagos\n,Lagos\nOther Clinic,Kano\n")
    assert [file.status for file in warehouse.ingest().files] == ["duplicate"]


def test_nothing_is_restored_over_what_is_there(server: postgres.Server, warehouse: Warehouse, tmp_path: Path) -> None:
    settings = warehouse.settings
    backup.create(warehouse.s3, settings, tmp_path)
    with pytest.raises(backup.BackupFailed, match="is not empty, and nothing is restored over it"):
        backup.restore(warehouse.s3, settings, address(server, settings.postgres_db), tmp_path)


def test_a_damaged_or_unfinished_backup_is_refused(
    server: postgres.Server, warehouse: Warehouse, tmp_path: Path
) -> None:
    settings = warehouse.settings
    admin = address(server, settings.postgres_db)
    with pytest.raises(backup.BackupFailed, match=r"no backup.json in it"):
        backup.restore(warehouse.s3, settings, admin, tmp_path)
    backup.create(warehouse.s3, settings, tmp_path)
    with (tmp_path / "warehouse.dump").open("ab") as dump:
        dump.write(b"x")
    with pytest.raises(backup.BackupFailed, match="damaged, its SHA-256 is not that of"):
        backup.restore(warehouse.s3, settings, admin, tmp_path)


def test_a_backup_that_cannot_be_made_says_so_and_shows_no_password(settings: Settings, tmp_path: Path) -> None:
    nowhere = settings.model_copy(update={"postgres_port": postgres.free_port()})
    with pytest.raises(backup.BackupFailed, match="pg_dump failed: ") as failure:
        backup.create(bucket.client(nowhere), nowhere, tmp_path)
    assert settings.postgres_password.get_secret_value() not in str(failure.value)
    assert not (tmp_path / "backup.json").exists()


def test_the_init_service_prepares_an_empty_server_as_a_master_user_that_is_no_superuser(
    settings: Settings, s3_endpoint: str
) -> None:
    """As on RDS: CREATEROLE and CREATEDB, and nothing more; twice, as it runs at every start."""
    specification = importlib.util.spec_from_file_location("prepare", REPOSITORY / "deployment" / "prepare.py")
    assert specification
    assert specification.loader
    deployment = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(deployment)
    with postgres.throwaway() as empty:
        with empty.connect("postgres") as admin:
            admin.execute("create role master login createrole createdb password 'master'")
        ours = ServiceSettings.model_validate(
            settings.model_dump()
            | {"postgres_port": empty.port, "postgres_db": "medilink", "aws_endpoint_url": s3_endpoint}
        )
        master = make_conninfo(host="127.0.0.1", port=empty.port, user="master", password="master", dbname="postgres")
        for _ in range(2):
            deployment.prepare(ours, master)
        with database.connect(ours, "loader") as connection:
            assert connection.execute("select count(*) from audit.batches").fetchone() == (0,)
        assert bucket.client(ours).head_bucket(Bucket=ours.s3_bucket_name)
