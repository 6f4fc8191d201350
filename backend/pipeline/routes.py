"""The pipeline's runs and files."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime

from flask import Response, abort

from backend.answers import array_of, json_of, list_of, refused, resource
from backend.api import Answer
from backend.parameters import Parameters
from backend.pipeline import airflow, drops, queries
from backend.pipeline.airflow import NIGHT, DagRun
from backend.pipeline.schemas import (
    UPLOAD_LIMIT,
    ByRunId,
    Day,
    DbtResult,
    DroppedFile,
    File,
    FileParameters,
    HealthParameters,
    NewFile,
    NewRun,
    Run,
    RunDetail,
    RunParameters,
    RunState,
)
from backend.problems import missing
from backend.settings import settings
from elt.contract import SUFFIXES

pipeline = resource("pipeline", "/api/pipeline", "Runs, and the files they took", Run, Day, DbtResult)
drops.allow_large_uploads(pipeline, "upload_file", UPLOAD_LIMIT)


@pipeline.get("/runs", responses={200: list_of(Run)})
def list_runs(query: RunParameters) -> Response:
    """List runs"""
    return queries.RUNS.page(query)


@pipeline.post("/runs", responses={202: RunDetail, 413: refused("the body is too large")})
def start_run(body: NewRun, query: Parameters) -> Response:
    """Start a run"""
    run_id = airflow.trigger(settings(), NIGHT, body.model_dump(exclude_none=True))
    answer = json_of(_in_airflow(run_id, DagRun(RunState.QUEUED, None, None, None)), 202)
    answer.headers["Location"] = f"/api/pipeline/runs/{run_id}"
    return answer


@pipeline.get("/runs/<run_id>", responses={200: RunDetail, 404: refused("no such run")})
def get_run(path: ByRunId, query: Parameters) -> Response:
    """Get one run with its steps and files"""
    body = queries.run(path.run_id)
    if body is not None:
        return Answer(body, content_type="application/json")
    found = airflow.find_run(settings(), NIGHT, path.run_id)
    if found is None:
        abort(missing())
    return json_of(_in_airflow(path.run_id, found))


@pipeline.get(
    "/runs/<run_id>/dbt-results", responses={200: array_of(DbtResult), 404: refused("no such run, or it has not begun")}
)
def list_dbt_results(path: ByRunId, query: Parameters) -> Response:
    """What dbt built and tested in a run, node by node, the slowest first"""
    body = queries.dbt_results(path.run_id)
    if body is None:
        abort(missing())
    return Answer(body, content_type="application/json")


@pipeline.get("/health", responses={200: array_of(Day)})
def health(query: HealthParameters) -> Response:
    """The pipeline day by day, the newest first"""
    return Answer(queries.health(query.days), content_type="application/json")


@pipeline.get("/files", responses={200: list_of(File)})
def list_files(query: FileParameters) -> Response:
    """List the files that were dropped"""
    return queries.FILES.page(query)


@pipeline.post("/files", responses={201: DroppedFile, 413: refused(f"more than {UPLOAD_LIMIT // 2**20} MiB")})
def upload_file(form: NewFile, query: Parameters) -> Response:
    """Drop a file"""
    file, suffix = drops.checked(form.file, SUFFIXES, "not_a_file_of_the_feed")
    name = f"{form.feed}_{datetime.now(UTC):%Y%m%dT%H%M%SZ}_{secrets.token_hex(4)}{suffix}"
    size = drops.store(settings(), settings().s3_input_prefix + name, file.stream)
    run_id = (
        airflow.trigger(
            settings(),
            NIGHT,
            {"feeds": [form.feed]},
            otherwise="The file is dropped all the same, and the next run takes it.",
        )
        if form.run
        else None
    )
    answer = json_of(DroppedFile(name=name, feed=form.feed, size_bytes=size, run_id=run_id), 201)
    answer.headers["Location"] = f"/api/pipeline/runs/{run_id}" if run_id else "/api/pipeline/files"
    return answer


def _in_airflow(run_id: str, run: DagRun) -> RunDetail:
    """A run that has no batch yet, or never got one."""
    return RunDetail.model_validate(
        {
            "run_id": run_id,
            "id": None,
            "state": run.state,
            "failed_step": None,
            "error_message": None,
            "started_at": run.started_at,
            "completed_at": run.ended_at,
            "steps": [],
            "files": [],
        }
    )
