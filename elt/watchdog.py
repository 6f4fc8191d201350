"""The watchdog: has a run been published lately? It runs outside Airflow: a scheduler that stands still is noticed.

It tells a webhook what is wrong, and CloudWatch how it stands; an alarm there also goes off when nothing comes, so that
somebody hears of a watchdog that died with its machine.
"""

from __future__ import annotations

import json
import urllib.request
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from psycopg import Connection

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient

# A night a day, two hours to spare.
MAX_AGE_HOURS = 26


@dataclass(frozen=True)
class Freshness:
    """How long ago readers got a new release, and how many runs of the last 24 hours did not succeed."""

    published_at: datetime | None
    hours: float | None
    failed_runs: int

    def complaint(self, max_age_hours: float) -> str | None:
        """What is wrong, and what to do; None when all is well."""
        advice = "See docs/operations.md, MedilinkNotPublished."
        if self.published_at is None or self.hours is None:
            return f"No run was ever published. {advice}"
        if self.hours > max_age_hours:
            return (
                f"No run was published for {self.hours:.0f} hours: the newest release is of"
                f" {self.published_at:%Y-%m-%d %H:%M} UTC, {self.failed_runs} runs failed since yesterday. {advice}"
            )
        return None


def freshness(connection: Connection) -> Freshness:
    """Ask the ledger."""
    row = connection.execute(
        """
        select
            published_at,
            extract(epoch from now() - published_at)::float / 3600,
            (
                select count(*) from audit.batches
                where state in ('failed', 'abandoned') and completed_at > now() - interval '24 hours'
            )
        from (select max(published_at) as published_at from audit.releases) as newest
        """
    ).fetchone()
    assert row is not None  # noqa: S101 - an aggregate always has a row
    return Freshness(*row)


def tell(webhook: str, complaint: str) -> None:
    """Send the complaint to a webhook (`{"text": …}`, as Slack, Teams, Mattermost and Alertmanager bridges take it).

    Raises `OSError` when it is not taken.
    """
    request = urllib.request.Request(  # noqa: S310 - settings take no other scheme than http and https
        webhook, json.dumps({"text": f"Medilink: {complaint}"}).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10):  # noqa: S310
        pass


def measure(cloudwatch: CloudWatchClient, namespace: str, environment: str, found: Freshness) -> None:
    """Put freshness and failures into CloudWatch. Nothing is put for what was never published: silence alarms."""
    numbers = {"FailedRuns": float(found.failed_runs)}
    if found.hours is not None:
        numbers["HoursSincePublication"] = found.hours
    cloudwatch.put_metric_data(
        Namespace=namespace,
        MetricData=[
            {"MetricName": name, "Value": value, "Dimensions": [{"Name": "Environment", "Value": environment}]}
            for name, value in numbers.items()
        ],
    )
