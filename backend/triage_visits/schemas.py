"""Triage visits: who came, how urgent it was, what was found."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints

from backend.listing import ListParameters
from backend.parameters import Body, Given, Id
from backend.schema import Schema

Item = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[^\x00;]*$")]
"""One of a list: files separate them by semicolons."""

Items = Annotated[list[Item], Field(max_length=100)]

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


class NewTriageVisit(Body):
    """A triage visit to be. It is a new one, unless the facility knows its visit_id."""

    held_to: ClassVar = "triage_visits"

    patient_id: Id = Field(description="id of the patient", examples=[1])
    facility_id: Id | None = Field(None, description="id of the facility; the patient's, unless given", examples=[1])
    triage_level: int = Field(description="1 resuscitation to 5 non-urgent", examples=[3])
    chief_complaint: Given | None = Field(None, description="why they came, free text", examples=["Chest pain"])
    vital_signs: Given | None = Field(
        None, description="vital signs, as text", examples=["BP: 120/80; HR: 72; T: 36.6"]
    )
    conditions: Items | None = Field(None, description="conditions found", examples=[["Hypertension"]])
    recommendations: Items | None = Field(None, description="what was recommended", examples=[["Discharge"]])
    visit_id: Given | None = Field(None, description="id of the visit in the facility's system", examples=["V-2041"])
    visited_at: Given | None = Field(
        None, description="when they came, ISO 8601; UTC unless it says", examples=["2026-01-30T09:15:00Z"]
    )


class TriageVisitChange(Body):
    """What to change of a triage visit; null erases. Patient, facility and visit_id stay."""

    held_to: ClassVar = "triage_visits"

    triage_level: int | None = Field(None, description="1 resuscitation to 5 non-urgent", examples=[3])
    chief_complaint: Given | None = Field(None, description="why they came, free text", examples=["Chest pain"])
    vital_signs: Given | None = Field(
        None, description="vital signs, as text", examples=["BP: 120/80; HR: 72; T: 36.6"]
    )
    conditions: Items | None = Field(None, description="conditions found", examples=[["Hypertension"]])
    recommendations: Items | None = Field(None, description="what was recommended", examples=[["Discharge"]])
    visited_at: Given | None = Field(
        None, description="when they came, ISO 8601; UTC unless it says", examples=["2026-01-30T09:15:00Z"]
    )
