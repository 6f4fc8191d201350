"""Analytics, from the published marts."""

from __future__ import annotations

from datetime import datetime

from flask import Response, current_app, g

from backend.access import Scope
from backend.analytics import aggregates, queries
from backend.analytics.marts import of_release, spelled
from backend.analytics.schemas import (
    BedOccupancies,
    BedOccupancyParameters,
    ConditionAnalysis,
    ConditionParameters,
    ConditionTotalParameters,
    DailyVisitParameters,
    FacilityMap,
    FacilityMapParameters,
    FacilityPerformanceParameters,
    FacilityPerformances,
    FacilityStats,
    FacilityStatsParameters,
    PatientSummaries,
    PatientSummaryParameters,
    RegionalOccupancies,
    Release,
    States,
    TopConditions,
    TriageTrendParameters,
    TriageTrends,
    VisitsByDay,
)
from backend.answers import resource
from backend.api import Answer
from backend.parameters import Parameters

analytics = resource("analytics", "/api/analytics", "What the published marts say")


KEPT_ANSWERS = 32

UNCHANGED = {"description": "nothing was published since"}


@analytics.get("/facility-stats", responses={200: FacilityStats, 304: UNCHANGED})
def facility_stats(query: FacilityStatsParameters) -> Response:
    """Patients, medical records and mean triage level per facility, as of the last publication"""

    def body(as_of: datetime) -> Response:
        # A release never changes: its answers are kept, the last few of them.
        key = (as_of, query.facility_id, g.scope, g.caller.facilities if g.scope is Scope.OWN else "")
        kept: dict[object, str] = current_app.extensions.setdefault("facility_stats", {})
        text = kept.get(key)
        if text is None:
            if len(kept) >= KEPT_ANSWERS:
                kept.clear()
            kept[key] = text = queries.facility_stats(as_of, query.facility_id, g.scope)
        return _json(text)

    return of_release(body)


@analytics.get("/facility-performance", responses={200: FacilityPerformances, 304: UNCHANGED})
def facility_performance(query: FacilityPerformanceParameters) -> Response:
    """Volume, acuity and completeness of each facility over its last 12 months"""
    return queries.FACILITY_PERFORMANCE.page(query)


@analytics.get("/patient-summary", responses={200: PatientSummaries, 304: UNCHANGED})
def patient_summary(query: PatientSummaryParameters) -> Response:
    """Illnesses, visits, risk and engagement of each patient over their last 12 months"""
    return queries.PATIENT_SUMMARY.page(query)


@analytics.get("/triage-trends", responses={200: TriageTrends, 304: UNCHANGED})
def triage_trends(query: TriageTrendParameters) -> Response:
    """Visits by priority, facility by facility and day by day"""
    return queries.TRIAGE_TRENDS.page(query)


@analytics.get("/condition-analysis", responses={200: ConditionAnalysis, 304: UNCHANGED})
def condition_analysis(query: ConditionParameters) -> Response:
    """How frequent and how urgent each condition is, by state, age group and sex"""
    return queries.CONDITION_ANALYSIS.page(query)


@analytics.get("/bed-occupancy", responses={200: BedOccupancies, 304: UNCHANGED})
def bed_occupancy(query: BedOccupancyParameters) -> Response:
    """Occupancy of NHS beds by organisation and quarter, against 85 % and 92 %"""
    return queries.BED_OCCUPANCY.page(query)


@analytics.get("/release", responses={200: Release, 304: UNCHANGED})
def release(query: Parameters) -> Response:
    """Which release of the marts is live"""
    return of_release(lambda as_of: _json(f'{{"as_of": "{spelled(as_of)}"}}'))


@analytics.get("/daily-visits", responses={200: VisitsByDay, 304: UNCHANGED})
def daily_visits(query: DailyVisitParameters) -> Response:
    """Visits by priority day by day, all facilities together"""
    return of_release(lambda as_of: _json(aggregates.daily_visits(as_of, query, g.scope)))


@analytics.get("/top-conditions", responses={200: TopConditions, 304: UNCHANGED})
def top_conditions(query: ConditionTotalParameters) -> Response:
    """The most frequent conditions, all states, age groups and sexes together"""
    return of_release(lambda as_of: _json(aggregates.top_conditions(as_of, query, g.scope)))


@analytics.get("/states", responses={200: States, 304: UNCHANGED})
def states(query: Parameters) -> Response:
    """Facilities, patients, records and visits by state"""
    return of_release(lambda as_of: _json(aggregates.states(as_of, query, g.scope)))


@analytics.get("/regional-occupancy", responses={200: RegionalOccupancies, 304: UNCHANGED})
def regional_occupancy(query: Parameters) -> Response:
    """Occupancy of NHS beds by region and quarter"""
    return of_release(lambda as_of: _json(aggregates.regional_occupancy(as_of, query)))


@analytics.get("/facility-map", responses={200: FacilityMap, 304: UNCHANGED})
def facility_map(query: FacilityMapParameters) -> Response:
    """Where the busiest facilities are"""
    return of_release(lambda as_of: _json(aggregates.facility_map(as_of, query, g.scope)))


def _json(text: str) -> Response:
    return Answer(text, content_type="application/json")
