"""`medilink …`: what an operator does by hand."""

from __future__ import annotations

import uuid
from dataclasses import asdict
from datetime import date, datetime
from pathlib import Path
from typing import Annotated

import botocore.exceptions
import psycopg
import typer
from pydantic import ValidationError

from elt import bucket, database, sample_data
from elt.cli import backup, client, files, monitoring, publish, quarantine
from elt.cli.output import AsJson, show, to_json
from elt.contract import FEEDS
from elt.pipeline import Pipeline, describe
from elt.report import BatchReport, audit_log, batch_report
from elt.settings import Settings
from elt.verify import NotVerifiable, verify

app = typer.Typer(
    help="The Medilink warehouse: run it, ask it, check it.", no_args_is_help=True, pretty_exceptions_enable=False
)
db = typer.Typer(help="Make and migrate the database.", no_args_is_help=True)
app.add_typer(db, name="db")
app.add_typer(backup.app, name="backup")
app.add_typer(client.app, name="client")
app.add_typer(files.app, name="files")
app.add_typer(publish.app, name="publish")
app.add_typer(quarantine.app, name="quarantine")
app.command()(client.token)
app.command()(monitoring.metrics)
app.command()(monitoring.watchdog)

# Exit codes: 0 done and well; 1 the answer is no (a run failed, verify found something); 2 the question could not be
# asked.
NOT_WELL, NOT_ASKED = 1, 2


@app.command()
def run(
    drops: Annotated[Path | None, typer.Option(help="first put every file of this folder into the input")] = None,
    feed: Annotated[
        list[str] | None, typer.Option(help=f"only this feed ({', '.join(FEEDS)}); may be repeated")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only list what a run would take")] = False,
    wait: Annotated[int, typer.Option(help="seconds to wait for another run to end")] = 120,
) -> None:
    """Run the pipeline once, without Airflow: from the input to the published marts and the archive."""
    unknown = set(feed or []) - set(FEEDS)
    if unknown:
        raise typer.BadParameter(f"no such feed: {', '.join(sorted(unknown))}. Feeds are {', '.join(FEEDS)}.")
    pipeline = Pipeline.of(Settings())
    if drops:
        for key in bucket.upload_drops(pipeline.s3, pipeline.settings, drops):
            typer.echo(f"dropped {key}")
    if dry_run:
        for found in pipeline.list_input():
            typer.echo(str(found))
        return
    run_key = f"cli-{uuid.uuid4()}"
    feeds = tuple(name for name in FEEDS if name in feed) if feed else FEEDS
    try:
        pipeline.run(run_key, feeds, patience=wait)
    except Exception as error:
        typer.echo(f"The run failed: {describe(error)}", err=True)
        raise typer.Exit(NOT_WELL) from error
    finally:
        with pipeline.connect("loader") as connection:
            found_report = batch_report(connection, run_key)
        if found_report:
            _print(found_report)


@app.command()
def replay(wait: Annotated[int, typer.Option(help="seconds to wait for another run to end")] = 120) -> None:
    """Try the parked rows again now, as a batch of its own. The marts show what enters after the next run."""
    pipeline = Pipeline.of(Settings())
    run_key = f"cli-replay-{uuid.uuid4()}"
    try:
        pipeline.replay(run_key, patience=wait)
    except Exception as error:
        typer.echo(f"The replay failed: {describe(error)}", err=True)
        raise typer.Exit(NOT_WELL) from error
    with pipeline.connect("loader") as connection:
        replayed = batch_report(connection, run_key)
    if replayed:
        _print(replayed)


@app.command()
def audit(
    table: Annotated[str | None, typer.Option(help="only this production table")] = None,
    batch: Annotated[int | None, typer.Option(help="only this batch")] = None,
    limit: Annotated[int, typer.Option(min=1, help="how many at most, the newest first")] = 50,
    as_json: AsJson = False,
) -> None:
    """What became of the rows of each batch, table by table: etl_audit_log."""
    with database.connect(Settings(), "loader") as connection:
        found = audit_log(connection, table, batch, limit)
    show(found, as_json=as_json, nothing="no batch that fits")


@app.command()
def report(as_json: Annotated[bool, typer.Option("--json", help="as JSON")] = False) -> None:
    """What the newest run did: files, rows by disposition, models, tests, seconds by step."""
    with database.connect(Settings(), "loader") as connection:
        newest = batch_report(connection)
    if newest is None:
        typer.echo("No run yet. Start one: medilink run --drops DIR", err=True)
        raise typer.Exit(NOT_WELL)
    if as_json:
        typer.echo(to_json(asdict(newest)))
    else:
        _print(newest)


@app.command(name="verify")
def verify_warehouse(
    hash_bytes: Annotated[bool, typer.Option("--hash", help="read and hash every archived object")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="as JSON")] = False,
) -> None:
    """Check that nothing is lost and nothing counts twice. Read-only.

    Exit code 0 clean, 1 findings, 2 could not be checked.
    """
    settings = Settings()
    try:
        with database.connect(settings, "loader") as connection:
            findings = verify(connection, bucket.client(settings), settings, hash_bytes=hash_bytes)
    except NotVerifiable as reason:
        typer.echo(f"Not verified: {reason}", err=True)
        raise typer.Exit(NOT_ASKED) from None
    except (psycopg.Error, botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
        typer.echo(
            f"Not verified: {describe(error)}. Start the services, or correct POSTGRES_* and AWS_*, and ask again.",
            err=True,
        )
        raise typer.Exit(NOT_ASKED) from None
    if as_json:
        typer.echo(to_json([asdict(finding) for finding in findings]))
    else:
        for finding in findings:
            typer.echo(f"{finding.check}: {finding.subject}: {finding.problem}. What to do: {finding.advice}.")
        typer.echo(f"{len(findings)} findings" if findings else "clean: nothing is lost, nothing counts twice")
    if findings:
        raise typer.Exit(NOT_WELL)


@app.command(name="sample-data")
def generate_sample_data(
    directory: Path,
    patients: Annotated[int, typer.Option(min=1, help="number of patients")] = 200,
    seed: Annotated[int, typer.Option(help="same seed and day, same bytes")] = 42,
    dirty: Annotated[bool, typer.Option("--dirty", help="add one of each defect a feed may have")] = False,
    today: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="last day of the events; default: today")
    ] = None,
) -> None:
    """Write made-up facilities, patients, records and visits in the layouts of the four feeds."""
    day: date | None = today.date() if today else None
    for path in sample_data.generate(directory, patients=patients, seed=seed, dirty=dirty, today=day):
        typer.echo(str(path))


