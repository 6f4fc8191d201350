"""Triage visits: who came, how urgent it was, what was found."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated

from pydantic import Field

from backend.listing import ListParameters
from backend.parameters import Id
from backend.schema import Schema

TriageLevel = Annotated[int, Field(ge=1, le=5)]


class Vitals(Schema):
    """Vital signs as numbers; only those that could be read out of the text."""

    systolic_mmhg: float | None = Field(None, description="systolic pressure, mmHg", examples=[120])
    diastolic_mmhg: float | None = Field(None, description="diastolic pressure, mmHg", examples=[80])
    heart_rate_per_minute: float | None = Field(None, description="beats per minute", examples=[72])
    respiratory_rate_per_minute: float | None = Field(None, description="breaths per minute", examples=[16])
    temperature_celsius: float | None = Field(None, description="temperature, °C", examples=[36.6])
    oxygen_saturation_pct: float | None = Field(None, description="saturation, percent", examples=[98])
    pain_score: float | None = Field(None, description="pain, 0 (none) to 10", examples=[2])


class TriageVisit(Schema):
    """A patient's visit, as triaged."""

    id: int = Field(description="id of the visit in the warehouse", examples=[1])
    patient_id: int = Field(description="id of the patient", examples=[1])
    facility_id: int = Field(description="id of the facility visited", examples=[1])
    triage_level: TriageLevel = Field(description="1 resuscitation to 5 non-urgent", examples=[3])
    chief_complaint: str | None = Field(description="why they came, free text", examples=["Chest pain"])
    vital_signs: str | None = Field(description="vital signs, as delivered", examples=["BP: 120/80; HR: 72; T: 36.6"])
    vitals: Vitals | None = Field(description="vital signs as numbers")
    conditions: list[str] = Field(description="conditions found", examples=[["Hypertension"]])
    recommendations: list[str] = Field(description="what was recommended", examples=[["Discharge"]])
    visit_id: str | None = Field(description="id of the visit in the facility's system", examples=["V-2041"])
    visited_at: datetime | None = Field(description="when they came, UTC", examples=["2026-01-30T09:15:00+00:00"])
    created_at: datetime = Field(description="when it first came, UTC", examples=["2026-01-31T02:00:12.5+00:00"])
    updated_at: datetime = Field(description="when it last changed, UTC", examples=["2026-01-31T02:00:12.5+00:00"])


class TriageVisitParameters(ListParameters):
    """Which triage visits, and which page of them."""

    patient_id: Id | None = Field(None, description="of the patient with this id", examples=[1])
    facility_id: Id | None = Field(None, description="at the facility with this id", examples=[1])
    triage_level: TriageLevel | None = Field(None, description="1 resuscitation to 5 non-urgent", examples=[1])
    from_day: date | None = Field(
        None,
        alias="from",
        description="first day, UTC, by visited_at, or by created_at where that is missing",
        examples=["2026-01-01"],
    )
    to_day: date | None = Field(
        None, alias="to", description="last day, UTC, included; as from", examples=["2026-01-31"]
    )
