"""What pages are made of: a chart with its data, figures, tables, and what is shown when there is nothing to show."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from dashboard import session
from dashboard.api import ApiAway, ApiProblem, LoggedOut, NotAllowed, NotFound, NothingPublished, Refused

# What a spreadsheet would take for a formula.
FORMULA = re.compile(r"[=+@\t\r-]")
TOO_FEW = "few (1–7)"


def csv_of(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as CSV; text that a spreadsheet would take for a formula gets an apostrophe in front, numbers do not."""
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows({name: _harmless(value) for name, value in row.items()} for row in rows)
    return text.getvalue()


def _harmless(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and FORMULA.match(value) else value


def header(title: str, subject: str) -> None:
    """The page's title, and a line about what it is for."""
    st.title(title, anchor=False)
    st.markdown(subject)


def chart(drawn: go.Figure, rows: Sequence[Mapping[str, Any]], *, key: str, title: str, says: str) -> None:
    """A chart: its subject as title, its finding in words, and its data as CSV."""
    with st.container(border=True, height="stretch"):
        st.subheader(title, anchor=False)
        st.markdown(says)
        st.plotly_chart(
            drawn, key=key, theme=None, config={"displayModeBar": False, "responsive": True}, alt=f"{title}. {says}"
        )
        download(rows, key)


def download(rows: Sequence[Mapping[str, Any]], name: str) -> None:
    """A button that gives rows as CSV; the file is made when it is asked for."""
    st.download_button(
        "Data as CSV",
        data=lambda: csv_of(rows),
        file_name=f"medilink-{name}.csv",
        mime="text/csv",
        key=f"{name}-csv",
        on_click="ignore",
        icon=":material/download:",
        type="tertiary",
        help="What this shows, as a table for a spreadsheet",
    )


def table(rows: Sequence[Mapping[str, Any]], *, key: str, alt: str, **columns: Any) -> None:
    """Rows as a table, with its CSV."""
    st.dataframe(rows, key=f"{key}-table", hide_index=True, column_config=columns or None, alt=alt)
    download(rows, key)


def nothing(what: str, what_next: str) -> None:
    """There is nothing to show, and that is no error."""
    st.info(f"**{what}** {what_next}", icon=":material/search_off:")


@contextmanager
def guarded() -> Iterator[None]:
    """Tells in words, in place of what would have been shown, why the API did not answer as asked."""
    try:
        yield
    except LoggedOut:
        session.log_out()
        st.warning("**Your log-in has ended.** Log in again to go on.", icon=":material/lock_clock:")
        st.button("Log in", on_click=session.ask_to_log_in, type="primary", key="log-in-again")
        st.stop()
    except NotAllowed:
        st.warning(f"**Not for the role {session.me().role}.** {_how_to_get_in()}", icon=":material/block:")
    except NothingPublished:
        nothing(
            "No data yet.",
            "No run has published anything so far. Drop files under *Data in*, or start `medilink run`; charts appear"
            " when it ends.",
        )
    except NotFound:
        nothing("Not found.", "It is not there, or it belongs to a facility that is not yours.")
    except ApiAway as problem:
        st.error(f"**The API is not reachable now.** {problem}", icon=":material/cloud_off:")
        st.button("Try again", key=f"again-{datetime.now(UTC).timestamp()}")
    except Refused as problem:
        st.error(f"**That was refused.** {problem}", icon=":material/error:")
    except ApiProblem as problem:
        st.error(str(problem), icon=":material/error:")


def allowed(*operations: str) -> bool:
    """Whether the visitor's role covers one of the operations; says so where it does not."""
    if any(session.me().can(operation) for operation in operations):
        return True
    st.warning(f"**This page is not for the role {session.me().role}.** {_how_to_get_in()}", icon=":material/block:")
    return False


def _how_to_get_in() -> str:
    return "Log in as a client whose role covers it (docs/operations.md tells which)."


def count(value: float | None) -> str:
    """A count for people; suppressed ones are said to be few."""
    return TOO_FEW if value is None else f"{value:,.0f}"


def percent(value: float | None) -> str:
    """A percentage for people."""
    return "–" if value is None else f"{value:.1f} %"


def when(moment: str | None) -> str:
    """A moment for people, UTC."""
    return f"{datetime.fromisoformat(moment):%-d %b %Y, %H:%M} UTC" if moment else "–"


def change(now: float | None, before: float | None) -> str | None:
    """How much `now` is above or below `before`, percent; None where either is unknown or there was nothing."""
    return f"{100 * (now - before) / before:+.1f} %" if now is not None and before else None
