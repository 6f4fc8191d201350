"""`nhs_upload`: from `POST /nhs-data/upload` to rows that readers get, split by step.

Everything runs as start.sh runs it (Airflow, dbt, the API, the embedded PostgreSQL and S3), over the samples of a first
start. Each upload is the return of a quarter that the warehouse does not know; the clock stops when
`GET /nhs-data/occupancy` answers its rows.
"""

from __future__ import annotations

import json
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
from dotenv import dotenv_values

from benchmarks.measure import report
from elt import sample_returns
from elt.settings import REPOSITORY
from local.postgres import free_port

RUNS = int(os.environ.get("BENCHMARK_RUNS", "5"))
# What start.sh has dropped: the newest of these; what is uploaded is older.
KNOWN_QUARTERS = 8
PORTS = ("API_PORT", "AIRFLOW_PORT", "S3_PORT", "POSTGRES_PORT", "DASHBOARD_PORT")
PATIENCE_SECONDS = 180


class Api:
    """The API, as the local client."""

    def __init__(self, variables: dict[str, str]) -> None:
        self.address = f"http://127.0.0.1:{variables['API_PORT']}"
        login = f"grant_type=client_credentials&client_id=local-admin&client_secret={variables['API_CLIENT_SECRET']}"
        self.token = ""
        self.token = self.call("/api/auth/token", login.encode(), "application/x-www-form-urlencoded")["access_token"]

    def call(self, path: str, body: bytes | None = None, content_type: str = "") -> Any:  # noqa: ANN401 - JSON
        """The JSON that a GET answers, or a POST with a body."""
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        if body is not None:
            headers["Content-Type"] = content_type
        request = urllib.request.Request(self.address + path, body, headers)  # noqa: S310 - our own address
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - as above
            return json.load(answer)

    def upload(self, workbook: Path) -> str:
        """Hand a workbook in; returns the id of the run that takes it."""
        boundary = secrets.token_hex(16)
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{workbook.name}"\r\n\r\n'
        body = head.encode() + workbook.read_bytes() + f"\r\n--{boundary}--\r\n".encode()
        started = self.call("/nhs-data/upload", body, f"multipart/form-data; boundary={boundary}")
        return str(started["flow_run_id"])

    def quarters(self) -> set[tuple[int, str]]:
        """The quarters that readers see."""
        return {(row["year"], row["quarter"]) for row in self.call("/nhs-data/summary")}


@contextmanager
def stack() -> Iterator[Api]:
    """Everything that start.sh starts, with its samples loaded; gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="medilink-bench-") as folder:
        dotenv = Path(folder) / ".env"
        ports = {name: str(free_port()) for name in PORTS}
        home = {"MEDILINK_HOME": f"{folder}/home", "MEDILINK_ENV_FILE": str(dotenv)}
        environment = os.environ | ports | home | {"PYTHONPATH": str(REPOSITORY)}

        def start(*arguments: str) -> None:
            command = [sys.executable, "-m", "local.start", *arguments]
            subprocess.run(command, cwd=REPOSITORY, env=environment, check=True, stdout=subprocess.DEVNULL)

        start("--detach")
        try:
            yield Api({name: value or "" for name, value in dotenv_values(dotenv).items()} | ports)
        finally:
            start("stop")
            start("reset", "--yes")


def measured(api: Api, workbook: Path) -> dict[str, float]:
    """Seconds of each part of the way, in their order."""
    known = api.quarters()
    began = time.time()
    run_id = api.upload(workbook)
    stored = time.time()
    while api.quarters() <= known:
        if time.time() - began > PATIENCE_SECONDS:
            raise TimeoutError(api.call(f"/nhs-data/status/{run_id}")["message"])
        time.sleep(0.1)
    queryable = time.time()
    while not api.call(f"/nhs-data/status/{run_id}")["is_completed"]:
        time.sleep(0.2)
    parts = {"upload": stored - began}
    ended, between = stored, 0.0
    for step in api.call(f"/api/pipeline/runs/{run_id}")["steps"]:
        first, last = (datetime.fromisoformat(step[name]).timestamp() for name in ("started_at", "completed_at"))
        if step["step"] == "archive_files":
            break
        if step["step"] == "extract":
            parts["until the run begins"] = first - stored
        else:
            between += first - ended
        ended = min(last, queryable)
        parts[step["step"]] = ended - first
    return parts | {"between the steps": between, "all": queryable - began}


def main() -> None:
    """Measure and report."""
    with tempfile.TemporaryDirectory() as folder, stack() as api:
        workbooks = sample_returns.generate(Path(folder), quarters=KNOWN_QUARTERS + RUNS)[:RUNS]
        times = [measured(api, workbook) for workbook in workbooks]
    report(
        "nhs_upload",
        [
            {
                "step": name,
                "median s": statistics.median(parts[name] for parts in times),
                "least s": min(parts[name] for parts in times),
                "most s": max(parts[name] for parts in times),
                "runs": len(times),
                "cores": psutil.cpu_count(),
            }
            for name in times[0]
        ],
    )


if __name__ == "__main__":
    main()
