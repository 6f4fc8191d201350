"""Marts: everything before the readers comes from one release, and is open to those it is meant for."""

from __future__ import annotations

from collections.abc import Iterator

from psycopg import Connection

from elt.publish import wrongly_granted
from elt.verify.finding import Finding

# A comment goes where a schema goes: it tells which release stands under which name.
RELEASES = (
    """
    select 'batch ' || batch_id, 'files of it are published, but no release is'
    from audit.ingest_files where status in ('published', 'archived') and not exists (
        select from audit.releases where releases.published_at >= ingest_files.published_at - interval '1 minute'
    )
    """,
    """
    with

    pairs as (

        select
            'research' || suffix as schema,
            obj_description(to_regnamespace('research' || suffix), 'pg_namespace') as release,
            obj_description(to_regnamespace('analytics' || suffix), 'pg_namespace') as of_analytics
        from (values (''), ('_previous')) as generations (suffix)

    )

    select schema, 'holds ' || coalesce(release, 'no release') || ', analytics ' || coalesce(of_analytics, 'none')
    from pairs where release is distinct from of_analytics
    """,
    """
    select 'schema analytics', 'holds ' || coalesce(live, 'no release') || ', and the ledger''s releases are others'
    from obj_description(to_regnamespace('analytics'), 'pg_namespace') as live
    where exists (select from audit.releases) <> (live is not null)
        or live is not null and live not in (select 'release ' || release_id from audit.releases)
    """,
    # Not while a batch runs that may be building again what it published.
    """
    with

    live as (

        select batch_id from audit.releases
        inner join audit.batches using (batch_id)
        where batches.state <> 'running'
            and 'release ' || release_id = obj_description(to_regnamespace('analytics'), 'pg_namespace')

    ),

    built as (

        select split_part(node_id, '.', 3) as name from audit.dbt_results
        inner join live using (batch_id)
        where resource_type = 'model' and layer <> 'staging'

    ),

    published as (

        select relname::text as name from pg_class
        cross join live
        where relkind in ('r', 'm', 'v')
            and relnamespace in (to_regnamespace('analytics'), to_regnamespace('research'))

    )

    select
        coalesce(built.name, published.name),
        case when published.name is null then 'was built for the live release, and is not there'
        else 'is there, and was not built for the live release' end
    from built
    full join published using (name)
    where built.name is null or published.name is null
    """,
)


def check_marts(connection: Connection) -> Iterator[Finding]:
    """Whether `analytics` and `research` are one release; the transaction must not have looked at anything yet."""
    # As every reader does: it never meets a publisher half way.
    connection.execute("lock table audit.publish_gate in access share mode")
    for query in RELEASES:
        for subject, problem in connection.execute(query.encode()).fetchall():
            yield Finding("releases", subject, problem, "publish again: medilink run")
    for name in wrongly_granted(connection):
        yield Finding(
            "grants",
            name,
            "is not open to exactly those who may read it",
            "somebody granted or revoked by hand: undo it, or publish again (medilink run)",
        )
