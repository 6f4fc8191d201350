"""Patients."""

from __future__ import annotations

from flask import Response

from backend.answers import CREATED, WRITTEN, list_of, refused, resource
from backend.parameters import ById, CreateHeaders, Parameters, WriteHeaders
from backend.patients.queries import LINEAGES, PATIENTS, WRITABLE
from backend.patients.schemas import Lineage, NewPatient, Patient, PatientChange, PatientParameters

patients = resource("patients", "/api/patients", "People registered at a facility")


@patients.get("", responses={200: list_of(Patient)})
def list_patients(query: PatientParameters) -> Response:
    """List patients"""
    return PATIENTS.page(query)


@patients.get("/<int:id>", responses={200: Patient, 404: refused("no such patient")})
def get_patient(path: ById, query: Parameters) -> Response:
    """Get one patient"""
    return PATIENTS.one(path.id)


@patients.get("/<int:id>/lineage", responses={200: Lineage, 404: refused("no such patient")})
def patient_lineage(path: ById, query: Parameters) -> Response:
    """Which file, line and batch a patient came from"""
    return LINEAGES.one(path.id)


@patients.post("", responses={201: Patient, **CREATED})
def create_patient(body: NewPatient, header: CreateHeaders, query: Parameters) -> Response:
    """Create a patient"""
    return WRITABLE.create(body)


@patients.put("/<int:id>", responses={200: Patient, 404: refused("no such patient"), **WRITTEN})
def replace_patient(path: ById, body: NewPatient, header: WriteHeaders, query: Parameters) -> Response:
    """Replace a patient"""
    return WRITABLE.replace(path.id, body)


@patients.patch("/<int:id>", responses={200: Patient, 404: refused("no such patient"), **WRITTEN})
def change_patient(path: ById, body: PatientChange, header: WriteHeaders, query: Parameters) -> Response:
    """Change a patient"""
    return WRITABLE.change(path.id, body)


@patients.delete("/<int:id>", responses={204: None, 404: refused("no such patient"), **WRITTEN})
def delete_patient(path: ById, header: WriteHeaders, query: Parameters) -> Response:
    """Delete a patient that no file delivered"""
    return WRITABLE.delete(path.id)
