"""How it stands: visits across all facilities, how urgent they are, where they are."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from itertools import groupby
from typing import Any

import streamlit as st

from dashboard import charts, parts, session

PERIODS = {"8 weeks": 56, "3 months": 92, "1 year": 366, "2 years": 731}
STATES_SHOWN = 14


def show() -> None:
    """The first page."""
    parts.header("Overview", "How busy the wards are, how urgent their patients, and where.")
    with parts.guarded():
        if session.me().can("analytics.daily_visits"):
            triage()
        else:
            parts.nothing("No figures for this role.", "Its work is on the other pages.")


def triage() -> None:
    """Medilink's facilities: figures, visits per day, priorities, map."""
    release = session.as_of()
    days = PERIODS[
        st.segmented_control(
            "Period", list(PERIODS), default="3 months", key="period", bind="query-params", required=True
        )
        or "3 months"
    ]
    states = session.fetch("/api/analytics/states", release=release)["rows"]
    visits = complete(session.fetch("/api/analytics/daily-visits", release=release, days=days)["rows"], release)
    figures(states, visits)
    if not visits:
        parts.nothing("No visits yet.", "Drop files of the feed triage_visits under *Data in*.")
        return
    left, right = st.columns(2)
    with left:
        parts.chart(
            charts.visits_per_day(visits),
            visits,
            key="visits-per-day",
            title="Visits per day, all facilities",
            says=trend_of(visits),
        )
    with right:
        weeks = weekly(visits)
        parts.chart(
            charts.priority_mix(weeks),
            weeks,
            key="priority-mix",
            title="Visits by triage priority",
            says=urgency_of(weeks),
        )
    left, right = st.columns([3, 2])
    with left:
        places(release)
    with right:
        by_state(states)


def by_state(states: Sequence[dict[str, Any]]) -> None:
    """The states with the most visits."""
    known = [
        {"state": row["state"].title(), "visits": row["visit_count"]}
        for row in states
        if row["visit_count"] is not None
    ]
    busiest = sorted(known, key=lambda row: -row["visits"])[:STATES_SHOWN]
    if not busiest:
        parts.nothing("No state with enough visits.", "Small numbers are not shown to this role.")
        return
    share = 100 * sum(row["visits"] for row in busiest[:3]) / max(sum(row["visits"] for row in known), 1)
    parts.chart(
        charts.ranked_bars(busiest, "state", "visits", "visits"),
        busiest,
        key="visits-by-state",
        title="Visits by state",
        says=f"**{', '.join(row['state'] for row in busiest[:3])}** have {share:.0f} % of all visits.",
    )


def places(release: str) -> None:
    """The map."""
    found = session.fetch("/api/analytics/facility-map", release=release)
    rows, total = found["rows"], found["facility_count"]
    if not rows:
        parts.nothing("No facility with coordinates.", "Their feed may give `lat` and `lon`.")
        return
    unplaced = total - found["placed_facility_count"]
    missing = f" {unplaced:,} more have no usable coordinates." if unplaced else ""
    parts.chart(
        charts.facility_map(rows),
        rows,
        key="facility-map",
        title="Facilities in Nigeria by level of care and visits",
        says=f"The {len(rows):,} busiest of {total:,} facilities; the larger the dot, the more visits.{missing}",
    )


def figures(states: Sequence[dict[str, Any]], visits: Sequence[dict[str, Any]]) -> None:
    """The four numbers on top."""
    facilities, patients, records, week = st.columns(4)
    facilities.metric("Facilities", parts.count(sum(row["facility_count"] for row in states)))
    patients.metric("Patients registered", parts.count(total(states, "patient_count")))
    records.metric("Medical records", parts.count(total(states, "record_count")))
    last, before = total(visits[-7:], "visit_count"), total(visits[-14:-7], "visit_count")
    week.metric(
        "Visits in the last 7 days",
        parts.count(last),
        delta=parts.change(last, before),
        delta_color="off",
        help="Whole days before the figures were published; the change is on the 7 days before those",
    )


def complete(rows: Sequence[dict[str, Any]], release: str) -> list[dict[str, Any]]:
    """Days that were over when the figures were published: a day in the middle looks like a fall."""
    return [row for row in rows if row["visited_on"] < release[:10]]


def total(rows: Sequence[dict[str, Any]], name: str) -> float | None:
    """The sum of a column; None where all of it is suppressed, or there is nothing."""
    known = [row[name] for row in rows if row[name] is not None]
    return sum(known) if known else None


def weekly(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Visits by priority and week (Monday's date), whole weeks only; None where a day of the week is suppressed."""

    def monday(row: dict[str, Any]) -> str:
        day = date.fromisoformat(row["visited_on"])
        return str(day - timedelta(days=day.weekday()))

    found = []
    for week, grouped in groupby(rows, monday):
        days = list(grouped)
        if len(days) == 7:
            counts = {name: [day[f"{name.lower()}_count"] for day in days] for name in charts.PRIORITIES}
            found.append({"week": week} | {name: None if None in each else sum(each) for name, each in counts.items()})
    return found


def trend_of(visits: Sequence[dict[str, Any]]) -> str:
    """What the line of visits says, in words."""
    now = visits[-1]["visit_count_7_day_average"]
    before = visits[-8]["visit_count_7_day_average"] if len(visits) > 7 else None
    if now is None:
        return "The bars are days, the line is the mean of seven days."
    changed = f", {parts.change(now, before)} on the week before" if parts.change(now, before) else ""
    return f"**{now:,.1f} visits a day** in the last seven days{changed}. The line is the mean of seven days."


def urgency_of(weeks: Sequence[dict[str, Any]]) -> str:
    """What the mix of priorities says, in words."""
    last = weeks[-1] if weeks else None
    if last is None or None in last.values() or not sum(last[name] for name in charts.PRIORITIES):
        return "Critical is triage level 1, High 2, Medium 3, Low 4 and 5; whole weeks, Monday to Sunday."
    share = 100 * (last["Critical"] + last["High"]) / sum(last[name] for name in charts.PRIORITIES)
    return f"**{share:.0f} % were Critical or High** (level 1 or 2) in the last whole week."
