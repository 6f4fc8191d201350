"""Medical records."""

from __future__ import annotations

from flask import Response

from backend.answers import CREATED, WRITTEN, list_of, refused, resource
from backend.medical_records.queries import MEDICAL_RECORDS, WRITABLE
from backend.medical_records.schemas import (
    MedicalRecord,
    MedicalRecordChange,
    MedicalRecordParameters,
    NewMedicalRecord,
)
from backend.parameters import ById, CreateHeaders, Parameters, WriteHeaders

medical_records = resource("medical_records", "/api/medical-records", "Diagnoses, treatments, medications, notes")


@medical_records.get("", responses={200: list_of(MedicalRecord)})
def list_medical_records(query: MedicalRecordParameters) -> Response:
    """List medical records"""
    return MEDICAL_RECORDS.page(query)


@medical_records.get("/<int:id>", responses={200: MedicalRecord, 404: refused("no such medical record")})
def get_medical_record(path: ById, query: Parameters) -> Response:
    """Get one medical record"""
    return MEDICAL_RECORDS.one(path.id)


@medical_records.post("", responses={201: MedicalRecord, **CREATED})
def create_medical_record(body: NewMedicalRecord, header: CreateHeaders, query: Parameters) -> Response:
    """Create a medical record"""
    return WRITABLE.create(body)


@medical_records.put("/<int:id>", responses={200: MedicalRecord, 404: refused("no such medical record"), **WRITTEN})
def replace_medical_record(path: ById, body: NewMedicalRecord, header: WriteHeaders, query: Parameters) -> Response:
    """Replace a medical record"""
    return WRITABLE.replace(path.id, body)


@medical_records.patch("/<int:id>", responses={200: MedicalRecord, 404: refused("no such medical record"), **WRITTEN})
def change_medical_record(path: ById, body: MedicalRecordChange, header: WriteHeaders, query: Parameters) -> Response:
    """Change a medical record"""
    return WRITABLE.change(path.id, body)


@medical_records.delete("/<int:id>", responses={204: None, 404: refused("no such medical record"), **WRITTEN})
def delete_medical_record(path: ById, header: WriteHeaders, query: Parameters) -> Response:
    """Delete a medical record that no file delivered"""
    return WRITABLE.delete(path.id)
