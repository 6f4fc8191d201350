"""`medilink publish …`: which release of the marts is before the readers, and back to the one before."""

from __future__ import annotations

import typer

from elt import database
from elt.cli.output import AsJson, show
from elt.publish import NothingToRollBackTo, releases, rollback
from elt.settings import Settings

app = typer.Typer(help="The release that readers see.", no_args_is_help=True)


@app.command()
def status(as_json: AsJson = False) -> None:
    """Every release, newest first: which is live, since when, from which batch."""
    with database.connect(Settings(), "transformer") as connection:
        show(releases(connection), as_json=as_json, nothing="nothing was published yet; run the pipeline: medilink run")


@app.command(name="rollback")
def roll_back() -> None:
    """Put the release before back before the readers, in one step; a second rollback takes that back."""
    with database.connect(Settings(), "transformer") as connection:
        try:
            live = rollback(connection)
        except NothingToRollBackTo as error:
            typer.echo(str(error), err=True)
            raise typer.Exit(1) from None
    typer.echo(f"release {live.release_id} of batch {live.batch_id} is live again; the next run publishes anew")
