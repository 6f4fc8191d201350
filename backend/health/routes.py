"""Health; open to anybody, tells nothing about hosts or versions."""

from __future__ import annotations

from datetime import UTC, datetime

from flask import Response
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from backend.answers import json_of, operation_id, refused
from backend.health.queries import MIGRATED, REACHABLE, answers
from backend.health.schemas import Alive, Database, Health, Status
from backend.parameters import Parameters

health = APIBlueprint(
    "health",
    __name__,
    url_prefix="/health",
    operation_id_callback=operation_id,
    abp_tags=[Tag(name="health", description="Open to anybody")],
    abp_responses={422: refused("unknown parameters")},
)


@health.get("", endpoint="health", responses={200: Health, 503: Health})
def get_health(query: Parameters) -> Response:
    """Whether the API and its database answer"""
    return _report(answers(REACHABLE))


@health.get("/live", endpoint="live", responses={200: Alive})
def get_live(query: Parameters) -> Response:
    """Whether the process answers, whatever its database does"""
    return json_of(Alive(status=Status.HEALTHY, timestamp=datetime.now(UTC)))


@health.get("/ready", endpoint="ready", responses={200: Health, 503: Health})
def get_ready(query: Parameters) -> Response:
    """Whether requests can be sent here: the database answers and is migrated"""
    return _report(answers(MIGRATED))


def _report(connected: bool) -> Response:
    if connected:
        return json_of(Health(status=Status.HEALTHY, timestamp=datetime.now(UTC), database=Database.CONNECTED))
    return json_of(
        Health(status=Status.UNHEALTHY, timestamp=datetime.now(UTC), database=Database.DISCONNECTED), status=503
    )
