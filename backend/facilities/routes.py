"""Facilities."""

from __future__ import annotations

from flask import Response

from backend.answers import CREATED, WRITTEN, list_of, refused, resource
from backend.facilities.queries import FACILITIES, WRITABLE
from backend.facilities.schemas import Facility, FacilityChange, FacilityParameters, NewFacility
from backend.parameters import ById, CreateHeaders, Parameters, WriteHeaders

facilities = resource("facilities", "/api/facilities", "Places that treat patients")


@facilities.get("", responses={200: list_of(Facility)})
def list_facilities(query: FacilityParameters) -> Response:
    """List facilities"""
    return FACILITIES.page(query)


@facilities.get("/<int:id>", responses={200: Facility, 404: refused("no such facility")})
def get_facility(path: ById, query: Parameters) -> Response:
    """Get one facility"""
    return FACILITIES.one(path.id)


@facilities.post("", responses={201: Facility, **CREATED})
def create_facility(body: NewFacility, header: CreateHeaders, query: Parameters) -> Response:
    """Create a facility"""
    return WRITABLE.create(body)


@facilities.put("/<int:id>", responses={200: Facility, 404: refused("no such facility"), **WRITTEN})
def replace_facility(path: ById, body: NewFacility, header: WriteHeaders, query: Parameters) -> Response:
    """Replace a facility"""
    return WRITABLE.replace(path.id, body)


@facilities.patch("/<int:id>", responses={200: Facility, 404: refused("no such facility"), **WRITTEN})
def change_facility(path: ById, body: FacilityChange, header: WriteHeaders, query: Parameters) -> Response:
    """Change a facility"""
    return WRITABLE.change(path.id, body)


@facilities.delete("/<int:id>", responses={204: None, 404: refused("no such facility"), **WRITTEN})
def delete_facility(path: ById, header: WriteHeaders, query: Parameters) -> Response:
    """Delete a facility that no file delivered"""
    return WRITABLE.delete(path.id)
