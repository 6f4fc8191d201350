"""Bringing the services up: each as soon as what it needs is there, all of them healthy in the end."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from secrets import token_urlsafe

from elt import bucket, clients, database
from elt.vocabulary import Role
from local import airflow, api, dashboard, postgres, s3
from local.environment import LocalSettings
from local.health import SERVICES, healthy_services
from local.progress import Progress
from local.supervisor import StartFailed, Supervisor

START_TIMEOUT = 180.0
MIGRATION = "airflow-migration"


def bring_up(supervisor: Supervisor, settings: LocalSettings, progress: Progress) -> datetime:
    """Start every service and wait until all are healthy; returns since when Airflow runs.

    Raises `StartFailed`, or `ChildDied` when a service ends.
    """
    home = settings.medilink_home
    airflow.prepare(settings)
    superuser = settings.postgres_superuser_password.get_secret_value()
    supervisor.start(s3.service(home, settings.s3_port))
    if not (home / "postgres").exists():
        progress.waiting("making the PostgreSQL data directory")
    server, service = postgres.service(home, settings.postgres_port, superuser)
    supervisor.start(service)
    progress.waiting("waiting for PostgreSQL (after a crash it first replays its log)")
    _wait(supervisor, lambda: postgres.is_ready(server, superuser), "PostgreSQL")
    with server.connect(superuser) as admin:
        postgres.ensure_owner(admin, "airflow", settings.airflow_db_password.get_secret_value(), airflow.DATABASE)
        postgres.ensure_database(admin, settings.postgres_db)
    with server.connect(superuser, airflow.DATABASE) as airflow_database:
        is_migrated = airflow.is_migrated(settings, airflow_database)
        if not is_migrated:
            supervisor.start(airflow.migration(settings))
        with server.connect(superuser, settings.postgres_db) as admin:
            database.initialise(admin, settings)
        # While Airflow makes its tables, the warehouse gets its own.
        progress.waiting("migrating the warehouse")
        database.migrate(settings)
        with database.connect(settings, "medilink_owner") as warehouse:
            secret = settings.api_client_secret.get_secret_value()
            clients.ensure(warehouse, settings.api_client_id, Role.ADMIN, secret)
            # New at every start: nobody else needs it. An analyst sees every figure, and no patient.
            opens_dashboard = token_urlsafe(24)
            clients.ensure(warehouse, dashboard.CLIENT_ID, Role.ANALYST, opens_dashboard)
        if not is_migrated:
            progress.waiting("making Airflow's tables (once for each version of Airflow, about 10 s)")
            _wait(supervisor, lambda: supervisor.finished(MIGRATION), MIGRATION)
            airflow.mark_migrated(settings, airflow_database)
    since = datetime.now(UTC)
    for service in airflow.services(settings):
        supervisor.start(service)
    _wait(supervisor, lambda: s3.is_ready(settings.s3_port), "s3")
    bucket.ensure_bucket(bucket.client(settings), settings)
    supervisor.start(api.service(settings))
    supervisor.start(dashboard.service(settings, opens_dashboard))
    _wait_for_health(supervisor, settings, progress, since)
    return since


def _wait(supervisor: Supervisor, condition: Callable[[], bool], name: str) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while not condition():
        supervisor.check(but=[MIGRATION])
        if time.monotonic() > deadline:
            raise StartFailed(f"{name} did not get ready within {START_TIMEOUT:.0f} s. See {supervisor.logs}")
        time.sleep(0.05)


def _wait_for_health(supervisor: Supervisor, settings: LocalSettings, progress: Progress, since: datetime) -> None:
    """Wait until every service is healthy, telling which are not yet."""
    deadline = time.monotonic() + START_TIMEOUT
    while missing := set(SERVICES) - healthy_services(settings, since):
        reason = (
            " (Airflow loads its providers, 10 to 20 s on two cores)" if missing & airflow.COMPONENTS.keys() else ""
        )
        progress.waiting(f"waiting for {', '.join(sorted(missing))}{reason}")
        supervisor.check()
        if time.monotonic() > deadline:
            name = min(missing)
            raise StartFailed(
                f"{name} is not healthy after {START_TIMEOUT:.0f} s. Its log ends with:\n\n{supervisor.tail(name)}"
            )
        time.sleep(0.25)
