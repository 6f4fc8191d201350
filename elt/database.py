"""Connections to the warehouse, and how it is made: roles and schemas (`init.sql`), then migrations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from elt.settings import Settings

HERE = Path(__file__).parent

# A peer that has gone without a word is noticed within about a minute, not after the kernel's two hours; by the server,
# too, so that it does not keep the locks of a client that is gone.
KEEPALIVES: dict[str, Any] = {
    "keepalives": 1,
    "keepalives_idle": 20,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 50_000,
}
SERVER_KEEPALIVES = (
    "-c tcp_keepalives_idle=20 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=3 -c tcp_user_timeout=50s"
    " -c client_connection_check_interval=10s"
)
# No statement of the pipeline outlives Airflow's execution_timeout.
PIPELINE_OPTIONS = f"-c timezone=UTC -c lock_timeout=120s -c statement_timeout=2h {SERVER_KEEPALIVES}"


def connect(settings: Settings, role: str) -> psycopg.Connection:
    """A connection of the pipeline that acts as `role` (loader, transformer or medilink_owner), in UTC.

    It commits each statement by itself; what belongs together stands in `with connection.transaction()`. Raises
    `psycopg.OperationalError` when the server cannot be reached within 10 seconds.
    """
    connection = psycopg.connect(
        host=settings.postgres_host,
        port=settings.postgres_port,
        user=settings.postgres_user,
        password=settings.postgres_password.get_secret_value(),
        dbname=settings.postgres_db,
        sslmode=settings.postgres_sslmode,
        connect_timeout=10,
        application_name=f"medilink-{role}",
        options=PIPELINE_OPTIONS,
        **KEEPALIVES,
    )
    return act_as(connection, role)


def act_as(connection: psycopg.Connection, role: str) -> psycopg.Connection:
    """Give up the log-in's own rights for those of `role`, and set the connection up as `connect` describes."""
    connection.autocommit = True
    # Temporary tables come and go with other columns under the same statement: a prepared plan would not fit.
    connection.prepare_threshold = None
    connection.execute(sql.SQL("set role {}").format(sql.Identifier(role)))
    return connection


def end_sessions(connection: psycopg.Connection, application: str) -> None:
    """End every other session of this log-in that calls itself `application`, and wait up to 5 seconds for each."""
    with connection.transaction(force_rollback=True):
        # The log-in may end its own sessions; the role it acts as may not.
        connection.execute("set local role none")
        connection.execute(
            "select pg_terminate_backend(pid, 5000) from pg_stat_activity where application_name = %s"
            " and datname = current_database() and usename = current_user and pid <> pg_backend_pid()",
            [application],
        )


def initialise(admin: psycopg.Connection, settings: Settings) -> None:
    """Run `init.sql` as a superuser (or RDS master user), and make the log-ins of the pipeline and the API.

    Safe to repeat: passwords are set to those of the settings, nothing else changes.
    """
    admin.execute((HERE / "init.sql").read_text(encoding="utf-8").encode())
    logins = (
        (settings.postgres_user, settings.postgres_password, "medilink_owner, loader, transformer"),
        (settings.api_postgres_user, settings.api_postgres_password, "api_read"),
    )
    for login, password, roles in logins:
        if not admin.execute("select 1 from pg_roles where rolname = %s", [login]).fetchone():
            admin.execute(sql.SQL("create role {}").format(sql.Identifier(login)))
        admin.execute(
            sql.SQL("alter role {} login password {}").format(
                sql.Identifier(login), sql.Literal(password.get_secret_value())
            )
        )
        admin.execute(sql.SQL("grant " + roles + " to {}").format(sql.Identifier(login)))
    # What the API's log-in may do only when it says so, transaction by transaction.
    admin.execute(
        sql.SQL("grant api_read_all, api_write to {} with inherit false, set true").format(
            sql.Identifier(settings.api_postgres_user)
        )
    )


def newest_revision() -> str:
    """The migration that this release of the code was made for."""
    from alembic.script import ScriptDirectory  # noqa: PLC0415 - see migrate

    return str(ScriptDirectory(str(HERE / "migrations")).get_current_head())


def migrate(settings: Settings) -> None:
    """Bring the schema to the newest migration, as medilink_owner.

    Views of dbt that could stand in the way are dropped first.
    """
    # They take 25 MB, which no other step of the pipeline needs.
    import sqlalchemy  # noqa: PLC0415
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from alembic.migration import MigrationContext  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(HERE / "migrations"))

    def transactional() -> psycopg.Connection:
        connection = connect(settings, "medilink_owner")
        connection.autocommit = False
        return connection

    engine = sqlalchemy.create_engine("postgresql+psycopg://", creator=transactional, poolclass=sqlalchemy.NullPool)
    with engine.begin() as connection:
        # One migration at a time: a second starter waits here and then finds nothing to do.
        connection.exec_driver_sql("select pg_advisory_xact_lock(hashtext('medilink migrations'))")
        at = MigrationContext.configure(
            connection, opts={"version_table_schema": "audit", "version_table": "schema_version"}
        )
        if at.get_current_revision() == ScriptDirectory.from_config(config).get_current_head():
            return
        # dbt's views over public would block `alter type` and `drop column`; dbt makes them anew in each run. A run
        # that was interrupted needs them still, which is why they go only when there is something to migrate.
        connection.exec_driver_sql("set local role transformer")
        connection.exec_driver_sql("drop schema if exists dbt_staging cascade")
        connection.exec_driver_sql("set local role medilink_owner")
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
