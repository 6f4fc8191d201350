"""Patients, as their facilities registered them."""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum

from pydantic import Field

from backend.listing import ListParameters
from backend.parameters import Id, Text
from backend.schema import Schema


class Sex(StrEnum):
    """Sex, as registered."""

    M = "M"
    F = "F"
    OTHER = "Other"
    UNKNOWN = "Unknown"


class AgeGroup(StrEnum):
    """Age today in full years: Infant under 1, Child 1-12, Adolescent 13-17, Adult 18-64, Senior from 65."""

    INFANT = "Infant"
    CHILD = "Child"
    ADOLESCENT = "Adolescent"
    ADULT = "Adult"
    SENIOR = "Senior"


class Patient(Schema):
    """A person registered at a facility."""

    id: int = Field(description="id of the patient", examples=[1])
    facility_id: int = Field(description="id of the facility that registered them", examples=[1])
    first_name: str = Field(description="first name", examples=["Ada"])
    last_name: str = Field(description="last name", examples=["Example"])
    sex: Sex | None = Field(description="sex, as registered", examples=[Sex.F])
    dob: date | None = Field(description="date of birth", examples=["1990-05-17"])
    phone: str | None = Field(description="phone number, as delivered", examples=["+2348000000000"])
    created_at: datetime = Field(description="when they first came, UTC", examples=["2026-01-31T02:00:12.5+00:00"])
    updated_at: datetime = Field(description="when they last changed, UTC", examples=["2026-01-31T02:00:12.5+00:00"])


class PatientParameters(ListParameters):
    """Which patients, and which page of them."""

    facility_id: Id | None = Field(None, description="registered at the facility with this id", examples=[1])
    sex: Sex | None = Field(None, description="sex, as registered", examples=[Sex.F])
    age_group: AgeGroup | None = Field(
        None, description="age today; patients without a date of birth are in no group", examples=[AgeGroup.ADULT]
    )
    q: Text | None = Field(
        None, description="what the last name, or first and last name, begin with, in any case", examples=["ada ex"]
    )
