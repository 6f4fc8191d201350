"""Quarantine: which rows could not be taken, why, what to do; out as CSV, and back in corrected."""

from __future__ import annotations

from typing import Any

import streamlit as st

from dashboard import parts, session
from dashboard.views import data_in, runs

PAGE = 50
ALL = "all"


def show() -> None:
    """The page."""
    parts.header(
        "Quarantine",
        "Rows that could not be taken. **Failed** ones break the contract: correct and drop them again."
        " **Parked** ones wait for what they refer to, and are tried on every run.",
    )
    if not parts.allowed("quarantine.list_entries"):
        return
    with parts.guarded():
        reasons = session.api().get(session.me().token, "/api/quarantine/summary")
        if not reasons:
            parts.nothing("Quarantine is empty.", "Every row that was dropped is in production.")
            return
        why(reasons)
        feed = entries(reasons)
        if feed:
            out_and_in(feed)


def why(reasons: list[dict[str, Any]]) -> None:
    """Open rows by reason, with what to do."""
    with st.container(border=True):
        st.subheader("Why, and what to do", anchor=False)
        total = sum(reason["row_count"] for reason in reasons)
        first = reasons[0]
        st.markdown(
            f"**{total:,} rows** are open; most of them ({first['row_count']:,} of {first['feed']}):"
            f" {first['error_code'].replace('_', ' ')}."
        )
        parts.table(
            [
                {
                    "feed": reason["feed"],
                    "disposition": reason["disposition"],
                    "reason": reason["error_code"],
                    "rows": reason["row_count"],
                    "files": reason["file_count"],
                    "since": parts.when(reason["oldest_opened_at"]),
                    "what to do": reason["advice"],
                }
                for reason in reasons
            ],
            key="reasons",
            alt="Open rows by feed and reason, with what to do",
        )


def entries(reasons: list[dict[str, Any]]) -> str | None:
    """The rows that fit the filter, without their values; returns the feed that was chosen."""
    with st.container(border=True):
        st.subheader("Row by row", anchor=False)
        first, second, third = st.columns(3)
        feeds = list(dict.fromkeys(reason["feed"] for reason in reasons))
        feed = first.selectbox("Feed", [ALL, *feeds], key="feed", bind="query-params")
        codes = sorted({reason["error_code"] for reason in reasons if feed in {ALL, reason["feed"]}})
        code = second.selectbox("Reason", [ALL, *codes], key="code", bind="query-params")
        disposition = third.selectbox("Disposition", [ALL, "failed", "parked"], key="disposition", bind="query-params")
        chosen = {
            name: None if value in {None, ALL} else value
            for name, value in (("feed", feed), ("code", code), ("disposition", disposition))
        }
        found = session.api().get(session.me().token, "/api/quarantine", per_page=PAGE, **chosen)
        if not found:
            parts.nothing("No row fits.", "Choose another reason or feed.")
            return chosen["feed"]
        parts.table(
            [
                {
                    "id": entry["id"],
                    "feed": entry["feed"],
                    "file": entry["file"],
                    "line": entry["row_number"],
                    "column": entry["error_column"],
                    "reason": entry["error_code"],
                    "disposition": entry["disposition"],
                    "since": parts.when(entry["opened_at"]),
                }
                for entry in found
            ],
            key="entries",
            alt="Rows in quarantine, without their values",
        )
        if len(found) == PAGE:
            st.caption(f"The oldest {PAGE} rows; the file below holds all of a feed.")
        if session.me().can("quarantine.get_entry"):
            one([entry["id"] for entry in found])
        return chosen["feed"]


def one(ids: list[int]) -> None:
    """One row with its values, asked for only when somebody chooses it."""
    chosen = st.selectbox("Look into one row", ids, index=None, placeholder="Choose its id", key="entry")
    if chosen is None:
        return
    entry = session.api().get(session.me().token, f"/api/quarantine/{chosen}")
    st.markdown(f"**What to do:** {entry['advice']}")
    if entry["delivered"] is None:
        st.code(entry["delivered_text"] or "", language=None)
    else:
        wrong = {error["column"] for error in entry["errors"]}
        st.dataframe(
            [
                {"column": name, "delivered": value, "": "◀ look here" if name in wrong else ""}
                for name, value in entry["delivered"].items()
            ],
            hide_index=True,
            alt="The row as it was delivered",
        )


def out_and_in(feed: str) -> None:
    """The way of a correction: download, correct, drop."""
    if not session.me().can("quarantine.get_entry"):
        st.caption(
            "Rows hold patients' values, which this role does not see: a steward or an administrator corrects them."
        )
        return
    with st.container(border=True):
        st.subheader(f"Correct the rows of {feed}", anchor=False)
        st.markdown(
            "Download the open rows in the feed's own layout, correct them, and drop the file again."
            " Leave the columns that begin with `_` as they are: they tell which row is corrected."
        )
        visitor = session.me()
        st.download_button(
            "Download as CSV",
            data=lambda: session.api().csv(visitor.token, "/api/quarantine", feed=feed),
            file_name=f"{feed}-corrected.csv",
            mime="text/csv",
            key="quarantine-csv",
            on_click="ignore",
            type="primary",
            icon=":material/download:",
        )
    if session.me().can("pipeline.upload_file"):
        data_in.drop("corrected", f"Drop the corrected {feed}", feed)
        run_id = st.query_params.get("run")
        if run_id:
            runs.follow(run_id)
    else:
        st.caption("An operator drops the corrected file: your role may not.")
