"""Patients, as their facilities registered them."""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum
from typing import ClassVar

from pydantic import Field

from backend.listing import ListParameters
from backend.parameters import Body, Given, Id, Text
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


class Delivery(Schema):
    """Where values came from."""

    file_id: int = Field(description="id of the file in the ledger", examples=[12])
    file: str = Field(description="name of the file", examples=["patients-lagos.csv"])
    row_number: int = Field(description="its line there", examples=[412])
    batch_id: int = Field(description="the batch that promoted it", examples=[8])
    promoted_at: datetime | None = Field(
        description="when the file entered production, UTC", examples=["2026-01-31T02:00:09+00:00"]
    )


class Lineage(Schema):
    """Where a patient first came from, and where their present values came from."""

    patient_id: int = Field(description="id of the patient", examples=[1])
    source: str = Field(description="drop, or api for one that came through this API", examples=["drop"])
    first_delivery: Delivery | None = Field(description="the delivery they first came with; null for api")
    last_delivery: Delivery | None = Field(description="the delivery that last changed them; null where none did")
    first_client: str | None = Field(description="client of the API that made them; null for drop", examples=["ward-3"])
    last_client: str | None = Field(description="client of the API that changed them last", examples=["ward-3"])
    created_at: datetime = Field(description="when they first came, UTC", examples=["2026-01-31T02:00:12.5+00:00"])
    updated_at: datetime = Field(description="when they last changed, UTC", examples=["2026-01-31T02:00:12.5+00:00"])


class NewPatient(Body):
    """A patient to be; facility, names, date of birth and sex together are their natural key."""

    held_to: ClassVar = "patients"

    facility_id: Id = Field(description="id of the facility that registers them", examples=[1])
    first_name: Given = Field(description="first name", examples=["Ada"])
    last_name: Given = Field(description="last name", examples=["Example"])
    sex: Given | None = Field(
        None, description="M, F, Other or Unknown; male, female and such are understood", examples=["F"]
    )
    dob: Given | None = Field(
        None, description="date of birth, YYYY-MM-DD, from 1900 to today", examples=["1990-05-17"]
    )
    phone: Given | None = Field(None, description="phone number", examples=["+2348000000000"])


class PatientChange(Body):
    """What to change of a patient; null erases. The facility stays."""

    held_to: ClassVar = "patients"

    first_name: Given | None = Field(None, description="first name", examples=["Ada"])
    last_name: Given | None = Field(None, description="last name", examples=["Example"])
    sex: Given | None = Field(
        None, description="M, F, Other or Unknown; male, female and such are understood", examples=["F"]
    )
    dob: Given | None = Field(
        None, description="date of birth, YYYY-MM-DD, from 1900 to today", examples=["1990-05-17"]
    )
    phone: Given | None = Field(None, description="phone number", examples=["+2348000000000"])
