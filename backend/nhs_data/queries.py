"""Bed occupancy out of the published mart, and runs and returns out of the ledger."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

from pydantic import Field

from backend.database import fetch_first, fetch_one
from backend.listing import Listing, columns
from backend.nhs_data.schemas import OrganisationOccupancy, RunStatus, Sort, SummaryParameters
from backend.parameters import Text
from backend.pipeline.schemas import RunState
from backend.round_trip import Row
from elt.nhs_uploads import key_prefix
from elt.settings import Settings
from elt.vocabulary import FileStatus

OCCUPANCY = """
(
    select
        organisation_code, organisation_name, quarter, year, sector, bed_type,
        beds_available::numeric as beds_available, beds_occupied::numeric as beds_occupied,
        round(100 * beds_occupied::numeric / nullif(beds_available::numeric, 0), 2) as occupancy_rate
    from analytics.fct_bed_occupancy
) as occupancy
"""

Figure = Annotated[Decimal, Field(ge=-1, le=10**9, max_digits=60)]
# What a figure that is not known stands for, so that it comes last.
UNKNOWN = {False: 10**9, True: -1}


def _ordered_by(sort: Sort) -> Listing:
    column, is_descending = sort.removeprefix("-"), sort.startswith("-")
    first: dict[str, Any] = {column: Text}
    if column in {"occupancy_rate", "beds_available", "beds_occupied"}:
        first = {f"coalesce({column}, {UNKNOWN[is_descending]})": Figure}
    elif column == "quarter":
        first = {}
    return Listing(
        table=OCCUPANCY,
        columns=columns(OrganisationOccupancy),
        filters={
            "organisation_code": "organisation_code = upper(%(organisation_code)s)",
            "q": "strpos(lower(organisation_name), lower(%(q)s)) > 0",
            "year": "year = %(year)s",
            "quarter": "quarter = %(quarter)s",
            "sector": "sector = %(sector)s",
            "bed_type": "bed_type = %(bed_type)s",
            "min_rate": "occupancy_rate >= %(min_rate)s",
        },
        key=first | {"year": int, "quarter": Text, "organisation_code": Text},
        is_descending=is_descending,
    )


# By what they are ordered; one sector and one bed type are asked for at a time.
OCCUPANCIES = {sort: _ordered_by(sort) for sort in Sort}


def summary(asked: SummaryParameters) -> str:
    """`QuarterSummary` of each quarter, in their order, as JSON."""
    body: str = fetch_one(
        f"""
        select coalesce(json_agg(summary order by year, quarter), '[]')::text from (
            select
                year, quarter,
                count(*) as organisation_count,
                round(avg(occupancy_rate), 2) as average_occupancy_rate,
                max(occupancy_rate) as maximum_occupancy_rate,
                coalesce(sum(beds_available), 0) as beds_available,
                coalesce(sum(beds_occupied), 0) as beds_occupied,
                round(100 * sum(beds_occupied) / nullif(sum(beds_available), 0), 2) as occupancy_rate
            from {OCCUPANCY}
            where sector = %(sector)s and bed_type = %(bed_type)s
                and (cast(%(year)s as integer) is null or year = %(year)s)
                and (cast(%(quarter)s as text) is null or quarter = %(quarter)s)
            group by year, quarter
        ) as summary
        """,
        **asked.model_dump(),
    )[0]
    return body


def status(settings: Settings, run_id: str) -> RunStatus | None:
    """What the ledger knows of a run and of the return it was started for; None where it knows neither.

    The return may have been taken by another run, which came first, and is then told of by that.
    """
    prefix = key_prefix(settings, run_id)
    found = fetch_first(
        """
        select
            file.*, batches.state, batches.failed_step, batches.error_message as failure, batches.started_at,
            (
                select step from audit.batch_steps
                where batch_steps.batch_id = batches.batch_id order by started_at desc, attempt desc limit 1
            ) as step,
            greatest(
                batches.completed_at, file.published_at, file.archived_at,
                (select max(greatest(started_at, completed_at)) from audit.batch_steps
                 where batch_steps.batch_id = batches.batch_id)
            ) as updated_at
        from audit.batches
        left join (
            select *, input_key as key, batch_id as taken_by from audit.ingest_files
            where starts_with(input_key, %(prefix)s)
            order by file_id desc limit 1
        ) as file on file.taken_by = batches.batch_id
        where batches.batch_id = file.taken_by or batches.run_key = %(run_id)s
        order by file.taken_by is null
        limit 1
        """,
        prefix=prefix,
        run_id=run_id,
    )
    if found is None:
        return None
    state, message = _judged(found)
    return RunStatus(
        flow_run_id=run_id,
        name=found.key.removeprefix(prefix) if found.key else run_id,
        state=state,
        is_completed=state is RunState.SUCCEEDED,
        is_failed=state in {RunState.FAILED, RunState.ABANDONED},
        message=message,
        created_at=found.last_modified or found.started_at,
        updated_at=found.updated_at or found.started_at,
    )


def _judged(found: Row) -> tuple[RunState, str]:
    """State and message of a run, and of its return where it has one."""
    if found.status in (FileStatus.HELD, FileStatus.REJECTED):
        return RunState.FAILED, f"{found.error_code}: {found.error_message}"
    state = RunState(found.state)
    if state is RunState.RUNNING:
        return state, f"At work: {found.step or 'beginning'}."
    if found.status == FileStatus.DUPLICATE:
        return RunState.SUCCEEDED, "The same workbook was loaded before, under this or another name: nothing changed."
    if found.status in (FileStatus.PUBLISHED, FileStatus.ARCHIVED):
        counts = ", ".join(
            f"{getattr(found, f'records_{name}'):,} {name}"
            for name in ("inserted", "updated", "unchanged", "duplicate", "failed")
        )
        said = f"{found.records_processed:,} records: {counts}."
        return RunState.SUCCEEDED, f"{said} {found.warning}" if found.warning else said
    if state is RunState.SUCCEEDED:
        return state, "It found no return of its own; those that were there are in GET /api/pipeline/files."
    said = found.failure or "It gave no sign of life."
    return state, f"{said} The workbook is kept: the next run takes it." if found.key else said
