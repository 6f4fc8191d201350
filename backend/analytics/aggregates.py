"""Sums over the marts, so that nobody has to fetch rows to draw one line: by day, condition, state, place.

Counts are summed first and rounded then, where the caller sees them rounded.
"""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel

from backend.access import Scope
from backend.analytics.marts import rounded, spelled, suppressed
from backend.analytics.schemas import (
    ConditionTotal,
    ConditionTotalParameters,
    DailyVisitParameters,
    DailyVisits,
    FacilityMapParameters,
    PlacedFacility,
    RegionalOccupancy,
    StateTotal,
)
from backend.database import fetch_one
from backend.listing import columns
from backend.parameters import Parameters

ENOUGH = "visit_count > 7"


def _rows(as_of: datetime, source: str, schema: type[BaseModel], query: Parameters, **shown: str) -> str:
    """`{as_of, rows}` as JSON: the schema's columns out of `source`, those in `shown` as that SQL says."""
    body: str = fetch_one(
        f"""
        select json_build_object(
            'as_of', cast(%(as_of)s as text), 'rows', coalesce(json_agg(row_to_json(found)), '[]')
        )::text
        from (select {columns(schema, **shown)} from ({source}) as totals) as found
        """,
        as_of=spelled(as_of),
        **query.model_dump(),
    )[0]
    return body


def daily_visits(as_of: datetime, query: DailyVisitParameters, scope: Scope) -> str:
    """`DailyVisits` as JSON; the mean is of what is shown, so that it tells no more than the counts."""
    counts = ("visit_count", "critical_count", "high_count", "medium_count", "low_count")
    shown = rounded(*counts) if scope is Scope.ROUNDED else {}
    return _rows(
        as_of,
        f"""
        select *
        from (
            select
                *,
                case when count(visit_count) over week = 7 then round(avg(visit_count) over week, 2) end
                    as visit_count_7_day_average
            from (
                select visited_on, {", ".join(f"{shown.get(count, count)} as {count}" for count in counts)}
                from (
                    select visited_on, {", ".join(f"sum({count})::bigint as {count}" for count in counts)}
                    from analytics.triage_trends
                    where (cast(%(facility_id)s as bigint) is null or facility_id = %(facility_id)s)
                        and (cast(%(state)s as text) is null or state = upper(%(state)s))
                        and visited_on > (select max(visited_on) from analytics.triage_trends) - %(days)s - 6
                    group by visited_on
                ) as exact
            ) as counted
            window week as (order by visited_on rows 6 preceding)
        ) as averaged
        where visited_on > (select max(visited_on) from analytics.triage_trends) - %(days)s
        order by visited_on
        """,
        DailyVisits,
        query,
    )


def top_conditions(as_of: datetime, query: ConditionTotalParameters, scope: Scope) -> str:
    """`TopConditions` as JSON, the most frequent first."""
    shown = (
        rounded("visit_count", "urgent_visit_count")
        | suppressed("avg_triage_level", unless=ENOUGH)
        | suppressed("urgent_visit_pct")
    )
    return _rows(
        as_of,
        """
        select
            condition,
            sum(visit_count)::bigint as visit_count,
            sum(urgent_visit_count)::bigint as urgent_visit_count,
            round(100.0 * sum(urgent_visit_count) / sum(visit_count), 2) as urgent_visit_pct,
            round(sum(avg_triage_level * visit_count) / sum(visit_count), 2) as avg_triage_level
        from analytics.condition_analysis
        where (cast(%(state)s as text) is null or state = upper(%(state)s))
            and (cast(%(age_group)s as text) is null or age_group = %(age_group)s)
            and (cast(%(sex)s as text) is null or sex = %(sex)s)
        group by condition
        order by visit_count desc, condition
        limit %(limit)s
        """,
        ConditionTotal,
        query,
        **(shown if scope is Scope.ROUNDED else {}),
    )


def states(as_of: datetime, query: Parameters, scope: Scope) -> str:
    """`States` as JSON, by name."""
    return _rows(
        as_of,
        """
        select
            state,
            count(*) as facility_count,
            sum(patient_count)::bigint as patient_count,
            sum(record_count)::bigint as record_count,
            sum(visit_count)::bigint as visit_count
        from analytics.dim_facilities
        where state is not null
        group by state
        order by state
        """,
        StateTotal,
        query,
        **(rounded("patient_count", "record_count", "visit_count") if scope is Scope.ROUNDED else {}),
    )


def facility_map(as_of: datetime, query: FacilityMapParameters, scope: Scope) -> str:
    """`FacilityMap` as JSON: the busiest facilities whose place is known, and how many others there are."""
    shown = rounded("patient_count", "visit_count") if scope is Scope.ROUNDED else {}
    body: str = fetch_one(
        f"""
        with facilities as (
            select * from analytics.dim_facilities
            where cast(%(state)s as text) is null or state = upper(%(state)s)
        ),
        busiest as (
            select * from facilities where has_valid_coordinates
            order by visit_count desc, facility_id limit %(limit)s
        )
        select json_build_object(
            'as_of', cast(%(as_of)s as text),
            'facility_count', (select count(*) from facilities),
            'placed_facility_count', (select count(*) from facilities where has_valid_coordinates),
            'rows', coalesce(
                (
                    select json_agg(row_to_json(placed))
                    from (select {columns(PlacedFacility, **shown)} from busiest order by facility_id) as placed
                ),
                '[]'
            )
        )::text
        """,
        as_of=spelled(as_of),
        **query.model_dump(),
    )[0]
    return body


def regional_occupancy(as_of: datetime, query: Parameters) -> str:
    """`RegionalOccupancies` as JSON, quarter by quarter."""
    return _rows(
        as_of,
        """
        select
            region_code, quarter, year, quarter_start_on,
            count(*) as organisation_count,
            sum(beds_available) as beds_available,
            sum(beds_occupied) as beds_occupied,
            round(100 * sum(beds_occupied) / nullif(sum(beds_available), 0), 2) as occupancy_rate
        from analytics.bed_pressure
        where region_code is not null
        group by region_code, quarter, year, quarter_start_on
        order by quarter_start_on, region_code
        """,
        RegionalOccupancy,
        query,
    )
