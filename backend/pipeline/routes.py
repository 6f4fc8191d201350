"""The pipeline's runs and files."""

from __future__ import annotations

import botocore.exceptions
from flask import Response, abort, current_app, request
from werkzeug.datastructures import FileStorage

from backend.answers import array_of, json_of, list_of, refused, resource
from backend.parameters import Parameters
from backend.pipeline import airflow, drops, queries
from backend.pipeline.schemas import (
    UPLOAD_LIMIT,
    ByRunId,
    DroppedFile,
    File,
    FileParameters,
    Health,
    HealthParameters,
    NewFile,
    NewRun,
    Run,
    RunDetail,
    RunParameters,
    RunState,
)
from backend.problems import InvalidInput, ProblemType, invalid, missing, unavailable
from elt.settings import Settings

pipeline = resource("pipeline", "/api/pipeline", "Runs, and the files they took", Run, Health)


# Far more than any field of a form but the file needs.
FIELD_LIMIT = 255


@pipeline.before_app_request
def allow_large_uploads() -> None:
    """A file may be larger than any other body; it goes to disk, and from there to the bucket."""
    if request.endpoint == "pipeline.upload_file":
        request.max_content_length = UPLOAD_LIMIT
        if long := [name for name, text in request.form.items() if len(text) > FIELD_LIMIT]:
            abort(invalid([InvalidInput(pointer=f"#/{name}", code="string_too_long") for name in long]))


@pipeline.get("/runs", responses={200: list_of(Run)})
def list_runs(query: RunParameters) -> Response:
    """List runs"""
    return queries.RUNS.page(query)


@pipeline.post("/runs", responses={202: RunDetail, 413: refused("the body is too large")})
def start_run(body: NewRun, query: Parameters) -> Response:
    """Start a run"""
    run_id = _trigger(body.model_dump(exclude_none=True))
    answer = json_of(_in_airflow(run_id, RunState.QUEUED), 202)
    answer.headers["Location"] = f"/api/pipeline/runs/{run_id}"
    return answer


@pipeline.get("/runs/<run_id>", responses={200: RunDetail, 404: refused("no such run")})
def get_run(path: ByRunId, query: Parameters) -> Response:
    """Get one run with its steps and files"""
    body = queries.run(path.run_id)
    if body is not None:
        return Response(body, content_type="application/json")
    try:
        found = airflow.run_state(_settings(), path.run_id)
    except airflow.AirflowAway:
        abort(_airflow_is_away("Whether it knows this run cannot be told now."))
    if found is None:
        abort(missing())
    return json_of(_in_airflow(path.run_id, *found))


@pipeline.get("/health", responses={200: array_of(Health)})
def health(query: HealthParameters) -> Response:
    """The pipeline day by day, the newest first"""
    return Response(queries.health(query.days), content_type="application/json")


@pipeline.get("/files", responses={200: list_of(File)})
def list_files(query: FileParameters) -> Response:
    """List the files that were dropped"""
    return queries.FILES.page(query)


@pipeline.post("/files", responses={201: DroppedFile, 413: refused(f"more than {UPLOAD_LIMIT // 2**20} MiB")})
def upload_file(form: NewFile, query: Parameters) -> Response:
    """Drop a file"""
    if not isinstance(form.file, FileStorage):
        abort(invalid([InvalidInput(pointer="#/file", code="missing")]))
    try:
        name, size = drops.store(_settings(), form.feed, form.file.filename or "", form.file.stream)
    except drops.NotAFileOfTheFeed:
        abort(invalid([InvalidInput(pointer="#/file", code="not_a_file_of_the_feed")]))
    except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
        current_app.logger.warning("%s: bucket: %s", request.endpoint, type(error).__name__)
        abort(unavailable("The bucket does not answer. Try again later.", ProblemType.STORAGE_UNAVAILABLE))
    run_id = (
        _trigger({"feeds": [form.feed]}, "The file is dropped all the same, and the next run takes it.")
        if form.run
        else None
    )
    answer = json_of(DroppedFile(name=name, feed=form.feed, size_bytes=size, run_id=run_id), 201)
    answer.headers["Location"] = f"/api/pipeline/runs/{run_id}" if run_id else "/api/pipeline/files"
    return answer


def _trigger(conf: dict[str, object], otherwise: str = "Nothing was started.") -> str:
    try:
        return airflow.trigger(_settings(), conf)
    except airflow.AirflowAway:
        abort(_airflow_is_away(otherwise))


def _airflow_is_away(consequence: str) -> Response:
    return unavailable(f"Airflow does not answer. {consequence} Try again later.", ProblemType.AIRFLOW_UNAVAILABLE)


def _in_airflow(
    run_id: str, state: RunState, started_at: str | None = None, completed_at: str | None = None
) -> RunDetail:
    """A run that has no batch yet, or never got one."""
    return RunDetail.model_validate(
        {
            "run_id": run_id,
            "id": None,
            "state": state,
            "failed_step": None,
            "error_message": None,
            "started_at": started_at,
            "completed_at": completed_at,
            "steps": [],
            "files": [],
        }
    )


def _settings() -> Settings:
    settings: Settings = current_app.extensions["medilink_settings"]
    return settings
