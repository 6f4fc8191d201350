"""Medical records: diagnoses, treatments, medications, notes."""

from __future__ import annotations

from datetime import date, datetime
from typing import ClassVar

from pydantic import Field

from backend.listing import ListParameters
from backend.parameters import Body, Given, Id, Text
from backend.schema import Schema


class RecordData(Schema):
    """What a medical record says."""

    diagnosis: str | None = Field(description="diagnosis, free text", examples=["Malaria"])
    treatment: str | None = Field(description="treatment, free text", examples=["Artemisinin combination therapy"])
    medications: str | None = Field(description="medications, free text", examples=["Artemether/lumefantrine"])
    notes: str | None = Field(description="notes, free text", examples=["Follow up in two weeks"])


class MedicalRecord(Schema):
    """An entry in a patient's record."""

    id: int = Field(description="id of the record in the warehouse", examples=[1])
    patient_id: int = Field(description="id of the patient", examples=[1])
    facility_id: int = Field(description="id of the facility that made the record", examples=[1])
    record_type: str = Field(description="kind of record, as delivered", examples=["Diagnosis"])
    data: RecordData = Field(description="what the record says")
    record_id: str | None = Field(description="id of the record in the facility's system", examples=["R-1042"])
    recorded_at: datetime | None = Field(
        description="when the facility recorded it, UTC", examples=["2026-01-30T09:15:00+00:00"]
    )
    created_at: datetime = Field(description="when it first came, UTC", examples=["2026-01-31T02:00:12.5+00:00"])
    updated_at: datetime = Field(description="when it last changed, UTC", examples=["2026-01-31T02:00:12.5+00:00"])


class MedicalRecordParameters(ListParameters):
    """Which medical records, and which page of them."""

    patient_id: Id | None = Field(None, description="of the patient with this id", examples=[1])
    facility_id: Id | None = Field(None, description="made by the facility with this id", examples=[1])
    record_type: Text | None = Field(None, description="kind of record, spelled as delivered", examples=["Diagnosis"])
    from_day: date | None = Field(
        None,
        alias="from",
        description="first day, UTC, by recorded_at, or by created_at where that is missing",
        examples=["2026-01-01"],
    )
    to_day: date | None = Field(
        None, alias="to", description="last day, UTC, included; as from", examples=["2026-01-31"]
    )


class GivenData(Body):
    """What a medical record says."""

    diagnosis: Given | None = Field(None, description="diagnosis, free text", examples=["Malaria"])
    treatment: Given | None = Field(
        None, description="treatment, free text", examples=["Artemisinin combination therapy"]
    )
    medications: Given | None = Field(None, description="medications, free text", examples=["Artemether/lumefantrine"])
    notes: Given | None = Field(None, description="notes, free text", examples=["Follow up in two weeks"])


class NewMedicalRecord(Body):
    """A medical record to be. It is a new one, unless the facility knows its record_id."""

    held_to: ClassVar = "medical_records"

    patient_id: Id = Field(description="id of the patient", examples=[1])
    facility_id: Id | None = Field(None, description="id of the facility; the patient's, unless given", examples=[1])
    record_type: Given = Field(description="kind of record", examples=["Diagnosis"])
    data: GivenData | None = Field(None, description="what the record says")
    record_id: Given | None = Field(None, description="id of the record in the facility's system", examples=["R-1042"])
    recorded_at: Given | None = Field(
        None, description="when it was recorded, ISO 8601; UTC unless it says", examples=["2026-01-30T09:15:00Z"]
    )


class MedicalRecordChange(Body):
    """What to change of a medical record; null erases. Patient, facility and record_id stay."""

    held_to: ClassVar = "medical_records"

    record_type: Given | None = Field(None, description="kind of record", examples=["Diagnosis"])
    data: GivenData | None = Field(None, description="what the record says, part by part")
    recorded_at: Given | None = Field(
        None, description="when it was recorded, ISO 8601; UTC unless it says", examples=["2026-01-30T09:15:00Z"]
    )
