"""Medical records out of production."""

from __future__ import annotations

from backend.listing import Listing, columns
from backend.medical_records.schemas import MedicalRecord
from backend.writing import Writable

MEDICAL_RECORDS = Listing(
    table="public.medical_records",
    version="updated_at",
    logged="patient_id",
    columns=columns(
        MedicalRecord,
        data="""
            json_build_object(
                'diagnosis', data ->> 'diagnosis',
                'treatment', data ->> 'treatment',
                'medications', data ->> 'medications',
                'notes', data ->> 'notes'
            )
        """,
    ),
    filters={
        "patient_id": "patient_id = %(patient_id)s",
        "facility_id": "facility_id = %(facility_id)s",
        "record_type": "record_type = %(record_type)s",
        "from_day": "coalesce(recorded_at, created_at) >= %(from_day)s",
        "to_day": "coalesce(recorded_at, created_at) < %(to_day)s + 1",
    },
)

PARTS = ("diagnosis", "treatment", "medications", "notes")
NAMED_PARTS = ", ".join(f"'{part}', {part}" for part in PARTS)

WRITABLE = Writable(
    listing=MEDICAL_RECORDS,
    feed="medical_records",
    address="/api/medical-records",
    places={
        "record_type": "record_type",
        **{part: f"data/{part}" for part in PARTS},
        "record_id": "record_id",
        "recorded_at": "recorded_at",
    },
    production={
        "record_type": "record_type",
        "data": f"jsonb_strip_nulls(jsonb_build_object({NAMED_PARTS}))",
        "record_id": "record_id",
        "recorded_at": "recorded_at::timestamptz",
    },
    given={
        "record_type": "record_type",
        **{part: f"data ->> '{part}'" for part in PARTS},
        "record_id": "record_id",
        "recorded_at": "recorded_at::text",
    },
    reference="patient_id",
)
