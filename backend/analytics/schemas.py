"""What the published marts say."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from backend.parameters import Id, Parameters
from backend.schema import Schema

SUPPRESSED = "; for a viewer rounded to 5, and null where it is 1 to 7"


class FacilityCounts(Schema):
    """One facility in numbers."""

    facility_id: int = Field(description="id of the facility", examples=[1])
    facility_name: str = Field(description="name", examples=["Ikeja General Hospital"])
    state: str = Field(description="state, upper-case", examples=["LAGOS"])
    patient_count: int | None = Field(description=f"patients registered there{SUPPRESSED}", examples=[120])
    record_count: int | None = Field(description=f"medical records made there{SUPPRESSED}", examples=[310])
    avg_triage_level: float | None = Field(
        description="mean triage level of its visits, 1 (resuscitation) to 5 (non-urgent); null without visits",
        examples=[3.4],
    )


class FacilityStats(Schema):
    """All facilities, or the one asked for, in numbers; the totals are of the facilities listed."""

    total_facilities: int = Field(description="facilities listed", examples=[1])
    total_patients: int = Field(description="their patients", examples=[120])
    total_records: int = Field(description="their medical records", examples=[310])
    as_of: datetime = Field(description="when the marts were published, UTC", examples=["2026-01-31T02:01:40.1+00:00"])
    facilities: list[FacilityCounts] = Field(description="one by one, ordered by facility_id")


class FacilityStatsParameters(Parameters):
    """Which facilities."""

    facility_id: Id | None = Field(None, description="only the facility with this id", examples=[1])
