"""Every operation of the document, with made-up requests of each role: no 500, and no answer that is not documented."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
import schemathesis
from flask.testing import FlaskClient
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from backend.api import Api
from elt.vocabulary import BOUND_ROLES, Role

# Few in the suite; by hand: MEDILINK_FUZZ_EXAMPLES=200 pytest tests/backend/test_schema_fuzz.py
EXAMPLES = int(os.environ.get("MEDILINK_FUZZ_EXAMPLES", "4"))
# What needs the bucket or Airflow answers 503 here, which is documented, and no fault of the API.
AWAY = ("-unavailable", "lacks this mart")
# Longer texts are made as a regular expression of that many steps: half a gigabyte for each role. What is too long is
# tried in test_writes.py.
LONGEST = 300


def shortened(document: Any) -> Any:
    """The document, with no text allowed to be longer than LONGEST."""
    if isinstance(document, dict):
        return {name: min(part, LONGEST) if name == "maxLength" else shortened(part) for name, part in document.items()}
    return [shortened(part) for part in document] if isinstance(document, list) else document


@pytest.mark.usefixtures("rows", "marts")
@pytest.mark.parametrize("role", [*Role, None])
def test_made_up_requests(
    app: Api, client_of: Callable[..., FlaskClient], admin: psycopg.Connection, role: Role | None
) -> None:
    headers = {}
    if role:
        client = client_of(role, *([1, 2] if role in BOUND_ROLES else []))
        headers["Authorization"] = client.environ_base["HTTP_AUTHORIZATION"]
    schema = schemathesis.openapi.from_dict(shortened(app.api_doc))
    schema.app = app
    tried = 0
    for result in schema.get_all_operations():
        operation = result.ok()
        if role is None and operation.path == "/api/auth/token":
            continue

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def attempt(case: schemathesis.Case) -> None:
            answer = case.call(headers=headers)
            if answer.status_code == 503 and any(reason in answer.text for reason in AWAY):
                return
            case.validate_response(
                answer,
                checks=[
                    not_a_server_error,
                    status_code_conformance,
                    content_type_conformance,
                    response_schema_conformance,
                ],
            )

        attempt()
        tried += 1
    assert tried > 40
    failures = admin.execute("select count(*) from audit.access_log where status = 500").fetchone()
    assert failures == (0,)
