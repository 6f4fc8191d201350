"""Triage visits."""

from __future__ import annotations

from flask import Response

from backend.answers import list_of, refused, resource
from backend.parameters import ById, Parameters
from backend.triage_visits.queries import TRIAGE_VISITS
from backend.triage_visits.schemas import TriageVisit, TriageVisitParameters

triage_visits = resource("triage_visits", "/api/triage-visits", "Visits, as triaged")


@triage_visits.get("", responses={200: list_of(TriageVisit)})
def list_triage_visits(query: TriageVisitParameters) -> Response:
    """List triage visits"""
    return TRIAGE_VISITS.page(query)


@triage_visits.get("/<int:id>", responses={200: TriageVisit, 404: refused("no such triage visit")})
def get_triage_visit(path: ById, query: Parameters) -> Response:
    """Get one triage visit"""
    return TRIAGE_VISITS.one(path.id)
