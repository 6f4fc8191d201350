"""The answers that clients were written against: their recorded shapes, which may grow and never change.

A client reads what it knows by name: a new field does no harm, a missing one or another type does. After a change that
is meant, with the clients told: `MEDILINK_RECORD_SHAPES=1 pytest tests/backend/test_shapes.py`, and look at the diff.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from flask.testing import FlaskClient

from elt.vocabulary import Role
from tests.backend.test_operations import LEDGER
from tests.backend.test_writes import NEW

RECORDED = Path(__file__).parent / "shapes.json"
HEADERS = ("Content-Type", "ETag", "Link", "Location", "Retry-After", "WWW-Authenticate", "X-Total-Count")

# (method, address, body); what users of the originals call comes first.
REQUESTS: list[tuple[str, str, Any]] = [
    ("GET", "/health", None),
    ("GET", "/api/facilities", None),
    ("GET", "/api/analytics/facility-stats", None),
    ("GET", "/api/analytics/facility-stats?facility_id=1", None),
    *(("POST", address, body) for address, body in NEW.items()),
    ("GET", "/api/patients?per_page=1&count=true", None),
    ("GET", "/api/patients?limit=1", None),
    ("GET", "/api/medical-records", None),
    ("GET", "/api/triage-visits", None),
    ("GET", "/api/facilities/1", None),
    ("GET", "/api/patients/1", None),
    ("GET", "/api/patients/1/lineage", None),
    ("PATCH", "/api/patients/1", {"phone": "1"}),
    ("GET", "/api/analytics/facility-performance", None),
    ("GET", "/api/analytics/patient-summary", None),
    ("GET", "/api/analytics/triage-trends?limit=1", None),
    ("GET", "/api/analytics/condition-analysis", None),
    ("GET", "/api/pipeline/runs", None),
    ("GET", "/api/pipeline/runs/cli-2", None),
    ("GET", "/api/pipeline/files", None),
    ("GET", "/api/quarantine", None),
    ("GET", "/api/quarantine/1", None),
    ("GET", "/health/live", None),
    ("GET", "/health/ready", None),
    ("GET", "/api/auth/jwks", None),
    ("GET", "/api/patients/999", None),
    ("GET", "/api/patients?page=0", None),
    ("POST", "/api/patients", {"facility_id": 1}),
    ("DELETE", "/api/facilities/1", None),
]


def shape(value: object) -> object:
    """What a value is made of: names and types; of a list, its first element."""
    if isinstance(value, dict):
        return {name: shape(part) for name, part in sorted(value.items())}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    names = {type(None): "null", bool: "boolean", int: "number", float: "number", str: "string"}
    return names[type(value)]


def fits(recorded: object, found: object) -> bool:
    """Whether what is found has everything that was recorded."""
    if isinstance(recorded, dict):
        return isinstance(found, dict) and all(
            name in found and fits(part, found[name]) for name, part in recorded.items()
        )
    if isinstance(recorded, list):
        return isinstance(found, list) and all(fits(part, other) for part, other in zip(recorded, found, strict=True))
    return recorded == found


def test_more_fits_and_less_or_other_does_not() -> None:
    recorded = shape({"id": 1, "names": ["a"], "at": None})
    assert fits(recorded, shape({"id": 2, "names": ["b", "c"], "at": None, "new": True}))
    for other in ({"id": 1, "names": ["a"]}, {"id": "1", "names": ["a"], "at": None}, {"id": 1, "names": [], "at": 1}):
        assert not fits(recorded, shape(other)), other


@pytest.mark.usefixtures("rows", "marts")
def test_answers_have_their_recorded_shapes(client_of: Callable[..., FlaskClient], admin: psycopg.Connection) -> None:
    admin.execute(LEDGER.encode())
    client = client_of(Role.ADMIN)
    found: dict[str, object] = {}
    for method, address, body in REQUESTS:
        answer = client.open(address, method=method, json=body)
        found[f"{method} {address} {answer.status_code}"] = {
            "headers": sorted(name for name in HEADERS if name in answer.headers),
            "body": shape(answer.json),
        }
    if os.environ.get("MEDILINK_RECORD_SHAPES"):
        RECORDED.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    recorded: dict[str, Any] = json.loads(RECORDED.read_text(encoding="utf-8"))
    assert found.keys() == recorded.keys()
    for request, answer_shape in recorded.items():
        assert fits(answer_shape, found[request]), f"{request}: {json.dumps(found[request])}"
