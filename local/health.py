"""Which of the embedded services are healthy, asked of the services themselves."""

from __future__ import annotations

from datetime import UTC, datetime

import psycopg

from elt.database import connect
from local import airflow, api, dashboard, s3
from local.environment import LocalSettings

SERVICES = ("postgres", "s3", *airflow.COMPONENTS, "api", "dashboard")
LONG_AGO = datetime.fromtimestamp(0, UTC)


def healthy_services(settings: LocalSettings, since: datetime = LONG_AGO) -> set[str]:
    """The names of the services that answer; Airflow's must have given a sign of life after `since`."""
    healthy = airflow.healthy_components(settings, since)
    if s3.is_ready(settings.s3_port):
        healthy.add("s3")
    if api.is_ready(settings):
        healthy.add("api")
    if dashboard.is_ready(settings):
        healthy.add("dashboard")
    try:
        connect(settings, "loader").close()
    except psycopg.Error:
        return healthy
    return healthy | {"postgres"}
