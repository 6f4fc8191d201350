"""Health, as monitors see it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import Field

from backend.schema import Schema


class Status(StrEnum):
    """Whether the API can do its work."""

    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


class Database(StrEnum):
    """Whether the warehouse answers."""

    CONNECTED = "connected"
    DISCONNECTED = "disconnected"


class Alive(Schema):
    """The process answers."""

    status: Status = Field(description="healthy", examples=[Status.HEALTHY])
    timestamp: datetime = Field(description="when this was found, UTC", examples=["2026-01-31T02:00:00Z"])


class Health(Alive):
    """The process answers, and whether its database does."""

    status: Status = Field(description="healthy, or unhealthy while the database is away", examples=[Status.HEALTHY])
    database: Database = Field(description="connected or disconnected", examples=[Database.CONNECTED])
