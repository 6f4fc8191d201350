"""The published marts, by endpoint."""

from __future__ import annotations

from datetime import date, datetime

from backend.access import Scope
from backend.analytics.marts import Mart, rounded, spelled, suppressed
from backend.analytics.schemas import (
    BedOccupancy,
    ConditionFrequency,
    FacilityPerformance,
    PatientSummary,
    TriageTrend,
)
from backend.database import fetch_one
from backend.listing import Listing, columns
from backend.parameters import Id, Text

FACILITY = {"facility_id": "facility_id = %(facility_id)s", "state": "state = upper(%(state)s)"}
ENOUGH = "visit_count > 7"


def facility_stats(as_of: datetime, facility_id: int | None, scope: Scope) -> str:
    """`FacilityStats` as JSON, of all facilities the caller may see, or of one. Totals are of what is shown."""
    shown = (
        rounded("patient_count", "record_count") | suppressed("avg_triage_level", unless=ENOUGH)
        if scope is Scope.ROUNDED
        else {}
    )
    figures = ("patient_count", "record_count", "avg_triage_level")
    body: str = fetch_one(
        f"""
        select json_build_object(
            'total_facilities', count(*),
            'total_patients', coalesce(sum(patient_count), 0),
            'total_records', coalesce(sum(record_count), 0),
            'as_of', cast(%(as_of)s as text),
            'facilities', coalesce(
                json_agg(
                    json_build_object(
                        'facility_id', facility_id,
                        'facility_name', facility_name,
                        'state', state,
                        'patient_count', patient_count,
                        'record_count', record_count,
                        'avg_triage_level', avg_triage_level
                    )
                    order by facility_id
                ),
                '[]'
            )
        )::text
        from (
            select
                facility_id, facility_name, state,
                {", ".join(f"{shown.get(figure, figure)} as {figure}" for figure in figures)}
            from analytics.dim_facilities
            where cast(%(facility_id)s as bigint) is null or facility_id = %(facility_id)s
        ) as facilities
        """,
        as_of=spelled(as_of),
        facility_id=facility_id,
    )[0]
    return body


def _mart(exact: Listing, schema: type, shown: dict[str, str]) -> Mart:
    return Mart(exact, Listing(exact.table, columns(schema, **shown), exact.filters, exact.key, exact.logged))


FACILITY_PERFORMANCE = _mart(
    Listing(
        table="analytics.facility_performance",
        columns=columns(FacilityPerformance),
        filters=FACILITY,
        key={"facility_id": Id},
    ),
    FacilityPerformance,
    rounded("patient_count", "record_count", "visit_count", "urgent_visit_count")
    | suppressed("acuity_category", "performance_indicator", "avg_triage_level", unless=ENOUGH)
    | suppressed(
        "urgent_visit_pct",
        "monthly_visit_average",
        "monthly_record_average",
        "vitals_recorded_pct",
        "conditions_recorded_pct",
        "recommendations_recorded_pct",
        "performance_score",
        "first_activity_on",
    ),
)

PATIENT_SUMMARY = _mart(
    Listing(
        table="analytics.patient_summary",
        columns=columns(PatientSummary, diagnoses="coalesce(diagnoses, '{}')", conditions="coalesce(conditions, '{}')"),
        filters={
            "patient_id": "patient_id = %(patient_id)s",
            "facility_id": "facility_id = %(facility_id)s",
            "sex": "sex = %(sex)s",
            "age_group": "age_group = %(age_group)s",
            "risk_assessment": "risk_assessment = %(risk_assessment)s",
        },
        key={"patient_id": Id},
        logged="patient_id",
    ),
    PatientSummary,
    {},
)

TRIAGE_TRENDS = _mart(
    Listing(
        table="analytics.triage_trends",
        columns=columns(TriageTrend),
        filters=FACILITY | {"from_day": "visited_on >= %(from_day)s", "to_day": "visited_on <= %(to_day)s"},
        key={"facility_id": Id, "visited_on": date},
    ),
    TriageTrend,
    rounded("visit_count", "critical_count", "high_count", "medium_count", "low_count")
    | suppressed("avg_triage_level", unless=ENOUGH)
    | suppressed("visit_count_7_day_average", "week_over_week_growth_pct"),
)

CONDITION_ANALYSIS = _mart(
    Listing(
        table="analytics.condition_analysis",
        columns=columns(ConditionFrequency),
        filters={
            "condition": "condition = %(condition)s",
            "state": "state = upper(%(state)s)",
            "age_group": "age_group = %(age_group)s",
            "sex": "sex = %(sex)s",
        },
        key={"condition": Text, "state": Text, "age_group": Text, "sex": Text},
    ),
    ConditionFrequency,
    rounded("patient_count", "visit_count", "urgent_visit_count")
    | suppressed("avg_triage_level", unless=ENOUGH)
    | suppressed("visit_share_pct"),
)

BED_OCCUPANCY = _mart(
    Listing(
        table="analytics.bed_pressure",
        columns=columns(BedOccupancy),
        filters={
            "organisation_code": "organisation_code = %(organisation_code)s",
            "region_code": "region_code = %(region_code)s",
            "year": "year = %(year)s",
            "quarter": "quarter = %(quarter)s",
            "pressure": "pressure = %(pressure)s",
        },
        key={"bed_occupancy_id": Id},
    ),
    BedOccupancy,
    {},
)
