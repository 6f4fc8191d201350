"""Runs and files out of the ledger."""

from __future__ import annotations

from backend.database import fetch_first, fetch_one
from backend.listing import Listing, columns
from backend.pipeline.schemas import Day, DbtResult, File, Run, RunDetail, Step

RUNS = Listing(
    table="(select batch_id as id, run_key as run_id, * from audit.batches) as batches",
    columns=columns(Run),
    filters={"state": "state = %(state)s"},
)

FILES_OF_RUNS = """
(
    select
        file_id as id, regexp_replace(input_key, '^.*/', '') as name, batches.run_key as run_id, ingest_files.*
    from audit.ingest_files
    inner join audit.batches using (batch_id)
) as files
"""

FILES = Listing(
    table=FILES_OF_RUNS,
    columns=columns(File),
    filters={
        "feed": "feed = %(feed)s",
        "status": "status = %(status)s",
        "run_id": "run_id = %(run_id)s",
        "batch_id": "batch_id = %(batch_id)s",
    },
)


def run(run_id: str) -> str | None:
    """`RunDetail` as JSON; None for a run that has no batch."""
    found = fetch_first(
        f"""
        select row_to_json(detail)::text as body
        from (
            select {
            columns(
                RunDetail,
                steps=f'''
                    (
                        select coalesce(json_agg(attempts order by started_at, step), '[]') from (
                            select distinct on (step) {columns(Step)} from audit.batch_steps
                            where batch_steps.batch_id = batches.batch_id order by step, attempt desc
                        ) as attempts
                    )
                ''',
                files=f'''
                    (
                        select coalesce(json_agg(described order by id), '[]')
                        from (select {columns(File)} from {FILES_OF_RUNS} where batch_id = batches.id) as described
                    )
                ''',
            )
        }
            from (select batch_id as id, run_key as run_id, * from audit.batches) as batches
            where run_id = %(run_id)s
        ) as detail
        """,
        run_id=run_id,
    )
    return found.body if found else None


def dbt_results(run_id: str) -> str | None:
    """`DbtResult`s of a run as JSON, the slowest first; None for a run that has no batch."""
    found = fetch_first(
        f"""
        select (
            select coalesce(json_agg(nodes order by seconds desc, node_id), '[]')::text
            from (select {columns(DbtResult)} from audit.dbt_results where batch_id = batches.batch_id) as nodes
        ) as body
        from audit.batches
        where run_key = %(run_id)s
        """,
        run_id=run_id,
    )
    return found.body if found else None


def health(days: int) -> str:
    """The newest days with a run as JSON, the newest first."""
    body: str = fetch_one(
        f"""
        select coalesce(json_agg(row_to_json(newest)), '[]')::text
        from (select {columns(Day)} from audit.pipeline_health order by run_on desc limit %(days)s) as newest
        """,
        days=days,
    )[0]
    return body
