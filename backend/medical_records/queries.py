"""Medical records out of production."""

from __future__ import annotations

from backend.listing import Listing, columns
from backend.medical_records.schemas import MedicalRecord

MEDICAL_RECORDS = Listing(
    table="public.medical_records",
    patient="patient_id",
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
