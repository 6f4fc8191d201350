"""Publish: put everything dbt built and tested before the readers, in one transaction, behind the gate.

See warehouse.md.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psycopg
from psycopg import Connection
from psycopg.rows import class_row

from elt import audit
from elt.settings import Settings
from elt.transform import GOOD
from elt.vocabulary import FileStatus

# The published schemas, and who may enter them; the tables are granted one by one in dbt_project.yml.
READERS = {"analytics": ("api_read", "bi_reader", "loader"), "research": ("bi_reader",)}

# A reader holds the gate for one request, of which the API ends every statement after 10 seconds: the publisher waits
# for the longest of them, and then steps back and tries again rather than hold up new readers.
GATE_SECONDS = 10
GATE_TRIES = 6


class NotPublishable(Exception):
    """The build is not whole and tested; what is live stays live."""


class NothingToRollBackTo(Exception):
    """There is no release before the one that is live."""


@dataclass(frozen=True)
class Release:
    """A published state of the marts: what was built by which batch, when it was put before the readers."""

    release_id: int
    batch_id: int
    published_at: datetime
    is_live: bool


def publish(connection: Connection, settings: Settings, batch_id: int) -> None:
    """Swap the batch's build in for what is live; the release before is kept as `analytics_previous`.

    `connection` acts as transformer. Repeating it after the swap changes nothing. Raises `NotPublishable` unless every
    node of the project ran well in this batch, and `psycopg.errors.LockNotAvailable` when readers hold the gate for
    over a minute.
    """
    if not _waits(connection, batch_id):
        _drop_replaced(connection)
        return
    manifest = settings.medilink_home / "dbt" / "manifest.json"
    # First of all, so that whoever tries a build that failed is told which nodes did, not that its batch has ended.
    _assert_whole(connection, batch_id, manifest)
    with connection.transaction():
        # Before it locks anything, so that whoever takes this batch over can end the session that holds the gate.
        audit.assert_running(connection, batch_id)
        audit.hold_build(connection)
        # Another try of this batch may have published since, or have begun to build anew.
        if _waits(connection, batch_id):
            _assert_whole(connection, batch_id, manifest)
            bind_to_facilities(connection, "analytics_next")
    _behind_the_gate(connection, lambda: _swap(connection, batch_id, manifest))
    _drop_replaced(connection)


def bind_to_facilities(connection: Connection, schema: str) -> None:
    """Let the API see what belongs to a facility only within its context, as in production (`own_facilities`).

    Repeating it changes nothing: a publisher may have been killed, or turned away, after it.
    """
    for (table,) in connection.execute(
        """
        select attrelid::regclass::text from pg_attribute
        inner join pg_class on pg_class.oid = attrelid
        where relnamespace = %s::regnamespace and relkind = 'r' and attname = 'facility_id'
        """,
        [schema],
    ).fetchall():
        connection.execute(
            f"""
            alter table {table} enable row level security;
            drop policy if exists own_facilities on {table};
            drop policy if exists every_facility on {table};
            create policy own_facilities on {table} for select to api_read
                using (facility_id = any ((select public.facilities_in_context())::bigint[]));
            create policy every_facility on {table} for select to api_read_all, bi_reader using (true);
            """
        )


def rollback(connection: Connection) -> Release:
    """Put the release before back before the readers, in one step; a second rollback takes this one back.

    `connection` acts as transformer. The next run publishes anew. Raises `NothingToRollBackTo`.
    """
    _behind_the_gate(connection, lambda: _swap_back(connection))
    return next(release for release in releases(connection) if release.is_live)


def releases(connection: Connection) -> list[Release]:
    """Every release, newest first; the one whose tables stand in `analytics` is live."""
    with connection.cursor(row_factory=class_row(Release)) as cursor:
        return cursor.execute(
            """
            select
                release_id, batch_id, published_at,
                'release ' || release_id is not distinct from obj_description(
                    to_regnamespace('analytics'), 'pg_namespace'
                ) as is_live
            from audit.releases order by release_id desc
            """
        ).fetchall()


def _behind_the_gate(connection: Connection, swap: Callable[[], None]) -> None:
    for remaining in reversed(range(GATE_TRIES)):
        try:
            with connection.transaction():
                connection.execute(f"set local lock_timeout = '{GATE_SECONDS}s'")
                audit.hold_build(connection)
                connection.execute("lock table audit.publish_gate in access exclusive mode")
                swap()
                _assert_grants(connection)
        except psycopg.errors.LockNotAvailable:
            if not remaining:
                raise
            time.sleep(1)
        else:
            return


def _swap(connection: Connection, batch_id: int, manifest: Path) -> None:
    audit.assert_running(connection, batch_id)
    # The same, since the build was held.
    if not _waits(connection, batch_id):
        return
    _assert_whole(connection, batch_id, manifest)
    row = connection.execute(
        "insert into audit.releases (batch_id) values (%s) returning release_id", [batch_id]
    ).fetchone()
    for schema, readers in READERS.items():
        # A DROP inside the swap would deadlock with readers outside the gate: the schema is renamed here, and dropped
        # later.
        if _exists(connection, f"{schema}_previous"):
            connection.execute(f"alter schema {schema}_previous rename to {schema}_drop_{row[0]}")  # type: ignore[index]
        connection.execute(f"alter schema {schema} rename to {schema}_previous")
        connection.execute(f"alter schema {schema}_next rename to {schema}")
        # A comment goes where the schema goes: it tells which release stands under which name.
        connection.execute(f"comment on schema {schema} is 'release {row[0]}'")  # type: ignore[index]
        connection.execute(f"grant usage on schema {schema} to {', '.join(readers)}")
    connection.execute(
        "update audit.ingest_files set status = %s, published_at = now() where status = %s",
        [FileStatus.PUBLISHED, FileStatus.PROMOTED],
    )


def _swap_back(connection: Connection) -> None:
    previous = connection.execute(
        "select obj_description(to_regnamespace('analytics_previous'), 'pg_namespace')"
    ).fetchone()
    if previous is None or previous[0] is None:
        raise NothingToRollBackTo("there is no release before the one that is live. Mend the data, and run again.")
    for schema in READERS:
        connection.execute(f"alter schema {schema} rename to {schema}_withdrawn")
        connection.execute(f"alter schema {schema}_previous rename to {schema}")
        connection.execute(f"alter schema {schema}_withdrawn rename to {schema}_previous")


def _exists(connection: Connection, schema: str) -> bool:
    return connection.execute("select 1 from pg_namespace where nspname = %s", [schema]).fetchone() is not None


def _waits(connection: Connection, batch_id: int) -> bool:
    """Whether there is a build to publish; not, if the batch has published it."""
    if _exists(connection, "analytics_next"):
        return True
    if not connection.execute("select 1 from audit.releases where batch_id = %s", [batch_id]).fetchone():
        raise NotPublishable(f"batch {batch_id}: nothing was built. Run the step dbt_build first.")
    return False


def _assert_whole(connection: Connection, batch_id: int, manifest_path: Path) -> None:
    """Every model and test of the project must have run well in this batch, whatever part of it somebody asked for."""
    manifest = json.loads(manifest_path.read_text(encoding="utf-8"))
    wanted = set(manifest["unit_tests"]) | {
        node_id
        for node_id, node in manifest["nodes"].items()
        if node["resource_type"] in {"model", "test", "seed", "snapshot"}
    }
    results: dict[str, str] = dict(
        connection.execute("select node_id, status from audit.dbt_results where batch_id = %s", [batch_id]).fetchall()
    )
    missing = sorted(wanted - results.keys())
    failed = sorted(node_id for node_id, status in results.items() if status not in GOOD)
    if missing or failed:
        raise NotPublishable(
            f"batch {batch_id}: {len(failed)} nodes failed ({', '.join(failed[:5])}), "
            f"{len(missing)} did not run ({', '.join(missing[:5])}). "
            "What was live stays live. Mend the model or the data, and run again."
        )


def _assert_grants(connection: Connection) -> None:
    wrong = wrongly_granted(connection)
    if wrong:
        raise NotPublishable(
            f"{', '.join(wrong)}: not granted as declared (marts to api_read, and to bi_reader if they hold no "
            "patients; research to bi_reader only; nothing to anybody else), or not bound to facilities (a table with "
            "patient_id needs facility_id). What was live stays live. Check `grants` in dbt/."
        )


def wrongly_granted(connection: Connection) -> list[str]:
    """What is published and cannot be read by exactly those it is meant for.

    The API reads all marts and nothing of `research`; BI reads `research` and the marts without patients.
    """
    wrong = connection.execute(
        """
        select nspname || '.' || relname
        from pg_class
        inner join pg_namespace on pg_namespace.oid = relnamespace
        where relkind in ('r', 'v', 'm') and nspname in ('analytics', 'research') and (
            not has_table_privilege(
                case nspname when 'analytics' then 'api_read' else 'bi_reader' end, pg_class.oid, 'select'
            )
            or exists (
                select from aclexplode(relacl)
                where grantee <> relowner and not (
                    privilege_type = 'SELECT'
                    and case grantee::regrole::text
                        when 'api_read' then nspname = 'analytics'
                        when 'bi_reader' then nspname = 'research' or not exists (
                            select from pg_attribute where attrelid = pg_class.oid and attname = 'patient_id'
                        )
                        else false
                    end
                )
            )
            or nspname = 'analytics' and not relrowsecurity and exists (
                select from pg_attribute where attrelid = pg_class.oid and attname in ('facility_id', 'patient_id')
            )
        )
        order by 1
        """
    ).fetchall()
    for schema, readers in READERS.items():
        wrong += connection.execute(
            """
            select 'schema ' || nspname
            from pg_namespace
            where nspname = %s and %s::text[] is distinct from (
                select array_agg(grantee::regrole::text order by grantee::regrole::text)
                from aclexplode(nspacl)
                where grantee <> nspowner
            )
            """,
            [schema, sorted(readers)],
        ).fetchall()
    return [name for (name,) in wrong]


def _drop_replaced(connection: Connection) -> None:
    """Drop what an earlier swap pushed out; a reader still inside delays it to the next publish."""
    names = connection.execute(
        "select nspname from pg_namespace where nspname ~ '^(analytics|research)_drop_[0-9]+$'"
    ).fetchall()
    for (name,) in names:
        try:
            with connection.transaction():
                connection.execute("set local lock_timeout = '1s'")
                connection.execute(f"drop schema {name} cascade")
        except psycopg.errors.LockNotAvailable:
            continue
