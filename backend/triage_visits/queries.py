"""Triage visits out of production."""

from __future__ import annotations

from backend.listing import Listing, columns
from backend.triage_visits.schemas import TriageVisit
from backend.writing import Writable

TRIAGE_VISITS = Listing(
    table="public.triage_visits",
    version="updated_at",
    logged="patient_id",
    columns=columns(
        TriageVisit,
        conditions="coalesce(conditions, '{}')",
        recommendations="coalesce(recommendations, '{}')",
    ),
    filters={
        "patient_id": "patient_id = %(patient_id)s",
        "facility_id": "facility_id = %(facility_id)s",
        "triage_level": "triage_level = %(triage_level)s",
        "from_day": "coalesce(visited_at, created_at) >= %(from_day)s",
        "to_day": "coalesce(visited_at, created_at) < %(to_day)s + 1",
    },
)

WRITABLE = Writable(
    listing=TRIAGE_VISITS,
    feed="triage_visits",
    address="/api/triage-visits",
    places={
        name: name
        for name in (
            "triage_level",
            "chief_complaint",
            "vital_signs",
            "conditions",
            "recommendations",
            "visit_id",
            "visited_at",
        )
    },
    production={
        "triage_level": "triage_level::smallint",
        "chief_complaint": "chief_complaint",
        "vital_signs": "vital_signs",
        "conditions": "public.split_list(conditions)",
        "recommendations": "public.split_list(recommendations)",
        "visit_id": "visit_id",
        "visited_at": "visited_at::timestamptz",
    },
    given={
        "triage_level": "triage_level::text",
        "chief_complaint": "chief_complaint",
        "vital_signs": "vital_signs",
        "conditions": "array_to_string(conditions, ';')",
        "recommendations": "array_to_string(recommendations, ';')",
        "visit_id": "visit_id",
        "visited_at": "visited_at::text",
    },
    reference="patient_id",
)
