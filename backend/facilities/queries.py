"""Facilities out of production."""

from __future__ import annotations

from backend.facilities.schemas import Facility
from backend.listing import Listing, columns
from backend.writing import Writable

FACILITIES = Listing(
    table="public.facilities",
    version="updated_at",
    columns=columns(Facility),
    filters={
        "state": "state = upper(%(state)s)",
        "lga": "lower(lga) = lower(%(lga)s)",
        "type": "lower(type) = lower(%(type)s)",
        "q": "strpos(lower(name), lower(%(q)s)) > 0",
    },
)

WRITABLE = Writable(
    listing=FACILITIES,
    feed="facilities",
    address="/api/facilities",
    places={name: name for name in ("name", "state", "lga", "lat", "lon", "type")},
    production={
        "name": "name",
        "state": "state",
        "lga": "lga",
        "lat": "lat::double precision",
        "lon": "lon::double precision",
        "type": "type",
    },
    given={"name": "name", "state": "state", "lga": "lga", "lat": "lat::text", "lon": "lon::text", "type": "type"},
)
