"""Facilities out of production."""

from __future__ import annotations

from backend.facilities.schemas import Facility
from backend.listing import Listing, columns

FACILITIES = Listing(
    table="public.facilities",
    columns=columns(Facility),
    filters={
        "state": "state = upper(%(state)s)",
        "lga": "lower(lga) = lower(%(lga)s)",
        "type": "lower(type) = lower(%(type)s)",
        "q": "strpos(lower(name), lower(%(q)s)) > 0",
    },
)
