"""Whether the warehouse answers."""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnectionFree

from backend.database import fetch_one

REACHABLE = "select 1"
# Readable only once the migrations have run and the API's role has its grants.
MIGRATED = "select count(*) from audit.publish_gate"


def answers(query: str) -> bool:
    """Whether the query succeeds, within the connection's timeouts."""
    try:
        fetch_one(query)
    except (DBAPIError, NoConnectionFree):
        return False
    return True
