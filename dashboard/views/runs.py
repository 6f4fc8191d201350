"""A run as it happens: which step, how far, and what became of each file."""

from __future__ import annotations

from collections import Counter
from typing import Any
from urllib.parse import quote

import streamlit as st

from dashboard import parts, session
from dashboard.api import NotFound

# What a run of the night consists of; steps of other runs come on top as they begin.
STEPS = (
    "extract",
    "load_facilities",
    "load_patients",
    "load_medical_records",
    "load_triage_visits",
    "generate_ids_and_transform",
    "dbt_build",
    "publish",
    "archive_files",
)
NIGHT_LOADS = {step for step in STEPS if step.startswith("load_")}
COUNTS = ("processed", "inserted", "updated", "unchanged", "duplicate", "parked", "failed")
UNFINISHED = {"queued", "running"}
ICONS = {"running": ":material/pending:", "succeeded": ":material/check_circle:", "failed": ":material/error:"}


def follow(run_id: str) -> None:
    """The run, again every second until it has ended."""
    with parts.guarded():
        run = _read(run_id)
        if run["state"] in UNFINISHED:
            st.fragment(_follow, run_every="1s")(run_id)
        else:
            show(run)


def _follow(run_id: str) -> None:
    with parts.guarded():
        run = _read(run_id)
        show(run)
        if run["state"] not in UNFINISHED:
            # The rest of the page may show other figures now.
            st.rerun()


def _read(run_id: str) -> dict[str, Any]:
    """The run as the pipeline knows it; one of an NHS workbook that has no batch yet is known by its status only."""
    visitor = session.me()
    quoted = quote(run_id, safe="")
    try:
        found: dict[str, Any] = session.api().get(visitor.token, f"/api/pipeline/runs/{quoted}")
    except NotFound:
        if not visitor.can("nhs_data.get_status"):
            raise
        status = session.api().get(visitor.token, f"/nhs-data/status/{quoted}")
        found = {
            "state": status["state"],
            "failed_step": None,
            "error_message": status["message"],
            "completed_at": status["updated_at"],
            "steps": [],
            "files": [],
        }
    return found


def show(run: dict[str, Any]) -> None:
    """State, progress, steps and files of a run."""
    done = {step["step"] for step in run["steps"] if step["state"] == "succeeded"}
    begun = [step["step"] for step in run["steps"]]
    is_of_returns = "load_bed_occupancy" in begun and not NIGHT_LOADS & set(begun)
    expected = [step for step in dict.fromkeys([*STEPS, *begun]) if not (is_of_returns and step in NIGHT_LOADS)]
    running = [step["step"] for step in run["steps"] if step["state"] == "running"]
    if run["state"] == "queued":
        st.progress(0.0, text="Accepted: the run waits for Airflow to begin it.")
    elif run["state"] == "running":
        share = len(done) / len(expected)
        st.progress(
            share,
            text=f"Running: {', '.join(running) or 'between two steps'} ({len(done)} of {len(expected)} steps done)",
        )
    elif run["state"] == "succeeded":
        st.success(f"**The run succeeded.** {parts.when(run['completed_at'])}", icon=":material/check_circle:")
    else:
        where = f" in {run['failed_step']}" if run["failed_step"] else ""
        st.error(f"**The run {run['state']}**{where}. {run['error_message'] or ''}")
    if run["steps"]:
        st.markdown(" · ".join(f"{ICONS.get(step['state'], '')} {step['step']}" for step in run["steps"]))
    files(run["files"])


def files(found: list[dict[str, Any]]) -> None:
    """What became of each file, with the six counts and their sum."""
    if not found:
        return
    for file in found:
        if file["error_message"]:
            st.warning(f"**{file['name']}** is {file['status']}: {file['error_message']}", icon=":material/front_hand:")
        elif file["warning"]:
            st.info(f"**{file['name']}**: {file['warning']}", icon=":material/visibility:")
    parts.table(
        [
            {"file": file["name"], "feed": file["feed"], "status": file["status"]}
            | {name: file[f"records_{name}"] for name in COUNTS}
            for file in found
        ],
        key="files-of-run",
        alt="Files of the run with what became of their records",
    )
    kept = Counter[str]()
    for file in found:
        kept[file["feed"]] += (file["records_failed"] or 0) + (file["records_parked"] or 0)
    if session.me().can("quarantine.list_entries"):
        for feed, count in kept.items():
            if count:
                st.page_link(
                    st.session_state["pages"]["quarantine"],
                    label=f"In quarantine, of {feed}: {count:,}. Why, and what to do",
                    icon=":material/rule:",
                    query_params={"feed": feed},
                )
