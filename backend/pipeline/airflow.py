"""Airflow's REST API, as far as runs need it."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
from typing import Any, cast

from backend.pipeline.schemas import RunState
from elt.settings import Settings

DAG_ID = "medilink_etl_pipeline"
TIMEOUT_SECONDS = 5
STATES = {
    "queued": RunState.QUEUED,
    "running": RunState.RUNNING,
    "success": RunState.SUCCEEDED,
    "failed": RunState.FAILED,
}


class AirflowAway(Exception):
    """Airflow does not answer, or not as it should."""


def trigger(settings: Settings, conf: dict[str, object]) -> str:
    """Start a run; returns its id. Raises `AirflowAway`."""
    run = _call(settings, "dagRuns", {"logical_date": None, "conf": conf})
    return str(run["dag_run_id"])


def run_state(settings: Settings, run_id: str) -> tuple[RunState, str | None, str | None] | None:
    """State of a run, when it began, when it ended; None where Airflow knows none. Raises `AirflowAway`."""
    try:
        run = _call(settings, f"dagRuns/{urllib.parse.quote(run_id, safe='')}")
    except urllib.error.HTTPError as error:
        if error.code == http.client.NOT_FOUND:
            return None
        raise AirflowAway from None
    return STATES[run["state"]], run["start_date"], run["end_date"]


def _call(settings: Settings, path: str, body: dict[str, object] | None = None) -> dict[str, Any]:
    base = settings.airflow_address
    login = {"username": "admin", "password": settings.airflow_admin_password.get_secret_value()}
    try:
        token = _json(f"{base}/auth/token", login)["access_token"]
        return _json(f"{base}/api/v2/dags/{DAG_ID}/{path}", body, token)
    except urllib.error.HTTPError as error:
        if body is None and error.code == http.client.NOT_FOUND:
            raise
        raise AirflowAway from None
    except (OSError, http.client.HTTPException, ValueError, KeyError):
        raise AirflowAway from None


def _json(url: str, body: dict[str, object] | dict[str, str] | None, token: str | None = None) -> dict[str, Any]:
    request = urllib.request.Request(url, headers={"Accept": "application/json"})  # noqa: S310 - the operator's setting
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("Content-Type", "application/json")
    # Airflow is a neighbour: never through a proxy.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=TIMEOUT_SECONDS) as response:
        return cast("dict[str, Any]", json.load(response))
