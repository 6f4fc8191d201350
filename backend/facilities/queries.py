"""Facilities out of production."""

from __future__ import annotations

from backend.facilities.schemas import Facility
from backend.listing import Listing, columns

FACILITIES = Listing(
    table="public.facilities",
    columns=columns(Facility),
    filters={
        "state": "state = upper(:state)",
        "lga": "lower(lga) = lower(:lga)",
        "type": "lower(type) = lower(:type)",
        "q": "strpos(lower(name), lower(:q)) > 0",
    },
)
