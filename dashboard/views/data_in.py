"""Data in: drop a file, see it accepted, follow its run."""

from __future__ import annotations

from typing import IO

import streamlit as st

from dashboard import parts, session
from dashboard.api import ApiProblem
from dashboard.views import runs

FEEDS = {
    "facilities": "Facilities",
    "patients": "Patients",
    "medical_records": "Medical records",
    "triage_visits": "Triage visits",
}
ENDINGS = ["csv", "tsv", "gz", "xlsx", "xls"]


def show() -> None:
    """The page."""
    parts.header("Data in", "Drop a file: it is checked row by row, and what cannot be taken is kept in quarantine.")
    if not parts.allowed("pipeline.upload_file"):
        return
    if session.me().can("nhs_data.upload_return"):
        hospital, workbook, address = st.tabs(["File of a hospital", "NHS workbook", "Address at the NHS"])
        with hospital:
            drop("drop", "A file of a hospital")
        with workbook:
            upload_return()
        with address:
            fetch_return()
    else:
        drop("drop", "A file of a hospital")
    run_id = st.query_params.get("run")
    if run_id:
        with st.container(border=True):
            st.subheader("The run that takes it", anchor=False)
            runs.follow(run_id)


def drop(key: str, title: str, feed: str | None = None) -> None:
    """A form that takes one file of a feed, and starts a run."""
    with st.container(border=True), st.form(key, clear_on_submit=True, border=False):
        st.subheader(title, anchor=False)
        chosen = feed or st.selectbox("What is in it", list(FEEDS), format_func=FEEDS.__getitem__, key=f"{key}-feed")
        file = st.file_uploader(
            "CSV, TSV (also gzipped) or Excel workbook, up to 50 MB", type=ENDINGS, key=f"{key}-file"
        )
        if not st.form_submit_button("Drop it and start a run", type="primary"):
            return
        if file is None:
            st.warning("**No file yet.** Choose one, or drag it onto the field.", icon=":material/attach_file:")
            return
        with parts.guarded(), st.spinner("Handing it over …"):
            _take(str(chosen), file.name, file)


def _take(feed: str, name: str, content: IO[bytes]) -> None:
    """Hand the file to the API; the address then names its run."""
    try:
        taken = session.api().upload(session.me().token, "/api/pipeline/files", name, content, feed=feed, run="true")
    except ApiProblem as problem:
        if "not_a_file_of_the_feed" in str(problem):
            st.error(
                "**That is no file that can be read.** Its name ends in .csv, .tsv, .csv.gz, .xlsx or .xls.",
                icon=":material/error:",
            )
            return
        raise
    st.success(f"Accepted as {taken['name']} ({taken['size_bytes']:,} bytes)", icon=":material/check:")
    st.query_params["run"] = taken["run_id"]


def upload_return() -> None:
    """A form that takes a KH03 workbook."""
    with st.container(border=True), st.form("return", clear_on_submit=True, border=False):
        st.subheader("A workbook of NHS England's bed occupancy (KH03)", anchor=False)
        file = st.file_uploader("Excel workbook (.xlsx, .xls), up to 50 MB", type=["xlsx", "xls"], key="return-file")
        if not st.form_submit_button("Upload it and start a run", type="primary"):
            return
        if file is None:
            st.warning("**No workbook yet.** Choose one, or drag it onto the field.", icon=":material/attach_file:")
            return
        with parts.guarded(), st.spinner("Handing it over …"):
            _started(session.api().upload(session.me().token, "/nhs-data/upload", file.name, file))


def fetch_return() -> None:
    """A form that takes the address of a KH03 workbook."""
    with st.container(border=True), st.form("address", border=False):
        st.subheader("A workbook at NHS England's own address", anchor=False)
        url = st.text_input(
            "Address of the workbook",
            key="return-url",
            placeholder="https://www.england.nhs.uk/…/Beds-Open-Overnight-….xlsx",
            help="https, on www.england.nhs.uk or files.digital.nhs.uk, ending in .xlsx or .xls",
        )
        if not st.form_submit_button("Fetch it and start a run", type="primary"):
            return
        if not url:
            st.warning("**No address yet.** Paste the one of the workbook.", icon=":material/link:")
            return
        with parts.guarded(), st.spinner("Handing it over …"):
            _started(session.api().post(session.me().token, "/nhs-data/trigger-pipeline", {"url": url}))


def _started(started: dict[str, str]) -> None:
    st.success(f"Accepted: {started['flow_run_name']}", icon=":material/check:")
    st.query_params["run"] = started["flow_run_id"]