@db.command()
def init(
    admin: Annotated[str, typer.Option(envvar="POSTGRES_ADMIN_URL", help="postgresql://superuser:…@host/database")],
) -> None:
    """Make roles, schemas and log-ins (elt/init.sql) as a superuser or RDS master user, then migrate."""
    settings = Settings()
    with psycopg.connect(admin, autocommit=True) as connection:
        database.initialise(connection, settings)
    database.migrate(settings)


@db.command()
def migrate() -> None:
    """Bring the schema to the newest migration."""
    database.migrate(Settings())


def _print(batch: BatchReport) -> None:
    typer.echo(f"batch {batch.batch_id}: {batch.state}" + (f" ({batch.error_message})" if batch.error_message else ""))
    for file in batch.files:
        counts = (
            f"{file.records_processed} records: {file.inserted} inserted, {file.updated} updated, "
            f"{file.unchanged} unchanged, {file.duplicate} duplicate, {file.parked} parked, {file.failed} failed"
            if file.inserted is not None
            else f"{file.error_code}: {file.error_message}"
            if file.error_code
            else ""
        )
        typer.echo(f"  {file.input_key}: {file.status} {counts}".rstrip())
    for entity in batch.entities:
        if entity.origin == "replay":
            typer.echo(f"  {entity.table_name}: {entity.records_processed} parked rows resolved")
    for warning in batch.warnings:
        typer.echo(f"  {warning}")
    typer.echo(
        f"  {batch.models_built} models built, "
        f"{batch.tests_passed} tests passed, {batch.tests_warned} warned, {batch.tests_failed} failed"
    )
    for rows in batch.quarantine:
        typer.echo(f"  {rows}")
    typer.echo("  seconds: " + ", ".join(f"{step.step} {step.seconds:.1f}" for step in batch.steps))


def main() -> None:
    """Entry point of `medilink`: settings that cannot be used are named, not traced."""
    try:
        app()
    except ValidationError as error:
        for problem in error.errors(include_input=False, include_url=False):
            name = ".".join(str(part) for part in problem["loc"]).upper()
            typer.echo(f"{name or 'settings'}: {problem['msg']}. Set it in .env or in the environment.", err=True)
        raise SystemExit(NOT_ASKED) from None
    except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
        where = Settings().aws_endpoint_url or "AWS"
        typer.echo(f"S3 at {where}: {describe(error)}. Correct AWS_* and S3_BUCKET_NAME, and try again.", err=True)
        raise SystemExit(NOT_ASKED) from None
    except FileNotFoundError as error:
        typer.echo(str(error), err=True)
        raise SystemExit(NOT_ASKED) from None
    except psycopg.OperationalError:
        settings = Settings()
        typer.echo(
            f"PostgreSQL does not answer at {settings.postgres_host}:{settings.postgres_port}. "
            "Start it (./start.sh --detach), or correct POSTGRES_HOST and POSTGRES_PORT.",
            err=True,
        )
        raise SystemExit(NOT_ASKED) from None
