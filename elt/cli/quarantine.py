"""`medilink quarantine …`: the data steward's work. Values are shown only where they are asked for."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from elt import database, quarantine
from elt.cli.output import AsJson, By, show, to_json
from elt.contract import FEEDS
from elt.header import QUARANTINE_ID
from elt.quarantine import Filter
from elt.report import AGEING_DAYS
from elt.settings import Settings

app = typer.Typer(help="Rows that failed or wait: look, export, correct, discard.", no_args_is_help=True)

NOT_WELL = 1

IS_OPEN = {"open": True, "closed": False, "all": None}


def _known(feed: str | None) -> str | None:
    if feed is not None and feed not in FEEDS:
        raise typer.BadParameter(f"no such feed: {feed}. Feeds are {', '.join(FEEDS)}.")
    return feed


CodeOption = Annotated[str | None, typer.Option(help="only this code, e.g. invalid_type")]
FileOption = Annotated[str | None, typer.Option(help="only rows that this file delivered: its name, or its id")]
FacilityOption = Annotated[str | None, typer.Option(help="only rows of facilities of this name")]
DispositionOption = Annotated[Literal["parked", "failed"] | None, typer.Option(help="only parked, or only failed rows")]


@app.command(name="list")
def list_entries(
    feed: Annotated[str | None, typer.Option(help="only this feed", callback=_known)] = None,
    code: CodeOption = None,
    file: FileOption = None,
    facility: FacilityOption = None,
    disposition: DispositionOption = None,
    state: Annotated[Literal["open", "closed", "all"], typer.Option(help="open entries, closed ones, or all")] = "open",
    limit: Annotated[int, typer.Option(min=1, help="how many at most")] = 1000,
    as_json: AsJson = False,
) -> None:
    """What is in quarantine: where each row stands, and its code. Never a value."""
    wanted = Filter(feed, code, file, facility, disposition, IS_OPEN[state])
    with database.connect(Settings(), "loader") as connection:
        found = quarantine.entries(connection, wanted, limit)
    show(found, as_json=as_json, nothing="nothing in quarantine that fits")


@app.command(name="show")
def show_entry(
    quarantine_id: int,
    values: Annotated[bool, typer.Option("--values", help="also the row itself: PATIENT DATA")] = False,
    as_json: AsJson = False,
) -> None:
    """One row: file and line, every error with its rule, what to do, each delivery. Values only with --values."""
    with database.connect(Settings(), "loader") as connection:
        try:
            detail = quarantine.detail(connection, quarantine_id)
        except quarantine.NotOpen as unknown:
            typer.echo(str(unknown), err=True)
            raise typer.Exit(NOT_WELL) from None
        row = quarantine.values(connection, quarantine_id) if values else None
    if as_json:
        typer.echo(to_json(asdict(detail) | ({"values": row} if values else {})))
        return
    entry = detail.entry
    closed = detail.closed_at and f"{entry.closed_reason} {detail.closed_at:%Y-%m-%d}"
    state = closed or f"open {entry.age_days} days"
    typer.echo(f"{entry.quarantine_id}: {entry.feed}, {entry.disposition}, {state}")
    if detail.closed_by or detail.closed_note:
        typer.echo(f"  closed by {detail.closed_by or 'a run'}: {detail.closed_note}")
    typer.echo(f"  {entry.file} row {entry.row_number}")
    for problem in detail.problems:
        where = f"column {problem.column}: " if problem.column else ""
        holds = f" (the contract: {problem.rule})" if problem.rule else ""
        typer.echo(f"  {where}{problem.code}{holds}: {problem.advice}")
    if detail.candidates is not None:
        typer.echo(f"  candidates: {detail.candidates}")
    typer.echo(f"  delivered {len(detail.sightings)} times:")
    for sighting in detail.sightings:
        typer.echo(f"    batch {sighting.batch_id}, file {sighting.file_id} {sighting.file} row {sighting.row_number}")
    for column, value in (row or {}).items():
        typer.echo(f"  {column}: {value}")
    if not detail.closed_at:
        typer.echo(
            f"  Correct it: medilink quarantine export --feed {entry.feed} {entry.feed}-corrected.csv, drop that file. "
            f'Give it up: medilink quarantine discard {entry.quarantine_id} --reason "…"'
        )


@app.command()
def export(
    path: Annotated[Path, typer.Argument(help="the new file; call it <feed>…, so that it can be dropped as it is")],
    feed: Annotated[str, typer.Option(help="the feed whose rows to correct", callback=_known)],
    form: Annotated[
        Literal["csv", "xlsx"] | None, typer.Option("--format", help="default: as the file's name ends")
    ] = None,
    code: CodeOption = None,
    file: FileOption = None,
    facility: FacilityOption = None,
    disposition: DispositionOption = None,
) -> None:
    """Write open rows into a file that a spreadsheet can correct, and that can be dropped again as it is."""
    chosen = form or path.suffix.removeprefix(".").lower()
    if chosen not in ("csv", "xlsx"):
        raise typer.BadParameter(f"{path} ends in neither .csv nor .xlsx: say --format.")
    wanted = Filter(feed, code, file, facility, disposition)
    with database.connect(Settings(), "loader") as connection:
        try:
            count = quarantine.export(connection, wanted, path, chosen)
        except (quarantine.NotExportable, FileExistsError) as problem:
            typer.echo(f"Not exported: {problem}. Nothing was written.", err=True)
            raise typer.Exit(NOT_WELL) from None
    if not count:
        typer.echo("nothing open that fits: no file was written")
        return
    named = "" if path.name.casefold().startswith(feed) else f" under a name that begins with {feed}"
    typer.echo(f"{count} rows in {path}: patient data. Correct them, keep {QUARANTINE_ID}, drop it{named}.")


@app.command()
def discard(
    quarantine_ids: Annotated[list[int], typer.Argument(help="ids of open entries")],
    reason: Annotated[str, typer.Option(help="why; no patient data, it is kept")],
    by: By,
) -> None:
    """Give rows up for good: all of them or none. The same row delivered again stays discarded."""
    with database.connect(Settings(), "loader") as connection:
        try:
            quarantine.discard(connection, quarantine_ids, by, reason)
        except quarantine.NotOpen as problem:
            typer.echo(str(problem), err=True)
            raise typer.Exit(NOT_WELL) from None
    typer.echo(f"{len(set(quarantine_ids))} discarded")


@app.command()
def ageing(
    days: Annotated[int, typer.Option(min=0, help="parked for more than so many days")] = AGEING_DAYS,
    as_json: AsJson = False,
) -> None:
    """Parked rows that grow old, by feed, code and facility: what they wait for may never come.

    Exit code 1 if there are any.
    """
    with database.connect(Settings(), "loader") as connection:
        found = quarantine.ageing(connection, days)
    show(found, as_json=as_json, nothing=f"nothing is parked for more than {days} days")
    if found:
        raise typer.Exit(NOT_WELL)


@app.command()
def report(
    by: Annotated[Literal["facility", "file", "code"], typer.Option(help="what to count by")] = "facility",
    as_json: AsJson = False,
) -> None:
    """How many rows are in quarantine. A facility is named only if public.facilities knows it."""
    with database.connect(Settings(), "loader") as connection:
        found = quarantine.tally(connection, by)
    show(found, as_json=as_json, nothing="nothing was ever in quarantine")
