"""`medilink backup …`: the database and the archive into a folder, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from elt import backup, bucket
from elt.settings import Settings

app = typer.Typer(help="Back up and restore the database and the archive.", no_args_is_help=True)


@app.command()
def create(
    directory: Annotated[Path, typer.Argument(help="folder on another machine's disk; may be used again")],
) -> None:
    """Dump the database and copy the archive. The folder then holds patient data."""
    settings = Settings()
    try:
        made = backup.create(bucket.client(settings), settings, directory)
    except backup.BackupFailed as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    typer.echo(f"{directory}: database of {made.created_at}, {made.objects} archived objects")


@app.command()
def restore(
    directory: Annotated[Path, typer.Argument(help="folder of a backup")],
    admin: Annotated[str, typer.Option(envvar="POSTGRES_ADMIN_URL", help="postgresql://superuser:…@host/database")],
) -> None:
    """Restore into an empty database, and put back what the archive lacks. Afterwards: medilink verify --hash."""
    settings = Settings()
    try:
        restored = backup.restore(bucket.client(settings), settings, admin, directory)
    except backup.BackupFailed as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    typer.echo(f"restored the backup of {restored.created_at}. Now ask: medilink verify --hash")
