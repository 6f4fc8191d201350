"""Beds of NHS England: how full they are, where most so, and one organisation after another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from dashboard import charts, parts, session

MOST_PRESSED = 12
FOUND_AT_MOST = 20
SECTORS = {
    "general_acute": "General and acute",
    "learning_disabilities": "Learning disabilities",
    "maternity": "Maternity",
    "mental_illness": "Mental illness",
}
SOURCE = "NHS England, KH03, beds open overnight, all sectors; a quarter's average day."


def overview() -> None:
    """National and regional occupancy, the latest quarter, the most pressed organisations."""
    release = session.as_of()
    quarters = session.fetch("/nhs-data/summary", release=release)
    if not quarters:
        parts.nothing("No beds yet.", "Upload a KH03 workbook of NHS England under *Data in*, or give its address.")
        return
    named = [named_of(row) for row in quarters]
    last, before, year_ago = named[-1], at(named, -2), at(named, -5)
    figures(last, before)
    left, right = st.columns([3, 2])
    with left:
        since = f", {points(last['occupancy_rate'], year_ago['occupancy_rate'])} on the year" if year_ago else ""
        parts.chart(
            charts.occupancy([("England", named)]),
            named,
            key="national-occupancy",
            title="Occupancy of beds in England",
            says=f"**{parts.percent(last['occupancy_rate'])}** of beds were occupied in {last['when']}{since}."
            " The lines are 85 % and 92 %.",
        )
    with right:
        pressed(release, last)
    if session.me().can("analytics.regional_occupancy"):
        regions(release)
    st.caption(SOURCE)


def figures(last: dict[str, Any], before: dict[str, Any] | None) -> None:
    """The latest quarter, and its change on the quarter before."""
    rate, available, occupied, organisations = st.columns(4)
    rate.metric(
        f"Occupancy, {last['when']}",
        parts.percent(last["occupancy_rate"]),
        delta=points(last["occupancy_rate"], before["occupancy_rate"]) if before else None,
        delta_color="inverse",
        help="Of all beds together; the change is on the quarter before",
    )
    available.metric(
        "Beds available",
        parts.count(last["beds_available"]),
        delta=parts.change(last["beds_available"], before["beds_available"]) if before else None,
        delta_color="off",
    )
    occupied.metric(
        "Beds occupied",
        parts.count(last["beds_occupied"]),
        delta=parts.change(last["beds_occupied"], before["beds_occupied"]) if before else None,
        delta_color="off",
    )
    organisations.metric(
        "Organisations", parts.count(last["organisation_count"]), help=f"Highest: {last['maximum_occupancy_rate']} %"
    )


def pressed(release: str, last: dict[str, Any]) -> None:
    """The fullest organisations of the latest quarter."""
    rows = session.fetch(
        "/nhs-data/occupancy", release=release, year=last["year"], quarter=last["quarter"], limit=MOST_PRESSED
    )
    parts.chart(
        charts.pressed(rows),
        rows,
        key="most-pressed",
        title="Most pressed organisations",
        says=f"**{titled(rows[0]['organisation_name'])}** was the fullest in {last['when']}:"
        f" {parts.percent(rows[0]['occupancy_rate'])}." if rows else "",
    )  # fmt: skip


def regions(release: str) -> None:
    """Occupancy region by region."""
    rows = session.fetch("/api/analytics/regional-occupancy", release=release)["rows"]
    if not rows:
        return
    named = [named_of(row) for row in rows]
    by_region: dict[str, list[dict[str, Any]]] = {}
    for row in named:
        by_region.setdefault(row["region_code"], []).append(row)
    newest = max(row["quarter_start_on"] for row in named)
    # Codes of former times ended with their bodies; what stands today is what can be compared.
    present = {code: found for code, found in by_region.items() if found[-1]["quarter_start_on"] == newest}
    fullest = max(present.items(), key=lambda item: item[1][-1]["occupancy_rate"] or 0)
    parts.chart(
        charts.occupancy([(code, present[code]) for code in sorted(present)]),
        [row for code in sorted(present) for row in present[code]],
        key="regional-occupancy",
        title="Occupancy of beds by region",
        says=f"**{fullest[0]}** is the fullest of {len(present)} regions:"
        f" {parts.percent(fullest[1][-1]['occupancy_rate'])}.",
    )


def found(typed: str) -> list[dict[str, Any]]:
    """Organisations of the latest quarter by a part of their name, or by their code."""
    release = session.as_of()
    quarters = session.fetch("/nhs-data/summary", release=release)
    if not quarters:
        return []
    latest = {"year": quarters[-1]["year"], "quarter": quarters[-1]["quarter"], "sort": "organisation_name"}
    rows: list[dict[str, Any]] = session.fetch(
        "/nhs-data/occupancy", release=release, q=typed or None, limit=FOUND_AT_MOST + 1, **latest
    )
    if typed and not any(row["organisation_code"] == typed.upper() for row in rows):
        rows = session.fetch("/nhs-data/occupancy", release=release, organisation_code=typed, **latest) + rows
    return rows


def organisation(code: str) -> None:
    """One organisation: its trend, its sectors, its rank."""
    release = session.as_of()
    rows = session.fetch("/nhs-data/occupancy", release=release, organisation_code=code, sort="quarter", limit=1000)
    if not rows:
        parts.nothing("No such organisation.", "Its code may have changed: search for its name.")
        return
    named = [named_of(row) for row in rows]
    last, before = named[-1], at(named, -2)
    parts.header(titled(last["organisation_name"]), f"Organisation {code} of NHS England, as of {last['when']}")
    rank = session.fetch(
        "/api/analytics/bed-occupancy", release=release, organisation_code=code, year=last["year"],
        quarter=last["quarter"],
    )["rows"]  # fmt: skip
    rate, available, occupied, region = st.columns(4)
    rate.metric(
        "Occupancy",
        parts.percent(last["occupancy_rate"]),
        delta=points(last["occupancy_rate"], before["occupancy_rate"]) if before else None,
        delta_color="inverse",
        help="Overnight, all sectors; the change is on the quarter before",
    )
    available.metric("Beds available", parts.count(last["beds_available"]))
    occupied.metric("Beds occupied", parts.count(last["beds_occupied"]))
    if rank and rank[0]["rank_in_region"]:
        region.metric(
            f"Rank in region {rank[0]['region_code']}",
            parts.count(rank[0]["rank_in_region"]),
            help="1 is the fullest organisation of the region in this quarter",
        )
    else:
        region.metric("Rank in its region", "–", help="The return names no region, or there were no beds")
    parts.chart(
        charts.occupancy([(code, named)]),
        named,
        key="organisation-occupancy",
        title=f"Occupancy of beds at {titled(last['organisation_name'])}",
        says=f"**{parts.percent(last['occupancy_rate'])}** in {last['when']}; {len(named)} quarters are known.",
    )
    sectors(release, code, last)


def sectors(release: str, code: str, last: dict[str, Any]) -> None:
    """Beds by sector in one quarter."""
    rows = []
    for sector, name in SECTORS.items():
        rows += [
            {"sector": name, "beds available": row["beds_available"], "beds occupied": row["beds_occupied"],
             "occupancy_rate": row["occupancy_rate"]}
            for row in session.fetch(
                "/nhs-data/occupancy", release=release, organisation_code=code, year=last["year"],
                quarter=last["quarter"], sector=sector,
            )
            if row["beds_available"]
        ]  # fmt: skip
    if not rows:
        return
    fullest = max(rows, key=lambda row: row["occupancy_rate"] or 0)
    parts.chart(
        charts.sectors(rows),
        rows,
        key="organisation-sectors",
        title=f"Beds by sector, {last['when']}",
        says=f"**{fullest['sector']}** is the fullest: {parts.percent(fullest['occupancy_rate'])}.",
    )


def quarter_of(row: dict[str, Any]) -> str:
    """`Q3 2019-20`: quarter and NHS year."""
    return f"{row['quarter']} {row['year']}-{(row['year'] + 1) % 100:02d}"


def named_of(row: dict[str, Any]) -> dict[str, Any]:
    """The row with its quarter in words, and the day on which it starts."""
    number = int(row["quarter"][1])
    year, month = (row["year"] + 1, 1) if number == 4 else (row["year"], 1 + 3 * number)
    return {"when": quarter_of(row), **row, "quarter_start_on": f"{year}-{month:02d}-01"}


def points(now: float | None, before: float | None) -> str | None:
    """The difference of two rates in percent."""
    return f"{now - before:+.1f} points" if now is not None and before is not None else None


def at(rows: Sequence[dict[str, Any]], position: int) -> dict[str, Any] | None:
    """The row at a position counted from the end, where there is one."""
    return rows[position] if len(rows) >= -position else None


def titled(name: str) -> str:
    """A name that is written in capitals, as one reads it."""
    return name.title().replace("'S ", "'s ").replace(" Nhs ", " NHS ") if name.isupper() else name
