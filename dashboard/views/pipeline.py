"""The pipeline: runs and how long they take, how fresh the figures are, which files came, what dbt found."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import streamlit as st

from dashboard import charts, parts, session
from dashboard.api import NotFound, NothingPublished
from dashboard.views import runs

NEWEST_RUNS, NEWEST_FILES = 30, 50
# What dbt says of a node that did what it should.
GOOD = {"success", "pass"}


def show() -> None:
    """The page, or one run of it."""
    parts.header("Pipeline", "The nights: did they run, how long did they take, what did they bring.")
    if not parts.allowed("pipeline.list_runs"):
        return
    with parts.guarded():
        token = session.me().token
        newest = session.api().newest(token, "/api/pipeline/runs", NEWEST_RUNS)
        health = session.api().get(token, "/api/pipeline/health")
        figures(newest, health)
        one, history, days = st.tabs(["Runs", "Load history", "Day by day"])
        with one:
            all_runs(newest)
        with history:
            files()
        with days:
            day_by_day(health)


def figures(newest: list[dict[str, Any]], health: list[dict[str, Any]]) -> None:
    """Freshness, the last run, tests."""
    fresh, last, tests, refused = st.columns(4)
    try:
        hours = (datetime.now(UTC) - datetime.fromisoformat(session.as_of())).total_seconds() / 3600
        fresh.metric(
            "Age of the figures", f"{hours:.1f} h", help="Since the marts were published; more than 26 h is late"
        )
    except NothingPublished:
        fresh.metric("Age of the figures", "none yet")
    last.metric("Last run", newest[0]["state"] if newest else "none yet")
    today = health[0] if health else None
    tests.metric(
        "dbt tests failed",
        f"{today['failed_test_count']:,}" if today else "–",
        help="On the last day with a run" + (f"; {today['built_model_count']} models built" if today else ""),
    )
    refused.metric("Files held or rejected", f"{today['refused_file_count']:,}" if today else "–")


def all_runs(newest: list[dict[str, Any]]) -> None:
    """Durations of the newest runs, and one of them in detail."""
    if not newest:
        parts.nothing("No run yet.", "Drop a file under *Data in*, or start `medilink run`.")
        return
    timed = [_timed(run) for run in reversed(newest)]
    slowest = max(timed, key=lambda run: run["seconds"] or 0)
    parts.chart(
        charts.run_durations(timed),
        timed,
        key="run-durations",
        title="Duration of the newest runs",
        says=f"The longest took **{slowest['seconds'] or 0:,.0f} s** (batch {slowest['batch']}).",
    )
    by_id = {run["run_id"]: run for run in newest}
    asked = st.query_params.get("run")
    options = list(by_id) if asked is None or asked in by_id else [asked, *by_id]
    chosen = st.selectbox(
        "One run in detail",
        options,
        index=options.index(asked) if asked else 0,
        format_func=lambda run_id: _named(by_id.get(run_id), run_id),
        key="run-in-detail",
    )
    if chosen:
        runs.follow(chosen)
        dbt(chosen)


def dbt(run_id: str) -> None:
    """What dbt built and tested in a run, node by node; what did not go well comes first."""
    try:
        found = session.api().get(session.me().token, f"/api/pipeline/runs/{quote(run_id, safe='')}/dbt-results")
    except NotFound:
        # It has not begun.
        return
    if not found:
        parts.nothing("dbt built nothing in this run.", "It has not come so far, or there was nothing new.")
        return
    bad = [node for node in found if node["status"] not in GOOD]
    models = sum(node["resource_type"] == "model" for node in found)
    with st.container(border=True):
        st.subheader("dbt, node by node", anchor=False)
        st.markdown(
            f"**{models:,} models and {len(found) - models:,} tests**, {sum(node['seconds'] for node in found):,.1f} s"
            f" of work; {f'{len(bad):,} warned or did not succeed' if bad else 'all succeeded'}. The slowest:"
            f" {_short(found[0])}, {found[0]['seconds']:.1f} s."
        )
        for node in bad:
            if node["message"]:
                (st.warning if node["status"] in {"warn", "skipped"} else st.error)(node["message"])
        parts.table(
            [
                {
                    "node": _short(node),
                    "kind": node["resource_type"].replace("_", " "),
                    "layer": node["layer"],
                    "status": node["status"],
                    "seconds": node["seconds"],
                    "rows": node["rows_affected"],
                    "failing rows": node["failures"],
                }
                for node in sorted(found, key=lambda node: node["status"] in GOOD)
            ],
            key="dbt-results",
            alt="What dbt built and tested in this run, with how long it took",
        )


def files() -> None:
    """The newest files and what became of them."""
    found = session.api().newest(session.me().token, "/api/pipeline/files", NEWEST_FILES)
    if not found:
        parts.nothing("No file yet.", "Drop one under *Data in*.")
        return
    parts.table(
        [
            {
                "found": parts.when(file["discovered_at"]),
                "file": file["name"],
                "feed": file["feed"],
                "status": file["status"],
                **{name: file[f"records_{name}"] for name in runs.COUNTS},
                "bytes": file["size_bytes"],
                "why": file["error_message"] or file["warning"],
            }
            for file in found
        ],
        key="load-history",
        alt="The newest files with what became of their records",
    )


def day_by_day(health: list[dict[str, Any]]) -> None:
    """audit.pipeline_health."""
    if not health:
        parts.nothing("No run yet.", "")
        return
    days = list(reversed(health))
    rate = health[0]["reject_rate"]
    parts.chart(
        charts.rows_per_day(days),
        days,
        key="rows-per-day",
        title="What became of records, day by day",
        says=""
        if rate is None
        else f"**{100 * rate:.2f} %** of the records dropped on the last day broke the contract.",
    )
    parts.table(health, key="pipeline-health", alt="audit.pipeline_health, one row per day with a run")


def _timed(run: dict[str, Any]) -> dict[str, Any]:
    seconds = None
    if run["completed_at"] and run["started_at"]:
        took = datetime.fromisoformat(run["completed_at"]) - datetime.fromisoformat(run["started_at"])
        seconds = round(took.total_seconds(), 1)
    return {"batch": run["id"], "state": run["state"], "started": run["started_at"], "seconds": seconds}


def _short(node: dict[str, Any]) -> str:
    """The name of a node without its project, and without the hash that ends a test's."""
    kind, _, *names = node["node_id"].split(".")
    return ".".join(names[:1] if kind == "test" else names)


def _named(run: dict[str, Any] | None, run_id: str) -> str:
    return run_id if run is None else f"batch {run['id']}, {parts.when(run['started_at'])}: {run['state']}"
