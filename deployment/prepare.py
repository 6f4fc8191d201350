"""Make databases, roles, tables and, beside the S3 container, the bucket; for the `init` service of compose."""

from __future__ import annotations

import os
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from elt import bucket, clients, database
from elt.vocabulary import Role
from local import airflow, postgres
from local.environment import ServiceSettings


def admin_address(settings: ServiceSettings) -> str:
    """Address of the server as its superuser, or as RDS's master user (POSTGRES_ADMIN_URL_FILE)."""
    if path := os.environ.get("POSTGRES_ADMIN_URL_FILE"):
        return Path(path).read_text(encoding="utf-8").strip()
    return make_conninfo(
        host=settings.postgres_host,
        port=settings.postgres_port,
        user=postgres.SUPERUSER,
        password=settings.postgres_superuser_password.get_secret_value(),
        dbname="postgres",
    )


def prepare(settings: ServiceSettings, admin: str) -> None:
    """Safe to repeat: passwords are set to those of the settings, migrations run where they are due."""
    with psycopg.connect(admin, autocommit=True) as connection:
        postgres.ensure_owner(connection, "airflow", settings.airflow_db_password.get_secret_value(), airflow.DATABASE)
        postgres.ensure_database(connection, settings.postgres_db)
    with psycopg.connect(make_conninfo(admin, dbname=settings.postgres_db), autocommit=True) as connection:
        database.initialise(connection, settings)
    database.migrate(settings)
    with database.connect(settings, "medilink_owner") as warehouse:
        clients.ensure(warehouse, settings.api_client_id, Role.ADMIN, settings.api_client_secret.get_secret_value())
    # On AWS Terraform makes it.
    if settings.aws_endpoint_url:
        bucket.ensure_bucket(bucket.client(settings), settings)


if __name__ == "__main__":
    settings = ServiceSettings()
    prepare(settings, admin_address(settings))
