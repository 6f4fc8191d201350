"""`medilink files …`: the load history, and what an operator decides about a file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from psycopg import Connection

from elt import audit, database
from elt.cli.output import AsJson, By, show
from elt.report import load_history
from elt.settings import Settings
from elt.vocabulary import FileStatus

app = typer.Typer(help="The load history; release, reject or reprocess a file.", invoke_without_command=True)

NOT_WELL = 1

Reason = Annotated[str | None, typer.Option(help="why; kept with the decision")]


@app.callback()
def files(
    context: typer.Context,
    feed: Annotated[str | None, typer.Option(help="only this feed")] = None,
    status: Annotated[FileStatus | None, typer.Option(help="only files in this status")] = None,
    batch: Annotated[int | None, typer.Option(help="only files of this batch")] = None,
    limit: Annotated[int, typer.Option(min=1, help="how many at most, the newest first")] = 50,
    as_json: AsJson = False,
) -> None:
    """What was dropped, and what became of it."""
    if context.invoked_subcommand is None:
        with database.connect(Settings(), "loader") as connection:
            found = load_history(connection, feed, status, batch, limit)
        show(found, as_json=as_json, nothing="no file that fits")


@app.command()
def release(file_id: int, by: By, reason: Reason = None) -> None:
    """Let a held file through in spite of what it is held for: the next run promotes it."""
    with _deciding() as connection:
        audit.release_file(connection, file_id, by, reason)
    typer.echo(f"file {file_id} is promoted by the next run: medilink run")


@app.command()
def reject(file_id: int, by: By, reason: Annotated[str, typer.Option(help="why; kept with the decision")]) -> None:
    """End a held file for good."""
    with _deciding() as connection:
        audit.reject_file(connection, file_id, by, reason)
    typer.echo(f"file {file_id} is rejected")


@app.command()
def reprocess(file_id: int, by: By, reason: Reason = None) -> None:
    """Let the next run promote a file's archived bytes again: after a fix, after a restore.

    Its values come back as they were delivered, also over later ones of the same rows.
    """
    with _deciding() as connection:
        new_id = audit.reprocess_file(connection, file_id, by, reason)
    typer.echo(f"file {file_id} is promoted again by the next run, as file {new_id}: medilink run")


@app.command()
def manifests(as_json: AsJson = False) -> None:
    """Manifests in the input whose file has not come."""
    with database.connect(Settings(), "loader") as connection:
        found = audit.waiting_manifests(connection)
    show(found, as_json=as_json, nothing="no manifest waits")


@contextmanager
def _deciding() -> Iterator[Connection]:
    with database.connect(Settings(), "loader") as connection:
        try:
            yield connection
        except audit.NotDecidable as problem:
            typer.echo(f"Not done: {problem}", err=True)
            raise typer.Exit(NOT_WELL) from None
