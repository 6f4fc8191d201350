"""Transform: let dbt build and test the marts, in schemas no reader sees.

Results go to `audit.dbt_results`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

from psycopg import Connection

from elt import audit
from elt.database import PIPELINE_OPTIONS, end_sessions
from elt.settings import REPOSITORY, Settings

PROJECT = REPOSITORY / "dbt"

# What dbt reads. The API goes on writing meanwhile: a model and its test must see the same rows (decision 0019).
SOURCES = ("facilities", "patients", "medical_records", "triage_visits", "bed_occupancy_returns")
SOURCES_SCHEMA = "dbt_sources"

GOOD = ("success", "pass", "warn", "no-op")
TESTS = ("test", "unit_test")

APPLICATION = "medilink-dbt"


class TransformFailed(Exception):
    """A model could not be built or a test failed; what is published stays as it was."""


class Superseded(Exception):
    """Another try of the same batch has begun to build anew; what this one built is gone."""


def build(connection: Connection, settings: Settings, batch_id: int) -> None:
    """Build and test every model for this batch, by one call of dbt: its start is most of the time (decision 0020).

    The schemas are made anew, and what dbt reads is copied, all of it as of one moment: leftovers of a killed run never
    take part. `connection` acts as loader.
    Raises `Superseded`, and `TransformFailed` naming each failed node, its model and how many rows failed; values never
    appear in it.
    """
    if len(settings.research_pseudonym_key.get_secret_value()) < 32:
        raise TransformFailed(
            "RESEARCH_PSEUDONYM_KEY is not set, or too short: the pseudonyms of schema research need it. Set it, "
            "once and for all, to a random text of at least 32 characters (`openssl rand -hex 32`), and run again."
        )
    # One build at a time: a dbt session still open belongs to a dead run, and must not write into this one.
    end_sessions(connection, APPLICATION)
    name = f"build {uuid.uuid4()}"
    with connection.transaction():
        audit.assert_running(connection, batch_id)
        audit.hold_build(connection)
        run_date = connection.execute(
            "select (started_at at time zone 'UTC')::date from audit.batches where batch_id = %s", [batch_id]
        ).fetchone()[0]  # type: ignore[index]
        connection.execute("delete from audit.dbt_results where batch_id = %s", [batch_id])
        connection.execute("set local role transformer")
        connection.execute(f"drop schema if exists analytics_next, research_next, {SOURCES_SCHEMA} cascade")
        for schema in ("analytics_next", "research_next", SOURCES_SCHEMA):
            connection.execute(f"create schema {schema}")
        connection.execute(f"comment on schema analytics_next is '{name}'")
        _copy_sources(connection)
    target = settings.medilink_home / "dbt"
    results = target / "run_results.json"
    results.unlink(missing_ok=True)
    variables = json.dumps({"run_date": run_date.isoformat(), "sources_schema": SOURCES_SCHEMA})
    answer = dbt(
        settings, target, "build", "--target", "next", "--vars", variables, "--exclude-resource-type", "exposure"
    )
    if not results.exists():
        raise TransformFailed(f"dbt could not start: {_first_error(answer)}")
    nodes = json.loads(results.read_text(encoding="utf-8"))["results"]
    manifest = json.loads((target / "manifest.json").read_text(encoding="utf-8"))
    described = manifest["nodes"] | manifest["unit_tests"]
    _record(connection, batch_id, name, nodes, described)
    failed = [
        _sentence(node, described) for node in nodes if node["status"] not in GOOD and node["status"] != "skipped"
    ]
    if failed or answer.returncode:
        raise TransformFailed("; ".join(failed) or _first_error(answer))


def _copy_sources(connection: Connection) -> None:
    """Copy every source by one statement, which sees the database as of one moment."""
    copies = [f"{SOURCES_SCHEMA}.{name}" for name in SOURCES]
    for name, copy in zip(SOURCES, copies, strict=True):
        connection.execute(f"create table {copy} (like public.{name})")
    inserts = [f"insert into {copy} select * from public.{name}" for name, copy in zip(SOURCES, copies, strict=True)]
    others = ", ".join(f"copy_{number} as ({insert})" for number, insert in enumerate(inserts[1:]))
    connection.execute(f"with {others} {inserts[0]}")
    connection.execute(f"analyze {', '.join(copies)}")


def generate_docs(settings: Settings) -> Path:
    """Write the dbt docs of what is published as one static page; returns its path."""
    target = settings.medilink_home / "dbt" / "docs"
    answer = dbt(settings, target, "docs", "generate", "--static", "--target", "published")
    if answer.returncode:
        raise TransformFailed(f"dbt docs could not be generated: {_first_error(answer)}")
    return target / "static_index.html"


def dbt(settings: Settings, target: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Call dbt on the project. Its log file is off: database errors quote values, and values are patient data."""
    executable = settings.dbt_executable or shutil.which("dbt", path=str(Path(sys.executable).parent)) or "dbt"
    pseudonym_key = settings.research_pseudonym_key.get_secret_value().encode().hex()
    environment = os.environ | {
        "POSTGRES_HOST": settings.postgres_host,
        "POSTGRES_PORT": str(settings.postgres_port),
        "POSTGRES_USER": settings.postgres_user,
        "POSTGRES_PASSWORD": settings.postgres_password.get_secret_value(),
        "POSTGRES_DB": settings.postgres_db,
        "POSTGRES_SSLMODE": settings.postgres_sslmode,
        "PGAPPNAME": APPLICATION,
        "PGSERVICEFILE": str(PROJECT / "pg_service.conf"),
        "PGSERVICE": APPLICATION,
        # A setting of the session, so that neither compiled SQL nor the database holds the key (decision 0012).
        "PGOPTIONS": f"{os.environ.get('PGOPTIONS', '')} {PIPELINE_OPTIONS} -c medilink.pseudonym_key={pseudonym_key}",
    }
    command = [
        executable,
        *arguments,
        "--project-dir",
        str(PROJECT),
        "--profiles-dir",
        str(PROJECT),
        "--target-path",
        str(target),
    ]
    return subprocess.run(  # noqa: S603 - no shell; the executable is an operator's setting, every argument our own
        [*command, "--no-use-colors", "--log-level-file", "none", "--log-path", str(target)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=settings.flow_run_timeout,
        check=False,
    )


def _record(
    connection: Connection, batch_id: int, name: str, nodes: list[dict[str, Any]], described: dict[str, Any]
) -> None:
    """Keep the results, if they are those of what stands in `analytics_next`: only then may it be published."""
    rows = [
        {
            "batch": batch_id,
            "node": node["unique_id"],
            "type": node["unique_id"].split(".")[0],
            "layer": _layer(node, described),
            "status": node["status"],
            "severity": _severity(node, described),
            "seconds": node["execution_time"],
            "rows": node["adapter_response"].get("rows_affected"),
            "failures": node["failures"],
            "message": None if node["status"] in GOOD else _sentence(node, described),
        }
        for node in nodes
    ]
    with connection.transaction(), connection.cursor() as cursor:
        audit.assert_running(connection, batch_id)
        audit.hold_build(connection)
        built = cursor.execute("select obj_description(to_regnamespace('analytics_next'), 'pg_namespace')").fetchone()
        if built != (name,):
            raise Superseded(f"batch {batch_id}: another try of it builds the marts anew. Wait for that one.")
        cursor.executemany(
            """
            insert into audit.dbt_results (
                batch_id, node_id, resource_type, layer, status, severity, seconds, rows_affected, failures, message
            )
            values (
                %(batch)s, %(node)s, %(type)s, %(layer)s, %(status)s, %(severity)s, %(seconds)s, %(rows)s, %(failures)s,
                %(message)s
            )
            on conflict (batch_id, node_id) do update set
                status = excluded.status, seconds = excluded.seconds, rows_affected = excluded.rows_affected,
                failures = excluded.failures, message = excluded.message, completed_at = now()
            """,
            rows,
        )


def _layer(node: dict[str, Any], described: dict[str, Any]) -> str:
    """The folder of `models/` that describes a node (`staging`, `marts`, `research`); `project` for others."""
    kind, *folders = Path(described.get(node["unique_id"], {}).get("original_file_path", "")).parts or ("",)
    return folders[0] if kind == "models" else "project"


def _severity(node: dict[str, Any], described: dict[str, Any]) -> str | None:
    """Whether a test blocks publishing (error) or is reported only (warn); unit tests always block."""
    kind = node["unique_id"].split(".")[0]
    if kind not in TESTS:
        return None
    return str(described[node["unique_id"]]["config"].get("severity", "error")).lower()


def _sentence(node: dict[str, Any], described: dict[str, Any]) -> str:
    """What happened to a node, to which model, and to how many rows; not dbt's message, which may quote the data."""
    kind, _, *names = node["unique_id"].split(".")
    name = names[-1] if kind == "unit_test" else names[0]
    tested = ""
    if kind in TESTS:
        test = described[node["unique_id"]]
        models = [test["attached_node"]] if test.get("attached_node") else test["depends_on"]["nodes"]
        tested = " of " + " and ".join(model.rpartition(".")[2] for model in models)
    counted = f" with {node['failures']} rows" if node["failures"] else ""
    return f"{kind} {name}{tested} ended as {node['status']}{counted}"


def _first_error(answer: subprocess.CompletedProcess[str]) -> str:
    """The headline of dbt's complaint; the lines below it may quote the data."""
    lines = [line.split("  ", 1)[-1].strip() for line in answer.stdout.splitlines() if "Error" in line]
    return lines[0] if lines else f"exit code {answer.returncode}; run `dbt debug` in {PROJECT.name}/ to see why"
