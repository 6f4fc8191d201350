"""Organisations and facilities: search as you type, and one page each."""

from __future__ import annotations

from typing import Any

import streamlit as st

from dashboard import charts, parts, session
from dashboard.views import beds
from dashboard.views.overview import complete, trend_of

LATEST = 20
# The most that the API gives at once.
PAGE = 1000
# Where a count is ranked that is too small to be shown: above none, below those that are shown.
FEW = 4


def show() -> None:
    """The search, or the page of the facility that the address names."""
    if not parts.allowed("facilities.list_facilities"):
        return
    chosen, organisation = st.query_params.get("facility", ""), st.query_params.get("organisation", "")
    if chosen or organisation:
        # A link to the page that one is on leaves the browser's address as it is.
        st.query_params.from_dict({"facility": chosen} if chosen else {"organisation": organisation})
        st.button("All of them", on_click=st.query_params.clear, icon=":material/arrow_back:", type="tertiary")
    with parts.guarded():
        if chosen.isdecimal():
            facility(int(chosen))
        elif organisation:
            beds.organisation(organisation)
        else:
            search()


@st.fragment
def search() -> None:
    """Organisations and facilities by name or code; what is typed stays out of the address."""
    parts.header("Organisations & facilities", "Search by name or code; each has a page that can be bookmarked.")
    typed = st.text_input(
        "Name or code",
        key="name-or-code",
        live="300ms",
        placeholder="Type a part of the name, e.g. general, or a code, e.g. R1H",
    )
    wanted = (typed or "").strip()
    sees_beds = session.me().can("nhs_data.list_occupancy")
    left, right = st.columns(2) if sees_beds else (st.container(), None)
    with left, parts.guarded():
        st.subheader("Facilities", anchor=False)
        facilities(wanted)
    if right is not None:
        with right, parts.guarded():
            st.subheader("NHS organisations", anchor=False)
            organisations(wanted)


def facilities(wanted: str) -> None:
    """Links to the facilities that are meant."""
    found = session.api().get(session.me().token, "/api/facilities", q=wanted or None, per_page=beds.FOUND_AT_MOST + 1)
    if not found:
        parts.nothing("No facility of that name.", "Try a shorter part of it.")
    for row in found[: beds.FOUND_AT_MOST]:
        place = ", ".join(filter(None, [row["lga"], row["state"].title()]))
        _link(f"**{row['name']}** · {place}", "local_hospital", facility=str(row["id"]))
    _more(found)


def organisations(wanted: str) -> None:
    """Links to the organisations that are meant."""
    found = beds.found(wanted)
    if not found:
        parts.nothing("No organisation of that name or code.", "Only those of the latest quarter are listed.")
    for row in found[: beds.FOUND_AT_MOST]:
        label = f"**{beds.titled(row['organisation_name'])}** · {row['organisation_code']}"
        _link(f"{label} · {parts.percent(row['occupancy_rate'])}", "bed", organisation=row["organisation_code"])
    _more(found)


def _link(label: str, icon: str, **address: str) -> None:
    page = st.session_state["pages"]["facilities"]
    st.page_link(page, label=label, icon=f":material/{icon}:", query_params=address)


def _more(found: list[dict[str, Any]]) -> None:
    if len(found) > beds.FOUND_AT_MOST:
        st.caption(f"These are the first {beds.FOUND_AT_MOST}: type more to see others.")


def facility(facility_id: int) -> None:
    """One facility."""
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
    neighbours = [] if session.me().facility_ids else of_state(release, row["state"])
    visits, patients, urgent, score, rank = st.columns(5)
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
    here = next((other for other in neighbours if other["facility_id"] == facility_id), None)
    rank.metric(
        f"Rank in {known['state'].title()}",
        f"{here['rank']:,} of {len(neighbours):,}" if here and here["visit_count"] is not None else "–",
        help="By visits in 12 months, 1 has the most; not for roles that see their own facilities only, nor where the"
        " visits are too few to be shown",
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
    if neighbours:
        ranking(row, neighbours)
    with st.container(border=True):
        st.subheader("Figures of the last 12 months", anchor=False)
        named = [{"figure": name.replace("_", " "), "value": "–" if value is None else str(value)}
                 for name, value in row.items() if name not in {"facility_id", "facility_name", "state"}]  # fmt: skip
        parts.table(named, key="facility-figures", alt="Every figure of the facility")
    records(facility_id)


def of_state(release: str, state: str) -> list[dict[str, Any]]:
    """The figures of every facility of a state with its rank by visits, from 1; those with as many share one."""
    found: list[dict[str, Any]] = []
    page: list[dict[str, Any]] | None = None
    while page is None or len(page) == PAGE:
        number = len(found) // PAGE + 1
        page = session.fetch(
            "/api/analytics/facility-performance", release=release, state=state, per_page=PAGE, page=number
        )["rows"]
        found += page
    found.sort(key=lambda row: (-_visits(row), row["facility_name"]))
    ranks: dict[int, int] = {}
    for place, row in enumerate(found, 1):
        ranks.setdefault(_visits(row), place)
    return [{"rank": ranks[_visits(row)], **row} for row in found]


def _visits(row: dict[str, Any]) -> int:
    return FEW if row["visit_count"] is None else int(row["visit_count"])


def ranking(row: dict[str, Any], neighbours: list[dict[str, Any]]) -> None:
    """The facilities of a state by visits."""
    with st.container(border=True):
        st.subheader(f"Facilities in {row['state'].title()} by visits", anchor=False)
        busiest = neighbours[0]
        st.markdown(f"**{busiest['facility_name']}** has the most: {parts.count(busiest['visit_count'])} in 12 months.")
        parts.table(
            [
                {
                    "rank": other["rank"],
                    "facility": other["facility_name"],
                    "": "◀ this one" if other["facility_id"] == row["facility_id"] else "",
                    "level of care": other["facility_category"],
                    "visits": other["visit_count"],
                    "patients": other["patient_count"],
                    "urgent, %": other["urgent_visit_pct"],
                    "completeness, %": other["performance_score"],
                }
                for other in neighbours
            ],
            key="ranking",
            alt="The facilities of the state by visits in the last 12 months",
        )


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
