"""Releases of the marts without dbt, for tests that publish very often."""

from __future__ import annotations

import json

import psycopg

from elt.pipeline import Pipeline

MARTS = ("dim_facilities", "facility_performance", "triage_trends")
MART_ROWS = 500


def build(pipeline: Pipeline, batch_id: int, number: int) -> None:
    """What dbt leaves behind, in milliseconds: three marts built and tested, the build's number in every row."""
    nodes = [f"model.medilink.{mart}" for mart in MARTS]
    manifest = {"unit_tests": {}, "nodes": {node: {"resource_type": "model"} for node in nodes}}
    folder = pipeline.settings.medilink_home / "dbt"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    with pipeline.connect("loader") as connection, connection.transaction():
        connection.cursor().executemany(
            """
            insert into audit.dbt_results (batch_id, node_id, resource_type, layer, status, seconds)
            values (%s, %s, 'model', 'marts', 'success', 0) on conflict do nothing
            """,
            [(batch_id, node) for node in nodes],
        )
    with pipeline.connect("transformer") as connection, connection.transaction():
        connection.execute("drop schema if exists analytics_next, research_next cascade")
        connection.execute("create schema analytics_next")
        connection.execute("create schema research_next")
        for mart in MARTS:
            connection.execute(
                f"create table analytics_next.{mart} as"
                f" select facility_id, {number} as build from generate_series(1, {MART_ROWS}) as facility_id"
            )
            connection.execute(f"grant select on analytics_next.{mart} to api_read")


def release(admin: psycopg.Connection, batch_id: int) -> None:
    """What publishing leaves behind in the ledger, without marts."""
    ((release_id,),) = admin.execute(
        "insert into audit.releases (batch_id) values (%s) returning release_id", [batch_id]
    ).fetchall()
    for schema in ("analytics", "research"):
        admin.execute(f"comment on schema {schema} is 'release {release_id}'")
    admin.execute("update audit.ingest_files set status = 'published', published_at = now() where status = 'promoted'")
