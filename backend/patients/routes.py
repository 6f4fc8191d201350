"""Patients."""

from __future__ import annotations

from flask import Response

from backend.answers import list_of, refused, resource
from backend.parameters import ById, Parameters
from backend.patients.queries import PATIENTS
from backend.patients.schemas import Patient, PatientParameters

patients = resource("patients", "/api/patients", "People registered at a facility")


@patients.get("", responses={200: list_of(Patient)})
def list_patients(query: PatientParameters) -> Response:
    """List patients"""
    return PATIENTS.page(query)


@patients.get("/<int:id>", responses={200: Patient, 404: refused("no such patient")})
def get_patient(path: ById, query: Parameters) -> Response:
    """Get one patient"""
    return PATIENTS.one(path.id)
