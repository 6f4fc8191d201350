"""`medilink metrics` and `medilink watchdog`: what others watch the pipeline with."""

from __future__ import annotations

from typing import Annotated

import boto3
import botocore.exceptions
import psycopg
import typer

from elt import database
from elt import watchdog as watching
from elt.metrics import exposition, serve
from elt.settings import Settings


def metrics(
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="serve them at /metrics on this port, until stopped")
    ] = None,
    host: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
) -> None:
    """Print the pipeline's metrics for Prometheus, or serve them."""
    settings = Settings()

    def connect() -> psycopg.Connection:
        return database.connect(settings, "loader")

    if port is None:
        typer.echo(exposition(connect), nl=False)
    else:
        _, thread = serve(connect, host, port)
        thread.join()


def watchdog(
    max_age_hours: Annotated[float, typer.Option(help="hours without a release that are too many")] = (
        watching.MAX_AGE_HOURS
    ),
) -> None:
    """Complain when no run was published lately: to WATCHDOG_WEBHOOK_URL, and on standard error.

    Exit code 0 all is well, 1 not, 2 could not be asked (that is complained of, too).
    """
    settings = Settings()
    code = 1
    try:
        with database.connect(settings, "loader") as connection:
            found = watching.freshness(connection)
        complaint = found.complaint(max_age_hours)
    except psycopg.Error as error:
        found, code = None, 2
        complaint = f"The ledger cannot be asked ({type(error).__name__}). See docs/operations.md, MedilinkLedgerDown."
    undelivered: list[str] = []
    if found and settings.watchdog_cloudwatch:
        namespace, environment = settings.watchdog_cloudwatch.split("/")
        try:
            watching.measure(boto3.client("cloudwatch", settings.aws_region), namespace, environment, found)
        except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
            undelivered.append(f"CloudWatch was not told: {type(error).__name__}")
    if complaint and settings.watchdog_webhook_url:
        try:
            watching.tell(settings.watchdog_webhook_url.get_secret_value(), complaint)
        except OSError as error:
            # The address holds a token, and the error's text may hold the address.
            undelivered.append(f"WATCHDOG_WEBHOOK_URL was not told: {type(error).__name__}")
    for line in filter(None, [complaint, *undelivered]):
        typer.echo(line, err=True)
    if complaint or undelivered:
        raise typer.Exit(code if complaint else 2)
    typer.echo("A run was published lately.")
