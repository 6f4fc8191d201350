"""Triage visits."""

from __future__ import annotations

from flask import Response

from backend.answers import CREATED, WRITTEN, list_of, refused, resource
from backend.parameters import ById, CreateHeaders, Parameters, WriteHeaders
from backend.triage_visits.queries import TRIAGE_VISITS, WRITABLE
from backend.triage_visits.schemas import NewTriageVisit, TriageVisit, TriageVisitChange, TriageVisitParameters

triage_visits = resource("triage_visits", "/api/triage-visits", "Visits, as triaged")


@triage_visits.get("", responses={200: list_of(TriageVisit)})
def list_triage_visits(query: TriageVisitParameters) -> Response:
    """List triage visits"""
    return TRIAGE_VISITS.page(query)


@triage_visits.get("/<int:id>", responses={200: TriageVisit, 404: refused("no such triage visit")})
def get_triage_visit(path: ById, query: Parameters) -> Response:
    """Get one triage visit"""
    return TRIAGE_VISITS.one(path.id)


@triage_visits.post("", responses={201: TriageVisit, **CREATED})
def create_triage_visit(body: NewTriageVisit, header: CreateHeaders, query: Parameters) -> Response:
    """Create a triage visit"""
    return WRITABLE.create(body)


@triage_visits.put("/<int:id>", responses={200: TriageVisit, 404: refused("no such triage visit"), **WRITTEN})
def replace_triage_visit(path: ById, body: NewTriageVisit, header: WriteHeaders, query: Parameters) -> Response:
    """Replace a triage visit"""
    return WRITABLE.replace(path.id, body)


@triage_visits.patch("/<int:id>", responses={200: TriageVisit, 404: refused("no such triage visit"), **WRITTEN})
def change_triage_visit(path: ById, body: TriageVisitChange, header: WriteHeaders, query: Parameters) -> Response:
    """Change a triage visit"""
    return WRITABLE.change(path.id, body)


@triage_visits.delete("/<int:id>", responses={204: None, 404: refused("no such triage visit"), **WRITTEN})
def delete_triage_visit(path: ById, header: WriteHeaders, query: Parameters) -> Response:
    """Delete a triage visit that no file delivered"""
    return WRITABLE.delete(path.id)
