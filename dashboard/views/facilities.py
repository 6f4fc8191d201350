"""Organisations and facilities: search as you type, and one page each."""

from __future__ import annotations

import streamlit as st

from dashboard import charts, parts, session
from dashboard.views.overview import complete, trend_of

FOUND_AT_MOST = 20
LATEST = 20


def show() -> None:
    """The search, or the page of the facility that the address names."""
    if not parts.allowed("facilities.list_facilities"):
        return
    chosen = st.query_params.get("facility", "")
    with parts.guarded():
        if chosen.isdecimal():
            facility(int(chosen))
        else:
            search()


@st.fragment
def search() -> None:
    """Facilities by part of their name; what is typed stays out of the address."""
    parts.header("Organisations & facilities", "Search by name; each has a page of its own that can be bookmarked.")
    typed = st.text_input(
        "Name of the facility", key="facility-name", live="300ms", placeholder="Type a part of the name, e.g. general"
    )
    with parts.guarded():
        found = session.api().get(
            session.me().token, "/api/facilities", q=(typed or "").strip() or None, per_page=FOUND_AT_MOST + 1
        )
        if not found:
            parts.nothing("No facility of that name.", "Try a shorter part of it.")
            return
        for row in found[:FOUND_AT_MOST]:
            place = ", ".join(filter(None, [row["lga"], row["state"].title(), row["type"]]))
            st.page_link(
                st.session_state["pages"]["facilities"],
                label=f"**{row['name']}** · {place}",
                icon=":material/local_hospital:",
                query_params={"facility": str(row["id"])},
            )
        if len(found) > FOUND_AT_MOST:
            st.caption(f"These are the first {FOUND_AT_MOST}: type more of the name to see others.")


def facility(facility_id: int) -> None:
    """One facility."""
    st.button("All facilities", on_click=st.query_params.clear, icon=":material/arrow_back:", type="tertiary")
    token = session.me().token
    known = session.api().get(token, f"/api/facilities/{facility_id}")
    place = ", ".join(filter(None, [known["lga"], known["state"].title()]))
    parts.header(known["name"], f"{known['type'] or 'Facility'} in {place}")
    if not session.me().can("analytics.facility_performance"):
        return
    release = session.as_of()
    found = session.fetch("/api/analytics/facility-performance", release=release, facility_id=facility_id)["rows"]
    if not found:
        parts.nothing("No figures of this facility.", "They come with the next run that publishes.")
        return
    row = found[0]
    visits, patients, urgent, score = st.columns(4)
    visits.metric("Visits in 12 months", parts.count(row["visit_count"]), help=f"Volume: {row['volume_category']}")
    patients.metric("Patients seen", parts.count(row["patient_count"]))
    urgent.metric(
        "Urgent visits",
        parts.percent(row["urgent_visit_pct"]),
        help=f"Triage level 1 or 2. Acuity: {row['acuity_category'] or 'not shown'}",
    )
    score.metric(
        "Completeness",
        parts.percent(row["performance_score"]),
        help="Mean share of visits with vital signs, conditions and recommendations",
    )
    days = complete(
        session.fetch("/api/analytics/daily-visits", release=release, facility_id=facility_id)["rows"], release
    )
    if days:
        parts.chart(
            charts.visits_per_day(days), days, key="facility-visits", title=f"Visits per day at {known['name']}",
            says=trend_of(days),
        )  # fmt: skip
    else:
        parts.nothing("No visits yet.", "Nobody was triaged here so far.")
    with st.container(border=True):
        st.subheader("Figures of the last 12 months", anchor=False)
        named = [{"figure": name.replace("_", " "), "value": "–" if value is None else str(value)}
                 for name, value in row.items() if name not in {"facility_id", "facility_name", "state"}]  # fmt: skip
        parts.table(named, key="facility-figures", alt="Every figure of the facility")
    records(facility_id)


def records(facility_id: int) -> None:
    """The newest visits, for roles that may see patients; asked for only when somebody wants them (it is logged)."""
    visitor = session.me()
    if not visitor.can("triage_visits.list_triage_visits"):
        return
    with st.container(border=True):
        st.subheader("Records behind it", anchor=False)
        if not st.toggle("Show the newest visits with the patients' names", key="with-patients"):
            st.caption("Who looks at patients is written to the access log.")
            return
        newest = session.api().newest(visitor.token, "/api/triage-visits", LATEST, facility_id=facility_id)
        if not newest:
            parts.nothing("No visits.", "")
            return
        names = {
            number: session.api().get(visitor.token, f"/api/patients/{number}")
            for number in dict.fromkeys(visit["patient_id"] for visit in newest)
        }
        parts.table(
            [
                {
                    "patient": " ".join(
                        [names[visit["patient_id"]]["first_name"], names[visit["patient_id"]]["last_name"]]
                    ),
                    "visited": parts.when(visit["visited_at"] or visit["created_at"]),
                    "triage level": visit["triage_level"],
                    "complaint": visit["chief_complaint"],
                    "conditions": "; ".join(visit["conditions"]),
                }
                for visit in newest
            ],
            key="newest-visits",
            alt="The newest visits at this facility",
        )
