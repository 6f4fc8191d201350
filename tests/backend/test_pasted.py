"""What users of the original paste against the API answers as it did, from a running server."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from email.message import Message
from pathlib import Path
from typing import Any

import pandas as pd
import psycopg
import pytest

from backend.tokens import Tokens
from elt.settings import Settings
from elt.vocabulary import Role
from tests.backend.test_workers import served

pytestmark = pytest.mark.integration

FACILITY = {
    "name": "Ikeja General Hospital",
    "state": "Lagos",
    "lga": "Ikeja",
    "lat": 6.6018,
    "lon": 3.3515,
    "type": "General Hospital",
}
PATIENT = {
    "facility_id": 1,
    "first_name": "Ada",
    "last_name": "Example",
    "sex": "F",
    "dob": "1990-05-17",
    "phone": "+2348000000000",
}
RECORD = {
    "patient_id": 1,
    "facility_id": 1,
    "record_type": "Diagnosis",
    "data": {"diagnosis": "Malaria", "treatment": "ACT", "medications": "AL", "notes": "rest"},
}


def test_bodies_are_taken_and_lists_are_bare_arrays(
    settings: Settings,
    admin: psycopg.Connection,
    marts: None,  # noqa: ARG001 - a release of them
    tmp_path: Path,
) -> None:
    admin.execute("truncate public.facilities restart identity cascade")
    admin.execute("truncate public.patients, public.medical_records restart identity cascade")
    admin.execute(
        "insert into audit.api_clients (client_id, role, secret_hash, rotated_at)"
        " values ('pasted', 'admin', 'none', 'yesterday')"
    )
    token = Tokens(settings).issue("pasted", Role.ADMIN, [])
    with served(settings, tmp_path) as address:
        send = caller(address, token)
        for path, body in (
            ("/api/facilities", FACILITY),
            ("/api/patients", PATIENT),
            ("/api/medical-records", RECORD),
        ):
            status, headers, made = send(path, body)
            assert (status, headers["Location"], made["id"]) == (201, f"{path}/1", 1)
            # jq '.[] | …', pd.DataFrame(requests.get(…).json())
            found = send(path)[2]
            assert isinstance(found, list)
            frame = pd.DataFrame(found)
            assert list(frame.columns) == list(made)
            assert frame["id"].tolist() == [1]
        assert send("/api/medical-records/1")[2]["data"] == RECORD["data"]
        _, headers, _ = send("/api/patients?page=1&per_page=50&count=true")
        assert (headers["X-Total-Count"], headers["Link"]) == ("1", None)
        stats = send("/api/analytics/facility-stats")[2]
        assert {"total_facilities", "total_patients", "total_records", "facilities"} <= stats.keys()
        assert stats["facilities"][0].keys() == {
            "facility_id",
            "facility_name",
            "state",
            "patient_count",
            "record_count",
            "avg_triage_level",
        }
        one = send("/api/analytics/facility-stats?facility_id=1")[2]
        assert (one["total_facilities"], [row["facility_id"] for row in one["facilities"]]) == (1, [1])
        health = send("/health")[2]
        assert health.keys() == {"status", "timestamp", "database"}
        assert (health["status"], health["database"]) == ("healthy", "connected")


def caller(address: str, token: str) -> Callable[..., tuple[int, Message, Any]]:
    """Sends a GET, or a POST of a body, and gives status, headers and JSON of the answer."""

    def send(path: str, body: dict[str, Any] | None = None) -> tuple[int, Message, Any]:
        request = urllib.request.Request(
            address + path,
            data=json.dumps(body).encode() if body else None,
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.headers, json.load(answer)

    return send
