"""What a run did and where everything is: the last thing that `./start.sh` prints."""

from __future__ import annotations

import sys
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from elt.report import BatchReport, EntityReport, FileReport
from local import airflow, api, dashboard
from local.environment import LocalSettings, env_file
from local.postgres import programs

COUNTS = ("processed", "inserted", "updated", "unchanged", "duplicate", "parked", "failed")


def print_report(console: Console, report: BatchReport) -> None:
    """Per file and per table what became of the rows, the models and tests, and the time of each step."""
    if report.files:
        files = _table("File", "Status", *COUNTS)
        for file in report.files:
            files.add_row(
                file.input_key.rpartition("/")[2],
                file.status,
                *_numbers(file),
            )
        console.print(files)
        for file in report.files:
            for remark in (file.error_message, file.warning):
                if remark:
                    console.print(f"{file.input_key}: {remark}", markup=False, soft_wrap=True)
    else:
        console.print("No new files: nothing was loaded.")
    if report.entities:
        entities = _table("Table", "From", *COUNTS)
        for entity in report.entities:
            entities.add_row(
                entity.table_name,
                entity.origin,
                *_numbers(entity),
            )
        console.print(entities)
    for rows in report.quarantine:
        console.print(str(rows), markup=False, soft_wrap=True)
    steps = _table("Step", "State", "seconds")
    for step in report.steps:
        steps.add_row(step.step, step.state, f"{step.seconds:.1f}")
    console.print(steps)
    console.print(
        f"dbt: {report.models_built} models built, {report.tests_passed} tests passed, "
        f"{report.tests_warned} warned, {report.tests_failed} failed"
    )


def print_addresses(console: Console, settings: LocalSettings) -> None:
    """Where the services are, how to log in, and a first request to paste."""
    base = api.address(settings)
    medilink = Path(sys.executable).with_name("medilink")
    psql = f"{programs()}/psql -h {settings.postgres_host} -p {settings.postgres_port} -U {settings.postgres_user}"
    console.print()
    log_in = "asks for a log-in" if settings.dashboard_log_in else "opens as an analyst; uploads and patients: log in"
    for name, place in (
        ("Dashboard", f"{dashboard.address(settings)}   {log_in} as {settings.api_client_id}, secret in {env_file()}"),
        ("API", base),
        ("API documentation", f"{base}/"),
        ("dbt documentation", f"{base}/dbt-docs/"),
        (
            "Airflow",
            f"{airflow.address(settings)}   user admin, password {settings.airflow_admin_password.get_secret_value()}",
        ),
        ("S3", f"{settings.aws_endpoint_url}   bucket {settings.s3_bucket_name}, keys in {env_file()}"),
        ("PostgreSQL", f"{psql} {settings.postgres_db}   password in {env_file()}"),
        ("Logs", str(settings.medilink_home / "logs")),
        ("API client", f"{settings.api_client_id}   secret in {env_file()}; a token: {medilink} token"),
    ):
        console.print(f"{name:19}{place}", markup=False, soft_wrap=True)
    console.print()
    console.print(
        f'curl -H "Authorization: Bearer $({medilink} token)" {base}/api/analytics/facility-stats',
        markup=False,
        soft_wrap=True,
    )
    console.print()


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column in {*COUNTS, "seconds"} else "left", no_wrap=True)
    return table


def _numbers(row: FileReport | EntityReport) -> list[str]:
    counts = (row.records_processed, row.inserted, row.updated, row.unchanged, row.duplicate, row.parked, row.failed)
    return ["" if count is None else f"{count:,}" for count in counts]
