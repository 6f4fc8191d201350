"""Facilities: hospitals, clinics, health posts."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from pydantic import Field

from backend.listing import ListParameters
from backend.parameters import Body, Given, Text
from backend.schema import Schema


class Facility(Schema):
    """A place that treats patients."""

    id: int = Field(description="id of the facility", examples=[1])
    name: str = Field(description="name", examples=["Ikeja General Hospital"])
    state: str = Field(description="state, upper-case", examples=["LAGOS"])
    lga: str | None = Field(description="local government area", examples=["Ikeja"])
    lat: float | None = Field(description="latitude in degrees north, WGS 84", examples=[6.6018])
    lon: float | None = Field(description="longitude in degrees east, WGS 84", examples=[3.3515])
    type: str | None = Field(description="kind of facility, as delivered", examples=["General Hospital"])
    created_at: datetime = Field(description="when it first came, UTC", examples=["2026-01-31T02:00:12.5+00:00"])
    updated_at: datetime = Field(description="when it last changed, UTC", examples=["2026-01-31T02:00:12.5+00:00"])


class FacilityParameters(ListParameters):
    """Which facilities, and which page of them."""

    state: Text | None = Field(None, description="state, in any case", examples=["Lagos"])
    lga: Text | None = Field(None, description="local government area, in any case", examples=["Ikeja"])
    type: Text | None = Field(None, description="kind of facility, in any case", examples=["General Hospital"])
    q: Text | None = Field(None, description="part of the name, in any case", examples=["general"])


class NewFacility(Body):
    """A facility to be; name, state and LGA together are its natural key."""

    held_to: ClassVar = "facilities"

    name: Given = Field(description="name, up to 255 characters", examples=["Ikeja General Hospital"])
    state: Given = Field(description="state, in any case", examples=["Lagos"])
    lga: Given | None = Field(None, description="local government area", examples=["Ikeja"])
    lat: float | None = Field(None, description="latitude in degrees north, -90 to 90", examples=[6.6018])
    lon: float | None = Field(None, description="longitude in degrees east, -180 to 180", examples=[3.3515])
    type: Given | None = Field(None, description="kind of facility", examples=["General Hospital"])


class FacilityChange(Body):
    """What to change of a facility; null erases."""

    held_to: ClassVar = "facilities"

    name: Given | None = Field(None, description="name, up to 255 characters", examples=["Ikeja General Hospital"])
    state: Given | None = Field(None, description="state, in any case", examples=["Lagos"])
    lga: Given | None = Field(None, description="local government area", examples=["Ikeja"])
    lat: float | None = Field(None, description="latitude in degrees north, -90 to 90", examples=[6.6018])
    lon: float | None = Field(None, description="longitude in degrees east, -180 to 180", examples=[3.3515])
    type: Given | None = Field(None, description="kind of facility", examples=["Teaching Hospital"])
