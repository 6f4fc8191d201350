"""Conditions and triage: what people come with, how urgent it is, by state, age and sex."""

from __future__ import annotations

from typing import Any

import streamlit as st

from dashboard import charts, parts, session
from dashboard.views.overview import complete, trend_of, urgency_of, weekly

AGE_GROUPS = ["Infant", "Child", "Adolescent", "Adult", "Senior", "Unknown"]
SEXES = ["F", "M", "Other", "Unknown"]
ALL = "all"


def show() -> None:
    """The page."""
    parts.header("Conditions & triage", "What people come with and how urgent it is: choose whose.")
    if not parts.allowed("analytics.top_conditions"):
        return
    with parts.guarded():
        release = session.as_of()
        states = [row["state"] for row in session.fetch("/api/analytics/states", release=release)["rows"]]
        first, second, third, fourth = st.columns(4)
        state = first.selectbox("State", [ALL, *states], key="state", bind="query-params", format_func=_titled)
        age_group = second.selectbox("Age group", [ALL, *AGE_GROUPS], key="age", bind="query-params")
        sex = third.selectbox("Sex", [ALL, *SEXES], key="sex", bind="query-params")
        limit = fourth.selectbox("Conditions", [10, 15, 25, 50], index=1, key="most", bind="query-params")
        top(release, _chosen(state), _chosen(age_group), _chosen(sex), int(limit or 15))
        triage(release, _chosen(state))


def top(release: str, state: str | None, age_group: str | None, sex: str | None, limit: int) -> None:
    """The most frequent conditions."""
    rows = session.fetch(
        "/api/analytics/top-conditions", release=release, state=state, age_group=age_group, sex=sex, limit=limit
    )["rows"]
    if not rows:
        parts.nothing("Nothing found.", "No visit with a condition fits these choices: widen them.")
        return
    who = ", ".join(filter(None, [_titled(state or ""), age_group, sex])) or "all patients"
    parts.chart(
        charts.conditions(rows),
        rows,
        key="top-conditions",
        title=f"Most frequent conditions, {who}",
        says=_leading(rows),
    )


def triage(release: str, state: str | None) -> None:
    """Visits per day and by priority; they know no age and no sex."""
    rows = complete(
        session.fetch("/api/analytics/daily-visits", release=release, state=state, days=366)["rows"], release
    )
    if not rows:
        parts.nothing("No visits.", "Choose another state.")
        return
    where = _titled(state) if state else "all states"
    left, right = st.columns(2)
    with left:
        parts.chart(
            charts.visits_per_day(rows), rows, key="state-visits", title=f"Visits per day, {where}, all ages and sexes",
            says=trend_of(rows),
        )  # fmt: skip
    with right:
        weeks = weekly(rows)
        parts.chart(
            charts.priority_mix(weeks), weeks, key="state-mix", title=f"Visits by priority, {where}",
            says=urgency_of(weeks),
        )  # fmt: skip


def _leading(rows: list[dict[str, Any]]) -> str:
    first = rows[0]
    share = f", {first['urgent_visit_pct']:.0f} % of them at level 1 or 2" if first["urgent_visit_pct"] else ""
    return (
        f"**{first['condition']}** leads with {parts.count(first['visit_count'])} visits{share}."
        " A visit counts with each of its conditions."
    )


def _chosen(value: str | None) -> str | None:
    return None if value in {None, ALL} else value


def _titled(state: str) -> str:
    return state if state == ALL else state.title()
