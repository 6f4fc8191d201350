"""Whether the warehouse answers."""

from __future__ import annotations

import psycopg
from sqlalchemy.exc import SQLAlchemyError

from backend.database import fetch_one

REACHABLE = "select 1"
# Readable only once the migrations have run and the API's role has its grants.
MIGRATED = "select count(*) from audit.publish_gate"


def answers(query: str) -> bool:
    """Whether the query succeeds, within the connection's timeouts."""
    try:
        fetch_one(query)
    except (psycopg.Error, SQLAlchemyError):
        return False
    return True
