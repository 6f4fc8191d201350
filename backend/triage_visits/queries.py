"""Triage visits out of production."""

from __future__ import annotations

from backend.listing import Listing, columns
from backend.triage_visits.schemas import TriageVisit

TRIAGE_VISITS = Listing(
    table="public.triage_visits",
    patient="patient_id",
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
