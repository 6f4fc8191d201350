"""Facilities."""

from __future__ import annotations

from flask import Response

from backend.answers import list_of, refused, resource
from backend.facilities.queries import FACILITIES
from backend.facilities.schemas import Facility, FacilityParameters
from backend.parameters import ById, Parameters

facilities = resource("facilities", "/api/facilities", "Places that treat patients")


@facilities.get("", responses={200: list_of(Facility)})
def list_facilities(query: FacilityParameters) -> Response:
    """List facilities"""
    return FACILITIES.page(query)


@facilities.get("/<int:id>", responses={200: Facility, 404: refused("no such facility")})
def get_facility(path: ById, query: Parameters) -> Response:
    """Get one facility"""
    return FACILITIES.one(path.id)
