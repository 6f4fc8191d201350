"""The pipeline's health, day by day: a view over ledger, audit log and dbt results.

Revision: 0004; follows 0003. Forward-only: there is no downgrade.
"""

from alembic import op

revision = "0004"
down_revision = "0003"

# It stands in audit, outside the schemas that publishing swaps, so that it knows its own night too.
HEALTH = """
create view audit.pipeline_health as
with

batches as (

    select
        batch_id,
        state,
        (started_at at time zone 'UTC')::date as run_on,
        extract(epoch from coalesce(completed_at, lease_expires_at) - started_at) as run_seconds
    from audit.batches

),

runs as (

    select
        run_on,
        count(*) as run_count,
        count(*) filter (where state in ('failed', 'abandoned')) as failed_run_count,
        round(max(run_seconds), 1) as longest_run_seconds
    from batches
    group by run_on

),

files as (

    select
        batches.run_on,
        count(*) as file_count,
        count(*) filter (where ingest_files.status = 'duplicate') as duplicate_file_count,
        count(*) filter (where ingest_files.status in ('held', 'rejected')) as refused_file_count
    from audit.ingest_files
    inner join batches using (batch_id)
    group by batches.run_on

),

rows as (

    select
        batches.run_on,
        sum(log.records_processed) filter (where log.origin = 'drop') as row_count,
        sum(log.records_inserted) as inserted_count,
        sum(log.records_updated) as updated_count,
        sum(log.records_unchanged) as unchanged_count,
        sum(log.records_duplicate) as duplicate_count,
        sum(log.records_parked) as parked_count,
        sum(log.records_failed) as failed_count,
        sum(log.records_failed) filter (where log.origin = 'drop') as failed_of_drops_count
    from audit.etl_audit_log as log
    inner join batches using (batch_id)
    group by batches.run_on

),

builds as (

    select
        batches.run_on,
        count(*) filter (where resource_type = 'model' and status = 'success') as built_model_count,
        count(*) filter (where resource_type in ('test', 'unit_test') and status in ('fail', 'error'))
            as failed_test_count,
        count(*) filter (where resource_type in ('test', 'unit_test') and status = 'warn') as warned_test_count,
        round(sum(seconds), 1) as dbt_seconds
    from audit.dbt_results
    inner join batches using (batch_id)
    group by batches.run_on

),

published as (

    select
        batches.run_on,
        max(releases.published_at) as last_published_at
    from audit.releases
    inner join batches using (batch_id)
    group by batches.run_on

)

select
    run_on,
    runs.run_count,
    runs.failed_run_count,
    runs.longest_run_seconds,
    coalesce(files.file_count, 0) as file_count,
    coalesce(files.duplicate_file_count, 0) as duplicate_file_count,
    coalesce(files.refused_file_count, 0) as refused_file_count,
    coalesce(rows.row_count, 0) as row_count,
    coalesce(rows.inserted_count, 0) as inserted_count,
    coalesce(rows.updated_count, 0) as updated_count,
    coalesce(rows.unchanged_count, 0) as unchanged_count,
    coalesce(rows.duplicate_count, 0) as duplicate_count,
    coalesce(rows.parked_count, 0) as parked_count,
    coalesce(rows.failed_count, 0) as failed_count,
    round(rows.failed_of_drops_count / nullif(rows.row_count, 0), 4) as reject_rate,
    coalesce(builds.built_model_count, 0) as built_model_count,
    coalesce(builds.failed_test_count, 0) as failed_test_count,
    coalesce(builds.warned_test_count, 0) as warned_test_count,
    builds.dbt_seconds,
    published.last_published_at,
    round(
        extract(epoch from published.last_published_at - lag(published.last_published_at) over (order by run_on)) / 3600, 1
    ) as hours_since_publication_before
from runs
left join files using (run_on)
left join rows using (run_on)
left join builds using (run_on)
left join published using (run_on);
comment on view audit.pipeline_health is
    'One row per day (UTC) with a run: runs, files, rows by disposition, share of dropped rows that failed (0-1), dbt results, freshness.';

grant select on audit.pipeline_health to loader, auditor, api_read;
"""


def upgrade() -> None:
    op.get_bind().connection.cursor().execute(HEALTH)
