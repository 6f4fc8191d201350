"""Publish: put everything dbt built and tested before the readers, in one transaction, behind the gate.

See warehouse.md.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import psycopg
from psycopg import Connection

from elt import audit
from elt.settings import Settings
from elt.transform import GOOD
from elt.vocabulary import FileStatus

SCHEMAS = ("analytics", "research")

# A reader holds the gate for one request; the publisher steps back and tries again rather than hold up new readers.
GATE_TRIES = 12


class NotPublishable(Exception):
    """The build is not whole and tested; what is live stays live."""


def publish(connection: Connection, settings: Settings, batch_id: int) -> None:
    """Swap the batch's build in for what is live; the release before is kept as `analytics_previous`.

    `connection` acts as transformer. Repeating it for a published batch changes nothing. Raises `NotPublishable` unless
    every node of the project ran well in this batch, and `psycopg.errors.LockNotAvailable` when readers hold the gate
    for over a minute.
    """
    if connection.execute("select 1 from audit.releases where batch_id = %s", [batch_id]).fetchone():
        _drop_replaced(connection)
        return
    _assert_whole(connection, batch_id, settings.medilink_home / "dbt" / "manifest.json")
    for schema in SCHEMAS:
        connection.execute(f"grant usage on schema {schema}_next to bi_reader")
    connection.execute("grant usage on schema analytics_next to api_read, loader")
    for remaining in reversed(range(GATE_TRIES)):
        try:
            _swap(connection, batch_id)
            break
        except psycopg.errors.LockNotAvailable:
            if not remaining:
                raise
            time.sleep(1)
    _drop_replaced(connection)


def _swap(connection: Connection, batch_id: int) -> None:
    with connection.transaction():
        audit.assert_running(connection, batch_id)
        connection.execute("set local lock_timeout = '5s'")
        connection.execute("lock table audit.publish_gate in access exclusive mode")
        for schema in SCHEMAS:
            # A DROP inside the swap would deadlock with readers outside the gate: the schema is renamed here, and
            # dropped later.
            if connection.execute("select 1 from pg_namespace where nspname = %s", [f"{schema}_previous"]).fetchone():
                connection.execute(f"alter schema {schema}_previous rename to {schema}_drop_{batch_id}")
            connection.execute(f"alter schema {schema} rename to {schema}_previous")
            connection.execute(f"alter schema {schema}_next rename to {schema}")
        connection.execute("insert into audit.releases (batch_id) values (%s)", [batch_id])
        connection.execute(
            "update audit.ingest_files set status = %s, published_at = now() where status = %s",
            [FileStatus.PUBLISHED, FileStatus.PROMOTED],
        )
        _assert_grants(connection)


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
    """The API can read every published mart, and nothing is open to everyone."""
    wrong = connection.execute(
        """
        select nspname || '.' || relname from pg_class
        inner join pg_namespace on pg_namespace.oid = relnamespace
        where nspname = 'analytics' and relkind in ('r', 'v', 'm') and (
            not has_table_privilege('api_read', pg_class.oid, 'select')
            or exists (select from aclexplode(relacl) where grantee = 0)
        )
        """
    ).fetchall()
    if wrong:
        names = ", ".join(row[0] for row in wrong)
        raise NotPublishable(
            f"{names}: not granted as declared (select to api_read, nothing to public)."
            " Check `grants` in dbt_project.yml."
        )


def _drop_replaced(connection: Connection) -> None:
    """Drop what an earlier swap pushed out; a reader still inside delays it to the next publish."""
    names = connection.execute(
        "select nspname from pg_namespace where nspname ~ '^(analytics|research)_drop_[0-9]+$'"
    ).fetchall()
    for (name,) in names:
        try:
            with connection.transaction():
                connection.execute("set local lock_timeout = '5s'")
                connection.execute(f"drop schema {name} cascade")
        except psycopg.errors.LockNotAvailable:
            continue
