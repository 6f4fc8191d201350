"""Medical records."""

from __future__ import annotations

from flask import Response

from backend.answers import list_of, refused, resource
from backend.medical_records.queries import MEDICAL_RECORDS
from backend.medical_records.schemas import MedicalRecord, MedicalRecordParameters
from backend.parameters import ById, Parameters

medical_records = resource("medical_records", "/api/medical-records", "Diagnoses, treatments, medications, notes")


@medical_records.get("", responses={200: list_of(MedicalRecord)})
def list_medical_records(query: MedicalRecordParameters) -> Response:
    """List medical records"""
    return MEDICAL_RECORDS.page(query)


@medical_records.get("/<int:id>", responses={200: MedicalRecord, 404: refused("no such medical record")})
def get_medical_record(path: ById, query: Parameters) -> Response:
    """Get one medical record"""
    return MEDICAL_RECORDS.one(path.id)
