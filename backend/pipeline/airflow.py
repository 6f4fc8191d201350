"""Airflow's REST API, as far as runs need it."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import Any, cast

from flask import Response, abort

from backend.pipeline.schemas import RunState
from backend.problems import ProblemType, unavailable
from elt.settings import Settings

NIGHT = "medilink_etl_pipeline"
BED_OCCUPANCY = "bed_occupancy_pipeline"
TIMEOUT_SECONDS = 5
STATES = {
    "queued": RunState.QUEUED,
    "running": RunState.RUNNING,
    "success": RunState.SUCCEEDED,
    "failed": RunState.FAILED,
}


@dataclass(frozen=True)
class DagRun:
    """A run as Airflow knows it; times are UTC, ISO 8601, None while they have not come."""

    state: RunState
    queued_at: str | None
    started_at: str | None
    ended_at: str | None


class _Away(Exception):
    """Airflow does not answer, or not as it should."""


def trigger(
    settings: Settings,
    dag_id: str,
    conf: dict[str, object],
    run_id: str | None = None,
    otherwise: str = "Nothing was started.",
) -> str:
    """Start a run; returns its id, which Airflow chooses unless given.

    Ends the request with 503 when Airflow does not answer, saying what is the case `otherwise`.
    """
    body: dict[str, object] = {"logical_date": None, "conf": conf} | ({"dag_run_id": run_id} if run_id else {})
    try:
        return str(_call(settings, dag_id, "dagRuns", body)["dag_run_id"])
    except _Away:
        abort(_is_away(otherwise))


def find_run(settings: Settings, dag_id: str, run_id: str) -> DagRun | None:
    """A run; None where Airflow knows none. Ends the request with 503 when Airflow does not answer."""
    try:
        run = _call(settings, dag_id, f"dagRuns/{urllib.parse.quote(run_id, safe='')}")
    except urllib.error.HTTPError as error:
        if error.code == http.client.NOT_FOUND:
            return None
        abort(_is_away("Whether it knows this run cannot be told now."))
    except _Away:
        abort(_is_away("Whether it knows this run cannot be told now."))
    return DagRun(STATES[run["state"]], run["queued_at"], run["start_date"], run["end_date"])


def _is_away(consequence: str) -> Response:
    return unavailable(f"Airflow does not answer. {consequence} Try again later.", ProblemType.AIRFLOW_UNAVAILABLE)


def _call(settings: Settings, dag_id: str, path: str, body: dict[str, object] | None = None) -> dict[str, Any]:
    base = settings.airflow_address
    login = {"username": "admin", "password": settings.airflow_admin_password.get_secret_value()}
    try:
        token = _json(f"{base}/auth/token", login)["access_token"]
        return _json(f"{base}/api/v2/dags/{dag_id}/{path}", body, token)
    except urllib.error.HTTPError as error:
        if body is None and error.code == http.client.NOT_FOUND:
            raise
        raise _Away from None
    except (OSError, http.client.HTTPException, ValueError, KeyError):
        raise _Away from None


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
